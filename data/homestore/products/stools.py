"""Bar stools, benches, ottomans."""

# ruff: noqa: D102, RUF012 - what the properties mean is said in design.Design

from __future__ import annotations

import math
from dataclasses import dataclass

from data.homestore.design import Design, Model, Top, choice, span
from data.homestore.finishes import BODY, METAL, UPHOLSTERY, WOOD, finish
from data.homestore.mesh import Parts, box, lathe, move, tube
from data.homestore.products.common import arc, legs


@dataclass(frozen=True)
class BarStool(Design):
    """A stool for a table or a bar."""

    category = "Table & Bar Stools"
    noun = "Bar Stool"
    price = (49, 320)
    styles = {"Swivel": "industrial", "Saddle": "farmhouse", "Backed": "contemporary"}

    shape: str = choice("Round", "Swivel", "Saddle", "Backed")
    height: float = span(0.62, 0.78)
    width: float = span(0.34, 0.42)
    frame: str = choice(*WOOD, *METAL)
    seat: str = choice(*UPHOLSTERY)

    @property
    def main(self) -> str:
        return self.frame if self.shape == "Saddle" else self.seat

    @property
    def second(self) -> str:
        return "" if self.shape == "Saddle" else self.frame

    def model(self) -> Model:
        frame, seat, w, z = finish(self.frame), finish(self.seat), self.width, self.height
        r = w / 2
        parts: Parts = []
        if self.shape == "Swivel":
            parts.append(
                lathe(
                    [
                        (0, 0),
                        (r * 1.12, 0),
                        (r * 1.12, 0.012),
                        (0.05, 0.035),
                        (0.028, 0.06),
                        (0.028, z - 0.06),
                        (0.07, z - 0.02),
                        (0, z - 0.02),
                    ],
                    frame,
                )
            )
            parts.append(tube(arc(r * 0.8, 180, 360, 0.24, 20), 0.010, frame, segments=8))
            parts += [tube([(s * r * 0.8, 0, 0.24), (0, 0, 0.24)], 0.009, frame, segments=8) for s in (-1, 1)]
        else:
            foot = r * 0.98
            tip = r * 0.62
            corners = [(a, b) for a in (-1, 1) for b in (-1, 1)]
            for a, b in corners:
                parts.append(
                    tube(
                        [(a * foot, b * foot, 0), (a * tip, b * tip, z - 0.03)],
                        [0.014, 0.019],
                        frame,
                        square=self.shape == "Backed",
                    )
                )
            t = 0.25 / z
            reach = foot + (tip - foot) * t
            ring = [
                (-reach, -reach, 0.25),
                (reach, -reach, 0.25),
                (reach, reach, 0.25),
                (-reach, reach, 0.25),
            ]
            for k in range(4):
                parts.append(tube([ring[k], ring[(k + 1) % 4]], 0.010, frame, segments=8))
        if self.shape == "Saddle":
            top = box((w * 1.12, w * 0.75, 0.045), frame, (0, 0, 0), 0.018, puff=0.001)
            top.vertices[:, 2] += z - 0.04 + 0.035 * (top.vertices[:, 0] / (w * 0.56)) ** 2
            parts.append(top)
        else:
            parts.append(
                lathe(
                    [
                        (0, z - 0.03),
                        (r - 0.02, z - 0.03),
                        (r, z - 0.01),
                        (r, z + 0.03),
                        (r - 0.02, z + 0.055),
                        (r - 0.06, z + 0.066),
                        (0, z + 0.07),
                    ],
                    seat,
                )
            )
        if self.shape == "Backed":
            ring = arc(r + 0.005, 5, 175, 0, 18)
            for k in range(3):
                parts.append(tube([(x, y, z + 0.17 + 0.05 * k) for x, y, _ in ring], 0.032, seat, segments=12))
            for angle in (35, 145):
                px, py = (
                    (r - 0.01) * math.cos(math.radians(angle)),
                    (r - 0.01) * math.sin(math.radians(angle)),
                )
                parts.append(tube([(px * 0.8, py * 0.8, z - 0.01), (px, py, z + 0.2)], 0.012, frame))
        return Model(parts)


