"""What a search gives back."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, overload

from visearch.images import WHOLE, Box

if TYPE_CHECKING:
    from visearch.detector import Detection


@dataclass(frozen=True)
class Match:
    """One item found. `region` is the number of its best region and `box` that region; `distance` is Hamming, in bits;
    `score` in [-1, 1] is the cosine of the re-ranking vectors, or 1 - 2 distance / D without re-ranking; `width` and
    `height` are of the upright picture in pixels; `duplicates` is how many near-duplicates are folded into it;
    `content` is the SHA-256 of its file's bytes."""

    item: int
    region: int
    box: Box
    distance: int
    score: float
    source: str
    metadata: Mapping[str, Any]
    width: int = 0
    height: int = 0
    duplicates: int = 0
    content: bytes = field(default=b"", repr=False)

    @property
    def name(self) -> str:
        """A short name: its title or label where it has one, else its file's."""
        return str(self.metadata.get("title") or self.metadata.get("label") or PurePath(self.source).name)

    def to_json(self) -> dict[str, Any]:
        """As `visearch search --json` prints it."""
        shown = {name: value for name, value in vars(self).items() if name != "content"}
        return {**shown, "box": list(self.box), "metadata": dict(self.metadata)}


@dataclass(frozen=True)
class Results(Sequence[Match]):
    """A page of matches, best first. In a notebook it shows the pictures.

    Attributes:
        took: milliseconds by stage.
        reranked: which kind `score` is.
        model, generation, bits: what made the codes, and their length.
        thumbnail: gives the JPEG of an item.
        relevant: how many of the matches, from the first on, are above the relative cut-off; the rest is the tail.
        next: where the next page starts, None after the last.
        box: the region of the query that was searched for; for Lens that of the salient object.
        width, height: of the upright query picture in pixels; 0 where a whole item was searched for.
        objects: what the detector found in the query, where it was asked.
        coverage: the share of the corpus that was searched; less than 1 only while a shard of it is not to be had.
        turn: gives the page that starts at a place and has so many matches at most.
    """

    matches: tuple[Match, ...]
    took: Mapping[str, float]
    reranked: bool
    model: str
    generation: int
    bits: int = 0
    thumbnail: Callable[[int], bytes | None] = field(default=lambda item_id: None, repr=False, compare=False)
    relevant: int = 0
    next: int | None = None
    box: Box = WHOLE
    width: int = 0
    height: int = 0
    objects: tuple[Detection, ...] = ()
    coverage: float = 1.0
    turn: Callable[[int, int], Results] | None = field(default=None, repr=False, compare=False)

    def page(self, start: int, limit: int) -> Results:
        """The page of the same answer that starts at `start` (0, or the `next` of a page): at most `limit` matches.

        All pages come from the window that the query fixed, so nothing repeats or is lost between them; an item that
        was removed since is left out.
        """
        assert self.turn is not None, "these results were not made by a search"
        return self.turn(start, limit)

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

    @property
    def score(self) -> str:
        """Which kind the scores are: "cosine" or "hamming"."""
        return "cosine" if self.reranked else "hamming"

    def to_json(self) -> dict[str, Any]:
        """As `visearch search --json` prints it."""
        return {
            "matches": [match.to_json() for match in self.matches],
            "took": {stage: round(milliseconds, 3) for stage, milliseconds in self.took.items()},
            "score": self.score,
            "relevant": self.relevant,
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
