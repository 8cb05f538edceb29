"""The communication forms of a case: its steps, a preview, the sending, the receipt, the paper."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from api.http.access import Caller, TheCaller, TheNode, viewer_of_case
from api.http.costly import Costly
from api.http.parameters import AtLeast, CaseId, wait_for
from api.http.routes.personal import trail_of
from api.node.node import Node
from api.paper.languages.found import offered
from api.web.case_text import case_values, names
from api.web.communication_forms import (
    SentForm,
    contents,
    presets,
    rows_of,
    sending_offer,
    sent_form,
    steps_of,
)
from api.web.document_form import files_of_form, own_document
from api.web.errors import PageRoute
from api.web.forms import form, is_long
from api.web.printing_form import PrintedForm
from api.web.refusal_text import reason
from api.web.rendering import Words, page, printed
from api.web.routes.acts import recorded_case
from api.web.routes.cases import case_fields, just_recorded, own_case
from api.web.today import opened_form
from ledger.log.merkle import leaf_hash
from ledger.log.paper_code import is_code_of, paper_code
from ledger.procedure.available_actions import Offer, offer_of
from ledger.procedure.case_state import SentForm as SendingState
from ledger.procedure.communication_forms import CommunicationForm
from ledger.procedure.form_rules import may_send, sendable
from ledger.procedure.protocol import OVERSIGHT
from ledger.refusals import Ground, Refusal
from ledger.store.event_rows import RecordedRow
from ledger.system import clock
from ledger.vault.held_fields import HeldFields
from ledger.vocabulary.communication_forms import FormAcknowledged, FormSent
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView

router = APIRouter(include_in_schema=False, route_class=PageRoute)
Number = Annotated[int, Path(ge=1, le=99)]


@dataclass(frozen=True, slots=True)
class _Known:
    """The data from which the pages of a case's forms are made."""

    view: CaseView
    trail: list[TrailEntry]
    held: HeldFields

    @classmethod
    def of(cls, node: Node, caller: Caller, case_id: UUID, at_least: int | None = None) -> "_Known":
        for projection in ("case_views", "audit_trail"):
            wait_for(node, projection, at_least)
        view = own_case(node, caller, case_id)
        wait_for(node, "audit_trail", view.position)
        held = case_fields(node, caller, case_id)
        return cls(view, list(trail_of(node, caller, case_id)), held)

    def sent(self, caller: Caller, action: UUID) -> SentForm:
        """Return a form that was sent in the case, by the text that was in force then.

        Raises ``Refusal`` (``no-such-form``).
        """
        for entry in self.trail:
            if entry.action_id != action or entry.kind != FormSent.kind:
                continue
            then = caller.registry.agreement.at(entry.position, entry.recorded_at)
            number = entry.fields["form_number"]
            known = then.forms_by_number.get(number) if isinstance(number, int) else None
            if known is not None:
                return sent_form(known, entry, self.view, self.trail, self.held)
        raise Refusal(Ground.UNKNOWN, "no-such-form", "No such form was sent in this case.")


@router.get("/cases/{case_id}/forms")
def list_forms(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    case_id: CaseId,
    at_least: AtLeast = None,
    recorded: UUID | None = None,
) -> Response:
    """Show where a case stands in the steps of the procedure, and the forms that were sent."""
    known, protocol = _Known.of(node, caller, case_id, at_least), caller.protocol
    case = recorded_case(node, case_id)
    mine = {
        one.number
        for one in protocol.forms or ()
        if caller.agency.role != OVERSIGHT and may_send(one, caller.agency, case.history, protocol)
    }
    return page(
        request,
        "forms.html",
        caller,
        case=known.view,
        just_recorded=just_recorded(node, caller, known.view, recorded, Words.of(request).things),
        steps=steps_of(protocol, known.view, known.trail),
        mine=mine,
        position=node.views.position("case_views"),
        named=names(protocol, known.trail, Words.of(request).things),
    )


@router.get("/cases/{case_id}/forms/{number}")
def preview_form(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    case_id: CaseId,
    number: Number,
    change: UUID | None = None,
) -> Response:
    """Show a form as it would be sent now, and send it.

    ``change`` is a draft of the member, to be changed.
    """
    known, protocol, words = _Known.of(node, caller, case_id), caller.protocol, Words.of(request)
    chosen = _form(caller, number)
    case = recorded_case(node, case_id)
    named = dict(names(protocol, known.trail, words.things))
    offer = offer_of(
        FormSent.kind,
        case.state,
        case.history,
        caller.agency,
        protocol,
        clock.now(),
        caller.key_id or "",
    )
    one = sendable(chosen, case.state, case.history, caller.agency, protocol)
    can_send = one is not None and (offer.refusal is None or offer.refusal.rule != "role")
    filled = [] if one is None else contents(chosen, one.proposed, known.trail, known.held)
    steps = steps_of(protocol, known.view, known.trail)
    step = next(step for step in steps if step.form.number == number)
    return page(
        request,
        "form_send.html",
        caller,
        case=known.view,
        case_id=case_id,
        version=case.version,
        kind=FormSent.kind,
        one=chosen,
        step=step,
        sends=caller.agency.role != OVERSIGHT
        and may_send(chosen, caller.agency, case.history, protocol),
        why=reason(offer.refusal, words) if offer.refusal is not None else None,
        rows=rows_of(filled, named, words.things),
        form=form(
            FormSent.kind, sending_offer(one), named, protocol, words.things, case.state.parties
        )
        if one is not None and can_send
        else None,
        preset={} if one is None else presets(one),
        change=change,
        own=own_document(FormSent.kind),
        files=files_of_form(node, caller, case, words),
        protocol=protocol.id,
        is_long=is_long,
        named=named,
    )


