"""The search box: a reference, a day, or a person of the own country's vault."""

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from typer.testing import CliRunner

from api.cli import app, output
from api.client import RefusedError
from api.services import person_search
from api.services.search_text import (
    SoughtCase,
    SoughtDay,
    SoughtPerson,
    SoughtReference,
    read_sought,
)
from ledger.procedure.protocol import Operation
from ledger.procedure.readings import Reading
from ledger.signing.keys import write_private
from ledger.vault.access_log import NO_CASE
from ledger.vocabulary.case_reference import case_reference
from ledger.vocabulary.coordination import Correction
from ledger.vocabulary.person import IdentityRecorded
from ledger.vocabulary.picklists import (
    Certainty,
    CorrectionEffect,
    CorrectionReason,
    Purpose,
    StatementGround,
    StatementSource,
)
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, serving
from tests.support.web import FROM_HERE, signed_in

CASE = UUID("6f0c1f4e-8d50-4b65-9d3c-1a2b3c4d5e6f")
REFERENCE = case_reference(CASE)


@pytest.mark.parametrize(
    "typed",
    [
        REFERENCE,
        REFERENCE.lower(),
        REFERENCE.replace("-", " "),
        f"  {REFERENCE.replace('-', '').lower()} ",
        REFERENCE.replace("-", "\u2013"),
    ],
)
def test_a_reference_is_read_however_it_is_written(typed: str) -> None:
    sought = read_sought(typed)
    assert isinstance(sought, SoughtReference)
    assert sought.reference == REFERENCE


def test_a_wrong_check_character_is_told() -> None:
    wrong = REFERENCE[:-1] + ("3" if REFERENCE[-1] != "3" else "4")
    assert read_sought(wrong) == SoughtPerson(wrong, is_wrong_reference=True)


@pytest.mark.parametrize(
    ("typed", "day"),
    [
        ("3.12.2026", date(2026, 12, 3)),
        ("03. 12. 2026.", date(2026, 12, 3)),
        ("3/12/2026", date(2026, 12, 3)),
        ("2026-12-03", date(2026, 12, 3)),
    ],
)
def test_a_day_is_read_in_the_forms_of_the_languages(typed: str, day: date) -> None:
    assert read_sought(typed) == SoughtDay(day)


@pytest.mark.parametrize("typed", ["Arta Krasniqi", "Ана", "31.2.2026", "044 123 456", "Alexandra"])
def test_all_else_is_a_person(typed: str) -> None:
    assert read_sought(typed) == SoughtPerson(typed)


def test_a_reference_of_letters_alone_may_be_a_name_unless_it_has_hyphens() -> None:
    assert read_sought("MDL-BAH-XPC") == SoughtReference("MDL-BAH-XPC", may_be_name=False)
    assert read_sought("mdl bah xpc") == SoughtReference("MDL-BAH-XPC", may_be_name=True)
    assert read_sought("mdl bah xpd") == SoughtPerson("mdl bah xpd")
    assert read_sought("MDL-BAH-XPD") == SoughtPerson("MDL-BAH-XPD", is_wrong_reference=True)


def test_an_id_is_a_case_and_nothing_is_nothing() -> None:
    assert read_sought(str(CASE)) == read_sought(CASE.hex.upper()) == SoughtCase(CASE)
    assert read_sought(" \u00a0 ") is None


@pytest.fixture(scope="module")
def node(server: str, begun: str, agencies: Agencies) -> Iterator[Server]:
    with new_database(server, begun) as conninfo, serving(conninfo, agencies) as served:
        yield served


NAMES = {"first_name": "Arjeta", "second_name": "Krasniqi", "phone": "+38344123456"}
OPENED = datetime(2026, 3, 14, 23, 30, tzinfo=UTC)
"""In Kosovo it is the 15th of March."""


