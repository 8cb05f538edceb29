"""Lists that are longer than a page: `/cases` and the board lead to all of them, each once."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from uuid import UUID

import httpx
import pytest

from api.web import board
from api.web.routes import case_list
from ledger.vocabulary.coordination import InformationRequested
from ledger.vocabulary.picklists import InformationTopic, Purpose
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, serving
from tests.support.web import signed_in

CASES = 7
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def node(server: str, begun: str, agencies: Agencies) -> Iterator[Server]:
    with new_database(server, begun) as conninfo, serving(conninfo, agencies) as served:
        yield served


@pytest.fixture(scope="module")
def opened(node: Server) -> list[UUID]:
    """Cases in which Montenegro owes an answer, the later opened the later due."""
    made, position = [], 0
    with node.client("xk-nac") as coordinator, node.client("xk-dhtqnj") as police:
        for number in range(CASES):
            began = NOW - timedelta(days=30)
            receipt = police.open_case(opening(("XK", "ME"), acted_at=began))
            due = (NOW - timedelta(days=20 - number)).date()
            asked = InformationRequested(
                acted_at=began + timedelta(hours=1), addressee="me-nac",
                topics=(InformationTopic.FAMILY,), purpose=Purpose.IDENTIFICATION, answer_by=due,
            )  # fmt: skip
            position = coordinator.append(asked, receipt.case_id, 1).position
            made.append(receipt.case_id)
        coordinator.case(made[-1], at_least=position)
    return made


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case_list, "PAGE", 3)
    monkeypatch.setattr(board, "PAGE", 3)


def pages(browser: httpx.Client, path: str, within: str = "") -> Iterator[str]:
    """A page, or its part, and those that follow, by the links that it has."""
    for _ in range(20):
        answer = browser.get(path)
        assert answer.status_code == 200, answer.text
        text = answer.text
        if within:
            found = re.search(rf'<section aria-labelledby="{within}">.*?</section>', text, re.S)
            assert found
            text = found[0]
        yield text
        following = re.search(r'<a href="([^"]+)" rel="next">', text)
        if following is None:
            return
        path = unescape(following[1])
    pytest.fail("the pages have no end")


def listed(text: str) -> list[UUID]:
    return [UUID(one) for one in re.findall(r'href="/cases/([0-9a-f-]{36})"', text)]


@pytest.mark.parametrize("show", ["due", "all"])
def test_the_list_goes_on_and_has_each_case_once(
    node: Server, opened: list[UUID], show: str
) -> None:
    with signed_in(node, "me-nac") as browser:
        found = [listed(text) for text in pages(browser, f"/cases?show={show}")]
    assert [len(some) for some in found] == [3, 3, 1]
    # The longest overdue is first, though it was opened before all others.
    assert [case_id for some in found for case_id in some] == opened


def test_the_last_page_leads_to_the_first(node: Server, opened: list[UUID]) -> None:
    with signed_in(node, "me-nac") as browser:
        first, *_, last = pages(browser, "/cases")
        assert ">First page</a>" not in first
        assert ">First page</a>" in last
        assert ">Next page</a>" not in last
        back = re.search(r'<a href="([^"]+)">First page</a>', last)
        assert back
        assert listed(browser.get(unescape(back[1])).text) == listed(first) == opened[:3]


@pytest.mark.parametrize("after", ["1", "1.9..1", "1.0.1.99999999999999999999", "x", "1.0." * 40])
def test_what_is_no_place_is_refused(node: Server, after: str) -> None:
    with signed_in(node, "me-nac") as browser:
        assert browser.get("/cases", params={"after": after}).status_code == 422


@pytest.mark.parametrize("agency", ["xk-nac", "me-nac", "xk-ombudsperson"])
def test_the_board_leads_to_all_that_is_owed(node: Server, opened: list[UUID], agency: str) -> None:
    with signed_in(node, agency) as browser:
        found = list(pages(browser, "/board", "owes-ME"))
        assert ">Montenegro owes <" in found[0].replace("\n", "")
    cases_of = [case_id for text in found for case_id in listed(text)]
    assert len(cases_of) == 2 * CASES  # the acknowledgement and the answer
    assert list(dict.fromkeys(cases_of)) == opened
    assert f'<span class="tag">{2 * CASES}</span>' in found[0]
    assert f"{2 * CASES} overdue" in found[0]


def test_the_board_leads_to_all_requests(node: Server, opened: list[UUID]) -> None:
    with signed_in(node, "xk-nac") as browser:
        found = [listed(text) for text in pages(browser, "/board", "requests")]
    assert [len(some) for some in found] == [3, 3, 1]
    assert [case_id for some in found for case_id in some] == opened[::-1]


def test_a_list_of_the_board_alone_has_no_other(node: Server, opened: list[UUID]) -> None:  # noqa: ARG001
    with signed_in(node, "xk-nac") as browser:
        text = browser.get("/board?show=danger").text
        assert 'aria-labelledby="danger"' in text
        assert 'aria-labelledby="requests"' not in text
        assert "owes-" not in text
        assert browser.get("/board?show=owes").status_code == 200
        assert browser.get("/board?show=other").status_code == 422
        assert browser.get("/board?show=bases&before=-1").status_code == 422
