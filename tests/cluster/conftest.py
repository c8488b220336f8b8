"""A Ray cluster of two nodes on this machine: real processes, started once for all tests that need one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

GONE_WITHIN = 60  # seconds
PATIENT = {  # Ray gives its processes 30 seconds to start, which are few on a busy machine
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_gcs_server_request_timeout_seconds": "300",
    "RAY_health_check_timeout_ms": "60000",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextmanager
def two_nodes(cpus: int) -> Iterator[Any]:
    """A `ray.cluster_utils.Cluster` of two nodes with so many CPUs each, as Ray counts them."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patched:
        warnings.simplefilter("ignore")  # Ray leaves files open that its processes write to
        for name, value in PATIENT.items():
            patched.setenv(name, value)  # before Ray is imported, which reads them
        cluster_utils = pytest.importorskip("ray.cluster_utils", reason="needs Ray: pip install '.[scale]'")
        before = psutil.Process().children(recursive=True)
        cluster = cluster_utils.Cluster()
        started: set[psutil.Process] = set()
        try:
            for _ in range(2):
                cluster.add_node(wait=True, num_cpus=cpus, object_store_memory=100_000_000, include_dashboard=False)
            started = set(psutil.Process().children(recursive=True)).difference(before)
            yield cluster
        finally:
            # Later children of this process may be those of other tests; Ray's own start all others of Ray's.
            started.update(*map(descendants, tuple(started)))
            cluster.shutdown()
            _, alive = psutil.wait_procs(started, timeout=GONE_WITHIN)
    assert not alive, "Ray processes outlive the tests"


def descendants(process: psutil.Process) -> list[psutil.Process]:
    """All children of a process and theirs; none of one that has ended."""
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The address of a cluster, of which each node has room for four processes."""
    with two_nodes(cpus=4) as cluster:
        yield cluster.address


def shard_processes() -> list[psutil.Process]:
    """The processes of all shards there are in clusters that this process started."""
    found = []
    for each in psutil.Process().children(recursive=True):
        try:
            if each.cmdline()[:1] and each.cmdline()[0].startswith("ray::Shard"):
                found.append(each)
        except psutil.NoSuchProcess:
            continue
    return found
