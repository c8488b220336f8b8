"""The generations of a collection: which there are, which one answers, and the end of one."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from typing import Any

from visearch.collection import INDEX, MODELS, RAY, Collection
from visearch.errors import UsageError
from visearch.leases import lease
from visearch.store import Generation, Reader

DELETED_TOGETHER = 10_000  # rows


@dataclass(frozen=True)
class State:
    """A generation as `visearch generations list` shows it. `previous` is the one that `rollback` goes back to;
    `missing` counts the items without codes in it."""

    generation: Generation
    active: bool
    previous: bool
    missing: int
    items: int

    def to_json(self) -> dict[str, Any]:
        """As `visearch generations list --json` prints it."""
        shown = ("number", "model", "version", "model_sha256", "bits", "precision", "runtime", "device")
        values = {name: value for name, value in asdict(self.generation).items() if name in shown}
        return values | {name: getattr(self, name) for name in ("active", "previous", "missing", "items")}


def states(collection: Collection) -> list[State]:
    """All generations of one moment, by number."""
    with collection.store.read() as reader:
        items, active, previous = reader.item_count(), reader.active, reader.previous
        return [
            State(each, each.number == active, each.number == previous, _missing(reader, each.number), items)
            for each in reader.generations()
        ]


def switch(collection: Collection, number: int, *, allow_missing: bool = False) -> Generation:
    """Make a generation the one that answers, in one transaction. Running servers follow.

    Raises:
        UsageError: there is no such generation, or items are missing in it and that is not allowed.
    """
    with collection.store.write() as writer:
        wanted = collection.named_generation(writer, number)
        if writer.active == number:
            return wanted
        missing = 0 if allow_missing else _missing(writer, number)
        if missing:
            raise UsageError(
                f"{collection.path}: {missing} of {writer.item_count()} items are missing in generation {number} and"
                f" would not be found; `visearch backfill --generation {number}` first, or --allow-missing"
            )
        writer.activate(number)
        return wanted


def rollback(collection: Collection, *, allow_missing: bool = False) -> Generation:
    """Switch to the generation that answered before. UsageError where there is none, or as for `switch`."""
    with collection.store.read() as reader:
        previous = reader.previous
    if not previous:
        raise UsageError(f"{collection.path}: no generation that answered before is there")
    return switch(collection, previous, allow_missing=allow_missing)


def drop(collection: Collection, number: int) -> None:
    """Delete a generation that does not answer: codes, index files, and its model unless another one has the same.
    What a kill leaves of it is deleted by the next backfill or drop.

    Raises:
        UsageError: there is no such generation, or it is the one that answers.
        LeaseError: a backfill is running, or index files are being built.
    """
    with lease(collection.path, "backfill"), lease(collection.path, "index"):
        with collection.store.write() as writer:
            collection.named_generation(writer, number)
            if writer.active == number:
                raise UsageError(f"{collection.path}: generation {number} is the one that answers; switch first")
            writer.drop_generation(number)
        purge(collection)


def purge(collection: Collection) -> None:
    """Delete what is left of generations that were dropped, a part in a transaction, so that nobody waits for long. The
    caller holds the lease of a backfill: a model that comes back is not taken away."""
    with collection.store.read() as reader:
        dropped = reader.dropped()
        models = {each.model_sha256 for each in reader.generations()}
    for number, model in dropped:
        for folder in (INDEX, RAY):
            shutil.rmtree(collection.path / folder / f"g{number}", ignore_errors=True)
        if model not in models:
            with lease(collection.path, "model", wait_seconds=-1):
                (collection.path / MODELS / f"{model}.onnx").unlink(missing_ok=True)
        done = False
        while not done:
            with collection.store.write() as writer:
                done = writer.delete_dropped(number, DELETED_TOGETHER)


def _missing(reader: Reader, number: int) -> int:
    return sum(1 for _ in reader.items_missing(number))
