"""Items over HTTP: listed, shown, added, removed; their pictures."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from werkzeug.test import TestResponse

from tests.pictures import save, save_all, visearch
from tests.web.api import (
    KEY,
    MODES,
    WITH_KEY,
    Client,
    client_of,
    fields,
    form,
    image_bytes,
    in_base64,
    make_app,
    make_client,
    opened,
    problem,
    search,
)
from tests.web.conftest import PRODUCTS, ROOMS
from visearch import index
from visearch.collection import Collection
from visearch.detector import Detector
from visearch.store import Item
from web import uploads
from web.listing import Remembered

# Listing


def test_a_list_goes_by_id_and_its_pages_join(client: Client) -> None:
    whole = client.get("/api/v1/items?limit=100").json
    assert [item["id"] for item in whole["items"]] == list(range(1, PRODUCTS + ROOMS + 1))
    assert (whole["total"], whole["next_cursor"]) == (PRODUCTS + ROOMS, None)
    joined, cursor = [], ""
    while cursor is not None:
        page = client.get(f"/api/v1/items?limit=7{cursor and '&cursor='}{cursor}").json
        joined += page["items"]
        cursor = page["next_cursor"]
    assert joined == whole["items"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"filter": {"category": "Rugs"}}, set(range(1, PRODUCTS, 2))),
        ({"filter": {"price": {"gte": 30, "lt": 60}}}, {3, 4, 5}),
        ({"filter": {"product": {"exists": True}}, "product": "false"}, set()),
        ({"product": "true"}, set(range(1, PRODUCTS + 1))),
        ({"product": "false", "filter": {"room": "bath"}}, {18, 20, 22, 24}),
    ],
)
def test_a_list_can_be_filtered(client: Client, query: dict[str, object], expected: set[int]) -> None:
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in query.items()}
    found, cursor = set(), None
    while True:
        page = client.get("/api/v1/items", query_string=texts | {"limit": 3} | ({"cursor": cursor} if cursor else {}))
        found |= {item["id"] for item in page.json["items"]}
        assert page.json["total"] == len(expected)
        cursor = page.json["next_cursor"]
        if cursor is None:
            break
    assert found == expected


def test_a_list_loses_nothing_while_items_come_and_go(own: Collection) -> None:
    client = make_client(own)
    first = client.get("/api/v1/items?limit=10").json
    client.delete("/api/v1/items/3", headers=WITH_KEY)
    client.delete("/api/v1/items/10", headers=WITH_KEY)
    added = client.post("/api/v1/items", **form(image_bytes(99)), headers=WITH_KEY).json["id"]
    rest = client.get(f"/api/v1/items?limit=100&cursor={first['next_cursor']}").json
    assert [item["id"] for item in rest["items"]] == [*range(11, PRODUCTS + ROOMS + 1), added]


def test_a_filtered_list_loses_nothing_either(own: Collection) -> None:
    """Its ids are remembered for a moment, so what goes in that moment is still among them."""
    client = make_client(own)
    first = client.get("/api/v1/items?product=true&limit=10").json
    for gone in (12, 20, 21):
        client.delete(f"/api/v1/items/{gone}", headers=WITH_KEY)
    found, cursor = [item["id"] for item in first["items"]], first["next_cursor"]
    while cursor is not None:
        page = client.get(f"/api/v1/items?product=true&limit=10&cursor={cursor}").json
        found += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert found == [number for number in range(1, PRODUCTS + 1) if number not in (12, 20, 21)]


@pytest.mark.parametrize("cursor", ["x", "-1", "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA", "bm8", "%00", "🦉"])
def test_a_cursor_that_was_not_given_out_is_told(client: Client, cursor: str) -> None:
    problem(client.get("/api/v1/items", query_string={"cursor": cursor}), 422, "cursor")


def test_facets_are_what_tells_items_apart(client: Client) -> None:
    answer = client.get("/api/v1/facets").json
    found = {facet["key"]: facet for facet in answer["facets"]}
    assert answer["items"] == PRODUCTS + ROOMS
    assert set(found) == {"category", "price", "room"}  # titles, links and product numbers name one item each
    assert (found["category"]["type"], found["category"]["count"]) == ("text", PRODUCTS)
    assert found["room"]["values"] == [{"value": "living", "count": 12}, {"value": "bath", "count": 12}]
    assert (found["price"]["type"], found["price"]["min"], found["price"]["max"]) == ("number", 10.0, 160.0)


def test_facets_follow_the_collection(own_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.api.about.FACET_SECONDS", 0.0)

    def rooms() -> dict[str, int]:
        facets = {facet["key"]: facet for facet in own_client.get("/api/v1/facets").json["facets"]}
        return {each["value"]: each["count"] for each in facets["room"]["values"]}

    assert rooms() == {"living": 12, "bath": 12}
    assert own_client.delete("/api/v1/items/1", headers=WITH_KEY).status_code == 204
    assert rooms() == {"living": 11, "bath": 12}


def test_a_list_that_takes_a_look_at_every_item_is_made_once_a_moment(
    own_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def total() -> int:
        found: int = own_client.get("/api/v1/items?product=true").json["total"]
        return found

    looks = []
    items = Collection.items

    def looking(self: Collection) -> Iterator[Item]:
        looks.append(1)
        return items(self)

    monkeypatch.setattr(Collection, "items", looking)
    assert (total(), total(), len(looks)) == (PRODUCTS, PRODUCTS, 1)
    for item in (1, 2):
        assert own_client.delete(f"/api/v1/items/{item}", headers=WITH_KEY).status_code == 204
        assert (total(), len(looks)) == (PRODUCTS, 1)
    monkeypatch.setattr("web.api.items.LIST_SECONDS", 0.0)
    assert (total(), len(looks)) == (PRODUCTS - 2, 2)


def test_who_asks_for_the_same_list_waits_for_the_one_who_makes_it() -> None:
    known, made = Remembered(), []

    def make() -> int:
        made.append(1)
        time.sleep(0.05)
        return len(made)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: known.get(("a",), 1, 0.0, make), range(8)))
    assert (answers, len(made)) == ([1] * 8, 1)
    assert known.get(("b",), 1, 0.0, make) == 2
    assert known.get(("a",), 2, 0.0, make) == 3


def test_collections_say_what_can_be_done(collection: Collection) -> None:
    client = make_client({"a": collection, "b": collection}, api_keys=frozenset())
    answer = client.get("/api/v1/collections").json
    assert [(each["name"], each["default"], each["items"]) for each in answer["collections"]] == [
        ("a", True, 24),
        ("b", False, 24),
    ]
    assert (answer["writes"], answer["url_fetch"], answer["search_log"], answer["detector"]) == (*[False] * 3, None)


# Adding and removing


def test_what_is_added_is_found_at_once_and_by_another_process(own: Collection) -> None:
    client = make_client(own)
    data = image_bytes(50)
    response = client.post("/api/v1/items", **form(data, metadata={"title": "New", "product": "n1"}), headers=WITH_KEY)
    assert response.status_code == 201
    added = response.json
    assert (added["width"], added["height"], added["metadata"]) == (48, 40, {"title": "New", "product": "n1"})
    best = search(client, "flashlight", image=in_base64(data), limit=1)["matches"][0]
    assert (best["item"], best["distance"], best["product"]["title"]) == (added["id"], 0, "New")
    assert client.get(added["image_url"]).data == data
    assert Image.open(BytesIO(client.get(added["thumbnail_url"]).data)).size == (48, 40)
    save(own.path / "query.png", 50)
    found = visearch("search", own.path / "query.png", "--collection", own.path, "--json", "--limit", "1").json
    assert found["matches"][0]["item"] == added["id"]


def test_long_values_of_metadata_are_shown_with_the_one_item_not_in_lists_and_searches(own: Collection) -> None:
    client = make_client(own)
    short = {"note": "x" * 500, "tags": ["a", "b"], "price": 3.5, "product": "p"}
    objects = [json.dumps({"label": "Lighting", "box": [0.1, 0.2, 0.3, 0.4]})] * 20
    metadata = short | {"title": "x" * 501, "objects": objects}
    added = client.post("/api/v1/items", **form(image_bytes(90), metadata=metadata), headers=WITH_KEY).json["id"]
    assert client.get(f"/api/v1/items/{added}").json["metadata"] == metadata
    found = [each for each in client.get("/api/v1/items?limit=100").json["items"] if each["id"] == added]
    found += [each for each in search(client, "flashlight", item=1, limit=100)["matches"] if each["item"] == added]
    assert [each["metadata"] for each in found] == [short, short]
    assert [each["product"]["title"] for each in found] == [metadata["title"]] * 2


def test_adding_the_same_picture_again_keeps_the_item_and_takes_the_new_metadata(own: Collection) -> None:
    client = make_client(own)
    first = client.post("/api/v1/items", **form(image_bytes(50), metadata={"title": "Old"}), headers=WITH_KEY)
    again = client.post(
        "/api/v1/items", json={"image": in_base64(image_bytes(50)), "metadata": {"title": "New"}}, headers=WITH_KEY
    )
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json == first.json | {"metadata": {"title": "New"}}
    assert len(own) == PRODUCTS + ROOMS + 1
    found = search(client, "flashlight", image=in_base64(image_bytes(50)), filter={"title": "New"})
    assert [match["item"] for match in found["matches"]] == [first.json["id"]]


def test_adding_a_picture_that_a_folder_holds_too_makes_an_item_of_its_own(own: Collection) -> None:
    client = make_client(own)
    data = Path(own.item(5).source).read_bytes()
    added = client.post("/api/v1/items", **form(data), headers=WITH_KEY)
    assert added.status_code == 201
    assert client.delete("/api/v1/items/5", headers=WITH_KEY).status_code == 204
    assert client.get(added.json["image_url"]).data == data


def test_the_same_picture_added_by_many_at_once_is_one_item(own: Collection) -> None:
    app = make_app(own, requests_at_once=8)
    answers = []

    def add() -> None:
        answers.append(client_of(app).post("/api/v1/items", **form(image_bytes(50)), headers=WITH_KEY))

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json["id"] for answer in answers}) == 1
    assert len(own) == PRODUCTS + ROOMS + 1


def test_what_is_removed_is_gone(own: Collection) -> None:
    client = make_client(own)
    source = Path(own.item(5).source)
    assert client.delete("/api/v1/items/5", headers=WITH_KEY).status_code == 204
    for response in (
        client.get("/api/v1/items/5"),
        client.get("/api/v1/items/5/image"),
        client.get("/api/v1/items/5/thumbnail"),
        client.get("/api/v1/items/5/objects"),
        client.delete("/api/v1/items/5", headers=WITH_KEY),
        client.post("/api/v1/search/flashlight", json={"item": 5}),
        client.post("/api/v1/search/flashlight", json={"item": 5, "box": [0, 0, 0.5, 0.5]}),
    ):
        problem(response, 404, "item")
    found = search(client, "flashlight", image=in_base64(image_bytes(5)), limit=100)["matches"]
    assert 5 not in {match["item"] for match in found}
    assert source.exists()  # it is its owner's


def test_the_file_of_an_upload_goes_with_its_item(own: Collection) -> None:
    client = make_client(own)
    added = client.post("/api/v1/items", **form(image_bytes(50)), headers=WITH_KEY).json["id"]
    (file,) = (own.path / "uploads").iterdir()
    assert file.name == hashlib.sha256(image_bytes(50)).hexdigest() + ".png"
    assert client.delete(f"/api/v1/items/{added}", headers=WITH_KEY).status_code == 204
    assert not file.exists()
    assert client.post("/api/v1/items", **form(image_bytes(50)), headers=WITH_KEY).json["id"] > added


def test_what_is_removed_as_soon_as_it_is_added_was_added(own: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    changing = threading.Lock()

    class Removing:
        """The lock of changes, at which another request waits to remove all that was uploaded."""

        def __enter__(self) -> None:
            changing.acquire()

        def __exit__(self, *error: object) -> None:
            changing.release()
            own.remove([item.item_id for item in own.items() if item.origin == "uploads"])

    monkeypatch.setattr(uploads, "_changing", Removing())
    response = make_client(own).post("/api/v1/items", **form(image_bytes(50)), headers=WITH_KEY)
    assert (response.status_code, response.json["width"]) == (201, 48)
    assert len(own) == PRODUCTS + ROOMS


def test_who_removes_an_upload_too_late_leaves_the_file_of_the_next_one(own: Collection) -> None:
    client = make_client(own)
    old = own.item(client.post("/api/v1/items", **form(image_bytes(50)), headers=WITH_KEY).json["id"])
    assert client.delete(f"/api/v1/items/{old.item_id}", headers=WITH_KEY).status_code == 204
    new = client.post("/api/v1/items", **form(image_bytes(50)), headers=WITH_KEY).json
    uploads.remove(own, old)
    assert client.get(new["image_url"]).data == image_bytes(50)


@pytest.mark.parametrize("mode", MODES)
def test_an_item_that_is_removed_while_it_is_searched_with_is_told(
    own: Collection, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    searcher = Collection.searcher

    def removing(self: Collection) -> object:
        self.remove([5])
        return searcher(self)

    monkeypatch.setattr(Collection, "searcher", removing)
    problem(make_client(own).post(f"/api/v1/search/{mode}", json={"item": 5}), 404, "item")


def test_objects_of_what_is_added_are_found_where_the_collection_was_indexed_with_objects(
    tmp_path: Path, tiny: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_all(tmp_path / "in", range(3))
    monkeypatch.setenv("VISEARCH_DETECTOR", str(detector.path))
    done = visearch("index", tmp_path / "in", "--collection", tmp_path / "c", "--model", tiny, "--objects")
    assert done.code == 0, done.err
    with Collection.open(tmp_path / "c") as collection:
        client = make_client(collection, detector)
        added = client.post("/api/v1/items", **form(image_bytes(1)), headers=WITH_KEY).json["id"]
        new = client.post("/api/v1/items", **form(image_bytes(50)), headers=WITH_KEY).json["id"]
        assert [len(collection.item(item).regions) for item in (1, added, new)] == [2, 2, 2]
        box = collection.item(new).regions[1]
        best = search(client, "flashlight", image=in_base64(image_bytes(50)), box=box, limit=1)["matches"][0]
        assert (best["item"], best["region"], best["distance"]) == (new, 1, 0)


def test_the_index_is_merged_beside_the_requests_once_that_is_cheaper(
    own: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "MERGE_ROWS", 2)
    before = own.generation.base
    client = make_client(own)
    for seed in range(50, 58):
        assert client.post("/api/v1/items", **form(image_bytes(seed)), headers=WITH_KEY).status_code == 201
    deadline = time.monotonic() + 60
    while own.generation.base == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert own.generation.base > before
    for thread in threading.enumerate():
        if thread.name == "merge":
            thread.join()
    assert search(client, "flashlight", image=in_base64(image_bytes(53)), limit=1)["matches"][0]["distance"] == 0


def test_a_refused_picture_leaves_nothing(own: Collection) -> None:
    client = make_client(own)
    problem(client.post("/api/v1/items", **form(image_bytes(50)[:-40]), headers=WITH_KEY), 422, "image")
    problem(client.post("/api/v1/items", **form(b"no picture"), headers=WITH_KEY), 415, "image")
    assert len(own) == PRODUCTS + ROOMS
    assert own.failures() == []
    assert not (own.path / "uploads").exists()


@pytest.mark.parametrize(
    "metadata",
    ["[]", "no json",
     '{"a": {"b": 1}}', '{"a": null}', '{"": 1}', '{"a": [[1]]}', '{"a": 1e999}', f'{{"a": {10**400}}}',
     '{"a": "\\ud800"}', json.dumps({str(n): n for n in range(101)}), json.dumps({"a": "x" * 10_001})],
)  # fmt: skip
def test_metadata_that_cannot_be_kept_is_told(own_client: Client, metadata: str) -> None:
    found = problem(own_client.post("/api/v1/items", **form(image_bytes(50), metadata=metadata), headers=WITH_KEY), 400)
    assert all(error["field"].startswith("metadata") for error in found["errors"])


def test_a_collection_that_was_moved_still_shows_its_uploads(own: Collection, tmp_path: Path) -> None:
    added = make_client(own).post("/api/v1/items", **form(image_bytes(50)), headers=WITH_KEY).json["id"]
    own.close()
    shutil.move(own.path, tmp_path / "elsewhere")
    with opened(tmp_path / "elsewhere") as client:
        assert client.get(f"/api/v1/items/{added}/image").data == image_bytes(50)
        for response in searches_with_its_picture(client, added):
            assert response.status_code == 200, response.text


def searches_with_its_picture(client: Client, item: int) -> list[TestResponse]:
    """The answers of those searches by item that look at its picture."""
    box = [0.1, 0.1, 0.9, 0.9]
    return [
        client.post("/api/v1/search/flashlight", json={"item": item, "box": box}),
        client.post("/api/v1/search/lens", json={"item": item}),
        client.post("/api/v1/search/shop", json={"item": item, "boxes": [box]}),
        client.post("/api/v1/objects", json={"item": item}),
    ]


def test_a_picture_that_was_replaced_since_is_not_searched_with(own: Collection, tmp_path: Path) -> None:
    file = save(tmp_path / "in/a.png", 60)
    assert visearch("index", tmp_path / "in", "--collection", own.path).code == 0
    item = own.find_item(str(file))
    client = make_client(own)
    for response in searches_with_its_picture(client, item):
        assert response.status_code == 200, response.text
    save(file, 61)
    for response in searches_with_its_picture(client, item):
        problem(response, 404, "item")
    assert search(client, "flashlight", item=item)["matches"]  # by its codes


# Pictures


def test_an_original_is_given_as_it_is(own: Collection) -> None:
    response = make_client(own).get("/api/v1/items/5/image")
    assert response.data == Path(own.item(5).source).read_bytes()
    assert response.content_type == "image/png"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize("name", ["image", "thumbnail"])
def test_who_has_a_picture_is_not_sent_it_again(client: Client, name: str) -> None:
    item = client.get("/api/v1/items/5").json
    first = client.get(item[f"{name}_url"])
    assert first.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert client.get(f"/api/v1/items/5/{name}").headers["Cache-Control"] == "private, no-cache"
    again = client.get(f"/api/v1/items/5/{name}", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    other = client.get(f"/api/v1/items/6/{name}", headers={"If-None-Match": first.headers["ETag"]})
    assert other.status_code == 200


@pytest.mark.parametrize("name", ["image", "thumbnail"])
def test_a_part_of_a_picture_can_be_asked_for(client: Client, name: str) -> None:
    whole = client.get(f"/api/v1/items/5/{name}").data
    part = client.get(f"/api/v1/items/5/{name}", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.data) == (206, whole[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(whole)}"
    problem(client.get(f"/api/v1/items/5/{name}", headers={"Range": "bytes=9999999-"}), 416)


def test_a_format_that_browsers_do_not_show_comes_as_upright_jpeg(tmp_path: Path, tiny: Path) -> None:
    save(tmp_path / "in/a.tiff", 1, (60, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(save(tmp_path / "b.png", 2, (60, 40))).save(tmp_path / "in/b.png", exif=exif)
    assert visearch("index", tmp_path / "in", "--collection", tmp_path / "c", "--model", tiny).code == 0
    with opened(tmp_path / "c") as client:
        for item in client.get("/api/v1/items").json["items"]:
            response = client.get(item["image_url"])
            assert response.content_type == "image/jpeg"
            assert Image.open(BytesIO(response.data)).size == (item["width"], item["height"])


def test_a_smaller_picture_can_be_asked_for(tmp_path: Path, tiny: Path) -> None:
    save(tmp_path / "in/a.jpg", 1, (1200, 600))
    assert visearch("index", tmp_path / "in", "--collection", tmp_path / "c", "--model", tiny).code == 0
    with opened(tmp_path / "c") as client:
        sizes = {}
        for side in (16, 480, 1199, 1200, 2048):
            response = client.get(f"/api/v1/items/1/image?side={side}")
            sizes[side] = Image.open(BytesIO(response.data)).size
            again = client.get(
                f"/api/v1/items/1/image?side={side}", headers={"If-None-Match": response.headers["ETag"]}
            )
            assert again.status_code == 304
        assert sizes == {16: (16, 8), 480: (480, 240), 1199: (1199, 600), 1200: (1200, 600), 2048: (1200, 600)}
        small = np.asarray(Image.open(BytesIO(client.get("/api/v1/items/1/image?side=480").data)), float)
        expected = Image.open(tmp_path / "in/a.jpg").resize((480, 240), Image.Resampling.BICUBIC)
        assert np.abs(small - np.asarray(expected, float)).mean() < 3
        for side in (15, 2049):
            problem(client.get(f"/api/v1/items/1/image?side={side}"), 400, "side")


def test_only_the_bytes_that_were_indexed_are_given_out(own: Collection, tmp_path: Path) -> None:
    """Whatever lies at the path of an item now, and whatever it is made to look like."""
    folder = tmp_path / "in"
    files = save_all(folder, range(4))
    assert visearch("index", folder, "--collection", own.path).code == 0
    items = {item.source: item for item in own.items()}
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * files[1].stat().st_size)
    statuses = [file.stat() for file in files]
    files[0].unlink()
    files[1].write_bytes(secret.read_bytes())  # the same size and, below, the same time
    files[2].unlink()
    files[2].symlink_to(secret)
    files[3].unlink()
    files[3].mkdir()
    for file, status in zip(files[1:3], statuses[1:3], strict=True):
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    client = make_client(own)
    for file in files:
        found = problem(client.get(f"/api/v1/items/{items[str(file)].item_id}/image"), 404)
        assert str(tmp_path) not in json.dumps(found)
        assert client.get(f"/api/v1/items/{items[str(file)].item_id}/thumbnail").status_code == 200
    gone = client.post(
        "/api/v1/search/flashlight", json={"item": items[str(files[0])].item_id, "box": [0, 0, 0.5, 0.5]}
    )
    assert str(tmp_path) not in json.dumps(problem(gone, 404, "item"))


def test_a_file_that_was_moved_but_is_the_same_is_given_out_through_its_link(own: Collection, tmp_path: Path) -> None:
    source = Path(own.item(5).source)
    copy = tmp_path / "own.png"
    shutil.copy(source, copy)
    assert visearch("index", copy, "--collection", own.path).code == 0
    item = next(item for item in own.items() if item.source == str(copy))
    copy.rename(tmp_path / "moved.png")
    copy.symlink_to(tmp_path / "moved.png")
    assert make_client(own).get(f"/api/v1/items/{item.item_id}/image").data == source.read_bytes()


def test_no_answer_tells_where_files_lie(own: Collection, tmp_path: Path) -> None:
    client = make_client(own)
    client.post("/api/v1/items", **form(image_bytes(50)), headers={"X-API-Key": KEY})
    texts = [
        client.get("/api/v1/items?limit=100").text,
        client.get("/api/v1/items/1").text,
        client.get("/api/v1/facets").text,
        client.get("/api/v1/collections").text,
        client.get("/metrics").text,
        client.post("/api/v1/search/flashlight", json={"item": 1, "limit": 100}).text,
        client.post("/api/v1/search/shop", **fields(item=1, boxes=[[0, 0, 1, 1]])).text,
    ]
    for text in texts:
        assert str(own.path) not in text
        assert "pictures/" not in text
        assert "source" not in text
