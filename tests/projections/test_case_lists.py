"""Cases come in the order of what is overdue, each once, whatever pages they are read in."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from api.runtime.schema import migrate_all
from api.web.case_text import dues
from ledger.application import Ledger, environment
from ledger.events.event_mapper import UnsealedEvent
from ledger.procedure.protocol import Agency
from ledger.signing.signed_action import read_recorded
from ledger.store.database import Database
from ledger.system import clock
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import ErrorClosingProposed, InformationRequested
from ledger.vocabulary.picklists import InformationTopic, Purpose
from projections.folds.case_view import OVERSIGHT_VIEWER, CaseView, Turn
from projections.folds.obligation_terms import ObligationState
from projections.folds.obligations import Obligation
from projections.tables.case_lists import (
    BoardMark,
    CaseFilter,
    CaseLists,
    CaseListSection,
    CaseOrder,
    PageCursor,
)
from projections.tables.owed_lists import Counted, OwedLists
from projections.tables.view_queries import ViewReader
from projections.upkeep.rebuild import rebuild_views
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
NOW = START + timedelta(days=40)
CASES = 60
WRONG, AGREEMENT = uuid4(), "error_closing_accepted"
ASKED = ("me-nac", "me-police-thb", "me-csw-podgorica", "al-nac")


def put(ledger: Ledger, agencies: Agencies, case_id: UUID, version: int, *said: object) -> None:
    agency, action = said
    assert isinstance(agency, str)
    assert isinstance(action, Action)
    text = agencies.sign(agency, action, case_id).without_disclosures()
    read = read_recorded(text)
    ledger.rows.insert_events([UnsealedEvent(case_id, version, read.kind, text.encode(), read.id)])


def asking(to: str, due: date | None) -> InformationRequested:
    return InformationRequested(
        acted_at=START + timedelta(hours=1),
        addressee=to,
        topics=(InformationTopic.FAMILY,),
        purpose=Purpose.IDENTIFICATION,
        answer_by=due,
    )


@pytest.fixture(scope="module")
def told(server: str, agencies: Agencies) -> Iterator[str]:
    """Cases that wait for different agencies until different days; the first longest overdue."""
    drawn = random.Random(20260105)
    with new_database(server) as conninfo:
        migrate_all(conninfo, agencies.protocol)
        with Ledger(environment(conninfo)) as ledger:
            agencies.begin(ledger)
            for number in range(CASES):
                case_id, version = uuid4(), 1
                countries = drawn.choice((("XK",), ("XK", "ME"), ("XK", "ME", "AL")))
                put(ledger, agencies, case_id, version, "xk-dhtqnj",
                    opening(countries, acted_at=START))  # fmt: skip
                asked = 1 if number == 0 else drawn.choice((0, 1, 1, 2))
                for _ in range(asked):
                    version += 1
                    to = ASKED[0] if number == 0 else drawn.choice(ASKED)
                    days = -1 if number == 0 else drawn.choice((3, 3, 10, 39, 40, 41, 60, None))
                    due = None if days is None else (START + timedelta(days=days)).date()
                    put(ledger, agencies, case_id, version, "xk-nac", asking(to, due))
            put(ledger, agencies, WRONG, 1, "xk-dhtqnj", opening(("XK", "ME"), acted_at=START))
            put(ledger, agencies, WRONG, 2, "xk-nac", ErrorClosingProposed(acted_at=START))
        rebuild_views(conninfo, processes=0)
        yield conninfo


@pytest.fixture
def database(told: str) -> Iterator[Database]:
    with Database(told) as pool:
        yield pool


def expected_order(
    views: list[CaseView], agency: Agency, agencies: Agencies, *, due_only: bool
) -> list[UUID]:
    """By a simple sort of documents, which knows nothing of columns."""
    rules = agencies.protocol.actions
    latest = datetime.max.replace(tzinfo=UTC)

    def rank(view: CaseView) -> tuple[int, datetime, int]:
        ours = [step for step in view.expected if step.turn is not Turn.THEIRS]
        own = [
            step
            for step in ours
            if (step.agency == agency.id if step.agency else
                agency.role in (step.roles or rules[step.action].roles))
        ]  # fmt: skip
        if not ours:
            return 3, latest, -view.opened_position
        first = min(step.due or latest for step in ours)
        late = any(step.due is not None and step.due < NOW for step in own)
        section = 0 if late else 1 if first < NOW else 2
        return section, first, -view.opened_position

    kept = [view for view in views if view.awaits_us or not due_only]
    return [view.case_id for view in sorted(kept, key=rank)]


def every(database: Database, viewer: str) -> list[CaseView]:
    return ViewReader(database).cases(viewer, limit=1_000)


def paged(
    database: Database, viewer: str, agency: Agency, limit: int, *, due_only: bool
) -> list[UUID]:
    lists, found, after = CaseLists(database), list[UUID](), None
    while True:
        page = lists.by_due(viewer, agency, NOW, limit=limit, after=after, due_only=due_only)
        assert len(page.cases) <= limit
        found += [view.case_id for view in page.cases]
        if page.following is None:
            return found
        assert len(page.cases) == limit
        after = PageCursor.parse(str(page.following))
        assert after == page.following


@pytest.mark.parametrize("due_only", [False, True])
@pytest.mark.parametrize(
    "agency", ["me-nac", "me-police-thb", "me-court", "al-nac", "xk-nac", "xk-dhtqnj"]
)
def test_pages_are_a_simple_sort_of_all_cases(
    database: Database, agencies: Agencies, agency: str, *, due_only: bool
) -> None:
    own = agencies.protocol.agencies_by_id.get(agency)
    if own is None:
        own = next(a for a in agencies.protocol.agencies if a.party == "ME" and a.role == "court")
    views = every(database, own.party)
    wanted = expected_order(views, own, agencies, due_only=due_only)
    for limit in (1, 7, 50, 1_000):
        assert paged(database, own.party, own, limit, due_only=due_only) == wanted


def test_the_cases_are_of_every_section(database: Database, agencies: Agencies) -> None:
    """The tests of the order would hold of fewer."""
    found = set()
    for name in ("me-nac", "me-police-thb", "al-nac"):
        agency, after = agencies.protocol.agencies_by_id[name], None
        lists = CaseLists(database)
        while True:
            page = lists.by_due(agency.party, agency, NOW, limit=1, after=after)
            if page.following is None:
                break
            after = page.following
            found.add(after.section)
    assert found >= {CaseListSection.OWN_OVERDUE, CaseListSection.OVERDUE, CaseListSection.DUE}


def test_what_is_overdue_longest_stands_first_however_old(
    database: Database, agencies: Agencies
) -> None:
    oldest = min(every(database, "ME"), key=lambda view: view.opened_position)
    assert any(step.agency == "me-nac" for step in oldest.expected)
    agency = agencies.protocol.agencies_by_id["me-nac"]
    for due_only in (False, True):
        page = CaseLists(database).by_due("ME", agency, NOW, limit=3, due_only=due_only)
        assert page.cases[0].case_id == oldest.case_id


def test_oversight_sees_every_case_once(database: Database, agencies: Agencies) -> None:
    watcher = agencies.protocol.agencies_by_id["xk-ombudsperson"]
    found = paged(database, OVERSIGHT_VIEWER, watcher, 11, due_only=False)
    assert len(found) == len(set(found)) == CASES + 1


@pytest.mark.parametrize(
    "text", ["", "1.2", "1.7..3", "a.1.2.3", "1.1.1.1.1", f"1.1.{10**30}.1", f"1.3..{2**63}"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        PageCursor.parse(text)


@pytest.mark.parametrize("viewer", ["XK", "ME", OVERSIGHT_VIEWER])
@pytest.mark.parametrize("mark", list(BoardMark))
def test_marked_cases_are_those_whose_documents_say_so(
    database: Database, viewer: str, mark: BoardMark
) -> None:
    has = {
        BoardMark.REQUEST: lambda v: v.open_requests and len(v.parties) > 1,
        BoardMark.BASIS: lambda v: (
            (v.consents or v.sharing or "consent_return" in v.facts) and len(v.parties) > 1
        ),
        BoardMark.DANGER: lambda v: v.break_glass,
    }[mark]
    wanted = [view.case_id for view in every(database, viewer) if has(view)]
    assert wanted or mark is not BoardMark.REQUEST
    lists, found, before = CaseLists(database), list[UUID](), None
    while page := lists.marked(viewer, mark, limit=4, before=before):
        found += [view.case_id for view in page]
        before = page[-1].opened_position
    assert found == wanted


@pytest.mark.parametrize("viewer", ["XK", "ME", "AL", OVERSIGHT_VIEWER])
def test_what_is_owed_comes_by_date_each_once(database: Database, viewer: str) -> None:
    """A duty within one country alone is not between countries."""
    several = {view.case_id for view in every(database, viewer) if len(view.parties) > 1}
    reader, owed, latest = ViewReader(database), OwedLists(database), datetime.max
    all_open = reader.obligations(viewer, limit=10_000, state=ObligationState.OPEN)
    for debtor in ("XK", "ME", "AL", None):
        wanted = sorted(
            (
                one
                for one in all_open
                if one.debtor == debtor
                and (one.creditors or (debtor is None and one.case_id in several))
            ),
            key=lambda one: ((one.due or latest).replace(tzinfo=UTC), one.id),
        )
        found: list[Obligation] = []
        while more := owed.of(viewer, debtor, limit=7, after=found[-1] if found else None):
            found += more
        assert [one.id for one in found] == [one.id for one in wanted]
        late = sum(one.due is not None and one.due < NOW for one in wanted)
        assert owed.count(viewer, debtor, NOW) == Counted(len(wanted), late)
    assert {one.debtor for one in all_open} >= {"ME"}
    if viewer in ("XK", OVERSIGHT_VIEWER):
        assert any(one.case_id not in several for one in all_open), "nothing is left out"


def test_an_agreement_that_came_too_late_is_owed_no_more(
    database: Database, agencies: Agencies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No event tells that the period of a proposed error closing is over."""
    reader, owed = ViewReader(database), OwedLists(database)

    def listed() -> tuple[bool, bool, bool, int]:
        found = owed.of("ME", "ME", limit=1_000)
        every = reader.obligations("ME", limit=1_000, state=ObligationState.OPEN)
        overdue = reader.obligations("ME", limit=1_000, overdue_now=clock.now())
        asked = [any(one.case_id == WRONG and one.action == AGREEMENT for one in lines)
                 for lines in (found, every, overdue)]  # fmt: skip
        return asked[0], asked[1], asked[2], owed.count("ME", "ME", clock.now()).open

    first, second, late, before = listed()
    assert (first, second, late) == (True, True, False)
    over = clock.now() + timedelta(days=31)
    monkeypatch.setattr(clock, "now", lambda: over)
    assert listed() == (False, False, False, before - 1)
    view = reader.case("ME", WRONG)
    assert view is not None
    protocol = agencies.protocol
    agency = protocol.agencies_by_id["me-nac"]
    shown = [one.step.action for one in dues(view, agency, protocol, over)]
    assert AGREEMENT in [step.action for step in view.expected]
    assert AGREEMENT not in shown


