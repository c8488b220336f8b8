"""A report of a model: is it better than the baseline, by how much, how sure, and why. For readers who did not make it.

    python -m training.report MODEL.onnx --baseline BASELINE.onnx [--ablation DIR] --out FOLDER

Contact sheets show the rendered home store only: those pictures are free, so a report may be handed on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from training import ablate, command, plots, retrieval, tasks
from training.ablation_tables import Ablated, ablation_tables, read_ablation
from training.document import Block, Grid, Heading, Picture, Points, Text, write
from training.retrieval import AVERAGE_P20, HIT5, P1, SHOWN, Difference, Region, Result, compare, interval
from training.runlog import LOG
from visearch import images
from visearch.embedder import Card, Embedder
from visearch.files import read_limited
from visearch.metrics import CONFIDENCE, RESAMPLES
from visearch.report import require_matplotlib
from visearch.sheet import COLUMNS, Tile, draw_sheet

LOSS = 0.01
"""A task is lost where its Precision@1 falls by more than this and the interval of the difference leaves out 0."""

HISTOGRAMS = ("shop_homestore", "lens_iconic_seen", "lens_iconic_unseen", "flashlight_caltech")
SHEETS = ("shop_homestore", "lens_homestore_product_box")
SHEETS_WORST, SHEETS_BEST = 2, 1
SHEET_WIDTH = 820  # pixels
SHEET_QUALITY = 72


@dataclass(frozen=True)
class Measured:
    """A model and what it reaches on the tasks."""

    card: Card
    sha256: str
    results: Mapping[str, Result]


def write_report(
    folder: Path,
    model: Measured,
    baseline: Measured,
    *,
    rows: Sequence[Ablated] = (),
    log: Path | None = None,
    unavailable: Mapping[str, str] | None = None,
    name: str = "report",
) -> tuple[Path, Path]:
    """Write the report as Markdown and HTML into `folder`, pictures beside them; returns the two pages.

    Args:
        rows: of an ablation; their first is the baseline that they are compared with.
        log: log.jsonl of the training of `model`.
        unavailable: families of tasks that were not measured, and why.

    Raises:
        VisearchError: matplotlib is not installed, or the folder cannot be written.
    """
    require_matplotlib()
    blocks = [
        Heading(f"{model.card.name} {model.card.version}: is it better?", 1),
        *_in_short(model, baseline, unavailable or {}),
        *_all_tasks(model, baseline),
        *_categories(model, baseline),
        *_binary(model, baseline),
        *ablation_tables(rows),
        *_training(log),
        *_examples(model),
        *_method(model, baseline),
    ]
    return write(blocks, folder, name)


# The model against the baseline


def _in_short(model: Measured, baseline: Measured, unavailable: Mapping[str, str]) -> Iterator[Block]:
    verdicts = {
        name: _verdict(compare(baseline.results[name], model.results[name])) for name in _shared(model, baseline)
    }
    counts = {
        word: [name for name, each in verdicts.items() if each == word] for word in ("gain", "same", "lower", "LOSS")
    }
    below = [name for name, result in model.results.items() if _rounding(result).mean < -0.015]
    yield Text(
        f"Each task asks pictures (queries) to find what is right for them in a set of others (the corpus). The model"
        f" gives every picture a code of {model.card.embedding_dim} bits, and nearer codes come first. It is"
        f" compared with a baseline, {baseline.card.name}. Figures are percent, measured in binary unless"
        " a column says float, with 95% intervals."
    )
    yield Points(
        [
            f"Better than the baseline, beyond chance, on {len(counts['gain'])} of {len(verdicts)} tasks;"
            f" not told apart on {len(counts['same'])}.",
            f"Lost (more than {100 * LOSS:.0f} point, beyond chance): {_names(counts['LOSS'])}."
            + (f" Lower by less: {_names(counts['lower'])}." if counts["lower"] else ""),
            f"Binary more than 1.5 points below float: {_names(below)}.",
            *(f"Not measured: {family}: {reason}." for family, reason in unavailable.items()),
        ]
    )


def _all_tasks(model: Measured, baseline: Measured) -> Iterator[Block]:
    yield Heading("Every task")
    for measure in SHOWN:
        names = [
            n
            for n in _shared(model, baseline)
            if measure == P1 or (measure == HIT5) == _result(model, n).task.one_answer
        ]
        lines = []
        for name in names:
            before, after = baseline.results[name], model.results[name]
            difference = compare(before, after, measure)
            lines.append(
                [
                    after.task.title,
                    str(len(after.queries)),
                    str(len(after.task.corpus)),
                    *([_percent(after.chance[P1])] if measure == P1 else []),
                    _cell(before, "binary", measure),
                    _cell(after, "binary", measure),
                    _signed(difference),
                    _cell(after, "float", measure),
                    _verdict(difference),
                ]
            )
        yield Heading(
            {P1: "Precision@1", AVERAGE_P20: "Average Precision@20", HIT5: "A right answer in the first five"}[measure],
            3,
        )
        chance = ["chance"] if measure == P1 else []
        yield Grid(["task", "queries", "corpus", *chance, "baseline", "model", "difference", "model, float", ""], lines)


def _categories(model: Measured, baseline: Measured) -> Iterator[Block]:
    for name in ("shop_homestore", "shop_homestore_in_category"):
        if name not in model.results or name not in baseline.results:
            continue
        before, after = baseline.results[name], model.results[name]
        yield Heading(f"By category: {after.task.title}", 3)
        yield Grid(
            ["category", "queries", "baseline P@1", "model P@1", "model hit@5"],
            [
                [
                    group,
                    str(len(places)),
                    _interval(before.values("binary", P1)[places]),
                    _interval(after.values("binary", P1)[places]),
                    _interval(after.values("binary", HIT5)[places]),
                ]
                for group, places in after.groups.items()
            ],
        )


def _binary(model: Measured, baseline: Measured) -> Iterator[Block]:
    yield Heading("What binary codes cost")
    yield Grid(
        ["task", "float", "binary", "binary - float", "binary - baseline in float"],
        [
            [
                result.task.title,
                _cell(result, "float", P1),
                _cell(result, "binary", P1),
                _signed(_rounding(result)),
                _signed(compare(baseline.results[name], result, before_way="float"))
                if name in baseline.results
                else "",
            ]
            for name, result in model.results.items()
        ],
    )
    yield Picture(
        "binary.svg", plots.binary_and_float(model.results, baseline.results), "Precision@1 in binary and float."
    )
    shown = [model.results[name] for name in HISTOGRAMS if name in model.results]
    if shown:
        caption = "Bits that differ between a query and what is relevant to it, or anything else; each to its own sum."
        yield Picture("distances.svg", plots.distances(shown), caption)


# Training, examples, method


def _training(log: Path | None) -> Iterator[Block]:
    drawn = plots.losses(log) if log else None
    if drawn:
        yield Heading("Training")
        yield Picture("losses.svg", drawn, "Each head's loss over the steps of the run.")


def _examples(model: Measured) -> Iterator[Block]:
    chosen = [model.results[name] for name in SHEETS if name in model.results]
    if chosen:
        yield Heading("Examples")
        yield Text(
            "The query at the left, its first answers at the right. Worst: the right one comes last. Best: the surest."
        )
    for result in chosen:
        yield Heading(result.task.title, 3)
        worst, best = _worst_and_best(result)
        for kind, places in (("worst", worst), ("best", best)):
            for number, place in enumerate(places, 1):
                query = result.queries[place]
                caption = f"{kind.capitalize()}: {query.group or 'query'}; wanted {_wanted(query)}."
                yield Picture(f"{result.task.name}-{kind}-{number}.jpg", sheet(result, place), caption)


def _worst_and_best(result: Result) -> tuple[list[int], list[int]]:
    """Queries of different groups: those whose right answer comes latest, and the nearest of those that are right."""
    ranking = result.rankings.binary
    quality, right = ranking.measures["map_at_r"], ranking.relevant[:, 0]
    by_distance = np.argsort(ranking.distances[:, 0], kind="stable")
    worst = by_distance[np.argsort(quality[by_distance], kind="stable")]
    return _varied(result, worst[~right[worst]], SHEETS_WORST), _varied(
        result, by_distance[right[by_distance]], SHEETS_BEST
    )


def _varied(result: Result, order: Iterable[int], count: int) -> list[int]:
    first: dict[str, int] = {}
    for place in order:
        first.setdefault(result.queries[place].group, int(place))
    return list(first.values())[:count]


def _wanted(region: Region) -> str:
    return ", ".join(sorted(region.labels))


def sheet(result: Result, place: int) -> bytes:
    """A query, its first answers in binary and, where it is not among them, the right one: a small JPEG."""
    query, ranking = result.queries[place], result.rankings.binary
    missed = not ranking.relevant[place, :COLUMNS].any()
    tiles = []
    for item, distance, right in list(
        zip(ranking.items[place], ranking.distances[place], ranking.relevant[place], strict=True)
    )[: COLUMNS - missed]:
        if item >= 0:
            region = result.task.corpus[item]
            title = "right: " * bool(right) + _wanted(region)
            tiles.append(Tile(_picture(region.path), title, int(distance), box=region.box))
    if missed:
        answer = result.task.corpus[result.rankings.answers[place]]
        tiles.append(Tile(_picture(answer.path), f"wanted: {_wanted(answer)}", None, box=answer.box))
    drawn = draw_sheet(_picture(query.path), query.box, tiles, name=_wanted(query))
    drawn = drawn.resize((SHEET_WIDTH, round(drawn.height * SHEET_WIDTH / drawn.width)), Image.Resampling.LANCZOS)
    stream = BytesIO()
    drawn.save(stream, "JPEG", quality=SHEET_QUALITY, optimize=True)
    return stream.getvalue()


def _picture(path: Path) -> Image.Image:
    return images.decode(read_limited(path)).image


def _method(model: Measured, baseline: Measured) -> Iterator[Block]:
    yield Heading("How it was measured")
    yield Points(
        [
            "Precision@1: share of queries whose first answer is right. Average Precision@20: the mean of Precision@1"
            " to Precision@20 (arXiv 1908.01707).",
            "Binary: Hamming distance between codes (a bit is an embedding's number > 0). Float: cosine of embeddings.",
            f"Intervals: percentiles of the mean over {RESAMPLES} samples of the queries with replacement,"
            f" {100 * CONFIDENCE:.0f}%. A difference is of the same queries under both models, so its interval is"
            " narrower than theirs.",
            "A gain or a fall is called so where that interval leaves out 0; a fall of more than"
            f" {100 * LOSS:.0f} point is a LOSS. Of twenty tasks without any difference, one is called so by chance.",
            "A query never finds itself. A query to which nothing is relevant is left out. Chance: a random order.",
            "The home store is rendered, its truth exact; the other pictures are photographs of public data sets, kept"
            " out of training where a title says unseen or never trained on. The figures are of one run of training:"
            " another seed would give slightly others.",
            "The best epoch of a training is the one that did best on validations which hold a part of the val queries"
            " reported here, so those figures flatter a little. The iconic pictures of seen classes are among those"
            " trained on; the photos that ask for them are not.",
        ]
    )
    yield Grid(
        ["", "model", "baseline"],
        [
            ["name", *(f"{each.card.name} {each.card.version}" for each in (model, baseline))],
            ["bits", *(str(each.card.embedding_dim) for each in (model, baseline))],
            ["input", *(f"{each.card.width} x {each.card.height}" for each in (model, baseline))],
            ["licence", *(each.card.license for each in (model, baseline))],
            ["SHA-256", *(each.sha256[:16] for each in (model, baseline))],
        ],
    )
    yield Points([f"Trained on: {each}" for each in model.card.training_data] or ["Trained on: not said."])


# Words and numbers


def _shared(model: Measured, baseline: Measured) -> list[str]:
    return [name for name in model.results if name in baseline.results]


def _result(model: Measured, name: str) -> Result:
    return model.results[name]


def _rounding(result: Result) -> Difference:
    """What thresholding costs: binary minus float."""
    return compare(result, result, before_way="float")


def _verdict(difference: Difference) -> str:
    if not difference.sure:
        return "same"
    return "gain" if difference.mean > 0 else "LOSS" if difference.mean < -LOSS else "lower"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _cell(result: Result, way: str, measure: str) -> str:
    return _interval(result.values(way, measure))


def _interval(values: Any) -> str:
    mean, low, high = (100 * part for part in interval(values))
    return f"{mean:.1f} ({low:.1f}-{high:.1f})"


def _signed(difference: Difference) -> str:
    mean, low, high = (100 * part for part in difference)
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def measured(path: Path, suite: Sequence[retrieval.Task]) -> Measured:
    """Measure an .onnx on the tasks."""
    model = Embedder(path)
    return Measured(model.card, model.sha256, retrieval.measure_all(suite, retrieval.embed_with(model)))


def report_ablation(out: Path, sources: tasks.Sources | None = None) -> tuple[Path, Path]:
    """Write the report of an ablation into its folder, of the unified row against the untrained one; returns the pages.

    Where either is not done, the last and the first row that is stand in for them.
    """
    suite, unavailable = tasks.build(sources or tasks.Sources.found(tasks.installed_detector()))
    rows = read_ablation(out, suite)
    best = next((row for row in rows if row.name == ablate.UNIFIED), rows[-1])

    def of(row: Ablated) -> Measured:
        model = Embedder(row.folder / ablate.MODEL)
        return Measured(model.card, model.sha256, row.results)

    return write_report(out, of(best), of(rows[0]), rows=rows, log=best.folder / LOG, unavailable=unavailable)


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--baseline", required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--ablation", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of `visearch ablate`."
)
@click.option(
    "--log", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="log.jsonl of the model's training."
)
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False))
def main(model: Path, baseline: Path, ablation: Path | None, log: Path | None, out: Path) -> None:
    """Measure MODEL and a baseline on the project's tasks and write the report of it."""
    require_matplotlib()
    suite, unavailable = tasks.build(tasks.Sources.found(tasks.installed_detector()))
    rows = read_ablation(ablation, suite) if ablation else []
    pages = write_report(
        out,
        measured(model, suite),
        measured(baseline, suite),
        rows=rows,
        log=log,
        unavailable=unavailable,
        name="README",
    )
    click.echo("\n".join(map(str, pages)))


if __name__ == "__main__":
    command.run(main)
