"""The ledger as a transparency log (C2SP): checkpoint, tiles, proofs, and this node's witnesses."""

from threading import Lock
from typing import Annotated, Any

from cachetools import TTLCache, cached
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse

from api.background_jobs.timestamper import REPLY_TYPE
from api.exchange.zone_comparison import HEADER as ZONES
from api.http.access import TheCaller, TheNode, bearer, caller, session_cookie
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.error_handlers import responses
from api.http.parameters import MAX_POSITION, wait_for
from api.keys.log_keys import trusted_policy
from api.node.node import Node
from api.runtime.rate_limit import Places, Rate, asking_network
from ledger.export.static_export import tile_content
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import TILE_HEIGHT, Tree
from ledger.log.note import Note
from ledger.log.tiles import TileError, TileName
from ledger.log.tlog_proof import TlogProof
from ledger.procedure.time_zones import zones_digest
from ledger.publication.dated_checkpoints import freshest
from ledger.publication.publisher import published, signed_after, sizes
from ledger.publication.timestamping import earliest_timestamps
from ledger.publication.witness import SIZE_TYPE, Witness
from ledger.refusals import Ground, Refusal
from ledger.verification.policy_history import PolicyHistory, policy_history, with_bridges

router = APIRouter(tags=["log"], route_class=DeclaredParametersRoute)

_PLAIN = "text/plain"
_TEXT = f"{_PLAIN}; charset=utf-8"
_BYTES = "application/octet-stream"
_JSON = "application/json"
_BRIDGED = "Prove also that an older checkpoint of this size is of the same ledger"
_POLICIES_SECONDS = 5.0
_policies: TTLCache[str, PolicyHistory] = TTLCache(16, _POLICIES_SECONDS)
_FOR_EVER = "max-age=31536000, immutable"


