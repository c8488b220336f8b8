"""What the fault tests share: the command as a process, pictures, and what a collection holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visearch import codes, embedder, images
from visearch.collection import Collection
from visearch.maintenance import Problem, check
from visearch.results import Results

COMMAND = (sys.executable, "-c", "from visearch.cli import main; main()")
DRIVERS = Path(__file__).parent
SECONDS = 120  # no command of these tests needs more, on the slowest machine

Held = tuple[object, bytes, bytes, dict[str, object]]
"""Regions, codes, int8 copies and metadata of an item."""


def start(
    *arguments: object, command: Sequence[str] = COMMAND, environment: Mapping[str, object] | None = None
) -> subprocess.Popen[str]:
    """Start a command; its output is read by whoever waits for it."""
    variables = os.environ | {name: str(value) for name, value in (environment or {}).items()}
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
    )


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for a started command; it never outlives the test."""
    try:
        output, errors = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def kill(process: subprocess.Popen[str]) -> tuple[list[str], bool]:
    """kill -9; returns the whole lines that it had said and nobody has read, and whether it was alive until then."""
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    with process:
        rest = process.stdout.read()  # communicate() would lose what the last readline() has read ahead
    whole = [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    return whole, process.returncode == -signal.SIGKILL


def visearch(
    *arguments: object, command: Sequence[str] = COMMAND, environment: Mapping[str, object] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `visearch ARGUMENTS` to its end."""
    return finish(start(*arguments, command=command, environment=environment))


def succeeds(done: subprocess.CompletedProcess[str]) -> str:
    """The output of a command that must have worked."""
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails_in_one_line(done: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """The one line that a command which must fail says on standard error."""
    assert done.returncode == code, f"exit code {done.returncode}, standard error: {done.stderr}"
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: "), line
    return line


def make_pictures(folder: Path, count: int, seed: int = 0, side: int = 48, suffix: str = ".png") -> list[Path]:
    """Different pictures, coarse enough that the tiny model tells them apart; every tenth in a folder below."""
    rng = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        path = folder / ("more" if number % 10 == 9 else "") / f"{seed:02d}-{number:05d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        blocks = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        blocks.resize((side, side)).save(path)
        paths.append(path)
    return paths


def contents(collection: Path) -> dict[str, Held]:
    """The map source -> (regions, codes, int8 copies, metadata) that says whether two stores are equal."""
    with Collection.open(collection) as opened, opened.store.read() as reader:
        generation = reader.generation()
        if generation is None:
            return {}
        held: dict[str, Held] = {}
        for item in reader.items():
            code_ids = reader.code_ids(generation.number, item.item_id)
            rows = (reader.codes_at(generation, code_ids), reader.vectors_at(generation, code_ids))
            held[item.source] = (item.regions, rows[0].tobytes(), rows[1].tobytes(), item.metadata)
        return held


def skipped(collection: Path) -> dict[str, str]:
    """The map source -> reason of files that could not be used."""
    with Collection.open(collection) as opened:
        return {failure.source: failure.reason for failure in opened.failures()}


def embedded_alone(model: Path, picture: Path) -> bytes:
    """The code of one picture, embedded by itself."""
    loaded = embedder.load(model)
    decoded = images.decode(picture.read_bytes(), min_side=loaded.min_side())
    return codes.pack(loaded.embed(loaded.prepare(decoded)[None])).tobytes()


def problems(collection: Path) -> list[Problem]:
    """What `visearch check` finds."""
    with Collection.open(collection) as opened:
        return check(opened)


def index_files(collection: Path) -> set[str]:
    """Names of everything in the index folder, leftovers of killed processes included."""
    folder = collection / "index"
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def ranking(collection: Path, code: bytes, limit: int) -> list[tuple[int, str]]:
    """(distance, source) of the nearest items, by comparing with every code of the store."""
    query = np.frombuffer(code, np.uint8)
    with Collection.open(collection) as opened:
        corpus = opened.corpus()
        distances = codes.hamming(query, corpus.codes)
        order = np.lexsort((corpus.item_ids, distances))[:limit]
        return [(int(distances[place]), opened.item(int(corpus.item_ids[place])).source) for place in order]


def answers(results: Results) -> list[tuple[int, str]]:
    """(distance, source) of the matches of a search."""
    return [(match.distance, match.source) for match in results]


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, of this size (1m, 64m), in memory; skips the test where none can be mounted."""
    folder.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("needs the command `mount`")
    if done.returncode:
        pytest.skip(f"needs the right to mount a file system ({done.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder: Path, options: str) -> None:
    """Change a mounted disk: `size=64m`, `ro`."""
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Fill a disk up to `leave` bytes; returns the file to delete to make room."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass
        if leave:
            file.truncate(max(0, file.tell() - leave))
    return path
