"""The object detector: an `.onnx` file of the detector contract -> labelled boxes of a scene.

The runtime is the embedder's (runtime.py). The card, in the file or in the registry, says how the picture is given to
the model and how its boxes come out (ARCHITECTURE.md, Contracts), so that one code runs our detectors and public ones:

- `decode: none`: outputs `boxes` float32 [n, 4] (x0, y0, x1, y1 in pixels of the input), `scores` float32 [n] and
  `labels` integer [n], NMS done in the graph;
- `decode: yolox`: one output float32 [1, A, 5 + L] of the anchor-free head of YOLOX (arXiv 2107.08430 s2.1): for each
  cell of each stride's grid, row by row: centre offset and log size in strides, objectness and L label scores in 0-1.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visearch import models, runtime
from visearch.codes import F32, F64, I64, U8
from visearch.embedder import CONTRACT, field_of
from visearch.errors import ModelError
from visearch.images import WHOLE, Box

if TYPE_CHECKING:
    from visearch.images import Picture

MIN_SCORE = 0.3
MOST_CANDIDATES = 400  # boxes that non-maximum suppression looks at, best first
LARGEST_LOG_SIZE = 10.0  # e^10 strides are larger than any input; beyond, exp overflows
NO_SUPPRESSION = 1.0
LAYOUTS, COLORS, TYPES, DECODES = ("nhwc", "nchw"), ("rgb", "bgr"), ("uint8", "float32"), ("none", "yolox")
POSITIONS = ("center", "top_left")


@dataclass(frozen=True)
class Detection:
    """An object found: `box` in fractions of the upright picture, `score` in 0-1, and the product category that the
    detector's card gives its label, or None."""

    box: Box
    label: str
    score: float
    category: str | None

    def to_json(self) -> dict[str, Any]:
        """As the HTTP API shows it."""
        return {**vars(self), "box": [round(side, 4) for side in self.box], "score": round(self.score, 4)}


