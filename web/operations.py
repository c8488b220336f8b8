"""An operation of the API: one declaration routes it, checks key, rate and queue, validates, and documents.

@operation("GET", "/api/v1/items", "List items", query=Paged, answers={200: ItemPage})
def list_items(query: Paged) -> ItemPage: ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from flask import Flask, Response
from pydantic import BaseModel

from web import auth, bodies
from web.limits import rate_limiter
from web.state import State, state

Access = Literal["open", "read", "write"]


@dataclass(frozen=True)
class Operation:
    """See `operation`. `path` is as werkzeug writes it; `answers` give a model, or the media types of bytes."""

    method: str
    path: str
    summary: str
    view: Callable[..., Any]
    access: Access
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    answers: Mapping[int, type[BaseModel] | tuple[str, ...] | None]
    heavy: bool
    problems: tuple[int, ...]

    @property
    def name(self) -> str:
        """The operation id."""
        return self.view.__name__


OPERATIONS: list[Operation] = []


def operation(
    method: str,
    path: str,
    summary: str,
    *,
    answers: Mapping[int, type[BaseModel] | tuple[str, ...] | None],
    access: Access = "read",
    body: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    heavy: bool = False,
    problems: tuple[int, ...] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the decorated function as an operation.

    Args:
        method: of HTTP.
        path: with werkzeug's converters.
        summary: one line for the documentation; the docstring says more.
        answers: what it gives by status: a model, media types, or None for nothing.
        access: who may: everyone; who may read; who has a key.
        body: the model of a JSON or multipart body, which the view gets first.
        query: the model of the parameters in the address, which the view gets first.
        heavy: it decodes or embeds, so it counts against the rate and takes its turn in the queue.
        problems: statuses of errors beyond those that any operation of its kind can answer.
    """

    def declare(view: Callable[..., Any]) -> Callable[..., Any]:
        OPERATIONS.append(Operation(method, path, summary, view, access, body, query, answers, heavy, problems))
        return view

    return declare


def register(app: Flask, made: State) -> None:
    """Route every operation."""
    limited = rate_limiter(app, made.config.requests_per_minute)
    for each in OPERATIONS:
        view = _view(each, made)
        counted = each.heavy or each.access == "write"
        app.add_url_rule(each.path, each.name, limited(view) if counted else view, methods=[each.method])


def _view(each: Operation, made: State) -> Callable[..., Response]:
    def answer(**path: Any) -> Response:
        if each.access == "write":
            auth.check_write(made.keys)
        elif each.access == "read" and made.config.reads_need_key:
            auth.check_read(made.keys)
        arguments = []
        with made.gate.turn() if each.heavy else nullcontext():
            if each.body is not None:
                arguments.append(bodies.from_body(each.body))
            if each.query is not None:
                arguments.append(bodies.from_query(each.query))
            return _response(each.view(*arguments, **path))

    answer.__name__ = each.name  # the limiter tells views apart by it
    return answer


def _response(given: BaseModel | Response | tuple[BaseModel, int] | None) -> Response:
    if isinstance(given, Response):
        return given
    if given is None:
        return Response(status=204)
    model, status = given if isinstance(given, tuple) else (given, 200)
    response = Response(model.model_dump_json(), status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


__all__ = ["OPERATIONS", "Operation", "operation", "register", "state"]
