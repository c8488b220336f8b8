"""`visearch index`: scan, pipeline, what has vanished, index files, summary; once, or again at every change."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import click

from indexer import sources
from indexer.changes import looks
from indexer.jobs import interruptible, on_cluster, skipped_report
from indexer.pipeline import Pipeline, Progress
from indexer.progress import display
from indexer.scan import Scan
from indexer.sources import STANDARD_INPUT
from visearch.collection import Collection
from visearch.detector import Detector, find_detector
from visearch.errors import LeaseError, UsageError, VisearchError
from visearch.remote import is_remote

REMOVED_TOGETHER = 1000


@dataclass(frozen=True)
class Job:
    """What `visearch index` was asked to do. `ray` is the address of the cluster that reads, decodes and embeds."""

    sources: tuple[str, ...]
    collection: Path
    model: str | None = None
    prune: bool = False
    report: Path | None = None
    objects: bool = False
    ray: str | None = None


@dataclass(frozen=True)
class Summary:
    """What one run did. `items` is how many the collection holds now, `vanished` how many lost their file and stay."""

    added: int
    updated: int
    unchanged: int
    removed: int
    skipped: int
    items: int
    seconds: float
    vanished: int

    def to_json(self) -> dict[str, int | float]:
        """As `visearch index --json` prints it."""
        names = ("added", "updated", "unchanged", "removed", "skipped", "items")
        return {**{name: getattr(self, name) for name in names}, "seconds": round(self.seconds, 3)}


def _check(job: Job) -> None:
    """Raise UsageError where a source is missing, or would be overwritten by the report."""
    sources.check(job.sources)
    _detector(job)
    if job.report is not None and job.report.resolve() in {Path(source).resolve() for source in job.sources}:
        raise UsageError(f"{job.report}: is a source, so the report cannot be written over it")


def once(job: Job) -> tuple[Summary, bool]:
    """Index the sources; progress and the summary go to standard error. Returns also whether it was interrupted.

    Raises:
        VisearchError: nothing could be done, or it had to stop; what was committed before stays.
    """
    _check(job)
    with (
        on_cluster(job.ray),
        interruptible() as stop,
        Collection.open(job.collection, create=True, model=job.model) as collection,
    ):
        summary = _run(job, collection, stop)
        _tell(job, summary, stop)
    return summary, stop.is_set()


def watch(job: Job, *, as_json: bool) -> None:
    """Index the sources, and again at every change of them, until interrupted; a summary (or JSON line) each time.

    What goes wrong in the first run ends it; later it is told, and tried again at the next change.
    """
    if STANDARD_INPUT in job.sources:
        raise UsageError("--watch needs folders or files, not standard input")
    if job.ray:
        raise UsageError("--watch goes on on this machine alone; leave --ray away")
    if any(map(is_remote, job.sources)):
        raise UsageError("--watch needs folders or files of this machine, not addresses")
    _check(job)
    ignored = [job.collection, *([job.report] if job.report else [])]
    with interruptible() as stop, Collection.open(job.collection, create=True, model=job.model) as collection:
        first = True
        for _ in looks(job.sources, ignored, stop):
            try:
                summary = _run(job, collection, stop)
            except VisearchError as error:
                if first:
                    raise
                click.echo(f"Error: {error.message}", err=True)
                continue
            if first or summary.added or summary.updated or summary.removed:
                _tell(job, summary, stop)
                if as_json:
                    click.echo(json.dumps(summary.to_json()))
            if first:
                click.echo("watching for changes; Ctrl-C ends it", err=True)
            first = False


def _run(job: Job, collection: Collection, stop: threading.Event) -> Summary:
    start = time.monotonic()
    detector = _detector(job)
    scan = Scan(collection.store, job.sources, detector.sha256 if detector else "")
    pipeline = Pipeline(collection.store, lambda: collection.embedder, stop, detector)
    total = _count(job.sources, stop)
    with skipped_report(job.report) as write_skipped, display("indexing", total) as show:
        for progress in _steps(job, pipeline, scan, collection, detector, stop):
            counts = progress.counts
            write_skipped((failed.file.source, failed.reason, failed.message) for failed in progress.skipped)
            show(scan.unchanged + counts.total(), counts.total(), counts["skipped"])
    vanished: list[int] = []
    removed = 0
    if not stop.is_set():
        scan.finish()
        vanished = scan.vanished()
        outdated = scan.outdated_failures()
        if outdated:
            with collection.store.write() as writer:
                for source in outdated:
                    writer.clear_failure(source)
        if job.prune and vanished:
            removed = _prune(collection, scan, vanished)
    if not stop.is_set():
        try:
            collection.build_index(force=False)
        except LeaseError as error:  # another process is at it; searches read what is not indexed from the store
            click.echo(error.message, err=True)
    return Summary(
        added=counts["added"],
        updated=counts["updated"],
        unchanged=counts["unchanged"] + scan.unchanged,
        removed=removed,
        skipped=counts["skipped"],
        items=len(collection),
        seconds=time.monotonic() - start,
        vanished=len(vanished) - removed,
    )


def _steps(
    job: Job,
    pipeline: Pipeline,
    scan: Scan,
    collection: Collection,
    detector: Detector | None,
    stop: threading.Event,
) -> Iterator[Progress]:
    if job.ray is None:
        return pipeline.run(scan)
    from indexer.ray_jobs import indexed

    return pipeline.commit(scan, indexed(collection, scan.changed(stop), job.sources, detector, stop))


def _count(named: Sequence[str], stop: threading.Event) -> int | None:
    """How many pictures the sources name, which costs a walk without looking; None where that costs more."""
    if not sources.countable(named):
        return None
    return sum(1 for _ in takewhile(lambda _: not stop.is_set(), sources.entries(named)))


def _detector(job: Job) -> Detector | None:
    if not job.objects:
        return None
    detector = find_detector()
    if detector is None:
        raise UsageError(
            "--objects needs a detector: name one with VISEARCH_DETECTOR (yolox_nano after"
            " `visearch models pull yolox_nano`, or an .onnx file)"
        )
    return detector


def _prune(collection: Collection, scan: Scan, vanished: list[int]) -> int:
    empty = scan.empty_sources()
    if empty:
        raise UsageError(
            f"{empty[0]}: leads to no picture at all any more, so nothing was pruned; is its drive mounted?"
            " `visearch remove` removes items by id or path"
        )
    return sum(
        collection.remove(vanished[start : start + REMOVED_TOGETHER])
        for start in range(0, len(vanished), REMOVED_TOGETHER)
    )


def _tell(job: Job, summary: Summary, stop: threading.Event) -> None:
    parts = [f"{getattr(summary, name)} {name}" for name in ("added", "updated", "unchanged", "removed", "skipped")]
    rate = (summary.added + summary.updated) / max(summary.seconds, 1e-9)
    pace = f"{summary.seconds:.1f} s, {rate:.0f} pictures/s"
    click.echo(f"{', '.join(parts)}; {summary.items} items in {job.collection} ({pace})", err=True)
    if summary.skipped and job.report:
        click.echo(f"skipped files and reasons: {job.report}", err=True)
    elif summary.skipped:
        click.echo("`visearch index ... --report skipped.csv` writes which were skipped, and why", err=True)
    if summary.vanished:
        click.echo(f"{summary.vanished} items have lost their file; --prune removes them", err=True)
    if stop.is_set():
        click.echo("interrupted: all of this is kept; the same command goes on from here", err=True)
    elif not (summary.added or summary.updated or summary.unchanged or summary.skipped):
        click.echo("no pictures found", err=True)
