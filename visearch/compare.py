"""Two generations measured on the same queries: each as `evaluate` measures it alone, and what lies between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from visearch.errors import VisearchError
from visearch.evaluate import TITLES, Evaluation, Progress, evaluate
from visearch.metrics import F64, I64, paired_difference
from visearch.rankings import Ranking

if TYPE_CHECKING:
    from rich.console import Group

    from visearch.collection import Collection

OVERLAP = 10
"""Places of each ranking that are compared."""
BY = "average_precision_at_20"
"""The measure, of what a search shows, by which a query got better or worse."""


@dataclass(frozen=True)
class Comparison:
    """The evaluations of two generations, and the names they are shown by. `pairs` int [n, 2] are the places of the
    queries that were measured in both: they are what is compared."""

    before: Evaluation
    after: Evaluation
    names: tuple[str, str]
    numbers: tuple[int, int]
    pairs: I64

    @cached_property
    def differences(self) -> Mapping[str, Mapping[str, tuple[float, float, float]]]:
        """Way of ranking -> measure -> mean of after - before, and its 95% interval: fractions."""
        return {
            way: {name: paired_difference(*self._values(way, name)) for name in TITLES} for way in self.before.means
        }

    @cached_property
    def overlap(self) -> Mapping[str, float]:
        """Way of ranking -> mean share of the first OVERLAP items that both find."""
        return {way: _overlap(*self._rankings(way), self.pairs) for way in self.before.means}

    @cached_property
    def gains(self) -> F64:
        """What each pair gained in BY, of the re-ranked ways: float64 [n]."""
        before, after = self._values("reranked", BY)
        return after - before

    def _rankings(self, way: str) -> tuple[Ranking, Ranking]:
        return self.before.rankings.by_name()[way], self.after.rankings.by_name()[way]

    def _values(self, way: str, name: str) -> tuple[F64, F64]:
        before, after = self._rankings(way)
        return before.measures[name][self.pairs[:, 0]], after.measures[name][self.pairs[:, 1]]

    def to_json(self) -> dict[str, Any]:
        """As `visearch generations compare --json` prints it; measures are fractions."""
        sides = zip(("before", "after"), self.numbers, self.names, (self.before, self.after), strict=True)
        return {
            "compared": len(self.pairs),
            **{side: {"generation": number, "model": name, **each.to_json()} for side, number, name, each in sides},
            "differences": {
                way: {name: list(values) for name, values in measures.items()}
                for way, measures in self.differences.items()
            },
            f"overlap_at_{OVERLAP}": dict(self.overlap),
        }

    def table(self) -> Group:
        """The measures of both in percent, and the difference with its 95% interval, for a terminal."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Group
        from rich.table import Table

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for heading in ("percent", "", *(f"generation {number}" for number in self.numbers), "difference"):
            table.add_column(heading, justify="left" if heading in ("percent", "") else "right", no_wrap=True)
        for way in self.before.means:
            for name, title in TITLES.items():
                means = (f"{100 * each.means[way][name]:.1f}" for each in (self.before, self.after))
                table.add_row(title, way, *means, self.cells(way, name)[-1])
            table.add_row(f"same first {OVERLAP}", way, "", "", f"{100 * self.overlap[way]:.1f}", end_section=True)
        notes = "in brackets: 95% intervals of the difference (bootstrap over the pairs)"
        return Group(*self.headings(), self.headline(), table, notes)

    def headings(self) -> tuple[str, str]:
        """The two generations by number, model and version."""
        first, second = (f"{number}: {name}" for number, name in zip(self.numbers, self.names, strict=True))
        return first, second

    def cells(self, way: str, name: str) -> tuple[str, str, str]:
        """Before, after, difference: `62.5 (60.1-64.8)`, `+3.1 (+1.0 to +5.2)`."""
        mean, low, high = (100 * value for value in self.differences[way][name])
        difference = f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"
        return self.before.cell(way, name), self.after.cell(way, name), difference

    def headline(self) -> str:
        """What was measured, in one line."""
        first, second = self.before.headline(), self.after.headline()
        return first if first == second else f"{self.numbers[0]}: {first}\n{self.numbers[1]}: {second}"


def compare(
    before: Collection,
    after: Collection,
    queries: Path,
    *,
    label: str = "label",
    progress: Progress = lambda stage, done, total: None,
) -> Comparison:
    """Measure two generations on the queries of a manifest.

    Args:
        before: the collection, opened at the one.
        after: the collection, opened at the other.
        queries: as for `evaluate`.
        label: the key that says what is relevant to what.
        progress: as for `evaluate`; its stages name the generation.

    Raises:
        VisearchError: as `evaluate`.
    """
    found = []
    for collection in (before, after):
        number = collection.generation.number

        def show(stage: str, done: int, total: int, number: int = number) -> None:
            progress(f"{stage}, generation {number}", done, total)

        found.append(evaluate(collection, queries, label=label, progress=show))
    places = {query.number: place for place, query in enumerate(found[1].queries)}
    pairs = [(place, places[query.number]) for place, query in enumerate(found[0].queries) if query.number in places]
    if not pairs:
        raise VisearchError(f"{queries}: no query can be measured in both generations")
    generations = (before.generation, after.generation)
    return Comparison(
        found[0],
        found[1],
        (f"{generations[0].model} {generations[0].version}", f"{generations[1].model} {generations[1].version}"),
        (generations[0].number, generations[1].number),
        np.array(pairs, np.int64).reshape(-1, 2),
    )


def _overlap(before: Ranking, after: Ranking, pairs: I64) -> float:
    shares = []
    for first, second in pairs:
        heads = [ranking.items[place][:OVERLAP] for ranking, place in ((before, first), (after, second))]
        sets = [set(head[head >= 0].tolist()) for head in heads]
        shares.append(len(sets[0] & sets[1]) / max(len(sets[0]), len(sets[1]), 1))
    return float(np.mean(shares))
