"""Documents on paper: that a browser shows them, under the policy of the pages."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Frame, Page, Playwright, expect

from tests.browser.conftest import CHROMIUM, SECONDS, Person, running_browser
from tests.support.story import Told

People = Callable[[str], Person]
VIEWER = "chrome-extension://mhjfbmdgcfjbbpaeojofohoefgiehjai/"
"""Chromium's own viewer of PDF, which asks for its own files beside the document."""
PAPERS = {
    "/cases/{}": ("/cases/{}/summary.pdf", "Case summary"),
    "/cases/{}/trail": ("/cases/{}/trail.pdf", "Audit trail"),
    "/meeting/ME/summary": ("/meeting/ME/summary.pdf", "Summary of the sitting"),
}


@pytest.fixture(scope="module")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """A browser that has the viewer, in place of the one without."""
    with running_browser(playwright, CHROMIUM) as browser:
        yield browser


@pytest.mark.parametrize("path", PAPERS)
def test_a_click_on_its_link_shows_the_document(person: People, story: Told, path: str) -> None:
    """In the browser's viewer, which names it by its title once it is read; nothing complains."""
    coordinator = person("xk-nac")
    coordinator.expected = re.compile(f"^leaves the origin: ({VIEWER}|chrome://resources/)")
    page = coordinator.goto(path.format(story.cases["A"]))
    document, title = PAPERS[path]
    page.get_by_role("link", name="Print (PDF)").click()
    page.wait_for_url(f"**{document}*".format(story.cases["A"]), timeout=SECONDS)
    toolbar = viewer(page).locator("viewer-toolbar")
    expect(toolbar).to_contain_text(title, timeout=SECONDS)
    pages = toolbar.locator("#pagelength")
    expect(pages).to_have_text(re.compile(r"[1-9]"), timeout=SECONDS)
    assert coordinator.complained() == []


def viewer(page: Page) -> Frame:
    for _ in range(SECONDS // 100):
        for frame in page.frames:
            if frame.url.startswith(VIEWER):
                return frame
        page.wait_for_timeout(100)
    raise AssertionError([frame.url for frame in page.frames])
