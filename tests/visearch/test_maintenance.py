"""Looking after a collection: info, check and repair, backup, export."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from indexer import run
from tests.corpora import Random, Reference
from tests.pictures import is_one_line, picture, save, save_all, stored, touch, visearch
from tests.tiny_model import BITS
from visearch import codes, maintenance
from visearch.collection import Collection
from visearch.errors import StoreError, UsageError
from visearch.maintenance import Problem
from visearch.store import OWNER
from web import uploads


@pytest.fixture
def folder(tmp_path: Path, tiny: Path) -> Path:
    """Ten pictures and a broken one in `pics`, indexed into `c`, with index files; three are in a folder of theirs."""
    save_all(tmp_path / "pics", range(7))
    save_all(tmp_path / "pics" / "sub", range(7, 10))
    (tmp_path / "pics" / "broken.png").write_bytes(b"not a picture")
    index(tmp_path, tiny)
    with Collection.open(tmp_path / "c") as collection:
        collection.build_index()
    return tmp_path


def index(folder: Path, model: Path) -> None:
    run.once(run.Job((str(folder / "pics"),), folder / "c", str(model)))


def problems(folder: Path) -> list[tuple[str, str]]:
    with Collection.open(folder / "c") as collection:
        return [(problem.kind, problem.message) for problem in maintenance.check(collection)]


def repair(folder: Path) -> None:
    with Collection.open(folder / "c") as collection:
        collection.build_index()


# Info


def test_info_tells_what_is_there(folder: Path) -> None:
    with Collection.open(folder / "c") as collection:
        values = maintenance.info(collection)
    assert json.loads(json.dumps(values)) == values | {"index": json.loads(json.dumps(values["index"]))}
    assert (values["items"], values["skipped"]) == (10, {"unsupported": 1})
    assert (values["generation"]["model"], values["generation"]["bits"]) == ("tiny", BITS)
    assert values["generation"]["precision"] in ("float32", "bf16")
    assert (values["index"]["codes"], values["index"]["rows"], values["index"]["delta"]) == (10, 10, 0)
    assert all(size > 0 for size in values["bytes"].values())


def test_info_counts_what_came_and_went_since_the_index_was_written(folder: Path, tiny: Path) -> None:
    save(folder / "pics" / "new.png", 50)
    index(folder, tiny)
    with Collection.open(folder / "c") as collection:
        collection.remove([1, 2])
        found = maintenance.info(collection)["index"]
    assert (found["codes"], found["rows"], found["delta"], found["removed"]) == (9, 10, 1, 2)


def test_skipped_files_that_are_gone_or_well_again_are_told_no_more(folder: Path, tiny: Path) -> None:
    def skipped() -> Any:
        with Collection.open(folder / "c") as collection:
            return maintenance.info(collection)["skipped"]

    (folder / "pics" / "other.png").write_bytes(b"")
    index(folder, tiny)
    assert skipped() == {"unsupported": 1, "empty": 1}
    (folder / "pics" / "other.png").unlink()
    save(folder / "pics" / "broken.png", 60)
    index(folder, tiny)
    assert skipped() == {}


# Check


def test_a_collection_as_it_should_be_has_no_problems(folder: Path, tiny: Path) -> None:
    assert problems(folder) == []
    with Collection.open(folder / "c") as collection:
        collection.remove([3])
    save(folder / "pics" / "004.png", 70)
    save_all(folder / "pics", range(5, 15))
    index(folder, tiny)
    assert problems(folder) == []


def test_a_collection_without_codes_has_no_problems(tmp_path: Path, tiny: Path) -> None:
    with Collection.open(tmp_path / "c", create=True, model=tiny) as collection:
        assert maintenance.check(collection) == []


def test_many_random_changes_leave_no_problems(tmp_path: Path, tiny: Path) -> None:
    random, reference = Random(BITS, 0), Reference()
    with Collection.open(tmp_path / "c", create=True, model=tiny) as collection:
        for step in range(30):
            numbers = random.random.integers(1, 400, 20).tolist()
            reference.put(collection, {number: (random.embedding(), random.metadata()) for number in numbers})
            reference.remove(collection, random.random.integers(1, 400, 5).tolist())
            if step % 10 == 5:
                collection.build_index()
        assert maintenance.check(collection) == []


def test_files_that_are_gone_or_changed_are_told(folder: Path) -> None:
    (folder / "pics" / "001.png").unlink()
    touch(folder / "pics" / "002.png")
    found = problems(folder)
    assert [kind for kind, _ in found] == ["files", "files"]
    assert "001.png: gone (item 2)" in found[0][1]
    assert "002.png: changed (item 3)" in found[1][1]


BASE_FILES = ["meta.json", "rows.bin", "columns.bin"]


@pytest.mark.parametrize("name", [*(f"base-*/{name}" for name in BASE_FILES), "vectors.i8", "vectors.json"])
@pytest.mark.parametrize("damage", ["gone", "cut", "empty"])
def test_damaged_index_files_are_found_and_repaired(folder: Path, name: str, damage: str) -> None:
    (path,) = (folder / "c" / "index" / "g1").glob(name)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage == "cut" else b"")
    before = stored(folder / "c")
    assert "index" in {kind for kind, _ in problems(folder)}
    repair(folder)
    assert problems(folder) == []
    assert stored(folder / "c") == before


@pytest.mark.parametrize("name", ["base-*/rows.bin", "base-*/columns.bin", "vectors.i8"])
def test_a_flipped_bit_is_found_and_repaired(folder: Path, name: str) -> None:
    (path,) = (folder / "c" / "index" / "g1").glob(name)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 16
    path.write_bytes(data)
    assert [kind for kind, _ in problems(folder)] == ["index"]
    repair(folder)
    assert problems(folder) == []


def test_a_store_that_contradicts_itself_is_found(folder: Path) -> None:
    with Collection.open(folder / "c") as collection, collection.store.write() as writer:
        generation = writer.generation()
        assert generation is not None
        writer.remove_codes(generation, 1)  # an item without codes
        row = np.zeros((1, BITS // 8), np.uint8), np.zeros((1, BITS + 2), np.uint8)
        writer.append_codes(1, np.array([(99, 0)], OWNER), *row)  # codes without an item
    found = problems(folder)
    assert {kind for kind, _ in found} == {"store"}
    assert any("item 1 " in message for _, message in found)
    assert any("item 99: has codes" in message for _, message in found)


def test_a_missing_copy_of_the_model_is_found(folder: Path) -> None:
    shutil.rmtree(folder / "c" / "models")
    assert [(kind, "copy of the model is missing" in message) for kind, message in problems(folder)] == [
        ("store", True)
    ]


# Backup


def test_a_backup_is_an_equal_collection_that_answers(folder: Path) -> None:
    with Collection.open(folder / "c") as collection:
        before = collection.search(item=1).matches
        maintenance.backup(collection, folder / "backup")
    assert stored(folder / "backup") == stored(folder / "c")
    shutil.rmtree(folder / "c")
    with Collection.open(folder / "backup") as copy:
        assert copy.search(item=1).matches == before
        assert len(copy.search(folder / "pics" / "000.png")) == 10
        assert maintenance.check(copy) == []
    assert sorted(path.name for path in folder.iterdir()) == ["backup", "pics"]


def test_an_index_file_that_cannot_be_read_is_a_problem_of_the_index(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the disk has a bad sector: `check --repair` writes it anew, so it must not end there."""

    def unreadable(data: bytes, crc: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("zlib.crc32", unreadable)
    found = problems(folder)
    assert {kind for kind, _ in found} == {"index"}
    assert all(message.endswith("cannot be read: Input/output error") for _, message in found)


def test_a_backup_holds_the_pictures_that_were_added_over_http(folder: Path) -> None:
    """They are nowhere else."""
    data = io.BytesIO()
    picture(77).save(data, "PNG")
    with Collection.open(folder / "c") as collection:
        item, _ = uploads.add(collection, data.getvalue(), {}, None)
        gone, _ = uploads.add(collection, data.getvalue() + b"x", {}, None)
        Path(gone.source).unlink()
        maintenance.backup(collection, folder / "backup")
        assert maintenance.check(collection) == [
            Problem("files", f"{gone.source}: gone (item {gone.item_id}); `visearch remove` removes it")
        ]
    shutil.rmtree(folder / "c")
    (folder / "backup").rename(folder / "moved")
    with Collection.open(folder / "moved") as copy:
        assert copy.original(item) == data.getvalue()
        assert [each.message for each in maintenance.check(copy)] == [
            f"{gone.source}: gone (item {gone.item_id}); `visearch remove` removes it"
        ]


def test_a_backup_goes_into_an_empty_folder_only(folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "file").write_text("precious")
    with Collection.open(folder / "c") as collection:
        maintenance.backup(collection, folder / "empty")
        for taken in ("full", "c", "pics/000.png"):
            with pytest.raises(UsageError, match="exists already"):
                maintenance.backup(collection, folder / taken)
    assert (folder / "full" / "file").read_text() == "precious"
    assert stored(folder / "empty") == stored(folder / "c")


def test_a_backup_that_cannot_be_written_leaves_nothing(folder: Path) -> None:
    with (
        Collection.open(folder / "c") as collection,
        pytest.raises(StoreError, match=r"000\.png/backup: "),
    ):
        maintenance.backup(collection, folder / "pics" / "000.png" / "backup")


def test_a_backup_while_the_collection_changes_is_one_moment_of_it(tmp_path: Path, tiny: Path) -> None:
    """Items come in pairs, one transaction each: a copy never has half of one."""
    random, reference, stop = Random(BITS, 0), Reference(), threading.Event()
    with Collection.open(tmp_path / "c", create=True, model=tiny) as collection:

        def change() -> None:
            for number in range(1, 4000, 2):
                if stop.is_set():
                    return
                reference.put(collection, {number: (random.embedding(), {}), number + 1: (random.embedding(), {})})

        thread = threading.Thread(target=change)
        thread.start()
        try:
            for number in range(3):
                maintenance.backup(collection, tmp_path / f"b{number}")
        finally:
            stop.set()
            thread.join()
    sizes = []
    for number in range(3):
        with Collection.open(tmp_path / f"b{number}") as copy:
            assert maintenance.check(copy) == []
            sizes.append(len(copy))
    assert sizes == sorted(sizes)
    assert all(size % 2 == 0 for size in sizes)


# Export


def test_an_export_holds_everything(folder: Path) -> None:
    manifest = folder / "m.jsonl"
    metadata = {"label": "Stühle", "price": 9.5, "tags": ["a", "b"]}
    manifest.write_text(json.dumps({"path": "pics/003.png", **metadata}))
    run.once(run.Job((str(manifest),), folder / "c"))
    with Collection.open(folder / "c") as collection:
        collection.remove([1])
        assert maintenance.export(collection, folder / "out.parquet") == 9
        corpus = collection.corpus()
        items = {item.item_id: item for item in collection.items()}
    table = pq.read_table(folder / "out.parquet")
    assert table.schema.metadata[b"model"] == b"tiny"
    rows = table.to_pylist()
    assert [row["item_id"] for row in rows] == sorted(items)
    for row in rows:
        item = items[row["item_id"]]
        (place,) = np.flatnonzero(corpus.item_ids == item.item_id)
        assert (row["source"], row["width"], row["height"]) == (item.source, 48, 40)
        assert (row["region"], row["box"]) == (0, [0.0, 0.0, 1.0, 1.0])
        assert row["code"] == corpus.codes[place].tobytes()
        vector = codes.dequantize(corpus.vectors[place : place + 1], corpus.scales[place : place + 1])[0]
        assert np.array_equal(np.array(row["embedding"], np.float32), vector)
        assert json.loads(row["metadata"]) == item.metadata
    assert json.loads(rows[2]["metadata"]) == metadata


def test_an_export_takes_any_file_and_folder_name(tmp_path: Path, tiny: Path) -> None:
    strange = tmp_path / "pics" / os.fsdecode(b"\xff\xfe") / os.fsdecode(b"a\xff.png")
    save(strange, 1)
    index(tmp_path, tiny)
    with Collection.open(tmp_path / "c") as collection:
        assert maintenance.export(collection, tmp_path / "out.parquet") == 1
    (row,) = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert row["source"].endswith("a?.png")


def test_an_export_has_items_as_they_are_though_they_change_meanwhile(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Collection.open(folder / "c") as collection:
        earlier = [replace(item, regions=(), metadata={"of": "before"}) for item in collection.items()]
        collection.remove([earlier[0].item_id])
        monkeypatch.setattr(Collection, "items", lambda self: iter(earlier))
        assert maintenance.export(collection, folder / "out.parquet") == len(earlier) - 1
    assert all("before" not in row["metadata"] for row in pq.read_table(folder / "out.parquet").to_pylist())


def test_an_export_of_nothing_is_an_empty_table(tmp_path: Path, tiny: Path) -> None:
    with Collection.open(tmp_path / "c", create=True, model=tiny) as collection:
        assert maintenance.export(collection, tmp_path / "out.parquet") == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


def test_an_export_that_cannot_be_written_leaves_nothing(folder: Path) -> None:
    with Collection.open(folder / "c") as collection, pytest.raises(StoreError, match="cannot be written"):
        maintenance.export(collection, folder / "nowhere" / "out.parquet")
    assert not (folder / "nowhere").exists()


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_interrupted_neither_a_backup_nor_an_export_leaves_anything(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(folder.iterdir())
    monkeypatch.setattr(shutil, "copyfile", interrupt)
    monkeypatch.setattr(maintenance, "_export_page", interrupt)
    with Collection.open(folder / "c") as collection:
        with pytest.raises(KeyboardInterrupt):
            maintenance.backup(collection, folder / "copy")
        with pytest.raises(KeyboardInterrupt):
            maintenance.export(collection, folder / "out.parquet")
    assert sorted(folder.iterdir()) == before


def test_a_backup_touches_nothing_of_another_name(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_all(tmp_path / "pics", range(3))
    assert visearch("index", "pics", "--model", tiny).code == 0
    (tmp_path / "b.partial").mkdir()
    (tmp_path / "b.partial" / "mine").write_text("kept")
    assert visearch("backup", "b").code == 0
    assert visearch("backup", "b").code == 2
    assert (tmp_path / "b.partial" / "mine").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".visearch", "b", "b.partial", "pics"]
    assert is_one_line(visearch("backup", ".").err)
