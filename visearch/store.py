"""The LMDB store of one collection: items, regions, codes, thumbnails, failures, generations. It is the truth.

Everything is written in short transactions that are synced to disk before they are acknowledged; LMDB's own write lock
serialises writers of all processes. Derived files (index.py, vectors.py) can be rebuilt from here.

Tables (all keys big-endian, so that they sort; records are msgpack arrays whose first element is their version):

    meta         text -> msgpack          format, next_item, serial, active, generation/<number>
    items        item_id -> record        what Item holds
    sources      source -> item_id, size, mtime_ns, metadata fingerprint (28 bytes: a scan needs no record)
    contents     sha256 -> item_id        several a key: equal bytes under several paths
    thumbnails   item_id -> JPEG
    failures     source -> record         files that could not be used, and why
    item_codes   generation, item_id -> code_ids int64[regions]
    codes        generation, block -> uint8[rows, D/8]      code_id = block * BLOCK_ROWS + row
    owners       generation, block -> OWNER[rows]           item_id (-1: removed) and region of each code
    vectors      generation, block -> uint8[rows, D + 2]    int8 copy and float16 scale
    removed      generation, serial -> code_ids int64[]     what a searcher must forget since a serial
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import numpy as np
from numpy.typing import NDArray

from visearch import settings
from visearch.codes import I64, U8
from visearch.errors import StoreError

FORMAT = 1
RECORD = 1  # version of a skipped file's record
ITEM_RECORD = 2  # version of an item's; 1 had no detector
BLOCK_ROWS = 128
OWNER = np.dtype([("item_id", "<i8"), ("region", "<i4")])
REMOVED_ITEM = -1
LARGEST_ID = 2**63 - 1
LONGEST_KEY = 440  # LMDB allows 511 bytes; longer sources end in a hash
MAX_READERS = 1024
DATA, LOCK = "data.mdb", "lock.mdb"
LOCK_BYTES = 64 * (MAX_READERS + 2)
TABLES = (
    "meta", "items", "sources", "contents", "thumbnails", "failures",
    "item_codes", "codes", "owners", "vectors", "removed",
)  # fmt: skip

Box = tuple[float, float, float, float]
_SOURCE = struct.Struct(">qqq4s")


@dataclass(frozen=True)
class Item:
    """One picture of the corpus. `width` and `height` are of the upright picture in pixels, regions are boxes in
    fractions of it, `content` is the SHA-256 of the file's bytes, `origin` the folder or manifest it came with,
    `detector` the SHA-256 of the detector that found the regions beside the whole, "" where none looked."""

    item_id: int
    source: str
    size: int
    mtime_ns: int
    content: bytes
    width: int
    height: int
    origin: str
    metadata: dict[str, Any]
    regions: tuple[Box, ...] = ((0.0, 0.0, 1.0, 1.0),)
    detector: str = ""

    def pack(self) -> bytes:
        """The stored record."""
        values = (
            ITEM_RECORD,
            self.source,
            self.size,
            self.mtime_ns,
            self.content,
            self.width,
            self.height,
            self.origin,
        )
        packed: bytes = _packb((*values, self.metadata, self.regions, self.detector))
        return packed

    @classmethod
    def unpack(cls, item_id: int, record: bytes) -> Item:
        """Read a stored record; StoreError where its version is newer than this code."""
        values = _values(record, f"item {item_id}", ITEM_RECORD)
        values[-2] = tuple(tuple(box) for box in values[-2])
        return cls(item_id, *values)


@dataclass(frozen=True)
class Known:
    """What a scan compares a file with."""

    item_id: int
    size: int
    mtime_ns: int
    metadata_hash: bytes


@dataclass(frozen=True)
class Failure:
    """A file that could not be used. `decoders` is images.decoders_fingerprint() then: another one means try again."""

    source: str
    reason: str
    message: str
    size: int
    mtime_ns: int
    decoders: str
    origin: str


@dataclass(frozen=True)
class Generation:
    """All codes of the collection under one model. `bits` is D; code ids are 0 .. next_code - 1; `base` names the
    newest index file set (0: none yet), built when the store stood at `base_serial`. The stamps say which files of
    those names are meant: after an older store was put back, others may lie there. `vector_rows` rows of the vector
    file are those of this store."""

    number: int
    model: str
    version: str
    model_sha256: str
    bits: int
    runtime: str
    precision: str
    device: str
    next_code: int = 0
    base: int = 0
    base_serial: int = 0
    base_stamp: str = ""
    vectors_stamp: str = ""
    vector_rows: int = 0


@dataclass(frozen=True)
class CodeRows:
    """Consecutive codes of a generation from `first` on: codes uint8 [n, D/8], owners OWNER [n]."""

    first: int
    codes: U8
    owners: NDArray[Any]

    @property
    def code_ids(self) -> I64:
        """int64 [n]."""
        return np.arange(self.first, self.first + len(self.owners), dtype=np.int64)


def metadata_hash(metadata: Mapping[str, Any]) -> bytes:
    """Four bytes that change when the metadata does; the order of keys does not matter."""
    return hashlib.sha256(_packb(sorted(metadata.items()))).digest()[:4]


class Store:
    """An open LMDB environment. Use `read()` and `write()`; threads and processes may do so at once."""

    def __init__(self, path: Path, *, create: bool = False, readonly: bool = False) -> None:
        """Open the environment in folder `path`.

        Raises:
            StoreError: it is missing, of another format, broken, or may not be written.
        """
        self.path = path
        self._closed = False
        exists = _data_bytes(path) > 0
        if not (exists or create):
            raise StoreError(f"{path.parent}: no collection here; `visearch index FOLDER` makes one")
        self.readonly = readonly or (exists and not _writable(path))
        if self.readonly and create:
            raise StoreError(f"{path.parent}: is read-only, so nothing can be added or changed there")
        with _store_errors(path):
            if create:
                path.mkdir(parents=True, exist_ok=True)
            self._environment = _acquire(path, self.readonly)
            try:
                self._open_tables()
            except BaseException:
                self.close()
                raise

    def _open_tables(self) -> None:
        environment = self._environment
        if self.readonly:  # a table opened within a transaction that only reads is closed with it
            meta = environment.open_db(b"meta", create=False)
            with environment.begin() as transaction:
                self._check_format(transaction.get(b"format", db=meta))
            self.tables = {
                name: environment.open_db(name.encode(), create=False, dupsort=name == "contents") for name in TABLES
            }
            return
        with environment.begin(write=True) as transaction:
            meta = environment.open_db(b"meta", transaction)
            stored = transaction.get(b"format", db=meta)
            if stored is not None:
                self._check_format(stored)
            self.tables = {
                name: environment.open_db(name.encode(), transaction, dupsort=name == "contents") for name in TABLES
            }
            if stored is None:
                for key, value in ((b"format", FORMAT), (b"next_item", 1), (b"serial", 0), (b"active", 0)):
                    transaction.put(key, _packb(value), db=meta)

    def _check_format(self, stored: Any) -> None:
        version = None if stored is None else _unpackb(stored)
        if version != FORMAT:
            raise StoreError(
                f"{self.path.parent}: collection format {version}, this visearch reads {FORMAT};"
                " use the visearch that made it, or a newer one"
            )

    def close(self) -> None:
        """Close; the same environment opened elsewhere in the process stays open. A second time does nothing."""
        if not self._closed:
            self._closed = True
            _release(self.path)

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """A consistent view of the store; keep it short, an open one keeps old pages from being reused."""
        with _store_errors(self.path), self._environment.begin(buffers=True) as transaction:
            yield Reader(transaction, self.tables)

    @contextmanager
    def write(self) -> Iterator[Writer]:
        """One atomic change. When the block ends the change is on disk; when it raises nothing has happened."""
        if self.readonly:
            raise StoreError(f"{self.path.parent}: is read-only, so nothing can be added or changed there")
        with _store_errors(self.path), self._environment.begin(write=True, buffers=True) as transaction:
            yield Writer(transaction, self.tables)
        if _missing_bytes(self._environment, self.path):
            self._fill_up()

    def _fill_up(self) -> None:
        """Make the data file as long as its pages need: a change that took pages and gave them back leaves those at
        the end unwritten, and the next to open the store could not tell that from a file cut short."""
        with _store_errors(self.path), self._environment.begin(write=True):  # nobody else makes the file longer now
            length = _data_bytes(self.path) + _missing_bytes(self._environment, self.path)
            os.truncate(self.path / DATA, length)

    def copy(self, destination: Path) -> None:
        """A hot, compacted copy of one consistent moment into an empty folder."""
        with _store_errors(destination):
            self._environment.copy(str(destination), compact=True)


@dataclass(frozen=True)
class Reader:
    """Questions to one moment of the store. Byte results are copies and outlive the transaction."""

    transaction: Any
    tables: dict[str, Any] = field(repr=False)

    def _get(self, table: str, key: bytes) -> Any:
        return self.transaction.get(key, db=self.tables[table])

    def _meta(self, key: str) -> Any:
        record = self._get("meta", key.encode())
        return None if record is None else _unpackb(record)

    @property
    def serial(self) -> int:
        """Grows with every change of codes; equal serials mean equal answers."""
        return int(self._meta("serial"))

    def item_count(self) -> int:
        """Items in the collection."""
        return int(self.transaction.stat(self.tables["items"])["entries"])

    def item(self, item_id: int) -> Item | None:
        """The item, or None."""
        record = self._get("items", _id(item_id)) if 0 <= item_id <= LARGEST_ID else None
        return None if record is None else Item.unpack(item_id, record)

    def items(self, start: int = 0) -> Iterator[Item]:
        """All items with item_id >= start, ascending."""
        with self.transaction.cursor(self.tables["items"]) as cursor:
            if cursor.set_range(_id(start)):
                for key, record in cursor.iternext():
                    yield Item.unpack(_from_id(key), record)

    def known(self, source: str) -> Known | None:
        """What is stored of a source, without its record."""
        value = self._get("sources", source_key(source)) if source else None
        return None if value is None else Known(*_SOURCE.unpack(value))

    def item_ids_below(self, folder: str) -> Iterator[int]:
        """Items whose source lies below a folder (a path that ends in the separator)."""
        prefix = folder.encode("utf-8", "surrogateescape")[:LONGEST_KEY]
        with self.transaction.cursor(self.tables["sources"]) as cursor:
            if cursor.set_range(prefix):
                for key, value in cursor.iternext():
                    if bytes(key[: len(prefix)]) != prefix:
                        return
                    yield _SOURCE.unpack(value)[0]

    def items_with_content(self, content: bytes) -> list[int]:
        """Items whose file has these bytes (SHA-256), ascending."""
        with self.transaction.cursor(self.tables["contents"]) as cursor:
            return [_from_id(value) for value in cursor.iternext_dup()] if cursor.set_key(content) else []

    def thumbnail(self, item_id: int) -> bytes | None:
        """JPEG bytes, or None."""
        value = self._get("thumbnails", _id(item_id))
        return None if value is None else bytes(value)

    def failure(self, source: str) -> Failure | None:
        """Why a source was skipped, or None."""
        record = self._get("failures", source_key(source))
        return None if record is None else _failure(record)

    def failures(self) -> Iterator[Failure]:
        """All skipped sources, by source."""
        with self.transaction.cursor(self.tables["failures"]) as cursor:
            for record in cursor.iternext(keys=False):
                yield _failure(record)

    def generation(self, number: int | None = None) -> Generation | None:
        """A generation by number, the active one without; None where there is none."""
        number = int(self._meta("active")) if number is None else number
        values = self._meta(f"generation/{number}")
        return None if values is None else _generation(values)

    def generations(self) -> list[Generation]:
        """All generations that hold codes, by number: every item has its codes in each of them."""
        found = []
        with self.transaction.cursor(self.tables["meta"]) as cursor:
            if cursor.set_range(b"generation/"):
                for key, record in cursor.iternext():
                    if not bytes(key).startswith(b"generation/"):
                        break
                    found.append(_generation(_unpackb(record)))
        return sorted(found, key=lambda generation: generation.number)

    def code_ids(self, generation: int, item_id: int) -> I64:
        """Code ids of an item's regions, in region order: int64 [regions], empty where it has none."""
        value = self._get("item_codes", _pair(generation, item_id)) if 0 <= item_id <= LARGEST_ID else None
        return np.empty(0, np.int64) if value is None else np.frombuffer(bytes(value), "<i8").astype(np.int64)

    def code_rows(self, generation: Generation, first: int = 0) -> Iterator[CodeRows]:
        """All codes of a generation from code id `first` on, a block at a time, removed ones included."""
        for start, block in self._blocks("codes", generation, first):
            owners = np.frombuffer(bytes(self._get("owners", _pair(generation.number, start // BLOCK_ROWS))), OWNER)
            skip = max(0, first - start)
            codes = np.frombuffer(bytes(block), np.uint8).reshape(-1, generation.bits // 8)
            yield CodeRows(start + skip, codes[skip:], owners[skip:])

    def vector_rows(self, generation: Generation, first: int = 0) -> Iterator[U8]:
        """The stored rows uint8 [n, D + 2] of the int8 copies from code id `first` on, a block at a time."""
        for start, block in self._blocks("vectors", generation, first):
            rows = np.frombuffer(bytes(block), np.uint8).reshape(-1, generation.bits + 2)
            yield rows[max(0, first - start) :]

    def _blocks(self, table: str, generation: Generation, first: int) -> Iterator[tuple[int, Any]]:
        prefix = struct.pack(">I", generation.number)
        with self.transaction.cursor(self.tables[table]) as cursor:
            if cursor.set_range(_pair(generation.number, first // BLOCK_ROWS)):
                for key, block in cursor.iternext():
                    if bytes(key[:4]) != prefix:
                        return
                    yield struct.unpack(">Iq", key)[1] * BLOCK_ROWS, block

    def codes_at(self, generation: Generation, code_ids: Sequence[int] | I64) -> U8:
        """Codes of these ids: uint8 [n, D/8]."""
        return self._rows_at("codes", generation, code_ids, generation.bits // 8)

    def vectors_at(self, generation: Generation, code_ids: Sequence[int] | I64) -> U8:
        """Stored rows of the int8 copies of these ids: uint8 [n, D + 2]."""
        return self._rows_at("vectors", generation, code_ids, generation.bits + 2)

    def _rows_at(self, table: str, generation: Generation, code_ids: Sequence[int] | I64, width: int) -> U8:
        out = np.empty((len(code_ids), width), np.uint8)
        blocks, rows = np.divmod(np.asarray(code_ids, np.int64), BLOCK_ROWS)
        for block in np.unique(blocks):
            value = self._get(table, _pair(generation.number, int(block)))
            asked = blocks == block
            out[asked] = np.frombuffer(value, np.uint8).reshape(-1, width)[rows[asked]]
        return out

    def removed_since(self, generation: int, serial: int) -> I64:
        """Code ids removed after the store stood at `serial`: int64 [n]."""
        parts = []
        with self.transaction.cursor(self.tables["removed"]) as cursor:
            if cursor.set_range(_pair(generation, serial + 1)):
                for key, value in cursor.iternext():
                    if struct.unpack(">Iq", key)[0] != generation:
                        break
                    parts.append(np.frombuffer(bytes(value), "<i8"))
        return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)


class Writer(Reader):
    """Changes to the store, all in the one transaction it was made with."""

    def _put(self, table: str, key: bytes, value: bytes, **options: bool) -> None:
        self.transaction.put(key, value, db=self.tables[table], **options)

    def _set_meta(self, key: str, value: object) -> None:
        self._put("meta", key.encode(), _packb(value))

    def reserve_item_ids(self, count: int) -> int:
        """The first of `count` item ids that nobody else gets, now or ever."""
        first = int(self._meta("next_item"))
        self._set_meta("next_item", first + count)
        return first

    def return_item_ids(self, ids: range) -> None:
        """Give back reserved ids that no item ever had; kept where somebody has reserved others since."""
        if int(self._meta("next_item")) == ids.stop:
            self._set_meta("next_item", ids.start)

    def put_item(self, item: Item) -> None:
        """Add an item or replace the one with its id; its source and content are found from then on."""
        old = self.item(item.item_id)
        if old is not None:
            self._forget_names(old)
        self._put("items", _id(item.item_id), item.pack())
        value = _SOURCE.pack(item.item_id, item.size, item.mtime_ns, metadata_hash(item.metadata))
        self._put("sources", source_key(item.source), value)
        self._put("contents", item.content, _id(item.item_id))
        self.clear_failure(item.source)

    def _forget_names(self, item: Item) -> None:
        self.transaction.delete(source_key(item.source), db=self.tables["sources"])
        self.transaction.delete(item.content, _id(item.item_id), db=self.tables["contents"])

    def put_thumbnail(self, item_id: int, jpeg: bytes) -> None:
        """Store an item's thumbnail."""
        self._put("thumbnails", _id(item_id), jpeg)

    def remove_item(self, item_id: int) -> bool:
        """Remove an item with everything that is its own; False where there was none."""
        item = self.item(item_id)
        if item is None:
            return False
        for generation in self.generations():
            self.remove_codes(generation, item_id)
        self._forget_names(item)
        self.transaction.delete(_id(item_id), db=self.tables["items"])
        self.transaction.delete(_id(item_id), db=self.tables["thumbnails"])
        return True

    def put_failure(self, failure: Failure) -> None:
        """Record why a source was skipped."""
        values = (failure.source, failure.reason, failure.message, failure.size, failure.mtime_ns)
        self._put("failures", source_key(failure.source), _packb((RECORD, *values, failure.decoders, failure.origin)))

    def clear_failure(self, source: str) -> None:
        """Forget that a source was skipped."""
        self.transaction.delete(source_key(source), db=self.tables["failures"])

    def put_generation(self, generation: Generation) -> None:
        """Add or replace a generation."""
        self._set_meta(f"generation/{generation.number}", vars(generation))

    def activate(self, number: int) -> None:
        """Make a generation the one that answers."""
        self._set_meta("active", number)
        self._next_serial()

    def _next_serial(self) -> int:
        serial = self.serial + 1
        self._set_meta("serial", serial)
        return serial

    def append_codes(self, number: int, owners: NDArray[Any], codes: U8, vectors: U8) -> I64:
        """Append codes uint8 [n, D/8] with their owners OWNER [n] and int8 rows uint8 [n, D + 2]; an item's regions
        lie together. Returns the code ids int64 [n]."""
        generation = self.generation(number)
        assert generation is not None
        first = generation.next_code
        code_ids = np.arange(first, first + len(owners), dtype=np.int64)
        for table, rows in (("codes", codes), ("owners", owners), ("vectors", vectors)):
            self._append_rows(table, number, first, rows)
        starts = np.flatnonzero(np.diff(owners["item_id"], prepend=REMOVED_ITEM))
        for start, stop in zip(starts, [*starts[1:], len(owners)], strict=True):
            value = code_ids[start:stop].astype("<i8").tobytes()
            self._put("item_codes", _pair(number, int(owners["item_id"][start])), value)
        self.put_generation(replace(generation, next_code=first + len(owners)))
        self._next_serial()
        return code_ids

    def _append_rows(self, table: str, number: int, first: int, rows: NDArray[Any]) -> None:
        position = 0
        while position < len(rows):
            block, filled = divmod(first + position, BLOCK_ROWS)
            part = np.ascontiguousarray(rows[position : position + BLOCK_ROWS - filled])
            old = bytes(self._get(table, _pair(number, block))) if filled else b""
            self._put(table, _pair(number, block), old + part.tobytes())
            position += len(part)

    def remove_codes(self, generation: Generation, item_id: int) -> None:
        """Mark an item's codes as removed, in the blocks and for searchers that are running."""
        code_ids = self.code_ids(generation.number, item_id)
        if not len(code_ids):
            return
        for code_id in code_ids:
            block, row = divmod(int(code_id), BLOCK_ROWS)
            owners = np.frombuffer(bytes(self._get("owners", _pair(generation.number, block))), OWNER).copy()
            owners["item_id"][row] = REMOVED_ITEM
            self._put("owners", _pair(generation.number, block), owners.tobytes())
        self.transaction.delete(_pair(generation.number, item_id), db=self.tables["item_codes"])
        self._put("removed", _pair(generation.number, self._next_serial()), code_ids.astype("<i8").tobytes())

    def set_vectors(self, number: int, stamp: str, rows: int) -> None:
        """Name the vector file, and how many rows of it are this store's."""
        generation = self.generation(number)
        assert generation is not None
        if (generation.vectors_stamp, generation.vector_rows) != (stamp, rows):
            self.put_generation(replace(generation, vectors_stamp=stamp, vector_rows=rows))

    def set_base(self, number: int, base: int, base_serial: int, stamp: str) -> None:
        """Name the newest index file set, and forget removals that it already knows of."""
        generation = self.generation(number)
        assert generation is not None
        self.put_generation(replace(generation, base=base, base_serial=base_serial, base_stamp=stamp))
        with self.transaction.cursor(self.tables["removed"]) as cursor:
            cursor.set_range(_pair(number, 0))
            # Past the last record the key is empty.
            while (key := bytes(cursor.key())) and struct.unpack(">Iq", key) <= (number, base_serial):
                cursor.delete()
        self._next_serial()


def source_key(source: str) -> bytes:
    """The key of a source: its path, cut and hashed where it is longer than LMDB allows. Any file name has one."""
    key = source.encode("utf-8", "surrogateescape")
    return key if len(key) <= LONGEST_KEY else key[:LONGEST_KEY] + b"\0" + hashlib.sha256(key).digest()


def _packb(value: object) -> bytes:
    packed: bytes = msgpack.packb(value, unicode_errors="surrogateescape")
    return packed


def _unpackb(record: Any) -> Any:
    return msgpack.unpackb(record, unicode_errors="surrogateescape", strict_map_key=False)


def _values(record: Any, name: str, newest: int = RECORD) -> list[Any]:
    """What a record of version `newest` holds after its version; StoreError where its own is newer than this code."""
    version, *values = list(_unpackb(record))
    if version == 1 and newest == ITEM_RECORD:
        return [*values, ""]
    if version != newest:
        raise StoreError(f"{name} has record version {version}, this visearch reads {newest}; upgrade visearch")
    return values


def _failure(record: Any) -> Failure:
    return Failure(*_values(record, "a skipped file"))


def _generation(values: dict[str, Any]) -> Generation:
    unknown = values.keys() - Generation.__dataclass_fields__.keys()
    if unknown:
        raise StoreError(
            f"generation {values.get('number')} has {', '.join(sorted(unknown))}, which this visearch does not know;"
            " upgrade visearch"
        )
    return Generation(**values)


def _id(item_id: int) -> bytes:
    return struct.pack(">q", item_id)


def _from_id(key: Any) -> int:
    return int(struct.unpack(">q", key)[0])


def _pair(generation: int, number: int) -> bytes:
    return struct.pack(">Iq", generation, number)


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path / DATA, os.W_OK) and not _read_only_mount(path)


def _read_only_mount(path: Path) -> bool:
    return hasattr(os, "statvfs") and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _data_bytes(path: Path) -> int:
    """Length of the data file; 0 where there is none, or where its maker was killed before it wrote anything."""
    try:
        return (path / DATA).stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _missing_bytes(environment: Any, path: Path) -> int:
    """How much shorter the data file is than its pages need. Reading beyond its end would be a bus error."""
    needed: int = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    return max(0, needed - _data_bytes(path))


@contextmanager
def _store_errors(path: Path) -> Iterator[None]:
    """LMDB's and the system's errors as one line each."""
    folder = path.parent
    try:
        yield
    except lmdb.MapFullError:
        raise StoreError(f"{folder}: the store is full; raise VISEARCH_MAP_GIGABYTES and run again") from None
    except lmdb.LockError as error:
        raise StoreError(f"{folder}: cannot be locked ({error}); is it on a network file system?") from None
    except lmdb.ReadersFullError:
        raise StoreError(f"{folder}: too many readers at once (over {MAX_READERS})") from None
    except (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError, lmdb.PageNotFoundError) as error:
        raise StoreError(f"{folder}: the store is broken ({error}); restore it from a backup") from None
    except (lmdb.Error, OSError) as error:
        if _is_disk_full(error, folder):
            raise StoreError(f"{folder}: the disk is full; free some space and run the same command again") from None
        raise StoreError(f"{folder}: {error}") from None


def _is_disk_full(error: Exception, folder: Path) -> bool:
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error):
        return True
    # LMDB says this where a part of what it wrote did fit.
    cut_off = os.strerror(errno.EIO) in str(error)
    return cut_off and folder.exists() and shutil.disk_usage(folder).free < settings.MEGABYTE


# LMDB must not be opened twice in one process (the first close would drop its file locks): environments are shared.
_environments: dict[Path, tuple[Any, int]] = {}
_environments_lock = threading.Lock()


def _acquire(path: Path, readonly: bool) -> Any:
    key = path.resolve()
    with _environments_lock:
        environment, users = _environments.get(key, (None, 0))
        if environment is None:
            # A reader that cannot write the lock file is not seen by writers. Nothing to fear on a medium that nobody
            # writes; a collection mounted read-only here and written elsewhere meanwhile can be misread.
            lock = not readonly or _writable(path)
            if lock:
                _reserve_lock_file(path)
            environment = lmdb.open(
                str(path),
                map_size=int(settings.number("map_gigabytes")) << 30,
                max_dbs=len(TABLES),
                max_readers=MAX_READERS,
                readonly=readonly,
                create=not readonly,
                lock=lock,
            )
            missing = _missing_bytes(environment, path)
            if missing:
                environment.close()
                raise StoreError(
                    f"{path.parent}: the store is broken ({missing} bytes of {DATA} are missing at its end);"
                    " restore it from a backup"
                )
            if lock:
                environment.reader_check()  # readers that were killed would keep old pages from being reused
        _environments[key] = (environment, users + 1)
        return environment


def _reserve_lock_file(path: Path) -> None:
    """Give a new lock file its bytes on disk: LMDB maps it, and a full disk would then be a bus error."""
    if hasattr(os, "posix_fallocate"):
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            os.posix_fallocate(descriptor, 0, LOCK_BYTES)
        finally:
            os.close(descriptor)


def _release(path: Path) -> None:
    key = path.resolve()
    with _environments_lock:
        environment, users = _environments.get(key, (None, 0))
        if users > 1:
            _environments[key] = (environment, users - 1)
        elif environment is not None:
            del _environments[key]
            environment.close()
