"""The practice ledger in a browser: one exercise by keyboard alone, its marks, and its reset."""

import io
import os
import re
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect
from psycopg.sql import SQL, Identifier

from api.demo.play_practice import practice_settings, serve_practice
from api.demo.practice.ledger import BEGINNING, DATABASE, PracticeLedger
from api.demo.practice.pages import PracticePages
from tests.browser.conftest import PICTURES, SECONDS
from tests.support.pdf_text import page_texts
from tests.support.practice import BOOK
from tests.support.waiting import until

TREE = Path(__file__).parents[2] / "docs" / "practice-accessibility.md"
_HEAD = """# The accessibility tree of an exercise

**Reference.** `CASE_LEDGER_TREE=1 .venv/bin/python -m pytest tests/browser/test_practice.py` made
this page. The test does exercise 2 of the [practice](practice.md) by keyboard alone, and fails if a
tree is another than here. A tree is the structure that a screen reader is given: roles, names and
states, in order. References and times, which differ from run to run, are replaced by `…`.
"""


@pytest.fixture(scope="module")
def practice(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a practice ledger without the cases of the demonstration."""
    directory = tmp_path_factory.mktemp("practice")
    settings = practice_settings(directory, port=0)
    prefix = f"p{os.getpid()}_"
    ledger = PracticeLedger(settings, server, prefix=prefix, with_story=False)
    ledger.prepare()
    served: list[str] = []
    stopped = threading.Event()
    thread = threading.Thread(
        target=serve_practice,
        args=(settings, ledger, BOOK, lambda url, _: served.append(url), stopped),
    )
    thread.start()
    try:
        until(lambda: bool(served) or not thread.is_alive())
        yield served[0]
    finally:
        stopped.set()
        thread.join()
        with psycopg.connect(server, autocommit=True) as connection:
            for name in (DATABASE, BEGINNING):
                dropped = SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                connection.execute(dropped.format(Identifier(prefix + name)))


@pytest.fixture
def page(chromium: Browser, practice: str) -> Iterator[Page]:
    context = chromium.new_context(locale="en-GB", base_url=practice)
    context.set_default_timeout(SECONDS)
    yield context.new_page()
    context.close()


def pictures(page: Page, name: str) -> None:
    if os.environ.get("CASE_LEDGER_PICTURES") != "1":
        return
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in (1366, 390):
            page.set_viewport_size({"width": width, "height": 800})
            page.screenshot(path=PICTURES / f"practice-{name}-{scheme}-{width}.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 800})


def tree(page: Page, selector: str = "main") -> str:
    """The tree of a part of the whole page without what differs from run to run.

    After a key is pressed, a page is there before its last lines have come and its scripts have
    run.
    """
    page.wait_for_load_state("load")
    told = page.locator(selector).aria_snapshot()
    told = re.sub(r"\b[0-9A-Z]{3}-[0-9A-Z]{3}-[0-9A-Z]{3}\b", "…", told)
    told = re.sub(r"/cases/[0-9a-f-]{36}", "/cases/…", told)
    told = re.sub(r"sent/[0-9a-f-]{36}", "sent/…", told)
    time = r"(,? \d{2}:\d{2}(:\d{2})?( \(UTC[^)]*\)| UTC\S*)?)?"
    told = re.sub(r"\d{1,2} [A-Z][a-z]{2,8} \d{4}" + time, "…", told)
    told = re.sub(r'textbox "(Day|Month|Year)": "\d+"', r'textbox "\1": "…"', told)
    return re.sub(r"\b\d{2}:\d{2}\b|\b\d{1,2}/\d{1,2}/\d{4}\b", "…", told)


def to(page: Page, selector: str, *, most: int = 250) -> None:
    """Go to an element by the tabulator alone."""
    wanted = page.locator(selector).first
    expect(wanted).to_be_visible()
    for _ in range(most):
        if wanted.evaluate("one => one === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no tabulator reaches {selector}")


def press(page: Page, selector: str) -> None:
    to(page, selector)
    page.keyboard.press("Enter")


def choose(page: Page, selector: str, text: str) -> None:
    """Choose of a list by typing the beginning of the text.

    A list forgets what was typed a second ago, so on a busy machine the text is typed again.
    """
    to(page, selector)
    chosen = page.locator(f"{selector} option:checked", has_text=text)
    for _ in range(5):
        page.keyboard.type(text, delay=20)
        if chosen.count():
            return
        page.wait_for_timeout(1_100)
    raise AssertionError(f"typing does not choose {text} of {selector}")


def write(page: Page, selector: str, text: str) -> None:
    to(page, selector)
    page.keyboard.type(text)


def sign(page: Page) -> None:
    press(page, "form[id$=act] button.first")
    press(page, "button[id$=sign]")


def check(page: Page) -> None:
    page.goto("/practice/exercises/2")


def test_an_exercise_is_done_by_keyboard_alone(page: Page) -> None:
    trees = {}
    page.goto("/practice")
    trees["The mark on every page"] = tree(page, ".practice")
    trees["Exercises and roles"] = tree(page)
    pictures(page, "start")
    press(page, "a[href='/practice/exercises/2']")
    press(page, "#begin")
    expect(page.locator("#task-confirm .tag")).to_have_text("Not yet")
    trees["An exercise that was begun"] = tree(page)
    press(page, "#task-confirm button.act-as")
    press(page, "a[href*='/forms/sent/']")
    sign(page)
    page.wait_for_url(re.compile(r"/forms($|\?)"))
    check(page)
    expect(page.locator("#task-confirm .tag")).to_have_text("Done")
    press(page, "#task-manager a.button")
    for field, text in (
        ("full_name", "Marko Primjer"),
        ("function", "Case manager"),
        ("institution", "Invented"),
        ("telephone_24h", "+382 20 000 000"),
    ):
        write(page, f"#f-{field}", text)
    choose(page, "#f-languages", "Montenegrin")
    # The node reads a number after its field is left; the field then says which country's it is.
    expect(page.locator("#act [data-field=telephone_24h] .read-as")).to_have_text(
        "Number of Montenegro"
    )
    trees["The form of an action"] = tree(page, "#act")
    sign(page)
    page.wait_for_url(re.compile(r"/cases/[0-9a-f-]{36}($|[?#])"))
    check(page)
    press(page, "#task-send a.button")
    choose(page, "#f-addressee", "Office of the National Coordinator against")
    sign(page)
    page.wait_for_url(re.compile(r"/forms($|\?)"))
    check(page)
    expect(page.locator("main .note.good")).to_contain_text("Everything in this exercise is done")
    trees["The exercise when it is done"] = tree(page)
    pictures(page, "done")
    _compare(trees)


def _compare(trees: dict[str, str]) -> None:
    """Compare the trees with the page of the documentation, or write it where that is asked for."""
    parts = [f"## {name}\n\n```yaml\n{told}\n```\n" for name, told in trees.items()]
    told = "\n".join([_HEAD, *parts])
    if os.environ.get("CASE_LEDGER_TREE") == "1":
        TREE.write_text(told, "utf-8")
    assert TREE.read_text("utf-8") == told, "see the first paragraph of the page"


def test_every_page_and_paper_is_marked(page: Page) -> None:
    """The mark is there in each language, in print, without styles, and on a problem's page."""
    words = {"en": "PRACTICE", "sq": "USHTRIM", "cnr": "VJEŽBA"}
    banner = page.locator(".practice")
    page.goto("/practice/exercises/3")
    press(page, "#begin")
    press(page, "#task-ask button.act-as")
    page.wait_for_url("**/act/information_requested")
    case = page.url.split("/")[4]
    page.emulate_media(media="print")
    pages = ("/practice", "/cases", f"/cases/{case}", "/no-such-page")
    for language, word in words.items():
        page.request.post(
            "/language",
            form={"language": language, "return_to": "/"},
            headers={"Sec-Fetch-Site": "same-origin"},
        )
        for path in pages if language == "cnr" else pages[:1]:
            page.goto(path)
            expect(banner).to_be_visible()
            expect(banner).to_contain_text(word)
            assert page.title().startswith(word)
        paper = page.request.get(f"/cases/{case}/summary.pdf")
        assert 'filename="PRACTICE-' in paper.headers["content-disposition"]
        for one in page_texts(paper.body()):
            assert word in one
    _copies_are_marked(page, words["cnr"])
    page.route("**/*.css", lambda route: route.abort())
    page.goto("/practice")
    expect(banner).to_be_visible()
    first = page.locator("body").inner_text().split("\n\n")
    assert any(words["cnr"] in line for line in first[:2])


def _copies_are_marked(page: Page, word: str) -> None:
    """A copy says so inside: its name may be changed."""
    table = page.request.get("/cases/list.csv").text()
    assert table.lstrip("\ufeff").startswith(word)
    with zipfile.ZipFile(io.BytesIO(page.request.get("/cases/list.xlsx").body())) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
        assert word in sheet.partition('<row r="2"')[0]
        assert f"&amp;C{word}" in sheet.partition("<headerFooter")[2]
    calendar = page.request.get("/today/calendar.ics").text().splitlines()
    entries = [line for line in calendar if line.startswith(("X-WR-CALNAME:", "SUMMARY:"))]
    assert entries
    assert all(line.partition(":")[2].startswith(word) for line in entries)


def test_a_reset_asks_and_then_begins_anew(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says that it is over once the node of before, which stops late here, has stopped."""
    stops, close = threading.Event(), PracticePages.close

    def late(pages: PracticePages) -> None:
        stops.wait(SECONDS / 1000)
        close(pages)

    monkeypatch.setattr(PracticePages, "close", late)
    page.goto("/practice/exercises/2")
    press(page, "#begin")
    page.goto("/practice/reset")
    pictures(page, "reset")
    press(page, "main a.button")
    page.goto("/practice/exercises/2")
    expect(page.locator("#task-confirm .tag")).to_be_visible()
    page.goto("/practice/reset")
    press(page, "button.danger")
    page.wait_for_url("**/practice?reset=true")
    expect(page.locator("main h1")).to_have_text("Reset the practice")
    assert page.locator("main .note.good").count() == 0
    stops.set()
    expect(page.locator("main .note.good")).to_be_visible()
    page.goto("/practice/exercises/2")
    expect(page.locator("#begin")).to_be_visible()
