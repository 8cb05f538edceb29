"""Members: a coordinator invites a person, whose browser makes a key; who leaves is out at once."""

from collections.abc import Callable

from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Person
from tests.support.serving import Server

People = Callable[[str], Person]
AGENCY, NAME = "xk-csw-peja", "Zana Shembulli"


def _joins(chromium: Browser, node: Server, coordinator: Person, link: str) -> Person:
    """Open a link in a browser of its own, make a key, and have the coordinator register it."""
    context = chromium.new_context(locale="en-GB", viewport={"width": 390, "height": 844})
    joined = Person(AGENCY, node, context, context.new_page())
    joined.watch()
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


def test_a_person_comes_in_by_a_link_takes_a_second_device_and_leaves(
    chromium: Browser, person: People, node: Server
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
    joined = _joins(chromium, node, coordinator, link)
    page = joined.goto("/members")
    expect(_card(page, NAME)).to_contain_text("You")
    joined.sees_no_barrier()
    page.get_by_role("button", name="Add another device").click()
    second = _joins(chromium, node, coordinator, page.locator("#link").input_value())
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
        assert [key.is_valid for key in left.keys] == [False, False]
    for device in (joined, second):
        device.goto("/cases")
        assert "/sign-in" in device.page.url
        assert device.complained() == []
        device.context.close()
