"""The files of a base: whole or not at all, and told by name when they are not as they were written."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from tests.brute import clustered
from visearch.errors import IndexFileError
from visearch.filters import Filter
from visearch.index import Base, BaseInfo, Index, write_base

BITS = 64
FILES = ("meta.json", "flat.faiss", "rows.bin", "columns.bin")
LISTS = "lists.faiss"  # of a base that is not flat


def write(folder: Path, count: int = 500, flat_up_to: int = 0) -> BaseInfo:
    ids = np.arange(count)
    return write_base(
        folder,
        clustered(count, BITS, clusters=8, seed=3),
        ids,
        ids,
        np.zeros(count, np.int32),
        ({"label": f"l{number % 5}"} for number in range(count)),
        recall_target=0.9,
        flat_up_to=flat_up_to,
        seed=0,
    )


@pytest.fixture(params=[0, 10**6], ids=["lists", "flat"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    write(tmp_path / "base", flat_up_to=request.param)
    return tmp_path / "base"


def change(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite the meta file."""
    meta = json.loads((folder / "meta.json").read_text())
    edit(meta)
    (folder / "meta.json").write_text(json.dumps(meta))


def test_a_base_is_its_files_and_nothing_beside_it(folder: Path) -> None:
    found = {path.name for path in folder.iterdir()}
    assert found - {LISTS} == set(FILES)
    assert (LISTS in found) == (Base.open(folder).info.lists > 0)
    assert [path.name for path in folder.parent.iterdir()] == ["base"]
    Base.open(folder).verify()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(IndexFileError, match=f"{name}.*cannot be read"):
        Base.open(folder)


def test_faiss_reads_what_was_written(folder: Path) -> None:
    flat = faiss.read_index_binary(str(folder / "flat.faiss"))
    assert (type(flat), flat.ntotal, flat.d) == (faiss.IndexBinaryFlat, 500, BITS)
    if (folder / LISTS).exists():
        lists = faiss.read_index_binary(str(folder / LISTS))
        assert (type(lists), lists.ntotal, lists.d) == (faiss.IndexBinaryIVF, 500, BITS)


@pytest.mark.parametrize("left", [0, 1, 100, -1])
def test_truncated_lists_are_named(tmp_path: Path, left: int) -> None:
    write(tmp_path / "base")
    path = tmp_path / "base" / LISTS
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(IndexFileError, match=LISTS):
        Base.open(tmp_path / "base")


@pytest.mark.parametrize("name", ["flat.faiss", LISTS])
def test_a_file_of_the_right_size_that_is_no_index_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path / "base")
    path = tmp_path / "base" / name
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(IndexFileError, match=name):
        Base.open(tmp_path / "base")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(IndexFileError, match="nowhere"):
        Base.open(tmp_path / "nowhere")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("left", [0, 1, 100, -1])
def test_a_truncated_file_is_named(folder: Path, name: str, left: int) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(IndexFileError, match=name):
        Base.open(folder)


@pytest.mark.parametrize("name", FILES[1:])
def test_a_flipped_bit_is_found_by_verify(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(IndexFileError, match=f"{name}.*checksum"):
        Base.open(folder).verify()


def test_a_future_format_names_both_numbers(folder: Path) -> None:
    change(folder, lambda meta: meta.update(format=99))
    with pytest.raises(IndexFileError, match="format 99, this version reads 1"):
        Base.open(folder)


@pytest.mark.parametrize(
    "edit",
    [
        lambda meta: meta.pop("format"),
        lambda meta: meta.pop("info"),
        lambda meta: meta.update(info=None),
        lambda meta: meta["info"].update(rows=7),
        lambda meta: meta["info"].update(bits=72),
        lambda meta: meta["info"].update(lists=3),
        lambda meta: meta["info"].update(surprise=1),
        lambda meta: meta["files"].pop("flat.faiss"),
        lambda meta: meta["files"]["flat.faiss"].pop("bytes"),
        lambda meta: meta["files"]["rows.bin"].update(arrays=[]),
        lambda meta: meta["files"]["rows.bin"]["arrays"].pop("code_ids"),
        lambda meta: meta["files"]["rows.bin"]["arrays"].update(code_ids=["<i8", [10**9], 0]),
        lambda meta: meta["files"]["rows.bin"]["arrays"].update(code_ids=["nonsense", [1], 0]),
        lambda meta: meta["files"]["columns.bin"].pop("bytes"),
        lambda meta: meta["files"]["columns.bin"].pop("keys"),
    ],
)
def test_a_damaged_meta_file_is_an_error_in_one_line(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    change(folder, edit)
    with pytest.raises(IndexFileError) as raised:
        Base.open(folder)
    assert "\n" not in raised.value.message


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"3"])
def test_a_meta_file_that_is_something_else(folder: Path, content: bytes) -> None:
    (folder / "meta.json").write_bytes(content)
    with pytest.raises(IndexFileError, match=r"meta\.json"):
        Base.open(folder)


def test_what_a_killed_writer_left_is_replaced(tmp_path: Path) -> None:
    leftover = tmp_path / "base.partial"
    leftover.mkdir()
    (leftover / "rows.bin").write_bytes(b"half")
    write(tmp_path / "base")
    assert not leftover.exists()
    Base.open(tmp_path / "base").verify()


def test_a_full_disk_is_one_line_and_leaves_the_old_base(tmp_path: Path) -> None:
    write(tmp_path / "base", count=100)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(IndexFileError, match="base: cannot be written: "):
            write(tmp_path / "base", count=2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
    assert Base.open(tmp_path / "base").rows == 100


def test_an_error_in_the_metadata_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Any:
        yield {}
        raise RuntimeError("the store went away")

    with pytest.raises(RuntimeError, match="went away"):
        write_base(
            tmp_path / "base", np.zeros((2, 8), np.uint8), np.arange(2), np.arange(2), np.zeros(2, np.int32), broken(),
            recall_target=0.9, flat_up_to=0, seed=0,
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_the_same_codes_and_seed_give_the_same_files(tmp_path: Path) -> None:
    write(tmp_path / "one")
    write(tmp_path / "two")
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("flat_up_to", [0, 10**6], ids=["lists", "flat"])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 21])
def test_bases_of_few_rows(tmp_path: Path, count: int, flat_up_to: int) -> None:
    write(tmp_path / "base", count, flat_up_to)
    base = Base.open(tmp_path / "base")
    base.verify()
    index = Index.open(base, BITS)
    assert len(index.search(np.zeros(8, np.uint8), 100).item_ids) == count
    labelled = index.search(np.zeros(8, np.uint8), 100, filter=Filter.parse({"label": "l1"}))
    assert sorted(labelled.item_ids.tolist()) == list(range(1, count, 5))