@pytest.fixture(scope="module")
def cases(node: Server) -> dict[str, UUID]:
    """Her case, one that was put right, one that was annulled, and one of another country."""
    with node.client("xk-dhtqnj") as police, node.client("al-police-thb") as other:
        hers = police.open_case(opening(acted_at=OPENED, **NAMES)).case_id
        again = police.open_case(opening(first_name="Mirlinda", second_name="Gashi"))
        restated = IdentityRecorded(
            acted_at=datetime.now(UTC), ground=StatementGround.LEARNED,
            second_name="Berisha", source=StatementSource.OWN_STATEMENT,
            certainty=Certainty.CONFIRMED,
        )  # fmt: skip
        police.append(restated, again.case_id, 1)
        wrong = police.open_case(opening(first_name="Shqipe", second_name="Morina"))
        stated = police.append(
            restated.model_copy(update={"second_name": "Zogaj"}), wrong.case_id, 1
        )
        annulment = Correction(
            acted_at=datetime.now(UTC), corrects=stated.action_id,
            effect=CorrectionEffect.ANNULLED, reason=CorrectionReason.ENTRY_ERROR,
        )  # fmt: skip
        last = police.append(annulment, wrong.case_id, 2)
        theirs = other.open_case(opening(("AL",), **NAMES))
        police.case(wrong.case_id, at_least=max(last.position, theirs.position))
    return {"hers": hers, "again": again.case_id, "wrong": wrong.case_id, "al": theirs.case_id}


def find(node: Server, agency: str, typed: str, purpose: str = "") -> httpx.Response:
    with signed_in(node, agency) as browser:
        sent = {"q": typed, "purpose": purpose}
        return browser.post("/find", data=sent, headers=FROM_HERE)


def listed(answer: httpx.Response) -> list[UUID]:
    assert answer.status_code == 200, answer.text
    return [UUID(one) for one in re.findall(r'href="/cases/([0-9a-f-]{36})"', answer.text)]


def searched(node: Server, agency: str, typed: str) -> list[UUID]:
    return listed(find(node, agency, typed, "identification"))


def entries(node: Server, case_id: UUID) -> list[Reading]:
    return list(node.node.vaults.of("XK").readings.of_case(case_id))


def test_a_reference_and_an_id_lead_to_the_case(node: Server, cases: dict[str, UUID]) -> None:
    for typed in (case_reference(cases["hers"]).lower().replace("-", " "), str(cases["hers"])):
        answer = find(node, "xk-dhtqnj", typed)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/cases/{cases['hers']}")
    for typed in (case_reference(cases["al"]), str(cases["al"]), case_reference(uuid4())):
        answer = find(node, "xk-dhtqnj", typed)
        assert not listed(answer)
        assert "no case with this reference" in answer.text


def test_a_day_lists_the_cases_opened_on_it_by_local_time(
    node: Server, cases: dict[str, UUID]
) -> None:
    assert listed(find(node, "xk-dhtqnj", "15.3.2026")) == [cases["hers"]]
    assert listed(find(node, "xk-dhtqnj", "14.3.2026")) == []


def test_a_person_is_sought_with_a_purpose_alone(node: Server, cases: dict[str, UUID]) -> None:
    before = len(entries(node, NO_CASE))
    answer = find(node, "xk-dhtqnj", "arijeta krasnici")
    assert not listed(answer)
    assert 'name="purpose"' in answer.text
    assert len(entries(node, NO_CASE)) == before
    assert searched(node, "xk-dhtqnj", "arijeta krasnici") == [cases["hers"]]
    written = entries(node, NO_CASE)[before:]
    assert [(one.asked.operation, one.granted) for one in written] == [(Operation.SEARCH, True)]


@pytest.mark.parametrize("typed", ["Красници Арјета", "ARJETA", "044 123 456"])
def test_she_is_found(node: Server, cases: dict[str, UUID], typed: str) -> None:
    assert searched(node, "xk-dhtqnj", typed) == [cases["hers"]]


def test_the_name_is_for_those_who_may_read_it_and_the_hit_is_in_her_access_log(
    node: Server, cases: dict[str, UUID]
) -> None:
    hers = cases["hers"]
    by_police = find(node, "xk-dhtqnj", "arjeta", "identification")
    assert "<b>Arjeta Krasniqi</b>" in by_police.text
    assert entries(node, hers)[-1].asked.operation is Operation.READ
    by_shelter = find(node, "xk-pvpt", "arjeta", "protection")
    assert listed(by_shelter) == [hers]
    assert "Krasniqi" not in by_shelter.text, "no basis allows the shelter to read the identity"
    last = entries(node, hers)[-1]
    assert (last.asked.operation, last.asked.role) == (Operation.SEARCH, "shelter")
    assert searched(node, "xk-pvpt", "044123456") == [hers], "it reads contacts"


