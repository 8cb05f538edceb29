"""People signing in by OpenID Connect, and what does not get anyone in."""

import base64
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import oidc_provider_mock
import psycopg
import pytest
import structlog
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from structlog.testing import capture_logs

from api.authentication.id_tokens import proves_second_factor, pseudonym
from api.background_jobs.janitor import Janitor
from api.client import LedgerClient
from api.client.assertion import make_assertion
from api.demo.node_process import free_port
from api.http.access import from_own_page
from api.node.node import Node, check_settings
from api.processes.server import tls_context
from api.runtime.settings import Settings
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.openid import CLIENT_ID, CLIENT_SECRET, REGISTRY, Claims, Provider, providing
from tests.support.serving import Server, running
from tests.support.tls import Authority

SESSION = "case-ledger-session"
PENDING = "case-ledger-sign-in"


@dataclass(frozen=True)
class Place:
    """A node where people sign in, its database, and the provider that it relies on."""

    server: Server
    database: str

    @property
    def url(self) -> str:
        return self.server.url

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, follow_redirects=True, timeout=20)

    def execute(self, statement: str) -> int:
        with psycopg.connect(self.database, autocommit=True) as connection:
            return connection.execute(statement).rowcount  # type: ignore[arg-type]

    def count(self, table: str) -> int:
        return self.execute(f"SELECT FROM access.{table}")


@contextmanager
def place(
    server: str, begun: str, agencies: Agencies, directory: Path, issuer: str, **more: object
) -> Iterator[Place]:
    """A ledger node where people sign in at ``issuer``."""
    port = free_port()
    defaults = {
        "data_directory": directory,
        "port": port,
        "public_url": f"http://127.0.0.1:{port}",
        "oidc_issuer": issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
        "sign_ins_per_minute": 100_000,  # these tests sign in as fast as they can
    }
    chosen = Settings(**(defaults | more))  # type: ignore[arg-type]
    check_settings(chosen)
    with new_database(server, begun) as conninfo, running(chosen, conninfo, agencies) as node:
        yield Place(node, conninfo)


@pytest.fixture(scope="module")
def providers() -> Iterator[Provider]:
    with providing() as provider:
        yield provider


@pytest.fixture
def provider(providers: Provider) -> Provider:
    providers.reset()
    return providers


