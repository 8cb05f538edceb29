"""Pages: whose they are, who may send them what, and that what is shown is text."""

import re
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from tests.attacks.target import KOSOVO, MARK, MONTENEGRO, Target, assert_silent
from tests.attacks.test_api8_configuration import assert_page_is_guarded
from tests.attacks.test_asvs_injection import SQL, STRANGE
from tests.support.actions import opening
from tests.support.web import FROM_HERE, page_text, signed_in

OF_A_CASE = ("", "/act", "/act/risk_assessed", "/personal", "/replay", "/trail", "/verify")
PRINTED = ("/summary.pdf", "/trail.pdf")
OF_A_MEETING = ("/meeting", "/meeting/ME", "/meeting/ME/summary", "/meeting/ME/summary.pdf")
FOR_COORDINATORS = (
    *("/audit", "/board", "/charts", "/charts/flow.csv", "/missing", "/retention"),
    *OF_A_MEETING,
)
SCRIPT = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}'


@pytest.mark.parametrize("path", [*OF_A_CASE, *PRINTED])
def test_another_countrys_case_has_no_pages(target: Target, path: str) -> None:
    """API1:2023; ASVS V8.2.2: the same page as for a case that there is not."""
    with signed_in(target.server, MONTENEGRO) as browser, target.untouched():
        theirs, none = (browser.get(f"/cases/{c}{path}") for c in (target.case, uuid4()))
    assert theirs.status_code == none.status_code == 404
    assert page_text(theirs) == page_text(none)


def test_personal_fields_of_another_countrys_case_are_not_asked_for(target: Target) -> None:
    """API1:2023: nothing is opened, and there is no log of that country to write into."""
    before = readings(target, "me")
    with signed_in(target.server, MONTENEGRO) as browser, target.untouched():
        answer = browser.post(
            f"/cases/{target.case}/personal",
            content="groups=identity&purpose=protection", headers=FROM_HERE,
        )  # fmt: skip
    assert answer.status_code == 404
    assert readings(target, "me") == before


@pytest.mark.parametrize("path", FOR_COORDINATORS)
@pytest.mark.parametrize("agency", [KOSOVO, "xk-csw-peja", "xk-court-prishtina"])
def test_coordinators_pages_are_theirs(target: Target, path: str, agency: str) -> None:
    """API5:2023; ASVS V8.2.1: denied by role, whatever the navigation shows."""
    with signed_in(target.server, agency) as browser, target.untouched():
        answer = browser.get(path)
    assert answer.status_code == 403
    assert_page_is_guarded(answer)


def test_a_node_has_no_pages(target: Target) -> None:
    """API5:2023: neither by a session, which it cannot begin, nor by assertions."""
    pages = ("/cases", f"/cases/{target.case}", "/board", "/charts", "/keys", "/verify")
    pages += (*OF_A_MEETING, *(f"/cases/{target.case}{one}" for one in PRINTED))
    for path in pages:
        assert target.ask(path, "xk-node").status_code == 403, path


@pytest.mark.parametrize(
    "sent", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
             {"Origin": "https://evil.example"}, {"Origin": "null"}]
)  # fmt: skip
def test_another_sites_page_opens_nothing(target: Target, sent: dict[str, str]) -> None:
    """ASVS V3.5 request forgery: personal fields, sessions by key, languages."""
    before = readings(target, "xk")
    with signed_in(target.server, KOSOVO) as browser, target.untouched():
        for path, form in (
            (f"/cases/{target.case}/personal", "groups=identity&purpose=protection"),
            ("/language", "language=sq&return_to=%2F"),
            ("/auth/logout", ""),
        ):
            answer = browser.post(path, content=form, headers=sent)
            assert answer.status_code == 403, path
            assert "set-cookie" not in answer.headers
        assert browser.get("/auth/me").status_code == 200
    assert readings(target, "xk") == before


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)",
             "/%0d%0aSet-Cookie:a=b\r\n", "/\t/evil.example", f"//{MARK}"]
)  # fmt: skip
def test_signing_in_leads_to_this_node_alone(target: Target, back: str) -> None:
    """ASVS V3.7 redirects: no other address, and none comes back in the page."""
    answer = target.ask(f"/sign-in?return_to={quote(back)}", None)
    if answer.status_code == 200:  # an encoded line break is text of a path
        assert "\r" not in answer.text
        assert 'data-return="/%0d' in answer.text
    else:
        assert answer.status_code == 422
    assert_silent(answer.text)


