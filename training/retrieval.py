"""Retrieval tasks: queries against a corpus with known right answers, measured in binary and in float, and compared."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from math import comb
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from visearch import codes, images, settings
from visearch.codes import F32, F64, I8, I32, I64, U8
from visearch.embedder import Embedder
from visearch.errors import BoxError, VisearchError, naming
from visearch.files import read_limited, write_durably
from visearch.images import WHOLE, Box
from visearch.machine import usable_cores
from visearch.metrics import MEASURES, bootstrap_interval, paired_difference
from visearch.rankings import Ranking, Rankings, rank_and_measure

EMBED_TOGETHER = 16
WAYS = ("binary", "float")
SHOWN_HITS = 5

P1, AVERAGE_P20, HIT5 = "precision_at_1", "average_precision_at_20", "recall_at_5"
SHOWN = {P1: "P@1", AVERAGE_P20: "AvgP@20", HIT5: "hit@5"}

Place = tuple[Path, Box]


class EmbedFunction(Protocol):
    """Regions of picture files -> their embeddings before thresholding, float32 [n, D]."""

    def __call__(self, places: Sequence[Place], /) -> F32: ...  # noqa: D102


@dataclass(frozen=True)
class Region:
    """A part of a picture, and what is known of it. Two regions with a label in common are relevant to each other."""

    path: Path
    labels: frozenset[str]
    box: Box = WHOLE
    group: str = ""  # what breaks figures down, and what `Task.within_group` searches within

    @property
    def place(self) -> Place:
        """What is embedded."""
        return self.path, self.box


@dataclass(frozen=True)
class Task:
    """One retrieval task.

    Attributes:
        name: short and stable, e.g. "lens_iconic_seen".
        title: what it asks, in a few words, for tables.
        leave_self_out: regions of the query's own picture are no answers (and not searched).
        within_group: only the corpus regions of the query's group are searched.
        one_answer: a query has one or few right answers, so hit@5 says more than Average P@20.
    """

    name: str
    title: str
    queries: tuple[Region, ...]
    corpus: tuple[Region, ...]
    leave_self_out: bool = False
    within_group: bool = False
    one_answer: bool = False


class Truth(NamedTuple):
    """For each query the places in the corpus of what is relevant, and of what is not searched."""

    relevant: list[I64]
    excluded: list[I64]


@dataclass(frozen=True)
class Result:
    """A measured task. `queries` are those that something in the corpus is relevant to; `left_out` counts the others.

    `chance` is what a random order of what is searched would give, by arithmetic: the mean of P@1 and of hit@5.
    """

    task: Task
    queries: tuple[Region, ...]
    left_out: int
    bits: int
    rankings: Rankings
    chance: Mapping[str, float]

    def values(self, way: str, measure: str) -> F64:
        """One value a query, 0..1: `way` is "binary", "reranked" or "float", `measure` a name of metrics.MEASURES."""
        return self.rankings.by_name()[way].measures[measure]

    @cached_property
    def groups(self) -> dict[str, I64]:
        """Group -> the places of its queries; empty where the task has no groups."""
        names = sorted({query.group for query in self.queries} - {""})
        return {name: np.flatnonzero([query.group == name for query in self.queries]) for name in names}

    def to_json(self) -> dict[str, Any]:
        """What reports show: means with 95% intervals as [mean, low, high], fractions."""
        return {
            "title": self.task.title,
            "queries": len(self.queries),
            "left_out": self.left_out,
            "corpus": len(self.task.corpus),
            "bits": self.bits,
            "one_answer": self.task.one_answer,
            "chance": dict(self.chance),
            **{way: {name: interval(self.values(way, name)) for name in SHOWN} for way in WAYS},
            "binary_minus_float": {
                name: list(paired_difference(self.values("float", name), self.values("binary", name))) for name in SHOWN
            },
            "groups": {
                group: {"queries": len(places)}
                | {name: interval(self.values("binary", name)[places]) for name in (P1, HIT5)}
                for group, places in self.groups.items()
            },
        }


def interval(values: F64) -> list[float]:
    """Mean, low and high end of its 95% interval."""
    return [float(values.mean()), *bootstrap_interval(values)]


# Measuring


def measure_all(tasks: Sequence[Task], embed: EmbedFunction) -> dict[str, Result]:
    """Measure tasks by name; a region that several tasks share is embedded once."""
    places = list(dict.fromkeys(region.place for task in tasks for region in (*task.queries, *task.corpus)))
    vectors = embed(places)
    rows = {place: row for row, place in enumerate(places)}
    return {
        task.name: _measure(
            task,
            vectors[[rows[query.place] for query in task.queries]],
            vectors[[rows[region.place] for region in task.corpus]],
        )
        for task in tasks
    }


def measure(task: Task, embed: EmbedFunction) -> Result:
    """Measure one task."""
    return measure_all([task], embed)[task.name]


@dataclass(frozen=True)
class _Corpus:
    item_ids: I64
    regions: I32
    codes: U8
    vectors: I8


def _measure(task: Task, queries: F32, corpus: F32) -> Result:
    truth = answers(task)
    measured = [place for place, relevant in enumerate(truth.relevant) if len(relevant)]
    if not measured:
        raise VisearchError(f"task {task.name}: nothing in its corpus is relevant to any query")
    rows = np.arange(len(corpus), dtype=np.int64)
    rankings = rank_and_measure(
        _Corpus(rows, np.zeros(len(corpus), np.int32), codes.pack(corpus), codes.quantize(corpus)[0]),
        codes.pack(queries[measured]),
        queries[measured],
        [truth.relevant[place] for place in measured],
        [truth.excluded[place] for place in measured],
        window=int(settings.number("window")),
    )
    return _result(task, truth, rankings)


def _result(task: Task, truth: Truth, rankings: Rankings) -> Result:
    measured = [place for place, relevant in enumerate(truth.relevant) if len(relevant)]
    searched = [len(task.corpus) - len(truth.excluded[place]) for place in measured]
    totals = [len(truth.relevant[place]) for place in measured]
    return Result(
        task=task,
        queries=tuple(task.queries[place] for place in measured),
        left_out=len(task.queries) - len(measured),
        bits=len(rankings.hit_distances) - 1,
        rankings=rankings,
        chance={P1: _chance(totals, searched, 1), HIT5: _chance(totals, searched, 5)},
    )


def answers(task: Task) -> Truth:
    """What is right for each query, and what it is not compared with."""
    by_label: dict[str, list[int]] = {}
    by_path: dict[Path, list[int]] = {}
    by_group: dict[str, list[int]] = {}
    for row, region in enumerate(task.corpus):
        by_path.setdefault(region.path, []).append(row)
        by_group.setdefault(region.group, []).append(row)
        for label in region.labels:
            by_label.setdefault(label, []).append(row)
    everything = np.arange(len(task.corpus))
    others = {group: np.setdiff1d(everything, rows) for group, rows in by_group.items()}
    truth = Truth([], [])
    for query in task.queries:
        excluded = np.array(by_path.get(query.path, []) if task.leave_self_out else [], np.int64)
        if task.within_group:
            excluded = np.union1d(excluded, others.get(query.group, everything))
        relevant = np.unique(np.array([row for label in query.labels for row in by_label.get(label, [])], np.int64))
        truth.relevant.append(np.setdiff1d(relevant, excluded))
        truth.excluded.append(excluded)
    return truth


def _chance(relevant: Iterable[int], searched: Iterable[int], k: int) -> float:
    """Mean probability that one of k drawn without replacement is relevant."""
    return float(np.mean([1 - comb(n - r, k) / comb(n, min(k, n)) for r, n in zip(relevant, searched, strict=True)]))


class Difference(NamedTuple):
    """Mean of `after - before` over the same queries, and its 95% interval: fractions."""

    mean: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def compare(
    before: Result, after: Result, measure: str = P1, *, way: str = "binary", before_way: str = ""
) -> Difference:
    """How much `after` gains over `before`, the same task under another model (or another way of ranking)."""
    if before.queries != after.queries:
        raise ValueError(f"{before.task.name} and {after.task.name} do not hold the same queries")
    return Difference(*paired_difference(before.values(before_way or way, measure), after.values(way, measure)))


# Embedding


def embed_with(model: Embedder, progress: Callable[[int, int], None] = lambda done, total: None) -> EmbedFunction:
    """The function that decodes and embeds regions with an .onnx, on all cores.

    It raises ImageError or BoxError for a picture or a box that cannot be used, ModelError for an embedding that is
    not finite: a benchmark with less in it than it says is no benchmark.
    """

    def group(places: Sequence[Place]) -> F32:
        inputs = []
        for path, box in places:
            data = read_limited(path)
            try:
                with naming(path):
                    picture = images.decode(data, min_side=model.min_side(), box=box)
                    inputs.append(model.prepare(picture, box))
            except BoxError as error:
                raise BoxError(f"{path}: {error.message}") from None
        return model.embed(np.stack(inputs))

    def embed(places: Sequence[Place]) -> F32:
        parts = [places[start : start + EMBED_TOGETHER] for start in range(0, len(places), EMBED_TOGETHER)]
        vectors = np.empty((len(places), model.card.embedding_dim), np.float32)
        with ThreadPoolExecutor(usable_cores()) as pool:
            try:
                for number, part in enumerate(pool.map(group, parts)):
                    start = number * EMBED_TOGETHER
                    vectors[start : start + len(part)] = part
                    progress(start + len(part), len(places))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        return vectors

    return embed


# Files

KEPT_PLACES = 10


def save(results: Mapping[str, Result], file: Path) -> None:
    """Keep results in one .npz: every query's measures, the first KEPT_PLACES of its rankings, the histograms."""
    arrays: dict[str, Any] = {}
    for name, result in results.items():
        rankings = result.rankings
        for way, ranking in rankings.by_name().items():
            for key in _HEADS:
                arrays[f"{name}/{way}/{key}"] = getattr(ranking, key)[:, :KEPT_PLACES]
            for measure, values in ranking.measures.items():
                arrays[f"{name}/{way}/{measure}"] = values
        for key in _OVERALL:
            arrays[f"{name}/{key}"] = getattr(rankings, key)
        arrays[f"{name}/{_DATA}"] = np.array(_fingerprint(result.task))
    stream = BytesIO()
    np.savez_compressed(stream, **arrays)
    write_durably(file, stream.getvalue())


