"""Rooms: which products stand where, how they are lit, and where the camera is.

A room is drawn from (seed, number, attempt). An attempt that shows too few products, or too many, is thrown away by
looking at it with `truth.look` at a quarter of its size; so the same rooms are found on every machine.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from data.homestore import shell as built
from data.homestore.camera import Camera, Lamp, Shot
from data.homestore.catalogue import Product
from data.homestore.design import Top
from data.homestore.mesh import Parts, bounds, move, turn
from data.homestore.products import textiles
from data.homestore.truth import look

SHOWN = (6, 10)  # different products that a room shows
LARGE = 0.004  # share of the picture from which an object counts as shown
FILLED = 0.20  # least share of the picture that is products
ATTEMPTS = 60
Test = Callable[[Product], bool]


@dataclass
class Placed:
    """A product in its place."""

    product: Product
    parts: Parts
    tops: list[Top] = field(default_factory=list)
    bulbs: list[tuple[float, float, float]] = field(default_factory=list)
    spots: list[tuple[float, float, float, float]] = field(default_factory=list)  # pillows: x, y, z, turn
    rect: tuple[float, float, float, float] | None = None  # the floor it takes


@dataclass
class Room:
    """A furnished room."""

    kind: str
    space: built.Space
    placed: list[Placed]
    clutter: Parts
    outlook: Parts
    shell: Parts


class Furnisher:
    """Puts products into a room where there is space for them. Everything it does is decided by its `rng`."""

    def __init__(self, space: built.Space, pool: Sequence[Product], rng: random.Random) -> None:
        self.space, self.rng = space, rng
        self.pool: dict[str, list[Product]] = {}
        for product in pool:
            self.pool.setdefault(type(product.design).__name__, []).append(product)
        self.placed: list[Placed] = []
        self.clutter: Parts = []
        self._floor: list[tuple[float, float, float, float]] = []
        self._walls: dict[str, list[tuple[float, float, float, float]]] = {
            s: [] for s in ("back", "left", "right", "front")
        }
        self._used: list[tuple[float, float, float, float]] = []  # x, y, z, radius of things on tops
        hole = space.window
        self._walls[hole.side].append(
            (
                hole.along - hole.width / 2 - 0.1,
                hole.along + hole.width / 2 + 0.1,
                max(hole.low - 0.05, 0.0),
                hole.high + 0.3,
            )
        )

    # choosing

    def pick(self, kind: str, *shapes: str) -> Product | None:
        """A product of this kind (class name) and one of these silhouettes that is not in the room yet, or None."""
        here = {p.product.product for p in self.placed}
        found = [
            p
            for p in self.pool.get(kind, [])
            if p.product not in here and (not shapes or p.design.shape in shapes)
        ]
        return self.rng.choice(found) if found else None

    # the floor

    def stand(
        self,
        product: Product | None,
        x: float,
        y: float,
        degrees: float,
        margin: float = 0.03,
        under: Placed | None = None,
    ) -> Placed | None:
        """Stand a product on the floor unless it would touch something; x, y is its centre.

        It may reach under `under`, as a chair does under its table.
        """
        if product is None:
            return None
        model = product.design.model()
        parts = move(turn(model.parts, degrees), (x, y, 0))
        low, high = bounds(parts)
        rect = (low[0] - margin, low[1] - margin, high[0] + margin, high[1] + margin)
        if not self._free(rect, under.rect if under else None):
            return None
        self._floor.append(rect)
        self._shade_walls(low, high)
        a = math.radians(degrees)
        c, s = math.cos(a), math.sin(a)

        def to(px: float, py: float) -> tuple[float, float]:
            return x + c * px - s * py, y + s * px + c * py

        quarter = abs(round(degrees / 90)) % 2 == 1
        tops = [
            Top(*to(t.x, t.y), t.z, *((t.depth, t.width) if quarter else (t.width, t.depth)))
            for t in model.tops
        ]
        bulbs = [(*to(bx, by), bz) for bx, by, bz in model.bulbs]
        spots = [(*to(px, py), pz, degrees) for px, py, pz in model.pillow_spots]
        made = Placed(product, parts, tops, bulbs, spots, rect)
        self.placed.append(made)
        return made

    def _free(
        self, rect: tuple[float, float, float, float], but: tuple[float, float, float, float] | None = None
    ) -> bool:
        x0, y0, x1, y1 = rect
        edge = 0.005
        if (
            x0 < -0.04 + edge
            or y0 < -0.04
            or x1 > self.space.width + 0.04 - edge
            or y1 > self.space.depth + 0.04 - edge
        ):
            return False
        return all(
            x1 <= a or x0 >= c or y1 <= b or y0 >= d for a, b, c, d in self._floor if (a, b, c, d) != but
        )

    def keep_clear(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Let nothing stand here."""
        self._floor.append((x0, y0, x1, y1))

    def _shade_walls(self, low: np.ndarray, high: np.ndarray) -> None:  # type: ignore[type-arg]
        """Note which stretch of which wall a thing near it hides."""
        w, d = self.space.width, self.space.depth
        if high[1] > d - 0.3:
            self._walls["back"].append((low[0], high[0], 0.0, high[2]))
        if low[0] < 0.3:
            self._walls["left"].append((low[1], high[1], 0.0, high[2]))
        if high[0] > w - 0.3:
            self._walls["right"].append((d - high[1], d - low[1], 0.0, high[2]))

    def against(
        self, product: Product | None, side: str, along: float | None = None, gap: float = 0.03
    ) -> Placed | None:
        """Stand a product with its back to a wall; without `along`, wherever it fits."""
        if product is None:
            return None
        low, high = bounds(product.design.model().parts)
        half, back = float(high[0] - low[0]) / 2, float(high[1])
        length = self.space.length(side)
        tries = (
            [along]
            if along is not None
            else [self.rng.uniform(half + 0.05, max(half + 0.06, length - half - 0.05)) for _ in range(14)]
        )
        for t in tries:
            x, y, dx, dy = self.space.frame(side)
            off = back + gap
            px, py = x + dx * t + dy * off, y + dy * t - dx * off
            tall = float(high[2])
            hidden = (t - half, t + half, 0.0, tall)
            if (
                tall > self.space.window.low
                and side == self.space.window.side
                and self._clash(side, hidden, window_only=True)
            ):
                continue
            if tall > 1.0 and self._clash(side, hidden):
                continue
            made = self.stand(product, px, py, {"back": 0, "left": 90, "right": -90, "front": 180}[side])
            if made:
                return made
        return None

    def _clash(self, side: str, area: tuple[float, float, float, float], window_only: bool = False) -> bool:
        taken = self._walls[side][:1] if window_only else self._walls[side]
        a, b, c, d = area
        return any(a < q and b > p and c < s and d > r for p, q, r, s in taken)

    # walls, ceiling

    def hang(self, product: Product | None, side: str, along: float | None, z: float) -> Placed | None:
        """Hang a product with its middle at height z, where the wall is free."""
        if product is None:
            return None
        parts = product.design.model().parts
        low, high = bounds(parts)
        half, tall = float(high[0] - low[0]) / 2, float(high[2])
        length = self.space.length(side)
        z0 = min(z - tall / 2, self.space.height - tall - 0.12)
        tries = (
            [along]
            if along is not None
            else [self.rng.uniform(half + 0.15, max(half + 0.16, length - half - 0.15)) for _ in range(14)]
        )
        for t in tries:
            area = (t - half - 0.05, t + half + 0.05, z0 - 0.03, z0 + tall + 0.05)
            if z0 < 0.1 or self._clash(side, area) or area[0] < 0.03 or area[1] > length - 0.03:
                continue
            self._walls[side].append(area)
            made = Placed(product, self.space.on_wall(move(parts, (0, 0, z0)), side, t, 0.003))
            self.placed.append(made)
            return made
        return None

    def curtains(self, product: Product | None) -> Placed | None:
        """Hang curtains at the window."""
        if product is None or not isinstance(product.design, textiles.Curtain):
            return None
        hole = self.space.window
        parts = product.design.hung(hole.width + 0.30).parts
        low, high = bounds(parts)
        length = self.space.length(hole.side)
        half = float(high[0] - low[0]) / 2
        if (
            hole.along - half < 0.02
            or hole.along + half > length - 0.02
            or high[2] > self.space.height - 0.03
        ):
            return None
        self._walls[hole.side].append((hole.along - half, hole.along + half, 0.0, float(high[2])))
        on = self.space.on_wall(parts, hole.side, hole.along, 0.03)
        a, b = bounds(on)
        self._floor.append((a[0], a[1], b[0], b[1]))
        made = Placed(product, on)
        self.placed.append(made)
        return made

    def pendant(self, x: float, y: float, product: Product | None) -> Placed | None:
        """Hang a lamp from the ceiling."""
        if product is None:
            return None
        model = product.design.model()
        at = (x, y, self.space.height)
        made = Placed(
            product, move(model.parts, at), bulbs=[(bx + x, by + y, bz + at[2]) for bx, by, bz in model.bulbs]
        )
        self.placed.append(made)
        return made

    def rug(self, product: Product | None, x: float, y: float, degrees: float = 0) -> Placed | None:
        """Lay a rug, pushed inside the walls; furniture may stand on it."""
        if product is None:
            return None
        parts = turn(product.design.model().parts, degrees)
        low, high = bounds(parts)
        w, d = self.space.width, self.space.depth
        x = min(max(x, 0.05 - low[0]), w - 0.05 - high[0])
        y = min(max(y, 0.05 - low[1]), d - 0.05 - high[1])
        if high[0] - low[0] > w - 0.2 or high[1] - low[1] > d - 0.2:
            return None
        flat = [dataclasses.replace(p, vertices=p.vertices * (1, 1, 0.55) + (x, y, 0.001)) for p in parts]
        made = Placed(product, flat)
        self.placed.append(made)
        return made

    # tops and pillows

    def _spot(self, top: Top, radius: float, at: float | None) -> tuple[float, float] | None:
        for attempt in range(10):
            fx = at if at is not None and attempt == 0 else self.rng.uniform(-0.5, 0.5)
            long = top.width >= top.depth
            x = top.x + (fx * top.width if long else self.rng.uniform(-0.3, 0.3) * top.width)
            y = top.y + (self.rng.uniform(-0.3, 0.3) * top.depth if long else fx * top.depth)
            if all(
                abs(top.z - z) > 0.3 or math.hypot(x - px, y - py) > radius + r for px, py, z, r in self._used
            ):
                self._used.append((x, y, top.z, radius))
                return x, y
        return None

    def on_top(
        self, owner: Placed | None, product: Product | None, at: float | None = None, facing: float = 0.0
    ) -> Placed | None:
        """Set a small product on a piece of furniture; `at` from -0.5 to 0.5 along it."""
        if owner is None or product is None or not owner.tops:
            return None
        model = product.design.model()
        low, high = bounds(model.parts)
        wide = type(product.design).__name__ == "Television"
        radius = float(max(high[0] - low[0], high[1] - low[1])) / 2
        top = self.rng.choice(owner.tops)
        if not wide and radius > max(min(top.width, top.depth), 0.16) * 0.75:
            return None
        if wide and radius * 2 > max(top.width, top.depth) * 1.15:
            return None
        spot = self._spot(top, radius, at)
        if spot is None:
            return None
        degrees = facing + (
            0 if wide or type(product.design).__name__ == "Clock" else self.rng.uniform(-40, 40)
        )
        parts = move(turn(model.parts, degrees), (*spot, top.z))
        self._shade_walls(*bounds(parts))
        made = Placed(
            product, parts, bulbs=[(bx + spot[0], by + spot[1], bz + top.z) for bx, by, bz in model.bulbs]
        )
        self.placed.append(made)
        return made

    def litter(
        self, owner: Placed | None, made: Parts, at: float | None = None, radius: float = 0.13
    ) -> None:
        """Set something that is not for sale on a piece of furniture."""
        if owner is None or not owner.tops:
            return
        top = self.rng.choice(owner.tops)
        spot = self._spot(top, radius, at)
        if spot:
            self.clutter += move(turn(made, self.rng.uniform(-35, 35)), (*spot, top.z))

    def drop(self, made: Parts, x: float, y: float, radius: float) -> None:
        """Put something that is not for sale on the floor, if there is space."""
        rect = (x - radius, y - radius, x + radius, y + radius)
        if self._free(rect):
            self._floor.append(rect)
            self.clutter += move(turn(made, self.rng.uniform(0, 360)), (x, y, 0))

    def pillows(self, owner: Placed | None, number: int) -> None:
        """Lean pillows on a sofa, a chair or a bed."""
        if owner is None:
            return
        for x, y, z, degrees in owner.spots[:number]:
            product = self.pick("Pillow")
            if product is None or not isinstance(product.design, textiles.Pillow):
                return
            lean = 20 if product.design.shape == "Bolster" else 60
            bed = type(owner.product.design).__name__ == "Bed"
            lying = turn(product.design.lying(), 40 if bed else lean, "x")
            low, _ = bounds(lying)
            parts = move(lying, (0, -0.22 if not bed else -0.35, -float(low[2])))
            parts = move(turn(parts, degrees + self.rng.uniform(-9, 9)), (x, y, z))
            self.placed.append(Placed(product, parts))


