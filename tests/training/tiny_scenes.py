"""Rooms of coloured rectangles on black, in the layouts that detectors are trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from training.detection.recipe import Data, DetectorRecipe, Schedule, Views

COLOURS = {"lamp": (255, 0, 0), "sofa": (0, 255, 0)}
CATEGORIES = {"lamp": "Lighting", "sofa": "Sofas"}
WIDTH, HEIGHT = 80, 60

Box = tuple[float, float, float, float]
SCHEDULE = Schedule(
    steps=6,
    batch=2,
    sizes=(64,),
    ramp=2,
    ema=0.0,
    validate_every=3,
    precision="float32",
    workers=0,
    checkpoint_minutes=0,
)
PLAIN = Views(mosaic=0.0, jitter=0.0, zoom=1.2)


def room(path: Path, *objects: tuple[str, Box], size: tuple[int, int] = (WIDTH, HEIGHT)) -> dict[str, Any]:
    """Draw a room; its row of scenes.jsonl."""
    image = Image.new("RGB", size)
    for label, (x0, y0, x1, y1) in objects:
        box = (round(x0 * size[0]), round(y0 * size[1]), round(x1 * size[0]) - 1, round(y1 * size[1]) - 1)
        ImageDraw.Draw(image).rectangle(box, COLOURS[label])
    image.save(path)
    rows = [
        {"category": CATEGORIES[label], "box": list(box), "area": (box[2] - box[0]) * (box[3] - box[1]), "visible": 1.0}
        for label, box in objects
    ]
    return {"path": path.name, "split": "train", "objects": rows}


def write_rooms(folder: Path, count: int = 6, seed: int = 0) -> Path:
    """`count` rooms with a lamp and a sofa each; returns scenes.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        x, y = random.integers(1, 4, 2) / 10
        objects = ("lamp", (x, y, x + 0.2, y + 0.3)), ("sofa", (0.6, y + 0.2, 0.95, y + 0.5))
        rows.append(room(folder / f"room-{number}.png", *objects))
    path = folder / "scenes.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def recipe_of(*data: Data, **parts: Any) -> DetectorRecipe:
    """A recipe without a start model; `parts` are other fields of it."""
    values: dict[str, Any] = {"size": 64, "schedule": SCHEDULE, "views": PLAIN} | parts
    return DetectorRecipe("tiny", CATEGORIES, data, **values)
