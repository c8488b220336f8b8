"""What a recipe trains on: labels, classes, what is left out and why, and the protocols of the benchmarks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.labelled import write_manifest
from tests.pictures import save, save_all
from tests.training.test_formats import make_cub, make_in_shop, make_products
from training import data, recipe
from training.data import DataSet, Sample, TrainingData
from training.recipe import Backbone, Data, Recipe, Validation
from training.runlog import tell_data
from visearch.errors import UsageError
from visearch.images import WHOLE


def made(*sets: Data, validation: Sequence[Validation] = ()) -> Recipe:
    return Recipe("test", Backbone("test_resnet"), sets, validation=tuple(validation))


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A JSONL manifest, and a picture for each row that has none yet."""
    for number, row in enumerate(rows):
        if not (path.parent / row["path"]).exists():
            save(path.parent / row["path"], number)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def shoes(tmp_path: Path) -> Path:
    """A manifest of six pictures: two kinds, three products, photos and catalogue pictures."""
    rows: list[dict[str, Any]] = [
        {"path": "1.jpg", "kind": "boot", "sku": 7, "domain": "catalogue", "split": "train"},
        {"path": "2.jpg", "kind": "boot", "sku": 7, "domain": "camera", "split": "train", "box": [0, 0, 0.5, 1]},
        {"path": "3.jpg", "kind": "clog", "sku": 8, "domain": "catalogue", "split": "train"},
        {"path": "4.jpg", "kind": "clog", "domain": "web", "split": "train"},
        {"path": "5.jpg", "kind": "clog", "sku": 9, "domain": "camera", "split": "val"},
        {"path": "6.jpg", "kind": "mule", "sku": 9, "domain": "camera", "split": "val"},
    ]
    return write_rows(tmp_path / "shoes.jsonl", rows)


def test_one_set_may_feed_several_heads_and_a_picture_some_of_them(shoes: Path) -> None:
    read = data.read(made(Data("shoes", shoes, heads={"kind": "kind", "product": "sku"}, where={"split": ("train",)})))
    assert read.sets == (
        DataSet(
            "shoes",
            (
                Sample(shoes.parent / "1.jpg", {"kind": "boot", "product": "7"}, WHOLE, "catalogue"),
                Sample(shoes.parent / "2.jpg", {"kind": "boot", "product": "7"}, (0, 0, 0.5, 1), "camera"),
                Sample(shoes.parent / "3.jpg", {"kind": "clog", "product": "8"}, WHOLE, "catalogue"),
                Sample(shoes.parent / "4.jpg", {"kind": "clog"}, WHOLE, "web"),
            ),
            ("kind", "product"),
        ),
    )
    assert read.classes == {"kind": ("boot", "clog"), "product": ("7", "8")}
    assert read.skipped == ()


def test_sets_that_feed_the_same_head_share_its_classes(shoes: Path, tmp_path: Path) -> None:
    save_all(tmp_path / "own" / "sock", [20, 21])
    save_all(tmp_path / "own" / "boot", [22])
    read = data.read(
        made(Data("a", shoes, heads={"kind": "kind"}), Data("b", tmp_path / "own", heads={"kind": "class"}))
    )
    assert read.classes == {"kind": ("boot", "clog", "mule", "sock")}
    assert [len(each.samples) for each in read.sets] == [6, 3]


def test_a_set_without_heads_is_unlabelled(shoes: Path) -> None:
    read = data.read(made(Data("a", shoes, heads={"kind": "kind"}), Data("b", shoes)))
    assert read.sets[1].heads == ()
    assert all(sample.labels == {} for sample in read.sets[1].samples)
    assert list(read.classes) == ["kind"]


def test_small_objects_are_left_out(tmp_path: Path) -> None:
    box = [0.0, 0.0, 0.5, 0.5]
    objects = [{"sku": str(number), "box": box, "area": area} for number, area in enumerate((0.009, 0.01, 0.2))]
    objects.append({"sku": "by its box", "box": [0, 0, 0.1, 0.05]})
    objects.append({"sku": "large by its box", "box": [0, 0, 0.1, 0.2]})
    scenes = write_rows(tmp_path / "scenes.jsonl", [{"path": "room.jpg", "objects": objects}])
    read = data.read(made(Data("rooms", scenes, heads={"product": "sku"}, min_area=0.01)))
    assert read.classes == {"product": ("1", "2", "large by its box")}


