"""Vases, and the vessels that other things are put in."""

# ruff: noqa: D102, RUF012 - what the properties mean is said in design.Design

from __future__ import annotations

from dataclasses import dataclass

from data.homestore.design import Design, Model, Mount, choice, span
from data.homestore.finishes import GLASS, GLAZES, Finish, Picture, finish, painted
from data.homestore.mesh import Part, Parts, Point, lathe, tube

# silhouette as (radius, height) fractions, closed inside the lip
POTS: dict[str, list[tuple[float, float]]] = {
    "bottle": [(0, 0), (0.75, 0), (0.98, 0.08), (1.0, 0.3), (0.8, 0.5), (0.35, 0.68), (0.3, 0.88), (0.42,
    1.0), (0.34, 0.99),
               (0.24, 0.88), (0.2, 0.7), (0, 0.65)],
    "bowl": [(0, 0), (0.5, 0), (0.52, 0.06), (0.85, 0.45), (1.0, 1.0), (0.95, 0.99), (0.8, 0.5), (0.4,
    0.14), (0, 0.12)],
    "cup": [(0, 0), (0.8, 0), (0.9, 0.05), (1.0, 1.0), (0.94, 1.0), (0.84, 0.1), (0, 0.1)],
    "amphora": [(0, 0), (0.42, 0), (0.46, 0.03), (0.75, 0.25), (1.0, 0.55), (0.9, 0.72), (0.5, 0.82), (0.44,
    0.9), (0.6, 1.0),
                (0.5, 0.99), (0.36, 0.9), (0.3, 0.8), (0, 0.75)],
    "cylinder": [(0, 0), (0.96, 0), (1.0, 0.02), (1.0, 1.0), (0.93, 1.0), (0.93, 0.1), (0, 0.08)],
    "trumpet": [(0, 0), (0.62, 0), (0.66, 0.02), (0.46, 0.12), (0.42, 0.4), (0.6, 0.75), (1.0, 1.0), (0.94,
    1.0), (0.54, 0.76),
                (0.36, 0.4), (0, 0.3)],
    "ginger": [(0, 0), (0.6, 0), (0.7, 0.1), (1.0, 0.5), (0.95, 0.68), (0.6, 0.8), (0.55, 0.84), (0.6,
    0.86), (0.6, 0.92),
               (0.3, 0.97), (0.12, 0.975), (0.14, 1.0), (0, 1.0)],
    "ball": [(0, 0), (0.45, 0), (0.5, 0.02), (0.86, 0.2), (1.0, 0.48), (0.86, 0.76), (0.42, 0.92), (0.38,
    1.0), (0.31, 0.99),
             (0.34, 0.92), (0.6, 0.8), (0, 0.5)],
    "hourglass": [(0, 0), (0.9, 0), (0.95, 0.02), (0.9, 0.15), (0.45, 0.5), (0.9, 0.9), (0.95, 1.0), (0.88,
    1.0), (0.82, 0.9),
                  (0.36, 0.5), (0, 0.4)],
}  # fmt: skip


def _spline(p: float, q: float, r: float, s: float, t: float) -> float:
    return 0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t**2 + (3 * q - p - 3 * r + s) * t**3)


def smooth(profile: list[tuple[float, float]], steps: int = 4) -> list[tuple[float, float]]:
    """A Catmull-Rom curve through the points from the third on; the base stays sharp."""
    points = profile[2:]
    out = list(profile[:2])
    for i in range(len(points) - 1):
        a, b, c, d = points[max(i - 1, 0)], points[i], points[i + 1], points[min(i + 2, len(points) - 1)]
        for k in range(steps):
            radius, height = (_spline(*four, k / steps) for four in zip(a, b, c, d, strict=True))
            out.append((max(0.0, radius), max(0.0, height)))
    return [*out, points[-1]]


def pot(shape: str, radius: float, height: float, stuff: Finish, at: Point = (0, 0, 0)) -> Part:
    """A vessel of one of the silhouettes in POTS."""
    return lathe([(r * radius, t * height) for r, t in smooth(POTS[shape])], stuff, at, 32)


@dataclass(frozen=True)
class Vase(Design):
    """A vase."""

    category = "Vases"
    noun = "Vase"
    price = (12, 129)
    styles = {"Amphora": "traditional", "Ginger-Jar": "traditional", "Hourglass": "contemporary"}

    shape: str = choice("Bottle", "Amphora", "Cylinder", "Trumpet", "Ginger-Jar", "Ball", "Hourglass", "Twin-Handle")
    height: float = span(0.20, 0.42, near=False)
    slim: float = span(0.26, 0.42)
    stuff: str = choice(
        *(f"ceramic {c}" for c in GLAZES), *(f"stoneware {c}" for c in GLAZES), *(f"glass {c}" for c in GLASS)
    )
    band: str = choice("none", "none", "stripes", "chevron", "diamonds", "leaves", "check")

    @property
    def main(self) -> str:
        return self.stuff

    @property
    def pattern_words(self) -> str:
        if self.band == "none" or self.stuff.startswith("glass"):
            return ""
        return {"stripes": "striped", "leaves": "leaf-painted", "check": "checked"}.get(
            self.band, f"{self.band}-painted"
        )

    @property
    def mount(self) -> Mount:
        return "top"

    def model(self) -> Model:
        stuff, h = finish(self.stuff), self.height
        if self.pattern_words:
            ink = "27459a" if stuff.colour != GLAZES["cobalt"] else "eae7e0"
            stuff = painted(stuff.kind, Picture(self.band, (stuff.colour, ink, stuff.colour, ink), 3), stuff.name)
        shape = {"Ginger-Jar": "ginger", "Twin-Handle": "amphora"}.get(self.shape, self.shape.lower())
        r = h * self.slim * (1.15 if shape == "ball" else 0.75 if shape == "cylinder" else 1.0)
        parts: Parts = [pot(shape, r, h, stuff)]
        if self.shape == "Twin-Handle":
            parts += [
                tube(
                    [
                        (s * r * 0.46, 0, h * 0.93),
                        (s * r * 0.85, 0, h * 0.95),
                        (s * r * 1.05, 0, h * 0.85),
                        (s * r * 0.9, 0, h * 0.68),
                    ],
                    h * 0.022,
                    finish(self.stuff),
                )
                for s in (-1, 1)
            ]
        return Model(parts)
