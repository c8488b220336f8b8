"""The settings table: a default, an environment variable, bounds that are held and named."""

from __future__ import annotations

import math

import pytest

from visearch import settings
from visearch.errors import UsageError
from visearch.settings import SETTINGS, Setting

NUMBERS = [setting for setting in SETTINGS if not isinstance(setting.default, str)]


def name(setting: Setting) -> str:
    return setting.name


def test_names_are_unique() -> None:
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS, ids=name)
def test_without_a_variable_the_default_holds(setting: Setting) -> None:
    assert settings.get(setting.name) == setting.default


@pytest.mark.parametrize("setting", SETTINGS, ids=name)
def test_an_empty_variable_is_none(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(setting.variable, "")
    assert settings.get(setting.name) == setting.default


@pytest.mark.parametrize("setting", NUMBERS, ids=name)
def test_bounds_are_inclusive_and_one_over_is_named(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    low, high = setting.minimum, setting.maximum
    assert low is not None
    assert high is not None
    kind = type(setting.default)
    for bound in (low, high):
        monkeypatch.setenv(setting.variable, str(kind(bound)))
        assert settings.number(setting.name) == bound
    for outside in (kind(math.floor(low - 1)), kind(high + 1)):
        monkeypatch.setenv(setting.variable, str(outside))
        with pytest.raises(UsageError, match=rf"^{setting.variable}=.* is outside .* {setting.unit}"):
            settings.get(setting.name)


@pytest.mark.parametrize("setting", NUMBERS, ids=name)
@pytest.mark.parametrize("text", ["many", "1,5", "0x10", "1 2"])
def test_what_is_no_number_is_named(setting: Setting, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(setting.variable, text)
    with pytest.raises(UsageError, match=rf"^{setting.variable}='{text}' is not a (int|float)"):
        settings.get(setting.name)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_nan_and_infinity_are_outside(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEARCH_DECODE_SECONDS", text)
    with pytest.raises(UsageError, match="is outside"):
        settings.get("decode_seconds")


def test_text_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEARCH_MODEL", "models/my model.onnx")
    assert settings.text("model") == "models/my model.onnx"


def test_every_setting_is_explained() -> None:
    assert all(setting.help and setting.unit for setting in SETTINGS)
