"""A collection: made with a model, opened without one, followed while others change it, equal to brute force."""

from __future__ import annotations

import inspect
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import visearch
import visearch.collection
from indexer import run
from tests.corpora import Random, Reference, empty
from tests.pictures import save, save_all, stored
from tests.tiny_model import BITS, write_model
from visearch import codes, embedder, images, runtime
from visearch.collection import Collection
from visearch.errors import ModelError, StoreError, UsageError
from visearch.filters import Filter


def index(model: Path | None, collection: Path, *sources: Path) -> None:
    run.once(run.Job(tuple(map(str, sources)), collection, None if model is None else str(model)))


@pytest.fixture
def small(tmp_path: Path, tiny: Path) -> Path:
    """Ten pictures in `pics`, indexed into `c`."""
    save_all(tmp_path / "pics", range(10))
    index(tiny, tmp_path / "c", tmp_path / "pics")
    return tmp_path / "c"


# The Python API


def test_the_package_offers_it_by_name() -> None:
    assert visearch.Collection is Collection
    assert not hasattr(visearch, "Colection")


def test_the_example_of_the_module_works(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_all(tmp_path / "pics", range(12))
    save(tmp_path / "chair.jpg", 3)
    index(tiny, Path(".visearch"), tmp_path / "pics")
    text = inspect.getdoc(visearch.collection)
    assert text is not None
    example = text[text.index("collection = ") :]
    with redirect_stdout(io.StringIO()) as printed:
        exec(example, {"Collection": visearch.Collection})  # the example is what is tested
    lines = printed.getvalue().splitlines()
    assert len(lines) == 10
    assert all(line.endswith(".png") for line in lines)


# Making and opening


def test_a_collection_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no collection here"):
        Collection.open(tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_where_no_model_is_named_the_shipped_one_is_taken(tmp_path: Path) -> None:
    with Collection.open(tmp_path / "c", create=True) as collection:
        assert collection.generation.model == "unified"


@pytest.mark.parametrize("content", [None, b"not a model"])
def test_with_a_broken_model_nothing_is_made(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.onnx"):
        Collection.open(tmp_path / "c", create=True, model=tmp_path / "m.onnx")
    assert not (tmp_path / "c").exists()


def test_the_model_may_come_from_the_environment(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEARCH_MODEL", str(tiny))
    with Collection.open(tmp_path / "c", create=True) as collection:
        assert collection.generation.model == "tiny"


def test_a_new_collection_knows_what_made_its_codes(tmp_path: Path, tiny: Path) -> None:
    with empty(tmp_path / "c", tiny) as collection:
        generation = collection.generation
        assert (generation.number, generation.model, generation.version, generation.bits) == (1, "tiny", "1", BITS)
        assert generation.model_sha256 == runtime.file_sha256(tiny)
        assert (generation.runtime, generation.precision) == (
            collection.embedder.runtime,
            collection.embedder.precision,
        )
        assert len(collection) == 0


def test_a_collection_holds_its_model(tmp_path: Path, tiny: Path) -> None:
    model = tmp_path / "m.onnx"
    shutil.copy(tiny, model)
    save_all(tmp_path / "pics", range(3))
    index(model, tmp_path / "c", tmp_path / "pics")
    model.unlink()
    embedder.load.cache_clear()
    with Collection.open(tmp_path / "c") as collection:
        assert len(collection.search(tmp_path / "pics" / "000.png")) == 3


def test_a_collection_takes_no_second_model(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = write_model(tmp_path / "other.onnx", seed=1)
    said = "its codes were made by tiny 1, not by .*other.onnx"
    with pytest.raises(ModelError, match=said):
        Collection.open(small, create=True, model=other)
    with pytest.raises(ModelError, match=said):
        Collection.open(small, model=other)
    for named in (other, tmp_path / "gone.onnx"):  # the environment names the model of new collections
        monkeypatch.setenv("VISEARCH_MODEL", str(named))
        with Collection.open(small, create=True) as collection:
            assert len(collection.search(item=1)) == 9


def test_a_model_that_was_exchanged_is_refused(small: Path, tmp_path: Path) -> None:
    (kept,) = (small / "models").iterdir()
    kept.unlink()
    write_model(kept, seed=1)
    embedder.load.cache_clear()
    with (
        Collection.open(small) as collection,
        pytest.raises(ModelError, match="not the file that tiny 1 was when it made the codes"),
    ):
        collection.search(tmp_path / "pics" / "000.png")


def test_a_model_that_is_gone_may_be_named(small: Path, tmp_path: Path, tiny: Path) -> None:
    (kept,) = (small / "models").iterdir()
    kept.unlink()
    embedder.load.cache_clear()
    with Collection.open(small) as collection, pytest.raises(ModelError, match="cannot be read"):
        collection.search(tmp_path / "pics" / "000.png")
    with Collection.open(small, model=tiny) as collection:
        assert len(collection.search(tmp_path / "pics" / "000.png")) == 10


def test_a_folder_can_be_moved(small: Path, tmp_path: Path) -> None:
    with Collection.open(small) as collection:
        collection.build_index()
        before = collection.search(item=1)
    small.rename(tmp_path / "elsewhere")
    with Collection.open(tmp_path / "elsewhere") as collection:
        assert collection.search(item=1).matches == before.matches


def test_a_folder_that_may_not_be_written_answers(small: Path) -> None:
    """Run by someone who may not write there."""
    with Collection.open(small) as collection:
        collection.build_index()
        expected = [match.item for match in collection.search(item=1)]
    shared = Path("/tmp") / f"visearch-test-{os.getpid()}-{os.urandom(4).hex()}"
    shutil.copytree(small, shared)
    code = (
        "import os, sys; from visearch import Collection; from visearch.errors import StoreError\n"
        "with Collection.open(sys.argv[2]) as c: c.search(item=1)\n"  # all is imported while it may be read
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "with Collection.open(sys.argv[1]) as c:\n"
        "    print([match.item for match in c.search(item=1)])\n"
        "    try: c.remove([1])\n"
        "    except StoreError as error: print(error.message)\n"
    )
    try:
        for path in [shared, *shared.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        command = [sys.executable, "-c", code, str(shared), str(small)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    finally:
        for path in [shared, *shared.rglob("*")]:
            path.chmod(0o755)
        shutil.rmtree(shared)
    assert done.stderr == ""
    found, refused = done.stdout.splitlines()
    assert found == str(expected)
    assert "is read-only" in refused


def test_closing_twice_harms_nobody(small: Path) -> None:
    with Collection.open(small) as other:
        with Collection.open(small) as collection:
            collection.close()
        assert len(other) == 10


# Items


def test_items_are_told_by_id(small: Path) -> None:
    with Collection.open(small) as collection:
        items = list(collection.items())
        assert [item.item_id for item in items] == sorted(item.item_id for item in items)
        assert [Path(item.source).name for item in items] == [f"{number:03}.png" for number in range(10)]
        assert collection.item(items[3].item_id) == items[3]
        assert len(collection) == 10


def test_many_items_are_told_page_by_page(tmp_path: Path, tiny: Path) -> None:
    with empty(tmp_path / "c", tiny) as collection:
        reference, random = Reference(), Random(BITS, 0)
        reference.put(collection, {number: (random.embedding(), {}) for number in range(1, 2502)})
        assert [item.item_id for item in collection.items()] == list(range(1, 2502))
        # A long loop holds no transaction open: the collection can be changed meanwhile.
        seen = 0
        for item in collection.items():
            seen += 1
            if item.item_id == 1500:
                reference.remove(collection, [1501, 2100, 2501])
        assert seen in (2498, 2499)  # an item of the page in hand is still told


@pytest.mark.parametrize("item_id", [0, -1, 11, 10**30])
def test_an_item_that_is_not_there_is_named(small: Path, item_id: int) -> None:
    with Collection.open(small) as collection:
        with pytest.raises(UsageError, match=f"item {item_id}: no such item"):
            collection.item(item_id)
        assert collection.thumbnail(1)


def test_an_item_is_found_by_id_and_by_path(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Collection.open(small) as collection:
        for name in (str(tmp_path / "pics" / "004.png"), "pics/004.png", "./pics/../pics/004.png", "5"):
            assert collection.find_item(name) == 5
        for name in ("nothing.png", "99", "1" * 40, "", "-5", "5.0"):
            with pytest.raises(UsageError, match="neither the id nor the path of an item"):
                collection.find_item(name)


def test_removed_items_are_gone_and_their_files_stay(small: Path, tmp_path: Path) -> None:
    with Collection.open(small) as collection:
        assert collection.remove([2, 3, 3, 99]) == 2
        assert len(collection) == 8
        assert {2, 3}.isdisjoint(match.item for match in collection.search(item=1, limit=100))
        assert collection.thumbnail(2) is None
    assert (tmp_path / "pics" / "001.png").exists()


# Embedding, corpus


def test_embedding_a_box_is_embedding_the_part(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "pics" / "000.png"
    with Collection.open(small) as collection:
        whole = images.decode(path.read_bytes())
        left = images.Picture(whole.image.crop((0, 0, 24, 40)), 24, 40, (0, 0, 24, 40))
        found = collection.embed([whole, whole, left], [(0, 0, 1, 1), (0, 0, 0.5, 1), (0, 0, 1, 1)])
        assert found.shape == (3, BITS)
        assert codes.hamming(*codes.pack(found[1:])) <= 2  # interpolation looks a pixel beyond the cut
        assert np.array_equal(found[0], collection.embed([whole])[0])
        assert collection.embed([]).shape == (0, BITS)


def test_the_corpus_is_every_live_code(small: Path) -> None:
    with Collection.open(small) as collection:
        collection.remove([4])
        corpus = collection.corpus()
        assert corpus.item_ids.tolist() == [1, 2, 3, 5, 6, 7, 8, 9, 10]
        assert corpus.codes.shape == (9, BITS // 8)
        assert corpus.vectors.shape == (9, BITS)
        assert (corpus.regions == 0).all()
        assert np.array_equal(
            np.packbits(corpus.vectors > 0, axis=1), codes.pack(codes.dequantize(corpus.vectors, corpus.scales))
        )
        only = collection.corpus(Filter.parse({"folder": "nowhere"}))
        assert len(only.item_ids) == 0
        assert only.codes.shape == (0, BITS // 8)


# Changes are seen at once


def test_an_open_collection_sees_what_another_process_does(small: Path, tmp_path: Path) -> None:
    def visearch(*arguments: object) -> None:
        command = [sys.executable, "-c", "from visearch.cli import main; main()", *map(str, arguments)]
        subprocess.run([*command, "--collection", str(small)], check=True, capture_output=True, timeout=60)

    query = save(tmp_path / "new.png", 77)
    with Collection.open(small) as collection:
        assert collection.search(query)[0].distance > 0
        visearch("index", query)
        best = collection.search(query)[0]
        assert (best.source, best.distance) == (str(query), 0)
        save(query, 78)
        visearch("index", query)
        assert collection.search(query)[0].distance == 0
        assert collection.search(query)[0].item == best.item
        visearch("remove", query)
        assert str(query) not in {match.source for match in collection.search(query)}


@pytest.mark.parametrize("built", [False, True])
def test_a_change_of_metadata_is_found_by_filter_at_once(small: Path, tmp_path: Path, built: bool) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,colour\npics/000.png,red\npics/001.png,red\n")
    index(None, small, manifest)
    with Collection.open(small) as collection:
        if built:
            collection.build_index()

        def found(colour: str) -> set[str]:
            return {Path(match.source).name for match in collection.search(item=10, filter={"colour": colour})}

        assert (found("red"), found("blue")) == ({"000.png", "001.png"}, set())
        manifest.write_text("path,colour\npics/000.png,red\npics/001.png,blue\n")
        index(None, small, manifest)
        assert (found("red"), found("blue")) == ({"000.png"}, {"001.png"})


def mix(path: Path, model: Path, operations: int, *, most: int, seed: int, patch: pytest.MonkeyPatch) -> None:
    """Random adds, updates, removes, merges and searches; every answer against brute force.

    A second handle on the collection, which only searches, must see the same.
    """
    patch.setenv("VISEARCH_FLAT_UP_TO", "150")  # some merges write an inverted file; `exact` looks at all of it
    collection, random, reference = empty(path, model), Random(BITS, seed), Reference()
    follower = Collection.open(path)
    choose = random.random

    def some() -> int:
        return int(choose.choice(list(reference.items)))

    def add() -> None:
        with collection.store.write() as writer:
            first = writer.reserve_item_ids(5)
        count = int(choose.integers(1, 6))
        reference.put(
            collection, {number: (random.embedding(), random.metadata()) for number in range(first, first + count)}
        )

    def update() -> None:
        reference.put(collection, {some(): (random.embedding(), random.metadata())})

    def retag() -> None:
        item_id = some()
        reference.put(collection, {item_id: (reference.items[item_id][0], random.metadata())})

    def remove() -> None:
        reference.remove(collection, [some() for _ in range(int(choose.integers(1, 4)))])

    def search() -> None:
        query = some() if choose.random() < 0.7 else random.embedding()
        wanted: dict[str, Any] = {
            "limit": int(choose.choice([1, 5, 20, 500])),
            "filter": random.filter(),
            "max_distance": int(choose.integers(BITS)) if choose.random() < 0.3 else None,
            "rerank": bool(choose.random() < 0.5),
        }
        for opened in (collection, follower):
            if isinstance(query, int):
                results = opened.search(item=query, exact=True, **wanted)
            else:
                results = by_embedding(opened, query, wanted)
            reference.check(results, query, **wanted)

    add()

    def merge() -> None:
        collection.build_index(force=bool(choose.random() < 0.5))

    steps: list[Callable[[], None]] = [add, update, retag, remove, search, merge]
    for _ in range(operations):
        step = steps[choose.choice(len(steps), p=[0.2, 0.1, 0.1, 0.1, 0.49, 0.01])]
        if step is remove and len(reference.items) < 10:
            step = add
        if step is add and len(reference.items) > most:
            step = remove
        step()
        assert len(collection) == len(reference.items)
    follower.close()
    collection.close()
    with Collection.open(path) as reopened:
        assert {item.item_id: item.metadata for item in reopened.items()} == {
            item_id: metadata for item_id, (_, metadata) in reference.items.items()
        }


def by_embedding(collection: Collection, query: codes.F32, wanted: dict[str, Any]) -> Any:
    """A search with an embedding: a picture that its model sees as just that."""
    from visearch.search import Query

    class Fixed:
        """In the place of the model: whatever the picture, this embedding."""

        def prepare(self, picture: object, box: object) -> codes.U8:
            return np.zeros((1, 1, 3), np.uint8)

        def embed(self, batch: object) -> codes.F32:
            return query[None]

    filter = Filter.parse(wanted["filter"]) if wanted["filter"] is not None else None
    asked = Query(wanted["limit"], wanted["max_distance"], filter, True, wanted["rerank"])
    blank = images.Picture(Image.new("RGB", (1, 1)), 1, 1, (0.0, 0.0, 1.0, 1.0))
    fixed: Any = Fixed()
    return replace(collection.searcher(), load=lambda: fixed).like_picture(blank, None, asked)


def test_600_random_changes_and_searches_equal_brute_force(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mix(tmp_path / "c", tiny, 600, most=250, seed=0, patch=monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_10_000_random_changes_and_searches_equal_brute_force(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mix(tmp_path / "c", tiny, 10_000, most=1200, seed=1, patch=monkeypatch)


# Index files


def test_answers_are_the_same_with_and_without_index_files(small: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Collection.open(small) as collection:
        before = collection.search(item=1).matches
        assert collection.build_index()
        assert collection.search(item=1).matches == before
        base = collection.base_folder(collection.generation)
    with Collection.open(small) as collection:
        assert collection.search(item=1).matches == before
    for path in base.iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Collection.open(small) as collection:
        assert collection.search(item=1).matches == before
    assert "answering from the store, `visearch check --repair` rebuilds it" in caplog.text
    shutil.rmtree(small / "index")
    with Collection.open(small) as collection:
        assert collection.search(item=1).matches == before


def test_index_files_are_written_when_that_is_cheaper(tmp_path: Path, tiny: Path) -> None:
    with empty(tmp_path / "c", tiny) as collection:
        reference, random = Reference(), Random(BITS, 0)
        written = []
        for first in range(1, 16_000, 4_000):
            reference.put(collection, {number: (random.embedding(), {}) for number in range(first, first + 4_000)})
            written.append(collection.build_index(force=False))
        assert any(written)
        assert not all(written)
        assert len([path for path in (tmp_path / "c" / "index" / "g1").iterdir() if path.is_dir()]) == 1


def test_only_one_process_writes_index_files(small: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from visearch.leases import lease\n"
        "with lease(Path(sys.argv[1]), 'index'): print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(small)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            Collection.open(small) as collection,
            pytest.raises(StoreError, match=f"index is being done by process {holder.pid}"),
        ):
            collection.build_index()
        holder.kill()  # a lease ends with its process
    with Collection.open(small) as collection:
        assert collection.build_index()


def test_two_stores_are_equal_whatever_the_way_to_them(small: Path, tmp_path: Path, tiny: Path) -> None:
    index(tiny, tmp_path / "other", *(tmp_path / "pics" / f"{number:03}.png" for number in (9, 3)))
    index(tiny, tmp_path / "other", tmp_path / "pics")
    assert stored(tmp_path / "other") == stored(small)
