"""A checkpoint becomes a model file of the contract: `.onnx` with its card (ARCHITECTURE.md, Contracts).

Weights are stored in half precision, each followed by a cast that both runtimes fold away when they load the model:
half the size, and everything is still computed in float32. The file is only written once the bits that it gives for
real pictures have been compared with those of the checkpoint in torch.
"""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from training import checkpoint as checkpoints
from training import formats
from training import recipe as recipes
from training.checkpoint import Checkpoint
from training.model import Unified
from training.validation import card_of
from visearch import images
from visearch.codes import U8
from visearch.embedder import CONTRACT, Card, Embedder, prepare, shorter_side
from visearch.errors import ImageError, UsageError, VisearchError
from visearch.files import read_limited, write_durably
from visearch.runtime import METADATA_KEY

OPSET = 18
SMALLEST_HALVED = 1024  # elements; biases and scales are small and stay float32
MOST_FLIPPED = 0.001  # share of bits that may differ from torch
PICTURES = 64  # compared, and more where codes are short:
BITS = 64 * 1024  # of fewer, a handful that lie at the threshold would decide
MOST_PICTURES = 1024
LISTED = 2000  # files looked at to choose them, of each data set


@dataclass(frozen=True)
class Exported:
    """What was written: bytes of the file, pictures compared, and the share of their bits that differ from torch."""

    size: int
    pictures: int
    flipped: float


def export(path: Path, out: Path, pictures: Path | None = None, *, others: Sequence[Path] = ()) -> Exported:
    """Write the model of the checkpoint `path` to `out`, all at once or not at all.

    Args:
        others: checkpoints of the same architecture, from the same start; the model is the mean of all of them.
        pictures: a folder of pictures to compare on; None takes those of the recipe's data sets.

    Raises:
        UsageError: no such checkpoint, or no pictures to compare on.
        VisearchError: the model cannot be expressed in ONNX, or its bits are not those of torch.
    """
    if out.suffix != ".onnx" or not out.parent.is_dir():
        raise UsageError(f"{out}: must be named .onnx, in a folder that exists")
    model, checkpoint = checkpoints.load_model(path, *others)
    recipe = recipes.from_plain(checkpoint.recipe)
    text = json.dumps(card(checkpoint, runs=1 + len(others)))
    count = min(MOST_PICTURES, max(PICTURES, math.ceil(BITS / recipe.embedding.dim)))
    files = find_pictures(pictures, (_listed(data) for data in recipe.data), count)
    batch = prepare_pictures(files, Card.from_json(text, str(path)))
    try:
        proto = to_onnx(model, recipe.embedding.size)
    except Exception as error:  # of torch's exporter, which raises its own and others'
        line = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise VisearchError(f"{path}: {recipe.backbone.name} cannot be expressed in ONNX ({line})") from None
    content = file_content(proto, text)
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / out.name
        candidate.write_bytes(content)
        flipped = share_flipped(model, Embedder(candidate, "float32"), batch)
    if flipped > MOST_FLIPPED:
        raise VisearchError(
            f"{out} not written: {flipped:.2%} of the bits of {len(batch)} pictures differ from the checkpoint's in"
            f" torch, at most {MOST_FLIPPED:.1%} may"
        )
    write_durably(out, content)
    return Exported(len(content), len(batch), flipped)


def card(checkpoint: Checkpoint, *, runs: int = 1) -> dict[str, Any]:
    """The card of a checkpoint's model: the keys of the contract, and where the model comes from.

    Of the mean of several `runs` nothing was measured when they were validated.
    """
    recipe = recipes.from_plain(checkpoint.recipe)
    return {
        "contract": CONTRACT,
        **asdict(card_of(recipe)),  # as it was validated
        "metrics": {name: dict(values) for name, values in checkpoint.metrics.items()} if runs == 1 else {},
        "runs": runs,
        "recipe": recipe.name,
        "backbone": recipe.backbone.name,
        "classes": {head: len(names) for head, names in checkpoint.classes.items()},
        "steps": checkpoint.step,
        "revision": checkpoint.revision,
    }


