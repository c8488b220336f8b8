"""A collection is a folder: it can be moved, copied, and backed up while it is being written."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from tests.faults.conftest import Undisturbed
from tests.faults.helpers import DRIVERS, contents, fails_in_one_line, finish, problems, start, succeeds, visearch
from visearch import Collection
from visearch.maintenance import backup


def works(collection: Path, undisturbed: Undisturbed) -> None:
    picture = sorted(undisturbed.held)[7]
    found = json.loads(succeeds(visearch("search", picture, "--json", "--collection", collection)))
    assert found["matches"][0]["source"] in {picture, str(Path(picture).with_name(f"twin-of-{Path(picture).name}"))}
    assert contents(collection) == undisturbed.held
    assert problems(collection) == []
    again = json.loads(succeeds(visearch("index", undisturbed.pictures, "--json", "--collection", collection)))
    assert (again["unchanged"], again["added"], again["updated"]) == (len(undisturbed.held), 0, 0)


def test_a_moved_and_a_copied_collection(undisturbed: Undisturbed, collection: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(collection, tmp_path / "copied to a längerer Name")
    (tmp_path / "far").mkdir()
    moved = collection.rename(tmp_path / "far" / "moved")
    works(copied, undisturbed)
    works(moved, undisturbed)


def test_a_folder_moved_while_it_is_open_goes_on(undisturbed: Undisturbed, collection: Path, tmp_path: Path) -> None:
    with Collection.open(collection) as opened:
        opened.search(item=1)
        moved = collection.rename(tmp_path / "moved")
        assert opened.search(item=1).matches
    works(moved, undisturbed)


def test_a_backup_while_another_process_indexes_is_a_whole_collection(undisturbed: Undisturbed, tmp_path: Path) -> None:
    collection = tmp_path / "collection"
    indexing = start(
        "index", undisturbed.pictures, "--collection", collection, "--model", undisturbed.model,
        command=(sys.executable, str(DRIVERS / "acknowledging_index.py")),
    )  # fmt: skip
    assert indexing.stdout is not None
    acknowledged = json.loads(indexing.stdout.readline())["kept"]
    backups: list[Path] = []
    while indexing.poll() is None and len(backups) < 4:
        backups.append(tmp_path / f"backup{len(backups)}")
        with Collection.open(collection) as opened:
            backup(opened, backups[-1])
    succeeds(finish(indexing))
    assert backups
    for folder in backups:
        assert problems(folder) == []
        assert set(acknowledged) <= contents(folder).keys()
        assert contents(folder).items() <= undisturbed.held.items()
    last = backups[-1]
    succeeds(visearch("index", undisturbed.pictures, "--collection", last))
    works(last, undisturbed)
    assert not list(tmp_path.glob("*.partial"))


def test_a_backup_needs_nothing_of_the_original(undisturbed: Undisturbed, collection: Path, tmp_path: Path) -> None:
    (collection / "models" / "another.onnx.partial").write_bytes(b"left by a killed process")
    with Collection.open(collection) as opened:
        opened.build_index()
    done = visearch("backup", tmp_path / "backup", "--collection", collection)
    assert f"{len(undisturbed.held)} items copied" in succeeds(done)
    assert done.stderr == ""
    shutil.rmtree(collection)
    assert [path.name for path in (tmp_path / "backup" / "models").iterdir()] == [
        path.name for path in (undisturbed.collection / "models").iterdir()
    ]
    works(tmp_path / "backup", undisturbed)


def test_a_backup_goes_nowhere_where_something_is(collection: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine").write_bytes(b"mine")
    for destination in (taken, taken / "mine", collection):
        fails_in_one_line(visearch("backup", destination, "--collection", collection), 2)
    assert [path.name for path in taken.iterdir()] == ["mine"]
