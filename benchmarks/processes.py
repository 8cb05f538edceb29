"""Appends by several processes of one node: what the second process and the next ones give.

    python -m benchmarks.processes [--processes 1,2,4] [--writers 8,32] [--rounds 5] [--seconds 1.5]

Every process has a recorder and its share of the writers, as the request processes of a node have.
The number of processes changes from run to run within a round, so only ratios of one line count.
Beside events a second it counts groups (transactions that appended), statements of these groups,
and CPU seconds of the processes for an event. Writes benchmarks/results/processes.json.
"""

import argparse
import json
import multiprocessing
import platform
import resource
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.peers.case_ledger import LedgerStore
from benchmarks.peers.events import CASE_LENGTH, Case, signed_case, unsigned_cases
from benchmarks.peers.servers import Servers
from ledger.application import Ledger, environment
from ledger.events.event_mapper import UnsealedEvent
from tests.support.agencies import Agencies

RESULTS = Path(__file__).parent / "results" / "processes.json"
_EVENTS_A_SECOND = 12_000
_FORKS = multiprocessing.get_context("fork")
console = Console()


def append(
    conninfo: str, shares: Sequence[Sequence[Case]], seconds: float, starting: Any, to: Connection
) -> None:
    """Append with one thread for each share of cases, and send what was done."""
    done = [0] * len(shares)
    with Ledger(environment(conninfo, pool_size=2)) as ledger:
        groups: list[int] = []
        work = ledger.rows._appends._work

        def counted(items: Sequence[Any]) -> Any:
            groups.append(len(items))
            return work(items)

        ledger.rows._appends._work = counted
        ledger.rows.max_notification_id()
        until = [0.0]

        def write(writer: int) -> None:
            for case in shares[writer]:
                for e in case:
                    if time.perf_counter() > until[0]:
                        return
                    event = UnsealedEvent(e.case_id, e.version, e.kind, e.content, e.action_id)
                    ledger.rows.append([event])
                    done[writer] += 1

        threads = [threading.Thread(target=write, args=(w,)) for w in range(len(shares))]
        starting.wait()
        began, used = time.perf_counter(), _cpu_seconds()
        until[0] = began + seconds
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - began
        to.send((sum(done), len(groups), elapsed, _cpu_seconds() - used))


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(
    store: LedgerStore, cases: Sequence[Case], processes: int, writers: int, seconds: float
) -> dict[str, float]:
    """Append by so many processes with so many writers in all, on an empty ledger."""
    conninfo = store._begin(1)
    try:
        starting = _FORKS.Barrier(processes)
        running = []
        for place in range(processes):
            ours, theirs = _FORKS.Pipe(duplex=False)
            shares = [cases[writer::writers] for writer in range(place, writers, processes)]
            process = _FORKS.Process(
                target=append, args=(conninfo, shares, seconds, starting, theirs)
            )
            process.start()
            theirs.close()
            running.append((process, ours))
        told = [ours.recv() for _, ours in running]
        for process, _ in running:
            process.join()
        events = sum(one[0] for one in told)
        store._ledger.rows.forget()
        if store._ledger.head() - store._begun_at != events:
            raise RuntimeError("the ledger has another number of events than were acknowledged")
        groups = sum(one[1] for one in told)
        return {
            "events a second": events / max(one[2] for one in told),
            "events in a group": events / groups,
            "CPU microseconds an event": 1e6 * sum(one[3] for one in told) / events,
        }
    finally:
        store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--processes", default="1,2,4")
    parser.add_argument("--writers", default="8,32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    numbers = [int(number) for number in given.processes.split(",")]
    agencies = Agencies()
    needed = int(_EVENTS_A_SECOND * given.seconds) // CASE_LENGTH
    signed = [signed_case(agencies) for _ in range(20)]
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    with tempfile.TemporaryDirectory(prefix="case-ledger-bench-") as name:
        Path(name).chmod(0o755)
        with Servers(Path(name)) as servers:
            store = LedgerStore(servers, agencies)
            described = machine.describe(servers.directory)
            for _ in range(given.rounds):
                for writers in map(int, given.writers.split(",")):
                    for processes in numbers:
                        if processes > writers:
                            continue
                        cases = [*islice(unsigned_cases(signed), needed)]
                        said = measure(store, cases, processes, writers, given.seconds)
                        of = found.setdefault(f"{writers} writers", {})
                        of = of.setdefault(f"{processes} processes", {})
                        for what, value in said.items():
                            of.setdefault(what, []).append(value)
    medians = {
        writers: {
            processes: {what: median(values) for what, values in of.items()}
            for processes, of in by_processes.items()
        }
        for writers, by_processes in found.items()
    }
    table = Table("", "processes", "events/s", "of one", "events in a group", "CPU µs an event")
    for writers, by_processes in medians.items():
        first = next(iter(by_processes.values()))["events a second"]
        for processes, of in by_processes.items():
            rate, group, cpu = of.values()
            table.add_row(
                writers, processes, f"{rate:,.0f}", f"{rate / first:.2f}", f"{group:.1f}",
                f"{cpu:.0f}",
            )  # fmt: skip
    console.print(table)
    given.output.write_text(
        json.dumps(
            {
                "machine": {**described, "python": platform.python_version()},
                "measured": {
                    "began": datetime.now(UTC).isoformat(timespec="seconds"),
                    "rounds": given.rounds,
                    "seconds_each": given.seconds,
                },
                "appends": medians,
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
