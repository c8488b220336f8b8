"""From a query to matches: candidates by Hamming distance -> re-rank -> fold the regions of an item -> fold
near-duplicates -> cut. What is left of the candidates is the query's window, from which its pages come."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np

from visearch import codes, images, settings
from visearch.codes import F32, I64, U8
from visearch.embedder import WHOLE, Embedder
from visearch.errors import UsageError
from visearch.filters import Exists, Filter
from visearch.images import Box, Picture
from visearch.index import Added, Base, Candidates, IndexLike, should_merge
from visearch.results import Match, Results
from visearch.store import REMOVED_ITEM, Generation, Reader, Store
from visearch.vectors import VectorFile
from visearch.window import Window, relevant

MOST_GROWN = 16  # times the window that one is at most: its vectors are in memory at once
PRODUCT = "product"  # the metadata key that names what is for sale

Heads = list[tuple[int, int]]
"""Rows of a window to show, each with the number of rows folded into it; see window.Window.heads."""


@dataclass(frozen=True)
class Query:
    """What is wanted of a search, beside the picture; see Collection.search. `excluded` is an item never returned;
    `radius` in bits folds near-duplicates, `by_product` what is of one product, and `diversity` in 0-1 spreads the
    matches, see window.Window.heads."""

    limit: int
    max_distance: int | None = None
    filter: Filter | None = None
    exact: bool = False
    rerank: bool = True
    excluded: int | None = None
    radius: int | None = None
    by_product: bool = False
    diversity: float = 0.0


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
    """Everything a query needs, its model too, at one serial of the store: what one searcher answers is of one
    generation. `load` gives the model; `next_code` is the first code id it does not know."""

    store: Store
    generation: Generation
    index: IndexLike
    base: Base | None
    mapped: VectorFile
    load: Callable[[], Embedder]
    serial: int
    next_code: int

    @classmethod
    def start(
        cls,
        store: Store,
        generation: Generation,
        base: Base | None,
        mapped: VectorFile,
        index: IndexLike,
        load: Callable[[], Embedder],
    ) -> Searcher:
        """A searcher that knows the index files only, and an index of those; `caught_up` brings both up to date."""
        next_code = int(base.code_ids[-1]) + 1 if base is not None and base.rows else 0
        return cls(store, generation, index, base, mapped, load, generation.base_serial, next_code)

    @property
    def embedder(self) -> Embedder:
        """The model of its generation, loaded when it is first needed."""
        return self.load()

    @property
    def model(self) -> str:
        """Name and version of that model."""
        return f"{self.generation.model} {self.generation.version}"

    def is_current(self, generation: Generation, serial: int) -> bool:
        """Whether nothing has changed since."""
        mine = (self.serial, self.generation.number, self.next_code)
        return mine == (serial, generation.number, generation.next_code)

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
        if len(code_ids) or len(removed):
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
            window, heads = self._ranked(code, vector, query, timer)
            return self.answer(window, query, timer, heads=heads)

    def like_picture(self, picture: bytes | Picture, box: Box | None, query: Query) -> Results:
        """Items like a picture, or like the region `box` of it."""
        timer = Timer()
        with timer.stage("total"):
            region = WHOLE if box is None else images.validate_box(box)
            with timer.stage("decode"):
                if isinstance(picture, bytes):
                    picture = images.decode(picture, min_side=self.embedder.min_side(), box=region)
            (embedded,) = self.embed(picture, [region], timer)
            window, heads = self._ranked(*embedded, query, timer)
            size = {"width": picture.width, "height": picture.height}
            return self.answer(window, query, timer, heads=heads, box=region, **size)

    def embed(self, picture: Picture, boxes: Sequence[Box], timer: Timer) -> list[tuple[U8, F32]]:
        """Code uint8 [D/8] and embedding float32 [D] of each of these regions of a picture, embedded in one batch."""
        if not boxes:
            return []
        model = self.embedder
        with timer.stage("decode"):
            prepared = np.stack([model.prepare(picture, box) for box in boxes])
        with timer.stage("embed"):
            embeddings = model.embed(prepared)
            return list(zip(codes.pack(embeddings), embeddings, strict=True))

    def window(self, code: U8, vector: F32, query: Query, timer: Timer) -> Window:
        """The window of a query. It grows beyond its setting only where folding or removals leave too few items, and to
        MOST_GROWN times that: among tens of thousands of copies of one picture there may be fewer matches than asked
        for."""
        return self._ranked(code, vector, query, timer)[0]

    def _ranked(self, code: U8, vector: F32, query: Query, timer: Timer) -> tuple[Window, Heads]:
        """The window of a query, and the first of its rows to show were they not diversified: one more than asked for,
        if there are so many."""
        wanted = max(query.limit, int(settings.number("window"))) + (query.excluded is not None)
        most = MOST_GROWN * wanted
        while True:
            with timer.stage("search"):
                found = self.index.search(
                    code, wanted, filter=query.filter, exact=query.exact, max_distance=query.max_distance
                )
            # Read after the index was asked: another thread may have brought it further than an older reader sees.
            with timer.stage("rerank"), self.store.read() as reader:
                window = self._rank(reader, found, vector, query)
                heads = window.heads(query.limit + 1, query.radius, alike=self._alike(reader, window))
            if len(heads) >= query.limit or len(found.code_ids) < wanted or wanted == most:
                return window, heads
            wanted = min(4 * wanted, most)

    def _rank(self, reader: Reader, found: Candidates, vector: F32, query: Query) -> Window:
        """The best region of each item, best first."""
        packed = np.empty((len(found.code_ids), 0), np.uint8)
        needed = query.radius is not None or query.diversity > 0
        if query.rerank:
            rows, _ = codes.from_rows(self.mapped.gather(found.code_ids, reader))
            scores = codes.cosine(vector, rows).astype(np.float64)
            order = np.lexsort((found.regions, found.item_ids, found.distances, -scores))
            if needed:  # of an int8 copy: values that were rounded to 0 aside, these are the codes
                packed = np.packbits(rows > 0, axis=1)
        else:
            scores = 1 - 2 * found.distances / self.generation.bits
            order = np.arange(len(scores))
            if needed:
                packed = reader.codes_at(self.generation, found.code_ids)
        if query.excluded is not None:
            order = order[found.item_ids[order] != query.excluded]
        _, first = np.unique(found.item_ids[order], return_index=True)
        order = order[np.sort(first)]
        if reader.serial != self.serial:  # something was removed since this searcher caught up, perhaps of these
            order = order[[reader.item(int(item_id)) is not None for item_id in found.item_ids[order]]]
        scores, item_ids = scores[order], found.item_ids[order]
        return Window(
            item_ids,
            found.regions[order],
            found.distances[order],
            scores,
            packed[order],
            relevant(scores),
            _products(reader, item_ids) if query.by_product else item_ids,
            found.coverage,
        )

    def answer(
        self,
        window: Window,
        query: Query,
        timer: Timer,
        start: int = 0,
        heads: Heads | None = None,
        **echo: Any,
    ) -> Results:
        """The matches of a window from place `start` on; `heads` are its first rows where they are known, as of
        `_ranked`, and `echo` further fields of the results."""

        def thumbnail(item_id: int) -> bytes | None:
            with self.store.read() as reader:
                return reader.thumbnail(item_id)

        def turn(start: int, limit: int) -> Results:
            timer = Timer()
            with timer.stage("total"):
                return self.answer(window, replace(query, limit=limit), timer, start, **echo)

        with timer.stage("fetch"), self.store.read() as reader:
            stop = start + query.limit
            if heads is None or query.diversity:
                heads = window.heads(stop + 1, query.radius, query.diversity, self._alike(reader, window))
            shown = [(row, self._match(reader, window, row, folded)) for row, folded in heads[start:stop]]
        matches = [(row, match) for row, match in shown if match is not None]
        return Results(
            tuple(match for _, match in matches),
            timer.took,
            query.rerank,
            self.model,
            self.generation.number,
            self.generation.bits,
            thumbnail,
            relevant=sum(bool(window.relevant[row]) for row, _ in matches),
            next=stop if len(heads) > stop else None,
            coverage=window.coverage,
            turn=turn,
            **echo,
        )

    @functools.cached_property
    def _has_products(self) -> bool:
        anything = Filter(((PRODUCT, Exists()),))
        code = np.zeros(self.generation.bits // 8, np.uint8)
        found = self.index.search(code, 1, filter=anything)
        return len(found.code_ids) > 0 or found.coverage < 1  # yes is never wrong: each is compared then

    def _alike(self, reader: Reader, window: Window) -> Callable[[int, int], bool]:
        """Whether two rows of a window may be one: two products are two offers, however alike their pictures are."""
        if not self._has_products:
            return lambda row, other: True

        @functools.cache
        def product(row: int) -> object:
            return _product(reader, int(window.item_ids[row]))

        return lambda row, other: product(row) == product(other)

    def _match(self, reader: Reader, window: Window, row: int, duplicates: int) -> Match | None:
        item = reader.item(int(window.item_ids[row]))
        if item is None:  # removed since the window was made
            return None
        region = int(window.regions[row])
        # An update may have left the item with fewer regions than it had when the window was made.
        box = item.regions[region] if region < len(item.regions) else WHOLE
        return Match(
            item.item_id,
            region,
            box,
            int(window.distances[row]),
            float(window.scores[row]),
            item.source,
            item.metadata,
            item.width,
            item.height,
            duplicates,
            item.content,
        )


def _product(reader: Reader, item_id: int) -> object:
    """The product that an item shows, whatever its catalogue calls it; None where it shows none."""
    item = reader.item(item_id)
    return None if item is None else item.metadata.get(PRODUCT)


def _products(reader: Reader, item_ids: I64) -> I64:
    """A number for the product of each item, int64 [n]: the same only where the product is."""
    # Of its text: -1 and -2 have one hash, a list has none.
    return np.array([hash(repr(_product(reader, int(item_id)))) for item_id in item_ids], np.int64)
