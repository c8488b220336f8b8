"""Data sets of a detector's recipe -> scenes: a picture, the boxes of its objects, and what each is called."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from training.data import HEAD_BYTES, unusable_pictures
from training.detection.recipe import Data, DetectorRecipe
from training.formats import pictures_below
from training.rows import wanted
from training.tables import as_text
from visearch.errors import BoxError, ImageError, UsageError
from visearch.formats import read_header
from visearch.images import Box, validate_box
from visearch.manifest import is_manifest, read_manifest

LABELS = "labels.csv"  # what makes a folder a manifest and its pictures


@dataclass(frozen=True)
class Thing:
    """An object of a scene: our label of it, its box in fractions of the upright picture, the share of the picture's
    pixels that show it (of its box, where nothing else is known), and the share of itself that shows."""

    label: str
    box: Box
    area: float
    visible: float = 1.0


@dataclass(frozen=True)
class Scene:
    """A picture and what is known to be in it."""

    path: Path
    things: tuple[Thing, ...] = ()


@dataclass(frozen=True)
class Cutout:
    """A picture of one product on white."""

    path: Path
    label: str


def read(data: Data, recipe: DetectorRecipe) -> tuple[Scene, ...]:
    """The scenes of a data set in its order; those whose picture cannot be read are left out.

    Raises:
        UsageError: it is not of its format, or has no usable picture of those asked for.
    """
    scenes = list(_scenes(data, recipe))
    if not scenes:
        raise UsageError(f"data.{data.name}: {data.path} has no pictures of those asked for")
    unusable = unusable_pictures(scene.path for scene in scenes)
    usable = tuple(scene for scene in scenes if scene.path not in unusable)
    if not usable:
        path, reason = next(iter(unusable.items()))
        raise UsageError(f"data.{data.name}: no picture of {len(scenes)} can be used; {path}: {reason}")
    return usable


def read_cutouts(path: Path, recipe: DetectorRecipe) -> tuple[Cutout, ...]:
    """The pictures of a catalogue: its first and second views.

    Raises:
        UsageError: not a manifest with the column `category`.
    """
    found = []
    for row in read_manifest(path):
        category, second = row.metadata.get("category"), row.metadata.get("second_view")
        if row.path is None or category is None:
            continue
        label = recipe.label(as_text(category))
        found.append(Cutout(row.path, label))
        if isinstance(second, str):
            found.append(Cutout(path.parent / second, label))
    unusable = unusable_pictures(each.path for each in found)
    usable = tuple(each for each in found if each.path not in unusable)
    if not usable:
        raise UsageError(f"views.products: {path} has no pictures with the column `category`")
    return usable


def labels_of(
    recipe: DetectorRecipe,
    start: tuple[str, ...],
    sets: Mapping[str, tuple[Scene, ...]],
    cutouts: tuple[Cutout, ...] = (),
) -> tuple[str, ...]:
    """The labels of a model, in order: those of categories, those of the start model, others of the data sets and of
    the products that are pasted."""
    named = [thing.label for scenes in sets.values() for scene in scenes for thing in scene.things]
    named += [each.label for each in cutouts]
    return tuple(dict.fromkeys([*recipe.categories, *map(recipe.label, start), *sorted(set(named))]))


def _scenes(data: Data, recipe: DetectorRecipe) -> Iterator[Scene]:
    for path, columns in _rows(data):
        if not wanted(columns, data.where, {}) or not data.part[0] <= _share(path) < data.part[1]:
            continue
        try:
            things = tuple(_things(path, columns, recipe)) if data.boxes else ()
        except (ValueError, TypeError, KeyError, BoxError, ImageError, OSError) as error:
            reason = getattr(error, "message", None) or f"{type(error).__name__} {error}"
            raise UsageError(
                f"data.{data.name}: {data.path}: objects of {path.name} cannot be read ({reason})"
            ) from None
        yield Scene(path, things)


def pictures(data: Data) -> Iterator[Path]:
    """The picture of each row, asked for or not; raises UsageError as `read`."""
    return (path for path, _ in _rows(data))


def _rows(data: Data) -> Iterator[tuple[Path, Mapping[str, object]]]:
    path = data.path / LABELS if (data.path / LABELS).exists() else data.path
    if is_manifest(path):
        yield from ((row.path, row.metadata) for row in read_manifest(path) if row.path is not None)
    elif path.is_dir() and not data.boxes:
        yield from ((picture, {}) for picture in pictures_below(path))
    else:
        raise UsageError(f"data.{data.name}: {path}: neither a manifest nor a folder of pictures without boxes")


def _share(path: Path) -> float:
    """A number of 0 to below 1 that is always the same for a file of this name."""
    return int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:6]) / 2**48


def _things(path: Path, columns: Mapping[str, object], recipe: DetectorRecipe) -> Iterator[Thing]:
    """What a row tells of its objects, in the three ways there are."""
    if "objects" in columns:
        yield from (_thing(json.loads(text), recipe) for text in _texts(columns["objects"]))
    elif "box" in columns:
        yield _thing(columns, recipe)
        yield from (_thing(json.loads(text), recipe) for text in _texts(columns.get("others", [])))
    else:
        width, height = _size(path)
        for name, (x0, y0, x1, y1) in json.loads(str(columns["extra"]))["boxes"]:
            box = validate_box([x0 / width, y0 / height, min(1, x1 / width), min(1, y1 / height)])
            yield Thing(recipe.label(name), box, (box[2] - box[0]) * (box[3] - box[1]))


def _thing(values: Mapping[str, object], recipe: DetectorRecipe) -> Thing:
    box = validate_box(values["box"])
    area, visible = (values.get(key) for key in ("area", "visible"))
    return Thing(
        recipe.label(as_text(values["category"])),
        box,
        float(area) if isinstance(area, int | float) else (box[2] - box[0]) * (box[3] - box[1]),
        float(visible) if isinstance(visible, int | float) else 1.0,
    )


def _texts(value: object) -> list[str]:
    """Nested objects are texts in what a manifest gives."""
    if not isinstance(value, list):
        raise ValueError("not a list of objects")
    return [str(each) for each in value]


def _size(path: Path) -> tuple[int, int]:
    """Width and height of an upright picture in pixels."""
    with path.open("rb") as file:
        header = read_header(file.read(HEAD_BYTES))
    if header is None:
        raise ValueError("the size of its picture is not known")
    return (header.height, header.width) if header.orientation > 4 else (header.width, header.height)
