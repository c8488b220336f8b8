"""What goes in and out of the HTTP API. These types validate, and the OpenAPI document is made from them."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError, from_json

from visearch.errors import BoxError, FilterError
from visearch.filters import Filter
from visearch.images import Box, validate_box
from web.problems import EMPTY_BOX

MOST_MATCHES = 100
MOST_BOXES = 50
LONGEST_SIDE = 2048  # pixels of a picture that is encoded anew
LONGEST_TEXT = 2048  # characters of a name, an address, a cursor
LARGEST_ID = 2**63 - 1
BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
MOST_KEYS = 100  # of the metadata of an uploaded item
LONGEST_VALUE = 10_000  # characters of one of its texts
MOST_VALUES = 100  # elements of one of its lists


# Parts of requests


def _check_box(value: tuple[float, float, float, float]) -> Box:
    try:
        return validate_box(value)
    except BoxError as error:
        raise PydanticCustomError(EMPTY_BOX, "{words}", {"words": error.message}) from None


def _check_filter(value: object) -> object:
    try:
        Filter.parse(value)
    except FilterError as error:
        raise ValueError(error.message) from None
    return value


def _whole(value: object) -> object:
    """In JSON 5.0 is an integer too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _picture_bytes(value: object, info: ValidationInfo) -> object:
    """Base64 in JSON; in a form a file, whose bytes these are."""
    if info.mode != "json":
        if not isinstance(value, bytes):
            raise ValueError("send it as a file of the form")
        return value
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None


def _numbers(value: object, info: ValidationInfo) -> object:
    """In forms and addresses a box is text: four numbers with commas."""
    if isinstance(value, list):
        return tuple(value)  # a strict model takes no list for a tuple once a validator has run before
    if info.mode == "json" or not isinstance(value, str):
        return value
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError:
        raise ValueError("four numbers with commas between them: x0,y0,x1,y1") from None


def _json_text(value: object, info: ValidationInfo) -> object:
    """In forms and addresses what has structure is JSON text."""
    if info.mode == "json" or not isinstance(value, str):
        return value
    try:
        return from_json(value, allow_inf_nan=False)
    except ValueError:
        raise ValueError("not JSON") from None


_SCALAR = {"type": ["string", "number", "boolean", "null"]}
FILTER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "AND over the keys; a scalar must be equal, a list is OR over its values, an object is a range,"
    " or asks that the key is there.",
    "additionalProperties": {
        "anyOf": [
            _SCALAR,
            {"type": "array", "items": _SCALAR},
            {
                "type": "object",
                "properties": {name: {"type": "number"} for name in ("gt", "gte", "lt", "lte")},
                "additionalProperties": False,
                "minProperties": 1,
            },
            {
                "type": "object",
                "properties": {"exists": {"const": True}},
                "additionalProperties": False,
                "required": ["exists"],
            },
        ]
    },
    "examples": [{"category": ["Lighting", "Rugs"], "price": {"lte": 200}}],
}
BOX_SCHEMA: dict[str, Any] = {
    "type": "array",
    "prefixItems": [{"type": "number", "minimum": 0, "maximum": 1}] * 4,
    "items": False,
    "minItems": 4,
    "description": "x0, y0, x1, y1: fractions of the upright picture, origin top left, x0 < x1 and y0 < y1.",
    "examples": [[0.2, 0.3, 0.7, 0.9]],
}

