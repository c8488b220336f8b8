"""Further pages of a query, from the window that its first page was cut from: nothing repeats or is lost between them.

A window is kept here, not searched for again, so that what is indexed meanwhile changes no page. A cursor names a
window and a place in it. Windows are kept in memory, the latest so many; after that, or a restart, a cursor is unknown.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from web.problems import invalid

Kept = TypeVar("Kept")
SEPARATOR = "."


@dataclass(frozen=True)
class Cursor:
    """The query, and the place in its window where the page begins."""

    query_id: str
    start: int

    def text(self) -> str:
        """What a client gets."""
        return encode(f"{self.query_id}{SEPARATOR}{self.start}")


class Pages(Generic[Kept]):
    """The latest windows by query id. Safe for threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._windows: OrderedDict[str, Kept] = OrderedDict()

    def keep(self, query_id: str, window: Kept) -> None:
        """Remember a window, and forget the one longest unused where there are too many."""
        with self._lock:
            self._windows[query_id] = window
            while len(self._windows) > self._most:
                self._windows.popitem(last=False)

    def find(self, text: str) -> tuple[Cursor, Kept]:
        """The cursor and its window; Problem 422 where the text is none of ours or the window is forgotten."""
        query_id, _, start = decode(text).partition(SEPARATOR)
        with self._lock:
            window = self._windows.get(query_id)
            if window is not None:
                self._windows.move_to_end(query_id)
        if window is None or not (start.isdecimal() and len(start) < 10):
            raise invalid("cursor", "is unknown, or too old; search again", 422)
        return Cursor(query_id, int(start)), window


def encode(text: str) -> str:
    """An opaque form of ASCII text for addresses."""
    return base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii").rstrip("=")


def decode(text: str) -> str:
    """The text again; Problem 422 where it is not of that form."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise invalid("cursor", "is not one that was given out here", 422) from None
