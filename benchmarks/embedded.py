"""Labelled pictures, and what an embedding model and a detector make of them: made once, kept in files."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visearch import codes, images, settings
from visearch.codes import F32, F64, I32, U8
from visearch.detector import Detection, Detector
from visearch.embedder import Embedder
from visearch.embedding import side_to_decode
from visearch.images import WHOLE, Box
from visearch.machine import usable_cores
from visearch.scan import distances_between
from visearch.window import Window, relevant

Bool = NDArray[np.bool_]
Labels = NDArray[np.str_]

LEAST = 0.05  # score of the objects that are kept


def _saved(image: Image.Image, quality: int) -> bytes:
    stream = BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def _scaled(image: Image.Image, scale: float) -> Image.Image:
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


def _cropped(image: Image.Image, margin: float) -> Image.Image:
    x, y = round(margin * image.width), round(margin * image.height)
    return image.crop((x, y, image.width - x, image.height - y))


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG quality 75": lambda image: _saved(image, 75),
    "JPEG quality 40": lambda image: _saved(image, 40),
    "3/4 of the size": lambda image: _saved(_scaled(image, 0.75), 85),
    "half the size": lambda image: _saved(_scaled(image, 0.5), 85),
    "2% off each side": lambda image: _saved(_cropped(image, 0.02), 85),
    "5% off each side": lambda image: _saved(_cropped(image, 0.05), 85),
}


@dataclass(frozen=True)
class Region:
    """What is embedded: a box of a picture, or of a changed copy of it."""

    path: Path
    box: Box = WHOLE
    change: str = ""


@dataclass(frozen=True)
class Corpus:
    """Embeddings float32 [n, D] that are searched as an index does."""

    embeddings: F32

    @cached_property
    def codes(self) -> U8:
        """Their codes [n, D/8]."""
        return codes.pack(self.embeddings)

    @cached_property
    def _units(self) -> F32:
        units: F32 = self.embeddings / np.linalg.norm(self.embeddings, axis=1, keepdims=True)
        return units

    def shares(self, queries: F32) -> F64:
        """Share of the bits in which queries [q, D] differ from each: float64 [q, n]."""
        shares: F64 = distances_between(codes.pack(queries), self.codes) / queries.shape[1]
        return shares

    def window(self, query: F32, allowed: Bool | None = None) -> Window:
        """The window of a query [D] among the allowed rows; item ids are numbers of rows."""
        rows = np.arange(len(self.embeddings)) if allowed is None else np.flatnonzero(allowed)
        distances: I32 = distances_between(codes.pack(query[None]), self.codes[rows])[0]
        near = np.argsort(distances, kind="stable")[: int(settings.number("window"))]
        rows, distances = rows[near], distances[near]
        scores = (self._units[rows] @ (query / np.linalg.norm(query))).astype(np.float64)
        order = np.argsort(-scores, kind="stable")
        rows, scores = rows[order], scores[order]
        none = np.zeros(len(rows), np.int32)
        return Window(rows, none, distances[order], scores, self.codes[rows], relevant(scores), rows)


@dataclass(frozen=True)
class Models:
    """The two models, and what they made of pictures."""

    embedder: Embedder
    detector: Detector
    out: Path

    def embed(self, name: str, regions: Sequence[Region]) -> F32:
        """Embeddings float32 [n, D] of regions."""
        kept = self._kept(self.embedder.sha256, name, regions, ".npy")
        if not kept.exists():
            print(f"embedding {name}: {len(regions)} regions", file=sys.stderr)
            with ThreadPoolExecutor(usable_cores()) as pool:
                rows = list(pool.map(self._embed, regions))
            with kept.open("wb") as file:
                np.save(file, np.stack(rows))
        embeddings: F32 = np.load(kept)
        return embeddings

    def detect(self, name: str, paths: Sequence[Path]) -> list[list[Detection]]:
        """The objects of each picture, down to the smallest score."""
        kept = self._kept(self.detector.sha256, f"{name} objects", paths, ".json")
        if not kept.exists():
            print(f"detecting {name}: {len(paths)} pictures", file=sys.stderr)
            with ThreadPoolExecutor(usable_cores()) as pool:
                found = list(pool.map(self._detect, paths))
            kept.write_text(json.dumps([[list(vars(each).values()) for each in some] for some in found]))
        rows = json.loads(kept.read_text())
        return [[Detection(tuple(box), *rest) for box, *rest in some] for some in rows]

    def _kept(self, sha256: str, name: str, things: Sequence[object], suffix: str) -> Path:
        digest = hashlib.sha256("\n".join(map(str, things)).encode()).hexdigest()
        folder = self.out / sha256[:12]
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name.replace(' ', '-')}-{digest[:12]}{suffix}"

    def _embed(self, region: Region) -> F32:
        data = region.path.read_bytes()
        if region.change:
            with Image.open(BytesIO(data)) as image:
                data = CHANGES[region.change](image.convert("RGB"))
        side = side_to_decode(self.embedder.min_side(), objects=region.box != WHOLE)
        picture = images.decode(data, min_side=side)
        embedding: F32 = self.embedder.embed(self.embedder.prepare(picture, region.box)[None])[0]
        return embedding

    def _detect(self, path: Path) -> list[Detection]:
        picture = images.decode(path.read_bytes(), min_side=self.detector.min_side())
        return self.detector.detect(picture, min_score=LEAST)


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures of a set."""

    paths: tuple[Path, ...]
    labels: Labels
    kinds: Labels

    @classmethod
    def of(cls, folder: Path, rows: Iterable[dict[str, Any]], label: str, kind: str) -> Pictures:
        """Of the rows of a manifest."""
        rows = list(rows)
        columns = [np.array([str(row[key]) for row in rows], np.str_) for key in (label, kind)]
        return cls(tuple(folder / row["path"] for row in rows), columns[0], columns[1])

    def take(self, chosen: NDArray[Any]) -> Pictures:
        """Some of them."""
        paths = np.array(self.paths)[chosen]
        return Pictures(tuple(paths), self.labels[chosen], self.kinds[chosen])

    def some(self, count: int) -> Pictures:
        """So many of them, spread evenly."""
        return self.take(np.linspace(0, len(self.paths) - 1, min(count, len(self.paths))).astype(int))

    @property
    def regions(self) -> list[Region]:
        """Each as a whole."""
        return [Region(path) for path in self.paths]


