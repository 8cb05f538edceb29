"""Measure an import: its bulk path beside bare COPY of the same rows, and the steps before it.

    python -m benchmarks.importing [--rows 3000] [--rounds 5]

The bulk path records rows that are signed, verified and sealed: the lock of the one order, the
times, the exact bytes, leaf hashes, the tree and the vault, in transactions of about 2,000 events.
Beside it the same rows go by COPY, as bytes that were made before, in transactions of the same
size, into tables with the same columns and indexes and nothing else. What comes before the bulk
path is measured by itself, as the time that it takes of one core. Runs are interleaved and medians
compared, for the machines are noisy: only ratios carry over. Writes
benchmarks/results/importing.json.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import psycopg
from psycopg.sql import SQL
from rich.console import Console
from rich.table import Table

from api.cli.steps.building import expected
from api.importing.import_run import BATCH, Importer, Order
from api.runtime.schema import migrate_all
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.importing import preparing
from ledger.importing.import_map import load_map
from ledger.importing.mapping import Mapper
from ledger.importing.preparing import ImportRow, Preparer, ReadyCase, Signer
from ledger.importing.recording import record_cases
from ledger.signing import signed_action
from ledger.signing.country_key import FileCountryKey
from ledger.signing.keys import from_public, public_part
from ledger.store.database import Database
from ledger.store.embedded import EmbeddedServer
from ledger.store.event_rows import Guard
from ledger.vault.data_keys import DataKeys
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.htcds import MAP, rows, write_csv

RESULTS = Path(__file__).parent / "results" / "importing.json"
AGENCY = "xk-nac"
CHUNK = 2_000
"""Events of one transaction, as the command has it."""
EVENTS = "ledger.events"
DATA_KEYS = "data keys"
DISCLOSURES = "vault_xk.disclosures"
console = Console()


class Clock:
    """Adds up what single functions take of the processor, while they are patched in."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*args: Any, **named: Any) -> Any:
            began, at = time.process_time(), time.perf_counter()
            try:
                return work(*args, **named)
            finally:
                self.seconds[name] += time.process_time() - began
                if name == DATA_KEYS:
                    self.seconds[f"{name}, with the disk"] += time.perf_counter() - at

        return measured


def prepare(
    agencies: Agencies, number: int, directory: Path
) -> tuple[list[ReadyCase], dict[str, float]]:
    """Cases that are ready to be recorded, and the processor's seconds that each part took."""
    key = agencies.keys[AGENCY]
    signer = Signer(AGENCY, key, from_public(public_part(key)), agencies.protocol)
    keys = DataKeys(directory, "XK", FileCountryKey.generate())
    mapper = Mapper(load_map(MAP.encode(), Path("map")), "XK")
    clock, ready = Clock(), []
    preparer = Preparer(uuid4(), signer, mapper, keys)
    content = [ImportRow(index, row) for index, row in enumerate(rows(number), 2)]
    began = time.process_time()
    with (
        patch.object(signed_action, "sign", clock.timed("sign", signed_action.sign)),
        patch.object(signed_action, "verify", clock.timed("verify", signed_action.verify)),
        patch.object(keys, "make_all", clock.timed(DATA_KEYS, keys.make_all)),
        patch.object(preparing, "seal_all", clock.timed("seal", preparing.seal_all)),
    ):
        for at in range(0, number, BATCH):
            prepared = preparer.prepare(content[at : at + BATCH])
            assert not prepared.refused
            ready += prepared.ready
    whole = time.process_time() - began
    parts = dict(clock.seconds)
    waiting = parts.pop(f"{DATA_KEYS}, with the disk")
    parts["read, build, check and decide"] = whole - sum(parts.values())
    parts[f"{DATA_KEYS}, with the disk"] = waiting
    return ready, parts


def in_chunks(cases: Sequence[ReadyCase]) -> Iterator[list[ReadyCase]]:
    chunk: list[ReadyCase] = []
    for case in cases:
        chunk.append(case)
        if sum(len(one.events) for one in chunk) >= CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


@contextmanager
def fresh(server: str, agencies: Agencies) -> Iterator[tuple[str, Guard]]:
    with new_database(server) as conninfo:
        migrate_all(conninfo, agencies.protocol)
        with Ledger(environment(conninfo)) as ledger:
            agencies.begin(ledger)
            registry = ledger.adopted()
        yield conninfo, Guard(registry.ledger_id, registry.version)


def record(conninfo: str, guard: Guard, chunks: Sequence[Sequence[ReadyCase]]) -> float:
    """Seconds that the bulk path takes."""
    with Database(conninfo, max_size=1) as database:
        with database.connection():
            pass  # connected before the clock runs
        began = time.perf_counter()
        for chunk in chunks:
            record_cases(database, "XK", chunk, guard, lambda _: None)
        return time.perf_counter() - began


def copied_out(conninfo: str, table: str, where: str, sizes: Sequence[int]) -> list[bytes]:
    """Return the rows as COPY writes them, in parts of these sizes."""
    parts, offset = [], 0
    with psycopg.connect(conninfo) as connection, connection.cursor() as cursor:
        for size in sizes:
            query = f"SELECT * FROM {table} {where} LIMIT {size} OFFSET {offset}"
            with cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT binary)") as copy:  # type: ignore[arg-type]
                parts.append(b"".join(bytes(block) for block in copy))
            offset += size
    return parts


