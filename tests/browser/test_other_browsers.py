"""The main flows in Debian's Firefox ESR and in WebKitGTK: one story of one person in each."""

import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest

from ledger.signing.key_possession import grant_of
from ledger.vocabulary.registration import KeyRegistered, KeyRequest
from tests.support.agencies import PAST
from tests.support.browser_profile import files_with
from tests.support.document_work import MARKER, paper
from tests.support.other_browsers import webkit
from tests.support.other_browsers.driven import ENTER, TAB, DrivenBrowser
from tests.support.other_browsers.firefox import FIREFOX, Firefox
from tests.support.other_browsers.webkit import WebKit
from tests.support.serving import Server
from tests.support.waiting import until

AGENCY = "xk-dhtqnj"
TYPED, DRAFTED, TITLE = (secrets.token_hex(9) for _ in range(3))
"""Random words: databases that compress have no part of one from another."""
CACHED = b"RFC 7638 thumbprint of an Ed25519"
"""Words of a script that browsers may keep: where they are found, the whole cache is searched."""
IS_REQUIRED = os.environ.get("CASE_LEDGER_TEST_CROSSCHECK") == "required"
needs_firefox = pytest.mark.skipif(
    not FIREFOX.exists() and not IS_REQUIRED,
    reason=f"there is no {FIREFOX}: install Debian's firefox-esr",
)
needs_webkit = pytest.mark.skipif(
    os.environ.get("CASE_LEDGER_TEST_WEBKIT") != "1" or not webkit.is_installed(),
    reason=f"needs CASE_LEDGER_TEST_WEBKIT=1 and Debian's {webkit.PACKAGES}",
)
Start = Callable[[], DrivenBrowser]
PIN = "quiet lamp of Sunday"


def enter(browser: DrivenBrowser, server: Server) -> None:
    """Make a key in the browser, have the coordinator register it, and sign in."""
    browser.goto(f"{server.url}/sign-in")
    browser.choose("#agency", AGENCY)
    browser.wait_for("#make-key")
    browser.click("#make-key")
    browser.wait_for("#new-pin")
    browser.type("#new-pin", PIN)
    browser.type("#new-pin-again", PIN)
    browser.click("#new-lock button.first")
    browser.wait("document.querySelector('#public-key').value")
    request = KeyRequest.model_validate_json(browser.value("#public-key"))
    begins = datetime.now(UTC).replace(microsecond=0)
    grant = grant_of(request, valid_from=begins, valid_until=begins + timedelta(days=365))
    own, _ = server.agencies.coordinators_for(AGENCY)
    with server.client(own) as coordinator:
        coordinator.append_to_registry(KeyRegistered(acted_at=PAST, grant=grant))
    assert browser.run("() => document.querySelector('#browser-trouble').hidden")
    browser.click("#enter")
    arrive(browser, "/today")


def arrive(browser: DrivenBrowser, path: str) -> str:
    """Wait until the browser shows a page whose path is of this form. Return the path."""
    browser.wait(
        "document.readyState === 'complete' && new RegExp(`^${given[0]}$`).test(location.pathname)",
        path,
    )
    at: str = browser.run("() => location.pathname")
    return at


def has(browser: DrivenBrowser, selector: str) -> bool:
    found: bool = browser.run("(at) => Boolean(document.querySelector(at))", selector)
    return found


def sign(browser: DrivenBrowser, said: str = "") -> None:
    """Look at what will be signed, check that it says this, and sign it."""
    browser.type("#act button.first:not([type=button])", ENTER)
    browser.wait_for("#review")
    assert said in browser.text("#review")
    browser.click("#sign")


def open_case(browser: DrivenBrowser, server: Server) -> UUID:
    browser.goto(f"{server.url}/cases/new")
    if has(browser, "[data-steps=whole]"):  # a long form is shown in steps
        browser.type("[data-steps=whole]", ENTER)
    browser.choose("#f-age_group", "child")
    if not has(browser, "input[value=XK]:checked"):  # the own country may be chosen beforehand
        browser.click("[data-field=countries] input[value=XK]")
    browser.choose("#f-ground", "helpline")
    browser.click("[data-field=indicators] input[value=out_of_school]")
    browser.type("#f-first_name", TYPED)
    if has(browser, "#f-birthdate-day"):
        for part, number in (("day", "7"), ("month", "3"), ("year", "2014")):
            browser.type(f"#f-birthdate-{part}", number)
    else:
        browser.choose("#f-birthdate", "2014-03-07")
    sign(browser, "2014")
    return UUID(arrive(browser, "/cases/[0-9a-f-]{36}").removeprefix("/cases/"))


def assess_risk(browser: DrivenBrowser, server: Server, case: UUID) -> None:
    browser.goto(f"{server.url}/cases/{case}/act/risk_assessed")
    browser.choose("#f-risk_level", "high")
    browser.type("#f-threats", DRAFTED)
    sign(browser)
    arrive(browser, f"/cases/{case}")


