"""What is served: collections, facets, and this API itself."""

from __future__ import annotations

from flask import Response, render_template

from visearch.errors import StoreError
from web.listing import FACET_SECONDS, facets_of
from web.openapi import document, document_json
from web.operations import operation
from web.schemas import Collections, CollectionSummary, Facets, InCollection
from web.state import State, state


@operation("GET", "/api/v1/collections", "Which collections are served", answers={200: Collections})
def list_collections() -> Collections:
    """And what the server can do."""
    made = state()
    return Collections(
        collections=[_summary(made, name, place == 0) for place, name in enumerate(made.collections)],
        detector=made.detector.name if made.detector is not None else None,
        url_fetch=bool(made.config.fetch_schemes),
        writes=bool(made.keys),
        search_log=bool(made.logs),
    )


def _summary(made: State, name: str, default: bool) -> CollectionSummary:
    collection = made.collections[name]
    try:
        generation = collection.generation
    except StoreError:  # nothing was indexed yet
        return CollectionSummary(name=name, default=default, items=0, model=None, generation=None)
    model = f"{generation.model} {generation.version}"
    return CollectionSummary(
        name=name, default=default, items=len(collection), model=model, generation=generation.number
    )


@operation("GET", "/api/v1/facets", "What can be filtered by", query=InCollection, answers={200: Facets})
def list_facets(asked: InCollection) -> Facets:
    """The keys of the metadata that tell items apart, with their commonest values; of the first 100,000 items."""
    name, collection = state().named(asked.collection)
    with collection.store.read() as reader:
        serial = reader.serial
    key = ("facets", name)
    facets: Facets = state().lists.get(key, serial, FACET_SECONDS, lambda: facets_of(collection.items()))
    return facets


@operation("GET", "/openapi.json", "This API as OpenAPI 3.1", answers={200: ("application/json",)})
def openapi() -> Response:
    """Made from the types that validate."""
    return Response(document_json(), content_type="application/json")


@operation("GET", "/docs", "This API as a page", answers={200: ("text/html",)})
def docs() -> Response:
    """Without scripts, and without anything from elsewhere."""
    return Response(render_template("docs.html", api=document()))
