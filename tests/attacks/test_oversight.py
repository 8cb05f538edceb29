"""A coordinator against those that oversee it: their keys, and what it did itself."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
from joserfc.jwk import OKPKey

from api.client.assertion import make_assertion
from ledger.signing import keys
from ledger.signing.key_possession import proof_of
from ledger.signing.signed_action import sign
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import CaseClosed
from ledger.vocabulary.erasure import ErasureApproved, ErasureProposed
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import ClosureReason, Danger, ErasureGround, ReviewFinding
from ledger.vocabulary.registration import (
    KeyChangeConfirmed,
    KeyChangeDeclined,
    KeyCompromised,
    KeyRegistered,
    KeyRevoked,
)
from ledger.vocabulary.sharing import BreakGlassOpened, BreakGlassReviewed
from tests.attacks.conftest import attacked
from tests.attacks.target import Target
from tests.support.actions import opening
from tests.support.agencies import PAST, Agencies
from tests.support.web import signed_in

OVERSEER, COORDINATOR, OTHER = "xk-ombudsperson", "xk-nac", "me-nac"
NOT_SECOND = ("xk-nac", "xk-ombudsperson", "me-police-thb", "me-ombudsman", "xk-dhtqnj")


@pytest.fixture(scope="module")
def ledger(server: str, begun: str, agencies: Agencies) -> Iterator[Target]:
    """A server of its own: keys that are registered here would meet other attacks."""
    with attacked(server, begun, agencies) as target:
        yield target


def act(target: Target, agency: str, action: Action, status: int, rule: str | None = None) -> UUID:
    """Hand in an act on the protocol; the answer is as expected. Returns the act's id."""
    signed = target.sign(agency, action, None)
    told = target.append(signed, agency=agency)
    if rule is not None:
        target.refuses(told, status, rule)
    assert told.status_code == status, told.text
    return UUID(signed.payload["jti"])


def registered(target: Target, key: OKPKey, agency: str = OVERSEER) -> KeyRegistered:
    return KeyRegistered(acted_at=PAST, grant=target.server.agencies.grant(agency, key))


def reads(target: Target, key: OKPKey, agency: str = OVERSEER) -> tuple[int, str | None]:
    """Return the answer to a request that is signed with the key."""
    token = make_assertion(agency, key, "case-ledger")
    answer = target.ask("/v1/cases", token=token)
    return answer.status_code, answer.json().get("rule")


def test_a_coordinator_becomes_its_own_overseer(ledger: Target) -> None:
    """The key that it registers for the ombudsperson reads nothing, and its own word is not two."""
    own = keys.generate()
    proposal = act(ledger, COORDINATOR, registered(ledger, own), 201)
    assert reads(ledger, own) == (401, "key-not-confirmed")
    for agency in NOT_SECOND:
        confirmed = KeyChangeConfirmed(acted_at=PAST, proposal=proposal)
        act(ledger, agency, confirmed, 403, "second-party")
    assert reads(ledger, own) == (401, "key-not-confirmed")
    act(ledger, COORDINATOR, registered(ledger, own), 409, "change-proposed")
    act(ledger, OTHER, KeyChangeDeclined(acted_at=PAST, proposal=proposal), 201)
    assert reads(ledger, own) == (401, "unknown-key")
    late = KeyChangeConfirmed(acted_at=PAST, proposal=proposal)
    act(ledger, OTHER, late, 404, "unknown-proposal")


def test_a_key_counts_once_another_country_has_confirmed_it(ledger: Target) -> None:
    true = keys.generate()
    proposal = act(ledger, COORDINATOR, registered(ledger, true), 201)
    waiting = ledger.ask("/v1/key-proposals", OTHER).json()
    assert [(one["id"], one["yours"], one["change"]) for one in waiting] == [
        (str(proposal), True, "registration")
    ]
    assert not ledger.ask("/v1/key-proposals", COORDINATOR).json()[0]["yours"]
    act(ledger, OTHER, KeyChangeConfirmed(acted_at=PAST, proposal=proposal), 201)
    assert reads(ledger, true)[0] == 200
    assert ledger.ask("/v1/key-proposals", OTHER).json() == []
    # The body itself ends its own key at once.
    act(ledger, OVERSEER, KeyRevoked(acted_at=PAST, key_id=keys.key_id(true)), 201)
    assert reads(ledger, true) == (401, "revoked-key")


