"""The catalogue shot: one product on white, from its best side and from a second one."""

from __future__ import annotations

import math

import numpy as np

from data.homestore.camera import Camera, Lamp, Shot
from data.homestore.design import Design
from data.homestore.mesh import Parts, bounds

VIEW = 24.0  # degrees: a long lens, as catalogues use
MARGIN = 1.10
SIDES: dict[str, tuple[float, float]] = {  # category -> turn and height of the camera in degrees, first shot
    "Artwork": (8, 2), "Mirrors": (14, 3), "Clocks": (12, 4), "TVs": (16, 6), "Curtains & Drapes": (12, 4),
    "Rugs": (20, 42), "Fireplaces": (18, 8), "Pillows": (10, 8),
}  # fmt: skip


def shot(design: Design, second: bool, size: int, samples: int) -> Shot:
    """The first or second catalogue shot of a product."""
    parts = design.model().parts
    turn, height = SIDES.get(design.category, (28, 15))
    if second:
        turn, height = -(turn + 8), height + 12 if height < 40 else height - 14
    camera = frame(parts, turn, height, size)
    low, high = bounds(parts)
    reach = float(np.linalg.norm(high - low))
    x0, y0, z0 = ((low + high) / 2).tolist()
    centre = (x0, y0, z0)

    def place(x: float, y: float, z: float) -> tuple[float, float, float]:
        return centre[0] + x * reach, centre[1] + y * reach, centre[2] + z * reach

    watts = 42 * reach**2
    lamps = [
        Lamp("area", place(-1.1, -1.3, 1.5), watts, "fff6ea", centre, 1.2 * reach, 1.2 * reach),
        Lamp("area", place(1.6, -0.9, 0.7), 0.4 * watts, "f2f6ff", centre, 1.4 * reach, 1.4 * reach),
        Lamp("area", place(0.4, 1.4, 1.3), 0.45 * watts, "ffffff", centre, reach, reach),
    ]
    return Shot([parts], camera, lamps, sky_power=0.34, samples=samples, white=True)


def frame(parts: Parts, turn: float, height: float, size: int) -> Camera:
    """A square camera that the parts just fill."""
    points = np.concatenate([p.vertices for p in parts])
    t, h = math.radians(turn), math.radians(height)
    toward = np.array([math.sin(t) * math.cos(h), -math.cos(t) * math.cos(h), math.sin(h)])
    low, high = points.min(axis=0), points.max(axis=0)
    target = (low + high) / 2
    half = math.tan(math.radians(VIEW) / 2) / MARGIN
    distance = 3.0 * float(np.linalg.norm(high - low))
    camera = Camera((0, 0, 0), (0, 0, 0), VIEW, size, size)
    for _ in range(6):
        position = target + toward * distance
        camera = Camera(tuple(position.tolist()), tuple(target.tolist()), VIEW, size, size)
        seen = camera.see(points)
        x, y = seen[:, 0] / seen[:, 2], seen[:, 1] / seen[:, 2]
        right, up, _ = camera.axes()
        target = target + distance * ((x.max() + x.min()) / 2 * right + (y.max() + y.min()) / 2 * up)
        distance *= max(float(np.ptp(x)), float(np.ptp(y))) / 2 / half
    return camera
