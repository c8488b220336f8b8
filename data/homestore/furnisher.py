"""Puts products into a room where there is space for them."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from data.homestore import shell as built
from data.homestore.catalogue import Product
from data.homestore.design import Top, model_of
from data.homestore.mesh import Floats, Parts, bounds, move, turn
from data.homestore.products import textiles


@dataclass
class Placed:
    """A product in its place."""

    product: Product
    parts: Parts
    tops: list[Top] = field(default_factory=list)
    bulbs: list[tuple[float, float, float]] = field(default_factory=list)
    spots: list[tuple[float, float, float, float]] = field(default_factory=list)  # pillows: x, y, z, turn
    rect: tuple[float, float, float, float] | None = None  # the floor it takes


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
        """A product of this kind (class name) and one of these silhouettes that is not in the room yet, or
        None.
        """
        here = {p.product.product for p in self.placed}
        found = [
            p for p in self.pool.get(kind, []) if p.product not in here and (not shapes or p.design.shape in shapes)
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
        model = model_of(product.design)
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
        tops = [Top(*to(t.x, t.y), t.z, *((t.depth, t.width) if quarter else (t.width, t.depth))) for t in model.tops]
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
        return all(x1 <= a or x0 >= c or y1 <= b or y0 >= d for a, b, c, d in self._floor if (a, b, c, d) != but)

    def keep_clear(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Let nothing stand here."""
        self._floor.append((x0, y0, x1, y1))

    def _shade_walls(self, low: Floats, high: Floats) -> None:
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
        low, high = bounds(model_of(product.design).parts)
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

    def occupy(self, side: str, area: tuple[float, float, float, float]) -> None:
        """Let nothing hang on this stretch of a wall: from and to along it, from and to in height."""
        self._walls[side].append(area)

    # walls, ceiling

    def hang(self, product: Product | None, side: str, along: float | None, z: float) -> Placed | None:
        """Hang a product with its middle at height z, where the wall is free."""
        if product is None:
            return None
        parts = model_of(product.design).parts
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
        if hole.along - half < 0.02 or hole.along + half > length - 0.02 or high[2] > self.space.height - 0.03:
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
        model = model_of(product.design)
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
        parts = turn(model_of(product.design).parts, degrees)
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

    def reserve(self, x: float, y: float, z: float, radius: float) -> None:
        """Let nothing be set down here."""
        self._used.append((x, y, z, radius))

    def _spot(self, top: Top, radius: float, at: float | None) -> tuple[float, float] | None:
        for attempt in range(10):
            fx = at if at is not None and attempt == 0 else self.rng.uniform(-0.5, 0.5)
            long = top.width >= top.depth
            x = top.x + (fx * top.width if long else self.rng.uniform(-0.3, 0.3) * top.width)
            y = top.y + (self.rng.uniform(-0.3, 0.3) * top.depth if long else fx * top.depth)
            if all(abs(top.z - z) > 0.3 or math.hypot(x - px, y - py) > radius + r for px, py, z, r in self._used):
                self._used.append((x, y, top.z, radius))
                return x, y
        return None

    def on_top(
        self, owner: Placed | None, product: Product | None, at: float | None = None, facing: float = 0.0
    ) -> Placed | None:
        """Set a small product on a piece of furniture; `at` from -0.5 to 0.5 along it."""
        if owner is None or product is None or not owner.tops:
            return None
        model = model_of(product.design)
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
        degrees = facing + (0 if wide or type(product.design).__name__ == "Clock" else self.rng.uniform(-40, 40))
        parts = move(turn(model.parts, degrees), (*spot, top.z))
        self._shade_walls(*bounds(parts))
        made = Placed(product, parts, bulbs=[(bx + spot[0], by + spot[1], bz + top.z) for bx, by, bz in model.bulbs])
        self.placed.append(made)
        return made

    def litter(self, owner: Placed | None, made: Parts, at: float | None = None, radius: float = 0.13) -> None:
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


def against(piece: Placed, space: built.Space, side: str) -> bool:
    """Whether a piece stands with its back to this wall."""
    low, high = bounds(piece.parts)
    return {"back": high[1] > space.depth - 0.5, "left": low[0] < 0.5, "right": high[0] > space.width - 0.5}[
        side
    ] and nearest_wall(piece, space)[0] == side


def nearest_wall(piece: Placed, space: built.Space) -> tuple[str, float]:
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


def facing(piece: Placed | None, space: built.Space) -> float:
    """The turn, in degrees, that lets a thing on this piece look into the room."""
    return 0.0 if piece is None else {"back": 0.0, "left": 90.0, "right": -90.0}[nearest_wall(piece, space)[0]]
