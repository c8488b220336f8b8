"""Clocks and televisions."""

# ruff: noqa: D102, RUF012 - what the properties mean is said in design.Design

from __future__ import annotations

import math
from dataclasses import dataclass

from data.homestore.design import Design, Model, Mount, choice, count, span
from data.homestore.finishes import Finish, Picture, finish
from data.homestore.mesh import Parts, box, lathe, move, tube, turn
from data.homestore.products.walls import picture_face


@dataclass(frozen=True)
class Clock(Design):
    """A wall or mantel clock."""

    category = "Clocks"
    noun = "Clock"
    price = (19, 190)
    styles = {
        "Pendulum": "traditional",
        "Station": "industrial",
        "Sunray": "mid-century",
        "Mantel": "traditional",
    }

    shape: str = choice("Minimal", "Station", "Sunray", "Pendulum", "Mantel")
    size: float = span(0.28, 0.46, near=False)
    case: str = choice(
        "wood oak",
        "wood walnut",
        "wood black",
        "metal black",
        "metal brass",
        "metal copper",
        "lacquer white",
        "lacquer sage",
        "lacquer red",
        "metal chrome",
    )
    dial: str = choice("white", "cream", "black", "navy", "green")
    time: int = count(0, 11, near=False)

    @property
    def main(self) -> str:
        return self.case

    @property
    def name(self) -> str:
        return "Mantel Clock" if self.shape == "Mantel" else f"{self.shape} Wall Clock"

    @property
    def mount(self) -> Mount:
        return "top" if self.shape == "Mantel" else "wall"

    def model(self) -> Model:
        stuff, s = finish(self.case), self.size
        if self.shape == "Mantel":
            w, h = s * 0.75, s * 0.62
            body = [
                box((w, 0.09, h), stuff, (0, 0, 0.02), 0.02),
                box((w + 0.05, 0.12, 0.025), stuff, (0, 0, 0), 0.006),
            ]
            return Model(body + move(turn(self._face(h * 0.40), 90, "x"), (0, -0.045, 0.02 + h / 2)))
        r = s / 2
        if self.shape == "Pendulum":
            w, h = s * 0.75, s * 1.7
            body = [
                box((w, 0.09, h), stuff, (0, -0.045, 0), 0.01),
                box((w + 0.06, 0.11, 0.03), stuff, (0, -0.055, h), 0.008),
                box((w + 0.03, 0.10, 0.03), stuff, (0, -0.05, -0.02), 0.008),
                box((w * 0.72, 0.004, h * 0.45), finish("wood black"), (0, -0.091, h * 0.06), 0.001),
            ]
            body += move(turn(self._face(w * 0.42), 90, "x"), (0, -0.09, h * 0.76))
            body.append(tube([(0, -0.1, h * 0.52), (0.02, -0.1, h * 0.2)], 0.005, finish("metal brass")))
            body += move(
                turn(
                    [lathe([(0, 0), (0.05, 0), (0.045, 0.01), (0, 0.014)], finish("metal brass"), segments=24)],
                    90,
                    "x",
                ),
                (0.022, -0.098, h * 0.18),
            )
            return Model(body)
        face = self._face(r * (0.55 if self.shape == "Sunray" else 0.92))
        if self.shape == "Sunray":
            face += [
                tube(
                    [
                        (r * 0.55 * math.cos(a), r * 0.55 * math.sin(a), 0.012),
                        (
                            r * (1.0 + 0.25 * (k % 2)) * math.cos(a),
                            r * (1.0 + 0.25 * (k % 2)) * math.sin(a),
                            0.012,
                        ),
                    ],
                    [0.008, 0.005],
                    stuff,
                    segments=8,
                )
                for k, a in enumerate(2 * math.pi * j / 24 for j in range(24))
            ]
        else:
            rim = 0.03 if self.shape == "Station" else 0.014
            face.append(
                lathe(
                    [
                        (r * 0.9, 0),
                        (r, 0),
                        (r + rim * 0.3, 0.012),
                        (r, 0.03 + rim * 0.4),
                        (r * 0.93, 0.03 + rim * 0.4),
                        (r * 0.91, 0.012),
                    ],
                    stuff,
                    segments=56,
                )
            )
        up = turn(face, 90, "x")
        low = min(float(p.vertices[:, 2].min()) for p in up)
        return Model(move(up, (0, 0, -low)))

    def _face(self, r: float) -> Parts:
        """The dial lying flat, numerals up +y, with marks and hands."""
        pale = self.dial in ("white", "cream")
        dial = Finish(
            "lacquer",
            {"white": "f0eee8", "cream": "e9ddc2", "black": "222226", "navy": "24344f", "green": "3c5a48"}[self.dial],
        )
        ink = Finish("lacquer", "1c1c1e" if pale else "eae4d2")
        parts: Parts = [
            lathe([(0, 0), (r, 0), (r, 0.012), (0, 0.0121)], dial, segments=56),
            lathe(
                [(r * 0.97, 0.0), (r * 1.03, 0.0), (r * 1.03, 0.016), (r * 0.97, 0.016)],
                finish(self.case),
                segments=56,
            ),
        ]
        for k in range(12):
            big = k % 3 == 0
            mark = box(
                (r * (0.05 if big else 0.025), r * (0.17 if big else 0.10), 0.002),
                ink,
                (0, r * 0.82 - r * (0.02 if big else 0), 0.0115),
                0.001,
            )
            parts += turn([mark], -30 * k)
        for angle, long, wide in ((-30 * self.time - 25, 0.5, 0.05), (-300, 0.75, 0.035)):
            parts += turn([box((r * wide, r * long, 0.003), ink, (0, r * long * 0.42, 0.016), 0.001)], angle)
        parts.append(lathe([(0, 0.012), (r * 0.05, 0.012), (r * 0.04, 0.021), (0, 0.022)], ink, segments=16))
        return parts


