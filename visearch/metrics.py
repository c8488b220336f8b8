"""The measures of a ranked corpus, each as one value a query, and how sure their means are.

Names lie between libraries; these definitions are the project's own. Everywhere `relevant` is bool
[queries, depth]: whether the item at each place of a query's ranking, best first, is relevant, False past the
end of a short corpus. `totals` is int [queries]: how many items of the corpus are relevant at all, found or
not, at least 1. Every measure is float64 [queries] in 0..1; the figure that a report gives is its mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Bool = NDArray[np.bool_]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

CONFIDENCE = 0.95
RESAMPLES = 2000
SEED = 0
KMEANS_ITERATIONS = 25


def precision_curve(relevant: Bool, k: int) -> F64:
    """Precision@1 ... Precision@k of each query: float64 [queries, k]."""
    places = relevant[:, :k]
    padded = np.pad(places, ((0, 0), (0, k - places.shape[1])))
    curve: F64 = padded.cumsum(axis=1) / np.arange(1, k + 1)
    return curve


def precision_at_k(relevant: Bool, k: int) -> F64:
    """Hits in the first k, over k, also where fewer than k relevant items exist."""
    values: F64 = relevant[:, :k].sum(axis=1) / k
    return values


def capped_precision_at_k(relevant: Bool, totals: I64, k: int) -> F64:
    """Hits in the first k, over k or the number of relevant items, whichever is smaller."""
    values: F64 = relevant[:, :k].sum(axis=1) / np.minimum(k, totals)
    return values


def average_precision_at_k(relevant: Bool, k: int) -> F64:
    """The paper's Average P@k (arXiv 1908.01707): the mean of Precision@1 ... Precision@k."""
    values: F64 = precision_curve(relevant, k).mean(axis=1)
    return values


def recall_at_k(relevant: Bool, k: int) -> F64:
    """1 where any of the first k is relevant, else 0: metric learning's hit rate."""
    values: F64 = (relevant[:, :k].sum(axis=1) > 0).astype(np.float64)
    return values


def r_precision(relevant: Bool, totals: I64) -> F64:
    """Hits in the first R over R, R = the number of relevant items. Needs a depth of at least R."""
    values: F64 = _first_r(relevant, totals).sum(axis=1) / totals
    return values


def map_at_r(relevant: Bool, totals: I64) -> F64:
    """The sum over the first R places i of Precision@i where place i is relevant, over R; needs depth R."""
    hits = _first_r(relevant, totals)
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    values: F64 = (precision * hits).sum(axis=1) / totals
    return values


def _first_r(relevant: Bool, totals: I64) -> Bool:
    """`relevant` with everything past each query's R-th place cleared."""
    if totals.min(initial=1) < 1 or totals.max(initial=1) > relevant.shape[1]:
        raise ValueError(f"totals must be within 1..{relevant.shape[1]}, the depth of the rankings")
    first: Bool = relevant & (np.arange(relevant.shape[1]) < totals[:, None])
    return first


MEASURES: dict[str, Callable[[Bool, I64], F64]] = {
    "precision_at_1": lambda relevant, totals: precision_at_k(relevant, 1),
    "average_precision_at_20": lambda relevant, totals: average_precision_at_k(relevant, 20),
    "recall_at_1": lambda relevant, totals: recall_at_k(relevant, 1),
    "recall_at_5": lambda relevant, totals: recall_at_k(relevant, 5),
    "recall_at_10": lambda relevant, totals: recall_at_k(relevant, 10),
    "map_at_r": map_at_r,
}
"""What `visearch evaluate` reports, by the names of its JSON."""


def bootstrap_interval(values: F64, *, seed: int = SEED, resamples: int = RESAMPLES) -> tuple[float, float]:
    """95% interval of the mean of `values` [queries]: percentiles of the means of resampled queries."""
    if not len(values):
        raise ValueError("an interval needs at least one query")
    random = np.random.default_rng(seed)
    means = [values[random.integers(len(values), size=len(values))].mean() for _ in range(resamples)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def paired_difference(before: F64, after: F64, *, seed: int = SEED) -> tuple[float, float, float]:
    """Mean of `after - before` on the same queries in the same order, and its 95% interval (low, high).

    An interval that leaves out 0 says that the two differ; two separate intervals would say it too rarely.
    """
    if before.shape != after.shape:
        raise ValueError(f"the two must hold the same queries: {before.shape} and {after.shape}")
    difference = after - before
    return float(difference.mean()), *bootstrap_interval(difference, seed=seed)


def clustering_nmi(embeddings: F32, labels: Sequence[object], *, seed: int = SEED) -> float:
    """NMI of the labels with k-means clusters of the embeddings [n, D], as many clusters as labels."""
    import faiss

    embeddings = np.ascontiguousarray(embeddings, dtype=np.float32)
    names = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    kmeans = faiss.Kmeans(
        embeddings.shape[1],
        len(names),
        niter=KMEANS_ITERATIONS,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=len(embeddings),
    )
    kmeans.train(embeddings)
    clusters = kmeans.index.search(embeddings, 1)[1][:, 0]
    return normalized_mutual_information(np.array([names[label] for label in labels]), clusters)


def normalized_mutual_information(first: I64, second: I64) -> float:
    """Mutual information of two labellings [n] over the mean of their entropies; 1 where neither has any."""
    together = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(together, (first, second), 1)
    together /= len(first)
    rows, columns = together.sum(axis=1), together.sum(axis=0)
    entropies = _entropy(rows) + _entropy(columns)
    return float(2 * (entropies - _entropy(together)) / entropies) if entropies > 0 else 1.0


def _entropy(probabilities: F64) -> float:
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log(positive)).sum())
