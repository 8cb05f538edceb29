"""Answers the search box: by reference, id, file number or day, and else by the person."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from api.services.agency_files import AgencyFiles
from api.services.person_search import FoundPerson, PersonSearch
from api.services.personal_data_access import Reader
from api.services.search_text import (
    Sought,
    SoughtCase,
    SoughtDay,
    SoughtPerson,
    SoughtReference,
    read_sought,
)
from ledger.vocabulary.picklists import Purpose
from projections.folds.case_view import CaseView
from projections.tables.case_lists import CaseFilter, CaseOrder
from projections.tables.view_queries import ViewReader

MOST_CASES = 100
"""Cases of one day, of one reference or of one file number that an answer has."""


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """The cases that a typed text means."""

    sought: Sought | None
    cases: Sequence[CaseView] = ()
    by_number: frozenset[UUID] = frozenset()
    """Those of the cases whose file number the text is."""
    persons: Sequence[FoundPerson] = ()
    """Those of the cases whose person matches, in the order of the cases."""
    has_more: bool = False
    searched: bool = False
    """Whether a person was searched for."""

    @property
    def certain(self) -> UUID | None:
        """Return the one case that the text names, if it names one and is no day and no person."""
        if len(self.cases) == 1 and not self.searched and not isinstance(self.sought, SoughtDay):
            return self.cases[0].case_id
        return None


class CaseSearch:
    """Searches the cases of the reader's country."""

    def __init__(self, views: ViewReader, files: AgencyFiles, persons: PersonSearch) -> None:
        self._views = views
        self._files = files
        self._persons = persons

    def find(
        self,
        reader: Reader,
        viewer: str,
        text: str,
        purpose: Purpose | None,
        zone: str,
        *,
        seen_by: str | None,
    ) -> SearchAnswer:
        """Return the cases that a text means. A person is searched for with a purpose alone.

        ``seen_by`` is the reader's agency if it sees only the cases that it has to know of.

        A file number is found like a reference: its own country's agencies see it in their lists.
        Days are those of the time zone. Raises as :meth:`PersonSearch.find` does.
        """
        sought = read_sought(text)
        if sought is None:
            return SearchAnswer(None)
        of_cases = self._views.lists.of_cases
        if isinstance(sought, SoughtCase):
            return SearchAnswer(sought, of_cases(viewer, [sought.case_id], seen_by=seen_by))
        numbered = of_cases(viewer, self._files.find(reader.agency, text), seen_by=seen_by)
        by_number = frozenset(view.case_id for view in numbered)
        others: Sequence[CaseView] = ()
        has_more = False
        if isinstance(sought, SoughtReference):
            others = self._views.cases(
                viewer, limit=MOST_CASES, reference=sought.reference, seen_by=seen_by
            )
            if not others and not numbered and sought.may_be_name:
                sought = SoughtPerson(text)
        elif isinstance(sought, SoughtDay):
            others, has_more = self._of_day(viewer, sought.day, zone, seen_by)
        if isinstance(sought, SoughtPerson) and not numbered:
            return self._of_person(reader, viewer, sought, purpose)
        cases = [*numbered, *(view for view in others if view.case_id not in by_number)]
        return SearchAnswer(sought, cases, by_number, has_more=has_more)

    def _of_day(
        self, viewer: str, day: date, zone: str, seen_by: str | None
    ) -> tuple[Sequence[CaseView], bool]:
        only = CaseFilter(
            opened_from=start_of(day, zone),
            opened_before=start_of(day + timedelta(days=1), zone),
            seen_by=seen_by,
        )
        lists = self._views.lists
        views, following = lists.in_order(viewer, CaseOrder.NEWEST, limit=MOST_CASES, only=only)
        return views, following is not None

    def _of_person(
        self, reader: Reader, viewer: str, sought: SoughtPerson, purpose: Purpose | None
    ) -> SearchAnswer:
        if purpose is None:
            return SearchAnswer(sought)
        found = self._persons.find(reader, sought.text, purpose)
        by_id = {one.case_id: one for one in found.persons}
        cases = self._views.lists.of_cases(viewer, by_id)
        persons = [by_id[view.case_id] for view in cases]
        return SearchAnswer(sought, cases, persons=persons, has_more=found.has_more, searched=True)


def start_of(day: date, zone: str) -> datetime:
    """Return the first moment of a day in a time zone."""
    return datetime.combine(day, time(), ZoneInfo(zone))
