"""Proxy banks: sub-sampled softmax against a dense one, who gets gradients, the law of the sample, processes."""

import copy
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from training.proxies import GradNorm, ProxyBank, head_losses, sample_classes
from training.recipe import Embedding, Proxies

DIM = 16
EMBEDDING = Embedding(dim=DIM)
NORMALIZED = Embedding(dim=DIM, head="normalized", temperature=0.05)
SGD = Proxies(sampled=1000)
ADAM = replace(SGD, optimizer="adam")


def bank(classes: int = 12, proxies: Proxies = SGD, embedding: Embedding = EMBEDDING, seed: int = 0) -> ProxyBank:
    return ProxyBank(classes, embedding, proxies, np.random.default_rng(seed))


def batch(rows: int = 6, classes: int = 12, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    activations = functional.normalize(torch.randn(rows, DIM, generator=generator)).requires_grad_()
    return activations, torch.randint(0, classes, (rows,), generator=generator)


def step(bank: ProxyBank, activations: Tensor, labels: Tensor, rate: float = 0.1, seed: int = 2) -> Tensor:
    loss = bank.loss(activations, labels, np.random.default_rng(seed))
    assert loss is not None
    loss.backward()  # type: ignore[no-untyped-call]
    bank.update(rate)
    return loss


@pytest.mark.parametrize("embedding", [EMBEDDING, NORMALIZED], ids=["softmax", "normalized"])
@pytest.mark.parametrize("setting", [SGD, ADAM], ids=["sgd", "adam"])
def test_with_all_classes_sampled_it_is_a_dense_softmax(embedding: Embedding, setting: Proxies) -> None:
    """Loss, gradients and weights of three steps against nn.Linear and torch's own optimizer."""
    proxies = bank(proxies=setting, embedding=embedding)
    linear = nn.Linear(DIM, 12, bias=False)
    linear.weight.data.copy_(proxies.weight)
    dense: torch.optim.Optimizer = torch.optim.SGD(linear.parameters(), lr=0.1)
    if setting is ADAM:
        dense = torch.optim.Adam(linear.parameters(), lr=0.1)
    for seed in range(3):
        activations, labels = batch(seed=seed)
        loss = step(proxies, activations, labels)
        again = activations.detach().clone().requires_grad_()
        if embedding is NORMALIZED:
            logits = functional.linear(again, functional.normalize(linear.weight)) / 0.05
        else:
            logits = linear(again)
        dense.zero_grad()
        expected = functional.cross_entropy(logits, labels)
        expected.backward()  # type: ignore[no-untyped-call]
        dense.step()
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(activations.grad, again.grad)
        torch.testing.assert_close(proxies.weight, linear.weight.detach(), atol=1e-5, rtol=1e-4)


def test_a_sample_is_the_softmax_over_the_sampled_classes_and_no_other_row_changes() -> None:
    proxies = bank(classes=500, proxies=replace(SGD, sampled=40))
    before = proxies.weight.clone()
    activations, labels = batch(classes=500)
    loss = proxies.loss(activations, labels, np.random.default_rng(0))
    assert loss is not None
    classes = proxies.pending[0].classes
    assert len(classes) == 40
    inside = before[classes]
    expected = torch.stack(
        [
            torch.logsumexp(inside @ activation, 0) - before[label] @ activation
            for activation, label in zip(activations, labels, strict=True)
        ]
    ).mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()  # type: ignore[no-untyped-call]
    proxies.update(0.1)
    changed = (proxies.weight != before).any(dim=1).nonzero().flatten()
    assert torch.equal(changed, classes)


def test_a_sampled_loss_never_exceeds_the_full_one() -> None:
    """Leaving out classes leaves out terms of the partition function: the bias of Algorithm 1 has one sign."""
    activations, labels = batch(classes=200)
    losses = []
    for sampled in (10, 50, 200):
        loss = bank(classes=200, proxies=replace(SGD, sampled=sampled)).loss(
            activations, labels, np.random.default_rng(0)
        )
        assert loss is not None
        losses.append(loss.item())
    assert losses[0] < losses[1] < losses[2]


@settings(deadline=None)
@given(
    classes=st.integers(1, 400),
    sampled=st.integers(1, 450),
    labels=st.lists(st.integers(0, 10**6), min_size=1, max_size=60),
    seed=st.integers(0, 2**32),
)
def test_a_sample_has_the_batchs_classes_each_once_and_the_size_asked_for(
    classes: int, sampled: int, labels: list[int], seed: int
) -> None:
    own = np.array(labels) % classes
    chosen = sample_classes(classes, own, sampled, np.random.default_rng(seed))
    assert set(own.tolist()) <= set(chosen.tolist())
    assert (np.diff(chosen) > 0).all()
    assert chosen[0] >= 0 and chosen[-1] < classes
    assert len(chosen) == max(min(sampled, classes), len(set(own.tolist())))


@pytest.mark.parametrize(("classes", "sampled"), [(20, 8), (20_000, 60)])
def test_every_other_class_is_as_likely(classes: int, sampled: int) -> None:
    """A chi-square of how often each class outside the batch is drawn, within 5 standard deviations of its mean."""
    own = np.array([0, 3, 3, classes - 1])
    rng = np.random.default_rng(0)
    draws = 2000
    counts = np.zeros(classes)
    for _ in range(draws):
        counts[sample_classes(classes, own, sampled, rng)] += 1
    assert (counts[own] == draws).all()
    others = np.delete(counts, own)
    likely = (sampled - 3) / (classes - 3)
    square = ((others - draws * likely) ** 2 / (draws * likely * (1 - likely))).sum()
    assert abs(square - len(others)) < 5 * np.sqrt(2 * len(others))


def test_the_same_generator_draws_the_same_sample() -> None:
    one, two = (sample_classes(10**6, np.array([5]), 100, np.random.default_rng((7, 3))) for _ in range(2))
    assert (one == two).all()
    assert (one != sample_classes(10**6, np.array([5]), 100, np.random.default_rng((7, 4)))).any()


def test_a_head_gives_no_gradient_to_pictures_without_its_label() -> None:
    banks = {"product": bank(), "lens": bank(seed=3), "logo": bank(seed=4)}
    activations, _ = batch(rows=5)
    labels = {
        "product": (torch.tensor([0, 1]), torch.tensor([3, 4])),
        "lens": (torch.tensor([1, 4]), torch.tensor([0, 11])),
    }
    losses = head_losses(banks, activations, labels, np.random.default_rng(0))
    assert list(losses) == ["product", "lens"]
    for head, rows in (("product", {0, 1}), ("lens", {1, 4})):
        (gradient,) = torch.autograd.grad(losses[head], activations, retain_graph=True)
        assert set(gradient.abs().sum(dim=1).nonzero().flatten().tolist()) == rows
    before = banks["logo"].weight.clone()
    sum(losses.values(), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
    for each in banks.values():
        each.update(0.1)
    assert torch.equal(banks["logo"].weight, before)


@pytest.mark.parametrize("setting", [SGD, ADAM], ids=["sgd", "adam"])
def test_gradients_of_several_batches_are_applied_as_one(setting: Proxies) -> None:
    """Accumulation: two half batches with different samples change the rows as their sum."""
    accumulated = bank(classes=30, proxies=replace(setting, sampled=10))
    expected = copy.deepcopy(accumulated.weight)
    gradient = torch.zeros_like(expected)
    for seed in (1, 2):
        activations, labels = batch(classes=30, seed=seed)
        loss = accumulated.loss(activations, labels, np.random.default_rng(seed))
        assert loss is not None
        (loss / 2 * 64).backward()  # type: ignore[no-untyped-call]
        sample = accumulated.pending[-1]
        assert sample.rows.grad is not None
        gradient[sample.classes] += sample.rows.grad / 64
    accumulated.update(0.1, scale=64)
    # The first step of Adam goes by the sign of the gradient.
    expected -= 0.1 * (gradient if setting is SGD else gradient / (gradient.abs() + 1e-8))
    torch.testing.assert_close(accumulated.weight, expected)
    assert not accumulated.pending


def test_adam_corrects_a_row_by_its_own_number_of_updates() -> None:
    """A row touched for the first time after many steps moves as far as one touched in the first."""
    proxies = bank(classes=1000, proxies=replace(ADAM, sampled=4))
    for _ in range(20):
        step(proxies, batch(classes=4)[0], torch.tensor([0, 1, 2, 3, 0, 1]))
    before = proxies.weight.clone()
    step(proxies, batch(rows=4)[0], torch.tensor([900, 901, 902, 903]))
    moved = (proxies.weight - before)[900:904].abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.1), atol=1e-3, rtol=0)


