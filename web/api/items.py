"""List, show, add and remove items."""

from __future__ import annotations

from bisect import bisect_right

from flask import Response

from visearch.collection import Collection
from visearch.filters import Filter
from visearch.store import Item
from web import media, uploads
from web.listing import LIST_SECONDS, passing
from web.operations import operation
from web.pages import decode, encode
from web.problems import invalid
from web.schemas import InCollection, ItemPage, ItemSummary, NewItem, Paged, Rendition
from web.state import state
from web.uploads import checked_item
from web.views import item_summaries, item_summary

ITEM = "/api/v1/items/<int:item_id>"


@operation("GET", "/api/v1/items", "List items", query=Paged, answers={200: ItemPage})
def list_items(asked: Paged) -> ItemPage:
    """By id. What is added meanwhile comes on a later page; nothing comes twice."""
    name, collection = state().named(asked.collection)
    start = _start(asked.cursor)
    filter = None if asked.filter is None else Filter.parse(asked.filter)
    if filter is None and asked.product is None:
        with collection.store.read() as reader:
            found = [item for item, _ in zip(reader.items(start), range(asked.limit + 1), strict=False)]
            total = reader.item_count()
        page = found[: asked.limit]
        last = page[-1].item_id if len(found) > asked.limit else None
    else:
        page, last, total = _passing(name, collection, asked, filter, start)
    return ItemPage(
        items=item_summaries(name, page), next_cursor=None if last is None else encode(str(last)), total=total
    )


def _passing(
    name: str, collection: Collection, asked: Paged, filter: Filter | None, start: int
) -> tuple[list[Item], int | None, int]:
    """The items of the page, the last id of it where more follow, and how many pass in all."""
    with collection.store.read() as reader:
        serial = reader.serial
    key = ("items", name, filter, asked.product)
    ids: list[int] = state().lists.get(key, serial, LIST_SECONDS, lambda: passing(collection, filter, asked.product))
    first = bisect_right(ids, start - 1)
    with collection.store.read() as reader:
        found = [reader.item(item_id) for item_id in ids[first : first + asked.limit]]
    # What was removed since the list was made is left out, and a page is then shorter, but not the last.
    last = ids[first + asked.limit - 1] if first + asked.limit < len(ids) else None
    return [item for item in found if item is not None], last, len(ids)


def _start(cursor: str | None) -> int:
    if cursor is None:
        return 0
    text = decode(cursor)
    if not (text.isdecimal() and text.isascii() and len(text) < 19):
        raise invalid("cursor", "is not one that was given out here", 422)
    return int(text) + 1


@operation("POST", "/api/v1/items", "Add a picture", body=NewItem, access="write", heavy=True,
           answers={201: ItemSummary, 200: ItemSummary}, problems=(422,))  # fmt: skip
def add_item(asked: NewItem) -> tuple[ItemSummary, int]:
    """It is on disk and found by every search once this answers 201. A picture that was sent before keeps its id and
    gets the metadata of this request: 200."""
    name, collection = state().named(asked.collection)
    item, is_new = uploads.add(collection, asked.image, asked.metadata, state().detector)
    return item_summary(name, item), 201 if is_new else 200


@operation("GET", ITEM, "Show an item", query=InCollection, answers={200: ItemSummary})
def get_item(asked: InCollection, item_id: int) -> ItemSummary:
    """Its size, its metadata, and where its pictures are."""
    name, collection = state().named(asked.collection)
    return item_summary(name, checked_item(collection, item_id))


@operation("DELETE", ITEM, "Remove an item", query=InCollection, access="write", answers={204: None})
def remove_item(asked: InCollection, item_id: int) -> None:
    """No search finds it any more. The file of a picture that was indexed from a folder stays, and the next `visearch
    index` of that folder takes it in anew."""
    _, collection = state().named(asked.collection)
    uploads.remove(collection, checked_item(collection, item_id))


@operation(
    "GET",
    f"{ITEM}/image",
    "The picture of an item",
    query=Rendition,
    answers={200: ("image/*",)},
    problems=(416, 429),
)
def item_image(asked: Rendition, item_id: int) -> Response:
    """The original, as long as its file is what was indexed; as JPEG where browsers do not show the format, or `side`
    asks for fewer pixels. 429 where too many are made into JPEG already."""
    _, collection = state().named(asked.collection)
    return media.picture_response(collection, checked_item(collection, item_id), asked)


@operation(
    "GET",
    f"{ITEM}/thumbnail",
    "The thumbnail of an item",
    query=Rendition,
    answers={200: ("image/jpeg",)},
    problems=(416,),
)
def item_thumbnail(asked: Rendition, item_id: int) -> Response:
    """A small JPEG without metadata; `side` is ignored."""
    _, collection = state().named(asked.collection)
    return media.thumbnail_response(collection, checked_item(collection, item_id), asked.v)
