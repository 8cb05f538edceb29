"""The state of parcels between countries at this node, and its troubles.

A node sees up to three sides: the mailbox where it is the ledger node, what its own country sent,
and what waits for its own country.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, Self

from api.client.schemas.health import Effect, Side
from api.runtime.trouble import Trouble
from ledger.replication.mailbox import Mailbox
from ledger.store.database import Database
from ledger.vault.arrived_parcels import ArrivedParcels
from ledger.vault.daily_quotas import MAX_A_DAY, DailyQuotas, Quota
from ledger.vault.sent_parcels import SentParcels

LIMIT = timedelta(hours=24)
"""A parcel that has waited longer is a trouble."""
_TITLE = "Between countries"


class Correspondent(Protocol):
    """The parcels of one country, sent and arrived. A vault is one."""

    @property
    def party(self) -> str:
        """Return the country's code."""

    @property
    def sent(self) -> SentParcels:
        """Return the parcels that the country sends."""

    @property
    def arrived(self) -> ArrivedParcels:
        """Return the parcels that wait for the country, and those that it refused."""


class Country(Protocol):
    """The rows that other countries' nodes caused in one country's vault. A vault is one."""

    @property
    def party(self) -> str:
        """Return the country's code."""

    @property
    def quotas(self) -> DailyQuotas:
        """Return the counts by day."""


@dataclass(frozen=True, slots=True)
class WithoutKeys:
    """A country's tables of parcels, for those who open nothing."""

    party: str
    sent: SentParcels
    arrived: ArrivedParcels

    @classmethod
    def of(cls, database: Database, party: str) -> Self:
        return cls(party, SentParcels(database, party), ArrivedParcels(database, party))


@dataclass(frozen=True, slots=True)
class ParcelsStanding:
    """The number of parcels of one country that wait for another, and the oldest one's age."""

    side: Side
    sender: str
    recipient: str
    parcels: int
    oldest_at: datetime


def parcels_standing(
    countries: Iterable[Correspondent], mailbox: Mailbox | None
) -> tuple[ParcelsStanding, ...]:
    """Return the parcels that wait, by side, sender and recipient.

    ``mailbox`` is the ledger node's own.
    """
    found = [
        ParcelsStanding(Side.MAILBOX, one.sender, one.recipient, one.parcels, one.oldest_at)
        for one in (mailbox.standing() if mailbox is not None else ())
    ]
    for country in countries:
        found += [
            ParcelsStanding(Side.SENT, country.party, one.recipient, one.parcels, one.oldest_at)
            for one in country.sent.unacknowledged()
        ]
        found += [
            ParcelsStanding(Side.RECEIVED, one.sender, country.party, one.parcels, one.oldest_at)
            for one in country.arrived.waiting()
        ]
    return tuple(found)


def waiting_troubles(
    standing: Iterable[ParcelsStanding], now: datetime, limit: timedelta = LIMIT
) -> Sequence[Trouble]:
    """Return a trouble for each side on which a parcel has waited longer than ``limit``."""
    late: dict[Side, list[ParcelsStanding]] = {}
    for one in standing:
        if now - one.oldest_at > limit:
            late.setdefault(one.side, []).append(one)
    return [_trouble(*_LATE[side], _listed(found)) for side, found in late.items()]


_LATE = {
    Side.MAILBOX: (
        "parcels-waiting",
        "parcels wait in this mailbox: tell the recipient's operator",
    ),
    Side.SENT: (
        "parcels-unacknowledged",
        "parcels of this country were not acknowledged: ask the recipient's operator, and see "
        "`case-ledger node parcels`",
    ),
    Side.RECEIVED: (
        "parcels-not-taken-in",
        "parcels wait for this country, which its node cannot take in: see whether it follows the "
        "ledger, and `case-ledger node parcels`; they expire by themselves",
    ),
}


