"""A country's vault of disclosures, in a schema and role of its own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from uuid import UUID, uuid4

from psycopg.sql import SQL, Identifier

from ledger.refusals import Ground, Refusal
from ledger.sd_jwt import Disclosure
from ledger.signing import SignedAction
from ledger.store.database import Database
from ledger.store.migrate import vault_role, vault_schema
from ledger.vocabulary.levels import Level


class Vault:
    """Keeps what a country's own agencies disclosed, and nothing of any other country."""

    def __init__(self, database: Database, party: str) -> None:
        self.party = party
        self._database = database
        self._role = vault_role(party)
        self._table = SQL("{}.disclosures").format(Identifier(vault_schema(party)))

    def deposit(
        self, action: SignedAction, case_id: UUID, disclosures: Sequence[Disclosure]
    ) -> UUID:
        """Store disclosures that were checked against ``action``. Durable on return.

        Returns the deposit's id, by which :meth:`withdraw` takes out just these.
        """
        deposit_id = uuid4()
        if not disclosures:
            return deposit_id
        levels = [action.model.level(d.name) for d in disclosures]
        insert = SQL(
            "INSERT INTO {} (action_id, deposit_id, digest, case_id, field, level, field_group,"
            " disclosure) SELECT %(action)s, %(deposit)s, t.digest, %(case)s, t.field, t.level,"
            " t.field_group, t.disclosure"
            " FROM unnest(%(digests)s::text[], %(fields)s::text[], %(levels)s::text[],"
            " %(groups)s::text[], %(disclosures)s::text[])"
            " AS t (digest, field, level, field_group, disclosure)"
        ).format(self._table)
        with self._database.transaction(role=self._role) as connection:
            connection.execute(
                insert,
                {
                    "action": action.id,
                    "deposit": deposit_id,
                    "case": case_id,
                    "digests": [d.digest for d in disclosures],
                    "fields": [d.name for d in disclosures],
                    "levels": [level.level.value for level in levels],
                    "groups": [level.group and level.group.value for level in levels],
                    "disclosures": [d.encoded for d in disclosures],
                },
            )
        return deposit_id

    def withdraw(self, action_id: UUID, deposit_id: UUID) -> None:
        """Take out what a refused action had put in."""
        delete = SQL("DELETE FROM {} WHERE action_id = %s AND deposit_id = %s").format(self._table)
        with self._database.transaction(role=self._role) as connection:
            connection.execute(delete, (action_id, deposit_id))

    def held(self, case_id: UUID, level: Level) -> Mapping[UUID, Mapping[str, str]]:
        """The encoded disclosures of one level held on a case, by action and field."""
        select = SQL(
            "SELECT action_id, field, disclosure FROM {} WHERE case_id = %s AND level = %s"
        ).format(self._table)
        found: dict[UUID, dict[str, str]] = {}
        with self._database.transaction(role=self._role) as connection:
            for row in connection.execute(select, (case_id, level.value)):
                found.setdefault(row["action_id"], {})[row["field"]] = row["disclosure"]
        return found

    def actions_older_than(self, age: timedelta) -> list[UUID]:
        """Actions whose disclosures came in longer ago than ``age``."""
        select = SQL(
            "SELECT DISTINCT action_id FROM {} WHERE received_at < now() - %s::interval"
        ).format(self._table)
        with self._database.transaction(role=self._role) as connection:
            return [row["action_id"] for row in connection.execute(select, (age,))]

    def discard(self, action_ids: Sequence[UUID]) -> int:
        """Remove all disclosures of actions that the ledger never recorded."""
        delete = SQL("DELETE FROM {} WHERE action_id = ANY(%s)").format(self._table)
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(delete, (list(action_ids),)).rowcount


class Vaults:
    """The vaults of every country whose node this process is."""

    def __init__(self, database: Database, parties: Iterable[str]) -> None:
        self._vaults = {party: Vault(database, party) for party in parties}

    def of(self, party: str) -> Vault:
        """Raises ``Refusal`` (``another-countrys-node``) for a country that has no vault here."""
        vault = self._vaults.get(party)
        if vault is None:
            raise Refusal(
                Ground.NOT_ALLOWED,
                "another-countrys-node",
                "An agency hands its disclosures to its own country's node and to no other.",
                "iss",
            )
        return vault

    def __iter__(self) -> Iterator[Vault]:
        return iter(self._vaults.values())
