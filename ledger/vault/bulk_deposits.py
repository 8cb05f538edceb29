"""Deposits the disclosures of many new cases, sealed beforehand, in one statement."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier

from ledger.signing.sd_jwt import Disclosure
from ledger.signing.signed_action import SignedAction
from ledger.store.migrate import vault_schema
from ledger.store.postgres_arrays import Byteas, Texts, Uuids
from ledger.system.identifiers import new_id
from ledger.vault.field_encryption import seal_together
from ledger.vault.inventory import InventoryRow, key_id, list_mac, row_mac

# COPY is not for tables with row-level security, which a vault's have.
_INSERT = """
INSERT INTO {} (action_id, deposit_id, digest, case_id, field, level, field_group, sealed)
SELECT t.action_id, %(deposit)s, t.digest, t.case_id, t.field, t.level, t.field_group, t.sealed
FROM unnest(%(actions)s::uuid[], %(digests)s::text[], %(cases)s::uuid[], %(fields)s::text[],
    %(levels)s::text[], %(groups)s::text[], %(sealed)s::bytea[])
    AS t (action_id, digest, case_id, field, level, field_group, sealed)
"""
_INVENTORY = """
INSERT INTO {} (action_id, deposit_id, case_id, digests, fields, macs, mac)
SELECT d.action_id, %(deposit)s, d.case_id,
    coalesce(array_agg(r.digest ORDER BY r.digest) FILTER (WHERE r.digest IS NOT NULL), '{{}}'),
    coalesce(array_agg(r.field ORDER BY r.digest) FILTER (WHERE r.digest IS NOT NULL), '{{}}'),
    coalesce(array_agg(r.row_mac ORDER BY r.digest) FILTER (WHERE r.digest IS NOT NULL), '{{}}'),
    d.list_mac
FROM unnest(%(of_actions)s::uuid[], %(of_cases)s::uuid[], %(list_macs)s::bytea[])
    AS d (action_id, case_id, list_mac)
LEFT JOIN unnest(%(actions)s::uuid[], %(digests)s::text[], %(fields)s::text[],
    %(row_macs)s::bytea[]) AS r (action_id, digest, field, row_mac) USING (action_id)
GROUP BY d.action_id, d.case_id, d.list_mac
"""
_KNOWN = """
SELECT case_id FROM {erased} WHERE case_id = ANY(%(cases)s)
UNION ALL SELECT case_id FROM {disclosures} WHERE case_id = ANY(%(cases)s)
LIMIT 1
"""


_REPLACED = """
SELECT pg_try_advisory_xact_lock_shared(hashtextextended(%(lock)s, 0)) AS is_free, EXISTS (
    SELECT FROM {replaced} r
    JOIN unnest(%(cases)s::uuid[], %(keys)s::bytea[]) AS t (case_id, key_id)
        ON r.case_id = t.case_id AND r.key_id = t.key_id) AS is_stale