@pytest.fixture(scope="module")
def node(
    server: str,
    begun: str,
    agencies: Agencies,
    providers: Provider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    with place(server, begun, agencies, tmp_path_factory.mktemp("node"), providers.url) as made:
        yield made


@pytest.fixture
def browser(node: Place, provider: Provider) -> Iterator[httpx.Client]:
    assert provider.claims
    with node.browser() as client:
        yield client


def rule(response: httpx.Response) -> tuple[int, str | None]:
    if response.is_error:
        assert response.headers["content-type"] == "application/problem+json"
        return response.status_code, response.json()["rule"]
    return response.status_code, None


def sign_in(browser: httpx.Client) -> dict[str, str]:
    answer = browser.get("/auth/login")
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def own_page(node: Place) -> dict[str, str]:
    return {"Origin": node.url}


# --- What is possible --------------------------------------------------------------------


def test_a_person_signs_in_at_a_provider_that_others_wrote(
    server: str, begun: str, agencies: Agencies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")  # the provider's, on this machine
    with oidc_provider_mock.run_server_in_thread() as provider:
        issuer = f"http://localhost:{provider.server_port}"
        told = {"agency": "xk-nac", "amr": ["pwd", "otp"], "email": "zq.person@example.org"}
        assert httpx.put(f"{issuer}/users/zq-1", json=told).is_success
        assert httpx.put(f"{issuer}/users/zq-2", json=told | {"amr": ["pwd"]}).is_success
        with place(server, begun, agencies, tmp_path, issuer) as node, node.browser() as browser:
            form = browser.get("/auth/login", params={"return_to": "/auth/me?from=login"})
            assert form.url.host == "localhost"
            back = browser.post(form.url, data={"sub": "zq-1"})
            assert str(back.url) == f"{node.url}/auth/me?from=login"
            assert back.json()["agency"] == "xk-nac"
            assert back.json()["person"] == pseudonym(issuer, "zq-1")
            assert browser.get("/v1/cases").json() == {"cases": [], "next": None}
            with node.browser() as other:
                form = other.get("/auth/login")
                refused = other.post(form.url, data={"sub": "zq-2"})
                assert rule(refused) == (403, "second-factor")
                assert rule(other.get("/auth/me")) == (401, "assertion-missing")


def test_a_person_reads_and_an_agency_signs(node: Place, browser: httpx.Client) -> None:
    me = sign_in(browser)
    assert me["agency"] == "xk-nac"
    police = node.server.client("xk-dhtqnj")
    receipt = police.open_case(opening())
    seen = browser.get(f"/v1/cases/{receipt.case_id}", params={"at_least": receipt.position})
    assert seen.json()["view"]["lead_agency"] == "xk-dhtqnj"
    assert seen.headers["cache-control"] == "no-store"
    # A person's request records what their own agency signed, and nothing else.
    for agency, expected in [("xk-nac", (201, None)), ("xk-dhtqnj", (403, "own-action-only"))]:
        case_id = uuid4()
        signed = node.server.client(agency).sign(opening(), case_id)
        sent = browser.post(
            f"/v1/cases/{case_id}/actions",
            content=str(signed),
            headers={"Content-Type": "application/sd-jwt", "If-None-Match": "*", **own_page(node)},
        )
        assert rule(sent) == expected


def test_a_person_who_reads_is_written_down_by_pseudonym(
    node: Place, browser: httpx.Client
) -> None:
    me = sign_in(browser)
    case_id = node.server.client("xk-dhtqnj").open_case(opening(first_name="zqName")).case_id
    path = f"/v1/cases/{case_id}/readings"
    asked = {"groups": ["contact"], "purpose": "protection"}
    refused = browser.post(path, json=asked, headers=own_page(node))
    assert rule(refused) == (403, "no-legal-basis")
    assert rule(browser.post(path, json=asked)) == (403, "cross-site")
    (entry,) = browser.get(path).json()["readings"]
    assert (entry["asked"]["agency"], entry["asked"]["person"]) == ("xk-nac", me["person"])
    assert entry["asked"]["key_id"] is None


def test_what_is_asked_of_the_provider(
    node: Place, browser: httpx.Client, provider: Provider
) -> None:
    provider.asked.clear()
    sign_in(browser)
    sign_in(browser)
    first, second = provider.asked
    assert first["scope"] == "openid"
    assert first["redirect_uri"] == f"{node.url}/auth/callback"
    assert "acr_values" not in first
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) == 43
        assert first[name] != second[name]
    assert len({first["state"], first["nonce"], first["code_challenge"]}) == 3


def test_the_same_person_has_the_same_name_and_it_is_none_of_theirs(
    browser: httpx.Client, provider: Provider
) -> None:
    first, second = sign_in(browser), sign_in(browser)
    assert first["person"] == second["person"] == pseudonym(provider.url, "zq-subject-0001")
    provider.claims["sub"] = "zq-subject-0002"
    assert sign_in(browser)["person"] != first["person"]


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "Ed25519"])
def test_algorithms_that_are_accepted(
    browser: httpx.Client, provider: Provider, algorithm: str
) -> None:
    provider.sign = lambda claims: provider.signed(claims, algorithm)
    assert sign_in(browser)["agency"] == "xk-nac"


