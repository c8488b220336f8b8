"""An app over a small collection, asked through Flask's test client."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import waitress.server
from flask import Flask
from flask.testing import FlaskClient
from waitress import wasyncore
from werkzeug.test import TestResponse

from tests.pictures import picture
from visearch.collection import Collection
from visearch.detector import Detector
from web.app import create_app
from web.config import Config
from web.fetch import Fetcher

KEY = "a key of the tests"
WITH_KEY = {"Authorization": f"Bearer {KEY}"}
MODES = ("flashlight", "lens", "shop")


class Client(FlaskClient):
    """Flask's test client. To a type checker the JSON of its answers can be anything."""

    if TYPE_CHECKING:

        def open(self, *arguments: Any, **named: Any) -> Any: ...
        def get(self, *arguments: Any, **named: Any) -> Any: ...
        def post(self, *arguments: Any, **named: Any) -> Any: ...
        def delete(self, *arguments: Any, **named: Any) -> Any: ...
        def options(self, *arguments: Any, **named: Any) -> Any: ...


def make_app(
    collection: Collection | Mapping[str, Collection],
    detector: Detector | None = None,
    fetcher: Fetcher | None = None,
    **changes: Any,
) -> Flask:
    """An app with the default settings, no rate limit, one key, and these changes of its Config."""
    collections = {"home": collection} if isinstance(collection, Collection) else collection
    config = replace(Config.from_settings(), requests_per_minute=0, api_keys=frozenset({KEY}))
    app = create_app(collections, detector, config=replace(config, **changes), fetcher=fetcher)
    app.test_client_class = Client
    return app


@contextmanager
def served(app: Any) -> Iterator[int]:
    """The port where waitress serves this app. Its sockets are closed by the thread that waits for them."""
    sockets: dict[int, Any] = {}
    server: Any = waitress.server.create_server(app, map=sockets, host="127.0.0.1", port=0, threads=8)
    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            wasyncore.loop(0.02, map=sockets, count=1)
        server.task_dispatcher.shutdown()
        wasyncore.close_all(sockets)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield int(server.effective_port)
    finally:
        stopping.set()
        thread.join(30)


def make_client(collection: Collection | Mapping[str, Collection], *arguments: Any, **changes: Any) -> Client:
    """Of such an app."""
    return client_of(make_app(collection, *arguments, **changes))


def client_of(app: Flask) -> Client:
    """One more client of an app."""
    client = app.test_client()
    assert isinstance(client, Client)
    return client


@contextmanager
def opened(path: Path, **changes: Any) -> Iterator[Client]:
    """A client of an app over the collection in a folder."""
    with Collection.open(path) as collection:
        yield make_client(collection, **changes)


def image_bytes(seed: int, kind: str = "PNG", **options: Any) -> bytes:
    """That picture as a file of this kind."""
    stream = BytesIO()
    picture(seed).save(stream, kind, **options)
    return stream.getvalue()


def form(data: bytes, name: str = "photo.png", **others: object) -> dict[str, Any]:
    """Arguments of a post with a form that has a file and other fields."""
    return {"data": fields(**others)["data"] | {"image": (BytesIO(data), name)}}


def fields(**values: object) -> dict[str, Any]:
    """Arguments of a post with a form without a file."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    return {"data": texts, "content_type": "multipart/form-data"}


def in_base64(data: bytes) -> str:
    """As JSON carries it."""
    return base64.b64encode(data).decode()


def search(client: Client, mode: str, **fields: Any) -> Any:
    """The answer of a search by JSON."""
    response = client.post(f"/api/v1/search/{mode}", json=fields)
    assert response.status_code == 200, response.text
    return response.json


def problem(response: TestResponse, status: int, field: str | None = None) -> Any:
    """The problem that a response must be; with `field`, that of this field."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    found: Any = response.json
    assert set(found) == {"type", "title", "status", "detail", "request_id", "errors"}
    assert found["status"] == status
    assert found["request_id"] == response.headers["X-Request-Id"]
    if field is not None:
        assert [error["field"] for error in found["errors"]] == [field], found
    return found
