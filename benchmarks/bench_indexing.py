"""Indexing: how much of the CPU does the work itself get, how fast against the usual loop, how much memory.

    .venv/bin/python benchmarks/bench_indexing.py [--quick] [--only efficiency loop scale]

Needs ../shared (real pictures, the baseline model and its weights). Pictures are real photographs brought to the size
wanted; each file is unique in its bytes, so that each is decoded. Every figure is a median of alternating
runs in one session; CPU time counts child processes. On a machine that others use look at ratios of CPU time and at
`busy_of_free`: our share of the CPU time that others left.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from visearch import images
from visearch.embedder import Embedder
from visearch.machine import usable_cores

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("VISEARCH_SHARED", ROOT.parent / "shared"))
MODEL = SHARED / "models" / "imagenet_baseline.onnx"
WEIGHTS = SHARED / "models" / "mobilenet_edgetpu_100.safetensors"
CORES = usable_cores()
BATCH = 16  # pictures embedded at once by the work measured alone


@dataclass(frozen=True)
class Amount:
    """How much of one picture size is measured."""

    megapixels: float
    indexed: int  # pictures of one run of `visearch index`: enough that its start is a small part
    alone: int  # pictures decoded and embedded alone
    loop: int  # pictures of the usual loop


AMOUNTS = (Amount(0.2, 5000, 500, 256), Amount(2, 2500, 200, 128), Amount(12, 1200, 60, 64))
QUICK = (Amount(0.2, 400, 100, 64), Amount(2, 200, 50, 32), Amount(12, 60, 20, 32))
SMALL = 0.07  # megapixels of the many pictures of `scale`


@dataclass(frozen=True)
class Usage:
    """What one command took. `seconds` wall, `cpu` seconds with children, `anon` highest RssAnon in bytes."""

    seconds: float
    cpu: float
    busy_of_free: float
    anon: int
    output: str


def make_pictures(folder: Path, megapixels: float, count: int) -> Path:
    """Write `count` JPEGs of about `megapixels` (4:3, quality 85-90) made of real photographs; keep those there.

    At most 60 different pictures are drawn; the rest repeat them with another comment, so no two files are equal.
    """
    done = folder / f"{megapixels}mp-{count}"
    if done.exists():
        return done
    sources = sorted((SHARED / "datasets" / "natural-free").rglob("*.jpg"))
    random = np.random.default_rng(1)
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = width * 3 // 4
    # Grain, as a camera's: a photograph that is only enlarged would compress, and so decode, far too well.
    grain = random.normal(0, 5, (height + 64, width + 64, 1)).astype(np.int16)
    partial = done.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for number in range(min(60, count)):
        with Image.open(sources[number * 5 % len(sources)]) as photo:
            enlarged = np.asarray(photo.convert("RGB").resize((width, height), Image.Resampling.BICUBIC), np.int16)
        x, y = random.integers(0, 64, 2)
        noisy = np.clip(enlarged + grain[y : y + height, x : x + width], 0, 255).astype(np.uint8)
        path = partial / f"{number:05}.jpg"
        Image.fromarray(noisy).save(path, quality=int(random.integers(85, 91)))
        data = path.read_bytes()
        for copy in range(number + 60, count, 60):
            comment = f"{copy:08}".encode()
            marked = data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]
            (partial / f"{copy:05}.jpg").write_bytes(marked)
    partial.rename(done)
    return done


def run(*command: object) -> Usage:
    """Run a command to its end and say what it took; an exit code other than 0 ends the benchmark."""
    before, machine, start = _children_cpu(), _machine_times(), time.perf_counter()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VISEARCH_")}
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True, env=environment)
    highest = [0]
    watcher = threading.Thread(target=_watch_memory, args=(process, highest))
    watcher.start()
    output = process.communicate()[0]
    seconds = time.perf_counter() - start
    watcher.join()
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    cpu = _children_cpu() - before
    idle = _machine_times() - machine
    return Usage(seconds, cpu, cpu / (cpu + idle), highest[0], output)


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _machine_times() -> float:
    """Idle CPU seconds of the machine since it started (idle and waiting for the disk)."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def _watch_memory(process: subprocess.Popen[str], highest: list[int]) -> None:
    while process.poll() is None:
        highest[0] = max(highest[0], sum(map(_anonymous, _family(process.pid))))
        time.sleep(0.05)


