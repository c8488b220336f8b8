"""How well a collection answers queries whose right answers are known.

A query is a picture with a label; an item of the collection is relevant to it when it carries the same label under
the same metadata key. Where either has a list of labels, one in common is enough.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from visearch import codes, images, settings
from visearch.codes import F32, I64, U8
from visearch.errors import BoxError, ImageError, UsageError, VisearchError
from visearch.files import read_limited
from visearch.images import WHOLE, Box
from visearch.machine import usable_cores
from visearch.manifest import Row, is_manifest, read_manifest
from visearch.metrics import MEASURES, bootstrap_interval
from visearch.rankings import Rankings, rank_and_measure

if TYPE_CHECKING:
    from rich.console import Group

    from visearch.collection import Collection
    from visearch.embedder import Embedder
    from visearch.filters import Filter
    from visearch.store import Item

EMBED_TOGETHER = 16
Progress = Callable[[str, int, int], None]

TITLES = {
    "precision_at_1": "Precision@1",
    "average_precision_at_20": "Average P@20",
    "recall_at_1": "Recall@1",
    "recall_at_5": "Recall@5",
    "recall_at_10": "Recall@10",
    "map_at_r": "MAP@R",
}
assert list(TITLES) == list(MEASURES)


@dataclass(frozen=True)
class Query:
    """One row of the queries' manifest. `number` counts from 1; `box` is the region that is searched for."""

    number: int
    path: Path
    labels: frozenset[str]
    box: Box = WHOLE

    @property
    def source(self) -> str:
        """The path as items have it: absolute, links not followed."""
        return os.path.abspath(self.path)  # noqa: PTH100


@dataclass(frozen=True)
class Unreadable:
    """A row that is no usable query, and why. `reason` is a short stable word: box, unreadable, corrupt, ..."""

    number: int
    path: Path | None
    reason: str
    message: str


