"""What the server is told by the settings, read once when the app is made."""

from __future__ import annotations

from dataclasses import dataclass

from visearch import settings
from visearch.errors import UsageError
from visearch.settings import MEGABYTE

FETCH_SCHEMES = {"off": frozenset[str](), "https": frozenset({"https"}), "any": frozenset({"https", "http"})}
READ_ACCESS = ("open", "key")


@dataclass(frozen=True)
class Config:
    """The web settings of settings.py, parsed: bytes instead of megabytes, sets instead of comma-separated text."""

    api_keys: frozenset[str]
    reads_need_key: bool
    hosts: frozenset[str]
    cors_origins: tuple[str, ...]
    max_body: int
    max_form_parts: int
    requests_per_minute: int
    requests_at_once: int
    requests_waiting: int
    pages_kept: int
    fetch_schemes: frozenset[str]
    fetch_seconds: float
    search_log_days: int

    @staticmethod
    def from_settings() -> Config:
        """Read the settings.

        Raises:
            UsageError: one is of the wrong type, outside its bounds, or they contradict each other.
        """
        access = _one_of("read_access", settings.text("read_access"), READ_ACCESS)
        keys = frozenset(_list(settings.text("api_keys")))
        if access == "key" and not keys:
            raise UsageError("VISEARCH_READ_ACCESS=key needs at least one key in VISEARCH_API_KEYS")
        return Config(
            api_keys=keys,
            reads_need_key=access == "key",
            hosts=frozenset(name.lower() for name in _list(settings.text("hosts"))),
            cors_origins=_list(settings.text("cors_origins")),
            max_body=int(settings.number("max_body_megabytes") * MEGABYTE),
            max_form_parts=int(settings.number("max_form_parts")),
            requests_per_minute=int(settings.number("requests_per_minute")),
            requests_at_once=int(settings.number("requests_at_once")),
            requests_waiting=int(settings.number("requests_waiting")),
            pages_kept=int(settings.number("pages_kept")),
            fetch_schemes=FETCH_SCHEMES[_one_of("url_fetch", settings.text("url_fetch"), tuple(FETCH_SCHEMES))],
            fetch_seconds=settings.number("fetch_seconds"),
            search_log_days=int(settings.number("search_log_days")),
        )


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise UsageError(f"VISEARCH_{name.upper()}={value!r}: one of {', '.join(allowed)}")
    return value
