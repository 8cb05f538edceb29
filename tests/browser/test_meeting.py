"""The meeting: two coordinators go through the cases that their countries share."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import Locator, Page, expect

from api.client.documents import DocumentFile
from ledger.vocabulary.case_reference import case_reference
from ledger.vocabulary.coordination import CasePrioritised, MeetingHeld
from ledger.vocabulary.picklists import Priority
from tests.browser.conftest import SECONDS, Person
from tests.support.actions import opening
from tests.support.papers import pdf
from tests.support.pictures import scan
from tests.support.serving import Server
from tests.support.story import Told
from tests.support.waiting import until

People = Callable[[str], Person]
KOSOVO, MONTENEGRO = "xk-nac", "me-nac"
SOMEBODY = "Izmišljena Ђорђевић, Podgorica 🙂"
MINUTES = "The grandmother can take the child in."


@pytest.fixture(scope="module")
def cases(node: Server, story: Told) -> Sequence[UUID]:  # noqa: ARG001
    """Three urgent cases beside the story's, the longest overdue first."""
    made = []
    for days in (3000, 2000, 1000):
        begun = datetime.now(UTC) - timedelta(days=days)
        with node.client("xk-dhtqnj") as police, node.client(MONTENEGRO) as coordinator:
            case = police.open_case(opening(("XK", "ME"), acted_at=begun)).case_id
            urgent = CasePrioritised(acted_at=begun + timedelta(days=1), priority=Priority.URGENT)
            receipt = coordinator.append(urgent, case, 1)
            coordinator.case(case, at_least=receipt.position)
        made.append(case)
    return made


def form(page: Page, kind: str) -> Callable[[str], Locator]:
    """Gives a part of one of the forms by its name."""
    return lambda name: page.locator(f"#{kind}-{name}")


def sign(page: Page, kind: str) -> None:
    """Look at what will be signed, and sign it."""
    part = form(page, kind)
    part("act").get_by_role("button", name="See what will be signed").click()
    expect(part("review")).to_be_visible()
    before = page.url
    part("sign").click()
    page.wait_for_url(lambda url: "at_least=" in url and url != before)


def present(page: Page) -> None:
    part = form(page, "meeting_held")
    part("f-host").select_option("ME")
    for agency in (KOSOVO, MONTENEGRO, "me-csw-podgorica"):
        part("act").locator(f"input[value={agency}]").check()
    part("f-participants").fill(SOMEBODY)


def agree(page: Page, kind: str, due: str) -> None:
    part = form(page, "joint_action_agreed")
    part("f-joint_action").select_option(kind)
    for agency in ("xk-csw-peja", "me-csw-podgorica"):
        part("act").locator(f"input[value={agency}]").check()
    for name, number in zip(("year", "month", "day"), due.split("-"), strict=True):
        part(f"f-due-{name}").fill(number)
    sign(page, "joint_action_agreed")


def agenda_row(page: Page, case: UUID) -> Locator:
    return page.locator("tbody tr", has=page.locator(f"#case-{case}"))


