"""Parts of a document are hidden on a page: by mouse, by finger and by keyboard alone."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pypdfium2
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from pypdf import PdfReader, PdfWriter

from api.client.schemas.case_documents import ListedDocument
from ledger.vocabulary.picklists import DocumentKind, Purpose
from tests.browser.conftest import Person, at_a_browser, open_menu
from tests.support.actions import opening
from tests.support.papers import letter
from tests.support.serving import Server
from tests.support.story import Told

POLICE = "xk-dhtqnj"
NAMES = ("Ana Marovic", "Besa Krasniqi", "Third page")
People = Callable[[str], Person]


@pytest.fixture(scope="module")
def case(node: Server, tmp_path_factory: pytest.TempPathFactory) -> UUID:
    """A case with a letter of three pages, each with a name in it."""
    writer = PdfWriter()
    for name in NAMES:
        writer.append(io.BytesIO(letter(f"The child is {name}")))
    writer.write(file := tmp_path_factory.mktemp("paper") / "letter.pdf")
    with node.client(POLICE) as client:
        case = client.open_case(opening()).case_id
        told = client.add_document(
            case, 1, file, kind=DocumentKind.LETTER, title="Letter of the school",
            group=None, language="sqi",
        )  # fmt: skip
        client.case(case, at_least=told.position)
    return case


@pytest.fixture
def phone(chromium: Browser, node: Server, story: Told) -> Iterator[Person]:  # noqa: ARG001
    with at_a_browser(chromium, node, POLICE, on_phone=True) as somebody:
        somebody.sign_in()
        yield somebody


def begin(person: Person, case: UUID) -> Page:
    page = person.goto(f"/cases/{case}/documents")
    page.select_option("#open-purpose", "protection")
    page.get_by_role("button", name="Hide parts of Letter of the school", exact=True).click()
    expect(page.locator("#tools")).to_be_visible()
    return page


def sheet(page: Page, number: int) -> Locator:
    found = page.locator(".sheet-page").nth(number - 1).locator(".sheet")
    found.scroll_into_view_if_needed()
    return found


def documents(node: Server, case: UUID) -> list[ListedDocument]:
    with node.client(POLICE) as client:
        return [*client.documents(case).documents]


def content(node: Server, case: UUID, document: UUID, to: Path) -> bytes:
    with node.client(POLICE) as client:
        client.download(case, document, to, purpose=Purpose.PROTECTION)
    return to.read_bytes()


def darkest(pdf: bytes, page: int, box: tuple[float, float, float, float]) -> tuple[int, int]:
    """Return the darkest and the lightest grey in a part of a page, given in percent."""
    picture = pypdfium2.PdfDocument(pdf)[page - 1].render(scale=2).to_pil().convert("L")
    left, top, width, height = box
    low, high = picture.crop(
        (
            round(picture.width * left / 100),
            round(picture.height * top / 100),
            round(picture.width * (left + width) / 100),
            round(picture.height * (top + height) / 100),
        )
    ).getextrema()
    return int(low), int(high)  # type: ignore[arg-type]  # of one band


def test_marks_are_drawn_by_mouse_and_the_version_is_signed(
    person: People, case: UUID, node: Server, tmp_path: Path
) -> None:
    desk = person(POLICE)
    page = begin(desk, case)
    expect(page.locator(".sheet-page")).to_have_count(3)
    page.get_by_role("button", name="Make the version").click()
    expect(page.locator("#trouble")).to_contain_text("Nothing is hidden yet")
    box = sheet(page, 1).bounding_box()
    assert box is not None

    def at(left: float, top: float) -> tuple[float, float]:
        return box["x"] + box["width"] * left / 100, box["y"] + box["height"] * top / 100

    page.mouse.move(*at(20, 10))
    page.mouse.down()
    page.mouse.move(*at(50, 12))
    page.mouse.move(*at(80, 14))
    page.mouse.up()
    expect(page.locator("#count")).to_have_text("Marks: 1. Pages left out: 0.")
    row = page.locator(".mark-list li")
    expect(row.get_by_label("Width, %")).to_have_value(re.compile(r"^(59|60)\.\d$"))
    # A click without a move draws nothing; a mark is moved, and one step is taken back.
    page.mouse.click(*at(50, 50))
    expect(page.locator(".mark")).to_have_count(1)
    page.mouse.move(*at(50, 12))
    page.mouse.down()
    page.mouse.move(*at(50, 32))
    page.mouse.up()
    expect(row.get_by_label("From the top, %")).to_have_value(re.compile(r"^(29|30)\.\d$"))
    page.get_by_role("button", name="Undo").click()
    expect(row.get_by_label("From the top, %")).to_have_value(re.compile(r"^(9|10)\.\d$"))
    page.get_by_label("Leave page 3 out").check()
    desk.sees_no_barrier()
    desk.pictures("redaction")
    # What is marked is kept in this browser, encrypted, when the page is left.
    page = begin(desk, case)
    expect(page.locator("#said")).to_contain_text("Your marks from")
    expect(page.locator("#count")).to_have_text("Marks: 1. Pages left out: 1.")
    page.get_by_role("button", name="Make the version").click()
    expect(page.locator("#made")).to_be_visible()
    expect(page.locator("#made-pages canvas").first).to_have_js_property("width", 1131)
    expect(page.locator("#made-facts")).to_contain_text("3")
    title = page.locator("#title")
    expect(title).to_have_value("Letter of the school (parts hidden)")
    # For other readers the title is written anew: it may tell what is hidden.
    page.select_option("#group", "identity")
    expect(title).to_have_value("")
    page.get_by_role("button", name="Sign and record").click()
    expect(page.locator("#sign-said")).to_have_text("Write a title.")
    page.select_option("#group", "case")
    expect(title).to_have_value("Letter of the school (parts hidden)")
    desk.sees_no_barrier()
    desk.pictures("redaction-made")
    page.get_by_role("button", name="Sign and record").click()
    page.wait_for_url(re.compile(r"/documents\?at_least=\d+"))
    expect(page.locator("main")).to_contain_text("Pages with hidden parts: 1")
    original, version = documents(node, case)
    assert (version.redacts, version.pages_left_out, version.pages_marked) == (
        original.id, "3", "1",
    )  # fmt: skip
    assert (version.pages_of_original, version.document.language) == (3, "sqi")
    made = content(node, case, version.id, tmp_path / "version.pdf")
    assert len(PdfReader(io.BytesIO(made)).pages) == 2
    assert "".join(one.extract_text() for one in PdfReader(io.BytesIO(made)).pages) == ""
    assert not any(word.encode() in made for name in NAMES for word in name.split())
    assert darkest(made, 1, (21, 10.5, 58, 3))[1] < 10
    assert darkest(made, 2, (21, 10.5, 58, 3)) != (255, 255)
    page.select_option("#open-purpose", "protection")
    page.get_by_role("button", name="Compare Letter").click()
    expect(page.locator("#said")).to_contain_text("looks as in the original")
    # The draft is gone with it.
    page = begin(desk, case)
    expect(page.locator("#count")).to_have_text("Marks: 0. Pages left out: 0.")


def touch(page: Page, path: list[tuple[float, float]]) -> None:
    """Move a finger over the page."""
    session = page.context.new_cdp_session(page)
    for number, (x, y) in enumerate(path):
        kind = "touchStart" if number == 0 else "touchMove"
        points = [{"x": x, "y": y}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_a_finger_draws_and_moves_a_mark_and_scrolls_without_the_button(
    phone: Person, case: UUID
) -> None:
    page = begin(phone, case)
    expect(page.get_by_text("press “Draw with the finger” first")).to_be_visible()

    def finger(number: int, *places: tuple[float, float]) -> None:
        box = sheet(page, number).bounding_box()
        assert box is not None
        touch(
            page, [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in places]
        )

    page.evaluate("scrollTo(0, 0)")
    finger(1, (0.3, 0.5), (0.3, 0.4), (0.3, 0.2))
    expect(page.locator(".mark")).to_have_count(0)
    button = page.get_by_role("button", name="Draw with the finger")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    finger(1, (0.2, 0.1), (0.5, 0.12), (0.8, 0.14))
    expect(page.locator(".mark")).to_have_count(1)
    button.click()
    finger(1, (0.5, 0.12), (0.5, 0.2), (0.5, 0.42))
    top = page.get_by_label("From the top, %")
    expect(top).to_have_value(re.compile(r"^(39|40)\.\d$"))
    # A corner changes the size.
    finger(1, (0.8, 0.44), (0.85, 0.5), (0.9, 0.54))
    expect(page.get_by_label("Height, %")).to_have_value(re.compile(r"^1[34]\.\d$"))
    phone.sees_no_barrier()
    phone.picture("redaction-phone")
    page.get_by_role("button", name="Remove mark 1 of page 1").tap()
    expect(page.locator(".mark")).to_have_count(0)


def test_a_version_is_made_and_signed_by_keyboard_alone(
    person: People, case: UUID, node: Server, tmp_path: Path
) -> None:
    desk = person(POLICE)
    page = desk.goto(f"/cases/{case}/documents")
    keys = page.keyboard

    def reach(locator: Locator) -> None:
        """Press Tab until an element has the focus."""
        for _ in range(80):
            if locator.evaluate("(one) => one === document.activeElement"):
                return
            keys.press("Tab")
        raise AssertionError("the keyboard does not reach it")

    before = len(documents(node, case))
    reach(page.locator("#open-purpose"))
    keys.type("prot")
    reach(page.get_by_role("button", name="Hide parts of Letter of the school", exact=True))
    keys.press("Enter")
    expect(page.locator("#tools")).to_be_visible()
    reach(page.get_by_role("button", name="Add a mark to page 2"))
    keys.press("Enter")
    mark = page.get_by_role("button", name="Mark 1 of page 2", exact=True)
    expect(mark).to_be_focused()
    expect(mark).to_have_accessible_description(re.compile("arrows move it"))
    numbers = page.locator(".mark-list li input")
    for _ in range(3):
        keys.press("ArrowRight")
        keys.press("Shift+ArrowLeft")
    expect(numbers.nth(0)).to_have_value("13.0")
    expect(numbers.nth(2)).to_have_value("77.0")
    keys.press("Control+z")
    expect(numbers.nth(2)).to_have_value("78.0")
    for number, value in ((0, "20"), (1, "10"), (2, "60"), (3, "4")):
        reach(numbers.nth(number))
        keys.press("Control+a")
        keys.type(value)
        keys.press("Enter")
    reach(page.get_by_role("button", name="Add a mark to page 3"))
    keys.press("Enter")
    expect(page.locator(".mark")).to_have_count(2)
    keys.press("Delete")
    expect(page.locator(".mark")).to_have_count(1)
    expect(page.get_by_role("button", name="Add a mark to page 3")).to_be_focused()
    reach(page.get_by_role("button", name="Make the version"))
    keys.press("Enter")
    expect(page.locator("#made-title")).to_be_focused()
    reach(page.locator("#title"))
    keys.press("Control+a")
    keys.type("For the court")
    reach(page.get_by_role("button", name="Sign and record"))
    keys.press("Enter")
    page.wait_for_url(re.compile(r"/documents\?at_least=\d+"))
    version = documents(node, case)[-1]
    assert len(documents(node, case)) == before + 1
    assert (version.document.title, version.pages_marked) == ("For the court", "2")
    made = content(node, case, version.id, tmp_path / "by_keys.pdf")
    assert darkest(made, 2, (21, 10.5, 58, 3))[1] < 10
    assert darkest(made, 1, (21, 10.5, 58, 3))[1] == 255


@pytest.mark.parametrize("button", ["Shqip", "Crnogorski"])
def test_the_page_is_in_each_language_and_narrow(person: People, case: UUID, button: str) -> None:
    desk = person(POLICE)
    page = desk.goto(f"/cases/{case}/documents")
    address = page.locator("[data-does=redact]").first.get_attribute("formaction")
    desk.goto(str(address))
    open_menu(page)
    page.get_by_role("button", name=button).click()
    expect(page.locator("html")).not_to_have_attribute("lang", "en")
    expect(page.get_by_role("heading", level=2)).to_be_visible()
    desk.sees_no_barrier()
    page.locator("#purpose").select_option("protection")
    page.set_viewport_size({"width": 320, "height": 640})
    page.locator("main form button.first").click()
    expect(page.locator("#tools")).to_be_visible()
    page.locator("[data-part=add]").first.click()
    said = page.locator("main").inner_text().replace("Letter of the school", "")
    page.locator("#make").click()
    expect(page.locator("#made")).to_be_visible()
    said += page.locator("main").inner_text().replace("Letter of the school", "")
    wide = page.evaluate("document.scrollingElement.scrollWidth > innerWidth")
    page.locator("#back").click()
    page.locator("#undo").click()
    expect(page.locator(".mark")).to_have_count(0)
    open_menu(page)
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.set_viewport_size({"width": 1280, "height": 800})
    assert re.findall(r"\b(the|and|your|which|page|mark|hide)\b", said, re.IGNORECASE) == []
    assert not wide
