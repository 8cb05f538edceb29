"""Pictures of documents, and the metadata of uploads. A locked process reads each content."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Query, Request, Response

from api.client.schemas.case_documents import (
    ComparisonRequest,
    FileMetadata,
    RedactionRequest,
    UploadState,
    VersionComparison,
)
from api.http.access import Caller, TheCaller, TheNode
from api.http.costly import Costly
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.error_handlers import SANDBOX_POLICY, responses
from api.http.parameters import CaseId
from api.http.routes.case_documents import coming_again, copies, new_upload, reused
from api.node.node import Node
from api.services.document_lists import version_claims
from api.services.document_previews import PICTURE_TYPE, Preview, preview
from api.services.document_redactions import compared_upload, comparison, redacted
from ledger.refusals import Ground, Refusal
from ledger.vault.documents.documents import OpenedDocument
from ledger.vault.documents.uploads import Upload
from ledger.vocabulary.documents import VersionClaim
from ledger.vocabulary.picklists import LegalBasis, Purpose

PAGES_HEADER = "Document-Pages"
router = APIRouter(prefix="/v1/cases", tags=["documents"], route_class=DeclaredParametersRoute)
Page = Annotated[int, Query(ge=1, le=1_000_000, description="The page's number, from 1")]
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A picture of the page. `Document-Pages` has the number of pages",
        "content": {PICTURE_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        "headers": {
            PAGES_HEADER: {
                "description": "The number of pages of the document",
                "schema": {"type": "integer", "minimum": 1},
            }
        },
    }
}


@router.get(
    "/{case_id}/documents/{document_id}/preview",
    response_class=Response,
    responses={**_PICTURE, **responses(401, 403, 404, 409, 422, 503)},
)
async def preview_document(
    request: Request,
    case_id: CaseId,
    document_id: UUID,
    node: TheNode,
    caller: TheCaller,
    purpose: Purpose,
    basis: LegalBasis | None = None,
    page: Page = 1,
) -> Response:
    """Return a picture of one page of a document: PDF, PNG, JPEG, HEIC or TIFF.

    It follows the same rules as the content. Each picture is an entry of the access log, which is
    written before the content is opened.
    """
    return picture_answer(
        await previews(request).run(
            caller.agency.id, preview_of, node, caller, case_id, document_id, purpose, basis, page
        )
    )


@router.get(
    "/{case_id}/uploads/{upload_id}/preview",
    response_class=Response,
    responses={**_PICTURE, **responses(401, 403, 404, 409, 422, 503)},
)
async def preview_upload(
    request: Request,
    case_id: CaseId,
    upload_id: UUID,
    node: TheNode,
    caller: TheCaller,
    page: Page = 1,
    purpose: Annotated[
        Purpose | None, Query(description="Needed for a redacted version that the node made")
    ] = None,
    basis: LegalBasis | None = None,
) -> Response:
    """Return a picture of one page of the agency's own upload, before any action has it.

    A redacted version that the node made is shown to whoever may read its original. Each picture is
    a reading of the original, with a purpose, and an entry of the access log.
    """

    def made() -> Preview:
        upload = node.uploads.find_whole(caller.agency, case_id, upload_id)
        version = upload.metadata.version_of
        is_read = version is not None and upload.metadata.is_of_node and purpose is not None
        if version is not None and is_read and purpose is not None:
            original, place = version.document, upload.place
            node.disclosing.read_document(
                caller.reader, place.case_id, original, purpose, basis, is_reused=True
            )
        return node.upload_previews.preview(caller.agency, upload, page, is_read=is_read)

    return picture_answer(await previews(request).run(caller.agency.id, made))


@router.get(
    "/{case_id}/uploads/{upload_id}/metadata",
    response_model=FileMetadata,
    responses=responses(401, 403, 404, 409, 422, 503),
)
async def get_upload_metadata(
    request: Request, case_id: CaseId, upload_id: UUID, node: TheNode, caller: TheCaller
) -> FileMetadata:
    """Return what the agency's own upload tells besides its content: place, time, camera, author.

    A document that an action has is as its sender signed it: metadata are shown before that.
    """

    def made() -> FileMetadata:
        upload = node.uploads.find_whole(caller.agency, case_id, upload_id)
        return node.upload_previews.metadata(caller.agency, upload)

    return await previews(request).run(caller.agency.id, made)


@router.post(
    "/{case_id}/uploads/{upload_id}/without-metadata",
    status_code=201,
    response_model=UploadState,
    responses=responses(401, 403, 404, 409, 413, 422, 503, 507),
)
async def copy_without_metadata(
    request: Request,
    case_id: CaseId,
    upload_id: UUID,
    node: TheNode,
    caller: TheCaller,
    response: Response,
) -> UploadState:
    """Make an upload of the same file without its metadata, and return it.

    For JPEG, PNG, HEIC, TIFF, PDF, DOCX and ODT. A coded picture, its orientation and its colour
    profile are not changed. A PDF is written anew; attachments, scripts and comments stay. Sign the
    digest of the copy, and remove the first upload. Asked again, the same copy is returned.
    """

    def made() -> Upload:
        upload = node.uploads.find_whole(caller.agency, case_id, upload_id)
        return node.upload_previews.without_metadata(caller.agency, upload, caller.protocol)

    return new_upload(await previews(request).run(caller.agency.id, made), response)


@router.post(
    "/{case_id}/documents/{document_id}/redactions",
    status_code=201,
    response_model=UploadState,
    responses=responses(401, 403, 404, 409, 413, 422, 503, 507),
)
async def redact_document(
    request: Request,
    case_id: CaseId,
    document_id: UUID,
    node: TheNode,
    caller: TheCaller,
    asked: Annotated[RedactionRequest, Body()],
    response: Response,
) -> UploadState:
    """Make an upload of a document without some pages and parts of pages, and return it.

    For PDF files and pictures. The upload is a PDF in which each page that stays is a picture, and
    what is under a mark is black. It is a reading of the document, as a download is. With `upload`,
    the agency made the version itself: the node compares it with the document. An action
    `document_added` of the agency then names the upload, the document that it `redacts`, and the
    pages as `version_of` of the answer has them.
    """

    def made() -> Upload:
        uploads, agency = node.uploads, caller.agency
        own = None
        if asked.upload is not None:
            own = uploads.find_whole(agency, case_id, asked.upload)
        with reused(node, caller, case_id, document_id, asked) as opened:
            if own is not None:
                claim = VersionClaim(None, asked.leave_out, asked.pages_marked)
                return compared_upload(uploads, agency, own, opened, claim)
            return redacted(uploads, agency, opened, asked.leave_out, asked.marks, caller.protocol)

    return new_upload(await copies(request).run(caller.agency.id, made), response)


@router.post(
    "/{case_id}/documents/{document_id}/comparison",
    response_model=VersionComparison,
    responses=responses(401, 403, 404, 409, 422, 503),
)
async def compare_version(
    request: Request,
    case_id: CaseId,
    document_id: UUID,
    node: TheNode,
    caller: TheCaller,
    asked: Annotated[ComparisonRequest, Body()],
) -> VersionComparison:
    """Compare a redacted version with what its action says, and with its original.

    A node that has the original compares each page that is neither left out nor marked. Another one
    only counts the pages of the version. It is a reading of each of the two that this node has.
    """

    def made() -> VersionComparison:
        return compared_version(node, caller, case_id, document_id, asked)

    return await copies(request).run(caller.agency.id, made)


def previews(request: Request) -> Costly:
    """Return what bounds the number of processes that read documents."""
    costly: Costly = request.app.state.previews
    return costly


def preview_of(
    node: Node,
    caller: Caller,
    case_id: UUID,
    document_id: UUID,
    purpose: Purpose,
    basis: LegalBasis | None,
    page: int,
) -> Preview:
    """Return a picture of a page of a document, after the entry of the access log is written.

    Raises ``Refusal`` as the reading of the content does, and as
    :func:`api.services.document_previews.preview` does.
    """
    opened = node.disclosing.read_document(caller.reader, case_id, document_id, purpose, basis)
    with coming_again(node, caller, opened):
        content = opened.part(0, opened.place.size - 1)
        return preview(content, opened.metadata.media_type, page)


def compared_version(
    node: Node, caller: Caller, case_id: UUID, document_id: UUID, asked: ComparisonRequest
) -> VersionComparison:
    """Return how a redacted version compares with what its action says and with its original.

    Raises ``Refusal`` (``not-a-version``) and as the reading of either of the two does.
    """

    def opened(case: UUID, action: UUID) -> OpenedDocument:
        return node.disclosing.read_document(
            caller.reader, case, action, asked.purpose, asked.basis
        )

    version = opened(case_id, document_id)
    vault, case = node.vaults.of(caller.agency.party), version.place.case_id
    held = [one for one in vault.case_fields(case) if one.action_id == document_id]
    redacts = next((UUID(one.value) for one in held if one.field == "redacts"), None)
    if redacts is None:
        raise Refusal(
            Ground.INVALID,
            "not-a-version",
            "The document is no version of another one. Compare a document that names an original.",
        )
    claim = version_claims(held)[document_id]
    with coming_again(node, caller, version):
        if redacts not in vault.documents.held([redacts]):
            return comparison(version, None, claim)
        original = opened(case, redacts)
        with coming_again(node, caller, original):
            return comparison(version, original, claim)


def picture_answer(made: Preview) -> Response:
    """Return the answer with a picture. No browser runs or keeps anything of it."""
    headers = {PAGES_HEADER: str(made.pages), "Content-Security-Policy": SANDBOX_POLICY}
    return Response(made.picture, 200, headers, PICTURE_TYPE)
