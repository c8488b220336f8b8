"""`visearch index`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from visearch.cli.options import (
    INTERRUPTED,
    SKIPPED,
    option_collection,
    option_json,
    option_model,
    option_ray,
    print_json,
)


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@option_collection
@option_model
@click.option(
    "--objects", is_flag=True, help="Also index the objects in each picture, so that a crop finds what contains it."
)
@click.option("--prune", is_flag=True, help="Remove items whose file, or manifest row, is gone.")
@click.option(
    "--watch", is_flag=True, help="Stay, and take in changes of the sources (of a manifest: the file itself)."
)
@click.option("--strict", is_flag=True, help="Exit with 3 if files were skipped.")
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="Write a CSV row for each skipped file."
)
@option_ray
@option_json
def index(
    sources: tuple[str, ...],
    collection: Path,
    model: str | None,
    objects: bool,
    prune: bool,
    watch: bool,
    strict: bool,
    report: Path | None,
    ray: str | None,
    as_json: bool,
) -> None:
    """Take pictures into a collection: folders, files, CSV/JSONL/Parquet manifests, or - for paths on standard input;
    s3://, gs:// and https:// addresses; tar shards, and Parquet files that hold pictures.

    Files that have not changed are left alone, so the same command again only does what is new. It may be
    interrupted at any time.

    \b
    Example:
      visearch index ./images
      visearch index catalog.csv --collection shop --report skipped.csv
      visearch index s3://bucket/photos 's3://bucket/shards/*.tar'
      find . -name '*.jpg' -print0 | visearch index -
      visearch index /mnt/photos --ray auto     (on a machine of a Ray cluster)
    """
    from indexer import run

    job = run.Job(sources, collection, model, prune, report, objects, ray)
    if watch:
        run.watch(job, as_json=as_json)
        return
    summary, interrupted = run.once(job)
    if as_json:
        print_json(summary.to_json())
    if interrupted:
        sys.exit(INTERRUPTED)
    if strict and summary.skipped:
        sys.exit(SKIPPED)
