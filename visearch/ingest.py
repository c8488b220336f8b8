"""Pictures into the store: read -> decode -> embed (`prepare`, in any thread) -> one transaction (`commit`).

The indexing pipeline and uploads both go this way. Equal bytes are decoded once: whoever comes second is `Same`.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from visearch import images, settings
from visearch.codes import U8
from visearch.detector import Detector
from visearch.embedder import Card, Embedder, shorter_side
from visearch.embedder import prepare as model_input
from visearch.embedding import embed_together, side_to_decode
from visearch.errors import ImageError, UsageError
from visearch.images import WHOLE, Box, Picture
from visearch.remote import is_remote
from visearch.sources import file_of, read
from visearch.store import OWNER, Failure, Generation, Item, Reader, Store, Writer

MOST_OBJECTS = 10  # regions beside the whole picture
OBJECT_SCORE = 0.4
SMALLEST_OBJECT, LARGEST_OBJECT = 0.01, 0.9  # of the picture's area; larger is the picture itself

WORKING_COPIES = ("off", "on", "remote")  # values of the setting
FOLDER = "folder"  # the metadata key of what a walked folder says: the path of the picture's folder below its root


@dataclass(frozen=True)
class File:
    """A picture to be taken in, under an id that was reserved for it. `data` are its bytes where it is no file;
    `address` is what a server is asked for where that is more than the source (a signature).

    `authoritative` metadata (a manifest's) replaces what is stored; other metadata (a folder's) only adds to it.
    `detector` is the SHA-256 of the detector that is to look for objects in it, "" where none is.
    """

    item_id: int
    source: str
    size: int
    mtime_ns: int
    origin: str
    metadata: dict[str, Any] = field(default_factory=dict)
    authoritative: bool = False
    data: bytes | None = None
    detector: str = ""
    address: str = ""


@dataclass(frozen=True)
class Embedded:
    """Decoded and embedded, a row for each region, the whole picture first: codes uint8 [r, D/8], vectors uint8
    [r, D + 2] (int8 copy and scale), thumbnail and working copy (where one is to be kept) JPEG. `model` is the SHA-256
    of the model that made the codes."""

    file: File
    content: bytes
    width: int
    height: int
    thumbnail: bytes
    codes: U8
    vectors: U8
    model: str
    regions: tuple[Box, ...] = (WHOLE,)
    working_copy: bytes | None = None


@dataclass(frozen=True)
class Same:
    """Its bytes are those of an item in the store, or of a picture on its way there."""

    file: File
    content: bytes


@dataclass(frozen=True)
class Failed:
    """Cannot be used. `content` is empty where the bytes could not be read."""

    file: File
    content: bytes
    reason: str
    message: str


Outcome = Embedded | Same | Failed


class Claims:
    """Contents on their way into the store, so that equal bytes are decoded once. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contents: set[bytes] = set()

    def take(self, content: bytes) -> bool:
        """True for the first who comes with this content."""
        with self._lock:
            if content in self._contents:
                return False
            self._contents.add(content)
            return True

    def release(self, content: bytes) -> None:
        """The content is in the store, or known to be unusable."""
        with self._lock:
            self._contents.discard(content)


@dataclass(frozen=True)
class Decoded:
    """A picture on its way to the model, with an input uint8 [height, width, 3] for each of its regions."""

    file: File
    content: bytes
    width: int
    height: int
    thumbnail: bytes
    working_copy: bytes | None
    regions: tuple[Box, ...]
    inputs: list[U8]


def prepare(
    files: Sequence[File],
    store: Store,
    embedder: Callable[[], Embedder],
    claims: Claims,
    detector: Detector | None = None,
) -> list[Outcome]:
    """Read, decode and embed files, those that ask for it also by the objects in them; an outcome for each, in order.

    `embedder` gives the model of the active generation; it is called once, where something has to be decoded.
    """
    model = functools.cache(embedder)
    return embed(decode(files, lambda: model().card, functools.partial(is_stored, store), claims, detector), model)


