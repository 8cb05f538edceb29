"""Judges recorded events one after the other, as if each were decided again.

Only a row's bytes are trusted: its columns, its signature by the keys valid at the time, and the
procedure's rules are held against them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from ledger.events.event import ActionRecorded, readable
from ledger.log.merkle import leaf_hash
from ledger.procedure import case as cases
from ledger.procedure import registry as registries
from ledger.procedure.amendments import UNREAD_RULE, is_recorded_unread
from ledger.procedure.approvals import check_approval, check_unapproved
from ledger.procedure.case import Case
from ledger.procedure.deciding import others_of
from ledger.procedure.named_checkpoint import RootAt, among_first, check_named_checkpoint
from ledger.procedure.protocol import LATEST_EDITION, NewerTextError, Protocol
from ledger.procedure.registry import Registry
from ledger.refusals import Refusal
from ledger.signing import sd_jwt, signed_action
from ledger.signing.keys import from_public
from ledger.signing.signed_action import Mark, SignedAction
from ledger.store.event_rows import RecordedRow
from ledger.vocabulary import REGISTRY_ACTIONS
from ledger.vocabulary.registration import PublicKey

_NOWHERE = UUID(int=0)
_CANONICAL_SINCE = 2
"""From this edition on, an honest node records the canonical form alone."""
BY_STORED_TIME = 2
"""From this edition on, an action is decided by the very time that is stored with it."""
DECIDED_WITHIN = timedelta(hours=1)
"""Before, an action was decided at most so long before the time stored: a legal basis that ended in
between held when it was decided."""
CLOCK_BEHIND = "it was recorded by a clock that was behind the ledger's last time"
"""A mark on an event that was decided by that clock, before ``BY_STORED_TIME``."""


@dataclass
class RowReader:
    """Makes rows from events' bytes alone, in ledger order.

    A row's other columns follow from the bytes. Bytes that are not understood make a row all the
    same: an event of the case that they claim, or else of the protocol.
    """

    versions: Counter[UUID] = field(default_factory=Counter)
    """The version of each case, and of the registry, before the next event."""
    ledger_id: UUID = _NOWHERE

    def row(self, position: int, state: bytes, leaf: bytes | None = None) -> RecordedRow:
        """Return the row of the event at ``position``.

        ``leaf`` is the leaf hash that came with the event.
        """
        action, recorded_at = readable(state)
        if action.kind == "protocol_adopted":
            self.ledger_id = _ledger_id(action)
        originator = action.case_id or self.ledger_id
        self.versions[originator] += 1
        return RecordedRow(
            position=position,
            originator_id=originator,
            version=self.versions[originator],
            kind=action.kind,
            state=state,
            action_id=action.id,
            recorded_at=recorded_at,
            leaf_hash=leaf_hash(state) if leaf is None else leaf,
        )


def _ledger_id(action: SignedAction) -> UUID:
    protocol = _adopted(action)
    return _NOWHERE if protocol is None else protocol.ledger_id


def _adopted(action: SignedAction) -> Protocol | None:
    """Return the protocol that an action adopts, if it does."""
    try:
        return registries.protocol_adopted_by(action)
    except (ValueError, KeyError):
        return None


@dataclass(frozen=True, slots=True)
class Inspected:
    """The result of checking an event by itself."""

    row: RecordedRow
    leaf: bytes
    action: SignedAction
    recorded_at: datetime
    is_signed: bool | None
    """Whether the signature verifies; ``None`` where the key was not known yet."""
    problem: str | None = None
    """The reason for which the event is not understood, if it is not."""


def inspect(row: RecordedRow, keys: Mapping[str, PublicKey] | None = None) -> Inspected:
    """Read an event's bytes, and check its signature if ``keys`` (by thumbprint) has its key."""
    leaf = leaf_hash(row.state)
    action, recorded_at = readable(row.state)
    if not action.is_understood:
        problem = f"it is not an event that this program understands ({action.mark})"
        return Inspected(row, leaf, action, recorded_at, None, problem)
    is_signed: bool | None = None
    if (key := (keys or {}).get(action.key_id)) is not None:
        try:
            is_signed = sd_jwt.verifies(action.sd_jwt, from_public(key))
        except ValueError:
            is_signed = False
    return Inspected(row, leaf, action, recorded_at, is_signed)


