"""torch and timm are there, or one line says how to get them."""

from __future__ import annotations

import sys

import pytest

from training.libraries import import_timm
from visearch.errors import UsageError


def test_timm_is_imported_with_its_transforms() -> None:
    timm = import_timm()
    assert timm is import_timm()
    assert timm.is_model("test_resnet")
    assert timm.data.create_transform(input_size=32)


@pytest.mark.parametrize("missing", ["timm", "torchvision"])
def test_what_is_not_installed_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # import then raises ModuleNotFoundError
    with pytest.raises(UsageError, match=rf"training needs {missing}.*: pip install '\.\[train\]'"):
        import_timm()
