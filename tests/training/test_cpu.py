"""What makes a CPU train faster changes nothing else."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn
from torch.nn import functional

from training import cpu
from training.libraries import import_timm


def depthwise(side: int, step: int) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(8, 8, side, step, padding=side // 2, groups=8, bias=False)


@pytest.mark.parametrize(("side", "step"), [(5, 1), (3, 2), (5, 2)])
def test_a_large_depthwise_convolution_computes_in_float32_between_bfloat16(side: int, step: int) -> None:
    layer = depthwise(side, step)
    cpu.large_depthwise_in_float32(layer)
    pictures = torch.randn(2, 8, 9, 9, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        given = layer(pictures)
    wanted = functional.conv2d(pictures.float(), layer.weight, None, step, side // 2, 1, 8)
    assert given.dtype == torch.bfloat16
    assert torch.equal(given, wanted.bfloat16())
    weights = torch.randn_like(wanted)
    (gradient,) = torch.autograd.grad(given, layer.weight, weights.bfloat16(), retain_graph=True)
    (by_hand,) = torch.autograd.grad(wanted, layer.weight, weights.bfloat16().float())
    assert torch.equal(gradient, by_hand)


def test_without_autocast_nothing_changes() -> None:
    plain, changed = depthwise(5, 2), depthwise(5, 2)
    cpu.large_depthwise_in_float32(changed)
    pictures = torch.randn(2, 8, 9, 9)
    assert torch.equal(plain(pictures), changed(pictures))
    assert list(plain.state_dict()) == list(changed.state_dict())


def test_a_copy_of_a_model_computes_with_its_own_weights() -> None:
    layer = depthwise(5, 2)
    cpu.large_depthwise_in_float32(layer)
    copied = deepcopy(layer)
    nn.init.zeros_(copied.weight)
    assert not copied(torch.randn(1, 8, 9, 9)).any()


def test_other_layers_stay_as_they_are_and_those_of_timm_keep_their_padding() -> None:
    model = import_timm().create_model("mobilenet_edgetpu_100", num_classes=0, pad_type="same").eval()
    before = {name: type(module) for name, module in model.named_modules()}
    pictures = torch.randn(1, 3, 64, 64)
    wanted = model(pictures)
    cpu.large_depthwise_in_float32(model)
    changed = [module for name, module in model.named_modules() if type(module) is not before[name]]
    assert changed
    for layer in changed:
        assert isinstance(layer, nn.Conv2d)
        assert layer.groups == layer.in_channels
        assert layer.stride[0] > 1 or layer.kernel_size[0] > 3
    given: Tensor = model(pictures)
    assert torch.equal(given, wanted)


FAULTS = """
import resource, torch
from training import cpu
cpu.prepare(1)
for round in range(30):
    if round == 15:  # by now there is a place for everything
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(25_000_000)
print(torch.get_num_threads(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator of glibc")
def test_the_memory_of_a_tensor_that_is_gone_serves_the_next() -> None:
    """In a process of its own, as it changes the allocator. A tensor of 100 MB is 24,400 pages."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    threads, faults = map(int, done.stdout.split())
    assert threads == 1
    assert faults < 24_400  # of 15 tensors
