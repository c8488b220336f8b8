"""The embedding model: an `.onnx` file of the model contract -> float embeddings.

The file's input `image` is uint8 NHWC [n, height, width, 3] RGB with the normalisation inside the graph; its output
`embedding` is float32 [n, D] before thresholding. The metadata key `visearch` holds the card as JSON (ARCHITECTURE.md).
OpenVINO runs it on a CPU; ONNX Runtime runs it on a CUDA GPU, and where OpenVINO cannot be imported.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from visearch import settings
from visearch.codes import F32, U8
from visearch.errors import ModelError, UsageError
from visearch.machine import usable_cores

if TYPE_CHECKING:
    from visearch.images import Box, Picture

CONTRACT = 1
METADATA_KEY = "visearch"
CUDA = "CUDAExecutionProvider"
RESIZE_MODES = ("center_crop", "squash", "pad")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
PAD_COLOUR = 255
ABOVE_A_PIXEL = 1.001
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Resize:
    """How a picture becomes the model's input. `size` is the shorter side in pixels before a centre crop."""

    mode: str
    size: int
    interpolation: str
    antialias: bool


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
        contract = _field(values, "contract", int, source)
        if contract > CONTRACT:
            raise ModelError(
                f"{source}: made for model contract {contract}, this visearch reads up to {CONTRACT}; upgrade visearch"
            )
        if values.get("kind", "embedding") != "embedding":
            raise ModelError(f"{source}: a {values['kind']} model, an embedding model is needed here")
        resize = _field(values, "resize", dict, source)
        card = cls(
            name=_field(values, "name", str, source),
            version=_field(values, "version", str, source),
            embedding_dim=_field(values, "embedding_dim", int, source),
            height=_field(values, "height", int, source),
            width=_field(values, "width", int, source),
            resize=Resize(
                mode=_field(resize, "mode", str, source, "resize."),
                size=_field(resize, "size", int, source, "resize."),
                interpolation=_field(resize, "interpolation", str, source, "resize."),
                antialias=_field(resize, "antialias", bool, source, "resize."),
            ),
            training_data=tuple(_field(values, "training_data", list, source)),
            license=_field(values, "license", str, source),
            metrics=_field(values, "metrics", dict, source),
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
            ("interpolation", card.resize.interpolation, INTERPOLATIONS),
        ):
            if value not in known:
                raise ModelError(f"{source}: card key 'resize.{key}' is {value!r}, known are {', '.join(known)}")
        return card


T = TypeVar("T")


