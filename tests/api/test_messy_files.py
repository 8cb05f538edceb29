"""Files of cases that are hard to read: each is read right, or refused with reason and place."""

from datetime import date
from pathlib import Path
from uuid import uuid4

import pytest
import xlsxwriter

from api.importing import trial
from api.importing.files import file_form, read_rows
from api.importing.shipped_maps import shipped_map
from api.importing.suggestion import suggested_map
from api.importing.tables import ImportFileError, TableForm
from api.importing.trial import tried
from ledger.importing.days import Days
from ledger.importing.garbled import has_lost_zero, is_garbled
from ledger.importing.import_map import ImportMap, load_map, with_defaults
from ledger.importing.mapping import Mapper
from ledger.importing.preparing import Preparer, Signer
from tests.support.agencies import Agencies
from tests.support.messy_files import PEOPLE, TOLD, MessyFile, messy_files

FILES = messy_files()
pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def agencies() -> Agencies:
    return Agencies()


@pytest.mark.parametrize("file", FILES, ids=[one.name for one in FILES])
def test_a_messy_file_is_read_right_or_refused_with_reason_and_place(
    file: MessyFile, tmp_path: Path, agencies: Agencies
) -> None:
    path = tmp_path / file.name
    path.write_bytes(file.content)
    told = load_map(file.told.encode(), Path("map"))
    rows = list(read_rows(path, told, file_form(path, told)))
    key = agencies.keys["xk-nac"]
    signer = Signer("xk-nac", key, key, agencies.protocol)
    mapper = Mapper(told, "XK")
    preparer = Preparer(uuid4(), signer, mapper, None)
    refused = {one.row.number: one.fault.rule for one in rows if one.fault is not None}
    found = []
    for one in rows:
        if one.fault is not None or one.no_case is not None:
            continue
        prepared = preparer.prepare([one.row])
        for no in prepared.refused:
            refused[no.row] = no.faults[0].rule
        if prepared.ready:
            (opened,) = mapper.read(one.row.values, lambda _, __: uuid4()).told
            action = opened.action.model_dump()
            found.append(
                (
                    *(action[name] for name in ("first_name", "second_name", "birthdate")),
                    action["acted_at"].date(),
                    *action["citizenship"],
                )
            )
    assert found == [(*one[:4], TOLD[one[4]]) for one in file.people]
    assert refused == file.refused
    assert {one.row.number: one.no_case for one in rows if one.no_case} == file.no_cases


def test_a_spreadsheet_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cases.xlsx"
    for content in (b"", b"PK\x03\x04", b"a,b\n1,2\n"):
        path.write_bytes(content)
        with pytest.raises(ImportFileError, match="no spreadsheet"):
            file_form(path, ImportMap())
    path.write_bytes(FILES[0].content)
    with pytest.raises(ImportFileError, match="no sheet of the name"):
        file_form(path, ImportMap(sheet="Other"))


def test_a_column_with_almost_a_known_name_is_not_left_unread_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    told = ImportMap(ignore_others=True, columns={"datum rođenja": "prs_Birthdate"})
    for name in ("Datum rodjenja", "datum_rođenja", "prs_birthdate"):
        path.write_text(f"prs_FirstName,x,{name}\nAna,1,2010-01-01\n")
        with pytest.raises(ImportFileError, match=r"columns have almost a name .* read: 3\."):
            list(read_rows(path, told, file_form(path, told)))
    path.write_text("prs_FirstName,prs_FirstName2,remark\nAna,1,2\n")
    (row,) = read_rows(path, told, file_form(path, told))
    assert row.row.values == {"prs_FirstName": "Ana"}


def test_a_long_number_of_a_spreadsheet_has_an_exponent_and_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cases.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        for row, number in enumerate(("prs_IdentityNumber", 123456789012345, 12345678901234567)):
            sheet.write(row, 0, number)
    rows = list(read_rows(path, ImportMap(), file_form(path, ImportMap())))
    assert rows[0].row.values == {"prs_IdentityNumber": "123456789012345"}
    assert [one.fault and one.fault.rule for one in rows] == [None, "lost-digits"]


def test_a_spreadsheet_that_asks_for_all_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cases.xlsx"
    with xlsxwriter.Workbook(path, {"constant_memory": True}) as book:
        sheet = book.add_worksheet()
        for row, column in ((0, 0), (1_048_575, 16_383)):
            sheet.write(row, column, "x")
    with pytest.raises(ImportFileError, match="too much memory"):
        file_form(path, ImportMap())


@pytest.mark.parametrize(
    ("number", "born", "lacks"),
    [
        ("101006500006", date(2006, 1, 1), True), ("101006500006", None, True),
        ("0101006500006", None, False), ("101006500007", None, False),
        ("101006500006", date(2006, 2, 1), False), ("1234567890", None, False),
    ],
)  # fmt: skip
def test_a_number_without_its_first_zero_is_told(
    number: str, born: date | None, lacks: bool
) -> None:
    assert has_lost_zero(number, born) is lacks


def test_short_years_turn_at_the_year_that_the_map_says() -> None:
    assert [Days().read(f"1.2.{year}").year for year in ("00", "30", "31", "61", "99")] == [
        2000, 2030, 1931, 1961, 1999,
    ]  # fmt: skip
    assert Days(("%d/%m/%y",), 50).read("1/2/50").year == 2050
    assert Days(("%d/%m/%y",), 50).read("1/2/51").year == 1951
    for wrong in ("1/2/2024", "31.2.2024", "12345678", "", "x" * 100, "1.2.3.4"):
        with pytest.raises(ValueError, match=r"day|month|isoformat"):
            Days().read(wrong)


