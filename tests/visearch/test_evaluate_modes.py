"""Measuring the modes end to end: every figure is one that can be counted by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tests.labelled import index, picture, write_manifest
from tests.pictures import visearch
from tests.tiny_detector import write_detector
from visearch.collection import Collection
from visearch.detector import Detector
from visearch.errors import UsageError, VisearchError
from visearch.evaluate_modes import DEPTH, ModeEvaluation, evaluate_mode

MIDDLE = [0.25, 0.25, 0.75, 0.75]  # where the tiny detector finds a lamp
CORNER = [0.0, 0.0, 0.25, 0.25]  # where it finds nothing
NAMES = ("arc", "bell", "cone", "disc")


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector(write_detector(tmp_path_factory.mktemp("detector") / "d.onnx"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[Collection]:
    folder = tmp_path_factory.mktemp("shop")
    for name in NAMES:
        picture(name, 1, noise=20).save(folder / f"{name}.png")
    rows = [{"path": f"{name}.png", "product": name, "category": "Lighting"} for name in NAMES]
    with index(write_manifest(folder / "catalog.csv", rows), folder / "c", tiny) as collection:
        yield collection


def scene(folder: Path, name: str, corner: str) -> str:
    """`name` in the middle and `corner` in the corner, on white."""
    found = Image.new("RGB", (256, 256), "white")
    found.paste(picture(name, 0, noise=0).resize((128, 128), Image.Resampling.NEAREST), (64, 64))
    found.paste(picture(corner, 0, noise=0), (0, 0))
    path = f"{name}-{corner}.png"
    found.save(folder / path)
    return path


def scenes(folder: Path) -> Path:
    """Two rooms, each with an object that is detected and one that is not; one of the latter is too small to count."""
    rows: list[dict[str, Any]] = [
        {
            "path": scene(folder, name, corner),
            "objects": [
                {"product": name, "category": "Lighting", "box": MIDDLE},
                {"product": corner, "category": "Chairs", "box": CORNER, "area": area},
            ],
        }
        for name, corner, area in (("arc", "bell", 0.05), ("cone", "disc", 0.009))
    ]
    rows.append({"path": "nowhere.png", "objects": [{"product": "arc", "box": MIDDLE}]})
    rows.append({"path": "arc-bell.png", "objects": [{"product": "arc", "box": [0, 0, 2, 2]}]})
    rows.append({"path": "arc-bell.png", "objects": [{"product": "sold out", "box": MIDDLE}]})
    path = folder / "scenes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def first(evaluation: ModeEvaluation, way: str) -> float:
    return evaluation.figures[way]["precision_at_1"][0]


def test_an_object_that_is_not_detected_is_a_miss(shop: Collection, detector: Detector, tmp_path: Path) -> None:
    found = evaluate_mode(shop, scenes(tmp_path), "shop", detector=detector, label="product")
    assert {way: len(hits) for way, hits in found.hits.items()} == {"detected": 3, "whole": 3, "true box": 3}
    assert found.found == pytest.approx(2 / 3)
    assert first(found, "detected") == pytest.approx(2 / 3)
    assert first(found, "true box") == 1
    assert (found.pictures, found.left_out) == (2, 1)
    assert [(row.number, row.reason) for row in found.unreadable] == [(3, "unreadable"), (4, "objects")]
    assert found.by_category["Chairs"]["detected"]["recall_at_5"][0] == 0
    assert found.by_category["Lighting"]["detected"]["recall_at_5"][0] == 1


def test_without_a_detector_the_two_other_ways_are_measured(shop: Collection, tmp_path: Path) -> None:
    found = evaluate_mode(shop, scenes(tmp_path), "shop", detector=None, label="product")
    assert list(found.hits) == ["whole", "true box"]
    assert found.found is None


def test_a_room_with_a_list_of_its_products_asks_with_every_box_that_is_found(
    shop: Collection, detector: Detector, tmp_path: Path
) -> None:
    path = tmp_path / "rooms.jsonl"
    rows = [{"path": scene(tmp_path, "arc", "bell"), "product": ["arc", "bell"]}]
    rows += [{"path": scene(tmp_path, "cone", "bell"), "product": ["disc", "bell"]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = evaluate_mode(shop, path, "shop", detector=detector, label="product")
    assert found.hits["detected"][:, 0].tolist() == [True, False]
    assert found.hits["whole"].shape == (2, DEPTH)
    assert "true box" not in found.hits


@pytest.mark.parametrize("mode", ["flashlight", "lens"])
def test_photos_are_measured_as_whole_by_the_box_found_and_by_the_true_box(
    shop: Collection, detector: Detector, tmp_path: Path, mode: str
) -> None:
    rows = [{"path": scene(tmp_path, name, name), "product": name, "box": ",".join(map(str, MIDDLE))} for name in NAMES]
    found = evaluate_mode(shop, write_manifest(tmp_path / "photos.csv", rows), mode, detector=detector, label="product")
    assert {way: len(hits) for way, hits in found.hits.items()} == {"detected": 4, "whole": 4, "true box": 4}
    assert (first(found, "true box"), found.found) == (1, 1)
    assert first(found, "detected") >= first(found, "whole")


@pytest.fixture
def letters(tmp_path: Path, tiny: Path) -> Iterator[Collection]:
    """Two near-alike pictures of "a", one of "b"."""
    for name in ("a-1", "a-2", "b-1"):
        picture(name[0], int(name[2]), noise=10).save(tmp_path / f"{name}.png")
    rows = [{"path": f"{name}.png", "label": name[0]} for name in ("a-1", "a-2", "b-1")]
    with index(write_manifest(tmp_path / "all.csv", rows), tmp_path / "c", tiny) as collection:
        yield collection


def test_a_picture_does_not_find_itself(letters: Collection, tmp_path: Path) -> None:
    found = evaluate_mode(letters, tmp_path / "all.csv", "flashlight", detector=None)
    # An "a" finds the other, though the two are near-duplicates; to "b" nothing else is relevant.
    assert found.hits["whole"].sum(axis=1).tolist() == [1, 1]
    assert (found.pictures, found.left_out) == (2, 1)


def test_a_picture_is_known_by_its_bytes_too(letters: Collection, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in ("a-1", "b-1"):
        shutil.copy(tmp_path / f"{name}.png", tmp_path / "elsewhere")
    rows = [{"path": f"elsewhere/{name}.png", "label": name[0]} for name in ("a-1", "b-1")]
    found = evaluate_mode(letters, write_manifest(tmp_path / "q.csv", rows), "flashlight", detector=None)
    assert found.hits["whole"].sum(axis=1).tolist() == [1]
    assert found.left_out == 1


def test_a_box_is_asked_to_find_what_it_was_cut_from_where_nothing_else_is_right(
    letters: Collection, tmp_path: Path
) -> None:
    path = tmp_path / "crops.jsonl"
    objects = [{"label": "a", "box": MIDDLE}, {"label": "b", "box": MIDDLE}, {"label": "b", "box": [0, 0, 1, 1]}]
    path.write_text(json.dumps({"path": "b-1.png", "objects": objects}))
    found = evaluate_mode(letters, path, "flashlight", detector=None)
    assert found.hits["true box"].sum(axis=1).tolist() == [1, 1]  # an "a", the other folded into it; the picture
    assert found.hits["whole"].sum(axis=1).tolist() == [1]
    assert found.left_out == 1


def test_one_row_that_cannot_be_asked_stops_nobody(letters: Collection, tmp_path: Path) -> None:
    wrong = {"path": "a-1.png", "label": "a", "box": [0.5, 0.5, 0.5001, 0.9]}
    not_a_list = {"path": "a-1.png", "objects": {"label": "a", "box": MIDDLE}}
    rows = [{"path": "a-2.png", "label": "a"}, wrong, not_a_list]
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = evaluate_mode(letters, path, "flashlight", detector=None)
    assert found.pictures == 1
    assert [(row.number, row.reason) for row in found.unreadable] == [(2, "box"), (3, "objects")]


def test_shop_is_measured_on_what_it_searches(letters: Collection, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no searched item carries `product`"):
        evaluate_mode(letters, tmp_path / "all.csv", "shop", detector=None)


def test_what_cannot_be_measured_is_told(shop: Collection, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no searched item carries `colour`"):
        evaluate_mode(shop, scenes(tmp_path), "shop", detector=None, label="colour")
    with pytest.raises(UsageError, match="come in a manifest"):
        evaluate_mode(shop, tmp_path / "arc-bell.png", "shop", detector=None)
    rows = write_manifest(tmp_path / "none.csv", [{"path": "arc-bell.png", "product": "sold out"}])
    with pytest.raises(VisearchError, match="no question can be measured: to 1 no item is relevant"):
        evaluate_mode(shop, rows, "lens", detector=None, label="product")


def test_the_command_prints_a_table_or_json(
    shop: Collection, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISEARCH_DETECTOR", str(detector.path))
    command = ["evaluate", "--collection", str(shop.path), "--queries", str(scenes(tmp_path)), "--label", "product"]
    printed = visearch(*command, "--mode", "shop", "--json").json
    assert printed["ways"]["true box"]["precision_at_1"] == [1.0, 1.0, 1.0]
    assert printed["boxes_found"] == pytest.approx(2 / 3)
    assert printed["setup"]["detector"] == "tiny_detector 1"
    shown = visearch(*command, "--mode", "shop")
    assert "66.7% of the true boxes detected" in " ".join(shown.out.split())
    refused = visearch(*command, "--mode", "shop", "--report", str(tmp_path / "report"))
    assert (refused.code, "--report goes without --mode" in refused.err) == (2, True)


def test_figures_and_intervals_are_those_of_the_hits() -> None:
    hits = np.zeros((4, DEPTH), np.bool_)
    hits[0, 0] = hits[1, 4] = hits[2, 5] = True
    found = ModeEvaluation("shop", 1, 0, (), {"detected": ("", "", "", "")}, {"detected": hits}, None, {"items": 1})
    figures = found.figures["detected"]
    assert figures["precision_at_1"][0] == 0.25
    assert figures["recall_at_5"][0] == 0.5
    assert figures["precision_at_1"][1] <= 0.25 <= figures["precision_at_1"][2]
    console = Console(width=100, record=True)
    console.print(found.table())
    assert "Recall@5 50.0 (0.0-100.0)" in " ".join(console.export_text().split())
