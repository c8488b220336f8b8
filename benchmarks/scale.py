"""What N pictures need, from costs measured on two cores, and what fan-out over shards does to latency.

    .venv/bin/python benchmarks/scale.py [--pictures 100e6 10e9] [--cores 32] [--memory 128] [--queries 230] ...
    .venv/bin/python benchmarks/scale.py --measure       # pictures a second that one store commits, on this machine

The plan is arithmetic on `Costs`; every price, and the size of a machine, is an argument. The simulation draws the
time of every shard for 20,000 questions: log-normal, and now and then a straggler; the answer waits for the slowest.
A hedged request asks a second replica once the first has taken longer than 95% do (Dean, Barroso: The Tail at Scale,
2013). It has no queues: it holds where shards are mostly idle.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DAY, MONTH = 86_400.0, 30 * 86_400.0
SHARDS = (1, 4, 16, 64, 256, 1000)
QUESTIONS = 20_000
BITS = 2048
THUMBNAIL = 6400  # bytes, before LMDB's pages


@dataclass(frozen=True)
class Costs:
    """Measured on two cores with AVX-512, 2,048-bit codes: CPU seconds, bytes. docs/scale.md says where.

    picture: to decode (2 MP), embed and commit one. build: to index a million codes. upload: to decode and embed a
    query; root: to re-rank its window and read 20 matches. scan: to compare a code; share: of a shard's codes that are
    compared, at recall@20 of .99 on clustered codes; ask: a shard, beside the scan. code, vector: of the store; served:
    of a shard's memory; item: record, names and look-ups; thumbnail. commits: pictures a second that one store takes
    (--measure).
    """

    picture: float = 2 / 82
    build: float = 61.0
    upload: float = 0.021
    root: float = 0.0023
    scan: float = 8.3e-9
    share: float = 0.0092
    ask: float = 0.00013
    code: float = BITS / 8
    vector: float = 2 * (BITS + 2)  # in LMDB, and mapped
    served: float = 2 * BITS / 8 + 36
    item: float = 440
    thumbnail: float = 8192
    commits: float = 15_200


@dataclass(frozen=True)
class Machine:
    """What a machine has, and what is paid: cores, GB of memory; a core-hour, a GB of memory or of disk a month."""

    cores: int = 32
    memory: float = 128
    core_hour: float = 0.03
    memory_month: float = 2.5
    disk_month: float = 0.08


@dataclass(frozen=True)
class Plan:
    """What so many pictures need. Hours are those of one machine with all its cores."""

    pictures: float
    embed_hours: float
    embed_price: float
    commit_hours: float
    build_hours: float
    disk: float
    vectors: float
    served: float
    shards: int
    search: float
    query: float
    cores: float
    machines: int
    month: float


def plan(pictures: float, queries: float, shard: float, replicas: int, costs: Costs, machine: Machine) -> Plan:
    """For `queries` uploads a second on average (three times that at the peak) and shards of at most `shard` codes."""
    shards = math.ceil(pictures / shard)
    codes = pictures / shards
    search = costs.ask + codes * costs.share * costs.scan
    query = costs.upload + costs.root + shards * search
    served = pictures * costs.served * replicas / 1e9
    cores = 3 * queries * query / 0.6  # at the peak the cores are 60% busy, so that nobody waits for long
    machines = max(math.ceil(cores / machine.cores), math.ceil(served / (0.75 * machine.memory)))
    disk = pictures * (costs.code + costs.vector + costs.item + costs.thumbnail) / 1e9
    return Plan(
        pictures=pictures,
        embed_hours=pictures * costs.picture / machine.cores / 3600,
        embed_price=pictures * costs.picture / 3600 * machine.core_hour,
        commit_hours=pictures / costs.commits / 3600,
        build_hours=pictures / 1e6 * costs.build / machine.cores / 3600,
        disk=disk,
        vectors=pictures * costs.vector / 2 / 1e9,
        served=served,
        shards=shards,
        search=search * 1000,
        query=query * 1000,
        cores=cores,
        machines=machines,
        month=machines * (machine.cores * machine.core_hour * MONTH / 3600 + machine.memory * machine.memory_month)
        + disk * machine.disk_month,
    )


ROWS = {
    "embed, hours of one machine": ("embed_hours", "{:,.1f}"),
    "embed, price": ("embed_price", "{:,.0f}"),
    "commit to one store, hours": ("commit_hours", "{:,.1f}"),
    "build the index, hours of one machine": ("build_hours", "{:,.2f}"),
    "disk, GB": ("disk", "{:,.0f}"),
    "... of it the int8 copies that the root maps, GB": ("vectors", "{:,.0f}"),
    "memory of the shards and replicas, GB": ("served", "{:,.0f}"),
    "shards": ("shards", "{:,}"),
    "CPU of one shard for a query, ms": ("search", "{:,.2f}"),
    "CPU of a query in all, ms": ("query", "{:,.0f}"),
    "cores for the peak": ("cores", "{:,.0f}"),
    "machines that serve": ("machines", "{:,}"),
    "price a month": ("month", "{:,.0f}"),
}


def simulate(
    shards: int, median: float, spread: float, straggling: float, slower: float, *, hedged: bool
) -> tuple[NDArray[np.float64], float]:
    """Milliseconds that QUESTIONS answers take, and the share of requests sent twice.

    A shard takes `median` ms, log-normal with standard deviation `spread` of the logarithm; `straggling` of the
    requests take `slower` times as long. A hedged one goes to another replica after the 95th percentile; the first
    answer counts.
    """
    rng = np.random.default_rng(shards)

    def draw(count: int) -> NDArray[np.float64]:
        times: NDArray[np.float64] = median * np.exp(spread * rng.standard_normal(count))
        return times * np.where(rng.random(count) < straggling, slower, 1.0)

    patience = float(np.percentile(draw(200_000), 95))
    slowest, again = np.empty(QUESTIONS), 0
    for start in range(0, QUESTIONS, 1000):
        times = draw(1000 * shards)
        if hedged:
            late = np.flatnonzero(times > patience)
            times[late] = np.minimum(times[late], patience + draw(len(late)))
            again += len(late)
        slowest[start : start + 1000] = times.reshape(1000, shards).max(axis=1)
    return slowest, again / (QUESTIONS * shards)


def measure_commits(pictures: int) -> float:
    """Pictures a second that a store takes as `visearch index` commits them, with embedding already done."""
    from visearch import codes
    from visearch.collection import Collection
    from visearch.ingest import Embedded, File, commit

    rng = np.random.default_rng(1)
    rows = codes.to_rows(*codes.quantize(rng.standard_normal((pictures, BITS), np.float32)))
    packed, thumbnail = rng.integers(0, 256, (pictures, BITS // 8), np.uint8), rng.bytes(THUMBNAIL)
    with tempfile.TemporaryDirectory() as folder, Collection.open(Path(folder), create=True) as collection:
        with collection.store.write() as writer:
            first = writer.reserve_item_ids(pictures)
        begun = time.perf_counter()
        for start in range(0, pictures, 64):
            made = [
                Embedded(
                    file=File(first + i, f"/pictures/{i:08}.jpg", 1, 1, "/pictures", {"label": f"class {i % 100}"}),
                    content=i.to_bytes(32, "big"),
                    width=1600,
                    height=1200,
                    thumbnail=thumbnail,
                    codes=packed[i : i + 1],
                    vectors=rows[i : i + 1],
                    model=collection.generation.model_sha256,
                )
                for i in range(start, min(start + 64, pictures))
            ]
            commit(collection.store, made)
        return pictures / (time.perf_counter() - begun)


def main() -> None:
    """Print the plan and the simulation as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=float, nargs="+", default=[1e6, 1e8, 1e10])
    parser.add_argument("--queries", type=float, default=230, help="uploads a second, on average")
    parser.add_argument("--shard", type=float, default=25e6, help="codes of a shard at most")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--spread", type=float, default=0.35, help="of a shard's times: deviation of the logarithm")
    parser.add_argument("--straggling", type=float, default=0.01, help="share of the requests")
    parser.add_argument("--slower", type=float, default=20, help="times, a straggler")
    parser.add_argument("--measure", action="store_true", help="what one store commits, and nothing else")
    for each in fields(Machine):
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=float, default=each.default)
    arguments = parser.parse_args()
    if arguments.measure:
        print(f"{measure_commits(20_000):,.0f} pictures a second")
        return
    machine = Machine(**{each.name: getattr(arguments, each.name) for each in fields(Machine)})
    plans = [
        plan(pictures, arguments.queries, arguments.shard, arguments.replicas, Costs(), machine)
        for pictures in arguments.pictures
    ]
    print(f"| pictures | {' | '.join(f'{each.pictures:,.0f}' for each in plans)} |")
    print("|---|" + "---:|" * len(plans))
    for name, (field, form) in ROWS.items():
        print(f"| {name} | {' | '.join(form.format(getattr(each, field)) for each in plans)} |")
    shape = (arguments.spread, arguments.straggling, arguments.slower)
    median = plans[-1].search
    print(f"\nA shard takes {median:.1f} ms (median).\n")
    print(
        "| shards | p50, ms | p99, ms | p50 hedged | p99 hedged | requests sent twice |\n|---|---:|---:|---:|---:|---:|"
    )
    for shards in SHARDS:
        plain, _ = simulate(shards, median, *shape, hedged=False)
        hedged, twice = simulate(shards, median, *shape, hedged=True)
        cells = [f"{np.percentile(times, q):.1f}" for times in (plain, hedged) for q in (50, 99)]
        print(f"| {shards} | {' | '.join(cells)} | {twice:.1%} |")


if __name__ == "__main__":
    main()
