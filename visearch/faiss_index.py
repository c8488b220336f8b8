"""FAISS binary indexes: made, written, mapped, and asked in a way that loses no tie.

`IndexBinaryFlat` compares with every code; `IndexBinaryIVF` with those in the few lists nearest to the query;
`GpuIndexBinaryFlat` is the first on a GPU. FAISS's top k keeps an arbitrary part of the codes at the k-th distance,
which would make them disagree: `Searchable.nearest` asks for a few more, and declines where ties may go on beyond.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from visearch import clusters
from visearch.arrays import checksum
from visearch.errors import IndexFileError
from visearch.machine import usable_cores
from visearch.scan import I32, U8, Keep, Positions

SPARE = 64  # neighbours asked for beyond the k-th, so that its ties are seen to end
LARGEST_GPU_K = 2048  # GpuIndexBinaryFlat returns no more
GPU_TEMPORARY_BYTES = 64 << 20
AT_ONCE = 1 << 16  # codes

# FAISS's counting search (no heap) is quicker for a window of 1,000. Without a limit on the codes it scans nothing.
UNLIMITED = 2**62


class Searchable:
    """A FAISS index of `count` codes whose ids are rows. Safe for threads."""

    def __init__(self, index: Any, *, on_gpu: bool = False) -> None:
        self.index = index
        if isinstance(index, faiss.IndexBinaryIVF):
            index.use_heap = False
        self.count = int(index.ntotal)
        self._on_gpu = on_gpu
        # A GPU index serves one call at a time.
        self._turn: Any = threading.Lock() if on_gpu else nullcontext()

    def nearest(
        self, code: U8, k: int, *, furthest: int, keep: Keep | None = None, probes: int | None = None
    ) -> tuple[Positions, I32] | None:
        """The k nearest rows and all ties at the k-th, in no particular order; None where some of them may be lacking.

        Args:
            code: uint8 [D/8].
            k: at least 1.
            furthest: the largest distance in bits that is wanted.
            keep: which rows may be answers.
            probes: lists to look into, for an IVF; it declines too where these hold fewer codes than were asked for.

        Returns:
            Rows int64 [m] and distances int32 [m].
        """
        asked = min((2 if keep is not None else 1) * k + SPARE, self.count)
        if self._on_gpu:
            asked = min(asked, LARGEST_GPU_K)
        options = {} if probes is None else {"params": _probing(nprobe=probes)}
        with self._turn, _threads(1):
            distances, rows = (found[0] for found in self.index.search(code[None], asked, **options))
        if rows[-1] < 0:
            return None
        # At the last distance there may be more codes than were returned.
        complete = furthest if asked == self.count else min(furthest, int(distances[-1]) - 1)
        within = distances <= complete
        if keep is not None:
            within[within] = keep(rows[within])
        if complete < furthest and np.count_nonzero(within) < k:
            return None
        return rows[within].astype(np.int64, copy=False), distances[within].astype(np.int32, copy=False)

    def kth_distances(self, codes: U8, k: int, probes: int | None = None) -> I32:
        """Sorted distances to the k nearest of each of many codes [q, D/8]: int32 [q, k]."""
        options = {} if probes is None else {"params": _probing(nprobe=probes)}
        with _threads(usable_cores()):
            distances: I32 = self.index.search(np.ascontiguousarray(codes), k, **options)[0]
        return distances


def _probing(nprobe: int) -> Any:
    """Search parameters of an IndexBinaryIVF."""
    parameters: Any = faiss.SearchParametersIVF
    return parameters(nprobe=nprobe, max_codes=UNLIMITED)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """OpenMP threads for the block, of this thread only. One query is quicker on one."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def flat(codes: U8) -> Any:
    """An IndexBinaryFlat of codes uint8 [n, D/8]."""
    index = faiss.IndexBinaryFlat(codes.shape[1] * 8)
    for start in range(0, len(codes), AT_ONCE):
        index.add(np.ascontiguousarray(codes[start : start + AT_ONCE]))
    return index


def train_lists(codes: U8, lists: int, rng: np.random.Generator) -> tuple[Any, NDArray[np.int64]]:
    """An IndexBinaryIVF with centroids (clusters.py) and no codes yet, and the list of each code [n]: int64 [n]."""
    with _threads(usable_cores()):
        index = empty_lists(clusters.train(codes, lists, rng))
        list_of = clusters.assign(codes, centroids(index))
    return index, list_of


def empty_lists(centroids: U8) -> Any:
    """An IndexBinaryIVF with these centroids uint8 [lists, D/8] and no codes yet."""
    index = faiss.IndexBinaryIVF(flat(centroids), centroids.shape[1] * 8, len(centroids))
    index.is_trained = True
    return index


def fill_lists(index: Any, codes: U8, list_of: NDArray[np.int64]) -> None:
    """Put codes uint8 [n, D/8] into their lists; their ids count on from those that are there."""
    for start in range(0, len(codes), AT_ONCE):
        part = np.ascontiguousarray(codes[start : start + AT_ONCE])
        lists = np.ascontiguousarray(list_of[start : start + AT_ONCE])
        index.add_core(len(part), faiss.swig_ptr(part), None, faiss.swig_ptr(lists))


def stored_codes(index: Any) -> U8:
    """The codes of an IndexBinaryFlat, uint8 [n, D/8]: a view that is valid while the index is."""
    count, width = int(index.ntotal), int(index.code_size)
    if not count:
        return np.empty((0, width), np.uint8)
    codes: U8 = faiss.rev_swig_ptr(index.xb.data(), count * width).reshape(count, width)
    return codes


def centroids(index: Any) -> U8:
    """The centroids of an IndexBinaryIVF, uint8 [lists, D/8]: a view that is valid while the index is."""
    return stored_codes(faiss.downcast_IndexBinary(index.quantizer))


def write(index: Any, path: Path) -> dict[str, int]:
    """Write an index durably; returns what `open_mapped` and `arrays.verify_file` compare the file with."""
    try:
        faiss.write_index_binary(index, str(path))
    except RuntimeError as error:
        raise OSError(None, f"FAISS could not write it ({error})", str(path)) from None
    with path.open("rb") as file:
        os.fsync(file.fileno())
        size = os.fstat(file.fileno()).st_size
    return {"bytes": size, "crc32": checksum(path)}


def open_mapped(path: Path, described: dict[str, int]) -> Any:
    """Open an index without reading it: the file is mapped.

    Raises:
        IndexFileError: the file is missing, truncated, or not an index.
    """
    try:
        size = path.stat().st_size
        if size != described["bytes"]:
            raise IndexFileError(f"{path}: is {size} bytes, not {described['bytes']}: truncated or replaced")
        return faiss.read_index_binary(str(path), faiss.IO_FLAG_MMAP_IFC)
    except OSError as error:
        raise IndexFileError(f"{path}: cannot be read: {error.strerror}") from None
    except (KeyError, TypeError, RuntimeError) as error:
        raise IndexFileError(f"{path}: is no FAISS index ({str(error).splitlines()[-1][:200]})") from None


def on_gpu(codes: U8) -> Searchable | None:
    """Codes [n, D/8] on the GPU; None where faiss or the machine has none."""
    if not hasattr(faiss, "GpuIndexBinaryFlat") or not faiss.get_num_gpus() or not len(codes):
        return None
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(GPU_TEMPORARY_BYTES)
    index: Any = faiss.GpuIndexBinaryFlat(resources, codes.shape[1] * 8)
    index.add(codes)
    index.referenced_objects = [resources]
    return Searchable(index, on_gpu=True)
