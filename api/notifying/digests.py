"""The daily digest of an agency, and the notices of dangers and handovers that are sent at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from api.notifying.mail_choices import Begun
from api.notifying.notices import Notice
from api.notifying.subscriptions import Subscription
from api.services.arrived import ArrivedLists
from ledger.procedure.checks.taking_part import is_bound
from ledger.procedure.protocol import COORDINATOR, Agency, Protocol
from ledger.procedure.time_zones import zone_of
from ledger.vault.working_notes import Desk
from ledger.vocabulary.types import format_utc
from projections.folds.arrivals import ArrivalSort
from projections.tables.duty_lists import Duties, DutyList, DutyLists, viewer_of

URGENT = (ArrivalSort.DANGER, ArrivalSort.HANDOVER)
_URGENT_WITHIN = timedelta(days=7)
"""A danger or a handover that was recorded earlier is on the start page, and in the digest."""
_MOST_URGENT = 100
_LISTED = 10
"""Obligations that a digest names."""
_MOST_COUNTED = 200
Reminders = Callable[[Agency, date], int]
"""Returns how many reminders of an agency are due by a day."""
DraftNumbers = Callable[[Agency], Mapping[str, int]]
"""Returns how many drafts of an agency wait, were returned, and were recorded in a day."""


def urgent_notices(
    subscriptions: Sequence[Subscription],
    begun: Mapping[UUID, Begun],
    protocol: Protocol,
    arrived: ArrivedLists,
    now: datetime,
) -> Iterator[Notice]:
    """Yield the notices of dangers and handovers that came since each subscription is known."""
    for subscription in subscriptions:
        agency = protocol.agencies_by_id.get(subscription.agency)
        if agency is None or agency.retired_at is not None:
            continue
        since = begun[subscription.id].position
        for one in arrived.after(
            agency,
            viewer_of(agency),
            URGENT,
            since,
            now - _URGENT_WITHIN,
            _MOST_URGENT,
            is_bound=is_bound(agency, protocol),
        ):
            yield Notice(
                id=uuid5(subscription.id, f"arrival {one.action_id}"),
                subscription=subscription.id,
                obligation=None,
                due=one.recorded_at,
                message={
                    "type": f"case.{one.sort.value}",
                    "timestamp": format_utc(now),
                    "data": {
                        "case_id": str(one.case_id),
                        "action_id": str(one.action_id),
                        "kind": one.kind,
                        "agency": one.agency,
                        "recorded_at": format_utc(one.recorded_at),
                    },
                },
            )


def digest_notices(
    subscriptions: Sequence[Subscription],
    protocol: Protocol,
    duties: DutyLists,
    arrived: ArrivedLists,
    reminders: Reminders,
    drafts: DraftNumbers,
    due: Mapping[UUID, UUID],
    now: datetime,
) -> Iterator[Notice]:
    """Yield today's digest of each subscription in ``due``, which has the digests' ids.

    An agency for which nothing is due, unread or to be remembered gets none.
    """
    for subscription in subscriptions:
        agency = protocol.agencies_by_id.get(subscription.agency)
        if agency is None or subscription.id not in due:
            continue
        day = now.astimezone(zone_of(protocol, agency.party)).date()
        data = _digest(
            agency,
            duties,
            arrived,
            reminders,
            drafts(agency),
            day,
            now,
            bound=is_bound(agency, protocol),
        )
        if data is not None:
            yield Notice(
                id=due[subscription.id],
                subscription=subscription.id,
                obligation=None,
                due=now,
                message={"type": "digest.daily", "timestamp": format_utc(now), "data": data},
            )


def digest_ids(
    subscriptions: Sequence[Subscription], protocol: Protocol, hour: int, now: datetime
) -> Mapping[UUID, UUID]:
    """Return the id of today's digest for each subscription, from an hour of local time on."""
    found: dict[UUID, UUID] = {}
    for subscription in subscriptions:
        agency = protocol.agencies_by_id.get(subscription.agency)
        if agency is None or agency.retired_at is not None:
            continue
        local = now.astimezone(zone_of(protocol, agency.party))
        if local.hour >= hour:
            day = local.date().isoformat()
            found[subscription.id] = uuid5(subscription.id, f"digest {day}")
    return found


def _digest(
    agency: Agency,
    duties: DutyLists,
    arrived: ArrivedLists,
    reminders: Reminders,
    drafts: Mapping[str, int],
    day: date,
    now: datetime,
    *,
    bound: bool,
) -> Mapping[str, Any] | None:
    """Return the content of a digest, or ``None`` if there is nothing to say."""
    viewer = viewer_of(agency)
    mine = duties.of(agency, viewer, Duties.MINE, now, limit=_LISTED, is_bound=bound)
    country: DutyList | None = None
    if agency.role == COORDINATOR:
        country = duties.of(agency, viewer, Duties.COUNTRY, now, limit=1)
    unread = len(
        arrived.unread(Desk(agency.id), agency, viewer, limit=_MOST_COUNTED, is_bound=bound)
    )
    remembered = reminders(agency, day)
    counts = (mine.number, unread, remembered, *drafts.values())
    if not (any(counts) or (country is not None and country.overdue)):
        return None
    return {
        "day": day.isoformat(),
        "agency": agency.id,
        "due": mine.number,
        "overdue": mine.overdue,
        "overdue_in_country": country.overdue if country is not None else 0,
        "unread": unread,
        "reminders": remembered,
        **drafts,
        "first": [
            {
                "case_id": str(one.case_id),
                "action": one.action,
                "due": None if one.due is None else format_utc(one.due),
                "debtor": one.debtor,
            }
            for one in mine.obligations
        ],
    }
