"""Questions to a columnar export beside the same questions to PostgreSQL, and what exporting costs.

    python -m benchmarks.columnar DIRECTORY --size 1000000 --times 10

Makes a ledger of so many events in a private PostgreSQL under DIRECTORY (as `benchmarks.growth`
does; one that is there is used again), exports it by the command, adds a hundredth and exports
that. Beside the export the same events are loaded, decoded, into one table with a `jsonb` column,
which PostgreSQL is asked by all its processes. Both sides are asked in turn, warm, and the
answers must be the same. With ``--times`` both sides hold every case so many times before they are
asked, under other ids and positions, in as many files more: what is exported is ``--size``.
Writes benchmarks/results/columnar.json. At 10^6 events, asked at 10^7, this takes an hour and
25 GB; remove DIRECTORY when done.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection
from pyarrow import parquet  # type: ignore[import-untyped]
from pydantic_core import to_json
from rich.console import Console
from rich.progress import Progress

from benchmarks import machine
from benchmarks.growth import agencies_of, database_of, prepare, proportional_bytes, serving
from benchmarks.synthetic import grow
from projections.analysis.event_places import Where, opened
from projections.columnar.duckdb_tables import connect, put_tables
from projections.columnar.manifest import Manifest, existing_manifest

RESULTS = Path(__file__).parent / "results" / "columnar.json"
ROUNDS = 5
console = Console()

QUESTIONS = {
    "events by kind, country and month": (
        "SELECT kind, party, CAST(date_trunc('month', acted_at) AS DATE) AS month,"
        " count(*) AS n FROM events GROUP BY ALL ORDER BY ALL",
        """SELECT (document->>'kind') COLLATE "C", (document->>'party') COLLATE "C",
            date_trunc('month', (document->>'acted_at')::timestamptz)::date, count(*)
        FROM bench.events GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
    ),
    "assessed risks by country": (
        "SELECT party, risk_level, count(*) AS n, count(DISTINCT case_id) AS cases"
        " FROM risk_assessed GROUP BY ALL ORDER BY ALL",
        """SELECT (document->>'party') COLLATE "C",
            (document->'fields'->>'risk_level') COLLATE "C", count(*),
            count(DISTINCT document->>'case_id')
        FROM bench.events WHERE document->>'kind' = 'risk_assessed'
        GROUP BY 1, 2 ORDER BY 1, 2""",
    ),
    "days from opening to identification": (
        "SELECT o.age_group, count(*) AS n,"
        " CAST(sum(floor(epoch(v.acted_at - o.acted_at) / 86400)) AS BIGINT) AS days"
        " FROM case_opened o JOIN victim_identified v USING (case_id) GROUP BY ALL ORDER BY ALL",
        """SELECT (o.document->'fields'->>'age_group') COLLATE "C", count(*),
            sum(floor(extract(epoch FROM (v.document->>'acted_at')::timestamptz
                - (o.document->>'acted_at')::timestamptz) / 86400))::bigint
        FROM bench.events o
        JOIN bench.events v ON v.document->>'case_id' = o.document->>'case_id'
        WHERE o.document->>'kind' = 'case_opened' AND v.document->>'kind' = 'victim_identified'
        GROUP BY 1 ORDER BY 1""",
    ),
}
"""Each as DuckDB and as PostgreSQL is asked."""


