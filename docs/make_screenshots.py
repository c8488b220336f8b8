"""Write docs/screenshots: each mode of the page, on a desktop and on a phone, from the real page over the home store.

make demo                                  # makes the collection out/demo
.venv/bin/python docs/make_screenshots.py [COLLECTION]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "data" / "homestore" / "demo"
SHOTS = Path(__file__).parent / "screenshots"
QUALITY = 82  # of the JPEGs
FLAGS = ("--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream")
SCREENS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1440, "height": 900}},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "has_touch": True,
        "is_mobile": True,
        "device_scale_factor": 2,
    },
}
PHOTO = DEMO / "photos" / "photo-0098.jpg"  # what the camera sees: a dining chair
ROOM = 271 + 75
CROP = "0.5484,0.4771,0.6547,0.8021"  # a stool in that room


def browse(page: Page, url: str) -> None:
    """The collection."""
    page.goto(url)


def flashlight(page: Page, url: str) -> None:
    """A part of a room, and what looks like it."""
    page.goto(f"{url}?mode=flashlight&item={ROOM}&box={CROP}")
    page.locator("#results .photo.loaded").first.wait_for()


def lens(page: Page, url: str) -> None:
    """A photo by the camera, and what it shows."""
    page.goto(f"{url}?mode=lens")
    page.locator("#camera.live").wait_for()
    page.locator("#camera-shutter").click()
    page.locator("#results .photo.loaded").first.wait_for()


def shop(page: Page, url: str) -> None:
    """A room, and the products for what is in it."""
    page.goto(f"{url}?mode=shop&item={ROOM}")
    page.locator("#results .photo.loaded").first.wait_for()


VIEWS: tuple[Callable[[Page, str], None], ...] = (browse, flashlight, lens, shop)


def main(collection: Path) -> None:
    """Serve the collection, and photograph every view."""
    executable = shutil.which("chromium")
    if executable is None:
        sys.exit("error: needs Chromium (Debian: apt-get install chromium)")
    SHOTS.mkdir(exist_ok=True)
    command = [str(Path(sys.executable).parent / "visearch"), "serve", "--port", "0", "--collection", str(collection)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().partition(" ")[0]
        with tempfile.TemporaryDirectory() as work, sync_playwright() as playwright:
            film = Path(work) / "seen.mjpeg"
            film.write_bytes(PHOTO.read_bytes() * 30)
            camera = f"--use-file-for-fake-video-capture={film}"
            browser = playwright.chromium.launch(executable_path=executable, args=[*FLAGS, camera])
            for name, screen in SCREENS.items():
                for view in VIEWS:
                    context = browser.new_context(**screen, permissions=["camera"], reduced_motion="reduce")
                    page = context.new_page()
                    view(page, url)
                    page.wait_for_load_state("networkidle")
                    page.screenshot(path=SHOTS / f"{view.__name__}-{name}.jpg", type="jpeg", quality=QUALITY)
                    context.close()
            browser.close()
    finally:
        server.terminate()
        server.communicate()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path, nargs="?", default=ROOT / "out" / "demo")
    main(parser.parse_args().collection)
