"""Amendments of the protocol: who adopts a text, from when it judges, and what changes nothing.

Each act is put into a ledger in memory. The registry decides it, a copy judges it again, and the
auditor's script takes it: the three must agree.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from types import ModuleType
from uuid import UUID

import pytest

from ledger.procedure.amendments import AmendmentState, text_digest, text_of
from ledger.procedure.protocol import Protocol, shipped_protocol
from ledger.refusals import Refusal
from ledger.signing import keys
from ledger.verification.revalidation import inspect
from ledger.vocabulary.registration import KeyRegistered, KeyRevoked
from tests.support.actions import opening
from tests.support.agencies import PAST, Agencies
from tests.support.amending import acceptance, amended, declining, proposal, with_agency
from tests.support.parties import AL, ME, XK, Parties, auditor_script
from tests.support.recorded import BEGAN, MemoryLedger

SHELTER = {
    "id": "me-new-shelter",
    "name": "A new shelter",
    "party": "ME",
    "role": "shelter",
    "city": "Podgorica",
}


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    yield from auditor_script("auditor_of_amendments")


@pytest.fixture(scope="module")
def begun() -> MemoryLedger:
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    return ledger


@pytest.fixture
def parties(script: ModuleType, begun: MemoryLedger) -> Parties:
    return Parties(script, begun)


def test_it_is_in_force_once_every_party_accepted_it_and_not_before(parties: Parties) -> None:
    text = with_agency(parties.now, SHELTER)
    proposed = parties.act(XK, proposal(text))
    parties.act(ME, parties.acceptance(proposed, text))
    assert parties.now.version == 1
    assert "me-new-shelter" not in parties.now.agencies_by_id
    parties.act(AL, parties.acceptance(proposed, text))
    assert parties.now == text
    registry = parties.read()
    adopted, last = registry.agreement.latest, parties.ledger.recorded[-1]
    assert (adopted.adopted_at, adopted.earliest) == (last.position, last.recorded_at)
    assert registry.agreement.at(last.position, last.recorded_at).version == 1
    assert [one.state for one in registry.amendments] == [AmendmentState.ADOPTED]


def test_it_waits_for_its_day_and_comes_into_force_by_time_alone(parties: Parties) -> None:
    day = date(2026, 2, 1)
    text = with_agency(parties.now, SHELTER)
    parties.adopt(text, day)
    size = len(parties.ledger.recorded)
    registry = parties.read()
    begins = datetime(2026, 1, 31, 23, tzinfo=UTC)  # 1 February in each of the three countries
    assert registry.next_protocol(begins - timedelta(seconds=1)).version == 1
    assert registry.next_protocol(begins) == text
    grant = parties.agencies.grant("me-police-thb")
    new = grant.model_copy(update={"agency": "me-new-shelter"})
    assert parties.refused(ME, KeyRegistered(acted_at=PAST, grant=new)) == "unknown-agency"
    parties.ledger.now = begins
    parties.agencies.keys["me-new-shelter"] = keys.generate()
    parties.act(ME, KeyRegistered(acted_at=PAST, grant=parties.agencies.grant("me-new-shelter")))
    assert parties.read().agreement.at(size + 1, begins) == text


def test_an_event_before_it_is_judged_by_the_old_text(parties: Parties) -> None:
    case_id, early = UUID(int=1), UUID(int=2)
    parties.ledger.take("xk-dhtqnj", opening(("ME",)), early)
    base = parties.now
    rules = text_of(base)["actions"]
    closed = rules["case_opened"] | {"roles": ["coordinator"]}
    parties.adopt(amended(base, actions=rules | {"case_opened": closed}))
    parties.ledger.take(XK, opening(("ME",)), case_id)
    parties.read()
    parties.ledger.take("xk-dhtqnj", opening(("ME",)), UUID(int=3))
    row = parties.ledger.recorded[-1]
    assert list(parties.replay.judge(row.position, inspect(row), parties.ledger.root)) == [
        "the rules refuse it (role)"
    ]


def test_a_declined_or_withdrawn_proposal_is_closed(parties: Parties) -> None:
    text = with_agency(parties.now, SHELTER)
    proposed = parties.act(XK, proposal(text))
    parties.act(ME, declining(proposed, text))
    assert parties.refused(AL, parties.acceptance(proposed, text)) == "unknown-amendment"
    again = parties.act(XK, proposal(text))
    parties.act(XK, declining(again, text))
    assert parties.refused(AL, declining(again, text)) == "unknown-amendment"
    assert parties.now.version == 1
    states = [(one.state, one.declined_by) for one in parties.read().amendments]
    assert states == [(AmendmentState.DECLINED, "ME"), (AmendmentState.DECLINED, "XK")]


def test_of_two_proposals_one_is_adopted_and_the_other_lapses(parties: Parties) -> None:
    one, other = with_agency(parties.now, SHELTER), amended(parties.now, title="Another title")
    first, second = parties.act(XK, proposal(one)), parties.act(ME, proposal(other))
    parties.act(AL, parties.acceptance(first, one))
    parties.act(AL, parties.acceptance(second, other))
    parties.act(XK, parties.acceptance(second, other))
    assert parties.now == other
    assert parties.refused(ME, parties.acceptance(first, one)) == "unknown-amendment"
    states = {one.proposal: one.state for one in parties.read().amendments}
    assert states == {first: AmendmentState.LAPSED, second: AmendmentState.ADOPTED}
    # What it proposed amends a version that is not the newest any more.
    assert parties.refused(XK, proposal(one)) == "amendment"


def test_a_newer_proposal_of_a_party_supersedes_its_own(parties: Parties) -> None:
    one, other = with_agency(parties.now, SHELTER), amended(parties.now, title="Another title")
    first = parties.act(XK, proposal(one))
    parties.act(XK, proposal(other))
    assert parties.refused(ME, parties.acceptance(first, one)) == "unknown-amendment"


def test_nobody_but_a_coordinator_with_a_key_that_counts(parties: Parties) -> None:
    text = with_agency(parties.now, SHELTER)
    assert parties.refused("xk-dhtqnj", proposal(text)) == "coordinators-only"
    proposed = parties.act(XK, proposal(text))
    assert (
        parties.refused("me-police-thb", parties.acceptance(proposed, text)) == "coordinators-only"
    )
    assert parties.refused(XK, parties.acceptance(proposed, text)) == "amendment-accepted"
    old = keys.key_id(parties.agencies.keys[ME])
    new = keys.generate()
    parties.act(ME, KeyRegistered(acted_at=PAST, grant=parties.agencies.grant(ME, new)))
    parties.act(ME, KeyRevoked(acted_at=PAST, key_id=old))
    assert parties.refused(ME, parties.acceptance(proposed, text)) == "revoked-key"
    assert parties.now.version == 1
    parties.agencies.keys[ME] = new
    parties.act(ME, parties.acceptance(proposed, text))
    parties.act(AL, parties.acceptance(proposed, text))
    assert parties.now == text


def test_a_former_coordinator_adopts_nothing(parties: Parties) -> None:
    """The coordinator's role moves to another agency; the former one decides nothing any more."""
    base = parties.now
    agencies = [
        one | {"role": {ME: "ngo", "me-police-thb": "coordinator"}.get(one["id"], one["role"])}
        for one in text_of(base)["agencies"]
    ]
    parties.adopt(amended(base, agencies=agencies))
    text = amended(parties.now, title="Another title")
    proposed = parties.act(XK, proposal(text))
    assert parties.refused(ME, parties.acceptance(proposed, text)) == "coordinators-only"
    parties.act("me-police-thb", parties.acceptance(proposed, text))
    parties.act(AL, parties.acceptance(proposed, text))
    assert parties.now == text


