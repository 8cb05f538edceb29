"""An analyst's view reaches its events and nothing else, and its fault ends the run at once."""

import json
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import duckdb
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.application import Ledger
from ledger.events.event_mapper import UnsealedEvent
from ledger.export.static_export import write_export
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note, SignatureType, SignerKey
from ledger.store.copy_reader import reading, rows_by_position
from ledger.verification.evidence_reader import one_moment
from projections.analysis import ViewError, event_places, run_view, tables
from projections.analysis.definition import read_definition
from projections.analysis.limits import Limits
from projections.columnar.manifest import ColumnarError, existing_manifest
from projections.columnar.parquet_export import export
from projections.statistics.counting import count_cases
from tests.crosscheck.test_formats_elsewhere import Rows
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.recorded import MemoryLedger
from tests.support.stories import tell
from tests.support.waiting import until

EVENTS = int(os.environ.get("CASE_LEDGER_TEST_EVENTS", "20000"))
VIEW = """
{before}
class Tried:
    name = "tried"
    version = 1
    def initial(self):
        return {{}}
    def fold(self, state, event):
        if "said" not in state:
            state["said"] = attempt()
        return state
    def rows(self, state):
        yield state
"""
ATTEMPTS = """
known = __builtins__ if isinstance(__builtins__, dict) else vars(__builtins__)
posix = known["__import" + "__"]("posix")

def attempt():
    said = {{}}
    for name, words in {attempts}.items():
        try:
            said[name] = str(getattr(posix, name)(*words))
        except BaseException as error:
            said[name] = type(error).__name__
    return said
"""


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    tell(ledger, Random(7), 8)
    directory = tmp_path_factory.mktemp("columns")
    export(ledger, directory)
    return directory


def written(directory: Path, before: str) -> Path:
    file = directory / "tried.py"
    file.write_text(VIEW.format(before=before))
    return file


def test_a_view_reaches_no_file_and_no_process(columns: Path, tmp_path: Path) -> None:
    """It gets past the reading of its text here, which is no boundary; the kernel is one."""
    file = written(tmp_path, "")
    attempts = {
        "open": ("/etc/hostname", 0),
        "mkdir": (str(tmp_path / "made"),),
        "listdir": ("/",),
        "unlink": (str(file),),
        "fork": (),
        "kill": (1, 0),
        "stat": ("/etc",),
        "execv": ("/bin/true", ["true"]),
        "symlink": ("/etc", str(tmp_path / "link")),
        "memfd_create": ("made",),
    }
    written(tmp_path, ATTEMPTS.format(attempts=attempts))
    (row,) = run_view(file, parquet=columns, last=3).table.to_pylist()
    assert set(row["said"]) == set(attempts)
    assert set(row["said"].values()) == {"PermissionError"}
    assert [path.name for path in tmp_path.iterdir()] == ["tried.py"]
    written(tmp_path, ATTEMPTS.format(attempts={"getcwd": ()}))
    (row,) = run_view(file, parquet=columns, last=1, unlocked=True).table.to_pylist()
    assert row["said"] == {"getcwd": "/"}


def test_a_view_that_is_listed_is_not_run(tmp_path: Path) -> None:
    file = written(tmp_path, "1 / 0\ndef attempt():\n    return 1")
    definition = read_definition(file)
    assert (definition.name, definition.version) == ("tried", 1)
    file.write_text(file.read_text().replace('"tried"', '"tri" + "ed"'))
    with pytest.raises(ViewError, match=r"line 6: write its name out"):
        read_definition(file)


def test_what_a_view_prints_and_the_line_of_its_fault_are_told(
    columns: Path, tmp_path: Path
) -> None:
    file = written(tmp_path, "def attempt():\n    print('seen')\n    return 1")
    assert run_view(file, parquet=columns, last=3).printed == "seen\n"
    file = written(tmp_path, "def attempt():\n    return {}['nothing']")
    with pytest.raises(ViewError, match=r"line 3: its fold fails at position 1 \(protocol_ado"):
        run_view(file, parquet=columns, last=3)
    file = written(tmp_path, "def attempt():\n    raise SystemExit(0)")
    with pytest.raises(ViewError, match="SystemExit"):
        run_view(file, parquet=columns, last=3)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_text('{other}')",
        "SELECT * FROM read_csv('{other}')",
        "SELECT * FROM '{other}'",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '{here}/out.csv'",
        "ATTACH '{here}/out.db'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SELECT * FROM secret_of_the_process",
        "SELECT 1; SELECT 2",
        "CREATE TABLE t AS SELECT 1",
    ],
)
def test_sql_reads_the_tables_and_nothing_else(query: str, columns: Path, tmp_path: Path) -> None:
    secret_of_the_process = duckdb.sql("SELECT 1 AS n").to_arrow_table()
    assert secret_of_the_process is not None
    other = tmp_path / "other.csv"
    other.write_text("a\n1\n")
    file = tmp_path / "asked.sql"
    asked = query.format(here=tmp_path, other=other)
    file.write_text(f"-- name: asked\n-- version: 1\n-- engine: duckdb\n{asked}\n")
    with pytest.raises(ViewError, match=r"asked\.sql"):
        run_view(file, parquet=columns)
    assert {path.name for path in tmp_path.iterdir()} <= {
        "asked.sql",
        "asked.sql.kept",
        "other.csv",
    }


