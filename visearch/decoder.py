"""The supervised decoder: child processes that decode what must not be decoded here, under a memory and a time limit.

A child (`python -m visearch.decoder`) serves one request at a time over its standard input and output. Messages are a
4-byte big-endian length and that many bytes of JSON; pixels follow as raw RGB rows.

    parent: {"bytes", "min_side", "box", "max_megapixels", "seconds", "memory"}, then the bytes of the file
    child:  {"cost"} (bytes of memory that decoding takes), and waits until the parent has room and answers {}
    child:  {"size", "width", "height", "extent"}, then the pixels, upright
    child:  {"reason", "message"} in place of either: the picture cannot be used

The parent kills a child that is over its time and starts another for the next request. A child ends when its input
does, that is with its parent; should that happen during a decode that never returns, an alarm of its own ends it.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from PIL import Image

from visearch import settings
from visearch.errors import ImageError
from visearch.machine import usable_cores

START_SECONDS = 60.0  # for a child to start: it imports Python and Pillow, on a machine that may be busy
STRIP_BYTES = 1 << 20  # pixels sent at a time
ALARM_SECONDS = 5.0  # after the parent's limit, the child ends by itself

Admit = Callable[[int], AbstractContextManager[None]]
"""Called with the bytes of memory a decode takes; entering waits until there is room for them."""

Decoded = tuple[Image.Image, int, int, tuple[float, float, float, float]]
"""Upright RGB image, width and height at full size, extent: the fields of images.Picture."""


def decode(
    data: bytes, min_side: int | None, box: tuple[float, float, float, float], max_megapixels: float, admit: Admit
) -> Decoded:
    """Decode in a child process; `images.decode` is what callers want.

    Raises:
        ImageError: as images.decode, with `timeout`, `memory` and `crashed` besides.
    """
    request = {
        "bytes": len(data),
        "min_side": min_side,
        "box": box,
        "max_megapixels": max_megapixels,
        "seconds": settings.number("decode_seconds"),
        "memory": int(settings.number("decode_memory") * settings.MEGABYTE),
    }
    with _child() as child:
        return child.decode(request, data, admit)


def processes() -> list[int]:
    """Return the process ids of the running children."""
    with _lock:
        return [child.process.pid for child in _children if child.process.poll() is None]


def close() -> None:
    """End all children; the next request starts a new one."""
    with _lock:
        children = list(_children)
        _children.clear()
        _idle.clear()
    for child in children:
        child.end()


# The parent's side

_lock = threading.Lock()
_children: set[_Child] = set()
_idle: list[_Child] = []


_slots = threading.BoundedSemaphore(usable_cores())


@contextmanager
def _child() -> Iterator[_Child]:
    """Lend an idle child, or a new one; no more than there are usable cores at a time."""
    with _slots:
        with _lock:
            child = _idle.pop() if _idle else None
        if child is None or not child.usable():
            if child is not None:
                _discard(child)
            child = _Child()
            with _lock:
                _children.add(child)
        try:
            yield child
        finally:
            if child.usable():
                with _lock:
                    _idle.append(child)
            else:
                _discard(child)


def _discard(child: _Child) -> None:
    with _lock:
        _children.discard(child)
    child.end()


class _Child:
    """One child process."""

    def __init__(self) -> None:
        # The child finds modules where this process does, and nowhere else: not in the current folder (-P).
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
            "MALLOC_ARENA_MAX": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self.waiting = False  # for a request
        self.expired = False
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "visearch.decoder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            process_group=None if sys.platform == "win32" else 0,  # Ctrl-C is for the parent to handle
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.requests, self.answers = self.process.stdin, self.process.stdout
        with self._limit(START_SECONDS):
            started = _receive(self.answers)
        if started is None:
            self.end()
            raise ImageError("crashed", f"the decoder process did not start (exit code {self.process.returncode})")
        self.waiting = True

    def usable(self) -> bool:
        return self.waiting and not self.expired and self.process.poll() is None

    def end(self) -> None:
        self.process.kill()
        with suppress(OSError):
            self.requests.close()
        self.answers.close()
        self.process.wait()

    def decode(self, request: dict[str, Any], data: bytes, admit: Admit) -> Decoded:
        self.waiting = False
        seconds = request["seconds"]
        with self._limit(seconds):
            with suppress(BrokenPipeError):  # it died: the answer says so
                _send(self.requests, request, data)
            cost = self._answer(seconds)["cost"]
        with admit(cost), self._limit(seconds):
            with suppress(BrokenPipeError):
                _send(self.requests, {})
            answer = self._answer(seconds)
            image = self._pixels(answer["size"], seconds)
        self.waiting = True
        return image, answer["width"], answer["height"], tuple(answer["extent"])

    def _answer(self, seconds: float) -> dict[str, Any]:
        answer = _receive(self.answers)
        if answer is None:
            raise self._death(seconds)
        if "reason" in answer:
            self.waiting = True
            raise ImageError(answer["reason"], answer["message"])
        return answer

    def _pixels(self, size: tuple[int, int], seconds: float) -> Image.Image:
        width, height = size
        image = Image.new("RGB", (width, height))
        rows = _rows(width)
        for top in range(0, height, rows):
            strip = (width, min(rows, height - top))
            pixels = self.answers.read(3 * strip[0] * strip[1])
            if len(pixels) < 3 * strip[0] * strip[1]:
                raise self._death(seconds)
            image.paste(Image.frombytes("RGB", strip, pixels), (0, top))
        return image

    def _death(self, seconds: float) -> ImageError:
        code = self.process.wait()
        if self.expired:
            return ImageError("timeout", f"decoding took longer than {seconds:g} seconds")
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return ImageError("crashed", f"the decoder process died while decoding it ({how})")

    @contextmanager
    def _limit(self, seconds: float) -> Iterator[None]:
        """Kill the child when the body takes longer; what reads from it then sees its end."""

        def expire() -> None:
            self.expired = True
            self.process.kill()

        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _forget() -> None:
    """A forked process must not talk to the children of the other, nor keep their pipes open."""
    global _lock, _slots
    _lock, _slots = threading.Lock(), threading.BoundedSemaphore(usable_cores())
    nothing = os.open(os.devnull, os.O_RDWR)
    for child in _children:
        child.process.returncode = 0  # not ours to wait for
        for pipe in (child.requests, child.answers):
            os.dup2(nothing, pipe.fileno())
    os.close(nothing)
    _inherited.extend(_children)
    _children.clear()
    _idle.clear()


_inherited: list[_Child] = []
atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


# Messages


def _send(stream: IO[bytes], message: dict[str, Any], data: bytes = b"") -> None:
    text = json.dumps(message).encode()
    stream.write(struct.pack(">I", len(text)) + text)
    stream.write(data)
    stream.flush()


def _receive(stream: IO[bytes]) -> dict[str, Any] | None:
    """Return the next message, None at the end of the stream."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    length = struct.unpack(">I", head)[0]
    text = stream.read(length)
    return json.loads(text) if len(text) == length else None