def decode(
    files: Sequence[File],
    card: Callable[[], Card],
    known: Callable[[bytes, str], bool],
    claims: Claims,
    detector: Detector | None = None,
) -> list[Outcome | Decoded]:
    """The first half of `prepare`: what the model takes, or an outcome where it is not needed; one for each, in order.

    `card` gives that of the model. `known` says whether items with this content, seen by this detector ("": any), are
    in the collection, so that they need no decoding.
    """
    side = int(settings.number("thumbnail_side"))
    found: list[Outcome | Decoded] = []
    for file in files:
        outcome = _read(file, known, claims)
        if not isinstance(outcome, tuple):
            found.append(outcome)
            continue
        content, data = outcome
        finds = detector if file.detector else None
        least = side_to_decode(shorter_side(card()), objects=finds is not None)
        try:
            picture = images.decode(data, min_side=least if finds is None else max(least, finds.min_side()))
        except ImageError as error:
            found.append(Failed(file, content, error.reason, error.message))
            continue
        regions = (WHOLE, *(() if finds is None else object_regions(finds, picture)))
        # The picture may be large, and so may its bytes: only its small copies are kept for the batch.
        small = images.thumbnail(picture, side)
        copy = images.working_copy(picture) if _wants_working_copy(file) else None
        inputs = [model_input(card(), picture, region) for region in regions]
        size = (picture.width, picture.height)
        found.append(Decoded(replace(file, data=None), content, *size, small, copy, regions, inputs))
    return found


def embed(found: Sequence[Outcome | Decoded], embedder: Callable[[], Embedder]) -> list[Outcome]:
    """The second half of `prepare`: an outcome for each, in order."""
    decoded = [each for each in found if isinstance(each, Decoded)]
    made = iter(embed_together(embedder(), [each.inputs for each in decoded])) if decoded else iter(())
    return [_embedded(each, next(made), embedder) if isinstance(each, Decoded) else each for each in found]


def _embedded(decoded: Decoded, made: tuple[U8, U8] | None, embedder: Callable[[], Embedder]) -> Outcome:
    if made is None:
        return Failed(decoded.file, decoded.content, "not-finite", "the model gives it no finite embedding")
    size = (decoded.width, decoded.height)
    outcome = Embedded(decoded.file, decoded.content, *size, decoded.thumbnail, *made, embedder().sha256)
    return replace(outcome, regions=decoded.regions, working_copy=decoded.working_copy)


def _wants_working_copy(file: File) -> bool:
    wanted = settings.text("working_copies")
    if wanted not in WORKING_COPIES:
        raise UsageError(f"VISEARCH_WORKING_COPIES={wanted!r}: one of {', '.join(WORKING_COPIES)}")
    return wanted == "on" or (wanted == "remote" and is_remote(file.source))


def object_regions(detector: Detector, picture: Picture) -> list[Box]:
    """The boxes of the objects that are indexed beside the whole picture, best first."""
    found = detector.detect(picture, limit=MOST_OBJECTS, min_score=OBJECT_SCORE)
    return [each.box for each in found if SMALLEST_OBJECT <= _area(each.box) <= LARGEST_OBJECT]


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _read(file: File, known: Callable[[bytes, str], bool], claims: Claims) -> Outcome | tuple[bytes, bytes]:
    """The content hash and bytes of a file that has to be decoded, or an outcome that needs no decoding."""
    try:
        data = read(file.address or file.source) if file.data is None else file.data
    except ImageError as error:
        return Failed(file, b"", error.reason, error.message)
    content = hashlib.sha256(data).digest()
    if not claims.take(content):
        return Same(file, content)
    if known(content, file.detector):
        claims.release(content)
        return Same(file, content)
    return content, data


def is_stored(store: Store, content: bytes, detector: str) -> bool:
    """Whether searches find items with these bytes, seen by this detector where one is asked for."""
    with store.read() as reader:
        active = reader.active
        return bool(_twins(reader, content, detector, lambda item_id: len(reader.code_ids(active, item_id)) > 0))


def _twins(reader: Reader, content: bytes, detector: str, has_codes: Callable[[int], bool]) -> list[int]:
    """Items with these bytes that searches find; where a detector is asked for, those whose picture it has seen."""
    found = [item_id for item_id in reader.items_with_content(content) if has_codes(item_id)]
    if not detector:
        return found
    items = [reader.item(item_id) for item_id in found]
    return [item.item_id for item in items if item is not None and item.detector == detector]


