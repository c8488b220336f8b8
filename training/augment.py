"""Random views of a picture, for training: which part of it, in which light, through which camera.

Plain functions of a numpy generator, so that the same seed gives the same view in whatever process. What costs time is
done by Pillow, which releases the GIL, and colours change in one pass.
"""

from __future__ import annotations

import math
from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter

from visearch.images import Box

ASPECT = 4 / 3  # a crop is between 3:4 and 4:3 of the picture's pixels
CROP_TRIES = 10
HUE = 0.1  # turns of the colour circle, at a jitter of 1
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow

BOX_CONTEXT = 0.2  # a box grows by up to this share of itself on every side,
BOX_SHIFT = 0.08  # and moves by up to this: a detector's boxes are no better

PADDED_BOX, PADDED_WHOLE = 0.8, 0.1  # share of the boxes, and of the whole pictures, that are letterboxed as in use
LEAST_PADDED = 0.6  # share of the area that is kept of what is letterboxed, at least

PHONE = 0.4  # share of the pictures that are treated as a phone's, each of the following then with its own chance
PHONE_BALANCE, BALANCE = 0.5, 0.15  # red and blue are multiplied by e^(+-this)
PHONE_BLUR, BLUR = 0.4, (0.4, 1.5)  # standard deviation, pixels of the training size
PHONE_NOISE, NOISE = 0.3, (2.0, 10.0)  # standard deviation, of 255
PHONE_JPEG, JPEG_QUALITY = 0.5, (35, 85)

Random = np.random.Generator


def random_region(random: Random, width: int, height: int, box: Box, least: float) -> Box:
    """A random part of the region `box` of a picture of this size in pixels: what torchvision calls RandomResizedCrop.

    It covers between `least` and all of the region's area and is between 3:4 and 4:3 in pixels. Of a region so narrow
    that no such part is large enough, it is a part as wide or as high as the region. Fractions of the picture.
    """
    x0, y0, x1, y1 = box
    across, down = (x1 - x0) * width, (y1 - y0) * height
    for _ in range(CROP_TRIES):
        area = random.uniform(least, 1) * across * down
        aspect = math.exp(random.uniform(-math.log(ASPECT), math.log(ASPECT)))
        wide, high = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if wide <= across and high <= down:
            break
    else:
        wide, high = min(across, down * ASPECT), min(down, across * ASPECT)
    # A region may be less than a pixel wide; never cut it further.
    wide, high = max(wide, min(across, 1.01)), max(high, min(down, 1.01))
    left, top = x0 * width + random.uniform() * (across - wide), y0 * height + random.uniform() * (down - high)
    return (
        max(0.0, left / width),
        max(0.0, top / height),
        min(1.0, (left + wide) / width),
        min(1.0, (top + high) / height),
    )


def random_part(random: Random, box: Box, least: float) -> Box:
    """A random part of about the shape of `box`, of between `least` and all of its area."""
    x0, y0, x1, y1 = box
    area = random.uniform(least, 1)
    bend = min(0.2, abs(math.log(area)))  # of more, neither side would hold the area
    shape = math.exp(random.uniform(-bend, bend))
    wide, high = min(1.0, math.sqrt(area * shape)) * (x1 - x0), min(1.0, math.sqrt(area / shape)) * (y1 - y0)
    left, top = x0 + random.uniform() * (x1 - x0 - wide), y0 + random.uniform() * (y1 - y0 - high)
    return max(0.0, left), max(0.0, top), min(1.0, left + wide), min(1.0, top + high)


def loosen(random: Random, box: Box) -> Box:
    """The box with some of what lies around it, moved a little, within the picture."""
    x0, y0, x1, y1 = box
    wide, high = x1 - x0, y1 - y0
    context = random.uniform(0, BOX_CONTEXT, 4) * (wide, high, wide, high)
    shift = random.uniform(-BOX_SHIFT, BOX_SHIFT, 2) * (wide, high)
    return (
        max(0.0, x0 - context[0] + shift[0]),
        max(0.0, y0 - context[1] + shift[1]),
        min(1.0, x1 + context[2] + shift[0]),
        min(1.0, y1 + context[3] + shift[1]),
    )


def change_colours(random: Random, image: Image.Image, strength: float) -> Image.Image:
    """Brightness, contrast and saturation times 1 +- `strength`, hue turned by up to 36 degrees x `strength`.

    All of them are affine maps of (red, green, blue), so their product is one pass over the picture (mode RGB).
    """
    brightness, contrast, saturation = random.uniform(1 - strength, 1 + strength, 3)
    angle = 2 * math.pi * HUE * strength * random.uniform(-1, 1)
    matrix = brightness * contrast * _saturate(saturation) @ _turn_hue(angle)
    # Contrast leaves the mean luminance where it is.
    grey = float(LUMA @ np.asarray(image.resize((8, 8), Image.Resampling.BOX)).reshape(-1, 3).mean(axis=0))
    offset = brightness * grey * (1 - contrast)
    return _map_colours(image, matrix, offset)


def _saturate(factor: float) -> np.ndarray:
    return factor * np.eye(3) + (1 - factor) * np.tile(LUMA, (3, 1))


def _turn_hue(angle: float) -> np.ndarray:
    """Rotation about the grey axis (Rodrigues' formula)."""
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    turned: np.ndarray = math.cos(angle) * np.eye(3) + (1 - math.cos(angle)) / 3 + math.sin(angle) * cross
    return turned


def _map_colours(image: Image.Image, matrix: np.ndarray, offset: float = 0.0) -> Image.Image:
    rows = np.column_stack([matrix, np.full(3, offset)])
    return image.convert("RGB", tuple(rows.ravel().tolist()))


def as_by_phone(random: Random, image: Image.Image, *, balanced: bool = False) -> Image.Image:
    """Now and then some of: wrong white balance (not if `balanced`), blur, noise, JPEG artefacts.

    Mode RGB, same size.
    """
    if random.uniform() >= PHONE:
        return image
    balance, blur, noise, jpeg = random.uniform(size=4) < (PHONE_BALANCE, PHONE_BLUR, PHONE_NOISE, PHONE_JPEG)
    if balance and not balanced:
        red, blue = np.exp(random.uniform(-BALANCE, BALANCE, 2))
        image = _map_colours(image, np.diag([red, 1.0, blue]))
    if blur:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(*BLUR)))
    if noise:
        deviation = random.uniform(*NOISE)
        pixels = np.asarray(image, dtype=np.float32)
        pixels = pixels + deviation * random.standard_normal(pixels.shape, dtype=np.float32)
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if jpeg:
        stream = BytesIO()
        image.save(stream, "JPEG", quality=int(random.integers(*JPEG_QUALITY)))
        image = Image.open(stream).convert("RGB")
    return image
