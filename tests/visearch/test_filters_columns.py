"""Packed columns select what `Filter.matches`, the plain definition, selects."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from visearch.columns import Columns, write_columns
from visearch.errors import IndexFileError
from visearch.filters import Filter

numbers = (
    st.integers(-3, 3)
    | st.sampled_from([-0.0, 0.5, 1e300, 10**400, -(10**400), 2**53, 2**53 + 1, float(2**53)])
    | st.floats(allow_nan=False)
)
scalars = st.none() | st.booleans() | numbers | st.sampled_from(["", "a", "1", "True", "None", "\ud800"])
odd = st.just(float("nan")) | st.just({"a": 1}) | st.just([[1]]) | st.just(b"a")
values = scalars | odd | st.lists(scalars | odd, max_size=3)
items = st.lists(st.dictionaries(st.sampled_from(["p", "q", "r", ""]), values, max_size=4), max_size=20)
ranges = st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), numbers, min_size=1, max_size=3)
there = st.just({"exists": True})
conditions = scalars | st.lists(scalars, max_size=3) | ranges | there
filters = st.dictionaries(st.sampled_from(["p", "q", "", "absent"]), conditions)


def columns_of(folder: Path, metadata: list[Mapping[str, object]], row_of: list[int] | None = None) -> Columns:
    placed = None if row_of is None else np.array(row_of, np.uint32)
    description = write_columns(folder / "columns", metadata, placed)
    return Columns(folder / "columns", description, len(metadata))


@given(items, filters)
@example([{"p": 1}, {"p": True}, {"p": 1.0}, {"p": "1"}], {"p": 1})
@example([{"p": 2**53 + 1}, {"p": 2**53}], {"p": {"gt": 2**53}})
def test_columns_agree_with_the_definition(metadata: list[Mapping[str, object]], conditions: object) -> None:
    filter = Filter.parse(conditions)
    with tempfile.TemporaryDirectory() as folder:
        selected = columns_of(Path(folder), metadata).select(filter)
    assert selected.tolist() == [filter.matches(mapping) for mapping in metadata]


@given(st.data(), items, filters)
def test_rows_in_another_order_than_the_metadata(
    data: st.DataObject, metadata: list[Mapping[str, object]], conditions: object
) -> None:
    filter = Filter.parse(conditions)
    row_of = data.draw(st.permutations(range(len(metadata))))
    with tempfile.TemporaryDirectory() as folder:
        selected = columns_of(Path(folder), metadata, row_of).select(filter)
    assert selected[row_of].tolist() == [filter.matches(mapping) for mapping in metadata]


def test_rows_beyond_the_base_are_told_as_damage(tmp_path: Path) -> None:
    description = write_columns(tmp_path / "columns", [{"p": 1}] * 9, None)
    columns = Columns(tmp_path / "columns", description, rows=3)
    with pytest.raises(IndexFileError, match="damaged"):
        columns.select(Filter.parse({"p": 1}))
