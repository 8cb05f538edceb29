"""The access log of a vault: which agency asked for which personal fields, when, and why.

An entry is durable before anything is opened, and the database opens no personal field without one.
Each entry's hash covers the entry before, so that a changed or missing entry is noticed.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.sql import SQL, Composed, Identifier
from pydantic import ValidationError

from ledger.procedure.protocol import Operation
from ledger.procedure.readings import Asked, BasisNamed, CopyKind, Reading, Sought
from ledger.store.database import Database
from ledger.store.disk import until_given_way
from ledger.store.migrate import vault_role, vault_schema
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Purpose

_BEFORE_THE_FIRST = bytes(32)
COUNTED = "readings"
"""Under this name the vault's progress counts the entries."""
NO_CASE = UUID(int=0)
"""An entry on a search as a whole has this id in place of a case's."""
_PAGE = 500


def open_for(connection: Connection[Any], reading: Reading) -> None:
    """Set the entry that row-level security compares a transaction's personal rows with."""
    connection.execute("SELECT set_config('case_ledger.reading', %s, true)", (str(reading.seq),))


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry to be written: granted, unless a rule refused it."""

    asked: Asked
    bases: Mapping[FieldGroup, BasisNamed] = field(default_factory=dict)
    refused_by: str | None = None
    concerning: UUID | None = None
    copy_kind: CopyKind | None = None
    sought: Sought | None = None

    def reading(self, seq: int, at: datetime) -> Reading:
        """Return the entry under its number."""
        return Reading(
            seq=seq,
            at=at,
            asked=self.asked,
            granted=self.refused_by is None,
            refused_by=self.refused_by,
            bases=self.bases,
            concerning=self.concerning,
            copy_kind=self.copy_kind,
            sought=self.sought,
        )


class CaseReadings(list[Reading]):
    """The entries that hold. ``changed`` has the numbers of those that do not."""

    def __init__(self, holding: Iterable[Reading] = (), changed: tuple[int, ...] = ()) -> None:
        super().__init__(holding)
        self.changed = changed


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """The entries of an access log that an audit asks for. What is unset limits nothing."""

    agency: str | None = None
    operation: Operation | None = None
    purpose: Purpose | None = None
    case_id: UUID | None = None
    granted: bool | None = None
    recorded_from: datetime | None = None
    recorded_before: datetime | None = None
    with_nodes: bool = False
    """Whether entries of the country's node are among them."""


@dataclass(frozen=True, slots=True)
class EntryPage:
    """Some entries of an access log, the last one first."""

    readings: CaseReadings
    following: int | None
    """The next page has the entries before this number; ``None`` on the last page."""


