"""YOLOX-nano (arXiv 2107.08430): a depth-wise CSP network, features of three strides mixed downwards and upwards
(PAFPN), and at every cell of each one box, how sure it is of an object there, and of each label.

Batch normalisation is folded into the convolutions, as in the released weights that training starts from: those
are read from the public .onnx file, and the outputs are that file's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from visearch import models
from visearch.detector import DetectorCard
from visearch.errors import ModelError, UsageError
from visearch.runtime import file_sha256

STRIDES = (8, 16, 32)  # pixels of the input a cell
WIDTHS = (64, 128, 256)  # channels of the three strides
HEAD = 64  # channels of the head
RARE = 0.01  # score of everything before training, where there are no weights to start from
NEW_BIAS = -3.0  # logit of a label that the start network does not know


class Raw(NamedTuple):
    """What the network says of the A cells of all strides, row by row: `boxes` [n, A, 4], offset of the centre from the
    cell's corner and log size, in strides; logits `objectness` [n, A] and `classes` [n, A, L]."""

    boxes: Tensor
    objectness: Tensor
    classes: Tensor

    def log_scores(self) -> Tensor:
        """The logarithm of the score of each label, objectness x class probability: [n, A, L]."""
        objectness = nn.functional.logsigmoid(self.objectness)[..., None]
        return objectness + nn.functional.logsigmoid(self.classes)


