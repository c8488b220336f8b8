"""Which items a list shows, and which values their metadata has, remembered until the collection changes."""

from __future__ import annotations

import threading
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
FACET_ITEMS = 100_000  # items that are looked at for the facets
MOST_DISTINCT = 1000  # values of a key that are counted
MOST_VALUES = 50  # values of a key that are shown
LONGEST_VALUE = 200  # characters of a value that can be chosen from a list
KINDS: dict[str, Literal["text", "number", "boolean"]] = {"string": "text", "number": "number", "bool": "boolean"}


class Remembered:
    """Answers that hold as long as a collection is unchanged; the latest asked for are kept. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

    def get(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What is known by this key, made now where nothing is."""
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        made = make()
        with self._lock:
            self._known[key] = made
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return made


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
