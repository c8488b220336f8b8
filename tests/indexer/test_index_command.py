"""`visearch index`: what it takes in, leaves alone, removes and refuses, and what it says of it."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from indexer import flow, progress
from indexer.pipeline import Pipeline
from indexer.scan import Scan
from tests.pictures import ids, is_one_line, picture, save, save_all, stored, touch, visearch
from tests.tiny_detector import write_detector
from tests.tiny_model import BITS, card, write_model
from visearch import codes, images
from visearch.collection import Collection
from visearch.embedder import Embedder, load
from visearch.errors import StoreError

KEYS = ["added", "updated", "unchanged", "removed", "skipped", "items", "seconds"]
ZERO = dict.fromkeys(KEYS[:-1], 0)


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: Path) -> None:
    """Everything in a folder of its own, with the tiny model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISEARCH_MODEL", str(tiny))


def index(*arguments: object, stdin: bytes = b"", code: int = 0) -> dict[str, Any]:
    """Run it; its JSON without the seconds."""
    done = visearch("index", *arguments, "--json", stdin=stdin)
    assert done.code == code, done.err
    values = done.json
    assert list(values) == KEYS
    assert values.pop("seconds") >= 0
    return dict(values)


def counted(**counts: int) -> dict[str, int]:
    return ZERO | counts


def metadata(name: str) -> dict[str, Any]:
    (found,) = [each.metadata for source, each in stored(Path(".visearch")).items() if source.endswith(name)]
    return found


def code_of(path: Path) -> bytes:
    """Of a picture embedded alone."""
    model = load(Path(os.environ["VISEARCH_MODEL"]))
    decoded = images.decode(path.read_bytes(), min_side=model.min_side())
    return codes.pack(model.embed(model.prepare(decoded)[None])).tobytes()


# Objects


def test_objects_are_indexed_when_asked_for_and_what_was_indexed_without_is_brought_up_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISEARCH_DETECTOR", str(write_detector(tmp_path / "d.onnx")))
    save_all(tmp_path / "pics", range(5))
    assert index("pics") == counted(added=5, items=5)
    save(tmp_path / "pics" / "new.png", 7)
    assert index("pics", "--objects") == counted(added=1, updated=5, items=6)
    assert index("pics", "--objects") == counted(unchanged=6, items=6)
    assert index("pics") == counted(unchanged=6, items=6)
    assert visearch("check").code == 0
    with Collection.open(".visearch") as collection:
        assert {len(item.regions) for item in collection.items()} == {2}
        item = collection.item(3)
        # The crop of an object finds the picture that it was cut from, and says which region of it.
        found = collection.search(item.source, box=item.regions[1])[0]
    assert (found.item, found.region, found.box) == (3, 1, item.regions[1])
    assert found.score == pytest.approx(1, abs=0.001)


def test_objects_with_a_detector_that_is_not_here_are_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_all(tmp_path / "pics", range(2))
    monkeypatch.setenv("VISEARCH_DETECTOR", "yolox_nano")
    done = visearch("index", "pics", "--objects")
    assert done.code == 1
    assert "visearch models pull yolox_nano" in done.err
    assert not Path(".visearch").exists()


# Sources of every kind


def test_a_folder_is_taken_in(tmp_path: Path) -> None:
    save_all(tmp_path / "pics", range(40))
    assert index("pics") == counted(added=40, items=40)
    found = stored(Path(".visearch"))
    assert {source: each.code for source, each in found.items()} == {
        str(path): code_of(path) for path in (tmp_path / "pics").iterdir()
    }


def test_ids_follow_the_order_of_the_sources_whatever_the_threads(tmp_path: Path) -> None:
    """Slow and fast files mixed."""
    for number in range(60):
        save(tmp_path / "pics" / f"{number:03}.png", number, (900, 900) if number % 7 == 0 else (20, 20))
    index("pics")
    found = ids(Path(".visearch"))
    assert [found[name] for name in sorted(found)] == list(range(1, 61))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".gif", ".bmp", ".tiff"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    save(tmp_path / f"a{suffix}", 1)
    assert index(f"a{suffix}") == counted(added=1, items=1)


