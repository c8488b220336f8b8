"""Candles and what holds them."""

# ruff: noqa: D102, RUF012 - what the properties mean is said in design.Design

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from data.homestore.design import Design, Model, Mount, choice, span
from data.homestore.finishes import FLAME, METAL, WICK, Finish, Picture, finish, painted
from data.homestore.mesh import Floats, Parts, Point, box, lathe, rounded, sheet, slab, tube


@dataclass(frozen=True)
class Candle(Design):
    """A candle or a set of candles."""

    category = "Candles"
    noun = "Candle"
    price = (9, 69)
    styles = {
        "Candlestick": "traditional",
        "Jar": "contemporary",
        "Candelabra": "traditional",
        "Lantern": "farmhouse",
    }

    shape: str = choice("Pillar", "Trio", "Jar", "Candlestick", "Candelabra", "Lantern")
    size: float = span(0.85, 1.25, near=False)
    wax: str = choice(
        "wax ivory",
        "wax white",
        "wax cream",
        "wax sand",
        "wax terracotta",
        "wax red",
        "wax sage",
        "wax navy",
        "wax blush",
        "wax charcoal",
        "wax mustard",
        "wax burgundy",
        "wax olive",
        "wax teal",
    )
    holder: str = choice(
        *METAL, "wood oak", "wood walnut", "ceramic white", "ceramic celadon", "marble white", "marble black"
    )

    @property
    def name(self) -> str:
        return {
            "Pillar": "Pillar Candle on Plate",
            "Trio": "Pillar Candle Trio",
            "Jar": "Jar Candle",
            "Candlestick": "Taper Candle Pair",
            "Candelabra": "Five-Arm Candelabra",
            "Lantern": "Candle Lantern",
        }[self.shape]

    @property
    def main(self) -> str:
        return self.holder if self.shape in ("Candelabra", "Lantern") else self.wax

    @property
    def second(self) -> str:
        return self.wax if self.main == self.holder else "" if self.shape == "Jar" else self.holder

    @property
    def mount(self) -> Mount:
        return "top"

    def model(self) -> Model:
        wax, stuff, s = finish(self.wax), finish(self.holder), self.size
        plate = [(0, 0), (1, 0), (1.04, 0.3), (1.1, 1.0), (1.02, 1.0), (0.95, 0.5), (0, 0.5)]
        if self.shape == "Pillar":
            parts = [
                lathe([(r * 0.075 * s, z * 0.014) for r, z in plate], stuff),
                *stick(0.04 * s, 0.17 * s, wax, (0, 0, 0.007)),
            ]
        elif self.shape == "Trio":
            parts = [slab(rounded(0.34 * s, 0.14 * s, 0.06 * s), 0.012, stuff)]
            for x, h in ((-0.105, 0.11), (0, 0.2), (0.105, 0.15)):
                parts += stick(0.038 * s, h * s, wax, (x * s, 0, 0.011))
        elif self.shape == "Jar":
            r, h = 0.05 * s, 0.10 * s
            glass = lathe(
                [(0, 0), (r * 0.95, 0), (r, 0.006), (r, h), (r * 0.96, h), (r * 0.95, 0.008), (0, 0.007)],
                finish("glass clear"),
            )
            label = sheet(
                lambda u, v: (r * 1.006 * _cos(v), -r * 1.006 * _sin(v), h * (0.2 + 0.45 * u)),
                painted("plaster", Picture("bordered", ("efe9dc", "4a423a", "8a7a66")), "label"),
                4,
                14,
            )
            parts = [glass, *stick(r * 0.93, h * 0.78, wax, (0, 0, 0.009)), label]
        elif self.shape == "Candlestick":
            parts = []
            for x, h in ((-0.07, 0.22), (0.07, 0.16)):
                parts += _holder(h * s, stuff, (x * s, 0, 0))
                parts += stick(0.011 * s, 0.24 * s, wax, (x * s, 0, h * s - 0.004))
        elif self.shape == "Candelabra":
            h = 0.26 * s
            parts = _holder(h, stuff, (0, 0, 0)) + stick(0.011 * s, 0.17 * s, wax, (0, 0, h - 0.004))
            for x in (-0.16, -0.08, 0.08, 0.16):
                cup = h - 0.02
                parts.append(
                    tube(
                        [
                            (0, 0, h * 0.5),
                            (x * s * 0.6, 0, h * 0.48),
                            (x * s * 0.95, 0, h * 0.62),
                            (x * s, 0, cup),
                        ],
                        0.006 * s,
                        stuff,
                    )
                )
                parts.append(
                    lathe(
                        [(0, -0.004), (0.02 * s, 0), (0.024 * s, 0.014), (0, 0.014)],
                        stuff,
                        (x * s, 0, cup),
                        16,
                    )
                )
                parts += stick(0.011 * s, 0.17 * s, wax, (x * s, 0, cup + 0.01))
        else:
            w, h = 0.17 * s, 0.28 * s
            parts = [box((w, w, 0.02), stuff, (0, 0, 0)), box((w, w, 0.02), stuff, (0, 0, h))]
            parts += [
                box((0.012, 0.012, h), stuff, (a * (w / 2 - 0.008), b * (w / 2 - 0.008), 0.01))
                for a in (-1, 1)
                for b in (-1, 1)
            ]
            parts.append(
                lathe(
                    [(0, h + 0.07 * s), (0.02, h + 0.07 * s), (w * 0.42, h + 0.02), (0, h + 0.02)][::-1],
                    stuff,
                    segments=4 * 6,
                )
            )
            parts.append(
                tube(
                    [
                        (0.03 * math.cos(a), 0, h + 0.095 * s + 0.03 * math.sin(a))
                        for a in [k * math.pi / 8 for k in range(16)]
                    ],
                    0.004,
                    stuff,
                    closed=True,
                    segments=6,
                )
            )
            parts += stick(0.036 * s, 0.13 * s, wax, (0, 0, 0.02))
        return Model(parts)


def _cos(v: Floats) -> Floats:
    return np.cos(math.pi * (0.15 + 0.7 * (1 - v)))


def _sin(v: Floats) -> Floats:
    return np.sin(math.pi * (0.15 + 0.7 * (1 - v)))


def stick(radius: float, height: float, wax: Finish, at: Point) -> Parts:
    """A candle that burns."""
    body = lathe(
        [
            (0, 0),
            (radius, 0),
            (radius, height - 0.003),
            (radius * 0.93, height),
            (radius * 0.8, height - 0.004),
            (0, height - 0.006),
        ],
        wax,
        at,
        24,
    )
    x, y, z = at[0], at[1], at[2] + height - 0.008
    wick = tube([(x, y, z), (x, y, z + 0.016)], 0.0014, WICK, segments=6)
    flame = lathe(
        [(0, 0), (0.0035, 0.004), (0.006, 0.012), (0.0045, 0.022), (0.0015, 0.032), (0, 0.036)],
        FLAME,
        (x, y, z + 0.012),
        12,
    )
    return [body, wick, flame]


def _holder(height: float, stuff: Finish, at: Point) -> Parts:
    profile = [
        (0, 0),
        (0.05, 0),
        (0.05, 0.008),
        (0.03, 0.018),
        (0.011, 0.035),
        (0.009, height * 0.4),
        (0.017, height * 0.48),
        (0.009, height * 0.56),
        (0.009, height * 0.85),
        (0.02, height * 0.93),
        (0.022, height),
        (0, height),
    ]
    return [lathe(profile, stuff, at, 24)]
