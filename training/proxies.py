"""One softmax classifier a head over as many classes as fit in CPU memory (arXiv 1908.01707 s3.4, Algorithm 1).

A proxy is one row of a classifier's weight: the embedding that its class is drawn to. All rows lie in CPU memory; a
step takes a sample of the classes, the batch's own always among them, and touches only those rows:

    forward:   sample classes -> gather their rows -> (copied to the GPU while the backbone runs) -> cross-entropy
    backward:  gradient of those rows
    update:    those rows change; there is no momentum, as the rows of a sample are seldom the same; a ten times
               higher rate stands in for it (s3.4)

Several processes (DistributedDataParallel): every process has the whole bank and draws the same sample, which holds the
classes of all their batches; the gradients of its rows are averaged over the processes, so all banks stay equal, and
training is the same function of the joint batch as in one process. The paper keeps a bank a node, whose copies are only
averaged now and then; that saves network, but what is learnt then depends on how many machines there were. What is sent
here is small (2,048 rows of 1,024 are 8 MB a head and step, less than the gradients of most backbones); the price is a
bank's memory in every process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed
from torch.nn import functional

from training import recipe

BETAS = (0.9, 0.999)  # of Adam
EPSILON = 1e-8
GRADNORM_ALPHA = 1.5  # how strongly a head that learns slowly is favoured (arXiv 1711.02257 s5)
GRADNORM_RATE = 0.025
LEAST_WEIGHT = 0.01

Labels = Mapping[
    str, tuple[Tensor, Tensor]
]  # head -> (rows of the batch int64 [m], class ids int64 [m]), in CPU memory


@dataclass(frozen=True)
class Sample:
    """The rows of a bank that one step uses.

    Attributes:
        classes: their class ids, int64 [s], ascending, in CPU memory.
        rows: a copy of them, float32 [s, D] on the model's device; a leaf, whose `grad` is what `update` applies.
    """

    classes: Tensor
    rows: Tensor


class ProxyBank:
    """The proxies of one head.

    Attributes:
        weight: float32 [classes, D] in CPU memory, drawn with a length of about 1.
        pending: samples whose gradients wait for `update`; several under gradient accumulation.
    """

    def __init__(
        self, classes: int, embedding: recipe.Embedding, proxies: recipe.Proxies, rng: np.random.Generator
    ) -> None:
        self.classes, self.dim = classes, embedding.dim
        self.sampled = min(classes, proxies.sampled)
        self.temperature = embedding.temperature if embedding.head == "normalized" else None
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        self.weight = torch.empty(classes, self.dim).normal_(0, self.dim**-0.5, generator=generator)
        self.pending: list[Sample] = []
        self.moments: tuple[Tensor, Tensor] | None = None
        self.updates = torch.zeros(classes if proxies.optimizer == "adam" else 0, dtype=torch.int64)
        if proxies.optimizer == "adam":
            self.moments = torch.zeros_like(self.weight), torch.zeros_like(self.weight)

    def loss(self, activations: Tensor, labels: Tensor, rng: np.random.Generator) -> Tensor | None:
        """Cross-entropy of activations float32 [m, D] against labels int64 [m] (class ids, in CPU memory).

        On a GPU call it right after the forward pass has been queued: sampling, gathering and copying then happen while
        the GPU is at the backbone. Under DDP every process calls it, also with m = 0, with `rng` in the same state; the
        average of their gradients is that of the mean over the joint batch.

        Returns:
            A scalar; None where no process has a label of this head.
        """
        everyones = gather_labels(labels)
        if not len(everyones):
            return None
        classes = sample_classes(self.classes, everyones.numpy(), self.sampled, rng)
        sample = Sample(torch.from_numpy(classes), self._rows(torch.from_numpy(classes), activations.device))
        self.pending.append(sample)
        places = torch.from_numpy(np.searchsorted(classes, labels.numpy()))
        with torch.autocast(activations.device.type, enabled=False):
            logits = self._logits(activations.float(), sample.rows)
            places = places.to(activations.device, non_blocking=True)
            total = functional.cross_entropy(logits, places, reduction="sum")
        return total * (_processes() / len(everyones))

    def update(self, rate: float, scale: float = 1.0) -> None:
        """Apply the gradients of the pending samples to their rows, and forget the samples.

        Args:
            rate: learning rate. scale: what the loss was multiplied by before `backward` (fp16 autocast).
        """
        samples, self.pending = [sample for sample in self.pending if sample.rows.grad is not None], []
        if not samples:
            return
        classes, gradient = _merge(samples)
        gradient /= scale
        if self.moments is None:
            self.weight.index_add_(0, classes, gradient, alpha=-rate)
            return
        self.updates[classes] += 1
        # Bias is corrected by how often a row was touched, not by steps: most rows are seldom in a sample.
        counts = self.updates[classes].unsqueeze(1)
        averages = []
        for moments, beta, value in zip(self.moments, BETAS, (gradient, gradient.square()), strict=True):
            now = torch.lerp(value, moments[classes], beta)
            moments[classes] = now
            averages.append(now / (1 - beta**counts))
        self.weight.index_add_(0, classes, averages[0] / (averages[1].sqrt() + EPSILON), alpha=-rate)

    def discard(self) -> None:
        """Forget the pending samples without applying them (gradients that overflowed)."""
        self.pending = []

    def state_dict(self) -> dict[str, Any]:
        """What training goes on from: the tensors themselves, not copies."""
        return {"weight": self.weight, "moments": self.moments, "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state; ValueError where it is of another number of classes, dimension or optimizer."""
        same = state["weight"].shape == self.weight.shape and (state["moments"] is None) == (self.moments is None)
        if not same:
            raise ValueError(
                f"proxies {list(state['weight'].shape)} {'without' if state['moments'] is None else 'with'} moments do"
                f" not fit a bank of {list(self.weight.shape)} {'without' if self.moments is None else 'with'} moments"
            )
        self.weight.copy_(state["weight"])
        self.updates.copy_(state["updates"])
        for moments, saved in zip(self.moments or (), state["moments"] or (), strict=True):
            moments.copy_(saved)

    def _rows(self, classes: Tensor, device: torch.device) -> Tensor:
        """A leaf of copies of rows, float32 [s, D], on the device."""
        if device.type != "cuda":
            return self.weight.index_select(0, classes).to(device).requires_grad_()
        host = torch.empty(len(classes), self.dim, pin_memory=True)  # cached by torch, and kept until it is copied
        torch.index_select(self.weight, 0, classes, out=host)
        here, beside = torch.cuda.current_stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(beside):
            rows = host.to(device, non_blocking=True)
        here.wait_stream(beside)
        rows.record_stream(here)
        return rows.requires_grad_()

    def _logits(self, activations: Tensor, rows: Tensor) -> Tensor:
        """Similarities [m, s]: bias-free, or cosines over the temperature (activations are of unit length already)."""
        if self.temperature is None:
            return activations @ rows.T
        return activations @ functional.normalize(rows, dim=1).T / self.temperature


