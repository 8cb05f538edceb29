"""Figures: charts that the page's policy lets be drawn, and the tables beside them."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Person

People = Callable[[str], Person]


@pytest.mark.parametrize("agency", ["xk-nac", "me-ombudsman"])
def test_three_charts_with_their_tables(person: People, agency: str) -> None:
    """Under the strict policy: a script that it stopped would have complained."""
    reader = person(agency)
    page = reader.goto("/charts")
    expect(page.locator("[data-chart] svg")).to_have_count(3)
    expect(page.locator("table.figures")).to_have_count(3)
    expect(page.locator(".note:visible")).to_contain_text("not for publication")
    for drawn in ("caseload] .mark-rect", "flow] .mark-rect", "returns] .mark-symbol"):
        assert page.locator(f"[data-chart={drawn}.role-mark path").count() >= 1, drawn
    expect(page.locator("[data-chart=flow]")).to_contain_text("Kosovo → Montenegro")
    expect(page.get_by_role("row", name="Kosovo → Montenegro")).to_be_visible()
    if agency == "xk-nac":
        reader.sees_no_barrier()
        reader.pictures("charts")
    page.locator("details").first.click()
    expect(page.locator("#specification-caseload")).to_contain_text("vega-lite")
    if agency != "xk-nac":  # a chart has thousands of marks to look at: each state once
        reader.sees_no_barrier()
    assert reader.complained() == []


def test_tables_need_no_script(person: People, chromium: Browser) -> None:
    reader = person("xk-nac")
    state = reader.context.storage_state()
    with chromium.new_context(storage_state=state, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{reader.server.url}/charts")
        expect(page.locator("table.figures")).to_have_count(3)
        expect(page.locator("[data-chart]").first).to_be_hidden()


def test_figures_are_not_for_others(person: People) -> None:
    police = person("me-police-thb")
    police.expected = re.compile("403")
    page = police.goto("/charts")
    expect(page.get_by_role("heading", level=1)).to_have_text("This is not for your agency")
    assert page.locator("#main").locator("svg, table").count() == 0
