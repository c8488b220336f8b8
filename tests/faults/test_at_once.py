"""Several processes on one collection at once: writers do not get into each other's way, searchers follow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from indexer.pipeline import Pipeline
from indexer.scan import Scan
from tests.faults.conftest import Undisturbed
from tests.faults.helpers import (
    DRIVERS,
    SECONDS,
    contents,
    embedded_alone,
    fails_in_one_line,
    finish,
    make_pictures,
    problems,
    skipped,
    start,
    succeeds,
    visearch,
)
from tests.tiny_model import write_model
from visearch import Collection
from visearch.errors import LeaseError
from visearch.ingest import Claims, File, commit, prepare
from visearch.leases import lease


def test_two_indexing_processes_share_the_work_and_double_nothing(undisturbed: Undisturbed, tmp_path: Path) -> None:
    collection = tmp_path / "collection"
    arguments = ("index", undisturbed.pictures, "--collection", collection, "--model", undisturbed.model, "--json")
    both = [start(*arguments), start(*arguments)]
    summaries = [json.loads(succeeds(finish(process))) for process in both]
    assert sum(summary["added"] for summary in summaries) == len(undisturbed.held)
    assert sum(summary["updated"] + summary["removed"] for summary in summaries) == 0
    assert contents(collection) == undisturbed.held
    assert skipped(collection) == undisturbed.skipped
    assert problems(collection) == []


def test_two_processes_over_different_halves_make_one_whole(undisturbed: Undisturbed, tmp_path: Path) -> None:
    collection = tmp_path / "collection"
    files = sorted(str(path) for path in undisturbed.pictures.rglob("*.png"))
    manifests = []
    for half in range(2):
        manifest = tmp_path / f"half{half}.csv"
        manifest.write_text("\n".join(["path,half", *(f"{path},{half}" for path in files[half::2])]))
        manifests.append(manifest)
    arguments = ("--collection", collection, "--model", undisturbed.model)
    both = [start("index", manifest, *arguments) for manifest in manifests]
    for process in both:
        succeeds(finish(process))
    held = contents(collection)
    assert {source: value[:3] for source, value in held.items()} == {
        source: value[:3] for source, value in undisturbed.held.items()
    }
    assert all(held[path][3] == {"half": place % 2} for place, path in enumerate(files) if path in held)
    assert problems(collection) == []


def test_indexing_removing_and_searching_at_once(undisturbed: Undisturbed, tmp_path: Path) -> None:
    collection, pictures = tmp_path / "collection", shutil.copytree(undisturbed.pictures, tmp_path / "pictures")
    first = make_pictures(tmp_path / "first", 40, seed=5)
    succeeds(visearch("index", tmp_path / "first", "--collection", collection, "--model", undisturbed.model))
    running = [
        start("index", pictures, "--collection", collection),
        start("remove", *first[:20], "--collection", collection),
        start("remove", *first[20:30], "--collection", collection),
        start("search", first[39], "--collection", collection),
        start("info", "--collection", collection),
    ]
    for process in running:
        succeeds(finish(process))
    sources = {source.removeprefix(str(undisturbed.pictures)) for source in undisturbed.held}
    assert contents(collection).keys() == {f"{pictures}{name}" for name in sources} | {str(path) for path in first[30:]}
    assert problems(collection) == []


def test_a_path_whose_item_has_moved_on_gets_an_item_of_its_own(tiny: Path, tmp_path: Path) -> None:
    """A process reads the new content of a path; before it commits, the old file is found by another name."""
    (old, new) = make_pictures(tmp_path / "pictures", 2)
    moved = tmp_path / "pictures" / "moved.png"
    with Collection.open(tmp_path / "collection", create=True, model=tiny) as opened:
        index_with(opened, old)
        content = old.read_bytes()
        old.write_bytes(new.read_bytes() + b"changed")
        (slow,) = Scan(opened.store, [str(old)]).changed(threading.Event())
        assert isinstance(slow, File)
        outcomes = prepare([slow], opened.store, lambda: opened.embedder, Claims())

        old.unlink()
        moved.write_bytes(content)
        index_with(opened, moved)
        assert opened.find_item(str(moved)) == slow.item_id
        commit(opened.store, outcomes)
        assert opened.find_item(str(moved)) == slow.item_id
        assert opened.find_item(str(old)) != slow.item_id
    assert [problem for problem in problems(tmp_path / "collection") if problem.kind == "store"] == []


def test_two_processes_that_make_one_collection_with_different_models(tiny: Path, tmp_path: Path) -> None:
    """One makes it, the other is told so; no item has a code of another model than the collection's."""
    folder, collection = tmp_path / "pictures", tmp_path / "collection"
    make_pictures(folder, 30)
    models = [tiny, write_model(tmp_path / "other.onnx", seed=1)]
    both = [start("index", folder, "--collection", collection, "--model", model) for model in models]
    ended = [finish(process) for process in both]
    assert sorted(done.returncode for done in ended) == [0, 1]
    (failed,) = (done for done in ended if done.returncode)
    assert "its codes were made by tiny 1, not by" in fails_in_one_line(failed)
    used = models[0 if ended[0].returncode == 0 else 1]
    for source, (_, code, _, _) in contents(collection).items():
        assert code == embedded_alone(used, Path(source))