@dataclass
class Revalidation:
    """The fold of the events judged so far; older events that it needs are put in beforehand."""

    registry: Registry | None = None
    cases: dict[UUID, Case] = field(default_factory=dict)
    versions: dict[UUID, int] = field(default_factory=dict)
    """The version of each case, and of the registry."""
    actions: set[UUID] = field(default_factory=set)
    recorded_at: datetime | None = None
    marks: list[str] = field(default_factory=list)
    """The remarks on the event judged last, though it holds."""
    displaced: list[int] = field(default_factory=list)
    """The positions of votes that were given in another history of the ledger."""
    newer: int | None = None
    """The position of the first event that needs a later program; ``None`` if there is none.

    Neither this event nor a later one is judged."""

    def judge(self, position: int, inspected: Inspected, root_at: RootAt) -> Iterable[str]:
        """Yield each problem of the next event; nothing if all holds.

        From the first event on that needs a later program, only places and leaf hashes are checked:
        see ``newer``.

        ``root_at`` gives the roots of the events before it. A vote is held against these roots.
        """
        self.marks = []
        row = inspected.row
        if row.position != position:
            yield f"the event at this place says that it is at {row.position}"
        if inspected.leaf != row.leaf_hash:
            yield "the stored leaf hash is not that of the event's bytes"
        action, recorded_at = inspected.action, inspected.recorded_at
        if self.newer is None and action.mark is not None and action.mark.is_newer:
            self.newer = position
        if self.newer is not None:
            return
        if inspected.problem is not None:
            yield inspected.problem
            self._keep_place(position, row, action, recorded_at)
            return
        yield from self._check_columns(row, action, recorded_at)
        before, self.recorded_at = self.recorded_at, recorded_at
        if before is not None and recorded_at < before:
            yield "it is recorded before the event that it follows"
        yield from self._check_form(position, action, recorded_at)
        try:
            stood_still = recorded_at == before
            yield from self._check_history(position, action, root_at)
            yield from self._decide(position, inspected, action, recorded_at, stood_still)
        except Refusal as refusal:
            if refusal.rule in (Mark.UNKNOWN_VERSION.value, UNREAD_RULE):
                self.newer = position
                return
            yield f"the rules refuse it ({refusal.rule})"
        except NewerTextError:
            self.newer = position
        except (ValueError, KeyError, TypeError) as error:
            yield f"it cannot be replayed ({type(error).__name__})"

    def _check_history(self, position: int, action: SignedAction, root_at: RootAt) -> Iterable[str]:
        """Yield a problem if a vote is of another history than this one.

        Such a vote is judged all the same, so that its consequences can be shown.
        """
        try:
            check_named_checkpoint(action, among_first(position - 1, root_at))
        except Refusal as refusal:
            self.displaced.append(position)
            yield f"the rules refuse it ({refusal.rule})"

    def _check_form(
        self, position: int, action: SignedAction, recorded_at: datetime
    ) -> Iterable[str]:
        """Yield a problem if the event is not in the canonical form.

        An honest node records the canonical form from edition 2 on. An event of edition 1 gets a
        mark instead.
        """
        if action.mark is not Mark.NOT_CANONICAL:
            return
        registry = self.registry
        protocol = registry.agreement.at(position, recorded_at) if registry else _adopted(action)
        edition = protocol.edition if protocol is not None else LATEST_EDITION
        if edition >= _CANONICAL_SINCE:
            yield f"it is not in canonical form ({action.mark})"
        else:
            self.marks.append(f"it was recorded in another form than the canonical ({action.mark})")

    def _keep_place(
        self, position: int, row: RecordedRow, action: SignedAction, recorded_at: datetime
    ) -> None:
        """Count an event that is not understood as recorded.

        So the next events have their places.
        """
        originator = row.originator_id
        self.versions[originator] = self.versions.get(originator, 0) + 1
        event = ActionRecorded(originator, self.versions[originator], action, position, recorded_at)
        registry = self.registry
        if registry is None:
            return
        if originator == registry.ledger_id:
            self.registry, _ = registries.applied(registry, event)
        elif (case := self.cases.get(originator)) is not None:
            after_case, _ = cases.after_event(case, event, registry.agreement)
            if after_case is not None:
                self.cases[originator] = after_case

    def _check_columns(
        self, row: RecordedRow, action: SignedAction, recorded_at: datetime
    ) -> Iterable[str]:
        """Yield each column of the row that differs from the event's bytes."""
        originator = row.originator_id
        version = self.versions.get(originator, 0) + 1
        self.versions[originator] = version
        differences = {
            "kind": row.kind != action.kind,
            "action id": row.action_id != action.id,
            "time of recording": row.recorded_at != recorded_at,
            "case": action.case_id is not None and originator != action.case_id,
            "case version": row.version != version,
        }
        for name, differs in differences.items():
            if differs:
                yield f"the stored {name} is not the event's"
        if action.id in self.actions:
            yield "its action was recorded before"
        self.actions.add(action.id)

    def _decide(
        self,
        position: int,
        inspected: Inspected,
        action: SignedAction,
        recorded_at: datetime,
        stood_still: bool,
    ) -> Iterable[str]:
        """Decide the next event again, by the time that is stored with it.

        Before ``BY_STORED_TIME`` the program took a key for valid by its own clock. While that was
        behind the head's time, it took a revoked key, or a basis that was over. It then stored the
        head's time once more. An event with the same time as the one before is only marked for
        these two, since an honest ledger may have it.
        """
        registry = self.registry
        protocol = registry.agreement.at(position, recorded_at) if registry else None
        by_stored = protocol is None or protocol.edition >= BY_STORED_TIME
        is_lenient = stood_still and not by_stored
        if action.kind in REGISTRY_ACTIONS:
            try:
                registries.decide(registry, action, recorded_at)
            except Refusal as refusal:
                if not is_recorded_unread(action, refusal):
                    raise
            after = registries.evolve(registry, action, recorded_at, position)
            judging = registry or after
            yield from self._check_signature(inspected, action, judging, recorded_at, is_lenient)
            check_unapproved(action)
            if inspected.row.originator_id != after.ledger_id:
                yield "the stored case is not the event's"
            self.registry = after
            return
        if registry is None or protocol is None:
            yield "a ledger begins with the adoption of its protocol"
            return
        yield from self._check_signature(inspected, action, registry, recorded_at, is_lenient)
        if action.protocol != registry.protocol_id:
            yield "it was signed for another protocol"
        case_id = inspected.row.originator_id
        case = self.cases.get(case_id)
        others = others_of(action, case, self.cases.get)
        decide = partial(cases.decide, case, action, case_id, protocol, recorded_at, others=others)
        try:
            decided = decide(not_before=recorded_at if by_stored else recorded_at - DECIDED_WITHIN)
        except Refusal as refusal:
            if not is_lenient or refusal.rule != "no-legal-basis":
                raise
            decided = decide(not_before=min(action.acted_at, recorded_at))
            self.marks.append(f"{CLOCK_BEHIND}, after its legal basis was over")
        check_approval(action, registry, protocol, recorded_at)
        event = ActionRecorded(case_id, decided.originator_version, action, position, recorded_at)
        after_case, _ = cases.after_event(case, event, registry.agreement)
        if after_case is not None:
            self.cases[case_id] = after_case

    def _check_signature(
        self,
        inspected: Inspected,
        action: SignedAction,
        registry: Registry,
        recorded_at: datetime,
        is_lenient: bool,
    ) -> Iterable[str]:
        try:
            key = registry.signing_key(action.key_id, action.agency, recorded_at)
        except Refusal as refusal:
            if not is_lenient or refusal.rule != "revoked-key":
                yield f"its signature does not count ({refusal.rule})"
                return
            self.marks.append(f"{CLOCK_BEHIND}, after its key was revoked")
            key = registry.keys[action.key_id].key
        is_signed = inspected.is_signed
        if is_signed is None:
            try:
                signed_action.verify(action, key)
                is_signed = True
            except Refusal:
                is_signed = False
        if not is_signed:
            yield "its signature does not verify"