@pytest.mark.parametrize("how", ["revoked", "compromised"])
def test_a_coordinator_silences_its_overseer(ledger: Target, how: str) -> None:
    """The true key goes on until another country has confirmed its end."""
    true = keys.generate()
    proposal = act(ledger, COORDINATOR, registered(ledger, true), 201)
    act(ledger, OTHER, KeyChangeConfirmed(acted_at=PAST, proposal=proposal), 201)
    kid = keys.key_id(true)
    ends: Action = KeyRevoked(acted_at=PAST, key_id=kid)
    if how == "compromised":
        ends = KeyCompromised(acted_at=PAST, key_id=kid, since=PAST)
    proposal = act(ledger, COORDINATOR, ends, 201)
    assert reads(ledger, true)[0] == 200
    for agency in NOT_SECOND:
        confirmed = KeyChangeConfirmed(acted_at=PAST, proposal=proposal)
        act(ledger, agency, confirmed, 403, "second-party")
    assert reads(ledger, true)[0] == 200
    act(ledger, COORDINATOR, KeyChangeDeclined(acted_at=PAST, proposal=proposal), 201)
    assert reads(ledger, true)[0] == 200
    again = act(ledger, COORDINATOR, ends, 201)
    act(ledger, "al-nac", KeyChangeConfirmed(acted_at=PAST, proposal=again), 201)
    assert reads(ledger, true) == (401, "revoked-key")


def test_another_country_ends_no_foreign_key(ledger: Target) -> None:
    """The first word is the own coordinator's; another country only confirms."""
    kid = keys.key_id(ledger.key(OVERSEER))
    revoked = KeyRevoked(acted_at=PAST, key_id=kid)
    act(ledger, OTHER, revoked, 403, "coordinator-of-the-country")


@pytest.mark.parametrize("agency", [OVERSEER, "xk-border", "xk-nac"])
@pytest.mark.parametrize("which", ["none", "another key", "another agency", "another protocol"])
def test_a_key_whose_holder_did_not_prove_it(ledger: Target, agency: str, which: str) -> None:
    """A coordinator registers a key that the agency does not hold: another's, or nobody's."""
    key, protocol = keys.generate(), ledger.server.agencies.protocol.id
    proofs = {
        "none": None,
        "another key": proof_of(keys.generate(), protocol=protocol, agency=agency),
        "another agency": proof_of(key, protocol=protocol, agency="xk-isf"),
        "another protocol": proof_of(key, protocol="other-corridor", agency=agency),
    }
    grant = ledger.server.agencies.grant(agency, key)
    forged = grant.model_copy(update={"proof": proofs[which]})
    with ledger.untouched():
        rule = "proof-missing" if which == "none" else "proof"
        act(ledger, COORDINATOR, KeyRegistered(acted_at=PAST, grant=forged), 422, rule)
        assert reads(ledger, key, agency) == (401, "unknown-key")


def test_the_key_of_another_agency_is_not_registered_for_ones_own(ledger: Target) -> None:
    """Without proof, what Montenegro's police signs could be passed off as Kosovo's."""
    theirs = ledger.key("me-police-thb")
    grant = ledger.server.agencies.grant("xk-border", keys.generate())
    stolen = grant.model_copy(update={"key": keys.public_part(theirs)})
    with ledger.untouched():
        act(ledger, COORDINATOR, KeyRegistered(acted_at=PAST, grant=stolen), 422, "proof")


def test_confirming_twice_and_what_is_over(ledger: Target) -> None:
    key = keys.generate()
    proposal = act(ledger, COORDINATOR, registered(ledger, key), 201)
    act(ledger, OTHER, KeyChangeConfirmed(acted_at=PAST, proposal=proposal), 201)
    again = KeyChangeConfirmed(acted_at=PAST, proposal=proposal)
    act(ledger, OTHER, again, 404, "unknown-proposal")
    ends = act(ledger, COORDINATOR, KeyRevoked(acted_at=PAST, key_id=keys.key_id(key)), 201)
    act(ledger, OVERSEER, KeyRevoked(acted_at=PAST, key_id=keys.key_id(key)), 201)
    late = KeyChangeConfirmed(acted_at=PAST, proposal=ends)
    act(ledger, OTHER, late, 409, "already-revoked")
    act(ledger, OTHER, KeyChangeDeclined(acted_at=PAST, proposal=ends), 201)
    assert ledger.ask("/v1/key-proposals", OTHER).json() == []


