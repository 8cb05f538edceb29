"""A party that is away: announced, counted, ended by any act, and what is voted without it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from ledger.log.note import SignatureType
from ledger.log.policy import Policy, TrustedWitness
from ledger.procedure import registry as registries
from ledger.procedure.protocol import Protocol, shipped_protocol
from ledger.procedure.registry import Registry
from ledger.refusals import Refusal
from ledger.signing import keys, signed_action
from ledger.vocabulary import Action
from ledger.vocabulary.picklists import VoteSubject
from ledger.vocabulary.registration import (
    AbsenceAnnounced,
    KeyRegistered,
    LogPolicyAdopted,
    NamedCheckpoint,
    PresenceDeclared,
    ReadingsAnchored,
)
from projections.folds.audit_trail import registry_document
from tests.support.agencies import PAST, Agencies
from tests.support.logs import ORIGIN, PARTIES, signer

NOTICE = timedelta(days=14)
BOTH = (VoteSubject.LOG_KEY, VoteSubject.WITNESSES)


@dataclass
class Acts:
    """A registry, to which acts are recorded at chosen times, each decided as the ledger does."""

    agencies: Agencies
    registry: Registry
    at: datetime = PAST
    position: int = 1
    witnesses: dict[str, TrustedWitness] = field(
        default_factory=lambda: {
            p: TrustedWitness(
                signer(f"{ORIGIN}/{p}", SignatureType.COSIGNATURE).verifier, f"https://{p}.example"
            )
            for p in PARTIES
        }
    )

    def record(self, agency: str, action: Action, after: timedelta = timedelta(0)) -> Registry:
        signed = signed_action.read(self.agencies.sign(agency, action, None))
        self.at += after
        registries.decide(self.registry, signed, self.at)
        self.position += 1
        self.registry = registries.evolve(self.registry, signed, self.at, self.position)
        return self.registry

    def refused(self, agency: str, action: Action, after: timedelta = timedelta(0)) -> str:
        self.at += after
        with pytest.raises(Refusal) as refusal:
            self.record(agency, action)
        return refusal.value.rule

    def policy(self, threshold: int = 2, **changed: TrustedWitness) -> Policy:
        return Policy.of(KEY.verifier, {**self.witnesses, **changed}, threshold)


KEY = signer()
ANY_CHECKPOINT = NamedCheckpoint(size=1, root="0" * 64)
"""No tree is at hand here to hold it against."""


def begun(protocol: Protocol) -> Acts:
    agencies = Agencies(protocol)
    adoption = signed_action.read(agencies.adoption())
    registries.decide(None, adoption, PAST)
    acts = Acts(agencies, registries.evolve(None, adoption, PAST, 1))
    nodes = [a.id for a in protocol.agencies if a.role == "node"]
    for node in nodes:
        own, _ = agencies.coordinators_for(node)
        acts.record(own, KeyRegistered(acted_at=PAST, grant=agencies.grant(node)))
    return acts


@pytest.fixture
def acts() -> Acts:
    """A policy that needs all three witnesses is in force: what Albania's absence would block."""
    made = begun(shipped_protocol())
    for coordinator in ("xk-nac", "me-nac", "al-nac"):
        made.record(coordinator, vote(made.policy(3)))
    return made


def vote(policy: Policy, *without: str) -> LogPolicyAdopted:
    return LogPolicyAdopted(
        acted_at=PAST, policy=str(policy), without=without or None, checkpoint=ANY_CHECKPOINT
    )


def absent(party: str = "AL", *subjects: VoteSubject) -> AbsenceAnnounced:
    return AbsenceAnnounced(acted_at=PAST, party=party, subjects=subjects or BOTH)


def key_of(acts: Acts) -> KeyRegistered:
    return KeyRegistered(acted_at=PAST, grant=acts.agencies.grant("al-spak", keys.generate()))


def test_two_of_three_lower_the_quorum_once_the_notice_is_over(acts: Acts) -> None:
    lower = acts.policy(2)
    assert acts.refused("xk-nac", vote(lower, "AL")) == "not-absent"
    acts.record("xk-nac", absent())
    assert acts.refused("xk-nac", vote(lower, "AL"), NOTICE - timedelta(seconds=1)) == "not-absent"
    acts.record("xk-nac", vote(lower, "AL"), timedelta(seconds=1))
    assert len(acts.registry.policies) == 1  # one party alone decides nothing
    registry = acts.record("me-nac", vote(lower, "AL"))
    agreed = registry.policies[-1]
    assert (str(agreed.policy), agreed.without, agreed.recorded_at) == (
        str(lower),
        {"AL"},
        acts.at,
    )
    assert agreed.since == acts.position
    assert registry.proposed == {}


