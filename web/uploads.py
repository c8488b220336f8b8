"""Items added and removed over HTTP. An uploaded picture becomes a file of the collection, named by its content.

So the same picture sent twice (a client that tries again) is one item, no name comes from a client, and an item
answered for is on disk: first its file, then its record.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from visearch import formats, ingest
from visearch.collection import UPLOADS, Collection
from visearch.detector import Detector
from visearch.errors import ImageError, LeaseError, VisearchError
from visearch.files import write_durably
from visearch.ingest import Claims, Failed, File, Outcome
from visearch.store import Item
from web.problems import invalid, of_image

log = logging.getLogger(__name__)

_changing = threading.Lock()  # a file and its record change together
_merging = threading.Lock()


def folder_of(collection: Collection) -> Path:
    """Where the files of a collection's uploads are."""
    return collection.path / UPLOADS


def add(
    collection: Collection, data: bytes, metadata: Mapping[str, Any], detector: Detector | None
) -> tuple[Item, bool]:
    """Add a picture, or give one that was uploaded before this metadata; durable when this returns.

    Its objects are indexed too where the collection was indexed with those that this detector finds.

    Returns:
        The item, and whether it is new.

    Raises:
        Problem: the picture cannot be used; 404 where another process has removed the item again.
    """
    try:
        suffix = formats.sniff(data).lower()
    except ImageError as error:
        raise of_image(error) from None
    path = folder_of(collection).absolute() / f"{hashlib.sha256(data).hexdigest()}.{suffix}"
    finds = detector.sha256 if detector is not None and _has_objects(collection, detector) else ""
    file = File(0, str(path), len(data), 0, UPLOADS, dict(metadata), authoritative=True, data=data, detector=finds)
    outcome = _prepared(collection, file, detector)
    with _changing:
        new_file = not path.exists()
        if new_file:
            path.parent.mkdir(exist_ok=True)
            write_durably(path, data)
        try:
            counts = _commit(collection, outcome, path, detector)
        except BaseException:
            if new_file:
                path.unlink(missing_ok=True)
            raise
        with collection.store.read() as reader:  # once others may go on it can be removed again
            known = reader.known(str(path))
        item = checked_item(collection, known.item_id if known is not None else -1)
    _merge_if_cheaper(collection)
    return item, counts["added"] > 0


def remove(collection: Collection, item: Item) -> None:
    """Remove an item; the file of an upload goes with it, any other stays."""
    with _changing:
        # The same picture may have been removed and added again meanwhile: the file is that of the new item then.
        if collection.remove([item.item_id]) and item.origin == UPLOADS:
            (folder_of(collection) / Path(item.source).name).unlink(missing_ok=True)


def _has_objects(collection: Collection, detector: Detector) -> bool:
    """Whether the first item was looked at by this detector; `visearch index --objects` does that with all."""
    with collection.store.read() as reader:
        first = next(reader.items(), None)
    return first is not None and first.detector == detector.sha256


def _prepared(collection: Collection, file: File, detector: Detector | None) -> Outcome:
    outcome = ingest.prepare([file], collection.store, lambda: collection.embedder, Claims(), detector)[0]
    if isinstance(outcome, Failed):
        raise of_image(ImageError(outcome.reason, outcome.message))
    return outcome


def _commit(collection: Collection, outcome: Outcome, path: Path, detector: Detector | None) -> Mapping[str, int]:
    status = path.stat()
    with collection.store.write() as writer:
        item_id = writer.reserve_item_ids(1)
    file = replace(outcome.file, item_id=item_id, size=status.st_size, mtime_ns=status.st_mtime_ns)
    counts, unresolved = ingest.commit(collection.store, [replace(outcome, file=file)])
    while unresolved:  # its twin was removed meanwhile, or another model has come to answer
        counts, unresolved = ingest.commit(collection.store, [_prepared(collection, file, detector)])
    return counts


def _merge_if_cheaper(collection: Collection) -> None:
    """Bring the index files up to date beside the requests, where that is cheaper than going on without."""
    if not collection.searcher().should_merge() or not _merging.acquire(blocking=False):
        return

    def merge() -> None:
        try:
            collection.build_index(force=False)
        except LeaseError:
            pass  # another process is at it
        except VisearchError as error:
            log.error("the index could not be merged: %s", error.message)
        finally:
            _merging.release()

    threading.Thread(target=merge, name="merge", daemon=True).start()


def checked_item(collection: Collection, item_id: int) -> Item:
    """The item; Problem 404 where there is none."""
    with collection.store.read() as reader:
        item = reader.item(item_id)
    if item is None:
        raise invalid("item", "no item has this id", 404)
    return item
