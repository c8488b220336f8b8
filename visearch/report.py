"""An evaluation as one web page that needs nothing else: the table, plots, the worst and best queries."""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from visearch import images
from visearch.errors import ImageError, UsageError, VisearchError
from visearch.evaluate import TITLES, Evaluation, Query
from visearch.files import read_limited
from visearch.images import WHOLE, Box
from visearch.metrics import CONFIDENCE, RESAMPLES, SEED, precision_curve
from visearch.rankings import HEAD

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from visearch.collection import Collection

PAGE = "index.html"
SHOWN_QUERIES = 12
SHOWN_RESULTS = 8
THUMBNAIL_SIDE = 160
HISTOGRAM_BINS = 50

COLOURS = {"binary": "#2563eb", "reranked": "#ea580c", "float": "#6b7280"}
HIT, MISS = "#16a34a", "#dc2626"


def require_matplotlib() -> None:
    """Raise VisearchError where the plots cannot be drawn; called before the work that a report is about."""
    if importlib.util.find_spec("matplotlib") is None:
        raise VisearchError("a report needs matplotlib, which is not installed: pip install matplotlib")


def write_report(evaluation: Evaluation, collection: Collection, folder: Path) -> Path:
    """Write the page into `folder`, which is made where it is not there; returns the path of the page.

    Raises:
        VisearchError: matplotlib is not installed, or the folder cannot be written.
    """
    require_matplotlib()
    return write_page(_page(evaluation, collection), folder)


def write_page(page: str, folder: Path) -> Path:
    """Write a page of HTML into `folder`, which is made where it is not there; returns the path of the page.

    Raises:
        VisearchError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PAGE).write_text(page, encoding="utf-8", errors="replace")  # names of files may not be UTF-8
    except OSError as error:
        raise VisearchError(f"{folder}: the report cannot be written there ({error.strerror or error})") from None
    return folder / PAGE


def head(title: str) -> str:
    """What a page begins with, up to its body: plain text as its title, the style of all, nothing from elsewhere."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>"""


def _page(evaluation: Evaluation, collection: Collection) -> str:
    card, generation = collection.embedder.card, collection.generation
    worst, best = _worst_and_best(evaluation)
    return f"""{head(f"Evaluation: {card.name}")}
<body>
<header><h1>Evaluation of {escape(card.name)} {escape(card.version)}</h1><p>{escape(evaluation.headline())}</p></header>
<main>
<section>{_table(evaluation)}</section>
<section><h2>How far down the right answers are</h2>{
        _plot(_curves(evaluation), "Precision and recall over K")
    }</section>
<section><h2>How near hits and misses are</h2>{_plot(_histograms(evaluation), "Histograms of Hamming distances")}
<p class="note">Left: every query's first result. Right: all pairs of a query and an item, each kind scaled to its own
sum; where the two overlap, no distance tells them apart (<code>--max-distance</code>).</p></section>
<section><h2>Worst queries</h2><p class="note">{_explain_order("least", "most sure of a wrong first result")}</p>
{_contact_sheet(evaluation, collection, worst, with_answer=True)}</section>
<section><h2>Best queries</h2><p class="note">{_explain_order("most", "nearest first result")}</p>
{_contact_sheet(evaluation, collection, best, with_answer=False)}</section>
<section class="columns"><div><h2>Model</h2>{
        _definitions(
            {
                "Name": f"{card.name} {card.version}",
                "Code": f"{card.embedding_dim} bits",
                "Input": f"{card.width} x {card.height} pixels, {card.resize.mode} from {card.resize.size}",
                "Computed with": f"{generation.runtime} {generation.precision} on {generation.device}",
                "Trained on": ", ".join(map(str, card.training_data)) or "not said",
                "Licence": card.license,
                "SHA-256": generation.model_sha256,
            }
        )
    }</div>
<div><h2>Data</h2>{
        _definitions(
            {
                "Collection": str(collection.path),
                "Generation": generation.number,
                "Searched": f"{evaluation.setup['items']} items, {evaluation.setup['codes']} codes"
                + (", those that pass a filter" if evaluation.setup["filtered"] else ""),
                "Queries": evaluation.setup["queries"],
                "Relevant": f"items with the same {evaluation.setup['label']}",
                "Measured": f"{len(evaluation.queries)} queries",
                "Left out": f"{len(evaluation.left_out)} (no item is relevant to them)",
                "Unreadable": len(evaluation.unreadable),
            }
        )
    }</div></section>
{_unreadable(evaluation)}
<section><h2>How it was measured</h2>{_method(evaluation)}</section>
</main>
</body>
</html>
"""


