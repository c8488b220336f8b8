"""Chairs; folding chairs and stools."""

# ruff: noqa: D102, RUF012 - what the properties mean is said in design.Design

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from data.homestore.design import Design, Model, choice, span
from data.homestore.finishes import METAL, UPHOLSTERY, WOOD, Finish, finish
from data.homestore.mesh import (
    Floats,
    Part,
    Parts,
    Surface,
    box,
    lathe,
    move,
    rounded,
    sheet,
    slab,
    tube,
    turn,
)
from data.homestore.products.common import arc, curve, legs


@dataclass(frozen=True)
class Chair(Design):
    """A dining or lounge chair."""

    category = "Chairs"
    noun = "Chair"
    price = (69, 690)
    styles = {
        "Windsor": "traditional",
        "Ladder-Back": "farmhouse",
        "Shell": "mid-century",
        "Wing": "traditional",
        "Cross-Back": "farmhouse",
        "Barrel": "contemporary",
    }

    shape: str = choice("Slat-Back", "Windsor", "Ladder-Back", "Shell", "Wing", "Cross-Back", "Barrel", "Parsons")
    width: float = span(0.44, 0.54)
    back: float = span(0.36, 0.5)
    wood: str = choice(*WOOD)
    seat: str = choice(*UPHOLSTERY)
    legs: str = choice("tapered", "straight", "turned")

    @property
    def lounge(self) -> bool:
        """Whether it is an armchair rather than a chair for a table."""
        return self.shape in ("Wing", "Barrel")

    @property
    def name(self) -> str:
        return f"{self.shape} {'Armchair' if self.lounge else 'Dining Chair'}"

    @property
    def main(self) -> str:
        return self.seat if self.shape in ("Shell", "Wing", "Barrel", "Parsons") else self.wood

    @property
    def second(self) -> str:
        return self.wood if self.main == self.seat else self.seat

    def model(self) -> Model:
        build = {"Wing": self._wing, "Barrel": self._barrel, "Shell": self._shell, "Parsons": self._parsons}
        return build.get(self.shape, self._wooden)()

    def _wooden(self) -> Model:
        wood, seat = finish(self.wood), finish(self.seat)
        w, d, z = self.width, self.width * 0.95, 0.45
        parts = legs(self.legs, w, d, z, wood, 0.035)[0::2] + self._posts(w, d)
        if self.legs == "straight":
            parts += [box((0.018, d - 0.09, 0.03), wood, (s * (w / 2 - 0.035), 0, 0.16)) for s in (-1, 1)]
        if self.shape == "Windsor":
            parts.append(slab(rounded(w, d, 0.12), 0.035, wood, (0, 0, z - 0.015)))
        else:
            parts.append(box((w, d, 0.035), wood, (0, 0, z - 0.03), 0.01))
            parts.append(box((w * 0.92, d * 0.88, 0.045), seat, (0, -0.01, z), 0.02, puff=0.015))
        top, lean = z + self.back, 0.07
        back_y = d / 2 - 0.03

        def at(t: float) -> float:
            return back_y + lean * t

        x = w / 2 - 0.035
        if self.shape in ("Slat-Back", "Windsor"):
            n = 7 if self.shape == "Windsor" else 5
            for k in range(n):
                fx = -x + 2 * x * (k + 1) / (n + 1)
                thick = 0.008 if n == 7 else 0.014
                parts.append(
                    tube(
                        [(fx, at(0), z), (fx, at(0.5) + 0.02, z + self.back / 2), (fx, at(1) + 0.004, top)],
                        thick,
                        wood,
                        square=n == 5,
                        segments=8,
                    )
                )
            parts.append(
                tube(
                    curve((-x - 0.02, at(1), top), (0, at(1) + 0.07, top + 0.05), (x + 0.02, at(1), top)),
                    0.02,
                    wood,
                    square=n == 5,
                )
            )
        elif self.shape == "Ladder-Back":
            for t in (0.3, 0.62, 0.94):
                parts += turn([box((2 * x, 0.016, 0.06), wood, (0, at(t), z + t * self.back - 0.03))], 0)
        else:
            parts.append(tube(curve((-x, at(1), top), (0, at(1) + 0.1, top + 0.1), (x, at(1), top)), 0.018, wood))
            for s in (-1, 1):
                parts.append(
                    tube(
                        curve((s * x, at(1), top), (0, at(0.6), z + 0.5 * self.back), (-s * x * 0.7, at(0), z)),
                        0.011,
                        wood,
                    )
                )
        return Model(parts)

    def _posts(self, w: float, d: float) -> Parts:
        wood = finish(self.wood)
        x, y = w / 2 - 0.035, d / 2 - 0.03
        return [
            tube(
                [(s * x, y + 0.05, 0), (s * x, y, 0.45), (s * x, y + 0.07, 0.45 + self.back)],
                [0.017, 0.021, 0.016],
                wood,
                square=self.shape != "Windsor",
            )
            for s in (-1, 1)
        ]

    def _parsons(self) -> Model:
        seat, w, d = finish(self.seat), self.width, self.width * 1.05
        parts = legs("straight", w, d, 0.38, finish(self.wood), 0.04)
        parts.append(box((w, d, 0.12), seat, (0, 0, 0.36), 0.03, puff=0.02))
        parts += turn(
            [box((w, 0.08, self.back + 0.12), seat, (0, d / 2 - 0.04, 0.38), 0.03, puff=0.0)],
            -6,
            "x",
            (0, d / 2, 0.4),
        )
        return Model(parts)

    def _shell(self) -> Model:
        seat = finish(self.seat)
        w, h = self.width + 0.04, self.back

        def surface(u: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
            side = (v - 0.5) * 2
            t = np.clip(u * 1.9, 0, 1)
            s = np.clip((u - 0.42) / 0.58, 0, 1)
            x = side * w / 2 * (0.86 + 0.14 * np.sin(math.pi * u)) * np.sqrt(np.maximum(1 - 0.35 * s**3, 0))
            y = -0.22 + 0.40 * t + 0.10 * s - 0.11 * side**2 * s
            z = 0.44 - 0.02 * np.sin(math.pi * t) + h * s**1.15 + 0.05 * side**2 * (1 - s) + 0.03 * (1 - t) * -1
            return x, y, z

        shell = sheet(surface, seat, 26, 16)
        under = move([sheet(surface, seat, 26, 16)], (0, 0.0, -0.018))
        rim = _rim(surface, seat)
        parts: Parts = [
            shell,
            *under,
            rim,
            *move(legs(self.legs, 0.36, 0.36, 0.42, finish(self.wood), 0.03), (0, -0.02, 0)),
        ]
        return Model(parts)

    def _wing(self) -> Model:
        seat, w, d = finish(self.seat), self.width + 0.26, 0.76
        parts = legs(self.legs, w, d, 0.2, finish(self.wood), 0.07)
        parts.append(box((w - 0.06, d - 0.08, 0.16), seat, (0, 0, 0.18), 0.03))
        parts.append(box((w - 0.24, d - 0.2, 0.13), seat, (0, -0.06, 0.33), 0.045, puff=0.03))
        parts += turn(
            [box((w - 0.16, 0.13, 0.72), seat, (0, d / 2 - 0.09, 0.30), 0.05, puff=0.0)],
            -9,
            "x",
            (0, d / 2, 0.3),
        )
        for s in (-1, 1):
            parts.append(box((0.12, d - 0.1, 0.40), seat, (s * (w / 2 - 0.06), -0.02, 0.2), 0.05))
            wing = [box((0.09, 0.30, 0.50), seat, (s * (w / 2 - 0.075), d / 2 - 0.17, 0.52), 0.042)]
            parts += turn(wing, -7, "x", (0, d / 2, 0.3))
        return Model(parts, pillow_spots=((0, 0.08, 0.46),))

    def _barrel(self) -> Model:
        seat, r, h = finish(self.seat), self.width / 2 + 0.14, 0.28 + self.back * 0.8
        parts = legs(self.legs, 2 * r * 0.8, 2 * r * 0.8, 0.16, finish(self.wood), 0.06)
        parts.append(lathe([(0, 0.14), (r - 0.03, 0.14), (r, 0.17), (r, 0.30), (0, 0.3)], seat, (0, 0, 0)))
        parts.append(
            lathe(
                [
                    (0, 0.29),
                    (r - 0.13, 0.29),
                    (r - 0.10, 0.33),
                    (r - 0.10, 0.40),
                    (r - 0.13, 0.435),
                    (r - 0.2, 0.45),
                    (0, 0.455),
                ],
                seat,
                (0, -0.02, 0),
            )
        )
        ring = arc(r - 0.055, -35, 215, 0, 26)
        for k, z in enumerate((0.22, 0.30, 0.38, 0.46, 0.54, 0.62)):
            if z < h + 0.05:
                parts.append(tube([(x, y, z) for x, y, _ in ring], 0.062 - 0.002 * k, seat, segments=14))
        return Model(parts, pillow_spots=((0, 0.12, 0.46),))


def _rim(surface: Surface, cover: Finish) -> Part:
    """A rod around the edge of a sheet, which gives it thickness."""
    t = np.linspace(0, 1, 20)
    edge = [
        *((0.0, a) for a in t),
        *((a, 1.0) for a in t[1:]),
        *((1.0, a) for a in t[::-1][1:]),
        *((a, 0.0) for a in t[::-1][1:-1]),
    ]
    points = [tuple(float(np.asarray(c)) for c in surface(np.asarray(u), np.asarray(v))) for u, v in edge]
    return tube([(x, y, z - 0.009) for x, y, z in points], 0.011, cover, closed=True, segments=8)


@dataclass(frozen=True)
class FoldingSeat(Design):
    """A folding chair, stool or director's chair."""

    category = "Folding Chairs & Stools"
    noun = "Folding Chair"
    price = (24, 140)
    styles = {"Bistro": "traditional", "Director's": "classic", "Camp": "outdoor"}

    shape: str = choice("Bistro", "Director's", "Camp", "Slatted")
    width: float = span(0.40, 0.50)
    frame: str = choice(*METAL[:6], "wood oak", "wood teak", "wood black", "wood birch")
    cover: str = choice(
        "cotton white",
        "cotton sand",
        "cotton navy",
        "cotton black",
        "cotton red",
        "cotton olive",
        "cotton mustard",
        "cotton teal",
        "leather cognac",
        "leather black",
    )

    @property
    def name(self) -> str:
        return "Folding Camp Stool" if self.shape == "Camp" else f"{self.shape} Folding Chair"

    @property
    def main(self) -> str:
        return self.cover if self.shape in ("Director's", "Camp") else self.frame

    @property
    def second(self) -> str:
        return self.frame if self.main == self.cover else ""

    def model(self) -> Model:
        frame, cover, w = finish(self.frame), finish(self.cover), self.width
        parts: Parts = []
        if self.shape == "Camp":
            z, d = 0.43, 0.38
            for k, s in enumerate((-1, 1)):
                inset = 0.018 * k
                for y in (-d / 2 + inset, d / 2 - inset):
                    parts.append(tube([(s * w / 2, y, 0.012), (-s * w / 2, y, z)], 0.013, frame, square=True))
                for x, h in ((s * w / 2 * (1 - 2 * 0.06 / z), 0.06), (-s * w / 2, z)):
                    parts.append(tube([(x, -d / 2, h), (x, d / 2, h)], 0.011, frame))
            parts.append(_sling(w, d - 0.02, z + 0.014, 0.05, cover))
            return Model(parts)
        if self.shape == "Director's":
            z, d, x = 0.46, 0.42, w / 2 + 0.05
            for y in (-d / 2, d / 2 - 0.05):
                for s in (-1, 1):
                    parts.append(
                        tube(
                            [
                                (s * x, y + (0.02 if s > 0 else 0), 0.03),
                                (-s * x * 0.92, y + (0.02 if s > 0 else 0), z),
                            ],
                            0.014,
                            frame,
                            square=True,
                        )
                    )
            for s in (-1, 1):
                parts.append(box((0.035, d + 0.06, 0.025), frame, (s * x, 0, 0.01)))
                parts.append(box((0.035, d, 0.025), frame, (s * x * 0.92, 0, z - 0.012)))
                for y in (-d / 2 + 0.03, d / 2 - 0.03):
                    parts.append(box((0.026, 0.026, 0.24 if y < 0 else 0.46), frame, (s * x * 0.95, y, z)))
                parts.append(box((0.05, d + 0.03, 0.022), frame, (s * x * 0.95, 0, z + 0.23), 0.008))
            parts.append(_sling(2 * x * 0.92, d - 0.06, z + 0.012, 0.03, cover))
            rest = _sling(2 * x * 0.95, 0.20, 0, 0.02, cover)
            parts += move(turn([rest], 90, "x"), (0, d / 2 - 0.015, z + 0.35))
            return Model(parts)
        z, d, back, metal = 0.46, 0.40, 0.40, self.frame.startswith("metal")
        thick = 0.010 if metal else 0.013
        for s in (-1, 1):
            x = s * w / 2
            parts.append(
                tube(
                    [(x, -d / 2 - 0.04, 0.01), (x, d / 2 - 0.06, z + 0.05), (x, d / 2 + 0.03, z + back)],
                    thick,
                    frame,
                    square=not metal,
                )
            )
            parts.append(
                tube(
                    [(s * (w / 2 - 0.03), d / 2 + 0.08, 0.01), (s * (w / 2 - 0.03), -d / 2 + 0.05, z - 0.01)],
                    thick,
                    frame,
                    square=not metal,
                )
            )
        parts.append(tube([(-w / 2, -d / 2 + 0.035, 0.12), (w / 2, -d / 2 + 0.035, 0.12)], 0.008, frame))
        parts.append(tube([(-w / 2 + 0.03, d / 2 + 0.03, 0.10), (w / 2 - 0.03, d / 2 + 0.03, 0.10)], 0.008, frame))
        slats = 7 if self.shape == "Bistro" else 4
        for k in range(slats):
            y = -d / 2 + 0.02 + (d - 0.08) * k / (slats - 1)
            parts.append(box((w - 0.03, (d - 0.1) / slats * 0.85, 0.014), frame, (0, y, z)))
        rails = (0.72, 0.95) if self.shape == "Bistro" else (0.5, 0.75, 1.0)
        for t in rails:
            y = d / 2 - 0.06 + 0.09 * (t * back - 0.05) / (back - 0.05)
            parts.append(box((w, 0.016, 0.055), frame, (0, y, z + t * back - 0.03), 0.006))
        return Model(parts)


def _sling(width: float, depth: float, z: float, sag: float, cover: Finish) -> Part:
    """A strip of cloth that hangs between two rails."""
    made = box((width, depth, 0.006), cover, (0, 0, 0), 0.003, puff=0.001)
    drop = sag * (1 - (made.vertices[:, 0] / (width / 2)) ** 2)
    made.vertices[:, 2] += z - drop
    return made