def test_two_coordinators_go_through_a_sitting(
    person: People, node: Server, cases: Sequence[UUID], story: Told
) -> None:
    kosovo, montenegro = person(KOSOVO), person(MONTENEGRO)
    page = kosovo.goto("/meeting")
    kosovo.sees_no_barrier()
    page.get_by_role("link", name="Meeting with Montenegro").click()
    expect(page.locator("tbody tr").first).to_contain_text("Urgent")
    found = page.locator("tbody th a").evaluate_all("all => all.map((one) => one.id)")
    assert found[:3] == [f"case-{case}" for case in cases]
    kosovo.sees_no_barrier()

    theirs = montenegro.goto("/meeting/XK")
    expect(agenda_row(theirs, cases[0])).to_contain_text("not yet discussed")

    # The first case: the joint action waits for the meeting.
    page.get_by_role("link", name="Begin with the first case").click()
    expect(page.locator("h1")).to_contain_text(case_reference(cases[0]))
    expect(page.locator("#record ~ details").nth(1)).to_contain_text(
        "First comes: Meeting of the teams held"
    )
    expect(form(page, "joint_action_agreed")("act")).to_be_hidden()
    present(page)
    form(page, "meeting_held")("f-minutes").fill(MINUTES)
    paper = {"name": "Signed minutes.pdf", "mimeType": "application/pdf", "buffer": scan(1)}
    form(page, "meeting_held")("act").locator("input[data-part=files]").set_input_files(paper)
    expect(page.locator("li.file")).to_contain_text("Sent.")
    kosovo.sees_no_barrier()
    sign(page, "meeting_held")
    expect(page.locator("section[aria-labelledby=minutes]")).to_contain_text("Signed minutes")
    expect(page.locator("h1")).to_contain_text("discussed")
    expect(page.locator("section[aria-labelledby=last]")).to_contain_text(MINUTES)
    agree(page, "return_preparation", "2099-03-01")
    agree(page, "evidence_exchange", "2099-04-01")
    recorded = page.locator("section[aria-labelledby=recorded]")
    expect(recorded.get_by_text("Joint action agreed")).to_have_count(2)
    expect(page.locator("section[aria-labelledby=joint]")).to_contain_text("1 April 2099")
    kosovo.sees_no_barrier()
    kosovo.picture("meeting-case")

    # The other side has seen it come.
    expect(agenda_row(theirs, cases[0])).to_contain_text("discussed", timeout=SECONDS)
    expect(agenda_row(theirs, cases[0])).not_to_contain_text("not yet", timeout=SECONDS)
    expect(agenda_row(theirs, cases[0])).to_contain_text("1 March 2099")

    # The second: who is present comes along, the minutes do not.
    page.get_by_role("link", name="Next case").click()
    expect(page.locator("h1")).to_contain_text(case_reference(cases[1]))
    part = form(page, "meeting_held")
    expect(part("f-participants")).to_have_value(SOMEBODY)
    expect(part("f-host")).to_have_value("ME")
    expect(part("act").locator("input[value=me-csw-podgorica]")).to_be_checked()
    expect(part("act").locator("input[value=xk-dhtqnj]")).not_to_be_checked()
    expect(part("f-minutes")).to_have_value("")

    # Montenegro is typing on it when Kosovo records: nothing typed is lost, the form opens.
    theirs.get_by_role("link", name="Next case").click()
    expect(theirs.locator("h1")).to_contain_text(case_reference(cases[1]))
    their_part = form(theirs, "meeting_held")
    expect(their_part("f-participants")).to_have_value("")  # each side has its own
    their_part("f-minutes").fill("Our side's minutes")
    sign(page, "meeting_held")
    expect(theirs.locator("h1")).to_contain_text("discussed", timeout=SECONDS)
    expect(their_part("f-minutes")).to_have_value("Our side's minutes")
    expect(form(theirs, "joint_action_agreed")("act")).to_be_visible()
    montenegro.sees_no_barrier()
    agree(theirs, "joint_investigation", "2099-05-01")
    expect(page.locator("section[aria-labelledby=recorded]")).to_contain_text(
        "1 May 2099", timeout=SECONDS
    )

    # The end: the same summary on both sides; the third was not reached.
    page.get_by_role("link", name="Summary of the sitting").click()
    theirs.get_by_role("link", name="Summary of the sitting").click()
    for shown in (page, theirs):
        discussed = shown.locator("section", has=shown.locator("h2 .tag"))
        expect(discussed).to_have_count(2)
        for due in ("1 March 2099", "1 April 2099", "1 May 2099"):
            expect(shown.locator("#live")).to_contain_text(due)
        left = shown.locator("section[aria-labelledby=left]")
        for case in (cases[2], *story.cases.values()):
            expect(left).to_contain_text(case_reference(case))
    kosovo.sees_no_barrier()
    kosovo.picture("meeting-summary")
    page.get_by_role("link", name="Meeting with Montenegro").click()
    expect(page.get_by_role("link", name="Next case")).to_be_visible()
    kosovo.picture("meeting")

    assert kinds(node, cases[0]) == [
        ("meeting_held", KOSOVO), ("joint_action_agreed", KOSOVO), ("joint_action_agreed", KOSOVO),
    ]  # fmt: skip
    assert kinds(node, cases[1]) == [("meeting_held", KOSOVO), ("joint_action_agreed", MONTENEGRO)]
    assert kinds(node, cases[2]) == []
    assert SOMEBODY not in kept(page)


def kinds(node: Server, case: UUID) -> list[tuple[str, str]]:
    """Return the kinds recorded of a case since the test opened it, each with a valid signature."""
    with node.client(KOSOVO) as client:
        trail = list(client.trail(case))
        assert {entry.signature.value for entry in trail} == {"valid"}
    return [(entry.kind, entry.agency) for entry in trail[2:]]


def kept(page: Page) -> str:
    """Return all that the browser stores on disk, as text."""
    found: str = page.evaluate(
        """async () => {
            const database = await new Promise((resolve) => {
                const asked = indexedDB.open("case-ledger");
                asked.onsuccess = () => resolve(asked.result);
            });
            const rows = await new Promise((resolve) => {
                const asked = database.transaction("drafts").objectStore("drafts").getAll();
                asked.onsuccess = () => resolve(asked.result);
            });
            const sealed = rows.map((row) => row.id + new TextDecoder().decode(row.sealed));
            return JSON.stringify([sealed, {...localStorage}, {...sessionStorage}]);
        }"""
    )
    assert "/sitting/" in found
    return found


