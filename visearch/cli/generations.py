"""A new model under a collection that is in use: `visearch backfill`, `visearch generations`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visearch.cli.options import (
    INTERRUPTED,
    option_collection,
    option_json,
    option_ray,
    print_json,
    progress_bars,
)

if TYPE_CHECKING:
    from visearch.store import Generation

option_allow_missing = click.option(
    "--allow-missing", is_flag=True, help="Also where items are missing in it, which no search then finds."
)


@click.command()
@click.option("--model", metavar="FILE|NAME", help="The new model; its generation is made where there is none.")
@click.option("--generation", type=int, metavar="N", help="Fill a generation that is there, in place of --model.")
@click.option(
    "--max-load",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.01, 1.0),
    help="Share of the cores' CPU time to take at most.",
)
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="Write a CSV row for each item left out."
)
@option_ray
@option_collection
@option_json
def backfill(
    model: str | None,
    generation: int | None,
    max_load: float,
    report: Path | None,
    ray: str | None,
    collection: Path,
    as_json: bool,
) -> None:
    """Embed the collection with a new model, into a generation beside the one that answers.

    Searches, servers and `visearch index` go on meanwhile. It may be interrupted or killed at any time; the same
    command goes on from there. Items whose file cannot be read, or has changed, are listed.

    \b
    Example:
      visearch backfill --model unified --max-load 0.5
      visearch backfill --generation 1
      visearch backfill --model unified --ray auto     (on a machine of a Ray cluster)
    """
    from indexer import backfill as jobs

    summary, interrupted = jobs.once(jobs.Job(collection, model, generation, max_load, report, ray))
    if as_json:
        print_json(summary.to_json())
    if interrupted:
        sys.exit(INTERRUPTED)


@click.group("generations")
def generations_group() -> None:
    """The models under a collection: list them, compare two, switch, go back, drop one.

    \b
    Example:
      visearch generations list
    """


@generations_group.command("list")
@option_collection
@option_json
def generations_list(collection: Path, as_json: bool) -> None:
    """List the generations: their models, which answers, what is missing in each.

    \b
    Example:
      visearch generations list
    """
    from visearch import generations
    from visearch.collection import Collection

    with Collection.open(collection) as opened:
        states = generations.states(opened)
    if as_json:
        print_json([state.to_json() for state in states])
        return
    for state in states:
        each = state.generation
        note = "answers" if state.active else "before" if state.previous else ""
        click.echo(
            f"{each.number:>3}  {note:<8} {each.model} {each.version}, {each.bits} bits, {each.precision};"
            f" {state.items - state.missing} items, {state.missing} missing"
        )


@generations_group.command("compare")
@click.argument("before", metavar="A", type=int)
@click.argument("after", metavar="B", type=int)
@click.option(
    "--queries", required=True, type=click.Path(path_type=Path, exists=True), help="Manifest: path, label, box."
)
@click.option("--label", default="label", show_default=True, help="The metadata key that says what is relevant.")
@click.option("--report", type=click.Path(path_type=Path, file_okay=False), help="Write an HTML report to this folder.")
@option_collection
@option_json
def generations_compare(
    before: int, after: int, queries: Path, label: str, report: Path | None, collection: Path, as_json: bool
) -> None:
    """Measure generations A and B on the same queries, as `visearch evaluate` does, and tell them apart.

    \b
    Example:
      visearch generations compare 1 2 --queries val.csv --label class --report report/
    """
    from rich.console import Console

    from visearch.collection import Collection
    from visearch.compare import compare
    from visearch.compare_report import write_comparison

    with (
        Collection.open(collection, generation=before) as first,
        Collection.open(collection, generation=after) as second,
    ):
        with progress_bars() as progress:
            comparison = compare(first, second, queries, label=label, progress=progress)
        if as_json:
            print_json(comparison.to_json())
        else:
            Console().print(comparison.table())
        if report:
            click.echo(f"report: {write_comparison(comparison, first, report)}", err=True)


@generations_group.command("switch")
@click.argument("number", metavar="B", type=int)
@option_allow_missing
@option_collection
def generations_switch(number: int, allow_missing: bool, collection: Path) -> None:
    """Let generation B answer. Servers that are running follow within a second or two.

    \b
    Example:
      visearch generations switch 2
    """
    from visearch import generations
    from visearch.collection import Collection

    with Collection.open(collection) as opened:
        _tell_answers(generations.switch(opened, number, allow_missing=allow_missing))


@generations_group.command("rollback")
@option_allow_missing
@option_collection
def generations_rollback(allow_missing: bool, collection: Path) -> None:
    """Let the generation answer that did before.

    \b
    Example:
      visearch generations rollback
    """
    from visearch import generations
    from visearch.collection import Collection

    with Collection.open(collection) as opened:
        _tell_answers(generations.rollback(opened, allow_missing=allow_missing))


def _tell_answers(generation: Generation) -> None:
    click.echo(f"generation {generation.number} answers: {generation.model} {generation.version}")


@generations_group.command("drop")
@click.argument("number", metavar="A", type=int)
@option_collection
def generations_drop(number: int, collection: Path) -> None:
    """Delete generation A, which does not answer: its codes, its index files, its model.

    \b
    Example:
      visearch generations drop 1
    """
    from visearch import generations
    from visearch.collection import Collection

    with Collection.open(collection) as opened:
        generations.drop(opened, number)
    click.echo(f"generation {number} is gone")
