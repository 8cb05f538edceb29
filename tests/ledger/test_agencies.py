"""Agencies that a country registers, names and retires alone, bodies that it invites, contacts.

Each act is put into a ledger in memory. The registry decides it, a copy judges it again, and the
auditor's script takes it: the three must agree.
"""

from collections.abc import Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest

from ledger.procedure.agreement import Agreement
from ledger.procedure.amendments import text_of
from ledger.procedure.contact_points import cards_in_force
from ledger.procedure.disclosed_agencies import check_agencies
from ledger.procedure.protocol import Protocol
from ledger.procedure.registry import SignatureState
from ledger.refusals import Refusal
from ledger.signing import keys
from ledger.signing.signed_action import read_recorded
from ledger.verification.revalidation import inspect
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import (
    InformationProvided,
    InformationRequested,
    LeadTransferAccepted,
    LeadTransferOffered,
)
from ledger.vocabulary.picklists import InformationTopic, Purpose, ReferralReason
from ledger.vocabulary.registration import (
    AgencyChangeConfirmed,
    AgencyChangeDeclined,
    AgencyInvited,
    AgencyRegistered,
    AgencyRenamed,
    AgencyRetired,
    ContactCardEnded,
    ContactCardGiven,
    ContactPointEnded,
    ContactPointNamed,
    KeyChangeConfirmed,
    KeyCompromised,
    KeyRegistered,
    Office,
)
from projections.folds.audit_trail import RegistryDocuments, trail_document
from projections.folds.obligation_terms import ObligationOutcome
from projections.folds.obligations import obligations
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.amending import amended, proposal, with_agency
from tests.support.parties import AL, ME, XK, Parties, auditor_script
from tests.support.recorded import MemoryLedger

SHELTER, BODY, POLICE = "bar-shelter", "iom-podgorica", "me-police-thb"
OFFICE = Office(email="office@example.invalid", telephone="+382 20 000 000")
CASE, OTHER_CASE = UUID(int=1), UUID(int=2)


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    yield from auditor_script("auditor_of_agencies")


@pytest.fixture(scope="module")
def begun() -> MemoryLedger:
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    return ledger


@pytest.fixture
def parties(script: ModuleType, begun: MemoryLedger) -> Parties:
    return Parties(script, begun)


def registered(agency: str = SHELTER, role: str = "shelter", **more: Any) -> AgencyRegistered:
    return AgencyRegistered(acted_at=PAST, agency=agency, role=role, name="A shelter", **more)


def retired(agency: str = SHELTER) -> AgencyRetired:
    return AgencyRetired(acted_at=PAST, agency=agency)


def renamed(agency: str, name: str = "Directorate", **more: Any) -> AgencyRenamed:
    return AgencyRenamed(acted_at=PAST, agency=agency, name=name, **more)


def offering(agency: str) -> LeadTransferOffered:
    return LeadTransferOffered(acted_at=START, to_agency=agency, reason=next(iter(ReferralReason)))


def asked(addressee: str) -> InformationRequested:
    return InformationRequested(
        acted_at=START,
        addressee=addressee,
        topics=(InformationTopic.IDENTITY,),
        purpose=next(iter(Purpose)),
    )


def answering(request: UUID) -> InformationProvided:
    return InformationProvided(acted_at=START, request=request, complete=True)


def with_key(parties: Parties, agency: str, by: str = ME) -> None:
    parties.agencies.keys[agency] = keys.generate()
    parties.act(by, KeyRegistered(acted_at=PAST, grant=parties.agencies.grant(agency)))


def open_case(parties: Parties, agency: str = POLICE, case_id: UUID = CASE) -> None:
    parties.take(agency, opening(("ME", "XK")), case_id)


def state_of(parties: Parties, case_id: UUID = CASE) -> Any:
    case = parties.case(case_id)
    assert case is not None
    return case.state


