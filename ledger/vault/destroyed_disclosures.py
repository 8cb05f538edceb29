"""The disclosures of annulled actions that two persons had destroyed, in one country's vault.

The destruction is noted twice. The vault's table lets nothing of the action in again. A file beside
the data keys names the action too. The file is no part of a backup of the database: if the database
is put back to an older copy, no destroyed disclosure in it is opened, and its rows are removed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.sql import SQL, Composed, Identifier

from ledger.store.database import Database
from ledger.store.migrate import vault_role, vault_schema
from ledger.vault.data_keys import DataKeys

_TABLES = ("disclosures", "deposits", "missing", "asked", "documents", "contents_given")


@dataclass(frozen=True, slots=True)
class DestroyedRow:
    """The row of a destruction that was carried out."""

    action: UUID
    case_id: UUID
    order: UUID
    destroyed_at: datetime


class DestroyedDisclosures:
    """Destroys what single actions disclosed, and keeps which actions these are."""

    def __init__(self, database: Database, party: str, keys: DataKeys) -> None:
        self._database = database
        self._keys = keys
        self._role = vault_role(party)
        self._schema = Identifier(vault_schema(party))

    def destroy(
        self, case_id: UUID, action: UUID, order: UUID, *, is_confirmed: bool = False
    ) -> int:
        """Remove all that an action disclosed, and let nothing of it in again.

        The destruction is durable on return, and repeating it is harmless. ``order`` is the action
        that approved it. ``is_confirmed``: whether the ledger needs no confirmation of it. Returns
        how many disclosures were removed.
        """
        note = self._sql(
            "INSERT INTO {}.destroyed (action_id, case_id, order_id, confirmed_at)"
            " VALUES (%s, %s, %s, CASE WHEN %s THEN now() END) ON CONFLICT DO NOTHING"
        )
        with self._database.transaction(role=self._role) as connection:
            # A deposit of the person takes this lock too, shared.
            connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (str(case_id),)
            )
            connection.execute(note, (action, case_id, order, is_confirmed))
        self._keys.note_destroyed(action, case_id)
        documents = self._sql("SELECT FROM {}.documents WHERE action_id = %s")
        with self._database.transaction(role=self._role) as connection:
            has_documents = connection.execute(documents, (action,)).fetchone() is not None
        if has_documents:
            # A backup of the time of the upload has the document under this key.
            self._keys.destroy_upload_key(case_id)
        return self._remove([action])

    def remove_returned(self) -> int:
        """Remove rows of destroyed disclosures that an older copy brought back, and count them."""
        actions = self._keys.destroyed_actions()
        return self._remove(actions) if actions else 0

    def unconfirmed(self) -> Sequence[DestroyedRow]:
        """Return the destructions here that are not confirmed on the ledger yet."""
        select = self._sql(
            "SELECT action_id AS action, case_id, order_id AS order, destroyed_at FROM {}.destroyed"
            " WHERE confirmed_at IS NULL ORDER BY destroyed_at, action_id"
        )
        with self._database.transaction(role=self._role) as connection:
            return [DestroyedRow(**row) for row in connection.execute(select).fetchall()]

    def confirmed(self, action: UUID) -> None:
        """Note that the ledger has this country's confirmation."""
        update = self._sql("UPDATE {}.destroyed SET confirmed_at = now() WHERE action_id = %s")
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, (action,))

    def _remove(self, actions: Sequence[UUID]) -> int:
        removed = 0
        with self._database.transaction(role=self._role) as connection:
            for table in _TABLES:
                delete = SQL("DELETE FROM {}.{} WHERE action_id = ANY(%s)").format(
                    self._schema, Identifier(table)
                )
                rows = connection.execute(delete, (list(actions),)).rowcount
                removed += rows if table == "disclosures" else 0
        return removed

    def _sql(self, statement: str) -> Composed:
        return SQL(statement).format(self._schema)
