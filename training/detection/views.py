"""Scenes -> what a step sees: pictures cropped, zoomed, four in one, with products pasted on, in another light.

Everything random is a function of (seed, step, place in the batch), as in training/batches.py.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from training import augment
from training.batches import REPLACEMENTS, Mix, ahead
from training.detection.recipe import DetectorRecipe
from training.detection.scenes import Cutout, Scene
from visearch import images
from visearch.codes import F32, U8
from visearch.errors import ImageError, VisearchError
from visearch.files import read_limited
from visearch.images import Picture

GREY = 114  # of what no picture covers, as YOLOX pads
ASPECT = 0.1  # width and height are stretched by up to e^(+-this) against each other
AS_IN_USE = 0.3  # share of the single pictures that are fitted into the top left corner, as the exported model has them
MOSAIC_CENTRE = (0.35, 0.65)  # where the four pictures meet
SMALL = 10.0  # times `least_area`: what hides more than `least_visible` allows is only left out where it is so small
PASTED_SIDE = (0.12, 0.45)  # longer side of a pasted product, share of the view's
PASTE_TRIES = 5
MOST_COVERED = 0.4  # share of an object's box that a pasted one may cover
WHITE = 240  # of 255, every channel: the background of a product picture

Random = np.random.Generator
Rectangle = tuple[int, int, int, int]  # left, top, width, height in pixels


@dataclass
class Batch:
    """What a step sees: n pictures of one size, and up to G objects in each.

    Attributes:
        images: uint8 [n, size, size, 3], RGB.
        sets: int64 [n], the data set of each.
        boxes: float32 [n, G, 4], x0, y0, x1, y1 in pixels.
        labels: int64 [n, G]; -1 where there is no further object.
        ignored: bool [n, G]: neither to be found, nor wrong to find.
        unreadable: (path, reason) of pictures that could not be decoded; others of their set are in their place.
    """

    images: Tensor
    sets: Tensor
    boxes: Tensor
    labels: Tensor
    ignored: Tensor
    unreadable: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Placed:
    """An object in a view: its box in pixels."""

    box: F32
    label: str
    ignored: bool = False


class Views:
    """The batches of a run."""

    def __init__(
        self,
        recipe: DetectorRecipe,
        sets: Sequence[tuple[Scene, ...]],
        labels: Sequence[str],
        cutouts: Sequence[Cutout] = (),
    ) -> None:
        """`sets` are those of `recipe.data`, in order; `labels` the model's. Nothing is decoded yet."""
        self.recipe, self.sets, self.cutouts = recipe, sets, cutouts
        self.ids = {label: number for number, label in enumerate(labels)}
        weights = [each.weight for each in recipe.data]
        self.mix = Mix([len(each) for each in sets], weights, recipe.schedule.batch, recipe.seed)

    def iterate(self, start: int) -> Generator[Batch, None, None]:
        """The batches from step `start` to the last, made ahead in other processes; raises VisearchError."""
        return ahead(self, start, self.recipe.schedule.steps, self.recipe.schedule.workers)

    def __getitem__(self, step: int) -> Batch | VisearchError:
        """The batch of a step, or why there is none."""
        try:
            return self.make(step)
        except VisearchError as error:
            return error

    def make(self, step: int) -> Batch:
        """The batch of a step.

        Raises:
            VisearchError: picture after picture of a data set cannot be decoded.
        """
        schedule = self.recipe.schedule
        size = int(np.random.default_rng((self.recipe.seed, step)).choice(schedule.sizes))
        calm = step >= schedule.steps * (1 - self.recipe.views.calm)
        slots = self.mix.step(step)
        pixels = np.empty((len(slots), size, size, 3), np.uint8)
        unreadable: list[tuple[Path, str]] = []
        placed = []
        for row, (number, turn) in enumerate(slots):
            random = np.random.default_rng((self.recipe.seed, step, row))
            scene = self.sets[number][self.mix.picture(number, turn)]
            pixels[row], found = self._view(scene, self.sets[number], size, calm, random, unreadable)
            placed.append(found)
        boxes, labels, ignored = padded(placed, self.ids)
        sets = torch.tensor([number for number, _ in slots])
        return Batch(torch.from_numpy(pixels), sets, boxes, labels, ignored, unreadable)

    def _view(
        self,
        first: Scene,
        scenes: tuple[Scene, ...],
        size: int,
        calm: bool,
        random: Random,
        unreadable: list[tuple[Path, str]],
    ) -> tuple[U8, list[Placed]]:
        views = self.recipe.views
        canvas = np.full((size, size, 3), GREY, np.uint8)
        placed: list[Placed] = []
        rectangles = _mosaic(random, size) if not calm and random.uniform() < views.mosaic else [(0, 0, size, size)]
        in_use = len(rectangles) == 1 and random.uniform() < AS_IN_USE
        for place, rectangle in enumerate(rectangles):
            scene = first if place == 0 else scenes[random.integers(len(scenes))]
            picture, scene = _decode(scene, scenes, size, random, unreadable)
            least = 1.0 if len(rectangles) > 1 else 1 / views.zoom  # what is shown four at a time is small enough
            where = _fit(picture, rectangle) if in_use else _zoom(random, picture, rectangle, least, views.zoom)
            show(canvas, picture, rectangle, where)
            placed += self._things(scene, rectangle, where, size)
        if self.cutouts and random.uniform() < views.paste:
            for _ in range(random.integers(1, views.most_pasted + 1)):
                self._paste(canvas, placed, random)
        image = Image.fromarray(canvas)
        if random.uniform() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            placed = [Placed(_mirrored(each.box, size), each.label, each.ignored) for each in placed]
        if views.jitter:
            image = augment.change_colours(random, image, views.jitter)
        return np.asarray(augment.as_by_phone(random, image)), placed

    def _things(self, scene: Scene, rectangle: Rectangle, where: F32, size: int) -> Iterator[Placed]:
        """The objects of a scene whose whole picture lies at `where` (x0, y0, x1, y1 in pixels), cut off at the
        rectangle."""
        left, top, width, height = rectangle
        corner, extent = where[:2], where[2:] - where[:2]
        least = self.recipe.views.least_area * size * size
        for thing in scene.things:
            whole = np.array(thing.box, np.float32) * np.tile(extent, 2) + np.tile(corner, 2)
            box = np.clip(whole, [left, top, left, top], [left + width, top + height] * 2).astype(np.float32)
            if (box[2:] <= box[:2]).any():
                continue
            kept = float(np.prod(box[2:] - box[:2]) / np.prod(whole[2:] - whole[:2]))
            pixels = thing.area * float(np.prod(extent)) * kept
            hidden = thing.visible * kept < self.recipe.views.least_visible
            yield Placed(box, thing.label, pixels < least or (hidden and pixels < SMALL * least))

    def _paste(self, canvas: U8, placed: list[Placed], random: Random) -> None:
        """Put a product onto the view where it hides little of what is there; nowhere, if there is no such place."""
        size = len(canvas)
        product = self.cutouts[int(random.integers(len(self.cutouts)))]
        try:
            picture = images.decode(read_limited(product.path), min_side=size // 4)
        except ImageError:
            return
        pixels, mask = cut_out(np.asarray(picture.image))
        if not mask.size:
            return
        side = size * math.exp(random.uniform(math.log(PASTED_SIDE[0]), math.log(PASTED_SIDE[1])))
        scale = side / max(mask.shape)
        width, height = (max(2, round(each * scale)) for each in (mask.shape[1], mask.shape[0]))
        for _ in range(PASTE_TRIES):
            left, top = (int(random.integers(0, size - each + 1)) for each in (width, height))
            box = np.array([left, top, left + width, top + height], np.float32)
            if all(_covered(each.box, box) <= MOST_COVERED for each in placed):
                break
        else:
            return
        shown = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR), np.float32)
        alpha = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.BILINEAR), np.float32) / 255
        under = canvas[top : top + height, left : left + width]
        under[:] = np.round(alpha[..., None] * shown + (1 - alpha[..., None]) * under)
        placed.append(Placed(box, product.label))