def test_an_agency_is_registered_and_used_at_once(parties: Parties) -> None:
    parties.act(ME, registered(names={"cnr": "Sklonište"}, city="Bar", office=OFFICE))
    agency = parties.now.agencies_by_id[SHELTER]
    assert (agency.party, agency.role, agency.names) == ("ME", "shelter", {"cnr": "Sklonište"})
    with_key(parties, SHELTER)
    open_case(parties, SHELTER)
    parties.take(XK, asked(SHELTER), CASE)
    assert state_of(parties).parties == ("ME", "XK")
    # The registry of now answers for each position: no agency before its act.
    registry, act = parties.read(), parties.read().agreement.changes[0]
    before = registry.agencies_at(act.position, act.recorded_at)
    after = registry.agencies_at(act.position + 1, act.recorded_at)
    assert [SHELTER in {one.id for one in found} for found in (before, after)] == [False, True]


def test_the_text_of_the_protocol_stays_as_every_party_signed_it(parties: Parties) -> None:
    text = parties.text
    parties.act(ME, registered())
    assert parties.text == text
    assert SHELTER not in text.agencies_by_id


@pytest.mark.parametrize(
    ("by", "act", "rule"),
    [
        (POLICE, registered(), "coordinators-only"),
        (ME, registered(role="no_such_role"), "undeclared-role"),
        (ME, registered(role="coordinator"), "role-of-the-party"),
        (ME, registered(role="node"), "role-of-the-party"),
        (ME, registered("xk-isf"), "agency-known"),
        (
            XK,
            AgencyRenamed(acted_at=PAST, agency=POLICE, name="Mine"),
            "coordinator-of-the-country",
        ),
        (XK, retired(POLICE), "coordinator-of-the-country"),
        (ME, retired(ME), "role-of-the-party"),
        (ME, retired("me-node"), "role-of-the-party"),
        (ME, retired("me-unknown"), "unknown-agency"),
        (ME, AgencyRenamed(acted_at=PAST, agency=POLICE), "nothing-named"),
        (
            ME,
            AgencyInvited(acted_at=PAST, agency=BODY, role="oversight", name="A body"),
            "role-of-the-party",
        ),
    ],
)
def test_what_a_country_does_not_decide_alone(
    parties: Parties, by: str, act: Action, rule: str
) -> None:
    assert parties.refused(by, act) == rule
    assert not parties.read().agreement.changes


@pytest.mark.parametrize(
    "act",
    [
        registered(role="coordinator"),
        registered(role="no_such_role"),
        registered("xk-isf"),
        retired("xk-isf"),
    ],
)
def test_a_copy_finds_what_the_ledger_node_smuggles_in(parties: Parties, act: Action) -> None:
    found = parties.smuggle(ME, act)
    assert len(found) == 1
    assert found[0].startswith("the rules refuse it")


def test_an_agency_is_of_the_country_that_registers_it(parties: Parties) -> None:
    """The party is the coordinator's. Another country registers no key for the agency."""
    parties.act(ME, registered("xk-shelter-of-montenegro"))
    assert parties.now.agencies_by_id["xk-shelter-of-montenegro"].party == "ME"
    parties.agencies.keys["xk-shelter-of-montenegro"] = keys.generate()
    grant = parties.agencies.grant("xk-shelter-of-montenegro")
    assert parties.refused(XK, KeyRegistered(acted_at=PAST, grant=grant)) == (
        "coordinator-of-the-country"
    )
    with_key(parties, "xk-shelter-of-montenegro")
    open_case(parties, "xk-shelter-of-montenegro")
    assert state_of(parties).parties == ("ME", "XK")


def test_the_old_name_stays_at_its_time(parties: Parties) -> None:
    open_case(parties)
    was, moment = len(parties.ledger.recorded), parties.ledger.now
    old = parties.now.agencies_by_id[POLICE].name
    parties.act(ME, AgencyRenamed(acted_at=PAST, agency=POLICE, name="Directorate", city="Bar"))
    registry = parties.read()
    named = {one.id: one.name for one in registry.agencies_at(was, moment)}
    assert named[POLICE] == old
    assert (parties.now.agencies_by_id[POLICE].name, parties.now.agencies_by_id[POLICE].city) == (
        "Directorate",
        "Bar",
    )
    assert parties.now.agencies_by_id[POLICE].role == "police"
    event = parties.events(CASE)[0]
    assert registry.agreement.of_event(event).agencies_by_id[POLICE].name == old


