"""The recorder: the ``eventsourcing`` library's, made gapless, stamped and idempotent.

Extends ``PostgresApplicationRecorder`` where it is meant to be extended: ``insert_events`` and
``select_events``. Concurrent appends are committed in groups. Tables come from migrations, never
from the recorder.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
from eventsourcing.persistence import (
    IntegrityError,
    InterfaceError,
    OperationalError,
    PersistenceError,
    StoredEvent,
)
from eventsourcing.postgres import BasePostgresFactory, PostgresDatastore, PostgresFactory
from psycopg import Connection, Cursor
from psycopg.rows import DictRow

from ledger.events import event_bytes
from ledger.events.event_mapper import UnsealedEvent
from ledger.log import merkle
from ledger.store.database import APP_ROLE, ReconnectedError, check_since
from ledger.store.datastore import LedgerDatastore
from ledger.store.event_reader import EventReader
from ledger.store.event_rows import (
    CHANNEL,
    Guard,
    Head,
    RecordedRow,
    RowsCall,
    begin_at_head,
    insert_locked,
    lock_head,
    read_head,
    rows_call,
)
from ledger.store.group_commit import GroupCommit
from ledger.store.postgres_arrays import Bigints, Uuids
from ledger.store.prepared import BEGIN, COMMIT, Call, role_call, roll_back, run
from ledger.system import clock
from ledger.system.backoff import Backoff
from ledger.system.retrying import retrying
from ledger.system.telemetry import span

TABLE = "events"
_AT_MOST = 256
"""Appends that share a transaction; what comes in meanwhile is the next group."""
_ALONE_AFTER = 4
"""So many groups in a row must find the head where this process left it, until it appends without
the lock again."""

# Asked once the lock is held, in a statement of its own snapshot: a key revoked meanwhile
# cannot slip an action past its revocation.
_VERSIONS = """
SELECT o.id, (SELECT max(originator_version) FROM ledger.events WHERE originator_id = o.id) AS last
FROM unnest(%b::uuid[]) AS o (id)
"""

_TAKEN = """
SELECT action_id, originator_id, originator_version FROM ledger.events
WHERE action_id = ANY(%(actions)b)
UNION ALL
SELECT action_id, originator_id, originator_version FROM ledger.events
JOIN unnest(%(originators)b::uuid[], %(versions)b::bigint[]) AS o (id, version)
ON originator_id = o.id AND originator_version = o.version
"""


class RegistryMovedError(IntegrityError):
    """The registry changed between the decision and the append; decide again."""


class OtherCaseMovedError(IntegrityError):
    """Another case that the decision read has changed since; decide again."""


class TakenError(IntegrityError):
    """Another event has this action's id, or this version of its case."""


class TimeMovedError(IntegrityError):
    """The decision does not hold at the time that would be stored; decide again by that time."""


class HistoryWentBackError(PersistenceError):
    """The ledger has fewer events than this process saw in it, and nothing is appended."""


class HeadMovedError(IntegrityError):
    """Another process wrote to this copy of the ledger first."""


class ApartError(PersistenceError):
    """The rows that were to be committed with the events must be committed before them."""


@dataclass(frozen=True, slots=True)
class Alongside:
    """Rows of another schema that are committed with events, in a role of their own."""

    role: str
    content: Any
    calls: Callable[[Sequence[Any]], Sequence[Call]]
    """Returns the calls that insert the contents of several proposals with the same role. A call
    fails where one of them may not be inserted, with ``psycopg.errors.RaiseException``."""


@dataclass(frozen=True, slots=True)
class AppendRequest:
    """Events that are appended together or not at all."""

    events: tuple[UnsealedEvent, ...]
    guard: Guard | None = None
    holds_at: Callable[[datetime], bool] | None = None
    """Whether they were decided rightly, if this time is stored with them. It asks no database."""
    since: float | None = None
    """Recorded on a connection that was there then, by the monotonic clock, or not at all."""
    others: Mapping[UUID, int] = field(default_factory=dict)
    """The versions of the other cases that the decision read. Recorded at these, or not at all."""
    alongside: Alongside | None = None
    """Rows that are there once the events are, and not before."""


Placed: TypeAlias = Sequence[RecordedRow]
"""The rows that one proposal became."""