def add_document(browser: DrivenBrowser, server: Server, case: UUID, file: Path) -> None:
    browser.goto(f"{server.url}/cases/{case}/act/document_added")
    browser.choose_file("input[data-part=files]", file)
    browser.wait("document.querySelector('li.file')?.innerText.includes('Sent.')")
    for name, value in (("document_kind", "report"), ("group", "case")):
        browser.choose(f"li.file [data-describes={name}]", value)
    browser.run("() => document.querySelector('[data-describes=title]').select()")
    browser.type("[data-describes=title]", TITLE)
    sign(browser)
    arrive(browser, f"/cases/{case}/documents")


def open_document(browser: DrivenBrowser) -> None:
    """Look at a document, and save a marked copy and the original.

    The original is the chosen file without its metadata, which the page removed before signing.
    """
    digest = browser.run("() => document.querySelector('[data-document]').dataset.sha256")
    browser.choose("#open-purpose", "protection")
    browser.click("[data-does=preview]")
    browser.wait_for("#preview-picture")
    assert browser.run("() => document.querySelector('#preview-picture').width") > 100
    for does, said in (("download", "Each page says"), ("original", "is the signed one")):
        browser.click(f"[data-does={does}]")
        browser.wait("document.querySelector('#said').innerText.includes(given[0])", said)
        if does == "original":
            until(
                lambda: digest in {sha256(one.read_bytes()).hexdigest() for one in saved(browser)}
            )
        else:
            until(lambda: any(one.name.startswith("copy-of-") for one in saved(browser)))
    browser.click("#preview-close")


def digest_of(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def saved(browser: DrivenBrowser) -> list[Path]:
    return list(browser.downloads.glob("*.pdf"))


def walk_by_keyboard(browser: DrivenBrowser, server: Server) -> None:
    browser.goto(f"{server.url}/cases")
    browser.press(TAB)
    assert browser.run("() => document.activeElement.className") == "skip"
    browser.press(ENTER)
    browser.wait("document.activeElement.id === 'main'")


def verify(browser: DrivenBrowser, server: Server, case: UUID) -> None:
    browser.goto(f"{server.url}/cases/{case}/verify")
    browser.click("#verify")
    browser.wait(
        "!document.querySelector('#verify').disabled"
        " && document.querySelector('#verify-said').innerText"
    )
    assert "actions shown are in the log" in browser.text("#verify-said")


def story(start: Start, server: Server, file: Path, look_at_pdf: Callable[..., None]) -> UUID:
    """Tell the story of one person: two sittings with the browser closed in between."""
    with start() as browser:
        enter(browser, server)
        walk_by_keyboard(browser, server)
        case = open_case(browser, server)
        add_document(browser, server, case, file)
        open_document(browser)
        assert browser.complaints == []
    with start() as browser:
        browser.goto(f"{server.url}/sign-in")
        browser.choose("#agency", AGENCY)
        browser.wait_for("#enter")
        browser.click("#enter")
        browser.wait_for("#unlock-pin")  # closing the browser locked the key
        browser.type("#unlock-pin", PIN)
        browser.click("#unlock button.first")
        arrive(browser, "/today")
        assess_risk(browser, server, case)
        verify(browser, server, case)
        browser.goto(f"{server.url}/cases/{case}/summary.pdf")
        look_at_pdf(browser)
        assert browser.complaints == []
    return case


def assert_recorded(server: Server, case: UUID) -> None:
    """Check that each action was signed by the key that outlived the browser."""
    with server.client(AGENCY) as client:
        acts = list(client.trail(case))
    assert [one.kind for one in acts] == ["case_opened", "document_added", "risk_assessed"]
    assert {one.signature.value for one in acts} == {"valid"}
    assert len({one.key_id for one in acts}) == 1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (file := tmp_path / "paper.pdf").write_bytes(paper(20_000))
    return file


@needs_firefox
def test_a_case_is_worked_on_in_firefox(node: Server, tmp_path: Path, file: Path) -> None:
    """No content that was typed, looked at or saved is in the profile, but in the saved files."""
    (profile := tmp_path / "profile").mkdir()

    def shown(browser: DrivenBrowser) -> None:
        browser.wait("document.querySelectorAll('.page canvas').length > 0")

    case = story(lambda: Firefox(profile), node, file, shown)
    assert_recorded(node, case)
    assert files_with(profile, [CACHED]) != []
    assert files_with(profile, [MARKER, *(one.encode() for one in (TYPED, DRAFTED, TITLE))]) == []


@needs_webkit
def test_a_case_is_worked_on_in_webkit(node: Server, tmp_path: Path, file: Path) -> None:
    (profile := tmp_path / "profile").mkdir()

    def shown(browser: DrivenBrowser) -> None:
        browser.wait("document.querySelector('iframe, embed') !== null")
        wide = browser.run("() => document.querySelector('iframe, embed').clientWidth")
        assert wide == browser.run("() => document.documentElement.clientWidth")

    case = story(lambda: WebKit(profile), node, file, shown)
    assert_recorded(node, case)
    assert files_with(profile, [CACHED]) != []
    assert files_with(profile, [MARKER, *(one.encode() for one in (TYPED, DRAFTED, TITLE))]) == []