def _living(f: Furnisher) -> None:
    w, d, rng = f.space.width, f.space.depth, f.rng
    side = rng.choice(("back", "back", "back", "left", "right"))
    middle = f.space.length(side) / 2 + rng.uniform(-0.3, 0.3)
    sofa = f.against(f.pick("Sofa"), side, middle, rng.choice((0.03, 0.12, 0.3))) or f.against(
        f.pick("Sofa"), "back", w / 2, 0.05
    )
    f.pillows(sofa, rng.choice((1, 2, 2)))
    cx, cy = w / 2, d / 2
    if sofa:
        low, high = bounds(sofa.parts)
        cx, cy = float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2
        ahead = {"back": (0, -1), "left": (1, 0), "right": (-1, 0)}[
            side if _against(sofa, f.space, side) else "back"
        ]
        reach = 1.12
        cx, cy = cx + ahead[0] * reach, cy + ahead[1] * reach
    across = 90 if side in ("left", "right") else 0
    if rng.random() < 0.85:
        f.rug(f.pick("Rug", "Area", "Fringed", "Round", "Oval"), cx, cy, across)
    table = f.stand(
        f.pick("Table", "Coffee", "Oval Coffee", "Nest Coffee") or f.pick("Ottoman"),
        cx,
        cy - (0.1 if not across else 0),
        across,
    )
    f.litter(table, built.books(rng, rng.randint(1, 3)), -0.3)
    f.litter(table, built.mug(rng), 0.35, 0.06)
    f.on_top(table, f.pick(rng.choice(("Candle", "Vase"))), 0.05)
    seat = f.pick("Chair", "Wing", "Barrel", "Shell") or f.pick("Ottoman")
    hand = rng.choice((-1, 1))
    chair = (
        f.stand(seat, cx + hand * 1.5, cy - 0.1, -hand * rng.uniform(50, 80))
        if not across
        else f.stand(seat, cx, cy + 1.4, rng.uniform(-25, 25))
    )
    f.pillows(chair, rng.choice((0, 1)))
    if rng.random() < 0.5:
        f.stand(f.pick("Ottoman"), cx - hand * 1.25, cy - 0.35, rng.uniform(-20, 20))
    lamp_x = (cx + rng.choice((-1, 1)) * 1.55) if not across else (0.35 if side == "left" else w - 0.35)
    f.stand(f.pick("FloorLamp"), lamp_x, d - 0.4, rng.uniform(-30, 30))
    side_table = (
        f.stand(f.pick("Table", "Side", "Drum Side"), cx - (lamp_x - cx), d - 0.5, 0) if not across else None
    )
    f.on_top(side_table, f.pick("TableLamp") or f.pick("Plant", "Cactus", "Pothos"), 0.0)
    if rng.random() < 0.45:
        mantel = f.against(f.pick("Fireplace"), rng.choice(("left", "right", "back")))
        f.on_top(
            mantel,
            f.pick("Clock", "Mantel") or f.pick("Candle"),
            rng.choice((-0.3, 0.0, 0.3)),
            _facing(mantel, f.space),
        )
        f.on_top(mantel, f.pick("Vase"), rng.choice((-0.4, 0.4)))
    else:
        stand = f.against(
            f.pick("Cabinet", "Media", "Sideboard") or f.pick("Cabinet", "Hall"),
            rng.choice(("left", "right")),
        )
        if f.on_top(stand, f.pick("Television"), 0.0, _facing(stand, f.space)) is None:
            f.on_top(stand, f.pick("Vase"), -0.3)
    f.against(f.pick("Shelving"), rng.choice(("left", "right", "back")))
    f.hang(f.pick("Artwork"), side, middle, 1.62)
    f.drop(built.basket(rng), rng.uniform(0.3, w - 0.3), rng.uniform(d * 0.5, d - 0.3), 0.22)
    f.drop(built.slippers(rng), cx + rng.uniform(-0.9, 0.9), cy - rng.uniform(0.6, 0.9), 0.2)


