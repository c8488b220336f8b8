"""Search: by picture, by item, by a box of either; limit, distance, filter; every answer equals brute force."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer import run
from tests.corpora import Random, Reference, empty
from tests.pictures import picture, save, save_all
from tests.tiny_model import BITS
from visearch import images
from visearch.collection import Collection
from visearch.embedder import load
from visearch.errors import BoxError, FilterError, ImageError, UsageError
from visearch.results import Match, Results

ITEMS = 300


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[tuple[Collection, Reference]]:
    """300 random items, a third of them in index files, the rest beside them."""
    collection, random, reference = empty(tmp_path_factory.mktemp("corpus") / "c", tiny), Random(BITS, 1), Reference()
    for first in range(1, ITEMS, 100):
        reference.put(
            collection, {number: (random.embedding(), random.metadata()) for number in range(first, first + 100)}
        )
        if first == 1:
            collection.build_index()
    yield collection, reference
    collection.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[tuple[Collection, Path]]:
    """30 pictures, indexed."""
    folder = tmp_path_factory.mktemp("pictures")
    save_all(folder / "pics", range(30))
    run.once(run.Job((str(folder / "pics"),), folder / "c", str(tiny)))
    with Collection.open(folder / "c") as collection:
        yield collection, folder / "pics"


# Answers equal brute force


@pytest.mark.parametrize("rerank", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_a_search_by_item_equals_brute_force(corpus: tuple[Collection, Reference], seed: int, rerank: bool) -> None:
    collection, reference = corpus
    random = Random(BITS, seed)
    for _ in range(10):
        item_id = int(random.random.integers(1, ITEMS + 1))
        wanted: dict[str, Any] = {
            "limit": int(random.random.choice([1, 7, 50, 1000])),
            "filter": random.filter(),
            "max_distance": int(random.random.integers(40)) if random.random.random() < 0.3 else None,
            "rerank": rerank,
        }
        results = collection.search(item=item_id, **wanted)
        reference.check(results, item_id, **wanted)


def test_only_the_window_is_reranked(corpus: tuple[Collection, Reference], monkeypatch: pytest.MonkeyPatch) -> None:
    collection, reference = corpus
    monkeypatch.setenv("VISEARCH_WINDOW", "20")
    for item_id in range(1, 30):
        for limit in (5, 40):
            results = collection.search(item=item_id, limit=limit)
            # The item itself takes a place of the window beside the 20.
            reference.check(results, item_id, limit=limit, window=20)


def test_a_search_by_picture_equals_brute_force(pictures: tuple[Collection, Path]) -> None:
    collection, folder = pictures
    reference = Reference()
    for item in collection.items():
        decoded = images.decode(Path(item.source).read_bytes(), min_side=collection.embedder.min_side())
        reference.hold(item.item_id, collection.embed([decoded])[0], item.metadata)
    for seed in (3, 17, 1000):
        query = collection.embed([images.Picture(picture(seed), 48, 40, (0, 0, 48, 40))])[0]
        path = save(folder.parent / f"query-{seed}.png", seed)
        for rerank in (True, False):
            reference.check(collection.search(path, limit=30, rerank=rerank), query, limit=30, rerank=rerank)


@pytest.mark.parametrize("key", [{}, {"filter": {"colour": "red"}}, {"rerank": False}])
def test_exact_is_the_same_where_the_index_is_flat(corpus: tuple[Collection, Reference], key: dict[str, Any]) -> None:
    collection, _ = corpus
    for item_id in (1, 150, 300):
        plain, exact = (collection.search(item=item_id, exact=exact, **key) for exact in (False, True))
        assert plain.matches == exact.matches


def test_exact_compares_with_every_code_of_an_inverted_file(tmp_path: Path, tiny: Path) -> None:
    collection, random, reference = empty(tmp_path / "c", tiny), Random(BITS, 2), Reference()
    reference.put(collection, {number: (random.embedding(), random.metadata()) for number in range(1, 501)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISEARCH_FLAT_UP_TO", "100")
        collection.build_index()
    base = collection.searcher().base
    assert base is not None
    assert base.info.lists > 1
    for item_id in range(1, 60):
        wanted: dict[str, Any] = {"limit": 30, "filter": random.filter()}
        results = collection.search(item=item_id, exact=True, **wanted)
        reference.check(results, item_id, **wanted)
        eligible = len(results)
        assert len(collection.search(item=item_id, **wanted)) == eligible  # never fewer, probing or not
    collection.close()


# What a query may be


def test_a_picture_finds_itself_first(pictures: tuple[Collection, Path]) -> None:
    collection, folder = pictures
    data = (folder / "007.png").read_bytes()
    decoded = images.decode(data)
    for query in (folder / "007.png", str(folder / "007.png"), data, decoded):
        best = collection.search(query, limit=3)[0]
        assert (Path(best.source).name, best.distance) == ("007.png", 0)
        assert best.score == pytest.approx(1, abs=1e-3)


def test_an_item_never_finds_itself(corpus: tuple[Collection, Reference]) -> None:
    collection, _ = corpus
    for item_id in range(1, ITEMS + 1, 10):
        assert item_id not in {match.item for match in collection.search(item=item_id, limit=ITEMS)}
    assert len(collection.search(item=1, limit=ITEMS)) == ITEMS - 1


def test_a_box_of_a_picture_is_that_picture_cut_out(pictures: tuple[Collection, Path]) -> None:
    collection, folder = pictures
    left, right = picture(11), picture(22)
    both = picture(0, (96, 40))
    both.paste(left, (0, 0))
    both.paste(right, (48, 0))
    path = folder.parent / "both.png"
    both.save(path)
    assert Path(collection.search(path, box=(0.0, 0.0, 0.5, 1.0))[0].source).name == "011.png"
    assert Path(collection.search(path, box=(0.5, 0.0, 1.0, 1.0))[0].source).name == "022.png"


def test_a_box_of_an_item_is_looked_up_in_its_file_and_does_not_find_the_item(
    pictures: tuple[Collection, Path],
) -> None:
    collection, folder = pictures
    item_id = collection.find_item(str(folder / "005.png"))
    whole = collection.search(item=item_id, box=(0.0, 0.0, 1.0, 1.0), limit=29)
    assert item_id not in {match.item for match in whole}
    asked = collection.search(folder / "005.png", box=(0.0, 0.0, 1.0, 1.0), limit=30)
    assert [match.item for match in whole] == [match.item for match in asked if match.item != item_id]
    part = collection.search(item=item_id, box=(0.5, 0.5, 1.0, 1.0), limit=29)
    assert [match.score for match in part] != [match.score for match in whole]


def test_a_box_of_an_item_whose_file_is_gone_is_told(tmp_path: Path, tiny: Path) -> None:
    path = save(tmp_path / "pics" / "a.png", 1)
    run.once(run.Job((str(path),), tmp_path / "c", str(tiny)))
    path.unlink()
    with Collection.open(tmp_path / "c") as collection:
        assert len(collection.search(item=1)) == 0
        with pytest.raises(ImageError, match=r"a\.png: cannot be read; is it gone"):
            collection.search(item=1, box=(0, 0, 0.5, 0.5))


@pytest.mark.parametrize("box", [(0, 0, 0, 1), (0, 0, 2, 1), (0.5, 0, 0.4, 1), (0, 0, 1), (0, float("nan"), 1, 1)])
def test_a_box_that_is_none_is_refused(pictures: tuple[Collection, Path], box: Any) -> None:
    collection, folder = pictures
    with pytest.raises(BoxError):
        collection.search(folder / "000.png", box=box)


def test_a_box_of_less_than_a_pixel_is_refused(pictures: tuple[Collection, Path]) -> None:
    collection, folder = pictures
    with pytest.raises(BoxError, match="less than a pixel"):
        collection.search(folder / "000.png", box=(0, 0, 0.01, 1))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({}, "either a picture or an item"),
        ({"query": "x.png", "item": 1}, "either a picture or an item"),
        ({"item": 1, "limit": 0}, "limit 0: at least 1"),
        ({"item": 10**6}, "item 1000000: no such item"),
        ({"item": -1}, "item -1: no such item"),
        ({"item": 10**30}, "no such item"),
        ({"item": 10**30, "box": (0, 0, 1, 1)}, "no such item"),
    ],
)
def test_arguments_that_make_no_sense_are_named(
    corpus: tuple[Collection, Reference], wanted: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        corpus[0].search(**wanted)


def test_a_filter_that_is_none_names_its_key(corpus: tuple[Collection, Reference]) -> None:
    with pytest.raises(FilterError, match="price"):
        corpus[0].search(item=1, filter={"price": {"between": 3}})


@pytest.mark.parametrize("data", [b"", b"not a picture"])
def test_a_query_that_is_no_picture_is_told(pictures: tuple[Collection, Path], data: bytes) -> None:
    with pytest.raises(ImageError):
        pictures[0].search(data)


# Limits


def test_a_filter_never_gives_fewer_than_there_are(corpus: tuple[Collection, Reference]) -> None:
    collection, reference = corpus
    for key, value in (("colour", "red"), ("price", 7), ("tags", "b")):
        eligible = {
            number
            for number, (_, metadata) in reference.items.items()
            if value == metadata.get(key) or (key == "tags" and value in metadata.get("tags", []))
        }
        item_id = min(eligible)
        for limit in (1, len(eligible) - 1, 1000):
            found = {match.item for match in collection.search(item=item_id, limit=limit, filter={key: value})}
            assert len(found) == min(limit, len(eligible) - 1)
            assert found < eligible


def test_a_limit_beyond_the_collection_gives_all(corpus: tuple[Collection, Reference]) -> None:
    assert len(corpus[0].search(item=1, limit=10**12)) == ITEMS - 1


def test_max_distance_is_inclusive(corpus: tuple[Collection, Reference]) -> None:
    collection, _ = corpus
    all_of_them = collection.search(item=1, limit=ITEMS, rerank=False)
    at = all_of_them[20].distance
    within = collection.search(item=1, limit=ITEMS, rerank=False, max_distance=at)
    assert within.matches == tuple(match for match in all_of_them if match.distance <= at)
    assert not any(match.distance > at for match in collection.search(item=1, limit=ITEMS, max_distance=at))
    assert len(collection.search(item=1, max_distance=10**9)) == 20


# What comes back


def test_scores_are_cosines_or_say_that_they_are_not(corpus: tuple[Collection, Reference]) -> None:
    collection, _ = corpus
    for rerank in (True, False):
        results = collection.search(item=1, limit=ITEMS, rerank=rerank)
        assert all(-1 <= match.score <= 1 for match in results)
        assert [match.score for match in results] == sorted((match.score for match in results), reverse=True)
        assert (results.reranked, results.to_json()["score"]) == (rerank, "cosine" if rerank else "hamming")


def test_results_are_a_sequence_of_matches(corpus: tuple[Collection, Reference]) -> None:
    results = corpus[0].search(item=1, limit=5)
    assert len(results) == 5
    assert list(results) == [results[0], *results[1:]]
    assert (results.model, results.generation) == ("tiny 1", 1)
    first = results[0]
    assert (first.region, first.box, first.source) == (0, (0.0, 0.0, 1.0, 1.0), f"memory/{first.item}")


def test_results_as_json_have_the_promised_keys(corpus: tuple[Collection, Reference]) -> None:
    values = json.loads(json.dumps(corpus[0].search(item=1, limit=5).to_json()))
    assert {"matches", "took"} <= values.keys()
    assert len(values["matches"]) == 5
    for match in values["matches"]:
        assert {"item", "region", "source", "distance", "score", "metadata"} <= match.keys()
    assert all(milliseconds >= 0 for milliseconds in values["took"].values())


def test_the_time_of_every_stage_is_told(pictures: tuple[Collection, Path]) -> None:
    collection, folder = pictures
    by_picture = collection.search(folder / "001.png").took
    assert set(by_picture) == {"decode", "embed", "search", "rerank", "fetch", "total"}
    assert sum(by_picture.values()) <= 2 * by_picture["total"] + 1e-6
    assert set(collection.search(item=1).took) == {"search", "rerank", "fetch", "total"}


def test_a_notebook_shows_pictures_and_no_markup_of_strangers(pictures: tuple[Collection, Path]) -> None:
    shown = pictures[0].search(item=1, limit=4)._repr_html_()
    assert shown.count("<img") == shown.count("data:image/jpeg;base64,") == 4
    bad = "<script>alert(1)</script>'\"&"
    match = Match(1, 0, (0, 0, 1, 1), 3, 0.5, f"/pics/{bad}.jpg", {"title": bad})
    for each in (match, Match(1, 0, (0, 0, 1, 1), 3, 0.5, f"/pics/{bad}", {})):
        html = Results((each,), {}, True, "m", 1)._repr_html_()
        assert "<script" not in html
        assert "&lt;" in html or "script&gt;" in html
    assert "no matches" in Results((), {}, True, "m", 1)._repr_html_()


def test_a_match_is_called_by_its_title_label_or_file() -> None:
    def name(**metadata: object) -> str:
        return Match(1, 0, (0, 0, 1, 1), 3, 0.5, "/pics/a.jpg", metadata).name

    assert [name(title="A chair", label=3), name(label=3), name()] == ["A chair", "3", "a.jpg"]


# Threads, empty collections, models


def test_many_threads_search_while_one_changes_the_collection(tmp_path: Path, tiny: Path) -> None:
    """Items 1 to 100 stay; whoever searches meanwhile finds each of them, once, and nothing that was never there."""
    collection, random, reference = empty(tmp_path / "c", tiny), Random(BITS, 3), Reference()
    reference.put(collection, {number: (random.embedding(), {"keep": True}) for number in range(1, 101)})
    stop, wrong = threading.Event(), list[str]()

    def search(item_id: int) -> None:
        while not stop.is_set():
            try:
                found = [match.item for match in collection.search(item=item_id, limit=1000)]
                kept = sorted(each for each in found if each <= 100)
                if kept != sorted(set(range(1, 101)) - {item_id}) or len(set(found)) != len(found):
                    wrong.append(f"item {item_id} found {kept}")
            except Exception as error:
                wrong.append(repr(error))
            if wrong:
                stop.set()

    threads = [threading.Thread(target=search, args=(item_id,)) for item_id in range(1, 5)]
    for thread in threads:
        thread.start()
    for number in range(101, 161):
        reference.put(collection, {number: (random.embedding(), {})})
        reference.put(collection, {number - 50: (random.embedding(), {"keep": True})})
        if number % 3 == 0:
            reference.remove(collection, [number])
        if number % 20 == 0:
            collection.build_index()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    reference.check(collection.search(item=1, limit=200), 1, limit=200)
    collection.close()


def test_an_empty_collection_finds_nothing(tmp_path: Path, tiny: Path) -> None:
    with empty(tmp_path / "c", tiny) as collection:
        for wanted in ({}, {"filter": {"a": 1}}, {"exact": True}, {"rerank": False}, {"max_distance": 3}):
            assert len(collection.search(save(tmp_path / "q.png", 1), **wanted)) == 0


def test_real_pictures_find_their_like(baseline: Path, shared: Path, tmp_path: Path) -> None:
    """Of five classes of objects, nearly every picture's nearest is of its own class."""
    classes = sorted((shared / "datasets" / "caltech101").iterdir())[10:60:10]
    for each in classes:
        for path in sorted(each.glob("*.jpg"))[:6]:
            target = tmp_path / "pics" / each.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    run.once(run.Job((str(tmp_path / "pics"),), tmp_path / "c", str(baseline)))
    with Collection.open(tmp_path / "c") as collection:
        hits = [
            collection.search(item=item.item_id, limit=1)[0].metadata["folder"] == item.metadata["folder"]
            for item in collection.items()
        ]
        assert len(hits) == 30
        assert np.mean(hits) >= 0.8
        assert load(baseline).card.embedding_dim == 1024


