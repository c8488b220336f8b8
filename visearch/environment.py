"""An LMDB environment: opened once a process, its errors told as one line each."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from visearch import settings
from visearch.errors import StoreError

MAX_READERS = 1024
MAX_TABLES = 16
DATA, LOCK = "data.mdb", "lock.mdb"
LOCK_BYTES = 64 * (MAX_READERS + 2)
WRITTEN_WITHIN = 1.0  # seconds, the end of a data file (see Store.write)


def writable(path: Path) -> bool:
    """Whether the environment in this folder may be written."""
    return os.access(path, os.W_OK) and os.access(path / DATA, os.W_OK) and not _read_only_mount(path)


def _read_only_mount(path: Path) -> bool:
    return hasattr(os, "statvfs") and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def data_bytes(path: Path) -> int:
    """Length of the data file; 0 where there is none, or where its maker was killed before it wrote anything."""
    try:
        return (path / DATA).stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0


def missing_bytes(environment: Any, path: Path) -> int:
    """How much shorter the data file is than its pages need. Reading beyond its end would be a bus error."""
    needed: int = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    return max(0, needed - data_bytes(path))


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """LMDB's and the system's errors as one line each."""
    folder = path.parent
    try:
        yield
    except lmdb.MapFullError:
        raise StoreError(f"{folder}: the store is full; raise VISEARCH_MAP_GIGABYTES and run again") from None
    except lmdb.LockError as error:
        raise StoreError(f"{folder}: cannot be locked ({error}); is it on a network file system?") from None
    except lmdb.ReadersFullError:
        raise StoreError(f"{folder}: too many readers at once (over {MAX_READERS})") from None
    except (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError, lmdb.PageNotFoundError) as error:
        raise StoreError(f"{folder}: the store is broken ({error}); restore it from a backup") from None
    except (lmdb.Error, OSError) as error:
        if _is_disk_full(error, folder):
            raise StoreError(f"{folder}: the disk is full; free some space and run the same command again") from None
        raise StoreError(f"{folder}: {error}") from None


def _is_disk_full(error: Exception, folder: Path) -> bool:
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error):
        return True
    # LMDB says this where a part of what it wrote did fit.
    cut_off = os.strerror(errno.EIO) in str(error)
    return cut_off and folder.exists() and shutil.disk_usage(folder).free < settings.MEGABYTE


# LMDB must not be opened twice in one process (the first close would drop its file locks): environments are shared.
_environments: dict[Path, tuple[Any, int]] = {}
_environments_lock = threading.Lock()


def acquire(path: Path, key: Path, readonly: bool) -> Any:
    """The environment in this folder, which this process shares with whoever has it open; `release` gives it back.
    `key` is the resolved path."""
    with _environments_lock:
        environment, users = _environments.get(key, (None, 0))
        if environment is None:
            # A reader that cannot write the lock file is not seen by writers. Nothing to fear on a medium that nobody
            # writes; a collection mounted read-only here and written elsewhere meanwhile can be misread.
            lock = not readonly or writable(path)
            if lock:
                _reserve_lock_file(path)
            environment = lmdb.open(
                str(path),
                map_size=int(settings.number("map_gigabytes")) << 30,
                max_dbs=MAX_TABLES,
                max_readers=MAX_READERS,
                readonly=readonly,
                create=not readonly,
                lock=lock,
            )
            missing = missing_bytes(environment, path)
            looked_until = time.monotonic() + WRITTEN_WITHIN
            while missing and time.monotonic() < looked_until:  # another process may be about to write its end
                time.sleep(0.05)
                missing = missing_bytes(environment, path)
            if missing:
                environment.close()
                raise StoreError(
                    f"{path.parent}: the store is broken ({missing} bytes of {DATA} are missing at its end);"
                    " restore it from a backup"
                )
            if lock:
                environment.reader_check()  # readers that were killed would keep old pages from being reused
        _environments[key] = (environment, users + 1)
        return environment


@contextmanager
def in_use(key: Path) -> Iterator[Any]:
    """An environment that is open, and stays so meanwhile: to read the memory of a closed one ends the process.

    Raises:
        StoreError: it is closed.
    """
    with _environments_lock:
        environment, users = _environments.get(key, (None, 0))
        if environment is None:
            raise StoreError(f"{key.parent}: was closed")
        _environments[key] = (environment, users + 1)
    try:
        yield environment
    finally:
        release(key)


def _reserve_lock_file(path: Path) -> None:
    """Give a new lock file its bytes on disk: LMDB maps it, and a full disk would then be a bus error."""
    if hasattr(os, "posix_fallocate"):
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            os.posix_fallocate(descriptor, 0, LOCK_BYTES)
        finally:
            os.close(descriptor)


def release(key: Path) -> None:
    """Close the environment where nobody else in this process has it open."""
    with _environments_lock:
        environment, users = _environments.get(key, (None, 0))
        if users > 1:
            _environments[key] = (environment, users - 1)
        elif environment is not None:
            del _environments[key]
            environment.close()
