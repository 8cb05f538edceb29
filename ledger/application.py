"""The ledger as an ``eventsourcing`` application: decide, append, read back."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import cast
from uuid import UUID

from eventsourcing.application import Application, LRUCache
from eventsourcing.persistence import IntegrityError, Mapper, Notification
from eventsourcing.utils import EnvType

from ledger.events.event import ActionRecorded
from ledger.events.event_mapper import ActionMapper
from ledger.events.newer_event import NewerEventError
from ledger.log.merkle import Tree
from ledger.procedure import case as cases
from ledger.procedure import registry as registries
from ledger.procedure.approvals import check_approval
from ledger.procedure.case import Case
from ledger.procedure.deciding import (
    case_of,
    check_case,
    decide_on_case,
    decide_on_protocol,
    others_of,
    stale,
    version_of,
)
from ledger.procedure.named_checkpoint import among_first
from ledger.procedure.protocol import NewerTextError
from ledger.procedure.registry import Registry
from ledger.procedure.subject_ids import check_ids_apart
from ledger.refusals import Ground, Refusal
from ledger.signing.signed_action import SignedAction
from ledger.store.event_rows import Guard, RecordedRow
from ledger.store.recorder import (
    Alongside,
    LedgerFactory,
    LedgerRecorder,
    OtherCaseMovedError,
    Placed,
    RegistryMovedError,
    TimeMovedError,
)
from ledger.system.backoff import Backoff
from ledger.system.retrying import retrying
from ledger.system.telemetry import span
from ledger.vocabulary.coordination import CaseManagerNamed, Correction

_LOOKS = 5
"""So often a refusal is decided again, where its case or the registry moves meanwhile."""
KNOWN_CASES = 1_000
"""Cases that a process keeps folded, so that an append to one reads nothing."""
deciding_again = retrying(
    (RegistryMovedError, OtherCaseMovedError, TimeMovedError),
    attempts=11,
    backoff=Backoff(0.01, 0.05),
)
"""Decides and records; again where the registry, another case or the time moves between."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision that the rules accept an action on a case; nothing is recorded yet."""

    event: ActionRecorded
    """The event of the action. It has neither position nor time of recording yet."""
    registry: Registry
    case: Case | None
    """The case before the action."""
    at: datetime
    """The time by which the rules were asked."""
    others: Mapping[UUID, Case] = field(default_factory=dict)
    """The other cases that the rules read. The event is recorded only at their versions."""

    def holds_at(self, moment: datetime) -> bool:
        """Return whether the rules also accept the action at the time that will be stored."""
        return moment == self.at or _holds(self, moment)


@dataclass(frozen=True, slots=True)
class RefusedAt:
    """A refusal, and the state of the ledger by which it was decided."""

    refusal: Refusal
    size: int
    """How many events the ledger had."""
    at: datetime


def environment(conninfo: str, *, pool_size: int = 10) -> dict[str, str]:
    """Return the ``eventsourcing`` environment for a ledger in this database."""
    return {
        "PERSISTENCE_MODULE": "ledger.store.recorder:LedgerFactory",
        LedgerFactory.CONNINFO: conninfo,
        LedgerFactory.POOL_SIZE: str(pool_size),
        "CREATE_TABLE": "no",
    }


