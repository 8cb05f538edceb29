"""The audit across cases: the access log opens by a form, and each further page by another."""

from collections.abc import Callable

from playwright.sync_api import expect

from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Purpose
from tests.browser.conftest import Person
from tests.support.story import Told

People = Callable[[str], Person]


def test_oversight_opens_the_access_log_and_filters_it(person: People, story: Told) -> None:
    reader = person("xk-ombudsperson")
    with reader.server.client("xk-dhtqnj") as police:
        for case_id in story.cases.values():
            police.read(case_id, [FieldGroup.IDENTITY], Purpose.IDENTIFICATION)
    page = reader.goto("/audit")
    expect(page.locator("#log ~ table")).to_have_count(0)
    page.get_by_label("Purpose").select_option("identification")
    page.get_by_role("button", name="Open the access log").click()
    expect(page.get_by_text("Your look is entry")).to_be_visible()
    rows = page.locator("#log ~ table tbody tr")
    expect(rows.first).to_contain_text("Identity")
    expect(rows.first).to_contain_text("granted")
    reader.sees_no_barrier()
    reader.pictures("audit")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as XLSX").click()
    assert saved.value.suggested_filename.endswith(".xlsx")
    page.get_by_label("From").fill("soon")
    page.get_by_role("button", name="Open the access log").click()
    expect(page.get_by_text("Nothing was opened")).to_be_visible()
    assert reader.complained() == []