@dataclass(frozen=True)
class Evaluation:
    """What was measured: `rankings` holds every query's values and the head of its rankings, in the order of `queries`.

    Attributes:
        queries: those that were measured.
        left_out: those to which no item is relevant.
        unreadable: rows that are no usable query.
        setup: what was compared with what; JSON values.
    """

    queries: tuple[Query, ...]
    left_out: tuple[Query, ...]
    unreadable: tuple[Unreadable, ...]
    rankings: Rankings
    setup: Mapping[str, Any]

    @cached_property
    def means(self) -> dict[str, dict[str, float]]:
        """Way of ranking -> measure -> mean over the queries, a fraction."""
        return {
            way: {name: float(values.mean()) for name, values in ranking.measures.items()}
            for way, ranking in self.rankings.by_name().items()
        }

    @cached_property
    def intervals(self) -> dict[str, dict[str, tuple[float, float]]]:
        """The same, with the 95% bootstrap interval of the mean."""
        return {
            way: {name: bootstrap_interval(values) for name, values in ranking.measures.items()}
            for way, ranking in self.rankings.by_name().items()
        }

    def to_json(self) -> dict[str, Any]:
        """As `visearch evaluate --json` prints it; measures are fractions."""
        return {
            "queries": len(self.queries),
            "left_out": len(self.left_out),
            "unreadable": len(self.unreadable),
            **self.means,
            "intervals": {
                way: {name: list(interval) for name, interval in measures.items()}
                for way, measures in self.intervals.items()
            },
            "setup": dict(self.setup),
        }

    def table(self) -> Group:
        """What was measured and the measures in percent with their 95% intervals, for a terminal."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Group
        from rich.table import Table

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("percent", no_wrap=True)
        for way in self.means:
            table.add_column(way, justify="right", no_wrap=True)
        for name, title in TITLES.items():
            table.add_row(title, *(self.cell(way, name) for way in self.means))
        return Group(self.headline(), table, "in brackets: 95% intervals (bootstrap over the queries)")

    def cell(self, way: str, name: str) -> str:
        """One figure in percent with its interval: `62.5 (60.1-64.8)`."""
        low, high = self.intervals[way][name]
        return f"{100 * self.means[way][name]:.1f} ({100 * low:.1f}-{100 * high:.1f})"

    def headline(self) -> str:
        """What was measured, in one line."""
        parts = [f"{len(self.queries)} queries against {self.setup['items']} items"]
        if self.left_out:
            parts.append(f"{len(self.left_out)} left out (nothing relevant to them)")
        if self.unreadable:
            parts.append(f"{len(self.unreadable)} unreadable")
        return "; ".join(parts)


def evaluate(
    collection: Collection,
    queries: Path,
    *,
    label: str = "label",
    filter: Filter | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Evaluation:
    """Search `collection` for every query of a manifest and measure what is found.

    Args:
        collection: its items carry the metadata key `label`.
        queries: CSV, JSONL or Parquet with `path` (relative to the manifest), `label`, and optionally `box`.
        label: the key that says what is relevant to what, in the manifest and in the metadata of the items.
        filter: only items that it lets through are searched and counted as relevant.
        progress: called with a stage ("embed", "rank"), how many queries are done, and of how many.

    Raises:
        UsageError: the manifest cannot be read, or it or the searched items do not carry `label`.
        VisearchError: not one query can be measured.
    """
    if not is_manifest(queries):
        raise UsageError(f"{queries}: queries come in a manifest: .csv, .jsonl or .parquet with `path` and `{label}`")
    rows = [query_of(row, label) for row in read_manifest(queries)]
    asked = [row for row in rows if isinstance(row, Query)]
    if not any(query.labels for query in asked):
        raise UsageError(f"{queries}: no usable row has the key `{label}`; name the key that holds the answers")
    corpus = collection.corpus(filter)
    if not len(corpus.item_ids):
        raise UsageError("there is nothing to search: the collection holds no item" + " that passes" * bool(filter))
    found = _embed(collection.embedder, asked, progress)
    embedded = sorted((each for each in found if isinstance(each, _Embedded)), key=lambda each: each.query.number)
    unreadable = sorted((row for row in (*rows, *found) if isinstance(row, Unreadable)), key=lambda row: row.number)
    searched = set(np.unique(corpus.item_ids).tolist())
    truth = _truth((item for item in collection.items() if item.item_id in searched), embedded, label)
    measured = [place for place, (relevant, own) in enumerate(truth) if len(np.setdiff1d(relevant, own))]
    if not measured:
        first = f" (the first, row {unreadable[0].number}: {unreadable[0].message})" if unreadable else ""
        raise VisearchError(
            f"{queries}: no query can be measured: {len(embedded)} have no other item with the same `{label}`"
            f" among the {len(searched)} searched, {len(unreadable)} cannot be used{first}"
        )
    vectors = np.stack([embedded[place].vector for place in measured])
    window = int(settings.number("window"))
    rankings = rank_and_measure(
        corpus,
        codes.pack(vectors),
        vectors,
        [truth[place].relevant for place in measured],
        [truth[place].own for place in measured],
        window=window,
        progress=lambda done: progress("rank", done, len(measured)),
    )
    kept = set(measured)
    return Evaluation(
        queries=tuple(embedded[place].query for place in measured),
        left_out=tuple(each.query for place, each in enumerate(embedded) if place not in kept),
        unreadable=tuple(unreadable),
        rankings=rankings,
        setup={
            "queries": str(queries),
            "label": label,
            "filtered": filter is not None,
            "items": len(searched),
            "codes": len(corpus.item_ids),
            "bits": vectors.shape[1],
            "window": window,
        },
    )


def query_of(row: Row, label: str) -> Query | Unreadable:
    """A row of a queries' manifest as a query."""
    if row.path is None:
        return Unreadable(row.number, None, "manifest", row.problem)
    value = row.metadata.get("box")  # a list, or as text in a CSV file: "x0,y0,x1,y1"
    try:
        box = images.validate_box(value.split(",") if isinstance(value, str) else value) if value is not None else WHOLE
    except BoxError as error:
        return Unreadable(row.number, row.path, "box", error.message)
    return Query(row.number, row.path, labels_of(row.metadata.get(label)), box)


