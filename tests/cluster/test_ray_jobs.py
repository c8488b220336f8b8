"""Indexing and backfill on a Ray cluster give what this machine alone gives, whatever dies on the way."""

from __future__ import annotations

import io
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from indexer import portions
from indexer.portions import read_result
from tests.cluster.conftest import two_nodes
from tests.faults.helpers import contents, finish, make_pictures, problems, skipped, start
from tests.pictures import Done, is_one_line, save, visearch
from tests.tiny_detector import write_detector
from tests.tiny_model import write_model
from visearch.collection import Collection
from visearch.missing import count_missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]
PART = 8  # pictures, so that a few hundred are many portions
COMMAND = (
    sys.executable,
    "-c",
    f"from indexer import portions; portions.PART = {PART}; from visearch.cli import main; main()",
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of two CPUs."""
    with two_nodes(cpus=2) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: Path) -> None:
    """Everything in a folder of its own, indexed with the tiny model, in small portions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISEARCH_MODEL", str(tiny))
    monkeypatch.setenv("VISEARCH_DETECTOR", str(write_detector(tmp_path / "detector.onnx")))
    monkeypatch.setattr(portions, "PART", PART)


def run(*arguments: object) -> Done:
    done = visearch(*arguments)
    assert done.code == 0, done.err
    return done


def equal(one: str, other: str) -> None:
    """Both collections hold the same of each source: regions, codes, int8 copies, metadata; and the same failures."""
    assert contents(Path(one)) == contents(Path(other))
    assert skipped(Path(one)) == skipped(Path(other))
    assert [each.kind for each in problems(Path(one))] == [each.kind for each in problems(Path(other))]


def put_in_tar(path: Path, pictures: list[Path]) -> None:
    """A webdataset shard, with a metadata member for each picture."""
    with tarfile.open(path, "w") as archive:
        for number, picture in enumerate(pictures):
            archive.add(picture, f"{number:04}.png")
            text = f'{{"number": {number}}}'.encode()
            about = tarfile.TarInfo(f"{number:04}.json")
            about.size = len(text)
            archive.addfile(about, io.BytesIO(text))


def wait_for_results(collection: str, count: int) -> None:
    """Until so many results were written by a run that goes on."""
    while sum(1 for _ in Path(collection).glob("ray/*/*.parquet")) < count:
        time.sleep(0.02)


def workers() -> list[psutil.Process]:
    """The processes that work on portions, on all nodes."""
    found = []
    for each in psutil.Process().children(recursive=True):
        try:
            found += [each] if " ".join(each.cmdline()).startswith("ray::Map") else []
        except psutil.NoSuchProcess:
            continue
    return found


def test_indexing_gives_what_one_machine_gives(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make_pictures(tmp_path / "pics", 150)
    for number in (0, 1, 70):  # beside the first, and far from it
        (tmp_path / "pics" / f"{number}-twin.png").write_bytes(paths[number].read_bytes())
        (tmp_path / "pics" / f"zz-twin-{number}.png").write_bytes(paths[number].read_bytes())
    (tmp_path / "pics" / "cut.png").write_bytes(paths[3].read_bytes()[:-40])
    (tmp_path / "pics" / "cut-twin.png").write_bytes(paths[3].read_bytes()[:-40])
    (tmp_path / "pics" / "empty.jpg").touch()
    monkeypatch.setenv("VISEARCH_MAX_MEGAPIXELS", "0.01")  # settings go along with the job
    save(tmp_path / "pics" / "large.png", 1, (200, 100))
    (tmp_path / "pics" / "text.jpg").write_text("no picture")
    put_in_tar(tmp_path / "more.tar", make_pictures(tmp_path / "members", 60, seed=1))
    Path("rows.csv").write_text("path,color\npics/more/00-00009.png,red\nnowhere.png,blue\n")
    sources = ("pics", "more.tar", "rows.csv", "--objects", "--json", "--report")

    alone = run("index", *sources, "alone.csv", "--collection", "alone")
    there = run("index", *sources, "there.csv", "--collection", "there", "--ray", cluster.address)

    assert {**there.json, "seconds": 0} == {**alone.json, "seconds": 0}
    assert sorted(Path("there.csv").read_text().splitlines()) == sorted(Path("alone.csv").read_text().splitlines())
    equal("there", "alone")
    assert list(Path("there/ray").iterdir()) == []
    again = run("index", *sources, "there.csv", "--collection", "there", "--ray", cluster.address)
    assert [again.json[name] for name in ("added", "updated", "removed")] == [0, 0, 0]
    equal("there", "alone")


def test_what_the_cluster_calls_a_gpu_embeds(cluster: Any, tmp_path: Path) -> None:
    """There is none here: what is tested is that the actors go where Ray has one, and tasks still find room."""
    node = cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=100_000_000)
    make_pictures(tmp_path / "pics", 4 * PART)
    run("index", "pics", "--collection", "there", "--ray", cluster.address)
    cluster.remove_node(node)
    run("index", "pics", "--collection", "alone")
    equal("there", "alone")


def test_a_picture_that_moved_is_the_item_it_was(cluster: Any, tmp_path: Path) -> None:
    save(tmp_path / "pics" / "a.png", 1)
    first = run("index", "pics", "--ray", cluster.address, "--json")
    (tmp_path / "pics" / "a.png").rename(tmp_path / "pics" / "b.png")
    second = run("index", "pics", "--ray", cluster.address, "--json")
    assert (first.json["added"], second.json["updated"], second.json["items"]) == (1, 1, 1)
    assert list(contents(Path(".visearch"))) == [str(tmp_path / "pics" / "b.png")]


def test_a_node_that_is_killed_half_way_costs_nothing(cluster: Any, tmp_path: Path) -> None:
    count = 100 * PART
    make_pictures(tmp_path / "pics", count)
    node = cluster.add_node(num_cpus=2, object_store_memory=100_000_000)
    left: list[int] = []

    def kill() -> None:
        wait_for_results("there", 20)
        left.append(100 - sum(1 for _ in Path("there").glob("ray/*/*.parquet")))
        cluster.remove_node(node, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    there = run("index", "pics", "--collection", "there", "--ray", cluster.address, "--json")
    killer.join()
    assert left[0] > 0, "it was all done before the node was killed"
    assert (there.json["added"], there.json["skipped"]) == (count, 0)
    run("index", "pics", "--collection", "alone")
    equal("there", "alone")


def test_a_worker_that_is_killed_costs_nothing(cluster: Any, tmp_path: Path) -> None:
    count = 60 * PART
    make_pictures(tmp_path / "pics", count)

    def kill() -> None:
        for done in (5, 15, 25):
            wait_for_results("there", done)
            for each in workers()[:1]:
                each.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    there = run("index", "pics", "--collection", "there", "--ray", cluster.address, "--json")
    killer.join()
    assert there.json["added"] == count
    run("index", "pics", "--collection", "alone")
    equal("there", "alone")


def test_a_killed_command_goes_on_with_what_is_unfinished(cluster: Any, tmp_path: Path) -> None:
    count = 80 * PART
    make_pictures(tmp_path / "pics", count)
    command = ("index", "pics", "--collection", "there", "--ray", cluster.address)
    driver = start(*command, command=COMMAND)
    wait_for_results("there", 10)
    driver.kill()
    finish(driver)
    psutil.wait_procs(workers(), timeout=60)  # Ray ends them, who finish what they are at

    results = [path for path in Path("there").glob("ray/*/*.parquet") if path.stat().st_size]
    waiting = {each.file.source for path in results for each in read_result(path)}  # type: ignore[union-attr]
    done = waiting | contents(Path("there")).keys()
    assert 10 * PART <= len(done) < count
    again = run(*command, "--json")
    assert (again.json["added"], again.json["unchanged"]) == (count - len(done), len(done))
    run("index", "pics", "--collection", "alone")
    equal("there", "alone")


def test_a_backfill_gives_what_one_machine_gives(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of what has gone (from its working copy), or changed, or is in a shard."""
    paths = make_pictures(tmp_path / "pics", 100)
    (tmp_path / "pics" / "twin.png").write_bytes(paths[0].read_bytes())
    put_in_tar(tmp_path / "more.tar", make_pictures(tmp_path / "members", 40, seed=1))
    model = write_model(tmp_path / "other.onnx", seed=1)
    for name in ("there", "alone"):
        monkeypatch.setenv("VISEARCH_WORKING_COPIES", "off")
        run("index", "pics", "more.tar", "--objects", "--collection", name)
        monkeypatch.setenv("VISEARCH_WORKING_COPIES", "on")
        save(tmp_path / "copied" / "gone.png", 1000)
        run("index", "copied", "--collection", name)
    (tmp_path / "copied" / "gone.png").unlink()
    paths[0].unlink()  # its twin is there
    paths[1].unlink()
    save(paths[2], 2000)

    alone = run("backfill", "--model", model, "--collection", "alone", "--json")
    there = run("backfill", "--model", model, "--collection", "there", "--ray", cluster.address, "--json")

    listed = [{(each["source"], each["reason"]) for each in done.json.pop("skipped")} for done in (alone, there)]
    assert listed[0] == listed[1] == {(str(paths[1]), "unreadable"), (str(paths[2]), "changed")}
    assert (there.json["filled"], there.json["missing"], there.json["items"]) == (140, 2, 142)
    for name in ("there", "alone"):
        run("generations", "switch", 2, "--allow-missing", "--collection", name)
    equal("there", "alone")
    assert list(Path("there/ray").iterdir()) == []


def test_a_killed_backfill_goes_on_with_what_is_unfinished(cluster: Any, tmp_path: Path) -> None:
    count = 40 * PART
    make_pictures(tmp_path / "pics", count)
    model = write_model(tmp_path / "other.onnx", seed=1)
    for name in ("there", "alone"):
        run("index", "pics", "--collection", name)
    command = ("backfill", "--model", model, "--collection", "there", "--ray", cluster.address)
    driver = start(*command, command=COMMAND)
    wait_for_results("there", 10)
    driver.kill()
    finish(driver)
    with Collection.open("there") as opened:
        missing = count_missing(opened.store, 2)
    assert 0 < missing < count
    again = run(*command, "--json")
    assert (again.json["filled"], again.json["missing"]) == (missing, 0)
    run("backfill", "--model", model, "--collection", "alone")
    for name in ("there", "alone"):
        run("generations", "switch", 2, "--collection", name)
    equal("there", "alone")


def test_what_is_wrong_is_said_in_a_line(tmp_path: Path) -> None:
    save(tmp_path / "pics" / "a.png", 1)
    run("index", "pics")
    for arguments, said in (
        (("index", "--ray", "pics", "pics"), "--ray pics: not an address"),
        (("index", "pics", "--watch", "--ray"), "leave --ray away"),
        (("backfill", "--generation", 1, "--max-load", 0.5, "--ray"), "--max-load holds for this machine"),
    ):
        done = visearch(*arguments)
        assert done.code == 2
        assert is_one_line(done.err)
        assert said in done.err
