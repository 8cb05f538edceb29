"""Documents on pages: a photograph by phone over a bad line, signed, listed and opened."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import Browser, Page, Route, expect

from api.cli.steps.moving_documents import Hidden, redacted
from ledger.vocabulary.coordination import ConsentGiven, ConsentWithdrawn
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import (
    AgeGroup,
    ConsentForm,
    ConsentGiver,
    ConsentScope,
    DocumentKind,
    Purpose,
)
from tests.browser.conftest import Person, at_a_browser, open_menu
from tests.browser.test_acts import kept
from tests.support.actions import START, opening
from tests.support.papers import pdf
from tests.support.pictures import AUTHOR, drawn, encoded, exif, photographs, scan
from tests.support.serving import Server
from tests.support.story import Told
from tests.support.waiting import until

POLICE, CARE = "xk-dhtqnj", "me-csw-podgorica"
REFUSED = re.compile("status of (401|403|409|422)|ERR_FAILED")
"""What the tests here provoke, and the browser tells on its console."""
People = Callable[[str], Person]


def photograph() -> bytes:
    """Return a JPEG of three pieces, which tells where it was taken."""
    image = Image.effect_noise((1500, 1200), 40).convert("RGB")
    image.paste(drawn(1000, 700), (250, 250))
    return encoded(image, "JPEG", exif=exif().tobytes(), quality=97)


@pytest.fixture(scope="module")
def phone(chromium: Browser, node: Server, story: Told) -> Iterator[Person]:  # noqa: ARG001
    """A person of the police, who is signed in on a phone."""
    with at_a_browser(chromium, node, POLICE, on_phone=True) as somebody:
        somebody.expected = REFUSED
        somebody.sign_in()
        yield somebody


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (file := tmp_path_factory.mktemp("photo") / "IMG_0042.jpg").write_bytes(photograph())
    return file


@pytest.fixture(scope="module")
def case(node: Server) -> UUID:
    """The case of an adult who consents to the reading of some groups."""
    with node.client(POLICE) as client:
        adult = opening().model_copy(update={"age_group": AgeGroup.ADULT})
        opened = client.open_case(adult)
        consent = ConsentGiven(
            acted_at=START,
            scopes=tuple(ConsentScope),
            given_by=ConsentGiver.PERSON,
            form=ConsentForm.WRITTEN,
            groups=(FieldGroup.IDENTITY,),
        )
        told = client.append(consent, opened.case_id, 1)
        client.case(opened.case_id, at_least=told.position)
    return opened.case_id


class Line:
    """A line between page and node that drops at chosen requests, before or after the node."""

    def __init__(self, page: Page, drops: dict[int, str] | None = None) -> None:
        self.parts = 0
        self.drops = {2: "before", 3: "after"} if drops is None else drops
        self._page = page
        page.route(self._PATH, self._pass)

    _PATH = "**/uploads/*"

    def stop(self) -> None:
        self._page.unroute(self._PATH, self._pass)

    def _pass(self, route: Route) -> None:
        if route.request.method == "PATCH":
            self.parts += 1
            drop = self.drops.pop(self.parts, None)
            if drop == "after":
                own = {**route.request.all_headers(), "sec-fetch-site": "same-origin"}
                route.fetch(headers=own)
            if drop is not None:
                route.abort()
                return
        route.fallback()


def describe(page: Page, title: str, kind: str, group: str) -> None:
    row = page.locator("li.file").last
    row.get_by_label(re.compile("^Title")).fill(title)
    row.get_by_label(re.compile("^Kind of document")).select_option(kind)
    row.get_by_label(re.compile("^Who may read it")).select_option(group)


def files_after(page: Page, hours: int) -> int:
    """Return how many pieces and lists of files the browser keeps after some hours."""
    modules = page.locator("script[type=module]").first.get_attribute("src")
    assert modules is not None
    left: int = page.evaluate(
        """async ([at, hours]) => {
            const { dropOld } = await import(`${at}/kept_files.js`);
            const { keys } = await import(`${at}/store.js`);
            const now = Date.now;
            Date.now = () => now() + hours * 3600_000;
            await dropOld().finally(() => { Date.now = now; });
            return (await keys("drafts")).filter((one) => one.includes("/files")).length;
        }""",
        [modules.rsplit("/", 1)[0], hours],
    )
    return left


def found_after_keeping_at_once(page: Page) -> list[str | None]:
    """Return what a browser without a key of drafts finds of two that it keeps at once."""
    modules = page.locator("script[type=module]").first.get_attribute("src")
    assert modules is not None
    found: list[str | None] = page.evaluate(
        """async (at) => {
            const drafts = await import(`${at}/drafts.js`);
            const store = await import(`${at}/store.js`);
            await store.remove("secrets", "drafts");
            const ids = ["one", "two"];
            await Promise.all(ids.map((id) => drafts.keep(id, { id })));
            const found = await Promise.all(ids.map(drafts.find));
            await Promise.all(ids.map(drafts.drop));
            return found.map((one) => one?.id ?? null);
        }""",
        modules.rsplit("/", 1)[0],
    )
    return found


def choose_group(page: Page, name: str) -> None:
    for box in page.locator("input[name=groups]:checked").all():
        box.uncheck()
    page.get_by_label(name, exact=True).check()
    page.select_option("#purpose", "protection")
    page.get_by_role("button", name="List them").click()


def sign(page: Page) -> None:
    page.get_by_role("button", name="See what will be signed").click()
    page.get_by_role("button", name="Sign and record").click()


def test_a_photograph_comes_whole_over_a_line_that_drops_twice(
    phone: Person, case: UUID, node: Server, photo: Path
) -> None:
    page = phone.goto(f"/cases/{case}/act/document_added")
    expect(page.get_by_role("button", name="Take a photograph")).to_be_visible()
    line = Line(page)
    page.locator("input[capture]").set_input_files(photo)
    row = page.locator("li.file")
    expect(row).to_contain_text("Sent.")
    assert line.drops == {}
    assert line.parts == photo.stat().st_size // 2**19 + 2  # one part was sent twice
    told = row.locator("[data-part=metadata]")
    expect(told).to_contain_text("where it was taken: 42.6583, 21.1500")
    expect(told).to_contain_text("It was removed from the document")
    describe(page, "Photograph of the passport", "photograph", "identity")
    expect(row.locator("[data-part=readers]")).to_contain_text("Kosovo, on a legal basis")
    phone.sees_no_barrier()
    phone.picture("document-phone")
    sign(page)
    page.wait_for_url(re.compile(r"/documents\?at_least=\d+$"))
    expect(page.locator("#recorded")).to_be_focused()
    with node.client(POLICE) as client:
        (found,) = client.documents(case, [FieldGroup.IDENTITY], Purpose.PROTECTION).documents
    assert found.document.title == "Photograph of the passport"
    assert kept(page) == []


def test_a_document_is_listed_and_opened_with_a_purpose_and_not_without(
    phone: Person, case: UUID, photo: Path
) -> None:
    page = phone.goto(f"/cases/{case}/documents")
    expect(page.locator("main")).to_contain_text("There is no document")
    choose_group(page, "Family")
    expect(page.get_by_role("alert")).to_contain_text("There is no legal basis")
    choose_group(page, "Identity")
    listed = page.locator("ul.papers li")
    expect(listed).to_contain_text("Photograph of the passport")
    expect(page.get_by_role("button", name="View")).to_be_visible()
    page.select_option("#open-purpose", "")
    page.get_by_role("button", name="Download").click()
    expect(page.locator("#said")).to_contain_text("Choose the purpose")
    path = listed.locator("[data-document]").get_attribute("data-path")
    refused = page.evaluate("async (path) => (await fetch(`${path}/content`)).status", path)
    assert refused == 422
    page.select_option("#open-purpose", "protection")
    with page.expect_download() as coming:
        page.get_by_role("button", name="Download").click()
    expect(page.locator("#said")).to_contain_text("Each page says who got it")
    with Image.open(coming.value.path()) as copy, Image.open(photo) as original:
        assert copy.height > original.height  # the mark is below the picture
    with page.expect_download() as coming:
        page.get_by_role("button", name="Signed original").click()
    came, sent = Path(coming.value.path()).read_bytes(), photo.read_bytes()
    with Image.open(io.BytesIO(came)) as copy, Image.open(io.BytesIO(sent)) as original:
        assert (dict(copy.getexif()), "Phone 1" in str(dict(original.getexif()))) == ({}, True)
        assert ImageChops.difference(copy, original).getbbox() is None
    expect(page.locator("#said")).to_contain_text("is the signed one")
    page.get_by_role("button", name="View").click()
    expect(page.locator("#preview-page")).to_have_text("Page 1 of 1")
    width = page.locator("#preview-picture").evaluate("(canvas) => canvas.width")
    assert width == 1500
    phone.sees_no_barrier()
    phone.pictures("documents")


def test_heic_tiff_and_pdf_are_cleaned_shown_and_marked(
    phone: Person, node: Server, tmp_path: Path
) -> None:
    with node.client(POLICE) as client:
        case = client.open_case(opening()).case_id
    files = []
    for name, content in (
        ("photograph.heic", photographs()["image/heic"]),
        ("scan.tiff", photographs()["image/tiff"]),
        ("report.pdf", scan(2, author=AUTHOR)),
    ):
        files.append(tmp_path / name)
        files[-1].write_bytes(content)
    page = phone.goto(f"/cases/{case}/act/document_added")
    page.locator("input[multiple]").set_input_files(files)
    listed = page.locator("li.file")
    for number, file in enumerate(files):
        row = listed.nth(number)
        expect(row.locator("[data-part=metadata]")).to_contain_text("It was removed")
        expect(row.locator("[data-part=picture]")).to_be_visible()
        row.get_by_label(re.compile("^Title")).fill(file.name)
        row.get_by_label(re.compile("^Kind of document")).select_option("report")
        row.get_by_label(re.compile("^Who may read it")).select_option("case")
    phone.picture("document-types")
    sign(page)
    page.wait_for_url(re.compile(r"/documents\?at_least=\d+$"))
    with node.client(POLICE) as client:
        documents = client.documents(case).documents
        (report,) = (one for one in documents if one.document.title == "report.pdf")
        left = redacted(
            client, report, Hidden("2"), "without page 2", None, Purpose.PROTECTION, None
        )
        client.case(case, at_least=client.append(left, case, 1 + len(documents)).position)
    page = phone.goto(f"/cases/{case}/documents")
    expect(page.locator("main")).to_contain_text("says so. A country that has both")
    page.select_option("#open-purpose", "protection")
    for title, start in {"photograph.heic": b"\xff\xd8", "scan.tiff": b"%PDF-"}.items():
        row = page.locator("ul.papers li").filter(has=page.get_by_text(title, exact=True))
        row.get_by_role("button", name="View").click()
        expect(page.locator("#preview-picture")).not_to_have_js_property("width", 0)
        page.get_by_role("button", name="Close").click()
        with page.expect_download() as coming:
            row.get_by_role("button", name="Download").click()
        assert Path(coming.value.path()).read_bytes().startswith(start)
    phone.sees_no_barrier()
    phone.picture("document-versions")


def test_an_upload_goes_on_after_the_browser_was_closed(
    person: People, case: UUID, tmp_path: Path
) -> None:
    """The file is kept encrypted, and what the node has of it is not sent again."""
    desk = person(POLICE)
    desk.expected = REFUSED
    marker = b"MARKER-IN-CLEAR"
    (file := tmp_path / "Report of the shelter.pdf").write_bytes(pdf(1_200_000, marker))
    page = desk.goto(f"/cases/{case}/act/document_added")
    line = Line(page, drops={2: "before", 3: "before", 4: "before", 5: "before"})
    page.locator("input[multiple]").set_input_files(file)
    describe(page, "Report of the shelter", "report", "case")
    expect(page.locator("li.file")).to_contain_text("The connection is lost")
    desk.sees_no_barrier()
    assert not any(marker.decode() in one or "Report" in one for one in kept(page))
    assert files_after(page, hours=23) > 3
    page.goto("about:blank")
    line.stop()
    page = desk.goto(f"/cases/{case}/act/document_added")
    expect(page.locator("#draft")).to_contain_text("Files from")
    sent: list[int] = []
    page.on("request", lambda one: sent.append(1) if one.method == "PATCH" else None)
    page.get_by_role("button", name="Continue the draft").click()
    row = page.locator("li.file")
    expect(row).to_contain_text("Sent.")
    assert len(sent) == 2
    expect(row.get_by_label(re.compile("^Title"))).to_have_value("Report of the shelter")


def test_a_session_that_ends_meanwhile_asks_to_sign_in_and_goes_on(
    person: People, case: UUID, node: Server
) -> None:
    desk = person(POLICE)
    page = desk.page
    page.locator("#belongs_to").select_option(index=1)
    desk.context.clear_cookies()
    sign(page)
    expect(page.locator("#session-over")).to_be_visible()
    desk.sees_no_barrier()
    page.get_by_role("button", name="Sign in with this key").click()
    desk.unlock()
    page.wait_for_url(re.compile(r"/documents\?at_least=\d+$"))
    expect(page.locator("main h3:not(#preview-title)").first).to_contain_text("1. Case opened")
    page.get_by_role("link", name="kind of document").click()
    expect(page.locator("main h3:not(#preview-title)").first).to_have_text("report")
    with node.client(POLICE) as client:
        (found,) = client.documents(case).documents
    assert found.belongs_to is not None
    page = desk.goto(f"/cases/{case}")
    expect(page.locator("section[aria-labelledby=papers]")).to_contain_text("Report of the shelter")


def test_files_chosen_together_are_all_kept_and_all_that_is_wrong_is_said_at_once(
    person: People, case: UUID, tmp_path: Path
) -> None:
    desk = person(POLICE)
    desk.expected = REFUSED
    page = desk.goto(f"/cases/{case}/act/document_added")
    assert found_after_keeping_at_once(page) == ["one", "two"]
    look = page.get_by_role("button", name="See what will be signed")
    look.click()
    expect(page.locator("#errors li")).to_have_text(["Choose a file first."])
    names = ("a.png", "b.png", "x" * 150 + ".pdf", "evil\u202efdp.pdf")
    for name in names:
        content = pdf(2_000, name.encode()) if name.endswith("pdf") else b"<svg/>"
        (tmp_path / name).write_bytes(content)
    page.route("**/uploads", lambda route: route.abort())
    page.locator("input[multiple]").set_input_files([tmp_path / name for name in names])
    expect(page.locator("[data-part=trouble] p")).to_have_count(2)
    rows = page.locator("li.file")
    expect(rows).to_have_count(2)  # the second too, although the first one is not sent
    titles = page.get_by_label(re.compile("^Title"))
    expect(titles.last).to_have_value("evilfdp")
    with desk.context.new_page() as other:
        other.goto(page.url)
        other.locator("#draft-go").click()
        expect(other.locator("[data-part=trouble]")).to_contain_text("open in another tab")
    page.unroute("**/uploads")
    look.click()
    expect(page.locator("#errors li")).to_have_count(2 * len(("kind", "readers", "on its way")))
    desk.sees_no_barrier()
    for row in (rows.first, rows.last):
        expect(row).to_contain_text("Sent.")
        row.get_by_label(re.compile("^Kind of document")).select_option("letter")
        row.get_by_label(re.compile("^Who may read it")).select_option("case")
    page.set_viewport_size({"width": 390, "height": 800})
    look.click()
    expect(page.locator("#review")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    refused = {"status": 422, "json": {"rule": "role", "detail": "not yours"}}
    answers = iter((None, refused))

    def answer(route: Route) -> None:
        own = next(answers)
        route.fallback() if own is None else route.fulfill(**own)

    page.route("**/actions", answer)
    page.get_by_role("button", name="Sign and record").click()
    expect(page.locator("#trouble")).to_contain_text("“evilfdp.pdf” is not recorded")
    expect(page.locator("#trouble")).to_contain_text("Documents recorded before it: 1.")
    expect(rows.get_by_role("alert")).to_contain_text("Refused")
    page.unroute("**/actions")
    page.get_by_role("button", name="Remove").click()
    desk.goto(f"/cases/{case}")
    expect(page.locator("section[aria-labelledby=papers]")).to_contain_text("x" * 150)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.set_viewport_size({"width": 1280, "height": 800})


def test_a_file_that_is_refused_says_why_and_keeps_what_was_typed(
    person: People, case: UUID, tmp_path: Path
) -> None:
    desk = person(POLICE)
    page = desk.goto(f"/cases/{case}/act/document_added")
    expect(page.locator("main")).to_contain_text("each of at most 25 MB")
    (good := tmp_path / "letter.pdf").write_bytes(pdf(2_000))
    (script := tmp_path / "photo.png").write_bytes(b"<svg onload='alert(1)'/>")
    (cut := tmp_path / "cut.docx").write_bytes(b"PK\x03\x04" + bytes(500))
    files = page.locator("input[multiple]")
    files.set_input_files(good)
    describe(page, "Letter of the school", "letter", "case")
    trouble = page.locator("[data-part=trouble]")
    files.set_input_files(script)
    expect(trouble).to_contain_text("“photo.png” is of no accepted type")
    beside = page.evaluate(
        """() => {
            const dropped = new DataTransfer();
            dropped.items.add(new File([new Uint8Array(26e6)], "scan.pdf"));
            const drop = () => new DragEvent("drop",
                { dataTransfer: dropped, cancelable: true, bubbles: true });
            document.querySelector(".drop").dispatchEvent(drop());
            return document.querySelector("h1, h2").dispatchEvent(drop());
        }"""
    )
    assert beside is False  # else the browser shows the file instead of the page
    expect(trouble).to_contain_text("“scan.pdf” has 26 MB. A document may have at most 25 MB")
    files.set_input_files(cut)
    row = page.locator("li.file").last
    expect(row.get_by_role("alert")).to_contain_text("Refused: By its content")
    desk.sees_no_barrier()
    desk.picture("document-refused")
    row.get_by_role("button", name="Remove").click()
    expect(page.get_by_label(re.compile("^Title"))).to_have_value("Letter of the school")
    for button in ("Shqip", "Crnogorski", "English"):
        open_menu(page)
        page.get_by_role("button", name=button).click()
        page.locator("#draft-go").click()
        expect(page.locator("li.file progress")).to_be_hidden()
        if button != "English":
            text = page.locator("main").inner_text().replace("Letter of the school", "")
            assert re.findall(r"\b(the|and|your|which|file|sent)\b", text, re.IGNORECASE) == []
    assert files_after(page, hours=25) == 0
    open_menu(page)
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    assert kept(page) == []


def test_an_action_takes_its_document_in_the_same_act(
    person: People, case: UUID, node: Server, tmp_path: Path
) -> None:
    desk = person(POLICE)
    desk.goto("/sign-in").select_option("#agency", POLICE)
    desk.page.click("#enter")
    desk.unlock()
    desk.page.wait_for_url("**/today")
    page = desk.goto(f"/cases/{case}/act/risk_assessed")
    (report := tmp_path / "Risk in June.pdf").write_bytes(pdf(3_000))
    page.locator("#f-risk_level").select_option("high")
    page.locator("input[data-part=files]").set_input_files(report)
    row = page.locator("li.file")
    expect(row.get_by_label(re.compile("^Kind of document"))).to_have_value("assessment")
    expect(row.get_by_label(re.compile("^Title"))).to_have_value("Risk in June")
    expect(row).to_contain_text("Sent.")
    desk.sees_no_barrier()
    desk.picture("document-of-action")
    page.get_by_role("button", name="See what will be signed").click()
    expect(page.locator("#review")).to_contain_text("Risk in June.pdf")
    page.get_by_role("button", name="Sign and record").click()
    page.wait_for_url(f"**/cases/{case}?at_least=*")
    assert kept(page) == []
    vault = node.node.vaults.of("XK")
    with node.client(POLICE) as client:
        last = list(client.trail(case))[-1]
    assert last.kind == "risk_assessed"
    assert last.action_id in vault.documents.held([last.action_id])


def test_a_released_document_opens_in_the_other_country_until_consent_is_withdrawn(
    person: People, node: Server, tmp_path: Path
) -> None:
    """The second document, which was to follow, is not released any more."""
    with node.client(POLICE) as client:
        adult = opening(("XK", "ME")).model_copy(update={"age_group": AgeGroup.ADULT})
        opened = client.open_case(adult)
        consent = ConsentGiven(
            acted_at=START,
            scopes=tuple(ConsentScope),
            given_by=ConsentGiver.PERSON,
            form=ConsentForm.WRITTEN,
            groups=(FieldGroup.IDENTITY,),
            recipients=("ME",),
        )
        client.append(consent, case := opened.case_id, 1)
        for version, title in ((2, "Passport"), (3, "Birth certificate")):
            (file := tmp_path / f"{title}.pdf").write_bytes(scan(2, title=title))
            told = client.add_document(
                case,
                version,
                file,
                kind=DocumentKind.TRAVEL_DOCUMENT,
                title=title,
                group=FieldGroup.IDENTITY,
            )
        client.case(case, at_least=told.position)
    desk, there = person(POLICE), person(CARE)
    release(desk, case, "Passport")
    page = there.goto(f"/cases/{case}/documents")

    def has_come() -> bool:
        there.goto(f"/cases/{case}/documents")
        choose_group(page, "Identity")
        return page.get_by_role("button", name="View").is_visible()

    until(has_come)
    expect(page.locator("ul.papers li")).to_contain_text("Passport")
    page.get_by_role("button", name="View").click()
    expect(page.locator("#preview-page")).to_have_text("Page 1 of 2")
    page.get_by_role("button", name="Next page").click()
    expect(page.locator("#preview-page")).to_have_text("Page 2 of 2")
    with page.expect_download() as coming:
        page.get_by_role("button", name="Signed original").click()
    assert Path(coming.value.path()).read_bytes() == (tmp_path / "Passport.pdf").read_bytes()
    there.sees_no_barrier()
    own = desk.goto(f"/cases/{case}/documents")

    def is_known_to_be_there() -> bool:
        desk.goto(f"/cases/{case}/documents")
        choose_group(own, "Identity")
        return "Montenegro holds it too" in own.locator("ul.papers").inner_text()

    until(is_known_to_be_there)
    with node.client(POLICE) as client:
        withdrawn = ConsentWithdrawn(
            acted_at=START, scopes=tuple(ConsentScope), withdrawn_by=ConsentGiver.PERSON
        )
        told = client.append(withdrawn, case, client.case(case).view.version)
        client.case(case, at_least=told.position)
    page = desk.goto(f"/cases/{case}/personal")
    open_identity(page)
    expect(page.locator("section.good")).to_contain_text("Birth certificate")  # read by duty
    expect(page.locator("#release-form")).to_have_count(0)


def open_identity(page: Page) -> None:
    page.get_by_label("Identity").check()
    page.select_option("#purpose", "protection")
    page.get_by_role("button", name="Open, and be written down").click()


def release(desk: Person, case: UUID, title: str) -> None:
    page = desk.goto(f"/cases/{case}/personal")
    open_identity(page)
    form = page.locator("#release-form")
    form.get_by_text(title).click()
    form.locator("#release-basis").select_option(index=1)
    form.locator("#release-purpose").select_option("protection")
    form.get_by_role("button", name="Sign and release").click()
    page.wait_for_url(re.compile(r"at_least="))