def test_strange_names_and_long_paths(tmp_path: Path) -> None:
    deep = tmp_path / "pics" / Path(*["x" * 200] * 12)
    names = ["日本語 😀.png", "new\nline.png", "-rf.png", " .png", os.fsdecode(b"\xff\xfe.png")]
    for seed, name in enumerate(names):
        save(tmp_path / "pics" / name, seed)
    save(deep / "deep.png", 99)
    assert index("pics", "--report", "r.csv") == counted(added=6, items=6)
    assert index("pics") == counted(unchanged=6, items=6)
    assert set(ids(Path(".visearch"))) == {*names, "deep.png"}
    for path in (*(Path("pics", name) for name in names), deep / "deep.png"):
        assert visearch("remove", "--", path).code == 0
    assert index("pics") == counted(added=6, items=6)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_manifests(tmp_path: Path, kind: str) -> None:
    save_all(tmp_path / "data" / "pics", range(3))
    rows: list[dict[str, Any]] = [
        {"path": f"pics/{number:03}.png", "label": f"l{number}", "price": 9.5 + number} for number in range(3)
    ]
    path = tmp_path / "data" / f"m.{kind}"
    if kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    assert index(path) == counted(added=3, items=3)
    assert metadata("001.png") == {"label": "l1", "price": 10.5}
    assert index(path) == counted(unchanged=3, items=3)


def test_a_parquet_with_dates_and_a_jsonl_with_anything(tmp_path: Path) -> None:
    import datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

    save_all(tmp_path, range(2))
    pq.write_table(pa.table({"path": ["000.png"], "day": [datetime.date(2024, 2, 29)]}), tmp_path / "m.parquet")
    odd = {
        "path": "001.png",
        "n": 10**40,
        "half \ud83d": "\ud83d",
        "deep": {"a": [1, {"b": None}]},
        "tags": ["x", None],
    }
    (tmp_path / "m.jsonl").write_text(json.dumps(odd))
    assert index("m.parquet", "m.jsonl") == counted(added=2, items=2)
    assert metadata("000.png") == {"day": "2024-02-29"}
    assert metadata("001.png")["tags"] == ["x"]
    assert visearch("search", "000.png", "--filter", '{"day": "2024-02-29"}', "--json").json["matches"]


@pytest.mark.parametrize("end", [b"\n", b"\0"])
def test_standard_input(tmp_path: Path, end: bytes) -> None:
    paths = [save(tmp_path / f"{number}.png", number) for number in range(3)]
    stdin = b"".join(os.fsencode(path) + end for path in paths)
    assert index("-", stdin=stdin) == counted(added=3, items=3)
    assert index("-", stdin=stdin) == counted(unchanged=3, items=3)


@pytest.mark.parametrize("sources", [("m.csv", "pics", "pics/002.png"), ("pics", "m.csv")])
def test_several_sources_with_a_picture_in_common(tmp_path: Path, sources: tuple[str, ...]) -> None:
    save_all(tmp_path / "pics", range(4))
    (tmp_path / "m.csv").write_text("path,label\npics/001.png,chair\n")
    assert index(*sources) == counted(added=4, items=4)
    assert metadata("001.png") == {"label": "chair"}
    (tmp_path / "m.csv").write_text("path,label\npics/001.png,stool\n")
    assert index(*sources) == counted(updated=1, unchanged=3, items=4)
    assert metadata("001.png") == {"label": "stool"}


@pytest.mark.parametrize("bad", ["nowhere", "m.csv", "m.parquet"])
def test_a_bad_source_is_told_before_anything_is_done(tmp_path: Path, bad: str) -> None:
    save_all(tmp_path / "pics", range(4))
    (tmp_path / "m.csv").write_text("file\na.png\n")
    (tmp_path / "m.parquet").write_text("no parquet")
    done = visearch("index", "pics", bad)
    assert (done.code, done.out) == (2, "")
    assert is_one_line(done.err)
    assert bad in done.err
    if Path(".visearch").exists():
        assert stored(Path(".visearch")) == {}


