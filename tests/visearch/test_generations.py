"""Generations: one answers, a switch is one step, what is dropped is gone and its number never comes back."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import lmdb
import pytest

from indexer import backfill
from tests.pictures import save, save_all, visearch
from tests.tiny_model import card, write_model
from visearch import generations, modes
from visearch.collection import Collection
from visearch.embedder import Embedder
from visearch.errors import LeaseError, StoreError, UsageError
from visearch.leases import lease
from visearch.maintenance import backup, check
from visearch.store import ADDED_TABLES, Generation, Store


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model of as many bits."""
    import json

    text = json.dumps(card(name="other"))
    return write_model(tmp_path_factory.mktemp("other") / "other.onnx", text, seed=1)


@pytest.fixture
def two(tmp_path: Path, tiny: Path, other: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A collection of six pictures with two generations, of which the first answers."""
    monkeypatch.chdir(tmp_path)
    save_all(tmp_path / "pics", range(6))
    assert visearch("index", "pics", "--model", tiny).code == 0
    done = visearch("backfill", "--model", other, "--json")
    assert done.code == 0, done.err
    assert done.json["generation"] == 2
    return tmp_path / ".visearch"


def active(path: Path) -> int:
    with Collection.open(path) as collection:
        return collection.generation.number


def answers(path: Path) -> tuple[str, list[int]]:
    """The model that answers, and what it finds for a picture of the collection, all of it."""
    with Collection.open(path) as collection:
        found = collection.search(path.parent / "pics" / "001.png", limit=10)
        return found.model, [match.item for match in found]


def test_each_generation_answers_with_its_own_model_and_codes(two: Path) -> None:
    before = answers(two)
    with Collection.open(two) as collection:
        generations.switch(collection, 2)
        assert collection.search(item=1).generation == 2, "an open collection follows"
    after = answers(two)
    assert (before[0], after[0]) == ("tiny 1", "other 1")
    assert before[1][0] == after[1][0] == 2, "the picture itself, by codes and query of the same model"
    assert sorted(before[1]) == sorted(after[1])


def test_a_collection_can_be_opened_at_a_generation_that_does_not_answer(two: Path) -> None:
    with Collection.open(two, generation=2) as pinned, Collection.open(two) as collection:
        assert (pinned.generation.number, collection.generation.number) == (2, 1)
        found = modes.flashlight(pinned, two.parent / "pics" / "001.png")
        assert (found.generation, found.model, found.matches[0].item, found.matches[0].distance) == (2, "other 1", 2, 0)
        assert modes.flashlight(collection, two.parent / "pics" / "001.png").model == "tiny 1"
    with pytest.raises(UsageError, match=r"no generation 7; there are: 1, 2"):
        Collection.open(two, generation=7)


def test_switch_rollback_and_rollback_again(two: Path) -> None:
    assert visearch("generations", "rollback").code == 2, "nothing answered before the first"
    assert visearch("generations", "switch", 2).out == "generation 2 answers: other 1\n"
    assert active(two) == 2
    assert visearch("generations", "rollback").out == "generation 1 answers: tiny 1\n"
    assert visearch("generations", "rollback").out == "generation 2 answers: other 1\n"
    assert active(two) == 2


def test_a_switch_is_refused_while_items_are_missing_unless_told(two: Path) -> None:
    save(two.parent / "pics" / "new.png", 99)
    visearch("index", "pics")
    refused = visearch("generations", "switch", 2)
    assert (refused.code, active(two)) == (2, 1)
    assert "1 of 7 items are missing in generation 2" in refused.err
    assert visearch("generations", "switch", 2, "--allow-missing").code == 0
    assert visearch("check").code == 0, "missing items are no fault"
    assert "1 items have no codes in the generation that answers" in visearch("check").out
    assert visearch("backfill", "--generation", 2, "--json").json["filled"] == 1
    with Collection.open(two) as collection:
        assert check(collection) == []


def test_what_is_indexed_after_a_switch_is_missing_in_the_old_one_until_a_backfill(two: Path) -> None:
    visearch("generations", "switch", 2)
    save(two.parent / "pics" / "new.png", 99)
    assert visearch("index", "pics", "--json").json["added"] == 1
    refused = visearch("generations", "rollback")
    assert "1 of 7 items are missing in generation 1" in refused.err
    assert visearch("backfill", "--generation", 1).code == 0
    assert visearch("generations", "rollback").code == 0
    assert answers(two)[0] == "tiny 1"
    assert len(answers(two)[1]) == 7


def test_list_says_which_answers_and_what_is_missing(two: Path) -> None:
    save(two.parent / "pics" / "new.png", 99)
    visearch("index", "pics")
    visearch("generations", "switch", 2, "--allow-missing")
    shown = [
        (each["number"], each["model"], each["active"], each["previous"], each["missing"], each["items"])
        for each in visearch("generations", "list", "--json").json
    ]
    assert shown == [(1, "tiny", False, True, 0, 7), (2, "other", True, False, 1, 7)]
    lines = visearch("generations", "list").out.splitlines()
    assert re.fullmatch(r" +1  before   tiny 1, 64 bits, \w+; 7 items, 0 missing", lines[0])
    assert re.fullmatch(r" +2  answers  other 1, 64 bits, \w+; 6 items, 1 missing", lines[1])


def test_what_is_dropped_is_gone_with_its_files_and_its_number(two: Path, tiny: Path, other: Path) -> None:
    visearch("generations", "switch", 2)
    assert len(list((two / "models").iterdir())) == 2
    assert visearch("generations", "drop", 1).code == 0
    assert [path.name for path in (two / "index").iterdir()] == ["g2"]
    assert len(list((two / "models").iterdir())) == 1
    with Store(two / "store").read() as reader:
        assert (reader.dropped(), reader.previous) == ([], 0)
        assert len(reader.code_ids(1, 1)) == 0
    with Collection.open(two) as collection:
        assert check(collection) == []
    assert visearch("generations", "rollback").code == 2
    assert visearch("backfill", "--model", tiny, "--json").json["generation"] == 3
    visearch("generations", "drop", 3)
    assert visearch("backfill", "--model", tiny, "--json").json["generation"] == 4


def test_a_drop_that_was_killed_is_finished_by_the_next_job(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Collection.open(two) as collection:
        with collection.store.write() as writer:
            writer.drop_generation(2)  # here it was killed
        assert len(list((two / "models").iterdir())) == 2
        monkeypatch.setattr(generations, "DELETED_TOGETHER", 2)
        generations.purge(collection)
        with collection.store.read() as reader:
            assert reader.dropped() == []
            assert [len(reader.code_ids(2, item)) for item in range(1, 7)] == [0] * 6
            assert [len(reader.code_ids(1, item)) for item in range(1, 7)] == [1] * 6
        assert [path.name for path in (two / "models").iterdir()] == [f"{collection.generation.model_sha256}.onnx"]
        assert check(collection) == []


def test_a_collection_of_before_there_were_several_generations_gets_a_second(
    tmp_path: Path, tiny: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its store lacks the tables and the values that came with them."""
    monkeypatch.chdir(tmp_path)
    save_all(tmp_path / "pics", range(3))
    visearch("index", "pics", "--model", tiny)
    path = tmp_path / ".visearch"
    with lmdb.open(str(path / "store"), max_dbs=20) as environment, environment.begin(write=True) as transaction:
        for name in ADDED_TABLES:
            transaction.drop(environment.open_db(name.encode(), transaction))
        meta = environment.open_db(b"meta", transaction)
        for key in (b"previous", b"last_generation"):
            transaction.delete(key, db=meta)
    store = Store(path / "store", readonly=True)
    with store.read() as reader:
        assert (reader.previous, reader.last_generation, reader.dropped()) == (0, 1, [])
        assert (reader.working_copy(1), list(reader.items_missing(1))) == (None, [])
    store.close()
    done = visearch("backfill", "--model", other, "--json")
    assert done.code == 0, done.err
    assert done.json["filled"] == 3
    assert visearch("generations", "switch", 2).code == 0
    assert visearch("generations", "rollback").code == 0
    assert visearch("check").code == 0


def until_it_answers_from(server: Collection, generation: int) -> None:
    deadline = time.monotonic() + 10
    while server.search(item=1).generation != generation:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_a_follower_opens_knows_the_index_files_of_that_moment(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it loads the model an item is removed, and index files are written that know of that already."""
    load = Collection._load_embedder
    happened = threading.Event()

    def slowly(self: Collection, generation: Generation) -> Embedder:
        if self is server and generation.number == 2 and not happened.is_set():
            with Collection.open(two) as other:
                other.remove([3])
                other.build_index()
            happened.set()
        return load(self, generation)

    with Collection.open(two, generation=2) as pinned:
        pinned.build_index()
    monkeypatch.setattr(Collection, "_load_embedder", slowly)
    with Collection.open(two) as server:
        assert server.search(item=1).generation == 1
        with server.following():
            generations.switch(server, 2)
            until_it_answers_from(server, 2)
            assert happened.is_set()
            assert server.searcher().index.live_rows == 5
            assert len(server.search(item=1, limit=10).matches) == 4


def test_a_server_that_nobody_asks_goes_over_to_new_index_files(two: Path) -> None:
    with Collection.open(two) as server, Collection.open(two) as other:
        server.search(item=1)
        with server.following():
            other.build_index()
            deadline = time.monotonic() + 10
            while server._searcher is None or server._searcher.base is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)


def test_a_follower_outlives_whatever_error_a_model_s_library_raises(
    two: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    load = Collection._load_embedder
    failures = iter([MemoryError("no room for the weights"), RuntimeError("again")])

    def failing(self: Collection, generation: Generation) -> Embedder:
        if generation.number == 2 and (error := next(failures, None)):
            raise error
        return load(self, generation)

    with Collection.open(two) as server:
        assert server.search(item=1).generation == 1
        monkeypatch.setattr(Collection, "_load_embedder", failing)
        with server.following():
            generations.switch(server, 2)
            until_it_answers_from(server, 2)
    assert next(failures, None) is None
    said = [record.message for record in caplog.records]
    assert said == ["the active generation cannot be opened: MemoryError: no room for the weights"]  # once


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("drop", 1), "generation 1 is the one that answers; switch first"),
        (("drop", 9), "there is no generation 9; there are: 1, 2"),
        (("switch", 9), "there is no generation 9; there are: 1, 2"),
        (("switch", -1), "there is no generation -1"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(two: Path, command: tuple[str, int], said: str) -> None:
    done = visearch("generations", command[0], "--", command[1])
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert said in done.err


def test_nothing_is_dropped_beneath_a_backfill(two: Path) -> None:
    with lease(two, "backfill"), Collection.open(two) as collection, pytest.raises(LeaseError, match="backfill"):
        generations.drop(collection, 2)


def test_a_search_that_a_drop_overtakes_fails_in_one_line(two: Path) -> None:
    with Collection.open(two, generation=2) as pinned:
        searcher = pinned.searcher()
        with Collection.open(two) as collection:
            generations.drop(collection, 2)
        with pytest.raises(StoreError, match="generation 2 was dropped"), pinned.store.read() as reader:
            reader.codes_at(searcher.generation, [0])
        with pytest.raises(StoreError, match="generation 2 was dropped"):
            pinned.search(item=1)


def test_a_backup_holds_every_generation(two: Path, tmp_path: Path) -> None:
    with Collection.open(two) as collection:
        backup(collection, tmp_path / "copy")
    with Collection.open(tmp_path / "copy") as copy:
        assert [state.missing for state in generations.states(copy)] == [0, 0]
        assert check(copy) == []
        generations.switch(copy, 2)
        assert copy.search(item=1).model == "other 1"


def test_check_looks_at_every_generation_and_repairs_their_files(two: Path) -> None:
    (two / "index" / "g2" / "vectors.i8").unlink()
    assert visearch("check").code == 1
    assert visearch("check", "--repair").code == 0
    assert visearch("check").code == 0


def test_a_new_model_is_named_once_its_generation_answers(two: Path, tiny: Path, other: Path) -> None:
    assert visearch("search", "--item", 1, "--model", other).code == 1
    visearch("generations", "switch", 2)
    assert visearch("search", "--item", 1, "--model", other).code == 0
    assert "backfill --model" in visearch("search", "--item", 1, "--model", tiny).err


def test_a_job_names_one_of_model_and_generation(two: Path, other: Path) -> None:
    for named in ((), ("--model", other, "--generation", 2)):
        done = visearch("backfill", *named)
        assert (done.code, done.err.count("\n")) == (2, 1)
    with Collection.open(two) as collection:
        assert backfill.chosen(collection, backfill.Job(two, model=str(other))).number == 2, "one model, one generation"
