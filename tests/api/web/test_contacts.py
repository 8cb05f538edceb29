"""The persons of the other side, sealed from all who have no part: case managers and cards."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.background_jobs.vault_checker import vault_check
from api.client import RefusedError
from api.exchange import contact_cards
from ledger import application
from ledger.procedure.agreement import Agreement
from ledger.procedure.protocol import COORDINATOR, NODE
from ledger.procedure.subject_ids import act_subject
from ledger.refusals import Refusal
from ledger.signing import signed_action
from ledger.store.migrate import vault_role
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import CaseManagerNamed, Correction
from ledger.vocabulary.erasure import LegalHoldLifted, LegalHoldPlaced
from ledger.vocabulary.picklists import CorrectionEffect, CorrectionReason, HoldGround
from ledger.vocabulary.registration import (
    ContactCardEnded,
    ContactCardGiven,
    ContactPointNamed,
    Office,
)
from tests.support.actions import START, opening
from tests.support.agencies import PAST
from tests.support.leaks import tables_with
from tests.support.seeking import routes_with
from tests.support.serving import Server
from tests.support.sharing import register_country_keys
from tests.support.waiting import until
from tests.support.web import signed_in

ARTA, JELENA, IVANA = "zqArta Berisha", "zqJelena Vukovic", "zqIvana Radulovic"
EXCHANGED = 60.0


@pytest.fixture(scope="module")
def served(node: Server) -> Server:
    register_country_keys(node)
    return node


def manager(name: str, **more: Any) -> CaseManagerNamed:
    told: dict[str, Any] = {
        "acted_at": START + timedelta(hours=1),
        "full_name": name,
        "function": "Social worker",
        "institution": "Centre for social work",
        "telephone_24h": "+383 44 100 200",
        "email": "case@example.org",
        "languages": ("sqi", "eng"),
    }
    return CaseManagerNamed(**told | more)


def opened(served: Server, countries: tuple[str, ...]) -> UUID:
    with served.client("xk-dhtqnj") as police:
        receipt = police.open_case(opening(countries))
        police.case(receipt.case_id, at_least=receipt.position)
        return receipt.case_id


def record(served: Server, agency: str, case: UUID, action: Any) -> Any:
    with served.client(agency) as client:
        receipt = client.append(action, case, client.case(case).view.version)
        client.case(case, at_least=receipt.position)
        next(client.trail(case, at_least=receipt.position))
        return receipt


def page(served: Server, agency: str, case: UUID) -> str:
    with signed_in(served, agency) as browser:
        answer = browser.get(f"/cases/{case}")
    assert answer.status_code == 200, answer.text
    return answer.text.split('id="managers"')[1].split('class="columns"')[0]


def test_both_countries_see_both_case_managers_and_nobody_else_does(served: Server) -> None:
    case = opened(served, ("XK", "ME"))
    assert page(served, "me-nac", case).count("Nobody is named.") == 2
    record(served, "xk-csw-peja", case, manager(ARTA, deputy_name="zqLiridon Gashi"))
    earlier = record(served, "me-csw-podgorica", case, manager(JELENA))
    newer = record(served, "me-nac", case, manager(IVANA))
    for agency in ("xk-dhtqnj", "me-csw-podgorica"):
        until(
            lambda agency=agency: ARTA in (now := page(served, agency, case)) and IVANA in now,
            "the other country's case manager",
            seconds=EXCHANGED,
        )
        told = page(served, agency, case)
        assert "zqLiridon Gashi" in told
        assert 'href="tel:+38344100200"' in told
        assert JELENA not in told
    annulled = Correction(
        acted_at=START + timedelta(hours=2), corrects=newer.action_id,
        effect=CorrectionEffect.ANNULLED, reason=CorrectionReason.ENTRY_ERROR,
    )  # fmt: skip
    record(served, "me-nac", case, annulled)
    until(
        lambda: "Nobody is named" in page(served, "xk-nac", case),
        "nobody: the one before is destroyed",
        seconds=EXCHANGED,
    )
    assert JELENA not in page(served, "me-nac", case)
    assert earlier.position < newer.position
    with served.client("xk-ombudsperson") as oversight:
        assert ARTA not in oversight.case(case).model_dump_json()
    told = page(served, "xk-ombudsperson", case)
    assert ARTA not in told
    assert "does not have it" in told
    assert tables_with(served.node.conninfo, [ARTA, JELENA, IVANA]) == {}


NUMBER, NEWER_NUMBER = "+383 44 100 200", "+383 44 300 400"


def rows_of(served: Server, action: UUID) -> dict[str, int]:
    """Return the number of disclosures of an action in each vault."""
    return {
        vault.party: len(held)
        for vault in served.node.vaults
        if (held := vault.held_digests([action]).get(action))
    }


def test_what_is_held_on_a_replaced_manager_is_destroyed_but_not_under_a_hold(
    served: Server,
) -> None:
    """It is read nowhere from the next naming on, and is no part of the person's file."""
    case = opened(served, ("XK", "ME"))
    earlier = record(served, "xk-csw-peja", case, manager(ARTA, deputy_name="zqDeputy"))
    until(lambda: rows_of(served, earlier.action_id) == {"XK": 7, "ME": 7}, "both", seconds=60)
    hold = record(
        served,
        "xk-court-prishtina",
        case,
        LegalHoldPlaced(acted_at=START, ground=HoldGround.COMPENSATION_CLAIM),
    )
    newer = record(served, "xk-csw-peja", case, manager(IVANA, telephone_24h=NEWER_NUMBER))
    until(lambda: rows_of(served, newer.action_id) == {"XK": 6, "ME": 6}, "both", seconds=60)
    institution = "Centre for social work"
    marks = (ARTA, "zqDeputy", NUMBER, IVANA, NEWER_NUMBER, institution)
    found = routes_with(served, "me-csw-podgorica", case, *marks)
    assert not any(found.get(mark) for mark in marks[:3]), found
    for mark in (IVANA, NEWER_NUMBER):
        assert "GET /v1/cases/{case_id}" in found[mark]
        assert not {one for one in found[mark] if "subject-access" in one}
    assert "POST subject-access json" in found[institution]
    with served.client("xk-csw-prishtina") as at_home:
        told = at_home.case(case).model_dump_json()
    assert IVANA in told
    assert ARTA not in told
    served.worker("erase").wait_for_step()
    assert rows_of(served, earlier.action_id) == {"XK": 7, "ME": 7}  # the hold keeps it
    record(
        served,
        "xk-court-prishtina",
        case,
        LegalHoldLifted(acted_at=START + timedelta(hours=1), hold=hold.action_id),
    )
    until(lambda: rows_of(served, earlier.action_id) == {}, "the destruction", seconds=60)
    assert rows_of(served, newer.action_id) == {"XK": 6, "ME": 6}
    assert findings(served) == []
    (row,) = served.node.ledger.rows_of_actions([earlier.action_id])
    for vault in map(served.node.vaults.of, ("XK", "ME")):
        assert vault.destroyed.unconfirmed() == []
        with pytest.raises(Refusal, match="destroyed"):  # nothing brings it back
            vault.deposit(row.event().action, case, ())


