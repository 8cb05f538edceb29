"""The rules under random walks: what must hold of a case whatever its agencies propose."""

import os
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, event, given, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from api.demo.story import STORY
from ledger.events.act import Act
from ledger.events.event import ActionRecorded
from ledger.procedure.agreement import Agreement
from ledger.procedure.case import Case, decide
from ledger.procedure.case_fold import CHANGES_PARTIES, fold
from ledger.procedure.case_rules import _AFTER_MERGE
from ledger.procedure.protocol import OVERSIGHT
from ledger.refusals import Refusal
from ledger.signing import signed_action
from ledger.signing.sd_jwt import _unb64
from ledger.signing.signed_action import SignedAction
from ledger.vocabulary import CASE_ACTIONS, Action
from tests.support.agencies import Agencies
from tests.support.counterparts import counterparts
from tests.support.strategies import actions, found_in, markers, proposals

AGENCIES = Agencies()
SECOND_PERSONS = Agencies()
"""The same agencies, each with another person's key."""
PROTOCOL = AGENCIES.protocol
AGENCY_IDS = tuple(agency.id for agency in PROTOCOL.agencies)
START = datetime(2026, 1, 5, 8, tzinfo=UTC)
SEEKING = int(os.environ.get("CASE_LEDGER_TEST_SEEKING_WALKS", "16"))
"""So many rounds of walks seek every kind. With 50 they must find all, with fewer seven in eight,
and end once they do."""
MORE_ROUNDS = 4
"""A round is random: the ids of actions are. A kind that no round found by chance is sought for so
many times as many rounds, which seek it and what comes before it alone."""
WALKS = int(os.environ.get("CASE_LEDGER_TEST_WALKS", "8"))
CHAINS = (
    (frozenset({"erasure_proposed", "erasure_approved", "erasure_confirmed"}), "case_closed"),
    (
        frozenset({"destruction_proposed", "destruction_approved", "destruction_confirmed"}),
        "correction",
    ),
    (frozenset({"appeal_filed", "appeal_decided"}), "not_a_victim"),
    (
        frozenset({"merge_proposed", "merge_accepted", "case_merged", "merge_undone"}),
        "merge_proposed",
    ),
)
"""Kinds that follow each other, with the kind that must come before them."""
SECOND = frozenset({"erasure_approved", "destruction_approved"})
"""Kinds that a second person signs."""
BEGUN = ("", "A.return_accepted", "A.plan_agreed", "A.handover_recorded")
"""Where the walks begin that are to reach every kind: a return has many steps."""
HEALTH = (HealthCheck.too_slow, HealthCheck.data_too_large)


class Walk:
    """One case, to which agencies propose action after action."""

    def __init__(self) -> None:
        self.case_id = uuid4()
        self.case: Case | None = None
        self.events: list[ActionRecorded] = []
        self.acts: list[Act] = []
        self.now = START

    def draw(self, data: st.DataObject, wanted: Collection[str] = ()) -> tuple[str, Action]:
        """Draw the next act that an agency proposes, most often at the time that it acts."""
        self.now += timedelta(hours=1)
        ago = data.draw(st.sampled_from((0,) * 9 + (1, 30, -1)), label="hours ago")
        known = [recorded.action.id for recorded in self.events]
        state = self.case.state if self.case else None
        acted_at = self.now - timedelta(hours=ago)
        annulled = self.annulled()
        signed = {
            act.id: (PROTOCOL.agencies_by_id[act.agency].party, sorted(act.digests))
            for act in self.acts
            if act.id not in annulled
        }
        gone = {act.id: act.agency for act in self.acts if act.id in annulled and act.digests}
        history = self.case.history if self.case else {}
        drawn = proposals(state, PROTOCOL, known, acted_at, signed, wanted, gone, history)
        return data.draw(drawn, label="proposal")

    def follow_story(self, upto: str) -> None:
        """Take the story's steps in case A up to one, as agreed by both countries."""
        ids: dict[str, UUID] = {}
        for step in (one for one in STORY if one.case == "A"):
            action = step.action(ids)
            self.now = action.acted_at
            assert self.propose(step.agency, action), step.name
            ids[step.name] = self.events[-1].action.id
            if step.name == upto:
                return

    def propose(self, agency: str, action: Action) -> bool:
        """Return whether the action is accepted. Any exception but a refusal is an error."""
        signed = sign(agency, action, self.case_id)
        try:
            others = counterparts(signed.kind, self.case.state if self.case else None, PROTOCOL)
            accepted = decide(self.case, signed, self.case_id, PROTOCOL, self.now, others=others)
        except Refusal as refusal:
            check_refusal(refusal, markers(action))
            return False
        self.check_procedure(signed)
        self.record(accepted)
        return True

    def check_procedure(self, accepted: SignedAction) -> None:
        """Check an accepted action against the acts recorded before it."""
        assert (
            self.case is None
            or self.case.state.merged_into is None
            or (accepted.kind in (*_AFTER_MERGE, "identity_recorded"))
        )
        if self.is_closed() and self.case and self.case.state.merged_into is None:
            assert PROTOCOL.actions[accepted.kind].on_closed_case
        if accepted.kind in SECOND:
            proposal = next(a for a in self.acts if str(a.id) == accepted.fields["proposal"])
            author, second = (PROTOCOL.agencies_by_id[a.agency] for a in (proposal, accepted))
            assert author.id != second.id
            assert author.party != second.party or second.role == OVERSIGHT
            assert proposal.key_id != accepted.key_id
        if accepted.kind == "received":
            assert PROTOCOL.agencies_by_id[accepted.agency].party == self.on_the_way_to()

    def annulled(self) -> set[UUID]:
        return {
            UUID(act.fields["corrects"])
            for act in self.acts
            if act.kind == "correction" and act.fields["effect"] == "annulled"
        }

    def is_closed(self) -> bool:
        closed, annulled = False, self.annulled()
        for act in self.acts:
            if act.id not in annulled:
                closed = act.kind not in ("case_reopened", "received") and (
                    closed or act.kind == "case_closed"
                )
        return closed

    def on_the_way_to(self) -> str | None:
        """The destination decided before the departure, if the person has yet to arrive.

        Where the decision is annulled after the departure, the way still leads there.
        """
        decided, on_the_way_to, annulled = None, None, self.annulled()
        for act in self.acts:
            stands = act.id not in annulled
            if act.kind == "return_decided":
                decided = act.fields["destination"]
            if stands and act.kind == "return_cancelled":
                decided = None
            if stands and act.kind == "departed":
                on_the_way_to = decided
            elif stands and act.kind in ("return_decided", "received", "return_cancelled"):
                on_the_way_to = None
        return on_the_way_to

    def record(self, accepted: ActionRecorded) -> None:
        """Give the event its place, and check that both ways of folding agree."""
        version = len(self.events) + 1
        assert (accepted.originator_id, accepted.originator_version) == (self.case_id, version)
        position = 3 * version  # other cases' events lie between
        recorded = ActionRecorded(
            self.case_id, version, accepted.action, position, self.now + timedelta(seconds=1)
        )
        project = Case.projector(Agreement.of(PROTOCOL))
        before = self.case.state.parties if self.case else None
        self.case = project(self.case, [recorded])
        self.events.append(recorded)
        self.acts.append(recorded.as_act())
        assert self.case is not None
        assert self.case.state == fold(self.acts, Agreement.of(PROTOCOL))
        assert list(self.case.history.values()) == self.acts
        assert (self.case.state.version, self.case.state.position) == (version, position)
        if self.case.state.parties != before:
            assert accepted.action.kind in CHANGES_PARTIES


