"""The network is YOLOX-nano to the last layer, and goes on from its weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from training.detection.model import Network, start_network, take_over
from visearch.detector import Detector
from visearch.errors import UsageError


@pytest.fixture(scope="module")
def released(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue("shared")
    return folder / "models" / "yolox_nano.onnx"


def test_it_gives_what_the_released_file_gives(released: Path) -> None:
    network, labels = start_network(released)
    assert (len(labels), labels[0]) == (80, "person")
    pixels = np.random.default_rng(0).integers(0, 256, (416, 416, 3), np.uint8)
    with torch.no_grad():
        raw = network.eval()(torch.from_numpy(pixels)[None])
    detector = Detector(released, "float32")
    _, scores, found = detector._run(pixels)
    ours = raw.log_scores()[0].exp()
    np.testing.assert_allclose(ours.amax(dim=1), scores, atol=1e-4)
    assert np.mean(ours.argmax(dim=1).numpy() == found) > 0.999


def test_known_labels_go_on_as_they_were_and_new_ones_begin_improbable(released: Path) -> None:
    start, names = start_network(released)
    ours = ["sofa" if name == "couch" else name for name in names]
    labels = ("lamp", "sofa", "person", *(name for name in ours if name not in ("sofa", "person")))
    network = Network(len(labels))
    take_over(network, start, ours, labels)
    picture = torch.randint(0, 256, (1, 128, 128, 3), dtype=torch.uint8)
    with torch.no_grad():
        before, after = start(picture), network(picture)
    torch.testing.assert_close(after.boxes, before.boxes)
    for place, label in enumerate(labels):
        if label in ours:
            torch.testing.assert_close(after.classes[..., place], before.classes[..., ours.index(label)])
    assert after.classes[..., 0].sigmoid().max() < 0.1


def test_a_file_of_another_network_is_refused(baseline: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"recipe: start .*imagenet_baseline\.onnx: not YOLOX-nano"):
        start_network(baseline)
    with pytest.raises(UsageError, match=r"recipe: start .*none\.onnx: not YOLOX-nano"):
        start_network(tmp_path / "none.onnx")
    shutil.copy(__file__, tmp_path / "text.onnx")
    with pytest.raises(UsageError, match=r"recipe: start .*text\.onnx: not YOLOX-nano"):
        start_network(tmp_path / "text.onnx")


def test_a_network_of_ones_own_labels_takes_any_input_of_whole_cells() -> None:
    network = Network(3)
    for size, cells in ((64, 84), (96, 189)):
        with torch.no_grad():
            raw = network(torch.zeros(2, size, size, 3, dtype=torch.uint8))
        assert [tuple(part.shape) for part in raw] == [(2, cells, 4), (2, cells), (2, cells, 3)]
        assert raw.log_scores().exp().max() < 0.1, "nothing is probable before training"
