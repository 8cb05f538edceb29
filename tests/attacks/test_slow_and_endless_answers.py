"""Other servers that answer slowly or without end hold no thread, no memory and no other notice."""

import ast
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

import api
import api.client.bounded_answers
from api.authentication.sign_in import Provider
from api.background_jobs.timestamper import HttpTimestampAuthority
from api.client.bounded_answers import bounded_client
from api.exchange.witness_clients import HttpWitness
from api.notifying import channels
from api.notifying.channels import MailChannel, MailServer, NotReceivedError, WebhookChannel
from api.notifying.subscriptions import Subscription
from tests.attacks.test_api10_other_nodes import liar, source
from tests.support.receiving import SECRET

_SOON_SECONDS = 0.4
_LATE_SECONDS = 8.0
_DRIPPED_HEAD = (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n")
_DRIPPED_LINE = (b"HTTP/1.1 200 O", b"K")
_DRIPPED_BODY = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\ne\r\n")


def ask_provider(url: str) -> None:
    provider = Provider(url)
    try:
        provider.metadata()
    finally:
        provider.close()


def ask_webhook(url: str) -> None:
    channel = WebhookChannel()
    try:
        to = Subscription("me-nac", webhook=url, secret=SecretStr(SECRET))
        channel.send(to, uuid4(), {"type": "a test"})
    finally:
        channel.close()


def ask_authority(url: str) -> None:
    authority = HttpTimestampAuthority(url, seconds=_SOON_SECONDS)
    try:
        authority.answer(b"a request")
    finally:
        authority.close()


def ask_witness(url: str) -> None:
    witness = HttpWitness(url)
    try:
        witness.add_checkpoint(b"old 0\n")
    finally:
        witness.close()


def ask_node(url: str) -> None:
    with source(url) as mirrored:
        mirrored.head(0)


ASKING: dict[str, Callable[[str], None]] = {
    "provider": ask_provider,
    "webhook": ask_webhook,
    "timestamp authority": ask_authority,
    "witness": ask_witness,
    "other node": ask_node,
}


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The times of the program's own, shortened; each single wait keeps its own."""
    monkeypatch.setattr(api.client.bounded_answers, "SECONDS", _SOON_SECONDS)
    monkeypatch.setattr("api.notifying.channels._SECONDS", _SOON_SECONDS)
    monkeypatch.setattr("api.exchange.witness_clients._ANSWER_SECONDS", _SOON_SECONDS)
    monkeypatch.setattr("api.authentication.sign_in._SECONDS", _SOON_SECONDS)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("who", ASKING)
@pytest.mark.parametrize(
    ("first", "again"), [_DRIPPED_HEAD, _DRIPPED_LINE, _DRIPPED_BODY], ids=["head", "line", "body"]
)
def test_an_answer_that_drips(who: str, first: bytes, again: bytes) -> None:
    """API10:2023: the whole answer has a time, its head included."""
    with liar(first, again, 0.1) as url:
        began = time.monotonic()
        with pytest.raises((ConnectionError, NotReceivedError)):
            ASKING[who](url)
        assert time.monotonic() - began < _LATE_SECONDS


@pytest.mark.parametrize("who", ASKING)
def test_an_answer_that_swells(who: str) -> None:
    """API10:2023: a compressed answer is refused before a byte of it is read."""
    bomb = gzip.compress(b" " * 50_000_000)
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(bomb)
    )
    with liar(head + bomb) as url, pytest.raises((ConnectionError, NotReceivedError)):
        ASKING[who](url)


def test_a_stream_of_events_is_bounded_in_its_head_alone() -> None:
    http = bounded_client(seconds=0.5, limit=10)
    event = b"2\r\n:\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    following = {"Accept": "text/event-stream"}
    with http, liar(head, event, 0.05) as url, http.stream("GET", url, headers=following) as stream:
        began = time.monotonic()
        pieces = stream.iter_raw()
        while time.monotonic() - began < 1:
            assert next(pieces)
    with (
        bounded_client(seconds=0.5) as http,
        liar(*_DRIPPED_HEAD, 0.1) as url,
        pytest.raises(httpx.TimeoutException, match="too long"),
    ):
        http.get(url, headers=following)


def test_a_mail_server_that_drips_its_greeting(monkeypatch: pytest.MonkeyPatch) -> None:
    """API10:2023: a mail server too has a time for the whole letter."""
    monkeypatch.setattr(channels, "_MAIL_SECONDS", _SOON_SECONDS)
    with liar_that_speaks_first(b"220-", b"e") as port:
        channel = MailChannel(MailServer("127.0.0.1", port, "none", "ledger@example.org"))
        began = time.monotonic()
        with pytest.raises(NotReceivedError):
            channel.send(Subscription("me-nac", email="duty@example.org"), uuid4(), _message())
        assert time.monotonic() - began < _LATE_SECONDS


def test_every_request_goes_out_by_the_bounded_client() -> None:
    """No module makes an HTTP client of its own, which would have no bound."""
    root = Path(api.__file__).parent
    unbounded = {
        f"{path.relative_to(root)}:{node.lineno}"
        for path in root.rglob("*.py")
        if path.name != "answers.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in ("httpx", "requests", "urllib", "httpcore")
        and node.func.attr in ("Client", "AsyncClient", "get", "post", "request", "stream")
        # A test's own transport, which the client is given from outside.
        and not any(word.arg == "transport" for word in node.keywords)
    }
    assert unbounded == set()


def _message() -> dict[str, object]:
    data = {"action": "a", "due": "2026-01-01T00:00:00Z", "kind": "answer", "case_id": "c"}
    data |= {"debtor_agency": None, "debtor": None, "obligation_id": "o"}
    return {"type": "obligation.overdue", "timestamp": "2026-01-01T00:00:00+00:00", "data": data}


@contextmanager
def liar_that_speaks_first(first: bytes, again: bytes) -> Iterator[int]:
    """A server that speaks before it is spoken to, and never ends. Gives its port."""
    stopping = threading.Event()

    def listen(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            try:
                connection.sendall(first)
                while not stopping.wait(0.1):
                    connection.sendall(again)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=listen, args=(listening,), daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            stopping.set()
            thread.join()
