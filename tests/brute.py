"""The dumbest search that is right: every live row compared in plain numpy, sorted in plain Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from visearch.filters import Filter
from visearch.index import Added, Candidates

U8 = NDArray[np.uint8]
Answer = tuple[int, int, int]  # distance, item id, region


@dataclass(frozen=True)
class Row:
    """One live code."""

    item_id: int
    region: int
    code: bytes
    metadata: Mapping[str, object]


@dataclass
class BruteForce:
    """Live rows by code id."""

    rows: dict[int, Row] = field(default_factory=dict)

    def search(self, code: U8, k: int, filter: Filter | None = None, max_distance: int | None = None) -> list[Answer]:
        found = []
        for row in self.rows.values():
            distance = int(np.bitwise_count(np.frombuffer(row.code, np.uint8) ^ code).sum())
            if (filter is None or filter.matches(row.metadata)) and (max_distance is None or distance <= max_distance):
                found.append((distance, row.item_id, row.region))
        return sorted(found)[:k]

    def arrays(self, bits: int) -> Added:
        """All rows, by code id."""
        return added(dict(sorted(self.rows.items())), bits)


def added(rows: Mapping[int, Row], bits: int) -> Added:
    """Rows by code id, as what `Index.apply` takes."""
    return Added(
        np.array(list(rows), np.int64),
        np.array([row.item_id for row in rows.values()], np.int64),
        np.array([row.region for row in rows.values()], np.int32),
        np.frombuffer(b"".join(row.code for row in rows.values()), np.uint8).reshape(-1, bits // 8),
        [row.metadata for row in rows.values()],
    )


def answers(found: Candidates) -> list[Answer]:
    """Candidates as the brute force gives them."""
    return list(zip(found.distances.tolist(), found.item_ids.tolist(), found.regions.tolist(), strict=True))


def clustered(count: int, bits: int, clusters: int, seed: int) -> U8:
    """Codes [count, bits/8]: cluster centres with a tenth of their bits flipped."""
    random = np.random.default_rng(seed)
    centres = random.integers(0, 2, (clusters, bits), np.uint8)
    flips = random.random((count, bits)) < 0.1
    return np.packbits(centres[random.integers(0, clusters, count)] ^ flips, axis=1)
