"""Measure proof: appends with the tree and without it, and verification beside its limits.

    python -m benchmarks.proof [--events 20000] [--rounds 5]

Runs are interleaved and medians compared, for the machines are noisy: only ratios carry over.
Writes benchmarks/results/proof.json.
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console
from rich.progress import track
from rich.table import Table

from api.runtime.schema import migrate_all
from ledger.application import Ledger, environment
from ledger.events.event_mapper import UnsealedEvent
from ledger.log.merkle import Frontier
from ledger.signing import signed_action
from ledger.store.embedded import EmbeddedServer
from ledger.system.identifiers import new_id
from ledger.verification.evidence_reader import kept_in, registered_keys, stored_rows
from ledger.verification.verification import verify_ledger
from ledger.vocabulary.picklists import RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database

RESULTS = Path(__file__).parent / "results" / "proof.json"
CASE_LENGTH = 10
console = Console()


def signed_events(agencies: Agencies, number: int) -> list[UnsealedEvent]:
    """Actions on many cases that the rules allow, signed and ready to be stored."""
    events, case_id = [], new_id()
    for index in track(range(number), "Signing", console=console, transient=True):
        version = index % CASE_LENGTH + 1
        if version == 1:
            case_id = new_id()
        later = RiskAssessed(acted_at=START + timedelta(hours=version), risk_level=RiskLevel.LOW)
        action = opening() if version == 1 else later
        signed = signed_action.read(agencies.sign("xk-dhtqnj", action, case_id))
        events.append(
            UnsealedEvent(case_id, version, signed.kind, signed.sd_jwt.encode(), signed.id)
        )
    return events


@contextmanager
def without_tree() -> Iterator[None]:
    """Make appends store no tree, to measure their other costs."""
    patches: dict[str, Any] = {
        "from_bytes": classmethod(lambda cls, *_: cls()),
        "extend": lambda self, _: (self, []),
    }
    with ExitStack() as stack:
        for name, instead in patches.items():
            stack.enter_context(patch.object(Frontier, name, instead))
        yield


def append_rate(conninfo: str, events: list[UnsealedEvent], writers: int, batch: int) -> float:
    """Events a second that ``writers`` append in transactions of ``batch``, durably."""
    with Ledger(environment(conninfo, pool_size=writers + 2)) as ledger:
        shares: list[list[UnsealedEvent]] = [[] for _ in range(writers)]
        for event in events:
            shares[event.originator_id.int % writers].append(event)

        def write(share: list[UnsealedEvent]) -> None:
            for at in range(0, len(share), batch):
                ledger.rows.insert_events(share[at : at + batch])

        threads = [threading.Thread(target=write, args=(share,)) for share in shares]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(events) / (time.perf_counter() - began)


@contextmanager
def fresh(server: str, agencies: Agencies, *, tree: bool) -> Iterator[str]:
    """Make a migrated database, in which a head may lack its frontier unless with ``tree``."""
    with new_database(server) as conninfo:
        migrate_all(conninfo, agencies.protocol)
        if not tree:
            with psycopg.connect(conninfo) as connection:
                connection.execute("ALTER TABLE ledger.head DROP CONSTRAINT head_frontier_fits")
        yield conninfo


def measure_appends(server: str, agencies: Agencies, rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for writers, batch, number in ((1, 1, 600), (8, 1, 1200), (1, 100, 6_000)):
        events = signed_events(agencies, number)
        rates: dict[bool, list[float]] = {True: [], False: []}
        for tree in [True, False] * rounds:
            with (
                fresh(server, agencies, tree=tree) as conninfo,
                nullcontext() if tree else without_tree(),
            ):
                rates[tree].append(append_rate(conninfo, events, writers, batch))
        with_tree, without = statistics.median(rates[True]), statistics.median(rates[False])
        found[f"{writers} writers, batches of {batch}"] = {
            "with_tree": with_tree,
            "without_tree": without,
            "cost": 1 - with_tree / without,
        }
    return found


def measure_verification(
    server: str, agencies: Agencies, number: int, rounds: int
) -> dict[str, Any]:
    with fresh(server, agencies, tree=True) as conninfo:
        with Ledger(environment(conninfo)) as ledger:
            agencies.begin(ledger)
            events = signed_events(agencies, number)
            for at in range(0, number, 500):
                ledger.rows.insert_events(events[at : at + 500])
        with psycopg.connect(conninfo) as connection:
            rows = list(stored_rows(connection))
            kept, keys = kept_in(connection, None), registered_keys(rows)
    key = Ed25519PrivateKey.generate()
    cores = os.cpu_count() or 1
    rates: dict[str, list[float]] = {"1 process": [], f"{cores} processes": [],
                                     "bare Ed25519": [], "bare SHA-256": []}  # fmt: skip
    message = rows[-1].state
    signature, public = key.sign(message), key.public_key()
    for _ in range(rounds):
        for name, workers in (("1 process", 1), (f"{cores} processes", cores)):
            began = time.perf_counter()
            report = verify_ledger(rows, kept, keys=keys, workers=workers)
            rates[name].append(len(rows) / (time.perf_counter() - began))
            assert report.holds, report.findings[:3]
        began = time.perf_counter()
        for _ in range(5000):
            public.verify(signature, message)
        rates["bare Ed25519"].append(5000 / (time.perf_counter() - began))
        began = time.perf_counter()
        for row in rows:
            hashlib.sha256(b"\x00" + row.state).digest()
        rates["bare SHA-256"].append(len(rows) / (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    agencies = Agencies()
    with tempfile.TemporaryDirectory(prefix="case-ledger-bench-") as directory:
        Path(directory).chmod(0o755)
        server = EmbeddedServer(Path(directory) / "postgresql")
        try:
            appends = measure_appends(server.conninfo, agencies, given.rounds)
            verification = measure_verification(
                server.conninfo, agencies, given.events, min(given.rounds, 3)
            )
        finally:
            server.stop()
    table = Table("Appends a second", "with the tree", "without", "cost of the tree")
    for name, values in appends.items():
        table.add_row(
            name,
            f"{values['with_tree']:,.0f}",
            f"{values['without_tree']:,.0f}",
            f"{values['cost']:.1%}",
        )
    console.print(table)
    limit = verification["bare Ed25519"]
    table = Table("Verification", "events a second", "of bare Ed25519 on one core")
    for name, rate in verification.items():
        table.add_row(name, f"{rate:,.0f}", f"{rate / limit:.2f}")
    console.print(table)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(),
               "machine": platform.machine()}  # fmt: skip
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps({"machine": machine, "appends": appends, "verification": verification}, indent=1)
        + "\n"
    )


if __name__ == "__main__":
    main()
