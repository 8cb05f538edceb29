"""One browser (Debian's Chromium), one served node, and a person of any agency at it."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.base import AxeResults
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Playwright,
    Route,
    ViewportSize,
    expect,
    sync_playwright,
)

from ledger.procedure.protocol import KeyChange
from ledger.signing.key_possession import grant_of
from ledger.vocabulary.registration import KeyChangeConfirmed, KeyRegistered, KeyRequest
from tests.support.agencies import PAST, Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, serving
from tests.support.sharing import register_country_keys
from tests.support.story import Told, tell


def draft(page: Page, name: str) -> dict[str, Any] | None:
    """Return the draft of an id, as the page's scripts read it."""
    found: dict[str, Any] | None = page.evaluate(
        """async (id) => {
            const script = document.querySelector("script[src*='app.js']").src;
            return (await import(script.replace("app.js", "drafts.js"))).find(id);
        }""",
        name,
    )
    return found


def show_whole(page: Page) -> None:
    """Show all steps of a long form at once."""
    page.get_by_role("button", name="Show the whole form").click()


def fill_date(page: Page | Locator, field: str, day: date) -> None:
    """Type a date into the three fields of a form's date."""
    for name, number in (("day", day.day), ("month", day.month), ("year", day.year)):
        page.locator(f"#{field}-{name}").fill(str(number))


def answer_is_lost(route: Route) -> None:
    """Let the node record what is sent, and the answer get lost on its way."""
    answer = route.fetch(headers={**route.request.headers, "sec-fetch-site": "same-origin"})
    assert answer.status == 201
    route.abort()


CHROMIUM = Path("/usr/bin/chromium")
SHELL = Path("/usr/bin/chromium-headless-shell")
"""The same without windows and viewers, where it is installed: it takes half the CPU."""
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
SECONDS = 30_000
"""So long a page may take on a loaded machine, in milliseconds."""
ARGUMENTS = (
    "--no-sandbox",
    # All pages are one node's: a process for each site, and drawing by a GPU's rules, cost CPU.
    "--disable-gpu",
    "--disable-software-rasterizer",
    "--disable-site-isolation-trials",
    "--disable-features=IsolateOrigins,site-per-process,SpareRendererForSitePerProcess",
    "--renderer-process-limit=2",
    "--no-zygote",
    # Drawing a page that nobody looks at is a fifth of loading it: in few large parts it is less.
    "--default-tile-width=2048",
    "--default-tile-height=2048",
    "--num-raster-threads=1",
    # A name that is no address of this machine, for what browsers do at addresses without https.
    "--host-resolver-rules=MAP node.example 127.0.0.1",
)
AXE = Axe().axe_script
expect.set_options(timeout=SECONDS)
PIN = "quiet lamp of Sunday"
FEW_ROUNDS = """if (globalThis.SubtleCrypto) {
    const { deriveBits } = SubtleCrypto.prototype;
    SubtleCrypto.prototype.deriveBits = function (algorithm, ...rest) {
        const few = algorithm.iterations ? { ...algorithm, iterations: 1000 } : algorithm;
        return deriveBits.call(this, few, ...rest);
    };
}"""
"""A PIN costs a second of CPU on purpose. No test spends it."""
NO_WORKER = "delete Navigator.prototype.serviceWorker;"
"""A worker in each new profile costs CPU, and a test sees no request that goes through it."""


def open_menu(page: Page) -> None:
    """Open the menu of the header, which has the sections, the languages and the signing out."""
    page.locator("#menu > summary").click()


