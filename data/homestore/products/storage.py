"""Cabinets, dressers, shelving."""

# ruff: noqa: D102, RUF012 - what the properties mean is said in design.Design

from __future__ import annotations

from dataclasses import dataclass

from data.homestore.design import Design, Model, Mount, Top, choice, count, span
from data.homestore.finishes import BODY, finish
from data.homestore.mesh import Parts, box, tube
from data.homestore.products.common import HANDLES, handle, legs

HARDWARE = ("metal brass", "metal black", "metal chrome", "metal bronze", "wood oak", "metal copper")


def carcase(w: float, d: float, bottom: float, top: float, body: str) -> Parts:
    """A case with its top board."""
    stuff = finish(body)
    return [
        box((w, d, top - bottom - 0.025), stuff, (0, 0, bottom), 0.004),
        box((w + 0.02, d + 0.02, 0.028), stuff, (0, -0.005, top - 0.028), 0.006),
    ]


def front(x: float, y: float, z: float, w: float, h: float, style: str, body: str) -> Parts:
    """A drawer's or door's face, its lower edge at z: flat, framed (shaker) or slatted."""
    stuff = finish(body)
    if style == "shaker":
        rail = min(0.055, w * 0.2, h * 0.28)
        parts = [box((w, 0.010, h), stuff, (x, y - 0.005, z), 0.002)]
        parts += [box((rail, 0.018, h), stuff, (x + s * (w - rail) / 2, y - 0.009, z), 0.003) for s in (-1, 1)]
        return parts + [box((w, 0.0178, rail), stuff, (x, y - 0.009, zz), 0.003) for zz in (z, z + h - rail)]
    if style == "slatted":
        n = max(3, round(w / 0.035))
        return [
            box((w / n * 0.78, 0.018, h), stuff, (x - w / 2 + w * (k + 0.5) / n, y - 0.009, z), 0.005) for k in range(n)
        ]
    if style == "rattan":
        cane = finish("rattan natural")
        rail = min(0.05, w * 0.2, h * 0.25)
        parts = [box((w - rail, 0.008, h - rail), cane, (x, y - 0.004, z + rail / 2), 0.002)]
        parts += [box((rail, 0.018, h), stuff, (x + s * (w - rail) / 2, y - 0.009, z), 0.003) for s in (-1, 1)]
        return parts + [box((w, 0.0178, rail), stuff, (x, y - 0.009, zz), 0.003) for zz in (z, z + h - rail)]
    return [box((w, 0.018, h), stuff, (x, y - 0.009, z), 0.004)]


FRONTS = ("flat", "shaker", "slatted", "rattan")


