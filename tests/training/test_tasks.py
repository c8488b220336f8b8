"""Our tasks ask what they say they ask, of data that may or may not be here."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.tiny_model import write_model
from tests.training.tiny_store import BOX, write_store
from training import tasks
from training.retrieval import P1, Task, answers, embed_with, measure
from visearch.embedder import Embedder
from visearch.errors import UsageError

NOWHERE = Path("/nonexistent")


def built(sources: tasks.Sources, *names: str) -> dict[str, Task]:
    made, unavailable = tasks.build(sources, names)
    assert not unavailable
    return {task.name: task for task in made}


def of_shared(shared: Path, *names: str) -> dict[str, Task]:
    return built(tasks.Sources(shared, NOWHERE), *names)


def test_what_is_not_here_is_named_and_the_rest_is_measured(tmp_path: Path) -> None:
    made, unavailable = tasks.build(tasks.Sources(NOWHERE, write_store(tmp_path)))
    assert {task.name for task in made} == {
        "lens_homestore_product_box",
        "lens_homestore_product_whole",
        "lens_homestore_category_box",
        "lens_homestore_category_whole",
        "shop_homestore",
        "shop_homestore_in_category",
    }
    assert set(unavailable) == set(tasks.FAMILIES) - {"lens_homestore", "shop_homestore"}
    assert "/nonexistent/datasets/grocery/labels.csv" in unavailable["lens_iconic"]
    _, unavailable = tasks.build(tasks.Sources(NOWHERE, NOWHERE), ["shop"])
    assert set(unavailable) == {"shop_homestore", "shop_ikea"}
    assert "data.homestore --profile bench" in unavailable["shop_homestore"]


def test_an_unknown_task_is_an_error_that_names_the_others() -> None:
    with pytest.raises(UsageError, match="lens_iconic"):
        tasks.build(tasks.Sources(NOWHERE, NOWHERE), ["flashlamp"])


def test_shop_asks_for_large_objects_of_test_rooms_by_their_true_boxes(tmp_path: Path) -> None:
    store = tasks.Sources(NOWHERE, write_store(tmp_path))
    task = built(store, "shop_homestore")["shop_homestore"]
    assert [query.box for query in task.queries] == [BOX] * 6  # and not the specks
    truth = answers(task)
    for query, relevant in zip(task.queries, truth.relevant, strict=True):
        assert [task.corpus[place].labels for place in relevant] == [query.labels]
    within = answers(built(store, "shop_homestore")["shop_homestore_in_category"])
    assert [len(excluded) for excluded in within.excluded] == [3] * 6  # the other category


def test_the_true_box_finds_the_product_of_a_drawn_room(tmp_path: Path, tiny: Path) -> None:
    task = built(tasks.Sources(NOWHERE, write_store(tmp_path)), "shop_homestore")["shop_homestore"]
    result = measure(task, embed_with(Embedder(tiny)))
    assert result.values("binary", P1).mean() == 1
    assert result.chance[P1] == pytest.approx(1 / 6)
    assert {name: len(places) for name, places in result.groups.items()} == {"lamp": 3, "sofa": 3}


def test_seen_and_unseen_groceries_are_apart(shared: Path) -> None:
    lens = of_shared(shared, "lens_iconic", "lens_photos")
    unseen = set((shared / "datasets/grocery/unseen.txt").read_text().split())
    for family in ("lens_iconic", "lens_photos", "lens_photos_apart"):
        classes = {name: {min(q.labels) for q in lens[f"{family}_{name}"].queries} for name in ("seen", "unseen")}
        assert classes["unseen"] <= unseen
        assert not classes["seen"] & unseen
        assert classes["unseen"] == unseen or family == "lens_photos_apart"  # five were never met a second time
    assert len(lens["lens_iconic_seen"].corpus) == 81
    photos = lens["lens_photos_seen"]
    assert len(photos.corpus) == 2936
    assert all(len(excluded) == 1 for excluded in answers(photos).excluded)  # itself
    apart = lens["lens_photos_apart_unseen"]
    assert not {each.path for each in apart.queries} & {each.path for each in apart.corpus}


def test_groceries_without_the_list_of_unseen_classes_are_not_here(tmp_path: Path) -> None:
    grocery = tmp_path / "datasets" / "grocery"
    grocery.mkdir(parents=True)
    (grocery / "labels.csv").write_text("path,class,domain,split\n")
    _, unavailable = tasks.build(tasks.Sources(tmp_path, NOWHERE), ["lens_iconic"])
    assert "unseen.txt" in unavailable["lens_iconic"]


def test_flashlight_searches_classes_that_are_not_trained_on(shared: Path) -> None:
    from visearch.manifest import read_manifest

    task = of_shared(shared, "flashlight_caltech")["flashlight_caltech"]
    rows = list(read_manifest(shared / "datasets/caltech101/labels.csv"))
    trained = {str(row.metadata["class"]) for row in rows if row.metadata["split"] == "train"}
    assert not trained & {label for query in task.queries for label in query.labels}
    assert task.leave_self_out


def test_a_crop_finds_its_own_picture_but_its_category_only_elsewhere(shared: Path) -> None:
    made, _ = tasks.build(tasks.Sources(shared, NOWHERE), ["flashlight_crops"])
    picture, category = made
    for query, relevant in zip(picture.queries, answers(picture).relevant, strict=True):
        assert [picture.corpus[place].path for place in relevant] == [query.path]
    assert len(picture.corpus) > 1000
    for query, relevant in zip(category.queries, answers(category).relevant, strict=True):
        assert query.path not in {category.corpus[place].path for place in relevant}


def test_rooms_of_photographs_need_a_detector_and_take_any(shared: Path) -> None:
    _, unavailable = tasks.build(tasks.Sources(shared, NOWHERE), ["shop_ikea"])
    assert "detector" in unavailable["shop_ikea"]
    two = [(0.1, 0.1, 0.5, 0.5), (0.5, 0.5, 0.9, 0.9)]
    (task,) = built(tasks.Sources(shared, NOWHERE, lambda path: two), "shop_ikea").values()
    assert len(task.queries) == 2 * 23
    assert len(task.corpus) == 2294
    relevant = [len(places) for places in answers(task).relevant]
    assert 3 < sum(relevant) / len(relevant) < 30  # products in a room


def test_general_knowledge_is_asked_of_parts_that_share_little(shared: Path) -> None:
    task = of_shared(shared, "general")["general_parts"]
    assert len(task.queries) == 128 + 125 + 440
    trained = {row.path for row in tasks.Sources(shared, NOWHERE).rows("caltech101") if not row.among("val")}
    assert not trained & {query.path for query in task.queries}
    assert not [query for query in task.queries if {"imagenet-samples", "natural-free"} & set(query.path.parts)]
    left, right = tasks.LEFT_PART, tasks.RIGHT_PART
    common = (left[2] - right[0]) * (left[3] - right[1])
    assert 0 < common / (left[2] * left[3]) < 0.25


def test_the_command_compares_two_models(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEARCH_SHARED", str(NOWHERE))
    monkeypatch.setenv("VISEARCH_HOMESTORE_BENCH", str(write_store(tmp_path / "store")))
    other = write_model(tmp_path / "other.onnx", seed=1)
    done = CliRunner().invoke(
        tasks.main, [str(tiny), str(other), "--tasks", "shop", "--json", str(tmp_path / "out.json")]
    )
    assert done.exit_code == 0, done.output
    assert "shop_homestore_in_category" in done.output
    assert "shop_ikea: not measured" in done.output
    figures = json.loads((tmp_path / "out.json").read_text())
    first, second = (model["tasks"]["shop_homestore"]["binary"][P1][0] for model in figures["models"])
    assert figures["models"][1]["gains"]["shop_homestore"][P1][0] == pytest.approx(second - first)
    assert "gains" not in figures["models"][0]
