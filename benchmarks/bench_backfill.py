"""Backfill on real photos: as fast as indexing, and hardly felt by who searches meanwhile.

    .venv/bin/python benchmarks/bench_backfill.py [--pictures 800] [--rounds 5] [--seconds 10] [--only ...]

- throughput: pictures a second, and a CPU second, of `visearch backfill` over those of `visearch index` of the same
  photos, turn by turn (medians; bar: 0.9 or more);
- serving: the p95 of uploads by 2 clients at a steady rate while `visearch backfill --max-load 0.5` runs, over that
  without it, turn by turn (median; bar: below 2).

Needs ../shared (photos of groceries, the baseline model). The new model computes what the old one does and has another
version in its card, so that both embed at the same cost.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_indexing import MODEL, SHARED, Usage, run
from bench_serve import COMMAND, Client, percentiles, served
from PIL import Image

from visearch import generations
from visearch.collection import Collection
from visearch.runtime import METADATA_KEY

PHOTOS = SHARED / "datasets" / "grocery" / "natural" / "train"
CLIENTS, PERIOD = 2, 0.25  # seconds between two uploads of one client
UPLOAD = 320  # pixels, the longer side of an uploaded photo


def photos(folder: Path, count: int) -> Path:
    """A folder of photos; no two files are equal: where there are not enough, they repeat with another comment."""
    folder.mkdir()
    sources = sorted(PHOTOS.rglob("*.jpg"))
    if not sources:
        raise SystemExit(f"error: {PHOTOS}: no photos there")
    step = max(1, len(sources) // count)  # of all classes
    for number in range(count):
        data = sources[number * step % len(sources)].read_bytes()
        comment = f"{number:08}".encode()
        marked = data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]
        (folder / f"{number:05}.jpg").write_bytes(marked)
    return folder


def new_version(path: Path) -> Path:
    """The baseline model with another version in its card."""
    import onnx

    model = onnx.load(MODEL)
    (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    entry.value = json.dumps(json.loads(entry.value) | {"version": "bench"})
    onnx.save(model, path)
    return path


def throughput(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Backfill over indexing."""
    pictures = photos(work / "throughput", options.pictures)
    collection = work / "turn"
    indexed: list[Usage] = []
    filled: list[Usage] = []
    for _ in range(options.rounds):
        shutil.rmtree(collection, ignore_errors=True)
        index = run(*COMMAND, "index", pictures, "--collection", collection, "--model", MODEL, "--json")
        backfill = run(*COMMAND, "backfill", "--collection", collection, "--model", work / "new.onnx", "--json")
        for usage, done in ((index, "added"), (backfill, "filled")):
            if json.loads(usage.output)[done] != options.pictures:
                raise SystemExit(f"error: not all {options.pictures} pictures were {done}")
        indexed.append(index)
        filled.append(backfill)

    def median(found: Callable[[Usage], float], of: list[Usage]) -> float:
        return round(statistics.median(map(found, of)), 2)

    def ratio(found: Callable[[Usage], float]) -> float:
        return round(statistics.median(found(a) / found(b) for a, b in zip(indexed, filled, strict=True)), 3)

    return {
        "pictures": options.pictures,
        "index": {"seconds": median(lambda u: u.seconds, indexed), "cpu": median(lambda u: u.cpu, indexed)},
        "backfill": {"seconds": median(lambda u: u.seconds, filled), "cpu": median(lambda u: u.cpu, filled)},
        "speed_by_wall": ratio(lambda usage: usage.seconds),
        "speed_by_cpu": ratio(lambda usage: usage.cpu),
    }


def upload_photo() -> bytes:
    """A photo as a page sends it that has made it smaller."""
    with Image.open(min(PHOTOS.rglob("*.jpg"))) as photo:
        photo.thumbnail((UPLOAD, UPLOAD))
        file = io.BytesIO()
        photo.convert("RGB").save(file, "JPEG", quality=85)
    return file.getvalue()


def uploads(host: str, port: int, seconds: float) -> list[float]:
    """Milliseconds of the uploads of all clients. Each begins one at a steady rate; what
    counts is the time from when it was due, so that a slow one does not spare the next."""
    photo, times = upload_photo(), []

    def work(number: int) -> None:
        client = Client(host, port)
        client.upload(photo)
        begin = time.perf_counter() + number * PERIOD / CLIENTS
        for turn in range(int(seconds / PERIOD)):
            due = begin + turn * PERIOD
            time.sleep(max(0.0, due - time.perf_counter()))
            late = max(0.0, time.perf_counter() - due)
            times.append(late * 1000 + client.upload(photo))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def drop_new(collection: Path) -> None:
    """Drop what does not answer, so that the next backfill begins at the beginning."""
    with Collection.open(collection) as opened:
        for state in generations.states(opened):
            if not state.active:
                generations.drop(opened, state.generation.number)


def serving(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """p95 with a backfill over that without."""
    collection = work / "served"
    # More than half of the cores can do meanwhile: a backfill that has ended would be no load.
    pictures = photos(work / "serving", max(options.pictures, int(options.seconds * options.pace)))
    run(*COMMAND, "index", pictures, "--collection", collection, "--model", MODEL)
    backfill = [*COMMAND, "backfill", "--max-load", "0.5", "--model", str(work / "new.onnx")]
    without: list[dict[str, float]] = []
    beside: list[dict[str, float]] = []
    still = True
    with served(collection) as (host, port, _):
        for _ in range(options.rounds):
            without.append(percentiles(uploads(host, port, options.seconds)))
            command = [*backfill, "--collection", str(collection)]
            other = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            beside.append(percentiles(uploads(host, port, options.seconds)))
            still = still and other.poll() is None
            other.terminate()
            other.wait()
            drop_new(collection)
    ratios = [b["p95"] / a["p95"] for a, b in zip(without, beside, strict=True)]
    return {
        "pictures": len(list(pictures.iterdir())),
        "without_ms": {name: round(statistics.median(each[name] for each in without), 2) for name in ("p50", "p95")},
        "with_ms": {name: round(statistics.median(each[name] for each in beside), 2) for name in ("p50", "p95")},
        "ratio_p95": round(statistics.median(ratios), 2),
        "ratios_p95": [round(ratio, 2) for ratio in ratios],
        "filled_all_the_time": still,
    }


def main() -> None:
    """Print one JSON line a measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each turn under load")
    parser.add_argument("--pace", type=int, default=400, help="pictures a second that no backfill reaches here")
    parser.add_argument("--only", default="throughput,serving")
    options = parser.parse_args()
    measures = {"throughput": throughput, "serving": serving}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        new_version(work / "new.onnx")
        for name in options.only.split(","):
            print(json.dumps({"measure": name, **measures[name](work, options)}), flush=True)


if __name__ == "__main__":
    main()