def test_an_agency_without_the_right_names_nobody(served: Server) -> None:
    case = opened(served, ("XK",))
    assert "Name the case manager" in page(served, "xk-csw-peja", case)
    assert "Name the case manager" not in page(served, "xk-ngo-support", case)
    with pytest.raises(RefusedError) as refused:
        record(served, "xk-ngo-support", case, manager(ARTA))
    assert refused.value.problem.rule == "role"


def cards_of(served: Server, agency: str) -> dict[UUID, str | None]:
    """The persons whose cards an agency reads, by contact point."""
    with served.client(agency) as client:
        found = client.contact_points()
    return {one.id: one.card.full_name for one in found if one.card is not None}


def check_read(served: Server, agency: str, expected: dict[UUID, str | None]) -> None:
    """Check that an agency reads these cards, by the API and on the page, and no others."""
    assert cards_of(served, agency) == expected, agency
    with signed_in(served, agency) as browser:
        for path in ("/agencies", "/directory"):
            shown = browser.get(path).text
            assert {name for name in CARDS if name in shown} == set(expected.values()), agency


CARDS = ("zqMirjana Popovic", "zqAna Bulatovic")


def test_coordinators_and_contact_points_of_all_parties_read_a_card_and_nobody_else(
    served: Server,
) -> None:
    """In each role's turn; a card that is replaced or ended is erased in every vault."""
    named = ContactPointNamed(
        acted_at=PAST, agency="xk-csw-peja", function="Head", languages=("sqi",),
        office=Office(telephone="+383 39 000 000"),
    )  # fmt: skip
    with served.client("xk-nac") as kosovo:
        kosovo.append_to_registry(named)
    named = named.model_copy(update={"agency": "me-police-thb"})
    first, second = CARDS
    with served.client("me-nac") as montenegro:
        contact = montenegro.append_to_registry(named).action_id
        given = montenegro.append_to_registry(
            ContactCardGiven(acted_at=PAST, contact=contact, full_name=first, email="m@example.me")
        )
        for other in ("xk-nac", "al-nac"):
            until(
                lambda other=other: cards_of(served, other).get(contact) == first,
                "the card in the other countries",
                seconds=EXCHANGED,
            )
        # One agency of each role: the access is by function, and no role but the coordinator's.
        for agency in {one.role: one for one in served.agencies.protocol.agencies}.values():
            if agency.role != NODE:
                coordinates = agency.role == COORDINATOR
                expected: dict[UUID, str | None] = {contact: first} if coordinates else {}
                check_read(served, agency.id, expected)
        for office in ("xk-csw-peja", "me-police-thb"):
            check_read(served, office, {contact: first})
        assert findings(served) == []
        montenegro.append_to_registry(
            ContactCardGiven(acted_at=PAST, contact=contact, full_name=second)
        )
        until(
            lambda: cards_of(served, "xk-nac").get(contact) == second,
            "the next card",
            seconds=EXCHANGED,
        )
        until(lambda: erased_everywhere(served, given.action_id), "the erasure", seconds=EXCHANGED)
        montenegro.append_to_registry(ContactCardEnded(acted_at=PAST, contact=contact))
        until(lambda: cards_of(served, "xk-nac") == {}, "the end", seconds=EXCHANGED)
    assert tables_with(served.node.conninfo, CARDS) == {}
    assert findings(served) == []


