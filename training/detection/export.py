"""A detector's checkpoint becomes a file of the detector contract, compared with the checkpoint on real pictures."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from training import checkpoint as checkpoints
from training.checkpoint import DETECTOR
from training.detection import recipe as recipes
from training.detection import scenes
from training.detection.model import STRIDES, Network
from training.detection.recipe import DetectorRecipe
from training.detection.views import GREY
from training.export import file_content, find_pictures, graph_of
from visearch import images
from visearch.detector import Detector, DetectorCard
from visearch.embedder import CONTRACT
from visearch.errors import ImageError, UsageError, VisearchError
from visearch.files import read_limited, write_durably
from visearch.runtime import Program

NMS = 0.6  # IoU above which the worse of two boxes of a label goes
MOST_MOVED = 0.02  # of the scores: how much they may differ from torch's


@dataclass(frozen=True)
class ExportedDetector:
    """What was written: bytes of the file, pictures compared, and the largest difference of a score from torch's."""

    size: int
    pictures: int
    moved: float


def export(path: Path, out: Path, pictures: Path | None = None) -> ExportedDetector:
    """Write the detector of the checkpoint `path` to `out`, all at once or not at all.

    Args:
        pictures: a folder of pictures to compare on; None takes those of the recipe's data sets.

    Raises:
        UsageError: no such checkpoint, not of a detector, or no pictures to compare on.
        VisearchError: the scores of the file are not those of torch.
    """
    if out.suffix != ".onnx" or not out.parent.is_dir():
        raise UsageError(f"{out}: must be named .onnx, in a folder that exists")
    checkpoint = checkpoints.load(path)
    if checkpoint.kind != DETECTOR:
        raise UsageError(f"{path}: a checkpoint of another kind of model ({checkpoint.kind})")
    recipe = recipes.from_plain(checkpoint.recipe)
    labels = checkpoint.classes["label"]
    network = Network(len(labels)).eval()
    network.load_state_dict(checkpoint.weights)
    text = json.dumps(card(recipe, labels, checkpoint.metrics, checkpoint.step) | {"revision": checkpoint.revision})
    files = find_pictures(pictures, (scenes.pictures(each) for each in recipe.data))
    content = file_content(to_onnx(network, recipe.size), text)
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / out.name
        candidate.write_bytes(content)
        compared, moved = compare(Detector(candidate, "float32"), as_detector(network, recipe, labels), files)
    if moved > MOST_MOVED:
        raise VisearchError(
            f"{out} not written: a score in {compared} pictures differs by {moved:.3f} from the checkpoint's in torch,"
            f" at most {MOST_MOVED} may"
        )
    write_durably(out, content)
    return ExportedDetector(len(content), compared, moved)


def card(
    recipe: DetectorRecipe, labels: Sequence[str], metrics: Mapping[str, Mapping[str, float]], steps: int
) -> dict[str, Any]:
    """The card of a model: the keys of the detector contract, and where it comes from."""
    return {
        "contract": CONTRACT,
        "kind": "detector",
        "name": recipe.card.name or recipe.name,
        "version": recipe.card.version,
        "license": recipe.card.license,
        "training_data": list(recipe.card.training_data),
        "metrics": {name: dict(values) for name, values in metrics.items()},
        "height": recipe.size,
        "width": recipe.size,
        "input": {"layout": "nhwc", "color": "rgb", "type": "uint8"},
        "resize": {"mode": "pad", "position": "top_left", "colour": GREY, "interpolation": "bilinear"},
        "decode": "yolox",
        "strides": list(STRIDES),
        "nms": NMS,
        "labels": list(labels),
        "categories": dict(recipe.categories),
        "recipe": recipe.name,
        "steps": steps,
    }


def as_detector(network: Network, recipe: DetectorRecipe, labels: Sequence[str]) -> Detector:
    """A network in torch, in evaluation mode and on the CPU, used as any detector."""

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            return {"raw": _Exported(network)(torch.from_numpy(batch)).numpy()}

    text = json.dumps(card(recipe, labels, {}, 0))
    return Detector.of(Program(text, "torch", "float32", "CPU", run), DetectorCard.from_json(text, recipe.name))


class _Exported(nn.Module):
    """uint8 [1, side, side, 3] -> float32 [1, A, 5 + L], as `decode: yolox` has it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        raw = self.network(image)
        return torch.cat([raw.boxes, raw.objectness[..., None].sigmoid(), raw.classes.sigmoid()], dim=2)


def to_onnx(network: Network, size: int) -> onnx.ModelProto:
    """The graph from `image` uint8 [1, size, size, 3] to `raw` float32 [1, A, 5 + L], in float32."""
    return graph_of(_Exported(network), torch.zeros(1, size, size, 3, dtype=torch.uint8), "raw")


def compare(ours: Detector, theirs: Detector, files: Sequence[Path]) -> tuple[int, float]:
    """How many pictures could be decoded, and the largest difference between the two detectors' scores in them."""
    compared, moved = 0, 0.0
    for path in files:
        try:
            picture = images.decode(read_limited(path), min_side=ours.min_side())
        except ImageError:
            continue
        compared += 1
        scores = [
            np.array([each.score for each in detector.detect(picture, limit=20, min_score=0.0)])
            for detector in (ours, theirs)
        ]
        count = min(map(len, scores))
        if count:
            moved = max(moved, float(np.abs(scores[0][:count] - scores[1][:count]).max()))
    if not compared:
        raise UsageError("none of the pictures to compare the exported model on can be decoded; see --pictures")
    return compared, moved
