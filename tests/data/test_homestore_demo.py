"""The committed home store: what anyone may rely on in data/homestore/demo, checked with numpy and Pillow
alone.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

STORE = Path(__file__).resolve().parents[2] / "data" / "homestore" / "demo"
MEGABYTE = 1_000_000
CATEGORIES = {
    "Artwork", "Beds & Bed Frames", "Benches", "Cabinets & Storage", "Candles", "Chairs",
    "Curtains & Drapes", "Dressers",
    "Fireplaces", "Folding Chairs & Stools", "Lighting", "Mirrors", "Ottomans", "Pillows", "Rugs",
    "Shelving", "Sofas",
    "Table & Bar Stools", "Tables", "Vases", "Plants", "Clocks", "TVs",
}  # fmt: skip

Row = dict[str, Any]


def read(name: str) -> list[Row]:
    return [json.loads(line) for line in (STORE / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def catalogue() -> list[Row]:
    return read("catalog.jsonl")


@pytest.fixture(scope="module")
def scenes() -> list[Row]:
    return read("scenes.jsonl")


@pytest.fixture(scope="module")
def photos() -> list[Row]:
    return read("photos.jsonl")


def test_it_holds_enough_and_stays_small(catalogue: list[Row], scenes: list[Row], photos: list[Row]) -> None:
    assert len(catalogue) >= 260
    assert len(scenes) >= 90
    assert len(photos) >= 150
    assert sum(f.stat().st_size for f in STORE.rglob("*") if f.is_file()) <= 14 * MEGABYTE


def test_every_category_of_the_paper_is_sold(catalogue: list[Row]) -> None:
    assert {row["category"] for row in catalogue} == CATEGORIES


def test_products_have_all_that_a_shop_shows(catalogue: list[Row]) -> None:
    for row in catalogue:
        for field in (
            "title",
            "description",
            "color",
            "color_family",
            "material",
            "style",
            "seller",
            "group",
        ):
            assert isinstance(row[field], str) and row[field], (row["product"], field)
        assert row["price"] > 0
        assert row["price_currency"] in {"USD", "EUR", "GBP"}
        assert row["availability"] in {"in stock", "out of stock", "preorder"}
        assert row["url"].startswith("https://homestore.example/")
        assert row["split"] in {"train", "val", "test"}
    ids = [row["product"] for row in catalogue]
    assert len(set(ids)) == len(ids)


def test_every_picture_exists_decodes_and_has_its_size(
    catalogue: list[Row], scenes: list[Row], photos: list[Row]
) -> None:
    wanted = {row[key]: (256, 256) for row in catalogue for key in ("path", "second_view")}
    wanted |= {row["path"]: (row["width"], row["height"]) for row in scenes + photos}
    for path, size in wanted.items():
        with Image.open(STORE / path) as image:
            image.load()
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", size), path
    assert {str(p.relative_to(STORE)) for p in STORE.rglob("*.jpg")} == set(wanted)


def test_rooms_are_640_by_480(scenes: list[Row]) -> None:
    assert {(row["width"], row["height"]) for row in scenes} == {(640, 480)}


def test_catalogue_shots_are_on_white_and_show_something(catalogue: list[Row]) -> None:
    for row in catalogue:
        for key in ("path", "second_view"):
            with Image.open(STORE / row[key]) as image:
                pixels = np.asarray(image, dtype=np.int64)
            corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
            assert corners.min() >= 235, row[key]
            assert (pixels.min(axis=2) < 225).mean() > 0.01, row[key]


def test_pictures_are_neither_black_nor_blown_out(scenes: list[Row], photos: list[Row]) -> None:
    for row in scenes + photos:
        with Image.open(STORE / row["path"]) as image:
            pixels = np.asarray(image.convert("L"), dtype=np.float64)
        assert 25 < pixels.mean() < 235, row["path"]
        assert (pixels > 253).mean() < 0.35, row["path"]
        assert (pixels < 6).mean() < 0.35, row["path"]
        assert pixels.std() > 12, row["path"]


def test_near_alike_groups_differ_in_one_thing_and_stay_in_one_split(catalogue: list[Row]) -> None:
    groups = defaultdict(list)
    for row in catalogue:
        groups[row["group"]].append(row)
    for group, rows in groups.items():
        assert len({row["split"] for row in rows}) == 1, group
        assert len({row["category"] for row in rows}) == 1, group
        assert len({row["differs"] for row in rows}) == 1, group
        assert bool(rows[0]["differs"]) == (len(rows) > 1), group
        assert len(rows) <= 5, group


def test_large_categories_have_a_near_alike_group_of_at_least_three(catalogue: list[Row]) -> None:
    count = Counter(row["category"] for row in catalogue)
    sizes = Counter((row["category"], row["group"]) for row in catalogue)
    for category in (c for c, n in count.items() if n >= 10):
        assert max(n for (c, _), n in sizes.items() if c == category) >= 3, category


def test_near_alikes_can_be_told_apart(catalogue: list[Row]) -> None:
    """All but a few: what differs may be a low plinth that the catalogue shot hardly shows."""
    groups = defaultdict(list)
    for row in catalogue:
        with Image.open(STORE / row["path"]) as image:
            groups[row["group"]].append(np.asarray(image, dtype=np.float64))
    apart = [
        float(np.abs(one - other).mean())
        for members in groups.values()
        for i, one in enumerate(members)
        for other in members[:i]
    ]
    assert min(apart) > 0
    assert np.mean(np.array(apart) > 0.4) > 0.97


def test_each_room_shows_five_to_ten_products(scenes: list[Row]) -> None:
    for row in scenes:
        shown = {o["product"] for o in row["objects"]}
        large = {o["product"] for o in row["objects"] if o["area"] >= 0.002}
        assert len(large) >= 5, row["path"]
        assert len(shown) <= 12, row["path"]


def test_rooms_are_of_every_kind(scenes: list[Row]) -> None:
    assert {row["room"] for row in scenes} == {"living", "bedroom", "dining", "study", "hall"}


def test_scenes_and_photos_show_only_products_of_their_split(
    catalogue: list[Row], scenes: list[Row], photos: list[Row]
) -> None:
    split = {row["product"]: row["split"] for row in catalogue}
    assert {row["split"] for row in scenes} == {row["split"] for row in photos} == {"train", "val", "test"}
    for row in scenes:
        assert {split[o["product"]] for o in row["objects"]} == {row["split"]}
    for row in photos:
        assert {split[o["product"]] for o in [row, *row["others"]]} == {row["split"]}


def test_truth_is_in_range(catalogue: list[Row], scenes: list[Row], photos: list[Row]) -> None:
    category = {row["product"]: row["category"] for row in catalogue}
    for row in scenes + photos:
        objects = row["objects"] if "objects" in row else [row, *row["others"]]
        for o in objects:
            x0, y0, x1, y1 = o["box"]
            assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1, row["path"]
            assert 0 <= o["visible"] <= 1
            assert 0 < o["area"] <= (x1 - x0) * (y1 - y0) + 1e-4, (row["path"], o["product"])
            assert category[o["product"]] == o["category"]


def test_photos_are_of_every_category_and_show_their_product(photos: list[Row]) -> None:
    assert {row["category"] for row in photos} == CATEGORIES
    assert {row["label"] == row["category"] for row in photos} == {True}
    assert np.median([row["area"] for row in photos]) > 0.08
    assert min(row["area"] for row in photos) > 0.005
