"""For caseworkers: their cases by what is due, one case with its timeline, and personal fields."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.client.schemas import PersonalField, ReadingRequest
from api.client.schemas.personal import HeldBackGround
from api.http.access import Caller, TheCaller, TheNode, viewer_of_case
from api.http.documents import personal_fields
from api.http.named_cases import seen_links
from api.http.parameters import AtLeast, CaseId, wait_for
from api.http.routes.personal import trail_of
from api.node.node import Node
from api.paper.subject_access.gathering_documents import subject_archive, subject_documents
from api.paper.subject_access.wording import Wording
from api.services.personal_data_access import OpenedFields
from api.web.case_answers import case_answers
from api.web.case_managers import case_managers
from api.web.case_text import (
    DueStep,
    FieldText,
    case_values,
    dues,
    names,
    names_of,
    of_fact,
    rows,
    told,
    with_title,
)
from api.web.documents import case_level_documents, document_rows
from api.web.drafts import drafts_in
from api.web.errors import PageRoute
from api.web.indicators import assessed_indicators
from api.web.linked import linked
from api.web.minutes import may_sign, minutes
from api.web.person import KnownPerson, known_person, person_warnings
from api.web.refusal_text import fact
from api.web.releasing import Release, releasable, releases
from api.web.rendering import PAGE_HEADERS, Words, page
from api.web.sent_form import form_values
from api.web.timeline import handovers, timeline
from api.web.today import opened_case, opened_released
from ledger.procedure.destruction_review import reviewed_action
from ledger.procedure.erasures import ErasedData
from ledger.procedure.protocol import OVERSIGHT, Operation
from ledger.procedure.readings import Reading
from ledger.refusals import Ground, Refusal
from ledger.signing import signed_action
from ledger.system import clock
from ledger.vault.access_log import CaseReadings
from ledger.vault.held_fields import Held, HeldFields
from ledger.vocabulary.coordination import CaseManagerNamed
from ledger.vocabulary.documents import DocumentAdded
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.person import IdentityRecorded
from ledger.vocabulary.picklists import LegalBasis, Purpose
from projections.folds.case_view import CaseView

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_HELD = "held-"
"""The name of a form's choice for a document begins so."""
PURPOSES = tuple(p for p in Purpose if p is not Purpose.SUBJECT_ACCESS)
"""The purposes for which a person may open fields. The person's own file is another matter."""


class TimelineOrder(StrEnum):
    """The order of the actions on the page of a case."""

    NEWEST = "newest"
    OLDEST = "oldest"


@router.get("/cases/{case_id}")
def show_case(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    case_id: CaseId,
    at_least: AtLeast = None,
    order: TimelineOrder = TimelineOrder.NEWEST,
    recorded: UUID | None = None,
) -> Response:
    """Show one case: its answers, the steps that are due, and its timeline.

    ``recorded`` is the action after whose recording the page is shown.
    """
    for projection in ("case_views", "audit_trail"):
        wait_for(node, projection, at_least)
    view = own_case(node, caller, case_id)
    opened_case(node, caller, case_id)
    trail, words = trail_of(node, caller, case_id), Words.of(request).things
    protocol, held = caller.protocol, case_fields(node, caller, case_id)
    told = rows(trail, held, dict(handovers(trail)), caller.registry.agreement, words)
    own = caller.agency.id
    return page(
        request,
        "case.html",
        caller,
        case=view,
        answers=case_answers(view, trail, held, words.local_day(_now())),
        just_recorded=just_recorded(node, caller, view, recorded, words),
        waiting=[
            signed_action.read(signed_action.parse(one.sd_jwt)).kind
            for one in node.outbox.waiting_of(own, case_id)
        ],
        order=order.value,
        may_take=partial(_may_take, caller),
        dues=dues(view, caller.agency, protocol, _now()),
        picture=timeline(trail, lanes(view, caller)),
        lanes=lanes(view, caller),
        rows=told[::-1] if order is TimelineOrder.NEWEST else told,
        linked=linked(node, caller, view, trail, held),
        managers=case_managers(trail, held, lanes(view, caller)),
        adds_documents=_may_take(caller, DocumentAdded.kind),
        case_drafts=drafts_in(node, caller, case_id),
        names_manager=_may_take(caller, CaseManagerNamed.kind),
        shelter=of_fact("sheltered", view, trail, held),
        planned=of_fact("return_decided", view, trail, held),
        named=(named := names(protocol, trail, words)),
        documents=list(case_level_documents(trail, held, named, words)),
        minutes=minutes(node, caller, case_id, held),
        may_sign=partial(may_sign, caller),
        indicators=assessed_indicators(trail, held, caller.registry.agreement),
        position=node.views.position("case_views"),
        fact_text=lambda name: fact(name, Words.of(request)),
    )  # fmt: skip