def test_a_retired_agency_acts_no_more_and_its_keys_end(parties: Parties) -> None:
    open_case(parties)
    event = parties.events(CASE)[0]
    parties.act(ME, retired(POLICE))
    assert parties.refused_in(CASE, POLICE, asked("xk-dhtqnj")) == "retired-agency"
    registry = parties.read()
    (key,) = (one for one in registry.keys.values() if one.agency == POLICE)
    assert key.revoked_position == len(parties.ledger.recorded)
    # What it signed before stays valid, and its country's trail shows it.
    assert event.position is not None
    assert event.recorded_at is not None
    state = registry.signature_state(event.action, event.recorded_at, event.position)
    assert state is SignatureState.VALID_KEY_SINCE_REVOKED
    # It gets no key again, and its id is never given again.
    grant = parties.agencies.grant(POLICE, keys.generate())
    assert parties.refused(ME, KeyRegistered(acted_at=PAST, grant=grant)) == "retired-agency"
    assert parties.refused(ME, registered(POLICE, "police")) == "agency-known"
    assert parties.refused(ME, retired(POLICE)) == "retired-agency"


def test_a_copy_finds_an_event_of_a_retired_agency(parties: Parties) -> None:
    open_case(parties)
    parties.act(ME, retired(POLICE))
    parties.ledger.take(POLICE, asked("xk-dhtqnj"), CASE)
    row = parties.ledger.recorded[-1]
    with pytest.raises(parties.script.Failed, match="revoked"):
        parties.auditor.take(row.position, parties.script.event_of(row.state))
    found = list(parties.replay.judge(row.position, inspect(row), parties.ledger.root))
    assert "its signature does not count (revoked-key)" in found
    assert "the rules refuse it (retired-agency)" in found


def test_no_action_names_a_retired_agency(parties: Parties) -> None:
    open_case(parties)
    parties.act(ME, registered())
    parties.take(XK, asked(SHELTER), CASE)
    parties.act(ME, retired())
    assert parties.refused_in(CASE, XK, asked(SHELTER)) == "retired-agency"
    offered = offering(SHELTER)
    assert parties.refused_in(CASE, POLICE, offered) == "retired-agency"
    provided = read_recorded(parties.agencies.sign(XK, opening(), CASE).without_disclosures())
    with pytest.raises(Refusal, match="retired"):
        check_agencies(provided, {"provider": SHELTER}, parties.now)


def test_its_coordinator_answers_for_leads_and_for_what_it_owes(parties: Parties) -> None:
    parties.act(ME, registered())
    with_key(parties, SHELTER)
    open_case(parties, SHELTER)
    request = parties.take(XK, asked(SHELTER), CASE)
    before = [event.as_act() for event in parties.events(CASE)]
    parties.act(ME, retired())
    agreement = parties.read().agreement
    protocol = agreement.directory
    # The fold of the case did not move: its events are as they were.
    assert state_of(parties).lead_agency == SHELTER
    assert protocol.answering_for(SHELTER).id == ME
    assert protocol.answers_for(ME) == (ME, SHELTER)
    assert {one.debtor_agency for one in obligations(before, agreement).by_id.values()} >= {SHELTER}
    # From the case's next event on, the coordinator owes the answer.
    parties.take(XK, asked(POLICE), CASE)
    acts = [event.as_act() for event in parties.events(CASE)]
    folded = obligations(acts, parties.read().agreement).by_id.values()
    about = [one for one in folded if one.concerning == request]
    passed = {one.debtor_agency for one in about if one.outcome is ObligationOutcome.PASSED_ON}
    assert (passed, {one.debtor_agency for one in about if one.closed is None}) == ({SHELTER}, {ME})
    parties.take(ME, answering(request), CASE)
    assert request not in state_of(parties).open_requests
    parties.take(ME, offering("me-csw-podgorica"), CASE)


def test_an_open_offer_of_the_lead_passes_to_the_coordinator(parties: Parties) -> None:
    open_case(parties)
    parties.act(ME, registered())
    offer = parties.take(POLICE, offering(SHELTER), CASE)
    parties.act(ME, retired())
    accepted = LeadTransferAccepted(acted_at=START, offer=offer)
    assert parties.refused_in(CASE, XK, accepted) == "handover-by-the-receiver"
    parties.take(ME, accepted, CASE)
    assert state_of(parties).lead_agency == ME


