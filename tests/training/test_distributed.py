"""Two processes over gloo train the model that one process trains on the joint batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from tests.training.tiny_run import EMBEDDING, SCHEDULE, folder_of_classes, loose_pictures, picture, recipe_of
from training import checkpoint, data
from training.batches import Batches
from training.checkpoint import LAST
from training.model import Unified
from training.recipe import Data, Proxies, Recipe, to_plain
from training.trainer import train

PROGRAM = """
import contextlib, json, sys
from pathlib import Path
from training import recipe
from training.trainer import train
train(recipe.from_plain(json.loads(Path(sys.argv[1]).read_text())), Path(sys.argv[2]), progress=False)
threads = []
for task in Path("/proc/self/task").glob("*"):
    with contextlib.suppress(OSError):  # it has ended meanwhile
        threads.append(task.joinpath("comm").read_text())
assert not any("gloo" in name for name in threads), threads  # one that outlives Python may abort the process
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """SGD, so that an update is the gradient; sets of which each process sees unequal shares, classes sub-sampled."""
    return recipe_of(
        Data("colours", folder_of_classes(tmp_path / "colours"), heads={"colour": "class", "kind": "class"}),
        Data("two", folder_of_classes(tmp_path / "two", 3, ("red", "blue"), seed=40), heads={"colour": "class"}),
        Data("loose", loose_pictures(tmp_path / "loose")),
        embedding=replace(EMBEDDING, dropout=0.0),
        proxies=Proxies(sampled=2, imprint=True),
        schedule=replace(SCHEDULE, batch=5, warm_epochs=1, epochs=1, steps_per_epoch=2, decay="step"),
    )


def train_with_torchrun(recipe: Recipe, processes: int, out: Path) -> None:
    program, file = out.with_suffix(".py"), out.with_suffix(".json")
    program.write_text(PROGRAM)
    file.write_text(json.dumps(to_plain(recipe)))
    command = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", str(program), str(file)]
    done = subprocess.run(
        [sys.executable, *command, str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_two_processes_give_the_gradients_of_one_with_the_joint_batch(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    train_with_torchrun(recipe, 2, tmp_path / "two-processes")
    joint = replace(recipe, schedule=replace(recipe.schedule, batch=10))
    train(joint, tmp_path / "one", progress=False)

    two, one = (checkpoint.load(tmp_path / name / LAST) for name in ("two-processes", "one"))
    assert two.resume is not None
    assert one.resume is not None
    assert two.step == one.step == 4
    torch.testing.assert_close(two.resume["model"], one.resume["model"], atol=1e-5, rtol=1e-4)
    for head, bank in one.resume["banks"].items():
        torch.testing.assert_close(two.resume["banks"][head]["weight"], bank["weight"], atol=1e-5, rtol=1e-4)
    torch.manual_seed(recipe.seed)
    before = Unified(recipe.backbone, recipe.embedding).state_dict()
    for name in ("backbone.conv1.0.weight", "projection.weight"):
        assert (one.weights[name] - before[name]).abs().max() > 1e-3
    assert {path.name for path in (tmp_path / "two-processes").iterdir()} == {
        path.name for path in (tmp_path / "one").iterdir()
    }


def test_pictures_that_one_process_could_not_decode_are_told_by_the_main_one(recipe: Recipe, tmp_path: Path) -> None:
    for number in range(8):
        broken = tmp_path / "colours" / "red" / f"{number}.jpg"
        picture("red", number).save(broken)
        content = broken.read_bytes()
        broken.write_bytes(content[: len(content) * 2 // 3])  # its header is whole
    pictures = data.read(recipe)
    seen = [
        {path for step in range(4) for path, _ in Batches(pictures, recipe, rank=rank, world=2).make(step).unreadable}
        for rank in (0, 1)
    ]
    assert seen[1] - seen[0]
    train_with_torchrun(recipe, 2, tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    [told] = [row["unreadable"] for row in rows if "unreadable" in row]
    assert set(told) == {str(path) for path in seen[0] | seen[1]}
