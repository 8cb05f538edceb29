"""The analysts' commands, as they are typed."""

import json
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from api.cli.main import app
from ledger.application import Ledger
from ledger.signing import signed_action
from tests.support.actions import opening
from tests.support.agencies import Agencies

pytestmark = pytest.mark.process

EXAMPLES = Path(__file__).parents[2] / "examples" / "views"


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == code, done.output
    return done.output


def told(*words: str) -> Any:
    return json.loads(run(*words, "--json"))


@pytest.fixture
def node(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CASE_LEDGER_DATABASE_URL", database)
    monkeypatch.setenv("CASE_LEDGER_DATA_DIRECTORY", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "160")


@pytest.mark.usefixtures("node")
def test_from_the_ledger_to_a_table(ledger: Ledger, agencies: Agencies, tmp_path: Path) -> None:
    for _ in range(6):
        case_id = uuid4()
        opened = opening(("XK", "ME"), first_name="zqNobodysName")
        ledger.append(signed_action.read(agencies.sign("xk-dhtqnj", opened, case_id)), case_id, 0)
    head, columns = ledger.head(), tmp_path / "columns"
    first = told("export", "--parquet", str(columns), "--to", "20")
    assert first["upto"] == 20
    second = told("export", "--parquet", str(columns))
    assert (second["upto"], second["files"] > first["files"]) == (head, True)
    assert f"{head} events in" in run("export", "--parquet", str(columns))
    for name in ("caseload.py", "caseload.sql"):
        shutil.copy(EXAMPLES / name, tmp_path / name)
    rows = [{"corridor": "XK-ME", "stage": "identification", "cases": 6}]
    views = [str(tmp_path / name) for name in ("caseload.py", "caseload.sql")]
    assert [told("view", "run", view)["rows"] for view in views] == [rows] * 2
    again = told("view", "run", views[0], "--parquet", str(columns))
    assert (again["rows"], again["folded_from"]) == (rows, head + 1)
    wanted = tmp_path / "wanted.json"
    wanted.write_text(json.dumps(rows))
    (tmp_path / "wanted.csv").write_text("corridor,stage,cases\nXK-ME,identification,6\n")
    for view in views:
        for expected in (wanted, tmp_path / "wanted.csv"):
            run("view", "test", view, "--expected", str(expected))
    wanted.write_text(json.dumps([rows[0] | {"cases": 7}]))
    assert "row 1, cases: 6, and not 7" in run(
        "view", "test", views[0], "--expected", str(wanted), code=1
    )
    ranged = told("view", "run", views[0], "--from", "1", "--to", str(head - 2), "--database")
    assert ranged["rows"][0]["cases"] == 4
    assert "XK-ME" in run("view", "run", views[0])
    assert told("view", "show", views[1]) == {"view": "caseload", "position": head, "rows": rows}
    listed = told("view", "list", str(tmp_path))
    assert [(v["file"], v["position"], v["is_current"]) for v in listed] == [
        ("caseload.py", head, True),
        ("caseload.sql", head, True),
    ]
    out = ("--out", str(tmp_path / "out"), "--by", "age_group", "--parquet", str(columns))
    published = told("statistics", "publish", *out, "--k", "5")
    assert (published["position"], published["root"]) == (head, second["root"])
    kept = tmp_path / "data" / "statistics"
    assert [path.suffix for path in kept.iterdir() if not path.name.startswith(".")] == [".json"]
    assert "zqNobodysName" not in "".join(
        path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()
    )


@pytest.mark.usefixtures("node")
def test_what_is_wrong_is_said_plainly(tmp_path: Path) -> None:
    assert "no protocol is adopted" in run("export", "--parquet", str(tmp_path / "c"), code=1)
    view = str(EXAMPLES / "caseload.py")
    assert "is no export" in run("view", "run", view, "--parquet", str(tmp_path), code=1)
    both = ("--database", "--parquet", str(tmp_path))
    assert "name one place" in run("view", "run", view, *both, code=1)
    missing = run("view", "run", str(tmp_path / "none.py"), "--parquet", str(tmp_path), code=1)
    assert "cannot be read" in missing
    assert "name one" in run("statistics", "trade", "--by", "year", code=1)