def sample_classes(
    classes: int, labels: np.ndarray[Any, np.dtype[np.int64]], sampled: int, rng: np.random.Generator
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The classes of a step (Algorithm 1): those of the batch, and a uniformly random set of the others.

    The time depends on `sampled`, not on `classes`.

    Args:
        labels: class ids of the batch, int64 [m], repeats allowed.
        sampled: how many in all; more where the batch has more, fewer where there are no more.

    Returns:
        Class ids int64 [s], ascending, each once.
    """
    own = np.unique(labels)
    others = min(sampled, classes) - len(own)
    if others <= 0:
        return own
    if len(own) + others == classes:
        return np.arange(classes)
    # The i-th class that is not in the batch is i plus the number of the batch's classes at or below it.
    drawn = np.sort(rng.choice(classes - len(own), others, replace=False, shuffle=False))
    drawn += np.searchsorted(own - np.arange(len(own)), drawn, side="right")
    return np.sort(np.concatenate([own, drawn]))


def head_losses(
    banks: Mapping[str, ProxyBank], activations: Tensor, labels: Labels, rng: np.random.Generator
) -> dict[str, Tensor]:
    """The loss of each head that has labels in the batch, by the pictures that carry them and no others.

    Args:
        activations: of the whole batch, float32 [n, D].
    """
    none = torch.empty(0, dtype=torch.int64)
    losses = {}
    for head, bank in banks.items():  # all heads in one order: each may speak with the other processes
        rows, ids = labels.get(head, (none, none))
        loss = bank.loss(activations[rows.to(activations.device, non_blocking=True)], ids, rng)
        if loss is not None:
            losses[head] = loss
    return losses


class GradNorm:
    """Weights of the heads' losses that let all heads learn at a like pace (arXiv 1711.02257, Algorithm 1).

    The norm of each head's gradient at the last shared layer is drawn to the mean of the norms, more for heads whose
    loss has come down less. The loss at the start is that of guessing, log(classes) (s3.2). The step is relative to
    the mean norm, so that its rate does not depend on the scale of the losses.

    Attributes:
        weights: head -> weight; their sum is the number of heads.
    """

    def __init__(self, banks: Mapping[str, ProxyBank]) -> None:
        self.start = {head: math.log(max(2, bank.sampled)) for head, bank in banks.items()}
        self.weights = dict.fromkeys(banks, 1.0)

    def balance(self, losses: Mapping[str, Tensor], shared: Tensor) -> Tensor:
        """The weighted sum of the losses, with weights adapted to the gradients at `shared`, a parameter."""
        heads = list(losses)
        norms, values = [], []
        for loss in losses.values():
            (gradient,) = torch.autograd.grad(loss, shared, retain_graph=True)
            norms.append(float(_average(gradient).norm()))
            values.append(float(_average(loss.detach().clone())))
        self._adapt(heads, norms, values)
        return torch.stack([self.weights[head] * losses[head] for head in heads]).sum()

    def _adapt(self, heads: Sequence[str], norms: Sequence[float], values: Sequence[float]) -> None:
        weighted = [self.weights[head] * norm for head, norm in zip(heads, norms, strict=True)]
        left = [value / self.start[head] for head, value in zip(heads, values, strict=True)]
        mean_norm, mean_left = float(np.mean(weighted)), float(np.mean(left))
        if not (mean_norm > 0 and mean_left > 0):
            return
        for head, norm, now, share in zip(heads, norms, weighted, left, strict=True):
            target = mean_norm * (share / mean_left) ** GRADNORM_ALPHA
            step = math.copysign(GRADNORM_RATE, now - target) * norm / mean_norm
            self.weights[head] = max(LEAST_WEIGHT, self.weights[head] - step)
        scale = len(self.weights) / sum(self.weights.values())
        self.weights = {head: weight * scale for head, weight in self.weights.items()}


def gather_labels(labels: Tensor) -> Tensor:
    """The labels of all processes, int64 [m of the first + m of the second ...]; the own where there is one process.

    In CPU memory, so a group that also has GPUs needs both backends ("cpu:gloo,cuda:nccl").
    """
    if _processes() == 1:
        return labels
    counts = torch.zeros(_processes(), dtype=torch.int64)
    counts[distributed.get_rank()] = len(labels)
    distributed.all_reduce(counts)
    padded = functional.pad(labels, (0, int(counts.max()) - len(labels)))
    everyones = [torch.empty_like(padded) for _ in counts]
    distributed.all_gather(everyones, padded)
    return torch.cat([values[:count] for values, count in zip(everyones, counts.tolist(), strict=True)])


def _processes() -> int:
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _average(values: Tensor) -> Tensor:
    """The mean of a tensor over the processes, in place."""
    if _processes() > 1:
        distributed.all_reduce(values)
        values /= _processes()
    return values


def _merge(samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Class ids int64 [s], each once, and their gradients float32 [s, D] in CPU memory: summed over the samples,
    averaged over the processes.
    """
    gradients = []
    for sample in samples:
        gradient = sample.rows.grad
        assert gradient is not None
        gradients.append(_average(gradient).cpu())
    if len(samples) == 1:
        return samples[0].classes, gradients[0]
    classes, places = np.unique(torch.cat([sample.classes for sample in samples]).numpy(), return_inverse=True)
    merged = torch.zeros(len(classes), gradients[0].shape[1])
    return torch.from_numpy(classes), merged.index_add_(0, torch.from_numpy(places), torch.cat(gradients))
