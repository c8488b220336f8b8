"""Curtains, pillows, rugs."""

# ruff: noqa: D102, RUF012 - what the properties mean is said in design.Design

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from data.homestore.design import Design, Model, Mount, choice, count, span
from data.homestore.finishes import METAL, TEXTILES, Finish, Picture, finish, painted
from data.homestore.mesh import (
    Floats,
    Part,
    Parts,
    box,
    circle,
    lathe,
    move,
    pillow,
    planar,
    rounded,
    sheet,
    slab,
    tube,
    turn,
)

TONES = tuple(TEXTILES)
CLOTH_PATTERNS = (
    "plain",
    "plain",
    "stripes",
    "pinstripe",
    "check",
    "dots",
    "chevron",
    "trellis",
    "leaves",
    "diamonds",
)
PATTERN_WORDS = {"plain": "", "stripes": "striped", "pinstripe": "pinstripe", "check": "checked",
    "dots": "dotted",
                 "chevron": "chevron", "trellis": "trellis", "leaves": "leaf-print",
                 "diamonds": "diamond-pattern",
                 "berber": "berber-pattern", "persian": "medallion", "faded": "vintage medallion",
                 "tide": "wave-pattern",
                 "bordered": "bordered", "abstract": "abstract", "brush": "watercolour"}  # fmt: skip


def cloth(kind: str, pattern: str, tone: str, accent: str, seed: int = 0) -> Finish:
    """A plain or a patterned textile in a tone with an accent colour."""
    if pattern == "plain":
        return finish(f"{kind} {tone}")
    third = "cream" if tone != "cream" and accent != "cream" else "charcoal"
    fourth = "mustard" if "mustard" not in (tone, accent) else "teal"
    colours = tuple(TEXTILES[name] for name in (tone, accent, third, fourth))
    return painted(kind, Picture(pattern, colours, seed), tone)


def _other(tone: str, accent: str) -> str:
    """The accent, or white where it is the tone itself and would not be seen."""
    return accent if accent != tone else ("white" if tone != "white" else "navy")


