"""Reads the content of each document of a vault, and compares it with the signed digest.

The connection is the database owner's, because no role of a node reads chunks without an entry of
the access log. Nothing of a content is shown: a chunk is decrypted, hashed and forgotten.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow, dict_row
from psycopg.sql import SQL, Identifier

from ledger.signing.country_key import SealError
from ledger.signing.sd_jwt import parse_disclosure
from ledger.store.migrate import vault_schema
from ledger.vault.data_keys import DataKeys
from ledger.vault.documents.chunk_encryption import open_chunk
from ledger.vault.documents.chunk_store import ChunkStore
from ledger.vault.documents.documents import opened_content_key
from ledger.vault.documents.uploads import opened_metadata, place_of
from ledger.vault.field_encryption import unseal
from ledger.vault.ownership import check_owner

_PAGE = 100
_NEXT = """
SELECT * FROM {schema}.documents WHERE action_id IS NOT NULL AND is_whole AND document_id > %s
ORDER BY document_id LIMIT %s
"""
_THERE = """
SELECT FROM {schema}.documents WHERE document_id = %s AND action_id = %s AND content_key = %s
"""
_SIGNED = """
SELECT * FROM {schema}.disclosures
WHERE case_id = %(case)s AND action_id = %(action)s AND field = %(field)s AND sealed IS NOT NULL
"""


class ContentCheck:
    """Checks the contents of one country's documents. ``checked`` counts them."""

    def __init__(self, party: str, keys: DataKeys, chunks: ChunkStore) -> None:
        self._keys = keys
        self._chunks = chunks
        self._party = party
        self._schema = Identifier(vault_schema(party))
        self.checked = 0

    def findings(
        self, conninfo: str, progress: Callable[[int], None] = lambda _: None
    ) -> Iterator[tuple[DictRow, str]]:
        """Yield the row of each document whose content does not hold, and what does not hold.

        ``conninfo`` is the database owner's. ``progress`` gets how many documents are checked.
        Raises ``NotOwnerError``.
        """
        with psycopg.connect(conninfo, autocommit=True, row_factory=dict_row) as connection:
            check_owner(connection, self._party)
            after = UUID(int=0)
            while rows := self._page(connection, after):
                for row in rows:
                    found = self._fault(connection, row)
                    if found is not None and self._is_there(connection, row):
                        yield row, found
                    self.checked += 1
                    progress(self.checked)
                after = rows[-1]["document_id"]

    def _page(self, connection: Connection[DictRow], after: UUID) -> Sequence[DictRow]:
        select = SQL(_NEXT).format(schema=self._schema)
        return connection.execute(select, (after, _PAGE)).fetchall()

    def _is_there(self, connection: Connection[DictRow], row: DictRow) -> bool:
        """Return whether the row is as it was read: a document may be removed meanwhile."""
        there = SQL(_THERE).format(schema=self._schema)
        known = row["document_id"], row["action_id"], row["content_key"]
        return connection.execute(there, known).fetchone() is not None

    def _fault(self, connection: Connection[DictRow], row: DictRow) -> str | None:
        place, digest = place_of(row), hashlib.sha256()
        try:
            content_key = opened_content_key(self._keys, row)
        except SealError:
            return "the key of the document does not open"
        try:
            declared = opened_metadata(content_key, row, place).sha256
        except SealError:
            return "the digest of the document does not open"
        for number in range(place.chunks):
            sealed = self._chunks.get(connection, place.document_id, number, place.length(number))
            if sealed is None:
                return "chunks of the document are missing or were cut"
            try:
                digest.update(open_chunk(content_key, sealed, place, number))
            except SealError:
                return "a chunk of the document was changed"
        if digest.hexdigest() not in self._signed(connection, row):
            return "the content has another digest than the action that was signed"
        if digest.hexdigest() != declared:
            return "the content has another digest than its upload"
        return None

    def _signed(self, connection: Connection[DictRow], row: DictRow) -> set[str]:
        """Return the digests that the disclosures of the document's field have here."""
        at = {"case": row["case_id"], "action": row["action_id"], "field": row["field"]}
        select = SQL(_SIGNED).format(schema=self._schema)
        found = set()
        for disclosure in connection.execute(select, at).fetchall():
            place = {name: disclosure[name] for name in ("case_id", "action_id", "digest", "field")}
            for find in (self._keys.get, self._keys.replaced, self._keys.get):
                data_key = find(row["case_id"])
                try:
                    encoded = data_key and unseal(data_key, bytes(disclosure["sealed"]), **place)
                except SealError:
                    continue
                if encoded:
                    found.add(parse_disclosure(encoded).value["sha256"])
                    break
        return found