@dataclass
class Person:
    """Somebody of an agency at a browser, and what the browser complained of."""

    agency: str
    server: Server
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)
    expected: re.Pattern[str] | None = None
    """Complaints that a test provokes."""

    def watch(self) -> None:
        origin = urlsplit(self.server.url).netloc

        def heard(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                self.complaints.append(message.text)

        self.page.on("console", heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.context.on(
            "request",
            lambda asked: (
                None
                if urlsplit(asked.url).netloc == origin
                else self.complaints.append(f"leaves the origin: {asked.url}")
            ),
        )

    def goto(self, path: str) -> Page:
        self.page.goto(self.server.url + path)
        return self.page

    def make_key(self, pin: str = PIN) -> None:
        """Make a key on the page to sign in, and lock it with a PIN."""
        page = self.page
        page.select_option("#agency", self.agency)
        page.click("#make-key")
        self.choose_pin(pin)
        page.wait_for_selector("#has-key:not([hidden])")

    def choose_pin(self, pin: str = PIN) -> None:
        """Give a new PIN to the page that asks for one."""
        self.page.fill("#new-pin", pin)
        self.page.fill("#new-pin-again", pin)
        self.page.click("#new-lock button.first")

    def unlock(self, pin: str = PIN) -> None:
        """Give a PIN to the page that asks for it."""
        self.page.fill("#unlock-pin", pin)
        self.page.click("#unlock button.first")

    def sign_in(self) -> None:
        """Make a key in the browser, have the coordinator register it, and enter."""
        page = self.goto("/sign-in")
        self.make_key()
        self.register()
        page.click("#enter")
        page.wait_for_url("**/today")

    def register(self) -> None:
        """Have the coordinator register the key that the page to sign in shows."""
        page = self.page
        request = KeyRequest.model_validate_json(page.input_value("#public-key"))
        assert request.agency == self.agency
        begins = datetime.now(UTC).replace(microsecond=0)
        grant = grant_of(request, valid_from=begins, valid_until=begins + timedelta(days=365))
        own, other = self.server.agencies.coordinators_for(self.agency)
        with self.server.client(own) as coordinator:
            receipt = coordinator.append_to_registry(KeyRegistered(acted_at=PAST, grant=grant))
        protocol = self.server.agencies.protocol
        role = protocol.agencies_by_id[self.agency].role
        if protocol.confirming_roles(role, KeyChange.REGISTRATION):
            confirmed = KeyChangeConfirmed(acted_at=PAST, proposal=receipt.action_id)
            with self.server.client(other) as coordinator:
                coordinator.append_to_registry(confirmed)

    def sees_no_barrier(self, *rules: str) -> None:
        """No violation of WCAG 2.2 AA that axe can find, or of the named rules alone."""
        every = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        if not self.page.evaluate("'axe' in window"):  # a document keeps it
            # The driver would have the page compile it as a text: that takes a fifth more.
            session = self.context.new_cdp_session(self.page)
            session.send("Runtime.evaluate", {"expression": AXE})
            # Not detached: that would also end a page's virtual authenticator of another session.
        options = {
            "runOnly": list(rules) or every,
            # To describe every element that passes costs more than to look at it.
            "resultTypes": ["violations"],
            # No rule asks for more of a page than it has: there are no films and no sounds.
            "preload": False,
        }
        found = self.page.evaluate(
            "of => axe.run(document, of).then(({violations}) => ({violations}))", options
        )
        results = AxeResults(found)
        assert results.violations_count == 0, results.generate_report()

    def picture(self, name: str) -> None:
        """Keep a picture of the page, where pictures are asked for."""
        if os.environ.get("CASE_LEDGER_PICTURES") == "1":
            PICTURES.mkdir(exist_ok=True)
            self.page.screenshot(path=PICTURES / f"{name}.png", full_page=True)

    def pictures(self, name: str) -> None:
        """Keep pictures of the page at a desk and on a phone, where pictures are asked for."""
        if os.environ.get("CASE_LEDGER_PICTURES") == "1":
            before = self.page.viewport_size
            for width, suffix in ((1366, ""), (390, "-phone")):
                self.page.set_viewport_size({"width": width, "height": 800})
                self.picture(name + suffix)
            if before is not None:
                self.page.set_viewport_size(before)

    def complained(self) -> list[str]:
        expected = self.expected
        return [c for c in self.complaints if expected is None or not expected.search(c)]


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """The driver of browsers for the files of this folder.

    While it is there, so is an event loop, which the tests of other folders would meet.
    """
    if not CHROMIUM.exists() and os.environ.get("CASE_LEDGER_TEST_CROSSCHECK") != "required":
        pytest.skip(f"there is no {CHROMIUM}: install Debian's chromium")
    with sync_playwright() as made:
        yield made


@contextmanager
def running_browser(playwright: Playwright, program: Path) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture(scope="package")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """A browser for the files of this folder."""
    with running_browser(playwright, SHELL if SHELL.exists() else CHROMIUM) as browser:
        yield browser


@pytest.fixture(scope="package")
def node(server: str, begun: str, agencies: Agencies) -> Iterator[Server]:
    """One node for the files of this folder. It would take CPU from the tests of all others."""
    with new_database(server, begun) as conninfo, serving(conninfo, agencies) as served:
        register_country_keys(served)
        yield served


@pytest.fixture(scope="package")
def story(node: Server) -> Told:
    return tell(node)


@pytest.fixture(scope="module")
def person(
    chromium: Browser,
    node: Server,
    story: Told,  # noqa: ARG001
) -> Iterator[Callable[[str], Person]]:
    """Gives the person of an agency, signed in, the same one each time in a module."""
    people: dict[str, Person] = {}
    with ExitStack() as stack:

        def of(agency: str) -> Person:
            if agency not in people:
                people[agency] = stack.enter_context(at_a_browser(chromium, node, agency))
                people[agency].sign_in()
            return people[agency]

        yield of


@pytest.fixture
def stranger(chromium: Browser, node: Server) -> Iterator[Person]:
    """Somebody who is not signed in, with a browser of their own."""
    with at_a_browser(chromium, node, "xk-dhtqnj") as somebody:
        yield somebody


class at_a_browser:
    """A person with a browser profile of their own; leaving checks what the browser said."""

    def __init__(
        self,
        browser: Browser,
        server: Server,
        agency: str,
        *,
        on_phone: bool = False,
        with_worker: bool = False,
    ) -> None:
        size: ViewportSize = (
            {"width": 390, "height": 844} if on_phone else {"width": 1280, "height": 800}
        )
        self._context = browser.new_context(
            locale="en-GB", viewport=size, is_mobile=on_phone, has_touch=on_phone
        )
        self._context.set_default_timeout(SECONDS)
        self._context.add_init_script(FEW_ROUNDS)
        if not with_worker:
            self._context.add_init_script(NO_WORKER)
        self._person = Person(agency, server, self._context, self._context.new_page())

    def __enter__(self) -> Person:
        self._person.watch()
        return self._person

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._context.close()
        if kind is None:
            assert self._person.complained() == []
