"""What a search gives back."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, overload

from visearch.images import Box


@dataclass(frozen=True)
class Match:
    """One item found. `region` is the number of its best region and `box` that region; `distance` is Hamming, in bits;
    `score` in [-1, 1] is the cosine of the re-ranking vectors, or 1 - 2 distance / D without re-ranking."""

    item: int
    region: int
    box: Box
    distance: int
    score: float
    source: str
    metadata: Mapping[str, Any]

    @property
    def name(self) -> str:
        """A short name: its title or label where it has one, else its file's."""
        return str(self.metadata.get("title") or self.metadata.get("label") or PurePath(self.source).name)

    def to_json(self) -> dict[str, Any]:
        """As `visearch search --json` prints it."""
        return {**vars(self), "box": list(self.box), "metadata": dict(self.metadata)}


@dataclass(frozen=True)
class Results(Sequence[Match]):
    """Matches, best first. `took` is milliseconds by stage; `reranked` says which kind `score` is; `model` and
    `generation` say what made the codes; `thumbnail` gives the JPEG of an item. In a notebook it shows the pictures."""

    matches: tuple[Match, ...]
    took: Mapping[str, float]
    reranked: bool
    model: str
    generation: int
    thumbnail: Callable[[int], bytes | None] = field(default=lambda item_id: None, repr=False, compare=False)

    @overload
    def __getitem__(self, index: int) -> Match: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Match, ...]: ...
    def __getitem__(self, index: int | slice) -> Match | tuple[Match, ...]:
        return self.matches[index]

    def __len__(self) -> int:
        return len(self.matches)

    def __iter__(self) -> Iterator[Match]:
        return iter(self.matches)

    def to_json(self) -> dict[str, Any]:
        """As `visearch search --json` prints it."""
        return {
            "matches": [match.to_json() for match in self.matches],
            "took": {stage: round(milliseconds, 3) for stage, milliseconds in self.took.items()},
            "score": "cosine" if self.reranked else "hamming",
            "model": self.model,
            "generation": self.generation,
        }

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<figure style='display:inline-block;width:160px;margin:4px;vertical-align:top;font:12px sans-serif'>"
            f"{_picture(self.thumbnail(match.item))}<figcaption>{match.score:.3f} &middot; {match.distance} bits<br>"
            f"<span style='overflow-wrap:anywhere'>{html.escape(match.name)}</span></figcaption></figure>"
            for match in self.matches
        )
        return f"<div>{cells or 'no matches'}</div>"


def _picture(jpeg: bytes | None) -> str:
    if jpeg is None:
        return ""
    data = base64.b64encode(jpeg).decode("ascii")
    return f"<img style='max-width:160px;max-height:160px' src='data:image/jpeg;base64,{data}'>"
