"""The indexing pipeline: what a scan finds changed flows through `ingest.prepare` and `ingest.commit`."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from indexer.flow import CHUNK, Load, flow
from indexer.scan import Scan
from visearch.detector import Detector
from visearch.embedder import Embedder
from visearch.ingest import Claims, Embedded, Failed, File, Outcome, Same, commit, prepare
from visearch.store import Store


@dataclass
class Progress:
    """What is on disk: how many files were added, updated, skipped or turned out to be unchanged."""

    counts: Counter[str] = field(default_factory=Counter)
    skipped: list[Failed] = field(default_factory=list)  # by the newest commit


class Pipeline:
    """One run over the changed files of a scan. `embedder` gives the model of the active generation, and is called
    where pictures have to be embedded; with a `detector` the files that ask for it are also indexed by the objects in
    them.

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
        self._claims = Claims()
        self._waiting: list[Same] = []  # for the first picture with their content
        self._outdated: list[File] = []  # embedded by a model that answers no longer
        self._unusable: dict[bytes, Failed] = {}  # contents of this run that cannot be decoded
        self._progress = Progress()

    def run(self, scan: Scan) -> Iterator[Progress]:
        """Work through the scan; yields after every commit, so what it tells of is on disk.

        Raises:
            VisearchError: from the sources, the model or the store; everything committed before stays.
        """
        yield from self.commit(scan, flow(scan.changed(self._stop), self._prepare, self._stop, Load(), _bytes))

    def commit(self, scan: Scan, batches: Iterable[Sequence[Outcome]]) -> Iterator[Progress]:
        """As `run`, of what was read, decoded and embedded elsewhere; a batch is taken once that before it is on
        disk."""
        for ready in batches:
            yield self._commit(scan, ready)
        # Their first picture was removed meanwhile, or another model has come to answer: they are taken anew.
        while not self._stop.is_set() and (again := [*self._outdated, *(same.file for same in self._waiting)]):
            chunk, self._outdated, self._waiting = again[:CHUNK], again[CHUNK:], []
            yield self._commit(scan, prepare(chunk, self._store, self._embedder, Claims(), self._detector))
        yield self._commit(scan, [])

    def _prepare(self, chunk: Sequence[File | Failed]) -> list[Outcome]:
        files = [each for each in chunk if isinstance(each, File)]
        failed = [each for each in chunk if isinstance(each, Failed)]
        return [*failed, *prepare(files, self._store, self._embedder, self._claims, self._detector)]

    def _commit(self, scan: Scan, ready: Sequence[Outcome]) -> Progress:
        outcomes = [*ready, *self._waiting]
        for outcome in outcomes:
            if isinstance(outcome, Failed) and outcome.content:
                self._unusable[outcome.content] = outcome
        outcomes = [self._known_unusable(outcome) for outcome in outcomes]
        counts, unresolved = commit(self._store, outcomes)
        self._waiting = [outcome for outcome in unresolved if isinstance(outcome, Same)]
        self._outdated += [outcome.file for outcome in unresolved if isinstance(outcome, Embedded)]
        left = {id(outcome) for outcome in unresolved}
        done = [outcome for outcome in outcomes if id(outcome) not in left]
        scan.committed(done)
        for outcome in outcomes:
            if not isinstance(outcome, Same) and outcome.content:
                self._claims.release(outcome.content)
        self._progress.counts += counts
        self._progress.skipped = [outcome for outcome in done if isinstance(outcome, Failed)]
        return self._progress

    def _known_unusable(self, outcome: Outcome) -> Outcome:
        first = self._unusable.get(outcome.content) if isinstance(outcome, Same) else None
        return Failed(outcome.file, first.content, first.reason, first.message) if first else outcome


def _bytes(found: File | Failed) -> int:
    return len(found.data or b"") if isinstance(found, File) else 0