@dataclass(frozen=True)
class Curtain(Design):
    """A pair of curtains on a rod."""

    category = "Curtains & Drapes"
    noun = "Curtains"
    price = (29, 240)
    styles = {
        "Pinch-Pleat": "traditional",
        "Tab-Top": "farmhouse",
        "Sheer": "scandinavian",
        "Tied-Back": "traditional",
    }

    shape: str = choice("Pinch-Pleat", "Eyelet", "Tab-Top", "Sheer", "Tied-Back")
    height: float = span(2.05, 2.4)
    fullness: int = count(6, 10)
    cloth: str = choice("linen", "cotton", "velvet")
    tone: str = choice(*TONES)
    pattern: str = choice(*CLOTH_PATTERNS[:8])
    accent: str = choice(*TONES)
    rod: str = choice(*METAL, "wood oak", "wood walnut", "wood black")

    @property
    def main(self) -> str:
        return f"{'cotton' if self.shape == 'Sheer' else self.cloth} {self.tone}"

    @property
    def second(self) -> str:
        return self.rod

    @property
    def name(self) -> str:
        return f"{self.shape} Curtain Pair"

    @property
    def pattern_words(self) -> str:
        return PATTERN_WORDS[self.pattern]

    @property
    def mount(self) -> Mount:
        return "wall"

    def model(self) -> Model:
        return self.hung(1.35)

    def hung(self, width: float) -> Model:
        """The pair on a rod of this width, drawn apart to a third each side."""
        fabric = cloth(
            "cotton" if self.shape == "Sheer" else self.cloth,
            self.pattern,
            self.tone,
            _other(self.tone, self.accent),
        )
        h, rod = self.height, finish(self.rod)
        y = -0.09
        z_rod = h + 0.02
        parts: Parts = [tube([(-width / 2 - 0.1, y, z_rod), (width / 2 + 0.1, y, z_rod)], 0.013, rod)]
        for s in (-1, 1):
            parts += [
                _knob(s * (width / 2 + 0.12), y, z_rod, rod),
                tube([(s * width / 2, y, z_rod), (s * width / 2, 0, z_rod)], 0.008, rod),
            ]
        part_width = width * 0.4
        for s in (-1, 1):
            parts.append(self._panel(s, width, part_width, h, y, fabric))
            folds = self.fullness
            if self.shape in ("Eyelet", "Tab-Top", "Sheer", "Pinch-Pleat"):
                for k in range(folds):
                    x = s * (width / 2 - part_width * (k + 0.5) / folds)
                    if self.shape == "Tab-Top":
                        parts.append(
                            tube(
                                [
                                    (x, y - 0.02, h - 0.03),
                                    (x, y - 0.018, z_rod + 0.016),
                                    (x, y + 0.018, z_rod + 0.016),
                                    (x, y + 0.02, h - 0.03),
                                ],
                                0.014,
                                finish(self.main),
                                square=True,
                            )
                        )
                    else:
                        ring = [(x, y + 0.024 * a, z_rod - 0.004 + 0.024 * b) for a, b in circle(1.0, 16)]
                        parts.append(tube(ring, 0.004, rod, closed=True, segments=6))
            if self.shape == "Tied-Back":
                x = s * (width / 2 - 0.08)
                band = [(x + 0.075 * a, y + 0.07 * b, h * 0.42 + 0.02 * a * -s) for a, b in circle(1.0, 24)]
                parts.append(
                    tube(band, 0.022, rod if rod.kind == "wood" else finish(self.main), closed=True, segments=8)
                )
        return Model(parts)

    def _panel(self, s: int, width: float, part_width: float, h: float, y: float, fabric: Finish) -> Part:
        folds = self.fullness

        def surface(u: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
            z = 0.015 + u * (h - 0.02)
            depth = 0.032 + 0.018 * (1 - u) if self.shape != "Sheer" else 0.022 + 0.01 * (1 - u)
            if self.shape == "Pinch-Pleat":
                depth = depth * np.where(u > 0.94, 0.55, 1.0)
            across = v + 0.02 * np.sin(5 * u + 3 * v) * (1 - u)
            if self.shape == "Tied-Back":
                waist = np.exp(-((z - 0.42 * h) ** 2) / (2 * (0.16 * h) ** 2))
                skirt = np.clip((0.42 * h - z) / (0.42 * h), 0, 1)
                span_here = part_width * (1 - 0.72 * waist - 0.35 * skirt * (1 - waist))
                depth = depth * (1 - 0.3 * waist)
            else:
                span_here = part_width * (1 + 0.06 * (1 - u))
            x = s * (width / 2 + 0.02 - across * span_here)
            wave = np.sin(2 * np.pi * folds * v + 0.6 * np.sin(3 * u)) + 0.25 * np.sin(4 * np.pi * folds * v + 2 * u)
            return x, y + depth * wave, z

        return sheet(surface, fabric, 22, folds * 10 + 1)


def _knob(x: float, y: float, z: float, rod: Finish) -> Part:
    """The ball at a curtain rod's end."""
    ball = lathe([(0, -0.026), (0.018, -0.019), (0.026, 0), (0.018, 0.019), (0, 0.026)], rod, (x, y, z), 16)
    return ball


@dataclass(frozen=True)
class Pillow(Design):
    """A throw pillow."""

    category = "Pillows"
    noun = "Pillow"
    price = (14, 89)
    styles = {"Bolster": "classic", "Tasselled": "bohemian", "Round": "contemporary"}

    shape: str = choice("Square", "Lumbar", "Tasselled", "Round", "Bolster", "Piped")
    size: float = span(0.42, 0.52, near=False)
    cloth: str = choice("linen", "cotton", "velvet", "wool", "boucle")
    tone: str = choice(*TONES)
    pattern: str = choice(*CLOTH_PATTERNS, "berber", "abstract")
    accent: str = choice(*TONES)

    @property
    def name(self) -> str:
        return f"{self.shape} Throw Pillow"

    @property
    def main(self) -> str:
        return f"{self.cloth} {self.tone}"

    @property
    def pattern_words(self) -> str:
        return PATTERN_WORDS[self.pattern]

    @property
    def mount(self) -> Mount:
        return "pillow"

    def model(self) -> Model:
        return Model(turn(self.lying(), 76, "x"))

    def lying(self) -> Parts:
        """The pillow flat on its back, its lower edge towards -y at y = 0."""
        accent = _other(self.tone, self.accent)
        fabric = cloth(self.cloth, self.pattern, self.tone, accent, 1)
        s, trim = self.size, finish(f"cotton {accent}")
        if self.shape == "Round":
            profile = [
                (0, 0.0),
                (s * 0.2, 0.004),
                (s * 0.42, 0.03),
                (s * 0.47, 0.07),
                (s * 0.42, 0.11),
                (s * 0.2, 0.138),
                (0.012, 0.13),
                (0, 0.13),
            ]
            body = lathe(profile, fabric, (0, s / 2, 0), 40)
            if fabric.picture:
                body = replace(body, coord=planar(body.vertices))
            return [body, lathe([(0, 0), (0.02, 0), (0.016, 0.012), (0, 0.014)], trim, (0, s / 2, 0.128), 16)]
        if self.shape == "Bolster":
            r = 0.10
            roll = lathe(
                [
                    (0, -s * 0.55),
                    (r - 0.02, -s * 0.55),
                    (r, -s * 0.53),
                    (r + 0.004, 0),
                    (r, s * 0.53),
                    (r - 0.02, s * 0.55),
                    (0, s * 0.55),
                ],
                fabric,
                segments=32,
            )
            rims = [
                tube(
                    [(r * 0.98 * a, r * 0.98 * b, z) for a, b in circle(1, 28)],
                    0.006,
                    trim,
                    closed=True,
                    segments=6,
                )
                for z in (-s * 0.53, s * 0.53)
            ]
            return move(turn([roll, *rims], 90, "y"), (0, r, r))
        w, d = (s * 1.3, s * 0.72) if self.shape == "Lumbar" else (s, s)
        parts: Parts = [pillow((w, d, 0.16), fabric, (0, d / 2, 0))]
        corners = [(sx * w / 2 * 0.985, d / 2 + sy * d / 2 * 0.985) for sx in (-1, 1) for sy in (-1, 1)]
        if self.shape == "Tasselled":
            for x, y in corners:
                sx, sy = (1 if x > 0 else -1), (1 if y > d / 2 else -1)
                tip = (x + 0.06 * sx, y + 0.06 * sy, 0.07)
                parts.append(
                    tube(
                        [(x, y, 0.08), (x + 0.012 * sx, y + 0.012 * sy, 0.08), tip],
                        [0.007, 0.013, 0.017],
                        trim,
                    )
                )
        if self.shape == "Piped":
            edge = []
            for side in range(4):
                for t in np.linspace(-1, 1, 12)[:-1]:
                    k = 1 - 0.10 * (1 - t * t)
                    x, y = ((t, -k), (k, t), (-t, k), (-k, -t))[side]
                    edge.append((x * w / 2, d / 2 + y * d / 2, 0.08))
            parts.append(tube(edge, 0.008, trim, closed=True, segments=8))
        return parts


@dataclass(frozen=True)
class Rug(Design):
    """A rug."""

    category = "Rugs"
    noun = "Rug"
    price = (49, 690)
    styles = {"Fringed": "bohemian", "Runner": "classic", "Round": "contemporary"}

    shape: str = choice("Area", "Fringed", "Round", "Runner", "Oval")
    size: float = span(0.9, 1.15, near=False)
    fibre: str = choice("wool", "cotton", "linen")
    tone: str = choice(*TONES)
    pattern: str = choice(
        "plain",
        "bordered",
        "persian",
        "faded",
        "berber",
        "stripes",
        "chevron",
        "diamonds",
        "tide",
        "trellis",
        "abstract",
        "brush",
        "persian",
        "check",
    )
    accent: str = choice(*TONES)
    seed: int = count(0, 999, near=False)

    @property
    def main(self) -> str:
        return f"{self.fibre} {self.tone}"

    @property
    def name(self) -> str:
        return f"{self.shape} Rug"

    @property
    def pattern_words(self) -> str:
        return PATTERN_WORDS[self.pattern]

    @property
    def footprint(self) -> tuple[float, float]:
        """Width and depth, metres."""
        w, d = {
            "Area": (2.3, 1.6),
            "Fringed": (2.3, 1.5),
            "Round": (1.7, 1.7),
            "Runner": (2.2, 0.75),
            "Oval": (2.2, 1.45),
        }[self.shape]
        return w * self.size, d * self.size

    def model(self) -> Model:
        fabric = cloth(self.fibre, self.pattern, self.tone, _other(self.tone, self.accent), self.seed % 7)
        w, d = self.footprint
        if self.shape == "Round":
            return Model([slab(circle(w / 2, 64), 0.014, fabric)])
        if self.shape == "Oval":
            return Model([slab(circle(w / 2, 64, d / w), 0.014, fabric)])
        parts: Parts = [slab(rounded(w, d, 0.012), 0.014, fabric)]
        if self.shape in ("Fringed", "Runner"):
            thread = finish("cotton cream")
            n = round(d / 0.028)
            for s in (-1, 1):
                for k in range(n):
                    y = -d / 2 + d * (k + 0.5) / n
                    wobble = 0.006 * ((k * 7 + s) % 5 - 2)
                    parts.append(box((0.07, 0.008, 0.005), thread, (s * (w / 2 + 0.03), y + wobble, 0.001), 0.002))
        return Model(parts)