class Readings:
    """One country's access log."""

    def __init__(self, database: Database, party: str) -> None:
        self._database = database
        self._role = vault_role(party)
        self._table = SQL("{}.readings").format(Identifier(vault_schema(party)))
        self._ended = SQL("{}.readings_ended").format(Identifier(vault_schema(party)))
        self._end = SQL("SELECT {}.end_readings(%s, %s, %s) AS removed").format(
            Identifier(vault_schema(party))
        )
        self._progress = SQL("{}.progress").format(Identifier(vault_schema(party)))

    def record(
        self,
        asked: Asked,
        *,
        bases: Mapping[FieldGroup, BasisNamed] | None = None,
        refused_by: str | None = None,
        concerning: UUID | None = None,
        copy_kind: CopyKind | None = None,
        sought: Sought | None = None,
    ) -> Reading:
        """Write an entry; granted, unless a rule refused it. Durable on return."""
        (reading,) = self.record_all(
            [NewEntry(asked, bases or {}, refused_by, concerning, copy_kind, sought)]
        )
        return reading

    @until_given_way
    def record_all(self, entries: Sequence["NewEntry"]) -> Sequence[Reading]:
        """Write entries in one transaction, in their order. Durable on return."""
        # By the database's clock, since row-level security holds it against that clock.
        last = SQL(
            "SELECT clock_timestamp() AS at, last.seq, last.hash FROM (VALUES (1)) AS one"
            " LEFT JOIN (SELECT seq, hash FROM {} ORDER BY seq DESC LIMIT 1) AS last ON true"
        ).format(self._table)
        counted = SQL("SELECT position FROM {} WHERE work = %s").format(self._progress)
        count = SQL(
            "INSERT INTO {} (work, position) VALUES (%s, %s)"
            " ON CONFLICT (work) DO UPDATE SET position = EXCLUDED.position"
        ).format(self._progress)
        insert = SQL(
            "INSERT INTO {} (seq, recorded_at, agency, agency_role, case_id, operation, groups,"
            " granted, entry, hash) VALUES (%(seq)s, %(at)s, %(agency)s, %(role)s, %(case)s,"
            " %(operation)s, %(groups)s, %(granted)s, %(entry)s, %(hash)s)"
        ).format(self._table)
        written: list[Reading] = []
        with self._database.transaction(role=self._role) as connection:
            connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"readings {self._role}",)
            )
            before = connection.execute(last).fetchone()
            if before is None:
                raise RuntimeError("a question for one row has no answer")
            known = connection.execute(counted, (COUNTED,)).fetchone()
            # After entries that were deleted a gap stays.
            seq = max(before["seq"] or 0, known["position"] if known else 0)
            chained = bytes(before["hash"]) if before["hash"] else None
            for new in entries:
                seq += 1
                reading = new.reading(seq, before["at"].astimezone(UTC))
                entry = reading.model_dump_json(exclude_none=True)
                chained = _chained(chained, entry)
                asked = new.asked
                connection.execute(
                    insert,
                    {
                        "seq": reading.seq,
                        "at": reading.at,
                        "agency": asked.agency,
                        "role": asked.role,
                        "case": asked.case_id,
                        "operation": asked.operation.value,
                        "groups": [group.value for group in asked.groups],
                        "granted": reading.granted,
                        "entry": entry,
                        "hash": chained,
                    },
                )
                written.append(reading)
            connection.execute(count, (COUNTED, seq))
        return written

    def searches_within_a_day(self, agency: str, person: str | None, key_id: str | None) -> int:
        """Return how often a person searched within a day, or a system with an agency's key."""
        count = SQL(
            "SELECT count(*) AS searches FROM {} WHERE operation = 'search' AND agency = %s"
            " AND recorded_at > now() - interval '1 day' AND case_id = %s"
            " AND entry::jsonb #>> '{{asked,person}}' IS NOT DISTINCT FROM %s"
            " AND (%s::text IS NOT NULL OR entry::jsonb #>> '{{asked,key_id}}' = %s)"
        ).format(self._table)
        with self._database.transaction(role=self._role) as connection:
            values = (agency, NO_CASE, person, person, key_id)
            row = connection.execute(count, values).fetchone()
        return row["searches"] if row else 0

    def of_case(self, case_id: UUID) -> "CaseReadings":
        """Return the entries on one person, in order of their numbers.

        The result lists the entries whose hash and columns are right. Its ``changed`` lists the
        numbers of the other entries.
        """
        select = SQL(
            "SELECT r.*, {before} AS hash_before FROM {table} r WHERE r.case_id = %s ORDER BY r.seq"
        ).format(table=self._table, before=self._hash_before())
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (case_id,)).fetchall()
        return _holding(rows)

    def filtered(self, only: EntryFilter, *, before: int, limit: int) -> EntryPage:
        """Return at most ``limit`` entries with numbers less than ``before``, the last one first.

        Changed entries are named as :meth:`of_case` names them.
        """
        asked = [(text, value) for text, value in _conditions(only) if value is not None]
        conditions = [SQL("r.seq < %s"), *(SQL(text) for text, _ in asked)]
        if not only.with_nodes:
            conditions.append(SQL("r.agency_role <> 'node'"))
        select = SQL(
            "SELECT r.*, {before} AS hash_before FROM {table} r WHERE {conditions}"
            " ORDER BY r.seq DESC LIMIT %s"
        ).format(
            table=self._table,
            before=self._hash_before(),
            conditions=SQL(" AND ").join(conditions),
        )
        values = (before, *(value for _, value in asked), limit + 1)
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, values).fetchall()
        following = rows[limit - 1]["seq"] if len(rows) > limit else None
        return EntryPage(_holding(rows[:limit]), following)

    def end(self, before: datetime, upto: int, most: int = 10_000) -> int:
        """Remove the first entries, and return how many.

        They are older than ``before``, have a number of ``upto`` at most, and are on no person of
        whom the vault holds anything. The database keeps each entry for a year at least.
        """
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(self._end, (before, upto, most)).fetchone()
        return row["removed"] if row else 0

    def ended(self) -> tuple[int, bytes]:
        """Return the number of the last entry that was removed, and its hash."""
        last = SQL("SELECT seq, hash FROM {} ORDER BY seq DESC LIMIT 1").format(self._ended)
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(last).fetchone()
        return (row["seq"], bytes(row["hash"])) if row else (0, _BEFORE_THE_FIRST)

    def _hash_before(self) -> Composed:
        """Return the SQL of the hash before an entry, which may be that of a removed entry."""
        return SQL(
            "coalesce((SELECT b.hash FROM {table} b WHERE b.seq < r.seq ORDER BY b.seq DESC"
            " LIMIT 1), (SELECT e.hash FROM {ended} e WHERE e.seq < r.seq ORDER BY e.seq DESC"
            " LIMIT 1))"
        ).format(table=self._table, ended=self._ended)

    def first_after(self, seq: int) -> datetime | None:
        """Return when the first entry after a number was written; ``None`` if there is none."""
        select = SQL("SELECT recorded_at FROM {} WHERE seq > %s ORDER BY seq LIMIT 1").format(
            self._table
        )
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(select, (seq,)).fetchone()
        return row["recorded_at"].astimezone(UTC) if row else None

    def head(self) -> tuple[int, bytes]:
        """Return the number of entries and the hash that covers them all."""
        last = SQL("SELECT seq, hash FROM {} ORDER BY seq DESC LIMIT 1").format(self._table)
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(last).fetchone()
        return (row["seq"], bytes(row["hash"])) if row else (0, _BEFORE_THE_FIRST)

    def findings(self, anchored: Mapping[int, bytes] = MappingProxyType({})) -> Iterator[str]:
        """Yield a text for each fault of the whole log.

        A log without a fault yields nothing. ``anchored`` has the hashes that the ledger recorded,
        by number of entries.
        """
        seq, chained = ended = self.ended()
        for row in self._rows():
            if row["seq"] != seq + 1:
                yield _missing(seq + 1, row["seq"] - 1)
            seq = row["seq"]
            chained = _chained(chained, row["entry"])
            if chained != bytes(row["hash"]):
                yield f"entry {seq} or one before it was changed"
                chained = bytes(row["hash"])
            if _read(row) is None:
                yield f"entry {seq} cannot be read, or its columns are not the entry's"
            if anchored.get(seq, chained) != chained:
                yield f"the first {seq} entries are not those that the ledger recorded"
        counted = self._counted()
        if counted is None:
            yield "the count of entries is missing"
        elif counted > seq:
            yield _missing(seq + 1, counted)
        elif counted < seq:
            yield f"the vault counted {counted} entries, and {seq} are here"
        if anchored.get(ended[0], ended[1]) != ended[1]:
            yield f"the {ended[0]} removed entries are not those that the ledger recorded"
        for entries in anchored:
            if entries > seq:
                yield f"the ledger recorded {entries} entries, and {seq} are here"

    def _counted(self) -> int | None:
        counted = SQL("SELECT position FROM {} WHERE work = %s").format(self._progress)
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(counted, (COUNTED,)).fetchone()
        return row["position"] if row else None

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        page = SQL("SELECT * FROM {} WHERE seq > %s ORDER BY seq LIMIT %s").format(self._table)
        after = 0
        while True:
            with self._database.transaction(role=self._role) as connection:
                rows = connection.execute(page, (after, _PAGE)).fetchall()
            yield from rows
            if len(rows) < _PAGE:
                return
            after = rows[-1]["seq"]


