"""Proxies that begin where their classes are: imprinting (arXiv 1712.07136).

A proxy drawn at random has to find its class first, and a class that is shown a few dozen times in a run hardly gets
further. What the start model makes of a few pictures of the class is nearer to it from the first step on.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import distributed
from torch.nn import functional

from training import validation
from training.data import Sample, TrainingData
from training.distributed import Process
from training.model import Unified
from training.proxies import ProxyBank
from training.recipe import Recipe

PICTURES = 4  # of a class, looked at for its proxy


def imprint(
    banks: Mapping[str, ProxyBank], model: Unified, pictures: TrainingData, recipe: Recipe, process: Process
) -> None:
    """Set each class's proxy to the direction of its pictures' mean activation from the mean of all classes.

    Of length 1, as random ones are about. A class none of whose pictures can be used keeps its random proxy. All
    processes call this and get the same proxies. The model is left in evaluation mode.
    """
    if process.main:
        chosen = {head: _of_each_class(head, pictures, recipe.seed) for head in banks}
        places = list(dict.fromkeys((each.path, each.box) for samples in chosen.values() for each in samples))
        rows = {place: row for row, place in enumerate(places)}
        embeddings = torch.from_numpy(validation.embed(model, places, validation.card_of(recipe), process.device))
        usable = embeddings.any(dim=1)
        activations = model.activation(embeddings)  # in evaluation mode nothing is dropped
        for head, bank in banks.items():
            class_ids = {name: number for number, name in enumerate(pictures.classes[head])}
            found = [(rows[each.path, each.box], class_ids[each.labels[head]]) for each in chosen[head]]
            found = [(row, class_id) for row, class_id in found if usable[row]]
            _imprint(bank, activations[[row for row, _ in found]], torch.tensor([class_id for _, class_id in found]))
    if process.world > 1:
        for bank in banks.values():
            distributed.broadcast(bank.weight, 0)


def _imprint(bank: ProxyBank, activations: torch.Tensor, class_ids: torch.Tensor) -> None:
    """Activations float32 [m, D] of pictures of the classes int64 [m]."""
    known, places, counts = torch.unique(class_ids, return_inverse=True, return_counts=True)
    means = torch.zeros(len(known), bank.dim).index_add_(0, places, activations) / counts.unsqueeze(1)
    if len(known) > 1:  # one class alone has no direction from the others
        bank.weight[known] = functional.normalize(means - means.mean(dim=0), dim=1)


def _of_each_class(head: str, pictures: TrainingData, seed: int) -> list[Sample]:
    """Up to PICTURES samples of each class of a head, in a random order, so that all data sets of the head count."""
    samples = [each for data_set in pictures.sets for each in data_set.samples if head in each.labels]
    left = dict.fromkeys(pictures.classes[head], PICTURES)
    chosen = []
    for place in np.random.default_rng(seed).permutation(len(samples)):
        name = samples[place].labels[head]
        if left[name]:
            left[name] -= 1
            chosen.append(samples[place])
    return chosen
