"""Pictures into the store: read -> decode -> embed (`prepare`, in any thread) -> one transaction (`commit`).

The indexing pipeline and uploads both go this way. Equal bytes are decoded once: whoever comes second is `Same`.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from visearch import codes, images, settings
from visearch.codes import U8
from visearch.detector import Detector
from visearch.embedder import Embedder
from visearch.errors import ImageError
from visearch.files import read_limited
from visearch.images import WHOLE, Box, Picture
from visearch.store import OWNER, Failure, Generation, Item, Store, Writer

EMBED_TOGETHER = 32  # regions
DETAIL = 2  # decode so large that half of the shorter side fills the model's input: objects are parts
MOST_OBJECTS = 10  # regions beside the whole picture
OBJECT_SCORE = 0.4
SMALLEST_OBJECT, LARGEST_OBJECT = 0.01, 0.9  # of the picture's area; larger is the picture itself

FOLDER = "folder"  # the metadata key of what a walked folder says: the path of the picture's folder below its root


@dataclass(frozen=True)
class File:
    """A picture to be taken in, under an id that was reserved for it. `data` are its bytes where it is no file.

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


@dataclass(frozen=True)
class Embedded:
    """Decoded and embedded, a row for each region, the whole picture first: codes uint8 [r, D/8], vectors uint8
    [r, D + 2] (int8 copy and scale), thumbnail JPEG."""

    file: File
    content: bytes
    width: int
    height: int
    thumbnail: bytes
    codes: U8
    vectors: U8
    regions: tuple[Box, ...] = (WHOLE,)


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


def prepare(
    files: Sequence[File],
    store: Store,
    embedder: Callable[[], Embedder],
    claims: Claims,
    detector: Detector | None = None,
) -> list[Outcome]:
    """Read, decode and embed files, those that ask for it also by the objects in them; an outcome for each, in order.

    `embedder` is only called to decode.
    """
    side = int(settings.number("thumbnail_side"))
    outcomes: list[Outcome | None] = []
    decoded: list[_Decoded] = []
    for file in files:
        outcome = _read(file, store, claims)
        if not isinstance(outcome, tuple):
            outcomes.append(outcome)
            continue
        content, data = outcome
        model = embedder()
        finds = detector if file.detector else None
        try:
            least = model.min_side() if finds is None else max(DETAIL * model.min_side(), finds.min_side())
            picture = images.decode(data, min_side=least)
        except ImageError as error:
            outcomes.append(Failed(file, content, error.reason, error.message))
            continue
        regions = (WHOLE, *(() if finds is None else object_regions(finds, picture)))
        # The picture may be large: only its small copies are kept for the batch.
        inputs = [model.prepare(picture, region) for region in regions]
        size = (picture.width, picture.height)
        decoded.append(_Decoded(len(outcomes), content, size, images.thumbnail(picture, side), regions, inputs))
        outcomes.append(None)
    if decoded:
        model = embedder()
        inputs = [region for each in decoded for region in each.inputs]
        parts = [inputs[start : start + EMBED_TOGETHER] for start in range(0, len(inputs), EMBED_TOGETHER)]
        embedded = [model.embed_each(np.stack(part)) for part in parts]
        embeddings, finite = (np.concatenate(arrays) for arrays in zip(*embedded, strict=True))
        packed = codes.pack(embeddings)
        rows = codes.to_rows(*codes.quantize(embeddings))
        stop = 0
        for each in decoded:
            file, part = files[each.place], slice(stop, stop := stop + len(each.regions))
            if finite[part].all():
                outcomes[each.place] = Embedded(
                    file, each.content, *each.size, each.thumbnail, packed[part], rows[part], each.regions
                )
            else:
                message = "the model gives it no finite embedding"
                outcomes[each.place] = Failed(file, each.content, "not-finite", message)
    return [outcome for outcome in outcomes if outcome is not None]


@dataclass(frozen=True)
class _Decoded:
    """A picture on its way to the model: its place among the outcomes, and an input for each of its regions."""

    place: int
    content: bytes
    size: tuple[int, int]
    thumbnail: bytes
    regions: tuple[Box, ...]
    inputs: list[U8]


def object_regions(detector: Detector, picture: Picture) -> list[Box]:
    """The boxes of the objects that are indexed beside the whole picture, best first."""
    found = detector.detect(picture, limit=MOST_OBJECTS, min_score=OBJECT_SCORE)
    return [each.box for each in found if SMALLEST_OBJECT <= _area(each.box) <= LARGEST_OBJECT]


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _read(file: File, store: Store, claims: Claims) -> Outcome | tuple[bytes, bytes]:
    """The content hash and bytes of a file that has to be decoded, or an outcome that needs no decoding."""
    try:
        data = read_limited(Path(file.source)) if file.data is None else file.data
    except ImageError as error:
        return Failed(file, b"", error.reason, error.message)
    content = hashlib.sha256(data).digest()
    if not claims.take(content):
        return Same(file, content)
    with store.read() as reader:
        twins = [reader.item(item_id) for item_id in reader.items_with_content(content)]
        stored = bool(twins) and (not file.detector or any(twin and twin.detector == file.detector for twin in twins))
    if stored:
        claims.release(content)
        return Same(file, content)
    return content, data


def commit(store: Store, outcomes: Sequence[Outcome]) -> tuple[Counter[str], list[Same]]:
    """Write outcomes in one transaction; what this returns is on disk.

    Returns:
        How many were "added", "updated", "unchanged" and "skipped", and the `Same` whose content is not in the store,
        because its first picture is still on its way or has gone.
    """
    counts: Counter[str] = Counter()
    unresolved: list[Same] = []
    # Where a known content has its file gone, this is that file moved; the look at the disk comes before the lock.
    moved = _moved(store, [outcome for outcome in outcomes if isinstance(outcome, Same)])
    with store.write() as writer:
        changes = _Changes(writer)
        for outcome in outcomes:
            if isinstance(outcome, Embedded):
                counts[changes.embedded(outcome)] += 1
            elif isinstance(outcome, Failed):
                changes.failed(outcome)
                counts["skipped"] += 1
            else:
                done = changes.same(outcome, moved)
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
    return {item.item_id for item in items if Path(item.source).is_absolute() and not os.path.lexists(item.source)}


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
        file = outcome.file
        old = self._stored(file.source)
        if old is not None and old.content == outcome.content and _has_objects(old, file):  # another was faster
            return self._retag(old, file)
        item = _item(old, self._with_own_id(file), outcome.content, (outcome.width, outcome.height))
        item = replace(item, regions=outcome.regions, detector=file.detector)
        if old is not None:
            self._remove_codes(item.item_id)
        self._writer.put_item(item)
        self._writer.put_thumbnail(item.item_id, outcome.thumbnail)
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
        if old is not None and old.content == outcome.content and _has_objects(old, file):
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
        return "added" if old is None else "updated"

    def _twins(self, outcome: Same) -> list[int]:
        """Items with the same content, of which the detector that is asked for has seen the picture."""
        found = self._writer.items_with_content(outcome.content)
        if not outcome.file.detector:
            return found
        items = [self._writer.item(item_id) for item_id in found]
        return [item.item_id for item in items if item is not None and _has_objects(item, outcome.file)]

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


def _has_objects(item: Item, file: File) -> bool:
    """Whether the detector that a file asks for, if any, has looked at the item."""
    return not file.detector or item.detector == file.detector


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
