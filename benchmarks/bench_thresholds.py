"""What the constants of the modes are chosen by: each measured over a range of values, with the model that ships.

    .venv/bin/python benchmarks/bench_thresholds.py --out out/thresholds [--model A.onnx] [--detector B.onnx]

Pictures: `data/homestore/demo`, and real ones of --shared; none of `out/bench`, which is for final figures. What a
model and a detector make of them lies in --out and is not made again. Prints Markdown; the value in use is marked with
a star, intervals are 95% (bootstrap over pictures or questions). docs/modes.md says what was chosen by it, and why.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from embedded import CHANGES, LEAST, Bool, Corpus, Labels, Models, Photos, Region, Rooms, Sets, salient_objects
from numpy.typing import NDArray

from visearch import detector, embedder, models, modes, window
from visearch.codes import F32, F64
from visearch.detector import Detection, overlaps
from visearch.evaluate_modes import FOUND
from visearch.images import Box
from visearch.metrics import bootstrap_interval, paired_difference
from visearch.window import Window
from web import views

RADII = (0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2)
CUTS = (0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8)
SCORES = (LEAST, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
BONUSES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 2.0)  # the last puts all of the category first
WEIGHTS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 1000.0)  # the last is the object alone
SCALES = (1, 5, 20, 60)
SHARES = (0.04, 0.08, 0.1, 0.12, 0.16, 0.2, 0.24, 0.28, 0.3, 0.32, 0.34, 0.36, 0.4)
SHOWN = 50  # matches that the cut-off is judged by
FIRST = 20  # matches that the words for closeness are judged by
COPIED = 60  # pictures of each set that are copied


# Tables


def _rate(values: NDArray[Any] | Sequence[float]) -> str:
    """Percent, and the interval where there is one."""
    each = np.asarray(values, np.float64)
    if not len(each):
        return "-"
    low, high = bootstrap_interval(each, resamples=500)
    return f"{100 * each.mean():.1f} ({100 * low:.1f}-{100 * high:.1f})"


def _gain(before: F64, after: F64) -> str:
    """Percent after, and what was gained, with its interval."""
    gain, low, high = (100 * value for value in paired_difference(before, after))
    return f"{100 * after.mean():.1f} ({gain:+.1f}: {low:+.1f} to {high:+.1f})"


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"#### {title}", "", f"| {' | '.join(columns)} |", "|---|" + "---:|" * (len(columns) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows), ""])


def _value(value: float, used: float) -> str:
    return f"{value:g} *" if value == used else f"{value:g}"


# Near-duplicates


def near_duplicates(made: Models, sets: Sets) -> str:
    """How many copies lie within a radius of their originals, and how many pictures have a different one within it."""
    sources = {
        "photographs": sets.natural,
        "grocery photos": sets.groceries,
        "product pictures": sets.furniture,
        "home store": sets.products,
    }
    paths = [path for each in sources.values() for path in each.some(COPIED).paths]
    originals = made.embed("originals", [Region(path) for path in paths])
    shares: dict[str, F64] = {}
    for change in CHANGES:
        copies = made.embed(f"copies {len(shares)}", [Region(path, change=change) for path in paths])
        shares[change] = np.diag(Corpus(originals).shares(copies))
    copied = _table(
        f"DUPLICATE_SHARE: copies of {len(paths)} pictures within the radius of their originals, percent",
        ("radius", *shares),
        ([_value(r, modes.DUPLICATE_SHARE), *(_rate(each <= r) for each in shares.values())] for r in RADII),
    )
    sources |= {"product icons": sets.icons, "web pictures": sets.web, "clothes": sets.clothes}
    nearest: dict[str, tuple[F64, F64]] = {}
    for name, pictures in sources.items():
        between = _between(made.embed(name, pictures.regions))
        things = sets.groups if pictures is sets.products else pictures.labels
        others = np.where(things[:, None] != things, between, 1)
        nearest[f"{name} ({len(between)})"] = between.min(axis=1), others.min(axis=1)
    return (
        copied
        + "\n"
        + _table(
            "DUPLICATE_SHARE: pictures with another one within it / with one of another class or group, percent",
            ("radius", *nearest),
            (
                [
                    _value(r, modes.DUPLICATE_SHARE),
                    *(" / ".join(_rate(each <= r) for each in two) for two in nearest.values()),
                ]
                for r in RADII
            ),
        )
    )


def _between(embeddings: F32) -> F64:
    """Shares of bits [n, n] between pictures; 1 between a picture and itself."""
    shares = Corpus(embeddings).shares(embeddings)
    np.fill_diagonal(shares, 1)
    return shares


# The cut-off


def cut_off(made: Models, sets: Sets) -> str:
    """F1, precision and recall of what lies above the cut, in the first matches; each set alone, and all together."""
    grocery = made.embed("grocery photos", sets.groceries.regions)
    web, products = made.embed("web pictures", sets.web.regions), made.embed("home store", sets.products.regions)
    photos, icons = made.embed("photos", sets.photos.regions), made.embed("product icons", sets.icons.regions)
    everything = [grocery, web, products, made.embed("photographs", sets.natural.regions)]
    everything.append(made.embed("product pictures", sets.furniture.regions))
    together = Corpus(np.concatenate(everything))
    start = np.cumsum([0, *map(len, everything)])

    def among_all(labels: Labels, place: int) -> Labels:
        found = np.full(start[-1], "", labels.dtype)
        found[start[place] : start[place + 1]] = labels
        return found

    unseen = np.isin(sets.groceries.labels, list(sets.unseen))
    questions: dict[str, list[tuple[Window, Bool]]] = {}
    for name, chosen in (("seen", ~unseen), ("unseen", unseen)):
        some, labels = np.flatnonzero(chosen), sets.groceries.labels
        questions[f"grocery, {name}"] = _leave_one_out(Corpus(grocery), labels, some)
        questions[f"grocery, {name}, among all"] = _leave_one_out(together, among_all(labels, 0), some)
        icon = [(Corpus(icons).window(grocery[row]), sets.icons.labels == labels[row]) for row in some]
        questions[f"grocery to icon, {name}"] = icon
    questions["web"] = _leave_one_out(Corpus(web), sets.web.labels, np.arange(len(web)))
    questions["web, among all"] = _leave_one_out(
        together, among_all(sets.web.labels, 1), start[1] + np.arange(len(web))
    )
    for name, wanted, right in (
        ("category", sets.photos.kinds, sets.products.kinds),
        ("group", sets.groups[[list(sets.products.labels).index(p) for p in sets.photos.labels]], sets.groups),
    ):
        asked = list(zip(photos, wanted, strict=True))
        questions[f"home, {name}"] = [(Corpus(products).window(q), right == label) for q, label in asked]
        among = among_all(right, 2)
        questions[f"home, {name}, among all"] = [(together.window(q), among == label) for q, label in asked]
    measured = {
        f"{name} ({len(asked)})": [np.array([_shown(each, right, cut) for each, right in asked]) for cut in CUTS]
        for name, asked in questions.items()
    }
    rows = []
    for name, cells in measured.items():
        means = (100 * each.mean(axis=0) for each in cells)
        shown = (f"{_rate(each[:, 2])}, {mean[0]:.0f}/{mean[1]:.0f}" for each, mean in zip(cells, means, strict=True))
        rows.append([name, *shown])
    mean_of = (np.mean([each[:, 2].mean() for each in cells]) for cells in zip(*measured.values(), strict=True))
    rows.append(["mean of the questions", *(f"{100 * mean:.1f}" for mean in mean_of)])
    columns = ("question", *(_value(cut, window.CUT) for cut in CUTS))
    return _table(f"CUT: F1, precision/recall of the first {SHOWN} matches above it, percent", columns, rows)


def _leave_one_out(corpus: Corpus, labels: Labels, rows: NDArray[Any]) -> list[tuple[Window, Bool]]:
    everyone = np.arange(len(labels))
    found = []
    for row in rows:
        right = (labels == labels[row]) & (everyone != row)
        found.append((corpus.window(corpus.embeddings[row], everyone != row), right))
    return found


def _shown(found: Window, right: Bool, cut: float) -> tuple[float, float, float]:
    """Precision, recall and F1 of what is above the cut."""
    shown = right[found.item_ids[window.relevant(found.scores, cut)]][:SHOWN]
    precision, recall = shown.mean(), shown.sum() / min(right.sum(), SHOWN)
    return precision, recall, 2 * shown.sum() / (len(shown) + min(right.sum(), SHOWN))


# Shop-the-Look


def _hits(places: NDArray[Any]) -> list[str]:
    """Precision@1 and Recall@5."""
    return [_rate(places == 0), _rate((places >= 0) & (places < 5))]


def shop(made: Models, sets: Sets) -> str:
    """Exact products of the rooms' objects: the score from which boxes are searched, and the bonus of a category."""
    rooms = Rooms(made, sets)
    count = sum(map(len, rooms.truths))
    rows = []
    for least in SCORES:
        boxes, right = rooms.shown(least)
        places, _ = rooms.places(least, modes.CATEGORY_BONUS)
        cells = [f"{np.mean(boxes):.1f}", _rate(right), _rate(places >= 0), *_hits(places)]
        rows.append([_value(least, modes.SHOP_SCORE), *cells])
    rows.append(["true boxes", "", "", "", *_hits(rooms.true_places(0, lambda category: None))])
    columns = ("score", "boxes a room", "of them for sale", "objects found", "Precision@1", "Recall@5")
    text = _table(f"SHOP_SCORE: {made.detector.name}, {count} objects of {len(rooms.truths)} rooms", columns, rows)
    names = sorted(set(rooms.categories))
    wrong = {name: names[(place + 7) % len(names)] for place, name in enumerate(names)}
    rows = []
    for bonus in BONUSES:
        places, known = rooms.places(modes.SHOP_SCORE, bonus)
        sure = [rooms.true_places(bonus, rule) for rule in (lambda category: category, wrong.get)]
        cells = [*_hits(places), *_hits(places[known]), *_hits(sure[0]), *_hits(sure[1])]
        rows.append([_value(bonus, modes.CATEGORY_BONUS), *cells])
    ways = (
        "detected",
        f"detected, with a category ({known.sum()})",
        "true box, right category",
        "true box, wrong category",
    )
    title = "CATEGORY_BONUS, times the detector's score (of a true box: 1): Precision@1, Recall@5, percent"
    return text + "\n" + _table(title, ("bonus", *(f"{way}{at}" for way in ways for at in (", first", ", in 5"))), rows)


