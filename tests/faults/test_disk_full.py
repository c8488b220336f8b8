"""A full disk: one line, exit code 1, nothing lost; with room again the same command does the rest.

The disks are small file systems in memory, so these tests need the right to mount (root, as in a container)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Undisturbed
from tests.faults.helpers import (
    contents,
    disk,
    fails_in_one_line,
    fill,
    index_files,
    make_pictures,
    problems,
    remount,
    skipped,
    succeeds,
    visearch,
)
from visearch import Collection
from visearch.errors import VisearchError


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    with disk(tmp_path / "disk", "2m") as folder:
        yield folder


def names_the_disk(message: str) -> None:
    assert "disk is full" in message or "No space left on device" in message


SLOW = [pytest.param(f"{size}k", marks=pytest.mark.slow) for size in range(150, 1400, 50)]


@pytest.mark.parametrize("size", ["200k", "600k", "1200k", *SLOW])
def test_indexing_onto_a_disk_that_fills_up(undisturbed: Undisturbed, tmp_path: Path, size: str) -> None:
    with disk(tmp_path / "disk", size) as folder:
        collection = folder / "collection"
        arguments = ("index", undisturbed.pictures, "--collection", collection, "--model", undisturbed.model)
        names_the_disk(fails_in_one_line(visearch(*arguments)))
        if (collection / "store" / "data.mdb").exists():
            held = contents(collection)
            assert held.items() <= undisturbed.held.items()
            assert problems(collection) == []
            if held:
                with Collection.open(collection) as opened:
                    first = next(iter(opened.items())).item_id  # whichever batch was the first to be done
                succeeds(visearch("search", "--item", first, "--collection", collection))
        names_the_disk(fails_in_one_line(visearch(*arguments)))
        remount(folder, "size=64m")
        succeeds(visearch(*arguments))
        assert contents(collection) == undisturbed.held
        assert skipped(collection) == undisturbed.skipped
        assert index_files(collection) == index_files(undisturbed.collection)
        assert problems(collection) == []


def test_a_disk_that_is_full_from_the_start(undisturbed: Undisturbed, small: Path) -> None:
    filler = fill(small)
    collection = small / "collection"
    arguments = ("index", undisturbed.pictures, "--collection", collection, "--model", undisturbed.model)
    names_the_disk(fails_in_one_line(visearch(*arguments)))
    filler.unlink()
    remount(small, "size=64m")
    succeeds(visearch(*arguments))
    assert contents(collection) == undisturbed.held


@pytest.fixture
def full(undisturbed: Undisturbed, small: Path) -> tuple[Path, Path]:
    """The undisturbed collection on a disk without a byte left; and the file to delete to make room."""
    collection = shutil.copytree(undisturbed.collection, small / "collection")
    problems(collection)  # makes the lock file, which a copy lacks that was made with `visearch backup`
    return collection, fill(small)


def test_a_collection_on_a_full_disk_answers(undisturbed: Undisturbed, full: tuple[Path, Path]) -> None:
    collection, _ = full
    picture = next(iter(undisturbed.held))
    for arguments in (("search", picture), ("info",), ("check",)):
        succeeds(visearch(*arguments, "--collection", collection))
    succeeds(visearch("index", undisturbed.pictures, "--collection", collection))  # nothing is new


def test_a_full_disk_stops_changes_and_loses_nothing(
    undisturbed: Undisturbed, full: tuple[Path, Path], tmp_path: Path
) -> None:
    collection, filler = full
    new = make_pictures(tmp_path / "new", 200, seed=4)
    for arguments in (("index", tmp_path / "new"), ("index", tmp_path / "new")):
        names_the_disk(fails_in_one_line(visearch(*arguments, "--collection", collection)))
    assert undisturbed.held.items() <= contents(collection).items()
    filler.unlink()
    remount(collection.parent, "size=64m")
    succeeds(visearch("index", tmp_path / "new", "--collection", collection))
    assert contents(collection).keys() == undisturbed.held.keys() | {str(path) for path in new}
    succeeds(visearch("remove", *new, "--collection", collection))
    assert contents(collection) == undisturbed.held


@pytest.mark.parametrize("kilobytes", [0, 12, 36, 44, 56])
def test_index_files_that_do_not_fit(undisturbed: Undisturbed, full: tuple[Path, Path], kilobytes: int) -> None:
    """The vector file takes 32 KiB and the base more: they are missing afterwards, or the old ones are there, and the
    answers come from the store all the same."""
    collection, filler = full
    filler.unlink()
    shutil.rmtree(collection / "index")
    filler = fill(collection.parent, leave=kilobytes << 10)
    if not kilobytes:
        names_the_disk(fails_in_one_line(visearch("index", undisturbed.pictures, "--collection", collection)))
    with Collection.open(collection) as opened:
        with pytest.raises(VisearchError) as failed:
            opened.build_index()
        names_the_disk(failed.value.message)
        assert opened.search(item=1, limit=5).matches
    assert [problem for problem in problems(collection) if problem.kind != "index"] == []
    assert contents(collection) == undisturbed.held
    left = [name for name in index_files(collection) if name.endswith(".partial")]
    assert not left, "what cannot be used takes no room"
    filler.unlink()
    succeeds(visearch("check", "--repair", "--collection", collection))
    assert problems(collection) == []


def test_outputs_that_do_not_fit(undisturbed: Undisturbed, small: Path, tmp_path: Path) -> None:
    """--report, --sheet, export, backup: one line that names the file, and no half of it is left."""
    queries = tmp_path / "queries.csv"
    picture = next(iter(undisturbed.held))
    queries.write_text(f"path,folder\n{undisturbed.pictures / 'more' / '00-00009.png'},more\n")
    fill(small, leave=8192)
    before = {path.name for path in small.iterdir()}
    where = ("--collection", undisturbed.collection)
    backup = small / "backup"
    for target, arguments in (
        (small / "sheet.png", ("search", picture, "--sheet", small / "sheet.png")),
        (small / "codes.parquet", ("export", small / "codes.parquet")),
        (backup, ("backup", backup)),
        (small / "report", ("evaluate", "--queries", queries, "--label", "folder", "--report", small / "report")),
    ):
        done = visearch(*arguments, *where)
        assert done.returncode == 1, done.stderr
        message = done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
        assert message.startswith("Error: ")
        assert str(target) in message
        names_the_disk(message)
        assert target.is_dir() or not target.exists()
        left = {path.name for path in small.iterdir()} - before
        assert left <= {"report"}, left
        shutil.rmtree(small / "report", ignore_errors=True)


def test_a_report_of_skipped_files_that_does_not_fit(undisturbed: Undisturbed, small: Path, tmp_path: Path) -> None:
    fill(small)
    report, collection = small / "skipped.csv", tmp_path / "collection"
    arguments = ("index", undisturbed.pictures, "--collection", collection, "--model", undisturbed.model)
    message = fails_in_one_line(visearch(*arguments, "--report", report))
    names_the_disk(message)
    assert str(report) in message
    succeeds(visearch(*arguments))
    assert contents(collection) == undisturbed.held
