"""Where pictures come from: folders, files, manifests, paths on standard input; and which of them are new."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

from visearch import images, manifest
from visearch.errors import UsageError
from visearch.ingest import FOLDER, Failed, File, Outcome
from visearch.store import Known, Store, metadata_hash

STANDARD_INPUT = "-"
STANDARD_INPUT_BYTES = 1 << 16
IDS_PER_RESERVATION = 256
UNREADABLE = "unreadable"
BAD_ROW = "bad-row"


@dataclass(frozen=True)
class Entry:
    """One picture that a source names. `problem` says why it cannot even be looked at, `reason` in one word."""

    path: str
    origin: str
    metadata: dict[str, Any] = field(default_factory=dict)
    authoritative: bool = False
    reason: str = ""
    problem: str = ""


def check(sources: Sequence[str]) -> None:
    """Raise UsageError where a source does not exist, before any work is done."""
    for source in sources:
        if source != STANDARD_INPUT and not Path(source).exists():
            raise UsageError(f"{source}: no such file or folder")


def entries(sources: Sequence[str]) -> Iterator[Entry]:
    """All pictures of all sources, in source order; folders are walked in order of names."""
    for source in sources:
        path = Path(source)
        if source == STANDARD_INPUT:
            yield from _paths_on_standard_input()
        elif path.is_dir():
            yield from _folder(path)
        elif manifest.is_manifest(path):
            yield from _manifest(path)
        else:
            yield Entry(_absolute(path), _absolute(path))


def _absolute(path: Path) -> str:
    # Not resolve(): a picture behind a link is known by the name the user gave it.
    return os.path.abspath(path)  # noqa: PTH100 (Path has no way to normalise ".." without following links)


def _folder(root: Path) -> Iterator[Entry]:
    """Pictures below a folder; hidden ones, other files and folders already walked (by links) are left out."""
    origin = _absolute(root)
    walked: set[tuple[int, int]] = set()
    waiting = [origin]
    while waiting:
        folder = waiting.pop()
        try:
            status = Path(folder).stat()
            if (status.st_dev, status.st_ino) in walked:
                continue
            walked.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                found = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield Entry(folder, origin, reason=UNREADABLE, problem=error.strerror or str(error))
            continue
        metadata = {FOLDER: os.path.relpath(folder, origin)} if folder != origin else {}
        folders = []
        for entry in found:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                folders.append(entry.path)
            elif os.path.splitext(entry.name)[1].lower() in images.SUPPORTED_SUFFIXES:  # noqa: PTH122 (hot loop)
                yield Entry(entry.path, origin, metadata)
        waiting.extend(reversed(folders))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to where one may not look
        return False


def _manifest(path: Path) -> Iterator[Entry]:
    origin = _absolute(path)
    for row in manifest.read_manifest(path):
        if row.path is None:
            yield Entry(f"{origin}#{row.number}", origin, reason=BAD_ROW, problem=row.problem)
        else:
            yield Entry(_absolute(row.path), origin, row.metadata, authoritative=True)


def _paths_on_standard_input() -> Iterator[Entry]:
    """One path a line, or paths that end in NUL (`find -print0`) where what is read first holds one."""
    rest = b""
    separator = b""
    stdin = cast(BufferedReader, sys.stdin.buffer)
    while chunk := stdin.read1(STANDARD_INPUT_BYTES):
        separator = separator or (b"\0" if b"\0" in chunk else b"\n")
        *names, rest = (rest + chunk).split(separator)
        yield from (_named(name) for name in names if name)
    if rest:
        yield _named(rest)


def _named(name: bytes) -> Entry:
    path = _absolute(Path(os.fsdecode(name)))
    return Entry(path, path)


class Scan:
    """Compares what the sources name with what the store knows.

    `unchanged` counts files that are as they were. One thread runs `changed`, another may call `committed`.
    """

    def __init__(self, store: Store, sources: Sequence[str], detector: str = "") -> None:
        """`detector` is the SHA-256 of the detector whose objects are to be indexed, "" for none: an item that it has
        not seen is then no longer unchanged."""
        self.unchanged = 0
        self._detector = detector
        self._store = store
        self._sources = sources
        self._decoders = images.decoders_fingerprint()
        self._ids = range(0)  # reserved and not given yet
        self._seen = bytearray()  # one byte an item id: met in this scan
        self._on_their_way: set[str] = set()  # sources handed out and not committed yet
        self._failed: set[str] = set()  # sources that cannot be used
        self._gone: set[str] = set()  # those of them that a manifest names and that are not there
        self._unreadable: list[str] = []  # folders that could not be listed
        self._broken: set[str] = set()  # manifests with rows that cannot be read
        self._pictures: Counter[str] = Counter()  # of each origin

    def changed(self, stop: threading.Event) -> Iterator[File | Failed]:
        """Files that are new or changed, in source order, and those that cannot be used; ids are given here.

        It ends when `stop` is set: a scan over files that are all unchanged yields nothing that could be stopped at.
        """
        for entry in entries(self._sources):
            if stop.is_set():
                break
            found = self._look_at(entry)
            if isinstance(found, Failed):
                if entry.path in self._failed:  # named twice in this run
                    continue
                self._failed.add(entry.path)
            if found is not None:
                yield found
        self._return_ids()

    def _look_at(self, entry: Entry) -> File | Failed | None:
        file = File(0, entry.path, 0, 0, entry.origin, entry.metadata, entry.authoritative)
        if entry.problem:
            if entry.reason == UNREADABLE:
                self._unreadable.append(entry.path + os.sep)
            if entry.reason == BAD_ROW:
                self._broken.add(entry.origin)
            return Failed(file, b"", entry.reason, entry.problem)
        if entry.path in self._on_their_way:  # named twice in this run: the first one counts
            self._pictures[entry.origin] += 1
            return None
        try:
            status = os.stat(entry.path)  # noqa: PTH116 (hot loop)
        except (OSError, ValueError) as error:
            if isinstance(error, (FileNotFoundError, NotADirectoryError)):
                self._gone.add(entry.path)
            return Failed(file, b"", UNREADABLE, getattr(error, "strerror", None) or str(error))
        if not stat.S_ISREG(status.st_mode):
            return Failed(file, b"", UNREADABLE, "not a regular file")
        self._pictures[entry.origin] += 1
        with self._store.read() as reader:
            known = reader.known(entry.path)
            failure = None if known is not None and _is_unchanged(entry, known, status) else reader.failure(entry.path)
        if known is not None:
            if self._is_seen(known.item_id):
                return None
            self._see(known.item_id)
            if failure is None and _is_unchanged(entry, known, status) and self._has_objects(known.item_id):
                self.unchanged += 1
                return None
        file = replace(file, size=status.st_size, mtime_ns=status.st_mtime_ns, detector=self._detector)
        if failure is not None and (failure.size, failure.mtime_ns, failure.decoders) == (
            file.size,
            file.mtime_ns,
            self._decoders,
        ):
            return Failed(file, b"", failure.reason, failure.message)
        self._on_their_way.add(entry.path)
        return replace(file, item_id=known.item_id if known is not None else self._new_id())

    def _has_objects(self, item_id: int) -> bool:
        if not self._detector:
            return True
        with self._store.read() as reader:
            item = reader.item(item_id)
        return item is None or item.detector == self._detector

    def _new_id(self) -> int:
        if not len(self._ids):
            with self._store.write() as writer:
                first = writer.reserve_item_ids(IDS_PER_RESERVATION)
            self._ids = range(first, first + IDS_PER_RESERVATION)
        item_id, self._ids = self._ids[0], self._ids[1:]
        return item_id

    def _return_ids(self) -> None:
        """Give back the ids that were reserved and not used, so that the next run goes on without a gap."""
        if len(self._ids):
            with self._store.write() as writer:
                writer.return_item_ids(self._ids)
            self._ids = range(0)

    def committed(self, outcomes: Sequence[Outcome]) -> None:
        """These are in the store now. A moved file went to the item it had before, whatever id was reserved for it."""
        with self._store.read() as reader:
            for outcome in outcomes:
                known = reader.known(outcome.file.source)
                if known is not None and outcome.file.source not in self._gone:
                    self._see(known.item_id)
                if isinstance(outcome, Failed):
                    self._failed.add(outcome.file.source)
                self._on_their_way.discard(outcome.file.source)

    def _is_seen(self, item_id: int) -> bool:
        return item_id < len(self._seen) and bool(self._seen[item_id])

    def _see(self, item_id: int) -> None:
        if item_id >= len(self._seen):
            self._seen.extend(bytes(item_id + 1 - len(self._seen) + len(self._seen) // 8))
        self._seen[item_id] = 1

    def vanished(self) -> list[int]:
        """Items of these sources that the complete scan did not meet: file gone, or row gone from its manifest."""
        gone: list[int] = []
        for source in self._sources:
            if source == STANDARD_INPUT:
                continue
            path = Path(source)
            if path.is_dir():
                gone += self._gone_from_folder(_absolute(path))
            elif manifest.is_manifest(path):
                origin = _absolute(path)
                if origin in self._broken:  # a row that cannot be read may be that of any item
                    continue
                with self._store.read() as reader:
                    gone += [
                        item.item_id
                        for item in reader.items()
                        if item.origin == origin and not self._is_seen(item.item_id)
                    ]
        return sorted(set(gone))

    def _gone_from_folder(self, folder: str) -> list[int]:
        """Not met, no longer on disk, and not below a folder that could not be listed just now."""
        gone = []
        below = os.path.join(folder, "")  # noqa: PTH118 (the trailing separator)
        with self._store.read() as reader:
            for item_id in reader.item_ids_below(below):
                item = None if self._is_seen(item_id) else reader.item(item_id)
                if (
                    item is not None
                    and item.source.startswith(below)  # keys of long paths are cut
                    and not item.source.startswith(tuple(self._unreadable))
                    and not os.path.lexists(item.source)
                ):
                    gone.append(item_id)
        return gone

    def empty_sources(self) -> list[str]:
        """Folders and manifests among the sources of which no picture was met: most likely a drive is not mounted."""
        several = [path for path in map(Path, self._sources) if path.is_dir() or manifest.is_manifest(path)]
        return [origin for origin in map(_absolute, several) if not self._pictures[origin]]

    def outdated_failures(self) -> list[str]:
        """Sources that could not be used before and are gone now, or are well again, after a complete scan."""
        origins = {_absolute(Path(source)) for source in self._sources if source != STANDARD_INPUT}
        with self._store.read() as reader:
            return [
                failure.source
                for failure in reader.failures()
                if failure.origin in origins
                and failure.source not in self._failed
                and not failure.source.startswith(tuple(self._unreadable))
            ]


def _is_unchanged(entry: Entry, known: Known, status: os.stat_result) -> bool:
    return (
        known.size == status.st_size
        and known.mtime_ns == status.st_mtime_ns
        and (not entry.authoritative or known.metadata_hash == metadata_hash(entry.metadata))
    )
