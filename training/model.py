"""The unified embedding model: a timm backbone, its pooling, and the binarization module (arXiv 1908.01707 s3.3).

    uint8 pictures -> features [n, F] -> embedding [n, D] -> activation [n, D] -> softmax over proxies (proxies.py)
                      backbone          projection,         ReLU, dropout
                                        GroupNorm

A bit of the code is `embedding > 0`. GroupNorm centres small groups of channels and ReLU keeps only what is above zero,
so that the classifiers already see one half space as "on" and the other as "off", and zero is the right threshold.
Without both, LayerNorm and vectors of unit length do as much (arXiv 1811.12649): a bit is the side of the mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training import recipe
from training.libraries import import_timm
from visearch.errors import UsageError

Named = tuple[str, nn.Parameter]


class Unified(nn.Module):
    """One embedding for all tasks.

    Attributes:
        dim: D, numbers of an embedding and bits of a code.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: recipe.Backbone, embedding: recipe.Embedding) -> None:
        """Build the model and load the backbone's weights; the projection starts at random (torch's global generator).

        Raises:
            UsageError: the recipe's backbone or embedding cannot be built; the message names the field.
        """
        super().__init__()
        self.backbone, mean, std = build_backbone(backbone)
        self.register_buffer("mean", 255 * torch.tensor(mean).reshape(-1, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).reshape(-1, 1, 1), persistent=False)
        self.dim = embedding.dim
        self.normalized = embedding.head == "normalized"
        self.relu = embedding.relu
        self.binary = embedding.binary
        self.dropout = nn.Dropout(embedding.dropout)
        self.batch_norm_frozen = False

        width = self._count_features(embedding)
        if not embedding.projection and width != self.dim:
            raise UsageError(
                f"recipe: embedding.dim is {self.dim} and {backbone.name} has {width} features; set"
                f" embedding.projection = true, or embedding.dim = {width}"
            )
        self.projection: nn.Module = nn.Linear(width, self.dim, bias=False) if embedding.projection else nn.Identity()
        if isinstance(self.projection, nn.Linear):
            # Keeps angles where it can, so that the first codes are already as near to each other as the features are.
            nn.init.orthogonal_(self.projection.weight)
        self.norm: nn.Module = nn.Identity()
        if not embedding.groups and self.normalized:
            self.norm = nn.LayerNorm(self.dim, elementwise_affine=False)
        elif embedding.groups:
            if self.dim % embedding.groups or self.dim == embedding.groups:
                raise UsageError(
                    f"recipe: embedding.groups is {embedding.groups}, which does not part embedding.dim = {self.dim}"
                    " into groups of two or more"
                )
            self.norm = nn.GroupNorm(embedding.groups, self.dim)

    def features(self, images: Tensor) -> Tensor:
        """Pooled features of the backbone, float [n, F], of pictures uint8 [n, height, width, 3] RGB."""
        pooled: Tensor = self.backbone(self.normalise(images))
        return pooled

    def normalise(self, images: Tensor) -> Tensor:
        """The backbone's input, float32 [n, 3, height, width], of pictures uint8 [n, height, width, 3] RGB."""
        # As a view of NHWC memory this is torch's channels_last, without a copy.
        return (images.permute(0, 3, 1, 2).float() - self.mean) / self.std

    def embedding(self, features: Tensor) -> Tensor:
        """Embeddings before thresholding, float32 [n, D]; a bit of the code is `> 0`.

        With head "normalized" and no groups it is a LayerNorm without parameters (arXiv 1811.12649 s3.1).
        """
        # In float32 under autocast too: half precision would round small numbers over the threshold.
        embedding: Tensor = self.norm(self.projection(features).float())
        return embedding

    def activation(self, embedding: Tensor) -> Tensor:
        """What the proxies see, float32 [n, D]: after ReLU and dropout, of unit length with head "normalized".

        In training a share of the pictures is seen in binary (`embedding.binary`).
        """
        activation: Tensor = functional.relu(embedding) if self.relu else embedding
        if self.training and self.binary:
            chosen = torch.rand(len(activation), 1, device=activation.device) < self.binary
            activation = torch.where(chosen, binarized(activation, 0.0 if self.relu else -1.0), activation)
        dropped: Tensor = self.dropout(activation)
        return functional.normalize(dropped, dim=1) if self.normalized else dropped

    def forward(self, images: Tensor) -> Tensor:
        """Activations float32 [n, D] of pictures uint8 [n, height, width, 3]."""
        return self.activation(self.embedding(self.features(images)))

    def new_parameters(self) -> list[Named]:
        """Parameters that do not come from the backbone, with their names: what the warm start trains."""
        return [(name, value) for name, value in self.named_parameters() if not name.startswith("backbone.")]

    def backbone_layers(self) -> list[list[Named]]:
        """The backbone's parameters layer by layer from the input to the features, as timm groups them."""
        values = dict(self.backbone.named_parameters())
        matcher: Any = getattr(self.backbone, "group_matcher", None)
        if matcher is None:
            return [[(f"backbone.{name}", value) for name, value in values.items()]]
        layers = import_timm().models.group_parameters(self.backbone, matcher(coarse=False))
        return [[(f"backbone.{name}", values[name]) for name in names] for _, names in sorted(layers.items())]

    def freeze_batch_norm(self, frozen: bool = True) -> None:
        """Normalise by the backbone's running statistics in training too, and keep them; scale and bias still learn."""
        self.batch_norm_frozen = frozen
        self.train(self.training)

    def train(self, mode: bool = True) -> Unified:
        """As nn.Module.train, but frozen batch normalisation stays as in evaluation."""
        super().train(mode)
        if self.batch_norm_frozen:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def _count_features(self, embedding: recipe.Embedding) -> int:
        """F, by trying; a fixed input size that is not the recipe's shows here, not at the first step."""
        training = self.training
        self.eval()
        for field, side in (("size", embedding.size), ("train_size", embedding.train_size or embedding.size)):
            try:
                with torch.no_grad():
                    shape = self.features(torch.zeros(1, side, side, 3, dtype=torch.uint8)).shape
            except (AssertionError, RuntimeError, ValueError) as error:
                raise UsageError(
                    f"recipe: the backbone does not take embedding.{field} = {side} ({_first_line(error)});"
                    " a Transformer may need backbone.options img_size or dynamic_img_size"
                ) from None
            if len(shape) != 2:
                raise UsageError(f"recipe: the backbone gives {list(shape)}, not one vector a picture")
        self.train(training)
        return int(shape[1])


