"""The agencies page: what everyone reads, and what a coordinator reviews and signs."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

from playwright.sync_api import Page, expect

from ledger.vocabulary.registration import (
    AgencyRegistered,
    ContactCardGiven,
    ContactPointNamed,
    Office,
)
from tests.browser.conftest import SECONDS, Person, answer_is_lost, draft
from tests.support.serving import Server
from tests.support.waiting import until

People = Callable[[str], Person]
MONTENEGRO = "section[aria-labelledby=party-ME]"


def test_a_coordinator_reviews_and_signs_what_changes(person: People, node: Server) -> None:
    coordinator = person("me-nac")
    desk = coordinator.goto("/agencies")
    coordinator.sees_no_barrier()
    desk.select_option("#act", "agency_registered")
    desk.fill("#new-id", "bar-shelter")
    desk.select_option("#role", "shelter")
    desk.fill("#name", "Shelter in Bar")
    desk.fill("#email", "office@example.invalid")
    desk.get_by_role("button", name="See what will be signed").first.click()
    expect(desk.locator("#told")).to_contain_text("Shelter in Bar")
    expect(desk.locator("#for-ever")).to_be_visible()
    coordinator.picture("agencies-review")
    desk.get_by_role("button", name="Sign", exact=True).click()
    expect(desk.locator("#said")).to_contain_text("recorded", timeout=SECONDS)
    expect(desk.locator("#said")).to_be_focused()

    desk = coordinator.goto("/agencies")
    expect(desk.locator(MONTENEGRO)).to_contain_text("Shelter in Bar")
    desk.select_option("#act", "agency_retired")
    desk.select_option("#own", "bar-shelter")
    desk.get_by_role("button", name="See what will be signed").first.click()
    desk.get_by_role("button", name="Sign", exact=True).click()
    expect(desk.locator("#said")).to_contain_text("recorded", timeout=SECONDS)
    with node.client("xk-nac") as client:
        (shelter,) = (one for one in client.agencies() if one.id == "bar-shelter")
    assert [one.change.value for one in shelter.history] == ["registered", "retired"]
    assert shelter.office == Office(email="office@example.invalid")


def test_everyone_reads_agencies_and_contacts_and_another_party_confirms(
    person: People, node: Server
) -> None:
    now = datetime.now(UTC)
    with node.client("me-nac") as client:
        client.append_to_registry(
            AgencyRegistered(acted_at=now, agency="me-audit", role="oversight", name="An auditor")
        )
        client.append_to_registry(
            ContactPointNamed(
                acted_at=now,
                agency="me-nac",
                function="Head of office",
                functions={"cnr": "Rukovodilac"},
                languages=("cnr", "eng"),
                office=Office(email="office@example.invalid"),
            )
        )
    reader = person("me-police-thb").goto("/agencies")
    expect(reader.locator("section[aria-labelledby=contacts]")).to_contain_text("Head of office")
    expect(reader.locator("#agency-form")).to_have_count(0)
    expect(reader.locator(MONTENEGRO)).not_to_contain_text("An auditor")
    coordinator = person("xk-nac")
    desk = coordinator.goto("/agencies")
    coordinator.picture("agencies")
    desk.get_by_role("button", name="Confirm").click()
    expect(desk.locator("#waiting-said")).to_contain_text("counts from now on", timeout=SECONDS)
    expect(coordinator.goto("/agencies").locator(MONTENEGRO)).to_contain_text("An auditor")


def test_the_directory_says_whom_to_call(person: People, node: Server) -> None:
    now = datetime.now(UTC)
    with node.client("xk-nac") as client:
        contact = client.append_to_registry(
            ContactPointNamed(
                acted_at=now,
                agency="xk-nac",
                function="Head of office",
                languages=("sqi", "eng"),
                office=Office(telephone="+383 38 000 001", address="Prishtina"),
            )
        ).action_id
        client.append_to_registry(
            ContactCardGiven(
                acted_at=now,
                contact=contact,
                full_name="Arta Berisha",
                telephone_24h="+383 44 100 200",
            )
        )
    coordinator = person("xk-nac")
    page = coordinator.goto("/directory")
    page.get_by_label("Country").select_option("XK")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("link", name="+383 44 100 200")).to_have_attribute(
        "href", "tel:+38344100200"
    )
    coordinator.sees_no_barrier()
    coordinator.pictures("directory")
    police = person("xk-dhtqnj")
    closed = police.goto("/directory?country=XK")
    expect(closed.get_by_role("link", name="+383 38 000 001")).to_be_visible()
    expect(closed.get_by_text("Arta Berisha")).to_have_count(0)
    assert coordinator.complained() == []


def test_an_act_on_agencies_whose_answer_is_lost_is_kept_and_sent_once(
    person: People, node: Server
) -> None:
    """Each field says its own fault; a number in local writing is shown with its country."""
    coordinator = person("xk-nac")
    coordinator.expected = re.compile("ERR_FAILED")
    desk = coordinator.goto("/agencies")
    desk.select_option("#act", "agency_registered")
    desk.fill("#new-id", "Peja!")
    desk.fill("#telephone", "044 100")
    desk.get_by_role("button", name="See what will be signed").first.click()
    wrong = desk.locator("#errors li")
    expect(wrong).to_have_count(4)
    expect(wrong.filter(has_text="no telephone number")).to_have_count(1)
    expect(desk.locator("#new-id")).to_be_focused()
    expect(desk.locator("#role-wrong")).to_have_text("needs a value")
    coordinator.sees_no_barrier()
    desk.fill("#new-id", "peja-shelter")
    desk.select_option("#role", "shelter")
    desk.fill("#name", "Shelter in Peja")
    desk.fill("#telephone", "044/100-200")
    desk.locator("#telephone").blur()
    expect(desk.locator("#telephone")).to_have_value("+383 44 100 200")
    until(lambda: "Shelter in Peja" in str(draft(desk, "xk-nac/agencies/agency-form")))
    desk.reload()
    expect(desk.locator("#name")).to_have_value("Shelter in Peja")
    desk.get_by_role("button", name="See what will be signed").first.click()
    expect(desk.locator("#told")).to_contain_text("+383 44 100 200")
    sent: list[str] = []
    desk.on(
        "request",
        lambda r: sent.append(r.post_data or "") if r.url.endswith("/actions") else None,
    )
    desk.route("**/v1/protocol/actions", answer_is_lost, times=1)
    desk.get_by_role("button", name="Sign", exact=True).click()
    expect(desk.locator("#said")).to_contain_text("kept in this browser")
    desk = coordinator.goto("/cases")
    waiting = desk.locator("#unsent li")
    expect(waiting).to_contain_text("Agency registered")
    waiting.get_by_role("button", name="Send again").click()
    expect(desk.locator("#unsent")).to_be_hidden()
    assert len(sent) == 2
    assert sent[0] == sent[1]
    with node.client("me-nac") as client:
        (one,) = (one for one in client.agencies() if one.id == "peja-shelter")
    assert one.office == Office(telephone="+383 44 100 200")


def sign(desk: Page) -> None:
    """Review and sign the form on contact points, and load the page again."""
    form = desk.locator("section[aria-labelledby=change-contacts]")
    form.get_by_role("button", name="See what will be signed").click()
    form.get_by_role("button", name="Sign", exact=True).click()
    expect(desk.locator("#contact-said")).to_contain_text("recorded", timeout=SECONDS)
    desk.reload()


def test_a_coordinator_fills_changes_and_ends_contact_points_and_their_cards(
    person: People, node: Server
) -> None:
    coordinator = person("al-nac")
    desk = coordinator.goto("/agencies")

    desk.select_option("#contact-act", "contact_point_named")
    desk.select_option("#contact-agency", "al-nac")
    desk.fill("#contact-function", "Duty officer")
    desk.fill("#contact-function-sq", "Oficeri i shërbimit")
    desk.check("#contact-deputy")
    desk.select_option("#contact-languages", ["sqi", "eng"])
    desk.get_by_role("button", name="See what will be signed").last.click()
    expect(desk.locator("#contact-errors")).to_contain_text("e-mail address or a telephone")
    desk.fill("#contact-email", "duty@example.invalid")
    sign(desk)

    desk.select_option("#contact-act", "contact_card_given")
    desk.select_option("#contact-of", label="Duty officer (Deputy), " + agency_name(node, "al-nac"))
    desk.fill("#contact-person", "zqErion Hoxha")
    desk.fill("#contact-person-telephone", "04 410 0200")
    coordinator.sees_no_barrier()
    coordinator.picture("contacts-form")
    sign(desk)
    expect(desk.locator(".card", has_text="zqErion Hoxha")).to_contain_text("+355 4 410 0200")

    desk.select_option("#contact-act", "contact_card_given")
    desk.select_option("#contact-of", index=1)
    assert desk.input_value("#contact-person") == "zqErion Hoxha", "to change a part of it"
    desk.fill("#contact-person-telephone", "+355 4 430 0400")
    sign(desk)

    other = person("xk-nac")

    def seen() -> str:
        return other.goto("/agencies").locator("section[aria-labelledby=contacts]").inner_text()

    until(lambda: "+355 4 430 0400" in seen(), "the card in the other country", seconds=60)
    assert "+355 4 410 0200" not in seen()

    desk.select_option("#contact-act", "contact_point_named")
    desk.select_option("#contact-replaces", index=1)
    assert desk.input_value("#contact-function-sq") == "Oficeri i shërbimit"
    desk.fill("#contact-function", "Officer on duty")
    sign(desk)
    assert "Officer on duty" in seen()
    assert "zqErion Hoxha" not in seen(), "the card ended with the contact point that had it"

    desk.select_option("#contact-act", "contact_card_given")
    desk.select_option("#contact-of", index=1)
    desk.fill("#contact-person", "zqAnila Leka")
    desk.fill("#contact-person-email", "anila@example.invalid")
    sign(desk)
    for act, select in (
        ("contact_card_ended", "#contact-carded"),
        ("contact_point_ended", "#contact-of"),
    ):
        desk.select_option("#contact-act", act)
        desk.select_option(select, index=1)
        sign(desk)
    expect(desk.locator(".card", has_text="zqAnila Leka")).to_have_count(0)
    with node.client("xk-nac") as client:
        named = [one for one in client.contact_points() if one.party == "AL"]
    assert [one.function for one in named] == ["Duty officer", "Officer on duty"]
    assert [(one.ended_at is None, one.deputy, one.card) for one in named] == [
        (False, True, None)
    ] * 2
    assert named[0].functions == {"sq": "Oficeri i shërbimit"}
    assert named[1].languages == named[0].languages
    assert sorted(named[0].languages) == ["eng", "sqi"]


def agency_name(node: Server, agency: str) -> str:
    return node.agencies.protocol.agencies_by_id[agency].name
