"""Attacks on the agreement through the API of a running node: who changes the rules, and how.

All use one node. The last test spoils its ledger.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest

from api.client import RefusedError
from ledger.procedure import registry as registries
from ledger.procedure.amendments import text_digest, text_of
from ledger.procedure.protocol import Protocol
from ledger.signing import keys
from ledger.verification.evidence_reader import kept_in, stored_rows
from ledger.verification.verification import verify_ledger
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import MeetingHeld
from ledger.vocabulary.registration import (
    AgencyRegistered,
    AgencyRetired,
    KeyRegistered,
    KeyRevoked,
    NamedCheckpoint,
)
from tests.attacks.conftest import attacked
from tests.attacks.target import KOSOVO, MONTENEGRO, Target
from tests.support.actions import START
from tests.support.agencies import PAST, Agencies
from tests.support.amending import acceptance, amended, declining, proposal, with_agency

XK, ME, AL = "xk-nac", "me-nac", "al-nac"


@dataclass
class Attack:
    """A running node, and what its agencies sign against it."""

    target: Target

    @property
    def agencies(self) -> Agencies:
        return self.target.server.agencies

    @property
    def text(self) -> Protocol:
        """The newest text that every party adopted."""
        with self.target.server.client(XK) as client:
            return Protocol.model_validate(client.protocol_versions()[-1].text)

    def named(self) -> NamedCheckpoint:
        """The checkpoint of the whole ledger as it is now."""
        tree = self.target.server.node.ledger.rows.tree()
        return NamedCheckpoint(size=tree.size, root=tree.root(tree.size).hex())

    def acts(self, agency: str, action: Action) -> UUID:
        with self.target.server.client(agency) as client:
            return client.append_to_registry(action).action_id

    def accepts(self, agency: str, proposed: UUID, text: Protocol) -> UUID:
        return self.acts(agency, acceptance(proposed, text, self.named()))

    def adopts(self, text: Protocol, first: str = XK, others: tuple[str, ...] = (ME, AL)) -> None:
        proposed = self.acts(first, proposal(text))
        for other in others:
            self.accepts(other, proposed, text)
        assert self.text == text

    def refused(self, attempt: Callable[[], object]) -> str:
        """Return the rule by which an attempt is refused. Nothing of it is recorded."""
        before = self.target.server.node.ledger.head()
        with pytest.raises(RefusedError) as refusal:
            attempt()
        assert self.target.server.node.ledger.head() == before
        return str(refusal.value.problem.rule)

    def passed_on(self, agency: str, action: Action) -> Callable[[], object]:
        """The attempt to hand in an act that ``agency`` signed, by its country's node."""
        signed = self.agencies.sign(agency, action, None)
        party = self.text.agencies_by_id[agency].party.lower()

        def attempt() -> object:
            with self.target.server.client(f"{party}-node") as client:
                return client.send_to_registry(signed)

        return attempt


@pytest.fixture(scope="module")
def attack(server: str, begun: str, agencies: Agencies) -> Iterator[Attack]:
    own = Agencies(agencies.protocol, dict(agencies.keys))
    with attacked(server, begun, own) as target:
        yield Attack(target)


def meeting() -> MeetingHeld:
    return MeetingHeld(acted_at=START, host="XK", countries=("XK",), agencies=(KOSOVO,))


def with_right(base: Protocol, kind: str, role: str) -> Protocol:
    """The next text, by which a role may take an action."""
    rules: dict[str, Any] = text_of(base)["actions"]
    roles = [*rules[kind]["roles"], role]
    return amended(base, actions=rules | {kind: rules[kind] | {"roles": roles}})


def test_with_one_acceptance_missing_nothing_changes(attack: Attack) -> None:
    base = attack.text
    text = with_right(base, "meeting_held", "police")
    proposed = attack.acts(XK, proposal(text))
    attack.accepts(ME, proposed, text)
    assert attack.refused(lambda: attack.accepts(XK, proposed, text)) == "amendment-accepted"
    assert attack.refused(lambda: attack.accepts(ME, proposed, text)) == "amendment-accepted"
    for agency in ("al-police-thb", "al-advocate"):
        refused = attack.refused(lambda agency=agency: attack.accepts(agency, proposed, text))
        assert refused == "coordinators-only"
    unnamed = acceptance(proposed, text, None)
    assert attack.refused(lambda: attack.acts(AL, unnamed)) == "vote-checkpoint"
    assert attack.text == base

    def meets() -> object:
        with attack.target.server.client(KOSOVO) as client:
            return client.append(meeting(), attack.target.case, 1)

    assert attack.refused(meets) == "role"
    attack.acts(AL, declining(proposed, text))
    assert attack.refused(lambda: attack.accepts(AL, proposed, text)) == "unknown-amendment"


def test_of_two_proposals_at_once_one_is_adopted(attack: Attack) -> None:
    base = attack.text
    texts = {XK: amended(base, title="One title"), ME: amended(base, title="Another title")}
    with ThreadPoolExecutor(2) as pool:
        proposed = dict(
            zip(
                texts, pool.map(lambda by: attack.acts(by, proposal(texts[by])), texts), strict=True
            )
        )
        for by, text in texts.items():
            attack.accepts(AL, proposed[by], text)

        def last(by: str) -> str | None:
            """The missing party accepts, while the other proposal gets its last word too."""
            try:
                attack.accepts({XK: ME, ME: XK}[by], proposed[by], texts[by])
            except RefusedError as refusal:
                return str(refusal.problem.rule)
            return None

        refused = dict(zip(texts, pool.map(last, texts), strict=True))
    (adopted,) = [by for by, rule in refused.items() if rule is None]
    (lapsed,) = [by for by, rule in refused.items() if rule is not None]
    assert refused[lapsed] == "unknown-amendment"
    assert attack.text == texts[adopted]
    with attack.target.server.client(XK) as client:
        states = {one.proposal: one.state.value for one in client.amendments()}
    assert states[proposed[adopted]] == "adopted"
    assert states[proposed[lapsed]] == "lapsed"


