"""A coordinator that lost every key gets another by all other parties, and by nothing less."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from ledger.procedure import registry as registries
from ledger.procedure.key_recovery import GRACE
from ledger.procedure.protocol import Protocol
from ledger.procedure.registry import Registry
from ledger.refusals import Refusal
from ledger.signing import keys, signed_action
from ledger.vocabulary import Action
from ledger.vocabulary.registration import (
    CoordinatorKeyRecovered,
    CountryKeyRegistered,
    KeyGrant,
    KeyRegistered,
)
from tests.support.agencies import PAST, Agencies

LOST = "xk-nac"
DAY = timedelta(days=1)


@dataclass
class Acts:
    """A registry, to which acts are recorded at chosen times."""

    agencies: Agencies
    registry: Registry | None = None
    at: datetime = PAST
    position: int = field(default=0)

    def record(self, agency: str, action: Action, after: timedelta = timedelta(0)) -> Registry:
        signed = signed_action.read(self.agencies.sign(agency, action, None))
        self.at += after
        registries.decide(self.registry, signed, self.at)
        self.position += 1
        self.registry = registries.evolve(self.registry, signed, self.at, self.position)
        return self.registry


@pytest.fixture
def acts(agencies: Agencies) -> Acts:
    made = Acts(agencies)
    adoption = signed_action.read(agencies.adoption())
    registries.decide(None, adoption, PAST)
    made.registry = registries.evolve(None, adoption, PAST, 1)
    made.position = 1
    return made


@pytest.fixture
def grant(agencies: Agencies) -> KeyGrant:
    return agencies.grant(LOST, keys.generate())


def kid(grant: KeyGrant) -> str:
    return keys.key_id(keys.from_public(grant.key))


def recovered(grant: KeyGrant) -> CoordinatorKeyRecovered:
    return CoordinatorKeyRecovered(acted_at=PAST, grant=grant)


def test_every_other_party_and_seven_days_make_the_key_count(acts: Acts, grant: KeyGrant) -> None:
    assert kid(grant) not in acts.record("me-nac", recovered(grant)).keys
    assert kid(grant) not in acts.record("me-nac", recovered(grant), GRACE).keys
    registry = acts.record("al-nac", recovered(grant))
    assert registry.keys[kid(grant)].agency == LOST
    assert registry.recoveries == {}
    # It is a key like any other: it registers the country's keys again.
    acts.agencies = Agencies(acts.agencies.protocol, dict(acts.agencies.keys))
    with pytest.raises(Refusal, match="registered already"):
        acts.record("me-nac", recovered(grant))


def test_before_the_days_are_over_it_does_not_count(acts: Acts, grant: KeyGrant) -> None:
    acts.record("me-nac", recovered(grant))
    acts.record("al-nac", recovered(grant), GRACE - timedelta(microseconds=1))
    assert acts.registry is not None
    assert kid(grant) not in acts.registry.keys
    assert kid(grant) in acts.record("al-nac", recovered(grant), timedelta(microseconds=1)).keys


def test_one_party_alone_seizes_nothing_whatever_it_signs(acts: Acts, grant: KeyGrant) -> None:
    for _ in range(5):
        registry = acts.record("me-nac", recovered(grant), GRACE)
    assert kid(grant) not in registry.keys
    assert registry.recoveries[kid(grant)].parties == {"ME"}


@pytest.mark.parametrize("act", ["key", "country"])
def test_the_coordinator_ends_it_by_any_act(acts: Acts, grant: KeyGrant, act: str) -> None:
    acts.record("me-nac", recovered(grant))
    acts.record("al-nac", recovered(grant))
    own = acts.agencies.grant("xk-dhtqnj", keys.generate())
    acts.record(
        LOST,
        KeyRegistered(acted_at=PAST, grant=own)
        if act == "key"
        else CountryKeyRegistered(acted_at=PAST, key=country_key()),
        DAY,
    )
    assert acts.registry is not None
    assert acts.registry.recoveries == {}
    assert kid(grant) not in acts.record("me-nac", recovered(grant), GRACE).keys
    assert kid(grant) not in acts.record("al-nac", recovered(grant), GRACE - DAY).keys


def country_key() -> str:
    from ledger.signing.country_key import FileCountryKey

    return str(FileCountryKey.generate().public)


def test_what_is_no_recovery_is_refused(acts: Acts, agencies: Agencies, grant: KeyGrant) -> None:
    with pytest.raises(Refusal, match="other parties"):
        acts.record(LOST, recovered(grant))
    police = agencies.grant("xk-dhtqnj", keys.generate())
    with pytest.raises(Refusal, match="other parties"):
        acts.record("me-nac", recovered(police))
    for agency in agencies.protocol.agencies:
        if agency.role != "coordinator":
            with pytest.raises(Refusal):
                acts.record(agency.id, recovered(grant))
    known = agencies.grant(LOST)
    with pytest.raises(Refusal, match="registered already"):
        acts.record("me-nac", recovered(known))
    unproven = grant.model_copy(update={"proof": None})
    with pytest.raises(Refusal, match="proof"):
        acts.record("me-nac", recovered(unproven))
    acts.record("me-nac", recovered(grant))
    other = grant.model_copy(update={"agency": "al-nac"})
    with pytest.raises(Refusal, match="another agency"):
        acts.record("me-nac", recovered(other))


def test_ledgers_of_earlier_rules_do_not_have_it(agencies: Agencies, grant: KeyGrant) -> None:
    protocol = Protocol.model_validate(agencies.protocol.model_dump() | {"edition": 1})
    earlier = Acts(Agencies(protocol, agencies.keys))
    earlier.registry = registries.evolve(
        None, signed_action.read(earlier.agencies.adoption()), PAST, 1
    )
    with pytest.raises(Refusal, match="is of edition 2"):
        earlier.record("me-nac", recovered(grant))
