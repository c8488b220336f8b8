"""kill -9 at any moment of a backfill: the collection answers as before, and a rerun ends like one never killed."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.faults.conftest import Undisturbed
from tests.faults.helpers import DRIVERS, Held, contents, index_files, kill, problems, start, succeeds, visearch
from tests.tiny_model import card, write_model
from visearch.collection import Collection
from visearch.generations import states

ACKNOWLEDGING = (sys.executable, str(DRIVERS / "acknowledging_backfill.py"))
FAST, ALL = 2, 20
SEEDS = [*range(FAST), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(FAST, ALL))]
COMMITS = 6  # after one of the first of which a kill falls; a whole backfill has about 20
MANY = 15  # kills, of which something can be said; those of the fast set are too few
ANY_MOMENT = 0.2  # share of the kills that fall anywhere in the time of a command, its start and its index files too


@dataclass(frozen=True)
class Whole:
    """What a backfill leaves that nobody killed, and the seconds that it took: index files, and what answers after a
    switch."""

    files: set[str]
    held: dict[str, Held]
    seconds: float


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model."""
    return write_model(tmp_path_factory.mktemp("other") / "other.onnx", json.dumps(card(name="other")), seed=1)


@pytest.fixture(scope="module")
def whole(undisturbed: Undisturbed, other: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = shutil.copytree(undisturbed.collection, tmp_path_factory.mktemp("whole") / "collection")
    begun = time.monotonic()
    succeeds(visearch("backfill", "--collection", folder, "--model", other, command=ACKNOWLEDGING))
    seconds = time.monotonic() - begun
    return Whole(index_files(folder), held_after_switch(folder), seconds)


@pytest.fixture(scope="module")
def fallen() -> Iterator[Counter[str]]:
    """Counts where the kills fell; of many, most are to fall where there is something to lose."""
    where: Counter[str] = Counter()
    yield where
    print(f"kills: {dict(where)}")
    assert where.total() < MANY or where["between commits"] > 0.6 * where.total(), where


def held_after_switch(collection: Path) -> dict[str, Held]:
    succeeds(visearch("generations", "switch", 2, "--collection", collection))
    return contents(collection)


def filled(collection: Path) -> int:
    """How many items the second generation has."""
    with Collection.open(collection) as opened:
        return sum(state.items - state.missing for state in states(opened) if state.generation.number == 2)


def kill_a_backfill(rng: np.random.Generator, collection: Path, model: Path, seconds: float) -> int:
    """Kill it after one of its first commits, or at any moment; how many items it said it had filled."""
    process = start("backfill", "--collection", collection, "--model", model, command=ACKNOWLEDGING)
    assert process.stdout is not None
    told: list[str] = []
    if rng.random() < ANY_MOMENT:
        time.sleep(rng.uniform(0, seconds))
    else:
        wanted = int(rng.integers(1, COMMITS + 1))
        while len(told) < wanted and (line := process.stdout.readline()):
            told.append(line)
        time.sleep(rng.uniform(0, 0.03))
    rest, _ = kill(process)
    return sum(int(line) for line in [*told, *rest])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_backfill_killed_at_random_moments_ends_like_one_never_killed(
    undisturbed: Undisturbed, other: Path, whole: Whole, fallen: Counter[str], collection: Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    acknowledged = 0
    for _ in range(int(rng.integers(1, 4))):
        acknowledged += kill_a_backfill(rng, collection, other, whole.seconds)
        there = filled(collection)
        fallen["before the first commit" if not there else "between commits" if there < 450 else "after the last"] += 1
        assert there >= acknowledged, "what was acknowledged is kept"
        assert contents(collection) == undisturbed.held, "what answers is untouched"
        assert [problem for problem in problems(collection) if problem.kind != "index"] == []
    done = json.loads(succeeds(visearch("backfill", "--collection", collection, "--model", other, "--json")))
    assert (done["filled"], done["missing"], done["skipped"]) == (450 - there, 0, [])
    with Collection.open(collection) as opened:
        assert [(state.generation.number, state.missing) for state in states(opened)] == [(1, 0), (2, 0)]
    assert problems(collection) == []
    assert index_files(collection) == whole.files
    assert held_after_switch(collection) == whole.held
