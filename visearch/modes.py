"""Flashlight, Lens, Shop-the-Look: three short recipes over one search.

A picture is decoded once, all its regions are embedded in one batch, and each is a search of the same index.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from visearch import images
from visearch.detector import Detection, Detector
from visearch.embedding import side_to_decode
from visearch.errors import UsageError
from visearch.filters import AnyOf, Exists, Filter
from visearch.images import WHOLE, Box, Picture
from visearch.results import Results
from visearch.search import PRODUCT, Query, Searcher, Timer
from visearch.window import blend, raised

if TYPE_CHECKING:
    from visearch.collection import Collection, Source

DUPLICATE_SHARE = 0.12
"""Codes that differ in no more than this share of their bits are of near-duplicates. Of pictures re-encoded at JPEG
quality 40, at 3/4 of their size or with 2% cut off at each side 97-99% are within it of their originals, with 5% cut
off 88%; of 955 grocery photos 0.3% have one of another class within it. At 0.15 that is 2.1%, and 7% of the product
pictures of groceries fold. Two products never fold into one another: 43% of the home store have another within it."""

SHOP_SCORE = 0.15
"""Objects of a scene that the detector is at least so sure of are searched. In the rooms of the home store, with the
detector that ships: 12 a room, 82% of them of something that is for sale, and 98% of what is for sale is among them.
With 0.05 they are 16 a room, 72 and 99%, with 0.3 they are 9, 90 and 93%."""

CATEGORY_BONUS = 0.1
"""Added to the score of products of the category that the detector gives, times its own score. Of true boxes in rooms
of the home store, with the right category for certain, Precision@1 and Recall@5 rise from 60, 89 to 62, 93; with a
wrong one they fall by less than a point. Twice as much brings one point more and loses four where it is wrong."""
CATEGORY = "category"  # the metadata key of a shop's catalogue


@dataclass(frozen=True)
class Look:
    """One object of a scene, and the products like it."""

    object: Detection
    results: Results


@dataclass(frozen=True)
class Looks:
    """What Shop-the-Look gives: the objects of a scene, best first, each with its products. `detector` is None where
    the boxes were given or none is installed; `width` and `height` are of the upright scene in pixels; `took` is in
    milliseconds by stage, `coverage` the least of the results."""

    objects: tuple[Look, ...]
    detector: str | None
    width: int
    height: int
    took: Mapping[str, float]
    model: str
    generation: int
    bits: int
    coverage: float = 1.0


def flashlight(
    collection: Collection,
    picture: Source | None = None,
    *,
    item: int | None = None,
    box: Box | None = None,
    limit: int = 20,
    filter: Filter | Mapping[str, Any] | None = None,
    max_distance: int | None = None,
    diversity: float = 0.0,
) -> Results:
    """Pictures, and objects in pictures, like any region of any picture; near-duplicates are folded.

    Args:
        collection: what is searched.
        picture: a file, its bytes, or decoded; or give `item`, which is not found itself.
        item: id of an item of the collection.
        box: the region to look for, fractions of the upright picture.
        limit: matches a page; `Results.page` gives further ones.
        filter: what the metadata must be, see filters.Filter.
        max_distance: Hamming distance in bits beyond which nothing matches.
        diversity: 0-1, how much matches unlike those before them are preferred.

    Raises:
        UsageError: the arguments do not fit together, the box or the filter is malformed, no such item.
        ImageError: the picture cannot be decoded.
    """
    searcher = collection.searcher()
    query = _query(searcher, limit, filter, max_distance, item, diversity)
    if (picture is None) == (item is None):
        raise UsageError("search for either a picture or an item")
    return collection.ask(picture, item, box, query, searcher)


def lens(
    collection: Collection,
    picture: Source | None = None,
    *,
    item: int | None = None,
    box: Box | None = None,
    detector: Detector | None = None,
    limit: int = 20,
    filter: Filter | Mapping[str, Any] | None = None,
    max_distance: int | None = None,
) -> Results:
    """Pictures like a camera photo: its most salient object and the whole photo are searched, and blended by rank; the
    whole photo weighs 1, the object as much as the detector's score.

    Arguments and errors as for `flashlight`; a `box` replaces what the detector would choose and is searched alone.
    `box` of the results is the region that was taken for the object, the whole picture where none was found.
    """
    searcher, timer = collection.searcher(), Timer()
    query = _query(searcher, limit, filter, max_distance, item)
    region = None if box is None else images.validate_box(box)
    with timer.stage("total"):
        with collection.reading(picture, item) as source:
            photo = _decode(searcher, source, region, detector, timer)
            found = _detect(photo, detector if region is None else None, timer)
            salient = most_salient(found)
            regions = [region] if region else [WHOLE] if salient is None else [salient.box, WHOLE]
            embedded = searcher.embed(photo, regions, timer)
        windows = [searcher.window(code, vector, query, timer) for code, vector in embedded]
        weights = [1.0] if salient is None else [salient.score, 1.0]
        window = blend(windows, weights) if len(windows) > 1 else windows[0]
        return searcher.answer(
            window, query, timer, box=regions[0], width=photo.width, height=photo.height, objects=tuple(found)
        )


def shop(
    collection: Collection,
    picture: Source | None = None,
    *,
    item: int | None = None,
    boxes: Sequence[Box] | None = None,
    detector: Detector | None = None,
    limit: int = 20,
    filter: Filter | Mapping[str, Any] | None = None,
    max_distance: int | None = None,
    min_score: float = SHOP_SCORE,
) -> Looks:
    """Products (items with `product` in their metadata) like each object of a scene, grouped by object. A product of
    several pictures is one match, that of the picture most like the object; `duplicates` counts the others.

    `boxes` are searched as they are; without them the detector finds the objects. Where its card knows the category of
    what it found, products of that category come first, the more surely the surer the detector is. Other arguments and
    errors as for `flashlight`.
    """
    searcher, timer = collection.searcher(), Timer()
    query = _query(searcher, limit, filter, max_distance, item)
    products = (query.filter or Filter(())).and_(PRODUCT, Exists())
    query = replace(query, filter=products, radius=None, by_product=True)
    drawn = None if boxes is None else [Detection(images.validate_box(box), "", 1.0, None) for box in boxes]
    with timer.stage("total"):
        with collection.reading(picture, item) as source:
            scene = _decode(searcher, source, None, detector, timer)
            objects = _detect(scene, detector, timer, min_score) if drawn is None else drawn
            embedded = searcher.embed(scene, [each.box for each in objects], timer)
        looks = []
        for each, (code, vector) in zip(objects, embedded, strict=True):
            window = searcher.window(code, vector, query, timer)
            if each.category is not None:
                same = AnyOf(frozenset([("string", each.category)]))
                within = searcher.window(code, vector, replace(query, filter=products.and_(CATEGORY, same)), timer)
                window = raised(window, within, CATEGORY_BONUS * each.score)
            found = searcher.answer(window, query, timer, box=each.box, width=scene.width, height=scene.height)
            looks.append(Look(each, found))
    name = detector.name if detector is not None and drawn is None else None
    generation = searcher.generation
    coverage = min((look.results.coverage for look in looks), default=1.0)
    return Looks(
        tuple(looks),
        name,
        scene.width,
        scene.height,
        timer.took,
        searcher.model,
        generation.number,
        generation.bits,
        coverage,
    )


def most_salient(found: Sequence[Detection]) -> Detection | None:
    """The object that a photo is most likely of: sure, large and near the middle. None where nothing was found."""
    return max(found, key=_salience, default=None)


def _salience(found: Detection) -> float:
    x0, y0, x1, y1 = found.box
    off_centre = math.hypot(x0 + x1 - 1, y0 + y1 - 1) / math.sqrt(2)  # 0 in the middle, 1 in a corner
    size = math.sqrt((x1 - x0) * (y1 - y0))
    return found.score * size * (1 - off_centre)


def _query(
    searcher: Searcher,
    limit: int,
    filter: Filter | Mapping[str, Any] | None,
    max_distance: int | None,
    item: int | None,
    diversity: float = 0.0,
) -> Query:
    if limit < 1:
        raise UsageError(f"limit {limit}: at least 1")
    if not 0 <= diversity <= 1:
        raise UsageError(f"diversity {diversity:g}: 0 to 1")
    if filter is not None and not isinstance(filter, Filter):
        filter = Filter.parse(filter)
    radius = round(DUPLICATE_SHARE * searcher.generation.bits)
    return Query(limit, max_distance, filter, excluded=item, radius=radius, diversity=diversity)


def _decode(
    searcher: Searcher, source: bytes | Picture, box: Box | None, detector: Detector | None, timer: Timer
) -> Picture:
    """The picture, once, large enough for the detector and for objects that are a part of it."""
    if isinstance(source, Picture):
        return source
    side = side_to_decode(searcher.embedder.min_side(), objects=box is None)
    with timer.stage("decode"):
        return images.decode(source, min_side=max(side, detector.min_side() if detector else 0), box=box)


def _detect(
    picture: Picture, detector: Detector | None, timer: Timer, min_score: float | None = None
) -> list[Detection]:
    if detector is None:
        return []
    with timer.stage("detect"):
        return detector.detect(picture) if min_score is None else detector.detect(picture, min_score=min_score)
