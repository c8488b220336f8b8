"""Embeddings to binary codes and back: threshold at zero, pack, int8 copy for re-ranking.

A code holds D bits in D/8 bytes, in the bit order of `numpy.packbits` (big-endian within a byte). Zero is the right
threshold because the binarization module ends in GroupNorm and ReLU (arXiv 1908.01707 s3.3.2, s4.2.1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F16 = NDArray[np.float16]
U8 = NDArray[np.uint8]
I8 = NDArray[np.int8]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

SCALE_BYTES = 2
INT8_MAX = 127
SMALLEST_SCALE = np.float16(6e-8)
LARGEST_SCALE = np.float16(65504)


def pack(embeddings: F32) -> U8:
    """Threshold float embeddings [n, D] at zero and pack them: uint8 [n, D/8]. D must be a multiple of 8."""
    if embeddings.shape[-1] % 8:
        raise ValueError(f"embedding_dim {embeddings.shape[-1]} is not a multiple of 8")
    return np.packbits(embeddings > 0, axis=-1)


def unpack(codes: U8) -> U8:
    """Codes [n, D/8] as bits [n, D], each 0 or 1."""
    return np.unpackbits(codes, axis=-1)


def hamming(left: U8, right: U8) -> I32:
    """Hamming distances in bits between codes of broadcastable shapes [..., D/8]."""
    distances: I32 = np.bitwise_count(left ^ right).sum(axis=-1, dtype=np.int32)
    return distances


def quantize(embeddings: F32) -> tuple[I8, F16]:
    """Float embeddings [n, D] as int8 [n, D] in -127..127 and one float16 scale a vector [n].

    A vector is about `int8 * scale`. The scale is rounded first, upwards, and the values are divided by the rounded
    one, so the error is at most half a scale (where no value is beyond 127 times the largest float16).
    """
    largest = np.abs(embeddings).max(axis=1, initial=0.0)
    scales = np.clip(largest / INT8_MAX, SMALLEST_SCALE, LARGEST_SCALE).astype(np.float16)
    too_small = (scales.astype(np.float32) * INT8_MAX < largest) & (scales < LARGEST_SCALE)
    scales = np.where(too_small, np.nextafter(scales, LARGEST_SCALE), scales)
    steps = np.rint(embeddings / scales[:, None].astype(np.float32))
    return np.clip(steps, -INT8_MAX, INT8_MAX).astype(np.int8), scales


def dequantize(vectors: I8, scales: F16) -> F32:
    """The inverse of `quantize`, up to its rounding: float32 [n, D]."""
    return vectors.astype(np.float32) * scales[:, None].astype(np.float32)


def to_rows(vectors: I8, scales: F16) -> U8:
    """Vectors [n, D] and scales [n] as the stored rows: uint8 [n, D + 2], the scale last, little-endian."""
    rows = np.empty((len(vectors), vectors.shape[1] + SCALE_BYTES), np.uint8)
    rows[:, :-SCALE_BYTES] = vectors.view(np.uint8)
    rows[:, -SCALE_BYTES:] = scales.astype("<f2").reshape(-1, 1).view(np.uint8)
    return rows


def from_rows(rows: U8) -> tuple[I8, F16]:
    """The inverse of `to_rows`. The vectors are a view of `rows`."""
    scales = np.ascontiguousarray(rows[:, -SCALE_BYTES:]).view("<f2").reshape(-1)
    return rows[:, :-SCALE_BYTES].view(np.int8), scales.astype(np.float16, copy=False)


def cosine(query: F32, vectors: I8) -> F32:
    """Cosine in [-1, 1] of one query [D] with int8 vectors [n, D]; 0 where either is all zeros. Scales cancel."""
    values = vectors.astype(np.float32)
    # vecdot, not matmul: on a few rows BLAS's threads cost more, in waiting for one another, than they bring.
    norms = np.sqrt(np.vecdot(values, values) * np.vecdot(query, query))
    dots = np.vecdot(values, query)
    cosines: F32 = np.clip(np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0), -1, 1)
    return cosines
