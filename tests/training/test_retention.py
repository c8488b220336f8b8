"""What a model is held to, so that it does not forget: how alike the start model finds pictures."""

import numpy as np
import pytest
import torch

from training.retention import interpolate, similarity_loss


def test_a_model_that_finds_pictures_as_alike_as_before_loses_nothing_however_the_space_turned() -> None:
    embeddings = torch.randn(5, 16)
    turn, _ = torch.linalg.qr(torch.randn(16, 16))
    assert float(similarity_loss(3 * embeddings @ turn, embeddings)) == pytest.approx(0, abs=1e-10)
    assert float(similarity_loss(torch.randn(5, 16), embeddings)) > 0.01


def test_the_loss_is_as_defined() -> None:
    after, before = torch.randn(4, 6), torch.randn(4, 6)
    squares = [
        (cosine(after[one].tolist(), after[other].tolist()) - cosine(before[one].tolist(), before[other].tolist())) ** 2
        for one in range(4)
        for other in range(4)
    ]
    assert float(similarity_loss(after, before)) == pytest.approx(np.mean(squares), abs=1e-5)


def cosine(a: list[float], b: list[float]) -> float:
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_an_average_is_between_start_and_end_and_counters_are_the_end_s() -> None:
    start = {"weight": torch.tensor([0.0, 4.0]), "steps": torch.tensor(1)}
    end = {"weight": torch.tensor([2.0, 0.0]), "steps": torch.tensor(9)}
    between = interpolate(start, end, 0.75)
    assert between["weight"].tolist() == [1.5, 1.0]
    assert int(between["steps"]) == 9