def _bedroom(f: Furnisher) -> None:
    w, d, rng = f.space.width, f.space.depth, f.rng
    middle = w / 2 + rng.uniform(-0.4, 0.4)
    side = (
        "back"
        if f.space.window.side == "back" or rng.random() < 0.75
        else ("left" if f.space.window.side == "right" else "right")
    )
    if side != "back":
        middle = d * (0.58 if side == "left" else 0.42)
    bed = f.against(f.pick("Bed"), side, middle, 0.02) or f.against(f.pick("Bed"), "back", None, 0.02)
    f.pillows(bed, rng.choice((1, 2, 2)))
    if bed:
        low, high = bounds(bed.parts)
        turned = not _against(bed, f.space, "back")
        cx, cy = float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2
        half = (float(high[1] - low[1]) if turned else float(high[0] - low[0])) / 2
        wall = side if turned else "back"
        at = cx if wall == "back" else cy if wall == "left" else d - cy
        night = f.pick("Cabinet", "Nightstand") or f.pick("Table", "Side", "Drum Side")
        lamp = f.pick("TableLamp")
        for s in (-1, 1):
            stand = f.against(night, wall, at + s * (half + 0.34))
            f.on_top(stand, lamp, 0.0)
            if s > 0:
                f.litter(stand, built.mug(rng), 0.4, 0.05)
        f.hang(f.pick("Artwork") or f.pick("Mirror"), wall, at, 1.75)
        if not turned:
            f.rug(f.pick("Rug", "Area", "Fringed", "Oval", "Round"), cx, d - 2.1)
            if rng.random() < 0.6:
                f.stand(f.pick("Bench") or f.pick("Ottoman"), cx, float(low[1]) - 0.28, 0)
        else:
            f.rug(f.pick("Rug"), w / 2, cy, 90)
        if rng.random() < 0.5:
            along = built.throw(rng, min(0.7, half * 1.2), 0.9, 0.26)
            if not turned:
                f.clutter += move(along, (cx + rng.uniform(-0.2, 0.2), float(low[1]) - 0.01, 0.575))
    chest = f.against(
        f.pick("Dresser") or f.pick("Cabinet", "Wardrobe"), rng.choice(("left", "right", "back"))
    )
    if chest and chest.tops:
        facing = _facing(chest, f.space)
        f.on_top(chest, f.pick("Vase") or f.pick("Plant", "Cactus", "Pothos"), 0.35)
        if rng.random() < 0.6:
            f.on_top(
                chest, f.pick("Clock", "Mantel") if rng.random() < 0.4 else f.pick("Candle"), -0.35, facing
            )
        f.litter(chest, built.books(rng, 2), 0.0)
        wall, t = _nearest_wall(chest, f.space)
        f.hang(f.pick("Mirror"), wall, t, 1.5)
    if rng.random() < 0.4:
        f.against(f.pick("Cabinet", "Wardrobe"), rng.choice(("left", "right")))
    f.stand(
        f.pick("Chair", "Wing", "Barrel", "Shell"),
        rng.choice((0.7, w - 0.7)),
        rng.uniform(d * 0.45, d * 0.6),
        rng.choice((-40, 40)),
    )
    f.drop(built.slippers(rng), w / 2 + rng.uniform(-1.2, 1.2), d - 2.5, 0.2)


