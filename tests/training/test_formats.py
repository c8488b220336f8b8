"""Every format that a data set can come in, on tiny copies of its layout as its authors hand it out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training import formats
from training.rows import Row, wanted
from training.tables import as_text
from visearch.errors import UsageError
from visearch.images import WHOLE


def read(path: Path, format: str = "") -> list[Row]:
    return list(formats.rows(path, format))


def told(rows: Iterable[Row], folder: Path, *columns: str) -> list[tuple[object, ...]]:
    """Path from the folder and the columns' values of each row."""
    return [
        (row.path.relative_to(folder).as_posix() if row.path else None, *(row.columns.get(key) for key in columns))
        for row in rows
    ]


def touch(folder: Path, *names: str) -> None:
    """Empty files: nothing here opens a picture."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


# Folders of classes


def test_a_folder_of_classes(tmp_path: Path) -> None:
    touch(tmp_path, "boot/b.jpg", "boot/a.PNG", "boot/deep/er/c.webp", "clog/a.jpeg", "clog/notes.txt", "top.jpg")
    touch(tmp_path, ".cache/x.jpg", "clog/.hidden.jpg", "clog/.thumbs/y.jpg")
    assert formats.guess(tmp_path) == "folder"
    assert told(read(tmp_path), tmp_path, "class") == [
        ("boot/a.PNG", "boot"),
        ("boot/b.jpg", "boot"),
        ("boot/deep/er/c.webp", "boot"),
        ("clog/a.jpeg", "clog"),
    ]


def test_a_class_may_be_a_link_to_a_folder(tmp_path: Path) -> None:
    touch(tmp_path / "far", "a.jpg")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "boot").symlink_to(tmp_path / "far", target_is_directory=True)
    assert told(read(tmp_path / "set"), tmp_path / "set", "class") == [("boot/a.jpg", "boot")]


names = st.text("abcXYZ 0123456789-_éß", min_size=1, max_size=6).map(str.strip).filter(bool)


@given(st.dictionaries(names, st.sets(names, min_size=1, max_size=3), min_size=1, max_size=4))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_picture_of_every_class_is_read_once(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, set[str]]
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    touch(folder, *(f"{name}/{picture}.jpg" for name, pictures in tree.items() for picture in pictures))
    expected = {(f"{name}/{picture}.jpg", name) for name, pictures in tree.items() for picture in pictures}
    rows = told(read(folder), folder, "class")
    assert sorted(rows) == sorted(expected)


# Manifests


def test_a_manifest_in_each_of_its_three_formats(tmp_path: Path) -> None:
    values: list[dict[str, Any]] = [
        {"path": "a.jpg", "label": "007", "split": "train", "box": [0.0, 0.25, 0.5, 1.0]},
        {"path": "b/c.jpg", "label": "boot", "split": "val", "box": None},
    ]
    (tmp_path / "m.csv").write_text('path,label,split,box\na.jpg,007,train,"0,0.25,0.5,1"\nb/c.jpg,boot,val,\n')
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(each) + "\n" for each in values))
    pq.write_table(pa.Table.from_pylist(values), tmp_path / "m.parquet")
    for name in ("m.csv", "m.jsonl", "m.parquet"):
        rows = read(tmp_path / name)
        assert told(rows, tmp_path, "label", "split") == [("a.jpg", "007", "train"), ("b/c.jpg", "boot", "val")], name
        assert [row.box for row in rows] == [(0.0, 0.25, 0.5, 1.0), WHOLE], name


def test_a_folder_with_labels_csv_is_a_manifest(tmp_path: Path) -> None:
    touch(tmp_path, "boot/a.jpg")
    (tmp_path / "labels.csv").write_text("path,class\nboot/a.jpg,shoe\n")
    assert told(read(tmp_path), tmp_path, "class") == [("boot/a.jpg", "shoe")]


def test_a_second_view_is_a_further_picture_of_the_same_product(tmp_path: Path) -> None:
    row = {"path": "p/1.jpg", "product": "p1", "second_view": "p/1-2.jpg", "box": [0, 0, 0.5, 0.5]}
    (tmp_path / "catalog.jsonl").write_text(json.dumps(row))
    first, second = read(tmp_path / "catalog.jsonl")
    assert told([first, second], tmp_path, "product") == [("p/1.jpg", "p1"), ("p/1-2.jpg", "p1")]
    assert (first.box, second.box) == ((0, 0, 0.5, 0.5), WHOLE), "the box is one of the first view"


def test_rows_that_are_no_use_say_why_and_do_not_stop_the_others(tmp_path: Path) -> None:
    lines = [
        '{"path": "a.jpg"}',
        "not json",
        '{"label": "x"}',
        '{"path": "b.jpg", "box": [1, 0, 0, 1]}',
        '{"path": "c"}',
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    rows = read(tmp_path / "m.jsonl")
    assert [row.path and row.path.name for row in rows] == ["a.jpg", None, None, None, "c"]
    problems = [row.problem for row in rows if row.path is None]
    for problem, part in zip(
        problems, ("m.jsonl: row 2: not JSON", "row 3: no usable `path`", "b.jpg: box"), strict=True
    ):
        assert part in problem


def test_the_objects_of_a_scene_are_rows_with_boxes(tmp_path: Path) -> None:
    scene = {
        "path": "rooms/1.jpg",
        "split": "train",
        "area": 1.0,
        "objects": [
            {"product": "p1", "category": "Sofas", "box": [0.1, 0.2, 0.3, 0.4], "area": 0.01},
            {"product": "p2", "category": "Rugs", "box": [0.5, 0.2, 0.5, 0.4], "area": 0.02},
            {"product": "p3"},
        ],
    }
    lines = [scene, {"path": "rooms/2.jpg", "objects": []}, {"path": "rooms/3.jpg", "objects": 3}]
    (tmp_path / "scenes.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    assert formats.guess(tmp_path / "scenes.jsonl") == "scenes"
    sofa, *rest = read(tmp_path / "scenes.jsonl")
    assert told([sofa], tmp_path, "product", "category", "split", "area", "domain") == [
        ("rooms/1.jpg", "p1", "Sofas", "train", 0.01, "scene")
    ]
    assert sofa.box == (0.1, 0.2, 0.3, 0.4)
    assert [each.problem.partition(": ")[2][:24] for each in rest] == [
        "box 0.5,0.2,0.5,0.4 is n",
        "an object without a box",
        "`objects` is not a list",
    ]


def test_the_home_store_is_read_whole() -> None:
    demo = Path(__file__).parents[2] / "data" / "homestore" / "demo"
    scenes = [json.loads(line) for line in (demo / "scenes.jsonl").read_text().splitlines()]
    rows = read(demo / "scenes.jsonl")
    truth = [each["product"] for scene in scenes for each in scene["objects"]]
    assert [row.columns["product"] for row in rows] == truth
    assert not any(row.problem for row in rows)
    products = (demo / "catalog.jsonl").read_text().splitlines()
    catalogue = read(demo / "catalog.jsonl")
    assert len(catalogue) == 2 * len(products), "two views of each"
    photos = read(demo / "photos.jsonl")
    assert all(row.path and row.path.is_file() and row.box != WHOLE for row in photos)


# Published sets


def make_cub(folder: Path) -> None:
    classes = ["001.Albatross", "100.Pelican", "101.Pelican", "200.Yellowthroat"]
    pictures = [f"{name}/{name}_{number}.jpg" for name in classes for number in (1, 2)]
    touch(folder / "images", *pictures)
    numbers = {picture: int(picture.split(".", maxsplit=1)[0]) for picture in pictures}
    lines = list(enumerate(pictures, 1))
    (folder / "images.txt").write_text("".join(f"{number} {picture}\n" for number, picture in lines))
    labels = "".join(f"{number} {numbers[picture]}\n" for number, picture in lines)
    (folder / "image_class_labels.txt").write_text(labels)
    (folder / "train_test_split.txt").write_text("1 0\n")  # the classification split, which this protocol ignores


def test_cub_200_2011(tmp_path: Path) -> None:
    make_cub(tmp_path)
    assert formats.guess(tmp_path) == "cub200"
    rows = told(read(tmp_path), tmp_path, "class", "split")
    assert len(rows) == 8
    assert rows[0] == ("images/001.Albatross/001.Albatross_1.jpg", "001.Albatross", "train")
    assert {row[1]: row[2] for row in rows} == {
        "001.Albatross": "train",
        "100.Pelican": "train",
        "101.Pelican": "test",
        "200.Yellowthroat": "test",
    }


def make_cars_by_annotations(folder: Path) -> None:
    import numpy as np
    from scipy.io import savemat

    kinds = [("relative_im_path", object), *((f"bbox_{side}", object) for side in ("x1", "y1", "x2", "y2"))]
    kinds += [("class", object), ("test", object)]
    rows = [(f"car_ims/{number:06}.jpg", 1, 2, 3, 4, number, number % 2) for number in (1, 98, 99, 196)]
    savemat(folder / "cars_annos.mat", {"annotations": np.array(rows, dtype=kinds), "class_names": ["x"]})
    touch(folder, *(row[0] for row in rows))


def test_cars_196_by_its_annotations(tmp_path: Path) -> None:
    """The `test` flag of the file parts pictures of a class; the protocol parts classes."""
    make_cars_by_annotations(tmp_path)
    assert formats.guess(tmp_path) == "cars196"
    assert told(read(tmp_path), tmp_path, "class", "split") == [
        ("car_ims/000001.jpg", "001", "train"),
        ("car_ims/000098.jpg", "098", "train"),
        ("car_ims/000099.jpg", "099", "test"),
        ("car_ims/000196.jpg", "196", "test"),
    ]


def test_cars_196_as_folders(tmp_path: Path) -> None:
    touch(tmp_path / "numbers", "001/a.jpg", "098/a.jpg", "099/a.jpg", "196/a.jpg")
    by_number = told(read(tmp_path / "numbers", "cars196"), tmp_path / "numbers", "split")
    assert [row[1] for row in by_number] == ["train", "train", "test", "test"]
    touch(tmp_path / "names", *(f"Make {number:03} Coupe/a.jpg" for number in range(1, 197)))
    by_order = told(read(tmp_path / "names", "cars196"), tmp_path / "names", "class", "split")
    assert Counter(row[2] for row in by_order) == {"train": 98, "test": 98}
    assert by_order[97][1:] == ("Make 098 Coupe", "train")
    assert by_order[98][1:] == ("Make 099 Coupe", "test")


def make_products(folder: Path) -> None:
    header = "image_id class_id super_class_id path\n"
    for split, first in (("train", 1), ("test", 3)):
        lines = [f"{number} {first + number // 3} 1 bicycle_final/{split}_{number}.JPG\n" for number in range(1, 5)]
        touch(folder, *(line.split()[3] for line in lines))
        (folder / f"Ebay_{split}.txt").write_text(header + "".join(lines))


def test_stanford_online_products(tmp_path: Path) -> None:
    make_products(tmp_path)
    assert formats.guess(tmp_path) == "sop"
    rows = told(read(tmp_path), tmp_path, "class", "category", "split")
    assert rows[0] == ("bicycle_final/train_1.JPG", "1", "1", "train")
    assert rows[-1] == ("bicycle_final/test_4.JPG", "4", "1", "test")
    assert len(rows) == 8


def make_in_shop(folder: Path, partition: str = "list_eval_partition.txt", pictures: str = "") -> None:
    lines = [
        ("img/WOMEN/Dresses/id_00000001/01_1_front.jpg", "id_00000001", "train"),
        ("img/WOMEN/Dresses/id_00000002/02_1_front.jpg", "id_00000002", "query"),
        ("img/WOMEN/Dresses/id_00000002/02_2_side.jpg", "id_00000002", "gallery"),
        ("img/MEN/Denim/id_00000003/01_7_additional.jpg", "id_00000003", "gallery"),
    ]
    touch(folder / pictures, *(line[0] for line in lines))
    (folder / partition).parent.mkdir(exist_ok=True)
    text = f"{len(lines)}\nimage_name item_id evaluation_status\n"
    text += "".join(f"{name:<70} {item} {split}\n" for name, item, split in lines)
    (folder / partition).write_text(text)


@pytest.mark.parametrize(
    ("partition", "pictures"), [("list_eval_partition.txt", ""), ("Eval/list_eval_partition.txt", "Img")]
)
def test_in_shop(tmp_path: Path, partition: str, pictures: str) -> None:
    make_in_shop(tmp_path, partition, pictures)
    assert formats.guess(tmp_path) == "inshop"
    rows = read(tmp_path)
    assert [(row.columns["class"], row.columns["split"]) for row in rows] == [
        ("id_00000001", "train"),
        ("id_00000002", "query"),
        ("id_00000002", "gallery"),
        ("id_00000003", "gallery"),
    ]
    assert all(row.path and row.path.is_file() for row in rows)


PAIRS = [
    {"product": "00aa", "scene": "ffee", "bbox": [0.1, 0.2, 0.3, 0.4]},
    {"product": "00aa", "scene": "ffdd", "bbox": [0.0, 0.0, 1.0, 0.5]},
    {"product": "00bb", "scene": "ffee", "bbox": [0.5, 0.5, 0.9, 0.9]},
]
CATEGORIES = {"00aa": "Home|Furniture|Sofas", "00bb": "Home"}


@pytest.mark.parametrize("write", [json.dumps, lambda pairs: "\n".join(map(json.dumps, pairs))], ids=["array", "lines"])
def test_shop_the_look(tmp_path: Path, write: Callable[[object], str]) -> None:
    """A signature names a picture wherever below the file it lies; a product's own picture is taken once."""
    (tmp_path / "home.json").write_text(write(PAIRS))
    (tmp_path / "home-cat.json").write_text(json.dumps(CATEGORIES))
    touch(tmp_path, "images/00aa.jpg", "images/00/bb/00bb.jpg", "ffee.jpg", "scenes/ffdd.png")
    assert formats.guess(tmp_path / "home.json") == "stl"
    rows = read(tmp_path / "home.json")
    assert told(rows, tmp_path, "product", "domain", "category", "category_1", "category_2") == [
        ("ffee.jpg", "00aa", "scene", "Home|Furniture|Sofas", "Home", "Home|Furniture"),
        ("images/00aa.jpg", "00aa", "catalogue", "Home|Furniture|Sofas", "Home", "Home|Furniture"),
        ("scenes/ffdd.png", "00aa", "scene", "Home|Furniture|Sofas", "Home", "Home|Furniture"),
        ("ffee.jpg", "00bb", "scene", "Home", "Home", None),
        ("images/00/bb/00bb.jpg", "00bb", "catalogue", "Home", "Home", None),
    ]
    assert [row.box for row in rows] == [
        (0.1, 0.2, 0.3, 0.4),
        WHOLE,
        (0.0, 0.0, 1.0, 0.5),
        (0.5, 0.5, 0.9, 0.9),
        WHOLE,
    ]


