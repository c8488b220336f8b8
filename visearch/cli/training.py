"""`visearch train` and `visearch ablate`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("recipe")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of the run  [default: runs/NAME]")
@click.option("--resume", is_flag=True, help="Go on with the run in that folder; begin it where there is none.")
@click.option("--detector", is_flag=True, help="The RECIPE is of an object detector; `detector` ships.")
def train(recipe: str, out: Path | None, resume: bool, detector: bool) -> None:
    """Train an embedding by a RECIPE: a .toml file, or one that ships.

    These ship: paper, smoke, vit, and unified with unified_settled, which goes on from it. A
    run may be interrupted at any time. The folder holds best.pt (what `visearch models export` takes), last.pt (what
    --resume goes on from), log.jsonl and a TensorBoard log. On several GPUs:
    `torchrun --nproc-per-node 8 --no-python visearch train RECIPE`.

    \b
    Example:
      visearch train smoke
      visearch train my_shop.toml --out runs/shop --resume
      visearch train --detector detector
    """
    from training.libraries import import_timm

    import_timm()  # says what to install where it is not
    if detector:
        from training.detection import recipe as detector_recipes
        from training.detection.run import train as train_detector

        of_detector = detector_recipes.load(recipe)
        click.echo(train_detector(of_detector, out or Path("runs") / of_detector.name, resume=resume))
        return
    from training import recipe as recipes
    from training.trainer import train as run

    read = recipes.load(recipe)
    best = run(read, out or Path("runs") / read.name, resume=resume)
    click.echo(best)


@click.command()
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
