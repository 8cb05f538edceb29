"""Replays: what differs of a case between two moments, and the whole ledger at one."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime

from api.http.access import TheCaller, TheNode, viewer_of_case
from api.http.costly import Costly
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.error_handlers import responses
from api.http.parameters import MAX_POSITION, CaseId
from api.node.node import Node
from ledger.refusals import Ground, Refusal
from projections.time.bitemporal import Moment, acts_of
from projections.time.case_diff import CaseDifference, difference
from projections.time.ledger_at import LedgerMoment

router = APIRouter(prefix="/v1", tags=["replay"], route_class=DeclaredParametersRoute)

AtPosition = Annotated[int | None, Query(ge=0, le=MAX_POSITION)]
AtTime = Annotated[AwareDatetime | None, Query()]


@router.get(
    "/cases/{case_id}/difference",
    response_model=CaseDifference,
    responses=responses(401, 403, 404, 409, 422, 503),
)
def get_difference(
    case_id: CaseId,
    node: TheNode,
    caller: TheCaller,
    from_position: AtPosition = None,
    from_time: AtTime = None,
    from_valid_at: AtTime = None,
    to_position: AtPosition = None,
    to_time: AtTime = None,
    to_valid_at: AtTime = None,
) -> CaseDifference:
    """Return the difference of a case between two moments, and the events that made it.

    A moment is a position or a time of recording, the later one the present unless stated. With
    `..._valid_at` it is the case as it was on that day, by the events known at the moment.
    """
    before = _moment(from_position, from_time, from_valid_at, "from_position")
    after = _moment(to_position, to_time, to_valid_at, "to_position")
    if node.views.case(viewer_of_case(node, caller, case_id), case_id) is None:
        raise Refusal(
            Ground.UNKNOWN, "unknown-case", "There is no such case for this agency to see."
        )
    acts = acts_of(node.ledger.case_events(case_id))
    return difference(case_id, acts, caller.registry.agreement, before, after)


@router.get(
    "/ledger/moment", response_model=LedgerMoment, responses=responses(401, 403, 409, 422, 503)
)
async def get_ledger_moment(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    as_of_position: AtPosition = None,
    as_of_time: AtTime = None,
) -> LedgerMoment:
    """Return the whole ledger at a moment, in numbers.

    For coordinators and oversight.
    """
    moment = _moment(as_of_position, as_of_time, None, "as_of_position")
    costly: Costly = request.app.state.costly
    return await costly.run(
        caller.agency.id,
        lambda: node.views.ledger_moment(_position(node, moment), caller.protocol),
    )


def _moment(
    position: int | None, time: AwareDatetime | None, valid_at: AwareDatetime | None, field: str
) -> Moment:
    if position is not None and time is not None:
        raise Refusal(Ground.INVALID, "as-of", "Give a position or a time, not both.", field)
    return Moment(position, time, valid_at)


def _position(node: Node, moment: Moment) -> int:
    """Return the last position that is known at a moment, and that the trail has reached."""
    stands = node.views.position("audit_trail")
    if moment.position is not None:
        return min(moment.position, stands)
    if moment.time is None:
        return stands
    return min(node.ledger.rows.position_at(moment.time), stands)
