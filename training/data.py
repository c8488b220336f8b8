"""The data sets of a recipe: which pictures there are, what each is labelled, and what had to be left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from training import formats, layouts, recipe
from training.rows import Row, spelled, values_of, wanted
from training.tables import as_text, lines_of
from visearch.errors import ImageError, UsageError
from visearch.files import read_limited
from visearch.formats import read_header
from visearch.images import WHOLE, Box

if TYPE_CHECKING:
    from rich.console import RenderableType

HEAD_BYTES = 16_384  # enough for the header of nearly every JPEG
READING_THREADS = 16  # waiting for the disk, not computing
NAMED = 3  # pictures and classes that a message names


@dataclass(frozen=True)
class Sample:
    """One training picture, or a box of one.

    Attributes:
        path: of the picture.
        labels: head -> class name. Empty: unlabelled.
        box: the part that is shown.
        domain: "web", "camera", "catalogue", ...: for reports only.
    """

    path: Path
    labels: Mapping[str, str]
    box: Box = WHOLE
    domain: str = ""


@dataclass(frozen=True)
class DataSet:
    """The usable pictures of one `[[data]]`. `heads` is what they feed; () is unlabelled."""

    name: str
    samples: tuple[Sample, ...]
    heads: tuple[str, ...]


@dataclass(frozen=True)
class Skipped:
    """A picture, or a row, that was left out, and why. `path` is that of the picture, or of the file with the row."""

    path: Path
    reason: str
    data: str = ""


@dataclass(frozen=True)
class TrainingData:
    """All that a run trains on.

    Attributes:
        sets: in the order of the recipe.
        classes: head -> class names, sorted; a class id is a place in it. Sets that feed the same head share it.
        skipped: what could not be used.
    """

    sets: tuple[DataSet, ...]
    classes: Mapping[str, tuple[str, ...]]
    skipped: tuple[Skipped, ...]


def read(recipe: recipe.Recipe) -> TrainingData:
    """Read all data sets of a recipe. The header of every picture is looked at; those without a sound one are skipped.

    Raises:
        UsageError: a data set is not of its format, has no usable pictures, a class without any, or a class that must
            not be trained on; one line that names the data set.
    """
    sets, skipped = [], []
    for source in recipe.data:
        chosen, left_out = _choose(source)
        unusable = unusable_pictures(sample.path for sample in chosen)
        usable = tuple(sample for sample in chosen if sample.path not in unusable)
        left_out += [Skipped(path, reason, source.name) for path, reason in unusable.items()]
        _check_classes(source, chosen, usable, left_out)
        sets.append(DataSet(source.name, usable, tuple(source.heads)))
        skipped += left_out
    classes = {
        head: tuple(sorted({sample.labels[head] for each in sets for sample in each.samples if head in sample.labels}))
        for head in dict.fromkeys(head for each in sets for head in each.heads)
    }
    for validation in recipe.validation:
        _check_unseen_by(validation, classes)
    return TrainingData(tuple(sets), classes, tuple(skipped))


def _choose(source: recipe.Data) -> tuple[list[Sample], list[Skipped]]:
    """What the recipe asks for, as samples; and the rows that are of no use."""
    place = f"data.{source.name}"
    unseen = frozenset(name for file in source.unseen for name in spelled(lines_of(file)))
    format = source.format or formats.guess(source.path)
    where = dict(source.where)
    if format in layouts.SIGNS:
        where.setdefault("split", ("train",))
    used = {*where, *source.exclude, *source.heads.values()}
    known: set[str] = set()
    chosen, left_out = [], []
    for row in formats.rows(source.path, format):
        known |= row.columns.keys()
        if row.path is None:
            if row.columns.keys().isdisjoint(where) or wanted(row.columns, where, source.exclude):
                left_out.append(Skipped(source.path, row.problem, source.name))
            continue
        if not wanted(row.columns, where, source.exclude) or _area(row) < source.min_area:
            continue
        labels = {head: label for head, key in source.heads.items() if (label := _label(row, key, source.name))}
        if source.heads and not labels:
            left_out.append(Skipped(row.path, f"no {' or '.join(source.heads.values())}", source.name))
            continue
        if forbidden := unseen.intersection(labels.values()):
            raise UsageError(f"{place}: class {min(forbidden)} is to stay unseen, but {row.path} is of it; exclude it")
        chosen.append(Sample(row.path, labels, row.box, _text(row, "domain")))
    if not chosen:
        if missing := sorted(used - known):
            raise UsageError(f"{place}: {source.path} has no column {missing[0]}; there are {', '.join(sorted(known))}")
        if left_out:
            first = left_out[0]
            about = "" if first.path == source.path else f"{first.path}: "
            raise UsageError(f"{place}: no row of {source.path} can be used; the first: {about}{first.reason}")
        raise UsageError(f"{place}: {source.path} has no pictures{' of those asked for' if known else ''}")
    if missing := sorted({*source.heads.values(), *source.exclude} - known):
        raise UsageError(f"{place}: {source.path} has no column {missing[0]}; there are {', '.join(sorted(known))}")
    for head, key in source.heads.items():
        if not any(head in sample.labels for sample in chosen):
            raise UsageError(f"{place}: none of the pictures asked for has a {key}, which head {head} learns")
    return chosen, left_out


def _text(row: Row, column: str) -> str:
    """What a column holds as a text; "" where the row has none."""
    return as_text(row.columns.get(column, ""))


def _label(row: Row, column: str, data: str) -> str:
    """The class that a column names; "" where the row has none.

    Where the picture is one, its set is in the name: others may have such a file.
    """
    names = sorted(values_of(row.columns.get(column)) - {""})
    if len(names) > 1:
        raise UsageError(f"{row.path}: has several values of {column} ({_some(names)}); a picture is of one class")
    text = names[0] if names else ""
    return f"{data}/{text}" if text and column == formats.PICTURE else text


def _area(row: Row) -> float:
    """Share of the picture that the object covers: as the row says, else that of its box."""
    area = row.columns.get("area")
    if isinstance(area, int | float):
        return area
    x0, y0, x1, y1 = row.box
    return (x1 - x0) * (y1 - y0)


def _check_classes(
    source: recipe.Data, chosen: Sequence[Sample], usable: Sequence[Sample], left_out: Sequence[Skipped]
) -> None:
    """Pictures, and some of each class, must be left after those that cannot be read are out.

    Not of a class that is one picture: it is only left out.
    """
    if not usable:
        first = next(each for each in left_out if each.path == chosen[0].path)
        raise UsageError(
            f"data.{source.name}: no picture can be used of {len(chosen)}; the first is {first.path}: {first.reason}"
        )
    for head, column in source.heads.items():
        if column == formats.PICTURE:
            continue
        left = {sample.labels.get(head) for sample in usable}
        lost = {sample.labels[head] for sample in chosen if head in sample.labels} - left
        if lost:
            reasons = {each.path: each.reason for each in left_out}
            path = next(sample.path for sample in chosen if sample.labels.get(head) == min(lost))
            more = f"; {len(lost) - 1} more classes are empty" if len(lost) > 1 else ""
            raise UsageError(
                f"data.{source.name}: class {min(lost)} of {head} is empty: no picture of it can be used"
                f" ({path}: {reasons[path]}){more}"
            )


def _check_unseen_by(validation: recipe.Validation, classes: Mapping[str, Sequence[str]]) -> None:
    if not validation.unseen_by:
        return
    trained = frozenset(classes.get(validation.unseen_by, ()))
    asked = [row.columns for row in formats.rows(validation.queries)]
    asked = [each for each in asked if wanted(each, validation.where, validation.exclude)]
    if both := sorted({label for each in asked for label in values_of(each.get(validation.label))} & trained):
        raise UsageError(
            f"validation.{validation.name}: its classes are to be unseen by {validation.unseen_by}, "
            f"which is trained on {_some(both)}"
        )


def unusable_pictures(paths: Iterable[Path]) -> dict[Path, str]:
    """The files that are no picture by their headers, and why, in order. Pixels are not decoded."""
    unique = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(READING_THREADS) as pool:
        reasons = pool.map(_header_problem, unique, chunksize=64)
        return {path: reason for path, reason in zip(unique, reasons, strict=True) if reason}


def _header_problem(path: Path) -> str:
    """Why a file cannot be a picture; "" where it seems to be one."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        try:
            read_header(head)
        except ImageError as error:
            if error.reason != "corrupt" or len(head) < HEAD_BYTES:
                raise
            read_header(read_limited(path))  # a long header, or a format whose end says whether it is whole
    except ImageError as error:
        return f"{error.reason}: {error.message}"
    except OSError as error:
        return f"unreadable: {error.strerror or error}"
    return ""