def test_a_digest_of_another_text_is_refused(attack: Attack) -> None:
    base = attack.text
    text, other = amended(base, title="Shown"), with_right(base, "meeting_held", "police")
    wrong = proposal(other, digest=text_digest(text_of(text)))
    assert attack.refused(lambda: attack.acts(XK, wrong)) == "amendment-digest"
    proposed = attack.acts(XK, proposal(other))
    assert attack.refused(lambda: attack.accepts(ME, proposed, text)) == "amendment-digest"
    attack.acts(XK, declining(proposed, other))


def test_no_country_registers_an_agency_of_another_country_or_of_a_party(attack: Attack) -> None:
    def named(agency: str, role: str) -> AgencyRegistered:
        return AgencyRegistered(acted_at=PAST, agency=agency, role=role, name="An office")

    for action, rule in (
        (named("xk-police-2", "coordinator"), "role-of-the-party"),
        (named("xk-police-2", "node"), "role-of-the-party"),
        (named("xk-police-2", "ministers"), "undeclared-role"),
        (named(MONTENEGRO, "police"), "agency-known"),
    ):
        assert attack.refused(lambda action=action: attack.acts(XK, action)) == rule
    # An id that reads as another country's is an agency of the coordinator that registered it.
    attack.acts(XK, named("me-police-2", "police"))
    with attack.target.server.client(XK) as client:
        (found,) = (one for one in client.agencies() if one.id == "me-police-2")
    assert found.party == "XK"
    own = attack.agencies
    own.keys["me-police-2"] = keys.generate()
    grant = KeyRegistered(acted_at=PAST, grant=own.grant("me-police-2"))
    assert attack.refused(lambda: attack.acts(ME, grant)) == "coordinator-of-the-country"
    assert attack.refused(lambda: attack.acts(ME, AgencyRetired(acted_at=PAST, agency=KOSOVO))) == (
        "coordinator-of-the-country"
    )
    # An amendment takes no agency over, and adds no second coordinator without a key.
    base = attack.text
    taken = [
        one | {"party": "XK"} if one["id"] == MONTENEGRO else one
        for one in text_of(base)["agencies"]
    ]
    assert attack.refused(lambda: attack.acts(XK, proposal(amended(base, agencies=taken)))) == (
        "amendment"
    )


def test_a_stolen_key_that_was_revoked_votes_no_more(attack: Attack) -> None:
    text = amended(attack.text, title="By a thief")
    stolen, fresh = attack.agencies.keys[ME], keys.generate()
    attack.acts(ME, KeyRegistered(acted_at=PAST, grant=attack.agencies.grant(ME, fresh)))
    attack.acts(ME, KeyRevoked(acted_at=PAST, key_id=keys.key_id(stolen)))
    proposed = attack.acts(XK, proposal(text))
    own = amended(attack.text, title="By the thief alone")
    by_thief = acceptance(proposed, text, attack.named())
    # By the thief itself, and handed in by a node that helps the thief.
    assert attack.refused(lambda: attack.acts(ME, by_thief)) == "revoked-key"
    assert attack.refused(attack.passed_on(ME, by_thief)) == "revoked-key"
    assert attack.refused(attack.passed_on(ME, proposal(own))) == "revoked-key"
    attack.agencies.keys[ME] = fresh
    attack.acts(ME, declining(proposed, text))


def test_a_retired_coordinator_accepts_nothing(attack: Attack) -> None:
    retired = AgencyRetired(acted_at=PAST, agency=ME)
    assert attack.refused(lambda: attack.acts(ME, retired)) == "role-of-the-party"
    base = attack.text
    moved = {ME: "ngo", MONTENEGRO: "coordinator"}
    agencies = [
        one | {"role": moved.get(one["id"], one["role"])} for one in text_of(base)["agencies"]
    ]
    attack.adopts(amended(base, agencies=agencies))
    text = amended(attack.text, title="By a former coordinator")
    proposed = attack.acts(XK, proposal(text))
    vote = acceptance(proposed, text, attack.named())
    assert attack.refused(lambda: attack.acts(ME, vote)) == "coordinators-only"
    attack.acts(MONTENEGRO, retired)
    assert attack.refused(attack.passed_on(ME, vote)) in ("retired-agency", "revoked-key")
    attack.accepts(MONTENEGRO, proposed, text)
    attack.accepts(AL, proposed, text)
    assert attack.text == text


def test_a_version_that_the_ledger_node_smuggles_in_is_found(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's program decides nothing. Kosovo's coordinator and two helpers sign."""
    base = attack.text
    text = with_agency(base, {"id": "xk-spy", "name": "A", "party": "XK", "role": "police"})
    with monkeypatch.context() as without_rules:
        without_rules.setattr(registries, "decide", lambda *_: None)
        proposed = attack.acts(XK, proposal(text))
        attack.accepts("me-csw-niksic", proposed, text)
        attack.accepts("al-police-thb", proposed, text)
    assert attack.text == text, "the operator's own node shows it"
    size = attack.target.server.node.ledger.head()
    with psycopg.connect(attack.target.database) as connection:
        report = verify_ledger(stored_rows(connection), kept_in(connection, None), workers=0)
    found = {one.last: one.what for one in report.findings}
    assert not report.holds
    assert found.keys() == {size - 1, size}
    assert all("coordinators-only" in what for what in found.values())
