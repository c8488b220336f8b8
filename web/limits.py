"""How much work is taken on: so many requests at once, so many waiting, so many a minute from one address."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Flask, Response, request
from flask_limiter import Limiter, RequestLimit

from web.problems import Problem

ENCODINGS_WAITING = 16  # pictures that wait to be encoded anew: a page asks for several at once
FETCHES = 8  # of image_url at the same time
RETRY_SECONDS = 1  # what a client refused for a full queue is told


class Gate:
    """Lets `at_once` requests work while `waiting` others wait for their turn, and refuses the rest."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._turns = threading.Semaphore(at_once)
        self._lock = threading.Lock()
        self._most = at_once + waiting
        self.inside = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold a turn while the block runs.

        Raises:
            Problem: 429, the queue is full.
        """
        with self._lock:
            if self.inside >= self._most:
                raise Problem(429, headers={"Retry-After": str(RETRY_SECONDS)})
            self.inside += 1
        try:
            with self._turns:
                yield
        finally:
            with self._lock:
                self.inside -= 1

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Within `turn`: let others work while the block waits for the network, and take a turn again after it. Who
        comes back is never refused, so what goes aside has to be limited itself."""
        with self._lock:
            self.inside -= 1
        self._turns.release()
        try:
            yield
        finally:
            with self._lock:
                self.inside += 1
            self._turns.acquire()


def rate_limiter(app: Flask, per_minute: int) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
    """A decorator of views: together they answer so many requests a minute from one address. 0 is any number."""
    if per_minute == 0:
        return lambda view: view
    limiter = Limiter(client_address, app=app, storage_uri="memory://", on_breach=_refuse)
    return limiter.shared_limit(f"{per_minute} per minute", scope="work")


def client_address() -> str:
    """Who asks. Behind a proxy that is the proxy, unless the server is told to trust it (see docs/deploy.md)."""
    return request.remote_addr or "unknown"


def _refuse(limit: RequestLimit) -> Response:
    seconds = max(1, math.ceil(limit.reset_at - time.time()))
    return Problem(429, headers={"Retry-After": str(seconds)}).response()
