"""The audit across cases: for a country's coordinator and its oversight bodies."""

from typing import Annotated

from fastapi import APIRouter, Body

from api.client.schemas import AuditedReadings, AuditRequest, AuditStanding
from api.client.schemas.breach import BreachReport, BreachRequest
from api.http.access import TheCaller, TheNode
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.error_handlers import responses
from ledger.vault.access_log import EntryFilter
from projections.upkeep.continuous_check import check_standing, differing_rows

router = APIRouter(prefix="/v1/audit", tags=["audit"], route_class=DeclaredParametersRoute)


@router.get("", response_model=AuditStanding, responses=responses(401, 403, 409, 422, 503))
def get_audit_standing(node: TheNode, caller: TheCaller) -> AuditStanding:
    """Return how far the ledger has fixed the access log, and how the check of the views stands."""
    anchor = node.audit.anchor(caller.agency)
    return AuditStanding(
        entries=anchor.entries,
        anchored=anchor.anchored,
        unanchored_since=anchor.unanchored_since,
        anchor_is_late=anchor.is_late,
        views_checked_at=check_standing(node.database).finished_at,
        views_differing=dict(differing_rows(node.database)),
    )


@router.post(
    "/readings",
    status_code=201,
    response_model=AuditedReadings,
    responses=responses(401, 403, 404, 409, 413, 422, 503),
)
def audit_readings(
    node: TheNode, caller: TheCaller, asked: Annotated[AuditRequest, Body()]
) -> AuditedReadings:
    """List who asked for personal fields in the caller's country across cases, the last one first.

    The request is itself an entry of the access log, and is written before the others are read.
    """
    only = EntryFilter(**asked.model_dump(exclude={"before", "limit"}))
    found = node.audit.entries(caller.reader, only, before=asked.before, limit=asked.limit)
    return AuditedReadings(
        look=found.look,
        readings=tuple(found.page.readings),
        changed=found.page.readings.changed,
        next=found.page.following,
    )


@router.post(
    "/breaches",
    status_code=201,
    response_model=BreachReport,
    responses=responses(401, 403, 404, 409, 413, 422, 503),
)
def report_breach(
    node: TheNode, caller: TheCaller, asked: Annotated[BreachRequest, Body()]
) -> BreachReport:
    """Report what a key, a member, a person or an agency opened and signed in a span of time.

    The request is itself an entry of the access log. The report has ids and counts, and no name.
    """
    return node.breaches.report(caller.reader, asked)
