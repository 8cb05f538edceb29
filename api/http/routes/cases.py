"""Cases: the list, one case now or as it was, its trail, and the actions on it."""

import re
from asyncio import gather
from collections.abc import Awaitable, Container, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from psycopg.rows import DictRow
from pydantic import AwareDatetime, JsonValue
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from api.client.schemas import Case, CasePage, Receipt, TrailPage
from api.http.access import (
    Caller,
    TheCaller,
    TheLanes,
    TheNode,
    caller,
    the_lanes,
    the_node,
    viewer_of_case,
)
from api.http.conditional import etag
from api.http.declared_parameters import DeclaredParametersRoute, answers_plainly
from api.http.error_handlers import responses
from api.http.named_cases import names_cases, seen_links
from api.http.parameters import (
    MAX_POSITION,
    AtLeast,
    CaseId,
    Position,
    SignedActionBody,
    usual_action,
    usual_case_id,
    usual_headers,
    wait_for,
)
from api.http.request_connections import RequestConnections
from api.http.routes.outbox import ACCEPTED, answer
from api.http.routes.personal import at_levels_of, damaged_fields
from api.node.node import Node
from api.runtime.problem import problem
from api.services.joined_cases import joined_cases_at
from ledger.refusals import Ground, Refusal
from ledger.vault.vault import Vault
from ledger.vocabulary.case_reference import read_reference
from ledger.vocabulary.picklists import CaseStatus, Priority, Stage
from ledger.vocabulary.types import AgencyId
from projections.folds.case_view import OVERSIGHT_VIEWER, CaseView, case_view, viewers
from projections.tables.case_reader import StoredCase
from projections.time.bitemporal import Moment, acts_at, acts_of, folded

router = APIRouter(prefix="/v1/cases", tags=["cases"], route_class=DeclaredParametersRoute)


@router.post(
    "/{case_id}/actions",
    status_code=201,
    response_model=Receipt,
    responses={**ACCEPTED, **responses(401, 403, 404, 409, 412, 413, 422, 428, 503, 507)},
)
def append(
    case_id: CaseId,
    sd_jwt: SignedActionBody,
    node: TheNode,
    caller: TheCaller,
    if_match: Annotated[
        str | None, Header(description="The case version that the agency acted on, quoted")
    ] = None,
    if_none_match: Annotated[
        str | None, Header(description="`*`, to open a case that must not exist yet")
    ] = None,
) -> Response:
    """Record an action on a case. The same action again gives the same receipt.

    A country's node answers 202 while the ledger node is away: the action is kept, and its
    outcome is at `/v1/outbox/{action_id}`.
    """
    version = _acted_on(if_match, if_none_match)
    return answer(
        node, sd_jwt, node.append_service.on_case(caller.agency, sd_jwt, case_id, version)
    )


@answers_plainly(append)
async def _append_plainly(request: Request) -> Response | None:
    case_id, versions = (
        usual_case_id(request),
        usual_headers(request, b"if-match", b"if-none-match"),
    )
    if case_id is None or versions is None or (sd_jwt := await usual_action(request)) is None:
        return None
    asking, node = await caller(request), await the_node(request)
    return await run_in_threadpool(append, case_id, sd_jwt, node, asking, *versions)


