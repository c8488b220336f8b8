"""What this machine grants the process."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

from visearch.errors import VisearchError

SAME_MODULE = (("faiss-cpu", "faiss-gpu"), ("onnxruntime", "onnxruntime-gpu"))


def check_installation() -> None:
    """Raise VisearchError where the CPU and the GPU form of a package are both installed: they hold the same module."""
    for cpu, gpu in SAME_MODULE:
        if _is_installed(cpu) and _is_installed(gpu):
            raise VisearchError(
                f"{cpu} and {gpu} are both installed and overwrite each other; pip uninstall one of them"
            )


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def usable_cores() -> int:
    """CPU cores this process may use: its affinity, and the CPU quota of its cgroup (v2) where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or the quota is "max"
        return max(1, cores)
