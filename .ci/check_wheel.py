"""Does the installed wheel do the main job? Run outside the repository by .ci/run: check_wheel.py DEMO_FOLDER."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from urllib.request import urlopen

VISEARCH = Path(sys.executable).parent / "visearch"


def visearch(*arguments: object, expected: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the installed command; the exit code must be `expected`."""
    command = [str(VISEARCH), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != expected:
        sys.exit(f"error: {' '.join(command)} ended with {done.returncode}, not {expected}\n{done.stdout}{done.stderr}")
    return done


def check_server(collection: Path, items: int) -> None:
    """The page, its parts and the API come out of the wheel."""
    command = [str(VISEARCH), "serve", "--collection", str(collection), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    limit = threading.Timer(120, server.kill)  # where it never says its address
    limit.start()
    try:
        assert server.stdout is not None
        url = server.stdout.readline().partition(" ")[0]
        page = urlopen(url, timeout=60).read().decode()
        parts = re.findall(r'(?:href|src)="(static/[^"]+)"', page)
        assert parts, page
        for part in parts:
            assert urlopen(url + part, timeout=60).read(), part
        assert json.load(urlopen(url + "api/v1/items", timeout=60))["total"] == items
        assert json.load(urlopen(url + "openapi.json", timeout=60))["openapi"].startswith("3.1")
    finally:
        limit.cancel()
        server.terminate()
        code = server.wait(60)
    assert code == 0, f"visearch serve ended with {code}"


def main(demo: Path) -> None:
    """Index the catalogue of `demo`, search with one of its pictures, and look at what comes back."""
    import visearch as package

    assert Path(sys.prefix) in Path(package.__file__).parents, f"{package.__file__} is not the installed wheel"
    catalog = demo / "catalog.jsonl"
    rows = [json.loads(line) for line in catalog.read_text().splitlines()]
    collection = Path("collection")
    summary = json.loads(visearch("index", catalog, "--collection", collection, "--json").stdout)
    assert summary["added"] == summary["items"] == len(rows), summary
    assert summary["skipped"] == 0, summary

    picture = demo / rows[0]["path"]
    answer = json.loads(visearch("search", picture, "--collection", collection, "--limit", 5, "--json").stdout)
    best = answer["matches"][0]
    assert len(answer["matches"]) == 5, answer
    assert Path(best["source"]).resolve() == picture.resolve(), best
    assert best["distance"] == 0, best
    assert best["metadata"]["label"] == rows[0]["label"], best
    assert set(best) >= {"item", "region", "source", "distance", "score", "metadata"}, best

    visearch("search", demo / "photos" / "photo-0006.jpg", "--collection", collection, "--sheet", "sheet.png")
    assert Path("sheet.png").read_bytes().startswith(b"\x89PNG")
    visearch("check", "--collection", collection)
    check_server(collection, len(rows))
    print(f"the wheel indexed {len(rows)} pictures in {summary['seconds']:.1f} s and found the first again")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
