"""The home store, served: what is in it, and a running `visearch serve` over it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "data" / "homestore" / "demo"
HOME = (DEMO / "catalog.jsonl", DEMO / "scenes.jsonl")
SECONDS = 120
COMMAND = (sys.executable, "-c", "from visearch.cli import main; main()")


def rows(manifest: str) -> list[dict[str, Any]]:
    """The rows of one of the demo's manifests."""
    return [json.loads(line) for line in (DEMO / manifest).read_text(encoding="utf-8").splitlines()]


PRODUCTS: Mapping[str, dict[str, Any]] = {row["product"]: row for row in rows("catalog.jsonl")}
ROOMS: Mapping[str, dict[str, Any]] = {Path(row["path"]).stem: row for row in rows("scenes.jsonl")}
PHOTOS: Mapping[str, dict[str, Any]] = {Path(row["path"]).stem: row for row in rows("photos.jsonl")}


def true_box(room: str, product: str) -> tuple[float, float, float, float]:
    """Where a product is in a room, by the renderer's own record."""
    (box, *_) = [each["box"] for each in ROOMS[room]["objects"] if each["product"] == product]
    x0, y0, x1, y1 = box
    return x0, y0, x1, y1


def index(
    folder: Path, model: Path, sources: tuple[Path, ...] = (DEMO / "catalog.jsonl", DEMO / "scenes.jsonl")
) -> Path:
    """Index the products and the rooms into a folder."""
    arguments = ["index", *map(str, sources), "--collection", str(folder), "--model", str(model)]
    subprocess.run([*COMMAND, *arguments], check=True, capture_output=True, timeout=SECONDS, env=environment())
    return folder


def environment(settings: Mapping[str, object] | None = None) -> dict[str, str]:
    """This process's environment without the settings of who runs the tests, with those given."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("VISEARCH_")}
    return own | {f"VISEARCH_{name.upper()}": str(value) for name, value in (settings or {}).items()}


@dataclass
class Served:
    """A running server; `url` ends with a slash."""

    process: subprocess.Popen[str]
    url: str


@contextlib.contextmanager
def serving(*collections: Path | str, settings: Mapping[str, object] | None = None) -> Iterator[Served]:
    """A `visearch serve` on a free port, ready; it has to end in order."""
    arguments = [part for each in collections for part in ("--collection", str(each))]
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", *arguments], stdout=subprocess.PIPE, text=True, env=environment(settings)
    )
    assert process.stdout is not None
    url = process.stdout.readline().partition(" ")[0]
    assert url.startswith("http://127.0.0.1:"), f"visearch serve did not start (exit code {process.poll()})"
    try:
        yield Served(process, url)
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)
    assert process.returncode == 0
