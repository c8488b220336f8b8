"""A home store is made in processes, and a run that one of them lets down is told and can be gone on with."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from data.homestore.work import FILES

ROOT = Path(__file__).resolve().parents[2]
EACH = 6


def run(out: Path) -> subprocess.Popen[str]:
    command = ["-m", "data.homestore", "--truth-only", "--limit", str(EACH), "--workers", "2", "--out", str(out)]
    return subprocess.Popen([sys.executable, *command], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return [each for each in children if "spawn_main" in " ".join(each.cmdline())]


def lines(file: Path) -> list[object]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run_in_one_line_and_the_next_goes_on(tmp_path: Path) -> None:
    killed = run(tmp_path)
    deadline = time.monotonic() + 120
    while not lines(tmp_path / FILES[0]):
        assert time.monotonic() < deadline, "no line was made"
        time.sleep(0.05)
    workers(killed)[0].kill()
    _, error = killed.communicate(timeout=60)
    assert killed.returncode == 1
    assert error == "error: a process that makes pictures died (out of memory?); the same command goes on\n"
    made = lines(tmp_path / FILES[0])
    assert made

    again = run(tmp_path)
    while len(workers(again)) < 2:
        time.sleep(0.05)
    left = workers(again)
    again.kill()
    _, alive = psutil.wait_procs(left, timeout=60)
    assert not alive
    again.communicate()

    again = run(tmp_path)
    _, error = again.communicate(timeout=240)
    assert (again.returncode, error) == (0, "")
    demo = ROOT / "data" / "homestore" / "demo"
    for name in FILES:
        assert lines(tmp_path / name) == lines(demo / name)[:EACH]
