"""Progress on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

LINE_SECONDS = 10.0

Show = Callable[[int, int, int], None]


@contextmanager
def display(what: str, total: int | None) -> Iterator[Show]:
    """A function to call after every commit with how many of `total` (None: nobody knows) are done, how many of those
    this run had to work on, and how many it skipped."""
    if sys.stderr.isatty():
        with _bar(what, total) as show:
            yield show
    else:
        yield _lines(total)


@contextmanager
def _bar(what: str, total: int | None) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f}/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[skipped]} skipped"),
    )
    start = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, rate=0.0, skipped=0)

        def show(done: int, worked: int, skipped: int) -> None:
            rate = worked / max(time.monotonic() - start, 1e-9)
            bar.update(task, completed=done, rate=rate, skipped=skipped)

        yield show


def _lines(total: int | None) -> Show:
    start = last = time.monotonic()

    def show(done: int, worked: int, skipped: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < LINE_SECONDS:
            return
        last = now
        rate = worked / (now - start)
        left = "" if total is None or not rate else f", about {max(0, total - done) / rate:.0f} s left"
        of = "" if total is None else f" of {total}"
        click.echo(f"{done}{of} done, {rate:.0f}/s{left}, {skipped} skipped", err=True)

    return show
