"""Keys that are locked by a PIN: signing out, shared computers, two people, deleted storage."""

import base64
import json
import re
from collections.abc import Iterator
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PIN, Person, at_a_browser, open_menu
from tests.support.serving import Server
from tests.support.story import Told

POLICE = "xk-dhtqnj"
SIGNED_OUT = re.compile("status of 401|ERR_ABORTED")
MODULE = """document.querySelector("script[src$='/app.js']").src.replace("app.js", name)"""


@pytest.fixture(scope="module")
def police(chromium: Browser, node: Server, story: Told) -> Iterator[Person]:  # noqa: ARG001
    """A person of the police who signs out and in."""
    with at_a_browser(chromium, node, POLICE) as somebody:
        somebody.expected = SIGNED_OUT
        somebody.sign_in()
        yield somebody


def sign_out(person: Person) -> None:
    open_menu(person.page)
    person.page.get_by_role("button", name="Sign out").click()
    leave = person.page.locator("#leave-go")
    expect(leave.or_(person.page.locator("#key-sign-in")).first).to_be_visible()
    if leave.is_visible():
        leave.click()
    person.page.wait_for_url("**/sign-in")


def kept(page: Page) -> dict[str, int]:
    """Return how many rows each store of the browser has, and how many usable keys lie in them."""
    found: dict[str, int] = page.evaluate(
        """async () => {
            const database = await new Promise((resolve) => {
                const asked = indexedDB.open("case-ledger");
                asked.onsuccess = () => resolve(asked.result);
            });
            const rows = (name) => new Promise((resolve) => {
                const asked = database.transaction(name).objectStore(name).getAll();
                asked.onsuccess = () => resolve(asked.result);
            });
            const names = ["keys", "drafts", "secrets"];
            const [keys, drafts, secrets] = await Promise.all(names.map(rows));
            const usable = [...keys, ...secrets]
                .filter((row) => row.sign || row.key || row.id?.startsWith("open/")).length;
            return { keys: keys.length, drafts: drafts.length, usable,
                tab: Number("case-ledger-tab-secret" in sessionStorage) };
        }"""
    )
    return found


def unlocked(page: Page) -> list[str]:
    """Return the ids of the keys that are unlocked."""
    found: list[str] = page.evaluate(
        f"""async ([name]) => (await (await import({MODULE})).keys("secrets"))
            .filter((id) => id.startsWith("open/")).map((id) => id.slice(5))""",
        ["store.js"],
    )
    return found


def enter(person: Person) -> None:
    page = person.goto("/sign-in")
    page.select_option("#agency", person.agency)
    page.click("#enter")
    page.locator("#unlock[open], #sign-out").first.wait_for(state="attached")
    if page.locator("#unlock").is_visible():
        person.unlock()
    page.wait_for_url("**/today")


def type_a_draft(page: Page, address: str) -> None:
    page.goto(address)
    page.locator("#f-risk_level").select_option("high")
    page.wait_for_function(
        """() => new Promise((resolve) => {
            const asked = indexedDB.open("case-ledger");
            asked.onsuccess = () => {
                const rows = asked.result.transaction("drafts").objectStore("drafts").count();
                rows.onsuccess = () => { asked.result.close(); resolve(rows.result > 0); };
            };
        })"""
    )


def test_the_next_person_at_a_shared_computer_cannot_enter(police: Person, story: Told) -> None:
    """Signing out locks the key, removes the drafts, and other tabs go blank."""
    form = f"{police.server.url}/cases/{story.cases['A']}/act/risk_assessed"
    with police.context.new_page() as other:
        other.goto(f"{police.server.url}/cases/{story.cases['A']}")
        type_a_draft(police.page, form)
        sign_out(police)
        other.wait_for_url("**/sign-in")
        assert "Case" not in other.locator("main h1").inner_text()
    assert kept(police.page) == {"keys": 1, "drafts": 0, "usable": 0, "tab": 0}
    page = police.page
    page.select_option("#agency", POLICE)
    page.click("#enter")
    police.sees_no_barrier()
    police.unlock("not the PIN of it")
    expect(page.locator("#unlock-said")).to_contain_text("not the PIN")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#sign-in-said")).to_contain_text("stayed locked")
    page.click("#enter")
    police.unlock()
    page.wait_for_url("**/today")
    page.goto(form)
    expect(page.locator("#f-risk_level")).to_have_value("")


