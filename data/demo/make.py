"""Draw the demo pictures: 12 kinds of home goods in 6 colours, a catalogue of them, and a query; the same every time.

    python data/demo/make.py [FOLDER]      (default: the folder of this file)

The pictures are the project's own, under CC0 1.0.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

CANVAS, SIDE = 768, 256  # pixels: drawn three times as large, then scaled down
PALETTES = {  # main colour, second colour, wall
    "coral": ("#e8704f", "#f7d9c8", "#f6efe6"),
    "mustard": ("#e0a526", "#7a5a12", "#f3f1ea"),
    "sage": ("#8fae8b", "#3f5d45", "#f4efe9"),
    "teal": ("#1f8a8a", "#c9ebe4", "#eef1f2"),
    "navy": ("#27406b", "#e9c46a", "#e9ecf3"),
    "plum": ("#7d4069", "#e7c6d8", "#f5eef1"),
}
WOOD = "#b98a5a"

Draw = ImageDraw.ImageDraw
Artist = Callable[[Draw, str, str, random.Random], None]


def mug(d: Draw, main: str, second: str, r: random.Random) -> None:
    d.arc((460, 320, 640, 520), -100, 100, main, 34)
    d.rounded_rectangle((220, 260, 520, 600), 40, main)
    d.ellipse((220, 230, 520, 300), second)
    for y in range(360, 360 + 60 * r.randint(1, 3), 60):
        d.rectangle((220, y, 520, y + 22), second)


def vase(d: Draw, main: str, second: str, r: random.Random) -> None:
    width = r.randint(110, 170)
    d.polygon([(340, 190), (428, 190), (404, 330), (364, 330)], main)
    d.ellipse((384 - width, 290, 384 + width, 640), main)
    d.ellipse((336, 176, 432, 206), second)
    d.arc((384 - width, 380, 384 + width, 560), 20, 160, second, 14)


def lamp(d: Draw, main: str, second: str, r: random.Random) -> None:
    d.rectangle((376, 300, 392, 620), WOOD)
    d.ellipse((280, 600, 488, 650), WOOD)
    d.polygon([(300, 140), (468, 140), (560, 380), (208, 380)], main)
    d.line([(254, 260), (514, 260)], second, r.randint(8, 26))


def clock(d: Draw, main: str, second: str, r: random.Random) -> None:
    d.ellipse((174, 174, 594, 594), main)
    d.ellipse((214, 214, 554, 554), "#fffdf8")
    for hour in range(12):
        x, y = math.sin(hour * math.pi / 6), -math.cos(hour * math.pi / 6)
        d.line([(384 + 140 * x, 384 + 140 * y), (384 + 160 * x, 384 + 160 * y)], second, 10)
    for length, width in ((90, 18), (135, 10)):
        angle = r.uniform(0, 2 * math.pi)
        d.line([(384, 384), (384 + length * math.sin(angle), 384 - length * math.cos(angle))], "#333333", width)


def plant(d: Draw, main: str, second: str, r: random.Random) -> None:
    for _ in range(9):
        angle = r.uniform(-1.2, 1.2)
        x, y = 384 + 210 * math.sin(angle), 450 - 260 * math.cos(angle)
        d.line([(384, 480), (x, y)], "#4b7a45", 12)
        d.ellipse((x - 52, y - 40, x + 52, y + 40), r.choice(["#5d9455", "#4b7a45", "#79ad6c"]))
    d.polygon([(264, 460), (504, 460), (470, 650), (298, 650)], main)
    d.rectangle((250, 440, 518, 486), second)


def cushion(d: Draw, main: str, second: str, r: random.Random) -> None:
    d.rounded_rectangle((164, 184, 604, 604), 90, main)
    step = r.choice([56, 72, 88])
    for x in range(210, 570, step):
        d.line([(x, 200), (x, 588)], second, step // 3)


def chair(d: Draw, main: str, second: str, r: random.Random) -> None:
    for x, top in ((252, 440), (500, 440), (230, 170), (520, 170)):
        d.rectangle((x, top, x + 20, 670), WOOD)
    d.rounded_rectangle((226, 160, 544, 330 + r.randint(0, 60)), 36, main)
    d.rounded_rectangle((206, 430, 564, 490), 24, main)
    d.line([(250, 250), (520, 250)], second, 16)


def table(d: Draw, main: str, second: str, r: random.Random) -> None:
    spread = r.randint(0, 60)
    for x, foot in ((210, 210 - spread), (540, 540 + spread)):
        d.polygon([(x, 400), (x + 24, 400), (foot + 24, 660), (foot, 660)], WOOD)
    d.rounded_rectangle((120, 350, 648, 404), 20, main)
    d.rectangle((180, 404, 588, 440), second)


def rug(d: Draw, main: str, second: str, r: random.Random) -> None:
    for x in range(104, 664, 24):
        d.line([(x, 210), (x, 570)], second, 6)
    d.rectangle((100, 230, 668, 550), main)
    for inset in range(40, 150, r.choice([30, 40, 50])):
        d.rectangle((100 + inset, 230 + inset, 668 - inset, 550 - inset), outline=second, width=12)


def poster(d: Draw, main: str, second: str, r: random.Random) -> None:
    d.rectangle((190, 110, 578, 650), "#333333")
    d.rectangle((208, 128, 560, 632), second)
    d.ellipse((280, 180, 280 + r.randint(140, 220), 400), "#f2b66d")
    d.polygon([(208, 632), (208, 480), (r.randint(280, 360), 330), (470, 500), (560, 420), (560, 632)], main)


def tile(d: Draw, main: str, second: str, r: random.Random) -> None:
    inner = r.randint(30, 60)
    for x in range(0, CANVAS, 192):
        for y in range(0, CANVAS, 192):
            d.rectangle((x + 4, y + 4, x + 188, y + 188), second)
            d.polygon([(x + 96, y + 12), (x + 180, y + 96), (x + 96, y + 180), (x + 12, y + 96)], main)
            d.ellipse((x + 96 - inner, y + 96 - inner, x + 96 + inner, y + 96 + inner), second)


def fabric(d: Draw, main: str, second: str, r: random.Random) -> None:
    d.rectangle((0, 0, CANVAS, CANVAS), main)
    for _ in range(120):
        x, y, size = r.randint(0, CANVAS), r.randint(0, CANVAS), r.randint(12, 40)
        d.ellipse((x, y, x + size, y + size), r.choice([second, "#ffffff"]))


ARTISTS: tuple[Artist, ...] = (mug, vase, lamp, clock, plant, cushion, chair, table, rug, poster, tile, fabric)


def picture(artist: Artist, colour: str, seed: str) -> Image.Image:
    """Draw one picture: SIDE x SIDE, RGB; the seed decides its details."""
    main, second, wall = PALETTES[colour]
    image = Image.new("RGB", (CANVAS, CANVAS), wall)
    draw = ImageDraw.Draw(image)
    if artist not in {tile, fabric, poster, clock, rug}:
        draw.rectangle((0, 560, CANVAS, CANVAS), "#d9cfc2")
        draw.ellipse((190, 620, 578, 680), "#c4b8a8")
    artist(draw, main, second, random.Random(seed))
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def make(folder: Path) -> None:
    """Write pictures/*.jpg, catalog.jsonl and query.jpg (a mug that is not in the catalogue) into `folder`."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    rows = []
    for artist in ARTISTS:
        kind = artist.__name__
        for colour in PALETTES:
            path = f"pictures/{kind}-{colour}.jpg"
            picture(artist, colour, path).save(folder / path, quality=85)
            price = random.Random(path).randint(4, 120) + 0.99
            title = f"{colour.capitalize()} {kind}"
            rows.append(
                {"path": path, "label": kind, "product": True, "title": title, "colour": colour}
                | {"price": price, "price_currency": "EUR", "availability": "in stock"}
            )
    (folder / "catalog.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    query = picture(mug, "teal", "query").rotate(4, Image.Resampling.BICUBIC).crop((16, 16, 240, 240))
    query.save(folder / "query.jpg", quality=85)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
