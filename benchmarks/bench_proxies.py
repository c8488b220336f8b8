"""Proxy banks: time of a step and host memory, from 10,000 to 1,000,000 classes of 1,024 numbers.

    python benchmarks/bench_proxies.py

A step is what training does: 80 pictures of 224 pixels through the backbone and back in bf16, sampling 2,048 classes,
the softmax, and the sparse update. Steps of the three banks alternate; medians, and their ratios to the smallest bank.
`bank alone` leaves the backbone out. Each bank is also trained in a process of its own, whose largest resident memory
is given. Needs about 5 GB.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import torch
from torch import Tensor

from training.model import Unified
from training.proxies import ProxyBank
from training.recipe import Backbone, Embedding, Proxies

CLASSES = (10_000, 100_000, 1_000_000)
EMBEDDING = Embedding(dim=1024)
PICTURES = 80
SIDE = 224  # pixels
WHOLE_STEPS = 7
BANK_STEPS = 60


def bank_step(bank: ProxyBank, activations: Tensor, rng: np.random.Generator) -> None:
    """One step of a bank, and the gradients of whatever gave the activations."""
    loss = bank.loss(activations, torch.from_numpy(rng.integers(bank.classes, size=len(activations))), rng)
    assert loss is not None
    loss.backward()  # type: ignore[no-untyped-call]
    bank.update(0.1)


def seconds(work: Callable[[], None]) -> float:
    """Return how long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def memory(classes: int) -> float:
    """Return the largest resident memory in GB of a process that trains one bank, libraries included."""
    rng = np.random.default_rng(0)
    bank = ProxyBank(classes, EMBEDDING, Proxies(), rng)
    for _ in range(20):
        bank_step(bank, torch.rand(PICTURES, EMBEDDING.dim, requires_grad=True), rng)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    """Measure and print."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        peaks = list(pool.map(memory, CLASSES))
    rng = np.random.default_rng(0)
    model = Unified(Backbone("mobilenet_edgetpu_100"), EMBEDDING)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.from_numpy(rng.integers(256, size=(PICTURES, SIDE, SIDE, 3), dtype=np.uint8))
    banks = [ProxyBank(classes, EMBEDDING, Proxies(), rng) for classes in CLASSES]

    def whole(bank: ProxyBank) -> None:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            activations = model(images)
        bank_step(bank, activations, rng)

    def alone(bank: ProxyBank) -> None:
        bank_step(bank, torch.rand(PICTURES, EMBEDDING.dim, requires_grad=True), rng)

    rows = {}
    for name, work, steps in (("whole step", whole, WHOLE_STEPS), ("bank alone", alone, BANK_STEPS)):
        times: list[list[float]] = [[] for _ in banks]
        for number in range(steps + 1):
            for bank, each in zip(banks, times, strict=True):
                taken = seconds(lambda work=work, bank=bank: work(bank))  # type: ignore[misc]
                if number:  # the first warms up
                    each.append(taken)
        rows[name] = [statistics.median(each) for each in times]
    print(f"{torch.get_num_threads()} threads; {PICTURES} pictures, {Proxies().sampled} of the classes a step")
    print(f"{'classes':>10} {'whole step ms':>22} {'bank alone ms':>22} {'memory GB':>10}")
    for place, classes in enumerate(CLASSES):
        cells = [f"{1e3 * times[place]:9.1f} ({times[place] / times[0]:.2f}x)" for times in rows.values()]
        print(f"{classes:>10,} {cells[0]:>22} {cells[1]:>22} {peaks[place]:>10.2f}")


if __name__ == "__main__":
    main()
