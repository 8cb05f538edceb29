"""What comes into a vault: disclosures of concurrent requests are sealed and stored together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from eventsourcing.utils import retry
from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier

from ledger.refusals import Ground, Refusal
from ledger.sd_jwt import Disclosure
from ledger.signing import SignedAction
from ledger.store.arrays import Byteas, Texts, Uuids
from ledger.store.database import Database
from ledger.store.grouping import Group
from ledger.store.migrate import vault_role, vault_schema
from ledger.vault.bulk import seal_all
from ledger.vault.data_keys import DataKeys

_AT_MOST = 64

# Whoever erases waits until these deposits are in, or these see that it is over.
_LOCK = "SELECT pg_advisory_xact_lock_shared(hashtextextended(id::text, 0)) FROM unnest(%b::uuid[]) AS t (id)"  # noqa: E501
_ERASED = "SELECT case_id FROM {schema}.erased WHERE case_id = ANY(%b)"
_HELD = """
SELECT DISTINCT case_id FROM {schema}.disclosures WHERE case_id = ANY(%b) AND disclosure IS NULL
"""
_INSERT = """
INSERT INTO {schema}.disclosures (action_id, deposit_id, digest, case_id, field, level,
    field_group, received_from, sealed)
SELECT * FROM unnest(%(actions)b::uuid[], %(deposits)b::uuid[], %(digests)b::text[],
    %(cases)b::uuid[], %(fields)b::text[], %(levels)b::text[], %(groups)b::text[],
    %(senders)b::text[], %(sealed)b::bytea[])
ON CONFLICT DO NOTHING
"""


class KeyMissingError(RuntimeError):
    """Disclosures are here and their key is not: it was lost, or its directory is not there."""


@dataclass(frozen=True, slots=True)
class Deposit:
    """Disclosures of one action that were checked against it."""

    id: UUID
    action: SignedAction
    case_id: UUID
    disclosures: Sequence[Disclosure]
    received_from: str | None
    """The country that released them; ``None`` for the vault's own country's."""


class Deposits:
    """Takes deposits into one country's vault, those that come together in one transaction."""

    def __init__(self, database: Database, party: str, keys: DataKeys) -> None:
        self._party = party
        self._keys = keys
        self._database = database.apart(vault_role(party))
        self._group = Group(self._put_together, at_most=_AT_MOST)
        schema = Identifier(vault_schema(party))

        def statement(text: LiteralString) -> Any:
            return SQL(text).format(schema=schema)

        self._erased, self._held, self._insert = map(statement, (_ERASED, _HELD, _INSERT))

    @retry((psycopg.OperationalError,), max_attempts=10, wait=0.2)
    def put(self, deposit: Deposit) -> None:
        """Store a deposit. Durable on return.

        Raises ``KeyMissingError`` where the person has disclosures here and no key any more, and
        ``Refusal`` (``erased-case``) where the person was erased.
        """
        self._group.call(deposit)

    def _put_together(self, deposits: Sequence[Deposit]) -> Sequence[Exception | None]:
        case_ids = sorted({deposit.case_id for deposit in deposits})
        with self._database.transaction() as connection:
            connection.execute(_LOCK, (Uuids(case_ids),), prepare=True)
            refused: dict[UUID, Exception] = {}
            for row in connection.execute(self._erased, (Uuids(case_ids),), prepare=True):
                refused[row["case_id"]] = _erased()
            keys = self._data_keys(connection, case_ids, refused)
            taken = [deposit for deposit in deposits if deposit.case_id in keys]
            if taken:
                connection.execute(self._insert, _columns(taken, keys), prepare=True)
        return [refused.get(deposit.case_id) for deposit in deposits]

    def _data_keys(
        self,
        connection: Connection[DictRow],
        case_ids: Sequence[UUID],
        refused: dict[UUID, Exception],
    ) -> Mapping[UUID, bytes]:
        """Each person's key, made where nothing is held yet; why there is none, in ``refused``."""
        keys: dict[UUID, bytes] = {}
        without: list[UUID] = []
        for case_id in case_ids:
            if case_id in refused:
                continue
            try:
                known = self._keys.get(case_id)
            except Exception as error:
                refused[case_id] = error
                continue
            if known is None:
                without.append(case_id)
            else:
                keys[case_id] = known
        if not without:
            return keys
        # Where something is held, a new key would hide that the old one is lost.
        held = connection.execute(self._held, (Uuids(without),), prepare=True).fetchall()
        refused |= {row["case_id"]: missing(self._party) for row in held}
        return keys | {
            case_id: self._keys.make(case_id) for case_id in without if case_id not in refused
        }


def missing(party: str) -> KeyMissingError:
    """That a vault holds what cannot be opened any more."""
    return KeyMissingError(
        f"{party}'s vault holds disclosures whose key is not in its key directory"
    )


def _columns(deposits: Sequence[Deposit], keys: Mapping[UUID, bytes]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        "actions": Uuids(), "deposits": Uuids(), "digests": Texts(), "cases": Uuids(),
        "fields": Texts(), "levels": Texts(), "groups": Texts(), "senders": Texts(),
        "sealed": Byteas(),
    }  # fmt: skip
    for deposit in deposits:
        sealed = seal_all(
            deposit.action, deposit.case_id, deposit.disclosures, keys[deposit.case_id]
        )
        for row in sealed:
            columns["actions"].append(row.action_id)
            columns["deposits"].append(deposit.id)
            columns["digests"].append(row.digest)
            columns["cases"].append(row.case_id)
            columns["fields"].append(row.field)
            columns["levels"].append(row.level)
            columns["groups"].append(row.group)
            columns["senders"].append(deposit.received_from)
            columns["sealed"].append(row.sealed)
    return columns


def _erased() -> Refusal:
    return Refusal(
        Ground.OUT_OF_PROCEDURE,
        "erased-case",
        "What was held on this person is erased; nothing more is taken in.",
        "case",
    )