def test_shop_the_look_without_some_pictures_and_without_categories(tmp_path: Path) -> None:
    """Its pictures have to be fetched one by one, so some are always missing."""
    pairs = [*PAIRS, {"product": "00aa"}, {"product": "00bb", "scene": "ffdd", "bbox": [0, 0, 2, 1]}]
    (tmp_path / "home.json").write_text(json.dumps(pairs))
    touch(tmp_path, "00aa.jpg", "ffdd.jpg")
    rows = read(tmp_path / "home.json")
    assert told((row for row in rows if row.path), tmp_path, "product", "category") == [
        ("00aa.jpg", "00aa", None),
        ("ffdd.jpg", "00aa", None),
    ]
    problems = "\n".join(row.problem for row in rows if row.path is None)
    for part in ("no picture of scene ffee", "no picture of product 00bb", "pair 4: needs", "ffdd.jpg: box 0,0,2,1"):
        assert part in problems


# Mistakes


MAKERS: dict[str, Callable[[Path], None]] = {"cub200": make_cub, "sop": make_products, "inshop": make_in_shop}


def broken(name: str, text: str) -> Callable[[Path], None]:
    """Put a text in a file of the layout that was made before it."""

    def write(folder: Path) -> None:
        layout, file = name.split("/")
        if layout in MAKERS:
            MAKERS[layout](folder)
        (folder / file).write_text(text)

    return write


