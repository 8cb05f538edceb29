"""Rows of HTCDS as actions: what each column means, what is refused, and never a value of it."""

import csv
import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.events.event import ActionRecorded
from ledger.importing import fields
from ledger.importing.import_map import ImportMap, load_map
from ledger.importing.mapping import Mapped, Mapper
from ledger.importing.preparing import ImportRow, Prepared, Preparer, Signer, case_id_of
from ledger.procedure.agreement import Agreement
from ledger.procedure.case_fold import fold
from ledger.signing import signed_action
from ledger.signing.sd_jwt import parse
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.action import Action
from tests.support.agencies import Agencies
from tests.support.htcds import MAP, row
from tests.support.strategies import found_in

IMPORT_ID = uuid4()
DOCS = Path(__file__).parents[2] / "docs"
HTCDS = (DOCS / "htcds.md").read_text(encoding="utf-8")
RULE = re.compile(r"[a-z]+([-_a-zA-Z]+)*")
OPENED = {
    "case_opened.acted_at": "2021-05-04",
    "case_opened.age_group": "adult",
    "case_opened.ground": "helpline",
    "case_opened.indicators": "no_documents",
}
IDENTIFIED = OPENED | {
    "victim_identified.acted_at": "2021-05-05",
    "vic_TraffickingStatus": "ActualVictimOfTrafficking",
    "vic_TraffickingStatusDecisionMakingOrg": "Police",
    "vic_TypeOfExploitation": "ForcedBegging; ForcedMarriage",
}


def action_id(kind: str, number: int) -> UUID:
    return uuid5(IMPORT_ID, f"{kind} {number}")


def read(values: Mapping[str, Any], import_map: ImportMap | None = None) -> Mapped:
    return Mapper(import_map or ImportMap(), "XK").read(values, action_id)


def actions(values: Mapping[str, Any], import_map: ImportMap | None = None) -> dict[str, Action]:
    mapped = read(values, import_map)
    assert not mapped.faults, mapped.faults
    return {told.action.kind: told.action for told in mapped.told}


def faults(values: Mapping[str, Any], import_map: ImportMap | None = None) -> set[tuple[str, str]]:
    mapped = read(values, import_map)
    assert not mapped.told
    return {(fault.rule, fault.column) for fault in mapped.faults}


def preparer(agencies: Agencies, agency: str, text: str = "") -> Preparer:
    key = agencies.keys[agency]
    signer = Signer(agency, key, key, agencies.protocol)
    party = agency[:2].upper()
    return Preparer(IMPORT_ID, signer, Mapper(load_map(text.encode(), Path("map")), party), None)


def prepare(agencies: Agencies, agency: str, values: Mapping[str, Any], text: str = "") -> Prepared:
    return preparer(agencies, agency, text).prepare([ImportRow(2, values)])


def rules(prepared: Prepared) -> list[tuple[str, str, str]]:
    (refused,) = prepared.refused
    return [(fault.rule, fault.column, fault.action) for fault in refused.faults]


def carried() -> dict[str, str]:
    """The documented table: each field of the standard, and the action's field that it is."""
    cells = re.findall(r"^\| [^|]+ \| `(\w+)` \| `(\w+\.\w+)` \|", HTCDS, re.MULTILINE)
    assert len(cells) > 35
    return dict(cells)


def test_the_documented_fields_are_those_that_are_read() -> None:
    others = {
        **dict.fromkeys(fields.ADDRESS, "case_opened.address"),
        **dict.fromkeys(fields.STATEMENT, "victim_identified.statement"),
        "vic_AgreementToManagePersonalData": "consent_given.form",
        "con_Consent": "consent_given.scopes",
    }
    never = set()
    for name, path in carried().items():
        if name in fields.NOT_IMPORTED:
            never.add(name)
        elif name in fields.CARRIED:
            assert str(fields.CARRIED[name]) == path
        else:
            assert others[name] == path
    # Both are answers to what another agency did.
    assert never == {"cas_IncomingReferralDate", "cco_CaseComment"}
    with (DOCS / "htcds" / "fields.csv").open(encoding="utf-8", newline="") as file:
        names = {line["Field Name including Prefix"] for line in csv.DictReader(file)}
    assert names - {""} == fields.STANDARD


