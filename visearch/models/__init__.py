"""The registry of models: an immutable table of cards, and how a user gets the file that a card names.

A model is *shipped* (an .onnx beside this module), or *pulled* into the cache folder, or named by its path.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Literal
from urllib.parse import urlsplit

from visearch import settings
from visearch.errors import ModelError

TIMEOUT = 30.0  # seconds without a byte before a download is given up
CHUNK = 1 << 20  # bytes read at once


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model before its file is here. `size` is in bytes; `sha256` in lower-case hex."""

    name: str
    kind: Literal["embedding", "detector"]
    url: str
    sha256: str
    size: int
    license: str
    description: str


CARDS: tuple[ModelCard, ...] = (
    ModelCard(
        name="yolox_nano",
        kind="detector",
        # Megvii's weights as this project exported them: its digest is that of the file we measured. Megvii's own
        # export of the same weights is another file (c789161e...), with another digest.
        url="https://github.com/Kazuhito00/YOLOX-ONNX-TFLite-Sample/raw/main/model/yolox_nano.onnx",
        sha256="695e750a5d5754bb5a8d5325643b59282191a7e7a564e435a415fd3c578eab14",
        size=3_660_092,
        license="Apache-2.0",
        description="YOLOX-nano of Megvii-BaseDetection/YOLOX, 416x416, COCO's 80 classes (address not reached by us)",
    ),
)

DEFAULT = "unified"  # the embedding model that a release ships as package data
DETECTOR = "detector"  # the detector that a release ships
_SHIPPED = Path(__file__).parent


def list_models() -> tuple[ModelCard, ...]:
    """Return every card, in the order of the table."""
    return CARDS


def info(name: str) -> ModelCard:
    """Return the card called `name`; raises ModelError naming those there are."""
    for card in CARDS:
        if card.name == name:
            return card
    names = ", ".join(card.name for card in CARDS)
    raise ModelError(f"no model is called {name!r}; known are: {names} (or give the path of an .onnx file)")


def cache_dir() -> Path:
    """Return the folder that models are pulled into; it may not exist yet."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "visearch" / "models"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "visearch" / "models"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "visearch" / "cache" / "models"
    return Path.home() / ".cache" / "visearch" / "models"


def default_model() -> Path:
    """Return the embedding model that this release ships."""
    return _SHIPPED / f"{DEFAULT}.onnx"


def default_detector() -> Path | None:
    """Return the detector that this release ships; None where its file was left out."""
    path = _SHIPPED / f"{DETECTOR}.onnx"
    return path if path.is_file() else None


def card_text(sha256: str) -> str | None:
    """Return the contract's card, JSON, of a registry model whose file holds none, by the digest of the file."""
    name = next((card.name for card in CARDS if card.sha256 == sha256), "")
    path = _SHIPPED / f"{name}.card.json"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def find(name: str) -> Path | None:
    """Return the file of the model `name` (shipped, else pulled), or None when it is not on this machine.

    Raises:
        ModelError: a file put into the cache is not the one that the card names.
    """
    if name == DEFAULT:
        return default_model()
    card = next((card for card in CARDS if card.name == name), None)
    path = cache_dir() / f"{name}.onnx"
    if card is None or not path.is_file():
        return None
    if _sha256(path) != card.sha256:
        raise ModelError(f"{path} is not the model that its card names; run: visearch models pull {name}")
    return path


def pull(name: str, destination: Path | None = None) -> Path:
    """Download the model `name` into the folder `destination` (default: the cache) and return its path.

    The right file is kept where it is there already, a wrong one replaced. Raises what `download` raises.
    """
    card = info(name)
    folder = destination or cache_dir()
    path = folder / f"{name}.onnx"
    if path.is_file() and _sha256(path) == card.sha256:
        return path
    return download(card, folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(card: ModelCard, folder: Path, *, loopback_http: bool = False) -> Path:
    """Stream `card.url` to a temporary file in `folder`, check size and sha256, fsync, rename to `NAME.onnx`.

    Nothing but the finished file is left behind, whatever happens. Only https is spoken, redirects included;
    `loopback_http` allows plain http to 127.0.0.1 and localhost (for tests).

    Raises:
        ModelError: offline, an HTTP error, cut short, too long, a wrong sha256 or an unwritable folder;
            the message says how to get the file by hand.
    """
    target = folder / f"{card.name}.onnx"
    by_hand = f"download {card.url} by hand and put it at {target}"
    opener = urllib.request.build_opener(_SecureRedirects(loopback_http))
    try:
        _require_secure(card.url, loopback_http)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{card.name}-", delete=False) as file:
            try:
                with opener.open(card.url, timeout=TIMEOUT) as response:
                    _copy_checked(response, file, card)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(target)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(file.name).unlink()
                raise
    except urllib.error.HTTPError as error:
        error.close()
        raise ModelError(f"{card.name}: the server answered {error.code}; {by_hand}") from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ModelError(f"{card.name}: could not be downloaded ({reason}); {by_hand}") from None
    return target


def _copy_checked(source: IO[bytes], target: IO[bytes], card: ModelCard) -> None:
    """Copy at most `card.size` bytes; raises ModelError when the bytes are not those of the card."""
    digest, received = hashlib.sha256(), 0
    while chunk := source.read(CHUNK):
        received += len(chunk)
        if received > card.size:
            raise ModelError(f"{card.name}: {card.url} sends more than the {card.size} bytes of the card; not kept")
        digest.update(chunk)
        target.write(chunk)
    if received < card.size:
        raise ModelError(
            f"{card.name}: the download ended after {received} of {card.size} bytes; run the command again"
        )
    if digest.hexdigest() != card.sha256:
        raise ModelError(
            f"{card.name}: {card.url} has sha256 {digest.hexdigest()}, not the card's {card.sha256}; not kept"
        )


def _require_secure(url: str, loopback_http: bool) -> None:
    parts = urlsplit(url)
    loopback = loopback_http and parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost"}
    if parts.scheme != "https" and not loopback:
        raise ModelError(f"{url} is not an https address; not downloaded")


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects only where the first request would have been allowed to go."""

    def __init__(self, loopback_http: bool) -> None:
        self._loopback_http = loopback_http

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        try:
            _require_secure(newurl, self._loopback_http)
        except ModelError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def resolve(named: str | Path | None = None) -> Path:
    """The file of the embedding model to use: `named` (a file or a registry name), else the setting, else the shipped.

    Raises:
        ModelError: what is named is not here.
    """
    wanted = str(named or settings.text("model"))
    if not wanted:
        return default_model()
    return _named(wanted)


def resolve_detector(named: str | Path | None = None) -> Path | None:
    """The file of the detector to use: `named` (a file or a registry name), else the setting, else `default_detector`.

    Raises:
        ModelError: what is named is not here.
    """
    wanted = str(named or settings.text("detector"))
    return _named(wanted) if wanted else default_detector()


def _named(wanted: str) -> Path:
    if Path(wanted).is_file():
        return Path(wanted)
    found = find(wanted)
    if found is None:
        known = any(card.name == wanted for card in CARDS)
        raise ModelError(
            f"model {wanted}: not on this machine; `visearch models pull {wanted}` gets it"
            if known
            else f"model {wanted}: no such file, nor a name that `visearch models list` shows"
        )
    return found
