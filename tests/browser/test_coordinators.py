"""Coordinators: what both countries owe, requests, bases, duplicates, and registering keys."""

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime

from playwright.sync_api import expect

from ledger.signing import keys
from ledger.vocabulary.identification import CaseOpened
from ledger.vocabulary.registration import KeyRegistered
from tests.browser.conftest import SECONDS, Person
from tests.support.serving import Server
from tests.support.story import Told
from tests.support.waiting import until

People = Callable[[str], Person]


def test_the_board_has_both_countries_obligations(person: People, story: Told) -> None:
    coordinator = person("xk-nac")
    page = coordinator.goto("/board")
    expect(page.get_by_role("heading", name="Kosovo owes")).to_be_visible()
    expect(page.get_by_role("heading", name="Montenegro owes")).to_be_visible()
    owed = page.locator("section[aria-labelledby=owes-XK]")
    expect(owed).to_contain_text("Receipt of a request for information confirmed")
    expect(owed).to_contain_text("was due")
    expect(page.locator("section[aria-labelledby=requests]")).to_contain_text(
        "receipt not confirmed"
    )
    expect(page.locator("section[aria-labelledby=bases]")).to_contain_text("Consent")
    assert page.locator(f'a[href="/cases/{story.cases["A"]}"]').count() > 1
    coordinator.sees_no_barrier()
    coordinator.picture("board")


def test_a_duplicate_is_assessed_by_its_coordinators(person: People, node: Server) -> None:
    opening = CaseOpened(
        acted_at=datetime.now(UTC), age_group="child", countries=("ME",), ground="helpline",
        indicators=("out_of_school",), first_name="Izmišljena", second_name="Primjer",
        birthdate=date(2012, 3, 4),
    )  # fmt: skip
    with node.client("me-police-thb") as other, node.client("xk-dhtqnj") as police:
        other.open_case(opening)
        police.open_case(opening.model_copy(update={"countries": ("XK",)}))
    with node.client("xk-nac") as client:
        until(lambda: client.duplicates().duplicates)
    coordinator = person("xk-nac")
    page = coordinator.goto("/board")
    section = page.locator("section[aria-labelledby=duplicates]")
    expect(section).to_contain_text("given and family name; birth date")
    assert "Primjer" not in page.content()
    coordinator.sees_no_barrier()
    page.once("dialog", lambda dialog: dialog.accept())
    section.get_by_role("button", name="The same person").click()
    expect(section.locator(".quiet").first).to_contain_text("The same person", timeout=SECONDS)


def test_a_coordinator_registers_a_persons_key(person: People, stranger: Person) -> None:
    page = stranger.goto("/sign-in")
    stranger.make_key()
    public = page.input_value("#public-key")
    thumbprint = page.locator("#thumbprint").inner_text()
    coordinator = person("xk-nac")
    desk = coordinator.goto("/keys")
    coordinator.sees_no_barrier()
    desk.select_option("#owner", stranger.agency)
    desk.fill("#jwk", public)
    expect(desk.locator("#seen")).to_have_text(thumbprint)
    desk.check("#compared")
    coordinator.picture("keys")
    desk.get_by_role("button", name="Sign and register").click()
    expect(desk.locator("#key-said")).to_contain_text("Registered")
    page.click("#enter")
    page.wait_for_url("**/today")


def test_a_private_key_is_not_taken(person: People) -> None:
    desk = person("xk-nac").goto("/keys")
    desk.select_option("#owner", "xk-dhtqnj")
    desk.fill("#jwk", json.dumps(keys.generate().as_dict(private=True)))
    desk.check("#compared")
    desk.get_by_role("button", name="Sign and register").click()
    expect(desk.locator("#key-said")).to_contain_text("no public Ed25519 key")


def test_a_coordinator_confirms_and_declines_changes_of_another_countrys_keys(
    person: People, node: Server
) -> None:
    owner, both = "xk-ombudsperson", [keys.generate(), keys.generate()]
    with node.client("xk-nac") as client:
        for key in both:
            grant = node.agencies.grant(owner, key)
            client.append_to_registry(KeyRegistered(acted_at=datetime.now(UTC), grant=grant))
    confirmed, declined = map(keys.key_id, both)
    desk = person("me-nac").goto("/keys")

    def press(key_id: str, button: str, said: str) -> None:
        row = desk.locator("section[aria-labelledby=waiting] li").filter(has_text=key_id)
        row.get_by_role("button", name=button).click()
        expect(desk.locator("#waiting-said")).to_contain_text(said)
        expect(row).to_have_count(0)

    press(confirmed, "Confirm", "counts from now on")
    press(declined, "Decline", "no effect")
    with node.client("xk-nac") as client:
        assert client.key_proposals() == []
        registered = {key.id for agency in client.agencies() for key in agency.keys}
    assert registered & {confirmed, declined} == {confirmed}


def test_the_coordinators_pages_are_not_for_others(person: People) -> None:
    police = person("me-police-thb")
    page = police.goto("/keys")  # has the person's own key, and no key of the country
    expect(page.locator("#own-has")).to_be_visible()
    assert page.locator("#key-form, section[aria-labelledby=held]").count() == 0
    police.sees_no_barrier()
    police.pictures("keys-of-a-person")
    police.expected = re.compile("403")
    page = police.goto("/board")
    expect(page.get_by_role("heading", level=1)).to_have_text("This is not for your agency")
    assert page.request.get(police.server.url + "/board").status == 403


def test_oversight_sees_the_board_without_duplicates(person: People) -> None:
    watcher = person("me-ombudsman")
    page = watcher.goto("/board")
    assert page.locator("section[aria-labelledby=duplicates]").count() == 0
    watcher.sees_no_barrier()
