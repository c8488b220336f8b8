"""The examples of docs/api.md are run as they stand there: curl and Python as processes, JavaScript in the browser."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.e2e.conftest import SCREENS, OpenPage
from tests.e2e.store import DEMO, PHOTOS, PRODUCTS, ROOMS, ROOT, Served, index, serving
from tests.tiny_detector import write_detector

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
SHOWN = "http://127.0.0.1:8000"
ROOM, IN_ROOM = "room-0002", "demo-00005"  # as the boxes of the page say
PHOTO = "photo-0047"


def examples(language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


@pytest.fixture(scope="module")
def guided(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server as the guide starts it."""
    folder = tmp_path_factory.mktemp("guide")
    settings = {"api_keys": "my-key", "detector": write_detector(folder / "detector.onnx")}
    with serving(index(folder / "shop", tiny), settings=settings) as served:
        yield served


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with the pictures that the examples name."""
    shutil.copy(DEMO / PHOTOS[PHOTO]["path"], tmp_path / "photo.jpg")
    shutil.copy(DEMO / ROOMS[ROOM]["path"], tmp_path / "room.jpg")
    return tmp_path


def here(code: str, served: Served) -> str:
    """The code, for the server of this test."""
    assert SHOWN in code
    return code.replace(SHOWN, served.url.rstrip("/"))


def test_curl(guided: Served, pictures: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    answers = []
    for block in examples("sh"):
        for command in here(block, guided).replace("\\\n", " ").strip().split("\n"):
            assert command.startswith("curl ")
            done = subprocess.run(["sh", "-c", command], cwd=pictures, capture_output=True, text=True, check=True)
            answers.append(json.loads(done.stdout))
    lens, part, alike, found, drawn, added = answers
    assert [lens["mode"], part["mode"], alike["mode"]] == ["lens", "flashlight", "flashlight"]
    assert len(part["matches"]) == len(alike["matches"]) == 5
    assert part["box"] == [0.2, 0.2, 0.8, 0.7]
    for match in alike["matches"]:
        assert match["metadata"]["category"] in {"Rugs", "Artwork"}
        assert match["metadata"]["price"] <= 250
    assert [each["label"] for each in found["objects"]] == ["lamp"]
    assert drawn["objects"][0]["matches"][0]["product"]["title"] == PRODUCTS[IN_ROOM]["title"]
    assert added["metadata"] == {"title": "Seen in the shop"}
    remove = Request(f"{guided.url}api/v1/items/{added['id']}", method="DELETE", headers={"X-API-Key": "my-key"})
    with urlopen(remove) as removed:  # or it were what is most like itself in the other examples
        assert removed.status == 204


def test_python(guided: Served, pictures: Path) -> None:
    (code,) = examples("python")
    done = subprocess.run(
        [sys.executable, "-c", here(code, guided)], cwd=pictures, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert PRODUCTS[PHOTOS[PHOTO]["product"]]["title"] in done.stdout.splitlines()[0] + done.stdout.splitlines()[1]


def test_javascript(open_page: OpenPage, guided: Served, pictures: Path) -> None:
    (code,) = examples("js")
    page = open_page(guided, SCREENS[0])
    room = base64.b64encode((pictures / "room.jpg").read_bytes()).decode()
    result = page.evaluate(
        f"""async (room) => {{
            {here(code, guided)}
            const bytes = Uint8Array.from(atob(room), letter => letter.charCodeAt(0));
            return await shop(new Blob([bytes], {{type: "image/jpeg"}}));
        }}""",
        room,
    )
    assert result[0]["best"]["title"] == PRODUCTS[IN_ROOM]["title"]
