"""Request ids, the access log, Server-Timing and the Prometheus measures: what is known of each request."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from collections.abc import Callable

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

REQUEST_ID = "X-Request-Id"
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

access = logging.getLogger("web.access")


class Measures:
    """The measures of one app, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}
        self.requests = Counter(
            "visearch_requests", "Answers by operation and status", ["operation", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "visearch_request_seconds", "Time to answer", ["operation"], registry=self.registry, buckets=SECONDS
        )
        self.stages = Histogram(
            "visearch_stage_seconds",
            "Time of the stages of a query",
            ["stage"],
            registry=self.registry,
            buckets=SECONDS,
        )

    def watch(self, name: str, help: str, value: Callable[[], float], **labels: str) -> None:
        """A gauge that is asked when the measures are read."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, help, list(labels), registry=self.registry)
        gauge = self._gauges[name]
        (gauge.labels(**labels) if labels else gauge).set_function(value)

    def exposition(self) -> Response:
        """The answer of /metrics."""
        return Response(
            generate_latest(self.registry),  # type: ignore[no-untyped-call]
            content_type=CONTENT_TYPE_LATEST,
        )


def register(app: Flask, measures: Measures) -> None:
    """Give every request an id, measure it, and write one line of JSON about it to the logger `web.access`."""

    @app.before_request
    def begin() -> None:
        given = request.headers.get(REQUEST_ID, "")
        g.request_id = given if _GIVEN_ID.fullmatch(given) else secrets.token_hex(16)
        g.began = time.perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.perf_counter() - g.began
        operation = request.endpoint or "none"
        measures.requests.labels(operation, str(response.status_code)).inc()
        measures.seconds.labels(operation).observe(seconds)
        times = {stage: round(milliseconds, 2) for stage, milliseconds in g.get("took", {}).items()}
        for stage, milliseconds in times.items():
            measures.stages.labels(stage).observe(milliseconds / 1000)
        timing = {**times, "total": round(seconds * 1000, 2)}
        response.headers.add("Server-Timing", ", ".join(f"{stage};dur={value}" for stage, value in timing.items()))
        response.headers.add(REQUEST_ID, g.request_id)
        access.info("%s", _line(response, timing))
        return response


def _line(response: Response, timing: dict[str, float]) -> str:
    """Neither query parameters nor headers: they can hold keys and what people look for."""
    return json.dumps(
        {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "request_id": g.request_id,
            "client": request.remote_addr,
            "method": request.method,
            "path": request.path[:500],
            "operation": request.endpoint,
            "status": response.status_code,
            "bytes_in": request.content_length or 0,
            "bytes_out": response.calculate_content_length(),
            "took": timing,
        }
    )
