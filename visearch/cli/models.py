"""`visearch models`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from visearch import settings
from visearch.cli.options import option_json, print_json


@click.group("models")
def models_group() -> None:
    """Models by name: list them, get them, see what one is.

    \b
    Example:
      visearch models list
    """


@models_group.command("list")
@option_json
def models_list(as_json: bool) -> None:
    """List the models that can be named.

    \b
    Example:
      visearch models list
    """
    from visearch import detector, embedder, models

    if as_json:
        print_json([vars(card) for card in models.list_models()])
        return
    shipped = embedder.load(models.default_model()).card
    rows = [(models.DEFAULT, "embedding", shipped.license, f"{shipped.embedding_dim} bits, version {shipped.version}")]
    finds = detector.find_detector(models.default_detector())
    if finds is not None:
        about = f"{len(finds.card.labels)} labels, version {finds.card.version}"
        rows.append((models.DETECTOR, "detector", finds.card.license, about))
    for name, kind, license, about in rows:
        click.echo(f"{name:<16} {kind:<10} {'here':<8} {license:<12} {about}; what is used where none is named")
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

    shipped = {models.DEFAULT: models.default_model(), models.DETECTOR: models.default_detector()}
    file = shipped.get(name) or Path(name)
    if file.is_file():
        from visearch import detector, embedder

        model = detector.load(file) if detector.is_detector(file) else embedder.load(file)
        print_json({"sha256": model.sha256, **asdict(model.card)})
        return
    print_json(vars(models.info(name)))


@models_group.command("export")
@click.argument(
    "paths", metavar="CHECKPOINT...", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False)
)
@click.argument("out", metavar="OUT.onnx", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Compare on the pictures of this folder  [default: those of the recipe's data sets]",
)
@option_json
def models_export(paths: tuple[Path, ...], out: Path, pictures: Path | None, as_json: bool) -> None:
    """Make a model file of a CHECKPOINT of `visearch train`, embedding or detector, and check it against the checkpoint
    on real pictures. Of several checkpoints of embeddings, runs from the same start, the mean of their weights is made
    a model: often better than each of them.

    \b
    Example:
      visearch models export runs/unified/best.pt unified.onnx
      visearch models export runs/one/last.pt runs/two/last.pt mean.onnx
    """
    from training.libraries import import_timm

    import_timm()  # says what to install where it is not
    from training import checkpoint as checkpoints
    from training.detection.export import export as export_detector
    from training.export import export as export_model

    checkpoint, *others = paths
    if not others and checkpoints.load(checkpoint).kind == checkpoints.DETECTOR:
        made = export_detector(checkpoint, out, pictures)
        if as_json:
            print_json(asdict(made))
            return
        click.echo(
            f"{out}: {made.size / settings.MEGABYTE:.1f} MB; scores of what it finds in {made.pictures} pictures differ"
            f" by at most {made.moved:.4f} from the checkpoint's"
        )
        return
    exported = export_model(checkpoint, out, pictures, others=others)
    if as_json:
        print_json(asdict(exported))
        return
    click.echo(
        f"{out}: {exported.size / settings.MEGABYTE:.1f} MB; {exported.flipped:.3%} of the bits of {exported.pictures}"
        " pictures differ from the checkpoint's"
    )
