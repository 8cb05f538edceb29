"""Clients without an answer go on, and nothing is recorded twice or lost.

``CASE_LEDGER_TEST_IDLE_SECONDS`` sets how long a follower is idle between restarts of the node;
from 60 on the keep-alive has its real interval.
"""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from api.demo.node_process import NodeProcess, kill_postgresql
from ledger.signing.keys import key_id, load
from tests.support.command_line import ACT, CommandLine
from tests.support.process import PROGRAM
from tests.support.waiting import until

IDLE_SECONDS = float(os.environ.get("CASE_LEDGER_TEST_IDLE_SECONDS", "0.6"))
KEEPALIVE = "15" if IDLE_SECONDS >= 60 else "0.2"


class Follower:
    """`case-ledger events --follow` as a process, and the positions that it printed."""

    def __init__(self, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [PROGRAM, "events", "-a", "xk-nac", "--follow", "--json"],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.positions: list[int] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.positions.append(json.loads(line)["position"])

    def wait_for(self, position: int) -> None:
        def has_come() -> bool:
            assert self._process.poll() is None, self.said()
            return bool(self.positions) and self.positions[-1] >= position

        until(has_come, lambda: self.positions)

    def said(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read()

    def wait(self) -> int:
        code = self._process.wait(60)
        self._thread.join()
        return code

    def stop(self) -> None:
        self._process.kill()
        self.wait()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()


@contextmanager
def muting(node_url: str) -> Iterator[tuple[str, threading.Event]]:
    """Pass requests on, and no answer to an action back for as long as the event is set.

    What a command asks before it signs is answered.
    """
    mute = threading.Event()

    class Passing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            answer = httpx.post(
                f"{node_url}{self.path}", content=content, headers=dict(self.headers.items())
            )
            if mute.is_set():
                self.close_connection = True
                return
            self._answer(answer)

        def do_GET(self) -> None:
            headers = dict(self.headers.items())
            self._answer(httpx.get(f"{node_url}{self.path}", headers=headers))

        def _answer(self, answer: httpx.Response) -> None:
            self.send_response(answer.status_code)
            for name in ("Content-Type", "Content-Length"):
                self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Passing)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}", mute
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CommandLine, NodeProcess]]:
    """A node with an adopted protocol and Kosovo's police, and commands that talk to it."""
    directory = tmp_path_factory.mktemp("lost-answers")
    cli = CommandLine(directory, {"CASE_LEDGER_STREAM_KEEPALIVE_SECONDS": KEEPALIVE})
    made = {a: cli.json("keys", "new", a) for a in ("xk-nac", "me-nac", "al-nac", "xk-dhtqnj")}
    me, al = (f"{agency}={made[agency]['public']}" for agency in ("me-nac", "al-nac"))
    cli.json("adopt", "--as", "xk-nac", "--coordinator", me, "--coordinator", al)
    with NodeProcess(cli.env, directory / "serve.log") as node:
        cli.more["CASE_LEDGER_URL"] = node.url
        cli.json("keys", "register", "-a", "xk-nac", "xk-dhtqnj", made["xk-dhtqnj"]["public"])
        yield cli, node


def test_an_answer_that_is_lost_is_completed_later_by_the_same_action(
    begun: tuple[CommandLine, NodeProcess],
) -> None:
    cli, node = begun
    with muting(node.url) as (proxy, mute):
        mute.set()
        asked = ("act", "-a", "xk-dhtqnj", "--url", proxy, "--patience", "0")
        said = cli.run(*asked, *ACT, code=4)
        assert "may be recorded or not" in said.stderr
        assert "act --resend" in said.stderr
        kept = list((cli.directory / "unsent").iterdir())
        assert [path.stat().st_mode & 0o077 for path in kept] == [0]
        before = cli.json("events", "-a", "xk-nac")["next"]
        cli.run(*asked, "--resend", code=4)
        mute.clear()
        receipt = cli.json(*asked, "--resend")
    assert receipt["action_id"] == kept[0].stem
    assert receipt["position"] == before == cli.json("events", "-a", "xk-nac")["next"]
    assert list((cli.directory / "unsent").iterdir()) == []
    assert "Nothing of xk-dhtqnj waits" in cli.run("act", "--resend", "-a", "xk-dhtqnj").stdout


def test_what_the_node_refuses_is_not_kept(begun: tuple[CommandLine, NodeProcess]) -> None:
    cli, _ = begun
    kind, _, *fields = ACT
    in_future = "acted_at=2999-01-01T00:00:00Z"
    said = cli.run("act", "-a", "xk-dhtqnj", kind, in_future, *fields, code=2)
    assert "acted-in-future" in said.stderr
    assert list((cli.directory / "unsent").iterdir()) == []


def test_a_follower_goes_on_through_silence_and_restarts_and_ends_with_its_key(
    begun: tuple[CommandLine, NodeProcess],
) -> None:
    cli, node = begun
    follower = Follower(cli.env)
    try:
        recorded = []
        for restart in (node.stop, node.kill, None):
            recorded.append(cli.json("act", "-a", "xk-dhtqnj", *ACT)["position"])
            follower.wait_for(recorded[-1])
            time.sleep(IDLE_SECONDS)
            if restart is not None:
                restart()
                if restart == node.kill:
                    kill_postgresql(cli.directory)
                node.start()
                node.wait_until_alive()
        own = load(cli.directory / "keys" / "xk-nac.jwk")
        cli.run("keys", "revoke", "-a", "xk-nac", key_id(own))
        assert follower.wait() == 2
        assert "revoked-key" in follower.said()
        seen = follower.positions
        assert seen[: recorded[-1]] == list(range(1, recorded[-1] + 1))
        assert len(seen) - recorded[-1] <= 1  # the revocation itself may come before the end
    finally:
        follower.stop()
