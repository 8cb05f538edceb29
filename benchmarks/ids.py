"""Measure appends to a small and to a large ledger, with random ids and with ids in order of time.

    python -m benchmarks.ids [--size 10000000] [--rounds 5] [--seconds 4] [--directory DIRECTORY]

Each ledger is filled by SQL: its indexes are as large as those of signed events, its contents are
short and mean nothing. Then writers append to its recent cases, and open new ones, through the
recorder. Runs are interleaved and medians compared; only ratios carry over. Writes
benchmarks/results/ids.json.
"""

import argparse
import json
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Literal
from rich.console import Console
from rich.progress import track
from rich.table import Table

from api.runtime.node_database import create_database
from api.runtime.schema import migrate_all
from benchmarks import machine
from ledger.application import Ledger, environment
from ledger.events.event_mapper import UnsealedEvent
from ledger.log.merkle import HASH_SIZE
from ledger.store.embedded import EmbeddedServer
from ledger.system.identifiers import new_id
from tests.support.agencies import Agencies

RESULTS = Path(__file__).parent / "results" / "ids.json"
SMALL = 10_000
WRITERS = 8
CASE_LENGTH = 10
WAVE = 1_000
"""So many cases are under way at once: a case has one event in so many."""
RECENT = 0.01
"""The part of all cases that is appended to."""
_CONTENT = bytes(700)
console = Console()

# Numbers of events become cases in waves: 1,000 cases get their first event, then their second, …
# An id is made of a hash; one in order of time begins with milliseconds instead.
_FILL = SQL("""
INSERT INTO ledger.events (notification_id, originator_id, originator_version, topic, state,
    action_id, recorded_at, leaf_hash)
SELECT n, {case_id}, (n - 1) / {wave} % {length} + 1, 'risk_assessed',
    decode(repeat('5a', 200), 'hex'), {action_id},
    '2020-01-01Z'::timestamptz + n * '10 ms'::interval, sha256(n::text::bytea)
FROM (SELECT n, (n - 1) / ({wave} * {length}) * {wave} + (n - 1) % {wave} AS c
    FROM generate_series({first}, {last}) n) numbered
""")
_RANDOM = "md5('{0}' || {1})::uuid"
_TIMED = (
    "(lpad(to_hex(1577836800000 + {1} * {2}), 12, '0') || '7' ||"
    " substr(md5('{0}' || {1}), 1, 3) || 'a' || substr(md5('{0}' || {1}), 4, 15))::uuid"
)
_STEP = 500_000
_INDEXES = ("events_case_version", "events_action_id")