def test_every_field_that_is_named_is_there() -> None:
    for place in fields.CARRIED.values():
        assert place.field in CASE_ACTIONS[place.kind].model_fields
    assert set(fields.KINDS) < CASE_ACTIONS.keys()
    assert len(set(fields.KINDS)) == len(fields.KINDS)


def test_a_row_that_opens_a_case_and_no_more() -> None:
    opened = actions(OPENED)["case_opened"]
    assert opened.model_dump(exclude_none=True) == {
        "acted_at": datetime(2021, 5, 4, tzinfo=UTC),
        "age_group": "adult",
        "countries": ("XK",),
        "ground": "helpline",
        "indicators": ("no_documents",),
    }


def test_a_status_is_an_identification() -> None:
    made = actions(IDENTIFIED | {"vic_AgeWhenTrafficked": "14", "vic_Vulnerabilities": "Poverty"})
    identified = made["victim_identified"].model_dump(exclude_none=True)
    assert identified["types_of_exploitation"] == ("ForcedBegging", "ForcedMarriage")
    assert identified["age_when_trafficked"] == 14
    without = {k: v for k, v in IDENTIFIED.items() if k != "vic_TraffickingStatus"}
    assert faults(without) == {("missing", "vic_TraffickingStatus")}


def test_no_victim_is_an_action_of_its_own() -> None:
    found = OPENED | {
        "victim_identified.acted_at": "2021-06-01",
        "vic_TraffickingStatus": "NotAVictimOfTrafficking",
        "vic_TraffickingStatusDecisionMakingOrg": "CourtOrProsecution",
        "not_a_victim.ground": "court_decision",
    }
    made = actions(found)
    assert list(made) == ["case_opened", "not_a_victim"]
    assert made["not_a_victim"].model_dump()["decided_by"] == "CourtOrProsecution"
    contradicts = found | {"vic_MethodsOfControl": "DebtBondage"}
    assert faults(contradicts) == {("not-of-a-non-victim", "vic_MethodsOfControl")}


def test_a_missing_date_is_said_and_not_invented() -> None:
    undated = {k: v for k, v in IDENTIFIED.items() if not k.endswith("acted_at")}
    assert faults(undated) == {
        ("no-date", "case_opened.acted_at"),
        ("no-date", "victim_identified.acted_at"),
    }
    assert faults(IDENTIFIED | {"spl_Type": "Health"}) == {
        ("no-date", "reintegration_planned.acted_at")
    }
    referred = {"cas_ReferredOrganisation": "xk-csw-peja", "cas_ReasonForOutgoingReferral": "Other"}
    assert faults(OPENED | referred) == {("no-date", "cas_OutgoingReferralDate")}


def test_one_column_may_date_several_actions_and_tells_none_by_itself() -> None:
    shared = ImportMap(columns={"on": ("case_opened.acted_at", "victim_identified.acted_at")})
    rest = {k: v for k, v in IDENTIFIED.items() if not k.endswith("acted_at")}
    made = actions(rest | {"on": "2020-01-01"}, shared)
    assert {a.acted_at.year for a in made.values()} == {2020}
    assert len(made) == 2
    only = {k: v for k, v in OPENED.items() if not k.endswith("acted_at")}
    assert list(actions(only | {"on": "2020-01-01"}, shared)) == ["case_opened"]


def test_age_follows_from_the_birth_date_at_the_opening() -> None:
    without = {k: v for k, v in OPENED.items() if not k.endswith("age_group")}
    for born, group in (("2003-05-05", "child"), ("2003-05-04", "adult")):
        made = actions(without | {"prs_Birthdate": born})
        assert made["case_opened"].model_dump()["age_group"] == group
    assert faults(without) == {("missing", "case_opened.age_group")}
    undated = {k: v for k, v in without.items() if not k.endswith("acted_at")}
    assert faults(undated | {"prs_Birthdate": "2003-05-05"}) == {
        ("no-date", "case_opened.acted_at")
    }