@router.get("/cases/{case_id}/personal")
def personal(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    case_id: CaseId,
    change: UUID | None = None,
    groups: Annotated[tuple[FieldGroup, ...], Query()] = (),
) -> Response:
    """Show the form that asks for personal fields, and the readings so far.

    ``change`` is a returned draft of a release, which has fields of ``groups``.
    """
    own_case(node, caller, case_id)
    opened_released(node, caller, case_id)
    return _personal(request, node, caller, case_id, change=change, chosen=groups)


async def reading_form(request: Request) -> ReadingRequest:
    """Return the groups, purpose and basis of a form.

    Raises ``Refusal``.
    """
    form = await form_values(request)
    purpose, basis = form.get("purpose", [""])[0], form.get("basis", [""])[0]
    try:
        return ReadingRequest(
            groups=tuple(FieldGroup(group) for group in form.get("groups", ())),
            purpose=Purpose(purpose),
            basis=LegalBasis(basis) if basis else None,
        )
    except ValueError:
        raise Refusal(
            Ground.INVALID, "request", "Choose a purpose, and at least one group.", "groups"
        ) from None


@router.post("/cases/{case_id}/personal")
async def open_personal(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    case_id: CaseId,
    asked: Annotated[ReadingRequest, Depends(reading_form)],
    change: UUID | None = None,
) -> Response:
    """Open personal fields for a purpose. Granted or refused, it is written down."""

    def read() -> Response:
        try:
            opened = node.disclosing.read(
                caller.reader, case_id, asked.groups, asked.purpose, asked.basis
            )
        except Refusal as refusal:
            if refusal.rule not in ("access-matrix", "no-legal-basis"):
                raise
            return _personal(request, node, caller, case_id, refused=refusal.rule, change=change)
        fields = personal_fields(opened)
        offered = releases(opened.case, caller.agency, caller.protocol, asked.groups, _now())
        return _personal(
            request,
            node,
            caller,
            case_id,
            opened=opened.reading,
            read=opened,
            fields=fields,
            damaged=[one.field for one in opened.damaged],
            offered=offered,
            version=opened.case.version,
            change=change,
            erased=node.erased_data(opened.case, caller.agency.party),
        )

    return await run_in_threadpool(read)


@router.post("/cases/{case_id}/subject-access/choice")
def choose_documents(
    request: Request, node: TheNode, caller: TheCaller, case_id: CaseId
) -> Response:
    """List the documents of a person, to hold some back from the archive. It is written down."""
    view, words = own_case(node, caller, case_id), Words.of(request)
    vault = node.vaults.of(caller.agency.party)
    listed = subject_documents(node.ledger, vault, node.disclosing, caller.reader, case_id)
    trail = trail_of(node, caller, case_id)
    named = names(caller.protocol, trail, words.things)
    return page(
        request,
        "subject_archive.html",
        caller,
        case=view,
        rows=document_rows(listed, trail, named, words.things, words.texts),
        grounds=[*HeldBackGround],
    )


