"""The project's own tasks, from the pictures of `../shared` and the home store's `bench` profile (DATA.md there).

Neither is part of the project. A family whose data is not here is unavailable, with the reason, and the others are
measured. `$VISEARCH_SHARED` and `$VISEARCH_HOMESTORE_BENCH` say where the data is, else `../shared` and `out/bench`.

    python -m training.tasks MODEL.onnx [OTHER.onnx] [--tasks lens,shop] [--json out.json]

prints a table of them, and of what the second model gains over the first.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from training import command
from training.retrieval import SHOWN, Region, Result, Task, compare, embed_with, measure_all, table
from visearch import images
from visearch.embedder import Embedder
from visearch.errors import UsageError
from visearch.files import read_limited
from visearch.images import Box

MIN_AREA = 0.01
"""Share of a home-store room that an object covers at least to be asked for."""

MIN_CROP = 0.02
"""Share of a COCO scene that a box covers at least to be asked for."""

LEFT_PART, RIGHT_PART = (0.0, 0.0, 0.65, 0.65), (0.35, 0.35, 1.0, 1.0)
"""Two parts of a picture that share a fifth of their area."""

Detect = Callable[[Path], Sequence[Box]]


@dataclass(frozen=True)
class Sources:
    """Where the data is; `detect` gives the boxes of the objects in a picture, None where there is no detector."""

    shared: Path
    bench: Path
    detect: Detect | None = None

    @classmethod
    def found(cls, detect: Detect | None = None) -> Sources:
        """As the environment says."""
        return cls(
            Path(os.environ.get("VISEARCH_SHARED") or "../shared"),
            Path(os.environ.get("VISEARCH_HOMESTORE_BENCH") or "out/bench"),
            detect,
        )

    def rows(self, name: str) -> list[Row]:
        """The rows of a data set's labels.csv. Raises Unavailable."""
        folder = self.shared / "datasets" / name
        try:
            with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
                return [Row(folder / row.pop("path"), row) for row in csv.DictReader(file)]
        except OSError:
            raise Unavailable(f"no {folder / 'labels.csv'}; VISEARCH_SHARED names the folder of data sets") from None

    def homestore(self, name: str) -> list[dict[str, Any]]:
        """The rows of one of the home store's truth files, with `path` whole. Raises Unavailable."""
        try:
            with (self.bench / name).open(encoding="utf-8") as file:
                rows: list[dict[str, Any]] = [json.loads(line) for line in file]
        except OSError:
            raise Unavailable(
                f"no {self.bench / name}; make it with `python -m data.homestore --profile bench --out out/bench`"
                " or name its folder in VISEARCH_HOMESTORE_BENCH"
            ) from None
        return [row | {"path": self.bench / row["path"]} for row in rows]


def installed_detector() -> Detect | None:
    """The boxes of the objects that the installed detector finds, best first; None where none is installed."""
    if importlib.util.find_spec("visearch.detector") is None:
        return None
    detector: Any = importlib.import_module("visearch.detector").find_detector()
    if detector is None:
        return None
    return lambda path: [each.box for each in detector.detect(images.decode(read_limited(path)))]


class Unavailable(Exception):
    """The data of a family of tasks is not here; the message says what is missing."""


@dataclass(frozen=True)
class Row:
    """One row of a labels.csv."""

    path: Path
    values: Mapping[str, str]

    @property
    def label(self) -> str:
        """The class."""
        return self.values["class"]

    def region(self) -> Region:
        """The whole picture under its class."""
        return Region(self.path, frozenset([self.label]))

    def among(self, *splits: str) -> bool:
        """Whether its split is one of these."""
        return self.values["split"] in splits


def _whole(rows: Sequence[Row]) -> tuple[Region, ...]:
    return tuple(row.region() for row in rows)


# Lens