def test_a_provider_changes_its_keys(
    server: str, begun: str, agencies: Agencies, provider: Provider, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("api.authentication.sign_in._ASK_AGAIN_AFTER_SECONDS", 0.0)
    with place(server, begun, agencies, tmp_path, provider.url) as node, node.browser() as browser:
        sign_in(browser)
        monkeypatch.setitem(provider.keys, "RS256", RSAKey.generate_key(2048, {"kid": "new"}))
        assert sign_in(browser)["agency"] == "xk-nac"


def test_a_key_that_left_the_providers_set_is_refused_within_minutes(
    server: str, begun: str, agencies: Agencies, provider: Provider, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with place(server, begun, agencies, tmp_path, provider.url) as node, node.browser() as browser:
        sign_in(browser)
        leaked = provider.keys["RS256"]
        provider.sign = lambda claims: jwt.encode(
            {"alg": "RS256", "kid": leaked.kid}, claims, leaked, registry=REGISTRY
        )
        sign_in(browser)
        monkeypatch.setitem(provider.keys, "RS256", RSAKey.generate_key(2048, {"kid": "new"}))
        monkeypatch.setattr(
            "api.authentication.sign_in._age", lambda since: time.monotonic() - since + 180
        )
        assert rule(browser.get("/auth/login")) == (401, "id-token")


def test_a_second_factor_is_asked_for(
    server: str, begun: str, agencies: Agencies, provider: Provider, tmp_path: Path
) -> None:
    acr = "https://refeds.org/profile/mfa"
    with (
        place(server, begun, agencies, tmp_path, provider.url, oidc_acr=acr) as node,
        node.browser() as browser,
    ):
        provider.claims |= {"amr": None, "acr": acr}
        sign_in(browser)
        assert provider.asked[-1]["acr_values"] == acr
        provider.claims["acr"] = "https://refeds.org/profile/sfa"
        assert rule(browser.get("/auth/login")) == (403, "second-factor")


@pytest.mark.parametrize(
    ("amr", "proved"),
    [
        ([], False), (["pwd"], False), (["otp"], False), (["pwd", "pin"], False),
        (["otp", "sms"], False), (["pwd", "user"], False), (["rba", "geo"], False),
        (["mfa"], True), (["pwd", "otp"], True), (["fpt", "hwk"], True), (["pin", "sc"], True),
    ],
)  # fmt: skip
def test_what_proves_a_second_factor(amr: list[str], proved: bool) -> None:
    assert proves_second_factor(None, amr, None) is proved
    assert proves_second_factor("gold", amr, "silver") is proved
    assert proves_second_factor("gold", amr, None) is proved
    assert proves_second_factor("gold", amr, "silver gold")


# --- Tokens that get nobody in -----------------------------------------------------------


def forged(provider: Provider) -> dict[str, Callable[[Claims], str]]:
    """Tokens that say the right thing, and are not the provider's."""
    rsa = provider.keys["RS256"]
    stranger = RSAKey.generate_key(2048, {"kid": "rsa"})

    def with_header(header: Claims, key: RSAKey | OctKey) -> Callable[[Claims], str]:
        return lambda claims: jwt.encode(header, claims, key, registry=REGISTRY)

    def unsigned(claims: Claims) -> str:
        parts = ({"alg": "none", "kid": "rsa"}, claims)
        return ".".join(encoded(json.dumps(part).encode()) for part in parts) + "."

    def tampered(claims: Claims) -> str:
        head, _, signature = provider.signed(claims).split(".")
        body = encoded(json.dumps(claims | {"agency": "me-nac"}).encode())
        return f"{head}.{body}.{signature}"

    def with_the_public_key(claims: Claims) -> str:
        parts = ({"alg": "HS256", "kid": "rsa"}, claims)
        signed = ".".join(encoded(json.dumps(part).encode()) for part in parts)
        mac = hmac.digest(rsa.as_pem(private=False), signed.encode(), "sha256")
        return f"{signed}.{encoded(mac)}"

    shared = OctKey.import_key(CLIENT_SECRET.ljust(32, "0"))
    return {
        "unsigned": unsigned,
        "signed with the public key as a secret": with_the_public_key,
        "signed with the client's secret": with_header({"alg": "HS256"}, shared),
        "an algorithm that is not listed": with_header({"alg": "PS256", "kid": "rsa"}, rsa),
        "another key under a known name": with_header({"alg": "RS256", "kid": "rsa"}, stranger),
        "a key of another kind": with_header({"alg": "RS256", "kid": "ec"}, rsa),
        "an unknown key": with_header({"alg": "RS256", "kid": "other"}, stranger),
        "a key that it brings itself": with_header(
            {"alg": "RS256", "kid": "rsa", "jwk": stranger.as_dict(private=False)}, stranger
        ),
        "an unknown critical extension": lambda claims: provider_critical(provider, claims),
        "tampered with": tampered,
        "no JWT": lambda _: "zq.nonsense",
        "empty": lambda _: "",
        "much too long": lambda claims: provider.signed(claims | {"more": "x" * 40_000}),
    }


def provider_critical(provider: Provider, claims: Claims) -> str:
    header = encoded(json.dumps({"alg": "RS256", "kid": "rsa", "crit": ["exp"]}).encode())
    _, body, signature = provider.signed(claims).split(".")
    return f"{header}.{body}.{signature}"


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def test_a_token_that_the_provider_did_not_sign(
    node: Place, browser: httpx.Client, provider: Provider
) -> None:
    before = node.count("sessions")
    for name, forge in forged(provider).items():
        provider.sign = forge
        assert rule(browser.get("/auth/login")) == (401, "id-token"), name
        assert SESSION not in browser.cookies
    assert node.count("sessions") == before
    provider.sign = None
    sign_in(browser)


@pytest.mark.parametrize(
    ("claims", "named"),
    [
        ({"iss": "https://other.example"}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": "another-client"}, "aud"),
        ({"aud": ["another-client"]}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": [CLIENT_ID, "another-client"]}, "azp"),
        ({"aud": [CLIENT_ID, "another-client"], "azp": "another-client"}, "azp"),
        ({"azp": "another-client"}, "azp"),
        ({"nonce": "zq-another-nonce"}, "nonce"),
        ({"nonce": ""}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"exp": int(time.time()) - 60}, "exp"),
        ({"exp": None}, "exp"),
        ({"exp": "tomorrow"}, "exp"),
        ({"iat": int(time.time()) + 3600}, "iat"),
        ({"iat": int(time.time()) - 3600}, "iat"),
        ({"iat": None}, "iat"),
        ({"nbf": int(time.time()) + 3600}, "nbf"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": 7}, "sub"),
        ({"amr": "mfa"}, "amr"),
        ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "at_hash"),
    ],
)
def test_a_token_whose_claims_do_not_hold(
    browser: httpx.Client, provider: Provider, claims: Claims, named: str
) -> None:
    provider.claims |= claims
    answer = browser.get("/auth/login")
    assert rule(answer) == (401, "id-token")
    assert answer.json()["detail"].endswith(f" {named}.")
    assert "another-client" not in answer.text
    assert SESSION not in browser.cookies


def test_a_token_for_several_audiences_names_this_node_as_its_own(
    browser: httpx.Client, provider: Provider
) -> None:
    provider.claims |= {"aud": [CLIENT_ID, "another-client"], "azp": CLIENT_ID}
    sign_in(browser)


@pytest.mark.parametrize("agency", [None, "", "xk-nobody", "xk-node", ["xk-nac"], 7, "XK-NAC"])
def test_only_an_agency_of_people_is_signed_in(
    browser: httpx.Client, provider: Provider, agency: object
) -> None:
    provider.claims["agency"] = agency
    answer = browser.get("/auth/login")
    assert rule(answer) == (403, "sign-in-agency")
    assert "xk-no" not in answer.text
    assert SESSION not in browser.cookies


@pytest.mark.parametrize(
    "claims",
    [
        {"amr": None}, {"amr": []}, {"amr": ["pwd"]}, {"amr": ["pwd"], "acr": "mfa"},
        {"acr": "1", "amr": None},
    ],
)  # fmt: skip
def test_without_a_second_factor_nobody_is_signed_in(
    browser: httpx.Client, provider: Provider, claims: Claims
) -> None:
    provider.claims |= claims
    assert rule(browser.get("/auth/login")) == (403, "second-factor")
    assert SESSION not in browser.cookies


# --- The way there and back --------------------------------------------------------------


def set_out(browser: httpx.Client) -> tuple[str, dict[str, str]]:
    """Return the address and parameters with which the provider sends the browser back."""
    to = browser.get("/auth/login", follow_redirects=False).headers["location"]
    back = httpx.get(to).headers["location"]
    return back, {k: v[0] for k, v in parse_qs(urlsplit(back).query).items()}


def test_another_state_is_refused(browser: httpx.Client, provider: Provider) -> None:
    back, brought = set_out(browser)
    asked = provider.token_requests
    for state in ("", "zq", brought["state"][:-1], brought["state"] + "A", "\u00e9", None):
        params = {k: v for k, v in (brought | {"state": state}).items() if v is not None}
        assert rule(browser.get("/auth/callback", params=params)) == (401, "sign-in-state")
    assert provider.token_requests == asked
    assert browser.get(back).json()["agency"] == "xk-nac"  # the right one still holds


def test_a_callback_is_good_once(browser: httpx.Client, provider: Provider) -> None:
    back, _ = set_out(browser)
    held = browser.cookies[PENDING]
    assert browser.get(back).is_success
    assert PENDING not in browser.cookies
    asked = provider.token_requests
    assert rule(browser.get(back)) == (401, "sign-in-state")
    browser.cookies.set(PENDING, held)
    assert rule(browser.get(back)) == (401, "sign-in-state")
    assert provider.token_requests == asked


def test_a_callback_is_good_in_the_browser_that_set_out(node: Place, browser: httpx.Client) -> None:
    """Otherwise someone could be signed in, unaware, as another."""
    back, _ = set_out(browser)
    with node.browser() as victim:
        assert rule(victim.get(back)) == (401, "sign-in-state")
        set_out(victim)
        assert rule(victim.get(back)) == (401, "sign-in-state")
        victim.cookies.delete(PENDING)
        victim.cookies.set(PENDING, "A" * 43)
        assert rule(victim.get(back)) == (401, "sign-in-state")
        assert SESSION not in victim.cookies


def test_a_callback_comes_in_time(node: Place, browser: httpx.Client) -> None:
    back, _ = set_out(browser)
    assert node.execute("UPDATE access.sign_ins SET expires_at = now()") >= 1
    assert rule(browser.get(back)) == (401, "sign-in-state")


def test_the_answer_of_another_provider_is_not_taken_to_this_one(
    browser: httpx.Client, provider: Provider
) -> None:
    asked = provider.token_requests
    for issuer in ("https://other.example", ""):
        provider.answer = {"iss": issuer}
        assert rule(browser.get("/auth/login")) == (401, "sign-in-refused")
    provider.answer = {"error": "access_denied", "error_description": "zqBecause"}
    answer = browser.get("/auth/login")
    assert rule(answer) == (401, "sign-in-refused")
    assert "zqBecause" not in answer.text
    assert provider.token_requests == asked
    provider.answer = {"code": "zq-another-code"}
    assert rule(browser.get("/auth/login")) == (401, "sign-in-refused")


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example",
        "/\t/evil.example", "https://evil.example", "https:evil.example", "javascript:alert(1)",
        "evil", "", "@evil.example", ".evil.example", ":80@evil.example", "/ok\n", "/a#b",
        "/%0d%0aSet-Cookie:a=b\r\n", "/" + "a" * 500,
    ],
)  # fmt: skip
def test_nobody_is_sent_elsewhere_afterwards(browser: httpx.Client, path: str) -> None:
    answer = browser.get("/auth/login", params={"return_to": path})
    assert rule(answer) == (422, "request")


@settings(max_examples=40, deadline=None)
@given(path=st.from_regex(r"\A/[!-~]{0,40}\Z"))
def test_whatever_path_is_taken_stays_here(node_url: str, path: str) -> None:
    with httpx.Client(base_url=node_url) as client:
        answer = client.get("/auth/login", params={"return_to": path})
    assert answer.status_code in (303, 422)
    if answer.status_code == 303:
        assert httpx.URL(node_url).join(path).host == httpx.URL(node_url).host


@pytest.fixture(scope="module")
def node_url(node: Place) -> str:
    return node.url


def test_a_provider_that_does_not_answer_as_it_should(
    server: str, begun: str, agencies: Agencies, provider: Provider, tmp_path: Path
) -> None:
    with place(server, begun, agencies, tmp_path, provider.url) as node, node.browser() as browser:
        for wrong in (
            {"issuer": "https://other.example"},
            {"token_endpoint": "http://other.example/token"},
            {"jwks_uri": "http://other.example/jwks"},
            {"authorization_endpoint": None},
        ):
            provider.metadata = wrong
            try:
                answer = browser.get("/auth/login")
            finally:
                provider.metadata = {}
            assert rule(answer) == (503, "provider-unavailable")
            assert PENDING not in browser.cookies
        sign_in(browser)
    gone = f"http://localhost:{free_port()}"
    with place(server, begun, agencies, tmp_path, gone) as node, node.browser() as browser:
        assert rule(browser.get("/auth/login")) == (503, "provider-unavailable")
        assert browser.get("/ready").is_success


# --- Sessions ----------------------------------------------------------------------------


def test_a_session_ends_when_the_person_signs_out(node: Place, browser: httpx.Client) -> None:
    sign_in(browser)
    held = browser.cookies[SESSION]
    before = node.count("sessions")
    assert browser.post("/auth/logout", headers=own_page(node)).status_code == 204
    assert SESSION not in browser.cookies
    assert node.count("sessions") == before - 1
    assert rule(browser.get("/auth/me")) == (401, "assertion-missing")
    browser.cookies.set(SESSION, held)
    assert rule(browser.get("/auth/me")) == (401, "session-over")
    assert browser.post("/auth/logout", headers=own_page(node)).status_code == 204


@pytest.mark.parametrize(
    "change",
    [
        "last_seen_at = now() - interval '30 minutes 1 second'",
        "expires_at = now() - interval '1 second'",
    ],
)
def test_a_session_ends_by_itself(node: Place, browser: httpx.Client, change: str) -> None:
    sign_in(browser)
    node.execute("UPDATE access.sessions SET last_seen_at = now() - interval '29 minutes'")
    assert browser.get("/auth/me").is_success  # and that was a use of it
    assert node.execute(
        "SELECT FROM access.sessions WHERE last_seen_at > now() - interval '1 minute'"
    )
    node.execute(f"UPDATE access.sessions SET {change}")
    assert rule(browser.get("/auth/me")) == (401, "session-over")
    assert rule(browser.get("/v1/cases")) == (401, "session-over")


def test_a_session_of_a_clock_that_was_ahead_is_over_and_one_used_then_goes_on(
    node: Place, browser: httpx.Client
) -> None:
    node.execute("DELETE FROM access.sessions")
    sign_in(browser)
    node.execute("UPDATE access.sessions SET last_seen_at = now() + interval '1 year'")
    assert browser.get("/auth/me").is_success  # it was begun by a right clock
    assert node.execute("SELECT FROM access.sessions WHERE last_seen_at > now()") == 0
    node.execute("UPDATE access.sessions SET expires_at = now() + interval '1 year'")
    assert rule(browser.get("/auth/me")) == (401, "session-over")
    sign_in(browser)
    assert browser.get("/auth/me").is_success


def test_a_session_lasts_eight_hours_however_much_it_is_used(
    node: Place, browser: httpx.Client
) -> None:
    until = sign_in(browser)["until"]
    assert browser.get("/auth/me").json()["until"] == until
    shorter = "SELECT FROM access.sessions WHERE expires_at > now() + interval '8 hours'"
    assert node.execute(shorter) == 0


def test_what_is_over_is_swept_away(node: Place, browser: httpx.Client) -> None:
    node.execute("DELETE FROM access.sessions")
    node.execute("DELETE FROM access.sign_ins")
    set_out(browser)
    sign_in(browser)
    idle = "UPDATE access.sessions SET last_seen_at = now() - interval '31 minutes'"
    for change in (idle, "UPDATE access.sessions SET expires_at = now()"):
        node.execute(change)
        with node.browser() as other:
            sign_in(other)
    node.execute("UPDATE access.sign_ins SET expires_at = now()")
    with node.browser() as other:
        set_out(other)
    with Node(node.server.settings, node.database) as swept:
        kept = (swept.ledger, swept.vaults, swept.outbox, swept.assertions, swept.sessions)
        Janitor(*kept, swept.mailbox).sweep()
    assert (node.count("sessions"), node.count("sign_ins")) == (1, 1)


def test_the_database_holds_nothing_that_signs_in(node: Place, browser: httpx.Client) -> None:
    set_out(browser)
    pending = browser.cookies[PENDING]
    sign_in(browser)
    secret = browser.cookies[SESSION]
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    with psycopg.connect(node.database) as connection:
        rows = connection.execute(
            "SELECT s::text FROM access.sessions s UNION ALL SELECT p::text FROM access.sign_ins p"
        ).fetchall()
    held = "".join(row[0] for row in rows)
    assert hashlib.sha256(secret.encode()).hexdigest() in held
    for value in (secret, pending, "zq", secret.encode().hex()):
        assert value not in held


def test_a_session_is_never_one_that_the_browser_brought(
    node: Place, browser: httpx.Client
) -> None:
    chosen = "zqChosenByAnotherAndFarTooWellKnownAlready0"
    browser.cookies.set(SESSION, chosen, domain="127.0.0.1")
    assert rule(browser.get("/auth/me")) == (401, "session-over")
    answer = browser.get("/auth/login", follow_redirects=False)
    back = httpx.get(answer.headers["location"]).headers["location"]
    fresh = browser.get(back, follow_redirects=False).cookies[SESSION]
    assert fresh != chosen
    with node.browser() as attacker:
        attacker.cookies.set(SESSION, chosen)
        assert rule(attacker.get("/auth/me")) == (401, "session-over")


def test_signing_in_again_ends_the_session_before(node: Place, browser: httpx.Client) -> None:
    sign_in(browser)
    first = browser.cookies[SESSION]
    sign_in(browser)
    assert browser.cookies[SESSION] != first
    with node.browser() as other:
        other.cookies.set(SESSION, first)
        assert rule(other.get("/auth/me")) == (401, "session-over")


@pytest.mark.timeout(60)
def test_a_stream_ends_with_its_session(node: Place, browser: httpx.Client) -> None:
    sign_in(browser)
    police = node.server.client("xk-dhtqnj")
    position = police.open_case(opening()).position
    with browser.stream(
        "GET",
        "/v1/events",
        params={"after": position - 1},
        headers={"Accept": "text/event-stream"},
    ) as stream:
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("id:")) == f"id: {position}"
        # Following is no use of a session.
        node.execute("UPDATE access.sessions SET last_seen_at = now() - interval '29 minutes'")
        police.open_case(opening())
        next(line for line in lines if line.startswith("id:"))
        assert not node.execute(
            "SELECT FROM access.sessions WHERE last_seen_at > now() - interval '28 minutes'"
        )
        with node.browser() as same:
            same.cookies = browser.cookies
            assert same.post("/auth/logout", headers=own_page(node)).status_code == 204
        police.open_case(opening())
        assert not [line for line in lines if line.startswith("id:")]  # and then it is over