def test_discarded_gradients_are_not_applied() -> None:
    proxies = bank()
    before = proxies.weight.clone()
    loss = proxies.loss(*batch(), np.random.default_rng(0))
    assert loss is not None
    loss.backward()  # type: ignore[no-untyped-call]
    proxies.discard()
    proxies.update(0.1)
    assert torch.equal(proxies.weight, before)


@pytest.mark.parametrize("proxies", [SGD, ADAM], ids=["sgd", "adam"])
def test_a_saved_bank_goes_on_as_if_never_stopped(tmp_path: Path, proxies: Proxies) -> None:
    one = bank(proxies=proxies)
    step(one, *batch())
    torch.save(one.state_dict(), tmp_path / "bank.pt")
    two = bank(proxies=proxies, seed=9)
    two.load_state_dict(torch.load(tmp_path / "bank.pt"))
    for each in (one, two):
        step(each, *batch(seed=5))
    assert torch.equal(one.weight, two.weight)
    with pytest.raises(ValueError, match=r"\[12, 16\].*\[13, 16\]"):
        bank(classes=13, proxies=proxies).load_state_dict(one.state_dict())
    with pytest.raises(ValueError, match="moments do not fit"):
        bank(proxies=SGD if proxies is ADAM else ADAM).load_state_dict(one.state_dict())


