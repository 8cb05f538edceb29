"""A legal hold that keeps a party that left from ending its part in a case.

While a hold is in force, nothing in the case is erased. So the party keeps its duties: it answers
what it owes, lifts a hold that it placed, erases what it had received, and confirms the erasure. It
has the protocol's days for the erasure from the lifting of the last hold on.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from typing import Protocol as Interface
from uuid import UUID

from ledger.procedure.protocol import Protocol

PLACING_KIND = "legal_hold_placed"
_LIFTING_KIND = "legal_hold_lifted"


class _Act(Interface):
    @property
    def kind(self) -> str: ...

    @property
    def recorded_at(self) -> datetime: ...


class _State(Interface):
    @property
    def parties(self) -> tuple[str, ...]: ...

    @property
    def holds(self) -> Mapping[UUID, Any]: ...


def last_lifted(acts: Iterable[_Act]) -> datetime | None:
    """Return when the last hold of a case was lifted, by recorded times; ``None`` if none was."""
    return max((act.recorded_at for act in acts if act.kind == _LIFTING_KIND), default=None)


def is_settling(
    state: _State, acts: Iterable[_Act], party: str, protocol: Protocol, at: datetime
) -> bool:
    """Return whether a hold in the case gives a party that left more time to end its part.

    ``acts`` are the case's. ``at`` is the time of the question.
    """
    if party not in state.parties or len(state.parties) == 1:
        return False
    if state.holds:
        return True
    lifted = last_lifted(acts)
    return lifted is not None and at < lifted + erasing_period(protocol)


def regular_end(left_on: date, protocol: Protocol) -> datetime:
    """Return until when a party that left has time where no hold kept it from erasing."""
    return datetime.combine(left_on, time(), UTC) + erasing_period(protocol)


def erasing_period(protocol: Protocol) -> timedelta:
    """Return how long a party has to erase what it had received."""
    return timedelta(days=protocol.withdrawal_terms.erase_within_days)