def test_a_role_that_reads_no_identity_finds_nobody_and_the_attempt_is_written_down(
    node: Server, cases: dict[str, UUID]
) -> None:
    agency = "xk-labour-inspectorate"
    assert cases["hers"] in searched(node, "xk-dhtqnj", "arjeta")
    answer = find(node, agency, "arjeta", "protection")
    assert not listed(answer)
    assert "was written down" in answer.text
    assert entries(node, NO_CASE)[-1].refused_by == "access-matrix"
    assert 'name="purpose"' not in find(node, agency, "arjeta").text


def test_statements_that_count_no_more(node: Server, cases: dict[str, UUID]) -> None:
    assert searched(node, "xk-dhtqnj", "Mirlinda Berisha") == [cases["again"]]
    earlier = find(node, "xk-dhtqnj", "Mirlinda Gashi", "identification")
    assert listed(earlier) == [cases["again"]]
    assert "by an earlier statement" in earlier.text
    assert "Mirlinda Berisha" in earlier.text
    assert searched(node, "xk-dhtqnj", "Zogaj") == [], "it was annulled"
    assert searched(node, "xk-dhtqnj", "Morina") == [cases["wrong"]]


def test_another_countrys_vault_is_not_searched(node: Server, cases: dict[str, UUID]) -> None:
    assert searched(node, "al-police-thb", "arjeta krasniqi") == [cases["al"]]


