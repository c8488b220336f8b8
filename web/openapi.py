"""The OpenAPI 3.1 document, from the declared operations and the types that validate."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from web import VERSION
from web.operations import OPERATIONS, Operation
from web.problems import CONTENT_TYPE, DETAILS, ProblemDetails

JSON, MULTIPART = "application/json", "multipart/form-data"
BINARY = {"type": "string", "contentMediaType": "application/octet-stream"}
DESCRIPTION = """Visual search: send a picture, a region of one, or the id of an item, and get the items most like it.
A box is `[x0, y0, x1, y1]`, fractions of the upright picture. Every error is `application/problem+json` with the id of
the request. Every answer has the headers `X-Request-Id` and `Server-Timing` (milliseconds by stage)."""
FOUR_NUMBERS = r"^[0-9]+(\.[0-9]+)?(,[0-9]+(\.[0-9]+)?){3}$"
KEYS: list[dict[str, list[str]]] = [{"bearer": []}, {"header": []}]
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "basic": {"type": "http", "scheme": "basic", "description": "for browsers: any name, a key as password"},
}


@cache
def document_json() -> str:
    """The document as text."""
    return json.dumps(document())


@cache
def document() -> dict[str, Any]:
    """The document."""
    models = _models()
    made, schemas = models_json_schema(list(models), ref_template="#/components/schemas/{model}")
    references: dict[Any, Any] = {model: reference for (model, _), reference in made.items()}
    paths: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", each.path)
        paths.setdefault(path, {})[each.method.lower()] = _operation(each, references, schemas["$defs"])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "visearch",
            "version": VERSION,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas["$defs"], "securitySchemes": SCHEMES},
    }


def _models() -> list[tuple[type[BaseModel], Any]]:
    found: dict[tuple[type[BaseModel], Any], None] = {(ProblemDetails, "serialization"): None}
    for each in OPERATIONS:
        for model in (each.body, each.query):
            if model is not None:
                found[model, "validation"] = None
        for answer in each.answers.values():
            if isinstance(answer, type):
                found[answer, "serialization"] = None
    return list(found)


def _operation(each: Operation, references: dict[type[BaseModel], Any], schemas: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": each.name,
        "summary": each.summary,
        "description": " ".join((each.view.__doc__ or "").split()),
        "tags": [_tag(each.path)],
        "parameters": _parameters(each, references, schemas),
        "responses": _responses(each, references),
        "security": KEYS if each.access == "write" else [{}, *KEYS, {"basic": []}] if each.access == "read" else [],
    }
    if each.body is not None:
        form = _form(schemas[_name(references[each.body])])
        content = {JSON: {"schema": references[each.body]}, MULTIPART: form}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _tag(path: str) -> str:
    parts = path.strip("/").split("/")
    return parts[2] if parts[0] == "api" else "server"


def _name(reference: dict[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]


def _parameters(
    each: Operation, references: dict[type[BaseModel], Any], schemas: dict[str, Any]
) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}}
        for name in re.findall(r"<int:(\w+)>", each.path)
    ]
    if each.query is not None:
        for name, schema in schemas[_name(references[each.query])]["properties"].items():
            parameter: dict[str, Any] = {"name": name, "in": "query", "description": schema.get("description", "")}
            plain = _without_null(schema)
            if plain.get("type") in ("object", "array"):
                parameter["content"] = {JSON: {"schema": plain}}
            else:
                parameter["schema"] = plain
            parameters.append(parameter)
    return parameters


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    """A form: the picture is a file, a box four numbers with commas, what else has structure is JSON text."""
    fields: dict[str, Any] = {}
    encoding: dict[str, Any] = {}
    for name, described in schema["properties"].items():
        plain = _without_null(described)
        if name == "image":
            plain = BINARY | {"description": "the file of a picture"}
        elif name == "box":
            plain = {"type": "string", "pattern": FOUR_NUMBERS, "examples": ["0.2,0.3,0.7,0.9"]}
        elif plain.get("type") in ("object", "array"):
            encoding[name] = {"contentType": JSON}
        fields[name] = plain
    rules: dict[str, Any] = {key: _rules(schema[key]) for key in ("oneOf", "anyOf") if key in schema}
    required = schema.get("required", [])
    whole = rules | {"type": "object", "properties": fields, "required": required, "additionalProperties": False}
    return {"schema": whole, "encoding": encoding}


def _rules(options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Which fields go together; that they are not null needs no saying in a form."""
    return [
        {
            key: _rules(value) if key in ("oneOf", "anyOf") else value
            for key, value in each.items()
            if key != "properties"
        }
        for each in options
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a field that is left out rather than null."""
    plain = {key: value for key, value in schema.items() if key not in ("default", "title")}
    if plain.get("default", schema.get("default")) is not None:
        plain["default"] = schema["default"]
    options = [each for each in plain.pop("anyOf", []) if each != {"type": "null"}]
    return (options[0] | plain) if len(options) == 1 else (plain | ({"anyOf": options} if options else {}))


def _responses(each: Operation, references: dict[type[BaseModel], Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, answer in each.answers.items():
        if isinstance(answer, tuple):
            content: dict[str, Any] = {kind: {} for kind in answer}
        else:
            content = {JSON: {"schema": references[answer]}} if answer is not None else {}
        responses[str(status)] = {"description": each.summary} | ({"content": content} if content else {})
    for status in sorted(_problems(each)):
        content = {CONTENT_TYPE: {"schema": references[ProblemDetails]}}
        responses[str(status)] = {"description": DETAILS[status], "content": content}
    return responses


def _problems(each: Operation) -> set[int]:
    """Statuses of its errors."""
    found = {403, 500, *each.problems}  # 403: a host name that is not this server's
    if each.access != "open":
        found |= {401, 503}
    if each.query is not None:
        found |= {400, 404, 422}
    if each.body is not None:
        found |= {400, 404, 413, 415, 422}
    if "<" in each.path:
        found.add(404)
    if each.heavy or each.access == "write":
        found.add(429)
    return found
