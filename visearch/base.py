"""The large, unchanging part of an index: codes and columns in files that are mapped, never half-written.

A base is a folder: `meta.json`, `flat.faiss` (an IndexBinaryFlat of all codes), `rows.bin` (ids), `columns.bin` (what
filters need), and for a large base `lists.faiss` (an IndexBinaryIVF). Its codes lie list by list then: a search looks
into the few lists nearest to the query. How many is chosen by measuring recall when the base is written.

IndexBinaryIVF raises on a selector. So a filtered search looks for the selected rows of the probed lists, which are
ranges of `flat.faiss`, and compares with those; and so does a search whose ties go on beyond what FAISS returned.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visearch import clusters, faiss_index
from visearch.arrays import ArrayWriter, open_arrays, verify_file
from visearch.columns import Columns, write_columns
from visearch.errors import IndexFileError
from visearch.faiss_index import Searchable
from visearch.files import TEMPORARY, fsync_folder, write_durably
from visearch.filters import Filter
from visearch.scan import I32, U8, Keep, Positions, Rows, hamming, nearest

I64 = NDArray[np.int64]

FORMAT = 1
META, FLAT, LISTS, ROWS, COLUMNS = "meta.json", "flat.faiss", "lists.faiss", "rows.bin", "columns.bin"
RECALL_AT = 20
RECALL_QUERIES = 500  # live codes that serve as queries when recall is measured
CACHED_FILTERS = 16  # what a filter selects is kept for this many: 4 bytes a selected row, and at most one a row
GATHER_FACTOR = 4  # comparing with a scattered row costs about this many times what it does in passing over all
EXACT_ROWS = 8192  # up to this many selected rows (about 0.1 ms) are all compared with


@dataclass(frozen=True)
class BaseInfo:
    """What `visearch info` tells about a base. `lists` 0 means flat (exact).

    `recall_curve` holds (probes, recall@20) as measured with codes of the base as queries; the last is the one in use.
    """

    rows: int
    bits: int
    lists: int
    probes: int
    recall_target: float
    recall_curve: tuple[tuple[int, float], ...]
    seed: int


def write_base(
    folder: Path,
    codes: U8,
    code_ids: I64,
    item_ids: I64,
    regions: I32,
    metadata: Iterable[Mapping[str, object]],
    *,
    recall_target: float,
    flat_up_to: int,
    seed: int,
) -> BaseInfo:
    """Write a base; it appears under its name complete and durable, or not at all.

    Args:
        folder: where it will be; replaced where it exists.
        codes: uint8 [N, D/8].
        code_ids: int64 [N], ascending, each once.
        item_ids: int64 [N].
        regions: int32 [N].
        metadata: one mapping per code.
        recall_target: recall@20 that the probes are chosen to reach, in 0..1.
        flat_up_to: with more codes than this the base is an inverted file.
        seed: of the k-means sample and of the queries that measure recall.

    Raises:
        IndexFileError: the disk is full or the folder cannot be written.
    """
    temporary = folder.with_name(folder.name + TEMPORARY)
    try:
        if temporary.exists():
            shutil.rmtree(temporary)  # left by a process that was killed
        temporary.mkdir(parents=True)
        try:
            info = _write_files(
                temporary, codes, code_ids, item_ids, regions, metadata, recall_target, flat_up_to, seed
            )
            if folder.exists():
                shutil.rmtree(folder)
            temporary.rename(folder)
            fsync_folder(folder.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        raise IndexFileError(f"{folder}: cannot be written: {error.strerror}") from None
    return info


def _write_files(
    folder: Path,
    codes: U8,
    code_ids: I64,
    item_ids: I64,
    regions: I32,
    metadata: Iterable[Mapping[str, object]],
    recall_target: float,
    flat_up_to: int,
    seed: int,
) -> BaseInfo:
    rng = np.random.default_rng(seed)
    count, bits = len(codes), codes.shape[1] * 8
    lists = clusters.list_count(count) if count > flat_up_to else 0
    files: dict[str, Any] = {}
    arrays: dict[str, NDArray[Any]] = {"code_ids": code_ids}
    row_of: Rows | None = None
    if lists:
        inverted, list_of = faiss_index.train_lists(codes, lists, rng)
        order = np.argsort(list_of, kind="stable")
        codes, list_of = codes[order], list_of[order]
        faiss_index.fill_lists(inverted, codes, list_of)
        files[LISTS] = faiss_index.write(inverted, folder / LISTS)
        del inverted
        row_of = np.empty(count, np.uint32)
        row_of[order] = np.arange(count, dtype=np.uint32)
        arrays |= {"list_starts": np.searchsorted(list_of, np.arange(lists + 1)).astype(np.int64)}
        arrays |= {"row_of": row_of, "row_code_ids": code_ids[order]}
        item_ids, regions = item_ids[order], regions[order]
    files[FLAT] = faiss_index.write(faiss_index.flat(codes), folder / FLAT)
    arrays |= {"item_ids": item_ids, "regions": regions}
    writer = ArrayWriter(folder / ROWS)
    for name, array in arrays.items():
        writer.add(name, [array], array.dtype)
    files[ROWS] = writer.finish()
    files[COLUMNS] = write_columns(folder / COLUMNS, metadata, row_of)
    info = BaseInfo(count, bits, lists, 0, recall_target, (), seed)
    if lists:
        curve = measure_recall(Base(folder, info, files), recall_target, rng)
        info = BaseInfo(count, bits, lists, curve[-1][0], recall_target, curve, seed)
    meta = {"format": FORMAT, "info": asdict(info), "files": files}
    write_durably(folder / META, json.dumps(meta).encode())
    return info


def measure_recall(base: Base, target: float, rng: np.random.Generator) -> tuple[tuple[int, float], ...]:
    """(probes, recall@20) for 1, 2, 4, ... probes, up to the first that reaches the target.

    Codes of the base are the queries, each without itself. The recall must reach the target by one standard error, so
    that another sample is likely to as well. A code as near as the 20th true neighbour counts as found.
    """
    assert base.lists is not None
    queries = base.codes[np.sort(rng.choice(base.rows, min(RECALL_QUERIES, base.rows), replace=False))]
    wanted = min(RECALL_AT, base.rows - 1)
    if not wanted:
        return ((1, 1.0),)
    true = base.flat.kth_distances(queries, wanted + 1)[:, -1:]  # the first is itself, or a twin of it
    curve: list[tuple[int, float]] = []
    probes = 1
    while True:
        found = np.count_nonzero(base.lists.kth_distances(queries, wanted + 1, probes) <= true, axis=1)
        recalls = (found - 1) / wanted
        recall, error = float(np.mean(recalls)), float(np.std(recalls) / np.sqrt(len(recalls)))
        curve.append((probes, round(recall, 4)))
        if recall - error >= target or probes == base.info.lists:
            return tuple(curve)
        probes = min(2 * probes, base.info.lists)


def stamp_of(folder: Path) -> str:
    """What tells the base in a folder from any other: a hash of its meta file, which has the checksums of the rest."""
    try:
        return hashlib.sha256((folder / META).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise IndexFileError(f"{folder / META}: cannot be read: {error.strerror}") from None


@dataclass(frozen=True)
class _Lists:
    """Where each list starts and how long it is, int64 [lists]."""

    starts: I64
    sizes: I64


@dataclass(frozen=True)
class Selection:
    """What a filter selects.

    Attributes:
        rows: ascending.
        mask: bool, by row of the base; None where so few are selected that `rows` is all that is needed.
        lists: where each list's part of `rows` starts, and its size.
    """

    rows: Rows
    mask: NDArray[np.bool_] | None
    lists: _Lists


class Base:
    """A base, opened. Immutable, and safe to use from many threads.

    Attributes:
        info: sizes, probes and measured recall.
        codes: uint8 [rows, D/8], item_ids: int64 [rows], regions: int32 [rows]: by row.
        code_ids: int64 [rows], ascending: not by row where the base has lists; see `rows_of` and `code_ids_of`.
        flat, lists: the FAISS indexes; `lists` None where the base is flat.
    """

    def __init__(self, folder: Path, info: BaseInfo, files: Mapping[str, Any]) -> None:
        arrays = open_arrays(folder / ROWS, files[ROWS])
        self.folder = folder
        self.info = info
        self.rows, self.bits = info.rows, info.bits
        self.flat = Searchable(faiss_index.open_mapped(folder / FLAT, files[FLAT]))
        self.codes: U8 = faiss_index.stored_codes(self.flat.index)
        self.lists: Searchable | None = None
        if info.lists:
            self.lists = Searchable(faiss_index.open_mapped(folder / LISTS, files[LISTS]))
            self._centroids = faiss_index.centroids(self.lists.index)
        self.code_ids: I64 = arrays["code_ids"]
        self.item_ids: I64 = arrays["item_ids"]
        self.regions: I32 = arrays["regions"]
        if info.lists:
            self._row_of: Rows = arrays["row_of"]
            self._row_code_ids: I64 = arrays["row_code_ids"]
        self._list_starts: I64 = arrays["list_starts"] if info.lists else np.array([0, self.rows])
        self._lists = _Lists(self._list_starts[:-1], np.diff(self._list_starts))
        self._columns = Columns(folder / COLUMNS, files[COLUMNS], info.rows)
        self._files = files
        self._selected = lru_cache(CACHED_FILTERS)(self._select)

    @staticmethod
    def open(folder: Path) -> Base:
        """Map a base.

        Raises:
            IndexFileError: it is missing, incomplete, truncated, damaged or of another format: to be rebuilt.
        """
        try:
            meta = json.loads((folder / META).read_bytes())
            if meta["format"] != FORMAT:
                raise IndexFileError(f"{folder / META}: format {meta['format']}, this version reads {FORMAT}")
            described = dict(meta["info"])
            described["recall_curve"] = tuple(
                (int(probes), float(recall)) for probes, recall in described["recall_curve"]
            )
            info = BaseInfo(**described)
            base = Base(folder, info, meta["files"])
        except OSError as error:
            raise IndexFileError(f"{folder / META}: cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise IndexFileError(f"{folder / META}: is damaged: {error}") from None
        base._check()
        return base

    def part(self, rows: Positions) -> Base:
        """A base of some of the rows of this one, int64 [n] ascending, in memory: the files may go.

        Where this base has lists its parts have the same, with the same centroids: what the probed lists of all parts
        hold is what those of the whole hold, so its recall is theirs.
        """
        part = Base.__new__(Base)
        part.folder, part._files = self.folder, {}
        part.info = replace(self.info, rows=len(rows))
        part.rows, part.bits = len(rows), self.bits
        part.item_ids, part.regions = self.item_ids[rows], self.regions[rows]
        part.code_ids = by_row = self.code_ids_of(rows)
        part._list_starts = np.searchsorted(rows, self._list_starts)
        part._lists = _Lists(part._list_starts[:-1], np.diff(part._list_starts))
        codes = self.codes[rows]
        part.flat, part.lists = Searchable(faiss_index.flat(codes)), None
        part.codes = faiss_index.stored_codes(part.flat.index)
        if self.info.lists:
            inverted = faiss_index.empty_lists(np.array(self._centroids))
            faiss_index.fill_lists(inverted, codes, np.repeat(np.arange(self.info.lists), part._lists.sizes))
            part.lists, part._centroids = Searchable(inverted), faiss_index.centroids(inverted)
            order = np.argsort(by_row)
            part.code_ids, part._row_code_ids, part._row_of = by_row[order], by_row, order.astype(np.uint32)
        part._columns = self._columns.part(rows)
        part._selected = lru_cache(CACHED_FILTERS)(part._select)
        return part

    @cached_property
    def _gpu(self) -> Searchable | None:
        """The codes on the GPU where there is one; a base that no one searches does not go there."""
        return faiss_index.on_gpu(self.codes)

    def verify(self) -> None:
        """Read every file and compare its checksum; raises IndexFileError naming the one that differs."""
        for name, description in self._files.items():
            verify_file(self.folder / name, description)

    def rows_of(self, code_ids: I64) -> Positions:
        """The rows of those code ids that are here, int64; the others are left out."""
        places = np.searchsorted(self.code_ids, code_ids)
        inside = places < self.rows
        places, code_ids = places[inside], code_ids[inside]
        places = places[self.code_ids[places] == code_ids]
        rows: Positions = self._row_of[places].astype(np.int64) if self.info.lists else places
        return rows

    def code_ids_of(self, rows: Positions) -> I64:
        """The code ids of rows."""
        return self._row_code_ids[rows] if self.info.lists else self.code_ids[rows]

    def search(
        self, code: U8, k: int, *, furthest: int, filter: Filter | None, exact: bool, alive: Keep | None
    ) -> tuple[Positions, I32]:
        """The k nearest rows that pass the filter and live, with all ties at the k-th; exact, or by probing lists.

        Args:
            code: uint8 [D/8].
            k: at least 1.
            furthest: the largest distance in bits that is wanted.
            filter: what their metadata must match.
            exact: compare with every row that passes.
            alive: which rows live; None when all do.

        Returns:
            Rows int64 [m] and distances int32 [m]; never fewer than k while more live rows pass and are near enough.
        """
        selection = None if filter is None else self._selected(filter)
        eligible = self.rows if selection is None else len(selection.rows)
        usual = max(k, self.info.probes * self.rows // max(self.info.lists, 1))  # rows a plain search compares with
        if exact or not self.info.lists or eligible <= max(usual, EXACT_ROWS):
            return self._exact(code, k, furthest, selection, alive)
        if selection is None and self.lists is not None:
            probes = max(self.info.probes, 2 * (k + faiss_index.SPARE) * self.info.lists // self.rows)
            found = self.lists.nearest(code, k, furthest=furthest, keep=alive, probes=probes)
            if found is not None:
                return found
        ranked = self.ranked_lists(code)
        if selection is not None and self._is_far(ranked, selection, usual):
            return self._exact(code, k, furthest, selection, alive)
        probes, least = self.info.probes, k if selection is None else usual
        while True:
            rows = self.probed_rows(ranked, probes, least, selection)
            everything = len(rows) == eligible
            if alive is not None:
                rows = rows[alive(rows)]
            if len(rows) >= k or everything:
                return nearest(code, self.codes, k, furthest=furthest, rows=rows)
            probes, least = 2 * probes, 2 * least

    def ranked_lists(self, code: U8) -> I64:
        """All lists, that with the nearest centroid first."""
        # 16 bits hold any distance, and numpy sorts them by radix
        ranked: I64 = np.argsort(hamming(code, self._centroids).astype(np.uint16), kind="stable")
        return ranked

    def probed_rows(
        self, ranked: I64, probes: int, least: int = 0, selection: Selection | None = None
    ) -> Positions | Rows:
        """The (selected) rows of the first `probes` lists, or of more lists where these hold fewer than `least`."""
        lists = self._lists if selection is None else selection.lists
        probed = _first_lists(ranked, lists.sizes, probes, least)
        sizes = lists.sizes[probed]
        ends = np.cumsum(sizes)
        positions = np.repeat(lists.starts[probed] - ends + sizes, sizes) + np.arange(ends[-1])
        return positions if selection is None else selection.rows[positions]

    def _is_far(self, ranked: I64, selection: Selection, usual: int) -> bool:
        """Whether few of the rows near a query are selected: less than half of what chance would select.

        What is selected then lies in lists about equally far, whose order says little about the order of their rows.
        """
        near = _first_lists(ranked, self._lists.sizes, self.info.probes, usual)
        share_near = selection.lists.sizes[near].sum() / self._lists.sizes[near].sum()
        return bool(share_near < len(selection.rows) / self.rows / 2)

    def _exact(
        self, code: U8, k: int, furthest: int, selection: Selection | None, alive: Keep | None
    ) -> tuple[Positions, I32]:
        if selection is None:
            found = (self._gpu or self.flat).nearest(code, k, furthest=furthest, keep=alive)
            return found or nearest(code, self.codes, k, furthest=furthest, keep=alive)
        mask = selection.mask
        if mask is None:
            return nearest(code, self.codes, k, furthest=furthest, rows=selection.rows, keep=alive)

        def keep(rows: Positions | Rows) -> NDArray[np.bool_]:
            return mask[rows] if alive is None else mask[rows] & alive(rows)

        return nearest(code, self.codes, k, furthest=furthest, keep=keep)

    def _check(self) -> None:
        """Raise IndexFileError where the arrays do not fit what the base says of itself."""
        by_row: list[NDArray[Any]] = [self.codes, self.code_ids, self.item_ids, self.regions]
        by_row += [self._row_of, self._row_code_ids] if self.info.lists else []
        ends = (len(self._list_starts) - 1, self._list_starts[0], self._list_starts[-1])
        if (
            {len(array) for array in by_row} != {self.rows}
            or self.codes.shape[1] * 8 != self.bits
            or (self.lists is not None and self._centroids.shape != (self.info.lists, self.bits // 8))
            or (self.lists is not None and self.lists.count != self.rows)
            or ends != (max(self.info.lists, 1), 0, self.rows)
            or (self._lists.sizes < 0).any()
        ):
            raise IndexFileError(f"{self.folder}: its files do not fit together; rebuild the index")

    def _select(self, filter: Filter) -> Selection:
        mask = self._columns.select(filter)
        rows = np.flatnonzero(mask).astype(np.uint32)
        bounds = np.searchsorted(rows, self._list_starts)
        scattered = len(rows) * GATHER_FACTOR < self.rows
        return Selection(rows, None if scattered else mask, _Lists(bounds[:-1], np.diff(bounds)))


def _first_lists(ranked: I64, sizes: I64, probes: int, least: int) -> I64:
    """The first `probes` lists, or more where these hold fewer than `least` rows."""
    enough = int(np.searchsorted(np.cumsum(sizes[ranked]), least)) + 1
    return ranked[: max(probes, enough)]
