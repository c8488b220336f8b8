"""visearch: search pictures by pictures. `Collection` is where a program starts; see visearch.collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visearch.collection import Collection

__all__ = ["Collection"]


def __getattr__(name: str) -> object:
    """Import `Collection` when it is first asked for: the command line starts without what a search needs."""
    if name == "Collection":
        from visearch.collection import Collection

        return Collection
    raise AttributeError(f"module 'visearch' has no attribute {name!r}")
