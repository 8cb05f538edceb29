"""A node is several processes: one answers requests, one does the rest, one looks after both."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch
from uuid import uuid4

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from api.client import LedgerClient
from api.client.assertion import make_assertion
from api.demo.node_process import NodeProcess, is_alive
from api.node.node import Node
from api.processes.server import _answer, listen, listen_when_free, work
from api.processes.supervisor import AGAIN
from api.runtime.node_database import DATABASE
from api.runtime.settings import Settings
from api.runtime.status import CHANNEL, NodeStatus, StatusCache, StatusReporter, notify
from ledger.application import Ledger, environment
from ledger.store.database import Database
from ledger.store.notices import Listener
from tests.support import process
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]


def noted(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a program of two parts, which write their ids into files."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*how: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.support.parts", str(tmp_path), *how]
        started.append(subprocess.Popen(command, cwd=ROOT))
        return started[-1]

    yield start
    for one in started:
        one.terminate()
        assert one.wait(120) in (0, 7, -signal.SIGKILL)


Program = Callable[..., subprocess.Popen[bytes]]


def test_a_node_waits_for_the_address_of_the_one_before_it() -> None:
    """The processes of a node that was killed end a moment after it."""
    with socket.socket() as before:
        before.bind(("127.0.0.1", 0))
        before.listen()
        settings = Settings(host="127.0.0.1", port=before.getsockname()[1])
        with pytest.raises(OSError, match="name another by --port"):
            listen_when_free(settings, seconds=0.0)
        ends = threading.Timer(0.2, before.close)
        ends.start()
        with listen_when_free(settings) as bound:
            assert bound.getsockname()[1] == settings.port
        ends.join()


@pytest.mark.parametrize("part", ["answer", "work"])
def test_a_process_that_begins_while_the_database_goes_is_started_again(
    part: str, database: str, tmp_path: Path
) -> None:
    """A crash of the database under a start is no end of the node; another fault is."""
    settings = Settings(database_url=SecretStr(database), data_directory=tmp_path, port=0)

    def begin() -> None:
        if part == "work":
            work(settings, database)
        with listen(settings) as bound:
            _answer(settings, database, bound)

    def code(fault: Exception) -> object:
        with patch.object(Node, "__enter__", side_effect=fault), patch("os.nice"):
            try:
                begin()
            except SystemExit as ended:
                return ended.code
            except ValueError:
                return 1
        return 0

    assert code(psycopg.OperationalError("server closed the connection")) == AGAIN
    assert code(ValueError("a fault of the program")) in (1, 3)


def test_who_is_killed_is_started_again(program: Program, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    program()
    until(lambda: noted(one) and noted(other))
    for times in (1, 2):
        os.kill(noted(one)[-1], signal.SIGKILL)
        until(lambda n=times: len(noted(one)) == n + 1)  # type: ignore[misc]
    assert len(noted(other)) == 1  # nobody else is disturbed
    assert is_alive(noted(other)[0])
    assert (tmp_path / "l").read_text()  # it was looked at something meanwhile


@pytest.mark.parametrize("code", ["0", "3"])
def test_where_one_ends_by_itself_all_do(code: str, program: Program, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert program(code).wait(120) == 7
    assert f"process one ended with code {code}" in (tmp_path / "ended").read_text()
    assert not is_alive(noted(other)[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nobody_outlives_the_parent(
    number: signal.Signals, program: Program, tmp_path: Path
) -> None:
    one = tmp_path / "one"
    parent = program()
    until(lambda: noted(one))
    parent.send_signal(number)
    until(lambda: not is_alive(noted(one)[0]))
    assert len(noted(one)) == 1


def test_a_signal_in_the_middle_of_a_fork_is_not_lost(program: Program) -> None:
    """Python drops an exception that is raised in a callback of the fork."""
    assert program("told").wait(30) == 0


def test_one_beside_ends_with_the_block(program: Program, tmp_path: Path) -> None:
    assert program("beside").wait(120) == 0
    (pid,) = noted(tmp_path / "one")
    assert not is_alive(pid)


@pytest.fixture
def node(directory: Path, agencies: Agencies) -> Iterator[NodeProcess]:
    """A node in which a protocol is adopted."""
    serve = NodeProcess(process.environment(directory), directory / "serve.log")
    with serve:
        with Ledger(environment(conninfo(directory))) as ledger:
            agencies.begin(ledger)
        yield serve


def conninfo(directory: Path) -> str:
    return f"postgresql://postgres@/{DATABASE}?host={directory / 'postgresql'}"


def client(node: NodeProcess, agencies: Agencies, agency: str = "xk-dhtqnj") -> LedgerClient:
    return LedgerClient(
        node.url,
        agency=agency,
        key=agencies.keys[agency],
        protocol=agencies.protocol.id,
        patience=20,
    )


def test_a_node_goes_on_whichever_of_its_processes_is_killed(
    node: NodeProcess, agencies: Agencies
) -> None:
    with client(node, agencies) as asking:
        for _ in range(2):
            for pid in node.parts():
                os.kill(pid, signal.SIGKILL)
                case_id = uuid4()
                receipt = asking.append(opening(), case_id, 0)
                assert asking.case(case_id, at_least=receipt.position).view.version == 1
                until(lambda: len(node.parts()) == 2)
                until(lambda r=receipt: asking.ready().published >= r.position)  # type: ignore[misc]
    assert node.stop() == 0


def test_two_request_processes_are_one_node(directory: Path, agencies: Agencies) -> None:
    """Limits hold, and metrics count, for both together; one goes on while the other is killed."""
    most = 60
    env = process.environment(
        directory, CASE_LEDGER_PROCESSES="2", CASE_LEDGER_REQUESTS_PER_MINUTE=str(most)
    )
    with NodeProcess(env, directory / "serve.log") as node:
        with Ledger(environment(conninfo(directory))) as ledger:
            agencies.begin(ledger)
        told = '"processes": 2, "pool_size": '
        assert told in node.log.read_text()
        assert len(node.parts()) == 3

        def ask(http: httpx.Client) -> int:
            assertion = make_assertion(
                "xk-dhtqnj", agencies.keys["xk-dhtqnj"], "case-ledger", datetime.now(UTC)
            )
            asked = {"Authorization": f"Bearer {assertion}"}
            return http.get(f"{node.url}/v1/cases/{uuid4()}", headers=asked).status_code

        with ExitStack() as stack:  # many connections, so that both processes have some
            each = [stack.enter_context(httpx.Client()) for _ in range(10)]
            statuses = [ask(http) for _ in range(8) for http in each]
            assert statuses == [404] * most + [429] * (len(statuses) - most)
            served = {number_of_requests(http, node) for http in each}
            assert served == {len(statuses)}
        os.kill(node.parts()[0], signal.SIGKILL)
        with client(node, agencies, "me-border") as asking:
            assert asking.append(opening(("ME",)), uuid4(), 0)
        until(lambda: len(node.parts()) == 3)
        assert ask(httpx.Client()) == 429
        assert node.stop() == 0


def number_of_requests(http: httpx.Client, node: NodeProcess) -> int:
    """Return how many requests of the case's route the node says that it answered."""
    lines = http.get(f"{node.url}/metrics").text.splitlines()
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in lines
        if line.startswith("case_ledger_request_seconds_count") and '"/v1/cases/{case_id}"' in line
    )


