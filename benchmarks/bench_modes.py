"""How well each mode answers, end to end, by the commands a user has: `visearch index`, `visearch evaluate --mode`.

    .venv/bin/python benchmarks/bench_modes.py --bench out/bench --shared ../shared --out out/modes \
        --model A.onnx [--model B.onnx] [--detector C.onnx] [--only homestore]

Shop-the-Look: objects of the home store's `bench` rooms find the very product; ikea val rooms find a product of the
room. Lens: phone photos of the home store, and of groceries (classes trained on and others apart). Flashlight: a box of
a COCO picture finds the picture it is from, and pictures of its category, among others, all indexed with `--objects`.
Prints a Markdown table a set: ways of asking x model, percent with 95% intervals; Shop-the-Look by category below. What
has been measured lies in --out and is not measured again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

COMMAND = (sys.executable, "-c", "from visearch.cli import main; main()")
MEASURES = {"precision_at_1": "first", "recall_at_5": "in the first 5"}
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Question:
    """A manifest of queries; `label` is the metadata key that says what is relevant."""

    name: str
    mode: str
    label: str
    rows: Rows


@dataclass(frozen=True)
class Set:
    """A catalogue and what is asked of it."""

    name: str
    catalogue: Rows
    questions: tuple[Question, ...]
    objects: bool = False


def homestore(bench: Path, shared: Path) -> Set:
    """Rooms and phone photos of `bench` against its catalogue."""
    rooms, photos = (_rows(bench / name) for name in ("scenes.jsonl", "photos.jsonl"))
    keys = ("path", "product", "category", "box")
    photos = [{key: row[key] for key in keys} for row in photos]
    rooms = [{key: row[key] for key in ("path", "objects")} for row in rooms]
    catalogue = [{key: row[key] for key in ("path", "product", "category")} for row in _rows(bench / "catalog.jsonl")]
    questions = (Question("shop", "shop", "product", rooms), Question("lens", "lens", "product", photos))
    return Set("homestore", catalogue, questions)


def ikea(bench: Path, shared: Path) -> Set:
    """Photographed rooms of the val split, without boxes: a hit is any product of the room."""
    folder = shared / "datasets" / "ikea"
    rooms: dict[str, list[str]] = defaultdict(list)
    for pair in _csv(folder / "pairs.csv"):
        rooms[pair["product_file"]].append(pair["room_file"])
    catalogue, asked = [], []
    for row in _csv(folder / "labels.csv"):
        path, name = folder / row["path"], Path(row["path"]).name
        if row["domain"] == "scene":
            asked += [{"path": str(path), "room": name}] if row["split"] == "val" else []
        else:
            catalogue.append({"path": str(path), "product": name, "room": rooms.get(name, [])})
    return Set("ikea", catalogue, (Question("shop", "shop", "room", asked),))


def grocery(bench: Path, shared: Path) -> Set:
    """Phone photos in shops against one product picture a class."""
    folder = shared / "datasets" / "grocery"
    unseen = set((folder / "unseen.txt").read_text().split("\n"))
    rows = [
        {"path": str(folder / row["path"]), **{k: row[k] for k in ("class", "split")}}
        for row in _csv(folder / "labels.csv")
    ]
    val = [row for row in rows if row["split"] == "val"]
    return Set(
        "grocery",
        [row for row in rows if row["split"] == "catalog"],
        tuple(
            Question(
                f"lens {name}", "lens", "class", [row for row in val if (row["class"] in unseen) == (name == "unseen")]
            )
            for name in ("seen", "unseen")
        ),
    )


def coco(bench: Path, shared: Path) -> Set:
    """Boxes of COCO pictures; the pictures and 1,000 others are indexed with their objects."""
    folder = shared / "datasets" / "coco256"
    catalogue, asked = [], []
    for row in _csv(folder / "labels.csv"):
        boxes, path = json.loads(row["extra"])["boxes"], folder / row["path"]
        with Image.open(path) as picture:
            width, height = picture.size
        objects = [
            {
                "picture": row["path"],
                "category": label,
                "kind": label,
                "box": [x0 / width, y0 / height, x1 / width, y1 / height],
            }
            for label, (x0, y0, x1, y1) in boxes
        ]
        catalogue.append(
            {"path": str(path), "picture": row["path"], "kind": sorted({each["kind"] for each in objects})}
        )
        asked.append({"path": str(path), "objects": [each for each in objects if _area(each["box"]) >= 0.02]})
    others = shared / "datasets" / "imagenet-samples"
    catalogue += [{"path": str(others / row["path"])} for row in _csv(others / "labels.csv")]
    questions = (
        Question("its picture", "flashlight", "picture", asked),
        Question("its category", "flashlight", "kind", asked),
    )
    return Set("coco", catalogue, questions, objects=True)


SETS: tuple[Callable[[Path, Path], Set], ...] = (homestore, ikea, grocery, coco)


def _area(box: list[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _csv(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _rows(path: Path) -> Rows:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row | {"path": str(path.parent / row["path"])} for row in rows]


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _run(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments], check=False, env=os.environ | environment, text=True, stdout=subprocess.PIPE
    )
    if done.returncode:
        sys.exit(f"visearch {' '.join(arguments)}: exit code {done.returncode}")
    return done.stdout


def measure(each: Set, model: Path, detector: Path | None, out: Path) -> dict[str, dict[str, Any]]:
    """Question -> what `visearch evaluate --mode --json` says of it."""
    environment = {"VISEARCH_DETECTOR": str(detector.resolve())} if detector else {}
    here = out / model.stem / (detector.stem if detector else "default") / each.name
    found = {}
    for question in each.questions:
        answer = here / f"{question.name}.json"
        if not answer.exists():
            catalogue = _write(here / "catalogue.jsonl", (_absolute(row) for row in each.catalogue))
            options = ["--collection", str(here / "collection"), "--json"]
            index = ["index", str(catalogue), "--model", str(model), *options, *(["--objects"] if each.objects else [])]
            _run(environment, *index)
            queries = _write(here / f"{question.name}.jsonl", (_absolute(row) for row in question.rows))
            how = ["--mode", question.mode, "--label", question.label]
            answer.write_text(
                _run(environment, "evaluate", "--queries", str(queries), *how, *options), encoding="utf-8"
            )
        found[question.name] = json.loads(answer.read_text(encoding="utf-8"))
    return found


def _absolute(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"path": str(Path(row["path"]).resolve())}


def tables(each: Set, measured: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Markdown of one set; `measured` is model -> question -> figures."""
    models, titles = list(measured), MEASURES.values()
    lines = [f"### {each.name}", ""]
    lines += [
        f"| asked | way | questions | {' | '.join(f'{model}, {title}' for model in models for title in titles)} |"
    ]
    lines += ["|---|---|" + "---:|" * (1 + len(models) * len(MEASURES))]
    for question in each.questions:
        first = measured[models[0]][question.name]
        for way in first["ways"]:
            cells = [_cell(measured[model][question.name]["ways"][way][key]) for model in models for key in MEASURES]
            lines.append(f"| {question.name} | {way} | {first['questions'][way]} | {' | '.join(cells)} |")
        if first["boxes_found"] is not None:
            lines.append(
                f"| {question.name} | true boxes detected | | {100 * first['boxes_found']:.1f} |"
                + " |" * (2 * len(models) - 1)
            )
    for question in each.questions:
        categories = measured[models[-1]][question.name]["by_category"]
        if question.mode == "shop" and categories:
            lines += [
                "",
                f"By category, {models[-1]}, detected / true box:",
                "",
                "| category | first | in the first 5 |",
                "|---|---:|---:|",
            ]
            for category, ways in categories.items():
                cells = [
                    " / ".join(_cell(ways[way][key]) for way in ("detected", "true box") if way in ways)
                    for key in MEASURES
                ]
                lines.append(f"| {category} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _cell(figure: list[float]) -> str:
    mean, low, high = (100 * value for value in figure)
    return f"{mean:.1f} ({low:.1f}-{high:.1f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, default=Path("out/bench"))
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, default=Path("out/modes"))
    parser.add_argument(
        "--model", type=Path, action="append", required=True, help="an .onnx; more than once to compare"
    )
    parser.add_argument("--detector", type=Path, help="an .onnx  [default: the installed one]")
    parser.add_argument("--only", choices=[each.__name__ for each in SETS], action="append")
    arguments = parser.parse_args()
    for make in SETS:
        if arguments.only and make.__name__ not in arguments.only:
            continue
        each = make(arguments.bench, arguments.shared)
        measured = {model.stem: measure(each, model, arguments.detector, arguments.out) for model in arguments.model}
        print(tables(each, measured), flush=True)


if __name__ == "__main__":
    main()
