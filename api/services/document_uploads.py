"""Takes in the contents of documents, before an action names them."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from uuid import UUID

from api.runtime.readiness import check_may_record
from api.runtime.trouble import Trouble
from api.services.case_participation import sees_case
from ledger.application import Ledger
from ledger.procedure.protocol import NODE, OVERSIGHT, Agency, Protocol
from ledger.refusals import Ground, Refusal
from ledger.vault.documents.chunk_encryption import CHUNK_BYTES
from ledger.vault.documents.uploads import Upload, Uploads, VersionOf
from ledger.vault.vault import Vaults


class DocumentUploads:
    """The uploads of agencies to the vaults of this node. It does not ask the ledger node."""

    def __init__(
        self, ledger: Ledger, vaults: Vaults, troubles: Callable[[], Sequence[Trouble]]
    ) -> None:
        """Prepare the uploads.

        ``troubles`` returns the troubles of the disk, which may forbid that anything is taken in.
        """
        self._ledger = ledger
        self._vaults = vaults
        self._troubles = troubles

    def begin(
        self,
        agency: Agency,
        case_id: UUID,
        size: int,
        sha256: str,
        protocol: Protocol,
        *,
        of_node: bool = False,
    ) -> Upload:
        """Begin an upload, or return the one with this content that the agency began before.

        ``of_node``: this node makes the content, of documents or fields that it holds. The case may
        be unknown here: its opening may be on its way to the ledger node. Raises ``Refusal``
        (``no-uploads``, ``unknown-case``, ``document-too-large``, ``case-documents-full``), and a
        ``Problem`` if nothing may be taken in now.
        """
        is_known = self.check_sender(agency, case_id)
        limits = protocol.document_limits
        if size > limits.max_bytes:
            raise Refusal(
                Ground.INVALID,
                "document-too-large",
                f"A document has at most {limits.max_bytes} bytes. Send a smaller file.",
                "Upload-Length",
            )
        check_may_record(self._troubles())
        uploads = self._vaults.of(agency.party).documents
        if not is_known:
            self._check_room(uploads.unused_bytes(agency.id), size, limits.max_case_bytes)
        return uploads.settle(
            uploads.begin(
                case_id,
                agency.id,
                size,
                sha256,
                most_of_case=limits.max_case_bytes,
                of_node=of_node,
            )
        )

    def find(self, agency: Agency, case_id: UUID, upload_id: UUID) -> Upload:
        """Return an agency's upload. Raises ``Refusal`` (``unknown-upload``).

        A whole one is checked if that is not done yet, as ``Uploads.settle`` does.
        """
        uploads = self._vaults.of(agency.party).documents
        return uploads.settle(self._known(agency, case_id, upload_id))

    def find_whole(self, agency: Agency, case_id: UUID, upload_id: UUID) -> Upload:
        """Return an agency's upload, whose content is here in whole.

        Raises ``Refusal`` (``unknown-upload``, ``upload-not-whole``).
        """
        upload = self.find(agency, case_id, upload_id)
        if not upload.is_whole:
            raise Refusal(
                Ground.OUT_OF_PROCEDURE,
                "upload-not-whole",
                "The upload is not complete yet. Send the rest first.",
            )
        return upload

    def content(self, agency: Agency, upload: Upload) -> Iterator[bytes]:
        """Return the content of an agency's whole upload, a chunk at a time.

        Raises ``Refusal`` (``upload-damaged``) if a chunk does not open. The upload is removed.
        """
        return self._vaults.of(agency.party).documents.content(upload)

    def note_version(self, agency: Agency, upload: Upload, version: VersionOf) -> Upload:
        """Keep with an agency's whole upload which document it is a version of."""
        return self._vaults.of(agency.party).documents.note(upload, version_of=version)

    def note_paper(self, agency: Agency, upload: Upload, as_of: int) -> Upload:
        """Keep with a paper that the node made of which version of the case it is."""
        return self._vaults.of(agency.party).documents.note(upload, paper_as_of=as_of)

    def _known(self, agency: Agency, case_id: UUID, upload_id: UUID) -> Upload:
        uploads = self._vaults.of(agency.party).documents
        upload = uploads.find(upload_id, case_id, agency.id)
        if upload is not None or agency.role in (NODE, OVERSIGHT):
            self.check_sender(agency, case_id)
        if upload is None:  # the same answer whether or not there is such a case
            raise Refusal(
                Ground.UNKNOWN,
                "unknown-upload",
                "There is no such upload of this agency. An action may have it already, or it was"
                " removed because no action had it within a day: begin it again.",
            )
        return upload

    def remove(self, agency: Agency, case_id: UUID, upload_id: UUID) -> None:
        """Remove an agency's upload. Raises ``Refusal`` (``unknown-upload``)."""
        uploads = self._vaults.of(agency.party).documents
        uploads.remove(self._known(agency, case_id, upload_id))

    def writer(self, agency: Agency, case_id: UUID, upload_id: UUID, offset: int) -> "UploadWriter":
        """Return a writer that goes on at an offset.

        Raises ``Refusal`` (``upload-offset``) if the upload is at another one.
        """
        check_may_record(self._troubles())
        upload = self.find(agency, case_id, upload_id)
        if offset != upload.received:
            raise Refusal(
                Ground.OUT_OF_PROCEDURE,
                "upload-offset",
                f"The upload is at offset {upload.received}. Go on from there.",
                "Upload-Offset",
            )
        return UploadWriter(self._vaults.of(agency.party).documents, upload)

    def take(
        self, agency: Agency, case_id: UUID, content: bytes, protocol: Protocol
    ) -> tuple[Upload, str]:
        """Keep a content that this node made as an upload, and return its media type too.

        Raises ``Refusal`` as :meth:`begin` does.
        """
        digest = hashlib.sha256(content).hexdigest()
        begun = self.begin(agency, case_id, len(content), digest, protocol, of_node=True)
        rest = memoryview(content)[begun.received :]
        writer = UploadWriter(self._vaults.of(agency.party).documents, begun)
        writer.open()
        while rest:
            rest = writer.fill(rest)
            writer.store()
        upload = writer.settle()
        if upload.metadata.media_type is None:
            raise RuntimeError("the node made a content of no accepted type")
        return upload, upload.metadata.media_type

    def _check_room(self, unused: Mapping[UUID, int], size: int, most: int) -> None:
        """Check that an agency's uploads to cases that are unknown here leave room for one more.

        The ids of such cases are as the agency chose them, so a limit for each case bounds nothing.
        Raises ``Refusal`` (``case-documents-full``).
        """
        if sum(unused.values()) + size <= most:
            return
        if size + sum(n for case, n in unused.items() if self._ledger.case(case) is None) > most:
            raise Refusal(
                Ground.OUT_OF_PROCEDURE,
                "case-documents-full",
                f"This node does not know the case yet. An agency's uploads to such cases have at"
                f" most {most} bytes together. Open the case first, or remove an upload.",
                "Upload-Length",
            )

    def check_sender(self, agency: Agency, case_id: UUID) -> bool:
        """Check that an agency may send documents of a case. Returns whether the case is known.

        Raises ``Refusal`` (``no-uploads``, ``unknown-case``).
        """
        if agency.role in (NODE, OVERSIGHT):
            raise Refusal(
                Ground.NOT_ALLOWED,
                "no-uploads",
                "Nodes and oversight bodies send no documents: the agency that acts sends them.",
            )
        case = self._ledger.case(case_id)
        if case is not None and not sees_case(self._ledger, agency, case):
            raise Refusal(
                Ground.UNKNOWN, "unknown-case", "There is no such case for this agency to see."
            )
        return case is not None