def test_every_picture_may_be_a_class_of_its_own(tmp_path: Path) -> None:
    save_all(tmp_path / "set" / "boot", range(2))
    save_all(tmp_path / "set" / "clog", range(5, 6))
    (tmp_path / "set" / "clog" / "empty.png").touch()
    read = data.read(made(Data("set", tmp_path / "set", heads={"kind": "class", "one": "picture"})))
    own = tuple(path.relative_to(tmp_path).as_posix() for path in sorted((tmp_path / "set").glob("*/*.*")))
    assert read.classes == {"kind": ("boot", "clog"), "one": tuple(name for name in own if "empty" not in name)}
    assert [each.path.name for each in read.skipped] == ["empty.png"]


def test_pictures_of_two_sets_are_two_classes_though_their_names_are_the_same(tmp_path: Path) -> None:
    sets = []
    for number in range(2):
        save_all(tmp_path / f"set{number}" / "boot", range(3 * number, 3 * number + 3))
        sets.append(Data(f"set {number}", tmp_path / f"set{number}", heads={"one": "picture"}))
    assert len(data.read(made(*sets)).classes["one"]) == 6


# What cannot be used


def test_corrupt_pictures_are_skipped_and_told(tmp_path: Path) -> None:
    good = save_all(tmp_path / "set" / "boot", range(3))
    save(tmp_path / "jpeg.jpg", 9, (400, 300))
    (tmp_path / "set" / "boot" / "cut.jpg").write_bytes((tmp_path / "jpeg.jpg").read_bytes()[:200])
    (tmp_path / "set" / "boot" / "empty.png").touch()
    (tmp_path / "set" / "boot" / "page.png").write_text("<html>not found</html>")
    read = data.read(made(Data("set", tmp_path / "set", heads={"kind": "class"})))
    assert [sample.path for sample in read.sets[0].samples] == good
    assert {each.path.name: each.reason.split(":")[0] for each in read.skipped} == {
        "cut.jpg": "corrupt",
        "empty.png": "empty",
        "page.png": "unsupported",
    }
    assert {each.data for each in read.skipped} == {"set"}


def test_rows_without_a_picture_or_a_label_are_skipped_and_told(shoes: Path) -> None:
    lines = shoes.read_text().splitlines()
    shoes.write_text("\n".join([*lines, '{"path": "gone.jpg", "kind": "boot"}', "{", '{"path": "1.jpg", "sku": ""}']))
    read = data.read(made(Data("shoes", shoes, heads={"kind": "kind"})))
    assert len(read.sets[0].samples) == 6
    reasons = [each.reason for each in read.skipped]
    assert reasons[0].startswith(f"{shoes}: row 8: not JSON")
    assert reasons[1:] == ["no kind", "unreadable: No such file or directory"]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tiff"])
def test_a_sound_picture_of_every_format_passes(tmp_path: Path, suffix: str) -> None:
    """Larger than what is read at first, and with a header that is."""
    picture = save(tmp_path / f"a.{suffix}", 1, (500, 400))
    assert data.unusable_pictures([picture]) == {}


def test_a_header_longer_than_what_is_read_at_first_passes(tmp_path: Path) -> None:
    picture = save(tmp_path / "a.jpg", 1)
    text = b"\xff\xfe\xff\xff" + b"x" * 65_533
    content = picture.read_bytes()
    picture.write_bytes(content[:2] + text + content[2:])
    assert data.unusable_pictures([picture]) == {}
    picture.write_bytes((content[:2] + text)[:40_000])
    assert data.unusable_pictures([picture])[picture].startswith("corrupt")


def test_files_that_are_no_pictures_never_stop_a_run(shared: Path) -> None:
    """Corrupt, odd and adversarial files: all of them are told sound or not, and those known to be broken are not."""
    paths = sorted(path for path in (shared / "datasets" / "nasty").rglob("*") if path.is_file())
    unusable = data.unusable_pictures(paths)
    assert 0 < len(unusable) < len(paths)
    assert {path for path in paths if path.stat().st_size == 0} <= set(unusable)


