"""A real browser on a real server over the home store. Every page is watched: no error, no request to another host."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.e2e.store import DEMO, PHOTOS, Served, index, serving
from tests.tiny_detector import write_detector

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SEEN_BY_CAMERA = "photo-0047"  # a painting
DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
MILLISECONDS = 30_000  # nothing in the page takes so long, on the slowest machine


@dataclass(frozen=True)
class Screen:
    """A kind of device."""

    name: str
    options: dict[str, Any]

    @property
    def touch(self) -> bool:
        """Whether it is touched rather than clicked."""
        return bool(self.options.get("has_touch"))


SCREENS = (Screen("desktop", DESKTOP), Screen("phone", PHONE))
OpenPage = Callable[..., Page]


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One of several test processes does all of these, so that there is one browser and each server once."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, whose camera sees one of the home store's phone photos."""
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    film = tmp_path_factory.mktemp("camera") / "seen.mjpeg"  # JPEGs, one after another, are a film
    film.write_bytes((DEMO / PHOTOS[SEEN_BY_CAMERA]["path"]).read_bytes() * 30)
    camera = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[*FLAGS, *camera])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def homestore(browser: Browser, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The products and rooms, indexed under the tiny model; nothing is, where no browser is."""
    return index(tmp_path_factory.mktemp("store") / "homestore", tiny)


@pytest.fixture(scope="session")
def store(homestore: Path) -> Iterator[Served]:
    """The home store, with a detector that finds nothing."""
    detector = write_detector(homestore.with_name("blind.onnx"), white=1e9)
    with serving(homestore, settings={"detector": detector}) as served:
        yield served


@pytest.fixture(scope="session")
def store_of_lamps(homestore: Path) -> Iterator[Served]:
    """The home store, with a detector that sees a lamp in the middle of everything."""
    detector = write_detector(homestore.with_name("lamps.onnx"))
    with serving(homestore, settings={"detector": detector}) as served:
        yield served


@pytest.fixture(params=SCREENS, ids=lambda screen: screen.name)
def screen(request: pytest.FixtureRequest) -> Screen:
    """Each kind of device."""
    found = request.param
    assert isinstance(found, Screen)
    return found


class Watched:
    """What must not happen on a page: errors in the console, exceptions, requests to other hosts."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: list[str] = []

    def watch(self, context: BrowserContext) -> None:
        """Watch every page of a context."""
        context.on("console", self._said)
        context.on("weberror", lambda error: self.seen.append(f"exception: {error.error}"))
        context.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.seen.append(f"console: {message.text}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.seen.append(f"asked another host: {request.url}")


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """A function that opens a fresh page of a server; nothing may go wrong on it, unless it says what is expected."""
    contexts: list[tuple[BrowserContext, Watched, tuple[str, ...]]] = []

    def run(served: Served, screen: Screen, path: str = "", *, expect: tuple[str, ...] = (), **options: Any) -> Page:
        context = browser.new_context(**{**screen.options, **options})
        context.set_default_timeout(MILLISECONDS)
        watched = Watched(served.url)
        watched.watch(context)
        contexts.append((context, watched, expect))
        page = context.new_page()
        page.goto(served.url + path)
        return page

    yield run
    troubles = []
    for context, watched, expect in contexts:
        context.close()
        troubles += [each for each in watched.seen if not any(part in each for part in expect)]
    assert troubles == []
