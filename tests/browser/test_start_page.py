"""The start page of each role, notes and reminders, the calendar, and the choice of e-mails."""

import re
from collections.abc import Callable
from datetime import date, timedelta

import pytest
from playwright.sync_api import expect

from ledger.system import clock
from ledger.vocabulary.case_reference import case_reference
from ledger.vocabulary.communication_forms import FormSent
from tests.api.web.test_communication_forms import sender
from tests.browser.conftest import Person
from tests.support.serving import Server
from tests.support.story import Told
from tests.support.waiting import until

POLICE, CARE, COORDINATOR, OVERSIGHT = "xk-dhtqnj", "xk-csw-prishtina", "xk-nac", "xk-ombudsperson"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1366, "height": 768}
DRAFTS = """async () => {
    const database = await new Promise((resolve) => {
        const asked = indexedDB.open("case-ledger");
        asked.onsuccess = () => resolve(asked.result);
    });
    const kept = await new Promise((resolve) => {
        const asked = database.transaction("drafts").objectStore("drafts").getAllKeys();
        asked.onsuccess = () => resolve(asked.result);
    });
    database.close();
    return kept;
}"""
"""Returns the ids of all drafts of the browser."""
People = Callable[[str], Person]


def fits(of: Person) -> None:
    """Nothing is wider than the window, on a phone and at a desk; no barrier is on the page.

    On the phone axe tries what depends on the width: sizes of targets, and what scrolls.
    """
    for size, rules in ((PHONE, ("target-size", "scrollable-region-focusable")), (DESK, ())):
        of.page.set_viewport_size(size)
        wide = of.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wide <= 0, size
        of.sees_no_barrier(*rules)


@pytest.mark.parametrize("agency", [POLICE, CARE, COORDINATOR, OVERSIGHT])
def test_each_role_begins_with_its_day(person: People, agency: str) -> None:
    """Signing in leads there; every list of the role is a region with a heading."""
    of = person(agency)
    page = of.goto("/")
    expect(page).to_have_url(re.compile("/today$"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("Today")
    wanted = ["Due from us", "Arrived and unread", "Due from others", "Our reminders", "New cases"]
    if agency == COORDINATOR:
        wanted.append("Due from other agencies of our country")
    for name in wanted:
        expect(page.get_by_role("region", name=name).first).to_be_visible()
    fits(of)
    of.pictures(f"today-{agency}")
    of.goto("/today/calendar")
    fits(of)


def test_a_form_is_in_arrived_until_it_is_opened(person: People, node: Server, story: Told) -> None:
    """The page leads to the form; once it was opened, it is in the list no more."""
    case_id = story.cases["A"]
    agency, one = sender(node, case_id, 1)
    of = person(one.addressees[0])
    form = FormSent(acted_at=clock.now(), form_number=1, addressee=of.agency, actions=one.proposed)
    version = node.node.ledger.case(case_id).version  # type: ignore[union-attr]
    with node.client(agency.id) as client:
        receipt = client.append(form, case_id, version)
        list(client.trail(case_id, at_least=receipt.position))
    page = of.goto("/today")
    arrived = page.get_by_role("region", name="Arrived and unread")
    link = arrived.locator(f'a[href$="/forms/sent/{receipt.action_id}"]')
    expect(link).to_have_count(1)
    link.click()
    expect(page).to_have_url(re.compile("/forms/sent/"))
    page = of.goto("/today")
    expect(link).to_have_count(0)


def test_a_reminder_is_kept_shown_and_done(person: People, story: Told) -> None:
    """By the form of the case; on the start page and in the calendar of its day; then done."""
    of, case_id = person(POLICE), story.cases["A"]
    day = date.today() + timedelta(days=2)
    page = of.goto(f"/cases/{case_id}/notes")
    fits(of)
    page.locator("#note-text").fill("Ring the school")
    page.fill("#note-day", "31.2.2027")
    of.expected = re.compile("422")
    page.get_by_role("button", name="Keep").click()
    expect(page.get_by_role("alert")).to_contain_text("Type the day of the reminder")
    expect(page.locator("#note-text")).to_have_value("Ring the school")
    fits(of)
    page.fill("#note-day", f"{day.day}.{day.month}.{day.year}")
    page.get_by_role("button", name="Keep").click()
    page.locator("#note-text").fill("Speaks Romani")
    page.get_by_role("button", name="Keep").click()
    page.get_by_role("button", name="Flag this case").click()
    expect(page.get_by_role("button", name="Flagged")).to_have_attribute("aria-pressed", "true")
    fits(of)
    of.pictures("notes")
    page = of.goto("/today")
    reminders = page.get_by_role("region", name="Our reminders")
    expect(reminders).to_contain_text("Ring the school")
    expect(page.get_by_role("region", name="Flagged cases")).to_contain_text(
        case_reference(case_id)
    )
    page.goto(f"{of.server.url}/today/calendar?month={day:%Y-%m}")
    expect(page.get_by_role("link", name=re.compile("Ring the school"))).to_be_visible()
    fits(of)
    of.pictures("calendar")
    page = of.goto("/today")
    reminders.get_by_role("button", name=re.compile("Done")).click()
    expect(reminders).not_to_contain_text("Ring the school")


def test_a_form_that_was_begun_is_listed(person: People, story: Told) -> None:
    """A draft is in this browser alone; the start page leads back to it."""
    of, case_id = person(POLICE), story.cases["A"]
    page = of.goto(f"/cases/{case_id}/act/risk_assessed")
    page.locator("textarea").first.fill("half a sentence")
    until(lambda: any(id_.endswith("/risk_assessed") for id_ in page.evaluate(DRAFTS)))
    page = of.goto("/today")
    begun = page.get_by_role("region", name="Begun and not signed")
    expect(begun).to_contain_text(case_reference(case_id))
    of.sees_no_barrier()
    begun.get_by_role("link").first.click()
    expect(page).to_have_url(re.compile("/act/risk_assessed$"))


def test_emails_are_chosen(person: People) -> None:
    """The choice is shown again."""
    of = person(CARE)
    page = of.goto("/today/mail")
    fits(of)
    page.get_by_label("One e-mail for each step").check()
    page.get_by_label("Dangers and handovers at once").uncheck()
    page.get_by_label("Language of the e-mails").select_option("sq")
    page.get_by_role("button", name="Save").click()
    page = of.goto("/today/mail")
    expect(page.get_by_label("One e-mail for each step")).to_be_checked()
    expect(page.get_by_label("Dangers and handovers at once")).not_to_be_checked()
    expect(page.get_by_label("Language of the e-mails")).to_have_value("sq")
