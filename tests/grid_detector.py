"""A real detector with the head of YOLOX: each cell of its grid sees its own mean colour, whatever the layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, STRIDE = 32, 8
CELLS = (SIDE // STRIDE) ** 2
LABELS = ("red", "green", "blue")


def card(**changes: Any) -> dict[str, Any]:
    """The card of the detector, with some keys changed; a key changed to None is left out."""
    values: dict[str, Any] = {
        "contract": 1,
        "kind": "detector",
        "name": "grid",
        "version": "1",
        "labels": list(LABELS),
        "categories": {"red": "Chairs"},
        "height": SIDE,
        "width": SIDE,
        "input": {"layout": "nchw", "color": "bgr", "type": "float32"},
        "resize": {"position": "top_left", "colour": 0},
        "decode": "yolox",
        "strides": [STRIDE],
        "nms": 0.65,
    }
    return {key: value for key, value in (values | changes).items() if value is not None}


def write_grid_detector(path: Path, text: str | None = None, *, layout: str = "nchw", color: str = "bgr") -> Path:
    """Write the model; `text` replaces its card."""
    nhwc = layout == "nhwc"
    kind = TensorProto.UINT8 if nhwc else TensorProto.FLOAT
    head = np.tile(np.array([0.5, 0.5, 0, 0], np.float32), (1, CELLS, 1))  # the middle of the cell, as large as it
    constants: dict[str, np.ndarray[Any, Any]] = {
        "head": head,
        "white": np.array([255.0], np.float32),
        "shape": np.array([1, 3, CELLS], np.int64),
    }
    nodes = [helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT)]
    nodes += [helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2])] if nhwc else []
    colours = "planes" if nhwc else "float"
    if color == "bgr":
        nodes += [helper.make_node("Gather", [colours, "reverse"], ["rgb"], axis=1)]
        constants["reverse"] = np.array([2, 1, 0], np.int64)
        colours = "rgb"
    nodes += [
        helper.make_node("AveragePool", [colours], ["pooled"], kernel_shape=[STRIDE] * 2, strides=[STRIDE] * 2),
        helper.make_node("Reshape", ["pooled", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["cells"], perm=[0, 2, 1]),
        helper.make_node("Div", ["cells", "white"], ["labels"]),
        helper.make_node("ReduceMax", ["labels"], ["object"], axes=[2]),
        helper.make_node("Concat", ["head", "object", "labels"], ["output"], axis=2),
    ]
    taken = [1, SIDE, SIDE, 3] if nhwc else [1, 3, SIDE, SIDE]
    graph = helper.make_graph(
        nodes,
        "grid",
        [helper.make_tensor_value_info("image", kind, taken)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, CELLS, 5 + len(LABELS)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if text is None:
        input = {"layout": layout, "color": color, "type": "uint8" if nhwc else "float32"}
        text = json.dumps(card(input=input))
    if text:
        helper.set_model_props(model, {"visearch": text})
    onnx.save(model, path)
    return path
