"""The store: what was written is there, whole, after closing, for every process; what is not right is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visearch import codes
from visearch.environment import in_use
from visearch.errors import StoreError
from visearch.store import (
    BLOCK_ROWS,
    OWNER,
    REMOVED_ITEM,
    Failure,
    Generation,
    Item,
    Reader,
    Store,
    Writer,
    metadata_hash,
    source_key,
)

BITS = 64
GENERATION = Generation(1, "tiny", "1", "0" * 64, BITS, "openvino", "float32", "CPU")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store", create=True)
    with opened.write() as writer:
        writer.put_generation(GENERATION)
        writer.activate(1)
    yield opened
    opened.close()


def item(item_id: int, source: str | None = None, **changes: Any) -> Item:
    values: dict[str, Any] = {
        "size": 100, "mtime_ns": 7, "content": bytes([item_id % 256] * 32), "width": 40, "height": 30,
        "origin": "/pics", "metadata": {"label": "chair"},
    } | changes  # fmt: skip
    return Item(item_id, source or f"/pics/{item_id}.jpg", **values)


def rows(count: int, seed: int = 0) -> tuple[codes.U8, codes.U8]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, BITS // 8), np.uint8), random.integers(0, 256, (count, BITS + 2), np.uint8)


def add(writer: Writer, *item_ids: int, seed: int = 0) -> codes.I64:
    """Items with a code each."""
    packed, vectors = rows(len(item_ids), seed)
    for item_id in item_ids:
        writer.put_item(item(item_id))
    return writer.append_codes(1, np.array([(item_id, 0) for item_id in item_ids], OWNER), packed, vectors)


def generation(reader: Reader) -> Generation:
    found = reader.generation()
    assert found is not None
    return found


# Items and the ways to find them


def test_an_item_comes_back_as_it_was_put(store: Store) -> None:
    metadata = {"label": "chair", "price": 9.5, "n": -3, "on": True, "tags": ["a", 1], "none": None}
    put = item(5, "/pics/ü\n.jpg", metadata=metadata, regions=((0.0, 0.0, 1.0, 1.0), (0.1, 0.2, 0.3, 0.4)))
    with store.write() as writer:
        writer.put_item(put)
    with store.read() as reader:
        assert reader.item(5) == put
        assert list(reader.items()) == [put]
        assert reader.items_with_content(put.content) == [5]
        known = reader.known(put.source)
    assert known is not None
    assert (known.item_id, known.size, known.mtime_ns) == (5, 100, 7)
    assert known.metadata_hash == metadata_hash(metadata)


@pytest.mark.parametrize("item_id", [0, 2, -1, 10**20, -(10**20)])
def test_an_item_that_is_not_there_is_none(store: Store, item_id: int) -> None:
    with store.write() as writer:
        add(writer, 1)
    with store.read() as reader:
        assert reader.item(item_id) is None
        assert len(reader.code_ids(1, item_id)) == 0


SOURCES = [
    "/pics/a.jpg",
    "/pics/" + "long/" * 500 + "1.jpg",
    "/pics/" + "long/" * 500 + "2.jpg",
    "/pics/new\nline.jpg",
    os.fsdecode(b"/pics/\xff\xfe.jpg"),
    "/pics/日本語 😀.jpg",
    "/pics/" + "ü" * 220 + ".jpg",
]


def test_every_path_has_an_entry_of_its_own(store: Store) -> None:
    with store.write() as writer:
        for number, source in enumerate(SOURCES, 1):
            writer.put_item(item(number, source))
    with store.read() as reader:
        found = [reader.known(source) for source in SOURCES]
        assert [known and known.item_id for known in found] == list(range(1, len(SOURCES) + 1))
        assert [each.source for each in reader.items()] == SOURCES
        assert sorted(reader.item_ids_below("/pics/")) == list(range(1, len(SOURCES) + 1))
        assert list(reader.item_ids_below("/pic/")) == []
        assert list(reader.item_ids_below("/pics/new/")) == []


@given(st.text(st.characters(codec="utf-8"), max_size=600), st.text(st.characters(codec="utf-8"), max_size=600))
def test_keys_of_sources_fit_lmdb_and_differ(left: str, right: str) -> None:
    assert len(source_key(left)) <= 511
    assert (source_key(left) == source_key(right)) == (left == right)


def test_an_item_under_a_new_source_is_not_found_under_the_old(store: Store) -> None:
    with store.write() as writer:
        writer.put_item(item(1, "/pics/old.jpg"))
        writer.put_item(item(1, "/pics/new.jpg", content=b"\7" * 32))
    with store.read() as reader:
        assert reader.known("/pics/old.jpg") is None
        assert reader.items_with_content(b"\1" * 32) == []
        assert reader.items_with_content(b"\7" * 32) == [1]
        assert reader.item_count() == 1


def test_equal_contents_are_told_apart(store: Store) -> None:
    with store.write() as writer:
        for number in (3, 1, 2):
            writer.put_item(item(number, content=b"\0" * 32))
        writer.remove_item(2)
    with store.read() as reader:
        assert reader.items_with_content(b"\0" * 32) == [1, 3]


def test_metadata_hash_ignores_the_order_of_keys_only() -> None:
    assert metadata_hash({"a": 1, "b": 2}) == metadata_hash({"b": 2, "a": 1})
    different: list[dict[str, Any]] = [{"a": 1}, {"a": "1"}, {"a": 1.5}, {"a": True}, {"a": None}, {}, {"b": 1}]
    assert len({metadata_hash(values) for values in different}) == len(different)


def test_a_failure_is_kept_until_the_source_becomes_an_item(store: Store) -> None:
    failure = Failure("/pics/1.jpg", "corrupt", "cut off", 10, 20, "pillow 1", "/pics")
    with store.write() as writer:
        writer.put_failure(failure)
    with store.read() as reader:
        assert reader.failure("/pics/1.jpg") == failure
        assert list(reader.failures()) == [failure]
    with store.write() as writer:
        writer.put_item(item(1))
    with store.read() as reader:
        assert reader.failure("/pics/1.jpg") is None


# Codes


@pytest.mark.parametrize("counts", [[1], [BLOCK_ROWS], [BLOCK_ROWS + 1], [3, BLOCK_ROWS, 1, 2 * BLOCK_ROWS, 5]])
def test_codes_come_back_whatever_batches_they_came_in(store: Store, counts: list[int]) -> None:
    packed, vectors = rows(sum(counts))
    position = 0
    for count in counts:
        part = slice(position, position + count)
        owners = np.array([(number, 0) for number in range(position + 1, position + count + 1)], OWNER)
        with store.write() as writer:
            given_ids = writer.append_codes(1, owners, packed[part], vectors[part])
        assert given_ids.tolist() == list(range(position, position + count))
        position += count
    with store.read() as reader:
        current = generation(reader)
        assert current.next_code == sum(counts)
        for first in (0, 1, sum(counts) // 2, sum(counts)):
            blocks = list(reader.code_rows(current, first))
            assert np.array_equal(np.concatenate([packed[:0], *(block.codes for block in blocks)]), packed[first:])
            ids = [int(code_id) for block in blocks for code_id in block.code_ids]
            assert ids == list(range(first, sum(counts)))
            parts = list(reader.vector_rows(current, first))
            assert np.array_equal(np.concatenate([vectors[:0], *parts]), vectors[first:])
        asked = np.random.default_rng(1).permutation(sum(counts))
        assert np.array_equal(reader.codes_at(current, asked), packed[asked])
        assert np.array_equal(reader.vectors_at(current, asked), vectors[asked])


def test_the_regions_of_an_item_have_their_codes_in_order(store: Store) -> None:
    owners = np.array([(7, 0), (7, 1), (8, 0), (9, 0), (9, 1), (9, 2)], OWNER)
    with store.write() as writer:
        writer.append_codes(1, owners, *rows(6))
    with store.read() as reader:
        assert [reader.code_ids(1, number).tolist() for number in (7, 8, 9, 10)] == [[0, 1], [2], [3, 4, 5], []]


def test_removed_codes_are_marked_and_told_of(store: Store) -> None:
    with store.write() as writer:
        add(writer, 1, 2, 3)
    with store.read() as reader:
        before = reader.serial
    with store.write() as writer:
        assert writer.remove_item(2)
        assert not writer.remove_item(2)
    with store.read() as reader:
        owners = np.concatenate([block.owners["item_id"] for block in reader.code_rows(generation(reader))])
        assert owners.tolist() == [1, REMOVED_ITEM, 3]
        assert reader.removed_since(1, before).tolist() == [1]
        assert reader.removed_since(1, reader.serial).tolist() == []
        assert reader.item(2) is None
        assert reader.thumbnail(2) is None
        assert reader.known("/pics/2.jpg") is None


def test_naming_a_base_forgets_what_it_knows(store: Store) -> None:
    with store.write() as writer:
        add(writer, 1, 2, 3)
        writer.remove_item(1)
    with store.read() as reader:
        at_base = reader.serial
    with store.write() as writer:
        writer.remove_item(3)
    with store.write() as writer:
        writer.set_base(1, 4, at_base, "stamp")
    with store.read() as reader:
        assert (generation(reader).base, generation(reader).base_serial) == (4, at_base)
        assert reader.removed_since(1, 0).tolist() == [2]


def test_every_change_of_codes_moves_the_serial(store: Store) -> None:
    seen = []
    for change in (lambda writer: add(writer, 1), lambda writer: writer.remove_item(1), lambda writer: add(writer, 2)):
        with store.write() as writer:
            change(writer)
        with store.read() as reader:
            seen.append(reader.serial)
    assert seen == sorted(set(seen))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["add", "remove", "reopen"]), st.integers(1, 12)), max_size=40))
def test_any_sequence_of_changes_equals_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """The store against the plainest thing that could hold the same: item -> (record, code)."""
    folder = tmp_path_factory.mktemp("steps") / "store"
    opened = Store(folder, create=True)
    with opened.write() as writer:
        writer.put_generation(GENERATION)
        writer.activate(1)
    expected: dict[int, tuple[Item, bytes]] = {}
    for seed, (what, item_id) in enumerate(steps):
        if what == "reopen":
            opened.close()
            opened = Store(folder)
            continue
        with opened.write() as writer:
            if what == "remove":
                assert writer.remove_item(item_id) == (expected.pop(item_id, None) is not None)
            else:
                writer.remove_codes(generation(writer), item_id)
                add(writer, item_id, seed=seed)
                expected[item_id] = (item(item_id), rows(1, seed)[0].tobytes())
    with opened.read() as reader:
        current = generation(reader)
        found = {
            each.item_id: (each, reader.codes_at(current, reader.code_ids(1, each.item_id)).tobytes())
            for each in reader.items()
        }
        live = [owner for block in reader.code_rows(current) for owner in block.owners["item_id"] if owner != -1]
    opened.close()
    assert found == expected
    assert sorted(live) == sorted(expected)


# Transactions, processes


def test_a_change_that_fails_has_not_happened(store: Store) -> None:
    with pytest.raises(RuntimeError, match="halfway"), store.write() as writer:
        add(writer, 1, 2)
        raise RuntimeError("halfway")
    with store.read() as reader:
        assert reader.item_count() == 0
        assert generation(reader).next_code == 0


def test_a_reader_sees_one_moment(store: Store) -> None:
    with store.write() as writer:
        add(writer, 1)
    with store.read() as reader:
        with store.write() as writer:
            add(writer, 2)
        assert reader.item_count() == 1
    with store.read() as reader:
        assert reader.item_count() == 2


def test_reserved_ids_are_nobody_elses(store: Store) -> None:
    code = (
        "import sys; from pathlib import Path; from visearch.store import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for _ in range(20):\n"
        "    with store.write() as writer: print(writer.reserve_item_ids(10))\n"
    )
    command = [sys.executable, "-c", code, str(store.path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    firsts = [int(line) for process in running for line in process.communicate(timeout=60)[0].split()]
    with store.write() as writer:
        firsts.append(writer.reserve_item_ids(10))
    assert sorted(firsts) == list(range(1, 411, 10))


def test_ids_of_removed_items_are_not_given_again(store: Store) -> None:
    with store.write() as writer:
        first = writer.reserve_item_ids(1)
        writer.put_item(item(first))
        writer.remove_item(first)
    with store.write() as writer:
        assert writer.reserve_item_ids(1) == first + 1


def test_a_copy_is_a_store(store: Store, tmp_path: Path) -> None:
    with store.write() as writer:
        add(writer, 1, 2)
    (tmp_path / "copy").mkdir()
    store.copy(tmp_path / "copy")
    copied = Store(tmp_path / "copy")
    with copied.read() as left, store.read() as right:
        assert list(left.items()) == list(right.items())
    copied.close()


def test_closing_leaves_others_in_the_process_at_work(store: Store) -> None:
    other = Store(store.path)
    other.close()
    other.close()
    with store.read() as reader:
        assert reader.item_count() == 0


def test_what_reads_goes_on_when_the_store_is_closed(store: Store) -> None:
    """As a server that ends: memory that is no longer mapped would end the process."""
    with store.write() as writer:
        add(writer, 1)
    with store.read() as reader:
        store.close()
        assert reader.item_count() == 1
    with pytest.raises(StoreError, match="was closed"), store.read():
        pass


# What cannot be opened


def test_no_store_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no collection here; `visearch index FOLDER` makes one"):
        Store(tmp_path / "nothing" / "store")


def test_a_store_of_another_format_is_refused_by_both_numbers(store: Store) -> None:
    with store.write() as writer:
        writer._set_meta("format", 9)
    store.close()
    with pytest.raises(StoreError, match="collection format 9, this visearch reads 1"):
        Store(store.path)


def test_a_record_of_another_version_is_refused_by_both_numbers(store: Store) -> None:
    with store.write() as writer:
        add(writer, 1)
        writer._put("items", (1).to_bytes(8), msgpack.packb([3, "something new"]))
    with store.read() as reader, pytest.raises(StoreError, match="record version 3, this visearch reads 2"):
        reader.item(1)


def test_an_item_of_record_version_1_is_read_as_one_in_which_no_objects_were_looked_for(store: Store) -> None:
    with store.write() as writer:
        add(writer, 1)
        new = writer.item(1)
        assert new is not None
        version, *values, detector = msgpack.unpackb(new.pack())
        assert (version, detector) == (2, "")
        writer._put("items", (1).to_bytes(8), msgpack.packb([1, *values]))
    with store.read() as reader:
        assert reader.item(1) == new


@pytest.mark.parametrize("content", [b"", b"nonsense" * 1000])
def test_a_file_that_is_no_store_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "data.mdb").write_bytes(content)
    try:
        Store(tmp_path / "store").close()
    except StoreError as error:
        assert str(tmp_path) in error.message
    else:
        assert not content


def test_a_truncated_store_is_told(store: Store) -> None:
    with store.write() as writer:
        for first in range(1, 2000, 100):
            add(writer, *range(first, first + 100))
    store.close()
    with (store.path / "data.mdb").open("r+b") as file:
        file.truncate(4096)
    with pytest.raises(StoreError, match=str(store.path.parent)):
        Store(store.path)


def test_a_store_that_may_not_be_written_is_read(store: Store) -> None:
    with store.write() as writer:
        add(writer, 1)
    store.close()
    opened = Store(store.path, readonly=True)
    with opened.read() as reader:
        assert reader.item_count() == 1
    with pytest.raises(StoreError, match="is read-only"), opened.write():
        pass
    opened.close()


def test_a_full_map_says_what_to_raise(tmp_path: Path) -> None:
    """The limit is what LMDB says of a map of 1 MB; the least the setting takes is 1 GB."""
    environment = lmdb.open(str(tmp_path / "store"), map_size=1 << 20)
    environment.close()
    opened = Store(tmp_path / "store", create=True)
    with in_use(opened.path.resolve()) as environment:
        environment.set_mapsize(1 << 20)
    with pytest.raises(StoreError, match="store is full; raise VISEARCH_MAP_GIGABYTES"), opened.write() as writer:
        for number in range(1, 400):
            writer.put_item(item(number))
            writer.put_thumbnail(number, bytes(4000))
    with opened.write() as writer:  # nothing is broken by it
        writer.put_item(item(1))
    opened.close()


def test_the_generation_is_what_was_put(store: Store) -> None:
    second = replace(GENERATION, number=2, model="other")
    with store.write() as writer:
        writer.put_generation(second)
    with store.read() as reader:
        assert reader.generation() == GENERATION
        assert reader.generation(2) == second
        assert reader.generation(3) is None
        assert reader.generations() == [GENERATION, second]
