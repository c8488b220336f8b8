"""Labelled pictures, what an embedding model and a detector make of them (made once, kept in files), and what the modes
then find, by the functions that they are made of."""

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

from visearch import codes, images, modes, settings
from visearch.codes import F32, F64, I32, U8
from visearch.detector import MIN_SCORE, Detection, Detector, overlaps
from visearch.embedder import Embedder
from visearch.embedding import side_to_decode
from visearch.evaluate_modes import FOUND, SMALLEST
from visearch.images import WHOLE, Box
from visearch.machine import usable_cores
from visearch.scan import distances_between
from visearch.window import Window, blend, raised, relevant

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


# What Shop-the-Look and Lens find


class Rooms:
    """The objects of the rooms of the home store, the boxes that a detector finds, and what each of them finds."""

    def __init__(self, made: Models, sets: Sets) -> None:
        self.corpus = Corpus(made.embed("home store", sets.products.regions))
        self.labels, self.categories = sets.products.labels, sets.products.kinds
        self.truths = [[each for each in row["objects"] if each["area"] >= SMALLEST] for row in sets.room_rows]
        self.shows = [np.array([each["box"] for each in row["objects"]]) for row in sets.room_rows]
        self.found = [some[:20] for some in made.detect("rooms", sets.rooms)]
        everywhere = list(zip(sets.rooms, self.found, strict=True))
        detected = made.embed("boxes", [Region(path, each.box) for path, some in everywhere for each in some])
        self.detected = _dealt(detected, self.found)
        boxes = [Region(p, tuple(t["box"])) for p, some in zip(sets.rooms, self.truths, strict=True) for t in some]
        self.true = _dealt(made.embed("true boxes", boxes), self.truths)

    def place(self, query: F32, product: str, category: str | None, bonus: float) -> int:
        """At which place the product is found, from 0."""
        found = self.corpus.window(query)
        if category is not None and (self.categories == category).any():
            found = raised(found, self.corpus.window(query, self.categories == category), bonus)
        return int(np.flatnonzero(self.labels[found.item_ids] == product)[0])

    def places(self, least: float, bonus: float) -> tuple[NDArray[Any], Bool]:
        """Of each object the place of its product by the detected box that overlaps it most, -1 where none does by
        half; and whether the detector gives that box a category."""
        places, known = [], []
        for truths, some, rows in zip(self.truths, self.found, self.detected, strict=True):
            seen = [each for each in some if each.score >= least]
            for truth in truths:
                shared = overlaps(np.array([each.box for each in seen]).reshape(-1, 4), np.array([truth["box"]]))[:, 0]
                best = int(shared.argmax()) if seen else -1
                missed = best < 0 or shared[best] < FOUND
                category = None if missed else seen[best].category
                known.append(category is not None)
                score = 0.0 if missed else bonus * seen[best].score
                places.append(-1 if missed else self.place(rows[best], truth["product"], category, score))
        return np.array(places), np.array(known, np.bool_)

    def shown(self, least: float) -> tuple[list[int], list[bool]]:
        """Boxes a room, and whether each shows something that is for sale."""
        counts, right = [], []
        for some, boxes in zip(self.found, self.shows, strict=True):
            seen = np.array([each.box for each in some if each.score >= least]).reshape(-1, 4)
            counts.append(len(seen))
            right += (overlaps(seen, boxes).max(axis=1, initial=0) >= FOUND).tolist()
        return counts, right

    def true_places(self, bonus: float, category: Callable[[str], str | None]) -> NDArray[Any]:
        """Of each object the place of its product by its true box, where a detector says that category for certain."""
        pairs = zip(self.truths, self.true, strict=True)
        asked = [(row, truth) for truths, rows in pairs for row, truth in zip(rows, truths, strict=True)]
        return np.array([self.place(row, t["product"], category(t["category"]), bonus) for row, t in asked])


def _dealt(rows: F32, groups: Sequence[Sequence[object]]) -> list[F32]:
    return np.split(rows, np.cumsum([len(each) for each in groups])[:-1])


@dataclass(frozen=True)
class Photos:
    """Photos, what the detector sees in them, and whether items of a corpus are right answers: `right` bool [q, n]."""

    corpus: Corpus
    whole: F32
    found: list[list[Detection]]
    objects: dict[int, F32]  # of the photos with one: the most salient
    right: Bool
    itself: bool = False  # whether the photos are the corpus

    @cached_property
    def _windows(self) -> list[tuple[Window, Window | None, float]]:
        """Of each photo that of the whole, that of its object and the object's score."""
        windows = []
        for number, query in enumerate(self.whole):
            allowed = np.arange(self.right.shape[1]) != number if self.itself else None
            within = self.corpus.window(self.objects[number], allowed) if number in self.objects else None
            salient = modes.most_salient(self.found[number])
            windows.append((self.corpus.window(query, allowed), within, salient.score if salient else 0.0))
        return windows

    def hits(self, weight: float, scale: float) -> tuple[F64, F64]:
        """Whether the first match is right, and any of the first five, of each photo."""
        places = []
        for right, (whole, within, score) in zip(self.right, self._windows, strict=True):
            found = whole
            if within is not None and weight > 0:
                found = blend([whole, within], [1.0, weight * score], scale)
            places.append(right[found.item_ids[:5]])
        hits = np.array(places, np.float64)
        return hits[:, 0], hits.max(axis=1)


def salient_objects(made: Models, name: str, pictures: Pictures) -> tuple[list[list[Detection]], dict[int, F32]]:
    """The objects that Lens sees in each picture, and the embedding of the most salient by number of picture."""
    found = made.detect(name, pictures.paths)
    found = [[each for each in some if each.score >= MIN_SCORE] for some in found]
    salient = {number: each for number, some in enumerate(found) if (each := modes.most_salient(some))}
    regions = [Region(pictures.paths[number], each.box) for number, each in salient.items()]
    return found, dict(zip(salient, made.embed(f"{name} salient", regions), strict=True))
