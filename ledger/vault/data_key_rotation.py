"""Replaces persons' data keys, beside a running node, and seals their rows again.

First the new keys take the place of the replaced ones in the key directory, all at once. From then
on every process seals under the new keys, and opens a row with the new key or with the replaced
one. Then each person's rows are sealed again in one transaction, and the replaced key is destroyed.
So every row opens at every moment, and a run that was stopped is completed by the next one.

The connection is the database owner's, because no role of a node reads sealed rows without an entry
in the access log. A replacement shows no person the rows that it opens.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hmac import compare_digest
from typing import NamedTuple
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow, dict_row
from psycopg.sql import SQL, Composed, Identifier

from ledger.signing.country_key import SealError
from ledger.store.migrate import vault_schema
from ledger.store.postgres_arrays import Byteas, Texts, Uuids
from ledger.vault import agency_values
from ledger.vault.bulk_deposits import replacement_lock
from ledger.vault.data_keys import DataKeys
from ledger.vault.documents.documents import rewrapped
from ledger.vault.drafts import draft_sealed_again
from ledger.vault.field_encryption import seal, unseal
from ledger.vault.inventory import InventoryRow, key_id, list_mac, row_mac
from ledger.vault.ownership import NotOwnerError, check_owner
from ledger.vault.working_notes import note_sealed_again

_LOCK_SECONDS = 60
"""For so long a chunk of an import, which holds the same lock, is waited for."""

# `deposit` and `erase` take this lock of a person too.
_PERSON = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
_ERASED = "SELECT FROM {schema}.erased WHERE case_id = %s"
_ROWS = "SELECT * FROM {schema}.disclosures WHERE case_id = %s FOR UPDATE"
_DEPOSITS = "SELECT * FROM {schema}.deposits WHERE case_id = %s FOR UPDATE"
_SEALED = """
UPDATE {schema}.disclosures d SET sealed = t.sealed
FROM unnest(%(actions)s::uuid[], %(digests)s::text[], %(deposits)s::uuid[], %(sealed)s::bytea[])
    AS t (action_id, digest, deposit_id, sealed)
WHERE d.action_id = t.action_id AND d.digest = t.digest AND d.deposit_id = t.deposit_id
"""
_DOCUMENTS = """
SELECT * FROM {schema}.documents WHERE case_id = %s AND action_id IS NOT NULL FOR UPDATE
"""
_AGENCY_VALUES = "SELECT * FROM {schema}.agency_values WHERE case_id = %s FOR UPDATE"
_VALUE_SEALED = "UPDATE {schema}.agency_values SET sealed = %s WHERE id = %s"
_NOTES = "SELECT * FROM {schema}.working_notes WHERE case_id = %s FOR UPDATE"
_NOTE_SEALED = "UPDATE {schema}.working_notes SET sealed = %s WHERE id = %s"
_DRAFTS = "SELECT * FROM {schema}.drafts WHERE case_id = %s FOR UPDATE"
_DRAFT_SEALED = "UPDATE {schema}.drafts SET sealed = %s, remark = %s WHERE action_id = %s"
_REWRAPPED = "UPDATE {schema}.documents SET content_key = %s WHERE document_id = %s"
_AUTHENTICATED = """
UPDATE {schema}.deposits SET macs = %(macs)s, mac = %(mac)s
WHERE action_id = %(action)s AND deposit_id = %(deposit)s
"""
_REPLACED = "INSERT INTO {schema}.replaced_keys (case_id, key_id) VALUES (%s, %s)"

_OPEN_IN_BACKUPS = """
SELECT DISTINCT d.case_id FROM {schema}.destroyed d
WHERE NOT EXISTS (SELECT FROM {schema}.erased e WHERE e.case_id = d.case_id)
  AND NOT EXISTS (SELECT FROM {schema}.replaced_keys r
      WHERE r.case_id = d.case_id AND r.replaced_at > d.destroyed_at)
ORDER BY 1
"""


class ReplacementError(ValueError):
    """The data keys cannot be replaced now; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """The result of a run: the number of keys replaced and rows sealed again."""

    resumed: bool
    """It completed a run that was stopped, and began none of its own."""
    persons: int
    disclosures: int
    """How many were sealed again."""
    damaged: int
    """How many of these, of keys of documents, of values of agencies and of notes open with neither
    key. They stay."""
    kept: int
    """Persons whose replaced key was kept: a disclosure does not open, or no new key is there."""

    def with_run(self, run: "Replacement") -> "Replacement":
        """Return the sums of this result and of a later run's."""
        return Replacement(
            self.resumed or run.resumed,
            self.persons + run.persons,
            self.disclosures + run.disclosures,
            self.damaged + run.damaged,
            run.kept,
        )


class _RowPlace(NamedTuple):
    action_id: UUID
    digest: str
    deposit_id: UUID


