"""Dates are checked against each other: by the rules, and by the node that sees the disclosures."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.procedure.case import decide
from ledger.procedure.dates import quarter_end, quarter_of
from ledger.procedure.disclosed_dates import (
    check_disclosed_dates,
    comes_of_age,
    quarter_to_state,
    years_old,
)
from ledger.procedure.protocol import shipped_protocol
from ledger.refusals import Refusal
from ledger.signing.signed_action import read_recorded
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import (
    ConsentGiven,
    ConsentWithdrawn,
    InformationAcknowledged,
    InformationProvided,
    InformationRequested,
)
from ledger.vocabulary.inclusion import ReintegrationMonitored
from ledger.vocabulary.person import AgeAssessed, IdentityRecorded
from ledger.vocabulary.picklists import AgeGroup, DateDoubt
from ledger.vocabulary.protection import RiskAssessed
from ledger.vocabulary.return_and_inclusion import ReturnDecided, TravelDocumentIssued
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.recorded_case import RecordedCase

AGENCIES = Agencies()
POLICE, SOCIAL_WORK = "xk-dhtqnj", "xk-csw-prishtina"
NOW = START + timedelta(days=30)
YESTERDAY = (NOW - timedelta(days=1)).date()


def case_of(group: AgeGroup, agencies: Agencies = AGENCIES) -> RecordedCase:
    case = RecordedCase(agencies)
    case.take(POLICE, opening(("XK",)).model_copy(update={"age_group": group}))
    return case


def consent(**more: Any) -> ConsentGiven:
    fields = {"acted_at": NOW, "scopes": ("assistance",), "given_by": "person", "form": "written"}
    return ConsentGiven(**fields | more)


def withdrawal(at: datetime = NOW, *scopes: str) -> ConsentWithdrawn:
    return ConsentWithdrawn(acted_at=at, scopes=scopes or ("assistance",), withdrawn_by="person")


def asked(**more: Any) -> InformationRequested:
    fields = {"acted_at": NOW, "addressee": "xk-nac", "topics": ("risk",), "purpose": "protection"}
    return InformationRequested(**fields | more)


def age(group: AgeGroup = AgeGroup.CHILD, **more: Any) -> AgeAssessed:
    fields = {"acted_at": NOW, "age_group": group, "method": "document", "certainty": "probable"}
    return AgeAssessed(**fields | more)


def identity(**more: Any) -> IdentityRecorded:
    fields = {"acted_at": NOW, "ground": "learned", "source": "family", "certainty": "probable"}
    return IdentityRecorded(**fields | more)


YEAR_ONE = datetime(1, 2, 3, tzinfo=UTC)
BY_RULE = {
    "ended before it began": (consent(expires=YESTERDAY), "ends-before-it-begins"),
    "due before asked": (asked(answer_by=YESTERDAY), "ends-before-it-begins"),
    "review before": (
        RiskAssessed(acted_at=NOW, risk_level="high", review_by=YESTERDAY), "ends-before-it-begins"
    ),
    "never given": (withdrawal(), "never-given"),
    "of age already": (identity(of_age_from=date(2030, 1, 1)), "of-age-already"),
    "of age past": (age(of_age_from=date(2025, 7, 1)), "of-age-past"),
    "of age too late": (age(of_age_from=date(2050, 1, 1)), "of-age-too-late"),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_RULE)
def test_the_rules_refuse(name: str) -> None:
    action, rule = BY_RULE[name]
    with pytest.raises(Refusal) as refused:
        case_of(AgeGroup.ADULT).take(SOCIAL_WORK, action)
    assert refused.value.rule == rule
    assert (refused.value.field or "").startswith("act.")


def test_a_case_is_not_opened_in_the_year_one() -> None:
    """Everything that is due after it would head every list of what is overdue, for ever."""
    signed = AGENCIES.sign(POLICE, opening(("XK",), acted_at=YEAR_ONE), uuid4())
    action = read_recorded(signed.without_disclosures())
    assert action.case_id is not None
    with pytest.raises(Refusal) as refused:
        decide(None, action, action.case_id, AGENCIES.protocol, NOW)
    assert (refused.value.rule, refused.value.field) == ("acted-too-long-ago", "act.acted_at")


def test_no_act_is_dated_before_the_opening_of_its_case() -> None:
    """A birth date is compared with each act of the case: so no act is before the birth."""
    case = case_of(AgeGroup.ADULT)
    request = case.take(POLICE, asked())
    days = {START - timedelta(days=1): "before-the-opening", START: "before-what-it-names"}
    for at, rule in days.items():
        with pytest.raises(Refusal) as refused:
            case.take("xk-nac", InformationAcknowledged(acted_at=at, request=request))
        assert refused.value.rule == rule


def test_an_answer_is_not_dated_before_its_question() -> None:
    case = case_of(AgeGroup.ADULT)
    request = case.take(POLICE, asked())
    early = InformationProvided(acted_at=NOW - timedelta(days=1), request=request, complete=True)
    with pytest.raises(Refusal) as refused:
        case.take("xk-nac", early)
    assert refused.value.rule == "before-what-it-names"
    # Clocks of two agencies differ by seconds.
    assert case.take("xk-nac", early.model_copy(update={"acted_at": NOW - timedelta(seconds=9)}))


def test_a_withdrawal_follows_its_consent() -> None:
    case = case_of(AgeGroup.ADULT)
    case.take(SOCIAL_WORK, consent())
    for action in (withdrawal(NOW - timedelta(hours=1)), withdrawal(NOW, "assistance", "return")):
        with pytest.raises(Refusal) as refused:
            case.take(SOCIAL_WORK, action)
        assert refused.value.rule in ("before-what-it-names", "never-given")
    assert case.take(SOCIAL_WORK, withdrawal())


def test_a_ledger_of_the_first_edition_goes_on_as_before() -> None:
    case = case_of(AgeGroup.ADULT, Agencies(shipped_protocol().model_copy(update={"edition": 1})))
    assert case.take(SOCIAL_WORK, withdrawal())
    assert case.take(SOCIAL_WORK, consent(expires=YESTERDAY))


BORN_10, BORN_30 = date(2016, 1, 1), date(1996, 1, 1)
NODE: dict[str, tuple[Callable[[], Action], AgeGroup, str | None]] = {
    "future": (lambda: identity(birthdate=date(2027, 1, 1)), AgeGroup.CHILD, "birth-in-future"),
    "year 1": (lambda: identity(birthdate=date(1, 1, 1)), AgeGroup.ADULT, "birth-too-long-ago"),
    "130 years": (
        lambda: identity(birthdate=date(1890, 1, 1)), AgeGroup.ADULT, "birth-too-long-ago"
    ),
    "101 years": (
        lambda: identity(birthdate=date(1925, 1, 1)), AgeGroup.ADULT, "unconfirmed-older-than-100"
    ),
    "101 years, confirmed": (
        lambda: identity(birthdate=date(1925, 1, 1), confirmed=(DateDoubt.OLDER_THAN_100,)),
        AgeGroup.ADULT, None,
    ),
    "after the case's acts": (
        lambda: identity(birthdate=(START + timedelta(days=9)).date()),
        AgeGroup.CHILD, "act-before-birth",
    ),
    "a child of 30": (
        lambda: identity(birthdate=BORN_30), AgeGroup.CHILD, "unconfirmed-adult-by-birthdate"
    ),
    "a child of 30, confirmed": (
        lambda: identity(birthdate=BORN_30, confirmed=(DateDoubt.ADULT_BY_BIRTHDATE,)),
        AgeGroup.CHILD, None,
    ),
    "an adult of 10": (
        lambda: identity(birthdate=BORN_10), AgeGroup.ADULT, "unconfirmed-child-by-birthdate"
    ),
    "another quarter": (
        lambda: identity(birthdate=BORN_10, of_age_from=date(2034, 4, 1)),
        AgeGroup.CHILD, "of-age-differs",
    ),
    "the right quarter": (
        lambda: identity(birthdate=BORN_10, of_age_from=date(2034, 1, 1)), AgeGroup.CHILD, None
    ),
    "nothing": (identity, AgeGroup.CHILD, "nothing-stated"),
    "stated and retracted": (
        lambda: identity(phone="+38344", retracted=("phone",)),
        AgeGroup.CHILD, "stated-and-retracted",
    ),
    "retracted": (lambda: identity(retracted=("phone",)), AgeGroup.CHILD, None),
    "a wrong range": (lambda: age(age_from=16, age_to=14), AgeGroup.CHILD, "age-range"),
    "a child by range of 18": (lambda: age(age_from=18), AgeGroup.CHILD, "age-differs"),
    "an adult by range of 17": (
        lambda: age(AgeGroup.ADULT, age_to=17), AgeGroup.CHILD, "age-differs"
    ),
    "a child by year": (lambda: age(birth_year=2000), AgeGroup.CHILD, "age-differs"),
    "an adult by year": (
        lambda: age(AgeGroup.ADULT, birth_year=2010), AgeGroup.CHILD, "age-differs"
    ),
    "a year to come": (lambda: age(birth_year=2027), AgeGroup.CHILD, "birth-in-future"),
    "came of age a child": (lambda: age(method="came_of_age"), AgeGroup.CHILD, "came-of-age"),
    "turned 18 this year": (
        lambda: age(birth_year=2008, of_age_from=date(2026, 4, 1)), AgeGroup.CHILD, None
    ),
    "a document that is over": (
        lambda: TravelDocumentIssued(acted_at=NOW, document="passport", valid_until=YESTERDAY),
        AgeGroup.CHILD, "ends-before-it-begins",
    ),
    "a journey before its decision": (
        lambda: ReturnDecided(
            acted_at=NOW, destination="ME", receiving_agency="me-nac", planned_for=YESTERDAY
        ),
        AgeGroup.CHILD, "ends-before-it-begins",
    ),
    "a next visit that is over": (
        lambda: ReintegrationMonitored(acted_at=NOW, finding="at_risk", next_visit=YESTERDAY),
        AgeGroup.CHILD, "ends-before-it-begins",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NODE)
def test_the_node_checks_what_is_sealed(name: str) -> None:
    make, group, rule = NODE[name]
    case = case_of(group).case
    assert case is not None
    if rule is None:
        check_disclosed_dates(make(), case.state, case.history.values())
        return
    with pytest.raises(Refusal) as refused:
        check_disclosed_dates(make(), case.state, case.history.values())
    assert refused.value.rule == rule
    assert not any(str(year) in refused.value.message for year in (1890, 1925, 1996, 2016))


@pytest.mark.parametrize(
    ("group", "born", "rule"),
    [
        ("child", date(1980, 1, 1), "adult-by-birthdate"),
        ("adult", BORN_10, "child-by-birthdate"),
        ("presumed_child", BORN_30, "unconfirmed-adult-by-birthdate"),
        ("child", date(2027, 1, 1), "birth-in-future"),
        ("child", BORN_10, None),
        ("presumed_child", BORN_10, None),
        ("adult", BORN_30, None),
    ],
)
def test_an_opening_fits_itself(group: str, born: date, rule: str | None) -> None:
    opened = opening(("XK",), birthdate=born).model_copy(update={"age_group": AgeGroup(group)})
    if rule is None:
        check_disclosed_dates(opened, None)
        return
    with pytest.raises(Refusal) as refused:
        check_disclosed_dates(opened, None)
    assert refused.value.rule == rule


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)))
def test_a_person_comes_of_age_in_the_stated_quarter(born: date) -> None:
    day = comes_of_age(born)
    assert years_old(born, day) == 18
    assert years_old(born, day - timedelta(days=1)) == 17
    assert quarter_of(day) <= day <= quarter_end(quarter_of(day))
    assert quarter_to_state(born, day - timedelta(days=300)) == quarter_of(day)
    assert quarter_to_state(born, day) is None
    assert quarter_to_state(born, day - timedelta(days=900)) is None