def test_roles_may_be_on_machines_of_their_own(
    database: str, agencies: Agencies, directory: Path
) -> None:
    """Both are configured alike, but for what they do; here they share a directory of keys."""
    with Ledger(environment(database)) as ledger:
        agencies.begin(ledger)
    api, work = (
        NodeProcess(
            process.environment(
                directory, CASE_LEDGER_DATABASE_URL=database, CASE_LEDGER_ROLES=f'["{role}"]'
            ),
            directory / f"{role}.log",
        )
        for role in ("api", "work")
    )
    with api, client(api, agencies) as asking:
        assert len(api.parts()) == 1
        receipt = asking.append(opening(), uuid4(), 0)
        assert asking.ready().published == 0
        assert asking.ready().worked_at is None
        work.start()
        until(lambda: asking.ready().published >= receipt.position)
        assert asking.ready().worked_at is not None
        assert len(work.parts()) == 1
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{work.url}/health")
        assert (work.stop(), api.stop()) == (0, 0)


def test_what_is_said_is_heard_and_kept(database: str) -> None:
    said = [NodeStatus(size=1)]
    with Database(database) as pool, ExitStack() as stack:
        told = StatusCache(pool)
        told.read()
        assert told.now == NodeStatus()
        assert told.said_at() is None
        heard: list[str] = []
        listener = Listener(
            database, {CHANNEL: heard.append}, when_listening=lambda: heard.append("")
        )
        stack.enter_context(listener)
        until(lambda: heard)  # once, for what may have been missed
        teller = stack.enter_context(StatusReporter(pool, lambda: said[-1]))
        until(lambda: len(heard) == 2)
        told.read()
        assert told.now == NodeStatus(size=1)
        assert told.said_at() is not None
        said.append(NodeStatus(size=2))
        teller.wake()
        until(lambda: len(heard) == 3)
        told.read()
        assert told.now.size == 2
        told.hear(NodeStatus(size=3).model_dump_json())
        assert told.now.size == 3
        told.hear("no such thing")
        assert told.now.size == 3
        notify(pool, CHANNEL)
        until(lambda: len(heard) == 4)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
        until(lambda: len(heard) >= 5)  # the connection was lost, and all may have been missed
