"""The root of a collection whose index is spread over a Ray cluster: `ShardedCollection` is a `Collection` to all who
ask it.

The store, the model and the int8 copies stay with the root. It embeds a query once, asks every shard for its part of
the window, merges those by the rule of one index, and re-ranks as it would have done with an index of its own. Each
generation (and each new set of index files) is a *state* of the shards; it counts its changes, and a question names
the state and how many changes it knows of: no answer mixes two generations, and none has half of a change.

Each replica of a shard is a Ray actor with a thread here that keeps it: starts it, tells it what it lacks, looks now
and then whether it lives, and starts another where it does not. Meanwhile its other replicas answer; without one, the
answer says what share of the corpus was searched.
"""

from __future__ import annotations

import itertools
import logging
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from visearch import settings
from visearch.base import Base
from visearch.codes import I64, U8
from visearch.collection import Collection
from visearch.errors import UsageError, VisearchError
from visearch.filters import Filter
from visearch.index import Added, Candidates
from visearch.machine import usable_cores
from visearch.store import Generation
from web.shard import HERE, Change, Files, Found, Question, Shard, Sharding, merged, part_of, shard_of

try:
    import ray
    from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError
except ImportError:
    raise UsageError("--ray needs Ray, which is not installed: pip install 'ray[data]'") from None

START_SECONDS = 120.0  # for a process on any machine of the cluster, and its imports
LOAD_SECONDS = 600.0  # for a shard to read its part of the index files
LOOK_SECONDS = 2.0  # between two looks at whether a replica lives
ALIVE_SECONDS = 10.0  # in which a living one says so
LONGEST_PAUSE = 10.0  # seconds between two attempts to start one
KEPT_SECONDS = 30.0  # a state that answers no longer is kept so long after it was last asked, for who is at it
AT_ONCE = 16  # changes that are sent while others wait
LOCAL_OBJECTS = 100_000_000  # bytes of Ray's object store, which holds nothing but changes on their way
# Threads of an actor: a search waits for no loading, and whether it lives can be asked at any time.
GROUPS = {"changes": 1, "pulse": 1}

log = logging.getLogger(__name__)


@contextmanager
def cluster(sharding: Sharding, collections: int) -> Iterator[None]:
    """Connected to Ray for the block. With HERE it is started for so many collections, and ends with the block.

    Raises:
        VisearchError: there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if sharding.address == HERE:
            processes = collections * sharding.shards * sharding.replicas
            ray.init(
                address="local",
                num_cpus=max(processes, usable_cores()),  # a room for each, however few cores there are
                object_store_memory=LOCAL_OBJECTS,
                include_dashboard=False,
                **quiet,
            )
        else:
            ray.init(address=sharding.address, **quiet)
    except Exception as error:  # of many kinds, a plain Exception among them
        said = str(error).partition("\n")[0]
        raise VisearchError(f"--ray {sharding.address}: no Ray cluster to be had there ({said})") from None
    try:
        yield
    finally:
        ray.shutdown()


class ShardedCollection(Collection):
    """A collection whose index is in shards. Give it a running Ray, see `cluster`."""

    def __init__(self, path: Path, sharding: Sharding) -> None:
        """Open the collection in a folder that every machine of the cluster sees under the same path.

        Raises:
            StoreError: no collection here, of another format, or broken.
            VisearchError: the cluster has no room for the shards.
        """
        super().__init__(path)
        self.shards = Shards(sharding.shards, sharding.replicas, self._answering)
        try:
            self.shards.wait_until_ready()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the shards and close the store."""
        self.shards.close()
        super().close()

    def _answering(self) -> State | None:
        """The state that is asked at this moment."""
        index = None if self._searcher is None else self._searcher.index
        return index.state if isinstance(index, ShardedIndex) else None

    def _open_index(self, generation: Generation, base: Base | None) -> ShardedIndex:
        files = None if base is None else Files(self.base_folder(generation).absolute(), generation.base_stamp)
        item_ids = np.empty(0, np.int64) if base is None else base.item_ids
        return ShardedIndex(self.shards, self.shards.open(files, generation.bits, item_ids))


