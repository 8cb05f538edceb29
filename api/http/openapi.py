"""The OpenAPI document of a node, made from its routes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase

from api.client.schemas.problem import ProblemDetails
from api.http.access import ASKED_FOR, asserting, bearer, caller
from api.http.error_handlers import MEDIA_TYPE

TAGS: Mapping[str, str] = {
    "cases": "Cases: the list, one case now or as it was, its trail, and the actions on it.",
    "documents": "Files that belong to a case: uploads by tus, previews, downloads.",
    "personal data": "Fields of the `case` and `personal` levels, read with a purpose or released.",
    "finding": "Persons by name or number, in the country's own vault.",
    "duplicates": "Cases that may be of one person.",
    "desk": "What came in, what is due, notes and reminders of an agency.",
    "drafts": "Actions that wait for the approval of another member of the agency.",
    "accountability": "What countries owe each other, and how fast they answer.",
    "replay": "The ledger as it was known at an earlier moment.",
    "retention": "What is erased, and when.",
    "audit": "The audit of readings, and reports on breaches, for coordinators and oversight.",
    "events": "The ledger's events by position, in pages or as they come.",
    "protocol": "The agreement, its agencies and keys, and the acts that change them.",
    "schemas": "JSON Schemas of every kind and version of action.",
    "statistics": "Pseudonymised records of a country's cases, for its own analysts.",
    "members": "The persons who work for an agency, and their keys.",
    "outbox": "The outcome of actions that wait for the ledger node.",
    "webhooks": "An agency's webhooks for cases: how far each is, and a replay by position.",
    "nodes": "Between countries' nodes: sealed parcels and statements.",
    "log": "The transparency log: checkpoints, tiles, proofs, witnesses.",
    "sign-in": "The sessions of people in a browser.",
    "health": "The state of the node, for monitoring.",
}
"""The subject of each group of operations. The document has the groups in this order."""
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def openapi(app: FastAPI) -> dict[str, Any]:
    """Return the document of an application, which is made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=[{"name": name, "description": said} for name, said in TAGS.items()],
            servers=[{"url": "/", "description": "This node"}],
            contact={"name": "The operator of this node"},
            license_info={"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        )
        schemas = document["components"]["schemas"]
        problem = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= problem.pop("$defs", {})
        schemas["ProblemDetails"] = problem
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        _name_operations(app, document)
        _say_who_is_asked(app, document)
        _complete(document)
        app.openapi_schema = document
    return app.openapi_schema


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and description of each operation of a document."""
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield path, method, item[method]


def _name_operations(app: FastAPI, document: dict[str, Any]) -> None:
    """Name each operation after its function: generated clients name their calls by it."""
    for route in app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                document["paths"][route.path_format][method.lower()]["operationId"] = route.name


def _say_who_is_asked(app: FastAPI, document: dict[str, Any]) -> None:
    """State the credentials of :func:`api.http.access.caller` on each operation.

    An operation that anyone may ask has an empty list.
    """
    for route in app.routes:
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        schemes = _asked_for(route)
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            operation["security"] = [{scheme.scheme_name: []} for scheme in schemes]
    document["components"]["securitySchemes"] = {
        scheme.scheme_name: scheme.model.model_dump(mode="json", by_alias=True, exclude_none=True)
        for scheme in ASKED_FOR
    }


def _asked_for(route: APIRoute) -> Sequence[SecurityBase]:
    """Return the credentials one of which a route needs; none if anyone may ask."""
    needed = {one.call for one in route.dependant.dependencies}
    if caller in needed:
        return ASKED_FOR
    return (bearer,) if asserting in needed else ()


def _complete(document: dict[str, Any]) -> None:
    """Add what every operation answers, and what readers of arrays of fixed length expect."""
    problem = {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}
    for _, _, operation in operations(document):
        answers = operation["responses"]
        # An address may have too many requests under way, whatever it asks for.
        answers.setdefault(
            "429", {"description": "Too many requests", "content": {MEDIA_TYPE: problem}}
        )
        if not any(status.startswith("2") for status in answers):
            answers["default"] = {
                "description": "A refusal",
                "content": {MEDIA_TYPE: problem},
            }
    _say_items(document["components"]["schemas"])


def _say_items(schema: Any) -> None:
    """Give an array of fixed length its ``items`` too: some readers do not know 2020-12."""
    if isinstance(schema, dict):
        if schema.get("prefixItems"):
            schema.setdefault("items", schema["prefixItems"][0])
        for one in schema.values():
            _say_items(one)
    elif isinstance(schema, list):
        for one in schema:
            _say_items(one)
