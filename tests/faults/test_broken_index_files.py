"""Index files that are missing, cut short or garbage: the answers come from the store, `check` names what is wrong,
`check --repair` mends it. The store is never in doubt."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import Undisturbed
from tests.faults.helpers import (
    answers,
    contents,
    index_files,
    make_pictures,
    problems,
    ranking,
    succeeds,
    visearch,
)
from visearch import Collection
from visearch.base import FORMAT

BASE = "g1/base-000001"
DESCRIPTIONS = [f"{BASE}/meta.json", "g1/vectors.json"]
DATA = [f"{BASE}/flat.faiss", f"{BASE}/rows.bin", f"{BASE}/columns.bin", "g1/vectors.i8"]
LISTS = f"{BASE}/lists.faiss"
FILES = [
    *(("flat", name) for name in DESCRIPTIONS + DATA),
    *(("ivf", name) for name in [*DESCRIPTIONS, *DATA, LISTS]),
]

Harm = Callable[[Path], None]


def cut(left: float | int) -> Harm:
    return lambda path: os.truncate(path, int(path.stat().st_size * left) if left >= 0 else path.stat().st_size - 1)


def scribble(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


def flip(path: Path) -> None:
    """One byte in the middle is another."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


HARMS: dict[str, Harm] = {
    "truncated to nothing": cut(0.0),
    "truncated to half": cut(0.5),
    "without its last byte": cut(-1),
    "deleted": Path.unlink,
    "garbage": scribble,
}


@pytest.fixture(scope="module")
def indexed(undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The undisturbed collection with index files, flat and IVF; written when some codes were removed already."""
    collections = {}
    for kind, flat_up_to in (("flat", 10**9), ("ivf", 100)):
        collections[kind] = shutil.copytree(undisturbed.collection, tmp_path_factory.mktemp(kind) / "collection")
        with pytest.MonkeyPatch.context() as patch, Collection.open(collections[kind]) as opened:
            patch.setenv("VISEARCH_FLAT_UP_TO", str(flat_up_to))
            opened.remove(range(1, 20))
            opened.build_index()
            opened.remove([30])
        assert problems(collections[kind]) == []
        present = {name for name in index_files(collections[kind]) if (collections[kind] / "index" / name).is_file()}
        assert present == {name for of, name in FILES if of == kind}
    return collections


@pytest.fixture
def harmed(indexed: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the flat one, to be harmed."""
    return shutil.copytree(indexed["flat"], tmp_path / "collection")


def right_answers(collection: Path, undisturbed: Undisturbed) -> None:
    picture = sorted(undisturbed.held)[100]
    expected = ranking(collection, undisturbed.held[picture][1], 20)
    with Collection.open(collection) as opened:
        assert answers(opened.search(picture, exact=True, rerank=False)) == expected
        reranked = opened.search(picture, exact=True)
        assert answers(reranked)[0] == (0, picture)
        filtered = opened.search(picture, filter={"folder": "more"})
        assert len(filtered.matches) == 20
        assert all(match.metadata == {"folder": "more"} for match in filtered)


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
@pytest.mark.parametrize(("kind", "name"), FILES)
def test_a_harmed_file_is_not_used_but_named_and_mended(
    undisturbed: Undisturbed, indexed: dict[str, Path], tmp_path: Path, kind: str, name: str, harm: Harm
) -> None:
    harmed = shutil.copytree(indexed[kind], tmp_path / "collection")
    held = contents(harmed)
    harm(harmed / "index" / name)
    if not (name in [*DATA, LISTS] and harm is scribble):  # what only a checksum tells is found by `check`
        right_answers(harmed, undisturbed)
    found = problems(harmed)
    assert {problem.kind for problem in found} == {"index"}
    assert str(harmed / "index" / name.rsplit("/", 1)[0]) in found[0].message

    with Collection.open(harmed) as opened:
        opened.build_index()
    assert problems(harmed) == []
    right_answers(harmed, undisturbed)
    assert contents(harmed) == held
    with Collection.open(harmed) as opened:
        assert opened.searcher().base is not None
        assert opened.searcher().mapped.rows == len(undisturbed.held)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name in FILES if name not in DESCRIPTIONS])
def test_one_wrong_byte_is_found(indexed: dict[str, Path], tmp_path: Path, kind: str, name: str) -> None:
    harmed = shutil.copytree(indexed[kind], tmp_path / "collection")
    flip(harmed / "index" / name)
    assert [problem.kind for problem in problems(harmed)] == ["index"]