@pytest.mark.parametrize("act", ["presence", "node", "any act", "anchor"])
@pytest.mark.parametrize("days", [1, 20])
def test_any_act_of_the_party_ends_its_absence(acts: Acts, act: str, days: int) -> None:
    lower = acts.policy(2)
    acts.record("me-nac", absent())
    if days > NOTICE.days:
        acts.record("me-nac", vote(lower, "AL"), timedelta(days=days))
    acted: dict[str, tuple[str, Action]] = {
        "presence": ("al-nac", PresenceDeclared(acted_at=PAST)),
        "node": ("al-node", PresenceDeclared(acted_at=PAST)),
        "any act": ("al-nac", key_of(acts)),
        "anchor": ("al-node", ReadingsAnchored(acted_at=PAST, entries=1, head="0" * 64)),
    }
    registry = acts.record(*acted[act])
    assert [one.ended_at for one in registry.announced] == [acts.position]
    assert registry.proposed == {}
    assert acts.refused("xk-nac", vote(lower, "AL"), 2 * NOTICE) == "not-absent"
    # Announced again, all the days count again.
    acts.record("xk-nac", absent())
    assert acts.refused("xk-nac", vote(lower, "AL"), timedelta(days=13)) == "not-absent"
    acts.record("xk-nac", vote(lower, "AL"), timedelta(days=1))


def test_only_what_was_announced_is_voted_on(acts: Acts) -> None:
    acts.record("xk-nac", absent("AL", VoteSubject.WITNESSES))
    taken_over = Policy.of(signer().verifier, acts.witnesses, 3)
    assert acts.refused("xk-nac", vote(taken_over, "AL"), NOTICE) == "not-absent"
    acts.record("xk-nac", absent("AL", VoteSubject.LOG_KEY))
    assert acts.refused("me-nac", absent("AL", VoteSubject.LOG_KEY)) == "absence-announced"
    # Adopted alone, the same witnesses with another key need no word on witnesses.
    acts.record("xk-nac", vote(taken_over, "AL"), NOTICE)


def test_the_absent_party_keeps_its_witness_and_its_weight(acts: Acts) -> None:
    acts.record("xk-nac", absent())
    acts.at += NOTICE
    other = TrustedWitness(signer(f"{ORIGIN}/AL", SignatureType.COSIGNATURE).verifier)
    without_it = {p: w for p, w in acts.witnesses.items() if p != "AL"}
    moved = TrustedWitness(acts.witnesses["AL"].key, "https://elsewhere.example")
    rest = Policy.of(KEY.verifier, without_it, 2)
    refused = {
        str(acts.policy(2, AL=other)): "absent-witness-stays",
        str(acts.policy(2, AL=moved)): "absent-witness-stays",
        str(rest): "absent-witness-stays",
        str(acts.policy(1)): "quorum-stays",
        str(acts.policy(2)).replace("group parties 2 AL ME XK", "group parties 2 ME XK"): (
            "quorum-stays"
        ),
        str(acts.policy(2)).replace("quorum parties", "quorum XK"): "quorum-stays",
    }
    for text, rule in refused.items():
        action = vote(Policy.parse(text), "AL")
        assert acts.refused("xk-nac", action) == rule, text
    # All three together may agree on anything, as before.
    for coordinator in ("xk-nac", "me-nac", "al-nac"):
        acts.record(coordinator, vote(acts.policy(1, AL=other)))
    assert acts.registry.policies[-1].without == frozenset()


def test_who_may_announce_and_vote_without_whom(acts: Acts) -> None:
    assert acts.refused("al-nac", absent()) == "other-parties-coordinators"
    assert acts.refused("xk-node", absent()) == "other-parties-coordinators"
    assert acts.refused("xk-nac", absent("RS")) == "unknown-party"
    assert acts.refused("xk-nac", PresenceDeclared(acted_at=PAST)) == "not-announced"
    acts.record("xk-nac", absent("AL"))
    acts.record("me-nac", absent("XK"))
    acts.at += NOTICE
    lower = acts.policy(2)
    # The act by which Montenegro announced counts: it is there, and no one decides alone.
    assert acts.refused("me-nac", vote(lower, "AL", "XK")) == "too-few-parties"
    assert acts.refused("me-nac", vote(lower, "ME")) == "absent-parties"
    assert acts.refused("me-nac", vote(lower, "RS")) == "absent-parties"
    acts.record("me-nac", vote(lower, "AL"))
    acts.record("xk-nac", vote(lower, "AL"))
    assert [one.party for one in acts.registry.announced if one.ended_at is None] == ["AL"]


