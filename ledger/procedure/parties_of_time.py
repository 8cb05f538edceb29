"""The parties of an agreement at a time, for reports on that time.

A report of a past time has the parties of that time. A party that left later is in it, and a party
that joined later is not. Deciding an event uses its position as well
(``ledger.procedure.agreement``).
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from ledger.procedure.agreement import Agreement
from ledger.procedure.protocol import Protocol

_ALWAYS = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)
_AFTER_ALL = 2**63 - 1
"""A position after every event."""


@dataclass(frozen=True, slots=True)
class Membership:
    """The time from ``since`` until just before ``until`` in which a country is a party.

    A party of the first version is one since ever: agencies record what they did before the ledger
    began.
    """

    party: str
    since: datetime
    until: datetime | None

    def years_in(self, zone: tzinfo) -> tuple[int, int]:
        """Return the first and the last year of local time in which the country is a party."""
        first = self.since.year if self.since == _ALWAYS else self.since.astimezone(zone).year
        if self.until is None:
            return first, _NEVER.year
        return first, (self.until - timedelta(microseconds=1)).astimezone(zone).year

    def overlaps(self, first: datetime, last: datetime) -> bool:
        """Return whether the country is a party at any time from ``first`` to ``last``."""
        return self.since <= last and (self.until is None or self.until > first)


def memberships(agreement: Agreement) -> Iterator[Membership]:
    """Yield each time in which a country is a party, also of one that joined again."""
    first = agreement.versions[0].protocol.every_party_code
    for party in sorted(first.union(*(version.admitted for version in agreement.versions))):
        since: datetime | None = _ALWAYS
        for begins, ends in sorted(_absences(agreement, party, is_first=party in first)):
            if since is not None and begins > since:
                yield Membership(party, since, begins)
            since = None if since is None or ends == _NEVER else max(since, ends)
        if since is not None:
            yield Membership(party, since, None)


def _absences(
    agreement: Agreement, party: str, *, is_first: bool
) -> Iterator[tuple[datetime, datetime]]:
    """Yield each time in which a country is no party: from when, and until just before when.

    A text that admits the country again ends its absence. If that text is in force before the day
    of leaving, the country does not leave.
    """
    admitting = [version for version in agreement.versions if party in version.admitted]
    if not is_first:
        yield _ALWAYS, min(version.earliest for version in admitting)
    for one in agreement.withdrawals:
        if one.party != party or one.revoked_at is not None:
            continue
        again = (version.earliest for version in admitting if version.adopted_at > one.position)
        until = min(again, default=_NEVER)
        if one.begins < until:
            yield one.begins, until


def parties_between(agreement: Agreement, first: datetime, last: datetime) -> frozenset[str]:
    """Return the countries that are a party at any time from ``first`` to ``last``."""
    return frozenset(one.party for one in memberships(agreement) if one.overlaps(first, last))


def parties_at(agreement: Agreement, moment: datetime) -> frozenset[str]:
    """Return the countries that are a party at a moment."""
    return parties_between(agreement, moment, moment)


def protocol_at(agreement: Agreement, moment: datetime) -> Protocol:
    """Return the protocol as it was in force at a moment, with the names and agencies of then."""
    known = bisect_right(agreement.changes, moment, key=lambda change: change.recorded_at)
    then = Agreement(agreement.versions, agreement.changes[:known], agreement.withdrawals)
    return then.at(_AFTER_ALL, moment)
