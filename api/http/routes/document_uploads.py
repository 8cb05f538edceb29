"""Resumable uploads of documents: tus 1.0.0 (https://tus.io/protocols/resumable-upload).

The core protocol with the extensions *creation* and *termination*. A request's body is stored as it
comes, a chunk at a time: it is never whole in memory, and never in a temporary file.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any
from uuid import UUID

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Request, Response
from rfc9457 import Problem
from starlette.types import Scope

from api.client.schemas.case_documents import UploadState, VersionOfDocument
from api.http.access import TheCaller, TheNode
from api.http.chunk_places import ChunkPlace, ChunkPlaces
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.error_handlers import responses, told_not_scanned, told_store_away
from api.http.parameters import CaseId
from api.runtime.problem import problem
from api.services.document_uploads import UploadWriter
from api.services.refusal_problem import status_of
from ledger.refusals import Ground, Refusal
from ledger.vault.documents.chunk_store import ChunkStoreError
from ledger.vault.documents.scanning import NotScannedError
from ledger.vault.documents.uploads import Upload

VERSION = "1.0.0"
_TUS: Mapping[str, str] = {"Tus-Resumable": VERSION}
_CONTENT = "application/offset+octet-stream"
_PATH = re.compile(r"/v1/cases/[^/]+/uploads/[^/]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_BYTES = 2**40


class TusRoute(DeclaredParametersRoute):
    """Names the version of tus in every answer, and refuses a request of another version."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                if request.headers.get("tus-resumable", VERSION) != VERSION:
                    raise problem(
                        412,
                        "Another version of tus",
                        "tus-version",
                        f"Uploads here are by tus {VERSION}. Send Tus-Resumable: {VERSION}.",
                        {"Tus-Version": VERSION},
                        field="Tus-Resumable",
                    )
                response = await handle(request)
            except Refusal as refusal:
                status, title = status_of(refusal.ground)
                if refusal.rule == "document-too-large":
                    status = 413
                headers = dict(_TUS)
                if status == 401:
                    headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
                raise problem(
                    status, title, refusal.rule, refusal.message, headers, field=refusal.field
                ) from None
            except (ChunkStoreError, NotScannedError) as error:
                is_store = isinstance(error, ChunkStoreError)
                told = told_store_away(error) if is_store else told_not_scanned(error)
                told.headers = {**(told.headers or {}), **_TUS}
                raise told from None
            except Problem as error:
                error.headers = {**(error.headers or {}), **_TUS}
                raise
            response.headers.update(_TUS)
            return response

        return answered


router = APIRouter(prefix="/v1/cases", tags=["documents"], route_class=TusRoute)


def is_upload(scope: Scope) -> bool:
    """Return whether a request brings a part of a document, which its route bounds."""
    return scope["method"] == "PATCH" and _PATH.fullmatch(scope["path"]) is not None


@router.post(
    "/{case_id}/uploads",
    status_code=201,
    response_model=UploadState,
    responses=responses(401, 403, 404, 409, 412, 413, 422, 503, 507),
)
def begin_upload(
    case_id: CaseId,
    node: TheNode,
    caller: TheCaller,
    response: Response,
    upload_length: Annotated[
        int | None, Header(ge=1, le=_MOST_BYTES, description="The size of the file in bytes")
    ] = None,
    upload_metadata: Annotated[
        str | None,
        Header(
            max_length=4096,
            description="As tus has it; `sha256` is the SHA-256 of the file in hexadecimal,"
            " in base64",
        ),
    ] = None,
) -> UploadState:
    """Begin the upload of a document, for an action on this case that will name it.

    The same content of the same agency to the same case is one upload. The node removes an upload
    that no action has within a day of its last byte.
    """
    if upload_length is None:
        raise Refusal(
            Ground.INVALID,
            "upload-length",
            "Send Upload-Length with the size of the file in bytes.",
            "Upload-Length",
        )
    digest = _digest(upload_metadata)
    limits = caller.protocol.document_limits
    upload = node.uploads.begin(caller.agency, case_id, upload_length, digest, caller.protocol)
    response.headers["Location"] = f"/v1/cases/{case_id}/uploads/{upload.id}"
    response.headers["Tus-Max-Size"] = str(limits.max_bytes)
    response.headers["Tus-Extension"] = "creation,termination"
    response.headers.update(_offset(upload))
    return upload_state(upload)


@router.get(
    "/{case_id}/uploads/{upload_id}",
    response_model=UploadState,
    responses=responses(401, 403, 404, 409, 412, 422, 503),
)
def get_upload(
    case_id: CaseId, upload_id: UUID, node: TheNode, caller: TheCaller, response: Response
) -> UploadState:
    """Return how far an upload is; with HEAD, in `Upload-Offset` alone."""
    upload = node.uploads.find(caller.agency, case_id, upload_id)
    response.headers.update(_offset(upload))
    response.headers["Upload-Length"] = str(upload.place.size)
    return upload_state(upload)


