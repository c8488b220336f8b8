"""Search over shards on a local Ray: what the root adds to the slowest shard, and whether the answers are one index's.

    .venv/bin/python benchmarks/bench_shards.py [--rows 1000000] [--shards 4]

Codes are those of bench_index.py. `slowest` is what the slowest shard's index took, as it measured it; `overhead` is
the rest of what the root waited: asking all, the way there and back, merging. Where there are fewer cores than shards,
a shard that waits for its core counts as overhead too; `empty` is the same question to shards without codes, which is
the overhead alone. Milliseconds, wall clock, one question at a time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_index import BITS, CLUSTER, QUERIES, WINDOW, clustered, report

from visearch.base import Base, stamp_of, write_base
from visearch.codes import U8
from visearch.index import Candidates, Index
from web.shard import HERE, Files, Question, Sharding, merged
from web.sharded import Shards, State, cluster

NEAREST = 20


def ask(shards: Shards, state: State, code: U8) -> tuple[Candidates, float, float]:
    """The answer; milliseconds that it took, and that the slowest shard took of them."""
    start = time.perf_counter()
    found = shards.ask(state, Question(state.key, 0, code, WINDOW, None, False, None))
    answer = merged([each.candidates for each in found.values()], WINDOW, 1.0)
    took = (time.perf_counter() - start) * 1000
    assert len(found) == shards.count
    return answer, took, max(each.milliseconds for each in found.values())


def percentiles(name: str, values: list[float]) -> dict[str, float]:
    """p50 and p95."""
    return {f"{name}_p{p}": float(np.percentile(values, p)) for p in (50, 95)}


def measure(shards: Shards, folder: Path, queries: U8) -> dict[str, object]:
    """The times of questions to shards of these files, and how their answers compare with those of one index."""
    base = Base.open(folder)
    one = Index.open(base, BITS)
    start = time.perf_counter()
    state = shards.open(Files(folder, stamp_of(folder)), BITS, base.item_ids)
    seconds = time.perf_counter() - start
    took, slowest, equal, found_by_one, found_by_all = [], [], 0, 0, 0
    for query in queries:
        answer, milliseconds, slow = ask(shards, state, query)
        took.append(milliseconds)
        slowest.append(slow)
        expected = one.search(query, WINDOW)
        furthest = one.search(query, NEAREST, exact=True).distances[-1]
        equal += np.array_equal(answer.code_ids, expected.code_ids)
        found_by_one += int(np.count_nonzero(expected.distances[:NEAREST] <= furthest))
        found_by_all += int(np.count_nonzero(answer.distances[:NEAREST] <= furthest))
    overhead = [whole - part for whole, part in zip(took, slowest, strict=True)]
    return {
        "lists": base.info.lists,
        "load_seconds": seconds,
        **percentiles("total", took),
        **percentiles("slowest", slowest),
        **percentiles("overhead", overhead),
        "equal": f"{equal} of {len(queries)}",
        "recall_one": found_by_one / (NEAREST * len(queries)),
        "recall_shards": found_by_all / (NEAREST * len(queries)),
    }


def main() -> None:
    """Build, then measure."""
    parser = argparse.ArgumentParser(description="Measure search over shards.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=4)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 256, (max(arguments.rows // CLUSTER, 1), BITS // 8), np.uint8)
    codes, _ = clustered(arguments.rows, centres, rng)
    queries, _ = clustered(QUERIES, centres, rng)
    ids, regions = np.arange(arguments.rows), np.zeros(arguments.rows, np.int32)
    with tempfile.TemporaryDirectory() as scratch, cluster(Sharding(HERE, arguments.shards, 1), 1):
        shards = Shards(arguments.shards, 1, lambda: None)
        try:
            shards.wait_until_ready()
            empty = shards.open(None, BITS, np.empty(0, np.int64))
            for query in queries:  # the first ones warm up
                ask(shards, empty, query)
            report("empty", percentiles("total", [ask(shards, empty, query)[1] for query in queries]))
            for name, flat_up_to in (("flat", arguments.rows), ("lists", 0)):
                folder = Path(scratch) / name
                write_base(
                    folder, codes, ids, ids, regions, ({} for _ in ids),
                    recall_target=0.99, flat_up_to=flat_up_to, seed=0,
                )  # fmt: skip
                report(name, measure(shards, folder, queries))
        finally:
            shards.close()


if __name__ == "__main__":
    main()
