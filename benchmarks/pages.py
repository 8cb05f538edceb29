"""Measure the pages on large ledgers: each page's time beside its time on a small one.

    python -m benchmarks.pages DIRECTORY --sizes 1000,1000000 [--rounds 40]

Ledgers are those of ``benchmarks.growth prepare`` in DIRECTORY; one that is not there is made, and
views that are behind are rebuilt by the command. Each ledger is served in a process of its own.
Every page is asked in turn over the ledgers, of another case each time, so that what else the
machine does meets all alike. Writes benchmarks/results/pages.json. Machines are noisy: only ratios
carry over.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import psycopg
from rich.console import Console
from rich.table import Table

import api.background_jobs.eraser
import api.exchange.duplicate_matcher
from api.client.assertion import make_assertion
from api.demo.node_process import free_port
from api.runtime.schema import migrate_all
from benchmarks import machine
from benchmarks.growth import agencies_of, database_of, prepare, serving
from benchmarks.http import cpu_seconds
from benchmarks.server_process import server_process
from tests.support.agencies import Agencies

RESULTS = Path(__file__).parent / "results" / "pages.json"
CASEWORKER, COORDINATOR, OVERSIGHT = "xk-dhtqnj", "xk-nac", "xk-ombudsperson"
PAGES = (
    (CASEWORKER, "/today"),
    (CASEWORKER, "/cases"),
    (CASEWORKER, "/cases?show=all"),
    (COORDINATOR, "/today"),
    (COORDINATOR, "/cases"),
    (OVERSIGHT, "/cases"),
    (CASEWORKER, "/cases/{case}"),
    (CASEWORKER, "/cases/{case}/act"),
    (CASEWORKER, "/cases/{case}/act/risk_assessed"),
    (CASEWORKER, "/cases/{case}/personal"),
    (CASEWORKER, "/cases/{case}/replay"),
    (CASEWORKER, "/cases/{case}/trail"),
    (CASEWORKER, "/cases/{case}/verify"),
    (COORDINATOR, "/board"),
    (OVERSIGHT, "/board"),
    (COORDINATOR, "/charts"),
    (OVERSIGHT, "/charts"),
    (COORDINATOR, "/meeting"),
    (COORDINATOR, "/meeting/ME"),
    (COORDINATOR, "/keys"),
    (CASEWORKER, "/verify"),
)
"""Who asks, and for what."""
LIMIT = 3.0
"""How many times a page's 95th percentile may be that of the smallest ledger."""
_WARM = 10
_LOOK_SECONDS, _AT_REST, _PATIENCE = 2.0, 0.2, 600
_CASES = 500
console = Console()


@dataclass
class Served:
    """A ledger that is served, and who is signed in to it."""

    size: int
    browsers: dict[str, httpx.Client]
    cases: Sequence[str]
    took: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    length: dict[tuple[str, str], int] = field(default_factory=dict)

    def ask(self, who: str, page: str, *, counts: bool) -> None:
        """Ask for a page once, of some case. Raises ``RuntimeError`` where it is refused."""
        path = page.format(case=random.choice(self.cases))
        began = time.perf_counter()
        answer = self.browsers[who].get(path)
        took = time.perf_counter() - began
        if answer.status_code != 200:
            raise RuntimeError(f"{page}: {answer.status_code}")
        if counts:
            self.took.setdefault((who, page), []).append(took)
            self.length[who, page] = len(answer.content)


def behind(conninfo: str) -> bool:
    """Return whether some view is behind the ledger."""
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(
            "SELECT (SELECT max(notification_id) FROM ledger.events) IS DISTINCT FROM min(at)"
            " FROM (SELECT COALESCE((SELECT notification_id FROM views.tracking t"
            "  WHERE t.projection = p.name AND t.slot = p.live_slot), 0) AS at"
            "  FROM views.projections p) stands"
        ).fetchone()
    return row is None or bool(row[0])


def bring_views(conninfo: str) -> None:
    """Rebuild what is behind, by the command, and let PostgreSQL know of the rows."""
    if behind(conninfo):
        command = "from api.cli import app; app()"
        subprocess.run(
            [sys.executable, "-c", command, "rebuild", "--all", "--json"],
            env=os.environ | {"CASE_LEDGER_DATABASE_URL": conninfo},
            stdout=subprocess.DEVNULL,
            check=True,
        )
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")


def follow_all(conninfo: str, parties: Iterable[str]) -> None:
    """Let the vaults be those of a node that has followed the ledger all along."""
    with psycopg.connect(conninfo) as connection:
        for party, work in product(
            sorted(parties), (api.background_jobs.eraser.WORK, api.exchange.duplicate_matcher.WORK)
        ):
            connection.execute(
                f"INSERT INTO vault_{party.lower()}.progress (work, position)"
                " SELECT %s, max(notification_id) FROM ledger.events"
                " ON CONFLICT (work) DO UPDATE SET position = EXCLUDED.position",
                (work,),
            )


@contextmanager
def node(directory: Path, size: int, conninfo: str) -> Iterator[str]:
    """``case-ledger serve`` in a process of its own. Gives its address."""
    port = free_port()
    place = directory / f"node-{size}"
    place.mkdir(exist_ok=True)
    log = place / "server.log"
    env = os.environ | {
        "CASE_LEDGER_DATA_DIRECTORY": str(place),
        "CASE_LEDGER_DATABASE_URL": conninfo,
        "CASE_LEDGER_REQUESTS_PER_MINUTE": "100000000",
        "CASE_LEDGER_PORT": str(port),
    }
    address = f"http://127.0.0.1:{port}"
    command = ["-c", "from api.cli import app; app()", "serve"]
    with server_process(command, env, log, f"{address}/ready", 30) as pid:
        rest(pid)
        yield address


