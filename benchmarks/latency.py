"""Measure how long requests take at half of the rate that saturates a node.

    python -m benchmarks.latency [--processes 1,2] [--seconds 5] [--rounds 5] [--only append,case]

``case-ledger serve`` runs as it is installed, with its worker process and its PostgreSQL; the
clients share the machine's cores with them. Of each kind of request, a round first finds the rate
at which the node is saturated (every connection asks again at once), and then asks at half of it,
at even times. A latency counts from the time at which its request was due, so that a stall of the
node counts for every request that it delays. Latencies of all rounds are in one HDR histogram.
Numbers of processes change within a round. ``same in process`` is the append without HTTP: the
same cores, one process, 32 threads. Limits of searches are lifted in the node that is measured.
Writes benchmarks/results/latency.json and latency.svg.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from hdrh.histogram import HdrHistogram
from rich.console import Console
from rich.table import Table

from api.client.assertion import make_assertion
from api.demo.node_process import children, free_port
from benchmarks import http, machine
from benchmarks.http import OURS, Place, cpu_seconds, tokens
from benchmarks.peers.case_ledger import EverythingOn
from benchmarks.peers.events import signed_case
from benchmarks.peers.peer import MANY
from benchmarks.peers.servers import Servers
from benchmarks.server_process import server_process
from ledger.system.identifiers import new_id
from tests.support.agencies import Agencies

RESULTS = Path(__file__).parent / "results" / "latency.json"
FIGURE = RESULTS.with_suffix(".svg")
KINDS = ("append", "case", "list", "search", "page", "empty")
_LONGEST_MICROSECONDS = 60_000_000
_DIGITS = 3
_GUESS = {"append": 1_500.0, "case": 6_000.0, "list": 2_000.0, "search": 800.0, "page": 400.0,
          "empty": 8_000.0}  # fmt: skip
_SERVE = (
    "from api.services import person_search as p; p.SEARCHES_A_MINUTE = p.SEARCHES_A_DAY = 10**9\n"
    "from api.cli import app; app()"
)
console = Console()


@contextmanager
def serving(place: Place, processes: int) -> Iterator[tuple[int, int]]:
    """Run ``case-ledger serve``. Gives its port and the id of its supervisor."""
    port = free_port()
    env = os.environ | {
        "CASE_LEDGER_DATA_DIRECTORY": str(place.directory / "node"),
        "CASE_LEDGER_DATABASE_URL": place.conninfo,
        "CASE_LEDGER_REQUESTS_PER_MINUTE": "100000000",
        "CASE_LEDGER_PORT": str(port),
        "CASE_LEDGER_PROCESSES": str(processes),
    }
    log, ready = place.directory / "server.log", f"http://127.0.0.1:{port}/ready"
    with server_process(["-c", _SERVE, "serve"], env, log, ready) as pid:
        yield port, pid


def shares_of(
    place: Place, port: int, kind: str, connections: int, number: int
) -> list[list[bytes]]:
    """So many requests of a kind for each of the connections."""
    if kind == "append":
        cases = number // http.CASE_LENGTH + 2
        return [http.appends(place, [new_id() for _ in range(cases)]) for _ in range(connections)]
    if kind == "page":
        head = f"Host: a\r\nAccept: text/html\r\nCookie: {_cookie(place, port)}"
        return [
            [f"GET /cases HTTP/1.1\r\n{head}\r\n\r\n".encode()] * number for _ in range(connections)
        ]
    made = tokens(place.agencies.keys[OURS], OURS, connections * number)
    if kind == "search":
        body = '{"text":"Izmislenovic Primjer","purpose":"protection"}'
        requests = [_search(token, body) for token in made]
    elif kind == "list":
        requests = [http.get("/v1/cases?limit=50", token) for token in made]
    elif kind == "empty":
        requests = [http.get("/health") for _ in made]
    else:
        paths = [f"/v1/cases/{case}" for case in place.cases]
        requests = [http.get(paths[i % len(paths)], token) for i, token in enumerate(made)]
    return [requests[i::connections] for i in range(connections)]


def _search(token: str, body: str) -> bytes:
    return (
        f"POST /v1/searches HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def _cookie(place: Place, port: int) -> str:
    """Return the cookie of a person's session, which a key begins."""
    assertion = make_assertion(OURS, place.agencies.keys[OURS], "case-ledger")
    headers = {"Sec-Fetch-Site": "same-origin", "Authorization": f"Bearer {assertion}"}
    answer = httpx.post(f"http://127.0.0.1:{port}/auth/key", headers=headers, timeout=30)
    answer.raise_for_status()
    return "; ".join(f"{name}={value}" for name, value in answer.cookies.items())


