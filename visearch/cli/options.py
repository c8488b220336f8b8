"""What the commands share: options, how their values are read, and what is printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from unicodedata import category

import click

from visearch import settings
from visearch.errors import UsageError

if TYPE_CHECKING:
    from visearch.filters import Filter
    from visearch.images import Box

SKIPPED = 3
INTERRUPTED = 130

Command = TypeVar("Command", bound=Callable[..., Any])


def option_collection(command: Command) -> Command:
    """Add `--collection`, the folder of the collection."""
    return click.option(
        "--collection",
        type=click.Path(path_type=Path, file_okay=False),
        default=lambda: Path(settings.text("collection")),
        help="Folder of the collection  [default: VISEARCH_COLLECTION or .visearch]",
    )(command)


def option_model(command: Command) -> Command:
    """Add `--model`, an .onnx file or a name."""
    return click.option(
        "--model",
        metavar="FILE|NAME",
        help="Embedding model; a collection that exists knows its own  [default: VISEARCH_MODEL, else the shipped one]",
    )(command)


option_ray = click.option(
    "--ray",
    is_flag=False,
    flag_value="local",
    metavar="[ADDRESS]",
    help="Read, decode and embed on the Ray cluster at ADDRESS (`auto`: that of this machine), or without one in"
    " processes of this machine. The pictures and the collection have the same paths on all of its machines.",
)
option_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(values: object) -> None:
    """Print values as JSON in ASCII, which every terminal and pipe takes."""
    click.echo(json.dumps(values, ensure_ascii=True, indent=2))


def printable(source: str) -> str:
    """One line that a terminal shows as it is: no control characters, no bytes that are not text."""
    text = source.encode("utf-8", "replace").decode()
    return "".join(ascii(each)[1:-1] if category(each) == "Cc" else each for each in text)


def parse_filter(text: str | None) -> Filter | None:
    """Read the value of `--filter`.

    Raises:
        UsageError: it is not JSON, or not a filter.
    """
    from visearch.filters import Filter

    if text is None:
        return None
    try:
        return Filter.parse(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f'--filter is not JSON ({error}); for example \'{{"color": "red", "price": {{"lte": 50}}}}\''
        ) from None


def parse_box(text: str | None) -> Box | None:
    """Read the value of `--box`.

    Raises:
        UsageError: it is not four fractions of a picture.
    """
    from visearch.images import validate_box

    return None if text is None else validate_box(text.split(","))


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A function that shows how many of the queries a stage has done: bars on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress, TaskID

    tasks: dict[str, TaskID] = {}
    with Progress(console=Console(stderr=True), transient=True) as bars:

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        yield show
