"""Documents: uploaded to the agency's own node, added to a case, listed and downloaded."""

import hashlib
import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple, NotRequired, TypedDict, Unpack
from uuid import UUID

from api.client.actions import ActionsClient
from api.client.bounded_answers import bounds, read_bounded
from api.client.errors import RefusedError, is_no_answer, problem_of
from api.client.schemas import Receipt, SubjectArchiveRequest
from api.client.schemas.case_documents import (
    PICTURES,
    WITHOUT_METADATA,
    ComparisonRequest,
    DocumentCopyRequest,
    DocumentInventory,
    DocumentPage,
    FileMetadata,
    ListedDocument,
    MadeDocuments,
    MadeKind,
    MakingRequest,
    PageMark,
    RedactionRequest,
    UploadState,
    VersionComparison,
)
from api.client.schemas.personal import HeldBack, HeldBackGround
from ledger.procedure.readings import CopyKind
from ledger.system.backoff import Backoff
from ledger.system.identifiers import new_id
from ledger.system.retrying import retrying
from ledger.vocabulary import Action
from ledger.vocabulary.documents import (
    USUAL_KINDS,
    CaseDocument,
    DocumentAdded,
    document_field,
    document_of,
    field_of,
)
from ledger.vocabulary.levels import FieldGroup, FieldLevel
from ledger.vocabulary.picklists import DocumentKind, LegalBasis, Purpose

_PART_BYTES = 1024 * 1024
"""One request brings so much: a slow line is done with it within the bound of an answer's time."""
_HASHED_AT_ONCE = 1024 * 1024
_MOST_BYTES = 2**30
_MOST_ARCHIVE_BYTES = 2**36
NO_COPY = frozenset(
    ("metadata-not-removable", "document-not-readable", "document-locked", "document-too-complex")
)
"""Refusals of a copy without metadata that lie in the file."""
_DOWNLOAD_SECONDS = 900.0
"""The time in seconds for which an entry of the access log opens a document."""
_MOST_MOVES = 20
"""The number of times that another request may move the offset before the client gives up."""
Progress = Callable[[int, int], None]
"""Gets how many bytes are durable at the node, and how many there are."""

Uploaded = Callable[[UploadState], None]


class Described(TypedDict):
    """The description of a document that a client adds."""

    kind: DocumentKind
    title: str
    group: FieldGroup | None
    """The field group of the content; ``None`` shares it with the countries of the case."""
    language: NotRequired[str | None]
    belongs_to: NotRequired[UUID | None]
    """The action that it belongs to; the case itself without one."""
    progress: NotRequired[Progress]
    keep_metadata: NotRequired[bool | None]
    """True sends a file with its metadata, such as the place of a photograph; false sends a copy
    without them, if the node can make one. Without a value, a picture is sent without them, and any
    other file as it is."""
    uploaded: NotRequired[Uploaded]
    """Gets the upload of each file, before a copy without its metadata takes its place."""


class DocumentPicture(NamedTuple):
    """A picture of one page of a document."""

    pages: int
    """The number of pages of the document."""
    picture: bytes
    """A JPEG, made by the node."""


@dataclass(frozen=True, slots=True)
class DocumentFile:
    """A file that goes with an action in the same act, and its description."""

    file: Path
    title: str
    kind: DocumentKind | None = None
    """``None``: the usual kind of document of the kind of action."""
    level: FieldLevel | None = None
    """The field group of the content, or the ``case`` level; ``None``: that of the action."""
    language: str | None = None


