"""The notices to an agency of its obligations: pure functions, with nothing personal."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from api.exchange.waiting_times import WaitingTimes
from api.keys.key_ends import concerns, ending_keys, step_before
from api.notifying.subscriptions import Subscription
from ledger.procedure.case_state import AnnouncedErasure
from ledger.procedure.checks.taking_part import is_bound
from ledger.procedure.protocol import COORDINATOR, Agency, Protocol
from ledger.procedure.registry import Registry
from ledger.vocabulary.types import format_utc
from projections.folds.obligation_terms import is_over
from projections.folds.obligations import Obligation

LONGEST_OVERDUE = timedelta(days=30)
"""An obligation that is overdue for longer is on the list, and causes no notice again."""


class Occasion(StrEnum):
    DUE = "due"
    """It will be due soon."""
    OVERDUE = "overdue"


@dataclass(frozen=True, slots=True)
class OwedNotice:
    """An open obligation with a deadline, and who is party to its case."""

    obligation: Obligation
    due: datetime
    parties: Sequence[str]
    agencies: frozenset[str] = frozenset()
    """The agencies that have to know of the case."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One message to one subscription, which stays the same however often it is sent."""

    id: UUID
    subscription: UUID
    obligation: UUID | None
    """``None`` where it is of a key, or of an announced erasure."""
    due: datetime
    message: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Announced:
    """An erasure by retention that is announced, in a case of ``party``."""

    party: str
    case_id: UUID
    retention: AnnouncedErasure


def retention_notices(
    announced: Iterable[Announced],
    subscriptions: Sequence[Subscription],
    protocol: Protocol,
    now: datetime,
) -> Iterator[Notice]:
    """Yield the notices to coordinators of announced erasures, once for each announcement."""
    for one in announced:
        told = one.retention
        for subscription in subscriptions:
            agency = protocol.agencies_by_id[subscription.agency]
            if (agency.party, agency.role) != (one.party, COORDINATOR):
                continue
            yield Notice(
                id=uuid5(subscription.id, f"retention {told.announcement}"),
                subscription=subscription.id,
                obligation=None,
                due=told.erase_from,
                message={
                    "type": "retention.announced",
                    "timestamp": format_utc(now),
                    "data": {
                        "case_id": str(one.case_id),
                        "announcement": str(told.announcement),
                        "announced_by": told.by,
                        "kept_days": told.kept_days,
                        "erase_from": format_utc(told.erase_from),
                    },
                },
            )


def waiting_notices(
    waiting: WaitingTimes,
    limit: timedelta,
    parties: Collection[str],
    subscriptions: Sequence[Subscription],
    protocol: Protocol,
    now: datetime,
) -> Iterator[Notice]:
    """Yield the notices to coordinators of actions that wait beyond ``limit``, once a day."""
    if waiting.oldest_at is None or now - waiting.oldest_at <= limit:
        return
    for subscription in subscriptions:
        agency = protocol.agencies_by_id[subscription.agency]
        if agency.party not in parties or agency.role != COORDINATOR:
            continue
        yield Notice(
            id=uuid5(subscription.id, f"waiting {now.date().isoformat()}"),
            subscription=subscription.id,
            obligation=None,
            due=waiting.oldest_at + limit,
            message={
                "type": "actions.waiting",
                "timestamp": format_utc(now),
                "data": {
                    "actions": waiting.actions,
                    "since": format_utc(waiting.oldest_at),
                    "others_recorded_since": waiting.others_since,
                },
            },
        )


def key_notices(
    registry: Registry, subscriptions: Sequence[Subscription], now: datetime
) -> Iterator[Notice]:
    """Yield the notices ``now`` of keys that end, once for each step before the end."""
    agencies = registry.directory.agencies_by_id
    known = [one for one in subscriptions if one.agency in agencies]
    parties = {agencies[one.agency].party for one in known}
    for key in ending_keys(registry, parties, now):
        step = step_before(key.ends, now)
        for subscription in known:
            if step is None or not concerns(agencies[subscription.agency], key, registry):
                continue
            ends = format_utc(key.ends)
            yield Notice(
                id=uuid5(subscription.id, f"key {key.key_id} {ends} {step}"),
                subscription=subscription.id,
                obligation=None,
                due=key.ends,
                message={
                    "type": "key.ending",
                    "timestamp": format_utc(now),
                    "data": {"agency": key.agency, "key_id": key.key_id, "ends": ends},
                },
            )


def notices(
    owed: Iterable[OwedNotice],
    subscriptions: Sequence[Subscription],
    protocol: Protocol,
    now: datetime,
    ahead: timedelta,
    since: Mapping[UUID, datetime] | None = None,
) -> Iterator[Notice]:
    """Yield the notices ``now`` of obligations, once for each occasion and deadline.

    ``since`` has the time from which on a subscription gets notices: none of an occasion that began
    before.
    """
    for one in owed:
        told_from = one.obligation.told_from or _ahead_of(one.due, ahead)
        occasion = _occasion(one.due, now, told_from)
        if occasion is None or is_over(one.obligation.action, one.due, None, now):
            continue
        for subscription in subscriptions:
            agency = protocol.agencies_by_id[subscription.agency]
            began = one.due if occasion is Occasion.OVERDUE else told_from
            if since is not None and began < since.get(subscription.id, began):
                continue
            if owes(agency, one) and sees(agency, one, protocol):
                yield _notice(one, subscription, occasion, now)


def owes(agency: Agency, owed: OwedNotice) -> bool:
    """Return whether an agency is told of an obligation.

    It is told if it owes the obligation itself, or by its role, or as its country's coordinator. If
    any party to the case may do it, the agencies of all parties are told.
    """
    obligation = owed.obligation
    if agency.retired_at is not None:
        return False
    if obligation.debtor_agency == agency.id:
        return True
    debtors = owed.parties if obligation.debtor is None else (obligation.debtor,)
    if agency.party not in debtors:
        return False
    by_role = (
        obligation.debtor_agency is None
        and agency.role in obligation.roles
        and not agency.international
    )
    return by_role or agency.role == COORDINATOR


def sees(agency: Agency, owed: OwedNotice, protocol: Protocol) -> bool:
    """Return whether an agency may learn that the case exists."""
    return not is_bound(agency, protocol) or agency.id in owed.agencies


def cases_told(message: Mapping[str, Any]) -> frozenset[UUID]:
    """Return the cases that a message names."""
    data = message["data"]
    named = [data, *data.get("first", ())]
    return frozenset(UUID(one["case_id"]) for one in named if "case_id" in one)


def _ahead_of(due: datetime, ahead: timedelta) -> datetime:
    try:
        return due - ahead
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _occasion(due: datetime, now: datetime, told_from: datetime) -> Occasion | None:
    if due < now - LONGEST_OVERDUE or now < told_from:
        return None
    return Occasion.OVERDUE if due < now else Occasion.DUE


def _notice(
    owed: OwedNotice, subscription: Subscription, occasion: Occasion, now: datetime
) -> Notice:
    obligation, due = owed.obligation, format_utc(owed.due)
    return Notice(
        id=uuid5(obligation.id, f"{occasion.value} {due} {subscription.id}"),
        subscription=subscription.id,
        obligation=obligation.id,
        due=owed.due,
        message={
            "type": f"obligation.{occasion.value}",
            "timestamp": format_utc(now),
            "data": {
                "obligation_id": str(obligation.id),
                "case_id": str(obligation.case_id),
                "kind": obligation.kind.value,
                "action": obligation.action,
                "debtor": obligation.debtor,
                "debtor_agency": obligation.debtor_agency,
                "due": due,
            },
        },
    )
