"""Shards of pictures: what is read from them in order, one by one, and when they are damaged."""

from __future__ import annotations

import gc
import io
import json
import random
import tarfile
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visearch import shards, sources
from visearch.errors import ImageError
from visearch.shards import Member, ShardError


def tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return buffer.getvalue()


def parquet(columns: Mapping[str, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), buffer, **options)
    return buffer.getvalue()


def members(name: str, data: bytes) -> list[Member]:
    return list(shards.members(name, io.BytesIO(data)))


def until_damage(name: str, data: bytes) -> list[Member]:
    """What is read before the shard turns out to be damaged."""
    found = []
    with pytest.raises(ShardError):
        for member in shards.members(name, io.BytesIO(data)):
            found.append(member)
    return found


def test_pictures_of_a_tar_have_the_metadata_beside_them_and_other_files_are_no_pictures() -> None:
    data = tar(
        {
            "a/0001.json": json.dumps({"title": "Chair", "price": 3.5, "nothing": None}).encode(),
            "a/0001.jpg": b"one",
            "a/0001.txt": b" a red chair\n",
            "a/0002.PNG": b"two",
            "README.md": b"words",
            "a/._0003.jpg": b"left by a Mac",
            "b/0001.jpg": b"three",
        }
    )
    assert members("x.tar", data) == [
        Member("a/0001.jpg", b"one", {"title": "Chair", "price": 3.5, "caption": "a red chair"}),
        Member("a/0002.PNG", b"two"),
        Member("b/0001.jpg", b"three"),
    ]


def test_metadata_that_is_no_json_leaves_the_picture_without() -> None:
    assert members("x.tar", tar({"1.jpg": b"one", "1.json": b"{"})) == [Member("1.jpg", b"one")]


def test_a_picture_that_is_empty_or_too_large_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEARCH_MAX_FILE_MEGABYTES", "0.001")
    data = tar({"1.jpg": bytes(1001), "2.jpg": bytes(1000), "3.jpg": b""})
    assert [member.reason for member in members("x.tar", data)] == ["too-large", "", "empty"]
    rows = parquet({"jpg": pa.array([bytes(1001), bytes(1000), None])})
    assert [member.reason for member in members("x.parquet", rows)] == ["too-large", "", "empty"]


@pytest.mark.parametrize("column", ["jpg", "image_bytes", "png"])
def test_rows_of_img2dataset_are_pictures_with_their_other_columns(column: str) -> None:
    data = parquet({column: [b"one", b"two"], "key": ["0", "1"], "caption": ["a chair", None], "width": [10, 20]})
    assert members("x.parquet", data) == [
        Member("0", b"one", {"key": "0", "caption": "a chair", "width": 10}),
        Member("1", b"two", {"key": "1", "width": 20}),
    ]


def test_rows_of_hugging_face_have_their_bytes_in_a_struct() -> None:
    data = parquet({"image": [{"bytes": b"one", "path": "1.jpg"}, {"bytes": None, "path": "2.jpg"}], "label": [3, 4]})
    first, second = members("x.parquet", data)
    assert first == Member("0", b"one", {"label": 3})
    assert (second.name, second.reason) == ("1", "empty")


def test_a_row_with_a_value_that_python_cannot_hold_is_a_picture_without_metadata() -> None:
    days = pa.array([0, 2**30, 1], pa.int32()).cast(pa.date32())  # the second is in the year 2,941,758
    found = members("x.parquet", parquet({"jpg": [b"a", b"b", b"c"], "day": days}))
    assert [(each.data, each.metadata) for each in found] == [
        (b"a", {"day": "1970-01-01"}),
        (b"b", {}),
        (b"c", {"day": "1970-01-02"}),
    ]


def test_a_parquet_file_of_paths_is_no_shard() -> None:
    assert not shards.is_shard("x.parquet", io.BytesIO(parquet({"path": ["a.jpg"], "image": ["text"]})))
    assert shards.is_shard("x.parquet", io.BytesIO(parquet({"path": ["a.jpg"], "image": [b"one"]})))


