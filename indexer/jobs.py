"""What the long jobs share: they can be interrupted, and report what they skipped."""

from __future__ import annotations

import csv
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType

from visearch.errors import VisearchError

Row = tuple[str, str, str]


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """The first Ctrl-C (or SIGTERM) sets the event, so that work in hand is finished; the second is an interrupt."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def on_cluster(address: str | None) -> AbstractContextManager[None]:
    """Connected to the Ray cluster at an address for the block; nothing without one."""
    if address is None:
        return nullcontext()
    from indexer.ray_jobs import cluster

    return cluster(address)


@contextmanager
def skipped_report(path: Path | None) -> Iterator[Callable[[Iterable[Row]], None]]:
    """A function that appends rows (path, reason, message) to the report, a CSV file; without a path it does nothing.

    Raises:
        VisearchError: the report cannot be written.
    """
    if path is None:
        yield lambda rows: None
        return
    with _report_errors(path):
        file = path.open("w", newline="", encoding="utf-8", errors="surrogateescape")
    try:
        writer = csv.writer(file)

        def write(rows: Iterable[Row]) -> None:
            with _report_errors(path):
                writer.writerows(rows)
                file.flush()

        write([("path", "reason", "message")])
        yield write
    finally:
        with suppress(OSError):  # told when it was written
            file.close()


@contextmanager
def _report_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VisearchError(f"{path}: the report cannot be written ({error.strerror or error})") from None
