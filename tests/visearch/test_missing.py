"""What a generation lacks is what has no codes there, and whatever happens meanwhile, what it has is right."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visearch import ingest
from visearch.codes import U8
from visearch.errors import StoreError
from visearch.images import WHOLE, Box
from visearch.ingest import Embedded, File, Same
from visearch.missing import PAGE, Filled, Missing, count_missing, fill, missing
from visearch.store import Generation, Reader, Store

BITS = 64
LEFT = (0.0, 0.0, 0.5, 1.0)
MODELS = {1: "a" * 64, 2: "b" * 64, 3: "c" * 64}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = make_store(tmp_path)
    yield opened
    opened.close()


def make_store(folder: Path) -> Store:
    """A store with a generation of each model, the first of which answers."""
    opened = Store(folder / "store", create=True)
    with opened.write() as writer:
        for number, model in MODELS.items():
            writer.put_generation(Generation(number, f"model {number}", "1", model, BITS, "none", "float32", "CPU"))
        writer.activate(1)
    return opened


def rows(model: str, content: bytes, regions: tuple[Box, ...]) -> tuple[U8, U8]:
    """Codes and int8 rows that nothing but this model gives to these regions of these bytes."""
    seeds = [hashlib.sha256(model.encode() + content + repr(region).encode()).digest() for region in regions]
    random = [np.random.default_rng(list(seed)) for seed in seeds]
    packed = np.stack([each.integers(0, 256, BITS // 8, np.uint8) for each in random])
    return packed, np.stack([each.integers(0, 256, BITS + 2, np.uint8) for each in random])


def picture(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(4)).digest()


def embedded(
    item_id: int, source: str, content: bytes, model: str, *, objects: bool = False, label: str = ""
) -> Embedded:
    regions = (WHOLE, LEFT) if objects else (WHOLE,)
    file = File(item_id, source, 1, 1, "test", {"label": label} if label else {}, authoritative=True)
    file = File(**{**vars(file), "detector": "d" * 64 if objects else ""})
    return Embedded(file, content, 8, 8, b"thumbnail", *rows(model, content, regions), model, regions)


def add(store: Store, *numbers: int, objects: bool = False) -> None:
    """Items of these ids, each a picture of its own, embedded by the model that answers."""
    with store.read() as reader:
        model = MODELS[reader.active]
    outcomes = [embedded(number, f"item/{number}", picture(number), model, objects=objects) for number in numbers]
    assert ingest.commit(store, outcomes)[1] == []


def by(number: int, *wanted: Missing) -> list[Filled]:
    """These items as the model of a generation embeds them."""
    return [Filled(each, *rows(MODELS[number], each.content, each.regions)) for each in wanted]


def ids(store: Store, generation: int) -> list[int]:
    return [each.item_id for each in missing(store, generation)]


def wrong(reader: Reader) -> list[tuple[int, int]]:
    """(generation, item) of codes that are not those of the item's regions by the model of the generation."""
    found = []
    for generation in reader.generations():
        held = 0
        for item in reader.items():
            code_ids = reader.code_ids(generation.number, item.item_id)
            held += len(code_ids)
            if not len(code_ids):
                continue
            packed, vectors = rows(generation.model_sha256, item.content, item.regions)
            same = np.array_equal(reader.codes_at(generation, code_ids), packed)
            if not (same and np.array_equal(reader.vectors_at(generation, code_ids), vectors)):
                found.append((generation.number, item.item_id))
        live = sum(int((block.owners["item_id"] >= 0).sum()) for block in reader.code_rows(generation))
        if live != held:
            found.append((generation.number, -1))
    return found


def test_what_is_added_is_missing_in_every_generation_but_the_one_that_answers(store: Store) -> None:
    add(store, 1, 2, objects=True)
    assert [ids(store, number) for number in MODELS] == [[], [1, 2], [1, 2]]
    first = next(missing(store, 2))
    assert first == Missing(1, "item/1", "test", picture(1), (WHOLE, LEFT), True, False)


def test_it_is_listed_by_id_from_any_start_over_any_number_of_pages(store: Store) -> None:
    numbers = list(range(1, 2 * PAGE + 9))
    add(store, *numbers)
    fill(store, 2, by(2, *[each for each in missing(store, 2) if each.item_id % 3 == 0]))
    left = [number for number in numbers if number % 3]
    assert ids(store, 2) == left
    assert [each.item_id for each in missing(store, 2, 100)] == [number for number in left if number >= 100]
    assert count_missing(store, 2) == len(left)
    assert ids(store, 3) == numbers, "another generation is none the fuller"


def test_what_is_filled_is_there_and_not_missing(store: Store) -> None:
    add(store, 1, 2, 3, objects=True)
    assert fill(store, 2, by(2, *missing(store, 2))) == {"filled": 3, "outdated": 0}
    assert ids(store, 2) == []
    with store.read() as reader:
        assert wrong(reader) == []