def labels_of(value: object) -> frozenset[str]:
    """A label, or a list of them, as text: the 5 of a CSV file is the 5.0 of a Parquet file and the "5" of JSON."""
    if isinstance(value, list):
        return frozenset().union(*map(labels_of, value))
    if value is None or value == "":
        return frozenset()
    return frozenset([str(int(value) if isinstance(value, float) and value.is_integer() else value)])


@dataclass(frozen=True)
class _Embedded:
    query: Query
    content: bytes  # SHA-256 of the file
    vector: F32  # [D]


def _embed(model: Embedder, queries: Sequence[Query], progress: Progress) -> list[_Embedded | Unreadable]:
    """Decode and embed queries on all cores; one outcome for each, in no order."""
    groups = [queries[start : start + EMBED_TOGETHER] for start in range(0, len(queries), EMBED_TOGETHER)]
    outcomes: list[_Embedded | Unreadable] = []
    with ThreadPoolExecutor(usable_cores()) as pool:
        try:
            for group in pool.map(lambda group: _embed_group(model, group), groups):
                outcomes += group
                progress("embed", len(outcomes), len(queries))
        finally:  # Ctrl-C does not wait for the groups that have not begun
            pool.shutdown(wait=False, cancel_futures=True)
    return outcomes


def _embed_group(model: Embedder, queries: Sequence[Query]) -> list[_Embedded | Unreadable]:
    prepared: list[tuple[Query, bytes, U8]] = []
    failed: list[_Embedded | Unreadable] = []
    for query in queries:
        try:
            data = read_limited(query.path)
            picture = images.decode(data, min_side=model.min_side(), box=query.box)
            prepared.append((query, hashlib.sha256(data).digest(), model.prepare(picture, query.box)))
        except ImageError as error:
            failed.append(Unreadable(query.number, query.path, error.reason, error.message))
        except BoxError as error:
            failed.append(Unreadable(query.number, query.path, "box", error.message))
    if not prepared:
        return failed
    vectors = model.embed(np.stack([inputs for _, _, inputs in prepared]))
    return failed + [_Embedded(*row[:2], vector) for row, vector in zip(prepared, vectors, strict=True)]


class _Truth(NamedTuple):
    """The ids of the items that are relevant to a query (its own may be among them), and of those that are itself."""

    relevant: I64
    own: I64


def _truth(items: Iterable[Item], embedded: Sequence[_Embedded], label: str) -> list[_Truth]:
    """One pass over the items, which keeps only what some query asks for."""
    by_label: dict[str, list[int]] = {name: [] for each in embedded for name in each.query.labels}
    by_content: dict[bytes, list[int]] = {each.content: [] for each in embedded}
    by_source: dict[str, list[int]] = {each.query.source: [] for each in embedded}
    labelled = False
    for item in items:
        names = labels_of(item.metadata.get(label))
        labelled = labelled or bool(names)
        for name in names & by_label.keys():
            by_label[name].append(item.item_id)
        if item.content in by_content:
            by_content[item.content].append(item.item_id)
        if item.source in by_source:
            by_source[item.source].append(item.item_id)
    if not labelled:
        raise UsageError(f"no searched item carries `{label}`; index with a manifest that has it, or name another key")
    # One array for all queries with the same labels: with large classes they are most of the memory.
    relevant = {labels: _union(by_label[name] for name in labels) for labels in {e.query.labels for e in embedded}}
    return [
        _Truth(relevant[each.query.labels], _union([by_content[each.content], by_source[each.query.source]]))
        for each in embedded
    ]


def _union(ids: Iterable[list[int]]) -> I64:
    return np.unique(np.array([item_id for some in ids for item_id in some], np.int64))
