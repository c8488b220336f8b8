"""Objects on servers, through fsspec: s3:// (s3fs), gs:// (gcsfs), http:// and https:// (aiohttp).

An *address* is what a server is asked for. Its *name* is the address without its query string, which may hold a
signature: names are stored and shown, addresses are not. So objects that differ only in their query are one. Keys and
endpoints come from the environment, as those packages read them.
"""

from __future__ import annotations

import functools
import hashlib
import io
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any, TypeVar, cast
from urllib.parse import quote, urlsplit, urlunsplit

from visearch import settings
from visearch.errors import ImageError, UsageError

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "http": "aiohttp", "https": "aiohttp"}
READ_AHEAD = 8 << 20  # bytes that one request brings of a file that is read on and on
PIECE = 1 << 16
ATTEMPTS = 4  # of an HTTP request; s3fs and gcsfs try again by themselves
FIRST_PAUSE = 0.25  # seconds before the second attempt, twice as long before each further one
TEMPORARY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
DEEPEST_PAGE = 32  # folders within folders of an HTTP server, whose pages may link for ever
LOOK_TOGETHER = 16  # requests for what objects are now, at once
# What tells one content of an object from the next, best first, as the packages name it.
VERSIONS = ("ETag", "etag", "md5Hash", "Content-MD5", "LastModified", "Last-Modified", "mtime", "updated")

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_USER = re.compile(rf"^({_ADDRESS.pattern})[^/]*@")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Status:
    """What an object is now: bytes (0 where the server does not say), and a number that changes with its content."""

    size: int
    version: int


class _Error(Exception):
    """A request failed. `missing`: there is no such object."""

    def __init__(self, said: str, *, missing: bool = False) -> None:
        super().__init__(said)
        self.missing = missing


def is_remote(source: str) -> bool:
    """Whether a source is an address, not a path."""
    return _ADDRESS.match(source) is not None


def is_web(source: str) -> bool:
    """Whether any server on the network could be meant: the host is in the address."""
    return source.lower().startswith(("http://", "https://"))


def name_of(address: str) -> str:
    """The address without what may be secret in it: a user's name and password, and of HTTP the query string."""
    address = _USER.sub(r"\1", address)
    if not is_web(address):
        return address
    try:
        return urlunsplit(urlsplit(address)._replace(query=""))
    except ValueError:  # no address at all, which `check` says
        return address.partition("?")[0]


def check(address: str) -> None:
    """Raise UsageError where the scheme is unknown, its package is not installed, or a password is in the address."""
    _filesystem(address)


def status(address: str) -> Status | None:
    """What an object is now; None where there is none. ImageError "unreadable" where its server does not say."""
    filesystem = _filesystem(address)
    try:
        return _status(_attempt(address, lambda: filesystem.info(_path(address))))
    except _Error as error:
        if error.missing:
            return None
        raise ImageError("unreadable", f"{name_of(address)}: {error}") from None


def statuses(addresses: list[str]) -> list[Status | ImageError | None]:
    """`status` of each, asked for together; what it would raise is in its place."""

    def one(address: str) -> Status | ImageError | None:
        try:
            return status(address)
        except ImageError as error:
            return error
        except UsageError as error:  # one row of a list may be wrong, and the others are not
            return ImageError("unreadable", error.message)

    with ThreadPoolExecutor(LOOK_TOGETHER, "look") as pool:
        return list(pool.map(one, addresses))


def quoted(address: str) -> str:
    """A web address, or the path of one, in ASCII. What is quoted already stays: a signature would no longer fit."""
    return quote(address, safe="%/:=&?~#+!$,;'@()*[]")