class Sets:
    """The pictures, and where they lie."""

    def __init__(self, store: Path, shared: Path) -> None:
        def manifest(name: str) -> list[dict[str, Any]]:
            with (shared / "datasets" / name / "labels.csv").open(newline="", encoding="utf-8") as file:
                return list(csv.DictReader(file))

        def real(name: str, split: str, kind: str = "class") -> Pictures:
            rows = [row for row in manifest(name) if row["split"] == split]
            return Pictures.of(shared / "datasets" / name, rows, "class", kind)

        def home(name: str) -> list[dict[str, Any]]:
            return [json.loads(line) for line in (store / name).read_text(encoding="utf-8").splitlines()]

        self.groceries = real("grocery", "val", "extra")
        self.icons = real("grocery", "catalog", "extra")
        self.unseen = set((shared / "datasets" / "grocery" / "unseen.txt").read_text().split("\n"))
        self.web = real("caltech101", "val")
        self.clothes = real("clothing", "val")
        self.furniture = real("ikea", "catalog").some(300)
        natural = manifest("natural-free")
        self.natural = Pictures.of(shared / "datasets" / "natural-free", natural, "path", "path")
        catalogue = home("catalog.jsonl")
        self.products = Pictures.of(store, catalogue, "product", "category")
        self.groups = np.array([str(row["group"] or row["product"]) for row in catalogue])
        photos, self.room_rows = home("photos.jsonl"), home("scenes.jsonl")
        self.photos = Pictures.of(store, photos, "product", "category")
        self.photo_boxes = [Region(store / row["path"], tuple(row["box"])) for row in photos]
        self.rooms = tuple(store / row["path"] for row in self.room_rows)
