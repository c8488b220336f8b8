"""The room itself: floor, walls with a window, ceiling, door, skirting; and the small things that show it
is lived in.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np

from data.homestore.finishes import Finish, Picture, finish, painted
from data.homestore.mesh import Floats, Part, Parts, Point, box, lathe, move, pillow, sheet, tube, turn
from data.homestore.products.storage import SPINES
from data.homestore.products.vases import pot

FLOORS = (
    ("planks", "b8905f"), ("planks", "8a623f"), ("planks", "5d4030"), ("planks", "c9aa80"), ("planks",
    "a59784"),
    ("tiles", "cfc8bc"), ("tiles", "9a938a"), ("carpet", "b7ab99"), ("carpet", "8f9499"), ("plaster",
    "9b9893"),
)  # fmt: skip
WALLS = ("ece7dd", "e6ddcd", "d8d5cc", "cdd3cf", "c3cbb8", "b9c4cc", "d9c3b4", "e3cfc4", "a9b4a4", "8fa0a8",
"c9b79d",
         "f0ede6", "d2c7d0", "7d8a80", "5d6b78", "b5a48f", "e8e4da", "e9e2d0")  # fmt: skip
WALLPAPERS = ("trellis", "leaves", "pinstripe", "dots", "chevron")


@dataclass(frozen=True)
class Window:
    """A hole in the wall `side`: centre along the wall, width, lower and upper edge, metres."""

    side: str
    along: float
    width: float
    low: float
    high: float


@dataclass(frozen=True)
class Space:
    """A room's measures and surfaces. x runs from the left wall, y from the wall behind the camera."""

    width: float
    depth: float
    height: float
    window: Window
    evening: bool
    floor: Finish
    wall: Finish
    accent: Finish  # of the back wall

    def frame(self, side: str) -> tuple[float, float, float, float]:
        """The wall's start x, y and direction, seen so that the room is to the right of it: back, left,
        right, front.
        """
        return {
            "back": (0.0, self.depth, 1.0, 0.0), "left": (0.0, 0.0, 0.0, 1.0),
            "right": (self.width, self.depth, 0.0, -1.0), "front": (self.width, 0.0, -1.0, 0.0),
        }[side]  # fmt: skip

    def length(self, side: str) -> float:
        """How long a wall is."""
        return self.width if side in ("back", "front") else self.depth

    def on_wall(self, parts: Parts, side: str, along: float, gap: float = 0.0) -> Parts:
        """Parts whose back is at y = 0, put against a wall at this distance from its start."""
        x, y, dx, dy = self.frame(side)
        turned = turn(parts, {"back": 0, "left": 90, "right": -90, "front": 180}[side])
        inward = (dy, -dx)
        return move(turned, (x + dx * along + inward[0] * gap, y + dy * along + inward[1] * gap, 0))


def draw_space(rng: random.Random, size: tuple[float, float]) -> Space:
    """A random room of about this width and depth."""
    width, depth = (s * (0.9 + 0.25 * rng.random()) for s in size)
    height = rng.choice((2.5, 2.6, 2.75, 2.9))
    side = rng.choice(("left", "left", "right", "right", "back"))
    length = width if side == "back" else depth
    wide = min(1.2 + 0.9 * rng.random(), length * 0.45)
    if side == "back":
        along = length * rng.choice((0.25, 0.75))
        wide = min(wide, length * 0.36)
    else:  # well inside what the camera sees
        along = depth * (0.62 if side == "left" else 0.38)
    tall = rng.random() < 0.3
    window = Window(side, along, wide, 0.05 if tall else 0.85, 2.15)
    kind, colour = rng.choice(FLOORS)
    wall = Finish("wall", rng.choice(WALLS))
    accent = wall
    roll = rng.random()
    if roll < 0.14:
        accent = Finish("brickwork", rng.choice(("8d5140", "b9ada0", "7a5a4c")))
    elif roll < 0.30:
        paper = (rng.choice(WALLS), rng.choice(WALLS), rng.choice(WALLS))
        accent = painted("wall", Picture(rng.choice(WALLPAPERS), paper, rng.randrange(100)))
    elif roll < 0.52:
        accent = Finish("wall", rng.choice(WALLS))
    return Space(width, depth, height, window, rng.random() < 0.34, Finish(kind, colour), wall, accent)


def _plane(corner: Point, u: Point, v: Point, stuff: Finish, scale: float = 1.0) -> Part:
    """A flat quad with texture coordinates in metres along its sides."""
    a, b, c = np.array(corner), np.array(u), np.array(v)
    vertices = np.stack([a, a + b, a + b + c, a + c])
    w, h = float(np.linalg.norm(b)), float(np.linalg.norm(c))
    coord = np.array([[0, 0, 0], [w, 0, 0], [w, h, 0], [0, h, 0]]) / scale
    return Part(vertices, np.array([[0, 1, 2, 3]]), np.array([False]), coord, stuff)


