"""Data sets in every format -> rows: folders of classes, manifests, scenes with objects.

The published ones are in layouts.py. Nothing here opens a picture.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from training import layouts
from training.rows import Row, boxed
from visearch.errors import UsageError
from visearch.formats import SUPPORTED_SUFFIXES
from visearch.manifest import is_manifest, read_manifest

LABELS = "labels.csv"  # what makes a folder a manifest and its pictures
PICTURE = "picture"
"""A column that every row has: its picture's path from the data set's folder."""


def rows(path: Path, format: str = "") -> Iterator[Row]:
    """Every row of a data set in its order, those of no use too. `format` "" is guessed from the files.

    Raises:
        UsageError: what the format needs is not there or not of that format.
    """
    folder = path if path.is_dir() else path.parent
    for row in _READERS[format or guess(path)](path):
        own = {} if row.path is None else {PICTURE: Path(os.path.relpath(row.path, folder)).as_posix()}
        yield replace(row, columns={**own, **row.columns})


def guess(path: Path) -> str:
    """The format of a data set, from the files that are there.

    Raises:
        UsageError: nothing is there, or a file of no known kind.
    """
    if path.is_dir():
        for format, names in layouts.SIGNS.items():
            if any((path / name).exists() for name in names):
                return format
        return "manifest" if (path / LABELS).exists() else "folder"
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    if path.suffix.lower() == ".json":
        return "stl"
    if not is_manifest(path):
        raise UsageError(f"{path}: neither a folder nor a .csv, .jsonl, .parquet or .json file")
    first = next((row for row in read_manifest(path) if row.path is not None), None)
    return "scenes" if first is not None and "objects" in first.metadata else "manifest"


def _folder(path: Path) -> Iterator[Row]:
    """`class/picture.jpg`, at any depth below the class. The column is `class`.

    A class without pictures is an error: it would be learnt from nothing.
    """
    if not path.is_dir():
        raise UsageError(f"{path}: not a folder of classes")
    folders = sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    if not folders:
        raise UsageError(f"{path}: no folders in it; a folder of classes holds one folder of pictures for each class")
    for folder in folders:
        pictures = list(pictures_below(folder))
        if not pictures:
            raise UsageError(f"{path}: class {folder.name} is empty: no pictures in {folder}")
        for picture in pictures:
            yield Row(picture, {"class": folder.name})


def pictures_below(folder: Path) -> Iterator[Path]:
    """Pictures in a folder and those in it, by their names; hidden ones are left out."""
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in SUPPORTED_SUFFIXES:
                yield Path(place, name)


def _manifest(path: Path) -> Iterator[Row]:
    """CSV, JSONL or Parquet. `box` is the part that is meant; `second_view` names another picture of the same thing."""
    path = path / LABELS if path.is_dir() else path
    for row in _manifest_rows(path):
        if row.path is None:
            yield row
            continue
        yield boxed(row.path, row.columns, row.columns.get("box"))
        second = row.columns.get("second_view")
        if isinstance(second, str):
            yield Row(path.parent / second, row.columns)


def _scenes(path: Path) -> Iterator[Row]:
    """A manifest of scenes with `objects: [{box, ...}]`: a row for each object, with its columns over the scene's."""
    for row in _manifest_rows(path):
        objects = row.columns.get("objects", [])
        if row.path is None or not isinstance(objects, list):
            yield Row(None, problem=row.problem or f"{row.path}: `objects` is not a list")
            continue
        scene = {key: value for key, value in row.columns.items() if key != "objects"}
        for text in objects:
            each = _object(text)
            if each is None:
                yield Row(None, problem=f"{row.path}: an object without a box")
                continue
            box = each.pop("box")
            yield boxed(row.path, {"domain": "scene"} | scene | each, box)


def _object(text: object) -> dict[str, object] | None:
    try:
        values = json.loads(text) if isinstance(text, str) else None  # manifests hand nested objects on as JSON
    except ValueError:
        return None
    return values if isinstance(values, dict) and "box" in values else None


def _manifest_rows(path: Path) -> Iterator[Row]:
    if not path.is_file() or not is_manifest(path):
        raise UsageError(f"{path}: not a .csv, .jsonl or .parquet file")
    for row in read_manifest(path):
        problem = row.problem and f"{path}: row {row.number}: {row.problem}"
        yield Row(row.path, row.metadata, problem=problem)


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "folder": _folder,
    "manifest": _manifest,
    "scenes": _scenes,
    **layouts.READERS,
}
