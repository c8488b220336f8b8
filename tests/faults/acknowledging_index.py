"""`visearch ARGUMENTS`, telling what is on disk: a line of JSON on standard output after every commit has returned."""

from __future__ import annotations

import json
from collections.abc import Sequence

from indexer import run, scan
from visearch.cli import main
from visearch.ingest import Failed, Outcome


class Scan(scan.Scan):
    """The pipeline tells a scan what has been committed; this one passes it on."""

    def committed(self, outcomes: Sequence[Outcome]) -> None:
        super().committed(outcomes)
        kept = [outcome.file.source for outcome in outcomes if not isinstance(outcome, Failed)]
        failed = [outcome.file.source for outcome in outcomes if isinstance(outcome, Failed)]
        print(json.dumps({"kept": kept, "failed": failed}), flush=True)


vars(run)["Scan"] = Scan
main()
