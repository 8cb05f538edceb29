"""File numbers of many new cases: looked up before an import, and kept with its cases."""

from collections.abc import Mapping, Sequence
from typing import LiteralString, NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Composed, Identifier

from ledger.store.migrate import vault_schema
from ledger.store.postgres_arrays import Bigints, Byteas, Uuids
from ledger.system.identifiers import new_id
from ledger.vault.agency_values import seal_value
from ledger.vault.file_numbers import KIND, number_form
from ledger.vault.search.search_tokens import SearchKey

_INSERT = """
INSERT INTO {} (id, case_id, agency, kind, sealed, key_id, token)
SELECT t.id, t.case_id, %(agency)s, %(kind)s, t.sealed, %(key)s, t.token
FROM unnest(%(ids)s::uuid[], %(cases)s::uuid[], %(sealed)s::bytea[], %(tokens)s::bigint[])
    AS t (id, case_id, sealed, token)
"""
_TAKEN = """
SELECT token, case_id FROM {}
WHERE token = ANY(%(tokens)s) AND key_id = %(key)s AND agency = %(agency)s AND kind = %(kind)s
"""


class SealedNumber(NamedTuple):
    """The number of a new case, sealed under the person's data key."""

    id: UUID
    case_id: UUID
    sealed: bytes
    number: str
    """In the clear, for its token: it is not stored."""


def seal_number(data_key: bytes, case_id: UUID, agency: str, number: str) -> SealedNumber:
    """Seal an agency's number of a case for its row."""
    row_id = new_id()
    place = {"id": row_id, "case_id": case_id, "agency": agency, "kind": KIND}
    return SealedNumber(row_id, case_id, seal_value(data_key, number, place), number)


def taken_numbers(
    connection: Connection[DictRow],
    party: str,
    agency: str,
    key: SearchKey,
    numbers: Sequence[str],
) -> Mapping[str, UUID]:
    """Return the cases for which an agency uses some of these numbers, in any writing.

    The connection has the role of the vault. Every token must be under ``key``.
    """
    tokens = {key.token(number_form(number)): number for number in numbers}
    asked = {"tokens": Bigints(tokens), "key": key.id, "agency": agency, "kind": KIND}
    rows = connection.execute(_sql(_TAKEN, party), asked).fetchall()
    return {tokens[row["token"]]: row["case_id"] for row in rows}


def put_numbers(
    connection: Connection[DictRow],
    party: str,
    agency: str,
    key: SearchKey,
    numbers: Sequence[SealedNumber],
) -> None:
    """Store the numbers of new cases, in the caller's transaction and the vault's role.

    Raises ``UniqueViolation`` if the agency uses one for another case.
    """
    if not numbers:
        return
    content = {
        "agency": agency,
        "kind": KIND,
        "key": key.id,
        "ids": Uuids(one.id for one in numbers),
        "cases": Uuids(one.case_id for one in numbers),
        "sealed": Byteas(one.sealed for one in numbers),
        "tokens": Bigints(key.token(number_form(one.number)) for one in numbers),
    }
    connection.execute(_sql(_INSERT, party), content)


def _sql(statement: LiteralString, party: str) -> Composed:
    table = SQL("{}.agency_values").format(Identifier(vault_schema(party)))
    return SQL(statement).format(table)