@router.get("/cases/{case_id}/forms/sent/{action}")
def show_sent(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    case_id: CaseId,
    action: UUID,
    at_least: AtLeast = None,
    change: UUID | None = None,
) -> Response:
    """Show a form as it was sent, and acknowledge it.

    ``change`` is a draft of the receipt.
    """
    known, protocol, words = (
        _Known.of(node, caller, case_id, at_least),
        caller.protocol,
        Words.of(request),
    )
    sent = known.sent(caller, action)
    opened_form(node, caller, case_id, action)
    case = recorded_case(node, case_id)
    named = dict(names(protocol, known.trail, words.things))
    kind = FormAcknowledged.kind
    offer = offer_of(
        kind,
        case.state,
        case.history,
        caller.agency,
        protocol,
        clock.now(),
        caller.key_id or "",
    )
    acknowledges = str(action) in offer.choices.get("sent", ())
    fixed = Offer(kind, None, {"sent": (str(action),)})
    remarks = case_values(known.trail, known.held)[action].get("remarks")
    answer = sent.form.answered_by
    return page(
        request,
        "form_sent.html",
        caller,
        case=known.view,
        case_id=case_id,
        version=case.version,
        kind=kind,
        sent=sent,
        remarks=remarks,
        rows=rows_of(sent.contents, named, words.things),
        code=_code(node, sent),
        form=form(kind, fixed, named, protocol, words.things) if acknowledges else None,
        preset={"sent": (str(action),)},
        change=change,
        answer=answer if _answers(caller, answer, case.state.forms.get(action)) else None,
        beside=[one for one in offered(protocol) if one.code != words.things.language],
        protocol=protocol.id,
        is_long=is_long,
        named=named,
    )


@router.get("/cases/{case_id}/forms/sent/{action}/form.pdf")
async def print_sent(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    case_id: CaseId,
    action: UUID,
    beside: Annotated[str, Query(pattern=r"^[A-Za-z-]{2,16}$")] = "en",
) -> Response:
    """Print a form as it was sent, in the reader's language and another beside it."""
    costly: Costly = request.app.state.costly
    return await costly.run(
        caller.agency.id, _printed, request, node, caller, case_id, action, beside
    )


def _printed(
    request: Request, node: Node, caller: Caller, case_id: UUID, action: UUID, beside: str
) -> Response:
    there = Words.in_language(beside, caller, "beside")
    paper = form_on_paper(node, caller, case_id, action)
    made = paper.pdf(Words.of(request), there, clock.now())
    return printed(made, "form")


def form_on_paper(node: Node, caller: Caller, case_id: UUID, action: UUID) -> PrintedForm:
    """Return a form that was sent, to be printed. Raises ``Refusal`` (``no-such-form``)."""
    known = _Known.of(node, caller, case_id)
    sent = known.sent(caller, action)
    remarks = case_values(known.trail, known.held)[action].get("remarks")
    return PrintedForm(
        form=sent.form,
        sending=sent.sending,
        remarks=remarks if isinstance(remarks, str) else None,
        acknowledged_at=sent.receipt.acted_at if sent.receipt is not None else None,
        code=_code(node, sent),
        contents=sent.contents,
        trail=known.trail,
        protocol=caller.protocol,
        is_annulled=sent.is_annulled,
    )


@router.get("/paper")
def check_paper(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    position: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    code: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Say whether the code on a paper is that of a form that was sent at the position on it.

    The code does not prove what is printed. Who may see the case is led to the form as it was
    sent, to compare. Nobody else is told anything of the form.
    """
    is_true: bool | None = None
    form: str | None = None
    if position is not None:
        rows = [row for row in node.ledger.rows_at([position]) if row.kind == FormSent.kind]
        is_true = bool(rows) and is_code_of(code, leaf_hash(bytes(rows[0].state)))
        if is_true:
            form = _as_sent(node, caller, rows[0])
    return page(
        request, "paper.html", caller, position=position, code=code, is_true=is_true, form=form
    )


def _as_sent(node: Node, caller: Caller, row: RecordedRow) -> str | None:
    """Return the path of a form as it was sent; ``None`` for who may not see its case."""
    case_id = row.originator_id
    if node.views.case(viewer_of_case(node, caller, case_id), case_id) is None:
        return None
    return f"/cases/{case_id}/forms/sent/{row.action_id}"


def _form(caller: Caller, number: int) -> CommunicationForm:
    found = caller.protocol.forms_by_number.get(number)
    if found is None:
        raise Refusal(Ground.UNKNOWN, "unknown-form", "The protocol has no form of this number.")
    return found


def _answers(caller: Caller, number: int | None, sending: SendingState | None) -> bool:
    """Return whether the caller's country owes the answer to a form."""
    if number is None or sending is None or sending.answered:
        return False
    return caller.protocol.agencies_by_id[sending.addressee].party == caller.agency.party


def _code(node: Node, sent: SentForm) -> str:
    (row,) = node.ledger.rows_at([sent.sending.position])
    return paper_code(leaf_hash(bytes(row.state)))
