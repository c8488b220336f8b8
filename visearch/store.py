"""The LMDB store of one collection: items, regions, codes, thumbnails, failures, generations. It is the truth.

Everything is written in short transactions that are synced to disk before they are acknowledged; LMDB's own write lock
serialises writers of all processes. Derived files (index.py, vectors.py) can be rebuilt from here.

Tables (all keys big-endian, so that they sort; records are msgpack arrays whose first element is their version):

    meta         text -> msgpack          format, next_item, serial, active, previous, last_generation,
                                          generation/<number>, dropped/<number> (the SHA-256 of its model)
    items        item_id -> record        what Item holds
    sources      source -> item_id, size, mtime_ns, metadata fingerprint (28 bytes: a scan needs no record)
    contents     sha256 -> item_id        several a key: equal bytes under several paths
    thumbnails   item_id -> JPEG
    working_copies  item_id -> JPEG       what an item is embedded from anew where its file cannot be read again
    failures     source -> record         files that could not be used, and why
    shards       source -> record         files of many pictures that were read to their end, as they were then
    item_codes   generation, item_id -> code_ids int64[regions]
    codes        generation, block -> uint8[rows, D/8]      code_id = block * BLOCK_ROWS + row
    owners       generation, block -> OWNER[rows]           item_id (-1: removed) and region of each code
    vectors      generation, block -> uint8[rows, D + 2]    int8 copy and float16 scale
    removed      generation, serial -> code_ids int64[]     what a searcher must forget since a serial
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from numpy.typing import NDArray

from visearch.codes import I64, U8
from visearch.environment import DATA, acquire, data_bytes, in_use, missing_bytes, release, store_errors, writable
from visearch.errors import StoreError
from visearch.records import CodeRows, Failure, Generation, Item, Known, Shard, metadata_hash, packb, unpackb

__all__ = ["CodeRows", "Failure", "Generation", "Item", "Known", "Reader", "Store", "Writer", "metadata_hash"]

FORMAT = 1
BLOCK_ROWS = 128
OWNER = np.dtype([("item_id", "<i8"), ("region", "<i4")])
REMOVED_ITEM = -1
LARGEST_ID = 2**63 - 1
LONGEST_KEY = 440  # LMDB allows 511 bytes; longer sources end in a hash
TABLES = (
    "meta", "items", "sources", "contents", "thumbnails", "failures",
    "item_codes", "codes", "owners", "vectors", "removed", "working_copies", "shards",
)  # fmt: skip
# That a store of this format may lack: made when it is next opened to be written.
ADDED_TABLES = ("working_copies", "shards")

_SOURCE = struct.Struct(">qqq4s")


class Store:
    """An open LMDB environment. Use `read()` and `write()`; threads and processes may do so at once."""

    def __init__(self, path: Path, *, create: bool = False, readonly: bool = False) -> None:
        """Open the environment in folder `path`.

        Raises:
            StoreError: it is missing, of another format, broken, or may not be written.
        """
        self.path = path
        self._key = path.resolve()
        self._closed = False
        exists = data_bytes(path) > 0
        if not (exists or create):
            raise StoreError(f"{path.parent}: no collection here; `visearch index FOLDER` makes one")
        self.readonly = readonly or (exists and not writable(path))
        if self.readonly and create:
            raise StoreError(f"{path.parent}: is read-only, so nothing can be added or changed there")
        with store_errors(path):
            if create:
                path.mkdir(parents=True, exist_ok=True)
            environment = acquire(path, self._key, self.readonly)
            try:
                self._open_tables(environment)
            except BaseException:
                self.close()
                raise

    def _open_tables(self, environment: Any) -> None:
        self.tables: dict[str, Any] = {}
        if self.readonly:  # a table opened within a transaction that only reads is closed with it
            meta = environment.open_db(b"meta", create=False)
            with environment.begin() as transaction:
                self._check_format(transaction.get(b"format", db=meta))
            for name in TABLES:
                with suppress(*((lmdb.NotFoundError,) if name in ADDED_TABLES else ())):
                    self.tables[name] = environment.open_db(name.encode(), create=False, dupsort=name == "contents")
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
                    transaction.put(key, packb(value), db=meta)

    def _check_format(self, stored: Any) -> None:
        version = None if stored is None else unpackb(stored)
        if version != FORMAT:
            raise StoreError(
                f"{self.path.parent}: collection format {version}, this visearch reads {FORMAT};"
                " use the visearch that made it, or a newer one"
            )

    def close(self) -> None:
        """Close; what reads or writes in another thread, or has the same environment open, goes on. A second time does
        nothing."""
        if not self._closed:
            self._closed = True
            release(self._key)

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """A consistent view of the store; keep it short, an open one keeps old pages from being reused."""
        with store_errors(self.path), in_use(self._key) as environment, environment.begin(buffers=True) as transaction:
            yield Reader(transaction, self.tables)

    @contextmanager
    def write(self) -> Iterator[Writer]:
        """One atomic change. When the block ends the change is on disk; when it raises nothing has happened."""
        if self.readonly:
            raise StoreError(f"{self.path.parent}: is read-only, so nothing can be added or changed there")
        with in_use(self._key) as environment:
            with store_errors(self.path), environment.begin(write=True, buffers=True) as transaction:
                yield Writer(transaction, self.tables)
            if missing_bytes(environment, self.path):
                self._fill_up(environment)

    def _fill_up(self, environment: Any) -> None:
        """Make the data file as long as its pages need: a change that took pages and gave them back leaves those at
        the end unwritten, and the next to open the store could not tell that from a file cut short."""
        with store_errors(self.path), environment.begin(write=True):  # nobody else makes the file longer now
            length = data_bytes(self.path) + missing_bytes(environment, self.path)
            with (self.path / DATA).open("r+b") as file:
                file.truncate(length)
                os.fsync(file.fileno())

    def copy(self, destination: Path) -> None:
        """A hot, compacted copy of one consistent moment into an empty folder."""
        with store_errors(destination), in_use(self._key) as environment:
            environment.copy(str(destination), compact=True)


@dataclass(frozen=True)
class Reader:
    """Questions to one moment of the store. Byte results are copies and outlive the transaction."""

    transaction: Any
    tables: dict[str, Any] = field(repr=False)

    def _get(self, table: str, key: bytes) -> Any:
        return self.transaction.get(key, db=self.tables[table])

    def _meta(self, key: str) -> Any:
        record = self._get("meta", key.encode())
        return None if record is None else unpackb(record)

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

    def working_copy(self, item_id: int) -> bytes | None:
        """JPEG bytes, or None."""
        value = self._get("working_copies", _id(item_id)) if "working_copies" in self.tables else None
        return None if value is None else bytes(value)

    def failure(self, source: str) -> Failure | None:
        """Why a source was skipped, or None."""
        record = self._get("failures", source_key(source))
        return None if record is None else Failure.unpack(record)

    def failures(self) -> Iterator[Failure]:
        """All skipped sources, by source."""
        with self.transaction.cursor(self.tables["failures"]) as cursor:
            for record in cursor.iternext(keys=False):
                yield Failure.unpack(record)

    def shard(self, source: str) -> Shard | None:
        """What a file of many pictures was when it was read to its end, None where it never was."""
        record = self._get("shards", source_key(source))
        return None if record is None else Shard.unpack(record)

    def generation(self, number: int | None = None) -> Generation | None:
        """A generation by number, the active one without; None where there is none."""
        number = self.active if number is None else number
        record = self._get("meta", f"generation/{number}".encode())
        return None if record is None else Generation.unpack(record)

    @property
    def active(self) -> int:
        """The number of the generation that answers, 0 where there is none."""
        return int(self._meta("active"))

    @property
    def previous(self) -> int:
        """The number of the one that answered before it and is still there, 0 where none is."""
        return int(self._meta("previous") or 0)

    @property
    def last_generation(self) -> int:
        """The largest number that a generation has or had, 0 where there was none."""
        return max([int(self._meta("last_generation") or 0), *(each.number for each in self.generations())])

    def generations(self) -> list[Generation]:
        """All generations, by number. An item that has no codes in one is missing there."""
        found = [Generation.unpack(record) for _, record in self._metas("generation/")]
        return sorted(found, key=lambda generation: generation.number)

    def dropped(self) -> list[tuple[int, str]]:
        """Number and SHA-256 of the model of generations that were dropped and of which something is still to be
        deleted."""
        return [(int(name), unpackb(record)) for name, record in self._metas("dropped/")]

    def _metas(self, prefix: str) -> Iterator[tuple[str, Any]]:
        """What follows the prefix in the names of the meta table, and the records."""
        start = prefix.encode()
        with self.transaction.cursor(self.tables["meta"]) as cursor:
            if cursor.set_range(start):
                for key, record in cursor.iternext():
                    if not bytes(key).startswith(start):
                        return
                    yield bytes(key[len(start) :]).decode(), record

    def items_missing(self, generation: int, start: int = 0) -> Iterator[int]:
        """Ids from `start` on, ascending, of the items that have no codes in a generation."""
        prefix = struct.pack(">I", generation)
        with (
            self.transaction.cursor(self.tables["items"]) as items,
            self.transaction.cursor(self.tables["item_codes"]) as held,
        ):
            if not items.set_range(_id(start)):
                return
            more = held.set_range(_pair(generation, start))
            for key in items.iternext(values=False):
                wanted = prefix + bytes(key)
                while more and bytes(held.key()) < wanted:
                    more = held.next()
                if not more or bytes(held.key()) != wanted:
                    yield _from_id(key)

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
            if value is None:
                raise StoreError(f"generation {generation.number} was dropped meanwhile")
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
        self._put("meta", key.encode(), packb(value))

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

    def put_working_copy(self, item_id: int, jpeg: bytes | None) -> None:
        """Store an item's working copy; without one it has none from then on."""
        if jpeg is None:
            self.transaction.delete(_id(item_id), db=self.tables["working_copies"])
        else:
            self._put("working_copies", _id(item_id), jpeg)

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
        self.put_working_copy(item_id, None)
        return True

    def put_failure(self, failure: Failure) -> None:
        """Record why a source was skipped."""
        self._put("failures", source_key(failure.source), failure.pack())

    def clear_failure(self, source: str) -> None:
        """Forget that a source was skipped."""
        self.transaction.delete(source_key(source), db=self.tables["failures"])

    def put_shard(self, source: str, shard: Shard) -> None:
        """Record that a file of many pictures was read to its end."""
        self._put("shards", source_key(source), shard.pack())

    def put_generation(self, generation: Generation) -> None:
        """Add or replace a generation."""
        self._put("meta", f"generation/{generation.number}".encode(), generation.pack())

    def new_generation_number(self) -> int:
        """A number that no generation has or had."""
        number = self.last_generation + 1
        self._set_meta("last_generation", number)
        return number

    def activate(self, number: int) -> None:
        """Make a generation the one that answers."""
        if self.active != number:
            self._set_meta("previous", self.active)
        self._set_meta("active", number)
        self._next_serial()

    def drop_generation(self, number: int) -> None:
        """Forget a generation that is not active; `delete_dropped` then deletes its rows."""
        generation = self.generation(number)
        assert generation is not None
        self.transaction.delete(f"generation/{number}".encode(), db=self.tables["meta"])
        self._set_meta(f"dropped/{number}", generation.model_sha256)
        if self.previous == number:
            self._set_meta("previous", 0)

    def delete_dropped(self, number: int, most: int) -> bool:
        """Delete up to `most` rows of a generation that was dropped; returns whether all are gone."""
        for table in ("item_codes", "codes", "owners", "vectors", "removed"):
            with self.transaction.cursor(self.tables[table]) as cursor:
                cursor.set_range(_pair(number, 0))
                while bytes(cursor.key()[:4]) == struct.pack(">I", number):
                    if not most:
                        return False
                    cursor.delete()
                    most -= 1
        self.transaction.delete(f"dropped/{number}".encode(), db=self.tables["meta"])
        return True

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
        if number == self.active:  # another's codes change no answer
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


def _id(item_id: int) -> bytes:
    return struct.pack(">q", item_id)


def _from_id(key: Any) -> int:
    return int(struct.unpack(">q", key)[0])


def _pair(generation: int, number: int) -> bytes:
    return struct.pack(">Iq", generation, number)
