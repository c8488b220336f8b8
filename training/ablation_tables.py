"""The tables of an ablation (ablate.py): what each choice is worth, in binary and in float."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import ablate, plots, recipe, retrieval
from training.document import Block, Grid, Heading, Picture, Text
from training.retrieval import AVERAGE_P20, P1, Result, compare
from visearch.errors import UsageError

PLOTTED = (
    ("shop_homestore", P1, "Shop: exact"),
    ("shop_ikea", P1, "Shop: IKEA"),
    ("lens_iconic_seen", P1, "Lens: iconic"),
    ("lens_photos_apart_seen", AVERAGE_P20, "Lens: photos"),
    ("flashlight_caltech", AVERAGE_P20, "Flashlight"),
    ("flashlight_crop_category_coco", AVERAGE_P20, "crops"),
    ("browse_clothing", AVERAGE_P20, "Clothing"),
    ("general_ikea_types", P1, "General"),
)
"""Task, measure and name of the lines over the length of the code."""


@dataclass(frozen=True)
class Ablated:
    """A row of `visearch ablate`: its figures (metrics.json), every query's values, and where its training log is."""

    name: str
    title: str
    table: str
    bits: int
    steps: int
    results: Mapping[str, Result]
    folder: Path


def ablation_tables(rows: Sequence[Ablated]) -> Iterator[Block]:
    """A table for each question, each row against the first of all; and the plot over the length of the code."""
    if not rows:
        return
    first = rows[0]
    unified = next((row for row in rows if row.name == ablate.UNIFIED), first)
    yield Heading("What each choice is worth")
    yield Text(
        f"Every column is one model, trained for {max(row.steps for row in rows)} steps on the same pictures, with one"
        " thing changed. Percent, one run each; in brackets the difference from the first column and its 95% interval"
        " (of the same queries), † where that leaves out 0. How much another seed changes is not in the interval."
    )
    for table in dict.fromkeys(row.table for row in rows):
        reference = first if table == ablate.EMBEDDING else unified
        chosen = [reference, *(row for row in rows if row.table == table and row is not reference)]
        titles = [row.title if row is not unified or table == ablate.EMBEDDING else "unified" for row in chosen]
        yield Heading(table, 3)
        for caption, measure, way in (
            ("Precision@1, binary:", P1, "binary"),
            ("Precision@1 of the same models in float:", P1, "float"),
            ("Average Precision@20, binary, where a query has many right answers:", AVERAGE_P20, "binary"),
        ):
            yield Text(caption)
            yield Grid(["task", *titles], _lines(chosen, measure, way))
    lengths = sorted({row.bits: row for row in rows if row.table == ablate.LENGTH or row is unified}.items())
    if len(lengths) > 1:
        points = {
            f"{title} {'P@1' if measure == P1 else 'AP'}": [
                (bits, _mean(row, name, measure, "binary"), _mean(row, name, measure, "float"))
                for bits, row in lengths
                if name in row.results
            ]
            for name, measure, title in PLOTTED
            if any(name in row.results for _, row in lengths)
        }
        yield Picture("length.svg", plots.code_length(points), "What longer codes bring.")


def _lines(rows: Sequence[Ablated], measure: str, way: str) -> list[list[str]]:
    """Tasks by models; the first is what the others are compared with."""
    tasks = {name: result.task for row in rows for name, result in row.results.items()}
    return [
        [task.title, *(_against(row, rows[0], name, measure, way) for row in rows)]
        for name, task in tasks.items()
        if measure == P1 or not task.one_answer
    ]


def _against(row: Ablated, reference: Ablated, name: str, measure: str, way: str) -> str:
    if name not in row.results:
        return ""
    mean = f"{100 * _mean(row, name, measure, way):.1f}"
    if row is reference or name not in reference.results:
        return mean
    change = compare(reference.results[name], row.results[name], measure, way=way)
    low, high = 100 * change.low, 100 * change.high
    return f"{mean} ({100 * change.mean:+.1f}, {low:+.1f} to {high:+.1f}){'†' * change.sure}"


def read_ablation(out: Path, suite: Sequence[retrieval.Task]) -> list[Ablated]:
    """The rows of an ablation that are done, in the order of its tables.

    Raises:
        UsageError: there is no ablation.
    """
    found = []
    for file in out.glob(f"*/{ablate.METRICS}"):
        figures: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        results = retrieval.load(suite, file.parent / ablate.RESULTS)
        found.append(
            Ablated(
                figures["row"],
                figures["title"],
                figures["table"],
                figures["bits"],
                figures["steps"],
                results,
                file.parent,
            )
        )
    if not found or not (out / ablate.PLAN).exists():
        raise UsageError(f"{out}: no row of an ablation is done there")
    plan = json.loads((out / ablate.PLAN).read_text(encoding="utf-8"))
    order = [row.name for row in ablate.rows(recipe.from_plain(plan["recipe"]))]
    return sorted((row for row in found if row.name in order), key=lambda row: order.index(row.name))


def _mean(row: Ablated, name: str, measure: str, way: str) -> float:
    return float(row.results[name].values(way, measure).mean())
