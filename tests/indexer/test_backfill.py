"""`visearch backfill`: the same pictures by another model, what it cannot read, what comes meanwhile, kills."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indexer import backfill, flow, progress
from indexer.flow import Load
from tests.pictures import Done, Stored, is_one_line, save, save_all, stored, touch, visearch
from tests.tiny_detector import write_detector
from tests.tiny_model import card, write_model
from visearch import generations
from visearch.collection import Collection
from visearch.leases import lease
from visearch.maintenance import check
from visearch.missing import fill as fill_generation
from visearch.refill import refill as refill_items

KEYS = ["generation", "model", "filled", "skipped", "missing", "items", "seconds"]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: Path) -> None:
    """Everything in a folder of its own, indexed with the tiny model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISEARCH_MODEL", str(tiny))


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model, of other preprocessing: it pads."""
    resize = {"mode": "pad", "size": 32, "interpolation": "bicubic", "antialias": True}
    text = json.dumps(card(name="other", resize=resize))
    return write_model(tmp_path_factory.mktemp("other") / "other.onnx", text, seed=1)


def fill(model: Path, *arguments: object) -> dict[str, Any]:
    """Backfill; its JSON without the seconds."""
    done = visearch("backfill", "--model", model, *arguments, "--json")
    assert done.code == 0, done.err
    values = done.json
    assert list(values) == KEYS
    assert values.pop("seconds") >= 0
    return dict(values)


def switched(number: int) -> dict[str, Stored]:
    """What the collection holds once that generation answers."""
    done = visearch("generations", "switch", number)
    assert done.code == 0, done.err
    return stored(Path(".visearch"))


def indexed_with(model: Path, *arguments: object) -> dict[str, Stored]:
    """What a new collection holds that is indexed by this model in the first place."""
    done = visearch("index", "pics", "--model", model, "--collection", "direct", *arguments)
    assert done.code == 0, done.err
    return stored(Path("direct"))


def test_a_backfill_gives_the_codes_that_indexing_with_that_model_gives(tmp_path: Path, other: Path) -> None:
    save_all(tmp_path / "pics", range(30))
    (tmp_path / "pics" / "twin.png").write_bytes((tmp_path / "pics" / "004.png").read_bytes())
    visearch("index", "pics")
    assert fill(other) == {
        "generation": 2, "model": "other 1", "filled": 31, "skipped": [], "missing": 0, "items": 31
    }  # fmt: skip
    assert switched(2) == indexed_with(other)
    with Collection.open(".visearch") as collection:
        assert check(collection) == []


def test_objects_are_filled_by_their_boxes_without_the_detector(
    tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_all(tmp_path / "pics", range(8))
    detector = write_detector(tmp_path / "detector.onnx")
    monkeypatch.setenv("VISEARCH_DETECTOR", str(detector))
    visearch("index", "pics", "--objects")
    direct = indexed_with(other, "--objects")
    assert any(len(each.code) > 8 for each in direct.values()), "some picture has an object"
    detector.unlink()
    fill(other)
    assert switched(2) == direct


def test_the_index_files_of_the_new_generation_are_there_before_it_answers(tmp_path: Path, other: Path) -> None:
    save_all(tmp_path / "pics", range(5))
    visearch("index", "pics")
    fill(other)
    assert Path(".visearch/index/g2/vectors.i8").stat().st_size == 5 * 66
    visearch("generations", "switch", 2)
    assert visearch("check").code == 0


def test_the_generation_that_answers_is_untouched(tmp_path: Path, other: Path) -> None:
    save_all(tmp_path / "pics", range(5))
    visearch("index", "pics")
    before = stored(Path(".visearch"))
    fill(other)
    assert stored(Path(".visearch")) == before
    assert visearch("search", "--item", 1, "--json").json["generation"] == 1


def test_a_second_run_has_nothing_to_do_and_a_third_does_what_is_new(tmp_path: Path, other: Path) -> None:
    save_all(tmp_path / "pics", range(5))
    visearch("index", "pics")
    assert fill(other)["filled"] == 5
    assert fill(other)["filled"] == 0
    save(tmp_path / "pics" / "001.png", 77)
    save(tmp_path / "pics" / "new.png", 78)
    (tmp_path / "pics" / "002.png").unlink()
    visearch("index", "pics", "--prune")
    assert fill(other)["filled"] == 2
    assert switched(2) == indexed_with(other)


def test_pictures_that_changed_or_are_gone_are_listed_and_the_rest_is_done(tmp_path: Path, other: Path) -> None:
    save_all(tmp_path / "pics", range(5))
    visearch("index", "pics")
    save(tmp_path / "pics" / "001.png", 77)
    (tmp_path / "pics" / "002.png").unlink()
    done = visearch("backfill", "--model", other, "--report", "skipped.csv")
    assert done.code == 0
    assert "3 filled, 2 skipped in generation 2 (other 1)" in done.err
    assert "001.png: changed since it was indexed; run `visearch index` again" in done.err
    assert "2 of 5 items are missing in it" in done.err
    with Path("skipped.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "reason", "message"]
    assert [(Path(path).name, reason) for path, reason, _ in sorted(rows[1:])] == [
        ("001.png", "changed"),
        ("002.png", "unreadable"),
    ]
    listed = fill(other)["skipped"]
    assert [(each["item"], each["reason"]) for each in listed] == [(2, "changed"), (3, "unreadable")]
    assert visearch("generations", "switch", 2).code == 2
    visearch("index", "pics", "--prune")
    assert fill(other)["missing"] == 0


def test_a_picture_that_only_moved_its_time_is_filled(tmp_path: Path, other: Path) -> None:
    touch(save(tmp_path / "pics" / "a.png", 1))
    visearch("index", "pics")
    touch(tmp_path / "pics" / "a.png")
    assert fill(other)["filled"] == 1


def test_a_file_that_is_gone_is_read_from_another_with_the_same_bytes(tmp_path: Path, other: Path) -> None:
    save(tmp_path / "pics" / "a.png", 1)
    (tmp_path / "pics" / "b.png").write_bytes((tmp_path / "pics" / "a.png").read_bytes())
    visearch("index", "pics")
    direct = indexed_with(other)
    (tmp_path / "pics" / "a.png").unlink()
    assert fill(other)["missing"] == 0
    assert switched(2) == direct


def test_working_copies_stand_in_for_files_that_are_gone(
    tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISEARCH_WORKING_COPIES", "on")
    save_all(tmp_path / "pics", range(6))
    visearch("index", "pics")
    direct = indexed_with(other)
    for path in (tmp_path / "pics").iterdir():
        path.unlink()
    assert fill(other)["missing"] == 0
    for source, held in switched(2).items():
        different = sum((a ^ b).bit_count() for a, b in zip(held.code, direct[source].code, strict=True))
        assert different <= 0.15 * 64, "a JPEG of the picture is near the picture"


def test_without_working_copies_they_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_all(tmp_path / "pics", range(2))
    visearch("index", "pics")
    with Collection.open(".visearch") as collection, collection.store.read() as reader:
        assert reader.working_copy(1) is None, "files of this machine can be read again"
    monkeypatch.setenv("VISEARCH_WORKING_COPIES", "sometimes")
    save(tmp_path / "pics" / "new.png", 3)
    done = visearch("index", "pics")
    assert done.code == 2
    assert is_one_line(done.err)


def test_a_working_copy_goes_with_its_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEARCH_WORKING_COPIES", "on")
    save_all(tmp_path / "pics", range(2))
    visearch("index", "pics")
    visearch("remove", 1)
    with Collection.open(".visearch") as collection, collection.store.read() as reader:
        assert reader.working_copy(1) is None
        assert reader.working_copy(2) is not None


def between_commits(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let something happen once, after the first commit of a backfill."""
    done = threading.Event()

    def then_act(*arguments: Any) -> Any:
        counts = fill_generation(*arguments)
        if not done.is_set():
            done.set()
            act()
        return counts

    monkeypatch.setattr(flow, "BATCH", 16)
    monkeypatch.setattr("indexer.backfill.fill", then_act)


