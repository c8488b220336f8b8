"""Small labelled pictures, a collection of them and manifests of queries, for the tests of evaluation."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from indexer import run
from visearch.collection import Collection


def picture(label: str, number: int, *, noise: int = 60) -> Image.Image:
    """A picture of a label: the label's own pattern of colours, and noise that only this picture has."""
    pattern = _random(label).integers(0, 256, (8, 8, 3))
    speckle = _random(f"{label} {number}").integers(-noise, noise + 1, (8, 8, 3))
    pixels = np.clip(pattern + speckle, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST)


def _random(text: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]))


def save(folder: Path, label: str, number: int, *, noise: int = 60) -> str:
    """Write a picture of a label; returns its name in the folder."""
    name = f"{label}-{number}.png"
    picture(label, number, noise=noise).save(folder / name)
    return name


def write_manifest(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """Write a CSV manifest."""
    rows = list(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def index(manifest: Path, collection: Path, model: Path) -> Collection:
    """Index a manifest and open the collection."""
    run.once(run.Job((str(manifest),), collection, str(model)))
    return Collection.open(collection)
