"""The annual report counts each thing once, and is the same bytes whoever makes it."""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from api.paper.annual_report import markdown
from api.paper.subject_access.wording import wording
from ledger.events.act import Act
from ledger.procedure.agreement import Agreement
from ledger.procedure.amendments import text_of
from ledger.procedure.case_fold import annulled_ids, fold
from ledger.procedure.protocol import Protocol
from ledger.vocabulary.communication_forms import FormAcknowledged, FormSent
from ledger.vocabulary.coordination import (
    CaseClosed,
    CaseReopened,
    Correction,
    InformationProvided,
    InformationRequested,
)
from ledger.vocabulary.decisions import DecisionConfirmed, DecisionProposed
from ledger.vocabulary.identification import VictimIdentified
from ledger.vocabulary.picklists import (
    ClosureReason,
    CorrectionEffect,
    CorrectionReason,
    DecisionMakingOrg,
    InformationTopic,
    Purpose,
    TraffickingStatus,
    TypeOfExploitation,
)
from projections.folds.indicator_key import counted_as, tally
from projections.folds.obligation_terms import ObligationKind
from projections.reports.accountability import ObligationStanding
from projections.reports.annual_report import (
    AnnualReport,
    FormsOfYear,
    ReportedCheckpoint,
    Year,
    annual_report,
    canonical,
)
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.recorded_case import RecordedCase

AGENCIES = Agencies()
PROTOCOL = AGENCIES.protocol
CHECKPOINT = ReportedCheckpoint(size=1, root="x" * 43 + "=")
LONG_AFTER = datetime(2030, 1, 1, tzinfo=UTC)


def report_of(
    cases: Iterable[Sequence[Act]], year: int = 2026, until: datetime = LONG_AFTER
) -> AnnualReport:
    agreement = Agreement.of(PROTOCOL)
    return annual_report(cases, agreement, Year.of(year, until, agreement), CHECKPOINT)


def day(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}T12:00:00+00:00")


def request(at: datetime, to: str = "me-nac") -> InformationRequested:
    return InformationRequested(
        acted_at=at,
        addressee=to,
        topics=(InformationTopic.FAMILY,),
        purpose=Purpose.IDENTIFICATION,
        answer_by=(at + timedelta(days=7)).date(),
    )


def annulling(action: UUID, at: datetime) -> Correction:
    return Correction(
        acted_at=at,
        corrects=action,
        effect=CorrectionEffect.ANNULLED,
        reason=CorrectionReason.WRONG_CASE,
    )


@pytest.fixture
def case() -> RecordedCase:
    """Opened in one year, gone on with in the next two."""
    case = RecordedCase(AGENCIES)
    case.take("xk-dhtqnj", opening(("XK", "ME"), acted_at=day("2025-12-20")))
    late = case.take("xk-nac", request(day("2025-12-28")))
    case.take(
        "me-nac", InformationProvided(acted_at=day("2026-01-03"), request=late, complete=True)
    )
    case.take(
        "xk-dhtqnj",
        VictimIdentified(
            acted_at=day("2026-02-01"),
            status=TraffickingStatus.POSSIBLE,
            decided_by=DecisionMakingOrg.POLICE,
            types_of_exploitation=(TypeOfExploitation.FORCED_LABOUR,),
        ),
    )
    mistaken = case.take("xk-nac", request(day("2026-03-01"), "al-nac"))
    case.take("xk-nac", annulling(mistaken, day("2026-03-02")))
    waiting = case.take("me-nac", request(day("2026-12-20"), "xk-nac"))
    case.take(
        "xk-nac", InformationProvided(acted_at=day("2027-01-20"), request=waiting, complete=True)
    )
    case.take("xk-nac", CaseClosed(acted_at=day("2027-02-01"), reason=ClosureReason.LOST_CONTACT))
    return case


