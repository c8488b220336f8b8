"""An item's picture and thumbnail over HTTP.

`Collection.original` compares the file with what was indexed. So whatever has happened to the folder since (a link,
another file of that name), nothing is given out that is not in the collection.
"""

from __future__ import annotations

from io import BytesIO

from flask import Response, request, send_file

from visearch import formats, images
from visearch.collection import Collection
from visearch.errors import ImageError
from visearch.images import Picture
from visearch.remote import is_remote
from visearch.store import Item
from web.problems import Problem
from web.schemas import LONGEST_SIDE, Rendition
from web.state import state

SHOWN_AS_IS = {"JPEG": "image/jpeg", "PNG": "image/png", "WebP": "image/webp", "GIF": "image/gif", "AVIF": "image/avif"}
JPEG = "image/jpeg"
VERSION_DIGITS = 12
SANDBOX = "default-src 'none'; sandbox"


def version(content: bytes) -> str:
    """Changes with the picture, whose SHA-256 this is; part of its address, so that it can be cached for ever."""
    return content[: VERSION_DIGITS // 2].hex()


def picture_response(collection: Collection, item: Item, how: Rendition) -> Response:
    """The picture as it is where browsers show it, else as JPEG; with a side, as JPEG of that size.

    A copy that stands in for it (`_picture`) is not kept as if it were the picture.
    """
    etag = item.content.hex() + (f"-{how.side}" if how.side else "")
    if request.if_none_match.contains(etag):
        return _cached(Response(status=304), item, how.v, etag)
    data, original = _picture(collection, item)
    if not original:
        etag += "-copy"
        if request.if_none_match.contains(etag):
            return _cached(Response(status=304), item, None, etag)
    kind, turned = _shown_as(data)
    if kind is None or turned or (how.side is not None and how.side < max(item.width, item.height)):
        side = min(how.side or LONGEST_SIDE, item.width + item.height)
        with state().encoding.turn():
            data, kind = images.thumbnail(_decoded(data, item, side), side), JPEG
    return _answer(data, kind, item, how.v if original else None, etag)


def thumbnail_response(collection: Collection, item: Item, asked: str | None) -> Response:
    """The stored thumbnail."""
    data = collection.thumbnail(item.item_id)
    if data is None:
        raise Problem(404, "this item has no thumbnail")
    return _answer(data, JPEG, item, asked, f"t{item.content.hex()}")


def _decoded(data: bytes, item: Item, side: int) -> Picture:
    shorter = side * min(item.width, item.height) // max(item.width, item.height)
    return images.decode(data, min_side=max(1, shorter))


def _picture(collection: Collection, item: Item) -> tuple[bytes, bool]:
    """Its original; of an object that its server does not give now, or that is not to be asked for, a small copy. And
    whether it is the original."""
    try:
        return collection.original(item), True
    except ImageError:
        if not is_remote(item.source):
            raise
        with collection.store.read() as reader:
            copy = reader.working_copy(item.item_id) or reader.thumbnail(item.item_id)
        if copy is None:
            raise
        return copy, False


def _shown_as(data: bytes) -> tuple[str | None, bool]:
    """The media type if browsers show the format, and whether they may not turn it as its EXIF says."""
    name = formats.sniff(data)
    header = formats.read_header(data)
    return SHOWN_AS_IS.get(name), header is not None and header.orientation != 1 and name != "JPEG"


def _answer(data: bytes, kind: str, item: Item, asked: str | None, etag: str) -> Response:
    response = send_file(BytesIO(data), mimetype=kind, etag=etag, conditional=True, max_age=None)
    return _cached(response, item, asked, etag)


def _cached(response: Response, item: Item, asked: str | None, etag: str) -> Response:
    same = asked == version(item.content)
    response.headers["Cache-Control"] = "private, max-age=31536000, immutable" if same else "private, no-cache"
    response.headers["Content-Security-Policy"] = SANDBOX
    response.set_etag(etag)
    return response