def test_a_stolen_keys_proposal_changes_nothing_alone(parties: Parties) -> None:
    base = parties.now
    mine = {**text_of(base)["access"], "coordinator": {"read": ["whereabouts"]}}
    parties.act(XK, proposal(amended(base, access=mine)))
    assert parties.now == base


def test_a_digest_of_another_text_is_refused(parties: Parties) -> None:
    text, other = with_agency(parties.now, SHELTER), amended(parties.now, title="Another title")
    wrong = text_digest(text_of(other))
    assert parties.refused(XK, proposal(text, digest=wrong)) == "amendment-digest"
    proposed = parties.act(XK, proposal(text))
    assert parties.refused(ME, parties.acceptance(proposed, other)) == "amendment-digest"
    assert parties.refused(ME, declining(proposed, other)) == "amendment-digest"


def test_an_acceptance_counts_in_the_history_of_its_checkpoint_alone(parties: Parties) -> None:
    text = with_agency(parties.now, SHELTER)
    proposed = parties.act(XK, proposal(text))
    ledger = parties.ledger
    size, right = ledger.head(), ledger.named()
    for rule, words, checkpoint in (
        ("vote-checkpoint", "names no checkpoint", None),
        ("vote-checkpoint", "has not the proposal", ledger.named(size - 1)),
        ("another-history", "another root", right.model_copy(update={"root": "0" * 64})),
        ("another-history", "has fewer", right.model_copy(update={"size": size + 1})),
    ):
        with pytest.raises(Refusal, match=words) as refused:
            parties.act(ME, acceptance(proposed, text, checkpoint))
        assert (refused.value.rule, refused.value.field) == (rule, "act.checkpoint")
    parties.act(ME, acceptance(proposed, text, right))
    parties.act(AL, acceptance(proposed, text, right))
    assert parties.now == text


