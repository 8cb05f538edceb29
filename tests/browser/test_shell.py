"""The installable page: the worker keeps files and an offline page, and nothing of a case."""

import json
import re
import secrets
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from api.web import rendering
from api.web.routes import entry
from api.web.shell import worker
from tests.browser.conftest import Person, at_a_browser, draft, open_menu
from tests.support.actions import opening
from tests.support.serving import Server
from tests.support.waiting import until

POLICE = "xk-dhtqnj"
TYPED = secrets.token_hex(9)
"""A random word: what has it, was typed."""
NAMES = "case-ledger-shell-"
_KEPT = """async () => {
    const found = {};
    for (const name of await caches.keys()) {
        const cache = await caches.open(name);
        for (const one of await cache.keys()) {
            found[new URL(one.url).pathname] = await (await cache.match(one)).text();
        }
    }
    return found;
}"""

_NAMES = "() => caches.keys()"
_UPDATE = "async () => { await (await navigator.serviceWorker.getRegistration()).update(); }"
_WAITS = "async () => (await navigator.serviceWorker.getRegistration()).waiting !== null"


@pytest.fixture
def police(chromium: Browser, node: Server) -> Iterator[Person]:
    with at_a_browser(chromium, node, POLICE, with_worker=True) as somebody:
        somebody.expected = re.compile("ERR_INTERNET_DISCONNECTED|ERR_FAILED|Failed to fetch")
        yield somebody


def worker_is_ready(page: Page) -> None:
    """Wait until the worker answers for the page, which is so from the first visit on."""
    page.evaluate("async () => { await navigator.serviceWorker.ready; }")
    until(lambda: page.evaluate("navigator.serviceWorker.controller !== null"), every=0.1)


def test_without_a_line_what_is_typed_is_kept_and_comes_back(police: Person, node: Server) -> None:
    """The form goes on while the node is away; a reload says so; the draft is there afterwards.

    After a whole visit, and after signing out, the caches have files and offline pages alone.
    """
    with node.client(POLICE) as client:
        case = client.open_case(opening()).case_id
    police.sign_in()
    page = police.goto(f"/cases/{case}")
    worker_is_ready(page)
    open_menu(page)
    page.get_by_role("button", name="Shqip").click()
    expect(page.locator("html")).to_have_attribute("lang", "sq")
    page = police.goto(f"/cases/{case}/act/risk_assessed")
    police.context.set_offline(True)
    page.locator("#f-threats").fill(TYPED)
    name = f"{POLICE}/{case}/risk_assessed"
    until(lambda: TYPED in json.dumps(draft(page, name)), every=0.1)

    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Serveri nuk arrihet")
    expect(page.locator("#kept")).to_be_visible()
    assert page.url.endswith("/act/risk_assessed")
    police.sees_no_barrier()
    police.pictures("offline")
    police.context.set_offline(False)  # the page hears of it, and opens the form
    expect(page.locator("#f-threats")).to_have_value(TYPED)

    police.goto(f"/cases/{case}/personal")
    police.goto("/today")
    kept = page.evaluate(_KEPT)
    open_menu(page)
    page.locator("#sign-out").click()
    page.locator("#leave-go").click()
    page.wait_for_url("**/sign-in**")
    kept |= page.evaluate(_KEPT)
    other = [path for path in kept if not re.match(r"/(static/\w{16}|offline)/", path)]
    assert other == []
    assert {"/offline/en", "/offline/sq", "/offline/cnr"} <= set(kept)
    assert kept["/offline/chosen"] == "sq"
    for path, content in kept.items():
        assert TYPED not in content, path
        assert str(case) not in content, path


def test_a_new_worker_waits_for_the_pages_of_the_old_one_and_goes_when_none_is_wanted(
    police: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two open pages keep the files of their release; one alone of the new release lets it in.

    Where the operator wants no worker, the next visit removes it with all that it kept.
    """
    page = police.goto("/sign-in")
    worker_is_ready(page)
    (before,) = page.evaluate(_NAMES)
    other = police.context.new_page()
    other.goto(page.url)
    later = "f" * 16

    def of_later_release(codes: tuple[str, ...]) -> bytes:
        return worker(codes).replace(before.removeprefix(NAMES).encode(), later.encode())

    monkeypatch.setattr(entry, "worker", of_later_release)
    page.evaluate(_UPDATE)
    until(lambda: page.evaluate(_WAITS), every=0.1)
    assert set(page.evaluate(_NAMES)) == {before, NAMES + later}
    other.close()
    page.reload()
    until(lambda: page.evaluate(_NAMES) == [NAMES + later], every=0.1)

    for module in (entry, rendering):
        monkeypatch.setattr(module, "has_worker", lambda _: False)
    page.reload()
    until(lambda: page.evaluate(_NAMES) == [], every=0.1)
    assert page.evaluate("navigator.serviceWorker.getRegistrations()") == []
    # The worker that was removed still answers this page: it keeps no file anew.
    page.evaluate("async () => { await fetch(document.querySelector('script[src]').src); }")
    assert page.evaluate(_NAMES) == []


def test_a_disk_that_keeps_no_file_delays_no_page(
    police: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the browser never ends to write a static file that a page needs."""
    slow = b"""
        const { put } = Cache.prototype;
        Cache.prototype.put = function (of, answer) {
            return of instanceof Request ? new Promise(() => {}) : put.call(this, of, answer);
        };
    """
    monkeypatch.setattr(entry, "worker", lambda codes: worker(codes) + slow)
    page = police.goto("/sign-in")
    worker_is_ready(page)
    page.reload(timeout=10_000)
    assert page.evaluate("navigator.serviceWorker.controller !== null")