@dataclass(frozen=True)
class DetectorCard:
    """What a detector says of itself. `height` and `width` are the input's in pixels; `colour` is the grey level 0-255
    of the padding; `strides` are pixels of the input a cell; `nms` is the IoU above which the worse of two boxes of one
    label goes (1: none does)."""

    name: str
    version: str
    labels: tuple[str, ...]
    categories: Mapping[str, str]
    height: int
    width: int
    layout: str
    color: str
    type: str
    position: str
    colour: int
    decode: str
    strides: tuple[int, ...]
    nms: float
    license: str

    @classmethod
    def from_json(cls, text: str, source: str) -> DetectorCard:
        """Read the JSON of a card; unknown keys are ignored.

        Raises:
            ModelError: not a detector's card, a newer contract, or a key is missing or wrong; `source` names the file.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{source}: the model card is not JSON ({error})") from None
        contract = field_of(values, "contract", int, source)
        if contract > CONTRACT:
            raise ModelError(
                f"{source}: made for model contract {contract}, this visearch reads up to {CONTRACT}; upgrade visearch"
            )
        if values.get("kind") != "detector":
            raise ModelError(f"{source}: a {values.get('kind', 'embedding')} model, a detector is needed here")
        taken, resize = field_of(values, "input", dict, source), field_of(values, "resize", dict, source)
        card = cls(
            name=field_of(values, "name", str, source),
            version=field_of(values, "version", str, source),
            labels=tuple(map(str, field_of(values, "labels", list, source))),
            categories=values.get("categories", {}),
            height=field_of(values, "height", int, source),
            width=field_of(values, "width", int, source),
            layout=field_of(taken, "layout", str, source, "input."),
            color=field_of(taken, "color", str, source, "input."),
            type=field_of(taken, "type", str, source, "input."),
            position=field_of(resize, "position", str, source, "resize."),
            colour=field_of(resize, "colour", int, source, "resize."),
            decode=field_of(values, "decode", str, source),
            strides=tuple(values.get("strides", ())),
            nms=float(values.get("nms", NO_SUPPRESSION)),
            license=str(values.get("license", "")),
        )
        card._check(source)
        return card

    def _check(self, source: str) -> None:
        for key, value, known in (
            ("input.layout", self.layout, LAYOUTS),
            ("input.color", self.color, COLORS),
            ("input.type", self.type, TYPES),
            ("resize.position", self.position, POSITIONS),
            ("decode", self.decode, DECODES),
        ):
            if value not in known:
                raise ModelError(f"{source}: card key '{key}' is {value!r}, known are {', '.join(known)}")
        if not (0 < self.height <= 8192 and 0 < self.width <= 8192):
            raise ModelError(f"{source}: card has impossible sizes (height {self.height}, width {self.width})")
        if self.decode == "yolox" and not (self.strides and all(isinstance(s, int) and s > 0 for s in self.strides)):
            raise ModelError(f"{source}: card key 'strides' is {list(self.strides)}, pixels of the input are needed")


class Detector:
    """A compiled detector. `detect` may be called from many threads at once.

    Attributes:
        card: what the file, or the registry, says of it.
        sha256: of the file, hexadecimal: the identity of the detector.
    """

    def __init__(self, path: Path, precision: str | None = None) -> None:
        """Load and compile. `precision`: auto, float32 or bf16; None takes the setting.

        Raises:
            ModelError: the file is missing, not a detector of the contract, or cannot run here.
        """
        sha256 = runtime.file_sha256(path)
        program = runtime.load(path, precision)
        text = program.card or models.card_text(sha256)
        if text is None:
            raise ModelError(
                f"{path}: has no model card (metadata key '{runtime.METADATA_KEY}'), nor does the registry know it; a"
                " detector needs one to be used (ARCHITECTURE.md, Contracts)"
            )
        self._set_up(program, DetectorCard.from_json(text, str(path)), path, sha256)

    @classmethod
    def of(cls, program: runtime.Program, card: DetectorCard) -> Detector:
        """A detector that is in no file, as one that is still being trained; its `sha256` is empty.

        Raises:
            ModelError: it does not take or give what the card describes.
        """
        made = cls.__new__(cls)
        made._set_up(program, card, Path(card.name), "")
        return made

    def _set_up(self, program: runtime.Program, card: DetectorCard, path: Path, sha256: str) -> None:
        self.path, self.sha256, self.card = path, sha256, card
        self._program = program
        self._grid = _grid(self.card)
        try:
            self._run(np.zeros((self.card.height, self.card.width, 3), np.uint8))
        except ModelError:
            raise
        except Exception as error:
            why = runtime.first_line(error)
            raise ModelError(f"{path}: does not take or give what its card describes ({why})") from None

    @property
    def name(self) -> str:
        """Name and version, for people."""
        return f"{self.card.name} {self.card.version}"

    def min_side(self) -> int:
        """Pixels the shorter side of a picture needs at least: what `images.decode` needs to know."""
        return min(self.card.height, self.card.width)

    def detect(self, picture: Picture, *, limit: int = 20, min_score: float = MIN_SCORE) -> list[Detection]:
        """The objects of a picture with a score of at least `min_score`, best first, at most `limit`."""
        canvas, scale, left, top = _letterbox(self.card, picture)
        boxes, scores, labels = self._run(canvas)
        likely = np.flatnonzero(scores >= min_score)
        likely = likely[np.argsort(-scores[likely], kind="stable")][:MOST_CANDIDATES]
        boxes, scores, labels = boxes[likely], scores[likely], labels[likely]
        if self.card.decode != "none":
            kept = suppress(boxes, labels, self.card.nms)
            boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
        full = np.array([picture.width, picture.height])
        fractions = np.clip((boxes - [left, top, left, top]) / (np.tile(full, 2) * scale), 0, 1)
        visible = ((fractions[:, 2:] - fractions[:, :2]) * full >= 1).all(
            axis=1
        )  # of less than a pixel there is no crop
        return [
            self._detection(box, int(label), float(score))
            for box, label, score in zip(fractions[visible].tolist(), labels[visible], scores[visible], strict=True)
        ][:limit]

    def _detection(self, box: Sequence[float], label: int, score: float) -> Detection:
        name = self.card.labels[label]
        x0, y0, x1, y1 = box
        return Detection((x0, y0, x1, y1), name, score, self.card.categories.get(name))

    def _run(self, canvas: U8) -> tuple[F32, F32, I64]:
        """Boxes float32 [n, 4] in pixels of the input, scores float32 [n], labels int64 [n]."""
        card = self.card
        pixels: NDArray[Any] = canvas if card.color == "rgb" else canvas[:, :, ::-1]
        pixels = pixels if card.layout == "nhwc" else pixels.transpose(2, 0, 1)
        found = self._program.run(np.ascontiguousarray(pixels[None], card.type))
        if card.decode == "none":
            boxes, scores, labels = found["boxes"], found["scores"], found["labels"].astype(np.int64)
        else:
            boxes, scores, labels = decode_yolox(next(iter(found.values()))[0], self._grid)
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(card.labels):
            raise ModelError(f"{self.path}: finds labels that its card does not have ({len(card.labels)} labels)")
        return boxes, scores, labels


def _letterbox(card: DetectorCard, picture: Picture) -> tuple[U8, float, int, int]:
    """The picture as the model's input, uint8 [height, width, 3] RGB, and where it lies there: scale, left, top."""
    from PIL import Image

    from visearch.images import resize

    scale = min(card.width / picture.width, card.height / picture.height)
    width, height = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    canvas = np.full((card.height, card.width, 3), card.colour, np.uint8)
    centred = card.position == "center"
    left, top = ((card.width - width) // 2, (card.height - height) // 2) if centred else (0, 0)
    canvas[top : top + height, left : left + width] = resize(picture, WHOLE, (width, height), Image.Resampling.BILINEAR)
    return canvas, scale, left, top


def _grid(card: DetectorCard) -> F32:
    """Column, row and stride of every cell of every stride's grid: float32 [A, 3]."""
    cells = []
    for stride in card.strides:
        rows, columns = np.indices((card.height // stride, card.width // stride)).reshape(2, -1)
        cells.append(np.stack([columns, rows, np.full_like(rows, stride)], axis=1))
    return np.concatenate(cells).astype(np.float32) if cells else np.empty((0, 3), np.float32)


def decode_yolox(raw: F32, grid: F32) -> tuple[F32, F32, I64]:
    """Raw predictions float32 [A, 5 + L] of the cells `grid` [A, 3] as boxes [A, 4] in pixels of the input, scores [A]
    in 0-1 and labels int64 [A]. ValueError where the model has another number of cells."""
    if len(raw) != len(grid):
        raise ValueError(f"gives {len(raw)} boxes, the strides of its card make {len(grid)}")
    strides = grid[:, 2:]
    centres = (raw[:, :2] + grid[:, :2]) * strides
    halves = np.exp(np.minimum(raw[:, 2:4], LARGEST_LOG_SIZE)) * strides / 2
    labels = raw[:, 5:].argmax(axis=1)
    scores = raw[:, 4] * raw[np.arange(len(raw)), 5 + labels]
    return np.concatenate([centres - halves, centres + halves], axis=1), scores, labels


def overlaps(boxes: NDArray[Any], others: NDArray[Any]) -> F64:
    """Intersection over union of boxes [n, 4] and others [m, 4] (x0, y0, x1, y1, any unit): [n, m] in 0-1."""
    corner0 = np.maximum(boxes[:, None, :2], others[None, :, :2])
    corner1 = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(corner1 - corner0, 0, None).prod(axis=2)
    areas = [np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (boxes, others)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    ratios: F64 = np.divide(shared, union, out=np.zeros(shared.shape), where=union > 0)
    return ratios


def suppress(boxes: F32, labels: I64, threshold: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression within each label: places of the boxes [n, 4] (best first) that no better kept
    box overlaps by more than the IoU `threshold`."""
    beaten = np.triu((overlaps(boxes, boxes) > threshold) & (labels[:, None] == labels), 1)
    kept = np.ones(len(boxes), np.bool_)
    for place in range(len(boxes)):
        if kept[place]:
            kept &= ~beaten[place]
    return np.flatnonzero(kept)


@functools.lru_cache(maxsize=4)
def load(path: Path) -> Detector:
    """The detector of a file, compiled once a process (paths are taken as given, files as unchanging)."""
    return Detector(path)


def is_detector(path: Path) -> bool:
    """Whether a model file says that it is a detector; ModelError where it cannot be loaded."""
    text = runtime.load(path).card or models.card_text(runtime.file_sha256(path)) or "null"
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(values, dict) and values.get("kind") == "detector"


def find_detector(named: str | Path | None = None) -> Detector | None:
    """The detector to use: `named` (a file or a registry name), else the setting `detector`, else the shipped one; None
    where that was left out.

    Raises:
        ModelError: what is named is not here, or is no detector.
    """
    path = models.resolve_detector(named)
    return None if path is None else load(path)