class UploadWriter:
    """Cuts the body of one request into chunks. It holds at most one chunk."""

    def __init__(self, uploads: Uploads, upload: Upload) -> None:
        self._uploads = uploads
        self.upload = upload
        self._chunk = bytearray()
        self._stored = 0
        self.is_open = False
        """True while the chunk is in memory."""

    def open(self) -> None:
        """Read back the piece of the chunk that is not complete. Raises ``Refusal``.

        :meth:`fill` needs it, at first and after :meth:`close`.
        """
        if not self.is_open:
            self._chunk = bytearray(self._uploads.piece(self.upload))
            self._stored = len(self._chunk)
            self.is_open = True

    def close(self) -> None:
        """Store the piece that is here, and free its memory. Raises ``Refusal``."""
        self.store()
        self._chunk, self._stored, self.is_open = bytearray(), 0, False

    @property
    def left(self) -> int:
        """Return how many bytes the upload can still take."""
        ahead = len(self._chunk) - self._stored
        return self.upload.place.size - self.upload.received - ahead

    @property
    def is_full(self) -> bool:
        """Return whether the chunk must be stored before anything is filled in."""
        number = self.upload.received // CHUNK_BYTES
        is_over = self.upload.received == self.upload.place.size
        return not is_over and len(self._chunk) == self.upload.place.length(number)

    def fill(self, data: memoryview) -> memoryview:
        """Take as many bytes as the chunk has room for, and return the rest."""
        if not self.is_open:
            raise RuntimeError("the chunk is not open")
        number = self.upload.received // CHUNK_BYTES
        room = self.upload.place.length(number) - len(self._chunk)
        self._chunk += data[:room]
        return data[room:]

    def store(self) -> None:
        """Store the chunk, or the piece that is here, durably. Raises ``Refusal``."""
        if len(self._chunk) == self._stored:
            return
        was_full = self.is_full
        self.upload = self._uploads.store(self.upload, self._chunk)
        self._stored = len(self._chunk)
        if was_full:
            self._chunk, self._stored = bytearray(), 0

    def settle(self) -> Upload:
        """Check the whole content if the last byte is here. Raises ``Refusal``."""
        self.upload = self._uploads.settle(self.upload)
        return self.upload