def test_a_source_without_pictures_is_said_to_have_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = visearch("index", "empty")
    assert done.code == 0
    assert "no pictures found" in done.err


# Again


def test_again_is_nothing(tmp_path: Path) -> None:
    save_all(tmp_path / "pics", range(5))
    index("pics")
    before = stored(Path(".visearch"))
    assert index("pics") == counted(unchanged=5, items=5)
    assert stored(Path(".visearch")) == before


def test_a_touched_file_is_unchanged_without_the_model(tmp_path: Path) -> None:
    """Its bytes are read and compared; nothing is decoded or embedded, so no model is needed."""
    save_all(tmp_path / "pics", range(3))
    index("pics")
    for path in Path(".visearch/models").iterdir():
        path.unlink()
    load.cache_clear()
    touch(tmp_path / "pics" / "001.png")
    assert index("pics") == counted(unchanged=3, items=3)


def test_a_changed_file_keeps_its_item_and_changes_its_code(tmp_path: Path) -> None:
    save_all(tmp_path / "pics", range(3))
    index("pics")
    before, known = stored(Path(".visearch")), ids(Path(".visearch"))
    path = save(tmp_path / "pics" / "001.png", 50)
    assert index("pics") == counted(updated=1, unchanged=2, items=3)
    after = stored(Path(".visearch"))
    assert ids(Path(".visearch")) == known
    assert after[str(path)].code == code_of(path) != before[str(path)].code
    assert {source for source in after if after[source] != before[source]} == {str(path)}


def test_a_moved_file_keeps_its_item_and_metadata(tmp_path: Path) -> None:
    save_all(tmp_path / "pics", range(3))
    (tmp_path / "m.csv").write_text("path,label\npics/001.png,chair\n")
    index("m.csv", "pics")
    known = ids(Path(".visearch"))["001.png"]
    (tmp_path / "pics" / "sub").mkdir()
    (tmp_path / "pics" / "001.png").rename(tmp_path / "pics" / "sub" / "moved.png")
    assert index("pics") == counted(updated=1, unchanged=2, items=3)
    assert ids(Path(".visearch"))["moved.png"] == known
    assert metadata("moved.png") == {"label": "chair", "folder": "sub"}
    assert index("pics", "--prune") == counted(unchanged=3, items=3)


def test_a_renamed_folder_keeps_its_items(tmp_path: Path) -> None:
    save_all(tmp_path / "pics" / "a", range(50))
    index("pics")
    known = ids(Path(".visearch"))
    (tmp_path / "pics" / "a").rename(tmp_path / "pics" / "b")
    assert index("pics", "--prune") == counted(updated=50, items=50)
    assert ids(Path(".visearch")) == known
    assert {each.metadata["folder"] for each in stored(Path(".visearch")).values()} == {"b"}


