"""What a step sees: wherever a picture is shown, however large, the boxes are around the things themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("torch")

import torch

from tests.training.tiny_scenes import COLOURS, PLAIN, SCHEDULE, recipe_of, room, write_rooms
from training import augment
from training.detection import scenes
from training.detection.recipe import Data, DetectorRecipe, Views
from training.detection.scenes import Cutout
from training.detection.views import GREY, Batch, cut_out
from training.detection.views import Views as Made
from visearch.codes import U8
from visearch.errors import VisearchError

LABELS = ("lamp", "sofa")


@pytest.fixture(autouse=True)
def good_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "PHONE", 0.0)


@pytest.fixture
def rooms(tmp_path: Path) -> Data:
    return Data("rooms", write_rooms(tmp_path / "rooms"))


def seen(recipe: DetectorRecipe, cutouts: tuple[Cutout, ...] = ()) -> Made:
    return Made(recipe, [scenes.read(each, recipe) for each in recipe.data], LABELS, cutouts)


def around(pixels: U8, label: str) -> list[float]:
    """The box around the pixels of a label's colour."""
    near: U8 = np.all(np.abs(pixels.astype(int) - COLOURS[label]) < 100, axis=2).astype(np.uint8)
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def assert_boxes_fit(batch: Batch) -> int:
    """Every object that is told, and alone of its label in the view, is where its colour is; how many there are."""
    looked = 0
    for image, boxes, labels, ignored in zip(batch.images, batch.boxes, batch.labels, batch.ignored, strict=True):
        for place, label in enumerate(labels.tolist()):
            if label < 0 or ignored[place] or labels.tolist().count(label) > 1:
                continue
            np.testing.assert_allclose(boxes[place], around(image.numpy(), LABELS[label]), atol=1.6)
            looked += 1
    return looked


@pytest.mark.parametrize("zoom", [1.0, 1.2, 2.5])
def test_boxes_are_around_the_things_at_every_zoom(rooms: Data, zoom: float) -> None:
    views = seen(recipe_of(rooms, views=replace(PLAIN, zoom=zoom)))
    assert sum(assert_boxes_fit(views.make(step)) for step in range(20)) > 30


def test_four_pictures_make_one_view(rooms: Data) -> None:
    views = seen(recipe_of(rooms, views=replace(PLAIN, mosaic=1.0, zoom=1.0, calm=0.0)))
    batches = [views.make(step) for step in range(4)]
    assert max(int((batch.labels >= 0).sum(dim=1).max()) for batch in batches) > 2
    assert all((batch.boxes[batch.labels >= 0] >= 0).all() and (batch.boxes <= 64).all() for batch in batches)


def test_the_last_steps_are_calm(rooms: Data) -> None:
    schedule = replace(SCHEDULE, steps=10)
    views = seen(recipe_of(rooms, schedule=schedule, views=replace(PLAIN, mosaic=1.0, zoom=1.0, calm=0.5)))
    calm = [int((views.make(step).labels >= 0).sum(dim=1).max()) <= 2 for step in range(10)]
    assert all(calm[5:])
    assert not all(calm[:5])


def test_a_step_is_the_same_whenever_it_is_made(rooms: Data) -> None:
    recipe = recipe_of(rooms, views=Views(mosaic=0.5, zoom=1.5))
    one, other = seen(recipe).make(3), seen(recipe).make(3)
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.boxes, other.boxes)
    assert not torch.equal(one.images, seen(replace(recipe, seed=1)).make(3).images)
    forked = next(iter(seen(replace(recipe, schedule=replace(SCHEDULE, workers=1))).iterate(3)))
    assert torch.equal(one.images, forked.images)


def test_each_step_has_one_of_the_sizes(rooms: Data) -> None:
    views = seen(recipe_of(rooms, schedule=replace(SCHEDULE, sizes=(64, 96))))
    assert {views.make(step).images.shape[1:] for step in range(10)} == {(64, 64, 3), (96, 96, 3)}


@pytest.mark.parametrize(("height", "told"), [(0.04, False), (0.3, True)])
def test_what_shows_too_few_pixels_is_ignored(tmp_path: Path, height: float, told: bool) -> None:
    row = room(tmp_path / "room.png", ("lamp", (0.4, 0.4, 0.45, 0.4 + height)), size=(400, 400))
    (tmp_path / "scenes.jsonl").write_text(json.dumps(row))
    views = Views(mosaic=0.0, jitter=0.0, zoom=1.0, least_area=0.005)
    batch = seen(recipe_of(Data("rooms", tmp_path / "scenes.jsonl"), views=views)).make(0)
    assert (batch.labels == 0).any()
    assert bool(batch.ignored.any()) != told