def findings(served: Server) -> list[str]:
    """Return the faults of the vaults, by the ledger and their inventories."""
    node, protocol = served.node, served.agencies.protocol
    return [
        str(finding)
        for vault in node.vaults
        for finding in vault_check(
            node.ledger,
            node.database,
            node.outbox,
            vault.party,
            vault.keys,
            vault.documents.chunks,
        ).findings(protocol, protocol)
    ]


def erased_everywhere(served: Server, card: UUID) -> bool:
    subject = act_subject(served.agencies.protocol.ledger_id, card)
    return all(
        vault.erased([subject]) and not vault.case_fields(subject) and not vault.keys.has(subject)
        for vault in served.node.vaults
    )


def contact_of(served: Server, coordinator: str, office: str) -> UUID:
    named = ContactPointNamed(
        acted_at=PAST, agency=office, function="Head", languages=("sqi",),
        office=Office(telephone="+383 39 000 000"),
    )  # fmt: skip
    with served.client(coordinator) as client:
        return client.append_to_registry(named).action_id


def give(served: Server, coordinator: str, contact: UUID, name: str, card: UUID | None) -> UUID:
    """Give a card, under an id that the coordinator chooses."""
    given = ContactCardGiven(acted_at=PAST, contact=contact, full_name=name)
    signed = sign(served, coordinator, given, None, action_id=card)
    with served.client(coordinator) as client:
        return client.send_to_registry(signed).action_id


def sign(served: Server, agency: str, action: Action, case: UUID | None, **more: Any) -> str:
    return str(
        signed_action.sign(
            action,
            agency=agency,
            key=served.agencies.keys[agency],
            protocol=served.agencies.protocol.id,
            case_id=case,
            **more,
        )
    )


def refused_rule(call: Callable[[], object]) -> str:
    with pytest.raises(RefusedError) as refused:
        call()
    return refused.value.problem.rule


NOTE, WRONG, RIGHT = "zqnoteofthechild", "zqCardUnderACase", "zqNextCard"


def test_no_card_has_the_id_of_a_case_and_no_case_the_id_of_a_card(served: Server) -> None:
    contact = contact_of(served, "xk-nac", "xk-csw-peja")
    case = opened(served, ("XK", "ME"))
    assert refused_rule(lambda: give(served, "xk-nac", contact, WRONG, case)) == (
        "action-id-of-case"
    )
    card = give(served, "xk-nac", contact, RIGHT, None)
    subject = act_subject(served.agencies.protocol.ledger_id, card)
    with served.client("xk-dhtqnj") as police:
        for taken, rule in ((card, "case-id-taken"), (subject, "case-id-form")):
            again = sign(served, "xk-dhtqnj", opening(("XK", "ME")), taken)
            assert refused_rule(lambda again=again, at=taken: police.send(again, at, 0)) == rule
    assert cards_of(served, "xk-nac")[contact] == RIGHT
    with served.client("xk-nac") as coordinator:
        coordinator.append_to_registry(ContactCardEnded(acted_at=PAST, contact=contact))
    assert findings(served) == []


