"""Reads the disclosures that a country's vault holds on persons, and opens them with their keys."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

import structlog
from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier

from ledger.procedure.protocol import NOT_IN_MATRIX, Operation
from ledger.procedure.readings import Reading
from ledger.signing.country_key import SealError
from ledger.store.async_batcher import AsyncBatcher
from ledger.store.async_connection import SharedConnection
from ledger.store.migrate import vault_schema
from ledger.vault.access_log import open_for
from ledger.vault.deposits import missing
from ledger.vault.erasures import Erasures
from ledger.vault.field_encryption import unseal
from ledger.vault.held_fields import Damaged, Held, HeldFields, declared_levels
from ledger.vault.required_disclosures import ListedDeposit, Row
from ledger.vocabulary.levels import FieldGroup, Level

_log = structlog.get_logger(__name__)


class AccessMatrixBehindError(RuntimeError):
    """The vault's access matrix lacks what the version of the protocol in force allows.

    The node writes the matrix of a new version into its vaults within seconds. A node that may not
    write it waits for the database's owner.
    """


class Disclosures(Erasures):
    """The disclosures of one country's vault, and its inventory of them. Nothing here writes."""

    def case_fields(self, case_id: UUID) -> HeldFields:
        """Return the ``case`` fields held on a person: the country's own and received ones.

        The result names each field that does not open at its place. Raises ``KeyMissingError`` if
        the person's key is missing.
        """
        return self._open(case_id, SQL("level = 'case'"), {})

    def own_case_fields(self, action_ids: Sequence[UUID]) -> Sequence[Held]:
        """Return the ``case`` fields of named actions of the country's own agencies, of any case.

        Raises as :meth:`case_fields` does.
        """
        return self._case_fields_of(action_ids, SQL("received_from IS NULL"))

    def received_case_fields(self, action_ids: Sequence[UUID]) -> Sequence[Held]:
        """Return the ``case`` fields of named actions of other countries, of any case.

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
        withheld = self.withheld({row["case_id"] for row in rows})
        of_cases = groupby(rows, key=lambda row: row["case_id"])
        return [
            held
            for case_id, of_case in of_cases
            for held in self.opened(case_id, [*of_case], withheld=withheld)
        ]

    def withheld(self, case_ids: Collection[UUID]) -> Collection[UUID]:
        """Return the actions of some cases of which no disclosure is opened.

        These are the actions that a correction annuls, by the ledger as it is now.
        """
        return self._annulled(case_ids) if case_ids else ()

    def case_rows(self, lane: SharedConnection) -> AsyncBatcher[UUID, Sequence[DictRow]]:
        """Return a batcher that reads the sealed rows of persons' ``case`` fields.

        :meth:`opened` opens the rows. ``lane`` is a connection of this vault's reader role.
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

    def closed_groups(
        self, role: str, operation: Operation, groups: Iterable[FieldGroup]
    ) -> Sequence[FieldGroup]:
        """Return the groups that row-level security closes to a role's operation.

        It compares with the vault's own table of the access matrix, which is written anew a moment
        after another version of the protocol comes into force. A restoring node has no matrix.
        """
        with self._database.transaction(role=self._reader) as connection:
            return self._closed(connection, role, operation, groups)

    def access_matrix(self) -> set[tuple[str, str, str]]:
        """Return the rows of the vault's own table of the access matrix.

        Each row is a role, an operation and a field group.
        """
        select = SQL("SELECT role, operation, field_group FROM {}").format(
            Identifier(vault_schema(self.party), "access_matrix")
        )
        with self._database.transaction(role=self._reader) as connection:
            rows = connection.execute(select, prepare=True).fetchall()
        return {(row["role"], row["operation"], row["field_group"]) for row in rows}

    def _closed(
        self,
        connection: Connection[DictRow],
        role: str,
        operation: Operation,
        groups: Iterable[FieldGroup],
    ) -> Sequence[FieldGroup]:
        if operation in NOT_IN_MATRIX:
            return ()
        select = SQL(
            "SELECT g FROM unnest(%(groups)s::text[]) AS t (g) WHERE NOT EXISTS (SELECT FROM {}"
            " WHERE role = %(role)s AND operation = %(operation)s AND field_group = g)"
        ).format(Identifier(vault_schema(self.party), "access_matrix"))
        asked = {
            "groups": [group.value for group in groups],
            "role": role,
            "operation": operation.value,
        }
        return [FieldGroup(row["g"]) for row in connection.execute(select, asked, prepare=True)]

    def personal_fields(self, reading: Reading) -> HeldFields:
        """Return only the personal fields that an entry of the access log opens.

        Row-level security compares the rows with the entry, which must be less than a minute old.
        Raises as :meth:`case_fields` does, and ``AccessMatrixBehindError`` if the vault's access
        matrix closes a group that the entry grants: no part of what is granted is left out.
        """
        return self._open(
            reading.asked.case_id,
            SQL("level = 'personal' AND field_group = ANY(%(groups)s)"),
            {"groups": [group.value for group in reading.asked.groups]},
            reading,
        )

    def personal_fields_of(
        self, readings: Sequence[Reading], fields: Collection[str]
    ) -> Sequence[HeldFields]:
        """Return some fields of several persons, each as an entry of the access log opens them.

        The entries have the same role, operation and groups. All rows come in one transaction and
        one round trip. Raises as :meth:`personal_fields` does.
        """
        if not readings:
            return []
        select = SQL(
            "SELECT action_id, digest, field, level, field_group, received_from, received_at,"
            " sealed FROM {} WHERE case_id = %(case)s AND level = 'personal'"
            " AND field = ANY(%(fields)s) AND field_group = ANY(%(groups)s)"
            " AND sealed IS NOT NULL ORDER BY received_at, action_id, field"
        ).format(self._table)
        asked = readings[0].asked
        groups = [group.value for group in asked.groups]
        with self._database.transaction(role=self._reader) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            if closed := self._closed(connection, asked.role, asked.operation, asked.groups):
                raise AccessMatrixBehindError(", ".join(group.value for group in closed))
            cursors = []
            with connection.pipeline():
                for reading in readings:
                    open_for(connection, reading)
                    place = {
                        "case": reading.asked.case_id,
                        "fields": list(fields),
                        "groups": groups,
                    }
                    cursors.append(connection.execute(select, place, prepare=True))
            found = [cursor.fetchall() for cursor in cursors]
        withheld = self.withheld({one.asked.case_id for one in readings})
        return [
            self.opened(reading.asked.case_id, rows, reading, withheld=withheld)
            for reading, rows in zip(readings, found, strict=True)
        ]

    def reviewed_fields(self, reading: Reading) -> HeldFields:
        """Return all fields of the annulled action that an entry of the access log names.

        The entry is of a review of a destruction (:mod:`ledger.procedure.destruction_review`). This
        is the only opening of an annulled action. Raises as :meth:`case_fields` does.
        """
        return self._open(
            reading.asked.case_id,
            SQL("action_id = %(action)s"),
            {"action": reading.concerning},
            reading,
            withheld=(),
        )

    def _open(
        self,
        case_id: UUID,
        condition: SQL,
        parameters: Mapping[str, Any],
        reading: Reading | None = None,
        *,
        withheld: Collection[UUID] | None = None,
    ) -> HeldFields:
        select = SQL(
            "SELECT action_id, digest, field, level, field_group, received_from, received_at,"
            " sealed FROM {} WHERE case_id = %(case)s AND {} AND sealed IS NOT NULL"
            " ORDER BY received_at, action_id, field"
        ).format(self._table, condition)
        with self._database.transaction(role=self._reader) as connection:
            if reading is not None:
                # The matrix that is looked at must be the one by which the rows are let through.
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                asked = reading.asked
                if closed := self._closed(connection, asked.role, asked.operation, asked.groups):
                    raise AccessMatrixBehindError(", ".join(group.value for group in closed))
            _open_personal(connection, reading)
            rows = connection.execute(select, {"case": case_id, **parameters}).fetchall()
        return self.opened(case_id, rows, reading, withheld=withheld)

    def opened(
        self,
        case_id: UUID,
        rows: Sequence[DictRow],
        reading: Reading | None = None,
        *,
        withheld: Collection[UUID] | None = None,
    ) -> HeldFields:
        """Return the disclosures of a person's rows that open, and the damaged ones.

        Every opening of a disclosure passes through this method. It leaves out the actions that are
        ``withheld`` and those whose disclosures were destroyed. A caller that opens rows of many
        persons asks for the withheld ones once. The result is empty if the person is erased
        meanwhile. Raises ``KeyMissingError`` if the person's key is missing.
        """
        if withheld is None:
            withheld = self.withheld({case_id} if rows else ())
        destroyed = filter(self.keys.is_destroyed, {row["action_id"] for row in rows})
        if away := {*withheld, *destroyed}:
            rows = [row for row in rows if row["action_id"] not in away]
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
        """Return the rows, with the content that the rows of damaged disclosures have now."""
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

    def _opened(self, case_id: UUID, rows: Sequence[DictRow]) -> HeldFields:
        """Open the given rows as :meth:`opened` does, without reading rows again."""
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

    def noted(self, action_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[ListedDeposit]]:
        """Return the deposits of actions, as the inventory lists them, by action.

        The inventory is not authenticated here.
        """
        select = SQL(
            "SELECT action_id, received_from, digests, fields, whole FROM {}"
            " WHERE action_id = ANY(%s)"
        ).format(self._inventory)
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (list(action_ids),), prepare=True).fetchall()
        found: dict[UUID, list[ListedDeposit]] = {}
        for row in rows:
            listed = ListedDeposit(
                row["received_from"],
                dict(zip(row["digests"], row["fields"], strict=False)),
                row["whole"],
            )
            found.setdefault(row["action_id"], []).append(listed)
        return found

    def has_whole(self, action_id: UUID, *, besides: UUID | None = None) -> bool:
        """Return whether one deposit has all that the country's own agency disclosed.

        Every row of the deposit must exist. The deposit ``besides`` does not count.
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

    def held_fields(self, action_id: UUID) -> Mapping[str, frozenset[str]]:
        """Return the digests that the vault holds of each field of an action. Nothing is opened."""
        select = SQL(
            "SELECT field, array_agg(DISTINCT digest) AS digests FROM {} WHERE action_id = %s"
            " GROUP BY field"
        ).format(self._table)
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (action_id,)).fetchall()
        return {row["field"]: frozenset(row["digests"]) for row in rows}

    def has_field(self, action_id: UUID, digest: str, field: str) -> bool:
        """Return whether the vault has a row of a disclosure with this field. Nothing is opened."""
        select = SQL("SELECT FROM {} WHERE action_id = %s AND digest = %s AND field = %s LIMIT 1")
        with self._database.transaction(role=self._role) as connection:
            found = connection.execute(select.format(self._table), (action_id, digest, field))
            return found.fetchone() is not None

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

    def own_fields(
        self, action_ids: Sequence[UUID]
    ) -> Mapping[tuple[UUID, str], tuple[str, FieldGroup | None]]:
        """Return the name and the field group of each disclosure of the country's own actions.

        The keys are action and digest. The group ``None`` means a ``case`` field.
        """
        select = SQL(
            "SELECT action_id, digest, field, field_group FROM {}"
            " WHERE action_id = ANY(%s) AND received_from IS NULL"
        ).format(self._table)
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (list(action_ids),)).fetchall()
        return {
            (row["action_id"], row["digest"]): (
                row["field"],
                FieldGroup(row["field_group"]) if row["field_group"] else None,
            )
            for row in rows
        }


def _open_personal(connection: Connection[DictRow], reading: Reading | None) -> None:
    """Set the access log entry that row-level security compares personal rows with."""
    if reading is not None:
        open_for(connection, reading)
