"""Random collections without pictures, and the plainest search that could be right: compare with everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visearch import codes
from visearch.collection import Collection
from visearch.filters import Filter
from visearch.ingest import Embedded, File, commit, remove_items
from visearch.results import Results

COLOURS = ("red", "green", "blue")


@dataclass
class Random:
    """Random items, in few clusters and with few bits set apart, so that ties in distance are common."""

    bits: int
    seed: int
    random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.centres = self.random.standard_normal((5, self.bits)).astype(np.float32)

    def embedding(self) -> codes.F32:
        """float32 [D] near one of the centres."""
        noise = self.random.standard_normal(self.bits).astype(np.float32)
        values: codes.F32 = self.centres[self.random.integers(5)] + np.float32(0.2) * noise
        return values

    def metadata(self) -> dict[str, Any]:
        """A colour, a price, and now and then tags."""
        values: dict[str, Any] = {"colour": str(self.random.choice(COLOURS)), "price": int(self.random.integers(100))}
        return values | ({"tags": ["a", "b"][: self.random.integers(3)]} if self.random.random() < 0.3 else {})

    def filter(self) -> dict[str, Any] | None:
        """A filter that many, few or none pass; or none."""
        return (
            None,
            {"colour": "red"},
            {"colour": ["red", "blue"], "price": {"gte": 20, "lt": 60}},
            {"price": {"lte": 3}},
            {"tags": "b"},
            {"colour": "no such colour"},
        )[self.random.integers(6)]  # fmt: skip


def embedded(item_id: int, embedding: codes.F32, metadata: Mapping[str, Any], model: str) -> Embedded:
    """What preparing a picture would give, by the model of this SHA-256."""
    file = File(item_id, f"memory/{item_id}", 1, 1, "memory", dict(metadata), authoritative=True)
    vectors = codes.to_rows(*codes.quantize(embedding[None]))
    content = embedding.tobytes()[:24] + item_id.to_bytes(8)
    return Embedded(file, content, 10, 10, b"jpeg", codes.pack(embedding[None]), vectors, model)


@dataclass
class Reference:
    """A dictionary of what a collection should hold, searched by comparing with every item."""

    items: dict[int, tuple[codes.F32, dict[str, Any]]] = field(default_factory=dict)
    _bits: dict[int, codes.U8] = field(default_factory=dict)
    _vectors: dict[int, NDArray[np.float64]] = field(default_factory=dict)

    def hold(self, item_id: int, embedding: codes.F32, metadata: dict[str, Any]) -> None:
        """Add or replace an item here."""
        self.items[item_id] = embedding, metadata
        self._bits[item_id] = (embedding > 0).astype(np.uint8)
        self._vectors[item_id] = codes.quantize(embedding[None])[0][0].astype(np.float64)

    def put(self, collection: Collection, values: Mapping[int, tuple[codes.F32, dict[str, Any]]]) -> None:
        """Add or replace items, here and there."""
        model = collection.generation.model_sha256
        commit(collection.store, [embedded(number, *value, model) for number, value in values.items()])
        for item_id, value in values.items():
            self.hold(item_id, *value)

    def remove(self, collection: Collection, item_ids: list[int]) -> None:
        """Remove items, here and there."""
        assert remove_items(collection.store, item_ids) == sum(each in self.items for each in set(item_ids))
        for item_id in item_ids:
            self.items.pop(item_id, None)

    def check(
        self,
        results: Results,
        query: codes.F32 | int,
        *,
        limit: int,
        filter: Mapping[str, Any] | None = None,
        max_distance: int | None = None,
        rerank: bool = True,
        window: int = 1000,
    ) -> None:
        """Assert that results are the best there are, in their order, with their values. `query` is an embedding, or an
        item, which searches with its code and its int8 copy, and never finds itself.

        Cosines are computed another way here, so matches whose scores are equal to rounding may change places.
        """
        passes = Filter.parse(filter or {}).matches
        excluded = query if isinstance(query, int) else None
        embedding = self.items[query][0] if isinstance(query, int) else query
        bits = embedding > 0
        vector = codes.dequantize(*codes.quantize(embedding[None]))[0] if isinstance(query, int) else embedding
        found = []
        for item_id, (_, metadata) in self.items.items():
            distance = int((self._bits[item_id] != bits).sum())
            if item_id != excluded and passes(metadata) and (max_distance is None or distance <= max_distance):
                found.append((distance, item_id))
        found = sorted(found)
        if not rerank:
            assert [(match.distance, match.item) for match in results] == found[:limit]
            assert [match.score for match in results] == [1 - 2 * each / len(bits) for each, _ in found[:limit]]
            return
        found = found[: max(limit, window)]
        scores = {item_id: self.cosine(vector, item_id) for _, item_id in found}
        distances = {item_id: distance for distance, item_id in found}
        assert len(results) == min(limit, len(found))
        assert len({match.item for match in results}) == len(results)
        assert [match.score for match in results] == sorted((match.score for match in results), reverse=True)
        best = sorted(scores.values(), reverse=True)
        for match, score in zip(results, best, strict=False):
            assert abs(match.score - scores[match.item]) < 1e-5
            assert abs(match.score - score) < 1e-5
            assert match.distance == distances[match.item]
            assert match.metadata == self.items[match.item][1]

    def cosine(self, query: codes.F32, item_id: int) -> float:
        """Of the query with the int8 copy of an item, in float64."""
        vector = self._vectors[item_id]
        norms = np.linalg.norm(vector) * np.linalg.norm(query.astype(np.float64))
        return float(vector @ query / norms) if norms else 0.0


def empty(path: Path, model: Path) -> Collection:
    """A collection of a model, with nothing in it."""
    return Collection.open(path, create=True, model=model)