def test_what_is_one_text_here_is_put_together() -> None:
    made = actions(
        IDENTIFIED
        | {
            "prs_MailingCity": "Peja",
            "prs_MailingStreet": "Rruga 1",
            "prs_HomePhone": "+383 (44) 12-34.56",
            "hte_Description": "What was done.",
            "hte_City": "Nikšić",
        }
    )
    opened, identified = (made[k].model_dump() for k in ("case_opened", "victim_identified"))
    assert opened["address"] == "Rruga 1, Peja"
    assert opened["phone"] == "+38344123456"
    assert identified["statement"] == "What was done.\nhte_City: Nikšić"
    both = actions(OPENED | {"prs_HomePhone": "+38311", "prs_MobilePhone": "+38322"})
    assert both["case_opened"].model_dump()["phone"] == "+38322"


def test_a_closing_is_told_by_status_death_or_reason() -> None:
    closed = {"case_closed.acted_at": "2022-01-01"}
    for told, reason in (
        ({"cas_Status": "ClosedReferred"}, "referred"),
        ({"cas_Status": "Closed", "prs_Deceased": "true"}, "deceased"),
        ({"cas_Status": "Closed", "case_closed.reason": "lost_contact"}, "lost_contact"),
    ):
        made = actions(OPENED | closed | told)
        assert made["case_closed"].model_dump()["reason"] == reason
    assert faults(OPENED | {"cas_Status": "Closed"}) == {
        ("no-date", "case_closed.acted_at"),
        ("missing", "case_closed.reason"),
    }
    assert faults(OPENED | {"cas_Status": "Shut"}) == {("value", "cas_Status")}


def test_a_consent_that_is_checked_needs_its_particulars() -> None:
    assert list(actions(OPENED | {"con_Consent": "no"})) == ["case_opened"]
    assert faults(OPENED | {"con_Consent": "yes"}) == {
        ("no-date", "consent_given.acted_at"),
        ("missing", "consent_given.scopes"),
        ("missing", "consent_given.given_by"),
        ("missing", "consent_given.form"),
    }
    assert faults(OPENED | {"con_Consent": "perhaps"}) == {("value", "con_Consent")}


def test_several_actions_of_a_kind_and_what_ends_them() -> None:
    mapped = read(
        OPENED
        | {
            "service_started.acted_at": "2021-06-01T10:30:00+02:00",
            "service_started.service": "legal",
            "service_started.provider": "xk-ngo-support",
            "service_started.2.acted_at": "2021-05-06",
            "service_started.2.service": "medical",
            "service_started.2.provider": "xk-isf",
            "service_ended.2.acted_at": "2021-05-07",
            "service_ended.2.reason": "completed",
        }
    )
    kinds = [told.action.kind for told in mapped.told]
    assert kinds == ["case_opened", "service_started", "service_ended", "service_started"]
    ended = mapped.told[2].action.model_dump()
    assert ended["service_action"] == action_id("service_started", 2)
    alone = OPENED | {"service_ended.acted_at": "2021-05-07", "service_ended.reason": "completed"}
    assert faults(alone) == {("missing", "service_ended.service_action")}


