"""Shards find together what one index finds, whatever was added and removed, and in whichever order they hear of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.brute import BruteForce, Row, added, answers, clustered
from visearch.base import Base, stamp_of, write_base
from visearch.errors import IndexFileError
from visearch.filters import Filter
from visearch.index import Added, Candidates
from web import shard as shard_module
from web.shard import Change, Files, Question, Shard, merged, part_of

BITS, COUNT, STATE = 64, 4, 7
FILTERS: tuple[object, ...] = (None, {"half": 1}, {"tenth": [3, 4]}, {"tenth": {"gte": 9}}, {"half": 5})


def rows_of(count: int, seed: int, first_code: int = 0, first_item: int = 0) -> dict[int, Row]:
    """A row for each code, two or so an item; 64 bits in three clusters, so that many are equally far."""
    codes = clustered(count, BITS, clusters=3, seed=seed)
    return {
        first_code + at: Row(first_item + at // 2, at % 2, code.tobytes(), {"half": at % 2, "tenth": at % 10})
        for at, code in enumerate(codes)
    }


def files_of(folder: Path, rows: dict[int, Row], *, flat_up_to: int) -> Files:
    each: Added = added(rows, BITS)
    arrays = (each.codes, each.code_ids, each.item_ids, each.regions, each.metadata)
    write_base(folder, *arrays, recall_target=1.0, flat_up_to=flat_up_to, seed=0)
    return Files(folder, stamp_of(folder))


def opened(files: Files | None) -> list[Shard]:
    shards = [Shard(number, COUNT) for number in range(COUNT)]
    for each in shards:
        each.open(STATE, files, BITS)
    return shards


def ask(shards: list[Shard], code: bytes, k: int, changes: int = 0, filter: object = None) -> Candidates:
    wanted = None if filter is None else Filter.parse(filter)
    asked = Question(STATE, changes, np.frombuffer(code, np.uint8), k, wanted, False, None)
    return merged([each.search(asked).candidates for each in shards], k, 1.0)


@pytest.mark.parametrize("flat_up_to", [10_000, 0], ids=["flat", "lists, all probed"])
def test_they_equal_brute_force_over_files_changes_filters_and_ties(tmp_path: Path, flat_up_to: int) -> None:
    rows = rows_of(600, seed=1)
    shards, brute = opened(files_of(tmp_path / "base", rows, flat_up_to=flat_up_to)), BruteForce(dict(rows))
    random = np.random.default_rng(2)
    for number in range(1, 6):
        new = rows_of(40, seed=10 + number, first_code=1000 * number, first_item=1000 * number)
        gone = random.choice(sorted(brute.rows), 30, replace=False)
        for code_id in gone:
            del brute.rows[code_id]
        brute.rows.update(new)
        change = Change(added(new, BITS), gone.astype(np.int64))
        for place, each in enumerate(shards):
            each.apply(STATE, number, part_of(change, place, COUNT))
        for code in clustered(3, BITS, clusters=3, seed=number):
            for k in (1, 60, 5000):
                for filter in FILTERS:
                    wanted = None if filter is None else Filter.parse(filter)
                    found = ask(shards, code.tobytes(), k, number, filter)
                    assert answers(found) == brute.search(code, k, wanted), (number, k, filter)


def test_the_parts_of_probed_lists_are_probed_as_the_whole_is(tmp_path: Path) -> None:
    """Not exact, but never worse than one index of the same lists and probes."""
    codes = clustered(6000, BITS, clusters=40, seed=3)
    rows = {at: Row(at, 0, code.tobytes(), {}) for at, code in enumerate(codes)}
    arrays = added(rows, BITS)
    columns = (arrays.codes, arrays.code_ids, arrays.item_ids, arrays.regions, arrays.metadata)
    write_base(tmp_path / "base", *columns, recall_target=0.9, flat_up_to=0, seed=0)
    whole, brute = Base.open(tmp_path / "base"), BruteForce(rows)
    assert 1 <= whole.info.probes < whole.info.lists
    shards = opened(Files(tmp_path / "base", stamp_of(tmp_path / "base")))
    for code in codes[::600]:
        true = brute.search(code, 20)[-1][0]
        _, distances = whole.search(code, 20, furthest=BITS, filter=None, exact=False, alive=None)
        one = np.count_nonzero(np.sort(distances)[:20] <= true)
        assert np.count_nonzero(ask(shards, code.tobytes(), 20).distances <= true) >= one


def test_an_item_is_whole_in_one_shard_and_every_item_is_in_one() -> None:
    rows = rows_of(200, seed=4)
    parts = [part_of(Change(added(rows, BITS), np.array([1, 2])), place, COUNT) for place in range(COUNT)]
    items = [set(part.added.item_ids.tolist()) for part in parts]
    assert sum(len(each) for each in items) == len(set.union(*items)) == 100
    assert sum(len(part.added.code_ids) for part in parts) == 200
    assert all(part.removed.tolist() == [1, 2] for part in parts)


@hypothesis_settings(max_examples=30)
@given(order=st.permutations(range(1, 7)), twice=st.lists(st.integers(1, 6), max_size=4))
def test_changes_may_come_in_any_order_and_twice(order: list[int], twice: list[int]) -> None:
    shard = Shard(0, 1)
    shard.open(STATE, None, BITS)
    changes = {
        number: Change(
            added(rows_of(4, seed=number, first_code=10 * number, first_item=10 * number), BITS),
            np.array([10 * (number - 1)]),
        )
        for number in range(1, 7)
    }
    for number in [*order, *twice]:
        shard.apply(STATE, number, changes[number])
    assert shard.changes() == {STATE: 6}
    found = ask([shard], bytes(BITS // 8), 100, 6)
    assert sorted(found.code_ids.tolist()) == sorted(
        code_id for number in changes for code_id in range(10 * number + (number < 6), 10 * number + 4)
    )


def test_a_question_is_answered_as_of_the_change_it_knows_of() -> None:
    shard = Shard(0, 1)
    shard.open(STATE, None, BITS)
    for number in range(1, 4):
        row = rows_of(1, seed=number, first_code=number, first_item=number)
        shard.apply(STATE, number, Change(added(row, BITS), np.empty(0, np.int64)))
    for known in range(4):
        assert len(ask([shard], bytes(BITS // 8), 10, known).code_ids) == known


def test_a_question_that_knows_of_a_change_that_does_not_come_is_not_answered_wrongly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shard_module, "CHANGE_SECONDS", 0.05)
    shard = Shard(0, 1)
    shard.open(STATE, None, BITS)
    with pytest.raises(TimeoutError):
        ask([shard], bytes(BITS // 8), 10, 1)
    shard.close(STATE)
    with pytest.raises(KeyError):
        ask([shard], bytes(BITS // 8), 10)


def test_files_of_another_history_are_refused(tmp_path: Path) -> None:
    files = files_of(tmp_path / "base", rows_of(10, seed=1), flat_up_to=100)
    with pytest.raises(IndexFileError, match="another state"):
        Shard(0, 1).open(STATE, Files(files.folder, "0" * 16), BITS)
    with pytest.raises(IndexFileError, match="cannot be read"):
        Shard(0, 1).open(STATE, Files(tmp_path / "none", files.stamp), BITS)


def test_a_shard_needs_the_files_no_longer_once_it_is_open(tmp_path: Path) -> None:
    rows = rows_of(300, seed=5)
    files = files_of(tmp_path / "base", rows, flat_up_to=0)
    shards = opened(files)
    for path in files.folder.iterdir():
        path.write_bytes(b"")
    found = ask(shards, rows[0].code, 10, filter={"half": 1})
    assert answers(found) == BruteForce(rows).search(
        np.frombuffer(rows[0].code, np.uint8), 10, Filter.parse({"half": 1})
    )


def test_no_shards_find_nothing() -> None:
    found = merged([], 10, 0.0)
    assert answers(found) == []
    assert found.coverage == 0


def test_a_state_is_let_go_once_it_answers_no_longer_and_nobody_is_at_it() -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install '.[scale]'")
    from web.sharded import State, outlived

    now = 1000.0
    sizes = np.zeros(COUNT, np.int64)
    ages = {"answering": 900.0, "asked just now": 1.0, "asked long ago": 40.0, "opened just now": -600.0}
    states = {name: State(0, None, BITS, sizes, asked=now - age) for name, age in ages.items()}
    assert outlived(states.values(), states["answering"], now) == [states["asked long ago"]]
