"""The embedding model: an `.onnx` file of the model contract -> float embeddings.

The file's input `image` is uint8 NHWC [n, height, width, 3] RGB with the normalisation inside the graph; its output
`embedding` is float32 [n, D] before thresholding. The metadata key `visearch` holds the card as JSON (ARCHITECTURE.md).
OpenVINO runs it on a CPU; ONNX Runtime runs it on a CUDA GPU, and where OpenVINO cannot be imported.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from visearch import runtime
from visearch.codes import F32, U8
from visearch.errors import ModelError

if TYPE_CHECKING:
    from PIL import Image

    from visearch.images import Box, Picture

CONTRACT = 1
RESIZE_MODES = ("center_crop", "squash", "pad")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
PAD_COLOUR = 255
ABOVE_A_PIXEL = 1.001
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Resize:
    """How a picture becomes the model's input. `size` is the shorter side in pixels before a centre crop.

    `regions` is the mode for a box in a picture: a centre crop would lose the ends of a lamp or a sofa. Measured with
    the ImageNet baseline, Recall@5 of exact products of the home store: boxes in rooms 63% cropped, 72 squashed, 77
    padded; in phone photos 75, 86, 87. Whole pictures are found better cropped, so that stays their mode.
    """

    mode: str
    size: int
    interpolation: str
    antialias: bool
    regions: str = "pad"


@dataclass(frozen=True)
class Card:
    """What a model file says of itself. `height` and `width` are the input's in pixels, `embedding_dim` is D."""

    name: str
    version: str
    embedding_dim: int
    height: int
    width: int
    resize: Resize
    training_data: tuple[str, ...]
    license: str
    metrics: Mapping[str, object]

    @classmethod
    def from_json(cls, text: str, source: str) -> Card:
        """Read the JSON of a card; unknown keys are ignored.

        Raises:
            ModelError: not JSON, a newer contract, or a required key is missing or wrong; `source` names the file.
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
        if values.get("kind", "embedding") != "embedding":
            raise ModelError(f"{source}: a {values['kind']} model, an embedding model is needed here")
        resize = field_of(values, "resize", dict, source)
        mode = field_of(resize, "mode", str, source, "resize.")
        card = cls(
            name=field_of(values, "name", str, source),
            version=field_of(values, "version", str, source),
            embedding_dim=field_of(values, "embedding_dim", int, source),
            height=field_of(values, "height", int, source),
            width=field_of(values, "width", int, source),
            resize=Resize(
                mode=mode,
                size=field_of(resize, "size", int, source, "resize."),
                interpolation=field_of(resize, "interpolation", str, source, "resize."),
                antialias=field_of(resize, "antialias", bool, source, "resize."),
                regions=resize.get("regions", "pad" if mode == "center_crop" else mode),
            ),
            training_data=tuple(field_of(values, "training_data", list, source)),
            license=field_of(values, "license", str, source),
            metrics=field_of(values, "metrics", dict, source),
        )
        sizes = (card.embedding_dim, card.height, card.width, card.resize.size)
        if card.embedding_dim % 8 or min(sizes) <= 0 or max(sizes) > 65536:
            raise ModelError(
                f"{source}: card has impossible sizes (embedding_dim, height, width, resize.size: {sizes})"
            )
        if card.resize.mode == "center_crop" and card.resize.size < max(card.height, card.width):
            raise ModelError(
                f"{source}: card key 'resize.size' is {card.resize.size}, smaller than the input it is cropped to"
            )
        for key, value, known in (
            ("mode", card.resize.mode, RESIZE_MODES),
            ("regions", card.resize.regions, RESIZE_MODES),
            ("interpolation", card.resize.interpolation, INTERPOLATIONS),
        ):
            if value not in known:
                raise ModelError(f"{source}: card key 'resize.{key}' is {value!r}, known are {', '.join(known)}")
        return card


T = TypeVar("T")


def field_of(values: object, key: str, kind: type[T], source: str, prefix: str = "") -> T:
    """A required key of a model card; ModelError where it is missing or of another type."""
    if not isinstance(values, dict) or key not in values:
        raise ModelError(f"{source}: the model card lacks the key '{prefix}{key}'")
    value = values[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ModelError(f"{source}: card key '{prefix}{key}' is {value!r}, a {kind.__name__} is needed")
    return value


class Embedder:
    """A compiled model. `embed` may be called from many threads at once; each runs its own one-thread request.

    Attributes:
        card: what the file says of itself.
        sha256: of the file, hexadecimal: the identity of the model.
        runtime, precision, device: what computes ("openvino", "bf16", "CPU"); recorded with the codes.
    """

    def __init__(self, path: Path, precision: str | None = None, threads: int | None = None) -> None:
        """Load and compile. `precision`: auto, float32 or bf16; None takes the setting. `threads` is how many will
        embed at once, by default as many as there are cores.

        Raises:
            ModelError: the file is missing, not a model of the contract, or cannot run here.
        """
        self.path = path
        self.sha256 = runtime.file_sha256(path)
        program = runtime.load(path, precision, threads)
        self.runtime, self.precision, self.device = program.runtime, program.precision, program.device
        self._program = program
        if program.card is None:
            raise ModelError(
                f"{path}: has no model card (metadata key '{runtime.METADATA_KEY}'), so preprocessing would be guessed;"
                " a model needs one to be used (ARCHITECTURE.md, Contracts)"
            )
        self.card = Card.from_json(program.card, str(path))
        self._check()

    def _run(self, batch: U8) -> F32:
        embeddings: F32 = self._program.run(batch)["embedding"]
        return embeddings

    def _check(self) -> None:
        """One empty picture through the model: what the card says must be what comes out."""
        blank = np.zeros((1, self.card.height, self.card.width, 3), np.uint8)
        try:
            out = self._run(blank)
        except Exception as error:
            raise ModelError(
                f"{self.path}: does not take the input its card describes ({runtime.first_line(error)})"
            ) from None
        if out.shape != (1, self.card.embedding_dim) or out.dtype != np.float32:
            raise ModelError(
                f"{self.path}: gives {out.dtype} {list(out.shape)}, not the float32 [1, {self.card.embedding_dim}]"
                " that its card says"
            )

    def embed(self, batch: U8) -> F32:
        """Embed a prepared batch uint8 [n, height, width, 3]: float32 [n, D], before thresholding.

        Raises:
            ModelError: the model gave a value that is not finite.
        """
        embeddings, finite = self.embed_each(batch)
        if not finite.all():
            raise ModelError(f"{self.path}: gave an embedding that is not finite; try VISEARCH_PRECISION=float32")
        return embeddings

    def embed_each(self, batch: U8) -> tuple[F32, NDArray[np.bool_]]:
        """As `embed`, and which embeddings are finite, bool [n]; the others are zeros."""
        if not len(batch):
            return np.empty((0, self.card.embedding_dim), np.float32), np.empty(0, np.bool_)
        embeddings = self._run(batch)
        finite = np.asarray(np.isfinite(embeddings).all(axis=1))
        embeddings[~finite] = 0
        return embeddings, finite

    def prepare(self, picture: Picture, box: Box = WHOLE) -> U8:
        """The region `box` of a picture as one model input, uint8 [height, width, 3], by the card's resize rule."""
        return prepare(self.card, picture, box)

    def min_side(self) -> int:
        """Pixels the shorter side of a region is resized to: what `images.decode` needs to know."""
        return shorter_side(self.card)


