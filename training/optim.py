"""Optimizer, learning rates and their course over a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from training.model import Unified
from training.proxies import ProxyBank
from training.recipe import Recipe

MOMENTUM = 0.9
PROXY_RATE = 10.0  # times that of the new layers, where the recipe says none (1908.01707 s3.4)
STEP_DECAY = 0.1
RAMP_STEPS = 100  # a phase begins with rates that rise from nothing: an unfrozen backbone's first gradients are wild
RAMP_SHARE = 0.1  # of a phase, at most


def build(model: Unified, recipe: Recipe) -> torch.optim.Optimizer:
    """An optimizer of all parameters of the model, in groups that each know their full rate as "full_rate".

    New layers learn at `schedule.rate`, the backbone's last layer at `backbone_rate` and each layer below at
    `retention.layer_decay` times the rate of the one above. Biases and norms have no weight decay.
    """
    schedule = recipe.schedule
    layers = model.backbone_layers()
    groups = groups_of([value for _, value in model.new_parameters()], schedule.rate, schedule.weight_decay)
    for height, layer in enumerate(reversed(layers)):
        rate = schedule.backbone_rate * recipe.retention.layer_decay**height
        groups += groups_of([value for _, value in layer], rate, schedule.weight_decay)
    if schedule.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=schedule.rate)
    return torch.optim.SGD(groups, lr=schedule.rate, momentum=MOMENTUM)


def groups_of(parameters: Sequence[torch.nn.Parameter], rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups of one full rate; biases and scales have no weight decay."""
    split = ([p for p in parameters if p.ndim > 1], weight_decay), ([p for p in parameters if p.ndim <= 1], 0.0)
    return [
        {"params": chosen, "lr": rate, "full_rate": rate, "weight_decay": decay} for chosen, decay in split if chosen
    ]


class Course:
    """The factor on all learning rates at each step: a short ramp in each phase, then constant, stepped or cosine."""

    def __init__(self, recipe: Recipe, steps_per_epoch: int) -> None:
        """`steps_per_epoch` counts batches, also where several of them make one update."""
        schedule = recipe.schedule
        self.warm = round(schedule.warm_epochs * steps_per_epoch)
        self.total = self.warm + round(schedule.epochs * steps_per_epoch)
        self.decay = schedule.decay
        self.decay_steps = max(1, round(schedule.decay_every * steps_per_epoch))

    def factor(self, step: int) -> float:
        """In 0..1. The warm start is at full rates; the decay is counted from its end."""
        length, done = (self.warm, step) if step < self.warm else (self.total - self.warm, step - self.warm)
        ramp = min(1.0, (done + 1) / max(1, min(RAMP_STEPS, int(RAMP_SHARE * length))))
        if step < self.warm:
            return ramp
        if self.decay == "cosine":
            return ramp * (1 + math.cos(math.pi * done / max(1, length))) / 2
        return ramp * STEP_DECAY ** (done // self.decay_steps)


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Every group's rate as its full rate times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["full_rate"] * factor


def update_proxies(banks: Iterable[ProxyBank], rate: float, scale: float, finite: bool) -> None:
    """Apply the gradients of the sampled proxies, `scale` times too large; not where they overflowed (not `finite`)."""
    for bank in banks:
        if finite:
            bank.update(rate, scale)
        else:
            bank.discard()
