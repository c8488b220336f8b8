"""A real detector of the contract in a kilobyte: it finds one thing in the middle, surer in brighter pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 32
BOX = (8.0, 8.0, 24.0, 24.0)  # pixels of the input
LABEL, CATEGORY = "lamp", "Lighting"


def write_detector(path: Path, *, white: float = 255.0) -> Path:
    """Write the model. Its score is the mean level over `white`: with a large one it finds nothing."""
    card = {
        "contract": 1,
        "kind": "detector",
        "name": "tiny_detector",
        "version": "1",
        "labels": [LABEL],
        "categories": {LABEL: CATEGORY},
        "height": SIDE,
        "width": SIDE,
        "input": {"layout": "nhwc", "color": "rgb", "type": "uint8"},
        "resize": {"position": "top_left", "colour": 114},
        "decode": "none",
        "license": "CC0-1.0",
    }
    constants: dict[str, np.ndarray[Any, Any]] = {
        "boxes": np.array([BOX], np.float32),
        "labels": np.zeros(1, np.int64),
        "white": np.array([white], np.float32),
        "axes": np.array([0, 1, 2, 3], np.int64),
        "one": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "one"], ["flat"]),
        helper.make_node("Div", ["flat", "white"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny_detector",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, [1]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {"visearch": json.dumps(card)})
    onnx.save(model, path)
    return path
