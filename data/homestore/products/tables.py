"""Tables and fireplaces."""

# ruff: noqa: D102, RUF012 - what the properties mean is said in design.Design

from __future__ import annotations

from dataclasses import dataclass

from data.homestore.design import Design, Model, Mount, Top, choice, span
from data.homestore.finishes import BODY, DARK, EMBER, FLAME, METAL, Finish, finish
from data.homestore.mesh import Parts, box, circle, lathe, move, rounded, slab, tube, turn
from data.homestore.products.common import legs

TOPS = (*BODY, "marble white", "marble black", "marble green", "marble beige", "glass clear", "glass smoke")


@dataclass(frozen=True)
class Table(Design):
    """A dining, coffee, side or writing table."""

    category = "Tables"
    noun = "Table"
    price = (69, 1290)
    styles = {
        "Pedestal Dining": "classic",
        "Drum Side": "contemporary",
        "Trestle Dining": "farmhouse",
        "Nest Coffee": "contemporary",
        "Writing": "scandinavian",
    }

    shape: str = choice(
        "Dining",
        "Round Dining",
        "Pedestal Dining",
        "Trestle Dining",
        "Coffee",
        "Oval Coffee",
        "Nest Coffee",
        "Side",
        "Drum Side",
        "Console",
        "Writing",
        "Bar",
    )
    size: float = span(0.88, 1.12)
    top: str = choice(*TOPS)
    frame: str = choice(*BODY[:10], *METAL)
    legs: str = choice("tapered", "straight", "turned", "hairpin", "sled")

    @property
    def name(self) -> str:
        return "Writing Desk" if self.shape == "Writing" else f"{self.shape} Table"

    @property
    def main(self) -> str:
        return self.top

    @property
    def second(self) -> str:
        return self.frame

    def model(self) -> Model:
        w, d, h = {
            "Dining": (1.7, 0.88, 0.75), "Round Dining": (1.15, 1.15, 0.75), "Pedestal Dining": (1.1, 1.1,
            0.75),
            "Trestle Dining": (1.8, 0.9, 0.75), "Coffee": (1.1, 0.6, 0.42), "Oval Coffee": (1.15, 0.65, 0.40),
            "Nest Coffee": (0.8, 0.8, 0.42), "Side": (0.45, 0.45, 0.55), "Drum Side": (0.42, 0.42, 0.50),
            "Console": (1.2, 0.34, 0.80), "Writing": (1.2, 0.6, 0.75), "Bar": (1.25, 0.6, 1.02),
        }[self.shape]  # fmt: skip
        w, d = w * self.size, (d * self.size if w == d else d)
        top, frame = finish(self.top), finish(self.frame)
        surface = (Top(0, 0, h, w * 0.7, d * 0.6),)
        thick = 0.014 if top.kind == "glass" else 0.03
        legged = "straight" if self.legs == "hairpin" and h > 0.9 else self.legs
        if self.shape == "Nest Coffee":
            parts = self._ring_table(w / 2, h, thick) + move(
                self._ring_table(w * 0.32, h - 0.1, thick), (w * 0.52, -w * 0.2, 0)
            )
            return Model(parts, tops=(Top(0, 0, h, w * 0.6, w * 0.5),))
        if self.shape == "Drum Side":
            r = w / 2
            body = lathe(
                [
                    (0, 0),
                    (r * 0.8, 0),
                    (r * 0.85, 0.02),
                    (r * 0.62, h * 0.35),
                    (r * 0.62, h * 0.5),
                    (r * 0.9, h - 0.03),
                    (0, h - 0.03),
                ],
                frame,
            )
            return Model([body, slab(circle(r), 0.03, top, (0, 0, h - 0.03))], tops=surface)
        if self.shape == "Pedestal Dining":
            r = w / 2
            foot = lathe(
                [
                    (0, 0),
                    (r * 0.56, 0),
                    (r * 0.56, 0.02),
                    (r * 0.2, 0.08),
                    (0.055, 0.2),
                    (0.05, h * 0.5),
                    (0.09, h * 0.75),
                    (r * 0.35, h - 0.03),
                    (0, h - 0.03),
                ],
                frame,
            )
            return Model([foot, slab(circle(r, 48), thick, top, (0, 0, h - thick))], tops=surface)
        if self.shape in ("Round Dining", "Side"):
            r = w / 2
            inset = r * 0.42 if legged == "tapered" else r * 0.34
            parts = legs(legged, w, w, h - thick, frame, inset)
            if legged not in ("hairpin",):
                parts.append(
                    lathe(
                        [
                            (r * 0.62, h - thick - 0.05),
                            (r * 0.66, h - thick - 0.05),
                            (r * 0.66, h - thick),
                            (r * 0.62, h - thick),
                        ],
                        frame,
                    )
                )
            return Model([*parts, slab(circle(r, 48), thick, top, (0, 0, h - thick))], tops=surface)
        if self.shape == "Oval Coffee":
            parts = legs(legged, w * 0.8, d * 0.72, h - thick, frame, 0.06)
            parts.append(slab(circle(w / 2, 48, d / w), thick, top, (0, 0, h - thick)))
            return Model(parts, tops=surface)
        if self.shape == "Trestle Dining":
            parts = [box((0.07, 0.62, 0.06), frame, (s * (w / 2 - 0.3), 0, 0), 0.01) for s in (-1, 1)]
            parts += [box((0.07, 0.66, 0.06), frame, (s * (w / 2 - 0.3), 0, h - thick - 0.06), 0.01) for s in (-1, 1)]
            for s in (-1, 1):
                x = s * (w / 2 - 0.3)
                parts += [
                    tube([(x, t * 0.24, 0.03), (x, -t * 0.2, h - thick - 0.03)], 0.03, frame, square=True)
                    for t in (-1, 1)
                ]
            parts.append(box((w - 0.6, 0.05, 0.08), frame, (0, 0, h * 0.42), 0.008))
            return Model([*parts, box((w, d, thick + 0.012), top, (0, 0, h - thick - 0.012), 0.008)], tops=surface)
        parts = legs(legged, w, d, h - thick, frame, 0.07)
        if legged not in ("hairpin", "sled"):
            parts += [box((w - 0.16, 0.02, 0.07), frame, (0, s * (d / 2 - 0.07), h - thick - 0.07)) for s in (-1, 1)]
            parts += [box((0.02, d - 0.16, 0.07), frame, (s * (w / 2 - 0.07), 0, h - thick - 0.07)) for s in (-1, 1)]
        if self.shape == "Bar":
            parts += [
                tube([(-w / 2 + 0.07, y, 0.2), (w / 2 - 0.07, y, 0.2)], 0.012, frame)
                for y in (-d / 2 + 0.07, d / 2 - 0.07)
            ]
        if self.shape in ("Console", "Coffee") and self.size > 1.0:
            parts.append(box((w - 0.15, d - 0.14, 0.02), frame, (0, 0, h * 0.3)))
        if self.shape == "Writing":
            parts.append(box((w - 0.12, d - 0.12, 0.10), frame, (0, 0, h - thick - 0.10)))
            for s in (-1, 1):
                parts.append(
                    box(
                        ((w - 0.14) / 2 - 0.01, 0.016, 0.08),
                        frame,
                        (s * (w - 0.14) / 4, -d / 2 + 0.056, h - thick - 0.09),
                    )
                )
                knob = turn(
                    [
                        lathe(
                            [(0, 0), (0.008, 0), (0.014, 0.014), (0.01, 0.02), (0, 0.022)],
                            finish("metal brass"),
                            segments=14,
                        )
                    ],
                    90,
                    "x",
                )
                parts += move(knob, (s * (w - 0.14) / 4, -d / 2 + 0.048, h - thick - 0.05))
        parts.append(
            box((w, d, thick), top, (0, 0, h - thick), 0.006)
            if self.size < 1.05
            else slab(rounded(w, d, 0.05), thick, top, (0, 0, h - thick))
        )
        return Model(parts, tops=surface)

    def _ring_table(self, r: float, h: float, thick: float) -> Parts:
        top, frame = finish(self.top), finish(self.frame)
        ring = [(r * 0.92 * x, r * 0.92 * y, 0.012) for x, y in circle(1.0, 40)]
        parts = [
            tube(ring, 0.011, frame, closed=True, segments=8),
            tube([(x, y, h - thick - 0.01) for x, y, _ in ring], 0.011, frame, closed=True, segments=8),
        ]
        parts += [tube([(x, y, 0.012), (x, y, h - thick - 0.01)], 0.011, frame, segments=8) for x, y, _ in ring[5::10]]
        return [*parts, slab(circle(r, 48), thick, top, (0, 0, h - thick))]


