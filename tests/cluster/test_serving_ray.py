"""A collection in shards on a Ray cluster answers as one index does; a shard that dies costs its part, for a while."""

from __future__ import annotations

import json
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.cluster.conftest import shard_processes
from tests.corpora import Random, Reference, empty
from tests.faults.helpers import fails_in_one_line, make_pictures, start, succeeds, visearch
from tests.tiny_model import card, write_model
from tests.web.api import in_base64
from visearch import generations, modes
from visearch.collection import Collection
from web.shard import Sharding

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]
BITS = 64
BACK_WITHIN = 30.0  # seconds
KEY = "a key of sixteen letters or more"


@pytest.fixture(scope="module")
def connected(address: str) -> Iterator[None]:
    """This process is one of the cluster's."""
    from web.sharded import cluster

    with cluster(Sharding(address, 4, 1), 1):
        yield


def spread(path: Path, shards: int = 4, replicas: int = 1) -> Collection:
    from web.sharded import ShardedCollection

    return ShardedCollection(path, Sharding("", shards, replicas))


def same_answers(one: Collection, many: Collection, random: Random, queries: int) -> None:
    """Both give the same matches, to the last bit of their scores, for random queries; and say that nothing lacks."""
    ids = [item.item_id for item in one.items()]
    for _ in range(queries):
        item = int(random.random.choice(ids))
        wanted: dict[str, Any] = {"filter": random.filter(), "limit": int(random.random.choice([1, 20, 300]))}
        if random.random.random() < 0.3:
            wanted["max_distance"] = int(random.random.integers(BITS // 2))
        rerank = bool(random.random.integers(2))
        expected, found = (each.search(item=item, rerank=rerank, **wanted) for each in (one, many))
        assert (found.matches, found.coverage) == (expected.matches, 1.0), (item, rerank, wanted)
        expected, found = (modes.flashlight(each, item=item, **wanted) for each in (one, many))
        assert (found.matches, found.relevant, found.next) == (expected.matches, expected.relevant, expected.next)


@pytest.mark.parametrize("flat_up_to", [10**6, 0], ids=["flat", "lists"])
def test_four_shards_equal_one_index_while_items_come_and_go(
    connected: None, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flat_up_to: int
) -> None:
    monkeypatch.setenv("VISEARCH_FLAT_UP_TO", str(flat_up_to))
    monkeypatch.setenv("VISEARCH_RECALL_TARGET", "1.0")  # then lists are exact too, and can be compared
    monkeypatch.setenv("VISEARCH_WINDOW", "200")
    random, reference = Random(BITS, seed=1), Reference()
    with empty(tmp_path / "c", tiny) as one:
        reference.put(one, {number: (random.embedding(), random.metadata()) for number in range(1, 1501)})
        one.build_index()
        with spread(tmp_path / "c") as many:
            same_answers(one, many, random, 40)
            for step in range(4):
                first = 2000 + 100 * step
                reference.put(one, {n: (random.embedding(), random.metadata()) for n in range(first, first + 60)})
                reference.put(one, {n: (random.embedding(), random.metadata()) for n in range(1 + step, 400, 9)})
                reference.remove(one, [int(n) for n in random.random.choice(np.arange(1, 1500), 50, replace=False)])
                same_answers(one, many, random, 15)
            one.build_index()
            same_answers(one, many, random, 15)


def test_without_index_files_shards_are_filled_from_the_store(connected: None, tiny: Path, tmp_path: Path) -> None:
    random, reference = Random(BITS, seed=2), Reference()
    with empty(tmp_path / "c", tiny) as one, spread(tmp_path / "c", shards=2) as many:
        assert many.searcher().index.live_rows == 0
        reference.put(one, {number: (random.embedding(), random.metadata()) for number in range(1, 300)})
        same_answers(one, many, random, 20)


def test_a_replica_answers_for_one_that_dies(connected: None, tiny: Path, tmp_path: Path) -> None:
    random, reference = Random(BITS, seed=3), Reference()
    with empty(tmp_path / "c", tiny) as one:
        reference.put(one, {number: (random.embedding(), random.metadata()) for number in range(1, 300)})
        with spread(tmp_path / "c", shards=2, replicas=2) as many:
            same_answers(one, many, random, 10)
            shard_processes()[0].kill()
            same_answers(one, many, random, 30)


def test_a_switch_of_generations_under_searches_mixes_nothing(connected: None, tiny: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other.onnx", json.dumps(card(name="other")), seed=1)
    make_pictures(tmp_path / "pictures", 60)
    succeeds(visearch("index", tmp_path / "pictures", "--collection", tmp_path / "c", "--model", tiny))
    succeeds(visearch("backfill", "--model", other, "--collection", tmp_path / "c"))
    expected: dict[int, dict[int, Any]] = {}
    for number in (1, 2):
        with Collection.open(tmp_path / "c", generation=number) as pinned:
            expected[number] = {item: pinned.search(item=item, limit=60).matches for item in range(1, 61)}
    assert expected[1] != expected[2]
    stop, seen = threading.Event(), []

    with Collection.open(tmp_path / "c") as one, spread(tmp_path / "c") as many:
        many.search(item=1)

        def search(seed: int) -> None:
            random = np.random.default_rng(seed)
            while not stop.is_set():
                item = int(random.integers(1, 61))
                found = many.search(item=item, limit=60)
                assert found.coverage == 1.0
                assert found.matches == expected[found.generation][item], (found.generation, item)
                seen.append(found.generation)

        with many.following(), ThreadPoolExecutor(4) as pool:
            searching = [pool.submit(search, seed) for seed in range(4)]
            try:
                for turn in range(6):
                    generations.switch(one, 2 - turn % 2)
                    asked = len(seen)
                    deadline = time.monotonic() + 60
                    while (2 - turn % 2) not in seen[asked:] and time.monotonic() < deadline:
                        time.sleep(0.02)
            finally:
                stop.set()
            for each in searching:
                each.result()
    changes = int(np.count_nonzero(np.diff(seen)))
    assert changes >= 5, f"{changes} changes seen in {len(seen)} answers"


class Serving:
    """A running `visearch serve --ray`."""

    def __init__(self, *arguments: object) -> None:
        settings = {"VISEARCH_API_KEYS": KEY, "VISEARCH_REQUESTS_PER_MINUTE": 0}
        self.process = start("serve", "--port", 0, *arguments, environment=settings)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().partition(" ")[0]
        assert self.url.startswith("http://127.0.0.1:"), self.process.stderr and self.process.stderr.read()

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def search(self, item: int) -> tuple[int, dict[str, Any]]:
        return self.post("api/v1/search/flashlight", {"item": item, "limit": 100})


def test_a_killed_shard_is_whole_again_in_time_and_no_request_fails(address: str, tiny: Path, tmp_path: Path) -> None:
    make_pictures(tmp_path / "pictures", 80)
    succeeds(visearch("index", tmp_path / "pictures", "--collection", tmp_path / "c", "--model", tiny))
    (new,) = make_pictures(tmp_path / "new", 1, seed=5)
    others = {each.pid for each in shard_processes()}
    serving = Serving("--collection", tmp_path / "c", "--ray", address, "--shards", 4)
    try:
        mine = [each for each in shard_processes() if each.pid not in others]
        assert len(mine) == 4
        assert len({each.ppid() for each in mine}) == 2, "both nodes hold shards"
        whole = {item: serving.search(item)[1] for item in range(1, 81)}
        assert all("coverage" not in answer for answer in whole.values())
        answers: list[tuple[float, int, int, dict[str, Any]]] = []
        stop = threading.Event()

        def search(seed: int) -> None:
            random = np.random.default_rng(seed)
            while not stop.is_set():
                item = int(random.integers(1, 81))
                answers.append((time.monotonic(), item, *serving.search(item)))

        with ThreadPoolExecutor(3) as pool:
            searching = [pool.submit(search, seed) for seed in range(3)]
            try:
                time.sleep(1)
                mine[0].send_signal(signal.SIGKILL)
                killed = time.monotonic()
                status, added = serving.post("api/v1/items", {"image": in_base64(new.read_bytes())})
                assert status == 201
                while time.monotonic() < killed + BACK_WITHIN + 30:
                    time.sleep(0.2)
                    if len(shard_processes()) == len(others) + 4 and "coverage" not in answers[-1][3]:
                        break
                time.sleep(1)
            finally:
                stop.set()
            for each in searching:
                each.result()

        assert {status for _, _, status, _ in answers} == {200}
        partial = [(at, item, answer) for at, item, _, answer in answers if "coverage" in answer]
        assert partial, "somebody has seen that a part was gone"
        assert max(at for at, _, _ in partial) - killed < BACK_WITHIN
        for _, item, answer in partial:
            assert 0 < answer["coverage"] < 1
            found = {match["item"] for match in answer["matches"]} - {added["id"]}
            assert len({each % 4 for each in found}) == 3, "all but one part"
            assert found < {match["item"] for match in whole[item]["matches"]}
        for item in range(1, 81):
            status, answer = serving.search(item)
            assert status == 200
            assert "coverage" not in answer
            assert added["id"] in [match["item"] for match in answer["matches"]]
    finally:
        serving.process.terminate()
        _, said = serving.process.communicate(timeout=120)
    assert serving.process.returncode == 0, said
    assert "Traceback" not in said
    _, alive = psutil.wait_procs([each for each in shard_processes() if each.pid not in others], timeout=60)
    assert not alive


def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    assert "--shards" in fails_in_one_line(visearch("serve", "--ray"), 2)
    assert "--ray" in fails_in_one_line(visearch("serve", "--shards", 2), 2)
    line = fails_in_one_line(visearch("serve", "--collection", tmp_path, "--ray", "nonsense", "--shards", 2))
    assert "--ray nonsense" in line