@dataclass
class State:
    """What the shards hold of one generation on one set of files, and each change since. `sizes` are the codes ever
    put into each shard, int64 [shards]. `asked` is when it was last, and before that when it will have been in vain."""

    key: int
    files: Files | None
    bits: int
    sizes: I64
    changes: list[Change] = field(default_factory=list)
    asked: float = field(default_factory=lambda: time.monotonic() + LOAD_SECONDS)


class ShardedIndex:
    """One state of the shards, as an index (visearch.index.IndexLike)."""

    def __init__(self, shards: Shards, state: State) -> None:
        self._shards, self.state = shards, state
        self._added = self._removed = 0
        self._base_rows = int(state.sizes.sum())

    @property
    def delta_rows(self) -> int:
        """Rows that came since the files, dead ones included."""
        return self._added

    @property
    def dead_rows(self) -> int:
        """Rows that died since the files."""
        return self._removed

    @property
    def live_rows(self) -> int:
        """Rows that a search can find while all shards live."""
        return self._base_rows + self._added - self._removed

    def apply(self, added: Added, removed_code_ids: I64) -> None:
        """Remove rows, then add rows. They are on their way when this returns, and every later search has them."""
        self._shards.apply(self.state, Change(added, removed_code_ids))
        self._added += len(added.code_ids)
        self._removed += len(removed_code_ids)

    def search(
        self,
        code: U8,
        k: int,
        *,
        filter: Filter | None = None,
        exact: bool = False,
        max_distance: int | None = None,
    ) -> Candidates:
        """As Index.search, of the shards that answer; `coverage` of the answer is their share of the codes."""
        state = self.state
        found = self._shards.ask(state, Question(state.key, len(state.changes), code, k, filter, exact, max_distance))
        return merged([each.candidates for each in found.values()], k, coverage(state.sizes, list(found)))


def coverage(sizes: I64, answered: Sequence[int]) -> float:
    """The share of the codes that the shards that answered hold, 0 to 1; 1 where those that did not hold none."""
    total = int(sizes.sum())
    return int(sizes[list(answered)].sum()) / total if total else 1.0


def outlived(states: Iterable[State], answering: State | None, now: float) -> list[State]:
    """Those that nobody asks any more."""
    return [each for each in states if each is not answering and now - each.asked > KEPT_SECONDS]


class _Replica:
    """One process of a shard. `ready` while it has every state, and may be asked."""

    def __init__(self, shard: int, number: int) -> None:
        self.shard, self.number = shard, number
        self.handle: Any = None
        self.ready = False
        self.alarm = threading.Event()  # its keeper has something to do


