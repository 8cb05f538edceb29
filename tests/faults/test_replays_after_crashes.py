"""An assertion that was used is refused after every crash, at every process on the database."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path

import httpx
import psycopg
import pytest
from joserfc import jwt

from api.authentication.replay_guard import AHEAD
from api.client.assertion import TYPE
from api.demo.node_process import NodeProcess, kill_postgresql
from api.runtime.node_database import open_store
from api.runtime.schema import migrate_all
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.signing import keys
from tests.conftest import in_memory
from tests.support import process
from tests.support.agencies import Agencies
from tests.support.waiting import until

AGENCY = "xk-nac"
KILLS = int(os.environ.get("CASE_LEDGER_TEST_KILLS", "1"))
"""Crashes just after an assertion that moved the bound."""


BROKEN = (0, None)
"""No answer: the connection broke."""


@dataclass
class Place:
    """Two API processes on one database, each of which may be killed, and the database too."""

    directory: Path
    agencies: Agencies
    conninfo: str
    nodes: tuple[NodeProcess, NodeProcess]
    http: httpx.Client
    made: int = 0

    def token(self, of: timedelta = timedelta(), lifetime: int = 300) -> str:
        """An assertion by a clock that is so far ahead."""
        self.made += 1
        issued = int((datetime.now(UTC) + of).timestamp())
        key = self.agencies.keys[AGENCY]
        claims = {
            "iss": AGENCY,
            "aud": "case-ledger",
            "iat": issued,
            "exp": issued + lifetime,
            "jti": f"{os.getpid()}-{self.made:020}",
        }
        header = {"alg": "Ed25519", "typ": TYPE, "kid": keys.key_id(key)}
        return jwt.encode(header, claims, key, algorithms=["Ed25519"])

    def ask(self, token: str, node: int = 0) -> tuple[int, str | None]:
        headers = {"Authorization": f"Bearer {token}"}
        try:
            answer = self.http.get(f"{self.nodes[node].url}/v1/protocol", headers=headers)
        except httpx.TransportError:  # the process or its database has just ended
            return BROKEN
        return answer.status_code, answer.json().get("rule")

    def use(self, count: int = 5) -> list[str]:
        """Assertions that were just used, by clocks that are right and early.

        What an earlier crash made unsure is over by then.
        """
        self.wait_until_it_answers(seconds=90)
        tokens = []
        for _ in range(count):
            for seconds in (0, 0, 2):
                tokens.append(self.token(timedelta(seconds=seconds)))
                assert self.ask(tokens[-1]) == (200, None)
        return tokens

    def wait_until_it_answers(self, node: int = 0, seconds: float = 30) -> float:
        """Return the seconds until a new assertion was accepted again."""
        began = time.monotonic()
        until(lambda: self.ask(self.token(), node) == (200, None), seconds=seconds)
        return time.monotonic() - began


@pytest.fixture(scope="module")
def place(agencies: Agencies) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="case-ledger-test-", dir=in_memory()) as name:
        directory = Path(name)
        directory.chmod(0o755)
        with open_store(Settings(data_directory=directory, database_url=None)) as store:
            migrate_all(store.owner_conninfo, agencies.protocol)
            with Ledger(environment(store.conninfo)) as ledger:
                agencies.begin(ledger)
            conninfo = store.conninfo
        env = process.environment(directory)
        nodes = (
            NodeProcess(env, directory / "serve.log"),
            NodeProcess(env, directory / "other.log"),
        )
        limits = httpx.Limits(max_keepalive_connections=0)
        with nodes[0], nodes[1], httpx.Client(timeout=30, limits=limits) as http:
            made = Place(directory, agencies, conninfo, nodes, http)
            made.wait_until_it_answers(0)
            made.wait_until_it_answers(1)
            yield made


def kill_the_database(place: Place) -> None:
    kill_postgresql(place.directory)


def kill_a_backend(place: Place) -> None:
    """The kernel's out-of-memory killer: the postmaster stays, and recovers from the log."""
    with psycopg.connect(place.conninfo) as connection:
        os.kill(connection.info.backend_pid, 9)


def kill_the_api(place: Place) -> None:
    place.nodes[0].kill()
    place.nodes[0].start()
    place.nodes[0].wait_until_alive()


def kill_both(place: Place) -> None:
    place.nodes[0].kill()
    kill_postgresql(place.directory)
    place.nodes[0].start()
    place.nodes[0].wait_until_alive()


def restart_the_api(place: Place) -> None:
    place.nodes[0].stop()
    place.nodes[0].start()
    place.nodes[0].wait_until_alive()


CRASHES = [kill_the_database, kill_a_backend, kill_the_api, kill_both, restart_the_api]
EMPTIES = (kill_the_database, kill_a_backend, kill_both)


@pytest.mark.parametrize("crash", CRASHES, ids=lambda crash: crash.__name__)
def test_a_used_assertion_is_refused_after(place: Place, crash: Callable[[Place], None]) -> None:
    used = place.use()
    crash(place)
    # At once, by whichever process finds it first, and again once all is in order.
    for moment in range(2):
        for token in used[:: 1 if moment else 7]:
            for node in (1, 0):
                told = place.ask(token, node)
                if told == BROKEN:
                    continue  # it was accepted by nobody
                assert told[0] in (401, 503), told
                assert told[1] in (
                    "assertion-replayed",
                    "assertion-before-crash",
                    "store-unavailable",
                )
        place.wait_until_it_answers()
    again = {place.ask(token, node) for token in used for node in (0, 1)}
    if BROKEN in again:
        pytest.fail("\n".join(node.said() for node in place.nodes))
    if crash in EMPTIES:
        assert again == {(503, "assertion-before-crash")}
    else:
        assert again == {(401, "assertion-replayed")}
    # What is used after it is remembered as before.
    token = place.token()
    assert place.ask(token) == (200, None)
    assert place.ask(token, 1) == (401, "assertion-replayed")


def test_after_a_crash_all_who_keep_time_get_in_soon(place: Place) -> None:
    """The wait depends on the clock that was most ahead, and on nothing else."""
    place.use(2)  # the last by a clock that is two seconds ahead
    kill_postgresql(place.directory)
    place.ask(place.token())  # finds it
    took = place.wait_until_it_answers()
    assert took < 2 + AHEAD.total_seconds() + 10  # PostgreSQL starts meanwhile
    assert place.ask(place.token(), 1) == (200, None)


def test_an_assertion_that_moved_the_bound_is_refused_after_a_crash_at_once(place: Place) -> None:
    """The bound is durable before the first assertion beyond it is accepted."""
    for seconds in islice(cycle((9, 3, 6)), KILLS):
        # A child of the killed server may have answered before: then the crash shows only now.
        began, token = time.monotonic(), place.token(timedelta(seconds=seconds))
        while (told := place.ask(token)) != (200, None):
            assert told[0] == 503, told
            assert time.monotonic() - began < 60
            time.sleep(0.2)
            token = place.token(timedelta(seconds=seconds))
        kill_postgresql(place.directory)
        refused = {place.ask(token, 1), place.ask(token, 0)}  # the server's children may live on
        assert refused <= {
            (401, "assertion-replayed"),
            (503, "assertion-before-crash"),
            (503, "store-unavailable"),
        }
        place.wait_until_it_answers()
