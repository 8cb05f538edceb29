"""ASVS 5 V1 and V2, encoding and validation: what is sent stays what it is, a value."""

import json
from urllib.parse import quote
from uuid import uuid4

import pytest

from ledger.signing.sd_jwt import make_disclosure
from tests.attacks.target import KOSOVO, MARK, Target, assert_silent, b64
from tests.support.actions import opening

SQL = (
    "' OR '1'='1",
    "1; DROP TABLE ledger.events; --",
    "1) UNION SELECT state FROM ledger.events --",
    "xk-nac'; SET ROLE case_ledger_vault_me; --",
    "$$; SELECT pg_sleep(9); $$",
    "\\'; COPY ledger.events TO PROGRAM 'id'; --",
    "%27%20OR%201=1",
)
STRANGE = ("\x00", "a\x00b", "\r\nSet-Cookie: a=b", "\u202e", "\ufeff1", "\u0661", "½", "{{7*7}}",
           "${jndi:ldap://127.0.0.1/a}", "__proto__", "../../etc/passwd", "NaN", "1e3", "0x10",
           MARK)  # fmt: skip
QUERIES = (
    "/v1/cases?status={}",
    "/v1/cases?stage={}",
    "/v1/cases?priority={}",
    "/v1/cases?lead_agency={}",
    "/v1/cases?awaits_us={}",
    "/v1/cases?before={}",
    "/v1/cases?limit={}",
    "/v1/cases?at_least={}",
    "/v1/cases/{case}?as_of_position={}",
    "/v1/cases/{case}?as_of_time={}",
    "/v1/cases/{case}?valid_at={}",
    "/v1/cases/{case}/difference?from_position={}",
    "/v1/cases/{case}/difference?to_time={}",
    "/v1/ledger/moment?as_of_position={}",
    "/v1/cases/{case}/trail?after={}",
    "/v1/cases/{case}/trail?limit={}",
    "/v1/events?after={}",
    "/v1/events?limit={}",
    "/v1/outbox?limit={}",
    "/v1/protocol/trail?after={}",
    "/v1/log/head?after={}",
    "/v1/log/head?wait={}",
)
PATHS = (
    "/v1/cases/{}",
    "/v1/cases/{}/trail",
    "/v1/cases/{}/difference",
    "/v1/outbox/{}",
    "/log/proof/{}",
    "/log/timestamp/{}",
    "/log/tile/{}",
    "/log/tile/0/{}",
    "/log/tile/entries/{}",
    "/witness/{}/" + "0" * 64 + "/checkpoint",
    "/witness/xk/{}/checkpoint",
)


@pytest.mark.parametrize("query", QUERIES)
def test_statements_and_strange_text_in_a_query(target: Target, query: str) -> None:
    """ASVS V1.2.4 SQL injection, V2.2: every parameter of every query; OWASP API8:2023."""
    with target.untouched():
        for text in (*SQL, *STRANGE):
            if text == "1e3" and "wait" in query:
                continue
            path = query.replace("{case}", str(target.case)).replace("{}", quote(text))
            target.refuses(target.ask(path, "xk-nac"), 422, "request")


@pytest.mark.parametrize("path", PATHS)
def test_statements_and_strange_text_in_a_path(target: Target, path: str) -> None:
    """ASVS V1.2.4 SQL injection, V5.3 path traversal: every part of every path."""
    with target.untouched():
        for text in (*SQL, *STRANGE, "..", "....//", "%2e%2e%2f", "..\\..", "/etc/passwd"):
            told = target.ask(path.format(quote(text, safe="")), "xk-nac")
            assert told.status_code in (404, 422), (text, told.text)
            assert_silent(told.text)


BYTES = (
    b"%00", b"%c0%ae%c0%ae/", b"%e0%80%ae", b"%ed%a0%80", b"%ff%fe", b"%f8%88%80%80%80",
    b"%", b"%zz", b"%2", b"%u002e", b"\xc0\xae", b"\xff", b"\x7f", b"\\..\\", b"..%2f..%2f",
    b"../../../../etc/passwd", b"%252e%252e%252f", b".%00.txt", b"?%00=1", b"#", b"%0d%0aX:%20y",
)  # fmt: skip


@pytest.mark.parametrize("where", ["/log/tile/", "/log/tile/0/", "/witness/xk/", "/v1/outbox/"])
def test_bytes_that_are_no_text_in_a_path(target: Target, where: str) -> None:
    """ASVS V1.1, V1.5: overlong UTF-8, surrogates, half escapes, dots, NUL, twice encoded."""
    bearer = target.bearer(KOSOVO)["Authorization"].encode()
    with target.untouched():
        for part in BYTES:
            said = target.raw(
                b"GET " + where.encode() + part + b" HTTP/1.1\r\nHost: a\r\nAuthorization: "
                + bearer + b"\r\nConnection: close\r\n\r\n",
                rest=2,
            )  # fmt: skip
            status = said.split(b" ")[1] if b" " in said else b"400"
            assert status in (b"400", b"401", b"404", b"422"), (part, said)
            assert b"X: y" not in said
            assert b"root:" not in said


