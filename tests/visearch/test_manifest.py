"""Manifests: CSV, JSONL and Parquet rows become paths beside the manifest and metadata that can be filtered."""

from __future__ import annotations

import datetime
import decimal
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visearch.errors import UsageError
from visearch.manifest import Row, is_manifest, read_manifest
from visearch.store import metadata_hash


def csv(folder: Path, text: str, encoding: str = "utf-8") -> list[Row]:
    path = folder / "m.csv"
    path.write_bytes(text.encode(encoding))
    return list(read_manifest(path))


def jsonl(folder: Path, *lines: object) -> list[Row]:
    path = folder / "m.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return list(read_manifest(path))


def parquet(folder: Path, columns: dict[str, list[Any]]) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), folder / "m.parquet")
    return list(read_manifest(folder / "m.parquet"))


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("a.csv", True), ("a.CSV", True), ("a.jsonl", True), ("a.parquet", True), ("a.json", False), ("csv", False)],
)
def test_the_suffix_says_that_it_is_a_manifest(name: str, is_one: bool) -> None:
    assert is_manifest(Path(name)) is is_one


# Paths


def test_paths_are_relative_to_the_manifest(tmp_path: Path) -> None:
    rows = csv(tmp_path, "path\na.jpg\nsub/b.jpg\n/abs/c.jpg\n../d.jpg\n")
    assert [row.path for row in rows] == [
        tmp_path / "a.jpg",
        tmp_path / "sub" / "b.jpg",
        Path("/abs/c.jpg"),
        tmp_path / ".." / "d.jpg",
    ]
    assert [row.number for row in rows] == [1, 2, 3, 4]


def test_a_row_without_a_path_is_a_problem_and_not_the_end(tmp_path: Path) -> None:
    rows = csv(tmp_path, "path,label\na.jpg,x\n,y\nc.jpg,z\n")
    assert [row.path and row.path.name for row in rows] == ["a.jpg", None, "c.jpg"]
    assert "path" in rows[1].problem


@pytest.mark.parametrize("name", [None, 7, "", ["a.jpg"], "a\0.jpg", "\ud83d.jpg"])
def test_what_cannot_be_a_path_is_a_problem(tmp_path: Path, name: object) -> None:
    good, bad = jsonl(tmp_path, {"path": "a.jpg"}, {"path": name})
    assert good.path == tmp_path / "a.jpg"
    assert bad.path is None
    assert bad.problem


def test_a_name_that_is_not_utf8_can_be_written_as_python_writes_it(tmp_path: Path) -> None:
    (row,) = jsonl(tmp_path, {"path": os.fsdecode(b"\xff.jpg")})
    assert row.path is not None
    assert os.fsencode(row.path.name) == b"\xff.jpg"


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_a_manifest_needs_a_path_column(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name}: .*no `path` column"):
        csv(tmp_path, "file,label\na,b\n") if name == "m.csv" else parquet(tmp_path, {"file": ["a"]})


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.parquet"])
def test_a_manifest_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name}: cannot be read \(.*[Nn]o such file"):
        list(read_manifest(tmp_path / name))


# CSV


def test_csv_numbers_are_numbers_and_the_rest_is_text(tmp_path: Path) -> None:
    (row,) = csv(tmp_path, "path,a,b,c,d,e,f,g,h\na.jpg,5,-2.50,007,1e5,12345678901234567,,true,+3\n")
    assert row.metadata == {
        "a": 5, "b": -2.5, "c": "007", "d": "1e5", "e": "12345678901234567", "g": "true", "h": "+3"
    }  # fmt: skip
    assert type(row.metadata["a"]) is int


def test_a_csv_path_of_digits_is_a_path(tmp_path: Path) -> None:
    assert [row.path for row in csv(tmp_path, "path,n\n123,1\n1.5,2\n")] == [tmp_path / "123", tmp_path / "1.5"]


def test_csv_of_spreadsheets_is_read(tmp_path: Path) -> None:
    (row,) = csv(tmp_path, 'path,title\r\n"a, b.jpg","a ""big""\nchair"\r\n', "utf-8-sig")
    assert row.path == tmp_path / "a, b.jpg"
    assert row.metadata == {"title": 'a "big"\nchair'}


def test_csv_rows_may_be_short_or_long(tmp_path: Path) -> None:
    short, long = csv(tmp_path, "path,a,b\nx.jpg,1\ny.jpg,1,2,3,4\n")
    assert short.metadata == {"a": 1}
    assert long.metadata == {"a": 1, "b": 2}


def test_csv_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"m\.csv: not a CSV file in UTF-8"):
        csv(tmp_path, "path,title\na.jpg,caf\xe9\n", "latin-1")


