"""The index of a collection that changes: a base in files, a small flat delta in memory, and which codes have died.

A change makes a new *view* that is swapped in by one assignment: a search works on the view it began with and never
sees half an update. A change costs what it adds and removes, whatever the size of the base: new rows are appended
behind those that older views count, and a row dies by being marked with the number of the first view without it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from visearch.base import CACHED_FILTERS, I64, Base, BaseInfo, write_base
from visearch.filters import Filter
from visearch.scan import I32, U8, Positions, Rows, nearest

__all__ = ["Added", "Base", "BaseInfo", "Candidates", "Index", "IndexLike", "View", "should_merge", "write_base"]

MERGE_ROWS = 10_000  # a delta up to this size costs a search less than 0.1 ms
MERGE_SHARE = 8  # ... and is then merged when it outgrows this part of the base
FIRST_CAPACITY = 1024  # rows


@dataclass(frozen=True)
class Added:
    """Rows to add: code_ids and item_ids int64 [n], regions int32 [n], codes uint8 [n, D/8], n metadata mappings."""

    code_ids: I64
    item_ids: I64
    regions: I32
    codes: U8
    metadata: Sequence[Mapping[str, object]]


@dataclass(frozen=True)
class Candidates:
    """What a search found, best first by (distance, item_id, region). Distances are in bits; `coverage` is the share of
    the codes that could be searched."""

    code_ids: I64
    item_ids: I64
    regions: I32
    distances: I32
    coverage: float = 1.0


class IndexLike(Protocol):
    """What a searcher asks of its index: an `Index`, or one whose parts are in other processes."""

    @property
    def delta_rows(self) -> int:
        """As of Index."""

    @property
    def dead_rows(self) -> int:
        """As of Index."""

    @property
    def live_rows(self) -> int:
        """As of Index."""

    def apply(self, added: Added, removed_code_ids: I64) -> None:
        """As of Index."""

    def search(
        self,
        code: U8,
        k: int,
        *,
        filter: Filter | None = None,
        exact: bool = False,
        max_distance: int | None = None,
    ) -> Candidates:
        """As of Index."""


def should_merge(base_rows: int, delta_rows: int, dead_rows: int) -> bool:
    """Whether writing a new base now is cheaper than going on.

    A rewrite costs a constant per row of the base. Waiting until the changes are an eighth of it spreads that over
    them: each pays for at most nine rows, about 0.3 ms, which is little beside embedding a picture. Until then a search
    compares with at most an eighth as many codes more as the base has.
    """
    return delta_rows + dead_rows > MERGE_ROWS + base_rows // MERGE_SHARE


class _Delta:
    """Rows in arrays that double when full. Rows are only ever appended, so a view that counts fewer stays right."""

    def __init__(self, bits: int, capacity: int = FIRST_CAPACITY) -> None:
        self.codes = np.zeros((capacity, bits // 8), np.uint8)
        self.code_ids, self.item_ids = np.zeros(capacity, np.int64), np.zeros(capacity, np.int64)
        self.regions = np.zeros(capacity, np.int32)
        self.died = np.zeros(capacity, np.uint32)
        self.metadata: list[Mapping[str, object]] = []

    def with_room(self, count: int, more: int) -> _Delta:
        """This, or a copy of its first `count` rows with room for `more`."""
        if count + more <= len(self.codes):
            return self
        grown = _Delta(self.codes.shape[1] * 8, max(2 * len(self.codes), count + more))
        for name in ("codes", "code_ids", "item_ids", "regions", "died"):
            getattr(grown, name)[:count] = getattr(self, name)[:count]
        grown.metadata = self.metadata
        return grown

    def write(self, start: int, added: Added) -> None:
        """Fill the rows from `start` on."""
        rows = slice(start, start + len(added.code_ids))
        self.codes[rows], self.code_ids[rows], self.item_ids[rows] = added.codes, added.code_ids, added.item_ids
        self.regions[rows] = added.regions
        self.metadata.extend(added.metadata)


@dataclass(frozen=True)
class View:
    """One state of an index. `rows` of the delta count; what died at `number` or before is dead."""

    number: int
    delta: _Delta
    rows: int
    base_dead: int
    delta_dead: int


class Index:
    """Base, delta and the dead. `apply` may run in one thread while others search."""

    def __init__(self, base: Base | None, bits: int) -> None:
        self._base = base
        self._base_died = np.zeros(base.rows if base else 0, np.uint32)  # number of the view; 0 while alive
        self._row_of: dict[int, int] = {}  # code id -> row, of what lives in the delta
        self._matches: dict[Filter, NDArray[np.bool_]] = {}  # by filter, for the delta's first rows
        self._view = View(0, _Delta(bits), 0, 0, 0)
        self._writing, self._caching = threading.Lock(), threading.Lock()
        self.bits = bits

    @staticmethod
    def open(base: Base | None, bits: int) -> Index:
        """An index of the rows of a base, or an empty one for codes of `bits` bits.

        Raises:
            ValueError: the base has codes of another length.
        """
        if base is not None and base.bits != bits:
            raise ValueError(f"the base has codes of {base.bits} bits, not {bits}")
        return Index(base, bits)

    @property
    def view(self) -> View:
        """The state of this moment, which `search` can be asked for later too. Its number counts the changes."""
        return self._view

    @property
    def delta_rows(self) -> int:
        """Rows beside the base, dead ones included."""
        return self._view.rows

    @property
    def dead_rows(self) -> int:
        """Rows of base and delta that are dead."""
        return self._view.base_dead + self._view.delta_dead

    @property
    def live_rows(self) -> int:
        """Rows that a search can find."""
        return len(self._base_died) + self._view.rows - self.dead_rows

    def apply(self, added: Added, removed_code_ids: I64) -> None:
        """Remove rows, then add rows, in one step for every search. Code ids that are not here are no error to remove.

        Raises:
            ValueError: the arrays do not fit together, or a code id is already here. Nothing has changed then.
        """
        with self._writing:
            view = self._view
            number = view.number + 1
            gone = {int(code_id) for code_id in removed_code_ids}
            self._check(added, gone)
            delta = view.delta.with_room(view.rows, len(added.code_ids))
            delta.write(view.rows, added)
            base_rows = self._live_in_base(np.fromiter(gone, np.int64, len(gone)))
            self._base_died[base_rows] = number
            delta_rows = [self._row_of.pop(code_id) for code_id in gone if code_id in self._row_of]
            delta.died[delta_rows] = number
            self._row_of.update(
                zip(added.code_ids.tolist(), range(view.rows, view.rows + len(added.code_ids)), strict=True)
            )
            self._view = View(
                number,
                delta,
                view.rows + len(added.code_ids),
                view.base_dead + len(base_rows),
                view.delta_dead + len(delta_rows),
            )

    def search(
        self,
        code: U8,
        k: int,
        *,
        filter: Filter | None = None,
        exact: bool = False,
        max_distance: int | None = None,
        view: View | None = None,
    ) -> Candidates:
        """The k nearest codes, best first by (distance, item_id, region).

        Never fewer than min(k, eligible), where eligible are the live codes whose metadata pass the filter. The same as
        comparing with every code where the base is flat or with `exact`; otherwise nearly, see BaseInfo.recall_curve.

        Args:
            code: uint8 [D/8].
            k: at least 1.
            filter: what the metadata must match.
            exact: compare with every eligible code.
            max_distance: the largest distance in bits of an answer.
            view: an earlier state to search, the latest by default.

        Raises:
            ValueError: the code has another length than the index's, or k is less than 1.
        """
        code = np.ascontiguousarray(code, np.uint8)
        if code.shape != (self.bits // 8,) or k < 1:
            raise ValueError(f"a search needs a code of {self.bits // 8} bytes and k >= 1, not {code.shape} and {k}")
        furthest = self.bits if max_distance is None else min(max_distance, self.bits)
        view = view or self._view
        parts = [self._search_delta(view, code, k, furthest, filter)]
        if self._base is not None and self._base.rows:
            base = self._base
            alive = partial(_alive, self._base_died, view.number) if view.base_dead else None
            rows, distances = base.search(code, k, furthest=furthest, filter=filter, exact=exact, alive=alive)
            parts.append((base.code_ids_of(rows), base.item_ids[rows], base.regions[rows], distances))
        code_ids, item_ids, regions, distances = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        best = np.lexsort((regions, item_ids, distances))[:k]
        return Candidates(code_ids[best], item_ids[best], regions[best], distances[best])

    def _search_delta(
        self, view: View, code: U8, k: int, furthest: int, filter: Filter | None
    ) -> tuple[I64, I64, I32, I32]:
        delta = view.delta
        rows = None if filter is None else np.flatnonzero(self._matching(view, filter)).astype(np.uint32)
        alive = partial(_alive, delta.died, view.number) if view.delta_dead else None
        found, distances = nearest(code, delta.codes[: view.rows], k, furthest=furthest, rows=rows, keep=alive)
        return delta.code_ids[found], delta.item_ids[found], delta.regions[found], distances

    def _matching(self, view: View, filter: Filter) -> NDArray[np.bool_]:
        """Which rows of the delta pass a filter; only rows that came since it was last asked for are looked at."""
        known = self._matches.get(filter, np.empty(0, np.bool_))
        if len(known) < view.rows:
            new = [filter.matches(metadata) for metadata in view.delta.metadata[len(known) : view.rows]]
            known = np.concatenate([known, np.array(new, np.bool_)])
            with self._caching:
                self._matches[filter] = known
                if len(self._matches) > CACHED_FILTERS:
                    del self._matches[next(iter(self._matches))]
        return known[: view.rows]

    def _check(self, added: Added, gone: set[int]) -> None:
        count = len(added.code_ids)
        lengths = {len(array) for array in (added.item_ids, added.regions, added.codes, added.metadata)}
        if lengths != {count} or added.codes.shape != (count, self.bits // 8):
            raise ValueError(f"rows to add differ in number, or their codes are not {self.bits // 8} bytes")
        ids = set(added.code_ids.tolist())
        staying = np.array(sorted(ids - gone), np.int64)
        if len(ids) < count or not self._row_of.keys().isdisjoint(staying.tolist()) or len(self._live_in_base(staying)):
            raise ValueError("a code id to add is already in the index")

    def _live_in_base(self, code_ids: I64) -> Positions:
        if self._base is None:
            return np.empty(0, np.int64)
        rows = self._base.rows_of(code_ids)
        living: Positions = rows[self._base_died[rows] == 0]
        return living


def _alive(died: NDArray[np.uint32], number: int, rows: Positions | Rows) -> NDArray[np.bool_]:
    """Which rows live in a view: those not marked, and those that a later view has lost."""
    marks = died[rows]
    living: NDArray[np.bool_] = (marks == 0) | (marks > number)
    return living
