"""The design of the pages: components in every state, the header of one line, and its menu."""

from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Person, open_menu

People = Callable[[str], Person]
COORDINATOR = "xk-nac"
SIZES = {"desk": (1366, 768), "phone": (390, 844)}


def at_size(page: Page, size: str) -> None:
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_component_is_a_barrier_in_any_state(
    person: People, scheme: Literal["light", "dark"]
) -> None:
    reader = person(COORDINATOR)
    reader.page.emulate_media(color_scheme=scheme)
    page = reader.goto("/components")
    reader.sees_no_barrier()
    reader.pictures(f"components-{scheme}")
    page.locator("#c-open").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    reader.sees_no_barrier()
    page.keyboard.press("Escape")
    page.emulate_media(color_scheme="light")


@pytest.mark.parametrize("size", SIZES)
def test_the_header_is_one_line_with_a_menu_of_every_section(person: People, size: str) -> None:
    """No role has more sections than the coordinator."""
    reader = person(COORDINATOR)
    at_size(reader.page, size)
    page = reader.goto("/components")
    for language in ("Shqip", "Crnogorski", "English"):
        open_menu(page)
        page.get_by_role("button", name=language).click()
        expect(page.get_by_role("button", name=language)).to_be_hidden()
        header = page.locator("header.top")
        assert header.evaluate("header => header.offsetHeight") <= 56, language
        assert header.evaluate("header => header.scrollWidth <= header.clientWidth"), language
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), language
    shown = page.locator("header nav a:visible").all_inner_texts()
    open_menu(page)
    listed = page.locator("header nav a:visible").all_inner_texts()
    assert {"My cases", "Meeting", "Keys", "Agencies", "Verify"} <= set(listed)
    assert len(listed) == len(set(listed)), "no section is offered twice"
    assert len(shown) < len(listed)
    reader.sees_no_barrier()
    at_size(page, "desk")


def test_escape_and_a_press_beside_it_close_the_menu(person: People) -> None:
    page = person(COORDINATOR).goto("/components")
    menu = page.locator("#menu > summary")
    menu.focus()
    page.keyboard.press("Enter")
    signing_out = page.locator("#sign-out")
    expect(signing_out).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(signing_out).to_be_hidden()
    expect(menu).to_be_focused()
    open_menu(page)
    page.locator("h1").click()
    expect(signing_out).to_be_hidden()


def test_a_table_is_a_card_for_each_row_on_a_phone(person: People) -> None:
    """No part of the table is beside the screen, and each cell still names its column."""
    reader = person(COORDINATOR)
    at_size(reader.page, "phone")
    page = reader.goto("/components")
    assert page.evaluate("document.scrollingElement.scrollWidth") == SIZES["phone"][0]
    cell = page.locator("table.stack td").first
    label = cell.evaluate("cell => getComputedStyle(cell, '::before').content")
    assert label == '"By when"'
    expect(page.get_by_role("table").first.get_by_role("row")).to_have_count(4)
    at_size(page, "desk")
