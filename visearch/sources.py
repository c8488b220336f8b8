"""Where the bytes of a picture are: the one place that reads a source again, whatever its kind.

/data/a.jpg                                                 a file
s3://bucket/a.jpg  gs://bucket/a.jpg  https://host/a.jpg    an object on a server (remote.py)
/data/x.tar#0001.jpg  s3://bucket/y.parquet#17              a picture in a shard (shards.py), wherever that lies
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from visearch import remote, shards
from visearch.errors import ImageError, UsageError
from visearch.files import read_limited


def read(source: str) -> bytes:
    """The bytes of a picture.

    Raises:
        ImageError: it cannot be read (unreadable), or is larger than max_file_megabytes (too-large).
    """
    inside = _in_shard(source)
    if inside is None:
        return remote.read(source) if remote.is_remote(source) else read_limited(Path(source))
    try:
        with open_shard(inside[0]) as file:
            return shards.read_member(inside[0], file, inside[1])
    except OSError as error:
        raise ImageError("unreadable", f"{inside[0]}: cannot be read ({error.strerror or error})") from None
    except UsageError as error:
        raise ImageError("unreadable", error.message) from None


def open_shard(address: str) -> IO[bytes]:
    """A shard to be read. OSError (of a file) or UsageError (of an address) where it cannot be opened."""
    return remote.open_seekable(address) if remote.is_remote(address) else Path(address).open("rb")


def file_of(source: str) -> Path | None:
    """The file on this machine that holds the picture: itself, or its shard. None where there is none such."""
    inside = _in_shard(source)
    place = inside[0] if inside else source
    return Path(place) if Path(place).is_absolute() else None


def _in_shard(source: str) -> tuple[str, str] | None:
    """The shard and the name in it. A file may be called so itself."""
    inside = shards.split(source)
    return None if inside is None or os.path.lexists(source) else inside
