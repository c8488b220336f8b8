"""Where a picture is taken from, and the shot itself: shapes, lights and camera, before any renderer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from data.homestore.mesh import Floats, Parts, Point


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: it stands at `position`, looks at `target`; `view` is its horizontal angle in
    degrees.
    """

    position: Point
    target: Point
    view: float
    width: int  # pixels
    height: int
    roll: float = 0.0  # degrees, clockwise tilt of the phone

    def axes(self) -> Floats:
        """Rows: right, up, backward, as unit vectors in the world."""
        backward = np.subtract(self.position, self.target, dtype=np.float64)
        backward /= np.linalg.norm(backward)
        right = np.cross((0.0, 0.0, 1.0), backward)
        right /= np.linalg.norm(right)
        up = np.cross(backward, right)
        a = math.radians(self.roll)
        return np.stack([math.cos(a) * right + math.sin(a) * up, math.cos(a) * up - math.sin(a) * right, backward])

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return self.width / 2 / math.tan(math.radians(self.view) / 2)

    def see(self, points: Floats) -> Floats:
        """World points [..., 3] as right, up and distance ahead of the camera, metres."""
        seen: Floats = (points - np.array(self.position)) @ self.axes().T * (1, 1, -1)
        return seen


@dataclass(frozen=True)
class Lamp:
    """A light. `kind` area (a `size` x `size_y` metre panel facing `target`), bulb (a ball of `size`) or
    sun.
    """

    kind: str
    position: Point
    power: float  # watts; for a sun, watts per square metre
    colour: str = "ffffff"
    target: Point = (0, 0, 0)
    size: float = 1.0
    size_y: float = 1.0
    spread: float = 180.0  # degrees


@dataclass(frozen=True)
class Shot:
    """All that a renderer needs for one picture. `objects` are things apart; their order numbers them from
    1.
    """

    objects: list[Parts]
    camera: Camera
    lamps: list[Lamp]
    surroundings: Parts = field(default_factory=list)  # room, clutter: seen, but no product
    sky: str = "ffffff"
    sky_power: float = 0.5
    samples: int = 16
    exposure: float = 0.0  # stops
    white: bool = False  # on a white background with a soft shadow
    outside: Parts = field(default_factory=list)  # beyond the window: seen, but gives neither light nor shade
