"""Uploads: documents that come in piece by piece, before any action has them.

Every acknowledged byte is durable. The content key of an upload is encrypted under a key of the
case's uploads, which lies beside the data keys and is destroyed with them. So no person's key is
made for a document that is never used, and no backup opens an upload of a person who was erased.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import structlog
from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Composed, Identifier
from pydantic import BaseModel, ConfigDict

from ledger.procedure.readings import Reading
from ledger.refusals import Ground, Refusal
from ledger.signing.country_key import SealError
from ledger.store.database import Database
from ledger.store.migrate import vault_role, vault_schema
from ledger.system.identifiers import new_id
from ledger.vault.access_log import open_for
from ledger.vault.data_keys import DataKeys
from ledger.vault.documents.chunk_encryption import (
    CHUNK_BYTES,
    DocumentPlace,
    new_key,
    open_chunk,
    open_metadata,
    seal_chunk,
    seal_metadata,
    unwrap_upload,
    wrap_upload,
)
from ledger.vault.documents.chunk_store import ChunkStore
from ledger.vault.documents.media_types import media_type
from ledger.vault.documents.refused_types import RefusedTypeError
from ledger.vault.documents.scanning import MalwareError, NotScannedError, Scanner
from ledger.vault.erasures import erased_case

_UNUSED_AGE = timedelta(days=1)
"""The time for which an upload that no action has is kept after its last byte."""
_ORPHAN_AGE = timedelta(days=7)
MOST_UNUSED = 500
"""The most uploads to one case of an agency that no action has."""
_log = structlog.get_logger(__name__)


class VersionOf(BaseModel):
    """The document that an upload is a version of, without some of its content.

    The node made the version of it, or compared the two page by page.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    document: UUID
    """The action that has the document."""
    pages_of_original: int | None = None
    """``None`` if no page could be compared."""
    pages_left_out: str | None = None
    pages_marked: str | None = None


class Metadata(BaseModel):
    """The digest and the media type of a content, which are encrypted under the content key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    """In hexadecimal; as the agency declared it, until the content is whole."""
    media_type: str | None = None
    """By the content, once it is whole."""
    is_scanned: bool = False
    """True if a scanner examined the content and found nothing."""
    is_of_node: bool = False
    """True if the node made the content, of documents or fields that it holds.

    The agency did not send it, so each look at it must be a reading of what it was made of."""
    version_of: VersionOf | None = None
    paper_as_of: int | None = None
    """The version of the case of which the node made this paper."""


class Sought(NamedTuple):
    """A content that an agency declared."""

    case_id: UUID
    agency: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that is not used yet."""

    place: DocumentPlace
    agency: str
    received: int
    """The bytes that are durable."""
    is_whole: bool
    """The content is complete, and its digest is the declared one."""
    metadata: Metadata = field(repr=False)
    content_key: bytes = field(repr=False)

    @property
    def id(self) -> UUID:
        """Return the document's id."""
        return self.place.document_id