MISTAKES: list[tuple[str, Callable[[Path], object], str, str]] = [
    ("", lambda folder: None, "gone", "{folder}/gone: no such file or folder"),
    ("", lambda folder: None, ".", "{folder}: no folders in it; a folder of classes holds"),
    ("", lambda folder: (folder / "boot").mkdir(), ".", "{folder}: class boot is empty: no pictures in {folder}/boot"),
    ("folder", lambda folder: touch(folder, "a.csv"), "a.csv", "{folder}/a.csv: not a folder of classes"),
    ("", lambda folder: touch(folder, "a.txt"), "a.txt", "{folder}/a.txt: neither a folder nor a .csv, .jsonl, "),
    ("manifest", lambda folder: None, ".", "{folder}/labels.csv: not a .csv, .jsonl or .parquet file"),
    ("", lambda folder: touch(folder, "a.csv"), "a.csv", "{folder}/a.csv: the header has no `path` column"),
    ("cub200", lambda folder: None, ".", "{folder}/images.txt: cannot be read (No such file or directory)"),
    ("", broken("cub200/images.txt", "1 a b\n2\n"), ".", "{folder}/images.txt: line 2 has 1 fields, not 2"),
    ("", broken("cub200/image_class_labels.txt", "1 x\n"), ".", "{folder}: class x is not a number"),
    ("cars196", lambda folder: None, ".", "{folder}: neither cars_annos.mat nor a folder for each class is there"),
    (
        "",
        lambda folder: touch(folder, "cars_annos.mat"),
        ".",
        "{folder}/cars_annos.mat: not the annotations of Cars-196",
    ),
    ("sop", lambda folder: None, ".", "{folder}/Ebay_train.txt: cannot be read"),
    ("", broken("sop/Ebay_test.txt", "h\n1 2 3\n"), ".", "{folder}/Ebay_test.txt: line 2 has 3 fields, not 4"),
    ("inshop", lambda folder: None, ".", "{folder}/list_eval_partition.txt: cannot be read"),
    (
        "",
        broken("inshop/list_eval_partition.txt", "1\nh\na b dev\n"),
        ".",
        "{folder}/list_eval_partition.txt: a: evaluation",
    ),
    ("", broken("stl/a.json", "{"), "a.json", "{folder}/a.json: not JSON, nor JSON lines"),
]


