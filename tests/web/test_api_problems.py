"""Every error is a problem in the same words, tells what was wrong, and never what the machine said."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from tests.pictures import save_all, visearch
from tests.web.api import MODES, WITH_KEY, Client, fields, form, image_bytes, in_base64, make_client, problem
from visearch.collection import Collection
from visearch.errors import StoreError
from web.problems import DETAILS

PICTURE = in_base64(image_bytes(1))


def test_an_address_that_is_not_there(client: Client) -> None:
    for address in (
        "/nothing",
        "/api/v1/nothing",
        "/api/v1/items/x",
        "/api/v1/items/-1",
        "/static/nothing",
        "/api/v1/",
    ):
        assert problem(client.get(address), 404)["detail"] == DETAILS[404]


@pytest.mark.parametrize(
    ("method", "address", "allowed"),
    [
        ("GET", "/api/v1/search/lens", {"OPTIONS", "POST"}),
        ("PUT", "/api/v1/items/1", {"DELETE", "GET", "HEAD", "OPTIONS"}),
        ("DELETE", "/api/v1/items", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("POST", "/livez", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_method_that_an_address_does_not_answer(client: Client, method: str, address: str, allowed: set[str]) -> None:
    response = client.open(address, method=method)
    problem(response, 405)
    assert set(response.headers["Allow"].split(", ")) == allowed


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({}, 400, "body"),
    ({"item": 1, "image": PICTURE}, 400, "body"),
    ({"item": 1, "image_url": "https://x.example/"}, 400, "body"),
    ({"item": "1"}, 400, "item"),
    ({"item": 1.5}, 400, "item"),
    ({"item": True}, 400, "item"),
    ({"item": -1}, 400, "item"),
    ({"item": 2**63}, 400, "item"),
    ({"item": 99999}, 404, "item"),
    ({"item": 1, "limit": 0}, 400, "limit"),
    ({"item": 1, "limit": 101}, 400, "limit"),
    ({"item": 1, "limit": "5"}, 400, "limit"),
    ({"item": 1, "max_distance": -1}, 400, "max_distance"),
    ({"item": 1, "filter": []}, 400, "filter"),
    ({"item": 1, "filter": "{}"}, 400, "filter"),
    ({"item": 1, "filter": {"price": {"above": 3}}}, 400, "filter"),
    ({"item": 1, "filter": {"price": {"gt": "3"}}}, 400, "filter"),
    ({"item": 1, "filter": {"price": {}}}, 400, "filter"),
    ({"item": 1, "collection": "other"}, 404, "collection"),
    ({"item": 1, "collection": ""}, 400, "collection"),
    ({"item": 1, "color": "red"}, 400, "color"),
    ({"image": "no base64!"}, 400, "image"),
    ({"image": 5}, 400, "image"),
    ({"image": ""}, 422, "image"),
    ({"image": in_base64(b"hello")}, 415, "image"),
    ({"image": in_base64(b"<svg xmlns='http://www.w3.org/2000/svg'/>")}, 415, "image"),
    ({"image": in_base64(image_bytes(1)[:-50])}, 422, "image"),
    ({"image_url": "https://x.example/"}, 403, "image_url"),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("body", "status", "field"), BAD)
def test_a_search_that_is_put_wrongly(client: Client, mode: str, body: dict[str, Any], status: int, field: str) -> None:
    problem(client.post(f"/api/v1/search/{mode}", json=body), status, field)


BOXES: list[tuple[object, int]] = [
    ([0, 0, 1], 400),
    ([0, 0, 1, 1, 1], 400),
    ([0, 0, 1, "1"], 400),
    ([0, 0, 1, True], 400),
    ("0,0,1,1", 400),
    ({}, 400),
    ([0.5, 0, 0.5, 1], 422),
    ([0.6, 0, 0.5, 1], 422),
    ([0, 0, 1, 1.1], 422),
    ([-0.1, 0, 1, 1], 422),
    ([0, 0, 1e-6, 1e-6], 422),
]


@pytest.mark.parametrize(("box", "status"), BOXES)
def test_a_box_that_is_none_or_empty(client: Client, box: object, status: int) -> None:
    for mode in ("flashlight", "lens"):
        found = problem(client.post(f"/api/v1/search/{mode}", json={"image": PICTURE, "box": box}), status)
        assert {error["field"].partition(".")[0] for error in found["errors"]} == {"box"}
    found = problem(client.post("/api/v1/search/shop", json={"image": PICTURE, "boxes": [box]}), status)
    assert {error["field"].partition("es")[0] for error in found["errors"]} == {"box"}


@pytest.mark.parametrize("box", ["", "0,0,1", "0,0,1,1,1", "a,b,c,d", "nan,0,1,1", "0,0,inf,1", "[0,0,1,1]"])
def test_a_box_of_a_form_that_is_none(client: Client, box: str) -> None:
    response = client.post("/api/v1/search/flashlight", **form(image_bytes(1), box=box))
    assert response.status_code in (400, 422)
    assert {error["field"].partition(".")[0] for error in problem(response, response.status_code)["errors"]} == {"box"}


def test_a_body_of_another_kind(client: Client) -> None:
    address = "/api/v1/search/flashlight"
    for kind in ("text/plain", "image/png", "application/x-www-form-urlencoded", "application/xml", ""):
        problem(client.post(address, data=image_bytes(1), content_type=kind), 415)
    problem(client.post(address), 415)
    for text in (b"", b"{", b"\xff", b"[1]", b"null", b'{"item": 1} 2', b"[" * 100_000):
        problem(client.post(address, data=text, content_type="application/json"), 400)
    problem(client.post(address, data=b"no form", content_type="multipart/form-data; boundary=x"), 400)
    problem(client.post(address, data=b"no form", content_type="multipart/form-data"), 400)


def test_a_form_field_given_twice(client: Client) -> None:
    arguments = fields(limit=1)
    arguments["data"] = {"item": ["1", "2"]}
    problem(client.post("/api/v1/search/flashlight", **arguments), 400, "item")


def test_a_picture_sent_as_a_text_field(client: Client) -> None:
    problem(client.post("/api/v1/search/flashlight", **fields(image=PICTURE)), 400, "image")


def test_a_file_sent_as_a_number(client: Client) -> None:
    arguments = form(image_bytes(1))
    arguments["data"] = {"item": arguments["data"]["image"]}
    problem(client.post("/api/v1/search/flashlight", **arguments), 400, "item")


def test_a_client_can_name_the_request(client: Client) -> None:
    response = client.get("/nothing", headers={"X-Request-Id": "trace-1.a_b"})
    assert problem(response, 404)["request_id"] == "trace-1.a_b"
    for bad in ("a b", "x" * 65, "é", '"}', ""):
        assert re.fullmatch("[0-9a-f]{32}", client.get("/livez", headers={"X-Request-Id": bad}).headers["X-Request-Id"])


def test_a_failure_tells_its_id_and_nothing_else(
    collection: Collection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret /home/somebody")

    monkeypatch.setattr(Collection, "searcher", fail)
    response = make_client(collection).post("/api/v1/search/flashlight", json={"item": 1})
    found = problem(response, 500)
    assert found["detail"] == DETAILS[500]
    assert "secret" not in response.text
    assert found["request_id"] in caplog.text
    assert "secret /home/somebody" in caplog.text


def test_a_collection_that_cannot_answer(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreError("/home/somebody/.visearch: the store is broken")

    monkeypatch.setattr(Collection, "searcher", fail)
    client = make_client(collection)
    for response in (client.post("/api/v1/search/flashlight", json={"item": 1}), client.get("/readyz")):
        assert "somebody" not in json.dumps(problem(response, 503))
        assert response.headers["Retry-After"] == "5"
    assert client.get("/livez").status_code == 200
    assert client.get("/healthz").json == client.get("/livez").json | {
        "status": "not ready",
        "collections": {"home": "not ready"},
    }


def test_a_collection_that_cannot_be_written(own: Collection, tmp_path: Path) -> None:
    (own.path / "uploads").write_text("in the way")
    response = make_client(own).post("/api/v1/items", **form(image_bytes(50)), headers=WITH_KEY)
    assert str(tmp_path) not in response.text
    problem(response, 500)


def test_every_page_has_the_protecting_headers(client: Client) -> None:
    for address in ("/docs", "/openapi.json", "/api/v1/items", "/nothing", "/metrics"):
        headers = client.get(address).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_a_host_name_of_somebody_else_is_not_answered(collection: Collection) -> None:
    client = make_client(collection, hosts=frozenset({"shop.example"}))
    for host in ("localhost", "127.0.0.1:8000", "[::1]:8000", "192.168.1.7", "shop.example", "SHOP.example:443"):
        assert client.get("/livez", headers={"Host": host}).status_code == 200
    for host in (
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "shop.example.evil",
        "[::1",
        "a@b",
    ):
        problem(client.get("/livez", headers={"Host": host}), 403)


def test_the_access_log_has_a_line_of_json_without_secrets(
    collection: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "web.access")
    client = make_client(collection)
    response = client.get("/api/v1/items?filter=%7B%22room%22%3A%22secret%22%7D", headers=WITH_KEY)
    (line,) = [json.loads(record.message) for record in caplog.records if record.name == "web.access"]
    assert (line["method"], line["path"], line["operation"]) == ("GET", "/api/v1/items", "list_items")
    assert (line["status"], line["request_id"]) == (200, response.headers["X-Request-Id"])
    assert line["took"]["total"] > 0
    assert "secret" not in json.dumps(line)
    assert "a key" not in json.dumps(line)


def test_measures_count_answers_by_operation_and_status(collection: Collection) -> None:
    client = make_client(collection)
    client.get("/api/v1/items/1")
    client.get("/api/v1/items/999")
    client.get("/nothing")
    text = client.get("/metrics").text
    for line in (
        'visearch_requests_total{operation="get_item",status="200"} 1.0',
        'visearch_requests_total{operation="get_item",status="404"} 1.0',
        'visearch_requests_total{operation="none",status="404"} 1.0',
        'visearch_items{collection="home"} 24.0',
        "visearch_requests_inside 0.0",
    ):
        assert line in text


def test_a_page_of_another_origin_may_ask_only_where_it_is_named(collection: Collection, tmp_path: Path) -> None:
    origin = {"Origin": "https://shop.example"}
    closed = make_client(collection).get("/api/v1/items", headers=origin)
    assert "Access-Control-Allow-Origin" not in closed.headers
    client = make_client(collection, cors_origins=("https://shop.example",))
    assert client.get("/api/v1/items", headers=origin).headers["Access-Control-Allow-Origin"] == origin["Origin"]
    other = client.get("/api/v1/items", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in other.headers
    asked = origin | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-API-Key"}
    preflight = client.options("/api/v1/items", headers=asked)
    assert preflight.status_code == 200
    assert "x-api-key" in preflight.headers["Access-Control-Allow-Headers"].lower()
    assert "Access-Control-Allow-Credentials" not in preflight.headers


def test_metadata_of_any_file_name_can_be_told(tmp_path: Path, own: Collection) -> None:
    """A folder whose name is no UTF-8 is told with a replacement character."""
    folder = tmp_path / b"no \xff utf-8".decode("utf-8", "surrogateescape")
    save_all(folder, [70])
    assert visearch("index", tmp_path, "--collection", own.path).code == 0
    client = make_client(own)
    for address in ("/api/v1/items?limit=100", "/api/v1/facets"):
        assert client.get(address).status_code == 200
    assert client.post("/api/v1/search/flashlight", json={"image": in_base64(image_bytes(70))}).status_code == 200
