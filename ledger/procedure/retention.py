"""The end of a case's period of retention, and the announcement of its erasure."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Protocol as Interface

from ledger.log.cosigned_times import CosignedTimes
from ledger.procedure.case_state import CaseState
from ledger.procedure.protocol import Protocol, Retention
from ledger.procedure.time_zones import end_of_local_day, zone_of
from ledger.vocabulary.picklists import ClosureReason


class Closed(Interface):
    """A case in any of its forms, as a state or as a view."""

    @property
    def closure(self) -> ClosureReason | None: ...

    @property
    def closed_at(self) -> datetime | None: ...

    @property
    def parties(self) -> tuple[str, ...]: ...

    @property
    def facts(self) -> Mapping[str, object]: ...


def retention_rule(state: Closed, protocol: Protocol) -> Retention | None:
    """Return the protocol's rule for the reason for which the case was closed, if any."""
    return _rule(protocol.retention, state) if state.closure is not None else None


def period_end(state: Closed, protocol: Protocol) -> datetime | None:
    """Return when the period of retention ends, whether a hold is in force or not.

    Where the protocol counts local days, the last day of the period is over in each country of the
    case.
    """
    rule = retention_rule(state, protocol)
    if rule is None or state.closed_at is None:
        return None
    if protocol.counts_local_days:
        zones = [zone_of(protocol, party) for party in state.parties]
        return end_of_local_day(state.closed_at, rule.days, zones)
    return state.closed_at + timedelta(days=rule.days)


def retention_over(state: CaseState, protocol: Protocol) -> datetime | None:
    """Return when the period of retention is over; ``None`` while that cannot be said."""
    return None if state.holds else period_end(state, protocol)


def is_owed_erasure(state: CaseState, party: str) -> bool:
    """Return whether two parties ordered the erasure, or ``party`` has confirmed it."""
    erasure = state.erasure
    return erasure is not None and (erasure.order is not None or party in erasure.confirmed)


def erasable_from(state: CaseState, protocol: Protocol) -> datetime | None:
    """Return the recorded time from which the announcement in force allows the erasure.

    Returns ``None`` if no erasure is announced, or if something stops the erasure.
    """
    rule, over, announced = (
        retention_rule(state, protocol),
        retention_over(state, protocol),
        state.retention,
    )
    if rule is None or over is None or announced is None:
        return None
    graced = announced.announced_at + timedelta(days=rule.grace_days)
    return max(over, announced.erase_from, graced)


def must_be_announced(protocol: Protocol) -> bool:
    """Return whether the rules refuse an erasure by retention that was not announced."""
    return protocol.edition >= 2


def may_be_erased(state: CaseState, protocol: Protocol, times: CosignedTimes) -> bool:
    """Return whether the period is over and was announced long enough, by cosigned times.

    If the rules have no announcement, the period must have been over for the days of grace.
    """
    rule, over = retention_rule(state, protocol), retention_over(state, protocol)
    if rule is None or over is None:
        return False
    grace, announced = timedelta(days=rule.grace_days), state.retention
    if announced is not None:
        return times.have_passed(
            grace,
            after_position=announced.position,
            not_before=max(over, announced.erase_from),
        )
    return not must_be_announced(protocol) and times.have_been_after(over, grace)


def is_to_be_announced(state: CaseState, protocol: Protocol, moment: datetime) -> bool:
    """Return whether at ``moment`` an announcement is due: the days of grace before the end."""
    rule, over = retention_rule(state, protocol), retention_over(state, protocol)
    return (
        rule is not None
        and over is not None
        and state.retention is None
        and not state.is_erased
        and over - timedelta(days=rule.grace_days) <= moment
    )


def _rule(rules: Iterable[Retention], state: Closed) -> Retention | None:
    of_reason = [
        rule
        for rule in rules
        if state.closure in rule.reasons and not any(fact in state.facts for fact in rule.unless)
    ]
    of_others = [r for r in rules if not r.reasons]
    return next(iter((*of_reason, *of_others)), None)
