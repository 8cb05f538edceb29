"""Appends and sequential reads: this project beside other stores, in one table and one plot.

    benchmarks/run [--rounds 5] [--seconds 1.5] [--only NAME] [--quick] [--table] [--install]

Every store is given the same signed events and asked for the same durability. Runs are
interleaved, each with an empty store: in a round each store takes its turn at a workload before
the next workload begins. Only ratios carry over to other machines.

A whole run writes benchmarks/results/appends.json and appends.svg, and the table into
benchmarks/README.md. One with --only or --quick writes nothing unless --output
says where.
Nothing here fails because a figure is low.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress import TaskID as Task

from benchmarks import machine, report
from benchmarks.peers import all_peers
from benchmarks.peers.events import CASE_LENGTH, Case, signed_case, unsigned_cases
from benchmarks.peers.peer import BATCHES, READING, WORKLOADS, Given, Peer, Workload
from benchmarks.peers.servers import Servers
from benchmarks.report import Outcome, Results, Row
from ledger.system.gc_tuning import SERVING, collect_seldom
from tests.support.agencies import Agencies

SIGNED_A_SECOND = 4_000
GIVEN_A_SECOND = 20_000
"""So many events are made ready for each second of a run. Where a store takes them faster, its
run ends earlier."""
_LEAST_CASES = 100
_LEAST_GIVEN = 1000
_READ_SECONDS = 0.5
console = Console(width=None if sys.stdout.isatty() else 120)


def append(
    peer: Peer, workload: Workload, cases: Sequence[Case], seconds: float
) -> tuple[float, int]:
    """Events a second that ``peer`` appends, and how many it has then.

    It is open and empty, and each writer's cases are its own.
    """
    writers = workload.writers
    done, first, stop = [0] * writers, [0] * writers, threading.Event()
    failures: list[Exception] = []
    began = 0.0

    def begin() -> None:
        nonlocal began
        began = time.perf_counter()

    ready = threading.Barrier(writers, action=begin)

    def write(writer: int) -> None:
        try:
            groups = _groups(cases[writer::writers], workload.batch)
            group = next(groups)
            peer.append(writer, group)  # connects and prepares; not measured
            first[writer] = len(group)
            ready.wait()
            for group in groups:
                peer.append(writer, group)
                done[writer] += len(group)
                if stop.is_set() or time.perf_counter() - began > seconds:
                    break
            # Whoever has no more to write ends it for all, lest fewer writers count as many.
            stop.set()
        except threading.BrokenBarrierError:
            pass  # another writer failed, and says why
        except Exception as error:
            failures.append(error)
            stop.set()
            ready.abort()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - began
    if failures:
        raise failures[0]
    return sum(done) / elapsed, sum(done) + sum(first)


def read(peer: Peer, appended: int) -> float:
    """Events a second that ``peer`` reads from the first to the last, again and again.

    Raises ``RuntimeError`` where they are not as many as were appended.
    """
    began = time.perf_counter()
    times, elapsed = 0, 0.0
    while elapsed < _READ_SECONDS:
        check(peer, appended)
        times += 1
        elapsed = time.perf_counter() - began
    return times * appended / elapsed


def check(peer: Peer, appended: int) -> None:
    """Check the number of events. Raises ``RuntimeError`` unless ``peer`` has all appended ones."""
    number = sum(1 for content in peer.read() if content)
    if number != appended:
        raise RuntimeError(f"{number} events were read of {appended} that were appended")


def _groups(cases: Sequence[Case], batch: int) -> Iterator[Sequence[Given]]:
    """Return one writer's appends: its cases' events one by one, or whole cases in batches."""
    if batch == 1:
        return ([given] for case in cases for given in case)
    together = batch // CASE_LENGTH
    return (
        list(chain.from_iterable(cases[at : at + together]))
        for at in range(0, len(cases), together)
    )


class Comparison:
    """All runs, and what came of them."""

    def __init__(self, peers: Sequence[Peer], seconds: float, agencies: Agencies) -> None:
        self._seconds = seconds
        self._agencies = agencies
        self.peers = peers
        self.unavailable = {peer.name: peer.available() for peer in peers}
        self.runs: dict[str, dict[str, list[float]]] = {peer.name: {} for peer in peers}
        self.failed: dict[str, dict[str, str]] = {peer.name: {} for peer in peers}
        self.durability: dict[str, str] = {}
        self.versions: dict[str, str] = {}

    @property
    def turns(self) -> list[tuple[Workload, Peer]]:
        """Those of one round, in order."""
        return [
            (own, peer)
            for workload in WORKLOADS
            for peer in self.peers
            if self.unavailable[peer.name] is None
            for own in peer.workloads
            if own.name == workload.name
        ]

    def make_events(self, progress: Progress) -> None:
        signed = max(int(SIGNED_A_SECOND * self._seconds) // CASE_LENGTH, _LEAST_CASES)
        task = progress.add_task("signing", total=signed)
        self.signed: list[Case] = []
        for _ in range(signed):
            self.signed.append(signed_case(self._agencies))
            progress.advance(task)
        progress.remove_task(task)
        number = max(int(GIVEN_A_SECOND * self._seconds) // CASE_LENGTH, _LEAST_GIVEN)
        self.given = [*self.signed, *islice(unsigned_cases(self.signed), number - signed)]

        collect_seldom(SERVING)  # as a served process does; and these objects are none's work

    def turn(self, workload: Workload, peer: Peer) -> None:
        """One store's turn. What fails is written down, and does not end the comparison."""
        if workload.name in self.failed[peer.name]:
            return
        try:
            try:
                peer.open(workload.writers)
                self._measure(workload, peer)
            finally:
                peer.close()
        except Exception as error:
            why = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            self.failed[peer.name][workload.name] = why
            console.print(f"[red]{peer.name}, {workload.name}: {why}", highlight=False)

    def _measure(self, workload: Workload, peer: Peer) -> None:
        cases = self.signed if peer.verifies else self.given
        runs = self.runs[peer.name]
        rate, appended = append(peer, workload, cases, self._seconds)
        if workload.name == BATCHES.name:
            runs.setdefault(READING, []).append(read(peer, appended))
        elif workload.name not in runs:
            check(peer, appended)
        runs.setdefault(workload.name, []).append(rate)
        if peer.name not in self.versions:
            self.versions[peer.name] = peer.version()
            self.durability[peer.name] = peer.durability()

    def rows(self) -> list[Row]:
        return [
            Row(
                name=peer.name,
                about=peer.about,
                server=peer.server,
                version=self.versions.get(peer.name),
                durability=self.durability.get(peer.name),
                unavailable=self.unavailable[peer.name],
                failed=self.failed[peer.name],
                rates={
                    workload: Outcome(median(runs), min(runs), max(runs), runs)
                    for workload, runs in self.runs[peer.name].items()
                },
            )
            for peer in self.peers
        ]


