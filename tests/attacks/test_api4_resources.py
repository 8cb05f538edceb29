"""API4:2023: nothing that one asks for costs without bound."""

import gzip
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from unittest.mock import patch
from uuid import uuid4

import pytest

import api.http.http_protocol
import api.http.middleware
from api.http.http_protocol import HEAD_BYTES
from api.processes.app import MAX_BODY
from ledger.signing.sd_jwt import MAX_BYTES
from tests.attacks.target import KOSOVO, MARK, Target, b64, claims, drain, forged, header
from tests.support.actions import opening
from tests.support.waiting import until

DEEP = 100_000
FIRST_NAME = b'["c2FsdHNhbHRzYWx0c2FsdA","first_name",'
SD_JWT = {"Content-Type": "application/sd-jwt", "If-None-Match": "*"}


def pieces(count: int = 64) -> Iterator[bytes]:
    for _ in range(count):
        yield b"e" * 64 * 1024


@pytest.mark.parametrize("body", [b"e" * (MAX_BODY + 1), pieces], ids=["declared", "chunked"])
def test_a_body_without_end(target: Target, body: object) -> None:
    """API4:2023; ASVS V4.3: too long, announced or not."""
    with target.untouched():
        told = target.ask(f"/v1/cases/{uuid4()}/actions", method="POST", headers=SD_JWT,
                          content=body() if callable(body) else body)  # fmt: skip
    target.refuses(told, 413, "too-long")
    assert told.headers["connection"] == "close"


def test_a_witness_is_sent_too_much(target: Target) -> None:
    """API4:2023: the one route that takes a body of anyone."""
    with target.untouched():
        told = target.ask("/witness/xk/add-checkpoint", None, method="POST", content=pieces())
    target.refuses(told, 413, "too-long")


def test_a_compressed_body_is_not_inflated(target: Target) -> None:
    """API4:2023; ASVS V5.2.3: a zip bomb is but bytes that are no action."""
    bomb = gzip.compress(b"0" * 50_000_000)
    assert len(bomb) < MAX_BODY
    for encoding in ("gzip", "deflate", "br", "zstd"):
        with target.untouched():
            told = target.ask(
                f"/v1/cases/{uuid4()}/actions",
                method="POST",
                headers={**SD_JWT, "Content-Encoding": encoding},
                content=bomb,
            )
        target.refuses(told, 422, "request")


def test_json_that_is_too_deep(target: Target) -> None:
    """API4:2023; ASVS V1.5: nesting in header, payload, disclosure and assertion."""
    deep = b"[" * DEEP
    nested = b',"x":' + b'{"a":' * 5000 + b"1" + b"}" * 5001
    key, case = target.key(KOSOVO), uuid4()
    signed = target.sign(KOSOVO, opening(), case)
    head, body = (json.dumps(dict(part)).encode() for part in (signed.header, signed.payload))
    for text in (
        f"{forged(b'[' * DEEP, body, key)}~",
        f"{forged(head, deep[: MAX_BYTES // 2], key)}~",
        f"{signed}{b64(deep[:DEEP])}~",
        f"{signed}{b64(FIRST_NAME + deep[: DEEP // 2])}~",
        f"{forged(head, body[:-1] + nested, key)}~",
    ):
        with target.untouched():
            told = target.append(text, case=case)
        target.refuses(told, 422, "malformed-sd-jwt")
    for head, body in ((b"[" * 2000, b"{}"), (b"{}", b"[" * 2000), (b'{"a":' * 400, b"{}")):
        told = target.ask("/v1/agencies", token=forged(head, body, key))
        target.refuses(told, 401, "assertion-malformed")


NUMBERS = {
    "past every float": b"1e999999",
    "minus that": b"-1e999999",
    "a hundred thousand digits": b"9" * 100_000,
    "not a number": b"NaN",
    "without end": b"-Infinity",
}


