"""The audit across cases: for a country's coordinator and its oversight bodies.

The access log opens by a form, since each look at it is an entry of the log itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime
from starlette.concurrency import run_in_threadpool

from api.http.access import Caller, TheCaller, TheNode
from api.http.member_documents import agencies_seen
from api.http.retained_cases import erased_cases
from api.node.node import Node
from api.services.access_log_audit import AuditedEntries, check_may_audit
from api.services.search_text import SoughtCase
from api.web.audit_choice import AuditChoice
from api.web.case_table import MOST_ROWS, CaseTable, Cell, as_csv, as_xlsx
from api.web.case_text import names
from api.web.errors import PageRoute
from api.web.rendering import PAGE_HEADERS, Words, page
from api.web.routes.case_list import XLSX
from api.web.sent_form import form_values
from ledger.procedure.protocol import NODE, Operation
from ledger.procedure.readings import Reading
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vault.access_log import NO_CASE, EntryFilter
from ledger.vocabulary.case_reference import case_reference
from ledger.vocabulary.picklists import Purpose
from projections.folds.obligation_terms import ObligationKind
from projections.folds.obligations import Obligation
from projections.upkeep.continuous_check import check_standing, differing_rows

router = APIRouter(include_in_schema=False, route_class=PageRoute)
PAGE = 50
"""Entries of a list on a page."""
_NOT_ASKED = frozenset({Operation.REQUEST, Operation.RELEASE})
"""Operations of the access matrix that no entry has."""


@dataclass(frozen=True, slots=True)
class AuditQuestion:
    """The wishes of a form of the audit."""

    choice: AuditChoice
    before: int | None


async def question(request: Request) -> AuditQuestion:
    """Return the question of a form. Raises ``Refusal``."""
    form = await form_values(request)
    before = form.get("before", [""])[0]
    if before and not (before.isascii() and before.isdigit() and len(before) < 16):
        raise Refusal(Ground.INVALID, "request", "This is no place in the list.", "before")
    return AuditQuestion(AuditChoice.of_form(form), int(before) if before else None)


TheQuestion = Annotated[AuditQuestion, Depends(question)]


@router.get("/audit")
def show_audit(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    danger_after: UUID | None = None,
    erased_before: Annotated[AwareDatetime | None, Query()] = None,
) -> Response:
    """Show accesses in danger to life, erasures, the anchor and the check of the views.

    The access log stays closed.
    """
    return _shown(request, node, caller, AuditChoice(), None, danger_after, erased_before)


@router.post("/audit")
async def audit_readings(
    request: Request, node: TheNode, caller: TheCaller, asked: TheQuestion
) -> Response:
    """Show entries of the access log too. The look is written down first."""
    return await run_in_threadpool(_look, request, node, caller, asked)


@router.post("/audit/log.csv")
async def download_csv(
    request: Request, node: TheNode, caller: TheCaller, asked: TheQuestion
) -> Response:
    """Save the chosen entries as CSV. The look is written down first."""
    table = await run_in_threadpool(_table, request, node, caller, asked.choice)
    lines = as_csv(table, Words.of(request).things.locale_name)
    return StreamingResponse(lines, 200, _saved("csv"), "text/csv; charset=utf-8")


@router.post("/audit/log.xlsx")
async def download_xlsx(
    request: Request, node: TheNode, caller: TheCaller, asked: TheQuestion
) -> Response:
    """Save the chosen entries as an Office Open XML workbook. The look is written down first."""
    table = await run_in_threadpool(_table, request, node, caller, asked.choice)
    content = await run_in_threadpool(as_xlsx, table)
    return Response(content, 200, _saved("xlsx"), XLSX)


def _look(request: Request, node: Node, caller: Caller, asked: AuditQuestion) -> Response:
    check_may_audit(caller.agency)
    if asked.choice.wrong:
        return _shown(request, node, caller, asked.choice, None)
    only = _filter(request, node, caller, asked.choice)
    found = node.audit.entries(caller.reader, only, before=asked.before, limit=PAGE)
    return _shown(request, node, caller, asked.choice, found)


def _shown(
    request: Request,
    node: Node,
    caller: Caller,
    choice: AuditChoice,
    found: AuditedEntries | None,
    danger_after: UUID | None = None,
    erased_before: datetime | None = None,
) -> Response:
    anchor = node.audit.anchor(caller.agency)
    words, protocol, party = Words.of(request).things, caller.protocol, caller.agency.party
    danger = _in_danger(node, caller, danger_after)
    erased = list(erased_cases(node, party, limit=PAGE, before=erased_before))
    return page(
        request,
        "audit.html",
        caller,
        choice=choice,
        found=found,
        members=_members(node, caller, found.page.readings) if found is not None else {},
        agencies=sorted(
            (words.agency(one), one.id)
            for one in protocol.agencies
            if one.party == party and one.role != NODE and not one.international
        ),
        operations=sorted((words.picked(o), o.value) for o in Operation if o not in _NOT_ASKED),
        purposes=[(words.picked(one), one.value) for one in Purpose],
        no_case=NO_CASE,
        danger=danger,
        danger_next=danger[-1].id if len(danger) == PAGE else None,
        danger_after=danger_after,
        erased=erased,
        erased_next=erased[-1].erased.erased_at if len(erased) == PAGE else None,
        erased_before=erased_before,
        anchor=anchor,
        checked=check_standing(node.database),
        differing=differing_rows(node.database),
        most=MOST_ROWS,
        named=names(protocol, (), words),
    )


def _in_danger(node: Node, caller: Caller, after: UUID | None) -> Sequence[Obligation]:
    """Return accesses in danger to life as what their review is owed. Raises ``Refusal``."""
    viewer = caller.viewer
    last = node.views.obligation(viewer, after) if after is not None else None
    if after is not None and last is None:
        raise Refusal(Ground.INVALID, "request", "This is no place in the list.", "danger_after")
    kind = ObligationKind.BREAK_GLASS_REVIEW
    return node.views.obligations(viewer, limit=PAGE, after=last, kind=kind)


def _filter(request: Request, node: Node, caller: Caller, choice: AuditChoice) -> EntryFilter:
    """Return the filter of the access log. Raises ``Refusal`` for a case that is not to be seen."""
    if choice.wrong:
        raise Refusal(Ground.INVALID, "request", "A filter has no such value.", choice.wrong[0])
    sought, case_id = choice.sought_case, None
    if isinstance(sought, SoughtCase):
        case_id = sought.case_id
    elif sought is not None:
        cases = node.views.cases(caller.viewer, limit=1, reference=sought.reference)
        if not cases:
            raise Refusal(
                Ground.UNKNOWN, "unknown-case", "There is no such case for this agency to see."
            )
        case_id = cases[0].case_id
    return choice.entry_filter(case_id, Words.of(request).things.zone())


def _members(node: Node, caller: Caller, readings: Iterable[Reading]) -> Mapping[str, str]:
    """Return the names of members, by the key that asked, that the caller may know."""
    seen = {one.id for one in agencies_seen(caller)}
    found: dict[str, str] = {}
    for kid in {one.asked.key_id for one in readings if one.asked.agency in seen}:
        key = caller.registry.keys.get(kid or "")
        member = node.members.get(key.member) if key is not None and key.member else None
        if kid and member is not None and member.details is not None and member.agency in seen:
            found[kid] = member.details.name
    return found


def _table(request: Request, node: Node, caller: Caller, choice: AuditChoice) -> CaseTable:
    """Write the look down, and return the table of the chosen entries. Raises ``Refusal``."""
    check_may_audit(caller.agency)
    only = _filter(request, node, caller, choice)
    readings = node.audit.every(caller.reader, only, most=MOST_ROWS)
    words = Words.of(request)
    t = words.texts.text
    columns = (
        t("audit.number"), t("personal.when"), t("sign_in.agency"), t("audit.agency_id"),
        t("audit.person"), t("case"), t("cases.table.id"), t("audit.operation"),
        t("personal.purpose"), t("personal.groups"), t("personal.answer"), t("audit.rule"),
    )  # fmt: skip
    named = names(caller.protocol, (), words.things)
    rows = (_row(one, words, named) for one in readings)
    return CaseTable(columns, rows, words.things.practice_mark)


def _row(one: Reading, words: Words, named: Mapping[str, str]) -> Sequence[Cell]:
    asked, things, t = one.asked, words.things, words.texts.text
    on_case = asked.case_id != NO_CASE
    return (
        str(one.seq),
        things.moment(one.at),
        named.get(asked.agency, asked.agency),
        asked.agency,
        asked.person or asked.key_id or "",
        case_reference(asked.case_id) if on_case else "",
        str(asked.case_id) if on_case else "",
        things.picked(asked.operation),
        things.picked(asked.purpose),
        ", ".join(map(things.picked, asked.groups)),
        t("personal.granted") if one.granted else t("personal.denied"),
        one.refused_by or "",
    )


def _saved(suffix: str) -> dict[str, str]:
    name = f"access-log-{clock.now():%Y-%m-%d}.{suffix}"
    return {**PAGE_HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
