"""Exact search on a GPU gives what it gives on the CPU. Needs faiss-gpu and a GPU."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from tests.brute import clustered
from visearch.faiss_index import on_gpu
from visearch.scan import Keep, nearest

pytestmark = pytest.mark.skipif(
    not hasattr(faiss, "GpuIndexBinaryFlat") or not faiss.get_num_gpus(), reason="needs faiss-gpu and a GPU"
)

BITS = 256
CODES = clustered(50_000, BITS, clusters=300, seed=1)


@pytest.mark.parametrize("keep", [None, lambda rows: rows % 3 == 0], ids=["all live", "a third lives"])
@pytest.mark.parametrize("k", [1, 20, 500, 1000, 5000])
@pytest.mark.parametrize("furthest", [BITS, 60, 0])
def test_gpu_search_equals_the_scan_or_declines(k: int, furthest: int, keep: Keep | None) -> None:
    gpu = on_gpu(CODES)
    assert gpu is not None
    answered = 0
    for query in clustered(20, BITS, clusters=300, seed=1):
        found = gpu.nearest(query, k, furthest=furthest, keep=keep)
        if found is None:
            continue
        answered += 1
        rows, distances = nearest(query, CODES, k, furthest=furthest, keep=keep)
        true, ours = sorted(zip(distances, rows, strict=True)), sorted(zip(found[1], found[0], strict=True))
        kth = true[min(k, len(true)) - 1][0] if true else 0
        assert [pair for pair in ours if pair[0] <= kth] == true
    assert answered == 20 or k > 500 or keep is not None


def test_ties_beyond_what_the_gpu_returns_are_left_to_the_scan() -> None:
    gpu = on_gpu(np.tile(CODES[0], (5000, 1)))
    assert gpu is not None
    assert gpu.nearest(CODES[0], 10, furthest=BITS, keep=None) is None
