"""API8:2023: what every answer says, and what none says."""

import re

import httpx
import pytest

from api.http.error_handlers import ANSWER_HEADERS
from api.http.middleware import _guarded
from tests.attacks.target import KOSOVO, MARK, Target, assert_silent
from tests.support.serving import Server

ANSWER_POLICY = ANSWER_HEADERS["Content-Security-Policy"].encode()
ANSWERS = (
    ("/health", None, 200),
    ("/ready", None, 200),
    ("/metrics", None, 200),
    ("/v1/openapi.json", None, 200),
    ("/log/policy", None, 200),
    ("/manifest/en.webmanifest", None, 200),
    ("/v1/cases", KOSOVO, 200),
    ("/v1/agencies", KOSOVO, 200),
    ("/v1/cases", None, 401),
    ("/v1/log/head", "xk-nac", 200),
    ("/v1/log/head", KOSOVO, 403),
    (f"/{MARK}", None, 404),
    ("/v1/cases?limit=x", KOSOVO, 422),
    ("/log/tile/0/999", None, 404),
    ("/witness/zz/" + "0" * 64 + "/checkpoint", None, 404),
)


PAGES = (
    ("/sign-in", {}, 200),
    (f"/{MARK}", {"Accept": "text/html"}, 404),
    ("/", {}, 303),
    ("/cases", {}, 303),
    ("/cases", {"Cookie": f"case-ledger-session={MARK}"}, 303),
    ("/board", {}, 303),
    ("/offline/en", {}, 200),
)


@pytest.mark.parametrize(("path", "headers", "status"), PAGES)
def test_every_page_is_guarded(
    target: Target, path: str, headers: dict[str, str], status: int
) -> None:
    """API8:2023; ASVS V3.4: pages run this node's scripts alone, are framed and kept nowhere."""
    told = target.ask(path, None, headers=headers)
    assert told.status_code == status
    assert_page_is_guarded(told)
    assert_silent(told.text, *told.headers.values())


def assert_page_is_guarded(told: httpx.Response) -> None:
    policy = dict(
        part.strip().split(" ", 1) for part in told.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert set(policy.values()) == {"'none'", "'self'"}
    assert told.headers["cache-control"] == "no-store"
    assert told.headers["cross-origin-opener-policy"] == "same-origin"
    assert told.headers["referrer-policy"] == "no-referrer"
    assert told.headers["x-content-type-options"] == "nosniff"


def test_an_answer_cannot_choose_another_policy() -> None:
    """ASVS V3.4: what a route says of scripts counts only where it is the pages' own policy."""
    weak = [(b"content-security-policy", b"default-src *")]
    assert (b"content-security-policy", ANSWER_POLICY) in _guarded(weak, by_someone=False)


def assert_guarded(answer: httpx.Response) -> None:
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = answer.headers["content-security-policy"]
    assert policy == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "cache-control" in answer.headers
    for name in ("server", "x-powered-by", "access-control-allow-origin", "set-cookie"):
        assert name not in answer.headers


@pytest.mark.parametrize(("path", "agency", "status"), ANSWERS)
def test_every_answer_is_guarded(
    target: Target, path: str, agency: str | None, status: int
) -> None:
    """API8:2023; ASVS V3.4, V14.3: headers of each kind of answer."""
    told = target.ask(path, agency)
    assert told.status_code == status
    assert_guarded(told)
    if agency is not None:
        assert told.headers["cache-control"] == "no-store"
    assert_silent(told.text)


def test_an_unexpected_error_says_nothing(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """API8:2023; ASVS V16.5: no stack, no value, and the same headers."""

    def fail(*_: object) -> None:
        raise RuntimeError(MARK)

    monkeypatch.setattr("api.http.routes.health.metrics", fail)
    with target.untouched():
        told = target.ask("/metrics", None)
        target.refuses(told, 500, "unexpected")
    assert_guarded(told)
    for word in ("Traceback", ".py", "RuntimeError", "site-packages"):
        assert word not in told.text


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1"])
def test_another_origin_is_not_let_in(target: Target, origin: str) -> None:
    """API8:2023; ASVS V3.5: no CORS, not even in a preflight."""
    asks = {"Origin": origin, "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization"}  # fmt: skip
    told = target.ask("/v1/cases", None, method="OPTIONS", headers=asks)
    target.refuses(told, 405, "method")
    for answer in (told, target.ask("/v1/cases", headers={"Origin": origin})):
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PUT", "PATCH", "DELETE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/v1/cases", "/health", "/log/policy", "/v1/protocol/actions"])
def test_a_method_that_is_not_there(target: Target, method: str, path: str) -> None:
    """API8:2023; ASVS V4.1.4: refused by name, and nothing of the request comes back."""
    with target.untouched():
        told = target.ask(path, method=method, headers={"X-Probe": MARK})
    target.refuses(told, 405, "method")
    assert told.headers["allow"]
    assert_guarded(told)


@pytest.mark.parametrize(
    "line",
    [
        b"CONNECT 127.0.0.1:22 HTTP/1.1",
        b"CONNECT example.org:443 HTTP/1.1",
        b"get /health HTTP/1.1",
        MARK.encode() + b" /health HTTP/1.1",
        b"GET /health HTTP/2.0",
        b"GET /health HTTP/9",
        b"GET /health",
        b"PRI * HTTP/2.0",
    ],
)
def test_a_request_line_that_is_none(target: Target, line: bytes) -> None:
    """API8:2023; ASVS V4.2: tunnels, invented methods and versions."""
    with target.untouched():
        said = target.raw(line + b"\r\nHost: a\r\n\r\n")
    assert re.match(rb"HTTP/1\.1 (400|405|501|505) ", said) or said in (b"", b"(reset)")
    assert_silent(said.decode("latin-1"))


def test_an_upgrade_is_not_taken(target: Target) -> None:
    """API8:2023; ASVS V4.4: no websocket, no HTTP/2 in the clear."""
    for kind in (b"websocket", b"h2c"):
        said = target.raw(
            b"GET /v1/cases HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: " + kind
            + b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"\r\nGET /v1/agencies HTTP/1.1\r\nHost: a\r\n\r\n"
        )  # fmt: skip
        assert b"101 " not in said
        assert b" 200 " not in said


def test_health_by_head(target: Target) -> None:
    """API8:2023: a probe that asks for the head gets it, and no body."""
    told = target.ask("/health", None, method="HEAD")
    assert (told.status_code, told.content) == (200, b"")
    assert_guarded(told)


def test_no_interactive_page_and_no_document_of_another_name(target: Target) -> None:
    """API8:2023, API9:2023: nothing that loads scripts, no debug page."""
    for path in ("/swagger", "/redoc", "/docs/oauth2-redirect", "/openapi.json", "/debug", "/admin",
                 "/.env", "/.git/config", "/static/"):  # fmt: skip
        target.refuses(target.ask(path, None), 404, "no-such-resource")


def test_the_server_used_is_the_server_shipped(target: Target) -> None:
    """API8:2023: these tests attack what ``case-ledger serve`` runs."""
    assert isinstance(target.server, Server)
    assert "server" not in target.ask("/health", None).headers