def test_equal_pictures_are_filled_together(store: Store) -> None:
    add(store, 1)
    copies = [Same(File(number, f"copy/{number}", 1, 1, "test"), picture(1)) for number in (2, 3)]
    assert dict(ingest.commit(store, copies)[0]) == {"added": 2}
    first = next(missing(store, 2))
    assert fill(store, 2, by(2, first))["filled"] == 3
    assert ids(store, 2) == []
    with store.read() as reader:
        assert wrong(reader) == []


def test_what_changed_vanished_or_was_filled_meanwhile_is_left_alone(store: Store) -> None:
    add(store, 1, 2, 3, 4)
    seen = by(2, *missing(store, 2))
    fill(store, 2, seen[3:])
    ingest.commit(store, [embedded(1, "item/1", picture(99), MODELS[1])])
    ingest.remove_items(store, [2])
    assert fill(store, 2, seen) == {"filled": 1, "outdated": 3}
    assert ids(store, 2) == [1]
    with store.read() as reader:
        assert wrong(reader) == []


def test_a_copy_of_what_all_generations_have_is_missing_in_none(store: Store) -> None:
    add(store, 1)
    fill(store, 2, by(2, *missing(store, 2)))
    ingest.commit(store, [Same(File(2, "copy/2", 1, 1, "test"), picture(1))])
    assert [ids(store, number) for number in MODELS] == [[], [], [1, 2]]


def test_codes_of_a_model_that_answers_no_longer_do_not_come_in(store: Store) -> None:
    late = embedded(1, "item/1", picture(1), MODELS[1])
    with store.write() as writer:
        writer.activate(2)
    counts, unresolved = ingest.commit(store, [late])
    assert (dict(counts), unresolved) == ({}, [late])
    with store.read() as reader:
        assert reader.item_count() == 0


def test_codes_that_do_not_fit_are_refused(store: Store) -> None:
    add(store, 1, objects=True)
    (wanted,) = missing(store, 2)
    packed, vectors = rows(MODELS[2], wanted.content, (WHOLE,))
    with pytest.raises(StoreError, match=r"2 regions of 64 bits"):
        fill(store, 2, [Filled(wanted, packed, vectors)])


def test_a_generation_that_was_dropped_takes_nothing(store: Store) -> None:
    add(store, 1)
    seen = by(2, *missing(store, 2))
    with store.write() as writer:
        writer.drop_generation(2)
    with pytest.raises(StoreError, match="generation 2 was dropped"):
        fill(store, 2, seen)


def test_commits_to_another_generation_wake_no_searcher(store: Store) -> None:
    add(store, 1, 2)
    with store.read() as reader:
        before = reader.serial
    fill(store, 2, by(2, *missing(store, 2)))
    with store.read() as reader:
        assert reader.serial == before


ITEMS = st.integers(1, 5)
OPERATIONS = st.one_of(
    st.tuples(st.just("embed"), ITEMS, st.integers(0, 4), st.booleans()),
    st.tuples(st.just("same"), ITEMS, st.integers(0, 4)),
    st.tuples(st.just("label"), ITEMS, st.sampled_from("xy")),
    st.tuples(st.just("remove"), ITEMS),
    st.tuples(st.just("look"), st.integers(1, 3)),
    st.tuples(st.just("fill"), st.integers(1, 3), st.integers(0, 6)),
    st.tuples(st.just("switch"), st.integers(1, 3)),
)


class Changing:
    """A store that is changed in every way at once while each of its generations is being filled from old looks."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.seen: dict[int, list[Missing]] = {number: [] for number in MODELS}

    def do(self, name: str, *arguments: int | str | bool) -> None:
        getattr(self, name)(*arguments)

    def embed(self, item: int, content: int, objects: bool) -> None:
        with self.store.read() as reader:
            model = MODELS[reader.active]
        ingest.commit(self.store, [embedded(item, f"item/{item}", picture(content), model, objects=objects)])

    def same(self, item: int, content: int) -> None:
        ingest.commit(self.store, [Same(File(item, f"item/{item}", 1, 1, "test"), picture(content))])

    def label(self, item: int, label: str) -> None:
        with self.store.read() as reader:
            old = reader.item(item)
        if old is not None:
            file = File(item, old.source, 1, 1, "test", {"label": label}, authoritative=True)
            ingest.commit(self.store, [Same(file, old.content)])

    def remove(self, item: int) -> None:
        ingest.remove_items(self.store, [item])

    def look(self, generation: int) -> None:
        self.seen[generation] = list(missing(self.store, generation))

    def fill(self, generation: int, count: int) -> None:
        fill(self.store, generation, by(generation, *self.seen[generation][:count]))

    def switch(self, generation: int) -> None:
        with self.store.write() as writer:
            writer.activate(generation)


@settings(max_examples=60)
@given(st.lists(OPERATIONS, max_size=40))
def test_whatever_is_committed_meanwhile_no_generation_holds_a_wrong_code_and_each_can_be_filled(
    operations: list[tuple[str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder))
        changing = Changing(store)
        for operation in operations:
            changing.do(*operation)
            with store.read() as reader:
                assert wrong(reader) == [], operation
        for number in MODELS:
            fill(store, number, by(number, *missing(store, number)))
            assert count_missing(store, number) == 0
        with store.read() as reader:
            assert wrong(reader) == []
        store.close()
