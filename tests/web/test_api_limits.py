"""Every limit of the HTTP API, and what is one over it."""

from __future__ import annotations

import gc
import threading
from io import BytesIO
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from tests.web.api import (
    KEY,
    WITH_KEY,
    Client,
    client_of,
    fields,
    form,
    image_bytes,
    in_base64,
    make_app,
    make_client,
    problem,
)
from visearch import images, settings
from visearch.collection import Collection
from visearch.errors import UsageError
from web.config import Config
from web.limits import Gate
from web.problems import Problem

SEARCH = "/api/v1/search/flashlight"
# werkzeug leaves the files of a form that it refuses, and those of its test client, to the garbage collector
unclosed = pytest.mark.filterwarnings("ignore")


def test_a_body_one_byte_over(collection: Collection) -> None:
    plain = {"item": 1}
    length = int(make_client(collection).post(SEARCH, json=plain).request.headers["Content-Length"])
    assert make_client(collection, max_body=length).post(SEARCH, json=plain).status_code == 200
    client = make_client(collection, max_body=length - 1)
    problem(client.post(SEARCH, json=plain), 413)
    problem(client.post(SEARCH, **form(image_bytes(1))), 413)
    problem(client.post("/api/v1/items", **form(image_bytes(1)), headers=WITH_KEY), 413)


