"""Searching over HTTP: one contract, three modes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.tiny_detector import CATEGORY, LABEL
from tests.web.api import KEY, MODES, Client, fields, form, image_bytes, in_base64, make_client, opened, problem, search
from visearch import modes
from visearch.collection import Collection
from visearch.detector import Detector

HEAD = {"query_id", "mode", "collection", "model", "generation", "score", "width", "height", "took", "logged"}
MATCH = {
    "item", "region", "box", "distance", "score", "closeness", "duplicates", "width", "height", "metadata", "product",
    "image_url", "thumbnail_url",
}  # fmt: skip
BOX = [0.25, 0.25, 0.75, 0.75]


@pytest.mark.parametrize("mode", ["flashlight", "lens"])
def test_a_picture_finds_itself_as_file_base64_and_item(client: Client, mode: str) -> None:
    data = image_bytes(5)
    by_form = client.post(f"/api/v1/search/{mode}", **form(data, limit=3)).json
    by_json = search(client, mode, image=in_base64(data), limit=3)
    assert set(by_form) == HEAD | {"box", "detector", "objects", "matches", "relevant", "next_cursor"}
    assert [match["item"] for match in by_form["matches"]] == [match["item"] for match in by_json["matches"]]
    best = by_form["matches"][0]
    assert set(best) == MATCH
    assert (best["item"], best["distance"], best["closeness"], best["width"], best["height"]) == (
        5, 0, "very close", 48, 40,
    )  # fmt: skip
    assert (by_form["width"], by_form["height"], by_form["box"], by_form["score"]) == (48, 40, [0, 0, 1, 1], "cosine")
    by_item = search(client, mode, item=5, limit=3)
    assert (by_item["width"], by_item["height"]) == (48, 40)
    assert 5 not in [match["item"] for match in by_item["matches"]]


def test_a_match_tells_what_can_be_bought_and_where_its_pictures_are(client: Client) -> None:
    best = search(client, "flashlight", image=in_base64(image_bytes(5)), limit=1)["matches"][0]
    assert best["product"] == {
        "title": "Lamp 5", "price": 50.0, "price_currency": "EUR", "availability": "in stock", "seller": "Shop",
        "url": "https://shop.example/5",
    }  # fmt: skip
    for address in (best["image_url"], best["thumbnail_url"]):
        assert client.get(address).status_code == 200
    room = search(client, "flashlight", image=in_base64(image_bytes(20)), limit=1)["matches"][0]
    assert (room["item"], room["product"]) == (20, None)


def test_a_box_is_searched_and_echoed(client: Client) -> None:
    by_json = search(client, "flashlight", item=5, box=BOX)
    by_form = client.post("/api/v1/search/flashlight", **fields(item=5, box="0.25,0.25,0.75,0.75")).json
    assert by_json["box"] == by_form["box"] == BOX
    assert by_json["matches"] == by_form["matches"]
    assert by_json["matches"] != search(client, "flashlight", item=5)["matches"]


def test_a_filter_holds(client: Client) -> None:
    wanted = {"category": "Rugs", "price": {"lte": 100}}
    by_json = search(client, "flashlight", item=20, filter=wanted)
    by_form = client.post("/api/v1/search/flashlight", **fields(item=20, filter=wanted)).json
    assert {match["item"] for match in by_json["matches"]} == {1, 3, 5, 7, 9}
    assert by_json["matches"] == by_form["matches"]


def test_nothing_is_further_than_max_distance(client: Client) -> None:
    every = search(client, "flashlight", item=5, limit=100)["matches"]
    limit = sorted(match["distance"] for match in every)[3]
    near = search(client, "flashlight", item=5, limit=100, max_distance=limit)["matches"]
    assert {match["item"] for match in near} == {match["item"] for match in every if match["distance"] <= limit}


def test_the_relevant_are_the_first_of_the_page(client: Client) -> None:
    answer = search(client, "flashlight", image=in_base64(image_bytes(5)))
    assert 1 <= answer["relevant"] <= len(answer["matches"])


@pytest.mark.parametrize("mode", ["flashlight", "lens"])
def test_pages_repeat_nothing_and_lose_nothing(client: Client, mode: str) -> None:
    query = {"item": 5} if mode == "flashlight" else {"image": in_base64(image_bytes(5))}
    whole = search(client, mode, **query, limit=100)
    assert whole["next_cursor"] is None
    page = search(client, mode, **query, limit=5)
    shown = page["matches"]
    while page["next_cursor"] is not None:
        last = page
        page = search(client, mode, cursor=page["next_cursor"], limit=5)
        assert page["query_id"] == last["query_id"]
        shown += page["matches"]
    assert shown == whole["matches"]
    repeated = search(client, mode, **query, cursor=last["next_cursor"], limit=5)
    assert repeated["matches"] == page["matches"]


def test_pages_stay_whole_while_items_come_and_go(own: Collection) -> None:
    client = make_client(own)
    expected = [match["item"] for match in search(client, "flashlight", item=5, limit=100)["matches"]]
    page = search(client, "flashlight", item=5, limit=5)
    headers = {"X-API-Key": KEY}
    assert client.post("/api/v1/items", **form(image_bytes(5)), headers=headers).status_code == 201
    assert client.delete(f"/api/v1/items/{expected[7]}", headers=headers).status_code == 204
    shown = [match["item"] for match in page["matches"]]
    while page["next_cursor"] is not None:
        page = search(client, "flashlight", cursor=page["next_cursor"], limit=5)
        shown += [match["item"] for match in page["matches"]]
    assert shown == [item for item in expected if item != expected[7]]


def test_a_cursor_of_another_mode_or_of_nobody_is_told(client: Client) -> None:
    cursor = search(client, "flashlight", item=5, limit=2)["next_cursor"]
    for mode, text in (("lens", cursor), ("flashlight", "bm8"), ("flashlight", "%%%"), ("flashlight", cursor + "x")):
        problem(client.post(f"/api/v1/search/{mode}", json={"cursor": text}), 422, "cursor")


def test_only_the_latest_windows_are_kept(collection: Collection) -> None:
    client = make_client(collection, pages_kept=2)
    cursors = [search(client, "flashlight", item=item, limit=2)["next_cursor"] for item in (1, 2, 3)]
    problem(client.post("/api/v1/search/flashlight", json={"cursor": cursors[0]}), 422, "cursor")
    for cursor in cursors[1:]:
        assert len(search(client, "flashlight", cursor=cursor)["matches"]) == 20


def test_lens_finds_the_object_and_says_which(collection: Collection, detector: Detector) -> None:
    client = make_client(collection, detector)
    answer = search(client, "lens", image=in_base64(image_bytes(1)))
    assert answer["detector"] == "tiny_detector 1"
    (found,) = answer["objects"]
    assert (found["label"], found["category"]) == (LABEL, CATEGORY)
    assert answer["box"] == found["box"]
    assert answer["matches"][0]["item"] == 1
    drawn = search(client, "lens", image=in_base64(image_bytes(1)), box=BOX)
    assert (drawn["box"], drawn["objects"]) == (BOX, [])


def test_shop_gives_products_by_object(collection: Collection, detector: Detector) -> None:
    client = make_client(collection, detector)
    answer = search(client, "shop", item=20, limit=4)
    assert set(answer) == HEAD | {"detector", "objects"}
    (found,) = answer["objects"]
    assert (found["label"], found["category"], len(found["matches"])) == (LABEL, CATEGORY, 4)
    assert all(match["product"] is not None for match in found["matches"])


def test_shop_takes_boxes_drawn_by_hand(client: Client) -> None:
    boxes = [BOX, [0, 0, 0.5, 1]]
    by_json = search(client, "shop", item=20, boxes=boxes, limit=2, filter={"price": {"gt": 80}})
    assert [found["box"] for found in by_json["objects"]] == boxes
    prices = [match["product"]["price"] for found in by_json["objects"] for match in found["matches"]]
    assert len(prices) == 4
    assert min(prices) > 80
    by_form = client.post("/api/v1/search/shop", **fields(item=20, boxes=boxes, limit=2))
    assert len(by_form.json["objects"]) == 2


def test_shop_without_a_detector_finds_no_objects_and_says_so(client: Client) -> None:
    answer = search(client, "shop", image=in_base64(image_bytes(1)))
    assert (answer["detector"], answer["objects"], answer["width"]) == (None, [], 48)


def test_objects_of_a_picture_and_of_an_item(collection: Collection, detector: Detector) -> None:
    client = make_client(collection, detector)
    by_item = client.get("/api/v1/items/1/objects").json
    by_file = client.post("/api/v1/objects", **form(image_bytes(1))).json
    by_json = client.post("/api/v1/objects", json={"item": 1}).json
    assert by_item == by_file == by_json
    assert (by_item["width"], by_item["height"], by_item["detector"]) == (48, 40, "tiny_detector 1")
    assert [found["label"] for found in by_item["objects"]] == [LABEL]
    without = make_client(collection).get("/api/v1/items/1/objects").json
    assert without == by_item | {"detector": None, "objects": []}


def test_a_turned_phone_photo_is_searched_upright(client: Client) -> None:
    upright = Image.open(BytesIO(image_bytes(5)))
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(stream, "PNG", exif=exif)
    answer = search(client, "lens", image=in_base64(stream.getvalue()), limit=1)
    assert (answer["width"], answer["height"], answer["matches"][0]["item"]) == (48, 40, 5)


def test_a_collection_is_picked_by_name(collection: Collection, own: Collection) -> None:
    own.remove([5])
    client = make_client({"first": collection, "second": own})
    query = {"image": in_base64(image_bytes(5)), "limit": 1}
    assert search(client, "flashlight", **query)["matches"][0]["item"] == 5
    answer = search(client, "flashlight", **query, collection="second")
    assert answer["collection"] == "second"
    best = answer["matches"][0]
    assert best["item"] != 5
    assert "collection=second" in best["image_url"]
    assert client.get(best["image_url"]).data == client.get(f"/api/v1/items/{best['item']}/image").data
    problem(client.post("/api/v1/search/lens", json={"item": 1, "collection": "third"}), 404, "collection")


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_measures_its_stages(collection: Collection, detector: Detector, mode: str) -> None:
    client = make_client(collection, detector)
    response = client.post(f"/api/v1/search/{mode}", **form(image_bytes(3)))
    assert {"decode", "embed", "search", "rerank", "total"} <= set(response.json["took"])
    timing = response.headers["Server-Timing"]
    assert all(f"{stage};dur=" in timing for stage in ("decode", "embed", "search", "rerank", "total"))


@pytest.mark.parametrize("mode", MODES)
def test_a_collection_without_items_answers_nothing(tmp_path: Path, tiny: Path, mode: str) -> None:
    Collection.open(tmp_path / "empty", create=True, model=tiny).close()
    with opened(tmp_path / "empty") as client:
        answer = search(client, mode, image=in_base64(image_bytes(3)))
        assert answer.get("matches", []) == answer.get("objects", []) == []


def test_flashlight_can_prefer_what_is_unlike_what_came_before(client: Client, collection: Collection) -> None:
    for diversity in (0.0, 0.7):
        expected = [match.item for match in modes.flashlight(collection, item=5, limit=8, diversity=diversity)]
        answer = search(client, "flashlight", item=5, limit=8, diversity=diversity)
        assert [match["item"] for match in answer["matches"]] == expected
        by_form = client.post("/api/v1/search/flashlight", **fields(item=5, limit=8, diversity=diversity)).json
        assert by_form["matches"] == answer["matches"]
    assert expected != [match["item"] for match in search(client, "flashlight", item=5, limit=8)["matches"]]
    for wrong in (-0.1, 1.1, "0.5", True):
        problem(client.post("/api/v1/search/flashlight", json={"item": 5, "diversity": wrong}), 400, "diversity")
    problem(client.post("/api/v1/search/lens", json={"item": 5, "diversity": 0.5}), 400, "diversity")