def test_what_was_done_in_a_year_is_told_of_that_year(case: RecordedCase) -> None:
    before, during, after = (report_of([case.acts], year) for year in (2025, 2026, 2027))
    assert [c.cases for c in before.cases.opened] == [1]
    assert (during.cases.opened, after.cases.opened) == ((), ())
    assert [(c.country, c.cases) for c in during.cases.identified] == [("XK", 1)]
    assert [(c.country, c.reason) for c in after.cases.closed] == [
        ("XK", ClosureReason.LOST_CONTACT)
    ]
    (standing,) = during.cases.standing
    assert (standing.corridor, standing.status, standing.cases) == (("ME", "XK"), "Active", 1)
    assert after.cases.standing[0].status == "Closed"
    told = {(a.kind, a.country, a.role): a.actions for a in during.actions}
    assert told == {
        ("information_provided", "ME", "coordinator"): 1,
        ("victim_identified", "XK", "police"): 1,
        ("correction", "XK", "coordinator"): 1,
        ("information_requested", "ME", "coordinator"): 1,
    }
    (corrected,) = during.corrections
    assert (corrected.kind, corrected.effect) == ("information_requested", "annulled")


def test_what_was_owed_is_carried_from_year_to_year(case: RecordedCase) -> None:
    def answers(year: int) -> dict[str, tuple[int, ...]]:
        return {
            o.country: (o.carried_in, o.opened, o.on_time, o.late, o.open, o.overdue)
            for o in report_of([case.acts], year).obligations
            if o.kind is ObligationKind.ANSWER
        }

    # Montenegro answers in January in time; Kosovo's answer is overdue when the year ends.
    assert answers(2025) == {"ME": (0, 1, 0, 0, 1, 0)}
    assert answers(2026) == {"ME": (1, 0, 1, 0, 0, 0), "XK": (0, 1, 0, 0, 0, 1)}
    assert answers(2027) == {"XK": (1, 0, 0, 1, 0, 0)}
    balance = next(b for b in report_of([case.acts]).reciprocity if b.countries == ("ME", "XK"))
    assert balance.first_owes.on_time == 2  # the request's acknowledgement, and the answer


def test_a_correction_after_the_year_changes_what_is_told_of_it(case: RecordedCase) -> None:
    identified = next(act for act in case.acts if act.kind == "victim_identified")
    assert report_of([case.acts]).cases.identified
    at = day("2027-03-01")
    case.take("xk-nac", CaseReopened(acted_at=at, reason="closed_in_error"))
    agreed = case.take("xk-dhtqnj", DecisionProposed(acted_at=at, decision="not_a_victim"))
    for other in ("xk-victim-advocate", "xk-csw-prishtina"):
        case.take(other, DecisionConfirmed(acted_at=at, proposal=agreed))
    case.take("xk-nac", annulling(identified.id, at))
    later = report_of([case.acts])
    assert later.cases.identified == ()
    assert "victim_identified" not in {a.kind for a in later.actions}
    assert len(later.corrections) == 1
    assert len(report_of([case.acts], 2027).corrections) == 1


def test_a_year_that_is_not_over_is_told_up_to_the_last_event(case: RecordedCase) -> None:
    until = day("2026-12-21")
    early = report_of([case.acts[:7]], until=until)
    assert early.as_of == until
    (owed,) = (
        o for o in early.obligations if o.kind is ObligationKind.ANSWER and o.country == "XK"
    )
    assert (owed.open, owed.overdue) == (1, 0)
    with pytest.raises(ValueError, match="2027"):
        Year.of(2027, until, Agreement.of(PROTOCOL))


def test_returns_are_told_by_corridor() -> None:
    """A person who departs and is received is counted once, by origin and destination."""
    acts = [
        _bare(1, "case_opened", "xk-dhtqnj", age_group="child", countries=["XK"]),
        _bare(2, "departed", "xk-border"),
        _bare(3, "received", "me-border"),
        _bare(4, "received", "me-border"),  # of nobody who departed
        _bare(5, "departed", "me-border"),
    ]
    told = report_of([acts]).cases.returned
    assert [(r.origin, r.destination, r.returns) for r in told] == [("XK", "ME", 1)]


