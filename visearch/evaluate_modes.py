"""How well Flashlight, Lens and Shop-the-Look answer, end to end: detection, search, folding, cut.

A question is an object of a query picture with the labels of its right answers. It is put to the mode three ways:

- `detected`: as a user has it. Lens takes the box it finds. For Flashlight and Shop-the-Look, the detected box that
  overlaps the true one most is the answer to the question, and a true box that none overlaps by half is a miss.
- `whole`: without detection, the whole picture.
- `true box`: with the box of the manifest.

A manifest without boxes of objects (a room with a list of the products in it) is put to Shop-the-Look per detected box.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from visearch import images, modes
from visearch.detector import Detector, overlaps
from visearch.errors import BoxError, ImageError, UsageError, VisearchError
from visearch.evaluate import Progress, Query, Unreadable, labels_of, query_of
from visearch.files import read_limited
from visearch.filters import Exists, Filter
from visearch.images import WHOLE, Box, Picture
from visearch.machine import usable_cores
from visearch.manifest import Row, is_manifest, read_manifest
from visearch.metrics import F64, Bool, average_precision_at_k, bootstrap_interval, precision_at_k, recall_at_k
from visearch.search import PRODUCT

if TYPE_CHECKING:
    from rich.console import Group

    from visearch.collection import Collection
    from visearch.results import Match

MODES = ("flashlight", "lens", "shop")
DEPTH = 20  # matches of a question that are looked at
FOUND = 0.5  # IoU from which a detected box is the true one
SMALLEST = 0.01  # part of the picture that an object of a scene has to show to be asked for
MEASURES: dict[str, tuple[str, Callable[[Bool], F64]]] = {
    "precision_at_1": ("Precision@1", lambda hits: precision_at_k(hits, 1)),
    "recall_at_5": ("Recall@5", lambda hits: recall_at_k(hits, 5)),
    "average_precision_at_20": ("Average P@20", lambda hits: average_precision_at_k(hits, DEPTH)),
}


@dataclass(frozen=True)
class Question:
    """What is asked of a picture: `box` of the object, None where the manifest has none."""

    labels: frozenset[str]
    category: str
    box: Box | None


@dataclass(frozen=True)
class _Asked:
    """A query picture with its questions."""

    query: Query
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class ModeEvaluation:
    """What was measured. `hits` is, for each way of asking, bool [questions, DEPTH]: whether the match at each place is
    right; `categories` is the category of each question, "" where it has none; `found` is the share of true boxes that
    the detector found, None without it."""

    mode: str
    pictures: int
    left_out: int
    unreadable: tuple[Unreadable, ...]
    categories: Mapping[str, tuple[str, ...]]
    hits: Mapping[str, Bool]
    found: float | None
    setup: Mapping[str, Any]

    @cached_property
    def figures(self) -> dict[str, dict[str, tuple[float, float, float]]]:
        """Way -> measure -> mean and its 95% bootstrap interval, fractions."""
        return {way: _figures(hits) for way, hits in self.hits.items()}

    @cached_property
    def by_category(self) -> dict[str, dict[str, dict[str, tuple[float, float, float]]]]:
        """Category -> way -> measure -> mean and interval."""
        names = sorted({name for categories in self.categories.values() for name in categories if name})
        parts: dict[str, dict[str, dict[str, tuple[float, float, float]]]] = {}
        for name in names:
            chosen = {way: np.array([each == name for each in self.categories[way]]) for way in self.hits}
            parts[name] = {way: _figures(hits[chosen[way]]) for way, hits in self.hits.items() if chosen[way].any()}
        return parts

    def to_json(self) -> dict[str, Any]:
        """As `visearch evaluate --mode --json` prints it; measures are fractions: mean, low, high."""
        return {
            "mode": self.mode,
            "pictures": self.pictures,
            "questions": {way: len(hits) for way, hits in self.hits.items()},
            "left_out": self.left_out,
            "unreadable": len(self.unreadable),
            "boxes_found": self.found,
            "ways": self.figures,
            "by_category": self.by_category,
            "setup": dict(self.setup),
        }

    def table(self) -> Group:
        """The figures in percent, for a terminal."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Group
        from rich.table import Table

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name in ("percent", *self.hits):
            table.add_column(name, justify="left" if name == "percent" else "right", no_wrap=True)
        for measure, (title, _) in MEASURES.items():
            table.add_row(title, *(_cell(self.figures[way][measure]) for way in self.hits))
        parts: list[Any] = [self.headline(), table]
        if self.by_category:
            way = next(iter(self.hits))
            shown = ("precision_at_1", "recall_at_5")
            categories = Table(box=SIMPLE_HEAD, pad_edge=False)
            for name in (way, "questions", *(MEASURES[measure][0] for measure in shown)):
                categories.add_column(name, justify="left" if name == way else "right", no_wrap=True)
            for category, ways in self.by_category.items():
                count = sum(each == category for each in self.categories[way])
                if count:
                    categories.add_row(category, str(count), *(_cell(ways[way][measure]) for measure in shown))
            parts.append(categories)
        return Group(*parts, "in brackets: 95% intervals (bootstrap over the questions)")

    def headline(self) -> str:
        """What was measured, in one line."""
        most = max(len(hits) for hits in self.hits.values())
        parts = [f"{self.mode}: {most} questions of {self.pictures} pictures against {self.setup['items']} items"]
        if self.found is not None:
            parts.append(f"{100 * self.found:.1f}% of the true boxes detected")
        if self.left_out:
            parts.append(f"{self.left_out} left out (nothing relevant to them)")
        if self.unreadable:
            parts.append(f"{len(self.unreadable)} unreadable")
        return "; ".join(parts)


