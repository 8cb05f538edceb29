"""The list of cases as a table for a spreadsheet: as CSV, and as XLSX."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from babel.numbers import get_decimal_symbol

from api.paper.subject_access.wording import Wording
from api.web.case_text import DueStep
from api.web.texts import PageTexts
from ledger.system.csv_cells import neutral
from ledger.vocabulary.case_reference import case_reference
from projections.folds.case_view import CaseView

MOST_ROWS = 10_000
"""Cases of one download."""
_WIDTH_CHARACTERS = 24
Cell = str | date


@dataclass(frozen=True, slots=True)
class ListedCase:
    """A case as a list shows it to an agency."""

    view: CaseView
    steps: Sequence[DueStep]
    number: str
    """The agency's own file number, or an empty text."""
    opened_by: str | None
    """The agency that opened the case; ``None`` until the trail has the opening."""


@dataclass(frozen=True, slots=True)
class CaseTable:
    """The columns' names, and a row for each case."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Cell]]
    mark: str | None = None
    """The words in a row of their own above the columns, in a practice ledger."""


def case_table(cases: Iterable[ListedCase], words: Wording, texts: PageTexts) -> CaseTable:
    """Return the table of cases, each with its next steps."""
    t = texts.text
    columns = (
        t("case"), t("file_number"), t("cases.table.id"), t("cases.filter.status"), t("stage"),
        t("cases.table.priority"), t("cases.filter.age_group"), t("cases.table.trafficking"),
        t("find.lead"), t("countries"), t("find.opened"), t("cases.table.opened_by"),
        t("cases.last"), t("cases.next"), t("cases.when"), t("cases.whose"),
    )  # fmt: skip
    return CaseTable(columns, (_row(one, words, texts) for one in cases), words.practice_mark)


def _row(one: ListedCase, words: Wording, texts: PageTexts) -> Sequence[Cell]:
    view, step = one.view, one.steps[0] if one.steps else None
    return (
        case_reference(view.case_id),
        one.number,
        str(view.case_id),
        words.picked(view.status),
        words.picked(view.stage),
        words.picked(view.priority),
        words.picked(view.age_group),
        words.picked(view.trafficking_status),
        words.agency_name(view.lead_agency),
        ", ".join(map(words.country, view.parties)),
        words.local_day(view.opened_at),
        words.agency_name(one.opened_by) if one.opened_by else "",
        words.local_day(view.last_recorded_at),
        words.owed(step.step.action) if step else "",
        words.local_due_day(step.step.due, step.step.party) if step and step.step.due else "",
        _whose(step, words, texts) if step else "",
    )


def _whose(step: DueStep, words: Wording, texts: PageTexts) -> str:
    if step.mine:
        return texts.text("turn.mine")
    turn = step.step.turn.value
    if turn in ("ours", "any"):
        return texts.text(f"turn.{turn}")
    return texts.text("turn.theirs", country=words.country(step.step.party or ""))


def as_csv(table: CaseTable, locale: str) -> Iterator[str]:
    """Yield a table as CSV, as a spreadsheet of a locale opens it.

    It begins with a byte order mark, and cells are apart by a semicolon where the decimal sign is a
    comma. No cell is a formula. Days are as in ISO 8601.
    """
    separator = ";" if get_decimal_symbol(locale) == "," else ","
    yield "\ufeff"
    if table.mark is not None:
        yield _line([table.mark], separator)
    yield _line(table.columns, separator)
    for row in table.rows:
        yield _line(row, separator)


def _line(row: Sequence[Cell], separator: str) -> str:
    written = io.StringIO()
    cells = (cell.isoformat() if isinstance(cell, date) else neutral(cell) for cell in row)
    csv.writer(written, delimiter=separator).writerow(cells)
    return written.getvalue()


def as_xlsx(table: CaseTable) -> bytes:
    """Return a table as an Office Open XML workbook. Texts are texts, and days are days."""
    from xlsxwriter import Workbook

    file = io.BytesIO()
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_numbers": False,
        "strings_to_urls": False,
    }
    with Workbook(file, options) as book:
        sheet = book.add_worksheet()
        sheet.set_column(0, len(table.columns) - 1, _WIDTH_CHARACTERS)
        first = 0 if table.mark is None else 1
        sheet.freeze_panes(first + 1, 1)
        day, head = book.add_format({"num_format": "yyyy-mm-dd"}), book.add_format({"bold": True})
        if table.mark is not None:
            sheet.write_string(0, 0, table.mark, head)
            sheet.set_header(f"&C{table.mark}")
        for column, name in enumerate(table.columns):
            sheet.write_string(first, column, name, head)
        for number, row in enumerate(table.rows, first + 1):
            for column, cell in enumerate(row):
                if isinstance(cell, date):
                    moment = datetime(cell.year, cell.month, cell.day)
                    sheet.write_datetime(number, column, moment, day)
                else:
                    sheet.write_string(number, column, cell)
    return file.getvalue()
