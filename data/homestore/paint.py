"""Painted surfaces, as small sRGB pictures: textiles, rugs, works of art, book spines, screens.

Every painter takes (random.Random, colours uint8 [C, 3], x, y) with x, y in 0..1 of shape [size, size], y
upward, and returns colours float [size, size, 3] in 0..255.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.homestore.finishes import Picture

Grid = NDArray[np.float64]
Painter = Callable[[random.Random, Grid, Grid, Grid], Grid]

SIZE = 384  # pixels a side


def rgb(colour: str) -> tuple[float, float, float]:
    """A hex colour as three numbers in 0..255."""
    return int(colour[0:2], 16), int(colour[2:4], 16), int(colour[4:6], 16)


def _pick(colours: Grid, index: Any) -> Grid:
    picked: Grid = colours[np.asarray(index, dtype=int) % len(colours)]
    return picked


def _noise(rng: random.Random, x: Grid, y: Grid, scale: float, octaves: int = 4) -> Grid:
    """Smooth noise in about -1..1: a few waves in random directions, each octave finer and fainter."""
    total = np.zeros_like(x)
    for octave in range(octaves):
        frequency = scale * 1.9**octave
        for _ in range(4):
            angle, phase = rng.random() * 2 * math.pi, rng.random() * 2 * math.pi
            bend = 1.5 * np.sin(frequency * 0.7 * (x * math.sin(angle) - y * math.cos(angle)) + 3 * phase)
            total += np.sin(frequency * 2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) + phase + bend) / (
                4 * 1.6**octave
            )
    return total


def _plain(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    return _pick(c, np.zeros_like(x))


def _stripes(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    n = rng.choice((7, 9, 13))
    return _pick(c, (np.floor(x * n) % 2) * (1 + (np.floor(x * n / 2) % (len(c) - 1))))


def _pinstripe(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    return _pick(c, ((x * 16) % 1 < 0.16) * 1)


def _check(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    n = rng.choice((5, 6, 8))
    a, b = (x * n) % 1 < 0.5, (y * n) % 1 < 0.5
    return (_pick(c, a * 1) + _pick(c, b * 1)) / 2


def _dots(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    n = rng.choice((6, 8))
    u = x * n
    v = y * n + 0.5 * (np.floor(u) % 2)
    return _pick(c, (np.hypot(u % 1 - 0.5, v % 1 - 0.5) < 0.27) * 1)


def _chevron(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    n = rng.choice((6, 8))
    return _pick(c, np.floor(y * n + np.abs((x * 6) % 1 - 0.5) * 1.4) % min(len(c), 3))


def _diamonds(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    n = rng.choice((3, 4))
    d = np.abs((x * n) % 1 - 0.5) + np.abs((y * n) % 1 - 0.5)
    return _pick(c, np.where(np.abs(d - 0.5) < 0.035, 1, 0) + np.where(d < 0.13, 2, 0))


def _trellis(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    n = rng.choice((4, 5))
    a = np.cos(2 * math.pi * n * x) + np.cos(2 * math.pi * n * y)
    return _pick(c, (np.abs(a) < 0.28) * 1)


def _leaves(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    out = _pick(c, np.zeros_like(x))
    for _ in range(46):
        cx, cy, angle = rng.random(), rng.random(), rng.random() * math.pi
        length = 0.06 + 0.05 * rng.random()
        dx, dy = (x - cx + 0.5) % 1 - 0.5, (y - cy + 0.5) % 1 - 0.5
        u = (dx * math.cos(angle) + dy * math.sin(angle)) / length
        v = (-dx * math.sin(angle) + dy * math.cos(angle)) / length
        inside = (np.abs(v) < 0.42 * np.maximum(1 - u**2, 0)) & (np.abs(u) < 1) & ~(np.abs(v) < 0.03)
        out[inside] = c[1 + rng.randrange(len(c) - 1)]
    return out


def _abstract(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    """Large soft shapes, as in a modern print."""
    out = _pick(c, np.zeros_like(x))
    for k in range(rng.choice((4, 5, 6))):
        cx, cy = 0.15 + 0.7 * rng.random(), 0.15 + 0.7 * rng.random()
        a, b = 0.1 + 0.22 * rng.random(), 0.1 + 0.22 * rng.random()
        angle = rng.random() * math.pi
        u = ((x - cx) * math.cos(angle) + (y - cy) * math.sin(angle)) / a
        v = (-(x - cx) * math.sin(angle) + (y - cy) * math.cos(angle)) / b
        shape = np.hypot(u, v) + 0.12 * np.sin(3 * np.arctan2(v, u) + rng.random() * 6) < 1
        if rng.random() < 0.3:
            shape &= np.hypot(u, v) > 0.72
        out[shape] = c[1 + k % (len(c) - 1)]
    return out


def _landscape(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    """Hills in layers under a sky with a sun."""
    out: Grid = c[0] * (0.75 + 0.25 * y[..., None]) + (1 - y[..., None]) * 40
    sun_x, sun_y, size = 0.2 + 0.6 * rng.random(), 0.62 + 0.2 * rng.random(), 0.06 + 0.06 * rng.random()
    out[np.hypot(x - sun_x, y - sun_y) < size] = c[1]
    for layer in range(4):
        ridge = 0.6 - 0.13 * layer + 0.07 * _noise(rng, x, np.zeros_like(x), 0.8 + 0.4 * layer, 3)
        out[y < ridge] = c[2 + layer % (len(c) - 2)] * (1.0 - 0.1 * layer)
    return out


def _brush(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    """Colour fields that bleed into each other."""
    value = (_noise(rng, x, y, 0.7, 5) * 0.5 + 0.5) * (len(c) - 0.01)
    low = np.clip(np.floor(value), 0, len(c) - 1).astype(int)
    share = np.clip((value - low) * 3 - 1, 0, 1)[..., None]
    mixed: Grid = c[low] * (1 - share) + c[np.minimum(low + 1, len(c) - 1)] * share
    return mixed


def _lines(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    """One-line contours on paper."""
    field = _noise(rng, x, y, 0.8, 2) * 5
    return _pick(c, (np.abs(field % 1 - 0.5) < 0.05) * 1)


def _blocks(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    """Rectangles divided by dark bars."""
    out = _pick(c, np.zeros_like(x))

    def split(x0: float, y0: float, x1: float, y1: float, depth: int) -> None:
        if depth == 0 or (depth < 3 and rng.random() < 0.25):
            cell = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
            out[cell] = c[rng.choice((0, 0, *range(1, len(c))))]
            bar = cell & ((x < x0 + 0.014) | (y < y0 + 0.014))
            out[bar] = 30
            return
        t = 0.3 + 0.4 * rng.random()
        if (x1 - x0) > (y1 - y0):
            split(x0, y0, x0 + t * (x1 - x0), y1, depth - 1)
            split(x0 + t * (x1 - x0), y0, x1, y1, depth - 1)
        else:
            split(x0, y0, x1, y0 + t * (y1 - y0), depth - 1)
            split(x0, y0 + t * (y1 - y0), x1, y1, depth - 1)

    split(0, 0, 1, 1, 4)
    return out


def _botanical(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    """A stem with paired leaves on paper."""
    out = _pick(c, np.zeros_like(x))
    lean = 0.15 * (rng.random() - 0.5)
    stem = 0.5 + lean * (y - 0.1) * 2
    out[(np.abs(x - stem) < 0.008) & (y > 0.1) & (y < 0.86)] = c[1]
    for k in range(rng.choice((7, 9, 11))):
        at = 0.22 + 0.62 * k / 10
        for side in (-1, 1):
            angle = side * (0.5 + 0.3 * rng.random())
            length = 0.10 + 0.09 * (1 - at) + 0.02 * rng.random()
            px, py = x - (0.5 + lean * (at - 0.1) * 2), y - at
            u = (px * math.sin(angle) + py * math.cos(angle)) / length
            v = (px * math.cos(angle) - py * math.sin(angle)) / length
            out[(u > 0) & (u < 1) & (np.abs(v) < 0.38 * np.sqrt(np.maximum(u * (1 - u), 0)))] = c[1 + k % (len(c) - 1)]
    return out


def _portrait(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    """A flat, faceless figure."""
    out = _pick(c, np.zeros_like(x))
    out[((x - 0.5) / 0.36) ** 2 + (y / 0.34) ** 2 < 1] = c[2 % len(c)]
    out[np.hypot((x - 0.5) / 0.21, (y - 0.6) / 0.29) < 1] = c[1]
    out[(np.abs(x - 0.5) < 0.07) & (y > 0.25) & (y < 0.5)] = c[3 % len(c)]
    out[np.hypot((x - 0.5) / 0.155, (y - 0.56) / 0.21) < 1] = c[3 % len(c)]
    return out


def _border(c: Grid, x: Grid, y: Grid, field: Grid) -> Grid:
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    out = field.copy()
    out[edge < 0.15] = c[0]
    wave = np.abs(((x + y) * 22) % 1 - 0.5) < 0.25
    out[(edge < 0.125) & (edge > 0.045) & wave] = c[1]
    for inner, outer, which in ((0.125, 0.14, 1), (0.03, 0.045, 2), (0.15, 0.16, 2)):
        out[(edge > inner) & (edge < outer)] = c[which % len(c)]
    return out


def _persian(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    """A medallion in a field of small figures, inside borders."""
    u, v = np.abs(x - 0.5) * 2, np.abs(y - 0.5) * 2
    field = _pick(c, np.zeros_like(x))
    figures = np.sin(u * 31 + 2 * np.cos(v * 17)) * np.cos(v * 29 + 2 * np.sin(u * 13))
    field[figures > 0.45] = c[1]
    field[figures < -0.62] = c[2 % len(c)]
    angle, radius = np.arctan2(v, u), np.hypot(u / 0.62, v / 0.55)
    petal = radius * (1 + 0.12 * np.cos(8 * angle))
    for limit, which in ((0.82, 2), (0.76, 1), (0.58, 0), (0.5, 3), (0.3, 1), (0.18, 2)):
        field[petal < limit] = c[which % len(c)]
    field[(u + v) > 1.32] = c[1]
    return _border(c[[2 % len(c), 1, 0]], x, y, field)


def _bordered(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    return _pick(c, np.where(edge < 0.03, 1, np.where((edge > 0.07) & (edge < 0.085), 1, 0)))


def _berber(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    """Uneven hand-drawn lozenges."""
    wobble = 0.02 * _noise(rng, x, y, 2.2, 3)
    n = rng.choice((2, 3))
    d = np.abs(((x + wobble) * n) % 1 - 0.5) + np.abs(((y + wobble) * (n + 1)) % 1 - 0.5)
    return _pick(c, (np.abs(d - 0.5) < 0.045) * 1 + (np.abs(d - 0.18) < 0.025) * 2)


def _tide(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    """Bands that curve like a shore."""
    field = y + 0.13 * _noise(rng, x, y, 0.6, 2)
    return _pick(c, np.floor(np.clip(field, 0, 0.999) * (len(c) + 1)))


def _faded(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    """A worn vintage rug."""
    wear = np.clip(_noise(rng, x, y, 1.6, 5) * 0.8 + 0.45, 0, 0.85)[..., None]
    worn: Grid = _persian(rng, c, x, y) * (1 - wear) + c[0] * wear
    return worn


def _screen(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    """A television programme: a dusk landscape."""
    return _landscape(rng, c, x, y)


def _sky(rng: random.Random, c: Grid, x: Grid, y: Grid) -> Grid:
    """What is behind a window: sky, far trees, a lawn, all out of focus."""
    out = c[0] + (c[1] - c[0]) * np.clip((1 - y) * 1.3, 0, 1)[..., None]
    trees = 0.42 + 0.05 * _noise(rng, x, np.zeros_like(x), 2.5, 4)
    soft = np.clip((trees - y) * 25, 0, 1)[..., None]
    green = c[2] * (0.85 + 0.3 * _noise(rng, x, y, 4, 4)[..., None])
    out = out * (1 - soft) + green * soft
    lawn = np.clip((0.22 - y) * 30, 0, 1)[..., None]
    view: Grid = out * (1 - lawn) + c[3] * lawn
    return view


PAINTERS: dict[str, Painter] = {
    "plain": _plain,
    "stripes": _stripes,
    "pinstripe": _pinstripe,
    "check": _check,
    "dots": _dots,
    "chevron": _chevron,
    "diamonds": _diamonds,
    "trellis": _trellis,
    "leaves": _leaves,
    "abstract": _abstract,
    "landscape": _landscape,
    "brush": _brush,
    "lines": _lines,
    "blocks": _blocks,
    "botanical": _botanical,
    "portrait": _portrait,
    "persian": _persian,
    "bordered": _bordered,
    "berber": _berber,
    "tide": _tide,
    "faded": _faded,
    "screen": _screen,
    "sky": _sky,
}


def paint(picture: Picture, size: int = SIZE) -> NDArray[np.uint8]:
    """The picture as sRGB uint8 [size, size, 3], first row at the bottom, as Blender stores images."""
    rng = random.Random(f"{picture.painter}/{picture.seed}")
    ticks = (np.arange(size) + 0.5) / size
    y, x = np.meshgrid(ticks, ticks, indexing="ij")
    colours = np.array([rgb(c) for c in picture.colours], dtype=np.float64)
    out = PAINTERS[picture.painter](rng, colours, x, y)
    return np.clip(out, 0, 255).astype(np.uint8)