@dataclass(frozen=True)
class Cabinet(Design):
    """A sideboard, media unit, nightstand, wardrobe or tall cabinet."""

    category = "Cabinets & Storage"
    noun = "Cabinet"
    price = (79, 1190)
    styles = {"Wardrobe": "classic", "Sideboard": "mid-century"}

    shape: str = choice("Sideboard", "Media", "Nightstand", "Wardrobe", "Display", "Hall")
    size: float = span(0.85, 1.15)
    body: str = choice(*BODY)
    front: str = choice(*FRONTS)
    legs: str = choice("tapered", "straight", "block", "hairpin", "sled")
    handle: str = choice(*HANDLES)
    hardware: str = choice(*HARDWARE)

    @property
    def name(self) -> str:
        return {
            "Sideboard": "Sideboard",
            "Media": "Media Console",
            "Nightstand": "Nightstand",
            "Wardrobe": "Wardrobe",
            "Display": "Display Cabinet",
            "Hall": "Hall Cabinet",
        }[self.shape]

    @property
    def main(self) -> str:
        return self.body

    @property
    def second(self) -> str:
        return "" if self.handle == "none" else self.hardware

    @property
    def pattern_words(self) -> str:
        return f"{self.front} front" if self.front != "flat" else ""

    def model(self) -> Model:
        w, d, z, h = {
            "Sideboard": (1.45, 0.44, 0.18, 0.80), "Media": (1.55, 0.40, 0.14, 0.52), "Nightstand": (0.46,
            0.40, 0.18, 0.58),
            "Wardrobe": (1.05, 0.56, 0.08, 1.95), "Display": (0.82, 0.40, 0.12, 1.7), "Hall": (0.85, 0.36,
            0.16, 0.86),
        }[self.shape]  # fmt: skip
        w *= self.size
        metal = finish("metal black") if self.legs in ("hairpin", "sled") else finish(self.body)
        parts = legs(self.legs, w, d, z + 0.01, metal, 0.05)
        parts += carcase(w, d, z, h, self.body) if self.shape != "Display" else self._display(w, d, z, h)
        y, stuff = -d / 2, finish(self.hardware)
        gap = 0.006
        inner_h = h - z - 0.045
        if self.shape == "Nightstand":
            for k in range(2):
                zz = z + 0.01 + k * inner_h / 2
                parts += front(0, y, zz, w - 0.03, inner_h / 2 - gap, self.front, self.body)
                parts += handle(self.handle, (0, y - 0.018, zz + inner_h / 4), stuff)
        elif self.shape == "Media":
            side = w * 0.3
            for s in (-1, 1):
                x = s * (w - side) / 2
                parts += front(x - s * 0.012, y, z + 0.01, side - 0.02, inner_h, self.front, self.body)
                parts += handle(self.handle, (x - s * side * 0.3, y - 0.018, z + inner_h * 0.6), stuff, upright=True)
            dark = finish("lacquer black")
            parts.append(box((w - 2 * side - 0.01, 0.006, inner_h), dark, (0, y - 0.001, z + 0.01), 0.001))
            parts.append(
                box(
                    (w - 2 * side - 0.01, 0.02, 0.018),
                    finish(self.body),
                    (0, y - 0.008, z + inner_h * 0.55),
                    0.003,
                )
            )
            parts.append(
                box(
                    (0.36, 0.02, 0.05),
                    finish("lacquer anthracite"),
                    (0, y - 0.009, z + inner_h * 0.55 + 0.018),
                )
            )
        elif self.shape != "Display":
            n = {"Sideboard": 3, "Wardrobe": 2, "Hall": 2}[self.shape]
            drawer = 0.17 if self.shape in ("Hall", "Wardrobe") else 0.0
            for k in range(n):
                fw = (w - 0.03) / n
                x = -w / 2 + 0.015 + fw * (k + 0.5)
                z0 = z + 0.01 + (drawer if self.shape == "Wardrobe" else 0)
                parts += front(x, y, z0, fw - gap, inner_h - drawer, self.front, self.body)
                inward = -1 if k >= n / 2 else 1
                grip = z0 + (inner_h - drawer) * (0.5 if self.shape == "Wardrobe" else 0.62)
                parts += handle(self.handle, (x + inward * (fw / 2 - 0.045), y - 0.018, grip), stuff, upright=True)
                if drawer:
                    zz = z + 0.01 if self.shape == "Wardrobe" else z + 0.01 + inner_h - drawer + gap
                    parts += front(
                        x,
                        y,
                        zz,
                        fw - gap,
                        drawer - gap,
                        "flat" if self.front == "slatted" else self.front,
                        self.body,
                    )
                    parts += handle(self.handle, (x, y - 0.018, zz + drawer / 2), stuff)
        tall = h > 1.2
        return Model(parts, tops=() if tall else (Top(0, 0, h, w * 0.86, d * 0.6),))

    def _display(self, w: float, d: float, z: float, h: float) -> Parts:
        """A glazed case with shelves and dishes."""
        stuff = finish(self.body)
        parts: Parts = [box((0.03, d, h - z), stuff, (s * (w / 2 - 0.015), 0, z)) for s in (-1, 1)]
        parts += [
            box((w + 0.02, d + 0.02, 0.03), stuff, (0, 0, h - 0.03), 0.006),
            box((w, 0.01, h - z), stuff, (0, d / 2, z)),
        ]
        low = z + 0.42
        parts.append(box((w - 0.01, d - 0.01, 0.42), stuff, (0, 0, z + 0.002)))
        for s in (-1, 1):
            parts += front(s * w / 4, -d / 2, z + 0.01, w / 2 - 0.02, 0.40, self.front, self.body)
            parts += handle(self.handle, (s * 0.045, -d / 2 - 0.018, z + 0.26), finish(self.hardware))
            for x in (s * 0.02, s * (w / 2 - 0.02)):
                parts.append(box((0.032, 0.02, h - low - 0.03), stuff, (x, -d / 2 - 0.01, low)))
            parts += [box((w / 2, 0.02, 0.035), stuff, (s * w / 4, -d / 2 - 0.01, zz)) for zz in (low, h - 0.065)]
        for k in range(3):
            zz = low + 0.06 + k * (h - low) / 3.1
            if k:
                parts.append(box((w - 0.05, d - 0.06, 0.018), stuff, (0, 0.01, zz - 0.018)))
            for j in range(4):
                x = -w / 2 + 0.12 + j * (w - 0.24) / 3
                tall = 0.05 + 0.09 * ((j * 7 + k * 3) % 4) / 3
                words = ("ceramic white", "ceramic sand", "ceramic celadon", "ceramic cobalt")[(j + k) % 4]
                from data.homestore.products.vases import pot

                parts.append(pot("cup" if j % 2 else "bowl", 0.045, tall, finish(words), (x, 0, zz)))
        return parts