def test_searches_of_a_day_are_counted(node: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    made = node.node.vaults.of("XK").readings.searches_within_a_day
    monkeypatch.setattr(person_search, "SEARCHES_A_DAY", 1)
    with signed_in(node, "xk-dhtqnj") as browser:
        sent = {"q": "arjeta", "purpose": "identification"}
        answers = [browser.post("/find", data=sent, headers=FROM_HERE) for _ in range(2)]
    assert answers[-1].status_code == 429
    assert "too-many-searches" in answers[-1].text
    assert made("xk-dhtqnj", None, None) == 0


def test_what_an_import_brought_is_indexed_with_an_entry_of_the_access_log(
    node: Server, cases: dict[str, UUID]
) -> None:
    vault, indexer = node.node.vaults.of("XK"), node.worker("search_index")
    assert not vault.search.due(10)
    key = vault.search_key()
    assert key is not None
    with vault._database.transaction(role="case_ledger_vault_xk") as connection:
        connection.execute("DELETE FROM vault_xk.search_index")
        connection.execute(
            "INSERT INTO vault_xk.search_due (case_id) VALUES (%s)", (cases["hers"],)
        )
    indexer.wait_for_step()
    assert entries(node, cases["hers"])[-1].asked.operation is Operation.INDEX
    assert searched(node, "xk-dhtqnj", "arjeta") == [cases["hers"]]


def set_number(node: Server, agency: str, case_id: UUID, number: str) -> httpx.Response:
    with signed_in(node, agency) as browser:
        sent = {"number": number}
        return browser.post(f"/cases/{case_id}/file-number", data=sent, headers=FROM_HERE)


def page_of(node: Server, agency: str, path: str) -> str:
    with signed_in(node, agency) as browser:
        answer = browser.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_a_file_number_is_shown_found_changed_and_removed(
    node: Server, cases: dict[str, UUID]
) -> None:
    police, hers = "xk-dhtqnj", cases["hers"]
    answer = set_number(node, police, hers, " PHN-12 / 2026 ")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/cases/{hers}")
    for typed in ("phn 12-2026", "PHN-12 / 2026"):
        found = find(node, police, typed)
        assert (found.status_code, found.headers["location"]) == (303, f"/cases/{hers}")
    shown = (f"/cases/{hers}", "/cases?show=all", "/cases/list.csv?show=all")
    assert all("PHN-12 / 2026" in page_of(node, police, path) for path in shown)
    colleagues = page_of(node, "xk-pvpt", f"/cases/{hers}")
    assert "PHN-12 / 2026" in colleagues
    assert find(node, "xk-pvpt", "PHN-12/2026").status_code == 303
    set_number(node, police, hers, "PHN-13/2026")
    assert find(node, police, "PHN-12/2026").status_code == 200
    set_number(node, police, hers, "")
    assert "PHN-13" not in page_of(node, police, f"/cases/{hers}")


def test_a_number_that_is_taken_is_refused_with_the_case_and_the_typed_text(
    node: Server, cases: dict[str, UUID]
) -> None:
    police = "xk-dhtqnj"
    set_number(node, police, cases["hers"], "77/26")
    answer = set_number(node, police, cases["again"], "77-26")
    assert 'value="77-26"' in answer.text
    assert case_reference(cases["hers"]) in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert set_number(node, "xk-pvpt", cases["again"], "77/26").status_code == 303
    assert listed(find(node, police, "77/26")) == [cases["hers"], cases["again"]]


def test_no_other_country_and_no_oversight_sees_a_file_number(
    node: Server, cases: dict[str, UUID]
) -> None:
    set_number(node, "xk-dhtqnj", cases["hers"], "HID-55/26")
    assert set_number(node, "al-police-thb", cases["hers"], "1/26").status_code == 404
    assert set_number(node, "xk-ombudsperson", cases["hers"], "1/26").status_code == 403
    assert "HID-55" not in page_of(node, "xk-ombudsperson", f"/cases/{cases['hers']}")
    assert "HID-55" not in page_of(node, "xk-ombudsperson", "/cases?show=all")
    for agency in ("xk-ombudsperson", "al-police-thb"):
        assert not listed(find(node, agency, "HID-55/26"))


def test_a_number_written_as_a_day_is_found_beside_the_cases_of_the_day(
    node: Server, cases: dict[str, UUID]
) -> None:
    set_number(node, "xk-dhtqnj", cases["again"], "15/3/2026")
    assert listed(find(node, "xk-dhtqnj", "15.3.2026")) == [cases["again"], cases["hers"]]
    set_number(node, "xk-dhtqnj", cases["again"], "")


def with_names(node: Server, agency: str, purpose: str) -> httpx.Response:
    with signed_in(node, agency) as browser:
        sent = {"purpose": purpose}
        return browser.post("/cases?show=all", data=sent, headers=FROM_HERE)


def test_the_list_shows_names_on_request_alone_each_written_down(
    node: Server, cases: dict[str, UUID]
) -> None:
    plain = page_of(node, "xk-dhtqnj", "/cases?show=all")
    assert "Krasniqi" not in plain
    before = len(entries(node, NO_CASE))
    named = with_names(node, "xk-dhtqnj", "protection")
    assert "<b>Arjeta Krasniqi</b>" in named.text
    last = entries(node, cases["hers"])[-1]
    assert (last.asked.operation, last.asked.purpose) == (Operation.READ, "protection")
    assert [one.asked.operation for one in entries(node, NO_CASE)[before:]] == [Operation.SEARCH]
    assert with_names(node, "xk-dhtqnj", "").status_code == 422


def test_names_that_nothing_allows_are_refused_and_written_down(
    node: Server, cases: dict[str, UUID]
) -> None:
    by_shelter = with_names(node, "xk-pvpt", "protection")
    assert by_shelter.status_code == 200
    assert "Krasniqi" not in by_shelter.text
    assert entries(node, cases["hers"])[-1].refused_by == "no-legal-basis"
    by_inspectors = with_names(node, "xk-labour-inspectorate", "protection")
    assert "was written down" in by_inspectors.text
    assert entries(node, NO_CASE)[-1].refused_by == "access-matrix"
    assert 'id="names-purpose"' not in page_of(node, "xk-labour-inspectorate", "/cases?show=all")


def test_the_list_says_who_opened_a_case_and_who_leads(
    node: Server, cases: dict[str, UUID]
) -> None:
    text = page_of(node, "xk-dhtqnj", "/cases/list.csv?show=all").lstrip("\ufeff")
    rows = {row["Case"]: row for row in csv.DictReader(io.StringIO(text))}
    hers = rows[case_reference(cases["hers"])]
    assert hers["Opened"] == "2026-03-15"
    assert hers["Opened by"] == hers["Led by"] != ""


def saved(node: Server, agency: str) -> list[str]:
    text = page_of(node, agency, "/cases")
    return re.findall(r'<li><a href="/cases\?([^"]*)"', text)


@pytest.mark.usefixtures("cases")
def test_a_filter_is_saved_for_the_agency_and_removed(node: Server) -> None:
    sent = {"name": "Closed <b>ones</b>", "show": "all", "status": "Closed", "order": "newest"}
    with signed_in(node, "xk-dhtqnj") as browser:
        answer = browser.post("/cases/filters", data=sent, headers=FROM_HERE)
        assert answer.headers["location"] == "/cases?show=all&order=newest&status=Closed"
        wrong = browser.post("/cases/filters", data=sent | {"status": "?"}, headers=FROM_HERE)
        assert wrong.status_code == 422
    with signed_in(node, "xk-dhtqnj") as elsewhere:
        text = elsewhere.get("/cases").text
        assert "Closed &lt;b&gt;ones&lt;/b&gt;" in text
        assert "show=all&amp;order=newest&amp;status=Closed" in text
        (path,) = re.findall(r'action="(/cases/filters/[0-9a-f-]+/remove)"', text)
    assert saved(node, "xk-pvpt") == []
    with signed_in(node, "xk-pvpt") as other:
        other.post(path, headers=FROM_HERE)
    assert len(saved(node, "xk-dhtqnj")) == 1
    with signed_in(node, "xk-dhtqnj") as browser:
        browser.post(path, headers=FROM_HERE)
    assert saved(node, "xk-dhtqnj") == []


def test_the_api_searches_and_keeps_file_numbers_as_the_pages_do(
    node: Server, cases: dict[str, UUID]
) -> None:
    hers = cases["hers"]
    with node.client("xk-dhtqnj") as police:
        given = police.set_file_number(hers, "API-9/26")
        assert (given.agency, given.number) == ("xk-dhtqnj", "API-9/26")
        assert [one.number for one in police.file_numbers([hers, cases["al"]])] == ["API-9/26"]
        (found,) = police.search("api 9/26").cases
        assert (found.case_id, found.by_number, found.person) == (hers, True, None)
        assert (found.reference, found.opened_by) == (case_reference(hers), "xk-dhtqnj")
        assert [one.case_id for one in police.search(case_reference(hers)).cases] == [hers]
        before = len(entries(node, NO_CASE))
        assert police.search("arjeta").needs_purpose
        assert len(entries(node, NO_CASE)) == before
        (found,) = police.search("arjta krasnici", Purpose.IDENTIFICATION).cases
        assert found.person is not None
        assert (found.person.is_exact, found.person.name) == (False, "Arjeta Krasniqi")
        assert len(entries(node, NO_CASE)) == before + 1
        with pytest.raises(RefusedError) as refused:
            police.set_file_number(cases["again"], "api-9-26")
        assert refused.value.problem.rule == "file-number-taken"
        police.remove_file_number(hers)
        assert police.file_numbers([hers]) == []
    with node.client("al-police-thb") as other:
        assert other.file_numbers([hers]) == []
        with pytest.raises(RefusedError) as refused:
            other.set_file_number(hers, "1/26")
        assert refused.value.problem.rule == "unknown-case"
    with node.client("xk-labour-inspectorate") as inspectors, pytest.raises(RefusedError) as denied:
        inspectors.search("arjeta", Purpose.PROTECTION)
    assert denied.value.problem.rule == "access-matrix"


def test_the_commands_find_and_number_a_case(
    node: Server, cases: dict[str, UUID], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = tmp_path / "key.json"
    write_private(key, json.dumps(node.agencies.keys["xk-dhtqnj"].as_dict(private=True)).encode())
    asking = ["--url", node.url, "-a", "xk-dhtqnj", "-k", str(key)]
    name = case_reference(cases["hers"])

    def run(*command: str, typed: str | None = None) -> str:
        done = CliRunner().invoke(app, [*command, *asking], input=typed)
        assert done.exit_code == 0, done.output
        return done.output

    assert "CLI-4/26" in run("file-number", name, "CLI-4/26")
    assert name in run("find", "cli 4/26")
    found = run("find", "--purpose", "identification", "--json", typed="arjeta\n")
    assert "Arjeta Krasniqi" in found
    assert CliRunner().invoke(app, ["find", "arjeta", *asking]).exit_code == 1
    monkeypatch.setattr(output.out, "_width", 200)  # which the first test with a width fixes
    assert "CLI-4/26" in run("case")
    assert "No agency" in run("file-number", name, "--remove")
