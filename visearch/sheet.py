"""A query and its matches drawn as one picture."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from visearch import images
from visearch.errors import ImageError
from visearch.files import read_limited
from visearch.images import WHOLE, Box

if TYPE_CHECKING:
    from visearch.collection import Collection
    from visearch.results import Results

# Pixels.
MARGIN = 28
GAP = 18
QUERY_SIDE = 320
TILE_SIDE = 192
CAPTION_HEIGHT = 46
HEADING_HEIGHT = 34
COLUMNS = 5

PAPER = (255, 255, 255)
PANEL = (243, 244, 246)
EDGE = (222, 225, 230)
INK = (17, 24, 39)
FAINT = (107, 114, 128)
ACCENT = (234, 88, 12)
VEIL = (17, 24, 39, 120)


@dataclass(frozen=True)
class Tile:
    """One match: its thumbnail, a short name, its distance in bits, its score in -1..1 and the box that matched.

    Without a distance it is no match, but one to compare with: no number, and nothing said of how near it is.
    """

    image: Image.Image
    name: str
    distance: int | None
    score: float | None = None
    box: Box | None = None


def draw_sheet(query: Image.Image, box: Box | None, tiles: Sequence[Tile], *, name: str = "") -> Image.Image:
    """Draw the query at the left and its matches, best first, in a grid beside it.

    Args:
        query: any size; drawn to fit.
        box: what was searched for, fractions of the picture; outlined, the rest dimmed. None is the whole picture.
        tiles: any number; thumbnails of any size.
        name: of the query, written under it.

    Returns:
        An RGB picture of one width, as high as it needs to be.
    """
    shown = _fit(query, QUERY_SIDE)
    rows = -(-len(tiles) // COLUMNS)
    grid_height = rows * (TILE_SIDE + CAPTION_HEIGHT + GAP) - GAP if rows else TILE_SIDE
    height = 2 * MARGIN + HEADING_HEIGHT + max(shown.height + CAPTION_HEIGHT, grid_height)
    grid_left = MARGIN + QUERY_SIDE + 2 * GAP
    width = grid_left + COLUMNS * (TILE_SIDE + GAP) - GAP + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = MARGIN + HEADING_HEIGHT
    draw.text((MARGIN, MARGIN), "Query", INK, _font(20))
    sheet.paste(_outlined(shown, box, veil=True), (MARGIN, top))
    draw.text((MARGIN, top + shown.height + 8), _shorten(name, 15, QUERY_SIDE), INK, _font(15))
    draw.text((grid_left, MARGIN), _count(sum(tile.distance is not None for tile in tiles)), INK, _font(20))
    for place, tile in enumerate(tiles):
        row, column = divmod(place, COLUMNS)
        corner = (grid_left + column * (TILE_SIDE + GAP), top + row * (TILE_SIDE + CAPTION_HEIGHT + GAP))
        _draw_tile(sheet, corner, place + 1, tile)
    return sheet


def sheet_of(collection: Collection, query: Path | int, box: Box | None, results: Results) -> Image.Image:
    """Draw what a search for a picture, or for an item of the collection, found. ImageError where it is no picture."""
    source = Path(collection.item(query).source) if isinstance(query, int) else query
    try:
        picture = images.decode(read_limited(source), min_side=QUERY_SIDE).image
    except ImageError:
        if not isinstance(query, int):
            raise
        picture = _thumbnail(collection, query)  # the file of an item may be gone, its thumbnail is kept
    tiles = [
        Tile(
            _thumbnail(collection, match.item),
            match.name,
            match.distance,
            match.score if results.reranked else None,
            match.box,
        )
        for match in results
    ]
    return draw_sheet(picture, box, tiles, name=source.name)


def _thumbnail(collection: Collection, item_id: int) -> Image.Image:
    jpeg = collection.thumbnail(item_id)
    return images.decode(jpeg).image if jpeg else Image.new("RGB", (TILE_SIDE, TILE_SIDE), PANEL)


def _draw_tile(sheet: Image.Image, corner: tuple[int, int], rank: int, tile: Tile) -> None:
    draw = ImageDraw.Draw(sheet)
    left, top = corner
    frame = (left - 1, top - 1, left + TILE_SIDE, top + TILE_SIDE)
    draw.rectangle(frame, PANEL)
    shown = _fit(tile.image, TILE_SIDE)
    place = (left + (TILE_SIDE - shown.width) // 2, top + (TILE_SIDE - shown.height) // 2)
    sheet.paste(_outlined(shown, tile.box), place)
    draw.rectangle(frame, outline=EDGE)  # product pictures are white on white
    label, font = str(rank), _font(15)
    draw.text((left, top + TILE_SIDE + 6), _shorten(tile.name, 15, TILE_SIDE), INK, font)
    if tile.distance is None:
        return
    badge = (left, top, left + max(26, round(font.getlength(label)) + 14), top + 24)
    draw.rectangle(badge, INK)
    draw.text(((badge[0] + badge[2]) / 2, (badge[1] + badge[3]) / 2), label, PAPER, font, anchor="mm")
    nearness = f"{tile.distance} bits" if tile.score is None else f"score {tile.score:.3f}   {tile.distance} bits"
    draw.text((left, top + TILE_SIDE + 25), nearness, FAINT, _font(14))


def _fit(image: Image.Image, side: int) -> Image.Image:
    """The picture in RGB, its longest side `side` pixels."""
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _outlined(image: Image.Image, box: Box | None, *, veil: bool = False) -> Image.Image:
    """The picture with a box drawn on it, and dimmed outside of it if `veil`."""
    if box is None or box == WHOLE:
        return image
    x0, y0, x1, y1 = (round(part * side) for part, side in zip(box, 2 * image.size, strict=True))
    corners = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
    if veil:
        shade = Image.new("RGBA", image.size, VEIL)
        ImageDraw.Draw(shade).rectangle(corners, (0, 0, 0, 0))
        image = Image.alpha_composite(image.convert("RGBA"), shade).convert("RGB")
    ImageDraw.Draw(image).rectangle(corners, outline=ACCENT, width=3)
    return image


def _shorten(text: str, size: int, width: int) -> str:
    """The text on one line, its middle left out where it is wider than `width` pixels."""
    # Pillow's font has no accented letters: they are drawn without their accents.
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    text = " ".join(plain.split())
    font, kept = _font(size), len(text)
    short = text
    while font.getlength(short) > width and kept > 2:
        kept -= 1
        short = f"{text[: kept // 2]}...{text[len(text) - (kept - kept // 2) :]}"
    return short


def _count(matches: int) -> str:
    return {0: "No matches", 1: "1 match"}.get(matches, f"{matches} matches")


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "every wheel of Pillow brings FreeType"
    return font