@dataclass(frozen=True)
class Benchmark:
    """A metric-learning benchmark. `labels` of each sample has the one key `class`.

    Where `query` is `gallery` (the same object) each picture searches all others.
    """

    train: tuple[Sample, ...]
    query: tuple[Sample, ...]
    gallery: tuple[Sample, ...]


def benchmark(path: Path, format: str = "", label: str = "class") -> Benchmark:
    """The standard protocol of a published benchmark, or the splits of a manifest.

    CUB-200-2011, Cars-196 and Stanford Online Products test on the classes that are not trained on, each picture
    against all others; In-Shop has queries and a gallery. A manifest's `split` is train, query and gallery, or train
    and anything else (val, test). Pictures are not opened.

    Raises:
        UsageError: not of the format, a split without pictures, or a class that is both trained and tested on.
    """
    splits: dict[str, list[Sample]] = {"train": [], "query": [], "gallery": [], "test": []}
    for row in formats.rows(path, format):
        name = _label(row, label, path.name)
        if row.path is None or not name:
            continue
        split = _text(row, "split")
        sample = Sample(row.path, {"class": name}, row.box, _text(row, "domain"))
        splits[split if split in splits else "test"].append(sample)
    train, query, gallery, test = (tuple(each) for each in splits.values())
    if not query and not gallery:
        query = gallery = test
    for name, samples in (("train", train), ("query", query), ("gallery", gallery)):
        if not samples:
            raise UsageError(f"{path}: no {name} pictures; a benchmark has a `split` that parts train from test")
    if both := sorted({each.labels["class"] for each in train} & {each.labels["class"] for each in query}):
        raise UsageError(f"{path}: both trained and tested on: {_some(both)}; a benchmark's test classes are unseen")
    return Benchmark(train, query, gallery)