def fill(conninfo: str, size: int, form: str) -> None:
    """Fill an empty ledger with ``size`` events, whose ids have the form of one kind."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        for first in track(range(1, size + 1, _STEP), f"{size:,} events", console=console):
            named = {
                "case_id": SQL(form.format("case ", "c", 100)),
                "action_id": SQL(form.format("act ", "n", 10)),
                "wave": Literal(WAVE),
                "length": Literal(CASE_LENGTH),
                "first": Literal(first),
                "last": Literal(min(first + _STEP - 1, size)),
            }
            connection.execute(_FILL.format(**named))
        peaks = bytes(HASH_SIZE * size.bit_count())
        connection.execute("UPDATE ledger.head SET position = %s, frontier = %s", (size, peaks))
        connection.execute("VACUUM (ANALYZE) ledger.events")
        connection.execute("CHECKPOINT")


class Filled:
    """One ledger, with the cases that are appended to."""

    def __init__(self, conninfo: str, size: int, make: Callable[[], UUID]) -> None:
        self.conninfo, self.size, self.make = conninfo, size, make
        recent = max(WAVE, int(size / CASE_LENGTH * RECENT))
        with psycopg.connect(conninfo) as connection:
            found = connection.execute(
                "SELECT originator_id, max(originator_version) FROM ledger.events"
                " WHERE notification_id > %s GROUP BY 1",
                (size - recent * CASE_LENGTH,),
            ).fetchall()
        self.cases: dict[UUID, int] = dict(found)

    def append_for(self, seconds: float) -> float:
        """Return the events a second that writers append meanwhile, each with its own cases."""
        done = [0] * WRITERS
        known = list(self.cases)
        with Ledger(environment(self.conninfo, pool_size=WRITERS + 2)) as ledger:
            ledger.rows.insert_events([self._opening()])  # connects, and is not counted
            until = time.perf_counter() + seconds

            def write(writer: int) -> None:
                own, drawn = known[writer::WRITERS], random.Random(writer)
                while time.perf_counter() < until:
                    if done[writer] % CASE_LENGTH == 0:
                        event = self._opening()
                        own.append(event.originator_id)  # type: ignore[arg-type]
                    else:
                        event = self._next(drawn.choice(own))
                    ledger.rows.insert_events([event])
                    done[writer] += 1

            threads = [threading.Thread(target=write, args=(one,)) for one in range(WRITERS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return sum(done) / seconds

    def _opening(self) -> UnsealedEvent:
        case = self.make()
        self.cases[case] = 1
        return UnsealedEvent(case, 1, "case_opened", _CONTENT, self.make())

    def _next(self, case: UUID) -> UnsealedEvent:
        self.cases[case] += 1
        return UnsealedEvent(case, self.cases[case], "risk_assessed", _CONTENT, self.make())

    def index_bytes(self) -> int:
        """Return the bytes of the two indexes of ids."""
        with psycopg.connect(self.conninfo) as connection:
            found = connection.execute(
                "SELECT sum(pg_relation_size('ledger.' || name)) FROM unnest(%s::text[]) name",
                (list(_INDEXES),),
            ).fetchone()
        return int(found[0]) if found else 0


@contextmanager
def serving(under: Path | None) -> Iterator[str]:
    """Start a private PostgreSQL, and remove it with its ledgers in the end."""
    with tempfile.TemporaryDirectory(prefix="case-ledger-ids-", dir=under) as directory:
        Path(directory).chmod(0o755)
        server = EmbeddedServer(Path(directory) / "postgresql")
        try:
            yield server.conninfo
        finally:
            server.stop()


def measure(server: str, size: int, rounds: int, seconds: float) -> dict[str, object]:
    protocol = Agencies().protocol
    kinds: dict[str, tuple[str, Callable[[], UUID]]] = {
        "random": (_RANDOM, uuid4),
        "in order of time": (_TIMED, new_id),
    }
    ledgers: dict[tuple[str, int], Filled] = {}
    for events in (SMALL, size):
        for name, (form, make) in kinds.items():
            database = f"ids_{events}_{len(ledgers)}"
            create_database(server, database)
            conninfo = make_conninfo(server, dbname=database)
            migrate_all(conninfo, protocol)
            fill(conninfo, events, form)
            ledgers[name, events] = Filled(conninfo, events, make)
    rates: dict[tuple[str, int], list[float]] = {place: [] for place in ledgers}
    for number in track(range(rounds + 1), "Appending", console=console):
        for place, ledger in ledgers.items():
            rate = ledger.append_for(seconds)
            if number:  # the first round fills the memory
                rates[place].append(rate)
    median = {place: statistics.median(found) for place, found in rates.items()}
    return {
        name: {
            "appends_small": round(median[name, SMALL]),
            "appends_large": round(median[name, size]),
            "large_of_small": round(median[name, size] / median[name, SMALL], 3),
            "index_bytes": round(ledgers[name, size].index_bytes() / size, 1),
            "runs_small": [round(one) for one in rates[name, SMALL]],
            "runs_large": [round(one) for one in rates[name, size]],
        }
        for name in kinds
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--size", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--directory", type=Path, help="where the ledgers lie meanwhile")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    began, before = datetime.now(UTC), machine.load()
    with serving(given.directory) as server:
        found = measure(server, given.size, given.rounds, given.seconds)
        described = machine.describe(given.directory or Path(tempfile.gettempdir()))
    table = Table("Ids", f"appends/s at {SMALL:,}", f"at {given.size:,}", "ratio", "index bytes")
    for name, one in found.items():
        values = dict(one)  # type: ignore[call-overload]
        table.add_row(
            name,
            f"{values['appends_small']:,}",
            f"{values['appends_large']:,}",
            f"{values['large_of_small']:.2f}",
            f"{values['index_bytes']:.0f}",
        )
    console.print(table)
    given.output.write_text(
        json.dumps(
            {
                "machine": {**described, "load_before": before, "load_after": machine.load()},
                "measured": {
                    "began": began.isoformat(timespec="seconds"),
                    "small": SMALL,
                    "large": given.size,
                    "writers": WRITERS,
                    "rounds": given.rounds,
                    "seconds_each": given.seconds,
                },
                "ids": found,
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
