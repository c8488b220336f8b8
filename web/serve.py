"""A WSGI application under waitress: one process, threads, answers to those who came before it stops.

Waitress takes in a whole request and sends out a whole answer by itself, so that a slow client never holds a thread.
"""

from __future__ import annotations

import contextlib
import errno
import resource
import signal
import socket
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask

from visearch import settings
from visearch.errors import UsageError, VisearchError
from web.front import TlsFront
from web.limits import ENCODINGS_WAITING, FETCHES
from web.problems import CONTENT_TYPE, DETAILS, ProblemDetails
from web.tls import is_only_local, own_addresses

if TYPE_CHECKING:
    from types import FrameType

    from _typeshed.wsgi import WSGIApplication

FORWARDED = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
TICK = 0.05  # seconds between two looks at who is still being answered, when stopping
SPARE_THREADS = 8  # for lists, pages and health while all others work or wait their turn
FILES_A_CONNECTION = 3  # its socket, and the socket pair behind TLS
OTHER_FILES = 256
RECEIVED_AT_ONCE = 1 << 16  # bytes: waitress's 8,192 wake it fifty times for a photo

ReadyHook = Callable[[], None]


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address of this machine; port 0 takes a free one.

    Raises:
        VisearchError: the port is taken, may not be used, or the host is no address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, OverflowError, UnicodeError):
        raise UsageError(
            f"--host {host}: no such address; 127.0.0.1 is this machine only, 0.0.0.0 every way in"
        ) from None
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen()  # here, since only listening finds out that another one listens too
    except OSError as error:
        listener.close()
        raise VisearchError(_why_not(error, host, port)) from None
    return listener


def _why_not(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} is in use on {host}: stop who uses it, or choose another with --port (0: any free one)"
        case errno.EACCES:
            return f"port {port}: only the administrator may use ports below 1024; choose another with --port"
        case errno.EADDRNOTAVAIL:
            return f"--host {host}: not an address of this machine"
    return f"{host}, port {port}: cannot listen ({error.strerror})"


def urls(listener: socket.socket, scheme: str) -> tuple[str, str | None]:
    """The URL for this machine, and the one for others of the network (None where they cannot reach it)."""
    host, port = listener.getsockname()[:2]
    if is_only_local(host) and host not in {"0.0.0.0", "::"}:
        return _url(scheme, host, port), None
    if host not in {"0.0.0.0", "::"}:
        return _url(scheme, host, port), _url(scheme, host, port)
    addresses = [each for each in own_addresses() if host == "::" or ":" not in each]
    return _url(scheme, "127.0.0.1", port), _url(scheme, addresses[0], port) if addresses else None


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"


def serve(
    app: WSGIApplication, listener: socket.socket, *, tls: ssl.SSLContext | None = None, ready: ReadyHook | None = None
) -> None:
    """Answer on a socket of `listen` until SIGTERM or SIGINT; who is being answered then gets the answer first.

    `ready` is called once connections are accepted. A second signal ends it at once: KeyboardInterrupt.
    """
    connections = int(settings.number("server_connections"))
    _allow_open_files(connections * FILES_A_CONNECTION + OTHER_FILES)
    server = _Server(app, listener, _adjustments("https" if tls else "http", connections), accepts=tls is None)
    front = None if tls is None else TlsFront(listener, tls, server.take, connections)
    with _stop_signals(server) as stopping:
        if front is not None:
            front.start()
        if ready is not None:
            ready()
        while not stopping():
            server.turn(1.0)
        if front is not None:
            front.stop_accepting()
        deadline = time.monotonic() + settings.number("stop_seconds")
        server.finish(deadline)
        if front is not None:
            front.join(max(0.0, deadline - time.monotonic()))


def _adjustments(scheme: str, connections: int) -> Adjustments:
    proxy = settings.text("trusted_proxy")
    return Adjustments(
        threads=int(2 * settings.number("requests_at_once") + settings.number("requests_waiting"))
        + ENCODINGS_WAITING
        + FETCHES
        + SPARE_THREADS,
        url_scheme=scheme,
        connection_limit=connections,
        channel_timeout=int(settings.number("idle_seconds")),
        cleanup_interval=1,
        recv_bytes=RECEIVED_AT_ONCE,
        max_request_body_size=int(settings.number("max_body_megabytes") * settings.MEGABYTE),
        max_request_header_size=int(settings.number("max_header_kilobytes") * 1000),
        asyncore_use_poll=True,  # select() stops at 1,024 files
        ident=None,
        log_socket_errors=False,
        trusted_proxy=proxy or None,
        trusted_proxy_headers=set(FORWARDED) if proxy else set(),
        clear_untrusted_proxy_headers=True,
        sockets=[],
    )


def _allow_open_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(ValueError, OSError):  # then the kernel turns away who comes beyond
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@contextlib.contextmanager
def _stop_signals(server: _Server) -> Iterator[Callable[[], bool]]:
    """Yields what says whether SIGTERM or SIGINT came; a second one is an interrupt."""
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        server.pull_trigger()

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


class _ProblemTask(ErrorTask):
    """What waitress itself refuses (a body or headers over the limit, not HTTP) is told as everything else is."""

    def execute(self) -> None:
        request: Any = self.request
        headers: Any = self.response_headers
        status = HTTPStatus(request.error.code)
        detail = DETAILS.get(status, status.description or status.phrase)
        request_id = uuid.uuid4().hex
        problem = ProblemDetails(
            type="about:blank", title=status.phrase, status=status, detail=detail, request_id=request_id, errors=[]
        )
        body = problem.model_dump_json().encode()
        self.status = f"{status} {status.phrase}"
        headers.append(("Content-Type", CONTENT_TYPE))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):
    error_task_class = _ProblemTask

    @property
    def is_busy(self) -> bool:
        """Whether a request is coming in, being answered, or its answer still going out."""
        return bool(self.requests or self.request is not None or self.total_outbufs_len or self.close_when_flushed)


class _Server(TcpWSGIServer):
    """Waitress on a socket that is bound already; without `accepts` its connections come by `take`."""

    channel_class = _Channel

    def __init__(self, app: WSGIApplication, listener: socket.socket, adjustments: Adjustments, accepts: bool) -> None:
        info = (listener.family, listener.type, listener.proto, listener.getsockname())
        self._open: dict[int, Any] = {}
        super().__init__(
            app, self._open, _start=accepts, _sock=listener, adj=adjustments, sockinfo=info, bind_socket=False
        )
        self._channels: dict[int, _Channel] = self.active_channels  # type: ignore[assignment]

    def take(self, connection: socket.socket, client: tuple[str, int]) -> None:
        """Serve a connection that another thread accepted, as that client's."""
        trigger: Any = self.trigger
        trigger.pull_trigger(lambda: self.channel_class(self, connection, client, self.adj, map=self._open))

    def turn(self, seconds: float) -> None:
        """Read and write what can be, waiting for it no longer than that."""
        wasyncore.poll2(seconds, self._open)

    def finish(self, deadline: float) -> None:
        """Accept no more, answer the requests that are here or coming in, then end the threads."""
        wasyncore.dispatcher.close(self)
        while time.monotonic() < deadline:
            for channel in list(self._channels.values()):
                if not channel.is_busy:
                    channel.handle_close()
            if not self._channels:
                break
            self.turn(TICK)
        self.task_dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._open)
