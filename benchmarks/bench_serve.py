"""What the server adds: `visearch serve` as a process beside decode, embed and search measured alone in the same run.

    .venv/bin/python benchmarks/bench_serve.py --model MODEL.onnx [--items 1000000] [--seconds 10] [--only upload,...]

- upload: the p50 of a Flashlight search by upload over that of its three parts called alone, turn by turn;
- clients: with 8 clients uploading, the CPU time of the three parts over the whole CPU time that was there;
- similar: similar-to-item in a collection of a million synthetic codes, on one connection;
- half-open: the p95 of uploads while 300 connections each hold a half-sent request, over that without them;
- indexing: the p95 of uploads while another process indexes into the same collection, over that without it;
- paint: first contentful paint of the page with 10,000 items, in a fresh browser context (needs Chromium).
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # as the server does, before faiss is imported

import numpy as np
from bench_collection import make
from PIL import Image

from visearch.collection import Collection

CLIENTS, HALF_OPEN = 8, 300
PICTURES, SIDE = 200, (640, 480)  # the indexed pictures
UPLOAD = (1600, 1200)  # a photo as a page sends it
ROUNDS = 60
COMMAND = (sys.executable, "-c", "from visearch.cli import main; main()")
BOUNDARY = "----bench"


def picture(seed: int, size: tuple[int, int]) -> bytes:
    """A JPEG with as much detail as a photo: noise over blocks of colour."""
    rng = np.random.default_rng(seed)
    blocks = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    noisy = np.clip(np.asarray(blocks, np.int16) + rng.integers(-12, 13, (size[1], size[0], 1)), 0, 255)
    file = io.BytesIO()
    Image.fromarray(noisy.astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


def fill(folder: Path, count: int, side: tuple[int, int] = SIDE) -> Path:
    """A folder of pictures."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:05d}.jpg").write_bytes(picture(number, side))
    return folder


@contextlib.contextmanager
def served(collection: Path) -> Iterator[tuple[str, int, int]]:
    """Host, port and process id of a running server without a rate limit."""
    environment = os.environ | {"VISEARCH_REQUESTS_PER_MINUTE": "0"}
    arguments = ["serve", "--port", "0", "--collection", str(collection)]
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    url = process.stdout.readline().partition(" ")[0]
    host, _, port = url.removeprefix("http://").rstrip("/").partition(":")
    try:
        yield host, int(port), process.pid
    finally:
        process.terminate()
        process.communicate()


class Client:
    """One connection that stays open."""

    def __init__(self, host: str, port: int) -> None:
        self.http = http.client.HTTPConnection(host, port, timeout=60)

    def upload(self, data: bytes) -> float:
        """Search with a picture; milliseconds until the answer is here."""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
        body = head.encode() + b"Content-Type: image/jpeg\r\n\r\n" + data + f"\r\n--{BOUNDARY}--\r\n".encode()
        return self.ask(body, f"multipart/form-data; boundary={BOUNDARY}")

    def similar(self, item: int) -> float:
        """Search with an item."""
        return self.ask(json.dumps({"item": item}).encode(), "application/json")

    def ask(self, body: bytes, kind: str) -> float:
        """Milliseconds for one answer."""
        start = time.perf_counter()
        self.http.request("POST", "/api/v1/search/flashlight", body, {"Content-Type": kind})
        answer = self.http.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"error: the server answered {answer.status}")
        return (time.perf_counter() - start) * 1000


def alone(collection: Collection, data: bytes) -> float:
    """Milliseconds for decode, embed and search of an upload by the library itself."""
    start = time.perf_counter()
    collection.search(data)
    return (time.perf_counter() - start) * 1000