def test_only_one_process_at_a_time_writes_the_index_and_the_other_says_who(collection: Path) -> None:
    with lease(collection, "index"), Collection.open(collection) as opened:
        with pytest.raises(LeaseError, match="index is being done by process"):
            opened.build_index()
        done = visearch("index", Path(opened.item(1).source).parent, "--collection", collection)
        assert done.returncode == 0, "a search reads from the store what is not in the index"
        assert "index is being done by process" in done.stderr


@dataclass(frozen=True)
class Search:
    """One search of the searching process."""

    start: float
    end: float
    found: dict[str, int]


@contextmanager
def searching(collection: Path, query: Path) -> Iterator[list[Search]]:
    """Another process that searches in a loop; its searches are in the list when the block has ended."""
    searches: list[Search] = []
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, str(DRIVERS / "searching.py"), str(collection), str(query)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=errors,
        )
        try:
            while not output.tell() and process.poll() is None:
                time.sleep(0.01)
                output.seek(0, 2)
            yield searches
            process.communicate(timeout=SECONDS)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        errors.seek(0)
        assert (process.returncode, errors.read()) == (0, "")
        searches += [Search(**json.loads(line)) for line in output]


def test_an_open_searcher_follows_every_change_and_never_fails(tiny: Path, tmp_path: Path) -> None:
    folder, collection = tmp_path / "pictures", tmp_path / "collection"
    paths = make_pictures(folder, 60)
    (query,) = make_pictures(tmp_path / "query", 1, seed=7)
    succeeds(visearch("index", folder, "--collection", collection, "--model", tiny))
    # (from this moment on, this source is found at this distance: None not at all, -1 at any)
    changes: list[tuple[float, str, int | None]] = []

    def acknowledged(path: Path, distance: int | None) -> None:
        changes.append((time.monotonic(), str(path), distance))

    with searching(collection, query) as searches, Collection.open(collection) as opened:
        for number in range(12):
            (added,) = make_pictures(folder, 1, seed=20 + number)
            index_with(opened, folder)
            acknowledged(added, -1)
            opened.remove([opened.find_item(str(paths[number]))])
            acknowledged(paths[number], None)
            paths[number].unlink()
            updated = paths[30 + number]
            shutil.copyfile(query, updated)
            index_with(opened, folder)
            acknowledged(updated, 0)
            if number % 3 == 2:
                opened.build_index()

    assert len(searches) > 20
    for search in searches:
        state = {source: distance for moment, source, distance in changes if moment < search.start}
        for source, distance in state.items():
            if distance is None:
                assert source not in search.found
            else:
                assert source in search.found
                assert distance in (-1, search.found[source])
    assert any(moment < search.start for search in searches for moment in [changes[-1][0]])


def index_with(opened: Collection, source: Path) -> None:
    """Index a folder or file into an open collection, without the start of a process each time."""
    for _ in Pipeline(opened.store, lambda: opened.embedder, threading.Event()).run(Scan(opened.store, [str(source)])):
        pass
