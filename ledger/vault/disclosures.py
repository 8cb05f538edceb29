"""What a country holds on persons, encrypted, in a schema and roles of its own."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, Self
from uuid import UUID, uuid4

import structlog
from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier

from ledger.procedure.readings import Reading
from ledger.refusals import Ground, Refusal
from ledger.signing.country_key import SealError
from ledger.signing.sd_jwt import Disclosure, parse_disclosure
from ledger.signing.signed_action import SignedAction
from ledger.store.async_batcher import AsyncBatcher
from ledger.store.async_connection import SharedConnection
from ledger.store.database import Database
from ledger.store.migrate import reader_role, vault_role, vault_schema
from ledger.vault.access_log import Readings
from ledger.vault.arrived_parcels import ArrivedParcels
from ledger.vault.data_keys import DataKeys
from ledger.vault.deposits import Deposit, Deposits, KeyMissingError, missing
from ledger.vault.duplicates.store import Duplicates
from ledger.vault.field_encryption import seal, unseal
from ledger.vault.inventory import key_id
from ledger.vault.missing_disclosures import MissingParts
from ledger.vault.required_disclosures import Listed, Row
from ledger.vault.sent_parcels import SentParcels
from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary.levels import FieldGroup, Level

__all__ = ["Damaged", "Held", "HeldFields", "KeyMissingError", "ReceivedDeposit", "Vault", "Vaults"]
_PAGE = 500
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """One disclosure that a vault holds, opened."""

    action_id: UUID
    digest: str
    field: str
    level: Level
    group: FieldGroup | None
    received_from: str | None
    """The country that released it; ``None`` for the vault's own country's."""
    encoded: str

    @property
    def value(self) -> Any:
        return parse_disclosure(self.encoded).value


@dataclass(frozen=True, slots=True)
class Damaged:
    """A disclosure that does not open at its place: it was changed, or exchanged with another."""

    action_id: UUID
    field: str


class HeldFields(tuple[Held, ...]):
    """The disclosures that were opened. ``damaged`` has those that could not be."""

    damaged: tuple[Damaged, ...]

    def __new__(cls, held: Iterable[Held] = (), damaged: tuple[Damaged, ...] = ()) -> Self:
        made = super().__new__(cls, held)
        made.damaged = damaged
        return made


@dataclass(frozen=True, slots=True)
class ReceivedDeposit:
    """What came in a parcel: of which country's action, and whether it is all."""

    origin: str | None
    """The country whose agency signed the action; ``None`` where that is the vault's own."""
    deposit_id: UUID
    is_whole: bool = True
    """Whether the country of origin said that these are all fields for this vault."""


@dataclass(frozen=True, slots=True)
class ErasedRow:
    """When a person was erased in a vault."""

    case_id: UUID
    erased_at: datetime


NOTED_FROM = "deposits noted from"
"""Under this name the vault's progress has the position after which every action has a deposit."""


@cache
def declared_levels() -> frozenset[tuple[str, str, str | None]]:
    """Each field of any action with its level and group.

    A row of another level was changed: a personal field would be shown without an entry.
    """
    return frozenset(
        (field, at.level.value, at.group.value if at.group else None)
        for model in ALL_ACTIONS.values()
        for field, at in ((name, model.level(name)) for name in model.disclosable_fields())
    )