def test_who_was_present_at_an_earlier_sitting_is_forgotten(
    person: People, cases: Sequence[UUID]
) -> None:
    coordinator = person(KOSOVO)
    today = f"/meeting/ME/{cases[2]}"
    earlier = f"{today}?since=2026-01-01T00%3A00%3A00Z"
    page = coordinator.goto(earlier)
    participants = form(page, "meeting_held")("f-participants")
    settled(page)
    expect(participants).to_have_value("")
    before = kept(page)
    participants.fill("somebody else")
    until(lambda: kept(page) != before)
    page.wait_for_timeout(600)  # it is kept in two places
    coordinator.goto(today)  # which has its own still
    expect(participants).to_have_value(SOMEBODY)
    settled(page)
    coordinator.goto(earlier)
    settled(page)
    expect(participants).to_have_value("")
    # What was typed for the case itself is this case's draft, as on every form.
    page.locator("#meeting_held-draft-drop").click()
    expect(page.locator("#meeting_held-draft")).to_be_hidden()


def settled(page: Page) -> None:
    """Wait until the form has its values."""
    expect(form(page, "meeting_held")("act")).to_be_visible()
    page.wait_for_timeout(300)


def test_it_is_done_by_keyboard_alone(person: People, cases: Sequence[UUID]) -> None:
    page = person(MONTENEGRO).goto("/meeting/XK")
    page.locator("#to-summary").focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text(case_reference(cases[2]))
    page.locator("details.recording summary").first.focus()
    page.keyboard.press("Enter")
    expect(form(page, "meeting_held")("act")).to_be_hidden()
    page.keyboard.press("Enter")
    expect(form(page, "meeting_held")("act")).to_be_visible()


@pytest.mark.parametrize("place", ["", "/XK", "/XK/summary", "/XK/{}"])
def test_it_fits_a_narrow_screen(person: People, cases: Sequence[UUID], place: str) -> None:
    coordinator = person(MONTENEGRO)
    coordinator.page.set_viewport_size({"width": 320, "height": 640})
    page = coordinator.goto(f"/meeting{place}".format(cases[0]))
    coordinator.sees_no_barrier()
    wide = page.evaluate(
        """() => document.scrollingElement.scrollWidth > innerWidth
            ? [...document.querySelectorAll("main, main *")]
                .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
                .map((one) => one.tagName + "." + one.className + "#" + one.id)
            : []"""
    )
    coordinator.page.set_viewport_size({"width": 1280, "height": 800})
    assert wide == []


def test_it_is_not_for_others(person: People, cases: Sequence[UUID]) -> None:
    police = person("me-police-thb")
    police.expected = re.compile("403")
    for place in ("/meeting", "/meeting/XK", f"/meeting/XK/{cases[0]}"):
        page = police.goto(place)
        expect(page.get_by_role("heading", level=1)).to_have_text("This is not for your agency")


def test_a_coordinator_signs_the_same_minutes_with_the_file_that_was_read(
    person: People, node: Server, cases: Sequence[UUID], tmp_path: Path
) -> None:
    """By their digest, as the other side signed them; another file is not signed."""
    case = cases[2]
    (read := tmp_path / "minutes.pdf").write_bytes(pdf(2000))
    (other := tmp_path / "other.pdf").write_bytes(pdf(2001))
    held = MeetingHeld(
        acted_at=datetime.now(UTC), host="ME", countries=("XK", "ME"), agencies=(KOSOVO, MONTENEGRO)
    )
    with node.client(MONTENEGRO) as client:
        version = client.case(case).view.version
        (receipt,) = client.act(held, case, version, [DocumentFile(read, "Minutes")])
    with node.client(KOSOVO) as client:
        until(lambda: [one.id for one in client.documents(case).documents] == [receipt.action_id])
    kosovo = person(KOSOVO)
    page = kosovo.goto(f"/cases/{case}?at_least={receipt.position}")
    signing = page.locator("form.signing")
    expect(page.locator("section[aria-labelledby=minutes]")).to_contain_text("Minutes")
    kosovo.sees_no_barrier()
    kosovo.picture("minutes")
    signing.locator("input[type=file]").set_input_files(other)
    signing.locator("button").click()
    expect(signing.locator(".said")).to_contain_text("SHA-256")
    signing.locator("input[type=file]").set_input_files(read)
    signing.locator("button").click()
    page.wait_for_url(re.compile(rf"/cases/{case}\?at_least=(?!{receipt.position}$)\d+$"))
    expect(signing).to_have_count(0)
    with node.client(KOSOVO) as client:
        (minutes,) = client.documents(case).documents
    assert [one.agency for one in minutes.signatures] == [MONTENEGRO, KOSOVO]
    assert minutes.unsigned_by == ()
