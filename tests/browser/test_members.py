"""Members: a person comes in by a link, takes a second device, loses a phone, and leaves."""

import re
from collections.abc import Callable

from playwright.sync_api import Browser, Locator, Page, expect

from api.web.qr_code import qr_code, svg_path
from tests.browser.conftest import FEW_ROUNDS, SECONDS, Person
from tests.browser.test_locked_keys import kept, type_a_draft
from tests.support.serving import Server
from tests.support.story import Told

People = Callable[[str], Person]
AGENCY, NAME = "xk-csw-peja", "Zana Shembulli"


def _phone(chromium: Browser, node: Server) -> Person:
    context = chromium.new_context(locale="en-GB", viewport={"width": 390, "height": 844})
    context.set_default_timeout(SECONDS)
    context.add_init_script(FEW_ROUNDS)
    phone = Person(AGENCY, node, context, context.new_page())
    phone.watch()
    return phone


def _joins(joined: Person, coordinator: Person, link: str) -> Person:
    """Open a link in a browser, make a key there, and have the coordinator register it."""
    page = joined.page
    page.goto(link)
    expect(page.locator("#join-agency")).to_contain_text("Peja")
    joined.sees_no_barrier()
    page.get_by_role("button", name="Make the key").click()
    joined.choose_pin()
    expect(page.get_by_role("heading", name="The key is made and handed in")).to_be_focused()
    assert "#" not in page.url
    thumbprint = page.locator("#thumbprint").inner_text().replace(" ", "")
    joined.pictures("join")
    joined.expected = None
    page.get_by_role("button", name="Sign in with this key").click()
    expect(page.locator("#join-said")).to_contain_text("not registered yet")
    joined.complaints.clear()  # the refusal of the key, which the browser's console has
    desk = coordinator.goto(f"/members?agency={AGENCY}")
    waiting = desk.locator(f'li[data-key="{thumbprint}"]')
    expect(waiting).to_contain_text(NAME)
    coordinator.pictures("members")
    waiting.get_by_role("button", name="They are equal: register").click()
    expect(desk.locator("#members-said")).to_contain_text("registered")
    page.get_by_role("button", name="Sign in with this key").click()
    page.wait_for_url("**/today")
    return joined


def _card(page: Page, name: str) -> Locator:
    """The card of a member; the others name the member too, among those who may take over."""
    return page.locator(".card").filter(has=page.get_by_role("heading", name=name))


def _enters(phone: Person, said: str) -> None:
    """Try to sign in with the key of the browser, and be told why not."""
    page = phone.page
    page.click("#enter")
    page.locator("#unlock[open]").or_(page.locator("#sign-in-said:not(:empty)")).wait_for()
    if page.locator("#unlock").is_visible():
        phone.unlock()
    expect(page.locator("#sign-in-said")).to_contain_text(said)


def _loses_the_phone_and_takes_another_key(
    phone: Person, desk: Person, coordinator: Person, story: Told
) -> None:
    """The key of the phone is revoked at the desk. What was typed there is signed with the next."""
    form = f"/cases/{story.cases['A']}/act/risk_assessed"
    page = phone.goto(form)
    page.locator("#f-risk_level").select_option("high")
    page.get_by_role("button", name="See what will be signed").click()
    lost = page.evaluate("() => document.body.dataset.ownKeys.split(' ')[0]")
    desk.goto("/members").locator(f'button[data-revokes="{lost}"]').click()
    expect(desk.page.locator("#members-said")).to_contain_text("evoked")
    phone.expected = re.compile("status of 40[13]")
    page.get_by_role("button", name="Sign and record").click()
    expect(page.locator("#session-over")).to_be_visible()
    page.click("#session-again")
    phone.unlock()
    expect(page.locator("#session-said")).to_contain_text("This key was revoked")
    phone.sees_no_barrier()
    phone.pictures("lost-phone")
    assert page.request.get(f"{phone.server.url}/auth/me").json()["rule"] == "session-over"
    with page.expect_response("**/auth/key") as answered:
        page.click("#session-again")
    assert (answered.value.status, answered.value.json()["rule"]) == (401, "revoked-key")
    page = phone.goto(form)
    assert "/sign-in" in page.url
    _enters(phone, "This key was revoked")
    desk.goto("/members").get_by_role("button", name="Add another device").click()
    _joins(phone, coordinator, desk.page.locator("#link").input_value())
    assert kept(page)["keys"] == 1  # the new key took the place of the revoked one
    # What the lost key signed is refused, and the form has what was typed: the new key signs that.
    page = phone.goto(form)
    page.locator("#draft-go").click()
    expect(page.locator("#trouble")).to_contain_text("The key in this browser is revoked")
    expect(page.locator("#f-risk_level")).to_have_value("high")
    page.get_by_role("button", name="See what will be signed").click()
    page.get_by_role("button", name="Sign and record").click()
    page.wait_for_url(re.compile("at_least="))
    type_a_draft(page, phone.server.url + form)


