"""From a query to matches: candidates by Hamming distance -> re-rank -> fold the regions of an item -> cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from visearch import codes, images, settings
from visearch.codes import F32, F64, I64, U8
from visearch.embedder import WHOLE, Embedder
from visearch.errors import UsageError
from visearch.filters import Filter
from visearch.images import Box, Picture
from visearch.index import Added, Base, Candidates, Index, should_merge
from visearch.results import Match, Results
from visearch.store import REMOVED_ITEM, Generation, Reader, Store
from visearch.vectors import VectorFile


@dataclass(frozen=True)
class Query:
    """What is wanted of a search, beside the picture; see Collection.search. `excluded` is an item never returned."""

    limit: int
    max_distance: int | None = None
    filter: Filter | None = None
    exact: bool = False
    rerank: bool = True
    excluded: int | None = None


@dataclass
class Timer:
    """Milliseconds spent in each stage of a query."""

    took: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the block, adding to what the stage took before."""
        start = perf_counter()
        try:
            yield
        finally:
            self.took[name] = self.took.get(name, 0.0) + (perf_counter() - start) * 1000


@dataclass(frozen=True)
class Searcher:
    """Everything a query needs, at one serial of the store. `next_code` is the first code id it does not know."""

    store: Store
    generation: Generation
    index: Index
    base: Base | None
    mapped: VectorFile
    serial: int
    next_code: int

    @classmethod
    def start(cls, store: Store, generation: Generation, base: Base | None, mapped: VectorFile) -> Searcher:
        """A searcher that knows the index files only; `caught_up` brings it up to date."""
        index = Index.open(base, generation.bits)
        next_code = int(base.code_ids[-1]) + 1 if base is not None and base.rows else 0
        return cls(store, generation, index, base, mapped, generation.base_serial, next_code)

    def is_current(self, generation: Generation, serial: int) -> bool:
        """Whether nothing has changed since."""
        return self.serial == serial and self.generation.number == generation.number

    def same_base(self, generation: Generation) -> bool:
        """Whether this searcher stands on the newest index files of the active generation."""
        return (self.generation.number, self.generation.base) == (generation.number, generation.base)

    def caught_up(self, reader: Reader, generation: Generation) -> Searcher:
        """The searcher of this moment: with the codes added since, without those removed. Costs what has changed."""
        blocks = [
            (rows.code_ids[live], rows.owners[live], rows.codes[live])
            for rows in reader.code_rows(generation, self.next_code)
            for live in [rows.owners["item_id"] != REMOVED_ITEM]
        ]
        code_ids = np.concatenate([np.empty(0, np.int64), *(block[0] for block in blocks)])
        item_ids = np.concatenate([np.empty(0, np.int64), *(block[1]["item_id"] for block in blocks)])
        regions = np.concatenate([np.empty(0, np.int32), *(block[1]["region"] for block in blocks)])
        packed = np.concatenate([np.empty((0, generation.bits // 8), np.uint8), *(block[2] for block in blocks)])
        items = [reader.item(int(item_id)) for item_id in item_ids]
        metadata = [item.metadata if item is not None else {} for item in items]
        removed = reader.removed_since(generation.number, self.serial)
        removed = removed[removed < self.next_code]
        self.index.apply(Added(code_ids, item_ids, regions, packed, metadata), removed)
        return replace(self, generation=generation, serial=reader.serial, next_code=generation.next_code)

    def should_merge(self) -> bool:
        """Whether writing new index files now is cheaper than going on without."""
        return should_merge(self.base.rows if self.base else 0, self.index.delta_rows, self.index.dead_rows)

    # Queries

    def like_item(self, item_id: int, query: Query) -> Results:
        """Items like an item, by its whole picture."""
        timer = Timer()
        with timer.stage("total"):
            with self.store.read() as reader:
                code_ids = reader.code_ids(self.generation.number, item_id)
                if not len(code_ids):
                    raise UsageError(f"item {item_id}: no such item in {self.store.path.parent}")
                code = reader.codes_at(self.generation, code_ids[:1])[0]
                row = reader.vectors_at(self.generation, code_ids[:1])
            vector = codes.dequantize(*codes.from_rows(row))[0]
            matches = self._matches(code, vector, query, timer)
        return self._results(matches, query, timer)

    def like_picture(self, picture: bytes | Picture, box: Box | None, query: Query, model: Embedder) -> Results:
        """Items like a picture, or like the region `box` of it."""
        timer = Timer()
        with timer.stage("total"):
            region = WHOLE if box is None else images.validate_box(box)
            with timer.stage("decode"):
                if isinstance(picture, bytes):
                    picture = images.decode(picture, min_side=model.min_side(), box=region)
                prepared = model.prepare(picture, region)
            with timer.stage("embed"):
                embedding = model.embed(prepared[None])
                code = codes.pack(embedding)[0]
            matches = self._matches(code, embedding[0], query, timer)
        return self._results(matches, query, timer)

    def _results(self, matches: list[Match], query: Query, timer: Timer) -> Results:
        def thumbnail(item_id: int) -> bytes | None:
            with self.store.read() as reader:
                return reader.thumbnail(item_id)

        model = f"{self.generation.model} {self.generation.version}"
        return Results(tuple(matches), timer.took, query.rerank, model, self.generation.number, thumbnail)

    def _matches(self, code: U8, vector: F32, query: Query, timer: Timer) -> list[Match]:
        """The best `limit` items. The window grows only where folding or removals leave too few of it."""
        wanted = max(query.limit, int(settings.number("window"))) + (query.excluded is not None)
        while True:
            with timer.stage("search"):
                found = self.index.search(
                    code, wanted, filter=query.filter, exact=query.exact, max_distance=query.max_distance
                )
            # Read after the index was asked: another thread may have brought it further than an older reader sees.
            with self.store.read() as reader:
                with timer.stage("rerank"):
                    order, scores = self._order(reader, found, vector, query)
                with timer.stage("fetch"):
                    matches = self._fetch(reader, found, order, scores, query.limit)
            if len(matches) == query.limit or len(found.code_ids) < wanted:
                return matches
            wanted *= 4

    def _order(self, reader: Reader, found: Candidates, vector: F32, query: Query) -> tuple[I64, F64]:
        """Places in `found` of the best region of each item, best first, and the score of every place."""
        if query.rerank:
            rows, _ = codes.from_rows(self.mapped.gather(found.code_ids, reader))
            scores = codes.cosine(vector, rows).astype(np.float64)
            order = np.lexsort((found.regions, found.item_ids, found.distances, -scores))
        else:
            scores = 1 - 2 * found.distances / self.generation.bits
            order = np.arange(len(scores))
        if query.excluded is not None:
            order = order[found.item_ids[order] != query.excluded]
        _, first = np.unique(found.item_ids[order], return_index=True)
        return order[np.sort(first)], scores

    def _fetch(self, reader: Reader, found: Candidates, order: I64, scores: F64, limit: int) -> list[Match]:
        matches: list[Match] = []
        for place in order:
            if len(matches) == limit:
                break
            item = reader.item(int(found.item_ids[place]))
            if item is None:  # removed since this searcher caught up
                continue
            region, distance = int(found.regions[place]), int(found.distances[place])
            score = float(scores[place])
            box = item.regions[region]
            matches.append(Match(item.item_id, region, box, distance, score, item.source, item.metadata))
        return matches
