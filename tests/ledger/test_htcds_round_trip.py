"""An export writes the rows that an import read, and an import reads them again the same."""

import csv
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest

from api.importing.files import file_form, read_rows
from api.importing.htcds_writer import write_rows
from ledger.importing.fields import STANDARD, place
from ledger.importing.import_map import ImportMap, load_map
from ledger.importing.mapping import MappedAction, Mapper
from ledger.importing.row import ActionInRow, case_row
from ledger.vocabulary import Action
from tests.support.actions import START
from tests.support.htcds import MAP, rows

IDS = uuid4()


def action_id(kind: str, number: int) -> UUID:
    return uuid5(IDS, f"{kind} {number}")


def read(row: Mapping[str, Any], of: ImportMap) -> list[MappedAction]:
    mapped = Mapper(of, "XK").read(row, action_id)
    assert mapped.faults == []
    return list(mapped.told)


def done(told: MappedAction) -> ActionInRow:
    fields = {**told.action.ledger_claims(), **told.action.disclosable_claims()}
    return ActionInRow(told.id, told.action.kind, fields)


def exported(row: Mapping[str, Any]) -> tuple[list[Action], Mapping[str, Any]]:
    told = read(row, load_map(MAP.encode(), Path("map")))
    kinds = [one.action.kind for one in told]
    status = "Closed" if "case_closed" in kinds else "Active"
    made = case_row([done(one) for one in told], status)
    assert made.not_told == {}
    return [one.action for one in told], made.values


@pytest.mark.parametrize("form", ["cases.csv", "cases.jsonl"])
def test_an_exported_file_imports_as_the_same_actions(tmp_path: Path, form: str) -> None:
    pairs = [exported(row) for row in rows(200, seed=7)]
    path = tmp_path / form
    assert write_rows(path, [values for _, values in pairs]) == 200
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    plain = ImportMap()
    again = list(read_rows(path, plain, file_form(path, plain)))
    assert len(again) == 200
    kinds = set()
    for (actions, _), one in zip(pairs, again, strict=True):
        assert one.fault is None
        reread = [told.action for told in read(one.row.values, plain)]
        assert reread == actions
        kinds |= {action.kind for action in actions}
    assert {"service_ended", "reintegration_planned", "case_closed"} <= kinds


def test_columns_are_the_standards_or_name_a_field() -> None:
    names = {name for row in rows(50) for name in exported(row)[1]}
    assert {"prs_FirstName", "vic_TypeOfExploitation", "hte_Description", "cas_Status"} <= names
    assert all(name in STANDARD or place(name) for name in names)


def test_what_has_no_place_is_counted_and_what_is_annulled_left_out() -> None:
    opened, risk, wrong = (
        ActionInRow(uuid4(), "case_opened", {"acted_at": START.isoformat(), "age_group": "child"}),
        ActionInRow(
            uuid4(), "risk_assessed", {"acted_at": START.isoformat(), "risk_level": "high"}
        ),
        ActionInRow(uuid4(), "risk_assessed", {"acted_at": START.isoformat(), "risk_level": "low"}),
    )
    correction = ActionInRow(
        uuid4(), "correction", {"corrects": str(wrong.id), "effect": "annulled", "reason": "x"}
    )
    asked = ActionInRow(uuid4(), "information_requested", {"addressee": "me-nac"})
    stray = ActionInRow(uuid4(), "service_ended", {"service_action": str(uuid4())})
    row = case_row([opened, wrong, risk, correction, asked, stray], "Active")
    assert row.not_told == {"correction": 1, "information_requested": 1, "service_ended": 1}
    assert row.values["risk_assessed.risk_level"] == "high"
    assert not any(name.startswith("risk_assessed.2") for name in row.values)


def test_a_row_has_what_counts_of_the_person() -> None:
    """The newest statement of each field, and the age group that was right at the opening."""
    at = {"acted_at": START.isoformat()}
    opened = {**at, "age_group": "adult", "first_name": "A", "second_name": "B", "phone": "+38344"}
    stated = {**at, "birthdate": "2012-03-04", "first_name": "C", "retracted": ["phone"]}
    assessed = {**at, "age_group": "child", "method": "document"}
    came = {"acted_at": "2030-04-01T00:00:00Z", "age_group": "adult", "method": "came_of_age"}
    told = [("case_opened", opened), ("identity_recorded", stated), ("age_assessed", assessed)]
    told.append(("age_assessed", came))
    row = case_row([ActionInRow(uuid4(), kind, fields) for kind, fields in told], "Active")
    assert row.not_told == {}
    values = row.values
    assert (values["prs_FirstName"], values["prs_SecondName"]) == ("C", "B")
    assert (values["prs_Birthdate"], "prs_MobilePhone" in values) == ("2012-03-04", False)
    assert values["case_opened.age_group"] == "child"
    assert values["age_assessed.2.age_group"] == "adult"
    assert all(name in STANDARD or place(name) for name in values)


def test_a_csv_that_could_be_misread_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    with pytest.raises(ValueError, match="jsonl"):
        write_rows(path, [{"victim_identified.recruitment_platforms": ["one;two"]}])
    assert list(tmp_path.iterdir()) == []
    lines = tmp_path / "cases.jsonl"
    write_rows(lines, [{"victim_identified.recruitment_platforms": ["one;two"]}])
    assert json.loads(lines.read_text()) == {"victim_identified.recruitment_platforms": ["one;two"]}
    with pytest.raises(ValueError, match="already"):
        write_rows(lines, [])
    with pytest.raises(ValueError, match=r"\.csv"):
        write_rows(tmp_path / "cases.xlsx", [])


def test_any_text_survives_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    write_rows(path, [{"hte_Description": '=HYPERLINK("x")\n"quoted"'}])
    with path.open(newline="") as file:
        cell = next(csv.DictReader(file))["hte_Description"]
    assert cell.startswith("'=")  # no spreadsheet computes it
    (row,) = read_rows(path, ImportMap(), file_form(path, ImportMap()))
    assert row.row.values == {"hte_Description": '=HYPERLINK("x")\n"quoted"'}
