"""Every error as RFC 9457 problem+json: fixed words by status, the request id, the fields that are wrong.

No answer carries the text of an exception: what a library or the system says can hold paths and values of others.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from flask import Flask, Response, g
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from visearch import images
from visearch.errors import BoxError, FilterError, ImageError, ModelError, StoreError

EMPTY_BOX = "empty_box"  # pydantic's kind of error for four numbers that are no region
CONTENT_TYPE = "application/problem+json"

DETAILS = {
    400: "the request is malformed",
    401: "this needs an API key: send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`",
    403: "this is not allowed here",
    404: "there is nothing at this address",
    405: "this address does not answer that method; the header Allow names those it does",
    411: "the request says no length",
    413: "the request is larger than this server takes",
    415: "the request's content type, or the picture's format, is not one that is read here",
    416: "the range lies outside the file",
    422: "the request is understood, but what it holds cannot be used",
    429: "too many requests at once; try again a little later",
    500: "something failed here; the log has it under this request id",
    502: "the address of the picture could not be fetched",
    503: "the collection cannot answer now",
    504: "fetching the picture took too long",
}

IMAGE_STATUS = {"unsupported": 415, "too-large": 413}  # other reasons: 422
UNUSABLE = "the picture cannot be used"
OWN_WORDS = ("unsupported", "too-large")  # reasons whose message holds only our own words and numbers

log = logging.getLogger(__name__)


class FieldError(BaseModel):
    """A field of the request that is wrong, and how."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(title="Problem")

    type: str = Field("about:blank", description="always about:blank: the status says what kind of problem it is")
    title: str = Field(description="the status in words")
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="what was wrong and what to do")
    request_id: str = Field(description="names the request in the server's log")
    errors: list[FieldError] = Field(description="fields that are wrong; empty where no single one is")


class Problem(Exception):
    """Ends a request with this answer. `detail` and the messages must be our own words."""

    def __init__(
        self,
        status: int,
        detail: str = "",
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = status, detail, errors, dict(headers or {})

    def response(self) -> Response:
        """The answer."""
        details = ProblemDetails(
            type="about:blank",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail or DETAILS.get(self.status, HTTPStatus(self.status).phrase),
            request_id=g.get("request_id", ""),
            errors=[FieldError(field=name, message=message) for name, message in self.errors],
        )
        response = Response(details.model_dump_json(), self.status, content_type=CONTENT_TYPE)
        response.headers.update(self.headers)
        return response


def invalid(field: str, message: str, status: int = 400) -> Problem:
    """The problem of one wrong field."""
    return Problem(status, f"{field}: {message}", [(field, message)])


def of_validation(error: ValidationError) -> Problem:
    """The problem of a body or query that pydantic refused. Its messages do not repeat the values."""
    errors = []
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        field = ".".join(str(part) for part in each["loc"]) or "body"
        errors.append((field[:200], each["msg"].removeprefix("Value error, ")))
    status = 422 if all(each["type"] == EMPTY_BOX for each in error.errors(include_url=False)) else 400
    return Problem(status, f"{errors[0][0]}: {errors[0][1]}", errors[:20])


def of_image(error: ImageError, field: str = "image") -> Problem:
    """The problem of a picture that was sent and cannot be used."""
    message = error.message if error.reason in OWN_WORDS else images.REASONS.get(error.reason, UNUSABLE)
    return invalid(field, message, IMAGE_STATUS.get(error.reason, 422))


def of_exception(error: Exception) -> Problem:
    """The problem of whatever a request raised."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        status = error.code if error.code is not None and error.code >= 400 else 500
        allow = error.valid_methods if isinstance(error, MethodNotAllowed) else None
        return Problem(status, headers={"Allow": ", ".join(sorted(allow))} if allow else None)
    if isinstance(error, ImageError):  # of an item; its message names the file
        status = 404 if error.reason in ("unreadable", "changed") else 422
        return invalid("item", "the picture's file is gone, is not what was indexed, or can no longer be read", status)
    if isinstance(error, BoxError):
        return invalid("box", error.message, 422)
    if isinstance(error, FilterError):
        return invalid("filter", error.message)
    if isinstance(error, (StoreError, ModelError)):
        log.error("request %s: %s", g.get("request_id", ""), error.message)
        return Problem(503, headers={"Retry-After": "5"})
    log.exception("request %s failed", g.get("request_id", ""), exc_info=error)
    return Problem(500)


def register(app: Flask) -> None:
    """Answer every error of the app this way."""

    @app.errorhandler(Exception)
    def answer(error: Exception) -> Response:
        if isinstance(error, HTTPException) and isinstance(error.response, Response):  # made by the rate limiter
            return error.response
        return of_exception(error).response()
