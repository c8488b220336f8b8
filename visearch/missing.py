"""What a generation lacks, and how it gets it: the two ends of every backfill, whatever does the embedding between.

An item is missing in a generation when it has no codes there. Nothing else is remembered: a commit that changes an item
removes its codes from every generation, so that what is missing is always what is to be done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from visearch.codes import U8
from visearch.errors import StoreError
from visearch.records import Box, Generation, Item
from visearch.store import OWNER, Reader, Store, Writer

PAGE = 256  # items read in one transaction


@dataclass(frozen=True)
class Missing:
    """An item without codes in a generation. `content` is the SHA-256 of the bytes it was indexed from, `regions` are
    the boxes to embed, the whole picture first, as fractions of the upright picture; `objects` says whether a detector
    has looked (such pictures are decoded larger), `has_copy` whether the store holds a working copy of it."""

    item_id: int
    source: str
    origin: str
    content: bytes
    regions: tuple[Box, ...]
    objects: bool
    has_copy: bool


@dataclass(frozen=True)
class Filled:
    """What was missing, embedded: a row for each region, codes uint8 [r, D/8], vectors uint8 [r, D + 2] (int8 copy and
    scale, see codes.to_rows)."""

    missing: Missing
    codes: U8
    vectors: U8


def missing(store: Store, generation: int, start: int = 0) -> Iterator[Missing]:
    """What a generation lacks, by item id from `start` on. No transaction is held between two of them, so changes of
    the collection that come before their turn are seen."""
    while True:
        with store.read() as reader:
            ids = [item_id for item_id, _ in zip(reader.items_missing(generation, start), range(PAGE), strict=False)]
            found = [_missing(reader, item) for item_id in ids if (item := reader.item(item_id)) is not None]
        yield from found
        if len(ids) < PAGE:
            return
        start = ids[-1] + 1


def count_missing(store: Store, generation: int) -> int:
    """How many items a generation lacks. Costs a look at every key of both."""
    with store.read() as reader:
        return sum(1 for _ in reader.items_missing(generation))


def _missing(reader: Reader, item: Item) -> Missing:
    has_copy = reader.working_copy(item.item_id) is not None
    return Missing(item.item_id, item.source, item.origin, item.content, item.regions, bool(item.detector), has_copy)


def fill(store: Store, generation: int, rows: Sequence[Filled]) -> Counter[str]:
    """Write rows into a generation in one transaction; what this returns is on disk.

    Every other item with the same bytes and regions that is missing there gets the codes too.

    Returns:
        How many items were "filled", and how many rows were "outdated": their item has changed or gone since, or has
        codes by now.

    Raises:
        StoreError: the generation was dropped, or its codes are of another length.
    """
    counts: Counter[str] = Counter()
    with store.write() as writer:
        into = writer.generation(generation)
        if into is None:
            raise StoreError(f"{store.path.parent}: generation {generation} was dropped meanwhile")
        new: dict[int, Filled] = {}
        for row in rows:
            _check(row, into)
            takers = [item_id for item_id in _takers(writer, into, row.missing) if item_id not in new]
            new |= dict.fromkeys(takers, row)
            counts["filled"] += len(takers)
            counts["outdated"] += row.missing.item_id not in takers
        if new:
            owners = [(item_id, region) for item_id, row in new.items() for region in range(len(row.codes))]
            packed = np.concatenate([row.codes for row in new.values()])
            vectors = np.concatenate([row.vectors for row in new.values()])
            writer.append_codes(generation, np.array(owners, OWNER), packed, vectors)
    return counts


def _takers(writer: Writer, generation: Generation, wanted: Missing) -> list[int]:
    """The item itself first, then those with equal bytes and regions, of those that are missing in the generation."""
    found = []
    for item_id in sorted(writer.items_with_content(wanted.content), key=lambda item_id: item_id != wanted.item_id):
        item = writer.item(item_id)
        if item is not None and item.regions == wanted.regions and not len(writer.code_ids(generation.number, item_id)):
            found.append(item_id)
    return found


def _check(row: Filled, generation: Generation) -> None:
    regions, bits = len(row.missing.regions), generation.bits
    if row.codes.shape != (regions, bits // 8) or row.vectors.shape != (regions, bits + 2):
        raise StoreError(
            f"item {row.missing.item_id}: codes {row.codes.shape} and vectors {row.vectors.shape} are not those of"
            f" {regions} regions of {bits} bits; were they made by {generation.model} {generation.version}?"
        )
