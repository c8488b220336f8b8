"""Flashlight, Lens and Shop-the-Look, on a catalogue of patterns and scenes that hold one in their middle."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from indexer import run
from tests.labelled import picture
from tests.tiny_detector import CATEGORY, write_detector
from visearch import models, modes
from visearch.collection import Collection
from visearch.detector import Detection, Detector
from visearch.errors import BoxError, FilterError, ImageError, UsageError
from visearch.images import WHOLE, Box
from visearch.results import Results

MIDDLE: Box = (0.25, 0.25, 0.75, 0.75)  # where the tiny detector finds a lamp
DEMO = Path(__file__).parents[2] / "data" / "homestore" / "demo"
NAMES = ("arc", "bell", "cone", "disc", "edge", "fan")


def scene(name: str, background: str) -> Image.Image:
    """A pattern in the middle of another one."""
    found = picture(background, 0, noise=0).resize((128, 128), Image.Resampling.NEAREST)
    found.paste(picture(name, 0, noise=0), (32, 32))
    return found


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector(write_detector(tmp_path_factory.mktemp("detector") / "d.onnx"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[Collection]:
    """A lamp and a chair of each pattern, alike but two products; and the patterns as pictures that are no products, in
    three copies of different quality."""
    folder = tmp_path_factory.mktemp("shop")
    rows = []
    for number, name in enumerate(NAMES):
        for category in (CATEGORY, "Chairs"):
            path = f"{name}-{category}.png"
            picture(name, 1, noise=20).save(folder / path)
            rows.append({"path": path, "product": f"{name}-{category}", "category": category, "price": 10 * number})
        for quality in (95, 85, 75):
            path = f"{name}-{quality}.jpg"
            picture(name, 2, noise=8).save(folder / path, quality=quality)
            rows.append({"path": path, "label": name})
    manifest = folder / "catalog.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.once(run.Job((str(manifest),), folder / "c", str(tiny)))
    with Collection.open(folder / "c") as collection:
        yield collection


def products(results: Results) -> list[str]:
    return [match.metadata.get("product", match.metadata.get("label", "")) for match in results]


# Flashlight


def test_copies_of_a_picture_fold_into_one_match_that_counts_them_products_never_do(shop: Collection) -> None:
    found = modes.flashlight(shop, png(picture("bell", 2, noise=8)), limit=3)
    assert sorted(products(found)) == ["bell", "bell-Chairs", "bell-Lighting"]
    assert {match.metadata.get("product"): match.duplicates for match in found} == {
        None: 2,
        "bell-Chairs": 0,
        "bell-Lighting": 0,
    }


@pytest.mark.parametrize(("window", "shown"), [(2, 1), (3, 2)])
def test_a_search_does_not_go_through_copies_without_end(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, window: int, shown: int
) -> None:
    """40 copies fill 16 windows of 2, and not those of 3, in which the other picture is seen too."""
    for number in range(40):
        picture("bell", 1, noise=0).save(tmp_path / f"{number}.png")
    picture("arc", 1, noise=0).save(tmp_path / "other.png")
    run.once(run.Job((str(tmp_path),), tmp_path / ".c", str(tiny)))
    monkeypatch.setenv("VISEARCH_WINDOW", str(window))
    with Collection.open(tmp_path / ".c") as collection:
        assert len(modes.flashlight(collection, tmp_path / "1.png", limit=2)) == shown


def test_with_the_model_that_ships_copies_fold_and_other_pictures_do_not(tmp_path: Path) -> None:
    rooms = sorted((DEMO / "rooms").glob("*.jpg"))[:3]
    for number, path in enumerate(rooms):
        with Image.open(path) as room:
            room.save(tmp_path / f"{number}.png")
            room.save(tmp_path / f"{number}-again.jpg", quality=60)
            room.resize((480, 360)).save(tmp_path / f"{number}-smaller.jpg", quality=85)
    run.once(run.Job((str(tmp_path),), tmp_path / ".c", str(models.default_model())))
    with Collection.open(tmp_path / ".c") as collection:
        found = modes.flashlight(collection, rooms[0].read_bytes())
        assert sorted(Path(match.source).stem.split("-")[0] for match in found) == [str(number) for number in range(3)]
        assert {match.duplicates for match in found} == {2}


def test_a_crop_is_searched_for_and_echoed_with_the_size_of_the_picture(shop: Collection) -> None:
    data = png(scene("cone", "disc"))
    found = modes.flashlight(shop, data, box=MIDDLE)
    assert products(found)[0].startswith("cone")
    assert (found.box, found.width, found.height) == (MIDDLE, 128, 128)
    assert products(modes.flashlight(shop, data))[0].startswith("cone") is False


def test_an_item_finds_what_is_like_it_and_not_itself(shop: Collection) -> None:
    item = shop.item(1)
    found = modes.flashlight(shop, item=1)
    assert found[0].metadata["product"] == "arc-Chairs"
    assert found[0].score == pytest.approx(1, abs=1e-3)
    assert 1 not in [match.item for match in found]
    assert (found[0].width, found[0].height) == (item.width, item.height)


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
@pytest.mark.parametrize("diversity", [0.0, 0.4])
def test_pages_of_a_query_neither_repeat_nor_lose_anything(shop: Collection, limit: int, diversity: float) -> None:
    data = png(picture("fan", 7))
    everything = modes.flashlight(shop, data, limit=1000, diversity=diversity)
    assert everything.next is None
    assert len(everything) + sum(match.duplicates for match in everything) == len(shop)
    page = modes.flashlight(shop, data, limit=limit, diversity=diversity)
    paged, relevant = list(page), page.relevant
    while page.next is not None:
        page = page.page(page.next, limit)
        assert len(page) <= limit
        paged += page
        relevant += page.relevant
    assert paged == list(everything)
    assert relevant == everything.relevant


def test_pages_keep_to_their_query_while_items_come_and_go(tmp_path: Path, tiny: Path) -> None:
    for number in range(30):
        picture(f"p{number}", 0).save(tmp_path / f"{number:02}.png")
    job = run.Job((str(tmp_path),), tmp_path / ".c", str(tiny))
    run.once(job)
    with Collection.open(tmp_path / ".c") as collection:
        data = png(picture("p3", 0))
        expected = [match.item for match in modes.flashlight(collection, data, limit=100)]
        first = modes.flashlight(collection, data, limit=10)
        collection.remove([expected[0], expected[12]])
        for number in range(5):
            picture("p3", number + 1).save(tmp_path / f"new-{number}.png")
        run.once(job)
        assert first.next is not None
        second = first.page(first.next, 10)
        assert second.next is not None
        third = second.page(second.next, 10)
        paged = [match.item for page in (first, second, third) for match in page]
        assert paged == [item for item in expected if item != expected[12]]


def test_the_irrelevant_tail_is_told(shop: Collection) -> None:
    found = modes.flashlight(shop, png(picture("edge", 2, noise=8)), limit=100)
    assert 0 < found.relevant < len(found)
    assert all(name.startswith("edge") for name in products(found)[:3])
    assert found.to_json()["relevant"] == found.relevant


# Lens


def test_the_object_that_is_found_is_searched_beside_the_whole_photo(shop: Collection, detector: Detector) -> None:
    photo = png(scene("disc", "arc"))
    found = modes.lens(shop, photo, detector=detector)
    assert found.box == pytest.approx(MIDDLE)
    assert [each.label for each in found.objects] == ["lamp"]
    blended = products(found)[:6]
    assert any(name.startswith("disc") for name in blended)
    assert {"decode", "detect", "embed", "search", "total"} <= found.took.keys()
    assert not any(name.startswith("disc") for name in products(modes.lens(shop, photo))[:2])


def test_a_box_that_is_given_is_searched_alone(shop: Collection, detector: Detector) -> None:
    photo = png(scene("disc", "arc"))
    found = modes.lens(shop, photo, box=MIDDLE, detector=detector)
    assert products(found) == products(modes.flashlight(shop, photo, box=MIDDLE))
    assert found.objects == ()


def test_without_a_detector_or_an_object_the_whole_photo_is_searched(shop: Collection, detector: Detector) -> None:
    dark = png(picture("bell", 0).point(lambda value: value // 8))  # the detector is not sure enough of it
    found = modes.lens(shop, dark, detector=detector)
    assert (found.box, found.objects) == (WHOLE, ())
    assert products(found) == products(modes.flashlight(shop, dark))
    assert products(modes.lens(shop, dark)) == products(found)


def test_salient_is_what_is_sure_large_and_central() -> None:
    def seen(box: Box, score: float = 0.8) -> Detection:
        return Detection(box, "", score, None)

    middle = seen((0.3, 0.3, 0.7, 0.7))
    assert modes.most_salient([]) is None
    assert modes.most_salient([seen((0.0, 0.0, 0.4, 0.4)), middle]) == middle
    assert modes.most_salient([seen((0.45, 0.45, 0.55, 0.55)), middle]) == middle
    assert modes.most_salient([seen((0.3, 0.3, 0.7, 0.7), 0.4), middle]) == middle


# Shop-the-Look


def test_the_objects_of_a_scene_each_find_products_and_only_products(shop: Collection, detector: Detector) -> None:
    looks = modes.shop(shop, png(scene("fan", "cone")), detector=detector, limit=5)
    (look,) = looks.objects
    assert (looks.detector, looks.width, looks.height) == ("tiny_detector 1", 128, 128)
    assert look.object.category == CATEGORY
    assert all("product" in match.metadata for match in look.results)
    # Two products with the same picture: that of the category which the detector saw comes first.
    assert products(look.results)[:2] == ["fan-Lighting", "fan-Chairs"]


def test_a_product_of_several_pictures_is_one_match_that_counts_them(
    tmp_path: Path, tiny: Path, detector: Detector
) -> None:
    rows = []
    for name in NAMES:
        for seed in range(3):  # of which some are no near-duplicates
            picture(name, seed, noise=60).save(tmp_path / f"{name}{seed}.png")
            rows.append({"path": f"{name}{seed}.png", "product": name, "category": CATEGORY})
    (tmp_path / "catalog.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.once(run.Job((str(tmp_path / "catalog.jsonl"),), tmp_path / "c", str(tiny)))
    with Collection.open(tmp_path / "c") as collection:
        room = png(scene("fan", "cone"))
        (look,) = modes.shop(collection, room, detector=detector, limit=9).objects
        assert sorted(products(look.results)) == sorted(NAMES)
        assert [match.duplicates for match in look.results] == [2] * len(NAMES)
        page = modes.shop(collection, room, detector=detector, limit=4).objects[0].results
        assert page.next is not None
        assert [*page, *page.page(page.next, 4)] == list(look.results)


@pytest.mark.parametrize("names", [[-1, -2, 1.5], [[["a", "b"], "x"], ["a", "b", "x"], {"a": 1}]])
def test_a_product_is_called_whatever_its_catalogue_calls_it(tmp_path: Path, tiny: Path, names: list[Any]) -> None:
    rows = []
    for pattern, product in zip(NAMES, names, strict=False):
        picture(pattern, 0, noise=0).save(tmp_path / f"{pattern}.png")
        rows.append({"path": f"{pattern}.png", "product": product})
    (tmp_path / "catalog.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.once(run.Job((str(tmp_path / "catalog.jsonl"),), tmp_path / "c", str(tiny)))
    with Collection.open(tmp_path / "c") as collection:
        (look,) = modes.shop(collection, png(scene("fan", "cone")), boxes=[MIDDLE]).objects
    assert len(look.results) == len(rows)


def test_boxes_drawn_by_hand_are_searched_in_one_go_each_by_itself(shop: Collection) -> None:
    image = Image.new("RGB", (192, 64))
    for place, name in enumerate(NAMES[:3]):
        image.paste(picture(name, 0, noise=0), (64 * place, 0))
    boxes: list[Box] = [(place / 3, 0.0, (place + 1) / 3, 1.0) for place in range(3)]
    looks = modes.shop(shop, png(image), boxes=boxes)
    assert looks.detector is None
    assert [look.object.box for look in looks.objects] == boxes
    assert [products(look.results)[0].split("-")[0] for look in looks.objects] == list(NAMES[:3])
    for look, box in zip(looks.objects, boxes, strict=True):
        alone = modes.shop(shop, png(image), boxes=[box]).objects[0]
        assert products(alone.results) == products(look.results)
        assert np.allclose([m.score for m in alone.results], [m.score for m in look.results], atol=0.02)


def test_price_filters_products_and_pages_go_on(shop: Collection) -> None:
    wanted = {"price": {"lte": 20}}
    (look,) = modes.shop(shop, png(picture("fan", 0)), boxes=[WHOLE], filter=wanted, limit=2).objects
    page = look.results
    names = products(page)
    while page.next is not None:
        page = page.page(page.next, 2)
        names += products(page)
    assert sorted(names) == sorted(f"{name}-{category}" for name in NAMES[:3] for category in (CATEGORY, "Chairs"))


def test_without_a_detector_there_are_no_objects(shop: Collection) -> None:
    looks = modes.shop(shop, png(scene("fan", "cone")))
    assert (looks.objects, looks.detector) == ((), None)


def test_the_scene_may_be_an_item(shop: Collection, detector: Detector) -> None:
    item = next(each for each in shop.items() if each.metadata.get("label") == "bell")
    (look,) = modes.shop(shop, item=item.item_id, detector=detector, boxes=[WHOLE]).objects
    assert products(look.results)[0].startswith("bell")


# What is put wrongly


def test_wrong_arguments_are_told(shop: Collection, detector: Detector) -> None:
    data = png(picture("arc", 0))
    for mode in (modes.flashlight, modes.lens, modes.shop):
        with pytest.raises(UsageError, match="either a picture or an item"):
            mode(shop)
        with pytest.raises(UsageError, match="limit 0"):
            mode(shop, data, limit=0)
        with pytest.raises(FilterError):
            mode(shop, data, filter={"price": {"about": 3}})
        with pytest.raises(UsageError, match="item 999"):
            mode(shop, item=999)
    with pytest.raises(BoxError):
        modes.shop(shop, data, boxes=[(0.5, 0, 0.2, 1)])
    with pytest.raises(BoxError):
        modes.lens(shop, data, box=(0.5, 0, 0.2, 1), detector=detector)
    with pytest.raises(UsageError, match="diversity 2"):
        modes.flashlight(shop, data, diversity=2)
    with pytest.raises(ImageError):
        modes.lens(shop, b"nothing", detector=detector)