def test_the_map_translates_names_values_days_and_times() -> None:
    text = """
    separator = "|"
    date_format = "%d.%m.%Y"
    time_zone = "Europe/Belgrade"
    ignore = ["note"]
    [columns]
    opened = "case_opened.acted_at"
    sex = "prs_Gender"
    kind = ["vic_TypeOfExploitation", "case_opened.indicators"]
    [values.prs_Gender]
    F = "Feminine"
    unknown = ""
    [values."case_opened.indicators"]
    ForcedBegging = "begging_in_the_street"
    Servitude = ""
    [defaults]
    "case_opened.ground" = "self_report"
    "case_opened.age_group" = "child"
    "case_opened.indicators" = ["no_documents"]
    "victim_identified.status" = "PossibleVictimOfTrafficking"
    """
    found = load_map(text.encode(), Path("map"))
    values = {"opened": "4.5.2021", "sex": "F", "note": "x"}
    opened = actions(values, found)["case_opened"].model_dump()
    assert opened["acted_at"] == datetime(2021, 5, 3, 22, tzinfo=UTC)
    assert (opened["gender"], opened["indicators"]) == ("Feminine", ("no_documents",))
    assert actions(values | {"sex": "unknown"}, found)["case_opened"].model_dump()["gender"] is None
    made = actions(
        values
        | {
            "kind": "ForcedBegging|Servitude",
            "victim_identified.acted_at": "2021-05-04T09:00:00",
            "victim_identified.decided_by": "Police",
        },
        found,
    )
    assert made["case_opened"].model_dump()["indicators"] == ("begging_in_the_street",)
    identified = made["victim_identified"].model_dump()
    assert identified["types_of_exploitation"] == ("ForcedBegging", "Servitude")
    assert identified["acted_at"] == datetime(2021, 5, 4, 7, tzinfo=UTC)
    assert faults(values | {"opened": "32.5.2021"}, found) == {("value", "opened")}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("columns = 3", "columns"),
        ('[columns]\na = "nothing.such"', "nothing.such"),
        ('[columns]\na = "service_ended.service_action"', "service_action"),
        ('[columns]\na = "information_provided.answer"', "answer"),
        ("[values.nothing]\na = 1", "nothing"),
        ('[defaults]\nprs_Gender = "Feminine"', "kind.field"),
        ('time_zone = "Europe/Atlantis"', "time zone"),
        ('encoding = "klingon"', "encoding"),
        ("what = 1", "what"),
        ("= =", "TOML"),
    ],
)
def test_a_map_that_does_not_hold_is_refused(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        load_map(text.encode(), Path("map"))


def test_a_default_that_its_field_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match="ground"):
        Mapper(ImportMap(defaults={"case_opened.ground": "hearsay"}), "XK")


def test_values_that_are_none_of_the_field_are_refused_by_column() -> None:
    wrong = {
        "prs_Gender": "zqF",
        "prs_Birthdate": "1/1/2001",
        "prs_Citizenship": "XK;ZQ",
        "prs_MobilePhone": "none",
        "prs_NumberOfChildren": "three",
        "prs_PrimaryLanguage": "zqq",
        "case_opened.indicators": "no_documents;zq",
    }
    assert faults(OPENED | wrong) == {("value", column) for column in wrong}
    assert faults(OPENED | {"prs_FirstName": ["a", "b"]}) == {("value", "prs_FirstName")}
    assert faults(OPENED | {"prs_MailingCity": {"a": 1}}) == {("value", "prs_MailingCity")}
    assert faults(OPENED | {"prs_FirstName": "x" * 201}) == {("value", "prs_FirstName")}


def test_what_no_action_has_is_counted() -> None:
    mapped = read(OPENED | {"prs_Email": "a@b", "cas_CaseOwner": "c"})
    assert mapped.not_imported == ["prs_Email", "cas_CaseOwner"]


