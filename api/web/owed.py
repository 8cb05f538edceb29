"""What countries owe each other now, over all cases that the viewer sees.

The one place to change when obligations have a view of their own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from api.web.telling import Urgency, urgency
from projections.case_view import CaseView


@dataclass(frozen=True, slots=True)
class Owed:
    """One thing that a country, or an agency of it, owes."""

    case_id: UUID
    action: str
    debtor: str | None
    """The country; ``None`` where any party to the case may do it."""
    agency: str | None
    creditors: tuple[str, ...]
    due: datetime | None
    urgency: Urgency


def owed(cases: Iterable[CaseView], now: datetime) -> Sequence[Owed]:
    """Open obligations, what is overdue longest first."""
    found = [
        Owed(
            case_id=view.case_id,
            action=step.action,
            debtor=step.party,
            agency=step.agency,
            creditors=tuple(p for p in view.parties if p != step.party),
            due=step.due,
            urgency=urgency(step.due, now),
        )
        for view in cases
        for step in view.expected
    ]
    return sorted(found, key=lambda o: (o.due is None, o.due or now, o.action))
