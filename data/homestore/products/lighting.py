"""Lamps that stand, hang or sit on a table."""

# ruff: noqa: D102, RUF012 - what the properties mean is said in design.Design

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from data.homestore.design import Design, Model, Mount, choice, span
from data.homestore.finishes import BULB, METAL, TEXTILES, Finish, finish
from data.homestore.mesh import Part, Parts, Point, lathe, tube
from data.homestore.products.common import arc
from data.homestore.products.vases import pot

SHADES = tuple(f"paper {c}" for c in ("white", "cream")) + tuple(f"linen {c}" for c in TEXTILES)
GLOW = 0.22  # watts/m2 of a lit shade


def drum(low: float, high: float, height: float, stuff: Finish, at: Point) -> Part:
    """An open lampshade from its lower to its upper radius."""
    lit = replace(stuff, kind="paper", glow=GLOW)
    return lathe([(low, 0), (high, height), (high - 0.003, height), (low - 0.003, 0)], lit, at, 40)


def bulb(at: Point, radius: float = 0.03) -> Part:
    """A glowing bulb."""
    x, y, z = at
    ball = [(radius * math.sin(math.pi * k / 8), -radius * math.cos(math.pi * k / 8)) for k in range(9)]
    return lathe([(max(r, 0.0), h) for r, h in ball], BULB, (x, y, z), 16)


@dataclass(frozen=True)
class FloorLamp(Design):
    """A lamp that stands on the floor."""

    category = "Lighting"
    noun = "Floor Lamp"
    price = (59, 390)
    styles = {"Tripod": "scandinavian", "Arc": "mid-century", "Pharmacy": "industrial"}

    shape: str = choice("Classic", "Tripod", "Arc", "Globe", "Pharmacy")
    height: float = span(1.4, 1.65)
    frame: str = choice(*METAL, "wood oak", "wood walnut", "wood black")
    shade: str = choice(*SHADES)

    @property
    def main(self) -> str:
        return self.frame if self.shape in ("Globe", "Pharmacy") else self.shade

    @property
    def second(self) -> str:
        return "" if self.main == self.frame else self.frame

    def model(self) -> Model:
        frame, shade, h = finish(self.frame), finish(self.shade), self.height
        foot = lathe([(0, 0), (0.15, 0), (0.15, 0.015), (0.02, 0.03), (0, 0.03)], frame)
        parts: Parts = []
        if self.shape == "Tripod":
            z = h - 0.34
            for k in range(3):
                a = math.radians(90 + 120 * k)
                parts.append(
                    tube(
                        [
                            (0.3 * math.cos(a), 0.3 * math.sin(a), 0),
                            (0.03 * math.cos(a), 0.03 * math.sin(a), z),
                        ],
                        [0.012, 0.018],
                        frame,
                    )
                )
            parts += [
                lathe([(0, z - 0.02), (0.05, z - 0.02), (0.05, z + 0.02), (0, z + 0.02)], frame),
                tube([(0, 0, z), (0, 0, z + 0.12)], 0.008, frame),
            ]
            parts += [drum(0.24, 0.19, 0.30, shade, (0, 0, h - 0.30)), bulb((0, 0, h - 0.15))]
            return Model(parts, bulbs=((0, 0, h - 0.15),))
        if self.shape == "Arc":
            reach = 0.62
            base = lathe([(0, 0), (0.17, 0), (0.17, 0.05), (0, 0.05)], finish("marble white"), (reach / 2, 0, 0))
            path = [(reach / 2, 0, 0.04), (reach / 2, 0, h * 0.55)]
            path += [
                (reach / 2 - reach / 2 * (1 - math.cos(a)), 0, h * 0.55 + h * 0.52 * math.sin(a))
                for a in [math.pi * k / 14 for k in range(1, 12)]
            ]
            end = path[-1]
            dome = lathe(
                [(0.16, 0), (0.15, 0.05), (0.11, 0.1), (0.03, 0.14), (0, 0.14)],
                shade if shade.kind != "paper" else frame,
                (end[0], 0, end[2] - 0.15),
            )
            parts = [base, tube(path, 0.012, frame), dome, bulb((end[0], 0, end[2] - 0.11), 0.04)]
            return Model(parts, bulbs=((end[0], 0, end[2] - 0.17),))
        if self.shape == "Globe":
            parts = [
                foot,
                tube([(0, 0, 0.02), (0, 0, h - 0.26)], 0.011, frame),
                lathe([(0, 0), (0.05, 0), (0.06, 0.02), (0, 0.02)], frame, (0, 0, h - 0.27)),
            ]
            ball = Finish("paper", "eadfca", "white", glow=0.45)
            r = 0.13
            parts.append(
                lathe(
                    [(r * math.sin(math.pi * k / 12), -r * math.cos(math.pi * k / 12)) for k in range(13)],
                    ball,
                    (0, 0, h - 0.13),
                )
            )
            return Model(parts, bulbs=((0, 0, h + 0.05),))
        if self.shape == "Pharmacy":
            parts = [
                foot,
                tube([(0, 0, 0.02), (0, 0, h - 0.25)], 0.010, frame),
                tube([(0, 0, h - 0.28), (-0.3, 0, h - 0.08)], 0.008, frame),
            ]
            parts.append(
                lathe(
                    [(0.10, -0.10), (0.09, -0.03), (0.05, 0.02), (0.02, 0.03), (0, 0.03)],
                    frame,
                    (-0.3, 0, h - 0.1),
                )
            )
            parts.append(bulb((-0.3, 0, h - 0.16)))
            return Model(parts, bulbs=((-0.3, 0, h - 0.22),))
        parts = [
            foot,
            tube([(0, 0, 0.02), (0, 0, h - 0.14)], 0.012, frame),
            drum(0.22, 0.15, 0.26, shade, (0, 0, h - 0.28)),
            bulb((0, 0, h - 0.14)),
        ]
        return Model(parts, bulbs=((0, 0, h - 0.14),))


