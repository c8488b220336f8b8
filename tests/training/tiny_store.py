"""A home store of a few drawn pictures in the layout of data/homestore, so that our tasks run in a moment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tests.labelled import picture

CATEGORIES = {"lamp": ("lamp-1", "lamp-2", "lamp-3"), "sofa": ("sofa-1", "sofa-2", "sofa-3")}
BOX = (0.25, 0.0, 0.75, 1.0)
SPECK = (0.0, 0.0, 0.05, 0.05)


def write_store(folder: Path) -> Path:
    """Six products, a photo of each, and a room for each with the product in BOX and another as a speck."""
    folder.mkdir(parents=True, exist_ok=True)
    products = [(category, product) for category, names in CATEGORIES.items() for product in names]
    catalogue, photos, rooms = [], [], []
    for number, (category, product) in enumerate(products):
        common = {"product": product, "category": category, "label": category, "split": "test"}
        shown = picture(product, 0, noise=10)
        shown.save(folder / f"{product}.png")
        catalogue.append(common | {"path": f"{product}.png"})
        picture(product, 1, noise=10).save(folder / f"photo-{product}.png")
        photos.append(common | {"path": f"photo-{product}.png", "box": [0, 0, 1, 1], "area": 1.0})
        scene = Image.new("RGB", (128, 64), "grey")
        scene.paste(shown, (32, 0))
        scene.save(folder / f"room-{number}.png")
        other = products[number - 1]
        objects = [
            {"product": product, "category": category, "box": list(BOX), "area": 0.5},
            {"product": other[1], "category": other[0], "box": list(SPECK), "area": 0.0025},
        ]
        rooms.append({"path": f"room-{number}.png", "split": "test", "objects": objects})
    for name, rows in (("catalog", catalogue), ("photos", photos), ("scenes", rooms)):
        _write(folder / f"{name}.jsonl", rows)
    return folder


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