def commit(store: Store, outcomes: Sequence[Outcome]) -> tuple[Counter[str], list[Same | Embedded]]:
    """Write outcomes in one transaction; what this returns is on disk.

    Returns:
        How many were "added", "updated", "unchanged" and "skipped", and what could not be written: the `Same` whose
        content is not in the store, because its first picture is still on its way or has gone, and the `Embedded` by a
        model that answers no longer, to be prepared again.
    """
    counts: Counter[str] = Counter()
    unresolved: list[Same | Embedded] = []
    # Where a known content has its file gone, this is that file moved; the look at the disk comes before the lock.
    moved = _moved(store, [outcome for outcome in outcomes if isinstance(outcome, Same)])
    with store.write() as writer:
        changes = _Changes(writer)
        for outcome in outcomes:
            if isinstance(outcome, Failed):
                changes.failed(outcome)
                counts["skipped"] += 1
                continue
            done = changes.embedded(outcome) if isinstance(outcome, Embedded) else changes.same(outcome, moved)
            if done:
                counts[done] += 1
            else:
                unresolved.append(outcome)
        changes.write_codes()
    return counts, unresolved


def _moved(store: Store, outcomes: Sequence[Same]) -> set[int]:
    """Items with the content of one of these whose own file is gone."""
    if not outcomes:
        return set()
    with store.read() as reader:
        ids = {item_id for outcome in outcomes for item_id in reader.items_with_content(outcome.content)}
        items = [item for item in map(reader.item, ids) if item is not None]
    return {item.item_id for item in items if (path := file_of(item.source)) and not os.path.lexists(path)}


