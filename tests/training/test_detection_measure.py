"""Average precision and recall of boxes, against a dumber implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("pycocotools")

from tests.training.tiny_scenes import recipe_of
from training.detection.measure import average_precision, find, measure
from training.detection.scenes import Scene, Thing
from visearch.detector import Detection, find_detector
from visearch.errors import ImageError
from visearch.images import Box

NOWHERE = Path("none.jpg")
OVERLAPS = np.arange(0.5, 1.0, 0.05)
sides = st.tuples(*[st.integers(0, 7)] * 2, *[st.integers(1, 8)] * 2)
boxes = sides.map(lambda s: (s[0] / 16, s[1] / 16, (s[0] + s[2]) / 16, (s[1] + s[3]) / 16))
labels = st.sampled_from(["lamp", "sofa"])
scores = st.integers(1, 1000).map(lambda number: number / 1000)
pictures = st.lists(
    st.tuples(
        st.lists(st.builds(Thing, labels, boxes, st.sampled_from([0.005, 0.5])), max_size=4),
        st.lists(st.tuples(boxes, labels, scores), max_size=5),
    ),
    min_size=1,
    max_size=3,
)


def iou(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def plain_precision(truth: list[Scene], found: list[list[Detection]], label: str, least: float) -> float:
    """Precision at 101 recalls: each box, best first, takes the best free object of its picture that it fits."""
    asked = [[t for t in scene.things if t.label == label and t.area >= least] for scene in truth]
    other = [[t for t in scene.things if t.label == label and t.area < least] for scene in truth]
    ranked = [(each, image) for image, own in enumerate(found) for each in own if each.label == label]
    ranked = sorted(ranked, key=lambda pair: -pair[0].score)
    total = sum(map(len, asked))
    values = []
    for threshold in OVERLAPS:
        free = [list(own) for own in asked]
        hits: list[bool] = []
        for each, image in ranked:
            fits = [t for t in free[image] if iou(each.box, t.box) >= threshold - 1e-10]
            if fits:
                free[image].remove(max(fits, key=lambda t: iou(each.box, t.box)))
                hits.append(True)
            elif not any(covered(each.box, t.box) >= threshold - 1e-10 for t in other[image]):
                hits.append(False)
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        recall = np.cumsum(hits) / total
        steps = [max([p for p, r in zip(precision, recall, strict=True) if r >= at - 1e-12], default=0.0)
                 for at in np.linspace(0, 1, 101)]  # fmt: skip
        values.append(float(np.mean(steps)))
    return float(np.mean(values))


def covered(box: Box, by: Box) -> float:
    """The share of a box that an object to be ignored covers: COCO's rule for crowds."""
    width, height = min(box[2], by[2]) - max(box[0], by[0]), min(box[3], by[3]) - max(box[1], by[1])
    return max(0.0, width) * max(0.0, height) / ((box[2] - box[0]) * (box[3] - box[1]))


@settings(max_examples=60)
@given(pictures)
def test_average_precision_is_that_of_a_plain_count(
    drawn: list[tuple[list[Thing], list[tuple[Box, str, float]]]],
) -> None:
    truth = [Scene(NOWHERE, tuple(things)) for things, _ in drawn]
    seen: set[float] = set()
    found = []
    for _, own in drawn:
        # No two scores are equal: the order of equal ones is not promised.
        fresh = list({each[2]: each for each in own if each[2] not in seen}.values())
        seen.update(each[2] for each in fresh)
        found.append([Detection(box, label, score, None) for box, label, score in sorted(fresh, key=lambda e: -e[2])])
    ap, ap50 = average_precision(truth, found, 0.01)
    assert set(ap) == {t.label for scene in truth for t in scene.things if t.area >= 0.01}
    for label, value in ap.items():
        assert value == pytest.approx(plain_precision(truth, found, label, 0.01), abs=1e-6)
        assert ap50[label] >= value - 1e-9


ROOM = Scene(NOWHERE, (Thing("lamp", (0, 0, 0.5, 0.5), 0.2), Thing("sofa", (0.5, 0.5, 1, 1), 0.2)))


def detection(box: Box, label: str, score: float = 0.9) -> Detection:
    return Detection(box, label, score, None)


def test_what_is_found_as_it_is_has_all_of_every_figure() -> None:
    found = [[detection(thing.box, thing.label) for thing in ROOM.things]]
    assert measure([ROOM], found).summary() == {
        "ap50": pytest.approx(1),
        "ap": pytest.approx(1),
        "recall": 1,
        "recall_named": 1,
        "boxes": 2,
    }


def test_recall_counts_boxes_of_any_label_and_of_the_right_one() -> None:
    found = [[detection((0, 0, 0.5, 0.45), "sofa"), detection((0.5, 0.5, 1, 1), "sofa")]]
    measured = measure([ROOM], found)
    assert (measured.recall, measured.recall_named) == (1.0, 0.5)
    assert measured.ap50["lamp"] == 0


def test_recall_takes_what_shop_the_look_would_take() -> None:
    unsure = [[detection(thing.box, thing.label, 0.1) for thing in ROOM.things]]
    assert measure([ROOM], unsure).recall == 0
    crowd = [[detection((0.9, 0, 1, 0.1), "lamp")] * 20 + [detection(thing.box, thing.label) for thing in ROOM.things]]
    assert measure([ROOM], crowd).recall == 0


def test_an_object_of_less_than_a_hundredth_is_not_counted_in_recall() -> None:
    scene = Scene(NOWHERE, (*ROOM.things, Thing("vase", (0, 0.9, 0.05, 1), 0.005)))
    found = [[detection(thing.box, thing.label) for thing in ROOM.things]]
    assert measure([scene], found).recall == 1


def test_nothing_found_is_nothing_and_no_error() -> None:
    assert measure([ROOM], [[]]).summary() == {"ap50": 0, "ap": 0, "recall": 0, "recall_named": 0, "boxes": 0}


def test_a_scene_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    scene, detector = tmp_path / "cut.jpg", find_detector()
    scene.write_bytes(b"\xff\xd8\xff\xe0 cut off")
    assert detector is not None
    with pytest.raises(ImageError, match=r"cut\.jpg: "):
        find(detector, [Scene(scene)], recipe_of())
