"""Documents that an action has: bound to it with its disclosures, and opened for a reading."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.procedure.readings import Reading
from ledger.refusals import Ground, Refusal
from ledger.signing.country_key import SealError
from ledger.store.database import Database
from ledger.store.migrate import reader_role
from ledger.vault.access_log import open_for
from ledger.vault.data_keys import DataKeys
from ledger.vault.documents.chunk_encryption import (
    CHUNK_BYTES,
    DocumentPlace,
    NamedBy,
    open_chunk,
    unwrap,
    wrap,
    wrap_upload,
)
from ledger.vault.documents.chunk_store import ChunkStore
from ledger.vault.documents.scanning import Scanner
from ledger.vault.documents.uploads import Metadata, Sought, Uploads, opened_metadata, place_of
from ledger.vocabulary.levels import FieldGroup, FieldLevel, Level


class NamedDocument(NamedTuple):
    """A document as a field of an action names it."""

    field: str
    level: FieldLevel
    sha256: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class OpenedDocument:
    """A document whose content key was opened for one entry of the access log."""

    place: DocumentPlace
    metadata: Metadata = field(repr=False)
    _content: Callable[[int], bytes] = field(repr=False)
    reading: Reading
    """The entry of the access log that opens it."""

    def chunk(self, number: int) -> bytes:
        """Return one chunk. Raises ``SealError`` as :meth:`part` does."""
        return self._content(number)

    def part(self, first: int, last: int) -> Iterator[bytes]:
        """Yield the content from one byte to another, both included, a chunk at a time.

        Raises ``SealError`` if a chunk is missing or does not open at its place.
        """
        for number in range(first // CHUNK_BYTES, last // CHUNK_BYTES + 1):
            begins = number * CHUNK_BYTES
            content = self._content(number)
            yield content[max(0, first - begins) : last + 1 - begins]


class Documents(Uploads):
    """The documents and the uploads of one country's vault."""

    def __init__(
        self,
        database: Database,
        party: str,
        keys: DataKeys,
        chunks: ChunkStore,
        scanner: Scanner | None = None,
    ) -> None:
        super().__init__(database, party, keys, chunks, scanner)
        self._reader = reader_role(party)

    def check(
        self, case_id: UUID, agency: str, action: UUID, named: Sequence[NamedDocument]
    ) -> None:
        """Check that each named document is here in whole, as an upload or with the action.

        An upload whose last byte came is read back first. Raises ``Refusal``
        (``document-not-uploaded``, ``document-type`` if its type is another than the named one),
        and as :meth:`settle` does.
        """
        for one in named:
            if self._is_bound(action, one.field):
                continue
            uploads = self.with_content(case_id, agency, one.size, one.sha256)
            settled = [upload for upload in map(self.settle, uploads) if self.is_ready(upload)]
            if not settled:
                raise _not_uploaded(one.field)
            if settled[0].metadata.media_type != one.media_type:
                raise Refusal(
                    Ground.INVALID,
                    "document-type",
                    f"By its content, the document is {settled[0].metadata.media_type}. Name this"
                    " media type in the action.",
                    one.field,
                )

    def bind(
        self,
        connection: Connection[DictRow],
        case_id: UUID,
        agency: str,
        action: UUID,
        named: Sequence[NamedDocument],
        data_key: bytes,
    ) -> None:
        """Give uploads to an action, within the transaction of its deposit.

        The content key of each is encrypted under the person's data key, and is not sealed to the
        country's key any more. Raises ``Refusal`` (``document-not-uploaded``).
        """
        bind = self._sql(
            "UPDATE {}.documents SET upload_key = NULL, content_key = %(key)s,"
            " action_id = %(action)s, field = %(field)s, level = %(level)s,"
            " field_group = %(group)s, touched_at = now() WHERE document_id = %(id)s"
        )
        fetched = self._sql(
            "DELETE FROM {}.documents WHERE action_id = %s AND field = %s AND NOT is_whole"
        )
        if named:
            # Before the rows are locked: a new upload to the case takes this lock first too.
            self._alone_in_case(connection, case_id)
        for one in named:
            if self._has(connection, action, one.field):
                continue
            # Another country was to give it back. The agency has sent it again.
            connection.execute(fetched, (action, one.field))
            uploads = self._of_content(connection, Sought(case_id, agency, one.size, one.sha256))
            upload = next((upload for upload in uploads if self.is_ready(upload)), None)
            if upload is None:
                raise _not_uploaded(one.field)
            values = {
                "key": wrap(
                    data_key,
                    upload.content_key,
                    upload.place,
                    NamedBy(action, one.field, one.level),
                ),
                "action": action,
                "field": one.field,
                "level": one.level.level.value,
                "group": one.level.group.value if one.level.group is not None else None,
                "id": upload.id,
            }
            connection.execute(bind, values)

    def let_go(self, connection: Connection[DictRow], action: UUID) -> None:
        """Make the documents of a refused action uploads again, unless the action has a deposit.

        A document whose key does not open, or whose person was erased, is removed.
        """
        select = self._sql(
            "SELECT * FROM {0}.documents WHERE action_id = %(action)s"
            " AND received_from IS NULL AND is_whole AND NOT EXISTS"
            " (SELECT FROM {0}.deposits WHERE action_id = %(action)s) FOR UPDATE"
        )
        erased = self._sql("SELECT FROM {}.erased WHERE case_id = %s")
        update = self._sql(
            "UPDATE {}.documents SET content_key = NULL, upload_key = %s, action_id = NULL,"
            " field = NULL, level = NULL, field_group = NULL, touched_at = now()"
            " WHERE document_id = %s"
        )
        delete = self._sql("DELETE FROM {}.documents WHERE document_id = %s")
        cases = self._sql("SELECT DISTINCT case_id FROM {}.documents WHERE action_id = %s")
        for row in connection.execute(cases, (action,)).fetchall():
            # Before the rows are locked: who replaces data keys takes this lock first too.
            self._hold_off_erasure(connection, row["case_id"])
        for row in connection.execute(select, {"action": action}).fetchall():
            place = place_of(row)
            try:
                if connection.execute(erased, (place.case_id,)).fetchone() is not None:
                    raise SealError("the person was erased")
                content_key = opened_content_key(self._keys, row)
                upload_key = self._keys.make_upload_key(place.case_id)
            except SealError:
                connection.execute(delete, (place.document_id,))
                continue
            wrapped = wrap_upload(upload_key, content_key, place)
            connection.execute(update, (wrapped, place.document_id))

    def held(self, action_ids: Collection[UUID]) -> dict[UUID, UUID]:
        """Return the document of each action that has one here, by action. Nothing is opened.

        A content that is still fetched from another country is not here.
        """
        select = self._sql(
            "SELECT action_id, document_id FROM {}.documents WHERE action_id = ANY(%s) AND is_whole"
        )
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (list(action_ids),)).fetchall()
        return {row["action_id"]: row["document_id"] for row in rows}

    def level_of(self, action: UUID, case_id: UUID) -> FieldLevel | None:
        """Return the level of an action's document, or ``None`` if its content is not here."""
        select = self._sql(
            "SELECT level, field_group FROM {}.documents"
            " WHERE action_id = %s AND case_id = %s AND is_whole"
        )
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(select, (action, case_id)).fetchone()
        if row is None:
            return None
        return level_of_row(row)

    def levels_of_case(self, case_id: UUID) -> dict[UUID, list[FieldLevel]]:
        """Return the levels of a case's documents by action, of contents that are to come too."""
        select = self._sql(
            "SELECT action_id, level, field_group FROM {}.documents"
            " WHERE case_id = %s AND action_id IS NOT NULL"
        )
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (case_id,)).fetchall()
        levels: dict[UUID, list[FieldLevel]] = {}
        for row in rows:
            levels.setdefault(row["action_id"], []).append(level_of_row(row))
        return levels

    def open(self, reading: Reading, action: UUID) -> OpenedDocument | None:
        """Return the document of an action, as far as an entry of the access log opens it.

        Row-level security compares the rows with the entry. Returns ``None`` if the entry opens no
        document of the action here. Raises ``SealError`` if the content key does not open.
        """
        select = self._sql(
            "SELECT * FROM {}.documents WHERE action_id = %s AND case_id = %s AND is_whole"
        )
        with self._database.transaction(role=self._reader) as connection:
            open_for(connection, reading)
            row = connection.execute(select, (action, reading.asked.case_id)).fetchone()
        if row is None:
            return None
        place = place_of(row)
        content_key = opened_content_key(self._keys, row)

        def content(number: int) -> bytes:
            length = place.length(number)
            sealed = self.sealed_chunk(place.document_id, number, length, self._reader, reading)
            if sealed is None:
                raise SealError("a chunk of the document is missing, or the entry is too old")
            return open_chunk(content_key, sealed, place, number)

        return OpenedDocument(place, opened_metadata(content_key, row, place), content, reading)

    def remove_of(self, connection: Connection[DictRow], actions: Sequence[UUID]) -> None:
        """Remove the documents of actions, within the caller's transaction."""
        delete = self._sql("DELETE FROM {}.documents WHERE action_id = ANY(%s)")
        connection.execute(delete, (list(actions),))

    def remove_received(self, connection: Connection[DictRow], case_id: UUID) -> None:
        """Remove what other countries gave of a case's documents, within the transaction."""
        delete = self._sql(
            "DELETE FROM {}.documents WHERE case_id = %s AND received_from IS NOT NULL"
        )
        connection.execute(delete, (case_id,))

    def remove_of_case(self, connection: Connection[DictRow], case_id: UUID) -> None:
        """Remove all documents and uploads of a case, within the caller's transaction."""
        connection.execute(self._sql("DELETE FROM {}.documents WHERE case_id = %s"), (case_id,))

    def _is_bound(self, action: UUID, name: str) -> bool:
        with self._database.transaction(role=self._role) as connection:
            return self._has(connection, action, name)

    def _has(self, connection: Connection[DictRow], action: UUID, name: str) -> bool:
        select = self._sql(
            "SELECT FROM {}.documents WHERE action_id = %s AND field = %s AND is_whole FOR UPDATE"
        )
        return connection.execute(select, (action, name)).fetchone() is not None