@dataclass(frozen=True)
class TableLamp(Design):
    """A lamp for a table."""

    category = "Lighting"
    noun = "Table Lamp"
    price = (29, 220)
    styles = {"Ginger": "traditional", "Banker": "classic", "Mushroom": "mid-century"}

    shape: str = choice("Gourd", "Column", "Ginger", "Mushroom", "Desk", "Ball")
    height: float = span(0.42, 0.58)
    base: str = choice(
        "ceramic white",
        "ceramic cobalt",
        "ceramic celadon",
        "ceramic terracotta",
        "ceramic black",
        "ceramic ochre",
        "wood oak",
        "wood walnut",
        "metal brass",
        "metal black",
        "metal copper",
        "marble white",
        "marble green",
        "lacquer mustard",
        "lacquer red",
        "lacquer sage",
    )
    shade: str = choice(*SHADES)

    @property
    def main(self) -> str:
        return self.base

    @property
    def second(self) -> str:
        return "" if self.shape in ("Mushroom", "Desk") else self.shade

    @property
    def name(self) -> str:
        return "Adjustable Desk Lamp" if self.shape == "Desk" else f"{self.shape} Table Lamp"

    @property
    def mount(self) -> Mount:
        return "top"

    def model(self) -> Model:
        base, shade, h = finish(self.base), finish(self.shade), self.height
        metal = finish("metal brass")
        if self.shape == "Mushroom":
            foot = lathe([(0, 0), (0.11, 0), (0.11, 0.015), (0.045, 0.05), (0.04, h * 0.55), (0, h * 0.55)], base)
            r = 0.19
            cap = [
                (r * math.cos(a), h * 0.55 + (h * 0.42) * math.sin(a))
                for a in [math.pi / 2 * k / 10 for k in range(10)]
            ]
            lit = Finish("paper", base.colour, base.name, glow=0.12)
            return Model(
                [foot, lathe([*cap, (0, h * 0.97)], lit, segments=40), bulb((0, 0, h * 0.66), 0.035)],
                bulbs=((0, 0, h * 0.5),),
            )
        if self.shape == "Desk":
            joint = (0.10, 0, h * 0.55)
            head = (-0.10, 0, h * 0.95)
            parts = [
                lathe([(0, 0), (0.085, 0), (0.085, 0.02), (0.02, 0.03), (0, 0.03)], base),
                tube([(0, 0, 0.02), joint], 0.008, base),
                tube([joint, head], 0.008, base),
            ]
            parts.append(tube([(joint[0] - 0.012, -0.015, joint[2]), (joint[0] - 0.012, 0.015, joint[2])], 0.014, base))
            parts.append(lathe([(0.085, -0.09), (0.07, -0.03), (0.03, 0.02), (0, 0.025)], base, head, 28))
            parts.append(bulb((head[0], 0, head[2] - 0.055), 0.028))
            return Model(parts, bulbs=((head[0], 0, head[2] - 0.1),))
        shade_h = h * 0.42
        body = h - shade_h - 0.02
        shape = {"Gourd": "bottle", "Ginger": "ginger", "Ball": "ball", "Column": "cylinder"}[self.shape]
        r = {"Gourd": 0.10, "Ginger": 0.085, "Ball": 0.105, "Column": 0.045}[self.shape]
        parts = [
            pot(shape, r, body, base, (0, 0, 0.015)),
            lathe([(0, 0), (r * 0.95, 0), (r * 0.95, 0.016), (0, 0.016)], metal),
            tube([(0, 0, body), (0, 0, body + shade_h * 0.6)], 0.006, metal),
            bulb((0, 0, h - shade_h * 0.45)),
        ]
        parts.append(drum(0.17, 0.125, shade_h, shade, (0, 0, h - shade_h)))
        return Model(parts, bulbs=((0, 0, h - shade_h * 0.45),))


