"""Contact sheets of a home store: `python -m data.homestore.sheets DIR --out SHEETS`. Needs only Pillow."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

COLUMNS = 6
Shown = tuple[Path, str, list[list[float]]]  # picture, caption, boxes
CAPTION = 16  # pixels below each picture
OVERVIEW = 1200  # pixels wide


def sheet(pictures: Sequence[Shown], columns: int = COLUMNS) -> Image.Image:
    """Pictures at full size in a grid, each with a caption and its boxes (fractions) drawn."""
    images = []
    for path, _, boxes in pictures:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        pen = ImageDraw.Draw(image)
        for x0, y0, x1, y1 in boxes:
            w, h = image.size
            pen.rectangle((x0 * w, y0 * h, x1 * w - 1, y1 * h - 1), outline=(230, 40, 90))
        images.append(image)
    width, height = max(i.width for i in images), max(i.height for i in images) + CAPTION
    columns = min(columns, len(images))
    page = Image.new("RGB", (columns * width, -(-len(images) // columns) * height), "white")
    pen = ImageDraw.Draw(page)
    for n, (image, (_, caption, _)) in enumerate(zip(images, pictures, strict=True)):
        x, y = n % columns * width, n // columns * height
        page.paste(image, (x, y))
        pen.text((x + 3, y + image.height + 2), caption[: width // 6], fill=(60, 60, 60))
    return page


def overview(store: Path) -> Image.Image:
    """One picture of it all: a product of each category, rooms with their boxes, photos."""
    firsts = {row["category"]: row for row in reversed(read(store / "catalog.jsonl"))}
    scenes, photos = read(store / "scenes.jsonl")[:8], read(store / "photos.jsonl")[:8]
    strips = [
        sheet([(store / row["path"], name, []) for name, row in sorted(firsts.items())], 8),
        sheet(
            [(store / r["path"], r["room"], [o["box"] for o in r["objects"] if o["area"] > 0.01]) for r in scenes], 4
        ),
        sheet([(store / r["path"], r["category"], [r["box"]]) for r in photos], 8),
    ]
    sized = [strip.resize((OVERVIEW, round(strip.height * OVERVIEW / strip.width))) for strip in strips]
    page = Image.new("RGB", (OVERVIEW, sum(strip.height for strip in sized)), "white")
    for n, strip in enumerate(sized):
        page.paste(strip, (0, sum(above.height for above in sized[:n])))
    return page


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """One sheet of each category, of rooms and photos as they are and with the boxes of the truth, one of it all."""
    parser = argparse.ArgumentParser(prog="python -m data.homestore.sheets", description=__doc__)
    parser.add_argument("store", type=Path, help="folder with catalog.jsonl")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rooms", type=int, default=20, help="how many rooms and photos")
    arguments = parser.parse_args()
    store, out = arguments.store, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    categories: dict[str, list[Shown]] = defaultdict(list)
    for row in read(store / "catalog.jsonl"):
        categories[row["category"]].append((store / row["path"], f"{row['product']} {row['title']}", []))
    for category, pictures in categories.items():
        sheet(pictures).save(out / f"{category.replace(' & ', '-').replace(' ', '-').lower()}.jpg", quality=88)
    for name in ("scenes", "photos"):
        rows = read(store / f"{name}.jsonl")[: arguments.rooms]
        plain: list[Shown] = [(store / r["path"], f"{Path(r['path']).stem} {r.get('room', '')}", []) for r in rows]
        boxed = [(store / r["path"], Path(r["path"]).stem, [o["box"] for o in r.get("objects", [r])]) for r in rows]
        sheet(plain, 4).save(out / f"{name}.jpg", quality=88)
        sheet(boxed, 4).save(out / f"{name}-boxes.jpg", quality=88)
    overview(store).save(out / "overview.jpg", quality=82)
    print(f"{len(list(out.glob('*.jpg')))} sheets in {out}")


if __name__ == "__main__":
    main()