SHOWS = {"dusk": ("d98e5f", "f6d9a0", "7a5a6a", "3f4a63", "26324a"), "sea": ("8fc0d8", "f4f0e0", "4d87a8",
    "2c5d80", "1d3f5c"),
         "forest": ("bfd3c0", "f2ead0", "7fa07a", "4a7050", "2c4c38"), "off": ("101012", "101012", "101012",
         "101012", "101012")}  # fmt: skip


@dataclass(frozen=True)
class Television(Design):
    """A television."""

    category = "TVs"
    noun = "TV"
    price = (199, 1890)

    shape: str = choice("Slim", "Easel", "Classic", "Framed")
    inches: int = count(40, 58, near=False)
    case: str = choice("metal black", "metal steel", "lacquer white", "wood oak", "wood walnut", "metal white")
    show: str = choice(*SHOWS)

    @property
    def name(self) -> str:
        return f"{self.inches}-inch {self.shape} TV"

    @property
    def main(self) -> str:
        return self.case

    @property
    def mount(self) -> Mount:
        return "floor" if self.shape == "Easel" else "top"

    def model(self) -> Model:
        w = self.inches * 0.0254 * 0.872
        h, case, rim = (
            w * 9 / 16,
            finish(self.case),
            {"Slim": 0.008, "Classic": 0.03, "Framed": 0.028}.get(self.shape, 0.012),
        )
        z = {"Easel": 0.75, "Slim": 0.07}.get(self.shape, 0.06)
        screen = Finish("screen", "101012", picture=Picture("screen", SHOWS[self.show], 2))
        parts: Parts = [
            box((w + 2 * rim, 0.035, h + 2 * rim), case, (0, 0.0, z), 0.006),
            box((w + 0.004, 0.004, h + 0.004), finish("plastic black"), (0, -0.0172, z + rim - 0.002), 0.001),
            picture_face(w, h, -0.0196, z + rim, screen),
        ]
        if self.shape == "Slim":
            parts += [
                tube(
                    [
                        (s * w * 0.3 - 0.06 * s, -0.12, 0.008),
                        (s * w * 0.3, 0, z + 0.02),
                        (s * w * 0.3 + 0.02 * s, 0.12, 0.008),
                    ],
                    0.008,
                    case,
                )
                for s in (-1, 1)
            ]
        elif self.shape == "Easel":
            wood = finish("wood oak" if self.case != "wood walnut" else "wood walnut")
            parts += [tube([(s * w * 0.36, -0.05, 0), (s * w * 0.2, 0.035, z + h * 0.8)], 0.02, wood) for s in (-1, 1)]
            parts.append(tube([(0, 0.45, 0), (0, 0.05, z + h * 0.7)], 0.02, wood))
            parts.append(tube([(-w * 0.3, 0.03, z + 0.05), (w * 0.3, 0.03, z + 0.05)], 0.018, wood))
        elif self.shape == "Classic":
            parts += [
                box((0.3, 0.22, 0.014), case, (0, 0, 0), 0.006),
                box((0.07, 0.03, z), case, (0, 0.01, 0.01)),
            ]
        else:
            parts += [box((0.05, 0.2, z + 0.004), finish("metal black"), (s * w * 0.32, 0, 0), 0.006) for s in (-1, 1)]
        return Model(parts)
