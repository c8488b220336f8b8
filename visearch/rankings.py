"""Rank a whole corpus for each of many queries, in the three ways that `evaluate` compares, and measure each ranking.

Plain arrays in, plain arrays out. The three ways:

- `binary`: exact Hamming distance to every code.
- `reranked`: the first `window` codes by Hamming distance re-ordered by cosine, everything else after them in Hamming
  order. This is what a search does.
- `float`: cosine to every item, without codes.

Cosines are between the query's float32 embedding and the int8 copies that the collection keeps, so `float` stands for
float32 up to that rounding (at most 0.2 points of Precision@1 on 955 grocery photos). An item is as near as its nearest
region. Ties go to the smaller item id, then the smaller region number, so that a figure repeats.

Memory is bounded by a few times BATCH_BYTES beside the corpus: 600 MB more for 1M codes of 1,024 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from visearch.codes import F32, I8, I32, I64, U8
from visearch.metrics import F64, MEASURES, Bool
from visearch.scan import distances_between

HEAD = 50
"""Places of each ranking that are kept, for plots and contact sheets."""

BATCH_BYTES = 256_000_000
CHUNK_ROWS = 4096

# Equal vectors must tie, but a matrix product may differ in its last bits from row to row.
SCORE_DECIMALS = 6


class Corpus(Protocol):
    """What is ranked: N codes of D bits, in any order. An item has one row for each of its regions."""

    @property
    def item_ids(self) -> I64: ...  # noqa: D102
    @property
    def regions(self) -> I32: ...  # noqa: D102
    @property
    def codes(self) -> U8: ...  # noqa: D102
    @property
    def vectors(self) -> I8: ...  # noqa: D102


@dataclass(frozen=True)
class Ranking:
    """All q queries ranked one way: the measures, and the first HEAD places of each.

    Past the end of a short corpus `items`, `regions` and `distances` are -1, `scores` NaN and `relevant` False.
    """

    measures: dict[str, F64]  # name in metrics.MEASURES -> [q], 0..1
    items: I64  # [q, HEAD], item ids
    regions: I32  # [q, HEAD], the nearest region of the item
    distances: I32  # [q, HEAD], bits, of that region
    scores: F32  # [q, HEAD], cosine in -1..1, of that region
    relevant: Bool  # [q, HEAD]


@dataclass(frozen=True)
class Rankings:
    """The three rankings, and how far relevant and other items lie from the queries over the whole corpus."""

    binary: Ranking
    reranked: Ranking
    float: Ranking
    totals: I64  # [q], relevant items of each query
    answers: I64  # [q], id of the relevant item that is nearest by Hamming distance
    hit_distances: I64  # [D + 1], pairs of query and relevant item at each Hamming distance
    miss_distances: I64  # [D + 1], pairs of query and any other item

    def by_name(self) -> dict[str, Ranking]:
        """The rankings by the names of the JSON, in the order of the table."""
        return {"binary": self.binary, "reranked": self.reranked, "float": self.float}


def rank_and_measure(
    corpus: Corpus,
    query_codes: U8,
    query_vectors: F32,
    relevant: Sequence[I64],
    own: Sequence[I64],
    *,
    window: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Rankings:
    """Rank `corpus` for each of q queries.

    Args:
        corpus: at least one row.
        query_codes: uint8 [q, D/8].
        query_vectors: float32 [q, D], of any length.
        relevant: for each query the ids of its relevant items; at least one that is in the corpus and not in `own`.
        own: for each query the ids of the items that are the query itself; they are left out of its rankings.
        window: how many codes are re-ranked.
        progress: called with the number of queries done.
    """
    rows = _Rows(corpus)
    queries, bits = len(query_codes), 8 * corpus.codes.shape[1]
    ways = ("binary", "reranked", "float")
    rankings = {way: _empty(queries) for way in ways}
    totals, answers = np.zeros(queries, np.int64), np.zeros(queries, np.int64)
    histogram = np.zeros((2, bits + 1), np.int64)
    per_query = len(rows.position) * (np.dtype(np.int32).itemsize + np.dtype(np.float32).itemsize)
    batch = max(1, BATCH_BYTES // per_query)
    for start in range(0, queries, batch):
        part = slice(start, start + batch)
        distances = distances_between(query_codes[part], corpus.codes)[:, rows.order]
        scores = _cosines(query_vectors[part], corpus.vectors)[:, rows.order]
        for query in range(start, min(start + batch, queries)):
            near, alike = distances[query - start], scores[query - start]
            wanted, own_rows = rows.choose(relevant[query], own[query])
            near[own_rows], alike[own_rows] = bits + 1, -np.inf
            totals[query] = total = np.count_nonzero(wanted)
            nearest = rows.nearest(near)
            answers[query] = rows.items[wanted][nearest[wanted].argmin()]
            histogram[0] += np.bincount(nearest[wanted], minlength=bits + 1)
            histogram[1] += np.bincount(nearest, minlength=bits + 2)[: bits + 1]
            depth, eligible = max(HEAD, int(total)), len(near) - len(own_rows)
            ranked = _rank(rows, near, alike, depth, eligible, window)
            for way, found in zip(ways, ranked, strict=True):
                _record(rankings[way], query, rows, found, wanted, near, alike)
        progress(min(start + batch, queries))
    misses = histogram[1] - histogram[0]
    return Rankings(**rankings, totals=totals, answers=answers, hit_distances=histogram[0], miss_distances=misses)


class _Rows:
    """The rows of a corpus in order of (item id, region), so that the place of a row breaks ties."""

    def __init__(self, corpus: Corpus) -> None:
        order = np.lexsort((corpus.regions, corpus.item_ids))
        in_order = bool((order[1:] > order[:-1]).all())
        self.order: NDArray[np.intp] | slice = slice(None) if in_order else order
        self.item_ids = corpus.item_ids[order]
        self.regions = corpus.regions[order]
        self.items, self.starts, counts = np.unique(self.item_ids, return_index=True, return_counts=True)
        self.position = np.repeat(np.arange(len(self.items)), counts)  # of each row's item in `items`
        self.most_regions = int(counts.max())

    def choose(self, relevant: I64, own: I64) -> tuple[Bool, NDArray[np.intp]]:
        """Which of `items` are relevant and not the query's own, and the rows of its own."""
        wanted = np.zeros(len(self.items), np.bool_)
        wanted[self._find(relevant)] = True
        mine = self._find(own)
        wanted[mine] = False
        return wanted, np.flatnonzero(np.isin(self.position, mine)) if len(mine) else np.empty(0, np.intp)

    def _find(self, item_ids: I64) -> NDArray[np.intp]:
        places = np.searchsorted(self.items, item_ids).clip(max=len(self.items) - 1)
        found: NDArray[np.intp] = places[self.items[places] == item_ids]
        return found

    def nearest(self, distances: I32) -> I32:
        """The smallest distance of each item: int32 [items]."""
        return distances if self.most_regions == 1 else np.minimum.reduceat(distances, self.starts)

    def fold(self, ranked: NDArray[np.intp]) -> NDArray[np.intp]:
        """Of ranked rows, the first of each item."""
        first = np.unique(self.position[ranked], return_index=True)[1]
        return ranked[np.sort(first)]


