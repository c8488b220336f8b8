"""TLS in front of waitress, which speaks none: an event loop in a thread of its own ends TLS and passes the bytes on.

A connection reaches waitress as one end of a socket pair, with the client's own address, once its handshake is done.
Slow and silent clients wait in the event loop, and cost no thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable

HANDSHAKE_SECONDS = 10.0
GOODBYE_SECONDS = 2.0  # for a client to take the last bytes and to close its side
PIECE = 65536  # bytes passed on at once

Hand = Callable[[socket.socket, tuple[str, int]], None]
"""Takes one end of a socket pair and the address of the client at the other; called in the thread of the front."""


class TlsFront:
    """Accepts on a bound socket from `start` on; at most `limit` clients at once, those beyond are turned away."""

    def __init__(self, listener: socket.socket, context: ssl.SSLContext, hand: Hand, limit: int) -> None:
        self._listener = listener.dup()  # the loop closes its own; the caller's stays the caller's
        self._context, self._hand, self._limit = context, hand, limit
        self._clients: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="tls", daemon=True)

    def start(self) -> None:
        """Begin to accept."""
        self._thread.start()

    def stop_accepting(self) -> None:
        """Accept no more; those who are connected stay."""
        self._loop.call_soon_threadsafe(self._stopping.set)

    def join(self, seconds: float) -> None:
        """Wait, after `stop_accepting`, until every client is gone, but no longer than that."""
        self._thread.join(seconds)

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._accept())

    async def _accept(self) -> None:
        server = await asyncio.start_server(
            self._serve,
            sock=self._listener,
            ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=GOODBYE_SECONDS,
            backlog=1024,
        )
        await self._stopping.wait()
        server.close()
        while self._clients:
            await asyncio.wait(self._clients)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= self._limit or self._stopping.is_set():
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            await self._connect(reader, writer)
        finally:
            self._clients.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ours, theirs = socket.socketpair()
        inner_reader, inner_writer = await asyncio.open_connection(sock=ours)
        self._hand(theirs, writer.get_extra_info("peername")[:2])
        sides = (
            asyncio.ensure_future(_pass_on(reader, inner_writer)),
            asyncio.ensure_future(_pass_on(inner_reader, writer)),
        )
        # Whichever side ends first ends both: TLS has no half-closed connection.
        await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        for side in sides:
            side.cancel()
        for end in (inner_writer, writer):
            end.close()
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await end.wait_closed()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # the client is gone, or what it sent is not TLS
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