@pytest.mark.parametrize("which", NUMBERS)
def test_numbers_beyond_measure(target: Target, which: str) -> None:
    """API4:2023; ASVS V1.5: in the payload, a disclosure and an assertion."""
    number, key, case = NUMBERS[which], target.key(KOSOVO), uuid4()
    more = b',"x":' + number + b"}"
    signed = target.sign(KOSOVO, opening(), case)
    head, body = (json.dumps(dict(part)).encode() for part in (signed.header, signed.payload))
    for text in (
        f"{forged(head, body[:-1] + more, key)}~",
        f"{signed}{b64(FIRST_NAME + number + b']')}~",
    ):
        with target.untouched():
            told = target.append(text, case=case)
        target.refuses(told, 422, "malformed-sd-jwt")
    body = json.dumps(claims()).encode()[:-1] + b',"exp2":' + number[:2000] + b"}"
    told = target.ask("/v1/agencies", token=forged(json.dumps(header(key)).encode(), body, key))
    target.refuses(told, 401, "assertion-malformed")


def test_very_many_or_very_long_disclosures(target: Target) -> None:
    """API4:2023: more disclosures than digests, and an SD-JWT past its length."""
    signed = target.sign(KOSOVO, opening(), case := uuid4())
    for text, rule in (
        (f"{signed}" + "WyJzIiwiYSIsMV0~" * 10_000, "disclosure"),
        (f"{signed}" + "~" * 50_000, "malformed-sd-jwt"),
        (f"{signed}" + "A" * (MAX_BYTES + 1) + "~", "request"),
        (f"{signed}" + "." * 100_000 + "~", "malformed-sd-jwt"),
    ):
        with target.untouched():
            told = target.append(text, case=case)
        target.refuses(told, 422, rule)
    target.refuses(target.ask("/v1/agencies", token="e" * 5000), 401, "assertion-malformed")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/cases?limit=201",
        "/v1/cases?limit=0",
        "/v1/cases?limit=-1",
        "/v1/cases?limit=50&limit=100000",
        "/v1/cases?limit=1e9",
        "/v1/cases?limit=" + "9" * 5000,
        "/v1/cases?before=9007199254740993",
        "/v1/events?limit=501",
        "/v1/events?after=-1",
        "/v1/events?after=9007199254740993",
        "/v1/outbox?limit=201",
        "/v1/log/head?wait=5.1",
        "/v1/log/head?wait=inf",
        "/v1/log/head?wait=nan",
        "/v1/log/head?after=9007199254740993",
        "/v1/cases/{case}/trail?limit=1001",
        "/v1/cases/{case}?as_of_position=0",
        "/v1/protocol/trail?after=-1",
        "/v1/obligations?limit=201",
        "/v1/obligations?limit=" + "9" * 5000,
        "/v1/obligations?at_least=9007199254740993",
        "/v1/accountability/response-times?by=kind&by=kind&by=kind&by=kind",
    ],
)
def test_a_page_or_a_wait_past_its_bounds(target: Target, path: str) -> None:
    """API4:2023; ASVS V2.2: every limit has one."""
    with target.untouched():
        told = target.ask(path.format(case=target.case), "xk-nac")
    target.refuses(told, 422, "request")


def test_waiting_for_what_will_not_come(target: Target) -> None:
    """API4:2023: no thread waits for a position that no event has."""
    with patch("api.http.parameters.Polling.pause", side_effect=AssertionError("it waits")):
        told = target.ask("/v1/cases?at_least=9007199254740992")
    target.refuses(told, 422, "unknown-position")


def stream(at: Target, agency: str) -> socket.socket:
    connection = at.connection()
    bearer = at.bearer(agency)["Authorization"]
    connection.sendall(
        f"GET /v1/events?after=9999 HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\n"
        "Accept: text/event-stream\r\n\r\n".encode()
    )
    return connection


def status(connection: socket.socket) -> int:
    return int(connection.recv(65536).split()[1])


