"""What a filter means, and which are refused."""

from __future__ import annotations

import math

import pytest

from visearch.errors import FilterError
from visearch.filters import Filter

CHAIR = {
    "label": "chair",
    "price": 20,
    "rating": 4.5,
    "available": True,
    "seller": None,
    "colours": ["red", "blue", 3, None],
    "size": {"height": 3},
    "weight": math.nan,
    "none_of": [],
    "big": 2**53 + 1,
}


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"label": "chair"},
        {"label": ["stool", "chair"]},
        {"label": "chair", "price": 20},
        {"price": 20.0},
        {"price": {"gte": 20}},
        {"price": {"lte": 20}},
        {"price": {"gt": 19.5, "lt": 20.5}},
        {"price": {"gte": 20, "lte": 20}},
        {"price": {"gt": -1e400}},
        {"available": True},
        {"available": [False, True]},
        {"seller": None},
        {"colours": "red"},
        {"colours": ["green", "blue"]},
        {"colours": 3},
        {"colours": None},
        {"colours": {"gt": 2}},
        {"big": 2**53 + 1},
        {"price": {"lt": 10**400}},
        {"colours": {"exists": True}},
        {"seller": {"exists": True}},
    ],
    ids=str,
)
def test_matches(conditions: object) -> None:
    assert Filter.parse(conditions).matches(CHAIR)


@pytest.mark.parametrize(
    "conditions",
    [
        {"label": "Chair"},
        {"label": "stool"},
        {"label": []},
        {"label": "chair", "price": 21},
        {"price": "20"},
        {"price": {"gt": 20}},
        {"price": {"lt": 20}},
        {"price": {"gte": 10, "lt": 20}},
        {"price": {"gt": 30, "lt": 10}},
        {"price": True},
        {"available": 1},
        {"available": {"gte": 0}},
        {"available": "true"},
        {"label": {"gt": 0}},
        {"seller": False},
        {"seller": ""},
        {"seller": {"lt": 1}},
        {"missing": None},
        {"missing": "chair"},
        {"missing": {"gte": 0}},
        {"colours": "green"},
        {"colours": True},
        {"size": None},
        {"size": 3},
        {"weight": 0},
        {"weight": None},
        {"weight": {"lt": 1}},
        {"none_of": None},
        {"none_of": {"exists": True}},
        {"missing": {"exists": True}},
        {"big": 2**53},
    ],
    ids=str,
)
def test_does_not_match(conditions: object) -> None:
    assert not Filter.parse(conditions).matches(CHAIR)


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        ({"price": {"above": 3}}, "'price': unknown operator 'above'; there are gt, gte, lt, lte"),
        ({"price": {}}, "'price': an empty range"),
        ({"price": {"gt": "3"}}, "'price': gt needs a number, not text"),
        ({"price": {"gt": True}}, "'price': gt needs a number, not true or false"),
        ({"price": {"lt": None}}, "'price': lt needs a number, not null"),
        ({"price": {"lt": math.nan}}, "'price': lt needs a number, not NaN"),
        ({"price": math.nan}, "'price': cannot compare with NaN"),
        ({"label": {"exists": False}}, "'label': presence is {\"exists\": true}"),
        ({"label": {"exists": True, "gt": 3}}, "'label': presence is {\"exists\": true}, with nothing beside it"),
        ({"label": [["chair"]]}, "'label': cannot compare with a list"),
        ({"label": [{"gt": 3}]}, "'label': cannot compare with an object"),
        ({"label": b"chair"}, "'label': cannot compare with a bytes"),
        ({"label": "chair", 3: "x"}, "key 3 is not a string"),
        (["label"], "a filter is a JSON object of key: condition, not a list"),
        ("label", "not text"),
        (None, "not null"),
        (3, "not a number"),
    ],
    ids=str,
)
def test_a_malformed_filter_is_refused_in_one_line_that_names_the_key(conditions: object, says: str) -> None:
    with pytest.raises(FilterError) as raised:
        Filter.parse(conditions)
    assert says in raised.value.message
    assert "\n" not in str(raised.value)


def test_equal_filters_are_one_for_a_cache() -> None:
    one = Filter.parse({"label": ["chair", "stool"], "price": {"gt": 1, "lt": 3}})
    other = Filter.parse({"price": {"lt": 3.0, "gt": 1.0}, "label": ["stool", "chair", "chair"]})
    assert one == other
    assert hash(one) == hash(other)
    assert Filter.parse({"available": True}) != Filter.parse({"available": 1})