def load(tasks: Sequence[Task], file: Path) -> dict[str, Result]:
    """The results that `save` kept, of those of `tasks` that are among them.

    Raises:
        VisearchError: the file cannot be read, or a task asks otherwise by now (other pictures, boxes, labels, groups).
    """
    found = {}
    try:
        with np.load(file) as arrays:
            names = {name.split("/")[0] for name in arrays.files}
            for task in tasks:
                if task.name in names:
                    if str(arrays[f"{task.name}/{_DATA}"]) != _fingerprint(task):
                        raise VisearchError(f"{file}: the data of {task.name} is not what it was; measure it again")
                    found[task.name] = _restored(task, arrays)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise VisearchError(f"{file}: not results that were kept ({error})") from None
    return found


def _fingerprint(task: Task) -> str:
    """SHA-256 of what is asked of what: places, labels and groups, the same wherever the folder of the data lies."""
    paths = {each.path: Path(os.path.normpath(each.path.absolute())) for each in (*task.queries, *task.corpus)}
    root = os.path.commonpath([path.parent for path in paths.values()])
    own = {str(path): str(whole.relative_to(root)) for path, whole in paths.items()}  # a path may be a label, too

    def told(regions: Sequence[Region]) -> list[Any]:
        return [[own[str(r.path)], r.box, sorted(own.get(name, name) for name in r.labels), r.group] for r in regions]

    rules = [task.leave_self_out, task.within_group]
    return hashlib.sha256(json.dumps([told(task.queries), told(task.corpus), rules]).encode()).hexdigest()