def test_a_locked_key_is_asked_for_and_nothing_typed_is_lost(police: Person, story: Told) -> None:
    """The tab that had the key open was closed: a new one asks for the PIN when it signs."""
    enter(police)
    old, police.page = police.page, police.context.new_page()
    police.page.goto("about:blank")
    old.close()
    page = police.goto(f"/cases/{story.cases['A']}/act/risk_assessed")
    page.locator("#f-risk_level").select_option("high")
    page.get_by_role("button", name="See what will be signed").click()
    sign = page.get_by_role("button", name="Sign and record")
    sign.click()
    expect(page.locator("#unlock")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("main [id$=trouble]:visible")).to_contain_text("stayed locked")
    expect(page.locator("#review")).to_contain_text("High")
    sign.click()
    police.unlock()
    page.wait_for_url(re.compile("at_least="))


def test_a_second_tab_needs_no_second_pin(police: Person) -> None:
    enter(police)
    with police.context.new_page() as other:
        other.goto(f"{police.server.url}/cases")
        can_sign = other.evaluate(
            f"async ([name, agency]) => (await (await import({MODULE})).of(agency)).sign.type",
            ["keys.js", POLICE],
        )
    assert can_sign == "private"


def test_wrong_pins_make_the_next_ones_wait(police: Person) -> None:
    police.goto("/today")
    sign_out(police)
    page = police.page
    page.select_option("#agency", POLICE)
    page.click("#enter")
    for _ in range(5):
        police.unlock("wrong again, sorry")
        expect(page.locator("#unlock-pin")).to_have_value("")
        expect(page.locator("#unlock-said")).not_to_be_empty()
    expect(page.locator("#unlock-said")).to_contain_text("Try again in 1 min")
    police.unlock()
    expect(page.locator("#unlock-said")).to_contain_text("Try again in 1 min")


@pytest.mark.parametrize(
    ("pin", "text"),
    [
        ("abc d", "lock.short"),
        ("739104628", "lock.short_digits"),
        ("aaaabbbbcccc", "lock.simple"),
        ("1234567", "lock.short"),
        ("abcdefghijk", "lock.simple"),
        (PIN, None),
        ("7391046285", None),
    ],
)
def test_a_weak_pin_is_refused(police: Person, pin: str, text: str | None) -> None:
    page = police.goto("/sign-in")
    found = page.evaluate(
        f"async ([name, pin]) => (await import({MODULE})).weakness(pin)", ["pins.js", pin]
    )
    assert found == text


def test_a_pin_is_derived_with_as_many_rounds_as_the_documents_say(police: Person) -> None:
    """The other tests derive with few rounds, since the true number costs a second each time."""
    page = police.goto("/sign-in")
    assert page.evaluate(f"async (name) => (await import({MODULE})).ROUNDS", "pins.js") == 2_000_000


def test_a_computer_that_keeps_nothing_has_nothing_after_closing(
    chromium: Browser, node: Server, story: Told
) -> None:
    with at_a_browser(chromium, node, POLICE) as somebody:
        somebody.expected = SIGNED_OUT
        somebody.goto("/sign-in").check("#keep-nothing")
        somebody.sign_in()
        type_a_draft(somebody.page, f"{node.url}/cases/{story.cases['A']}/act/risk_assessed")
        old, somebody.page = somebody.page, somebody.context.new_page()
        old.close()
        page = somebody.goto("/sign-in")
        expect(page.locator("#keep-nothing")).to_be_checked()
        page.wait_for_function("() => window.indexedDB.databases().then((all) => all.length > 0)")
        page.select_option("#agency", POLICE)
        expect(page.locator("#no-key")).to_be_visible()
        assert kept(page) == {"keys": 0, "drafts": 0, "usable": 0, "tab": 0}


