"""`visearch backfill`: embed what a generation lacks, build its index files, until nothing is missing in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from indexer.flow import Load, flow
from indexer.jobs import interruptible, on_cluster, skipped_report
from indexer.progress import Show, display
from visearch import embedder, generations, models
from visearch.collection import Collection
from visearch.errors import LeaseError, UsageError
from visearch.ingest import Claims
from visearch.leases import lease
from visearch.missing import Filled, Missing, count_missing, fill, missing
from visearch.refill import Unfillable, refill
from visearch.store import Generation

LISTED = 10  # items that could not be embedded, named on the terminal
LEASE_SECONDS = 0.5  # between two looks whether another process still builds index files


@dataclass(frozen=True)
class Job:
    """What `visearch backfill` was asked to do: the generation of a model, or one that is there. `max_load` is a share
    of the CPU time of the cores, in 0-1; `ray` is the address of the cluster that reads, decodes and embeds."""

    collection: Path
    model: str | None = None
    generation: int | None = None
    max_load: float = 1.0
    report: Path | None = None
    ray: str | None = None


@dataclass(frozen=True)
class Summary:
    """What one run did. `filled` items got codes, `skipped` could not, `missing` are without in the end, of `items`."""

    generation: int
    model: str
    filled: int
    skipped: tuple[Unfillable, ...]
    missing: int
    items: int
    seconds: float

    def to_json(self) -> dict[str, object]:
        """As `visearch backfill --json` prints it."""
        listed = [
            {"item": each.missing.item_id, "source": each.missing.source, "reason": each.reason}
            for each in self.skipped
        ]
        return {**vars(self), "skipped": listed, "seconds": round(self.seconds, 3)}


def once(job: Job) -> tuple[Summary, bool]:
    """Fill the generation; progress and the summary go to standard error. Returns also whether it was interrupted.

    Raises:
        VisearchError: nothing could be done, or it had to stop; what was committed before stays, and the same command
            goes on from there.
    """
    if job.ray and job.max_load < 1:
        raise UsageError(
            "--max-load holds for this machine; of a cluster `ray start --num-cpus` says how much is offered"
        )
    with (
        on_cluster(job.ray),
        interruptible() as stop,
        Collection.open(job.collection) as collection,
        lease(collection.path, "backfill"),
    ):
        generations.purge(collection)
        number = chosen(collection, job).number
        with Collection.open(job.collection, generation=number) as pinned:
            summary = _run(job, pinned, stop)
    _tell(job, summary, stop)
    return summary, stop.is_set()


def chosen(collection: Collection, job: Job) -> Generation:
    """The generation that a job is to fill; that of a new model is made."""
    if (job.model is None) == (job.generation is None):
        raise UsageError("name either the new model with --model, or a generation that is there with --generation")
    collection.generation  # noqa: B018 (something was indexed)
    if job.model is not None:
        return collection.add_generation(embedder.load(models.resolve(job.model)))
    with collection.store.read() as reader:
        return collection.named_generation(reader, job.generation or 0)


def _run(job: Job, pinned: Collection, stop: threading.Event) -> Summary:
    start = time.monotonic()
    generation = pinned.generation
    filler = _Filler(pinned, stop)
    total = count_missing(pinned.store, generation.number)
    with skipped_report(job.report) as report:
        with display("backfill", total) as show:
            while not stop.is_set():
                taken = filler.taken
                filler.run(job, show)
                _build_index(pinned, stop)
                if filler.taken == taken:
                    break
        skipped = filler.still_missing()
        report((each.missing.source, each.reason, each.message) for each in skipped)
    return Summary(
        generation.number,
        f"{generation.model} {generation.version}",
        filler.filled,
        tuple(skipped),
        count_missing(pinned.store, generation.number),
        len(pinned),
        time.monotonic() - start,
    )


def _build_index(pinned: Collection, stop: threading.Event) -> None:
    """Once no other process, as one that indexes, is at it: before this generation answers it has index files."""
    while not stop.is_set():
        try:
            pinned.build_index(force=False)
            return
        except LeaseError:
            stop.wait(LEASE_SECONDS)


class _Filler:
    """Fills the generation that a collection is opened at. `taken` counts the items that were worked on."""

    def __init__(self, pinned: Collection, stop: threading.Event) -> None:
        self._pinned, self._stop = pinned, stop
        self._number = pinned.generation.number
        self._model = pinned.embedder
        self._claims = Claims()
        self.taken = self.filled = 0
        self.skipped: dict[tuple[int, bytes], Unfillable] = {}  # by item and content

    def run(self, job: Job, show: Show) -> None:
        """One pass over what is missing."""
        for outcomes in self._outcomes(job):
            rows = [outcome for outcome in outcomes if isinstance(outcome, Filled)]
            skipped = [outcome for outcome in outcomes if isinstance(outcome, Unfillable)]
            if rows:
                self.filled += fill(self._pinned.store, self._number, rows)["filled"]
            self.skipped |= {(each.missing.item_id, each.missing.content): each for each in skipped}
            for outcome in outcomes:
                self._claims.release(_claim(outcome.missing))
            done = self.filled + len(self.skipped)
            show(done, done, len(self.skipped))

    def still_missing(self) -> list[Unfillable]:
        """What could not be embedded, without items that have changed, gone or got codes since."""
        with self._pinned.store.read() as reader:
            return [
                each
                for each in self.skipped.values()
                if (item := reader.item(each.missing.item_id)) is not None
                and item.content == each.missing.content
                and not len(reader.code_ids(self._number, item.item_id))
            ]

    def _outcomes(self, job: Job) -> Iterator[list[Filled | Unfillable]]:
        if job.ray is None:
            return flow(self._wanted(), self._prepare, self._stop, Load(job.max_load))
        from indexer.ray_jobs import filled

        return filled(self._pinned, self._wanted(), self._stop)

    def _wanted(self) -> Iterator[Missing]:
        for each in missing(self._pinned.store, self._number):
            if self._stop.is_set():
                return
            if (each.item_id, each.content) not in self.skipped:
                self.taken += 1
                yield each

    def _prepare(self, chunk: list[Missing]) -> list[Filled | Unfillable]:
        """Equal pictures are embedded once: the commit of the first fills the others."""
        claimed = [each for each in chunk if self._claims.take(_claim(each))]
        wanted = []
        with self._pinned.store.read() as reader:
            for each in claimed:
                if len(reader.code_ids(self._number, each.item_id)):
                    self._claims.release(_claim(each))
                else:
                    wanted.append(each)
        return refill(self._pinned, wanted, self._model)


def _claim(wanted: Missing) -> bytes:
    return wanted.content + repr(wanted.regions).encode()


def _tell(job: Job, summary: Summary, stop: threading.Event) -> None:
    pace = f"{summary.seconds:.1f} s, {summary.filled / max(summary.seconds, 1e-9):.0f} pictures/s"
    name = f"generation {summary.generation} ({summary.model})"
    click.echo(f"{summary.filled} filled, {len(summary.skipped)} skipped in {name} ({pace})", err=True)
    for each in summary.skipped[:LISTED]:
        click.echo(f"skipped: {each.message}", err=True)
    if len(summary.skipped) > LISTED:
        more = job.report or "`visearch backfill ... --report skipped.csv` writes them"
        click.echo(f"and {len(summary.skipped) - LISTED} more: {more}", err=True)
    if stop.is_set():
        click.echo("interrupted: all of this is kept; the same command goes on from here", err=True)
    elif summary.missing:
        click.echo(f"{summary.missing} of {summary.items} items are missing in it", err=True)
    else:
        click.echo(f"nothing is missing in it: `visearch generations switch {summary.generation}`", err=True)
