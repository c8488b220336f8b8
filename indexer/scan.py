"""Which pictures of the sources are new: what the sources name is compared with what the store knows."""

from __future__ import annotations

import os
import stat
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from indexer.sources import (
    BAD_ROW,
    STANDARD_INPUT,
    UNREADABLE,
    Entry,
    absolute,
    entries,
    has_many,
    is_one_of,
    is_pattern,
    origin_of,
)
from visearch import images, remote, settings, shards
from visearch.errors import ImageError, UsageError
from visearch.ingest import Failed, File, Outcome
from visearch.records import Failure, Known, Shard, metadata_hash
from visearch.remote import Status, is_remote
from visearch.sources import file_of, open_shard
from visearch.store import Store

IDS_PER_RESERVATION = 256
BAD_SHARD = "bad-shard"
# Reasons that end only with another file, other decoders or other limits.
LASTING = {"empty", "unsupported", "corrupt", "too-large", "timeout", "memory", "crashed"}
LOOK_TOGETHER = 64  # objects of a manifest whose server is asked what they are now


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
            if is_pattern(source):
                patterns.append(remote.name_of(source))
            elif not is_remote(source) and Path(source).is_dir():
                gone += self._gone_from_folder(absolute(Path(source)))
            elif has_many(source):
                lists.add(origin_of(source))
        if lists or patterns:
            with self._store.read() as reader:
                gone += [
                    item.item_id
                    for item in reader.items()
                    if not self._is_seen(item.item_id)
                    and item.origin not in self._broken  # what cannot be read may be that of any item
                    and (item.origin in lists or is_one_of(item.origin, patterns))
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
        origins = [origin_of(source) for source in self._sources if source != STANDARD_INPUT and has_many(source)]
        return [origin for origin in origins if not self._met_any(origin)]

    def _met_any(self, origin: str) -> bool:
        if not is_pattern(origin):
            return self._pictures[origin] > 0
        return any(count and is_one_of(each, [origin]) for each, count in self._pictures.items())

    def outdated_failures(self) -> list[str]:
        """Sources that could not be used before and are gone now, or are well again, after a complete scan."""
        origins = {origin_of(source) for source in self._sources if source != STANDARD_INPUT} | set(self._shards)
        patterns = [origin for origin in origins if is_pattern(origin)]
        with self._store.read() as reader:
            return [
                failure.source
                for failure in reader.failures()
                if (failure.origin in origins or is_one_of(failure.origin, patterns))
                and failure.source not in self._failed
                and not failure.source.startswith(tuple(self._unreadable))
            ]


def _is_to_fail_again(failure: Failure, status: Status, decoders: str) -> bool:
    """Whether a file that could not be used is as it was, and so is the cause. What could not be read may be well at
    any moment."""
    before, now = (failure.size, failure.mtime_ns, failure.decoders), (status.size, status.version, decoders)
    return before == now and failure.reason in LASTING


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


def _is_unchanged(entry: Entry, known: Known, status: Status) -> bool:
    return (
        known.size == status.size
        and known.mtime_ns == status.version
        and (not entry.authoritative or known.metadata_hash == metadata_hash(entry.metadata))
    )


def _status(path: str) -> Status:
    """Of a file: bytes and nanoseconds. OSError or ValueError where it cannot be looked at, or is no regular file."""
    status = os.stat(path)  # noqa: PTH116 (hot loop)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("not a regular file")
    return Status(status.st_size, status.st_mtime_ns)
