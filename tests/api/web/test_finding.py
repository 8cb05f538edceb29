"""The search box: a reference, a day, or a person of the own country's vault."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import httpx
import pytest

from api.services import person_search
from api.web.finding import (
    SoughtCase,
    SoughtDay,
    SoughtPerson,
    SoughtReference,
    read_sought,
)
from ledger.procedure.protocol import Operation
from ledger.procedure.readings import Reading
from ledger.vault.access_log import NO_CASE
from ledger.vocabulary.case_reference import case_reference
from ledger.vocabulary.coordination import Correction
from ledger.vocabulary.person import IdentityRecorded
from ledger.vocabulary.picklists import (
    Certainty,
    CorrectionEffect,
    CorrectionReason,
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
