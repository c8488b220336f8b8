"""Data sets of detectors: what is read of them, and what is said of what cannot be."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("torch")

from tests.training.tiny_scenes import recipe_of, room, write_rooms
from training.detection import recipe as recipes
from training.detection import scenes
from training.detection.recipe import Data, DetectorRecipe, Schedule, Views, check
from training.detection.scenes import Thing
from visearch.errors import UsageError


def read(data: Data, **parts: object) -> tuple[scenes.Scene, ...]:
    return scenes.read(data, recipe_of(data, **parts))


def test_rooms_have_their_objects(tmp_path: Path) -> None:
    row = room(tmp_path / "room.png", ("lamp", (0.1, 0.2, 0.3, 0.4)), ("sofa", (0.5, 0.5, 1, 1)))
    row["objects"][0] |= {"area": 0.01, "visible": 0.25}
    (tmp_path / "scenes.jsonl").write_text(json.dumps(row))
    (scene,) = read(Data("rooms", tmp_path / "scenes.jsonl"))
    assert scene.path == tmp_path / "room.png"
    assert scene.things == (Thing("lamp", (0.1, 0.2, 0.3, 0.4), 0.01, 0.25), Thing("sofa", (0.5, 0.5, 1, 1), 0.25, 1.0))


def test_photos_have_their_object_and_others(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.jpg")
    other = {"category": "Sofas", "box": [0, 0, 0.5, 0.5], "area": 0.1, "visible": 0.5}
    row = {"path": "photo.jpg", "category": "Lighting", "box": [0.25, 0.25, 0.75, 0.75], "others": [other]}
    (tmp_path / "photos.jsonl").write_text(json.dumps(row))
    (scene,) = read(Data("photos", tmp_path / "photos.jsonl"))
    assert scene.things == (
        Thing("lamp", (0.25, 0.25, 0.75, 0.75), 0.25),
        Thing("sofa", (0, 0, 0.5, 0.5), 0.1, 0.5),
    )


def coco(folder: Path, *boxes: tuple[str, tuple[float, float, float, float]]) -> Data:
    """One picture of 100x50 pixels in COCO's layout."""
    Image.new("RGB", (100, 50)).save(folder / "1.jpg")
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("path", "extra"), ("1.jpg", json.dumps({"boxes": boxes}))])
    return Data("coco", folder)


def test_cocos_boxes_are_in_pixels_and_its_words_are_translated(tmp_path: Path) -> None:
    data = coco(tmp_path, ("couch", (25, 25, 75, 50)), ("zebra", (0, 0, 100, 50)))
    (scene,) = read(data, synonyms={"couch": "sofa"})
    assert scene.things == (Thing("sofa", (0.25, 0.5, 0.75, 1.0), 0.25), Thing("zebra", (0, 0, 1, 1), 1.0))


def test_a_folder_of_pictures_will_do_without_boxes(tmp_path: Path) -> None:
    write_rooms(tmp_path / "a", 3)
    assert len(read(Data("photos", tmp_path, boxes=False))) == 3
    with pytest.raises(UsageError, match=r"data\.photos: .*neither a manifest nor a folder of pictures without boxes"):
        read(Data("photos", tmp_path))


def test_a_set_is_parted_always_in_the_same_way(tmp_path: Path) -> None:
    path = write_rooms(tmp_path, 40)
    one, other = ({scene.path for scene in read(Data("rooms", path, part=part))} for part in ((0, 0.7), (0.7, 1)))
    assert not one & other
    assert len(one | other) == 40
    assert 20 <= len(one) <= 36
    again = write_rooms(tmp_path / "more", 60)
    assert {each.name for each in one} <= {scene.path.name for scene in read(Data("rooms", again, part=(0, 0.7)))}


def test_only_rows_that_are_asked_for(tmp_path: Path) -> None:
    path = write_rooms(tmp_path, 3)
    assert len(read(Data("rooms", path, where={"split": ("train",)}))) == 3
    with pytest.raises(UsageError, match=r"data\.rooms: .*no pictures of those asked for"):
        read(Data("rooms", path, where={"split": ("val",)}))


