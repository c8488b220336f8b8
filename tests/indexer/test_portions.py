"""Portions of a job that is spread over machines: how work is cut, what their files hold, what a worker does."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import portions
from indexer.portions import Folder, Portion, Refill, Result, Task, committed, read_result, write_result
from indexer.ray_work import Embedding, Job, decode
from tests.pictures import save_all
from visearch import embedder
from visearch.errors import StoreError
from visearch.ingest import Claims, Embedded, Failed, File, Same, prepare
from visearch.missing import Filled, Missing
from visearch.refill import Unfillable
from visearch.store import Store

INPUT = 32 * 32 * 3  # bytes
WHOLE = (0.0, 0.0, 1.0, 1.0)
OBJECT = (0.25, 0.1, 0.5, 1 / 3)


def file(number: int, source: str = "", detector: str = "") -> File:
    return File(number, source or f"/pics/{number}.png", 5, 7, "/pics", {"n": number}, detector=detector)


def missing(number: int, regions: int = 1) -> Missing:
    return Missing(number, f"/pics/{number}.png", "/pics", bytes(32), (WHOLE, *[OBJECT] * (regions - 1)), True, False)


def refilled(number: int, regions: int) -> Refill:
    return Refill(missing(number, regions), (f"/pics/{number}.png", f"/pics/twin-{number}.png"))


def cut(tasks: Iterable[Task]) -> list[Portion]:
    return list(portions.portions(tasks, INPUT))


TASKS = st.lists(
    st.builds(
        file, st.integers(0, 99), st.sampled_from(["", "/x.tar#a.png", "/y.tar#b.png"]), st.sampled_from(["", "d"])
    )
    | st.builds(refilled, st.integers(0, 99), st.integers(1, 11)),
    max_size=60,
)


@given(TASKS, st.integers(1, 9), st.integers(1, 30))
def test_no_task_is_lost_and_no_part_is_too_large(tasks: list[Task], pictures: int, regions: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(portions, "PART", pictures)
        patched.setattr(portions, "PART_BYTES", regions * INPUT)
        found = cut(tasks)
    parts = list(chain.from_iterable(found))
    assert list(chain.from_iterable(parts)) == tasks
    for part in parts:
        held = sum(portions._regions(task) for task in part)
        assert 1 <= len(part) <= pictures
        assert held <= regions or len(part) == 1


def test_the_pictures_of_a_shard_are_one_portion_and_files_one_for_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "PART", 2)
    in_shard = [file(number, f"/x.tar#{number}.png") for number in range(5)]
    files = [file(number) for number in range(5)]
    assert [[len(part) for part in portion] for portion in cut([*in_shard, *files])] == [[2, 2, 1], [2], [2], [1]]


@given(TASKS)
def test_a_plan_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, tasks: list[Task]) -> None:
    folder = Folder(tmp_path_factory.mktemp("job"))
    work = cut(tasks)
    names = folder.plan(work)
    assert [folder.work(name) for name in names] == work
    assert folder.plan(work) == names
    assert len(set(names)) == len(names)


def results() -> list[Result]:
    codes = np.arange(16, dtype=np.uint8).reshape(2, 8)
    vectors = np.arange(132, dtype=np.uint8).reshape(2, 66)
    name = file(2, "/pics/\udcff.png")  # a file name that is no text
    return [
        Embedded(file(1), b"c" * 32, 640, 480, b"jpeg", codes, vectors, "model", (WHOLE, OBJECT), b"copy"),
        Embedded(name, b"d" * 32, 1, 1, b"jpeg", codes[:1], vectors[:1], "model"),
        Same(file(3), b"c" * 32),
        Failed(file(4), b"", "corrupt", "cut off: \udcff"),
        Filled(missing(5, 2), codes, vectors),
        Unfillable(missing(6), "unreadable", "gone"),
    ]


def plain(result: Any) -> dict[str, Any]:
    arrays = {"codes", "vectors"}
    return {key: value.tolist() if key in arrays else value for key, value in vars(result).items()}


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a-0000.parquet"
    write_result(path, results())
    found = read_result(path)
    assert [type(each) for each in found] == [type(each) for each in results()]
    assert [plain(each) for each in found] == [plain(each) for each in results()]
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_half_written_or_committed_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path / "job")
    (name,) = folder.plan(cut([file(1)]))
    with monkeypatch.context() as patched, pytest.raises(OSError, match="full"):
        patched.setattr("os.fsync", full)
        write_result(folder.result(name, 0), results())
    assert folder.results() == []
    write_result(folder.result(name, 0), results())
    assert folder.results() == [folder.result(name, 0)]
    committed(folder.result(name, 0))
    assert folder.results() == []
    folder.clear()
    assert not folder.path.exists()


def full(descriptor: int) -> None:
    raise OSError("the disk is full")


def test_a_result_of_another_format_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a-0000.parquet"
    write_result(path, results())
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({b"visearch_result": b"9"}), path)
    with pytest.raises(StoreError, match="format 9, this visearch reads 1"):
        read_result(path)


# A worker, without Ray


@pytest.fixture
def job(tmp_path: Path, tiny: Path) -> Job:
    model = embedder.load(tiny)
    return Job(Folder(tmp_path / "job"), model.card, tiny, model.sha256, model.precision, None)


def worked(job: Job, names: list[str]) -> list[Result]:
    """What came of portions, all of which one worker does."""
    tables = list(decode({"portion": names}, job))
    Embedding(job)(pa.concat_tables(tables))
    return [result for path in job.folder.results() for result in read_result(path)]


def on_disk(number: int, path: Path) -> File:
    return File(number, str(path), path.stat().st_size, path.stat().st_mtime_ns, str(path.parent))


def test_a_worker_gives_what_indexing_gives(tmp_path: Path, tiny: Path, job: Job) -> None:
    paths = save_all(tmp_path / "pics", range(5))
    paths[1].write_bytes(paths[0].read_bytes())
    paths[2].write_bytes(b"no picture")
    files = [on_disk(number, path) for number, path in enumerate(paths)]
    paths[3].unlink()
    with_store = Store(tmp_path / "store", create=True)
    expected = prepare(files, with_store, lambda: embedder.load(tiny), Claims())
    with_store.close()
    found = worked(job, job.folder.plan(cut(files)))
    assert [type(each) for each in found] == [Embedded, Same, Failed, Failed, Embedded]
    assert [plain(each) for each in found] == [plain(each) for each in expected]


def test_pictures_in_a_shard_are_read_there(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "PART", 3)
    paths = save_all(tmp_path / "pics", range(8))
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for path in paths:
            archive.add(path, path.name)
    names = [path.name for path in paths if path.name != "004.png"]  # one that had not changed
    inside = [file(number, f"{tmp_path}/x.tar#{name}") for number, name in enumerate([*names, "gone.png"])]
    outside = [on_disk(number, path) for number, path in enumerate(paths) if path.name != "004.png"]
    found = worked(job, job.folder.plan(cut(inside)))
    other = replace(job, folder=Folder(tmp_path / "other"))
    alone = worked(other, other.folder.plan(cut(outside)))
    assert [plain(each)["codes"] for each in found[:-1]] == [plain(each)["codes"] for each in alone]
    assert isinstance(found[-1], Failed)
    assert found[-1].reason == "unreadable"


def test_what_is_finished_is_not_read_again(tmp_path: Path, job: Job) -> None:
    (path,) = save_all(tmp_path / "pics", [1])
    names = job.folder.plan(cut([on_disk(1, path)]))
    first = worked(job, names)
    path.unlink()
    assert [plain(each) for each in worked(job, names)] == [plain(each) for each in first]


def test_a_model_that_is_another_one_on_this_machine_embeds_nothing(job: Job) -> None:
    with pytest.raises(Exception, match="not the same file on all machines"):
        Embedding(replace(job, sha256="0" * 64))


def test_an_item_is_refilled_from_the_first_place_with_its_bytes(tmp_path: Path, job: Job) -> None:
    changed, twin, gone = *save_all(tmp_path / "pics", [1, 2]), tmp_path / "gone.png"
    content = hashlib.sha256(twin.read_bytes()).digest()
    wanted = replace(missing(1, 2), content=content)
    lost = replace(missing(2), content=bytes(32))
    tasks = [
        Refill(wanted, (str(gone), str(changed), str(twin))),
        Refill(lost, (str(gone), str(changed))),
    ]
    found = worked(job, job.folder.plan(cut(tasks)))
    assert sorted(type(each).__name__ for each in found) == ["Filled", "Unfillable"]
    filled = next(each for each in found if isinstance(each, Filled))
    assert filled.missing == wanted
    assert filled.codes.shape == (2, 8)