def _table(evaluation: Evaluation) -> str:
    ways = "".join(f"<th><i style='background:{COLOURS[way]}'></i>{escape(way)}</th>" for way in evaluation.means)
    head = f"<thead><tr><th>percent<br>95% interval</th>{ways}</tr></thead>"
    rows = "".join(
        f"<tr><th>{title}</th>{''.join(_cell(evaluation, way, name) for way in evaluation.means)}</tr>"
        for name, title in TITLES.items()
    )
    return f"<table class='measures'>{head}<tbody>{rows}</tbody></table>"


def _cell(evaluation: Evaluation, way: str, name: str) -> str:
    low, high = evaluation.intervals[way][name]
    mean = evaluation.means[way][name]
    return f"<td><b>{100 * mean:.1f}</b><small>{100 * low:.1f}&ndash;{100 * high:.1f}</small></td>"


def _worst_and_best(evaluation: Evaluation) -> tuple[list[int], list[int]]:
    """Places of the worst and the best queries as a search ranks them; one of each label before a second of any."""
    ranking = evaluation.rankings.reranked
    keys = (ranking.measures["average_precision_at_20"], ranking.measures["map_at_r"])
    nearest = ranking.distances[:, 0]
    worst = np.lexsort((nearest, keys[1], keys[0]))
    best = np.lexsort((nearest, -keys[1], -keys[0]))
    half = min(SHOWN_QUERIES, -(-len(evaluation.queries) // 2))
    return varied(evaluation.queries, worst)[:half], varied(evaluation.queries, best)[:half]


def varied(queries: Sequence[Query], order: Iterable[int]) -> list[int]:
    """The places of queries in this order, but one of each label before a second of any."""
    seen: dict[frozenset[str], int] = {}
    turns: list[tuple[int, int]] = []
    for place in order:
        turn = seen[queries[place].labels] = seen.get(queries[place].labels, 0) + 1
        turns.append((turn, int(place)))
    return [place for _, place in sorted(turns, key=lambda turn: turn[0])]


# Plots


def _curves(evaluation: Evaluation) -> Figure:
    figure, (left, right) = _figure()
    places = np.arange(1, min(HEAD, evaluation.setup["items"]) + 1)
    for way, ranking in evaluation.rankings.by_name().items():
        precision = precision_curve(ranking.relevant, len(places)).mean(axis=0)
        recall = np.maximum.accumulate(ranking.relevant[:, : len(places)], axis=1).mean(axis=0)
        for axes, values in ((left, precision), (right, recall)):
            # The last one is dashed: it often covers the one before it.
            axes.plot(places, 100 * values, color=COLOURS[way], label=way, lw=2, ls="--" if way == "float" else "-")
    for axes, name in ((left, "Precision@K"), (right, "Recall@K")):
        axes.set(title=name, xlabel="K", ylabel="percent", xlim=(1, max(2, len(places))), ylim=(0, None))
        axes.legend(frameon=False)
    return figure


def _histograms(evaluation: Evaluation) -> Figure:
    figure, (left, right) = _figure()
    first = evaluation.rankings.reranked
    distances, right_first = first.distances[:, 0], first.relevant[:, 0]
    edges = np.histogram_bin_edges(distances, HISTOGRAM_BINS).tolist()
    for chosen, colour, name in ((right_first, HIT, "hits"), (~right_first, MISS, "misses")):
        left.hist(distances[chosen], edges, color=colour, alpha=0.6, label=name, histtype="stepfilled")
    left.set(title="The first result", xlabel="Hamming distance (bits)", ylabel="queries")
    bits = np.arange(len(evaluation.rankings.hit_distances))
    pairs = evaluation.rankings.hit_distances, evaluation.rankings.miss_distances
    used = np.flatnonzero(pairs[0] + pairs[1])
    edges = np.histogram_bin_edges(bits[used[0] : used[-1] + 1], HISTOGRAM_BINS).tolist()
    for counts, colour, name in zip(pairs, (HIT, MISS), ("hits", "misses"), strict=True):
        weights = 100 * counts / max(1, counts.sum())
        right.hist(bits, edges, weights=weights, color=colour, alpha=0.6, label=name, histtype="stepfilled")
    right.set(title="All pairs", xlabel="Hamming distance (bits)", ylabel="percent of the pairs")
    for axes in (left, right):
        axes.legend(frameon=False)
    return figure


def _figure() -> tuple[Figure, tuple[Axes, Axes]]:
    # Not pyplot: its figures belong to the process, and it looks for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e5e7eb", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, (left, right)


def _plot(figure: Figure, alternative: str) -> str:
    stream = BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return f"<img class='plot' alt='{escape(alternative)}' src='{_data_url('image/svg+xml', stream.getvalue())}'>"


# Contact sheets


def _contact_sheet(evaluation: Evaluation, collection: Collection, places: list[int], *, with_answer: bool) -> str:
    rows = "".join(contact_row(evaluation, collection, place, with_answer=with_answer) for place in places)
    return f"<div class='sheet'>{rows}</div>"


def contact_row(evaluation: Evaluation, collection: Collection, place: int, *, with_answer: bool) -> str:
    """The query at a place of an evaluation beside what a search finds, or first also the nearest right answer."""
    query, ranking = evaluation.queries[place], evaluation.rankings.reranked
    precision = 100 * ranking.measures["average_precision_at_20"][place]
    labels = ", ".join(sorted(query.labels))
    cells = [_tile(_query_picture(query), [labels, f"Average P@20 {precision:.0f}"], "query", query.box, query.source)]
    if with_answer:
        answer = int(evaluation.rankings.answers[place])
        cells.append(_item(collection, answer, "answer", ["right answer"], evaluation.setup["label"]))
    found = int((ranking.items[place] >= 0).sum())
    for rank in range(min(SHOWN_RESULTS - with_answer, found)):
        kind = "hit" if ranking.relevant[place, rank] else "miss"
        near = f"{ranking.scores[place, rank]:.3f} · {ranking.distances[place, rank]} bits"
        cells.append(_item(collection, int(ranking.items[place, rank]), kind, [near], evaluation.setup["label"]))
    return f"<div class='row'>{''.join(cells)}</div>"


def _item(collection: Collection, item_id: int, kind: str, lines: list[str], label: str) -> str:
    try:
        item = collection.item(item_id)
    except UsageError:
        return _tile(None, ["removed meanwhile", *lines], kind, WHOLE, "")
    shown = item.metadata.get(label, "")
    name = ", ".join(map(str, shown)) if isinstance(shown, list) else str(shown)
    return _tile(collection.thumbnail(item_id), [name, *lines], kind, WHOLE, item.source)


def _tile(jpeg: bytes | None, lines: list[str], kind: str, box: Box, source: str) -> str:
    picture = f"<img alt='' src='{_data_url('image/jpeg', jpeg)}'>" if jpeg else "<i>no picture</i>"
    if box != WHOLE:
        left, top, right, bottom = (100 * part for part in box)
        inset = f"left:{left:.2f}%;top:{top:.2f}%;width:{right - left:.2f}%;height:{bottom - top:.2f}%"
        picture += f"<b class='box' style='{inset}'></b>"
    text = "".join(f"<span>{escape(line)}</span>" for line in lines)
    frame = f"<div><div>{picture}</div></div><figcaption>{text}</figcaption>"
    return f"<figure class='{kind}' title='{escape(Path(source).name)}'>{frame}</figure>"


def _query_picture(query: Query) -> bytes | None:
    """None where the file has gone since it was measured."""
    try:
        return images.thumbnail(images.decode(read_limited(query.path), min_side=THUMBNAIL_SIDE), THUMBNAIL_SIDE)
    except ImageError:
        return None


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


# Words


def _explain_order(amount: str, then: str) -> str:
    return (
        f"As a search ranks them (re-ranked): {amount} Average P@20 first, then {then}; one of each label before a"
        " second of any. Green is right, red is wrong."
    )


def _definitions(entries: dict[str, Any]) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in entries.items())
    return f"<dl>{rows}</dl>"


def _unreadable(evaluation: Evaluation) -> str:
    if not evaluation.unreadable:
        return ""
    rows = "".join(
        f"<tr><td>{row.number}</td><td>{escape(str(row.path or ''))}</td><td>{escape(row.reason)}</td>"
        f"<td>{escape(row.message)}</td></tr>"
        for row in evaluation.unreadable
    )
    head = "<tr><th>Row</th><th>File</th><th>Reason</th><th>Message</th></tr>"
    return (
        f"<section><h2>Unreadable</h2><table class='list'><thead>{head}</thead><tbody>{rows}</tbody></table></section>"
    )


def _method(evaluation: Evaluation) -> str:
    window = evaluation.setup["window"]
    points = [
        "<b>binary</b>: exact Hamming distance to every code.",
        f"<b>reranked</b>: the first {window} codes by Hamming distance re-ordered by the cosine of the query's float32"
        " embedding with the int8 copies, the rest after them in Hamming order. This is what a search does.",
        "<b>float</b>: that cosine over every item, without codes.",
        "<b>Precision@K</b>: hits in the first K over K, also where fewer than K relevant items exist."
        " <b>Average P@20</b>: mean of Precision@1 to Precision@20 (arXiv 1908.01707)."
        " <b>Recall@K</b>: share of queries with a hit in the first K."
        " <b>MAP@R</b>: the sum over the first R places i of Precision@i where place i is relevant, over R, the number"
        " of relevant items. Each is the mean over the queries, in percent.",
        f"Beside each figure its {100 * CONFIDENCE:.0f}% interval: percentiles of the mean over {RESAMPLES} samples of"
        f" the queries with replacement (bootstrap, seed {SEED}).",
        "A query that is itself in the collection (same path or same bytes) never matches itself. A query with no"
        " relevant item is left out and counted. An item is as near as its nearest region. Ties go to the smaller"
        " item id.",
    ]
    return f"<ul>{''.join(f'<li>{point}</li>' for point in points)}</ul>"


STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f3f4f6; color: #111827; font: 15px/1.5 system-ui, sans-serif; }
header, main { max-width: 1180px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 32px; }
h1 { font-size: 26px; margin: 0; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 0 0 12px; }
header p, .note { color: #4b5563; margin: 4px 0 16px; }
section { background: #fff; border: 1px solid #e5e7eb; border-radius: 12px; padding: 24px; margin: 16px 0; }
section.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 32px; }
table { border-collapse: collapse; width: 100%; }
.measures th, .measures td { padding: 9px 12px; text-align: right; border-bottom: 1px solid #f3f4f6; }
.measures th:first-child { text-align: left; font-weight: 500; }
.measures thead th:first-child { color: #6b7280; font-weight: 400; }
.measures td b { font-size: 18px; font-variant-numeric: tabular-nums; }
.measures small { display: inline-block; width: 92px; color: #6b7280; font-variant-numeric: tabular-nums; }
thead th { white-space: nowrap; }
.measures i { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 7px; }
.list { font-size: 13px; }
.list th, .list td { text-align: left; padding: 4px 12px 4px 0; overflow-wrap: anywhere; vertical-align: top; }
.plot { width: 100%; height: auto; display: block; }
.row { display: grid; grid-template-columns: repeat(9, minmax(0, 1fr)); gap: 10px; padding: 10px 0; }
.row + .row { border-top: 1px solid #f3f4f6; }
figure { margin: 0; min-width: 0; }
figure > div { display: grid; place-items: center; aspect-ratio: 1; border-radius: 8px; background: #f9fafb;
  border: 3px solid #e5e7eb; overflow: hidden; }
figure > div > div { position: relative; line-height: 0; }
figure img { display: block; width: auto; max-width: 100%; max-height: 108px; }
figure i { color: #6b7280; font-size: 12px; line-height: 1.5; }
.hit > div { border-color: #16a34a; } .miss > div { border-color: #dc2626; }
.query > div { border-color: #111827; } .answer > div { border-color: #16a34a; border-style: dashed; }
.box { position: absolute; outline: 2px solid #ea580c; }
figcaption { font-size: 11.5px; line-height: 1.35; margin-top: 4px; color: #4b5563; }
figcaption span { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
figcaption span:first-child { color: #111827; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 6px 16px; margin: 0; }
dt { color: #6b7280; } dd { margin: 0; overflow-wrap: anywhere; }
ul { margin: 0; padding-left: 20px; } li { margin: 6px 0; }
@media (max-width: 760px) {
  header, main { padding: 0 12px; } section { padding: 16px; overflow-x: auto; }
  .row { grid-template-columns: repeat(3, minmax(0, 1fr)); } .plot { min-width: 640px; }
  .measures th, .measures td { padding: 8px 4px; } .measures td b, .measures small { display: block; width: auto; }
}
"""
