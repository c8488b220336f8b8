"""The search log, where the settings ask for one: what was searched, shown and clicked, for so many days.

It serves judgement and experiments later, and knows nobody: no address, no picture, only the kind of query and its
answer. An LMDB environment of its own in the folder of the collection, so that it is moved and deleted with it.

    searches   query id (16 bytes, begins with its time) -> msgpack [version, time, mode, generation, query, shown]
    clicks     query id, nanoseconds since 1970          -> msgpack [version, time, item, rank]
"""

from __future__ import annotations

import logging
import secrets
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import msgpack

from visearch.errors import StoreError

FOLDER = "searchlog"
VERSION = 1
MAP_BYTES = 64 << 30  # address space, not disk
DAY = 86_400
PURGE_EVERY = 3600  # seconds
_TIME = struct.Struct(">Q")  # nanoseconds since 1970
_BROKEN = (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError, lmdb.PageNotFoundError)

log = logging.getLogger(__name__)


class BrokenLogError(StoreError):
    """The files of a search log are damaged, or not those of one."""


def new_query_id() -> str:
    """32 hexadecimal digits that nobody can guess and that sort by time."""
    return (_milliseconds().to_bytes(6) + secrets.token_bytes(10)).hex()


@dataclass(frozen=True)
class Shown:
    """A match as it was shown."""

    item: int
    region: int
    distance: int
    score: float


@dataclass(frozen=True)
class Search:
    """A search with its answer. `query` says what was asked: the item, or the kind of picture, box, filter."""

    query_id: str
    time: float
    mode: str
    generation: int
    query: Mapping[str, Any]
    shown: Sequence[Shown]


@dataclass(frozen=True)
class Clicked:
    """A match that somebody opened; `rank` counts from 0."""

    query_id: str
    time: float
    item: int
    rank: int


class SearchLog:
    """An open log. Safe for threads and processes; to be opened once in a process."""

    def __init__(self, collection: Path, days: int) -> None:
        """Open or make it; what is older than `days` goes now and every hour.

        Raises:
            BrokenLogError: what is there is damaged.
            StoreError: it cannot be opened or written.
        """
        path = collection / FOLDER
        self._keep = days * DAY
        self._lock = threading.Lock()
        self._next_purge = 0.0
        try:
            # A power cut may take the last record, but never changes the order of writes, which would break the log.
            self._environment = lmdb.open(str(path), map_size=MAP_BYTES, max_dbs=2, metasync=False, mode=0o600)
            try:
                needed = (self._environment.info()["last_pgno"] + 1) * self._environment.stat()["psize"]
                if (path / "data.mdb").stat().st_size < needed:  # reading beyond its end would be a bus error
                    raise lmdb.CorruptedError("its file was cut off")
                self._searches = self._environment.open_db(b"searches")
                self._clicks = self._environment.open_db(b"clicks")
                self.purge()
            except BaseException:
                self._environment.close()
                raise
        except _BROKEN as error:
            raise BrokenLogError(f"{path}: the search log is broken ({error})") from None
        except (lmdb.Error, OSError) as error:
            raise StoreError(f"{path}: the search log cannot be opened ({error})") from None

    def close(self) -> None:
        """Write to disk and close."""
        self._environment.sync(True)
        self._environment.close()

    def add(self, search: Search) -> None:
        """Record an answer; a further page of a query is appended to what was shown of it."""
        key = bytes.fromhex(search.query_id)
        with self._environment.begin(write=True) as transaction:
            old = transaction.get(key, db=self._searches)
            shown = [] if old is None else list(_search(search.query_id, old).shown)
            rows = [(each.item, each.region, each.distance, each.score) for each in [*shown, *search.shown]]
            values = [VERSION, search.time, search.mode, search.generation, dict(search.query), rows]
            transaction.put(key, msgpack.packb(values), db=self._searches)
        if time.time() >= self._next_purge:
            self.purge()

    def click(self, query_id: str, item: int, rank: int) -> bool:
        """Record a click; False where the query is not in the log or did not show that item."""
        key = bytes.fromhex(query_id)
        with self._environment.begin(write=True) as transaction:
            record = transaction.get(key, db=self._searches)
            if record is None or item not in {each.item for each in _search(query_id, record).shown}:
                return False
            values = [VERSION, time.time(), item, rank]
            transaction.put(key + _TIME.pack(time.time_ns()), msgpack.packb(values), db=self._clicks)
        return True

    def searches(self) -> Iterator[Search]:
        """All that is kept, by time."""
        with self._environment.begin() as transaction, transaction.cursor(self._searches) as cursor:
            for key, record in cursor:
                yield _search(bytes(key).hex(), record)

    def clicks(self) -> Iterator[Clicked]:
        """All that is kept, by query."""
        with self._environment.begin() as transaction, transaction.cursor(self._clicks) as cursor:
            for key, record in cursor:
                _, moment, item, rank = msgpack.unpackb(record)
                yield Clicked(bytes(key)[:16].hex(), moment, item, rank)

    def purge(self) -> None:
        """Forget what is older than the days that are kept."""
        with self._lock:
            self._next_purge = time.time() + PURGE_EVERY
            end = (max(0, _milliseconds() - self._keep * 1000)).to_bytes(6)
            with self._environment.begin(write=True) as transaction:
                for table in (self._searches, self._clicks):
                    with transaction.cursor(table) as cursor:
                        alive = cursor.first()
                        while alive and bytes(cursor.key())[:6] < end:
                            alive = cursor.delete()


def open_logs(collections: Mapping[str, Path], days: int) -> dict[str, SearchLog]:
    """The logs of these collections, by name. A broken one is moved aside for a new one; one that cannot be opened is
    left out, and nothing logged: the server is worth more than its log."""
    found = {}
    for name, collection in collections.items():
        try:
            found[name] = _opened(collection, days)
        except (StoreError, OSError) as error:
            log.error("collection %s keeps no search log: %s", name, error)
    return found


def _opened(collection: Path, days: int) -> SearchLog:
    try:
        return SearchLog(collection, days)
    except BrokenLogError as error:
        aside = (collection / FOLDER).rename(collection / f"{FOLDER}-broken-{time.time_ns()}")
        log.error("%s; it was moved to %s and a new one begun", error.message, aside.name)
        return SearchLog(collection, days)


def _search(query_id: str, record: bytes) -> Search:
    version, moment, mode, generation, query, rows = msgpack.unpackb(record, strict_map_key=False)
    if version != VERSION:
        raise StoreError(f"search log record version {version}, this visearch reads {VERSION}; upgrade visearch")
    return Search(query_id, moment, mode, generation, query, [Shown(*row) for row in rows])


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
