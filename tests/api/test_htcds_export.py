"""Cases leave as HTCDS no further than the caller sees them; every opening is written down."""

import json
import stat
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner

from api.cli import app
from ledger.procedure.protocol import Operation
from ledger.procedure.readings import Reading
from ledger.signing import keys
from ledger.vocabulary.coordination import InformationRequested
from ledger.vocabulary.picklists import InformationTopic, Purpose, RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from tests.support.actions import opening
from tests.support.serving import Server

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
NAME = "zq0123456789abcdef"
Run = Callable[..., Any]


@pytest.fixture
def case(served: Server) -> UUID:
    case_id, police = uuid4(), served.client("xk-dhtqnj")
    police.append(
        opening(("XK",), acted_at=START, first_name=NAME, birthdate=date(2012, 3, 4)), case_id, 0
    )
    risk = RiskAssessed(acted_at=START + timedelta(hours=1), risk_level=RiskLevel.HIGH)
    police.append(risk, case_id, 1)
    asked = InformationRequested(
        acted_at=START + timedelta(hours=2),
        addressee="me-nac",
        topics=(InformationTopic.FAMILY,),
        purpose=Purpose.IDENTIFICATION,
    )
    receipt = served.client("xk-nac").append(asked, case_id, 2)
    served.client("xk-nac").case(case_id, at_least=receipt.position)
    served.client("me-nac").case(case_id, at_least=receipt.position)
    return case_id


@pytest.fixture
def run(directory: Path, served: Server) -> Run:
    def run(agency: str, file: Path, *more: str, code: int = 0) -> Any:
        key = directory / f"{agency}.json"
        if not key.exists():
            keys.save(served.agencies.keys[agency], key)
        env = {
            "CASE_LEDGER_DATA_DIRECTORY": str(directory / "data"),
            "CASE_LEDGER_URL": served.url,
        }
        words = ["export-cases", str(file), "--agency", agency, "--key", str(key), *more, "--json"]
        done = CliRunner().invoke(app, words, env=env)
        assert done.exit_code == code, done.output
        if code != 0:
            return done.output
        # The server is in this process too, and writes its log to the same place.
        (line,) = (one for one in done.stdout.splitlines() if one[:1] in "[{")
        return json.loads(line)

    return run


def asked_for(served: Server, case: UUID) -> list[Reading]:
    """Return what agencies asked for; the node itself compares cases at any time."""
    found = served.client("xk-nac").readings(case).readings
    return [one for one in found if one.asked.operation is not Operation.MATCH]


@pytest.mark.usefixtures("case")
def test_without_groups_no_person_is_told(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "cases.jsonl"
    told = run("xk-dhtqnj", file)
    assert told == {
        "cases": 1,
        "without_personal_fields": {},
        "not_told": {"information_requested": 1},
    }
    (row,) = map(json.loads, file.read_text().splitlines())
    assert row["case_opened.age_group"] == "child"
    assert row["risk_assessed.risk_level"] == "high"
    assert row["cas_Status"] == "Active"
    assert "case_opened.ground" in row  # a field of the country's own vault
    assert NAME not in file.read_text()
    assert "prs_Birthdate" not in row
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_personal_fields_are_opened_and_written_down(
    case: UUID, served: Server, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "cases.csv"
    told = run("xk-dhtqnj", file, "--group", "identity", "--purpose", "identification")
    assert told["without_personal_fields"] == {}
    assert NAME in file.read_text()
    assert "2012-03-04" in file.read_text()
    assert [(one.asked.agency, one.asked.purpose.value) for one in asked_for(served, case)] == [
        ("xk-dhtqnj", "identification")
    ]


def test_what_the_matrix_denies_is_left_out_and_said(case: UUID, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "cases.jsonl"
    told = run("xk-border", file, "--group", "health", "--purpose", "identification")
    assert list(told["without_personal_fields"]) == [str(case)]
    assert NAME not in file.read_text()
    # Another country has what the ledger tells, and nothing of this one's vault.
    other = tmp_path / "others.jsonl"
    run("me-nac", other, "--group", "identity", "--purpose", "identification")
    (row,) = map(json.loads, other.read_text().splitlines())
    assert NAME not in other.read_text()
    assert row["case_opened.age_group"] == "child"
    # And a country that is no party has no row.
    none = tmp_path / "none.jsonl"
    assert run("al-nac", none)["cases"] == 0
    assert none.read_text() == ""


def test_what_is_wrong_is_said_before_anything_is_read(
    case: UUID, served: Server, run: Run, tmp_path: Path
) -> None:
    assert "--purpose" in run("xk-dhtqnj", tmp_path / "cases.csv", "--group", "identity", code=1)
    taken = tmp_path / "taken.csv"
    taken.write_text("mine")
    assert "already" in run("xk-dhtqnj", taken, code=1)
    assert taken.read_text() == "mine"
    assert ".jsonl" in run("xk-dhtqnj", tmp_path / "cases.xlsx", code=1)
    assert asked_for(served, case) == []