class DocumentsClient(ActionsClient):
    """Sends documents to the vault of the agency's country."""

    def upload(
        self, case_id: UUID, file: Path, *, progress: Progress = lambda _, __: None
    ) -> UploadState:
        """Upload a file for an action on this case, or go on with an upload of it.

        An upload that is whole already is returned at once. Raises ``RefusedError``.
        """
        with file.open("rb") as content:
            size, digest = _measured(content)
            metadata = b64encode(digest.encode()).decode("ascii")
            headers = {
                "Tus-Resumable": "1.0.0",
                "Upload-Length": str(size),
                "Upload-Metadata": f"sha256 {metadata}",
            }
            path = f"/v1/cases/{case_id}/uploads"
            begun = self._request("POST", path, headers=headers)
            state = UploadState.model_validate_json(begun.content)
            path, moves = f"{path}/{state.id}", 0
            progress(state.received, size)
            while not state.is_whole:
                content.seek(state.received)
                part = content.read(_PART_BYTES)
                received = state.received
                try:
                    received = self._send_part(path, received, part)
                except RefusedError as error:
                    moves += 1
                    if error.problem.rule != "upload-offset" or moves > _MOST_MOVES:
                        raise
                if state.received < received < size:
                    state = state.model_copy(update={"received": received})
                else:  # another request moved it, or the content is whole
                    state = self._get(path, UploadState)
                progress(state.received, size)
        return state

    def add_document(
        self,
        case_id: UUID,
        case_version: int,
        file: Path,
        **described: Unpack[Described],
    ) -> Receipt:
        """Upload a file, and add it to the case or to an action of it. Raises ``RefusedError``."""
        return self.append(self.document_action(case_id, file, **described), case_id, case_version)

    def document_action(
        self, case_id: UUID, file: Path, **described: Unpack[Described]
    ) -> DocumentAdded:
        """Upload a file, and return the action that adds it. Raises ``RefusedError``.

        The media type is the one that the node found by the content. The action adds a copy of a
        file without its metadata as ``keep_metadata`` says.
        """
        progress = described.get("progress", lambda _, __: None)
        document = self._described(
            case_id,
            file,
            kind=described["kind"],
            title=described["title"],
            language=described.get("language"),
            progress=progress,
            keep_metadata=described.get("keep_metadata"),
            uploaded=described.get("uploaded", lambda _: None),
        )
        content = {
            "acted_at": datetime.now(UTC),
            "belongs_to": described.get("belongs_to"),
            field_of(described["group"]): document,
        }
        return DocumentAdded.model_validate(content)

    def act(
        self,
        action: Action,
        case_id: UUID,
        case_version: int,
        documents: Sequence[DocumentFile] = (),
    ) -> Sequence[Receipt]:
        """Record an action on a case with its documents, and return a receipt for each act.

        :meth:`acts_with_documents` says which acts there are. Raises ``RefusedError``: then the
        acts before the refused one are recorded. Raises ``ValueError`` as that method does.
        """
        acts = self.acts_with_documents(action, new_id(), case_id, documents)
        return [
            self.append(one, case_id, case_version + number, action_id)
            for number, (action_id, one) in enumerate(acts)
        ]

    def acts_with_documents(
        self,
        action: Action,
        action_id: UUID,
        case_id: UUID,
        documents: Sequence[DocumentFile],
        progress: Progress = lambda _, __: None,
        *,
        keep_metadata: bool | None = None,
        uploaded: Uploaded = lambda _: None,
    ) -> Sequence[tuple[UUID, Action]]:
        """Upload the documents of an action, and return the acts to sign, each with its id.

        ``keep_metadata`` and ``uploaded`` are as in :class:`Described`.

        The first act is the action itself. It takes the first document, if its kind takes one at
        that level. Each other document is an act ``document_added`` that belongs to the action.
        Raises ``ValueError`` if the kind or the level of a document must be said, and
        ``RefusedError``.
        """
        own = document_field(type(action))
        usual = USUAL_KINDS.get(action.kind)
        placed: list[tuple[DocumentFile, str, DocumentKind]] = []
        for one in documents:  # before the first upload
            kind = one.kind or usual
            field = field_of(one.level.group) if one.level is not None else own
            if kind is None or field is None:
                raise ValueError(
                    f"{action.kind} takes no document in the same act: say the kind of"
                    f" {one.file.name}, and its field group or the case level"
                )
            placed.append((one, field, kind))
        acts: list[tuple[UUID, Action]] = [(action_id, action)]
        for one, field, kind in placed:
            document = self._described(
                case_id,
                one.file,
                kind=kind,
                title=one.title,
                language=one.language,
                progress=progress,
                keep_metadata=keep_metadata,
                uploaded=uploaded,
            )
            first = acts[0][1]
            if field == own and document_of(first) is None:
                content = first.model_dump(exclude_none=True) | {field: document}
                acts[0] = (action_id, type(first).model_validate(content))
                continue
            added = {"acted_at": datetime.now(UTC), "belongs_to": action_id, field: document}
            acts.append((new_id(), DocumentAdded.model_validate(added)))
        return acts

    def make_documents(
        self,
        case_id: UUID,
        made: MadeKind,
        language: str,
        *,
        form: UUID | None = None,
        beside: str | None = None,
    ) -> Sequence[DocumentAdded]:
        """Let the node make a paper of what it holds, and return the acts that file it.

        The acts are not recorded yet. The papers are uploads of this agency. ``form`` is the
        sending of a communication form. A person's file becomes an act for each field group. Raises
        ``RefusedError``.
        """
        asked = MakingRequest.model_validate(
            {"made": made, "language": language, "form": form, "beside": beside}
        )
        answer = self._request(
            "POST",
            f"/v1/cases/{case_id}/documents/made",
            content=asked.model_dump_json(exclude_none=True),
            headers={"Content-Type": "application/json"},
        )
        found = MadeDocuments.model_validate_json(answer.content).documents
        return [
            DocumentAdded.model_validate(
                {
                    "acted_at": datetime.now(UTC),
                    "belongs_to": one.belongs_to,
                    "paper_as_of": one.paper_as_of,
                    field_of(one.group): one.document,
                }
            )
            for one in found
        ]

    def sign_document(self, document: ListedDocument) -> DocumentAdded:
        """Return the act that signs another agency's document too, by the same digest.

        Read the content first: compare its SHA-256 with the document's.
        """
        return DocumentAdded(
            acted_at=datetime.now(UTC),
            belongs_to=document.belongs_to,
            signs=document.id,
            case_document=document.document,
        )

    def _described(
        self,
        case_id: UUID,
        file: Path,
        *,
        kind: DocumentKind,
        title: str,
        language: str | None,
        progress: Progress,
        keep_metadata: bool | None,
        uploaded: Uploaded,
    ) -> CaseDocument:
        """Upload a file, and describe it with the media type that the node found."""
        state = self.upload(case_id, file, progress=progress)
        uploaded(state)
        if keep_metadata is False or (keep_metadata is None and state.media_type in PICTURES):
            state = self.without_metadata(case_id, state)
        document = {
            "sha256": state.sha256,
            "size": state.size,
            "media_type": state.media_type,
            "document_kind": kind,
            "language": language,
            "title": title,
        }
        return CaseDocument.model_validate(document)

    def metadata(self, case_id: UUID, upload_id: UUID) -> FileMetadata:
        """Return the metadata of an upload, such as a place. Raises ``RefusedError``."""
        path = f"/v1/cases/{case_id}/uploads/{upload_id}/metadata"
        return self._get(path, FileMetadata)

    def without_metadata(self, case_id: UUID, state: UploadState) -> UploadState:
        """Return an upload of the same file without its metadata, in the place of the first.

        A file that is no picture is returned as it is if the node cannot make a copy of it: it is
        signed, has a password or is damaged. Raises ``RefusedError``.
        """
        if state.media_type not in WITHOUT_METADATA:
            return state
        path = f"/v1/cases/{case_id}/uploads/{state.id}"
        try:
            made = self._request("POST", f"{path}/without-metadata")
        except RefusedError as refused:
            if state.media_type in PICTURES or refused.problem.rule not in NO_COPY:
                raise
            return state
        copy = UploadState.model_validate_json(made.content)
        if copy.id != state.id:
            self._request("DELETE", path, headers={"Tus-Resumable": "1.0.0"})
        return copy

    def preview(
        self,
        case_id: UUID,
        document_id: UUID,
        page: int = 1,
        *,
        purpose: Purpose,
        basis: LegalBasis | None = None,
    ) -> DocumentPicture:
        """Return a picture of a page of a document. It is a reading, which is written down.

        Raises ``RefusedError``.
        """
        asked = {"purpose": purpose.value, **({"basis": basis.value} if basis else {})}
        return self._picture(f"/v1/cases/{case_id}/documents/{document_id}/preview", page, asked)

    def upload_preview(
        self, case_id: UUID, upload_id: UUID, page: int = 1, *, purpose: Purpose | None = None
    ) -> DocumentPicture:
        """Return a picture of a page of an upload. Raises ``RefusedError``.

        A redacted version that the node made needs a purpose: the look is a reading of its
        original.
        """
        asked = {"purpose": purpose.value} if purpose is not None else {}
        return self._picture(f"/v1/cases/{case_id}/uploads/{upload_id}/preview", page, asked)

    def _picture(self, path: str, page: int, asked: Mapping[str, str]) -> DocumentPicture:
        answer = self._request("GET", path, params={**asked, "page": page})
        return DocumentPicture(int(answer.headers["document-pages"]), answer.content)

    def documents(
        self,
        case_id: UUID,
        groups: Iterable[FieldGroup] = (),
        purpose: Purpose | None = None,
        basis: LegalBasis | None = None,
    ) -> DocumentPage:
        """Return the case's documents at ``case`` level, and those of groups.

        With groups it is a reading, which is written down. Raises ``RefusedError``.
        """
        asked = {"group": [*groups] or None, "purpose": purpose, "basis": basis}
        return self._get(f"/v1/cases/{case_id}/documents", DocumentPage, asked)

    def redact_document(
        self,
        case_id: UUID,
        document_id: UUID,
        leave_out: str | None = None,
        marks: Iterable[PageMark] = (),
        *,
        purpose: Purpose,
        basis: LegalBasis | None = None,
    ) -> UploadState:
        """Make an upload of a document without some pages and parts of pages, at the node.

        ``leave_out`` names pages, such as ``2,5-7``; ``marks`` are rectangles to hide. It is a
        reading, which is written down. Raises ``RefusedError``.
        """
        asked = RedactionRequest(
            leave_out=leave_out, marks=tuple(marks), purpose=purpose, basis=basis
        )
        return self._made_of(case_id, document_id, "redactions", asked)

    def redacted_upload(
        self,
        case_id: UUID,
        document_id: UUID,
        upload: UUID,
        leave_out: str | None = None,
        pages_marked: str | None = None,
        *,
        purpose: Purpose,
        basis: LegalBasis | None = None,
    ) -> UploadState:
        """Have the node compare an own upload with the document that it is a version of.

        It is a reading, which is written down. Raises ``RefusedError``.
        """
        asked = RedactionRequest(
            upload=upload,
            leave_out=leave_out,
            pages_marked=pages_marked,
            purpose=purpose,
            basis=basis,
        )
        return self._made_of(case_id, document_id, "redactions", asked)

    def compare_version(
        self,
        case_id: UUID,
        document_id: UUID,
        *,
        purpose: Purpose,
        basis: LegalBasis | None = None,
    ) -> VersionComparison:
        """Compare a redacted version with what its action says, and with its original.

        It is a reading of both, which is written down. Raises ``RefusedError``.
        """
        asked = ComparisonRequest(purpose=purpose, basis=basis)
        path = f"/v1/cases/{case_id}/documents/{document_id}/comparison"
        return VersionComparison.model_validate_json(self._send_document(path, asked).content)

    def copy_document(
        self,
        case_id: UUID,
        document_id: UUID,
        to: UUID,
        *,
        purpose: Purpose,
        basis: LegalBasis | None = None,
    ) -> UploadState:
        """Copy a document's content into an upload to another case, at the node.

        It is a reading, which is written down. Raises ``RefusedError``.
        """
        asked = DocumentCopyRequest(to=to, purpose=purpose, basis=basis)
        return self._made_of(case_id, document_id, "copies", asked)

    def _made_of(
        self,
        case_id: UUID,
        document_id: UUID,
        way: str,
        asked: RedactionRequest | DocumentCopyRequest,
    ) -> UploadState:
        """Return the upload that the node makes of a document. Raises ``RefusedError``."""
        path = f"/v1/cases/{case_id}/documents/{document_id}/{way}"
        return UploadState.model_validate_json(self._send_document(path, asked).content)

    def document_inventory(self, case_id: UUID) -> DocumentInventory:
        """Return which contents other countries give of a case's documents, and which this gave.

        Raises ``RefusedError``.
        """
        return self._get(f"/v1/cases/{case_id}/documents/inventory", DocumentInventory)

    def download(
        self,
        case_id: UUID,
        document_id: UUID,
        file: Path,
        *,
        purpose: Purpose,
        basis: LegalBasis | None = None,
        copy: CopyKind = CopyKind.ORIGINAL,
        progress: Progress = lambda _, __: None,
    ) -> str:
        """Write a document's content to a new file, and return its SHA-256 in hexadecimal.

        Compare the digest of an original with the signed one of :meth:`documents`. If the line
        breaks, the rest is asked for from there. A marked copy is asked for anew: each of its pages
        says who got it, and it has another digest each time. The file is removed if it does not
        become whole. Raises ``RefusedError``, and ``FileExistsError`` if the file exists.
        """
        path = f"/v1/cases/{case_id}/documents/{document_id}/content"
        asked = {"purpose": purpose.value, "copy": copy.value}
        asked |= {"basis": basis.value} if basis else {}
        digest = hashlib.sha256()
        with file.open("xb") as written:

            def rest() -> None:
                nonlocal digest
                if copy is CopyKind.MARKED:
                    digest = hashlib.sha256()
                    written.truncate(0)
                    written.seek(0)
                done = written.tell()
                headers = {**self._authorization(), "Range": f"bytes={done}-"}
                with self._http.stream(
                    "GET",
                    path,
                    params=asked,
                    headers=headers,
                    extensions=bounds(_MOST_BYTES, _DOWNLOAD_SECONDS),
                ) as answer:
                    if answer.is_error:
                        raise RefusedError(problem_of(read_bounded(answer)))
                    size = done + int(answer.headers["content-length"])
                    for part in answer.iter_raw():
                        written.write(part)
                        digest.update(part)
                        progress(written.tell(), size)

            try:
                retrying(is_no_answer, seconds=self._patience, backoff=Backoff(0.1, 2.0))(rest)
            except BaseException:
                file.unlink()
                raise
        return digest.hexdigest()

    def subject_documents(
        self,
        case_id: UUID,
        file: Path,
        language: str,
        held_back: Mapping[UUID, HeldBackGround] = MappingProxyType({}),
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Write all documents of a person into a new ZIP archive with an index, for that person.

        The owner of the file alone reads it. The index lists the documents of ``held_back``, which
        are not in the archive. The file is removed if it does not become whole. ``progress`` gets
        how many bytes came. Raises ``RefusedError``, and ``FileExistsError`` if the file exists.
        """
        asked = SubjectArchiveRequest(
            language=language,
            held_back=tuple(HeldBack(document=d, ground=g) for d, g in held_back.items()),
        )
        headers = {"Content-Type": "application/json"}
        path = f"/v1/cases/{case_id}/subject-access/documents"
        with open(file, "xb", opener=_private) as written:

            def whole() -> None:
                written.truncate(0)
                written.seek(0)
                with self._http.stream(
                    "POST",
                    path,
                    content=asked.model_dump_json(),
                    headers={**headers, **self._authorization()},
                    extensions=bounds(_MOST_ARCHIVE_BYTES, _DOWNLOAD_SECONDS),
                ) as answer:
                    if answer.is_error:
                        raise RefusedError(problem_of(read_bounded(answer)))
                    for part in answer.iter_raw():
                        written.write(part)
                        progress(written.tell())

            try:
                retrying(is_no_answer, seconds=self._patience, backoff=Backoff(0.1, 2.0))(whole)
            except BaseException:
                file.unlink()
                raise

    def _send_part(self, path: str, offset: int, part: bytes) -> int:
        """Send a part of an upload, and return the offset that is durable then."""
        headers = {
            "Tus-Resumable": "1.0.0",
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": str(offset),
        }
        answer = self._request("PATCH", path, headers=headers, content=part)
        return int(answer.headers["upload-offset"])


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _measured(content: BinaryIO) -> tuple[int, str]:
    """Return the size and the SHA-256 of a file, in hexadecimal, without reading it at once."""
    digest = hashlib.sha256()
    while part := content.read(_HASHED_AT_ONCE):
        digest.update(part)
    return content.tell(), digest.hexdigest()