class Ledger(Application[UUID]):
    """One protocol's ledger."""

    name = "ledger"

    def __init__(self, env: EnvType | None = None) -> None:
        super().__init__(env)
        self.rows = cast("LedgerRecorder", self.recorder)
        self._registry: Registry | None = None
        self._known_cases: LRUCache[UUID, Case] = LRUCache(maxsize=KNOWN_CASES)
        self._newer: int | None = None

    @property
    def newer(self) -> int | None:
        """Return the position of an event here that needs a later program, if one was read.

        It is the first one of those that this process read.
        """
        return self._newer

    def check_understood(self) -> None:
        """Check that this process read no event that needs a later program.

        A decision may depend on such an event. Raises ``NewerEventError`` if there is one.
        """
        if self._newer is not None:
            raise NewerEventError(self._newer)

    def note_newer(self, position: int) -> None:
        """Note that the event at a position needs a later program."""
        self._newer = min(position, self._newer or position)

    def construct_mapper(self) -> Mapper[UUID]:
        return ActionMapper()

    def let_go(self) -> None:
        """Close the pools at once. Callers that wait for a connection get ``OperationalError``."""
        self.rows.let_go()

    def forget(self) -> None:
        """Forget all events in memory: the database may be another by now."""
        self._registry = None
        self._newer = None
        self._known_cases = LRUCache(maxsize=KNOWN_CASES)
        self.rows.forget()

    def head(self) -> int:
        """Return the position of the last event; 0 if there is none."""
        return self.rows.max_notification_id() or 0

    def tree(self) -> Tree:
        """Return the Merkle tree over all events."""
        return self.rows.tree()

    def rows_after(self, position: int, limit: int) -> list[RecordedRow]:
        """Return at most ``limit`` rows in order, the first one after ``position``."""
        return self.rows.select_rows(position, limit)

    def rows_at(self, positions: Sequence[int]) -> list[RecordedRow]:
        """Return the rows at these positions, in order."""
        return self.rows.select_positions(positions)

    def row_of_action(self, action_id: UUID) -> RecordedRow | None:
        """Return the row of an action; ``None`` if it is not recorded."""
        return self.rows.find_action(action_id)

    def rows_of_actions(self, action_ids: Sequence[UUID]) -> list[RecordedRow]:
        """Return the rows of the recorded ones of these actions, in order."""
        return self.rows.select_actions(action_ids)

    def recorded_actions(self, action_ids: Sequence[UUID], *, upto: int | None = None) -> set[UUID]:
        """Return the ids of these actions that are recorded, at the position ``upto`` or before."""
        return self.rows.recorded_action_ids(action_ids, upto=upto)

    def subjects_of_kinds(self, kinds: Collection[str], *, after: int, upto: int) -> Sequence[UUID]:
        """Return the case, or the protocol, of each event of these kinds from ``after + 1`` on."""
        return self.rows.originators_of(kinds, after=after, upto=upto)

    def acceptances(self) -> list[RecordedRow]:
        """Return the rows of the acceptances of merges, in order."""
        return self.rows.select_acceptances(upto=self.head())

    def subjects_changed(self, after: int, upto: int) -> Sequence[UUID]:
        """Return the cases, and the protocol, that have events from ``after + 1`` to ``upto``."""
        return self.rows.changed_since(after, upto)

    def next_subjects(self, after: UUID, limit: int) -> Sequence[UUID]:
        """Return the next cases in the order of their ids; the protocol's id is among them."""
        return self.rows.select_case_ids(after, limit)

    def registry(self) -> Registry | None:
        """Return the current registry, or ``None`` before a protocol is adopted."""
        registry = self._registry
        if registry is None:
            first = self.rows.select_rows(after=0, limit=1)
            if not first:
                return None
            ledger_id, version = first[0].originator_id, 0
        else:
            ledger_id, version = registry.ledger_id, registry.version
        for event in self._events(ledger_id, gt=version):
            registry = self._applied(registry, event)
        self._registry = registry
        return registry

    def _applied(self, registry: Registry | None, event: ActionRecorded) -> Registry:
        """Return the registry after an event.

        Raises ``NewerEventError`` if the ledger begins with a protocol of a later program.
        """
        try:
            registry, mark = registries.applied(registry, event)
        except NewerTextError as error:
            raise NewerEventError(_position(event)) from error
        if mark is not None and mark.is_newer:
            self.note_newer(_position(event))
        return registry

    def registry_at(self, position: int) -> Registry | None:
        """Return the registry as of a position, folded anew; ``None`` before the adoption."""
        registry = None
        for first in self.rows.select_rows(after=0, limit=1):
            for event in self._events(first.originator_id):
                if _position(event) > position:
                    break
                registry = self._applied(registry, event)
        return registry

    def adopted(self) -> Registry:
        """Return the registry.

        Raises ``Refusal`` (``not-adopted``) before a protocol is adopted.
        """
        registry = self.registry()
        if registry is None:
            raise Refusal(
                Ground.OUT_OF_PROCEDURE,
                "not-adopted",
                "No protocol is adopted yet; adopt one first.",
            )
        return registry

    def case(self, case_id: UUID, *, upto_position: int | None = None) -> Case | None:
        """Return the current case, or the case as of a position; ``None`` if there is none."""
        registry = self.adopted()
        project = Case.projector(registry.agreement)
        if case_id == registry.ledger_id:
            return None
        if upto_position is not None:
            events = self._events(case_id)
            return project(None, [e for e in events if _position(e) <= upto_position])
        return self._read(case_id, registry)

    def known_or_adopted(self) -> Registry:
        """Return the registry that this process read last, or read it for the first time.

        It may be older than the ledger. Raises ``Refusal`` as :meth:`adopted` does.
        """
        return self._registry or self.adopted()

    def case_at(self, case_id: UUID, version: int) -> Case | None:
        """Return the case for an action on ``version`` of it (0 for a new case).

        The case in memory is that case where it has this version: the database is not asked. An
        action that is recorded meanwhile takes the next version, so that this one is not recorded.
        """
        registry = self.known_or_adopted()
        known = self._known(case_id)
        return known if version_of(known) == version else self._read(case_id, registry)

    def cases(self, case_ids: Collection[UUID], *, keep: bool = True) -> Mapping[UUID, Case]:
        """Return the current state of many cases by id, without the ids that have no case.

        One query reads the events that the cases in memory do not have yet. Without ``keep``, these
        cases do not displace the cases in memory, which appends need.
        """
        registry = self.adopted()
        known = {case_id: self._known(case_id) for case_id in case_ids}
        known.pop(registry.ledger_id, None)
        later = self.rows.select_later({i: version_of(case) for i, case in known.items()})
        events = (
            self._noted(cast("ActionRecorded", self.mapper.to_domain_event(row))) for row in later
        )
        project = Case.projector(registry.agreement)
        for case_id, of_case in groupby(events, lambda event: event.originator_id):
            known[case_id] = case = project(known[case_id], of_case)
            if keep:
                self._keep(case_id, case)
        return {case_id: case for case_id, case in known.items() if case is not None}

    def unread(self, case_ids: Collection[UUID]) -> Collection[UUID]:
        """Return the actions of some cases of which nothing disclosed is read, as of now.

        Only cases with a correction or a case manager are folded; the answer comes from their
        signed events.
        """
        kinds = (Correction.kind, CaseManagerNamed.kind)
        concerned = self.rows.having_kinds(case_ids, kinds) if case_ids else ()
        if not concerned:
            return ()
        cases, directory = self.cases(concerned), self.adopted().directory
        return {action for case in cases.values() for action in case.unread(directory)}

    def case_events(self, case_id: UUID) -> Sequence[ActionRecorded]:
        """Return all events of a case, in order."""
        return self._events(case_id)

    def append(self, action: SignedAction, case_id: UUID, case_version: int) -> RecordedRow:
        """Record a case action that acted on ``case_version`` (0 for a new case).

        The row comes back only when the event is durable; the same action again gives the same
        row. Raises ``Refusal``, and then nothing is written.
        """
        check_case(action, case_id)
        with span("ledger.record", {"kind": action.kind}):
            row, _ = deciding_again(lambda: self.record(self.decide(action, case_version)))
        return row

    def decide(self, action: SignedAction, case_version: int) -> Decision | RecordedRow:
        """Decide on an action on the case that it names, and write nothing.

        Return the row of an action that is recorded already. Raises ``Refusal`` if the action
        is not allowed, and ``NewerEventError`` if a decision may depend on an event that needs a
        later program.
        """
        case_id = case_of(action)
        # The registry and the case as this process read them last, without asking the database.
        # If they are old, either the rules refuse here and the database is asked, or the guard
        # of the registry or the version of the case is found taken when the event is recorded.
        registry = self.known_or_adopted()
        case = self._known(case_id)
        if version_of(case) < case_version:
            case = self._read(case_id, registry)
        self.check_understood()
        at = self.rows.next_time()
        others = others_of(action, case, self._known)
        try:
            event = decide_on_case(action, case, case_version, registry, at, others)
        except Refusal:
            if (row := self.receipt_of(action)) is not None:
                return row
            known = (registry, case, at)
            registry, case = self.adopted(), self._read(case_id, registry)
            self.check_understood()
            at = self.rows.next_time(ask=True)
            others = self._others(action, case, registry)
            if registry is known[0] and case is known[1] and at == known[2] and not others:
                raise
            event = decide_on_case(action, case, case_version, registry, at, others)
        if case is None:
            self._check_ids_apart(action, registry, at)
        return Decision(event, registry, case, at, others)

    def record(
        self,
        decided: Decision | RecordedRow,
        *,
        since: float | None = None,
        alongside: Alongside | None = None,
    ) -> tuple[RecordedRow, bool]:
        """Record a decided action; return its row, and whether it was recorded just now.

        The row comes back only when the event is durable. ``since``: ``time.monotonic()`` in
        seconds, taken just before the vault deposit was committed asynchronously. Raises
        ``ReconnectedError`` if that deposit may be lost: make it again. Raises
        ``RegistryMovedError``, ``OtherCaseMovedError`` and ``TimeMovedError`` if the decision may
        not hold any more: decide again. ``alongside`` is committed with the event or not at all;
        raises ``ApartError``, and nothing is written, if it is to be committed before.
        """
        if isinstance(decided, RecordedRow):
            return decided, False
        event, registry = decided.event, decided.registry
        others = {case_id: other.version for case_id, other in decided.others.items()}
        try:
            row, is_new = self._commit(event, registry, decided.holds_at, since, others, alongside)
        except OtherCaseMovedError:
            for case_id in others:
                self._read(case_id, registry)
            raise
        if not is_new:
            return row, False
        recorded = replace(event, position=row.position, recorded_at=row.recorded_at)
        project = Case.projector(registry.agreement)
        self._keep(row.originator_id, project(decided.case, (recorded,)))
        return row, True

    def append_to_registry(self, action: SignedAction) -> RecordedRow:
        """Record an act on the protocol itself.

        Raises ``Refusal`` if the act is not allowed.
        """
        return deciding_again(lambda: self._append_to_registry(action))

    def _append_to_registry(self, action: SignedAction) -> RecordedRow:
        if (row := self.receipt_of(action)) is not None:
            return row
        registry = self.registry()
        self.check_understood()
        at = self.rows.next_time(ask=True)
        event, judging = decide_on_protocol(action, registry, at, self.root_at)
        if registry is not None:
            self._check_ids_apart(action, registry, at)

        def holds_at(moment: datetime) -> bool:
            return moment == at or (
                _may_sign(action, judging, moment) and _is_allowed(registry, action, moment)
            )

        row, _ = self._commit(event, registry, holds_at)
        self.registry()  # so that the next append knows it
        return row

    def root_at(self, size: int) -> bytes | None:
        """Return the root of the first ``size`` events; ``None`` if there are fewer."""
        tree = self.tree()
        return tree.root(size) if size <= tree.size else None

    def receipt_of(self, action: SignedAction) -> RecordedRow | None:
        """Return the row of an action that was recorded before; ``None`` if it was not.

        Raises ``Refusal`` (``action-id-reused``) if another content is recorded under the action's
        id.
        """
        row = self.rows.find_action(action.id)
        if row is not None:
            self._check_same(row, action)
        return row

    def _check_same(self, row: RecordedRow, action: SignedAction) -> None:
        """Check that a row with an action's id has the action. Raises as ``receipt_of`` does."""
        recorded = self.mapper.to_domain_event(_stored(row))
        if cast("ActionRecorded", recorded).action.sd_jwt != action.sd_jwt:
            raise Refusal(
                Ground.CONFLICT,
                "action-id-reused",
                "Another content is recorded under this action id; use a new id.",
                "jti",
            )

    @property
    def known_registry(self) -> Registry | None:
        """Return the registry that this process read last, without a query to the database."""
        return self._registry

    def refused_at(
        self, action: SignedAction, case_id: UUID | None, case_version: int
    ) -> RefusedAt | None:
        """Return why an action is refused, and the size of the ledger that it is refused at.

        The registry and the case that refuse the action are those of exactly that size. ``case_id``
        is ``None`` for an act on the protocol. The result is ``None`` if the action is recorded or
        is accepted by now, or if another process changes the registry or the case meanwhile.
        """
        for _ in range(_LOOKS):
            registry = self.adopted()
            ledger_id = registry.ledger_id
            case = self._read(case_id, registry) if case_id is not None else None
            self.check_understood()
            size, versions = self.rows.standing_at([ledger_id, case_id or ledger_id])
            if versions[ledger_id] != registry.version:
                continue
            if case_id not in (None, ledger_id) and versions.get(case_id, 0) != version_of(case):
                continue
            at = self.rows.next_time(ask=True)
            row = self.rows.find_action(action.id)
            if row is not None and row.position > size:
                continue  # no event of that size has the id
            others = {
                other: known
                for other in self._others(action, case, registry)
                if (known := self.case(other, upto_position=size)) is not None
            }
            try:
                if row is not None:
                    self._check_same(row, action)
                    return None
                if case_id is None:
                    decide_on_protocol(action, registry, at, among_first(size, self.root_at))
                else:
                    check_case(action, case_id)
                    decide_on_case(action, case, case_version, registry, at, others)
                self._check_ids_apart(action, registry, at, size)
            except Refusal as refusal:
                return RefusedAt(refusal, size, at)
            return None
        return None

    def _check_ids_apart(
        self, action: SignedAction, registry: Registry, at: datetime, size: int | None = None
    ) -> None:
        """Check that no case and no action of the first ``size`` events has the other's id.

        Raises as ``check_ids_apart`` does.
        """
        check_ids_apart(
            action,
            registry.next_protocol(at).edition,
            registry.ledger_id,
            lambda one: self.case(one, upto_position=size) is not None,
            lambda one: bool(self.recorded_actions([one], upto=size)),
        )

    def _others(
        self, action: SignedAction, case: Case | None, registry: Registry
    ) -> Mapping[UUID, Case]:
        """Return the other cases that the rules read for an action, as the database has them."""
        return others_of(action, case, lambda other: self._read_other(other, registry))

    def _read_other(self, case_id: UUID, registry: Registry) -> Case | None:
        return None if case_id == registry.ledger_id else self._read(case_id, registry)

    def events_upto(
        self, size: int, case_id: UUID | None, action: SignedAction | None = None
    ) -> list[ActionRecorded]:
        """Return the events of the protocol, and of a case, among the first ``size``, in order.

        With ``action``, those of the other cases that the rules read for it are among them.
        """
        registry = self.adopted()
        ledger_id = registry.ledger_id
        found = self._events(ledger_id)
        if case_id is not None and case_id != ledger_id:
            found += self._events(case_id)
            if action is not None:
                case = self.case(case_id, upto_position=size)
                for other in self._others(action, case, registry).keys() - {case_id}:
                    found += self._events(other)
        return sorted((e for e in found if _position(e) <= size), key=_position)

    def _known(self, case_id: UUID) -> Case | None:
        """Return the case from this process's memory, which may be older than the ledger."""
        try:
            return self._known_cases.get(case_id)
        except KeyError:
            return None

    def _read(self, case_id: UUID, registry: Registry) -> Case | None:
        """Return the current case: the case in memory with the events recorded since."""
        known = self._known(case_id)
        case = Case.projector(registry.agreement)(
            known, self._events(case_id, gt=known.version if known else 0)
        )
        self._keep(case_id, case)
        return case

    def _keep(self, case_id: UUID, case: Case | None) -> None:
        if case is not None:
            self._known_cases.put(case_id, case)

    def _commit(
        self,
        event: ActionRecorded,
        registry: Registry | None,
        holds_at: Callable[[datetime], bool],
        since: float | None = None,
        others: Mapping[UUID, int] | None = None,
        alongside: Alongside | None = None,
    ) -> tuple[RecordedRow, bool]:
        """Record the event and return its row, and whether it was recorded just now.

        ``holds_at`` says whether the decision is the same by the time that will be stored.
        ``others`` has the versions of the other cases that the decision read.
        """
        stored = self.mapper.to_stored_event(event)
        guard = Guard(registry.ledger_id, registry.version) if registry else None
        try:
            rows: Placed = self.rows.append((stored,), guard, holds_at, since, others, alongside)
            return rows[0], True
        except OtherCaseMovedError:
            raise
        except (RegistryMovedError, TimeMovedError):
            self.registry()
            self.rows.next_time(ask=True)
            raise
        except IntegrityError:
            if (row := self.receipt_of(event.action)) is not None:
                return row, False
            raise stale(None) from None

    def _events(self, originator_id: UUID, gt: int = 0) -> list[ActionRecorded]:
        found = cast("list[ActionRecorded]", list(self.events.get(originator_id, gt=gt)))
        return [self._noted(event) for event in found]

    def _noted(self, event: ActionRecorded) -> ActionRecorded:
        """Return an event that was read, and note whether it needs a later program."""
        mark = event.action.mark
        if mark is not None and mark.is_newer:
            self.note_newer(_position(event))
        return event


def _holds(decision: Decision, at: datetime) -> bool:
    """Return whether an accepted action is accepted at another time too.

    Its signature is not verified again: no time changes it.
    """
    event, registry = decision.event, decision.registry
    protocol = registry.next_protocol(at)
    try:
        cases.decide(
            decision.case,
            event.action,
            event.originator_id,
            protocol,
            at,
            others=decision.others,
        )
        check_approval(event.action, registry, protocol, at)
    except Refusal:
        return False
    return _may_sign(event.action, registry, at)


def _may_sign(action: SignedAction, registry: Registry, at: datetime) -> bool:
    try:
        registry.signing_key(action.key_id, action.agency, at)
    except Refusal:
        return False
    return True


def _is_allowed(registry: Registry | None, action: SignedAction, at: datetime) -> bool:
    try:
        registries.decide(registry, action, at)
    except Refusal:
        return False
    return True


def _position(event: ActionRecorded) -> int:
    if event.position is None:
        raise ValueError("the event is not recorded yet")
    return event.position


def _stored(row: RecordedRow) -> Notification:
    return Notification(
        id=row.position,
        originator_id=row.originator_id,
        originator_version=row.version,
        topic=row.kind,
        state=row.state,
    )
