"""The three rankings against a second, dumber implementation that sorts Python tuples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visearch import rankings
from visearch.codes import F32, I8, I32, I64, U8
from visearch.metrics import MEASURES

BITS = 16  # few, so that ties are common


@dataclass
class Corpus:
    item_ids: I64
    regions: I32
    codes: U8
    vectors: I8


@dataclass
class Case:
    corpus: Corpus
    query_codes: U8
    query_vectors: F32
    relevant: list[I64]
    own: list[I64]
    window: int


def make_case(seed: int, items: int, queries: int, most_regions: int, window: int) -> Case:
    """A corpus in shuffled order. Vectors of +1 and -1 only: their cosines are exact in float32."""
    random = np.random.default_rng(seed)
    ids = np.sort(random.choice(10 * items, items, replace=False))
    rows = [(item, region) for item in ids for region in range(random.integers(1, most_regions + 1))]
    rows = [rows[place] for place in random.permutation(len(rows))]

    def signs(count: int) -> I8:
        return random.choice(np.array([-1, 1], np.int8), (count, BITS))

    corpus = Corpus(
        np.array([item for item, _ in rows]),
        np.array([region for _, region in rows], np.int32),
        np.packbits(signs(len(rows)) > 0, axis=1),
        signs(len(rows)),
    )
    relevant, own = [], []
    for _ in range(queries):
        mine = random.permutation(ids)[: random.integers(0, min(3, items))]
        others = np.setdiff1d(ids, mine)
        chosen = random.permutation(others)[: random.integers(1, len(others) + 1)]
        elsewhere = np.array([10 * items + 1])  # an id that is not in the corpus, as under a filter
        relevant.append(np.concatenate([chosen, mine[:1], elsewhere]))
        own.append(np.concatenate([mine, elsewhere]))
    codes = np.packbits(signs(queries) > 0, axis=1)
    return Case(corpus, codes, 3 * signs(queries).astype(np.float32), relevant, own, window)


def run(case: Case) -> rankings.Rankings:
    return rankings.rank_and_measure(
        case.corpus, case.query_codes, case.query_vectors, case.relevant, case.own, window=case.window
    )


@dataclass(frozen=True)
class Row:
    item: int
    region: int
    distance: int
    score: float


def dumb_rows(case: Case, query: int) -> list[Row]:
    corpus, rows = case.corpus, []
    for place, item in enumerate(corpus.item_ids.tolist()):
        if item in case.own[query]:
            continue
        bits = [f"{byte:08b}" for byte in corpus.codes[place]], [f"{byte:08b}" for byte in case.query_codes[query]]
        distance = sum(a != b for a, b in zip("".join(bits[0]), "".join(bits[1]), strict=True))
        dot = sum(int(a) * float(b) for a, b in zip(corpus.vectors[place], case.query_vectors[query], strict=True))
        rows.append(Row(item, int(corpus.regions[place]), distance, dot / (3 * BITS)))
    return rows


def first_of_each_item(rows: list[Row]) -> list[Row]:
    seen: dict[int, Row] = {}
    for row in rows:
        seen.setdefault(row.item, row)
    return list(seen.values())


def dumb_rankings(rows: list[Row], window: int) -> dict[str, list[Row]]:
    by_distance = sorted(rows, key=lambda row: (row.distance, row.item, row.region))
    candidates = sorted(by_distance[:window], key=lambda row: -row.score)
    return {
        "binary": first_of_each_item(by_distance),
        "reranked": first_of_each_item(candidates + by_distance[window:]),
        "float": first_of_each_item(sorted(rows, key=lambda row: (-row.score, row.item, row.region))),
    }


def assert_as_the_dumb_one(case: Case) -> None:
    found = run(case)
    hits, misses = [0] * (BITS + 1), [0] * (BITS + 1)
    for query in range(len(case.query_codes)):
        rows = dumb_rows(case, query)
        expected = dumb_rankings(rows, case.window)
        relevant = {row.item for row in rows} & set(case.relevant[query].tolist())
        assert found.totals[query] == len(relevant)
        assert found.answers[query] == next(row.item for row in expected["binary"] if row.item in relevant)
        for row in expected["binary"]:
            (hits if row.item in relevant else misses)[row.distance] += 1
        for way, ranking in found.by_name().items():
            wanted = [row.item in relevant for row in expected[way]]
            head = expected[way][: rankings.HEAD]
            n = len(head)
            assert ranking.items[query, :n].tolist() == [row.item for row in head]
            assert ranking.regions[query, :n].tolist() == [row.region for row in head]
            assert ranking.distances[query, :n].tolist() == [row.distance for row in head]
            assert ranking.scores[query, :n].tolist() == [row.score for row in head]
            assert ranking.relevant[query, :n].tolist() == wanted[:n]
            assert (ranking.items[query, n:] == -1).all() and not ranking.relevant[query, n:].any()
            for name, measure in MEASURES.items():
                value = measure(np.array([wanted]), np.array([len(relevant)]))[0]
                assert ranking.measures[name][query] == pytest.approx(value)
    assert (found.hit_distances.tolist(), found.miss_distances.tolist()) == (hits, misses)


@given(
    seed=st.integers(0, 2**32),
    items=st.integers(1, 12),
    queries=st.integers(1, 3),
    most_regions=st.integers(1, 4),
    window=st.integers(1, 20),
)
def test_every_ranking_is_as_the_dumb_one(seed: int, items: int, queries: int, most_regions: int, window: int) -> None:
    assert_as_the_dumb_one(make_case(seed, items, queries, most_regions, window))


@pytest.mark.parametrize("most_regions", [1, 3])
def test_more_relevant_items_than_are_kept_are_still_measured(most_regions: int) -> None:
    assert_as_the_dumb_one(make_case(0, 3 * rankings.HEAD, 4, most_regions, window=70))


def test_batches_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rankings, "BATCH_BYTES", 1)
    monkeypatch.setattr(rankings, "CHUNK_ROWS", 7)
    assert_as_the_dumb_one(make_case(1, 40, 5, 2, window=10))


def test_a_corpus_in_order_needs_no_sorting() -> None:
    case = make_case(2, 30, 3, 1, window=10)
    order = np.argsort(case.corpus.item_ids)
    for name in ("item_ids", "regions", "codes", "vectors"):
        setattr(case.corpus, name, getattr(case.corpus, name)[order])
    assert_as_the_dumb_one(case)


def test_a_vector_of_zeros_has_a_cosine_of_zero() -> None:
    case = make_case(3, 5, 1, 1, window=5)
    case.corpus.vectors[:] = 0
    assert (run(case).float.scores[0, :3] == 0).all()


def test_progress_counts_to_the_number_of_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rankings, "BATCH_BYTES", 1)
    case, seen = make_case(4, 5, 3, 1, window=5), list[int]()
    rankings.rank_and_measure(
        case.corpus,
        case.query_codes,
        case.query_vectors,
        case.relevant,
        case.own,
        window=5,
        progress=seen.append,
    )
    assert seen == [1, 2, 3]
