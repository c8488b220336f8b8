"""A picture from an address that a stranger gave: fetched from public addresses only, within limits.

A name is resolved once, every address it has must be public, and the connection goes to one of those addresses: a
second look-up, which could answer otherwise, never happens. Redirects are followed by hand and checked the same way. No
proxy of the environment is used and no cookie or key is sent.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from urllib.parse import SplitResult, urljoin, urlsplit

from visearch.remote import quoted
from web.problems import invalid

FIELD = "image_url"
MOST_REDIRECTS = 3
CHUNK = 1 << 16
LOOK_UPS = 4  # at the same time; the system's resolver cannot be interrupted
PORTS = {"http": 80, "https": 443}
HEADERS = {"User-Agent": "visearch", "Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close"}
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.IGNORECASE)

Resolve = Callable[[str, int], Sequence[str]]


def resolve(host: str, port: int) -> list[str]:
    """Every address the system knows for a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, those included that an IPv6 address wraps."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:  # with a zone, so link-local
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64 or ip in _COMPATIBLE:
            return False
        wrapped = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if any(each is not None for each in wrapped):
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")


class Fetcher:
    """Fetches pictures. `resolve` and `permitted` are there to be replaced in tests."""

    def __init__(
        self,
        schemes: frozenset[str],
        seconds: float,
        most_bytes: int,
        resolve: Resolve = resolve,
        permitted: Callable[[str], bool] = is_public,
    ) -> None:
        self.schemes, self._seconds, self._most = schemes, seconds, most_bytes
        self._resolve, self._permitted = resolve, permitted
        self._tls = ssl.create_default_context()
        self._look_ups = ThreadPoolExecutor(LOOK_UPS, "look-up")

    def fetch(self, url: str) -> bytes:
        """The bytes at an address.

        Raises:
            Problem: 403 fetching is off, 400 not an address that is fetched, 413 too large, 502 it failed, 504 it took
                too long.
        """
        if not self.schemes:
            raise invalid(FIELD, "this server fetches no addresses; send the picture itself", 403)
        deadline = time.monotonic() + self._seconds
        for _ in range(MOST_REDIRECTS + 1):
            parts = self._checked(url)
            answer = self._get(parts, deadline)
            if isinstance(answer, bytes):
                return answer
            try:
                url = urljoin(url, answer)
            except ValueError:
                raise invalid(FIELD, "leads on to what is no address", 502) from None
        raise invalid(FIELD, f"leads on to another address more than {MOST_REDIRECTS} times", 502)

    def _checked(self, url: str) -> SplitResult:
        """The parts of an address that may be fetched, as far as that can be told before its name is resolved."""
        try:
            if any(ord(each) <= 32 or ord(each) == 127 for each in url) or "\\" in url:
                raise ValueError
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise invalid(FIELD, "is not an address of the form https://host/path") from None
        if parts.scheme not in self.schemes:
            raise invalid(FIELD, f"only {' and '.join(sorted(self.schemes))} addresses are fetched")
        if "@" in parts.netloc:
            raise invalid(FIELD, "an address with a user name is not fetched")
        if not host or port == 0 or not (_HOST.fullmatch(host) or _is_ipv6(host)):
            raise invalid(FIELD, "its host is not a plain name or IP address")
        return parts

    def _get(self, parts: SplitResult, deadline: float) -> bytes | str:
        """The bytes, or where a redirect leads."""
        host = parts.hostname or ""
        address = self._address(host, parts.port or PORTS[parts.scheme], deadline)
        connection = _To(address, parts, self._tls if parts.scheme == "https" else None, _left(deadline))
        # One timer for all: a server that sends a byte now and then would never meet the time limit of one read.
        timer = threading.Timer(_left(deadline), connection.cut)
        timer.start()
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", quoted(target), headers=HEADERS)
            with connection.getresponse() as response:
                answer = self._read(response)
            if connection.is_cut:  # what was read then ends where it was cut
                raise TimeoutError
            return answer
        except (OSError, HTTPException, ValueError):
            if time.monotonic() >= deadline or connection.is_cut:
                raise invalid(FIELD, "took too long to fetch", 504) from None
            raise invalid(FIELD, "could not be fetched", 502) from None
        finally:
            timer.cancel()
            connection.close()

    def _address(self, host: str, port: int, deadline: float) -> tuple[str, int]:
        look_up = self._look_ups.submit(self._resolve, host, port)
        try:
            found = look_up.result(_left(deadline))
        except NotInTime:
            look_up.cancel()  # one that has not begun would keep others, and the server's end, waiting
            raise invalid(FIELD, "took too long to fetch", 504) from None
        except (OSError, UnicodeError):
            raise invalid(FIELD, "its host is not known", 502) from None
        if not found or not all(self._permitted(address) for address in found):
            raise invalid(FIELD, "its host is not on the open internet, or not only there")
        return found[0], port

    def _read(self, response: HTTPResponse) -> bytes | str:
        if response.status in (301, 302, 303, 307, 308):
            return response.headers.get("Location", "")
        if response.status != 200:
            raise invalid(FIELD, "its server did not answer with the picture", 502)
        if int(response.headers.get("Content-Length") or 0) > self._most:
            raise self._too_large()
        data = bytearray()
        while chunk := response.read(CHUNK):
            data += chunk
            if len(data) > self._most:
                raise self._too_large()
        if response.length:
            raise HTTPException("it ended early")
        return bytes(data)

    def _too_large(self) -> Exception:
        return invalid(FIELD, f"has more than {self._most} bytes (max_body_megabytes)", 413)


class _To(HTTPConnection):
    """A connection to an address that was checked, for a host of another name."""

    def __init__(
        self, address: tuple[str, int], parts: SplitResult, tls: ssl.SSLContext | None, seconds: float
    ) -> None:
        super().__init__(parts.hostname or "", parts.port or PORTS[parts.scheme], timeout=seconds)
        if tls is not None:
            self.default_port = PORTS["https"]
        self._address, self._tls, self.is_cut = address, tls, False
        self._held: socket.socket | None = None  # also while the response owns the socket

    def connect(self) -> None:
        """To the checked address; the certificate must be the named host's."""
        self._held = self.sock = socket.create_connection(self._address, self.timeout)
        if self._tls is not None:
            # Held before it shakes hands, in which a server may take its time; to wrap a socket detaches it.
            tls = self._tls.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
            self._held = self.sock = tls
            self._check()
            tls.do_handshake()
        self._check()

    def _check(self) -> None:
        if self.is_cut:  # maybe while there was no socket to cut
            raise TimeoutError

    def cut(self) -> None:
        """End it from another thread."""
        self.is_cut = True
        if self._held is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._held, socket.SHUT_RDWR)  # that of TLS forgets that it is one


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _left(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())
