"""The dry decision offers exactly the actions that the rules accept."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.demo.story import STORY
from ledger.events.act import Act
from ledger.procedure import case_rules
from ledger.procedure.available_actions import offers
from ledger.procedure.case_fold import evolve
from ledger.procedure.case_state import CaseState
from ledger.procedure.protocol import shipped_protocol
from ledger.refusals import Refusal
from ledger.vocabulary.picklists import ClosureReason

PROTOCOL = shipped_protocol()
NOW = datetime(2026, 11, 25, tzinfo=UTC)
NEEDED = {
    "identity_recorded": {"ground": "rectification"},
    "decision_proposed": {"status": "PossibleVictimOfTrafficking", "risk_level": "low"},
    "outcome_overridden": {"destination": "ME"},
}
"""What else an act must say where a choice is taken."""


def acts(alias: str) -> list[Act]:
    """The story of one case as the fold sees it."""
    ids: dict[str, UUID] = {step.name: uuid4() for step in STORY}
    found: list[Act] = []
    for step in (s for s in STORY if s.case == alias):
        action = step.action(ids)
        found.append(
            Act(
                id=ids[step.name],
                kind=action.kind,
                case_id=UUID(int=1),
                version=len(found) + 1,
                position=len(found) + 1,
                agency=step.agency,
                acted_at=action.acted_at,
                recorded_at=action.acted_at,
                fields=action.ledger_claims(),
                key_id="k",
                digests=frozenset(),
            )
        )
    return found


@pytest.mark.parametrize("alias", ["A", "B"])
def test_each_step_of_the_story_was_offered_to_who_took_it(alias: str) -> None:
    state: CaseState | None = None
    history: dict[UUID, Act] = {}
    for act in acts(alias):
        agency = PROTOCOL.agencies_by_id[act.agency]
        offer = offers(state, history, agency, PROTOCOL, act.acted_at)[act.kind]
        assert offer.refusal is None, (act.kind, offer.refusal)
        for name, values in offer.choices.items():
            given: Any = act.fields.get(name, [])
            assert set([given] if isinstance(given, str) else given) <= set(values), act.kind
        state = evolve(state, act, PROTOCOL)
        history[act.id] = act


def test_a_choice_that_is_offered_is_accepted_and_another_refused() -> None:
    state: CaseState | None = None
    history: dict[UUID, Act] = {}
    for act in acts("A"):
        state = evolve(state, act, PROTOCOL)
        history[act.id] = act
    assert state is not None
    tried = 0
    for agency in PROTOCOL.agencies:
        for kind, offer in offers(state, history, agency, PROTOCOL, NOW).items():
            if kind in (
                "correction",
                "information_requested",
                "lead_transfer_offered",
                "form_sent",
                "merge_proposed",
            ):
                continue
            for name, values in offer.choices.items():
                if name == "groups" or offer.refusal is not None:
                    continue
                reasons = [one.value for one in ClosureReason if one.value not in values]
                others = reasons if name == "reason" else [str(uuid4())]
                for value in (*values, *others):
                    act = Act(uuid4(), kind, state.case_id, 99, 0, agency.id, NOW, NOW,
                              {name: (value,) if name == "scopes" else value, "complete": True,
                               **NEEDED.get(kind, {})}, "k", frozenset())  # fmt: skip
                    tried += 1
                    if value in values:
                        case_rules.decide(state, history, act, PROTOCOL, NOW)
                    else:
                        with pytest.raises(Refusal):
                            case_rules.decide(state, history, act, PROTOCOL, NOW)
    assert tried > 5


def test_nothing_but_an_opening_is_offered_without_a_case() -> None:
    for agency in PROTOCOL.agencies:
        possible = [k for k, o in offers(None, {}, agency, PROTOCOL, NOW).items() if not o.refusal]
        may_open = agency.role in PROTOCOL.actions["case_opened"].roles
        assert possible == (["case_opened"] if may_open else [])


def test_another_countrys_agency_is_offered_nothing() -> None:
    state = evolve(None, acts("A")[0], PROTOCOL)
    albanian = PROTOCOL.agencies_by_id["al-nac"]
    told = offers(state, {}, albanian, PROTOCOL, NOW)
    assert {o.refusal.rule for o in told.values() if o.refusal} <= {
        "unknown-case", "role", "already-opened", "open-case",
    }  # fmt: skip
    assert all(offer.refusal for offer in told.values())


def test_what_names_nothing_is_not_offered() -> None:
    state = evolve(None, acts("A")[0], PROTOCOL)
    police = PROTOCOL.agencies_by_id["xk-dhtqnj"]
    refusal = offers(state, {}, police, PROTOCOL, NOW)["information_provided"].refusal
    assert refusal is not None
    assert refusal.rule == "nothing-to-name"
