"""The outcomes of actions that were sent to this node."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response
from starlette.responses import JSONResponse

from api.client.schemas import OutboxPage, Outcome, Receipt
from api.http.access import Caller, TheCaller, TheNode
from api.http.conditional import etag
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.error_handlers import MEDIA_TYPE, responses
from api.node.node import Node
from ledger.log.signed_decision import HEADER
from ledger.procedure.protocol import COORDINATOR
from ledger.refusals import Ground, Refusal
from ledger.system import clock

router = APIRouter(prefix="/v1/outbox", tags=["outbox"], route_class=DeclaredParametersRoute)

ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"model": Outcome, "description": "It is kept here, and waits for the ledger node"}
}
_LAST = 200


@router.get("", response_model=OutboxPage, responses=responses(401, 403, 409, 422, 503))
def list_outcomes(
    node: TheNode, caller: TheCaller, limit: Annotated[int, Query(ge=1, le=_LAST)] = _LAST
) -> OutboxPage:
    """List the caller's own actions, the last one first; for a coordinator its whole country's."""
    return OutboxPage(outcomes=tuple(node.outcomes.last(caller.agency, limit=limit)))


@router.get(
    "/{action_id}",
    response_model=Outcome,
    responses=responses(401, 403, 404, 409, 422, 503),
)
def get_outcome(
    node: TheNode,
    caller: TheCaller,
    action_id: Annotated[UUID, Path(description="The action's id, its `jti`")],
    response: Response,
) -> Outcome:
    """Return the outcome of an action of the caller, or for a coordinator of its country.

    The header `Case-Ledger-Decision` has the decision that the ledger node signed.
    """
    outcome = node.outcomes.of(action_id)
    if outcome is None or not _may_know(caller, outcome.agency):
        raise Refusal(
            Ground.UNKNOWN, "unknown-action", "No such action of this agency was handed in here."
        )
    if not node.leads and (signed := node.decisions.of("", outcome)) is not None:
        response.headers[HEADER] = signed
    return outcome


def answer(node: Node, sent: str, recorded: Receipt | Outcome) -> JSONResponse:
    """Return a receipt (201), an action that waits (202), or the refusal of the ledger node."""
    signed = node.decisions.of(sent, recorded)
    headers = {} if signed is None else {HEADER: signed}
    if isinstance(recorded, Receipt):
        at = {"ETag": etag(recorded.case_version), "Location": f"/v1/cases/{recorded.case_id}"}
        return JSONResponse(recorded.model_dump(mode="json"), 201, at | headers)
    if recorded.problem is not None:
        problem = recorded.problem.model_dump(mode="json", exclude_none=True)
        return JSONResponse(problem, recorded.problem.status, headers, media_type=MEDIA_TYPE)
    headers = {"Location": f"/v1/outbox/{recorded.action_id}", "Retry-After": "1"}
    return JSONResponse(recorded.model_dump(mode="json"), 202, headers)


def _may_know(caller: Caller, agency_id: str) -> bool:
    if caller.agency.id == agency_id:
        return True
    agency = caller.registry.agency(agency_id, clock.now())
    return caller.agency.role == COORDINATOR and agency.party == caller.agency.party
