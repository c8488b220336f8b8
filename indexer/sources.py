"""Where pictures come from: folders, files, manifests and shards, on this machine or a server, and paths on standard
input."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

from visearch import images, manifest, remote, shards
from visearch.errors import UsageError
from visearch.ingest import FOLDER
from visearch.remote import Status, is_remote
from visearch.sources import open_shard

STANDARD_INPUT = "-"
STANDARD_INPUT_BYTES = 1 << 16
UNREADABLE = "unreadable"
BAD_ROW = "bad-row"


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
        elif is_pattern(source):
            yield from (_object(address) for address in remote.matching(source) if _is_named(address))
        elif is_remote(source):
            yield from _on_server(source)
        elif path.is_dir():
            yield from _folder(path)
        elif _may_be_shard(source) and _is_shard(source):
            yield Entry(absolute(path), absolute(path), is_shard=True)
        elif manifest.is_manifest(path):
            yield from _manifest(path, absolute(path))
        else:
            yield Entry(absolute(path), absolute(path))


def _may_be_shard(source: str) -> bool:
    return Path(remote.name_of(source)).suffix.lower() in shards.SUFFIXES and not Path(source).is_dir()


def _is_shard(source: str) -> bool:
    try:
        with open_shard(source) as file:
            return shards.is_shard(remote.name_of(source), file)
    except OSError as error:
        raise UsageError(f"{source}: cannot be read ({error.strerror or error})") from None


def is_pattern(source: str) -> bool:
    """Whether it is an address with *, which names all that match it."""
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


def origin_of(source: str) -> str:
    """The origin of what comes from a source."""
    if not is_remote(source):
        return absolute(Path(source))
    name = remote.name_of(source)
    return name.rstrip("/") + "/" if _is_folder_of_objects(source) and not is_pattern(source) else name


def _on_server(source: str) -> Iterator[Entry]:
    name = remote.name_of(source)
    if _is_folder_of_objects(source):
        origin = origin_of(source)
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


def absolute(path: Path) -> str:
    """The name by which a file is known."""
    # Not resolve(): a picture behind a link is known by the name the user gave it.
    return os.path.abspath(path)  # noqa: PTH100 (Path has no way to normalise ".." without following links)


def _folder(root: Path) -> Iterator[Entry]:
    """Pictures below a folder; hidden ones, other files and folders already walked (by links) are left out."""
    origin = absolute(root)
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
            yield Entry(absolute(row.path), origin, row.metadata, authoritative=True)


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
    path = absolute(Path(text))
    return Entry(path, path)


def is_one_of(name: str, patterns: Iterable[str]) -> bool:
    """Whether it is a picture or a shard that one of the patterns names; a manifest is not."""
    return _is_named(name) and any(remote.matches(name, each) for each in patterns)


def has_many(source: str) -> bool:
    """Whether it is a source of many pictures: a folder, a list, a shard or a pattern."""
    if is_remote(source):
        return is_pattern(source) or _is_folder_of_objects(source) or _lists_pictures(source)
    return Path(source).is_dir() or _lists_pictures(source)


def _lists_pictures(source: str) -> bool:
    return _may_be_shard(source) or manifest.is_manifest(Path(remote.name_of(source)))
