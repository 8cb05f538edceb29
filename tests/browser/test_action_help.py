"""Help for an action: on its form, and as a page."""

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Person
from tests.support.story import Told

People = Callable[[str], Person]


def test_the_form_leads_to_the_help_and_the_help_to_all(person: People, story: Told) -> None:
    police = person("xk-dhtqnj")
    page = police.goto(f"/cases/{story.cases['B']}/act/risk_assessed")
    page.get_by_text("About this action").click()
    expect(page.get_by_role("heading", name="What follows")).to_be_visible()
    police.sees_no_barrier()
    page.get_by_role("link", name="This help as a page").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Risk assessed")
    expect(page.get_by_role("heading", name="What it needs")).to_be_visible()
    police.sees_no_barrier()
    police.pictures("action-help")
    page.get_by_role("link", name="All actions").click()
    expect(page.get_by_role("link", name="Risk assessed", exact=True)).to_be_visible()
    police.sees_no_barrier()
    police.pictures("action-helps")
    assert police.complained() == []
