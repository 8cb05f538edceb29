"""Files of cases as offices have them, with invented people: each is hard to read."""

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from unicodedata import normalize
from xml.sax.saxutils import escape

import xlsxwriter

NAMES = ("ime", "prezime", "rođen", "otvoren", "država")
MAP = """
[columns]
ime = "prs_FirstName"
prezime = "prs_SecondName"
"rođen" = "prs_Birthdate"
otvoren = "case_opened.acted_at"
"država" = "prs_Citizenship"
[values.prs_Citizenship]
"Crna Gora" = "ME"
"Kosovë" = "XK"
[defaults]
"case_opened.ground" = "helpline"
"case_opened.indicators" = "no_documents"
"""
Person = tuple[str, str, date, date, str]
PEOPLE: Sequence[Person] = (
    ("Đorđe", "Šćepanović", date(1961, 3, 14), date(2024, 2, 29), "Crna Gora"),
    ("Çelë", "Gjëlosh", date(2012, 11, 1), date(2023, 12, 31), "Kosovë"),
    ("Živko", "Čuković", date(2008, 7, 4), date(2025, 1, 6), "Crna Gora"),
)
SLAVIC = (PEOPLE[0], PEOPLE[2])
TOLD = {"Crna Gora": "ME", "Kosovë": "XK"}


@dataclass(frozen=True)
class MessyFile:
    """One file, the map that goes with it, and what is right."""

    name: str
    content: bytes
    people: Sequence[Person] = PEOPLE
    told: str = MAP
    refused: dict[int, str] = field(default_factory=dict)
    """The rule by which a row is refused, by the row's number."""
    no_cases: dict[int, str] = field(default_factory=dict)


def _cells(
    people: Sequence[Person] = PEOPLE, day: Callable[[date], str] = date.isoformat
) -> list[list[str]]:
    return [[one[0], one[1], day(one[2]), day(one[3]), one[4]] for one in people]


def _csv(rows: Sequence[Sequence[str]], delimiter: str = ",") -> str:
    return "".join(delimiter.join(cells) + "\r\n" for cells in rows)


def _points(day: date) -> str:
    return f"{day.day}.{day.month}.{day.year}."


def _short(day: date) -> str:
    return f"{day:%d.%m.%y}"


def _slashes(day: date) -> str:
    return f"{day:%m/%d/%Y}"


def _serial(day: date) -> str:
    return str((day - date(1899, 12, 30)).days)


def _xlsx(above: Sequence[Sequence[object]] = (), first_sheet_empty: bool = False) -> bytes:
    made = io.BytesIO()
    with xlsxwriter.Workbook(made, {"in_memory": True}) as book:
        if first_sheet_empty:
            book.add_worksheet("Uputstvo")
        sheet = book.add_worksheet("Slučajevi")
        as_day = book.add_format({"num_format": "dd.mm.yyyy"})
        rows = [*above, list(NAMES), *([*one] for one in PEOPLE)]
        for number, cells in enumerate(rows):
            for column, cell in enumerate(cells):
                if isinstance(cell, date):
                    sheet.write_datetime(number, column, cell, as_day)
                else:
                    sheet.write(number, column, cell)
    return made.getvalue()


def _ods() -> bytes:
    def cell(value: object) -> str:
        if isinstance(value, date):
            day = value.isoformat()
            return (
                f'<table:table-cell office:value-type="date" office:date-value="{day}">'
                f"<text:p>{_points(value)}</text:p></table:table-cell>"
            )
        text = f"<text:p>{escape(str(value))}</text:p>"
        return f'<table:table-cell office:value-type="string">{text}</table:table-cell>'

    rows = "".join(
        f"<table:table-row>{''.join(map(cell, cells))}</table:table-row>"
        for cells in (NAMES, *PEOPLE)
    )
    spaces = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "table", "text")
    )
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {spaces}>'
        '<office:body><office:spreadsheet><table:table table:name="Raste">'
        f"{rows}</table:table></office:spreadsheet></office:body></office:document-content>"
    )
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as packed:
        packed.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        packed.writestr("content.xml", content)
        packed.writestr(
            "META-INF/manifest.xml",
            '<?xml version="1.0"?><manifest:manifest '
            'xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>',
        )
    return made.getvalue()


