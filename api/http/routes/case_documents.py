"""Documents of a case: which there are, and their contents."""

import asyncio
import base64
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import structlog
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Body, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from api.client.schemas.case_documents import (
    DocumentCopyRequest,
    DocumentInventory,
    DocumentPage,
    RedactionRequest,
    UploadState,
)
from api.http.access import Caller, TheCaller, TheNode
from api.http.chunk_places import ChunkPlace, ChunkPlaces
from api.http.costly import Costly
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.error_handlers import SANDBOX_POLICY, responses
from api.http.parameters import CaseId
from api.http.routes.document_uploads import upload_state
from api.node.node import Node
from api.runtime.problem import problem
from api.services.document_copies import copied
from api.services.document_inventory import has_to_do_with, inventory_of
from api.services.document_marks import marked
from api.services.document_pages import check_reads_documents, document_page
from api.services.personal_data_access import document_damaged
from ledger.procedure.practice_protocol import is_practice
from ledger.procedure.readings import CopyKind
from ledger.signing.country_key import SealError
from ledger.vault.documents.chunk_encryption import CHUNK_BYTES
from ledger.vault.documents.documents import OpenedDocument
from ledger.vault.documents.media_types import SUFFIXES
from ledger.vault.documents.uploads import Upload
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import LegalBasis, Purpose

