"""Random adds, updates, removes, searches and rewrites of the base: every answer equals brute force."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.brute import BruteForce, Row, added, answers
from visearch import base as base_module
from visearch.filters import Filter
from visearch.index import Base, Index, write_base

FILTERS: list[object] = [
    {"colour": "red"},
    {"colour": ["red", "blue"]},
    {"price": {"gte": 2}},
    {"price": 1, "colour": "blue"},
    {"price": None},
    {"nothing": 1},
]
metadata = st.fixed_dictionaries(
    {}, optional={"colour": st.sampled_from(["red", "blue", "green"]), "price": st.none() | st.integers(0, 4)}
)


class Operations(RuleBasedStateMachine):
    """One index and its double. `probing` bases have lists of which a search sees a part."""

    done = 0

    @initialize(bytes_a_code=st.sampled_from([1, 2, 5, 16]), kind=st.sampled_from(["flat", "all probes", "probing"]))
    def start(self, bytes_a_code: int, kind: str) -> None:
        self.bits, self.kind = 8 * bytes_a_code, kind
        self.folder = tempfile.TemporaryDirectory()
        self.brute, self.index = BruteForce(), Index.open(None, self.bits)
        self.next_code = self.next_base = 0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def _rows(self, data: st.DataObject, most: int) -> dict[int, Row]:
        """New rows; few items and few codes, so that there are many ties."""
        known = [row.code for row in self.brute.rows.values()]
        some_code = st.binary(min_size=self.bits // 8, max_size=self.bits // 8)
        code = some_code | st.sampled_from(known) if known else some_code
        row = st.builds(Row, st.integers(0, 9), st.integers(0, 2), code, metadata)
        rows = data.draw(st.lists(row, max_size=most))
        first, self.next_code = self.next_code, self.next_code + len(rows)
        return dict(enumerate(rows, first))

    def _apply(self, rows: dict[int, Row], removed: list[int]) -> None:
        self.index.apply(added(rows, self.bits), np.array(removed, np.int64))
        self.brute.rows = {code_id: row for code_id, row in self.brute.rows.items() if code_id not in removed} | rows

    @rule(data=st.data())
    def add(self, data: st.DataObject) -> None:
        self._apply(self._rows(data, most=40), [])

    @rule(data=st.data())
    def update_and_remove(self, data: st.DataObject) -> None:
        ids = st.sampled_from(sorted(self.brute.rows)) if self.brute.rows else st.nothing()
        removed = data.draw(st.lists(ids | st.integers(0, self.next_code + 3), max_size=10))
        self._apply(self._rows(data, most=3), removed)

    @rule()
    def rewrite_the_base(self) -> None:
        rows = self.brute.arrays(self.bits)
        # A target that cannot be reached makes every list be probed.
        info = write_base(
            Path(self.folder.name) / f"base-{self.next_base}",
            rows.codes,
            rows.code_ids,
            rows.item_ids,
            rows.regions,
            rows.metadata,
            recall_target=2.0 if self.kind == "all probes" else 0.5,
            flat_up_to=10**9 if self.kind == "flat" else 0,
            seed=self.next_base,
        )
        base = Base.open(Path(self.folder.name) / f"base-{self.next_base}")
        base.verify()
        assert base.info == info
        assert base.code_ids.tolist() == sorted(self.brute.rows)
        self.index = Index.open(base, self.bits)
        self.next_base += 1

    @rule(
        data=st.data(),
        k=st.sampled_from([1, 2, 3, 10, 1000]),
        conditions=st.none() | st.sampled_from(FILTERS),
        exact=st.booleans(),
        share=st.none() | st.floats(0, 1),
    )
    def search(self, data: st.DataObject, k: int, conditions: object, exact: bool, share: float | None) -> None:
        code = np.frombuffer(data.draw(st.binary(min_size=self.bits // 8, max_size=self.bits // 8)), np.uint8)
        filter = None if conditions is None else Filter.parse(conditions)
        max_distance = None if share is None else round(share * self.bits)
        found = self.index.search(code, k, filter=filter, exact=exact, max_distance=max_distance)
        true = self.brute.search(code, k, filter, max_distance)
        if self.kind == "probing" and not exact:
            assert set(answers(found)) <= set(self.brute.search(code, 10**9, filter, max_distance))
            assert answers(found) == sorted(answers(found))
            assert len(found.distances) == len(true) or max_distance is not None
        else:
            assert answers(found) == true
        assert len(set(found.code_ids.tolist())) == len(found.code_ids)
        for code_id, answer in zip(found.code_ids.tolist(), answers(found), strict=True):
            assert (self.brute.rows[code_id].item_id, self.brute.rows[code_id].region) == answer[1:]

    @invariant()
    def counts(self) -> None:
        Operations.done += 1
        if hasattr(self, "index"):
            assert self.index.live_rows == len(self.brute.rows)


def run(examples: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_module, "EXACT_ROWS", 0)  # so that these small bases are probed at all
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    amount = settings(max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=checks)
    run_state_machine_as_test(Operations, settings=amount)


def test_every_answer_equals_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    run(examples=20, steps=40, monkeypatch=monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_answer_equals_brute_force_10_000_times(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Operations.done
    run(examples=250, steps=60, monkeypatch=monkeypatch)
    assert Operations.done - before >= 10_000
