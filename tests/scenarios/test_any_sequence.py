"""Any sequence of valid and invalid actions, through the API and the database.

Whatever agencies send: each view is a fold of the trail, a rebuild gives the identical
view, and nothing of a ``case`` or ``personal`` value is anywhere but in the vault of the
country whose agency sent it. ``CASE_LEDGER_TEST_SEQUENCES`` sets how many are tried.
"""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from api.client import LedgerClient, RefusedError
from api.client.schemas import Receipt
from api.keys.country_keys import country_keys, person_keys
from ledger.application import Ledger
from ledger.procedure.agreement import Agreement
from ledger.procedure.case_state import CaseState
from ledger.procedure.protocol import NODE
from ledger.signing import signed_action
from ledger.signing.sd_jwt import SdJwt
from ledger.store.database import Database
from ledger.vault.vault import Vaults
from ledger.vocabulary import CASE_ACTIONS, Action
from projections.folds.audit_trail import state_after
from projections.folds.case_view import case_view, viewers
from projections.folds.state_json import state_document
from projections.tables.all_views import VIEWS
from projections.tables.view_queries import ViewReader
from projections.upkeep.rebuild import rebuild
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.leaks import everything_logged, server_log, tables_with
from tests.support.serving import Server, serving
from tests.support.strategies import found_in, markers, proposals
from tests.support.vaults import everything
from tests.support.views import rows_of, wait_for

SEQUENCES = int(os.environ.get("CASE_LEDGER_TEST_SEQUENCES", "2"))
STEPS = 30
START = datetime(2026, 1, 5, 8, tzinfo=UTC)


@dataclass
class World:
    """A served ledger, and what agencies sent to it."""

    server: Server
    ledger: Ledger
    views: ViewReader
    clients: dict[str, LedgerClient] = field(default_factory=dict)
    accepted: dict[UUID, tuple[SdJwt, Receipt]] = field(default_factory=dict)
    marks: set[str] = field(default_factory=set)
    """The markers of every action that was sent, recorded or refused."""
    said: list[str] = field(default_factory=list)
    """What refusals said."""

    @property
    def agencies(self) -> Agencies:
        return self.server.agencies

    def client(self, agency: str) -> LedgerClient:
        if agency not in self.clients:
            self.clients[agency] = self.server.client(agency)
        return self.clients[agency]

    def state(self, case_id: UUID) -> CaseState | None:
        case = self.ledger.case(case_id)
        return case.state if case else None

    def party(self, agency: str) -> str:
        return self.agencies.protocol.agencies_by_id[agency].party

    def send(self, agency: str, signed: SdJwt, case: UUID, version: int) -> bool:
        """Return whether an act that ``agency`` signed was recorded."""
        action = action_of(signed)
        self.marks |= markers(action)
        try:
            receipt = self.client(agency).send(signed, case, version)
        except RefusedError as error:
            self.said.append(error.problem.model_dump_json() + str(error))
            return False
        self.accepted[receipt.action_id] = (signed, receipt)
        return True


def action_of(signed: SdJwt) -> Action:
    """The whole action that was signed."""
    return signed_action.check_disclosures(signed_action.read(signed), signed.disclosures)


