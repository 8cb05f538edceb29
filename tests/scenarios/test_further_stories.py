"""Two whole stories through the API: a man whom three countries help, and a boy at risk.

At every step each country's view equals the fold, at every refused attempt nothing is recorded, and
the ledger verifies.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import psycopg
import pytest

from api.client import LedgerClient, RefusedError
from api.client.schemas import Receipt
from api.demo.story import Forbidden, Step
from ledger.application import Ledger, environment
from ledger.procedure.agreement import Agreement
from ledger.procedure.case_state import CaseState
from ledger.procedure.protocol import shipped_protocol, with_assumptions_adopted
from ledger.store.database import Database
from ledger.verification.evidence_reader import kept_in, stored_rows
from ledger.verification.verification import verify_ledger
from ledger.vocabulary.picklists import CaseStatus, ClosureReason, TraffickingStatus
from projections.folds.audit_trail import state_after
from projections.folds.case_view import case_view, viewers
from projections.folds.obligations import obligations
from projections.tables.view_queries import ViewReader
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.further_stories import STORIES, attempts_after
from tests.support.serving import Server, serving
from tests.support.views import wait_for


@dataclass
class Told:
    """A served ledger of the shipped text, on which the stories are told."""

    server: Server
    ledger: Ledger
    views: ViewReader
    conninfo: str
    cases: dict[str, UUID] = field(default_factory=lambda: {name: uuid4() for name in STORIES})
    ids: dict[str, UUID] = field(default_factory=dict)
    clients: dict[str, LedgerClient] = field(default_factory=dict)

    def state(self, case: str) -> CaseState | None:
        found = self.ledger.case(self.cases[case])
        return found.state if found is not None else None

    def attempt(self, step: Step | Forbidden) -> Receipt:
        if step.agency not in self.clients:
            self.clients[step.agency] = self.server.client(step.agency)
        state = self.state(step.case)
        return self.clients[step.agency].append(
            step.action(self.ids), self.cases[step.case], state.version if state else 0
        )

    def check_views(self, case: str) -> None:
        """Check that the views of every country are folds of the case as it is recorded."""
        wait_for(self.views, self.ledger.head())
        recorded, agreement = (
            self.ledger.case(self.cases[case]),
            Agreement.of(self.server.agencies.protocol),
        )
        assert recorded is not None
        assert recorded.state == state_after(self.views.trail(self.cases[case]))
        for viewer in viewers(recorded.state):
            told = case_view(recorded.state, viewer, agreement, recorded.history)
            assert self.views.case(viewer, self.cases[case]) == told

    def check_obligations(self, case: str) -> None:
        recorded = self.ledger.case(self.cases[case])
        assert recorded is not None
        agreement = Agreement.of(self.server.agencies.protocol)
        folded = obligations(tuple(recorded.history.values()), agreement).by_id
        with self.server.client("xk-ombudsperson") as oversight:
            shown = {
                one.id: one for one in oversight.obligations() if one.case_id == self.cases[case]
            }
        assert shown.keys() <= folded.keys()
        open_ones = {name for name, one in folded.items() if one.closed is None}
        assert open_ones == {name for name, one in shown.items() if one.closed is None}

    def check_ledger(self) -> None:
        node = self.server.node
        with psycopg.connect(self.conninfo) as connection:
            kept = kept_in(connection, node.policy_at(self.ledger.head()))
            report = verify_ledger(stored_rows(connection), kept, workers=1)
        assert report.findings == ()
        assert report.events == self.ledger.head()


@pytest.fixture(scope="module")
def told(server: str, migrated: str) -> Iterator[Told]:
    agencies = Agencies(with_assumptions_adopted(shipped_protocol()))
    with (
        new_database(server, migrated) as conninfo,
        Ledger(environment(conninfo)) as ledger,
        Database(conninfo) as pool,
    ):
        agencies.begin(ledger)
        with serving(conninfo, agencies) as served:
            made = Told(served, ledger, ViewReader(pool), conninfo)
            yield made
            for client in made.clients.values():
                client.close()


@pytest.mark.parametrize("name", STORIES)
def test_a_whole_story_is_told_and_what_is_forbidden_is_refused(told: Told, name: str) -> None:
    steps, forbidden = STORIES[name]
    refused = []
    for step in steps:
        before = told.ledger.head()
        told.ids[step.name] = told.attempt(step).action_id
        assert told.ledger.head() == before + 1
        told.check_views(name)
        for attempt in attempts_after(step):
            with pytest.raises(RefusedError) as refusal:
                told.attempt(attempt)
            assert refusal.value.problem.rule == attempt.rule, attempt.name
            assert told.ledger.head() == before + 1, "a refusal leaves nothing"
            refused.append(attempt)
    assert tuple(refused) == tuple(
        one for step in steps for one in forbidden if one.after == step.name
    )
    assert len(refused) == len(forbidden) >= 5
    told.check_obligations(name)
    told.check_ledger()


def test_the_man_is_a_victim_whose_case_three_countries_closed(told: Told) -> None:
    state = told.state("M")
    assert state is not None
    assert (state.status, state.closure) == (CaseStatus.CLOSED, ClosureReason.REINTEGRATED)
    assert state.trafficking_status is TraffickingStatus.ACTUAL
    assert set(state.parties) == {"XK", "ME", "AL"}
    assert {"compensation_claimed", "compensation_paid", "refused_return"} <= state.facts.keys()
    assert "refused_assistance" not in state.facts, "he took help later"
    assert not {"departed", "received", "return_requested"} & state.facts.keys()
    assert state.shelter is None
    assert {one.measure for one in state.measures.values()} == {
        "recovery_and_reflection_period",
        "temporary_residence_permit",
    }


def test_the_boy_was_never_a_victim_and_returned(told: Told) -> None:
    state = told.state("R")
    assert state is not None
    assert (state.status, state.closure) == (CaseStatus.CLOSED, ClosureReason.NO_LONGER_AT_RISK)
    assert state.trafficking_status is TraffickingStatus.AT_RISK
    assert state.parties == ("ME", "AL")
    assert {"received", "reintegration_monitored", "at_risk"} <= state.facts.keys()
    assert not {"victim_identified", "investigated", "charged"} & state.facts.keys()


def test_each_forbidden_attempt_names_a_rule_and_most_name_another() -> None:
    for steps, forbidden in STORIES.values():
        assert len({one.rule for one in forbidden}) >= 8
        assert {one.after for one in forbidden} <= {step.name for step in steps}
