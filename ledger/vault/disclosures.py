"""What a country's own agencies disclosed, encrypted, in a schema and role of its own."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from psycopg import Connection
from psycopg.sql import SQL, Identifier

from ledger.refusals import Ground, Refusal
from ledger.sd_jwt import Disclosure
from ledger.signing import SignedAction
from ledger.store.database import Database
from ledger.store.migrate import vault_role, vault_schema
from ledger.vault.data_keys import DataKeys
from ledger.vault.sealing import seal, unseal
from ledger.vocabulary.levels import Level

_PAGE = 500


class KeyMissingError(RuntimeError):
    """Disclosures are here and their key is not: it was lost, or its directory is not there."""


class Vault:
    """Keeps what a country's own agencies disclosed, and nothing of any other country.

    The database has nothing in clear: each person's disclosures are under a key of their own.
    """

    def __init__(self, database: Database, party: str, keys: DataKeys) -> None:
        self.party = party
        self._database = database
        self._keys = keys
        self._role = vault_role(party)
        self._table = SQL("{}.disclosures").format(Identifier(vault_schema(party)))

    def deposit(
        self, action: SignedAction, case_id: UUID, disclosures: Sequence[Disclosure]
    ) -> UUID:
        """Store disclosures that were checked against ``action``. Durable on return.

        Returns the deposit's id, by which :meth:`withdraw` takes out just these. Raises
        ``KeyMissingError`` where the person has disclosures here and no key any more.
        """
        deposit_id = uuid4()
        if not disclosures:
            return deposit_id
        levels = [action.model.level(d.name) for d in disclosures]
        insert = SQL(
            "INSERT INTO {} (action_id, deposit_id, digest, case_id, field, level, field_group,"
            " sealed) SELECT %(action)s, %(deposit)s, t.digest, %(case)s, t.field, t.level,"
            " t.field_group, t.sealed"
            " FROM unnest(%(digests)s::text[], %(fields)s::text[], %(levels)s::text[],"
            " %(groups)s::text[], %(sealed)s::bytea[])"
            " AS t (digest, field, level, field_group, sealed)"
        ).format(self._table)
        with self._database.transaction(role=self._role) as connection:
            data_key = self._data_key(connection, case_id)
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
                    "sealed": [
                        seal(
                            data_key,
                            d.encoded,
                            case_id=case_id,
                            action_id=action.id,
                            digest=d.digest,
                            field=d.name,
                        )
                        for d in disclosures
                    ],
                },
            )
        return deposit_id

    def withdraw(self, action_id: UUID, deposit_id: UUID) -> None:
        """Take out what a refused action had put in."""
        delete = SQL("DELETE FROM {} WHERE action_id = %s AND deposit_id = %s").format(self._table)
        with self._database.transaction(role=self._role) as connection:
            connection.execute(delete, (action_id, deposit_id))

    def held(self, case_id: UUID, level: Level) -> Mapping[UUID, Mapping[str, str]]:
        """The encoded disclosures of one level held on a case, by action and field.

        Raises ``KeyMissingError``, and ``SealError`` where one does not open at its place.
        """
        select = SQL(
            "SELECT action_id, digest, field, sealed FROM {}"
            " WHERE case_id = %s AND level = %s AND sealed IS NOT NULL"
        ).format(self._table)
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (case_id, level.value)).fetchall()
        if not rows:
            return {}
        data_key = self._keys.get(case_id)
        if data_key is None:
            raise self._missing()
        found: dict[UUID, dict[str, str]] = {}
        for row in rows:
            found.setdefault(row["action_id"], {})[row["field"]] = unseal(
                data_key,
                row["sealed"],
                case_id=case_id,
                action_id=row["action_id"],
                digest=row["digest"],
                field=row["field"],
            )
        return found

    def seal_stored(self) -> int:
        """Encrypt what an earlier version stored in clear. Returns how many disclosures."""
        select = SQL(
            "SELECT action_id, deposit_id, digest, case_id, field, disclosure FROM {}"
            " WHERE disclosure IS NOT NULL LIMIT %s FOR UPDATE SKIP LOCKED"
        ).format(self._table)
        update = SQL(
            "UPDATE {} SET sealed = %s, disclosure = NULL"
            " WHERE action_id = %s AND digest = %s AND deposit_id = %s"
        ).format(self._table)
        count = 0
        while True:
            with self._database.transaction(role=self._role) as connection:
                rows = connection.execute(select, (_PAGE,)).fetchall()
                for row in rows:
                    place = {name: row[name] for name in ("case_id", "action_id", "digest")}
                    data_key = self._keys.get(row["case_id"]) or self._keys.make(row["case_id"])
                    sealed = seal(data_key, row["disclosure"], field=row["field"], **place)
                    connection.execute(
                        update, (sealed, row["action_id"], row["digest"], row["deposit_id"])
                    )
            count += len(rows)
            if not rows:
                return count

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

    def _data_key(self, connection: Connection[Any], case_id: UUID) -> bytes:
        known = self._keys.get(case_id)
        if known is not None:
            return known
        held = SQL("SELECT FROM {} WHERE case_id = %s AND sealed IS NOT NULL LIMIT 1").format(
            self._table
        )
        if connection.execute(held, (case_id,)).fetchone() is not None:
            raise self._missing()  # a new one would hide that the old one is lost
        return self._keys.make(case_id)

    def _missing(self) -> KeyMissingError:
        return KeyMissingError(
            f"{self.party}'s vault holds disclosures whose key is not in its key directory"
        )


class Vaults:
    """The vaults of every country whose node this process is."""

    def __init__(self, database: Database, keys: Mapping[str, DataKeys]) -> None:
        self._vaults = {party: Vault(database, party, own) for party, own in keys.items()}

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
