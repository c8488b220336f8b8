"""Progress on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile

import click

from indexer.pipeline import Progress
from indexer.sources import STANDARD_INPUT, Scan, entries

LINE_SECONDS = 10.0


@contextmanager
def display(scan: Scan, sources: Sequence[str], stop: threading.Event) -> Iterator[Callable[[Progress], None]]:
    """A function to call after every commit. The sources are counted first, which costs a walk without looking."""
    counted = takewhile(lambda _: not stop.is_set(), entries(sources))
    total = None if STANDARD_INPUT in sources else sum(1 for _ in counted)
    if sys.stderr.isatty():
        with _bar(scan, total) as show:
            yield show
    else:
        yield _lines(scan, total)


def _done(scan: Scan, progress: Progress) -> int:
    return scan.unchanged + progress.counts.total()


@contextmanager
def _bar(scan: Scan, total: int | None) -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("indexing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f}/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[skipped]} skipped"),
    )
    start = time.monotonic()
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("indexing", total=total, rate=0.0, skipped=0)

        def show(progress: Progress) -> None:
            rate = progress.counts.total() / max(time.monotonic() - start, 1e-9)
            bar.update(task, completed=_done(scan, progress), rate=rate, skipped=progress.counts["skipped"])

        yield show


def _lines(scan: Scan, total: int | None) -> Callable[[Progress], None]:
    start = last = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < LINE_SECONDS:
            return
        last = now
        done = _done(scan, progress)
        rate = progress.counts.total() / (now - start)
        left = "" if total is None or not rate else f", about {max(0, total - done) / rate:.0f} s left"
        of = "" if total is None else f" of {total}"
        click.echo(f"{done}{of} done, {rate:.0f}/s{left}, {progress.counts['skipped']} skipped", err=True)

    return show