def _field(values: object, key: str, kind: type[T], source: str, prefix: str = "") -> T:
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

    def __init__(self, path: Path, precision: str | None = None) -> None:
        """Load and compile. `precision`: auto, float32 or bf16; None takes the setting.

        Raises:
            ModelError: the file is missing, not a model of the contract, or cannot run here.
        """
        self.path = path
        self.sha256 = file_sha256(path)
        wanted = settings.text("precision") if precision is None else precision
        if wanted not in ("auto", "float32", "bf16"):
            raise UsageError(f"precision {wanted!r}: auto, float32 or bf16")
        try:
            text, self.runtime, self.precision, self.device, self._run = _load(path, wanted)
        except (RuntimeError, OSError, ValueError) as error:
            raise ModelError(f"{path}: not a model that can run here ({_first_line(error)})") from None
        if text is None:
            raise ModelError(
                f"{path}: has no model card (metadata key '{METADATA_KEY}'), so preprocessing would be guessed;"
                " a model needs one to be used (ARCHITECTURE.md, Contracts)"
            )
        self.card = Card.from_json(text, str(path))
        self._check()

    def _check(self) -> None:
        """One empty picture through the model: what the card says must be what comes out."""
        blank = np.zeros((1, self.card.height, self.card.width, 3), np.uint8)
        try:
            out = self._run(blank)
        except Exception as error:
            raise ModelError(
                f"{self.path}: does not take the input its card describes ({_first_line(error)})"
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
    width = (box[2] - box[0]) * picture.width
    height = (box[3] - box[1]) * picture.height
    if card.resize.mode == "squash":
        return resize(picture, box, (card.width, card.height), resample)
    if card.resize.mode == "pad":
        scale = min(card.width / width, card.height / height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        canvas = np.full((card.height, card.width, 3), PAD_COLOUR, np.uint8)
        top, left = (card.height - inner[1]) // 2, (card.width - inner[0]) // 2
        canvas[top : top + inner[1], left : left + inner[0]] = resize(picture, box, inner, resample)
        return canvas
    # A centre crop after resizing is one resize of the part that survives the crop.
    scale = card.resize.size / min(width, height)
    # Of a side of one or two pixels the crop would keep less than a pixel.
    shown_x = min(1.0, max(card.width / (width * scale), ABOVE_A_PIXEL / width))
    shown_y = min(1.0, max(card.height / (height * scale), ABOVE_A_PIXEL / height))
    margin_x, margin_y = (1 - shown_x) / 2 * (box[2] - box[0]), (1 - shown_y) / 2 * (box[3] - box[1])
    part = (box[0] + margin_x, box[1] + margin_y, box[2] - margin_x, box[3] - margin_y)
    return resize(picture, part, (card.width, card.height), resample)


def file_sha256(path: Path) -> str:
    """SHA-256 of a model file, hexadecimal; ModelError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"model {path}: cannot be read ({error.strerror})") from None


Run = Callable[[U8], F32]


def _load(path: Path, precision: str) -> tuple[str | None, str, str, str, Run]:
    """The card's text, runtime, precision, device and the function that runs a batch."""
    cuda = _on_cuda(path)
    if cuda is not None and cuda[3] == "CUDA":  # else its libraries could not be loaded
        return cuda
    # OpenVINO tells Google Analytics of its every import, from a fork of this process; without this module it cannot.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError:
        return _onnxruntime(path, "CPUExecutionProvider")
    return _openvino(path, precision, openvino)


def _openvino(path: Path, precision: str, openvino: Any) -> tuple[str | None, str, str, str, Run]:
    core = openvino.Core()
    if precision == "auto":
        precision = "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "float32"
    threads = usable_cores()
    # Not core.read_model: where a file is no ONNX model it tries the readers of all other formats, and they are loud.
    reader = openvino.frontend.FrontEndManager().load_by_framework("onnx")
    try:
        model = reader.convert(reader.load(str(path)))
    except Exception as error:  # OpenVINO's own class
        raise ValueError(_first_line(error)) from None
    place = ["framework", METADATA_KEY]  # where OpenVINO's ONNX reader puts the file's metadata
    text = model.get_rt_info(place).astype(str) if model.has_rt_info(place) else None
    compiled = core.compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,  # one-thread requests side by side win over one request on all cores
        },
    )
    requests = threading.local()

    def run(batch: U8) -> F32:
        if not hasattr(requests, "request"):
            requests.request = compiled.create_infer_request()
        requests.request.infer({"image": batch}, share_inputs=True)
        # A copy: the output tensor is overwritten by the thread's next request.
        return np.array(requests.request.get_tensor("embedding").data)

    return text, "openvino", precision, "CPU", run


def _on_cuda(path: Path) -> tuple[str | None, str, str, str, Run] | None:
    """ONNX Runtime on a GPU where its CUDA build and a GPU are there; importing it is skipped where it cannot be."""
    if not Path("/dev/nvidiactl").exists():
        return None
    try:
        import onnxruntime
    except ImportError:
        return None
    if CUDA not in onnxruntime.get_available_providers():
        return None
    onnxruntime.preload_dlls()  # CUDA's libraries, where pip installed them
    return _onnxruntime(path, CUDA)


def _onnxruntime(path: Path, provider: str) -> tuple[str | None, str, str, str, Run]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=[provider])
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)

    def run(batch: U8) -> F32:
        (out,) = session.run(["embedding"], {"image": batch})
        return np.array(out)

    return text, "onnxruntime", "float32", "CUDA" if CUDA in session.get_providers() else "CPU", run


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__


@functools.lru_cache(maxsize=4)
def load(path: Path, precision: str | None = None) -> Embedder:
    """The embedder of a file, compiled once a process (paths are taken as given, files as unchanging)."""
    return Embedder(path, precision)