def rest(pid: int) -> None:
    """Wait until a node has followed what it had not yet: pages are asked of one at rest."""
    for _ in range(_PATIENCE):
        before = cpu_seconds(pid)
        time.sleep(_LOOK_SECONDS)
        if cpu_seconds(pid) - before < _AT_REST * _LOOK_SECONDS:
            return
    raise RuntimeError("the node is not at rest")


def signed_in(url: str, agencies: Agencies, agency: str) -> httpx.Client:
    """Return a client with a session and a connection that it keeps."""
    bearer = f"Bearer {make_assertion(agency, agencies.keys[agency], 'case-ledger')}"
    sent = {"Sec-Fetch-Site": "same-origin", "Authorization": bearer}
    answer = httpx.post(f"{url}/auth/key", headers=sent, timeout=30)
    answer.raise_for_status()
    return httpx.Client(
        base_url=url, cookies=answer.cookies, timeout=60, headers={"Accept": "text/html"}
    )


def some_cases(conninfo: str, viewer: str) -> list[str]:
    """Cases of a country at random."""
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute(
            "SELECT case_id::text FROM views.case_views WHERE slot = views.live_slot('case_views')"
            " AND viewer = %s ORDER BY md5(case_id::text) LIMIT %s",
            (viewer, _CASES),
        ).fetchall()
    return [row[0] for row in rows]


def measure(directory: Path, sizes: Sequence[int], rounds: int) -> list[Served]:
    """Each page in turn over the ledgers, so many rounds."""
    with serving(directory) as server, ExitStack() as stack:
        agencies, ledgers = agencies_of(directory), []
        for size in sizes:
            conninfo = database_of(server, size)
            migrate_all(conninfo, agencies.protocol)
            bring_views(conninfo)
            follow_all(conninfo, agencies.protocol.party_codes)
            url = stack.enter_context(node(directory, size, conninfo))
            browsers = {
                who: stack.enter_context(signed_in(url, agencies, who))
                for who in (CASEWORKER, COORDINATOR, OVERSIGHT)
            }
            ledgers.append(Served(size, browsers, some_cases(conninfo, "XK")))
        for number in range(-_WARM, rounds):
            for who, page in PAGES:
                for ledger in ledgers if number % 2 else reversed(ledgers):
                    ledger.ask(who, page, counts=number >= 0)
    return ledgers


def summary(ledgers: Sequence[Served]) -> list[dict[str, Any]]:
    """Of each page the medians and 95th percentiles, and what they are of the smallest's."""
    found: list[dict[str, Any]] = []
    for who, page in PAGES:
        sizes: dict[str, dict[str, float]] = {}
        for ledger in ledgers:
            took = sorted(ledger.took[who, page])
            sizes[str(ledger.size)] = {
                "p50_seconds": took[len(took) // 2],
                "p95_seconds": took[len(took) * 95 // 100],
                "bytes": ledger.length[who, page],
            }
        small, large = (sizes[str(ledger.size)] for ledger in (ledgers[0], ledgers[-1]))
        found.append(
            {
                "page": page,
                "who": who,
                "sizes": sizes,
                "p50_ratio": large["p50_seconds"] / small["p50_seconds"],
                "p95_ratio": large["p95_seconds"] / small["p95_seconds"],
            }
        )
    return found


def table(found: Sequence[dict[str, Any]]) -> Table:
    """Milliseconds of each page (median / 95th percentile) and the ratios."""
    sizes = list(found[0]["sizes"])
    shown = Table("page", "who", *(f"{int(s):,} (ms, kB)" for s in sizes), "p50 ratio", "p95 ratio")
    for one in found:
        cells = [
            f"{1e3 * of['p50_seconds']:.1f} / {1e3 * of['p95_seconds']:.1f}, {of['bytes'] // 1000}"
            for of in one["sizes"].values()
        ]
        holds = "" if one["p95_ratio"] <= LIMIT else " no"
        ratios = f"{one['p50_ratio']:.2f}", f"{one['p95_ratio']:.2f}{holds}"
        shown.add_row(one["page"], one["who"], *cells, *ratios)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--sizes", default="1000,1000000")
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    sizes = sorted(int(size) for size in arguments.sizes.split(","))
    for size in sizes:
        if not is_made(arguments.directory, size):
            prepare(arguments.directory, size)
    before = machine.load()
    found = summary(measure(arguments.directory, sizes, arguments.rounds))
    console.print(table(found))
    content = {
        "machine": machine.describe(arguments.directory),
        "load": [before, machine.load()],
        "rounds": arguments.rounds,
        "pages": found,
    }
    RESULTS.write_text(json.dumps(content, indent=2) + "\n")


def is_made(directory: Path, size: int) -> bool:
    """Return whether the ledger of a size is there, whole."""
    with serving(directory) as server:
        try:
            with psycopg.connect(database_of(server, size)) as connection:
                row = connection.execute(
                    "SELECT max(notification_id) FROM ledger.events"
                ).fetchone()
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
            return False
    return row is not None and (row[0] or 0) >= size


if __name__ == "__main__":
    main()