@pytest.mark.parametrize(
    ("change", "said"),
    [({"box": [0.5, 0.1, 0.2, 0.4]}, "not 0 <= x0 < x1"), ({"category": None}, "category"), ({"box": None}, "box")],
)
def test_a_wrong_object_is_an_error_that_names_its_picture(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    row = room(tmp_path / "room.png", ("lamp", (0.1, 0.2, 0.3, 0.4)))
    row["objects"][0] = {k: v for k, v in (row["objects"][0] | change).items() if v is not None}
    (tmp_path / "scenes.jsonl").write_text(json.dumps(row))
    with pytest.raises(UsageError, match=rf"data\.rooms: .*objects of room\.png cannot be read \(.*{said}"):
        read(Data("rooms", tmp_path / "scenes.jsonl"))


def test_pictures_that_cannot_be_opened_are_left_out(tmp_path: Path) -> None:
    path = write_rooms(tmp_path, 3)
    (tmp_path / "room-1.png").write_bytes(b"no picture")
    assert [scene.path.name for scene in read(Data("rooms", path))] == ["room-0.png", "room-2.png"]
    for each in tmp_path.glob("*.png"):
        each.unlink()
    with pytest.raises(UsageError, match=r"data\.rooms: no picture of 3 can be used"):
        read(Data("rooms", path))


def test_a_catalogue_gives_both_views_of_its_products(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.new("RGB", (8, 8), "red").save(tmp_path / f"{name}.png")
    (tmp_path / "c.jsonl").write_text('{"path": "a.png", "second_view": "b.png", "category": "Sofas"}')
    found = scenes.read_cutouts(tmp_path / "c.jsonl", recipe_of())
    assert [(each.path.name, each.label) for each in found] == [("a.png", "sofa"), ("b.png", "sofa")]


def test_labels_are_the_categories_then_those_of_the_start_then_others(tmp_path: Path) -> None:
    recipe = recipe_of(synonyms={"couch": "sofa"})
    sets = {"one": (scenes.Scene(tmp_path, (Thing("zebra", (0, 0, 1, 1), 1.0), Thing("lamp", (0, 0, 1, 1), 1.0))),)}
    cutouts = tuple(scenes.Cutout(tmp_path, label) for label in ("umbrella", "lamp"))
    expected = ("lamp", "sofa", "person", "umbrella", "zebra")
    assert scenes.labels_of(recipe, ("person", "couch"), sets, cutouts) == expected


# Recipes


def test_the_recipe_that_ships_knows_every_category_of_the_store(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data.homestore.profiles import CATEGORIES

    for name in ("scenes", "photos", "catalog"):
        (tmp_path / f"{name}.jsonl").touch()
    monkeypatch.setenv("VISEARCH_SHARED", str(shared))
    monkeypatch.setenv("VISEARCH_HOMESTORE", str(tmp_path))
    recipe = recipes.load("detector")
    check(recipe)
    assert set(recipe.categories.values()) == set(CATEGORIES)
    assert recipe.label("couch") == recipe.label("Sofas") == "sofa"
    assert recipe.label("zebra") == "zebra"


def test_nothing_that_decides_what_is_claimed_is_trained_on() -> None:
    text = (recipes.SHIPPED / "detector.toml").read_text()
    training, _, _ = text.partition("[[validation]]")
    assert "demo}" not in training
    assert "bench" not in training.replace('bench = "Benches"', "")


ROOMS = Data("rooms", Path())


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (recipe_of(ROOMS, size=100), "size: 100 is not a multiple of 32"),
        (recipe_of(ROOMS, schedule=Schedule(sizes=(64, 65))), "schedule.sizes: 65 is not a multiple of 32"),
        (recipe_of(Data("x", Path(), boxes=False)), "no data set has boxes"),
        (recipe_of(Data("x", Path()), Data("x", Path())), "data: two entries are named x"),
        (recipe_of(ROOMS, Data("x", Path(), boxes=False)), "set `start`"),
        (recipe_of(ROOMS, views=Views(paste=0.5)), "views.products: is missing"),
        (recipe_of(Data("rooms", Path(), part=(0.5, 0.5))), "rooms.part"),
        (recipe_of(ROOMS, schedule=Schedule(ema=1.0)), "never moves"),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(recipe: DetectorRecipe, said: str) -> None:
    with pytest.raises(UsageError, match=r"recipe tiny: .*" + said.replace(".", r"\.")):
        check(recipe)
