"""Artwork, mirrors, candles, vases, clocks, televisions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from data.homestore.design import Design, Model, Mount, choice, count, span
from data.homestore.finishes import (
    FLAME,
    GLASS,
    GLAZES,
    METAL,
    MIRROR,
    WICK,
    Finish,
    Picture,
    finish,
    painted,
)
from data.homestore.mesh import Part, Parts, Point, box, circle, lathe, move, rounded, sheet, slab, tube, turn

POTS: dict[str, list[tuple[float, float]]] = {  # silhouette as (radius, height) fractions, closed inside the lip
    "bottle": [(0, 0), (0.75, 0), (0.98, 0.08), (1.0, 0.3), (0.8, 0.5), (0.35, 0.68), (0.3, 0.88), (0.42, 1.0), (0.34, 0.99),
               (0.24, 0.88), (0.2, 0.7), (0, 0.65)],
    "bowl": [(0, 0), (0.5, 0), (0.52, 0.06), (0.85, 0.45), (1.0, 1.0), (0.95, 0.99), (0.8, 0.5), (0.4, 0.14), (0, 0.12)],
    "cup": [(0, 0), (0.8, 0), (0.9, 0.05), (1.0, 1.0), (0.94, 1.0), (0.84, 0.1), (0, 0.1)],
    "amphora": [(0, 0), (0.42, 0), (0.46, 0.03), (0.75, 0.25), (1.0, 0.55), (0.9, 0.72), (0.5, 0.82), (0.44, 0.9), (0.6, 1.0),
                (0.5, 0.99), (0.36, 0.9), (0.3, 0.8), (0, 0.75)],
    "cylinder": [(0, 0), (0.96, 0), (1.0, 0.02), (1.0, 1.0), (0.93, 1.0), (0.93, 0.1), (0, 0.08)],
    "trumpet": [(0, 0), (0.62, 0), (0.66, 0.02), (0.46, 0.12), (0.42, 0.4), (0.6, 0.75), (1.0, 1.0), (0.94, 1.0), (0.54, 0.76),
                (0.36, 0.4), (0, 0.3)],
    "ginger": [(0, 0), (0.6, 0), (0.7, 0.1), (1.0, 0.5), (0.95, 0.68), (0.6, 0.8), (0.55, 0.84), (0.6, 0.86), (0.6, 0.92),
               (0.3, 0.97), (0.12, 0.975), (0.14, 1.0), (0, 1.0)],
    "ball": [(0, 0), (0.45, 0), (0.5, 0.02), (0.86, 0.2), (1.0, 0.48), (0.86, 0.76), (0.42, 0.92), (0.38, 1.0), (0.31, 0.99),
             (0.34, 0.92), (0.6, 0.8), (0, 0.5)],
    "hourglass": [(0, 0), (0.9, 0), (0.95, 0.02), (0.9, 0.15), (0.45, 0.5), (0.9, 0.9), (0.95, 1.0), (0.88, 1.0), (0.82, 0.9),
                  (0.36, 0.5), (0, 0.4)],
}  # fmt: skip


def smooth(profile: list[tuple[float, float]], steps: int = 4) -> list[tuple[float, float]]:
    """A Catmull-Rom curve through the points from the third on; the base stays sharp."""
    points = profile[2:]
    out = list(profile[:2])
    for i in range(len(points) - 1):
        a, b, c, d = points[max(i - 1, 0)], points[i], points[i + 1], points[min(i + 2, len(points) - 1)]
        for k in range(steps):
            t = k / steps
            out.append(
                tuple(
                    max(
                        0.0,
                        0.5
                        * (
                            2 * q
                            + (r - p) * t
                            + (2 * p - 5 * q + 4 * r - s) * t**2
                            + (3 * q - p - 3 * r + s) * t**3
                        ),
                    )
                    for p, q, r, s in zip(a, b, c, d, strict=True)
                )
            )  # type: ignore[arg-type]
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

    shape: str = choice(
        "Bottle", "Amphora", "Cylinder", "Trumpet", "Ginger-Jar", "Ball", "Hourglass", "Twin-Handle"
    )
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
            stuff = painted(
                stuff.kind, Picture(self.band, (stuff.colour, ink, stuff.colour, ink), 3), stuff.name
            )
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


def _cos(v):  # type: ignore[no-untyped-def]
    import numpy as np

    return np.cos(math.pi * (0.15 + 0.7 * (1 - v)))


def _sin(v):  # type: ignore[no-untyped-def]
    import numpy as np

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


PAPERS = ("e9e3d4", "e5ddd0", "f0ebe0", "ddd6c6", "d9ccb4")
INKS = {
    "terracotta": ("b8603c", "d9a066", "3d4a52", "8a9a86"), "blue": ("2d4f7c", "86a9c4", "d8b04c", "1f2c44"),
    "green": ("3f6148", "94a87e", "d8b27a", "26362c"), "blush": ("d29a8c", "8e4a4a", "ecc8a8", "5c6b73"),
    "black": ("26262a", "8f8f8c", "c5bfb2", "55504a"), "mustard": ("c9942e", "3f5a63", "d86f45", "6d7f52"),
    "red": ("a8362f", "e0a845", "2f3d5c", "d9cdb8"), "teal": ("22686c", "7fb5a8", "e0a96a", "233c4c"),
}  # fmt: skip
SUBJECTS = {"abstract": "Abstract Shapes", "landscape": "Landscape", "brush": "Colour Field", "lines": "Line Drawing",
            "blocks": "Geometric Blocks", "botanical": "Botanical", "portrait": "Figure", "tide": "Shore"}  # fmt: skip


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
        order = (
            (paper, a, b, c, d) if self.subject not in ("landscape", "brush", "tide") else (b, paper, a, c, d)
        )
        image = painted("plaster", Picture(self.subject, order, seed), self.ink)

        def face(width: float, height: float, y: float, stuff: Finish) -> Part:
            return picture_face(width, height, y, (h - height) / 2, stuff)

        if self.shape == "Canvas":
            edge = turn([box((w, h, 0.035), finish("cotton white"), (0, 0, 0), 0.004)], 90, "x")
            return [*move(edge, (0, 0.0, h / 2)), face(w - 0.004, h - 0.004, -0.0362, image)]
        rim, deep = (0.06, 0.045) if self.shape == "Gilded" else (0.022, 0.028)
        stuff = finish(self.main)
        parts: Parts = [box((w, deep, rim), stuff, (0, -deep / 2, z), 0.008) for z in (0, h - rim)]
        parts += [
            box((rim, deep, h - 2 * rim), stuff, (s * (w - rim) / 2, -deep / 2, rim), 0.008) for s in (-1, 1)
        ]
        if self.shape == "Gilded":
            parts += [
                box((w - 0.08, deep + 0.012, 0.02), stuff, (0, -deep / 2, z), 0.008) for z in (0.04, h - 0.06)
            ]
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
            arch = [
                (r * math.cos(a), h / 2 - r + r * math.sin(a)) for a in [math.pi * k / 24 for k in range(25)]
            ]
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
            flat.append(
                tube(
                    [(x * 1.07, y * 1.06, 0.014) for x, y in outline], 0.022, stuff, closed=True, segments=12
                )
            )
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
                    [
                        lathe(
                            [(0, 0), (0.05, 0), (0.045, 0.01), (0, 0.014)], finish("metal brass"), segments=24
                        )
                    ],
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
            {"white": "f0eee8", "cream": "e9ddc2", "black": "222226", "navy": "24344f", "green": "3c5a48"}[
                self.dial
            ],
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


SHOWS = {"dusk": ("d98e5f", "f6d9a0", "7a5a6a", "3f4a63", "26324a"), "sea": ("8fc0d8", "f4f0e0", "4d87a8", "2c5d80", "1d3f5c"),
         "forest": ("bfd3c0", "f2ead0", "7fa07a", "4a7050", "2c4c38"), "off": ("101012", "101012", "101012", "101012", "101012")}  # fmt: skip


@dataclass(frozen=True)
class Television(Design):
    """A television."""

    category = "TVs"
    noun = "TV"
    price = (199, 1890)

    shape: str = choice("Slim", "Easel", "Classic", "Framed")
    inches: int = count(40, 58, near=False)
    case: str = choice(
        "metal black", "metal steel", "lacquer white", "wood oak", "wood walnut", "metal white"
    )
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
            parts += [
                tube([(s * w * 0.36, -0.05, 0), (s * w * 0.2, 0.035, z + h * 0.8)], 0.02, wood)
                for s in (-1, 1)
            ]
            parts.append(tube([(0, 0.45, 0), (0, 0.05, z + h * 0.7)], 0.02, wood))
            parts.append(tube([(-w * 0.3, 0.03, z + 0.05), (w * 0.3, 0.03, z + 0.05)], 0.018, wood))
        elif self.shape == "Classic":
            parts += [
                box((0.3, 0.22, 0.014), case, (0, 0, 0), 0.006),
                box((0.07, 0.03, z), case, (0, 0.01, 0.01)),
            ]
        else:
            parts += [
                box((0.05, 0.2, z + 0.004), finish("metal black"), (s * w * 0.32, 0, 0), 0.006)
                for s in (-1, 1)
            ]
        return Model(parts)
