"""What makes torch train faster on a CPU, found by profiling the shipped recipe (benchmarks/bench_training.py)."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import torch
from torch import Tensor, nn

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGE_KERNEL = 4  # pixels; torch's own kernels are fast for smaller ones that move pixel by pixel


def prepare(threads: int) -> None:
    """Compute with so many threads, and keep the memory of tensors that are gone, where the allocator is glibc's.

    Activations of tens of megabytes would go back to the system and come again page by page in every step. Now the
    process holds what it needed at its peak.
    """
    torch.set_num_threads(threads)
    if sys.platform == "linux":
        mallopt: Any = getattr(ctypes.CDLL(None), "mallopt", None)  # not in musl
        if mallopt is not None:
            mallopt(M_MMAP_MAX, 0)
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def large_depthwise_in_float32(model: nn.Module) -> None:
    """Compute depthwise convolutions of large steps or kernels in float32 under autocast too.

    torch has a fast backward pass for them in float32 only: up to nine times that in bfloat16. What they are computed
    from stays in the precision of autocast, and so does what they give.
    """
    for module in model.modules():
        if not isinstance(module, nn.Conv2d) or not module.groups == module.in_channels > 1:
            continue
        if max(module.stride) > 1 or max(module.kernel_size) > LARGE_KERNEL:
            # A class, not a method of the module: copies of the model must compute with their own weights.
            module.__class__ = type(module.__class__.__name__, (_InFloat32, module.__class__), {})


class _InFloat32(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float()).to(input.dtype)
