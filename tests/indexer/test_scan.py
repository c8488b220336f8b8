"""The scan: which pictures of the sources are new, which have vanished."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.scan import Scan
from tests.pictures import save, save_all, touch
from visearch import images, ingest
from visearch.embedder import load
from visearch.errors import ImageError
from visearch.ingest import Claims, Failed, File, commit, prepare
from visearch.sources import read
from visearch.store import Generation, Store


class Collection:
    """A store that is filled by scans, without the pipeline."""

    def __init__(self, path: Path, model: Path) -> None:
        self.store = Store(path / "store", create=True)
        self.model = load(model)
        with self.store.write() as writer:
            writer.put_generation(Generation(1, "tiny", "1", self.model.sha256, 64, "openvino", "float32", "CPU"))
            writer.activate(1)

    def scan(self, *of: Path) -> tuple[Scan, list[File | Failed]]:
        """A complete scan, its files committed."""
        scan = Scan(self.store, [str(path) for path in of])
        found = list(scan.changed(threading.Event()))
        files = [each for each in found if isinstance(each, File)]
        outcomes = prepare(files, self.store, lambda: self.model, Claims())
        outcomes += [each for each in found if isinstance(each, Failed)]
        commit(self.store, outcomes)
        scan.committed(outcomes)
        return scan, found

    def new(self, *of: Path) -> list[str]:
        """Names of the files that a scan finds new or changed, or reports."""
        return [Path(file_of(each).source).name for each in self.scan(*of)[1]]

    def vanished(self, *of: Path) -> set[str]:
        """Names of the items that a scan finds vanished."""
        vanished = self.scan(*of)[0].vanished()
        with self.store.read() as reader:
            items = [reader.item(item_id) for item_id in vanished]
        return {Path(item.source).name for item in items if item is not None}


def file_of(found: File | Failed) -> File:
    return found if isinstance(found, File) else found.file


@pytest.fixture
def collection(tmp_path: Path, tiny: Path) -> Iterator[Collection]:
    made = Collection(tmp_path / "collection", tiny)
    yield made
    made.store.close()


@pytest.fixture
def pics(tmp_path: Path) -> Path:
    save_all(tmp_path / "pics", range(5))
    return tmp_path / "pics"


def test_ids_are_given_in_source_order(collection: Collection, pics: Path) -> None:
    save_all(pics, range(5, 600, 5))
    scan = Scan(collection.store, [str(pics)])
    files = [file_of(found) for found in scan.changed(threading.Event())]
    assert [file.source for file in files] == sorted(file.source for file in files)
    assert [file.item_id for file in files] == list(range(1, len(files) + 1))


def test_what_has_not_changed_is_not_looked_at(collection: Collection, pics: Path) -> None:
    assert len(collection.new(pics)) == 5
    scan, found = collection.scan(pics)
    assert (found, scan.unchanged) == ([], 5)


def test_another_size_or_time_is_looked_at(collection: Collection, pics: Path) -> None:
    collection.scan(pics)
    touch(pics / "001.png")
    touch(pics / "002.png", -(10**6))
    with (pics / "003.png").open("ab") as file:
        file.write(b"more")
    assert collection.new(pics) == ["001.png", "002.png", "003.png"]
    assert collection.new(pics) == []


def test_a_picture_that_is_named_twice_counts_once(collection: Collection, pics: Path) -> None:
    (pics / "broken.png").write_bytes(b"")
    sources = pics, pics / "001.png", pics / "broken.png", pics
    assert collection.new(*sources) == [f"{number:03}.png" for number in range(5)] + ["broken.png"]
    scan, found = collection.scan(*sources)
    assert (scan.unchanged, len(found)) == (5, 1)


def test_a_skipped_file_is_remembered_and_reported_again_without_being_read(collection: Collection, pics: Path) -> None:
    (pics / "broken.png").write_bytes(b"not a picture")
    collection.scan(pics)
    _, (again,) = collection.scan(pics)
    assert isinstance(again, Failed)
    assert (again.reason, Path(again.file.source).name) == ("unsupported", "broken.png")


def test_a_skipped_file_is_tried_again_when_it_changes_or_the_decoders_do(
    collection: Collection, pics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pics / "broken.png").write_bytes(b"not a picture")
    collection.scan(pics)
    touch(pics / "broken.png")
    assert isinstance(collection.scan(pics)[1][0], File)
    assert isinstance(collection.scan(pics)[1][0], Failed)
    with monkeypatch.context() as patch:
        patch.setattr(images, "decoders_fingerprint", lambda: "pillow 99, heif 1.0")  # what another install would say
        assert isinstance(collection.scan(pics)[1][0], File)


def test_what_could_not_be_read_is_tried_again_though_nothing_of_it_changed(
    collection: Collection, pics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drive that fails for a while, a right that is given later: neither shows in size and time of a file."""

    def failing(source: str) -> bytes:
        if source.endswith("003.png"):
            raise ImageError("unreadable", "Input/output error")
        return read(source)

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "read", failing)
        collection.scan(pics)
    (again,) = collection.scan(pics)[1]
    assert isinstance(again, File)
    assert collection.scan(pics)[0].unchanged == 5


