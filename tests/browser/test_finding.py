"""She is found by keyboard alone, from any page."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from ledger.vocabulary.case_reference import case_reference
from tests.browser.conftest import Person
from tests.support.actions import opening
from tests.support.serving import Server

POLICE = "xk-dhtqnj"
People = Callable[[str], Person]


def search(page: Page, typed: str) -> None:
    """Reach the box from the top of the page by Tab, type, and press Enter."""
    page.locator("body").press("Tab")  # the skip link
    for _ in range(3):
        if page.evaluate("document.activeElement.id") == "find":
            break
        page.keyboard.press("Tab")
    expect(page.locator("#find")).to_be_focused()
    page.keyboard.type(typed)
    page.keyboard.press("Enter")


@pytest.fixture(scope="module")
def hers(node: Server) -> str:
    with node.client(POLICE) as police:
        opened = police.open_case(opening(first_name="Arjeta", second_name="Krasniqi"))
        police.case(opened.case_id, at_least=opened.position)
    return case_reference(opened.case_id)


def test_a_reference_leads_to_the_case_by_keyboard(person: People, hers: str) -> None:
    police = person(POLICE)
    page = police.goto("/agencies")
    search(page, hers.replace("-", " ").lower())
    expect(page.locator("main").get_by_text(hers).first).to_be_visible()
    assert not police.complained()


def test_a_misspelt_name_leads_to_the_case_by_keyboard(person: People, hers: str) -> None:
    police = person(POLICE)
    page = police.goto("/cases")
    search(page, "Arijeta Krasnici")
    expect(page.locator("#find-purpose")).to_be_focused()
    police.sees_no_barrier()
    page.keyboard.type("Ident")  # the list chooses by the first letters
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    row = page.get_by_role("row").filter(has_text=hers)
    expect(row).to_contain_text("Arjeta Krasniqi")
    assert page.url.endswith("/find"), "no name is in the address"
    police.sees_no_barrier()
    row.get_by_role("link").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(hers)
    assert not police.complained()