@dataclass(frozen=True, slots=True)
class _Person:
    """One person's keys, while one replaces the other."""

    case_id: UUID
    new: bytes
    old: bytes

    def sealed_again(self, row: DictRow) -> bytes:
        """Return the content of a row sealed under the new key. Raises ``SealError``."""
        place = {name: row[name] for name in ("case_id", "action_id", "digest", "field")}
        sealed = bytes(row["sealed"])
        try:
            unseal(self.new, sealed, **place)
        except SealError:
            return seal(self.new, unseal(self.old, sealed, **place), **place)
        return sealed

    def list_mac(self, deposit: DictRow) -> bytes:
        """Authenticate the list of a deposit again, if it holds under either key."""
        listed = list(zip(deposit["digests"], deposit["fields"], strict=True))
        place = deposit["action_id"], deposit["case_id"], deposit["received_from"]
        whole = deposit["whole"]
        old, new = (list_mac(key, *place, listed, is_whole=whole) for key in (self.old, self.new))
        return new if compare_digest(old, bytes(deposit["mac"])) else bytes(deposit["mac"])

    def row_mac(self, mac: bytes, row: DictRow | None, sealed: bytes | None) -> bytes:
        """Authenticate a row again if its old authentication holds under the replaced key.

        A row that was changed in the database must not become authentic by this.
        """
        if row is None or row["sealed"] is None or sealed is None:
            return mac
        if not compare_digest(row_mac(self.old, _kept(row, bytes(row["sealed"]))), mac):
            return mac
        return row_mac(self.new, _kept(row, sealed))


def replace_data_keys(
    conninfo: str,
    party: str,
    keys: DataKeys,
    *,
    case_id: UUID | None = None,
    gives_up_damaged: bool = False,
    progress: Callable[[int, int], None] = lambda _, __: None,
) -> Replacement:
    """Replace the data keys of a vault, or of one person, as the database's owner.

    ``conninfo`` is the owner's. If an earlier run was stopped, that run is completed and no new one
    is begun. A replaced key is kept if a disclosure does not open, unless ``gives_up_damaged``: an
    earlier backup of the row may need the key. ``progress`` gets how many persons are done, and of
    how many.

    Raises ``ReplacementError`` if another process replaces keys, or if the login is not the owner.
    Raises ``SealError`` if a key does not open; nothing is changed then.
    """
    with _alone(conninfo, party) as connection:
        run = _Run(connection, party, keys, gives_up_damaged)
        resumed = not keys.begin_replacement(case_id)
        persons = sorted(keys.being_replaced())
        if case_id is not None and not resumed and case_id not in persons:
            raise ReplacementError(f"{party}'s vault has no data key of this person")
        for number, person in enumerate(persons):
            progress(number, len(persons))
            run.replace(person)
        progress(len(persons), len(persons))
        keys.end_replacement()
        return Replacement(
            resumed, len(persons), run.disclosures, run.damaged, len(keys.being_replaced())
        )


def open_in_backups(conninfo: str, party: str) -> list[UUID]:
    """Return the persons whose destroyed disclosures an older backup of the database still has.

    With the person's present data key, who has such a backup opens them. Replacing the key closes
    it. ``conninfo`` is the database owner's.
    """
    with psycopg.connect(conninfo) as connection:
        select = SQL(_OPEN_IN_BACKUPS).format(schema=Identifier(vault_schema(party)))
        return [row[0] for row in connection.execute(select).fetchall()]


