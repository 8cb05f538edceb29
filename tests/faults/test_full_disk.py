"""The disk under two nodes is filled, at random moments, while agencies write and read.

``CASE_LEDGER_TEST_FULL_DISKS`` sets how many times. The file system is one of the test's own, which
only root may make.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import psycopg
import pytest

from api.client import LedgerClient, RefusedError
from api.client.schemas import Receipt
from api.demo.machines import Machine
from api.runtime.schema import migrate_all
from ledger.application import Ledger, environment
from ledger.log.policy import Policy
from ledger.verification.evidence_reader import kept_in, stored_rows
from ledger.verification.verification import verify_ledger
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Purpose, RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.small_disk import RESERVE, Filler, small_disk, told
from tests.support.two_nodes import introduce, opened
from tests.support.waiting import until

FILLED = int(os.environ.get("CASE_LEDGER_TEST_FULL_DISKS", "1"))
SIZE_MEBIBYTES = 700
READ_SECONDS = 5.0
BETWEEN_SECONDS = 0.05
"""A loop rests so long, and leaves the processor to what the test waits for."""
TOLD_SECONDS = 10.0


@pytest.fixture
def disk(directory: Path) -> Iterator[Path]:
    with small_disk(directory, SIZE_MEBIBYTES) as mounted:
        yield mounted


@pytest.fixture
def machines(disk: Path, agencies: Agencies) -> Iterator[tuple[Machine, Machine]]:
    ledger, country = Machine(disk / "ledger"), Machine(disk / "xk")
    introduce(ledger, country, disk, agencies)
    ledger.settings |= RESERVE
    country.settings |= RESERVE
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


class Loop(threading.Thread):
    """Does the same again and again until it is told to stop, or fails."""

    def __init__(self, once: Callable[[], None]) -> None:
        super().__init__()
        self.done = 0
        self.error: BaseException | None = None
        self.stopping = threading.Event()
        self._once = once

    def run(self) -> None:
        try:
            while not self.stopping.wait(BETWEEN_SECONDS):
                self._once()
                self.done += 1
        except BaseException as error:
            self.error = error


class Writing:
    """Opens cases and acts on them; what is refused for want of space is sent again, unchanged."""

    def __init__(self, client: LedgerClient) -> None:
        self.receipts: list[Receipt] = []
        self.stopping = threading.Event()
        self._client = client

    def once(self) -> None:
        case_id = uuid4()
        self._send(opening(indicators_note="a note that must not be lost"), case_id, 0)
        self._send(RiskAssessed(acted_at=START, risk_level=RiskLevel.HIGH), case_id, 1)

    def _send(self, action: object, case_id: UUID, version: int) -> None:
        signed = self._client.sign(action, case_id)  # type: ignore[arg-type]
        while not self.stopping.is_set():
            try:
                self.receipts.append(self._client.send(signed, case_id, version))
                return
            except RefusedError as error:
                told = error.problem
                assert (told.status, told.rule) == (507, "disk-low"), told
                time.sleep(0.2)


def test_a_full_disk_stops_what_is_new_and_nothing_else(
    machines: tuple[Machine, Machine], disk: Path, agencies: Agencies
) -> None:
    ledger, country = machines
    registered = 1 + len(agencies.registrations())
    until(lambda: country.ready().get("head", 0) >= registered, "the first copy", seconds=120)

    def client(machine: Machine, agency: str, patience: float) -> LedgerClient:
        return LedgerClient(
            machine.url,
            agency=agency,
            key=agencies.keys[agency],
            protocol=agencies.protocol.id,
            patience=patience,
        )

    with ExitStack() as stack:
        police, reader = (
            stack.enter_context(client(country, "xk-dhtqnj", patience))
            for patience in (120, READ_SECONDS)
        )
        follower = stack.enter_context(client(ledger, "xk-node", READ_SECONDS))
        first = police.open_case(opening(indicators_note="a note", first_name="A name"))
        writing = Writing(police)

        def read_view() -> None:
            assert reader.case(first.case_id, at_least=first.position).view.case_id == first.case_id

        def read_personal() -> None:
            read = reader.read(first.case_id, [FieldGroup.IDENTITY], Purpose.PROTECTION)
            assert [field.value for field in read.fields] == ["A name"]

        def read_ledger() -> None:
            assert follower.events(first.position - 1, limit=1).events
            assert follower.proof(1)

        until(
            lambda: ledger.ready().get("published", 0) >= first.position, "publication", seconds=120
        )
        readers = [Loop(once) for once in (read_view, read_personal, read_ledger)]
        writer = Loop(writing.once)
        loops = [writer, *readers]
        for loop in loops:
            loop.start()
        stack.callback(stop, loops, writing)

        filler, random = Filler(disk), Random(11)
        stack.callback(filler.empty)
        for _ in range(FILLED):
            written = len(writing.receipts)
            until(lambda w=written: len(writing.receipts) > w, "progress", seconds=60)  # type: ignore[misc]
            time.sleep(random.uniform(0, 1.0))
            filler.fill()
            for machine in machines:
                until(lambda m=machine: told(m) == (503, "disk-low"), "told", seconds=TOLD_SECONDS)  # type: ignore[misc]
            before = [loop.done for loop in readers]
            case_id = uuid4()
            late = police.sign(opening(indicators_note="not taken at first"), case_id)
            with pytest.raises(RefusedError) as refused:
                police.send(late, case_id, 0)
            assert (refused.value.problem.status, refused.value.problem.rule) == (507, "disk-low")
            time.sleep(random.uniform(0.5, 1.5))
            for loop, count in zip(readers, before, strict=True):
                assert loop.error is None, repr(loop.error)
                until(lambda loop=loop, n=count: loop.done > n + 3, "reading", seconds=READ_SECONDS)  # type: ignore[misc]
            assert told(ledger) == told(country) == (503, "disk-low")
            filler.empty()
            for machine in machines:
                until(lambda m=machine: told(m)[0] == 200, "room again", seconds=60)  # type: ignore[misc]
            writing.receipts.append(police.send(late, case_id, 0))
        written = len(writing.receipts)
        until(lambda: len(writing.receipts) > written + 2, "progress in the end", seconds=60)
    assert [loop.error for loop in loops] == [None] * len(loops)
    size = ledger.ready()["head"]
    until(lambda: country.ready().get("published", 0) >= size, "the copy", seconds=120)
    check(machines, [first, *writing.receipts])


def stop(loops: list[Loop], writing: Writing) -> None:
    for loop in loops:
        loop.stopping.set()
    until(lambda: not loops[0].is_alive(), "the last action", seconds=60)
    writing.stopping.set()
    for loop in loops:
        loop.join()


def check(machines: tuple[Machine, Machine], receipts: list[Receipt]) -> None:
    ledger, country = machines
    country.stop()
    ledger.stop()
    with opened(ledger) as conninfo, Ledger(environment(conninfo)) as application:
        rows = application.rows.select_rows(0, 10**6)
    by_action = {row.action_id: row for row in rows}
    for receipt in receipts:
        row = by_action[receipt.action_id]
        assert (row.position, row.version) == (receipt.position, receipt.case_version)
    with opened(country) as conninfo:
        with Ledger(environment(conninfo)) as application:
            assert application.rows.select_rows(0, 10**6) == rows
        with psycopg.connect(conninfo) as connection:
            held = connection.execute(
                "SELECT count(DISTINCT case_id) FROM vault_xk.disclosures"
                " WHERE field = 'indicators_note'"
            ).fetchone()
            policy = Policy.parse((country.home.parent / "policy").read_text())
            report = verify_ledger(stored_rows(connection), kept_in(connection, policy))
    assert held is not None
    assert held[0] == len({receipt.case_id for receipt in receipts})
    assert report.holds, report.findings