def _dining(f: Furnisher) -> None:
    w, d, rng = f.space.width, f.space.depth, f.rng
    cx, cy = w / 2 + rng.uniform(-0.3, 0.3), d * 0.58
    bar = rng.random() < 0.35 and f.pick("BarStool") is not None and f.pick("Table", "Bar") is not None
    rug = f.pick("Rug", "Area", "Round", "Fringed", "Oval")
    if not bar and rng.random() < 0.6:
        f.rug(rug, cx, cy)
    top = (
        f.pick("Table", "Bar")
        if bar
        else f.pick("Table", "Dining", "Round Dining", "Pedestal Dining", "Trestle Dining")
    )
    table = f.stand(top, cx, cy, 0, 0.0) if top else None
    stool = (
        f.pick("BarStool")
        if bar
        else rng.choice(
            [
                c
                for c in (
                    f.pick("Chair", "Slat-Back", "Windsor", "Ladder-Back", "Cross-Back", "Parsons", "Shell"),
                    f.pick("FoldingSeat", "Bistro", "Slatted", "Director's"),
                )
                if c
            ]
            or [None]
        )
    )
    if table and stool:
        low, high = bounds(table.parts)
        long = float(high[0] - low[0]) > 1.3
        columns = (-0.24, 0.24) if long else (0.0,)
        for s, face in ((1, 0), (-1, 180)):
            for k in columns:
                gap = rng.uniform(0.10, 0.30)
                y = (float(high[1]) + gap) if s > 0 else (float(low[1]) - gap)
                f.stand(stool, cx + k * float(high[0] - low[0]), y, face + rng.uniform(-9, 9), 0.0, table)
        f.pendant(cx, cy, f.pick("Pendant"))
    f.on_top(table, f.pick("Vase") if rng.random() < 0.7 else f.pick("Candle"), 0.0)
    f.litter(table, built.fruit_bowl(rng), 0.35, 0.15)
    f.litter(table, built.mug(rng), -0.35, 0.06)
    board = f.against(
        f.pick("Cabinet", "Sideboard", "Display", "Hall"), rng.choice(("back", "back", "left", "right"))
    )
    if board and board.tops:
        f.on_top(board, f.pick("TableLamp"), rng.choice((-0.4, 0.4)))
        f.on_top(board, f.pick("Candle") or f.pick("Vase"), 0.05)
        f.on_top(board, f.pick("Plant", "Cactus", "Pothos"), rng.choice((-0.25, 0.25)))
        wall, t = _nearest_wall(board, f.space)
        f.hang(f.pick("Artwork") if rng.random() < 0.6 else f.pick("Mirror"), wall, t, 1.65)
    f.against(f.pick("Shelving"), rng.choice(("left", "right")))
    f.against(
        f.pick("Bench") if rng.random() < 0.5 else f.pick("FoldingSeat"),
        rng.choice(("left", "right", "back")),
    )
    f.hang(
        f.pick("Clock", "Minimal", "Station", "Sunray", "Pendulum"),
        rng.choice(("back", "left", "right")),
        None,
        1.85,
    )


