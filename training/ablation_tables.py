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

HEADLINES = (
    ("shop_homestore", P1, "Shop: exact"),
    ("shop_ikea", P1, "Shop: IKEA"),
    ("lens_homestore_product_box", P1, "Lens: home"),
    ("lens_iconic_seen", P1, "Lens: iconic"),
    ("lens_iconic_unseen", P1, "Lens: iconic, unseen"),
    ("lens_photos_apart_seen", AVERAGE_P20, "Lens: photos"),
    ("lens_photos_apart_unseen", AVERAGE_P20, "Lens: photos, unseen"),
    ("flashlight_caltech", AVERAGE_P20, "Flashlight"),
    ("flashlight_crop_category_coco", AVERAGE_P20, "crops"),
    ("browse_clothing", AVERAGE_P20, "Clothing"),
    ("general_ikea_types", P1, "General"),
)
"""Task, measure and column of the tables that compare many models."""


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
    columns = [each for each in HEADLINES if any(each[0] in row.results for row in rows)]
    yield Heading("What each choice is worth")
    yield Text(
        f"Every row is one model, trained for {max(row.steps for row in rows)} steps on the same pictures, with one"
        " thing changed. In brackets: the difference from the first row of the table; † where its 95% interval leaves"
        " out 0. P@1 = Precision@1, AP = Average Precision@20. The columns are tasks of the tables above."
    )
    head = ["row", "bits", *(f"{title} {'P@1' if measure == P1 else 'AP'}" for _, measure, title in columns)]
    for table in dict.fromkeys(row.table for row in rows):
        reference = first if table == ablate.EMBEDDING else unified
        chosen = [reference, *(row for row in rows if row.table == table and row is not reference)]
        yield Heading(table, 3)
        for way in retrieval.WAYS:
            yield Text({"binary": "Binary:", "float": "The same models in float:"}[way])
            lines = [
                [
                    row.title if row is not unified or table == ablate.EMBEDDING else "unified",
                    str(row.bits),
                    *(_against(row, reference, name, measure, way) for name, measure, _ in columns),
                ]
                for row in chosen
            ]
            yield Grid(head, lines, frozenset(place for place, row in enumerate(chosen) if row is unified))
    lengths = sorted({row.bits: row for row in rows if row.table == ablate.LENGTH or row is unified}.items())
    if len(lengths) > 1:
        points = {
            f"{title} {'P@1' if measure == P1 else 'AP'}": [
                (bits, _mean(row, name, measure, "binary"), _mean(row, name, measure, "float"))
                for bits, row in lengths
                if name in row.results
            ]
            for name, measure, title in columns
            if "unseen" not in title
        }
        yield Picture("length.svg", plots.code_length(points), "What longer codes bring.")


def _against(row: Ablated, reference: Ablated, name: str, measure: str, way: str) -> str:
    if name not in row.results:
        return ""
    mean = f"{100 * _mean(row, name, measure, way):.1f}"
    if row is reference or name not in reference.results:
        return mean
    difference = compare(reference.results[name], row.results[name], measure, way=way)
    return f"{mean} ({100 * difference.mean:+.1f}{'†' * difference.sure})"


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
    if not found:
        raise UsageError(f"{out}: no row of an ablation is done there")
    plan = json.loads((out / ablate.PLAN).read_text(encoding="utf-8"))
    order = [row.name for row in ablate.rows(recipe.from_plain(plan["recipe"]))]
    return sorted(found, key=lambda row: order.index(row.name))


def _mean(row: Ablated, name: str, measure: str, way: str) -> float:
    return float(row.results[name].values(way, measure).mean())
