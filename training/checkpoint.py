"""Checkpoints: what a run has come to, in one file that says everything about it.

Nothing but tensors and plain values goes in, so that reading one never runs code that came with it.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from visearch.errors import UsageError, VisearchError
from visearch.files import replacing

if TYPE_CHECKING:
    from training.model import Unified

FORMAT = 1
LAST, BEST = "last.pt", "best.pt"
EMBEDDING, DETECTOR = "embedding", "detector"

Weights = dict[str, Tensor]


@dataclass
class Checkpoint:
    """One file.

    Attributes:
        recipe: as `recipe.to_plain` gives it, `recipe.from_plain` makes it a Recipe again.
        step: steps done. epoch: of how many epochs that is, warm start included.
        classes: head -> class names; a class id is a place in them.
        metrics: validation name -> {"binary": .., "float": ..}, Precision@1 in 0..1; empty before the first epoch ends.
        weights: the state of `Unified` that ships: moving average and weight averaging applied.
        resume: what only going on with the run needs; None in a best checkpoint.
        revision: of the code that trained (revision.py).
        kind: "embedding", or "detector" (training/detection; its metrics and weights are that model's).
    """

    recipe: Mapping[str, Any]
    step: int
    epoch: float
    classes: Mapping[str, Sequence[str]]
    metrics: Mapping[str, Mapping[str, float]]
    weights: Weights
    resume: Mapping[str, Any] | None = None
    kind: str = EMBEDDING
    revision: str | None = None

    @property
    def score(self) -> float:
        """The mean over validations of Precision@1 in binary; -1 where none was measured."""
        values = [each["binary"] for each in self.metrics.values()]
        return sum(values) / len(values) if values else -1.0


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint: after a crash the file holds the old one or all of the new one."""
    values = {each.name: getattr(checkpoint, each.name) for each in fields(checkpoint)}
    try:
        with replacing(path) as file:
            torch.save({"format": FORMAT, **values}, file)
    except OSError as error:
        raise VisearchError(f"{path}: the checkpoint cannot be written ({error.strerror or error})") from None


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; its tensors are on the CPU.

    Raises:
        UsageError: there is no such file, it is no checkpoint, or of another version.
    """
    try:
        # Mapped, not read: proxies may be gigabytes, and whoever takes up the weights copies them.
        values = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile):
        raise UsageError(f"{path}: not a checkpoint of `visearch train`, or cut off") from None
    if not isinstance(values, dict) or "format" not in values:
        raise UsageError(f"{path}: not a checkpoint of `visearch train`")
    if values.pop("format") != FORMAT:
        raise UsageError(f"{path}: a checkpoint of another version; this visearch reads version {FORMAT}")
    if unknown := values.keys() - {each.name for each in fields(Checkpoint)}:
        raise UsageError(f"{path}: a checkpoint of a newer visearch, which says {min(unknown)}")
    return Checkpoint(**values)


def load_model(path: Path, *others: Path) -> tuple[Unified, Checkpoint]:
    """The model of a checkpoint, ready to embed (evaluation mode, on the CPU), and it; raises UsageError.

    With `others` of the same architecture, the model has the mean of all their weights (see `soup`).
    """
    from training import recipe
    from training.model import Unified

    checkpoint = _load_embedding(path)
    read = recipe.from_plain(checkpoint.recipe)
    # The checkpoint holds all weights: those the backbone began with are not needed, and may be gone.
    model = Unified(replace(read.backbone, pretrained=False, weights=None), read.embedding)
    model.load_state_dict(soup([path, *others]) if others else checkpoint.weights)
    return model.eval(), checkpoint


def load_weights(model: Unified, path: Path) -> None:
    """Give a model the weights that ship of the checkpoint `path`.

    Raises:
        UsageError: it is no checkpoint, or of a model of another architecture.
    """
    weights = _load_embedding(path).weights
    if _shapes(weights) != _shapes(model.state_dict()):
        raise UsageError(f"{path}: a checkpoint of another backbone or embedding than the recipe's")
    model.load_state_dict(weights)


def _load_embedding(path: Path) -> Checkpoint:
    checkpoint = load(path)
    if checkpoint.kind != EMBEDDING:
        raise UsageError(f"{path}: a checkpoint of another kind of model ({checkpoint.kind})")
    return checkpoint


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}


def soup(paths: Sequence[Path]) -> Weights:
    """The mean of the weights of several checkpoints of one architecture (model soup, arXiv 2203.05482).

    That of runs from one start is often better than each of them; of runs from different starts it is nothing.

    Raises:
        UsageError: they are not of the same architecture.
    """
    many = [load(path).weights for path in paths]
    for path, weights in zip(paths, many, strict=True):
        if _shapes(weights) != _shapes(many[0]):
            raise UsageError(f"{path}: its model is not that of {paths[0]}, so their weights have no mean")
    return {key: torch.stack([w[key].float() for w in many]).mean(dim=0).to(many[0][key].dtype) for key in many[0]}
