"""Exact search of a base on a GPU, where faiss-gpu and a GPU are there."""

from __future__ import annotations

import threading
from typing import Any

import faiss
import numpy as np

from visearch.scan import I32, U8, Keep, Positions

LARGEST_K = 2048  # GpuIndexBinaryFlat returns no more
SPARE = 64  # neighbours asked for beyond 2k, so that the ties at the k-th are seen to end
TEMPORARY_BYTES = 64 << 20


class GpuFlat:
    """The codes of a base in GPU memory."""

    def __init__(self, codes: U8) -> None:
        self._resources: Any = faiss.StandardGpuResources()
        self._resources.setTempMemory(TEMPORARY_BYTES)
        self._index: Any = faiss.GpuIndexBinaryFlat(self._resources, codes.shape[1] * 8)
        self._index.add(codes)
        self._count = len(codes)
        self._lock = threading.Lock()  # a GPU index serves one call at a time

    @staticmethod
    def of(codes: U8) -> GpuFlat | None:
        """Copy codes [n, D/8] to the GPU; None where faiss or the machine has none."""
        if not hasattr(faiss, "GpuIndexBinaryFlat") or not faiss.get_num_gpus() or not len(codes):
            return None
        return GpuFlat(codes)

    def nearest(self, code: U8, k: int, *, furthest: int, keep: Keep | None) -> tuple[Positions, I32] | None:
        """As `scan.nearest`; None where its answer may lack some ties, or some of the k that may be kept."""
        asked = min(2 * k + SPARE, LARGEST_K, self._count)
        with self._lock:
            distances, rows = (found[0] for found in self._index.search(code[None], asked))
        # Beyond the last distance that is complete lie neighbours that were not returned.
        complete = furthest if asked == self._count else min(furthest, int(distances[-1]) - 1)
        within = distances <= complete
        if keep is not None:
            within[within] = keep(rows[within])
        if complete < furthest and np.count_nonzero(within) < k:
            return None
        return rows[within].astype(np.int64), distances[within].astype(np.int32)