def test_the_commands_say_it_in_their_exit_codes(undisturbed: Undisturbed, harmed: Path) -> None:
    os.truncate(harmed / "index" / BASE / "rows.bin", 100)
    where = ("--collection", harmed)
    found = visearch("search", sorted(undisturbed.held)[100], *where)
    succeeds(found)
    assert "rows.bin: is 100 bytes" in found.stderr
    assert "`visearch check --repair` rebuilds it" in found.stderr
    assert "Traceback" not in found.stderr

    told = visearch("check", *where)
    assert told.returncode == 1
    assert "rows.bin: is 100 bytes" in told.stdout
    assert "NOT whole" in told.stdout
    repaired = json.loads(succeeds(visearch("check", "--repair", "--json", *where)))
    assert repaired["repaired"]
    assert repaired["whole"]
    assert "the collection is whole" in succeeds(visearch("check", *where))
    assert visearch("search", "--item", 50, *where).stderr.count("\n") == 1, "the times of the search, and no warning"


@pytest.mark.parametrize("folder", ["", "g1", BASE])
def test_a_deleted_index_folder(undisturbed: Undisturbed, harmed: Path, folder: str) -> None:
    shutil.rmtree(harmed / "index" / folder)
    right_answers(harmed, undisturbed)
    assert [problem.kind for problem in problems(harmed)] == ["index"]
    succeeds(visearch("check", "--repair", "--collection", harmed))
    assert problems(harmed) == []
    right_answers(harmed, undisturbed)


def test_index_files_of_a_future_format(undisturbed: Undisturbed, harmed: Path) -> None:
    meta = harmed / "index" / BASE / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "format": FORMAT + 1}))
    right_answers(harmed, undisturbed)
    (problem,) = problems(harmed)
    assert f"format {FORMAT + 1}" in problem.message
    assert f"reads {FORMAT}" in problem.message


def test_a_vector_file_that_the_index_has_outgrown(undisturbed: Undisturbed, collection: Path) -> None:
    """Without a base (few items), the vector file is checked all the same."""
    assert index_files(collection) == {"g1", "g1/vectors.i8", "g1/vectors.json"}
    os.truncate(collection / "index" / "g1" / "vectors.i8", 1000)
    with Collection.open(collection) as opened:
        assert answers(opened.search(sorted(undisturbed.held)[100]))[0][0] == 0
    assert [problem.kind for problem in problems(collection)] == ["index"]
    succeeds(visearch("index", undisturbed.pictures, "--collection", collection))
    assert problems(collection) == []


def test_leftovers_of_killed_processes_are_no_index_and_are_cleaned_up(undisturbed: Undisturbed, harmed: Path) -> None:
    g1 = harmed / "index" / "g1"
    shutil.copytree(g1 / "base-000001", g1 / "base-000002.partial")
    os.truncate(g1 / "base-000002.partial" / "rows.bin", 10)
    shutil.copytree(g1 / "base-000001", g1 / "base-000002")  # renamed, but not yet named by the store
    os.truncate(g1 / "base-000002" / "rows.bin", 10)
    (g1 / "vectors.i8.partial").write_bytes(b"half")
    (g1 / "vectors.json.partial").write_bytes(b"{")
    assert problems(harmed) == []
    right_answers(harmed, undisturbed)
    with Collection.open(harmed) as opened:
        opened.build_index()
    assert {path.name for path in g1.iterdir()} == {"base-000002", "vectors.i8", "vectors.json"}
    assert problems(harmed) == []
    right_answers(harmed, undisturbed)


def test_an_older_store_put_back_under_newer_index_files(
    undisturbed: Undisturbed, collection: Path, tmp_path: Path
) -> None:
    older = shutil.copytree(collection / "store", tmp_path / "older")
    make_pictures(tmp_path / "new", 30, seed=6)
    succeeds(visearch("index", tmp_path / "new", "--collection", collection))
    shutil.rmtree(collection / "store")
    shutil.copytree(older, collection / "store")
    assert contents(collection) == undisturbed.held
    right_answers(collection, undisturbed)
    other = make_pictures(tmp_path / "other", 30, seed=7)
    succeeds(visearch("index", tmp_path / "other", "--collection", collection))
    assert problems(collection) == []
    with Collection.open(collection) as opened:
        assert opened.search(other[0]).matches[0].score > 0.99
