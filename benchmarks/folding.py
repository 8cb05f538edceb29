"""Measure the folding of a case from the store, beside the most that a snapshot could save.

    python -m benchmarks.folding [--rounds 30]

A snapshot must hold what the rules ask for: the state, and every action with its digests. The
best that one could be is taken here: one row that is read by its key and unpickled. Writes
benchmarks/results/folding.json.
"""

import argparse
import json
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from rich.console import Console

from api.runtime.schema import migrate_all
from ledger.application import Ledger, environment
from ledger.events.event_mapper import ActionMapper, UnsealedEvent
from ledger.procedure.agreement import Agreement
from ledger.procedure.case import Case
from ledger.signing import signed_action
from ledger.store.embedded import EmbeddedServer
from ledger.system.identifiers import new_id
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import InformationProvided, InformationRequested
from ledger.vocabulary.protection import RiskAssessed, ServiceEnded, ServiceStarted
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database

RESULTS = Path(__file__).parent / "results" / "folding.json"
LENGTHS = (10, 100, 1_000)
console = Console()


def put_case(ledger: Ledger, agencies: Agencies, length: int) -> UUID:
    """Record a case of so many events: assessments, services and requests that come and go."""
    case_id, made = new_id(), list[UUID]()
    events = []
    for version in range(1, length + 1):
        agency, action = _action(version, made)
        signed = signed_action.read(agencies.sign(agency, action, case_id))
        made.append(signed.id)
        state = signed.sd_jwt.encode()
        events.append(UnsealedEvent(case_id, version, signed.kind, state, signed.id))
    ledger.rows.insert_events(events)
    return case_id


def _action(version: int, made: list[UUID]) -> tuple[str, Action]:
    at = START + timedelta(hours=version)
    if version == 1:
        return "xk-dhtqnj", opening(("XK", "ME"), acted_at=at)
    match version % 5:
        case 0:
            return "xk-dhtqnj", RiskAssessed(acted_at=at, risk_level="high")
        case 1:
            started = ServiceStarted(acted_at=at, service="legal", provider="xk-ngo-support")
            return "xk-ngo-support", started
        case 2:
            asked = InformationRequested(
                acted_at=at, addressee="me-nac", topics=("family",), purpose="identification"
            )
            return "xk-nac", asked
        case 3:
            return "me-nac", InformationProvided(acted_at=at, request=made[-1], complete=True)
    ended = ServiceEnded(acted_at=at, service_action=made[-3], reason="completed")
    return "xk-ngo-support", ended


def measure(ledger: Ledger, conninfo: str, case_id: UUID, rounds: int) -> dict[str, Any]:
    """Medians in milliseconds, the ways in turn."""
    mapper, protocol = ActionMapper(), ledger.adopted().directory
    project = Case.projector(Agreement.of(protocol))
    stored = ledger.rows.select_events(case_id)
    events = [mapper.to_domain_event(row) for row in stored]
    case = project(None, events)
    assert case is not None
    content = (case.state, list(case.history.values()))
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS public.snapshots (id uuid PRIMARY KEY, content bytea)"
        )
        connection.execute(
            "INSERT INTO public.snapshots VALUES (%s, %s)", (case_id, pickle.dumps(content))
        )

        def snapshot() -> None:
            row = connection.execute(
                "SELECT content FROM public.snapshots WHERE id = %s", (case_id,), prepare=True
            ).fetchone()
            assert row is not None
            _, acts = pickle.loads(row[0])
            dict(zip((act.id for act in acts), acts, strict=True))

        ways: dict[str, Callable[[], object]] = {
            "from the store": lambda: ledger.repository.get(case_id, projector_func=project),
            "reading alone": lambda: ledger.rows.select_events(case_id),
            "decoding alone": lambda: [mapper.to_domain_event(row) for row in stored],
            "folding alone": lambda: project(None, events),
            "best snapshot": snapshot,
        }
        took: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, run in ways.items():
                began = time.perf_counter()
                run()
                took[way].append(time.perf_counter() - began)
    return {way: round(statistics.median(values) * 1e3, 3) for way, values in took.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="case-ledger-bench-") as directory:
        Path(directory).chmod(0o755)
        server = EmbeddedServer(Path(directory) / "postgresql")
        agencies = Agencies()
        try:
            with new_database(server.conninfo) as conninfo:
                migrate_all(conninfo, agencies.protocol)
                with Ledger(environment(conninfo)) as ledger:
                    agencies.begin(ledger)
                    found = {
                        length: measure(
                            ledger, conninfo, put_case(ledger, agencies, length), rounds
                        )
                        for length in LENGTHS
                    }
        finally:
            server.stop()
    console.print(found)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"rounds": rounds, "milliseconds": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
