"""Manifests: CSV, JSONL or Parquet files with a `path` column and any metadata beside it."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from visearch import remote
from visearch.errors import UsageError

SUFFIXES = frozenset({".csv", ".jsonl", ".parquet"})
PARQUET_BATCH_ROWS = 4096
DEEPEST = 32  # lists in lists

# Plain numbers only: "007" and "1e5" stay text, because class names and article numbers look like that.
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?")


@dataclass(frozen=True)
class Row:
    """One row. `number` counts from 1 without the header; `path` is None where the row names no file, `address` where
    it names an object on a server (s3://..., https://...)."""

    number: int
    path: Path | None
    metadata: dict[str, object]
    problem: str = ""
    address: str = ""


def is_manifest(path: Path) -> bool:
    """Whether the file's suffix says that it is a manifest."""
    return path.suffix.lower() in SUFFIXES


def read_manifest(path: Path, folder: str = "") -> Iterator[Row]:
    """Yield the rows of a manifest in order, a few at a time. Relative paths are relative to the manifest's folder, or
    to `folder`: the address, ending in /, of that from which the manifest was copied.

    Metadata values are str, int, float, bool or lists of these; empty and null values are left out. Dates become ISO
    8601 text, decimals floats, nested objects JSON text, other types and integers over 64 bits text. A broken line of a
    JSONL file is a row with a `problem`, and does not stop the others.

    Raises:
        UsageError: the file cannot be read, has no `path` column, or is not of the format its suffix says.
    """
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
    try:
        for number, values in enumerate(readers[path.suffix.lower()](path), 1):
            if isinstance(values, str):
                yield Row(number, None, {}, values)
                continue
            name = values.get("path")
            metadata = metadata_of({key: value for key, value in values.items() if key != "path"})
            if isinstance(name, str) and _can_be_a_path(name):
                name = name if remote.is_remote(name) or name.startswith("/") else folder + name
                if remote.is_remote(name):
                    yield Row(number, None, metadata, "on a server, not on this machine", name)
                else:
                    yield Row(number, path.parent / name, metadata)
            else:
                yield Row(number, None, metadata, "no usable `path` in this row")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from None


def metadata_of(values: Mapping[Any, object]) -> dict[str, object]:
    """What is kept of the values beside a picture, see `read_manifest`."""
    plain = {_text(str(key)): _plain(value) for key, value in values.items()}
    return {key: value for key, value in plain.items() if value is not None and value != ""}


def _can_be_a_path(name: str) -> bool:
    try:
        return b"\0" not in os.fsencode(name) and name != ""
    except UnicodeEncodeError:
        return False


def _plain(value: object, depth: int = 0) -> object:
    """A value as metadata holds it; None for what is to be left out."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, list):
        if depth == DEEPEST:  # what stores it, and what asks for it, would not go so deep
            return None
        return [plain for each in value if (plain := _plain(each, depth + 1)) is not None]
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, dict):
        return json.dumps(value, default=str)
    return str(value)


def _text(text: str) -> str:
    """Without halves of surrogate pairs, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def _read_csv(path: Path) -> Iterator[Mapping[str, object]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        try:
            if "path" not in (rows.fieldnames or ()):
                raise UsageError(f"{path}: the header has no `path` column; columns are separated by commas")
            for row in rows:
                yield {
                    key: value if key == "path" else number_or_text(value)
                    for key, value in row.items()
                    if key and value is not None
                }
        except (UnicodeDecodeError, csv.Error) as error:
            raise UsageError(f"{path}: not a CSV file in UTF-8 (line {rows.line_num}: {error})") from None


def number_or_text(text: str) -> int | float | str:
    """What the text of a CSV file's field says."""
    found = _NUMBER.fullmatch(text)
    if not found:
        return text
    return float(text) if found[2] else int(text)


def _read_jsonl(path: Path) -> Iterator[Mapping[str, object] | str]:
    with path.open("rb") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield f"not JSON ({error})"
                continue
            yield values if isinstance(values, dict) else "not a JSON object"


def _rows_of(batch: Any) -> Iterator[Mapping[str, object] | str]:
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError):  # text that is not UTF-8, a date beyond the year 9999: in one row of many
        for number in range(batch.num_rows):
            try:
                yield batch.slice(number, 1).to_pylist()[0]
            except (ValueError, OverflowError) as error:
                yield f"a value in this row cannot be read ({error})"


def _read_parquet(path: Path) -> Iterator[Mapping[str, object] | str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if "path" not in file.schema_arrow.names:
                raise UsageError(f"{path}: has no `path` column")
            for batch in file.iter_batches(PARQUET_BATCH_ROWS):
                yield from _rows_of(batch)
    except pa.ArrowException as error:
        raise UsageError(f"{path}: not a Parquet file ({error})") from None