def not_believed_troubles(countries: Iterable[Correspondent]) -> Sequence[Trouble]:
    """Return a trouble if a recipient did not accept parcels of this node's countries."""
    found = [
        f"{one.recipient} ({one.reason})"
        for country in countries
        for one in country.sent.not_believed(100)
    ]
    if not found:
        return ()
    names = ", ".join(sorted(set(found)))
    return (
        _trouble(
            "parcels-not-believed",
            "a recipient did not believe parcels of this country: find out why together, then "
            "`case-ledger node parcels --send-again` or `--give-up`",
            names,
        ),
    )


def full_troubles(full: Iterable[tuple[str, str]]) -> Sequence[Trouble]:
    """Return a trouble where the mailbox takes no more of a country for another."""
    pairs = ", ".join(f"{sender} to {recipient}" for sender, recipient in sorted(full))
    if not pairs:
        return ()
    what = "the mailbox takes no more parcels for now; the rest is kept and sent later"
    return (_trouble("mailbox-full", what, pairs),)


def outdated_troubles(is_outdated: bool) -> Sequence[Trouble]:
    """Return a trouble where the ledger node runs an earlier program."""
    if not is_outdated:
        return ()
    what = "the ledger node runs an earlier program, without acknowledgements"
    why = "nothing is sent to or fetched from other countries until it is updated"
    return (_trouble("mailbox-outdated", what, why),)


def without_key_troubles(parties: Iterable[str]) -> Sequence[Trouble]:
    """Return a trouble where parcels are taken in and cannot be acknowledged."""
    if not (names := ", ".join(sorted(parties))):
        return ()
    what = (
        "this machine has no registered key of the country's node, so that what it takes in is not "
        "acknowledged: make one with `case-ledger keys new`, and register it"
    )
    return (_trouble("parcels-unsigned", what, names),)


def quota_troubles(countries: Iterable[Country]) -> Sequence[Trouble]:
    """Return a trouble where another country's node caused more than a day's quota here."""
    found: dict[Quota, list[str]] = {}
    for country in countries:
        for one in country.quotas.used_up():
            found.setdefault(one.quota, []).append(f"{one.other} at {country.party}")
    return [_trouble(*_OVER[quota], ", ".join(pairs)) for quota, pairs in found.items()]


_OVER = {
    Quota.DUPLICATES: (
        "too-many-duplicates",
        f"more than {MAX_A_DAY[Quota.DUPLICATES]} possible duplicates with one country's cases "
        "were found within a day: the rest waits for the next day; ask that country's operator, "
        "for its node may make them up",
    ),
    Quota.CHANGED_CASES: (
        "too-many-changed-cases",
        "another country's node names more cases for comparison than it opened, or changed more "
        f"than {MAX_A_DAY[Quota.CHANGED_CASES]} within a day: the rest waits for the next day; ask "
        "that country's operator, for each of them lets its node test a guess",
    ),
    Quota.ASKED_ANEW: (
        "too-many-changed-cases",
        "another country's node asks for the evidence of the same pairs of cases again and again: "
        "the rest waits for the next day; ask that country's operator, for each question lets its "
        "node test guesses",
    ),
    Quota.GIVEN: (
        "asked-too-often",
        "another country's node asks for the same fields again and again: it gets them once the "
        "day is over; ask its operator whether what is sent arrives",
    ),
    Quota.CHUNKS: (
        "asked-too-often",
        "another country's node asks for more of documents than one may within a day: it gets the "
        "rest once the day is over; ask its operator whether what is sent arrives",
    ),
}


def _listed(standing: Iterable[ParcelsStanding]) -> str:
    return "; ".join(
        f"{one.parcels} from {one.sender} to {one.recipient}, the oldest since "
        f"{one.oldest_at:%Y-%m-%d %H:%M} UTC"
        for one in standing
    )


def _trouble(name: str, what: str, where: str) -> Trouble:
    message = f"{what[0].upper()}{what[1:]}. {where}."
    return Trouble(rule=name, message=message, effect=Effect.WARNING, title=_TITLE)
