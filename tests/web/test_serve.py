"""How `visearch serve` treats connections: addresses, limits, slow clients, TLS, the end. Real processes, sockets."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.web.serving import BIG
from visearch.errors import UsageError, VisearchError
from web.serve import listen, urls

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60  # nothing here takes so long, on the slowest machine


@dataclass
class Served:
    """A running server."""

    process: subprocess.Popen[str]
    port: int
    trust: Path | None
    opened: list[socket.socket] = field(default_factory=list)

    def connect(self) -> socket.socket:
        """A new connection, over TLS where the server speaks it; the certificate is checked."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
        if self.trust is not None:
            context = ssl.create_default_context(cafile=self.trust)
            connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
        self.opened.append(connection)
        return connection

    def client(self) -> http.client.HTTPConnection:
        """An HTTP client on a new connection."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        client.sock = self.connect()
        return client

    def get(self, path: str = "/", headers: Mapping[str, str] = MappingProxyType({})) -> tuple[int, bytes]:
        """Status and body of the answer to a request on a connection of its own."""
        client = self.client()
        client.request("GET", path, headers=headers)
        answer = client.getresponse()
        return answer.status, answer.read()

    def wait_for(self, line: str) -> None:
        """Wait until the server says so."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == line

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its exit code."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


def answer_on(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of the answer that comes on a connection."""
    with http.client.HTTPResponse(connection) as answer:
        answer.begin()
        return answer.status, answer.read()


Start = Callable[..., Served]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A function that starts a server, with settings as keywords."""
    started: list[Served] = []

    def run(*, https: bool = False, **settings: object) -> Served:
        environment = os.environ | {"XDG_DATA_HOME": str(tmp_path)}
        environment |= {f"VISEARCH_{name.upper()}": str(value) for name, value in settings.items()}
        command = [sys.executable, "-m", "tests.web.serving", "127.0.0.1", "0", *(["https"] if https else [])]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("https://127.0.0.1:" if https else "http://127.0.0.1:")
        trust = tmp_path / "visearch" / "tls" / "server.pem" if https else None
        started.append(Served(process, int(url.removesuffix("/").rpartition(":")[2]), trust))
        return started[-1]

    yield run
    for served in started:
        served.process.kill()
        served.process.communicate()
        for connection in served.opened:
            connection.close()


both = pytest.mark.parametrize("https", [False, True], ids=["http", "https"])


@both
def test_it_answers_and_knows_who_asks_and_how(start: Start, https: bool) -> None:
    served = start(https=https)
    client = served.client()
    port = str(client.sock.getsockname()[1])
    for _ in range(3):  # on one connection
        client.request("GET", "/")
        seen = json.loads(client.getresponse().read())
        assert seen["REMOTE_ADDR"] == "127.0.0.1"
        assert seen["REMOTE_PORT"] == port
        assert seen["wsgi.url_scheme"] == ("https" if https else "http")


@both
def test_bodies_pass_whole_in_both_directions(start: Start, https: bool) -> None:
    served = start(https=https)
    client = served.client()
    client.request("POST", "/echo", body=bytes(3_000_000))
    assert client.getresponse().read() == b"3000000"
    assert len(served.get("/big")[1]) == BIG


@both
def test_a_body_over_the_limit_is_refused_with_a_problem(start: Start, https: bool) -> None:
    served = start(https=https, max_body_megabytes=0.1)
    client = served.client()
    client.request("POST", "/echo", body=bytes(99_999))
    assert client.getresponse().read() == b"99999"
    for body, chunked in ((bytes(100_001), False), (iter([bytes(100_001)]), True)):
        client = served.client()
        client.request("POST", "/echo", body=body, encode_chunked=chunked)
        answer = client.getresponse()
        assert answer.status == 413
        assert answer.headers["Content-Type"] == "application/problem+json"
        problem = json.loads(answer.read())
        assert problem["status"] == 413
        assert problem["title"] == http.client.responses[413]
        assert problem["request_id"]


def test_over_https_too_a_client_that_goes_on_sending_gets_its_refusal(start: Start) -> None:
    served = start(https=True, max_body_megabytes=0.1)
    connection = served.connect()
    connection.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    for _ in range(10):  # the answer has been given long before the last of it
        time.sleep(0.05)
        connection.sendall(bytes(100_000))
    status, body = answer_on(connection)
    assert status == json.loads(body)["status"] == 413


def test_headers_over_the_limit_and_what_is_not_http_are_refused_with_a_problem(start: Start) -> None:
    served = start(max_header_kilobytes=2)
    assert served.get(headers={"Long": "x" * 1000})[0] == 200
    status, body = served.get(headers={"Long": "x" * 2000})
    assert status == json.loads(body)["status"] == 431
    connection = served.connect()
    connection.sendall(b"this is \x00 not HTTP\r\n\r\n")
    status, body = answer_on(connection)
    assert status == json.loads(body)["status"] == 400


@both
def test_half_open_and_slow_clients_hold_nobody_up(start: Start, https: bool) -> None:
    served = start(https=https, requests_at_once=1, requests_waiting=0)
    silent = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(100)]  # of TLS: no handshake either
    slow = [served.connect() for _ in range(100)]
    for connection in slow:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: slow\r\nContent-Length: 100000\r\n\r\nx")
    reading = [served.connect() for _ in range(20)]
    for connection in reading:
        connection.sendall(b"GET /big HTTP/1.1\r\nHost: slow\r\n\r\n")  # and never reads the answer
    for _ in range(20):
        assert served.get()[0] == 200
    slow[0].sendall(b"x" * 99_999)
    assert answer_on(slow[0]) == (200, b"100000")
    for connection in silent:
        connection.close()


