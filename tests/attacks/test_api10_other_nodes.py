"""API10:2023: what another node answers is not believed further than it is bounded."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import api.client.bounded_answers
from api.client import LedgerClient
from api.exchange import witness_clients
from api.exchange.mirror_sync import HttpSource
from api.exchange.witness_clients import HttpWitness
from ledger.replication.event_source import SourceError, parsed
from ledger.signing import keys

HTML = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\n\r\n<html>no</html>"
ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"10000\r\n" + b"e" * 0x10000 + b"\r\n"
BOMB = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"
MOVED = b"HTTP/1.1 302 F\r\nConnection: close\r\nLocation: http://127.0.0.1:9/\r\n\r\n"


@contextmanager
def liar(head: bytes, again: bytes = b"", every: float = 0.0) -> Iterator[str]:
    """A node that answers everything so, and with ``again`` for as long as anyone reads."""
    stopping = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(5)
            try:
                connection.recv(65536)
                connection.sendall(head)
                while again and not stopping.wait(every):
                    connection.sendall(again)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except OSError:
                return

    def listen(listening: socket.socket) -> None:
        while not stopping.is_set():
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        thread = threading.Thread(target=listen, args=(listening,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            stopping.set()
            thread.join()


@contextmanager
def source(url: str) -> Iterator[HttpSource]:
    client = LedgerClient(url, agency="xk-node", key=keys.generate(), protocol="p", patience=0)
    with client:
        yield HttpSource(url, client, wait=0)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that are soon met."""
    monkeypatch.setattr(api.client.bounded_answers, "MAX_BYTES", 300_000)
    monkeypatch.setattr(api.client.bounded_answers, "SECONDS", 0.5)
    monkeypatch.setattr(witness_clients, "_ANSWER_SECONDS", 0.5)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("head", "again", "every"),
    [
        (ENDLESS, CHUNK, 0.0),
        (ENDLESS, b"1\r\ne\r\n", 0.05),
        (BOMB, b"", 0.0),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", CHUNK, 0.0),
        (b"HTTP/1.1 500 E\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK, 0.0),
        (b"\x00\x01" * 1000, b"", 0.0),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000, b"", 0.0),
    ],
    ids=["endless", "dripping", "compressed", "huge", "endless error", "no HTTP", "endless head"],
)
def test_an_answer_without_end(head: bytes, again: bytes, every: float) -> None:
    """API10:2023 unsafe consumption: a copying node and a log's node read no further."""
    with liar(head, again, every) as url, source(url) as mirrored:
        for ask in (lambda: mirrored.head(0), lambda: mirrored.entries(0, 5), mirrored.published):
            with pytest.raises(ConnectionError):
                ask()
    with liar(head, again, every) as url:
        witness = HttpWitness(url)
        try:
            with pytest.raises(ConnectionError):
                witness.add_checkpoint(b"old 0\n")
        finally:
            witness.close()


@pytest.mark.parametrize("head", [HTML, MOVED], ids=["HTML", "elsewhere"])
def test_an_answer_that_is_something_else(head: bytes) -> None:
    """API10:2023 unsafe consumption: a captive portal's page, or a way elsewhere."""
    with liar(head) as url, source(url) as mirrored:
        with pytest.raises(SourceError):
            mirrored.entries(0, 5)
        for told in (mirrored.head(0), mirrored.published()):
            assert told is not None
            with pytest.raises(SourceError):
                parsed(told)


@pytest.mark.parametrize(
    "entry",
    ['"\\u00e9"', '"' + "[" * 9000 + '"', "7", "null"],
    ids=["no ASCII", "deep", "number", "null"],
)
def test_events_that_are_none(entry: str) -> None:
    """API10:2023 unsafe consumption: entries that are no bytes of an event."""
    body = f'{{"events": [{{"position": 1, "entry": {entry}}}], "next": 1}}'.encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    with liar(head) as url, source(url) as mirrored, pytest.raises(SourceError):
        mirrored.entries(0, 1)


def test_a_page_that_leads_back_to_itself() -> None:
    """API10:2023 unsafe consumption: ``next`` that does not move on ends the copying."""
    event = (
        '{"position": 1, "case_id": "7cc57600-0000-4000-8000-000000000000", "case_version": 1,'
        ' "action_id": "7cc57600-0000-4000-8000-000000000000", "kind": "case_opened",'
        ' "recorded_at": "2026-01-01T00:00:00Z", "leaf_hash": "", "entry": "{}"}'
    )
    body = f'{{"events": [{event}], "next": 0}}'.encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    with liar(head) as url, source(url) as mirrored, pytest.raises(SourceError):
        mirrored.entries(0, 1000)
