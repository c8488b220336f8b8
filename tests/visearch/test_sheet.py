"""A query and its matches drawn as one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.labelled import index, write_manifest
from visearch.errors import ImageError
from visearch.images import Box
from visearch.sheet import ACCENT, COLUMNS, MARGIN, PAPER, QUERY_SIDE, Tile, draw_sheet, sheet_of

GREEN, BLUE = (0, 160, 0), (0, 0, 200)


def tile(colour: tuple[int, int, int] = BLUE, box: Box | None = None, name: str = "chair.jpg") -> Tile:
    return Tile(Image.new("RGB", (160, 120), colour), name, 97, 0.91, box)


def count(image: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(image) == colour).all(axis=2).sum())


def test_the_query_is_at_the_left_and_the_matches_beside_it() -> None:
    sheet = draw_sheet(Image.new("RGB", (400, 300), GREEN), None, [tile()])
    left = MARGIN + QUERY_SIDE
    assert count(sheet.crop((0, 0, left, sheet.height)), GREEN) == QUERY_SIDE * 240
    assert count(sheet.crop((left, 0, *sheet.size)), BLUE) > 20_000
    assert count(sheet.crop((0, 0, left, sheet.height)), BLUE) == 0


def test_a_box_is_outlined_and_what_is_outside_of_it_dimmed() -> None:
    query = Image.new("RGB", (320, 320), GREEN)
    sheet = draw_sheet(query, (0.25, 0.25, 0.75, 0.75), [])
    assert count(sheet, ACCENT) == 160 * 160 - 154 * 154
    assert count(sheet, GREEN) == 154 * 154
    assert query.getpixel((80, 80)) == GREEN, "the caller's picture stays as it is"


def test_a_matched_region_is_outlined_and_a_whole_picture_is_not() -> None:
    query = Image.new("RGB", (9, 9), GREEN)
    assert count(draw_sheet(query, None, [tile(box=(0.1, 0.1, 0.6, 0.9))]), ACCENT) > 0
    assert count(draw_sheet(query, (0, 0, 1, 1), [tile(box=(0, 0, 1, 1))]), ACCENT) == 0


def test_more_matches_make_more_rows_of_one_width() -> None:
    query = Image.new("RGB", (9, 9), GREEN)
    one, two = (draw_sheet(query, None, [tile()] * n) for n in (COLUMNS, COLUMNS + 1))
    assert one.width == two.width
    assert count(two, BLUE) > count(one, BLUE)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
@pytest.mark.parametrize("size", [(1, 1), (5000, 3), (3, 5000)])
def test_any_picture_can_be_drawn(mode: str, size: tuple[int, int]) -> None:
    image = Image.new(mode, size)
    sheet = draw_sheet(image, (0.0, 0.0, 0.001, 1.0), [Tile(image, "", 0, None, (0.999, 0.0, 1.0, 1.0))])
    assert sheet.mode == "RGB"


@pytest.mark.parametrize("name", ["long " * 100, "line\nbreak", "名前.jpg", "\u202e\x00odd"])
def test_a_name_stays_on_its_line(name: str) -> None:
    sheet = draw_sheet(Image.new("RGB", (320, 320), GREEN), None, [tile(name=name)], name=name)
    gutter = sheet.crop((MARGIN + QUERY_SIDE + 1, 0, MARGIN + QUERY_SIDE + 30, sheet.height))
    assert count(gutter, PAPER) == gutter.width * gutter.height


def test_no_match_is_said() -> None:
    query = Image.new("RGB", (9, 9), GREEN)
    empty, blank = draw_sheet(query, None, []), Image.new("RGB", (9, 9), PAPER)
    heading = empty.crop((MARGIN + QUERY_SIDE, 0, *empty.size))
    assert count(heading, PAPER) < heading.width * heading.height
    assert draw_sheet(blank, None, []).size == empty.size


def test_the_sheet_of_a_search_shows_what_was_found(tmp_path: Path, tiny: Path) -> None:
    for number, colour in enumerate([GREEN, BLUE]):
        half = Image.new("RGB", (64, 64), PAPER)
        half.paste(colour, (0, 0, 64, 32 + number))
        half.save(tmp_path / f"{number}.png")
    catalog = write_manifest(
        tmp_path / "catalog.csv", [{"path": f"{n}.png", "title": f"Picture {n}"} for n in range(2)]
    )
    with index(catalog, tmp_path / "collection", tiny) as collection:
        green, _ = collection.items()
        path, box = tmp_path / "0.png", (0.0, 0.0, 1.0, 0.9)
        of_picture = sheet_of(collection, path, box, collection.search(path, box=box))
        assert count(of_picture, ACCENT) > 0
        results = collection.search(item=green.item_id)
        assert count(sheet_of(collection, green.item_id, None, results), GREEN) > 0
        path.unlink()
        assert sheet_of(collection, green.item_id, None, results).size == of_picture.size
        with pytest.raises(ImageError, match=r"0\.png"):
            sheet_of(collection, path, None, results)
