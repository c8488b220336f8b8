"""Matches in words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from visearch.modes import DUPLICATE_SHARE
from web.views import closeness

WORDS = ["very close", "close", "similar", "loosely similar"]


@given(st.floats(0, 1), st.floats(0, 1))
def test_no_word_says_closer_of_what_is_further(near: float, far: float) -> None:
    near, far = sorted((near, far))
    assert WORDS.index(closeness(near)) <= WORDS.index(closeness(far))


def test_near_duplicates_are_very_close_and_unrelated_pictures_loosely_similar() -> None:
    assert closeness(0) == closeness(DUPLICATE_SHARE) == "very close"
    assert closeness(DUPLICATE_SHARE + 0.001) == "close"
    assert closeness(0.5) == "loosely similar"
