"""`visearch serve` as a process: it says where it is, answers from its first moment, follows the collection, stops."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.helpers import SECONDS, fails_in_one_line, make_pictures, start, succeeds, visearch
from visearch.errors import UsageError
from web.run import named

Serve = Callable[..., "Serving"]


class Serving:
    """A running `visearch serve`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.said = process.stdout.readline()
        self.url = self.said.partition(" ")[0]
        assert self.url.startswith("http://127.0.0.1:"), process.stderr and process.stderr.read()

    def get(self, path: str) -> Any:
        """What is at a path, JSON."""
        with urllib.request.urlopen(self.url + path, timeout=SECONDS) as answer:
            return json.load(answer)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and standard error after a signal."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, errors


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A function that runs `visearch serve` with arguments and settings."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: object, **settings: object) -> Serving:
        environment = {f"VISEARCH_{name.upper()}": value for name, value in settings.items()}
        started.append(start("serve", "--port", 0, *arguments, environment=environment))
        return Serving(started[-1])

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def collection(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures, indexed; only read."""
    folder = tmp_path_factory.mktemp("serve")
    make_pictures(folder / "pictures", 10)
    succeeds(visearch("index", folder / "pictures", "--collection", folder / "shop", "--model", tiny))
    return folder / "shop"


def test_it_says_where_it_is_and_is_ready_by_then(serve: Serve, collection: Path) -> None:
    serving = serve("--collection", collection)
    assert serving.said.endswith("  shop (10 items)\n")
    assert serving.get("readyz")["collections"] == {"shop": "ok"}
    with urllib.request.urlopen(serving.url, timeout=SECONDS) as page:
        assert page.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_exit_code_0_and_no_traceback(serve: Serve, collection: Path, number: signal.Signals) -> None:
    serving = serve("--collection", collection)
    assert serving.stop(number) == (0, "Ctrl-C ends it\n")


def test_several_collections_are_told_apart_by_name(serve: Serve, collection: Path, tiny: Path, tmp_path: Path) -> None:
    make_pictures(tmp_path / "others", 3, seed=1)
    succeeds(visearch("index", tmp_path / "others", "--collection", tmp_path / "b", "--model", tiny))
    serving = serve("--collection", collection, "--collection", f"rest={tmp_path / 'b'}")
    assert serving.get("readyz")["collections"] == {"shop": "ok", "rest": "ok"}
    assert serving.get("api/v1/items")["total"] == 10
    assert serving.get("api/v1/items?collection=rest")["total"] == 3


def test_what_another_process_indexes_is_served_at_once(serve: Serve, collection: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(collection, tmp_path / "shop")
    serving = serve("--collection", changed)
    make_pictures(tmp_path / "more", 15, seed=1)
    succeeds(visearch("index", tmp_path / "more", "--collection", changed))
    assert serving.get("api/v1/items")["total"] == 25
    assert serving.get("readyz")["status"] == "ok"


def test_the_access_log_is_json_lines_where_it_is_asked_for(serve: Serve, collection: Path) -> None:
    serving = serve("--collection", collection, "--access-log")
    serving.get("api/v1/items?limit=1")
    _, errors = serving.stop()
    lines = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    assert [(line["path"], line["status"]) for line in lines] == [("/api/v1/items", 200)]


def test_faiss_has_one_thread_in_each_of_the_servers_threads() -> None:
    """OMP_NUM_THREADS has to be set before faiss is imported, or it holds for the main thread only."""
    code = """if True:
        import threading
        from visearch.cli import cli
        from visearch.errors import VisearchError
        try:
            cli(["serve", "--collection", "nothing-is-here", "--port", "0"], standalone_mode=False)
        except VisearchError:
            pass
        import faiss
        thread = threading.Thread(target=lambda: print(faiss.omp_get_max_threads()))
        thread.start()
        thread.join()
    """
    without = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], env=without, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_what_is_wrong_is_one_line(collection: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = fails_in_one_line(visearch("serve", "--collection", collection, "--port", port))
        assert re.search(rf"port {port} is in use .* --port", line)
    assert "no collection" in fails_in_one_line(visearch("serve", "--collection", tmp_path / "none", "--port", 0))
    assert "--https" in fails_in_one_line(visearch("serve", "--cert", tmp_path / "cert.pem"), 2)
    assert "--cert" in fails_in_one_line(visearch("serve", "--https", "--key", tmp_path / "key.pem"), 2)
    missing = tmp_path / "cert.pem"
    assert str(missing) in fails_in_one_line(visearch("serve", "--https", "--cert", missing), 2)
    twice = visearch("serve", "--collection", collection, "--collection", collection, "--port", 0)
    assert "--collection NAME=" in fails_in_one_line(twice, 2)


def test_collections_are_called_as_their_folders_are_or_as_one_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = tmp_path / "my shop"
    shop.mkdir()
    monkeypatch.chdir(shop)
    assert list(named([".visearch"])) == ["my-shop"]
    assert named(["/data/shop", "art=/data/b"]) == {"shop": Path("/data/shop"), "art": Path("/data/b")}
    assert named(["/data/a=b/shop"]) == {"shop": Path("/data/a=b/shop")}
    with pytest.raises(UsageError, match="--collection NAME=/data/b/shop"):
        named(["/data/a/shop", "/data/b/shop"])
    with pytest.raises(UsageError, match="--collection NAME=/"):
        named(["/"])
