"""A sitting of two countries' teams: the cases that they share, and the records of each.

Pure functions of case views, obligations and trail entries. A sitting is stored nowhere: a case was
discussed in it when the ledger has a meeting of both countries on it, held since it began.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from ledger.procedure.agreement import Agreement
from ledger.procedure.protocol import COORDINATOR
from ledger.vocabulary.picklists import CLOSED, CorrectionEffect, Priority
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView
from projections.folds.obligations import Obligation

MEETING, JOINT_ACTION, PRIORITY = "meeting_held", "joint_action_agreed", "case_prioritised"
RECORDED = (MEETING, JOINT_ACTION, PRIORITY)
"""The kinds that coordinators record of a case in a sitting."""
_URGENCY = tuple(Priority)
_NEVER, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Meeting:
    """The countries that meet, the reader's own first, and the time since the last meeting."""

    own: str
    other: str
    since: datetime


@dataclass(frozen=True, slots=True)
class SharedCase:
    """One case on the agenda."""

    view: CaseView
    owed: tuple[Obligation, ...]
    """The obligations of the two countries to each other in it, the first due first."""
    last_meeting: datetime | None
    """When both met on it before this sitting."""
    recorded: tuple[TrailEntry, ...]
    """The actions that coordinators of both countries recorded of it in this sitting."""

    @property
    def discussed(self) -> bool:
        """Return whether either country recorded a meeting on the case in this sitting."""
        return any(entry.kind == MEETING for entry in self.recorded)

    @property
    def is_open(self) -> bool:
        return self.view.status not in CLOSED

    @property
    def first_due(self) -> datetime | None:
        """Return the earliest due date of the open obligations, or ``None`` without one."""
        return next((one.due for one in self.owed if one.due is not None), None)

    def owed_by(self, country: str) -> tuple[Obligation, ...]:
        """Return the obligations that one of the two countries owes the other."""
        return tuple(one for one in self.owed if one.debtor == country)


def agenda(
    sitting: Meeting,
    cases: Iterable[CaseView],
    owed: Iterable[Obligation],
    entries: Sequence[TrailEntry],
    agreement: Agreement,
) -> tuple[SharedCase, ...]:
    """Return the cases in the order in which the meeting goes through them.

    The order is by priority, then by the earliest due date of an obligation between the two
    countries, then by how long ago they last met on the case. ``entries`` are the entries of the
    kinds in :data:`RECORDED`, and the entries that annul.
    """
    annulled = {
        UUID(str(entry.fields["corrects"]))
        for entry in entries
        if entry.fields.get("effect") == CorrectionEffect.ANNULLED
    }
    own_entries: dict[UUID, list[TrailEntry]] = {}
    for entry in entries:
        if entry.action_id not in annulled and _of_both(entry, sitting, agreement):
            own_entries.setdefault(entry.case_id, []).append(entry)
    by_case = _by_case(owed)
    shared = [
        _shared(view, by_case.get(view.case_id, ()), own_entries.get(view.case_id, ()), sitting)
        for view in cases
    ]
    # One that is closed, or that a country left, is on it for what was said of it in this sitting.
    return tuple(
        sorted((one for one in shared if one.discussed or _is_ahead(one, sitting)), key=_rank)
    )


def _is_ahead(one: SharedCase, sitting: Meeting) -> bool:
    """Return whether a case is open between the two countries."""
    return one.is_open and sitting.other in one.view.parties


def next_case(cases: Sequence[SharedCase], after: UUID) -> SharedCase | None:
    """Return the next open case of the agenda that was not discussed.

    At the end of the agenda, the search continues from its top.
    """
    place = next((i for i, one in enumerate(cases) if one.view.case_id == after), -1)
    ahead = (*cases[place + 1 :], *cases[: max(place, 0)])
    return next((one for one in ahead if one.is_open and not one.discussed), None)


def _of_both(entry: TrailEntry, sitting: Meeting, agreement: Agreement) -> bool:
    """Return whether a coordinator of the two countries recorded the entry, by its role then.

    An entry on a meeting must name both countries.
    """
    agency = agreement.at(entry.position, entry.recorded_at).agencies_by_id.get(entry.agency)
    if entry.kind not in RECORDED or agency is None or agency.role != COORDINATOR:
        return False
    countries = {sitting.own, sitting.other}
    if entry.kind == MEETING:
        met = entry.fields.get("countries")
        return isinstance(met, list) and countries <= set(met)
    return entry.party in countries


def _by_case(owed: Iterable[Obligation]) -> Mapping[UUID, Sequence[Obligation]]:
    found: dict[UUID, list[Obligation]] = {}
    for one in owed:
        found.setdefault(one.case_id, []).append(one)
    return found


def _shared(
    view: CaseView, owed: Iterable[Obligation], entries: Iterable[TrailEntry], sitting: Meeting
) -> SharedCase:
    told = tuple(entries)
    before = [e.acted_at for e in told if e.kind == MEETING and e.acted_at < sitting.since]
    return SharedCase(
        view=view,
        owed=tuple(sorted(owed, key=lambda one: (one.due or _LATEST, one.id))),
        last_meeting=max(before, default=None),
        recorded=tuple(entry for entry in told if entry.acted_at >= sitting.since),
    )


def _rank(one: SharedCase) -> tuple[int, datetime, datetime, int]:
    return (
        -_URGENCY.index(one.view.priority),
        one.first_due or _LATEST,
        one.last_meeting or _NEVER,
        one.view.opened_position,
    )
