"""The cases that retention will erase, and those erased, for coordinators and oversight bodies."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from api.client.schemas import ErasedPage, RetentionPage
from api.http.access import TheCaller, TheNode
from api.http.error_handlers import responses
from api.http.retained_cases import coming, erased_cases, of_case
from api.services.access_log_audit import check_may_audit
from ledger.refusals import Ground, Refusal
from ledger.vocabulary.types import format_utc

router = APIRouter(prefix="/v1/retention", tags=["retention"])


@router.get("", response_model=RetentionPage, responses=responses(401, 403, 409, 422, 503))
def list_retention(
    node: TheNode,
    caller: TheCaller,
    within_days: Annotated[
        int, Query(ge=0, le=36600, description="How far ahead, from the last cosigned time")
    ] = 90,
    after: Annotated[
        str | None, Query(max_length=100, description="`next` of the page before")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    case_id: Annotated[UUID | None, Query(description="One case alone")] = None,
) -> RetentionPage:
    """List the closed cases of the caller's country whose period of retention ends.

    The case whose period ends first is the first. Each case is announced, held, due without an
    announcement, or kept for now. For the country's coordinator and its oversight bodies.
    """
    party = caller.agency.party
    if case_id is not None:
        one = of_case(node, party, caller.protocol, case_id)
        return RetentionPage(cosigned_until=one.cosigned_until, cases=tuple(one.cases), next=None)
    found = coming(
        node,
        party,
        caller.protocol,
        within=timedelta(days=within_days),
        limit=limit,
        after=_place(after),
    )
    last = found.cases[-1] if len(found.cases) == limit else None
    more = f"{format_utc(last.period_ends)} {last.case_id}" if last is not None else None
    return RetentionPage(cosigned_until=found.cosigned_until, cases=tuple(found.cases), next=more)


@router.get("/erased", response_model=ErasedPage, responses=responses(401, 403, 409, 422, 503))
def list_erased(
    node: TheNode,
    caller: TheCaller,
    before: Annotated[AwareDatetime | None, Query(description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> ErasedPage:
    """List the cases that the caller's country's vault erased, when and why, the last first.

    For the country's coordinator and its oversight bodies.
    """
    check_may_audit(caller.agency)
    party = caller.agency.party
    cases = tuple(erased_cases(node, party, limit=limit, before=before))
    more = cases[-1].erased.erased_at if len(cases) == limit else None
    return ErasedPage(cases=cases, next=more)


def _place(text: str | None) -> tuple[datetime, UUID] | None:
    if text is None:
        return None
    moment, _, case_id = text.partition(" ")
    try:
        place = datetime.fromisoformat(moment), UUID(case_id)
    except ValueError:
        place = None
    if place is None or place[0].tzinfo is None:
        raise Refusal(Ground.INVALID, "request", "This is no place in the list.", "after")
    return place