def check_refusal(refusal: Refusal, marks: frozenset[str]) -> None:
    assert refusal.rule
    assert refusal.message
    told = f"{refusal} {refusal.rule} {refusal.message} {refusal.field}"
    assert not found_in(marks, told)


def sign(agency: str, action: Action, case_id: UUID) -> SignedAction:
    """Sign and read back, checking that nothing is lost and that nothing shows."""
    signs = SECOND_PERSONS if action.kind in SECOND else AGENCIES
    parsed = signed_action.parse(str(signs.sign(agency, action, case_id)))
    signed = signed_action.read(parsed)
    assert signed_action.check_disclosures(signed, parsed.disclosures) == action
    assert signed_action.read_recorded(signed.sd_jwt) == signed
    marks = markers(action)
    assert found_in(marks, str(parsed)) == marks
    header, payload, _ = signed.sd_jwt.rstrip("~").split(".")
    for shown in (signed.sd_jwt, _unb64(header), _unb64(payload), repr(signed)):
        assert not found_in(marks, shown)
    return signed


class AnyWalk(RuleBasedStateMachine):
    """Whatever agencies propose, the checks of :class:`Walk` hold."""

    def __init__(self) -> None:
        super().__init__()
        self.walk = Walk()

    @rule(data=st.data())
    def propose(self, data: st.DataObject) -> None:
        agency, action = self.walk.draw(data)
        accepted = self.walk.propose(agency, action)
        event(f"{action.kind} {'accepted' if accepted else 'refused'}")

    def teardown(self) -> None:
        event(f"{len(self.walk.events) // 10 * 10} acts or more")


TestAnyWalk = AnyWalk.TestCase
TestAnyWalk.settings = settings(
    max_examples=WALKS, stateful_step_count=50, deadline=None, suppress_health_check=HEALTH
)


def test_walks_reach_every_kind_of_action() -> None:
    """Without this, the checks above could hold because nothing is ever accepted."""
    proposed: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    may_miss = 0 if SEEKING >= 50 else len(CASE_ACTIONS) // 8

    def play(data: st.DataObject) -> None:
        walk = Walk()
        # A number that no other walk draws: what is wanted depends on the walks before.
        if upto := BEGUN[data.draw(st.integers(0, 2**62)) % len(BEGUN)]:
            walk.follow_story(upto)
        for _ in range(45):
            wanted = CASE_ACTIONS.keys() - accepted.keys()
            for kinds, first in CHAINS:
                if wanted & kinds:
                    wanted |= {first, *kinds}
            agency, action = walk.draw(data, wanted)
            proposed[action.kind] += 1
            if walk.propose(agency, action):
                accepted[action.kind] += 1

    some_walks = settings(
        max_examples=3,
        database=None,
        phases=(Phase.generate,),
        deadline=None,
        suppress_health_check=HEALTH,
    )
    for number in range(SEEKING * MORE_ROUNDS):
        seed(number)(some_walks(given(data=st.data())(play)))()
        missed = sorted(kind for kind in CASE_ACTIONS if not accepted[kind])
        if len(missed) <= may_miss:
            break
    assert len(missed) <= may_miss, missed
    assert 0.5 < accepted.total() / proposed.total() < 0.9


@pytest.mark.parametrize("kind", CASE_ACTIONS)
@settings(max_examples=10, deadline=None, suppress_health_check=HEALTH)
@given(data=st.data())
def test_an_action_of_any_kind_shows_none_of_its_markers(kind: str, data: st.DataObject) -> None:
    made = actions(
        kind,
        agency_ids=AGENCY_IDS,
        party_codes=PROTOCOL.party_codes,
        known_actions=[uuid4()],
        acted_at=START,
    )
    agency = data.draw(st.sampled_from(AGENCY_IDS))
    sign(agency, data.draw(made), uuid4())
