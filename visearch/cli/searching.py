"""`visearch search` and `visearch evaluate`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visearch.cli.options import (
    option_collection,
    option_json,
    option_model,
    parse_box,
    parse_filter,
    print_json,
    printable,
    progress_bars,
)
from visearch.errors import UsageError, VisearchError

if TYPE_CHECKING:
    from visearch.results import Results


SHEET_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@click.command()
@click.argument("query", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--item", type=int, metavar="ID", help="Search with an item of the collection in place of a picture.")
@click.option("--box", metavar="X0,Y0,X1,Y1", help="Search with this part only: fractions of the upright picture.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Matches wanted.")
@click.option("--max-distance", type=click.IntRange(0), help="No match further than this many bits.")
@click.option(
    "--filter", "filter_json", metavar="JSON", help='What metadata must be: {"color": ["red"], "price": {"lte": 50}}.'
)
@click.option("--exact", is_flag=True, help="Compare with every code.")
@click.option("--no-rerank", is_flag=True, help="Order by Hamming distance alone.")
@click.option(
    "--sheet", type=click.Path(path_type=Path, dir_okay=False), help="Draw query and matches into this picture."
)
@click.option("--open", "show", is_flag=True, help="Show that picture.")
@option_collection
@option_model
@option_json
def search(
    query: Path | None,
    item: int | None,
    box: str | None,
    limit: int,
    max_distance: int | None,
    filter_json: str | None,
    exact: bool,
    no_rerank: bool,
    sheet: Path | None,
    show: bool,
    collection: Path,
    model: str | None,
    as_json: bool,
) -> None:
    """Find the pictures most like QUERY, or like an item, or like a part of either.

    \b
    Example:
      visearch search photo.jpg --box 0.2,0.3,0.7,0.9 --sheet result.png
      visearch search --item 42 --filter '{"label": ["chair", "sofa"]}'
    """
    from visearch.collection import Collection

    if sheet and sheet.suffix.lower() not in SHEET_SUFFIXES:
        raise UsageError(f"--sheet {sheet}: the name has to end in one of {', '.join(SHEET_SUFFIXES)}")
    region = parse_box(box)
    with Collection.open(collection, model=model) as opened:
        results = opened.search(
            query,
            item=item,
            box=region,
            limit=limit,
            max_distance=max_distance,
            filter=parse_filter(filter_json),
            exact=exact,
            rerank=not no_rerank,
        )
        if as_json:
            print_json(results.to_json())
        else:
            _print_matches(results)
        if sheet or show:
            from visearch.sheet import sheet_of

            path = sheet or Path(tempfile.mkdtemp(prefix="visearch-")) / "sheet.png"
            if opened.has_source(path) or (query is not None and path.resolve() == query.resolve()):
                raise UsageError(f"--sheet {path}: is one of the pictures, so nothing was written over it")
            subject = query if query is not None else item
            assert subject is not None
            drawn = sheet_of(opened, subject, region, results)
            try:
                drawn.save(path)
            except (OSError, ValueError) as error:  # the latter of WebP that would be too tall
                said = getattr(error, "strerror", None) or error
                raise VisearchError(f"{path}: the sheet cannot be written ({said})") from None
            click.echo(f"sheet: {path}", err=True)
            if show:
                click.launch(str(path))


def _print_matches(results: Results) -> None:
    if not len(results):
        click.echo("no matches")
        return
    click.echo(f"{'':>3}  {'item':>8}  {'score':>6}  {'bits':>5}  source")
    for rank, match in enumerate(results, 1):
        click.echo(f"{rank:>3}  {match.item:>8}  {match.score:>6.3f}  {match.distance:>5}  {printable(match.source)}")
    stages = ", ".join(f"{stage} {milliseconds:.1f}" for stage, milliseconds in results.took.items())
    click.echo(f"{stages} ms", err=True)


@click.command()
@click.option(
    "--queries",
    required=True,
    type=click.Path(path_type=Path, exists=True),
    help="Manifest: path, label, box (or objects).",
)
@click.option(
    "--mode",
    type=click.Choice(["flashlight", "lens", "shop"]),
    help="Measure this mode end to end, detector included, beside the same without detection and with true boxes.",
)
@click.option("--label", default="label", show_default=True, help="The metadata key that says what is relevant.")
@click.option("--filter", "filter_json", metavar="JSON", help="Search only among items with this metadata.")
@click.option("--report", type=click.Path(path_type=Path, file_okay=False), help="Write an HTML report to this folder.")
@option_collection
@option_model
@option_json
def evaluate(
    queries: Path,
    mode: str | None,
    label: str,
    filter_json: str | None,
    report: Path | None,
    collection: Path,
    model: str | None,
    as_json: bool,
) -> None:
    """Measure the search: queries with a label, against items that carry the same key.

    \b
    Example:
      visearch evaluate --queries val.csv --label class --report report/
      visearch evaluate --queries rooms.jsonl --label product --mode shop
    """
    from visearch.collection import Collection
    from visearch.evaluate import evaluate as measure
    from visearch.report import require_matplotlib, write_report

    if mode:
        if report:
            raise UsageError("--report goes without --mode")
        _evaluate_mode(queries, mode, label, filter_json, collection, model, as_json=as_json)
        return
    if report:
        require_matplotlib()
    with Collection.open(collection, model=model) as opened:
        with progress_bars() as progress:
            evaluation = measure(opened, queries, label=label, filter=parse_filter(filter_json), progress=progress)
        if as_json:
            print_json(evaluation.to_json())
        else:
            from rich.console import Console

            Console().print(evaluation.table())
        if report:
            click.echo(f"report: {write_report(evaluation, opened, report)}", err=True)


def _evaluate_mode(
    queries: Path, mode: str, label: str, filter_json: str | None, collection: Path, model: str | None, *, as_json: bool
) -> None:
    from rich.console import Console

    from visearch.collection import Collection
    from visearch.detector import find_detector
    from visearch.evaluate_modes import evaluate_mode

    detector = find_detector()
    if detector is None:
        click.echo("no detector: name one with VISEARCH_DETECTOR", err=True)
    wanted = parse_filter(filter_json)
    with Collection.open(collection, model=model) as opened, progress_bars() as progress:
        found = evaluate_mode(opened, queries, mode, detector=detector, label=label, filter=wanted, progress=progress)
    if as_json:
        print_json(found.to_json())
    else:
        Console().print(found.table())
