"""A document of headings, paragraphs, tables and pictures, written as Markdown and as an HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from visearch.errors import VisearchError
from visearch.files import write_durably


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list of plain texts."""

    points: Sequence[str]


@dataclass(frozen=True)
class Grid:
    """A table. The first column is text, the others are figures; `strong` are the numbers of rows that stand out."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Picture:
    """A picture file of `data`, and what it shows."""

    name: str
    data: bytes
    caption: str


Block = Heading | Text | Points | Grid | Picture


def write(blocks: Sequence[Block], folder: Path, name: str) -> tuple[Path, Path]:
    """Write `<name>.md`, `<name>.html` and the pictures into `folder`; returns the two pages.

    Raises:
        VisearchError: the folder cannot be written.
    """
    pages = folder / f"{name}.md", folder / f"{name}.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for block in blocks:
            if isinstance(block, Picture):
                write_durably(folder / block.name, block.data)
        write_durably(pages[0], "\n\n".join(map(_markdown, blocks)).encode() + b"\n")
        write_durably(pages[1], _page(blocks).encode())
    except OSError as error:
        raise VisearchError(f"{folder}: the report cannot be written there ({error.strerror or error})") from None
    return pages


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Text(text):
            return text
        case Points(points):
            return "\n".join(f"- {point}" for point in points)
        case Picture(name, _, caption):
            return f"![{caption}]({name})\n\n*{caption}*"
        case Grid(head, rows, strong):
            lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
            lines += [[f"**{cell}**" if number in strong else cell for cell in row] for number, row in enumerate(rows)]
            return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Text(text):
            return f"<p>{escape(text)}</p>"
        case Points(points):
            return f"<ul>{''.join(f'<li>{escape(point)}</li>' for point in points)}</ul>"
        case Picture(name, _, caption):
            return (
                f"<figure><img src='{escape(name)}' alt='{escape(caption)}'>"
                f"<figcaption>{escape(caption)}</figcaption></figure>"
            )
        case Grid(head, rows, strong):
            body = "".join(_html_row(row, "td", number in strong) for number, row in enumerate(rows))
            return f"<div class='grid'><table><thead>{_html_row(head, 'th')}</thead><tbody>{body}</tbody></table></div>"


def _html_row(cells: Sequence[str], tag: str, strong: bool = False) -> str:
    inner = "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
    return f"<tr{' class=strong' * strong}>{inner}</tr>"


def _page(blocks: Sequence[Block]) -> str:
    title = next((block.text for block in blocks if isinstance(block, Heading)), "Report")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src 'self'; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{chr(10).join(map(_html, blocks))}
</main>
</body>
</html>
"""


STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #f3f4f6; color: #111827; font: 15px/1.55 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.5rem 4rem; background: #fff; }
h1 { font-size: 1.7rem; line-height: 1.2; } h2 { margin-top: 2.5rem; font-size: 1.25rem; }
h3 { margin-top: 1.75rem; font-size: 1.05rem; }
p, li { max-width: 48rem; }
.grid { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.87rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid #e5e7eb; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 14rem; }
th { color: #4b5563; font-weight: 600; border-bottom: 2px solid #d1d5db; vertical-align: bottom; }
tr.strong td { font-weight: 650; background: #f9fafb; }
figure { margin: 1.25rem 0; } img { max-width: 100%; height: auto; }
figcaption { color: #4b5563; font-size: 0.87rem; }
"""