class AnySequence(RuleBasedStateMachine):
    """Agencies of all countries work on a few cases at once, well and badly."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.cases: list[UUID] = [uuid4()]
        self.mine: list[UUID] = []
        self.now = START

    @rule(data=st.data(), another=st.integers(0, 11))
    def propose(self, data: st.DataObject, another: int) -> None:
        """An agency proposes something on the case as it is; about half of it is refused."""
        if another == 0:
            self.cases.append(uuid4())
        case_id = data.draw(st.sampled_from(self.cases), label="case")
        self._propose(data, case_id, behind=0)

    @precondition(lambda self: self.mine)
    @rule(data=st.data(), behind=st.sampled_from((-1, 1)))
    def propose_on_another_version(self, data: st.DataObject, behind: int) -> None:
        case_id = data.draw(st.sampled_from(self.cases), label="case")
        accepted = self._propose(data, case_id, behind=behind)
        assert not accepted

    @precondition(lambda self: self.mine)
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        """The same action again, on whatever version, gives the first receipt."""
        action_id = data.draw(st.sampled_from(self.mine), label="action")
        signed, first = self.world.accepted[action_id]
        agency = signed_action.read(signed).agency
        again = self.world.client(agency).send(signed, first.case_id, first.case_version)
        assert again == first

    @precondition(lambda self: self.mine)
    @rule(data=st.data(), how=st.sampled_from(("sender", "case", "disclosures", "signature")))
    def send_what_was_altered(self, data: st.DataObject, how: str) -> None:
        """Check that an act is refused with another agency, another case or a swapped part."""
        world = self.world
        signed, receipt = world.accepted[data.draw(st.sampled_from(self.mine), label="action")]
        agency = signed_action.read(signed).agency
        sender, case_id = agency, receipt.case_id
        # The node of the agency's own country may pass on what is bare of disclosures.
        others = [
            a.id
            for a in world.agencies.protocol.agencies
            if a.id != agency and not (a.role == NODE and a.party == world.party(agency))
        ]
        if how == "sender":
            sender = data.draw(st.sampled_from(others), label="sender")
        elif how == "case":
            case_id = uuid4()
            signed = world.client(agency).sign(action_of(signed), uuid4())
        elif how == "disclosures":
            # Another salt: the same value, but not what was signed.
            fresh = world.client(agency).sign(
                action_of(signed),
                case_id,
                uuid4(),
            )
            if not fresh.disclosures:
                return
            signed = replace(signed, disclosures=fresh.disclosures)
        else:
            action = action_of(signed)
            signed = world.agencies.sign(agency, action, case_id)
            other = world.agencies.sign(agency, action, case_id)
            jwt = signed.jwt.rpartition(".")[0] + "." + other.jwt.rpartition(".")[2]
            signed = replace(signed, jwt=jwt)
        before = world.ledger.head()
        with pytest.raises(RefusedError) as refused:
            world.client(sender).send(signed, case_id, receipt.case_version)
        world.said.append(refused.value.problem.model_dump_json())
        assert world.ledger.head() == before

    def _propose(self, data: st.DataObject, case_id: UUID, *, behind: int) -> bool:
        world = self.world
        self.now += timedelta(hours=1)
        state = world.state(case_id)
        version = state.version if state else 0
        agency, action = data.draw(
            proposals(state, world.agencies.protocol, self.mine[-30:], self.now), label="proposal"
        )
        signed = world.client(agency).sign(action, case_id)
        before = world.ledger.head()
        accepted = world.send(agency, signed, case_id, abs(version - behind))
        after = world.ledger.head()
        assert after == before + accepted
        if accepted:
            self.mine.append(signed_action.read(signed).id)
        return accepted

    def teardown(self) -> None:
        world = self.world
        position = world.ledger.head()
        wait_for(world.views, position)
        protocol = world.agencies.protocol
        for case_id in self.cases:
            trail = world.views.trail(case_id)
            folded = state_after(trail)
            state = world.state(case_id)
            assert state_document(folded) == state_document(state)
            assert folded == state
            assert [e.version for e in trail] == list(range(1, len(trail) + 1))
            assert {e.signature for e in trail} <= {"valid"}
            seeing = viewers(folded) if folded else ()
            for viewer in (*protocol.party_codes, "oversight"):
                shown = world.views.case(viewer, case_id)
                if folded is None or viewer not in seeing:
                    assert shown is None
                else:
                    case = world.ledger.case(case_id)
                    assert case is not None
                    told = case_view(folded, viewer, Agreement.of(protocol), case.history)
                    assert shown == told


@pytest.fixture
def world(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[World]:
    with serving(database, agencies) as server, Database(database) as pool:
        yield World(server, ledger, ViewReader(pool))


def test_any_sequence_of_valid_and_invalid_actions(world: World, database: str) -> None:
    class Machine(AnySequence):
        pass

    Machine.world = world
    with everything_logged() as logged:
        # So that every country has a value of its own in its vault, whatever is drawn.
        for agency in ("xk-dhtqnj", "me-police-thb", "al-police-thb"):
            case = uuid4()
            action = opening((world.party(agency),), first_name=f"zq{secrets.token_hex(8)}")
            assert world.send(agency, world.client(agency).sign(action, case), case, 0)
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=SEQUENCES,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                phases=(Phase.generate,),  # every sequence goes into one ledger: nothing to shrink
                suppress_health_check=list(HealthCheck),
            ),
        )
    for name in VIEWS:
        before = rows_of(database, name)
        rebuild(database, name)
        assert rows_of(database, name) == before
        assert before
    check_where_values_are(world, database)
    for told in (logged.getvalue(), "\n".join(world.said), server_log(database)):
        assert not found_in(world.marks, told)
    # All this would hold of nothing: see that much was said, accepted and refused.
    assert "request" in logged.getvalue()
    assert len(world.accepted) > 3 * SEQUENCES
    assert len(world.said) > SEQUENCES
    kinds = {signed_action.read(signed).kind for signed, _ in world.accepted.values()}
    assert len(kinds) > min(len(CASE_ACTIONS), SEQUENCES) / 2


def check_where_values_are(world: World, database: str) -> None:
    """Each value opens in its own country's vault alone; in clear none of them is anywhere."""
    assert tables_with(database, world.marks) == {}
    parties = world.agencies.protocol.party_codes
    cases = {receipt.case_id for _, receipt in world.accepted.values()}
    with Database(database) as pool:
        vaults = Vaults(
            pool, person_keys(world.server.settings, country_keys(world.server.settings, parties))
        )
        opened = {
            party: "\n".join(
                held.encoded for case_id in cases for held in everything(vaults.of(party), case_id)
            )
            for party in parties
        }
    for party in parties:
        disclosed = "\n".join(
            disclosure.encoded
            for signed, _ in world.accepted.values()
            if world.party(signed_action.read(signed).agency) == party
            for disclosure in signed.disclosures
        )
        own = found_in(world.marks, disclosed)
        assert own
        assert found_in(world.marks, opened[party]) == own