class LedgerRecorder(EventReader):
    """Records events at the next positions, in the one order of the ledger."""

    def __init__(self, datastore: PostgresDatastore, *, events_table_name: str = TABLE) -> None:
        super().__init__(datastore, events_table_name=events_table_name)
        self.channel_name = CHANNEL
        appends = datastore.appends if isinstance(datastore, LedgerDatastore) else datastore
        self._appending = appends.get_connection
        self._role = datastore.role if isinstance(datastore, LedgerDatastore) else APP_ROLE
        self._appends = GroupCommit(self._append_together, at_most=_AT_MOST)
        self._head: Head | None = None
        """Where the ledger ends, as far as is known; whoever leads a group has it alone."""
        self._found_own = _ALONE_AFTER
        """Groups in a row that found the head where this process left it."""
        self.groups = self.misses = 0
        """Groups that were written, and attempts that another process's append made vain."""
        self._last_at = datetime.fromtimestamp(0, UTC)
        """The time of the last event that this process saw at the head."""
        self.noted_size = 0
        """The most events that this process saw in the ledger."""

    def let_go(self) -> None:
        """Close the pools at once. Callers that wait for a connection get ``OperationalError``."""
        if isinstance(self.datastore, LedgerDatastore):
            self.datastore.let_go()

    @property
    def appends_alone(self) -> bool:
        """Return whether no other process appends, as far as this one has seen.

        Then rows alongside are committed with their events. Otherwise they are committed before,
        so that the head's lock is not held for them.
        """
        return self._found_own >= _ALONE_AFTER

    def note_size(self, size: int) -> None:
        """Append no more if the ledger is found with fewer events than this."""
        self.noted_size = max(self.noted_size, size)

    def forget(self) -> None:
        """Forget the head that this process saw last: the database may be another by now."""
        self._head, self._last_at = None, datetime.fromtimestamp(0, UTC)

    def create_table(self) -> None:
        """Do nothing: migrations, which this role cannot run, make the tables."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Insert events as the library does, and return their positions; they are durable."""
        return [row.position for row in self.append(stored_events, **kwargs)]

    @retrying((InterfaceError, OperationalError), attempts=10, backoff=Backoff(0.1, 1.0)).wraps
    def append(
        self,
        stored_events: Sequence[StoredEvent],
        guard: Guard | None = None,
        holds_at: Callable[[datetime], bool] | None = None,
        since: float | None = None,
        others: Mapping[UUID, int] | None = None,
        alongside: Alongside | None = None,
        **_: Any,
    ) -> Placed:
        """Append events at the next positions, together or not at all; they are durable on return.

        The events that other threads append at the same time share the transaction. Raises
        ``RegistryMovedError`` if the guard does not hold, ``OtherCaseMovedError`` if a case in
        ``others`` has another version, ``TimeMovedError`` if the time that would be stored fails
        ``holds_at``, ``TakenError``, and ``ReconnectedError`` if a crash may have taken back the
        rows that were committed ``since``.

        The rows ``alongside`` are committed in the same transaction. Raises ``ApartError``, and
        nothing is written, if they are to be committed before the events.
        """
        if not stored_events:
            return ()
        events = tuple(map(_unsealed, stored_events))
        return self._appends.call(
            AppendRequest(events, guard, holds_at, since, others or {}, alongside)
        )

    def _append_together(self, proposals: Sequence[AppendRequest]) -> Sequence[Placed | Exception]:
        with (
            span("ledger.append", {"actions": len(proposals)}),
            self._appending() as connection,
        ):
            group = _Group(connection)
            group.take(proposals)
            self._append_group(connection, group)
            return group.outcomes()

    def _append_group(self, connection: Connection[Any], group: "_Group") -> None:
        """Append a group by the first of three ways that applies.

        A process that appends alone needs one round trip, without the head's lock before it. Where
        another process appends too, this one takes the lock first. If some of the proposals cannot
        be appended, they are judged one by one under the lock.
        """
        if self._append_at_once(connection, group):
            return
        group.turn_away()
        if not group.standing:
            return
        if not self._append_locked(connection, group):
            self._append_locked(connection, group, one_by_one=True)

    def _append_at_once(self, connection: Connection[Any], group: "_Group") -> bool:
        """Append all proposals after the head that this process saw last.

        Return whether they are appended: nothing is written if something is in the way.
        """
        if not self.appends_alone or not (standing := group.standing):
            return False
        head = self._head or read_head(connection)
        self._head = None
        if head.position < self.noted_size:
            return False
        if (rows := _placed_plainly(standing, head)) is None:
            return False
        alongside = _alongside(standing)
        made = _rows_call(head, rows, standing, fails=bool(alongside))
        calls = [made.call]
        if alongside:
            calls = [BEGIN, *alongside, role_call(self._role), made.call, COMMIT]
        try:
            has_moved = run(connection, calls)[-2 if alongside else -1].ntuples > 0
        except psycopg.errors.DivisionByZero:
            has_moved = False
        except (psycopg.errors.UniqueViolation, psycopg.errors.RaiseException):
            return False
        if not has_moved:
            self._found_own = 0  # another process appends too, or the registry changed
            self.misses += 1
            return False
        self._saw(made.moved)
        group.settle(rows)
        return True

    def _append_locked(
        self, connection: Connection[Any], group: "_Group", *, one_by_one: bool = False
    ) -> bool:
        """Append under the head's lock the proposals that can be, and note the errors of others.

        PostgreSQL gives the lock to processes in the order in which they asked for it. What came
        in while this process waited joins the group. Return whether they are appended: nothing is
        written if something is in the way of one, and they were not judged ``one_by_one``.
        """
        known, self._head = self._head, None
        head = begin_at_head(connection)
        try:
            if head.position < self.noted_size:
                raise HistoryWentBackError(
                    f"the ledger has {head.position} events, and had {self.noted_size}"
                )
            group.take(self._appends.gather(), apart=True)
            if known is not None:
                self._found_own = self._found_own + 1 if known.position == head.position else 0
            if one_by_one:
                self._saw(self._append_one_by_one(connection, head, group))
                return True
            standing = group.standing
            if (rows := _placed_plainly(standing, head)) is None:
                roll_back(connection)
                return False
            made = _rows_call(head, rows, standing)
            # Where the guard does not hold, the commit is of nothing.
            if not run(connection, (made.call, COMMIT))[0].ntuples:
                return False
        except psycopg.errors.UniqueViolation:
            roll_back(connection)
            if one_by_one:
                raise
            return False
        except BaseException:
            roll_back(connection)
            raise
        self._saw(made.moved)
        group.settle(rows)
        return True

    def _append_one_by_one(self, connection: Connection[Any], head: Head, group: "_Group") -> Head:
        """Append the proposals that can be, and note the errors of the others; return the new head.

        The head is locked, and the transaction ends here.
        """
        proposals = group.standing
        with connection.cursor() as curs:
            verdict = _Verdict(self._versions(curs, proposals), *self._taken(curs, proposals))
        outcomes = _place(proposals, head, verdict)
        rows = _flat(outcomes)
        if not rows:
            run(connection, (COMMIT,))
            group.settle(outcomes)
            return head
        made = rows_call(head, rows)
        if not run(connection, (made.call, COMMIT))[0].ntuples:
            raise IntegrityError("the head moved although it is locked")
        group.settle(outcomes)
        return made.moved

    def _saw(self, head: Head) -> None:
        """Note where the ledger ends after a group of this process."""
        self._head, self._last_at = head, head.recorded_at
        self.note_size(head.position)
        self.groups += 1

    def _versions(
        self, curs: Cursor[DictRow], proposals: Sequence[AppendRequest]
    ) -> dict[UUID, int]:
        ids = {guard.originator_id for guard in _guards(proposals)}
        ids.update(*(proposal.others for proposal in proposals))
        if not ids:
            return {}
        curs.execute(_VERSIONS, (Uuids(ids),), prepare=False)
        return {row["id"]: row["last"] or 0 for row in curs.fetchall()}

    def _taken(
        self, curs: Cursor[DictRow], proposals: Sequence[AppendRequest]
    ) -> tuple[set[UUID], set[tuple[UUID, int]]]:
        """Return the proposed action ids, and the proposed versions, that events have already."""
        events = [event for proposal in proposals for event in proposal.events]
        proposed = {
            "actions": Uuids(event.action_id for event in events),
            "originators": Uuids(map(_uuid, events)),
            "versions": Bigints(event.originator_version for event in events),
        }
        curs.execute(_TAKEN, proposed, prepare=False)
        found = curs.fetchall()
        return (
            {row["action_id"] for row in found},
            {(row["originator_id"], row["originator_version"]) for row in found},
        )

    def copy(self, connection: Connection[DictRow], rows: Sequence[RecordedRow]) -> None:
        """Insert rows as another node recorded them, in the caller's transaction.

        Raises ``HeadMovedError`` if they do not follow this ledger's last event.
        """
        with connection.cursor() as curs:
            head = lock_head(curs)
            if head.position != rows[0].position - 1:
                raise HeadMovedError(f"this ledger ends at position {head.position} by now")
            insert_locked(connection, head, rows)

    def next_time(self, *, ask: bool = False) -> datetime:
        """Return the time that an event would be stored with now: the later of clock and head.

        With ``ask`` the head is read from the database. Without, it is the one that this process
        saw last.
        """
        if ask:
            self._last_at = self.last_recorded_at()
        return max(clock.now(), self._last_at)


