"""Work in chunks through threads into batches for the store; what indexing and a backfill share.

The caller's thread finds the work and commits the batches, other threads do what costs. Plain threads suffice, because
Pillow and OpenVINO release the GIL.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from time import monotonic, process_time
from typing import TypeVar

from visearch.machine import usable_cores

CHUNK = 16  # pieces of work that a thread takes at once
CHUNKS_IN_FLIGHT = 4  # for each thread
CHUNK_BYTES = 16 << 20  # or that has so much in memory
BATCH = 64  # results that are worth a transaction
BATCH_SECONDS = 1.0
MOST_CREDIT = 1.0  # seconds of work that an idle time may be made up for by

Work = TypeVar("Work")
Done = TypeVar("Done")


class Load:
    """How much of the machine a job may take: a share of the CPU time of its cores, in 0-1."""

    def __init__(self, share: float = 1.0) -> None:
        cores = usable_cores()
        self.threads = max(1, math.ceil(share * cores))
        self._budget = share * cores if share < 1 else math.inf  # seconds of CPU time a second
        self._lock = threading.Lock()
        self._since, self._used = monotonic(), process_time()

    def rest(self, stop: threading.Event) -> None:
        """Wait until what the process has used is within the share again, or `stop` is set."""
        if self._budget == math.inf:
            return
        with self._lock:
            ahead = (process_time() - self._used) / self._budget - (monotonic() - self._since)
            if ahead < -MOST_CREDIT:
                self._since, self._used = monotonic(), process_time()
        if ahead > 0:
            stop.wait(ahead)


def flow(
    work: Iterable[Work],
    prepare: Callable[[list[Work]], list[Done]],
    stop: threading.Event,
    load: Load,
    weight: Callable[[Work], int] = lambda _: 0,
) -> Iterator[list[Done]]:
    """Call `prepare` on chunks of the work in threads, and yield what comes out, a batch at a time, in no order.
    `weight` is how many bytes a piece of work has in memory.

    Once `stop` is set no new work is taken; what is being worked on is finished and yielded.
    """
    yielded = monotonic()
    ready: list[Done] = []
    flying: set[Future[list[Done]]] = set()
    chunk: list[Work] = []
    held = 0

    def run(chunk: list[Work]) -> list[Done]:
        try:
            return prepare(chunk)
        finally:
            load.rest(stop)

    def land(most: int) -> None:
        """Take in what is done; wait for something where `most` or more are under way."""
        nonlocal flying
        done, flying = wait(flying, timeout=None if len(flying) >= most else 0, return_when=FIRST_COMPLETED)
        for future in done:
            ready.extend(future.result())

    with ThreadPoolExecutor(load.threads, "embed") as pool:
        try:
            for each in work:
                chunk.append(each)
                held += weight(each)
                if len(chunk) == CHUNK or held >= CHUNK_BYTES:
                    flying.add(pool.submit(run, chunk))
                    chunk, held = [], 0
                land(CHUNKS_IN_FLIGHT * load.threads)
                if len(ready) >= BATCH or (ready and monotonic() - yielded > BATCH_SECONDS):
                    yield ready
                    ready, yielded = [], monotonic()
            if chunk and not stop.is_set():
                flying.add(pool.submit(run, chunk))
            while flying:
                if stop.is_set():
                    flying = {future for future in flying if not future.cancel()}
                land(len(flying))
                yield ready
                ready = []
        finally:
            pool.shutdown(cancel_futures=True)
