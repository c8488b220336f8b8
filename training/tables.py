"""TOML tables -> dataclasses. The fields' annotations are the schema, and every mistake is one line with file and key.

Understood: nested dataclasses, tuples of them (`[[arrays]]` of tables), numbers with bounds, Literal, Path, tuples, and
mappings of column -> values.
"""

from __future__ import annotations

import difflib
import os
import re
import types
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, TypeVar, Union, get_args, get_origin, get_type_hints

from visearch.errors import UsageError

Table = TypeVar("Table")

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::-([^}]*))?\})")


@dataclass(frozen=True)
class Between:
    """Inclusive bounds of a number, as the metadata of an Annotated type."""

    low: float
    high: float = inf

    def __str__(self) -> str:
        return f"{self.low:g} or more" if self.high == inf else f"between {self.low:g} and {self.high:g}"


Count = Annotated[int, Between(1)]
Natural = Annotated[int, Between(0)]
Share = Annotated[float, Between(0, 1)]
Amount = Annotated[float, Between(0)]
Above = Annotated[float, Between(1e-6)]  # a number to divide by
Columns = Mapping[str, tuple[str, ...]]  # column -> the values meant; one value may stand without brackets


class Placed(str):
    """A text that another file gave: a path in it is relative to that file's folder."""

    folder: Path


def placed(value: Any, folder: Path) -> Any:
    """The value, each text in it Placed in a folder; those that have a place keep it."""
    if isinstance(value, Mapping):
        return {key: placed(each, folder) for key, each in value.items()}
    if isinstance(value, list):
        return [placed(each, folder) for each in value]
    if not isinstance(value, str) or isinstance(value, Placed):
        return value
    text = Placed(value)
    text.folder = folder
    return text