@dataclass(frozen=True)
class Dresser(Design):
    """A chest of drawers."""

    category = "Dressers"
    noun = "Dresser"
    price = (149, 990)
    styles = {"Tallboy": "classic", "Double": "contemporary", "Vanity": "traditional"}

    shape: str = choice("Three-Drawer", "Double", "Tallboy", "Changing", "Mixed")
    size: float = span(0.85, 1.15)
    body: str = choice(*BODY)
    front: str = choice("flat", "shaker", "rattan")
    legs: str = choice("tapered", "straight", "block", "turned")
    handle: str = choice(*HANDLES)
    hardware: str = choice(*HARDWARE)

    @property
    def name(self) -> str:
        return {
            "Double": "Six-Drawer Double Dresser",
            "Tallboy": "Five-Drawer Tall Dresser",
            "Changing": "Wide Low Dresser",
            "Mixed": "Dresser with Small Top Drawers",
        }.get(self.shape, "Three-Drawer Dresser")

    @property
    def main(self) -> str:
        return self.body

    @property
    def second(self) -> str:
        return "" if self.handle == "none" else self.hardware

    @property
    def pattern_words(self) -> str:
        return f"{self.front} front" if self.front != "flat" else ""

    def model(self) -> Model:
        w, h, columns, rows = {
            "Three-Drawer": (0.85, 0.80, 1, 3),
            "Double": (1.4, 0.82, 2, 3),
            "Tallboy": (0.62, 1.22, 1, 5),
            "Changing": (1.3, 0.70, 2, 2),
            "Mixed": (0.95, 0.95, 1, 4),
        }[self.shape]
        w *= self.size
        d, z = 0.46, 0.15
        parts = legs(self.legs, w, d, z + 0.01, finish(self.body), 0.05) + carcase(w, d, z, h, self.body)
        cell = (h - z - 0.045) / rows
        for r in range(rows):
            n = 3 if self.shape == "Mixed" and r == rows - 1 else columns
            fw = (w - 0.03) / n
            for k in range(n):
                x = -w / 2 + 0.015 + fw * (k + 0.5)
                zz = z + 0.01 + r * cell
                parts += front(x, -d / 2, zz, fw - 0.007, cell - 0.007, self.front, self.body)
                grips = (-0.22, 0.22) if fw > 0.7 and self.handle != "bar" else (0.0,)
                for g in grips:
                    parts += handle(self.handle, (x + g * fw, -d / 2 - 0.018, zz + cell / 2), finish(self.hardware))
        return Model(parts, tops=(Top(0, 0, h, w * 0.86, d * 0.6),))


