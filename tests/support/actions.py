"""Actions that many tests begin with."""

from datetime import UTC, datetime
from typing import Any

from ledger.vocabulary.identification import CaseOpened
from ledger.vocabulary.picklists import AgeGroup, Indicator, OpeningGround

START = datetime(2026, 1, 5, 8, tzinfo=UTC)


def opening(
    countries: tuple[str, ...] = ("XK",), *, acted_at: datetime = START, **more: Any
) -> CaseOpened:
    """A child's case is opened by the police. ``more`` gives further fields."""
    return CaseOpened(
        acted_at=acted_at,
        age_group=AgeGroup.CHILD,
        countries=countries,
        ground=OpeningGround.POLICE_ACTION,
        indicators=(Indicator.UNACCOMPANIED_CHILD,),
        **more,
    )
