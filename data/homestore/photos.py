"""Phone photos: one product where somebody uses it, by an unsteady hand, in whatever light there was."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

from data.homestore.arrange import KINDS
from data.homestore.camera import Camera
from data.homestore.catalogue import Product
from data.homestore.mesh import bounds
from data.homestore.rooms import Room, Scene, furnish, shot
from data.homestore.truth import look

ATTEMPTS = 200
EXPOSURE = -0.45  # stops; dark, so that bright parts keep their colour until the phone meters
METERED = 112  # mean brightness, of 255, that a phone aims at
AREA = (0.09, 0.62)  # share of the photo that is the product
VISIBLE = 0.6  # at least so much of it shows
HOMES = {  # where a kind of product is found; anywhere where not listed
    "Beds & Bed Frames": ("bedroom",), "Sofas": ("living",), "TVs": ("living",), "Fireplaces": ("living",),
    "Pillows": ("living", "bedroom"),
    "Table & Bar Stools": ("dining",), "Dressers": ("bedroom", "hall"), "Benches": ("hall", "bedroom"),
    "Ottomans": ("living", "study"),
    "Folding Chairs & Stools": ("dining", "hall"), "Shelving": ("study", "living"), "Vases": ("living",
    "dining", "hall"),
    "Candles": ("living", "dining", "hall"), "Clocks": ("study", "dining", "hall"),
}  # fmt: skip


def photo(
    name: str,
    seed: str,
    split: str,
    category: str,
    pool: Sequence[Product],
    size: tuple[int, int],
    samples: int,
) -> tuple[Scene, int] | None:
    """A photo of some product of this category: the scene, and the number of the object it is of.

    The first attempt in which the product is large enough, in view and in the frame; failing that, the best
    one. None where no room of this split shows any product of the category.
    """
    best: tuple[float, Scene, int] | None = None
    for attempt in range(ATTEMPTS):
        rng = random.Random(f"{seed}/{name}/{attempt}")
        kind = rng.choice(HOMES.get(category, tuple(KINDS)))
        room = furnish(kind, pool, rng)
        found = [i for i, p in enumerate(room.placed) if p.product.category == category]
        if not found:
            continue
        target = rng.choice(found)
        camera = _aim(room, target, rng, size)
        if camera is None:
            continue
        made = dataclasses.replace(shot(room, camera, rng, samples), exposure=EXPOSURE)
        small = dataclasses.replace(made, camera=dataclasses.replace(camera, width=size[0] // 4, height=size[1] // 4))
        seen = next((s for s in look(small) if s.number == target + 1), None)
        if seen is None:
            continue
        scene = Scene(name, kind, split, made, tuple(p.product for p in room.placed))
        if AREA[0] <= seen.area <= AREA[1] and seen.visible >= VISIBLE:
            return scene, target + 1
        score = min(seen.area, 0.2) * seen.visible
        if best is None or score > best[0]:
            best = (score, scene, target + 1)
    return best and best[1:]


def _aim(room: Room, target: int, rng: random.Random, size: tuple[int, int]) -> Camera | None:
    """Hold the phone before the target, inside the room; None where there is no space to stand back."""
    low, high = bounds(room.placed[target].parts)
    centre, extent = (low + high) / 2, high - low
    w, d, h = room.space.width, room.space.depth, room.space.height
    view = rng.uniform(46, 56)
    upright = view * size[1] / size[0]
    need = max(
        float(np.hypot(extent[0], extent[1])) / 2 / math.tan(math.radians(view) / 2),
        float(extent[2]) / 2 / math.tan(math.radians(upright) / 2),
    )
    distance = max(0.4, need * rng.uniform(0.85, 1.25) + 0.25 * float(min(extent[0], extent[1])))
    toward = math.atan2(0.6 - centre[1], w / 2 - centre[0]) + math.radians(rng.uniform(-38, 38))
    pitch = math.radians(rng.uniform(4, 30)) if centre[2] < 1.2 else math.radians(rng.uniform(-14, 6))
    position = centre + distance * np.array(
        [math.cos(toward) * math.cos(pitch), math.sin(toward) * math.cos(pitch), math.sin(pitch)]
    )
    if not (0.12 < position[0] < w - 0.12 and 0.12 < position[1] < d - 0.12 and 0.25 < position[2] < h - 0.15):
        return None
    aim = centre + extent * np.array([rng.uniform(-0.15, 0.15) for _ in range(3)])
    return Camera(tuple(position.tolist()), tuple(aim.tolist()), view, *size, roll=rng.gauss(0, 4))


@dataclasses.dataclass(frozen=True)
class Handling:
    """What hand, lens and sensor do to a photo."""

    blur: float  # length of the hand's movement, pixels
    direction: float  # of that movement, degrees
    softness: float  # radius of a missed focus, pixels
    gain: float  # brightness
    warmth: float  # red over blue, as a ratio
    noise: float  # standard deviation, of 255
    quality: int  # of the JPEG


def handling(rng: random.Random) -> Handling:
    """A random hand and phone; most photos are decent."""
    return Handling(
        blur=round(max(0.0, rng.gauss(0.5, 2.2)), 1), direction=round(rng.uniform(0, 180)),
        softness=round(max(0.0, rng.gauss(0.1, 0.6)), 2),
        gain=round(math.exp(rng.gauss(0.0, 0.16)), 3), warmth=round(math.exp(rng.gauss(0.02, 0.10)), 3),
        noise=round(abs(rng.gauss(0, 5.0)) + 1.0, 1), quality=rng.choice((62, 70, 74, 78, 84)),
    )  # fmt: skip


def develop(image: Image.Image, hand: Handling, seed: int) -> Image.Image:
    """The photo as the phone would have saved it, before JPEG."""
    if hand.softness > 0.2:
        image = image.filter(ImageFilter.GaussianBlur(hand.softness))
    pixels = np.asarray(image, dtype=np.float32)
    if hand.blur >= 1:
        steps = max(2, round(hand.blur))
        a = math.radians(hand.direction)
        shifts = [
            (
                round(math.sin(a) * hand.blur * (k / (steps - 1) - 0.5)),
                round(math.cos(a) * hand.blur * (k / (steps - 1) - 0.5)),
            )
            for k in range(steps)
        ]
        edge = 16
        padded = np.pad(pixels, ((edge, edge), (edge, edge), (0, 0)), mode="edge")
        height, width = pixels.shape[:2]
        pixels = np.mean([padded[edge + y : edge + y + height, edge + x : edge + x + width] for y, x in shifts], axis=0)
    balance = np.array([math.sqrt(hand.warmth), 1.0, 1 / math.sqrt(hand.warmth)], dtype=np.float32)
    metered = float(np.clip((METERED / max(float(pixels.mean()), 1.0)) ** 0.7, 0.7, 1.9))
    pixels = pixels * metered * hand.gain * balance
    grain = np.random.default_rng(seed).normal(0, 1, pixels.shape).astype(np.float32)
    pixels += grain * hand.noise * np.sqrt(np.clip(pixels, 20, 255) / 128)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
