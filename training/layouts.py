"""The published data sets, read as their authors hand them out: CUB-200-2011, Cars-196, Stanford Online Products,
In-Shop and Shop-the-Look. Each gives rows with the column `class` and, where there is a protocol, `split`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from training.rows import Row, boxed
from visearch.errors import UsageError
from visearch.formats import SUPPORTED_SUFFIXES

PARTITION = ("list_eval_partition.txt", "Eval/list_eval_partition.txt", "Anno/list_eval_partition.txt")
CARS = ("cars_annos.mat", "cars196_annos.mat")

SIGNS = {
    "cub200": ("image_class_labels.txt",),
    "cars196": CARS,
    "sop": ("Ebay_train.txt",),
    "inshop": PARTITION,
}
"""Format -> files one of which shows that a folder holds it."""

CUB_TRAIN = 100  # classes 1-100 train, 101-200 test
CARS_TRAIN = 98  # classes 1-98 train, 99-196 test


def cub200(path: Path) -> Iterator[Row]:
    """CUB-200-2011: `images.txt` and `image_class_labels.txt`, pictures in `images/`."""
    names = dict(_fields(path / "images.txt", 2))
    for picture, number in _fields(path / "image_class_labels.txt", 2):
        if picture not in names:
            yield Row(None, problem=f"{path / 'image_class_labels.txt'}: picture {picture} is not in images.txt")
            continue
        name = names[picture]
        columns = {"class": Path(name).parent.name or number, "split": _half(number, CUB_TRAIN, path)}
        yield Row(path / "images" / name, columns)


def cars196(path: Path) -> Iterator[Row]:
    """Cars-196: `cars_annos.mat` beside `car_ims/`; or a folder for each class, named by its number or in its order."""
    file = next((path / name for name in CARS if (path / name).exists()), None)
    if file is not None:
        for name, label in _cars_annotations(file):
            yield Row(path / name, {"class": f"{label:03}", "split": _half(str(label), CARS_TRAIN, path)})
        return
    folders = sorted(each for each in path.iterdir() if each.is_dir()) if path.is_dir() else []
    if not folders:
        raise UsageError(f"{path}: neither {CARS[0]} nor a folder for each class is there")
    for place, folder in enumerate(folders, 1):
        number = folder.name if folder.name.isdecimal() else str(place)
        for picture in sorted(each for each in folder.iterdir() if each.suffix.lower() in SUPPORTED_SUFFIXES):
            yield Row(picture, {"class": folder.name, "split": _half(number, CARS_TRAIN, path)})


def _cars_annotations(file: Path) -> list[tuple[str, int]]:
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError:
        raise UsageError(f"{file}: reading it needs scipy: pip install '.[train]'") from None
    try:
        annotations = loadmat(str(file), squeeze_me=True)["annotations"]
        return [(str(each["relative_im_path"]), int(each["class"])) for each in annotations.reshape(-1)]
    except Exception as error:  # whatever scipy's reader raises on a damaged file
        raise UsageError(f"{file}: not the annotations of Cars-196 ({error})") from None


def online_products(path: Path) -> Iterator[Row]:
    """Stanford Online Products: `Ebay_train.txt`, `Ebay_test.txt`; `category` is the super class."""
    for split in ("train", "test"):
        for _, number, above, name in _fields(path / f"Ebay_{split}.txt", 4, header=1):
            yield Row(path / name, {"class": number, "category": above, "split": split})


def in_shop(path: Path) -> Iterator[Row]:
    """In-Shop: `list_eval_partition.txt`, whose splits are train, query and gallery."""
    file = next((path / name for name in PARTITION if (path / name).exists()), path / PARTITION[0])
    folder = path if (path / "img").exists() or not (path / "Img" / "img").exists() else path / "Img"
    for name, item, split in _fields(file, 3, header=2):
        if split not in {"train", "query", "gallery"}:
            raise UsageError(f"{file}: {name}: evaluation_status {split} is not train, query or gallery")
        yield Row(folder / name, {"class": item, "split": split})


def shop_the_look(path: Path) -> Iterator[Row]:
    """Shop-the-Look: pairs of a product and its box in a scene, by signature; `x-cat.json` by `x.json` has categories.

    A row for each box (domain "scene") and one for each product's own picture (domain "catalogue"). Pictures lie
    anywhere below the folder of the file, named by signature. Columns: `product` and `class` (the signature),
    `category` ("A|B|C"), and `category_1` "A", `category_2` "A|B", ... for each level.
    """
    pairs, pictures = _json(path), _pictures_by_stem(path.parent)
    categories = path.with_name(f"{path.stem}-cat.json")
    levels = _levels(categories) if categories.exists() else {}
    shown: set[str] = set()
    for number, pair in enumerate(pairs, 1):
        try:
            product, scene, box = str(pair["product"]), str(pair["scene"]), pair["bbox"]
        except (TypeError, KeyError):
            yield Row(None, problem=f"{path}: pair {number}: needs `product`, `scene` and `bbox`")
            continue
        columns = {"product": product, "class": product, **levels.get(product, {})}
        if scene in pictures:
            yield boxed(pictures[scene], columns | {"domain": "scene"}, box)
        else:
            yield Row(None, columns, problem=f"{path}: no picture of scene {scene} below {path.parent}")
        if product not in shown:
            shown.add(product)
            columns |= {"domain": "catalogue"}
            if product in pictures:
                yield Row(pictures[product], columns)
            else:
                yield Row(None, columns, problem=f"{path}: no picture of product {product} below {path.parent}")


def _levels(file: Path) -> dict[str, dict[str, str]]:
    """Product -> its category and the levels of that."""
    found = {}
    for table in _json(file):
        for product, text in table.items():
            names = str(text).split("|")
            above = {f"category_{depth}": "|".join(names[:depth]) for depth in range(1, len(names) + 1)}
            found[str(product)] = {"category": str(text), **above}
    return found


def _json(file: Path) -> list[Any]:
    """The objects of a file that holds an array, one object, or an object a line."""
    try:
        text = file.read_text(encoding="utf-8")
        try:
            values = json.loads(text)
        except ValueError:
            values = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file}: not JSON, nor JSON lines ({error})") from None
    values = values if isinstance(values, list) else [values]
    return [each for each in values if isinstance(each, dict)]


def _pictures_by_stem(folder: Path) -> dict[str, Path]:
    return {
        Path(name).stem: Path(place, name)
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if Path(name).suffix.lower() in SUPPORTED_SUFFIXES
    }


def _fields(file: Path, count: int, header: int = 0) -> Iterator[list[str]]:
    """The words of each line after the header; raises UsageError where a line has not `count` of them."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    for number, line in enumerate(lines[header:], header + 1):
        words = line.split(maxsplit=count - 1)
        if not words:
            continue
        if len(words) != count:
            raise UsageError(f"{file}: line {number} has {len(words)} fields, not {count}")
        yield [word.strip() for word in words]


def _half(number: str, train: int, path: Path) -> str:
    """The split of a class by its number."""
    if not number.isdecimal():
        raise UsageError(f"{path}: class {number} is not a number")
    return "train" if int(number) <= train else "test"


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "cub200": cub200,
    "cars196": cars196,
    "sop": online_products,
    "inshop": in_shop,
    "stl": shop_the_look,
}
"""Format -> what reads it."""
