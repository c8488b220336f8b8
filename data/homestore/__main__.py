"""Make a home store: `python -m data.homestore --profile demo --out DIR`.

Truth comes from one seed and the shapes alone; pictures come from Blender. What is already in DIR is not
made again, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data.homestore.profiles import PROFILES, Profile
from data.homestore.work import FILES, Job, jobs, run, start_worker

JOBS_PER_PROCESS = 400  # then fresh ones, since Blender never gives all its memory back


def main() -> None:
    """The command line."""
    arguments = _parse()
    profile: Profile = PROFILES[arguments.profile]
    out: Path = arguments.out
    todo = jobs(profile, arguments.limit)
    rows = {name: _read(out / name) for name in FILES}
    for folder in ("products", "rooms", "photos"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    if not arguments.truth_only:
        missing = [
            job for job in todo if not all((out / p).exists() for p in job.pictures) or job.key not in rows[job.file]
        ]
    else:
        missing = [job for job in todo if job.key not in rows[job.file]]
    for job, row in _made(profile, missing, out, arguments):
        rows[job.file][job.key] = row
        with (out / job.file).open("a", encoding="utf-8") as lines:
            lines.write(_line(row))
    for name in FILES:
        present = (job.key for job in jobs(profile) if job.file == name and job.key in rows[name])
        _write(out / name, [rows[name][key] for key in present])
    print(f"{profile.name}: {', '.join(f'{len(rows[name])} lines in {name}' for name in FILES)}, in {out}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m data.homestore", description=__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="demo")
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures and truth")
    parser.add_argument("--limit", type=int, help="only the first so many products, rooms and photos each")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--truth-only", action="store_true", help="no pictures; needs no Blender")
    arguments = parser.parse_args()
    # Looked for, not imported: importing it changes sys.path, which the workers inherit and then fail to
    # import it.
    if not arguments.truth_only and importlib.util.find_spec("bpy") is None:
        sys.exit(
            "Blender's Python module is missing: pip install -r constraints-render.txt (Python 3.11), "
            "or use --truth-only"
        )
    return arguments


def _made(
    profile: Profile, todo: list[Job], out: Path, arguments: argparse.Namespace
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Do the jobs in several processes, with a progress bar.

    Each round has processes of its own: an executor's own limit (max_tasks_per_child) can hang in Python 3.11.
    """
    if not todo:
        return
    workers = max(1, min(arguments.workers, len(todo)))
    context = multiprocessing.get_context("spawn")
    settings = (
        profile.name,
        profile.catalogue,
        max(1, (os.cpu_count() or 1) // workers),
        not arguments.truth_only,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task(profile.name, total=len(todo))
        for start in range(0, len(todo), workers * JOBS_PER_PROCESS):
            pool = ProcessPoolExecutor(workers, context, start_worker, settings)
            try:
                futures = [pool.submit(run, (job, out)) for job in todo[start : start + workers * JOBS_PER_PROCESS]]
                for future in as_completed(futures):
                    progress.advance(bar)
                    yield future.result()
            except BrokenProcessPool:
                sys.exit("error: a process that makes pictures died (out of memory?); the same command goes on")
            finally:
                pool.shutdown(cancel_futures=True)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Lines that a run has written, by key; a line cut short by a kill is left out."""
    found = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                row = json.loads(line)
                found[row["path"]] = row
    return found


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    """All lines in order, in place of what is there, at once."""
    temporary = path.with_suffix(".part")
    temporary.write_text("".join(map(_line, rows)), encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    main()