MISTAKES = [
    (
        {"heads": {"kind": "colour"}},
        "data.shoes: {set} has no column colour; there are box, domain, kind, picture, sku, split",
    ),
    ({"heads": {"kind": "kind"}, "where": {"colour": ("red",)}}, "data.shoes: {set} has no column colour; there are "),
    ({"heads": {"kind": "kind"}, "exclude": {"kid": ("mule",)}}, "data.shoes: {set} has no column kid; there are "),
    ({"where": {"split": ("test",)}}, "data.shoes: {set} has no pictures of those asked for"),
    ({"min_area": 1.1}, "data.shoes: {set} has no pictures of those asked for"),
    (
        {"heads": {"kind": "kind"}, "unseen": True},
        "data.shoes: class mule is to stay unseen, but {folder}/6.jpg is of it; exclude it",
    ),
    (
        {"heads": {"kind": "kind"}, "broken": ["6.jpg"]},
        "data.shoes: class mule of kind is empty: no picture of it can be used ({folder}/6.jpg: empty: the file is",
    ),
    (
        {"broken": [f"{number}.jpg" for number in range(1, 7)]},
        "data.shoes: no picture can be used of 6; the first is {folder}/1.jpg: empty: the file is empty",
    ),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES, ids=[message[:50] for _, message in MISTAKES])
def test_a_set_that_cannot_be_trained_on_is_one_line(shoes: Path, change: dict[str, Any], message: str) -> None:
    for name in change.pop("broken", []):
        os.truncate(shoes.parent / name, 0)
    if change.pop("unseen", False):
        (shoes.parent / "unseen.txt").write_text("mule\n\nsandal\n")
        change["unseen"] = (shoes.parent / "unseen.txt",)
    with pytest.raises(UsageError) as error:
        data.read(made(Data("shoes", shoes, **change)))
    assert error.value.message.startswith(message.replace("{set}", str(shoes)).replace("{folder}", str(shoes.parent)))


def test_a_label_in_a_list_is_that_label_and_of_several_none_is_the_class(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"path": "1.jpg", "kind": ["boot"]}, {"path": "2.jpg", "kind": "boot"}]
    rows += [{"path": "3.jpg", "kind": "clog"}, {"path": "4.jpg", "kind": []}]
    path = write_rows(tmp_path / "shoes.jsonl", rows)
    shoes = Data("shoes", path, heads={"kind": "kind"})
    read = data.read(made(shoes))
    assert read.classes == {"kind": ("boot", "clog")}
    assert [each.reason for each in read.skipped] == ["no kind"]
    write_rows(path, [*rows, {"path": "5.jpg", "kind": ["clog", "red"]}])
    with pytest.raises(UsageError, match=r"5\.jpg: has several values of kind \(clog, red\)"):
        data.read(made(shoes))


def test_rows_of_no_use_say_why(tmp_path: Path) -> None:
    path = tmp_path / "shoes.csv"
    path.write_text("path,kind\nhttps://shop.example/1.jpg,boot\nhttps://shop.example/2.jpg,clog\n")
    with pytest.raises(UsageError, match=r"no row of .*shoes\.csv can be used; the first: .*row 1: on a server"):
        data.read(made(Data("shoes", path, heads={"kind": "kind"})))


def test_a_head_without_a_picture_of_those_asked_for_is_one_line(shoes: Path) -> None:
    asked = Data("shoes", shoes, heads={"kind": "kind", "product": "sku"}, where={"domain": ("web",)})
    with pytest.raises(UsageError, match=r"data\.shoes: none of the pictures asked for has a sku, which head product"):
        data.read(made(asked))


def test_unseen_classes_pass_where_they_are_excluded(shoes: Path) -> None:
    unseen = shoes.parent / "unseen.txt"
    unseen.write_text("mule\n")
    read = data.read(made(Data("a", shoes, heads={"kind": "kind"}, exclude={"kind": ("mule",)}, unseen=(unseen,))))
    assert read.classes == {"kind": ("boot", "clog")}


def test_unseen_classes_that_are_numbers_are_those_of_the_table(tmp_path: Path) -> None:
    names = ("2.50", "7", "8")
    rows = [{"path": f"{number}.png", "kind": name} for number, name in enumerate(names)]
    for row in rows:
        save(tmp_path / row["path"], 1)
    table = write_manifest(tmp_path / "all.csv", rows)
    (tmp_path / "unseen.txt").write_text("2.50\n")
    entry = Data("a", table, heads={"kind": "kind"}, unseen=(tmp_path / "unseen.txt",))
    with pytest.raises(UsageError, match=r"class 2\.5 is to stay unseen"):
        data.read(made(entry))
    without = replace(entry, exclude={"kind": ("2.50",)})
    assert data.read(made(without)).classes == {"kind": ("7", "8")}