def test_a_key_without_a_pin_is_replaced_by_one_with_a_pin(chromium: Browser, node: Server) -> None:
    """The earlier key works until the coordinator registered the new one."""
    with at_a_browser(chromium, node, POLICE) as somebody:
        somebody.expected = SIGNED_OUT
        page = somebody.goto("/sign-in")
        page.evaluate(
            f"async ([name, id]) => (await import({MODULE})).make(id, {{ isLocked: false }})",
            ["keys.js", POLICE],
        )
        page.reload()
        page.select_option("#agency", POLICE)
        expect(page.locator("#unprotected")).to_be_visible()
        earlier = page.locator("#thumbprint").inner_text()
        somebody.register()
        page.click("#make-locked")
        somebody.choose_pin()
        expect(page.locator("#thumbprint")).not_to_have_text(earlier)
        page.click("#enter")
        page.wait_for_url("**/today")
        assert kept(page)["keys"] == 2
        page = somebody.goto("/sign-in")
        page.select_option("#agency", POLICE)
        expect(page.locator("#coming")).to_be_visible()
        somebody.register()
        page.click("#enter")
        page.wait_for_url("**/today")
        assert kept(page)["keys"] == 1
        sign_out(somebody)
        assert kept(somebody.page) == {"keys": 1, "drafts": 0, "usable": 0, "tab": 0}


def test_who_lost_a_phone_reads_what_to_do(stranger: Person) -> None:
    page = stranger.goto("/sign-in")
    page.get_by_role("link", name="Lost the PIN").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("A lost phone, computer or PIN")
    stranger.sees_no_barrier()


def keep_as_before(page: Page) -> None:
    """Put the kept key where programs before kept the one key of an agency."""
    page.evaluate(
        """async () => {
            const database = await new Promise((resolve) => {
                const asked = indexedDB.open("case-ledger");
                asked.onsuccess = () => resolve(asked.result);
            });
            const keys = database.transaction("keys", "readwrite").objectStore("keys");
            const rows = await new Promise((resolve) => {
                const asked = keys.getAll();
                asked.onsuccess = () => resolve(asked.result);
            });
            for (const { agency, made, used, ...rest } of rows) {
                keys.delete(agency);
                const [before] = agency.split("/");
                keys.put({ ...rest, agency: before, place: before });
            }
            await new Promise((resolve) => { keys.transaction.oncomplete = resolve; });
            database.close();
        }"""
    )


def signer(person: Person, case: UUID) -> str:
    """Sign an action on the page of its form. Return the id of the key that signed it."""
    page = person.goto(f"/cases/{case}/act/risk_assessed")
    page.locator("#f-risk_level").select_option("high")
    page.get_by_role("button", name="See what will be signed").click()
    with page.expect_request("**/actions") as sent:
        page.get_by_role("button", name="Sign and record").click()
    page.wait_for_url(re.compile("at_least="))
    header = (sent.value.post_data or "").split(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(header + "=="))["kid"])