def shorter_side(card: Card) -> int:
    """Pixels the shorter side of a region has after resizing by this card."""
    return card.resize.size if card.resize.mode == "center_crop" else max(card.height, card.width)


def prepare(card: Card, picture: Picture, box: Box = WHOLE) -> U8:
    """The region `box` of a picture as one model input, uint8 [height, width, 3], by the card's resize rule."""
    from PIL import Image

    from visearch.images import resize

    resample = Image.Resampling[card.resize.interpolation.upper()]
    mode = card.resize.mode if box == WHOLE else card.resize.regions
    if mode == "squash":
        return resize(picture, box, (card.width, card.height), resample)
    if mode == "pad":
        size = (card.width, card.height)
        return on_white(fitted(picture, box, size, resample), size)
    width = (box[2] - box[0]) * picture.width
    height = (box[3] - box[1]) * picture.height
    # A centre crop after resizing is one resize of the part that survives the crop.
    scale = card.resize.size / min(width, height)
    # Of a side of one or two pixels the crop would keep less than a pixel.
    shown_x = min(1.0, max(card.width / (width * scale), ABOVE_A_PIXEL / width))
    shown_y = min(1.0, max(card.height / (height * scale), ABOVE_A_PIXEL / height))
    margin_x, margin_y = (1 - shown_x) / 2 * (box[2] - box[0]), (1 - shown_y) / 2 * (box[3] - box[1])
    part = (box[0] + margin_x, box[1] + margin_y, box[2] - margin_x, box[3] - margin_y)
    return resize(picture, part, (card.width, card.height), resample)


def fitted(picture: Picture, box: Box, size: tuple[int, int], resample: Image.Resampling) -> U8:
    """The region `box` of a picture, undistorted, as large as fits into `size` (width, height): uint8 [h, w, 3]."""
    from visearch.images import resize

    width, height = (box[2] - box[0]) * picture.width, (box[3] - box[1]) * picture.height
    scale = min(size[0] / width, size[1] / height)
    return resize(picture, box, (max(1, round(width * scale)), max(1, round(height * scale))), resample)


def on_white(pixels: U8, size: tuple[int, int]) -> U8:
    """Pixels uint8 [h, w, 3] in the middle of white of `size` (width, height): uint8 [height, width, 3]."""
    height, width = pixels.shape[:2]
    canvas = np.full((size[1], size[0], 3), PAD_COLOUR, np.uint8)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    canvas[top : top + height, left : left + width] = pixels
    return canvas


@functools.lru_cache(maxsize=4)
def load(path: Path, precision: str | None = None) -> Embedder:
    """The embedder of a file, compiled once a process (paths are taken as given, files as unchanging)."""
    return Embedder(path, precision)