@given(st.lists(st.binary(min_size=1, max_size=2000), min_size=1, max_size=50), st.integers(1, 9))
def test_each_picture_can_be_read_again_by_its_name(pictures: list[bytes], group: int) -> None:
    for name, data in (
        ("x.tar", tar({f"{number:03}.jpg": each for number, each in enumerate(pictures)})),
        ("x.parquet", parquet({"jpg": pa.array(pictures, pa.binary())}, row_group_size=group)),
    ):
        found = members(name, data)
        assert [member.data for member in found] == pictures
        for member in random.Random(0).sample(found, min(5, len(found))):
            assert shards.read_member(name, io.BytesIO(data), member.name) == member.data


def test_what_is_not_in_a_shard_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar({"1.jpg": b"one"}))
    (tmp_path / "x.parquet").write_bytes(parquet({"jpg": [b"one"]}))
    assert sources.read(f"{tmp_path}/x.tar#1.jpg") == b"one"
    assert sources.read(f"{tmp_path}/x.parquet#0") == b"one"
    for name in ("x.tar#2.jpg", "x.parquet#1", "x.parquet#one", "gone.tar#1.jpg"):
        with pytest.raises(ImageError) as error:
            sources.read(f"{tmp_path}/{name}")
        assert error.value.reason == "unreadable"


def test_a_file_whose_own_name_looks_like_a_member_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "x.tar#1.jpg").write_bytes(b"itself")
    assert sources.read(f"{tmp_path}/x.tar#1.jpg") == b"itself"


FILES = {f"{number:03}.jpg": random.Random(number).randbytes(3000) for number in range(8)}


@pytest.mark.parametrize("cut", [5000, 7000, 9000])
def test_a_tar_that_was_cut_off_gives_what_is_whole(cut: int) -> None:
    found = until_damage("x.tar", tar(FILES)[:cut])
    assert {member.name: member.data for member in found}.items() <= FILES.items()


def test_a_tar_with_a_damaged_header_says_so_where_tarfile_ends_in_silence() -> None:
    data = bytearray(tar(FILES))
    third = 2 * (512 + 3072)
    data[third : third + 512] = random.Random(1).randbytes(512)
    assert [member.name for member in until_damage("x.tar", bytes(data))] == ["000.jpg", "001.jpg"]


def test_a_damaged_row_group_does_not_stop_the_others() -> None:
    data = bytearray(parquet({"jpg": list(FILES.values())}, row_group_size=2, compression="zstd"))
    metadata = pq.ParquetFile(io.BytesIO(bytes(data))).metadata
    start = metadata.row_group(1).column(0).data_page_offset
    data[start : start + 64] = bytes(64)
    found = until_damage("x.parquet", bytes(data))
    assert [member.name for member in found] == ["0", "1", "4", "5", "6", "7"]


@pytest.mark.parametrize("name", ["x.tar", "x.parquet"])
@given(content=st.binary(max_size=3000))
def test_anything_else_is_damaged_and_nothing_worse(name: str, content: bytes) -> None:
    try:
        assert all(not member.data for member in members(name, content))
    except ShardError as error:
        assert "\n" not in error.message


def test_a_large_shard_is_read_in_little_memory(tmp_path: Path) -> None:
    pictures = [bytes([number]) * 500_000 for number in range(100)]  # 50 MB
    (tmp_path / "x.tar").write_bytes(tar({f"{number}.jpg": each for number, each in enumerate(pictures)}))
    pages = {"write_batch_size": 4, "data_page_size": 1_000_000}  # else pyarrow makes one page of 1,024 rows
    (tmp_path / "x.parquet").write_bytes(parquet({"jpg": pictures}, compression=None, use_dictionary=False, **pages))
    for name in ("x.tar", "x.parquet"):
        gc.collect()
        tracemalloc.start()
        arrow = pa.total_allocated_bytes()
        most = 0
        try:
            with (tmp_path / name).open("rb") as file:
                count = 0
                for _ in shards.members(name, file):
                    count += 1
                    most = max(most, pa.total_allocated_bytes() - arrow)
            assert count == 100
            assert tracemalloc.get_traced_memory()[1] + most < 25_000_000
        finally:
            tracemalloc.stop()
