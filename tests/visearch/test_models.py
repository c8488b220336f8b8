"""The registry of models: cards, and downloads that are right or leave nothing behind."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from visearch import models
from visearch.embedder import Embedder
from visearch.errors import ModelError

CONTENT = bytes(range(256)) * 9000  # more than two chunks


class Handler(BaseHTTPRequestHandler):
    """Answers as the last part of the path says."""

    def do_GET(self) -> None:
        """Serve the model, or one of the ways to fail."""
        what = self.path.rsplit("/", maxsplit=1)[-1]
        if what == "missing":
            self.send_error(404)
            return
        if what == "moved":
            self.send_response(302)
            self.send_header("Location", "http://example.invalid/model.onnx")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        body = {"cut": CONTENT[: len(CONTENT) // 2], "long": CONTENT + b"x", "wrong": CONTENT[::-1]}
        self.wfile.write(body.get(what, CONTENT))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def card(url: str) -> models.ModelCard:
    """A card of CONTENT that lies at `url`."""
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    return models.ModelCard("small", "embedding", url, sha256, len(CONTENT), "CC0-1.0", "for tests")


def one_line(error: pytest.ExceptionInfo[ModelError]) -> str:
    """The message, which must be one line."""
    assert "\n" not in str(error.value)
    return error.value.message


def test_every_card_is_complete_and_cannot_be_changed() -> None:
    cards = models.list_models()
    assert len({card.name for card in cards}) == len(cards) > 0
    for each in cards:
        assert re.fullmatch(r"[a-z0-9_]+", each.name)
        assert re.fullmatch(r"[0-9a-f]{64}", each.sha256)
        assert each.url.startswith("https://")
        assert each.kind in {"embedding", "detector"}
        assert each.size > 0
        assert each.license
        assert each.description
        assert models.info(each.name) is each
        with pytest.raises(FrozenInstanceError):
            each.url = "http://elsewhere"  # type: ignore[misc]


def test_an_unknown_name_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(ModelError, match=r"'nothing'.*yolox_nano") as error:
        models.pull("nothing")
    one_line(error)
    assert models.find("nothing") is None


def test_a_download_ends_under_the_name_of_the_card(server: str, tmp_path: Path) -> None:
    path = models.download(card(f"{server}/model"), tmp_path / "new" / "folder", loopback_http=True)
    assert path == tmp_path / "new" / "folder" / "small.onnx"
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "404.*by hand.*small.onnx"),
        ("cut", r"ended after \d+ of \d+ bytes"),
        ("wrong", "sha256"),
        ("moved", "not an https address"),
    ],
)
def test_a_failed_download_says_why_and_leaves_nothing(server: str, tmp_path: Path, what: str, message: str) -> None:
    (tmp_path / "small.onnx").write_bytes(b"what was there before")
    with pytest.raises(ModelError, match=message) as error:
        models.download(card(f"{server}/{what}"), tmp_path, loopback_http=True)
    one_line(error)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"what was there before"]


def test_a_file_one_byte_over_its_size_is_refused(server: str, tmp_path: Path) -> None:
    too_small = replace(card(f"{server}/model"), size=len(CONTENT) - 1)
    with pytest.raises(ModelError, match="more than") as error:
        models.download(too_small, tmp_path, loopback_http=True)
    one_line(error)
    assert not list(tmp_path.iterdir())


def test_offline_is_one_line_that_says_what_to_do(server: str, tmp_path: Path) -> None:
    closed = server.replace(server.rsplit(":", maxsplit=1)[-1], "1")
    with pytest.raises(ModelError, match=r"could not be downloaded.*by hand and put it at .*small\.onnx") as error:
        models.download(card(f"{closed}/model"), tmp_path, loopback_http=True)
    one_line(error)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_line(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelError, match="by hand") as error:
        models.download(card(f"{server}/model"), tmp_path / "file", loopback_http=True)
    one_line(error)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/model", "file:///etc/passwd", "ftp://127.0.0.1/model"])
def test_only_https_is_spoken(url: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not an https address"):
        models.download(card(url), tmp_path)


def test_a_model_put_into_the_cache_by_hand_is_found_when_it_is_the_right_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(models, "CARDS", (card("https://example.invalid/model"),))
    assert models.find("small") is None
    path = models.cache_dir() / "small.onnx"
    assert path.is_relative_to(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert models.find("small") == path
    assert models.pull("small") == path
    path.write_bytes(CONTENT[1:])
    with pytest.raises(ModelError, match="not the model") as error:
        models.find("small")
    one_line(error)


def test_the_shipped_model_is_small_and_says_what_it_is() -> None:
    shipped = models.default_model()
    assert shipped == models.find("unified") == models.resolve()
    assert shipped.stat().st_size <= 12_000_000
    model = Embedder(shipped)
    assert model.card.name == "unified"
    assert model.card.embedding_dim == 2048
    assert model.card.license == "Apache-2.0"
    assert len(model.card.training_data) > 3
    assert model.card.metrics
