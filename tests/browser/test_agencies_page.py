"""The agencies page: what everyone reads, and what a coordinator reviews and signs."""

from collections.abc import Callable
from datetime import UTC, datetime

from playwright.sync_api import expect

from ledger.vocabulary.registration import AgencyRegistered, ContactPointNamed, Office
from tests.browser.conftest import SECONDS, Person
from tests.support.serving import Server

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
    desk.get_by_role("button", name="See what will be signed").click()
    expect(desk.locator("#told")).to_contain_text("Shelter in Bar")
    expect(desk.locator("#for-ever")).to_be_visible()
    coordinator.picture("agencies-review")
    desk.get_by_role("button", name="Sign", exact=True).click()
    expect(desk.locator("#agency-said")).to_contain_text("recorded", timeout=SECONDS)

    desk = coordinator.goto("/agencies")
    expect(desk.locator(MONTENEGRO)).to_contain_text("Shelter in Bar")
    desk.select_option("#act", "agency_retired")
    desk.select_option("#own", "bar-shelter")
    desk.get_by_role("button", name="See what will be signed").click()
    desk.get_by_role("button", name="Sign", exact=True).click()
    expect(desk.locator("#agency-said")).to_contain_text("recorded", timeout=SECONDS)
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
