"""CUB, Cars, SOP and In-Shop by their protocols, on tiny copies of each layout."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.labelled import picture, write_manifest
from training import metric_learning, recipe
from training.metric_learning import protocol, training_recipe
from training.retrieval import Place
from visearch.codes import F32, pack
from visearch.embedder import Embedder
from visearch.errors import UsageError
from visearch.metrics import clustering_nmi


def names(regions: Sequence[object]) -> list[str]:
    return sorted(region.path.stem for region in regions)  # type: ignore[attr-defined]


def draw(path: Path, label: str, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(label, number, noise=10).save(path)


def cub(folder: Path) -> Path:
    classes = {1: "001.Albatross", 100: "100.Pelican", 101: "101.Pelican", 200: "200.Wren"}
    images: list[str] = []
    labels: list[str] = []
    for number, name in classes.items():
        for copy in (1, 2):
            picture_id = len(images) + 1
            images.append(f"{picture_id} {name}/{number}-{copy}.jpg")
            labels.append(f"{picture_id} {number}")
            draw(folder / "images" / name / f"{number}-{copy}.jpg", name, copy)
    (folder / "images.txt").write_text("\n".join(images) + "\n")
    (folder / "image_class_labels.txt").write_text("\n".join(labels) + "\n")
    return folder


def cars(folder: Path) -> Path:
    for number in (1, 98, 99, 196):
        for copy in (1, 2):
            draw(folder / f"{number:03}" / f"{number}-{copy}.jpg", str(number), copy)
    return folder


def sop(folder: Path) -> Path:
    for split, classes in (("train", (1, 2)), ("test", (11319, 11320))):
        lines = ["image_id class_id super_class_id path"]
        for number in classes:
            for copy in (1, 2):
                lines.append(f"{len(lines)} {number} 1 chair/{number}-{copy}.JPG")
                (folder / "chair").mkdir(parents=True, exist_ok=True)
                picture(str(number), copy).save(folder / f"chair/{number}-{copy}.JPG", "JPEG")
        (folder / f"Ebay_{split}.txt").write_text("\n".join(lines) + "\n")
    return folder


def in_shop(folder: Path) -> Path:
    rows = [(1, "a", "train"), (2, "a", "query"), (2, "b", "gallery"), (3, "a", "query"), (3, "b", "gallery")]
    lines = [str(len(rows)), "image_name item_id evaluation_status"]
    for item, name, status in rows:
        draw(folder / "img" / f"{item}{name}.jpg", str(item), ord(name))
        lines.append(f"img/{item}{name}.jpg id_{item:08} {status}")
    (folder / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    return folder


LAYOUTS = {
    "cub200": (cub, ["101-1", "101-2", "200-1", "200-2"]),
    "cars196": (cars, ["196-1", "196-2", "99-1", "99-2"]),
    "sop": (sop, ["11319-1", "11319-2", "11320-1", "11320-2"]),
}


@pytest.mark.parametrize("format", LAYOUTS)
def test_the_test_classes_search_each_other(format: recipe.Format, tmp_path: Path) -> None:
    make, expected = LAYOUTS[format]
    task = protocol(make(tmp_path), format)
    assert names(task.queries) == names(task.corpus) == expected
    assert task.leave_self_out
    assert {len(query.labels) for query in task.queries} == {1}


def test_in_shop_queries_search_the_gallery(tmp_path: Path) -> None:
    task = protocol(in_shop(tmp_path))
    assert names(task.queries) == ["2a", "3a"]
    assert names(task.corpus) == ["2b", "3b"]


def test_a_manifest_with_splits_does_as_well(shared: Path) -> None:
    task = protocol(shared / "datasets" / "cars196")
    assert len(task.queries) == len(task.corpus) == 100
    assert {min(query.labels) for query in task.queries} == {f"{number:03}" for number in range(89, 99)}


def test_without_a_test_half_there_is_no_benchmark(tmp_path: Path) -> None:
    draw(tmp_path / "class" / "a.png", "a", 1)
    with pytest.raises(UsageError, match="split"):
        protocol(tmp_path)


def test_training_sees_the_training_half_and_no_validation(tmp_path: Path) -> None:
    from training import data

    base = recipe.load("smoke")
    made = {head: training_recipe(base, cub(tmp_path), "cub200", head) for head in metric_learning.HEADS}
    for read in made.values():
        recipe.check(read)
        assert {sample.path.parent.name for sample in data.read(read).sets[0].samples} == {
            "001.Albatross",
            "100.Pelican",
        }
        assert not read.validation
    assert (made["softmax"].embedding.relu, made["normalized"].embedding.relu) == (True, False)
    assert (made["softmax"].embedding.groups, made["normalized"].embedding.groups) == (16, 0)


def test_recall_and_nmi_are_what_they_are_by_hand(tmp_path: Path) -> None:
    """Four classes on four axes, and one picture of a class that lies with another: its recall comes late."""
    labels = [label for label in "abcd" for _ in range(4)]
    for number, label in enumerate(labels):
        draw(tmp_path / f"{number:02}.png", label, number)
    rows = [{"path": f"{n:02}.png", "class": label, "split": "test"} for n, label in enumerate(labels)]
    rows.append({"path": "trained.png", "class": "z", "split": "train"})
    task = protocol(write_manifest(tmp_path / "labels.csv", rows))
    axes = np.kron(np.eye(4, dtype=np.float32) * 2 - 1, np.ones(16, np.float32))
    vectors = axes[["abcd".index(label) for label in labels]]
    vectors[0] = axes[1]  # an "a" among the "b"

    def embed(places: Sequence[Place]) -> F32:
        return np.stack([vectors[int(path.stem)] for path, _ in places])

    figures = metric_learning.measure(task, embed)
    distances = (pack(vectors)[:, None] != pack(vectors)[None]).sum(axis=2) + 100 * np.eye(16)
    for k in (1, 2, 4, 8):
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        hits = [any(labels[place] == labels[row] for place in order[row]) for row in range(16)]
        for way in ("binary", "float"):
            assert figures.recall[way][str(k)][0] == pytest.approx(np.mean(hits)), (way, k)
    assert figures.recall["binary"]["1"][0] < 1
    assert figures.nmi["binary"] == clustering_nmi(np.where(vectors > 0, 1, -1).astype(np.float32), labels)
    assert figures.nmi["float"] == pytest.approx(
        clustering_nmi((vectors / 8).astype(np.float32), labels)
    )  # of unit length


def test_the_command_measures_a_model(tmp_path: Path, tiny: Path) -> None:
    done = CliRunner().invoke(metric_learning.main, [str(sop(tmp_path)), "--model", str(tiny)])
    assert done.exit_code == 0, done.output
    assert "4 queries, 64 bits" in done.output
    assert "R@8 100.0" in done.output  # three others, one of them right


@pytest.mark.slow
def test_both_losses_train_and_are_measured(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    data = cars(tmp_path / "cars")
    out = tmp_path / "out"
    arguments = [str(data), "--format", "cars196", "--recipe", "smoke", "--epochs", "2", "--out", str(out)]
    done = CliRunner().invoke(metric_learning.main, arguments)
    assert done.exit_code == 0, done.output
    figures = json.loads((out / "metrics.json").read_text())
    assert set(figures) == {"softmax", "normalized"}
    again = CliRunner().invoke(metric_learning.main, arguments)
    assert again.exit_code == 0, again.output
    assert done.output.endswith(again.output)  # which tells of no training
    other = CliRunner().invoke(
        metric_learning.main, [str(cub(tmp_path / "cub")), "--recipe", "smoke", "--out", str(out)]
    )
    assert isinstance(other.exception, UsageError)
    assert "holds a run of another recipe" in other.exception.message
    for head in figures:
        assert Embedder(out / head / "model.onnx").card.embedding_dim == figures[head]["bits"] == 64
        assert figures[head]["recall"]["binary"]["4"][0] == 1
