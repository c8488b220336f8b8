"""A server while another generation comes to answer: no request fails, none mixes two, and it follows by itself."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer import backfill
from tests.faults.helpers import SECONDS, make_pictures, succeeds, visearch
from tests.tiny_model import card, write_model
from tests.web.api import image_bytes, in_base64
from tests.web.test_run import Serve, Serving, serve
from visearch import codes, embedder, generations, images
from visearch.collection import Collection

__all__ = ["serve"]  # the fixture

CLIENTS, SWITCHES = 16, 100
FEW_CLIENTS, FEW_SWITCHES = 4, 6
FOLLOWED_WITHIN = 10  # seconds, on a machine with much else to do; it takes less than one on an idle one
NAMES = {1: "tiny 1", 2: "other 1"}

Truth = dict[int, dict[str, list[tuple[int, int]]]]


@pytest.fixture
def two(tiny: Path, tmp_path: Path) -> Iterator[Collection]:
    """Thirty pictures in two generations; the models give them other codes."""
    make_pictures(tmp_path / "pictures", 30)
    succeeds(visearch("index", tmp_path / "pictures", "--collection", tmp_path / "shop", "--model", tiny))
    other = write_model(tmp_path / "other.onnx", json.dumps(card(name="other")), seed=1)
    backfill.once(backfill.Job(tmp_path / "shop", model=str(other)))
    with Collection.open(tmp_path / "shop") as collection:
        yield collection


def truth(collection: Collection, pictures: dict[str, bytes]) -> Truth:
    """What each generation answers to each picture: (item, distance), by comparing with every code."""
    found: Truth = {}
    for number in NAMES:
        with Collection.open(collection.path, generation=number) as pinned:
            model, corpus = embedder.load(pinned.embedder.path, pinned.generation.precision), pinned.corpus()
            found[number] = {}
            for name, data in pictures.items():
                decoded = images.decode(data, min_side=model.min_side())
                query = codes.pack(model.embed(model.prepare(decoded)[None]))[0]
                distances = codes.hamming(query, corpus.codes)
                found[number][name] = [
                    (int(item), int(distance)) for item, distance in zip(corpus.item_ids, distances, strict=True)
                ]
    return found


class Client(threading.Thread):
    """Asks one picture after the other over one connection, and keeps what is wrong with the answers."""

    def __init__(self, port: int, pictures: dict[str, bytes], known: Truth, stop: threading.Event, seed: int) -> None:
        super().__init__(daemon=True)
        self._port, self._pictures, self._known, self._ended = port, pictures, known, stop
        self._random = np.random.default_rng(seed)
        self.wrong: list[str] = []
        self.answered = {1: 0, 2: 0}

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        while not self._ended.is_set() and not self.wrong:
            name = str(self._random.choice(list(self._pictures)))
            mode = str(self._random.choice(["flashlight", "lens"]))
            body = json.dumps({"image": in_base64(self._pictures[name]), "limit": 10})
            try:
                connection.request("POST", f"/api/v1/search/{mode}", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                text = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(f"no answer: {error!r}")
                return
            if response.status != 200:
                self.wrong.append(f"{response.status}: {text.decode()}")
                return
            self._check(name, json.loads(text))
        connection.close()

    def _check(self, name: str, answer: dict[str, Any]) -> None:
        number = answer["generation"]
        self.answered[number] += 1
        right = dict(self._known[number][name])
        if answer["model"] != NAMES[number]:
            self.wrong.append(f"generation {number} with the model {answer['model']}")
        for match in answer["matches"]:
            if right[match["item"]] != match["distance"]:
                self.wrong.append(f"generation {number}: item {match['item']} at {match['distance']} bits")
        if len(answer["matches"]) != 10:
            self.wrong.append(f"{len(answer['matches'])} matches")


def ask(serving: Serving, body: dict[str, Any]) -> Any:
    """The answer to a Flashlight search."""
    request = urllib.request.Request(
        f"{serving.url}api/v1/search/flashlight", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)


@pytest.mark.parametrize(
    ("clients", "switches"), [(FEW_CLIENTS, FEW_SWITCHES), pytest.param(CLIENTS, SWITCHES, marks=pytest.mark.slow)]
)
@pytest.mark.timeout(1200)
def test_no_request_fails_and_none_mixes_generations_while_they_are_switched(
    two: Collection, serve: Serve, clients: int, switches: int
) -> None:
    pictures = {str(seed): image_bytes(seed) for seed in range(5)}
    known = truth(two, pictures)
    assert known[1] != known[2]
    serving = serve("--collection", two.path, requests_per_minute=0, requests_waiting=100)
    port = int(serving.url.rstrip("/").rpartition(":")[2])
    stop = threading.Event()
    asking = [Client(port, pictures, known, stop, seed) for seed in range(clients)]
    for client in asking:
        client.start()
    for turn in range(switches):
        generations.switch(two, 2 - turn % 2)
        time.sleep((0.05, 0.4, 1.0)[turn % 3])  # sooner than a server follows, and later
    stop.set()
    for client in asking:
        client.join(180)
    assert [wrong for client in asking for wrong in client.wrong] == []
    assert all(sum(client.answered[number] for client in asking) for number in NAMES), "both have answered"
    code, errors = serving.stop()
    assert (code, "Traceback" in errors) == (0, False)


def test_a_server_follows_by_itself_and_an_answer_that_was_begun_goes_on(two: Collection, serve: Serve) -> None:
    serving = serve("--collection", two.path)

    def shown() -> int:
        found: int = ask(serving, {"item": 1, "limit": 1})["generation"]
        return found

    first = ask(serving, {"item": 1, "limit": 3})
    assert first["generation"] == 1
    generations.switch(two, 2)
    deadline = time.monotonic() + FOLLOWED_WITHIN
    while shown() != 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = ask(serving, {"cursor": first["next_cursor"], "limit": 3})
    assert second["generation"] == 1, "a cursor keeps to the generation of its first page"
    ids = [match["item"] for answer in (first, second) for match in answer["matches"]]
    assert len(set(ids)) == 6
    generations.drop(two, 1)
    third = ask(serving, {"cursor": second["next_cursor"], "limit": 3})
    assert (third["generation"], len(third["matches"])) == (1, 3), "also when that is gone"
    assert [path.name for path in (two.path / "index").iterdir()] == ["g2"]


def test_what_comes_after_a_switch_is_found_by_the_new_model(two: Collection, tmp_path: Path, serve: Serve) -> None:
    serving = serve("--collection", two.path)
    assert ask(serving, {"item": 1, "limit": 1})["generation"] == 1
    generations.switch(two, 2)
    make_pictures(tmp_path / "pictures", 3, seed=7)
    succeeds(visearch("index", tmp_path / "pictures", "--collection", two.path))
    deadline = time.monotonic() + FOLLOWED_WITHIN
    while ask(serving, {"item": 1, "limit": 1})["generation"] != 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert ask(serving, {"item": 33, "limit": 40})["generation"] == 2
    assert len(ask(serving, {"item": 1, "limit": 40})["matches"]) + 1 == 33