def test_what_was_disclosed_is_shown_as_text(target: Target) -> None:
    """ASVS V1.2 injection: a note with markup, on each page that could show it."""
    with target.server.client(KOSOVO) as police:
        receipt = police.open_case(opening(indicators_note=SCRIPT, first_name=SCRIPT))
        police.case(receipt.case_id, at_least=receipt.position)
        list(police.trail(receipt.case_id, at_least=receipt.position))
    with signed_in(target.server, KOSOVO) as browser:
        pages = {path: browser.get(f"/cases/{receipt.case_id}{path}") for path in OF_A_CASE}
        pages["opened"] = browser.post(
            f"/cases/{receipt.case_id}/personal",
            content="groups=identity&purpose=identification", headers=FROM_HERE,
        )  # fmt: skip
    for path, answer in pages.items():
        assert answer.status_code == 200, path
        assert_page_is_guarded(answer)
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text
    assert "&lt;script&gt;alert(1)" in pages[""].text
    assert "{{7*7}}" in pages["opened"].text
    for path in set(OF_A_CASE) - {""}:
        assert "alert(1)" not in pages[path].text, path


@pytest.mark.parametrize("language", ["sq", "cnr", "en"])
def test_pages_hold_no_script_and_no_style_of_their_own(target: Target, language: str) -> None:
    """ASVS V3.4: nothing that the policy would have to allow."""
    with signed_in(target.server, "xk-nac") as browser:
        browser.cookies.set("case-ledger-language", language)
        paths = ["/cases", "/cases?show=all", "/cases/new", "/board", "/charts", "/keys", "/verify"]
        paths += OF_A_MEETING[:3]
        paths += [f"/cases/{target.case}{path}" for path in OF_A_CASE if "risk" not in path]
        for path in paths:
            answer = browser.get(path)
            assert answer.status_code == 200, path
            assert_page_is_guarded(answer)
            # A block of data is no script: browsers do not run it, whatever the policy says.
            page = answer.text.replace('<script type="application/json"', "<data")
            inline = re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", page)
            assert inline == [], path
            assert re.findall(r'(?:src|href|action)="(?:https?:)?//', answer.text) == []


@pytest.mark.parametrize("value", [*SQL, *STRANGE, SCRIPT])
def test_strange_values_are_values(target: Target, value: str) -> None:
    """ASVS V1 and V2: in queries, paths, cookies and forms; never a 5xx, never repeated."""
    text = quote(value)
    with signed_in(target.server, KOSOVO) as browser, target.untouched():
        answers = [
            browser.get(f"/cases?show={text}"),
            browser.get(f"/cases/{text}"),
            browser.get(f"/cases/{target.case}/act/{text}"),
            browser.get(f"/cases/{target.case}/replay?version={text}"),
            *(browser.get(f"/cases/{target.case}/trail?{name}={text}")
              for name in ("kind", "agency", "party", "stage")),
            browser.get(f"/static/{text}/{text}"),
            browser.post(f"/cases/{target.case}/personal",
                         content=f"groups={text}&purpose={text}&basis={text}", headers=FROM_HERE),
            browser.post("/language", content=f"language={text}&return_to={text}",
                         headers=FROM_HERE),
            httpx.get(f"{target.server.url}/sign-in",
                      headers={"Cookie": f"case-ledger-language={text}",
                               "Accept-Language": value.encode("ascii", "replace").decode()
                               .replace("\r", "").replace("\n", "").replace("\x00", "")}),
        ]  # fmt: skip
    for answer in answers:
        assert answer.status_code < 500
        assert MARK not in answer.text
        assert "<script>alert" not in answer.text
        assert "set-cookie" not in answer.headers


def readings(target: Target, party: str) -> int:
    """Return how often agencies asked; the node itself compares cases at any time."""
    with psycopg.connect(target.database) as connection:
        statement = f"SELECT count(*) FROM vault_{party}.readings WHERE operation <> 'match'"
        row = connection.execute(statement).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row[0])


def test_the_access_log_names_the_key_that_asked(target: Target) -> None:
    """ASVS V16.2: who read by a page is told apart by the key in their browser."""
    with signed_in(target.server, KOSOVO) as browser:
        browser.post(
            f"/cases/{target.case}/personal",
            content="groups=identity&purpose=identification", headers=FROM_HERE,
        )  # fmt: skip
        person = browser.get("/auth/me").json()["person"]
        log = browser.get(f"/v1/cases/{target.case}/readings", headers={"Accept": "*/*"}).json()
    asked = log["readings"][-1]["asked"]
    assert (asked["person"], asked["key_id"]) == (person, person)
    assert UUID(asked["case_id"]) == target.case
