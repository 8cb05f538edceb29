"""The meeting of two countries' teams: agenda, access, what counts as discussed, summary."""

import re
import threading
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from html import unescape
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID, uuid4

import httpx
import pytest
from pypdf import PdfReader

from api.web.routes import meeting as routes
from api.web.texts import texts
from ledger.application import Ledger
from ledger.vocabulary.coordination import (
    CaseClosed,
    CasePrioritised,
    Correction,
    JointActionAgreed,
    MeetingHeld,
)
from ledger.vocabulary.picklists import (
    ClosureReason,
    CorrectionEffect,
    CorrectionReason,
    JointActionKind,
    Priority,
)
from projections.tables.view_queries import ViewReader
from tests.support.actions import opening
from tests.support.serving import Server
from tests.support.story import Told
from tests.support.web import signed_in

KOSOVO, MONTENEGRO, ALBANIA = "xk-nac", "me-nac", "al-nac"
PLACES = ("", "/ME", "/ME/summary", "/ME/summary.pdf", "/ME/{case}")


def opened(node: Server, days_ago: int = 0, countries: tuple[str, ...] = ("XK", "ME")) -> UUID:
    """A case that Kosovo's police opened."""
    acted_at = datetime.now(UTC) - timedelta(days=days_ago, hours=1)
    with node.client("xk-dhtqnj") as police:
        receipt = police.open_case(opening(countries, acted_at=acted_at))
        police.case(receipt.case_id, at_least=receipt.position)
    return receipt.case_id


def record(node: Server, agency: str, case: UUID, action: Any) -> Any:
    """Record an action by its agency, and wait for what the pages read."""
    with node.client(agency) as client:
        receipt = client.append(action, case, client.case(case).view.version)
        client.case(case, at_least=receipt.position)
        return receipt


def meeting(**more: Any) -> MeetingHeld:
    told: dict[str, Any] = {
        "acted_at": datetime.now(UTC),
        "host": "ME",
        "countries": ("XK", "ME"),
        "agencies": (KOSOVO, MONTENEGRO),
    }
    return MeetingHeld(**told | more)


def agreed(**more: Any) -> JointActionAgreed:
    told: dict[str, Any] = {
        "acted_at": datetime.now(UTC),
        "joint_action": JointActionKind.RETURN_PREPARATION,
        "responsible": ("xk-csw-peja", "me-csw-podgorica"),
        "due": date(2099, 3, 1),
    }
    return JointActionAgreed(**told | more)


def asked(node: Server, agency: str, place: str, language: str = "en") -> httpx.Response:
    with signed_in(node, agency) as browser:
        browser.cookies.set("case-ledger-language", language)
        return browser.get(f"/meeting{place}")


def shown(node: Server, agency: str, place: str, position: int = 0, since: str = "") -> str:
    """A page that has what was recorded at a position."""
    query = f"?at_least={position}" + (f"&since={since}" if since else "")
    answer = asked(node, agency, place + (query if position or since else ""))
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


def order(page: str) -> list[UUID]:
    """The cases of an agenda, from top to bottom."""
    found = re.findall(r'<th scope="row"><a id="case-([0-9a-f-]{36})"', page)
    return [UUID(one) for one in found]


def row(page: str, case: UUID) -> str:
    (found,) = re.findall(rf'<tr[^>]*>\s*<th scope="row"><a id="case-{case}".*?</tr>', page, re.S)
    return str(found)


def test_the_most_urgent_comes_first_then_the_longest_overdue(node: Server) -> None:
    late, fresh, later, urgent = (opened(node, days) for days in (400, 0, 300, 0))
    receipt = record(
        node, MONTENEGRO, urgent,
        CasePrioritised(acted_at=datetime.now(UTC), priority=Priority.URGENT),
    )  # fmt: skip
    for agency, place in ((KOSOVO, "/ME"), (MONTENEGRO, "/XK")):
        page = shown(node, agency, place, receipt.position)
        found = [one for one in order(page) if one in {late, fresh, later, urgent}]
        assert found == [urgent, late, later, fresh]
        assert "was due" in row(page, late)
        assert "Urgent" in row(page, urgent)
        assert "not yet discussed" in row(page, late)