# --- Requests that a session does not make ------------------------------------------------


def test_an_assertion_and_a_session_are_not_sent_together(
    node: Place, browser: httpx.Client
) -> None:
    sign_in(browser)
    for agency in ("xk-nac", "me-nac"):
        key = node.server.agencies.keys[agency]
        token = make_assertion(agency, key, "case-ledger")
        bearer = {"Authorization": f"Bearer {token}"}
        assert rule(browser.get("/v1/cases", headers=bearer)) == (401, "two-credentials")
        # It was not used up either.
        assert httpx.get(f"{node.url}/auth/me", headers=bearer).json() == {
            "agency": agency, "person": None, "member": None, "until": None,
        }  # fmt: skip
    wrong = {"Authorization": "Bearer nonsense"}
    assert rule(browser.get("/v1/cases", headers=wrong)) == (401, "two-credentials")


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Origin": "null"}, {"Origin": "https://evil.example"}, {"Referer": "OWN/"},
        {"Origin": "OWN.evil.example"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "OWN"},
    ],
)  # fmt: skip
def test_another_sites_page_cannot_act_for_a_person(
    node: Place, browser: httpx.Client, headers: dict[str, str]
) -> None:
    sign_in(browser)
    sent = {name: value.replace("OWN", node.url) for name, value in headers.items()}
    for path in ("/auth/logout", f"/v1/cases/{uuid4()}/actions", "/v1/protocol/actions"):
        answer = browser.post(
            path, content="x", headers={"Content-Type": "application/sd-jwt", **sent}
        )
        assert rule(answer) == (403, "cross-site")
    assert browser.get("/auth/me", headers=sent).is_success


