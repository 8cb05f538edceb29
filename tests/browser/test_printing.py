"""Documents on paper: that a browser is given them, under the policy of the pages."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Response

from tests.browser.conftest import SECONDS, Person
from tests.support.story import Told

People = Callable[[str], Person]
PAPERS = {
    "/cases/{}": "summary.pdf",
    "/cases/{}/trail": "trail.pdf",
    "/meeting/ME/summary": "summary.pdf",
}


@pytest.mark.parametrize("path", PAPERS)
def test_a_click_on_its_link_delivers_the_document(person: People, story: Told, path: str) -> None:
    """In the browser's viewer; one that the policy stopped would have complained."""
    coordinator = person("xk-nac")
    page = coordinator.goto(path.format(story.cases["A"]))
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    link = page.get_by_role("link", name="Print (PDF)")
    link.click()
    page.wait_for_url(f"**/{PAPERS[path]}*", timeout=SECONDS)
    assert coordinator.complained() == []