def opened(target: Target, by: str, countries: tuple[str, ...]) -> tuple[UUID, UUID]:
    """A case with an access in danger to life. Returns the case and the access."""
    now = datetime.now(UTC)
    with target.server.client("xk-dhtqnj") as police:
        case = police.open_case(opening(countries)).case_id
    with target.server.client(by) as client:
        access = BreakGlassOpened(
            acted_at=now,
            danger=Danger.MISSING_CHILD,
            groups=(FieldGroup.CONTACT,),
            until=now + timedelta(hours=1),
        )
        receipt = client.append(access, case, 1)
        client.case(case, at_least=receipt.position)
    return case, receipt.action_id


def reviews(target: Target, agency: str, case: UUID, access: UUID, version: int) -> httpx.Response:
    """An agency hands in its review of an access."""
    reviewed = BreakGlassReviewed(
        acted_at=datetime.now(UTC), access=access, finding=ReviewFinding.JUSTIFIED
    )
    signed = target.sign(agency, reviewed, case)
    return target.append(signed, case=case, agency=agency, version=version)


@pytest.mark.parametrize("by", [COORDINATOR, "xk-border"])
def test_who_opened_in_danger_reviews_it(ledger: Target, by: str) -> None:
    """Neither the agency that opened it nor its country's coordinator finds it justified."""
    case, access = opened(ledger, by, ("XK", "ME"))
    with ledger.untouched():
        own = reviews(ledger, COORDINATOR, case, access, 2)
        ledger.refuses(own, 403, "second-party")
    owed = ledger.ask(f"/v1/cases/{case}", OTHER).json()["view"]["break_glass"]
    assert [one["to_review"] for one in owed] == [["ME"]]
    assert reviews(ledger, OVERSEER, case, access, 2).status_code == 201
    assert reviews(ledger, OTHER, case, access, 3).status_code == 201


def test_the_own_overseer_reviews_where_no_other_country_is(ledger: Target) -> None:
    case, access = opened(ledger, COORDINATOR, ("XK",))
    with ledger.untouched():
        ledger.refuses(reviews(ledger, COORDINATOR, case, access, 2), 403, "second-party")
    (step,) = [
        step
        for step in ledger.ask(f"/v1/cases/{case}", COORDINATOR).json()["view"]["expected"]
        if step["action"] == "break_glass_reviewed"
    ]
    assert (step["party"], step["roles"]) == ("XK", ["oversight"])
    assert reviews(ledger, OVERSEER, case, access, 2).status_code == 201
    with signed_in(ledger.server, OVERSEER) as browser:
        assert browser.get(f"/cases/{case}").status_code == 200
        assert browser.get(f"/cases/{case}/act/break_glass_reviewed").status_code == 200
        assert browser.get(f"/cases/{case}/act/case_closed").status_code == 403


def test_a_coordinator_erases_alone_with_a_second_key_of_its_own(ledger: Target) -> None:
    """It registers keys of its own agency: a second key is no second party."""
    with ledger.server.client("xk-dhtqnj") as police:
        case = police.open_case(opening(("XK", "ME"))).case_id
    now = datetime.now(UTC)
    with ledger.server.client(COORDINATOR) as client:
        client.append(CaseClosed(acted_at=now, reason=ClosureReason.LOST_CONTACT), case, 1)
        proposed = ErasureProposed(acted_at=now, ground=ErasureGround.PERSONS_REQUEST)
        proposal = client.append(proposed, case, 2).action_id
    second = keys.generate()
    act(ledger, COORDINATOR, registered(ledger, second, COORDINATOR), 201)
    approved = ErasureApproved(acted_at=now, proposal=proposal)
    signed = sign(
        approved, agency=COORDINATOR, key=second, protocol=ledger.server.agencies.protocol.id,
        case_id=case,
    )  # fmt: skip
    with ledger.untouched():
        told = ledger.append(signed, case=case, agency=COORDINATOR, version=3)
        ledger.refuses(told, 403, "second-party")
    signed = ledger.sign(OTHER, approved, case)
    assert ledger.append(signed, case=case, agency=OTHER, version=3).status_code == 201
