"""The folder of a job that is spread over machines: portions of work, and their results as Parquet shards.

00000003-9a41c0d2e6f7b518.work           what is to be done, in parts: a record a picture
00000003-9a41c0d2e6f7b518-0000.parquet   what came of its first part: a row a picture

All machines see the folder under one path. A portion's name ends in a digest of what is in it, so whoever works on it,
and however often, writes the same result under the same name. A result is written under a name of its own, fsynced and
renamed: what is there is complete, and is the only state there is. One without a byte has been committed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from visearch import shards
from visearch.codes import U8
from visearch.errors import StoreError
from visearch.files import TEMPORARY, fsync_folder
from visearch.ingest import MOST_OBJECTS, Embedded, Failed, File, Outcome, Same
from visearch.missing import Filled, Missing
from visearch.records import packb, unpackb
from visearch.refill import Unfillable

FORMAT = 1
PART = 256  # pictures that are embedded together and make a result
PART_BYTES = 32 << 20  # or whose inputs have so much
WORK, RESULT = ".work", ".parquet"

_FORMAT_KEY = b"visearch_result"
_BYTES = ("codes", "vectors", "thumbnail", "working_copy")
_SCHEMA = pa.schema(
    [("record", pa.binary()), *((name, pa.binary()) for name in _BYTES)], metadata={_FORMAT_KEY: str(FORMAT)}
)


@dataclass(frozen=True)
class Refill:
    """An item to be embedded again, and where its bytes may be."""

    missing: Missing
    places: tuple[str, ...]


Task = File | Refill
Result = Outcome | Filled | Unfillable
Portion = Sequence[Sequence[Task]]


def portions(tasks: Iterable[Task], input_bytes: int) -> Iterator[Portion]:
    """Cut work into portions of one part each; of the pictures in a tar or Parquet shard one portion is made, so that
    it is read once. `input_bytes` is what the model's input of one region takes."""
    for shard, those in groupby(tasks, shard_of):
        parts = _parts(those, max(1, PART_BYTES // input_bytes))
        yield from [list(parts)] if shard else ([part] for part in parts)


def _parts(tasks: Iterable[Task], most_regions: int) -> Iterator[list[Task]]:
    part: list[Task] = []
    regions = 0
    for task in tasks:
        if part and (len(part) == PART or regions + _regions(task) > most_regions):
            yield part
            part, regions = [], 0
        part.append(task)
        regions += _regions(task)
    if part:
        yield part


def _regions(task: Task) -> int:
    if isinstance(task, Refill):
        return len(task.missing.regions)
    return 1 + (MOST_OBJECTS if task.detector else 0)


def source_of(task: Task) -> str:
    """The source of the item."""
    return task.missing.source if isinstance(task, Refill) else task.source


def shard_of(task: Task) -> str:
    """The tar or Parquet shard that a picture is in, "" where it is in none."""
    inside = shards.split(source_of(task))
    return "" if inside is None or os.path.lexists(source_of(task)) else inside[0]


@dataclass(frozen=True)
class Folder:
    """The folder of a job."""

    path: Path

    def plan(self, work: Iterable[Portion]) -> list[str]:
        """Write portions; returns their names."""
        self.path.mkdir(parents=True, exist_ok=True)
        names = []
        for number, portion in enumerate(work):
            data = packb([[_packed_task(task) for task in part] for part in portion])
            names.append(f"{number:08}-{hashlib.sha256(data).hexdigest()[:16]}")
            (self.path / (names[-1] + WORK)).write_bytes(data)
        return names

    def work(self, name: str) -> Portion:
        """The parts of a portion."""
        parts = unpackb((self.path / (name + WORK)).read_bytes())
        return [[_task(values) for values in part] for part in parts]

    def result(self, name: str, part: int) -> Path:
        """The file for the result of a part."""
        return self.path / f"{name}-{part:04}{RESULT}"

    def results(self) -> list[Path]:
        """The results that are there and not committed, in order of portions."""
        return sorted(path for path in self.path.glob(f"*{RESULT}") if path.stat().st_size)

    def clear(self) -> None:
        """Delete what is planned, finished and half written."""
        shutil.rmtree(self.path, ignore_errors=True)


def committed(path: Path) -> None:
    """Empty a result, so that nobody makes it again."""
    path.write_bytes(b"")


def write_result(path: Path, results: Iterable[Result]) -> None:
    """Write what came of a part; it is there, whole and on disk, when this returns."""
    table = pa.Table.from_pylist([_row(result) for result in results], _SCHEMA)
    # Two processes may be at it, where one was taken for dead.
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        with partial.open("wb") as file:
            pq.write_table(table, file, compression="none")  # codes and JPEGs
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    fsync_folder(path.parent)


def read_result(path: Path) -> list[Result]:
    """What came of a part.

    Raises:
        StoreError: it is of another format.
    """
    table = pq.read_table(path)
    version = (table.schema.metadata or {}).get(_FORMAT_KEY, b"none").decode()
    if version != str(FORMAT):
        raise StoreError(f"{path}: format {version}, this visearch reads {FORMAT}; delete {path.parent}")
    return [_result(row) for row in table.to_pylist()]


def _row(result: Result) -> dict[str, bytes | None]:
    record: list[Any] = [type(result).__name__]
    row: dict[str, bytes | None] = {}
    if isinstance(result, Filled | Unfillable):
        record.append(list(vars(result.missing).values()))
    else:
        record += [list(vars(result.file).values()), result.content]
    if isinstance(result, Failed | Unfillable):
        record += [result.reason, result.message]
    if isinstance(result, Embedded):
        record += [result.width, result.height, result.model, result.regions]
        row = {"thumbnail": result.thumbnail, "working_copy": result.working_copy}
    if isinstance(result, Embedded | Filled):
        row |= {"codes": result.codes.tobytes(), "vectors": result.vectors.tobytes()}
    return row | {"record": packb(record)}


def _result(row: dict[str, bytes]) -> Result:
    kind, about, *values = unpackb(row["record"])
    if kind == Unfillable.__name__:
        return Unfillable(_missing(about), *values)
    if kind == Filled.__name__:
        missing = _missing(about)
        return Filled(missing, *_arrays(row, len(missing.regions)))
    file = File(*about)
    if kind == Same.__name__:
        return Same(file, *values)
    if kind == Failed.__name__:
        return Failed(file, *values)
    content, width, height, model, boxes = values
    regions = tuple(tuple(box) for box in boxes)
    arrays = _arrays(row, len(regions))
    return Embedded(file, content, width, height, row["thumbnail"], *arrays, model, regions, row["working_copy"])


def _arrays(row: dict[str, bytes], regions: int) -> tuple[U8, U8]:
    codes, vectors = (np.frombuffer(row[name], np.uint8).reshape(regions, -1) for name in ("codes", "vectors"))
    return codes, vectors


def _packed_task(task: Task) -> list[Any]:
    if isinstance(task, Refill):
        return [list(vars(task.missing).values()), task.places]
    return [list(vars(task).values())]


def _task(values: list[Any]) -> Task:
    about, *places = values
    return Refill(_missing(about), tuple(places[0])) if places else File(*about)


def _missing(values: Sequence[Any]) -> Missing:
    missing = Missing(*values)
    regions: Any = tuple(tuple(box) for box in missing.regions)
    return Missing(**vars(missing) | {"regions": regions})
