"""Measure a growing ledger: appends, rebuilds, disk and readings at 10^4 to 10^7 events.

    python -m benchmarks.growth prepare DIRECTORY --sizes 10000,100000
    python -m benchmarks.growth measure DIRECTORY --sizes 10000,100000
    python -m benchmarks.growth plot

``prepare`` makes ledgers, or takes smaller ones from a larger (``--larger``), each in a database
of its own of a private PostgreSQL under DIRECTORY. ``measure`` writes
benchmarks/results/growth.json and docs/growth.svg; sizes that are in that file are not rebuilt
again. At 10^7 events this takes hours and 40 GB; remove DIRECTORY when done.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import psycopg
from joserfc.jwk import OKPKey
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.progress import Progress

from api.runtime.node_database import create_database
from api.runtime.schema import migrate_all
from benchmarks import machine
from benchmarks.growth_plot import plot
from benchmarks.synthetic import VARIETY, Maker, grow
from ledger.application import Ledger, environment
from ledger.events.event_mapper import UnsealedEvent
from ledger.procedure.case import Case
from ledger.store.database import Database
from ledger.store.datastore import LedgerDatastore
from ledger.store.embedded import EmbeddedServer
from projections.folds.case_folder import CaseStep
from projections.folds.state_json import StateDocuments
from projections.tables.all_views import VIEWS
from projections.tables.view import PROJECTOR_ROLE, SLOTS, EventHistory
from projections.tables.view_queries import ViewReader
from tests.support.agencies import Agencies

RESULTS = Path(__file__).parent / "results" / "growth.json"
WRITERS = 8
SAMPLE = 300
"""Events that are folded one by one through the library's repository."""
ROUNDS = 8
READINGS = 250
"""Case views read in a round."""
console = Console()
_WHILE_LOADING = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "4GB"}
"""What is lost with power while a ledger is made is made again."""


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Start the private PostgreSQL that has the ledgers."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    server = EmbeddedServer(directory / "postgresql")
    try:
        yield server.conninfo
    finally:
        server.stop()


def agencies_of(directory: Path) -> Agencies:
    """Return the agencies with their keys, the same for every ledger here."""
    file = directory / "agencies.json"
    if not file.exists():
        made = {name: key.as_dict(private=True) for name, key in Agencies().keys.items()}
        file.write_text(json.dumps(made))
    kept = json.loads(file.read_text())
    return Agencies(keys={name: OKPKey.import_key(key) for name, key in kept.items()})


def database_of(server: str, size: int) -> str:
    return make_conninfo(server, dbname=f"growth_{size}")


def prepare(directory: Path, size: int, larger: int | None = None) -> None:
    """Make the ledger of ``size`` events, or go on with it: as the beginning of a ``larger``."""
    with serving(directory) as server:
        agencies, conninfo = agencies_of(directory), database_of(server, size)
        create_database(server, f"growth_{size}")
        migrate_all(conninfo, agencies.protocol)
        configure(server, _WHILE_LOADING)
        with Ledger(environment(conninfo)) as ledger:
            if ledger.head() == 0 and larger is not None:
                copy_prefix(database_of(server, larger), conninfo, size)
            elif ledger.head() == 0:
                agencies.begin(ledger)
        with Progress(console=console) as progress:
            task = progress.add_task(f"Making {size:,} events", total=size)
            grow(conninfo, agencies, size, lambda n: progress.update(task, completed=n))
        configure(server, dict.fromkeys(_WHILE_LOADING))
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE) ledger.events")
            connection.execute("CHECKPOINT")


def copy_prefix(source: str, target: str, size: int) -> None:
    """Copy the first events of another ledger, without their tree."""
    columns = (
        "notification_id, originator_id, originator_version, topic, state, action_id,"
        " recorded_at, leaf_hash"
    )
    reading = f"SELECT {columns} FROM ledger.events WHERE notification_id <= {size}"
    with psycopg.connect(source) as read, psycopg.connect(target) as write:
        write.execute("SET session_replication_role = replica")
        with (
            read.cursor().copy(f"COPY ({reading}) TO STDOUT (FORMAT BINARY)".encode()) as out,
            write.cursor().copy(
                f"COPY ledger.events ({columns}) FROM STDIN (FORMAT BINARY)".encode()
            ) as into,
        ):
            for block in out:
                into.write(block)


