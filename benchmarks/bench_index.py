"""The index at scale: overhead over FAISS, opening, memory, filters, adding. Synthetic clustered codes of 2,048 bits.

    .venv/bin/python benchmarks/bench_index.py [--rows 1000000]

Codes are cluster centres with 15% of their bits flipped, 500 a cluster; queries are further such codes that are not in
the index. Every figure is a median of 5 alternations in one process (cold starts: in fresh ones). Search times are CPU
time of the searching thread, which waits for nothing, so that other load on the machine counts little; ratios count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from visearch.base import Base
from visearch.filters import Filter
from visearch.index import Added, Index, write_base
from visearch.scan import U8

BITS = 2048
FLIPPED = 0.15  # part of the bits in which a code differs from its cluster's centre
CLUSTER = 500  # codes
WINDOW = 1000  # candidates that a query asks for by default
QUERIES = 200
ROUNDS = 5
SHARES = {"50%": 2, "5%": 20, "0.1%": 1000, "0.001%": 100_000}  # one row in so many is eligible

COLD = """
import time, sys
start = time.perf_counter()
from pathlib import Path
import numpy as np
from visearch.filters import Filter
from visearch.index import Base, Index
base = Base.open(Path(sys.argv[1])) if len(sys.argv) > 1 else None
index = Index.open(base, {bits})
query = np.zeros({bits} // 8, np.uint8)
index.search(query, {window})
seconds = time.perf_counter() - start
for share in {shares}:
    index.search(query, {window}, filter=Filter.parse({{share: 0}}))
index.search(query, {window}, exact=True)
anon = next(line for line in open("/proc/self/status") if line.startswith("RssAnon"))
print(seconds, int(anon.split()[1]) * 1024)
"""


def flipped(codes: U8, rng: np.random.Generator) -> U8:
    """Codes [n, D/8] with some of their bits flipped."""
    return codes ^ np.packbits(rng.random((len(codes), BITS), dtype=np.float32) < FLIPPED, axis=1)


def clustered(rows: int, centres: U8, rng: np.random.Generator) -> tuple[U8, np.ndarray[Any, np.dtype[np.int64]]]:
    """Codes [rows, D/8], each about one of the centres, and which."""
    chosen = rng.integers(len(centres), size=rows)
    parts = [flipped(centres[chosen[start : start + 10_000]], rng) for start in range(0, rows, 10_000)]
    return np.concatenate(parts), chosen


def metadata_of(chosen: np.ndarray[Any, np.dtype[np.int64]]) -> Iterator[Mapping[str, object]]:
    """For every share a key whose value 0 selects it at random; `group` tells a twentieth of the clusters.

    Of the queries, a twentieth belong to the clusters of `group` 1. The others have no near row that it selects.
    """
    for row, cluster in enumerate(chosen.tolist()):
        yield {**{share: (row * 7919) % one_in for share, one_in in SHARES.items()}, "group": cluster % 20}


def times_ms(search: Callable[[U8], object], queries: U8) -> list[float]:
    """What each query takes, in CPU time of this thread."""
    took = []
    for query in queries:
        start = time.thread_time_ns()
        search(query)
        took.append((time.thread_time_ns() - start) / 1e6)
    return took


def alternate(searches: Mapping[str, Callable[[U8], object]], queries: U8) -> dict[str, dict[str, float]]:
    """Median over the rounds of each one's p50 and p95 in ms."""
    found: dict[str, list[list[float]]] = {name: [] for name in searches}
    for round_number in range(ROUNDS + 1):
        for name, search in searches.items():
            took = times_ms(search, queries)
            if round_number:  # the first warms up
                found[name].append(took)
    return {
        name: {f"p{p}": statistics.median(float(np.percentile(took, p)) for took in rounds) for p in (50, 95)}
        for name, rounds in found.items()
    }


def recall(index: Index, queries: U8, filter: Filter | None) -> float:
    """Recall@20 of a search with the default window against an exact one."""
    shares = []
    for query in queries:
        true = index.search(query, 20, filter=filter, exact=True).distances
        found = index.search(query, WINDOW, filter=filter).distances
        shares.append(np.count_nonzero(found[:20] <= true[-1]) / len(true) if len(true) else 1.0)
    return float(np.mean(shares))


def bare_faiss(base: Base, k: int, *, use_heap: bool) -> Callable[[U8], object]:
    """FAISS's own search of the same lists, in memory: of as many, or of as many as hold 2k codes."""
    index: Any = faiss.read_index_binary(str(base.folder / "lists.faiss"))
    index.nprobe, index.use_heap = max(base.info.probes, 2 * k * base.info.lists // base.rows), use_heap
    if not use_heap:
        index.max_codes = 2**62  # FAISS 1.15 scans nothing without a limit when it counts
    return lambda query: index.search(query[None], k)


def cold(*arguments: str) -> tuple[float, int]:
    """Seconds to the first answer of a fresh process; its RssAnon in bytes, after filtered and exact searches too."""
    script = COLD.format(bits=BITS, window=WINDOW, shares=list(SHARES))
    output = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    ).stdout
    seconds, anon = output.split()
    return float(seconds), int(anon)


def measure_cold(folder: Path) -> dict[str, float]:
    """Opening the base and searching once, beyond the same with an empty index."""
    full, empty = [], []
    for _ in range(ROUNDS):
        empty.append(cold())
        full.append(cold(str(folder)))
    seconds, anon = ([statistics.median(run[place] for run in runs) for runs in (full, empty)] for place in (0, 1))
    return {
        "seconds": seconds[0],
        "seconds_beyond_empty": seconds[0] - seconds[1],
        "anon_mb_beyond_empty": (anon[0] - anon[1]) / 1e6,
    }


def measure_adds(index: Index, rng: np.random.Generator) -> dict[str, float]:
    """Microseconds of an `apply` of one row, on this base and on none."""
    figures = {}
    for name, target in (("empty", Index.open(None, BITS)), ("full", index)):
        code = rng.integers(0, 256, (1, BITS // 8), np.uint8)
        took = []
        for number in range(5000):
            one = np.array([10**12 + number])
            start = time.thread_time_ns()
            target.apply(Added(one, one, np.zeros(1, np.int32), code, [{}]), np.array([number * 3]))
            took.append((time.thread_time_ns() - start) / 1e3)
        figures[f"us_{name}"] = statistics.median(took)
    return figures


def report(name: str, figures: Mapping[str, Any]) -> None:
    """One line of JSON."""
    rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()}
    print(json.dumps({"measure": name, **rounded}), flush=True)


def main() -> None:
    """Build, then measure."""
    parser = argparse.ArgumentParser(description="Measure the index.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 256, (max(rows // CLUSTER, 1), BITS // 8), np.uint8)
    codes, chosen = clustered(rows, centres, rng)
    queries, _ = clustered(QUERIES, centres, rng)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "base"
        ids = np.arange(rows)
        wall, cpu = time.perf_counter(), time.process_time()
        info = write_base(
            folder, codes, ids, ids, np.zeros(rows, np.int32), metadata_of(chosen),
            recall_target=0.99, flat_up_to=200_000, seed=0,
        )  # fmt: skip
        seconds = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        report("build", {**seconds, "lists": info.lists, "probes": info.probes, "curve": info.recall_curve})
        del codes
        report("cold", measure_cold(folder))
        faiss.omp_set_num_threads(1)
        base = Base.open(folder)
        index = Index.open(base, BITS)
        for k in (20, WINDOW) if info.lists else ():
            searches: dict[str, Callable[[U8], object]] = {
                "visearch": partial(index.search, k=k),
                "faiss_heap": bare_faiss(base, k, use_heap=True),
                "faiss_counting": bare_faiss(base, k, use_heap=False),
            }
            figures = alternate(searches, queries)
            quickest = min(figures["faiss_heap"]["p50"], figures["faiss_counting"]["p50"])
            report(f"search k={k}", {**figures, "overhead_ms": figures["visearch"]["p50"] - quickest})
        filters = {share: Filter.parse({share: 0}) for share in SHARES} | {"by cluster": Filter.parse({"group": 1})}
        searches = {"none": partial(index.search, k=WINDOW)}
        searches |= {name: partial(index.search, k=WINDOW, filter=filter) for name, filter in filters.items()}
        first = {name: times_ms(search, queries[:1])[0] for name, search in searches.items()}
        figures = alternate(searches, queries)
        report("no filter", {**figures["none"], "recall": recall(index, queries, None)})
        for name, filter in filters.items():
            ratio = figures[name]["p95"] / figures["none"]["p95"]
            found = recall(index, queries, filter)
            report(f"filter {name}", {**figures[name], "p95_ratio": ratio, "recall": found, "first_ms": first[name]})
        exact: dict[str, Callable[[U8], object]] = {
            "visearch": partial(index.search, k=WINDOW, exact=True),
            "faiss": lambda query: faiss.knn_hamming(query[None], base.codes, WINDOW, variant="mc"),
        }
        report("exact", alternate(exact, queries[:50]))
        report("add one, remove one", measure_adds(index, rng))


if __name__ == "__main__":
    main()
