"""The rows of an ablation: what each changes, done once each, and one report of them all."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.labelled import save, write_manifest
from tests.training.tiny_store import write_store
from training import ablate, recipe, tasks
from training.ablate import BASELINE, UNIFIED, families, rows
from training.recipe import Backbone, Data, Embedding, Recipe, Retention
from visearch.errors import UsageError

NOWHERE = Path("/nonexistent")


def data(name: str, **heads: str) -> Data:
    return Data(name, NOWHERE, "folder", heads)


BASE = Recipe(
    name="base",
    backbone=Backbone("test_resnet"),
    data=(
        data("products", product="product", category="category"),
        data("groceries", grocery="class"),
        data("rooms", product="product"),
        data("clothes", clothing="class"),
        data("photos without labels"),
    ),
    retention=Retention(distill=500.0),
)


def test_data_sets_that_feed_a_head_in_common_are_one_task() -> None:
    assert families(BASE) == [("groceries",), ("products", "rooms"), ("clothes",)]


def test_every_row_changes_what_it_says() -> None:
    by_name = {row.name: row for row in rows(BASE)}
    assert len(by_name) == len(rows(BASE))
    assert not by_name[UNIFIED].changes
    assert by_name[UNIFIED].trained
    assert not by_name[BASELINE].trained
    paper = {"head": "softmax", "groups": 256, "relu": True, "dropout": 0.0, "binary": 0.0}
    assert by_name["relu"].changes == embedding(paper)
    assert "dropout" not in by_name  # unified is that row already
    in_binary = {row.name: row for row in rows(replace(BASE, embedding=Embedding(binary=0.5)))}
    assert in_binary["dropout"].changes == embedding(paper | {"dropout": 0.5})
    published: dict[str, Any] = {"head": "normalized", "groups": 0, "relu": False, "dropout": 0.0, "binary": 0.0}
    assert by_name["normalized"].changes == embedding(published)
    trained_so = replace(BASE, embedding=Embedding(**(published | {"binary": 0.5})))
    like_published = {row.name: row for row in rows(trained_so)}
    assert "signs" not in like_published  # it is that row already
    assert like_published["dropout"].changes == embedding(paper | {"dropout": 0.5})
    begun = {row.name for row in rows(replace(BASE, begin=NOWHERE))}
    lengths = {f"bits_{bits}" for bits in ablate.CODE_LENGTHS if bits != BASE.embedding.dim}
    assert by_name.keys() - begun == {"normalized", "signs", *lengths}
    assert by_name["proportional"].changes == {"schedule.mix": "proportional"}
    assert by_name["gradnorm"].changes == {"schedule.balance": "gradnorm"}
    assert gone(by_name["only_groceries"]) == {"data.products", "data.rooms", "data.clothes"}
    assert gone(by_name["only_products"]) == {"data.groceries", "data.clothes"}
    assert by_name["distill_all"].changes == {"retention.distill_on": "all"}
    assert by_name["less_varied"].changes == {"data.photos without labels": None, "retention.distill_on": "all"}
    assert by_name["soup"].made_from == (UNIFIED, "low_rate", "layer_decay")
    assert {name for name in by_name if "average" in name} == {
        *(f"average_{share}" for share in (30, 50, 70)),  # 100 is the end, which is unified
        "plain_average_50",
    }
    averaged = {row.name for row in rows(replace(BASE, retention=Retention(distill=500.0, average=0.7)))}
    assert averaged - by_name.keys() == {"average_100", "plain_average_100"}
    assert by_name.keys() - averaged == {"average_70"}
    assert by_name["low_rate"].changes == {"schedule.backbone_rate": BASE.schedule.backbone_rate / 10}
    for row in by_name.values():
        assert set(row.made_from) <= by_name.keys()


def embedding(values: dict[str, Any]) -> dict[str, Any]:
    return {f"embedding.{key}": value for key, value in values.items()}


def gone(row: ablate.Row) -> set[str]:
    return {key for key, value in row.changes.items() if value is None}


@pytest.mark.parametrize("mix", ["uniform", "weighted"])
def test_alone_a_task_leaves_the_unlabelled_pictures_their_share(mix: Literal["uniform", "weighted"]) -> None:
    weights = (3.0, 2.0, 1.0, 0.5, 2.5)
    sets = tuple(replace(each, weight=weight) for each, weight in zip(BASE.data, weights, strict=True))
    base = replace(BASE, data=sets, schedule=replace(BASE.schedule, mix=mix))
    share = {"uniform": 1 / 5, "weighted": 2.5 / 9}[mix]
    for row in rows(base):
        if row.table == ablate.ALONE:
            assert row.changes["schedule.mix"] == "weighted"
            kept = {key: value for key, value in row.changes.items() if key.endswith(".weight")}
            assert kept["data.photos without labels.weight"] / sum(kept.values()) == pytest.approx(share)
            assert len(kept) + len(gone(row)) == 5


def test_code_lengths_are_those_that_the_recipe_has_not() -> None:
    lengths = [row for row in rows(BASE) if row.table == ablate.LENGTH]
    assert [row.changes["embedding.dim"] for row in lengths] == [64, 128, 256, 512, 2048]  # the base has 1,024
    for row in lengths:
        changed = replace(
            BASE, embedding=Embedding(row.changes["embedding.dim"], groups=row.changes["embedding.groups"])
        )
        recipe.check(changed)


def test_lengths_change_only_what_the_recipe_has() -> None:
    without = rows(replace(BASE, embedding=Embedding(groups=0)))
    assert {"bits_64", "bits_2048"} <= {row.name for row in without}
    assert all(row.changes.keys() == {"embedding.dim"} for row in without if row.table == ablate.LENGTH)
    of_the_backbone = rows(replace(BASE, embedding=Embedding(projection=False)))
    assert not [row for row in of_the_backbone if row.table == ablate.LENGTH]


def test_every_row_of_a_recipe_that_trains_in_binary_can_be_trained() -> None:
    base = replace(BASE, embedding=Embedding(binary=0.5))
    for row in rows(base):
        changed = {k.removeprefix("embedding."): v for k, v in row.changes.items() if k.startswith("embedding.")}
        recipe.check(replace(base, embedding=replace(base.embedding, **changed)))


def test_a_row_that_changes_nothing_is_left_out() -> None:
    plain = replace(BASE, retention=Retention(), embedding=Embedding(dropout=0.0))
    left_out = {row.name for row in rows(BASE)} - {row.name for row in rows(plain)}
    assert left_out == {"no_distillation", "distill_all", "plain_average_50", "relu"}
    assert "uniform" not in {row.name for row in rows(BASE)}
    weighted = replace(BASE, schedule=replace(BASE.schedule, mix="weighted"))
    assert "uniform" in {row.name for row in rows(weighted)}
    falling = rows(replace(BASE, retention=Retention(layer_decay=0.8)))
    assert not {"layer_decay", "soup"} & {row.name for row in falling}
    for row in (*rows(plain), *falling):
        assert set(row.made_from) <= {each.name for each in (*rows(plain), *falling)}


def test_a_row_comes_after_what_it_is_made_from() -> None:
    every = {row.name: row for row in rows(BASE)}
    wanted = [row.name for row in ablate._with_needed(every, ["soup", "average_30"])]
    assert wanted == [UNIFIED, "low_rate", "layer_decay", "soup", "average_30"]
    with pytest.raises(UsageError, match="no row dropout; there are imagenet"):
        ablate._with_needed(every, ["dropout"])


@pytest.fixture
def tiny_recipe(tmp_path: Path) -> Path:
    pictures = tmp_path / "train"
    pictures.mkdir()
    rows = [
        {"path": save(pictures, label, number, noise=10), "class": label}
        for label in ("lamp", "sofa", "vase")
        for number in range(6)
    ]
    write_manifest(pictures / "labels.csv", rows)
    file = tmp_path / "tiny.toml"
    file.write_text(
        f"""
        [backbone]
        name = "test_resnet"
        [embedding]
        dim = 64
        groups = 16
        size = 64
        [[data]]
        name = "things"
        path = "{pictures}"
        heads = {{ thing = "class" }}
        [schedule]
        batch = 6
        warm_epochs = 1
        epochs = 2
        precision = "float32"
        workers = 0
        """
    )
    return file


def test_a_folder_holds_rows_of_one_recipe_and_one_number_of_steps(tmp_path: Path, tiny_recipe: Path) -> None:
    base = recipe.load(tiny_recipe)
    out = tmp_path / "out"
    out.mkdir()
    assert ablate._plan(out, str(tiny_recipe), base, 40, 6, print) == 6
    assert ablate._plan(out, str(tiny_recipe), base, 40, 0, print) == 6
    with pytest.raises(UsageError, match="--out"):
        ablate._plan(out, str(tiny_recipe), base, 40, 7, print)
    with pytest.raises(UsageError, match="another recipe"):
        ablate._plan(out, str(tiny_recipe), replace(base, seed=5), 40, 6, print)


@pytest.mark.slow
def test_rows_are_trained_measured_reported_and_not_done_twice(tmp_path: Path, tiny_recipe: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    from training.report import report_ablation

    store = tasks.Sources(NOWHERE, write_store(tmp_path / "store"))
    out = tmp_path / "out"
    said: list[str] = []

    def run(*names: str) -> list[str]:
        said.clear()
        done = ablate.run(out, str(tiny_recipe), names=names, steps=6, sources=store, say=said.append)
        return [row.name for row in done]

    assert run(BASELINE, "bits_128", "average_50") == [BASELINE, UNIFIED, "bits_128", "average_50"]
    figures = {path.parent.name: json.loads(path.read_text()) for path in out.glob("*/metrics.json")}
    assert {name: each["bits"] for name, each in figures.items()} == {
        BASELINE: 64,
        UNIFIED: 64,
        "bits_128": 128,
        "average_50": 64,
    }
    assert len({each["sha256"] for each in figures.values()}) == 4  # the average is neither end
    assert {name: each["steps"] for name, each in figures.items()} == {
        BASELINE: 0,
        UNIFIED: 6,
        "bits_128": 6,
        "average_50": 0,
    }

    # A row that was stopped while it was measured is not trained again; the others are not touched.
    models = {path: path.stat().st_mtime_ns for path in out.glob("*/model.onnx")}
    (out / "bits_128" / "metrics.json").unlink()
    run("bits_128", BASELINE)
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/model.onnx")} == models
    assert json.loads((out / "bits_128" / "metrics.json").read_text())["tasks"] == figures["bits_128"]["tasks"]
    assert sum("done before" in line for line in said) == 1

    markdown, html = report_ablation(out, store)
    text = markdown.read_text()
    shop = figures[UNIFIED]["tasks"]["shop_homestore"]["binary"]["precision_at_1"]
    assert f"{100 * shop[0]:.1f} ({100 * shop[1]:.1f}-{100 * shop[2]:.1f})" in text
    for heading in ("Every task", "What binary codes cost", "What each choice is worth", "Length of the code"):
        assert f"{heading}" in text
        assert f"{heading}</h" in html.read_text()
    for picture in ("binary.svg", "distances.svg", "length.svg", "losses.svg"):
        assert (out / picture).exists()
        assert f"({picture})" in text
    assert "Not measured: lens_iconic" in text
