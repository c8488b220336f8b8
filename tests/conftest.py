"""Fixtures for the whole suite. No network, no GPU, an environment of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.servers import S3, Web, serve_s3, serve_web
from tests.tiny_model import write_model

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("VISEARCH_SHARED", ROOT.parent / "shared"))

# No deadline: a busy machine is no failure. The fast set draws the same examples each time, so that a change is judged
# by what it changes; the slow set draws new ones.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("new", deadline=None)
settings.load_profile("same")


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the person who runs the suite reaches a test, and no test writes to their home."""
    for name in list(os.environ):
        if name.startswith("VISEARCH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real pictures and models; it is not part of the project."""
    if not (SHARED / "DATA.md").exists():
        pytest.skip("needs ../shared (real pictures with ground truth), or VISEARCH_SHARED naming it")
    return SHARED


@pytest.fixture(scope="session")
def baseline(shared: Path) -> Path:
    """The ImageNet baseline model: 1,024 bits, follows the model contract."""
    return shared / "models" / "imagenet_baseline.onnx"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of the contract, made here: 64 bits."""
    return write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server of one test."""
    with serve_web() as web:
        yield web


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3]:
    """An S3 server of the tests of one file."""
    with serve_s3() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """That server, with the environment of this test naming it."""
    return s3_server.use(monkeypatch)
