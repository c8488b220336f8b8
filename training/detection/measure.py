"""How good a detector is: average precision as COCO measures it, and what share of the objects its boxes hold.

    python -m training.detection.measure MODEL.onnx [OTHER.onnx] [--recipe detector] [--scenes out/bench/scenes.jsonl]

prints the average precision of each label on the recipe's validation sets and on other scenes, beside other models',
whose labels are translated by the recipe's categories and synonyms.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from training import command
from training.detection import recipe as recipes
from training.detection import scenes
from training.detection.recipe import Data, DetectorRecipe
from training.detection.scenes import Scene
from visearch import detector as detectors
from visearch import images
from visearch.detector import Detection, Detector, overlaps
from visearch.errors import naming
from visearch.files import read_limited
from visearch.modes import SHOP_SCORE

LEAST_SCORE = 0.01  # of the boxes that average precision is measured with
MOST_BOXES = 100  # of a picture, as COCO
SHOWN_BOXES = 20  # of a picture, as Shop-the-Look searches at most, with a score of at least SHOP_SCORE
LARGE = 0.01  # share of a picture that an object covers at least to be counted in recall
OVERLAP = 0.5  # IoU at which a box holds an object


@dataclass(frozen=True)
class Measured:
    """Figures of one detector on one set of scenes, all in 0-1.

    Attributes:
        ap: label -> mean average precision at IoU 0.5, 0.55 ... 0.95; ap50: at 0.5. Of the labels that the scenes have.
        truths: label -> objects.
        recall: share of the objects of 1% of the picture or more that one of the boxes which Shop-the-Look would take
            holds (IoU 0.5), whatever its label; recall_named: one of the right label.
        boxes: how many boxes that are in a picture, on average.
    """

    ap: dict[str, float]
    ap50: dict[str, float]
    truths: dict[str, int]
    recall: float
    recall_named: float
    boxes: float

    def summary(self) -> dict[str, float]:
        """Means over the labels, and what is no label's."""
        figures = {"ap50": self.ap50, "ap": self.ap}
        means = {name: float(np.mean(list(values.values()))) for name, values in figures.items()}
        return means | {"recall": self.recall, "recall_named": self.recall_named, "boxes": self.boxes}


def find(detector: Detector, truth: Sequence[Scene], recipe: DetectorRecipe) -> list[list[Detection]]:
    """What a detector finds in each scene, best first, in the recipe's words."""
    found = []
    for scene in truth:
        data = read_limited(scene.path)
        with naming(scene.path):
            picture = images.decode(data, min_side=detector.min_side())
        best = detector.detect(picture, limit=MOST_BOXES, min_score=LEAST_SCORE)
        found.append([Detection(each.box, recipe.label(each.label), each.score, None) for each in best])
    return found


def measure(truth: Sequence[Scene], found: Sequence[Sequence[Detection]], least_area: float = 0.0) -> Measured:
    """Compare what was found with the truth; objects of less than `least_area` are neither asked for, nor wrong."""
    ap, ap50 = average_precision(truth, found, least_area)
    things = [thing.label for scene in truth for thing in scene.things if thing.area >= least_area]
    shown = [[each for each in boxes if each.score >= SHOP_SCORE][:SHOWN_BOXES] for boxes in found]
    held, named = [], []
    for scene, boxes in zip(truth, shown, strict=True):
        for thing in (thing for thing in scene.things if thing.area >= LARGE):
            fits = [each.label for each in boxes if overlaps(_array(each.box), _array(thing.box))[0, 0] >= OVERLAP]
            held.append(bool(fits))
            named.append(thing.label in fits)
    return Measured(
        ap,
        ap50,
        {label: things.count(label) for label in ap},
        float(np.mean(held)) if held else 0.0,
        float(np.mean(named)) if named else 0.0,
        float(np.mean([len(boxes) for boxes in shown])),
    )


