"""The audit of a country's access log: across cases, by filters, each look written down."""

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from api.client import RefusedError
from api.client.schemas import AuditRequest
from ledger.procedure.protocol import Operation
from ledger.vault.access_log import NO_CASE
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Purpose
from tests.attacks.test_api5_functions import HELPERS
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, serving
from tests.support.story import Told, ToldStory
from tests.support.web import FROM_HERE, signed_in

AUDITORS = ("xk-nac", "xk-ombudsperson")
OTHERS = ("xk-dhtqnj", "xk-court-prishtina", *HELPERS)


@pytest.fixture(scope="module")
def conninfo(server: str, told_story: ToldStory) -> Iterator[str]:
    with new_database(server, told_story.database) as made:
        yield made


@pytest.fixture(scope="module")
def node(conninfo: str, agencies: Agencies, told_story: ToldStory) -> Iterator[Server]:
    with serving(conninfo, agencies, told_story.keys) as served:
        yield served


@pytest.fixture(scope="module")
def written(conninfo: str, node: Server) -> Callable[[], int]:  # noqa: ARG001
    """Return how many entries the access log of Kosovo has."""

    def count() -> int:
        with psycopg.connect(conninfo) as connection:
            row = connection.execute("SELECT count(*) FROM vault_xk.readings").fetchone()
        assert row is not None
        return int(row[0])

    return count


@pytest.fixture(scope="module")
def story(node: Server, told_story: ToldStory) -> Told:
    told = told_story.told
    with node.client("xk-dhtqnj") as police:
        for case_id in told.cases.values():
            police.read(case_id, [FieldGroup.IDENTITY], Purpose.IDENTIFICATION)
    with node.client("xk-ngo-support") as helper, pytest.raises(RefusedError):
        helper.read(told.cases["A"], list(FieldGroup), Purpose.PROTECTION)
    return told


def look(node: Server, auditor: str, /, **asked: Any) -> Any:
    with node.client(auditor) as client:
        return client.audit(AuditRequest(**asked))


def post(node: Server, agency: str, path: str, form: str = "") -> Any:
    with signed_in(node, agency) as browser:
        return browser.post(path, content=form, headers=FROM_HERE)


@pytest.mark.parametrize("agency", AUDITORS)
def test_every_look_is_an_entry_and_shows_what_was_before(
    node: Server, story: Told, agency: str
) -> None:
    first = look(node, agency)
    assert (first.look.asked.operation, first.look.asked.case_id) == (Operation.AUDIT, NO_CASE)
    assert {one.asked.case_id for one in first.readings} >= set(story.cases.values())
    assert all(one.seq < first.look.seq for one in first.readings)
    second = look(node, agency, limit=1)
    assert [one.seq for one in second.readings] == [first.look.seq]


FILTERS: dict[str, tuple[dict[str, Any], Callable[[Any], bool]]] = {
    "agency": ({"agency": "xk-dhtqnj"}, lambda one: one.asked.agency == "xk-dhtqnj"),
    "operation": (
        {"operation": Operation.READ},
        lambda one: one.asked.operation is Operation.READ,
    ),
    "purpose": (
        {"purpose": Purpose.IDENTIFICATION},
        lambda one: one.asked.purpose is Purpose.IDENTIFICATION,
    ),
    "granted": ({"granted": False}, lambda one: not one.granted),
}


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_leaves_what_a_simple_choice_leaves(
    node: Server,
    name: str,
) -> None:
    asked, holds = FILTERS[name]
    every = look(node, "xk-nac", limit=200)
    assert every.next is None
    chosen = look(node, "xk-nac", limit=200, **asked)
    before = [one for one in chosen.readings if one.seq < every.look.seq]
    assert before == [one for one in every.readings if holds(one)]
    assert 0 < len(before) < len(every.readings)


@pytest.mark.usefixtures("story")
def test_pages_follow_each_other_without_gap_or_repetition(
    node: Server,
) -> None:
    every = look(node, "xk-nac", limit=200)
    pages, before = [], every.look.seq
    while before is not None:
        found = look(node, "xk-nac", limit=2, before=before)
        pages += found.readings
        before = found.next
    assert pages == list(every.readings)


def test_entries_of_one_case_alone(node: Server, story: Told) -> None:
    case_id = story.cases["A"]
    found = look(node, "xk-nac", case_id=case_id)
    assert {one.asked.case_id for one in found.readings} == {case_id}
    assert found.look.asked.case_id == case_id  # the person's own file has the look


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize("agency", OTHERS)
def test_others_are_refused_and_no_entry_is_written(
    node: Server,
    agency: str,
    written: Callable[[], int],
) -> None:
    before = written()
    for path in ("/audit", "/audit/log.csv", "/audit/log.xlsx"):
        assert post(node, agency, path).status_code == 403
    with signed_in(node, agency) as browser:
        assert browser.get("/audit").status_code == 403
        assert browser.get("/v1/audit").status_code == 403
        assert browser.get("/v1/retention/erased").status_code == 403
        assert 'href="/audit"' not in browser.get("/cases").text
    assert written() == before


