"""The differences of a case between two moments, and the events that made them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from pydantic import JsonValue

from ledger.events.act import Act
from ledger.procedure.agreement import Agreement
from ledger.procedure.case_fold import takes_back, without_effect
from ledger.procedure.case_state import CaseState
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.types import UtcDatetime
from projections.folds.audit_trail import differences
from projections.folds.state_json import state_document
from projections.time.bitemporal import CorrectionShown, Moment, acts_at, corrections_at, steps


class Because(StrEnum):
    """The relation of an event to a difference."""

    CAME = "came"
    """It counts at the later moment, and did not at the earlier."""
    WENT = "went"
    """It counted at the earlier moment, and does not at the later."""


class DifferenceReason(LedgerModel):
    """An event that made a difference."""

    because: Because
    position: int
    version: int
    action_id: UUID
    kind: str
    agency: str
    acted_at: UtcDatetime
    recorded_at: UtcDatetime
    corrects: UUID | None = None


class StateDifference(LedgerModel):
    """One value of a case's state at two moments."""

    path: str
    """Where in the state, as a JSON Pointer (RFC 6901)."""
    before: JsonValue = None
    after: JsonValue = None
    reasons: tuple[int, ...]
    """The positions of the events that changed it or what is in it, the first first."""


class CaseDifference(LedgerModel):
    """The differences of a case between two moments."""

    case_id: UUID
    differences: tuple[StateDifference, ...]
    events: tuple[DifferenceReason, ...]
    """Every event that counts at one of the moments and not at the other, in ledger order."""
    corrections: tuple[CorrectionShown, ...]
    """Of what was known at the later moment."""


@dataclass(frozen=True, slots=True)
class _Side:
    """A moment, with which paths each of its actions changed."""

    acts: Mapping[UUID, Act]
    state: CaseState | None
    changed: Mapping[UUID, frozenset[str]]


def difference(
    case_id: UUID, acts: Sequence[Act], agreement: Agreement, before: Moment, after: Moment
) -> CaseDifference:
    """Return the differences of a case between two moments, with the reasons.

    ``acts`` are all acts of the case.
    """
    was, is_now = _side(acts, agreement, before), _side(acts, agreement, after)
    came = {i: a for i, a in is_now.acts.items() if i not in was.acts}
    went = {i: a for i, a in was.acts.items() if i not in is_now.acts}
    # As valid, an annulled action is not there; its correction is why, though it changes nothing.
    why = {a.id: a for a in came.values() if takes_back(a)} if went else {}
    found = []
    for path, old, new in differences("", state_document(was.state), state_document(is_now.state)):
        reasons = [a for a in came.values() if _bears(is_now.changed[a.id], path)]
        gone = [a for a in went.values() if _bears(was.changed[a.id], path)]
        reasons += gone
        reasons += [a for a in why.values() if without_effect([a]) & {g.id for g in gone}]
        positions = tuple(sorted({act.position for act in reasons}))
        found.append(StateDifference(path=path, before=old, after=new, reasons=positions))
    events = [
        *(_reason(act, Because.CAME) for act in came.values()),
        *(_reason(act, Because.WENT) for act in went.values()),
    ]
    return CaseDifference(
        case_id=case_id,
        differences=tuple(found),
        events=tuple(sorted(events, key=lambda reason: reason.position)),
        corrections=corrections_at(acts, after),
    )


def _side(acts: Sequence[Act], agreement: Agreement, moment: Moment) -> _Side:
    counted = acts_at(acts, moment)
    changed, state = {}, None
    for act, earlier, later in steps(counted, agreement):
        changed[act.id] = frozenset(_paths(earlier, later))
        state = later
    return _Side({act.id: act for act in counted}, state, changed)


def _paths(before: CaseState | None, after: CaseState) -> Iterator[str]:
    for path, _, _ in differences("", state_document(before), state_document(after)):
        yield path


def _bears(changed: frozenset[str], path: str) -> bool:
    """Return whether a change concerns this path, a path above it, or a path below it."""
    return any(
        one == path or one.startswith(f"{path}/") or path.startswith(f"{one}/") for one in changed
    )


def _reason(act: Act, because: Because) -> DifferenceReason:
    corrects = act.fields["corrects"] if act.kind == "correction" else None
    return DifferenceReason(
        because=because,
        position=act.position,
        version=act.version,
        action_id=act.id,
        kind=act.kind,
        agency=act.agency,
        acted_at=act.acted_at,
        recorded_at=act.recorded_at,
        corrects=UUID(corrects) if corrects else None,
    )