def test_a_page_of_this_node_can(node: Place, browser: httpx.Client) -> None:
    sign_in(browser)
    for headers in (own_page(node), {"Sec-Fetch-Site": "same-origin"}):
        answer = browser.post(
            f"/v1/cases/{uuid4()}/actions",
            content="x",
            headers={"Content-Type": "application/sd-jwt", "If-None-Match": "*", **headers},
        )
        assert rule(answer) == (422, "malformed-sd-jwt")


@given(method=st.sampled_from(["POST", "PUT", "DELETE", "PATCH", "post", "OPTIONS"]))
def test_without_an_address_of_its_own_nothing_is_from_here(method: str) -> None:
    assert not from_own_page(method, {}, None)
    assert not from_own_page(method, {}, "https://here.example")


# --- Settings, logs, TLS -----------------------------------------------------------------


def test_where_no_provider_is_configured(
    server: str, begun: str, agencies: Agencies, tmp_path: Path
) -> None:
    nothing = {"oidc_client_id": None, "oidc_client_secret": None, "public_url": None}
    with (
        place(server, begun, agencies, tmp_path, None, **nothing) as node,  # type: ignore[arg-type]
        node.browser() as browser,
    ):
        expected = (404, "sign-in-not-configured")
        for path in ("/auth/login", "/auth/callback?code=a&state=b"):
            assert rule(browser.get(path)) == expected
        assert rule(browser.get("/auth/me")) == (401, "assertion-missing")
        browser.cookies.set(SESSION, "A" * 43)
        assert rule(browser.get("/v1/cases")) == (401, "session-over")