def _study(f: Furnisher) -> None:
    w, d, rng = f.space.width, f.space.depth, f.rng
    side = rng.choice(("back", "back", "left", "right"))
    length = f.space.length(side)
    at = length * rng.uniform(0.35, 0.65)
    desk = f.against(
        f.pick("Table", "Writing") or f.pick("Table", "Dining", "Console", "Trestle Dining"), side, at, 0.04
    )
    if desk:
        low, high = bounds(desk.parts)
        x, y = float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2
        wall, _ = _nearest_wall(desk, f.space)
        dx, dy = {"back": (0, -1), "left": (1, 0), "right": (-1, 0)}.get(wall, (0, -1))
        half = (float(high[1] - low[1]) if dy else float(high[0] - low[0])) / 2
        seat = f.pick(
            "Chair", "Shell", "Slat-Back", "Parsons", "Windsor", "Cross-Back", "Ladder-Back"
        ) or f.pick("FoldingSeat")
        turned = {"back": 180, "left": -90, "right": 90}.get(wall, 180) + rng.uniform(-25, 25)
        f.stand(seat, x + dx * (half + 0.22), y + dy * (half + 0.22), turned, 0.0, desk)
        f.on_top(desk, f.pick("TableLamp", "Desk") or f.pick("TableLamp"), rng.choice((-0.48, 0.48)))
        top = desk.tops[0]
        spot = (top.x, top.y)
        f.clutter += move(
            turn(built.laptop(rng), {"back": 0, "left": 90, "right": -90}.get(wall, 0) + rng.uniform(-8, 8)),
            (*spot, top.z),
        )
        f._used.append((*spot, top.z, 0.2))
        f.litter(desk, built.books(rng, 3), 0.3)
        f.litter(desk, built.mug(rng), -0.28, 0.06)
        f.on_top(desk, f.pick("Plant", "Cactus", "Pothos"), 0.4)
        f.hang(f.pick("Artwork"), wall, _nearest_wall(desk, f.space)[1], 1.6)
    for wall in rng.sample(("left", "right", "back"), 2):
        f.against(f.pick("Shelving", "Bookcase", "Industrial", "Ladder", "Cube", "Etagere"), wall)
    f.hang(f.pick("Shelving", "Wall"), rng.choice(("back", "left", "right")), None, 1.6)
    f.rug(f.pick("Rug"), w / 2, d * 0.5, rng.choice((0, 90)))
    chair = f.stand(
        f.pick("Chair", "Wing", "Barrel"), rng.choice((0.75, w - 0.75)), d * 0.55, rng.choice((-50, 50))
    )
    f.pillows(chair, 1)
    if rng.random() < 0.5:
        f.stand(f.pick("Ottoman"), w / 2 + rng.uniform(-0.8, 0.8), d * 0.45, rng.uniform(-20, 20))
    f.stand(f.pick("FloorLamp"), rng.choice((0.35, w - 0.35)), d - 0.4, 0)
    f.against(
        f.pick("Cabinet", "Hall", "Sideboard", "Nightstand") if rng.random() < 0.6 else f.pick("BarStool"),
        rng.choice(("left", "right", "back")),
    )
    f.hang(
        f.pick("Clock", "Minimal", "Station", "Sunray", "Pendulum"),
        rng.choice(("back", "left", "right")),
        None,
        1.85,
    )
    f.drop(built.books(rng, 4), rng.uniform(0.4, w - 0.4), rng.uniform(d * 0.4, d * 0.8), 0.16)