Fraction = Annotated[float, Field(strict=True)]  # no text, no true
BoxField = Annotated[
    tuple[Fraction, Fraction, Fraction, Fraction],
    Field(strict=False),  # a list will do
    BeforeValidator(_numbers),
    AfterValidator(_check_box),
    WithJsonSchema(BOX_SCHEMA),
]
FilterField = Annotated[Any, BeforeValidator(_json_text), AfterValidator(_check_filter), WithJsonSchema(FILTER_SCHEMA)]
ImageField = Annotated[
    bytes,
    BeforeValidator(_picture_bytes),
    WithJsonSchema(
        {"type": "string", "contentEncoding": "base64", "pattern": BASE64, "description": "the bytes of a picture"}
    ),
]
Text = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TEXT)]
Whole = BeforeValidator(_whole)
ItemId = Annotated[int, Field(ge=0, le=LARGEST_ID), Whole]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Request(BaseModel):
    """Base of what comes in: unknown fields are errors, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")

    collection: Name | None = Field(None, description="name of the collection; the first one without")


PICTURES = ("image", "image_url", "item")


def _given(name: str) -> JsonDict:
    """The schema of an object in which this field is there and not null."""
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


ONE_PICTURE: JsonDict = {"oneOf": [_given(name) for name in PICTURES]}


class Query(Request):
    """A picture, or a region of one. Exactly one of `image`, `image_url` and `item`."""

    model_config = ConfigDict(json_schema_extra=ONE_PICTURE)

    image: ImageField | None = None
    image_url: Text | None = Field(None, description="address of a picture; refused unless the server allows it")
    item: ItemId | None = Field(None, description="id of an item of the collection, which never finds itself")

    @model_validator(mode="after")
    def _one_picture(self) -> Self:
        given = [name for name in PICTURES if getattr(self, name) is not None]
        if len(given) != 1 and getattr(self, "cursor", None) is None:
            raise ValueError(f"exactly one of image, image_url and item, not {' and '.join(given) or 'none'}")
        return self


class Search(Query):
    """What every mode can be asked."""

    limit: Annotated[int, Field(ge=1, le=MOST_MATCHES), Whole] = Field(
        20, description="matches wanted; fewer only where fewer are eligible"
    )
    filter: FilterField | None = Field(None)
    max_distance: Annotated[int, Field(ge=0, le=65_536), Whole] | None = Field(
        None, description="largest distance in bits of a match"
    )


class RegionSearch(Search):
    """Lens, and what Flashlight can be asked too."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [ONE_PICTURE, _given("cursor")]})

    box: BoxField | None = None
    cursor: Text | None = Field(
        None,
        description="`next_cursor` of an answer gives its next page; the rest but `limit` is ignored then",
    )


class FlashlightSearch(RegionSearch):
    """Flashlight."""

    diversity: float = Field(
        0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="how much matches unlike those before them are preferred; 0: nearest first",
    )


class ShopSearch(Search):
    """Shop the Look."""

    boxes: Annotated[list[BoxField], BeforeValidator(_json_text), Field(min_length=1, max_length=MOST_BOXES)] | None = (
        Field(None, description="regions to shop for; without, objects are detected")
    )


class Detect(Query):
    """Which objects a picture shows."""


class Paged(Request):
    """A page of a list."""

    limit: int = Field(50, ge=1, le=MOST_MATCHES)
    cursor: Text | None = Field(None, description="`next_cursor` of the page before")
    filter: FilterField | None = None
    product: bool | None = Field(None, description="only items that are products, or only those that are none")


class InCollection(Request):
    """Which collection is meant."""


class Rendition(Request):
    """How a picture is wanted. An address with `v` never changes its content, and may be kept for ever."""

    side: int | None = Field(None, ge=16, le=LONGEST_SIDE, description="longest side in pixels; without, the original")
    v: Annotated[str, StringConstraints(max_length=64)] | None = Field(None, description="version of the picture")


MetadataValue = (
    bool
    | Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
    | Annotated[float, Field(allow_inf_nan=False)]
    | Annotated[str, StringConstraints(max_length=LONGEST_VALUE)]
)
Metadata = dict[Name, MetadataValue | Annotated[list[MetadataValue], Field(max_length=MOST_VALUES)]]


class NewItem(Request):
    """A picture to add, with what is known of it."""

    image: ImageField
    metadata: Annotated[Metadata, BeforeValidator(_json_text), Field(max_length=MOST_KEYS)] = Field(
        default_factory=dict, description="text, numbers, true or false, or lists of these, by key"
    )


class Click(Request):
    """A match that somebody opened."""

    query_id: Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")] = Field(description="of the answer")
    item: ItemId
    rank: Annotated[int, Field(ge=0, le=100_000), Whole] = Field(
        description="place in the answer, from 0, over its pages"
    )


# Answers


class Product(BaseModel):
    """What can be bought. Each is null where it is not known."""

    title: str | None
    price: float | None
    price_currency: str | None = Field(description="ISO 4217")
    availability: str | None
    seller: str | None
    url: str | None = Field(description="http or https, nothing else")


