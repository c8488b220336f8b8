"""torch and timm, imported with one line for who has not installed them. Nothing else in `training` imports timm."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from visearch.errors import UsageError

_kept: list[Any] = []  # a torch.library.Library takes its definitions with it when it is collected


def import_timm() -> Any:
    """timm, with `torch` and `torchvision` imported before it.

    timm needs torchvision only for transforms, but PyPI's torchvision next to a CPU build of torch stops at import: its
    compiled operators want CUDA libraries. With two of them declared all but `torchvision.ops.nms` works.

    Raises:
        UsageError: one of them is not installed.
    """
    try:
        try:
            importlib.import_module("torchvision")
        except RuntimeError as error:
            if "torchvision::nms" not in str(error):
                raise
            _declare_operators()
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise UsageError(f"training needs {error.name}: pip install '.[train]'") from None


def _declare_operators() -> None:
    torch: Any = importlib.import_module("torch")
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)
    importlib.import_module("torchvision")
