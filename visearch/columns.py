"""Which rows of a base a filter selects, answered from packed columns instead of metadata records.

Every key of the metadata has one column: postings (the rows of each value) and, where the key has numbers, those
numbers sorted with their rows. A value is known by a 64-bit hash of its kind and content: that any two of a million
values share one has probability 3e-8. All arrays are mapped from one file; a query touches only the keys it names.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visearch.arrays import Array, ArrayWriter, open_arrays
from visearch.errors import IndexFileError
from visearch.filters import Condition, Exists, Filter, Range, Typed, as_float, elements
from visearch.scan import Rows

HASH_CACHE = 1 << 16  # recent values whose hash is kept while columns are written


class _Gathered:
    """What was seen of one key: the hash and row of every value, and again those that are numbers."""

    def __init__(self) -> None:
        self.hashes, self.rows = array("Q"), array("I")
        self.numbers, self.number_rows = array("d"), array("I")


def write_columns(path: Path, metadata: Iterable[Mapping[str, object]], row_of: Rows | None) -> dict[str, Any]:
    """Write the columns of a base; return their description for `Columns`.

    Args:
        path: the file to make.
        metadata: one mapping per code, in the order the codes were given.
        row_of: uint32 [N], the row of the n-th code; None where that is n.
    """
    gathered: dict[str, _Gathered] = {}
    for number, mapping in enumerate(metadata):
        row = number if row_of is None else int(row_of[number])
        for key, value in mapping.items():
            column = gathered.get(key) or gathered.setdefault(key, _Gathered())
            for typed in elements(value):
                column.hashes.append(_hash(typed))
                column.rows.append(row)
                if typed[0] == "number":
                    column.numbers.append(as_float(typed[1]))
                    column.number_rows.append(row)
    writer = ArrayWriter(path)
    keys = sorted(gathered)
    for place, key in enumerate(keys):
        column = gathered.pop(key)  # let go of each once it is written
        hashes, rows = np.frombuffer(column.hashes, np.uint64), np.frombuffer(column.rows, np.uint32)
        order = np.lexsort((rows, hashes))
        distinct, starts = np.unique(hashes[order], return_index=True)
        writer.add(f"{place}.hashes", [distinct], np.uint64)
        writer.add(f"{place}.starts", [starts, np.array([len(rows)])], np.int64)
        writer.add(f"{place}.rows", [rows[order]], np.uint32)
        numbers, rows = np.frombuffer(column.numbers, np.float64), np.frombuffer(column.number_rows, np.uint32)
        order = np.argsort(numbers, kind="stable")
        writer.add(f"{place}.numbers", [numbers[order]], np.float64)
        writer.add(f"{place}.number_rows", [rows[order]], np.uint32)
    return {**writer.finish(), "keys": keys}


class Columns:
    """The columns of a base of `rows` rows, mapped from the file that `write_columns` made."""

    def __init__(self, path: Path, description: Mapping[str, Any], rows: int) -> None:
        """Open them; raises IndexFileError where the file is not as described."""
        self._path = path
        self._arrays: Mapping[str, Array] = open_arrays(path, description)
        self._place = {key: place for place, key in enumerate(description["keys"])}
        self._rows = rows

    def part(self, rows: NDArray[np.int64]) -> Columns:
        """The columns of some of the rows, int64 [n] ascending, which are 0 .. n - 1 there; in memory."""
        part = Columns.__new__(Columns)
        part._path, part._place, part._rows = self._path, self._place, len(rows)
        new_row = np.full(self._rows, -1, np.int64)
        new_row[rows] = np.arange(len(rows))
        arrays: dict[str, Array] = {}
        for place in self._place.values():
            hashes, starts = self._arrays[f"{place}.hashes"], self._arrays[f"{place}.starts"]
            kept, arrays[f"{place}.rows"] = self._kept(self._arrays[f"{place}.rows"], new_row)
            sizes = np.bincount(np.repeat(np.arange(len(hashes)), np.diff(starts))[kept], minlength=len(hashes))
            arrays[f"{place}.hashes"] = hashes[sizes > 0]
            arrays[f"{place}.starts"] = np.concatenate([[0], np.cumsum(sizes[sizes > 0])]).astype(np.int64)
            kept, arrays[f"{place}.number_rows"] = self._kept(self._arrays[f"{place}.number_rows"], new_row)
            arrays[f"{place}.numbers"] = self._arrays[f"{place}.numbers"][kept]
        part._arrays = arrays
        return part

    def _kept(self, rows: Rows, new_row: NDArray[np.int64]) -> tuple[NDArray[np.bool_], Rows]:
        """Which of these rows are in a part, and their numbers there."""
        try:
            numbers = new_row[rows]
        except IndexError:
            raise IndexFileError(f"{self._path}: was damaged; rebuild the index") from None
        kept: NDArray[np.bool_] = numbers >= 0
        return kept, numbers[kept].astype(np.uint32)

    def select(self, filter: Filter) -> NDArray[np.bool_]:
        """Which rows have metadata that match, bool [rows].

        Raises:
            IndexFileError: the file names rows that the base does not have: it was damaged.
        """
        selected = np.ones(self._rows, bool)
        for key, condition in filter.conditions:
            mask = np.zeros(self._rows, bool)
            try:
                for rows in self._postings(key, condition):
                    mask[rows] = True
            except IndexError:
                raise IndexFileError(f"{self._path}: was damaged; rebuild the index") from None
            selected &= mask
        return selected

    def _postings(self, key: str, condition: Condition) -> Iterable[Rows]:
        place = self._place.get(key)
        if place is None:
            return
        if isinstance(condition, Exists):
            yield self._arrays[f"{place}.rows"]
            return
        if isinstance(condition, Range):
            numbers = self._arrays[f"{place}.numbers"]
            first, last = 0, len(numbers)
            for name, bound in condition.bounds:
                # gte and lt split before the equal numbers, gt and lte after them
                split = int(np.searchsorted(numbers, bound, "left" if name in ("gte", "lt") else "right"))
                first, last = (max(first, split), last) if name in ("gt", "gte") else (first, min(last, split))
            yield self._arrays[f"{place}.number_rows"][first:last]
            return
        hashes, starts = self._arrays[f"{place}.hashes"], self._arrays[f"{place}.starts"]
        for value in condition.values:
            wanted = np.uint64(_hash(value))
            at = int(np.searchsorted(hashes, wanted))
            if at < len(hashes) and hashes[at] == wanted:
                yield self._arrays[f"{place}.rows"][starts[at] : starts[at + 1]]


@lru_cache(HASH_CACHE)
def _hash(typed: Typed) -> int:
    """A stable 64-bit hash; equal values (1 and 1.0) have the same."""
    kind, value = typed
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    content = value if isinstance(value, str) else repr(value)
    return int.from_bytes(
        blake2b(f"{kind}:{content}".encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
    )
