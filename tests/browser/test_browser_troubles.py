"""Browsers that make no key, keep nothing or run no scripts: each page says so at its top."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import SECONDS, Person, at_a_browser, open_menu
from tests.support.serving import Server
from tests.support.story import Told

AGENCY = "xk-dhtqnj"
People = Callable[[str], Person]
OLD = """crypto.subtle.generateKey = async (algorithm) => {
    if (algorithm === "Ed25519") throw new DOMException("unknown", "NotSupportedError");
};"""
BLOCKED = """indexedDB.open = () => { throw new DOMException("insecure", "SecurityError"); };"""
PRIVATE = """navigator.storage.getDirectory = async () => {
    throw new DOMException("private", "SecurityError");
};"""
TROUBLES = {
    "old": (
        OLD,
        "from version 137, Firefox from 129, Safari from 17",
    ),
    "blocked": (BLOCKED, "cookies and site data are blocked"),
    "private": (PRIVATE, "This is a private window"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_browser_that_makes_or_keeps_no_key_says_why(
    chromium: Browser, node: Server, trouble: str
) -> None:
    script, said = TROUBLES[trouble]
    with at_a_browser(chromium, node, AGENCY) as somebody:
        somebody.context.add_init_script(script)
        page = somebody.goto("/sign-in")
        expect(page.locator("#browser-trouble")).to_contain_text(said)
        somebody.sees_no_barrier()
        if trouble == "private":  # the key is made, and lasts as long as the window
            somebody.make_key()
        else:
            page.select_option("#agency", AGENCY)
            page.click("#make-key")
            expect(page.locator("#sign-in-said")).to_contain_text(said)


def test_an_address_without_https_on_another_machine_says_what_is_missing(
    chromium: Browser, node: Server
) -> None:
    """Browsers give no cryptography there, whatever their version."""
    with at_a_browser(chromium, node, AGENCY) as somebody:
        address = node.url.replace("127.0.0.1", "node.example")
        somebody.expected = re.compile("leaves the origin|Cross-Origin-Opener-Policy")
        page = somebody.page
        page.goto(f"{address}/sign-in")
        expect(page.locator("#browser-trouble")).to_contain_text("Ask your operator for the https")
        page.select_option("#agency", AGENCY)
        page.click("#make-key")
        expect(page.locator("#sign-in-said")).to_contain_text("begins with http://")


def test_a_browser_that_keeps_nothing_can_still_sign_out(person: People) -> None:
    police = person(AGENCY)
    police.expected = re.compile("401")  # of the person's other page, which is signed out too
    with police.context.new_page() as page:
        page.add_init_script(BLOCKED)
        page.goto(f"{police.server.url}/cases")
        expect(page.locator("#browser-trouble")).to_contain_text("are blocked")
        open_menu(page)
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")


WITHOUT = {
    "/cases": "You can read this page",
    "/cases/{}": "Nothing is signed or filed here",
    "/cases/{}/act/risk_assessed": "sign and record nothing",
    "/cases/{}/act/document_added": "sign and record nothing",
    "/cases/{}/documents": "does not compare",
    "/cases/{}/personal": "You can open fields",
    "/cases/{}/verify": "Your browser verifies nothing",
    "/sign-in": "nobody signs in by a key",
}


def test_without_scripts_each_page_says_at_its_top_what_does_not_work(
    chromium: Browser, person: People, story: Told, node: Server
) -> None:
    cookies = person("xk-csw-prishtina").context.storage_state()
    context = chromium.new_context(locale="en-GB", java_script_enabled=False, storage_state=cookies)
    context.set_default_timeout(SECONDS)
    page = context.new_page()
    for path, said in WITHOUT.items():
        page.goto(node.url + path.format(story.cases["B"]))
        first = page.locator("main > noscript:first-child > p")
        expect(first, path).to_contain_text("JavaScript is off in this browser.")
        expect(first, path).to_contain_text(said)
    context.close()