def _hall(f: Furnisher) -> None:
    w, d, rng = f.space.width, f.space.depth, f.rng
    if f.space.window.side != "back":
        at = w * rng.choice((0.28, 0.72))
        f.clutter += f.space.on_wall(built.door(), "back", at)
        f._walls["back"].append((at - 0.55, at + 0.55, 0, 2.2))
        f.keep_clear(at - 0.5, d - 0.5, at + 0.5, d + 0.02)
    f.rug(f.pick("Rug", "Runner", "Area", "Fringed"), w / 2, d * 0.55, 90)
    for wall in rng.sample(("left", "right"), 2):
        unit = (
            f.pick("Bench")
            if rng.random() < 0.5
            else f.pick("Cabinet", "Hall", "Sideboard") or f.pick("Table", "Console") or f.pick("Dresser")
        )
        piece = f.against(unit, wall, f.space.length(wall) * (0.62 if wall == "left" else 0.38))
        if piece:
            t = _nearest_wall(piece, f.space)[1]
            f.hang(f.pick("Mirror") if rng.random() < 0.7 else f.pick("Artwork"), wall, t, 1.55)
            if type(piece.product.design).__name__ != "Bench":
                f.on_top(piece, f.pick("TableLamp"), -0.4)
                f.on_top(piece, f.pick("Vase"), 0.1)
                f.on_top(piece, f.pick("Candle"), 0.4)
            else:
                f.litter(piece, built.books(rng, 2), 0.3)
    f.against(
        f.pick("FoldingSeat") if rng.random() < 0.6 else f.pick("BarStool"),
        rng.choice(("left", "right", "back")),
    )
    f.stand(
        f.pick("Plant", "Fiddle-Leaf Fig", "Snake Plant", "Monstera", "Areca Palm", "Rubber Tree"),
        rng.choice((0.45, w - 0.45)),
        d - 0.5,
        0,
    )
    f.stand(f.pick("FloorLamp"), rng.choice((0.4, w - 0.4)), d - 0.45, 0)
    f.pendant(w / 2, d * 0.62, f.pick("Pendant"))
    f.against(f.pick("Dresser") or f.pick("Shelving"), "back")
    f.hang(
        f.pick("Clock", "Minimal", "Station", "Sunray", "Pendulum"),
        rng.choice(("back", "left", "right")),
        None,
        1.85,
    )
    f.hang(f.pick("Artwork"), "back", None, 1.6)
    f.drop(built.slippers(rng), w / 2 + rng.uniform(-0.6, 0.6), d * 0.5, 0.2)


