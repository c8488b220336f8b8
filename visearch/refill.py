"""What a generation lacks, read and embedded again: the same regions of the same bytes, by its own model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from visearch import images, remote
from visearch.codes import U8
from visearch.collection import Collection
from visearch.embedder import Card, Embedder, prepare, shorter_side
from visearch.embedding import embed_together, side_to_decode
from visearch.errors import ImageError
from visearch.missing import Filled, Missing


@dataclass(frozen=True)
class Unfillable:
    """An item that cannot be embedded, and why; `reason` is one word, as of an ImageError, or "changed"."""

    missing: Missing
    reason: str
    message: str


def refill(collection: Collection, wanted: Sequence[Missing], model: Embedder) -> list[Filled | Unfillable]:
    """Read, decode and embed items in one batch; an outcome for each, in no order."""
    decoded: list[tuple[Missing, list[U8]]] = []
    failed: list[Unfillable] = []
    for each in wanted:
        try:
            decoded.append((each, inputs_of(collection, each, model)))
        except ImageError as error:
            failed.append(Unfillable(each, error.reason, error.message))
    return [*failed, *embed(decoded, model)]


def embed(decoded: Sequence[tuple[Missing, list[U8]]], model: Embedder) -> list[Filled | Unfillable]:
    """Embed items in one batch, of each of which the inputs of its regions are given; an outcome for each, in order."""
    found: list[Filled | Unfillable] = []
    embedded = embed_together(model, [inputs for _, inputs in decoded])
    for (each, _), made in zip(decoded, embedded, strict=True):
        if made is None:
            found.append(Unfillable(each, "not-finite", f"{each.source}: the model gives it no finite embedding"))
        else:
            found.append(Filled(each, *made))
    return found


def inputs_of(collection: Collection, wanted: Missing, model: Embedder) -> list[U8]:
    """The inputs uint8 [height, width, 3] of an item's regions, from the first of its readings that can be decoded.

    Raises:
        ImageError: "changed" where its file is no longer what was indexed, or why it cannot be read or decoded.
    """
    first: ImageError | None = None
    for reading in _readings(collection, wanted):
        try:
            if isinstance(reading, ImageError):
                raise reading
            return inputs_from(reading, wanted, model.card)
        except ImageError as error:
            first = first or error
    assert first is not None
    raise first


def inputs_from(data: bytes, wanted: Missing, card: Card) -> list[U8]:
    """The inputs uint8 [height, width, 3] of an item's regions, from the bytes of its picture. ImageError where they
    cannot be decoded."""
    picture = images.decode(data, min_side=side_to_decode(shorter_side(card), objects=wanted.objects))
    return [prepare(card, picture, region) for region in wanted.regions]


def _readings(collection: Collection, wanted: Missing) -> Iterator[bytes | ImageError]:
    """The bytes of an item: of its own file, of another file with equal bytes, of a working copy; an error in the place
    of what cannot be had.

    They depend on the content alone, so that whichever of equal pictures comes first gives the codes of all.
    """
    with collection.store.read() as reader:
        ids = reader.items_with_content(wanted.content)
        items = [item for item_id in ids if (item := reader.item(item_id)) is not None]
    if not items:
        yield ImageError("unreadable", f"{wanted.source}: was removed meanwhile")
    for item in sorted(items, key=lambda item: item.item_id != wanted.item_id):
        if remote.is_remote(item.source):
            remote.check(item.source)  # where no original can be read, copies are no answer
        try:
            yield collection.original(item)
        except ImageError as error:
            yield error
    for item_id in ids:
        with collection.store.read() as reader:
            now = reader.item(item_id)
            copy = reader.working_copy(item_id) if now is not None and now.content == wanted.content else None
        if copy is not None:
            yield copy
