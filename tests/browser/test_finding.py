"""She is found by keyboard alone, from any page, among many cases."""

import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from api.importing.import_run import Importer, Order
from ledger.importing.import_map import load_map
from ledger.vocabulary.case_reference import case_reference
from tests.browser.conftest import Person
from tests.support.actions import opening
from tests.support.htcds import write_csv
from tests.support.serving import Server
from tests.support.waiting import until

POLICE = "xk-dhtqnj"
People = Callable[[str], Person]
CASES = int(os.environ.get("CASE_LEDGER_TEST_FOUND_AMONG", "12"))
SECONDS = 15.0
SECONDS_A_KEY = 0.28
"""An average typist who is no secretary (Card, Moran and Newell's keystroke-level model, 1980)."""
NUMBER = "PHN-7701/26"
YESTERDAY = datetime.now(ZoneInfo("Europe/Belgrade")).date() - timedelta(days=1)
FIRST = ("Arta", "Arjana", "Arjeta", "Drita", "Besa", "Milica", "Jovana", "Shpresa", "Ana", "Mira")
SECOND = ("Krasniqi", "Krasnić", "Gashi", "Hoxha", "Berisha", "Marković", "Popović", "Shala")
MAP = b"""
[defaults]
"case_opened.ground" = "police_action"
"case_opened.age_group" = "child"
"case_opened.indicators" = "begging_in_the_street"

[columns]
found_on = "case_opened.acted_at"
"""


def bring(node: Server, directory: Path) -> None:
    """Import the other cases: one in a hundred is of yesterday, and many names are like hers."""
    dice = random.Random(5)

    def day(number: int) -> str:
        ago = 0 if number % 100 == 0 else dice.randrange(1, 700)
        return (YESTERDAY - timedelta(days=ago)).isoformat()

    rows = [
        {
            "found_on": day(number),
            "prs_FirstName": dice.choice(FIRST),
            "prs_SecondName": f"{dice.choice(SECOND)}{dice.choice(('', '', 'aj', 'ić', 'i'))}",
            "prs_IdentityNumber": f"{dice.randrange(10**9, 10**10)}",
        }
        for number in range(CASES)
    ]
    order = Order(
        source=write_csv(directory / "cases.csv", rows),
        agency=POLICE,
        private=node.agencies.keys[POLICE],
        import_map=load_map(MAP, Path("map")),
        map_digest="",
        errors=directory / "errors.csv",
        workers=1,
    )
    parts = node.node
    summary = Importer(node.settings, parts.ledger, parts.database, order, lambda *_: "").run()
    assert summary.recorded_now == CASES
    indexer, search = node.worker("search_index"), parts.vaults.of("XK").search

    def is_indexed() -> bool:
        indexer.wait_for_step()
        return not search.due(1)

    until(is_indexed, seconds=600)


@pytest.fixture(scope="module")
def hers(node: Server, tmp_path_factory: pytest.TempPathFactory) -> UUID:
    """Her case, opened yesterday, among the others."""
    bring(node, tmp_path_factory.mktemp("cases"))
    noon = datetime.combine(YESTERDAY, datetime.min.time(), UTC) + timedelta(hours=12)
    with node.client(POLICE) as police:
        named = opening(acted_at=noon, first_name="Arjeta", second_name="Krasniqajka")
        opened = police.open_case(named)
        police.set_file_number(opened.case_id, NUMBER)
        police.case(opened.case_id, at_least=opened.position)
    until(lambda: node.node.views.position("case_views") >= opened.position, seconds=600)
    return opened.case_id