def test_of_many_the_most_urgent_are_listed_and_others_follow(
    node: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    urgent, late = opened(node), opened(node, 500)
    receipt = record(
        node, MONTENEGRO, urgent,
        CasePrioritised(acted_at=datetime.now(UTC), priority=Priority.URGENT),
    )  # fmt: skip
    every = order(shown(node, KOSOVO, "/ME", receipt.position))
    monkeypatch.setattr(routes, "_AT_MOST", 1 + every.index(urgent))
    page = shown(node, KOSOVO, "/ME")
    assert urgent in order(page)
    assert late not in order(page)
    assert "Only the most urgent ones are listed" in page
    assert str(late) in shown(node, KOSOVO, f"/ME/{late}")
    met_on = record(node, KOSOVO, urgent, meeting())
    monkeypatch.setattr(routes, "_AT_MOST", every.index(late))
    page = shown(node, KOSOVO, "/ME", met_on.position)
    assert {urgent, late} <= set(order(page))  # one is discussed, so that another follows


def test_only_open_cases_of_both_countries_are_on_it(node: Server) -> None:
    alone, third, closed = opened(node, 0, ("XK",)), opened(node, 0, ("XK", "AL")), opened(node)
    receipt = record(
        node, KOSOVO, closed, CaseClosed(acted_at=datetime.now(UTC), reason=ClosureReason.REFERRED)
    )
    page = shown(node, KOSOVO, "/ME", receipt.position)
    assert not {alone, third, closed} & set(order(page))
    assert order(shown(node, KOSOVO, "/AL")) == [third]
    assert "No open case is shared" in shown(node, MONTENEGRO, "/AL")
    chooser = shown(node, KOSOVO, "")
    assert "Meeting with Montenegro" in chooser
    assert "Meeting with Albania" in chooser
    assert "Meeting with Albania" not in shown(node, MONTENEGRO, "")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "agency", ["xk-dhtqnj", "me-csw-podgorica", "xk-ombudsperson", "xk-prosecution-prishtina"]
)
def test_it_is_for_coordinators(node: Server, story: Told, agency: str, place: str) -> None:
    answer = asked(node, agency, place.format(case=story.cases["A"]), "sq")
    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("text/html")
    assert texts("sq").text("problem.403.title") in unescape(answer.text)
    assert str(story.cases["A"]) not in answer.text


def test_other_roles_find_no_way_there(node: Server) -> None:
    def leads_there(agency: str) -> bool:
        with signed_in(node, agency) as browser:
            return 'href="/meeting"' in browser.get("/cases").text

    assert [a for a in (KOSOVO, "xk-dhtqnj", "me-ombudsman") if leads_there(a)] == [KOSOVO]


@pytest.mark.parametrize("country", ["DE", "XK"])
@pytest.mark.parametrize("place", ["", "/summary", "/summary.pdf", "/{case}"])
def test_a_country_that_shares_no_protocol_is_not_met(
    node: Server, story: Told, country: str, place: str
) -> None:
    answer = asked(node, KOSOVO, f"/{country}{place}".format(case=story.cases["A"]), "cnr")
    assert answer.status_code == 404
    assert texts("cnr").text("problem.404.title") in unescape(answer.text)


def test_a_case_that_they_do_not_share_is_not_shown(node: Server, story: Told) -> None:
    own = opened(node, 0, ("XK",))
    none = asked(node, KOSOVO, f"/ME/{uuid4()}")
    assert none.status_code == 404
    for agency, place in ((KOSOVO, f"/ME/{own}"), (ALBANIA, f"/XK/{story.cases['A']}")):
        answer = asked(node, agency, place)
        assert answer.status_code == 404
        assert "Not found" in answer.text


def test_who_is_not_signed_in_is_sent_to_do_that_and_back(node: Server) -> None:
    answer = httpx.get(f"{node.url}/meeting/ME?since=2026-06-01T00:00:00Z")
    back = quote("/meeting/ME?since=2026-06-01T00%3A00%3A00Z", safe="/")
    assert answer.headers["location"] == f"/sign-in?return_to={back}"
    page = httpx.get(node.url + answer.headers["location"])
    assert (page.status_code, 'data-return="/meeting/ME?since=2026' in page.text) == (200, True)
    long = httpx.get(f"{node.url}/meeting/ME?since={'0' * 500}")
    assert long.headers["location"] == "/sign-in?return_to=/meeting/ME"


