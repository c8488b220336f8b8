"""A collection: a folder with a store, its derived index files and a copy of its model. Open, search, change, close.

collection = Collection.open(".visearch")
for match in collection.search("chair.jpg", box=(0.2, 0.3, 0.7, 0.9), limit=10):
    print(match.score, match.source)
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from visearch import codes, embedder, ingest, models, remote, runtime, settings, sources, vectors
from visearch.base import Base, stamp_of, write_base
from visearch.codes import F16, F32, I8, I32, I64, U8
from visearch.embedder import Embedder
from visearch.errors import ImageError, IndexFileError, ModelError, StoreError, UsageError, VisearchError, naming
from visearch.files import TEMPORARY, fsync_folder, read_limited
from visearch.filters import Filter
from visearch.images import Box, Picture
from visearch.index import Index, IndexLike, should_merge
from visearch.leases import lease
from visearch.machine import check_installation
from visearch.results import Results
from visearch.search import Query, Searcher
from visearch.store import REMOVED_ITEM, Failure, Generation, Item, Reader, Store, Writer
from visearch.vectors import VectorFile

STORE, MODELS, INDEX = "store", "models", "index"
RAY = "ray"  # folders of jobs that are spread over a cluster
UPLOADS = "uploads"  # the folder for pictures that the collection keeps itself, and the origin of their items
FOLLOW_SECONDS = 0.2

Source = str | Path | bytes | Picture
"""A query picture: a file, its bytes, or decoded."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Corpus:
    """All live codes, by code id: code_ids int64 [N], item_ids int64 [N], regions int32 [N], codes uint8 [N, D/8],
    the int8 copies int8 [N, D] and their scales float16 [N]."""

    code_ids: I64
    item_ids: I64
    regions: I32
    codes: U8
    vectors: I8
    scales: F16