# Lens


def lens(made: Models, sets: Sets) -> str:
    """Phone photos: what the object weighs beside the whole photo, how the two are blended, which object is chosen."""
    groceries = sets.groceries
    unseen = np.isin(groceries.labels, list(sets.unseen))
    grocery, icons = (
        made.embed("grocery photos", groceries.regions),
        Corpus(made.embed("product icons", sets.icons.regions)),
    )
    objects = salient_objects(made, "grocery photos", groceries)
    home = salient_objects(made, "photos", sets.photos)
    products = Corpus(made.embed("home store", sets.products.regions))
    right = sets.photos.labels[:, None] == sets.products.labels
    asked = {"home store": Photos(products, made.embed("photos", sets.photos.regions), *home, right)}
    boxes = made.embed("photo boxes", sets.photo_boxes)
    certain = [[Detection(region.box, "", 1.0, None)] for region in sets.photo_boxes]
    asked["home store, true box"] = Photos(products, asked["home store"].whole, certain, dict(enumerate(boxes)), right)
    for name, some in (("seen", np.flatnonzero(~unseen)), ("unseen", np.flatnonzero(unseen))):
        place = {int(row): number for number, row in enumerate(some)}
        seen = [objects[0][row] for row in some]
        own = {place[row]: vector for row, vector in objects[1].items() if row in place}
        labels = groceries.labels[some]
        icon = labels[:, None] == sets.icons.labels
        asked[f"grocery to icon, {name}"] = Photos(icons, grocery[some], seen, own, icon)
        alike = labels[:, None] == labels
        asked[f"grocery, {name}"] = Photos(Corpus(grocery[some]), grocery[some], seen, own, alike, itself=True)

    def row(weight: float, scale: float) -> list[str]:
        return [" / ".join(map(_gain, each.hits(0, scale), each.hits(weight, scale))) for each in asked.values()]

    columns = [f"{name} ({len(each.whole)}; {len(each.objects)} with an object)" for name, each in asked.items()]
    weight, scale = 1.0, window.RANK_SCALE
    tables = {
        "weight of the object, times its score": [[_value(each, weight), *row(each, scale)] for each in WEIGHTS],
        "RANK_SCALE": [[_value(each, scale), *row(weight, each)] for each in SCALES],
    }
    text = [
        _table(f"{name}: Precision@1 / Recall@5, percent (gained by detection)", (name, *columns), rows)
        for name, rows in tables.items()
    ]
    true = [np.array([region.box]) for region in sets.photo_boxes]
    rules: dict[str, Callable[[Sequence[Detection]], Detection | None]] = {
        "the most salient *": modes.most_salient,
        "the surest": lambda found: max(found, key=lambda each: each.score, default=None),
        "the largest": lambda found: max(found, key=lambda each: _area(each.box), default=None),
        "sure and large": lambda found: max(found, key=lambda each: each.score * _area(each.box) ** 0.5, default=None),
        "the most central": lambda found: min(found, key=lambda each: _off_centre(each.box), default=None),
    }
    rows = []
    for name, rule in rules.items():
        chosen = [rule(some) for some in home[0]]
        rows.append(
            [name, _rate([each is not None and _same(each, box) for each, box in zip(chosen, true, strict=True)])]
        )
    any_of = [any(_same(each, box) for each in some) for some, box in zip(home[0], true, strict=True)]
    rows.append(["any that is found", _rate(any_of)])
    text.append(
        _table("Salience: home store photos whose object overlaps the true box by half", ("object", "percent"), rows)
    )
    return "\n".join(text)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _off_centre(box: Box) -> float:
    return float(np.hypot(box[0] + box[2] - 1, box[1] + box[3] - 1))