def lens_iconic(sources: Sources) -> Iterator[Task]:
    """A phone photo of groceries finds the iconic picture of the product; classes never trained on apart."""
    rows, unseen = sources.rows("grocery"), _unseen(sources)
    iconic = _whole([row for row in rows if row.values["domain"] == "iconic"])
    for name, photos in _by_seen(rows, unseen).items():
        yield Task(f"lens_iconic_{name}", f"grocery photo finds its product picture, {name} classes", photos, iconic)


def lens_photos(sources: Sources) -> Iterator[Task]:
    """A phone photo of groceries finds photos of the same product: all others, and those of other visits to a shop.

    Most photos have near-duplicates taken seconds later. The data set's own folders `train` and `val` share none, so
    `apart` (from the one, against the other) is the harder and the fairer question.
    """
    rows, unseen = sources.rows("grocery"), _unseen(sources)
    everything = _whole([row for row in rows if row.values["domain"] == "natural"])
    apart = tuple(photo for photo in everything if _visit(photo) == "train")
    for name, photos in _by_seen(rows, unseen).items():
        title = f"grocery photo finds photos of its product, {name} classes"
        yield Task(f"lens_photos_{name}", title, photos, everything, leave_self_out=True)
        others = tuple(photo for photo in photos if _visit(photo) == "val")
        yield Task(f"lens_photos_apart_{name}", f"{title}, of other visits", others, apart)


def _visit(photo: Region) -> str:
    """The data set's own split: natural/<split>/<class>/<name>.jpg."""
    return photo.path.parts[-3]


def _unseen(sources: Sources) -> frozenset[str]:
    file = sources.shared / "datasets" / "grocery" / "unseen.txt"
    try:
        return frozenset(file.read_text(encoding="utf-8").split())
    except OSError:
        raise Unavailable(f"no {file}; VISEARCH_SHARED names the folder of data sets") from None


def _by_seen(rows: Sequence[Row], unseen: Collection[str]) -> dict[str, tuple[Region, ...]]:
    val = [row for row in rows if row.values["domain"] == "natural" and row.among("val")]
    return {
        "seen": _whole([row for row in val if row.label not in unseen]),
        "unseen": _whole([row for row in val if row.label in unseen]),
    }


def lens_homestore(sources: Sources) -> Iterator[Task]:
    """A phone photo in a rendered room finds the product in the catalogue: the very one, or one of its category."""
    catalogue, photos = sources.homestore("catalog.jsonl"), sources.homestore("photos.jsonl")
    for wanted, title in (("product", "finds the very product"), ("category", "finds its category")):
        corpus = _labelled(catalogue, wanted)
        for name, boxes in (("box", "true box"), ("whole", "whole photo")):
            queries = _labelled(photos, wanted)
            if name == "box":
                queries = tuple(
                    replace(query, box=_box(row["box"])) for query, row in zip(queries, photos, strict=True)
                )
            yield Task(
                f"lens_homestore_{wanted}_{name}",
                f"home-store phone photo ({boxes}) {title}",
                queries,
                corpus,
                one_answer=wanted == "product",
            )


