"""The notices of drafts that wait for a second member of an agency, with nothing that they say."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from api.notifying.mail_choices import Begun, Duties, MailChoice, choice_of
from api.notifying.notices import Notice
from api.notifying.subscriptions import Subscription
from api.services.drafts import Drafts
from ledger.procedure.protocol import Agency, Protocol
from ledger.store.database import Database
from ledger.vault.drafts import DraftState
from ledger.vocabulary.types import format_utc

ENDING_WITHIN = timedelta(days=1)
"""A draft that is not recorded by then is told of once more."""
_RECORDED_WITHIN = timedelta(days=7)
_MOST_RECORDED = 100

_APPROVED = """
SELECT t.action_id, t.case_id, t.document ->> 'kind' AS kind,
    (t.document ->> 'recorded_at')::timestamptz AS recorded_at
FROM views.audit_trail t
WHERE t.slot = views.live_slot('audit_trail') AND t.document ? 'approved_by'
  AND t.document ->> 'agency' = %(agency)s AND t.position > %(position)s
  AND (t.document ->> 'recorded_at')::timestamptz > %(since)s
ORDER BY t.position DESC LIMIT %(limit)s
"""


class DraftOccasion(StrEnum):
    """The reason for a notice of a draft."""

    WAITING = "waiting"
    """It waits for the approval of a colleague."""
    RETURNED = "returned"
    """A colleague returned it, or the ledger node refused it."""
    ENDING = "ending"
    """It can be recorded for a day more."""
    RECORDED = "recorded"
    """A colleague approved it, and it is recorded."""


@dataclass(frozen=True, slots=True)
class ToldDraft:
    """A draft, or the action that came of it, as far as a notice tells of it."""

    action_id: UUID
    case_id: UUID | None
    """``None`` for a case that is not opened yet."""
    kind: str
    occasion: DraftOccasion
    at: datetime
    """When it was recorded; before, until when it can be."""


OpenDrafts = Callable[[Agency], Sequence[ToldDraft]]
"""Returns the drafts of an agency that wait or were returned."""


def open_drafts(drafts: Drafts, agency: Agency) -> Sequence[ToldDraft]:
    """Return the drafts of an agency that wait or were returned."""
    return [
        ToldDraft(
            one.action_id,
            one.case_id if one.case_version else None,
            one.kind,
            DraftOccasion(one.state.value),
            drafts.until(one),
        )
        for one in drafts.of_agency(agency)
        if one.state is not DraftState.APPROVED
    ]


def approved_actions(
    database: Database, agency: str, since: datetime, after: int = 0
) -> Sequence[ToldDraft]:
    """Return an agency's actions that a second member approved, recorded since a moment.

    ``after`` is the position after which they are recorded.
    """
    asked = {"agency": agency, "position": after, "since": since, "limit": _MOST_RECORDED}
    with database.connection() as connection:
        rows = connection.execute(_APPROVED, asked).fetchall()
    return [
        ToldDraft(
            row["action_id"],
            row["case_id"],
            row["kind"],
            DraftOccasion.RECORDED,
            row["recorded_at"],
        )
        for row in rows
    ]


def draft_notices(
    subscriptions: Sequence[Subscription],
    choices: Mapping[str, MailChoice],
    begun: Mapping[UUID, Begun],
    protocol: Protocol,
    drafts: OpenDrafts,
    database: Database,
    now: datetime,
) -> Iterator[Notice]:
    """Yield the notices of drafts, each once.

    An agency that chose a digest is told at once only of a draft that ends; its digest has numbers.
    """
    for subscription in subscriptions:
        duties = choice_of(subscription, choices).duties
        agency = protocol.agencies_by_id.get(subscription.agency)
        if agency is None or agency.retired_at is not None or duties is Duties.NONE:
            continue
        told = drafts(agency)
        ends = now + ENDING_WITHIN
        found = [_as(one, DraftOccasion.ENDING) for one in told if now < one.at <= ends]
        if duties is Duties.EACH:
            position = begun[subscription.id].position
            since = now - _RECORDED_WITHIN
            found += [*told, *approved_actions(database, agency.id, since, position)]
        yield from (_notice(one, subscription, now) for one in found)


def draft_counts(
    agency: Agency, drafts: OpenDrafts, database: Database, now: datetime
) -> Mapping[str, int]:
    """Return how many drafts wait and were returned, and how many were recorded in a day."""
    told = [one.occasion for one in drafts(agency)]
    recorded = approved_actions(database, agency.id, now - timedelta(days=1))
    return {
        "drafts_waiting": told.count(DraftOccasion.WAITING),
        "drafts_returned": told.count(DraftOccasion.RETURNED),
        "drafts_recorded": len(recorded),
    }


def _as(draft: ToldDraft, occasion: DraftOccasion) -> ToldDraft:
    return ToldDraft(draft.action_id, draft.case_id, draft.kind, occasion, draft.at)


def _notice(draft: ToldDraft, subscription: Subscription, now: datetime) -> Notice:
    is_recorded = draft.occasion is DraftOccasion.RECORDED
    data: dict[str, Any] = {
        "action_id": str(draft.action_id),
        "kind": draft.kind,
        "recorded_at" if is_recorded else "until": format_utc(draft.at),
    }
    if draft.case_id is not None:
        data["case_id"] = str(draft.case_id)
    return Notice(
        id=uuid5(subscription.id, f"draft {draft.occasion} {draft.action_id}"),
        subscription=subscription.id,
        obligation=None,
        due=draft.at,
        message={
            "type": f"draft.{draft.occasion.value}",
            "timestamp": format_utc(now),
            "data": data,
        },
    )
