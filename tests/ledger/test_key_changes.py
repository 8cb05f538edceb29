"""Keys that no country changes alone: the registry, and the auditor's own reading of it."""

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from uuid import UUID, uuid4

import pytest

from ledger.events.event import recorded
from ledger.procedure.protocol import KeyChange, KeyConfirmation, Protocol, shipped_protocol
from ledger.procedure.registry import Registry, applied, decide
from ledger.refusals import Refusal
from ledger.signing import keys, signed_action
from ledger.signing.sd_jwt import SdJwt
from ledger.system import clock
from ledger.vocabulary.registration import KeyChangeDeclined, KeyRegistered, KeyRevoked
from tests.support.agencies import PAST, Agencies
from tests.support.auditor import AUDITOR
from tests.support.recorded import MemoryLedger

OVERSEER, OWN, OTHER = "xk-ombudsperson", "xk-nac", "al-nac"


class Read:
    """A ledger whose acts the registry and the auditor's script read, one beside the other."""

    def __init__(self, script: ModuleType) -> None:
        self.agencies = Agencies()
        self.script, self.auditor = script, script.Registry()
        self.ledger = MemoryLedger(self.agencies)
        self.ledger.begin()
        self.registry: Registry | None = None
        self.at = 0
        self.read()

    def read(self) -> Registry:
        """Both read what was recorded since. Raises the script's ``Failed``."""
        for row in self.ledger.recorded[self.at :]:
            event = recorded(row.state, row.originator_id, row.version, row.position)
            self.at += 1
            self.registry, _ = applied(self.registry, event)
            self.auditor.take(row.position, self.script.event_of(row.state))
        assert self.registry is not None
        revoked = {kid for kid, key in self.registry.keys.items() if key.revoked_at}
        assert self.auditor.keys.keys() == self.registry.keys.keys()
        assert self.auditor.revoked == revoked
        return self.registry

    def put(self, signed: SdJwt) -> SdJwt:
        self.ledger.put(signed.without_disclosures(), self.agencies.protocol.ledger_id)
        return signed


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("auditor_of_keys", AUDITOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["auditor_of_keys"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["auditor_of_keys"]


@pytest.fixture
def read(script: ModuleType) -> Read:
    return Read(script)


def test_the_auditor_counts_a_key_and_its_end_once_they_are_confirmed(read: Read) -> None:
    agencies, new = read.agencies, keys.generate()
    kid = keys.key_id(new)
    grant = agencies.grant(OVERSEER, new)
    registered = read.put(agencies.sign(OWN, KeyRegistered(acted_at=PAST, grant=grant), None))
    assert kid not in read.read().keys
    read.put(agencies.confirmation(OTHER, registered))
    assert kid in read.read().keys
    revoked = read.put(agencies.sign(OWN, KeyRevoked(acted_at=PAST, key_id=kid), None))
    assert read.read().keys[kid].revoked_at is None
    read.put(agencies.confirmation(OTHER, revoked))
    assert read.read().keys[kid].revoked_at is not None


def test_the_auditor_refuses_what_an_unconfirmed_key_signed(read: Read) -> None:
    agencies, own = read.agencies, keys.generate()
    grant = agencies.grant(OVERSEER, own)
    read.put(agencies.sign(OWN, KeyRegistered(acted_at=PAST, grant=grant), None))
    read.read()
    agencies.keys[OVERSEER], true = own, agencies.keys[OVERSEER]
    read.put(agencies.sign(OVERSEER, KeyRevoked(acted_at=PAST, key_id=keys.key_id(true)), None))
    with pytest.raises(read.script.Failed, match="no key of xk-ombudsperson"):
        read.read()


def test_a_recorded_change_keeps_who_must_confirm_it(read: Read) -> None:
    grant = read.agencies.grant(OVERSEER, keys.generate())
    signed = read.put(read.agencies.sign(OWN, KeyRegistered(acted_at=PAST, grant=grant), None))
    (proposal,) = read.read().proposals.values()
    assert proposal.action == UUID(signed.payload["jti"])
    assert (proposal.party, proposal.by, proposal.confirming_roles) == ("XK", OWN, {"coordinator"})


def test_a_protocol_file_asks_for_a_second_party_for_oversight() -> None:
    """A file of edition 2 without it is refused; a recorded protocol without it is read."""
    content = shipped_protocol().model_dump(mode="json", exclude_none=True)
    content["confirmed_keys"] = [
        KeyConfirmation(roles=("oversight",), changes=(KeyChange.REGISTRATION,)).model_dump(
            mode="json"
        )
    ]
    protocol = Protocol.model_validate(content)
    with pytest.raises(ValueError, match="revocation of an oversight body's key"):
        protocol.check_complete()
    earlier = Protocol.model_validate({**content, "edition": 1, "confirmed_keys": []})
    earlier.check_complete()
    with pytest.raises(ValueError, match="are not declared"):
        Protocol.model_validate(
            {**content, "confirmed_keys": [{"roles": ["senate"], "changes": ["revocation"]}]}
        )


def test_only_roles_that_review_are_kept_from_reviewing_at_home() -> None:
    content = shipped_protocol().model_dump(mode="json", exclude_none=True)
    rule = content["actions"]["break_glass_reviewed"]
    for changed, said in (
        ({"by_another_party": ["police"]}, "by_another_party"),
        ({"reviews": "nothing"}, "no ledger field"),
    ):
        actions = {**content["actions"], "break_glass_reviewed": {**rule, **changed}}
        with pytest.raises(ValueError, match=said):
            Protocol.model_validate({**content, "actions": actions})


def test_a_members_keys_belong_to_one_agency(read: Read) -> None:
    """Decided, folded and audited alike; also while the first key waits for another party."""
    agencies, member = read.agencies, uuid4()

    def registration(agency: str) -> KeyRegistered:
        grant = agencies.grant(agency, keys.generate())
        return KeyRegistered(acted_at=PAST, grant=grant, member=member)

    def refusal(agency: str) -> str | None:
        action = signed_action.read(agencies.sign(OWN, registration(agency), None))
        try:
            decide(read.read(), action, clock.now())
        except Refusal as refused:
            return refused.rule
        return None

    waiting = read.put(agencies.sign(OWN, registration(OVERSEER), None))
    assert refusal("xk-dhtqnj") == "member-of-another-agency"
    read.put(
        agencies.sign(
            OTHER, KeyChangeDeclined(acted_at=PAST, proposal=UUID(waiting.payload["jti"])), None
        )
    )
    assert refusal("xk-dhtqnj") is None
    for _ in range(2):
        read.put(agencies.sign(OWN, registration("xk-dhtqnj"), None))
    assert [key.member for key in read.read().keys.values()].count(member) == 2
    assert refusal("xk-csw-peja") == "member-of-another-agency"
    read.put(agencies.sign(OWN, registration("xk-csw-peja"), None))
    with pytest.raises(read.script.Failed, match="key of another agency"):
        read.read()
