"""`visearch ARGUMENTS`, with a backfill in small batches and not too fast, as large models make it; a line on standard
output after every commit of it has returned: how many items that filled."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from indexer import backfill, flow
from visearch import missing
from visearch.cli import main
from visearch.store import Store


def fill(store: Store, generation: int, rows: Sequence[missing.Filled]) -> Counter[str]:
    counts = missing.fill(store, generation, rows)
    print(counts["filled"], flush=True)
    time.sleep(0.02)
    return counts


vars(flow).update(BATCH=16, CHUNK=8, CHUNKS_IN_FLIGHT=1)
vars(backfill)["fill"] = fill
main()