_HEADS = ("items", "regions", "distances", "scores", "relevant")
_OVERALL = ("totals", "answers", "hit_distances", "miss_distances")
_DATA = "data"


def _restored(task: Task, arrays: Mapping[str, Any]) -> Result:
    def ranking(way: str) -> Ranking:
        measures = {name: arrays[f"{task.name}/{way}/{name}"] for name in MEASURES}
        return Ranking(measures, **{key: arrays[f"{task.name}/{way}/{key}"] for key in _HEADS})

    overall = {key: arrays[f"{task.name}/{key}"] for key in _OVERALL}
    rankings = Rankings(ranking("binary"), ranking("reranked"), ranking("float"), **overall)
    return _result(task, answers(task), rankings)


# Text


def table(results: Mapping[str, Result], before: Mapping[str, Result] | None = None) -> str:
    """The results as text, in percent; `before` adds what was gained over it in binary, with the 95% interval."""
    columns = f"{'queries':>8}{'corpus':>8}  {'P@1 b':>6}{'f':>6}  {'second':>8}{'b':>6}{'f':>6}  {'chance':>6}"
    lines = [f"{'task':<34}{columns}" + ("  gain in P@1, binary" if before else "")]
    for name, result in results.items():
        second = HIT5 if result.task.one_answer else AVERAGE_P20
        cells = [
            f"{name:<34}{len(result.queries):>8}{len(result.task.corpus):>8}",
            _percent(result, P1),
            f"{SHOWN[second]:>8}" + _percent(result, second),
            f"{100 * result.chance[P1]:6.1f}",
        ]
        if before and name in before:
            first, other = compare(before[name], result), compare(before[name], result, second)
            cells.append(f"{_gain(first)}   {SHOWN[second]} {_gain(other)}")
        lines.append("  ".join(cells))
    return "\n".join(lines)


def _percent(result: Result, measure: str) -> str:
    return "".join(f"{100 * result.values(way, measure).mean():6.1f}" for way in WAYS)


def _gain(difference: Difference) -> str:
    mean, low, high = (100 * part for part in difference)
    return f"{mean:+5.1f} ({low:+.1f} to {high:+.1f}){'*' if difference.sure else ' '}"
