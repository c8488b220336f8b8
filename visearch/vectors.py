"""The int8 copies of a generation in one mapped file, so that re-ranking a window is one gather.

Derived from the store: row i of `vectors.i8` is the stored row (uint8 [D + 2]) of code id i. The file only grows, by
whoever builds the index. `vectors.json` gives it a stamp; the store remembers the stamp and how many rows are its own,
so that a file of another history (an older store was put back) is not taken for this one's. Rows beyond those (codes
added since) are read from the store.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from visearch.codes import I64, U8
from visearch.errors import IndexFileError
from visearch.files import TEMPORARY, fsync_folder, write_durably
from visearch.store import Generation, Reader

DATA = "vectors.i8"
STAMP = "vectors.json"


def extend(folder: Path, generation: Generation, reader: Reader, *, anew: bool = False) -> tuple[str, int]:
    """Append what the store has beyond the file; start `anew`, or where the file is not the store's.

    Returns:
        The file's stamp and how many rows of it are on disk: to be written to the store (Writer.set_vectors).
    """
    width = generation.bits + 2
    stamp, rows = secrets.token_hex(8), 0
    if not anew:
        with suppress(IndexFileError):
            stamp, rows = generation.vectors_stamp, _trusted_rows(folder, generation)
    if 0 < rows == generation.next_code:
        return stamp, rows
    # A file that others may have mapped is never cut short, it is replaced.
    temporary = folder / (DATA + TEMPORARY)
    path = folder / DATA if rows else temporary
    try:
        with path.open("r+b" if rows else "wb") as file:
            file.seek(rows * width)
            for block in _until(reader.vector_rows(generation, rows), generation.next_code - rows):
                file.write(block.tobytes())
            file.flush()
            os.fsync(file.fileno())
        if not rows:
            path.replace(folder / DATA)
            fsync_folder(folder)
            write_durably(folder / STAMP, json.dumps({"stamp": stamp, "bits": generation.bits}).encode())
    finally:
        temporary.unlink(missing_ok=True)
    return stamp, generation.next_code


def _until(blocks: Iterator[U8], rows: int) -> Iterator[U8]:
    for block in blocks:
        yield block[:rows]
        rows -= len(block)


def _trusted_rows(folder: Path, generation: Generation) -> int:
    try:
        values = json.loads((folder / STAMP).read_bytes())
        stamp, bits, size = str(values["stamp"]), int(values["bits"]), (folder / DATA).stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        raise IndexFileError(f"{folder / STAMP}: missing or unreadable") from None
    rows = generation.vector_rows
    if stamp != generation.vectors_stamp:
        raise IndexFileError(f"{folder / DATA}: belongs to another state of the store")
    if bits != generation.bits or size < rows * (bits + 2):
        raise IndexFileError(f"{folder / DATA}: not the {rows} rows of {generation.bits} bits that the store names")
    return rows


class VectorFile:
    """The mapped file, opened for reading. `rows` of it are usable."""

    def __init__(self, folder: Path, generation: Generation) -> None:
        """Map the file; raises IndexFileError where it is missing, too short, or belongs to another store."""
        self.generation = generation
        self.rows = _trusted_rows(folder, generation)
        width = generation.bits + 2
        self._map: U8 = (
            np.memmap(folder / DATA, np.uint8, "r", shape=(self.rows, width))
            if self.rows
            else np.empty((0, width), np.uint8)
        )

    @classmethod
    def empty(cls, generation: Generation) -> VectorFile:
        """No file: every row comes from the store."""
        self = cls.__new__(cls)
        self.generation, self.rows = generation, 0
        self._map = np.empty((0, generation.bits + 2), np.uint8)
        return self

    def gather(self, code_ids: I64, reader: Reader) -> U8:
        """Rows uint8 [n, D + 2] of these code ids, from the map where it reaches, else from the store."""
        mapped = code_ids < self.rows
        if mapped.all():
            return self._map[code_ids]
        out = np.empty((len(code_ids), self._map.shape[1]), np.uint8)
        out[mapped] = self._map[code_ids[mapped]]
        out[~mapped] = reader.vectors_at(self.generation, code_ids[~mapped])
        return out