def test_a_countrys_node_signs_in_its_own_countrys_people(
    provider: Provider, browser: httpx.Client
) -> None:
    """Here the node's word on whom it serves is replaced: a whole mirror is not needed."""
    sign_in(browser)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Node, "serves", lambda _, agency: agency.party == "ME")
        assert rule(browser.get("/auth/me")) == (403, "another-countrys-node")
        assert rule(browser.get("/auth/login")) == (403, "another-countrys-node")
        provider.claims["agency"] = "me-nac"
        assert sign_in(browser)["agency"] == "me-nac"


@pytest.mark.parametrize(
    "changed",
    [
        {"oidc_client_id": None}, {"oidc_client_secret": None}, {"oidc_issuer": None},
        {"public_url": None}, {"public_url": "http://ledger.example"},
        {"oidc_issuer": "http://id.example"}, {"oidc_issuer": "http://localhost.evil.example"},
        {"public_url": "https://ledger.example/"}, {"public_url": "https://u:p@ledger.example"},
        {"oidc_issuer": "ftp://id.example"}, {"oidc_issuer": "https://u:p@id.example"},
    ],
)  # fmt: skip
def test_settings_that_nobody_could_safely_sign_in_with(changed: dict[str, str | None]) -> None:
    good = {
        "public_url": "https://ledger.example",
        "oidc_issuer": "https://id.example/realms/xk",
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
        "sign_ins_per_minute": 100_000,  # these tests sign in as fast as they can
    }
    check_settings(Settings(**good))  # type: ignore[arg-type]
    with pytest.raises(ValueError) as error:  # noqa: PT011
        check_settings(Settings(**(good | changed)))  # type: ignore[arg-type]
    assert CLIENT_SECRET not in str(error.value)