def _rows(width: int) -> int:
    return max(1, STRIP_BYTES // (3 * width))


# The child's side


def serve() -> None:
    """Answer requests until the input ends."""
    import warnings

    warnings.simplefilter("ignore")  # Pillow's, about odd metadata
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing a library prints gets among the answers
    from visearch import images  # noqa: F401 so that starting is not counted as decoding

    _send(answers, {})
    while (request := _receive(requests)) is not None:
        _serve_one(request, requests.read(request["bytes"]), requests, answers)


def _serve_one(request: dict[str, Any], data: bytes, requests: IO[bytes], answers: IO[bytes]) -> None:
    from visearch import images
    from visearch.formats import read_header

    _limit_memory(request["memory"])
    try:
        _alarm(request["seconds"] + ALARM_SECONDS)
        try:
            header = read_header(data, supervised=True)
            assert header is not None  # only an unsupervised reader leaves the question open
            job = images.plan(header, request["min_side"], tuple(request["box"]), request["max_megapixels"])
        except (ImageError, MemoryError):
            raise
        except Exception as error:  # whatever Pillow raises on hostile bytes: there are many kinds
            raise ImageError("corrupt", f"the picture is damaged or cut off ({error})") from None
        _alarm(0)
        _send(answers, {"cost": job.cost})
        if _receive(requests) is None:
            sys.exit()
        _alarm(request["seconds"] + ALARM_SECONDS)
        picture = job.run()
        _alarm(0)
    except (ImageError, MemoryError) as error:
        _alarm(0)
        reason, message = (error.reason, error.message) if isinstance(error, ImageError) else ("memory", "")
        if reason == "memory":
            message = f"decoding needs more memory than {request['memory'] / settings.MEGABYTE:g} megabytes"
        _send(answers, {"reason": reason, "message": message})
        return
    width, height = picture.image.size
    answer = {"width": picture.width, "height": picture.height, "extent": picture.extent}
    _send(answers, {"size": (width, height), **answer})
    rows = _rows(width)
    for top in range(0, height, rows):
        answers.write(picture.image.crop((0, top, width, min(height, top + rows))).tobytes())
    answers.flush()


def _limit_memory(size: int) -> None:
    """Bound the address space, where the platform can (Linux; not Windows, and macOS ignores it)."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))


def _alarm(seconds: float) -> None:
    """End this process after so many seconds, even inside a C library; 0 calls it off."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    serve()
