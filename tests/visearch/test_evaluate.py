"""Measuring a collection with labelled queries."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from tests.labelled import index, picture, save, write_manifest
from visearch import evaluate as module
from visearch import images
from visearch.collection import Collection
from visearch.errors import UsageError, VisearchError
from visearch.evaluate import Evaluation, evaluate
from visearch.filters import Filter
from visearch.rankings import HEAD

LABELS = ("apple", "pear", "plum", "fig")
OF_EACH = 3
MEASURES = {
    "precision_at_1",
    "average_precision_at_20",
    "recall_at_1",
    "recall_at_5",
    "recall_at_10",
    "map_at_r",
}


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[Collection]:
    """Three pictures of each label, "fresh" ones and others; and one picture with two labels."""
    folder = tmp_path_factory.mktemp("shop")
    rows: list[dict[str, object]] = [
        {"path": save(folder, label, number), "label": label, "fresh": number == 0}
        for label in LABELS
        for number in range(OF_EACH)
    ]
    catalog = folder / "catalog.jsonl"
    rows.append({"path": save(folder, "both", 0), "label": ["kiwi", "lime"]})
    catalog.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with index(catalog, folder / "collection", tiny) as opened:
        yield opened


def queries(folder: Path, labels: tuple[str, ...] = LABELS) -> Path:
    """A new picture of each label."""
    rows = [{"path": save(folder, label, 100), "label": label} for label in labels]
    return write_manifest(folder / "queries.csv", rows)


def test_pictures_of_the_same_label_are_found(collection: Collection, tmp_path: Path) -> None:
    measured = evaluate(collection, queries(tmp_path)).to_json()
    assert (measured["queries"], measured["left_out"], measured["unreadable"]) == (len(LABELS), 0, 0)
    for way in ("binary", "reranked", "float"):
        assert set(measured[way]) == MEASURES
        assert measured[way]["precision_at_1"] == measured[way]["recall_at_10"] == measured[way]["map_at_r"] == 1
        assert set(measured["intervals"][way]) == MEASURES
        assert measured["intervals"][way]["precision_at_1"] == [1, 1]
    json.dumps(measured, allow_nan=False)


def test_a_wrong_label_is_a_miss(collection: Collection, tmp_path: Path) -> None:
    rows = [{"path": save(tmp_path, label, 100), "label": "plum"} for label in ("apple", "plum")]
    measured = evaluate(collection, write_manifest(tmp_path / "q.csv", rows))
    assert measured.rankings.binary.measures["precision_at_1"].tolist() == [0, 1]
    assert measured.means["binary"]["precision_at_1"] == 0.5
    low, high = measured.intervals["binary"]["precision_at_1"]
    assert low < 0.5 < high


def test_the_reranked_ranking_is_that_of_a_search(collection: Collection, tmp_path: Path) -> None:
    measured = evaluate(collection, queries(tmp_path))
    for place, query in enumerate(measured.queries):
        found = collection.search(query.path, limit=HEAD, exact=True)
        ranking = measured.rankings.reranked
        assert ranking.items[place, : len(found)].tolist() == [match.item for match in found]
        assert ranking.distances[place, : len(found)].tolist() == [match.distance for match in found]
        assert ranking.scores[place, : len(found)].tolist() == pytest.approx([m.score for m in found], abs=1e-5)
        assert (ranking.items[place, len(found) :] == -1).all()


def test_a_query_in_the_collection_does_not_match_itself(collection: Collection, tmp_path: Path) -> None:
    item = next(iter(collection.items()))
    source = Path(item.source)
    copy = tmp_path / "copy.png"
    copy.write_bytes(source.read_bytes())
    rows = [{"path": path, "label": "apple"} for path in (source, copy)]
    measured = evaluate(collection, write_manifest(tmp_path / "q.csv", rows))
    for ranking in measured.rankings.by_name().values():
        assert item.item_id not in ranking.items
    assert measured.rankings.totals.tolist() == [OF_EACH - 1] * 2


def test_a_file_that_was_changed_after_indexing_is_still_itself(tmp_path: Path, tiny: Path) -> None:
    rows = [{"path": save(tmp_path, "apple", number), "label": "apple"} for number in range(2)]
    catalog = write_manifest(tmp_path / "catalog.csv", rows)
    with index(catalog, tmp_path / "collection", tiny) as opened:
        picture("apple", 7).save(tmp_path / "apple-0.png")
        same = {"path": f"../{tmp_path.name}/apple-0.png", "label": "apple"}
        measured = evaluate(opened, write_manifest(tmp_path / "q.csv", [same]))
    assert measured.rankings.totals.tolist() == [1]


def test_a_query_with_no_relevant_item_is_left_out_and_counted(collection: Collection, tmp_path: Path) -> None:
    rows = [{"path": save(tmp_path, label, 100), "label": label} for label in ("apple", "tomato")]
    rows.append({"path": save(tmp_path, "pear", 100), "label": ""})
    measured = evaluate(collection, write_manifest(tmp_path / "q.csv", rows))
    assert [query.path.name for query in measured.queries] == ["apple-100.png"]
    assert [query.path.name for query in measured.left_out] == ["tomato-100.png", "pear-100.png"]
    assert measured.to_json()["left_out"] == 2


def test_rows_that_are_no_usable_query_are_counted_with_reasons(collection: Collection, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    good = save(tmp_path, "apple", 100)
    rows = [
        {"path": good, "label": "apple"},
        {"path": "gone.jpg", "label": "apple"},
        {"path": "text.jpg", "label": "apple"},
        {"path": good, "label": "apple", "box": "0.5,0,0.2,1"},
        {"path": good, "label": "apple", "box": "left"},
        {"path": good, "label": "apple", "box": "0,0,0.001,1"},
        {"path": "", "label": "apple"},
    ]
    measured = evaluate(collection, write_manifest(tmp_path / "q.csv", rows))
    assert len(measured.queries) == 1
    reasons = {row.number: row.reason for row in measured.unreadable}
    assert list(reasons) == [2, 3, 4, 5, 6, 7]
    assert reasons[2] == "unreadable"
    assert reasons[3] in images.REASONS
    assert (reasons[4], reasons[5], reasons[6], reasons[7]) == ("box", "box", "box", "manifest")
    assert all(row.message and "\n" not in row.message for row in measured.unreadable)


@pytest.mark.parametrize(("box", "label"), [("0,0,0.5,1", "apple"), ([0.5, 0, 1, 1], "pear")])
def test_a_box_is_what_is_searched_for(collection: Collection, tmp_path: Path, box: object, label: str) -> None:
    pair = Image.new("RGB", (128, 64))
    pair.paste(picture("apple", 100), (0, 0))
    pair.paste(picture("pear", 100), (64, 0))
    pair.save(tmp_path / "pair.png")
    manifest = tmp_path / "q.jsonl"
    manifest.write_text(json.dumps({"path": "pair.png", "label": label, "box": box}))
    assert evaluate(collection, manifest).means["float"]["map_at_r"] == 1


def test_every_kind_of_manifest_gives_the_same(collection: Collection, tmp_path: Path) -> None:
    as_csv = queries(tmp_path)
    with as_csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    as_jsonl, as_parquet = tmp_path / "q.jsonl", tmp_path / "q.parquet"
    as_jsonl.write_text("\n".join(map(json.dumps, rows)))
    pq.write_table(pa.Table.from_pylist(rows), as_parquet)
    first, *others = (evaluate(collection, manifest).means for manifest in (as_csv, as_jsonl, as_parquet))
    assert all(other == first for other in others)


def test_a_filter_limits_what_is_searched_and_what_is_relevant(collection: Collection, tmp_path: Path) -> None:
    measured = evaluate(collection, queries(tmp_path), filter=Filter.parse({"fresh": True}))
    assert measured.rankings.totals.tolist() == [1] * len(LABELS)
    assert measured.setup["items"] == len(LABELS)
    assert (measured.rankings.float.items[:, len(LABELS) :] == -1).all()


def test_one_label_in_common_is_enough(collection: Collection, tmp_path: Path) -> None:
    rows = [{"path": save(tmp_path, "both", 100), "label": labels} for labels in ("lime", ["lime", "none"])]
    manifest = tmp_path / "q.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    assert evaluate(collection, manifest).rankings.totals.tolist() == [1, 1]


@pytest.mark.parametrize("label", [5, 5.0, "5"])
def test_a_number_is_the_same_label_in_every_format(tmp_path: Path, tiny: Path, label: object) -> None:
    catalog = tmp_path / "catalog.jsonl"
    catalog.write_text(json.dumps({"path": save(tmp_path, "apple", 0), "label": label}))
    with index(catalog, tmp_path / "collection", tiny) as opened:
        rows = [{"path": save(tmp_path, "apple", 1), "label": 5}]
        assert len(evaluate(opened, write_manifest(tmp_path / "q.csv", rows)).queries) == 1


def test_any_key_can_hold_the_answers(collection: Collection, tmp_path: Path) -> None:
    rows = [{"path": save(tmp_path, "apple", 100), "fresh": "True"}]
    measured = evaluate(collection, write_manifest(tmp_path / "q.csv", rows), label="fresh")
    assert measured.rankings.totals.tolist() == [len(LABELS)]


def test_what_cannot_be_measured_is_said_in_one_line(collection: Collection, tmp_path: Path) -> None:
    good = queries(tmp_path)
    other = write_manifest(tmp_path / "other.csv", [{"path": "apple-100.png", "color": "red", "label": "apple"}])
    gone = write_manifest(tmp_path / "gone.csv", [{"path": "gone.png", "label": "apple"}])
    cases: list[tuple[type[VisearchError], str, Path, str, Filter | None]] = [
        (UsageError, r"queries\.txt: queries come in a manifest", tmp_path / "queries.txt", "label", None),
        (UsageError, r"missing\.csv: cannot be read", tmp_path / "missing.csv", "label", None),
        (UsageError, "no usable row has the key `class`", good, "class", None),
        (UsageError, "no searched item carries `color`", other, "color", None),
        (UsageError, "holds no item that passes", good, "label", Filter.parse({"fresh": "maybe"})),
        (VisearchError, r"no query can be measured.*1 cannot be used.*gone\.png", gone, "label", None),
    ]
    for kind, message, manifest, label, only in cases:
        with pytest.raises(kind, match=message) as error:
            evaluate(collection, manifest, label=label, filter=only)
        assert "\n" not in error.value.message


def test_a_figure_repeats(collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = evaluate(collection, queries(tmp_path)).to_json()
    monkeypatch.setattr(module, "EMBED_TOGETHER", 1)
    assert evaluate(collection, queries(tmp_path)).to_json() == first


def test_progress_is_told_for_each_stage(collection: Collection, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    evaluate(collection, queries(tmp_path), progress=lambda *told: seen.append(told))
    assert seen == [("embed", len(LABELS), len(LABELS)), ("rank", len(LABELS), len(LABELS))]


def test_the_table_fits_a_terminal(collection: Collection, tmp_path: Path) -> None:
    measured = evaluate(collection, queries(tmp_path))
    console = Console(width=80, file=StringIO())
    console.print(measured.table())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "4 queries against 13 items" in text
    assert text.count("100.0 (100.0-100.0)") == 15, "five of the six measures are perfect, in all three ways"


@pytest.fixture(scope="module")
def grocery(shared: Path, baseline: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Collection, Evaluation]:
    """The 81 iconic pictures of the grocery set, and every tenth of its photos as queries."""
    folder = tmp_path_factory.mktemp("grocery")
    pictures = shared / "datasets" / "grocery"
    with (pictures / "labels.csv").open(newline="") as file:
        rows = [
            {"path": pictures / row["path"], **{k: row[k] for k in ("class", "split")}} for row in csv.DictReader(file)
        ]
    catalog = write_manifest(folder / "catalog.csv", [row for row in rows if row["split"] == "catalog"])
    photos = write_manifest(folder / "photos.csv", [row for row in rows if row["split"] == "val"][::10])
    collection = index(catalog, folder / "collection", baseline)
    return collection, evaluate(collection, photos, label="class")


def test_real_photos_are_measured_as_a_few_lines_of_numpy_do(grocery: tuple[Collection, Evaluation]) -> None:
    collection, measured = grocery
    items = list(collection.items())
    embedded = [
        collection.embed([images.decode(Path(path).read_bytes(), min_side=224) for path in paths])
        for paths in ([query.path for query in measured.queries], [item.source for item in items])
    ]
    queries, corpus = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in embedded)
    wanted = np.array([[item.metadata["class"] in query.labels for item in items] for query in measured.queries])
    distances = ((queries > 0)[:, None] != (corpus > 0)[None]).sum(axis=2)
    everyone = np.arange(len(queries))
    binary = wanted[everyone, distances.argmin(axis=1)].mean()
    exact = wanted[everyone, (queries @ corpus.T).argmax(axis=1)].mean()
    assert measured.means["binary"]["precision_at_1"] == pytest.approx(binary)
    assert measured.means["float"]["precision_at_1"] == pytest.approx(exact, abs=0.021), "int8 may swap near ties"
    assert 0.15 < measured.means["float"]["precision_at_1"] < 0.35, "near the published baseline"
