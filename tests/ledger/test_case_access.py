"""A protocol by which agencies see the cases that they have to know of, and the shipped one."""

from typing import Any
from uuid import UUID

import pytest

from ledger.procedure.amendments import text_of
from ledger.procedure.case_access import CaseAccess, agencies_with_access
from ledger.procedure.checks.taking_part import has_part
from ledger.procedure.protocol import Protocol
from tests.support.played import POLICE, PROTOCOL, SOCIAL, Played

NAMED = PROTOCOL.model_copy(update={"case_access": CaseAccess.NAMED})
OTHER_SOCIAL, COORDINATOR, THEIRS = "xk-csw-peja", "xk-nac", "me-nac"


def sees(case: Played, agency: str, protocol: Protocol = NAMED) -> bool:
    assert case.state is not None
    history = {one.id: one for one in case.acts}
    return has_part(protocol.agencies_by_id[agency], case.state, history, protocol)


def opened(countries: tuple[str, ...] = ("XK",), protocol: Protocol = NAMED) -> Played:
    case = Played(protocol)
    case.take(POLICE, "case_opened", age_group="child", countries=list(countries))
    return case


def test_by_the_shipped_text_every_agency_of_the_country_sees_the_case() -> None:
    case = opened(protocol=PROTOCOL)
    assert PROTOCOL.case_access is None
    assert "case_access" not in text_of(PROTOCOL)
    assert sees(case, OTHER_SOCIAL, PROTOCOL)
    assert not sees(case, THEIRS, PROTOCOL)
    case.refused("own-agencies", POLICE, "agency_admitted", agency=OTHER_SOCIAL)


def test_an_agency_sees_what_it_acted_in_was_named_in_or_was_admitted_to() -> None:
    case = opened(("XK", "ME"))
    assert [sees(case, one) for one in (POLICE, SOCIAL, COORDINATOR, THEIRS)] == [
        True, False, True, True,
    ]  # fmt: skip
    case.refused("unknown-case", SOCIAL, "risk_assessed", risk_level="high")
    case.take(POLICE, "agency_admitted", agency=SOCIAL)
    assert sees(case, SOCIAL)
    case.take(SOCIAL, "guardian_appointed", guardian_kind="social_work_centre")
    case.take(THEIRS, "information_requested", addressee=OTHER_SOCIAL, topics=["family"],
              purpose="protection")  # fmt: skip
    assert sees(case, OTHER_SOCIAL)
    assert not sees(case, "me-csw-podgorica")
    case.take(THEIRS, "agency_admitted", agency="me-csw-podgorica")
    assert sees(case, "me-csw-podgorica")


def test_an_ended_admission_counts_from_then_on_until_another_naming() -> None:
    case = opened()
    case.take(POLICE, "agency_admitted", agency=SOCIAL)
    case.take(SOCIAL, "guardian_appointed", guardian_kind="social_work_centre")
    case.take(COORDINATOR, "agency_admission_ended", agency=SOCIAL)
    assert not sees(case, SOCIAL)
    case.refused("unknown-case", SOCIAL, "risk_assessed", risk_level="high")
    case.take(COORDINATOR, "lead_transfer_offered", to_agency=SOCIAL, reason="specialist_support")
    assert sees(case, SOCIAL)


@pytest.mark.parametrize(
    ("rule", "by", "kind", "agency"),
    [
        ("admission", SOCIAL, "agency_admitted", OTHER_SOCIAL),
        ("own-agencies", POLICE, "agency_admitted", "me-csw-podgorica"),
        ("own-agencies", POLICE, "agency_admitted", COORDINATOR),
        ("own-agencies", POLICE, "agency_admitted", "xk-ombudsperson"),
        ("own-agencies", THEIRS, "agency_admitted", OTHER_SOCIAL),
        ("unknown-agency", POLICE, "agency_admitted", "xk-nobody"),
        ("already-admitted", POLICE, "agency_admitted", SOCIAL),
        ("lead-stays", COORDINATOR, "agency_admission_ended", POLICE),
        ("not-admitted", COORDINATOR, "agency_admission_ended", OTHER_SOCIAL),
        ("admission", SOCIAL, "agency_admission_ended", SOCIAL),
        ("unknown-case", OTHER_SOCIAL, "agency_admitted", OTHER_SOCIAL),
        ("unknown-case", "xk-court-prishtina", "case_reopened", OTHER_SOCIAL),
    ],
)
def test_what_nobody_does(rule: str, by: str, kind: str, agency: str) -> None:
    case = opened(("XK", "ME"))
    case.take(POLICE, "agency_admitted", agency=SOCIAL)
    fields: dict[str, Any] = {"agency": agency}
    if kind == "case_reopened":
        fields = {"reason": "new_information"}
    case.refused(rule, by, kind, **fields)


def test_an_annulled_naming_and_an_event_that_nobody_understands_change_nothing() -> None:
    case = opened()
    admitted = case.take(POLICE, "agency_admitted", agency=SOCIAL)
    case.take(POLICE, "correction", corrects=admitted, effect="annulled", reason="data_entry")
    assert sees(case, SOCIAL)
    unknown = case.acts[-1].__class__(
        id=UUID(int=9), kind="not_understood", case_id=UUID(int=1), version=9, position=9,
        agency="xk-somebody", acted_at=case.now, recorded_at=case.now, fields={}, key_id="",
        digests=frozenset(),
    )  # fmt: skip
    assert agencies_with_access([*case.acts, unknown]) == agencies_with_access(case.acts)
