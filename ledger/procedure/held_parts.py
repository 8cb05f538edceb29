"""A legal hold that keeps a party that left from ending its part in a case.

While a hold is in force, nothing in the case is erased. So the party keeps its duties: it answers
what it owes, lifts a hold that it placed, erases what it had received, and confirms the erasure. It
has the protocol's days for the erasure from the lifting of the last hold on. A hold that is placed
when these days are over gives the party no time again.

A protocol may set days after which a hold is reviewed (``hold_review_days``). They begin with the
last day of the party, or with the placing of the hold where that is later. The country that placed
the hold lifts it, or places another one. Once they are over, the hold still forbids the erasure,
and it gives the party no more time: its node does not copy the ledger any more. The lifting gives
it the days for the erasure again.

The party owes the lifting of its own holds within the same days of its last day. After them another
party of the case may lift them, so that the part of the party that left has an end. This is a
reading of the procedure, not an official text.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from typing import Protocol as Interface
from uuid import UUID

from ledger.procedure.protocol import Protocol
from ledger.procedure.time_zones import left_since

PLACING_KIND = "legal_hold_placed"
_LIFTING_KIND = "legal_hold_lifted"
_KINDS = (PLACING_KIND, _LIFTING_KIND)


class HoldAct(Interface):
    """An action on a case, as far as holds go."""

    @property
    def id(self) -> UUID: ...

    @property
    def fields(self) -> Mapping[str, Any]: ...

    @property
    def kind(self) -> str: ...

    @property
    def recorded_at(self) -> datetime: ...


class WithParties(Interface):
    """A case's state, as far as holds go."""

    @property
    def parties(self) -> tuple[str, ...]: ...


Kept = TypeVar("Kept", bound=HoldAct)


def last_lifted(acts: Iterable[HoldAct]) -> datetime | None:
    """Return when the last hold of a case was lifted, by recorded times; ``None`` if none was."""
    return max((act.recorded_at for act in acts if act.kind == _LIFTING_KIND), default=None)


def hold_acts(acts: Iterable[Kept], annulled: Collection[UUID]) -> tuple[Kept, ...]:
    """Return the actions that place and lift the holds of a case, without the annulled ones."""
    return tuple(act for act in acts if act.kind in _KINDS and act.id not in annulled)


def is_settling(
    state: WithParties, acts: Iterable[HoldAct], party: str, protocol: Protocol, at: datetime
) -> bool:
    """Return whether a hold in the case gives a party that left more time to end its part.

    ``acts`` are the case's, in order; those that :func:`hold_acts` returns are enough. ``at`` is
    the time of the question.
    """
    if party not in state.parties or len(state.parties) == 1:
        return False
    period = erasing_period(protocol)
    until = regular_end(party, protocol)
    holds: dict[UUID, datetime] = {}
    for act in acts:
        if act.kind == PLACING_KIND and act.recorded_at < max((until, *holds.values())):
            holds[act.id] = _counts_until(act, party, protocol)
        elif act.kind == _LIFTING_KIND and (hold := UUID(act.fields["hold"])) in holds:
            del holds[hold]
            if not holds:
                until = max(until, act.recorded_at + period)
    return at < max((until, *holds.values()))


def _counts_until(hold: HoldAct, party: str, protocol: Protocol) -> datetime:
    """Return until when a hold gives a party that left time, while nobody lifts it."""
    days = protocol.withdrawal_terms.hold_review_days
    if days is None:
        return datetime.max.replace(tzinfo=UTC)
    return max(left_since(protocol, party), hold.recorded_at) + timedelta(days=days)


def others_may_lift(
    placed_by: str, party: str, parties: Collection[str], protocol: Protocol, at: datetime
) -> bool:
    """Return whether ``party`` may lift a hold of another party of the case at the moment ``at``.

    The other party has left, and its days for the erasure are over. ``party`` has not left, unless
    all ``parties`` of the case have.
    """
    if placed_by not in protocol.left_parties:
        return False
    if party in protocol.left_parties and not protocol.left_parties.keys() >= set(parties):
        return False
    return at >= regular_end(placed_by, protocol)


def regular_end(party: str, protocol: Protocol) -> datetime:
    """Return until when a party that left has time where no hold kept it from erasing."""
    return left_since(protocol, party) + erasing_period(protocol)


def erasing_period(protocol: Protocol) -> timedelta:
    """Return how long a party has to erase what it had received."""
    return timedelta(days=protocol.withdrawal_terms.erase_within_days)
