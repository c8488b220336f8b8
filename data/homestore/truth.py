"""Which product is where in a picture, computed from the shapes themselves, without any renderer.

A z-buffer over pixel centres in float64: no sampling, no noise, the same on every machine. What it says is
checked against a mask that Cycles renders (`render.mask`). Glass counts as solid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.homestore.camera import Camera, Shot
from data.homestore.mesh import Floats, Ints, triangles

NEAR = 0.02  # metres: nothing closer to the camera is seen
CHUNK = 4_000_000  # pixel tests done at once, to bound memory


@dataclass(frozen=True)
class Seen:
    """One object of a picture: its number, box in fractions, visible share of its own pixels, share of the
    picture.
    """

    number: int
    box: tuple[float, float, float, float]
    visible: float
    area: float


def look(shot: Shot) -> list[Seen]:
    """Every object of the shot that shows at least one pixel, by number."""
    camera = shot.camera
    things = [
        _project(triangles(parts), camera) if parts else np.zeros((0, 3, 3))
        for parts in [shot.surroundings, *shot.objects]
    ]
    numbers = id_mask(things, camera)
    seen = []
    for number, thing in enumerate(things[1:], start=1):
        rows, columns = np.nonzero(numbers == number)
        if not len(rows):
            continue
        box = (columns.min() / camera.width, rows.min() / camera.height,
               (columns.max() + 1) / camera.width, (rows.max() + 1) / camera.height)  # fmt: skip
        alone = _pixels_alone(thing, camera)
        seen.append(Seen(number, box, min(1.0, len(rows) / max(alone, 1)), len(rows) / numbers.size))
    return seen


def id_mask(things: list[Floats], camera: Camera) -> Ints:
    """The number (place in the list) of the nearest thing at each pixel [height, width]; 0 also where there
    is none.
    """
    depth = np.full(camera.width * camera.height, np.inf)
    owner = np.zeros(camera.width * camera.height, dtype=np.int64)
    for number, thing in enumerate(things):
        for pixels, distance in _cover(thing, camera.width, camera.height):
            closest = np.full(len(depth), np.inf)
            np.minimum.at(closest, pixels, distance)
            nearer = closest < depth
            depth[nearer] = closest[nearer]
            owner[nearer] = number
    return owner.reshape(camera.height, camera.width)


def _pixels_alone(thing: Floats, camera: Camera) -> int:
    """How many pixels the thing would cover with nothing before it and the picture three times as wide and
    high.
    """
    width, height = 3 * camera.width, 3 * camera.height
    shifted = thing + np.array([camera.width, camera.height, 0.0])
    covered = np.zeros(width * height, dtype=bool)
    for pixels, _ in _cover(shifted, width, height):
        covered[pixels] = True
    return int(covered.sum())


def _project(world: Floats, camera: Camera) -> Floats:
    """World triangles [T, 3, 3] as pixel column, row and 1/distance,
    cut where they pass behind the camera."""
    clipped = _clip(camera.see(world))
    inverse = 1 / clipped[..., 2]
    column = camera.width / 2 + camera.focal * clipped[..., 0] * inverse
    row = camera.height / 2 - camera.focal * clipped[..., 1] * inverse
    return np.stack([column, row, inverse], axis=-1)


def _clip(seen: Floats) -> Floats:
    """Triangles in camera space with what lies nearer than NEAR cut away (one with one corner behind
    becomes two).
    """
    ahead = seen[..., 2] > NEAR
    count = ahead.sum(axis=1)
    kept = [seen[count == 3]]
    for inside in (1, 2):
        some = seen[count == inside]
        if not len(some):
            continue
        flags = ahead[count == inside]
        odd = np.argmax(flags if inside == 1 else ~flags, axis=1)  # the corner that is alone on its side
        order = (odd[:, None] + np.arange(3)) % 3
        a, b, c = np.moveaxis(np.take_along_axis(some, order[..., None], axis=1), 1, 0)
        ab, ac = _cut(a, b), _cut(a, c)
        if inside == 1:
            kept.append(np.stack([a, ab, ac], axis=1))
        else:
            kept += [np.stack([ab, b, c], axis=1), np.stack([ab, c, ac], axis=1)]
    return np.concatenate(kept)


def _cut(a: Floats, b: Floats) -> Floats:
    t = (NEAR - a[:, 2]) / (b[:, 2] - a[:, 2])
    cut = a + t[:, None] * (b - a)
    cut[:, 2] = NEAR
    return cut


def _cover(thing: Floats, width: int, height: int) -> list[tuple[Ints, Floats]]:
    """Pixels whose centre lies in a triangle, with the distance there, in batches of triangles of similar
    size.
    """
    limit = np.array([width, height])
    low = np.clip(np.ceil(thing[..., :2].min(axis=1) - 0.5), 0, limit).astype(np.int64)
    high = np.clip(np.floor(thing[..., :2].max(axis=1) - 0.5) + 1, 0, limit).astype(np.int64)
    extent = high - low
    keep = (extent > 0).all(axis=1)
    thing, low, extent = thing[keep], low[keep], extent[keep]
    size = np.ceil(np.log2(np.maximum(extent, 1))).astype(np.int64)
    batches: list[tuple[Ints, Floats]] = []
    for w, h in {tuple(s) for s in size.tolist()}:
        group = np.nonzero((size == (w, h)).all(axis=1))[0]
        step = max(1, CHUNK // 2 ** (w + h))
        for start in range(0, len(group), step):
            some = group[start : start + step]
            batches.append(_fill(thing[some], low[some], extent[some], 2**w, 2**h, width))
    return batches


def _fill(t: Floats, low: Ints, extent: Ints, w: int, h: int, width: int) -> tuple[Ints, Floats]:
    """Test the pixel centres of each triangle's bounding box; 1/distance is linear in the picture."""
    column, row = np.meshgrid(np.arange(w), np.arange(h))
    dx, dy = column.ravel(), row.ravel()
    x = low[:, :1] + dx + 0.5
    y = low[:, 1:] + dy + 0.5
    a, b, c = t[:, 0, :, None], t[:, 1, :, None], t[:, 2, :, None]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    safe = np.where(area == 0, 1.0, area)
    u = ((x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (y - a[:, 1]) * (c[:, 0] - a[:, 0])) / safe
    v = ((b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x - a[:, 0])) / safe
    inside = (u >= 0) & (v >= 0) & (u + v <= 1) & (area != 0) & (dx < extent[:, :1]) & (dy < extent[:, 1:])
    distance = 1 / np.maximum(a[:, 2] + u * (b[:, 2] - a[:, 2]) + v * (c[:, 2] - a[:, 2]), 1e-9)
    pixels = ((low[:, 1:] + dy) * width + low[:, :1] + dx)[inside]
    return pixels.astype(np.int64), distance[inside]


def agree(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    """How far two boxes differ at most, as a fraction of the picture."""
    return max(abs(p - q) for p, q in zip(one, other, strict=True))


def boxes(mask: NDArray[np.int64]) -> dict[int, tuple[float, float, float, float]]:
    """The box of every number but 0 in a mask [height, width]."""
    height, width = mask.shape
    found = {}
    for number in np.unique(mask):
        if number:
            rows, columns = np.nonzero(mask == number)
            found[int(number)] = (
                columns.min() / width,
                rows.min() / height,
                (columns.max() + 1) / width,
                (rows.max() + 1) / height,
            )
    return found


_ = math
