"""HEAD, conditional requests, unknown parameters and request ids at every resource."""

import json
import re
from uuid import uuid4

import httpx
import pytest
import structlog

from api.client.assertion import make_assertion
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.routes import accountability, cases
from ledger.vocabulary.picklists import RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from tests.support.actions import START, opening
from tests.support.serving import Server
from tests.support.web import signed_in

READ = (
    "/v1/cases", "/v1/events?after=0", "/v1/protocol", "/v1/agencies", "/v1/obligations",
    "/v1/accountability/reciprocity", "/health", "/ready", "/metrics", "/log/policy",
)  # fmt: skip
MISSPELT = (
    "/v1/cases?zqstatus=Active", "/v1/events?zqafter=5", "/v1/obligations?zqoverdu=true",
    "/v1/agencies?zqparty=XK", "/log/policy?zqsize=5", "/v1/outbox?zqlimit=5",
)  # fmt: skip


@pytest.fixture
def served(served_once: Server) -> Server:
    """One server: most tests look at nothing but what they record themselves."""
    return served_once


def ask(server: Server, method: str, path: str, **headers: str) -> httpx.Response:
    token = make_assertion("xk-nac", server.agencies.keys["xk-nac"], "case-ledger")
    sent = {"Authorization": f"Bearer {token}", **headers}
    return httpx.request(method, f"{server.url}{path}", headers=sent, timeout=20)


@pytest.mark.parametrize("path", READ)
def test_head_answers_as_get_does_without_a_body(served: Server, path: str) -> None:
    got, headed = ask(served, "GET", path), ask(served, "HEAD", path)
    assert (headed.status_code, headed.content) == (got.status_code, b"")
    assert headed.headers["content-type"] == got.headers["content-type"]
    assert "content-length" in headed.headers


def test_head_of_a_page_and_of_what_is_not_there(served: Server) -> None:
    with signed_in(served, "xk-nac") as browser:
        for path, status in (("/cases", 200), ("/cases?show=all", 200), (f"/cases/{uuid4()}", 404)):
            got, headed = browser.get(path), browser.head(path)
            assert (headed.status_code, got.status_code, headed.content) == (status, status, b"")
    assert ask(served, "HEAD", f"/v1/cases/{uuid4()}").status_code == 404
    assert ask(served, "HEAD", "/v1/cases/x/actions").status_code in (404, 405, 422)


def test_head_of_a_stream_ends(served: Server) -> None:
    headed = ask(served, "HEAD", "/v1/events", Accept="text/event-stream")
    assert (headed.status_code, headed.content) == (200, b"")
    assert headed.headers["content-type"].startswith("text/event-stream")


def test_what_the_client_has_is_not_sent_again(served: Server) -> None:
    with served.client("xk-dhtqnj") as police:
        first = police.open_case(opening())
    with served.client("xk-nac") as coordinator:
        coordinator.case(first.case_id, at_least=first.position)
    got = ask(served, "GET", "/v1/cases")
    tag = got.headers["etag"]
    assert tag.startswith('W/"')
    for named in (tag, f'"other", {tag}', "*", tag.removeprefix("W/")):
        again = ask(served, "GET", "/v1/cases", **{"If-None-Match": named})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag), named
        assert "content-length" not in again.headers or again.headers["content-length"] == "0"
    assert ask(served, "HEAD", "/v1/cases", **{"If-None-Match": tag}).status_code == 304
    assert ask(served, "GET", "/v1/cases", **{"If-None-Match": '"other"'}).content == got.content
    with served.client("xk-dhtqnj") as police:
        second = police.open_case(opening())
    with served.client("xk-nac") as coordinator:
        coordinator.case(second.case_id, at_least=second.position)
    changed = ask(served, "GET", "/v1/cases", **{"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


def test_the_tag_of_a_case_is_taken_back_and_that_of_a_list_is_refused(served: Server) -> None:
    with served.client("xk-dhtqnj") as police:
        opened = police.open_case(opening())
        police.case(case := opened.case_id, at_least=opened.position)
    assessed = RiskAssessed(acted_at=START, risk_level=RiskLevel.HIGH)
    tags = [ask(served, "GET", path).headers["etag"] for path in ("/v1/cases", f"/v1/cases/{case}")]
    answers = []
    for tag in tags:
        token = make_assertion("xk-dhtqnj", served.agencies.keys["xk-dhtqnj"], "case-ledger")
        answers.append(
            httpx.post(
                f"{served.url}/v1/cases/{case}/actions",
                content=str(served.agencies.sign("xk-dhtqnj", assessed, case)),
                headers={
                    "Authorization": f"Bearer {token}",
                    "Content-Type": "application/sd-jwt",
                    "If-Match": tag,
                },
            )
        )
    assert [answer.status_code for answer in answers] == [422, 201]
    assert answers[0].json()["field"] == "If-Match"
    now = f"/v1/cases/{case}?at_least={answers[1].json()['position']}"
    assert ask(served, "GET", now, **{"If-None-Match": tags[1]}).status_code == 200


@pytest.mark.parametrize("path", MISSPELT)
def test_a_misspelt_parameter_is_refused_and_the_known_ones_are_named(
    served: Server, path: str
) -> None:
    answer = ask(served, "GET", path)
    assert (answer.status_code, answer.json()["rule"]) == (422, "request")
    assert "query.(unknown)" in answer.json()["detail"]
    assert "zq" not in answer.text


def test_a_parameter_that_is_given_twice_is_refused(served: Server) -> None:
    answer = ask(served, "GET", "/v1/cases?limit=1&limit=2")
    assert answer.status_code == 422
    assert "query.limit" in answer.json()["detail"]
    several = ask(served, "GET", "/v1/accountability/response-times?by=kind&by=country")
    assert several.status_code == 200, several.text


def test_a_misspelt_parameter_of_a_page_is_refused(served: Server) -> None:
    with signed_in(served, "xk-nac") as browser:
        answer = browser.get("/cases?shwo=all")
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("text/html")
    assert f"<code>{answer.headers['x-request-id']}</code>" in answer.text


def test_no_resource_ignores_what_it_does_not_know() -> None:
    for router in (cases.router, accountability.router):
        assert all(isinstance(route, DeclaredParametersRoute) for route in router.routes)


def test_each_answer_and_log_line_has_the_requests_id(
    alone: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    structlog.configure(processors=[
        structlog.contextvars.merge_contextvars, structlog.processors.JSONRenderer(),
    ])  # fmt: skip
    try:
        answers = [
            ask(alone, "GET", path, **{"X-Request-ID": "chosen by the client"})
            for path in ("/v1/cases", "/nowhere", "/v1/cases?limit=x", "/ready")
        ]
        answers.append(ask(alone, "DELETE", "/v1/cases"))
    finally:
        structlog.reset_defaults()
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{32}", own) for own in ids)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line[:1] == "{"]
    assert [line["request_id"] for line in lines if line["event"] == "request"] == ids


def test_a_stream_begins_before_its_first_event(served: Server) -> None:
    head = httpx.get(f"{served.url}/ready").json()["head"]
    token = make_assertion("xk-nac", served.agencies.keys["xk-nac"], "case-ledger")
    sent = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    path = f"{served.url}/v1/events?after={head}"
    with httpx.stream("GET", path, headers=sent, timeout=5) as stream:
        assert stream.status_code == 200