def test_a_validation_on_unseen_classes_has_none_that_its_head_was_trained_on(shoes: Path) -> None:
    trained = Data("a", shoes, heads={"kind": "kind"}, where={"split": ("train",)})
    fair = Validation("v", shoes, "kind", where={"kind": ("mule",)}, unseen_by="kind")
    data.read(made(trained, validation=[fair]))
    unfair = Validation("v", shoes, "kind", where={"split": ("val",)}, unseen_by="kind")
    with pytest.raises(
        UsageError, match=r"validation\.v: its classes are to be unseen by kind, which is trained on clog"
    ):
        data.read(made(trained, validation=[unfair]))
    data.read(made(trained, validation=[Validation("v", shoes, "kind", where={"split": ("val",)})]))
    left_out = Validation("v", shoes, "kind", where={"split": ("val",)}, exclude={"kind": ("clog",)}, unseen_by="kind")
    data.read(made(trained, validation=[left_out]))


def test_a_published_benchmark_gives_its_training_split_unless_another_is_asked_for(tmp_path: Path) -> None:
    """So that nobody trains on test classes by leaving a line out."""
    make_cub(tmp_path)
    for picture in (tmp_path / "images").rglob("*.jpg"):
        save(picture, 1)
    heads = {"bird": "class"}
    assert data.read(made(Data("cub", tmp_path, heads=heads))).classes == {"bird": ("001.Albatross", "100.Pelican")}
    test = data.read(made(Data("cub", tmp_path, heads=heads, where={"split": ("test",)})))
    assert test.classes == {"bird": ("101.Pelican", "200.Yellowthroat")}


# Laws

labels = st.sampled_from(["a", "b", "c", "ü", "10", "9"])


@given(st.lists(st.lists(st.tuples(labels, labels | st.none()), min_size=1, max_size=5), min_size=1, max_size=3))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_classes_are_all_labels_sorted_and_every_picture_is_read_or_told(
    tmp_path_factory: pytest.TempPathFactory, sets: list[list[tuple[str, str | None]]]
) -> None:
    folder = tmp_path_factory.mktemp("sets")
    save(folder / "p.png", 1)
    sources = []
    for number, rows in enumerate(sets):
        manifest = folder / f"{number}.jsonl"
        lines = [{"path": "p.png", "one": one} | ({"two": two} if two else {}) for one, two in rows]
        manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
        two = {"two": "two"} if any(two for _, two in rows) else {}
        sources.append(Data(f"set {number}", manifest, heads={"one": "one"} | two))
    read = data.read(made(*sources))
    expected = {
        "one": {one for rows in sets for one, _ in rows},
        "two": {two for rows in sets for _, two in rows if two},
    }
    assert read.classes == {head: tuple(sorted(names)) for head, names in expected.items() if names}
    assert [len(each.samples) for each in read.sets] == [len(rows) for rows in sets]


# The report


def test_the_report_tells_what_was_read(shoes: Path, tmp_path: Path) -> None:
    save_all(tmp_path / "own" / "sock", [20, 21])
    (tmp_path / "own" / "sock" / "bad.jpg").touch()
    read = data.read(
        made(
            Data("shoes", shoes, heads={"kind": "kind", "product": "sku"}),
            Data("own", tmp_path / "own", heads={"kind": "class"}),
            Data("more", shoes),
        )
    )
    lines = shown(read)
    assert words_of(lines, "shoes") == "shoes kind camera 3, catalogue 2, web 1 6 3 1 0"
    assert words_of(lines, "own") == "own kind none 2 2 1 2 1"
    assert words_of(lines, "more") == "more unlabelled camera 3, catalogue 2, web 1 6 - - 0"
    assert words_of(lines, "kind") == "kind 4 8 shoes, own"
    assert words_of(lines, "product 3") == "product 3 5 shoes"
    assert any(line.startswith("skipped ") and "bad.jpg: empty" in line for line in lines)


def test_names_of_skipped_pictures_are_told_as_they_are(tmp_path: Path) -> None:
    odd = Path("/old [bold]", os.fsdecode(b"caf\xe9.jpg"))
    skipped = (data.Skipped(odd, "corrupt", "set"),)
    tell_data(TrainingData((DataSet("set", (Sample(Path("a.png"), {}),), ()),), {}, skipped), tmp_path, shown=False)
    assert "skipped /old [bold]/caf\\udce9.jpg: corrupt" in (tmp_path / "data.txt").read_text()


def test_the_report_of_many_skipped_pictures_stays_short() -> None:
    skipped = tuple(data.Skipped(Path(f"{number}.jpg"), "corrupt: cut off", "a") for number in range(50))
    lines = shown(TrainingData((DataSet("a", (Sample(Path("x.jpg"), {}),), ()),), {}, skipped))
    assert sum("corrupt" in line for line in lines) < 10
    assert words_of(lines, "a unlabelled").endswith(" 50")
    assert "and 47 more" in lines


