"""The persons who were erased in one country's vault, and whose erasure the ledger has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.sql import SQL

from ledger.refusals import Ground, Refusal
from ledger.vault.vault_tables import VaultTables


@dataclass(frozen=True, slots=True)
class ErasedRow:
    """The row of a person's erasure in a vault."""

    case_id: UUID
    erased_at: datetime


class Erasures(VaultTables):
    """Reads and confirms erasures. ``Vault.erase`` makes them."""

    def erased_at(self, case_id: UUID) -> datetime | None:
        """Return the time of the person's erasure here, or ``None`` if the person is not erased."""
        select = SQL("SELECT erased_at FROM {} WHERE case_id = %s").format(self._erased)
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(select, (case_id,)).fetchone()
        return row["erased_at"] if row else None

    def erasures(self, limit: int, before: datetime | None = None) -> list[ErasedRow]:
        """Return the persons erased here before a time, the last erased first."""
        select = SQL(
            "SELECT case_id, erased_at FROM {}"
            " WHERE %(before)s::timestamptz IS NULL OR erased_at < %(before)s"
            " ORDER BY erased_at DESC LIMIT %(limit)s"
        ).format(self._erased)
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, {"before": before, "limit": limit}).fetchall()
        return [ErasedRow(row["case_id"], row["erased_at"]) for row in rows]

    def unconfirmed(self) -> Mapping[UUID, datetime]:
        """Return the time of each erasure that is not confirmed on the ledger yet, by case."""
        select = SQL("SELECT case_id, erased_at FROM {} WHERE confirmed_at IS NULL").format(
            self._erased
        )
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select).fetchall()
        return {row["case_id"]: row["erased_at"] for row in rows}

    def confirmed(self, case_id: UUID) -> None:
        """Note that the ledger has this country's confirmation of an erasure."""
        update = SQL("UPDATE {} SET confirmed_at = now() WHERE case_id = %s").format(self._erased)
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, (case_id,))

    def erased(self, case_ids: Sequence[UUID]) -> set[UUID]:
        """Return the cases among ``case_ids`` whose persons were erased here."""
        select = SQL("SELECT case_id FROM {} WHERE case_id = ANY(%s)").format(self._erased)
        with self._database.transaction(role=self._role) as connection:
            return {row["case_id"] for row in connection.execute(select, (list(case_ids),))}


def erased_case() -> Refusal:
    """Return the refusal to take in anything on a person who was erased."""
    return Refusal(
        Ground.OUT_OF_PROCEDURE,
        "erased-case",
        "What was held on this person is erased; nothing more is taken in.",
        "case",
    )
