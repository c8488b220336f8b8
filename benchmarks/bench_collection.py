"""A whole collection at scale: a cold start, memory, searches with re-ranking, the cost of one more picture.

    .venv/bin/python benchmarks/bench_collection.py --model MODEL.onnx [--items 1000000]

The codes are those of bench_index.py, their int8 vectors the bits as +-1 with noise; items carry the metadata that its
filters ask for. "Beyond empty" is beyond a collection of one item, in fresh processes. Search times are CPU time of the
searching thread, median of 5 rounds of 200 searches by item; they include reading the matches from the store.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_index import BITS, CLUSTER, SHARES, clustered, metadata_of

from visearch import codes
from visearch.collection import Collection
from visearch.ingest import Embedded, File, commit
from visearch.store import OWNER, Item

BATCH = 10_000
ROUNDS, SEARCHES = 5, 200
ADDED = 200

COLD = """
import sys, time
start = time.perf_counter()
from visearch.collection import Collection
with Collection.open(sys.argv[1]) as collection:
    collection.search(item=1)
    seconds = time.perf_counter() - start
    for item in range(1, len(collection) + 1, max(1, len(collection) // 100)):
        collection.search(item=item)
    anon = next(line for line in open("/proc/self/status") if line.startswith("RssAnon"))
print(seconds, int(anon.split()[1]) * 1024)
"""


def make(folder: Path, items: int, model: str) -> Collection:
    """A collection of that many items, with its index files."""
    rng = np.random.default_rng(1)
    centres = rng.integers(0, 256, (max(1, items // CLUSTER), BITS // 8), np.uint8)
    packed, chosen = clustered(items, centres, rng)
    metadata = list(metadata_of(chosen))
    collection = Collection.open(folder, create=True, model=model)
    for start in range(0, items, BATCH):
        part = packed[start : start + BATCH]
        signs = codes.unpack(part).astype(np.float32) * 2 - 1
        rows = codes.to_rows(*codes.quantize(signs * (0.5 + rng.random(signs.shape, np.float32))))
        numbers = range(start + 1, start + len(part) + 1)
        with collection.store.write() as writer:
            writer.reserve_item_ids(len(part))
            for number in numbers:
                content = number.to_bytes(32, "big")
                item = Item(number, f"memory/{number}", 1, 1, content, 1, 1, "memory", dict(metadata[number - 1]))
                writer.put_item(item)
            writer.append_codes(1, np.array([(number, 0) for number in numbers], OWNER), part, rows)
    collection.build_index()
    return collection


def cold(folder: Path) -> tuple[float, int]:
    """Seconds to the first answer, and RssAnon in bytes after 100 searches: medians of fresh processes."""
    runs = [
        subprocess.run([sys.executable, "-c", COLD, folder], capture_output=True, check=True, text=True).stdout.split()
        for _ in range(ROUNDS)
    ]
    return statistics.median(float(run[0]) for run in runs), int(statistics.median(int(run[1]) for run in runs))


def searches(collection: Collection, **options: Any) -> dict[str, float]:
    """p50 and p95 in ms of CPU time."""
    rng = np.random.default_rng(2)
    rounds = []
    for _ in range(ROUNDS):
        took = []
        for item in rng.integers(1, len(collection) + 1, SEARCHES):
            start = time.thread_time_ns()
            collection.search(item=int(item), **options)
            took.append((time.thread_time_ns() - start) / 1e6)
        rounds.append(np.percentile(took, [50, 95]))
    p50, p95 = np.median(rounds, axis=0)
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3)}


def cost_of_an_add(collection: Collection) -> float:
    """Milliseconds of CPU time to commit one more picture and find it, median."""
    rng = np.random.default_rng(3)
    took = []
    model = collection.generation.model_sha256
    with collection.store.write() as writer:
        first = writer.reserve_item_ids(ADDED)
    for number in range(first, first + ADDED):
        vector = rng.standard_normal((1, BITS)).astype(np.float32)
        row, code = codes.to_rows(*codes.quantize(vector)), codes.pack(vector)
        content = number.to_bytes(32, "big")
        start = time.thread_time_ns()
        commit(
            collection.store,
            [Embedded(File(number, f"memory/{number}", 1, 1, "memory"), content, 1, 1, b"", code, row, model)],
        )
        collection.searcher()
        took.append((time.thread_time_ns() - start) / 1e6)
    return round(statistics.median(took), 3)


def main() -> None:
    """Print one JSON line a measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help=f"a model of {BITS} bits; the codes are not its own")
    parser.add_argument("--items", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        one, many = Path(work, "one"), Path(work, "many")
        start = time.perf_counter()
        small, large = make(one, 1, options.model), make(many, options.items, options.model)
        print(json.dumps({"measure": "made", "items": options.items, "seconds": round(time.perf_counter() - start)}))
        empty_seconds, empty_anon = cold(one)
        seconds, anon = cold(many)
        beyond = {"seconds": round(seconds - empty_seconds, 3), "anon_mb": round((anon - empty_anon) / 1e6, 1)}
        print(json.dumps({"measure": "cold start beyond empty", **beyond, "codes_mb": options.items * BITS / 8e6}))
        for name, asked in (("re-ranked", {}), ("Hamming only", {"rerank": False})):
            print(json.dumps({"measure": f"search, {name}", **searches(large, **asked)}))
        for share in SHARES:
            filtered = searches(large, filter={share: 0})
            print(json.dumps({"measure": f"search, filter {share}", **filtered}))
        added = {"ms_of_one": cost_of_an_add(small), "ms_of_many": cost_of_an_add(large)}
        print(json.dumps({"measure": "add one and find it", **added}))
        small.close()
        large.close()


if __name__ == "__main__":
    main()
