"""A real model of the contract in a few kilobytes, so that the suite needs no download.

It averages a picture over an 8x8 grid, subtracts the mean colour, and projects that with a fixed random matrix: near
pictures get near embeddings, and every stage of the product runs as with a large model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 32
GRID = 8
BITS = 64


def card(**changes: Any) -> dict[str, Any]:
    """The card of the tiny model, with some keys changed; a key changed to None is left out."""
    values: dict[str, Any] = {
        "contract": 1,
        "name": "tiny",
        "version": "1",
        "embedding_dim": BITS,
        "height": SIDE,
        "width": SIDE,
        "resize": {"mode": "squash", "size": SIDE, "interpolation": "bicubic", "antialias": True},
        "training_data": [],
        "license": "CC0-1.0",
        "metrics": {},
    }
    return {key: value for key, value in (values | changes).items() if value is not None}


def write_model(path: Path, card_text: str | None = None, *, seed: int = 0) -> Path:
    """Write the model; `card_text` replaces its card, "" leaves the card out. Another `seed` is another model."""
    projection = np.random.default_rng(seed).standard_normal((GRID * GRID * 3, BITS)).astype(np.float32)
    cell = SIDE // GRID
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["nchw"], ["grid"], kernel_shape=[cell, cell], strides=[cell, cell]),
        helper.make_node("GlobalAveragePool", ["nchw"], ["mean"]),
        helper.make_node("Sub", ["grid", "mean"], ["centred"]),
        helper.make_node("Flatten", ["centred"], ["flat"]),
        helper.make_node("MatMul", ["flat", "projection"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", BITS])],
        [numpy_helper.from_array(projection, "projection")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    text = json.dumps(card()) if card_text is None else card_text
    if text:
        helper.set_model_props(model, {"visearch": text})
    onnx.save(model, path)
    return path