router = APIRouter(prefix="/v1/cases", tags=["documents"], route_class=DeclaredParametersRoute)
COPY_HEADER = "Document-Copy"
"""The header that says whether an answer is the signed original or a marked copy."""
_SENT_AT_ONCE = 256 * 1024
_SLICE_BYTES = 64 * 1024
"""So much of a chunk waits in the server's buffer for a client that reads slowly."""
_SENDING_SECONDS = 60.0
_SLOWEST_BYTES_PER_SECOND = 64 * 1024
"""A client has the seconds above for a marked copy, and so much longer as its size takes."""
_log = structlog.get_logger(__name__)
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
    they hold them. It has no title, kind or group, so it is no reading of personal fields. It has
    documents at `case` level, and those of groups with which the access matrix gives the caller's
    role anything to do.
    """
    node.disclosing.case_of(caller.reader, case_id)
    check_reads_documents(caller.reader)
    return inventory_of(
        node.vaults.of(caller.agency.party),
        case_id,
        node.settings.missing_after_seconds,
        partial(has_to_do_with, caller.protocol, caller.agency.role),
    )


@router.get(
    "/{case_id}/documents/{document_id}/content",
    response_class=Response,
    responses={**_CONTENT, **responses(401, 403, 404, 409, 416, 422, 503)},
)
async def get_document(
    request: Request,
    case_id: CaseId,
    document_id: UUID,
    node: TheNode,
    caller: TheCaller,
    purpose: Purpose,
    basis: LegalBasis | None = None,
    kind: Annotated[
        CopyKind,
        Query(alias="copy", description="A copy with a visible mark, or the signed original"),
    ] = CopyKind.MARKED,
    wanted: Annotated[str | None, Header(alias="Range", description="One range of bytes")] = None,
) -> Response:
    """Return the content of a document: a copy with a visible mark, or the signed original.

    It follows the rules of personal fields of the document's group. Each request is an entry of the
    access log, which is written before the content is opened and says which of both it was. Each
    page of a marked copy says who got it, when, for what and of which case: its digest is not the
    signed one. A range is of the original; a marked copy is made anew each time, and sent whole.
    """

    def opened() -> OpenedDocument:
        return node.disclosing.read_document(
            caller.reader, case_id, document_id, purpose, basis, kind
        )

    def original() -> _Begun:
        with coming_again(node, caller, document := opened()):
            return _original(document, document_id, wanted)

    def copy_with_mark() -> Response:
        with coming_again(node, caller, document := opened()):
            practice = is_practice(caller.protocol.id)
            return _marked(document, document_id, is_practice=practice)

    if kind is CopyKind.ORIGINAL:
        places: ChunkPlaces = request.app.state.sent_chunks
        place = places.place()
        await place.take()
        try:
            begun = await run_in_threadpool(original)
        except BaseException:
            place.give_back()
            raise
        return SentContent(begun, place, request.app.state.opening)
    release = await copies(request).take(caller.agency.id)
    try:
        copy = await run_in_threadpool(copy_with_mark)
    except BaseException:
        release()
        raise
    return HeldPlace(copy, release)


class HeldPlace(Response):
    """An answer that keeps a place until it is sent: so few marked copies are in memory at once.

    The body is sent in pieces. The server takes a further piece only once the client read nearly
    all before it, so the place is kept while the body is in memory. A client that reads too slowly
    is cut off.
    """

    def __init__(self, answer: Response, release: Callable[[], None]) -> None:
        super().__init__()
        self._content = bytes(answer.body)
        self._release = release
        self.raw_headers = answer.raw_headers
        self.status_code = answer.status_code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        allowed = _SENDING_SECONDS + len(self._content) / _SLOWEST_BYTES_PER_SECOND
        try:
            async with asyncio.timeout(allowed):
                await self._send(send)
        except TimeoutError:
            _log.warning("a marked copy is cut off: its client reads too slowly")
        finally:
            self._release()

    async def _send(self, send: Send) -> None:
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        for first in range(0, len(self._content), _SENT_AT_ONCE):
            body = self._content[first : first + _SENT_AT_ONCE]
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@dataclass(frozen=True, slots=True)
class _Begun:
    """A part of a document that is to be sent, with its first chunk."""

    opened: OpenedDocument
    first: int
    last: int
    chunk: bytes = field(repr=False)
    status: int
    headers: Mapping[str, str]
    media_type: str


class SentContent(Response):
    """The content of a document as it was signed, or one range of it.

    A chunk is in memory while it has a place. A client that reads slowly gives the place to the
    next request, and the chunk is opened again for the rest of it. If a later chunk does not open,
    the answer breaks off before its announced length, and a client that asks for the rest is told.
    """

    def __init__(self, begun: _Begun, place: ChunkPlace, threads: CapacityLimiter) -> None:
        super().__init__(None, begun.status, begun.headers, begun.media_type)
        self._opened, self._threads, self._place = begun.opened, threads, place
        self._next, self._last = begun.first, begun.last
        self._chunk: bytes | None = begun.chunk
        self.headers["content-length"] = str(begun.last - begun.first + 1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            while self._next <= self._last and not gone.done():
                body = await self._slice()
                message = {"type": "http.response.body", "body": body, "more_body": True}
                await self._place.wait(send(message), self._let_go)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            self._place.give_back()

    async def _slice(self) -> bytes:
        """Return the next slice. With the last one of a chunk, the chunk is out of memory."""
        number, offset = divmod(self._next, CHUNK_BYTES)
        if self._chunk is None:
            await self._place.take()
            self._chunk = await run_sync(self._opened.chunk, number, limiter=self._threads)
        end = min(len(self._chunk), self._last + 1 - number * CHUNK_BYTES)
        body = self._chunk[offset : min(offset + _SLICE_BYTES, end)]
        self._next += len(body)
        if offset + len(body) == end:
            await self._let_go()
            self._place.give_back()
        return body

    async def _let_go(self) -> None:
        self._chunk = None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _marked(opened: OpenedDocument, document_id: UUID, *, is_practice: bool) -> Response:
    made = marked(opened, document_id, is_practice=is_practice)
    digest = base64.b64encode(made.sha256).decode("ascii")
    headers = {
        COPY_HEADER: CopyKind.MARKED,
        "Repr-Digest": f"sha-256=:{digest}:",
        **_file(document_id, made.media_type, f"copy-of-{document_id}"),
    }
    return Response(made.content, 200, headers, made.media_type)


def _file(document_id: UUID, media_type: str, name: str | None = None) -> dict[str, str]:
    return {
        "Content-Disposition": f'attachment; filename="{name or document_id}.'
        f'{SUFFIXES[media_type]}"',
        "Content-Security-Policy": SANDBOX_POLICY,
    }


def _original(opened: OpenedDocument, document_id: UUID, wanted: str | None) -> _Begun:
    """Return the content as it was signed, whole or one range of it.

    The first chunk is opened before the head of the answer is sent. Raises ``SealError`` if it does
    not open.
    """
    size = opened.place.size
    first, last = _range(wanted, size)
    is_whole = (first, last) == (0, size - 1)
    media_type = opened.metadata.media_type or "application/octet-stream"
    headers = {
        "Accept-Ranges": "bytes",
        COPY_HEADER: CopyKind.ORIGINAL,
        **_file(document_id, media_type),
    }
    if not is_whole:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    chunk = opened.chunk(first // CHUNK_BYTES)
    return _Begun(opened, first, last, chunk, 200 if is_whole else 206, headers, media_type)


@router.post(
    "/{case_id}/documents/{document_id}/copies",
    status_code=201,
    response_model=UploadState,
    responses=responses(401, 403, 404, 409, 413, 422, 503, 507),
)
async def copy_document(
    request: Request,
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

    def made() -> Upload:
        with reused(node, caller, case_id, document_id, asked) as opened:
            return copied(node.uploads, caller.agency, asked.to, opened, caller.protocol)

    return new_upload(await copies(request).run(caller.agency.id, made), response)


def new_upload(upload: Upload, response: Response) -> UploadState:
    """Return the state of an upload that the node made, and name its address in the answer."""
    response.headers["Location"] = f"/v1/cases/{upload.place.case_id}/uploads/{upload.id}"
    return upload_state(upload)


@contextmanager
def reused(
    node: Node,
    caller: Caller,
    case_id: UUID,
    document_id: UUID,
    asked: DocumentCopyRequest | RedactionRequest,
) -> Iterator[OpenedDocument]:
    """Open a document of which the node makes an upload, as a reading that is written down.

    Raises ``Refusal`` as the reading does, and where the content does not open.
    """
    opened = node.disclosing.read_document(
        caller.reader, case_id, document_id, asked.purpose, asked.basis, is_reused=True
    )
    with coming_again(node, caller, opened):
        yield opened


def copies(request: Request) -> Costly:
    """Return what bounds the number of whole documents that are copied, marked or redacted."""
    costly: Costly = request.app.state.copies
    return costly


@contextmanager
def coming_again(node: Node, caller: Caller, opened: OpenedDocument) -> Iterator[None]:
    """Turn a content that does not open into a refusal (``document-damaged``).

    A content that another country gave comes again.
    """
    try:
        yield
    except SealError:
        contents = node.vaults.of(caller.agency.party).contents
        contents.fetch_again([opened.place.document_id])
        raise document_damaged() from None


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