def opened_content_key(keys: DataKeys, row: DictRow) -> bytes:
    """Open the content key of a document's row with the person's key, or with the replaced one.

    Raises ``SealError`` if neither is here or opens it.
    """
    place, wrapped = place_of(row), bytes(row["content_key"])
    for find in (keys.get, keys.replaced, keys.get):
        # A replacement may be completed between the first two.
        data_key = find(place.case_id)
        if data_key is None:
            continue
        try:
            return unwrap(data_key, wrapped, place, _named_by(row))
        except SealError:
            continue
    raise SealError("the key of the document does not open")


def rewrapped(row: DictRow, old: bytes, new: bytes) -> bytes:
    """Return the content key of a document's row under a person's new data key.

    Raises ``SealError`` if it opens under neither key.
    """
    place = place_of(row)
    wrapped, by = bytes(row["content_key"]), _named_by(row)
    try:
        unwrap(new, wrapped, place, by)
    except SealError:
        return wrap(new, unwrap(old, wrapped, place, by), place, by)
    return wrapped


def opens(row: DictRow, data_key: bytes) -> bool:
    """Return whether a data key opens the content key of a document's row."""
    place = place_of(row)
    try:
        unwrap(data_key, bytes(row["content_key"]), place, _named_by(row))
    except SealError:
        return False
    return True


def _named_by(row: DictRow) -> NamedBy:
    return NamedBy(row["action_id"], row["field"], level_of_row(row))


def level_of_row(row: DictRow) -> FieldLevel:
    """Return the level of the field that has the document of a row."""
    group = FieldGroup(row["field_group"]) if row["field_group"] is not None else None
    return FieldLevel(Level(row["level"]), group)


def _not_uploaded(name: str) -> Refusal:
    return Refusal(
        Ground.OUT_OF_PROCEDURE,
        "document-not-uploaded",
        "The whole content of the document is not at this node. Upload it to this case first, then"
        " send the same action again.",
        name,
    )