def _finish(f: Furnisher) -> None:
    """What any room may have."""
    w, d, rng = f.space.width, f.space.depth, f.rng
    green = f.pick("Plant", "Fiddle-Leaf Fig", "Snake Plant", "Monstera", "Areca Palm", "Rubber Tree")
    for x, y in rng.sample(
        [(0.45, d - 0.45), (w - 0.45, d - 0.45), (0.45, d * 0.55), (w - 0.45, d * 0.55)], 4
    ):
        if rng.random() < 0.8 and f.stand(green, x, y, 0):
            break
    for side in rng.sample(("back", "left", "right"), 3):
        if rng.random() < 0.7:
            f.hang(f.pick(rng.choice(("Artwork", "Artwork", "Mirror"))), side, None, 1.6)


KINDS: dict[str, tuple[Callable[[Furnisher], None], tuple[float, float]]] = {
    "living": (_living, (4.6, 4.6)), "bedroom": (_bedroom, (4.2, 4.4)), "dining": (_dining, (4.2, 4.6)),
    "study": (_study, (3.7, 4.0)), "hall": (_hall, (3.0, 4.2)),
}  # fmt: skip


def _against(piece: Placed, space: built.Space, side: str) -> bool:
    low, high = bounds(piece.parts)
    return {"back": high[1] > space.depth - 0.5, "left": low[0] < 0.5, "right": high[0] > space.width - 0.5}[
        side
    ] and _nearest_wall(piece, space)[0] == side


def _nearest_wall(piece: Placed, space: built.Space) -> tuple[str, float]:
    """The wall at a piece's back, and how far along it the piece stands."""
    low, high = bounds(piece.parts)
    x, y = float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2
    gaps = {
        "back": space.depth - float(high[1]),
        "left": float(low[0]),
        "right": space.width - float(high[0]),
    }
    side = min(gaps, key=lambda s: gaps[s])
    return side, {"back": x, "left": y, "right": space.depth - y}[side]


def _facing(piece: Placed | None, space: built.Space) -> float:
    return (
        0.0 if piece is None else {"back": 0.0, "left": 90.0, "right": -90.0}[_nearest_wall(piece, space)[0]]
    )


def furnish(kind: str, pool: Sequence[Product], rng: random.Random) -> Room:
    """A furnished room of this kind, from the products of `pool`."""
    arrange, size = KINDS[kind]
    space = built.draw_space(rng, size)
    f = Furnisher(space, pool, rng)
    f.keep_clear(0, 0, space.width, 0.9)
    if rng.random() < 0.75:
        f.curtains(f.pick("Curtain"))
    arrange(f)
    _finish(f)
    return Room(kind, space, f.placed, f.clutter, built.outlook(space, rng), built.shell(space, rng))