def test_a_person_comes_in_takes_a_second_device_loses_a_phone_and_leaves(
    chromium: Browser, person: People, node: Server, story: Told
) -> None:
    coordinator = person("xk-nac")
    desk = coordinator.goto(f"/members?agency={AGENCY}")
    desk.locator("#add-member").get_by_label("Name and surname").fill(NAME)
    desk.locator("#add-member").get_by_label("Position").fill("Case worker")
    desk.locator("#add-member").get_by_label("Head of the agency").check()
    desk.get_by_role("button", name="Add and make an invitation").click()
    expect(desk.locator("#invited")).to_contain_text(NAME)
    coordinator.sees_no_barrier()
    link = desk.locator("#link").input_value()
    joined = _joins(_phone(chromium, node), coordinator, link)
    page = joined.goto("/members")
    expect(_card(page, NAME)).to_contain_text("You")
    joined.sees_no_barrier()
    page.get_by_role("button", name="Add another device").click()
    link = page.locator("#link").input_value()
    code = page.get_by_role("img", name="The link as a code for a camera").locator("path").last
    assert code.get_attribute("d") == svg_path(qr_code(link))[1]
    joined.sees_no_barrier()
    joined.pictures("another-device")
    second = _joins(_phone(chromium, node), coordinator, link)
    _loses_the_phone_and_takes_another_key(second, joined, coordinator, story)
    # The head adds a colleague, and a name of hidden characters is refused with what was typed.
    page = second.goto("/members")
    form = page.locator("#add-member")
    form.get_by_label("Name and surname").fill("Zana\u202eillubmehS")
    form.get_by_label("Position").fill("Driver")
    page.get_by_role("button", name="Add and make an invitation").click()
    expect(page.locator("#add-member .wrong")).to_be_visible()
    assert page.locator("#add-member").get_by_label("Position").input_value() == "Driver"
    page.locator("#add-member").get_by_label("Name and surname").fill("Kolegu Shembull")
    page.get_by_role("button", name="Add and make an invitation").click()
    expect(page.get_by_role("heading", name="Kolegu Shembull")).to_be_visible()
    # The coordinator disables the person: both keys are revoked, both devices are out.
    desk = coordinator.goto(f"/members?agency={AGENCY}")
    card = _card(desk, NAME)
    card.locator("summary").filter(has_text="Disable").click()
    card.get_by_role("button", name="Disable").click()
    expect(desk.get_by_text("The member was disabled.")).to_be_visible()
    with node.client("xk-nac") as client:
        (left,) = [one for one in client.members(AGENCY) if one.name == NAME]
        assert [key.is_valid for key in left.keys] == [False] * 3
    for device in (joined, second):
        device.goto("/cases")
        assert "/sign-in" in device.page.url
        device.expected = re.compile("status of 40[13]")
        _enters(device, "Your access for this agency has ended")
        assert kept(device.page) == {"keys": 0, "drafts": 0, "usable": 0, "tab": 1}
        assert device.complained() == []
        device.context.close()