@pytest.mark.parametrize(
    ("agency", "more", "expected"),
    [
        ("xk-prosecution-prishtina", {}, ("role", "", "case_opened")),
        ("xk-nac", {"case_opened.acted_at": "2999-01-01"},
         ("acted-in-future", "case_opened.acted_at", "case_opened")),
        ("xk-nac", {"case_opened.countries": "XK;DE"},
         ("not-a-party", "case_opened.countries", "case_opened")),
        ("xk-nac", {"per_RoleInProcess": "Exploiter", "investigated.state": "opened",
                    "investigated.acted_at": "2021-06-01"},
         ("role", "per_RoleInProcess", "investigated")),
        ("xk-nac", {"spl_Type": "Health", "reintegration_planned.acted_at": "2021-06-01"},
         ("one-of-victim_identified", "spl_Type", "reintegration_planned")),
        ("xk-nac", {"service_started.acted_at": "2021-01-01", "service_started.service": "legal",
                    "service_started.provider": "xk-isf"},
         ("requires-case_opened", "service_started.acted_at", "service_started")),
        ("xk-nac", {"service_started.acted_at": "2021-06-01", "service_started.service": "legal",
                    "service_started.provider": "xk-unheard-of"},
         ("unknown-agency", "service_started.provider", "service_started")),
        ("xk-csw-peja", {"case_opened.age_group": "child", "con_Consent": "yes",
                         "consent_given.acted_at": "2021-06-01", "consent_given.form": "written",
                         "consent_given.scopes": "assistance",
                         "consent_given.given_by": "guardian"},
         ("requires-guardian_appointed", "con_Consent", "consent_given")),
        ("xk-nac", {"cas_Status": "FollowUp"}, ("status-differs", "cas_Status", "")),
    ],
)  # fmt: skip
def test_what_the_rules_refuse_is_refused_by_their_names(
    agencies: Agencies, agency: str, more: dict[str, str], expected: tuple[str, str, str]
) -> None:
    assert rules(prepare(agencies, agency, OPENED | more)) == [expected]


def test_what_is_too_long_to_be_recorded_is_refused(
    agencies: Agencies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.importing.preparing.MAX_BYTES", 500)
    assert rules(prepare(agencies, "xk-nac", OPENED)) == [("too-large", "", "case_opened")]


def test_the_same_row_gives_the_same_ids_and_no_other_import_does(agencies: Agencies) -> None:
    made = [prepare(agencies, "xk-nac", IDENTIFIED).ready[0] for _ in range(2)]
    assert made[0].case_id == made[1].case_id == case_id_of(IMPORT_ID, 2)
    assert [e.action_id for e in made[0].events] == [e.action_id for e in made[1].events]
    assert len({e.action_id for e in made[0].events}) == 2
    assert case_id_of(uuid4(), 2) != case_id_of(IMPORT_ID, 2) != case_id_of(IMPORT_ID, 3)


BREAKS = st.sampled_from(
    ("", "zq0123456789abcdef", "NotAVictimOfTrafficking", "2999-01-01", "2018-01-01", "ZQ;XK")
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), data=st.data())
def test_any_row_is_recorded_as_it_says_or_refused_without_a_word_of_it(
    agencies: Agencies, seed: int, data: st.DataObject
) -> None:
    values: dict[str, str] = row(random.Random(seed))
    for column in data.draw(st.lists(st.sampled_from(sorted(values)), max_size=2, unique=True)):
        values[column] = data.draw(BREAKS)
    values = {column: value for column, value in values.items() if value}
    prepared = prepare(agencies, "xk-nac", values, MAP)
    marks = {word for value in values.values() for word in re.findall(r"zq[0-9a-f]{16}", value)}
    if prepared.refused:
        told = repr(prepared.refused)
        assert not found_in(marks, told)
        for fault in prepared.refused[0].faults:
            assert RULE.fullmatch(fault.rule)
            assert fault.column in {*values, ""} or fields.is_known(fault.column) or (
                fault.column.startswith("(map) ")
            )  # fmt: skip
        return
    (ready,) = prepared.ready
    clear = b"".join(event.sd_jwt for event in ready.events)
    assert not found_in(marks, clear)
    acts, before = [], datetime.min.replace(tzinfo=UTC)
    for version, event in enumerate(ready.events, 1):
        action = signed_action.read(parse(event.sd_jwt.decode()))
        signed_action.verify(action, agencies.keys["xk-nac"])
        assert (event.version, event.kind, event.action_id) == (version, action.kind, action.id)
        assert action.acted_at >= before
        before = action.acted_at
        recorded = ActionRecorded(ready.case_id, version, action, version, datetime.now(UTC))
        acts.append(recorded.as_act())
    state = fold(acts, Agreement.of(agencies.protocol))
    assert state is not None
    assert state.status == values.get("cas_Status", state.status)
