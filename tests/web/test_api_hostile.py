"""Paths that lead outside, and metadata that would like to be more than text."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pictures import save, visearch
from tests.web.api import WITH_KEY, Client, form, image_bytes, in_base64, make_app, make_client, opened, search, served
from visearch.collection import Collection
from web.values import is_link

STEPS = ("../", "..\\", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "%252e%252e%252f", "....//", "..;/", "%c0%ae%c0%ae/")
TARGETS = ("etc/passwd", "app.py", "auth.py", "secret.txt")
BASES = ("/static/", "/", "/api/v1/items/1/image/", "/api/v1/items/")
OTHERS = (
    "/static//etc/passwd",
    "/static/%2fetc%2fpasswd",
    "/static/C:/windows/win.ini",
    "/static/file:///etc/passwd",
    "/static/index.html/../../app.py",
    "/static/.%00./app.py",
    "/static/index.html%00.png",
    "/static/\\\\host\\share",
    "//etc/passwd",
    "/etc/passwd",
    "/../etc/passwd",
    "http://localhost/../../etc/passwd",
    "/api/v1/items/1/thumbnail/../../../../../etc/passwd",
    "/api/v1/items/..%2f..%2fetc%2fpasswd/image",
    "/static/./../app.py",
    "/docs/../../etc/passwd",
)
FORMS = [base + step * depth + target for base, step, depth, target in itertools.product(BASES, STEPS, (1, 6), TARGETS)]
FORMS += OTHERS


@pytest.fixture
def port(collection: Collection) -> Iterator[int]:
    """Where waitress serves: a test client would tidy the paths up."""
    with served(make_app(collection)) as port:
        yield port


def test_no_path_leads_outside(port: int, collection: Collection) -> None:
    assert len(set(FORMS)) > 300
    own = {Path(collection.item(1).source).read_bytes()}
    for path in FORMS:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while part := connection.recv(65536):
                answer += part
        status = int(answer.split(b" ", 2)[1])
        body = answer.partition(b"\r\n\r\n")[2]
        assert status in (301, 308, 400, 404, 405), (path, status)
        assert b"root:" not in body
        assert b"import " not in body
        assert body not in own


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\0\"'`{{7*7}}${7*7}"


def test_hostile_metadata_comes_back_as_the_text_it_is(tmp_path: Path, tiny: Path) -> None:
    name = "<img src=x onerror=alert(1)>'\"& \u202egnp.png"
    save(tmp_path / "in" / name, 1)
    row = {"path": f"in/{name}", "product": HOSTILE, "title": HOSTILE, "seller": HOSTILE, HOSTILE: HOSTILE,
           "url": "javascript:alert(1)", "price": "1; DROP TABLE", "availability": ["x"], "source": "mine"}  # fmt: skip
    (tmp_path / "items.jsonl").write_text(json.dumps(row))
    assert visearch("index", tmp_path / "items.jsonl", "--collection", tmp_path / "c", "--model", tiny).code == 0
    with opened(tmp_path / "c") as client:
        response = client.get("/api/v1/items")
        assert response.content_type == "application/json"
        (item,) = response.json["items"]
        assert item["metadata"]["title"] == item["metadata"][HOSTILE] == HOSTILE
        assert item["product"] == {
            "title": HOSTILE, "seller": HOSTILE, "url": None, "price": None, "price_currency": None,
            "availability": None,
        }  # fmt: skip
        (match,) = search(client, "flashlight", image=in_base64(image_bytes(1)))["matches"]
        assert match["product"] == item["product"]
        assert "gnp.png" not in response.text


def test_hostile_metadata_can_be_sent_too(own: Collection) -> None:
    client = make_client(own)
    metadata = {"title": HOSTILE, "product": "x", "url": "data:text/html,<script>alert(1)</script>"}
    added = client.post("/api/v1/items", **form(image_bytes(60), HOSTILE, metadata=metadata), headers=WITH_KEY)
    assert added.status_code == 201
    assert added.json["metadata"] == metadata
    assert added.json["product"]["url"] is None


def test_what_is_asked_is_not_echoed_into_a_page(client: Client) -> None:
    for address in (f"/{HOSTILE}", f"/docs?{HOSTILE}", f"/static/{HOSTILE}", f"/api/v1/items?cursor={HOSTILE}"):
        response = client.get(address.replace("\0", ""))
        assert "alert(1)" not in response.text


@pytest.mark.parametrize(
    "text",
    ["javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)", "data:text/html,x",
     "vbscript:x", "file:///etc/passwd", "ftp://x/", "//x.example/", "/x", "x", "", "http:", "https:///x", "http://",
     "https://x.example/\n", "https://x.example/ y", "http://[x", "mailto:a@b.c", "https://x.example/" + "x" * 2048],
)  # fmt: skip
def test_such_a_link_is_not_offered(text: str) -> None:
    assert not is_link(text)


@pytest.mark.parametrize("text", ["https://x.example", "http://x.example:8080/a?b=c#d", "HTTPS://x.example/ä"])
def test_such_a_link_is_offered(text: str) -> None:
    assert is_link(text)
