"""A record is put right by forms: refusals in the page's words, history beside the field."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime

from playwright.sync_api import Page, expect

from tests.browser.conftest import Person, fill_date, show_whole
from tests.support.actions import START, opening
from tests.support.serving import Server

People = Callable[[str], Person]
REFUSED = re.compile("status of 422")
"""What the test provokes, and the browser tells on its console."""


def sign(page: Page) -> None:
    page.get_by_role("button", name="See what will be signed").click()
    page.get_by_role("button", name="Sign and record").click()


def recorded(page: Page) -> str:
    page.wait_for_url(re.compile(r"/cases/[0-9a-f-]{36}\?at_least=\d+$"))
    return page.url.split("/")[-1].split("?")[0]


def test_a_misspelt_child_is_put_right_by_forms(person: People) -> None:
    police = person("xk-dhtqnj")
    police.expected = REFUSED
    page = police.goto("/cases/new")
    show_whole(page)
    year = datetime.now(UTC).year
    expect(page.locator("[data-field=confirmed]")).to_be_hidden()
    page.locator("#f-age_group").select_option("child")
    page.get_by_label("Kosovo").check()
    page.locator("#f-ground").select_option("helpline")
    page.get_by_label("Out of school").check()
    page.locator("#f-first_name").fill("Arlnda")
    fill_date(page, "f-birthdate", date(1980, 3, 7))
    sign(page)
    expect(page.locator("#trouble")).to_contain_text("By the birth date the person was an adult")
    fill_date(page, "f-birthdate", date(year - 17, 3, 7))
    expect(page.locator("#f-of_age_from")).to_have_value(f"{year + 1}-01-01")
    sign(page)
    case = recorded(page)
    expect(page.locator("dl.strip")).to_contain_text("Comes of age")
    page = police.goto(f"/cases/{case}/act/identity_recorded")
    show_whole(page)
    expect(page.get_by_text("A field that you leave empty stays as it was")).to_be_visible()
    page.locator("#f-ground").select_option("learned")
    page.locator("#f-source").select_option("document")
    page.locator("#f-certainty").select_option("confirmed")
    page.locator("#f-first_name").fill("Arlinda")
    finder = page.get_by_label("Citizenship: Type to find")
    for typed in ("serb", "cote", "s"):  # the last one means several
        finder.fill(typed)
        finder.press("Enter")
    expect(finder).to_have_value("s")
    chosen = page.locator("#f-citizenship")
    expect(chosen).to_have_values(["CI", "RS"])
    page.get_by_role("button", name="Take away: Serbia").click()
    expect(chosen).to_have_values(["CI"])
    expect(finder).to_be_focused()
    fill_date(page, "f-birthdate", date(1990, 3, 7))
    sign(page)
    trouble = page.locator("#trouble")
    expect(trouble).to_contain_text("Correct the date, or confirm below that it is right")
    confirmed = page.locator("[data-field=confirmed]")
    expect(confirmed).to_be_visible()
    confirmed.get_by_label("Counts as a child, but is an adult by the birth date").check()
    sign(page)
    recorded(page)
    page = police.goto(f"/cases/{case}/personal")
    page.locator("input[value=identity]").check()
    page.locator("#purpose").select_option("protection")
    page.get_by_role("button", name="Open").click()
    known = page.locator("table.known")
    expect(known).to_contain_text("Arlinda")
    expect(page.get_by_text("By the birth date that counts the person is an adult")).to_be_visible()
    for one in known.locator("summary").all():
        one.click()
    expect(known.locator("s").first).to_have_text("Arlnda")
    police.sees_no_barrier()


def test_a_duplicate_is_merged_and_parted_by_forms(person: People, node: Server) -> None:
    """From the proposal to the case that leads on, and to the undoing."""
    police, work = person("xk-dhtqnj"), person("xk-csw-prishtina")
    with node.client("xk-dhtqnj") as client:
        goes_on = client.open_case(opening())
    with node.client("xk-csw-prishtina") as client:
        ends = client.open_case(opening(acted_at=START))
        client.case(ends.case_id, at_least=ends.position)
    page = work.goto(f"/cases/{ends.case_id}/act/merge_proposed?other={goes_on.case_id}")
    expect(page.locator("#f-addressee")).to_have_value("xk-dhtqnj")
    work.pictures("merge-propose")
    sign(page)
    recorded(page)
    page = police.goto(f"/cases/{ends.case_id}")
    expect(page.get_by_text("the agency that leads the other case")).to_be_visible()
    expect(page.get_by_role("link", name="End this case")).to_have_count(0)
    police.pictures("merge-proposed")
    police.sees_no_barrier()
    page.get_by_role("link", name="Accept: take this case into the other one").click()
    police.pictures("merge-accept")
    sign(page)
    recorded(page)
    expect(page.get_by_text("That case has not ended yet")).to_be_visible()
    expect(page.get_by_role("link", name="End that case")).to_be_visible()
    page = work.goto(f"/cases/{ends.case_id}")
    expect(page.get_by_text("The merge is half done")).to_be_visible()
    expect(page.get_by_role("link", name="Accept: take")).to_have_count(0)
    page.get_by_role("link", name="End this case: it continues in the other one").click()
    sign(page)
    recorded(page)
    expect(page.get_by_text("This case was merged. It continues in case")).to_be_visible()
    expect(police.goto(f"/cases/{goes_on.case_id}").get_by_text("not ended yet")).to_have_count(0)
    work.pictures("merge-ended")
    page.get_by_role("link", name="Undo the merge").click()
    page.locator("#f-ground").select_option("another_person")
    sign(page)
    recorded(page)
    work.pictures("merge-undoing")
    work.sees_no_barrier()
    page.get_by_role("link", name="Undo it in the case that continued").click()
    page.locator("#f-ground").select_option("another_person")
    sign(page)
    assert recorded(page) == str(goes_on.case_id)
    page = work.goto(f"/cases/{ends.case_id}/act/merge_undone?other={goes_on.case_id}")
    page.locator("#f-ground").select_option("another_person")
    sign(page)
    recorded(page)
    expect(page.get_by_text("This case was merged")).to_have_count(0)
    expect(page.locator("tr.annulled")).to_contain_text("undone")
