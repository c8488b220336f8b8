"""House plants in pots."""

# ruff: noqa: D102, RUF012 - what the properties mean is said in design.Design

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np

from data.homestore.design import Design, Model, Mount, choice, count, span
from data.homestore.finishes import BARK, DARK_LEAF, GLAZES, LEAF, LIGHT_LEAF, SOIL, Finish, finish
from data.homestore.mesh import Floats, Part, Parts, lathe, move, sheet, tube, turn
from data.homestore.products.vases import pot


def leaf(length: float, width: float, droop: float, stuff: Finish, cup: float = 0.15) -> Part:
    """A leaf from the origin along +x, bending down by `droop` of its length."""

    def surface(u: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
        half = width / 2 * np.sin(np.pi * u**0.75) ** 0.8
        side = (v - 0.5) * 2
        return (
            u * length * (1 - 0.3 * droop * u),
            side * half,
            length * (-droop * u**2 + 0.35 * u * (1 - u)) + cup * half * np.abs(side),
        )

    return sheet(surface, stuff, 8, 5)


@dataclass(frozen=True)
class Plant(Design):
    """A potted plant."""

    category = "Plants"
    noun = "Plant"
    price = (15, 159)
    styles = {"Cactus": "bohemian"}

    shape: str = choice("Fiddle-Leaf Fig", "Snake Plant", "Monstera", "Areca Palm", "Cactus", "Pothos", "Rubber Tree")
    size: float = span(0.85, 1.2, near=False)
    pot: str = choice(
        *(f"ceramic {c}" for c in GLAZES),
        "stoneware terracotta",
        "stoneware grey",
        "seagrass natural",
        "stoneware sand",
    )
    pot_shape: str = choice("cup", "bowl", "cylinder", "ball")
    growth: int = count(0, 99, near=False)

    @property
    def small(self) -> bool:
        """Whether it stands on a table rather than on the floor."""
        return self.shape in ("Cactus", "Pothos")

    @property
    def name(self) -> str:
        return f"Potted {self.shape}"

    @property
    def main(self) -> str:
        return self.pot

    @property
    def mount(self) -> Mount:
        return "top" if self.small else "floor"

    def model(self) -> Model:
        rng = random.Random(self.growth)
        s = self.size
        r, h = (0.075 * s, 0.12 * s) if self.small else (0.17 * s, 0.32 * s)
        if self.pot_shape == "bowl":
            h *= 0.75
        if self.pot_shape == "ball":
            r *= 1.2
        mouth = {"ball": 0.36, "bowl": 0.93}.get(self.pot_shape, 0.92)
        parts: Parts = [
            pot(self.pot_shape, r, h, finish(self.pot)),
            lathe([(0, h * 0.80), (r * mouth * 0.99, h * 0.9), (0, h * 0.92)], SOIL, segments=24),
        ]
        grown = {
            "Fiddle-Leaf Fig": _tree,
            "Rubber Tree": _tree,
            "Snake Plant": _swords,
            "Monstera": _monstera,
            "Areca Palm": _palm,
            "Cactus": _cactus,
            "Pothos": _pothos,
        }[self.shape](rng, s, self.shape, r)
        return Model(parts + move(grown, (0, 0, h * 0.88)))


def _place(made: Part, tilt: float, spin: float, at: tuple[float, float, float]) -> Parts:
    return move(turn(turn([made], -tilt, "y"), spin), at)


def _tree(rng: random.Random, s: float, kind: str, r: float) -> Parts:
    tall = 0.95 * s
    parts: Parts = [tube([(0, 0, -0.05), (0.02, 0.01, tall * 0.4), (-0.01, 0, tall)], [0.016, 0.013, 0.008], BARK)]
    n = 26
    wide, stuff = (0.62, LEAF) if kind == "Fiddle-Leaf Fig" else (0.42, DARK_LEAF)
    for k in range(n):
        t = 0.25 + 0.75 * k / (n - 1)
        long = (0.20 + 0.07 * rng.random()) * s * (1.1 - 0.35 * t)
        parts += _place(
            leaf(long, long * wide, 0.25 + 0.3 * rng.random(), stuff),
            15 + 55 * t**2 + 10 * rng.random(),
            137.5 * k,
            (0, 0, tall * t),
        )
    return parts


def _swords(rng: random.Random, s: float, kind: str, r: float) -> Parts:
    parts: Parts = []
    for k in range(15):
        long = (0.45 + 0.4 * rng.random()) * s
        spin, lean = 137.5 * k, 74 + 14 * rng.random()
        at = (0.5 * r * rng.random() * math.cos(k), 0.5 * r * rng.random() * math.sin(k), 0)
        parts += _place(leaf(long, 0.07 * s, 0.04, DARK_LEAF if k % 3 else LIGHT_LEAF, 0.5), lean, spin, at)
    return parts


def _monstera(rng: random.Random, s: float, kind: str, r: float) -> Parts:
    parts: Parts = []
    for k in range(13):
        a = math.radians(137.5 * k)
        reach, tall = (0.16 + 0.22 * rng.random()) * s, (0.35 + 0.5 * rng.random()) * s
        end = (reach * math.cos(a), reach * math.sin(a), tall)
        parts.append(tube([(0, 0, -0.02), (0.3 * end[0], 0.3 * end[1], tall * 0.7), end], 0.006, LEAF, segments=6))
        long = (0.26 + 0.1 * rng.random()) * s
        for side in (-38, 0, 38):  # three lobes make the cut leaf
            parts += _place(
                leaf(long * (1.0 if side == 0 else 0.82), long * 0.42, 0.45, LEAF if k % 2 else DARK_LEAF, 0.1),
                8,
                math.degrees(a) + side,
                end,
            )
    return parts


def _palm(rng: random.Random, s: float, kind: str, r: float) -> Parts:
    parts: Parts = []
    for k in range(11):
        a = math.radians(137.5 * k)
        reach, tall = (0.30 + 0.25 * rng.random()) * s, (0.75 + 0.4 * rng.random()) * s
        path = []
        for j in range(9):
            t = j / 8
            path.append((reach * t**1.6 * math.cos(a), reach * t**1.6 * math.sin(a), tall * (t * 1.25 - 0.35 * t**3)))
        parts.append(tube(path, [0.007 - 0.0005 * j for j in range(9)], LIGHT_LEAF, segments=6))
        for j in range(3, 9):
            for side in (-1, 1):
                parts += _place(
                    leaf((0.24 - 0.012 * j) * s, 0.026 * s, 0.5, LEAF, 0.2),
                    25,
                    math.degrees(a) + side * 52,
                    path[j],
                )
    return parts


def _cactus(rng: random.Random, s: float, kind: str, r: float) -> Parts:
    def column(radius: float, height: float) -> Part:
        made = lathe(
            [
                (0, 0),
                (radius * 0.85, 0),
                (radius, height * 0.3),
                (radius, height * 0.75),
                (radius * 0.7, height * 0.93),
                (radius * 0.3, height),
                (0, height * 1.01),
            ],
            LEAF,
            segments=48,
        )
        angle = [math.atan2(y, x) for x, y, _ in made.vertices]
        for i, a in enumerate(angle):
            made.vertices[i, :2] *= 1 + 0.09 * math.cos(10 * a)
        return made

    tall = 0.24 * s
    parts: Parts = [column(0.035 * s, tall)]
    for side, low in ((-1, 0.35), (1, 0.5)):
        x = side * 0.062 * s
        parts.append(
            tube(
                [(side * 0.02 * s, 0, tall * low), (x, 0, tall * low), (x, 0, tall * (low + 0.15))],
                0.016 * s,
                LEAF,
            )
        )
        parts += move([column(0.018 * s, tall * 0.36)], (x, 0, tall * (low + 0.08)))
    return parts


def _pothos(rng: random.Random, s: float, kind: str, r: float) -> Parts:
    parts: Parts = []
    for k in range(34):
        a = 137.5 * k
        long = (0.07 + 0.05 * rng.random()) * s
        up = rng.random()
        at = (
            0.04 * s * up * math.cos(math.radians(a)) * 1.5,
            0.04 * s * up * math.sin(math.radians(a)) * 1.5,
            0.10 * s * rng.random(),
        )
        parts += _place(
            leaf(long * 1.3, long * 0.9, 0.7, LIGHT_LEAF if k % 3 == 0 else LEAF),
            40 - 50 * rng.random() * 0.6,
            a,
            at,
        )
    return parts