"""


class KeysReplacedError(RuntimeError):
    """Data keys are being replaced, or were since rows were sealed under them."""


class KnownPersonError(RuntimeError):
    """A vault holds something of a case that should be new, or has erased it."""


class Sealed(NamedTuple):
    """One disclosure as a vault keeps it."""

    action_id: UUID
    case_id: UUID
    digest: str
    field: str
    level: str
    group: str | None
    sealed: bytes
    row_mac: bytes


class SealedDeposit(NamedTuple):
    """The disclosures of one action as a vault keeps them; none, where it discloses nothing."""

    action_id: UUID
    case_id: UUID
    rows: Sequence[Sealed]
    list_mac: bytes
    key_id: bytes
    """The data key under which it is sealed."""


def seal_all(
    action: SignedAction,
    case_id: UUID,
    disclosures: Sequence[Disclosure],
    data_key: bytes,
    received_from: str | None = None,
    *,
    is_whole: bool = True,
) -> SealedDeposit:
    """Seal disclosures that were checked against ``action`` under the person's key.

    ``received_from`` is the country whose agency signed the action, if that is another country.
    ``is_whole``: whether that country said that these are all.
    """
    made = []
    fields = {(disclosure.digest, disclosure.name) for disclosure in disclosures}
    of_list = list_mac(data_key, action.id, case_id, received_from, fields, is_whole=is_whole)
    closed = seal_together(
        data_key,
        [(one.encoded, one.digest, one.name) for one in disclosures],
        case_id=case_id,
        action_id=action.id,
    )
    for disclosure, sealed in zip(disclosures, closed, strict=True):
        digest, field = disclosure.digest, disclosure.name
        level = action.model.level(field)
        group = level.group.value if level.group else None
        kept = InventoryRow(
            action.id,
            case_id,
            digest,
            field,
            level.level.value,
            group,
            received_from,
            hashlib.sha256(sealed).digest(),
        )
        made.append(
            Sealed(
                action_id=action.id,
                case_id=case_id,
                digest=digest,
                field=field,
                level=level.level.value,
                group=group,
                sealed=sealed,
                row_mac=row_mac(data_key, kept),
            )
        )
    return SealedDeposit(action.id, case_id, made, of_list, key_id(data_key))


def deposit_new(
    connection: Connection[DictRow],
    party: str,
    case_ids: Sequence[UUID],
    deposits: Sequence[SealedDeposit],
) -> None:
    """Store the disclosures of new cases, in the caller's transaction and the vault's role.

    Their data keys must be durable already. No erasure of a case can be ordered before the case is
    recorded, so this function waits for no erasure. Raises ``KnownPersonError`` if a case is not
    new to this vault, and ``KeysReplacedError`` if the data keys may not be used any more.
    """
    schema = Identifier(vault_schema(party))
    _check_keys(connection, party, deposits)
    erased, disclosures = SQL("{}.erased").format(schema), SQL("{}.disclosures").format(schema)
    known = SQL(_KNOWN).format(erased=erased, disclosures=disclosures)
    if connection.execute(known, {"cases": list(case_ids)}, prepare=True).fetchone() is not None:
        raise KnownPersonError(f"{party}'s vault knows a case that is to be imported as new")
    if not deposits:
        return
    rows = [row for deposit in deposits for row in deposit.rows]
    content = {
        "deposit": new_id(),
        "of_actions": Uuids(deposit.action_id for deposit in deposits),
        "of_cases": Uuids(deposit.case_id for deposit in deposits),
        "list_macs": Byteas(deposit.list_mac for deposit in deposits),
        "actions": Uuids(row.action_id for row in rows),
        "cases": Uuids(row.case_id for row in rows),
        "digests": Texts(row.digest for row in rows),
        "fields": Texts(row.field for row in rows),
        "levels": Texts(row.level for row in rows),
        "groups": Texts(row.group for row in rows),
        "sealed": Byteas(row.sealed for row in rows),
        "row_macs": Byteas(row.row_mac for row in rows),
    }
    inventory = SQL("{}.deposits").format(schema)
    connection.execute(SQL(_INVENTORY).format(inventory), content, prepare=True)
    connection.execute(SQL(_INSERT).format(disclosures), content, prepare=True)


def replacement_lock(party: str) -> str:
    """Return the text whose hash is the advisory lock for replacing a vault's data keys."""
    return f"data keys of {party}"


def _check_keys(
    connection: Connection[DictRow], party: str, deposits: Sequence[SealedDeposit]
) -> None:
    """Hold off a replacement of data keys until the end of the transaction.

    Raises ``KeysReplacedError`` if a replacement is under way, or replaced a key of ``deposits``.
    """
    replaced = SQL("{}.replaced_keys").format(Identifier(vault_schema(party)))
    found = connection.execute(
        SQL(_REPLACED).format(replaced=replaced),
        {
            "lock": replacement_lock(party),
            "cases": Uuids(deposit.case_id for deposit in deposits),
            "keys": Byteas(deposit.key_id for deposit in deposits),
        },
        prepare=True,
    ).fetchone()
    if found is None or not found["is_free"] or found["is_stale"]:
        raise KeysReplacedError(f"data keys of {party}'s vault are being replaced, or were")
