"""Search a collection for the picture QUERY in a loop, from three threads, until standard input ends.

Prints a line of JSON for every search: when it began and ended (seconds on the machine's monotonic clock), and what it
found: {source: distance}. `searching.py COLLECTION QUERY`
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from visearch import Collection

THREADS = 3
EVERYTHING = 100_000

sys.setswitchinterval(1e-5)  # threads get into each other's way more often
collection, query = Collection.open(sys.argv[1]), Path(sys.argv[2]).read_bytes()
stop = threading.Event()
printing = threading.Lock()


def search() -> None:
    try:
        while not stop.is_set():
            start = time.monotonic()
            results = collection.search(query, limit=EVERYTHING)
            found = {match.source: match.distance for match in results}
            line = json.dumps({"start": start, "end": time.monotonic(), "found": found})
            with printing:
                print(line, flush=True)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(1)


threads = [threading.Thread(target=search) for _ in range(THREADS)]
for thread in threads:
    thread.start()
sys.stdin.read()
stop.set()