def test_the_limit_of_a_body_is_the_setting(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEARCH_MAX_BODY_MEGABYTES", "0.001")
    client = make_client(collection)
    problem(client.post(SEARCH, json={"image": "A" * 1000}), 413)


def test_a_form_one_part_over(collection: Collection) -> None:
    client = make_client(collection, max_form_parts=2)
    assert client.post(SEARCH, **fields(item=1, limit=1)).status_code == 200
    problem(client.post(SEARCH, **fields(item=1, limit=1, max_distance=9)), 413)


@unclosed
def test_a_form_of_1001_parts(client: Client) -> None:
    problem(client.post(SEARCH, **fields(item=1, **{f"a{number}": 1 for number in range(1000)})), 413)
    many = fields(item=1)
    many["data"] |= {f"f{number}": (BytesIO(b"x"), "f.png") for number in range(1000)}
    problem(client.post(SEARCH, **many), 413)
    del many
    gc.collect()


@unclosed
def test_a_text_field_of_a_form_over_a_megabyte(client: Client) -> None:
    problem(client.post(SEARCH, **fields(item=1, filter="x" * 1_000_001)), 413)
    gc.collect()


def test_a_picture_one_pixel_over(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEARCH_MAX_MEGAPIXELS", str(48 * 40 / 1e6))
    assert client.post(SEARCH, **form(image_bytes(1))).status_code == 200
    stream = BytesIO()
    Image.new("RGB", (49, 40)).save(stream, "PNG")
    problem(client.post(SEARCH, **form(stream.getvalue())), 413, "image")


def _bomb(kind: str, side: int = 20_000) -> bytes:
    """A small file that says it is, and is, a picture of 400 megapixels."""
    stream = BytesIO()
    Image.new("1", (side, side)).save(stream, kind, **({"compression": "group4"} if kind == "TIFF" else {}))
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF"])
def test_a_bomb_is_refused_and_takes_no_memory(client: Client, kind: str) -> None:
    data = _bomb(kind)
    assert len(data) < 1_000_000
    problem(client.post(SEARCH, **form(image_bytes(1)[:-40])), 422)  # what one refusal needs is there now
    before = psutil.Process().memory_info().rss
    for address in (SEARCH, "/api/v1/search/shop", "/api/v1/objects"):
        problem(client.post(address, **form(data, "bomb.png")), 413, "image")
    assert psutil.Process().memory_info().rss - before < 100e6  # decoded it has 400 MB


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
HOSTILE = {
    "eps": EPS,
    "dos eps": b"\xc5\xd0\xd3\xc6" + bytes(26) + EPS,
    "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "pdf": b"%PDF-1.7\n1 0 obj\n",
    "html": b"<!doctype html><script>alert(1)</script>",
    "zip": b"PK\x03\x04" + bytes(100),
    "psd": b"8BPS" + bytes(100),
    "ico": b"\0\0\1\0\1\0" + bytes(100),
    "mp4": b"\0\0\0\x18ftypmp42" + bytes(100),
    "text": b"GIF is what this is not",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("claimed", ["photo.png", "photo.jpg", "../../etc/passwd", "a.svg"])
def test_what_is_no_picture_is_refused_whatever_it_is_called(client: Client, name: str, claimed: str) -> None:
    problem(client.post(SEARCH, **form(HOSTILE[name], claimed)), 415, "image")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_what_is_a_picture_is_read_whatever_it_is_called(client: Client, kind: str) -> None:
    for claimed in ("photo.png", "x.exe", "", "../../../etc/passwd", "a\0b", "🦉" * 100):
        assert client.post(SEARCH, **form(image_bytes(1, kind), claimed)).status_code == 200


@pytest.mark.parametrize("seed", range(5))
def test_damaged_pictures_are_told(client: Client, seed: int) -> None:
    """Cut off or with bytes changed: an answer or a problem of the picture, never a failure."""
    random = np.random.default_rng(seed)
    for kind in ("PNG", "JPEG", "WEBP"):
        data = bytearray(image_bytes(1, kind))
        for place in random.integers(0, len(data), 20):
            data[place] = random.integers(256)
        response = client.post(SEARCH, **form(bytes(data[: random.integers(10, len(data) + 1)])))
        assert response.status_code in (200, 413, 415, 422)


# The queue and the rate


def test_the_gate_lets_so_many_in_and_refuses_the_next() -> None:
    gate = Gate(at_once=2, waiting=1)
    release, inside = threading.Event(), threading.Semaphore(0)

    def hold() -> None:
        with gate.turn():
            inside.release()
            release.wait(30)

    threads = [threading.Thread(target=hold) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        assert inside.acquire(timeout=30)
    while gate.inside < 3:
        pass
    assert not inside.acquire(timeout=0.05)  # the third waits
    with pytest.raises(Problem) as error, gate.turn():
        pass
    assert (error.value.status, error.value.headers) == (429, {"Retry-After": "1"})
    release.set()
    for thread in threads:
        thread.join()
    assert gate.inside == 0
    with gate.turn():
        pass


def test_a_full_queue_refuses_work_but_not_lists(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(collection, requests_at_once=1, requests_waiting=0)
    release, inside = threading.Event(), threading.Event()
    search = Collection.ask

    def slow(*arguments: Any) -> Any:
        inside.set()
        release.wait(30)
        return search(*arguments)

    monkeypatch.setattr(Collection, "ask", slow)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(client_of(app).post(SEARCH, json={"item": 1})))
    thread.start()
    assert inside.wait(30)
    client = client_of(app)
    for response in (
        client.post(SEARCH, json={"item": 1}),
        client.post("/api/v1/objects", json={"item": 1}),
        client.get("/api/v1/items/1/objects"),
        client.post("/api/v1/items", **form(image_bytes(1)), headers=WITH_KEY),
    ):
        problem(response, 429)
        assert response.headers["Retry-After"] == "1"
    for address in ("/api/v1/items", "/api/v1/items/1/image", "/livez", "/readyz", "/metrics"):
        assert client.get(address).status_code == 200
    release.set()
    thread.join()
    assert [answer.status_code for answer in answers] == [200]
    assert client.post(SEARCH, json={"item": 1}).status_code == 200


def test_pictures_that_are_encoded_anew_have_a_queue_of_their_own(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.app.ENCODINGS_WAITING", 0)
    app = make_app(collection, requests_at_once=1)
    release, inside = threading.Event(), threading.Event()
    thumbnail = images.thumbnail

    def slow(*arguments: Any) -> bytes:
        inside.set()
        release.wait(30)
        return thumbnail(*arguments)

    monkeypatch.setattr(images, "thumbnail", slow)
    answers = []
    smaller = "/api/v1/items/1/image?side=16"
    thread = threading.Thread(target=lambda: answers.append(client_of(app).get(smaller)))
    thread.start()
    assert inside.wait(30)
    client = client_of(app)
    refused = client.get(smaller)
    problem(refused, 429)
    assert refused.headers["Retry-After"] == "1"
    assert "429" in client.get("/openapi.json").json["paths"]["/api/v1/items/{item_id}/image"]["get"]["responses"]
    assert client.get("/api/v1/items/1/image").status_code == 200
    assert client.post(SEARCH, json={"item": 1}).status_code == 200
    release.set()
    thread.join()
    assert [answer.status_code for answer in answers] == [200]
    assert client.get(smaller).status_code == 200


def test_one_request_over_the_rate(collection: Collection) -> None:
    client = make_client(collection, requests_per_minute=3)
    assert client.post(SEARCH, json={"item": 1}).status_code == 200
    problem(client.post(SEARCH, json={}), 400)
    problem(client.delete("/api/v1/items/99", headers=WITH_KEY), 404)
    for refused in (
        client.post(SEARCH, json={"item": 1}),
        client.post("/api/v1/search/shop", json={"item": 1}),
        client.delete("/api/v1/items/99", headers=WITH_KEY),
    ):
        problem(refused, 429)
        assert 1 <= int(refused.headers["Retry-After"]) <= 61
    assert client.get("/api/v1/items").status_code == 200
    other = client.post(SEARCH, json={"item": 1}, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert other.status_code == 200


# Keys


CHANGES = [("POST", "/api/v1/items"), ("DELETE", "/api/v1/items/1")]


@pytest.mark.parametrize(("method", "address"), CHANGES)
def test_a_change_needs_a_key(collection: Collection, method: str, address: str) -> None:
    client = make_client(collection)
    without = client.open(address, method=method)
    problem(without, 401)
    assert without.headers["WWW-Authenticate"] == "Bearer"
    for headers in (
        {"Authorization": "Bearer wrong"},
        {"X-API-Key": "wrong"},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": KEY + "x"},
        {"X-API-Key": "é"},
    ):
        problem(client.open(address, method=method, headers=headers), 403)
    for headers in (
        {"Authorization": KEY},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {in_base64(KEY.encode())}"},
    ):
        problem(client.open(address, method=method, headers=headers), 401)
    basic = {"Authorization": f"Basic {in_base64(b':' + KEY.encode())}"}
    problem(client.open(address, method=method, headers=basic), 401)  # a page elsewhere could make a browser send it
    assert client.open("/api/v1/items/99", method="DELETE", headers={"X-API-Key": KEY}).status_code == 404


@pytest.mark.parametrize(("method", "address"), CHANGES)
def test_nobody_changes_anything_where_there_is_no_key(collection: Collection, method: str, address: str) -> None:
    client = make_client(collection, api_keys=frozenset())
    for headers in ({}, WITH_KEY, {"X-API-Key": ""}):
        problem(client.open(address, method=method, headers=headers), 403)


def test_a_key_is_asked_before_the_body_is_read(collection: Collection) -> None:
    client = make_client(collection, max_body=10)
    problem(client.post("/api/v1/items", **form(image_bytes(1))), 401)


def test_reading_can_need_a_key_too(collection: Collection) -> None:
    client = make_client(collection, reads_need_key=True)
    basic = {"Authorization": f"Basic {in_base64(b'me:' + KEY.encode())}"}
    for address in ("/api/v1/items", "/api/v1/items/1/image", "/openapi.json", "/docs", "/metrics", "/api/v1/facets"):
        without = client.get(address)
        problem(without, 401)
        assert without.headers["WWW-Authenticate"].startswith("Basic ")
        for headers in (WITH_KEY, {"X-API-Key": KEY}, basic):
            assert client.get(address, headers=headers).status_code == 200
        problem(client.get(address, headers={"Authorization": f"Basic {in_base64(b'me:wrong')}"}), 401)
    problem(client.post(SEARCH, json={"item": 1}), 401)
    assert client.post(SEARCH, json={"item": 1}, headers=basic).status_code == 200
    for address in ("/livez", "/readyz", "/healthz"):
        assert client.get(address).status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [("read_access", "key"), ("read_access", "no"), ("url_fetch", "on"), ("max_body_megabytes", "-1"), ("hosts", None)],
)
def test_settings_that_make_no_sense_are_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    if value is None:
        monkeypatch.setenv("VISEARCH_HOSTS", " A.example ,, b ")
        assert Config.from_settings().hosts == {"a.example", "b"}
        return
    monkeypatch.setenv(f"VISEARCH_{name.upper()}", value)
    with pytest.raises(UsageError, match=f"VISEARCH_{name.upper()}"):
        Config.from_settings()


def test_every_web_setting_is_in_the_table() -> None:
    names = {setting.name for setting in settings.SETTINGS}
    assert {"api_keys", "read_access", "hosts", "cors_origins", "url_fetch", "search_log_days"} <= names
