"""Obligations between countries and agencies: for coordinators and oversight bodies alone."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from api.client.schemas import ObligationPage, Reciprocity, ResponseTimesOf
from api.http.access import TheCaller, TheNode
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.error_handlers import responses
from api.http.parameters import AtLeast, wait_for
from ledger.procedure.parties_of_time import parties_at
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vocabulary.types import AgencyId, Country
from projections.folds.case_view import OVERSIGHT_VIEWER
from projections.folds.obligation_terms import Dimension, ObligationKind, ObligationState
from projections.reports.accountability import reciprocity, response_times

router = APIRouter(prefix="/v1", tags=["accountability"], route_class=DeclaredParametersRoute)

_VIEW = "obligations"
AsOf = Annotated[
    AwareDatetime | None,
    Query(description="How it stood then, by what is recorded now. Unset: now"),
]


@router.get(
    "/obligations",
    response_model=ObligationPage,
    responses=responses(401, 403, 404, 409, 422, 503),
)
def list_obligations(
    node: TheNode,
    caller: TheCaller,
    party: Annotated[Country | None, Query(description="Who owes it")] = None,
    creditor: Annotated[Country | None, Query(description="Who it is owed to")] = None,
    agency: Annotated[
        AgencyId | None,
        Query(description="The agency that owes it, or answers for a retired one"),
    ] = None,
    kind: ObligationKind | None = None,
    state: ObligationState | None = None,
    case_id: UUID | None = None,
    overdue: Annotated[
        bool, Query(description="Only those that are open and due by now, the longest first")
    ] = False,
    as_of: Annotated[
        AwareDatetime | None, Query(description="With `overdue`: those that were so then")
    ] = None,
    after: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    at_least: AtLeast = None,
) -> ObligationPage:
    """List obligations in the cases that the caller's country is party to, newest first."""
    viewer = caller.viewer
    if as_of is not None and not overdue:
        raise Refusal(
            Ground.INVALID, "as-of", "A moment is for what was overdue; ask for that.", "as_of"
        )
    wait_for(node, _VIEW, at_least)
    last = node.views.obligation(viewer, after) if after is not None else None
    if after is not None and last is None:
        raise Refusal(
            Ground.UNKNOWN, "unknown-obligation", "There is no such obligation to see.", "after"
        )
    found = node.views.obligations(
        viewer,
        limit=limit,
        after=last,
        overdue_now=clock.now() if overdue else None,
        overdue_then=as_of,
        case_id=case_id,
        party=party,
        creditor=creditor,
        agencies=None if agency is None else caller.protocol.answers_for(agency),
        kind=kind,
        state=state,
    )
    more = found[-1].id if len(found) == limit else None
    return ObligationPage(obligations=tuple(found), next=more)


@router.get(
    "/accountability/response-times",
    response_model=ResponseTimesOf,
    responses=responses(401, 403, 409, 422, 503),
)
def get_response_times(
    node: TheNode,
    caller: TheCaller,
    by: Annotated[
        list[Dimension] | None, Query(max_length=3, description="Unset: by country and kind")
    ] = None,
    as_of: AsOf = None,
    at_least: AtLeast = None,
) -> ResponseTimesOf:
    """Return how fast obligations were discharged in the cases of the caller's country.

    These are the cases that the caller's country is party to.
    """
    viewer = caller.viewer
    wait_for(node, _VIEW, at_least)
    moment = as_of or clock.now()
    asked = tuple(dict.fromkeys(by)) if by else (Dimension.COUNTRY, Dimension.KIND)
    times = response_times(node.views.debts(viewer), moment, asked)
    return ResponseTimesOf(as_of=moment, response_times=tuple(times))


@router.get(
    "/accountability/reciprocity",
    response_model=Reciprocity,
    responses=responses(401, 403, 409, 422, 503),
)
def get_reciprocity(
    node: TheNode, caller: TheCaller, as_of: AsOf = None, at_least: AtLeast = None
) -> Reciprocity:
    """Return what each two countries owe each other: a coordinator's country and each other one.

    Both coordinators of two countries get the same numbers.
    """
    viewer = caller.viewer
    wait_for(node, _VIEW, at_least)
    moment = as_of or clock.now()
    own = viewer if viewer != OVERSIGHT_VIEWER else None
    parties = parties_at(caller.registry.agreement, moment)
    balances = reciprocity(node.views.debts_between(own), moment, parties)
    shown = [b for b in balances if own is None or own in b.countries]
    return Reciprocity(as_of=moment, balances=tuple(shown))