class Uploads:
    """The uploads of one country's vault."""

    def __init__(
        self,
        database: Database,
        party: str,
        keys: DataKeys,
        chunks: ChunkStore,
        scanner: Scanner | None = None,
    ) -> None:
        """Prepare the uploads. With a ``scanner``, an action has only what the scanner examined."""
        self._scanner = scanner
        self._database = database
        self._party = party
        self._keys = keys
        self.chunks = chunks
        self._role = vault_role(party)
        self._schema = Identifier(vault_schema(party))

    def begin(
        self,
        case_id: UUID,
        agency: str,
        size: int,
        sha256: str,
        *,
        most_of_case: int,
        of_node: bool = False,
    ) -> Upload:
        """Begin an upload, or return the one that the agency began before with the same content.

        ``most_of_case``: how many bytes all documents of the case may have here. ``of_node``: the
        node makes the content. Raises ``Refusal``
        (``case-documents-full``, or ``erased-case`` if the person was erased).
        """
        place = DocumentPlace(new_id(), case_id, size)
        content_key = new_key()
        metadata = Metadata(sha256=sha256, is_of_node=of_node)
        upload = Upload(place, agency, 0, False, metadata, content_key)
        with self._database.transaction(role=self._role) as connection:
            self._hold_off_erasure(connection, case_id)
            self._alone_in_case(connection, case_id)
            erased = self._sql("SELECT FROM {}.erased WHERE case_id = %s")
            if connection.execute(erased, (case_id,)).fetchone() is not None:
                raise erased_case()
            same = self._of_content(connection, Sought(case_id, agency, size, sha256))
            if (known := next(same, None)) is not None:
                return self._begun_by_node(connection, known) if of_node else known
            held = self._sql(
                "SELECT coalesce(sum(size), 0)::bigint AS bytes,"
                " count(*) FILTER (WHERE agency = %(agency)s AND action_id IS NULL) AS unused,"
                " coalesce(sum(size) FILTER (WHERE agency = %(agency)s AND action_id IS NULL), 0)"
                "::bigint AS unused_bytes"
                " FROM {}.documents WHERE case_id = %(case)s AND received_from IS NULL"
            )
            values = {"agency": agency, "case": case_id}
            row = connection.execute(held, values).fetchone()
            most_unused = most_of_case // 2
            if row is not None and row["unused"] >= MOST_UNUSED:
                raise Refusal(
                    Ground.OUT_OF_PROCEDURE,
                    "case-documents-full",
                    f"This agency has {MOST_UNUSED} uploads to this case that no action has. Use"
                    " them or remove them first.",
                    "Upload-Length",
                )
            if row is not None and row["unused"] and row["unused_bytes"] + size > most_unused:
                # Declared sizes count, so one agency could leave no room to the others.
                raise Refusal(
                    Ground.OUT_OF_PROCEDURE,
                    "case-documents-full",
                    f"This agency's uploads to this case that no action has have at most"
                    f" {most_unused} bytes together. Use them or remove them first.",
                    "Upload-Length",
                )
            if row is None or row["bytes"] + size > most_of_case:
                raise Refusal(
                    Ground.OUT_OF_PROCEDURE,
                    "case-documents-full",
                    f"The documents of a case have at most {most_of_case} bytes together. Remove"
                    " an upload that no action has, or send a smaller file.",
                    "Upload-Length",
                )
            insert = self._sql(
                "INSERT INTO {}.documents (document_id, case_id, agency, size, upload_key,"
                " metadata) VALUES (%s, %s, %s, %s, %s, %s)"
            )
            wrapped = wrap_upload(self._keys.make_upload_key(case_id), content_key, place)
            connection.execute(
                insert, (place.document_id, case_id, agency, size, wrapped, _sealed(upload))
            )
        return upload

    def _begun_by_node(self, connection: Connection[DictRow], upload: Upload) -> Upload:
        """Return an upload whose content the node makes, although the agency began it.

        A content that the agency sent in whole stays the agency's own.
        """
        if upload.is_whole:
            return upload
        metadata = upload.metadata.model_copy(update={"is_of_node": True})
        marked = replace(upload, metadata=metadata)
        update = self._sql("UPDATE {}.documents SET metadata = %s WHERE document_id = %s")
        connection.execute(update, (_sealed(marked), upload.id))
        return marked

    def note(self, upload: Upload, **noted: VersionOf | int) -> Upload:
        """Keep with a whole upload what it was made of: fields of its metadata. Raises ``Refusal``.

        An earlier note is replaced: the same content can be made again, of something else."""
        known = upload.metadata.model_dump() | {"version_of": None, "paper_as_of": None}
        metadata = Metadata.model_validate(known | noted)
        with_note = replace(upload, metadata=metadata)
        update = self._sql(
            "UPDATE {}.documents SET metadata = %s WHERE document_id = %s AND is_whole"
            " AND action_id IS NULL"
        )
        with self._database.transaction(role=self._role) as connection:
            if connection.execute(update, (_sealed(with_note), upload.id)).rowcount == 0:
                raise _moved()
        return with_note

    def find(self, document_id: UUID, case_id: UUID, agency: str) -> Upload | None:
        """Return an agency's upload that no action has, or ``None``."""
        select = self._sql(
            "SELECT * FROM {}.documents WHERE document_id = %s AND case_id = %s AND agency = %s"
            " AND action_id IS NULL"
        )
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(select, (document_id, case_id, agency)).fetchone()
        return None if row is None else self._upload(row)

    def bytes_of_case(self, case_id: UUID) -> int:
        """Return the declared bytes of a case's documents, uploads among them."""
        select = self._sql(
            "SELECT coalesce(sum(size), 0)::bigint AS bytes FROM {}.documents WHERE case_id = %s"
        )
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(select, (case_id,)).fetchone()
        return 0 if row is None else int(row["bytes"])

    def unused_bytes(self, agency: str) -> dict[UUID, int]:
        """Return the declared bytes of an agency's uploads that no action has, by case."""
        select = self._sql(
            "SELECT case_id, sum(size)::bigint AS bytes FROM {}.documents"
            " WHERE agency = %s AND action_id IS NULL GROUP BY case_id"
        )
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (agency,)).fetchall()
        return {row["case_id"]: row["bytes"] for row in rows}

    def with_content(self, case_id: UUID, agency: str, size: int, sha256: str) -> Sequence[Upload]:
        """Return an agency's uploads of this content to a case that no action has."""
        sought = Sought(case_id, agency, size, sha256)
        with self._database.transaction(role=self._role) as connection:
            return [*self._of_content(connection, sought)]

    def piece(self, upload: Upload) -> bytes:
        """Return the content of the chunk that is not complete yet.

        Raises ``Refusal``: ``upload-offset`` if another request changed the upload meanwhile, and
        ``upload-damaged`` if the chunk does not open. Then the upload is removed.
        """
        number, length = divmod(upload.received, CHUNK_BYTES)
        if length == 0 or upload.received == upload.place.size:
            return b""
        try:
            return self._content(upload, number, length)
        except SealError:
            now = self.find(upload.id, upload.place.case_id, upload.agency)
            if now is None or now.received != upload.received:
                raise _moved() from None
            self.remove(upload)
            raise _damaged() from None

    def store(self, upload: Upload, content: bytes | bytearray) -> Upload:
        """Store a chunk, or a longer piece of it, after the whole chunks that are here.

        ``content`` begins where the chunk begins. It is durable on return. Raises ``Refusal``
        (``upload-offset``) if another request changed the upload meanwhile. Then no chunk is
        written: it could take the place of one that an action has.
        """
        place, number = upload.place, upload.received // CHUNK_BYTES
        received = number * CHUNK_BYTES + len(content)
        sealed = seal_chunk(upload.content_key, content, place, number)
        update = self._sql(
            "UPDATE {}.documents SET received = %(now)s, touched_at = now()"
            " WHERE document_id = %(id)s AND received = %(before)s AND action_id IS NULL"
        )
        values = {"now": received, "before": upload.received, "id": upload.id}
        with self._database.transaction(role=self._role) as connection:
            # The update locks the row. In any store the chunk is there before the commit that
            # acknowledges it.
            if connection.execute(update, values).rowcount == 0:
                raise _moved()
            self.chunks.put(connection, upload.id, number, len(content), sealed)
        return replace(upload, received=received)

    def content(self, upload: Upload) -> Iterator[bytes]:
        """Yield the content of an upload whose last byte came, a chunk at a time.

        Raises ``Refusal`` (``upload-damaged``) if a chunk does not open. The upload is removed.
        """
        try:
            for number in range(upload.place.chunks):
                yield self._content(upload, number, upload.place.length(number))
        except SealError:
            if self.find(upload.id, upload.place.case_id, upload.agency) is None:
                raise _moved() from None  # an action has it, or it was removed
            self.remove(upload)
            raise _damaged() from None

    def settle(self, upload: Upload) -> Upload:
        """Read back an upload whose last byte came, and mark it as whole.

        Where a scanner is configured, it examines the content first; a whole upload that it has not
        examined is examined now. Any other upload is returned as it is. Raises ``Refusal``
        (``document-digest``, ``document-type``, ``document-infected``) if the content is not the
        declared one, is of a type that is not accepted, or has malware in it. Then the upload is
        removed. Raises ``NotScannedError`` if the scanner does not examine it. Then it stays.
        """
        if self.is_ready(upload) or upload.received < upload.place.size:
            return upload
        metadata = upload.metadata
        if not upload.is_whole:
            metadata = metadata.model_copy(update={"media_type": self._checked_type(upload)})
        if self._scanner is not None:
            self._scan(upload)
            metadata = metadata.model_copy(update={"is_scanned": True})
        # Before the row says that the upload is whole: a process that is killed here removes them
        # when the upload goes on.
        self.chunks.remove_pieces(upload.place)
        settled = replace(upload, is_whole=True, metadata=metadata)
        update = self._sql(
            "UPDATE {}.documents SET is_whole = true, metadata = %s, touched_at = now()"
            " WHERE document_id = %s AND received = size AND action_id IS NULL"
        )
        with self._database.transaction(role=self._role) as connection:
            if connection.execute(update, (_sealed(settled), upload.id)).rowcount == 0:
                raise _moved()
        return settled

    def is_ready(self, upload: Upload) -> bool:
        """Return whether an action can have an upload: it is whole, and examined if it must be."""
        return upload.is_whole and (self._scanner is None or upload.metadata.is_scanned)

    def _checked_type(self, upload: Upload) -> str:
        """Compare the digest of a content with the declared one, and return its media type.

        Raises ``Refusal`` as :meth:`settle` does.
        """
        digest = hashlib.sha256()
        for content in self.content(upload):
            digest.update(content)
        if digest.hexdigest() != upload.metadata.sha256:
            self.remove(upload)
            raise _other_digest()
        try:
            place = upload.place

            def chunk(number: int) -> bytes:
                return self._content(upload, number, place.length(number))

            return media_type(place.size, place.reading(chunk))
        except RefusedTypeError as refused:
            self.remove(upload)
            raise _other_type(refused) from None
        except SealError:
            self.remove(upload)
            raise _damaged() from None

    def examine(self, content: Iterable[bytes]) -> None:
        """Let the scanner examine a content, where one is configured.

        Raises ``MalwareError`` and ``NotScannedError``.
        """
        if self._scanner is None:
            return
        try:
            self._scanner.scan(content)
        except MalwareError as found:
            _log.warning("the scanner refuses a content", party=self._party, found=str(found))
            raise

    def _scan(self, upload: Upload) -> None:
        """Let the scanner examine an upload. Raises as :meth:`settle` does."""
        try:
            self.examine(self.content(upload))
        except MalwareError:
            self.remove(upload)
            raise _infected() from None
        except NotScannedError as error:
            _log.warning("the scanner did not examine an upload", reason=str(error))
            raise

    def remove(self, upload: Upload) -> None:
        """Remove an upload that no action has."""
        delete = self._sql("DELETE FROM {}.documents WHERE document_id = %s AND action_id IS NULL")
        with self._database.transaction(role=self._role) as connection:
            connection.execute(delete, (upload.id,))

    def sweep(self, age: timedelta = _UNUSED_AGE) -> int:
        """Remove uploads without use, and the objects of documents that were removed.

        The key of a case's uploads is destroyed once the case has no upload without use. Returns
        how many uploads were removed.
        """
        unused = self._sql(
            "DELETE FROM {}.documents WHERE action_id IS NULL AND touched_at < now() - %s::interval"
        )
        removed = self._sql("SELECT document_id FROM {}.removed_documents LIMIT 1000")
        done = self._sql("DELETE FROM {}.removed_documents WHERE document_id = ANY(%s)")
        with self._database.transaction(role=self._role) as connection:
            count = connection.execute(unused, (age,)).rowcount
        # Without a removed row too: the process may have been killed after it removed the last one.
        self._destroy_unused_keys()
        while True:
            with self._database.transaction(role=self._role) as connection:
                gone = [row["document_id"] for row in connection.execute(removed).fetchall()]
            if not gone:
                return count
            self.chunks.remove(gone)  # if the store is away, the rows stay for the next sweep
            with self._database.transaction(role=self._role) as connection:
                connection.execute(done, (gone,))

    def remove_orphans(self, age: timedelta = _ORPHAN_AGE) -> int:
        """Remove chunks in an object store whose document has no row. Returns of how many.

        The age leaves time to put back a newer backup of the database, which has their rows.
        """
        select = self._sql("SELECT document_id FROM {}.documents WHERE document_id = ANY(%s)")

        def known(documents: Sequence[UUID]) -> set[UUID]:
            with self._database.transaction(role=self._role) as connection:
                rows = connection.execute(select, (list(documents),)).fetchall()
            return {row["document_id"] for row in rows}

        return len(self.chunks.remove_orphans(known, age))

    def _destroy_unused_keys(self) -> None:
        """Destroy the keys of the uploads of cases in which an action has each document."""
        select = self._sql(
            "SELECT FROM {}.documents WHERE case_id = %s AND action_id IS NULL LIMIT 1"
        )
        for case_id in self._keys.cases_with_upload_key():
            with self._database.transaction(role=self._role) as connection:
                self._alone_in_case(connection, case_id)
                if connection.execute(select, (case_id,)).fetchone() is None:
                    self._keys.destroy_upload_key(case_id)

    def _hold_off_erasure(self, connection: Connection[DictRow], case_id: UUID) -> None:
        """Let an erasure of the case wait until the transaction ends."""
        lock = "SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 0))"
        connection.execute(lock, (str(case_id),))

    def _alone_in_case(self, connection: Connection[DictRow], case_id: UUID) -> None:
        """Let other uploads to the case begin only when the transaction ends."""
        lock = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
        connection.execute(lock, (f"documents of {case_id}",))

    def _of_content(self, connection: Connection[DictRow], sought: Sought) -> Iterator[Upload]:
        """Yield the uploads of a content, and lock their rows until the transaction ends."""
        select = self._sql(
            "SELECT * FROM {}.documents WHERE case_id = %s AND agency = %s AND size = %s"
            " AND action_id IS NULL ORDER BY is_whole DESC, created_at FOR UPDATE"
        )
        values = (sought.case_id, sought.agency, sought.size)
        for row in connection.execute(select, values).fetchall():
            upload = self._upload(row)
            if upload is not None and upload.metadata.sha256 == sought.sha256:
                yield upload

    def _upload(self, row: DictRow) -> Upload | None:
        """Return the upload of a row; ``None`` if the key of the case's uploads is gone."""
        place = place_of(row)
        try:
            upload_key = self._keys.upload_key(place.case_id)
            if upload_key is None:
                raise SealError("the case's uploads have no key any more")
            content_key = unwrap_upload(upload_key, bytes(row["upload_key"]), place)
            metadata = opened_metadata(content_key, row, place)
        except SealError:
            _log.warning("an upload does not open", party=self._party)
            return None
        return Upload(place, row["agency"], row["received"], row["is_whole"], metadata, content_key)

    def _content(self, upload: Upload, number: int, length: int) -> bytes:
        sealed = self.sealed_chunk(upload.id, number, length, self._role)
        if sealed is None:
            raise SealError("a chunk of the document is missing")
        return open_chunk(upload.content_key, sealed, upload.place, number, length)

    def sealed_chunk(
        self, document: UUID, number: int, length: int, role: str, reading: Reading | None = None
    ) -> bytes | None:
        """Return an encrypted chunk, or ``None`` if it is not here or ``role`` may not see it.

        With ``reading``, row-level security compares the row with that entry of the access log.
        """
        if not self.chunks.in_database:
            return self.chunks.get(None, document, number, length)
        with self._database.transaction(role=role) as connection:
            if reading is not None:
                open_for(connection, reading)
            return self.chunks.get(connection, document, number, length)

    def _sql(self, statement: str) -> Composed:
        return SQL(statement).format(self._schema)


