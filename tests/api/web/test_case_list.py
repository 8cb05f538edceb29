"""The list of cases: filters, order, and files for a spreadsheet."""

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from uuid import UUID

import httpx
import pytest

from api.web.case_filters import ListChoice
from api.web.case_table import CaseTable, as_csv, as_xlsx
from ledger.vocabulary.case_reference import case_reference
from ledger.vocabulary.picklists import AgeGroup
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, serving
from tests.support.web import signed_in

FORMULA = '=HYPERLINK("http://x")'
TABLE = [("Što", "Kada"), (FORMULA, date(2026, 3, 14)), ('a;b,"c"', "")]


@pytest.mark.parametrize(
    ("locale", "separator"), [("en_GB", ","), ("sq", ";"), ("sr_Latn_ME", ";")]
)
def test_a_csv_opens_in_the_locales_spreadsheet_and_has_no_formula(
    locale: str, separator: str
) -> None:
    text = "".join(as_csv(CaseTable(TABLE[0], TABLE[1:]), locale))
    assert text.startswith("\ufeff")
    rows = list(csv.reader(io.StringIO(text[1:], newline=""), delimiter=separator))
    assert rows == [["Što", "Kada"], [f"'{FORMULA}", "2026-03-14"], ['a;b,"c"', ""]]


def test_a_workbook_has_texts_and_days_and_no_formula() -> None:
    with zipfile.ZipFile(io.BytesIO(as_xlsx(CaseTable(TABLE[0], TABLE[1:])))) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "HYPERLINK" in sheet
    assert "46095" in sheet, "the day's number in a spreadsheet"


def test_a_choice_that_means_nothing_is_named() -> None:
    assert ListChoice(status="Active", order="newest", opened_from="2026-12-03").wrong == ()
    wrong = ListChoice(status="x", order="y", opened_from="2026-02-31", opened_to="-12-3")
    assert set(wrong.wrong) == {"status", "order", "opened_from", "opened_to"}


@pytest.fixture(scope="module")
def node(server: str, begun: str, agencies: Agencies) -> Iterator[Server]:
    with new_database(server, begun) as conninfo, serving(conninfo, agencies) as served:
        yield served


@pytest.fixture(scope="module")
def cases(node: Server) -> list[UUID]:
    """A child's case of Kosovo, one with Montenegro, and an adult's that was opened at midnight."""
    with node.client("xk-dhtqnj") as police:
        child = police.open_case(opening(("XK",)))
        both = police.open_case(opening(("XK", "ME")))
        late = datetime(2026, 3, 14, 23, 30, tzinfo=UTC)
        adult = police.open_case(
            opening(("XK",), acted_at=late).model_copy(update={"age_group": AgeGroup.ADULT})
        )
        police.case(adult.case_id, at_least=adult.position)
    return [child.case_id, both.case_id, adult.case_id]


def ask(node: Server, path: str, language: str = "en") -> httpx.Response:
    with signed_in(node, "xk-dhtqnj") as browser:
        return browser.get(path, headers={"Accept-Language": language})


def listed(answer: httpx.Response) -> list[UUID]:
    assert answer.status_code == 200, answer.text
    return [UUID(one) for one in re.findall(r'href="/cases/([0-9a-f-]{36})"', answer.text)]


def test_filters_and_order(node: Server, cases: list[UUID]) -> None:
    child, both, adult = cases

    def found(query: str) -> list[UUID]:
        return listed(ask(node, f"/cases?show=all&{query}"))

    assert found("order=newest") == [adult, both, child]
    assert found("order=oldest") == [child, both, adult]
    assert found("country=ME") == [both]
    assert found("age_group=adult&status=&stage=") == [adult]
    assert found("opened_from=15.3.2026&opened_to=15.3.2026") == [adult], "by local time"
    assert found("opened_to=14.3.2026&order=oldest") == [child, both]
    fields = "opened_from_day=15&opened_from_month=3&opened_from_year=2026"
    assert found(f"{fields}&opened_to_day=&opened_to_month=&opened_to_year=") == [adult]
    assert found("agency=me-nac") == []


def test_a_wrong_filter_lists_nothing_and_says_so(node: Server, cases: list[UUID]) -> None:
    answer = ask(node, "/cases?show=all&opened_from=31.2.2026&order=newest")
    assert listed(answer) == []
    assert cases
    assert "Opened from" in answer.text
    assert 'aria-invalid="true"' in answer.text


def test_a_half_typed_date_is_an_error_and_stays_in_its_fields(
    node: Server, cases: list[UUID]
) -> None:
    answer = ask(node, "/cases?show=all&opened_to_day=5&opened_to_month=12&opened_to_year=")
    assert listed(answer) == []
    assert cases
    assert "a part of the date is missing" in answer.text
    for name, typed in (("day", "5"), ("month", "12")):
        assert re.search(rf'name="opened_to_{name}" value="{typed}"', answer.text), name


def test_the_list_is_saved_as_it_is_shown(node: Server, cases: list[UUID]) -> None:
    answer = ask(node, "/cases/list.csv?show=all&order=newest&country=XK", "sq")
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["cache-control"] == "no-store"
    rows = list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff")), delimiter=";"))
    assert [row[0] for row in rows[1:]] == [case_reference(one) for one in reversed(cases)]
    assert rows[1][10] == "2026-03-15"
    book = ask(node, "/cases/list.xlsx?show=all")
    with zipfile.ZipFile(io.BytesIO(book.content)) as files:
        assert case_reference(cases[0]) in files.read("xl/worksheets/sheet1.xml").decode()


def test_the_files_go_on_behind_a_page_of_the_database(
    node: Server, cases: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.web.routes import case_list

    monkeypatch.setattr(case_list, "_STEP", 2)
    for order in ("", "newest", "oldest", "latest"):
        text = ask(node, f"/cases/list.csv?show=all&order={order}").text
        assert len(text.splitlines()) == 1 + len(cases)