def test_an_oversight_body_needs_a_second_party(parties: Parties) -> None:
    proposed = parties.act(ME, registered("me-audit", "oversight"))
    assert "me-audit" not in parties.now.agencies_by_id
    confirmed = AgencyChangeConfirmed(acted_at=PAST, proposal=proposed)
    assert parties.refused(ME, confirmed) == "second-party"
    assert parties.refused("xk-dhtqnj", confirmed) == "second-party"
    assert parties.refused(ME, registered("me-audit", "shelter")) == "agency-known"
    parties.act(XK, confirmed)
    assert parties.now.agencies_by_id["me-audit"].role == "oversight"
    assert parties.refused(AL, confirmed) == "unknown-proposal"
    # Its keys are confirmed too, as those of every oversight body.
    parties.agencies.keys["me-audit"] = keys.generate()
    key = parties.act(ME, KeyRegistered(acted_at=PAST, grant=parties.agencies.grant("me-audit")))
    parties.act(XK, KeyChangeConfirmed(acted_at=PAST, proposal=key))
    # No country takes its oversight away alone either.
    retiring = parties.act(ME, retired("me-audit"))
    assert parties.now.agencies_by_id["me-audit"].retired_at is None
    assert parties.refused(ME, retired("me-audit")) == "change-proposed"
    parties.act(AL, AgencyChangeDeclined(acted_at=PAST, proposal=retiring))
    again = parties.act(ME, retired("me-audit"))
    parties.act(AL, AgencyChangeConfirmed(acted_at=PAST, proposal=again))
    last = len(parties.ledger.recorded)
    assert parties.now.agencies_by_id["me-audit"].retired_at == last
    assert {k.revoked_position for k in parties.read().keys.values() if k.agency == "me-audit"} == {
        last
    }


def test_a_country_smuggles_no_oversight_body_in(parties: Parties) -> None:
    proposed = parties.act(ME, registered("me-audit", "oversight"))
    found = parties.smuggle(ME, AgencyChangeConfirmed(acted_at=PAST, proposal=proposed))
    assert found == ["the rules refuse it (second-party)"]


def test_a_stolen_coordinators_key_gets_no_vote_and_ends_with_the_key(parties: Parties) -> None:
    """A thief registers agencies of this country alone; no vote, no oversight, no other country."""
    parties.act(ME, registered("me-thief", "police"))
    assert parties.refused(ME, registered("me-second", "coordinator")) == "role-of-the-party"
    parties.act(ME, registered("me-eye", "oversight"))
    assert "me-eye" not in parties.now.agencies_by_id
    stolen, new = parties.agencies.keys[ME], keys.generate()
    parties.act(ME, KeyRegistered(acted_at=PAST, grant=parties.agencies.grant(ME, new)))
    parties.agencies.keys[ME] = new
    parties.act(ME, KeyCompromised(acted_at=PAST, key_id=keys.key_id(stolen), since=PAST))
    parties.act(ME, retired("me-thief"))
    parties.agencies.keys[ME] = stolen
    assert parties.refused(ME, registered()) == "revoked-key"


def test_an_international_body_has_part_in_the_cases_that_name_it(parties: Parties) -> None:
    parties.act(ME, AgencyInvited(acted_at=PAST, agency=BODY, role="ngo", name="A body"))
    body = parties.now.agencies_by_id[BODY]
    assert (body.party, body.international) == ("ME", True)
    with_key(parties, BODY)
    assert parties.refused_in(CASE, BODY, opening(("ME",))) == "international-body"
    open_case(parties)
    open_case(parties, case_id=OTHER_CASE)
    assert parties.refused_in(CASE, BODY, answering(UUID(int=9))) == "unknown-case"
    request = parties.take(XK, asked(BODY), CASE)
    parties.take(BODY, answering(request), CASE)
    assert parties.refused_in(OTHER_CASE, BODY, answering(request)) == "unknown-case"
    # It takes no lead, and a case between other countries does not draw its host in.
    offered = offering(BODY)
    assert parties.refused_in(CASE, POLICE, offered) == "lead-role"
    abroad = UUID(int=3)
    parties.take("xk-dhtqnj", opening(("XK", "AL")), abroad)
    assert parties.refused_in(abroad, XK, asked(BODY)) == "body-of-another-country"