class Measured:
    """The latencies of one kind of request at one number of processes, over all rounds."""

    def __init__(self) -> None:
        self.histogram = HdrHistogram(1, _LONGEST_MICROSECONDS, _DIGITS)
        self.saturations: list[float] = []
        self.rates: list[float] = []
        self.p50: list[float] = []
        self.p99: list[float] = []
        self.cpu: list[float] = []

    def add(self, took: Sequence[float], rate: float) -> None:
        """Add the latencies of a round, in seconds."""
        one = HdrHistogram(1, _LONGEST_MICROSECONDS, _DIGITS)
        for seconds in took:
            one.record_value(max(1, min(int(seconds * 1e6), _LONGEST_MICROSECONDS)))
        self.rates.append(rate)
        self.p50.append(one.get_value_at_percentile(50))
        self.p99.append(one.get_value_at_percentile(99))
        self.histogram.add(one)

    def summary(self) -> dict[str, Any]:
        at = self.histogram.get_value_at_percentile
        return {
            "saturation": round(median(self.saturations), 1),
            "rate": round(median(self.rates), 1),
            "requests": self.histogram.get_total_count(),
            "CPU microseconds of the node": round(median(self.cpu)),
            "p50 milliseconds": round(median(self.p50) / 1e3, 2),
            "p99 milliseconds": round(median(self.p99) / 1e3, 2),
            "p99 / p50": round(median(b / a for a, b in zip(self.p50, self.p99, strict=True)), 2),
            "p99.9 milliseconds": round(at(99.9) / 1e3, 2),
            "longest milliseconds": round(self.histogram.get_max_value() / 1e3, 2),
            "curve": [
                [item.percentile_level_iterated_to, item.value_iterated_to / 1e3]
                for item in self.histogram.get_percentile_iterator(5)
            ],
        }


def measure(
    place: Place, kind: str, processes: int, given: argparse.Namespace, to: Measured
) -> None:
    """Saturate a node with one kind of request, then ask at half of that rate."""
    with serving(place, processes) as (port, pid):
        each = given.connections
        rate = _GUESS[kind]
        for seconds in (1.0, given.seconds):  # the first to warm up
            number = int(rate * 1.3 * seconds / each) + 20
            said = http.load(place, http._closed, port,
                             shares_of(place, port, kind, each, number), seconds)  # fmt: skip
            rate = said["rate"]
        to.saturations.append(rate)
        half = median(to.saturations) / 2
        number = int(half * given.seconds / each) + 20
        shares = shares_of(place, port, kind, each, number)
        time.sleep(0.5)
        before = _cpu(pid)
        said = http.load(place, http._paced, port, shares, half, given.seconds)
        to.cpu.append(1e6 * (_cpu(pid) - before) / said["requests"])
        to.add(said["took"], said["rate"])


def _cpu(pid: int) -> float:
    """Return the CPU seconds of all processes of a node."""
    return sum(cpu_seconds(part) for part in children(pid))


def in_process(rounds: int, seconds: float, agencies: Agencies) -> list[float]:
    """Return the appends a second of a process with 32 threads and without HTTP, each round."""
    from benchmarks.run import append

    rates = []
    with Servers() as servers:
        peer = EverythingOn(servers, agencies)
        for _ in range(rounds):
            cases = [signed_case(agencies) for _ in range(max(64, int(250 * seconds)))]
            peer.open(MANY.writers)
            try:
                rates.append(append(peer, MANY, cases, seconds)[0])
            finally:
                peer.close()
    return rates


