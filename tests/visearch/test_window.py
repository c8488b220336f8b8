"""The window of a query: what is folded, in which order it is shown, how windows are put together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visearch import codes
from visearch.window import Window, blend, raised, relevant


def window(item_ids: list[int], scores: list[float], rows: Any = None, above: Any = None, groups: Any = None) -> Window:
    """A window of these items, whose scores are given best first."""
    count = len(item_ids)
    packed = np.zeros((count, 2), np.uint8) if rows is None else np.array(rows, np.uint8).reshape(count, -1)
    return Window(
        np.array(item_ids, np.int64),
        np.arange(count, dtype=np.int32),
        np.arange(count, dtype=np.int32),
        np.array(scores, np.float64),
        packed,
        np.ones(count, np.bool_) if above is None else np.array(above, np.bool_),
        np.array(item_ids, np.int64) if groups is None else np.array(groups, np.int64),
    )


@st.composite
def windows(draw: st.DrawFn) -> Window:
    count = draw(st.integers(1, 25))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    scores = np.sort(random.random(count))[::-1]
    # Few bits set: some rows are near, some equal, some far.
    packed = np.packbits(random.random((count, 24)) < 0.15, axis=1)
    groups = random.integers(count, size=count)
    return window(random.permutation(count).tolist(), scores.tolist(), packed, scores >= np.median(scores), groups)


def by_hand(given: Window, count: int, radius: int | None, diversity: float) -> list[tuple[int, int]]:
    """The same, one comparison after another."""
    left, shown = list(range(len(given))), list[tuple[int, int]]()
    bits = 8 * given.codes.shape[1]
    while left and len(shown) < count:
        plain = radius is None and not diversity  # then the window is taken as it is: its relevant rows come first
        pool = left if plain else [row for row in left if given.relevant[row]] or left

        def worth(row: int) -> float:
            near = [1 - 2 * int(codes.hamming(given.codes[row], given.codes[other])) / bits for other, _ in shown]
            return float((1 - diversity) * given.scores[row]) - diversity * max(near, default=-1.0)

        best = max(pool, key=worth) if diversity else pool[0]
        left.remove(best)
        near = [
            row
            for row in left
            if given.groups[row] == given.groups[best]
            or (radius is not None and codes.hamming(given.codes[row], given.codes[best]) <= radius)
        ]
        left = [row for row in left if row not in near]
        shown.append((best, len(near)))
    return shown


@given(windows(), st.integers(1, 30), st.sampled_from([None, 0, 2, 5]), st.sampled_from([0.0, 0.3, 1.0]))
def test_what_is_shown_equals_the_same_by_hand(found: Window, count: int, radius: int | None, diversity: float) -> None:
    assert found.heads(count, radius, diversity) == by_hand(found, count, radius, diversity)


@given(windows(), st.sampled_from([None, 0, 3]), st.sampled_from([0.0, 0.5]), st.integers(1, 12))
def test_pages_hold_every_row_once_shown_or_folded(
    found: Window, radius: int | None, diversity: float, limit: int
) -> None:
    everything = found.heads(len(found), radius, diversity)
    paged = []
    for start in range(0, len(found), limit):
        paged += found.heads(start + limit, radius, diversity)[start:]
    assert paged == everything
    assert len(everything) + sum(folded for _, folded in everything) == len(found)
    assert len({row for row, _ in everything}) == len(everything)


def test_what_must_be_kept_apart_is_not_folded() -> None:
    found = window([1, 2, 3], [0.9, 0.8, 0.7])
    assert found.heads(9, 0) == [(0, 2)]
    assert found.heads(9, 0, alike=lambda row, other: {row, other} != {0, 1}) == [(0, 1), (1, 0)]


def test_diversity_puts_what_is_unlike_before_what_is_alike() -> None:
    found = window([1, 2, 3], [0.9, 0.89, 0.5], [[0, 0], [0, 1], [255, 255]])
    assert [row for row, _ in found.heads(3, None)] == [0, 1, 2]
    assert [row for row, _ in found.heads(3, None, 0.5)] == [0, 2, 1]


# The relative cut-off


def test_the_tail_that_is_like_everything_else_is_below_the_cut_off() -> None:
    scores = np.concatenate([[0.9, 0.88, 0.85], np.linspace(0.35, 0.2, 97)])
    assert relevant(scores).sum() == 3
    assert relevant(scores / 3).sum() == 3  # of a query whose scores are all low, as many


def test_the_cut_off_lies_so_much_of_the_way_from_the_median_to_the_best() -> None:
    scores = np.array([0.9, 0.61, 0.59, 0.41, 0.39, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    assert [int(relevant(scores, cut).sum()) for cut in (1.0, 0.63, 0.6, 0.38, 0.36)] == [1, 2, 3, 4, 5]


def test_the_best_is_always_above_it_and_all_equal_scores_are() -> None:
    assert relevant(np.array([0.3])).tolist() == [True]
    assert relevant(np.full(5, 0.4)).all()
    assert relevant(np.empty(0)).tolist() == []


# Putting windows together


def test_a_blend_is_ordered_by_the_sum_of_reciprocal_ranks_and_shows_the_better_score() -> None:
    left, right = window([1, 2, 3], [0.9, 0.5, 0.4]), window([3, 4, 1], [0.8, 0.7, 0.6])
    blended = blend([left, right], [1, 1])
    worth = {1: 1 / 6 + 1 / 8, 2: 1 / 7, 3: 1 / 8 + 1 / 6, 4: 1 / 7}
    assert blended.item_ids.tolist() == sorted(worth, key=lambda item: (-worth[item], item))
    assert blended.scores.tolist() == [0.9, 0.8, 0.5, 0.7]


def test_in_a_blend_the_window_that_weighs_more_comes_first() -> None:
    left, right = window([1, 2], [0.5, 0.4]), window([3, 4], [0.9, 0.8])
    assert blend([left, right], [1, 0.5]).item_ids.tolist() == [1, 2, 3, 4]
    assert blend([left, right], [0.5, 1]).item_ids.tolist() == [3, 4, 1, 2]


def test_in_a_blend_what_either_window_finds_relevant_comes_first() -> None:
    left = window([1, 2], [0.9, 0.8], above=[True, False])
    right = window([2, 3], [0.9, 0.8], above=[False, False])
    assert blend([left, right], [1, 1]).item_ids.tolist() == [1, 2, 3]


@given(windows())
def test_a_blend_of_one_window_is_that_window(found: Window) -> None:
    assert blend([found], [0.5]).item_ids.tolist() == found.item_ids.tolist()


@pytest.mark.parametrize(("bonus", "order"), [(0.0, [1, 2, 3]), (0.15, [2, 1, 3]), (0.5, [2, 3, 1])])
def test_what_is_preferred_is_raised_by_the_bonus_and_keeps_its_score(bonus: float, order: list[int]) -> None:
    found = raised(window([1, 2], [0.9, 0.8]), window([2, 3], [0.8, 0.6]), bonus)
    assert found.item_ids.tolist() == order
    assert dict(zip(found.item_ids.tolist(), found.scores.tolist(), strict=True)) == {1: 0.9, 2: 0.8, 3: 0.6}


def test_what_is_preferred_is_shown_first_although_its_own_window_found_it_irrelevant() -> None:
    """The window of a category is narrow: its cut-off lies high."""
    rows = np.eye(7) * 255  # all unlike
    everything = window(
        [1, 2, 3, 4, 6, 7], [0.9, 0.85, 0.3, 0.2, 0.1, 0.05], rows[[1, 2, 3, 4, 0, 6]], [1, 1, 0, 0, 0, 0]
    )
    category = window([5, 2, 3], [0.95, 0.85, 0.3], rows[[5, 2, 3]], [True, False, False])
    found = raised(everything, category, 0.1)
    shown = [int(found.item_ids[row]) for row, _ in found.heads(9, radius=0)]
    assert shown == found.item_ids.tolist() == [5, 2, 1, 3, 4, 6, 7]
    assert found.relevant.tolist() == [True, True, True, False, False, False, False]
