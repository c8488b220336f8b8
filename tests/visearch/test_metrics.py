"""The measures against a second, dumber implementation: one query at a time, in plain Python loops."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visearch import metrics

Case = tuple[list[bool], int]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """The whole ranked corpus of one query: at least one item in it is relevant."""
    ranking = draw(st.lists(st.booleans(), min_size=1, max_size=60).filter(any))
    return ranking, sum(ranking)


def padded(batch: list[Case]) -> tuple[metrics.Bool, metrics.I64]:
    relevant = np.zeros((len(batch), max(len(ranking) for ranking, _ in batch)), np.bool_)
    for row, (ranking, _) in zip(relevant, batch, strict=True):
        row[: len(ranking)] = ranking
    return relevant, np.array([total for _, total in batch])


def hits(ranking: list[bool], k: int) -> int:
    found = 0
    for place, is_relevant in enumerate(ranking, 1):
        if place <= k and is_relevant:
            found += 1
    return found


def dumb_average_precision(ranking: list[bool], k: int) -> Fraction:
    return sum((Fraction(hits(ranking, i), i) for i in range(1, k + 1)), Fraction(0)) / k


def dumb_map_at_r(ranking: list[bool], total: int) -> Fraction:
    terms = [Fraction(hits(ranking, i), i) for i in range(1, total + 1) if ranking[i - 1]]
    return sum(terms, Fraction(0)) / total


def same(measured: metrics.F64, expected: list[Fraction]) -> bool:
    return bool(measured.tolist() == pytest.approx([float(value) for value in expected]))


@given(st.lists(cases(), min_size=1, max_size=5), st.integers(1, 70))
def test_every_measure_is_its_definition(batch: list[Case], k: int) -> None:
    relevant, totals = padded(batch)
    assert same(metrics.precision_at_k(relevant, k), [Fraction(hits(r, k), k) for r, _ in batch])
    assert same(
        metrics.capped_precision_at_k(relevant, totals, k),
        [Fraction(hits(r, k), min(k, n)) for r, n in batch],
    )
    assert same(metrics.average_precision_at_k(relevant, k), [dumb_average_precision(r, k) for r, _ in batch])
    assert same(metrics.recall_at_k(relevant, k), [Fraction(any(r[:k])) for r, _ in batch])
    assert same(metrics.r_precision(relevant, totals), [Fraction(hits(r, n), n) for r, n in batch])
    assert same(metrics.map_at_r(relevant, totals), [dumb_map_at_r(r, n) for r, n in batch])
    curve = metrics.precision_curve(relevant, k)
    for place in range(1, k + 1):
        assert same(curve[:, place - 1], [Fraction(hits(r, place), place) for r, _ in batch])


@given(st.lists(cases(), min_size=1, max_size=5))
def test_the_reported_measures_are_those_of_the_names(batch: list[Case]) -> None:
    relevant, totals = padded(batch)
    reported = {name: measure(relevant, totals) for name, measure in metrics.MEASURES.items()}
    assert list(reported) == [
        "precision_at_1",
        "average_precision_at_20",
        "recall_at_1",
        "recall_at_5",
        "recall_at_10",
        "map_at_r",
    ]
    assert same(reported["precision_at_1"], [Fraction(r[0]) for r, _ in batch])
    assert same(reported["average_precision_at_20"], [dumb_average_precision(r, 20) for r, _ in batch])
    for k in (1, 5, 10):
        assert same(reported[f"recall_at_{k}"], [Fraction(any(r[:k])) for r, _ in batch])
    assert same(reported["map_at_r"], [dumb_map_at_r(r, n) for r, n in batch])


def test_a_ranking_worked_by_hand() -> None:
    relevant, totals = np.array([[True, False, True, False]]), np.array([3])
    assert metrics.precision_at_k(relevant, 10).tolist() == [0.2]
    assert metrics.capped_precision_at_k(relevant, totals, 10).tolist() == [pytest.approx(2 / 3)]
    assert metrics.average_precision_at_k(relevant, 4).tolist() == [pytest.approx((1 + 1 / 2 + 2 / 3 + 2 / 4) / 4)]
    assert metrics.map_at_r(relevant, totals).tolist() == [pytest.approx((1 + 2 / 3) / 3)]
    assert metrics.r_precision(relevant, totals).tolist() == [pytest.approx(2 / 3)]


@given(cases())
def test_every_relevant_item_first_is_perfect(case: Case) -> None:
    relevant, totals = padded([(sorted(case[0], reverse=True), case[1])])
    assert metrics.map_at_r(relevant, totals) == metrics.r_precision(relevant, totals) == 1


@pytest.mark.parametrize("total", [0, 3])
def test_a_measure_that_needs_r_places_refuses_fewer(total: int) -> None:
    with pytest.raises(ValueError, match=r"within 1\.\.2"):
        metrics.map_at_r(np.array([[True, False]]), np.array([total]))


def test_the_interval_repeats_and_holds_the_mean() -> None:
    values = np.random.default_rng(1).random(200)
    low, high = metrics.bootstrap_interval(values)
    assert (low, high) == metrics.bootstrap_interval(values)
    assert low < values.mean() < high


def test_the_interval_is_that_of_the_normal_approximation_where_that_holds() -> None:
    values = (np.arange(1000) < 300).astype(np.float64)
    low, high = metrics.bootstrap_interval(values)
    half = 1.96 * math.sqrt(0.3 * 0.7 / 1000)
    assert [low, high] == pytest.approx([0.3 - half, 0.3 + half], abs=0.003)


def test_equal_values_leave_no_doubt() -> None:
    assert metrics.bootstrap_interval(np.full(7, 0.25)) == (0.25, 0.25)


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one query"):
        metrics.bootstrap_interval(np.empty(0))


def test_a_small_gain_on_every_query_shows_in_pairs_and_not_in_two_separate_intervals() -> None:
    before = np.random.default_rng(2).random(100)
    after = before + 0.01
    assert metrics.paired_difference(before, after) == pytest.approx((0.01, 0.01, 0.01))
    assert metrics.bootstrap_interval(before)[1] > metrics.bootstrap_interval(after)[0]


def test_pairs_are_of_the_same_queries() -> None:
    with pytest.raises(ValueError, match="same queries"):
        metrics.paired_difference(np.zeros(2), np.zeros(3))


def dumb_nmi(first: list[int], second: list[int]) -> float:
    n = len(first)

    def entropy(values: list[object]) -> float:
        return -sum(count / n * math.log(count / n) for count in Counter(values).values())

    both = entropy(list(first)) + entropy(list(second))
    return 2 * (both - entropy(list(zip(first, second, strict=True)))) / both if both > 1e-12 else 1.0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_nmi_is_its_definition(pairs: list[tuple[int, int]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    measured = metrics.normalized_mutual_information(np.array(first), np.array(second))
    assert measured == pytest.approx(dumb_nmi(first, second), abs=1e-9)


def test_clusters_that_are_the_labels_have_an_nmi_of_one() -> None:
    random = np.random.default_rng(3)
    labels = [name for name in ("apple", "pear", "plum") for _ in range(20)]
    centres = {"apple": [9, 0], "pear": [0, 9], "plum": [-9, -9]}
    embeddings = np.array([centres[label] + random.normal(size=2) for label in labels], np.float32)
    assert metrics.clustering_nmi(embeddings, labels) == pytest.approx(1)
    assert metrics.clustering_nmi(random.normal(size=(60, 2)).astype(np.float32), labels) < 0.3
