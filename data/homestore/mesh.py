"""Shapes as numpy arrays: what every product and room is made of, and what the truth is computed from.

Lengths are metres, z is up. A `Part` is one surface with one finish; a product is a list of parts standing
on z = 0 with its front towards -y. Nothing here knows Blender, so the same shapes are rendered and
measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from data.homestore.finishes import Finish

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Point = tuple[float, float, float]
Surface = Callable[[Floats, Floats], tuple[Floats, Floats, Floats]]


@dataclass(frozen=True)
class Part:
    """One surface: `vertices` [V, 3]; `faces` [F, 4], -1 last in a triangle; `smooth` [F]; `coord` [V, 3].

    `coord` is where a texture is looked up: metres with the grain along x, or fractions of a painted picture.
    """

    vertices: Floats
    faces: Ints
    smooth: NDArray[np.bool_]
    coord: Floats
    finish: Finish


Parts = list[Part]


def _grain(vertices: Floats) -> Floats:
    """Texture coordinates whose x runs along the longest side,
    shifted so that no two boards look the same."""
    order = np.argsort(-np.ptp(vertices, axis=0), kind="stable")
    shifted: Floats = vertices[:, order] + 7.3 * np.abs(vertices.mean(axis=0)).sum()
    return shifted


def planar(vertices: Floats) -> Floats:
    """Fractions of a picture laid on the part from above."""
    low, extent = vertices.min(axis=0), np.maximum(np.ptp(vertices, axis=0), 1e-9)
    fractions: Floats = (vertices - low) / extent
    return fractions


def part(vertices: Floats, faces: Ints, finish: Finish, smooth: bool | NDArray[np.bool_] = True) -> Part:
    """A part with texture coordinates that suit its finish."""
    flags = np.broadcast_to(np.asarray(smooth, dtype=bool), (len(faces),)).copy()
    if finish.kind == "brickwork":
        coord = np.column_stack([vertices[:, 0] - vertices[:, 1], vertices[:, 2], np.zeros(len(vertices))])
    else:
        coord = planar(vertices) if finish.picture else _grain(vertices)
    return Part(vertices, faces, flags, coord, finish)


def _cube_grid(ticks: Sequence[Floats]) -> tuple[Floats, Ints]:
    """The surface of a box cut at the given x, y and z positions; vertices on edges are not shared between
    sides.
    """
    vertices: list[Floats] = []
    faces: list[Ints] = []
    count = 0
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        for side in (0, -1):
            grid = np.zeros((len(ticks[u]), len(ticks[v]), 3))
            grid[..., axis] = ticks[axis][side]
            grid[..., u] = ticks[u][:, None]
            grid[..., v] = ticks[v][None, :]
            quads = _quads(len(ticks[u]), len(ticks[v])) + count
            faces.append(quads if side == -1 else quads[:, ::-1])
            vertices.append(grid.reshape(-1, 3))
            count += grid.shape[0] * grid.shape[1]
    return np.concatenate(vertices), np.concatenate(faces)


def _quads(rows: int, columns: int) -> Ints:
    index = np.arange(rows * columns).reshape(rows, columns)
    return np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], axis=-1).reshape(-1, 4)


def _weld(vertices: Floats, faces: Ints) -> tuple[Floats, Ints]:
    """Merge vertices at the same place, so that shading runs across the edge between two sides."""
    _, first, inverse = np.unique(np.round(vertices, 6), axis=0, return_index=True, return_inverse=True)
    return vertices[first], inverse.reshape(-1)[faces]


def box(size: Point, finish: Finish, at: Point = (0, 0, 0), radius: float = 0.004, puff: float = 0.0) -> Part:
    """A box with rounded edges, `at` the centre of its bottom; `puff` lets top and bottom swell like a
    cushion.
    """
    half = np.array(size) / 2
    radius = min(radius, float(half.min()) * 0.98)
    core = half - radius
    steps = 3 if radius < 0.02 else 5
    arc = radius * np.sin(np.linspace(0, math.pi / 2, steps))
    inner = 6 if puff else 2
    ticks = [
        np.concatenate([-c - arc[:0:-1], np.linspace(-c, c, inner), c + arc[1:]])
        if c > 1e-6
        else np.concatenate([-arc[:0:-1], [0.0], arc[1:]])
        for c in core
    ]
    vertices, faces = _weld(*_cube_grid(ticks))
    clamped = np.clip(vertices, -core, core)
    outward = vertices - clamped
    length = np.linalg.norm(outward, axis=1, keepdims=True)
    flat = (np.abs(outward) > 1e-9).sum(axis=1) <= 1
    vertices = clamped + outward / np.maximum(length, 1e-12) * radius
    if puff:
        u, v = vertices[:, 0] / half[0], vertices[:, 1] / half[1]
        swell = (1 - u**2) * (1 - v**2)
        vertices[:, 2] += puff * swell * vertices[:, 2] / half[2]
        smooth = np.ones(len(faces), dtype=bool)
    else:
        smooth = ~flat[faces].all(axis=1)
    return move([part(vertices, faces, finish, smooth)], (at[0], at[1], at[2] + half[2]))[0]


def pillow(size: Point, finish: Finish, at: Point = (0, 0, 0), fullness: float = 0.6) -> Part:
    """A sewn cushion lying flat: thin at the seams, full in the middle, corners drawn out."""
    ticks = np.linspace(-1, 1, 15)
    u, v = np.meshgrid(ticks, ticks, indexing="ij")
    height = np.maximum((1 - np.abs(u) ** 3.2) * (1 - np.abs(v) ** 3.2), 0) ** fullness
    x = u * (1 - 0.10 * (1 - v**2) * np.abs(u) ** 3) * size[0] / 2
    y = v * (1 - 0.10 * (1 - u**2) * np.abs(v) ** 3) * size[1] / 2
    top = np.stack([x, y, height * size[2] / 2], axis=-1).reshape(-1, 3)
    quads = _quads(15, 15)
    vertices = np.concatenate([top, top * (1, 1, -1)])
    faces = np.concatenate([quads, quads[:, ::-1] + len(top)])
    welded = _weld(vertices, faces)
    return move([part(*welded, finish)], (at[0], at[1], at[2] + size[2] / 2))[0]


def lathe(profile: Sequence[tuple[float, float]], finish: Finish, at: Point = (0, 0, 0), segments: int = 36) -> Part:
    """A body of revolution around z from (radius, height) points, bottom up; corners over 35 degrees stay
    sharp.
    """
    points = np.array(profile, dtype=np.float64)
    angles = np.linspace(0, 2 * math.pi, segments + 1)
    rows: list[Floats] = []
    faces: list[Ints] = []
    heights = (points[:, 1] - points[:, 1].min()) / max(float(np.ptp(points[:, 1])), 1e-9)
    coords: list[Floats] = []
    start, count = 0, 0
    steps = np.diff(points, axis=0)
    heading = np.arctan2(steps[:, 1], steps[:, 0])
    for i in range(1, len(points)):
        turn = abs((heading[i] - heading[i - 1] + math.pi) % (2 * math.pi) - math.pi) if i < len(points) - 1 else 9
        if turn < math.radians(35):
            continue
        band = points[start : i + 1]
        ring = np.stack(
            [
                band[:, :1] * np.cos(angles),
                band[:, :1] * np.sin(angles),
                np.broadcast_to(band[:, 1:], (len(band), segments + 1)),
            ],
            axis=-1,
        )
        uv = np.stack(
            [
                np.broadcast_to(angles / (2 * math.pi), ring.shape[:2]),
                np.broadcast_to(heights[start : i + 1, None], ring.shape[:2]),
                np.zeros(ring.shape[:2]),
            ],
            axis=-1,
        )
        rows.append(ring.reshape(-1, 3))
        coords.append(uv.reshape(-1, 3))
        faces.append(_quads(len(band), segments + 1)[:, ::-1] + count)
        count += ring.shape[0] * ring.shape[1]
        start = i
    made = part(np.concatenate(rows), np.concatenate(faces), finish)
    if finish.picture:
        made = replace(made, coord=np.concatenate(coords))
    else:
        made = replace(made, coord=made.vertices[:, [2, 0, 1]])
    return move([made], at)[0]


def tube(
    path: Sequence[Point],
    radius: float | Sequence[float],
    finish: Finish,
    square: bool = False,
    segments: int = 12,
    closed: bool = False,
) -> Part:
    """A rod along a path, round or square in section, of one radius (half width) or one for each point."""
    line = np.array(path, dtype=np.float64)
    radii = np.broadcast_to(np.asarray(radius, dtype=np.float64), (len(line),))
    if square:
        corner = np.array([[-0.9, -1], [0.9, -1], [1, -0.9], [1, 0.9], [0.9, 1], [-0.9, 1], [-1, 0.9], [-1, -0.9]])
        section = corner
    else:
        angles = np.linspace(0, 2 * math.pi, segments, endpoint=False)
        section = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ahead = np.roll(line, -1, axis=0) - np.roll(line, 1, axis=0)
    if not closed:
        ahead[0], ahead[-1] = line[1] - line[0], line[-1] - line[-2]
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-12)
    across = np.cross(ahead[0], (0.0, 0.0, 1.0))
    if np.linalg.norm(across) < 0.3:
        across = np.cross(ahead[0], (0.0, 1.0, 0.0))
    rings = []
    for point, direction, r in zip(line, ahead, radii, strict=True):
        across = across - direction * float(across @ direction)
        across /= np.linalg.norm(across)
        up = np.cross(across, direction)
        rings.append(point + r * (section[:, :1] * across + section[:, 1:] * up))
    n = len(section)
    rows = len(rings) + (1 if closed else 0)
    grid = np.arange(len(rings) * n).reshape(len(rings), n)[np.arange(rows) % len(rings)]
    grid = np.concatenate([grid, grid[:, :1]], axis=1)
    sides = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], axis=-1)
    smooth = np.ones(sides.shape[:2], dtype=bool)
    if square:
        smooth[:, 0::2] = False
    vertices = np.concatenate(rings)
    faces = sides.reshape(-1, 4)
    flags = smooth.reshape(-1)
    if not closed:
        caps = []
        for ring, flip in ((0, False), (len(rings) - 1, True)):
            base = len(vertices)
            vertices = np.concatenate([vertices, rings[ring], line[ring][None]])
            i = np.arange(n)
            fan = np.stack([base + (i + 1) % n, base + i, np.full(n, base + n), np.full(n, -1)], axis=1)
            caps.append(fan[:, [1, 0, 2, 3]] if flip else fan)
        faces = np.concatenate([faces, *caps])
        flags = np.concatenate([flags, np.zeros(2 * n, dtype=bool)])
    return part(vertices, faces, finish, flags)


def sheet(
    surface: Surface,
    finish: Finish,
    rows: int = 16,
    columns: int = 16,
) -> Part:
    """A cloth or panel: `surface` maps fractions u, v [rows, columns] to x, y, z. A picture lies with its x
    along v and its y along u.
    """
    u, v = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    x, y, z = np.broadcast_arrays(*surface(u, v))
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float64)
    made = part(vertices, _quads(rows, columns), finish)
    if finish.picture:
        made = replace(made, coord=np.stack([v, u, np.zeros_like(u)], axis=-1).reshape(-1, 3))
    return made


def slab(outline: Sequence[tuple[float, float]], thickness: float, finish: Finish, at: Point = (0, 0, 0)) -> Part:
    """A flat plate of a star-shaped outline (seen from above, counter-clockwise) with a softened rim."""
    shape = np.array(outline, dtype=np.float64)
    centre = shape.mean(axis=0)
    ease = min(0.25 * thickness, 0.004)
    inner = centre + (shape - centre) * (1 - ease / np.linalg.norm(shape - centre, axis=1).max())
    n = len(shape)
    layers = [
        (inner, 0.0),
        (inner, 0.0),
        (shape, ease),
        (shape, thickness - ease),
        (inner, thickness),
        (inner, thickness),
    ]
    rings = [np.column_stack([xy, np.full(n, z)]) for xy, z in layers]
    vertices = np.concatenate([*rings, [[*centre, 0.0]], [[*centre, thickness]]])
    i = np.arange(n)
    j = (i + 1) % n
    sides = [np.stack([k * n + i, k * n + j, (k + 1) * n + j, (k + 1) * n + i], axis=1) for k in (1, 2, 3)]
    none = np.full(n, -1)
    bottom = np.stack([j, i, np.full(n, 6 * n), none], axis=1)
    top = np.stack([5 * n + i, 5 * n + j, np.full(n, 6 * n + 1), none], axis=1)
    faces = np.concatenate([*sides, bottom, top])
    smooth = np.concatenate([np.ones(3 * n, dtype=bool), np.zeros(2 * n, dtype=bool)])
    return move([part(vertices, faces, finish, smooth)], at)[0]


def circle(radius: float, segments: int = 40, squash: float = 1.0) -> list[tuple[float, float]]:
    """The outline of a disc or, squashed, of an oval."""
    angles = np.linspace(0, 2 * math.pi, segments, endpoint=False)
    return [(float(radius * math.cos(a)), float(radius * squash * math.sin(a))) for a in angles]


def rounded(width: float, depth: float, radius: float) -> list[tuple[float, float]]:
    """The outline of a rectangle with round corners."""
    points = []
    for quadrant, (sx, sy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        for step in range(7):
            angle = (quadrant + step / 6) * math.pi / 2
            points.append(
                (
                    sx * (width / 2 - radius) + radius * math.cos(angle),
                    sy * (depth / 2 - radius) + radius * math.sin(angle),
                )
            )
    return points


def _mapped(parts: Parts, change: Callable[[Floats], Floats]) -> Parts:
    return [replace(p, vertices=change(p.vertices)) for p in parts]


def move(parts: Parts, by: Point) -> Parts:
    """The parts, shifted."""
    return _mapped(parts, lambda v: v + np.array(by))


def turn(parts: Parts, degrees: float, axis: str = "z", about: Point = (0, 0, 0)) -> Parts:
    """The parts, turned about an axis through a point, by the right-hand rule."""
    a = math.radians(degrees)
    c, s = math.cos(a), math.sin(a)
    matrix = {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]
    centre = np.array(about)
    return _mapped(parts, lambda v: (v - centre) @ matrix.T + centre)


def mirror_x(parts: Parts) -> Parts:
    """The parts, seen in a mirror at x = 0."""
    flipped = _mapped(parts, lambda v: v * (-1, 1, 1))
    return [replace(p, faces=np.where(p.faces[:, 3:] < 0, p.faces[:, [1, 0, 2, 3]], p.faces[:, ::-1])) for p in flipped]


def bounds(parts: Parts) -> tuple[Floats, Floats]:
    """The lowest and highest x, y, z of the parts."""
    points = np.concatenate([p.vertices for p in parts])
    return points.min(axis=0), points.max(axis=0)


def triangles(parts: Parts) -> Floats:
    """All faces as triangles, float64 [T, 3, 3]."""
    found = []
    for p in parts:
        quads = p.faces[p.faces[:, 3] >= 0]
        indices = np.concatenate([p.faces[:, :3], quads[:, [0, 2, 3]]])
        found.append(p.vertices[indices])
    return np.concatenate(found)
