"""Measure an action's time from one country's node to another's, at rest and under load.

    python -m benchmarks.visibility [--appends 60] [--rate 20] [--writers 40]

A ledger node and three countries' nodes run as processes of their own, with databases of their own
on one PostgreSQL. Kosovo's police record an action on a case of Kosovo and Montenegro. Montenegro's
police ask their own node for the case until they see the action, and then until they see its
``case`` field, which travels apart, sealed. That is done one action at a time: first at rest, then
while other agencies record ``--rate`` actions a second on other cases through all three countries'
nodes. Writes benchmarks/results/visibility.json.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from uuid import UUID

import httpx
import psycopg
from rich.console import Console

from api.client import LedgerClient, RefusedError, WaitingError
from api.runtime.schema import migrate_all
from benchmarks.machine import describe, load
from ledger.application import Ledger, environment
from ledger.store.embedded import EmbeddedServer
from ledger.system.identifiers import new_id
from ledger.vocabulary.picklists import RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.databases import name_of, new_database
from tests.support.four_nodes import FourNodes, connect, prepare, running

RESULTS = Path(__file__).parent / "results" / "visibility.json"
LOOK_SECONDS = 0.02
AT_MOST_SECONDS = 60.0
_ACTIONS_OF_A_CASE = 12
POLICE = {"XK": "xk-dhtqnj", "ME": "me-police-thb", "AL": "al-police-thb"}
console = Console()


@contextmanager
def four_nodes() -> Iterator[FourNodes]:
    """Run the nodes for as long as the block runs, once each has copied the others' keys."""
    with (
        tempfile.TemporaryDirectory(prefix="case-ledger-bench-") as name,
        ExitStack() as stack,
    ):
        directory = Path(name)
        directory.chmod(0o755)
        server = _server(directory / "postgresql")
        stack.callback(server.stop)
        agencies = Agencies()
        migrated = stack.enter_context(new_database(server.conninfo))
        migrate_all(migrated, agencies.protocol)
        databases = {
            node: stack.enter_context(new_database(server.conninfo, name_of(migrated)))
            for node in ("ledger", "xk", "me", "al")
        }
        with Ledger(environment(databases["ledger"])) as ledger:
            agencies.begin(ledger)
        nodes = prepare(directory, agencies, databases)
        connect(nodes, directory, {})
        stack.enter_context(running(nodes))
        size = nodes.ledger.ready()["head"]
        for machine in nodes.machines:
            _until(lambda m=machine: m.ready().get("published", 0) >= size)  # type: ignore[misc]
        yield nodes


def _server(directory: Path) -> EmbeddedServer:
    """Start a PostgreSQL with as many connections as four nodes may want."""
    server = EmbeddedServer(directory)
    with psycopg.connect(server.conninfo, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET max_connections = 400")
    server.stop()
    return EmbeddedServer(directory)


def measure(nodes: FourNodes, appends: int) -> dict[str, list[float]]:
    """Seconds from handing an action in: until its receipt, until it is seen, and its field."""
    took: dict[str, list[float]] = {"receipt": [], "seen": [], "field seen": []}
    with nodes.client(POLICE["XK"]) as here, nodes.client(POLICE["ME"]) as there:
        case_id = here.open_case(opening(("XK", "ME"))).case_id
        _until(lambda: _seen(there, case_id)[0] == 1)
        for version in range(1, appends + 1):
            signed = here.sign(_assessed(), case_id)
            began = time.perf_counter()
            thread = threading.Thread(
                target=lambda s=signed, v=version, b=began: (  # type: ignore[misc]
                    here.send(s, case_id, v),
                    took["receipt"].append(time.perf_counter() - b),
                )
            )
            thread.start()
            _until(lambda v=version: _seen(there, case_id)[0] > v)  # type: ignore[misc]
            took["seen"].append(time.perf_counter() - began)
            _until(lambda v=version: _seen(there, case_id)[1] >= v)  # type: ignore[misc]
            took["field seen"].append(time.perf_counter() - began)
            thread.join()
    return took


def _seen(client: LedgerClient, case_id: UUID) -> tuple[int, int]:
    """Return a case's version as a country sees it, and its number of assessments with a field."""
    try:
        case = client.case(case_id)
    except RefusedError:
        return 0, 0
    return case.view.version, sum("risk_factors" in one.fields for one in case.disclosed)


def _assessed() -> RiskAssessed:
    return RiskAssessed(acted_at=START, risk_level=RiskLevel.HIGH, risk_factors="a note")


@contextmanager
def loaded(nodes: FourNodes, rate: float, count: int) -> Iterator[list[float]]:
    """Have ``count`` writers record ``rate`` actions a second for as long as the block runs.

    Gives when each was recorded.
    """
    done: list[float] = []
    stopping = threading.Event()
    begun = time.perf_counter()

    def write(number: int, agency: str) -> None:
        with nodes.client(agency) as client:
            case_id, version = new_id(), 0
            party = agency[:2].upper()
            turn = number / rate
            while not stopping.wait(max(0.0, begun + turn - time.perf_counter())):
                turn += count / rate
                action = _assessed() if version else opening((party,))
                try:
                    version = client.append(action, case_id, version).case_version
                    done.append(time.perf_counter())
                except (httpx.TransportError, WaitingError):  # the machine is too slow for the rate
                    version = _ACTIONS_OF_A_CASE
                if version == _ACTIONS_OF_A_CASE:
                    case_id, version = new_id(), 0

    agencies = [agency for _, agency in zip(range(count), cycle(POLICE.values()), strict=False)]
    writers = [
        threading.Thread(target=write, args=(number, agency))
        for number, agency in enumerate(agencies)
    ]
    for writer in writers:
        writer.start()
    try:
        _until(lambda: len(done) >= count)
        yield done
    finally:
        stopping.set()
        for writer in writers:
            writer.join()


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + AT_MOST_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {AT_MOST_SECONDS} seconds")
        time.sleep(LOOK_SECONDS)


def _summary(seconds: Sequence[float]) -> dict[str, int]:
    percentiles = statistics.quantiles(seconds, n=20, method="inclusive")
    return {"median": round(1e3 * statistics.median(seconds)), "95%": round(1e3 * percentiles[-1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--appends", type=int, default=60)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--writers", type=int, default=40)
    given = parser.parse_args()
    found: dict[str, object] = {"appends": given.appends, "writers": given.writers}
    with four_nodes() as nodes:
        found["machine"] = describe(nodes.ledger.home)
        before = load()
        rest = measure(nodes, given.appends)
        between = load()
        with loaded(nodes, given.rate, given.writers) as done:
            first, began = len(done), time.perf_counter()
            under_load = measure(nodes, given.appends)
            reached = (len(done) - first) / (time.perf_counter() - began)
        found["load average"] = {"before": before, "at rest": between, "under load": load()}
    found["others' actions a second, reached"] = round(reached, 1)
    for name, took in (("at rest", rest), (f"beside {given.rate:g} a second", under_load)):
        found[name] = {what: _summary(seconds) for what, seconds in took.items()}
    console.print(found)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"milliseconds": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
