"""A recipe: everything that decides what a training run does, in one TOML file.

Each table of the file is one of the dataclasses below and each key one of its fields, so this module is also the
reference of the format. Paths are relative to the file; `~`, `$NAME` and `${NAME:-where it is not set}` are expanded.

A recipe may be another with changes: `base = "unified"` (or a path) as its first line, then only what differs.
`[[data]]` and `[[validation]]` go by their names, and one of a new name is added. Nothing of the base can be taken away
but a whole array: `validation = []`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

from training.tables import (
    Above,
    Amount,
    Columns,
    Count,
    Natural,
    Reader,
    Share,
    Table,
    merge,
    named_twice,
    override,
    placed,
)
from visearch.errors import UsageError

SHIPPED = Path(__file__).parent / "recipes"
BITS_A_GROUP = 4  # of GroupNorm, as 256 groups of 1,024

Head = Literal["softmax", "normalized"]
Format = Literal["", "folder", "manifest", "scenes", "cub200", "cars196", "sop", "inshop", "stl"]


@dataclass(frozen=True)
class Backbone:
    """`[backbone]`: any timm model, without its classifier.

    Attributes:
        name: as `timm.create_model` takes it.
        pretrained: take timm's weights through the hub.
        weights: a local .safetensors or .pth file of the whole timm model in place of that.
        options: further keyword arguments of `create_model`.
        identity: names of submodules to replace by nn.Identity (graphs that differ from timm's in a layer).
    """

    name: str
    pretrained: bool = False
    weights: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    identity: tuple[str, ...] = ()


@dataclass(frozen=True)
class Embedding:
    """`[embedding]`: the binarization module (arXiv 1908.01707 s3.3.2) and the input.

    Attributes:
        dim: D, bits of the code; a multiple of 8 and of `groups`.
        projection: a bias-free linear layer from the backbone's features to D; needed where they differ in number.
        groups: of GroupNorm; 0 leaves it out (the rows of Table 1 without it), or makes it a LayerNorm without
            parameters where the head is "normalized".
        relu, dropout: after it; dropout is a probability.
        binary: share of the training pictures whose classifiers see the code, not the numbers (`model.binarized`): what
            is searched in binary is trained in binary too.
        head: "softmax" (bias-free, as published) or "normalized" (features and proxies of unit length: arXiv
            1811.12649, there with groups = 0, relu = false and dropout = 0).
        temperature: of the normalized softmax.
        size: side of the square input in pixels, in training and in the exported model.
        train_size: side while training, where it differs from `size`.
    """

    dim: Count = 1024
    projection: bool = True
    groups: Natural = 256
    relu: bool = True
    dropout: Share = 0.5
    binary: Share = 0.0
    head: Head = "softmax"
    temperature: Above = 0.05
    size: Count = 224
    train_size: Natural = 0


def published(head: Head, embedding: Embedding) -> Embedding:
    """`embedding` in the form that a loss was published with: "softmax" after GroupNorm, ReLU and dropout (arXiv
    1908.01707), "normalized" after LayerNorm (arXiv 1811.12649). Its sizes stay as they are."""
    if head == "normalized":
        return replace(embedding, head=head, groups=0, relu=False, dropout=0.0, binary=0.0)
    groups = embedding.dim // BITS_A_GROUP
    return replace(embedding, head=head, groups=groups, relu=True, dropout=0.5, binary=0.0)


@dataclass(frozen=True)
class Data:
    """`[[data]]`: one data set.

    Attributes:
        name: how reports call it.
        path: a folder of classes, or the file or folder that `format` says.
        format: folder, manifest, scenes (objects with boxes: scenes.jsonl of the home store), cub200, cars196, sop,
            inshop, stl; "" guesses from the path.
        heads: head -> the column (metadata key) that holds its label; the column `picture` makes every picture a class
            of its own, whose crops are to find each other. Empty: unlabelled pictures, for `retention`.
        where: only rows whose column has this value, or one of these values; a text that ends in .txt names a file of
            them, one a line. The published benchmarks give their training split where nothing is said of `split`.
        exclude: not rows whose column has one of these values, said in the same ways.
        unseen: files of class names (one a line) that must never be trained on: a row with one is an error.
        min_area: objects of less than this share of the picture are left out.
        weight: pictures it has in a batch, relative to others, where `mix` is "weighted".
        distill: its pictures are held to the start model as unlabelled ones are (`retention.distill`). For a catalogue:
            photos then move to what its pictures were to begin with, and what they had in common is not forgotten.
        crop, jitter: as in `[schedule]`, for this set alone. A jitter of 0 leaves all colours as they are: for products
            that differ in a colour, in pictures whose light varies by itself.
    """

    name: str
    path: Path
    format: Format = ""
    heads: Mapping[str, str] = field(default_factory=dict)
    where: Columns = field(default_factory=dict)
    exclude: Columns = field(default_factory=dict)
    unseen: tuple[Path, ...] = ()
    min_area: Share = 0.0
    weight: Above = 1.0
    distill: bool = False
    crop: Share | None = None
    jitter: Amount | None = None


@dataclass(frozen=True)
class Proxies:
    """`[proxies]`: the softmax classifiers' weights, one row a class, in CPU memory (1908.01707 s3.4, Algorithm 1).

    Attributes:
        sampled: classes a step for each head, the batch's own always among them; banks of fewer classes use all.
        optimizer: "sgd" (sparse, no momentum, as published) or "adam" (sparse moments, three times the memory).
        rate: learning rate; 0 means 10 times that of the new layers, as published.
        imprint: begin with what the start model makes of a few pictures of each class, not at random (imprint.py).
    """

    sampled: Count = 2048
    optimizer: Literal["sgd", "adam"] = "sgd"
    rate: Amount = 0.0
    imprint: bool = False


@dataclass(frozen=True)
class Retention:
    """`[retention]`: against forgetting what the backbone knew.

    Attributes:
        distill: weight of the mean squared error between the cosine matrix of the batch's embeddings and that of the
            embeddings which the start model gives; 0 is off.
        distill_on: "unlabelled" pictures of the batch (and those of data sets with `distill`), or "all".
        layer_decay: rate of a layer = backbone rate x layer_decay^(layers above it); 1 is the same rate everywhere.
        average: share of the trained weights in the end result; the rest are those after the warm start (WiSE-FT), or
            where the recipe says `begin`, those that the run before it began with.
    """

    distill: Amount = 0.0
    distill_on: Literal["unlabelled", "all"] = "unlabelled"
    layer_decay: Share = 1.0
    average: Share = 1.0


@dataclass(frozen=True)
class Schedule:
    """`[schedule]`: the loop.

    Attributes:
        batch: pictures a step and process. mix: "uniform" over data sets, "proportional" to their sizes, or "weighted".
        warm_epochs: of the new layers alone, the backbone frozen; epochs: end to end after that. An epoch is as many
            steps as show the largest data set once; steps_per_epoch says otherwise.
        optimizer: "sgd" (momentum 0.9) or "adamw". rate: of the new layers; backbone_rate: of the backbone.
        decay: "step" (x0.1 every `decay_every` epochs) or "cosine". clip: largest norm of the gradients, 0 is none.
        batch_norm: "frozen" or "tracked". balance: "equal" or "gradnorm" over the heads' losses.
        accumulate: steps whose gradients are added before an update.
        ema: decay of the weights' moving average, 0 is none.
        precision: "float32", "bf16" or "fp16" autocast. compile: torch.compile the model.
        workers: processes that decode; checkpoint_minutes: how often the run is saved.
        crop: least share of the picture that a random crop keeps; jitter: strength of colour jitter.
    """

    batch: Count = 80
    mix: Literal["uniform", "proportional", "weighted"] = "uniform"
    warm_epochs: Amount = 1.0
    epochs: Amount = 9.0
    steps_per_epoch: Natural = 0
    optimizer: Literal["sgd", "adamw"] = "sgd"
    rate: Amount = 0.01
    backbone_rate: Amount = 0.01
    weight_decay: Amount = 1e-4
    decay: Literal["step", "cosine"] = "step"
    decay_every: Above = 3.0
    clip: Amount = 0.0
    batch_norm: Literal["frozen", "tracked"] = "tracked"
    balance: Literal["equal", "gradnorm"] = "equal"
    accumulate: Count = 1
    ema: Share = 0.0
    precision: Literal["float32", "bf16", "fp16"] = "bf16"
    compile: bool = False
    workers: Natural = 2
    checkpoint_minutes: Amount = 5.0
    crop: Share = 0.4
    jitter: Amount = 0.3


@dataclass(frozen=True)
class Validation:
    """`[validation]`: retrieval measured in binary after each epoch; the best checkpoint is the one that ships.

    Attributes:
        queries, corpus: manifests; label: the column that says what is relevant. Without `corpus` the queries search
            each other, each leaving itself out.
        where, exclude, corpus_where: which rows, as in `[[data]]`.
        unseen_by: a head; that it was trained on a class of the queries is an error.
        limit: at most so many queries, evenly taken.
    """

    name: str
    queries: Path
    label: str
    corpus: Path | None = None
    where: Columns = field(default_factory=dict)
    exclude: Columns = field(default_factory=dict)
    corpus_where: Columns = field(default_factory=dict)
    unseen_by: str = ""
    limit: Count = 500


@dataclass(frozen=True)
class Card:
    """`[card]`: what the exported model says of itself, beside what the run knows.

    Attributes:
        name: the recipe's where it says none.
    """

    name: str = ""
    version: str = "1"
    license: str = "unstated"
    training_data: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """The whole file.

    Attributes:
        name: the file's where it says none.
        begin: a checkpoint of a model of this backbone and embedding whose weights the run begins with, where another
            run ended. `retention` still holds it to what the backbone knew before either.
        seed: of everything drawn at random.
    """

    name: str
    backbone: Backbone
    data: tuple[Data, ...]
    embedding: Embedding = Embedding()
    proxies: Proxies = Proxies()
    retention: Retention = Retention()
    schedule: Schedule = Schedule()
    validation: tuple[Validation, ...] = ()
    card: Card = Card()
    begin: Path | None = None
    seed: Natural = 0


def load(name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe: a .toml file, or the name of one that ships (`names()`).

    Raises:
        UsageError: as `load_as`. What only the recipe as a whole shows is found by `check`.
    """
    return load_as(Recipe, SHIPPED, name_or_path, overrides)


def load_as(
    kind: type[Table], shipped: Path, name_or_path: str | Path, overrides: Mapping[str, Any] | None = None
) -> Table:
    """Read a recipe of dataclass `kind`, which has a `name`: a .toml file, or the name of one in the folder `shipped`.

    `overrides` are values in place of the file's by dotted key, as `override` in tables.py takes them.

    Raises:
        UsageError: the file is not there or not TOML, a key or value is wrong, a path is not there; one line with file
            and key.
    """
    file = _find(str(name_or_path), shipped)
    written, shown = _written(shipped, file)
    table = {"name": file.stem} | override(written, overrides or {}, shown)
    return Reader(shown, file.absolute().parent).read(kind, table)


def _written(shipped: Path, file: Path, above: tuple[Path, ...] = ()) -> tuple[dict[str, Any], str]:
    """What a file says over what its `base` does, and how messages call it; `above` have this file as their base."""
    shown = file.stem if file.parent == shipped else str(file)
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: not TOML ({error})") from None
    if "base" not in table:
        return table, shown
    base = table.pop("base")
    if not isinstance(base, str):
        raise UsageError(f"{shown}: base: {base!r} is not the name or path of a recipe")
    base_file = _find(base, shipped)
    if base_file.parent != shipped:
        base_file = Reader(shown, file.absolute().parent).path(base, "base")
    above = (*above, file.resolve())
    if base_file.resolve() in above:
        raise UsageError(f"{shown}: base: {base} has, in the end, this recipe as its own base")
    start, base_shown = _written(shipped, base_file, above)
    start.pop("name", None)
    return merge(placed(start, base_file.absolute().parent), table), f"{shown} (base {base_shown})"


def names(shipped: Path = SHIPPED) -> list[str]:
    """The recipes that ship."""
    return sorted(path.stem for path in shipped.glob("*.toml"))


def _find(name: str, shipped: Path) -> Path:
    if name in names(shipped):
        return shipped / f"{name}.toml"
    if not name.endswith(".toml"):
        raise UsageError(f"{name}: no such recipe; name a .toml file or one of {', '.join(names(shipped))}")
    return Path(name)


def to_plain(value: Any) -> Any:
    """A recipe as dicts, lists, texts and numbers, which JSON and TOML can hold; None is left out."""
    if is_dataclass(value):
        pairs = ((each.name, getattr(value, each.name)) for each in fields(value))
        return {key: to_plain(each) for key, each in pairs if each is not None}
    if isinstance(value, Mapping):
        return {key: to_plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def from_plain(values: Mapping[str, Any]) -> Recipe:
    """The recipe that `to_plain` made plain. Its paths need not be there any more: a checkpoint outlives its pictures.

    Raises:
        UsageError: as `load`.
    """
    return from_plain_as(Recipe, values)


def from_plain_as(kind: type[Table], values: Mapping[str, Any]) -> Table:
    """As `from_plain`, of another dataclass; raises UsageError as `load_as`."""
    return Reader("recipe", Path.cwd(), must_exist=False).read(kind, values)


def check(recipe: Recipe) -> None:
    """What can be known to be wrong before a picture is read or a model made.

    Raises:
        UsageError: naming the first key that is wrong.
    """
    for problem in _problems(recipe):
        raise UsageError(f"recipe {recipe.name}: {problem}")


def _problems(recipe: Recipe) -> Iterator[str]:
    embedding, schedule, retention = recipe.embedding, recipe.schedule, recipe.retention
    if embedding.dim % 8:
        yield f"embedding.dim: {embedding.dim} is not a multiple of 8, so its bits do not fill bytes"
    if embedding.groups and embedding.dim % embedding.groups:
        yield f"embedding.dim: {embedding.dim} is not a multiple of embedding.groups ({embedding.groups})"
    if embedding.groups == embedding.dim:
        yield f"embedding.groups: groups of one number are all 0 after GroupNorm; at most {embedding.dim // 2}"
    if embedding.dropout == 1:
        yield "embedding.dropout: 1 drops everything"
    if recipe.backbone.pretrained and recipe.backbone.weights is not None:
        yield "backbone: give pretrained = true or weights, not both"

    for key, entries in (("data", recipe.data), ("validation", recipe.validation)):
        yield from named_twice(key, [each.name for each in entries])
    if recipe.schedule.compile and recipe.schedule.balance == "gradnorm":
        yield "schedule.balance: gradnorm looks into the network's gradients, which schedule.compile does not allow"
    heads = {head for each in recipe.data for head in each.heads}
    if not heads:
        yield 'data: no data set feeds a head, as heads = { product = "label" } would'
    for validation in recipe.validation:
        if validation.unseen_by and validation.unseen_by not in heads:
            yield f"validation.{validation.name}.unseen_by: no data set feeds a head {validation.unseen_by}"
    held = [each for each in recipe.data if each.distill or not each.heads]
    if retention.distill and retention.distill_on == "unlabelled" and not held:
        yield 'retention.distill_on: no data set is unlabelled (without heads); add one, or distill on "all"'

    if schedule.epochs + schedule.warm_epochs == 0:
        yield "schedule: epochs and warm_epochs are both 0"
    if schedule.ema == 1:
        yield "schedule.ema: a decay of 1 never moves"