def _family(pid: int) -> Iterator[int]:
    """The process and all that descend from it."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            listed = children.read_text().split()
        except OSError:  # the thread has ended
            continue
        for child in listed:
            yield from _family(int(child))


def _anonymous(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def index(folder: Path, collection: Path, fresh: bool = True) -> Usage:
    """One run of `visearch index`, into a new collection unless told otherwise."""
    if fresh:
        shutil.rmtree(collection, ignore_errors=True)
    command = Path(sys.executable).parent / "visearch"
    usage = run(command, "index", folder, "--collection", collection, "--model", MODEL, "--json")
    summary = json.loads(usage.output)
    assert summary["items"] == len(list(folder.iterdir())), summary
    return usage


def alone(folder: Path, count: int) -> float:
    """CPU seconds a picture of decoding and embedding, and nothing else, in one thread of this process."""
    embedder = Embedder(MODEL)
    data = [path.read_bytes() for path in sorted(folder.iterdir())[:count]]

    def work(part: list[bytes]) -> None:
        pictures = [images.decode(each, min_side=embedder.min_side()) for each in part]
        embedder.embed(np.stack([embedder.prepare(picture) for picture in pictures]))

    work(data[:BATCH])
    start = time.process_time()
    for first in range(0, count, BATCH):
        work(data[first : first + BATCH])
    return (time.process_time() - start) / count


def alternate(times: int, **measures: Callable[[], float]) -> dict[str, list[float]]:
    """Run the measures in turn, `times` times."""
    results: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(times):
        for name, measure in measures.items():
            results[name].append(measure())
    return results


def efficiency(amount: Amount, work: Path, times: int) -> dict[str, float]:
    """CPU time of the work alone over that of the whole command, a picture; and how busy the cores were."""
    folder = make_pictures(work, amount.megapixels, amount.indexed)
    usages: list[Usage] = []

    def indexing() -> float:
        usages.append(index(folder, work / "collection"))
        return usages[-1].cpu / amount.indexed

    results = alternate(times, alone=lambda: alone(folder, amount.alone), indexing=indexing)
    return {
        "megapixels": amount.megapixels,
        "kilobytes": statistics.mean(path.stat().st_size for path in folder.iterdir()) / 1000,
        "alone_ms": 1000 * statistics.median(results["alone"]),
        "indexing_ms": 1000 * statistics.median(results["indexing"]),
        "efficiency": statistics.median(np.divide(results["alone"], results["indexing"]).tolist()),
        "busy": statistics.median(usage.cpu / usage.seconds / CORES for usage in usages),
        "busy_of_free": statistics.median(usage.busy_of_free for usage in usages),
        "pictures_a_second": statistics.median(amount.indexed / usage.seconds for usage in usages),
    }


def against_the_loop(amount: Amount, work: Path, times: int) -> dict[str, float]:
    """Wall speed of the whole command, its start included, over that of the usual loop, its start left out."""
    folder = make_pictures(work, amount.megapixels, amount.indexed)
    loop = (sys.executable, ROOT / "benchmarks" / "usual_loop.py", folder, amount.loop, WEIGHTS, CORES)

    def looping() -> float:
        answer = json.loads(run(*loop).output)
        return float(answer["pictures"] / answer["seconds"])

    results = alternate(
        times,
        indexing=lambda: amount.indexed / index(folder, work / "collection").seconds,
        loop=looping,
    )
    return {
        "megapixels": amount.megapixels,
        "indexing_pictures_a_second": statistics.median(results["indexing"]),
        "loop_pictures_a_second": statistics.median(results["loop"]),
        "ratio": statistics.median(np.divide(results["indexing"], results["loop"]).tolist()),
    }


def scale(few: int, many: int, work: Path, times: int) -> dict[str, float]:
    """Memory of many pictures against few, and a second run over many unchanged files against the first."""
    small, large = make_pictures(work, SMALL, few), make_pictures(work, SMALL, many)
    one = make_pictures(work, SMALL, 1)
    first_few = index(small, work / "few")
    first_many = index(large, work / "many")
    again = [index(large, work / "many", fresh=False) for _ in range(times)]
    start = [index(one, work / "one") for _ in range(times)]
    second = statistics.median(usage.seconds for usage in again)
    return {
        "few": few,
        "many": many,
        "few_megabytes": first_few.anon / 1e6,
        "many_megabytes": first_many.anon / 1e6,
        "more_megabytes": (first_many.anon - first_few.anon) / 1e6,
        "first_seconds": first_many.seconds,
        "second_seconds": second,
        "second_of_first": second / first_many.seconds,
        "second_of_first_cpu": statistics.median(usage.cpu for usage in again) / first_many.cpu,
        "one_picture_seconds": statistics.median(usage.seconds for usage in start),
        "one_picture_cpu_seconds": statistics.median(usage.cpu for usage in start),
    }


def main() -> None:
    """Measure, print a line of JSON a figure."""
    parser = argparse.ArgumentParser(description="Measure `visearch index`.")
    parser.add_argument("--quick", action="store_true", help="small amounts, twice instead of five times")
    parser.add_argument("--only", nargs="+", choices=["efficiency", "loop", "scale"])
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "bench_indexing", help="pictures stay there")
    options = parser.parse_args()
    if not MODEL.exists():
        sys.exit(f"{MODEL} is not there: set VISEARCH_SHARED to the folder of real pictures and models")
    wanted = options.only or ["efficiency", "loop", "scale"]
    amounts, times = (QUICK, 2) if options.quick else (AMOUNTS, 5)
    print(json.dumps({"cores": CORES, "load": os.getloadavg()[0], "times": times}), flush=True)
    for amount in amounts:
        if "efficiency" in wanted:
            report("efficiency", efficiency(amount, options.work, times))
        if "loop" in wanted:
            report("loop", against_the_loop(amount, options.work, times))
    if "scale" in wanted:
        few, many = (200, 2000) if options.quick else (1000, 20_000)
        report("scale", scale(few, many, options.work, times))


def report(name: str, figures: dict[str, float]) -> None:
    """Print one result."""
    print(json.dumps({"measure": name} | {key: round(value, 4) for key, value in figures.items()}), flush=True)


if __name__ == "__main__":
    main()