def cut_out(pixels: U8) -> tuple[U8, U8]:
    """A product on white, uint8 [h, w, 3], as the pixels around it and a mask uint8 of 0 and 255 (both [h', w']).

    White is background where it reaches the picture's border; white within a product is the product's.
    """
    from scipy import ndimage

    parts, _ = ndimage.label((pixels >= WHITE).all(axis=2))
    border = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    mask = ~np.isin(parts, border[border > 0])
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return pixels[:0, :0], np.empty((0, 0), np.uint8)
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return pixels[part], mask[part].astype(np.uint8) * 255


def show(canvas: U8, picture: Picture, rectangle: Rectangle, where: F32) -> None:
    """Draw onto the rectangle of the canvas what it shows of a picture that lies at `where` (x0, y0, x1, y1)."""
    left, top, width, height = rectangle
    x0, y0 = (max(edge, round(float(side))) for edge, side in ((left, where[0]), (top, where[1])))
    x1, y1 = (min(edge, round(float(side))) for edge, side in ((left + width, where[2]), (top + height, where[3])))
    if x1 <= x0 or y1 <= y0:  # of a picture so thin that nothing of it shows
        return
    region = (np.array([x0, y0, x1, y1]) - np.tile(where[:2], 2)) / np.tile(where[2:] - where[:2], 2)
    r0, s0, r1, s1 = np.clip(region, 0, 1).tolist()
    (r0, r1), (s0, s1) = _a_pixel_at_least(r0, r1, picture.width), _a_pixel_at_least(s0, s1, picture.height)
    canvas[y0:y1, x0:x1] = images.resize(picture, (r0, s0, r1, s1), (x1 - x0, y1 - y0), Image.Resampling.BILINEAR)


