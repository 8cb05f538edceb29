"""Two members at two browsers: one signs and sends, the other returns it, then approves it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from playwright.sync_api import Browser, Route, expect

from api.client.schemas.members import NewMember
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import Protocol
from ledger.signing.key_possession import grant_of
from ledger.vocabulary.coordination import ConsentGiven, InformationRequested
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import (
    ConsentForm,
    ConsentGiver,
    ConsentScope,
    GuardianKind,
    InformationTopic,
    Purpose,
    RiskLevel,
)
from ledger.vocabulary.protection import GuardianAppointed, RiskAssessed
from ledger.vocabulary.registration import KeyRegistered, KeyRequest
from tests.browser.conftest import Person
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies, adopted_protocol
from tests.support.databases import new_database
from tests.support.serving import Server, running
from tests.support.waiting import until

AGENCY, SOCIAL, COORDINATOR = "xk-dhtqnj", "xk-csw-prishtina", "xk-nac"
ASKED = {
    "actions": ["risk_assessed", "form_sent", "information_released"],
    "roles": ["police"],
    "within_days": 7,
}
TYPED = "The uncle waits at the school."
SEEN = os.environ.get("CASE_LEDGER_TEST_PICTURES_IN")


@dataclass
class Colleague(Person):
    """A member of the agency, by a key that is registered for the member."""

    member: UUID | None = None

    def register(self) -> None:
        request = KeyRequest.model_validate_json(self.page.input_value("#public-key"))
        begins = datetime.now(UTC).replace(microsecond=0)
        grant = grant_of(request, valid_from=begins, valid_until=begins + timedelta(days=365))
        with self.server.client(COORDINATOR) as coordinator:
            coordinator.append_to_registry(
                KeyRegistered(acted_at=PAST, grant=grant, member=self.member)
            )

    def seen(self, name: str) -> None:
        """Keep pictures where somebody looks at the pages."""
        self.sees_no_barrier()
        for width in (1366, 390) if SEEN else ():
            self.page.set_viewport_size({"width": width, "height": 800})
            self.page.screenshot(path=Path(SEEN or "") / f"{name}-{width}.png", full_page=True)


@pytest.fixture
def asking(server: str, migrated: str, tmp_path: Path) -> Iterator[Server]:
    protocol = Protocol.model_validate(text_of(adopted_protocol()) | {"approvals": [ASKED]})
    agencies = Agencies(protocol)
    with new_database(server, migrated) as conninfo:
        with Ledger(environment(conninfo)) as ledger:
            agencies.begin(ledger)
        with running(Settings(data_directory=tmp_path, port=0), conninfo, agencies) as served:
            yield served


def test_a_colleague_returns_what_waits_and_approves_it_changed(
    chromium: Browser, asking: Server
) -> None:
    case = uuid4()
    with asking.client(SOCIAL) as social:
        social.open_case(opening(), case)
    with ExitStack() as stack:

        def colleague(name: str) -> Colleague:
            with asking.client(COORDINATOR) as coordinator:
                member = coordinator.add_member(NewMember(agency=AGENCY, name=name)).id
            context = chromium.new_context(locale="en-GB", viewport={"width": 1366, "height": 800})
            stack.callback(context.close)
            found = Colleague(AGENCY, asking, context, context.new_page(), member=member)
            found.watch()
            found.sign_in()
            return found

        author, second = colleague("Arta Shembulli"), colleague("Blerim Shembulli")
        page = author.goto(f"/cases/{case}/act/risk_assessed")
        expect(page.locator("#asked")).to_contain_text("waits for a colleague")
        page.locator('[data-field="risk_level"] select').select_option("high")
        page.locator('[data-field="threats"] textarea').fill(TYPED)
        author.seen("form")
        page.locator("[data-look]").click()
        page.get_by_role("button", name="Sign and send to a colleague").click()
        page.wait_for_url("**/drafts?done=sent")
        expect(page.get_by_text("Waits for approval")).to_be_visible()
        author.goto("/today")
        expect(page.locator("#today-approvals + ul")).to_contain_text("Waits for approval")

        desk = second.goto("/today")
        expect(desk.locator("#today-approvals + ul")).to_contain_text("Waits for your approval")
        second.seen("today")
        second.goto("/drafts")
        second.seen("drafts")
        desk.get_by_role("button", name="Look at it").click()
        expect(desk.get_by_text(TYPED)).to_be_visible()
        expect(desk.get_by_text("Arta Shembulli")).to_be_visible()
        second.seen("draft")
        desk.get_by_label("what has to change").fill("Name the school.")
        desk.get_by_role("button", name="Return with the remark").click()
        expect(desk.locator(".note.good")).to_contain_text("Returned to its author")

        author.goto("/drafts")
        page.get_by_role("button", name="Look at it").click()
        expect(page.get_by_text("Name the school.")).to_be_visible()
        author.seen("returned")
        # What the author types before the draft has come stays.
        late: list[Route] = []
        page.route("**/v1/drafts/*/reading", lambda route: late.append(route))
        page.get_by_role("link", name="Change and send again").click()
        until(lambda: late or page.wait_for_timeout(50))
        notes = page.locator('[data-field="threats"] textarea')
        notes.fill("The school of Peja.")
        late[0].continue_()
        page.unroute("**/v1/drafts/*/reading")
        expect(page.locator("#returned")).to_contain_text("Name the school.")
        expect(page.locator('[data-field="risk_level"] select')).to_have_value("high")
        expect(notes).to_have_value("The school of Peja.")
        notes.fill(f"{TYPED} It is the school of Peja.")
        page.locator("[data-look]").click()
        page.get_by_role("button", name="Sign and send to a colleague").click()
        page.wait_for_url("**/drafts?done=sent")

        second.goto("/drafts")
        desk.get_by_role("button", name="Look at it").click()
        expect(desk.get_by_text("the school of Peja")).to_be_visible()
        # What the page shows is not what the author signed: nothing is approved.
        expect(shown := desk.locator('dd[data-field="threats"]')).to_contain_text("Peja")
        shown.evaluate("one => { one.textContent = one.textContent.replace('Peja', 'Prizren'); }")
        desk.get_by_role("button", name="Approve and record").click()
        expect(desk.locator("#approving-trouble")).to_contain_text("not show what the author")
        desk.locator('dd[data-field="risk_level"]').evaluate("one => one.remove()")
        shown.evaluate("one => { one.textContent = one.textContent.replace('Prizren', 'Peja'); }")
        desk.get_by_role("button", name="Approve and record").click()
        expect(desk.locator("#approving-trouble")).to_contain_text("not show what the author")
        second.goto("/drafts")
        desk.get_by_role("button", name="Look at it").click()
        expect(desk.locator("#approve")).to_be_visible()
        with asking.client(SOCIAL) as social:
            social.append(RiskAssessed(acted_at=START, risk_level=RiskLevel.MEDIUM), case, 1)
        second.expected = author.expected = None
        desk.get_by_role("button", name="Approve and record").click()
        expect(desk.locator("#approving-trouble")).to_contain_text("The case changed just now")
        expect(desk.locator("#since")).to_be_visible()
        second.complaints.clear()  # the refusal for the case's version, which the console has
        desk.get_by_role("button", name="Approve and record").click()
        desk.wait_for_url(f"**/cases/{case}?**")
        second.goto(f"/cases/{case}/trail")
        expect(desk.locator("main")).to_contain_text(
            "approved by a second member: Blerim Shembulli"
        )
        second.seen("trail")
        second.goto(f"/cases/{case}/verify")
        expect(desk.locator("main")).to_contain_text("3")
        author.goto("/drafts")
        expect(page.get_by_role("button", name="Look at it")).to_have_count(0)
        sends_a_form_and_a_release(author, second, asking)
        assert author.complained() == []
        assert second.complained() == []


def sends_a_form_and_a_release(author: Colleague, second: Colleague, asking: Server) -> None:
    """Forms of their own kind send drafts too, and a returned one fills its own form again."""
    page, desk = author.page, second.page
    with asking.client(AGENCY) as police:
        case = police.open_case(opening(("XK", "ME"), first_name="zqEra")).case_id
        police.append(
            InformationRequested(
                acted_at=START,
                addressee="me-police-thb",
                topics=(InformationTopic.IDENTITY,),
                purpose=Purpose.IDENTIFICATION,
            ),
            case,
            1,
        )
    with asking.client(SOCIAL) as social:
        guardian = GuardianAppointed(acted_at=START, guardian_kind=GuardianKind.RELATIVE)
        consent = ConsentGiven(
            acted_at=START,
            scopes=(ConsentScope.INFORMATION_EXCHANGE,),
            given_by=ConsentGiver.GUARDIAN,
            form=ConsentForm.WRITTEN,
            groups=(FieldGroup.IDENTITY,),
            recipients=("ME",),
        )
        social.append(guardian, case, 2)
        social.append(consent, case, 3)

    def returned() -> None:
        page.wait_for_url("**/drafts?done=sent")
        second.goto("/drafts")
        desk.get_by_role("button", name="Look at it").click()
        desk.get_by_label("what has to change").fill("Once more.")
        desk.get_by_role("button", name="Return with the remark").click()
        author.goto("/drafts")
        page.get_by_role("button", name="Look at it").click()
        page.get_by_role("link", name="Change and send again").click()

    def approved() -> None:
        page.wait_for_url("**/drafts?done=sent")
        author.goto(f"/cases/{case}")
        expect(page.locator("#case-drafts")).to_contain_text("Waits for approval")
        second.goto("/drafts")
        desk.get_by_role("button", name="Look at it").click()
        desk.get_by_role("button", name="Approve and record").click()
        desk.wait_for_url(f"**/cases/{case}?**")

    def signs() -> None:
        page.locator("[data-look]").click()
        page.get_by_role("button", name="Sign and send to a colleague").click()

    author.goto(f"/cases/{case}/forms/3")
    expect(page.locator("#f-acted_at-day")).not_to_have_value("")  # the form's script has begun
    expect(page.locator("#asked")).to_contain_text("waits for a colleague")
    page.locator("#f-addressee").select_option(index=1)
    page.locator("#f-remarks").fill(TYPED)
    signs()
    returned()
    expect(page.locator("#returned")).to_contain_text("Once more.")
    expect(page.locator("#f-remarks")).to_have_value(TYPED)
    signs()
    approved()

    def opens() -> None:
        page.get_by_label("Purpose").select_option("identification")
        page.get_by_role("button", name="Open, and be written down").click()
        expect(page.locator("#release-asked")).to_contain_text("waits for a colleague")

    author.goto(f"/cases/{case}/personal")
    page.get_by_label("Identity", exact=False).check()
    opens()
    page.get_by_label("First name", exact=False).check()
    page.locator("#release-basis").select_option(index=1)
    page.locator("#release-purpose").select_option("identification")
    author.seen("release")
    page.get_by_role("button", name="Sign and send to a colleague").click()
    returned()
    opens()
    expect(page.locator("#release-returned")).to_contain_text("Once more.")
    expect(page.get_by_label("First name", exact=False)).to_be_checked()
    page.get_by_role("button", name="Sign and send to a colleague").click()
    approved()
    with asking.client(AGENCY) as police:
        told = [(one.kind, one.approved_by is not None) for one in police.trail(case)][-2:]
    assert told == [("form_sent", True), ("information_released", True)]