def test_an_acceptance_by_edition_1_needs_no_checkpoint(script: ModuleType) -> None:
    old = text_of(shipped_protocol()) | {"edition": 1}
    ledger = MemoryLedger(Agencies(Protocol.model_validate(old)))
    ledger.begin()
    parties = Parties(script, ledger)
    text = with_agency(parties.now, SHELTER)
    proposed = parties.act(XK, proposal(text))
    parties.act(ME, acceptance(proposed, text, None))
    parties.act(AL, acceptance(proposed, text, parties.ledger.named(1)))
    assert parties.now == text


@pytest.mark.parametrize("how", ["missing acceptance", "digest", "half", "none", "early"])
def test_a_copy_finds_a_version_that_the_ledger_node_smuggles_in(
    parties: Parties, how: str
) -> None:
    text, other = with_agency(parties.now, SHELTER), amended(parties.now, title="Another title")
    proposed = parties.act(XK, proposal(text))
    match how:
        case "missing acceptance":  # the proposer's party accepts for the second time
            found = parties.smuggle(XK, parties.acceptance(proposed, text))
            expected = "amendment-accepted"
        case "digest":
            found = parties.smuggle(ME, parties.acceptance(proposed, other))
            expected = "amendment-digest"
        case "none":
            found = parties.smuggle(ME, acceptance(proposed, text, None))
            expected = "vote-checkpoint"
        case "early":
            found = parties.smuggle(ME, acceptance(proposed, text, parties.ledger.named(3)))
            expected = "vote-checkpoint"
        case _:  # by an agency that is no coordinator
            found = parties.smuggle("me-police-thb", parties.acceptance(proposed, text))
            expected = "coordinators-only"
    assert found == [f"the rules refuse it ({expected})"]


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"version": 3}, "version", "set version = 2"),
        ({"id": "another-protocol"}, "id", "keeps its id"),
        ({}, "version", "says the same"),
        ({"edition": 1, "quorum": None}, "edition", "Rules do not go back"),
    ],
)
def test_a_text_that_cannot_follow_is_refused_naming_the_field(
    parties: Parties, change: dict[str, object], field: str, words: str
) -> None:
    changed = text_of(parties.now) | {"version": 2} | change
    text = Protocol.model_validate({k: v for k, v in changed.items() if v is not None})
    with pytest.raises(Refusal, match=words) as refusal:
        parties.act(XK, proposal(text))
    assert refusal.value.field == f"act.protocol.{field}"


def test_what_is_still_needed_stays_in_the_text(parties: Parties) -> None:
    told = text_of(parties.now)
    without = [one for one in told["agencies"] if one["id"] != "me-police-thb"]
    moved = [
        one | {"role": "ngo"} if one["role"] == "coordinator" and one["party"] == "AL" else one
        for one in told["agencies"]
    ]
    rules = {kind: rule for kind, rule in told["actions"].items() if kind != "case_reopened"}
    for change, words in (
        ({"agencies": without}, "me-police-thb cannot be removed"),
        ({"agencies": moved}, "AL would have no coordinator with a key"),
        ({"actions": rules}, "case_reopened cannot be removed"),
    ):
        with pytest.raises(Refusal, match=words):
            parties.act(XK, proposal(amended(parties.now, **change)))


def test_a_text_of_a_later_program_is_no_contradiction(parties: Parties) -> None:
    parties.read()
    later = text_of(parties.now) | {"version": 2, "edition": 99}
    act = proposal(parties.now).model_copy(update={"protocol": later, "digest": text_digest(later)})
    text = parties.agencies.sign(XK, act, None).without_disclosures()
    parties.ledger.put(text, parties.agencies.protocol.ledger_id)
    row = parties.ledger.recorded[-1]
    found = list(parties.replay.judge(row.position, inspect(row), parties.ledger.root))
    assert found == []
    assert parties.replay.newer is None  # its adoption stops this program, and not the proposal


def test_the_earliest_days_never_go_back(parties: Parties) -> None:
    parties.adopt(amended(parties.now, title="In a year"), date(2027, 1, 1))
    newest = parties.read().agreement.latest.protocol
    assert newest.version == 2
    text = amended(newest, title="Sooner")
    assert parties.refused(XK, proposal(text, date(2026, 12, 31))) == "amendment-day"
    assert parties.refused(XK, proposal(text)) == "amendment-day"
    parties.adopt(text, date(2027, 1, 1))
    assert parties.now.version == 1
    assert parties.read().next_protocol(BEGAN + timedelta(days=400)) == text