def configure(server: str, settings: dict[str, str | None] | dict[str, str]) -> None:
    """Set, or reset where ``None``, what the server is told."""
    with psycopg.connect(server, autocommit=True) as connection:
        for name, value in settings.items():
            said = (
                f"ALTER SYSTEM RESET {name}"
                if value is None
                else (f"ALTER SYSTEM SET {name} = '{value}'")
            )
            connection.execute(said.encode())
        connection.execute("SELECT pg_reload_conf()")


@dataclass
class Measured:
    """The figures of the ledger of one size."""

    size: int
    events_bytes: int
    """Per event, the table with its indexes."""
    events_indexes_bytes: int
    views_bytes: int = 0
    """Per event, of all views with their indexes."""
    rebuild: dict[str, float] = field(default_factory=dict)
    one_by_one: list[float] = field(default_factory=list)
    """Events a second, each folded through the library's repository and written by itself."""
    each_case_once: list[float] = field(default_factory=list)
    """Events a second, each case folded once through the repository, and nothing written."""
    appends: list[float] = field(default_factory=list)
    """Events a second."""
    readings: list[float] = field(default_factory=list)
    """Seconds for one case view that nobody read lately: of a large ledger, some is on the disk."""
    readings_again: list[float] = field(default_factory=list)
    """Of the same cases once more, as of those that people work on."""
    load: list[float] = field(default_factory=list)
    """Processes that wanted to run while this was measured."""


def measure(directory: Path, sizes: Sequence[int], minutes: float) -> list[Measured]:
    """All figures; those of a moment in turn over the sizes, since machines are noisy."""
    with serving(directory) as server:
        agencies, known = agencies_of(directory), earlier()
        found: list[Measured] = []
        for size in sizes:
            if size in known:
                found.append(known[size])
                continue
            conninfo = database_of(server, size)
            measured = Measured(size, *measure_events(conninfo))
            found.append(measured)
            console.print(f"{size:,} events: rebuilding")
            measure_repository(conninfo, measured)
            measured.load.append(machine.load())
            measured.rebuild = measure_rebuild(conninfo, size, minutes)
            measured.load.append(machine.load())
            measure_repository(conninfo, measured)
            if measured.rebuild["finished"]:
                measured.views_bytes = measure_views(conninfo, size)
            elif found[:-1]:
                smaller = found[-2].size
                multiply_views(database_of(server, smaller), conninfo, size // smaller)
            console.print(summary(measured))
            save(directory, found)
        for _ in range(ROUNDS):
            for measured in found:
                measure_readings(database_of(server, measured.size), measured)
        for _ in range(3):
            for measured in found:
                measure_appends(database_of(server, measured.size), agencies, measured)
    save(directory, found)
    return found


def measure_events(conninfo: str) -> tuple[int, int]:
    """Bytes per event: the table with its indexes, and these alone."""
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(
            "SELECT pg_total_relation_size('ledger.events'), pg_indexes_size('ledger.events'),"
            " count(*) FROM ledger.events"
        ).fetchone()
    assert row is not None
    return row[0] // row[2], row[1] // row[2]


def measure_views(conninfo: str, size: int) -> int:
    """Bytes per event of what is live of every view."""
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute(
            "SELECT pg_total_relation_size(('views.' || name || '_' || live_slot)::regclass)"
            " FROM views.projections"
        ).fetchall()
    return int(sum(row[0] for row in rows)) // size


def measure_rebuild(conninfo: str, size: int, minutes: float) -> dict[str, float]:
    """Run the command as an operator does. Return its time and the memory of all its processes.

    It is killed after so many minutes; then the events that it had folded count.
    """
    command = [sys.executable, "-c", "from api.cli import app; app()", "rebuild", "--all", "--json"]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    peak, folded_before = 0, trail_rows(conninfo)
    with subprocess.Popen(
        command,
        env=os.environ | {"CASE_LEDGER_DATABASE_URL": conninfo},
        stdout=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(proportional_bytes, with_descendants(process.pid))))
            if time.perf_counter() - began > 60 * minutes:
                break
            time.sleep(0.5)
        seconds, finished = time.perf_counter() - began, process.poll() is not None
        # What is counted comes a little late, and by parts that are done: neither is much here.
        folded = size if finished else trail_rows(conninfo) - folded_before
        process.terminate()
    if finished and process.returncode:
        raise RuntimeError("the rebuild failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "finished": finished,
        "events": folded,
        "seconds": seconds,
        "events_per_second": folded / seconds,
        "peak_bytes": peak,
        "cpu_seconds_per_event": spent / folded,
    }