class LedgerFactory(PostgresFactory):
    """Constructs recorders over ``CASE_LEDGER_CONNINFO``."""

    CONNINFO = "CASE_LEDGER_CONNINFO"
    POOL_SIZE = "CASE_LEDGER_POOL_SIZE"

    def __init__(self, env: Any) -> None:
        # Past the library's own Postgres factory, which asks for one variable per
        # connection parameter where a connection string says it all.
        super(BasePostgresFactory, self).__init__(env)
        conninfo = self.env.get(self.CONNINFO)
        if not conninfo:
            raise OSError(f"{self.CONNINFO} names no database")
        pool_size = int(self.env.get(self.POOL_SIZE) or 10)
        self.datastore = LedgerDatastore(conninfo, pool_size=pool_size)

    def application_recorder(self) -> LedgerRecorder:
        return LedgerRecorder(self.datastore)


@dataclass
class _Verdict:
    """The obstacles to proposals; each accepted proposal is one for the proposals after it."""

    versions: dict[UUID, int]
    """Of the registry and of other cases that were read, as far as they are known."""
    actions: set[UUID] = field(default_factory=set)
    places: set[tuple[UUID, int]] = field(default_factory=set)

    def on(self, proposal: AppendRequest, recorded_at: datetime) -> IntegrityError | None:
        """Return why a proposal is refused; ``None`` counts it as accepted."""
        guard = proposal.guard
        known = self.versions.get(guard.originator_id) if guard else None
        if guard is not None and known is not None and known != guard.version:
            return RegistryMovedError("the registry changed meanwhile")
        if any(self.versions.get(case, 0) != read for case, read in proposal.others.items()):
            return OtherCaseMovedError("another case that was read changed meanwhile")
        if proposal.holds_at is not None and not proposal.holds_at(recorded_at):
            return TimeMovedError("it was decided by another time than the one to be stored")
        actions = {event.action_id for event in proposal.events}
        places = {(_uuid(event), event.originator_version) for event in proposal.events}
        if (
            len(actions) != len(proposal.events)
            or not actions.isdisjoint(self.actions)
            or not places.isdisjoint(self.places)
        ):
            return TakenError("an action id, or a version of a case, is taken")
        self.actions |= actions
        self.places |= places
        for originator, version in places:
            if originator in self.versions:
                self.versions[originator] = max(version, self.versions[originator])
        return None