def test_two_people_of_an_agency_in_one_browser_have_a_key_each(
    chromium: Browser, node: Server, story: Told
) -> None:
    """The second one never signs with the first one's key, which an earlier program kept."""
    other_pin = "loud candle of Monday"
    with at_a_browser(chromium, node, POLICE) as somebody:
        somebody.expected = SIGNED_OUT
        somebody.sign_in()
        sign_out(somebody)
        keep_as_before(somebody.page)
        page = somebody.goto("/sign-in")
        page.locator("#about-key[open]").wait_for()
        expect(page.locator("#thumbprint")).not_to_be_empty()
        first = page.locator("#thumbprint").inner_text()
        page.click("#make-another")
        somebody.choose_pin(other_pin)
        expect(page.locator("#sign-in-said")).to_contain_text("The key is made")
        expect(page.locator("#whose option")).to_have_count(2)
        somebody.sees_no_barrier()
        somebody.pictures("sign-in-two-people")
        second = page.locator("#thumbprint").inner_text()
        assert second != first
        somebody.register()
        page.click("#enter")
        page.wait_for_url("**/today")
        assert signer(somebody, story.cases["A"]) == second
        # The first person enters while the second one is signed in: with the first one's PIN.
        page = somebody.goto("/sign-in")
        page.select_option("#whose", first)
        page.click("#enter")
        somebody.unlock(other_pin)
        expect(page.locator("#unlock-said")).to_contain_text("not the PIN")
        somebody.unlock()
        page.wait_for_url("**/today")
        assert kept(page)["keys"] == 2
        assert unlocked(page) == [first]
        assert signer(somebody, story.cases["A"]) == first
        # One person's drafts are not shown to the other: members have their own.
        shown = page.evaluate(
            """async () => {
                const script = document.querySelector("script[src$='/app.js']").src;
                const drafts = await import(script.replace("app.js", "drafts.js"));
                const { dataset } = document.body;
                const found = [];
                for (const member of ["one", "two", "one", ""]) {
                    dataset.member = member;
                    found.push((await drafts.find("a/new/x"))?.said ?? null);
                    if (found.length < 4) await drafts.keep("a/new/x", { said: member });
                    found.push((await drafts.ids()).length);
                }
                dataset.member = "one";
                await drafts.dropOf("a", "two");
                return [...found, await drafts.ids()];
            }"""
        )
        assert shown == [None, 1, None, 1, "one", 1, None, 0, ["a/new/x"]]


def test_a_browser_that_deleted_the_key_says_so_before_typing(
    chromium: Browser, node: Server, story: Told
) -> None:
    """The form keeps what is typed, and it is signed once there is another key."""
    with at_a_browser(chromium, node, POLICE) as somebody:
        somebody.expected = SIGNED_OUT
        somebody.sign_in()
        weak = somebody.page.locator("#key-place")
        expect(weak).to_contain_text("may delete your key")  # this browser promised nothing
        weak.locator("summary").click()
        expect(weak).to_contain_text("A passkey does not help")
        somebody.sees_no_barrier()
        somebody.pictures("today-weak-storage")
        somebody.goto("/health").evaluate(
            """() => new Promise((resolve) => {
                indexedDB.deleteDatabase("case-ledger").onsuccess = resolve;
            })"""
        )
        page = somebody.goto(f"/cases/{story.cases['A']}/act/risk_assessed")
        gone = page.locator("#key-place")
        expect(gone).to_contain_text("A key was in this browser and is gone")
        somebody.sees_no_barrier()
        somebody.pictures("act-key-gone")
        page.locator("#f-risk_level").select_option("high")
        gone.get_by_role("link", name="Make a key here").click()
        expect(page.locator("#own-gone")).to_be_visible()
        somebody.sees_no_barrier()
        somebody.pictures("keys-gone")
        page.click("#own-make")
        somebody.choose_pin()
        expect(page.locator("#own-made")).to_be_visible()
        text = page.locator("#own-request").input_value()
        page = somebody.goto("/sign-in")
        told = page.evaluate(
            """async () => {
                // As another server of the same domain can do: its words are on no page.
                document.cookie = "case-ledger-keys=Call 049 123; path=/";
                const { src } = document.querySelector("script[src$='/sign_in.js']");
                return (await import(src.replace("sign_in", "keys"))).gone();
            }"""
        )
        assert told == []
        expect(page.locator("#public-key")).to_have_value(text)
        expect(page.locator("#gone")).to_be_hidden()
        somebody.register()
        page.click("#enter")
        page.wait_for_url("**/today")
        page.locator("#drafts a").first.click()
        expect(page.locator("#f-risk_level")).to_have_value("high")
        expect(page.locator("#key-place").get_by_text("is gone")).to_be_hidden()
        page.get_by_role("button", name="See what will be signed").click()
        page.get_by_role("button", name="Sign and record").click()
        page.wait_for_url(re.compile("at_least="))