def trail_rows(conninfo: str) -> int:
    """Rows that were ever written to either slot of the trail."""
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(
            "SELECT sum(n_tup_ins) FROM pg_stat_user_tables WHERE relname LIKE 'audit_trail__'"
        ).fetchone()
    return int(row[0] or 0) if row else 0


def multiply_views(source: str, target: str, times: int) -> None:
    """Case views as a ledger so many times as large has, each case's again for others.

    Where there was no time to fold them; what reading one costs depends on how many there are.
    """
    unchanged = (
        "lead_agency, awaits_us, next_due, waits_for, waits_until, counted_as, has_request,"
        " has_basis, has_danger, document"
    )
    columns = (
        f"viewer, case_id, version, position, opened_position, status, stage, priority, {unchanged}"
    )
    with psycopg.connect(target) as connection:
        live = connection.execute("SELECT views.live_slot('case_views')").fetchone()
    assert live is not None
    reading = (
        f"SELECT '{live[0]}', {columns} FROM views.case_views"
        " WHERE slot = views.live_slot('case_views')"
    )
    with psycopg.connect(source) as read, psycopg.connect(target) as write:
        write.execute("TRUNCATE views.case_views")
        with (
            read.cursor().copy(f"COPY ({reading}) TO STDOUT".encode()) as out,
            write.cursor().copy(
                f"COPY views.case_views (slot, {columns}) FROM STDIN".encode()
            ) as into,
        ):
            for block in out:
                into.write(block)
        write.execute(
            f"INSERT INTO views.case_views (slot, {columns}) SELECT slot, viewer,"
            " md5(case_id::text || n)::uuid, version, position + n, opened_position + n, status,"
            f" stage, priority, {unchanged}"
            f" FROM views.case_views CROSS JOIN generate_series(1, {times - 1}) AS n"
        )
    with psycopg.connect(target, autocommit=True) as write:
        write.execute("VACUUM (ANALYZE) views.case_views")


def with_descendants(pid: int) -> Iterator[int]:
    """Yield a process, those that it started, and so on."""
    yield pid
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = file.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from with_descendants(int(child))


def proportional_bytes(pid: int) -> int:
    """Return a process's proportional set size (PSS) in bytes."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def measure_repository(conninfo: str, measured: Measured) -> None:
    """Measure a projection through the library's repository, on a part of the same ledger."""
    with Ledger(environment(conninfo)) as ledger:
        registry = ledger.adopted()
        project = Case.projector(registry.agreement)
        datastore = LedgerDatastore(conninfo, pool_size=4, role=PROJECTOR_ROLE)
        try:
            live = [view(datastore) for view in VIEWS.values()]
            beside = [
                type(view)(datastore, slot=next(s for s in SLOTS if s != view.slot))
                for view in live
            ]
            start = measured.size // 2
            events = EventHistory(datastore).page(start, SAMPLE)
            for view in beside:
                view.empty()
                view.begin_at(start)
            began = time.perf_counter()
            for event in events:
                case_id, version = event.originator_id, event.originator_version
                before = None
                if version > 1:
                    before = ledger.repository.get(
                        case_id, version=version - 1, projector_func=project
                    )
                after = project(before, [event])
                assert after is not None
                for view in beside:
                    view.record([CaseStep(event, before, after, registry, StateDocuments(2))])
            measured.one_by_one.append(len(events) / (time.perf_counter() - began))
            for view in beside:
                view.empty()
        finally:
            datastore.close()
        cases = {event.originator_id for event in events}
        began, folded = time.perf_counter(), 0
        for case_id in cases:
            folded += ledger.repository.get(case_id, projector_func=project).version
        measured.each_case_once.append(folded / (time.perf_counter() - began))


