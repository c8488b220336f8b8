"""A model that is broken, or whose card is: one line says what is wrong with which file, and nothing is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.faults.helpers import fails_in_one_line, make_pictures, problems, succeeds, visearch
from tests.tiny_model import BITS, card, write_model
from visearch import Collection
from visearch.errors import ModelError

REQUIRED = [key for key in card() if key != "resize"]
REQUIRED_OF_RESIZE = list(card()["resize"])


def refused(model: Path, collection: Path) -> str:
    """The one line that says why no collection can be made with a model; there is none afterwards."""
    with pytest.raises(ModelError) as error:
        Collection.open(collection, create=True, model=model)
    assert not collection.exists()
    assert "\n" not in str(error.value)
    assert str(model) in error.value.message
    return error.value.message


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    return tmp_path / "collection"


def test_no_card(model: Path, collection: Path) -> None:
    assert "has no model card" in refused(write_model(model, ""), collection)


@pytest.mark.parametrize("text", ["{", "tiny", "\x00", "[" * 100_000, '{"name": "tiny",}'])
def test_a_card_that_is_not_json(model: Path, collection: Path, text: str) -> None:
    assert "the model card is not JSON" in refused(write_model(model, text), collection)


@pytest.mark.parametrize("text", ["[]", "null", "1", '"card"', "{}"])
def test_a_card_that_is_no_object_or_an_empty_one(model: Path, collection: Path, text: str) -> None:
    assert "lacks the key 'contract'" in refused(write_model(model, text), collection)


@pytest.mark.parametrize("key", [*REQUIRED, "resize"])
def test_a_missing_key_is_named(model: Path, collection: Path, key: str) -> None:
    assert f"lacks the key '{key}'" in refused(write_model(model, json.dumps(card(**{key: None}))), collection)


@pytest.mark.parametrize("key", REQUIRED_OF_RESIZE)
def test_a_missing_key_of_resize_is_named(model: Path, collection: Path, key: str) -> None:
    resize = {name: value for name, value in card()["resize"].items() if name != key}
    assert f"lacks the key 'resize.{key}'" in refused(write_model(model, json.dumps(card(resize=resize))), collection)


@pytest.mark.parametrize("key", [*REQUIRED, "resize"])
def test_a_value_of_the_wrong_type_is_named(model: Path, collection: Path, key: str) -> None:
    wrong: Any = 7 if not isinstance(card()[key], int) else "seven"
    message = refused(write_model(model, json.dumps(card(**{key: wrong}))), collection)
    assert f"card key '{key}' is {wrong!r}" in message


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"contract": 2}, "made for model contract 2, this visearch reads up to 1; upgrade visearch"),
        ({"contract": True}, "'contract' is True"),
        ({"contract": 1.0}, "'contract' is 1.0"),
        ({"kind": "detector"}, "a detector model, an embedding model is needed"),
        ({"kind": ["x"]}, "an embedding model is needed"),
        ({"embedding_dim": 60}, "impossible sizes"),
        ({"embedding_dim": -64}, "impossible sizes"),
        ({"embedding_dim": 2 * BITS}, f"float32 [1, {2 * BITS}]"),
        ({"height": 0}, "impossible sizes"),
        ({"width": 10**9}, "impossible sizes"),
        ({"height": 64}, "does not take the input its card describes"),
        ({"resize": {**card()["resize"], "mode": "stretch"}}, "'resize.mode' is 'stretch'"),
        ({"resize": {**card()["resize"], "interpolation": "cubic"}}, "'resize.interpolation' is 'cubic'"),
        ({"resize": {**card()["resize"], "mode": "center_crop", "size": 8}}, "'resize.size' is 8"),
    ],
    ids=str,
)
def test_values_that_cannot_be(model: Path, collection: Path, changes: dict[str, Any], told: str) -> None:
    assert told in refused(write_model(model, json.dumps(card(**changes))), collection)


def test_keys_that_are_not_known_are_ignored(model: Path, collection: Path) -> None:
    with Collection.open(collection, create=True, model=write_model(model, json.dumps(card(mood="good")))) as opened:
        assert opened.generation.model == "tiny"


@pytest.mark.parametrize("content", [b"", b"\x00" * 1000, b"not a model", b"\x08\x08"], ids=str)
def test_a_file_that_is_no_model(model: Path, collection: Path, content: bytes) -> None:
    model.write_bytes(content)
    refused(model, collection)


@pytest.mark.parametrize("left", [0.02, 0.5, 0.99])
def test_a_model_cut_short(model: Path, collection: Path, tiny: Path, left: float) -> None:
    content = tiny.read_bytes()
    model.write_bytes(content[: int(len(content) * left)])
    refused(model, collection)


def test_a_model_that_is_missing_or_a_folder(model: Path, collection: Path) -> None:
    assert "no such file" in refused(model, collection)
    model.mkdir()
    refused(model, collection)


def test_the_command_says_it_in_one_line_and_the_next_try_works(model: Path, collection: Path, tiny: Path) -> None:
    pictures = make_pictures(collection.parent / "pictures", 3)[0].parent
    arguments = ("index", pictures, "--collection", collection)
    assert str(model) in fails_in_one_line(visearch(*arguments, "--model", model))
    write_model(model, json.dumps(card(license=None)))
    assert str(model) in fails_in_one_line(visearch(*arguments, "--model", model))
    assert str(model) in fails_in_one_line(visearch(*arguments, environment={"VISEARCH_MODEL": model}))
    model.write_bytes(b"not a model")
    assert str(model) in fails_in_one_line(visearch(*arguments, "--model", model))
    assert not collection.exists()
    succeeds(visearch(*arguments, "--model", tiny))


def test_the_copy_of_the_model_in_a_collection(collection: Path, model: Path, tiny: Path) -> None:
    """Missing or harmed, it is named; what needs no model goes on; put back, all is well."""
    pictures = make_pictures(collection.parent / "pictures", 3)
    where = ("--collection", collection)
    succeeds(visearch("index", pictures[0].parent, *where, "--model", tiny))
    (copy,) = (collection / "models").iterdir()
    content = copy.read_bytes()
    for harm in (lambda: copy.write_bytes(content[:1000]), lambda: write_model(copy, seed=5), copy.unlink):
        harm()
        assert str(copy) in fails_in_one_line(visearch("search", pictures[0], *where))
        succeeds(visearch("search", "--item", 1, *where))
        assert [problem.kind for problem in problems(collection)] == ["store"]
        assert visearch("check", *where).returncode == 1
    copy.write_bytes(content)
    succeeds(visearch("search", pictures[0], *where))
    assert problems(collection) == []
