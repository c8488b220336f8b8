"""Fetching a stranger's address: nothing but the open internet is ever connected to."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.api import Client, client_of, image_bytes, make_app, make_client, problem, search
from visearch.collection import Collection
from web.fetch import LOOK_UPS, Fetcher, is_public, resolve
from web.limits import FETCHES
from web.problems import Problem
from web.tls import own_certificate

SCHEMES = frozenset({"http", "https"})
MOST = 100_000


@dataclass
class Canary:
    """A listener that counts who reaches it, on every address of this machine."""

    port: int
    reached: list[str] = field(default_factory=list)


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """The other side has left."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port on 127.0.0.1 where this answers."""
    server = _Quiet(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def canary() -> Iterator[Canary]:
    """Over IPv4 and IPv6 where the machine has it; a connection alone counts."""
    found = Canary(0)
    listener = (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        if socket.has_dualstack_ipv6()
        else socket.create_server(("0.0.0.0", 0))
    )
    found.port = listener.getsockname()[1]
    listener.settimeout(0.05)
    stopping = threading.Event()

    def accept() -> None:
        while not stopping.is_set():
            try:
                connection, address = listener.accept()
            except TimeoutError:
                continue
            found.reached.append(str(address))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
            connection.close()

    thread = threading.Thread(target=accept)
    thread.start()
    yield found
    stopping.set()
    thread.join()
    listener.close()


HOSTS = [
    "127.0.0.1", "127.0.0.2", "127.255.255.254", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1",
    "0177.1", "017700000001", "127.0.0.1.", "0", "0.0.0.0", "0x0", "localhost", "LOCALHOST", "localhost.",
    "%31%32%37.0.0.1", "127。0。0。1", "①②⑦.⓪.⓪.①", "ｌｏｃａｌｈｏｓｔ", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[::1%25lo]",
    "[fe80::1]", "[fe80::1%251]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[0000::1]",
    "169.254.169.254", "0xa9fea9fe", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "198.18.0.1", "192.0.0.1",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "[2001:db8::1]",
]  # fmt: skip
FORMS = [
    *(f"http://{host}:PORT/x.png" for host in HOSTS),
    "https://127.0.0.1:PORT/",
    "http://user@127.0.0.1:PORT/",
    "http://one.one.one.one@127.0.0.1:PORT/",
    "http://one.one.one.one:80@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT#@one.one.one.one/",
    "http://127.0.0.1:PORT\\@one.one.one.one/",
    "http://one.one.one.one\\@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT?@one.one.one.one/",
    "http:127.0.0.1:PORT/",
    "http:///127.0.0.1:PORT/",
    "//127.0.0.1:PORT/",
    "HTTP://127.0.0.1:PORT/",
    "http://127.0.0.1:PORT\t/",
    "ht\ntp://127.0.0.1:PORT/",
    " http://127.0.0.1:PORT/",
    "http://127.0.0.1 :PORT/",
    "http://127.0.0.1\r\nHost: x:PORT/",
    "http://[127.0.0.1]:PORT/",
    "http://[::1:PORT/",
    "http://::1:PORT/",
    "ftp://127.0.0.1:PORT/x.png",
    "gopher://127.0.0.1:PORT/_x",
    "file:///etc/passwd",
    "dict://127.0.0.1:PORT/",
    "data:image/png;base64,AAAA",
    "jar:http://127.0.0.1:PORT!/x",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:-1/",
    "http://127.0.0.1:PORT:80/",
    "http://",
    "http",
    "x",
]


def test_there_are_at_least_sixty_forms() -> None:
    assert len(set(FORMS)) >= 80


@cache
def _fetching(collection: Collection) -> Client:
    """Of an app that fetches."""
    return make_client(collection, fetch_schemes=SCHEMES, fetch_seconds=5.0)


@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_an_inner_address_is_connected_to(canary: Canary, collection: Collection, form: str) -> None:
    response = _fetching(collection).post(
        "/api/v1/search/lens", json={"image_url": form.replace("PORT", str(canary.port))}
    )
    assert response.status_code in (400, 502)
    problem(response, response.status_code, "image_url")
    assert "secret" not in response.text
    assert canary.reached == []


def test_the_canary_sings_where_it_is_permitted(canary: Canary) -> None:
    """Otherwise the test above could not fail."""
    fetcher = Fetcher(SCHEMES, 5, MOST, permitted=lambda address: True)
    assert fetcher.fetch(f"http://localhost:{canary.port}/") == b"secret"
    assert len(canary.reached) == 1


class Picture(BaseHTTPRequestHandler):
    """Answers with a picture, or leads elsewhere, or dawdles."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        kind, _, rest = self.path[1:].partition("/")
        if kind == "redirect":
            self.send_response(302)
            self.send_header("Location", rest)
            self.end_headers()
        elif kind == "status":
            self.send_error(int(rest))
        elif kind == "many":
            self.send_response(200)
            self.end_headers()
            for _ in range(1000):
                self.wfile.write(bytes(1000))
        elif kind == "claims":
            self.send_response(200)
            self.send_header("Content-Length", rest)
            self.end_headers()
        elif kind == "drip":
            self._drip(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n")
        elif kind == "drops":
            self._drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"x")
        else:
            data = image_bytes(5)
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def _drip(self, first: bytes, drop: bytes) -> None:
        with contextlib.suppress(OSError):  # the other side has left
            self.wfile.write(first)
            for _ in range(90):
                self.wfile.write(drop)
                time.sleep(0.05)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """Where pictures are to be had."""
    with serving(Picture) as port:
        yield port


def inner(schemes: frozenset[str] = SCHEMES, seconds: float = 5, **others: Callable[..., object]) -> Fetcher:
    """A fetcher to whom this machine counts as the open internet."""
    return Fetcher(schemes, seconds, MOST, permitted=lambda address: address == "127.0.0.1", **others)  # type: ignore[arg-type]


def refused(fetcher: Fetcher, url: str) -> int:
    with pytest.raises(Problem) as error:
        fetcher.fetch(url)
    assert [name for name, _ in error.value.errors] == ["image_url"]
    return error.value.status


def test_a_picture_by_its_address_is_searched(collection: Collection, port: int) -> None:
    client = make_client(collection, fetcher=inner())
    answer = search(client, "flashlight", image_url=f"http://127.0.0.1:{port}/5.png", limit=1)
    assert answer["matches"][0]["item"] == 5
    assert client.post("/api/v1/objects", json={"image_url": f"http://127.0.0.1:{port}/5.png"}).json["width"] == 48


def test_fetching_is_off_unless_the_settings_allow_it(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    address = {"image_url": "https://127.0.0.1/"}
    problem(make_client(collection).post("/api/v1/search/lens", json=address), 403, "image_url")
    monkeypatch.setenv("VISEARCH_URL_FETCH", "https")
    client = make_client(collection)
    problem(client.post("/api/v1/search/lens", json=address), 400, "image_url")
    assert client.get("/api/v1/collections").json["url_fetch"] is True


def test_plain_http_needs_its_own_setting(port: int) -> None:
    assert refused(inner(frozenset({"https"})), f"http://127.0.0.1:{port}/") == 400


def test_a_name_is_looked_up_once_and_every_address_of_it_must_be_public(port: int) -> None:
    asked = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    assert inner(resolve=rebinding).fetch(f"http://picture.example:{port}/") == image_bytes(5)
    assert asked == ["picture.example"]
    mixed = inner(resolve=lambda host, port: ["127.0.0.1", "10.0.0.1"])
    assert refused(mixed, f"http://picture.example:{port}/") == 400
    assert refused(inner(resolve=lambda host, port: []), f"http://picture.example:{port}/") == 400


def test_redirects_are_followed_a_few_times_and_checked_each_time(port: int, canary: Canary) -> None:
    here = f"http://127.0.0.1:{port}"
    assert inner().fetch(f"{here}/redirect//5.png") == image_bytes(5)
    assert inner().fetch(f"{here}/redirect//redirect//redirect//x") == image_bytes(5)
    assert refused(inner(), f"{here}/redirect/http://localhost6:{canary.port}/") in (400, 502)
    assert refused(inner(), f"{here}/redirect/http://127.0.0.2:{canary.port}/") == 400
    assert refused(inner(), f"{here}/redirect/http://[::1]:{canary.port}/") == 400
    assert refused(inner(), f"{here}/redirect/file:///etc/passwd") == 400
    assert refused(inner(), f"{here}/redirect/{here}/redirect/{here}/redirect/{here}/redirect/{here}/x") == 502
    assert refused(inner(frozenset({"https"})), f"{here}/") == 400
    assert canary.reached == []


@pytest.mark.parametrize("place", ["//[", "http://[::1"])
def test_a_redirect_to_what_is_no_address_is_told(port: int, place: str) -> None:
    assert refused(inner(), f"http://127.0.0.1:{port}/redirect/{place}") in (400, 502)


def test_an_address_that_is_not_ascii_is_asked_for_as_browsers_do(port: int) -> None:
    Picture.asked.clear()
    for address in ("b\u00fccher.png?q=\u00e4%20b", "b%C3%BCcher.png?q=%C3%A4%20b"):
        assert inner().fetch(f"http://127.0.0.1:{port}/{address}") == image_bytes(5)
    assert Picture.asked == ["/b%C3%BCcher.png?q=%C3%A4%20b"] * 2


@pytest.mark.parametrize("path", ["many", f"claims/{MOST + 1}"])
def test_a_picture_over_the_limit_is_not_taken(port: int, path: str) -> None:
    assert refused(inner(), f"http://127.0.0.1:{port}/{path}") == 413


@pytest.mark.parametrize("path", ["status/404", "status/500", "claims/x", "claims/10"])
def test_a_server_that_fails(port: int, path: str) -> None:
    assert refused(inner(), f"http://127.0.0.1:{port}/{path}") == 502


def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert refused(inner(), f"http://127.0.0.1:{port}/") == 502


@pytest.mark.parametrize("path", ["drip", "drops"])
def test_a_server_that_dawdles_is_left_after_the_time_limit(port: int, path: str) -> None:
    began = time.monotonic()
    assert refused(inner(seconds=0.3), f"http://127.0.0.1:{port}/{path}") == 504
    assert time.monotonic() - began < 4  # dripping would go on for five seconds


def test_a_server_that_dawdles_behind_tls_is_left_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it sends, and where connecting alone takes longer, so that nothing can be cut when the time is up."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    certificate = own_certificate(["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    connect = socket.create_connection

    def slowly(*arguments: Any) -> socket.socket:
        time.sleep(0.6)
        return connect(*arguments)

    with serving(Picture, context) as port:
        begun = inner(seconds=0.5)
        begun._tls.load_verify_locations(certificate)
        began = time.monotonic()
        assert refused(begun, f"https://127.0.0.1:{port}/drops") == 504
        assert time.monotonic() - began < 4
        trusting = inner(seconds=5)
        trusting._tls.load_verify_locations(certificate)
        assert trusting.fetch(f"https://127.0.0.1:{port}/5.png") == image_bytes(5)
        monkeypatch.setattr(socket, "create_connection", slowly)
        late = inner(seconds=0.3)
        late._tls.load_verify_locations(certificate)
        began = time.monotonic()
        assert refused(late, f"https://127.0.0.1:{port}/drops") == 504
        assert time.monotonic() - began < 4  # dripping would go on for five seconds


def test_a_handshake_that_dawdles_is_left_too() -> None:
    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 KB follows
            for _ in range(100):
                connection.sendall(b"x")
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        began = time.monotonic()
        assert refused(inner(seconds=0.3), f"https://127.0.0.1:{listener.getsockname()[1]}/") == 504
        assert time.monotonic() - began < 4
        thread.join()


def test_a_look_up_that_dawdles_is_left_too() -> None:
    release = threading.Event()
    fetcher = inner(seconds=0.2, resolve=lambda host, port: release.wait(30))
    assert refused(fetcher, "http://picture.example/") == 504
    release.set()


def test_a_look_up_that_nobody_waits_for_any_more_is_not_begun() -> None:
    """Else they would pile up, and the server would not end before all were done."""
    release, begun = threading.Event(), []

    def dawdling(host: str, port: int) -> list[str]:
        begun.append(host)
        release.wait(30)
        return []

    fetcher = inner(seconds=0.2, resolve=dawdling)
    hosts = [f"picture{number}.example" for number in range(LOOK_UPS + 3)]
    for host in hosts:
        assert refused(fetcher, f"http://{host}/") == 504
    release.set()
    fetcher._look_ups.shutdown()
    assert begun == hosts[:LOOK_UPS]


def test_who_waits_for_the_network_keeps_nobody_from_working_and_so_many_wait(
    collection: Collection, port: int
) -> None:
    release = threading.Event()

    def resolving(host: str, port: int) -> list[str]:
        release.wait(30)
        return ["127.0.0.1"]

    app = make_app(collection, fetcher=inner(seconds=30, resolve=resolving), requests_at_once=1, requests_waiting=0)
    made, answers = app.extensions["visearch"], []
    address = {"image_url": f"http://picture.example:{port}/5.png"}

    def fetch() -> None:
        mode = "objects" if len(threads) % 2 else "search/lens"
        answers.append(client_of(app).post(f"/api/v1/{mode}", json=address))

    threads: list[threading.Thread] = []
    for number in range(FETCHES):
        threads.append(threading.Thread(target=fetch))
        threads[-1].start()
        deadline = time.monotonic() + 30
        while (made.fetching.inside, made.gate.inside) != (number + 1, 0) and time.monotonic() < deadline:
            time.sleep(0.001)
    client = client_of(app)
    assert search(client, "flashlight", item=5)["matches"]
    problem(client.post("/api/v1/search/lens", json=address), 429)
    release.set()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * FETCHES
    assert (made.fetching.inside, made.gate.inside) == (0, 0)
    assert search(client, "flashlight", item=5)["matches"]


def test_no_proxy_of_the_environment_is_asked(port: int, canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    assert inner().fetch(f"http://127.0.0.1:{port}/") == image_bytes(5)
    assert canary.reached == []


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001::200e"])
def test_the_open_internet_is_public(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(network="127.0.0.0/8") | st.ip_addresses(network="10.0.0.0/8")
       | st.ip_addresses(network="169.254.0.0/16") | st.ip_addresses(network="fc00::/7")
       | st.ip_addresses(network="::ffff:0:0/96") | st.ip_addresses(network="2002::/16")
       | st.ip_addresses(network="64:ff9b::/96") | st.ip_addresses(network="ff00::/8"))  # fmt: skip
def test_inner_addresses_are_not(address: object) -> None:
    assert not is_public(str(address))


def test_the_system_is_asked_for_every_address() -> None:
    assert "127.0.0.1" in resolve("localhost", 80) or "::1" in resolve("localhost", 80)
