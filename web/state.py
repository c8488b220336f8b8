"""What the views of one app share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from flask import current_app, g

from visearch.collection import Collection
from visearch.detector import Detector
from visearch.results import Results
from web.auth import Keys
from web.config import Config
from web.fetch import Fetcher
from web.limits import Gate
from web.listing import Remembered
from web.measures import Measures
from web.pages import Pages
from web.problems import invalid
from web.searchlog import SearchLog

EXTENSION = "visearch"


@dataclass(frozen=True)
class Kept:
    """An answer whose further pages can be asked for, and what it was an answer to."""

    mode: str
    collection: str
    query: Mapping[str, Any]
    results: Results


@dataclass(frozen=True)
class State:
    """The collections by name, the first of which is meant where none is named, and what works on them. Searches and
    uploads pass the `gate`, pictures that are encoded anew pass `encoding`, fetches `fetching`."""

    collections: Mapping[str, Collection]
    detector: Detector | None
    config: Config
    keys: Keys
    gate: Gate
    encoding: Gate
    fetching: Gate
    pages: Pages[Kept]
    fetcher: Fetcher
    measures: Measures
    logs: Mapping[str, SearchLog]
    lists: Remembered

    def named(self, name: str | None) -> tuple[str, Collection]:
        """A collection and its name; Problem 404 where none is called that."""
        if name is None:
            name = next(iter(self.collections))
        collection = self.collections.get(name)
        if collection is None:
            raise invalid("collection", "no collection of that name is served here", 404)
        return name, collection

    def fetch(self, url: str) -> bytes:
        """The picture at an address, for a view that holds a turn: it is another's while the network is waited for.

        Raises:
            Problem: see Fetcher.fetch; 429, too many are fetching.
        """
        with self.fetching.turn(), self.gate.aside():
            return self.fetcher.fetch(url)


def state() -> State:
    """That of the app whose request this is."""
    return cast(State, current_app.extensions[EXTENSION])


def add_times(took: Mapping[str, float]) -> None:
    """Milliseconds by stage, for Server-Timing and the measures."""
    times = g.setdefault("took", {})
    for stage, milliseconds in took.items():
        times[stage] = times.get(stage, 0.0) + milliseconds