def test_index_files_of_another_store_are_not_used(
    tmp_path: Path, tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that is put back under the index files of another history answers from itself."""
    answers = {}
    for name, seed in (("one", 1), ("other", 2)):
        collection, random = empty(tmp_path / name, tiny), Random(BITS, seed)
        Reference().put(collection, {number: (random.embedding(), {}) for number in range(1, 51)})
        collection.build_index()
        answers[name] = collection.search(item=7).matches
        collection.close()
    (tmp_path / "one" / "index").rename(tmp_path / "aside")
    (tmp_path / "other" / "index").rename(tmp_path / "one" / "index")
    with Collection.open(tmp_path / "one") as opened:
        assert opened.search(item=7).matches == answers["one"]
        assert opened.searcher().base is None
        assert "another state of the store" in caplog.text
        opened.build_index()
        assert opened.search(item=7).matches == answers["one"]


def test_a_store_put_back_does_not_take_the_vectors_of_the_time_in_between(tmp_path: Path, tiny: Path) -> None:
    """Another picture in the middle, the same one at the end: every row of the vector file would look as it should."""
    random = Random(BITS, 3)
    first, second, other, last = (random.embedding() for _ in range(4))
    collection, reference = empty(tmp_path / "c", tiny), Reference()
    reference.put(collection, {1: (first, {}), 2: (second, {})})
    collection.build_index(force=False)
    collection.close()
    shutil.copytree(tmp_path / "c" / "store", tmp_path / "kept")
    with Collection.open(tmp_path / "c") as opened:
        Reference().put(opened, {3: (-other, {}), 4: (last, {})})
        opened.build_index(force=False)
    shutil.rmtree(tmp_path / "c" / "store")
    (tmp_path / "kept").rename(tmp_path / "c" / "store")
    with Collection.open(tmp_path / "c") as opened:
        reference.put(opened, {3: (other, {}), 4: (last, {})})
        for _ in range(2):
            for item_id in (1, 2, 3, 4):
                reference.check(opened.search(item=item_id), item_id, limit=20)
            opened.build_index(force=False)
