"""Whether the server lives, is ready, and how it does."""

from __future__ import annotations

from flask import Response

from visearch.errors import VisearchError
from web import VERSION
from web.operations import operation
from web.problems import Problem
from web.schemas import Health
from web.state import state


@operation("GET", "/livez", "Does the process answer?", answers={200: Health}, access="open")
def livez() -> Health:
    """Always ok: no collection is looked at."""
    return Health(status="ok", version=VERSION, collections={})


@operation("GET", "/readyz", "Can every collection answer?", answers={200: Health}, access="open", problems=(503,))
def readyz() -> Health:
    """503 until the model of every collection is loaded, and while one cannot be read."""
    health = _health()
    if health.status != "ok":
        raise Problem(503, headers={"Retry-After": "5"})
    return health


@operation("GET", "/healthz", "How does each collection do?", answers={200: Health}, access="open")
def healthz() -> Health:
    """Always 200; for people."""
    return _health()


@operation("GET", "/metrics", "Measures for Prometheus", answers={200: ("application/openmetrics-text",)})
def metrics() -> Response:
    """Answers, times, stages, items, in the OpenMetrics text format."""
    return state().measures.exposition()


def _health() -> Health:
    collections = {name: "ok" if _is_ready(name) else "not ready" for name in state().collections}
    status = "ok" if all(each == "ok" for each in collections.values()) else "not ready"
    return Health.model_validate({"status": status, "version": VERSION, "collections": collections})


def _is_ready(name: str) -> bool:
    collection = state().collections[name]
    try:
        collection.searcher()
        collection.embedder  # noqa: B018 (loads the model)
    except VisearchError:
        return False
    return True
