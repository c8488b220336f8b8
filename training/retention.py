"""Against forgetting: training on a few narrow tasks takes from a backbone what it knew of everything else."""

from __future__ import annotations

import math
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


def similarity_loss(embeddings: Tensor, start: Tensor, binary: float = 0.0) -> Tensor:
    """The mean squared difference between the cosine matrices of two sets of embeddings [n, D] of n pictures.

    `binary` is the share of it that is asked of the codes of the first set, whose bits then are to differ in as many
    places as random hyperplanes would make them for two pictures at the start's angle.

    How alike pictures are is kept, and the space may turn (similarity-preserving distillation, arXiv 1907.09682). It is
    asked of the embeddings that searches compare, not of the backbone's features, which a projection may still distort.
    With several processes (DistributedDataParallel) each compares the pictures of its own batch only.
    """
    wanted = _cosines(start)
    loss = (1 - binary) * functional.mse_loss(_cosines(embeddings), wanted)
    if binary:
        loss = loss + binary * functional.mse_loss(_cosines(_signs(embeddings)), expected_of_codes(wanted))
    return loss


def expected_of_codes(cosines: Tensor) -> Tensor:
    """The mean of +1 for each bit that two codes share and -1 for each other one, for embeddings of these cosines, any
    shape: 1 - 2 angle / pi, as for random hyperplanes (Goemans and Williamson 1995; Charikar 2002).
    """
    return torch.asin(cosines.clamp(-1, 1)) * (2 / math.pi)


def _signs(embeddings: Tensor) -> Tensor:
    """+1 where a bit is 1 and -1 elsewhere; gradients pass as if nothing had been done (arXiv 1308.3432)."""
    signs = torch.where(embeddings > 0, 1.0, -1.0)
    return embeddings + (signs - embeddings).detach()


def _cosines(embeddings: Tensor) -> Tensor:
    unit = functional.normalize(embeddings.float(), dim=1)
    return unit @ unit.T


def interpolate(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """`share` x end + (1 - share) x start, tensor by tensor (WiSE-FT, arXiv 2109.01903); counters are the end's."""
    return {
        name: torch.lerp(start[name], value, share) if value.is_floating_point() else value
        for name, value in end.items()
    }
