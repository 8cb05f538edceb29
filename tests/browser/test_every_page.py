"""Every page on narrow screens, on paper, and in other languages."""

import os
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


SEEN_ELSEWHERE = ("/today", "/today/calendar", "/today/mail", "/find", "/members", "/drafts",
                  "/lost-key", "/import-map",
                  "/paper", "/meeting/ME", "/meeting/ME/{}", "/meeting/ME/summary",
                  "/help/actions/meeting_held", "/docs", "/docs/actions/document_added",
                  "/docs/operations/cases", "/components", "/cases/{}/notes",
                  "/cases/{}/file-number", "/cases/{}/forms", "/cases/{}/forms/1")  # fmt: skip
"""Pages whose words other tests read."""
DRAWN = ("/charts", "/board", "/today/calendar", "/cases/{}", "/cases/{}/replay",
         "/meeting/ME/summary", "/cases/new", "/docs")  # fmt: skip
"""Pages that draw more than components."""
NARROW = (320, 683)
"""CSS pixels: WCAG 1.4.10, and a desk of 1366 pixels at 200 % zoom (WCAG 1.4.4)."""
_TROUBLES = """() => {
    const said = (one) => `${one.tagName}.${one.className}#${one.id}`;
    const all = [...document.querySelectorAll("main *, header *")];
    const scrolls = (one) => one.closest("main") && one.scrollWidth > one.clientWidth + 1
        && ["auto", "scroll"].includes(getComputedStyle(one).overflowX);
    const named = (one) => one.matches("[aria-label], [aria-labelledby], pre, .tabs ul");
    return {
        beside: document.scrollingElement.scrollWidth > innerWidth ? all
            .filter((one) => one.getBoundingClientRect().right > innerWidth + 1
                && !one.closest(".scroll, pre, .tabs"))
            .map(said).slice(0, 5).concat("the page") : [],
        unnamed: all.filter((one) => scrolls(one) && !named(one)).map(said),
        tables: all.filter((one) => scrolls(one)
            && one.querySelector(":scope > table:not(.figures, .calendar)")).map(said),
    };
}"""


@pytest.mark.parametrize("path", PAGES + SEEN_ELSEWHERE)
def test_a_page_is_read_on_narrow_screens_and_in_the_dark(
    person: People, story: Told, path: str
) -> None:
    """A page scrolls in one direction at 320 pixels and at 200 % zoom.

    What scrolls within itself is a picture, a calendar or a table of figures, and has a name; every
    other table is a card for each row. Text in the dark has its contrast on pages with drawings of
    their own; ``test_design.py`` has that of every component, of which all pages are made.
    """
    coordinator = person("xk-nac")
    coordinator.page.emulate_media(color_scheme="dark")
    page = coordinator.goto(path.format(story.cases["B"]))
    found = {}
    for width in NARROW:
        page.set_viewport_size({"width": width, "height": 640})
        found[width] = page.evaluate(_TROUBLES)
    if path in DRAWN or os.environ.get("CASE_LEDGER_TEST_DARK_PAGES") == "1":
        coordinator.sees_no_barrier("color-contrast")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 320, "height": 640})
    if "/new" in path or "/act/" in path:  # the others are looked at where they are used
        coordinator.sees_no_barrier()
    page.set_viewport_size({"width": 1280, "height": 800})
    nothing = {"beside": [], "unnamed": [], "tables": []}
    assert found == dict.fromkeys(NARROW, nothing)


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