def read(address: str) -> bytes:
    """The bytes of an object.

    Raises:
        ImageError: it cannot be read (unreadable), or is larger than max_file_megabytes (too-large).
    """
    limit = int(settings.number("max_file_megabytes") * settings.MEGABYTE)
    filesystem = _filesystem(address)

    def attempt() -> bytes:
        if not is_web(address):
            return bytes(filesystem.cat_file(_path(address), start=0, end=limit + 1))
        # Read in pieces: a server may send more than it was asked for, and slower than any timeout of one piece.
        latest = time.monotonic() + settings.number("remote_seconds")
        data = bytearray()
        with filesystem.open(_path(address), block_size=0, size=1) as file:  # a size, so that it does not ask for it
            while len(data) <= limit and (piece := file.read(PIECE)):
                data += piece
                if time.monotonic() > latest:
                    raise TimeoutError
        return bytes(data)

    try:
        data = _attempt(address, attempt)
    except _Error as error:
        raise ImageError("unreadable", f"{name_of(address)}: {error}") from None
    if len(data) > limit:
        raise ImageError("too-large", f"{name_of(address)}: over {limit} bytes (max_file_megabytes)")
    return data


def open_seekable(address: str) -> IO[bytes]:
    """A large object to be read from its beginning to its end, with jumps. It lies in a temporary file where the
    server gives no parts of it. UsageError where it cannot be opened; later errors are OSErrors."""
    filesystem = _filesystem(address)
    try:
        file = _attempt(address, lambda: filesystem.open(_path(address), block_size=READ_AHEAD, cache_type="readahead"))
        if not file.seekable() or getattr(file, "size", None) is None:
            return _attempt(address, lambda: _downloaded(filesystem, address))
    except _Error as error:
        raise UsageError(f"{name_of(address)}: {error}") from None
    return io.BufferedReader(_Steady(file, address), PIECE)


def _downloaded(filesystem: Any, address: str) -> IO[bytes]:
    copy = tempfile.TemporaryFile()  # noqa: SIM115 (is returned)
    try:
        with filesystem.open(_path(address), block_size=0, size=1) as file:
            while piece := file.read(PIECE):
                copy.write(piece)
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy


class _Steady(io.RawIOBase):
    """A remote file of which a read that fails for a while is tried again."""

    def __init__(self, file: Any, address: str) -> None:
        self._file, self._address = file, address

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        try:
            data = _attempt(self._address, lambda: self._file.read(len(buffer)))
        except _Error as error:
            raise OSError(str(error)) from None
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def listing(folder: str, suffixes: frozenset[str]) -> Iterator[tuple[str, Status | None]]:
    """Addresses of the objects below a folder that end in one of the suffixes, hidden ones left out, folder by folder
    in order of names, with what they are now where the listing says.

    Raises:
        UsageError: it cannot be listed, or not to its end.
    """
    filesystem = _filesystem(folder)
    scheme = folder.partition("://")[0]
    # Not fsspec's walk(), which leaves out a folder below the first that cannot be listed, and says nothing.
    waiting = [(folder, 0)]
    while waiting:
        place, depth = waiting.pop()
        try:
            found = _attempt(place, functools.partial(filesystem.ls, _path(place), detail=True))
        except _Error as error:
            raise UsageError(f"{name_of(place)}: cannot be listed ({error})") from None
        folders = []
        for info in sorted(found, key=lambda info: str(info["name"])):
            path = str(info["name"])
            address = path if is_remote(path) else f"{scheme}://{path}"
            name = address.rstrip("/").rpartition("/")[2]
            if name.startswith(".") or address.rstrip("/") == place.rstrip("/"):
                continue
            if info["type"] == "directory":
                folders.append((address.rstrip("/") + "/", depth + 1))
            elif _suffix(name) in suffixes:
                yield address, _listed(info)
        if depth < DEEPEST_PAGE or not is_web(folder):
            waiting.extend(reversed(folders))


def matching(pattern: str) -> list[str]:
    """Addresses of the objects that a pattern with * names, in order. UsageError where they cannot be listed."""
    filesystem = _filesystem(pattern)
    scheme = pattern.partition("://")[0]
    try:
        found = _attempt(pattern, lambda: filesystem.glob(_path(pattern)))
    except _Error as error:
        raise UsageError(f"{name_of(pattern)}: cannot be listed ({error})") from None
    return sorted(path if is_remote(path) else f"{scheme}://{path}" for path in found)


@functools.lru_cache(maxsize=16)
def _matcher(pattern: str) -> re.Pattern[str]:
    from fsspec.utils import glob_translate

    return re.compile(glob_translate(_path(pattern)))