@pytest.mark.parametrize(("format", "make", "name", "message"), MISTAKES, ids=[each[3][:44] for each in MISTAKES])
def test_a_layout_that_is_wrong_is_one_line_with_the_file(
    tmp_path: Path, format: str, make: Callable[[Path], object], name: str, message: str
) -> None:
    make(tmp_path)
    with pytest.raises(UsageError) as error:
        read(tmp_path / name, format)
    assert error.value.message.startswith(message.replace("{folder}", str(tmp_path)))
    assert "\n" not in str(error.value)


# Which rows

values = st.sampled_from(["a", "b", 1, 2.5, True, None])
wishes = st.dictionaries(st.sampled_from("xyz"), st.lists(st.sampled_from(["a", "b", "1", "2.5", "true"])).map(tuple))


@given(
    st.dictionaries(st.sampled_from("xyz"), values | st.lists(values.filter(lambda v: v is not None))), wishes, wishes
)
def test_where_keeps_and_exclude_drops(
    row: dict[str, Any], where: dict[str, tuple[str, ...]], exclude: dict[str, tuple[str, ...]]
) -> None:
    def holds(key: str, texts: tuple[str, ...]) -> bool:
        held = row.get(key)
        return any(as_text(each) in texts for each in (held if isinstance(held, list) else [held]) if each is not None)

    expected = True
    for key, texts in where.items():
        if not holds(key, texts):
            expected = False
    for key, texts in exclude.items():
        if holds(key, texts):
            expected = False
    assert wanted(row, where, exclude) == expected


def test_the_real_sets_are_read_whole(shared: Path) -> None:
    for name in ("caltech101", "cars196", "clothing", "grocery", "ikea", "imagenet-samples", "natural-free"):
        rows = read(shared / "datasets" / name)
        assert rows, name
        assert all(row.path and row.path.is_file() for row in rows), name
