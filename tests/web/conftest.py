"""A home store of a dozen items, indexed once by the command line, and apps over it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from flask import Flask

from tests.pictures import save, visearch
from tests.tiny_detector import write_detector
from tests.web.api import Client, client_of, make_app, make_client
from visearch.collection import Collection
from visearch.detector import Detector

PRODUCTS, ROOMS = 16, 8  # items 1 to 16 are products, 17 to 24 are not


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """The folder of the collection; tests only read it."""
    folder = tmp_path_factory.mktemp("home")
    rows = []
    for number in range(1, PRODUCTS + ROOMS + 1):
        save(folder / f"pictures/{number:03}.png", number)
        row: dict[str, object] = {"path": f"pictures/{number:03}.png", "room": "living" if number % 2 else "bath"}
        if number <= PRODUCTS:
            row |= {"product": f"p{number}", "title": f"Lamp {number}", "category": ["Lighting", "Rugs"][number % 2]}
            row |= {"price": 10.0 * number, "price_currency": "EUR", "availability": "in stock", "seller": "Shop"}
            row |= {"url": f"https://shop.example/{number}"}
        rows.append(json.dumps(row))
    (folder / "items.jsonl").write_text("\n".join(rows))
    done = visearch("index", folder / "items.jsonl", "--collection", folder / "collection", "--model", tiny)
    assert done.code == 0, done.err
    return folder / "collection"


@pytest.fixture(scope="session")
def collection(home: Path) -> Iterator[Collection]:
    """That collection, open; not to be changed."""
    with Collection.open(home) as opened:
        yield opened


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """Finds a lamp in the middle of what is bright."""
    return Detector(write_detector(tmp_path_factory.mktemp("detector") / "tiny.onnx"))


@pytest.fixture
def client(collection: Collection) -> Client:
    """Of an app without a detector, over the collection that is not to be changed; tests share the app."""
    return client_of(_shared_app(collection))


@cache
def _shared_app(collection: Collection) -> Flask:
    """Not a fixture of the session, which would be made in the environment of the person who runs the suite."""
    return make_app(collection)


@pytest.fixture
def own(home: Path, tmp_path: Path) -> Iterator[Collection]:
    """A copy of the collection, to be changed."""
    shutil.copytree(home, tmp_path / "own")
    with Collection.open(tmp_path / "own") as opened:
        yield opened


@pytest.fixture
def own_client(own: Collection) -> Client:
    """Of an app over that copy."""
    return make_client(own)