@pytest.mark.parametrize(
    ("text", "garbled"),
    [
        ("Šćepanović", False), ("Gjergj Kastrioti Skënderbeu", False), ("Hélène Lefèvre", False),
        ("Søren Ærø", False), ("İstanbul", False), ("Ангела Николова", False), ("O'Neill", False),
        ("Šæepanoviæ", True), ("Å\xa0ćepanović", False), ("GjÃ«losh", True), ("Mi¹o", True),
        ("\ufffdepanovi\ufffd", True),
    ],
)  # fmt: skip
def test_a_text_that_was_decoded_wrongly_is_told_from_a_name(text: str, garbled: bool) -> None:
    assert is_garbled(text) is garbled


def test_a_suggested_map_reads_the_file_that_it_was_made_of(tmp_path: Path) -> None:
    """A person adds what no file says, and corrects what could not be told."""
    by_name = {one.name: one for one in FILES}
    for name in ("titles.xlsx", "typed.ods", "titles.csv", "sep.csv", "cp1250.csv", "slashes.csv"):
        path = tmp_path / name
        path.write_bytes(by_name[name].content)
        text = suggested_map(path)
        assert not {word for person in PEOPLE for word in person[:2]} & set(text.split('"'))
        told = with_defaults(
            load_map(text.encode(), path),
            ("case_opened.ground=helpline", "case_opened.indicators=no_documents"),
        )
        told = told.model_copy(update={"values": {"prs_Citizenship": dict(TOLD)}})
        mapper = Mapper(told, "XK")
        found = [
            mapper.read(row.row.values, lambda _, __: uuid4()).told[0].action.model_dump()
            for row in read_rows(path, told, file_form(path, told))
            if row.no_case is None
        ]
        people = [(one["first_name"], one["second_name"], one["birthdate"]) for one in found]
        assert people == [one[:3] for one in PEOPLE], name


def test_a_suggestion_knows_labels_and_values_in_each_language(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    path.write_text(
        "Nr. i rastit;Emri;Mbiemri;Datëlindja;Gjinia;Shtetësia;Napomena\n"
        "7/24;Çelë;Gjëlosh;1/2/2010;Femër;Kosovë;tajna\n8/24;Ana;Iks;3/4/2011;zqDrugo;ME;tajna\n"
    )
    text = suggested_map(path)
    for line in (
        'file_number = "Nr. i rastit"',
        '"Emri" = "prs_FirstName"',
        '"Mbiemri" = "prs_SecondName"',
        '"Datëlindja" = "prs_Birthdate"',
        '"Femër" = "Feminine"',
        '"zqDrugo" = ""  # unknown',
        '"Kosovë" = "XK"',
        'ignore = ["Napomena"]',
        "# Which is the day in 1/2/2010? Say it:",
    ):
        assert line in text.splitlines(), text
    assert "tajna" not in text
    load_map(text.encode(), path)


def test_a_case_of_primero_is_read_by_the_map_that_ships(tmp_path: Path) -> None:
    file = shipped_map(Path("primero"))
    assert file is not None
    told = with_defaults(
        load_map(file.read_bytes(), file),
        ("case_opened.ground=report_by_social_services", "case_opened.indicators=no_documents"),
    )
    for head in (
        "case_id_display,name_first,name_last,date_of_birth,sex,nationality,registration_date,age",
        "Case ID,First Name,Surname,Date of Birth,Sex,Nationality,Date of Registration,Age",
    ):
        path = tmp_path / "primero.csv"
        path.write_text(f"{head}\n0a1b2c3,Ana,Iks,14-Mar-2012,female,albania,2024-05-06,12\n")
        (row,) = read_rows(path, told, file_form(path, told))
        (opened,) = Mapper(told, "AL").read(row.row.values, lambda _, __: uuid4()).told
        action = opened.action.model_dump(mode="json")
        assert (action["first_name"], action["second_name"]) == ("Ana", "Iks")
        assert (action["birthdate"], action["citizenship"]) == ("2012-03-14", ["AL"])
        assert action["acted_at"].startswith("2024-05-06")
    with pytest.raises(ValueError, match="FIELD=VALUE"):
        with_defaults(told, ("case_opened.ground",))
    assert shipped_map(Path("no-such-map")) == Path("no-such-map")


@pytest.mark.parametrize("name", ["titles.csv", "cp1250.csv", "utf-16.csv", "titles.xlsx"])
def test_a_map_is_tried_on_a_files_head_in_memory(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The directory for temporary files has a link to the content, and no byte of it."""
    file = next(one for one in FILES if one.name == name)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen: list[list[str]] = []
    known = trial.file_form

    def form(path: Path, told: ImportMap) -> TableForm:
        seen.append([str(one.readlink()) for one in tmp_path.rglob("*") if one.is_symlink()])
        assert not [one for one in tmp_path.rglob("*") if one.is_file() and not one.is_symlink()]
        return known(path, told)

    monkeypatch.setattr(trial, "file_form", form)
    found = tried(file.content, Path(name).suffix, None, "XK", is_head=False)
    assert len(found.persons) == 3
    assert all(one[0].startswith("/proc/") for one in seen)
    assert not list(tmp_path.iterdir())
    corrected = tried(file.content, Path(name).suffix, found.map, "XK", is_head=False)
    assert corrected.persons == found.persons
    if name == "titles.csv":  # cut within a quoted cell
        cut = file.content + b'"a cell that goes on\n'
        assert tried(cut, ".csv", None, "XK", is_head=True).persons == found.persons
    with pytest.raises(ImportFileError):
        tried(file.content, ".exe", None, "XK", is_head=False)
