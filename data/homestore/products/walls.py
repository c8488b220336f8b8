"""Artwork and mirrors."""

# ruff: noqa: D102, RUF012 - what the properties mean is said in design.Design

from __future__ import annotations

import math
from dataclasses import dataclass

from data.homestore.design import Design, Model, Mount, choice, count, span
from data.homestore.finishes import MIRROR, Finish, Picture, finish, painted
from data.homestore.mesh import Part, Parts, box, circle, lathe, move, rounded, sheet, slab, tube, turn

PAPERS = ("e9e3d4", "e5ddd0", "f0ebe0", "ddd6c6", "d9ccb4")
INKS = {
    "terracotta": ("b8603c", "d9a066", "3d4a52", "8a9a86"), "blue": ("2d4f7c", "86a9c4", "d8b04c", "1f2c44"),
    "green": ("3f6148", "94a87e", "d8b27a", "26362c"), "blush": ("d29a8c", "8e4a4a", "ecc8a8", "5c6b73"),
    "black": ("26262a", "8f8f8c", "c5bfb2", "55504a"), "mustard": ("c9942e", "3f5a63", "d86f45", "6d7f52"),
    "red": ("a8362f", "e0a845", "2f3d5c", "d9cdb8"), "teal": ("22686c", "7fb5a8", "e0a96a", "233c4c"),
}  # fmt: skip
SUBJECTS = {"abstract": "Abstract Shapes", "landscape": "Landscape", "brush": "Colour Field",
    "lines": "Line Drawing",
            "blocks": "Geometric Blocks", "botanical": "Botanical", "portrait": "Figure",
            "tide": "Shore"}  # fmt: skip


@dataclass(frozen=True)
class Artwork(Design):
    """A framed print or a canvas."""

    category = "Artwork"
    noun = "Print"
    price = (25, 390)
    styles = {"Canvas": "contemporary", "Gilded": "traditional"}

    shape: str = choice("Framed", "Matted", "Canvas", "Gilded", "Diptych")
    long: float = span(0.55, 1.0, near=False)
    ratio: str = choice("portrait", "landscape", "square")
    subject: str = choice(*SUBJECTS)
    ink: str = choice(*INKS)
    frame: str = choice(
        "wood oak", "wood black", "wood walnut", "lacquer white", "metal gold", "metal black", "wood ash"
    )
    seed: int = count(0, 9999, near=False)

    @property
    def name(self) -> str:
        form = {"Canvas": "Canvas", "Diptych": "Print Pair", "Gilded": "Painting"}.get(
            self.shape, f"{self.shape} Print"
        )
        return f"{SUBJECTS[self.subject]} {form}"

    @property
    def main(self) -> str:
        return {"Canvas": "cotton white", "Gilded": "metal gold"}.get(self.shape, self.frame)

    @property
    def colour_word(self) -> str:
        """The print's own colour, which is what a shopper asks for."""
        return self.ink

    @property
    def mount(self) -> Mount:
        return "wall"

    def model(self) -> Model:
        if self.shape == "Diptych":
            w = self.long * 0.55
            return Model(
                [
                    p
                    for s in (-1, 1)
                    for p in move(self._one(w, w * 1.35, self.seed + (s > 0)), (s * (w / 2 + 0.05), 0, 0))
                ]
            )
        k = {"portrait": (0.72, 1.0), "landscape": (1.0, 0.68), "square": (0.8, 0.8)}[self.ratio]
        return Model(self._one(self.long * k[0], self.long * k[1], self.seed))

    def _one(self, w: float, h: float, seed: int) -> Parts:
        a, b, c, d = INKS[self.ink]
        paper = PAPERS[self.seed % len(PAPERS)]
        order = (paper, a, b, c, d) if self.subject not in ("landscape", "brush", "tide") else (b, paper, a, c, d)
        image = painted("plaster", Picture(self.subject, order, seed), self.ink)

        def face(width: float, height: float, y: float, stuff: Finish) -> Part:
            return picture_face(width, height, y, (h - height) / 2, stuff)

        if self.shape == "Canvas":
            edge = turn([box((w, h, 0.035), finish("cotton white"), (0, 0, 0), 0.004)], 90, "x")
            return [*move(edge, (0, 0.0, h / 2)), face(w - 0.004, h - 0.004, -0.0362, image)]
        rim, deep = (0.06, 0.045) if self.shape == "Gilded" else (0.022, 0.028)
        stuff = finish(self.main)
        parts: Parts = [box((w, deep, rim), stuff, (0, -deep / 2, z), 0.008) for z in (0, h - rim)]
        parts += [box((rim, deep, h - 2 * rim), stuff, (s * (w - rim) / 2, -deep / 2, rim), 0.008) for s in (-1, 1)]
        if self.shape == "Gilded":
            parts += [box((w - 0.08, deep + 0.012, 0.02), stuff, (0, -deep / 2, z), 0.008) for z in (0.04, h - 0.06)]
            parts += [
                box((0.02, deep + 0.012, h - 0.12), stuff, (s * (w / 2 - 0.05), -deep / 2, 0.06), 0.008)
                for s in (-1, 1)
            ]
        parts.append(face(w - rim, h - rim, -0.008, Finish("plaster", "f2efe8", "white")))
        margin = 0.22 * min(w, h) if self.shape in ("Matted", "Diptych") else rim
        parts.append(face(w - rim - margin, h - rim - margin, -0.011, image))
        return parts


