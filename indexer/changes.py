"""When to look at the sources again: `visearch index --watch`."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

WATCH_MILLISECONDS = 1000


def looks(sources: Collection[str], ignored: Collection[Path], stop: threading.Event) -> Iterator[None]:
    """Yield when the sources should be looked at: at first, and at every change of them, until `stop` is set.

    Changes of the `ignored` files, and of what lies in such folders, do not count. A source that goes and comes back,
    or is replaced by another file of its name (as editors do), is watched anew, and looked at once more.
    """
    from watchfiles import watch

    paths = {os.path.abspath(source) for source in sources}  # noqa: PTH100 (links are not followed)
    own = {str(path) for each in ignored for path in (each.absolute(), each.resolve())}
    inside = tuple(os.path.join(path, "") for path in own)  # noqa: PTH118 (the trailing separator)
    while not stop.is_set():
        present = _existing(paths)
        if not present:
            stop.wait(WATCH_MILLISECONDS / 1000)
            continue
        changes = watch(
            *sorted(present),
            watch_filter=lambda _, path: path not in own and not path.startswith(inside),
            stop_event=stop,
            rust_timeout=WATCH_MILLISECONDS,
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        fresh = True  # what happened before the watcher stood is found by looking
        try:
            for changed in changes:
                if fresh or changed:
                    yield
                fresh = False
                if _existing(paths) != present or any(path in present for _, path in changed):
                    break
        except FileNotFoundError:  # it has gone before it could be watched
            continue


def _existing(paths: Collection[str]) -> set[str]:
    return {path for path in paths if Path(path).exists()}
