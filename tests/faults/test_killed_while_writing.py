"""`kill -9` of a node, of PostgreSQL, or of one of the node's processes while eight agencies write.

``CASE_LEDGER_TEST_KILLS`` sets how many times; each kind of kill comes in turn.
"""

import os
import signal
import time
from collections import Counter
from itertools import cycle, islice
from pathlib import Path
from random import Random
from uuid import UUID

from api.client.schemas import Receipt
from api.demo.node_process import NodeProcess, kill_postgresql
from api.runtime.node_database import open_store
from api.runtime.schema import migrate_all
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.procedure.agreement import Agreement
from ledger.store.database import Database
from projections.folds.audit_trail import state_after
from projections.folds.case_view import case_view
from projections.tables.view_queries import ViewReader
from projections.upkeep.runner import ViewRunner
from tests.support import process
from tests.support.agencies import Agencies
from tests.support.views import wait_for
from tests.support.writing import Writer, wait_for_progress, writing

KILLS = int(os.environ.get("CASE_LEDGER_TEST_KILLS", "4"))
WRITERS = 8


def test_every_acknowledged_event_survives(directory: Path, agencies: Agencies) -> None:
    settings = Settings(data_directory=directory, database_url=None)
    with open_store(settings) as store:
        migrate_all(store.owner_conninfo, agencies.protocol)
        with Ledger(environment(store.conninfo)) as ledger:
            agencies.begin(ledger)
            before = ledger.head()

    police = [a.id for a in agencies.protocol.agencies if a.party == "XK" and a.role == "police"]
    # Two request processes append, so that any kill may come while one waits for the other.
    node = NodeProcess(
        process.environment(directory, CASE_LEDGER_PROCESSES="2"), directory / "serve.log"
    )
    with node:
        with writing(node.url, agencies, list(islice(cycle(police), WRITERS))) as writers:
            kills = kill_again_and_again(node, directory, writers)
        assert node.stop() == 0
    assert kills.total() == KILLS

    acknowledged = [receipt for writer in writers for receipt in writer.acknowledged]
    with open_store(settings) as store, Ledger(environment(store.conninfo)) as ledger:
        check_recorded_once(ledger, acknowledged, before)
        check_views(ledger, store.conninfo, {r.case_id for r in acknowledged}, agencies)


def kill_again_and_again(
    node: NodeProcess, data_directory: Path, writers: list[Writer]
) -> Counter[str]:
    random = Random(7)
    kills: Counter[str] = Counter()
    for kind in islice(cycle(("node", "postgresql", "both", "part")), KILLS):
        wait_for_progress(writers, node.said)
        time.sleep(random.uniform(0, 0.7))
        if kind in ("node", "both"):
            node.kill()
        if kind in ("postgresql", "both"):
            kill_postgresql(data_directory)
        if kind in ("node", "both"):
            node.start()
        if kind == "part":  # one that answers requests, or the one that does the rest
            os.kill(random.choice(node.parts()), signal.SIGKILL)
        kills[kind] += 1
    wait_for_progress(writers, node.said)
    return kills


def check_recorded_once(ledger: Ledger, acknowledged: list[Receipt], before: int) -> None:
    """Every action is there once, as its receipt says; positions and versions have no gap."""
    rows = ledger.rows.select_rows(0, 1_000_000)
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    recorded = {row.action_id: row for row in rows[before:]}
    assert len(recorded) == len(rows) - before
    assert recorded.keys() == {receipt.action_id for receipt in acknowledged}
    assert len(acknowledged) == len(recorded)
    for receipt in acknowledged:
        row = recorded[receipt.action_id]
        assert (row.position, row.version) == (receipt.position, receipt.case_version)
        assert (row.originator_id, row.recorded_at) == (receipt.case_id, receipt.recorded_at)
    versions: dict[UUID, list[int]] = {}
    for row in rows[before:]:
        versions.setdefault(row.originator_id, []).append(row.version)
    for found in versions.values():
        assert found == list(range(1, len(found) + 1))


def check_views(ledger: Ledger, conninfo: str, cases: set[UUID], agencies: Agencies) -> None:
    """The views catch up with the ledger, and are what their trails fold to."""
    with Database(conninfo) as pool, ViewRunner(conninfo):
        views = ViewReader(pool)
        wait_for(views, ledger.head(), seconds=60)
        for case_id in cases:
            case = ledger.case(case_id)
            state = state_after(views.trail(case_id))
            assert case is not None
            assert state == case.state
            assert views.case("XK", case_id) == case_view(
                case.state, "XK", Agreement.of(agencies.protocol), case.history
            )
            # What was disclosed with the opening is there once.
        with pool.transaction(role="case_ledger_vault_xk") as connection:
            held = connection.execute(
                "SELECT case_id, count(DISTINCT digest) AS fields FROM vault_xk.disclosures"
                " WHERE field = 'indicators_note' GROUP BY case_id"
            ).fetchall()
    assert {row["case_id"] for row in held} == cases
    assert {row["fields"] for row in held} == {1}
