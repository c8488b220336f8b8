"""Comparing two generations: each figure is what `evaluate` gives alone, and the difference is of pairs of queries."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.labelled import index, picture, save, write_manifest
from tests.pictures import visearch
from tests.tiny_model import card, write_model
from visearch.collection import Collection
from visearch.compare import compare
from visearch.evaluate import evaluate
from visearch.metrics import paired_difference

LABELS = ("apple", "pear", "plum", "quince", "fig", "lime")
EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """Noisy pictures of six labels, in two generations of models that rank them differently; and 30 queries."""
    folder = tmp_path_factory.mktemp("shop")
    rows: list[dict[str, object]] = [
        {"path": save(folder, label, number, noise=150), "label": label} for label in LABELS for number in range(4)
    ]
    picture("evil", 0).save(folder / "evil.png")
    rows.append({"path": "evil.png", "label": EVIL})
    index(write_manifest(folder / "catalog.csv", rows), folder / "collection", tiny).close()
    other = write_model(folder / "other.onnx", json.dumps(card(name=EVIL)), seed=3)
    done = visearch("backfill", "--model", other, "--collection", folder / "collection")
    assert done.code == 0, done.err
    (folder / "asked").mkdir()
    asked: list[dict[str, object]] = [
        {"path": f"asked/{save(folder / 'asked', label, number, noise=150)}", "label": label}
        for label in LABELS
        for number in range(50, 55)
    ]
    asked.append({"path": "asked/nowhere.png", "label": "fig"})
    write_manifest(folder / "queries.csv", asked)
    return folder


def run(shop: Path, *arguments: object, collection: Path | None = None) -> Any:
    where = ("--queries", shop / "queries.csv", "--collection", collection or shop / "collection")
    done = visearch(*arguments, *where, "--json")
    assert done.code == 0, done.err
    return done.json


def test_each_side_is_exactly_what_evaluate_gives_while_that_generation_answers(shop: Path, tmp_path: Path) -> None:
    compared = run(shop, "generations", "compare", 1, 2)
    own = shutil.copytree(shop / "collection", tmp_path / "own")
    for side, number in (("before", 1), ("after", 2)):
        assert visearch("generations", "switch", number, "--collection", own).code == 0
        alone = run(shop, "evaluate", collection=own)
        told = {key: value for key, value in compared[side].items() if key not in ("generation", "model")}
        assert told == alone
        assert (compared[side]["generation"], alone["queries"], alone["unreadable"]) == (number, 30, 1)
    assert compared["before"]["reranked"] != compared["after"]["reranked"], "else nothing was compared"


def test_the_difference_and_the_overlap_are_those_of_the_queries_one_by_one(shop: Path) -> None:
    with (
        Collection.open(shop / "collection", generation=1) as first,
        Collection.open(shop / "collection", generation=2) as second,
    ):
        found = compare(first, second, shop / "queries.csv")
        alone = [evaluate(each, shop / "queries.csv").rankings.reranked for each in (first, second)]
    before, after = (each.measures["map_at_r"] for each in alone)
    assert found.differences["reranked"]["map_at_r"] == paired_difference(before, after)
    mean, low, high = found.differences["reranked"]["map_at_r"]
    assert mean == pytest.approx(after.mean() - before.mean())
    assert low < mean < high
    heads = zip(*(each.items[:, :10].tolist() for each in alone), strict=True)
    shared = [len(set(left) & set(right)) / 10 for left, right in heads]
    assert found.overlap["reranked"] == pytest.approx(np.mean(shared))
    assert 0 < found.overlap["reranked"] < 1


def test_a_generation_is_no_better_than_itself(shop: Path) -> None:
    compared = run(shop, "generations", "compare", 2, 2)
    assert compared["before"] == compared["after"]
    assert all(value == [0, 0, 0] for way in compared["differences"].values() for value in way.values())
    assert set(compared["overlap_at_10"].values()) == {1.0}


def test_queries_measured_in_one_generation_only_are_not_compared(shop: Path, tmp_path: Path) -> None:
    own = shutil.copytree(shop / "collection", tmp_path / "own")
    with Collection.open(own) as collection, collection.store.write() as writer:
        generation = writer.generation(2)
        assert generation is not None
        for item in collection.items():
            if item.metadata["label"] == "apple":
                writer.remove_codes(generation, item.item_id)
    compared = run(shop, "generations", "compare", 1, 2, collection=own)
    assert (compared["before"]["queries"], compared["after"]["queries"], compared["compared"]) == (30, 25, 25)


def test_the_table_shows_both_and_the_difference(shop: Path) -> None:
    where = ("--queries", shop / "queries.csv", "--collection", shop / "collection")
    shown = visearch("generations", "compare", 1, 2, *where).out
    assert "30 queries against 25 items; 1 unreadable" in shown
    assert "1: tiny 1" in shown
    assert shown.count("Average P@20") == 3
    assert shown.count("same first 10") == 3
    assert all(len(line) <= 80 and "…" not in line for line in shown.splitlines()), "it fits a terminal"


def test_the_report_shows_what_got_better_and_worse_and_needs_nothing_else(shop: Path, tmp_path: Path) -> None:
    where = ("--queries", shop / "queries.csv", "--collection", shop / "collection")
    done = visearch("generations", "compare", 1, 2, *where, "--report", tmp_path / "report")
    assert done.code == 0, done.err
    page = (tmp_path / "report" / "index.html").read_text()
    with (
        Collection.open(shop / "collection", generation=1) as first,
        Collection.open(shop / "collection", generation=2) as second,
    ):
        gains = compare(first, second, shop / "queries.csv").gains
    better, worse = int((gains > 0).sum()), int((gains < 0).sum())
    assert better
    assert worse
    assert f"Queries that got better ({better})" in page
    assert f"Queries that got worse ({worse})" in page
    assert page.count("class='row'") == 2 * (min(12, better) + min(12, worse))
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_baseline_and_shipped_model_on_grocery_are_as_evaluate_measures_each_alone(
    shared: Path, baseline: Path, tmp_path: Path
) -> None:
    """Iconic pictures are the corpus, phone photos of the split `val` the queries; the same figures, digit by digit."""
    grocery = shared / "datasets" / "grocery"
    with (grocery / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name, split in (("catalog", "catalog"), ("queries", "val")):
        chosen = [row for row in rows if row["split"] == split]
        write_manifest(
            tmp_path / f"{name}.csv", [{"path": grocery / row["path"], "label": row["class"]} for row in chosen]
        )
    index(tmp_path / "catalog.csv", tmp_path / "collection", baseline).close()
    assert visearch("backfill", "--model", "unified", "--collection", tmp_path / "collection").code == 0
    compared = run(tmp_path, "generations", "compare", 1, 2)
    for side, number in (("before", 1), ("after", 2)):
        visearch("generations", "switch", number, "--collection", tmp_path / "collection")
        alone = run(tmp_path, "evaluate")
        assert {key: compared[side][key] for key in alone} == alone
