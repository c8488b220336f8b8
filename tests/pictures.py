"""Small pictures, and the command line run on them in this process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from visearch import cli
from visearch.collection import Collection

SIZE = (48, 40)


def picture(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A smooth picture of its own colours; another seed looks nothing like it."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def save(path: Path, seed: int, size: tuple[int, int] = SIZE) -> Path:
    """Write that picture (folders too); the suffix says in which format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, size).save(path)
    return path


def save_all(folder: Path, seeds: Iterable[int]) -> list[Path]:
    """Pictures named 000.png and so on by their seeds."""
    return [save(folder / f"{seed:03}.png", seed) for seed in seeds]


def touch(path: Path, seconds: int = 60) -> None:
    """Another modification time, the same content."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + seconds * 10**9))


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


class Stream(io.TextIOWrapper):
    """A standard stream as a process has it, kept in memory."""

    def __init__(self, errors: str) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", errors=errors, write_through=True)

    def text(self) -> str:
        """What was written."""
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


def visearch(*arguments: object, stdin: bytes = b"") -> Done:
    """Run `visearch ARGUMENTS...` in this process, as its entry point does."""
    out, err = Stream("strict"), Stream("backslashreplace")
    old = sys.argv, sys.stdin
    sys.argv = ["visearch", *(os.fspath(each) if isinstance(each, Path) else str(each) for each in arguments)]
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin)))
    code: object = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
    except SystemExit as exit:
        code = exit.code or 0
    finally:
        sys.argv, sys.stdin = old
    assert isinstance(code, int)
    return Done(code, out.text(), err.text())


def is_one_line(text: str) -> bool:
    """Whether an error is told in one line."""
    return text.startswith("Error: ") and text.count("\n") == 1 and text.endswith("\n")


@dataclass(frozen=True)
class Stored:
    """What a collection knows of a source: everything but ids. Two stores are equal where these are."""

    code: bytes
    vector: bytes
    metadata: dict[str, Any]
    content: bytes


def stored(collection: Path) -> dict[str, Stored]:
    """Source -> what is stored of it."""
    with Collection.open(collection) as opened, opened.store.read() as reader:
        generation = reader.generation()
        assert generation is not None
        return dict(_stored(reader, generation))


def _stored(reader: Any, generation: Any) -> Iterator[tuple[str, Stored]]:
    for item in reader.items():
        code_ids = reader.code_ids(generation.number, item.item_id)
        code, vector = reader.codes_at(generation, code_ids), reader.vectors_at(generation, code_ids)
        yield item.source, Stored(code.tobytes(), vector.tobytes(), item.metadata, item.content)


def ids(collection: Path) -> dict[str, int]:
    """File name -> item id."""
    with Collection.open(collection) as opened:
        return {Path(item.source).name: item.item_id for item in opened.items()}
