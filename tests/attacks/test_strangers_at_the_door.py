"""Strangers, and callers with no measure, who would take all that a node has for others."""

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import typst

from api.http.http_protocol import ConnectionsOfAddresses
from api.runtime.counts import LocalCounts
from tests.api.test_sign_in import Place, place, rule
from tests.attacks.conftest import attacked
from tests.attacks.target import KOSOVO, Target, drain
from tests.support.agencies import Agencies
from tests.support.openid import Provider, providing
from tests.support.waiting import until
from tests.support.web import FROM_HERE

_MOST = 12
_SIGN_INS = 30
_PATIENCE_SECONDS = 60.0
"""So long a node waits here for a provider, which the tests let go earlier."""


@pytest.fixture(scope="module")
def door(server: str, begun: str, agencies: Agencies) -> Iterator[Target]:
    """A server that nobody forwards to, and that keeps few connections of one address."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FORWARDED_ALLOW_IPS", "203.0.113.1")  # read while the server starts
            made = attacked(server, begun, agencies, connections_per_address=_MOST)
            target = stack.enter_context(made)
        yield target


def connected(target: Target, source: str) -> socket.socket:
    at = urlsplit(target.server.url)
    assert at.hostname is not None
    return socket.create_connection((at.hostname, at.port or 0), 5, (source, 0))


def asked(connection: socket.socket) -> bytes:
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
    return drain(connection, 0.5)


def test_one_address_holds_no_more_connections_than_its_share(door: Target) -> None:
    """API4:2023: whoever opens connections and says nothing leaves room for others."""
    with ExitStack() as stack:
        for _ in range(_MOST):
            stack.enter_context(closing(connected(door, "127.0.0.9")))
        with closing(connected(door, "127.0.0.9")) as late:
            assert drain(late, 0.5).startswith(b"HTTP/1.1 429")
        with closing(connected(door, "127.0.0.10")) as another:
            assert asked(another).startswith(b"HTTP/1.1 200")

    def has_place() -> bool:
        with closing(connected(door, "127.0.0.9")) as again:
            return asked(again).startswith(b"HTTP/1.1 200")

    until(has_place)


def test_connections_that_end_are_counted_no_more() -> None:
    counted = ConnectionsOfAddresses(2)
    for _ in range(50):
        assert counted.enter("2001:db8::1")
        assert counted.enter("2001:db8::2")
        assert not counted.enter("2001:db8::3")  # of the same /64
        assert counted.enter("2001:db8:1::1")
        for address in ("2001:db8::1", "2001:db8::2", "2001:db8:1::1"):
            counted.leave(address)
    counts = counted._open._counts
    assert isinstance(counts, LocalCounts)
    assert not counts._counts
    assert all(counted.enter("127.0.0.1") for _ in range(10))  # a proxy speaks for others


def test_one_address_has_no_more_requests_under_way_behind_a_proxy(
    server: str, begun: str, agencies: Agencies
) -> None:
    """API4:2023: behind a proxy, the address that it names has the limit."""
    head = (
        b"POST /witness/xk/add-checkpoint HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n"
        b"X-Forwarded-For: %s\r\n\r\nhalf of it"
    )
    with (
        attacked(server, begun, agencies, connections_per_address=_MOST) as target,
        ExitStack() as stack,
    ):
        for _ in range(_MOST):
            connection = stack.enter_context(closing(target.connection()))
            connection.sendall(head % b"198.51.100.7")
        seven, eight = ({"X-Forwarded-For": f"198.51.100.{n}"} for n in (7, 8))
        until(lambda: target.ask("/health", None, headers=seven).status_code == 429)
        target.refuses(target.ask("/health", None, headers=seven), 429, "too-many-at-once")
        assert target.ask("/health", None, headers=eight).is_success


def test_many_pdfs_of_one_case(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """API4:2023: few PDFs are set at once, whoever asks for how many."""
    lock, now, most = threading.Lock(), 0, 0
    compile_pages = typst.compile

    def counting(*given: Any, **named: Any) -> Any:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        try:
            time.sleep(0.2)
            return compile_pages(*given, **named)
        finally:
            with lock:
                now -= 1

    monkeypatch.setattr(typst, "compile", counting)
    path = f"/cases/{target.case}/trail.pdf"
    with ThreadPoolExecutor(20) as crowd:
        flood = [crowd.submit(target.ask, path) for _ in range(20)]
        time.sleep(0.3)
        other = target.ask(path, "xk-nac")
        told = [answer.result().status_code for answer in flood]
    assert other.status_code == 200
    assert set(told) == {200, 429}
    assert most <= 2
    assert target.ask(path).status_code == 200


def test_a_costly_place_is_free_again_after_an_error(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/cases/{target.case}/trail.pdf"
    with monkeypatch.context() as patch:
        patch.setattr(typst, "compile", lambda *_, **__: None)
        for _ in range(10):
            assert target.ask(path, KOSOVO).status_code == 500
    assert target.ask(path, KOSOVO).status_code == 200


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providing() as made:
        yield made


@pytest.fixture(scope="module")
def node(
    server: str,
    begun: str,
    agencies: Agencies,
    provider: Provider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("node")
    more = {"sign_ins_per_minute": _SIGN_INS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.authentication.sign_in._SECONDS", _PATIENCE_SECONDS)
        with place(server, begun, agencies, directory, provider.url, **more) as made:
            yield made


def browser(node: Place, address: str) -> httpx.Client:
    headers = {"X-Forwarded-For": address}
    return httpx.Client(base_url=node.url, headers=headers, timeout=2 * _PATIENCE_SECONDS)


def set_out(node: Place, address: str, code: str) -> Callable[[], httpx.Response]:
    """Set out. Returns how to come back with a code of one's own making."""
    client = browser(node, address)
    out = client.get("/auth/login")
    state = parse_qs(urlsplit(out.headers["location"]).query)["state"][0]
    issuer = parse_qs(urlsplit(out.headers["location"]).query).get("iss", [""])[0]
    named = {"code": code, "state": state, "iss": issuer or node.server.settings.oidc_issuer}

    def come_back() -> httpx.Response:
        with closing(client):
            return client.get("/auth/callback", params=named)

    return come_back


