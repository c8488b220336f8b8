"""A comparison of two generations as one web page: the table, and the queries that got better and worse."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visearch.compare import OVERLAP, Comparison
from visearch.evaluate import TITLES
from visearch.report import SHOWN_QUERIES, contact_row, head, varied, write_page

if TYPE_CHECKING:
    from visearch.collection import Collection


def write_comparison(comparison: Comparison, collection: Collection, folder: Path) -> Path:
    """Write the page into `folder`, which is made where it is not there; returns the path of the page. `collection`
    gives the pictures.

    Raises:
        VisearchError: the folder cannot be written.
    """
    return write_page(_page(comparison, collection), folder)


def _page(comparison: Comparison, collection: Collection) -> str:
    first, second = map(escape, comparison.headings())
    better = np.flatnonzero(comparison.gains > 0)
    worse = np.flatnonzero(comparison.gains < 0)
    return f"""{head(" and ".join(comparison.headings()))}
<body>
<header><h1>Generation {first} and generation {second}</h1><p>{escape(comparison.headline())}</p></header>
<main>
<section>{_table(comparison)}
<p class="note">Beside each figure its 95% interval; that of the difference is of the {len(comparison.pairs)} queries
that were measured in both, in pairs. Where it leaves out 0 the two differ.</p></section>
<section><h2>Queries that got better ({len(better)})</h2>
{_sheet(comparison, collection, better[np.argsort(-comparison.gains[better], kind="stable")])}</section>
<section><h2>Queries that got worse ({len(worse)})</h2>
{_sheet(comparison, collection, worse[np.argsort(comparison.gains[worse], kind="stable")])}</section>
</main>
</body>
</html>
"""


def _table(comparison: Comparison) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in (*comparison.headings(), "difference"))
    rows = ""
    for way in comparison.before.means:
        for name, title in TITLES.items():
            cells = "".join(f"<td>{escape(cell)}</td>" for cell in comparison.cells(way, name))
            rows += f"<tr><th>{title}, {way}</th>{cells}</tr>"
        same = f"<td></td><td></td><td>{100 * comparison.overlap[way]:.1f}</td>"
        rows += f"<tr><th>The same in the first {OVERLAP}, {way}</th>{same}</tr>"
    return f"<table class='measures'><thead><tr><th>percent</th>{names}</tr></thead><tbody>{rows}</tbody></table>"


def _sheet(comparison: Comparison, collection: Collection, pairs: NDArray[np.intp]) -> str:
    """Each query twice: what the one generation finds, and below it the other."""
    evaluations = (comparison.before, comparison.after)
    queries = [comparison.before.queries[comparison.pairs[pair, 0]] for pair in pairs]
    order = varied(queries, range(len(queries)))[:SHOWN_QUERIES]
    rows = [
        contact_row(evaluation, collection, int(place), with_answer=False)
        for pair in pairs[order]
        for evaluation, place in zip(evaluations, comparison.pairs[pair], strict=True)
    ]
    note = "In each pair of rows the first generation is above, the second below."
    return f"<p class='note'>{note}</p><div class='sheet'>{''.join(rows)}</div>" if rows else "<p>None.</p>"
