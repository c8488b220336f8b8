"""What a run says while it trains: a JSONL file, TensorBoard, and a progress bar."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from training import data
from training.data import TrainingData
from visearch.errors import VisearchError

LOG, DATA = "log.jsonl", "data.txt"
REPORT_WIDTH = 120


def tell_data(pictures: TrainingData, folder: Path, *, shown: bool) -> None:
    """The report of what was read, into `data.txt`, and onto standard error where it is to be `shown`."""
    report = data.report(pictures)
    # Names of files may not be UTF-8.
    with (folder / DATA).open("w", encoding="utf-8", errors="backslashreplace") as file:
        Console(file=file, width=REPORT_WIDTH).print(report)
    if shown:
        Console(stderr=True).print(report)


class RunLog:
    """Rows {"step": .., ...} in `log.jsonl`, and every number of them in TensorBoard."""

    def __init__(self, folder: Path, step: int) -> None:
        """Go on after `step`: what was logged later, by a run that was killed, is taken out."""
        from tensorboardX import SummaryWriter

        path = folder / LOG
        kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= step] if step else []
        path.write_text("".join(f"{line}\n" for line in kept))
        self._file = path.open("a")
        self._folder = folder / "tensorboard"
        # Larger than a row, so that writing one never waits for a thread that is gone.
        self._board = SummaryWriter(str(self._folder), purge_step=step + 1, max_queue=1000)

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Add a row; nested mappings become `name/part` in TensorBoard.

        Raises:
            VisearchError: TensorBoard's thread has ended, as it does of a full disk.
        """
        if not self._board.file_writer.event_writer._worker.is_alive():
            raise VisearchError(f"{self._folder}: can no longer be written; is the disk full?")
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in _numbers(values):
            self._board.add_scalar(name, value, step)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *error: object) -> None:
        """Write out what TensorBoard still holds."""
        with suppress(OSError), closing(self._file):  # the same numbers are in the log, line by line
            self._board.close()


def _whole_lines(path: Path) -> list[str]:
    """The lines of the log; not a last one that a kill cut off."""
    text = path.read_text() if path.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


def _numbers(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            yield prefix + name, float(value)


class Bar:
    """A progress bar on a terminal; lines for what matters everywhere. All on standard error."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task
        self._shown = time.monotonic()

    def show(self, step: int, phase: str, rate: float, losses: Mapping[str, float]) -> None:
        """Where the run is; `rate` is images a second."""
        text = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self._progress.update(self._task, completed=step, description=f"{phase}  {rate:.0f} images/s  {text}")

    def say(self, line: str) -> None:
        """A line that stays, above the bar."""
        self._progress.console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def progress_bar(total: int, step: int, shown: bool) -> Iterator[Bar]:
    """A bar of `total` steps, `step` of them done. Not `shown`, it says nothing at all."""
    console = Console(stderr=True, quiet=not shown)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, progress.add_task("starting", total=total, completed=step))
