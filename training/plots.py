"""The plots of a report, as SVG."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from training.retrieval import P1, WAYS, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"binary": "#2563eb", "float": "#9ca3af"}
COLOURS_OF_LINES = ("#2563eb", "#ea580c", "#16a34a", "#9333ea", "#0891b2", "#be123c", "#a16207", "#4b5563", "#65a30d")
HIT, MISS = "#16a34a", "#dc2626"
HISTOGRAM_BINS = 60


def binary_and_float(results: Mapping[str, Result], baseline: Mapping[str, Result]) -> bytes:
    """Precision@1 of every task: bars for the model in binary and in float, a mark for the baseline in float."""
    names = list(results)
    figure, (axes,) = _figure(1, height=0.6 + 0.34 * len(names))
    places = np.arange(len(names))[::-1]
    for way, shift in zip(WAYS, (0.19, -0.19), strict=True):
        means = [100 * results[name].values(way, P1).mean() for name in names]
        axes.barh(places + shift, means, 0.36, color=COLOURS[way], label=way)
    known = [
        (place, 100 * baseline[n].values("float", P1).mean())
        for place, n in zip(places, names, strict=True)
        if n in baseline
    ]
    if known:
        axes.plot(
            [mean for _, mean in known], [place for place, _ in known], "k|", ms=15, mew=2, label="baseline, float"
        )
    axes.set_yticks(places, names)
    axes.set(xlabel="Precision@1, percent", xlim=(0, 100), ylim=(-0.6, len(names) - 0.4))
    axes.grid(axis="x", color="#e5e7eb")
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return _svg(figure)


def distances(results: Sequence[Result]) -> bytes:
    """Histograms of the Hamming distances of all pairs of a query and an item, right and wrong ones."""
    figure, many = _figure(len(results), height=2.9)
    for axes, result in zip(many, results, strict=True):
        bits = np.arange(result.bits + 1)
        pairs = result.rankings.hit_distances, result.rankings.miss_distances
        used = np.flatnonzero(pairs[0] + pairs[1])
        edges = np.histogram_bin_edges(bits[used[0] : used[-1] + 1], HISTOGRAM_BINS).tolist()
        for counts, colour, name in zip(pairs, (HIT, MISS), ("relevant", "others"), strict=True):
            weights = 100 * counts / max(1, counts.sum())
            axes.hist(bits, edges, weights=weights, color=colour, alpha=0.55, label=name, histtype="stepfilled")
        axes.set_title(result.task.name, fontsize=9)
        axes.set(xlabel="bits that differ", yticks=[])
    many[0].legend(frameon=False)
    return _svg(figure)


def code_length(points: Mapping[str, Sequence[tuple[int, float, float]]]) -> bytes:
    """Lines of (bits, binary, float), fractions, by the name of the measure; float is dashed."""
    figure, (axes,) = _figure(1, height=3.6)
    for (name, line), colour in zip(points.items(), cycle(COLOURS_OF_LINES), strict=False):
        bits = [each[0] for each in line]
        axes.plot(bits, [100 * each[1] for each in line], "o-", color=colour, label=name)
        axes.plot(bits, [100 * each[2] for each in line], "--", color=colour, lw=1)
    ticks = sorted({each[0] for line in points.values() for each in line})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set(xlabel="bits of a code (dashed: float numbers of the embedding)", ylabel="percent", ylim=(0, None))
    axes.grid(color="#e5e7eb")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return _svg(figure)


def losses(log: Path) -> bytes | None:
    """Each loss over the steps of a run's log.jsonl; None where there is none."""
    lines: dict[str, list[tuple[int, float]]] = {}
    if log.exists():
        for row in map(json.loads, log.read_text(encoding="utf-8").splitlines()):
            for name, value in row.get("losses", {}).items():
                lines.setdefault(name, []).append((row["step"], value))
    if not lines:
        return None
    figure, (axes,) = _figure(1, height=3.2)
    for (name, line), colour in zip(lines.items(), cycle(COLOURS_OF_LINES), strict=False):
        axes.plot(*zip(*line, strict=True), color=colour, lw=1.2, label=name)
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
    axes.grid(color="#e5e7eb")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return _svg(figure)


def _figure(count: int, height: float) -> tuple[Figure, list[Axes]]:
    # Not pyplot: its figures belong to the process, and it looks for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, height), layout="constrained")
    many = [figure.add_subplot(1, count, place + 1) for place in range(count)]
    for axes in many:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
    return figure, many


def _svg(figure: Figure) -> bytes:
    from matplotlib import rc_context

    stream = BytesIO()
    with rc_context({"svg.hashsalt": "visearch"}):  # the same figures give the same file
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
