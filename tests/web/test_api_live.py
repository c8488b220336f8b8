"""The app behind waitress and real sockets: bodies without a length, and a collection that changes under it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.web.api import WITH_KEY, client_of, form, image_bytes, in_base64, make_app, served
from visearch.collection import Collection

SEARCH = "/api/v1/search/flashlight"


@pytest.fixture
def port(collection: Collection) -> Iterator[int]:
    """Where the collection that is not to be changed is served."""
    with served(make_app(collection)) as port:
        yield port


def ask(port: int, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Status and JSON of a search."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", SEARCH, body, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_a_body_in_chunks_is_read(port: int) -> None:
    text = json.dumps({"image": in_base64(image_bytes(5)), "limit": 1}).encode()
    status, answer = ask(port, iter([text[:100], text[100:]]))
    assert (status, answer["matches"][0]["item"]) == (200, 5)


def test_a_body_of_which_nothing_tells_the_length_is_a_problem(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        head = (
            f"POST {SEARCH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(head.encode() + b'{"item": 1}')
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


def test_a_health_check_that_names_no_host_is_answered(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.0 200 ")
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"GET /livez HTTP/1.0\r\nHost: evil.example\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.0 403 ")


def test_no_search_fails_or_is_wrong_while_the_collection_changes_and_its_index_is_swapped(own: Collection) -> None:
    app = make_app(own, requests_at_once=4)
    body = json.dumps({"image": in_base64(image_bytes(5)), "limit": 3})
    done = threading.Event()
    answers: list[tuple[int, Any]] = []
    failures: list[BaseException] = []

    def search(port: int) -> None:
        try:
            while not done.is_set():
                answers.append(ask(port, body))
        except BaseException as error:
            failures.append(error)

    with served(app) as port:
        threads = [threading.Thread(target=search, args=(port,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        client = client_of(app)
        try:
            for round in range(6):
                added = client.post("/api/v1/items", **form(image_bytes(100 + round)), headers=WITH_KEY)
                assert added.status_code == 201
                own.build_index(force=True)
                if round % 2:
                    assert client.delete(f"/api/v1/items/{added.json['id']}", headers=WITH_KEY).status_code == 204
        finally:
            done.set()
            for thread in threads:
                thread.join()
    assert not failures
    assert len(answers) > 10
    for status, answer in answers:
        assert status == 200, answer
        assert (answer["matches"][0]["item"], answer["matches"][0]["distance"]) == (5, 0)
        assert answer["generation"] == 1
        assert len(answer["matches"]) == 3
