"""Items, matches and objects as the API shows them. Nothing here tells where a file lies."""

from __future__ import annotations

import math
from urllib.parse import quote

from visearch.detector import Detection
from visearch.images import Box
from visearch.modes import DUPLICATE_SHARE
from visearch.results import Match
from visearch.store import Item
from web.media import version
from web.schemas import Closeness, DetectedObject, ItemSummary, MatchAnswer
from web.state import state
from web.values import clean, product_of

# Share of bits that differ, up to which the words hold. Half of the bits differ between unrelated pictures. Very close
# is the same thing or a near-alike, at the radius of near-duplicates; close is nearly always at least of the same kind,
# similar mostly, down to where every second match is (docs/modes.md).
CLOSENESS: tuple[tuple[float, Closeness], ...] = ((DUPLICATE_SHARE, "very close"), (0.24, "close"), (0.32, "similar"))


def item_summary(collection: str, item: Item) -> ItemSummary:
    """An item."""
    return ItemSummary(
        id=item.item_id,
        width=item.width,
        height=item.height,
        metadata=clean(item.metadata),
        product=product_of(item.metadata),
        **addresses(collection, item),
    )


def match_answer(collection: str, match: Match, item: Item, bits: int) -> MatchAnswer:
    """A match; `item` is its item and `bits` the length of the codes."""
    return MatchAnswer(
        item=match.item,
        region=match.region,
        box=rounded(match.box),
        distance=match.distance,
        score=round(match.score, 5),
        closeness=closeness(match.distance / bits),
        duplicates=match.duplicates,
        width=item.width,
        height=item.height,
        metadata=clean(match.metadata),
        product=product_of(match.metadata),
        **addresses(collection, item),
    )


def detected(found: Detection) -> DetectedObject:
    """An object."""
    return DetectedObject(
        box=rounded(found.box), label=found.label, category=found.category, score=round(found.score, 4)
    )


def partial(coverage: float) -> float | None:
    """The share of a collection that was searched; None where that is all of it."""
    return None if coverage >= 1 else math.floor(coverage * 1000) / 1000


def rounded(box: Box) -> list[float]:
    """A box with the digits that mean something."""
    return [round(side, 5) for side in box]


def closeness(share: float) -> Closeness:
    """What to call a match in which this share of the bits differs."""
    return next((word for most, word in CLOSENESS if share <= most), "loosely similar")


def addresses(collection: str, item: Item) -> dict[str, str]:
    """Where its pictures are; `v` changes with them."""
    named = "" if collection == next(iter(state().collections)) else f"&collection={quote(collection, safe='')}"
    base, query = f"/api/v1/items/{item.item_id}", f"?v={version(item)}{named}"
    return {"image_url": f"{base}/image{query}", "thumbnail_url": f"{base}/thumbnail{query}"}