def test_a_silent_connection_is_closed_in_the_end(start: Start) -> None:
    served = start(idle_seconds=1)
    connection = served.connect()
    connection.sendall(b"GET / HTTP/1.1\r\n")
    assert connection.recv(1) == b""


@both
def test_no_more_clients_than_the_limit_are_connected_and_the_next_gets_in_when_one_leaves(
    start: Start, https: bool
) -> None:
    served = start(https=https, server_connections=5)
    clients = [served.client() for _ in range(8)]
    answered = []
    for client in clients:
        client.sock.settimeout(0.5)
        try:
            client.request("GET", "/")
            client.getresponse().read()
            answered.append(client)
        except OSError:  # it waits, or was turned away
            pass
    assert 1 <= len(answered) <= 5
    for client in clients:
        client.close()
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            assert served.get()[0] == 200
            break
        except OSError:
            assert time.monotonic() < deadline


@both
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_the_requests_that_are_here_and_takes_no_more(
    start: Start, https: bool, number: signal.Signals
) -> None:
    served = start(https=https)
    idle, uploading, waiting = served.client(), served.connect(), served.client()
    idle.request("GET", "/")
    idle.getresponse().read()
    uploading.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf.")
    waiting.request("GET", "/slow?1")
    served.wait_for("began")
    served.process.send_signal(number)
    assert idle.sock.recv(1) == b""  # closed at once
    with pytest.raises(OSError):  # refused, or reset
        socket.create_connection(("127.0.0.1", served.port)).recv(1)
        raise ConnectionError("closed without an answer")
    uploading.sendall(b"half.")
    assert answer_on(uploading) == (200, b"10")
    assert waiting.getresponse().read() == b"late"
    assert served.process.wait(SECONDS) == 0


def test_a_stop_does_not_wait_for_ever(start: Start) -> None:
    served = start(stop_seconds=0.5)
    half_open = served.connect()
    half_open.sendall(b"GET / HTTP/1.1\r\n")
    waiting = served.client()
    waiting.request("GET", "/slow?60")
    served.wait_for("began")
    assert served.stop() == 0


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    served = start(stop_seconds=SECONDS)
    waiting = served.client()
    waiting.request("GET", f"/slow?{SECONDS}")
    served.wait_for("began")
    served.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    assert served.stop(signal.SIGINT) != 0


def test_only_the_trusted_proxy_is_believed(start: Start) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example"}
    seen = json.loads(start().get(headers=forwarded)[1])
    assert seen["REMOTE_ADDR"] == "127.0.0.1"
    assert seen["wsgi.url_scheme"] == "http"
    seen = json.loads(start(trusted_proxy="127.0.0.1").get(headers=forwarded)[1])
    assert seen["REMOTE_ADDR"] == "203.0.113.7"
    assert seen["wsgi.url_scheme"] == "https"
    assert seen["HTTP_HOST"] == "shop.example"


def test_plain_http_on_the_https_port_hurts_nobody(start: Start) -> None:
    served = start(https=True)
    with socket.create_connection(("127.0.0.1", served.port), timeout=SECONDS) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not connection.recv(100).startswith(b"HTTP/")
    assert served.get()[0] == 200


def test_a_port_in_use_is_one_line_that_says_what_to_do() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(VisearchError, match=rf"port {port} is in use on 127\.0\.0\.1: .* --port") as caught:
            listen("127.0.0.1", port)
    assert "\n" not in caught.value.message


def test_a_host_that_is_not_of_this_machine_is_one_line() -> None:
    with pytest.raises(VisearchError, match=r"--host 192\.0\.2\.1: not an address of this machine"):
        listen("192.0.2.1", 0)
    with pytest.raises(UsageError, match="--host no such host: no such address"):
        listen("no such host", 0)


def test_the_urls_say_where_it_is_reached() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert urls(listener, "http") == (f"http://127.0.0.1:{port}/", None)
    with listen("0.0.0.0", 0) as listener:
        port = listener.getsockname()[1]
        here, network = urls(listener, "https")
        assert here == f"https://127.0.0.1:{port}/"
        assert network is None or network.endswith(f":{port}/")
        assert network != here