def average_precision(
    truth: Sequence[Scene], found: Sequence[Sequence[Detection]], least_area: float = 0.0
) -> tuple[dict[str, float], dict[str, float]]:
    """Label -> average precision as COCO defines it (mean over IoU 0.5 to 0.95; and at 0.5), of the labels that have an
    object in the truth."""
    from pycocotools.coco import COCO  # type: ignore[import-untyped]
    from pycocotools.cocoeval import COCOeval  # type: ignore[import-untyped]

    labels = sorted({thing.label for scene in truth for thing in scene.things if thing.area >= least_area})
    if not labels:
        return {}, {}
    number = {label: place for place, label in enumerate(labels, 1)}
    annotations = [
        {"image_id": image, "category_id": number[thing.label], "bbox": _corner_and_size(thing.box)}
        | {"area": 1.0, "iscrowd": int(thing.area < least_area)}  # COCO's way to say: neither asked for, nor wrong
        for image, scene in enumerate(truth)
        for thing in scene.things
        if thing.label in number
    ]
    results = [
        {"image_id": image, "category_id": number[each.label], "bbox": _corner_and_size(each.box), "score": each.score}
        for image, boxes in enumerate(found)
        for each in boxes
        if each.label in number
    ]
    if not results:
        return dict.fromkeys(labels, 0.0), dict.fromkeys(labels, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):  # it says much
        told = COCO()
        told.dataset = {
            "images": [{"id": image} for image in range(len(truth))],
            "annotations": [{"id": place, **each} for place, each in enumerate(annotations, 1)],
            "categories": [{"id": place} for place in number.values()],
            "info": {},
        }
        told.createIndex()
        evaluation = COCOeval(told, told.loadRes(results), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [MOST_BOXES]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 0]  # overlaps, recalls, labels
    return (
        {label: float(precision[:, :, number[label] - 1].mean()) for label in labels},
        {label: float(precision[0, :, number[label] - 1].mean()) for label in labels},
    )


def _corner_and_size(box: images.Box) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def _array(box: images.Box) -> np.ndarray:
    return np.array([box])


def table(names: Sequence[str], measured: Sequence[Measured], known: Sequence[set[str]]) -> str:
    """AP50 and AP of each label, a line each, as percentages; "-" where a model does not know it. Then the means over
    all labels and over those that every model knows, and the recall."""
    lines = [f"{'':<22}{'objects':>8}" + "".join(f"{name[:20]:>22}" for name in names)]
    lines.append(f"{'':<30}" + "".join(f"{'AP50':>13}{'AP':>9}" for _ in names))
    labels = list(measured[0].ap)
    for label in sorted(labels, key=lambda each: -measured[0].truths[each]):
        cells = [
            f"{100 * each.ap50[label]:>13.1f}{100 * each.ap[label]:>9.1f}" if label in own else f"{'-':>13}{'-':>9}"
            for each, own in zip(measured, known, strict=True)
        ]
        lines.append(f"{label[:22]:<22}{measured[0].truths[label]:>8}" + "".join(cells))
    shared = [label for label in labels if all(label in own for own in known)]
    for title, chosen in (("all", labels), (f"the {len(shared)} all know", shared)):
        if chosen:
            cells = [
                f"{100 * np.mean([each.ap50[label] for label in chosen]):>13.1f}"
                f"{100 * np.mean([each.ap[label] for label in chosen]):>9.1f}"
                for each in measured
            ]
            lines.append(f"{title:<30}" + "".join(cells))
    lines.append(f"recall of objects of 1% or more at IoU 0.5, of at most {SHOWN_BOXES} boxes of {SHOP_SCORE} or more:")
    for name, each in zip(names, measured, strict=True):
        lines.append(
            f"  {name}: {100 * each.recall:.1f}, of the right label {100 * each.recall_named:.1f}"
            f" ({each.boxes:.1f} boxes a picture)"
        )
    return "\n".join(lines)


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--recipe", "name", default="detector", show_default=True, help="Whose validation sets, and words.")
@click.option(
    "--scenes",
    "others",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Measure on these scenes (scenes.jsonl) in place of the recipe's; may be given more than once.",
)
def main(models: tuple[Path, ...], name: str, others: tuple[Path, ...]) -> None:
    """Measure MODELS side by side."""
    recipe = recipes.load(name)
    given = tuple(Data(str(path), path, least_area=LARGE) for path in others)
    opened = [detectors.load(path) for path in models]
    known = [{recipe.label(label) for label in each.card.labels} for each in opened]
    for data in given or recipe.validation:
        truth = scenes.read(data, recipe)
        click.echo(f"\n{data.name}: {len(truth)} pictures")
        measured = [measure(truth, find(each, truth, recipe), data.least_area) for each in opened]
        click.echo(table([each.name for each in opened], measured, known))
        sys.stdout.flush()


if __name__ == "__main__":
    command.run(main)
