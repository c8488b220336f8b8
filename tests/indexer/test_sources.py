"""Sources: which pictures folders, files, manifests and standard input name; which are new; which have vanished."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import sources
from indexer.sources import Entry, Scan, entries
from tests.pictures import save, save_all, touch
from visearch import images, ingest
from visearch.embedder import load
from visearch.errors import ImageError, UsageError
from visearch.ingest import Claims, Failed, File, commit, prepare
from visearch.sources import read
from visearch.store import Generation, Store


def names(folder: Path) -> list[str]:
    """What a folder names, relative to it."""
    return [os.path.relpath(entry.path, folder) for entry in entries([str(folder)])]


def make(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"x")
    return folder


# Folders


def test_a_folder_is_walked_in_order_of_names(tmp_path: Path) -> None:
    make(tmp_path, "b.jpg", "a/z.jpg", "a/b/c/d.png", "c.jpg", "a.jpg", "B.jpg", "a/a.jpg")
    assert names(tmp_path) == ["B.jpg", "a.jpg", "b.jpg", "c.jpg", "a/a.jpg", "a/z.jpg", "a/b/c/d.png"]


def test_only_what_looks_like_a_picture_is_named(tmp_path: Path) -> None:
    pictures = [f"p{suffix}" for suffix in images.SUPPORTED_SUFFIXES] + ["P.JPG", "p.tar.JpEg"]
    make(tmp_path, *pictures, "notes.txt", "p.svg", "p.pdf", "p.jpg.txt", "jpg", "p.csv", "p", "p.jpg~", "p.")
    assert sorted(names(tmp_path)) == sorted(pictures)


def test_heic_and_avif_are_named_so_that_they_are_reported_where_they_cannot_be_read(tmp_path: Path) -> None:
    make(tmp_path, "a.heic", "a.avif")
    assert names(tmp_path) == ["a.avif", "a.heic"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, ".a.jpg", "._b.jpg", ".git/c.jpg", "d/.e/f.jpg", "g.jpg")
    assert names(tmp_path) == ["g.jpg"]
    assert names(make(tmp_path / ".hidden", "x.jpg")) == ["x.jpg"]  # named, so it is meant


def test_the_folder_below_the_root_becomes_metadata(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "chairs/b.jpg", "chairs/red/c.jpg")
    assert [entry.metadata for entry in entries([str(tmp_path)])] == [
        {}, {"folder": "chairs"}, {"folder": "chairs/red"}
    ]  # fmt: skip


def test_links_are_followed_once(tmp_path: Path) -> None:
    """A loop ends, a folder that two links lead to is walked once, a linked file is a picture of its own."""
    make(tmp_path / "root", "a/x.jpg", "a/b/y.jpg")
    make(tmp_path / "elsewhere", "z.jpg")
    (tmp_path / "root" / "a" / "b" / "loop").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "a" / "up").symlink_to("..")
    (tmp_path / "root" / "link1").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "link2").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "copy.jpg").symlink_to("a/x.jpg")
    assert names(tmp_path / "root") == ["copy.jpg", "a/x.jpg", "a/b/y.jpg", "link1/z.jpg"]


def test_links_that_lead_nowhere_or_to_themselves_stop_nobody(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "z.jpg")
    for name, target in (("me", "me"), ("me.jpg", "me.jpg"), ("gone", "nowhere"), ("gone.jpg", "nowhere.jpg")):
        (tmp_path / name).symlink_to(target)
    assert names(tmp_path) == ["a.jpg", "gone.jpg", "me.jpg", "z.jpg"]


STRANGE = [
    "日本語 😀.jpg",
    "new\nline.jpg",
    "-rf.jpg",
    " .jpg",
    "a'b\"c$(x).jpg",
    os.fsdecode(b"\xff\xfe.jpg"),
    "ü.jpg",
]


def test_any_file_name_is_taken(tmp_path: Path) -> None:
    make(tmp_path, *STRANGE)
    assert sorted(names(tmp_path)) == sorted(STRANGE)


def test_very_long_paths_are_taken(tmp_path: Path) -> None:
    deep = Path(*["x" * 200] * 15)
    make(tmp_path, str(deep / "a.jpg"))
    assert names(tmp_path) == [str(deep / "a.jpg")]


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that somebody without rights may reach, which the ones for tests are not."""
    folder = Path(tempfile.mkdtemp(prefix="visearch-test-"))
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


