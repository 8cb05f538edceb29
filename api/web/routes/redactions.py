"""The page that makes a redacted version of a document: marks on its pages, and pages left out."""

from typing import Annotated, Final, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from api.client.schemas.case_documents import ListedDocument
from api.http.access import Caller, TheCaller, TheNode
from api.http.parameters import CaseId
from api.http.routes.case_documents import list_documents
from api.node.node import Node
from api.web.document_form import files_of_form
from api.web.documents import PREVIEWED
from api.web.errors import PageRoute
from api.web.rendering import Words, page
from api.web.routes.acts import check_acts, recorded_case
from api.web.routes.cases import PURPOSES, own_case
from api.web.sent_form import form_values
from ledger.refusals import Ground, Refusal
from ledger.vocabulary.documents import DocumentAdded
from ledger.vocabulary.picklists import LegalBasis, Purpose

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_PATH: Final = "/cases/{case_id}/documents/{document_id}/redact"


class Asked(NamedTuple):
    """The purpose and the basis of a reading of a document."""

    purpose: Purpose
    basis: LegalBasis | None


async def _purpose_of_form(request: Request) -> Asked:
    """Return the purpose and the basis of a form. Raises ``Refusal``."""
    form = await form_values(request)
    purpose, basis = form.get("purpose", [""])[0], form.get("basis", [""])[0]
    try:
        return Asked(Purpose(purpose), LegalBasis(basis) if basis else None)
    except ValueError:
        raise Refusal(
            Ground.INVALID, "purpose", "Say the purpose of the reading.", "purpose"
        ) from None


@router.get(_PATH)
def show_redaction(
    request: Request, node: TheNode, caller: TheCaller, case_id: CaseId, document_id: UUID
) -> Response:
    """Ask for the purpose of the reading that a redacted version of a document needs."""
    _check_adds(caller)
    return _redaction(request, node, caller, case_id, document_id)


@router.post(_PATH)
async def open_redaction(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    case_id: CaseId,
    document_id: UUID,
    asked: Annotated[Asked, Depends(_purpose_of_form)],
) -> Response:
    """Show the page on which parts of a document are hidden. It is a reading, and written down."""
    _check_adds(caller)

    def read() -> Response:
        try:
            listed = _listed(node, caller, case_id, document_id, asked)
        except Refusal as refusal:
            if refusal.rule not in ("access-matrix", "no-legal-basis"):
                raise
            return _redaction(
                request, node, caller, case_id, document_id, asked, refused=refusal.rule
            )
        return _redaction(request, node, caller, case_id, document_id, asked, listed)

    return await run_in_threadpool(read)


def _check_adds(caller: Caller) -> None:
    """Check that an agency adds documents. Raises ``Refusal``."""
    check_acts(caller)
    rule = caller.protocol.actions.get(DocumentAdded.kind)
    if rule is None or caller.agency.role not in rule.roles:
        raise Refusal(
            Ground.NOT_ALLOWED, "role", "Your agency adds no documents, so it makes no version."
        )


def _listed(
    node: Node, caller: Caller, case_id: UUID, document_id: UUID, asked: Asked
) -> ListedDocument:
    """Return the description of a document of which the node makes a version.

    Raises ``Refusal`` (``unknown-document``, ``received-document``, ``not-redactable``), and as the
    reading does.
    """
    known = node.vaults.of(caller.agency.party).documents.level_of(document_id, case_id)
    group = None if known is None else known.group
    groups = None if group is None else [group]
    found = list_documents(case_id, node, caller, groups, asked.purpose, asked.basis)
    listed = next((one for one in found.documents if one.id == document_id), None)
    if listed is None or not listed.is_here:
        raise Refusal(Ground.UNKNOWN, "unknown-document", "This case has no such document here.")
    if listed.received_from is not None:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "received-document",
            "Another country gave this document. Ask that country for a version of it.",
        )
    if listed.document.media_type not in PREVIEWED:
        raise Refusal(
            Ground.INVALID,
            "not-redactable",
            "The node hides parts of PDF files and pictures alone. Make another version of this"
            " file yourself.",
        )
    return listed


def _redaction(
    request: Request,
    node: Node,
    caller: Caller,
    case_id: UUID,
    document_id: UUID,
    asked: Asked | None = None,
    listed: ListedDocument | None = None,
    refused: str | None = None,
) -> Response:
    view, words = own_case(node, caller, case_id), Words.of(request)
    return page(
        request,
        "redaction.html",
        caller,
        case=view,
        document_id=document_id,
        asked=asked,
        listed=listed,
        refused=refused,
        purposes=PURPOSES,
        files=files_of_form(node, caller, recorded_case(node, case_id), words),
    )
