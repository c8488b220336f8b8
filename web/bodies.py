"""Request bodies and addresses into the models of schemas.py: JSON, or a form whose fields are text."""

from __future__ import annotations

from typing import TypeVar

from flask import request
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import FileStorage, MultiDict

from web.problems import Problem, invalid, of_validation

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value", str, FileStorage)


def from_body(model: type[Model]) -> Model:
    """Read the body as this model.

    Raises:
        Problem: 400 malformed, 413 too large, 415 neither JSON nor multipart, 422 a box that is no region.
    """
    kind = request.mimetype
    try:
        if kind == "application/json":
            return model.model_validate_json(request.get_data(cache=False), strict=True)
        if kind == "multipart/form-data":
            values: dict[str, object] = dict(_single(request.form))
            values |= {name: file.stream.read() for name, file in _single(request.files).items()}
            return model.model_validate(values)
    except ValidationError as error:
        raise of_validation(error) from None
    finally:
        request.close()  # the files of a form that lie on disk
    raise Problem(415, "send application/json or multipart/form-data")


def from_query(model: type[Model]) -> Model:
    """Read the parameters of the address as this model; Problem 400 where they do not fit."""
    try:
        return model.model_validate(dict(_single(request.args)))
    except ValidationError as error:
        raise of_validation(error) from None


def _single(fields: MultiDict[str, Value]) -> dict[str, Value]:
    for name, values in fields.lists():
        if len(values) > 1:
            raise invalid(name[:200], "is given more than once")
    return {name: values[0] for name, values in fields.lists()}