def measure_readings(conninfo: str, measured: Measured) -> None:
    """One case view each, of cases and countries at random; then the same ones again."""
    with Database(conninfo) as pool:
        reader = ViewReader(pool)
        with pool.connection() as connection:
            rows = connection.execute(
                "SELECT viewer, case_id FROM views.case_views TABLESAMPLE SYSTEM (%s)"
                " WHERE slot = views.live_slot('case_views') ORDER BY random() LIMIT %s",
                (min(100, 100 * 400 * READINGS / measured.size), READINGS + 50),
            ).fetchall()
        for taken in (measured.readings, measured.readings_again):
            for number, row in enumerate(rows):
                began = time.perf_counter()
                view = reader.case(row["viewer"], row["case_id"])
                took = time.perf_counter() - began
                assert view is not None
                if number >= 50:
                    taken.append(took)


def measure_appends(conninfo: str, agencies: Agencies, measured: Measured) -> None:
    """Single events appended by 8 writers at once, durably."""
    events = list(Maker(agencies).events(VARIETY * 10))
    shares: list[list[UnsealedEvent]] = [[] for _ in range(WRITERS)]
    for event in events:
        shares[event.originator_id.int % WRITERS].append(event)
    with Ledger(environment(conninfo, pool_size=WRITERS + 2)) as ledger:

        def write(share: list[UnsealedEvent]) -> None:
            for event in share:
                ledger.rows.insert_events([event])

        threads = [threading.Thread(target=write, args=(share,)) for share in shares]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        measured.appends.append(len(events) / (time.perf_counter() - began))


def earlier() -> dict[int, Measured]:
    """Read the file of figures by size, without the figures of a moment."""
    if not RESULTS.exists():
        return {}
    names = {f.name for f in fields(Measured)} - {"appends", "readings", "readings_again"}
    return {
        content["size"]: Measured(**{name: content[name] for name in names})
        for content in json.loads(RESULTS.read_text())["sizes"]
    }


def save(directory: Path, found: Sequence[Measured]) -> None:
    """Write the figures as JSON."""
    content = {
        "machine": machine.describe(directory),
        "sizes": [summary(measured) for measured in found],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(content, indent=2) + "\n")


def summary(measured: Measured) -> dict[str, Any]:
    """Medians, and the ratios that are aimed at."""
    content: dict[str, Any] = asdict(measured)
    for name in ("one_by_one", "each_case_once", "appends"):
        values = content[name]
        content[f"{name}_median"] = statistics.median(values) if values else None
    rate = measured.rebuild.get("events_per_second", 0.0)
    content["rebuild_to_one_by_one"] = rate / content["one_by_one_median"]
    content["rebuild_to_each_case_once"] = rate / content["each_case_once_median"]
    for name, called in (("readings", "reading"), ("readings_again", "reading_again")):
        taken = sorted(content.pop(name))
        if taken:
            content[f"{called}_p50_seconds"] = taken[len(taken) // 2]
            content[f"{called}_p95_seconds"] = taken[len(taken) * 95 // 100]
            content[name] = len(taken)
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("prepare", "measure", "plot"))
    parser.add_argument("directory", type=Path, nargs="?", default=Path("/tmp/case-ledger-growth"))
    parser.add_argument("--sizes", default="10000,100000,1000000,10000000")
    parser.add_argument("--larger", type=int, help="Take them from the ledger of this size.")
    parser.add_argument(
        "--minutes", type=float, default=600, help="For a rebuild, which is killed then."
    )
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    if arguments.what == "prepare":
        for size in sizes:
            prepare(arguments.directory, size, arguments.larger)
        return
    if arguments.what == "measure":
        measure(arguments.directory, sizes, arguments.minutes)
    plot(RESULTS)


if __name__ == "__main__":
    main()
