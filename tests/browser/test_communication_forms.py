"""A form is previewed, sent, found on the other desk, acknowledged, printed and checked."""

import re
from collections.abc import Callable
from io import BytesIO

from playwright.sync_api import Page, expect
from pypdf import PdfReader

from tests.browser.conftest import Person
from tests.support.actions import opening

People = Callable[[str], Person]


def sign(page: Page) -> None:
    page.get_by_role("button", name="See what will be signed").click()
    page.get_by_role("button", name="Sign and record").click()


def test_a_form_goes_from_one_desk_to_the_other(person: People) -> None:
    kosovo = person("xk-nac")
    with kosovo.server.client("xk-dhtqnj") as police:
        opened = police.open_case(opening(("XK",)))
    case = str(opened.case_id)
    page = kosovo.goto(f"/cases/{case}/forms?at_least={opened.position}")
    first = page.locator("ol.ten-steps > li").first
    expect(first).to_contain_text("ready to send")
    assert page.locator("ol.ten-steps > li").count() == 10
    kosovo.sees_no_barrier()
    kosovo.picture("forms-of-a-case")
    first.get_by_role("link", name="Preview and send").click()
    expect(page.get_by_role("heading", name="Form 1: Notification")).to_be_visible()
    expect(page.get_by_role("heading", name="Case opened")).to_be_visible()
    page.locator("#f-addressee").select_option("me-nac")
    page.locator("#f-remarks").fill("The girl speaks Montenegrin.")
    kosovo.sees_no_barrier()
    kosovo.picture("form-preview")
    page.get_by_role("button", name="See what will be signed").click()
    joins = page.locator("#review-joins")
    expect(joins).to_contain_text("takes part in it: Montenegro.")
    page.get_by_role("button", name="Sign and record").click()
    page.wait_for_url(re.compile(r"/forms\?at_least=\d+$"))
    expect(page.locator("#recorded")).to_be_focused()
    expect(page.locator("#recorded")).to_contain_text("Recorded as number")
    expect(first).to_contain_text("sent, not acknowledged")

    montenegro = person("me-nac")
    there = montenegro.goto(f"/cases/{case}")
    expect(there.locator("ul.steps").first).to_contain_text("Form acknowledged (about form 1)")
    there.get_by_role("link", name="Form acknowledged").click()
    expect(there.get_by_text("The girl speaks Montenegrin.")).to_be_visible()
    code = there.locator("dd code").inner_text()
    position = there.locator("dt:has-text('osition') + dd").inner_text()
    montenegro.sees_no_barrier()
    montenegro.picture("form-received")
    link = there.get_by_role("link", name=re.compile("Print, with")).first
    answer = montenegro.context.request.get(montenegro.server.url + link.get_attribute("href"))
    text = "".join(one.extract_text() for one in PdfReader(BytesIO(answer.body())).pages)
    assert code in text
    sign(there)
    there.wait_for_url(re.compile(r"/forms\?at_least=\d+$"))
    expect(there.locator("ol.ten-steps > li").first).to_contain_text("acknowledged")
    there.goto(f"{montenegro.server.url}/paper?position={position}&code={code.lower()}")
    expect(there.locator("p.note[role=status]")).to_contain_text("this is its code")
    there.goto(f"{montenegro.server.url}/paper?position={position}&code=AAAA-BBBB-CCCC-DDDD")
    expect(there.locator("p.note[role=status]")).to_contain_text("Do not rely on this paper")
    montenegro.sees_no_barrier()
