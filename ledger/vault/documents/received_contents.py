"""Contents that other countries give this one: which are expected, what came, and what is held.

The row of a document is made with the field that names it, in the transaction of that deposit. So
the country's node knows which contents it should hold, before any chunk is here. Chunks are kept
under a content key of this country's own, which is encrypted under the person's data key from the
beginning: an erasure in the middle closes them too.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

import structlog
from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import Composed

from ledger.signing.country_key import SealError
from ledger.signing.signed_action import SignedAction
from ledger.store.database import Database
from ledger.system.identifiers import new_id
from ledger.vault.data_keys import DataKeys
from ledger.vault.documents.chunk_encryption import (
    CHUNK_BYTES,
    DocumentPlace,
    NamedBy,
    new_key,
    open_chunk,
    seal_chunk,
    seal_metadata,
    wrap,
)
from ledger.vault.documents.content_messages import ContentRefusal
from ledger.vault.documents.content_standings import ContentStandings
from ledger.vault.documents.documents import (
    Documents,
    NamedDocument,
    level_of_row,
    opened_content_key,
)
from ledger.vault.documents.given_contents import NamedContent
from ledger.vault.documents.media_types import media_type
from ledger.vault.documents.refused_types import RefusedTypeError
from ledger.vault.documents.scanning import MalwareError, NotScannedError
from ledger.vault.documents.uploads import Metadata, opened_metadata, place_of

_EXPECTED = "SELECT *, false AS is_due FROM {documents} JOIN {expected} USING (document_id)"
# One of each country of origin in turn: one whose node is away keeps no other waiting.
_AWAITED = """
SELECT * FROM (
    SELECT *, (asked_at IS NULL AND refused_at IS NULL)
        OR (asked_at < %(began)s AND refused IS NULL)
        OR greatest(asked_at, came_at, refused_at) <= now() - least(
            %(patience)s::interval * (2 ^ least(greatest(tries - 1, 0), 12)), interval '6 hours')
        AS is_due
    FROM {documents} JOIN {expected} USING (document_id)) AS awaited
WHERE (held_at IS NULL AND (is_due OR document_id = ANY(%(also)s)
        OR (%(grown)s AND refused = ANY(%(by_ledger)s)
            AND refused_at <= now() - %(patience)s::interval)))
    OR (held_at IS NOT NULL AND told_at IS NULL)
ORDER BY document_id = ANY(%(also)s) DESC,
    row_number() OVER (PARTITION BY received_from ORDER BY tries, since, document_id), document_id
LIMIT %(limit)s
"""
_BY_LEDGER = (ContentRefusal.NOT_DUE, ContentRefusal.WITHDRAWN, ContentRefusal.ACCESS_MATRIX)
"""These follow from the ledger, so this node can tell when they end."""
_OF_WHOLE_CONTENTS = (ContentRefusal.DIGEST, ContentRefusal.TYPE, ContentRefusal.INFECTED)
"""These are found in a content whose last chunk came."""
_log = structlog.get_logger(__name__)


class Expected(NamedTuple):
    """A document that a deposit names, and the digest of the disclosure that names it."""

    document: NamedDocument
    digest: str


@dataclass(frozen=True, slots=True)
class AwaitedContent:
    """A content that is not whole here, or whose holding was not confirmed yet."""

    place: DocumentPlace
    content: NamedContent
    origin: str | None
    received: int
    since: datetime
    asked: str | None
    tries: int
    refused: ContentRefusal | None
    refused_since_asked: bool
    """True if the refusal is the answer of the country that was asked last."""
    is_due: bool
    """True if the country may be asked, or asked again, now."""
    is_held: bool

    @classmethod
    def of(cls, row: DictRow) -> "AwaitedContent":
        content = NamedContent(row["action_id"], row["field"], level_of_row(row), row["digest"])
        return cls(
            place_of(row),
            content,
            row["received_from"],
            row["received"],
            row["since"],
            row["asked"],
            row["tries"],
            ContentRefusal(row["refused"]) if row["refused"] is not None else None,
            row["refused_at"] is not None
            and row["asked_at"] is not None
            and row["refused_at"] >= row["asked_at"],
            row["is_due"],
            row["held_at"] is not None,
        )

    @property
    def id(self) -> UUID:
        """Return the document's id."""
        return self.place.document_id


