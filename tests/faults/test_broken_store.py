"""A store that is of another version, broken, or none at all: one line says so, and nothing is written over it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import lmdb
import msgpack
import pytest

from tests.faults.conftest import Undisturbed
from tests.faults.helpers import contents, fails_in_one_line, make_pictures, problems, succeeds, visearch
from visearch import Collection
from visearch.environment import in_use
from visearch.errors import StoreError
from visearch.records import ITEM_RECORD, RECORD
from visearch.store import FORMAT, TABLES


def data(collection: Path) -> Path:
    return collection / "store" / "data.mdb"


def rewrite(collection: Path, table: str, key: bytes | None, value: object) -> None:
    """Replace a record (the first of the table without a key), as another version of visearch would have written it."""
    with lmdb.open(str(collection / "store"), max_dbs=len(TABLES)) as environment:
        handle = environment.open_db(table.encode(), create=False)
        with environment.begin(write=True, db=handle) as transaction:
            if key is None:
                with transaction.cursor() as cursor:
                    assert cursor.first()
                    key = cursor.key()
            old = msgpack.unpackb(transaction.get(key), strict_map_key=False)
            transaction.put(key, msgpack.packb(value(old) if callable(value) else value))


def commands(collection: Path, picture: Path) -> list[tuple[object, ...]]:
    """Every command that opens a collection."""
    where = ("--collection", collection)
    return [
        ("index", picture, *where),
        ("search", picture, *where),
        ("info", *where),
        ("check", *where),
        ("check", "--repair", *where),
        ("remove", 1, *where),
        ("export", collection.parent / "export.parquet", *where),
        ("backup", collection.parent / "backup", *where),
    ]


@pytest.fixture
def picture(undisturbed: Undisturbed) -> Path:
    return Path(next(iter(undisturbed.held)))


def test_a_store_of_a_future_format_is_refused_by_every_command_and_left_alone(collection: Path, picture: Path) -> None:
    rewrite(collection, "meta", b"format", FORMAT + 1)
    before = data(collection).read_bytes()
    for arguments in commands(collection, picture):
        message = fails_in_one_line(visearch(*arguments))
        assert f"format {FORMAT + 1}" in message
        assert f"reads {FORMAT}" in message
    assert data(collection).read_bytes() == before
    assert not (collection.parent / "backup").exists()
    assert not (collection.parent / "export.parquet").exists()


@pytest.mark.parametrize("table", ["items", "failures"])
def test_a_record_of_a_future_version_is_refused_naming_both_versions(collection: Path, table: str) -> None:
    newest = ITEM_RECORD if table == "items" else RECORD
    rewrite(collection, table, None, lambda record: [newest + 1, *record[1:], "something new"])
    with (
        Collection.open(collection) as opened,
        pytest.raises(StoreError, match=rf"record version {newest + 1}, .* reads {newest}"),
    ):
        _ = list(opened.items()), opened.failures()


def test_a_generation_with_what_this_version_does_not_know_is_refused(collection: Path) -> None:
    rewrite(collection, "meta", b"generation/1", lambda record: {**record, "quantum": True})
    for arguments in (("info",), ("search", "--item", 1)):
        message = fails_in_one_line(visearch(*arguments, "--collection", collection))
        assert "quantum" in message
        assert "upgrade visearch" in message


def test_a_data_file_of_garbage(collection: Path, picture: Path) -> None:
    garbage = os.urandom(data(collection).stat().st_size)
    data(collection).write_bytes(garbage)
    for arguments in commands(collection, picture)[:3]:
        message = fails_in_one_line(visearch(*arguments))
        assert str(collection) in message
        assert "restore it from a backup" in message
    assert data(collection).read_bytes() == garbage


@pytest.mark.parametrize("kept", ["100 bytes", "half", "all but one byte"])
def test_a_data_file_cut_short(collection: Path, picture: Path, kept: str) -> None:
    """Reading beyond its end would end the process with a bus error."""
    size = data(collection).stat().st_size
    os.truncate(data(collection), {"100 bytes": 100, "half": size // 2, "all but one byte": size - 1}[kept])
    cut = data(collection).read_bytes()
    for arguments in commands(collection, picture)[:3]:
        message = fails_in_one_line(visearch(*arguments))
        assert str(collection) in message
        assert "restore it from a backup" in message
    assert data(collection).read_bytes() == cut


def test_a_data_file_of_no_bytes_is_one_whose_maker_was_killed(
    collection: Path, undisturbed: Undisturbed, picture: Path
) -> None:
    os.truncate(data(collection), 0)
    assert "no collection here" in fails_in_one_line(visearch("search", picture, "--collection", collection))
    succeeds(visearch("index", undisturbed.pictures, "--collection", collection, "--model", undisturbed.model))
    assert contents(collection) == undisturbed.held


def test_a_data_file_that_ends_in_pages_never_written_is_whole(collection: Path, tiny: Path) -> None:
    """LMDB leaves pages unwritten that one transaction both took and gave back; nothing is lost with them."""
    with Collection.open(collection) as opened, opened.store.write() as writer:
        writer.put_thumbnail(2**40, bytes(1 << 20))
        writer.transaction.delete((2**40).to_bytes(8, "big"), db=writer.tables["thumbnails"])
    assert problems(collection) == []
    succeeds(visearch("search", "--item", 1, "--collection", collection))


def test_an_empty_folder_is_no_collection(tmp_path: Path, picture: Path, tiny: Path) -> None:
    collection = tmp_path / "empty"
    collection.mkdir()
    for arguments in commands(collection, picture)[1:3]:
        assert "no collection here" in fails_in_one_line(visearch(*arguments))
    assert list(collection.iterdir()) == []
    succeeds(visearch("index", picture, "--collection", collection, "--model", tiny))


def test_a_missing_folder_is_no_collection_and_is_not_made(tmp_path: Path, picture: Path) -> None:
    collection = tmp_path / "missing"
    for arguments in commands(collection, picture)[1:3]:
        assert "no collection here" in fails_in_one_line(visearch(*arguments))
    assert not collection.exists()


def test_a_file_in_place_of_the_folder(tmp_path: Path, picture: Path) -> None:
    collection = tmp_path / "file"
    collection.write_bytes(b"mine")
    for arguments in commands(collection, picture)[:3]:
        assert str(collection) in fails_in_one_line(visearch(*arguments), 2)
    assert collection.read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["store", "models", "index", "leases"])
def test_a_file_in_place_of_a_folder_of_the_collection(collection: Path, undisturbed: Undisturbed, name: str) -> None:
    shutil.rmtree(collection / name, ignore_errors=True)
    (collection / name).write_bytes(b"garbage")
    (new,) = make_pictures(collection.parent / "new", 1, seed=3)
    for arguments in commands(collection, new)[:3]:
        done = visearch(*arguments)
        if done.returncode:
            message = fails_in_one_line(done)
            assert f"{collection / name}" in message or (name == "store" and "no collection here" in message)
        else:
            assert name in ("index", "leases") or arguments[0] == "info", "what is not needed for it"


def test_garbage_among_the_files_of_a_collection_is_left_alone(collection: Path, undisturbed: Undisturbed) -> None:
    for folder in (collection, *(path for path in collection.rglob("*") if path.is_dir())):
        (folder / "garbage").write_bytes(os.urandom(1000))
        (folder / ".DS_Store").write_bytes(b"")
        (folder / "a folder").mkdir(exist_ok=True)
    succeeds(visearch("index", undisturbed.pictures, "--collection", collection))
    assert contents(collection) == undisturbed.held
    assert problems(collection) == []
    with Collection.open(collection) as opened:
        opened.build_index()
        assert opened.search(item=1).matches
    assert (collection / "garbage").exists()


HOLD_A_READER = """
import os, signal, sys
from visearch import Collection
with Collection.open(sys.argv[1]).store.read() as reader:
    reader.item_count()
    print("reading", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_readers_that_were_killed_do_not_make_the_store_grow(collection: Path, undisturbed: Undisturbed) -> None:
    with Collection.open(collection) as opened:  # an open searcher: the lock file is never made anew
        for _ in range(3):
            killed = subprocess.run([sys.executable, "-c", HOLD_A_READER, str(collection)], check=False)
            assert killed.returncode == -signal.SIGKILL
        visearch("info", "--collection", collection)
        with in_use(opened.store.path.resolve()) as environment:
            assert str(environment.readers()).count("\n") <= 2, "a slot of each killed reader is still taken"
