"""No agency lowers alone, by annulling what had raised it, what several bodies lower together."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from ledger.procedure import case_rules
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import ActionRule, Protocol, load_protocol
from ledger.refusals import Refusal
from tests.support.played import ADVOCATE, POLICE, PROTOCOL, Played

NAC, NGO, BORDER = "xk-nac", "xk-ngo-support", "xk-border"
CORRIDORS = [
    load_protocol(path)
    for path in sorted((Path(__file__).parents[2] / "examples" / "corridors").glob("*/*.toml"))
]
AT_RISK = {"protected_as": "PersonAtRiskOfTrafficking"}
POTENTIAL = {"protected_as": "PossibleVictimOfTrafficking"}


def opened(protocol: Protocol = PROTOCOL, **fields: Any) -> Played:
    case = Played(protocol)
    case.take(POLICE, "case_opened", age_group="adult", countries=["XK", "ME"], **fields)
    return case


def annulment(action: UUID) -> dict[str, Any]:
    return {"corrects": action, "effect": "annulled", "reason": "entry_error"}


def risk(case: Played) -> str | None:
    annulled = {one.fields["corrects"] for one in case.acts if one.kind == "correction"}
    stated = [one for one in case.acts if one.kind == "risk_assessed"]
    levels = [one.fields["risk_level"] for one in stated if str(one.id) not in annulled]
    return levels[-1] if levels else None


@pytest.mark.parametrize("by", [POLICE, NAC])
def test_two_bodies_annul_what_raised_the_risk(by: str) -> None:
    """The confirmed proposal names the level that stands afterwards, and serves once."""
    case = opened()
    case.jointly("risk_assessed", POLICE, ADVOCATE, risk_level="low")
    high = case.take(POLICE, "risk_assessed", risk_level="high")
    case.refused("together", by, "correction", **annulment(high))
    other = case.take(POLICE, "decision_proposed", decision="risk_assessed", risk_level="medium")
    case.take(ADVOCATE, "decision_confirmed", proposal=other)
    case.refused("together", by, "correction", **annulment(high))
    lower = case.take(POLICE, "decision_proposed", decision="risk_assessed", risk_level="low")
    case.refused("together", by, "correction", **annulment(high))
    case.take(ADVOCATE, "decision_confirmed", proposal=lower)
    case.take(by, "correction", **annulment(high))
    assert risk(case) == "low"
    again = case.take(NGO, "risk_assessed", risk_level="immediate")
    case.refused("together", NGO, "correction", **annulment(again))
    case.refused("together", POLICE, "risk_assessed", risk_level="low")


def test_an_annulment_that_lowers_nothing_is_taken_alone() -> None:
    case = opened()
    first = case.take(NGO, "risk_assessed", risk_level="high")
    case.take(NGO, "correction", **annulment(first))
    assert risk(case) is None
    low = case.jointly("risk_assessed", POLICE, ADVOCATE, risk_level="low")
    case.take(NGO, "risk_assessed", risk_level="high")
    case.take(POLICE, "correction", **annulment(low))  # the high level stands
    assert risk(case) == "high"


def test_the_bodies_that_give_a_status_take_it_away_by_an_annulment_too() -> None:
    case = Played().identified("adult")
    identified = next(one.id for one in case.acts if one.kind == "victim_identified")
    case.refused("together", POLICE, "correction", **annulment(identified))
    case.refused("together", NAC, "correction", **annulment(identified))
    proposal = case.take(POLICE, "decision_proposed", decision="not_a_victim")
    case.take(ADVOCATE, "decision_confirmed", proposal=proposal)
    case.take(POLICE, "correction", **annulment(identified))
    assert case.state is not None
    assert "victim_identified" not in case.state.facts
    # What the bodies agreed on is used: the same agency needs it again for the decision itself.
    case.refused("together", POLICE, "not_a_victim")


def test_a_body_that_decides_alone_annuls_alone_and_nobody_in_its_place() -> None:
    team = "me-identification-team"
    case = Played()
    case.take("me-police-thb", "case_opened", age_group="adult", countries=["ME"])
    status = {"status": "ActualVictimOfTrafficking"}
    identified = case.take(team, "victim_identified", **status)
    case.refused("deciding-body", "me-nac", "correction", **annulment(identified))
    case.take(team, "correction", **annulment(identified))


def test_a_suspicion_that_was_raised_is_not_annulled_alone() -> None:
    case = opened(**AT_RISK)
    raised = case.take(BORDER, "indicators_assessed", **POTENTIAL)
    case.refused("together", BORDER, "correction", **annulment(raised))
    # A suspicion on which the case was opened stands without the assessment.
    other = opened()
    screened = other.take(BORDER, "indicators_assessed", **POTENTIAL)
    other.take(BORDER, "correction", **annulment(screened))


def test_a_shelter_is_not_left_by_an_annulment() -> None:
    case = opened()
    case.take(POLICE, "risk_assessed", risk_level="high")
    sheltered = case.take("xk-isf", "sheltered")
    case.refused("shelter-exit", "xk-isf", "correction", **annulment(sheltered))
    for one in (POLICE, "xk-prosecution-prishtina"):
        case.take(one, "shelter_exit_approved")
    case.take("xk-isf", "correction", **annulment(sheltered))


def several(rule: ActionRule) -> bool:
    """Return whether some party takes an action of this kind by several bodies together."""
    return any(one.together or one.together_for_child for one in rule.by)


def ended(rule: ActionRule) -> Iterator[str]:
    yield from rule.ends
    for one in rule.where:
        yield from one.ends


@pytest.mark.parametrize("text", [PROTOCOL, *CORRIDORS], ids=lambda text: text.id)
def test_of_every_kind_what_several_bodies_decide_is_undone_by_several(text: Protocol) -> None:
    """A table of all kinds: what they establish, end and state, and how each is taken back."""
    rules = text.actions
    joint = {kind for kind, rule in rules.items() if several(rule)}
    assert joint >= {
        "victim_status_changed",
        "not_a_victim",
        "risk_assessed",
        "indicators_assessed",
    }
    guarded = {fact for kind in joint for fact in ended(rules[kind])}
    alone: dict[str, str] = {}
    for kind, rule in rules.items():
        if kind == "case_opened":
            continue  # its annulment ends the case, while nobody else has acted in it
        raises = kind == "victim_identified"
        for fact in guarded & {*ended(rule)} if kind not in joint and not raises else ():
            alone[kind] = f"ends {fact}"
        states = kind in joint or guarded & {*rule.may_establish}
        if states and rule.annulled_as is None:
            alone[kind] = "is annulled by one agency"
        if rule.annulled_as is not None and rule.annulled_as not in joint:
            alone[kind] = f"is annulled as {rule.annulled_as}, which one body decides"
    assert alone == {}
    # Two persons approve these. Nobody takes an approval back after it had its effect.
    reviewed = {kind for kind, rule in rules.items() if rule.reviews is not None}
    assert reviewed == {
        "error_closing_accepted",  # its annulment opens the case again
        "break_glass_reviewed", "erasure_approved", "destruction_approved",
    }  # fmt: skip


def test_a_text_without_this_part_lets_an_agency_annul_alone() -> None:
    text = text_of(PROTOCOL)
    for rule in text["actions"].values():
        rule.pop("annulled_as", None)
    earlier = Protocol.model_validate({**text, "edition": 1})
    case = opened(earlier)
    case.jointly("risk_assessed", POLICE, ADVOCATE, risk_level="low")
    high = case.take(POLICE, "risk_assessed", risk_level="high")
    case.take(POLICE, "correction", **annulment(high))


SINCE = date(2026, 12, 1)
LONG_AGO = datetime(2026, 3, 1, tzinfo=UTC)


def decided(case: Played, acted_at: datetime, recorded_at: datetime) -> None:
    """Let the police identify alone, dated as given. Raises ``Refusal``."""
    assert case.state is not None
    act = replace(
        case.acts[-1], id=uuid4(), kind="victim_identified", agency=POLICE, version=2, position=2,
        acted_at=acted_at, recorded_at=recorded_at, fields={"status": "ActualVictimOfTrafficking"},
    )  # fmt: skip
    history = {one.id: one for one in case.acts}
    case_rules.decide(case.state, history, act, case.protocol, recorded_at)


def case_of(acted_at: datetime, recorded_at: datetime, protocol: Protocol = PROTOCOL) -> Played:
    case = opened(protocol)
    case.acts[0] = replace(case.acts[0], acted_at=acted_at, recorded_at=recorded_at)
    return case


def test_an_earlier_date_alone_makes_no_decision_one_of_before() -> None:
    """The agency chooses the date; the time of the recording is the ledger's."""
    day = timedelta(days=1)
    before, after = datetime(2026, 11, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)
    decided(case_of(LONG_AGO, LONG_AGO), before, before)  # recorded in its time
    kept = case_of(LONG_AGO, LONG_AGO)
    with pytest.raises(Refusal) as refused:
        decided(kept, before, after)
    assert refused.value.rule == "together"
    # An import brings the case and what was decided in it before.
    decided(case_of(LONG_AGO, after), LONG_AGO + day, after)
    # The parties end the time of imports.
    text = text_of(PROTOCOL)
    for bodies in text["actions"]["victim_identified"]["by"]:
        bodies["imported_until"] = "2027-01-31"
    over = Protocol.model_validate(text)
    with pytest.raises(Refusal) as refused:
        decided(case_of(LONG_AGO, after, over), LONG_AGO + day, after)
    assert refused.value.rule == "together"
    january = datetime(2027, 1, 15, tzinfo=UTC)
    decided(case_of(LONG_AGO, january, over), LONG_AGO + day, january)
    # The first edition judges by the date that the agency names.
    first = Protocol.model_validate({**text_of(PROTOCOL), "edition": 1})
    decided(case_of(LONG_AGO, LONG_AGO, first), before, after)
    assert all(one.since == SINCE for one in PROTOCOL.actions["victim_identified"].by)
