"""Named numpy arrays in one file that is opened by mapping it: nothing is read before it is touched.

The file holds the raw arrays, each on a 64-byte boundary; what they are called and where they lie is a small JSON-able
description that the caller keeps (in a base's `meta.json`).
"""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from visearch.errors import IndexFileError

Array = npt.NDArray[Any]
ALIGNMENT = 64  # bytes: a cache line, and the widest vector load
CHECK_BYTES = 1 << 22  # read at once while verifying


class ArrayWriter:
    """Writes arrays one after another; `finish` makes them durable and returns the description."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self._crc = 0
        self._arrays: dict[str, list[Any]] = {}

    def add(self, name: str, chunks: Iterable[Array], dtype: npt.DTypeLike, width: int | None = None) -> None:
        """Append the array [n] (or [n, width]) that `chunks` make up when laid end to end."""
        with self._closed_on_error():
            self._write(b"\0" * (-self._file.tell() % ALIGNMENT))
            offset = self._file.tell()
            rows = 0
            for chunk in chunks:
                self._write(np.ascontiguousarray(chunk, dtype=dtype).data)
                rows += len(chunk)
        shape = [rows] if width is None else [rows, width]
        self._arrays[name] = [np.dtype(dtype).str, shape, offset]

    def finish(self) -> dict[str, Any]:
        """Flush to disk; return {"bytes", "crc32", "arrays": {name: [dtype, shape, offset]}}."""
        with self._closed_on_error():
            size = self._file.tell()
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()
        return {"bytes": size, "crc32": self._crc, "arrays": self._arrays}

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with suppress(OSError):  # a full disk refuses again what is still to be written
                self._file.close()
            raise

    def _write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._crc = zlib.crc32(data, self._crc)


def open_arrays(path: Path, description: Mapping[str, Any]) -> dict[str, Array]:
    """Map the arrays of a file, read-only.

    Raises:
        IndexFileError: the file is missing, of another size than described, or the description makes no sense.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != description["bytes"]:
                raise IndexFileError(f"{path}: is {size} bytes, not {description['bytes']}: truncated or replaced")
            data: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        return {
            name: np.frombuffer(data, dtype, int(np.prod(shape)), offset if data else 0).reshape(shape)
            for name, (dtype, shape, offset) in description["arrays"].items()
        }
    except OSError as error:
        raise IndexFileError(f"{path}: cannot be read: {error.strerror}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IndexFileError(f"{path}: its description is broken: {error}") from None


def checksum(path: Path) -> int:
    """CRC-32 of a file; raises IndexFileError where a part of it cannot be read."""
    crc = 0
    try:
        with path.open("rb") as file:
            while data := file.read(CHECK_BYTES):
                crc = zlib.crc32(data, crc)
    except OSError as error:
        raise IndexFileError(f"{path}: cannot be read: {error.strerror}") from None
    return crc


def verify_file(path: Path, description: Mapping[str, Any]) -> None:
    """Read the whole file and compare its checksum; raises IndexFileError where it differs or cannot be read."""
    if checksum(path) != description["crc32"]:
        raise IndexFileError(f"{path}: checksum differs: the file was damaged")