def matches(address: str, pattern: str) -> bool:
    """Whether `matching` finds that address by the pattern (both as `name_of` says them): a * ends at a /."""
    return _matcher(pattern).match(address) is not None


def copy_to(address: str, file: IO[bytes]) -> None:
    """Write an object into a file. UsageError where it cannot be read to its end."""
    with open_seekable(address) as source:
        try:
            shutil.copyfileobj(source, file)
        except OSError as error:
            raise UsageError(f"{name_of(address)}: {error}") from None


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2].lower()


def _listed(info: Mapping[str, Any]) -> Status | None:
    return None if info.get("size") is None else _status(info)


def _status(info: Mapping[str, Any]) -> Status:
    """Of two of VERSIONS that a server gives the better one counts, so that equal bytes put there again are no news."""
    said = next((str(info[name]) for name in VERSIONS if info.get(name)), "")
    digest = hashlib.sha256(said.encode()).digest()
    return Status(int(info.get("size") or 0), int.from_bytes(digest[:8]) >> 1)  # as an int64 of the store


def _filesystem(address: str) -> Any:
    """The fsspec file system of an address; they are kept by fsspec."""
    found = _ADDRESS.match(address)
    scheme = found[1].lower() if found else ""
    if scheme not in PACKAGES:
        raise UsageError(f"{name_of(address)}: no such kind of source; there are {', '.join(PACKAGES)} and files")
    try:
        place = urlsplit(address).netloc
    except ValueError as error:
        raise UsageError(f"{name_of(address)}: not an address ({error})") from None
    if "@" in place:
        raise UsageError(f"{scheme}://...@...: no passwords in an address; name them in the environment")
    seconds = settings.number("remote_seconds")
    try:
        import fsspec

        if scheme == "s3":
            limits = {"connect_timeout": seconds, "read_timeout": seconds}
            return fsspec.filesystem("s3", use_listings_cache=False, config_kwargs=limits)
        if scheme == "gs":
            return fsspec.filesystem("gs", use_listings_cache=False, timeout=seconds)
        import aiohttp

        patience = aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
        return fsspec.filesystem("http", encoded=True, client_kwargs={"timeout": patience, "trust_env": True})
    except ImportError:
        name = PACKAGES[scheme]
        raise UsageError(f"{scheme}://: needs {name}; pip install {name}" + (" fsspec" * (name == "aiohttp"))) from None


def _path(address: str) -> str:
    """As fsspec is asked for it."""
    return quoted(address) if is_web(address) else address


def _attempt(address: str, request: Callable[[], Result]) -> Result:
    """The result of a request that is made again when its server fails for a while. Messages name no address: they
    may be shown where addresses with signatures may not."""
    attempts = ATTEMPTS if is_web(address) else 1
    for attempt in range(1, attempts + 1):
        try:
            return request()
        except Exception as error:  # of fsspec, aiohttp, botocore, google...: no common base
            said, missing, temporary = _explained(error)
            if missing or not temporary or attempt == attempts:
                raise _Error(said, missing=missing) from None
            time.sleep(FIRST_PAUSE * 2 ** (attempt - 1))
    raise AssertionError


def _explained(error: BaseException) -> tuple[str, bool, bool]:
    """What to say of an error, whether it says that there is no such object, and whether trying again may help."""
    cause: BaseException | None = error
    while cause is not None:  # fsspec says that a file is not there whatever the server said
        code = getattr(cause, "status", None)
        if isinstance(code, int) and code:
            return f"the server answers {code}", code in (404, 410), code in TEMPORARY_STATUS
        if isinstance(cause, TimeoutError):
            return "the server is too slow (remote_seconds)", False, True
        deeper = cause.__cause__ or cause.__context__
        if deeper is None:
            break
        cause = deeper
    if isinstance(error, FileNotFoundError) and (cause is error or not _is_of_network(cast(BaseException, cause))):
        return "there is no such object", True, False
    if isinstance(error, PermissionError):
        return "the server refuses access; are the keys in the environment?", False, False
    said = type(cause).__name__
    return f"the server cannot be read ({said})", False, True


def _is_of_network(error: BaseException) -> bool:
    return type(error).__module__.startswith("aiohttp") or isinstance(error, ConnectionError)