def shell(space: Space, rng: random.Random) -> Parts:
    """All surfaces of the room."""
    w, d, h = space.width, space.depth, space.height
    grain = rng.random() < 0.5
    floor = (
        _plane((0, 0, 0), (w, 0, 0), (0, d, 0), space.floor)
        if grain
        else _plane((w, 0, 0), (0, d, 0), (-w, 0, 0), space.floor)
    )
    parts = [floor, _plane((0, 0, h), (0, d, 0), (w, 0, 0), Finish("wall", "f0eee9"))]
    skirting = finish("lacquer white")
    for side in ("back", "left", "right", "front"):
        x, y, dx, dy = space.frame(side)
        stuff = space.accent if side == "back" else space.wall
        length = space.length(side)
        holes = [space.window] if space.window.side == side else []
        for t0, t1, z0, z1 in _pieces(length, h, holes):
            piece = _plane(
                (x + dx * t0, y + dy * t0, z0),
                (dx * (t1 - t0), dy * (t1 - t0), 0),
                (0, 0, z1 - z0),
                stuff,
                0.8 if stuff.picture else 1.0,
            )
            piece.coord[:, 0] += t0
            piece.coord[:, 1] += z0
            parts.append(piece)
        if not (holes and holes[0].low < 0.12):
            parts += space.on_wall([box((length, 0.014, 0.09), skirting, (0, -0.007, 0), 0.003)], side, length / 2)
    return parts + _window(space)


def _pieces(length: float, height: float, holes: list[Window]) -> list[tuple[float, float, float, float]]:
    if not holes:
        return [(0, length, 0, height)]
    hole = holes[0]
    a, b = hole.along - hole.width / 2, hole.along + hole.width / 2
    return [(0, a, 0, height), (b, length, 0, height), (a, b, 0, hole.low), (a, b, hole.high, height)]


def _window(space: Space) -> Parts:
    """Frame, bars, sill and the depth of the wall."""
    hole, white = space.window, finish("lacquer white")
    w, tall, deep = hole.width, hole.high - hole.low, 0.16
    parts: Parts = [box((w, deep, 0.03), white, (0, deep / 2, z)) for z in (hole.low - 0.015, hole.high - 0.015)]
    parts += [box((0.03, deep, tall), white, (s * w / 2, deep / 2, hole.low)) for s in (-1, 1)]
    parts += [box((w, 0.05, 0.05), white, (0, deep - 0.04, z)) for z in (hole.low, hole.high - 0.05)]
    parts += [box((0.05, 0.05, tall), white, (s * (w / 2 - 0.025), deep - 0.04, hole.low)) for s in (-1, 1)]
    bars = 2 if w > 1.5 else 1
    parts += [
        box((0.035, 0.04, tall), white, (-w / 2 + w * (k + 1) / (bars + 1), deep - 0.04, hole.low)) for k in range(bars)
    ]
    parts.append(box((w, 0.03, 0.03), white, (0, deep - 0.04, hole.low + tall * 0.62)))
    if hole.low > 0.3:
        parts.append(box((w + 0.12, 0.20, 0.03), white, (0, 0.06, hole.low - 0.03), 0.006))
    return space.on_wall(parts, hole.side, hole.along)


def outlook(space: Space, rng: random.Random) -> Parts:
    """What is seen through the window, a few metres off."""
    if space.evening:
        colours, glow = ("1b2740", "33405c", "0e1410", "10160f"), 0.5
    else:
        colours, glow = (
            rng.choice(
                (
                    ("a8c8e8", "e8f0f4", "6d8560", "8ca06c"),
                    ("c5d2dc", "eef0f0", "7c8a70", "98a284"),
                    ("9cc0ea", "f4ead8", "587a50", "86a05c"),
                )
            ),
            3.2,
        )
    view = Finish("backdrop", colours[0], picture=Picture("sky", colours, rng.randrange(1000)), glow=glow)
    screen = sheet(lambda u, v: (9 * (v - 0.5), 0 * u + 3.0, 6.5 * u - 1.8), view, 2, 2)
    return space.on_wall([screen], space.window.side, space.window.along)


def door() -> Parts:
    """A closed door with its frame, back at y = 0."""
    white, metal = finish("lacquer white"), finish("metal steel")
    parts: Parts = [box((0.86, 0.03, 2.05), white, (0, -0.015, 0), 0.003)]
    parts += [
        box((0.08, 0.045, 2.05), white, (s * 0.47, -0.022, 0), 0.006) for s in (-1, 1)
    ]  # faces that coincide render black
    parts.append(box((1.02, 0.045, 0.08), white, (0, -0.022, 2.05), 0.006))
    parts += [box((0.52, 0.012, h), white, (0, -0.034, z), 0.005) for z, h in ((0.22, 0.62), (1.05, 0.8))]
    parts.append(tube([(0.36, -0.03, 1.0), (0.36, -0.075, 1.0), (0.25, -0.075, 1.0)], 0.009, metal))
    return parts