def compare(only: Sequence[str], rounds: int, seconds: float, under: Path | None) -> Results:
    """Measure, and say how it goes on the way."""
    agencies = Agencies()
    began, load = datetime.now(UTC), machine.load()
    with Servers(under) as servers:
        peers = [
            peer
            for peer in all_peers(servers, agencies)
            if not only or any(part.lower() in peer.name.lower() for part in only)
        ]
        comparison = Comparison(peers, seconds, agencies)
        for name, why in comparison.unavailable.items():
            if why is not None:
                console.print(f"[yellow]{name} is left out: {why}", highlight=False)
        described = machine.describe(servers.directory)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
            comparison.make_events(progress)
            task = progress.add_task("", total=rounds * len(comparison.turns))
            for number in range(1, rounds + 1):
                _round(comparison, progress, task, number)
        sizes = sorted(len(given.content) for case in comparison.signed for given in case)
        return Results(
            machine={**described, "load_before": load, "load_after": machine.load()},
            measured={
                "began": began.isoformat(timespec="seconds"),
                "minutes": round((datetime.now(UTC) - began).total_seconds() / 60, 1),
                "rounds": rounds,
                "seconds_each": seconds,
            },
            event={
                "median_bytes": int(median(sizes)),
                "min_bytes": sizes[0],
                "max_bytes": sizes[-1],
                "of_a_case": CASE_LENGTH,
            },
            rows=comparison.rows(),
        )


def _round(comparison: Comparison, progress: Progress, task: Task, number: int) -> None:
    for workload, peer in comparison.turns:
        progress.update(task, description=f"round {number}: {workload.name}, {peer.name}")
        comparison.turn(workload, peer)
        progress.advance(task)


def _install() -> None:
    """Install what a store needs of the system, where Debian's packages have it."""
    asked = ["apt-get", "install", "--yes", "--no-install-recommends", "postgresql", "strace"]
    if os.geteuid() != 0:
        asked.insert(0, "sudo")
    subprocess.run(asked, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks/run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each run is repeated")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long each run appends")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a part of a store's name"
    )
    parser.add_argument("--quick", action="store_true", help="two short rounds, for a first look")
    parser.add_argument("--output", type=Path, help="a directory for the figures and the plot")
    parser.add_argument("--directory", type=Path, help="where the stores' data lie meanwhile")
    parser.add_argument(
        "--table",
        action="store_true",
        help="print the last results as Markdown, and measure nothing",
    )
    parser.add_argument(
        "--install", action="store_true", help="first install Debian's postgresql and strace"
    )
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that servers end too
    results_in = given.output or report.DIRECTORY
    if given.table:
        if not (results_in / report.FIGURES).exists():
            parser.error(f"nothing was measured yet: {results_in} has no {report.FIGURES}")
        print(report.markdown(report.load(results_in)))
        return
    if given.install:
        _install()
    rounds, seconds = (2, 0.4) if given.quick else (given.rounds, given.seconds)
    results = compare(given.only, rounds, seconds, given.directory)
    report.show(results, console)
    if given.output or not (given.only or given.quick):
        report.save(results, results_in)
        console.print(f"Written to {results_in}/", highlight=False)
        if results_in == report.DIRECTORY:
            report.update_readme(results)


if __name__ == "__main__":
    main()