def test_what_either_country_records_is_seen_by_both(node: Server) -> None:
    """The sitting is what the ledger says: from the meeting that one side recorded on."""
    case = opened(node, 3)
    before = shown(node, KOSOVO, f"/ME/{case}")
    assert "not yet discussed" in row(shown(node, KOSOVO, "/ME"), case)
    assert "First comes: Meeting of the teams held" in before
    assert re.search(r'<div data-when="true" hidden>.*?id="joint_action_agreed-act"', before, re.S)
    held = record(node, MONTENEGRO, case, meeting())
    joint = record(node, KOSOVO, case, agreed())
    for agency, other in ((KOSOVO, "ME"), (MONTENEGRO, "XK")):
        page = shown(node, agency, f"/{other}", joint.position)
        assert 'class="tag good">discussed' in row(page, case)
        assert "1 March 2099" in row(page, case)
        summary = shown(node, agency, f"/{other}/summary", joint.position)
        ((_, told),) = re.findall(
            rf'(<section aria-labelledby="case-{case}">)(.*?)</section>', summary, re.S
        )
        for said in (f"position {held.position}", f"position {joint.position}", "1 March 2099",
                     "Joint action agreed", "Montenegro"):  # fmt: skip
            assert said in told, said
        assert f'id="left-{case}"' not in summary
        after = shown(node, agency, f"/{other}/{case}", joint.position)
        assert re.search(r'<div data-when="true">.*?id="joint_action_agreed-act"', after, re.S)
        assert 'data-met="true"' in after


def test_a_sitting_begins_at_the_moment_in_the_address(node: Server) -> None:
    case, yesterday = opened(node, 3), datetime.now(UTC) - timedelta(days=1)
    receipt = record(node, KOSOVO, case, meeting(acted_at=yesterday))
    page = shown(node, KOSOVO, "/ME", receipt.position)
    assert "not yet discussed" in row(page, case)
    assert f"{yesterday:%-d %B %Y}" in row(page, case)
    # The rules would allow a joint action by now; it belongs to a meeting of this sitting.
    today = shown(node, KOSOVO, f"/ME/{case}")
    assert "First comes: Meeting of the teams held" in today
    assert '<div data-when="true" hidden>' in today
    since = f"{yesterday - timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}"
    assert '<div data-when="true">' in shown(node, KOSOVO, f"/ME/{case}", since=since)
    assert "not yet" not in row(shown(node, KOSOVO, "/ME", receipt.position, since), case)
    assert asked(node, KOSOVO, "/ME?since=yesterday").status_code == 422
    own = urlencode({"since": since})
    for place in ("/ME", "/ME/summary", f"/ME/{case}"):  # it stays so in another language
        told = shown(node, KOSOVO, place, since=since)
        assert f'name="return_to" value="/meeting{place}?{own}"' in told
        elsewhere = re.findall(r'href="(/meeting/[^"]*)"', told)
        assert elsewhere
        assert [one for one in elsewhere if not one.endswith(f"?{own}")] == []


def test_a_meeting_that_was_annulled_was_none(node: Server) -> None:
    case = opened(node)
    held = record(node, MONTENEGRO, case, meeting())
    assert "not yet" not in row(shown(node, KOSOVO, "/ME", held.position), case)
    annulled = record(
        node, MONTENEGRO, case,
        Correction(
            acted_at=datetime.now(UTC), corrects=held.action_id,
            effect=CorrectionEffect.ANNULLED, reason=CorrectionReason.ENTRY_ERROR,
        ),
    )  # fmt: skip
    assert "not yet discussed" in row(shown(node, KOSOVO, "/ME", annulled.position), case)


def test_a_case_closed_in_the_sitting_stays_in_its_summary(node: Server) -> None:
    case = opened(node)
    record(node, KOSOVO, case, meeting())
    closed = record(
        node, KOSOVO, case, CaseClosed(acted_at=datetime.now(UTC), reason=ClosureReason.REFERRED)
    )
    summary = shown(node, MONTENEGRO, "/XK/summary", closed.position)
    assert f'aria-labelledby="case-{case}"' in summary
    page = shown(node, MONTENEGRO, f"/XK/{case}", closed.position)
    assert "The case is closed" in page
    content = page.partition("</main>")[0]
    assert "<form" not in content.split('id="record"')[-1]


