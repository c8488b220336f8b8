"""The metric-learning benchmark: CUB-200-2011, Cars-196, Stanford Online Products and In-Shop by their protocols.

Half of the classes train, the others are searched: every test picture looks for its class among all others (In-Shop:
the queries look for theirs in the gallery). Recall@1, 2, 4, 8 and NMI, of binary codes and of float embeddings.

    python -m training.metric_learning ../shared/datasets/cars196 --out out/cars
    python -m training.metric_learning ../shared/datasets/cars196 --model MODEL.onnx

trains the recipe's backbone on the training half with either loss (softmax with GroupNorm, and the normalized softmax
of arXiv 1811.12649) and measures both, or measures a model as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
import numpy as np

from training import command, data, recipe
from training.retrieval import EmbedFunction, Region, Task, embed_with, interval, measure_all
from visearch import codes
from visearch.codes import F32
from visearch.embedder import Embedder
from visearch.metrics import clustering_nmi, recall_at_k

if TYPE_CHECKING:
    from training.recipe import Format, Head, Recipe
    from training.retrieval import Result

RECALLS = (1, 2, 4, 8)
FORMATS = get_args(recipe.Format)
HEADS: tuple[Head, ...] = ("softmax", "normalized")


@dataclass(frozen=True)
class Figures:
    """What a model reaches in binary and in float: Recall@K as [mean, low, high] with its 95% interval, and NMI."""

    bits: int
    queries: int
    recall: Mapping[str, Mapping[str, list[float]]]
    nmi: Mapping[str, float]

    def lines(self) -> list[str]:
        """A line for binary and one for float, in percent."""
        return [
            f"{way:<8}"
            + "".join(f"R@{k} {100 * self.recall[way][str(k)][0]:5.1f}  " for k in RECALLS)
            + f"NMI {100 * self.nmi[way]:5.1f}"
            for way in self.recall
        ]


def protocol(path: Path, format: Format = "") -> Task:
    """The test half of a data set: its pictures against each other, or its queries against its gallery.

    A manifest with the columns `class` and `split` (train, and val or test) does as well as a published layout.

    Raises:
        UsageError: the data set cannot be read, has no training or no test half, or a class in both.
    """
    parts = data.benchmark(path, format)

    def regions(samples: Iterable[data.Sample]) -> tuple[Region, ...]:
        return tuple(Region(each.path, frozenset(each.labels.values()), each.box) for each in samples)

    if parts.query is parts.gallery:
        test = regions(parts.query)
        return Task(path.name, f"{path.name}: test pictures find their class", test, test, leave_self_out=True)
    title = f"{path.name}: queries find their item in the gallery"
    return Task(path.name, title, regions(parts.query), regions(parts.gallery))


def measure(task: Task, embed: EmbedFunction) -> Figures:
    """Recall, and NMI of as many clusters of the corpus as it has classes (float: unit length; binary: -1 and 1)."""
    places = list(dict.fromkeys(region.place for region in (*task.queries, *task.corpus)))
    known = dict(zip(places, embed(places), strict=True))  # once, for the ranking and for the clusters
    (result,) = measure_all([task], lambda wanted: np.stack([known[place] for place in wanted])).values()
    vectors = np.stack([known[region.place] for region in task.corpus])
    labels = [next(iter(region.labels)) for region in task.corpus]
    return Figures(
        bits=result.bits,
        queries=len(result.queries),
        recall={way: _recalls(result, way) for way in ("binary", "float")},
        nmi={"binary": clustering_nmi(_signs(vectors), labels), "float": clustering_nmi(_unit(vectors), labels)},
    )


def _recalls(result: Result, way: str) -> dict[str, list[float]]:
    relevant = result.rankings.by_name()[way].relevant
    return {str(k): interval(recall_at_k(relevant, k)) for k in RECALLS}


def _signs(vectors: F32) -> F32:
    signs: F32 = 2 * codes.unpack(codes.pack(vectors)).astype(np.float32) - 1
    return signs


def _unit(vectors: F32) -> F32:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32, copy=False)


def training_recipe(base: Recipe, path: Path, format: Format, head: Head) -> Recipe:
    """`base` on the training half of one data set alone, with one of HEADS; nothing is validated on the test half."""
    path = path.resolve()  # as a recipe that was read has it
    source = recipe.Data(path.name, path, format, {"class": "class"}, where={"split": ("train",)})
    return replace(
        base,
        name=f"{base.name}-{path.name}-{head}",
        data=(source,),
        embedding=recipe.published(head, base.embedding),
        retention=recipe.Retention(),
        validation=(),
        card=replace(base.card, license="research only", training_data=(path.name,)),
    )


def run(path: Path, format: Format, base: Recipe, heads: Iterable[Head], out: Path) -> dict[str, Figures]:
    """Train a model for each of `heads` in its own folder below `out`, going on where it was stopped; measure it."""
    from training.export import export
    from training.trainer import saved_run, train

    task = protocol(path, format)
    found: dict[str, Figures] = {}
    for head in heads:
        model, wanted = out / head / "model.onnx", training_recipe(base, path, format, head)
        saved_run(wanted, out / head, resume=True)  # one of other data, or of another recipe, is not taken for this one
        if not model.exists():
            export(train(wanted, out / head, resume=True), model)
        found[head] = measure(task, embed_with(Embedder(model)))
    return found


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option("--format", type=click.Choice(FORMATS), default="", help="Guessed from the files if left out.")
@click.option(
    "--model", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Measure this and train nothing."
)
@click.option("--recipe", "base", default="unified", show_default=True, help="Its backbone, embedding and schedule.")
@click.option("--epochs", type=float, help="End to end, in place of the recipe's.")
@click.option("--head", "heads", multiple=True, type=click.Choice(HEADS), default=HEADS, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("out/metric-learning"))
def main(
    data: Path,
    format: Format,
    model: Path | None,
    base: str,
    epochs: float | None,
    heads: tuple[Head, ...],
    out: Path,
) -> None:
    """Recall@1, 2, 4, 8 and NMI on the test half of DATA."""
    if model:
        figures = {model.name: measure(protocol(data, format), embed_with(Embedder(model)))}
    else:
        overrides: dict[str, Any] = {"data": [], "validation": []}  # which need not be there
        if epochs is not None:
            overrides["schedule.epochs"] = epochs
        figures = run(data, format, recipe.load(base, overrides), heads, out)
        (out / "metrics.json").write_text(json.dumps({k: vars(v) for k, v in figures.items()}, indent=1) + "\n")
    for name, each in figures.items():
        click.echo(f"{name}: {each.queries} queries, {each.bits} bits")
        click.echo("\n".join(each.lines()))


if __name__ == "__main__":
    command.run(main)
