"""The core of the training loop against a bare timm + torch loop on the same batches, and what loading costs beside it.

    python benchmarks/bench_training.py [--backbone mobilenet_edgetpu_100] [--size 176] [--batch 80] [--rounds 8]

Both loops run in one process and take turns, a few steps each, so that a busy machine slows both. The bare loop is what
one would write without this project: a timm model, the same binarization module, a dense nn.Linear for each head,
AdamW, clipping, autocast; no logs, no checkpoints, no sub-sampled proxies. Ours is the core loop: without the moving
average and the distillation of the shipped recipe, which the bare loop has not either.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from training import data, recipe
from training.batches import Batch, Batches
from training.libraries import import_timm
from training.recipe import Backbone, Recipe
from training.trainer import train

STEPS_A_TURN = 5
PREPARED = 6


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backbone", default="mobilenet_edgetpu_100")
    parser.add_argument("--size", type=int, default=176)
    parser.add_argument("--batch", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=8)
    given = parser.parse_args()
    wanted = _recipe(given.backbone, given.size, given.batch, given.rounds)
    pictures = data.read(wanted)
    loader = Batches(pictures, wanted)

    began = time.process_time()
    prepared = [loader.make(step) for step in range(PREPARED)]
    cpu = (time.process_time() - began) / (PREPARED * given.batch)

    turns = Turns(prepared, Bare(wanted, {head: len(names) for head, names in pictures.classes.items()}), given.rounds)
    taking_turns = mock.patch.object(Batches, "iterate", return_value=iter(turns))
    with tempfile.TemporaryDirectory() as folder, taking_turns:
        train(wanted, Path(folder) / "run", progress=False)

    images = STEPS_A_TURN * given.batch
    ours, bare = np.array(turns.ours), np.array(turns.bare)  # [turns, 2]: seconds on the clock, of CPU
    speed, bare_speed = images / np.median(ours[:, 0]), images / np.median(bare[:, 0])
    print(f"training loop {speed:.1f} images/s, bare loop {bare_speed:.1f} images/s (medians of {len(ours)} turns)")
    for name, ratios, sums in zip(("clock", "CPU time"), (bare / ours).T, bare.sum(0) / ours.sum(0), strict=True):
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        print(f"speed over the bare loop's, by {name}: {sums:.3f} in all; a turn {low:.3f} {middle:.3f} {high:.3f}")
    print(f"loading: {1000 * cpu:.2f} ms of CPU a picture, {cpu * speed:.2f} cores at that speed")


def _recipe(backbone: str, size: int, batch: int, rounds: int) -> Recipe:
    """The smoke recipe's data with the network and the schedule of the shipped model; every step end to end."""
    smoke = recipe.load("smoke")
    return replace(
        smoke,
        backbone=Backbone(backbone),
        embedding=replace(smoke.embedding, dim=1024, groups=256, dropout=0.5, size=size, train_size=size),
        schedule=replace(
            smoke.schedule,
            batch=batch,
            warm_epochs=0,
            epochs=1,
            steps_per_epoch=STEPS_A_TURN * (rounds + 1),
            precision="bf16",
            batch_norm="frozen",
        ),
        validation=(),
    )


class Bare:
    """The loop that one would write."""

    def __init__(self, wanted: Recipe, classes: dict[str, int]) -> None:
        embedding, schedule = wanted.embedding, wanted.schedule
        self.clip = schedule.clip
        self.backbone = import_timm().create_model(wanted.backbone.name, num_classes=0)
        self.module = nn.Sequential(
            nn.Linear(self.backbone.num_features, embedding.dim, bias=False),
            nn.GroupNorm(embedding.groups, embedding.dim),
            nn.ReLU(),
            nn.Dropout(embedding.dropout),
        )
        self.heads = nn.ModuleDict(
            {head: nn.Linear(embedding.dim, count, bias=False) for head, count in classes.items()}
        )
        self.all = nn.ModuleList([self.backbone, self.module, self.heads]).train()
        for layer in self.backbone.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()
        self.all.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(self.all.parameters(), lr=1e-4)

    def step(self, batch: Batch) -> None:
        """One step."""
        with torch.autocast("cpu", torch.bfloat16):
            images = batch.images.permute(0, 3, 1, 2).float() / 127.5 - 1
            activations = self.module(self.backbone(images)).float()
        losses = [
            functional.cross_entropy(self.heads[head](activations[rows]), ids)
            for head, (rows, ids) in batch.labels.items()
        ]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.all.parameters(), self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()


class Turns:
    """Batches for the training loop; between its turns the bare loop has its own. The first turns warm up."""

    def __init__(self, prepared: list[Batch], bare: Bare, rounds: int) -> None:
        self.prepared, self.bare_loop, self.rounds = prepared, bare, rounds
        self.ours: list[tuple[float, float]] = []
        self.bare: list[tuple[float, float]] = []

    def __iter__(self) -> Generator[Batch, None, None]:
        batches = [self.prepared[step % len(self.prepared)] for step in range(STEPS_A_TURN)]
        for turn in range(self.rounds + 1):
            began = _now()
            for batch in batches:
                self.bare_loop.step(batch)
            between = _now()
            yield from batches
            ended = _now()
            if turn:
                self.bare.append((between[0] - began[0], between[1] - began[1]))
                self.ours.append((ended[0] - between[0], ended[1] - between[1]))


def _now() -> tuple[float, float]:
    """The clock, and the CPU time of all threads of this process, in seconds."""
    return time.perf_counter(), time.process_time()


if __name__ == "__main__":
    main()