def test_logs_and_refusals_tell_nothing_of_anyone(
    browser: httpx.Client, provider: Provider, capfd: pytest.CaptureFixture[str]
) -> None:
    structlog.reset_defaults()
    with capture_logs() as logs:
        said = [sign_in(browser)]
        held = [browser.cookies[SESSION], provider.asked[-1]["state"]]
        provider.claims["amr"] = ["pwd"]
        said.append(browser.get("/auth/login").json())
        provider.reset()
        provider.claims["aud"] = "zqAnother"
        said.append(browser.get("/auth/login").json())
    out, err = capfd.readouterr()
    written = json.dumps(logs) + out + err
    assert "/auth/callback" in written
    for value in (*held, "zq", CLIENT_SECRET, "code="):
        assert value not in written
    assert "zq" not in json.dumps(said)


def test_over_https_the_cookies_are_this_hosts_alone(
    server: str, begun: str, agencies: Agencies, provider: Provider, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("node")
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    tls = {"port": port, "public_url": url, "tls_certificate": certificate, "tls_key": key}
    with (
        place(server, begun, agencies, tmp_path, provider.url, **tls) as node,
        httpx.Client(base_url=url, verify=authority.context(), follow_redirects=False) as browser,
    ):
        assert node.url == url
        out = browser.get("/auth/login")
        back = httpx.get(out.headers["location"]).headers["location"]
        answers = [out, browser.get(back)]
        assert [rule(answer) for answer in answers] == [(303, None), (303, None)]
        for answer, name in zip(answers, (PENDING, SESSION), strict=True):
            first = answer.headers.get_list("set-cookie")[0]
            assert first.startswith(f"__Host-{name}=")
            marks = {mark.strip().lower() for mark in first.split(";")[1:]}
            assert {"httponly", "secure", "samesite=lax", "path=/"} <= marks
            assert not [mark for mark in marks if mark.startswith("domain")]
            assert answer.headers["cache-control"] == "no-store"
        assert browser.get("/auth/me").json()["agency"] == "xk-nac"
        held = browser.cookies[f"__Host-{SESSION}"]
        plain = {"Cookie": f"{SESSION}={held}"}
        other = httpx.get(f"{url}/auth/me", headers=plain, verify=authority.context())
        assert rule(other) == (401, "assertion-missing")


def test_a_client_shows_a_certificate_of_the_named_authority(
    server: str, begun: str, agencies: Agencies, provider: Provider, tmp_path: Path
) -> None:
    authority, stranger = Authority(tmp_path, "authority"), Authority(tmp_path, "stranger")
    certificate, key = authority.issue("node")
    tls = {
        "tls_certificate": certificate,
        "tls_key": key,
        "tls_client_roots": authority.roots,
    }
    with place(server, begun, agencies, tmp_path, provider.url, **tls) as node:
        assert node.url.startswith("https://")

        def ask(context: ssl.SSLContext) -> list[str]:
            transport = httpx.HTTPTransport(verify=context)
            with LedgerClient(
                node.url,
                agency="xk-nac",
                key=agencies.keys["xk-nac"],
                protocol=agencies.protocol.id,
                patience=0,
                transport=transport,
            ) as client:
                return [agency.id for agency in client.agencies()]

        assert "xk-nac" in ask(authority.context(authority.issue("system")))
        for shown in (None, stranger.issue("system"), authority.issue("late", over=True)):
            with pytest.raises(httpx.TransportError):
                ask(authority.context(shown))
        old = authority.context(authority.issue("system"))
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert "xk-nac" in ask(old)
        with pytest.raises(httpx.TransportError):
            httpx.get(node.url.replace("https", "http") + "/health")


def test_certificates_that_cannot_be_served(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("node")
    _, another = authority.issue("other")
    locked = tmp_path / "locked.key"
    opened = load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(
        opened.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"zq-locked")
        )
    )
    assert tls_context(Settings()) is None
    made = tls_context(Settings(tls_certificate=certificate, tls_key=key))
    assert made is not None
    assert made.verify_mode == ssl.CERT_NONE
    for wrong in (
        {"tls_certificate": certificate},
        {"tls_key": key},
        {"tls_client_roots": authority.roots},
        {"tls_certificate": certificate, "tls_key": another},
        {"tls_certificate": certificate, "tls_key": locked},
        {"tls_certificate": tmp_path / "missing.pem", "tls_key": key},
        {"tls_certificate": certificate, "tls_key": key, "tls_client_roots": key},
    ):
        with pytest.raises((ValueError, OSError)):
            tls_context(Settings(**wrong))  # type: ignore[arg-type]
