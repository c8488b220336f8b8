"""One process of one or many: those that torchrun starts train one model together."""

from __future__ import annotations

import gc
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.model import Unified
from visearch.machine import usable_cores

PATIENCE = timedelta(days=1)  # the others wait while the main process validates; where one dies, torchrun ends them


@dataclass(frozen=True)
class Process:
    """This process: its number among `world`, and where it computes."""

    rank: int
    world: int
    device: torch.device

    @property
    def main(self) -> bool:
        """Whether this is the process that validates, writes and speaks."""
        return self.rank == 0

    def any(self, value: bool) -> bool:
        """Whether it is so in any process; all must call this."""
        if self.world == 1:
            return value
        count = torch.tensor(int(value))  # in CPU memory: nothing waits for a GPU
        torch.distributed.all_reduce(count)
        return bool(count)

    def joined(self, reasons: dict[Path, str]) -> dict[Path, str]:
        """The entries of all processes; all must call this."""
        if self.world == 1:
            return reasons
        everyones: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(everyones, reasons)
        return {path: reason for each in everyones for path, reason in each.items()}

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            torch.distributed.barrier()


def world_size() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def started() -> Iterator[Process]:
    """This process, joined to the others where torchrun started several: over NCCL with GPUs, else over gloo."""
    world, rank = world_size(), int(os.environ.get("RANK", "0"))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if world == 1:
        yield Process(0, 1, device)
        return
    # DistributedDataParallel imports this; imported while a group exists, it holds that group for ever.
    importlib.import_module("torch._dynamo")
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield Process(rank, world, device)
    finally:
        torch.distributed.destroy_process_group()
        # A thread of gloo that lets go of a tensor while Python ends aborts the process: they end with the group.
        gc.collect()


def threads(world: int) -> int:
    """Threads that torch computes with in each of `world` processes: OMP_NUM_THREADS, else the cores shared out."""
    return int(os.environ.get("OMP_NUM_THREADS") or max(1, usable_cores() // world))


class Network(nn.Module):
    """The part of the model that a step runs: one forward pass, through which gradients are averaged over processes."""

    def __init__(self, model: Unified) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings and activations, both [n, D], of pictures uint8 [n, h, w, 3]."""
        embeddings = self.model.embedding(self.model.features(images))
        return embeddings, self.model.activation(embeddings)


def wrap(model: Unified, process: Process) -> nn.Module:
    """A network of the model whose gradients are those of all processes' pictures.

    What has requires_grad when this is called is what is synchronised: call it again when that changes.
    """
    network = Network(model)
    if process.world == 1 or not any(value.requires_grad for value in model.parameters()):
        return network
    ids = [process.device.index] if process.device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=ids)
