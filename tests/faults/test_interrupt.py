"""Ctrl-C finishes the work in hand, keeps it, and says how to go on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.conftest import Undisturbed
from tests.faults.helpers import DRIVERS, contents, finish, problems, skipped, start, succeeds, visearch

ACKNOWLEDGING = (sys.executable, str(DRIVERS / "acknowledging_index.py"))


def interrupted(
    undisturbed: Undisturbed, collection: Path, *numbers: signal.Signals
) -> tuple[subprocess.CompletedProcess[str], int]:
    """Index until the first commit, then signal; returns how it ended and how many items were acknowledged by then."""
    arguments = ("index", undisturbed.pictures, "--collection", collection, "--model", undisturbed.model)
    process = start(*arguments, command=ACKNOWLEDGING)
    assert process.stdout is not None
    first = process.stdout.readline()
    for number in numbers:
        process.send_signal(number)
    done = finish(process)
    return done, (first + done.stdout).count(str(undisturbed.pictures))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_interrupt_finishes_the_work_in_hand_and_a_rerun_goes_on(
    undisturbed: Undisturbed, tmp_path: Path, number: signal.Signals
) -> None:
    collection = tmp_path / "collection"
    done, acknowledged = interrupted(undisturbed, collection, number)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    summary, going_on = done.stderr.splitlines()[0], done.stderr.splitlines()[-1]
    assert going_on == "interrupted: all of this is kept; the same command goes on from here"
    held = contents(collection)
    assert 0 < len(held) < len(undisturbed.held)
    assert summary.startswith(f"{len(held)} added")
    assert acknowledged == len(held) + len(skipped(collection))
    assert held.items() <= undisturbed.held.items()
    assert problems(collection) == []

    again = visearch("index", undisturbed.pictures, "--collection", collection)
    succeeds(again)
    assert f"{len(undisturbed.held) - len(held)} added" in again.stderr
    assert contents(collection) == undisturbed.held
    assert skipped(collection) == undisturbed.skipped


def test_a_second_interrupt_ends_it_at_once_and_loses_nothing_acknowledged(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    collection = tmp_path / "collection"
    done, acknowledged = interrupted(undisturbed, collection, signal.SIGINT, signal.SIGINT)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert len(contents(collection)) + len(skipped(collection)) >= acknowledged
    assert problems(collection) == []
    succeeds(visearch("index", undisturbed.pictures, "--collection", collection))
    assert contents(collection) == undisturbed.held


def test_a_backup_that_is_ended_leaves_nothing(undisturbed: Undisturbed, tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from visearch import maintenance\n"
        "from visearch.cli import main\n"
        "maintenance.fsync_folder = lambda folder: os.kill(os.getpid(), signal.SIGTERM)  # all is copied by then\n"
        "main()\n"
    )
    destination = tmp_path / "copies" / "monday"
    collection = undisturbed.collection
    done = finish(start("backup", destination, "--collection", collection, command=(sys.executable, "-c", code)))
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "Error: interrupted")
    assert list(destination.parent.iterdir()) == []
