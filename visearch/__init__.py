"""A visual search engine: index pictures, search them with a picture or a crop.

from visearch import Collection

with Collection.open(".visearch") as collection:
    results = collection.search("photo.jpg", box=(0.2, 0.3, 0.7, 0.9), limit=10)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from visearch.errors import VisearchError

if TYPE_CHECKING:
    from visearch.collection import Collection
    from visearch.filters import Filter
    from visearch.results import Match, Results

__all__ = ["Collection", "Filter", "Match", "Results", "VisearchError"]

_HOMES = {"Collection": "collection", "Filter": "filters", "Match": "results", "Results": "results"}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `visearch --help` loads no index."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"visearch.{_HOMES[name]}"), name)
