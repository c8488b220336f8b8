"""An `.onnx` file made ready to run: OpenVINO on a CPU, ONNX Runtime on a CUDA GPU and where OpenVINO is not there.

Embedding models and detectors are loaded here. What a file says of itself is its card, JSON under one metadata key.
"""

from __future__ import annotations

import hashlib
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visearch import settings
from visearch.errors import ModelError, UsageError
from visearch.machine import usable_cores

METADATA_KEY = "visearch"
CUDA = "CUDAExecutionProvider"

Array = NDArray[Any]
Run = Callable[[Array], Mapping[str, Array]]


@dataclass(frozen=True)
class Program:
    """A compiled model with one input. `run` takes that input and gives every output by name; it may be called from
    many threads at once. `card` is the text of the card, None where the file has none; `runtime`, `precision` and
    `device` say what computes ("openvino", "bf16", "CPU")."""

    card: str | None
    runtime: str
    precision: str
    device: str
    run: Run


def load(path: Path, precision: str | None = None, threads: int | None = None) -> Program:
    """Load and compile. `precision`: auto, float32 or bf16; None takes the setting. `threads` is how many will call
    it at once, by default as many as there are cores.

    Raises:
        ModelError: the file is missing, not a model, or cannot run here.
    """
    wanted = settings.text("precision") if precision is None else precision
    if wanted not in ("auto", "float32", "bf16"):
        raise UsageError(f"precision {wanted!r}: auto, float32 or bf16")
    try:
        return _load(path, wanted, threads or usable_cores())
    except (RuntimeError, OSError, ValueError) as error:
        raise ModelError(f"{path}: not a model that can run here ({first_line(error)})") from None


def file_sha256(path: Path) -> str:
    """SHA-256 of a model file, hexadecimal; ModelError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"model {path}: cannot be read ({error.strerror})") from None


def first_line(error: Exception) -> str:
    """What an error of a runtime says that is worth a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__


def _load(path: Path, precision: str, threads: int) -> Program:
    cuda = _on_cuda(path)
    if cuda is not None and cuda.device == "CUDA":  # else its libraries could not be loaded
        return cuda
    # OpenVINO tells Google Analytics of its every import, from a fork of this process; without this module it cannot.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError:
        return _onnxruntime(path, "CPUExecutionProvider")
    return _openvino(path, precision, threads, openvino)


@cache
def _core(openvino: Any) -> Any:
    """The one of this process, which is never destroyed.

    On Linux each gives its thread another stack for signal handlers, and at its end puts back the one before. Where
    that is gone by then, or the end comes in another thread, the next signal that Python handles kills the process.
    """
    return openvino.Core()


def _openvino(path: Path, precision: str, threads: int, openvino: Any) -> Program:
    core = _core(openvino)
    if precision == "auto":
        precision = "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "float32"
    # Not core.read_model: where a file is no ONNX model it tries the readers of all other formats, and they are loud.
    reader = openvino.frontend.FrontEndManager().load_by_framework("onnx")
    try:
        model = reader.convert(reader.load(str(path)))
    except Exception as error:  # OpenVINO's own class
        raise ValueError(first_line(error)) from None
    place = ["framework", METADATA_KEY]  # where OpenVINO's ONNX reader puts the file's metadata
    text = model.get_rt_info(place).astype(str) if model.has_rt_info(place) else None
    compiled = core.compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,  # one-thread requests side by side win over one request on all cores
            "ENABLE_CPU_PINNING": False,  # else two processes of one thread each sit on the same core
        },
    )
    outputs = [name for output in model.outputs for name in output.get_names()]  # some have more than one
    idle: deque[Any] = deque()  # a server has many threads of which few are here at once

    def run(batch: Array) -> Mapping[str, Array]:
        try:
            request = idle.pop()
        except IndexError:
            request = compiled.create_infer_request()
        request.infer([batch], share_inputs=True)
        # Copies: an output tensor is overwritten by the next one to take this request.
        found = {name: np.array(request.get_tensor(name).data) for name in outputs}
        idle.append(request)
        return found

    return Program(text, "openvino", precision, "CPU", run)


def _on_cuda(path: Path) -> Program | None:
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


def _onnxruntime(path: Path, provider: str) -> Program:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=[provider])
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    taken = session.get_inputs()[0].name
    outputs = [output.name for output in session.get_outputs()]

    def run(batch: Array) -> Mapping[str, Array]:
        return dict(zip(outputs, map(np.array, session.run(outputs, {taken: batch})), strict=True))

    device = "CUDA" if CUDA in session.get_providers() else "CPU"
    return Program(text, "onnxruntime", "float32", device, run)