def test_what_is_nearly_hidden_is_ignored_unless_it_is_large(tmp_path: Path) -> None:
    row = room(tmp_path / "room.png", ("lamp", (0.1, 0.1, 0.2, 0.2)), ("sofa", (0.3, 0.3, 0.9, 0.9)))
    for each in row["objects"]:
        each["visible"] = 0.1
    (tmp_path / "scenes.jsonl").write_text(json.dumps(row))
    views = Views(mosaic=0.0, jitter=0.0, zoom=1.0, least_area=0.002, least_visible=0.2)
    batch = seen(recipe_of(Data("rooms", tmp_path / "scenes.jsonl"), views=views)).make(0)
    assert batch.ignored[batch.labels == 0].all()
    assert not batch.ignored[batch.labels == 1].any()


# Products pasted on


def product(path: Path, size: tuple[int, int] = (60, 100)) -> Cutout:
    """A red frame with white in it, on white."""
    image = Image.new("RGB", (120, 120), "white")
    left, top = (120 - size[0]) // 2, (120 - size[1]) // 2
    ImageDraw.Draw(image).rectangle((left, top, left + size[0] - 1, top + size[1] - 1), "white", COLOURS["lamp"], 12)
    image.save(path)
    return Cutout(path, "lamp")


def test_a_product_is_cut_out_with_the_white_in_it(tmp_path: Path) -> None:
    pixels, mask = cut_out(np.asarray(Image.open(product(tmp_path / "p.png").path)))
    assert pixels.shape == (100, 60, 3)
    assert (mask == 255).all()
    assert (pixels[50, 30] == 255).all()
    nothing, _ = cut_out(np.full((10, 10, 3), 255, np.uint8))
    assert not nothing.size


def test_a_pasted_product_is_where_its_box_says(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    Image.new("RGB", (64, 64)).save(folder / "black.png")
    data = Data("empty", folder, boxes=False)
    recipe = recipe_of(data, views=replace(PLAIN, zoom=1.0, paste=1.0, most_pasted=1))
    views = seen(recipe, (product(tmp_path / "p.png"),))
    batches = [views.make(step) for step in range(8)]
    assert all((batch.labels >= 0).sum(dim=1).eq(1).all() for batch in batches)
    assert sum(map(assert_boxes_fit, batches)) == 16


def test_a_pasted_product_hides_little(rooms: Data, tmp_path: Path) -> None:
    views = seen(recipe_of(rooms, views=replace(PLAIN, paste=1.0, most_pasted=3)), (product(tmp_path / "p.png"),))
    for step in range(10):
        batch = views.make(step)
        for image, boxes, labels in zip(batch.images, batch.boxes, batch.labels, strict=True):
            for box in boxes[labels == 1].round().int().tolist():
                part = image[box[1] : box[3], box[0] : box[2]]
                assert part.numel() == 0 or (part[..., 1] > 150).float().mean() > 0.2


# Pictures that cannot be used


def test_a_picture_that_cannot_be_decoded_is_replaced_and_told(rooms: Data) -> None:
    views = seen(recipe_of(rooms))
    broken = rooms.path.parent / "room-0.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    batches = [views.make(step) for step in range(6)]
    assert {path for batch in batches for path, _ in batch.unreadable} == {broken}
    assert all((batch.labels >= 0).any(dim=1).all() for batch in batches)


def test_a_set_of_broken_pictures_is_an_error(rooms: Data) -> None:
    views = seen(recipe_of(rooms))
    for path in rooms.path.parent.glob("*.png"):
        path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(VisearchError, match="one after the other, cannot be decoded"):
        views.make(0)


@pytest.mark.parametrize("size", [(1, 1), (400, 1), (1, 400), (1200, 4)])
def test_a_picture_is_seen_however_thin_it_is(tmp_path: Path, size: tuple[int, int]) -> None:
    row = room(tmp_path / "room.png", ("lamp", (0.0, 0.0, 1.0, 1.0)), size=size)
    (tmp_path / "scenes.jsonl").write_text(json.dumps(row))
    views = seen(recipe_of(Data("rooms", tmp_path / "scenes.jsonl")))
    for step in range(12):
        assert views.make(step).unreadable == []


def test_what_no_picture_covers_is_grey(tmp_path: Path) -> None:
    row = room(tmp_path / "room.png", ("lamp", (0.0, 0.0, 1.0, 1.0)), size=(64, 16))
    (tmp_path / "scenes.jsonl").write_text(json.dumps(row))
    batch = seen(recipe_of(Data("rooms", tmp_path / "scenes.jsonl"), views=replace(PLAIN, zoom=1.0))).make(0)
    assert (batch.images == GREY).all(dim=3).float().mean() > 0.6
