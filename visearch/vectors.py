"""The int8 copies of a generation in one mapped file, so that re-ranking a window is one gather.

Derived from the store: row i of `vectors.i8` is the stored row (uint8 [D + 2]) of code id i. The file only ever grows,
by whoever builds the index; `vectors.json` says how many of its rows are known to be on disk. Rows beyond them
(codes added since) are read from the store.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from visearch.codes import I64, U8
from visearch.errors import IndexFileError
from visearch.files import TEMPORARY, fsync_folder, write_durably
from visearch.store import Generation, Reader

DATA = "vectors.i8"
COUNT = "vectors.json"


def extend(folder: Path, generation: Generation, reader: Reader, *, anew: bool = False) -> None:
    """Append what the store has beyond the file; start `anew`, or where the file is not what its count says."""
    width = generation.bits + 2
    try:
        rows = 0 if anew else _trusted_rows(folder, generation)
    except IndexFileError:
        rows = 0
    if not _same_history(folder, generation, reader, rows):
        rows = 0
    if 0 < rows == generation.next_code:
        return
    # A file that others may have mapped is never cut short, it is replaced.
    temporary = folder / (DATA + TEMPORARY)
    path = folder / DATA if rows else temporary
    try:
        with path.open("r+b" if rows else "wb") as file:
            file.truncate(rows * width)
            file.seek(rows * width)
            for block in _until(reader.vector_rows(generation, rows), generation.next_code - rows):
                file.write(block.tobytes())
            file.flush()
            os.fsync(file.fileno())
        path.replace(folder / DATA)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(folder)
    write_durably(folder / COUNT, json.dumps({"rows": generation.next_code, "bits": generation.bits}).encode())


def _same_history(folder: Path, generation: Generation, reader: Reader, rows: int) -> bool:
    """Whether the last row is the store's; not so where the store was put back to an older state and has gone on."""
    if not 0 < rows <= generation.next_code:
        return rows == 0
    width = generation.bits + 2
    with (folder / DATA).open("rb") as file:
        file.seek((rows - 1) * width)
        return file.read(width) == reader.vectors_at(generation, [rows - 1]).tobytes()


def _until(blocks: Iterator[U8], rows: int) -> Iterator[U8]:
    for block in blocks:
        yield block[:rows]
        rows -= len(block)


def _trusted_rows(folder: Path, generation: Generation) -> int:
    try:
        values = json.loads((folder / COUNT).read_bytes())
        rows, bits, size = int(values["rows"]), int(values["bits"]), (folder / DATA).stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        raise IndexFileError(f"{folder / COUNT}: missing or unreadable") from None
    if bits != generation.bits or size < rows * (bits + 2):
        raise IndexFileError(f"{folder / DATA}: not the {rows} rows of {bits} bits that {COUNT} names")
    return rows


class VectorFile:
    """The mapped file, opened for reading. `rows` of it are usable."""

    def __init__(self, folder: Path, generation: Generation, reader: Reader) -> None:
        """Map the file; raises IndexFileError where it is missing, too short, or belongs to another store."""
        self.generation = generation
        # The file may be ahead of this reader of the store; what both have is the same.
        self.rows = min(_trusted_rows(folder, generation), generation.next_code)
        width = generation.bits + 2
        self._map: U8 = (
            np.memmap(folder / DATA, np.uint8, "r", shape=(self.rows, width))
            if self.rows
            else np.empty((0, width), np.uint8)
        )
        if not _same_history(folder, generation, reader, self.rows):
            raise IndexFileError(f"{folder / DATA}: belongs to another state of the store")

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
