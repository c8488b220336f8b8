"""Which items a list shows, and which values their metadata has, remembered until the collection changes, and a moment
beyond: it takes a look at every item, too long to take one after each change."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from visearch.collection import Collection
from visearch.filters import Filter, as_float, elements
from visearch.store import Item
from web.schemas import Facet, Facets, FacetValue
from web.values import PRODUCT, clean

REMEMBERED = 32  # lists, of all collections together
LIST_SECONDS = 2.0  # so long a filtered list is shown although the collection has changed
FACET_SECONDS = 60.0  # and so long what can be filtered by
FACET_ITEMS = 100_000  # items that are looked at for the facets
MOST_DISTINCT = 1000  # values of a key that are counted
MOST_VALUES = 50  # values of a key that are shown
LONGEST_VALUE = 200  # characters of a value that can be chosen from a list
KINDS: dict[str, Literal["text", "number", "boolean"]] = {"string": "text", "number": "number", "bool": "boolean"}


@dataclass
class _Answer:
    """What was made of a collection at one serial."""

    value: Any = None
    serial: int = -1
    made: float = -math.inf
    lock: threading.Lock = field(default_factory=threading.Lock)


class Remembered:
    """Answers that hold while a collection is unchanged, and a little longer; the latest asked for are kept. Safe for
    threads: those who ask for the same wait for the one who makes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[Any, ...], _Answer] = OrderedDict()

    def get(self, key: tuple[Any, ...], serial: int, seconds: float, make: Callable[[], Any]) -> Any:
        """What `make` gave for this key at this serial, or in the last `seconds`; else what it gives now."""
        with self._lock:
            answer = self._answers.setdefault(key, _Answer())
            self._answers.move_to_end(key)
            while len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
        with answer.lock:
            if answer.serial != serial and time.monotonic() >= answer.made + seconds:
                answer.value, answer.serial, answer.made = make(), serial, time.monotonic()
            return answer.value


def passing(collection: Collection, filter: Filter | None, product: bool | None) -> list[int]:
    """Ids of the items that pass, ascending."""
    return [
        item.item_id
        for item in collection.items()
        if (filter is None or filter.matches(item.metadata))
        and (product is None or (PRODUCT in item.metadata) == product)
    ]


def facets_of(items: Iterable[Item]) -> Facets:
    """The keys that can be filtered by, of the first items."""
    seen: dict[str, _Seen] = {}
    looked_at = 0
    for item in islice(items, FACET_ITEMS):
        looked_at += 1
        for key, value in item.metadata.items():
            seen.setdefault(key, _Seen()).add(value)
    return Facets(items=looked_at, facets=[seen[key].facet(key) for key in sorted(seen) if seen[key].is_useful])


@dataclass
class _Seen:
    """What was seen of one key."""

    items: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    values: Counter[tuple[str, Any]] = field(default_factory=Counter)
    numbers: list[float] = field(default_factory=list)  # none, or the smallest and the largest

    def add(self, value: object) -> None:
        self.items += 1
        for kind, scalar in elements(value):
            if kind not in KINDS or (isinstance(scalar, str) and len(scalar) > LONGEST_VALUE):
                continue
            self.kinds[kind] += 1
            if kind == "number":
                number = as_float(scalar)
                self.numbers = [min([*self.numbers, number]), max([*self.numbers, number])]
            if (kind, scalar) in self.values or len(self.values) < MOST_DISTINCT:
                self.values[kind, scalar] += 1

    @property
    def is_useful(self) -> bool:
        """Whether a choice tells items apart and leaves several of them: titles and links do not."""
        shared = 1 < len(self.values) <= self.items / 2
        return shared or (len(self.numbers) == 2 and self.numbers[0] < self.numbers[1])

    def facet(self, key: str) -> Facet:
        kind, _ = self.kinds.most_common(1)[0]
        low, high = self.numbers or (None, None)
        return Facet(
            key=clean(key),
            type=KINDS[kind],
            count=self.items,
            distinct=len(self.values),
            values=[
                FacetValue(value=clean(value), count=count)
                for (_, value), count in self.values.most_common(MOST_VALUES)
            ],
            min=low,
            max=high,
        )