def export(conninfo: str, directory: Path) -> dict[str, float]:
    """Run the command as an analyst does. Return its time and its peak memory."""
    command = [sys.executable, "-c", "from api.cli import app; app()", "export", "--json"]
    began, peak = time.perf_counter(), 0
    with subprocess.Popen(
        [*command, "--parquet", str(directory)],
        env=os.environ | {"CASE_LEDGER_DATABASE_URL": conninfo},
        stdout=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None:
            peak = max(peak, proportional_bytes(process.pid))
            time.sleep(0.1)
    if process.returncode:
        raise RuntimeError("the export failed")
    return {"seconds": time.perf_counter() - began, "peak_bytes": peak}


def load_jsonb(conninfo: str, columns: Path) -> dict[str, float]:
    """Load the same events as documents into one table."""
    began = time.perf_counter()
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS bench CASCADE")
        connection.execute("CREATE SCHEMA bench")
        connection.execute(
            "CREATE TABLE bench.events (position bigint PRIMARY KEY, document jsonb NOT NULL)"
        )
        with connection.cursor().copy("COPY bench.events FROM STDIN") as copy:
            for position, document in documents(columns):
                copy.write_row((position, document))
        connection.execute("VACUUM (ANALYZE) bench.events")
        row = connection.execute("SELECT pg_total_relation_size('bench.events')").fetchone()
    assert row is not None
    return {"seconds": time.perf_counter() - began, "bytes": row[0]}


def multiply_jsonb(conninfo: str, upto: int, times: int) -> int:
    """Every case so many times in the table of documents. Returns the bytes that it takes."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for n in range(1, times):
            connection.execute(
                "INSERT INTO bench.events SELECT position + %(on)s, document || jsonb_build_object("
                "'position', position + %(on)s,"
                " 'case_id', md5((document->>'case_id') || %(n)s)::uuid)"
                " FROM bench.events WHERE position <= %(upto)s",
                {"on": n * upto, "n": str(n), "upto": upto},
            )
        connection.execute("VACUUM (ANALYZE) bench.events")
        row = connection.execute("SELECT pg_total_relation_size('bench.events')").fetchone()
    assert row is not None
    return int(row[0])


def multiply_columns(columns: Path, into: Path, times: int) -> Manifest:
    """Every case so many times in an export's tables of actions, in as many files more."""
    manifest = existing_manifest(columns)
    events = [file for file in manifest.files if file.table.startswith("events/")]
    files = []
    with connect(into / "spill") as duckdb:
        for n, file in product(range(times), events):
            path = into / str(n) / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if n == 0:
                shutil.copy(columns / file.path, path)
            else:
                groups = parquet.read_metadata(columns / file.path).num_row_groups
                read = duckdb.read_parquet(str(columns / file.path), hive_partitioning=False)
                again = read.project(
                    f"* REPLACE (position + {n * manifest.upto} AS position,"
                    f" CAST(CAST(md5(case_id || '{n}') AS UUID) AS VARCHAR) AS case_id)"
                )
                again.write_parquet(
                    str(path),
                    compression="zstd",
                    row_group_size=max(2_048, -(-file.rows // groups)),
                )
            on = n * manifest.upto
            files.append(
                file.model_copy(
                    update={
                        "path": path.relative_to(into).as_posix(),
                        "first": file.first + on,
                        "last": file.last + on,
                        "bytes": path.stat().st_size,
                    }
                )
            )
    return manifest.model_copy(update={"files": tuple(files), "upto": manifest.upto * times})


def documents(columns: Path) -> Iterator[tuple[int, str]]:
    """Each event as a document with what the export has of it."""
    with opened(Where(parquet=columns)) as events:
        for event in events.read(0, events.head):
            content = {name: getattr(event, name) for name in event.__slots__ if name != "fields"}
            content["fields"] = dict(event.fields)
            yield event.position, to_json(content, fallback=dict).decode()


def ask(conninfo: str, columns: Path, manifest: Manifest) -> list[dict[str, Any]]:
    """Every question to both, in turn."""
    found = []
    with psycopg.connect(conninfo) as postgres, connect() as duckdb:
        postgres.execute("SET TIME ZONE 'UTC'; SET jit = on; SET work_mem = '256MB'")
        postgres.execute("SET max_parallel_workers_per_gather = 8")
        put_tables(duckdb, columns, manifest)
        for question, (to_duckdb, to_postgres) in QUESTIONS.items():
            took: dict[str, list[float]] = {"duckdb": [], "postgres": []}
            for _ in range(ROUNDS):
                ours = timed(took["duckdb"], lambda q=to_duckdb: duckdb.execute(q).fetchall())
                theirs = timed(took["postgres"], lambda q=to_postgres: _rows(postgres, q))
                if ours != theirs:
                    raise RuntimeError(f"{question}: the answers differ")
            medians = {name: statistics.median(seconds) for name, seconds in took.items()}
            found.append(
                {
                    "question": question,
                    "rows": len(ours),
                    "seconds": took,
                    "times_faster": medians["postgres"] / medians["duckdb"],
                }
            )
            console.print(question, medians)
    return found


def timed(into: list[float], answer: Callable[[], list[Any]]) -> list[Any]:
    began = time.perf_counter()
    rows = answer()
    into.append(time.perf_counter() - began)
    return rows


def _rows(connection: Connection[Any], query: str) -> list[Any]:
    return connection.execute(query.encode()).fetchall()


def measure(directory: Path, size: int, times: int) -> dict[str, Any]:
    """All figures of a ledger of about ``size`` events, which grows by a hundredth meanwhile."""
    prepare(directory, size)
    shutil.rmtree(directory / f"columns_{size}", ignore_errors=True)
    columns = directory / f"columns_{size}"
    with serving(directory) as server:
        conninfo = database_of(server, size)
        before = machine.load()
        whole = export(conninfo, columns)
        first = existing_manifest(columns)
        nothing = export(conninfo, columns)
        with Progress(console=console) as progress:
            task = progress.add_task("Growing", total=first.upto + size // 100)
            grow(
                conninfo,
                agencies_of(directory),
                first.upto + size // 100,
                lambda n: progress.update(task, completed=n),
            )
        more = export(conninfo, columns)
        last = existing_manifest(columns)
        jsonb = load_jsonb(conninfo, columns)
        asked, asked_of = columns, last
        if times > 1:
            console.print(f"Each case {times} times")
            asked = directory / f"columns_{size}_{times}"
            shutil.rmtree(asked, ignore_errors=True)
            asked_of = multiply_columns(columns, asked, times)
            jsonb["bytes"] = multiply_jsonb(conninfo, last.upto, times)
        return {
            "events": last.upto,
            "asked_of_events": asked_of.upto,
            "export": whole | {"events": first.upto},
            "export_bytes_per_event": sum(file.bytes for file in last.files) / last.upto,
            "export_of_nothing_new": nothing,
            "export_of_what_is_new": more | {"events": last.upto - first.upto},
            "jsonb": jsonb | {"bytes_per_event": jsonb["bytes"] / asked_of.upto},
            "questions": ask(conninfo, asked, asked_of),
            "load": [before, machine.load()],
        }


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", default=Path("/tmp/case-ledger-columns"))
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args(words)
    arguments.directory.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": machine.describe(arguments.directory),
        **measure(arguments.directory, arguments.size, arguments.times),
    }
    arguments.results.parent.mkdir(exist_ok=True)
    arguments.results.write_text(json.dumps(content, indent=2) + "\n")
    console.print(f"Written to {arguments.results}")


if __name__ == "__main__":
    main()
