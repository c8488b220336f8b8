"""One shard of a collection that is spread over a cluster: the index of a part of its items, in a process of its own.

Shard i of n holds the items whose id is i modulo n. So all regions of an item are in one shard, and an update of it is
seen whole; the shards are of one size whatever is added or removed; and which one an item is in follows from its id,
for ever. (Were they runs of ids, all that is new would go to the last one.)

It is told what to hold by the root (sharded.py), which reads the store: the index files, from which it takes its part,
and every change since, by number. It never opens the store, so a file system that all machines see need not be one
that LMDB can be shared on. Nothing here knows Ray: any process could be a shard.
"""

from __future__ import annotations

import pickle
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from visearch.base import Base, stamp_of
from visearch.codes import I64, U8
from visearch.errors import IndexFileError
from visearch.filters import Filter
from visearch.index import Added, Candidates, Index, View

HERE = "local"  # the address that means: a cluster of this machine, for as long as this process runs
VIEWS_KEPT = 64  # changes: a question that is under way when another arrives is still answered as of its own
CHANGE_SECONDS = 5.0  # how long a question waits for a change that it was told of and that has not arrived


@dataclass(frozen=True)
class Sharding:
    """How collections are spread: the address of the cluster, or HERE, and how many shards of each there are, and how
    many replicas of each shard."""

    address: str
    shards: int
    replicas: int


@dataclass(frozen=True)
class Change:
    """Rows that were added and code ids that were removed, in one step."""

    added: Added
    removed: I64


@dataclass(frozen=True)
class Files:
    """The index files that a state begins with: their folder, and the stamp of those that are meant."""

    folder: Path
    stamp: str


@dataclass(frozen=True)
class Question:
    """A search of a state as it is after so many changes; see Index.search."""

    state: int
    changes: int
    code: U8
    k: int
    filter: Filter | None
    exact: bool
    max_distance: int | None


@dataclass(frozen=True)
class Found:
    """What a shard found, and how long it took, in milliseconds."""

    candidates: Candidates
    milliseconds: float


@dataclass
class _State:
    """The index of one generation on one set of files. `early` are changes that came before those they follow on."""

    index: Index
    early: dict[int, Change] = field(default_factory=dict)
    views: dict[int, View] = field(default_factory=dict)

    @property
    def changes(self) -> int:
        return self.index.view.number


class Shard:
    """Shard `number` of `count`. Its methods may run at the same time in different threads."""

    def __init__(self, number: int, count: int) -> None:
        self._number, self._count = number, count
        self._states: dict[int, _State] = {}
        self._changed = threading.Condition()

    def changes(self) -> dict[int, int]:
        """How many changes each of its states has seen."""
        with self._changed:
            return {key: state.changes for key, state in self._states.items()}

    def open(self, key: int, files: Files | None, bits: int) -> None:
        """Begin a state with this shard's part of index files, or with nothing.

        Raises:
            IndexFileError: the files are not here, not whole, or not those that are meant.
        """
        base = None if files is None else self._part(files)
        index = Index.open(base, bits)
        with self._changed:
            self._states[key] = _State(index, views={0: index.view})

    def _part(self, files: Files) -> Base:
        base = Base.open(files.folder)
        if stamp_of(files.folder) != files.stamp:
            raise IndexFileError(f"{files.folder}: belongs to another state of the store")
        return base.part(np.flatnonzero(shard_of(base.item_ids, self._count) == self._number))

    def close(self, key: int) -> None:
        """Forget a state."""
        with self._changed:
            self._states.pop(key, None)

    def apply(self, key: int, number: int, change: Change) -> None:
        """The `number`-th change of a state, from 1: rows of this shard, and removals of any. They may come in any
        order, and twice."""
        with self._changed:
            state = self._states[key]
            if number > state.changes:
                state.early[number] = change
            while (due := state.early.pop(state.changes + 1, None)) is not None:
                state.index.apply(due.added, due.removed)
                state.views[state.changes] = state.index.view
                state.views.pop(state.changes - VIEWS_KEPT, None)
            self._changed.notify_all()

    def search(self, asked: Question) -> Found:
        """What this shard has, best first.

        Raises:
            KeyError: it has no such state.
            TimeoutError: a change that the question knows of does not arrive.
        """
        with self._changed:
            state = self._states[asked.state]
            if not self._changed.wait_for(lambda: state.changes >= asked.changes, CHANGE_SECONDS):
                raise TimeoutError
            view = state.views.get(asked.changes) or next(iter(state.views.values()))
        start = time.perf_counter()
        found = state.index.search(
            asked.code, asked.k, filter=asked.filter, exact=asked.exact, max_distance=asked.max_distance, view=view
        )
        return Found(found, (time.perf_counter() - start) * 1000)

    def answer(self, asked: bytes) -> bytes:
        """As `search`, question and answer pickled: Ray passes bytes on as they are, and takes longer over all else."""
        return pickle.dumps(self.search(pickle.loads(asked)), pickle.HIGHEST_PROTOCOL)


def shard_of(item_ids: I64, count: int) -> I64:
    """The number of the shard of each item, int64 [n]."""
    shards: I64 = item_ids % count
    return shards


def part_of(change: Change, shard: int, count: int) -> Change:
    """What a shard has to know of a change. Which items the removed codes were of is not asked: an unknown one is no
    error."""
    added = change.added
    rows = np.flatnonzero(shard_of(added.item_ids, count) == shard)
    part = Added(
        added.code_ids[rows],
        added.item_ids[rows],
        added.regions[rows],
        added.codes[rows],
        [added.metadata[row] for row in rows.tolist()],
    )
    return Change(part, change.removed)


def merged(parts: list[Candidates], k: int, coverage: float) -> Candidates:
    """The k best of what several shards found, by the rule of one index: (distance, item_id, region)."""
    if not parts:
        return Candidates(
            np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32), coverage
        )
    code_ids = np.concatenate([part.code_ids for part in parts])
    item_ids = np.concatenate([part.item_ids for part in parts])
    regions = np.concatenate([part.regions for part in parts])
    distances = np.concatenate([part.distances for part in parts])
    best = np.lexsort((regions, item_ids, distances))[:k]
    return Candidates(code_ids[best], item_ids[best], regions[best], distances[best], coverage)
