"""Rooms: which products stand where, how they are lit, and where the camera is.

A room is drawn from (seed, number, attempt). An attempt that shows too few products, or too many, is thrown
away by looking at it with `truth.look` at a quarter of its size; so the same rooms are found on every
machine.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass

from data.homestore import shell as built
from data.homestore.arrange import KINDS, finish_off
from data.homestore.camera import Camera, Lamp, Shot
from data.homestore.catalogue import Product
from data.homestore.furnisher import Furnisher, Placed
from data.homestore.mesh import Parts
from data.homestore.truth import look

SHOWN = (6, 10)  # different products that a room shows
LARGE = 0.004  # share of the picture from which an object counts as shown
FILLED = 0.20  # least share of the picture that is products
ATTEMPTS = 60


@dataclass
class Room:
    """A furnished room."""

    kind: str
    space: built.Space
    placed: list[Placed]
    clutter: Parts
    outlook: Parts
    shell: Parts


def furnish(kind: str, pool: Sequence[Product], rng: random.Random) -> Room:
    """A furnished room of this kind, from the products of `pool`."""
    arrange, size = KINDS[kind]
    space = built.draw_space(rng, size)
    f = Furnisher(space, pool, rng)
    f.keep_clear(0, 0, space.width, 0.9)
    if rng.random() < 0.75:
        f.curtains(f.pick("Curtain"))
    arrange(f)
    finish_off(f)
    return Room(kind, space, f.placed, f.clutter, built.outlook(space, rng), built.shell(space, rng))


def lights(room: Room, rng: random.Random) -> list[Lamp]:
    """Daylight through the window, or lamps in the evening; and the faint light that a real room's walls
    give back.
    """
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
    lamps.append(Lamp("area", (w / 2, 0.05, h * 0.6), 2.0 * w * h, "fff6ea", (w / 2, d, h * 0.45), w * 0.8, h * 0.7))
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
    return Shot([p.parts for p in room.placed], camera, lights(room, rng), room.shell + room.clutter,
    "1a2233" if evening else "cfdcea", 0.15 if evening else 0.6,
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
        small = dataclasses.replace(made, camera=dataclasses.replace(camera, width=size[0] // 4, height=size[1] // 4))
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