class ItemSummary(BaseModel):
    """An item of a collection."""

    id: int
    width: int = Field(description="of the upright picture, in pixels")
    height: int
    metadata: dict[str, Any] = Field(description="in lists without values of more than 500 characters")
    product: Product | None
    image_url: str
    thumbnail_url: str


class ItemPage(BaseModel):
    """A page of items, by id."""

    items: list[ItemSummary]
    next_cursor: str | None
    total: int = Field(description="items that pass the filter")


Closeness = Literal["very close", "close", "similar", "loosely similar"]
OutBox = Annotated[list[float], Field(min_length=4, max_length=4, description="x0, y0, x1, y1, fractions")]


class MatchAnswer(BaseModel):
    """One item found."""

    model_config = ConfigDict(title="Match")

    item: int
    region: int = Field(description="number of its best region")
    box: OutBox
    distance: int = Field(description="Hamming, in bits")
    score: float = Field(ge=-1.001, le=1.001)
    closeness: Closeness
    duplicates: int = Field(
        ge=0, description="near-duplicates folded into this match; Shop the Look: further pictures of the product"
    )
    width: int
    height: int
    metadata: dict[str, Any] = Field(description="without values of more than 500 characters")
    product: Product | None
    image_url: str
    thumbnail_url: str


class DetectedObject(BaseModel):
    """An object in a picture."""

    box: OutBox
    label: str
    category: str | None = Field(description="product category of the catalogue")
    score: float


def _without_default(schema: JsonDict) -> None:
    """Of a field that is not there rather than null."""
    del schema["default"]


class Head(BaseModel):
    """What every search answers."""

    query_id: str
    mode: Literal["flashlight", "lens", "shop"]
    collection: str
    model: str
    generation: int
    score: Literal["cosine", "hamming"] = Field(description="what `score` of a match is")
    width: int = Field(description="of the upright query, in pixels")
    height: int
    took: dict[str, float] = Field(description="milliseconds by stage")
    coverage: Annotated[float, Field(ge=0, lt=1)] | SkipJsonSchema[None] = Field(
        None,
        exclude_if=lambda value: value is None,
        json_schema_extra=_without_default,
        description="the share of the collection that was searched; only there while a part of it cannot be",
    )
    logged: bool = Field(description="whether the search log is on, so that clicks can be told")


class SearchAnswer(Head):
    """Matches, best first."""

    box: OutBox = Field(description="the region that was searched for; Lens: the object that was chosen")
    detector: str | None
    objects: list[DetectedObject] = Field(description="what was found in the picture, where it was looked for")
    matches: list[MatchAnswer]
    relevant: int = Field(description="the first so many of these matches are above the relative cut-off")
    next_cursor: str | None


class ShopObject(DetectedObject):
    """An object with products like it."""

    matches: list[MatchAnswer]
    relevant: int = Field(description="the first so many of these matches are above the relative cut-off")


class ShopAnswer(Head):
    """Products by object."""

    detector: str | None = Field(description="null: none is installed, so only boxes that are given are searched")
    objects: list[ShopObject]


class ObjectsAnswer(BaseModel):
    """Objects, best first."""

    width: int
    height: int
    detector: str | None
    objects: list[DetectedObject]


class CollectionSummary(BaseModel):
    """A collection that is served."""

    name: str
    default: bool = Field(description="whether it is meant where none is named")
    items: int
    model: str | None
    generation: int | None


class Collections(BaseModel):
    """What is served, and what it can do."""

    collections: list[CollectionSummary]
    detector: str | None
    url_fetch: bool
    writes: bool = Field(description="whether items can be added, by who has a key")
    search_log: bool


class FacetValue(BaseModel):
    """A value of the metadata and how many items have it."""

    value: str | bool | float
    count: int


class Facet(BaseModel):
    """A key of the metadata: its commonest values, and the range of its numbers."""

    key: str
    type: Literal["text", "number", "boolean"]
    count: int = Field(description="items that have it")
    distinct: int = Field(description="different values; counting stops at a thousand")
    values: list[FacetValue] = Field(description="commonest first")
    min: float | None = Field(description="of numbers")
    max: float | None


class Facets(BaseModel):
    """What can be filtered by."""

    items: int = Field(description="items that were looked at")
    facets: list[Facet]


class Health(BaseModel):
    """Whether the server can answer."""

    status: Literal["ok", "not ready"]
    version: str
    collections: dict[str, Literal["ok", "not ready"]]