def _unplaced(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _unplaced(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_unplaced(each) for each in value]
    return str(value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Reader:
    """Makes dataclasses of the tables of one file.

    Attributes:
        file: how messages call it.
        folder: what relative paths are relative to.
        must_exist: whether a path that is not there is an error.
    """

    file: str
    folder: Path
    must_exist: bool = True

    def read(self, kind: type[Table], table: object, place: str = "") -> Table:
        """Make a `kind` of a table; `place` is the dotted key of the table.

        Raises:
            UsageError: an unknown or missing key, a value of the wrong type or out of bounds, a path that is not there
                or names a variable that is not set.
        """
        if not isinstance(table, Mapping):
            raise self._error(place, f"{_shown(table)} is not a table")
        assert is_dataclass(kind)
        known = {field.name: field for field in fields(kind)}
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                raise self._error(_join(place, key), f"no such key; {hint}")
        for field in known.values():
            if field.name not in table and _required(field):
                raise self._error(place, f"`{field.name}` is missing")
        hints = get_type_hints(kind, include_extras=True)
        return kind(**{key: self._value(hints[key], value, _join(place, key)) for key, value in table.items()})

    def _value(self, kind: Any, value: object, place: str) -> Any:
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Annotated:
            number = self._value(arguments[0], value, place)
            if not arguments[1].low <= number <= arguments[1].high:
                raise self._error(place, f"{_shown(value)} is not {arguments[1]}")
            return number
        if origin in {Union, types.UnionType}:  # T | None
            return None if value is None else self._value(arguments[0], value, place)
        if origin is Literal:
            if value not in arguments:
                raise self._error(place, f"{_shown(value)} is not one of {', '.join(map(_shown, arguments))}")
            return _unplaced(value)
        if origin is tuple:
            return self._tuple(arguments[0], value, place)
        if kind == Columns:
            return {key: self._values(each, _join(place, key)) for key, each in self._mapping(value, place).items()}
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {
                key: self._value(arguments[1], each, _join(place, key))
                for key, each in self._mapping(value, place).items()
            }
        if kind is Path:
            return self.path(value, place)
        if isinstance(kind, type) and is_dataclass(kind):
            return self.read(kind, value, place)
        if kind is Any:
            return _unplaced(value)
        return self._plain(kind, value, place)

    def _plain(self, kind: type, value: object, place: str) -> object:
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            names = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
            raise self._error(place, f"{_shown(value)} is not {names[kind]}")
        return _unplaced(value)

    def _mapping(self, value: object, place: str) -> Mapping[str, object]:
        if not isinstance(value, Mapping):
            raise self._error(place, f'{_shown(value)} is not a table, as in {{ column = "value" }}')
        return value

    def _tuple(self, kind: Any, value: object, place: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            hint = f"; write [[{place}]]" if is_dataclass(kind) else ""
            raise self._error(place, f"{_shown(value)} is not a list{hint}")
        return tuple(self._value(kind, each, _place_of(place, number, each)) for number, each in enumerate(value, 1))

    def _values(self, value: object, place: str) -> tuple[str, ...]:
        """One value, a list of them, or a text that ends in .txt: a file of them, one a line."""
        if isinstance(value, str) and value.endswith(".txt"):
            return lines_of(self.path(value, place))
        values = value if isinstance(value, list | tuple) else [value]
        return tuple(self._column_value(each, place) for each in values)

    def _column_value(self, value: object, place: str) -> str:
        if not isinstance(value, str | int | float):
            raise self._error(place, f"{_shown(value)} is not a value that a column can hold")
        return as_text(value)

    def path(self, value: object, place: str) -> Path:
        """What a text means as a path, variables and `~` expanded; raises UsageError as `read`."""
        if isinstance(value, Path):
            return value
        if not isinstance(value, str) or not value:
            raise self._error(place, f"{_shown(value)} is not a path")
        folder = value.folder if isinstance(value, Placed) else self.folder
        path = folder / Path(_VARIABLE.sub(lambda found: self._variable(found, place), value)).expanduser()
        path = Path(os.path.normpath(path))
        if self.must_exist and not path.exists():
            said = f" (written {value})" if "$" in value else ""
            raise self._error(place, f"{path}: no such file or folder{said}")
        return path

    def _variable(self, found: re.Match[str], place: str) -> str:
        name = found[1] or found[2]
        value = os.environ.get(name)
        if value:  # what a person sets is relative to where they are
            return str(Path(value).expanduser().absolute()) if found.start() == 0 else value
        if found[3] is None:
            raise self._error(place, f"the environment variable {name} is not set")
        return found[3]

    def _error(self, place: str, problem: str) -> UsageError:
        return UsageError(f"{self.file}: {place}: {problem}" if place else f"{self.file}: {problem}")


def override(table: Mapping[str, Any], overrides: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Return the table with other values at dotted keys, such as `schedule.epochs`; None takes a key or table away.

    An entry of an array of tables goes by its name: `data.photos.weight`.

    Raises:
        UsageError: a key leads through something that is not a table, or to an entry that is not there.
    """
    changed: dict[str, Any] = dict(table)
    for dotted, value in overrides.items():
        key, _, rest = dotted.partition(".")
        if not rest:
            if value is None:
                changed.pop(key, None)
            else:
                changed[key] = value
            continue
        inner = changed.get(key, {})
        if isinstance(inner, list):
            changed[key] = _override_entry(inner, rest, value, f"{file}: {key}")
        elif isinstance(inner, Mapping):
            changed[key] = override(inner, {rest: value}, f"{file}: {key}")
        else:
            raise UsageError(f"{file}: {dotted}: {key} is {_shown(inner)}, not a table")
    return changed


def _override_entry(entries: list[Any], dotted: str, value: object, file: str) -> list[Any]:
    named = {each["name"]: each for each in entries if isinstance(each, Mapping) and "name" in each}
    meant = [name for name in named if dotted == name or dotted.startswith(f"{name}.")]
    name = max(meant, key=len, default=None)
    if name is None:
        raise UsageError(f"{file}: no entry is named {dotted.partition('.')[0]}; there are {', '.join(named)}")
    rest = dotted[len(name) + 1 :]
    if rest:
        new = override(named[name], {rest: value}, f"{file}.{name}")
        return [new if each is named[name] else each for each in entries]
    if value is None:
        return [each for each in entries if each is not named[name]]
    return [value if each is named[name] else each for each in entries]


def merge(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table of tables with changes: of a table inside, key by key; of an array of named tables, likewise by
    their names, those of new names after the others; anything else, an empty array too, is replaced.
    """
    merged: dict[str, Any] = dict(table)
    for key, value in changes.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[key] = {**before, **value}
        elif _are_named(before) and _are_named(value):
            entries = {each["name"]: each for each in before}
            for each in value:
                entries[each["name"]] = {**entries.get(each["name"], {}), **each}
            merged[key] = list(entries.values())
        else:
            merged[key] = value
    return merged


def _are_named(entries: object) -> TypeGuard[list[Mapping[str, Any]]]:
    if not isinstance(entries, list) or not entries:
        return False
    names = [each.get("name") if isinstance(each, Mapping) else None for each in entries]
    return all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


def lines_of(path: Path) -> tuple[str, ...]:
    """The lines of a text file that are not empty, without the space around them; raises UsageError."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as text ({getattr(error, 'strerror', None) or error})") from None
    return tuple(line.strip() for line in lines if line.strip())


def as_text(value: object) -> str:
    """A value of a column as class names and comparisons take it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _place_of(place: str, number: int, value: object) -> str:
    name = value.get("name") if isinstance(value, Mapping) else None
    return _join(place, name) if isinstance(name, str) else f"{place}[{number}]"


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _shown(value: object) -> str:
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    if isinstance(value, bool):
        text = text.lower()
    return text if len(text) <= 60 else f"{text[:57]}..."


def named_twice(key: str, names: Sequence[str]) -> Iterator[str]:
    """What is wrong with an array of tables of which two have one name."""
    for name, times in Counter(names).items():
        if times > 1:
            yield f"{key}: two entries are named {name}"
