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
SILENT_SECONDS = 0.25  # after which a client that was answered is taken to have nothing more to send
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
        # Not as a stream of asyncio's: that drops what is still to be read once a write fails, and waitress, when it
        # refuses a request whose rest is still coming in, answers and closes.
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._hand(theirs, writer.get_extra_info("peername")[:2])
        with contextlib.closing(ours):
            request = asyncio.ensure_future(self._pass_in(reader, ours))
            answer = asyncio.ensure_future(self._pass_out(ours, writer))
            # A client that ends its side is gone: TLS has no half-closed connection.
            await asyncio.wait((request, answer), return_when=asyncio.FIRST_COMPLETED)
            if request.done() and not request.result():
                await asyncio.wait((answer,), timeout=GOODBYE_SECONDS)
            ended = request.done() and request.result()
            for side in (request, answer):
                side.cancel()
            await asyncio.wait((request, answer))
        if not ended:
            await self._hear_out(reader)
        writer.close()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await writer.wait_closed()

    async def _hear_out(self, reader: asyncio.StreamReader) -> None:
        """Throw away what a client that was answered is still sending: it would not read the answer before it is done.

        Until it ends its side, as whoever has read the answer does, or falls silent.
        """
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                while await asyncio.wait_for(reader.read(PIECE), SILENT_SECONDS):
                    pass

    async def _pass_in(self, reader: asyncio.StreamReader, inner: socket.socket) -> bool:
        """Pass on what the client sends; returns whether it was the client that ended it."""
        while True:
            try:
                data = await reader.read(PIECE)
            except OSError:  # the client is gone, or what it sent is not TLS
                return True
            if not data:
                return True
            try:
                await self._loop.sock_sendall(inner, data)
            except OSError:
                return False

    async def _pass_out(self, inner: socket.socket, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await self._loop.sock_recv(inner, PIECE):
                writer.write(data)
                await writer.drain()
