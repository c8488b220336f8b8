"""The Flask application: `create_app(collections, detector)`. `visearch serve` runs it; any WSGI server can."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Mapping
from pathlib import Path

from flask import Flask, Response, request, send_from_directory
from flask_cors import CORS

import web.api  # noqa: F401 (declares the operations)
from visearch.collection import Collection
from visearch.detector import Detector
from visearch.errors import UsageError
from web import measures, operations, problems
from web.auth import HEADER, Keys
from web.config import Config
from web.fetch import Fetcher
from web.limits import ENCODINGS_WAITING, FETCHES, Gate
from web.listing import Remembered
from web.measures import REQUEST_ID, Measures
from web.pages import Pages
from web.problems import Problem
from web.searchlog import open_logs
from web.state import EXTENSION, State

STATIC = Path(__file__).parent / "static"
POLICY = (
    "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
PREFLIGHT_SECONDS = 600
LONGEST_FIELD = 1_000_000  # bytes of a form field that is no file

log = logging.getLogger(__name__)


def create_app(
    collections: Mapping[str, Collection],
    detector: Detector | None = None,
    *,
    config: Config | None = None,
    fetcher: Fetcher | None = None,
) -> Flask:
    """Make the application over open collections, by name; the first is meant where a request names none.

    The caller closes the collections, and before them what `close_logs` closes. `config` is read from the settings
    without.

    Raises:
        UsageError: there is no collection, or a setting is wrong.
    """
    if not collections:
        raise UsageError("a server needs at least one collection")
    config = config or Config.from_settings()
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = config.max_body
    app.config["MAX_FORM_PARTS"] = config.max_form_parts
    app.config["MAX_FORM_MEMORY_SIZE"] = LONGEST_FIELD
    days = config.search_log_days
    made = State(
        collections=dict(collections),
        detector=detector,
        config=config,
        keys=Keys(config.api_keys),
        gate=Gate(config.requests_at_once, config.requests_waiting),
        encoding=Gate(config.requests_at_once, ENCODINGS_WAITING),
        fetching=Gate(FETCHES, 0),
        pages=Pages(config.pages_kept),
        fetcher=fetcher or Fetcher(config.fetch_schemes, config.fetch_seconds, config.max_body),
        measures=Measures(),
        lists=Remembered(),
        logs=open_logs({name: each.path for name, each in collections.items()}, days) if days else {},
    )
    app.extensions[EXTENSION] = made
    # after_request functions run in reverse: the measures, registered first, see the finished answer.
    measures.register(app, made.measures)
    _watch(made)
    problems.register(app)
    _guard(app, config)
    operations.register(app, made)
    _pages(app)
    if config.cors_origins:
        CORS(
            app,
            resources={r"/api/.*": {}, "/openapi.json": {}},
            origins="*" if "*" in config.cors_origins else list(config.cors_origins),
            allow_headers=["Content-Type", "Authorization", HEADER, REQUEST_ID],
            expose_headers=["Server-Timing", REQUEST_ID, "Retry-After"],
            max_age=PREFLIGHT_SECONDS,
        )
    return app


def close_logs(app: Flask) -> None:
    """Write what the search logs of an application hold to disk, and close them."""
    made: State = app.extensions[EXTENSION]
    for each in made.logs.values():
        each.close()


def _watch(made: State) -> None:
    made.measures.watch("visearch_requests_inside", "Requests worked on or waiting", lambda: made.gate.inside)
    for name, collection in made.collections.items():
        made.measures.watch("visearch_items", "Items", collection.__len__, collection=name)


def _guard(app: Flask, config: Config) -> None:
    headers = HEADERS | {"Cross-Origin-Resource-Policy": "cross-origin" if config.cors_origins else "same-origin"}
    own = {"localhost", socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"} | config.hosts

    @app.before_request
    def check_host() -> None:
        """A page of the internet can give its own name the address of this server, and would then be of its origin.
        Browsers always send the name; what sends none (health checks over HTTP/1.0) is no browser."""
        host = _host_of(request.host)
        if "HTTP_HOST" in request.environ and host not in own and not _is_address(host):
            raise Problem(403, "this server does not answer to that host name; name it in VISEARCH_HOSTS")

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", POLICY)
        for name, value in headers.items():
            response.headers.add(name, value)
        return response


def _host_of(sent: str) -> str:
    """The host of a Host header, without port and brackets."""
    if sent.startswith("["):
        return sent[1:].partition("]")[0].lower()
    return sent.partition(":")[0].lower().rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _pages(app: Flask) -> None:
    """The page of the browser and its parts; a browser asks each time whether they have changed."""

    @app.get("/")
    def ui() -> Response:
        return send_from_directory(STATIC, "index.html", max_age=0)

    @app.get("/static/<path:name>")
    def static_file(name: str) -> Response:
        return send_from_directory(STATIC, name, max_age=0)

    @app.get("/favicon.ico")
    def favicon() -> Response:
        return send_from_directory(STATIC, "icon.svg", max_age=0)