def copy_in(conninfo: str, like: str, parts: Sequence[bytes], *, indexes: bool) -> float:
    """Seconds that COPY takes into a table that has the same columns, and its indexes or none."""
    with psycopg.connect(conninfo, autocommit=True) as connection, connection.cursor() as cursor:
        connection.execute("DROP TABLE IF EXISTS public.bare")
        including = " INCLUDING ALL" if indexes else ""
        connection.execute(f"CREATE TABLE public.bare (LIKE {like}{including})")  # type: ignore[arg-type]
        began = time.perf_counter()
        for part in parts:
            with cursor.copy(SQL("COPY public.bare FROM STDIN (FORMAT binary)")) as copy:
                copy.write(part)
        return time.perf_counter() - began


def measure_recording(
    server: str, agencies: Agencies, cases: Sequence[ReadyCase], rounds: int
) -> dict[str, float]:
    """Median seconds of each way to write the same rows."""
    chunks = list(in_chunks(cases))
    without = [[case._replace(deposits=[]) for case in chunk] for chunk in chunks]
    events = [sum(len(case.events) for case in chunk) for chunk in chunks]
    disclosed = [sum(len(one.rows) for case in chunk for one in case.deposits) for chunk in chunks]
    found: dict[str, list[float]] = defaultdict(list)
    for turn in range(rounds):
        with fresh(server, agencies) as (conninfo, guard):
            found["bulk path"].append(record(conninfo, guard, chunks))
            first = f"WHERE notification_id > {guard.version} ORDER BY notification_id"
            of_events = copied_out(conninfo, EVENTS, first, events)
            of_vault = copied_out(conninfo, DISCLOSURES, "ORDER BY received_at", disclosed)
            ways = [
                ("COPY of events", EVENTS, of_events, True),
                ("COPY of disclosures", DISCLOSURES, of_vault, True),
                ("COPY of events, no index", EVENTS, of_events, False),
                ("COPY of disclosures, no index", DISCLOSURES, of_vault, False),
            ]
            for what, like, parts, indexes in ways[turn % 4 :] + ways[: turn % 4]:
                found[what].append(copy_in(conninfo, like, parts, indexes=indexes))
        with fresh(server, agencies) as (conninfo, guard):
            found["bulk path, events alone"].append(record(conninfo, guard, without))
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def measure_whole(server: str, agencies: Agencies, number: int, directory: Path) -> float:
    """Seconds of a whole import on every core, from file to ledger."""
    source = write_csv(directory / "cases.csv", rows(number, seed=1))
    order = Order(
        source=source,
        agency=AGENCY,
        private=agencies.keys[AGENCY],
        import_map=load_map(MAP.encode(), Path("map")),
        map_digest="",
        errors=directory / "errors",
    )
    with fresh(server, agencies) as (conninfo, _):
        settings = Settings(data_directory=directory / "data")
        with Ledger(environment(conninfo)) as ledger, Database(conninfo) as database:
            importer = Importer(settings, ledger, database, order, expected)
            began = time.perf_counter()
            summary = importer.run()
            assert summary.mark.recorded == number
            return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    agencies = Agencies()
    with tempfile.TemporaryDirectory(prefix="case-ledger-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        server = EmbeddedServer(directory / "postgresql")
        try:
            cases, before = prepare(agencies, given.rows, directory / "keys")
            seconds = measure_recording(server.conninfo, agencies, cases, given.rounds)
            whole = measure_whole(server.conninfo, agencies, given.rows, directory)
        finally:
            server.stop()
    events = sum(len(case.events) for case in cases)
    disclosures = sum(len(one.rows) for case in cases for one in case.deposits)
    size = sum(len(event.sd_jwt) for case in cases for event in case.events) / events
    bare = seconds["COPY of events"] + seconds["COPY of disclosures"]
    heap = seconds["COPY of events, no index"] + seconds["COPY of disclosures, no index"]
    bulk, alone = seconds["bulk path"], seconds["bulk path, events alone"]
    signatures = ("sign", "verify", DATA_KEYS)  # of data keys the wait for the disk counts too
    unsigned = sum(took for part, took in before.items() if part not in signatures) + bulk
    ratios = {
        "bulk path : COPY of the same events and disclosures": bare / bulk,
        "bulk path : COPY of the same without indexes": heap / bulk,
        "bulk path, vault and all : COPY of its events alone": seconds["COPY of events"] / bulk,
        "events alone : COPY of the same events": seconds["COPY of events"] / alone,
        "events alone : COPY of the same without indexes": seconds["COPY of events, no index"]
        / alone,
        "all but signing and verifying, on one core : COPY of the same": bare / unsigned,
    }
    table = Table("Writing", "events a second", "microseconds an event")
    for what, took in seconds.items():
        table.add_row(what, f"{events / took:,.0f}", f"{took / events * 1e6:.1f}")
    console.print(table)
    table = Table("Beside COPY", "ratio")
    for what, ratio in ratios.items():
        table.add_row(what, f"{ratio:.2f}")
    console.print(table)
    table = Table("Before it, of one core", "microseconds an event")
    for what, took in before.items():
        table.add_row(what, f"{took / events * 1e6:.0f}")
    console.print(table)
    console.print(
        f"{given.rows} rows: {events} events of {size:.0f} bytes, {disclosures} disclosures. "
        f"A whole import: {given.rows / whole:,.0f} rows and {events / whole:,.0f} events a second."
    )
    machine = {"cores": os.cpu_count(), "python": platform.python_version(),
               "machine": platform.machine(), "load": os.getloadavg()[1]}  # fmt: skip
    found = {
        "machine": machine,
        "rows": given.rows,
        "rounds": given.rounds,
        "events": events,
        "disclosures": disclosures,
        "bytes_signed": size,
        "microseconds_an_event": {w: took / events * 1e6 for w, took in seconds.items()},
        "before_microseconds_an_event": {w: took / events * 1e6 for w, took in before.items()},
        "ratios": ratios,
        "whole": {"rows_a_second": given.rows / whole, "events_a_second": events / whole},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
