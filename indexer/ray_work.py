"""What the workers of a cluster do: read and decode a portion (tasks), embed its parts and write the results (actors).

The halves are those of the local path, `ingest.decode` and `ingest.embed`, `refill.inputs_from` and `refill.embed`, so
the codes are the same. Workers never open the store, which only the machine of the job can read.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from indexer.portions import Folder, Refill, Result, Task, shard_of, source_of, write_result
from visearch import detector, ingest, refill, shards, sources
from visearch.codes import U8
from visearch.embedder import Card, Embedder
from visearch.errors import ImageError, ModelError, UsageError
from visearch.ingest import Claims, Decoded, File, Outcome
from visearch.missing import Missing
from visearch.refill import Unfillable
from visearch.shards import ShardError

Half = Outcome | Decoded | tuple[Missing, list[U8]] | Unfillable


@dataclass(frozen=True)
class Job:
    """What a worker has to know. `model` and `detector` are files that all machines see, `sha256` is the model's."""

    folder: Folder
    card: Card
    model: Path
    sha256: str
    precision: str
    detector: Path | None


def decode(batch: Mapping[str, Any], job: Job) -> Iterator[pa.Table]:
    """Read and decode portions: a row for each part, with the name of its result, and what the model takes unless that
    result is there already."""
    for name in batch["portion"]:
        parts = job.folder.work(name)
        contents = _contents([task for part in parts for task in part])
        for number, part in enumerate(parts):
            path = job.folder.result(name, number)
            tasks = [(task, next(contents)) for task in part]
            decoded = b"" if path.exists() else pickle.dumps(_decoded(tasks, job), pickle.HIGHEST_PROTOCOL)
            yield pa.table({"result": [path.name], "decoded": pa.array([decoded], pa.large_binary())})


class Embedding:
    """An actor that holds the model."""

    def __init__(self, job: Job) -> None:
        self._folder = job.folder
        self._model = Embedder(job.model, job.precision, threads=1)
        if self._model.sha256 != job.sha256:
            raise ModelError(f"{job.model}: is not the same file on all machines of the cluster")

    def __call__(self, rows: pa.Table) -> dict[str, list[str]]:
        """Embed parts and write their results; returns the names of those."""
        names: list[str] = [str(name) for name in rows.column("result").to_pylist()]
        for name, decoded in zip(names, rows.column("decoded"), strict=True):
            path = self._folder.path / name
            if not path.exists():
                write_result(path, self._embedded(pickle.loads(decoded.as_buffer())))
        return {"result": names}

    def _embedded(self, halves: Sequence[Half]) -> list[Result]:
        again = [half for half in halves if isinstance(half, tuple)]
        lost = [half for half in halves if isinstance(half, Unfillable)]
        taken = [half for half in halves if not isinstance(half, tuple | Unfillable)]
        return [*lost, *refill.embed(again, self._model), *ingest.embed(taken, lambda: self._model)]


def _contents(tasks: Sequence[Task]) -> Iterator[bytes | None]:
    """The bytes of pictures in a shard, which is read in one pass; None where they are to be read by themselves."""
    shard = shard_of(tasks[0])
    if not shard:
        yield from [None] * len(tasks)
        return
    with closing(_members(shard)) as members:
        for task in tasks:
            name = source_of(task).removeprefix(f"{shard}#")
            yield next((member.data for member in members if member.name == name), None)


def _members(shard: str) -> Generator[shards.Member, None, None]:
    """The members of a shard up to where it cannot be read."""
    try:
        with sources.open_shard(shard) as file:
            yield from shards.members(shard, file)
    except (OSError, UsageError, ShardError):
        return


def _decoded(tasks: Sequence[tuple[Task, bytes | None]], job: Job) -> list[Half]:
    finds = detector.load(job.detector) if job.detector else None
    files = [replace(task, data=data) for task, data in tasks if isinstance(task, File)]
    # What the store holds is not known here; of equal pictures in a part one is decoded.
    taken = ingest.decode(files, lambda: job.card, lambda content, detector: False, Claims(), finds)
    return [*taken, *(_inputs(task, data, job.card) for task, data in tasks if isinstance(task, Refill))]


def _inputs(task: Refill, data: bytes | None, card: Card) -> tuple[Missing, list[U8]] | Unfillable:
    """From the first place that holds the right bytes. Why there is none is found out where the store is, which may
    hold a working copy."""
    for place in task.places:
        try:
            found = data if data is not None and place == task.missing.source else sources.read(place)
            if hashlib.sha256(found).digest() == task.missing.content:
                return task.missing, refill.inputs_from(found, task.missing, card)
        except ImageError:
            continue
    return Unfillable(task.missing, "unreadable", "")