def binarized(activation: Tensor, off: float) -> Tensor:
    """What the code says of activations, both float [n, D]: a number where a bit is 1, and `off` times it elsewhere.

    With `off` 0, as after ReLU, it is the mean of the picture's numbers above 0; with -1 it is their mean distance from
    0, and cosines are then Hamming distances. Gradients pass as if nothing had been done (the straight-through
    estimator, arXiv 1308.3432).
    """
    bits = torch.where(activation > 0, 1.0, off)
    level = (activation * bits).sum(dim=1, keepdim=True) / bits.abs().sum(dim=1, keepdim=True).clamp(min=1)
    return activation + (bits * level - activation).detach()


def build_backbone(backbone: recipe.Backbone) -> tuple[nn.Module, tuple[float, ...], tuple[float, ...]]:
    """A timm model without classifier, and the mean and standard deviation of its input, RGB of 0 to 1.

    Weights made with another mean than timm's say so in `backbone.options`: `pretrained_cfg_overlay = {mean, std}`.
    """
    timm = import_timm()
    try:
        model = timm.create_model(
            backbone.name, pretrained=backbone.pretrained, num_classes=0, **dict(backbone.options)
        )
    except Exception as error:  # of timm, of the hub, of the model's own constructor
        raise UsageError(f"recipe: backbone {backbone.name} cannot be made ({_first_line(error)})") from None
    for name in backbone.identity:
        try:
            model.get_submodule(name)
        except AttributeError:
            raise UsageError(f"recipe: backbone.identity: {backbone.name} has no module '{name}'") from None
        model.set_submodule(name, nn.Identity())
    if backbone.weights is not None:
        load_backbone(model, backbone.weights)
    config = timm.data.resolve_model_data_config(model)
    return model, tuple(config["mean"]), tuple(config["std"])


def load_backbone(model: nn.Module, path: Path) -> None:
    """Load the weights of a whole timm model, .safetensors or .pth; only its classifier's may be left over.

    Raises:
        UsageError: the file cannot be read, or its tensors are not the model's; the message names the first.
    """
    if not path.is_file():
        raise UsageError(f"recipe: backbone.weights {path}: no such file")
    try:
        loaded = import_timm().models.load_state_dict(str(path))
        tensors = {key: value for key, value in loaded.items() if isinstance(value, Tensor)}
    except Exception as error:  # whatever a file of another kind does to the unpickler
        raise UsageError(f"recipe: backbone.weights {path}: not weights of a model ({_first_line(error)})") from None
    classifiers = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    prefixes = tuple(f"{name}." for name in ((classifiers,) if isinstance(classifiers, str) else classifiers))
    own = model.state_dict()
    tensors = {key: value for key, value in tensors.items() if key in own or not key.startswith(prefixes)}
    wrong = [f"lacks {key}" for key in own if key not in tensors]
    wrong += [f"has {key}, which the model has not" for key in tensors if key not in own]
    wrong += [
        f"{key} is {list(tensors[key].shape)}, the model's {list(own[key].shape)}"
        for key in own
        if key in tensors and tensors[key].shape != own[key].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise UsageError(f"recipe: backbone.weights {path}: {wrong[0]}{more}; is it of another model?")
    model.load_state_dict(tensors)  # copies into the model's own float32


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