def test_bf16_autocast_leaves_the_loss_in_float32() -> None:
    activations, labels = batch()
    with torch.autocast("cpu", torch.bfloat16):
        loss = bank().loss(activations.bfloat16().float(), labels, np.random.default_rng(0))
    expected = bank().loss(activations.bfloat16().float(), labels, np.random.default_rng(0))
    assert loss is not None and expected is not None
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)


SHARDED = {"sgd": replace(SGD, sampled=20), "adam": replace(ADAM, sampled=20)}


def shard(rank: int, folder: Path) -> None:
    """One of two processes: steps on its own pictures, for each optimizer; its gradients and banks are saved."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    part = slice(0, 4) if rank == 0 else slice(4, 6)
    torch.save({name: joint_step(part, proxies) for name, proxies in SHARDED.items()}, folder / f"{rank}.pt")
    distributed.destroy_process_group()


def joint_step(part: slice, proxies: Proxies) -> dict[str, Any]:
    """A step on part of one batch of six; the second head's labels are all within the first four pictures."""
    banks = {"a": bank(300, proxies), "b": bank(40, proxies, seed=5)}
    activations, labels = batch(classes=300)
    shared = torch.eye(DIM, requires_grad=True)
    mine = (activations.detach() @ shared)[part]
    here = torch.arange(6)[part]
    second = here[here < 3]
    heads = {
        "a": (torch.arange(len(here)), labels[part]),
        "b": (second - part.start, second * 7),
    }
    gradnorm = GradNorm(banks)
    for number in range(2):
        losses = head_losses(banks, mine, heads, np.random.default_rng(number))
        shared.grad = None
        gradnorm.balance(losses, shared).backward(retain_graph=True)  # type: ignore[no-untyped-call]
        for each in banks.values():
            each.update(0.1)
    assert shared.grad is not None
    return {"gradient": shared.grad, "weights": gradnorm.weights, **{head: banks[head].weight for head in banks}}


def test_two_processes_learn_what_one_does_with_the_joint_batch(tmp_path: Path) -> None:
    """Unevenly shared: four pictures and two, and one process has nothing for the second head."""
    context = get_context("spawn")
    processes = [context.Process(target=shard, args=(rank, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
        assert process.exitcode == 0
    for name, proxies in SHARDED.items():
        expected = joint_step(slice(0, 6), proxies)
        zero, one = (torch.load(tmp_path / f"{rank}.pt")[name] for rank in range(2))
        for head in ("a", "b"):
            assert torch.equal(zero[head], one[head])
            torch.testing.assert_close(zero[head], expected[head], atol=1e-5, rtol=1e-4)
        # DistributedDataParallel averages what the processes have.
        mean = (zero["gradient"] + one["gradient"]) / 2
        torch.testing.assert_close(mean, expected["gradient"], atol=1e-5, rtol=1e-4)
        assert zero["weights"] == one["weights"] == pytest.approx(expected["weights"], abs=1e-5)


def gradnorm_run(scales: dict[str, float], losses: dict[str, float], steps: int = 400) -> dict[str, float]:
    """GradNorm on heads whose loss stays, and whose gradient at the shared layer has a fixed norm."""
    balance = GradNorm({head: bank(classes=round(np.e**3)) for head in scales})
    shared = torch.ones(1, requires_grad=True)
    for _ in range(steps):
        balance.balance(
            {head: scale * shared.sum() + losses[head] - scale for head, scale in scales.items()}, shared
        ).backward()  # type: ignore[no-untyped-call]
    return balance.weights


def test_gradnorm_brings_the_weighted_gradients_to_one_norm() -> None:
    weights = gradnorm_run({"a": 1.0, "b": 4.0}, {"a": 1.0, "b": 1.0})
    assert weights["a"] * 1.0 == pytest.approx(weights["b"] * 4.0, rel=0.2)
    assert sum(weights.values()) == pytest.approx(2)


def test_gradnorm_favours_the_head_that_has_learnt_less() -> None:
    weights = gradnorm_run({"a": 1.0, "b": 1.0}, {"a": 3.0, "b": 1.0})
    # Equal rates would give equal weights; a share of 1.5 and 0.5 to the power 1.5 gives 5.2 to 1.
    assert weights["a"] / weights["b"] == pytest.approx(3**1.5, rel=0.4)


def test_equal_heads_keep_equal_weights() -> None:
    assert gradnorm_run({"a": 2.0, "b": 2.0}, {"a": 1.0, "b": 1.0}) == pytest.approx({"a": 1.0, "b": 1.0}, abs=0.05)
