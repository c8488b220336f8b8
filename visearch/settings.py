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
    Setting(
        "model",
        "",
        "path or name",
        "embedding model: an .onnx file, or a name that `visearch models list` shows; none: the shipped one",
    ),
    Setting(
        "detector",
        "",
        "path or name",
        "object detector: an .onnx file, or a name as for the model; none: the shipped one",
    ),
    Setting("precision", "auto", "auto|float32|bf16", "precision of the models on CPU"),
    Setting("max_file_megabytes", 100.0, "megabytes", "files with more bytes are not read", 0.001, 10_000),
    Setting("max_megapixels", 50.0, "megapixels", "pictures with more pixels are refused", 0.001, 1000),
    Setting("pixels_in_flight", 60.0, "megapixels", "decoded pixels held in memory at once by all threads", 1, 100_000),
    Setting("decode_seconds", 20.0, "seconds", "time limit for decoding one file", 0.01, 3600),
    Setting("decode_memory", 1500.0, "megabytes", "memory limit of the supervised decoder process", 64, 100_000),
    Setting(
        "remote_seconds",
        60.0,
        "seconds",
        "how long a server of pictures may be silent; over HTTP also the time for one picture",
        0.01,
        3600,
    ),
    Setting("thumbnail_side", 192, "pixels", "longest side of the stored thumbnails", 16, 1024),
    Setting(
        "working_copies",
        "remote",
        "off|on|remote",
        "whether a 256 px JPEG is kept of every picture, or of those from remote sources: a new model is then taken"
        " over without reading them again",
    ),
    Setting("recall_target", 0.99, "fraction", "recall@20 that the number of IVF probes is chosen to reach", 0.5, 1.0),
    Setting("flat_up_to", 200_000, "codes", "up to this many codes the index is flat (exact); above, IVF", 0, 10**9),
    Setting("window", 1000, "candidates", "candidates by Hamming distance that are re-ranked for a query", 1, 100_000),
    Setting("shard_seconds", 5.0, "seconds", "a shard that takes longer is left out of the answer", 0.01, 600),
    Setting("map_gigabytes", 1024, "gigabytes", "size of the LMDB map (address space, not disk)", 1, 65536),
    Setting(
        "api_keys", "", "keys", "comma-separated keys, one of which adds and removes items over HTTP; none: nobody"
    ),
    Setting("read_access", "open", "open|key", "who may search over HTTP: everyone, or who has one of the API keys"),
    Setting("hosts", "", "names", "comma-separated host names the server answers to, beside IP addresses and its own"),
    Setting(
        "cors_origins", "", "origins", "comma-separated origins whose pages may call the HTTP API, or *; none: its own"
    ),
    Setting(
        "max_body_megabytes", 20.0, "megabytes", "HTTP requests and fetched pictures with more are refused", 0.001, 1000
    ),
    Setting("max_form_parts", 1000, "parts", "HTTP forms with more are refused", 1, 100_000),
    Setting(
        "requests_per_minute", 1200, "requests", "searches and changes a client address may ask for; 0: any", 0, 10**9
    ),
    Setting(
        "requests_at_once", 4, "requests", "HTTP searches and uploads that are worked on at the same time", 1, 1000
    ),
    Setting(
        "requests_waiting", 32, "requests", "HTTP searches and uploads that wait their turn; more get 429", 0, 10_000
    ),
    Setting("pages_kept", 200, "queries", "latest HTTP queries whose further pages can be asked for", 1, 10**6),
    Setting("url_fetch", "off", "off|https|any", "whether queries by image_url are answered; any: plain http too"),
    Setting("fetch_seconds", 10.0, "seconds", "time limit for fetching one image_url", 0.01, 600),
    Setting(
        "search_log_days",
        0,
        "days",
        "keep what was searched, shown and clicked for so long; 0: no search log",
        0,
        10_000,
    ),
    Setting(
        "server_connections",
        1000,
        "connections",
        "clients connected at once; more wait, or over https are turned away",
        1,
        60_000,
    ),
    Setting("idle_seconds", 60, "seconds", "a connection that is silent for so long is closed", 1, 3600),
    Setting("stop_seconds", 10.0, "seconds", "how long a stopping server goes on with requests that are here", 0, 3600),
    Setting("max_header_kilobytes", 64.0, "kilobytes", "HTTP requests with larger headers are refused", 1, 1000),
    Setting("trusted_proxy", "", "address", "the reverse proxy whose X-Forwarded-For, -Proto and -Host are believed"),
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
