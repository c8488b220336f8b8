"""What a search finds: order, ties, limits, lists that are probed, changes seen whole."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from tests.brute import U8, BruteForce, Row, added, answers, clustered
from visearch import base as base_module
from visearch.filters import Filter
from visearch.index import Base, BaseInfo, Index, should_merge, write_base

BITS = 256
CODES = clustered(3000, BITS, clusters=30, seed=1)


def rows_of(codes: U8, first: int = 0) -> dict[int, Row]:
    """A row for each code: two regions an item, metadata that select a half and a hundredth."""
    return {
        first + number: Row(
            (first + number) // 2, number % 2, code.tobytes(), {"half": number % 2, "hundredth": number % 100}
        )
        for number, code in enumerate(codes)
    }


def base_of(folder: Path, rows: dict[int, Row], *, flat_up_to: int = 0, recall_target: float = 0.9) -> Base:
    arrays = added(rows, len(next(iter(rows.values())).code) * 8)
    write_base(
        folder,
        arrays.codes,
        arrays.code_ids,
        arrays.item_ids,
        arrays.regions,
        arrays.metadata,
        recall_target=recall_target,
        flat_up_to=flat_up_to,
        seed=0,
    )
    return Base.open(folder)


@pytest.fixture
def probing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """An index whose base has lists of which a search sees a part."""
    monkeypatch.setattr(base_module, "EXACT_ROWS", 0)
    base = base_of(tmp_path / "base", rows_of(CODES))
    assert 0 < base.info.probes < base.info.lists
    return Index.open(base, BITS)


def test_an_empty_index_finds_nothing() -> None:
    index = Index.open(None, BITS)
    assert answers(index.search(CODES[0], 10)) == []
    assert answers(index.search(CODES[0], 10, filter=Filter.parse({"half": 1}))) == []
    assert (index.live_rows, index.delta_rows, index.dead_rows) == (0, 0, 0)


def test_equal_distances_are_ordered_by_item_and_region() -> None:
    index = Index.open(None, 8)
    near, far = b"\x00", b"\xff"
    rows = [Row(5, 1, near, {}), Row(5, 0, near, {}), Row(2, 3, near, {}), Row(1, 0, far, {}), Row(9, 0, b"\x01", {})]
    index.apply(added(dict(enumerate(rows)), 8), np.array([], np.int64))
    found = index.search(np.zeros(1, np.uint8), 4)
    assert answers(found) == [(0, 2, 3), (0, 5, 0), (0, 5, 1), (1, 9, 0)]
    assert found.code_ids.tolist() == [2, 1, 0, 4]


def test_max_distance_is_the_largest_distance_of_an_answer(probing: Index) -> None:
    distances = probing.search(CODES[7], 50, exact=True).distances
    limit = int(distances[20])
    found = probing.search(CODES[7], 50, exact=True, max_distance=limit)
    assert found.distances.tolist() == distances[distances <= limit].tolist()
    assert len(probing.search(CODES[7], 50, max_distance=0).distances) == 1


@pytest.mark.parametrize("flat_up_to", [0, 10**6], ids=["lists", "flat"])
@pytest.mark.parametrize("conditions", [None, {"half": 1}, {"hundredth": 7}, {"hundredth": 1000}], ids=str)
def test_exact_search_equals_brute_force(tmp_path: Path, flat_up_to: int, conditions: object) -> None:
    rows = rows_of(CODES)
    index, brute = Index.open(base_of(tmp_path / "base", rows, flat_up_to=flat_up_to), BITS), BruteForce(rows)
    index.apply(added(more := rows_of(CODES[:50], first=5000), BITS), np.arange(0, 300, 3))
    brute.rows = {code_id: row for code_id, row in (rows | more).items() if code_id not in range(0, 300, 3)}
    filter = None if conditions is None else Filter.parse(conditions)
    for query in clustered(10, BITS, clusters=30, seed=2):
        for k in (1, 20, 10_000):
            assert answers(index.search(query, k, filter=filter, exact=True)) == brute.search(query, k, filter)


def test_probing_all_lists_equals_brute_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_module, "EXACT_ROWS", 0)
    rows = rows_of(CODES)
    base = base_of(tmp_path / "base", rows, recall_target=2.0)  # not to be reached
    assert base.info.probes == base.info.lists > 1
    assert sorted(base.probed_rows(base.ranked_lists(CODES[0]), base.info.lists).tolist()) == list(range(len(CODES)))
    index, brute = Index.open(base, BITS), BruteForce(rows)
    for query in CODES[:20]:
        assert answers(index.search(query, 30)) == brute.search(query, 30)


def test_lists_hold_every_row_once_under_its_ids(probing: Index) -> None:
    base = probing._base
    assert base is not None
    rows = base.rows_of(np.arange(len(CODES)))
    assert sorted(rows.tolist()) == list(range(len(CODES)))
    assert (base.codes[rows] == CODES).all()
    assert base.code_ids_of(rows).tolist() == list(range(len(CODES)))
    assert base.item_ids[rows].tolist() == [number // 2 for number in range(len(CODES))]
    assert base.rows_of(np.array([-5, 10**9])).tolist() == []


@pytest.mark.parametrize("conditions", [None, {"half": 1}], ids=str)
def test_probed_search_reaches_the_recall_it_was_written_for(probing: Index, conditions: object) -> None:
    filter = None if conditions is None else Filter.parse(conditions)
    shares = []
    for query in clustered(100, BITS, clusters=30, seed=1):
        true = probing.search(query, 20, filter=filter, exact=True).distances
        found = probing.search(query, 20, filter=filter).distances
        shares.append(np.count_nonzero(found <= true[-1]) / 20)
    assert np.mean(shares) >= 0.9


def test_the_recall_of_every_number_of_probes_tried_is_told(probing: Index) -> None:
    assert probing._base is not None
    info = probing._base.info
    assert isinstance(info, BaseInfo)
    probes, recalls = zip(*info.recall_curve, strict=True)
    assert probes == tuple(2**power for power in range(len(probes)))
    assert info.probes == probes[-1]
    assert recalls[-1] >= info.recall_target
    assert all(recall < info.recall_target + 0.02 for recall in recalls[:-1])


@pytest.mark.parametrize("conditions", [None, {"half": 0}, {"half": 1}, {"hundredth": 7}], ids=str)
@pytest.mark.parametrize("k", [1, 100, 2000, 10_000])
def test_never_fewer_than_k_or_all_that_are_eligible(probing: Index, k: int, conditions: object) -> None:
    """Also where nearly all near rows have died."""
    near = probing.search(CODES[0], 1400, exact=True).code_ids
    probing.apply(added({}, BITS), near)
    filter = None if conditions is None else Filter.parse(conditions)
    eligible = len(probing.search(CODES[0], 10_000, filter=filter, exact=True).code_ids)
    found = probing.search(CODES[0], k, filter=filter)
    assert len(found.code_ids) == min(k, eligible)
    assert not set(found.code_ids.tolist()) & set(near.tolist())


def test_what_a_filter_selects_far_from_the_query_is_all_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_module, "EXACT_ROWS", 0)
    rows = {
        number: Row(number, 0, code.tobytes(), {"near": bool(np.bitwise_count(code ^ CODES[0]).sum() < BITS // 4)})
        for number, code in enumerate(CODES)
    }
    index, brute = Index.open(base_of(tmp_path / "base", rows), BITS), BruteForce(rows)
    filter = Filter.parse({"near": False})
    assert answers(index.search(CODES[0], 20, filter=filter)) == brute.search(CODES[0], 20, filter)


@pytest.mark.parametrize("flat_up_to", [0, 10**6], ids=["lists", "flat"])
def test_a_collection_of_one_code_100_000_times(tmp_path: Path, flat_up_to: int) -> None:
    codes = np.tile(CODES[0], (100_000, 1))
    ids = np.arange(len(codes))
    write_base(
        tmp_path / "base",
        codes,
        ids,
        ids[::-1],
        np.zeros(len(codes), np.int32),
        ({} for _ in codes),
        recall_target=0.99,
        flat_up_to=flat_up_to,
        seed=0,
    )
    index = Index.open(Base.open(tmp_path / "base"), BITS)
    index.apply(added({}, BITS), ids[-10:])
    assert index.search(CODES[0], 5).item_ids.tolist() == [10, 11, 12, 13, 14]
    assert len(index.search(CODES[1], 200_000).item_ids) == 99_990


def test_a_search_works_on_the_view_it_began_with() -> None:
    """Every update replaces the code of one item; no search sees the item twice, or not at all."""
    items = 40
    index = Index.open(None, BITS)
    index.apply(
        added({number: Row(number, 0, CODES[number].tobytes(), {}) for number in range(items)}, BITS), np.array([])
    )
    done = threading.Event()
    wrong: list[list[int]] = []

    def search() -> None:
        while not done.is_set():
            found = sorted(index.search(CODES[0], 10_000).item_ids.tolist())
            if found != list(range(items)):
                wrong.append(found)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    latest = {number: number for number in range(items)}
    for code_id in range(items, 5000):
        item = code_id % items
        row = Row(item, 0, CODES[code_id % len(CODES)].tobytes(), {})
        index.apply(added({code_id: row}, BITS), np.array([latest[item]]))
        latest[item] = code_id
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_changes_that_do_not_fit_change_nothing() -> None:
    index = Index.open(None, BITS)
    index.apply(added(rows_of(CODES[:4]), BITS), np.array([], np.int64))
    with pytest.raises(ValueError, match="already"):
        index.apply(
            added({9: Row(9, 0, CODES[9].tobytes(), {}), 3: Row(3, 0, CODES[3].tobytes(), {})}, BITS), np.array([0])
        )
    with pytest.raises(ValueError, match="differ in number"):
        index.apply(added(rows_of(CODES[:4, :8], first=10), BITS // 4), np.array([0]))
    assert (index.live_rows, index.delta_rows, index.dead_rows) == (4, 4, 0)


def test_a_base_row_that_was_removed_may_be_added_again(tmp_path: Path) -> None:
    index = Index.open(base_of(tmp_path / "base", rows_of(CODES[:10])), BITS)
    index.apply(added({3: Row(77, 0, CODES[3].tobytes(), {})}, BITS), np.array([3, 3, 999]))
    assert (index.live_rows, index.delta_rows, index.dead_rows) == (10, 1, 1)
    assert index.search(CODES[3], 1).item_ids.tolist() == [77]
    with pytest.raises(ValueError, match="already"):
        index.apply(added({4: Row(78, 0, CODES[4].tobytes(), {})}, BITS), np.array([], np.int64))


@pytest.mark.parametrize(
    ("code", "k"), [(CODES[0][:-1], 5), (CODES[:1], 5), (CODES[0], 0)], ids=["short", "2-d", "k=0"]
)
def test_a_search_that_makes_no_sense_is_refused(code: U8, k: int) -> None:
    with pytest.raises(ValueError, match="a search needs"):
        Index.open(None, BITS).search(code, k)


def test_a_base_of_other_codes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="256 bits, not 512"):
        Index.open(base_of(tmp_path / "base", rows_of(CODES[:10])), 512)


def test_merging_waits_for_an_eighth_of_the_base() -> None:
    assert not should_merge(base_rows=0, delta_rows=10_000, dead_rows=0)
    assert should_merge(base_rows=0, delta_rows=10_001, dead_rows=0)
    assert not should_merge(base_rows=800_000, delta_rows=100_000, dead_rows=10_000)
    assert should_merge(base_rows=800_000, delta_rows=100_000, dead_rows=10_001)