def test_a_vote_of_the_absent_party_after_all_makes_it_unanimous(acts: Acts) -> None:
    acts.record("xk-nac", absent())
    lower = acts.policy(2)
    acts.record("xk-nac", vote(lower, "AL"), NOTICE)
    acts.record("al-nac", vote(lower))
    # Its return ended the vote without it; the others adopt the policy with it.
    assert set(acts.registry.proposed) == {"AL"}
    acts.record("xk-nac", vote(lower))
    assert acts.record("me-nac", vote(lower)).policies[-1].without == frozenset()


def test_without_a_recorded_policy_nobody_is_left_out() -> None:
    acts = begun(shipped_protocol())
    acts.record("xk-nac", absent())
    assert acts.refused("xk-nac", vote(acts.policy(2), "AL"), NOTICE) == "no-recorded-policy"


def changed_protocol(**changes: object) -> Protocol:
    content = shipped_protocol().model_dump(mode="json", exclude_none=True)
    return Protocol.model_validate({**content, **changes})


@pytest.mark.parametrize(
    ("earlier_rules", "announcing"),
    [({"quorum": None}, "every-party-decides"), ({"edition": 1}, "edition")],
)
def test_a_protocol_without_a_quorum_needs_every_party(
    earlier_rules: dict[str, object], announcing: str
) -> None:
    earlier = begun(changed_protocol(**earlier_rules))
    assert earlier.registry.directory.publishing_parties == 3
    for coordinator in ("xk-nac", "me-nac", "al-nac"):
        earlier.record(coordinator, vote(earlier.policy(3)))
    assert earlier.refused("xk-nac", absent()) == announcing
    assert earlier.refused("xk-nac", vote(earlier.policy(2), "AL")) == "every-party-decides"


@pytest.mark.parametrize(
    ("quorum", "said"),
    [
        ({"witnesses": 1, "coordinators": 2}, "no majority"),
        ({"witnesses": 2, "coordinators": 1}, "no majority"),
        ({"witnesses": 4, "coordinators": 2}, "more than there are parties"),
        ({"witnesses": 2, "coordinators": 2, "notice_days": 6}, "greater than or equal to 7"),
    ],
)
def test_numbers_that_could_be_abused_are_refused(quorum: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        changed_protocol(quorum=quorum)


def test_of_two_parties_one_is_no_majority_unless_the_protocol_says_so() -> None:
    content = shipped_protocol().model_dump(mode="json", exclude_none=True)
    two = {
        "parties": [p for p in content["parties"] if p["code"] != "AL"],
        "agencies": [a for a in content["agencies"] if a["party"] != "AL"],
        "actions": {
            kind: rule | {"by": [one for one in rule["by"] if "AL" not in one["parties"]]}
            for kind, rule in content["actions"].items()
        },
        **{
            part: [
                one
                for one in content[part]
                if "AL" not in (one.get("party"), *one.get("parties", ()))
            ]
            for part in ("reflection", "shelter_exits", "expected")
        },
    }
    alone = {"witnesses": 1, "coordinators": 1}
    assert changed_protocol(**two, quorum={"witnesses": 2, "coordinators": 2}).quorum
    with pytest.raises(ValueError, match="no majority"):
        changed_protocol(**two, quorum=alone)
    assert changed_protocol(**two, quorum={**alone, "minority": True}).publishing_parties == 1


def test_the_trail_tells_who_is_announced_and_what_was_decided_without_it(acts: Acts) -> None:
    assert {"absences", "log_policy_without"}.isdisjoint(registry_document(acts.registry))
    announced = registry_document(acts.record("xk-nac", absent()))["absences"]
    assert [(one["party"], one["by"]) for one in announced.values()] == [("AL", "xk-nac")]
    acts.record("xk-nac", vote(acts.policy(2), "AL"), NOTICE)
    decided = registry_document(acts.record("me-nac", vote(acts.policy(2), "AL")))
    assert decided["log_policy_without"] == ["AL"]
    ended = registry_document(acts.record("al-node", PresenceDeclared(acted_at=PAST)))
    assert "absences" not in ended
