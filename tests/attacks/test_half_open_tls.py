"""Connections to a node that ends TLS itself, and whose handshake or first record never ends."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi import FastAPI

from api.http import http_protocol, tls_acceptor
from api.processes.server import listen
from api.processes.server import server as http_server
from api.runtime.settings import Settings
from tests.attacks.target import drain
from tests.support.tls import Authority
from tests.support.waiting import until

_MOST = 12
_ONE, _OTHER = "127.0.0.9", "127.0.0.10"
_HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
_HALF_A_RECORD = b"\x17\x03\x03\x00\x80half of it"


@dataclass(frozen=True)
class Door:
    """A server that ends TLS, with few connections of one address."""

    port: int
    context: ssl.SSLContext

    def opened(self, source: str, said: bytes = b"") -> socket.socket:
        """Connect, and say so much instead of a handshake."""
        connection = socket.create_connection(("127.0.0.1", self.port), 10, (source, 0))
        connection.sendall(said)
        return connection

    def asked(self, source: str) -> bytes:
        """Ask over TLS; nothing is answered where the connection is cut off."""
        try:
            with closing(self.shaken(source)) as secure:
                secure.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
                return drain(secure, 0.5)
        except OSError:
            return b""

    def shaken(self, source: str) -> ssl.SSLSocket:
        """Connect, and end the handshake."""
        return self.context.wrap_socket(self.opened(source), server_hostname="127.0.0.1")


@pytest.fixture(params=["uvloop", "asyncio"])
def door(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Door]:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "203.0.113.1")  # read while the server starts
    monkeypatch.setattr(tls_acceptor, "HANDSHAKE_SECONDS", 2.0)
    monkeypatch.setattr(tls_acceptor, "_SHUTDOWN_SECONDS", 0.5)
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("node")
    named = Settings(
        port=0, tls_certificate=certificate, tls_key=key, connections_per_address=_MOST
    )
    app = FastAPI()
    app.get("/health")(lambda: "alive")
    listening, serving = listen(named), http_server(app, named, grace=1)
    serving.config.loop = request.param
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        until(lambda: serving.started or not thread.is_alive(), every=0.01)
        yield Door(listening.getsockname()[1], authority.context())
    finally:
        serving.should_exit = True
        thread.join()
        listening.close()


def test_handshakes_that_never_end_count_for_their_address(door: Door) -> None:
    """API4:2023: an address that opens connections without TLS leaves room for others."""
    with ExitStack() as stack:
        for number in range(_MOST):
            said = b"" if number % 2 else _HALF_A_HELLO
            stack.enter_context(closing(door.opened(_ONE, said)))
        assert door.asked(_ONE).startswith(b"HTTP/1.1 429")
        more = [stack.enter_context(closing(door.opened(_ONE))) for _ in range(60)]
        cut = []
        for connection in more:
            connection.settimeout(0.02)
            try:
                cut.append(connection.recv(1) == b"")
            except ConnectionError:
                cut.append(True)
            except TimeoutError:
                cut.append(False)
        assert cut.count(False) <= 16
        assert door.asked(_ONE) == b""
        assert door.asked(_OTHER).startswith(b"HTTP/1.1 200")
        # The others still hold their end, and have ended no handshake.
        until(lambda: door.asked(_ONE).startswith(b"HTTP/1.1 200"))


def test_records_that_never_end_count_until_they_are_cut_off(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """API4:2023: a record of which half is missing holds a place no longer than a head may take."""
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 2.0)
    with ExitStack() as stack:
        for _ in range(_MOST):
            secure = stack.enter_context(closing(door.shaken(_ONE)))
            socket.socket.sendall(secure, _HALF_A_RECORD)  # past TLS
        assert door.asked(_ONE).startswith(b"HTTP/1.1 429")
        assert door.asked(_OTHER).startswith(b"HTTP/1.1 200")
        until(lambda: door.asked(_ONE).startswith(b"HTTP/1.1 200"))
