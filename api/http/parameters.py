"""Parameters that several routes share, and the wait for a view to catch up."""

import re
from typing import Annotated
from uuid import UUID

from fastapi import Body, HTTPException, Path, Query, Request
from starlette.requests import ClientDisconnect

from api.node.node import Node
from api.runtime.problem import problem
from ledger.refusals import Ground, Refusal
from ledger.system.polling import Polling

MAX_POSITION = 2**53  # what every JSON reader can hold
_WAIT_SECONDS = 5.0

_OWN_PATH = r"^/([A-Za-z0-9._~-][A-Za-z0-9._~/?&=%-]*)?$"
"""A path of this node, which no browser takes for another's address."""
ReturnTo = Annotated[
    str,
    Query(
        pattern=_OWN_PATH,
        max_length=500,
        description="The page of this node to go to afterwards",
    ),
]
CaseId = Annotated[UUID, Path(description="The case's UUID")]
Position = Annotated[int, Query(ge=0, le=MAX_POSITION)]
AtLeast = Annotated[
    int | None,
    Query(ge=0, le=MAX_POSITION, description="Wait until the view has reached this position"),
]
_MAX_ACTION = 256 * 1024
SignedActionBody = Annotated[
    str,
    Body(
        media_type="application/sd-jwt",
        description=(
            "The signed action with its disclosures: an SD-JWT (RFC 9901). The schema of its "
            "payload is at [/v1/schemas/shared/payload](/v1/schemas/shared/payload), and those of "
            "the kinds of action are listed at [/v1/schemas](/v1/schemas)."
        ),
        min_length=1,
        max_length=_MAX_ACTION,
        json_schema_extra={
            "contentMediaType": "application/sd-jwt",
            "externalDocs": {
                "url": "/v1/schemas",
                "description": "The fields, levels, values and digests of each kind of action",
            },
        },
    ),
]


_USUAL_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SD_JWT = b"application/sd-jwt"


def usual_case_id(request: Request) -> UUID | None:
    """Return the case's UUID of a path; ``None`` if it is not written as UUIDs usually are."""
    text = request.path_params["case_id"]
    return UUID(text) if _USUAL_UUID.fullmatch(text) else None


def usual_headers(request: Request, *names: bytes) -> list[str | None] | None:
    """Return the values of headers; ``None`` if one of them is given twice, or is not ASCII."""
    found: dict[bytes, str] = {}
    for name, value in request.scope["headers"]:
        if name in names:
            if name in found or not value.isascii():
                return None
            found[name] = value.decode("ascii")
    return [found.get(name) for name in names]


async def usual_action(request: Request) -> str | None:
    """Return the signed action that is a request's body; ``None`` if it is sent in another form."""
    if [value for name, value in request.scope["headers"] if name == b"content-type"] != [_SD_JWT]:
        return None
    try:
        body = await request.body()
    except ClientDisconnect:
        raise HTTPException(400, "The request ended before its body did") from None
    return body.decode("ascii") if body.isascii() and 0 < len(body) <= _MAX_ACTION else None


def is_own_path(text: str) -> bool:
    """Return whether a browser that is sent to this path stays at this node."""
    return len(text) <= 500 and re.fullmatch(_OWN_PATH, text) is not None


def wait_for(node: Node, projection: str, position: int | None) -> None:
    """Return when a view has reached ``position``. Raises a problem (503) where it is slow.

    Raises ``Refusal`` (``unknown-position``) for a position that no event has yet.
    """
    if position is None or node.views.position(projection) >= position:
        return
    if position > node.ledger.head():
        raise Refusal(
            Ground.INVALID,
            "unknown-position",
            f"No event has position {position} yet; give one that a receipt named.",
            "at_least",
        )
    polling = Polling(shortest=0.01)
    while node.views.position(projection) < position:
        if polling.waited > _WAIT_SECONDS:
            raise problem(
                503,
                "Not available now",
                "view-behind",
                f"{projection} has not reached position {position} yet; ask again.",
                {"Retry-After": "1"},
                field="at_least",
            )
        polling.pause()