def test_a_copy_finds_a_body_that_acts_in_a_case_that_did_not_name_it(parties: Parties) -> None:
    parties.act(ME, AgencyInvited(acted_at=PAST, agency=BODY, role="ngo", name="A body"))
    with_key(parties, BODY)
    open_case(parties)
    parties.ledger.take(BODY, answering(UUID(int=9)), CASE)
    row = parties.ledger.recorded[-1]
    found = list(parties.replay.judge(row.position, inspect(row), parties.ledger.root))
    assert found == ["the rules refuse it (unknown-case)"]


def test_a_text_and_the_registered_agencies_fit_together(parties: Parties) -> None:
    without = text_of(parties.text)["roles"]
    parties.adopt(amended(parties.text, roles=without | {"hotline": "Hotline"}))
    parties.act(ME, registered(role="hotline"))
    told = text_of(parties.text)
    with pytest.raises(Refusal, match=f"{SHELTER} of ME has the role hotline"):
        parties.act(XK, proposal(amended(parties.text, roles=without)))
    taken = {"id": SHELTER, "name": "Another", "party": "XK", "role": "shelter"}
    with pytest.raises(Refusal, match="leave it out of the text"):
        parties.act(XK, proposal(with_agency(parties.text, taken)))
    parties.act(ME, AgencyRenamed(acted_at=PAST, agency=POLICE, name="Directorate"))
    renamed = [one | {"name": "Not so"} if one["id"] == POLICE else one for one in told["agencies"]]
    with pytest.raises(Refusal, match=f"ME renamed or retired {POLICE} by itself"):
        parties.act(XK, proposal(amended(parties.text, agencies=renamed)))
    # An amendment of something else keeps what the countries changed.
    parties.adopt(amended(parties.text, title="Another title"))
    assert parties.now.title == "Another title"
    assert parties.now.agencies_by_id[POLICE].name == "Directorate"
    assert parties.now.agencies_by_id[SHELTER].role == "hotline"
    # Once retired, its role may go.
    parties.act(ME, retired())
    parties.adopt(amended(parties.text, roles=without))
    assert parties.now.agencies_by_id[SHELTER].retired_at is not None


def test_a_text_that_is_adopted_meanwhile_does_not_lose_an_agency(parties: Parties) -> None:
    """Proposed before the agency was registered: the last acceptance is refused."""
    without = text_of(parties.text)["roles"]
    parties.adopt(amended(parties.text, roles=without | {"hotline": "Hotline"}))
    text = amended(parties.text, roles=without)
    proposed = parties.act(XK, proposal(text))
    parties.act(AL, parties.acceptance(proposed, text))
    parties.act(ME, registered(role="hotline"))
    assert parties.refused(ME, parties.acceptance(proposed, text)) == "amendment"


def test_contact_points_are_named_replaced_and_ended_by_their_country(parties: Parties) -> None:
    def named(agency: str, **more: Any) -> ContactPointNamed:
        return ContactPointNamed(
            acted_at=PAST, agency=agency, function="Head", languages=("cnr",), office=OFFICE, **more
        )

    assert parties.refused(POLICE, named(POLICE)) == "coordinators-only"
    assert parties.refused(ME, named("xk-dhtqnj")) == "coordinator-of-the-country"
    assert parties.refused(ME, named("me-node")) == "unknown-agency"
    unreachable = named(POLICE).model_copy(update={"office": Office(address="Street 1")})
    assert parties.refused(ME, unreachable) == "contact-unreachable"
    first = parties.act(ME, named(POLICE))
    deputy = parties.act(ME, named(ME, deputy=True))
    assert parties.refused(XK, ContactPointEnded(acted_at=PAST, contact=first)) == (
        "unknown-contact-point"
    )
    second = parties.act(ME, named(POLICE, replaces=first))
    at = len(parties.ledger.recorded)
    contacts = parties.read().contacts
    assert [one.id for one in contacts if one.is_named(at)] == [deputy, second]
    assert [one.id for one in contacts if one.is_named(at - 1)] == [first, deputy]
    parties.act(ME, ContactPointEnded(acted_at=PAST, contact=deputy))
    # A retired agency has no contact point.
    parties.act(ME, retired(POLICE))
    assert all(one.ended_at is not None for one in parties.read().contacts)
    assert parties.refused(ME, named(POLICE)) == "retired-agency"


