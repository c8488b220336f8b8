"""Looking after a collection: what is in it, whether it is whole, copies of it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from visearch import codes
from visearch.arrays import checksum
from visearch.collection import INDEX, MODELS, STORE, UPLOADS, Collection
from visearch.errors import IndexFileError, ModelError, StoreError, UsageError
from visearch.files import TEMPORARY, fsync_folder
from visearch.runtime import file_sha256
from visearch.sources import file_of
from visearch.store import REMOVED_ITEM, Generation, Item, Reader
from visearch.vectors import DATA, VectorFile

EXPORT_ROWS = 4096


def info(collection: Collection) -> dict[str, Any]:
    """What is in a collection, as `visearch info --json` prints it; sizes in bytes."""
    with collection.store.read() as reader:
        generation = reader.generation()
        items = reader.item_count()
        skipped = Counter(failure.reason for failure in reader.failures())
    values: dict[str, Any] = {"collection": str(collection.path), "items": items, "skipped": dict(skipped)}
    values["bytes"] = {part: _size(collection.path / part) for part in (STORE, INDEX, MODELS)}
    if generation is None:
        return values
    searcher = collection.searcher()
    values["generation"] = {
        key: getattr(generation, key)
        for key in ("number", "model", "version", "model_sha256", "bits", "precision", "runtime", "device")
    }
    values["index"] = {
        **(asdict(searcher.base.info) if searcher.base else {}),
        "codes": searcher.index.live_rows,
        "delta": searcher.index.delta_rows,
        "removed": searcher.index.dead_rows,
    }
    return values


def _size(folder: Path) -> int:
    """Bytes on disk of a folder; the store's file is sparse, so blocks count, not lengths."""
    files = [Path(root, name).lstat() for root, _, names in os.walk(folder) for name in names]
    return sum(getattr(status, "st_blocks", status.st_size // 512) * 512 for status in files)


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be. `kind`: store, index, files or missing; index problems can be repaired,
    and the last two are no fault of the collection."""

    kind: str
    message: str


def check(collection: Collection) -> list[Problem]:
    """Compare the store with itself, the index files with the store, and the items with their files."""
    with collection.store.read() as reader:
        if reader.generation() is None:
            return []
        generations = reader.generations()
        problems = list(_check_items(reader))
        for generation in generations:
            problems += _check_codes(reader, generation)
            problems += _check_index(collection, reader, generation)
    problems += _check_files(collection)
    for generation in generations:
        model = collection.path / MODELS / f"{generation.model_sha256}.onnx"
        with suppress(ModelError):  # it cannot be read
            if model.exists() and file_sha256(model) == generation.model_sha256:
                continue
        state = "damaged" if model.exists() else "missing"
        message = f"{model}: the copy of the model is {state}; put {generation.model} there"
        problems.append(Problem("store", message))
    return problems


def rebuild(collection: Collection) -> None:
    """Write the index files of every generation anew."""
    with collection.store.read() as reader:
        numbers = [generation.number for generation in reader.generations()]
    for number in numbers:
        with Collection.open(collection.path, generation=number) as pinned:
            pinned.build_index()


def _check_items(reader: Reader) -> Iterator[Problem]:
    for item in reader.items():
        name = f"item {item.item_id} ({item.source})"
        known = reader.known(item.source)
        if known is None or known.item_id != item.item_id:
            yield Problem("store", f"{name}: is not found by its source")
        if item.item_id not in reader.items_with_content(item.content):
            yield Problem("store", f"{name}: is not found by its content")
        if reader.thumbnail(item.item_id) is None:
            yield Problem("store", f"{name}: has no thumbnail")


def _check_codes(reader: Reader, generation: Generation) -> Iterator[Problem]:
    """The codes of a generation are those of its items. An item without any is missing, which is no fault where there
    was ever another generation."""
    owners: dict[int, list[int]] = {}
    rows = 0
    for block in reader.code_rows(generation):
        rows += len(block.codes)
        for code_id, item_id in zip(block.code_ids.tolist(), block.owners["item_id"].tolist(), strict=True):
            if item_id != REMOVED_ITEM:
                owners.setdefault(item_id, []).append(code_id)
    vector_rows = sum(len(block) for block in reader.vector_rows(generation))
    if not rows == vector_rows == generation.next_code:
        yield Problem("store", f"{rows} codes and {vector_rows} vectors are stored of {generation.next_code}")
    may_lack, missing = reader.last_generation > 1, 0
    for item in reader.items():
        held, code_ids = owners.pop(item.item_id, []), reader.code_ids(generation.number, item.item_id).tolist()
        missing += not held and not code_ids
        if code_ids != held or (len(held) != len(item.regions) and (held or not may_lack)):
            yield Problem("store", f"item {item.item_id} ({item.source}): its codes are not those that the blocks hold")
    for item_id in owners:
        yield Problem("store", f"item {item_id}: has codes, but there is no such item")
    if missing and may_lack and generation.number == reader.active:
        fill = f"`visearch backfill --generation {generation.number}` embeds them"
        yield Problem("missing", f"{missing} items have no codes in the generation that answers; {fill}")


def _check_index(collection: Collection, reader: Reader, generation: Generation) -> Iterator[Problem]:
    """Every live code the index files hold is the store's, and none is missing from them that they should hold."""
    folder = collection.base_folder(generation)
    if not (generation.base or generation.vectors_stamp):
        return  # none were written yet
    base = None
    try:
        if generation.base:
            base = collection.open_base(generation)
            base.verify()
        mapped = VectorFile(folder.parent, generation)
        checksum(folder.parent / DATA)  # a part that cannot be read would end this process once it is mapped
    except IndexFileError as error:
        if collection.newest_base(generation) == generation.base:  # else another process has just replaced it
            yield Problem("index", error.message)
        return
    last = int(base.code_ids[-1]) if base is not None and base.rows else -1
    for block, vectors in zip(reader.code_rows(generation), reader.vector_rows(generation), strict=True):
        if base is not None:
            places = np.minimum(np.searchsorted(base.code_ids, block.code_ids), max(base.rows - 1, 0))
            held = base.code_ids[places] == block.code_ids if base.rows else np.zeros(len(places), bool)
            live = (block.owners["item_id"] != REMOVED_ITEM) & (block.code_ids <= last)
            if (live & ~held).any():
                yield Problem("index", f"{folder}: lacks code {block.code_ids[live & ~held][0]}")
            if not np.array_equal(base.codes[base.rows_of(block.code_ids)], block.codes[held]):
                yield Problem("index", f"{folder}: codes {block.first} and on are not the store's")
        known = block.code_ids[block.code_ids < mapped.rows]
        if not np.array_equal(mapped.gather(known, reader), vectors[: len(known)]):
            yield Problem("index", f"{folder.parent}: vectors {block.first} and on are not the store's")


def _check_files(collection: Collection) -> Iterator[Problem]:
    for item in collection.items():
        paths = [path for path in map(file_of, collection.places(item)) if path is not None]
        if not paths:
            continue
        path = next(filter(os.path.exists, paths), paths[0])
        try:
            status = path.stat()
        except OSError:
            command = "visearch remove" if item.origin == UPLOADS else "visearch index --prune"
            yield Problem("files", f"{item.source}: gone (item {item.item_id}); `{command}` removes it")
            continue
        size = status.st_size if str(path) == item.source else item.size  # a picture in a shard is smaller than that
        time = item.mtime_ns if item.origin == UPLOADS else status.st_mtime_ns  # an upload's is nobody's
        if (size, time) != (item.size, item.mtime_ns):
            yield Problem("files", f"{item.source}: changed (item {item.item_id}); `visearch index` takes it in anew")


def backup(collection: Collection, destination: Path) -> None:
    """Copy a collection while it is in use: one consistent moment of it, complete when this returns.

    Raises:
        UsageError: the destination exists and is not an empty folder.
        StoreError: it cannot be written; nothing is left there then.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise UsageError(f"{destination}: exists already; name a folder that does not")
    destination = destination.absolute()
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(TEMPORARY, f"{destination.name}-", destination.parent))
    except OSError as error:
        raise StoreError(f"{destination}: cannot be written ({error.filename}: {error.strerror})") from None
    try:
        partial.chmod(0o755)  # as any new folder; mkdtemp hides it from others
        (partial / STORE).mkdir()
        collection.store.copy(partial / STORE)
        with Collection.open(partial) as copy:
            with copy.store.read() as reader:
                generations = reader.generations()
            (partial / MODELS).mkdir()
            for name in {f"{generation.model_sha256}.onnx" for generation in generations}:
                shutil.copyfile(collection.path / MODELS / name, partial / MODELS / name)
            _copy_uploads(collection, copy)
        for generation in generations:
            with Collection.open(partial, generation=generation.number) as copy:
                copy.build_index(force=generation.base > 0)
        for folder, _, files in os.walk(partial):
            for name in files:
                with Path(folder, name).open("rb") as file:
                    os.fsync(file.fileno())
            fsync_folder(Path(folder))
        partial.replace(destination)
        fsync_folder(destination.parent)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError):
            raise StoreError(f"{destination}: cannot be written ({error.filename}: {error.strerror})") from None
        raise


def _copy_uploads(collection: Collection, copy: Collection) -> None:
    """The pictures that were added over HTTP, which are nowhere else; one that is removed meanwhile is left out."""
    for item in copy.items():
        if item.origin == UPLOADS:
            (copy.path / UPLOADS).mkdir(exist_ok=True)
            for place in collection.places(item):
                with suppress(FileNotFoundError):
                    shutil.copy2(place, copy.path / UPLOADS / Path(place).name)
                    break


def export(collection: Collection, path: Path) -> int:
    """Write a Parquet file, a row for each code: item_id, region, box, source, width, height, code, embedding,
    metadata (JSON). `embedding` is the int8 copy times its scale. Returns the number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    generation = collection.generation
    schema = pa.schema(
        [
            ("item_id", pa.int64()),
            ("region", pa.int32()),
            ("box", pa.list_(pa.float64(), 4)),
            ("source", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("code", pa.binary(generation.bits // 8)),
            ("embedding", pa.list_(pa.float32(), generation.bits)),
            ("metadata", pa.string()),
        ],
        {"model": generation.model, "model_sha256": generation.model_sha256, "generation": str(generation.number)},
    )
    partial = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}")
    count = 0
    try:
        with pq.ParquetWriter(partial, schema) as writer:
            page: list[Item] = []
            for item in collection.items():
                page.append(item)
                if len(page) == EXPORT_ROWS:
                    count += _export_page(collection, generation, page, writer, schema)
                    page = []
            count += _export_page(collection, generation, page, writer, schema)
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StoreError(f"{path}: cannot be written ({error.strerror or error})") from None
        raise
    return count


def _export_page(collection: Collection, generation: Generation, items: list[Item], writer: Any, schema: Any) -> int:
    import pyarrow as pa

    with collection.store.read() as reader:
        rows = [
            (item, region, int(code_id))
            for item in [reader.item(each.item_id) for each in items]  # as it is now, like its codes
            if item is not None
            for region, code_id in enumerate(reader.code_ids(generation.number, item.item_id))
        ]
        code_ids = [code_id for *_, code_id in rows]
        packed = reader.codes_at(generation, code_ids)
        embeddings = codes.dequantize(*codes.from_rows(reader.vectors_at(generation, code_ids)))
    columns = [
        [item.item_id for item, _, _ in rows],
        [region for _, region, _ in rows],
        [item.regions[region] for item, region, _ in rows],
        [item.source.encode("utf-8", "replace").decode() for item, _, _ in rows],
        [item.width for item, _, _ in rows],
        [item.height for item, _, _ in rows],
        [code.tobytes() for code in packed],
        pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), generation.bits),
        [json.dumps(item.metadata) for item, _, _ in rows],
    ]
    writer.write_batch(pa.record_batch(columns, schema=schema))
    return len(rows)