def test_a_folder_that_may_not_be_listed_is_told_and_stops_nobody(open_to_all: Path) -> None:
    make(open_to_all, "a/x.jpg", "b/y.jpg", "c/z.jpg")
    (open_to_all / "c" / "link").symlink_to(open_to_all / "b" / "inside")
    (open_to_all / "b").chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        found = list(entries([str(open_to_all)]))
    finally:
        if root:
            os.seteuid(0)
    assert [(os.path.relpath(entry.path, open_to_all), entry.reason) for entry in found] == [
        ("a/x.jpg", ""), ("b", "unreadable"), ("c/z.jpg", "")
    ]  # fmt: skip
    assert found[1].problem == "Permission denied"


# Files, manifests, standard input


def test_a_file_is_taken_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "picture", ".hidden.jpg")
    monkeypatch.chdir(tmp_path)
    assert [entry.path for entry in entries(["picture", "./.hidden.jpg"])] == [
        str(tmp_path / "picture"), str(tmp_path / ".hidden.jpg")
    ]  # fmt: skip


def test_sources_come_in_the_order_they_were_named(tmp_path: Path) -> None:
    make(tmp_path, "b/1.jpg", "a/2.jpg", "0.jpg")
    found = entries([str(tmp_path / name) for name in ("b", "a", "0.jpg")])
    assert [Path(entry.path).name for entry in found] == ["1.jpg", "2.jpg", "0.jpg"]


def test_a_manifest_names_its_paths_with_metadata_that_holds(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label\nsub/../a.jpg,1\n,2\n")
    good, bad = entries([str(tmp_path / "m.csv")])
    assert good == Entry(str(tmp_path / "a.jpg"), str(tmp_path / "m.csv"), {"label": 1}, authoritative=True)
    assert (bad.path, bad.reason) == (f"{tmp_path / 'm.csv'}#2", "bad-row")


def test_a_missing_source_is_named_before_anything_is_done(tmp_path: Path) -> None:
    sources.check([str(tmp_path), "-"])
    with pytest.raises(UsageError, match=r"nowhere: no such file or folder"):
        sources.check([str(tmp_path), str(tmp_path / "nowhere")])


def named_by(stdin: bytes, monkeypatch: pytest.MonkeyPatch, buffer: int = io.DEFAULT_BUFFER_SIZE) -> list[bytes]:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin), buffer)))
    return [os.fsencode(entry.path) for entry in entries(["-"])]


@pytest.mark.parametrize(
    ("stdin", "expected"),
    [
        (b"/a.jpg\n/b.jpg\n", [b"/a.jpg", b"/b.jpg"]),
        (b"/a.jpg\n\n/b.jpg", [b"/a.jpg", b"/b.jpg"]),
        (b"/a.jpg\0/b.jpg\0", [b"/a.jpg", b"/b.jpg"]),
        (b"/a.jpg\0/new\nline.jpg\0", [b"/a.jpg", b"/new\nline.jpg"]),
        (b"/new\nline.jpg\0/a.jpg\0", [b"/new\nline.jpg", b"/a.jpg"]),
        (b"/\xff.jpg\n/a b.jpg\n", [b"/\xff.jpg", b"/a b.jpg"]),
        (b"", []),
        (b"\n", []),
    ],
)
def test_standard_input_has_a_path_a_line_or_ended_by_nul(
    stdin: bytes, expected: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert named_by(stdin, monkeypatch) == expected


@given(
    st.lists(st.binary(min_size=1, max_size=30).filter(lambda name: b"\0" not in name), min_size=1), st.integers(64, 99)
)
def test_whatever_print0_writes_is_read(paths: list[bytes], buffer: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        found = named_by(b"".join(b"/" + path + b"\0" for path in paths), patch, buffer)
    assert found == [os.path.abspath(b"/" + path) for path in paths]  # noqa: PTH100


def test_relative_paths_on_standard_input_start_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert named_by(b"a.jpg\n./b/../c.jpg\n", monkeypatch) == [bytes(tmp_path / "a.jpg"), bytes(tmp_path / "c.jpg")]


# The scan: what is new


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