def _bare(number: int, kind: str, agency: str, **fields: object) -> Act:
    at = datetime(2026, 1, number, tzinfo=UTC)
    return Act(
        id=UUID(int=number),
        kind=kind,
        case_id=UUID(int=0),
        version=number,
        position=number,
        agency=agency,
        acted_at=at,
        recorded_at=at,
        fields=fields,
        key_id="",
        digests=frozenset(),
    )


def test_the_bytes_are_canonical(case: RecordedCase) -> None:
    content = canonical(report_of([case.acts]))
    told = json.loads(content)
    assert canonical(AnnualReport.model_validate(told)) == content
    assert told["audience"].endswith("not for publication.")
    # RFC 8785: no space, members by UTF-16 code units, and here whole numbers alone.
    assert not [value for value in values(told) if isinstance(value, float)]
    for member in members(content):
        assert member.isascii()
    assert content == written(told).encode()


def values(document: object) -> Iterator[object]:
    if isinstance(document, dict):
        document = list(document.values())
    if isinstance(document, list):
        for part in document:
            yield from values(part)
    else:
        yield document


def members(content: bytes) -> list[str]:
    found: list[str] = []
    json.loads(content, object_pairs_hook=lambda pairs: found.extend(name for name, _ in pairs))
    return found


def written(value: object) -> str:
    """The canonical form by the words of the RFC, for what a report is made of."""
    match value:
        case dict():
            names = sorted(value, key=lambda name: name.encode("utf-16-be"))
            return "{" + ",".join(f"{written(n)}:{written(value[n])}" for n in names) + "}"
        case list():
            return "[" + ",".join(map(written, value)) + "]"
        case bool() | None:
            raise TypeError("a report has neither")
        case int():
            return str(value)
        case str():
            assert not any(c in '"\\' or c < " " for c in value)
            return f'"{value}"'
    raise TypeError(type(value).__name__)