def test_bodies_that_are_no_text(target: Target) -> None:
    """ASVS V1.5, V4.1: invalid UTF-8, NUL, a byte order mark, JSON, XML and forms as an action."""
    for content, kind, rule in (
        (b"\xff\xfe\x00", "application/sd-jwt", "request"),
        (b"\xc0\xae~", "application/sd-jwt", "request"),
        (b"\x00~", "application/sd-jwt", "malformed-sd-jwt"),
        (b"", "application/sd-jwt", "request"),
        (b"\xef\xbb\xbfe.e.e~", "application/sd-jwt", "malformed-sd-jwt"),
        (MARK.encode(), "text/html", "malformed-sd-jwt"),
        (json.dumps({MARK: MARK}).encode(), "application/json", "request"),
                (b"{" + MARK.encode(), "application/json", "request"),
        (b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>", "application/xml",
         "malformed-sd-jwt"),
        (b"a=" + MARK.encode(), "application/x-www-form-urlencoded", "malformed-sd-jwt"),
    ):  # fmt: skip
        with target.untouched():
            told = target.ask(
                f"/v1/cases/{uuid4()}/actions",
                method="POST",
                headers={"Content-Type": kind, "If-None-Match": "*"},
                content=content,
            )
        target.refuses(told, 422, rule)
    with target.untouched():
        told = target.ask("/v1/protocol/actions", method="POST", content=b"[" * 100_000,
                          headers={"Content-Type": "application/json"})  # fmt: skip
    target.refuses(told, 422, "request")


def test_half_characters_in_a_signed_action(target: Target) -> None:
    """ASVS V1.1.1: a lone surrogate is no text, wherever the JSON has it."""
    signed = target.sign(KOSOVO, opening(), case := uuid4())
    half = b64(json.dumps(["c2FsdA", "\ud800" + MARK, "\udfff"]).encode())
    with target.untouched():
        target.refuses(target.append(f"{signed}{half}~", case=case), 422, "disclosure")
        unsigned = make_disclosure(MARK, MARK).encoded
        target.refuses(target.append(f"{signed}{unsigned}~", case=case), 422, "disclosure")


HEADERS = (
    b"If-Match: \"1\"\r\nX-A: b",
    b"If-Match: \"" + "\u0661".encode() + b"\"",
    b"If-Match: W/\"1\"",
    b"If-Match: \"1\", \"2\"",
    b"If-Match: *",
    b"If-Match: \"9999999999999999\"",
    b"If-Match: \"" + MARK.encode() + b"\"",
)  # fmt: skip


@pytest.mark.parametrize("line", HEADERS)
def test_conditions_that_are_none(target: Target, line: bytes) -> None:
    """ASVS V2.2: a version is digits in quotes, once."""
    signed = target.sign(KOSOVO, opening(), case := uuid4())
    body = str(signed).encode()
    bearer = target.bearer(KOSOVO)["Authorization"].encode()
    with target.untouched():
        said = target.raw(
            b"POST /v1/cases/" + str(case).encode() + b"/actions HTTP/1.1\r\nHost: a\r\n"
            b"Content-Type: application/sd-jwt\r\nAuthorization: " + bearer + b"\r\n" + line
            + b"\r\nContent-Length: " + str(len(body)).encode() + b"\r\nConnection: close\r\n\r\n"
            + body, rest=2,
        )  # fmt: skip
    assert said.split(b" ")[1] in (b"412", b"422", b"400"), said
    assert_silent(said.decode("latin-1"))


def test_lines_of_the_log_are_not_forged(target: Target) -> None:
    """ASVS V16.4.1 log injection: what comes in headers, paths and ids is in no line."""
    began = target.log.tell()
    forged = "\n{\"event\":\"forged\",\"level\":\"critical\"}"  # fmt: skip
    with target.untouched():
        target.ask(f"/v1/cases/{quote(forged + MARK)}")
        target.ask("/v1/cases", headers={"User-Agent": MARK, "X-Request-ID": MARK})
        target.ask("/v1/cases?limit=" + quote(forged), None, token=b64(forged.encode()))
        target.raw(b"GET /health HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n" + MARK.encode() + b"\r\n\r\n")
        target.raw(b"GET /" + MARK.encode() + b"\x1b[31m HTTP/1.1\r\n\r\n")
    said = target.log.getvalue()[began:]
    assert "forged" not in said
    assert "\x1b[31m" not in said


def test_an_answer_is_not_split(target: Target) -> None:
    """ASVS V1.2 response splitting: nothing sent becomes a header of the answer."""
    for path in (
        "/v1/cases?limit=1%0d%0aX-Evil:%201",
        "/%0d%0aX-Evil:%201",
        "/v1/outbox/%0aX-Evil:1",
    ):
        told = target.ask(path, headers={"Origin": "a", "Last-Event-ID": "1"})
        assert "x-evil" not in told.headers
    told = target.ask("/v1/events", headers={"Accept": "text/event-stream", "Last-Event-ID": MARK})
    target.refuses(told, 422, "last-event-id")


def test_no_answer_leads_to_another_host(target: Target) -> None:
    """ASVS V1.2, V3.7: a path with a slash too many is not sent on to what ``Host`` says."""
    for path in ("/v1/cases/", "/health/", "/v1/events/", "//evil.example/v1/cases/"):
        said = target.raw(
            f"GET {path} HTTP/1.1\r\nHost: {MARK}.example\r\nConnection: close\r\n\r\n".encode()
        )
        assert said.startswith(b"HTTP/1.1 404")
        assert_silent(said.decode("latin-1"))
