"""Reports on a past time have the parties of that time, with their names of then."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from ledger.events.act import Act
from ledger.procedure.agreement import Agreement, ProtocolVersion
from ledger.procedure.amendments import text_of
from ledger.procedure.parties_of_time import (
    Membership,
    memberships,
    parties_at,
    parties_between,
    protocol_at,
)
from ledger.procedure.protocol import Protocol, shipped_protocol
from ledger.procedure.withdrawals import Withdrawal
from ledger.vocabulary.picklists import CaseStatus, Priority, Stage
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView
from projections.folds.caseload_indicators import CaseTally, figures
from projections.reports.annual_report import (
    AnnualReport,
    ReportedCheckpoint,
    Year,
    annual_report,
)
from projections.tables.meeting import Meeting, agenda
from tests.support.joining import Joining

FIRST = shipped_protocol()
LEFT, JOINED = date(2026, 7, 1), datetime(2027, 3, 1, tzinfo=UTC)
CHECKPOINT = ReportedCheckpoint(size=500, root="x" * 43 + "=")


def at(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T12:00:00+00:00")


def renamed(base: Protocol, code: str, name: str) -> Protocol:
    told = text_of(base)
    parties = [one | {"name": name} if one["code"] == code else one for one in told["parties"]]
    return Protocol.model_validate(told | {"version": base.version + 1, "parties": parties})


@pytest.fixture(scope="module")
def agreement() -> Agreement:
    """Albania leaves on 1 July 2026; North Macedonia joins in 2027; Kosovo is renamed in 2028."""
    second = Joining().text(FIRST)
    third = renamed(second, "XK", "Kosovo, renamed")
    leaves = Withdrawal(uuid4(), "AL", LEFT, "al-nac", 20, at("2026-01-02"))
    return (
        Agreement.of(FIRST)
        .with_withdrawals((leaves,))
        .followed_by(ProtocolVersion(second, 200, JOINED, admitted=frozenset({"MK"})))
        .followed_by(ProtocolVersion(third, 300, at("2028-02-01")))
    )


def act(kind: str, agency: str, acted: str, recorded: str, position: int, **fields: Any) -> Act:
    case_id = fields.pop("case_id")
    version = fields.pop("version", 1)
    return Act(
        id=uuid4(), kind=kind, case_id=case_id, version=version, position=position, agency=agency,
        acted_at=at(acted), recorded_at=at(recorded), fields=fields, key_id="k",
        digests=frozenset(),
    )  # fmt: skip


def opened(
    agency: str, acted: str, recorded: str, position: int, countries: tuple[str, ...]
) -> list[Act]:
    fields = {"age_group": "adult", "countries": list(countries), "case_id": uuid4()}
    return [act("case_opened", agency, acted, recorded, position, **fields)]


def report(agreement: Agreement, year: int, *cases: list[Act]) -> AnnualReport:
    return annual_report(cases, agreement, Year.of(year, at("2029-12-01"), agreement), CHECKPOINT)


def countries(found: AnnualReport) -> set[str]:
    return {code for one in found.reciprocity for code in one.countries}


def test_memberships_are_by_time(agreement: Agreement) -> None:
    def of(year: int) -> frozenset[str]:
        until = datetime(year + 1, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)
        return parties_between(agreement, datetime(year, 1, 1, tzinfo=UTC), until)

    assert [of(year) for year in (2020, 2026, 2027)] == [
        {"XK", "ME", "AL"}, {"XK", "ME", "AL"}, {"XK", "ME", "MK"},
    ]  # fmt: skip
    leaving = datetime(2026, 7, 1, tzinfo=UTC)
    assert "AL" in parties_at(agreement, leaving - timedelta(microseconds=1))
    assert "AL" not in parties_at(agreement, leaving)
    back = agreement.followed_by(
        ProtocolVersion(
            agreement.latest.protocol, 400, at("2029-01-01"), admitted=frozenset({"AL"})
        )
    )
    assert "AL" in parties_at(back, at("2029-01-02"))
    assert "AL" not in parties_at(back, at("2028-12-30"))
    names = {
        year: protocol_at(agreement, at(f"{year}-06-01")).parties_by_code["XK"].name
        for year in (2026, 2028)
    }
    assert names == {2026: "Republic of Kosovo", 2028: "Kosovo, renamed"}


def test_a_party_that_is_admitted_again_before_its_day_never_left(agreement: Agreement) -> None:
    early = ProtocolVersion(
        agreement.versions[0].protocol, 25, at("2026-05-01"), admitted=frozenset({"AL"})
    )
    first, *others = agreement.versions
    back = Agreement((first, early, *others), withdrawals=agreement.withdrawals)
    assert back.left_at(400, at("2026-07-02")) == {}
    assert [one for one in memberships(back) if one.party == "AL"] == [
        Membership("AL", datetime.min.replace(tzinfo=UTC), None)
    ]
    assert "AL" in parties_at(back, at("2026-07-02"))


def test_the_years_of_a_party_are_in_an_export(agreement: Agreement) -> None:
    years = {one.party: one.years_in(UTC) for one in memberships(agreement)}
    assert years == {"XK": (1, 9999), "ME": (1, 9999), "AL": (1, 2026), "MK": (2027, 9999)}
    until_new_year = Membership("AL", JOINED, datetime(2029, 1, 1, tzinfo=UTC))
    assert until_new_year.years_in(UTC) == (2027, 2028)


def test_a_party_that_left_is_in_the_report_of_its_last_year_and_in_no_later_one(
    agreement: Agreement,
) -> None:
    case = opened("al-nac", "2026-03-01", "2026-03-01", 30, ("AL", "XK"))
    settled = act(
        "joint_action_agreed", "al-nac", "2027-01-10", "2027-01-10", 150,
        case_id=case[0].case_id, version=2, joint_action="joint_visit", responsible=["xk-nac"],
    )  # fmt: skip
    last, later = report(agreement, 2026, case), report(agreement, 2027, [*case, settled])
    assert countries(last) == {"XK", "ME", "AL"}
    assert [(one.country, one.cases) for one in last.cases.opened] == [("AL", 1)]
    assert [one.corridor for one in last.cases.standing] == [("AL", "XK")]
    assert countries(later) == {"XK", "ME", "MK"}
    assert later.actions == ()
    assert [one.corridor for one in later.cases.standing] == [("XK",)]
    assert "AL" not in {one.country for one in later.obligations}


def test_a_party_that_joined_is_in_no_report_of_before_whenever_it_says_that_it_acted(
    agreement: Agreement,
) -> None:
    case = opened("mk-police", "2026-05-01", "2027-04-01", 250, ("MK", "XK"))
    before, after = report(agreement, 2026, case), report(agreement, 2027, case)
    assert "MK" not in countries(before)
    assert (before.actions, before.cases.opened) == ((), ())
    assert [one.corridor for one in before.cases.standing] == [("XK",)]
    assert [one.corridor for one in after.cases.standing] == [("MK", "XK")]


def test_the_lead_of_a_party_that_left_counts_for_the_country_that_leads_now(
    agreement: Agreement,
) -> None:
    tally = CaseTally(
        stage=Stage.RETURN, status=CaseStatus.ACTIVE, lead_agency="al-nac", opened_by="AL",
        parties=("AL", "ME"), destination=None, received_by=None, days=None, cases=3,
    )  # fmt: skip
    before = figures([tally], agreement.at(100, at("2026-06-01")))
    after = figures([tally], agreement.at(100, at("2026-08-01")))
    assert [one.country for one in before.caseload] == ["AL"]
    assert [one.country for one in after.caseload] == ["ME"]
    assert [one.origin for one in after.flows] == ["AL"]


def test_a_past_sitting_with_a_party_that_left_keeps_its_cases(agreement: Agreement) -> None:
    view = CaseView.model_construct(
        case_id=uuid4(), priority=Priority.NORMAL, status=CaseStatus.ACTIVE, opened_position=1,
        parties=("XK",),
    )  # fmt: skip
    met = TrailEntry.model_construct(
        case_id=view.case_id, action_id=uuid4(), kind="meeting_held", agency="al-nac", party="AL",
        acted_at=at("2026-06-01"), recorded_at=at("2026-06-01"), position=60,
        fields={"countries": ["XK", "AL"]},
    )  # fmt: skip
    then = agenda(Meeting("XK", "AL", at("2026-05-31")), [view], (), [met], agreement)
    assert [one.view.case_id for one in then] == [view.case_id]
    now = agenda(Meeting("XK", "AL", at("2026-06-02")), [view], (), [met], agreement)
    assert now == ()


def test_a_meeting_counts_by_the_role_that_its_agency_had_then() -> None:
    told = text_of(FIRST)
    agencies = [
        one | {"role": "police" if one["id"] == "me-nac" else "coordinator"}
        if one["id"] in ("me-nac", "me-police-thb")
        else one
        for one in told["agencies"]
    ]
    later = Protocol.model_validate(told | {"version": 2, "agencies": agencies})
    amended = Agreement.of(FIRST).followed_by(ProtocolVersion(later, 50, at("2026-06-01")))
    view = CaseView.model_construct(
        case_id=uuid4(), priority=Priority.NORMAL, status=CaseStatus.CLOSED, opened_position=1,
        parties=("XK", "ME"),
    )  # fmt: skip
    met = TrailEntry.model_construct(
        case_id=view.case_id, action_id=uuid4(), kind="meeting_held", agency="me-nac", party="ME",
        acted_at=at("2026-05-01"), recorded_at=at("2026-05-01"), position=40,
        fields={"countries": ["XK", "ME"]},
    )  # fmt: skip
    found = agenda(Meeting("XK", "ME", at("2026-04-30")), [view], (), [met], amended)
    assert [one.discussed for one in found] == [True]
