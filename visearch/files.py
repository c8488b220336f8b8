"""Files, read with a limit, and written so that they are never half-written: temporary name, fsync, rename, fsync."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from visearch import settings
from visearch.errors import ImageError

TEMPORARY = ".partial"


def fsync_folder(folder: Path) -> None:
    """Make renames and new names in a folder durable (a no-op where folders cannot be synced, as on Windows)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write what `path` will hold: after a crash it holds the old bytes or all of the new ones."""
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file's content in one step: after a crash it holds the old bytes or the new ones."""
    with replacing(path) as file:
        file.write(data)


def read_limited(path: Path) -> bytes:
    """The bytes of a picture file.

    Raises:
        ImageError: it cannot be read (unreadable), or is larger than max_file_megabytes (too-large).
    """
    limit = int(settings.number("max_file_megabytes") * settings.MEGABYTE)
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise ImageError(
            "unreadable", f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})"
        ) from None
    if len(data) > limit:
        raise ImageError("too-large", f"{path}: over {limit} bytes (max_file_megabytes)")
    return data