def test_a_list_that_duckdb_does_not_count_takes_no_more_than_its_bound(
    columns: Path, tmp_path: Path
) -> None:
    """5.6 GB in one value, which the limit of DuckDB itself lets pass."""
    bounds = resource.getrlimit(resource.RLIMIT_AS)
    file = tmp_path / "asked.sql"
    asked = "SELECT list_sum(range(700000000)) AS n ORDER BY 1"
    file.write_text(f"-- name: asked\n-- version: 1\n-- engine: duckdb\n{asked}\n")
    with pytest.raises(ViewError, match=r"more than .* of memory"):
        run_view(file, parquet=columns, kept=False, limits=Limits(memory_bytes=256 << 20))
    assert resource.getrlimit(resource.RLIMIT_AS) == bounds
    told = "SELECT value FROM duckdb_settings() WHERE name = 'secret_directory'"
    file.write_text(f"-- name: asked\n-- version: 1\n-- engine: duckdb\n{told}\n")
    (row,) = run_view(file, parquet=columns, kept=False).table.to_pylist()
    assert row == {"value": "/nonexistent"}


def test_an_export_that_somebody_changed_is_not_read(columns: Path, tmp_path: Path) -> None:
    manifest = existing_manifest(columns)
    (one,) = manifest.of_table("cases")
    content = (columns / one.path).read_bytes()
    file = tmp_path / "asked.sql"
    file.write_text("-- name: asked\n-- version: 1\nSELECT count(*) AS n FROM cases\n")
    try:
        (columns / one.path).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        for read in (
            lambda: count_cases(columns, ("XK", "ME", "AL"), ["year"]),
            lambda: run_view(file, parquet=columns),
            lambda: tables(columns).__enter__(),
        ):
            with pytest.raises(ColumnarError, match="is not the file that the manifest names"):
                read()
    finally:
        (columns / one.path).write_bytes(content)
    assert run_view(file, parquet=columns).table.num_rows == 1
    outside = json.loads((columns / "manifest.json").read_text())
    outside["files"][0]["path"] = "cases/../../x.parquet"
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / "manifest.json").write_text(json.dumps(outside))
    with pytest.raises(ColumnarError):
        existing_manifest(changed)


def test_a_view_that_fails_ends_at_once_though_rows_still_come(
    ledger: Ledger,
    database: str,
    agencies: Agencies,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The database sends more rows than any buffer on the way takes, and nobody reads them."""
    monkeypatch.setattr(event_places, "_FIRST_BATCH", 1)
    padded(database, with_a_case(ledger, agencies))
    file = written(tmp_path, "def attempt():\n    return 1 / 0")
    begun = time.monotonic()
    with pytest.raises(ViewError, match="ZeroDivisionError"):
        run_view(file, database=database)
    assert time.monotonic() - begun < 20
    until(lambda: backends(database) == 0, seconds=10)


def test_an_interrupt_ends_a_stream(ledger: Ledger, database: str) -> None:
    padded(database, ledger.head())
    seen: list[Iterator[Any]] = []

    def interrupted() -> None:
        with reading(database) as connection, one_moment(connection):
            seen.append(rows_by_position(connection))
            next(seen[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    until(lambda: backends(database) == 0, seconds=10)


@pytest.mark.skipif(EVENTS < 50_000, reason="CASE_LEDGER_TEST_EVENTS names 50000 or more")
def test_a_view_that_fails_ends_within_two_seconds_on_many_events(
    ledger: Ledger, database: str, agencies: Agencies, tmp_path: Path
) -> None:
    many = MemoryLedger(Agencies())
    many.begin()
    while many.head() < EVENTS:
        tell(many, Random(many.head()), 500)
    export(many, tmp_path / "columns")
    signer = SignerKey("example.org/log", SignatureType.ED25519, Ed25519PrivateKey.generate())
    text = str(Checkpoint("example.org/log", many.head(), many.root(many.head())))
    note = Note(text, (signer.sign(text),))
    rows = Rows([row.state for row in many.recorded])
    write_export(rows, note, tmp_path / "static", lambda *_: None)  # type: ignore[arg-type]
    padded(database, with_a_case(ledger, agencies))
    file = written(tmp_path, "def attempt():\n    return 1 / 0")
    for where in (
        {"parquet": tmp_path / "columns"},
        {"export": tmp_path / "static"},
        {"database": database},
    ):
        begun = time.monotonic()
        with pytest.raises(ViewError, match="ZeroDivisionError"):
            run_view(file, **where)  # type: ignore[arg-type]
        took = time.monotonic() - begun
        print(f"{next(iter(where))}: {took:.2f} s of {EVENTS} events")
        assert took < 2, where
    until(lambda: backends(database) == 0, seconds=10)


def with_a_case(ledger: Ledger, agencies: Agencies) -> int:
    """Record the opening of a case, and return its position."""
    case_id, action_id = uuid4(), uuid4()
    signed = agencies.sign("xk-dhtqnj", opening(("XK", "ME")), case_id, action_id)
    text = signed.without_disclosures().encode()
    event = UnsealedEvent(case_id, 1, "case_opened", text, action_id)
    ledger.rows.insert_events([event])
    return ledger.head()


def padded(database: str, head: int) -> None:
    """Copy the last event's row to many later positions; 20,000 are 64 MB together."""
    with psycopg.connect(database) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "INSERT INTO ledger.events SELECT (jsonb_populate_record(e, jsonb_build_object("
            "'notification_id', %(head)s + n, 'originator_version', 1000 + n,"
            " 'action_id', gen_random_uuid()))).* FROM ledger.events e,"
            " generate_series(1, %(events)s) n WHERE e.notification_id = %(head)s",
            {"head": head, "events": EVENTS},
        )


def backends(database: str) -> int:
    """Return the number of other connections that still run a statement in this database."""
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state = 'active' AND query LIKE 'COPY%'"
        ).fetchone()
    assert row is not None
    return int(row[0])