@dataclass(frozen=True)
class Fireplace(Design):
    """A mantel with an electric fire, a wood stove or a wall fire."""

    category = "Fireplaces"
    noun = "Fireplace"
    price = (249, 1690)
    styles = {"Mantel": "traditional", "Brick": "farmhouse", "Stove": "industrial"}

    shape: str = choice("Mantel", "Stove", "Brick", "Panel", "Corner-Column")
    size: float = span(0.85, 1.1, near=False)
    mouth: float = span(0.42, 0.60)
    height: float = span(0.96, 1.16)
    hearth: str = choice("marble black", "marble white", "marble grey", "marble beige")
    surround: str = choice(
        "lacquer white",
        "lacquer cream",
        "lacquer grey",
        "lacquer anthracite",
        "wood oak",
        "wood walnut",
        "marble white",
        "marble black",
        "marble green",
        "lacquer sage",
        "lacquer navy",
        "wood grey",
    )

    @property
    def name(self) -> str:
        return {
            "Mantel": "Mantel Fireplace",
            "Stove": "Wood-Burning Stove",
            "Brick": "Brick Fireplace",
            "Panel": "Linear Electric Fireplace",
            "Corner-Column": "Column Fireplace",
        }[self.shape]

    @property
    def main(self) -> str:
        return "metal black" if self.shape == "Stove" else self.surround

    def model(self) -> Model:
        stuff, w, dark = finish(self.surround), 1.2 * self.size, DARK
        if self.shape == "Stove":
            return self._stove()
        d, h = 0.34, self.height
        if self.shape == "Panel":
            h, w = 0.9, 1.5 * self.size
        mouth_w, mouth_h, sill = (w * self.mouth, 0.56, 0.1) if self.shape != "Panel" else (w * 0.84, 0.34, 0.32)
        wall = Finish("brickwork", "8d4a37") if self.shape == "Brick" else stuff
        side = (w - mouth_w) / 2
        parts: Parts = [box((side, d, h - 0.06), wall, (s * (w - side) / 2, 0, 0), 0.006) for s in (-1, 1)]
        parts.append(box((mouth_w + 0.01, d, h - 0.06 - sill - mouth_h), wall, (0, 0, sill + mouth_h), 0.004))
        parts.append(box((mouth_w + 0.01, d, sill), wall, (0, 0, 0), 0.004))
        parts.append(box((w + 0.18, d + 0.1, 0.06), stuff, (0, -0.03, h - 0.06), 0.01))
        parts.append(
            box(
                (mouth_w, 0.02, mouth_h),
                Finish("brickwork", "4a3a34") if self.shape != "Panel" else dark,
                (0, d / 2 - 0.02, sill),
            )
        )
        parts.append(box((mouth_w, d, 0.01), dark, (0, 0, sill)))
        if self.shape in ("Mantel", "Corner-Column"):
            parts.append(box((w + 0.10, d + 0.05, 0.05), stuff, (0, -0.02, h - 0.11), 0.012))
            parts.append(box((w + 0.3, d + 0.3, 0.04), finish(self.hearth), (0, -0.12, 0), 0.004))
            for s in (-1, 1):
                x = s * (w - side) / 2
                if self.shape == "Corner-Column":
                    parts.append(
                        lathe(
                            [
                                (0, 0.04),
                                (0.085, 0.04),
                                (0.085, 0.1),
                                (0.062, 0.13),
                                (0.055, h - 0.25),
                                (0.08, h - 0.16),
                                (0.085, h - 0.11),
                                (0, h - 0.11),
                            ],
                            stuff,
                            (x, -d / 2 - 0.05, 0),
                            24,
                        )
                    )
                else:
                    parts.append(box((side * 0.62, 0.025, h - 0.42), stuff, (x, -d / 2 - 0.006, 0.16), 0.008))
                    parts.append(box((side, 0.05, 0.1), stuff, (x, -d / 2, 0.03), 0.006))
        if self.shape != "Panel":
            metal = finish("metal black")
            parts += [
                box((0.02, 0.02, mouth_h), metal, (s * (mouth_w / 2 - 0.01), -d / 2 - 0.006, sill)) for s in (-1, 1)
            ]
            parts.append(box((mouth_w, 0.02, 0.02), metal, (0, -d / 2 - 0.006, sill + mouth_h - 0.02)))
        parts += move(fire(mouth_w * (0.62 if self.shape != "Panel" else 0.92), mouth_h * 0.6), (0, 0.02, sill + 0.01))
        return Model(parts, tops=(Top(0, 0, h, w * 0.9, d * 0.6),), bulbs=((0, -0.05, sill + 0.2),))

    def _stove(self) -> Model:
        iron, s = finish("metal black"), self.size
        w, d, z, h = 0.52 * s, 0.42, 0.16, 0.72
        parts = legs("tapered", w, d, z + 0.01, iron, 0.06)
        t = 0.03
        parts += [box((t, d, h - z), iron, (k * (w - t) / 2, 0, z), 0.008) for k in (-1, 1)]
        parts += [box((w, d, zh), iron, (0, 0, zz), 0.008) for zz, zh in ((z, 0.12), (h - 0.12, 0.12))]
        parts.append(box((w, t, h - z), iron, (0, d / 2 - t / 2, z)))
        parts.append(box((w + 0.06, d + 0.06, 0.03), iron, (0, 0, h), 0.01))
        door = [((0.05, 0.03, 0.36), (k * (w / 2 - 0.06), -d / 2 - 0.01, z + 0.1)) for k in (-1, 1)]
        parts += [box(size, iron, at, 0.006) for size, at in door]
        parts += [box((w - 0.07, 0.03, 0.05), iron, (0, -d / 2 - 0.01, zz), 0.006) for zz in (z + 0.08, h - 0.15)]
        parts.append(
            tube(
                [
                    (w / 2 - 0.06, -d / 2 - 0.03, 0.42),
                    (w / 2 - 0.06, -d / 2 - 0.06, 0.43),
                    (w / 2 - 0.06, -d / 2 - 0.06, 0.5),
                ],
                0.007,
                finish("metal chrome"),
            )
        )
        parts.append(tube([(0, 0.06, h + 0.02), (0, 0.06, h + 0.75)], 0.06, iron, segments=20))
        parts += move(fire(w * 0.55, 0.2), (0, 0, z + 0.13))
        return Model(parts, bulbs=((0, -0.05, z + 0.25),))

    @property
    def mount(self) -> Mount:
        return "floor"