@pytest.mark.parametrize("is_card_first", [True, False])
def test_a_card_and_a_case_of_one_id_that_are_recorded_at_once_stay_apart(
    served: Server, monkeypatch: pytest.MonkeyPatch, is_card_first: bool
) -> None:
    """Each is decided before the other is recorded; then the card is replaced, and ends."""
    monkeypatch.setattr(application, "check_ids_apart", lambda *_: None)
    contact, shared = contact_of(served, "xk-nac", "xk-csw-peja"), uuid4()
    noted = opening(("XK", "ME"), indicators_note=NOTE)
    signed = sign(served, "xk-dhtqnj", noted, shared)

    def open_case() -> None:
        with served.client("xk-dhtqnj") as police:
            police.send(signed, shared, 0)

    steps = [lambda: give(served, "xk-nac", contact, WRONG, shared), open_case]
    for step in steps if is_card_first else reversed(steps):
        step()
    with served.client("xk-csw-prishtina") as social_work:
        hold = LegalHoldPlaced(acted_at=START, ground=HoldGround.COMPENSATION_CLAIM)
        with served.client("xk-court-prishtina") as court:
            court.append(hold, shared, 1)
        until(lambda: NOTE in social_work.case(shared).model_dump_json(), "the case's note")
        assert WRONG not in social_work.case(shared).model_dump_json()
        for agency in ("xk-nac", "al-nac"):
            until(
                lambda agency=agency: cards_of(served, agency).get(contact) == WRONG,
                "the card",
                seconds=EXCHANGED,
            )
        give(served, "xk-nac", contact, RIGHT, None)
        until(lambda: erased_everywhere(served, shared), "the erasure", seconds=EXCHANGED)
        with served.client("xk-nac") as coordinator:
            coordinator.append_to_registry(ContactCardEnded(acted_at=PAST, contact=contact))
        served.worker("erase").wait_for_step()
        for party in ("XK", "ME"):
            vault = served.node.vaults.of(party)
            until(
                lambda vault=vault: NOTE in [one.value for one in vault.case_fields(shared)],
                "the case's note in the vault",
                seconds=EXCHANGED,
            )
            assert not vault.erased([shared])
        assert NOTE in social_work.case(shared).model_dump_json()
    assert findings(served) == []


def test_a_party_that_joined_again_gets_the_cards_and_gives_its_own(
    served: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    contact, theirs = contact_of(served, "xk-nac", "xk-nac"), contact_of(served, "al-nac", "al-nac")
    give(served, "xk-nac", contact, RIGHT, None)
    give(served, "al-nac", theirs, WRONG, None)

    def all_read() -> bool:
        expected = {contact: RIGHT, theirs: WRONG}
        return all(cards_of(served, one) == expected for one in ("xk-nac", "me-nac", "al-nac"))

    until(all_read, "the cards", seconds=EXCHANGED)
    node = served.node
    for vault in node.vaults:
        assert contact_cards.remove_as_left(vault, node.ledger, node.ledger.adopted(), "AL") > 0
    assert cards_of(served, "al-nac") == {contact: None, theirs: WRONG}
    assert cards_of(served, "xk-nac") == {contact: RIGHT, theirs: None}
    joined = node.ledger.head()
    monkeypatch.setattr(
        Agreement, "joined_again_at", lambda _, pair, __: joined if "AL" in pair else 0
    )
    with served.client("xk-nac") as coordinator:
        coordinator.append_to_registry(
            ContactCardEnded(acted_at=PAST, contact=contact_with_card(served))
        )
    until(all_read, "the cards again", seconds=EXCHANGED)
    assert findings(served) == []


def contact_with_card(served: Server) -> UUID:
    contact = contact_of(served, "xk-nac", "xk-csw-peja")
    give(served, "xk-nac", contact, "zqOther", None)
    return contact


def test_a_crash_after_the_erasure_of_a_card_leaves_nothing_to_confirm(served: Server) -> None:
    contact = contact_of(served, "xk-nac", "xk-csw-peja")
    card = give(served, "xk-nac", contact, WRONG, None)
    subject = act_subject(served.agencies.protocol.ledger_id, card)
    with served.client("xk-nac") as coordinator:
        coordinator.append_to_registry(ContactCardEnded(acted_at=PAST, contact=contact))
    until(lambda: erased_everywhere(served, card), "the erasure", seconds=EXCHANGED)
    vault = served.node.vaults.of("XK")
    assert vault.erased_at(subject) is not None
    with served.node.database.transaction(role=vault_role("XK")) as connection:
        written = connection.execute(
            "SELECT confirmed_at = erased_at AS together FROM vault_xk.erased WHERE case_id = %s",
            (subject,),
        ).fetchone()
    assert written == {"together": True}  # one transaction: no crash comes between
    assert subject not in vault.unconfirmed()


def test_a_card_that_is_refused_leaves_nothing(served: Server) -> None:
    card = ContactCardGiven(acted_at=PAST, contact=UUID(int=5), full_name="zqNobody")
    with served.client("me-nac") as client:
        signed = client.sign(card, None)
        with pytest.raises(RefusedError) as refused:
            client.send_to_registry(signed)
    assert refused.value.problem.rule == "unknown-contact-point"
    action = signed_action.read(signed)
    assert served.node.vaults.of("ME").held_digests([action.id]) == {}
