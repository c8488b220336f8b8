"""An application that is only about connections, served as `visearch serve` serves: `python -m tests.web.serving`.

`/` answers at once with who asks and how; `/slow?SECONDS` says on standard output that it began, and answers later;
`/echo` tells how many bytes came; `/big` is larger than the buffers of a socket.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from web.serve import listen, serve, urls
from web.tls import server_context

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BIG = 5_000_000


def app(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    """A WSGI application."""
    match environ["PATH_INFO"]:
        case "/slow":
            print("began", flush=True)
            time.sleep(float(environ["QUERY_STRING"]))
            body = b"late"
        case "/echo":
            body = str(len(environ["wsgi.input"].read())).encode()
        case "/big":
            body = bytes(BIG)
        case _:
            keys = ("REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme", "HTTP_HOST")
            body = json.dumps({key: environ.get(key) for key in keys}).encode()
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def main(host: str, port: str, *certificate: str) -> None:
    """Serve; `certificate` is "https" for our own, or a file."""
    listener = listen(host, int(port))
    tls = None
    if certificate:
        tls = server_context(host, None if certificate[0] == "https" else Path(certificate[0]))
    here, _ = urls(listener, "https" if tls else "http")
    serve(app, listener, tls=tls, ready=lambda: print(here, flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
