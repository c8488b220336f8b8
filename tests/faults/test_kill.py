"""kill -9 at any moment of indexing loses nothing acknowledged, and a rerun ends as if it had never happened."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from indexer.pipeline import Pipeline
from indexer.scan import Scan
from tests.faults.conftest import Undisturbed
from tests.faults.helpers import (
    DRIVERS,
    Held,
    answers,
    contents,
    embedded_alone,
    finish,
    index_files,
    kill,
    make_pictures,
    problems,
    ranking,
    skipped,
    start,
    succeeds,
    visearch,
)
from visearch.collection import Collection

ACKNOWLEDGING = (sys.executable, str(DRIVERS / "acknowledging_index.py"))
FAST, ALL = 5, 50
SEEDS = [*range(FAST), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(FAST, ALL))]

Acknowledged = dict[str, set[str]]


def index_until(rng: np.random.Generator, commits: int, *arguments: object) -> Acknowledged:
    """Index, and kill the process at a random moment: before its first commit, or after one of its first `commits`."""
    process = start("index", *arguments, command=ACKNOWLEDGING)
    assert process.stdout is not None
    told: list[str] = []
    wanted = int(rng.integers(0, commits + 1))
    while len(told) < wanted and (line := process.stdout.readline()):
        told.append(line)
    time.sleep(rng.uniform(0, 0.05 if wanted else 0.7))
    rest, _ = kill(process)
    acknowledged = [json.loads(line) for line in [*told, *rest]]
    return {kind: {source for commit in acknowledged for source in commit[kind]} for kind in ("kept", "failed")}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_run_keeps_what_it_acknowledged_and_a_rerun_ends_like_one_never_killed(
    undisturbed: Undisturbed, tmp_path: Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pictures, model, collection = undisturbed.pictures, undisturbed.model, tmp_path / "collection"
    kept: set[str] = set()
    failed: set[str] = set()
    for _ in range(int(rng.integers(1, 4))):
        acknowledged = index_until(rng, 6, pictures, "--collection", collection, "--model", model)
        kept |= acknowledged["kept"]
        failed |= acknowledged["failed"]
        if not (collection / "store" / "data.mdb").exists():
            assert not kept
            continue

        assert [problem for problem in problems(collection) if problem.kind != "index"] == []
        held = contents(collection)
        assert kept <= held.keys()
        assert failed <= skipped(collection).keys()
        for source in rng.permutation(sorted(held))[:20]:
            assert held[source][1] == embedded_alone(model, Path(source))

    succeeds(visearch("index", pictures, "--collection", collection, "--model", model))
    assert contents(collection) == undisturbed.held
    assert skipped(collection) == undisturbed.skipped
    assert problems(collection) == []
    assert index_files(collection) == index_files(undisturbed.collection)


def test_the_codes_of_an_undisturbed_run_are_those_of_each_picture_embedded_alone(undisturbed: Undisturbed) -> None:
    assert len(undisturbed.held) == 450
    for source, (_, code, _, _) in undisturbed.held.items():
        assert code == embedded_alone(undisturbed.model, Path(source)), source


@dataclass(frozen=True)
class Changed:
    """Pictures that have changed since a collection was made, and what an undisturbed run with --prune makes of it."""

    pictures: Path
    before: Path
    after: dict[str, Held]


@pytest.fixture(scope="module")
def changed(undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory) -> Changed:
    """A folder in which pictures have been replaced, moved, deleted, copied and added."""
    folder = tmp_path_factory.mktemp("changed")
    pictures = shutil.copytree(undisturbed.pictures, folder / "pictures")
    before, after = folder / "before", folder / "after"
    succeeds(visearch("index", pictures, "--collection", before, "--model", undisturbed.model))
    files = sorted(path for path in pictures.glob("00-*.png"))
    for path, new in zip(files[:60], make_pictures(folder / "new", 60, seed=11), strict=True):
        new.replace(path)
    (pictures / "moved").mkdir()
    for path in files[60:120]:
        path.rename(pictures / "moved" / path.name)
    for path in files[120:160]:
        path.unlink()
    for path in files[160:200]:
        shutil.copyfile(path, pictures / f"copy-of-{path.name}")
    make_pictures(pictures / "added", 60, seed=12)
    shutil.copytree(before, after)
    succeeds(visearch("index", pictures, "--prune", "--collection", after))
    return Changed(pictures, before, contents(after))


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 16))])
def test_killed_while_it_takes_in_changes(changed: Changed, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    collection = shutil.copytree(changed.before, tmp_path / "collection")
    before = contents(collection)
    acknowledged = index_until(rng, 3, changed.pictures, "--prune", "--collection", collection)
    held = contents(collection)
    for source, value in held.items():
        assert value in (before.get(source), changed.after.get(source)), "neither what it was nor what it is to be"
    assert all(held[source] == changed.after[source] for source in acknowledged["kept"])
    assert [problem for problem in problems(collection) if problem.kind == "store"] == []
    succeeds(visearch("index", changed.pictures, "--prune", "--collection", collection))
    assert contents(collection) == changed.after
    assert problems(collection) == []


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))])
def test_of_two_processes_one_is_killed_and_the_other_is_not_held_up(
    undisturbed: Undisturbed, tmp_path: Path, seed: int
) -> None:
    collection = tmp_path / "collection"
    arguments = (undisturbed.pictures, "--collection", collection, "--model", undisturbed.model)
    survivor = start("index", *arguments)
    index_until(np.random.default_rng(seed), 3, *arguments)
    succeeds(finish(survivor))
    assert contents(collection) == undisturbed.held
    assert skipped(collection) == undisturbed.skipped
    assert problems(collection) == []


# The index files

FLAT, IVF = {"VISEARCH_FLAT_UP_TO": 10**9}, {"VISEARCH_FLAT_UP_TO": 500}


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> tuple[Path, Path]:
    """12,000 files (hard links of 1,500 pictures) and a collection of them that ends with the last commit: as a
    process leaves it that was killed before it wrote index files. A run over it writes them."""
    folder = tmp_path_factory.mktemp("committed")
    pictures, collection = folder / "pictures", folder / "collection"
    for path in make_pictures(pictures, 1500, side=16):
        for link in range(7):
            os.link(path, path.with_name(f"{path.stem}-{link}.png"))
    with Collection.open(collection, create=True, model=tiny) as opened:
        pipeline = Pipeline(opened.store, lambda: opened.embedder, threading.Event())
        for _ in pipeline.run(Scan(opened.store, [str(pictures)])):
            pass
    return pictures, collection


def test_killed_between_the_last_commit_and_the_index_files(committed: tuple[Path, Path], tmp_path: Path) -> None:
    pictures, collection = committed[0], shutil.copytree(committed[1], tmp_path / "collection")
    assert index_files(collection) == set()
    before = contents(collection)
    searches_like_brute_force(collection, before)
    succeeds(visearch("index", pictures, "--collection", collection))
    assert {path.name for path in (collection / "index" / "g1").iterdir()} == {
        "base-000001",
        "vectors.i8",
        "vectors.json",
    }
    assert contents(collection) == before
    assert problems(collection) == []
    searches_like_brute_force(collection, before)


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 20))])
def test_killed_while_the_index_files_are_written(committed: tuple[Path, Path], tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pictures, collection = committed[0], shutil.copytree(committed[1], tmp_path / "collection")
    before = contents(collection)
    environment = (FLAT, IVF)[seed % 2]
    sights = ("g1", "g1/vectors.i8.partial", "g1/base-000001.partial", "g1/base-000001.partial/rows.bin")
    sight = collection / "index" / sights[(seed + 2) % len(sights)]

    process = start("index", pictures, "--collection", collection, environment=environment)
    while not sight.exists() and process.poll() is None:
        pass
    time.sleep(rng.uniform(0, (0.02, 0.2)[seed % 2]) * (seed > 1))
    _, was_alive = kill(process)
    assert was_alive or seed > 1

    searches_like_brute_force(collection, before)
    assert [problem for problem in problems(collection) if problem.kind != "index"] == []
    succeeds(visearch("index", pictures, "--collection", collection, environment=environment))
    assert contents(collection) == before
    assert problems(collection) == []
    (base,) = (collection / "index" / "g1").glob("base-*")
    names = {path.name for path in base.parent.iterdir()}
    assert names == {base.name, "vectors.i8", "vectors.json"}, "leftovers of the killed process"
    searches_like_brute_force(collection, before)


def searches_like_brute_force(collection: Path, held: dict[str, Held]) -> None:
    source = sorted(held)[len(held) // 2]
    expected = ranking(collection, held[source][1], 30)
    with Collection.open(collection) as opened:
        assert answers(opened.search(source, limit=30, exact=True, rerank=False)) == expected