@dataclass(frozen=True)
class Bench(Design):
    """A bench for a hall, a table or a bed's end."""

    category = "Benches"
    noun = "Bench"
    price = (89, 540)
    styles = {"Slatted": "scandinavian", "Farmhouse": "farmhouse", "Backed": "traditional"}

    shape: str = choice("Upholstered", "Slatted", "Farmhouse", "Backed", "Storage")
    width: float = span(1.0, 1.5)
    wood: str = choice(*BODY)
    seat: str = choice(*UPHOLSTERY)
    legs: str = choice("tapered", "straight", "turned", "hairpin", "sled")

    @property
    def main(self) -> str:
        return self.seat if self.shape == "Upholstered" else self.wood

    @property
    def second(self) -> str:
        return self.wood if self.shape == "Upholstered" else (self.seat if self.shape == "Storage" else "")

    def model(self) -> Model:
        wood, seat, w, d, z = finish(self.wood), finish(self.seat), self.width, 0.38, 0.44
        metal = finish("metal black") if self.legs in ("hairpin", "sled") else wood
        parts = [] if self.shape in ("Farmhouse", "Storage") else legs(self.legs, w, d, z - 0.04, metal, 0.07)
        if self.shape == "Upholstered":
            parts.append(box((w, d, 0.03), wood, (0, 0, z - 0.06)))
            parts.append(box((w, d, 0.10), seat, (0, 0, z - 0.03), 0.035, puff=0.015))
        elif self.shape == "Slatted":
            n = 6
            for k in range(n):
                parts.append(box((w, d / n * 0.8, 0.022), wood, (0, -d / 2 + d / n * (k + 0.5), z - 0.022)))
            parts += [box((0.05, d - 0.02, 0.03), wood, (s * (w / 2 - 0.1), 0, z - 0.052)) for s in (-1, 1)]
        elif self.shape == "Farmhouse":
            parts.append(box((w, d, 0.045), wood, (0, 0, z - 0.045), 0.008))
            parts += [box((0.05, d - 0.06, z - 0.045), wood, (s * (w / 2 - 0.13), 0, 0)) for s in (-1, 1)]
            parts.append(box((w - 0.26, 0.03, 0.09), wood, (0, 0, z - 0.2)))
        elif self.shape == "Backed":
            parts.append(box((w, d, 0.035), wood, (0, 0, z - 0.04), 0.008))
            x = w / 2 - 0.03
            for s in (-1, 1):
                parts.append(box((0.04, 0.04, 0.46), wood, (s * x, d / 2 - 0.03, z - 0.02)))
                parts.append(box((0.04, d, 0.03), wood, (s * x, 0, z + 0.2), 0.01))
                parts.append(box((0.04, 0.04, 0.2), wood, (s * x, -d / 2 + 0.03, z - 0.01)))
            parts.append(box((w, 0.03, 0.07), wood, (0, d / 2 - 0.03, z + 0.38), 0.01))
            n = int(w / 0.11)
            for k in range(n):
                fx = -x + 2 * x * (k + 1) / (n + 1)
                parts.append(box((0.035, 0.016, 0.38), wood, (fx, d / 2 - 0.03, z)))
        else:
            parts.append(box((w, d, z - 0.07), wood, (0, 0, 0.0)))
            n = 3
            for k in range(n):
                fx = -w / 2 + w * (k + 0.5) / n
                parts.append(box((w / n - 0.02, 0.012, z - 0.13), wood, (fx, -d / 2 - 0.004, 0.03), 0.004))
                parts.append(
                    tube(
                        [(fx - 0.04, -d / 2 - 0.02, z - 0.14), (fx + 0.04, -d / 2 - 0.02, z - 0.14)],
                        0.007,
                        finish("metal brass"),
                    )
                )
            parts.append(box((w, d, 0.07), seat, (0, 0, z - 0.07), 0.03, puff=0.012))
        return Model(
            parts,
            tops=(Top(0, -0.02, z + (0.085 if self.shape == "Upholstered" else 0.015), w * 0.7, d * 0.5),)
            if self.shape != "Storage"
            else (),
        )


