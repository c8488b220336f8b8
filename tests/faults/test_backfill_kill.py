"""kill -9 at any moment of a backfill: the collection answers as before, and a rerun ends like one never killed."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.faults.conftest import Undisturbed
from tests.faults.helpers import Held, contents, index_files, problems, start, succeeds, visearch
from tests.tiny_model import card, write_model
from visearch.collection import Collection
from visearch.generations import states

FAST, ALL = 2, 20
SEEDS = [*range(FAST), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(FAST, ALL))]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model."""
    return write_model(tmp_path_factory.mktemp("other") / "other.onnx", json.dumps(card(name="other")), seed=1)


@pytest.fixture(scope="module")
def filled(undisturbed: Undisturbed, other: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The collection after a backfill that nobody killed, and how many seconds the command took."""
    folder = shutil.copytree(undisturbed.collection, tmp_path_factory.mktemp("filled") / "collection")
    begun = time.monotonic()
    succeeds(visearch("backfill", "--collection", folder, "--model", other))
    return folder, time.monotonic() - begun


def held_after_switch(collection: Path) -> dict[str, Held]:
    succeeds(visearch("generations", "switch", 2, "--collection", collection))
    return contents(collection)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_backfill_killed_at_random_moments_ends_like_one_never_killed(
    undisturbed: Undisturbed,
    other: Path,
    filled: tuple[Path, float],
    collection: Path,
    tmp_path: Path,
    seed: int,
) -> None:
    whole, seconds = filled
    rng = np.random.default_rng(seed)
    for _ in range(int(rng.integers(1, 4))):
        process = start("backfill", "--collection", collection, "--model", other)
        time.sleep(rng.uniform(0, seconds))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert contents(collection) == undisturbed.held, "what answers is untouched"
        assert [problem for problem in problems(collection) if problem.kind != "index"] == []
    done = json.loads(succeeds(visearch("backfill", "--collection", collection, "--model", other, "--json")))
    assert (done["missing"], done["skipped"]) == (0, [])
    with Collection.open(collection) as opened:
        assert [(state.generation.number, state.missing) for state in states(opened)] == [(1, 0), (2, 0)]
    assert problems(collection) == []
    assert index_files(collection) == index_files(whole)
    expected = shutil.copytree(whole, tmp_path / "whole")
    assert held_after_switch(collection) == held_after_switch(expected)