def test_streams_are_hoarded(narrow: Target) -> None:
    """API4:2023: streams of one agency, and of all, are bounded, and free again once closed."""
    with narrow.untouched(), ExitStack() as stack:
        for agency, wanted in [("xk-nac", 3), ("me-nac", 2)]:
            for _ in range(wanted):
                assert status(stack.enter_context(closing(stream(narrow, agency)))) == 200
        for agency in ("xk-nac", "me-nac", "al-nac"):
            told = narrow.ask("/v1/events?after=1", agency, headers={"Accept": "text/event-stream"})
            narrow.refuses(told, 429, "too-many-streams")
            assert int(told.headers["retry-after"]) > 0
        assert narrow.ask("/v1/events", "al-nac").is_success  # pages are no streams
        # The last place is for oversight bodies and nodes.
        assert status(stack.enter_context(closing(stream(narrow, "xk-ombudsperson")))) == 200
        told = narrow.ask(
            "/v1/events?after=1", "me-ombudsman", headers={"Accept": "text/event-stream"}
        )
        narrow.refuses(told, 429, "too-many-streams")

    def has_place() -> bool:
        with closing(stream(narrow, "xk-nac")) as again:
            return status(again) == 200

    until(has_place, every=0.5)


def test_waits_for_a_signed_head_are_hoarded(narrow: Target) -> None:
    """API4:2023: requests that wait are bounded as streams are."""
    bearers = [narrow.bearer("xk-ombudsperson")["Authorization"] for _ in range(4)]
    with ExitStack() as stack:
        waiting = [stack.enter_context(closing(narrow.connection(8))) for _ in bearers]
        for connection, bearer in zip(waiting, bearers, strict=True):
            connection.sendall(
                f"GET /v1/log/head?after=9999&wait=1.5 HTTP/1.1\r\nHost: a\r\n"
                f"Authorization: {bearer}\r\n\r\n".encode()
            )
        told = sorted(status(connection) for connection in waiting)
    assert told == [200, 200, 200, 429]


UNPATCHED_SECONDS = api.http.http_protocol.HEAD_SECONDS


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow requests are given up after a moment."""
    monkeypatch.setattr(api.http.http_protocol, "HEAD_SECONDS", 0.6)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("drop", [b"", b"X", b"\r\n", b"X-A: b\r\n"], ids=repr)
def test_a_head_that_comes_drop_by_drop(target: Target, drop: bytes) -> None:
    """API4:2023 slow-loris: a connection is not held by a head that never ends."""
    with closing(target.connection()) as connection:
        connection.sendall(b"" if drop == b"\r\n" else b"GET /health HTTP/1.1\r\nHost: a\r\n")
        began = time.monotonic()
        closed = False
        while not closed and time.monotonic() - began < UNPATCHED_SECONDS - 1:
            connection.settimeout(0.1)
            try:
                connection.sendall(drop)
                closed = connection.recv(1000) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                closed = True
    assert closed


def test_a_head_without_end(target: Target) -> None:
    """API4:2023: a request line or headers past what any request needs."""
    for endless in (
        b"GET /" + b"a" * (2 * HEAD_BYTES),
        b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * HEAD_BYTES,
        b"GET /health HTTP/1.1\r\nX: " + b"a" * (64 * HEAD_BYTES),
    ):
        said = target.raw(endless)
        assert said.startswith(b"HTTP/1.1 400") or b"(reset)" in said
        assert b"200" not in said.split(b"\r\n")[0]


def test_a_body_that_comes_drop_by_drop(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """API4:2023 slow-loris: a body has its time, however regularly it drips."""
    monkeypatch.setattr(api.http.middleware, "BODY_SECONDS", 0.5)
    bearer = target.bearer(KOSOVO)["Authorization"]
    with target.untouched(), closing(target.connection()) as connection:
        connection.sendall(
            f"POST /v1/protocol/actions HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\n"
            f"Content-Type: application/sd-jwt\r\nContent-Length: 100\r\n\r\n{MARK}".encode()
        )
        said = drain(connection, 2)
    assert said.startswith(b"HTTP/1.1 408")
    assert b'"rule":"too-slow"' in said
    assert b"connection: close" in said.lower()
