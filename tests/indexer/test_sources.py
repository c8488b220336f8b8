"""Sources: which pictures folders, files, manifests and standard input name."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import sources
from indexer.sources import Entry, entries
from visearch import images
from visearch.errors import UsageError


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
