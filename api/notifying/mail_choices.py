"""The e-mails that each agency chose, in place of what the operator's file says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from api.notifying.subscriptions import Send, Subscription
from ledger.store.database import Database

_CHOICES = "SELECT agency, duties, urgent, language FROM desk.mail_choices WHERE member = ''"
_CHOOSE = """
INSERT INTO desk.mail_choices (agency, duties, urgent, language)
VALUES (%(agency)s, %(duties)s, %(urgent)s, %(language)s)
ON CONFLICT (agency, member) DO UPDATE
    SET duties = EXCLUDED.duties, urgent = EXCLUDED.urgent, language = EXCLUDED.language
"""
_BEGIN = """
INSERT INTO notifications.subscriptions (id, since, position)
SELECT unnest(%(ids)s::uuid[]), %(now)s, coalesce(max(notification_id), 0) FROM ledger.events
ON CONFLICT (id) DO NOTHING
"""
_END = "DELETE FROM notifications.subscriptions WHERE NOT id = ANY(%(ids)s)"
_BEGUN = "SELECT id, since, position FROM notifications.subscriptions WHERE id = ANY(%(ids)s)"


class Duties(StrEnum):
    """The e-mails on what is due."""

    DIGEST = "digest"
    """One a day."""
    EACH = "each"
    """One for each obligation, before it is due and once it is overdue."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class MailChoice:
    """The e-mails that an agency gets."""

    duties: Duties
    urgent: bool
    """Whether dangers and handovers are sent at once."""
    language: str | None = None
    """``None``: that of the subscription, or of the agency's country."""


@dataclass(frozen=True, slots=True)
class Begun:
    """Since when a node has a subscription."""

    since: datetime
    position: int
    """The ledger's last position then."""


class MailChoices:
    """Reads and keeps the choices, and since when each subscription is known."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def every(self) -> Mapping[str, MailChoice]:
        """Return the choice of each agency that made one."""
        with self._database.connection() as connection:
            rows = connection.execute(_CHOICES).fetchall()
        return {
            row["agency"]: MailChoice(Duties(row["duties"]), row["urgent"], row["language"])
            for row in rows
        }

    def choose(self, agency: str, choice: MailChoice) -> None:
        """Keep the choice of an agency."""
        asked = {
            "agency": agency,
            "duties": choice.duties.value,
            "urgent": choice.urgent,
            "language": choice.language,
        }
        with self._database.connection() as connection:
            connection.execute(_CHOOSE, asked)

    def begun(self, ids: Sequence[UUID], now: datetime) -> Mapping[UUID, Begun]:
        """Return since when each subscription is known; a new one is known from now on.

        A subscription that is no more among ``ids`` is new when it comes back.
        """
        asked = {"ids": list(ids), "now": now}
        with self._database.transaction() as connection:
            connection.execute(_END, asked)
            connection.execute(_BEGIN, asked)
            rows = connection.execute(_BEGUN, asked).fetchall()
        return {row["id"]: Begun(row["since"], row["position"]) for row in rows}


def choice_of(subscription: Subscription, choices: Mapping[str, MailChoice]) -> MailChoice:
    """Return the choice that counts for a subscription.

    A webhook is read by a program and gets each notice, and dangers and handovers.
    """
    if subscription.webhook is not None:
        return MailChoice(Duties.EACH, urgent=True)
    chosen = choices.get(subscription.agency)
    return chosen or MailChoice(
        Duties(subscription.send.value), urgent=subscription.send is not Send.NONE
    )


def in_language(subscription: Subscription, choices: Mapping[str, MailChoice]) -> Subscription:
    """Return a subscription with the language that its agency chose."""
    chosen = choices.get(subscription.agency)
    if chosen is None or chosen.language is None:
        return subscription
    return replace(subscription, language=chosen.language)
