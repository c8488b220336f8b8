"""Indexing and backfill on a Ray cluster: Ray Data reads and decodes, actors embed, and this process alone commits.

The store is read and written here. What is to be done is planned as portions in a folder of the collection; workers
write results beside them (portions.py, ray_work.py); each is committed as it is finished, by the functions of the local
path, and deleted. A worker or node that dies costs what it had not finished, which Ray has done again elsewhere. If
this process dies, the same command first commits the results that are there, and plans what is left.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from threading import Event
from typing import Any, cast

import click

from indexer.flow import BATCH
from indexer.portions import Folder, Portion, Refill, committed, portions, read_result
from indexer.ray_work import Embedding, Job, decode
from indexer.sources import STANDARD_INPUT
from visearch.collection import RAY, Collection
from visearch.detector import Detector
from visearch.embedder import Embedder
from visearch.errors import UsageError, VisearchError
from visearch.ingest import Embedded, Failed, File, Outcome, Same, commit, is_stored
from visearch.leases import lease
from visearch.machine import usable_cores
from visearch.missing import Filled, Missing
from visearch.refill import Unfillable, refill
from visearch.remote import is_remote
from visearch.settings import SETTINGS
from visearch.store import Store

try:
    import ray
    import ray.data
    from ray.data.exceptions import SystemException
    from ray.exceptions import RayError, RayTaskError
except ImportError:
    raise UsageError("--ray needs Ray, which is not installed: pip install 'ray[data]'") from None

HERE = "local"  # the address that means: a cluster of this machine, for as long as this process runs
LOCAL_OBJECTS = 1_000_000_000  # bytes of Ray's object store on this machine: decoded pictures on their way
MOST_BLOCKS = 4096  # portions are dealt out in so many tasks, or fewer
# CPUs that a task and an actor ask for. The system shares a core between the two better than a fixed share would, and
# the actors of nodes that are gone always find room on those that are left, where tasks must not starve.
DECODE_CPUS, EMBED_CPUS = 0.75, 0.05
# Settings of this process that hold for the workers; others may be secret.
SHIPPED = {
    "precision",
    "max_file_megabytes",
    "max_megapixels",
    "pixels_in_flight",
    "decode_seconds",
    "decode_memory",
    "remote_seconds",
    "thumbnail_side",
    "working_copies",
}


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """Connected to Ray for the block. With HERE it is started, and ends with the block.

    Raises:
        UsageError: this is no address.
        VisearchError: there is no cluster.
    """
    if address not in (HERE, "auto") and ":" not in address:
        raise UsageError(f"--ray {address}: not an address (HOST:PORT, or auto); of this machine: put --ray last")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    variables = {each.variable for each in SETTINGS if each.name in SHIPPED} & os.environ.keys()
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if variables:
        options["runtime_env"] = {"env_vars": {name: os.environ[name] for name in variables}}
    if address == HERE:
        options |= {"num_cpus": usable_cores(), "object_store_memory": LOCAL_OBJECTS, "include_dashboard": False}
    with redirect_stdout(sys.stderr):  # where Ray tells of nodes that die; standard output may be JSON
        try:
            ray.init(address=address, **options)
        except Exception as error:  # of many kinds, a plain Exception among them
            said = str(error).partition("\n")[0]
            raise VisearchError(f"--ray {address}: no Ray cluster to be had there ({said})") from None
        try:
            logging.getLogger("ray.data").setLevel(logging.CRITICAL)
            yield
        finally:
            ray.shutdown()


def indexed(
    collection: Collection, found: Iterable[File | Failed], named: Sequence[str], detector: Detector | None, stop: Event
) -> Iterator[Sequence[Outcome]]:
    """Prepare the changed files of a scan on the cluster that is connected. What is yielded is to be committed before
    the next batch is taken. `named` are the sources of the scan.

    Results that the same command had left are committed first, before the scan begins to look.

    Raises:
        LeaseError: the same command is running.
        VisearchError: the cluster or a worker fails.
    """
    folder = Folder(collection.path.absolute() / RAY / _name(named, detector))
    with lease(collection.path, folder.path.name):
        left = [] if STANDARD_INPUT in named else folder.results()  # which may name others by now
        taken_over = sum(_commit(collection.store, path) for path in left)
        if taken_over:
            click.echo(f"{taken_over} pictures taken over from a run that was interrupted", err=True)
        folder.clear()
        failed: list[Failed] = []
        job = _job(folder, collection.embedder, detector)
        names = folder.plan(_portions(_usable(found, failed), job))
        yield from (failed[start : start + BATCH] for start in range(0, len(failed), BATCH))
        for path in _results(names, job, stop):
            yield _known(collection.store, _outcomes(path))
            committed(path)
        if not stop.is_set():
            folder.clear()


def filled(pinned: Collection, wanted: Iterable[Missing], stop: Event) -> Iterator[list[Filled | Unfillable]]:
    """Embed what a generation lacks on the cluster that is connected; the collection is opened at that generation. What
    is yielded is to be committed before the next batch is taken.

    Results that are left of an earlier run come first. What no worker can read is tried here, where working copies are.

    Raises:
        VisearchError: the cluster or a worker fails.
    """
    folder = Folder(pinned.path.absolute() / RAY / f"g{pinned.generation.number}")
    for path in folder.results():
        yield _refilled(pinned, path)
        committed(path)
    folder.clear()
    job = _job(folder, pinned.embedder, None)
    names = folder.plan(_portions((_with_places(pinned, each) for each in wanted), job))
    for path in _results(names, job, stop):
        yield _refilled(pinned, path)
        committed(path)
    if not stop.is_set():
        folder.clear()


def _name(named: Sequence[str], detector: Detector | None) -> str:
    """A folder for each command: the next run of it sees to the same sources, so what it takes over is kept right."""
    sources = [each if is_remote(each) else str(Path(each).absolute()) for each in named]
    digest = hashlib.sha256("\0".join([*sources, detector.sha256 if detector else ""]).encode(errors="surrogateescape"))
    return f"index-{digest.hexdigest()[:16]}"


def _job(folder: Folder, model: Embedder, detector: Detector | None) -> Job:
    """Workers see the folder of the collection, so the models are taken from there."""
    copy = None if detector is None else folder.path / "detector.onnx"
    if detector is not None and copy is not None:
        folder.path.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(detector.path, copy)
    return Job(folder, model.card, model.path.absolute(), model.sha256, model.precision, copy)


def _portions(tasks: Iterable[File | Refill], job: Job) -> Iterator[Portion]:
    return portions(tasks, job.card.height * job.card.width * 3)


def _usable(found: Iterable[File | Failed], failed: list[Failed]) -> Iterator[File]:
    """The files; what cannot be used goes to `failed`. Workers read the bytes again."""
    for each in found:
        if isinstance(each, Failed):
            failed.append(each)
        else:
            yield File(**vars(each) | {"data": None})


def _with_places(pinned: Collection, missing: Missing) -> Refill:
    """Of equal pictures each file will do, its own first."""
    with pinned.store.read() as reader:
        ids = reader.items_with_content(missing.content)
        items = [item for item_id in ids if (item := reader.item(item_id)) is not None]
    items.sort(key=lambda item: item.item_id != missing.item_id)
    return Refill(missing, tuple(place for item in items for place in pinned.places(item)))


def _outcomes(path: Path) -> list[Outcome]:
    return [each for each in read_result(path) if not isinstance(each, Filled | Unfillable)]


def _known(store: Store, outcomes: Iterable[Outcome]) -> list[Outcome]:
    """The same, where workers did not know that the bytes are in the store: a file moved, or equal to another."""

    def as_known(outcome: Outcome) -> Outcome:
        if isinstance(outcome, Embedded) and is_stored(store, outcome.content, outcome.file.detector):
            return Same(outcome.file, outcome.content)
        return outcome

    return [as_known(outcome) for outcome in outcomes]


def _commit(store: Store, path: Path) -> int:
    """Commit a result that was left; how many items it added or updated."""
    counts, _ = commit(store, _known(store, _outcomes(path)))
    return counts["added"] + counts["updated"]


def _refilled(pinned: Collection, path: Path) -> list[Filled | Unfillable]:
    found = [each for each in read_result(path) if isinstance(each, Filled | Unfillable)]
    lost = [each.missing for each in found if isinstance(each, Unfillable)]
    rows = [each for each in found if isinstance(each, Filled)]
    return [*rows, *(refill(pinned, lost, pinned.embedder) if lost else [])]


def _results(names: Sequence[str], job: Job, stop: Event) -> Iterator[Path]:
    """Work on portions; yields each result as it is finished, until `stop` is set."""
    if not names or stop.is_set():
        return
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = int(there.get("GPU", 0))
    actors = min(len(names), gpus or max(1, int(there.get("CPU", 1))))
    rows = [{"portion": name} for name in names]
    results = (
        ray.data.from_items(rows, override_num_blocks=min(len(names), MOST_BLOCKS))
        .map_batches(cast(Any, decode), batch_size=1, num_cpus=DECODE_CPUS, fn_kwargs={"job": job})
        .map_batches(
            cast(Any, Embedding),
            batch_size=1,
            batch_format="pyarrow",
            fn_constructor_kwargs={"job": job},
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=EMBED_CPUS,
            num_gpus=1 if gpus else 0,
        )
    )
    try:
        for row in results.iter_rows():
            path = job.folder.path / row["result"]
            if path.stat().st_size:
                yield path
            if stop.is_set():
                return
    except (RayError, SystemException) as error:
        cause = error.cause if isinstance(error, RayTaskError) else error
        said = cause.message if isinstance(cause, VisearchError) else str(cause).strip().rpartition("\n")[2]
        raise VisearchError(
            f"--ray: {said}; what is finished is kept, and the same command goes on from there"
        ) from None
