"""Recording actions: what is possible now and why the rest is not, and a form for each."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field
from starlette.responses import JSONResponse

from api.client.schemas.document import Document
from api.http.access import Caller, TheCaller, TheNode
from api.http.parameters import CaseId
from api.node.node import Node
from api.services.document_lists import papers_of_case
from api.web.action_help import action_help
from api.web.action_list import by_stage
from api.web.action_names import Recorded, action_names
from api.web.document_form import files_of_form, own_document
from api.web.errors import PageRoute
from api.web.forms import NOT_BY_FORM, form, is_long, usual_values
from api.web.linked import others
from api.web.refusal_text import reason
from api.web.rendering import PAGE_HEADERS, Words, page
from api.web.routes.cases import own_case
from api.web.telephone import read_telephone
from ledger.events.act import Act
from ledger.procedure.available_actions import Offer, offer_of, offers
from ledger.procedure.case import Case
from ledger.procedure.merged_cases import KnownCase
from ledger.procedure.protocol import NODE, Protocol
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vocabulary.case_reference import case_reference
from ledger.vocabulary.coordination import Correction
from ledger.vocabulary.destruction import DestructionProposed
from ledger.vocabulary.documents import DocumentAdded
from ledger.vocabulary.linking import (
    CaseMerged,
    CasesLinked,
    MergeAccepted,
    MergeProposed,
    MergeUndone,
)
from ledger.vocabulary.sharing import InformationReleased

router = APIRouter(include_in_schema=False, route_class=PageRoute)
Kind = Annotated[str, Path(pattern=r"^[a-z_]{1,60}$")]


class TypedNumber(Document):
    """A telephone number as a person typed it."""

    typed: Annotated[str, Field(max_length=200)]


@router.post("/telephone")
def read_number(request: Request, caller: TheCaller, sent: TypedNumber) -> JSONResponse:
    """Return a telephone number with its country's code and the country's name.

    A number in local writing is one of the caller's country. Nothing is kept, and the number is in
    no address and no log. ``number`` is ``None`` if the text is no number.
    """
    found = read_telephone(sent.typed, caller.agency.party)
    words = Words.of(request).things
    told = {
        "number": found.number if found is not None else None,
        "country": words.country(found.country) if found is not None and found.country else None,
    }
    return JSONResponse(told, headers=dict(PAGE_HEADERS))


@router.get("/texts/refusals")
def refusal_texts(request: Request, caller: TheCaller) -> Response:
    """Return the texts of refusals, for the scripts of a page that does not have them."""
    return page(request, "why_texts.html", caller)


@router.get("/cases/new")
def open_case(
    request: Request, node: TheNode, caller: TheCaller, change: UUID | None = None
) -> Response:
    """Show the form that opens a case. ``change`` is a draft of the member, to be changed."""
    return _form(request, node, caller, "case_opened", None, change=change)


@router.get("/cases/{case_id}/act")
def list_acts(request: Request, node: TheNode, caller: TheCaller, case_id: CaseId) -> Response:
    """List the actions that the agency's role may take, by stage: possible now, or why not."""
    check_acts(caller)
    view = own_case(node, caller, case_id)
    case, words = recorded_case(node, case_id), Words.of(request)
    told = offers(
        case.state, case.history, caller.agency, caller.protocol, _now(),
        caller.key_id or "", others(node, caller, case, None),
    )  # fmt: skip
    own = {k: o for k, o in told.items() if o.refusal is None or o.refusal.rule != "role"}
    own.pop("case_opened", None)
    return page(
        request,
        "acts.html",
        caller,
        case=view,
        stages=by_stage(own, words),
        adds_documents=DocumentAdded.kind in own and own[DocumentAdded.kind].refusal is None,
        released=InformationReleased.kind,
    )


@router.get("/cases/{case_id}/act/{kind}")
def show_form(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    case_id: CaseId,
    kind: Kind,
    other: UUID | None = None,
    change: UUID | None = None,
) -> Response:
    """Show the form of one action, or the reason if the rules refuse it now.

    ``other`` is the case with which this one is linked or merged. ``change`` is a draft of the
    member, to be changed.
    """
    check_acts(caller)
    own_case(node, caller, case_id)
    return _form(request, node, caller, kind, case_id, other, change)


