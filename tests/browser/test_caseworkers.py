"""Caseworkers: signing in by a key, cases by what is due, the timeline, personal fields, live."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest
from playwright.sync_api import expect

from ledger.vocabulary.protection import RiskAssessed
from tests.browser.conftest import Person, answer_is_lost, open_menu
from tests.support.serving import Server
from tests.support.story import Told
from tests.support.waiting import until

POLICE, CARE, NGO = "xk-dhtqnj", "me-csw-podgorica", "xk-ngo-support"
People = Callable[[str], Person]


def test_a_key_that_is_not_registered_opens_nothing(stranger: Person) -> None:
    stranger.expected = re.compile("401")
    page = stranger.goto("/sign-in")
    stranger.make_key()
    expect(page.locator("#sign-in-said")).to_contain_text("Have it registered")
    page.click("#enter")
    expect(page.locator("#sign-in-said")).to_contain_text("not registered yet")
    stranger.sees_no_barrier()
    stranger.picture("sign-in")


def test_no_script_takes_the_key_out(stranger: Person) -> None:
    page = stranger.goto("/sign-in")
    stranger.make_key()
    extractable = page.evaluate(
        """async () => {
            const keys = await import(document.querySelector("script[src*='/sign_in.js']").src
                .replace("sign_in.js", "keys.js"));
            return (await keys.of(document.getElementById("agency").value)).sign.extractable;
        }"""
    )
    assert extractable is False


def test_cases_begin_with_what_is_overdue(person: People) -> None:
    police = person(POLICE)
    page = police.goto("/cases?show=all")
    expect(page.get_by_role("heading", level=1)).to_have_text("My cases")
    expect(page.locator("tbody tr").nth(1)).to_be_visible()
    police.sees_no_barrier()
    police.picture("cases")


def test_a_case_is_a_timeline_of_both_countries(person: People, story: Told) -> None:
    police = person(POLICE)
    page = police.goto(f"/cases/{story.cases['A']}")
    assert page.locator("svg text.lane").all_text_contents() == ["Kosovo", "Montenegro"]
    assert page.locator("svg text.stage").count() == 5
    assert page.locator("svg .dot").count() == story.versions["A"]
    assert page.locator("svg .crossing").count() > 2
    actions = page.locator("table.lanes tbody tr")
    assert actions.count() == story.versions["A"]
    countries = set(page.locator("table.lanes .country").all_inner_texts())
    assert countries == {"XKKosovo", "MEMontenegro"}
    assert actions.locator("details").count() == 0, "nothing is behind a closed row"
    expect(actions.locator("th").first).to_have_text(str(story.versions["A"]))
    police.sees_no_barrier()
    police.pictures("case")
    page.get_by_role("link", name="Oldest first").click()
    expect(actions.locator("th").first).to_have_text("1")
    expect(actions.last).to_contain_text("recorded")
    expect(page.get_by_role("link", name="Oldest first")).to_have_attribute("aria-current", "true")


def test_the_page_of_a_case_begins_with_its_answers(person: People, story: Told) -> None:
    police = person(POLICE)
    page = police.goto(f"/cases/{story.cases['A']}")

    def answer(name: str) -> str:
        return page.locator(f"[data-answer={name}]").inner_text()

    assert "Centre for social work" in answer("guardian")
    assert "High" in answer("risk")
    assert "review due by 15 January 2026" in answer("risk")
    assert "Return to care in the country of origin" in answer("best-interests")
    assert "Shelter for Victims of Trafficking, Montenegro" in answer("shelter")
    assert "Legal" in answer("services")
    assert "none recorded" in answer("measures")
    consents = page.locator("[data-consent]")
    expect(consents).to_have_count(2)
    expect(consents.first).to_contain_text("without an end date")
    expect(page.locator("dl.strip")).to_contain_text("Centre for Social Work, Podgorica")
    ends = page.locator("#line").evaluate(
        "line => [...document.querySelectorAll('[data-answer], #next, #consents')]"
        ".every(one => one.compareDocumentPosition(line) & Node.DOCUMENT_POSITION_FOLLOWING)"
    )
    assert ends, "all answers are before the timeline"


def test_no_part_of_a_case_is_beside_a_phones_screen(person: People, story: Told) -> None:
    police = person(POLICE)
    police.page.set_viewport_size({"width": 390, "height": 844})
    page = police.goto(f"/cases/{story.cases['A']}")
    beside = page.evaluate(
        """() => [...document.querySelectorAll("main *")]
            .filter((one) => !one.closest(".tabs") && one.offsetWidth > 1
                && one.getBoundingClientRect().right > innerWidth + 1)
            .map((one) => one.tagName + "." + one.className)"""
    )
    police.sees_no_barrier()
    page.set_viewport_size({"width": 1280, "height": 800})
    assert beside == []


def test_a_case_of_other_countries_is_not_there(person: People, story: Told) -> None:
    albanian = person("al-police-thb")
    albanian.expected = re.compile("404")
    page = albanian.goto(f"/cases/{story.cases['A']}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Not found")
    albanian.sees_no_barrier()


def test_personal_fields_open_for_a_purpose_and_that_is_written_down(
    person: People, story: Told
) -> None:
    police = person(POLICE)
    page = police.goto(f"/cases/{story.cases['A']}/personal")
    assert "Izmišljenović" not in page.content()
    page.get_by_label("Identity", exact=False).check()
    page.get_by_label("Purpose").select_option("identification")
    page.get_by_role("button", name="Open, and be written down").click()
    expect(page.get_by_role("heading", name="Opened for you")).to_be_visible()
    expect(page.locator("section.good table.known")).to_contain_text("Izmišljenović")
    expect(page.locator("section[aria-labelledby=log] tbody tr").first).to_contain_text("granted")
    assert "Izmi" not in page.url
    police.sees_no_barrier()
    police.picture("personal")


def test_opened_fields_are_released_on_a_basis_that_covers_them(
    person: People, story: Told, node: Server
) -> None:
    police = person(POLICE)
    page = police.goto(f"/cases/{story.cases['A']}/personal")
    page.get_by_label("Identity", exact=False).check()
    page.get_by_label("Exploitation", exact=False).check()
    page.get_by_label("Purpose").select_option("return")
    page.get_by_role("button", name="Open, and be written down").click()
    form = page.locator("#release-form")
    form.get_by_label("First name", exact=False).last.check()  # the one that counts
    expect(form.locator("input[data-group=exploitation]")).to_have_count(0)
    form.locator("#release-basis option", has_text="Duty").first.wait_for(state="attached")
    form.locator("#release-basis").select_option(index=1)
    form.locator("#release-purpose").select_option("return")
    police.sees_no_barrier()
    police.picture("release")
    police.expected = re.compile("ERR_FAILED")
    with node.client(POLICE) as client:
        before = len(list(client.trail(story.cases["A"])))
    page.route("**/actions", answer_is_lost, times=1)
    form.get_by_role("button", name="Sign and release").click()
    expect(page.locator("#release-said")).to_contain_text("kept in this browser")
    expect(form.get_by_role("button", name="Sign and release")).to_be_disabled()
    waiting = page.locator("#unsent li")
    expect(waiting).to_contain_text("Information released")
    waiting.get_by_role("button", name="Send again").click()
    expect(page.locator("#unsent")).to_be_hidden()
    with node.client(POLICE) as client:
        until(lambda: len(list(client.trail(story.cases["A"]))) > before)
        *earlier, last = client.trail(story.cases["A"])
    assert len(earlier) == before, "the release is recorded once"
    assert (last.kind, last.fields["recipient"]) == ("information_released", "ME")
    assert last.fields["groups"] == ["identity"]
    assert last.signature.value == "valid"


def test_without_a_basis_nothing_opens_and_that_is_written_down(
    person: People, story: Told
) -> None:
    ngo = person(NGO)
    page = ngo.goto(f"/cases/{story.cases['B']}/personal")
    page.get_by_label("Contact", exact=False).check()
    page.get_by_label("Purpose").select_option("protection")
    page.get_by_role("button", name="Open, and be written down").click()
    expect(page.get_by_role("alert")).to_contain_text("no legal basis")
    expect(page.locator("section[aria-labelledby=log] tbody tr").first).to_contain_text("refused")


def test_a_page_follows_the_ledger_and_says_so(person: People, story: Told, node: Server) -> None:
    care = person(CARE)
    page = care.goto(f"/cases/{story.cases['B']}")
    before = page.locator("table.lanes tbody tr").count()
    page.wait_for_load_state("load")
    with node.client(POLICE) as police:
        version = police.case(story.cases["B"]).view.version
        risk = RiskAssessed(acted_at=datetime.now(UTC), risk_level="high")
        police.append(risk, story.cases["B"], version)
    expect(page.locator("table.lanes tbody tr")).to_have_count(before + 1)
    expect(page.locator("#announce")).to_have_text("This case has changed; the page is up to date.")


@pytest.mark.parametrize(
    ("button", "heading"), [("Shqip", "Rastet e mia"), ("Crnogorski", "Moji slučajevi")]
)
def test_the_language_is_chosen_with_a_button(person: People, button: str, heading: str) -> None:
    police = person(POLICE)
    page = police.goto("/cases")
    open_menu(page)
    page.get_by_role("button", name=button).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    police.sees_no_barrier()
    open_menu(page)
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("My cases")


def test_the_keyboard_reaches_the_content(person: People) -> None:
    page = person(POLICE).goto("/cases")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_signing_out_ends_the_session(stranger: Person) -> None:
    stranger.sign_in()
    cookies = {c["name"]: c["value"] for c in stranger.context.cookies()}
    open_menu(stranger.page)
    stranger.page.get_by_role("button", name="Sign out").click()
    stranger.page.wait_for_url("**/sign-in")
    with httpx.Client(cookies=cookies) as thief:
        assert thief.get(f"{stranger.server.url}/v1/cases").json()["rule"] == "session-over"
