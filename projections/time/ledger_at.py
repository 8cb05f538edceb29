"""The whole ledger at a moment, in numbers: how many cases there were, of what kind, and where."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from ledger.events.event import ActionRecorded
from ledger.events.newer_event import check_understood
from ledger.procedure.case import Case
from ledger.procedure.protocol import Protocol
from ledger.procedure.registry import Registry
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.types import UtcDatetime
from projections.folds.case_folder import applied_act
from projections.time.bitemporal import Moment

COUNTED = ("status", "stage", "trafficking_status", "priority", "age_group")
"""Parts of a case's state of which each value is counted."""


class LedgerMoment(LedgerModel):
    """The ledger as it was known at a moment."""

    position: int
    recorded_at: UtcDatetime | None = None
    """When its last event was recorded; ``None`` of an empty ledger."""
    cases: int
    counts: Mapping[str, Mapping[str, int]]
    """For each part of a case's state, how many cases had each value."""
    parties: Mapping[str, int]
    """How many cases each country was party to; most cases count for several."""
    leads: Mapping[str, int]
    """How many cases each country led."""
    kinds: Mapping[str, int] = {}
    """How many events of each kind were recorded."""


class MovedCase(LedgerModel):
    """The counted differences of a case between two moments."""

    case_id: UUID
    before: Mapping[str, str]
    """Empty where it was not opened."""
    after: Mapping[str, str]


class LedgerDifference(LedgerModel):
    """The differences of a ledger between two moments."""

    before: LedgerMoment
    after: LedgerMoment
    cases: tuple[MovedCase, ...]


@dataclass
class Seen:
    """A fold of events up to a moment. It keeps each case as far as the next event needs it."""

    registry: Registry | None = None
    cases: dict[UUID, Case] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    position: int = 0
    last: ActionRecorded | None = None

    def take(self, event: ActionRecorded) -> None:
        """Fold the next event in ledger order.

        Raises ``ValueError`` if the event is not recorded, and ``NewerEventError`` if it needs a
        later program.
        """
        if event.position is None or event.recorded_at is None:
            raise ValueError("the event is not recorded yet")
        check_understood(event)
        self.position, self.last = event.position, event
        self.kinds[event.action.kind] += 1
        if self.registry is None or event.originator_id == self.registry.ledger_id:
            self.registry, _ = applied_act(self.registry, event)
            return
        known = self.cases.get(event.originator_id)
        case = Case.projector(self.registry.agreement)(known, (event,))
        if case is not None:
            self.cases[event.originator_id] = case

    def told(self) -> LedgerMoment:
        """Return the figures of the folded events."""
        tallies: Counter[tuple[str, str | tuple[str, ...]]] = Counter()
        for case in self.cases.values():
            state = case.state
            tallies.update((name, getattr(state, name).value) for name in COUNTED)
            tallies["parties", state.parties] += 1
            tallies["lead_agency", state.lead_agency] += 1
        return moment_of(
            self.position,
            self.last.recorded_at if self.last else None,
            [(name, value, cases) for (name, value), cases in tallies.items()],
            self.kinds,
            self.registry.directory if self.registry else None,
        )

    def standing(self) -> Mapping[UUID, Mapping[str, str]]:
        """Return the counted values of each case's state."""
        return {
            case_id: {
                **{name: getattr(case.state, name).value for name in COUNTED},
                "lead_agency": case.state.lead_agency,
                "parties": " ".join(case.state.parties),
            }
            for case_id, case in self.cases.items()
        }


def ledger_at(
    events: Iterable[ActionRecorded], moment: Moment, progress: Callable[[int], None] | None = None
) -> LedgerMoment:
    """Return the figures of the ledger as it was known at a moment.

    ``progress`` gets the number of folded events. Raises ``ValueError`` if the moment has
    ``valid_at``.
    """
    seen = Seen()
    for event in events:
        if not _knows(moment, event):
            break
        seen.take(event)
        if progress is not None:
            progress(seen.position)
    return seen.told()


def ledger_difference(
    events: Iterable[ActionRecorded],
    before: Moment,
    after: Moment,
    progress: Callable[[int], None] | None = None,
) -> LedgerDifference:
    """Return the differences of the ledger between two moments.

    ``before`` must be the earlier moment. Raises ``ValueError`` if a moment has ``valid_at``.
    """
    seen = Seen()
    stood: Mapping[UUID, Mapping[str, str]] | None = None
    was: LedgerMoment | None = None
    for event in events:
        if not _knows(after, event):
            break
        if stood is None and not _knows(before, event):
            stood, was = seen.standing(), seen.told()
        seen.take(event)
        if progress is not None:
            progress(seen.position)
    if stood is None or was is None:
        stood, was = seen.standing(), seen.told()
    stands = seen.standing()
    moved = tuple(
        MovedCase(
            case_id=case_id,
            before={k: v for k, v in stood.get(case_id, {}).items() if v != now[k]},
            after={k: v for k, v in now.items() if v != stood.get(case_id, {}).get(k)},
        )
        for case_id, now in stands.items()
        if now != stood.get(case_id)
    )
    return LedgerDifference(before=was, after=seen.told(), cases=moved)


def _knows(moment: Moment, event: ActionRecorded) -> bool:
    if moment.valid_at is not None:
        raise ValueError("a whole ledger is shown as it was known; ask of a case what was valid")
    if event.position is None or event.recorded_at is None:
        raise ValueError("the event is not recorded yet")
    return moment.knows(event.position, event.recorded_at)


def moment_of(
    position: int,
    recorded_at: datetime | None,
    tallies: Iterable[tuple[str, str | Sequence[str], int]],
    kinds: Mapping[str, int],
    protocol: Protocol | None,
) -> LedgerMoment:
    """Return the figures made of tallies.

    Each tally says how many cases had one value of one part of their state.
    """
    counts: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
    parties: Counter[str] = Counter()
    leads: Counter[str] = Counter()
    total = 0
    for name, value, cases in tallies:
        if name == "parties":
            parties.update(dict.fromkeys(value, cases))
        elif name == "lead_agency":
            total += cases
            leads[_party(str(value), protocol)] += cases
        else:
            counts[name][str(value)] += cases
    return LedgerMoment(
        position=position,
        recorded_at=recorded_at,
        cases=total,
        counts={name: dict(sorted(tally.items())) for name, tally in counts.items()},
        parties=dict(sorted(parties.items())),
        leads=dict(sorted(leads.items())),
        kinds=dict(sorted(kinds.items())),
    )


def _party(agency_id: str, protocol: Protocol | None) -> str:
    agency = protocol.agencies_by_id.get(agency_id) if protocol else None
    return agency.party if agency else ""
