"""A collection that may not be written answers all questions, and says in one line that it cannot be changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Undisturbed
from tests.faults.helpers import (
    COMMAND,
    contents,
    disk,
    fails_in_one_line,
    make_pictures,
    remount,
    succeeds,
    visearch,
)
from visearch import Collection

Reading = tuple[Path, tuple[str, ...]]
WITHOUT_PRIVILEGE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--")


@pytest.fixture(params=["disk", "permissions"])
def reading(undisturbed: Undisturbed, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Reading]:
    """A collection with index files that may not be written, because the disk is mounted read-only or because of the
    permissions of its files; and the command that meets them as an ordinary user does (root passes all permissions)."""
    if request.param == "disk":
        with disk(tmp_path / "disk", "8m") as folder:
            collection = copy_of(undisturbed, folder)
            remount(folder, "ro")
            yield collection, COMMAND
        return
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("needs the command `setpriv`, or not to be root")
        prefix = WITHOUT_PRIVILEGE
    collection = copy_of(undisturbed, tmp_path)
    paths = [collection, *collection.rglob("*")]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    refused = subprocess.run([*prefix, "touch", collection / "new"], capture_output=True, check=False)
    assert refused.returncode, "the folder can be written all the same"
    yield collection, (*prefix, *COMMAND)
    for path in paths:
        path.chmod(path.stat().st_mode | 0o200)


def copy_of(undisturbed: Undisturbed, folder: Path) -> Path:
    collection = shutil.copytree(undisturbed.collection, folder / "collection")
    with Collection.open(collection) as opened:
        opened.build_index()
    (collection / "store" / "lock.mdb").unlink()  # as in a copy on a medium that cannot be written
    return collection


def test_what_only_reads_works(undisturbed: Undisturbed, reading: Reading, tmp_path: Path) -> None:
    collection, command = reading
    where = ("--collection", collection)
    picture = next(iter(undisturbed.held))

    def run(*arguments: object) -> str:
        done = visearch(*arguments, *where, command=command)
        assert not done.stderr.count("Error"), done.stderr
        return succeeds(done)

    found = json.loads(run("search", picture, "--json", "--sheet", tmp_path / "sheet.png"))
    assert (found["matches"][0]["source"], found["matches"][0]["distance"]) == (picture, 0)
    assert json.loads(run("search", "--item", "1", "--json"))["matches"]
    assert json.loads(run("info", "--json"))["items"] == len(undisturbed.held)
    assert "the collection is whole" in run("check")
    queries = tmp_path / "queries.csv"
    queries.write_text(f"path,folder\n{undisturbed.pictures / 'more' / '00-00009.png'},more\n")
    assert json.loads(run("evaluate", "--queries", queries, "--label", "folder", "--json"))["queries"] == 1
    run("export", tmp_path / "codes.parquet")
    run("backup", tmp_path / "backup")
    assert contents(tmp_path / "backup") == undisturbed.held


def test_what_writes_says_that_it_cannot(undisturbed: Undisturbed, reading: Reading, tmp_path: Path) -> None:
    collection, command = reading
    (new,) = make_pictures(tmp_path / "new", 1, seed=3)
    before = {path: path.stat().st_mtime_ns for path in collection.rglob("*")}
    for arguments in (("index", new), ("index", undisturbed.pictures), ("remove", "1")):
        message = fails_in_one_line(visearch(*arguments, "--collection", collection, command=command))
        assert str(collection) in message
        assert "read-only" in message
    assert {path: path.stat().st_mtime_ns for path in collection.rglob("*")} == before


def test_a_new_collection_where_nothing_may_be_written(undisturbed: Undisturbed, reading: Reading) -> None:
    parent, command = reading
    collection = parent / "new"
    arguments = ("index", undisturbed.pictures, "--collection", collection, "--model", undisturbed.model)
    message = fails_in_one_line(visearch(*arguments, command=command))
    assert str(collection) in message
    assert not collection.exists()
