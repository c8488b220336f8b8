"""Pictures, and what an undisturbed run makes of them. Made once; tests change only copies."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.helpers import Held, contents, make_pictures, skipped, succeeds, visearch


@dataclass(frozen=True)
class Undisturbed:
    """A folder of pictures, the collection that one run made of it, and what that holds."""

    pictures: Path
    collection: Path
    model: Path
    held: dict[str, Held]
    skipped: dict[str, str]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Undisturbed:
    """400 pictures, every eighth of them once more under another name, three broken ones; indexed by one run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    pictures, collection = folder / "pictures", folder / "collection"
    for number, path in enumerate(make_pictures(pictures, 400)):
        if number % 8 == 0:
            shutil.copyfile(path, path.with_name(f"twin-of-{path.name}"))
    whole = make_pictures(folder / "spare", 3, seed=9)
    (pictures / "broken.png").write_bytes(whole[0].read_bytes()[:100])
    (pictures / "broken-twin.png").write_bytes(whole[0].read_bytes()[:100])
    (pictures / "empty.png").write_bytes(b"")
    succeeds(visearch("index", pictures, "--collection", collection, "--model", tiny))
    return Undisturbed(pictures, collection, tiny, contents(collection), skipped(collection))


@pytest.fixture
def collection(undisturbed: Undisturbed, tmp_path: Path) -> Path:
    """A copy of the undisturbed collection, to be harmed."""
    return shutil.copytree(undisturbed.collection, tmp_path / "collection")