@dataclass(frozen=True)
class Ottoman(Design):
    """An ottoman, a pouf or a footstool."""

    category = "Ottomans"
    noun = "Ottoman"
    price = (49, 390)
    styles = {"Pouf": "bohemian", "Tufted": "traditional", "Drum": "contemporary"}

    shape: str = choice("Drum", "Cube", "Pouf", "Tufted", "Footstool")
    width: float = span(0.45, 0.75)
    cover: str = choice(*UPHOLSTERY)
    wood: str = choice(*WOOD)

    @property
    def main(self) -> str:
        return self.cover

    @property
    def second(self) -> str:
        return self.wood if self.shape in ("Tufted", "Footstool") else ""

    @property
    def name(self) -> str:
        return {"Pouf": "Knitted Pouf", "Footstool": "Footstool"}.get(self.shape, f"{self.shape} Ottoman")

    def model(self) -> Model:
        cover, wood, w = finish(self.cover), finish(self.wood), self.width
        r = w / 2
        top = (Top(0, 0, 0.44, w * 0.5, w * 0.4),)
        if self.shape == "Drum":
            body = lathe(
                [
                    (0, 0.01),
                    (r - 0.015, 0.01),
                    (r, 0.03),
                    (r, 0.36),
                    (r - 0.008, 0.372),
                    (r, 0.385),
                    (r, 0.41),
                    (r - 0.03, 0.435),
                    (r - 0.1, 0.445),
                    (0, 0.45),
                ],
                cover,
            )
            base = lathe([(0, 0), (r - 0.03, 0), (r - 0.03, 0.02), (0, 0.02)], wood)
            return Model([body, base], tops=top)
        if self.shape == "Cube":
            return Model(
                [
                    box((w, w, 0.06), wood, (0, 0, 0), 0.01),
                    box((w, w, 0.30), cover, (0, 0, 0.05), 0.02),
                    box((w, w, 0.10), cover, (0, 0, 0.345), 0.035, puff=0.02),
                ],
                tops=top,
            )
        if self.shape == "Pouf":
            bands = 9
            parts: Parts = []
            for k in range(bands):
                t = (k + 0.5) / bands
                rr = r * math.sin(math.pi * (0.18 + 0.64 * t)) ** 0.5
                z = 0.009 + 0.31 * t
                ring = [(x, y, z) for x, y, _ in arc(rr - 0.02, 0, 360, 0, 40)[:-1]]
                parts.append(tube(ring, 0.026, cover, closed=True, segments=8))
            parts.append(
                lathe(
                    [
                        (0, 0.03),
                        (r * 0.72, 0.03),
                        (r * 0.95, 0.18),
                        (r * 0.72, 0.345),
                        (r * 0.4, 0.362),
                        (0, 0.365),
                    ],
                    cover,
                )
            )
            return Model(parts)
        parts = legs("turned" if self.shape == "Tufted" else "tapered", w * 1.25, w * 0.85, 0.2, wood, 0.07)
        seat = box((w * 1.25, w * 0.85, 0.17), cover, (0, 0, 0), 0.05, puff=0.03)
        if self.shape == "Tufted":
            x, y = seat.vertices[:, 0], seat.vertices[:, 1]
            top_side = seat.vertices[:, 2] > 0.1
            for bx in (-0.36, -0.12, 0.12, 0.36):
                for by in (-0.2, 0.2):
                    button = (bx * w * 1.25, by * w * 0.85, 0.17 + 0.03 * 0.6)
                    parts.append(
                        lathe(
                            [(0, 0), (0.012, 0.002), (0.010, 0.008), (0, 0.011)],
                            cover,
                            (button[0], button[1], button[2] + 0.192),
                            12,
                        )
                    )
                    near = ((x - button[0]) ** 2 + (y - button[1]) ** 2) < 0.003
                    seat.vertices[top_side & near, 2] -= 0.012
        parts += move([seat], (0, 0, 0.195))
        return Model(parts, tops=(Top(0, 0, 0.40, w * 0.6, w * 0.4),) if self.shape == "Footstool" else ())
