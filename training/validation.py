"""Validation while training: retrieval in binary, by the rules that the shipped model is measured with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from training import formats
from training.data import unusable_pictures
from training.model import Unified
from training.recipe import Recipe, Validation
from training.retrieval import P1, Place, Region, Task, answers, measure_all
from training.rows import values_of, wanted
from training.tables import Columns
from visearch import embedder, images
from visearch.codes import F32, U8
from visearch.embedder import Card, Resize
from visearch.errors import BoxError, ImageError, UsageError
from visearch.files import read_limited
from visearch.machine import usable_cores

EMBED_TOGETHER = 64


def card_of(recipe: Recipe) -> Card:
    """How a picture becomes the input of the recipe's model when it is used: shorter side to `size`, centre crop."""
    size = recipe.embedding.size
    return Card(
        name=recipe.card.name or recipe.name,
        version=recipe.card.version,
        embedding_dim=recipe.embedding.dim,
        height=size,
        width=size,
        resize=Resize("center_crop", size, "bicubic", True),
        training_data=recipe.card.training_data,
        license=recipe.card.license,
        metrics={},
    )


def tasks_of(recipe: Recipe) -> tuple[Task, ...]:
    """The recipe's validations, their manifests read.

    Raises:
        UsageError: one cannot be read, or none of its rows is chosen and has the label.
    """
    return tuple(_task(each) for each in recipe.validation)


def _task(validation: Validation) -> Task:
    queries = _regions(validation.queries, validation, validation.where, validation.exclude)
    corpus = _regions(validation.corpus, validation, validation.corpus_where, {}) if validation.corpus else queries
    every = max(1.0, len(queries) / validation.limit)
    taken = [queries[int(place * every)] for place in range(min(len(queries), validation.limit))]
    task = Task(validation.name, validation.name, tuple(taken), tuple(corpus), leave_self_out=True)
    if not any(map(len, answers(task).relevant)):
        raise UsageError(
            f"validation.{validation.name}: nothing that is searched has a `{validation.label}` of a query"
        )
    return task


def _regions(path: Path, validation: Validation, where: Columns, exclude: Columns) -> list[Region]:
    """What is chosen of a data set, with its labels; not files that are no pictures by their headers."""
    found = []
    for row in formats.rows(path):
        labels = values_of(row.columns.get(validation.label))
        if row.path is not None and labels and wanted(row.columns, where, exclude):
            found.append(Region(row.path, labels, row.box))
    if not found:
        raise UsageError(
            f"validation.{validation.name}: {path} has no rows of those asked for with `{validation.label}`"
        )
    unusable = unusable_pictures(region.path for region in found)
    usable = [region for region in found if region.path not in unusable]
    if not usable:
        first, reason = next(iter(unusable.items()))
        raise UsageError(
            f"validation.{validation.name}: no picture can be used of {len(found)}; the first is {first}: {reason}"
        )
    return usable


def validate(model: Unified, tasks: Sequence[Task], card: Card, device: torch.device) -> dict[str, dict[str, float]]:
    """Precision@1 of each task, 0..1: {"binary": .., "float": ..}. The model is left in evaluation mode."""
    results = measure_all(tasks, lambda places: embed(model, places, card, device))
    return {
        name: {way: float(result.values(way, P1).mean()) for way in ("binary", "float")}
        for name, result in results.items()
    }


@torch.inference_mode()
def embed(model: Unified, places: Sequence[Place], card: Card, device: torch.device) -> F32:
    """Embeddings float32 [n, D] of regions of picture files; zeros for one that cannot be used, which finds nothing.

    On a CPU under bf16 autocast, as the shipped model is run there.
    """
    model.eval()
    vectors = np.zeros((len(places), model.dim), np.float32)
    groups = [range(start, min(start + EMBED_TOGETHER, len(places))) for start in range(0, len(places), EMBED_TOGETHER)]
    for rows, pixels in _decoded(places, groups, card):
        with torch.autocast(device.type, torch.bfloat16):
            vectors[rows] = model.embedding(model.features(torch.from_numpy(pixels).to(device))).float().cpu().numpy()
    return vectors


def _decoded(places: Sequence[Place], groups: Sequence[range], card: Card) -> Iterator[tuple[list[int], U8]]:
    """Rows and pixels of each group's usable pictures, one group being decoded in threads ahead of the model."""

    def one(row: int) -> U8 | None:
        path, box = places[row]
        with suppress(ImageError, BoxError):
            picture = images.decode(read_limited(path), min_side=embedder.shorter_side(card), box=box)
            return embedder.prepare(card, picture, box)
        return None

    with ThreadPoolExecutor(usable_cores()) as pool:
        ahead = [pool.submit(one, row) for row in groups[0]] if groups else []
        for number, group in enumerate(groups):
            pictures = [each.result() for each in ahead]
            ahead = [pool.submit(one, row) for row in groups[number + 1]] if number + 1 < len(groups) else []
            usable = [place for place, picture in enumerate(pictures) if picture is not None]
            if usable:
                yield [group[place] for place in usable], np.stack([p for p in pictures if p is not None])