def shown(read: TrainingData) -> list[str]:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(data.report(read))
    return captured.get().splitlines()


def words_of(lines: Sequence[str], start: str) -> str:
    return next(" ".join(line.split()) for line in lines if " ".join(line.split()).startswith(start))


# Benchmarks


def splits(benchmark: data.Benchmark) -> list[set[str]]:
    parts = (benchmark.train, benchmark.query, benchmark.gallery)
    return [{sample.labels["class"] for sample in part} for part in parts]


def test_benchmarks_that_search_their_test_pictures_among_themselves(tmp_path: Path) -> None:
    for make, expected in (
        (make_cub, [{"001.Albatross", "100.Pelican"}, {"101.Pelican", "200.Yellowthroat"}]),
        (make_products, [{"1", "2"}, {"3", "4"}]),
    ):
        folder = tmp_path / make.__name__
        folder.mkdir()
        make(folder)
        benchmark = data.benchmark(folder)
        assert benchmark.query is benchmark.gallery
        assert splits(benchmark)[:2] == expected
        assert (len(benchmark.train), len(benchmark.query)) == (4, 4)


def test_in_shop_has_queries_and_a_gallery(tmp_path: Path) -> None:
    make_in_shop(tmp_path)
    benchmark = data.benchmark(tmp_path)
    assert splits(benchmark) == [{"id_00000001"}, {"id_00000002"}, {"id_00000002", "id_00000003"}]


def test_a_manifest_with_splits_is_a_benchmark(shoes: Path) -> None:
    benchmark = data.benchmark(shoes, label="sku")
    assert splits(benchmark) == [{"7", "8"}, {"9"}, {"9"}]
    assert benchmark.query is benchmark.gallery
    assert benchmark.train[1].box == (0, 0, 0.5, 1)


def test_a_benchmark_whose_parts_are_not_parted_is_refused(shoes: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both trained and tested on: clog; a benchmark's test classes are unseen"):
        data.benchmark(shoes, label="kind")
    save_all(tmp_path / "own" / "sock", [1])
    with pytest.raises(UsageError, match="no train pictures"):
        data.benchmark(tmp_path / "own")


def test_the_real_cars_are_a_benchmark(shared: Path) -> None:
    benchmark = data.benchmark(shared / "datasets" / "cars196")
    assert (len(benchmark.train), len(benchmark.query)) == (880, 100)
    assert splits(benchmark)[1] == {f"{number:03}" for number in range(89, 99)}


def test_the_shipped_recipe_never_trains_on_what_is_to_stay_unseen(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither photo nor iconic picture; the rendered stores are stood in for by the one that is committed."""
    monkeypatch.setenv("VISEARCH_SHARED", str(shared))
    for name in ("VISEARCH_HOMESTORE", "VISEARCH_HOMESTORE2", "VISEARCH_HOMESTORE3"):
        monkeypatch.setenv(name, str(Path(__file__).parents[2] / "data" / "homestore" / "demo"))
    unified = recipe.load("unified")
    recipe.check(unified)
    read = data.read(unified)
    unseen = set((shared / "datasets" / "grocery" / "unseen.txt").read_text().split())
    assert len(unseen) == 20
    assert len(read.classes["grocery"]) == 61
    assert not unseen & set(read.classes["grocery"])
    grocery = [sample for each in read.sets for sample in each.samples if "/grocery/" in str(sample.path)]
    assert grocery
    assert not [sample.path for sample in grocery if unseen & {sample.path.stem, *sample.path.parts}]
    forbidden = ("ikea", "fashion-products-small", "cars196", "flickrlogos27", "car-logos", "groceries5k-boxes")
    paths = {str(sample.path) for each in read.sets for sample in each.samples}
    assert not [path for path in paths if any(f"/{name}/" in path for name in forbidden)]
    labelled = {(str(sample.path), head) for each in read.sets for sample in each.samples for head in sample.labels}
    assert not [path for path, _ in labelled if "/imagenet-samples/" in path]
    # Each is told from the others, by nothing that anybody said of it.
    assert {head for path, head in labelled if "/natural-free/" in path} == {"photo"}
    assert {source.name for source in unified.data if "photo" in source.heads} == {"natural"}
    assert next(source.heads["photo"] for source in unified.data if "photo" in source.heads) == "picture"
    assert read.skipped == ()