def percentiles(times: list[float]) -> dict[str, float]:
    """p50 and p95, in the unit of the times."""
    p50, p95 = np.percentile(times, [50, 95])
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2)}


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def upload(collection: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The server's p50 over that of its parts."""
    photos = [picture(1000 + number, UPLOAD) for number in range(8)]
    with served(collection) as (host, port, _), Collection.open(collection) as own:
        client, over, parts = Client(host, port), [], []
        for turn in range(ROUNDS + 5):
            photo = photos[turn % len(photos)]
            over.append(client.upload(photo))
            parts.append(alone(own, photo))
    http_times, alone_times = percentiles(over[5:]), percentiles(parts[5:])
    return {"http_ms": http_times, "alone_ms": alone_times, "ratio": round(http_times["p50"] / alone_times["p50"], 3)}


def clients(collection: Path, options: argparse.Namespace) -> dict[str, Any]:
    """CPU time that the three parts take (measured alone, in one thread) over all CPU time of the cores."""
    photos = [picture(1000 + number, UPLOAD) for number in range(8)]
    with Collection.open(collection) as own:
        for photo in photos:
            alone(own, photo)
        start, count = time.process_time(), 0
        while count < ROUNDS:
            alone(own, photos[count % len(photos)])
            count += 1
        of_one = (time.process_time() - start) / count
    with served(collection) as (host, port, pid):
        answered, stop = [0] * CLIENTS, threading.Event()

        def work(number: int) -> None:
            client = Client(host, port)
            while not stop.is_set():
                client.upload(photos[number])
                answered[number] += 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
        before, own_before, begun = cpu_seconds(pid), time.process_time(), time.perf_counter()
        for thread in threads:
            thread.start()
        time.sleep(options.seconds)
        stop.set()
        for thread in threads:
            thread.join()
        wall = time.perf_counter() - begun
        used, own_used = cpu_seconds(pid) - before, time.process_time() - own_before
    cores = len(os.sched_getaffinity(0))
    useful = sum(answered) * of_one
    return {
        "uploads_a_second": round(sum(answered) / wall, 1),
        "share_of_all_cores": round(useful / (wall * cores), 3),
        "share_of_the_servers_cpu": round(useful / used, 3),
        "clients_cpu_share": round(own_used / (wall * cores), 3),
    }


def similar(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Similar-to-item over HTTP with a large collection."""
    make(work / "large", options.items, options.model).close()
    rng = np.random.default_rng(4)
    with served(work / "large") as (host, port, _):
        client = Client(host, port)
        times = [client.similar(int(item)) for item in rng.integers(1, options.items + 1, 600)]
    return {"items": options.items, "ms": percentiles(times[100:])}


def uploads_for(host: str, port: int, seconds: float) -> list[float]:
    """Milliseconds of uploads, one after another."""
    client, photo, times = Client(host, port), picture(1000, UPLOAD), []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        times.append(client.upload(photo))
    return times


def half_open(collection: Path, options: argparse.Namespace) -> dict[str, Any]:
    """p95 with 300 half-sent requests over that without."""
    with served(collection) as (host, port, _):
        without = percentiles(uploads_for(host, port, options.seconds))
        held = [socket.create_connection((host, port)) for _ in range(HALF_OPEN)]
        for connection in held:
            connection.sendall(
                b"POST /api/v1/search/flashlight HTTP/1.1\r\nHost: bench\r\nContent-Length: 9999\r\n\r\nx"
            )
        beside = percentiles(uploads_for(host, port, options.seconds))
        for connection in held:
            connection.close()
    return {"without_ms": without, "with_ms": beside, "ratio_p95": round(beside["p95"] / without["p95"], 2)}


def indexing(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """p95 while another process indexes over that without."""
    collection = work / "indexed"
    shutil.copytree(work / "small", collection)
    more = fill(work / "more", 4000, (320, 240))
    with served(collection) as (host, port, _):
        without = percentiles(uploads_for(host, port, options.seconds))
        command = [*COMMAND, "index", str(more), "--collection", str(collection)]
        other = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        beside = percentiles(uploads_for(host, port, options.seconds))
        still = other.poll() is None
        other.terminate()
        other.wait()
    ratio = round(beside["p95"] / without["p95"], 2)
    return {"without_ms": without, "with_ms": beside, "ratio_p95": ratio, "indexed_to_the_end": still}


def paint(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """First contentful paint, and the time until the first pictures are there."""
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium")
    if executable is None:
        return {"skipped": "needs Chromium"}
    pictures = fill(work / "ten-thousand", 10_000, (64, 48))
    command = [*COMMAND, "index", str(pictures), "--collection", str(work / "page"), "--model", options.model]
    subprocess.run(command, check=True, capture_output=True)
    firsts, shown = [], []
    with served(work / "page") as (host, port, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(7):
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            page.goto(f"http://{host}:{port}/", wait_until="commit")
            page.locator("#gallery-feed .photo.loaded").first.wait_for()
            shown.append(page.evaluate("performance.now()"))
            firsts.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
            page.context.close()
        browser.close()
    return {"first_paint_ms": percentiles(firsts), "first_picture_ms": percentiles(shown)}


def main() -> None:
    """Print one JSON line a measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--items", type=int, default=1_000_000, help="codes of the large collection")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measure under load")
    parser.add_argument("--only", default="upload,clients,similar,half-open,indexing,paint")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        small = work / "small"
        command = [*COMMAND, "index", str(fill(work / "pictures", PICTURES)), "--collection", str(small)]
        subprocess.run([*command, "--model", options.model], check=True, capture_output=True)
        measures: dict[str, tuple[Callable[[Path, argparse.Namespace], dict[str, Any]], Path]] = {
            "upload": (upload, small),
            "clients": (clients, small),
            "similar": (similar, work),
            "half-open": (half_open, small),
            "indexing": (indexing, work),
            "paint": (paint, work),
        }
        for name in options.only.split(","):
            measure, place = measures[name]
            print(json.dumps({"measure": name, **measure(place, options)}), flush=True)


if __name__ == "__main__":
    main()
