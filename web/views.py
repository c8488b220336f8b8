"""Items, matches and objects as the API shows them. Nothing here tells where a file lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from visearch.detector import Detection
from visearch.images import Box
from visearch.modes import DUPLICATE_SHARE
from visearch.results import Results
from visearch.store import Item
from web.media import version
from web.schemas import Closeness, DetectedObject, ItemSummary, MatchAnswer
from web.state import state
from web.values import clean, listed, product_of

# Share of bits that differ, up to which the words hold. Half of the bits differ between unrelated pictures. Very close
# is the same thing or a near-alike, at the radius of near-duplicates; close is nearly always at least of the same kind,
# similar mostly, down to where two of three matches are (docs/modes.md).
CLOSENESS: tuple[tuple[float, Closeness], ...] = ((DUPLICATE_SHARE, "very close"), (0.28, "close"), (0.36, "similar"))


def item_summary(collection: str, item: Item) -> ItemSummary:
    """An item, with all of its metadata."""
    return _summary(_named(collection), item, clean(item.metadata))


def item_summaries(collection: str, items: Sequence[Item]) -> list[ItemSummary]:
    """The items of a list."""
    named = _named(collection)
    return [_summary(named, item, listed(item.metadata)) for item in items]


def _summary(named: str, item: Item, metadata: dict[str, Any]) -> ItemSummary:
    return ItemSummary(
        id=item.item_id,
        width=item.width,
        height=item.height,
        metadata=metadata,
        product=product_of(item.metadata),
        **_addresses(named, item.item_id, item.content),
    )


def match_answers(collection: str, page: Results) -> list[MatchAnswer]:
    """The matches of a page."""
    named = _named(collection)
    return [
        MatchAnswer(
            item=match.item,
            region=match.region,
            box=rounded(match.box),
            distance=match.distance,
            score=round(match.score, 5),
            closeness=closeness(match.distance / page.bits),
            duplicates=match.duplicates,
            width=match.width,
            height=match.height,
            metadata=listed(match.metadata),
            product=product_of(match.metadata),
            **_addresses(named, match.item, match.content),
        )
        for match in page
    ]


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


def _named(collection: str) -> str:
    """What an address says of the collection: nothing of the first one."""
    return "" if collection == next(iter(state().collections)) else f"&collection={quote(collection, safe='')}"


def _addresses(named: str, item_id: int, content: bytes) -> dict[str, str]:
    """Where its pictures are; `v` changes with them."""
    base, query = f"/api/v1/items/{item_id}", f"?v={version(content)}{named}"
    return {"image_url": f"{base}/image{query}", "thumbnail_url": f"{base}/thumbnail{query}"}