def plot(found: Mapping[str, Any], path: Path) -> None:
    """Draw the latency of each kind by percentile, a line for each number of processes."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "latency", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    kinds = list(found["kinds"])
    figure, axes = pyplot.subplots(1, len(kinds), figsize=(3.2 * len(kinds), 3.2), squeeze=False)
    ticks = (50, 90, 99, 99.9)
    for axis, kind in zip(axes[0], kinds, strict=True):
        for processes, of in found["kinds"][kind].items():
            points = [(100 / (100 - p), ms) for p, ms in of["curve"] if p < 100]
            axis.plot(*zip(*points, strict=True), label=f"{processes} of {of['rate']:,.0f}/s")
        axis.set_xscale("log")
        axis.set_xticks([100 / (100 - p) for p in ticks], [f"{p}%" for p in ticks])
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.set_title(kind)
        axis.set_ylabel("milliseconds")
        axis.grid(visible=True, alpha=0.3)
        axis.legend(frameon=False, title="processes")
    figure.suptitle("Latency at half of saturation, by percentile")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--processes", default=f"1,{len(os.sched_getaffinity(0))}")
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    numbers = list(dict.fromkeys(int(number) for number in given.processes.split(",")))
    kinds = given.only.split(",")
    measured = {kind: {number: Measured() for number in numbers} for kind in kinds}
    began, load = datetime.now(UTC), machine.load()
    same: list[float] = []
    with http.place() as made:
        all_cores = frozenset(made.api_cores | made.other_cores)
        place = Place(
            made.directory, made.conninfo, made.agencies, made.cases, all_cores, all_cores
        )
        for pid in (os.getpid(), *_postgresql(place)):
            os.sched_setaffinity(pid, all_cores)
        described = machine.describe(place.directory)
        for number in range(given.rounds):
            for kind in kinds:
                for processes in numbers if number % 2 == 0 else reversed(numbers):
                    measure(place, kind, processes, given, measured[kind][processes])
            if "append" in kinds:
                same += in_process(1, min(given.seconds, 2.0), Agencies())
    found: dict[str, Any] = {
        "machine": {**described, "load_before": load, "load_after": machine.load()},
        "measured": {
            "began": began.isoformat(timespec="seconds"),
            "rounds": given.rounds,
            "seconds_each": given.seconds,
            "connections": given.connections,
        },
        "kinds": {
            kind: {str(number): one.summary() for number, one in of.items()}
            for kind, of in measured.items()
        },
    }
    if same:
        rate = found["kinds"]["append"][str(numbers[-1])]["saturation"]
        found["append in process"] = round(median(same), 1)
        found["HTTP append of the same in process"] = round(rate / median(same), 3)
    show(found)
    given.output.write_text(json.dumps(found, indent=1) + "\n")
    plot(found, given.output.with_suffix(".svg"))


def _postgresql(place: Place) -> list[int]:
    """Return the processes of the benchmark's PostgreSQL."""
    postmaster = int((place.directory / "postgresql/postmaster.pid").read_text().split()[0])
    return [postmaster, *children(postmaster)]


def show(found: Mapping[str, Any]) -> None:
    """Print a row for each kind and number of processes."""
    columns = ("saturation", "rate", "CPU microseconds of the node", "p50 milliseconds",
               "p99 milliseconds", "p99 / p50", "p99.9 milliseconds")  # fmt: skip
    table = Table("request", "processes", *columns)
    for kind, by_processes in found["kinds"].items():
        for processes, of in by_processes.items():
            table.add_row(kind, processes, *(f"{of[column]:,}" for column in columns))
    console.print(table)
    if "append in process" in found:
        console.print(
            f"append in process: {found['append in process']:,} a second; HTTP on all cores is "
            f"{found['HTTP append of the same in process']} of it"
        )


if __name__ == "__main__":
    main()
