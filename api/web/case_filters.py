"""The filters and the order of the list of cases, as a form sends them and a link names them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date, timedelta
from urllib.parse import urlencode
from uuid import UUID

from api.services.case_search import start_of
from api.services.search_text import read_day
from api.web.date_entry import TypedDate
from ledger.vocabulary.picklists import AgeGroup, CaseStatus, Stage
from projections.tables.case_lists import CaseFilter, CaseOrder

_PICKED: Mapping[str, frozenset[str]] = {
    "status": frozenset(CaseStatus),
    "stage": frozenset(Stage),
    "age_group": frozenset(AgeGroup),
    "order": frozenset(CaseOrder),
}
MINE, NOBODY = "mine", "nobody"
DAYS = ("opened_from", "opened_to")
"""The filters that are dates, each in the form of ``TypedDate.text``."""
MOST_CHARACTERS = 100
"""Of one value."""


@dataclass(frozen=True, slots=True)
class ListChoice:
    """Choices of a reader, each as it was typed; empty if it was left open."""

    order: str = ""
    status: str = ""
    stage: str = ""
    country: str = ""
    step: str = ""
    agency: str = ""
    age_group: str = ""
    assigned: str = ""
    """``mine``, ``nobody``, or the id of a member."""
    opened_from: str = ""
    opened_to: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all choices, as a form has them."""
        return CHOICES

    @property
    def query(self) -> str:
        """Return the choice as a part of an address; empty if nothing was chosen."""
        return urlencode({name: value for name, value in asdict(self).items() if value})

    @property
    def chosen(self) -> int:
        """Return how many values were chosen, the order among them."""
        return sum(bool(value) for value in asdict(self).values())

    @property
    def wrong(self) -> tuple[str, ...]:
        """Return the names of values that nothing can mean."""
        found = [
            name
            for name, values in _PICKED.items()
            if (value := getattr(self, name)) and value not in values
        ]
        if self.assigned not in ("", MINE, NOBODY) and self.assigned_to is None:
            found.append("assigned")
        return (*found, *(name for name in DAYS if not self._is_day(name)))

    @property
    def assigned_to(self) -> UUID | None:
        """Return the member whose cases are wanted; ``None`` for none, ``mine`` and ``nobody``."""
        try:
            return UUID(self.assigned)
        except ValueError:
            return None

    @property
    def case_order(self) -> CaseOrder:
        """Return the order. Raises ``ValueError`` if it is ``wrong``."""
        return CaseOrder(self.order or CaseOrder.DUE)

    def case_filter(self, zone: str) -> CaseFilter:
        """Return the filter, with days as they are in a time zone. Nothing may be ``wrong``."""
        first, last = self._day("opened_from"), self._day("opened_to")
        return CaseFilter(
            status=self.status or None,
            stage=self.stage or None,
            country=self.country or None,
            step=self.step or None,
            agency=self.agency or None,
            age_group=self.age_group or None,
            opened_from=None if first is None else start_of(first, zone),
            opened_before=None if last is None else start_of(last + timedelta(days=1), zone),
        )

    def typed(self, name: str) -> TypedDate:
        """Return the parts of a date as they were typed."""
        return TypedDate.of(getattr(self, name))

    def _day(self, name: str) -> date | None:
        return self.typed(name).read()

    def _is_day(self, name: str) -> bool:
        try:
            self._day(name)
        except ValueError:
            return False
        return True


def as_text(parts: TypedDate, written: str) -> str:
    """Return a date of three fields as one text; without them, a date that an address names."""
    if parts.text or not written:
        return parts.text
    day = read_day(written)
    return written if day is None else day.isoformat()


CHOICES = tuple(one.name for one in fields(ListChoice))
