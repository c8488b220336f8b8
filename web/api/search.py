"""Flashlight, Lens and Shop the Look."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from visearch import modes
from visearch.collection import Collection
from visearch.errors import ImageError, UsageError
from visearch.results import Results
from web.operations import operation
from web.pages import Cursor
from web.problems import invalid, of_image
from web.schemas import (
    Click,
    FlashlightSearch,
    MatchAnswer,
    Query,
    RegionSearch,
    SearchAnswer,
    ShopAnswer,
    ShopObject,
    ShopSearch,
)
from web.searchlog import Search, Shown, new_query_id
from web.state import Kept, add_times, state
from web.uploads import checked_item
from web.views import detected, match_answers, partial, rounded

Mode = Literal["flashlight", "lens"]
FETCHING = (502, 504)

logger = logging.getLogger(__name__)


@operation("POST", "/api/v1/search/flashlight", "Search like any region of any picture", body=FlashlightSearch,
           heavy=True, answers={200: SearchAnswer}, problems=FETCHING)  # fmt: skip
def search_flashlight(asked: FlashlightSearch) -> SearchAnswer:
    """Whole pictures and objects in pictures that look like the region; near-duplicates are folded into one match."""
    return _search("flashlight", asked, modes.flashlight, diversity=asked.diversity)


@operation("POST", "/api/v1/search/lens", "Search with a camera photo", body=RegionSearch, heavy=True,
           answers={200: SearchAnswer}, problems=FETCHING)  # fmt: skip
def search_lens(asked: RegionSearch) -> SearchAnswer:
    """The object that the photo is of is found, and what looks like it is blended with what looks like the whole photo.
    With a `box` only that is searched for."""
    return _search("lens", asked, modes.lens, detector=state().detector)


@operation("POST", "/api/v1/search/shop", "Shop the look of a scene", body=ShopSearch, heavy=True,
           answers={200: ShopAnswer}, problems=FETCHING)  # fmt: skip
def search_shop(asked: ShopSearch) -> ShopAnswer:
    """Products like each object of the scene, by object. Objects are what the detector finds, or the `boxes`."""
    made = state()
    name, collection = made.named(asked.collection)
    looks = _asked(
        asked,
        collection,
        lambda **picture: modes.shop(
            collection,
            **picture,
            boxes=asked.boxes,
            detector=made.detector,
            limit=asked.limit,
            filter=asked.filter,
            max_distance=asked.max_distance,
        ),
    )
    add_times(looks.took)
    query_id = new_query_id()
    objects = [
        ShopObject(
            **detected(look.object).model_dump(),
            matches=match_answers(name, look.results),
            relevant=look.results.relevant,
        )
        for look in looks.objects
    ]
    shown = [match for each in objects for match in each.matches]
    _log(name, query_id, "shop", looks.generation, _described(asked), shown)
    return ShopAnswer(
        query_id=query_id,
        mode="shop",
        collection=name,
        model=looks.model,
        generation=looks.generation,
        score="cosine",
        width=looks.width,
        height=looks.height,
        took=_rounded(looks.took),
        coverage=partial(looks.coverage),
        logged=name in made.logs,
        detector=looks.detector,
        objects=objects,
    )


@operation("POST", "/api/v1/clicks", "Tell which match was opened", body=Click, answers={204: None})
def add_click(asked: Click) -> None:
    """Kept beside the search in the log; 404 where the server keeps none, or not of this query."""
    name, _ = state().named(asked.collection)
    log = state().logs.get(name)
    if log is None:
        raise invalid("collection", "no search log is kept", 404)
    if not log.click(asked.query_id, asked.item, asked.rank):
        raise invalid("query_id", "no search of this id in the log has shown this item", 404)


def _search(mode: Mode, asked: RegionSearch, run: Callable[..., Results], **more: Any) -> SearchAnswer:
    made = state()
    if asked.cursor is not None:
        cursor, kept = made.pages.find(asked.cursor)
        if kept.mode != mode or (asked.collection or kept.collection) != kept.collection:
            raise invalid("cursor", "belongs to another search", 422)
        return _answer(kept, cursor.query_id, kept.results.page(cursor.start, asked.limit))
    name, collection = made.named(asked.collection)
    results = _asked(
        asked,
        collection,
        lambda **picture: run(
            collection,
            **picture,
            box=asked.box,
            limit=asked.limit,
            filter=asked.filter,
            max_distance=asked.max_distance,
            **more,
        ),
    )
    if not results.width:  # the whole of an item was searched for, by its codes
        item = checked_item(collection, asked.item or 0)
        results = replace(results, width=item.width, height=item.height)
    query_id = new_query_id()
    kept = Kept(mode, name, _described(asked), results)
    if results.next is not None:
        made.pages.keep(query_id, kept)
    return _answer(kept, query_id, results)


def _answer(kept: Kept, query_id: str, page: Results) -> SearchAnswer:
    """The answer that shows this page; what it says of the query is that of the first one."""
    made, whole = state(), kept.results
    add_times(page.took)
    matches = match_answers(kept.collection, page)
    _log(kept.collection, query_id, kept.mode, whole.generation, kept.query, matches)
    return SearchAnswer.model_validate(
        {
            "query_id": query_id,
            "mode": kept.mode,
            "collection": kept.collection,
            "model": whole.model,
            "generation": whole.generation,
            "score": whole.score,
            "width": whole.width,
            "height": whole.height,
            "took": _rounded(page.took),
            "coverage": partial(whole.coverage),
            "logged": kept.collection in made.logs,
            "box": rounded(whole.box),
            "detector": made.detector.name if made.detector is not None and kept.mode == "lens" else None,
            "objects": [detected(each) for each in whole.objects],
            "matches": matches,
            "relevant": page.relevant,
            "next_cursor": Cursor(query_id, page.next).text() if page.next is not None else None,
        }
    )


def _asked(asked: Query, collection: Collection, run: Callable[..., Any]) -> Any:
    """What `run` gives for the picture that is asked with: `picture` bytes, or `item`."""
    if asked.item is not None:
        checked_item(collection, asked.item)
        try:
            return run(item=asked.item)
        except UsageError:
            checked_item(collection, asked.item)  # it may have been removed meanwhile
            raise
    field = "image" if asked.image is not None else "image_url"
    data = asked.image if asked.image is not None else state().fetch(asked.image_url or "")
    try:
        return run(picture=data)
    except ImageError as error:
        raise of_image(error, field) from None


def _described(asked: Query) -> dict[str, Any]:
    """What the log keeps of a query: never the picture, nor where it came from."""
    values = asked.model_dump(exclude_none=True, exclude={"image", "image_url", "cursor", "collection"})
    if asked.item is None:
        values["picture"] = "image" if asked.image is not None else "image_url"
    return values


def _log(
    collection: str, query_id: str, mode: str, generation: int, query: Mapping[str, Any], matches: list[MatchAnswer]
) -> None:
    log = state().logs.get(collection)
    if log is not None:
        shown = [Shown(each.item, each.region, each.distance, each.score) for each in matches]
        try:
            log.add(Search(query_id, time.time(), mode, generation, query, shown))
        except Exception as error:  # a full disk, a number too large to keep: the answer is worth more than its log
            logger.warning("a search of %s is not in its search log: %s", collection, error)


def _rounded(took: Mapping[str, float]) -> dict[str, float]:
    return {stage: round(milliseconds, 3) for stage, milliseconds in took.items()}