def test_an_empty_csv_has_no_path_column(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no `path` column"):
        csv(tmp_path, "")


# JSONL


def test_jsonl_values_keep_their_types(tmp_path: Path) -> None:
    values = {"a": 5, "b": 5.0, "c": "5", "d": True, "e": ["x", 1, False], "f": ""}
    (row,) = jsonl(tmp_path, {"path": "a.jpg", **values, "n": None})
    assert row.metadata == {key: value for key, value in values.items() if key != "f"}
    assert [type(row.metadata[key]) for key in "abcd"] == [int, float, str, bool]


@pytest.mark.parametrize("line", ["{", "[1]", "7", "nonsense", '{"path": "a.jpg"', "[" * 100_000])
def test_a_broken_line_does_not_stop_the_others(tmp_path: Path, line: str) -> None:
    rows = jsonl(tmp_path, {"path": "a.jpg"}, line, {"path": "c.jpg"})
    assert [bool(row.problem) for row in rows] == [False, True, False]
    assert rows[1].path is None


def test_lists_are_kept_as_deep_as_anyone_could_use_them(tmp_path: Path) -> None:
    deep = '{"path": "a.jpg", "x": ' + "[" * 900 + "]" * 900 + ', "y": [[[1]]]}'
    (row,) = jsonl(tmp_path, deep)
    assert row.path == tmp_path / "a.jpg"
    assert row.metadata["y"] == [[[1]]]
    metadata_hash(row.metadata)  # as it is stored


def test_blank_lines_are_nothing(tmp_path: Path) -> None:
    assert [row.number for row in jsonl(tmp_path, "", {"path": "a"}, "  ", {"path": "b"}, "")] == [1, 2]


def test_infinity_and_nan_are_left_out(tmp_path: Path) -> None:
    (row,) = jsonl(tmp_path, '{"path": "a.jpg", "x": NaN, "y": -Infinity, "z": [1.5, NaN]}')
    assert row.metadata == {"z": [1.5]}


def test_an_integer_beyond_64_bits_becomes_text(tmp_path: Path) -> None:
    (row,) = jsonl(tmp_path, {"path": "a", "ean": 10**30, "fits": 2**63 - 1})
    assert row.metadata == {"ean": "1" + "0" * 30, "fits": 2**63 - 1}


def test_objects_become_json_text(tmp_path: Path) -> None:
    (row,) = jsonl(tmp_path, {"path": "a", "size": {"w": 3, "unit": "cm"}})
    assert json.loads(str(row.metadata["size"])) == {"w": 3, "unit": "cm"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(st.characters(), min_size=1), json_values, max_size=4))
def test_whatever_json_holds_can_be_stored(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    """Half surrogate pairs, huge integers, nested lists: text and numbers that the store takes."""
    rows = jsonl(tmp_path_factory.mktemp("json"), {**values, "path": "a.jpg"})
    assert [row.problem for row in rows] == [""]
    assert len(metadata_hash(rows[0].metadata)) == 4


# Parquet


def test_parquet_values_keep_their_types(tmp_path: Path) -> None:
    first, second = parquet(
        tmp_path,
        {
            "path": ["a.jpg", "b.jpg"],
            "n": [1, None],
            "x": [0.5, float("nan")],
            "tags": [["a", "b"], []],
            "on": [True] * 2,
        },
    )
    assert first.metadata == {"n": 1, "x": 0.5, "tags": ["a", "b"], "on": True}
    assert second.metadata == {"tags": [], "on": True}
    assert second.path == tmp_path / "b.jpg"


def test_parquet_dates_and_decimals_become_text_and_numbers(tmp_path: Path) -> None:
    (row,) = parquet(
        tmp_path,
        {
            "path": ["a.jpg"],
            "day": [datetime.date(2024, 2, 29)],
            "moment": [datetime.datetime(2024, 2, 29, 12, 30)],
            "price": [decimal.Decimal("19.90")],
            "raw": [b"\xff\0"],
            "size": [{"w": 3}],
        },
    )
    assert row.metadata["day"] == "2024-02-29"
    assert row.metadata["moment"] == "2024-02-29T12:30:00"
    assert row.metadata["price"] == 19.9
    assert metadata_hash(row.metadata)


def test_a_parquet_value_that_python_cannot_hold_stops_no_other_row(tmp_path: Path) -> None:
    file = tmp_path / "m.parquet"
    days = pa.array([0, 2**30, 1], pa.int32()).cast(pa.date32())  # the second is in the year 2,941,758
    pq.write_table(pa.table({"path": ["a.jpg", "b.jpg", "c.jpg"], "day": days}), file)
    first, second, third = read_manifest(file)
    assert (first.path, third.path) == (tmp_path / "a.jpg", tmp_path / "c.jpg")
    assert first.metadata == {"day": "1970-01-01"}
    assert (second.path, "cannot be read" in second.problem) == (None, True)


def test_a_file_that_is_not_parquet_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(UsageError, match=r"m\.parquet: not a Parquet file"):
        list(read_manifest(tmp_path / "m.parquet"))
