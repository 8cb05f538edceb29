"""Values that an agency keeps for itself in its country's vault, each sealed under a data key.

No event and no parcel has them. A value on a case is under the person's data key, so an erasure
closes it in every copy of the database.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Composed, Identifier

from ledger.signing.country_key import SealError
from ledger.store.database import Database
from ledger.store.migrate import vault_role, vault_schema
from ledger.vault.data_keys import DataKeys
from ledger.vault.erasures import erased_case
from ledger.vault.field_encryption import seal, unseal
from ledger.vault.inventory import key_id

_TRIES = 3
"""A data key may be replaced while a value is sealed under it; it is sealed again then."""


class AgencyValues:
    """The table of the agencies' own values in one country's vault."""

    def __init__(self, database: Database, party: str, keys: DataKeys) -> None:
        self._database = database
        self._party = party
        self._keys = keys
        self._role = vault_role(party)
        self._schema = Identifier(vault_schema(party))

    def remove_of_case(self, connection: Connection[DictRow], case_id: UUID) -> None:
        """Remove all values on a case, within the caller's transaction."""
        connection.execute(
            self._sql("DELETE FROM {schema}.agency_values WHERE case_id = %s"), (case_id,)
        )

    def _write(
        self,
        subject: UUID,
        data_key: Callable[[UUID], bytes],
        write: Callable[[Connection[DictRow], bytes], None],
    ) -> None:
        """Call ``write`` in a transaction, with a data key that is not being replaced.

        Raises ``Refusal`` (``erased-case``), and as ``data_key`` does.
        """
        for _ in range(_TRIES):
            key = data_key(subject)
            with self._database.transaction(role=self._role) as connection:
                # `erase` and a replacement of data keys take this lock alone.
                connection.execute(
                    "SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 0))", (str(subject),)
                )
                asked = {"subject": subject, "key": key_id(key)}
                row = connection.execute(self._sql(_STANDING), asked).fetchone()
                is_erased = row is not None and row["erased"]
                if not is_erased and row is not None and not row["replaced"]:
                    write(connection, key)
                    return
            if is_erased:
                self._keys.destroy(subject)  # one made since the erasure closes nothing
                raise erased_case()
        raise SealError(f"a data key of {self._party} is replaced again and again")

    def _opened(self, row: DictRow) -> str:
        """Return the value of a row. Raises ``SealError`` if it opens with no key here."""
        for find in (self._keys.get, self._keys.replaced, self._keys.get):
            # A replacement may be completed between the first two.
            key = find(row["case_id"])
            if key is None:
                continue
            try:
                return open_value(key, row)
            except SealError:
                continue
        raise SealError("a value of an agency does not open")

    def _sql(self, statement: Any) -> Composed:
        return SQL(statement).format(schema=self._schema)


_STANDING = """
SELECT EXISTS (SELECT FROM {schema}.erased WHERE case_id = %(subject)s) AS erased,
    EXISTS (SELECT FROM {schema}.replaced_keys
        WHERE case_id = %(subject)s AND key_id = %(key)s) AS replaced
"""


def seal_value(data_key: bytes, value: str, row: DictRow) -> bytes:
    """Encrypt a value for its row: the row's id, case, agency and kind are bound to it."""
    return seal(data_key, value, **_place(row))


def open_value(data_key: bytes, row: DictRow) -> str:
    """Return the value of a row. Raises ``SealError`` if the key does not open it there."""
    return unseal(data_key, bytes(row["sealed"]), **_place(row))


def sealed_again(row: DictRow, old: bytes, new: bytes) -> bytes:
    """Return a row's value under a person's new data key.

    Raises ``SealError`` if it opens under neither key.
    """
    try:
        open_value(new, row)
    except SealError:
        return seal_value(new, open_value(old, row), row)
    return bytes(row["sealed"])


def _place(row: DictRow) -> dict[str, Any]:
    return {
        "case_id": row["case_id"],
        "action_id": row["id"],
        "digest": row["agency"],
        "field": row["kind"],
    }
