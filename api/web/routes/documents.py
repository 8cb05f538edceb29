"""Documents of a case on pages: the list with its readings, and the form that adds some."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.client.schemas import ReadingRequest
from api.client.schemas.case_documents import DocumentPage
from api.http.access import Caller, TheCaller, TheNode
from api.http.parameters import AtLeast, CaseId, wait_for
from api.http.routes.case_documents import document_inventory, list_documents
from api.http.routes.personal import trail_of
from api.node.node import Node
from api.web.case_text import names
from api.web.document_form import files_of_form
from api.web.documents import Order, document_rows, grouped, whereabouts
from api.web.errors import PageRoute
from api.web.refusal_text import reason
from api.web.rendering import Words, page
from api.web.routes.acts import check_acts, names_of_acts, recorded_case
from api.web.routes.cases import PURPOSES, just_recorded, own_case, reading_form
from api.web.sent_form import form_values
from ledger.procedure.available_actions import offer_of
from ledger.procedure.case_fold import annulled_ids
from ledger.procedure.protocol import Operation
from ledger.refusals import Refusal
from ledger.system import clock
from ledger.vocabulary.case_reference import case_reference
from ledger.vocabulary.documents import DocumentAdded
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.upcasting import upcasters

router = APIRouter(include_in_schema=False, route_class=PageRoute)
InOrder = Annotated[Order, Query(alias="by")]


@router.get("/cases/{case_id}/documents")
def show_documents(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    case_id: CaseId,
    order: InOrder = Order.ACTION,
    at_least: AtLeast = None,
    filed: Annotated[int, Query(ge=0, le=len(FieldGroup) + 1)] = 0,
    recorded: UUID | None = None,
) -> Response:
    """List the documents that every country of the case may read, and offer to open more.

    ``filed`` is how many documents the reader has just filed with one press.
    """
    for projection in ("case_views", "audit_trail"):
        wait_for(node, projection, at_least)
    found = list_documents(case_id, node, caller)
    return _documents(request, node, caller, case_id, found, order, filed=filed, recorded=recorded)


async def _order_of_form(request: Request) -> Order:
    """Return the order that a form asks for."""
    form = await form_values(request)
    return Order.KIND if form.get("by") == [Order.KIND.value] else Order.ACTION


@router.post("/cases/{case_id}/documents")
async def open_documents(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    case_id: CaseId,
    asked: Annotated[ReadingRequest, Depends(reading_form)],
    order: Annotated[Order, Depends(_order_of_form)],
) -> Response:
    """List the documents of field groups too. Granted or refused, it is written down."""

    def read() -> Response:
        try:
            found = list_documents(
                case_id, node, caller, [*asked.groups], asked.purpose, asked.basis
            )
        except Refusal as refusal:
            if refusal.rule not in ("access-matrix", "no-legal-basis"):
                raise
            found = list_documents(case_id, node, caller)
            return _documents(request, node, caller, case_id, found, order, asked, refusal.rule)
        return _documents(request, node, caller, case_id, found, order, asked)

    return await run_in_threadpool(read)


def _documents(
    request: Request,
    node: Node,
    caller: Caller,
    case_id: UUID,
    found: DocumentPage,
    order: Order,
    asked: ReadingRequest | None = None,
    refused: str | None = None,
    filed: int = 0,
    recorded: UUID | None = None,
) -> Response:
    view, words = own_case(node, caller, case_id), Words.of(request)
    trail, protocol = trail_of(node, caller, case_id), caller.protocol
    rows = document_rows(
        found.documents, trail, names(protocol, trail, words.things), words.things, words.texts
    )
    role = caller.agency.role
    return page(
        request,
        "documents.html",
        caller,
        case=view,
        order=order,
        number=len(rows),
        named=names(protocol, trail, words.things),
        where=whereabouts(document_inventory(case_id, node, caller), words.things, words.texts),
        titles={row.listed.id: row.listed.document.title for row in rows},
        found=grouped(rows, order, words.texts.text("docs.of_case")),
        groups=[
            group
            for group in FieldGroup
            if protocol.allows(role, Operation.READ, group)
            or protocol.allows(role, Operation.BREAK_GLASS, group)
        ],
        purposes=PURPOSES,
        asked=asked,
        filed=filed,
        just_recorded=just_recorded(node, caller, view, recorded, words.things),
        not_opened=[case_reference(one) for one in found.not_opened],
        refused=refused,
        adds=role in protocol.actions[DocumentAdded.kind].roles
        if DocumentAdded.kind in protocol.actions
        else False,
    )


@router.get("/cases/{case_id}/act/document_added")
def show_document_form(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    case_id: CaseId,
    belongs_to: UUID | None = None,
    at_least: AtLeast = None,
) -> Response:
    """Show the form that adds documents to a case, or the reason if the rules refuse it now.

    ``belongs_to`` is the action of the case to which the documents belong.
    """
    wait_for(node, "case_views", at_least)
    check_acts(caller)
    view, words = own_case(node, caller, case_id), Words.of(request)
    case, protocol, kind = recorded_case(node, case_id), caller.protocol, DocumentAdded.kind
    offer = offer_of(
        kind, case.state, case.history, caller.agency, protocol, clock.now(), caller.key_id or ""
    )
    if offer.refusal is not None and offer.refusal.rule == "role":
        raise offer.refusal
    acts = [act for act in case.history.values() if act.kind != kind]
    annulled = annulled_ids(case.history.values())
    return page(
        request,
        "document_form.html",
        caller,
        case=view,
        version=case.version,
        kind=kind,
        why=reason(offer.refusal, words) if offer.refusal is not None else None,
        actions=names_of_acts([act for act in acts if act.id not in annulled], words),
        belongs_to=str(belongs_to) if belongs_to is not None else "",
        files=files_of_form(node, caller, case, words),
        digests=len(DocumentAdded.disclosable_fields()),
        schema=upcasters().version(kind),
        protocol=protocol.id,
    )
