"""Indexing on a Ray cluster: CPU time of a picture against that of the local pipeline, and whether the codes are equal.

    .venv/bin/python benchmarks/bench_ray.py [--pictures 5000] [--times 3] [--model FILE|NAME]

Needs ../shared (real pictures, the baseline model). The cluster is two nodes of this machine with a CPU each. CPU time
is that of the command and of all processes of the cluster. Each way indexes a fifth of the pictures and then all, in
new collections: the difference is what a picture costs once everything is warm. Figures are medians of alternating
runs in one session; on a machine that others use look at the ratio.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from visearch.collection import Collection

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("VISEARCH_SHARED", ROOT.parent / "shared"))
SETS = ("grocery", "ikea", "caltech101")
CPUS = 1  # of each node, as Ray counts them
SAMPLE_SECONDS = 0.1
WARM_PART = 5  # a run of one part in so many is what is taken off


class CpuTime:
    """CPU seconds of processes and all below them while it runs; this process itself does not count. Sampled, since
    nobody waits for most of them: what a process does after its last sample is lost."""

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._before = self._sample()
        self._latest = dict(self._before)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> CpuTime:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self.seconds = sum(self._latest.values()) - sum(self._before.values())

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._latest |= self._sample()

    def _sample(self) -> dict[tuple[int, float], float]:
        found: dict[tuple[int, float], float] = {}
        with suppress(psutil.NoSuchProcess):
            for each in [self._root, *self._root.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    times = each.cpu_times()
                    found[each.pid, each.create_time()] = times.user + times.system
        found.pop((os.getpid(), psutil.Process().create_time()), None)
        return found


@contextmanager
def two_nodes() -> Iterator[str]:
    """The address of a cluster of two nodes."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "300"}
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster()
    try:
        for _ in range(2):
            cluster.add_node(wait=True, num_cpus=CPUS, object_store_memory=500_000_000, include_dashboard=False)
        yield cluster.address
    finally:
        cluster.shutdown()


def manifest(path: Path, count: int) -> Path:
    """A manifest of so many real pictures."""
    found = (picture for name in SETS for picture in sorted((SHARED / "datasets" / name).rglob("*.jpg")))
    rows = [(str(picture),) for picture, _ in zip(found, range(count), strict=False)]
    if len(rows) < count:
        sys.exit(f"only {len(rows)} pictures in {', '.join(SETS)}")
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path",), *rows])
    return path


def index(source: Path, collection: Path, *arguments: str) -> float:
    """CPU seconds of indexing into a new collection, with --ray those of the cluster among them."""
    shutil.rmtree(collection, ignore_errors=True)
    command: list[str | Path] = [
        Path(sys.executable).parent / "visearch",
        "index",
        source,
        "--collection",
        collection,
        "--json",
    ]
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with CpuTime(psutil.Process(None if "--ray" in arguments else process.pid)) as used:
        output, errors = process.communicate()
    if process.returncode or json.loads(output)["skipped"]:
        sys.exit(f"{collection}: {errors}{output}")
    return used.seconds


def codes(collection: Path) -> dict[str, bytes]:
    """Source -> codes of its regions, with their int8 copies."""
    with Collection.open(collection) as opened:
        held = opened.corpus()
        order = np.lexsort((held.regions, held.item_ids))
        sources = {item.item_id: item.source for item in opened.items()}
        found: dict[str, bytes] = {}
        for row in order:
            name = sources[int(held.item_ids[row])]
            found[name] = found.get(name, b"") + held.codes[row].tobytes() + held.vectors[row].tobytes()
        return found


def main() -> None:
    """Measure, print a line of JSON a figure."""
    parser = argparse.ArgumentParser(description="Measure `visearch index --ray`.")
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--model", default=str(SHARED / "models" / "imagenet_baseline.onnx"))
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "bench_ray")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    few = options.pictures // WARM_PART
    part, whole = (manifest(options.work / f"{count}.csv", count) for count in (few, options.pictures))
    alone, there = options.work / "alone", options.work / "there"
    figures: dict[str, list[float]] = {"alone": [], "ray": [], "ratio": [], "start": []}
    with two_nodes() as address:
        for _ in range(options.times):
            ways = (("alone", alone, ()), ("ray", there, ("--ray", address)))
            warm = {}
            for name, collection, extra in ways:
                first = index(part, collection, "--model", options.model, *extra)
                total = index(whole, collection, "--model", options.model, *extra)
                warm[name] = (total - first) / (options.pictures - few)
                figures[name].append(warm[name])
                if name == "ray":
                    figures["start"].append(first - few * warm[name])
            figures["ratio"].append(warm["ray"] / warm["alone"])
            print(json.dumps({"load": os.getloadavg()[0], "ratio": round(figures["ratio"][-1], 3)}), flush=True)
    middle = {name: statistics.median(values) for name, values in figures.items()}
    answer = {
        "pictures": options.pictures,
        "equal": codes(alone) == codes(there),
        "alone_ms": round(1000 * middle["alone"], 3),
        "ray_ms": round(1000 * middle["ray"], 3),
        "ratio": round(middle["ratio"], 3),
        "ray_start_cpu_seconds": round(middle["start"], 1),
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
