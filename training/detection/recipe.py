"""A detector's recipe: everything that decides what its training does, in one TOML file.

As in training/recipe.py each table of the file is one of these dataclasses, and each key one of its fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from training.recipe import Card, from_plain_as, load_as
from training.tables import Above, Amount, Columns, Count, Natural, Share, named_twice
from visearch.errors import UsageError

SHIPPED = Path(__file__).parent / "recipes"
STRIDE = 32  # of the coarsest grid: what the sides of an input are multiples of


@dataclass(frozen=True)
class Data:
    """`[[data]]` and `[[validation]]`: one data set of pictures and their objects.

    Attributes:
        name: how reports call it.
        path: a manifest. Its rows have `objects`; or a `box`, a `category` and perhaps `others`, as the home store's
            photos; or `extra` with COCO's boxes. Where `boxes` is false, any manifest, or a folder of pictures.
        boxes: whether its objects are told. Where they are not, the labels that the start model knows are learnt from
            what that finds there (distillation), and pictures hold nothing else but what `unlabelled` names.
        unlabelled: labels that its pictures may show without telling: nothing is learnt of them there.
        where: only rows whose column has this value, or one of these values.
        part: only pictures whose names, as hashed numbers of 0 to 1, lie from the first to before the second.
        weight: pictures it has in a batch, relative to others.
        least_area: where it is measured, objects of less than this share of the picture are neither asked for nor
            wrong to find.
    """

    name: str
    path: Path
    boxes: bool = True
    unlabelled: tuple[str, ...] = ()
    where: Columns = field(default_factory=dict)
    part: tuple[Share, ...] = (0.0, 1.0)
    weight: Above = 1.0
    least_area: Share = 0.0


@dataclass(frozen=True)
class Views:
    """`[views]`: what is done to the pictures.

    Attributes:
        mosaic: share of the pictures that are made of four; none in the last `calm` share of the steps.
        zoom: a picture is shown up to so many times larger or smaller than it fits.
        jitter: strength of colour jitter.
        paste: share of the pictures onto which up to `most_pasted` products of `products` are pasted.
        products: a catalogue's manifest with pictures on white, and `category`.
        least_area, least_visible: objects whose pixels are less than this share of the picture, or that show less than
            this share of themselves and are small, are neither to be found nor wrong to find.
    """

    mosaic: Share = 0.5
    calm: Share = 0.15
    zoom: Above = 1.6
    jitter: Amount = 0.3
    paste: Share = 0.0
    most_pasted: Count = 3
    products: Path | None = None
    least_area: Share = 0.001
    least_visible: Share = 0.2


@dataclass(frozen=True)
class Schedule:
    """`[schedule]`: the loop. Adam; the rate rises for `ramp` steps, then falls as a cosine.

    Attributes:
        steps, batch: updates, and pictures of each.
        sizes: sides of the square input in pixels; each step has one of them.
        rate: how far a weight moves in a step at most, about, as a share of the typical weight of its channel.
        distill: weight of what the start model says of pictures without boxes.
        ema: decay of the weights' moving average, which ships; 0 is none.
        validate_every: steps; checkpoint_minutes: how often the run is saved.
        precision: "float32" or "bf16" autocast. workers: processes that decode.
    """

    steps: Count = 1600
    batch: Count = 16
    sizes: tuple[Count, ...] = (416,)
    rate: Amount = 4e-3
    ramp: Natural = 100
    distill: Amount = 1.0
    ema: Share = 0.998
    validate_every: Count = 400
    checkpoint_minutes: Amount = 3.0
    precision: Literal["float32", "bf16"] = "bf16"
    workers: Natural = 1


@dataclass(frozen=True)
class DetectorRecipe:
    """The whole file. `name` is the file's where it says none.

    Attributes:
        categories: label -> the category of products that it names; these labels come first.
        synonyms: what data sets or other detectors call a label -> our name for it.
        start: an .onnx file of YOLOX-nano to start from; its labels are ours too. None starts from nothing.
        size: side of the square input of the exported model in pixels.
    """

    name: str
    categories: Mapping[str, str]
    data: tuple[Data, ...]
    synonyms: Mapping[str, str] = field(default_factory=dict)
    start: Path | None = None
    size: Count = 416
    views: Views = Views()
    schedule: Schedule = Schedule()
    validation: tuple[Data, ...] = ()
    card: Card = field(default_factory=Card)
    seed: Natural = 0

    def label(self, name: str) -> str:
        """Our label of what a data set or a detector calls `name`: that of a synonym or of a category, or itself."""
        return _names(self).get(name, name)


def load(name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> DetectorRecipe:
    """Read a recipe: a .toml file, or the name of one that ships.

    Raises:
        UsageError: as `training.recipe.load_as`. What only the recipe as a whole shows is found by `check`.
    """
    return load_as(DetectorRecipe, SHIPPED, name_or_path, overrides)


def from_plain(values: Mapping[str, Any]) -> DetectorRecipe:
    """The recipe that `training.recipe.to_plain` made plain; raises UsageError."""
    return from_plain_as(DetectorRecipe, values)


def check(recipe: DetectorRecipe) -> None:
    """What can be known to be wrong before a picture is read or a model made.

    Raises:
        UsageError: naming the first key that is wrong.
    """
    for problem in _problems(recipe):
        raise UsageError(f"recipe {recipe.name}: {problem}")


def _problems(recipe: DetectorRecipe) -> Iterator[str]:
    for key, size in (("size", recipe.size), *(("schedule.sizes", size) for size in recipe.schedule.sizes)):
        if size % STRIDE:
            yield f"{key}: {size} is not a multiple of {STRIDE}"
    if not recipe.schedule.sizes:
        yield "schedule.sizes: is empty"
    if not any(each.boxes for each in recipe.data):
        yield "data: no data set has boxes"
    if recipe.start is None and any(not each.boxes for each in recipe.data):
        yield "data: pictures without boxes are learnt from the start model; set `start`, or leave them out"
    if recipe.views.paste and recipe.views.products is None:
        yield "views.products: is missing, and views.paste wants products"
    for key, entries in (("data", recipe.data), ("validation", recipe.validation)):
        yield from named_twice(key, [each.name for each in entries])
    for each in (*recipe.data, *recipe.validation):
        if len(each.part) != 2 or not each.part[0] < each.part[1]:
            yield f"{each.name}.part: two shares are needed, the smaller first"
    for each in recipe.validation:
        if not each.boxes:
            yield f"validation.{each.name}.boxes: nothing can be measured without boxes"
    if recipe.schedule.ema == 1:
        yield "schedule.ema: a decay of 1 never moves"


def _names(recipe: DetectorRecipe) -> dict[str, str]:
    return {category: label for label, category in recipe.categories.items()} | dict(recipe.synonyms)
