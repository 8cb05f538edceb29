"""API7:2023: no request makes the server ask an address of the attacker's."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from api.exchange.witness_clients import HttpWitness
from ledger.log.policy import Policy
from tests.attacks.target import KOSOVO, Target, claims, forged, header


@contextmanager
def listener(answer: bytes = b"") -> Iterator[tuple[str, list[bytes]]]:
    """An address of the attacker's, and what came to it."""
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.1)
        stopping = threading.Event()

        def listen() -> None:
            while not stopping.is_set():
                try:
                    connection, _ = listening.accept()
                except TimeoutError:
                    continue
                with connection:
                    came.append(connection.recv(65536))
                    connection.sendall(answer)

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", came
        finally:
            stopping.set()
            thread.join()


def test_a_policy_that_one_party_proposes_is_not_gone_to(target: Target) -> None:
    """API7:2023 SSRF: a witness's URL is asked once every party has adopted it, not before."""
    with listener() as (url, came):
        old = Policy.parse(target.ask("/log/policy", None).text)
        name, trusted = next(iter(old.witnesses.items()))
        text = str(old).replace(
            f"witness {name} {trusted.key}", f"witness {name} {trusted.key} {url}"
        )
        assert url in text
        signed = target.sign("xk-nac", target.vote(text), None)
        told = target.append(signed, agency="xk-nac")
        assert told.status_code == 201
        with target.server.client(KOSOVO) as police:
            police.agencies()
        for worker in ("sign", "gather"):
            target.server.worker(worker).wait_for_step()
        assert came == []


def test_addresses_in_tokens_and_headers_are_not_gone_to(target: Target) -> None:
    """API7:2023 SSRF: ``jku``, ``x5u``, and the headers that proxies and traces use."""
    key = target.key(KOSOVO)
    with listener() as (url, came):
        for name in ("jku", "x5u"):
            token = forged(header(key, **{name: f"{url}/keys"}), claims(), key)
            with target.untouched():
                target.refuses(target.ask("/v1/agencies", token=token), 401, "assertion-malformed")
        for name in ("Referer", "Origin", "X-Forwarded-Host", "Traceparent", "Link"):
            target.ask("/ready", None, headers={name: url})
        assert came == []


def test_a_witness_sends_elsewhere(target: Target) -> None:
    """API7:2023 SSRF: a redirect is an answer, and is not followed."""
    assert target.server.url
    with listener() as (inside, came):
        moved = f"HTTP/1.1 307 M\r\nLocation: {inside}/x\r\nContent-Length: 0\r\n\r\n".encode()
        with listener(moved) as (outside, asked):
            witness = HttpWitness(outside)
            try:
                assert witness.add_checkpoint(b"old 0\n").status == 307
            finally:
                witness.close()
        assert len(asked) == 1
        assert came == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/"])
def test_other_schemes_are_not_spoken(url: str) -> None:
    """API7:2023 SSRF: a witness is reached by HTTP alone."""
    witness = HttpWitness(url)
    try:
        with pytest.raises(ConnectionError, match=httpx.UnsupportedProtocol.__name__):
            witness.add_checkpoint(b"old 0\n")
    finally:
        witness.close()
