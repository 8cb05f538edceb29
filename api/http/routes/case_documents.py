"""Documents of a case: which there are, and their contents."""

import re
from collections.abc import Iterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Header, Query, Response
from fastapi.responses import StreamingResponse

from api.client.schemas.case_documents import (
    DocumentCopyRequest,
    DocumentInventory,
    DocumentPage,
    UploadState,
)
from api.http.access import TheCaller, TheNode
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.error_handlers import SANDBOX_POLICY, responses
from api.http.parameters import CaseId
from api.http.routes.document_uploads import upload_state
from api.runtime.problem import problem
from api.services.document_copies import copied
from api.services.document_inventory import inventory_of
from api.services.document_pages import check_reads_documents, document_page
from api.services.personal_data_access import document_damaged
from ledger.signing.country_key import SealError
from ledger.vault.documents.documents import OpenedDocument
from ledger.vault.documents.media_types import SUFFIXES
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import LegalBasis, Purpose

router = APIRouter(prefix="/v1/cases", tags=["documents"], route_class=DeclaredParametersRoute)
_RANGE = re.compile(r"bytes=(\d{0,12})-(\d{0,12})")
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The content", "content": dict.fromkeys(SUFFIXES, _BINARY)},
    206: {"description": "A part of the content", "content": dict.fromkeys(SUFFIXES, _BINARY)},
}


@router.get(
    "/{case_id}/documents",
    response_model=DocumentPage,
    responses=responses(401, 403, 404, 409, 422, 503),
)
def list_documents(
    case_id: CaseId,
    node: TheNode,
    caller: TheCaller,
    group: Annotated[
        list[FieldGroup] | None, Query(max_length=8, description="Of these field groups too")
    ] = None,
    purpose: Annotated[Purpose | None, Query(description="Needed with a group")] = None,
    basis: LegalBasis | None = None,
) -> DocumentPage:
    """List a case's documents that the caller's country has: those at `case` level.

    The documents of cases that were merged with this one are listed too. With groups, it lists the
    documents of these groups too. This is a reading of personal fields: it needs the access matrix
    and a legal basis, and is written into the access log.
    """
    return document_page(
        node.ledger,
        node.vaults.of(caller.agency.party),
        node.disclosing,
        caller.reader,
        case_id,
        group or (),
        purpose,
        basis,
    )


@router.get(
    "/{case_id}/documents/inventory",
    response_model=DocumentInventory,
    responses=responses(401, 403, 404, 409, 503),
)
def document_inventory(case_id: CaseId, node: TheNode, caller: TheCaller) -> DocumentInventory:
    """Tell which contents other countries' nodes give of a case's documents, and how far they are.

    It also tells which contents this country gave, with the signed statements of the others that
    they hold them. It has no title, kind or group, so it is no reading of personal fields.
    """
    node.disclosing.case_of(caller.reader, case_id)
    check_reads_documents(caller.reader)
    return inventory_of(
        node.vaults.of(caller.agency.party), case_id, node.settings.missing_after_seconds
    )


@router.get(
    "/{case_id}/documents/{document_id}/content",
    response_class=Response,
    responses={**_CONTENT, **responses(401, 403, 404, 409, 416, 422, 503)},
)
def get_document(
    case_id: CaseId,
    document_id: UUID,
    node: TheNode,
    caller: TheCaller,
    purpose: Purpose,
    basis: LegalBasis | None = None,
    wanted: Annotated[str | None, Header(alias="Range", description="One range of bytes")] = None,
) -> Response:
    """Return the content of a document, whole or one range of it.

    It follows the rules of personal fields of the document's group. Each request is an entry of the
    access log, which is written before the content is opened.
    """
    opened = node.disclosing.read_document(caller.reader, case_id, document_id, purpose, basis)
    size = opened.place.size
    first, last = _range(wanted, size)
    is_whole = (first, last) == (0, size - 1)
    media_type = opened.metadata.media_type or "application/octet-stream"
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{document_id}.{SUFFIXES[media_type]}"',
        "Content-Length": str(last - first + 1),
        "Content-Security-Policy": SANDBOX_POLICY,
    }
    if not is_whole:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    try:
        content = _begun(opened, first, last)
    except SealError:
        # What another country gave comes again.
        contents = node.vaults.of(caller.agency.party).contents
        contents.fetch_again([opened.place.document_id])
        raise document_damaged() from None
    return StreamingResponse(content, 200 if is_whole else 206, headers, media_type)


@router.post(
    "/{case_id}/documents/{document_id}/copies",
    status_code=201,
    response_model=UploadState,
    responses=responses(401, 403, 404, 409, 413, 422, 503, 507),
)
def copy_document(
    case_id: CaseId,
    document_id: UUID,
    node: TheNode,
    caller: TheCaller,
    asked: Annotated[DocumentCopyRequest, Body()],
    response: Response,
) -> UploadState:
    """Copy the content of a document into an upload to another case, for an action there.

    For a document that was added to the wrong case: add it to the right one, and annul the action
    in the wrong one. It is a reading of the document, as a download is.
    """
    opened = node.disclosing.read_document(
        caller.reader, case_id, document_id, asked.purpose, asked.basis
    )
    upload = copied(node.uploads, caller.agency, asked.to, opened, caller.protocol)
    response.headers["Location"] = f"/v1/cases/{asked.to}/documents/uploads/{upload.id}"
    return upload_state(upload)


def _begun(opened: OpenedDocument, first: int, last: int) -> Iterator[bytes]:
    """Return the content, whose first chunk is opened before the head of the answer is sent.

    Raises ``SealError`` if that chunk does not open. If a later one does not, the answer breaks off
    before its announced length, and a client that asks for the rest is told.
    """
    parts = opened.part(first, last)
    begun = next(parts)

    def rest() -> Iterator[bytes]:
        yield begun
        yield from parts

    return rest()


def _range(wanted: str | None, size: int) -> tuple[int, int]:
    """Return the first and the last byte of a range (RFC 9110, section 14.1.2).

    A range in another unit, or of several parts, counts as none. Raises a problem (416) if the
    content has no such byte.
    """
    found = _RANGE.fullmatch(wanted or "")
    if found is None or not (found[1] or found[2]):
        return 0, size - 1
    if not found[1]:
        first, last = max(0, size - int(found[2])), size - 1
    else:
        first, last = int(found[1]), min(int(found[2] or size), size - 1)
    if first > last or first >= size:
        raise problem(
            416,
            "No such range",
            "document-range",
            f"The document has {size} bytes.",
            {"Content-Range": f"bytes */{size}"},
            field="Range",
        )
    return first, last