def _answers(media_type: str, *statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {media_type: {"schema": {"type": "string"}}}
    return {status: {"content": content, "description": "As specified"} for status in statuses}


def _changing(content: str) -> Response:
    """Return a text that will change soon, so it must be asked again each time."""
    return Response(content, media_type=_TEXT, headers={"Cache-Control": "no-cache"})


_SIZE: dict[str, Any] = {
    "content": {SIZE_TYPE: {"schema": {"type": "string"}}},
    "description": "The size that the witness holds",
}
_UNPROCESSABLE: dict[str, Any] = {
    "content": {
        _PLAIN: {"schema": {"type": "string"}},
        **responses(422)[422]["content"],
    },
    "description": "The proof does not hold",
}
WITNESS_ANSWERS = {**_answers(_PLAIN, 200, 400, 403, 404), 409: _SIZE, 422: _UNPROCESSABLE}
PartyCode = Annotated[str, Path(pattern=r"^[A-Za-z]{2}$")]
OneSize = Annotated[int, Field(ge=1, le=MAX_POSITION)]
OriginHash = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


@router.get(
    "/log/checkpoint",
    response_class=Response,
    responses={**_answers(_PLAIN, 200), **responses(404, 503)},
)
def get_checkpoint(node: TheNode) -> Response:
    """Return the last checkpoint that a quorum of the parties' witnesses cosigned."""
    note, checkpoint = _published(node)
    return _changing(str(freshest(node.database, checkpoint.size) or note))


@router.get(
    "/v1/log/head",
    response_class=Response,
    responses={**_answers(_PLAIN, 200), **responses(401, 403, 404, 409, 422, 503)},
)
async def get_head(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    after: Annotated[int, Query(ge=0, le=MAX_POSITION)] = 0,
    wait: Annotated[float, Query(ge=0, le=5, description="Seconds to wait for more")] = 0,
    upto: Annotated[
        int | None,
        Query(ge=0, le=MAX_POSITION, description="Of no more events, if one was signed"),
    ] = None,
) -> Response:
    """Return the log's next signed checkpoint after a size, for nodes that copy.

    Perhaps no witness has seen it yet. A node that does not understand a later event asks with
    ``upto`` for a checkpoint before it.
    """
    if not caller.sees_every_event:
        raise _whole_ledger()
    if node.signed <= after and wait:
        places: Places = request.app.state.waits
        with places.taken(caller.agency):
            await node.told.until(lambda status: status.size > after, wait)
    signed = await run_in_threadpool(signed_after, node.database, after, upto)
    if signed is None:
        raise Refusal(Ground.UNKNOWN, "not-published", "Nothing is signed yet.")
    answer = _changing(str(signed[0]))
    answer.headers[ZONES] = await run_in_threadpool(zones_digest, caller.registry.directory)
    return answer


@router.get(
    "/log/policy",
    response_class=Response,
    responses={**_answers(_PLAIN, 200), **responses(503)},
)
def get_policy(node: TheNode) -> Response:
    """Return the keys that this node trusts.

    Compare them by another channel before relying on them.
    """
    # As stored: a process that has just begun, or that lost the log key, has signed nothing itself.
    signed, _ = sizes(node.database)
    return _changing(str(node.policy_at(signed)))


@router.get(
    "/log/policies",
    response_class=Response,
    responses={200: {"content": {_JSON: {"schema": {"type": "object"}}}}, **responses(422, 503)},
)
def get_policies(
    node: TheNode,
    size: Annotated[list[OneSize] | None, Query(max_length=16, description=_BRIDGED)] = None,
) -> Response:
    """Return every policy that the parties adopted, with its proof: an export's `policies.json`.

    With it a receipt or an export verifies by any policy that was ever in force.
    """
    made = with_bridges(_recorded_policies(node), node.ledger.rows, size or ())
    return Response(str(made), media_type=_JSON, headers={"Cache-Control": "no-cache"})


@cached(_policies, key=lambda node: node.conninfo, lock=Lock())
def _recorded_policies(node: Node) -> PolicyHistory:
    """Return the recorded policies with their proofs, from a cache.

    Making them takes some queries for each act on the protocol, and anyone may ask for them.
    """
    registry = node.ledger.registry()
    trusted = trusted_policy(node.settings, registry)
    return policy_history(node.ledger.rows, node.database, registry, trusted)


@router.get(
    "/log/tile/{path:path}",
    response_class=Response,
    responses={**_answers(_BYTES, 200), **responses(401, 403, 404, 409, 422, 503)},
)
async def get_tile(
    request: Request,
    path: Annotated[str, Path(max_length=100)],
    node: TheNode,
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    _session: Annotated[str | None, Depends(session_cookie)],
) -> Response:
    """Return hashes for anyone, and entries (`tile/entries/…`) for coordinators and oversight."""
    try:
        tile = TileName.parse(f"tile/{path}")
    except TileError:
        raise _no_tile() from None
    if tile.level is None:
        asking = await caller(request)
        if not asking.sees_every_event:
            raise _whole_ledger()
    return await run_in_threadpool(_tile, node, tile)


def _tile(node: Node, tile: TileName) -> Response:
    _, checkpoint = _published(node)
    if tile.start + tile.width > checkpoint.size >> (TILE_HEIGHT * (tile.level or 0)):
        raise _no_tile()
    content = tile_content(node.ledger.rows, tile)
    kept = "no-store" if tile.level is None else f"public, {_FOR_EVER}"
    headers = {"Cache-Control": kept}
    return Response(content, media_type=_BYTES, headers=headers)


@router.get(
    "/log/timestamp/{size}",
    response_class=Response,
    responses={**_answers(REPLY_TYPE, 200), **responses(404, 422, 503)},
)
def get_timestamp(node: TheNode, size: Annotated[int, Path(ge=1, le=MAX_POSITION)]) -> Response:
    """Return a timestamp of the published checkpoint of this size: the authority's whole answer.

    That is the TimeStampResp (RFC 3161 section 2.4.2) over the checkpoint's text without signature
    lines. If several authorities gave one, it is the earliest.
    """
    found = earliest_timestamps(node.database, size, size)
    if not found:
        raise Refusal(Ground.UNKNOWN, "no-timestamp", "There is no timestamp of this size.")
    headers = {"Cache-Control": f"public, {_FOR_EVER}"}
    return Response(found[0].token, media_type=REPLY_TYPE, headers=headers)


@router.get(
    "/log/proof/{position}",
    response_class=Response,
    responses={**_answers(_PLAIN, 200), **responses(401, 403, 404, 409, 422, 503)},
)
def get_proof(
    node: TheNode,
    caller: TheCaller,
    position: Annotated[int, Path(ge=1, le=MAX_POSITION)],
) -> Response:
    """Return a receipt that verifies offline: the event at a position, its path, the checkpoint.

    Its ``extra`` line holds the event's exact bytes. An agency gets those of its country's cases
    and of the protocol; coordinators and oversight get all.
    """
    note, checkpoint = _published(node)
    rows = node.ledger.rows_at([position])
    if not rows or not _sees(node, caller, position):
        raise Refusal(Ground.UNKNOWN, "unknown-position", "There is no such event to see.")
    if position > checkpoint.size:
        raise Refusal(
            Ground.UNKNOWN, "not-published", "No published checkpoint covers it yet; ask again."
        )
    tree = Tree(checkpoint.size, node.ledger.rows.read_hashes)
    path = tuple(tree.inclusion(position - 1, checkpoint.size))
    proof = TlogProof(position - 1, path, note, extra=rows[0].state)
    return _changing(str(proof))


@router.post(
    "/witness/{party}/add-checkpoint",
    response_class=Response,
    responses={**WITNESS_ANSWERS, **responses(413, 429, 503)},
)
async def add_checkpoint(party: PartyCode, request: Request, node: TheNode) -> Response:
    """Submit a checkpoint to a witness of this node (C2SP tlog-witness).

    The witness answers as the specification says.
    """
    witness = node.witnesses.of(party.upper())
    if witness is None:
        return PlainTextResponse("this node has no such witness\n", 404)
    return await answer(witness, request, request.app.state.submissions)


@router.get(
    "/witness/{party}/{origin_hash}/checkpoint",
    response_class=Response,
    responses={**_answers(_PLAIN, 200, 404), **responses(422, 503)},
)
def get_witnessed(party: PartyCode, origin_hash: OriginHash, node: TheNode) -> Response:
    """Return the last checkpoint that this witness cosigned."""
    witness = node.witnesses.of(party.upper())
    return witnessed(witness, origin_hash)


async def answer(witness: Witness, request: Request, submissions: Rate) -> Response:
    """Hand a submission to a witness. Its refusals are the specification's, not problems.

    Anybody may submit, so ``submissions`` limits each address. Raises a problem (429) past it.
    """
    submissions.check(asking_network(request.scope))
    body = await request.body()
    made = await run_in_threadpool(witness.add_checkpoint, body)
    return Response(made.body, made.status, media_type=made.media_type)


def witnessed(witness: Witness | None, origin_hash: str) -> Response:
    """Return the last checkpoint of a log that a witness cosigned, or 404."""
    note = witness.latest(origin_hash) if witness is not None else None
    if note is None:
        return PlainTextResponse("nothing of that log was cosigned here\n", 404)
    return _changing(note)


def _published(node: Node) -> tuple[Note, Checkpoint]:
    last = published(node.database)
    if last is None:
        raise Refusal(Ground.UNKNOWN, "not-published", "No checkpoint is published yet.")
    return last


def _sees(node: Node, caller: TheCaller, position: int) -> bool:
    if caller.sees_every_event:
        return True
    # A receipt of what was just recorded must not look like one of another's case.
    wait_for(node, "case_views", position)
    ledger_id = caller.registry.ledger_id
    seen = node.views.positions_seen_by(
        caller.viewer,
        ledger_id,
        after=position - 1,
        upto=position,
        limit=1,
        seen_by=caller.bound_to,
    )
    return seen == [position]


def _whole_ledger() -> Refusal:
    return Refusal(
        Ground.NOT_ALLOWED, "whole-ledger", "Coordinators, oversight and nodes read every entry."
    )


def _no_tile() -> Refusal:
    return Refusal(Ground.UNKNOWN, "unknown-tile", "There is no such tile yet, or ever.")
