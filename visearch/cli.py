"""The command line. Each command parses its arguments and calls the library.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but files were skipped (with --strict), 130 interrupted.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from unicodedata import category

import click

from visearch import settings
from visearch.errors import UsageError, VisearchError

if TYPE_CHECKING:
    from visearch.filters import Filter
    from visearch.images import Box
    from visearch.results import Results

SKIPPED = 3
INTERRUPTED = 130
SHEET_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

Command = TypeVar("Command", bound=Callable[..., Any])


def main() -> None:
    """Entry point: every known error is one line on standard error and an exit code."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        cli(standalone_mode=False)
    except VisearchError as error:
        _fail(error.message, error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"; see `{context.command_path} --help`" if context is not None else ""
        _fail(" ".join(error.format_message().split()).removesuffix(".") + hint, error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)


def _fail(message: str, code: int) -> None:
    click.echo(f"Error: {_printable(message)}", err=True)
    sys.exit(code)


def _option_collection(command: Command) -> Command:
    return click.option(
        "--collection",
        type=click.Path(path_type=Path, file_okay=False),
        default=lambda: Path(settings.text("collection")),
        help="Folder of the collection  [default: VISEARCH_COLLECTION or .visearch]",
    )(command)


def _option_model(command: Command) -> Command:
    return click.option(
        "--model",
        metavar="FILE|NAME",
        help="Embedding model; a collection that exists knows its own  [default: VISEARCH_MODEL, else the shipped one]",
    )(command)


_option_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _print_json(values: object) -> None:
    click.echo(json.dumps(values, ensure_ascii=True, indent=2))


def _parse_filter(text: str | None) -> Filter | None:
    from visearch.filters import Filter

    if text is None:
        return None
    try:
        return Filter.parse(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f'--filter is not JSON ({error}); for example \'{{"color": "red", "price": {{"lte": 50}}}}\''
        ) from None


def _parse_box(text: str | None) -> Box | None:
    from visearch.images import validate_box

    return None if text is None else validate_box(text.split(","))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="visearch", prog_name="visearch")
def cli() -> None:
    """Search pictures by pictures: index a folder, then ask it with a photo or a crop.

    \b
    Example:
      visearch index ./images
      visearch search photo.jpg
    """


@cli.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@_option_collection
@_option_model
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
@_option_json
def index(
    sources: tuple[str, ...],
    collection: Path,
    model: str | None,
    objects: bool,
    prune: bool,
    watch: bool,
    strict: bool,
    report: Path | None,
    as_json: bool,
) -> None:
    """Take pictures into a collection: folders, files, CSV/JSONL/Parquet manifests, or - for paths on standard input.

    Files that have not changed are left alone, so the same command again only does what is new. It may be
    interrupted at any time.

    \b
    Example:
      visearch index ./images
      visearch index catalog.csv --collection shop --report skipped.csv
      find . -name '*.jpg' -print0 | visearch index -
    """
    from indexer import run

    job = run.Job(sources, collection, model, prune, report, objects)
    if watch:
        run.watch(job, as_json=as_json)
        return
    summary, interrupted = run.once(job)
    if as_json:
        _print_json(summary.to_json())
    if interrupted:
        sys.exit(INTERRUPTED)
    if strict and summary.skipped:
        sys.exit(SKIPPED)


@cli.command()
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
@_option_collection
@_option_model
@_option_json
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
    region = _parse_box(box)
    with Collection.open(collection, model=model) as opened:
        results = opened.search(
            query,
            item=item,
            box=region,
            limit=limit,
            max_distance=max_distance,
            filter=_parse_filter(filter_json),
            exact=exact,
            rerank=not no_rerank,
        )
        if as_json:
            _print_json(results.to_json())
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
            except OSError as error:
                raise VisearchError(f"{path}: the sheet cannot be written ({error.strerror or error})") from None
            click.echo(f"sheet: {path}", err=True)
            if show:
                click.launch(str(path))


def _print_matches(results: Results) -> None:
    if not len(results):
        click.echo("no matches")
        return
    click.echo(f"{'':>3}  {'item':>8}  {'score':>6}  {'bits':>5}  source")
    for rank, match in enumerate(results, 1):
        click.echo(f"{rank:>3}  {match.item:>8}  {match.score:>6.3f}  {match.distance:>5}  {_printable(match.source)}")
    stages = ", ".join(f"{stage} {milliseconds:.1f}" for stage, milliseconds in results.took.items())
    click.echo(f"{stages} ms", err=True)


def _printable(source: str) -> str:
    """One line that a terminal shows as it is: no control characters, no bytes that are not text."""
    text = source.encode("utf-8", "replace").decode()
    return "".join(ascii(each)[1:-1] if category(each) == "Cc" else each for each in text)