def lights(room: Room, rng: random.Random) -> list[Lamp]:
    """Daylight through the window, or lamps in the evening; and the faint light that a real room's walls give back."""
    space = room.space
    w, d, h = space.width, space.depth, space.height
    hole = space.window
    x, y, dx, dy = space.frame(hole.side)
    middle = (hole.low + hole.high) / 2
    inward = (dy, -dx)
    at = (x + dx * hole.along + inward[0] * 0.03, y + dy * hole.along + inward[1] * 0.03, middle)
    into = (at[0] + inward[0], at[1] + inward[1], middle - 0.25)
    area = hole.width * (hole.high - hole.low)
    ceiling = (w / 2, d / 2, h - 0.02)
    lamps: list[Lamp] = []
    if space.evening:
        lamps.append(Lamp("area", ceiling, 3.2 * w * d, "ffdcae", (w / 2, d / 2, 0), w * 0.6, d * 0.6))
        lamps.append(Lamp("area", at, 5 * area, "7f9fd8", into, hole.width, hole.high - hole.low))
        for placed in room.placed:
            lamps += [Lamp("bulb", b, 16.0, "ffc98a", size=0.06) for b in placed.bulbs]
    else:
        lamps.append(Lamp("area", at, 62 * area, "eef4ff", into, hole.width, hole.high - hole.low))
        lamps.append(Lamp("area", ceiling, 3.0 * w * d, "fff4e6", (w / 2, d / 2, 0), w * 0.7, d * 0.7))
        if rng.random() < 0.55:
            outside = (
                at[0] - 4 * inward[0] + rng.uniform(-2, 2) * dx,
                at[1] - 4 * inward[1] + rng.uniform(-2, 2) * dy,
                middle + 3.2,
            )
            lamps.append(Lamp("sun", outside, 4.5, "fff0d8", at, size=2.0))
        if rng.random() < 0.35:
            for placed in room.placed:
                lamps += [Lamp("bulb", b, 9.0, "ffc98a", size=0.06) for b in placed.bulbs]
    lamps.append(
        Lamp("area", (w / 2, 0.05, h * 0.6), 2.0 * w * h, "fff6ea", (w / 2, d, h * 0.45), w * 0.8, h * 0.7)
    )
    return lamps


def view(room: Room, rng: random.Random, size: tuple[int, int]) -> Camera:
    """A camera near the front wall that looks across the room."""
    w, d = room.space.width, room.space.depth
    across = rng.uniform(0.22, 0.78)
    position = (across * w, rng.uniform(0.12, 0.35), rng.uniform(1.15, 1.65))
    aim = 0.5 + (0.5 - across) * rng.uniform(0.2, 0.9)
    target = (aim * w, d * rng.uniform(0.75, 0.95), rng.uniform(0.8, 1.05))
    return Camera(position, target, rng.uniform(62, 76), *size)


def shot(room: Room, camera: Camera, rng: random.Random, samples: int) -> Shot:
    """The room as a shot; its objects are the products in the order they were placed."""
    evening = room.space.evening
    return Shot([p.parts for p in room.placed], camera, lights(room, rng), room.shell + room.clutter, "1a2233" if evening else "cfdcea", 0.15 if evening else 0.6,
                samples, 0.65 if evening else 0.3, outside=room.outlook)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """A room that is worth a picture."""

    name: str
    kind: str
    split: str
    shot: Shot
    products: tuple[Product, ...]  # one for each object of the shot


def scene(
    name: str, kind: str, seed: str, split: str, pool: Sequence[Product], size: tuple[int, int], samples: int
) -> Scene:
    """The first attempt at this room that shows 6 to 10 different products."""
    best: tuple[int, Scene] | None = None
    for attempt in range(ATTEMPTS):
        rng = random.Random(f"{seed}/{name}/{attempt}")
        room = furnish(kind, pool, rng)
        camera = view(room, rng, size)
        made = shot(room, camera, rng, samples)
        small = dataclasses.replace(
            made, camera=dataclasses.replace(camera, width=size[0] // 4, height=size[1] // 4)
        )
        seen = look(small)
        shown = {room.placed[s.number - 1].product.product for s in seen if s.area > LARGE}
        every = {room.placed[s.number - 1].product.product for s in seen}
        found = Scene(name, kind, split, made, tuple(p.product for p in room.placed))
        crowd = max((s.area for s in seen), default=1.0)
        filled = sum(s.area for s in seen)
        if SHOWN[0] <= len(shown) and len(every) <= SHOWN[1] and crowd < 0.4 and filled > FILLED:
            return found
        if best is None or len(shown) > best[0]:
            best = (len(shown), found)
    assert best is not None
    return best[1]