def fire(width: float, height: float) -> Parts:
    """Logs and flames."""
    bark = Finish("wood", "3a2a20")
    parts: Parts = []
    for k, (x, y, a) in enumerate(((-0.2, 0.0, 8), (0.2, 0.02, -10), (0.0, -0.05, 3), (0.0, 0.04, -4))):
        z = 0.04 if k < 3 else 0.10
        log = tube([(-0.28 * width, 0, 0), (0.28 * width, 0, 0)], 0.035, bark)
        parts += move(turn([log], a), (x * width, y, z))
    parts.append(box((width * 0.9, 0.12, 0.015), EMBER, (0, 0, 0), 0.004))
    n = max(5, round(width / 0.09))
    for k in range(n):
        x = -width * 0.42 + width * 0.84 * k / (n - 1)
        tall = height * (0.55 + 0.45 * ((k * 7) % 5) / 4) * (1 - 0.45 * abs(2 * k / (n - 1) - 1))
        lean = 0.02 * (1 if k % 2 else -1)
        shape = [
            (x, 0, 0.05),
            (x + lean, 0, 0.05 + tall * 0.35),
            (x - lean, 0.0, 0.05 + tall * 0.7),
            (x, 0, 0.05 + tall),
        ]
        parts.append(tube(shape, [0.018, 0.026, 0.014, 0.001], FLAME if k % 2 else EMBER, segments=8))
    return parts