class Vault:
    """Keeps what a country's own agencies disclosed, and what other countries released to it.

    The database has nothing in clear: each person's disclosures are under a key of their own.
    """

    def __init__(self, database: Database, party: str, keys: DataKeys) -> None:
        self.party = party
        self._database = database
        self.keys = keys
        self._deposits = Deposits(database, party, keys)
        self.readings = Readings(database, party)
        self.duplicates = Duplicates(database, party)
        self.sent = SentParcels(database, party)
        self.arrived = ArrivedParcels(database, party)
        self.missing = MissingParts(database, party)
        self._role = vault_role(party)
        self._reader = reader_role(party)
        self._erased = SQL("{}.erased").format(Identifier(vault_schema(party)))
        self._progress = SQL("{}.progress").format(Identifier(vault_schema(party)))
        self._aside = SQL("{}.set_aside").format(Identifier(vault_schema(party)))
        self._table = SQL("{}.disclosures").format(Identifier(vault_schema(party)))
        self._inventory = SQL("{}.deposits").format(Identifier(vault_schema(party)))

    def deposit(
        self,
        action: SignedAction,
        case_id: UUID,
        disclosures: Sequence[Disclosure],
        *,
        received: ReceivedDeposit | None = None,
        durably: bool = True,
    ) -> UUID:
        """Store disclosures that were checked against ``action``. Durable on return.

        An action that could disclose something and does not leaves an empty deposit, so that a
        deposit that was lost can be told from one that never was.
        Where not ``durably``, they are durable once anything is that is committed to the same
        database afterwards, on a connection that was open before: its log has them before, and
        a crash, which may take them back, would have ended that connection. Returns the deposit's
        id, by which :meth:`withdraw` takes out just these. Raises ``KeyMissingError`` where the
        person has disclosures here and no key any more, and
        ``Refusal`` (``erased-case``) where the person was erased.
        """
        if received is None:
            received = ReceivedDeposit(None, uuid4())
        if action.digests:
            self._deposits.put(
                Deposit(
                    received.deposit_id,
                    action,
                    case_id,
                    disclosures,
                    received.origin,
                    received.is_whole,
                    durably,
                )
            )
        return received.deposit_id

    def withdraw(self, action_id: UUID, deposit_id: UUID) -> None:
        """Take out what a refused action had put in."""
        delete = SQL("DELETE FROM {} WHERE action_id = %s AND deposit_id = %s")
        with self._database.transaction(role=self._role) as connection:
            for table in (self._table, self._inventory):
                connection.execute(delete.format(table), (action_id, deposit_id))

    def key_faults(self) -> tuple[set[UUID], set[UUID]]:
        """Persons with disclosures whose key is missing, and erased ones whose key is back."""
        persons = SQL(
            "SELECT case_id FROM {} UNION SELECT case_id FROM {} WHERE octet_length(mac) > 0"
        ).format(self._table, self._inventory)
        erased = SQL("SELECT case_id FROM {}").format(self._erased)
        with self._database.transaction(role=self._role) as connection:
            held = {row["case_id"] for row in connection.execute(persons).fetchall()}
            gone = {row["case_id"] for row in connection.execute(erased).fetchall()}
        missing = {case_id for case_id in held - gone if not self.keys.has(case_id)}
        return missing, {case_id for case_id in gone if self.keys.has(case_id)}

    def key_identity(self) -> tuple[int, int] | None:
        """The inode and the size of the file of data keys; ``None`` where there is no file."""
        return self.keys.identity()

    def restore_keys(self, copy: Path, case_ids: Iterable[UUID]) -> int:
        """Take in persons' keys from a copy of their directory. Returns how many.

        A key that was replaced since is left out. Raises as :meth:`DataKeys.copy_from`.
        """
        wanted = list(case_ids)
        select = SQL("SELECT case_id, key_id FROM {} WHERE case_id = ANY(%s)").format(
            SQL("{}.replaced_keys").format(Identifier(vault_schema(self.party)))
        )
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (wanted,)).fetchall()
        replaced = {(row["case_id"], bytes(row["key_id"])) for row in rows}
        return self.keys.copy_from(
            copy, wanted, lambda case_id, key: (case_id, key_id(key)) not in replaced
        )

    def destroy_keys(self, case_ids: Iterable[UUID]) -> int:
        """Destroy the keys of persons who were erased, again. Returns how many there were."""
        return sum(self.keys.destroy(case_id) for case_id in case_ids)

    def case_fields(self, case_id: UUID) -> "HeldFields":
        """The ``case`` fields held on a person, the country's own and those received.

        Raises ``KeyMissingError``. What does not open at its place is named in the result.
        """
        return self._open(case_id, SQL("level = 'case'"), {})

    def own_case_fields(self, action_ids: Sequence[UUID]) -> Sequence[Held]:
        """The ``case`` fields of the country's own actions that are named, of any case.

        Raises as :meth:`case_fields` does.
        """
        return self._case_fields_of(action_ids, SQL("received_from IS NULL"))

    def received_case_fields(self, action_ids: Sequence[UUID]) -> Sequence[Held]:
        """The ``case`` fields of other countries' actions that are named, of any case.

        Raises as :meth:`case_fields` does.
        """
        return self._case_fields_of(action_ids, SQL("received_from IS NOT NULL"))

    def _case_fields_of(self, action_ids: Sequence[UUID], condition: SQL) -> Sequence[Held]:
        select = SQL(
            "SELECT case_id, action_id, digest, field, level, field_group, received_from, sealed"
            " FROM {} WHERE action_id = ANY(%s) AND level = 'case' AND {}"
            " AND sealed IS NOT NULL ORDER BY case_id, received_at, action_id, field"
        ).format(self._table, condition)
        with self._database.transaction(role=self._reader) as connection:
            rows = connection.execute(select, (list(action_ids),), prepare=True).fetchall()
        of_cases = groupby(rows, key=lambda row: row["case_id"])
        return [held for case_id, of_case in of_cases for held in self.opened(case_id, [*of_case])]

    def case_rows(self, lane: SharedConnection) -> AsyncBatcher[UUID, Sequence[DictRow]]:
        """Asks for the rows of persons' ``case`` fields, as they are: :meth:`opened` opens them.

        ``lane`` is one of this vault's reader.
        """
        select = SQL(
            "SELECT case_id, action_id, digest, field, level, field_group, received_from, sealed"
            " FROM {} WHERE case_id = ANY(%s) AND level = 'case' AND sealed IS NOT NULL"
            " ORDER BY received_at, action_id, field"
        ).format(self._table)

        async def answer(case_ids: Sequence[UUID]) -> Sequence[Sequence[DictRow]]:
            found: dict[UUID, list[DictRow]] = {case_id: [] for case_id in case_ids}
            async with lane.connection() as connection:
                cursor = await connection.execute(select, (list(found),), prepare=True)
                for row in await cursor.fetchall():
                    found[row["case_id"]].append(row)
            return [found[case_id] for case_id in case_ids]

        return AsyncBatcher(answer)

    def personal_fields(self, reading: Reading) -> "HeldFields":
        """The personal fields that an entry of the access log opens, and no others.

        The database holds them to that entry, which must be of this very minute. Raises as
        :meth:`case_fields` does.
        """
        return self._open(
            reading.asked.case_id,
            SQL("level = 'personal' AND field_group = ANY(%(groups)s)"),
            {"groups": [group.value for group in reading.asked.groups]},
            reading,
        )

    def _open(
        self,
        case_id: UUID,
        condition: SQL,
        parameters: Mapping[str, Any],
        reading: Reading | None = None,
    ) -> "HeldFields":
        select = SQL(
            "SELECT action_id, digest, field, level, field_group, received_from, received_at,"
            " sealed FROM {} WHERE case_id = %(case)s AND {} AND sealed IS NOT NULL"
            " ORDER BY received_at, action_id, field"
        ).format(self._table, condition)
        with self._database.transaction(role=self._reader) as connection:
            _open_personal(connection, reading)
            rows = connection.execute(select, {"case": case_id, **parameters}).fetchall()
        return self.opened(case_id, rows, reading)

    def opened(
        self, case_id: UUID, rows: Sequence[DictRow], reading: Reading | None = None
    ) -> "HeldFields":
        """The disclosures of a person's rows that open, and those that do not.

        None of a person who is erased meanwhile. Raises ``KeyMissingError`` where the person's key
        is not there.
        """
        found = self._opened(case_id, rows)
        if found.damaged:
            # The data key may have been replaced between the reading of the rows and of the key.
            found = self._opened(case_id, self._read_again(case_id, rows, found.damaged, reading))
        if found.damaged:
            count = len(found.damaged)
            _log.error("disclosures do not open at their place", party=self.party, count=count)
        return found

    def _read_again(
        self,
        case_id: UUID,
        rows: Sequence[DictRow],
        damaged: Sequence[Damaged],
        reading: Reading | None,
    ) -> Sequence[DictRow]:
        """Return the rows with the content that those of damaged disclosures have now."""
        select = SQL(
            "SELECT action_id, digest, sealed FROM {}"
            " WHERE case_id = %s AND action_id = ANY(%s) AND sealed IS NOT NULL"
        ).format(self._table)
        actions = list({one.action_id for one in damaged})
        with self._database.transaction(role=self._reader) as connection:
            _open_personal(connection, reading)
            again = connection.execute(select, (case_id, actions)).fetchall()
        now: dict[tuple[UUID, str], list[bytes]] = {}
        for row in again:
            now.setdefault((row["action_id"], row["digest"]), []).append(row["sealed"])
        return [
            {**row, "sealed": sealed}
            for row in rows
            for sealed in now.get((row["action_id"], row["digest"]), [row["sealed"]])
        ]

    def _opened(self, case_id: UUID, rows: Sequence[DictRow]) -> "HeldFields":
        """As :meth:`opened`, of rows as they are."""
        if not rows:
            return HeldFields()
        data_key = self.keys.get(case_id)
        if data_key is None and self.erased_at(case_id) is not None:
            # The rows were read while an erasure was under way: their key is gone.
            return HeldFields()
        if data_key is None:
            raise missing(self.party)
        data_keys = [data_key]

        def unsealed(row: DictRow) -> str:
            place = {name: row[name] for name in ("action_id", "digest", "field")}
            try:
                return unseal(data_keys[0], row["sealed"], case_id=case_id, **place)
            except SealError:
                if len(data_keys) == 1:
                    data_keys.append(self.keys.replaced(case_id) or data_key)
                return unseal(data_keys[1], row["sealed"], case_id=case_id, **place)

        opened: dict[tuple[UUID, str], Held] = {}
        damaged: dict[tuple[UUID, str], Damaged] = {}
        for row in rows:
            try:
                if (row["field"], row["level"], row["field_group"]) not in declared_levels():
                    raise ValueError("no action has this field at this level")
                opened[row["action_id"], row["digest"]] = Held(
                    action_id=row["action_id"],
                    digest=row["digest"],
                    field=row["field"],
                    level=Level(row["level"]),
                    group=FieldGroup(row["field_group"]) if row["field_group"] else None,
                    received_from=row["received_from"],
                    encoded=unsealed(row),
                )
            except (SealError, ValueError):
                damaged[row["action_id"], row["digest"]] = Damaged(row["action_id"], row["field"])
        # The same disclosure may lie there twice, by two deposits.
        lost = tuple(one for place, one in damaged.items() if place not in opened)
        return HeldFields(opened.values(), lost)

    def noted(self, action_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[Listed]]:
        """Return the deposits of actions, as the inventory lists them, by action.

        The inventory is not authenticated here.
        """
        select = SQL(
            "SELECT action_id, received_from, digests, fields, whole FROM {}"
            " WHERE action_id = ANY(%s)"
        ).format(self._inventory)
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (list(action_ids),), prepare=True).fetchall()
        found: dict[UUID, list[Listed]] = {}
        for row in rows:
            listed = Listed(
                row["received_from"],
                dict(zip(row["digests"], row["fields"], strict=False)),
                row["whole"],
            )
            found.setdefault(row["action_id"], []).append(listed)
        return found

    def has_whole(self, action_id: UUID, *, besides: UUID | None = None) -> bool:
        """Whether a deposit has all that the country's own agency disclosed, with every row.

        ``besides`` is a deposit that does not count.
        """
        select = SQL(
            "SELECT FROM {inventory} AS d WHERE d.action_id = %(action)s AND d.whole"
            " AND d.received_from IS NULL AND d.deposit_id IS DISTINCT FROM %(besides)s"
            " AND d.digests <@ ARRAY(SELECT t.digest FROM {table} AS t"
            " WHERE t.action_id = %(action)s AND t.received_from IS NULL"
            " AND t.deposit_id IS DISTINCT FROM %(besides)s)"
        ).format(inventory=self._inventory, table=self._table)
        named = {"action": action_id, "besides": besides}
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(select, named).fetchone() is not None

    def take_in(
        self,
        action: SignedAction,
        case_id: UUID,
        disclosures: Sequence[Disclosure],
        *,
        origin: str,
        is_whole: bool,
    ) -> bool:
        """Store what came from another country, checked against ``action``, if it is new here.

        ``origin`` is the country whose agency signed the action. ``is_whole``: whether that country
        says that these are all its ``case`` fields, or all fields of a release. Returns whether
        something of the action was missing. Raises as :meth:`deposit` does.
        """
        sender = origin if origin != self.party else None
        was_missing = bool(self.missing.of_actions([action.id]))
        digests = [one.digest for one in disclosures]
        if was_missing or not self._has_received(action.id, digests, sender, is_whole):
            received = ReceivedDeposit(sender, uuid4(), is_whole)
            self.deposit(action, case_id, disclosures, received=received)
        return was_missing

    def _has_received(
        self, action_id: UUID, digests: Sequence[str], sender: str | None, is_whole: bool
    ) -> bool:
        """Whether what came is here already."""
        rows = self.held_digests([action_id]).get(action_id, frozenset())
        if not {(digest, sender) for digest in digests} <= rows:
            return False
        return any(
            listed.received_from == sender
            and listed.is_whole >= is_whole
            and listed.fields.keys() == set(digests)
            for listed in self.noted([action_id]).get(action_id, ())
        )

    def noted_from(self) -> int:
        """Return the position up to which actions without disclosures have no deposit."""
        return self.progress(NOTED_FROM)

    def held_digests(self, action_ids: Sequence[UUID]) -> Mapping[UUID, frozenset[Row]]:
        """Return which disclosures of actions have a row, by action. Nothing is opened."""
        select = SQL(
            "SELECT action_id, digest, received_from FROM {} WHERE action_id = ANY(%s)"
        ).format(self._table)
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (list(action_ids),), prepare=True).fetchall()
        found: dict[UUID, set[Row]] = {}
        for row in rows:
            found.setdefault(row["action_id"], set()).add((row["digest"], row["received_from"]))
        return {action: frozenset(held) for action, held in found.items()}

    def received_groups(
        self, action_ids: Sequence[UUID], origin: str
    ) -> Mapping[UUID, frozenset[FieldGroup]]:
        """Return the groups of the personal fields that a country released, by case."""
        select = SQL(
            "SELECT DISTINCT case_id, field_group FROM {} WHERE action_id = ANY(%s)"
            " AND received_from = %s AND field_group IS NOT NULL"
        ).format(self._table)
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (list(action_ids), origin)).fetchall()
        found: dict[UUID, set[FieldGroup]] = {}
        for row in rows:
            found.setdefault(row["case_id"], set()).add(FieldGroup(row["field_group"]))
        return {case_id: frozenset(groups) for case_id, groups in found.items()}

    def give_up(self, case_ids: Collection[UUID]) -> int:
        """Remove rows and inventory of persons whose data keys are lost for good.

        What is in them never opens again. A new key can be made then, for what other countries
        give back. Returns how many disclosures were removed.
        """
        delete = SQL("DELETE FROM {} WHERE case_id = ANY(%s)")
        lost = [case_id for case_id in case_ids if not self.keys.has(case_id)]
        if not lost:
            return 0
        with self._database.transaction(role=self._role) as connection:
            removed = connection.execute(delete.format(self._table), (lost,)).rowcount
            connection.execute(delete.format(self._inventory), (lost,))
        return removed

    def own_groups(
        self, action_ids: Sequence[UUID]
    ) -> Mapping[tuple[UUID, str], FieldGroup | None]:
        """The field group of each disclosure of the country's own actions, by action and digest.

        ``None`` stands for a ``case`` field.
        """
        select = SQL(
            "SELECT action_id, digest, field_group FROM {}"
            " WHERE action_id = ANY(%s) AND received_from IS NULL"
        ).format(self._table)
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (list(action_ids),)).fetchall()
        return {
            (row["action_id"], row["digest"]): (
                FieldGroup(row["field_group"]) if row["field_group"] else None
            )
            for row in rows
        }

    def erase(self, case_id: UUID) -> bool:
        """Destroy the person's key, then all that it closed; nothing comes in again.

        Durable on return, and harmless to repeat. Returns whether anything was held.
        """
        forever = SQL("INSERT INTO {} (case_id) VALUES (%s) ON CONFLICT DO NOTHING").format(
            self._erased
        )
        delete = SQL("DELETE FROM {} WHERE case_id = %s")
        with self._database.transaction(role=self._role) as connection:
            connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (str(case_id),)
            )
            connection.execute(forever, (case_id,))
        # The key first: from then on no copy of the rows opens, wherever it is.
        had_key = self.keys.destroy(case_id)
        with self._database.transaction(role=self._role) as connection:
            removed = connection.execute(delete.format(self._table), (case_id,)).rowcount
            connection.execute(delete.format(self._inventory), (case_id,))
            self.duplicates.forget(connection, case_id)
        return had_key or removed > 0

    def erased_at(self, case_id: UUID) -> datetime | None:
        """When the person was erased here, if so."""
        select = SQL("SELECT erased_at FROM {} WHERE case_id = %s").format(self._erased)
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(select, (case_id,)).fetchone()
        return row["erased_at"] if row else None

    def erasures(self, limit: int, before: datetime | None = None) -> list[ErasedRow]:
        """Return who was erased here, the last first, before a time."""
        select = SQL(
            "SELECT case_id, erased_at FROM {}"
            " WHERE %(before)s::timestamptz IS NULL OR erased_at < %(before)s"
            " ORDER BY erased_at DESC LIMIT %(limit)s"
        ).format(self._erased)
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, {"before": before, "limit": limit}).fetchall()
        return [ErasedRow(row["case_id"], row["erased_at"]) for row in rows]

    def unconfirmed(self) -> Mapping[UUID, datetime]:
        """When each person was erased whose erasure is not confirmed on the ledger yet."""
        select = SQL("SELECT case_id, erased_at FROM {} WHERE confirmed_at IS NULL").format(
            self._erased
        )
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select).fetchall()
        return {row["case_id"]: row["erased_at"] for row in rows}

    def confirmed(self, case_id: UUID) -> None:
        """The ledger has this country's confirmation."""
        update = SQL("UPDATE {} SET confirmed_at = now() WHERE case_id = %s").format(self._erased)
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, (case_id,))

    def erased(self, case_ids: Sequence[UUID]) -> set[UUID]:
        """Those of ``case_ids`` whose persons were erased here."""
        select = SQL("SELECT case_id FROM {} WHERE case_id = ANY(%s)").format(self._erased)
        with self._database.transaction(role=self._role) as connection:
            return {row["case_id"] for row in connection.execute(select, (list(case_ids),))}

    def progress(self, work: str) -> int:
        """How far a work of this vault has followed the ledger."""
        select = SQL("SELECT position FROM {} WHERE work = %s").format(self._progress)
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(select, (work,)).fetchone()
        return row["position"] if row else 0

    def advance(self, work: str, position: int) -> None:
        """What lies up to ``position`` is done, and is on the disk before this.

        It does not wait for the disk itself: what a crash forgets is done again, to no effect.
        """
        update = SQL(
            "INSERT INTO {} (work, position) VALUES (%s, %s)"
            " ON CONFLICT (work) DO UPDATE SET position = EXCLUDED.position"
        ).format(self._progress)
        with self._database.transaction(role=self._role) as connection:
            connection.execute("SET LOCAL synchronous_commit = off")
            connection.execute(update, (work, position))

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
                    data_key = self.keys.get(row["case_id"]) or self.keys.make(row["case_id"])
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
            "SELECT action_id FROM {} WHERE received_at < now() - %(age)s::interval"
            " UNION SELECT action_id FROM {} WHERE received_at < now() - %(age)s::interval"
        ).format(self._table, self._inventory)
        with self._database.transaction(role=self._role) as connection:
            return [row["action_id"] for row in connection.execute(select, {"age": age})]

    def set_aside(self) -> Mapping[UUID, datetime]:
        """Since when what other countries disclosed of each action is set aside.

        These actions were in this node's copy, and are not in the ledger.
        """
        select = SQL("SELECT action_id, set_aside_at FROM {}").format(self._aside)
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select).fetchall()
        return {row["action_id"]: row["set_aside_at"] for row in rows}

    def take_back(self, action_ids: Collection[UUID]) -> None:
        """Let disclosures count again that were set aside."""
        delete = SQL("DELETE FROM {} WHERE action_id = ANY(%s)").format(self._aside)
        with self._database.transaction(role=self._role) as connection:
            connection.execute(delete, (list(action_ids),))

    def discard(self, action_ids: Sequence[UUID]) -> int:
        """Remove all disclosures of actions that the ledger never recorded."""
        delete = SQL("DELETE FROM {} WHERE action_id = ANY(%s)")
        with self._database.transaction(role=self._role) as connection:
            removed = connection.execute(delete.format(self._table), (list(action_ids),)).rowcount
            connection.execute(delete.format(self._inventory), (list(action_ids),))
        return removed


def _open_personal(connection: Connection[DictRow], reading: Reading | None) -> None:
    """Let row-level security show what an entry of the access log opens."""
    if reading is not None:
        connection.execute(
            "SELECT set_config('case_ledger.reading', %s, true)", (str(reading.seq),)
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

    def has(self, party: str) -> bool:
        """Whether this process keeps the country's vault."""
        return party in self._vaults

    def __iter__(self) -> Iterator[Vault]:
        return iter(self._vaults.values())