def opened_metadata(content_key: bytes, row: DictRow, place: DocumentPlace) -> Metadata:
    """Return the metadata of a row. Raises ``SealError``."""
    return Metadata.model_validate_json(open_metadata(content_key, bytes(row["metadata"]), place))


def place_of(row: DictRow) -> DocumentPlace:
    """Return the place of a document by its row."""
    return DocumentPlace(row["document_id"], row["case_id"], row["size"])


def _sealed(upload: Upload) -> bytes:
    metadata = upload.metadata.model_dump_json().encode()
    return seal_metadata(upload.content_key, metadata, upload.place)


def _moved() -> Refusal:
    return Refusal(
        Ground.OUT_OF_PROCEDURE,
        "upload-offset",
        "The upload is at another offset, or it was removed. Ask for its offset with HEAD, and go"
        " on from there.",
        "Upload-Offset",
    )


def _damaged() -> Refusal:
    return Refusal(
        Ground.OUT_OF_PROCEDURE,
        "upload-damaged",
        "A part of the upload was lost or changed here. It was removed: begin the upload again.",
        "upload",
    )


def _other_digest() -> Refusal:
    return Refusal(
        Ground.INVALID,
        "document-digest",
        "The content that came does not have the SHA-256 that was declared. The upload was removed:"
        " check the file, and begin the upload again.",
        "Upload-Metadata",
    )


def _other_type(refused: RefusedTypeError) -> Refusal:
    return Refusal(Ground.INVALID, "document-type", f"{refused} The upload was removed.", "content")


def _infected() -> Refusal:
    return Refusal(
        Ground.INVALID,
        "document-infected",
        "The malware scanner of this node refuses the file. The upload was removed. Do not open the"
        " file, and tell your security officer.",
        "content",
    )
