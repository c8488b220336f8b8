"""Which objects a picture shows."""

from __future__ import annotations

from visearch import images
from visearch.errors import ImageError
from visearch.search import Timer
from web.operations import operation
from web.problems import of_image
from web.schemas import Detect, InCollection, ObjectsAnswer
from web.state import add_times, state
from web.uploads import checked_item
from web.views import detected

SMALL = 32  # pixels: a picture that nobody looks at is decoded for its size alone


@operation("POST", "/api/v1/objects", "Find objects", body=Detect, heavy=True, answers={200: ObjectsAnswer},
           problems=(502, 504))  # fmt: skip
def find_objects(asked: Detect) -> ObjectsAnswer:
    """Labelled boxes, best first. No detector is installed where `detector` is null."""
    _, collection = state().named(asked.collection)
    if asked.item is not None:
        return _objects(collection.original(checked_item(collection, asked.item)), "item")
    if asked.image is not None:
        return _objects(asked.image, "image")
    return _objects(state().fetch(asked.image_url or ""), "image_url")


@operation("GET", "/api/v1/items/<int:item_id>/objects", "Find the objects of an item", query=InCollection, heavy=True,
           answers={200: ObjectsAnswer})  # fmt: skip
def find_item_objects(asked: InCollection, item_id: int) -> ObjectsAnswer:
    """As for a picture that is sent."""
    _, collection = state().named(asked.collection)
    return _objects(collection.original(checked_item(collection, item_id)), "item")


def _objects(data: bytes, field: str) -> ObjectsAnswer:
    detector, timer = state().detector, Timer()
    try:
        with timer.stage("decode"):
            picture = images.decode(data, min_side=detector.min_side() if detector is not None else SMALL)
    except ImageError as error:
        raise of_image(error, field) from None
    with timer.stage("detect"):
        found = detector.detect(picture) if detector is not None else []
    add_times(timer.took)
    return ObjectsAnswer(
        width=picture.width,
        height=picture.height,
        detector=detector.name if detector is not None else None,
        objects=[detected(each) for each in found],
    )
