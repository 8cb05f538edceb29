"""Looking back and looking closely: replay, the audit trail by filters, verification."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.http.access import TheCaller, TheNode
from api.http.member_documents import members_of_keys
from api.http.parameters import CaseId
from api.http.routes.personal import trail_of
from api.services.joined_cases import joined_cases_at
from api.web.case_text import names, names_of, rows
from api.web.errors import PageRoute
from api.web.proving import to_prove
from api.web.rendering import Words, page
from api.web.routes.cases import lanes, own_case
from api.web.timeline import handovers, stage_of, timeline
from ledger.refusals import Ground, Refusal
from ledger.vault.held_fields import HeldFields
from ledger.vocabulary.picklists import Stage
from ledger.vocabulary.types import AgencyId, Country
from projections.folds.case_view import case_view, viewers
from projections.time.bitemporal import Moment

router = APIRouter(include_in_schema=False, route_class=PageRoute)
Kind = Annotated[str | None, Query(pattern=r"^[a-z_]{0,60}$")]


@router.get("/cases/{case_id}/replay")
def replay(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    case_id: CaseId,
    version: Annotated[int | None, Query(ge=1, le=100_000)] = None,
) -> Response:
    """Show the case as it was known after each of its actions."""
    view = own_case(node, caller, case_id)
    trail = trail_of(node, caller, case_id)
    seen = min(version or len(trail), len(trail))
    entry = trail[seen - 1]
    case = node.ledger.case(case_id, upto_position=entry.position)
    words, protocol = Words.of(request).things, caller.protocol
    # A country sees what there was before it joined the case, as it does on the trail.
    viewer = caller.viewer
    if case is None:
        raise Refusal(Ground.UNKNOWN, "unknown-case", "There is no such case.")
    then = None
    if viewer in viewers(case.state):
        agreement, moment = caller.registry.agreement, Moment(position=entry.position)
        others = joined_cases_at(node.ledger, case.history.values(), agreement, moment)
        then = case_view(case.state, viewer, agreement, case.history, others)
    return page(
        request,
        "replay.html",
        caller,
        case=view,
        then=then,
        seen=seen,
        entry=entry,
        what=names_of(trail, words)[entry.action_id],
        total=len(trail),
        picture=timeline(trail[:seen], lanes(view, caller)),
        named=names(protocol, trail, words),
    )


@router.get("/cases/{case_id}/trail")
def audit_trail(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    case_id: CaseId,
    kind: Kind = None,
    agency: AgencyId | Annotated[str, Query(pattern="^$")] | None = None,
    party: Country | Annotated[str, Query(pattern="^$")] | None = None,
    stage: Annotated[str | None, Query(max_length=60)] = None,
) -> Response:
    """Show the filtered trail: agency, action, time, signature and changes of each event."""
    view = own_case(node, caller, case_id)
    trail = trail_of(node, caller, case_id)
    words, protocol = Words.of(request).things, caller.protocol
    told = rows(trail, HeldFields(), dict(handovers(trail)), caller.registry.agreement, words)
    asked = {"kind": kind, "agency": agency, "party": party, "stage": stage}
    chosen = {name: value or "" for name, value in asked.items()}
    shown = [
        row
        for row in told
        if chosen["kind"] in ("", row.entry.kind)
        and chosen["agency"] in ("", row.entry.agency)
        and chosen["party"] in ("", row.entry.party)
        and chosen["stage"] in ("", stage_of(row.entry).value)
    ]
    return page(
        request,
        "trail.html",
        caller,
        case=view,
        rows=shown,
        total=len(told),
        chosen=chosen,
        kinds=sorted({row.entry.kind for row in told}),
        agencies=sorted({row.entry.agency for row in told}),
        parties=sorted({row.entry.party for row in told}),
        stages=list(Stage),
        named=names(protocol, trail, words),
        members=members_of_keys(
            node,
            caller,
            {
                key
                for row in shown
                for key in (row.entry.key_id, row.entry.approved_by)
                if key is not None
            },
        ),
    )


@router.get("/cases/{case_id}/verify")
def verify_case(request: Request, node: TheNode, caller: TheCaller, case_id: CaseId) -> Response:
    """Have the browser check that each action of a case is in the log as it was signed."""
    view = own_case(node, caller, case_id)
    trail = trail_of(node, caller, case_id)
    words, protocol = Words.of(request).things, caller.protocol
    return page(
        request,
        "verify.html",
        caller,
        case=view,
        shown=to_prove(node, caller, view, trail),
        named=names(protocol, trail, words),
    )


@router.get("/verify")
def verify_log(request: Request, caller: TheCaller) -> Response:
    """Have the browser check that the log continues the checkpoint that the browser saw before."""
    return page(request, "verify.html", caller, case=None)