def test_forms_name_the_two_countries_alone(node: Server) -> None:
    case = opened(node)
    page = shown(node, KOSOVO, f"/ME/{case}")
    (form,) = re.findall(r'<form [^>]*id="meeting_held-act".*?</form>', page, re.S)
    chosen = re.findall(r'type="checkbox"[^>]* value="([A-Z]{2})" checked', form)
    assert chosen == ["XK", "ME"]
    agencies = re.findall(r'type="checkbox"[^>]* value="([a-z]{2})-', form)
    assert Counter(agencies).keys() == {"xk", "me"}
    assert "ombuds" not in form
    assert 'data-carry="xk-nac/sitting/ME/' in form


@pytest.mark.parametrize("place", ["", "/ME", "/ME/summary", "/ME/{case}"])
def test_pages_ask_the_same_number_of_questions_however_many_cases_there_are(
    node: Server, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    case = opened(node)
    record(node, KOSOVO, case, meeting())
    made: list[str] = []
    asking, reading = ViewReader._rows, Ledger.case

    def note(what: str) -> None:
        if threading.current_thread().name.startswith("AnyIO"):  # a page's; views follow in others
            made.append(what)

    def asks(self: ViewReader, statement: Any, projection: str, params: Any) -> Any:
        note(statement)
        return asking(self, statement, projection, params)

    def reads(self: Ledger, *args: Any, **more: Any) -> Any:
        note("case")
        return reading(self, *args, **more)

    def count() -> Counter[str]:
        path = place.format(case=case)
        shown(node, KOSOVO, path)  # what is asked once is asked by now
        made.clear()
        shown(node, KOSOVO, path)
        return Counter(made)

    monkeypatch.setattr(ViewReader, "_rows", asks)
    monkeypatch.setattr(Ledger, "case", reads)
    few = count()
    cases = [opened(node) for _ in range(12)]
    for one in cases:
        receipt = record(node, MONTENEGRO, one, meeting())
    assert str(cases[-1]) in shown(node, KOSOVO, "/ME", receipt.position)
    assert count() == few
    assert sum(few.values()) >= 1


@pytest.mark.parametrize("language", ["sq", "cnr"])
def test_no_page_falls_back_to_english(node: Server, language: str) -> None:
    case, left = opened(node, 2), opened(node, 2)
    record(node, MONTENEGRO, case, meeting())
    record(node, MONTENEGRO, case, agreed())
    for place in ("", "/ME", "/ME/summary", f"/ME/{case}", f"/ME/{left}"):
        page = unescape(asked(node, KOSOVO, place, language).text)
        text = re.sub(
            r"<[^>]*>|<script.*?</script>|Hope and Homes", " ",
            page.split("<main")[1].split("</main")[0],
        )  # fmt: skip
        found = re.findall(r"\b(the|and|your|which|case|meeting|recorded)\b", text, re.IGNORECASE)
        assert found == [], (place, found)


def test_the_summary_is_printed(node: Server) -> None:
    case, left = opened(node), opened(node)
    held = record(node, MONTENEGRO, case, meeting(minutes="zqMinutes", participants="zqSomebody"))
    joint = record(node, MONTENEGRO, case, agreed(description="zqDescription"))
    answer = asked(node, KOSOVO, f"/ME/summary.pdf?at_least={joint.position}")
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["cache-control"] == "no-store"
    reader = PdfReader(BytesIO(answer.content))
    text = "".join(page.extract_text() for page in reader.pages)
    told = re.sub(r"\s", "", text)
    for said in (str(case), str(left), f"position {held.position}", f"position {joint.position}",
                 "1 March 2099", "Not reached", "Montenegro"):  # fmt: skip
        assert said.replace(" ", "") in told, said
    assert told.index(str(case)) < told.index("Notreached") < told.index(str(left))
    assert "zq" not in told
    catalogue: Any = reader.trailer["/Root"]
    assert catalogue["/MarkInfo"]["/Marked"]
