"""Killed and resumed is the same as never killed: a real process, really killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

pytest.importorskip("torch")

import torch

from tests.training.tiny_run import SCHEDULE, folder_of_classes, loose_pictures, recipe_of
from training import checkpoint
from training.checkpoint import BEST, LAST
from training.recipe import Data, Proxies, Recipe, Retention, to_plain
from training.trainer import train

STEPS = 24
PATIENCE = 120  # seconds for a process to come to a step on a busy machine

PROGRAM = """
import json, sys
from pathlib import Path
from training import recipe
from training.trainer import train
try:
    train(recipe.from_plain(json.loads(sys.argv[1])), Path(sys.argv[2]), resume=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Everything that has a state: moments, moving averages, both phases, distillation, statistics, balanced heads."""
    heads = {"colour": "class", "kind": "class"}
    return recipe_of(
        Data("colours", folder_of_classes(tmp_path / "colours"), heads=heads),
        Data("loose", loose_pictures(tmp_path / "loose")),
        validation=tmp_path / "colours",
        proxies=Proxies(optimizer="adam", rate=1e-3, sampled=2),
        retention=Retention(distill=10.0, average=0.7),
        schedule=replace(
            SCHEDULE,
            optimizer="adamw",
            rate=1e-3,
            backbone_rate=1e-4,
            batch_norm="tracked",
            balance="gradnorm",
            ema=0.9,
            clip=1.0,
            accumulate=3,  # an update and its checkpoint within an epoch, between two lines of the log, and at the end
            steps_per_epoch=STEPS // 3,
            warm_epochs=1,
            epochs=2,
            workers=1,
            checkpoint_minutes=0.0,  # after every update
        ),
    )


def rarely_saved(recipe: Recipe) -> Recipe:
    """Saved at the end of epochs and when interrupted."""
    return replace(recipe, schedule=replace(recipe.schedule, checkpoint_minutes=60.0))


def start(recipe: Recipe, out: Path) -> subprocess.Popen[bytes]:
    with out.with_suffix(".txt").open("w") as said:
        command = [sys.executable, "-c", PROGRAM, json.dumps(to_plain(recipe)), str(out)]
        return subprocess.Popen(command, stderr=said, start_new_session=True)


def wait_for(path: Path, changes: int = 1) -> None:
    """Until a file has been written, and replaced, so often."""
    seen: set[int] = set()
    deadline = time.monotonic() + PATIENCE
    while len(seen) < changes:
        assert time.monotonic() < deadline, f"{path} was not written"
        if path.exists():
            seen.add(path.stat().st_mtime_ns)
        time.sleep(0.002)


def assert_same_end(one: Path, other: Path) -> None:
    for name in (LAST, BEST):
        left, right = checkpoint.load(one / name), checkpoint.load(other / name)
        assert (left.step, left.epoch, left.classes) == (right.step, right.epoch, right.classes)
        torch.testing.assert_close(left.weights, right.weights)
        assert left.metrics == right.metrics
        if left.resume is not None and right.resume is not None:
            for part in ("model", "average", "warm_weights", "banks", "balance"):
                torch.testing.assert_close(left.resume[part], right.resume[part])
            torch.testing.assert_close(left.resume["optimizer"]["state"], right.resume["optimizer"]["state"])
    steps = [
        [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()] for out in (one, other)
    ]
    assert steps[0] == steps[1]


@pytest.fixture
def never_killed(recipe: Recipe, tmp_path: Path) -> Path:
    train(rarely_saved(recipe), tmp_path / "whole", progress=False)
    return tmp_path / "whole"


@pytest.mark.parametrize("saves", [(3,), pytest.param((1, 1, 1, 2), marks=pytest.mark.slow)], ids=["once", "often"])
def test_killed_and_resumed_is_never_killed(
    recipe: Recipe, tmp_path: Path, never_killed: Path, saves: tuple[int, ...]
) -> None:
    """Each time after so many more checkpoints, wherever the process is by then."""
    out = tmp_path / "killed"
    kills = [0]
    for changes in saves:
        process = start(recipe, out)
        wait_for(out / LAST, changes + (out / LAST).exists())
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        kills.append(checkpoint.load(out / LAST).step)
    assert kills == sorted(set(kills))
    assert kills[-1] < STEPS
    train(recipe, out, resume=True, progress=False)
    assert_same_end(never_killed, out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_saves_and_says_so(
    recipe: Recipe, tmp_path: Path, never_killed: Path, number: signal.Signals
) -> None:
    out = tmp_path / "interrupted"
    process = start(rarely_saved(recipe), out)
    wait_for(out / LAST)  # the first update after the end of the first epoch
    before = checkpoint.load(out / LAST).step
    workers = psutil.Process(process.pid).children()
    os.killpg(process.pid, number)  # the workers too, as a terminal does
    assert process.wait() == 130
    said = out.with_suffix(".txt").read_text()
    stopped = checkpoint.load(out / LAST).step
    assert before <= stopped < STEPS
    assert f"stopped after step {stopped} of {STEPS}" in said
    assert "Traceback" not in said
    assert workers
    assert not any(worker.is_running() for worker in workers)
    train(rarely_saved(recipe), out, resume=True, progress=False)
    assert_same_end(never_killed, out)
