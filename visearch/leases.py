"""Leases: one process at a time does a long job (building an index, a backfill) on a collection.

A lease is a lock of the operating system on a file, so it ends with its process however that ends. The file says who
holds it, for the error that the second one gets.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from visearch.errors import LeaseError

FOLDER = "leases"


@contextmanager
def lease(collection: Path, job: str, wait_seconds: float = 0) -> Iterator[None]:
    """Hold the lease of a job, waiting up to `wait_seconds` for it (below zero: for ever).

    Raises:
        LeaseError: another process holds it; the message names it.
    """
    folder = collection / FOLDER
    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / f"{job}.lock")
    holder = folder / f"{job}.holder"
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout:
        raise LeaseError(f"{collection}: {job} is being done by {_read(holder)}; wait for it to end") from None
    try:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        lock.release()


def _read(holder: Path) -> str:
    try:
        return holder.read_text()
    except OSError:
        return "another process"