def _a_pixel_at_least(start: float, end: float, pixels: int) -> tuple[float, float]:
    """A part of a side, 0 to 1, made as long as a pixel of it where it is shorter."""
    if (end - start) * pixels >= 1:
        return start, end
    place = min(int(start * pixels), pixels - 1)  # of the pixel that it begins in
    return place / pixels, (place + 1) / pixels


def padded(placed: Sequence[Sequence[Placed]], ids: dict[str, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes float32 [n, G, 4], labels int64 [n, G] and ignored bool [n, G], as `Batch` has them."""
    most = max(1, *map(len, placed))
    boxes = torch.zeros(len(placed), most, 4)
    labels = torch.full((len(placed), most), -1)
    ignored = torch.zeros(len(placed), most, dtype=torch.bool)
    for row, found in enumerate(placed):
        for place, each in enumerate(found):
            boxes[row, place] = torch.from_numpy(each.box)
            labels[row, place] = ids[each.label]
            ignored[row, place] = each.ignored
    return boxes, labels, ignored


def _decode(
    scene: Scene, scenes: tuple[Scene, ...], size: int, random: Random, unreadable: list[tuple[Path, str]]
) -> tuple[Picture, Scene]:
    """A scene's picture; another scene of its set where that cannot be decoded."""
    for _ in range(REPLACEMENTS):
        try:
            # decode() gives twice what it is asked for.
            return images.decode(read_limited(scene.path), min_side=max(1, size // 2)), scene
        except ImageError as error:
            unreadable.append((scene.path, error.message))
        scene = scenes[random.integers(len(scenes))]
    path, reason = unreadable[-1]
    raise VisearchError(f"{REPLACEMENTS} pictures, one after the other, cannot be decoded ({path}: {reason})")


def _mosaic(random: Random, size: int) -> list[Rectangle]:
    x, y = (round(size * random.uniform(*MOSAIC_CENTRE)) for _ in range(2))
    return [(0, 0, x, y), (x, 0, size - x, y), (0, y, x, size - y), (x, y, size - x, size - y)]


def _fit(picture: Picture, rectangle: Rectangle) -> F32:
    """Where a picture lies that is as large as fits, in the top left corner."""
    left, top, width, height = rectangle
    scale = min(width / picture.width, height / picture.height)
    return np.array([left, top, left + picture.width * scale, top + picture.height * scale], np.float32)


def _zoom(random: Random, picture: Picture, rectangle: Rectangle, least: float, most: float) -> F32:
    """Where a picture lies that is `least` to `most` times as large as fits: within the rectangle, or all over it."""
    left, top, width, height = rectangle
    zoom = math.exp(random.uniform(math.log(least), math.log(most)))
    scale = min(width / picture.width, height / picture.height) * zoom
    stretch = math.exp(random.uniform(-ASPECT, ASPECT))
    wide, high = picture.width * scale * stretch, picture.height * scale / stretch
    x, y = left + random.uniform() * (width - wide), top + random.uniform() * (height - high)
    return np.array([x, y, x + wide, y + high], np.float32)


def _mirrored(box: F32, size: int) -> F32:
    return np.array([size - box[2], box[1], size - box[0], box[3]], np.float32)


def _covered(box: F32, by: F32) -> float:
    """The share of a box that another one covers."""
    shared = np.clip(np.minimum(box[2:], by[2:]) - np.maximum(box[:2], by[:2]), 0, None)
    return float(np.prod(shared) / np.prod(box[2:] - box[:2]))