@dataclass(frozen=True)
class Shelving(Design):
    """A bookcase, an open shelf or a ladder shelf."""

    category = "Shelving"
    noun = "Shelf"
    price = (49, 590)
    styles = {"Ladder": "scandinavian", "Industrial": "industrial", "Cube": "contemporary", "Etagere": "glam"}

    shape: str = choice("Bookcase", "Industrial", "Ladder", "Cube", "Wall", "Etagere")
    width: float = span(0.7, 1.05)
    levels: int = count(3, 5)
    body: str = choice(*BODY)
    frame: str = choice("metal black", "metal brass", "metal white", "metal chrome", "metal bronze")

    @property
    def name(self) -> str:
        return {
            "Bookcase": "Bookcase",
            "Industrial": "Industrial Shelving Unit",
            "Ladder": "Ladder Shelf",
            "Cube": "Cube Shelf",
            "Wall": "Wall Shelf",
            "Etagere": "Étagère",
        }[self.shape]

    @property
    def main(self) -> str:
        return self.body

    @property
    def second(self) -> str:
        return self.frame if self.shape in ("Industrial", "Etagere") else ""

    @property
    def mount(self) -> Mount:
        return "wall" if self.shape == "Wall" else "floor"

    def model(self) -> Model:
        stuff, w, n = finish(self.body), self.width, self.levels
        d, h = 0.30, 0.36 * n + 0.1
        parts: Parts = []
        shelves: list[tuple[float, float, float, float]] = []  # z, width, depth, y
        if self.shape == "Wall":
            d = 0.2
            for k in range(min(n, 3)):
                shelves.append((0.30 * k + 0.03, w, d, -d / 2))
                parts.append(box((w, d, 0.03), stuff, (0, -d / 2, 0.30 * k), 0.004))
            return Model(parts + dressed(shelves, 0.27))
        if self.shape == "Ladder":
            for s in (-1, 1):
                parts.append(tube([(s * w / 2, -0.26, 0), (s * w / 2, d / 2 - 0.02, h)], 0.018, stuff, square=True))
            for k in range(n):
                t = (k + 0.6) / n
                depth = 0.42 * (1 - t) + 0.16
                y = d / 2 - depth / 2
                parts.append(box((w - 0.03, depth, 0.02), stuff, (0, y, t * h - 0.02)))
                shelves.append((t * h, w - 0.05, depth, y))
            return Model(parts + dressed(shelves, 0.24))
        open_frame = self.shape in ("Industrial", "Etagere")
        if open_frame:
            metal = finish(self.frame)
            for sx in (-1, 1):
                parts += [
                    box((0.022, 0.022, h), metal, (sx * (w / 2 - 0.011), sy * (d / 2 - 0.011), 0), 0.003)
                    for sy in (-1, 1)
                ]
                for z in (0.08, h - 0.03):
                    parts.append(box((0.02, d, 0.02), metal, (sx * (w / 2 - 0.011), 0, z), 0.003))
            if self.shape == "Industrial":
                parts += [
                    tube([(-w / 2, d / 2 - 0.01, 0.1), (w / 2, d / 2 - 0.01, h - 0.1)], 0.005, metal),
                    tube([(w / 2, d / 2 - 0.01, 0.1), (-w / 2, d / 2 - 0.01, h - 0.1)], 0.005, metal),
                ]
        else:
            parts += [box((0.024, d, h), stuff, (s * (w / 2 - 0.012), 0, 0)) for s in (-1, 1)]
            parts.append(box((w - 0.02, 0.01, h - 0.05), stuff, (0, d / 2 - 0.005, 0.04), 0.002))
        if self.shape == "Cube":
            parts += [box((0.02, d - 0.02, h - 0.05), stuff, (x, -0.005, 0.04)) for x in (-w / 6, w / 6)]
        glass = self.shape == "Etagere" and self.levels != 4
        for k in range(n + 1):
            z = 0.06 + (h - 0.09) * k / n
            parts.append(box((w - 0.02, d - 0.01, 0.024 if not glass else 0.012), stuff, (0, -0.002, z - 0.012), 0.003))
            if k < n:
                shelves.append((z + 0.012, w - 0.06, d - 0.03, -0.005))
        thirds = 3 if self.shape == "Cube" else 1
        return Model(parts + dressed(shelves, 0.27, thirds), tops=(Top(0, 0, h - 0.015, w * 0.7, d * 0.5),))


SPINES = ("8a3b32", "2f4b66", "d2c3a5", "41563f", "b98b3e", "5b4a63", "c9c4ba", "2c2c30", "a35d45", "6e8a94")


def dressed(shelves: list[tuple[float, float, float, float]], room: float, columns: int = 1) -> Parts:
    """Books, boxes and pots on shelves (z, width, depth, y), so that they look used; the same ones every
    time.
    """
    from data.homestore.finishes import Finish
    from data.homestore.products.vases import pot

    parts: Parts = []
    for level, (z, width, depth, y) in enumerate(shelves):
        for column in range(columns):
            w = width / columns - 0.03
            left = -width / 2 + column * width / columns + 0.015
            x = left + 0.01
            kind = (level * 2 + column * 3) % 4
            run = w * (0.62, 0.38, 0.8, 0.0)[kind]
            k = 0
            while x < left + run:
                seed = (level * 31 + column * 17 + k * 7) % 10
                thick, tall = 0.018 + 0.003 * (seed % 6), min(room - 0.03, 0.16 + 0.011 * ((seed * 3) % 8))
                deep = min(depth - 0.02, 0.14 + 0.006 * (seed % 5))
                cover = Finish("lacquer", SPINES[(seed + level) % 10])
                parts.append(
                    box((thick, deep, tall), cover, (x + thick / 2, y - depth / 2 + 0.02 + deep / 2, z), 0.002)
                )
                x += thick + 0.0015
                k += 1
            space = left + w - x
            if kind == 3 and w > 0.28:
                parts.append(
                    box(
                        (min(0.34, w * 0.8), min(0.22, depth - 0.03), min(0.2, room - 0.05)),
                        finish("seagrass natural"),
                        (left + w / 2, y, z),
                        0.02,
                    )
                )
            elif space > 0.13:
                shape, words = (
                    ("bottle", "ceramic white"),
                    ("bowl", "ceramic ochre"),
                    ("cup", "ceramic terracotta"),
                    ("bottle", "glass green"),
                )[(level + column) % 4]
                r = min(0.06, space * 0.3)
                parts.append(pot(shape, r, min(0.05 + 1.6 * r, room - 0.04), finish(words), (x + space / 2, y, z)))
    return parts
