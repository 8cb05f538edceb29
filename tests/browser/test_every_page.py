"""Every page on narrow screens, on paper, and in other languages."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Person, open_menu
from tests.support.story import Told

People = Callable[[str], Person]
PAGES = ("/cases?show=all", "/cases/new", "/board", "/meeting", "/charts", "/keys", "/agencies",
         "/agreement", "/verify", "/retention", "/audit", "/missing", "/parcels", "/waiting",
         "/help/actions", "/directory",
         "/cases/{}", "/cases/{}/act", "/cases/{}/act/meeting_held", "/cases/{}/personal",
         "/cases/{}/documents", "/cases/{}/act/document_added",
         "/cases/{}/replay", "/cases/{}/trail", "/cases/{}/verify", "/sign-in")  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_a_narrow_screen(person: People, story: Told, path: str) -> None:
    """WCAG 1.4.10: at 320 pixels a page scrolls in one direction, tables within themselves."""
    coordinator = person("xk-nac")
    coordinator.page.set_viewport_size({"width": 320, "height": 640})
    page = coordinator.goto(path.format(story.cases["B"]))
    wide = page.evaluate(
        """() => document.scrollingElement.scrollWidth > innerWidth
            ? [...document.querySelectorAll("main *, header *")]
                .filter((one) => one.getBoundingClientRect().right > innerWidth + 1
                    && !one.closest(".scroll") && !one.closest("pre"))
                .map((one) => one.tagName + "." + one.className + "#" + one.id).slice(0, 5)
            : []"""
    )
    if "/new" in path or "/act/" in path:  # the others are looked at where they are used
        coordinator.sees_no_barrier()
    coordinator.page.set_viewport_size({"width": 1280, "height": 800})
    assert wide == []


_WORDS = """() => {
    // What people typed stays in the language in which they typed it.
    document.querySelectorAll(".disclosed dd").forEach((one) => { one.hidden = true; });
    return document.body.innerText;
}"""


@pytest.mark.parametrize("button", ["Shqip", "Crnogorski"])
def test_no_page_falls_back_to_english(person: People, story: Told, button: str) -> None:
    """Every fixed text of a page is in the page's language."""
    coordinator = person("me-nac")
    page = coordinator.goto("/cases")
    open_menu(page)
    page.get_by_role("button", name=button).click()
    # The page in the other language has come: a request during its loading would be aborted.
    expect(page.locator("html")).not_to_have_attribute("lang", "en")
    for path in PAGES:
        page = coordinator.goto(path.format(story.cases["A"]))
        # The name of an organisation, and of the command, is the same in every language.
        text = re.sub("Hope and Homes|case-ledger", "", page.evaluate(_WORDS))
        found = re.findall(r"\b(the|and|your|which|sign in|case)\b", text, re.IGNORECASE)
        assert found == [], (path, found)
    page.get_by_role("button", name="English").click()  # the last page is that of signing in
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_a_case_is_printed_without_what_is_for_the_screen(person: People, story: Told) -> None:
    coordinator = person("xk-nac")
    page = coordinator.goto(f"/cases/{story.cases['A']}")
    page.emulate_media(media="print")
    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
    expect(page.locator("table.lanes")).to_be_visible()
    page.emulate_media(media="screen")