@settings(
    max_examples=12,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_every_thing_is_counted_once(data: st.DataObject) -> None:
    cases = []
    for _ in range(3):
        walk, now = RecordedCase(AGENCIES), datetime(2025, 11, 1, tzinfo=UTC)
        for _ in range(25):
            now += timedelta(hours=data.draw(st.sampled_from((1, 48, 24 * 40)), label="hours"))
            walk.propose(data, now)
        cases.append(walk.acts)
    years = [report_of(cases, year) for year in range(2025, 2030)]
    stand = [a for acts in cases for a in acts if a.id not in annulled_ids(acts)]
    for kind in {act.kind for act in stand}:
        told = sum(a.actions for report in years for a in report.actions if a.kind == kind)
        assert told == sum(act.kind == kind and act.acted_at.year < 2030 for act in stand)
    opened = sum(c.cases for report in years for c in report.cases.opened)
    assert opened == sum(1 for acts in cases if acts)
    left_open: dict[tuple[str, str], int] = {}
    for report in years:
        carried = {(o.country, o.kind.value): o.carried_in for o in report.obligations}
        # What is open when a year ends is what is carried into the next.
        assert {k: n for k, n in carried.items() if n} == {k: n for k, n in left_open.items() if n}
        for o in report.obligations:
            ends = sum(getattr(o, standing.value) for standing in ObligationStanding)
            assert o.carried_in + o.opened == ends
        left_open = {
            (o.country, o.kind.value): o.open + o.overdue + o.past_expected
            for o in report.obligations
        }
        owed = sum(o.carried_in + o.opened for o in report.obligations)
        assert owed == sum(t.owed for t in report.response_times)
    shuffled = cases[::-1]
    random.Random(1).shuffle(shuffled)
    assert canonical(report_of(shuffled)) == canonical(report_of(cases))


@pytest.mark.parametrize("standing", ["adopted", "assumption"])
def test_what_is_owed_on_forms_is_counted_by_party_form_and_mark(standing: str) -> None:
    text = text_of(PROTOCOL)
    marked = [form | {"periods": {"standing": standing}} for form in text["forms"]]
    protocol = Protocol.model_validate(text | {"forms": marked})
    case = RecordedCase(Agencies(protocol, AGENCIES.keys))
    case.take("xk-dhtqnj", opening(("XK", "ME"), acted_at=day("2026-03-01")))
    sending = FormSent(
        acted_at=day("2026-03-02"),
        form_number=1,
        addressee="me-nac",
        actions=(case.acts[0].id,),
    )
    sent = case.take("xk-nac", sending)
    agreement = Agreement.of(protocol)

    def forms(until: datetime = LONG_AFTER) -> dict[str, FormsOfYear]:
        year = Year.of(2026, until, agreement)
        found = annual_report([case.acts], agreement, year, CHECKPOINT)
        for one in found.forms:
            assert (one.country, one.form, one.standing) == ("ME", 1, standing)
        whole = [one for one in found.obligations if one.kind in {f.kind for f in found.forms}]
        assert len(whole) == len(found.forms)
        text = markdown(found, "en", protocol)
        assert wording("en").text("report.forms.heading") in text
        assert protocol.agencies_by_id["me-nac"].name in text
        assert "me-nac" not in text
        return {one.kind: one for one in found.forms}

    before = forms(day("2026-03-02"))
    assert {(one.open, one.overdue, one.past_expected) for one in before.values()} == {(1, 0, 0)}
    adopted = int(standing == "adopted")
    after = forms()
    assert {(one.open, one.overdue, one.past_expected) for one in after.values()} == {
        (0, adopted, 1 - adopted)
    }
    case.take("me-nac", FormAcknowledged(acted_at=day("2026-04-01"), sent=sent))
    acknowledged = forms()["form_acknowledgement"]
    assert (acknowledged.late, acknowledged.undated) == (adopted, 1 - adopted)


def test_a_case_that_was_opened_in_error_is_counted_as_no_case() -> None:
    wrong, right = RecordedCase(AGENCIES), RecordedCase(AGENCIES)
    for case in (wrong, right):
        case.take("xk-dhtqnj", opening(("XK",), acted_at=day("2026-03-01")))
    last = wrong.acts[-1]
    closed = replace(
        last,
        id=UUID(int=5),
        kind="case_closed",
        agency="xk-nac",
        version=last.version + 1,
        position=last.position + 1,
        acted_at=day("2026-05-01"),
        recorded_at=day("2026-05-01"),
        fields={"reason": "opened_in_error"},
    )
    found = report_of([[*wrong.acts, closed], right.acts])
    assert [one.cases for one in found.cases.opened] == [1]
    assert sum(one.cases for one in found.cases.standing) == 1
    assert [(one.reason, one.closings) for one in found.cases.closed] == [("opened_in_error", 1)]
    states = [fold(acts, Agreement.of(PROTOCOL)) for acts in ([*wrong.acts, closed], right.acts)]
    assert [tally(counted_as(state), 1).left_out for state in states if state] == [True, False]


def test_a_year_is_one_of_the_parties_local_time() -> None:
    agreement = Agreement.of(PROTOCOL)
    year = Year.of(2026, LONG_AFTER, agreement)
    assert year.first == datetime(2025, 12, 31, 23, tzinfo=UTC), "midnight in Podgorica"
    assert year.last < datetime(2026, 12, 31, 23, tzinfo=UTC)
    assert Year.of(2027, LONG_AFTER, agreement).first - year.last == timedelta(microseconds=1)
    earlier = PROTOCOL.model_copy(update={"edition": 1})
    of_before = Year.of(2026, LONG_AFTER, Agreement.of(earlier))
    assert of_before.first == datetime(2026, 1, 1, tzinfo=UTC)