def _conditions(only: EntryFilter) -> Sequence[tuple[LiteralString, object]]:
    return (
        ("r.agency = %s", only.agency),
        ("r.operation = %s", only.operation),
        # As the index has it. A changed entry may be no JSON.
        ('substring(r.entry FROM \'"purpose":"([a-z_]+)"\') = %s', only.purpose),
        ("r.case_id = %s", only.case_id),
        ("r.granted = %s", only.granted),
        ("r.recorded_at >= %s", only.recorded_from),
        ("r.recorded_at < %s", only.recorded_before),
    )


def _holding(rows: Iterable[Mapping[str, Any]]) -> CaseReadings:
    """Return the entries of rows that hold, in their order, and the numbers of the others."""
    holding, changed = [], []
    for row in rows:
        before = bytes(row["hash_before"]) if row["hash_before"] is not None else None
        reading = _read(row)
        if reading is not None and _chained(before, row["entry"]) == bytes(row["hash"]):
            holding.append(reading)
        else:
            changed.append(row["seq"])
    return CaseReadings(holding, tuple(changed))


def _chained(before: bytes | None, entry: str) -> bytes:
    return hashlib.sha256((before or _BEFORE_THE_FIRST) + entry.encode()).digest()


def _missing(first: int, last: int) -> str:
    return (
        f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"
    )


def _read(row: Mapping[str, Any]) -> Reading | None:
    """Return the entry of a row, or ``None`` if its text or its columns are wrong.

    The text is wrong if it cannot be read. The columns are wrong if they differ from the entry.
    """
    try:
        reading = Reading.model_validate_json(row["entry"])
    except ValidationError:
        return None
    asked = reading.asked
    agrees = (
        reading.seq == row["seq"]
        and reading.at == row["recorded_at"]
        and asked.agency == row["agency"]
        and asked.role == row["agency_role"]
        and asked.case_id == row["case_id"]
        and asked.operation == row["operation"]
        and [group.value for group in asked.groups] == row["groups"]
        and reading.granted == row["granted"]
    )
    return reading if agrees else None
