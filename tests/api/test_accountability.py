"""Obligations over HTTP: each coordinator's answer, and the refusal for everybody else."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from api.client import LedgerClient, RefusedError
from api.client.assertion import make_assertion
from ledger.store.database import Database
from ledger.vocabulary.coordination import (
    Correction,
    InformationDeclined,
    InformationProvided,
    InformationRequested,
)
from ledger.vocabulary.picklists import (
    CorrectionEffect,
    CorrectionReason,
    DeclineReason,
    InformationTopic,
    Purpose,
)
from projections.folds.obligation_terms import Dimension, ObligationKind, ObligationState
from projections.folds.obligations import Obligation
from projections.reports.accountability import overdue
from projections.tables.view_queries import ViewReader
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, serving

PATHS = ("/v1/obligations", "/v1/accountability/response-times", "/v1/accountability/reciprocity")
COORDINATORS = ("xk-nac", "me-nac", "al-nac")
OVERSIGHT = ("xk-ombudsperson", "me-ombudsman", "al-advocate")
DAY = timedelta(days=1)


class World:
    """A case of Kosovo alone, one of Kosovo and Montenegro, and one of all three countries."""

    def __init__(self, server: Server, conninfo: str) -> None:
        self.server, self.conninfo = server, conninfo
        self.last = 0
        self.versions: dict[UUID, int] = {}
        self.alone = self.open("XK")
        self.two = self.open("XK", "ME")
        self.three = self.open("XK", "ME", "AL")
        self.answered = self.ask(self.two, "xk-nac", "me-nac", 1)
        self.take("me-nac", self.two, InformationProvided, 2, self.answered, complete=True)
        self.declined = self.ask(self.two, "xk-nac", "me-police-thb", 1)
        reason = DeclineReason.NOT_HELD
        self.take("me-nac", self.two, InformationDeclined, 30, self.declined, reason=reason)
        self.waiting = self.ask(self.three, "me-nac", "xk-nac", 3)
        mistaken = self.ask(self.three, "al-nac", "xk-nac", 3)
        with server.client("al-nac") as client:
            correction = Correction(
                acted_at=START + 4 * DAY,
                corrects=mistaken,
                effect=CorrectionEffect.ANNULLED,
                reason=CorrectionReason.WRONG_CASE,
            )
            self.last = client.append(correction, self.three, self.versions[self.three]).position

    def open(self, *countries: str) -> UUID:
        case_id = uuid4()
        with self.server.client("xk-dhtqnj") as client:
            receipt = client.open_case(opening(countries), case_id)
        self.versions[case_id] = receipt.case_version
        return case_id

    def ask(self, case_id: UUID, by: str, to: str, days: int) -> UUID:
        action = InformationRequested(
            acted_at=START + days * DAY,
            addressee=to,
            topics=(InformationTopic.FAMILY,),
            purpose=Purpose.IDENTIFICATION,
            answer_by=(START + (days + 7) * DAY).date(),
        )
        return self._append(by, case_id, action)

    def take(
        self, agency: str, case_id: UUID, model: type, days: int, request: UUID, **more: object
    ) -> UUID:
        action = model(acted_at=START + days * DAY, request=request, **more)
        return self._append(agency, case_id, action)

    def _append(self, agency: str, case_id: UUID, action: object) -> UUID:
        with self.server.client(agency) as client:
            receipt = client.append(action, case_id, self.versions[case_id])  # type: ignore[arg-type]
        self.versions[case_id] = receipt.case_version
        self.last = receipt.position
        return receipt.action_id

    def seen_by(self, by: str, /, **filters: object) -> list[Obligation]:
        with self.server.client(by) as client:
            return list(client.obligations(at_least=self.last, **filters))  # type: ignore[arg-type]

    def ask_raw(self, agency: str, path: str, **params: object) -> httpx.Response:
        assertion = make_assertion(agency, self.server.agencies.keys[agency], "case-ledger")
        headers = {"Authorization": f"Bearer {assertion}"}
        return httpx.get(self.server.url + path, headers=headers, params=params or None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def world(server: str, begun: str, agencies: Agencies) -> Iterator[World]:
    with new_database(server, begun) as conninfo, serving(conninfo, agencies) as running:
        world = World(running, conninfo)
        world.seen_by("xk-nac")  # the view is there
        with running.client("xk-nac") as client:
            client.case(world.three, at_least=world.last)
        yield world


def test_a_coordinator_sees_the_cases_of_its_country(world: World) -> None:
    cases = {agency: {o.case_id for o in world.seen_by(agency)} for agency in COORDINATORS}
    assert cases == {
        "xk-nac": {world.alone, world.two, world.three},
        "me-nac": {world.two, world.three},
        "al-nac": {world.three},
    }
    for agency in OVERSIGHT:
        assert {o.case_id for o in world.seen_by(agency)} == cases["xk-nac"]


def test_nobody_else_sees_any(world: World) -> None:
    protocol = world.server.agencies.protocol
    for agency in protocol.agencies:
        if agency.role in ("coordinator", "oversight"):
            continue
        rule = "coordinators-and-oversight"
        for path in PATHS:
            refused = world.ask_raw(agency.id, path)
            assert (refused.status_code, refused.json()["rule"]) == (403, rule)
            assert str(world.two) not in refused.text
    for path in PATHS:
        assert httpx.get(world.server.url + path).status_code == 401


@pytest.mark.parametrize("how", ["case_id", "party", "creditor", "after"])
def test_no_filter_shows_another_countrys_case(world: World, how: str) -> None:
    foreign = world.seen_by("xk-nac", case_id=world.alone)
    assert foreign
    value = {"case_id": world.alone, "party": "XK", "creditor": "XK", "after": foreign[0].id}[how]
    answer = world.ask_raw("al-nac", "/v1/obligations", **{how: value})
    if how == "after":
        assert (answer.status_code, answer.json()["rule"]) == (404, "unknown-obligation")
        unknown = world.ask_raw("al-nac", "/v1/obligations", after=uuid4())
        assert answer.json() == unknown.json()
    else:
        found = answer.json()["obligations"]
        assert {o["case_id"] for o in found} <= {str(world.three)}
    assert str(world.alone) not in answer.text
    assert str(world.two) not in answer.text


def test_filters(world: World) -> None:
    owed = world.seen_by("xk-nac", agency="me-nac")
    assert {(o.kind, o.outcome) for o in owed} == {("acknowledgement", "done"), ("answer", "done")}
    declined = world.seen_by("xk-nac", agency="me-police-thb", kind=ObligationKind.ANSWER)
    assert [(o.outcome, o.late) for o in declined] == [("declined", True)]
    ours = world.seen_by("me-nac", party="XK", creditor="ME", state=ObligationState.OPEN)
    assert {o.concerning for o in ours if o.kind is ObligationKind.ANSWER} == {world.waiting}
    annulled = world.seen_by("al-nac", creditor="AL", kind=ObligationKind.ANSWER)
    assert [(o.state, o.outcome) for o in annulled] == [("lapsed", "annulled")]


def test_pages_hold_each_one_once(world: World) -> None:
    every = world.seen_by("xk-nac")
    assert [o.opened.position for o in every] == sorted(
        (o.opened.position for o in every), reverse=True
    )
    for size in (1, 2, 3):
        assert world.seen_by("xk-nac", page=size) == every
    late = world.seen_by("xk-nac", overdue=True)
    assert late
    assert late == overdue(every, datetime.now(UTC))
    then = START + 20 * DAY
    were_late = world.seen_by("xk-nac", overdue=True, as_of=then)
    assert were_late == overdue(every, then)
    answered_since = {o.id for o in were_late} - {o.id for o in late}
    assert answered_since
    for size in (1, 2):
        assert world.seen_by("xk-nac", overdue=True, page=size) == late
        assert world.seen_by("xk-nac", overdue=True, as_of=then, page=size) == were_late


def test_response_times_are_of_the_cases_that_are_seen(world: World) -> None:
    def answers(agency: str) -> dict[str | None, tuple[int, int, int]]:
        with world.server.client(agency) as client:
            found = client.response_times((Dimension.COUNTRY, Dimension.KIND)).response_times
        return {
            t.country: (t.owed, t.on_time, t.late) for t in found if t.kind is ObligationKind.ANSWER
        }

    assert answers("xk-nac") == answers("xk-ombudsperson") == {"ME": (2, 1, 1), "XK": (1, 0, 0)}
    assert answers("me-nac") == answers("xk-nac")
    assert answers("al-nac") == {"XK": (1, 0, 0)}
    with world.server.client("xk-nac") as client:
        before = client.response_times(as_of=START + 2 * DAY).response_times
        assert {t.country: t.owed for t in before if t.kind is ObligationKind.ANSWER} == {"ME": 2}
        (whole,) = client.response_times((Dimension.AGENCY,), as_of=START).response_times
        assert (whole.country, whole.agency, whole.kind) == (None, "any", None)


def test_both_countries_see_one_balance(world: World) -> None:
    moment = START + 60 * DAY
    balances = {}
    for agency in (*COORDINATORS, *OVERSIGHT):
        with world.server.client(agency) as client:
            found = client.reciprocity(as_of=moment)
        assert found.as_of == moment
        balances[agency] = {balance.countries: balance for balance in found.balances}
    assert balances["xk-nac"].keys() == {("AL", "XK"), ("ME", "XK")}
    assert balances["me-nac"].keys() == {("AL", "ME"), ("ME", "XK")}
    every = balances["xk-ombudsperson"]
    assert every.keys() == {("AL", "ME"), ("AL", "XK"), ("ME", "XK")}
    for own in balances.values():
        assert all(every[countries] == balance for countries, balance in own.items())
    answers = every["ME", "XK"].first_owes
    assert (answers.on_time, answers.late, answers.overdue) == (2, 2, 0)


def test_the_reader_gives_a_countrys_rows_alone(world: World) -> None:
    """The route is not the only lock: what is asked in a country's name has its cases only."""
    with Database(world.conninfo) as pool:
        reader = ViewReader(pool)
        assert reader.obligations("no-such-viewer", limit=10) == []
        assert list(reader.debts("no-such-viewer")) == []
        assert reader.obligation("AL", world.seen_by("xk-nac", case_id=world.alone)[0].id) is None


def test_what_is_asked_wrongly_is_refused(world: World) -> None:
    wrong = ("limit=0", "limit=201", "party=xk", "party=ZZ", "kind=debt", "state=due", "after=1",
             "case_id=1", "agency=XK", "overdue=perhaps", "at_least=-1")  # fmt: skip
    for query in wrong:
        refused = world.ask_raw("xk-nac", f"/v1/obligations?{query}")
        assert (refused.status_code, refused.json()["rule"]) == (422, "request"), query
    refused = world.ask_raw("xk-nac", "/v1/obligations?as_of=2026-01-01T00:00:00Z")
    assert (refused.status_code, refused.json()["rule"]) == (422, "as-of")
    for query in ("by=person", "by=kind&by=kind&by=kind&by=kind", "as_of=2026-01-01T00:00:00"):
        refused = world.ask_raw("xk-nac", f"/v1/accountability/response-times?{query}")
        assert refused.status_code == 422, query


def test_a_client_of_another_agency_is_told_why(world: World) -> None:
    client: LedgerClient = world.server.client("xk-dhtqnj")
    with client, pytest.raises(RefusedError) as refused:
        client.reciprocity()
    assert refused.value.problem.rule == "coordinators-and-oversight"