def test_the_newest_card_of_a_contact_point_is_in_force(parties: Parties) -> None:
    """A card ends by the next one, by its own end, with its contact point and its agency."""

    def card(contact: UUID) -> ContactCardGiven:
        return ContactCardGiven(acted_at=PAST, contact=contact, full_name="zqName")

    def in_force() -> set[UUID]:
        return {*cards_in_force(parties.read().contacts, parties.text)}

    named = ContactPointNamed(
        acted_at=PAST, agency=POLICE, function="Head", languages=("cnr",), office=OFFICE
    )
    contact, other = parties.act(ME, named), parties.act(ME, named)
    assert parties.refused(POLICE, card(contact)) == "coordinators-only"
    assert parties.refused(XK, card(contact)) == "unknown-contact-point"
    end = ContactCardEnded(acted_at=PAST, contact=contact)
    assert parties.refused(ME, end) == "no-contact-card"
    parties.act(ME, card(contact))
    newer, beside = parties.act(ME, card(contact)), parties.act(ME, card(other))
    assert in_force() == {newer, beside}
    parties.act(ME, end)
    assert in_force() == {beside}
    assert parties.refused(ME, end) == "no-contact-card"
    again = parties.act(ME, card(contact))
    parties.act(ME, ContactPointEnded(acted_at=PAST, contact=other))
    assert in_force() == {again}
    assert parties.refused(ME, card(other)) == "unknown-contact-point"
    parties.act(ME, retired(POLICE))
    assert in_force() == set()
    assert "zqName" not in "".join(row.state.decode() for row in parties.ledger.recorded)


def test_the_trail_tells_what_an_act_changed(parties: Parties) -> None:
    before = RegistryDocuments().of(parties.read())
    parties.act(ME, registered())
    row = parties.ledger.recorded[-1]
    registry, event = parties.read(), parties.events(row.originator_id)[-1]
    after = RegistryDocuments().of(registry)
    told = trail_document(event, registry, SignatureState.VALID, before, after, None)
    (change,) = told["changes"]
    assert change["path"] == "/agencies"
    assert change["after"][SHELTER]["role"] == "shelter"


def test_a_retired_mark_or_a_body_in_a_text_is_judged(parties: Parties) -> None:
    told = text_of(parties.text)

    def with_part(**part: Any) -> Protocol:
        agencies = [one | part if one["id"] == POLICE else one for one in told["agencies"]]
        return Protocol.model_validate(told | {"agencies": agencies})

    with pytest.raises(ValueError, match="its own country retires it"):
        with_part(retired_at=5)
    with pytest.raises(ValueError, match="an international body is no"):
        with_part(role="oversight", international=True)
    assert with_part(international=True).agencies_by_id[POLICE].international
    with pytest.raises(ValueError, match="must begin with its party's code"):
        Protocol.model_validate(
            told
            | {"edition": 1, "quorum": None}
            | {"agencies": [*told["agencies"], {**told["agencies"][1], "id": "free-name"}]}
        )


def test_an_agreement_with_later_changes_answers_as_before(parties: Parties) -> None:
    """Whatever was registered since, an earlier position has the same answer."""
    moments: list[tuple[int, Any, Protocol]] = []
    acts: list[Action] = [
        registered(),
        AgencyRenamed(acted_at=PAST, agency=SHELTER, name="Another"),
        retired(),
    ]
    for act in acts:
        at = parties.ledger.now + timedelta(minutes=1)
        moments.append((len(parties.ledger.recorded) + 1, at, parties.now))
        parties.act(ME, act)
    agreement: Agreement = parties.read().agreement
    for position, at, protocol in moments:
        assert agreement.at(position, at).agencies == protocol.agencies