class Keyboard:
    """The keyboard alone: it counts the keys."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.keys = 0
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """The time that a typist takes, with that of the pages."""
        return time.perf_counter() - self._began + self.keys * SECONDS_A_KEY

    def press(self, key: str) -> None:
        self.keys += 1
        self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.keys += len(text)
        self.page.keyboard.type(text)

    def tab_to(self, selector: str, most: int) -> None:
        """Press Tab until an element has the focus."""
        for _ in range(most):
            if self.page.evaluate("s => document.activeElement.matches(s)", selector):
                return
            self.press("Tab")
        raise AssertionError(f"{selector} is not reached by {most} tabs")

    def search(self, text: str) -> None:
        """Go to the box from the top of the page, type, and press Enter."""
        self.tab_to("#find", 12)
        self.type(text)
        self.press("Enter")


def by_reference(keys: Keyboard, case_id: UUID) -> None:
    keys.search(case_reference(case_id).replace("-", " ").lower())


def by_file_number(keys: Keyboard, case_id: UUID) -> None:  # noqa: ARG001
    keys.search("phn 7701 26")


def by_misspelt_name(keys: Keyboard, case_id: UUID) -> None:
    keys.search("Arijeta Krasnicajka")
    expect(keys.page.locator("#find-purpose")).to_be_focused()
    keys.type("Ident")  # the list chooses by the first letters
    keys.press("Tab")
    keys.press("Enter")
    row = keys.page.get_by_role("row").filter(has_text=case_reference(case_id))
    expect(row).to_contain_text("Arjeta Krasniqajka")
    assert keys.page.url.endswith("/find"), "no name is in the address"
    keys.tab_to(f'a[href="/cases/{case_id}"]', 10)
    keys.press("Enter")


def by_day(keys: Keyboard, case_id: UUID) -> None:
    keys.search(f"{YESTERDAY.day}.{YESTERDAY.month}.{YESTERDAY.year}")
    row = keys.page.get_by_role("row").filter(has_text=NUMBER)
    expect(row).to_be_visible()
    keys.tab_to(f'a[href="/cases/{case_id}"]', 20)
    keys.press("Enter")


@pytest.mark.parametrize("way", [by_reference, by_file_number, by_misspelt_name, by_day])
def test_yesterdays_girl_is_found_by_keyboard_alone(
    person: People, hers: UUID, way: Callable[[Keyboard, UUID], None]
) -> None:
    police = person(POLICE)
    page = police.goto("/cases")
    expect(page.locator("#live")).to_be_visible()
    keys = Keyboard(page)
    way(keys, hers)
    expect(page.get_by_role("heading", level=1)).to_contain_text(case_reference(hers))
    print(f"{way.__name__}: {keys.keys} keys, {keys.seconds:.1f} s among {CASES} cases")
    assert keys.seconds < SECONDS
    assert not police.complained()


def test_the_pages_of_finding_have_no_barrier_in_any_state(person: People, hers: UUID) -> None:
    police = person(POLICE)
    page = police.goto("/find")
    police.sees_no_barrier()
    page.fill("#sought", "Arijeta Krasnicajka")
    page.press("#sought", "Enter")
    expect(page.locator("#find-purpose")).to_be_focused()
    police.sees_no_barrier()
    page.select_option("#find-purpose", "identification")
    page.get_by_role("main").get_by_role("button", name="Find", exact=True).click()
    expect(page.get_by_text("Arjeta Krasniqajka")).to_be_visible()
    expect(page.locator(f'a[href="/cases/{hers}"]')).to_be_focused()
    police.sees_no_barrier()
    police.pictures("find")
    page.fill("#sought", "Xhevrije Nobody")
    page.get_by_role("main").get_by_role("button", name="Find", exact=True).click()
    expect(page.get_by_text("No person in your country's vault matches")).to_be_visible()
    expect(page.locator("#sought")).to_be_focused()
    police.sees_no_barrier()
    page.goto(f"{police.server.url}/cases/{hers}/file-number")
    police.sees_no_barrier()
    page.fill("#number", "no digit")
    page.press("#number", "Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("#number")).to_have_value("no digit")
    police.sees_no_barrier()
    page.goto(f"{police.server.url}/cases/{hers}")
    expect(page.locator(".file-numbers")).to_contain_text(NUMBER)
    police.sees_no_barrier()


def test_the_list_with_names_and_a_saved_filter_has_no_barrier(person: People, hers: UUID) -> None:
    police = person(POLICE)
    page = police.goto("/cases?show=all&order=newest")
    page.get_by_text("Filter and order").click()
    page.fill("#filter-name", "The newest")
    page.press("#filter-name", "Enter")
    saved = page.get_by_role("link", name="The newest", exact=True)
    expect(saved).to_have_attribute("aria-current", "true")
    page.locator("summary").get_by_text("Show names").click()
    page.select_option("#names-purpose", "protection")
    page.get_by_role("button", name="Show names").click()
    row = page.get_by_role("row").filter(has_text=case_reference(hers))
    expect(row).to_contain_text("Arjeta Krasniqajka")
    expect(row).to_contain_text(NUMBER)
    police.sees_no_barrier()
    police.pictures("case-list")
    page.get_by_role("link", name="Hide the names").click()
    expect(page.get_by_text("Arjeta Krasniqajka")).to_have_count(0)
    page.get_by_role("button", name="Remove the filter The newest").click()
    expect(saved).to_have_count(0)
    assert not police.complained()