def messy_files() -> list[MessyFile]:
    """Return the files, of ten kinds."""
    head, rows = list(NAMES), _cells()
    text = _csv([head, *rows])
    above = {1: "above-names", 3: "above-names"}
    titled = _csv([["Ministarstvo"], [""], ["Stanje na dan", "1.1.2025"], head, *rows])
    shifted = ["Ana", "Iks, 3", "2012-11-01", "2024-01-01", ""]  # its country is empty
    numbered = MAP.replace("[values", 'jmbg = "prs_IdentityNumber"\n[values', 1)
    numbers = ("1,41E+11", "111012210018", "0407008210018")
    totals = [["Ukupno", "3", "", "", ""], ["TOTAL:", "", "3", "", ""]]
    garbled = "Šćepanović".encode("cp1250").decode("cp1252")
    twice = "Šćepanović".encode().decode("cp1252")
    return [
        # Spreadsheets.
        MessyFile("typed.xlsx", _xlsx()),
        MessyFile("titles.xlsx", _xlsx([["Izvještaj"], [], ["2025"]]), no_cases=above),
        MessyFile("second-sheet.xlsx", _xlsx(first_sheet_empty=True)),
        MessyFile("typed.ods", _ods()),
        # Rows above the names, totals, names again.
        MessyFile("titles.csv", titled.encode(), no_cases=above),
        MessyFile("named-row.csv", titled.encode(), told=f"header_row = 4\n{MAP}", no_cases=above),
        MessyFile(
            "totals.csv",
            _csv([head, *rows, *totals]).encode(),
            no_cases={5: "total", 6: "total"},
        ),
        MessyFile(
            "names-again.csv",
            _csv([head, rows[0], [name.upper() for name in head], *rows[1:]]).encode(),
            no_cases={3: "names-again"},
        ),
        # No total, although the name is a word for one: a day is no count.
        MessyFile(
            "name-like-total.csv",
            _csv([head, *rows[:1], ["Suma", "", "", "02.04.2024", ""]]).encode(),
            PEOPLE[:1],
            refused={3: "missing"},
        ),
        # A delimiter inside a value, where the last cell of the row is empty.
        MessyFile(
            "shifted.csv", _csv([head, rows[0], shifted]).encode(), PEOPLE[:1],
            refused={3: "row-shape"},
        ),
        # Numbers that a spreadsheet took apart.
        MessyFile(
            "numbers.csv",
            _csv(
                [[*head, "jmbg"], *([*row, one] for row, one in zip(rows, numbers, strict=True))],
                ";",
            ).encode(),
            PEOPLE[2:],
            numbered,
            refused={2: "lost-digits", 3: "lost-digits"},
        ),
        # Delimiters, with Excel's line too.
        MessyFile("semicolons.csv", _csv([head, *rows], ";").encode()),
        MessyFile("tabs.csv", _csv([head, *rows], "\t").encode()),
        MessyFile("sep.csv", ("sep=;\r\n" + _csv([head, *rows], ";")).encode()),
        MessyFile("quoted-sep.csv", ('"sep=|"\r\n' + _csv([head, *rows], "|")).encode()),
        # Encodings.
        MessyFile("marked.csv", text.encode("utf-8-sig")),
        MessyFile("utf-16.csv", text.encode("utf-16")),
        MessyFile("cp1250.csv", _csv([head, *rows]).encode("cp1250")),
        MessyFile("latin-2.csv", _csv([head, *rows]).encode("iso8859-2")),
        MessyFile("dos.csv", _csv([head, *rows]).encode("cp852")),
        MessyFile("decomposed.csv", normalize("NFD", text).encode()),
        # Texts that were decoded wrongly before they came here.
        MessyFile(
            "garbled.csv",
            _csv([head, rows[0], ["Ana", garbled, *rows[0][2:]], ["Ana", twice, *rows[1][2:]]])
            .encode(),
            PEOPLE[:1],
            refused={3: "garbled", 4: "garbled"},
        ),
        # Days.
        MessyFile("points.csv", _csv([head, *_cells(day=_points)]).encode()),
        MessyFile("short.csv", _csv([head, *_cells(day=_short)]).encode()),
        MessyFile("serials.csv", _csv([head, *_cells(day=_serial)]).encode()),
        MessyFile(
            "slashes.csv",
            _csv([head, *_cells(day=_slashes)]).encode(),
            told=f'date_format = ["%m/%d/%Y", "%d.%m.%Y"]\n{MAP}',
        ),
        MessyFile(
            "slashes-unsaid.csv",
            _csv([head, rows[0], *_cells(PEOPLE[1:2], _slashes)]).encode(),
            PEOPLE[:1],
            refused={3: "value"},
        ),
        # Persons who cannot be: born after the opening, older than a hundred, cells that lack.
        MessyFile(
            "impossible.csv",
            _csv(
                [head, rows[0],
                 ["Ana", "Iks", "2061-01-01", "2024-01-01", "Kosovë"],
                 ["Ana", "Iks", "1899-01-01", "2024-01-01", "Kosovë"],
                 ["Ana", "Iks", "2024-01-01"]]
            ).encode(),
            PEOPLE[:1],
            refused={3: "birth-in-future", 4: "unconfirmed-older-than-100", 5: "row-shape"},
        ),
    ]  # fmt: skip