def test_another_country_audits_its_own_log_alone(node: Server, story: Told) -> None:
    found = look(node, "al-nac", limit=200, with_nodes=True)
    assert not {one.asked.case_id for one in found.readings} & set(story.cases.values())
    page = post(node, "al-nac", "/audit", "nodes=yes").text
    assert "xk-dhtqnj" not in page
    assert not any(str(case_id) in page for case_id in story.cases.values())
    with node.client("al-nac") as client, pytest.raises(Exception, match="no such case"):
        client.audit(AuditRequest(case_id=story.cases["A"]))


def test_the_page_opens_the_log_by_its_form_alone(
    node: Server, story: Told, written: Callable[[], int]
) -> None:
    before = written()
    with signed_in(node, "xk-ombudsperson") as browser:
        closed = browser.get("/audit").text
    assert written() == before
    assert str(story.cases["A"]) not in closed
    shown = post(node, "xk-ombudsperson", "/audit", "operation=read&purpose=identification").text
    assert f'href="/cases/{story.cases["A"]}"' in shown
    assert written() == before + 1
    wrong = post(node, "xk-ombudsperson", "/audit", "day_from=soon&purpose=fun").text
    assert 'role="alert"' in wrong
    assert written() == before + 1


@pytest.mark.usefixtures("story")
def test_a_page_of_another_site_opens_nothing(node: Server, written: Callable[[], int]) -> None:
    before = written()
    with signed_in(node, "xk-nac") as browser:
        for path in ("/audit", "/audit/log.csv", "/v1/audit/readings"):
            answer = browser.post(path, content="", headers={"Sec-Fetch-Site": "cross-site"})
            assert answer.status_code == 403, path
    assert written() == before


def test_a_download_has_the_chosen_entries_and_is_one_look(
    node: Server, story: Told, written: Callable[[], int]
) -> None:
    before = written()
    answer = post(node, "xk-nac", "/audit/log.csv", "operation=read&agency=xk-dhtqnj")
    rows = list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert {row[6] for row in rows[1:]} == {str(case_id) for case_id in story.cases.values()}
    assert {row[3] for row in rows[1:]} == {"xk-dhtqnj"}
    assert written() == before + 1
    workbook = post(node, "xk-nac", "/audit/log.xlsx", "operation=read").content
    assert workbook[:2] == b"PK"
    assert written() == before + 2


@pytest.mark.usefixtures("story")
def test_an_entry_that_somebody_changed_is_named_and_not_shown(conninfo: str, node: Server) -> None:
    found = look(node, "xk-nac", operation=Operation.READ)
    last = found.readings[0]
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("ALTER TABLE vault_xk.readings DISABLE TRIGGER USER")
        entry = connection.execute(
            "UPDATE vault_xk.readings SET entry = 'no JSON' WHERE seq = %s RETURNING entry",
            (last.seq,),
        ).fetchone()
        assert entry is not None
        try:
            after = look(node, "xk-nac", operation=Operation.READ)
            page = post(node, "xk-nac", "/audit", "operation=read").text
        finally:
            connection.execute(
                "UPDATE vault_xk.readings SET entry = %s WHERE seq = %s",
                (last.model_dump_json(exclude_none=True), last.seq),
            )
            connection.execute("ALTER TABLE vault_xk.readings ENABLE TRIGGER USER")
    assert after.changed == (last.seq,)
    assert last not in after.readings
    assert f"Their numbers: {last.seq}" in page


@pytest.mark.usefixtures("story")
def test_the_standing_says_what_the_ledger_has_not_fixed(
    node: Server, written: Callable[[], int]
) -> None:
    with node.client("xk-nac") as client:
        told = client.audit_standing()
    assert told.anchored == 0
    assert told.entries == written()
    assert told.unanchored_since is not None
    assert (told.anchor_is_late, told.views_differing) == (False, {})


@pytest.mark.usefixtures("story")
def test_oversight_lists_erasures_of_its_own_country(node: Server) -> None:
    with signed_in(node, "xk-ombudsperson") as browser:
        assert browser.get("/v1/retention/erased").json() == {"cases": [], "next": None}
        assert browser.get("/v1/retention").json()["cases"] == []