def _same(found: Detection, box: NDArray[Any]) -> bool:
    return bool(overlaps(np.array([found.box]), box)[0, 0] >= FOUND)


# Words for closeness


def closeness(made: Models, sets: Sets) -> str:
    """How far apart pictures of the same product, of the same kind and of others are, and what the words promise."""
    photos = made.embed("photos", sets.photos.regions)
    boxes = made.embed("photo boxes", sets.photo_boxes)
    asked = {}
    groceries = made.embed("grocery photos", sets.groceries.regions)
    for name, queries, asking, corpus, corpus_set in (
        ("home photo", photos, sets.photos, "home store", sets.products),
        ("home photo, box", boxes, sets.photos, "home store", sets.products),
        ("home product", None, sets.products, "home store", sets.products),
        ("grocery photo", None, sets.groceries, "grocery photos", sets.groceries),
        ("grocery to icon", groceries, sets.groceries, "product icons", sets.icons),
        ("web", None, sets.web, "web pictures", sets.web),
        ("clothes", None, sets.clothes, "clothes", sets.clothes),
    ):
        embeddings = made.embed(corpus, corpus_set.regions)
        shares = _between(embeddings) if queries is None else Corpus(embeddings).shares(queries)
        others = np.ones(shares.shape, np.bool_) if queries is not None else ~np.eye(len(shares), dtype=np.bool_)
        same = asking.labels[:, None] == corpus_set.labels
        kind = (asking.kinds[:, None] == corpus_set.kinds) & ~same
        asked[name] = (shares, {"same": same & others, "kind": kind, "other": ~same & ~kind & others})
    columns: dict[str, list[F64]] = {}
    for name, (shares, rights) in asked.items():
        for which, right in rights.items():
            if right.any():
                pairs = zip(shares, right, strict=True)
                columns[f"{name}: {which}"] = [row[chosen] for row, chosen in pairs if chosen.any()]
    rows: list[list[object]] = []
    for share in SHARES:
        rows.append([f"{share:g}", *(_rate([(each <= share).mean() for each in some]) for some in columns.values())])
    text = _table("CLOSENESS: pairs that differ in at most this share of bits, percent", ("share", *columns), rows)
    edges = [*SHARES, 0.5]
    rows = []
    for low, high in zip([-1.0, *edges[:-1]], edges, strict=True):
        row: list[object] = [f"to {high:g}, {views.closeness(high)}"]
        for shares, rights in asked.values():
            near = np.argsort(shares, axis=1)[:, :FIRST]
            distances = np.take_along_axis(shares, near, axis=1)
            told = (distances > low) & (distances <= high)
            same, other = (np.take_along_axis(rights[which], near, axis=1)[told] for which in ("same", "other"))
            row.append(f"{_rate(same)} / {_rate(~other)} of {told.sum()}")
        rows.append(row)
    title = (
        f"CLOSENESS: of the first {FIRST} matches in a band, the same product or class / that or the same kind, percent"
    )
    return text + "\n" + _table(title, ("share of bits", *asked), rows)


PARTS = {each.__name__: each for each in (near_duplicates, cut_off, shop, lens, closeness)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("data/homestore/demo"))
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, required=True, help="folder of what the models made, to be used again")
    parser.add_argument("--model", type=Path, help="an .onnx  [default: the one that ships]")
    parser.add_argument("--detector", type=Path, help="an .onnx  [default: the installed one]")
    parser.add_argument("--only", choices=PARTS, action="append")
    arguments = parser.parse_args()
    found = models.resolve_detector(arguments.detector)
    if found is None:
        sys.exit("no detector is installed; give one with --detector")
    made = Models(embedder.load(models.resolve(arguments.model)), detector.load(found), arguments.out)
    sets = Sets(arguments.store, arguments.shared)
    print(f"### {made.embedder.card.name} {made.embedder.card.version}, {made.detector.name}\n")
    for name in arguments.only or PARTS:
        print(PARTS[name](made, sets), flush=True)


if __name__ == "__main__":
    main()