def _labelled(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[Region, ...]:
    return tuple(Region(row["path"], frozenset([row[key]]), group=row["category"]) for row in rows)


# Shop-the-Look


def shop_homestore(sources: Sources) -> Iterator[Task]:
    """An object in a rendered room (its true box) finds the very product in the catalogue."""
    corpus = _labelled(sources.homestore("catalog.jsonl"), "product")
    queries = tuple(
        Region(room["path"], frozenset([each["product"]]), _box(each["box"]), each["category"])
        for room, each in _objects(sources)
    )
    title = "object of a rendered room finds the very product"
    yield Task("shop_homestore", title, queries, corpus, one_answer=True)
    title += ", searched in its category"
    yield Task("shop_homestore_in_category", title, queries, corpus, within_group=True, one_answer=True)


def _objects(sources: Sources) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Rooms of the test split with each of their objects that is large enough."""
    for room in sources.homestore("scenes.jsonl"):
        if room["split"] == "test":
            for each in room["objects"]:
                if each["area"] >= MIN_AREA:
                    yield room, each


def shop_ikea(sources: Sources) -> Iterator[Task]:
    """An object that a detector finds in a photographed room finds a product that is in the room."""
    rows = sources.rows("ikea")
    if sources.detect is None:
        raise Unavailable("needs a detector, and none is installed")
    with (sources.shared / "datasets" / "ikea" / "pairs.csv").open(newline="", encoding="utf-8") as file:
        rooms: dict[str, set[str]] = {}
        for pair in csv.DictReader(file):
            rooms.setdefault(pair["product_file"], set()).add(pair["room_file"])
    products = tuple(
        Region(row.path, frozenset(rooms.get(row.path.name, ()))) for row in rows if row.values["domain"] == "product"
    )
    objects = tuple(
        Region(row.path, frozenset([row.path.name]), box)
        for row in rows
        if row.values["domain"] == "scene" and row.among("val")
        for box in sources.detect(row.path)
    )
    title = "object found in a photographed room finds a product of the room"
    yield Task("shop_ikea", title, objects, products, one_answer=True)


# Flashlight and browsing


def flashlight_caltech(sources: Sources) -> Iterator[Task]:
    """A web picture finds others of its category, among categories never trained on."""
    yield _each_other(
        "flashlight_caltech",
        "web picture finds its category, unseen categories",
        [row for row in sources.rows("caltech101") if row.among("val")],
    )


def flashlight_crops(sources: Sources) -> Iterator[Task]:
    """A crop of a true box finds the picture it is from among distractors, and crops of the same category."""
    distractors = tuple(Region(row.path, frozenset()) for row in sources.rows("imagenet-samples"))
    yield from _crops("coco", _coco_crops(sources), distractors)
    try:
        rooms = tuple(
            Region(room["path"], frozenset([each["category"]]), _box(each["box"])) for room, each in _objects(sources)
        )
    except Unavailable:  # the half that needs no home store stands alone
        return
    yield from _crops("homestore", rooms, distractors)


def _crops(name: str, crops: tuple[Region, ...], distractors: tuple[Region, ...]) -> Iterator[Task]:
    pictures = dict.fromkeys(crop.path for crop in crops)
    yield Task(
        f"flashlight_crop_picture_{name}",
        f"crop finds the picture it is from, {name}",
        tuple(replace(crop, labels=frozenset([str(crop.path)])) for crop in crops),
        tuple(Region(path, frozenset([str(path)])) for path in pictures) + distractors,
        one_answer=True,
    )
    title = f"crop finds crops of its category in other pictures, {name}"
    yield Task(f"flashlight_crop_category_{name}", title, crops, crops, leave_self_out=True)


def _coco_crops(sources: Sources) -> tuple[Region, ...]:
    from PIL import Image

    crops = []
    for row in sources.rows("coco256"):
        with Image.open(row.path) as picture:
            width, height = picture.size
        for label, (left, top, right, bottom) in json.loads(row.values["extra"])["boxes"]:
            if (right - left) * (bottom - top) >= MIN_CROP * width * height:
                box = (left / width, top / height, min(1.0, right / width), min(1.0, bottom / height))
                crops.append(Region(row.path, frozenset([label]), box))
    return tuple(crops)


def browse_clothing(sources: Sources) -> Iterator[Task]:
    """A photo of a garment finds garments of its type."""
    rows = [row for row in sources.rows("clothing") if row.among("val")]
    yield _each_other("browse_clothing", "photo of a garment finds its type", rows)


# General knowledge: pictures that nothing was trained on


def general(sources: Sources) -> Iterator[Task]:
    """What a model that learned our tasks may forget: product types, and parts of one photo, never trained on."""
    ikea = [row for row in sources.rows("ikea") if row.values["domain"] == "product" and row.label]
    yield _each_other("general_ikea_types", "furniture picture finds its type, never trained on", ikea)
    fashion = sources.rows("fashion-products-small")
    yield Task(
        "general_fashion_types",
        "fashion picture (60x80 px) finds its type, never trained on",
        _whole([row for row in fashion if row.among("eval")]),
        _whole(fashion),
        leave_self_out=True,
    )
    scenes = [row for name in ("coco256", "ikea") for row in sources.rows(name) if row.values["domain"] == "scene"]
    photos = [row.path for row in (*scenes, *(row for row in sources.rows("caltech101") if row.among("val")))]
    yield Task(
        "general_parts",
        "upper left of a photo finds its lower right, photos never trained on",
        tuple(Region(path, frozenset([str(path)]), LEFT_PART) for path in photos),
        tuple(Region(path, frozenset([str(path)]), RIGHT_PART) for path in photos),
        one_answer=True,
    )


def _each_other(name: str, title: str, rows: Sequence[Row]) -> Task:
    return Task(name, title, _whole(rows), _whole(rows), leave_self_out=True)


def _box(values: Sequence[float]) -> Box:
    left, top, right, bottom = values
    return left, top, right, bottom


FAMILIES: dict[str, Callable[[Sources], Iterator[Task]]] = {
    "lens_iconic": lens_iconic,
    "lens_photos": lens_photos,
    "lens_homestore": lens_homestore,
    "shop_homestore": shop_homestore,
    "shop_ikea": shop_ikea,
    "flashlight_caltech": flashlight_caltech,
    "flashlight_crops": flashlight_crops,
    "browse_clothing": browse_clothing,
    "general": general,
}


def build(sources: Sources, names: Sequence[str] = ()) -> tuple[list[Task], dict[str, str]]:
    """The tasks of the families whose name begins with one of `names` (all, where none is given).

    Returns:
        The tasks, and family -> reason for those whose data is not here.

    Raises:
        UsageError: a name that no family begins with.
    """
    for name in names:
        if not any(family.startswith(name) for family in FAMILIES):
            raise UsageError(f"no tasks begin with {name!r}; there are {', '.join(FAMILIES)}")
    tasks: list[Task] = []
    unavailable: dict[str, str] = {}
    for family, make in FAMILIES.items():
        if names and not any(family.startswith(name) for name in names):
            continue
        try:
            tasks += make(sources)
        except Unavailable as reason:
            unavailable[family] = str(reason)
    return tasks, unavailable


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--tasks", "names", default="", help="Beginnings of the families to measure, separated by commas.")
@click.option("--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures here too.")
def main(models: tuple[Path, ...], names: str, file: Path | None) -> None:
    """Measure each of MODELS on the project's tasks; every model after the first is compared with the first."""
    tasks, unavailable = build(Sources.found(installed_detector()), [name for name in names.split(",") if name])
    first: dict[str, Result] | None = None
    figures: dict[str, Any] = {"unavailable": unavailable, "models": []}
    for path in models:
        model = Embedder(path)
        results = measure_all(tasks, embed_with(model, _say))
        click.echo(
            f"\n{path}: {model.card.name} {model.card.version}, {model.card.embedding_dim} bits, {model.precision}"
        )
        click.echo(table(results, first))
        figures["models"].append(
            {"path": str(path), "name": model.card.name, "version": model.card.version, "sha256": model.sha256}
            | {"tasks": {name: result.to_json() for name, result in results.items()}}
            | ({"gains": gains(first, results)} if first else {})
        )
        first = first or results
    for family, reason in unavailable.items():
        click.echo(f"{family}: not measured: {reason}", err=True)
    if file:
        file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def gains(before: Mapping[str, Result], after: Mapping[str, Result]) -> dict[str, dict[str, list[float]]]:
    """Task -> measure -> mean gain in binary and its 95% interval, fractions."""
    return {
        name: {measure: list(compare(before[name], result, measure)) for measure in SHOWN}
        for name, result in after.items()
        if name in before
    }


def _say(done: int, total: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{done}/{total} pictures embedded", nl=done == total, err=True)


if __name__ == "__main__":
    command.run(main)
