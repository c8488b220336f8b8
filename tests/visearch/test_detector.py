"""The detector: boxes of a scene, from any .onnx whose card says how pictures go in and how boxes come out."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.grid_detector import SIDE, card, write_grid_detector
from tests.pictures import visearch
from visearch import images, models
from visearch.detector import Detection, Detector, decode_yolox, find_detector, overlaps, suppress
from visearch.errors import ModelError
from visearch.images import Picture

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def scene(size: tuple[int, int], *objects: tuple[tuple[int, int, int, int], tuple[int, int, int]]) -> Picture:
    """A black picture with coloured rectangles (box in pixels, colour)."""
    image = Image.new("RGB", size)
    for box, colour in objects:
        image.paste(colour, box)
    return Picture(image, *size, (0.0, 0.0, float(size[0]), float(size[1])))


# What is found, and where


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_the_card_says_how_the_picture_is_given_to_the_model(tmp_path: Path, layout: str, color: str) -> None:
    detector = Detector(write_grid_detector(tmp_path / "d.onnx", layout=layout, color=color))
    found = detector.detect(scene((32, 32), ((8, 16, 16, 24), RED), ((24, 0, 32, 8), BLUE)))
    assert sorted((each.label, each.box) for each in found) == [
        ("blue", (0.75, 0.0, 1.0, 0.25)),
        ("red", (0.25, 0.5, 0.5, 0.75)),
    ]
    assert {each.label: each.category for each in found} == {"red": "Chairs", "blue": None}
    assert all(each.score > 0.95 for each in found)


@pytest.mark.parametrize("position", ["top_left", "center"])
@pytest.mark.parametrize("size", [(64, 32), (32, 64), (128, 128)])
def test_boxes_are_fractions_of_the_picture_whatever_its_shape(
    tmp_path: Path, size: tuple[int, int], position: str
) -> None:
    text = json.dumps(card(resize={"position": position, "colour": 0}))
    detector = Detector(write_grid_detector(tmp_path / "d.onnx", text))
    cell = 8 * max(size) // SIDE
    (found,) = detector.detect(scene(size, ((cell, cell, 2 * cell, 2 * cell), GREEN)))
    width, height = size
    assert found.label == "green"
    assert np.allclose(found.box, (cell / width, cell / height, 2 * cell / width, 2 * cell / height), atol=1e-6)


def test_the_surest_come_first_and_those_below_the_score_not_at_all(tmp_path: Path) -> None:
    detector = Detector(write_grid_detector(tmp_path / "d.onnx"))
    picture = scene((32, 32), ((0, 0, 8, 8), (200, 0, 0)), ((16, 0, 24, 8), RED), ((0, 16, 8, 24), (150, 0, 0)))
    assert [round(each.score, 1) for each in detector.detect(picture)] == [1.0, 0.6, 0.3]
    assert [round(each.score, 1) for each in detector.detect(picture, min_score=0.5)] == [1.0, 0.6]
    assert [round(each.score, 1) for each in detector.detect(picture, limit=1)] == [1.0]
    assert detector.detect(scene((32, 32))) == []


def test_an_overlapping_box_of_the_same_label_goes_one_of_another_label_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9], [0, 0, 10, 5]], np.float32)
    assert suppress(boxes, np.array([0, 0, 1, 0]), 0.65).tolist() == [0, 2, 3]


# Against second, dumber implementations


@st.composite
def _boxes(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    corners = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 8)] * 2)
    found = draw(st.lists(corners, min_size=1, max_size=12))
    return np.array([(x, y, x + width, y + height) for x, y, width, height in found], np.float32)


@given(_boxes())
def test_overlap_is_shared_pixels_over_all_pixels(boxes: np.ndarray[Any, Any]) -> None:
    def pixels(box: np.ndarray[Any, Any]) -> set[tuple[int, int]]:
        x0, y0, x1, y1 = map(int, box)
        return {(x, y) for x in range(x0, x1) for y in range(y0, y1)}

    expected = [[len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b)) for b in boxes] for a in boxes]
    assert np.allclose(overlaps(boxes, boxes), expected)


@given(_boxes(), st.randoms(), st.floats(0.1, 0.9))
def test_suppression_equals_the_loop_of_the_textbook(
    boxes: np.ndarray[Any, Any], random: Any, threshold: float
) -> None:
    labels = np.array([random.randrange(2) for _ in boxes])
    kept: list[int] = []
    for place in range(len(boxes)):
        rivals = [other for other in kept if labels[other] == labels[place]]
        if all(overlaps(boxes[[place]], boxes[[other]])[0, 0] <= threshold for other in rivals):
            kept.append(place)
    assert suppress(boxes, labels, threshold).tolist() == kept


def test_decoding_equals_cell_by_cell() -> None:
    random = np.random.default_rng(0)
    strides, side = (8, 16), 32
    cells = [(x, y, s) for s in strides for y in range(side // s) for x in range(side // s)]
    raw = random.random((len(cells), 5 + 4)).astype(np.float32)
    boxes, scores, labels = decode_yolox(raw, np.array(cells, np.float32))
    for row, (x, y, stride) in enumerate(cells):
        middle_x, middle_y = (raw[row, 0] + x) * stride, (raw[row, 1] + y) * stride
        width, height = np.exp(raw[row, 2]) * stride, np.exp(raw[row, 3]) * stride
        expected = (middle_x - width / 2, middle_y - height / 2, middle_x + width / 2, middle_y + height / 2)
        assert np.allclose(boxes[row], expected, rtol=1e-5)
        assert labels[row] == raw[row, 5:].argmax()
        assert scores[row] == pytest.approx(raw[row, 4] * raw[row, 5:].max())


# YOLOX-nano


def test_yolox_nano_is_described_by_the_registry_and_finds_what_is_there(shared: Path) -> None:
    detector = Detector(shared / "models" / "yolox_nano.onnx")
    assert detector.card.name == "yolox_nano"
    wanted = hits = 0
    folder = shared / "datasets" / "coco256"
    with (folder / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))[:20]
    for row in rows:
        picture = images.decode((folder / row["path"]).read_bytes())
        found = detector.detect(picture)
        size = np.array([picture.width, picture.height] * 2)
        for label, box in json.loads(row["extra"])["boxes"]:
            large = np.array(box) / size
            if (large[2] - large[0]) * (large[3] - large[1]) < 0.05:
                continue
            wanted += 1
            boxes = np.array([each.box for each in found if each.label == label]).reshape(-1, 4)
            hits += bool((overlaps(boxes, large[None]) >= 0.5).any())
    assert wanted > 20
    assert hits > 0.7 * wanted


# Which detector


def test_the_setting_names_the_detector_or_a_name_of_the_registry_and_without_either_it_is_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = find_detector()
    assert shipped is not None
    assert shipped.card.name == "detector"
    path = write_grid_detector(tmp_path / "d.onnx")
    assert find_detector(path) is not None
    monkeypatch.setenv("VISEARCH_DETECTOR", str(path))
    found = find_detector()
    assert found is not None
    assert found.name == "grid 1"
    monkeypatch.setenv("VISEARCH_DETECTOR", "yolox_nano")
    with pytest.raises(ModelError, match="visearch models pull yolox_nano"):
        find_detector()


def test_a_detector_that_was_pulled_goes_by_its_name(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.cache_dir().mkdir(parents=True)
    shutil.copy(shared / "models" / "yolox_nano.onnx", models.cache_dir())
    monkeypatch.setenv("VISEARCH_DETECTOR", "yolox_nano")
    found = find_detector()
    assert found is not None
    assert found.card.name == "yolox_nano"


def test_where_the_shipped_file_was_left_out_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "DETECTOR", "left out")
    assert find_detector() is None


# What is no detector


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": None}, "lacks the key 'labels'"),
        ({"kind": "embedding"}, "a embedding model, a detector is needed"),
        ({"contract": 2}, "made for model contract 2"),
        ({"decode": "ssd"}, "'decode' is 'ssd', known are none, yolox"),
        ({"input": {"layout": "nchw", "color": "hsv", "type": "float32"}}, "'input.color' is 'hsv'"),
        ({"input": {"layout": "chwn", "color": "bgr", "type": "float32"}}, "'input.layout' is 'chwn'"),
        ({"resize": {"position": "left", "colour": 0}}, "'resize.position' is 'left'"),
        ({"strides": []}, "'strides' is \\[\\]"),
        ({"strides": [4]}, "the strides of its card make 64"),
        ({"height": 64}, "does not take or give what its card describes"),
        ({"labels": ["red"]}, "finds labels that its card does not have|1 labels"),
    ],
)
def test_a_card_that_is_wrong_is_told_with_its_key(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = write_grid_detector(tmp_path / "d.onnx", json.dumps(card(**changes)))
    with pytest.raises(ModelError, match=said) as error:
        Detector(path).detect(scene((32, 32), ((0, 0, 8, 8), BLUE)))
    assert str(path) in error.value.message


def test_a_model_without_a_card_or_of_another_kind_is_refused(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(ModelError, match="has no model card"):
        Detector(write_grid_detector(tmp_path / "d.onnx", ""))
    with pytest.raises(ModelError, match="a detector is needed"):
        Detector(tiny)
    with pytest.raises(ModelError, match="cannot be read"):
        Detector(tmp_path / "none.onnx")


def test_the_card_of_a_detector_is_shown_as_that_of_any_model(tmp_path: Path, tiny: Path) -> None:
    shown = visearch("models", "info", str(write_grid_detector(tmp_path / "d.onnx"))).json
    assert (shown["name"], shown["labels"], shown["decode"]) == ("grid", ["red", "green", "blue"], "yolox")
    assert visearch("models", "info", str(tiny)).json["name"] == "tiny"


def test_json_of_a_detection_is_short() -> None:
    found = Detection((0.123456, 0.0, 1.0, 1.0), "red", 0.98765, "Chairs")
    assert found.to_json() == {"box": [0.1235, 0.0, 1.0, 1.0], "label": "red", "score": 0.9877, "category": "Chairs"}
