"""Servers on real sockets that hold pictures: S3 (moto) and HTTP, which can be told to misbehave."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest


@dataclass
class Web:
    """An HTTP server of `files` (path -> bytes). `requests` are the (method, path with query) it was asked;
    `failing` answers come before good ones: path -> statuses."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    failing: dict[str, list[int]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    endless: set[str] = field(default_factory=set)
    ranges: bool = True
    requests: list[tuple[str, str]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def fetched(self, path: str) -> int:
        """How often the content of a path was asked for."""
        return sum(method == "GET" and urlsplit(asked).path == path for method, asked in self.requests)


class _Handler(BaseHTTPRequestHandler):
    web: Web
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        web = self.web
        web.requests.append((self.command, self.path))
        path = urlsplit(self.path).path
        self.close_connection = True
        if path in web.silent:
            web.stopped.wait()
            return
        failing = web.failing.get(path)
        if failing:
            self._head(failing.pop(0), 0)
            return
        if path in web.endless and self.command == "GET":
            self.send_response(200)
            self.end_headers()
            while not web.stopped.is_set():
                try:
                    self.wfile.write(bytes(1 << 16))
                except OSError:
                    return
            return
        data = self._page(path) if path.endswith("/") else web.files.get(path)
        if data is None:
            self._head(404, 0)
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if web.ranges else None
        if asked:
            part = data[int(asked[1]) : int(asked[2]) + 1 if asked[2] else None]
            span = f"bytes {asked[1]}-{int(asked[1]) + len(part) - 1}/{len(data)}"
            self._head(206, len(part), data, path, span)
            data = part
        else:
            self._head(200, len(data), data, path)
        if self.command == "GET":
            self.wfile.write(data)

    def _head(self, status: int, length: int, data: bytes = b"", path: str = "", span: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        if data and not path.endswith("/"):
            self.send_header("ETag", f'"{hash(data)}"')
        self.send_header("Accept-Ranges", "bytes" if self.web.ranges else "none")
        self.send_header("Content-Type", "text/html" if path.endswith("/") else "application/octet-stream")
        if span:
            self.send_header("Content-Range", span)
        self.end_headers()

    def _page(self, folder: str) -> bytes | None:
        inside = [path.removeprefix(folder) for path in self.web.files if path.startswith(folder)]
        links = sorted({name.split("/")[0] + "/" * ("/" in name) for name in inside})
        return "".join(f'<a href="{name}">{name}</a>\n' for name in links).encode() if links else None


@contextmanager
def serve_web() -> Iterator[Web]:
    """A server on a port of its own for a block."""
    pytest.importorskip("aiohttp", reason="needs aiohttp (the extra `remote`)")
    pytest.importorskip("fsspec", reason="needs fsspec")
    web = Web()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": web}))
    server.daemon_threads = True
    web.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield web
    finally:
        web.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class S3:
    """An S3 server with one bucket. `requests` are what it was asked: "GET /bucket/key"."""

    url: str
    client: Any
    requests: list[str]

    def use(self, monkeypatch: pytest.MonkeyPatch) -> S3:
        """Empty, and named by the environment of this test."""
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()  # of a server before
        for name, value in {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        for each in self.client.list_objects_v2(Bucket="bucket").get("Contents", []):
            self.delete(each["Key"])
        self.requests.clear()
        return self

    def put(self, key: str, data: bytes) -> str:
        """Write an object; its address."""
        self.client.put_object(Bucket="bucket", Key=key, Body=data)
        return f"s3://bucket/{key}"

    def delete(self, key: str) -> None:
        """Delete an object."""
        self.client.delete_object(Bucket="bucket", Key=key)

    def fetched(self, key: str) -> int:
        """How often the content of an object was asked for since `requests` was cleared."""
        return self.requests.count(f"GET /bucket/{key}")


@contextmanager
def serve_s3() -> Iterator[S3]:
    """moto's server on a port of its own for a block; keys and endpoint are those of the environment."""
    for name in ("moto", "boto3", "s3fs"):
        pytest.importorskip(name, reason=f"needs {name} (the extra `test`)")
    import boto3
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    requests: list[str] = []
    inner = DomainDispatcherApplication(create_backend_app)

    def application(environ: Any, start: Any) -> Any:
        requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        return inner(environ, start)

    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
    )
    try:
        client.create_bucket(Bucket="bucket")
        yield S3(url, client, requests)
    finally:
        client.close()
        server.shutdown()
        thread.join()
        server.server_close()
