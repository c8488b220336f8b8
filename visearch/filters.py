"""Filters over metadata: what they mean (`Filter.matches`) and how they are written (`Filter.parse`).

A filter is a JSON object. All its keys must match (AND). The condition of a key is
    a scalar             {"label": "chair"}                equal
    a list of scalars    {"label": ["chair", "stool"]}     equal to any (OR)
    a range              {"price": {"gte": 10, "lt": 20}}  numbers only; gt, gte, lt, lte, all that are given
    presence             {"product": {"exists": true}}     the key is there with a value that can be compared
Types are kept apart: true is not 1, "1" is not 1, but 1 is 1.0. null matches a value that is null; a key that an item
does not have matches nothing. Where an item's value is a list, one matching element is enough. NaN matches nothing.
Equality of numbers is exact; ranges compare as float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import ge, gt, le, lt

from visearch.errors import FilterError

Scalar = str | bool | int | float | None
Typed = tuple[str, Scalar]  # (kind, value): keeps True apart from 1, while 1 equals 1.0

COMPARE: dict[str, Callable[[float, float], bool]] = {"gt": gt, "gte": ge, "lt": lt, "lte": le}


@dataclass(frozen=True)
class AnyOf:
    """Equal to any of these."""

    values: frozenset[Typed]

    def matches(self, value: Typed) -> bool:
        """Whether one element of an item's value satisfies this."""
        return value in self.values


@dataclass(frozen=True)
class Range:
    """A number within every bound (operator, float64)."""

    bounds: tuple[tuple[str, float], ...]

    def matches(self, value: Typed) -> bool:
        """Whether one element of an item's value satisfies this."""
        kind, number = value
        return kind == "number" and all(COMPARE[name](as_float(number), bound) for name, bound in self.bounds)


@dataclass(frozen=True)
class Exists:
    """Anything that can be compared."""

    def matches(self, value: Typed) -> bool:
        """Whether one element of an item's value satisfies this."""
        return True


Condition = AnyOf | Range | Exists


@dataclass(frozen=True)
class Filter:
    """Conditions by key, all of which must hold. Made by `parse`; hashable, so that what it selects can be cached."""

    conditions: tuple[tuple[str, Condition], ...]

    @staticmethod
    def parse(value: object) -> Filter:
        """Check a JSON value (see the module's text).

        Raises:
            FilterError: naming the key whose condition is malformed.
        """
        if not isinstance(value, Mapping):
            raise FilterError(f"a filter is a JSON object of key: condition, not {_kind(value)}")
        for key in value:
            if not isinstance(key, str):
                raise FilterError(f"filter key {key!r} is not a string")
        return Filter(tuple((key, _condition(key, value[key])) for key in sorted(value)))

    def and_(self, key: str, condition: Condition) -> Filter:
        """This, and one condition more."""
        return Filter((*self.conditions, (key, condition)))

    def matches(self, metadata: Mapping[str, object]) -> bool:
        """Whether one item's metadata satisfies every condition."""
        return all(
            any(condition.matches(element) for element in elements(metadata[key])) if key in metadata else False
            for key, condition in self.conditions
        )


def elements(value: object) -> list[Typed]:
    """The comparable elements of a metadata value: itself, or those of a list. Other types and NaN have none."""
    several = value if isinstance(value, (list, tuple)) else (value,)
    return [typed for element in several if (typed := _typed(element)) is not None]


def as_float(number: Scalar) -> float:
    """A number as float64; integers beyond its range become infinite."""
    assert isinstance(number, (int, float))
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _typed(value: object) -> Typed | None:
    """(kind, value) of a scalar that can be compared, else None."""
    if value is None:
        return ("null", None)
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, str):
        return ("string", value)
    if isinstance(value, int) or (isinstance(value, float) and not math.isnan(value)):
        return ("number", value)
    return None


def _condition(key: str, value: object) -> Condition:
    if isinstance(value, Mapping):
        if "exists" in value:
            return _exists(key, value)
        return _range(key, value)
    if isinstance(value, (list, tuple)):
        return AnyOf(frozenset(_scalar(key, element) for element in value))
    return AnyOf(frozenset([_scalar(key, value)]))


def _scalar(key: str, value: object) -> Typed:
    typed = _typed(value)
    if typed is None:
        raise FilterError(
            f"filter key {key!r}: cannot compare with {_kind(value)}; use text, a number, true, false or null"
        )
    return typed


def _exists(key: str, value: Mapping[object, object]) -> Exists:
    if len(value) > 1 or value["exists"] is not True:
        raise FilterError(f'filter key {key!r}: presence is {{"exists": true}}, with nothing beside it')
    return Exists()


def _range(key: str, bounds: Mapping[object, object]) -> Range:
    if not bounds:
        raise FilterError(f"filter key {key!r}: an empty range; give some of {', '.join(COMPARE)}")
    checked = []
    for name, bound in bounds.items():
        if name not in COMPARE:
            raise FilterError(f"filter key {key!r}: unknown operator {name!r}; there are {', '.join(COMPARE)}")
        typed = _typed(bound)
        if typed is None or typed[0] != "number":
            raise FilterError(f"filter key {key!r}: {name} needs a number, not {_kind(bound)}")
        checked.append((str(name), as_float(typed[1])))
    return Range(tuple(sorted(checked)))


def _kind(value: object) -> str:
    """What a wrong value is, in JSON's words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    words = {dict: "an object", list: "a list", tuple: "a list", str: "text", int: "a number", float: "a number"}
    return words.get(type(value), f"a {type(value).__name__}")