def report(data: TrainingData) -> RenderableType:
    """What was read, as tables for a terminal: pictures, classes, the smallest class, domains, what was left out."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("data set", "head", "domains", box=SIMPLE_HEAD, pad_edge=False)
    for name in ("pictures", "classes", "smallest class", "skipped"):
        table.add_column(name, justify="right")
    skipped = Counter(each.data for each in data.skipped)
    for each in data.sets:
        domains = Counter(sample.domain for sample in each.samples)
        told = ", ".join(f"{name or 'none'} {count}" for name, count in domains.most_common(NAMED))
        for number, head in enumerate(each.heads or ("",)):
            sizes = Counter(sample.labels[head] for sample in each.samples if head in sample.labels)
            pictures = sizes.total() if head else len(each.samples)
            row = [f"{pictures}", f"{len(sizes)}", f"{min(sizes.values())}"] if head else [f"{pictures}", "-", "-"]
            first = number == 0
            table.add_row(
                each.name if first else "",
                head or "unlabelled",
                told if first else "",
                *row,
                f"{skipped[each.name]}" if first else "",
            )
    heads = Table("head", "classes", "pictures", "fed by", box=SIMPLE_HEAD, pad_edge=False)
    for head, classes in data.classes.items():
        fed = [each for each in data.sets if head in each.heads]
        pictures = sum(head in sample.labels for each in fed for sample in each.samples)
        heads.add_row(head, f"{len(classes)}", f"{pictures}", ", ".join(each.name for each in fed))
    lines = [Text(f"skipped {each.path}: {each.reason}") for each in islice(data.skipped, NAMED)]
    if len(data.skipped) > NAMED:
        lines.append(Text(f"and {len(data.skipped) - NAMED} more"))
    return Group(table, heads, *lines)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
