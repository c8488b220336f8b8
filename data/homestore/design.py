"""A product's design: the parameters that its shape, its catalogue text and its near-alikes are all made
from.

Every category is a frozen dataclass whose fields list what they may be (`choice`, `span`); `draw` makes
one, `vary` makes others that differ in one field only, which is what near-alike products are.
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from data.homestore.mesh import Parts, Point

Mount = Literal["floor", "wall", "ceiling", "top", "pillow"]


@dataclass(frozen=True)
class Top:
    """A level surface other things may stand on: centre x, y, height z, width and depth, metres."""

    x: float
    y: float
    z: float
    width: float
    depth: float


@dataclass(frozen=True)
class Model:
    """A product's shape, where things may be put on it, its light bulbs, and where pillows lean (x, y, z)."""

    parts: Parts
    tops: tuple[Top, ...] = ()
    bulbs: tuple[Point, ...] = ()
    pillow_spots: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Design:
    """What all categories share. `shape` is the silhouette; `main` names the finish a shopper would name
    first.
    """

    category: ClassVar[str]
    noun: ClassVar[str]
    price: ClassVar[tuple[float, float]]  # usual range, in whole units of any currency
    styles: ClassVar[dict[str, str]] = {}  # silhouette -> style, "modern" where not listed

    shape: str

    @property
    def main(self) -> str:
        """The finish of the largest visible surface, in words."""
        raise NotImplementedError

    @property
    def second(self) -> str:
        """The finish of legs, frame or trim; empty where there is none."""
        return ""

    @property
    def mount(self) -> Mount:
        """Where it belongs in a room."""
        return "floor"

    @property
    def name(self) -> str:
        """What it is called in a catalogue, without brand and colour."""
        return f"{self.shape} {self.noun}" if self.shape else self.noun

    @property
    def pattern_words(self) -> str:
        """The pattern's name where it has one."""
        return ""

    @property
    def style(self) -> str:
        """The style its silhouette belongs to."""
        return self.styles.get(self.shape, "modern")

    def model(self) -> Model:
        """Its shape, standing on z = 0 (hanging below z = 0 from a ceiling; on a wall, against y = 0)."""
        raise NotImplementedError


@lru_cache(maxsize=256)
def model_of(design: Design) -> Model:
    """`design.model()`, kept: furnishing tries a product in many places. Its arrays must not be changed."""
    return design.model()


def choice(*values: str) -> Any:
    """A field that is one of these words."""
    return dataclasses.field(metadata={"choice": values})


def span(low: float, high: float, near: bool = True) -> Any:
    """A field that is a length between these, to the centimetre. `near`: near-alikes may differ in it.

    Not so for a length that scales the whole thing, which no picture can show.
    """
    return dataclasses.field(metadata={"span": (low, high), "near": near})


def count(low: int, high: int, near: bool = True) -> Any:
    """A field that is a whole number between these, both included."""
    return dataclasses.field(metadata={"count": (low, high), "near": near})


def _value(field: dataclasses.Field[Any], rng: random.Random) -> Any:
    if "choice" in field.metadata:
        return rng.choice(field.metadata["choice"])
    if "count" in field.metadata:
        return rng.randint(*field.metadata["count"])
    low, high = field.metadata["span"]
    return round(low + (high - low) * rng.random(), 2)


D = TypeVar("D", bound=Design)


def draw(kind: type[D], rng: random.Random) -> D:
    """A random design of this category."""
    return kind(**{f.name: _value(f, rng) for f in dataclasses.fields(kind)})


def vary(design: D, number: int, rng: random.Random) -> tuple[str, list[D]]:
    """The field that differs, and `number` near-alikes: `design` first, then others equal in every other
    field.

    "" and the design alone where no field has so many values that look different.
    """
    fields = [f for f in dataclasses.fields(design) if f.name != "shape" and f.metadata.get("near", True)]
    for field in rng.sample(fields, len(fields)):
        made = [design]
        for _ in range(40):
            other = dataclasses.replace(design, **{field.name: _value(field, rng)})
            far = all(_differ(getattr(other, field.name), getattr(m, field.name), field) for m in made)
            if far and looks(other) not in [looks(m) for m in made]:
                made.append(other)
            if len(made) == number:
                return field.name, made
    return "", [design]


@lru_cache(maxsize=4096)
def looks(design: Design) -> tuple[object, ...]:
    """What of a design can be seen: finishes and, to half a centimetre, sizes. A leg's style may not show
    on a drum.
    """
    parts = design.model().parts
    return tuple((p.finish, *np.round(np.ptp(p.vertices, axis=0) * 200).tolist(), len(p.faces)) for p in parts)


def _differ(a: Any, b: Any, field: dataclasses.Field[Any]) -> bool:
    """Different enough to see: another word, or a length that differs by a fifth of its span."""
    if "span" in field.metadata:
        low, high = field.metadata["span"]
        return bool(abs(a - b) >= (high - low) / 5)
    return bool(a != b)