async def held_back_form(request: Request) -> Mapping[UUID, HeldBackGround]:
    """Return the documents that a form holds back, each with its ground.

    Raises ``Refusal``.
    """
    # Never cut: a document that is not in a cut form would be given.
    form = await form_values(request, None)
    try:
        return {
            UUID(name.removeprefix(_HELD)): HeldBackGround(ground)
            for name, (ground, *_) in form.items()
            if name.startswith(_HELD)
        }
    except ValueError:
        raise Refusal(
            Ground.INVALID, "request", "Choose a ground for each document that is held back.", _HELD
        ) from None


@router.post("/cases/{case_id}/subject-access/documents")
def give_documents(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    case_id: CaseId,
    held_back: Annotated[Mapping[UUID, HeldBackGround], Depends(held_back_form)],
) -> Response:
    """Save the documents of a person in one archive, with an index in the language of the page."""
    parts = subject_archive(
        node.ledger,
        node.vaults.of(caller.agency.party),
        node.disclosing,
        caller.reader,
        case_id,
        held_back,
        caller.protocol,
        Words.of(request).things,
    )
    headers = {**PAGE_HEADERS, "Content-Disposition": f'attachment; filename="{case_id}.zip"'}
    return StreamingResponse(parts, 200, headers, "application/zip")


@router.post("/cases/{case_id}/destructions/{proposal}")
def open_for_review(
    request: Request, node: TheNode, caller: TheCaller, case_id: CaseId, proposal: UUID
) -> Response:
    """Open what a proposed destruction would remove. Granted or refused, it is written down."""
    opened = node.disclosing.review(caller.reader, case_id, proposal)
    return _personal(
        request,
        node,
        caller,
        case_id,
        reviewed=opened.fields,
        damaged=[one.field for one in opened.damaged],
    )


def _reviewable(node: Node, caller: Caller, case_id: UUID) -> Sequence[UUID]:
    """Return the proposed destructions on which the caller decides."""
    case = node.ledger.case(case_id)
    if case is None:
        return ()
    found: list[UUID] = []
    for proposal in case.state.destructions:
        with suppress(Refusal):
            reviewed_action(
                proposal, caller.agency, case.state, case.history, caller.protocol, _now()
            )
            found.append(proposal)
    return found


def _personal(
    request: Request,
    node: Node,
    caller: Caller,
    case_id: UUID,
    *,
    opened: Reading | None = None,
    read: OpenedFields | None = None,
    fields: Sequence[PersonalField] = (),
    damaged: Sequence[str] = (),
    refused: str | None = None,
    offered: Sequence[Release] = (),
    version: int = 0,
    erased: ErasedData | None = None,
    reviewed: Sequence[Held] = (),
    change: UUID | None = None,
    chosen: Sequence[FieldGroup] = (),
) -> Response:
    view = own_case(node, caller, case_id)
    trail, words = trail_of(node, caller, case_id), Words.of(request).things
    protocol = caller.protocol
    named = names(protocol, trail, words)
    known = KnownPerson((), ())
    kinds = {entry.action_id: entry.kind for entry in trail}
    warnings: Sequence[str] = ()
    if read is not None:
        texts = Words.of(request).texts
        values = case_values(trail, case_fields(node, caller, case_id))
        known = known_person(fields, read.case, values, named, words)
        warnings = person_warnings(
            fields, read.case, protocol, caller.agency.party, words.local_day(_now()), words, texts
        )

    def shown(listed: Sequence[PersonalField]) -> list[tuple[PersonalField, FieldText]]:
        return [(one, told(one.kind, {one.field: one.value}, named, words)[0]) for one in listed]

    allowed = [
        group
        for group in FieldGroup
        if protocol.allows(caller.agency.role, Operation.READ, group)
        or protocol.allows(caller.agency.role, Operation.BREAK_GLASS, group)
    ]
    return page(
        request,
        "personal.html",
        caller,
        case=view,
        groups=allowed,
        chosen=chosen,
        change=change,
        purposes=PURPOSES,
        opened=opened,
        fields=shown(fields),
        known=known.fields,
        others=shown(known.others),
        reviewable=_reviewable(node, caller, case_id),
        reviewed=[
            told(kinds[one.action_id], {one.field: one.value}, named, words)[0] for one in reviewed
        ],
        warnings=warnings,
        states_identity=_may_take(caller, IdentityRecorded.kind),
        gives_file=all(
            protocol.allows(caller.agency.role, Operation.SUBJECT_ACCESS, group)
            for group in FieldGroup
        ),
        damaged=[words.field(name) for name in damaged],
        refused=refused,
        hands_out=_hands_out(caller),
        releases=offered,
        releasable=releasable(fields, offered),
        version=version,
        erased=erased,
        protocol=protocol.id,
        readings=_readings(node, caller, case_id),
        named=named,
    )


