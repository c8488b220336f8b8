"""Exact Hamming search by scanning: every distance is computed by FAISS's kernel, and every tie at the k-th is kept.

FAISS's own top-k keeps an arbitrary part of the codes at the k-th distance, so flat, IVF and GPU search would disagree.
Its kernel for plain distances is quicker than its top-k, and picking from the distances costs less than the difference.
"""

from __future__ import annotations

from collections.abc import Callable

import faiss
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]
Positions = NDArray[np.int64]
Rows = NDArray[np.uint32]
Keep = Callable[[Positions | Rows], NDArray[np.bool_]]  # which of these rows may be answers

FIRST_BLOCK = 1 << 12  # codes; small, because nothing is known yet about how near the k nearest are
LARGEST_BLOCK = 1 << 17  # codes; their distances (512 KiB) stay in the core's cache


def hamming(code: U8, codes: U8) -> I32:
    """Distances in bits, int32 [n], between one code [D/8] and contiguous codes [n, D/8]."""
    distances = np.empty(len(codes), np.int32)
    pointers = [faiss.swig_ptr(array) for array in (code, codes, distances)]
    faiss.hammings(pointers[0], pointers[1], 1, len(codes), codes.shape[1], pointers[2])  # type: ignore[attr-defined]
    return distances


def kth_smallest(distances: I32, k: int) -> int:
    """The k-th smallest distance (from 1), or the largest where there are fewer. There must be at least one."""
    return int(np.searchsorted(np.cumsum(np.bincount(distances)), min(k, len(distances))))


def nearest(
    code: U8, codes: U8, k: int, *, furthest: int, rows: Rows | Positions | None = None, keep: Keep | None = None
) -> tuple[Positions, I32]:
    """The k nearest of some codes, all ties at the k-th included, in no particular order.

    Args:
        code: uint8 [D/8].
        codes: uint8 [n, D/8], contiguous.
        k: at least 1.
        furthest: the largest distance in bits that is wanted.
        rows: which rows of `codes` to compare with; all by default.
        keep: which rows may be answers; asked only about those near enough.

    Returns:
        Row numbers int64 [m] and their distances int32 [m]; m is at least k unless fewer are to be had.
    """
    count = len(codes) if rows is None else len(rows)
    found, distances = np.empty(0, np.int64), np.empty(0, np.int32)
    bound, start, size = furthest, 0, FIRST_BLOCK
    while start < count:
        part = slice(start, start + size)
        block = hamming(code, codes[part] if rows is None else codes.take(rows[part], axis=0))
        near = np.flatnonzero(block <= bound)
        near_rows = near + start if rows is None else rows[part][near].astype(np.int64)
        if keep is not None:
            kept = keep(near_rows)
            near, near_rows = near[kept], near_rows[kept]
        found, distances = np.concatenate([found, near_rows]), np.concatenate([distances, block[near]])
        if len(found) > k:
            bound = kth_smallest(distances, k)
            within = distances <= bound
            found, distances = found[within], distances[within]
        start, size = start + size, min(2 * size, LARGEST_BLOCK)
    return found, distances


def distances_between(queries: U8, codes: U8) -> I32:
    """All distances in bits between queries uint8 [q, D/8] and codes uint8 [N, D/8]: int32 [q, N]."""
    spare = -codes.shape[1] % 8  # FAISS compares 8 bytes at a time
    queries, codes = (np.ascontiguousarray(np.pad(c, ((0, 0), (0, spare))) if spare else c) for c in (queries, codes))
    distances = np.empty((len(queries), len(codes)), np.int32)
    pointers = [faiss.swig_ptr(array) for array in (queries, codes, distances)]
    faiss.hammings(*pointers[:2], len(queries), len(codes), codes.shape[1], pointers[2])  # type: ignore[attr-defined]
    return distances