def _convolution(into: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Module:
    padding = (kernel - stride + 1) // 2
    return nn.Sequential(nn.Conv2d(into, out, kernel, stride, padding, groups=groups), nn.SiLU())


def _separable(into: int, out: int, stride: int = 1) -> nn.Module:
    """A 3x3 convolution of each channel by itself, then one that mixes them."""
    return nn.Sequential(_convolution(into, into, 3, stride, groups=into), _convolution(into, out))


class _Bottleneck(nn.Module):
    def __init__(self, width: int, residual: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(_convolution(width, width), _separable(width, width))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class _Stage(nn.Module):
    """A cross-stage partial layer: half of the channels go through bottlenecks, half around them."""

    def __init__(self, into: int, out: int, depth: int = 1, *, residual: bool = False) -> None:
        super().__init__()
        half = out // 2
        self.through, self.around = _convolution(into, half), _convolution(into, half)
        self.deep = nn.Sequential(*(_Bottleneck(half, residual) for _ in range(depth)))
        self.join = _convolution(2 * half, out)

    def forward(self, x: Tensor) -> Tensor:
        joined: Tensor = self.join(torch.cat([self.deep(self.through(x)), self.around(x)], dim=1))
        return joined


class _Pooling(nn.Module):
    """Spatial pyramid pooling: each cell sees the maxima of wider and wider surroundings."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.narrow = _convolution(width, width // 2)
        self.pools = nn.ModuleList(nn.MaxPool2d(kernel, 1, kernel // 2) for kernel in (5, 9, 13))
        self.join = _convolution(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.narrow(x)
        joined: Tensor = self.join(torch.cat([x, *(pool(x) for pool in self.pools)], dim=1))
        return joined


class _Head(nn.Module):
    """What is said of the cells of one stride."""

    def __init__(self, into: int, labels: int) -> None:
        super().__init__()
        self.stem = _convolution(into, HEAD)
        self.class_layers = nn.Sequential(_separable(HEAD, HEAD), _separable(HEAD, HEAD))
        self.classes = nn.Conv2d(HEAD, labels, 1)
        self.box_layers = nn.Sequential(_separable(HEAD, HEAD), _separable(HEAD, HEAD))
        self.boxes, self.objectness = nn.Conv2d(HEAD, 4, 1), nn.Conv2d(HEAD, 1, 1)
        for layer in (self.classes, self.objectness):
            assert layer.bias is not None
            nn.init.constant_(layer.bias, math.log(RARE**0.5 / (1 - RARE**0.5)))  # of each of the two factors

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(x)
        near = self.box_layers(x)
        return self.boxes(near), self.objectness(near), self.classes(self.class_layers(x))


class Network(nn.Module):
    """Pictures uint8 [n, side, side, 3] RGB -> `Raw`. Submodules stand in the order in which YOLOX computes them."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        low, middle, high = WIDTHS
        self.stem = _convolution(3, 16, 6, 2)  # YOLOX's `Focus` and its 3x3 convolution are one of 6x6 with stride 2
        self.stride4 = nn.Sequential(_separable(16, 32, 2), _Stage(32, 32, 1, residual=True))
        self.stride8 = nn.Sequential(_separable(32, low, 2), _Stage(low, low, 3, residual=True))
        self.stride16 = nn.Sequential(_separable(low, middle, 2), _Stage(middle, middle, 3, residual=True))
        self.stride32 = nn.Sequential(_separable(middle, high, 2), _Pooling(high), _Stage(high, high))
        self.down16, self.mix16 = _convolution(high, middle), _Stage(high, middle)
        self.down8, self.mix8 = _convolution(middle, low), _Stage(middle, low)
        self.up16, self.out16 = _separable(low, low, 2), _Stage(middle, middle)
        self.up32, self.out32 = _separable(middle, middle, 2), _Stage(high, high)
        self.heads = nn.ModuleList(_Head(width, labels) for width in WIDTHS)

    def forward(self, images: Tensor) -> Raw:
        """Of the network's input; values are 0 to 255, not normalised."""
        x = self.stride4(self.stem(images.permute(0, 3, 1, 2).float()))
        x8 = self.stride8(x)
        x16 = self.stride16(x8)
        x32 = self.stride32(x16)
        top = self.down16(x32)
        middle = self.down8(self.mix16(torch.cat([_doubled(top), x16], dim=1)))
        y8 = self.mix8(torch.cat([_doubled(middle), x8], dim=1))
        y16 = self.out16(torch.cat([self.up16(y8), middle], dim=1))
        y32 = self.out32(torch.cat([self.up32(y16), top], dim=1))
        parts = [head(y) for head, y in zip(self.heads, (y8, y16, y32), strict=True)]
        boxes, objectness, classes = (
            torch.cat([part.flatten(2) for part in of_strides], dim=2).transpose(1, 2).float()
            for of_strides in zip(*parts, strict=True)
        )
        return Raw(boxes, objectness[..., 0], classes)


def start_network(path: Path) -> tuple[Network, tuple[str, ...]]:
    """The network of an .onnx file of YOLOX-nano, as released, and its labels by its card.

    Raises:
        UsageError: the file cannot be read, has no card, or is of another network.
    """
    import onnx
    from onnx import numpy_helper

    try:
        text = models.card_text(file_sha256(path))
        card = DetectorCard.from_json(text or "null", str(path))
        graph = onnx.load(path).graph
    except (ModelError, OSError, ValueError) as error:
        raise UsageError(f"recipe: start {path}: not YOLOX-nano as the registry knows it ({error})") from None
    values = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in graph.initializer}
    found = [(values[node.input[1]], values[node.input[2]]) for node in graph.node if node.op_type == "Conv"]
    network = Network(len(card.labels))
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    weights = [(_without_focus(found[0][0], card.color), found[0][1]), *found[1:]] if found else []
    ours = [(layer.weight, layer.bias) for layer in layers]
    if [tuple(map(_shape, pair)) for pair in ours] != [tuple(map(_shape, pair)) for pair in weights]:
        raise UsageError(f"recipe: start {path}: its layers are not those of YOLOX-nano")
    with torch.no_grad():
        for layer, (weight, bias) in zip(layers, weights, strict=True):
            layer.weight.copy_(weight)
            assert layer.bias is not None
            layer.bias.copy_(bias)
    return network, card.labels


def take_over(network: Network, start: Network, names: Sequence[str], labels: Sequence[str]) -> None:
    """Give a network of `labels` the weights of the start network, whose labels `names` are in our words.

    A label that several of them have takes the first's; a new one begins improbable, wherever an object is seen.
    """
    weights = start.state_dict()
    rows = [names.index(label) if label in names else -1 for label in labels]
    for place in range(len(STRIDES)):
        weight, bias = (weights[f"heads.{place}.classes.{key}"] for key in ("weight", "bias"))
        known = torch.tensor(rows)
        weights[f"heads.{place}.classes.weight"] = torch.where((known >= 0)[:, None, None, None], weight[known], 0.0)
        weights[f"heads.{place}.classes.bias"] = torch.where(known >= 0, bias[known], NEW_BIAS)
    network.load_state_dict(weights)


def _without_focus(weight: Tensor, color: str) -> Tensor:
    """The weight [16, 12, 3, 3] of the convolution after `Focus`, which stacks the four pixels of each 2x2 square
    (down, then right), as that of one convolution [16, 3, 6, 6] of the picture itself, in RGB."""
    if weight.shape[1:] != (12, 3, 3):
        return weight
    squares = weight.reshape(-1, 2, 2, 3, 3, 3)  # out, x in the square, y in the square, colour, row, column
    whole = squares.permute(0, 3, 4, 2, 5, 1).reshape(-1, 3, 6, 6)
    return whole.flip(1) if color == "bgr" else whole


def _shape(value: Tensor | None) -> tuple[int, ...]:
    return () if value is None else tuple(value.shape)


def _doubled(x: Tensor) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