@router.get("", response_model=CasePage, responses=responses(401, 403, 409, 422, 503))
def list_cases(
    node: TheNode,
    caller: TheCaller,
    status: CaseStatus | None = None,
    stage: Stage | None = None,
    priority: Priority | None = None,
    lead_agency: AgencyId | None = None,
    awaits_us: Annotated[
        bool | None, Query(description="Only cases in which a step is, or is not, ours")
    ] = None,
    reference: Annotated[
        str | None,
        Query(max_length=40, description="A case's short reference, such as `K7Q-F3M-9XR`"),
    ] = None,
    before: Annotated[int | None, Query(ge=1, le=MAX_POSITION)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    at_least: AtLeast = None,
) -> CasePage:
    """List the cases that the caller's country is party to, the last opened first."""
    wait_for(node, "case_views", at_least)
    cases = node.views.cases(
        caller.viewer,
        limit=limit,
        before=before,
        status=status,
        stage=stage,
        priority=priority,
        lead_agencies=None if lead_agency is None else caller.protocol.answers_for(lead_agency),
        awaits_us=awaits_us,
        reference=None if reference is None else _reference(reference),
        seen_by=caller.bound_to,
    )
    more = cases[-1].opened_position if len(cases) == limit else None
    return CasePage(cases=tuple(cases), next=more)


def _reference(text: str) -> str:
    """Return a reference as it is stored. Raises ``Refusal`` if it is none."""
    try:
        return read_reference(text)
    except ValueError as error:
        raise Refusal(Ground.INVALID, "case-reference", str(error), "reference") from None


@router.get("/{case_id}", response_model=Case, responses=responses(401, 403, 404, 409, 422, 503))
async def get_case(
    case_id: CaseId,
    node: TheNode,
    lanes: TheLanes,
    caller: TheCaller,
    as_of_position: Annotated[int | None, Query(ge=1, le=MAX_POSITION)] = None,
    as_of_time: AwareDatetime | None = None,
    valid_at: Annotated[
        AwareDatetime | None,
        Query(description="What had happened by then, by all that is known as of the moment"),
    ] = None,
    at_least: AtLeast = None,
) -> Response:
    """Return one case as it is, or as it was known at a position or a time of recording.

    With `valid_at` it is the case as it was on that day: an action that was annulled since never
    happened, and an action that was reported late happened at its time of acting.
    """
    if as_of_position is not None and as_of_time is not None:
        raise Refusal(
            Ground.INVALID, "as-of", "Give a position or a time, not both.", "as_of_position"
        )
    if at_least is not None:
        await run_in_threadpool(wait_for, node, "case_views", at_least)
    if caller.agency.international or caller.bound_to is not None:
        viewer = await run_in_threadpool(viewer_of_case, node, caller, case_id)
    else:
        viewer = caller.viewer
    # Oversight reads the ledger level; a country reads what its own vault holds.
    party = caller.agency.party if viewer != OVERSIGHT_VIEWER else None
    stored, rows = await gather(lanes.cases.case(viewer, case_id), _held(lanes, party, case_id))
    if stored is None:
        raise _unknown()
    counted: Container[UUID] | None = None
    if as_of_position is not None or as_of_time is not None or valid_at is not None:
        moment = Moment(as_of_position, as_of_time, valid_at)
        then, counted = await run_in_threadpool(_as_of, node, caller, case_id, moment)
        stored = then
    if party is None:
        disclosed = b"[]"
    else:
        vault = node.vaults.of(party)
        disclosed = await _disclosed(
            node, caller, lanes, vault, case_id, rows, stored.position, counted
        )
    # The view is what our own projection wrote: it is not read and validated again.
    content = b'{"view":%b,"disclosed":%b}' % (stored.document.encode(), disclosed)
    headers = {"ETag": etag(stored.version, content)}
    return Response(content, media_type="application/json", headers=headers)


@answers_plainly(get_case)
async def _get_case_plainly(request: Request) -> Response | None:
    if (case_id := usual_case_id(request)) is None:
        return None
    asking = await caller(request)
    return await get_case(case_id, await the_node(request), await the_lanes(request), asking)


@router.get(
    "/{case_id}/trail", response_model=TrailPage, responses=responses(401, 403, 404, 409, 422, 503)
)
def get_trail(
    case_id: CaseId,
    node: TheNode,
    caller: TheCaller,
    after: Position = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    at_least: AtLeast = None,
) -> TrailPage:
    """Return the audit trail of one case.

    Each entry has the agency, the time of acting, the time of recording, and the changes.
    """
    wait_for(node, "audit_trail", at_least)
    _current(node, caller, case_id)
    entries = node.views.trail(case_id, after=after, limit=limit)
    more = entries[-1].version if len(entries) == limit else None
    return TrailPage(entries=tuple(at_levels_of(node, caller, entries)), next=more)


def _acted_on(if_match: str | None, if_none_match: str | None) -> int:
    if if_match is None and if_none_match is None:
        raise problem(
            428,
            "A precondition is missing",
            "case-version",
            'Send If-Match: "VERSION" with the case version acted on, or If-None-Match: * '
            "to open a case.",
            field="If-Match",
        )
    if if_match is None and if_none_match == "*":
        return 0
    if if_none_match is None and if_match is not None:
        quoted = re.fullmatch(r'"(\d{1,15})(\.[0-9a-f]{22})?"', if_match)
        if quoted:
            return int(quoted[1])
    raise Refusal(
        Ground.INVALID,
        "case-version",
        'Either If-Match: "VERSION", or If-None-Match: *, and not both.',
        "If-Match",
    )


def _current(node: Node, caller: Caller, case_id: UUID) -> CaseView:
    view = node.views.case(viewer_of_case(node, caller, case_id), case_id)
    if view is None:
        raise _unknown()
    return view


def _as_of(
    node: Node, caller: Caller, case_id: UUID, moment: Moment
) -> tuple[StoredCase, Container[UUID]]:
    """Return the view at a moment, and the actions that count in it."""
    agreement = caller.registry.agreement
    acts = acts_at(acts_of(node.ledger.case_events(case_id)), moment)
    state = folded(acts, agreement)
    viewer = viewer_of_case(node, caller, case_id)
    if state is None or viewer not in viewers(state):
        raise _unknown()
    others = joined_cases_at(node.ledger, acts, agreement, moment)
    view = case_view(state, viewer, agreement, {act.id: act for act in acts}, others)
    stored = StoredCase(view.version, view.position, view.model_dump_json())
    return stored, {act.id for act in acts}


def _held(
    lanes: RequestConnections, party: str | None, case_id: UUID
) -> Awaitable[Sequence[DictRow]]:
    """Return the rows of a country's vault, if it is here."""
    asked = lanes.case_rows.get(party) if party is not None else None
    return asked.ask(case_id) if asked is not None else _nothing()


async def _nothing() -> Sequence[DictRow]:
    return ()


async def _disclosed(
    node: Node,
    caller: Caller,
    lanes: RequestConnections,
    vault: Vault,
    case_id: UUID,
    rows: Sequence[DictRow],
    position: int,
    counted: Container[UUID] | None,
) -> bytes:
    """Return the disclosures of the actions that were recorded by then, and that count, as JSON.

    A case in which the caller's agency has no part is not named.
    """
    if not rows:
        return b"[]"
    recorded = await lanes.cases.recorded({row["action_id"] for row in rows})
    seen = [
        row
        for row in rows
        if recorded.get(row["action_id"], MAX_POSITION) <= position
        and (counted is None or row["action_id"] in counted)
    ]
    held = await lanes.opened(vault, case_id, seen)
    if names_cases(held):
        held = await run_in_threadpool(seen_links, node, caller, held)
    fields: dict[UUID, dict[str, JsonValue]] = {}
    for one in held:
        fields.setdefault(one.action_id, {})[one.field] = one.value
    by_action = {one.action_id: one.damaged for one in damaged_fields(held.damaged)}
    # As ``DisclosedFields``, whose validation of our own values costs more than to write them.
    return to_json(
        [
            {
                "action_id": action,
                "fields": fields.get(action, {}),
                "damaged": by_action.get(action, ()),
            }
            for action in dict.fromkeys((*fields, *by_action))
        ]
    )


def _unknown() -> Refusal:
    return Refusal(Ground.UNKNOWN, "unknown-case", "There is no such case for this agency to see.")