def picture_face(width: float, height: float, y: float, z: float, stuff: Finish) -> Part:
    """An upright rectangle facing -y whose picture is the right way up; z is its lower edge."""
    return sheet(lambda u, v: (width * (v - 0.5), 0 * u + y, z + height * u), stuff, 2, 2)


@dataclass(frozen=True)
class Mirror(Design):
    """A wall or floor mirror."""

    category = "Mirrors"
    noun = "Mirror"
    price = (39, 390)
    styles = {"Sunburst": "glam", "Arched": "contemporary", "Gilded": "traditional"}

    shape: str = choice("Round", "Arched", "Rectangular", "Sunburst", "Oval", "Gilded")
    size: float = span(0.55, 0.85, near=False)
    tall: float = span(1.2, 1.7)
    rim: float = span(0.010, 0.04)
    frame: str = choice(
        "wood oak",
        "wood walnut",
        "wood black",
        "metal black",
        "metal brass",
        "metal gold",
        "lacquer white",
        "rattan natural",
        "metal copper",
        "wood ash",
    )

    @property
    def main(self) -> str:
        return "metal gold" if self.shape == "Gilded" else self.frame

    @property
    def name(self) -> str:
        return f"{self.shape} Wall Mirror"

    @property
    def mount(self) -> Mount:
        return "wall"

    def model(self) -> Model:
        stuff, s = finish(self.main), self.size
        thick = self.rim
        h = s
        if self.shape in ("Round", "Sunburst"):
            r = s / 2 if self.shape == "Round" else s * 0.3
            outline = circle(r, 48)
        elif self.shape == "Oval":
            h = s * self.tall * 0.95
            outline = circle(s / 2, 48, h / s)
        elif self.shape == "Arched":
            h = s * self.tall
            r = s / 2
            arch = [(r * math.cos(a), h / 2 - r + r * math.sin(a)) for a in [math.pi * k / 24 for k in range(25)]]
            outline = [
                *arch,
                *[(-r, h / 2 - r - (h - r) * k / 8) for k in range(1, 9)],
                *[(-r + 2 * r * k / 8, -h / 2) for k in range(1, 9)],
                *[(r, -h / 2 + (h - r) * k / 8) for k in range(1, 8)],
            ]
        else:
            h = s * self.tall
            outline = rounded(s, h, 0.02)
        flat: Parts = [slab(outline, 0.008, MIRROR, (0, 0, 0.004))]
        flat.append(slab([(x * 0.99, y * 0.99) for x, y in outline], 0.004, finish("wood black")))
        flat.append(tube([(x, y, 0.010) for x, y in outline], thick, stuff, closed=True, segments=12))
        if self.shape == "Gilded":
            flat.append(tube([(x * 1.07, y * 1.06, 0.014) for x, y in outline], 0.022, stuff, closed=True, segments=12))
            flat += [
                lathe([(0, 0), (0.03, 0), (0.026, 0.025), (0, 0.035)], stuff, (x * 1.05, y * 1.05, 0.02), 16)
                for x, y in outline[3::7]
            ]
        if self.shape == "Sunburst":
            for k in range(36):
                a = 2 * math.pi * k / 36
                r0, r1 = s * 0.3, s * (0.58 if k % 2 else 0.72)
                flat.append(
                    tube(
                        [
                            (r0 * math.cos(a), r0 * math.sin(a), 0.01),
                            (r1 * math.cos(a), r1 * math.sin(a), 0.01),
                        ],
                        [0.011, 0.004],
                        stuff,
                        segments=8,
                    )
                )
        upright = turn(flat, 90, "x")
        low = min(float(p.vertices[:, 2].min()) for p in upright)
        deep = max(float(p.vertices[:, 1].max()) for p in upright)
        return Model(move(upright, (0, -deep, -low)))