class _Changes:
    """The changes of one transaction. New codes are collected and appended together at its end."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._generations = writer.generations()
        active = writer.generation()
        assert active is not None
        self._active = active
        self._new: dict[int, list[tuple[int, U8, U8]]] = {}  # generation -> (item_id, codes, vectors of its regions)

    def embedded(self, outcome: Embedded) -> str:
        """What was done, or "" where the model that made the codes answers no longer."""
        if outcome.model != self._active.model_sha256:
            return ""
        file = outcome.file
        old = self._stored(file.source)
        if old is not None and self._is_held(old, outcome):  # another was faster
            return self._retag(old, file)
        item = _item(old, self._with_own_id(file), outcome.content, (outcome.width, outcome.height))
        item = replace(item, regions=outcome.regions, detector=file.detector)
        if old is not None:
            self._remove_codes(item.item_id)
        self._writer.put_item(item)
        self._writer.put_thumbnail(item.item_id, outcome.thumbnail)
        self._writer.put_working_copy(item.item_id, outcome.working_copy)
        self._add_codes(self._active, item.item_id, outcome.codes, outcome.vectors)
        return "added" if old is None else "updated"

    def failed(self, outcome: Failed) -> None:
        """An item that was there stays as it was: its file may come back."""
        file = outcome.file
        reason = (outcome.reason, outcome.message, file.size, file.mtime_ns, images.decoders_fingerprint(), file.origin)
        self._writer.put_failure(Failure(file.source, *reason))

    def same(self, outcome: Same, moved: set[int]) -> str:
        """What was done, or "" where no item has this content."""
        file = outcome.file
        old = self._stored(file.source)
        if old is not None and self._is_held(old, outcome):
            return self._retag(old, file)
        twins = self._twins(outcome)
        if not twins:
            return ""
        gone = [item_id for item_id in twins if item_id in moved]
        if old is None and gone:
            twin = self._writer.item(gone[0])
            assert twin is not None
            moved.discard(twin.item_id)
            return self._retag(twin, file)
        twin = self._writer.item(twins[0])
        assert twin is not None
        item = _item(old, self._with_own_id(file), outcome.content, (twin.width, twin.height))
        self._copy_codes(twin.item_id, item.item_id)
        self._writer.put_item(replace(item, regions=twin.regions, detector=twin.detector))
        thumbnail = self._writer.thumbnail(twin.item_id)
        if thumbnail is not None:
            self._writer.put_thumbnail(item.item_id, thumbnail)
        self._writer.put_working_copy(item.item_id, self._writer.working_copy(twin.item_id))
        return "added" if old is None else "updated"

    def _twins(self, outcome: Same) -> list[int]:
        return _twins(self._writer, outcome.content, outcome.file.detector, self._has_codes)

    def _has_codes(self, item_id: int) -> bool:
        """Whether searches find the item, or will once this transaction is done."""
        number = self._active.number
        new = any(item_id == each for each, _, _ in self._new.get(number, []))
        return new or len(self._writer.code_ids(number, item_id)) > 0

    def _is_held(self, item: Item, outcome: Same | Embedded) -> bool:
        """Whether an item is of these bytes, seen by the detector that is asked for, and found by searches."""
        return (
            item.content == outcome.content
            and outcome.file.detector in ("", item.detector)
            and self._has_codes(item.item_id)
        )

    def _retag(self, old: Item, file: File) -> str:
        """The picture is the same, its place, time or metadata may be new."""
        item = _item(old, file, old.content, (old.width, old.height))
        item = replace(item, regions=old.regions, detector=old.detector)
        if item == old:
            self._writer.clear_failure(file.source)
            return "unchanged"
        self._writer.put_item(item)
        if item.source == old.source and item.metadata == old.metadata:
            return "unchanged"
        # Searchers keep metadata beside the codes: new rows carry the new metadata to them.
        self._copy_codes(item.item_id, item.item_id)
        return "updated"

    def _with_own_id(self, file: File) -> File:
        """The id given to the file, unless another process has found that item at another path meanwhile."""
        owner = self._writer.item(file.item_id)
        if owner is None or owner.source == file.source:
            return file
        return replace(file, item_id=self._writer.reserve_item_ids(1))

    def _stored(self, source: str) -> Item | None:
        known = self._writer.known(source)
        return None if known is None else self._writer.item(known.item_id)

    def _remove_codes(self, item_id: int) -> None:
        for generation in self._generations:
            self._new[generation.number] = [new for new in self._new.get(generation.number, []) if new[0] != item_id]
            self._writer.remove_codes(generation, item_id)

    def _copy_codes(self, origin: int, target: int) -> None:
        """Give `target` the codes of `origin`, which may be itself, in every generation that has them."""
        found = [(generation, *self._codes_of(generation, origin)) for generation in self._generations]
        self._remove_codes(target)
        for generation, code, vector in found:
            if len(code):
                self._add_codes(generation, target, code, vector)

    def _codes_of(self, generation: Generation, item_id: int) -> tuple[U8, U8]:
        for new_id, code, vector in self._new.get(generation.number, []):
            if new_id == item_id:
                return code, vector
        code_ids = self._writer.code_ids(generation.number, item_id)
        return self._writer.codes_at(generation, code_ids), self._writer.vectors_at(generation, code_ids)

    def _add_codes(self, generation: Generation, item_id: int, code: U8, vector: U8) -> None:
        self._new.setdefault(generation.number, []).append((item_id, code, vector))

    def write_codes(self) -> None:
        for generation in self._generations:
            new = self._new.get(generation.number, [])
            if not new:
                continue
            owners = np.array([(item_id, region) for item_id, code, _ in new for region in range(len(code))], OWNER)
            packed = np.concatenate([code for _, code, _ in new])
            vectors = np.concatenate([vector for _, _, vector in new])
            self._writer.append_codes(generation.number, owners, packed, vectors)


def _item(old: Item | None, file: File, content: bytes, size: tuple[int, int]) -> Item:
    """The item that a file makes; one that is there keeps its id, and its metadata unless the new is authoritative."""
    item_id = file.item_id if old is None else old.item_id
    metadata = file.metadata
    if old is not None and not file.authoritative:
        kept = old.metadata
        if old.source != file.source:  # what it has from the folder it lay in does not move with it
            kept = {key: value for key, value in kept.items() if key != FOLDER}
        metadata = {**file.metadata, **kept}
    return Item(item_id, file.source, file.size, file.mtime_ns, content, *size, file.origin, metadata)


def remove_items(store: Store, item_ids: Sequence[int]) -> int:
    """Remove items in one transaction; returns how many were there."""
    with store.write() as writer:
        return sum(writer.remove_item(item_id) for item_id in item_ids)
