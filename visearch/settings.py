"""The one table of settings: name, default, unit, help. It feeds the environment, the CLI, the docs and the tests.

A setting is read from the environment variable `VISEARCH_<NAME>`; where that is not there or empty its default holds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from visearch.errors import UsageError


@dataclass(frozen=True)
class Setting:
    """One row of the table. `minimum` and `maximum` are inclusive bounds for numbers."""

    name: str
    default: int | float | str
    unit: str
    help: str
    minimum: float | None = None
    maximum: float | None = None

    @property
    def variable(self) -> str:
        """The environment variable that overrides the default."""
        return f"VISEARCH_{self.name.upper()}"


MEGABYTE = 1_000_000

SETTINGS: tuple[Setting, ...] = (
    Setting("collection", ".visearch", "path", "folder of the collection that commands use"),
    Setting("model", "", "path or name", "embedding model: an .onnx file, or a name that `visearch models list` shows"),
    Setting("precision", "auto", "auto|float32|bf16", "precision of the embedding model on CPU"),
    Setting("max_file_megabytes", 100.0, "megabytes", "files with more bytes are not read", 0.001, 10_000),
    Setting("max_megapixels", 50.0, "megapixels", "pictures with more pixels are refused", 0.001, 1000),
    Setting("pixels_in_flight", 60.0, "megapixels", "decoded pixels held in memory at once by all threads", 1, 100_000),
    Setting("decode_seconds", 20.0, "seconds", "time limit for decoding one file", 0.01, 3600),
    Setting("decode_memory", 1500.0, "megabytes", "memory limit of the supervised decoder process", 64, 100_000),
    Setting("thumbnail_side", 192, "pixels", "longest side of the stored thumbnails", 16, 1024),
    Setting("recall_target", 0.99, "fraction", "recall@20 that the number of IVF probes is chosen to reach", 0.5, 1.0),
    Setting("flat_up_to", 200_000, "codes", "up to this many codes the index is flat (exact); above, IVF", 0, 10**9),
    Setting("window", 1000, "candidates", "candidates by Hamming distance that are re-ranked for a query", 1, 100_000),
    Setting("map_gigabytes", 1024, "gigabytes", "size of the LMDB map (address space, not disk)", 1, 65536),
)

_BY_NAME = {setting.name: setting for setting in SETTINGS}


def get(name: str) -> int | float | str:
    """Return the value of a setting, with the type of its default.

    Raises:
        UsageError: the environment holds a value of the wrong type or outside the bounds.
    """
    setting = _BY_NAME[name]
    text = os.environ.get(setting.variable)
    if not text:
        return setting.default
    return parse(setting, text)


def parse(setting: Setting, text: str) -> int | float | str:
    """Convert `text` to the setting's type and check its bounds; raises UsageError naming the variable."""
    kind = type(setting.default)
    try:
        value = kind(text)
    except ValueError:
        raise UsageError(f"{setting.variable}={text!r} is not a {kind.__name__} ({setting.unit})") from None
    if isinstance(value, (int, float)):
        low, high = setting.minimum, setting.maximum
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            raise UsageError(f"{setting.variable}={text} is outside {low:g}..{high:g} {setting.unit}")
    return value


def number(name: str) -> float:
    """Return a numeric setting."""
    value = get(name)
    assert isinstance(value, (int, float))
    return value


def text(name: str) -> str:
    """Return a textual setting."""
    value = get(name)
    assert isinstance(value, str)
    return value
