"""Judges recorded events one after the other, as if each were decided again.

A row's bytes are all that is believed of it: its columns, its signature by the keys valid at
the time, and the procedure's rules are held against them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from ledger import case as cases
from ledger import entry as entries
from ledger import registry as registries
from ledger import sd_jwt, signing
from ledger.case import Case
from ledger.event import ActionRecorded
from ledger.keys import from_public
from ledger.merkle import leaf_hash
from ledger.protocol import Protocol
from ledger.refusals import Refusal
from ledger.registry import Registry
from ledger.signing import SignedAction
from ledger.store.recorder import RecordedRow
from ledger.vocabulary import REGISTRY_ACTIONS
from ledger.vocabulary.registration import PublicKey

_NOWHERE = UUID(int=0)
_NEVER = datetime.fromtimestamp(0, UTC)
BY_STORED_TIME = 2
"""From this edition on, an action is decided by the very time that is stored with it."""
DECIDED_WITHIN = timedelta(hours=1)
"""Before, an action was decided at most so long before the time stored: a legal basis that ended in
between held when it was decided."""
CLOCK_BEHIND = "it was recorded by a clock that was behind the ledger's last time"
"""A mark on an event that was decided by that clock, before ``BY_STORED_TIME``."""


@dataclass
class RowReader:
    """Makes rows of events' bytes alone, in ledger order: what else a row has, they tell.

    Bytes that cannot be read make a row all the same, whose event is found wanting later.
    """

    versions: Counter[UUID] = field(default_factory=Counter)
    """The version of each case, and of the registry, before the next event."""
    ledger_id: UUID = _NOWHERE

    def row(self, position: int, state: bytes, leaf: bytes | None = None) -> RecordedRow:
        """The row of the event at ``position``; ``leaf`` is the leaf hash that someone gave."""
        action, recorded_at = readable(state)
        if action is not None and action.kind == "protocol_adopted":
            self.ledger_id = _ledger_id(action)
        originator = (action.case_id or self.ledger_id) if action is not None else _NOWHERE
        self.versions[originator] += 1
        return RecordedRow(
            position=position,
            originator_id=originator,
            version=self.versions[originator],
            kind=action.kind if action else "",
            state=state,
            action_id=action.id if action else _NOWHERE,
            recorded_at=recorded_at,
            leaf_hash=leaf_hash(state) if leaf is None else leaf,
        )


def readable(state: bytes) -> tuple[SignedAction | None, datetime]:
    """The action in an event's bytes and its time of recording, as far as they can be read."""
    try:
        text, recorded_at = entries.unseal(state)
        return signing.read_recorded(text), recorded_at
    except (ValueError, KeyError, TypeError):
        return None, _NEVER


def _ledger_id(action: SignedAction) -> UUID:
    try:
        return Protocol.model_validate(action.fields["protocol"]).ledger_id
    except (ValueError, KeyError):
        return _NOWHERE


@dataclass(frozen=True, slots=True)
class Inspected:
    """What can be said of an event by itself."""

    row: RecordedRow
    leaf: bytes
    action: SignedAction | None
    recorded_at: datetime | None
    is_signed: bool | None
    """Whether the signature verifies; ``None`` where the key was not known yet."""
    problem: str | None = None


def inspect(row: RecordedRow, keys: Mapping[str, PublicKey] | None = None) -> Inspected:
    """Read an event's bytes, and check its signature where ``keys`` (by thumbprint) has its key."""
    leaf = leaf_hash(row.state)
    try:
        text, recorded_at = entries.unseal(row.state)
        if entries.seal(text, recorded_at) != row.state:
            raise ValueError("the bytes are not written as events are")
        parsed = signing.parse(text)
        action = signing.read(parsed)
        if action.sd_jwt != text:
            raise ValueError("the event carries disclosures")
    except Refusal as refusal:
        return Inspected(row, leaf, None, None, None, f"it is malformed ({refusal.rule})")
    except (ValueError, TypeError):
        return Inspected(row, leaf, None, None, None, "its bytes are not those of an event")
    is_signed: bool | None = None
    if (key := (keys or {}).get(action.key_id)) is not None:
        try:
            sd_jwt.verify(parsed, from_public(key))
            is_signed = True
        except ValueError:
            is_signed = False
    return Inspected(row, leaf, action, recorded_at, is_signed)


@dataclass
class Replay:
    """The fold of the events judged so far; what it lacks of older ones is put in beforehand."""

    registry: Registry | None = None
    cases: dict[UUID, Case] = field(default_factory=dict)
    versions: dict[UUID, int] = field(default_factory=dict)
    """The version of each case, and of the registry."""
    actions: set[UUID] = field(default_factory=set)
    recorded_at: datetime | None = None
    marks: list[str] = field(default_factory=list)
    """What is to be said of the event judged last, though it holds."""

    def judge(self, position: int, inspected: Inspected) -> Iterable[str]:
        """What does not hold of the next event; nothing, where all does."""
        self.marks = []
        row = inspected.row
        if row.position != position:
            yield f"the event at this place says that it is at {row.position}"
        if inspected.leaf != row.leaf_hash:
            yield "the stored leaf hash is not that of the event's bytes"
        action, recorded_at = inspected.action, inspected.recorded_at
        if action is None or recorded_at is None:
            yield inspected.problem or "the event cannot be read"
            return
        yield from self._check_columns(row, action, recorded_at)
        before, self.recorded_at = self.recorded_at, recorded_at
        if before is not None and recorded_at < before:
            yield "it is recorded before the event that it follows"
        try:
            stood_still = recorded_at == before
            yield from self._decide(position, inspected, action, recorded_at, stood_still)
        except Refusal as refusal:
            yield f"the rules refuse it ({refusal.rule})"
        except (ValueError, KeyError, TypeError) as error:
            yield f"it cannot be replayed ({type(error).__name__})"

    def _check_columns(
        self, row: RecordedRow, action: SignedAction, recorded_at: datetime
    ) -> Iterable[str]:
        """The row says of the event what its bytes say."""
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
        by_stored = registry is None or registry.protocol.edition >= BY_STORED_TIME
        is_lenient = stood_still and not by_stored
        if action.kind in REGISTRY_ACTIONS:
            registries.decide(registry, action)
            after = registries.evolve(registry, action, recorded_at, position)
            judging = registry or after
            yield from self._check_signature(inspected, action, judging, recorded_at, is_lenient)
            if inspected.row.originator_id != after.protocol.ledger_id:
                yield "the stored case is not the event's"
            self.registry = after
            return
        if registry is None:
            yield "a ledger begins with the adoption of its protocol"
            return
        yield from self._check_signature(inspected, action, registry, recorded_at, is_lenient)
        if action.protocol != registry.protocol.id:
            yield "it was signed for another protocol"
        case_id = inspected.row.originator_id
        case = self.cases.get(case_id)
        decide = partial(cases.decide, case, action, case_id, registry.protocol, recorded_at)
        try:
            decided = decide(not_before=recorded_at if by_stored else recorded_at - DECIDED_WITHIN)
        except Refusal as refusal:
            if not is_lenient or refusal.rule != "no-legal-basis":
                raise
            decided = decide(not_before=min(action.acted_at, recorded_at))
            self.marks.append(f"{CLOCK_BEHIND}, after its legal basis was over")
        event = ActionRecorded(case_id, decided.originator_version, action, position, recorded_at)
        if (after_case := Case.projector(registry.protocol)(case, [event])) is not None:
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
                signing.verify(action, key)
                is_signed = True
            except Refusal:
                is_signed = False
        if not is_signed:
            yield "its signature does not verify"
