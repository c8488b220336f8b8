"""Shards: files that hold many pictures. Read from beginning to end in bounded memory, or one picture of them.

Of tar a sample is held at a time, of Parquet a page as its writer made it (pyarrow: up to 1,024 rows) and a few rows.

- *Tar*, as webdataset has them: members with the same path up to the first dot of their name are a sample; `.json` and
  `.txt` beside a picture are its metadata.
- *Parquet* with the bytes of pictures: a binary column, or a struct with `bytes` as Hugging Face has it.

A picture's name in its shard is that of its member, or the number of its row from 0.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import PurePosixPath
from typing import IO, Any

from visearch import settings
from visearch.errors import ImageError, VisearchError
from visearch.formats import SUPPORTED_SUFFIXES
from visearch.manifest import metadata_of

SUFFIXES = frozenset({".tar", ".parquet"})
COLUMNS = ("image", "jpg", "jpeg", "png", "webp", "img", "image_bytes")  # of pictures, the first that is there
ROWS_TOGETHER = 16
MOST_METADATA = 1 << 20  # bytes of a .json or .txt
SAMPLE_MEMBERS, SAMPLE_BYTES = 64, 64 << 20  # more in one sample are given on before it ends
BUFFER = 1 << 20

_MEMBER = re.compile(r"(.+?\.(?:tar|parquet))#(.+)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Member:
    """A picture in a shard; without `data`, why it cannot be used: `reason` in one word, `problem` in a few."""

    name: str
    data: bytes = b""
    metadata: dict[str, object] = field(default_factory=dict)
    reason: str = ""
    problem: str = ""


class ShardError(VisearchError):
    """A shard is damaged or of another format. What came before is good."""


def split(source: str) -> tuple[str, str] | None:
    """The shard and the name in it, where a source is a picture in a shard."""
    found = _MEMBER.fullmatch(source)
    return (found[1], found[2]) if found else None


def is_shard(name: str, file: IO[bytes] | None = None) -> bool:
    """Whether a file is a shard: by its suffix, and a Parquet file by a column of pictures (else it is a manifest)."""
    if name.lower().endswith(".tar"):
        return True
    if not name.lower().endswith(".parquet") or file is None:
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return _column(pq.read_schema(file)) is not None
    except (pa.ArrowException, OSError):
        return False


def members(name: str, file: IO[bytes]) -> Iterator[Member]:
    """The pictures of a shard in order. ShardError where the rest of it cannot be read."""
    return _tar(file) if name.lower().endswith(".tar") else _parquet(file)


def read_member(shard: str, file: IO[bytes], name: str) -> bytes:
    """The bytes of one picture.

    Raises:
        ImageError: it is not there, or cannot be read (unreadable), or has over max_file_megabytes (too-large).
    """
    limit = int(settings.number("max_file_megabytes") * settings.MEGABYTE)
    try:
        data = _tar_member(file, name, limit) if shard.lower().endswith(".tar") else _parquet_row(file, name)
    except ShardError as error:
        raise ImageError("unreadable", f"{shard}#{name}: {error.message}") from None
    if data is None:
        raise ImageError("unreadable", f"{shard}: has no {name} any more")
    if len(data) > limit:
        raise ImageError("too-large", f"{shard}#{name}: over {limit} bytes (max_file_megabytes)")
    return data


# Tar


def _headers(file: IO[bytes]) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Headers in order. Unlike tarfile, which takes a damaged one for the end, this says so."""
    try:
        with tarfile.open(fileobj=file, mode="r:", errorlevel=0) as archive:
            while (header := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # else it remembers all of them
                yield archive, header
            file.seek(archive.offset)
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise ShardError(f"damaged at byte {archive.offset}")
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise ShardError(f"damaged, or no tar file ({error})") from None


def _tar(file: IO[bytes]) -> Iterator[Member]:
    limit = int(settings.number("max_file_megabytes") * settings.MEGABYTE)
    key, sample, held = "", dict[str, Member | bytes](), 0
    try:
        for archive, header in _headers(file):
            path = PurePosixPath(header.name)
            suffix = path.suffix.lower()
            is_picture, is_metadata = suffix in SUPPORTED_SUFFIXES, suffix in (".json", ".txt")
            if not header.isfile() or path.name.startswith(".") or not (is_picture or is_metadata):
                continue
            own = str(path.parent / path.name.split(".")[0])
            if own != key or len(sample) >= SAMPLE_MEMBERS or held >= SAMPLE_BYTES:
                yield from _sample(sample)
                key, sample, held = own, {}, 0
            if is_picture and header.size > limit:
                problem = f"over {limit} bytes (max_file_megabytes)"
                sample[header.name] = Member(header.name, reason="too-large", problem=problem)
            elif is_picture:
                data = _content(archive, header)
                sample[header.name] = Member(header.name, data) if data else _empty(header.name)
                held += len(data)
            elif header.size <= MOST_METADATA:
                sample[header.name] = _content(archive, header)
    except ShardError:
        yield from _sample(sample)  # of a damaged shard, what is whole
        raise
    yield from _sample(sample)


def _empty(name: str) -> Member:
    return Member(name, reason="empty", problem="no picture there")


def _content(archive: tarfile.TarFile, header: tarfile.TarInfo) -> bytes:
    try:
        file = archive.extractfile(header)
        assert file is not None
        return file.read()
    except (tarfile.TarError, OSError) as error:
        raise ShardError(f"damaged in {header.name} ({error})") from None


def _sample(sample: Mapping[str, Member | bytes]) -> Iterator[Member]:
    """The pictures of a sample, each with the metadata of all of it."""
    values: dict[str, object] = {}
    for name, content in sample.items():
        if isinstance(content, bytes):
            values |= _beside(name, content)
    metadata = metadata_of(values)
    for content in sample.values():
        if isinstance(content, Member):
            yield Member(content.name, content.data, metadata, content.reason, content.problem)


def _beside(name: str, content: bytes) -> dict[str, object]:
    if name.lower().endswith(".txt"):
        return {"caption": content.decode("utf-8", "replace").strip()}
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _tar_member(file: IO[bytes], name: str, limit: int) -> bytes | None:
    for archive, header in _headers(file):
        if header.name == name and header.isfile():
            return bytes(limit + 1) if header.size > limit else _content(archive, header)
    return None


# Parquet


def _column(schema: Any) -> tuple[str, bool] | None:
    """The column of pictures, and whether it is a struct with their `bytes`."""
    import pyarrow as pa

    for name in COLUMNS:
        if schema.names.count(name) != 1:
            continue
        kind = schema.field(name).type
        is_struct = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        if is_struct:
            kind = kind.field("bytes").type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return name, is_struct
    return None


class _Table:
    """An open Parquet file of pictures."""

    def __init__(self, file: IO[bytes]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._errors = (pa.ArrowException, OSError)
        try:
            # A buffer of its own for each column, and not all of a row group at once.
            self._file = pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False)
        except self._errors as error:
            raise ShardError(f"damaged, or no Parquet file ({error})") from None
        found = _column(self._file.schema_arrow)
        if found is None:
            raise ShardError(f"has no column of pictures: one of {', '.join(COLUMNS)}, binary or a struct with `bytes`")
        self.column, self._is_struct = found
        groups = range(self._file.metadata.num_row_groups)
        self.starts = [0, *accumulate(self._file.metadata.row_group(group).num_rows for group in groups)]

    def plain_columns(self) -> list[str]:
        """The columns of metadata."""
        import pyarrow as pa

        fields = [each for each in self._file.schema_arrow if each.name != self.column]
        return [each.name for each in fields if not pa.types.is_binary(each.type) and "." not in each.name]

    def _values(self, batch: Any) -> list[dict[str, Any]]:
        """The values of its rows; of one with a value that Python cannot hold, the picture alone."""
        try:
            return list(batch.to_pylist())
        except (ValueError, OverflowError):  # text that is not UTF-8, a date beyond the year 9999
            found = []
            for number in range(batch.num_rows):
                try:
                    found += batch.slice(number, 1).to_pylist()
                except (ValueError, OverflowError):
                    found.append({self.column: batch.column(self.column)[number].as_py()})
            return found

    def rows(self, group: int, columns: list[str]) -> Iterator[tuple[int, bytes | None, dict[str, object]]]:
        """Number, picture and other columns of each row of a group. ShardError where it cannot be read on."""
        number = self.starts[group]
        picture = f"{self.column}.bytes" if self._is_struct else self.column
        try:
            batches = self._file.iter_batches(ROWS_TOGETHER, row_groups=[group], columns=[picture, *columns])
            for batch in batches:
                for values in self._values(batch):
                    held = values.pop(self.column)
                    yield number, held["bytes"] if self._is_struct and held else held, values
                    number += 1
        except self._errors as error:
            raise ShardError(f"damaged in rows {number} to {self.starts[group + 1] - 1} ({error})") from None


def _parquet(file: IO[bytes]) -> Iterator[Member]:
    """A damaged row group does not stop those behind it; the error comes at the end."""
    limit = int(settings.number("max_file_megabytes") * settings.MEGABYTE)
    table = _Table(file)
    columns = table.plain_columns()
    damage: ShardError | None = None
    for group in range(len(table.starts) - 1):
        try:
            for number, data, values in table.rows(group, columns):
                name = str(number)
                if not data:
                    yield _empty(name)
                elif len(data) > limit:
                    yield Member(name, reason="too-large", problem=f"over {limit} bytes (max_file_megabytes)")
                else:
                    yield Member(name, data, metadata_of(values))
        except ShardError as error:
            damage = damage or error
    if damage is not None:
        raise damage


def _parquet_row(file: IO[bytes], name: str) -> bytes | None:
    table = _Table(file)
    wanted = int(name) if name.isdecimal() else -1
    for group, (start, stop) in enumerate(zip(table.starts, table.starts[1:], strict=False)):
        if start <= wanted < stop:
            return next((data for number, data, _ in table.rows(group, []) if number == wanted), None)
    return None
