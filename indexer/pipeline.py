"""The indexing pipeline: the caller's thread scans and commits, one thread a core decodes and embeds.

Plain threads suffice, because Pillow and OpenVINO release the GIL.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from time import monotonic

from indexer.sources import Scan
from visearch.detector import Detector
from visearch.embedder import Embedder
from visearch.ingest import Claims, Failed, File, Outcome, Same, commit, prepare
from visearch.machine import usable_cores
from visearch.store import Store

CHUNK_FILES = 16
CHUNKS_IN_FLIGHT = 4  # for each thread
COMMIT_FILES = 64
COMMIT_SECONDS = 1.0


@dataclass
class Progress:
    """What is on disk: how many files were added, updated, skipped or turned out to be unchanged."""

    counts: Counter[str] = field(default_factory=Counter)
    skipped: list[Failed] = field(default_factory=list)  # by the newest commit


class Pipeline:
    """One run over the changed files of a scan. `embedder` is called when the first picture has to be embedded; with a
    `detector` the files that ask for it are also indexed by the objects in them.

    Once `stop` is set no new files are taken; those being worked on are finished and committed.
    """

    def __init__(
        self,
        store: Store,
        embedder: Callable[[], Embedder],
        stop: threading.Event,
        detector: Detector | None = None,
    ) -> None:
        self._detector = detector
        self._store = store
        self._embedder = embedder
        self._stop = stop
        self._threads = usable_cores()
        self._claims = Claims()
        self._ready: list[Outcome] = []
        self._waiting: list[Same] = []  # for the first picture with their content
        self._unusable: dict[bytes, Failed] = {}  # contents of this run that cannot be decoded
        self._progress = Progress()

    def run(self, scan: Scan) -> Iterator[Progress]:
        """Work through the scan; yields after every commit, so what it tells of is on disk.

        Raises:
            VisearchError: from the sources, the model or the store; everything committed before stays.
        """
        committed = monotonic()
        with ThreadPoolExecutor(self._threads, "embed") as pool:
            flying: set[Future[list[Outcome]]] = set()
            chunk: list[File] = []
            try:
                for found in scan.changed(self._stop):
                    if isinstance(found, Failed):
                        self._ready.append(found)
                    else:
                        chunk.append(found)
                    if len(chunk) == CHUNK_FILES:
                        flying.add(self._submit(pool, chunk))
                        chunk = []
                    flying = self._land(flying, CHUNKS_IN_FLIGHT * self._threads)
                    if len(self._ready) >= COMMIT_FILES or (self._ready and monotonic() - committed > COMMIT_SECONDS):
                        yield self._commit(scan)
                        committed = monotonic()
                if chunk and not self._stop.is_set():
                    flying.add(self._submit(pool, chunk))
                while flying:
                    if self._stop.is_set():
                        flying = {future for future in flying if not future.cancel()}
                    flying = self._land(flying, len(flying))
                    yield self._commit(scan)
                while self._waiting:  # their first picture was removed meanwhile: each is taken anew
                    alone = [self._waiting.pop().file]
                    self._ready += prepare(alone, self._store, self._embedder, Claims(), self._detector)
                yield self._commit(scan)
            finally:
                pool.shutdown(cancel_futures=True)

    def _submit(self, pool: ThreadPoolExecutor, chunk: Sequence[File]) -> Future[list[Outcome]]:
        return pool.submit(prepare, chunk, self._store, self._embedder, self._claims, self._detector)

    def _land(self, flying: set[Future[list[Outcome]]], most: int) -> set[Future[list[Outcome]]]:
        """Take in what is done; wait for something where `most` or more are under way."""
        done, rest = wait(flying, timeout=None if len(flying) >= most else 0, return_when=FIRST_COMPLETED)
        for future in done:
            self._ready += future.result()
        return rest

    def _commit(self, scan: Scan) -> Progress:
        outcomes = [*self._ready, *self._waiting]
        self._ready, self._waiting = [], []
        for outcome in outcomes:
            if isinstance(outcome, Failed) and outcome.content:
                self._unusable[outcome.content] = outcome
        outcomes = [self._known_unusable(outcome) for outcome in outcomes]
        counts, self._waiting = commit(self._store, outcomes)
        waiting = {id(outcome) for outcome in self._waiting}
        done = [outcome for outcome in outcomes if id(outcome) not in waiting]
        scan.committed(done)
        for outcome in done:
            if not isinstance(outcome, Same) and outcome.content:
                self._claims.release(outcome.content)
        self._progress.counts += counts
        self._progress.skipped = [outcome for outcome in done if isinstance(outcome, Failed)]
        return self._progress

    def _known_unusable(self, outcome: Outcome) -> Outcome:
        first = self._unusable.get(outcome.content) if isinstance(outcome, Same) else None
        return Failed(outcome.file, first.content, first.reason, first.message) if first else outcome