def test_what_was_too_large_is_tried_again_with_a_higher_limit(
    collection: Collection, pics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(pics / "large.png", 9, size=(1200, 1000))
    monkeypatch.setenv("VISEARCH_MAX_MEGAPIXELS", "1")
    collection.scan(pics)
    assert isinstance(collection.scan(pics)[1][0], Failed)
    monkeypatch.setenv("VISEARCH_MAX_MEGAPIXELS", "2")
    (again,) = collection.scan(pics)[1]
    assert isinstance(again, File)


def test_files_that_cannot_be_looked_at_are_reported(collection: Collection, tmp_path: Path) -> None:
    save(tmp_path / "pics" / "good.png", 1)
    (tmp_path / "pics" / "gone.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pics" / "pipe.png")
    (tmp_path / "m.csv").write_text("path\npics/good.png\npics/missing.png\npics\n" + "x" * 300 + ".png\n")
    _, found = collection.scan(tmp_path / "pics", tmp_path / "m.csv")
    told = {Path(each.file.source).name[:12]: (each.reason, each.message) for each in found if isinstance(each, Failed)}
    assert told == {
        "gone.png": ("unreadable", "No such file or directory"),
        "pipe.png": ("unreadable", "not a regular file"),
        "missing.png": ("unreadable", "No such file or directory"),
        "pics": ("unreadable", "not a regular file"),
        "xxxxxxxxxxxx": ("unreadable", "File name too long"),
    }


def test_new_metadata_in_a_manifest_is_a_change_and_a_folder_changes_none(collection: Collection, pics: Path) -> None:
    manifest = pics.parent / "m.csv"
    manifest.write_text("path,label\npics/000.png,chair\npics/001.png,sofa\n")
    collection.scan(manifest)
    assert collection.new(manifest) == []
    manifest.write_text("path,label\npics/000.png,chair\npics/001.png,stool\n")
    assert collection.new(manifest) == ["001.png"]
    assert collection.new(pics) == ["002.png", "003.png", "004.png"]


# The scan: what has vanished


def test_files_that_are_gone_have_vanished(collection: Collection, pics: Path) -> None:
    collection.scan(pics)
    (pics / "001.png").unlink()
    assert collection.vanished(pics) == {"001.png"}


def test_files_of_other_sources_have_not(collection: Collection, pics: Path, tmp_path: Path) -> None:
    save(tmp_path / "pics2" / "a.png", 50)
    save(tmp_path / "other" / "b.png", 51)
    collection.scan(pics, tmp_path / "pics2", tmp_path / "other")
    (tmp_path / "pics2" / "a.png").unlink()
    (tmp_path / "other" / "b.png").unlink()
    assert collection.vanished(pics) == set()
    assert collection.vanished(pics, tmp_path / "other") == {"b.png"}


def test_a_moved_file_has_not_vanished(collection: Collection, pics: Path) -> None:
    collection.scan(pics)
    (pics / "sub").mkdir()
    (pics / "001.png").rename(pics / "sub" / "x.png")
    assert collection.vanished(pics) == set()


def test_a_file_that_turned_bad_has_not_vanished(collection: Collection, pics: Path) -> None:
    collection.scan(pics)
    (pics / "001.png").write_bytes(b"")
    assert collection.vanished(pics) == set()
    assert collection.vanished(pics) == set()


def test_a_file_that_became_hidden_from_the_walk_but_is_there_has_not_vanished(
    collection: Collection, pics: Path
) -> None:
    save(pics / ".hidden.png", 40)
    collection.scan(pics, pics / ".hidden.png")
    assert collection.vanished(pics) == set()


def test_rows_that_left_their_manifest_have_vanished(collection: Collection, pics: Path) -> None:
    manifest = pics.parent / "m.csv"
    manifest.write_text("path\npics/000.png\npics/001.png\n")
    collection.scan(manifest)
    manifest.write_text("path\npics/001.png\n")
    assert collection.vanished(manifest) == {"000.png"}


def test_long_paths_vanish_from_their_own_folder_only(collection: Collection, tmp_path: Path) -> None:
    """Keys of long paths are cut, so two folders may share one."""
    deep = tmp_path / Path(*["x" * 200] * 3)
    save(deep / "a" / "1.png", 1)
    save(deep / "b" / "2.png", 2)
    collection.scan(deep)
    for path in deep.rglob("*.png"):
        path.unlink()
    assert collection.vanished(deep / "a") == {"1.png"}


def test_sources_that_lead_to_no_picture_are_told(collection: Collection, pics: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("path\npics/000.png\n")
    (tmp_path / "empty").mkdir()
    all_of_them = pics, manifest, tmp_path / "empty"
    assert collection.scan(*all_of_them)[0].empty_sources() == [str(tmp_path / "empty")]
    pics.rename(tmp_path / "away")
    pics.mkdir()
    assert collection.scan(*all_of_them)[0].empty_sources() == [str(each) for each in all_of_them]


def test_a_scan_of_unchanged_files_can_be_stopped(collection: Collection, pics: Path) -> None:
    assert len(collection.new(pics)) == 5
    stop = threading.Event()
    stop.set()
    scan = Scan(collection.store, [str(pics)])
    assert (list(scan.changed(stop)), scan.unchanged) == ([], 0)