def _form(
    request: Request,
    node: Node,
    caller: Caller,
    kind: str,
    case_id: UUID | None,
    other: UUID | None = None,
    change: UUID | None = None,
) -> Response:
    check_acts(caller)
    protocol, words = caller.protocol, Words.of(request)
    if kind not in protocol.actions or kind in NOT_BY_FORM:
        raise Refusal(Ground.UNKNOWN, "unknown-kind", "There is no such form.", "kind")
    case = recorded_case(node, case_id) if case_id is not None else None
    offer = offer_of(
        kind,
        case.state if case else None,
        case.history if case else {},
        caller.agency,
        protocol,
        _now(),
        caller.key_id or "",
        around := others(node, caller, case, other),
    )
    preset: dict[str, tuple[str, ...]] = {}
    if kind in (CasesLinked.kind, MergeProposed.kind) and other and other in around:
        offer, preset = _of_other(offer, around[other], other, caller, protocol)
    elif kind in (MergeAccepted.kind, CaseMerged.kind, MergeUndone.kind):
        preset = dict(offer.choices)
    if offer.refusal is not None and offer.refusal.rule == "role":
        raise offer.refusal
    named = {a.id: words.things.agency(a) for a in protocol.agencies}
    if case is not None:
        named |= names_of_acts(case.history.values(), words)
    for one, known in around.items():
        named |= names_of_acts(known.history.values(), words)
        named[str(one)] = case_reference(one)
    parties = case.state.parties if case else None
    made = form(kind, offer, named, protocol, words.things, parties, caller.agency.party)
    return page(
        request,
        "act.html",
        caller,
        case=own_case(node, caller, case_id) if case_id is not None else None,
        case_id=case_id,
        version=case.version if case else 0,
        kind=kind,
        h=action_help(kind, protocol, words.things),
        form=made,
        why=reason(offer.refusal, words) if offer.refusal else None,
        protocol=protocol.id,
        is_long=is_long,
        preset={**usual_values(made, caller.agency), **preset},
        own=own_document(kind) if case is not None else None,
        change=change,
        files=files_of_form(node, caller, case, words) if case is not None else None,
        papers=_papers(node, caller, kind, case, words),
    )


def _papers(
    node: Node, caller: Caller, kind: str, case: Case | None, words: Words
) -> Mapping[str, int]:
    """Return the papers that may tell of an action that a form takes back, with their versions."""
    party = caller.agency.party
    takes_back = kind in (Correction.kind, DestructionProposed.kind)
    if case is None or not takes_back or not node.vaults.has(party):
        return {}
    found = papers_of_case(node.vaults.of(party), case)
    named = names_of_acts(case.history.values(), words)
    return {named[str(action)]: version for action, version in found.items()}


def _of_other(
    offer: Offer, other: KnownCase, case_id: UUID, caller: Caller, protocol: Protocol
) -> tuple[Offer, dict[str, tuple[str, ...]]]:
    """Return the offer that names another case, and the values to begin with."""
    name = "linked_case" if offer.kind == CasesLinked.kind else "continues_in"
    lead = protocol.leading(other.state.lead_agency, other.state.parties).id
    told = {caller.agency.party, *other.state.parties}
    preset = {name: (str(case_id),), "addressee": (lead,), "told": tuple(sorted(told))}
    return replace(offer, choices={**offer.choices, name: (str(case_id),)}), preset


def names_of_acts(acts: Collection[Act], words: Words) -> dict[str, str]:
    """Return the numbers, names and days of a case's actions, by their ids."""
    called = action_names((Recorded(a.id, a.kind, a.fields) for a in acts), words.things)
    return {str(a.id): f"{a.version}. {called[a.id]}, {words.things.day(a.acted_at)}" for a in acts}


def check_acts(caller: Caller) -> None:
    """Check that the caller records actions on cases by a page.

    Raises ``Refusal`` if not.
    """
    role, rules = caller.agency.role, caller.protocol.actions.values()
    if role == NODE or not any(role in rule.roles for rule in rules):
        raise Refusal(
            Ground.NOT_ALLOWED, "role", "Oversight and nodes record no case actions here."
        )


def recorded_case(node: Node, case_id: UUID) -> Case:
    """Return a case as the ledger has it now.

    Raises ``Refusal`` (``unknown-case``).
    """
    case = node.ledger.case(case_id)
    if case is None:
        raise Refusal(Ground.UNKNOWN, "unknown-case", "There is no such case.")
    return case


def _now() -> datetime:
    return clock.now()
