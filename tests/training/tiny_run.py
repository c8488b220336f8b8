"""A run of seconds: three colours to tell apart, a tiny network from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training.recipe import Backbone, Data, Embedding, Recipe, Retention, Schedule, Validation

CLASSES = ("blue", "green", "red")
CHANNEL = {"red": 0, "green": 1, "blue": 2}

EMBEDDING = Embedding(dim=32, groups=8, size=32, dropout=0.2)
SCHEDULE = Schedule(
    batch=6,
    warm_epochs=0,
    epochs=1,
    steps_per_epoch=6,
    optimizer="sgd",
    rate=0.05,
    backbone_rate=0.05,
    decay="cosine",
    batch_norm="frozen",
    precision="float32",
    workers=0,
)


def picture(colour: str, seed: int, side: int = 40) -> Image.Image:
    """Noise in which one channel is far brighter than the others."""
    pixels = np.random.default_rng(seed).integers(0, 60, (side, side, 3))
    pixels[..., CHANNEL[colour]] += 150
    return Image.fromarray(pixels.astype(np.uint8))


def folder_of_classes(folder: Path, each: int = 4, classes: tuple[str, ...] = CLASSES, seed: int = 0) -> Path:
    """`each` pictures of every colour, as class/number.png."""
    for place, colour in enumerate(classes):
        (folder / colour).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            picture(colour, seed + 100 * place + number).save(folder / colour / f"{number}.png")
    return folder


def loose_pictures(folder: Path, count: int = 5) -> Path:
    """Pictures without labels."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.csv").write_text("path\n" + "".join(f"{number}.png\n" for number in range(count)))
    for number in range(count):
        picture(CLASSES[number % 3], 900 + number).save(folder / f"{number}.png")
    return folder


def recipe_of(*sets: Data, validation: Path | None = None, seed: int = 0, **parts: Any) -> Recipe:
    """A recipe of the tiny network; `parts` are other fields of the recipe."""
    measured = () if validation is None else (Validation("colours", validation, "class"),)
    values: dict[str, Any] = {
        "backbone": Backbone("test_resnet"),
        "embedding": EMBEDDING,
        "retention": Retention(),
        "schedule": SCHEDULE,
    }
    return Recipe("tiny", data=sets, validation=measured, seed=seed, **(values | parts))
