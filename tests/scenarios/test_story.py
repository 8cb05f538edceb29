"""The demonstration's story, played against the ledger: all of it holds, nothing more does."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.demo.story import FORBIDDEN, STORY, Forbidden, Step
from ledger.application import Ledger
from ledger.procedure.case_state import CaseState
from ledger.refusals import Refusal
from ledger.signing import signed_action
from ledger.store.event_rows import RecordedRow
from ledger.vocabulary.action import Action
from ledger.vocabulary.levels import FieldGroup, Level
from ledger.vocabulary.picklists import CaseStatus, Priority, TraffickingStatus
from tests.support.agencies import Agencies


@dataclass
class Play:
    """The story on one ledger."""

    ledger: Ledger
    agencies: Agencies
    cases: dict[str, UUID] = field(default_factory=lambda: {"A": uuid4(), "B": uuid4()})
    ids: dict[str, UUID] = field(default_factory=dict)

    def attempt(self, step: Step | Forbidden) -> RecordedRow:
        case_id = self.cases[step.case]
        case = self.ledger.case(case_id)
        signed = self.agencies.sign(step.agency, step.action(self.ids), case_id)
        receipt = self.ledger.append(
            signed_action.read(signed), case_id, case.version if case else 0
        )
        self.ids[step.name] = receipt.action_id
        return receipt

    def until(self, name: str) -> None:
        for step in STORY:
            self.attempt(step)
            if step.name == name:
                return

    def state(self, case: str) -> CaseState:
        found = self.ledger.case(self.cases[case])
        assert found is not None
        return found.state

    def events(self) -> int:
        return len(self.ledger.rows.select_rows(0, 10_000))


@pytest.fixture
def play(ledger: Ledger, agencies: Agencies) -> Play:
    return Play(ledger, agencies)


def actions() -> Iterator[tuple[Step, Action]]:
    ids = {step.name: uuid4() for step in STORY}
    for step in STORY:
        yield step, step.action(ids)


def test_the_story_is_accepted_and_what_is_forbidden_is_refused(play: Play) -> None:
    before = play.events()
    refused = []
    for number, step in enumerate(STORY, start=1):
        play.attempt(step)
        for forbidden in (f for f in FORBIDDEN if f.after == step.name):
            with pytest.raises(Refusal) as refusal:
                play.attempt(forbidden)
            assert (refusal.value.ground, refusal.value.rule) == (forbidden.ground, forbidden.rule)
            refused.append(forbidden)
        assert play.events() == before + number
    assert tuple(refused) == FORBIDDEN

    registered = play.agencies.protocol.agencies_by_id
    for alias, lead in (("A", "me-csw-podgorica"), ("B", "me-csw-niksic")):
        state = play.state(alias)
        assert state.status is CaseStatus.FOLLOW_UP
        assert state.trafficking_status is TraffickingStatus.ACTUAL
        assert state.parties == ("XK", "ME")
        assert state.lead_agency == lead
        assert registered[state.lead_agency].party == "ME"
        assert state.shelter is None or state.shelter.party == "ME"
        assert state.planned_return is None
        assert state.lead_offer is None
        assert not state.joint_actions
        assert {"received", "reintegration_planned"} <= state.facts.keys()

    a, b = play.state("A"), play.state("B")
    assert a.priority is Priority.URGENT
    assert a.shelter is not None
    assert a.shelter.party == "ME"
    assert {s.service for s in a.services.values()} == {"legal"}
    assert a.open_requests.keys() == {play.ids["A.asked_of_prosecution"]}
    assert "reintegration_monitored" in a.facts
    assert b.shelter is None
    assert not b.services
    assert not b.open_requests
    assert "reintegration_monitored" not in b.facts, "annulled, so still expected"


@pytest.mark.parametrize("forbidden", FORBIDDEN, ids=lambda f: f.name)
def test_each_forbidden_attempt_fails_by_its_own_rule(play: Play, forbidden: Forbidden) -> None:
    play.until(forbidden.after)
    events, state = play.events(), play.state(forbidden.case)
    with pytest.raises(Refusal) as refusal:
        play.attempt(forbidden)
    assert (refusal.value.ground, refusal.value.rule) == (forbidden.ground, forbidden.rule)
    assert (play.events(), play.state(forbidden.case)) == (events, state)


def test_montenegro_joins_the_girls_case_when_it_is_asked(play: Play) -> None:
    play.until("A.consent_given")
    assert play.state("A").parties == ("XK",)
    play.attempt(next(step for step in STORY if step.name == "A.requested"))
    assert play.state("A").parties == ("XK", "ME")


def test_five_different_rules_are_tried() -> None:
    assert len({forbidden.rule for forbidden in FORBIDDEN}) == len(FORBIDDEN) == 5
    assert {forbidden.after for forbidden in FORBIDDEN} <= {step.name for step in STORY}


def test_steps_are_sorted_named_and_captioned() -> None:
    times = [action.acted_at for _, action in actions()]
    assert times == sorted(times)
    assert (times[0].year, times[0].month) == (2025, 12)
    assert (times[-1].year, times[-1].month) == (2026, 5)
    every: tuple[Step | Forbidden, ...] = (*STORY, *FORBIDDEN)
    names = [step.name for step in every]
    assert len(set(names)) == len(names)
    for step in every:
        assert step.name.startswith(f"{step.case}.")
        assert 0 < len(step.caption) <= 70, step.caption


def test_every_field_group_has_something_to_keep_in_a_vault() -> None:
    levels = [action.level(name) for _, action in actions() for name in action.disclosable_claims()]
    assert {level.group for level in levels} == {*FieldGroup, None}
    assert {level.level for level in levels} == {Level.CASE, Level.PERSONAL}


@pytest.mark.parametrize("case", ["A", "B"])
def test_no_disclosed_value_is_among_the_ledger_claims(agencies: Agencies, case: str) -> None:
    disclosed = 0
    for step, action in actions():
        if step.case != case:
            continue
        signed = agencies.sign(step.agency, action, uuid4())
        read = signed_action.read(signed)
        claims = json.dumps(dict(read.fields), ensure_ascii=False)
        for disclosure in signed.disclosures:
            disclosed += 1
            assert disclosure.name not in read.fields, step.name
            for value in leaves(disclosure.value):
                assert value not in list(leaves(read.fields)), step.name
                assert not isinstance(value, str) or value not in claims, step.name
        assert signed_action.check_disclosures(read, signed.disclosures) == action
    assert disclosed > 20


def leaves(value: Any) -> Iterator[Any]:
    """The scalars in a JSON value."""
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    else:
        yield value
