"""API1:2023: where agencies see only the cases that they have to know of, others do not exist.

Every operation with a case in its path is tried, as OpenAPI and the pages list them, and each list.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from api import web
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.procedure.case_access import CaseAccess
from ledger.vocabulary.coordination import AgencyAdmissionEnded, AgencyAdmitted
from ledger.vocabulary.linking import CasesLinked
from ledger.vocabulary.picklists import CaseRelation
from tests.attacks.target import KOSOVO, Target
from tests.support.actions import START, opening
from tests.support.agencies import Agencies, adopted_protocol
from tests.support.databases import new_database
from tests.support.leaks import everything_logged
from tests.support.serving import running
from tests.support.waiting import until
from tests.support.web import FROM_HERE, page_text, signed_in

SOCIAL, COORDINATOR = "xk-csw-prishtina", "xk-nac"
WITHOUT_CASE = {"/cases/list.csv", "/cases/list.xlsx", "/cases/new"}
REPLACED = {"date": "", "x-request-id": ""}


@pytest.fixture(scope="module")
def bound(server: str, migrated: str) -> Iterator[Target]:
    agencies = Agencies(adopted_protocol().model_copy(update={"case_access": CaseAccess.NAMED}))
    with (
        new_database(server, migrated) as conninfo,
        everything_logged() as log,
        tempfile.TemporaryDirectory(prefix="case-ledger-keys-") as directory,
    ):
        with Ledger(environment(conninfo)) as ledger:
            agencies.begin(ledger)
        with running(
            Settings(data_directory=Path(directory), port=0), conninfo, agencies
        ) as served:
            target = Target(served, conninfo, log)
            with target.http:
                yield target


def case_paths(target: Target) -> list[tuple[str, str]]:
    """Every operation and every page with a case in its path."""
    paths = target.server.app.openapi()["paths"]
    found = [(m.upper(), p) for p, methods in paths.items() for m in methods if "{case_id}" in p]
    for route in web.routes():
        path = getattr(route, "path", "")
        if "{case_id}" in path:
            found += [(m, path) for m in getattr(route, "methods", ()) if m != "HEAD"]
    return sorted(set(found))


def test_no_operation_tells_that_an_unseen_case_exists(bound: Target) -> None:
    tried = case_paths(bound)
    assert len(tried) > 40
    different = []
    with signed_in(bound.server, SOCIAL) as browser:
        browser.headers.update({**FROM_HERE, "If-Match": '"1"', "Content-Type": "application/json"})
        for method, path in tried:
            other, none = str(uuid4()), uuid4()
            answers = []
            for case in (bound.case, none):
                own = path.replace("{case_id}", str(case))
                answer = browser.request(
                    method,
                    re.sub(r"\{\w+(:path)?\}", other, own),
                    content=b"{}",
                    headers={"Accept": "application/problem+json"},
                )
                told = page_text(answer).replace(str(case), "")
                answers.append((answer.status_code, told))
            if answers[0][0] < 400 or answers[0] != answers[1]:
                different.append((method, path, *answers))
    for one in different:
        print(one[0], one[1], *(f"{a[0]} {a[1][:230]!r}" for a in one[2:]), sep="\n   ")
    assert different == []


def test_no_list_has_it(bound: Target) -> None:
    opened = str(bound.case)
    with signed_in(bound.server, SOCIAL) as browser:
        for path in (
            "/v1/cases", "/v1/cases?limit=200", "/v1/events?limit=500", "/cases", "/cases?show=all",
            "/cases?order=newest", "/cases/list.csv", "/v1/outbox", "/today", "/today?show=mine",
            "/today?show=arrived", "/today/calendar", "/v1/duties", "/v1/arrivals",
            "/v1/calendar.ics",
        ):  # fmt: skip
            answer = browser.get(path)
            assert answer.status_code == 200, path
            assert opened not in answer.text, path
        reference = bound.ask(f"/v1/cases/{opened}").json()["view"]
        assert reference
    with bound.server.client(SOCIAL) as social, bound.server.client(COORDINATOR) as coordinator:
        assert [one.case_id for one in social.cases()] == []
        assert bound.case in {one.case_id for one in coordinator.cases()}


def test_opening_a_case_tells_that_an_id_is_taken_and_nothing_else(bound: Target) -> None:
    """It cannot be hidden: see the threat model. An unseen case answers as a case of one's own."""
    own = uuid4()
    with bound.server.client(SOCIAL) as social:
        social.open_case(opening(), own)
    told = [
        bound.append(bound.sign(SOCIAL, opening(), case), case=case, agency=SOCIAL)
        for case in (bound.case, bound.foreign, own)
    ]
    for answer in told:
        bound.refuses(answer, 409, "already-opened")
    assert len({answer.text for answer in told}) == 1