def books(rng: random.Random, number: int) -> Parts:
    """A stack of books, not quite straight."""
    parts: Parts = []
    z = 0.0
    for _ in range(number):
        thick = 0.018 + 0.02 * rng.random()
        cover = Finish("lacquer", rng.choice(SPINES))
        parts += move(
            turn(
                [box((0.16 + 0.05 * rng.random(), 0.22 + 0.05 * rng.random(), thick), cover, radius=0.002)],
                rng.uniform(-18, 18),
            ),
            (0, 0, z),
        )
        z += thick
    return parts


def mug(rng: random.Random) -> Parts:
    """A mug."""
    stuff = finish(rng.choice(("ceramic white", "ceramic teal", "ceramic ochre", "ceramic navy", "stoneware sand")))
    loop = [(0.036 + 0.022 * math.sin(a), 0, 0.045 - 0.026 * math.cos(a)) for a in [math.pi * k / 8 for k in range(9)]]
    return [pot("cup", 0.040, 0.085, stuff), tube(loop, 0.005, stuff, segments=8)]


def fruit_bowl(rng: random.Random) -> Parts:
    """A bowl of apples or oranges."""
    parts: Parts = [
        pot(
            "bowl",
            0.13,
            0.08,
            finish(rng.choice(("ceramic white", "ceramic celadon", "wood oak", "stoneware sand"))),
        )
    ]
    skin = Finish("wax", rng.choice(("b8402c", "d98a2b", "9cae45")))
    for k in range(6):
        a, r = 2.4 * k, 0.065 if k < 5 else 0.0
        ball = [(0.036 * math.sin(math.pi * j / 8), -0.034 * math.cos(math.pi * j / 8)) for j in range(9)]
        parts.append(
            lathe(
                [(max(q, 0.0), z) for q, z in ball],
                skin,
                (r * math.cos(a), r * math.sin(a), 0.072 if k < 5 else 0.118),
                16,
            )
        )
    return parts


def laptop(rng: random.Random) -> Parts:
    """An open laptop."""
    grey = finish("metal steel")
    screen = Finish(
        "screen",
        "101012",
        picture=Picture("brush", ("3f6f9c", "c9dbe8", "e8b48c", "24435e"), rng.randrange(50)),
    )
    lid = [
        box((0.32, 0.008, 0.21), grey, (0, 0.004, 0), 0.003),
        sheet(lambda u, v: (0.30 * (v - 0.5), 0 * u - 0.001, 0.01 + 0.19 * u), screen, 2, 2),
    ]
    keys = box((0.27, 0.10, 0.002), finish("plastic black"), (0, 0.02, 0.0145), 0.001)
    return [box((0.32, 0.22, 0.015), grey, radius=0.004), keys, *move(turn(lid, -18, "x"), (0, 0.108, 0.014))]


def basket(rng: random.Random) -> Parts:
    """A basket with a blanket in it."""
    weave = finish(rng.choice(("seagrass natural", "rattan natural", "seagrass dark")))
    wool = finish(rng.choice(("wool cream", "wool mustard", "wool grey", "wool rust", "wool blue", "wool sage")))
    return [
        pot("cup", 0.19, 0.30, weave),
        pillow((0.30, 0.30, 0.20), wool, (0, 0, 0.18)),
        *move(turn([pillow((0.26, 0.22, 0.14), wool)], 35, "x"), (0.02, 0.0, 0.22)),
    ]


def slippers(rng: random.Random) -> Parts:
    """A pair of slippers."""
    stuff = finish(rng.choice(("wool grey", "wool navy", "wool blush", "leather tan")))
    one: Parts = [
        box((0.09, 0.25, 0.018), finish("leather brown"), radius=0.008),
        box((0.088, 0.13, 0.06), stuff, (0, -0.055, 0.012), 0.028),
    ]
    return one + move(turn(one, 14), (0.14, 0.02, 0))


def throw(rng: random.Random, width: float, depth: float, drop: float) -> Parts:
    """A blanket that lies over an edge: `depth` metres back from y = 0 on top, `drop` down in front."""
    wool = finish(
        rng.choice(("wool cream", "wool mustard", "wool grey", "wool rust", "wool teal", "wool blush", "wool sage"))
    )
    skew, phase = rng.uniform(-0.08, 0.08), rng.random() * 6

    def surface(u: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
        along = u * (depth + drop)
        over = np.maximum(along - depth, 0)
        y = depth - np.minimum(along, depth) - 0.035 * np.tanh(over / 0.04)
        z = 0.012 - over + 0.008 * np.sin(9 * v + phase) + 0.006 * np.sin(13 * u + 5 * v)
        return (
            (v - 0.5) * width + skew * u + 0.01 * np.sin(8 * u),
            y - 0.008 * np.sin(14 * v + phase) * (over > 0),
            z,
        )

    return [sheet(surface, wool, 22, 20)]


def magazine(rng: random.Random) -> Parts:
    """A magazine."""
    cover = painted(
        "plaster",
        Picture(
            rng.choice(("abstract", "landscape", "portrait")),
            ("e8e0d0", "c05a3a", "2f4a5c", "d8a83c", "3a3a3a"),
            rng.randrange(99),
        ),
    )
    return [box((0.21, 0.28, 0.006), cover, radius=0.001)]