class _Exported(nn.Module):
    """uint8 [n, height, width, 3] -> float32 [n, D], in the memory order that ONNX has."""

    def __init__(self, model: Unified) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        planes = self.model.normalise(image).contiguous()
        return self.model.embedding(self.model.backbone(planes))


def to_onnx(model: Unified, size: int) -> onnx.ModelProto:
    """The graph from `image` uint8 [n, size, size, 3] to `embedding` float32 [n, D], in float32."""
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    return graph_of(_Exported(model), example, "embedding", {"image": {0: torch.export.Dim("n")}})


def graph_of(
    module: nn.Module, example: Tensor, output: str, dynamic_shapes: dict[str, Any] | None = None
) -> onnx.ModelProto:
    """The graph of a module with one input `image`, shaped as `example`, and one output of that name, in float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter about torch
        program = torch.onnx.export(
            module.eval(),
            (example,),
            input_names=["image"],
            output_names=[output],
            opset_version=OPSET,
            dynamic_shapes=dynamic_shapes,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    for node in proto.graph.node:  # where in the source each came from: as large as the graph, and names this machine
        del node.metadata_props[:]
        node.doc_string = ""
    return proto


def file_content(proto: onnx.ModelProto, card: str) -> bytes:
    """The bytes of a model file: the graph with its weights halved, and the card, JSON."""
    halve_weights(proto)
    helper.set_model_props(proto, {METADATA_KEY: card})
    content: bytes = proto.SerializeToString()
    return content


def halve_weights(proto: onnx.ModelProto) -> None:
    """Store large float32 weights as float16, with a cast back to float32 before their use."""
    casts = []
    for place, weight in enumerate(proto.graph.initializer):
        if weight.data_type != TensorProto.FLOAT or math.prod(weight.dims) < SMALLEST_HALVED:
            continue
        values = numpy_helper.to_array(weight)
        if np.abs(values).max() > np.finfo(np.float16).max:
            continue
        half = f"{weight.name}_float16"
        casts.append(helper.make_node("Cast", [half], [weight.name], to=TensorProto.FLOAT))
        proto.graph.initializer[place].CopyFrom(numpy_helper.from_array(values.astype(np.float16), half))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def find_pictures(folder: Path | None, sets: Iterable[Iterable[Path]], count: int = PICTURES) -> list[Path]:
    """At most `count` files of a folder; where none is named, evenly of data sets, each the pictures that it lists.

    Raises:
        UsageError: there is none.
    """
    listed = []
    for files in sets if folder is None else [_under(folder)]:
        with contextlib.suppress(UsageError):  # a data set that is no longer there
            listed.append(list(dict.fromkeys(islice(files, LISTED))))
    share = math.ceil(count / max(1, len(listed)))
    found = [path for files in listed for path in files[:: max(1, len(files) // share)][:share]]
    if not found:
        place = "of the recipe's data sets" if folder is None else f"under {folder}"
        raise UsageError(f"no pictures {place} to compare the exported model on; name a folder with --pictures")
    return found[:count]


def _under(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() in images.SUPPORTED_SUFFIXES)
    return sorted(islice(files, LISTED))


def _listed(data: recipes.Data) -> Iterator[Path]:
    return (row.path for row in formats.rows(data.path, data.format) if row.path is not None)


def prepare_pictures(paths: Iterable[Path], card: Card) -> U8:
    """Inputs of the model, uint8 [n, height, width, 3]; files that are no pictures are left out, as in training.

    Raises:
        UsageError: none of them can be decoded.
    """
    prepared = []
    for path in paths:
        with contextlib.suppress(ImageError):
            prepared.append(prepare(card, images.decode(read_limited(path), min_side=shorter_side(card))))
    if not prepared:
        raise UsageError("none of the pictures to compare the exported model on can be decoded; see --pictures")
    return np.stack(prepared)


def share_flipped(model: Unified, embedder: Embedder, batch: U8) -> float:
    """The share of the bits in which a file differs from torch, on prepared pictures uint8 [n, height, width, 3]."""
    flipped = []
    with torch.no_grad():
        for picture in np.split(batch, len(batch)):
            expected = model.embedding(model.features(torch.tensor(picture))).numpy() > 0
            flipped.append(np.mean(expected != (embedder.embed(picture) > 0)))
    return float(np.mean(flipped))