def _figures(hits: Bool) -> dict[str, tuple[float, float, float]]:
    values = {name: measure(hits) for name, (_, measure) in MEASURES.items()}
    return {name: (float(each.mean()), *bootstrap_interval(each)) for name, each in values.items()}


def _cell(figure: tuple[float, float, float]) -> str:
    mean, low, high = (100 * value for value in figure)
    return f"{mean:.1f} ({low:.1f}-{high:.1f})"


def evaluate_mode(
    collection: Collection,
    queries: Path,
    mode: str,
    *,
    detector: Detector | None,
    label: str = "label",
    filter: Filter | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> ModeEvaluation:
    """Put every question of a manifest to a mode of `collection` and measure the answers.

    Args:
        collection: its items carry the metadata key `label`.
        queries: CSV, JSONL or Parquet with `path` (relative to the manifest) and either `label` and optionally `box`,
            or `objects`: a list of {`label`, `box`, and optionally `category`, `area`}, as the home store's rooms have.
            Objects that show less than 1% of the picture are not asked for.
        mode: flashlight, lens or shop.
        detector: finds the objects; without it nothing is asked the way `detected`.
        label: the key that says what is relevant to what, in the manifest (or its objects) and in the metadata.
        filter: only items that it lets through are searched and counted as relevant.
        progress: called with a stage ("ask"), how many pictures are done, and of how many.

    A picture never finds itself, known by its path or its bytes. Where nothing else is relevant to a box of it, that is
    asked to find what it was cut from; the whole picture is not.

    Raises:
        UsageError: the manifest cannot be read, or it or the searched items do not carry `label`.
        VisearchError: not one question can be measured.
    """
    if not is_manifest(queries):
        raise UsageError(f"{queries}: queries come in a manifest: .csv, .jsonl or .parquet with `path` and `{label}`")
    rows = [_asked(row, label) for row in read_manifest(queries)]
    unreadable = [row for row in rows if isinstance(row, Unreadable)]
    searched = (filter or Filter(())).and_(PRODUCT, Exists()) if mode == "shop" else filter
    answers = _Answers(collection, label, searched)
    if not answers.items and mode == "shop":
        raise UsageError("shop: no searched item carries `product`, which says that it is for sale")
    if not answers.labelled:
        raise UsageError(f"no searched item carries `{label}`; index with a manifest that has it, or name another key")
    pictures, left_out = [], 0
    for row in rows:
        if isinstance(row, _Asked):
            kept = tuple(question for question in row.questions if answers.has_any(question))
            left_out += len(row.questions) - len(kept)
            if kept:
                pictures.append(_Asked(row.query, kept))
    outcomes: list[Mapping[str, Sequence[_Outcome]]] = []
    done = 0
    with ThreadPoolExecutor(usable_cores()) as pool:
        asking = _Asking(collection, mode, detector, filter, answers)
        try:
            for answered in pool.map(asking.ask, pictures):
                if isinstance(answered, Unreadable):
                    unreadable.append(answered)
                else:
                    left_out += answered.left_out
                    outcomes += [answered.ways] if any(answered.ways.values()) else []
                done += 1
                progress("ask", done, len(pictures))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    ways = {way for outcome in outcomes for way, answered in outcome.items() if answered}
    if not ways:
        first = f" (the first, row {unreadable[0].number}: {unreadable[0].message})" if unreadable else ""
        raise VisearchError(
            f"{queries}: no question can be measured: to {left_out} no item is relevant by `{label}`,"
            f" {len(unreadable)} rows cannot be used{first}"
        )
    flat = {
        way: [each for outcome in outcomes for each in outcome.get(way, [])]
        for way in ("detected", "whole", "true box")
        if way in ways
    }
    boxed = [each.found for each in flat.get("detected", []) if each.found is not None]
    return ModeEvaluation(
        mode=mode,
        pictures=len(outcomes),
        left_out=left_out,
        unreadable=tuple(sorted(unreadable, key=lambda row: row.number)),
        categories={way: tuple(each.category for each in answered) for way, answered in flat.items()},
        hits={way: np.array([each.hits for each in answered], np.bool_) for way, answered in flat.items()},
        found=sum(boxed) / len(boxed) if boxed else None,
        setup={
            "queries": str(queries),
            "label": label,
            "filtered": filter is not None,
            "items": answers.items,
            "detector": detector.name if detector else None,
            "model": f"{collection.generation.model} {collection.generation.version}",
        },
    )


# Reading questions


def _asked(row: Row, label: str) -> _Asked | Unreadable:
    query = query_of(row, label)
    if isinstance(query, Unreadable):
        return query
    given = row.metadata.get("objects")
    category = str(row.metadata.get("category") or "")
    if given is None:
        box = query.box if "box" in row.metadata else None
        return _Asked(query, (Question(query.labels, category, box),))
    try:
        return _Asked(query, tuple(_questions(given, label)))
    except (ValueError, TypeError, AttributeError, BoxError) as error:
        return Unreadable(row.number, row.path, "objects", f"`objects` is not a list of objects with a box ({error})")


def _questions(given: object, label: str) -> Iterator[Question]:
    """The objects of a scene that show enough of themselves. A manifest's nested objects come as JSON text."""
    objects = json.loads(given) if isinstance(given, str) else given
    if not isinstance(objects, list):
        raise ValueError(f"it is {objects!r:.40}")
    for each in objects:
        values = json.loads(each) if isinstance(each, str) else each
        box = images.validate_box(values.get("box"))
        if float(values.get("area", (box[2] - box[0]) * (box[3] - box[1]))) >= SMALLEST:
            yield Question(labels_of(values.get(label)), str(values.get("category") or ""), box)


class _Answers:
    """Which items are right answers."""

    def __init__(self, collection: Collection, label: str, filter: Filter | None) -> None:
        self._known: dict[str | bytes, set[int]] = {}  # by source and by SHA-256 of the bytes
        self._ids: dict[str, set[int]] = {}
        self.items = 0
        for item in collection.items():
            if filter is None or filter.matches(item.metadata):
                self.items += 1
                for key in (item.source, item.content):
                    self._known.setdefault(key, set()).add(item.item_id)
                for name in labels_of(item.metadata.get(label)):
                    self._ids.setdefault(name, set()).add(item.item_id)

    @property
    def labelled(self) -> bool:
        """Whether any item says what it is relevant to."""
        return bool(self._ids)

    def has_any(self, question: Question) -> bool:
        return any(self._ids.get(name) for name in question.labels)

    def own(self, source: str, content: bytes) -> list[int]:
        """The items that are a picture itself, that of its very file first."""
        by_source = self._known.get(source, set())
        return [*by_source, *(self._known.get(content, set()) - by_source)]

    def judge(self, question: Question, matches: Iterable[Match]) -> tuple[bool, ...]:
        """Whether each of the first DEPTH matches is right; False past the last."""
        right = self.right(question)
        hits = [match.item in right for match in islice(matches, DEPTH)]
        return (*hits, *[False] * (DEPTH - len(hits)))

    def right(self, question: Question) -> set[int]:
        """The right answers to a question; the picture itself may be among them."""
        return set[int]().union(*(self._ids.get(name, set()) for name in question.labels))


# Asking


@dataclass(frozen=True)
class _Outcome:
    category: str
    hits: tuple[bool, ...]
    found: bool | None = None  # whether the true box was detected


@dataclass(frozen=True)
class _Answered:
    """The outcomes of a picture's questions by way, and how many were not asked: only itself is relevant to them."""

    ways: Mapping[str, Sequence[_Outcome]]
    left_out: int


@dataclass(frozen=True)
class _Asking:
    """Puts the questions of a picture to a mode, each in the three ways."""

    collection: Collection
    mode: str
    detector: Detector | None
    filter: Filter | None
    answers: _Answers
    own: frozenset[int] = frozenset()  # items that are the picture itself

    def ask(self, asked: _Asked) -> _Answered | Unreadable:
        """Put all questions of a picture."""
        query = asked.query
        try:
            data = read_limited(query.path)
            picture = images.decode(data)
            own = self.answers.own(query.source, hashlib.sha256(data).digest())
            alone = [each for each in asked.questions if self.answers.right(each) <= set(own)]
            others = [each for each in asked.questions if each not in alone]
            cut = [each for each in alone if each.box not in (None, WHOLE)]
            ways = self._ways(others, picture, own)
            for way, outcomes in self._ways(cut, picture, []).items():
                if way != "whole":
                    ways[way] = [*ways.get(way, []), *outcomes]
            return _Answered(ways, len(alone) - len(cut))
        except ImageError as error:
            return Unreadable(query.number, query.path, error.reason, error.message)
        except BoxError as error:
            return Unreadable(query.number, query.path, "box", error.message)
        except UsageError as error:  # the item that it is was removed meanwhile
            return Unreadable(query.number, query.path, "removed", error.message)

    def _ways(self, questions: Sequence[Question], picture: Picture, own: Sequence[int]) -> dict[str, list[_Outcome]]:
        """The outcomes by way; matches that are items of `own` are left out."""
        if not questions:
            return {}
        asking = replace(self, own=frozenset(own))
        # As an item it is left out before anything is folded into it.
        subject: dict[str, Any] = {"item": own[0]} if own else {"picture": picture}
        subject |= {"limit": DEPTH + len(own), "filter": self.filter}
        whole = self._search(subject, [WHOLE])[0]
        outcomes = {"whole": [asking._outcome(each, whole) for each in questions]}
        boxed = [each for each in questions if each.box is not None]
        given = self._search(subject, [each.box for each in boxed if each.box is not None])
        outcomes["true box"] = [asking._outcome(*pair) for pair in zip(boxed, given, strict=True)]
        if self.detector is not None:
            outcomes["detected"] = asking._detected(questions, picture, subject, self.detector)
        return outcomes

    def _detected(
        self, questions: Sequence[Question], picture: Picture, subject: Mapping[str, Any], detector: Detector
    ) -> list[_Outcome]:
        if self.mode == "lens":
            results = modes.lens(self.collection, detector=detector, **subject)
            return [
                self._outcome(each, results, None if each.box is None else _best([results.box], each.box) == 0)
                for each in questions
            ]
        answers: dict[int, Sequence[Match]]
        if self.mode == "shop":
            looks = modes.shop(self.collection, detector=detector, **subject).objects
            if all(each.box is None for each in questions):
                return [self._outcome(questions[0], look.results) for look in looks]
            places = [_best([look.object.box for look in looks], each.box) for each in questions]
            answers = {place: looks[place].results for place in places if place is not None}
        else:
            boxes = [each.box for each in detector.detect(picture)]
            places = [_best(boxes, each.box) for each in questions]
            chosen = sorted({place for place in places if place is not None})
            answers = dict(zip(chosen, self._search(subject, [boxes[place] for place in chosen]), strict=True))
        return [
            self._outcome(each, () if place is None else answers[place], place is not None)
            for each, place in zip(questions, places, strict=True)
            if each.box is not None
        ]

    def _search(self, subject: Mapping[str, Any], boxes: Sequence[Box]) -> list[Sequence[Match]]:
        """What the mode answers to each of these boxes."""
        if self.mode == "shop":
            return [look.results for look in modes.shop(self.collection, boxes=boxes, **subject).objects]
        ask = modes.lens if self.mode == "lens" else modes.flashlight
        return [ask(self.collection, box=box, **subject) for box in boxes]

    def _outcome(self, question: Question, matches: Sequence[Match], found: bool | None = None) -> _Outcome:
        others = (match for match in matches if match.item not in self.own)
        return _Outcome(question.category, self.answers.judge(question, others), found)


def _best(boxes: Sequence[Box], box: Box | None) -> int | None:
    """The place of the box that overlaps this one most, None where none does by half."""
    if not boxes or box is None:
        return None
    shared = overlaps(np.array(boxes), np.array([box]))[:, 0]
    place = int(shared.argmax())
    return place if shared[place] >= FOUND else None