def test_strangers_with_codes_of_their_own_stop_nobody_from_signing_in(
    node: Place, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """API4:2023: codes that the provider is slow to refuse leave places for the others."""
    exchange, refuses, held = provider.token, threading.Event(), threading.Semaphore(0)

    def slow(authorization: str, form: dict[str, str]) -> Any:
        if form["code"] == "forged":
            held.release()
            refuses.wait(_PATIENCE_SECONDS)
            return None
        return exchange(authorization, form)

    monkeypatch.setattr(provider, "token", slow)
    provider.reset()
    # One after the other: an address may set out twice at once, and no oftener.
    strangers = [set_out(node, f"198.51.100.{number % 3}", "forged") for number in range(8)]
    with ThreadPoolExecutor(8) as crowd:
        flood = [crowd.submit(come_back) for come_back in strangers]
        try:
            for _ in range(6):
                assert held.acquire(timeout=_PATIENCE_SECONDS)
            with node.browser() as person:
                answer = person.get("/auth/login")
                assert answer.is_success, answer.text
                assert answer.json()["agency"] == "xk-nac"
            assert sum(not one.done() for one in flood) >= 6
        finally:
            refuses.set()
        told = {rule(answer.result()) for answer in flood}
    assert (429, "too-many-at-once") in told  # more than two of one address
    assert (401, "sign-in-refused") in told


def test_an_address_sets_out_so_often_and_no_more(node: Place) -> None:
    with browser(node, "198.51.100.20") as client:
        told = [client.get("/auth/login") for _ in range(_SIGN_INS + 1)]
        assert [answer.status_code for answer in told[:-1]] == [303] * _SIGN_INS
        assert rule(told[-1]) == (429, "too-many-requests")
    with browser(node, "198.51.100.21") as another:
        assert another.get("/auth/login").status_code == 303


def test_an_address_tries_links_of_invitations_so_often_and_no_more(node: Place) -> None:
    tried = {"secret": "a" * 43}
    with browser(node, "198.51.100.24") as client:
        told = [
            rule(client.post("/v1/invited", json=tried, headers=FROM_HERE))
            for _ in range(_SIGN_INS + 1)
        ]
    assert told == [(403, "invitation-over")] * _SIGN_INS + [(429, "too-many-requests")]


def test_unfinished_sign_ins_are_bounded(node: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.authentication.sessions.MAX_PENDING", 7)
    for number in range(15):
        with browser(node, f"198.51.101.{number}") as client:
            assert client.get("/auth/login").status_code == 303
    assert node.count("sign_ins") == 7
    with node.browser() as person:  # who set out last comes back
        assert person.get("/auth/login").json()["agency"] == "xk-nac"


def test_requests_that_wait_for_a_hanging_provider_hold_up_no_other(
    server: str,
    begun: str,
    agencies: Agencies,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """API4:2023: while the provider hangs, everything that does not need it goes on."""
    for name in ("_SECONDS", "_WAIT_SECONDS"):
        monkeypatch.setattr(f"api.authentication.sign_in.{name}", _PATIENCE_SECONDS)
    with (
        socket.create_server(("127.0.0.1", 0), backlog=50) as silent,
        place(
            server, begun, agencies, tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}"
        ) as node,
        ThreadPoolExecutor(40) as crowd,
    ):
        flood = [
            crowd.submit(lambda n=n: browser(node, f"198.51.102.{n}").get("/auth/login"))
            for n in range(40)
        ]
        try:
            assert select.select([silent], [], [], _PATIENCE_SECONDS)[0]  # the node asks it
            answer = httpx.get(f"{node.url}/log/policy", timeout=_PATIENCE_SECONDS)
            assert answer.is_success  # which needs a thread
            assert not any(one.done() for one in flood)
        finally:
            silent.close()
        assert {rule(answer.result())[0] for answer in flood} == {503}