class Shards:
    """The processes of the shards of one collection, and the threads that keep them. Safe for threads."""

    def __init__(self, count: int, replicas: int, answering: Callable[[], State | None]) -> None:
        """`answering` says which state is asked at this moment: it is kept, however long ago that was."""
        self.count = count
        self._answering = answering
        self._seconds = settings.number("shard_seconds")
        remote: Any = ray.remote  # its types know no concurrency_groups
        self._actor = remote(
            num_cpus=1,  # Ray gives its OpenMP as many threads
            max_restarts=0,  # its keeper does that, who knows what to tell it
            scheduling_strategy="SPREAD",
            concurrency_groups=GROUPS,
        )(Shard)
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)
        self._states: dict[int, State] = {}
        self._closed: set[int] = set()  # keys of those that were
        self._keys, self._turns = itertools.count(1), itertools.count()
        self._stopping = threading.Event()
        self._trouble: dict[_Replica, str] = {}
        self._replicas = [[_Replica(shard, number) for number in range(replicas)] for shard in range(count)]
        self._keepers = [
            threading.Thread(target=self._keep, args=(each,), name=f"shard {each.shard}", daemon=True)
            for each in self._all()
        ]
        for keeper in self._keepers:
            keeper.start()

    def _all(self) -> list[_Replica]:
        return [replica for replicas in self._replicas for replica in replicas]

    def wait_until_ready(self) -> None:
        """Wait until every replica runs.

        Raises:
            VisearchError: one does not within START_SECONDS.
        """
        with self._ready:
            if self._ready.wait_for(lambda: all(each.ready for each in self._all()), START_SECONDS):
                return
            running, wanted = sum(each.ready for each in self._all()), len(self._all())
            why = next(iter(self._trouble.values()), "no answer")
        raise VisearchError(
            f"--ray: {running} of {wanted} shards have started within {START_SECONDS:g} seconds ({why});"
            " each needs a CPU of the cluster, and visearch installed on its machines"
        )

    def close(self) -> None:
        """End the processes."""
        self._stopping.set()
        for each in self._all():
            each.alarm.set()
            with suppress(RayError, ValueError):
                if each.handle is not None:
                    ray.kill(each.handle)
        for keeper in self._keepers:
            keeper.join(ALIVE_SECONDS)

    # States and their changes

    def open(self, files: Files | None, bits: int, item_ids: I64) -> State:
        """A new state of all shards that are there, with the items `item_ids`; the older ones go on meanwhile.

        Raises:
            VisearchError: no shard can open the files.
        """
        with self._lock:
            now = time.monotonic()
            for known in self._states.values():
                if (known.files, known.bits) == (files, bits):  # opened in vain, perhaps again and again
                    known.asked = min(known.asked, now)
            handles = [each.handle for each in self._all() if each.ready]
        sizes = np.bincount(shard_of(item_ids, self.count), minlength=self.count)
        state = State(next(self._keys), files, bits, sizes)
        done = self._answers([_changing(each.open).remote(state.key, files, bits) for each in handles], LOAD_SECONDS)
        opened = [handle for handle, answer in zip(handles, done, strict=True) if not isinstance(answer, Exception)]
        if handles and not opened:
            raise VisearchError(f"no shard can be opened: {_reason(done[0])}")
        with self._lock:
            self._states[state.key] = state
            for each in self._all():
                if each.ready and each.handle not in opened:
                    each.ready = False
                    each.alarm.set()
        return state

    def apply(self, state: State, change: Change) -> None:
        """Send every shard its part of a change."""
        with self._lock:
            state.sizes = state.sizes + np.bincount(shard_of(change.added.item_ids, self.count), minlength=self.count)
            state.changes.append(change)
            for each in self._all():
                if each.ready:
                    self._send(each, each.handle, state, len(state.changes))

    def _send(self, replica: _Replica, handle: Any, state: State, number: int) -> Any:
        part = part_of(state.changes[number - 1], replica.shard, self.count)
        return _changing(handle.apply).remote(state.key, number, part)

    def _forget_old_states(self) -> None:
        """Close what nobody asks any more."""
        with self._lock:
            old = [each.key for each in outlived(self._states.values(), self._answering(), time.monotonic())]
            for key in old:
                del self._states[key]
            self._closed.update(old)
            ready = [each.handle for each in self._all() if each.ready]
        for handle, key in itertools.product(ready, old):
            _changing(handle.close).remote(key)

    # Questions

    def ask(self, state: State, question: Question) -> dict[int, Found]:
        """The answers of all shards that can be asked, by shard. Where a replica fails another one is asked."""
        state.asked = time.monotonic()
        deadline = state.asked + self._seconds
        asking = pickle.dumps(question, pickle.HIGHEST_PROTOCOL)
        found: dict[int, Found] = {}
        tried: set[_Replica] = set()
        while True:
            chosen = [self._choice(shard, tried) for shard in range(self.count) if shard not in found]
            asked = [(each, each.handle) for each in chosen if each is not None and each.handle is not None]
            if not asked or (tried and time.monotonic() >= deadline):
                return found
            calls = [handle.answer.remote(asking) for _, handle in asked]
            tried.update(replica for replica, _ in asked)
            # One that hangs leaves time for another.
            others = any(self._choice(replica.shard, tried) for replica, _ in asked)
            answers = self._answers(calls, (deadline - time.monotonic()) / (2 if others else 1))
            for (replica, handle), answer in zip(asked, answers, strict=True):
                if isinstance(answer, Exception):
                    self._lost(replica, handle, answer)
                else:
                    found[replica.shard] = pickle.loads(answer)

    def _choice(self, shard: int, tried: set[_Replica]) -> _Replica | None:
        able = [each for each in self._replicas[shard] if each.ready and each not in tried]
        return able[next(self._turns) % len(able)] if able else None

    def _answers(self, asked: list[Any], seconds: float) -> list[Any]:
        """What became of each call: its answer, or the exception."""
        deadline = time.monotonic() + seconds
        with suppress(RayError):
            return list(ray.get(asked, timeout=max(0.0, seconds)))
        answers: list[Any] = []
        for each in asked:
            try:
                answers.append(ray.get(each, timeout=max(0.0, deadline - time.monotonic())))
            except RayError as error:
                answers.append(error)
        return answers

    def _lost(self, replica: _Replica, handle: Any, error: Exception) -> None:
        """Ask a replica no more until its keeper has seen to it."""
        with self._lock:
            if replica.handle is not handle or not replica.ready:
                return
            replica.ready = False
            replica.alarm.set()
        log.warning("shard %d of %d does not answer (%s)", replica.shard + 1, self.count, _reason(error))

    # Keeping the replicas

    def _keep(self, replica: _Replica) -> None:
        """What the thread of a replica does until the end."""
        pause, gone_at = 0.0, None
        while not self._stopping.wait(pause):
            replica.alarm.clear()
            try:
                self._forget_old_states()
                if not replica.ready and gone_at is None:
                    gone_at = time.monotonic()
                self._look_after(replica)
                if gone_at is not None and replica in self._trouble:
                    seconds = time.monotonic() - gone_at
                    log.warning("shard %d of %d is back after %.1f seconds", replica.shard + 1, self.count, seconds)
                self._trouble.pop(replica, None)
                pause, gone_at = 0.0, None
            except Exception as error:  # whatever it is: without a keeper the shard would be gone for good
                if self._stopping.is_set():
                    return
                if replica not in self._trouble:
                    log.warning("shard %d of %d is started anew (%s)", replica.shard + 1, self.count, _reason(error))
                else:  # at once the first time, then less and less often
                    pause = min(LONGEST_PAUSE, 2 * pause + 0.5)
                self._trouble[replica] = _reason(error)
                self._end(replica)
                continue
            replica.alarm.wait(LOOK_SECONDS)

    def _end(self, replica: _Replica) -> None:
        with self._lock:
            handle, replica.handle, replica.ready = replica.handle, None, False
        if handle is not None:
            with suppress(RayError, ValueError):
                ray.kill(handle)

    def _look_after(self, replica: _Replica) -> None:
        """See that a replica lives and has all that it should."""
        seconds = ALIVE_SECONDS
        if replica.handle is None:
            replica.handle = self._actor.remote(replica.shard, self.count)
            seconds = START_SECONDS
        handle = replica.handle
        while True:
            seen: dict[int, int] = ray.get(handle.changes.options(concurrency_group="pulse").remote(), timeout=seconds)
            if replica.ready:
                return
            with self._lock:
                states = list(self._states.values())
                closed = self._closed & seen.keys()
            for key in closed:  # it was not there to be told
                _changing(handle.close).remote(key)
            for state in states:
                if state.key not in seen:
                    ray.get(_changing(handle.open).remote(state.key, state.files, state.bits), timeout=LOAD_SECONDS)
                    seen[state.key] = 0
            with self._ready:
                lacking = [
                    (state, number)
                    for state in self._states.values()
                    if state.key in seen
                    for number in range(seen[state.key] + 1, len(state.changes) + 1)
                ]
                # The few that are left are sent before any other change can be.
                if len(lacking) <= AT_ONCE and self._states.keys() <= seen.keys():
                    for state, number in lacking:
                        self._send(replica, handle, state, number)
                    replica.ready = True
                    self._ready.notify_all()
                    return
            ray.get([self._send(replica, handle, state, number) for state, number in lacking], timeout=LOAD_SECONDS)


def _changing(method: Any) -> Any:
    return method.options(concurrency_group="changes")


def _reason(error: Exception) -> str:
    """The first line of what went wrong."""
    if isinstance(error, RayTaskError):
        error = error.cause if isinstance(error.cause, Exception) else error
    if isinstance(error, GetTimeoutError):
        return "no answer in time"
    if isinstance(error, RayActorError):
        return "its process is gone"
    return (str(error).strip() or type(error).__name__).splitlines()[0]