@router.patch(
    "/{case_id}/uploads/{upload_id}",
    status_code=204,
    response_class=Response,
    responses=responses(401, 403, 404, 409, 412, 413, 415, 422, 503, 507),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {_CONTENT: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def continue_upload(
    request: Request,
    case_id: CaseId,
    upload_id: UUID,
    node: TheNode,
    caller: TheCaller,
    upload_offset: Annotated[
        int | None, Header(ge=0, le=_MOST_BYTES, description="Where this part begins")
    ] = None,
) -> Response:
    """Store a part of a document. The offset that is answered is durable.

    With the last part, the node reads the content back and compares its SHA-256.
    """
    if request.headers.get("content-type") != _CONTENT:
        raise problem(415, "Another media type", "upload-type", f"Send Content-Type: {_CONTENT}.")
    if upload_offset is None:
        raise Refusal(
            Ground.INVALID,
            "upload-offset",
            "Send Upload-Offset with the offset at which this part begins.",
            "Upload-Offset",
        )
    threads: CapacityLimiter = request.app.state.storing
    places: ChunkPlaces = request.app.state.chunk_places
    place = places.place()
    writer = await run_sync(
        node.uploads.writer, caller.agency, case_id, upload_id, upload_offset, limiter=threads
    )
    try:
        await _take(request, writer, place, threads)
    finally:
        try:
            # What came before an error is kept too: the upload goes on there.
            await run_sync(writer.close, limiter=threads)
        finally:
            place.give_back()
    upload = await run_sync(writer.settle, limiter=threads)
    return Response(status_code=204, headers=_offset(upload))


@router.delete(
    "/{case_id}/uploads/{upload_id}",
    status_code=204,
    response_class=Response,
    responses=responses(401, 403, 404, 409, 412, 422, 503),
)
def remove_upload(case_id: CaseId, upload_id: UUID, node: TheNode, caller: TheCaller) -> Response:
    """Remove an upload that no action has."""
    node.uploads.remove(caller.agency, case_id, upload_id)
    return Response(status_code=204)


async def _take(
    request: Request, writer: UploadWriter, place: ChunkPlace, threads: CapacityLimiter
) -> None:
    """Store the body of a request, chunk by chunk. A line that breaks ends it without an error.

    The request has a ``place`` from the first byte of a chunk until the chunk is stored. Without
    one it reads no more of its body. A slow line stores a piece of its chunk for the next request.
    """

    async def let_go() -> None:
        await run_sync(writer.close, limiter=threads)

    announced = int(request.headers.get("content-length", "0"))
    if announced > writer.left:
        raise _too_long()
    while True:
        message = await place.wait(request.receive(), let_go)
        if message["type"] == "http.disconnect":
            return
        rest = memoryview(message.get("body", b""))
        if len(rest) > writer.left:
            raise _too_long()
        while rest:
            if not writer.is_open:
                await place.take()
                await run_sync(writer.open, limiter=threads)
            rest = writer.fill(rest)
            if writer.is_full:
                await let_go()
                place.give_back()
        if not message.get("more_body", False):
            return


def _too_long() -> Problem:
    return problem(
        413,
        "The request is too long",
        "upload-too-long",
        "More bytes were sent than Upload-Length says. Check the file, and begin a new upload.",
        {"Connection": "close"},
    )


def _digest(metadata: str | None) -> str:
    """Return the SHA-256 that the metadata of an upload declare, in hexadecimal.

    Raises ``Refusal`` (``upload-metadata``). Other metadata, such as a file's name, are not kept.
    """
    for pair in (metadata or "").split(","):
        name, _, value = pair.strip().partition(" ")
        if name != "sha256":
            continue
        try:
            digest = b64decode(value, validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            break
        if _SHA256.fullmatch(digest):
            return digest
        break
    raise Refusal(
        Ground.INVALID,
        "upload-metadata",
        "Send Upload-Metadata with `sha256` and the base64 of the file's SHA-256 in lower-case"
        " hexadecimal.",
        "Upload-Metadata",
    )


def _offset(upload: Upload) -> dict[str, str]:
    return {"Upload-Offset": str(upload.received), "Cache-Control": "no-store"}


def upload_state(upload: Upload) -> UploadState:
    """Return the document of an upload."""
    version = upload.metadata.version_of
    return UploadState(
        id=upload.id,
        size=upload.place.size,
        received=upload.received,
        is_whole=upload.is_whole,
        sha256=upload.metadata.sha256,
        media_type=upload.metadata.media_type,
        version_of=VersionOfDocument(**version.model_dump()) if version is not None else None,
    )