class _Run:
    """One run of the replacement, a person after another."""

    def __init__(
        self,
        connection: Connection[DictRow],
        party: str,
        keys: DataKeys,
        gives_up_damaged: bool,
    ) -> None:
        self._connection = connection
        self._schema = Identifier(vault_schema(party))
        self._keys = keys
        self._gives_up = gives_up_damaged
        self.disclosures = 0
        self.damaged = 0

    def replace(self, case_id: UUID) -> None:
        """Seal a person's rows again, durably, and then destroy the replaced key."""
        while True:
            try:
                with self._connection.transaction():
                    is_erased, damaged = self._seal_again(case_id)
                break
            except psycopg.errors.DeadlockDetected:
                continue  # with a deletion of the same rows
        self.damaged += damaged
        if is_erased:
            self._keys.destroy(case_id)
        elif self._keys.has(case_id) and (self._gives_up or not damaged):
            self._keys.forget_replaced(case_id)

    def _seal_again(self, case_id: UUID) -> tuple[bool, int]:
        """Return whether the person was erased, and how many disclosures do not open."""
        connection = self._connection
        connection.execute(_PERSON, (str(case_id),))
        if connection.execute(self._named(_ERASED), (case_id,)).fetchone() is not None:
            return True, 0
        new, old = self._keys.get(case_id), self._keys.replaced(case_id)
        if new is None or old is None or new == old:
            return False, 0
        person = _Person(case_id, new, old)
        rows = {_place(row): row for row in connection.execute(self._named(_ROWS), (case_id,))}
        sealed: dict[_RowPlace, bytes] = {}
        damaged = 0
        for place, row in rows.items():
            if row["sealed"] is None:
                continue  # stored in clear by an earlier version; it is sealed under the new key
            try:
                sealed[place] = person.sealed_again(row)
            except SealError:
                damaged += 1
        deposits = connection.execute(self._named(_DEPOSITS), (case_id,)).fetchall()
        self._write(person, rows, sealed, deposits)
        # The content of a document stays as it is: its own key alone is under the person's.
        for document in connection.execute(self._named(_DOCUMENTS), (case_id,)).fetchall():
            try:
                wrapped = rewrapped(document, old, new)
            except SealError:
                damaged += 1
            else:
                connection.execute(self._named(_REWRAPPED), (wrapped, document["document_id"]))
        for value in connection.execute(self._named(_AGENCY_VALUES), (case_id,)).fetchall():
            try:
                again = agency_values.sealed_again(value, old, new)
            except SealError:
                damaged += 1
            else:
                connection.execute(self._named(_VALUE_SEALED), (again, value["id"]))
        for note in connection.execute(self._named(_NOTES), (case_id,)).fetchall():
            try:
                again = note_sealed_again(note, old, new)
            except SealError:
                damaged += 1
            else:
                connection.execute(self._named(_NOTE_SEALED), (again, note["id"]))
        for draft in connection.execute(self._named(_DRAFTS), (case_id,)).fetchall():
            try:
                content, remark = draft_sealed_again(draft, old, new)
            except SealError:
                damaged += 1
            else:
                placed = (content, remark, draft["action_id"])
                connection.execute(self._named(_DRAFT_SEALED), placed)
        self.disclosures += len(sealed)
        return False, damaged

    def _write(
        self,
        person: _Person,
        rows: dict[_RowPlace, DictRow],
        sealed: dict[_RowPlace, bytes],
        deposits: Sequence[DictRow],
    ) -> None:
        columns = {
            "actions": Uuids(place.action_id for place in sealed),
            "digests": Texts(place.digest for place in sealed),
            "deposits": Uuids(place.deposit_id for place in sealed),
            "sealed": Byteas(sealed.values()),
        }
        self._connection.execute(self._named(_SEALED), columns)
        for deposit in deposits:
            if not deposit["mac"]:
                continue  # from before the inventory
            place = deposit["action_id"], deposit["deposit_id"]
            places = [_RowPlace(place[0], digest, place[1]) for digest in deposit["digests"]]
            macs = [
                person.row_mac(bytes(mac), rows.get(at), sealed.get(at))
                for mac, at in zip(deposit["macs"], places, strict=True)
            ]
            mac = person.list_mac(deposit)
            authenticated = {"macs": macs, "mac": mac, "action": place[0], "deposit": place[1]}
            self._connection.execute(self._named(_AUTHENTICATED), authenticated)
        replaced = self._named(f"{_REPLACED} ON CONFLICT DO NOTHING")
        self._connection.execute(replaced, (person.case_id, key_id(person.old)))

    def _named(self, statement: str) -> Composed:
        return SQL(statement).format(schema=self._schema)


@contextmanager
def _alone(conninfo: str, party: str) -> Iterator[Connection[DictRow]]:
    """Yield a connection of the database's owner that locks the replacing of this vault's keys.

    No other process replaces keys of this vault until the block ends.
    """
    with psycopg.connect(conninfo, autocommit=True, row_factory=dict_row) as connection:
        try:
            check_owner(connection, party)
        except NotOwnerError as error:
            raise ReplacementError(str(error)) from error
        connection.execute("SET synchronous_commit = on")
        connection.execute(f"SET lock_timeout = '{_LOCK_SECONDS}s'")
        try:
            lock = "SELECT pg_advisory_lock(hashtextextended(%s, 0))"
            connection.execute(lock, (replacement_lock(party),))
        except psycopg.errors.LockNotAvailable as error:
            raise ReplacementError(
                f"another process replaces the data keys of {party}, or imports cases, since "
                f"{_LOCK_SECONDS} seconds; run this again when it has ended"
            ) from error
        connection.execute("SET lock_timeout = 0")
        yield connection


def _place(row: DictRow) -> _RowPlace:
    return _RowPlace(row["action_id"], row["digest"], row["deposit_id"])


def _kept(row: DictRow, sealed: bytes) -> InventoryRow:
    return InventoryRow(
        row["action_id"],
        row["case_id"],
        row["digest"],
        row["field"],
        row["level"],
        row["field_group"],
        row["received_from"],
        hashlib.sha256(sealed).digest(),
    )
