"""Where pictures come from: folders, files, manifests and shards, on this machine or a server, and paths on standard
input; and which of them are new."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

from visearch import images, manifest, remote, settings, shards
from visearch.errors import ImageError, UsageError
from visearch.ingest import FOLDER, Failed, File, Outcome
from visearch.records import Failure, Known, Shard, metadata_hash
from visearch.remote import Status, is_remote
from visearch.sources import file_of, open_shard
from visearch.store import Store

STANDARD_INPUT = "-"
STANDARD_INPUT_BYTES = 1 << 16
IDS_PER_RESERVATION = 256
UNREADABLE = "unreadable"
BAD_ROW = "bad-row"
BAD_SHARD = "bad-shard"
# Reasons that end only with another file, other decoders or other limits.
LASTING = {"empty", "unsupported", "corrupt", "too-large", "timeout", "memory", "crashed"}
LOOK_TOGETHER = 64  # objects of a manifest whose server is asked what they are now


@dataclass(frozen=True)
class Entry:
    """One picture that a source names, or a shard of them. `problem` says why it cannot even be looked at, `reason` in
    one word. Of an object `address` is what its server is asked for, `status` what it is now where that is known; of a
    picture in a shard `data` are its bytes."""

    path: str
    origin: str
    metadata: dict[str, Any] = field(default_factory=dict)
    authoritative: bool = False
    reason: str = ""
    problem: str = ""
    is_shard: bool = False
    address: str = ""
    status: Status | None = None
    data: bytes | None = field(default=None, repr=False)


def check(sources: Sequence[str]) -> None:
    """Raise UsageError where a source does not exist, or no server can be asked for it, before any work is done."""
    for source in sources:
        if is_remote(source):
            remote.check(source)
        elif source != STANDARD_INPUT and not Path(source).exists():
            raise UsageError(f"{source}: no such file or folder")


def countable(sources: Sequence[str]) -> bool:
    """Whether the pictures can be counted without asking servers, opening shards or using up standard input."""
    return not any(source == STANDARD_INPUT or is_remote(source) or _may_be_shard(source) for source in sources)


def entries(sources: Sequence[str]) -> Iterator[Entry]:
    """All pictures of all sources, and their shards, in source order, but lists before folders: the first to name a
    picture counts, and a list knows more of it. Folders are walked in order of names."""
    for source in sorted(sources, key=lambda source: not _lists_pictures(source)):
        path = Path(source)
        if source == STANDARD_INPUT:
            yield from _paths_on_standard_input()
        elif _is_pattern(source):
            yield from (_object(address) for address in remote.matching(source) if _is_named(address))
        elif is_remote(source):
            yield from _on_server(source)
        elif path.is_dir():
            yield from _folder(path)
        elif _may_be_shard(source) and _is_shard(source):
            yield Entry(_absolute(path), _absolute(path), is_shard=True)
        elif manifest.is_manifest(path):
            yield from _manifest(path, _absolute(path))
        else:
            yield Entry(_absolute(path), _absolute(path))


def _may_be_shard(source: str) -> bool:
    return Path(remote.name_of(source)).suffix.lower() in shards.SUFFIXES and not Path(source).is_dir()


def _is_shard(source: str) -> bool:
    try:
        with open_shard(source) as file:
            return shards.is_shard(remote.name_of(source), file)
    except OSError as error:
        raise UsageError(f"{source}: cannot be read ({error.strerror or error})") from None


def _is_pattern(source: str) -> bool:
    return is_remote(source) and "*" in remote.name_of(source)


def _is_named(address: str) -> bool:
    """Whether an object is a picture or a shard by its name."""
    return Path(remote.name_of(address)).suffix.lower() in images.SUPPORTED_SUFFIXES | shards.SUFFIXES


def _is_folder_of_objects(source: str) -> bool:
    """Of HTTP a name that ends in /; elsewhere also one that no picture, shard or manifest has."""
    name = remote.name_of(source)
    if name.endswith("/") or remote.is_web(name):
        return name.endswith("/")
    return not _is_named(name) and not manifest.is_manifest(Path(name))


def _origin(source: str) -> str:
    """The origin of what comes from a source."""
    if not is_remote(source):
        return _absolute(Path(source))
    name = remote.name_of(source)
    return name.rstrip("/") + "/" if _is_folder_of_objects(source) and not _is_pattern(source) else name


def _on_server(source: str) -> Iterator[Entry]:
    name = remote.name_of(source)
    if _is_folder_of_objects(source):
        origin = _origin(source)
        for address, status in remote.listing(source, images.SUPPORTED_SUFFIXES):
            path = remote.name_of(address)
            inside = path.removeprefix(origin).rpartition("/")[0] if path.startswith(origin) else ""
            yield Entry(path, origin, {FOLDER: inside} if inside else {}, address=address, status=status)
    elif _may_be_shard(source) and _is_shard(source):
        yield Entry(name, name, is_shard=True, address=source)
    elif manifest.is_manifest(Path(name)):
        with tempfile.NamedTemporaryFile(suffix=Path(name).suffix) as copy:
            remote.copy_to(source, copy)
            copy.flush()
            yield from _manifest(Path(copy.name), name, name.rpartition("/")[0] + "/")
    else:
        yield _object(source)


def _object(address: str, origin: str = "") -> Entry:
    """An object by itself: a picture or, by its name, a shard."""
    name = remote.name_of(address)
    return Entry(name, origin or name, is_shard=_may_be_shard(address), address=address)


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


def _manifest(path: Path, origin: str, folder: str = "") -> Iterator[Entry]:
    for row in manifest.read_manifest(path, folder):
        if row.address:
            name = remote.name_of(row.address)
            yield Entry(name, origin, row.metadata, authoritative=True, address=row.address)
        elif row.path is None:
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
    text = os.fsdecode(name)
    if is_remote(text):
        return _object(text)
    path = _absolute(Path(text))
    return Entry(path, path)


def _with_status(found: Iterable[Entry]) -> Iterator[Entry]:
    """The same, with what objects are now where their listing does not say; many servers are asked at once."""
    waiting: list[Entry] = []

    def asked() -> Iterator[Entry]:
        looked = iter(remote.statuses([entry.address for entry in waiting if _is_to_be_asked(entry)]))
        for entry in waiting:
            status = next(looked) if _is_to_be_asked(entry) else entry.status
            if isinstance(status, ImageError):
                yield replace(entry, reason=UNREADABLE, problem=status.message)
            else:
                yield replace(entry, status=status)
        waiting.clear()

    for entry in found:
        if not waiting and not _is_to_be_asked(entry):
            yield entry
            continue
        waiting.append(entry)
        if len(waiting) == LOOK_TOGETHER:
            yield from asked()
    yield from asked()


def _is_to_be_asked(entry: Entry) -> bool:
    return bool(entry.address) and entry.status is None and not entry.problem


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
        self._broken: set[str] = set()  # manifests and shards of which a part cannot be read
        self._shards: dict[str, Shard] = {}  # read to their end in this scan
        self._pictures: Counter[str] = Counter()  # of each origin

    def changed(self, stop: threading.Event) -> Iterator[File | Failed]:
        """Files that are new or changed, in the order of `entries`, and those that cannot be used; ids are given here.

        It ends when `stop` is set: a scan over files that are all unchanged yields nothing that could be stopped at.
        """
        for entry in self._pictures_of(_with_status(entries(self._sources)), stop):
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

    def _pictures_of(self, found: Iterable[Entry], stop: threading.Event) -> Iterator[Entry]:
        """The same, with shards opened that have changed."""
        for entry in found:
            if entry.is_shard and not entry.problem:
                yield from self._in_shard(entry, stop)
            else:
                yield entry

    def _in_shard(self, shard: Entry, stop: threading.Event) -> Iterator[Entry]:
        """The pictures in a shard, in one pass. One that was read to its end before and has not changed since stays
        closed, unless items of it were removed."""
        try:
            status = shard.status if shard.address else _status(shard.path)
            if status is None:
                raise FileNotFoundError("there is no such object")
            now = Shard(status.size, status.version, self._detector, self._decoders)
            failures = self._failures_in(shard.path)
            if self._is_done(shard.path, now, failures):
                yield from (
                    Entry(each.source, shard.path, reason=each.reason, problem=each.message) for each in failures
                )
                return
            self._shards.pop(shard.path, None)
            with open_shard(shard.address or shard.path) as file:
                for member in shards.members(shard.path, file):
                    if stop.is_set():
                        return
                    yield Entry(
                        f"{shard.path}#{member.name}",
                        shard.path,
                        member.metadata,
                        authoritative=True,
                        reason=member.reason,
                        problem=member.problem,
                        status=Status(len(member.data), status.version),
                        data=member.data,
                    )
            self._shards[shard.path] = now
        except (OSError, UsageError, shards.ShardError) as error:
            self._broken.add(shard.path)
            said = getattr(error, "strerror", None) or str(error)
            yield replace(shard, reason=BAD_SHARD, problem=said)

    def _failures_in(self, shard: str) -> list[Failure]:
        """What could not be used in a shard when it was read."""
        with self._store.read() as reader:
            return [failure for failure in reader.failures() if failure.origin == shard != failure.source]

    def _is_done(self, shard: str, now: Shard, failures: Sequence[Failure]) -> bool:
        with self._store.read() as reader:
            before = reader.shard(shard)
            if before is None:
                return False
            ids = list(reader.item_ids_below(f"{shard}#"))
        if not failures:  # then other decoders would find nothing else in it
            before = replace(before, decoders=now.decoders)
        again = any(each.reason not in LASTING for each in failures)
        if replace(before, pictures=0) != now or len(ids) != before.pictures or again:
            return False
        new = [item_id for item_id in ids if not self._is_seen(item_id)]
        for item_id in new:
            self._see(item_id)
        self.unchanged += len(new)
        self._pictures[shard] += len(ids)
        return True

    def finish(self) -> None:
        """Remember the shards that were read to their end, once all of this scan is committed."""
        if not self._shards:
            return
        with self._store.write() as writer:
            for shard, now in self._shards.items():
                pictures = sum(1 for _ in writer.item_ids_below(f"{shard}#"))
                writer.put_shard(shard, replace(now, pictures=pictures))

    def _look_at(self, entry: Entry) -> File | Failed | None:
        file = File(0, entry.path, 0, 0, entry.origin, entry.metadata, entry.authoritative, entry.data)
        file = replace(file, address=entry.address)
        if entry.problem:
            if entry.reason == UNREADABLE:
                self._unreadable.append(entry.path + os.sep)
            if entry.reason == BAD_ROW:  # a shard says by itself whether a part of it is lost
                self._broken.add(entry.origin)
            if entry.is_shard:  # its server did not say what it is now
                self._broken.add(entry.path)
            return Failed(file, b"", entry.reason, entry.problem)
        if entry.path in self._on_their_way:  # named twice in this run: the first one counts
            self._pictures[entry.origin] += 1
            return None
        try:
            status = entry.status or _status(entry.path)
        except (OSError, ValueError) as error:
            if isinstance(error, (FileNotFoundError, NotADirectoryError)):
                self._gone.add(entry.path)
            return Failed(file, b"", UNREADABLE, getattr(error, "strerror", None) or str(error))
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
        file = replace(file, size=status.size, mtime_ns=status.version, detector=self._detector)
        if failure is not None and _is_to_fail_again(failure, status, self._decoders):
            return Failed(file, b"", failure.reason, failure.message)
        limit = int(settings.number("max_file_megabytes") * settings.MEGABYTE)
        if entry.address and status.size > limit:  # not worth a request
            return Failed(file, b"", "too-large", f"over {limit} bytes (max_file_megabytes)")
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
        """Items of these sources that the complete scan did not meet: file gone, or row gone from its manifest, or
        member from its shard."""
        gone: list[int] = []
        lists: set[str] = set()  # origins that name all of their pictures
        patterns: list[str] = []
        for source in self._sources:
            if source == STANDARD_INPUT:
                continue
            if _is_pattern(source):
                patterns.append(remote.name_of(source))
            elif not is_remote(source) and Path(source).is_dir():
                gone += self._gone_from_folder(_absolute(Path(source)))
            elif _has_many(source):
                lists.add(_origin(source))
        if lists or patterns:
            with self._store.read() as reader:
                gone += [
                    item.item_id
                    for item in reader.items()
                    if not self._is_seen(item.item_id)
                    and item.origin not in self._broken  # what cannot be read may be that of any item
                    and (item.origin in lists or _is_one_of(item.origin, patterns))
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
                    and not os.path.lexists(file_of(item.source) or item.source)
                ):
                    gone.append(item_id)
        return gone

    def empty_sources(self) -> list[str]:
        """Sources of many pictures of which none was met: most likely a drive is not mounted, or a server empty."""
        origins = [_origin(source) for source in self._sources if source != STANDARD_INPUT and _has_many(source)]
        return [origin for origin in origins if not self._met_any(origin)]

    def _met_any(self, origin: str) -> bool:
        if not _is_pattern(origin):
            return self._pictures[origin] > 0
        return any(count and _is_one_of(each, [origin]) for each, count in self._pictures.items())

    def outdated_failures(self) -> list[str]:
        """Sources that could not be used before and are gone now, or are well again, after a complete scan."""
        origins = {_origin(source) for source in self._sources if source != STANDARD_INPUT} | set(self._shards)
        patterns = [origin for origin in origins if _is_pattern(origin)]
        with self._store.read() as reader:
            return [
                failure.source
                for failure in reader.failures()
                if (failure.origin in origins or _is_one_of(failure.origin, patterns))
                and failure.source not in self._failed
                and not failure.source.startswith(tuple(self._unreadable))
            ]


def _is_one_of(name: str, patterns: Iterable[str]) -> bool:
    """Whether it is a picture or a shard that one of the patterns names; a manifest is not."""
    return _is_named(name) and any(remote.matches(name, each) for each in patterns)


def _is_to_fail_again(failure: Failure, status: Status, decoders: str) -> bool:
    """Whether a file that could not be used is as it was, and so is the cause. What could not be read may be well at
    any moment."""
    before, now = (failure.size, failure.mtime_ns, failure.decoders), (status.size, status.version, decoders)
    return before == now and failure.reason in LASTING


def _has_many(source: str) -> bool:
    if is_remote(source):
        return _is_pattern(source) or _is_folder_of_objects(source) or _lists_pictures(source)
    return Path(source).is_dir() or _lists_pictures(source)


def _lists_pictures(source: str) -> bool:
    return _may_be_shard(source) or manifest.is_manifest(Path(remote.name_of(source)))


def _status(path: str) -> Status:
    """Of a file: bytes and nanoseconds. OSError or ValueError where it cannot be looked at, or is no regular file."""
    status = os.stat(path)  # noqa: PTH116 (hot loop)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("not a regular file")
    return Status(status.st_size, status.st_mtime_ns)


def _is_unchanged(entry: Entry, known: Known, status: Status) -> bool:
    return (
        known.size == status.size
        and known.mtime_ns == status.version
        and (not entry.authoritative or known.metadata_hash == metadata_hash(entry.metadata))
    )
