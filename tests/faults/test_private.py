"""Nothing is told to anyone: a library that reports its use, from a fork of the process, is kept from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.faults.helpers import make_pictures, succeeds, visearch

LOAD = """
import sys, threading
from pathlib import Path
import os

def forbidden(*arguments): raise SystemExit("a process was forked")
os.fork = forbidden

import socket
def refused(*arguments): raise SystemExit("a connection was made")
socket.socket.connect = refused

from visearch.embedder import load
load(Path(sys.argv[1]))
assert threading.active_count() == 1, threading.enumerate()
print(sorted(name for name in sys.modules if "telemetry" in name and sys.modules[name] and "stub" not in name))
"""


def test_indexing_and_searching_leave_nothing_in_the_home_folder(tiny: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    pictures = make_pictures(tmp_path / "pictures", 3)
    where, environment = ("--collection", tmp_path / "collection"), {"HOME": home}
    succeeds(visearch("index", pictures[0].parent, "--model", tiny, *where, environment=environment))
    succeeds(visearch("search", pictures[0], *where, environment=environment))
    assert list(home.iterdir()) == []


def test_loading_a_model_forks_no_process_and_connects_to_nothing(tiny: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LOAD, str(tiny)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "openvino_telemetry" not in done.stdout
