"""Against forgetting: training on a few narrow tasks takes from a backbone what it knew of everything else."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor
from torch.nn import functional

from training.model import Unified


class Start:
    """The model as it was before training: the pretrained backbone under a random projection. It never changes."""

    def __init__(self, model: Unified) -> None:
        """Copy the model; call before the first step."""
        self.model = deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def embeddings(self, images: Tensor) -> Tensor:
        """float [n, D] of pictures uint8 [n, h, w, 3]."""
        return self.model.embedding(self.model.features(images))


def similarity_loss(embeddings: Tensor, start: Tensor) -> Tensor:
    """The mean squared difference between the cosine matrices of two sets of embeddings [n, D] of n pictures.

    How alike pictures are is kept, and the space may turn (similarity-preserving distillation, arXiv 1907.09682). It is
    asked of the embeddings that searches compare, not of the backbone's features, which a projection may still distort.
    With several processes (DistributedDataParallel) each compares the pictures of its own batch only.
    """
    return functional.mse_loss(_cosines(embeddings), _cosines(start))


def _cosines(embeddings: Tensor) -> Tensor:
    unit = functional.normalize(embeddings.float(), dim=1)
    return unit @ unit.T


def interpolate(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """`share` x end + (1 - share) x start, tensor by tensor (WiSE-FT, arXiv 2109.01903); counters are the end's."""
    return {
        name: torch.lerp(start[name], value, share) if value.is_floating_point() else value
        for name, value in end.items()
    }