@cli.command()
@click.option(
    "--collection",
    "collections",
    multiple=True,
    metavar="[NAME=]FOLDER",
    help="A collection to serve; more than once for more, of which the first is meant where a request names none"
    "  [default: VISEARCH_COLLECTION or .visearch]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0: all there are.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
@click.option("--https", is_flag=True, help="Serve over https, which phones ask for before they show their camera.")
@click.option("--cert", type=click.Path(path_type=Path), help="Certificate for --https, PEM  [default: one of our own]")
@click.option("--key", type=click.Path(path_type=Path), help="Its private key, PEM  [default: in the same file]")
@click.option("--access-log", is_flag=True, help="Write a line of JSON for each request on standard error.")
def serve(
    collections: tuple[str, ...],
    host: str,
    port: int,
    open_page: bool,
    https: bool,
    cert: Path | None,
    key: Path | None,
    access_log: bool,
) -> None:
    """Serve collections over HTTP: a page for people at /, an API for programs at /docs.

    It ends with Ctrl-C or SIGTERM, once those who are being answered have their answer.

    \b
    Example:
      visearch serve --open
      visearch serve --https --host 0.0.0.0     (and scan the code it shows with a phone)
    """
    if (cert or key) and not https:
        raise UsageError("--cert and --key are for --https")
    if key and not cert:
        raise UsageError(f"--key {key}: needs the certificate that belongs to it, --cert")
    # Before faiss is imported: OpenMP makes a single search slower, and each thread of the server would have its own.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from web.run import Started, named, run
    from web.tls import server_context

    if access_log:
        logging.getLogger("web.access").setLevel(logging.INFO)

    def tell(started: Started) -> None:
        served = ", ".join(f"{name} ({count} items)" for name, count in started.items.items())
        click.echo(f"{started.here}  {served}")
        _tell_how_a_phone_gets_there(started.network, https)
        click.echo("Ctrl-C ends it", err=True)
        if open_page:
            click.launch(started.here)

    folders = named(collections or (settings.text("collection"),))
    run(folders, host, port, tls=server_context(host, cert, key) if https else None, ready=tell)


def _tell_how_a_phone_gets_there(url: str | None, https: bool) -> None:
    if url is None:
        if https:
            click.echo("only this machine can reach it; --host 0.0.0.0 lets a phone in the same network", err=True)
        return
    click.echo(f"{url}  from other machines of the network")
    if not https:
        click.echo("a phone shows its camera only over https: --https", err=True)
    if sys.stdout.isatty():
        import segno

        segno.make(url).terminal(compact=True)


@cli.command()
@click.option(
    "--queries", required=True, type=click.Path(path_type=Path, exists=True), help="Manifest: path, label, box."
)
@click.option(
    "--mode",
    type=click.Choice(["flashlight", "lens", "shop"]),
    help="Measure this mode end to end, detector included, beside the same without detection and with true boxes.",
)
@click.option("--label", default="label", show_default=True, help="The metadata key that says what is relevant.")
@click.option("--filter", "filter_json", metavar="JSON", help="Search only among items with this metadata.")
@click.option("--report", type=click.Path(path_type=Path, file_okay=False), help="Write an HTML report to this folder.")
@_option_collection
@_option_model
@_option_json
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
        with _progress() as progress:
            evaluation = measure(opened, queries, label=label, filter=_parse_filter(filter_json), progress=progress)
        if as_json:
            _print_json(evaluation.to_json())
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
        click.echo("no detector: `visearch models pull yolox_nano`, or name one with VISEARCH_DETECTOR", err=True)
    wanted = _parse_filter(filter_json)
    with Collection.open(collection, model=model) as opened, _progress() as progress:
        found = evaluate_mode(opened, queries, mode, detector=detector, label=label, filter=wanted, progress=progress)
    if as_json:
        _print_json(found.to_json())
    else:
        Console().print(found.table())


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
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


@cli.command()
@_option_collection
@_option_json
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
        _print_json(values)
        return
    for key, value in values.items():
        if isinstance(value, dict):
            click.echo(f"{key}:")
            for name, part in value.items():
                click.echo(f"  {name}: {part}")
        else:
            click.echo(f"{key}: {value}")


@cli.command()
@click.option("--repair", is_flag=True, help="Rebuild the index files if they are not as they should be.")
@_option_collection
@_option_json
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
            opened.build_index()
        left = [problem for problem in (maintenance.check(opened) if repaired else problems) if problem.kind != "files"]
    if as_json:
        _print_json({"problems": [vars(problem) for problem in problems], "repaired": repaired, "whole": not left})
    else:
        for problem in problems:
            click.echo(f"{problem.kind}: {_printable(problem.message)}")
        click.echo(f"{'index rebuilt; ' if repaired else ''}{'NOT whole' if left else 'the collection is whole'}")
    if left:
        sys.exit(1)


@cli.command()
@click.argument("items", nargs=-1, required=True, metavar="ID|PATH...")
@_option_collection
@_option_json
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
        _print_json({"removed": removed})
    else:
        click.echo(f"{removed} removed")


@cli.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_option_collection
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


@cli.command()
@click.argument("destination", type=click.Path(path_type=Path))
@_option_collection
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


@cli.command()
@click.argument("recipe")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of the run  [default: runs/NAME]")
@click.option("--resume", is_flag=True, help="Go on with the run in that folder; begin it where there is none.")
def train(recipe: str, out: Path | None, resume: bool) -> None:
    """Train an embedding by a RECIPE: a .toml file, or one that ships (paper, smoke, unified, vit).

    It may be interrupted at any time. The folder holds best.pt (what `visearch models export` takes), last.pt (what
    --resume goes on from), log.jsonl and a TensorBoard log. On several GPUs:
    `torchrun --nproc-per-node 8 --no-python visearch train RECIPE`.

    \b
    Example:
      visearch train smoke
      visearch train my_shop.toml --out runs/shop --resume
    """
    from training.libraries import import_timm

    import_timm()  # says what to install where it is not
    from training import recipe as recipes
    from training.trainer import train as run

    read = recipes.load(recipe)
    best = run(read, out or Path("runs") / read.name, resume=resume)
    click.echo(best)


@cli.command()
@click.option("--rows", metavar="A,B,...", help="Only these, and those they are made from  [default: all]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("ablation"),
    show_default=True,
    help="Folder of the rows and the report.",
)
@click.option("--recipe", default="unified", show_default=True, help="What the rows change: a name or a .toml file.")
@click.option(
    "--minutes", default=40.0, show_default=True, type=click.FloatRange(0.01), help="About how long a row trains."
)
@click.option("--steps", type=click.IntRange(1), help="Train each row for so many steps in place of that.")
def ablate(rows: str | None, out: Path, recipe: str, minutes: float, steps: int | None) -> None:
    """Train and measure a model for each choice of the recipe, and write one report: what each is worth.

    Rows that are done are not done again, and one that was interrupted goes on. The report (Markdown and HTML) lies in
    the folder, and is written anew by every call.

    \b
    Example:
      visearch ablate --rows relu,unified --minutes 5 --out runs/ablation
    """
    from training.libraries import import_timm
    from visearch.report import require_matplotlib

    import_timm()  # says what to install where it is not
    require_matplotlib()
    from training.ablate import run
    from training.report import report_ablation

    names = [name.strip() for name in rows.split(",")] if rows else []
    run(out, recipe, names=names, minutes=minutes, steps=steps or 0, say=lambda line: click.echo(line, err=True))
    for page in report_ablation(out):
        click.echo(page)


@cli.group("models")
def models_group() -> None:
    """Models by name: list them, get them, see what one is.

    \b
    Example:
      visearch models list
    """


@models_group.command("list")
@_option_json
def models_list(as_json: bool) -> None:
    """List the models that can be named.

    \b
    Example:
      visearch models list
    """
    from visearch import embedder, models

    if as_json:
        _print_json([vars(card) for card in models.list_models()])
        return
    shipped = embedder.load(models.default_model()).card
    about = f"{shipped.embedding_dim} bits, version {shipped.version}; what is used where none is named"
    click.echo(f"{models.DEFAULT:<16} {'embedding':<10} {'here':<8} {shipped.license:<12} {about}")
    for card in models.list_models():
        here = "here" if models.find(card.name) else f"{card.size / settings.MEGABYTE:.1f} MB"
        click.echo(f"{card.name:<16} {card.kind:<10} {here:<8} {card.license:<12} {card.description}")


@models_group.command("pull")
@click.argument("name")
def models_pull(name: str) -> None:
    """Download a model.

    \b
    Example:
      visearch models pull yolox_nano
    """
    from visearch import models

    click.echo(models.pull(name))


@models_group.command("info")
@click.argument("name")
def models_info(name: str) -> None:
    """Show the card of a model: a name of the list, or an .onnx file.

    \b
    Example:
      visearch models info ./my_model.onnx
    """
    from visearch import models

    file = models.default_model() if name == models.DEFAULT else Path(name)
    if file.is_file():
        from visearch import detector, embedder

        model = detector.load(file) if detector.is_detector(file) else embedder.load(file)
        _print_json({"sha256": model.sha256, **asdict(model.card)})
        return
    _print_json(vars(models.info(name)))


@models_group.command("export")
@click.argument("checkpoint", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("out", metavar="OUT.onnx", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Compare on the pictures of this folder  [default: those of the recipe's data sets]",
)
@_option_json
def models_export(checkpoint: Path, out: Path, pictures: Path | None, as_json: bool) -> None:
    """Make a model file of a CHECKPOINT of `visearch train`, and check it against the checkpoint on real pictures.

    \b
    Example:
      visearch models export runs/unified/best.pt unified.onnx
    """
    from training.libraries import import_timm

    import_timm()  # says what to install where it is not
    from training.export import export as export_model

    exported = export_model(checkpoint, out, pictures)
    if as_json:
        _print_json(asdict(exported))
        return
    click.echo(
        f"{out}: {exported.size / settings.MEGABYTE:.1f} MB; {exported.flipped:.3%} of the bits of {exported.pictures}"
        " pictures differ from the checkpoint's"
    )
