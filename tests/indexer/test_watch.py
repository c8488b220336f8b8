"""`visearch index --watch`: a collection that follows its folder."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.pictures import ids, save, save_all, stored
from visearch.collection import Collection

SECONDS = 60  # within which a change must be followed; on an idle machine it is about one


class Watch:
    """A running `visearch index --watch --json`."""

    def __init__(self, *arguments: object) -> None:
        code = "from visearch.cli import main; main()"
        command = [sys.executable, "-c", code, "index", "--watch", "--json", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._lines: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def next(self) -> dict[str, Any]:
        """The next summary that it prints."""
        return dict(json.loads(self._lines.get(timeout=SECONDS)))

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Ask it to end; its exit code and standard error."""
        self.process.send_signal(number)
        assert self.process.stderr is not None
        err = self.process.stderr.read()
        code = self.process.wait(SECONDS)
        self._thread.join()
        self.process.stderr.close()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code, err


@contextmanager
def watching(*arguments: object) -> Iterator[Watch]:
    running = Watch(*arguments)
    try:
        yield running
    finally:
        if running.process.returncode is None:
            running.end(signal.SIGKILL)


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, "not followed"
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISEARCH_MODEL", str(tiny))
    save_all(tmp_path / "pics", range(5))


def names() -> set[str]:
    return set(ids(Path(".visearch")))


def test_it_follows_what_is_added_changed_moved_and_removed(tmp_path: Path) -> None:
    with watching("pics", "--prune") as watch:
        assert watch.next()["added"] == 5
        with Collection.open(".visearch") as collection:
            save(tmp_path / "pics" / "new" / "a.png", 50)
            eventually(lambda: "a.png" in names())
            new = ids(Path(".visearch"))["a.png"]
            assert new in {match.item for match in collection.search(item=1)}

            before = stored(Path(".visearch"))[str(tmp_path / "pics" / "000.png")]
            save(tmp_path / "pics" / "000.png", 51)
            eventually(lambda: stored(Path(".visearch"))[str(tmp_path / "pics" / "000.png")].code != before.code)

            (tmp_path / "pics" / "new" / "a.png").rename(tmp_path / "pics" / "b.png")
            eventually(lambda: ids(Path(".visearch")).get("b.png") == new)

            (tmp_path / "pics" / "001.png").unlink()
            eventually(lambda: "001.png" not in names())
            assert 2 not in {match.item for match in collection.search(item=1)}
        code, err = watch.end()
        assert code == 0
        assert "watching for changes; Ctrl-C ends it" in err
        assert "Traceback" not in err
    assert names() == {"000.png", "002.png", "003.png", "004.png", "b.png"}


def test_without_prune_it_keeps_items_whose_file_is_gone_and_says_so(tmp_path: Path) -> None:
    with watching("pics") as watch:
        watch.next()
        (tmp_path / "pics" / "001.png").unlink()
        save(tmp_path / "pics" / "new.png", 50)
        eventually(lambda: "new.png" in names())
        watch.next()
        code, err = watch.end()
    assert code == 0
    assert "001.png" in names()
    assert "1 items have lost their file; --prune removes them" in err


def test_a_picture_that_is_still_being_written_is_taken_when_it_is_whole(tmp_path: Path) -> None:
    data = save(tmp_path / "whole.png", 60, (300, 300)).read_bytes()
    with watching("pics") as watch:
        watch.next()
        with (tmp_path / "pics" / "slow.png").open("wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            time.sleep(2.5)
            file.write(data[len(data) // 2 :])
        eventually(lambda: "slow.png" in names())
        assert watch.end()[0] == 0
    assert "slow.png" in names()


def test_changes_of_a_manifest_are_followed(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,label\npics/000.png,a\n")
    with watching(manifest) as watch:
        assert watch.next()["added"] == 1
        manifest.write_text("path,label\npics/000.png,b\npics/001.png,b\n")
        eventually(lambda: names() == {"000.png", "001.png"})
        eventually(lambda: all(each.metadata == {"label": "b"} for each in stored(Path(".visearch")).values()))
        assert watch.end()[0] == 0


def test_a_manifest_that_an_editor_replaces_is_followed(tmp_path: Path) -> None:
    """Most editors write a new file and rename it over the old one: the name is watched, not the file it was."""
    manifest = tmp_path / "m.csv"
    manifest.write_text("path\npics/000.png\n")
    with watching(manifest) as watch:
        assert watch.next()["added"] == 1
        for number in (1, 2):
            (tmp_path / "m.csv~").write_text("path\n" + "".join(f"pics/{each:03}.png\n" for each in range(number + 1)))
            (tmp_path / "m.csv~").replace(manifest)
            eventually(lambda: len(names()) == number + 1)  # noqa: B023
        assert watch.end()[0] == 0


def test_what_goes_wrong_meanwhile_is_told_and_does_not_end_it(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("path\npics/000.png\n")
    with watching(manifest, "pics", "--prune") as watch:
        assert watch.next()["added"] == 5
        manifest.write_text("file\npics/000.png\n")  # somebody's mistake
        time.sleep(3)
        manifest.write_text("path\npics/000.png\n")
        (tmp_path / "pics").rename(tmp_path / "away")  # a drive goes and comes
        time.sleep(3)
        (tmp_path / "away").rename(tmp_path / "pics")
        save(tmp_path / "pics" / "new.png", 50)
        eventually(lambda: "new.png" in names())
        code, err = watch.end()
    assert code == 0
    assert len(names()) == 6
    assert "no `path` column" in err


def test_its_own_collection_and_report_in_the_folder_are_no_change(tmp_path: Path) -> None:
    """`visearch index . --watch` with the collection in `.` writes into what it watches, and must come to rest."""
    (tmp_path / "pics" / "bad.png").write_bytes(b"")
    with watching(".", "--report", "skipped.csv") as watch:
        watch.next()
        save(tmp_path / "pics" / "new.png", 50)
        eventually(lambda: "new.png" in names())
        watch.next()
        used = cpu_seconds(watch.process.pid)
        time.sleep(3)
        assert cpu_seconds(watch.process.pid) - used < 1
        assert watch.end()[0] == 0


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_terminating_it_is_a_good_end(tmp_path: Path) -> None:
    with watching("pics") as watch:
        assert watch.next()["added"] == 5
        code, err = watch.end(signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in err
    assert len(names()) == 5