def test_a_changed_file_that_is_bad_keeps_the_old_item_and_is_reported(tmp_path: Path) -> None:
    save_all(tmp_path / "pics", range(3))
    index("pics")
    before = stored(Path(".visearch"))
    (tmp_path / "pics" / "001.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    assert index("pics", "--prune") == counted(unchanged=2, skipped=1, items=3)
    assert index("pics", "--prune") == counted(unchanged=2, skipped=1, items=3)
    assert stored(Path(".visearch")) == before


def test_new_metadata_alone_is_searchable_at_once(tmp_path: Path) -> None:
    save_all(tmp_path / "pics", range(3))
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,label\npics/000.png,a\npics/001.png,a\npics/002.png,a\n")
    index(manifest)
    manifest.write_text("path,label\npics/000.png,a\npics/001.png,b\npics/002.png,a\n")
    assert index(manifest) == counted(updated=1, unchanged=2, items=3)
    found = visearch("search", "pics/000.png", "--filter", '{"label": "b"}', "--json").json["matches"]
    assert [(Path(match["source"]).name, match["metadata"]) for match in found] == [("001.png", {"label": "b"})]


# Equal bytes


def test_equal_bytes_are_decoded_once_in_whole_runs(tmp_path: Path, tiny: Path) -> None:
    """200 files with 3 contents, one of them bad, spread over the threads."""

    class Counting(Embedder):
        count = 0
        lock = threading.Lock()

        def embed_each(self, batch: codes.U8) -> tuple[codes.F32, NDArray[np.bool_]]:
            with self.lock:
                self.count += len(batch)
            return super().embed_each(batch)

    stream = BytesIO()
    picture(1).save(stream, "PNG")
    contents = [stream.getvalue(), stream.getvalue() + b"more", b"bad"]
    (tmp_path / "pics").mkdir()
    for number in range(200):
        (tmp_path / "pics" / f"{number:03}.png").write_bytes(contents[number % 3])
    counting = Counting(tiny)
    with Collection.open(".visearch", create=True) as collection:
        *_, last = Pipeline(collection.store, lambda: counting, threading.Event()).run(Scan(collection.store, ["pics"]))
    assert counting.count == 2
    assert dict(last.counts) == {"added": 134, "skipped": 66}
    found = ids(Path(".visearch"))
    assert [found[name] for name in sorted(found)] == [number + 1 for number in range(200) if number % 3 < 2]
    assert index("pics") == counted(unchanged=134, skipped=66, items=134)


def test_equal_bytes_under_two_paths_are_two_items(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path / "pics" / name, 1)
    assert index("pics") == counted(added=2, items=2)
    (tmp_path / "pics" / "c.png").write_bytes((tmp_path / "pics" / "a.png").read_bytes())
    assert index("pics") == counted(added=1, unchanged=2, items=3)
    assert len({each.code for each in stored(Path(".visearch")).values()}) == 1


# Vanished


def test_vanished_files_are_told_and_stay_until_pruned(tmp_path: Path) -> None:
    save_all(tmp_path / "pics", range(5))
    index("pics")
    for number in (1, 3):
        (tmp_path / "pics" / f"{number:03}.png").unlink()
    done = visearch("index", "pics")
    assert done.code == 0
    assert "2 items have lost their file; --prune removes them" in done.err
    assert index("pics") == counted(unchanged=3, items=5)
    assert index("pics", "--prune") == counted(unchanged=3, removed=2, items=3)
    assert index("pics", "--prune") == counted(unchanged=3, items=3)
    assert not {"001.png", "003.png"} & set(ids(Path(".visearch")))


def test_rows_that_left_a_manifest_are_pruned_with_it_only(tmp_path: Path) -> None:
    save_all(tmp_path / "pics", range(4))
    manifest = tmp_path / "m.csv"
    manifest.write_text("path\npics/000.png\npics/001.png\n")
    index(manifest)
    manifest.write_text("path\npics/001.png\n")
    assert index("pics/003.png", "--prune") == counted(added=1, items=3)
    assert index(manifest, "--prune") == counted(unchanged=1, removed=1, items=2)


def test_items_whose_row_is_there_and_whose_file_is_gone_are_pruned(tmp_path: Path) -> None:
    save_all(tmp_path / "pics", range(3))
    manifest = tmp_path / "m.csv"
    manifest.write_text("path\npics/000.png\npics/001.png\npics/002.png\n")
    index(manifest)
    (tmp_path / "pics" / "001.png").unlink()
    assert index(manifest) == counted(unchanged=2, skipped=1, items=3)
    assert index(manifest, "--prune") == counted(unchanged=2, skipped=1, removed=1, items=2)
    assert index(manifest, "--prune") == counted(unchanged=2, skipped=1, items=2)


@pytest.mark.parametrize("source", ["pics", "m.csv"])
def test_nothing_is_pruned_when_a_source_suddenly_leads_to_nothing(tmp_path: Path, source: str) -> None:
    """A drive that is not mounted looks like an empty folder."""
    save_all(tmp_path / "pics", range(3))
    (tmp_path / "m.csv").write_text("path\npics/000.png\npics/001.png\npics/002.png\n")
    index(source)
    (tmp_path / "pics").rename(tmp_path / "away")
    (tmp_path / "pics").mkdir()
    done = visearch("index", source, "--prune")
    assert done.code == 2
    assert re.search(rf"Error: \S*{source}: leads to no picture at all any more.*mounted", done.err)
    assert len(ids(Path(".visearch"))) == 3
    (tmp_path / "pics").rmdir()
    (tmp_path / "away").rename(tmp_path / "pics")
    assert index(source, "--prune") == counted(unchanged=3, items=3)


# Skipped


def broken(folder: Path) -> None:
    save_all(folder, range(3))
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_bytes(b"hello")
    (folder / "cut.png").write_bytes((folder / "001.png").read_bytes()[:-40])
    (folder / "gone.png").symlink_to("nowhere")
    (folder / os.fsdecode(b"odd,\n\xff.png")).write_bytes(b"")


def test_the_report_has_a_row_for_each_skipped_file(tmp_path: Path) -> None:
    broken(tmp_path / "pics")
    expected = {"empty.png": "empty", "text.jpg": "unsupported", "cut.png": "corrupt", "gone.png": "unreadable"}
    expected[os.fsdecode(b"odd,\n\xff.png")] = "empty"
    for counts in (counted(added=3, skipped=5, items=3), counted(unchanged=3, skipped=5, items=3)):
        assert index("pics", "--report", "skipped.csv") == counts
        with Path("skipped.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file))
        assert {Path(row["path"]).name: row["reason"] for row in rows} == expected
        assert len(rows) == 5
        assert all(row["message"] and "\n" not in row["message"] for row in rows)


def test_a_report_of_nothing_is_a_header(tmp_path: Path) -> None:
    save_all(tmp_path / "pics", range(2))
    index("pics", "--report", "skipped.csv")
    assert Path("skipped.csv").read_text().split() == ["path,reason,message"]


def test_skipped_files_are_told_how_to_be_seen(tmp_path: Path) -> None:
    broken(tmp_path / "pics")
    assert "--report skipped.csv" in visearch("index", "pics").err
    assert "skipped files and reasons: r.csv" in visearch("index", "pics", "--report", "r.csv").err


def test_strict_ends_with_3_where_files_were_skipped(tmp_path: Path) -> None:
    broken(tmp_path / "pics")
    assert visearch("index", "pics").code == 0
    assert visearch("index", "pics", "--strict").code == 3
    assert index("pics", "--strict", code=3) == counted(unchanged=3, skipped=5, items=3)
    assert visearch("index", "pics/000.png", "--strict").code == 0


def test_a_bad_neighbour_harms_nobody(tmp_path: Path) -> None:
    """Every picture has the code it has alone."""
    broken(tmp_path / "pics")
    save_all(tmp_path / "pics", range(3, 60))
    index("pics")
    for source, each in stored(Path(".visearch")).items():
        assert each.code == code_of(Path(source))


# What is said


def test_the_summary_counts_and_names_the_collection(tmp_path: Path) -> None:
    save_all(tmp_path / "pics", range(3))
    done = visearch("index", "pics", "--collection", "shop")
    assert (done.code, done.out) == (0, "")
    assert re.fullmatch(
        r"3 added, 0 updated, 0 unchanged, 0 removed, 0 skipped; 3 items in shop \(\d+\.\d s, \d+ pictures/s\)\n",
        done.err,
    )


def test_lines_of_progress_where_there_is_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    monkeypatch.setattr(flow, "BATCH", 16)
    save_all(tmp_path / "pics", range(100))
    (tmp_path / "pics" / "bad.png").write_bytes(b"")
    lines = [line for line in visearch("index", "pics").err.splitlines() if " done, " in line]
    assert len(lines) >= 2
    assert all(re.fullmatch(r"\d+ of 101 done, \d+/s, about \d+ s left, [01] skipped", line) for line in lines)
    done = [int(line.split()[0]) for line in lines]
    assert done == sorted(done)
    assert done[-1] == 101


def test_lines_of_progress_on_a_run_over_unchanged_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    save_all(tmp_path / "pics", range(20))
    visearch("index", "pics")
    assert "20 of 20 done" in visearch("index", "pics").err


def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    save_all(tmp_path / "pics", range(30))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from visearch.cli import main; main()", "index", "pics"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                chunk = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            shown += chunk
        assert process.wait(60) == 0
    os.close(ours)
    text = shown.decode()
    assert "indexing" in text
    assert "/30" in text
    assert "skipped" in text
    assert "30 added" in text.splitlines()[-1]


def test_ctrl_c_finishes_what_is_in_hand_and_says_how_to_go_on(tmp_path: Path) -> None:
    large = BytesIO()
    picture(0, (640, 480)).save(large, "PNG", compress_level=1)
    (tmp_path / "pics").mkdir()
    for number in range(300):  # enough to be in the middle of
        (tmp_path / "pics" / f"{number:03}.png").write_bytes(large.getvalue() + number.to_bytes(2))
    command = [sys.executable, "-c", "from visearch.cli import main; main()", "index", "pics", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            try:
                if ids(Path(".visearch")):
                    break
            except StoreError:  # not made yet
                time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted: all of this is kept; the same command goes on from here" in err
    assert "Traceback" not in err
    first = json.loads(out)
    assert 0 < first["added"] == first["items"] < 300
    assert index("pics") == counted(added=300 - first["added"], unchanged=first["added"], items=300)


def test_another_model_is_refused(tmp_path: Path) -> None:
    save_all(tmp_path / "pics", range(2))
    index("pics")
    done = visearch("index", "pics", "--model", write_model(tmp_path / "other.onnx", seed=5))
    assert done.code == 1
    assert is_one_line(done.err)
    assert "its codes were made by tiny 1" in done.err


def test_where_no_model_is_named_the_shipped_one_indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISEARCH_MODEL")
    save_all(tmp_path / "pics", range(2))
    assert index("pics") == counted(added=2, items=2)
    assert json.loads(visearch("info", "--json").out)["generation"]["model"] == "unified"


# Orientation


@pytest.mark.parametrize("model", ["tiny", "baseline"])
def test_eight_orientations_of_one_picture_have_one_code(
    tmp_path: Path, model: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same picture, stored turned and flipped with the EXIF tag that says so: at most 0.5% of bits differ, and a
    box of it finds the same."""
    monkeypatch.setenv("VISEARCH_MODEL", str(request.getfixturevalue(model)))
    upright = detailed(640, 480)
    undone = {  # how stored pixels come about, so that turning them by the tag gives the upright ones
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    (tmp_path / "pics").mkdir()
    for tag, turn in undone.items():
        image = upright if turn is None else upright.transpose(turn)
        exif = Image.Exif()
        exif[0x0112] = tag
        image.save(tmp_path / "pics" / f"{tag}.png", exif=exif)
    assert index("pics") == counted(added=8, items=8)
    with Collection.open(".visearch") as collection:
        packed = collection.corpus().codes
        bits = collection.generation.bits
        assert max(codes.hamming(packed[0], code) for code in packed) <= 0.005 * bits
        assert {(item.width, item.height) for item in collection.items()} == {(640, 480)}
        box = (0.1, 0.2, 0.45, 0.5)
        boxed = [
            collection.embed([images.decode(Path(item.source).read_bytes(), box=box)], [box])[0]
            for item in collection.items()
        ]
        assert max(codes.hamming(codes.pack(boxed[0]), codes.pack(each)) for each in boxed) <= 0.005 * bits


def detailed(width: int, height: int) -> Image.Image:
    """A picture with coarse and fine detail, like nothing when turned or flipped."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(image).astype(int) + random.integers(-20, 21, (height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


# Real pictures


def test_real_pictures_of_every_kind(baseline: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad files among good ones: every file is an item or has a reason, and the good ones are found again."""
    monkeypatch.setenv("VISEARCH_MODEL", str(baseline))
    nasty = shared / "datasets" / "nasty" / "pillow"
    good = sorted((shared / "datasets" / "ikea" / "products").rglob("*.jpg"))[:5]
    counts = index(nasty, *good, "--report", "r.csv")
    named = sum(path.suffix.lower() in images.SUPPORTED_SUFFIXES for path in nasty.rglob("*") if path.is_file())
    assert counts["added"] + counts["skipped"] == named + 5
    assert {path.name for path in good} <= set(ids(Path(".visearch")))
    assert len(Path("r.csv").read_text(errors="replace").splitlines()) == counts["skipped"] + 1
    best = visearch("search", good[0], "--json", "--limit", 1).json["matches"][0]
    assert (best["source"], best["distance"] <= 0.01 * 1024) == (str(good[0]), True)


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (1, 3), (2, 2), (1, 5000), (5000, 1), (7, 300)])
@pytest.mark.parametrize("mode", ["center_crop", "squash", "pad"])
def test_pictures_of_any_shape_are_taken(
    tmp_path: Path, size: tuple[int, int], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resize = card()["resize"] | {"mode": mode, "size": 40 if mode == "center_crop" else 32}
    monkeypatch.setenv("VISEARCH_MODEL", str(write_model(tmp_path / "m.onnx", json.dumps(card(resize=resize)))))
    save(tmp_path / "a.png", 1, size)
    assert index("a.png") == counted(added=1, items=1)


def test_bits_are_as_many_as_the_model_has(tmp_path: Path) -> None:
    save_all(tmp_path / "pics", range(2))
    index("pics")
    assert all(len(each.code) * 8 == BITS for each in stored(Path(".visearch")).values())


def test_a_report_does_not_overwrite_a_manifest(tmp_path: Path) -> None:
    save_all(Path("pics"), range(2))
    manifest = Path("pics.csv")
    manifest.write_text("path\npics/000.png\npics/001.png\n")
    done = visearch("index", manifest, "--report", "./pics.csv")
    assert (done.code, is_one_line(done.err)) == (2, True)
    assert manifest.read_text().count("\n") == 3


def test_a_manifest_with_a_broken_line_prunes_nothing(tmp_path: Path) -> None:
    save_all(Path("pics"), range(3))
    rows = [json.dumps({"path": f"pics/{number:03}.png"}) for number in range(3)]
    Path("pics.jsonl").write_text("\n".join(rows))
    assert index("pics.jsonl") == counted(added=3, items=3)
    Path("pics.jsonl").write_text("\n".join([rows[0], rows[1][:9]]))
    assert index("pics.jsonl", "--prune") == counted(unchanged=1, skipped=1, items=3)
    Path("pics.jsonl").write_text(rows[0])
    assert index("pics.jsonl", "--prune") == counted(unchanged=1, removed=2, items=1)


def test_ids_have_no_gaps_between_runs(tmp_path: Path) -> None:
    for first in (0, 3, 6):
        save_all(Path("pics"), range(first, first + 3))
        index("pics")
    with Collection.open(".visearch") as collection:
        assert [item.item_id for item in collection.items()] == list(range(1, 10))


def test_a_picture_to_which_the_model_gives_no_finite_embedding_is_skipped(tmp_path: Path, tiny: Path) -> None:
    class Moody(Embedder):
        def embed_each(self, batch: codes.U8) -> tuple[codes.F32, NDArray[np.bool_]]:
            embeddings, finite = super().embed_each(batch)
            return embeddings, finite & (batch.mean(axis=(1, 2, 3)) < 255)

    save_all(Path("pics"), range(3))
    Image.new("RGB", (40, 40), "white").save("pics/001.png")
    with Collection.open(".visearch", create=True) as collection:
        *_, last = Pipeline(collection.store, lambda: Moody(tiny), threading.Event()).run(
            Scan(collection.store, ["pics"])
        )
        assert (last.counts["added"], last.counts["skipped"]) == (2, 1)
        assert [failure.reason for failure in collection.failures()] == ["not-finite"]