def test_counting_ends(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = OwedLists(database).count("XK", "ME", NOW)
    monkeypatch.setattr("projections.tables.owed_lists.AT_MOST", 4)
    assert whole.open > whole.overdue > 5
    assert OwedLists(database).count("XK", "ME", NOW) == Counted(5, 5)


def test_a_page_asks_few_questions(
    database: Database, agencies: Agencies, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    execute = psycopg.Connection.execute

    def counting(self: object, query: object, *more: object, **named: object) -> object:
        asked.append(query)
        return execute(self, query, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(psycopg.Connection, "execute", counting)
    agency = agencies.protocol.agencies_by_id["me-nac"]
    for limit in (1, 5, 1_000):
        asked.clear()
        CaseLists(database).by_due("ME", agency, NOW, limit=limit)
        of_views = [query for query in asked if "views.case_views" in str(query)]
        assert 2 <= len(of_views) <= len(CaseListSection) + 1


FILTERS = [
    CaseFilter(country="AL"),
    CaseFilter(step="information_acknowledged"),
    CaseFilter(age_group="child", stage="identification"),
    CaseFilter(status="closed"),
    CaseFilter(agency="xk-dhtqnj", country="ME"),
    CaseFilter(opened_from=START, opened_before=START + timedelta(days=1)),
    CaseFilter(opened_before=START),
]


def fits(view: CaseView, only: CaseFilter) -> bool:
    steps = {one.action for one in view.expected if one.turn is not Turn.THEIRS}
    return (
        (only.status is None or view.status == only.status)
        and (only.stage is None or view.stage == only.stage)
        and (only.country is None or only.country in view.parties)
        and (only.step is None or only.step in steps)
        and (only.agency is None or view.lead_agency == only.agency)
        and (only.age_group is None or view.age_group == only.age_group)
        and (only.opened_from is None or view.opened_at >= only.opened_from)
        and (only.opened_before is None or view.opened_at < only.opened_before)
    )


@pytest.mark.parametrize("only", FILTERS)
@pytest.mark.parametrize("order", CaseOrder)
def test_a_filter_lists_each_case_that_it_fits_once_in_every_order(
    database: Database, agencies: Agencies, only: CaseFilter, order: CaseOrder
) -> None:
    lists, every = CaseLists(database), ViewReader(database).cases("ME", limit=500)
    agency = agencies.protocol.agencies_by_id["me-nac"]
    found: list[CaseView] = []
    place: int | None = None
    after: PageCursor | None = None
    while True:
        if order is CaseOrder.DUE:
            page = lists.by_due("ME", agency, NOW, limit=7, after=after, only=only)
            found, after = [*found, *page.cases], page.following
            if after is None:
                break
        else:
            cases, place = lists.in_order("ME", order, limit=7, place=place, only=only)
            found += cases
            if place is None:
                break
    fitting = [view for view in every if fits(view, only)]
    assert sorted(one.case_id for one in found) == sorted(one.case_id for one in fitting)
    places = {
        CaseOrder.NEWEST: [-one.opened_position for one in found],
        CaseOrder.OLDEST: [one.opened_position for one in found],
        CaseOrder.LATEST: [-one.position for one in found],
    }.get(order, [])
    assert places == sorted(places)


def test_the_filters_are_of_some_use_here(database: Database) -> None:
    every = ViewReader(database).cases("ME", limit=500)
    counts = [sum(fits(view, only) for view in every) for only in FILTERS]
    assert any(0 < count < len(every) for count in counts)
    assert counts[1] > 0, "a step is named as the views name it"
