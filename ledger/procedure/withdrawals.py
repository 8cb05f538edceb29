"""Withdrawals: how a party leaves the agreement.

- The coordinator of a party *declares* the withdrawal of its own party, and the first day on which
  it is no party any more. The protocol's period of notice lies before that day.
- The coordinator may *take it back* until that day begins. Until then the party has every right.
- The day begins at the party's local midnight; by edition 1 of the rules, at midnight UTC.
- From that day on, by the times that are stored with events, the party has *left*. Its agencies
  answer what they owe and confirm the erasure, and do nothing else. It has no vote. The leads of
  its agencies pass to the first party of each case that has not left (``Protocol.leading``).
- A party that left joins again by an amendment, as a new party does.

This is a reading of the procedure, not an official text. The periods are data of the protocol.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from uuid import UUID

from ledger.procedure.protocol import COORDINATOR, Agency, Protocol
from ledger.procedure.time_zones import AGREED_DAYS_SINCE, day_begins, zone_of
from ledger.refusals import Ground, Refusal, not_allowed
from ledger.signing.signed_action import SignedAction

WITHDRAWAL_KINDS = frozenset({"party_withdrawal_declared", "party_withdrawal_revoked"})
_STAYING_EDITION = 2
"""The edition of the rules from which on one party at least has not declared that it leaves."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A party's declaration that it leaves."""

    action: UUID
    party: str
    day: date
    """The first day, at its own local time, on which it is no party any more."""
    by: str
    """The agency that declared it."""
    position: int
    recorded_at: datetime
    reason: str | None = None
    revoked_at: int | None = None
    """The position of the act that took it back."""
    zone: tzinfo = UTC
    """The time zone of the party, by the text in force at the declaration."""

    @property
    def begins(self) -> datetime:
        """Return when the party has left, by recorded times."""
        return day_begins(self.day, self.zone)

    @property
    def last_position(self) -> int:
        """Return the position of the last act on the declaration."""
        return self.revoked_at or self.position

    def is_in_effect(self, position: int, recorded_at: datetime) -> bool:
        """Return whether the party has left, for the event of this position and time."""
        if self.revoked_at is not None:
            return False
        return self.position < position and self.begins <= recorded_at


def pending(withdrawals: Iterable[Withdrawal], party: str, at: datetime) -> Withdrawal | None:
    """Return the declaration of a party that is a party still and will leave."""
    for one in withdrawals:
        if one.party == party and one.revoked_at is None and at < one.begins:
            return one
    return None


def decide(
    withdrawals: Iterable[Withdrawal],
    action: SignedAction,
    actor: Agency,
    protocol: Protocol,
    at: datetime,
) -> None:
    """Decide whether ``actor`` may take an act of ``WITHDRAWAL_KINDS``. Raises ``Refusal``.

    ``protocol`` is the version in force at ``at``, the time that is stored with the act.
    """
    if actor.role != COORDINATOR:
        raise not_allowed(
            "coordinators-only",
            "A party's withdrawal is declared and taken back by its coordinator.",
        )
    known = pending(withdrawals, actor.party, at)
    if action.kind == "party_withdrawal_revoked":
        if known is None or known.action != UUID(action.fields["declaration"]):
            raise Refusal(
                Ground.UNKNOWN,
                "unknown-withdrawal",
                f"{actor.party} has no declaration under this id that waits for its day. A party"
                " that left joins again by an amendment.",
                "act.declaration",
            )
        return
    if action.fields["party"] != actor.party:
        raise not_allowed(
            "coordinator-of-the-country",
            f"Only the coordinator of {action.fields['party']} declares that it leaves.",
        )
    if known is not None:
        raise Refusal(
            Ground.CONFLICT,
            "withdrawal-declared",
            f"{actor.party} declared before that it leaves on {known.day}; take that back first.",
            "act.party",
        )
    staying = protocol.party_codes - {actor.party}
    if protocol.edition >= _STAYING_EDITION:
        staying = frozenset(p for p in staying if pending(withdrawals, p, at) is None)
    if not staying:
        raise Refusal(
            Ground.OUT_OF_PROCEDURE,
            "last-party",
            f"{actor.party} is the last party of this agreement that has not declared that it"
            " leaves: there is none to leave it to.",
            "act.party",
        )
    earliest = _first_day(
        at + timedelta(days=protocol.withdrawal_terms.notice_days),
        _zone(protocol, actor.party),
    )
    if date.fromisoformat(action.fields["day"]) < earliest:
        raise Refusal(
            Ground.INVALID,
            "withdrawal-notice",
            f"The notice is {protocol.withdrawal_terms.notice_days} days: name {earliest} or a"
            " later day.",
            "act.day",
        )


def evolve(
    withdrawals: tuple[Withdrawal, ...],
    action: SignedAction,
    protocol: Protocol,
    position: int,
    recorded_at: datetime,
) -> tuple[Withdrawal, ...]:
    """Fold one accepted act of ``WITHDRAWAL_KINDS``.

    ``protocol`` is the version in force for it. Raises ``KeyError`` for an act that does not fit.
    """
    fields = action.fields
    if action.kind == "party_withdrawal_declared":
        declared = Withdrawal(
            action.id,
            fields["party"],
            date.fromisoformat(fields["day"]),
            action.agency,
            position,
            recorded_at,
            fields.get("reason"),
            zone=_zone(protocol, fields["party"]),
        )
        return (*withdrawals, declared)
    named = UUID(fields["declaration"])
    if not any(
        one.action == named and one.revoked_at is None and recorded_at < one.begins
        for one in withdrawals
    ):
        raise KeyError(named)
    return tuple(
        replace(one, revoked_at=position) if one.action == named else one for one in withdrawals
    )


def _first_day(moment: datetime, zone: tzinfo) -> date:
    """Return the first local day that begins at a moment or after it."""
    day = moment.astimezone(zone).date()
    return day + timedelta(days=1) if day_begins(day, zone) < moment else day


def _zone(protocol: Protocol, party: str) -> tzinfo:
    """Return the zone by which the day begins on which a party leaves."""
    return zone_of(protocol, party) if protocol.edition >= AGREED_DAYS_SINCE else UTC
