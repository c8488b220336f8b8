"""What a collection holds and how it is looked after: `visearch info`, `check`, `remove`, `export`, `backup`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from visearch.cli.options import option_collection, option_json, print_json, printable


@click.command()
@option_collection
@option_json
def info(collection: Path, as_json: bool) -> None:
    """Show what is in a collection: items, model, index, sizes, skipped files.

    \b
    Example:
      visearch info --collection shop
    """
    from visearch import maintenance
    from visearch.collection import Collection

    with Collection.open(collection) as opened:
        values = maintenance.info(opened)
    if as_json:
        print_json(values)
        return
    for key, value in values.items():
        if isinstance(value, dict):
            click.echo(f"{key}:")
            for name, part in value.items():
                click.echo(f"  {name}: {part}")
        else:
            click.echo(f"{key}: {value}")


@click.command()
@click.option("--repair", is_flag=True, help="Rebuild the index files if they are not as they should be.")
@option_collection
@option_json
def check(repair: bool, collection: Path, as_json: bool) -> None:
    """Check the store, the index files against the store, and the items against their files.

    Exits with 1 where the store or the index is not whole; changed or missing files are only told. What --repair can
    mend is the index; a store that is not whole comes back from a backup.

    \b
    Example:
      visearch check --repair
    """
    from visearch import maintenance
    from visearch.collection import Collection

    with Collection.open(collection) as opened:
        problems = maintenance.check(opened)
        repaired = repair and any(problem.kind == "index" for problem in problems)
        if repaired:
            maintenance.rebuild(opened)
        left = [
            problem
            for problem in (maintenance.check(opened) if repaired else problems)
            if problem.kind in ("store", "index")
        ]
    if as_json:
        print_json({"problems": [vars(problem) for problem in problems], "repaired": repaired, "whole": not left})
    else:
        for problem in problems:
            click.echo(f"{problem.kind}: {printable(problem.message)}")
        click.echo(f"{'index rebuilt; ' if repaired else ''}{'NOT whole' if left else 'the collection is whole'}")
    if left:
        sys.exit(1)


@click.command()
@click.argument("items", nargs=-1, required=True, metavar="ID|PATH...")
@option_collection
@option_json
def remove(items: tuple[str, ...], collection: Path, as_json: bool) -> None:
    """Remove items, by id or by the path they came from. The files stay, so the next `visearch index` of their folder
    takes them in again.

    \b
    Example:
      visearch remove 42 ./images/old.jpg
    """
    from visearch.collection import Collection

    with Collection.open(collection) as opened:
        removed = opened.remove([opened.find_item(name) for name in items])
    if as_json:
        print_json({"removed": removed})
    else:
        click.echo(f"{removed} removed")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@option_collection
def export(file: Path, collection: Path) -> None:
    """Write ids, codes, embeddings and metadata to a Parquet FILE.

    \b
    Example:
      visearch export codes.parquet
    """
    from visearch import maintenance
    from visearch.collection import Collection

    with Collection.open(collection) as opened:
        click.echo(f"{maintenance.export(opened, file)} rows in {file}")


@click.command()
@click.argument("destination", type=click.Path(path_type=Path))
@option_collection
def backup(destination: Path, collection: Path) -> None:
    """Copy the collection to a new folder DESTINATION while it is in use.

    \b
    Example:
      visearch backup /backups/shop-monday
    """
    from visearch import maintenance
    from visearch.collection import Collection

    with Collection.open(collection) as opened:
        maintenance.backup(opened, destination)
        click.echo(f"{len(opened)} items copied to {destination}")
