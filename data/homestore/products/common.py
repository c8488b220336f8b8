"""Pieces that many products share: legs, handles, wheels of drawers."""

from __future__ import annotations

import math

from data.homestore.finishes import Finish
from data.homestore.mesh import Parts, Point, box, lathe, tube

LEGS = ("tapered", "straight", "turned", "hairpin", "sled", "block")


def legs(style: str, width: float, depth: float, height: float, finish: Finish, inset: float = 0.05) -> Parts:
    """Four legs (or two runners) under a rectangle, from the floor to `height`."""
    x, y = width / 2 - inset, depth / 2 - inset
    corners = [(sx * x, sy * y, sx, sy) for sx in (-1, 1) for sy in (-1, 1)]
    thick = max(0.016, min(0.03, 0.05 * height + 0.012))
    if style == "tapered":
        splay = 0.10 * height
        return [
            tube(
                [(cx + sx * splay, cy + sy * splay, 0), (cx, cy, height)],
                [thick * 0.55, thick * 1.05],
                finish,
            )
            for cx, cy, sx, sy in corners
        ]
    if style == "straight":
        return [box((2 * thick, 2 * thick, height), finish, (cx, cy, 0)) for cx, cy, *_ in corners]
    if style == "turned":
        shape = [
            (0.0, 0),
            (0.6, 0),
            (0.75, 0.04),
            (0.5, 0.1),
            (0.62, 0.3),
            (1.05, 0.6),
            (0.75, 0.74),
            (1.15, 0.8),
        ]
        profile = [(r * thick, t * height) for r, t in [*shape, (0.8, 0.85), (1.1, 0.88), (1.1, 1.0), (0, 1.0)]]
        return [lathe(profile, finish, (cx, cy, 0), 20) for cx, cy, *_ in corners]
    if style == "hairpin":
        spread = min(0.07, 0.4 * inset + 0.04)
        return [
            tube(
                [
                    (cx - sx * spread, cy, height),
                    (cx + sx * 0.02, cy + sy * 0.02, 0.006),
                    (cx, cy - sy * spread, height),
                ],
                0.006,
                finish,
                segments=8,
            )
            for cx, cy, sx, sy in corners
        ]
    if style == "sled":
        return [
            tube(
                [(sx * x, -y, height), (sx * x, -y, 0.012), (sx * x, y, 0.012), (sx * x, y, height)],
                0.011,
                finish,
                square=True,
            )
            for sx in (-1, 1)
        ]
    return [box((0.07, 0.07, height), finish, (cx, cy, 0), 0.008) for cx, cy, *_ in corners]


def curve(a: Point, control: Point, b: Point, steps: int = 10) -> list[Point]:
    """A quadratic Bezier curve from a to b."""
    out = []
    for k in range(steps + 1):
        t = k / steps
        p, q, r = (1 - t) ** 2, 2 * t * (1 - t), t**2
        out.append(
            (
                p * a[0] + q * control[0] + r * b[0],
                p * a[1] + q * control[1] + r * b[1],
                p * a[2] + q * control[2] + r * b[2],
            )
        )
    return out


def arc(radius: float, start: float, stop: float, z: float, steps: int = 16) -> list[Point]:
    """Points on a level circle around the origin, angles in degrees."""
    angles = [math.radians(start + (stop - start) * k / steps) for k in range(steps + 1)]
    return [(radius * math.cos(a), radius * math.sin(a), z) for a in angles]


HANDLES = ("knob", "bar", "cup", "none")


def handle(style: str, at: Point, finish: Finish, upright: bool = False) -> Parts:
    """A drawer's or door's handle on a front that faces -y at this point."""
    x, y, z = at
    if style == "knob":
        return [
            tube(
                [(x, y, z), (x, y - 0.012, z), (x, y - 0.014, z), (x, y - 0.026, z), (x, y - 0.03, z)],
                [0.006, 0.006, 0.015, 0.017, 0.012],
                finish,
            )
        ]
    if style == "bar":
        dx, dz = (0.0, 0.07) if upright else (0.07, 0.0)
        ends = [
            (x - dx, y, z - dz),
            (x - dx, y - 0.025, z - dz),
            (x + dx, y - 0.025, z + dz),
            (x + dx, y, z + dz),
        ]
        return [tube(ends, 0.006, finish, segments=8)]
    if style == "cup":
        return [box((0.09, 0.022, 0.022), finish, (x, y - 0.011, z - 0.011), 0.009)]
    return []