class _Group:
    """The proposals of a group, and what became of each."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection
        self._joined: list[tuple[AppendRequest, Exception | None]] = []
        """All proposals, each with the error of one that may not be appended."""
        self._settled: Sequence[Placed | Exception] = ()

    @property
    def standing(self) -> list[AppendRequest]:
        """Return the proposals that may be appended on this connection."""
        return [proposal for proposal, error in self._joined if error is None]

    def take(self, proposals: Sequence[AppendRequest], *, apart: bool = False) -> None:
        """Let proposals join, unless a crash may have taken back what they stand on.

        With ``apart``, none stands that has rows to be committed alongside.
        """
        for proposal in proposals:
            error: Exception | None = None
            try:
                check_since(self._connection, proposal.since)
            except ReconnectedError as reconnected:
                error = reconnected
            self._joined.append((proposal, error))
        if apart:
            self.turn_away()

    def turn_away(self) -> None:
        """Let the proposals go that have rows to be committed alongside."""
        self._joined = [
            (proposal, ApartError("they could not be appended at once"))
            if error is None and proposal.alongside is not None
            else (proposal, error)
            for proposal, error in self._joined
        ]

    def settle(self, outcomes: Sequence[Placed | Exception]) -> None:
        """Note what became of the proposals that stood, in their order."""
        self._settled = outcomes

    def outcomes(self) -> Sequence[Placed | Exception]:
        """Return what became of each proposal, in the order in which they joined."""
        settled = iter(self._settled)
        return [next(settled) if error is None else error for _, error in self._joined]


def _placed_plainly(proposals: Sequence[AppendRequest], head: Head) -> list[Placed] | None:
    """Place the proposals after ``head`` as far as no question to the database is needed.

    The result is ``None`` if a proposal is refused, if two of them name different versions of the
    registry, or if the versions of other cases are to be read.
    """
    guards = _guards(proposals)
    if not proposals or len(guards) > 1 or any(proposal.others for proposal in proposals):
        return None
    # The statement finds out whether the guard holds.
    return _placed(proposals, head, _Verdict({g.originator_id: g.version for g in guards}))


def _rows_call(
    head: Head, rows: Sequence[Placed], proposals: Sequence[AppendRequest], *, fails: bool = False
) -> RowsCall:
    """Return the call that inserts rows, with the one guard that the proposals have."""
    return rows_call(head, _flat(rows), next(iter(_guards(proposals)), None), fails=fails)


def _alongside(proposals: Sequence[AppendRequest]) -> list[Call]:
    """Return the calls that insert the rows alongside, after those that take the role of each."""
    by_role: dict[str, list[Alongside]] = {}
    for proposal in proposals:
        if (one := proposal.alongside) is not None:
            by_role.setdefault(one.role, []).append(one)
    calls: list[Call] = []
    for role, found in sorted(by_role.items()):
        calls += (role_call(role), *found[0].calls([one.content for one in found]))
    return calls


def _place(
    proposals: Sequence[AppendRequest], head: Head, verdict: _Verdict
) -> list[Placed | Exception]:
    """Give each accepted proposal its positions after ``head``, and its bytes their time."""
    recorded_at = max(clock.now(), head.recorded_at)
    position = head.position
    outcomes: list[Placed | Exception] = []
    for proposal in proposals:
        if (error := verdict.on(proposal, recorded_at)) is not None:
            outcomes.append(error)
            continue
        outcomes.append(
            [_sealed(e, position + n, recorded_at) for n, e in enumerate(proposal.events, 1)]
        )
        position += len(proposal.events)
    return outcomes


def _placed(
    proposals: Sequence[AppendRequest], head: Head, verdict: _Verdict
) -> list[Placed] | None:
    """Place the proposals as :func:`_place` does; return ``None`` if one is not accepted."""
    outcomes = _place(proposals, head, verdict)
    placed = [one for one in outcomes if not isinstance(one, Exception)]
    return placed if len(placed) == len(outcomes) else None


def _guards(proposals: Sequence[AppendRequest]) -> set[Guard]:
    return {proposal.guard for proposal in proposals if proposal.guard is not None}


def _flat(outcomes: Iterable[Placed | Exception]) -> list[RecordedRow]:
    return [row for rows in outcomes if not isinstance(rows, Exception) for row in rows]


def _unsealed(event: StoredEvent) -> UnsealedEvent:
    if not isinstance(event, UnsealedEvent):
        raise TypeError(f"{type(event).__name__} is no event on its way to the recorder")
    return event


def _uuid(event: UnsealedEvent) -> UUID:
    originator = event.originator_id
    return originator if isinstance(originator, UUID) else UUID(originator)


def _sealed(event: UnsealedEvent, position: int, recorded_at: datetime) -> RecordedRow:
    if not event.state.isascii():
        raise ValueError("a signed action is written in ASCII")
    before, after = event_bytes.around(recorded_at)
    state = before + event.state + after
    return RecordedRow(
        position,
        _uuid(event),
        event.originator_version,
        event.topic,
        state,
        event.action_id,
        recorded_at,
        merkle.leaf_hash(state),
    )