def _rank(
    rows: _Rows, distances: I32, scores: F32, depth: int, eligible: int, window: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """The best row of each of at least `depth` items (or all there are), best first, in each of the three ways."""
    near = _smallest(distances, min(eligible, max(depth, window) * rows.most_regions))
    binary = rows.fold(near)
    candidates = near[:window]
    reranked = rows.fold(candidates[np.argsort(-scores[candidates], kind="stable")])
    alike = rows.fold(_smallest(-scores, min(eligible, depth * rows.most_regions)))
    # The candidates hold the first items of the Hamming order and no others, so the rest of it follows them.
    return binary, np.concatenate([reranked, binary[len(reranked) :]]), alike


def _smallest(keys: I32 | F32, count: int) -> NDArray[np.intp]:
    """Places of the `count` smallest keys in ascending order; equal keys in order of their places."""
    bound = np.partition(keys, count - 1)[count - 1]
    places = np.flatnonzero(keys <= bound)
    return places[np.argsort(keys[places], kind="stable")[:count]]


def _cosines(queries: F32, vectors: I8) -> F32:
    """Cosine of each query with each int8 vector, 0 where either is all zeros: float32 [q, N]."""
    unit = queries / _lengths(queries)[:, None]
    cosines = np.empty((len(queries), len(vectors)), np.float32)
    for start in range(0, len(vectors), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        values = vectors[part].astype(np.float32)
        # The tall matrix first: 2 to 4 times as fast as `unit @ values.T` for few queries.
        cosines[:, part] = (values @ unit.T).T / _lengths(values)
    return np.round(cosines, SCORE_DECIMALS, out=cosines)


def _lengths(vectors: F32) -> F32:
    """Euclidean lengths [n], 1 for a vector of zeros."""
    lengths: F32 = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    lengths[lengths == 0] = 1
    return lengths


def _empty(queries: int) -> Ranking:
    shape = (queries, HEAD)
    return Ranking(
        measures={name: np.zeros(queries) for name in MEASURES},
        items=np.full(shape, -1, np.int64),
        regions=np.full(shape, -1, np.int32),
        distances=np.full(shape, -1, np.int32),
        scores=np.full(shape, np.nan, np.float32),
        relevant=np.zeros(shape, np.bool_),
    )


def _record(
    ranking: Ranking, query: int, rows: _Rows, found: NDArray[np.intp], wanted: Bool, distances: I32, scores: F32
) -> None:
    """Write one ranked list of rows into its ranking."""
    hits = wanted[rows.position[found]]
    total = np.array([np.count_nonzero(wanted)])
    for name, measure in MEASURES.items():
        ranking.measures[name][query] = measure(hits[None, :], total)[0]
    head = found[:HEAD]
    ranking.items[query, : len(head)] = rows.item_ids[head]
    ranking.regions[query, : len(head)] = rows.regions[head]
    ranking.distances[query, : len(head)] = distances[head]
    ranking.scores[query, : len(head)] = scores[head]
    ranking.relevant[query, : len(head)] = hits[:HEAD]
