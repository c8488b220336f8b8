"""One row of a data set, whatever its format, and which rows a recipe asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from training.tables import Columns, as_text
from visearch.errors import BoxError
from visearch.images import WHOLE, Box, validate_box
from visearch.manifest import number_or_text


@dataclass(frozen=True)
class Row:
    """One picture or a box of one.

    Attributes:
        path: of the picture; None where the row is no use and `problem` says why.
        columns: what is known of it, as `heads`, `where` and `exclude` name it.
        box: the part of the upright picture that is meant.
    """

    path: Path | None
    columns: Mapping[str, object] = field(default_factory=dict)
    box: Box = WHOLE
    problem: str = ""


def wanted(columns: Mapping[str, object], where: Columns, exclude: Columns) -> bool:
    """Whether every column of `where` holds one of its values, and none of `exclude` does."""
    return all(not values_of(columns.get(key)).isdisjoint(spelled(values)) for key, values in where.items()) and all(
        values_of(columns.get(key)).isdisjoint(spelled(values)) for key, values in exclude.items()
    )


@cache
def spelled(values: tuple[str, ...]) -> frozenset[str]:
    """Values as they are written, and numbers as the columns of a CSV file have them too: 2.50 is 2.5 there."""
    return frozenset((*values, *(as_text(number_or_text(value)) for value in values)))


def values_of(value: object) -> frozenset[str]:
    """What a column holds, as texts: nothing, a value, or several."""
    if value is None:
        return frozenset()
    return frozenset(map(as_text, value if isinstance(value, list | tuple) else [value]))


def box_of(value: object) -> Box:
    """A box as manifests hold it: four numbers, or "x0,y0,x1,y1"; None is the whole picture.

    Raises:
        BoxError: it is neither.
    """
    if value is None:
        return WHOLE
    return validate_box(value.split(",") if isinstance(value, str) else value)


def boxed(path: Path, columns: Mapping[str, object], box: object) -> Row:
    """A row whose `box` is not yet known to be one."""
    try:
        return Row(path, columns, box_of(box))
    except BoxError as error:
        return Row(None, columns, problem=f"{path}: {error.message}")