class Collection:
    """An open collection. Safe for threads; other processes may change it meanwhile, and are followed."""

    def __init__(
        self, path: Path, *, create: bool = False, model: str | Path | None = None, generation: int | None = None
    ) -> None:
        """See `open`."""
        check_installation()
        self.path = path
        self._pinned = generation
        if create and not (path / STORE).exists():
            embedder.load(models.resolve(model))  # without a model nothing is made
        self.store = Store(path / STORE, create=create)
        self._model = model
        self.fetches_urls = True  # a server leaves alone what an item says is at http(s)://
        self._lock, self._loading = threading.Lock(), threading.Lock()
        self._embedder: Embedder | None = None
        self._followed = False  # whether a thread opens what becomes active
        self._searcher: Searcher | None = None
        try:
            if create:
                self._create_generation()
            elif model:
                self._check_model(model)
            if generation is not None:
                with self.store.read() as reader:
                    self.named_generation(reader, generation)
        except BaseException:
            self.store.close()
            raise

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        create: bool = False,
        model: str | Path | None = None,
        generation: int | None = None,
    ) -> Collection:
        """Open the collection in a folder; with `create` make one where there is none.

        `model` is an .onnx file or a registry name. A new collection needs it, unless a model is shipped or named by
        VISEARCH_MODEL; a collection that has codes keeps a copy of the model that made them, and another one comes to
        it by `visearch backfill`. With a `generation` that one answers here, whichever is active.

        Raises:
            StoreError: no collection here, of another format, or broken.
            ModelError: no model is named, or it is not the one the codes were made with.
            UsageError: there is no such generation.
        """
        return cls(Path(path), create=create, model=model, generation=generation)

    def close(self) -> None:
        """Close the store. Nothing is lost without it."""
        self.store.close()

    def __enter__(self) -> Collection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The model and its generation

    @property
    def generation(self) -> Generation:
        """The generation that answers; StoreError where nothing was ever indexed."""
        with self.store.read() as reader:
            return self._active(reader)

    def _active(self, reader: Reader) -> Generation:
        generation = reader.generation(self._pinned)
        if generation is None and self._pinned is not None:
            raise StoreError(f"{self.path}: generation {self._pinned} was dropped meanwhile")
        if generation is None:
            raise StoreError(f"{self.path}: nothing was indexed yet; `visearch index FOLDER` does that")
        return generation

    def named_generation(self, reader: Reader, number: int) -> Generation:
        """The generation of this number; UsageError where there is none."""
        generation = reader.generation(number) if number > 0 else None
        if generation is None:
            there = ", ".join(str(each.number) for each in reader.generations()) or "none"
            raise UsageError(f"{self.path}: there is no generation {number}; there are: {there}")
        return generation

    def _create_generation(self) -> None:
        """Make the first generation, or check that the model named is that of the active one."""
        with self.store.read() as reader:
            exists = reader.generation() is not None
        if exists:  # a model that the environment names is for new collections
            if self._model:
                self._check_model(self._model)
            return
        model = embedder.load(models.resolve(self._model))
        self._keep_model(model)
        with self.store.write() as writer:
            if not writer.active:
                writer.activate(_generation_of(model, writer).number)
        self._embedder = model
        self._check_model(model.path)  # another process may have made it, with another model

    def add_generation(self, model: Embedder) -> Generation:
        """The generation of a model, made, without codes, where there is none; the folder keeps the model's file."""
        self._keep_model(model)
        with self.store.write() as writer:
            return _generation_of(model, writer)

    def _check_model(self, named: str | Path) -> None:
        with self.store.read() as reader:
            generation = reader.generation()
        if generation is not None and runtime.file_sha256(models.resolve(named)) != generation.model_sha256:
            raise ModelError(
                f"{self.path}: its codes were made by {generation.model} {generation.version}, not by {named};"
                " leave the model away, or `visearch backfill --model` first"
            )

    def _keep_model(self, model: Embedder) -> None:
        folder = self.path / MODELS
        folder.mkdir(exist_ok=True)
        kept = folder / f"{model.sha256}.onnx"
        with lease(self.path, "model", wait_seconds=-1):
            if kept.exists():
                return
            partial = folder / f"model{TEMPORARY}"
            try:
                shutil.copyfile(model.path, partial)
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
                partial.replace(kept)
            finally:
                partial.unlink(missing_ok=True)
            fsync_folder(folder)

    @property
    def embedder(self) -> Embedder:
        """The model of the active generation, loaded on first use."""
        return self._embedder_of(self.generation)

    def _embedder_of(self, generation: Generation) -> Embedder:
        """The model of a generation; that of the latest that was asked for stays loaded."""
        model = self._embedder
        if model is not None and model.sha256 == generation.model_sha256:
            return model
        with self._loading:
            model = self._embedder  # loaded meanwhile, by another thread
            if model is None or model.sha256 != generation.model_sha256:
                self._embedder = model = self._load_embedder(generation)
        return model

    def _load_embedder(self, generation: Generation) -> Embedder:
        path = self.path / MODELS / f"{generation.model_sha256}.onnx"
        if self._model and not path.exists():
            path = models.resolve(self._model)
        wanted = settings.text("precision")
        model = embedder.load(path, generation.precision if wanted == "auto" else wanted)
        if model.sha256 != generation.model_sha256:
            raise ModelError(
                f"{path}: not the file that {generation.model} {generation.version} was when it made the codes"
                f" (sha256 {generation.model_sha256[:12]}...); put that one back"
            )
        return model

    def embed(self, pictures: Sequence[Picture], boxes: Sequence[Box] | None = None) -> F32:
        """Embed regions of pictures: float32 [n, D], before thresholding. Boxes default to the whole pictures."""
        model = self.embedder
        regions = boxes if boxes is not None else [embedder.WHOLE] * len(pictures)
        prepared = [model.prepare(picture, box) for picture, box in zip(pictures, regions, strict=True)]
        shape = (0, model.card.height, model.card.width, 3)
        return model.embed(np.stack(prepared) if prepared else np.empty(shape, np.uint8))

    # Items

    def __len__(self) -> int:
        with self.store.read() as reader:
            return reader.item_count()

    def item(self, item_id: int) -> Item:
        """The item with this id; UsageError where there is none."""
        with self.store.read() as reader:
            item = reader.item(item_id)
        if item is None:
            raise UsageError(f"item {item_id}: no such item in {self.path}")
        return item

    def find_item(self, name: str) -> int:
        """The id of an item that is named by its id or by the path of its file; UsageError where there is none."""
        with self.store.read() as reader:
            known = reader.known(name) or reader.known(os.path.abspath(name))  # noqa: PTH100 (links are not followed)
            if known is not None:
                return known.item_id
            if name.isdecimal() and reader.item(int(name)) is not None:
                return int(name)
        raise UsageError(f"{name}: neither the id nor the path of an item in {self.path}")

    def has_source(self, path: Path) -> bool:
        """Whether an item came from this file."""
        with self.store.read() as reader:
            return reader.known(os.path.abspath(path)) is not None  # noqa: PTH100 (links are not followed)

    def items(self) -> Iterator[Item]:
        """All items by id. Pages of them are read at a time, so that a long loop holds no transaction open."""
        start, page = 0, 1000
        while True:
            with self.store.read() as reader:
                found = [item for item, _ in zip(reader.items(start), range(page), strict=False)]
            yield from found
            if len(found) < page:
                return
            start = found[-1].item_id + 1

    def failures(self) -> list[Failure]:
        """Files that could not be used, with reasons."""
        with self.store.read() as reader:
            return list(reader.failures())

    def thumbnail(self, item_id: int) -> bytes | None:
        """An item's thumbnail, JPEG."""
        with self.store.read() as reader:
            return reader.thumbnail(item_id)

    def places(self, item: Item) -> list[str]:
        """Where the bytes of an item may be: its source, and of an upload also the collection's folder."""
        moved = [str(self.path / UPLOADS / Path(item.source).name)] if item.origin == UPLOADS else []
        return [item.source, *moved]

    def original(self, item: Item) -> bytes:
        """The bytes that an item was indexed from, and no others. An upload is looked for in the collection's folder
        too: it moves with it.

        Raises:
            ImageError: "unreadable": the file is gone; "changed": it is no longer what was indexed.
        """
        if remote.is_web(item.source) and not self.fetches_urls:
            raise ImageError("unreadable", f"{item.source}: is not fetched from here")
        changed = False
        for place in self.places(item):
            try:
                data = sources.read(place)
            except ImageError:
                continue
            except UsageError as error:  # what reads sources of this kind is not installed here
                raise ImageError("unreadable", error.message) from None
            if hashlib.sha256(data).digest() == item.content:
                return data
            changed = True
        if changed:
            raise ImageError("changed", f"{item.source}: changed since it was indexed; run `visearch index` again")
        raise ImageError("unreadable", f"{item.source}: cannot be read; is it gone, or its drive not mounted?")

    def remove(self, item_ids: Sequence[int]) -> int:
        """Remove items, durably when this returns; how many there were. Their files stay untouched."""
        return ingest.remove_items(self.store, item_ids)

    def corpus(self, filter: Filter | None = None) -> Corpus:
        """All live codes (of items that pass the filter) in memory, with their int8 copies."""
        searcher = self.searcher()
        mapped, number = searcher.mapped, searcher.generation.number
        with self.store.read() as reader:
            generation = reader.generation(number)
            assert generation is not None
            found = _LiveRows(reader, generation)
            keep: Any = slice(None)
            if filter is not None:
                passing = [item.item_id for item in reader.items() if filter.matches(item.metadata)]
                keep = np.isin(found.item_ids, passing)
            code_ids = found.code_ids[keep]
            rows, scales = codes.from_rows(mapped.gather(code_ids, reader))
        return Corpus(code_ids, found.item_ids[keep], found.regions[keep], found.codes[keep], rows, scales)

    # Search

    def search(
        self,
        query: Source | None = None,
        *,
        item: int | None = None,
        box: Box | None = None,
        limit: int = 20,
        max_distance: int | None = None,
        filter: Filter | Mapping[str, Any] | None = None,
        exact: bool = False,
        rerank: bool = True,
    ) -> Results:
        """Find the items nearest to a picture (a file, its bytes, or decoded) or to an item, or to a region of either.

        Args:
            query: the picture; or give `item`, which never finds itself.
            item: id of an item of the collection.
            box: the region to look for, fractions [x0, y0, x1, y1] of the upright picture.
            limit: matches wanted; fewer only where fewer are eligible.
            max_distance: Hamming distance in bits beyond which nothing matches.
            filter: what the metadata must be, see filters.Filter.
            exact: compare with every code, also where the index would probe a part of them.
            rerank: order the window of candidates by the cosine of their int8 copies.

        Raises:
            UsageError: the arguments do not fit together, the box or the filter is malformed, no such item.
            ImageError: the picture cannot be decoded.
        """
        if (query is None) == (item is None):
            raise UsageError("search for either a picture or an item")
        if limit < 1:
            raise UsageError(f"limit {limit}: at least 1")
        if filter is not None and not isinstance(filter, Filter):
            filter = Filter.parse(filter)
        wanted = Query(limit, max_distance, filter, exact, rerank, excluded=item)
        return self.ask(query, item, box, wanted)

    def ask(
        self,
        query: Source | None,
        item: int | None,
        box: Box | None,
        wanted: Query,
        searcher: Searcher | None = None,
    ) -> Results:
        """As `search`, with what is wanted put into one value; of `searcher`, or that of this moment."""
        searcher = searcher or self.searcher()
        if item is not None and box is None:
            return searcher.like_item(item, wanted)
        with self.reading(query, item) as picture:
            return searcher.like_picture(picture, box, wanted)

    @contextmanager
    def reading(self, query: Source | None, item: int | None) -> Iterator[bytes | Picture]:
        """The picture of a query, or the bytes of its file or of an item's, for a block that may decode it; its errors
        then name the file. UsageError unless exactly one of `query` and `item` is given."""
        if (query is None) == (item is None):
            raise UsageError("search for either a picture or an item")
        if item is not None:
            found = self.item(item)
            name, data = found.source, self.original(found)
        elif isinstance(query, (str, Path)):
            name, data = str(query), read_limited(Path(query))
        else:
            assert query is not None
            yield query
            return
        with naming(name):
            yield data

    def searcher(self) -> Searcher:
        """The searcher of this moment: what is committed now is found by it."""
        with self.store.read() as reader:
            generation, serial = self._active(reader), reader.serial
        searcher = self._searcher
        if searcher is not None and searcher.is_current(generation, serial):
            return searcher
        with self._lock:
            searcher = self._searcher
            while True:
                with self.store.read() as reader:
                    current = self._active(reader)
                    if searcher is not None and self._followed:  # `follow` swaps once the active one is open
                        current = reader.generation(searcher.generation.number) or current
                    if searcher is not None and searcher.same_base(current):
                        self._searcher = searcher.caught_up(reader, current)
                        return self._searcher
                searcher = self._open_searcher(current)  # which may take long: no transaction is held meanwhile

    @contextmanager
    def following(self) -> Iterator[None]:
        """While the block runs, a switch to another generation makes no search wait: a thread sees it within
        FOLLOW_SECONDS, opens index and model beside those that answer, and then puts them in their place."""
        stop = threading.Event()

        def watch() -> None:
            failed = 0
            while not stop.wait(FOLLOW_SECONDS):
                try:
                    self._follow()
                    failed = 0
                except Exception as error:  # without this thread a server never sees a switch again
                    if not failed:
                        told = error.message if isinstance(error, VisearchError) else f"{type(error).__name__}: {error}"
                        log.error("the active generation cannot be opened: %s", told)
                    failed += 1

        thread = threading.Thread(target=watch, name="follow", daemon=True)
        self._followed = True
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self._followed = False

    def _follow(self) -> None:
        with self.store.read() as reader:
            current = self._active(reader)
        searcher = self._searcher
        if searcher is None:
            return
        if searcher.generation.number == current.number:
            if not searcher.same_base(current):  # new index files: no query is to wait for them, old ones are let go
                self.searcher()
            return
        self._embedder_of(current)
        opened = self._open_searcher(current)
        with self.store.read() as reader:
            current = self._active(reader)
            if not opened.same_base(current):  # switched once more, or its index files are new: the next look opens it
                return
            opened = opened.caught_up(reader, current)
        opened.index.search(np.zeros(current.bits // 8, np.uint8), 1)  # its pages are in memory then
        with self._lock, self.store.read() as reader:
            current = self._active(reader)
            if opened.same_base(current):
                self._searcher = opened.caught_up(reader, current)

    def _open_searcher(self, generation: Generation) -> Searcher:
        """From the newest index files; without them everything comes from the store, which is slower but right."""
        base = None
        if generation.base:
            try:
                base = self.open_base(generation)
            except IndexFileError as error:
                if self.newest_base(generation) == generation.base:  # else another process has just replaced it
                    log.warning("%s; answering from the store, `visearch check --repair` rebuilds it", error.message)
        try:
            mapped = VectorFile(self._index_folder(generation), generation)
        except IndexFileError:
            mapped = VectorFile.empty(generation)
        index = self._open_index(generation, base)
        load = functools.cache(lambda: self._embedder_of(generation))
        return Searcher.start(self.store, generation, base, mapped, index, load)

    def _open_index(self, generation: Generation, base: Base | None) -> IndexLike:
        """The index of a base, without what came since: here it is in this process."""
        return Index.open(base, generation.bits)

    def newest_base(self, generation: Generation) -> int:
        """The number of its newest index files at this moment, -1 where it was dropped."""
        with self.store.read() as reader:
            found = reader.generation(generation.number)
        return -1 if found is None else found.base

    def base_folder(self, generation: Generation) -> Path:
        """Where the newest index files of a generation are."""
        return self._index_folder(generation) / _base_name(generation.base)

    def open_base(self, generation: Generation) -> Base:
        """Open those; raises IndexFileError where they are not the ones that the store means, or not whole."""
        folder = self.base_folder(generation)
        base = Base.open(folder)
        if stamp_of(folder) != generation.base_stamp:
            raise IndexFileError(f"{folder}: belongs to another state of the store")
        return base

    def _index_folder(self, generation: Generation) -> Path:
        return self.path / INDEX / f"g{generation.number}"

    # The index files

    def build_index(self, *, force: bool = True) -> bool:
        """Bring the derived files up to date: the vector file always, the index where that is cheaper than going on
        with the one there is; with `force` write both anew.

        Returns whether a new index was written. LeaseError where another process is at it.
        """
        generation = self.generation
        first = not generation.base and should_merge(0, generation.next_code, 0)
        merge = force or first or self.searcher().should_merge()
        with lease(self.path, "index"):
            with self.store.read() as reader:
                generation, serial = self._active(reader), reader.serial
                folder = self._index_folder(generation)
                folder.mkdir(parents=True, exist_ok=True)
                named = vectors.extend(folder, generation, reader, anew=force)
                rows = _LiveRows(reader, generation) if merge else None
            with self.store.write() as writer:
                writer.set_vectors(generation.number, *named)
            if rows is None:
                return False
            number = generation.base + 1
            write_base(
                folder / _base_name(number),
                rows.codes,
                rows.code_ids,
                rows.item_ids,
                rows.regions,
                self._metadata_of(rows.item_ids),
                recall_target=settings.number("recall_target"),
                flat_up_to=int(settings.number("flat_up_to")),
                seed=0,
            )
            with self.store.write() as writer:
                writer.set_base(generation.number, number, serial, stamp_of(folder / _base_name(number)))
            for other in folder.iterdir():
                if other.name.startswith("base-") and other.name != _base_name(number):
                    shutil.rmtree(other, ignore_errors=True)
        return True

    def _metadata_of(self, item_ids: I64) -> Iterator[Mapping[str, object]]:
        page = 1000
        for start in range(0, len(item_ids), page):
            with self.store.read() as reader:
                found = [reader.item(int(item_id)) for item_id in item_ids[start : start + page]]
            # An item that has gone since is among the removed codes by now.
            yield from (item.metadata if item is not None else {} for item in found)


def _generation_of(model: Embedder, writer: Writer) -> Generation:
    """The generation of a model, made where there is none."""
    for generation in writer.generations():
        if generation.model_sha256 == model.sha256:
            return generation
    card, number = model.card, writer.new_generation_number()
    computed = (model.runtime, model.precision, model.device)
    made = Generation(number, card.name, card.version, model.sha256, card.embedding_dim, *computed)
    writer.put_generation(made)
    return made


def _base_name(number: int) -> str:
    return f"base-{number:06d}"


class _LiveRows:
    """The live rows of a generation as arrays, by code id."""

    def __init__(self, reader: Reader, generation: Generation) -> None:
        self.codes = np.empty((generation.next_code, generation.bits // 8), np.uint8)
        owners = np.empty(generation.next_code, "<i8")
        regions = np.empty(generation.next_code, np.int32)
        for block in reader.code_rows(generation):
            part = slice(block.first, block.first + len(block.codes))
            self.codes[part] = block.codes
            owners[part], regions[part] = block.owners["item_id"], block.owners["region"]
        live = owners != REMOVED_ITEM
        if not live.all():
            self.codes = self.codes[live]
        self.code_ids: I64 = np.flatnonzero(live)
        self.item_ids: I64 = owners[live].astype(np.int64, copy=False)
        self.regions: I32 = regions[live]
