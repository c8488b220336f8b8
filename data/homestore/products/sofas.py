"""Sofas and beds."""

# ruff: noqa: D102, RUF012 - what the properties mean is said in design.Design

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.homestore.design import Design, Model, choice, count, span
from data.homestore.finishes import BODY, UPHOLSTERY, WOOD, finish
from data.homestore.mesh import Floats, Parts, box, lathe, move, pillow, rounded, sheet, slab, tube, turn
from data.homestore.products.common import legs

BEDDING = (
    "cotton white",
    "linen sand",
    "cotton blue",
    "linen sage",
    "cotton blush",
    "linen charcoal",
    "linen mustard",
    "cotton navy",
    "linen terracotta",
    "cotton grey",
)


@dataclass(frozen=True)
class Sofa(Design):
    """A sofa, a loveseat, a chaise or a sleeper."""

    category = "Sofas"
    noun = "Sofa"
    price = (399, 2490)
    styles = {
        "Rolled-Arm": "traditional",
        "Chesterfield": "traditional",
        "Track-Arm": "contemporary",
        "Mid-Century": "mid-century",
        "Curved-Arm": "contemporary",
        "Wood-Frame": "scandinavian",
    }

    shape: str = choice("Track-Arm", "Rolled-Arm", "Chesterfield", "Mid-Century", "Curved-Arm", "Wood-Frame", "Chaise")
    seats: int = count(2, 3)
    seat_width: float = span(0.62, 0.72)
    back: float = span(0.36, 0.46)
    cover: str = choice(*UPHOLSTERY)
    wood: str = choice(*WOOD)
    legs: str = choice("tapered", "straight", "turned", "block")

    @property
    def name(self) -> str:
        kind = "Loveseat" if self.seats == 2 else "3-Seat Sofa"
        return f"{self.shape} {'Sectional' if self.shape == 'Chaise' else kind}"

    @property
    def main(self) -> str:
        return self.cover

    @property
    def second(self) -> str:
        return self.wood

    @property
    def width(self) -> float:
        """Outer width, metres."""
        return self.seats * self.seat_width + 2 * self._arm

    @property
    def _arm(self) -> float:
        return {"Mid-Century": 0.09, "Wood-Frame": 0.06, "Chesterfield": 0.2, "Rolled-Arm": 0.19}.get(self.shape, 0.16)

    def model(self) -> Model:
        cover, wood = finish(self.cover), finish(self.wood)
        w, d, arm, foot = self.width, 0.90, self._arm, 0.13
        seat_top, inner = 0.44, self.seats * self.seat_width
        if self.shape in ("Mid-Century", "Wood-Frame"):
            foot = 0.2
        parts = legs(self.legs, w, d, foot + 0.02, wood, 0.09)
        low = self.shape == "Chesterfield"
        back_top = seat_top + (0.30 if low else self.back)
        if self.shape == "Wood-Frame":
            parts.append(box((w, d, 0.06), wood, (0, 0, foot), 0.008))
            for s in (-1, 1):
                x = s * (w / 2 - 0.03)
                parts += [box((0.05, 0.05, 0.42), wood, (x, y, foot)) for y in (-d / 2 + 0.03, d / 2 - 0.05)]
                parts.append(box((0.06, d, 0.035), wood, (x, 0, foot + 0.41), 0.012))
            for z in (0.42, 0.6, 0.74):
                parts.append(box((w, 0.025, 0.05), wood, (0, d / 2 - 0.03, z)))
            parts += [box((0.05, 0.05, 0.62), wood, (s * (w / 2 - 0.03), d / 2 - 0.03, foot)) for s in (-1, 1)]
        else:
            parts.append(box((w - 0.03, d - 0.03, 0.31 - foot), cover, (0, 0, foot), 0.025))
            parts += self._arms(w, d, foot, seat_top, back_top)
            parts.append(box((inner + 0.06, 0.22, back_top - foot - 0.02), cover, (0, d / 2 - 0.12, foot), 0.06))
        if low:
            parts.append(
                tube(
                    [
                        (-w / 2 + 0.02, d / 2 - 0.13, back_top - 0.06),
                        (w / 2 - 0.02, d / 2 - 0.13, back_top - 0.06),
                    ],
                    0.1,
                    cover,
                    segments=20,
                )
            )
            rows = [(r, k) for r in range(2) for k in range(int(inner / 0.17))]
            for r, k in rows:
                x = -inner / 2 + 0.17 * (k + 0.5 + 0.5 * r)
                if x < inner / 2 - 0.03:
                    button = lathe([(0, 0), (0.018, 0.003), (0.013, 0.013), (0, 0.015)], cover, segments=12)
                    parts += move(turn([button], 90, "x"), (x, d / 2 - 0.232, 0.53 + 0.09 * r))
        front = -d / 2 + 0.02
        depth = d - 0.26
        for k in range(self.seats):
            x = -inner / 2 + (k + 0.5) * self.seat_width
            long = 0.55 if self.shape == "Chaise" and k == self.seats - 1 else 0.0
            if long:
                parts.append(
                    box(
                        (self.seat_width + arm, d + long - 0.2, 0.31 - foot),
                        cover,
                        (x + arm / 2, -long / 2 - 0.1, foot),
                        0.025,
                    )
                )
                parts += [
                    box((0.06, 0.06, foot), wood, (x + sx * 0.24 + arm / 2, -d / 2 - long + 0.08, 0)) for sx in (-1, 1)
                ]
            width = self.seat_width + (arm if long else 0)
            parts.append(
                box(
                    (width - 0.008, depth + long, 0.15),
                    cover,
                    (x + (arm / 2 if long else 0), front + (depth - long) / 2, seat_top - 0.145),
                    0.05,
                    puff=0.025,
                )
            )
            if not low:
                back = box((self.seat_width - 0.012, 0.17, self.back + 0.08), cover, (0, 0, 0), 0.065)
                swell = 1 - (back.vertices[:, 0] / (self.seat_width / 2)) ** 2
                back.vertices[:, 1] -= 0.035 * swell * (back.vertices[:, 1] < 0)
                parts += move(turn([back], -12, "x"), (x, d / 2 - 0.32, seat_top - 0.015))
        spots = tuple(
            (s * (inner / 2 - 0.26), d / 2 - 0.36 if not low else d / 2 - 0.30, seat_top + 0.02) for s in (-1, 1)
        )
        return Model(parts, pillow_spots=spots)

    def _arms(self, w: float, d: float, foot: float, seat_top: float, back_top: float) -> Parts:
        cover, arm = finish(self.cover), self._arm
        parts: Parts = []
        for s in (-1, 1):
            if self.shape == "Chaise" and s == 1:
                continue
            x = s * (w / 2 - arm / 2)
            if self.shape in ("Rolled-Arm", "Chesterfield"):
                top = back_top - 0.06 if self.shape == "Chesterfield" else seat_top + 0.16
                roll = 0.1 if self.shape == "Chesterfield" else 0.095
                parts.append(box((arm - 0.05, d - 0.04, top - foot), cover, (x, 0, foot), 0.03))
                parts.append(
                    tube(
                        [
                            (x + s * 0.01, -d / 2, top),
                            (x + s * 0.01, -d / 2 + 0.02, top),
                            (x + s * 0.01, d / 2 - 0.06, top),
                        ],
                        [roll * 0.93, roll, roll],
                        cover,
                        segments=24,
                    )
                )
            elif self.shape == "Curved-Arm":
                parts += move(
                    turn([slab(rounded(0.62 - foot, d - 0.04, 0.16), arm, cover)], 90, "y"),
                    (x - arm / 2, 0, (0.62 + foot) / 2),
                )
            else:
                top = 0.58 if self.shape == "Mid-Century" else 0.62
                parts.append(box((arm, d - 0.02, top - foot), cover, (x, 0, foot), 0.022))
        if self.shape == "Chaise":
            parts.append(box((arm, 0.30, back_top - foot - 0.02), cover, (w / 2 - arm / 2, d / 2 - 0.15, foot), 0.05))
        return parts