class ReceivedContents(ContentStandings):
    """Takes in the contents that other countries give one country's vault."""

    def __init__(
        self, database: Database, party: str, keys: DataKeys, documents: Documents
    ) -> None:
        super().__init__(database, party)
        self._keys = keys
        self._documents = documents

    def expect(
        self,
        connection: Connection[DictRow],
        case_id: UUID,
        action: SignedAction,
        named: Sequence[Expected],
        received_from: str | None,
        data_key: bytes,
    ) -> None:
        """Note that contents are to come, within the transaction of the deposit that names them.

        A document that is here already stays as it is.
        """
        # Two parcels may bring the same document at the same time.
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"documents of {case_id}",)
        )
        known = self._sql("SELECT FROM {documents} WHERE action_id = %s AND field = %s")
        insert = self._sql(
            "WITH made AS (INSERT INTO {documents} (document_id, case_id, agency, size,"
            " content_key, metadata, action_id, field, level, field_group, received_from)"
            " VALUES (%(id)s, %(case)s, %(agency)s, %(size)s, %(key)s, %(metadata)s, %(action)s,"
            " %(field)s, %(level)s, %(group)s, %(from)s) RETURNING document_id)"
            " INSERT INTO {expected} (document_id, digest) SELECT document_id, %(digest)s FROM made"
        )
        for one, digest in named:
            if connection.execute(known, (action.id, one.field)).fetchone() is not None:
                continue
            place, content_key = DocumentPlace(new_id(), case_id, one.size), new_key()
            metadata = Metadata(sha256=one.sha256, media_type=one.media_type)
            group = one.level.group
            values = {
                "id": place.document_id,
                "case": case_id,
                "agency": action.agency,
                "size": one.size,
                "key": wrap(data_key, content_key, place, NamedBy(action.id, one.field, one.level)),
                "metadata": seal_metadata(content_key, metadata.model_dump_json().encode(), place),
                "action": action.id,
                "field": one.field,
                "level": one.level.level.value,
                "group": group.value if group is not None else None,
                "from": received_from,
                "digest": digest,
            }
            connection.execute(insert, values)

    def awaited(
        self,
        limit: int,
        *,
        patience: timedelta,
        began: datetime,
        also: Collection[UUID] = (),
        has_grown: bool = False,
    ) -> Sequence[AwaitedContent]:
        """Return contents that are to be asked for now, and those that ``also`` names.

        A question without an answer is repeated after ``patience``, then after twice as long each
        time, six hours at most. A content that was asked for before ``began``, when this process
        began, is asked for at once: this process does not know what was asked. Held contents that
        were not confirmed come too. With ``has_grown``, contents come too whose refusal by the
        ledger may have ended.
        """
        named = {
            "limit": limit,
            "patience": patience,
            "began": began,
            "also": list(also),
            "grown": has_grown,
            "by_ledger": [one.value for one in _BY_LEDGER],
        }
        return [AwaitedContent.of(row) for row in self._rows(self._sql(_AWAITED), named)]

    def is_idle(self) -> bool:
        """Return whether no content is awaited, and none is to be confirmed."""
        select = self._sql(
            "SELECT FROM {expected} WHERE held_at IS NULL OR told_at IS NULL LIMIT 1"
        )
        return not self._rows(select, {})

    def find(self, document_id: UUID) -> AwaitedContent | None:
        """Return a content that another country gives, or ``None``."""
        select = self._sql(_EXPECTED + " WHERE document_id = %(id)s")
        rows = self._rows(select, {"id": document_id})
        return AwaitedContent.of(rows[0]) if rows else None

    def asked(self, document_id: UUID, country: str) -> None:
        """Note that a country is asked for a content."""
        update = (
            "UPDATE {expected} SET asked = %(country)s, asked_at = now(), tries = tries + 1"
            " WHERE document_id = %(id)s"
        )
        self._change(update, {"id": document_id, "country": country})

    def refuse(self, document_id: UUID, why: ContentRefusal) -> None:
        """Note the rule by which a content does not come. It is asked for again later."""
        update = (
            "UPDATE {expected} SET refused = %(why)s, refused_at = now(),"
            " tries = greatest(tries, 1) + (refused IS NOT DISTINCT FROM %(why)s)::integer"
            " WHERE document_id = %(id)s AND held_at IS NULL"
        )
        self._change(update, {"id": document_id, "why": why.value})

    def told(self, document_id: UUID) -> None:
        """Note that the statement that a content is held was handed in."""
        update = "UPDATE {expected} SET told_at = now() WHERE document_id = %(id)s"
        self._change(update, {"id": document_id})

    def untold(self, document_id: UUID) -> None:
        """Let the statement that a content is held be handed in again."""
        update = "UPDATE {expected} SET told_at = NULL WHERE document_id = %(id)s"
        self._change(update, {"id": document_id})

    def bytes_from(self, case_id: UUID, origin: str | None) -> int:
        """Return the declared bytes of all documents of a case that came from one country."""
        select = self._sql(
            "SELECT coalesce(sum(size), 0)::bigint AS bytes FROM {documents}"
            " WHERE case_id = %(case)s AND received_from = %(origin)s"
        )
        (row,) = self._rows(select, {"case": case_id, "origin": origin})
        return int(row["bytes"])

    def store(self, document_id: UUID, number: int, content: bytes) -> int | None:
        """Store the next chunk of a content, and return the bytes that are durable then.

        Returns ``None``, and stores nothing, if another chunk comes next or the document is gone.
        Raises ``SealError`` if the document's key does not open.
        """
        row = self._row(document_id)
        if row is None or row["is_whole"] or row["received"] != number * CHUNK_BYTES:
            return None
        place = place_of(row)
        sealed = seal_chunk(opened_content_key(self._keys, row), content, place, number)
        received = int(row["received"]) + len(content)
        update = self._sql(
            "WITH moved AS (UPDATE {documents} SET received = %(now)s, touched_at = now()"
            " WHERE document_id = %(id)s AND received = %(before)s AND NOT is_whole"
            " RETURNING document_id)"
            " UPDATE {expected} e SET came_at = now(),"
            " tries = CASE WHEN refused = ANY(%(found)s) THEN tries ELSE 0 END,"
            " refused = CASE WHEN refused = ANY(%(found)s) THEN refused END,"
            " refused_at = CASE WHEN refused = ANY(%(found)s) THEN refused_at END"
            " FROM moved WHERE e.document_id = moved.document_id"
        )
        # What was found in the whole content before is settled by a whole content alone.
        found = [one.value for one in _OF_WHOLE_CONTENTS]
        values = {"now": received, "id": document_id, "before": row["received"], "found": found}
        with self._database.transaction(role=self._role) as connection:
            # The update locks the row: an erasure waits, and the chunk is there before the commit.
            if connection.execute(update, values).rowcount == 0:
                return None
            self._documents.chunks.put(connection, document_id, number, len(content), sealed)
        return received

    def settle(self, document_id: UUID) -> bool:
        """Read back a content whose last chunk came, and hold it if it is the signed one.

        Otherwise its chunks do not count, and the reason is noted. Returns whether it is held.
        """
        row = self._row(document_id)
        if row is None or row["received"] < row["size"]:
            return False
        if row["is_whole"]:
            return True
        place = place_of(row)
        try:
            wrong = self._wrong_with(row, place)
        except SealError:
            _log.error("a content that came does not open here", party=self._party)
            self._begin_again(document_id)
            return False
        except NotScannedError as error:  # it is examined in the next round
            _log.warning("the scanner did not examine a content", reason=str(error))
            return False
        if wrong is not None:
            self._begin_again(document_id, wrong)
            return False
        update = self._sql(
            "WITH whole AS (UPDATE {documents} SET is_whole = true, touched_at = now()"
            " WHERE document_id = %(id)s AND received = size RETURNING document_id)"
            " UPDATE {expected} e SET held_at = now(), told_at = NULL, refused = NULL,"
            " refused_at = NULL FROM whole WHERE e.document_id = whole.document_id"
        )
        return self._execute(update, {"id": document_id}) > 0

    def fetch_again(self, document_ids: Collection[UUID]) -> int:
        """Let contents whose chunks are gone or damaged come again, and return how many.

        A document that no other country gives stays as it is.
        """
        return sum(self._begin_again(one) for one in document_ids)

    def _wrong_with(self, row: DictRow, place: DocumentPlace) -> ContentRefusal | None:
        """Return the reason for which a content is not held, or ``None`` if it is the signed one.

        Raises ``SealError`` if a chunk does not open, and ``NotScannedError`` if a scanner is
        configured and does not examine the content.
        """
        content_key = opened_content_key(self._keys, row)
        metadata = opened_metadata(content_key, row, place)

        def chunk(number: int) -> bytes:
            length = place.length(number)
            sealed = self._documents.sealed_chunk(place.document_id, number, length, self._role)
            if sealed is None:
                raise SealError("a chunk of the document is missing")
            return open_chunk(content_key, sealed, place, number)

        digest = hashlib.sha256()
        for number in range(place.chunks):
            digest.update(chunk(number))
        if digest.hexdigest() != metadata.sha256:
            return ContentRefusal.DIGEST
        try:
            if media_type(place.size, place.reading(chunk)) != metadata.media_type:
                return ContentRefusal.TYPE
        except RefusedTypeError:
            return ContentRefusal.TYPE
        try:
            self._documents.examine(map(chunk, range(place.chunks)))
        except MalwareError:
            return ContentRefusal.INFECTED
        return None

    def _begin_again(self, document_id: UUID, why: ContentRefusal | None = None) -> bool:
        update = self._sql(
            "WITH begun AS (UPDATE {documents} SET is_whole = false, received = 0,"
            " touched_at = now() WHERE document_id = %(id)s AND EXISTS (SELECT FROM {expected} x"
            " WHERE x.document_id = %(id)s) RETURNING document_id)"
            " UPDATE {expected} e SET held_at = NULL, told_at = NULL,"
            " since = CASE WHEN e.held_at IS NULL THEN e.since ELSE now() END,"
            " tries = CASE WHEN %(why)s::text IS NULL THEN 0 ELSE e.tries + 1 END,"
            " asked_at = CASE WHEN %(why)s::text IS NULL THEN NULL ELSE e.asked_at END,"
            " refused = %(why)s, refused_at = CASE WHEN %(why)s::text IS NULL THEN NULL"
            " ELSE now() END FROM begun WHERE e.document_id = begun.document_id"
        )
        values = {"id": document_id, "why": why.value if why is not None else None}
        return self._execute(update, values) > 0

    def _row(self, document_id: UUID) -> DictRow | None:
        select = self._sql(
            "SELECT d.* FROM {documents} d JOIN {expected} USING (document_id)"
            " WHERE document_id = %(id)s"
        )
        rows = self._rows(select, {"id": document_id})
        return rows[0] if rows else None

    def _change(self, statement: LiteralString, values: dict[str, Any]) -> int:
        return self._execute(self._sql(statement), values)

    def _execute(self, statement: Composed, values: dict[str, Any]) -> int:
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(statement, values).rowcount
