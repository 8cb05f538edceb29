"""Power is lost on the ledger node, on a country's node, or on both, while agencies write.

``CASE_LEDGER_TEST_KILLS`` sets how many times; each kind of loss comes in turn.
"""

import os
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from random import Random

import psycopg
import pytest

from api.demo.machines import Machine
from api.runtime.schema import migrate_all
from ledger.application import Ledger, environment
from ledger.log.policy import Policy
from ledger.verification.evidence_reader import kept_in, stored_rows
from ledger.verification.verification import verify_ledger
from tests.faults.test_killed_while_writing import check_recorded_once
from tests.support.agencies import Agencies
from tests.support.two_nodes import introduce, opened
from tests.support.waiting import until
from tests.support.writing import Writer, wait_for_progress, writing

KILLS = int(os.environ.get("CASE_LEDGER_TEST_KILLS", "2"))
WRITERS = 4


@pytest.fixture
def machines(directory: Path, agencies: Agencies) -> Iterator[tuple[Machine, Machine]]:
    ledger, country = Machine(directory / "ledger"), Machine(directory / "xk")
    introduce(ledger, country, directory, agencies)
    with opened(ledger) as conninfo:
        migrate_all(conninfo, agencies.protocol)
        with Ledger(environment(conninfo)) as application:
            agencies.begin(application)
    try:
        ledger.start()
        country.start()
        yield ledger, country
    finally:
        ledger.kill()
        country.kill()


def lose_power(machines: tuple[Machine, Machine], writers: list[Writer]) -> None:
    random = Random(5)
    said = lambda: "".join(m.log.read_text()[-2000:] for m in machines)  # noqa: E731
    ledger, country = machines
    for lost in islice(cycle(((ledger, country), (ledger,), (country,))), KILLS):
        wait_for_progress(writers, said)
        time.sleep(random.uniform(0, 0.7))
        for machine in lost:
            machine.kill()
        time.sleep(random.uniform(0, 1.0))
        for machine in lost:
            machine.start()
    wait_for_progress(writers, said)


def test_each_action_is_recorded_once_whichever_node_loses_power(
    machines: tuple[Machine, Machine], agencies: Agencies
) -> None:
    ledger, country = machines
    police = [a.id for a in agencies.protocol.agencies if a.party == "XK" and a.role == "police"]
    registered = 1 + len(agencies.registrations())
    until(lambda: country.ready().get("head", 0) >= registered, "the first copy")
    with writing(country.url, agencies, list(islice(cycle(police), WRITERS))) as writers:
        lose_power(machines, writers)
    size = ledger.ready()["head"]
    until(lambda: country.ready().get("published", 0) >= size, country.ready)
    assert country.ready()["following"]["waiting"] == 0
    country.stop()
    ledger.stop()
    acknowledged = [receipt for writer in writers for receipt in writer.acknowledged]
    cases = {receipt.case_id for receipt in acknowledged}
    with opened(ledger) as conninfo:
        with Ledger(environment(conninfo)) as application:
            check_recorded_once(application, acknowledged, registered)
            rows = application.rows.select_rows(0, 10**6)
        assert disclosed(conninfo) == {}
    with opened(country) as conninfo:
        with Ledger(environment(conninfo)) as application:
            assert application.rows.select_rows(0, 10**6) == rows
        # What was disclosed with the opening is there once.
        assert disclosed(conninfo) == dict.fromkeys(map(str, cases), 1)
        with psycopg.connect(conninfo) as connection:
            policy = Policy.parse((country.home.parent / "policy").read_text())
            report = verify_ledger(stored_rows(connection), kept_in(connection, policy))
    assert report.holds, report.findings
    assert report.covered == len(rows)


def disclosed(conninfo: str) -> dict[str, int]:
    with psycopg.connect(conninfo) as connection:
        return dict(
            connection.execute(
                "SELECT case_id::text, count(DISTINCT digest) FROM vault_xk.disclosures"
                " WHERE field = 'indicators_note' GROUP BY case_id"
            ).fetchall()
        )