@dataclass(frozen=True)
class Bed(Design):
    """A bed, made up."""

    category = "Beds & Bed Frames"
    noun = "Bed"
    price = (199, 1490)
    styles = {
        "Canopy": "traditional",
        "Spindle": "farmhouse",
        "Winged": "contemporary",
        "Sleigh": "traditional",
        "Metal": "industrial",
    }

    shape: str = choice("Panel", "Spindle", "Upholstered", "Winged", "Canopy", "Metal", "Platform")
    width: float = span(0.95, 1.7)
    head: float = span(0.45, 0.75)
    wood: str = choice(*BODY)
    cover: str = choice(*UPHOLSTERY)
    bedding: str = choice(*BEDDING)

    @property
    def name(self) -> str:
        size = "Twin" if self.width < 1.2 else "Full" if self.width < 1.45 else "Queen"
        return f"{self.shape} {size} Bed"

    @property
    def main(self) -> str:
        if self.shape == "Metal":
            return "metal black"
        return self.cover if self.shape in ("Upholstered", "Winged") else self.wood

    @property
    def second(self) -> str:
        return ""

    def model(self) -> Model:
        w, d = self.width, 2.06
        stuff = finish(self.main)
        soft = self.shape in ("Upholstered", "Winged")
        y_head, y_foot = d / 2, -d / 2
        rail = 0.10 if self.shape == "Platform" else 0.16
        parts: Parts = []
        for s in (-1, 1):
            if self.shape == "Metal":
                parts.append(tube([(s * w / 2, y_foot, 0.28), (s * w / 2, y_head, 0.28)], 0.018, stuff))
            else:
                parts.append(
                    box(
                        (0.035 if not soft else 0.07, d, rail + (0.06 if soft else 0)),
                        stuff,
                        (s * (w / 2), 0, 0.18),
                        0.025 if soft else 0.006,
                    )
                )
        if self.shape != "Metal":
            parts.append(
                box(
                    (w, 0.035 if not soft else 0.07, rail + (0.06 if soft else 0)),
                    stuff,
                    (0, y_foot, 0.18),
                    0.025 if soft else 0.006,
                )
            )
        parts.append(box((w - 0.02, d - 0.02, 0.05), finish("wood birch"), (0, 0, 0.22)))
        parts += self._frame(w, y_head, y_foot)
        parts += self._made_up(w, d)
        spots = tuple((s * w * 0.2, d / 2 - 0.42, 0.60) for s in ((-1, 1) if w > 1.2 else (0,)))
        return Model(parts, pillow_spots=spots)

    def _frame(self, w: float, y_head: float, y_foot: float) -> Parts:
        stuff, top = finish(self.main), 0.5 + self.head
        parts: Parts = []
        if self.shape in ("Upholstered", "Winged"):
            parts.append(box((w + 0.08, 0.10, top - 0.08), stuff, (0, y_head + 0.05, 0.08), 0.04))
            n = max(3, round(w / 0.3))
            for k in range(n):
                x = -w / 2 + w * (k + 0.5) / n
                parts.append(box((w / n - 0.004, 0.07, top - 0.42), stuff, (x, y_head - 0.0, 0.36), 0.034))
            if self.shape == "Winged":
                parts += [
                    box((0.07, 0.26, top - 0.06), stuff, (s * (w / 2 + 0.045), y_head - 0.03, 0.06), 0.03)
                    for s in (-1, 1)
                ]
            dark = finish("wood black")
            return parts + [
                box((0.07, 0.07, 0.19), dark, (sx * (w / 2 - 0.08), y, 0), 0.01)
                for sx in (-1, 1)
                for y in (y_foot + 0.08, y_head - 0.08)
            ]
        if self.shape == "Metal":
            for y, h in ((y_head, top), (y_foot, 0.62)):
                path = [
                    (-w / 2, y, 0.0),
                    (-w / 2, y, h - 0.1),
                    (-w / 2 + 0.03, y, h - 0.03),
                    (-w / 2 + 0.1, y, h),
                    (w / 2 - 0.1, y, h),
                    (w / 2 - 0.03, y, h - 0.03),
                    (w / 2, y, h - 0.1),
                    (w / 2, y, 0.0),
                ]
                parts.append(tube(path, 0.018, stuff))
                parts.append(tube([(-w / 2, y, 0.36), (w / 2, y, 0.36)], 0.012, stuff))
                n = max(4, round(w / 0.16))
                parts += [
                    tube(
                        [(-w / 2 + w * k / n, y, 0.36), (-w / 2 + w * k / n, y, h - 0.005)],
                        0.007,
                        stuff,
                        segments=8,
                    )
                    for k in range(1, n)
                ]
            return parts
        posts = {"Canopy": 1.95, "Platform": 0.28}.get(self.shape, top + 0.04)
        for s in (-1, 1):
            parts.append(box((0.07, 0.07, posts), stuff, (s * w / 2, y_head + 0.02, 0), 0.01))
            foot = posts if self.shape == "Canopy" else 0.2 if self.shape == "Platform" else 0.5
            parts.append(box((0.07, 0.07, foot), stuff, (s * w / 2, y_foot, 0), 0.01))
            if self.shape == "Canopy":
                parts.append(box((0.05, y_head - y_foot, 0.05), stuff, (s * w / 2, 0, posts - 0.06), 0.008))
        if self.shape == "Canopy":
            parts += [box((w, 0.05, 0.05), stuff, (0, y, posts - 0.06), 0.008) for y in (y_foot, y_head)]
        if self.shape == "Spindle":
            parts += [box((w, 0.04, 0.06), stuff, (0, y_head + 0.02, z), 0.01) for z in (top - 0.03, 0.42)]
            n = round(w / 0.12)
            shape = [
                (0, 0),
                (0.010, 0),
                (0.016, 0.25),
                (0.010, 0.45),
                (0.018, 0.55),
                (0.010, 0.7),
                (0.015, 0.9),
                (0.0, 1),
            ]
            parts += [
                lathe(
                    [(r, t * (top - 0.45)) for r, t in shape],
                    stuff,
                    (-w / 2 + w * k / n, y_head + 0.02, 0.46),
                    12,
                )
                for k in range(1, n)
            ]
        elif self.shape == "Platform":
            parts.append(box((w + 0.3, 0.05, top - 0.30), stuff, (0, y_head + 0.03, 0.26), 0.01))
        else:
            parts.append(box((w, 0.03, top - 0.36), stuff, (0, y_head + 0.02, 0.30), 0.008))
            parts.append(box((w + 0.1, 0.09, 0.04), stuff, (0, y_head + 0.02, top - 0.04), 0.012))
            parts += [
                box((w / 2 - 0.12, 0.02, top - 0.62), stuff, (s * (w / 4 - 0.01), y_head - 0.006, 0.46), 0.01)
                for s in (-1, 1)
            ]
        if self.shape == "Panel":
            parts.append(box((w, 0.03, 0.3), stuff, (0, y_foot, 0.18), 0.008))
        return parts

    def _made_up(self, w: float, d: float) -> Parts:
        white, cover = finish("cotton white"), finish(self.bedding)
        z = 0.50
        parts: Parts = [box((w - 0.06, d - 0.05, z - 0.26), white, (0, 0, 0.26), 0.05)]
        hang = 0.20

        def duvet(u: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
            reach = (w - 0.02) / 2
            s = (v - 0.5) * 2 * (reach + hang)
            over = np.maximum(np.abs(s) - reach + 0.05, 0)
            x = np.sign(s) * np.where(over > 0, reach - 0.05 + 0.075 * np.tanh(over / 0.06), np.abs(s))
            along = u * (d * 0.70 + hang) - hang
            past = np.maximum(0.04 - along, 0)
            y = -d / 2 + np.where(past > 0, 0.04 - 0.07 * np.tanh(past / 0.05), along)
            drop = np.maximum(np.maximum(over, past) - 0.05, 0)
            ripple = 0.012 * np.sin(9 * u * 3.1 + 4 * v) * np.sin(7 * v * 3.1) + 0.009 * np.sin(23 * u + 17 * v)
            z_top = z + 0.045 + ripple - drop
            return x + 0.012 * np.sign(s) * np.sin(24 * u) * (over > 0.06), y, z_top

        parts.append(sheet(duvet, cover, 36, 44))
        fold = box((w + 0.05, 0.30, 0.075), cover, (0, -d / 2 + 0.70 * d, z + 0.005), 0.036)
        fold.vertices[:, 2] += 0.006 * (fold.vertices[:, 0] * 11 % 1.0 > 0.5)
        parts.append(fold)
        for x in (-w * 0.24, w * 0.24) if w > 1.2 else (0.0,):
            cushion = pillow((min(0.68, w * 0.46), 0.44, 0.19), white)
            parts += move(turn([cushion], 24, "x"), (x, d / 2 - 0.27, z + 0.03))
        return parts
