"""What the store keeps of items, skipped files and generations, and how it is packed (msgpack, versioned)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from visearch.codes import I64, U8
from visearch.errors import StoreError

RECORD = 1  # version of a skipped file's record
ITEM_RECORD = 2  # version of an item's; 1 had no detector

Box = tuple[float, float, float, float]


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
        return packb((*values, self.metadata, self.regions, self.detector))

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
class Shard:
    """A file of many pictures that was read to its end: what it was then, the SHA-256 of the detector and
    images.decoders_fingerprint() that looked at it, and how many items came of it."""

    size: int
    version: int
    detector: str
    decoders: str
    pictures: int = 0

    def pack(self) -> bytes:
        """The stored record."""
        return packb((RECORD, *vars(self).values()))

    @classmethod
    def unpack(cls, record: Any) -> Shard:
        """Read a stored record; StoreError where its version is newer than this code."""
        return cls(*_values(record, "a shard"))


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

    def pack(self) -> bytes:
        """The stored record."""
        return packb((RECORD, *vars(self).values()))

    @classmethod
    def unpack(cls, record: Any) -> Failure:
        """Read a stored record; StoreError where its version is newer than this code."""
        return cls(*_values(record, "a skipped file"))


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

    @classmethod
    def unpack(cls, record: Any) -> Generation:
        """Read a stored record; StoreError where it holds what this code does not know."""
        values: dict[str, Any] = unpackb(record)
        unknown = values.keys() - cls.__dataclass_fields__.keys()
        if unknown:
            raise StoreError(
                f"generation {values.get('number')} has {', '.join(sorted(unknown))}, which this visearch does not"
                " know; upgrade visearch"
            )
        return cls(**values)

    def pack(self) -> bytes:
        """The stored record."""
        return packb(vars(self))


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
    return hashlib.sha256(packb(sorted(metadata.items()))).digest()[:4]


def packb(value: object) -> bytes:
    """A value as msgpack; text that is no UTF-8 (file names) survives."""
    packed: bytes = msgpack.packb(value, unicode_errors="surrogateescape")
    return packed


def unpackb(record: Any) -> Any:
    """What `packb` packed."""
    return msgpack.unpackb(record, unicode_errors="surrogateescape", strict_map_key=False)


def _values(record: Any, name: str, newest: int = RECORD) -> list[Any]:
    """What a record of version `newest` holds after its version; StoreError where its own is newer than this code."""
    version, *values = list(unpackb(record))
    if version == 1 and newest == ITEM_RECORD:
        return [*values, ""]
    if version != newest:
        raise StoreError(f"{name} has record version {version}, this visearch reads {newest}; upgrade visearch")
    return values
