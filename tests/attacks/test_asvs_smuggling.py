"""ASVS 5 V4.2, HTTP messages: one reading of where a request ends, or none."""

import re

import pytest

from tests.attacks.target import MARK, Target

INNER = b"GET /v1/cases?limit=" + MARK.encode() + b" HTTP/1.1\r\nHost: a\r\nX-Smuggled: 1\r\n\r\n"
POST = b"POST /witness/zz/add-checkpoint HTTP/1.1\r\nHost: a\r\n"
SMUGGLED = {
    "CL.TE": POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    "TE.CL": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n" + INNER
    + b"\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nabcde" + INNER,
    "two equal lengths": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" + INNER,
    "a list of lengths": POST + b"Content-Length: 0, 5\r\n\r\nabcde" + INNER,
    "a signed length": POST + b"Content-Length: +0\r\n\r\n" + INNER,
    "a negative length": POST + b"Content-Length: -1\r\n\r\n" + INNER,
    "a length in hex": POST + b"Content-Length: 0x0\r\n\r\n" + INNER,
    "a length past every integer": POST + b"Content-Length: 18446744073709551616\r\n\r\n" + INNER,
    "a folded header": POST + b"X: a\r\n Content-Length: 0\r\n\r\n" + INNER,
    "a folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + INNER,
    "bare line feeds": POST.replace(b"\r\n", b"\n") + b"Content-Length: 0\n\n" + INNER,
    "a bare line feed in a value": POST + b"X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + INNER,
    "a bare carriage return": POST + b"X: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    "space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + INNER,
    "a tab before the name": POST + b"\tTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    "another coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + INNER,
    "two codings": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"
    b"0\r\n\r\n" + INNER,
    "chunked not last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n" + INNER,
    "chunked in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n"
    b"Content-Length: 5\r\n\r\n0\r\n\r\n" + INNER,
    "a chunk's length with a sign": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + INNER,
    "a chunk's length past every integer": POST + b"Transfer-Encoding: chunked\r\n\r\n"
    b"10000000000000000\r\n\r\n" + INNER,
    "a chunk that ends with a bare line feed": POST + b"Transfer-Encoding: chunked\r\n\r\n"
    b"1\nx\n0\n\n" + INNER,
    "a chunk longer than said": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n"
    + INNER,
    "NUL in a header": POST + b"X: a\0b\r\nContent-Length: 0\r\n\r\n" + INNER,
    "an empty name": POST + b": a\r\nContent-Length: 0\r\n\r\n" + INNER,
    "after close": POST + b"Connection: close\r\nContent-Length: 0\r\n\r\n" + INNER,
    "after an upgrade": b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
    b"Upgrade: h2c\r\n\r\n" + INNER,
}  # fmt: skip


@pytest.mark.parametrize("which", SMUGGLED)
def test_a_request_in_a_request(target: Target, which: str) -> None:
    """ASVS V4.2.1 request smuggling: refused or closed, and the inner request never executed."""
    began = target.log.tell()
    with target.untouched():
        said = target.raw(SMUGGLED[which], rest=0.3)
    answers = re.findall(rb"HTTP/1\.1 (\d\d\d) ", said)
    assert len(answers) <= 1, said
    assert set(answers) <= {b"400", b"404", b"200"}
    assert b"401" not in answers
    assert "route=/v1/cases" not in target.log.getvalue()[began:]
    assert '"/v1/cases"' not in target.log.getvalue()[began:]


def test_what_follows_a_refusal_is_read_no_further(target: Target) -> None:
    """ASVS V4.2.1: after a body that is too long the connection is over."""
    body = b"e" * (600 * 1024)
    with target.untouched():
        said = target.raw(
            POST.replace(b"zz", b"xk") + b"Content-Length: 614400\r\n\r\n" + body + INNER, rest=0.3
        )
    assert len(re.findall(rb"HTTP/1\.1 \d\d\d ", said)) <= 1


def test_two_requests_at_once_are_two(target: Target) -> None:
    """ASVS V4.2.1: an honest pipeline is answered in its order, each once."""
    one = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    other = b"GET /v1/cases HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    said = target.raw(one + other, rest=2)
    assert re.findall(rb"HTTP/1\.1 (\d\d\d) ", said) == [b"200", b"401"]
