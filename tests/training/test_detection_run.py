"""The detector's loop: it learns, goes on where it was killed, and gives a file that finds things."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pycocotools")

import torch
from click.testing import CliRunner
from onnx import numpy_helper
from torch import nn

from tests.training.tiny_scenes import PLAIN, SCHEDULE, recipe_of, write_rooms
from training import checkpoint
from training.checkpoint import BEST, LAST
from training.detection import export, run
from training.detection.model import Network
from training.detection.recipe import Data, DetectorRecipe
from training.recipe import to_plain
from visearch import images
from visearch.cli import cli
from visearch.detector import Detector
from visearch.errors import UsageError, VisearchError

PATIENCE = 200  # seconds for a process to come to a step on a busy machine

PROGRAM = """
import json, sys
from pathlib import Path
from training.detection import recipe, run
run.train(recipe.from_plain(json.loads(sys.argv[1])), Path(sys.argv[2]), resume=True, progress=False)
"""


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def rooms(tmp_path: Path) -> Data:
    return Data("rooms", write_rooms(tmp_path / "rooms"))


def validated(rooms: Data, **schedule: Any) -> DetectorRecipe:
    return recipe_of(rooms, schedule=replace(SCHEDULE, **schedule), validation=(replace(rooms, name="held"),))


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_run_leaves_what_goes_on_and_what_ships(rooms: Data, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run.train(validated(rooms), out, progress=False) == out / BEST
    last, best = checkpoint.load(out / LAST), checkpoint.load(out / BEST)
    assert (last.step, last.kind, best.kind) == (6, "detector", "detector")
    assert last.resume is not None
    assert best.resume is None
    assert best.classes == {"label": ("lamp", "sofa")}
    assert set(best.metrics) == {"held"}
    assert [row["step"] for row in log(out) if "validation" in row] == [3, 6]
    assert "training: rooms: 6 pictures, 12 objects" in (out / "data.txt").read_text()
    with pytest.raises(UsageError, match="holds a run already"):
        run.train(validated(rooms), out, progress=False)
    with pytest.raises(UsageError, match="another recipe"):
        run.train(replace(validated(rooms), seed=1), out, resume=True, progress=False)
    with pytest.raises(UsageError, match="another kind of model"):
        checkpoint.load_model(out / BEST)


def test_a_step_moves_each_channel_by_a_share_of_its_own_weights() -> None:
    layer = nn.Conv2d(1, 2, 3)
    with torch.no_grad():
        layer.weight[0], layer.weight[1] = 100.0, 1.0
    before = layer.weight.detach().clone()
    steps = run.RelativeAdam(layer)
    layer(torch.randn(1, 1, 5, 5)).square().sum().backward()
    steps.step(0.01)
    moved = ((layer.weight.detach() - before) / before).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.01), rtol=1e-3, atol=0)
    assert layer.weight.grad is None


def test_a_label_of_no_weights_learns_as_its_layer_does() -> None:
    layer = nn.Conv2d(4, 2, 1)
    with torch.no_grad():
        layer.weight[0] = 0
    steps = run.RelativeAdam(layer)
    layer(torch.randn(1, 4, 5, 5)).sum().backward()
    steps.step(0.01)
    assert layer.weight[0].abs().min() > 1e-4


def test_a_label_to_leave_out_that_is_not_there_is_an_error(rooms: Data, tmp_path: Path) -> None:
    recipe = recipe_of(replace(rooms, unlabelled=("zebra",)))
    with pytest.raises(UsageError, match=r"data\.rooms\.unlabelled: there is no label zebra"):
        run.train(recipe, tmp_path / "out", progress=False)


def test_several_processes_are_refused(rooms: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="without torchrun"):
        run.train(recipe_of(rooms), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_killed_and_resumed_is_never_killed(rooms: Data, tmp_path: Path) -> None:
    recipe = validated(rooms, steps=12, validate_every=5, ema=0.9, workers=1)
    run.train(recipe, tmp_path / "whole", progress=False)
    out = tmp_path / "killed"
    command = [sys.executable, "-c", PROGRAM, json.dumps(to_plain(recipe)), str(out)]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + PATIENCE
    while not (out / LAST).exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < checkpoint.load(out / LAST).step < 12
    run.train(recipe, out, resume=True, progress=False)
    for name in (LAST, BEST):
        one, other = checkpoint.load(tmp_path / "whole" / name), checkpoint.load(out / name)
        assert (one.step, one.metrics) == (other.step, other.metrics)
        torch.testing.assert_close(one.weights, other.weights, rtol=0, atol=0)
    assert [row["step"] for row in log(out)] == [row["step"] for row in log(tmp_path / "whole")]


# Export


def saved(rooms: Data, path: Path) -> Network:
    """A checkpoint of a network that finds something everywhere."""
    torch.manual_seed(0)
    network = Network(2).eval()
    with torch.no_grad():
        for head in network.heads:
            head.objectness.bias.fill_(1.0)  # type: ignore[union-attr, operator]
    recipe = to_plain(recipe_of(rooms))
    classes, metrics = {"label": ("lamp", "sofa")}, {"held": {"ap50": 0.5}}
    checkpoint.save(
        checkpoint.Checkpoint(recipe, 7, 1.0, classes, metrics, network.state_dict(), kind="detector"), path
    )
    return network


def test_the_file_is_small_and_finds_what_the_checkpoint_finds(rooms: Data, tmp_path: Path) -> None:
    network = saved(rooms, tmp_path / "best.pt")
    done = CliRunner().invoke(cli, ["models", "export", str(tmp_path / "best.pt"), str(tmp_path / "d.onnx")])
    assert done.exit_code == 0, done.output
    assert "scores of what it finds in 6 pictures differ" in done.output
    assert (tmp_path / "d.onnx").stat().st_size < 2.5e6
    detector = Detector(tmp_path / "d.onnx", "float32")
    assert detector.card.labels == ("lamp", "sofa")
    assert detector.card.categories == {"lamp": "Lighting", "sofa": "Sofas"}
    picture = images.decode((rooms.path.parent / "room-0.png").read_bytes())
    expected = export.as_detector(network, recipe_of(rooms), ("lamp", "sofa")).detect(picture, min_score=0.0)
    found = detector.detect(picture, min_score=0.0)
    assert found
    assert [each.label for each in found[:3]] == [each.label for each in expected[:3]]
    for one, other in zip(found[:3], expected[:3], strict=True):
        assert one.box == pytest.approx(other.box, abs=0.01)


def test_a_file_that_finds_something_else_is_not_written(
    rooms: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(rooms, tmp_path / "best.pt")
    monkeypatch.setattr("training.export.halve_weights", _forget_objects)
    with pytest.raises(VisearchError, match="not written: a score in 6 pictures differs"):
        export.export(tmp_path / "best.pt", tmp_path / "d.onnx")
    assert not (tmp_path / "d.onnx").exists()


def _forget_objects(proto: Any) -> None:
    for weight in proto.graph.initializer:
        if weight.name.endswith("objectness.bias"):
            weight.CopyFrom(numpy_helper.from_array(np.full((1,), -5.0, np.float32), weight.name))


@pytest.mark.slow
def test_from_a_recipe_to_a_detector_that_finds_the_things(tmp_path: Path) -> None:
    """A hundred steps from nothing, by the command line: what was learnt is found in rooms that were not trained on."""
    write_rooms(tmp_path / "rooms", 24)
    held = write_rooms(tmp_path / "held", 6, seed=1)
    (tmp_path / "own.toml").write_text(
        f"""
size = 96
[categories]
lamp = "Lighting"
sofa = "Sofas"
[[data]]
name = "rooms"
path = "rooms/scenes.jsonl"
[views]
mosaic = {PLAIN.mosaic}
jitter = 0.1
[schedule]
steps = 250
batch = 8
sizes = [96]
ramp = 10
rate = 0.02
ema = 0.9
workers = 0
validate_every = 250
[[validation]]
name = "held"
path = "held/scenes.jsonl"
"""
    )
    runner = CliRunner()
    done = runner.invoke(cli, ["train", "--detector", str(tmp_path / "own.toml"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    best = tmp_path / "out" / BEST
    assert checkpoint.load(best).metrics["held"]["ap50"] > 0.5
    done = runner.invoke(cli, ["models", "export", str(best), str(tmp_path / "own.onnx")])
    assert done.exit_code == 0, done.output
    picture = images.decode((held.parent / "room-0.png").read_bytes())
    found = Detector(tmp_path / "own.onnx").detect(picture)
    assert {"lamp", "sofa"} <= {each.label for each in found}