def test_the_time_of_an_answer_does_not_tell_that_an_unseen_case_exists(
    bound: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A case that was not read yet takes longer the more actions it has; so none is read."""
    until(lambda: bound.server.node.views.position("case_views") >= bound.server.node.ledger.head())
    read: list[object] = []
    monkeypatch.setattr(bound.server.node.ledger, "case", lambda *asked, **_: read.append(asked))
    for path in ("/v1/cases/{}", "/v1/cases/{}/readings", "/v1/cases/{}/documents"):
        for case in (bound.case, uuid4()):
            bound.refuses(bound.ask(path.format(case), SOCIAL), 404, "unknown-case")
    assert read == []


def test_an_action_on_it_is_refused_as_on_none(bound: Target) -> None:
    action = AgencyAdmitted(acted_at=START, agency=SOCIAL)
    told = [
        bound.append(bound.sign(SOCIAL, action, c), case=c, agency=SOCIAL, version=v)
        for c in (bound.case, uuid4())
        for v in (1, 7)
    ]
    for answer in told:
        bound.refuses(answer, 404, "unknown-case")
    assert len({answer.text for answer in told}) == 1


def test_an_admission_opens_the_case_and_its_end_closes_it(bound: Target) -> None:
    case = uuid4()
    with (
        bound.server.client(KOSOVO) as police,
        bound.server.client(SOCIAL) as social,
        bound.server.client(COORDINATOR) as coordinator,
    ):
        police.open_case(opening(("XK", "ME")), case)
        admitted = police.append(AgencyAdmitted(acted_at=START, agency=SOCIAL), case, 1)
        read = social.case(case, at_least=admitted.position)
        assert read.view.case_id == case
        assert case in {one.case_id for one in social.cases()}
        with httpx.stream(
            "GET",
            f"{bound.server.url}/v1/events",
            headers={**bound.bearer(SOCIAL), "Accept": "text/event-stream"},
            timeout=30,
        ) as stream:
            events = _events(stream.iter_lines())
            while next(events)["position"] < admitted.position:
                pass
            own = police.open_case(opening(), uuid4())
            ended = AgencyAdmissionEnded(acted_at=START, agency=SOCIAL)
            closed = coordinator.append(ended, case, 2)
            with bound.server.client(SOCIAL) as again:
                mine = again.open_case(opening(), uuid4())
            seen = []
            for event in events:
                seen.append(event["position"])
                if event["position"] >= mine.position:
                    break
        assert own.position not in seen
        assert mine.position in seen
        assert closed.position not in seen
    bound.refuses(bound.ask(f"/v1/cases/{case}?at_least={closed.position}", SOCIAL), 404,
                  "unknown-case")  # fmt: skip
    assert str(case) not in bound.ask("/v1/cases?limit=200", SOCIAL).text


def test_a_link_names_no_case_that_is_not_seen(bound: Target) -> None:
    here, there = uuid4(), uuid4()
    with bound.server.client(KOSOVO) as police, bound.server.client(SOCIAL) as social:
        police.open_case(opening(), there)
        police.open_case(opening(), here)
        link = CasesLinked(
            acted_at=START, linked_case=there, relation=CaseRelation.SIBLING, told=("XK",)
        )
        police.append(link, here, 1)
        admitted = police.append(AgencyAdmitted(acted_at=START, agency=SOCIAL), here, 2)
        assert str(there) in police.case(here, at_least=admitted.position).model_dump_json()
        assert str(there) not in social.case(here).model_dump_json()
    for path in (
        f"/v1/cases/{here}?as_of_position={admitted.position}",
        f"/v1/cases/{here}/trail", f"/v1/cases/{here}/documents", "/v1/events?after=0",
    ):  # fmt: skip
        answer = bound.ask(path, SOCIAL)
        assert answer.status_code == 200, path
        assert str(there) not in answer.text, path
    with signed_in(bound.server, SOCIAL) as browser:
        for page in ("", "/trail", "/replay", "/readings"):
            assert str(there) not in browser.get(f"/cases/{here}{page}").text


def _events(lines: Iterator[str]) -> Iterator[dict[str, int]]:
    for line in lines:
        if line.startswith("data:"):
            yield json.loads(line[5:])


def test_coordinators_and_oversight_are_not_bound(bound: Target) -> None:
    for agency in (COORDINATOR, "xk-ombudsperson"):
        assert bound.ask(f"/v1/cases/{bound.case}", agency).status_code == 200
