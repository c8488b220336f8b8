"""The OpenAPI document is right, complete, and what the server does; its page needs nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from tests.web.api import WITH_KEY, Client, make_app
from visearch.collection import Collection
from visearch.detector import Detector
from web.operations import OPERATIONS, Operation

Document = schemathesis.schemas.BaseSchema

FEW, MANY = 8, 3000  # calls, of each operation and in all


def test_it_is_openapi_3_1_and_every_address_is_in_it(client: Client) -> None:
    document = client.get("/openapi.json").json
    assert document["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    served = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in client.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert described == served - {("GET", path) for path in ("/", "/favicon.ico", "/static/{name}")}
    assert len(described) == len(OPERATIONS)


def test_its_schemas_are_json_schemas_without_loose_ends(client: Client) -> None:
    text = client.get("/openapi.json").text
    document = client.get("/openapi.json").json
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
    for name in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert name in document["components"]["schemas"]


def test_every_operation_and_field_is_explained(client: Client) -> None:
    document = client.get("/openapi.json").json
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert operation["description"]
            assert operation["responses"]


class _Page(HTMLParser):
    """What a page refers to, runs and names."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.ids: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("href", "src", "action"):
                self.references.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name == "style" or name.startswith("on"):
                self.inline.append(name)
        if tag in ("script", "style"):
            self.inline.append(tag)


def test_the_page_is_whole_without_scripts_or_anything_from_elsewhere(client: Client) -> None:
    response = client.get("/docs")
    assert response.content_type == "text/html; charset=utf-8"
    page = _Page()
    page.feed(response.text)
    assert page.inline == []
    assert len(set(page.ids)) == len(page.ids)
    for reference in page.references:
        if reference.startswith("#"):
            assert reference[1:] in page.ids
        else:
            with client.get(reference) as found:
                assert found.status_code == 200
    for operation in OPERATIONS:
        assert operation.name in page.ids


# What it says is what happens: schemathesis makes requests of all kinds from the document, right ones and wrong ones,
# and compares each answer with it.


@pytest.fixture
def described(own: Collection, detector: Detector) -> Document:
    """The document of an app over a collection that may be changed."""
    schema = schemathesis.openapi.from_wsgi("/openapi.json", make_app(own, detector, search_log_days=1))
    # What the schema cannot say: that the bytes are a picture, a box no point, a cursor one of ours. Never 400.
    accepted = ["2xx", "304", "403", "404", "415", "422"]
    schema.config.checks.positive_data_acceptance.expected_statuses = accepted
    return schema


every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)


@every_operation
def test_answers_are_as_described(described: Document, operation: Operation) -> None:
    _check(described, operation, FEW)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@every_operation
def test_three_thousand_answers_are_as_described(described: Document, operation: Operation) -> None:
    _check(described, operation, -(-MANY // len(OPERATIONS)))


def _check(described: Document, operation: Operation, calls: int) -> None:
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", operation.path)
    strategy = described[path][operation.method].as_strategy()
    all_checks_of_health = list(HealthCheck)

    @given(case=strategy)
    @settings(max_examples=calls, database=None, derandomize=True, suppress_health_check=all_checks_of_health)
    def check(case: Any) -> None:
        case.call_and_validate(headers=WITH_KEY)

    check()
