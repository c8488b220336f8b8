"""The window of a query: what it ranked, best first, from which all of its pages come.

A window is fixed once the query is answered. Which of its rows are shown, in which order and what is folded into them
follows from the window alone, so pages of it neither repeat nor lose anything, whatever changes meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visearch.codes import F64, I32, I64, U8
from visearch.scan import distances_between

CUT = 0.6
AT_ONCE = 32  # rows whose distances are computed together
RANK_SCALE = 5  # of reciprocal rank fusion


@dataclass(frozen=True)
class Window:
    """The items of a window, best first, one row each: item_ids int64 [n], best regions int32 [n], their Hamming
    distances int32 [n] in bits, scores float64 [n] in -1..1, codes uint8 [n, D/8] (no bytes if nothing is folded by
    them), which rows are above the relative cut-off, bool [n], and groups int64 [n]: of the rows of one group only the
    best is shown. `coverage` is the share of the corpus that was searched, 1 unless a part of it could not be asked."""

    item_ids: I64
    regions: I32
    distances: I32
    scores: F64
    codes: U8
    relevant: NDArray[np.bool_]
    groups: I64
    coverage: float = 1.0

    @property
    def columns(self) -> dict[str, Any]:
        """The arrays, by name."""
        return {name: value for name, value in vars(self).items() if name != "coverage"}

    def __len__(self) -> int:
        return len(self.item_ids)

    def take(self, rows: NDArray[np.intp]) -> Window:
        """The window of these rows, in this order."""
        return replace(self, **{name: array[rows] for name, array in self.columns.items()})

    def heads(
        self,
        count: int,
        radius: int | None,
        diversity: float = 0.0,
        alike: Callable[[int, int], bool] = lambda row, other: True,
    ) -> list[tuple[int, int]]:
        """The first `count` rows to show, with the number of rows folded into each.

        Row by row: the best that is left is shown, and what is left of its group is folded into it, and what is within
        `radius` bits of it (None: nothing is), except where the two are not `alike`. With `diversity` in 0-1 the best
        is that with the largest (1 - diversity) * score - diversity * (similarity to the nearest row shown), maximal
        marginal relevance (Carbonell and Goldstein, SIGIR 1998), where the similarity is 1 - 2d/D. Relevant rows come
        before all others. The first of a longer list are those of a shorter one.
        """
        if radius is None and not diversity:
            _, first, size = np.unique(self.groups, return_index=True, return_counts=True)
            order = np.argsort(first)[:count]
            return list(zip(first[order].tolist(), (size[order] - 1).tolist(), strict=True))
        left = np.ones(len(self), np.bool_)
        # By the order they are in, unless that is to change on the way.
        values = (1 - diversity) * self.scores if diversity else -np.arange(len(self), dtype=np.float64)
        values = values + np.where(self.relevant, np.float64(2 * len(self) + 2), 0.0)  # above any difference of values
        order = np.argsort(-values, kind="stable")
        nearest = np.full(len(self), -1.0)  # similarity to the nearest row shown
        bits = 8 * self.codes.shape[1]
        grouped = self.groups is not self.item_ids  # else each row is a group of its own
        known: dict[int, I32] = {}  # distances of a row to all
        shown: list[tuple[int, int]] = []
        following = iter(order.tolist())
        while len(shown) < count and left.any():
            if diversity:
                row = int(np.argmax(np.where(left, values - diversity * nearest, -np.inf)))
            else:
                row = next(row for row in following if left[row])
            if row not in known:
                likely = order[left[order] & (order != row)][: AT_ONCE - 1]
                rows = np.concatenate([[row], likely])
                known.update(zip(rows.tolist(), distances_between(self.codes[rows], self.codes), strict=True))
            distances = known[row]
            left[row] = False
            near = np.flatnonzero(left & (distances <= radius)) if radius is not None else ()
            folded = {int(other) for other in near if alike(row, int(other))}
            if grouped:
                folded.update(np.flatnonzero(left & (self.groups == self.groups[row])).tolist())
            left[list(folded)] = False
            if diversity:
                nearest = np.maximum(nearest, 1 - 2 * distances / bits)
            shown.append((row, len(folded)))
        return shown


def relevant(scores: F64, cut: float = CUT) -> NDArray[np.bool_]:
    """Which of the scores of a window, float64 [n] in descending order, are above its cut-off: bool [n].

    The cut-off is relative, since the scores of one query say little about those of another: it lies `cut` of the way
    from the median of the window, which stands for what has nothing to do with the query, to its best score. The best
    F1 of the first 50 matches lies at 0.45-0.55 where a whole class is wanted and above 0.7 where a few products are;
    0.6 loses at most 9 points of the one (docs/modes.md).
    """
    if not len(scores):
        return np.empty(0, np.bool_)
    middle = float(np.median(scores))
    above: NDArray[np.bool_] = scores >= middle + cut * (float(scores.max()) - middle)
    return above


def blend(windows: Sequence[Window], weights: Sequence[float], scale: float = RANK_SCALE) -> Window:
    """One window of the items of several, by weighted reciprocal rank fusion (Cormack and others, SIGIR 2009).

    An item is worth the sum of weight / (`scale` + its rank) of the windows it is in, and is shown as in the one
    that gives it the best score; what any of them finds relevant comes first. Ties go to the smaller item id. A small
    scale lets the first places count: with the usual 60 what is in both lists, however far down, beats the best of one.
    """
    rows = _together(windows)
    worth = np.concatenate(
        [weight / (scale + np.arange(1, len(each) + 1)) for each, weight in zip(windows, weights, strict=True)]
    )
    return _merged(rows, worth)


def raised(window: Window, preferred: Window, bonus: float) -> Window:
    """One window of the items of both, by score, those of `preferred` raised by `bonus`; scores stay as they are, and
    the cut-off is that of the raised ones."""
    rows = _together([window, preferred])
    key = rows.scores + bonus * (np.arange(len(rows)) >= len(window))
    order = np.lexsort((rows.item_ids, -key))
    order = order[_first_of_each(rows.item_ids[order])]
    return replace(rows.take(order), relevant=relevant(key[order]))


def _together(windows: Sequence[Window]) -> Window:
    """The rows of all, one window after another; what was searched for each is what was searched for any."""
    columns = {name: np.concatenate([each.columns[name] for each in windows]) for name in windows[0].columns}
    return Window(**columns, coverage=min(each.coverage for each in windows))


def _merged(rows: Window, worth: F64) -> Window:
    ids, place = np.unique(rows.item_ids, return_inverse=True)
    total = np.bincount(place, worth, minlength=len(ids))
    relevant = np.bincount(place, rows.relevant, minlength=len(ids)) > 0
    order = np.lexsort((-rows.scores, rows.item_ids, -total[place], ~relevant[place]))
    order = order[_first_of_each(rows.item_ids[order])]
    return replace(rows.take(order), relevant=relevant[place[order]])


def _first_of_each(ids: I64) -> NDArray[np.intp]:
    """Places of the first row of each id, in order."""
    return np.sort(np.unique(ids, return_index=True)[1])