def _hands_out(caller: Caller) -> bool:
    """Return whether the caller may give a person's file and documents to the person."""
    role, operation = caller.agency.role, Operation.SUBJECT_ACCESS
    return all(caller.protocol.allows(role, operation, group) for group in FieldGroup)


def _may_take(caller: Caller, kind: str) -> bool:
    rule = caller.protocol.actions.get(kind)
    return rule is not None and caller.agency.role in rule.roles


def _now() -> datetime:
    return clock.now()


def own_case(node: Node, caller: Caller, case_id: UUID) -> CaseView:
    """Return the case as the caller's country sees it.

    Raises ``Refusal`` (``unknown-case``).
    """
    view = node.views.case(viewer_of_case(node, caller, case_id), case_id)
    if view is None:
        raise Refusal(
            Ground.UNKNOWN, "unknown-case", "There is no such case for this agency to see."
        )
    return view


def lanes(view: CaseView, caller: Caller) -> tuple[str, ...]:
    """Return the countries of a case, the caller's own first."""
    own = caller.agency.party
    return tuple(sorted(view.parties, key=lambda party: (party != own, party)))


@dataclass(frozen=True, slots=True)
class JustRecorded:
    """The action after whose recording a page of its case is shown, and the agency's next step."""

    action_id: UUID
    number: int
    what: str
    next_step: DueStep | None


def just_recorded(
    node: Node, caller: Caller, view: CaseView, recorded: UUID | None, words: Wording
) -> JustRecorded | None:
    """Return what a page says of the action that its address names as recorded.

    Only an action of the reader's own agency is named, so no link from elsewhere makes a page say
    what is not so.
    """
    if recorded is None:
        return None
    trail = trail_of(node, caller, view.case_id)
    own = caller.agency
    entry = next((e for e in trail if (e.action_id, e.agency) == (recorded, own.id)), None)
    if entry is None:
        return None
    disclosed = case_values(trail, case_fields(node, caller, view.case_id))[recorded]
    mine = (one for one in dues(view, own, caller.protocol, _now()) if one.mine)
    what = with_title(names_of(trail, words)[recorded], disclosed)
    return JustRecorded(recorded, entry.version, what, next(mine, None))


def case_fields(node: Node, caller: Caller, case_id: UUID) -> HeldFields:
    """Return the fields at ``case`` level that the caller's country holds.

    Oversight gets none of them: it reads the fields at ``ledger`` level alone.
    """
    party = caller.agency.party
    if caller.agency.role == OVERSIGHT or not node.vaults.has(party):
        return HeldFields()
    return seen_links(node, caller, node.vaults.of(party).case_fields(case_id))


def _readings(node: Node, caller: Caller, case_id: UUID) -> CaseReadings:
    if not node.vaults.has(caller.agency.party):
        return CaseReadings()
    return node.disclosing.readings(caller.reader, case_id)
