"""The JSON Schemas of actions, for clients in other languages. Anyone may read them."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from api.client.schemas.action_schemas import SchemaList
from api.http.action_schemas import MEDIA_TYPE, ServedSchema, served_schemas
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.error_handlers import responses
from ledger.refusals import Ground, Refusal
from ledger.vocabulary.json_schema import BASE, KEYWORD

router = APIRouter(prefix=BASE, tags=["schemas"], route_class=DeclaredParametersRoute)

Digest = Annotated[
    str | None,
    Query(
        pattern="^[0-9a-f]{64}$",
        description="The digest of the list: with it, a cache may keep the answer for ever",
    ),
]
_SCHEMA: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A JSON Schema (2020-12)",
        "content": {MEDIA_TYPE: {"schema": {"type": "object"}}},
    }
}


@router.get("", response_model=SchemaList, responses=responses(422))
def list_schemas(response: Response) -> SchemaList:
    """List the JSON Schema of each kind and version of action, with its number of digests.

    `x-case-ledger` in a schema has the level and the field group of each field, the number of
    digests, and the labels of kinds, fields and values by language.
    """
    response.headers["Cache-Control"] = "no-cache"
    return served_schemas().listed()


@router.get("/bundle", response_class=Response, responses={**_SCHEMA, **responses(422)})
def get_bundle(digest: Digest = None) -> Response:
    """Return all schemas in one document, for use without this node."""
    return _answer(served_schemas().bundle, digest)


@router.get("/shared/{name}", response_class=Response, responses={**_SCHEMA, **responses(404, 422)})
def get_shared_schema(
    name: Annotated[str, Path(pattern="^[a-z]{1,40}$", description="`countries`, for example")],
    digest: Digest = None,
) -> Response:
    """Return a schema that those of the kinds refer to, or that of the signed payload."""
    return _found(f"shared/{name}", digest)


@router.get(
    "/actions/{kind}/{version}",
    response_class=Response,
    responses={**_SCHEMA, **responses(404, 422)},
)
def get_action_schema(
    kind: Annotated[str, Path(pattern="^[a-z_]{1,60}$", description="`case_opened`, for example")],
    version: Annotated[int, Path(ge=1, le=1000)],
    digest: Digest = None,
) -> Response:
    """Return the JSON Schema of one version of a kind of action, with an example.

    The answer for a version that is not the current one links to its successor.
    """
    return _found(f"actions/{kind}/{version}", digest)


def _found(name: str, digest: str | None) -> Response:
    found = served_schemas().find(name)
    if found is None:
        raise Refusal(Ground.UNKNOWN, "unknown-schema", "There is no such schema here.", "path")
    return _answer(found, digest)


def _answer(one: ServedSchema, digest: str | None) -> Response:
    kept = "public, max-age=31536000, immutable" if digest == one.digest else "public, no-cache"
    headers = {"Cache-Control": kept, "ETag": f'W/"{one.digest[:22]}"'}
    told = one.schema.get(KEYWORD, {})
    if told.get("state") in ("accepted", "recorded"):
        successor = f"{BASE}/actions/{told['kind']}/{told['current']}"
        headers["Link"] = f'<{successor}>; rel="successor-version"'
    return Response(one.content, media_type=MEDIA_TYPE, headers=headers)
