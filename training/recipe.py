"""A recipe: everything that decides what a training run does, in one TOML file.

Each table of the file is one of the dataclasses below and each key one of its fields, so this module is also the
reference of the format. Paths are relative to the file; `$NAME` and `~` are expanded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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
        groups: of GroupNorm; 0 leaves it out (the rows of Table 1 without it).
        relu, dropout: after it; dropout is a probability.
        head: "softmax" (bias-free, as published) or "normalized" (LayerNorm, L2-normalised features and proxies, 1811.12649).
        temperature: of the normalized softmax.
        size: side of the square input in pixels, in training and in the exported model.
        train_size: side while training, where it differs from `size`.
    """

    dim: int = 1024
    projection: bool = True
    groups: int = 256
    relu: bool = True
    dropout: float = 0.5
    head: str = "softmax"
    temperature: float = 0.05
    size: int = 224
    train_size: int = 0


@dataclass(frozen=True)
class Data:
    """`[[data]]`: one data set.

    Attributes:
        name: how reports call it.
        path: a folder of classes, or the file or folder that `format` says.
        format: folder, manifest, scenes (objects with boxes: scenes.jsonl of the home store), cub200, cars196, sop,
            inshop, stl; "" guesses from the path.
        heads: head -> the column (metadata key) that holds its label. Empty: unlabelled pictures, for `retention`.
        where: only rows whose column has this value, or one of these values.
        exclude: not rows whose column has one of these values; a text that ends in .txt names a file of them, one a line.
        unseen: files of class names (one a line) that must never be trained on: a row with one is an error.
        min_area: objects of less than this share of the picture are left out.
        weight: pictures it has in a batch, relative to others, where `mix` is "weighted".
    """

    name: str
    path: Path
    format: str = ""
    heads: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, Any] = field(default_factory=dict)
    exclude: Mapping[str, Any] = field(default_factory=dict)
    unseen: tuple[Path, ...] = ()
    min_area: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True)
class Proxies:
    """`[proxies]`: the softmax classifiers' weights, one row a class, in CPU memory (1908.01707 s3.4, Algorithm 1).

    Attributes:
        sampled: classes a step for each head, the batch's own always among them; banks of fewer classes use all.
        optimizer: "sgd" (sparse, no momentum, as published) or "adam" (sparse moments, three times the memory).
        rate: learning rate; 0 means 10 times that of the new layers, as published.
    """

    sampled: int = 2048
    optimizer: str = "sgd"
    rate: float = 0.0


@dataclass(frozen=True)
class Retention:
    """`[retention]`: against forgetting what the backbone knew.

    Attributes:
        distill: weight of the mean squared error between the batch's cosine matrix and the start backbone's; 0 is off.
        distill_on: "unlabelled" or "all" pictures of the batch.
        layer_decay: rate of a layer = backbone rate x layer_decay^(layers above it); 1 is the same rate everywhere.
        average: share of the trained weights in the end result, the rest being the weights after the warm start (WiSE-FT).
    """

    distill: float = 0.0
    distill_on: str = "unlabelled"
    layer_decay: float = 1.0
    average: float = 1.0


@dataclass(frozen=True)
class Schedule:
    """`[schedule]`: the loop.

    Attributes:
        batch: pictures a step and process. mix: "uniform" over data sets, "proportional" to their sizes, or "weighted".
        warm_epochs: of the new layers alone, the backbone frozen; epochs: end to end after that. An epoch is as many steps
            as show the largest data set once; steps_per_epoch says otherwise.
        optimizer: "sgd" (momentum 0.9) or "adamw". rate: of the new layers; backbone_rate: of the backbone.
        decay: "step" (x0.1 every `decay_every` epochs) or "cosine". clip: largest norm of the gradients, 0 is none.
        batch_norm: "frozen" or "tracked". balance: "equal" or "gradnorm" over the heads' losses.
        accumulate: steps whose gradients are added before an update. ema: decay of the weights' moving average, 0 is none.
        precision: "float32", "bf16" or "fp16" autocast. compile: torch.compile the model.
        workers: processes that decode; checkpoint_minutes: how often the run is saved.
        crop: least share of the picture that a random crop keeps; jitter: strength of colour jitter.
    """

    batch: int = 80
    mix: str = "uniform"
    warm_epochs: float = 1.0
    epochs: float = 9.0
    steps_per_epoch: int = 0
    optimizer: str = "sgd"
    rate: float = 0.01
    backbone_rate: float = 0.01
    weight_decay: float = 1e-4
    decay: str = "step"
    decay_every: float = 3.0
    clip: float = 0.0
    batch_norm: str = "tracked"
    balance: str = "equal"
    accumulate: int = 1
    ema: float = 0.0
    precision: str = "bf16"
    compile: bool = False
    workers: int = 2
    checkpoint_minutes: float = 5.0
    crop: float = 0.4
    jitter: float = 0.3


@dataclass(frozen=True)
class Validation:
    """`[validation]`: retrieval measured in binary after each epoch; the best checkpoint is the one that ships.

    Attributes:
        queries, corpus: manifests; label: the column that says what is relevant. Without `corpus` the queries search each
            other, each leaving itself out.
        limit: at most so many queries, evenly taken.
    """

    name: str
    queries: Path
    label: str
    corpus: Path | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    corpus_where: Mapping[str, Any] = field(default_factory=dict)
    limit: int = 500


@dataclass(frozen=True)
class Card:
    """`[card]`: what the exported model says of itself, beside what the run knows."""

    version: str = "1"
    license: str = "unstated"
    training_data: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """The whole file."""

    name: str
    backbone: Backbone
    data: tuple[Data, ...]
    embedding: Embedding = Embedding()
    proxies: Proxies = Proxies()
    retention: Retention = Retention()
    schedule: Schedule = Schedule()
    validation: tuple[Validation, ...] = ()
    card: Card = Card()
    seed: int = 0
