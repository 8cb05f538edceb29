"""What countries owe each other now, over all cases that the viewer sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from api.web.telling import Urgency, urgency
from projections.obligations import Obligation, ObligationState
from projections.reading import ViewReader

_PAGE, _AT_MOST = 200, 1_000


@dataclass(frozen=True, slots=True)
class Owed:
    """One open obligation, and how near its date is."""

    obligation: Obligation
    urgency: Urgency


def owed(views: ViewReader, viewer: str, now: datetime) -> Sequence[Owed]:
    """Open obligations, what is overdue longest first; as many as a page can show."""
    found: list[Obligation] = []
    while len(found) < _AT_MOST:
        last = found[-1] if found else None
        more = views.obligations(viewer, limit=_PAGE, after=last, state=ObligationState.OPEN)
        found += more
        if len(more) < _PAGE:
            break
    found.sort(key=lambda one: (one.due is None, one.due or now, one.action))
    return [Owed(one, urgency(one.due, now)) for one in found]
