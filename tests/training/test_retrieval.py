"""A task is measured as its definition says: who may be found, what is right, and what is only chance."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.labelled import picture
from training import retrieval
from training.retrieval import P1, Place, Region, Task, compare, measure, measure_all
from visearch.codes import F32
from visearch.embedder import Embedder
from visearch.errors import ImageError, VisearchError

BITS = 64


def vector_of(place: Place) -> F32:
    """An embedding that depends on the path and the box alone; paths with equal first letters lie near each other."""
    path, box = place
    near = np.random.default_rng(ord(str(path)[0])).standard_normal(BITS)
    own = np.random.default_rng(crc32(f"{path} {box}".encode())).standard_normal(BITS)
    return (near + own).astype(np.float32)


def embed(places: Sequence[Place]) -> F32:
    return np.stack([vector_of(place) for place in places])


def region(path: str, *labels: str, box: tuple[float, float, float, float] = (0, 0, 1, 1), group: str = "") -> Region:
    return Region(Path(path), frozenset(labels), box, group)


regions = st.builds(
    region,
    st.sampled_from(["a1", "a2", "b1", "b2", "c1", "c2"]),
    st.sampled_from("xyz"),
    box=st.sampled_from([(0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.5, 0.5)]),
    group=st.sampled_from("gh"),
)


@given(
    st.lists(regions, min_size=1, max_size=8),
    st.lists(regions, min_size=1, max_size=12),
    st.booleans(),
    st.booleans(),
)
def test_precision_is_that_of_a_plain_loop(
    queries: list[Region], corpus: list[Region], leave_self_out: bool, within_group: bool
) -> None:
    task = Task("t", "", tuple(queries), tuple(corpus), leave_self_out, within_group)
    expected = []
    for query in queries:
        searched = [
            each
            for each in corpus
            if not (leave_self_out and each.path == query.path) and not (within_group and each.group != query.group)
        ]
        if any(query.labels & each.labels for each in searched):
            bits = vector_of(query.place) > 0
            nearest = min(searched, key=lambda each: int((bits != (vector_of(each.place) > 0)).sum()))
            expected.append(float(bool(nearest.labels & query.labels)))
    if not expected:
        with pytest.raises(VisearchError, match="relevant"):
            measure(task, embed)
        return
    result = measure(task, embed)
    assert result.values("binary", P1).tolist() == expected
    assert result.left_out == len(queries) - len(expected)


@given(st.lists(st.sampled_from("xy"), min_size=2, max_size=7), st.integers(1, 5))
def test_chance_is_the_share_of_all_draws(labels: list[str], k: int) -> None:
    corpus = tuple(region(f"c{number}", label) for number, label in enumerate(labels))
    if "x" not in labels:
        return
    result = measure(Task("t", "", (region("q", "x"),), corpus), embed)
    draws = list(combinations(labels, min(k, len(labels))))
    share = sum("x" in draw for draw in draws) / len(draws)
    assert retrieval._chance([labels.count("x")], [len(labels)], k) == pytest.approx(share)
    assert result.chance[P1] == pytest.approx(labels.count("x") / len(labels))


def test_a_region_that_many_tasks_share_is_embedded_once() -> None:
    asked: list[Place] = []

    def counting(places: Sequence[Place]) -> F32:
        asked.extend(places)
        return embed(places)

    shared = (region("a1", "x"), region("a2", "x"))
    measure_all([Task("one", "", shared, shared, True), Task("two", "", shared[:1], shared, True)], counting)
    assert sorted(asked) == sorted(each.place for each in shared)


def test_a_gain_is_of_the_same_queries() -> None:
    corpus = tuple(region(f"{label}{number}", label) for label in "abcd" for number in range(5))
    task = Task("t", "", corpus, corpus, leave_self_out=True)

    def blind(places: Sequence[Place]) -> F32:
        return np.random.default_rng(0).standard_normal((len(places), BITS)).astype(np.float32)

    before, after = measure(task, blind), measure(task, embed)
    gain = compare(before, after)
    assert gain.mean == pytest.approx(after.values("binary", P1).mean() - before.values("binary", P1).mean())
    assert gain.low > 0
    assert gain.sure
    assert not compare(after, after).sure
    fewer = measure(Task("t", "", corpus[:4], corpus, leave_self_out=True), embed)
    with pytest.raises(ValueError, match="same queries"):
        compare(fewer, after)


def test_kept_results_come_back_and_those_of_other_data_do_not(tmp_path: Path) -> None:
    corpus = tuple(region(f"{label}{number}", label, group=label) for label in "abc" for number in range(4))
    task = Task("t", "a title", corpus, corpus, leave_self_out=True)
    result = measure(task, embed)
    retrieval.save({"t": result}, tmp_path / "r.npz")
    back = retrieval.load([task], tmp_path / "r.npz")["t"]
    assert back.to_json() == result.to_json()
    assert (back.rankings.hit_distances == result.rankings.hit_distances).all()
    turned = (replace(corpus[0], labels=corpus[-1].labels), *corpus[1:-1], replace(corpus[-1], labels=corpus[0].labels))
    for queries, other in (
        (corpus[:3], corpus),
        (corpus, turned),  # as many of each
        (corpus, (*corpus[:-1], replace(corpus[-1], path=Path("c9")))),
        (corpus, (*corpus[:-1], replace(corpus[-1], box=(0, 0, 1, 0.5)))),
        (corpus, (*corpus[:-1], replace(corpus[-1], group="a"))),
    ):
        with pytest.raises(VisearchError, match="is not what it was"):
            retrieval.load([Task("t", "", queries, other, leave_self_out=True)], tmp_path / "r.npz")
    moved = tuple(replace(each, path=Path("/elsewhere") / each.path) for each in corpus)
    assert retrieval.load([replace(task, queries=moved, corpus=moved)], tmp_path / "r.npz")
    (tmp_path / "r.npz").write_bytes(b"no results")
    with pytest.raises(VisearchError, match=r"r\.npz"):
        retrieval.load([task], tmp_path / "r.npz")


def test_regions_are_embedded_as_the_model_file_says(tiny: Path, tmp_path: Path) -> None:
    for number in range(40):  # more than are embedded together
        picture(f"colour {number}", 0).save(tmp_path / f"{number}.png")
    model = Embedder(tiny)
    box = (0.1, 0.2, 0.9, 0.8)
    places = [(tmp_path / f"{number}.png", box) for number in range(40)]
    vectors = retrieval.embed_with(model)(places)
    one = retrieval.embed_with(model)([places[33]])
    assert np.array_equal(vectors[33], one[0])
    whole = retrieval.embed_with(model)([(tmp_path / "33.png", (0.0, 0.0, 1.0, 1.0))])
    assert not np.array_equal(one, whole)


def test_a_broken_picture_is_an_error_not_a_smaller_benchmark(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(ImageError, match=r"broken\.png: "):
        retrieval.embed_with(Embedder(tiny))([(tmp_path / "broken.png", (0.0, 0.0, 1.0, 1.0))])
