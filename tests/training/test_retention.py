"""What a model is held to, so that it does not forget: how alike the start model finds pictures."""

import math

import numpy as np
import pytest
import torch

from training.retention import expected_of_codes, interpolate, similarity_loss


def test_a_model_that_finds_pictures_as_alike_as_before_loses_nothing_however_the_space_turned() -> None:
    embeddings = torch.randn(5, 16)
    turn, _ = torch.linalg.qr(torch.randn(16, 16))
    assert float(similarity_loss(3 * embeddings @ turn, embeddings)) == pytest.approx(0, abs=1e-10)
    assert float(similarity_loss(torch.randn(5, 16), embeddings)) > 0.01


def test_the_loss_is_as_defined() -> None:
    after, before = torch.randn(4, 6), torch.randn(4, 6)
    floats, codes = [], []
    for a, b in zip(after.tolist(), before.tolist(), strict=True):
        for other_a, other_b in zip(after.tolist(), before.tolist(), strict=True):
            wanted = cosine(b, other_b)
            floats.append((cosine(a, other_a) - wanted) ** 2)
            same = sum((x > 0) == (y > 0) for x, y in zip(a, other_a, strict=True))
            angle = math.acos(max(-1, min(1, wanted)))
            codes.append((2 * same / 6 - 1 - (1 - 2 * angle / math.pi)) ** 2)
    for share in (0.0, 0.25, 1.0):
        expected = (1 - share) * np.mean(floats) + share * np.mean(codes)
        assert float(similarity_loss(after, before, share)) == pytest.approx(expected, abs=1e-5)


def cosine(a: list[float], b: list[float]) -> float:
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_the_codes_of_random_embeddings_are_as_alike_as_they_are_asked_to_be() -> None:
    torch.manual_seed(0)
    towards = torch.tensor([1.0, 0.0])
    for degrees in (0, 20, 60, 90, 150, 180):
        angle = math.radians(degrees)
        pair = torch.stack([towards, torch.tensor([math.cos(angle), math.sin(angle)])]) @ torch.randn(2, 20_000)
        same = (pair > 0)[0] == (pair > 0)[1]
        wanted = expected_of_codes(torch.tensor(math.cos(angle)))
        assert float(2 * same.float().mean() - 1) == pytest.approx(float(wanted), abs=0.03)


def test_what_is_asked_of_codes_moves_the_embeddings_to_better_codes() -> None:
    torch.manual_seed(1)
    before = torch.randn(8, 256)
    after = torch.randn(8, 256, requires_grad=True)
    first = float(similarity_loss(after.detach(), before, 1.0))
    optimizer = torch.optim.Adam([after], lr=0.02)
    for _ in range(100):
        (after.grad,) = torch.autograd.grad(similarity_loss(after, before, 1.0), after)
        optimizer.step()
    assert float(similarity_loss(after.detach(), before, 1.0)) < 0.2 * first


def test_an_average_is_between_start_and_end_and_counters_are_the_end_s() -> None:
    start = {"weight": torch.tensor([0.0, 4.0]), "steps": torch.tensor(1)}
    end = {"weight": torch.tensor([2.0, 0.0]), "steps": torch.tensor(9)}
    between = interpolate(start, end, 0.75)
    assert between["weight"].tolist() == [1.5, 1.0]
    assert int(between["steps"]) == 9