def test_what_is_indexed_changed_and_removed_meanwhile_is_right_in_the_end(
    tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_all(tmp_path / "pics", range(60))
    assert visearch("index", "pics", "--json").json["added"] == 60

    def change() -> None:
        for number in (2, 30, 58):
            save(tmp_path / "pics" / f"{number:03}.png", 100 + number)
        for number in (3, 31, 59):
            (tmp_path / "pics" / f"{number:03}.png").unlink()
        save_all(tmp_path / "pics", range(60, 65))
        assert visearch("index", "pics", "--prune").code == 0

    between_commits(monkeypatch, change)
    done = fill(other)
    assert (done["missing"], done["skipped"]) == (0, []), "what could not be read for a while is none in the end"
    assert switched(2) == indexed_with(other)


def test_what_changed_before_its_turn_is_not_listed_once_it_is_filled(
    tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_all(tmp_path / "pics", range(5))
    visearch("index", "pics")
    save(tmp_path / "pics" / "001.png", 77)
    (tmp_path / "pics" / "002.png").unlink()
    (tmp_path / "pics" / "003.png").unlink()
    turns: list[int] = []

    def refill(*arguments: Any) -> Any:
        outcomes = refill_items(*arguments)  # three cannot be read
        if not turns:
            save(tmp_path / "pics" / "002.png", 2)
            assert visearch("index", "pics", "--prune").code == 0
        turns.append(len(outcomes))
        return outcomes

    monkeypatch.setattr("indexer.backfill.refill", refill)
    done = visearch("backfill", "--model", other, "--report", "skipped.csv", "--json")
    assert turns[0] == 5
    listed = [(each["item"], each["reason"]) for each in done.json["skipped"]]
    assert (listed, done.json["missing"], done.json["items"]) == ([(3, "unreadable")], 1, 4)
    with Path("skipped.csv").open() as file:
        assert [row[1] for row in csv.reader(file)] == ["reason", "unreadable"]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert fill(other)["missing"] == 0
    assert switched(2) == indexed_with(other)


def test_a_working_copy_of_other_bytes_is_not_taken(
    tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two equal pictures whose files are gone the first is replaced while they are looked for."""
    monkeypatch.setenv("VISEARCH_WORKING_COPIES", "on")
    save_all(tmp_path / "pics", range(2))
    (tmp_path / "pics" / "twin.png").write_bytes((tmp_path / "pics" / "000.png").read_bytes())
    visearch("index", "pics")
    for name in ("000.png", "twin.png"):
        (tmp_path / "pics" / name).unlink()
    real = Collection.original
    looked: list[int] = []

    def original(self: Collection, item: Any) -> bytes:
        looked.append(item.item_id)
        if looked.count(1) == 1 and item.item_id == 3:
            save(tmp_path / "pics" / "000.png", 77)
            assert visearch("index", "pics").code == 0
        return real(self, item)

    monkeypatch.setattr(Collection, "original", original)
    assert fill(other)["missing"] == 0
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    held = list(switched(2).values())
    first, twin = held[0].code, held[2].code
    assert sum((a ^ b).bit_count() for a, b in zip(first, twin, strict=True)) > 0.15 * 64, "they show other things"


def test_a_backfill_waits_while_another_process_writes_index_files(
    tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.backfill.LEASE_SECONDS", 0.02)
    save_all(tmp_path / "pics", range(5))
    visearch("index", "pics")
    filled = threading.Event()
    done: list[int] = []

    def then_tell(*arguments: Any) -> Any:
        counts = fill_generation(*arguments)
        filled.set()
        return counts

    monkeypatch.setattr("indexer.backfill.fill", then_tell)
    with lease(Path(".visearch"), "index"):
        thread = threading.Thread(target=lambda: done.append(backfill_once(other)))
        thread.start()
        assert filled.wait(60)
        thread.join(0.2)
        assert not done
    thread.join(60)
    assert done == [0]
    assert Path(".visearch/index/g2/vectors.i8").stat().st_size == 5 * 66


def backfill_once(model: Path) -> int:
    """What is missing after a backfill."""
    summary, interrupted = backfill.once(backfill.Job(Path(".visearch"), str(model)))
    assert not interrupted
    return summary.missing


def test_a_switch_while_an_index_runs_leaves_nothing_out_and_nothing_wrong(
    tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures that were embedded by the old model when the new one came to answer are embedded again."""
    from visearch import ingest

    save_all(tmp_path / "pics", range(20))
    visearch("index", "pics")
    fill(other)
    save_all(tmp_path / "pics", range(20, 80))
    real, calls = ingest.commit, 0

    def commit(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            assert visearch("generations", "switch", 2, "--allow-missing").code == 0
        return real(*arguments)

    monkeypatch.setattr(flow, "BATCH", 16)
    monkeypatch.setattr("indexer.pipeline.commit", commit)
    assert visearch("index", "pics").code == 0
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert fill(other)["missing"] == 0
    assert stored(Path(".visearch")) == indexed_with(other)


def test_one_backfill_at_a_time(tmp_path: Path, other: Path) -> None:
    save_all(tmp_path / "pics", range(2))
    visearch("index", "pics")
    with lease(Path(".visearch"), "backfill"):
        done = visearch("backfill", "--model", other)
    assert done.code == 1
    assert is_one_line(done.err)
    assert "backfill is being done by process" in done.err


def test_what_cannot_be_is_told_in_one_line(tmp_path: Path, other: Path) -> None:
    none_yet = visearch("backfill", "--model", other)
    assert is_one_line(none_yet.err)
    save_all(tmp_path / "pics", range(2))
    visearch("index", "pics")
    for arguments in (("--model", "nowhere.onnx"), ("--generation", 5), ("--max-load", 0)):
        done: Done = visearch("backfill", *arguments)
        assert done.code in (1, 2)
        assert is_one_line(done.err)
    with Collection.open(".visearch") as collection:
        assert len(generations.states(collection)) == 1, "a model that cannot be had makes no generation"


def test_progress_in_lines_and_the_end_of_it(tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    save_all(tmp_path / "pics", range(40))
    visearch("index", "pics")
    lines = visearch("backfill", "--model", other).err.splitlines()
    assert any("of 40 done, " in line and "s left" in line for line in lines)
    assert lines[-1] == "nothing is missing in it: `visearch generations switch 2`"


def test_a_load_takes_its_share_of_the_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By clocks that only this test moves: work takes CPU time, rest takes time."""
    now = used = 0.0
    monkeypatch.setattr(flow, "usable_cores", lambda: 4)
    monkeypatch.setattr(flow, "monotonic", lambda: now)
    monkeypatch.setattr(flow, "process_time", lambda: used)

    class Clock(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            nonlocal now
            now += timeout or 0.0
            return False

    for share, threads in ((0.1, 1), (0.5, 2), (0.75, 3), (0.8, 4)):
        now = used = 0.0
        load = Load(share)
        assert load.threads == threads
        for turn in range(1000):
            used += threads * 0.1  # all threads at work for a tenth of a second
            now += 0.1 + (5.0 if turn == 500 else 0.0)  # and once nothing to do for a while
            load.rest(Clock())
        assert 0.95 * share < used / (4 * (now - 5.0)) < 1.03 * share


def test_with_all_of_the_load_nothing_rests() -> None:
    class Never(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise AssertionError("rested")

    load = Load(1.0)
    for _ in range(1000):
        load.rest(Never())