@dataclass(frozen=True)
class Pendant(Design):
    """A lamp that hangs; it is built downwards from the ceiling at z = 0."""

    category = "Lighting"
    noun = "Pendant Light"
    price = (49, 420)
    styles = {
        "Dome": "industrial",
        "Chandelier": "traditional",
        "Rattan": "bohemian",
        "Globe Cluster": "mid-century",
    }

    shape: str = choice("Dome", "Drum", "Globe Cluster", "Rattan", "Chandelier", "Lantern")
    size: float = span(0.85, 1.15, near=False)
    drop: float = span(0.55, 0.8, near=False)
    frame: str = choice(*METAL)
    shade: str = choice(*SHADES)

    @property
    def main(self) -> str:
        return {"Drum": self.shade, "Rattan": "rattan natural"}.get(self.shape, self.frame)

    @property
    def second(self) -> str:
        return "" if self.main == self.frame else self.frame

    @property
    def name(self) -> str:
        return "Six-Arm Chandelier" if self.shape == "Chandelier" else f"{self.shape} Pendant Light"

    @property
    def mount(self) -> Mount:
        return "ceiling"

    def model(self) -> Model:
        frame, s, z = finish(self.frame), self.size, -self.drop
        parts: Parts = [lathe([(0, 0), (0.06, 0), (0.05, -0.03), (0, -0.03)][::-1], frame, segments=24)]
        cord = finish("metal black")
        if self.shape == "Globe Cluster":
            ball = Finish("paper", "eadfca", "white", glow=0.4)
            for k, (x, y, d) in enumerate(((-0.16, 0.02, 0.1), (0.14, -0.05, 0.0), (0.02, 0.12, -0.14))):
                r = (0.10, 0.085, 0.075)[k] * s
                at = (x * s, y * s, z + d)
                parts.append(
                    tube(
                        [(0, 0, -0.02), (x * s, y * s, -0.12), (x * s, y * s, at[2] + r)],
                        0.004,
                        cord,
                        segments=6,
                    )
                )
                parts.append(
                    lathe(
                        [(r * math.sin(math.pi * j / 10), -r * math.cos(math.pi * j / 10)) for j in range(11)],
                        ball,
                        at,
                        28,
                    )
                )
                parts.append(
                    lathe(
                        [(0, 0), (0.028, 0), (0.024, 0.04), (0, 0.045)],
                        frame,
                        (at[0], at[1], at[2] + r - 0.008),
                        16,
                    )
                )
            return Model(parts, bulbs=((0, 0, z - 0.3),))
        parts.append(tube([(0, 0, -0.02), (0, 0, z + 0.05)], 0.004, cord, segments=6))
        if self.shape == "Chandelier":
            parts += [
                tube([(0, 0, z + 0.06), (0, 0, z - 0.22)], 0.014, frame),
                lathe([(0, -0.27), (0.03, -0.25), (0.045, -0.2), (0.02, -0.14), (0, -0.14)], frame, (0, 0, z)),
            ]
            for k in range(6):
                a = 2 * math.pi * k / 6
                c, q, r = math.cos(a), math.sin(a), 0.32 * s
                parts.append(
                    tube(
                        [
                            (0, 0, z - 0.18),
                            (0.4 * r * c, 0.4 * r * q, z - 0.26),
                            (0.85 * r * c, 0.85 * r * q, z - 0.22),
                            (r * c, r * q, z - 0.12),
                        ],
                        0.008,
                        frame,
                    )
                )
                parts.append(
                    lathe(
                        [(0, 0), (0.03, 0.004), (0.034, 0.014), (0.012, 0.016), (0.012, 0.09), (0, 0.09)],
                        frame,
                        (r * c, r * q, z - 0.12),
                        16,
                    )
                )
                parts.append(bulb((r * c, r * q, z - 0.005), 0.02))
            return Model(parts, bulbs=((0, 0, z - 0.32),))
        if self.shape == "Lantern":
            w, h = 0.12 * s, 0.34 * s
            for zz in (z, z - h):
                ring = [(w * a, w * b, zz) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
                parts += [tube([ring[k], ring[(k + 1) % 4]], 0.008, frame, square=True) for k in range(4)]
            parts += [
                tube([(a * w, b * w, z), (a * w, b * w, z - h)], 0.008, frame, square=True)
                for a in (-1, 1)
                for b in (-1, 1)
            ]
            parts += [tube([(a * w, b * w, z), (0, 0, z + 0.12)], 0.006, frame) for a in (-1, 1) for b in (-1, 1)]
            parts += [
                tube([(0, 0, z + 0.1), (0, 0, z - h * 0.3)], 0.012, frame),
                bulb((0, 0, z - h * 0.42), 0.04),
            ]
            return Model(parts, bulbs=((0, 0, z - h - 0.05),))
        if self.shape == "Drum":
            parts += [
                drum(0.26 * s, 0.26 * s, 0.22, finish(self.shade), (0, 0, z - 0.22)),
                bulb((0, 0, z - 0.1), 0.04),
            ]
            parts += [
                tube(
                    [(0, 0, z + 0.01), (0.26 * s * math.cos(a), 0.26 * s * math.sin(a), z - 0.004)],
                    0.003,
                    frame,
                    segments=6,
                )
                for a in (0.5, 2.6, 4.7)
            ]
            return Model(parts, bulbs=((0, 0, z - 0.28),))
        if self.shape == "Rattan":
            r, weave = 0.26 * s, finish("rattan natural")
            for k in range(13):
                t = 0.08 + 0.84 * k / 12
                ring = [
                    (x, y, z - 0.30 * s + 0.32 * s * t)
                    for x, y, _ in arc(r * math.sin(math.pi * (0.22 + 0.75 * t)), 0, 360, 0, 36)[:-1]
                ]
                parts.append(tube(ring, 0.007, weave, closed=True, segments=6))
            for k in range(18):
                a = 2 * math.pi * k / 18
                rib = []
                for j in range(9):
                    t = 0.08 + 0.84 * j / 8
                    rr = r * math.sin(math.pi * (0.22 + 0.75 * t))
                    rib.append((rr * math.cos(a), rr * math.sin(a), z - 0.30 * s + 0.32 * s * t))
                parts.append(tube(rib, 0.004, weave, segments=6))
            parts.append(bulb((0, 0, z - 0.12), 0.045))
            return Model(parts, bulbs=((0, 0, z - 0.35),))
        r = 0.23 * s
        dome = [
            (r, -0.20 * s),
            (r * 0.97, -0.14 * s),
            (r * 0.8, -0.06 * s),
            (r * 0.45, 0.0),
            (0.035, 0.03),
            (0.03, 0.07),
            (0, 0.07),
        ]
        parts += [
            lathe(dome, frame, (0, 0, z), 44),
            lathe(
                [(r - 0.004, -0.198 * s), (r * 0.78, -0.065 * s), (r * 0.3, 0.0), (0, 0.01)],
                finish("lacquer white"),
                (0, 0, z - 0.004),
                44,
            ),
            bulb((0, 0, z - 0.1 * s), 0.045),
        ]
        return Model(parts, bulbs=((0, 0, z - 0.28 * s),))
