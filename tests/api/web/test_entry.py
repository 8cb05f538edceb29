"""Coming in: key sessions, languages, static files, and refusals as pages."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from api.client.assertion import make_assertion
from api.paper.languages.found import offered
from api.web.assets import assets
from api.web.languages import accepted
from api.web.routes import entry
from api.web.shell import worker
from ledger.signing import keys
from ledger.vocabulary.registration import KeyRegistered, KeyRevoked
from tests.support.agencies import PAST
from tests.support.serving import Server
from tests.support.web import FROM_HERE, signed_in

POLICE, COORDINATOR = "xk-dhtqnj", "xk-nac"


@pytest.fixture
def nobody(node: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=node.url, headers={"Accept": "text/html"}) as client:
        yield client


def bearer(node: Server, agency: str) -> dict[str, str]:
    assertion = make_assertion(agency, node.agencies.keys[agency], "case-ledger")
    return {"Authorization": f"Bearer {assertion}"}


def test_a_key_begins_a_session_and_names_its_holder(node: Server) -> None:
    with signed_in(node, POLICE) as browser:
        me = browser.get("/auth/me").json()
    assert me["agency"] == POLICE
    assert me["person"] == keys.key_id(node.agencies.keys[POLICE])


def test_a_session_by_key_is_begun_from_a_page_of_this_node_alone(
    node: Server, nobody: httpx.Client
) -> None:
    for sent in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        answer = nobody.post("/auth/key", headers={**bearer(node, POLICE), **sent})
        assert (answer.status_code, answer.json()["rule"]) == (403, "cross-site")
        assert "set-cookie" not in answer.headers


def test_an_assertion_begins_one_session(node: Server, nobody: httpx.Client) -> None:
    sent = {**bearer(node, POLICE), **FROM_HERE}
    assert nobody.post("/auth/key", headers=sent).status_code == 201
    again = nobody.post("/auth/key", headers=sent)
    assert (again.status_code, again.json()["rule"]) == (401, "assertion-replayed")


def test_a_nodes_key_signs_in_nobody(node: Server, nobody: httpx.Client) -> None:
    answer = nobody.post("/auth/key", headers={**bearer(node, "xk-node"), **FROM_HERE})
    assert (answer.status_code, answer.json()["rule"]) == (403, "sign-in-agency")


def test_signing_in_again_ends_the_session_before(node: Server) -> None:
    with signed_in(node, POLICE) as browser, httpx.Client(base_url=node.url) as other:
        other.cookies.update(browser.cookies)
        browser.post("/auth/key", headers={**bearer(node, POLICE), **FROM_HERE})
        assert browser.get("/auth/me").status_code == 200
        assert other.get("/auth/me").json()["rule"] == "session-over"


def test_a_session_ends_with_its_key(node: Server) -> None:
    key, agency = keys.generate(), "xk-csw-peja"
    with node.client(COORDINATOR) as coordinator, httpx.Client(base_url=node.url) as browser:
        grant = node.agencies.grant(agency, key)
        coordinator.append_to_registry(KeyRegistered(acted_at=PAST, grant=grant))
        token = make_assertion(agency, key, "case-ledger")
        browser.post("/auth/key", headers={**FROM_HERE, "Authorization": f"Bearer {token}"})
        assert browser.get("/auth/me").json()["agency"] == agency
        revoked = KeyRevoked(acted_at=datetime.now(UTC), key_id=keys.key_id(key))
        coordinator.append_to_registry(revoked)
        assert browser.get("/auth/me").json()["rule"] == "session-over"


def test_who_is_not_signed_in_is_sent_to_do_that(nobody: httpx.Client) -> None:
    assert nobody.get("/").headers["location"] == "/sign-in"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"), ("de-DE,de;q=0.9", "en"), ("sq", "sq"), ("en;q=0.5, sq;q=0.8", "sq"),
        ("sr-Latn-ME", "cnr"), ("bs,en;q=0.1", "cnr"), ("sq;q=0", "en"), ("sq;q=zz,en", "en"),
    ],
)  # fmt: skip
def test_the_language_that_the_browser_asks_for(header: str, language: str) -> None:
    assert accepted(header, offered(None)).code == language


def test_a_chosen_language_stays(nobody: httpx.Client) -> None:
    assert '<html lang="sq"' in nobody.get("/sign-in", headers={"Accept-Language": "sq"}).text
    answer = nobody.post(
        "/language", content="language=cnr&return_to=%2Fsign-in", headers=FROM_HERE
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    page = nobody.get("/sign-in", headers={"Accept-Language": "sq"}).text
    assert '<html lang="cnr-Latn"' in page
    assert "Prijava" in page


@pytest.mark.parametrize(
    "form",
    ["language=de&return_to=%2F", "language=sq&return_to=https%3A%2F%2Fevil.example", "",
     "language=sq&return_to=%2F%2Fevil.example", "language=sq&return_to=%2F%5Cevil.example"],
)  # fmt: skip
def test_a_language_leads_nowhere_else(nobody: httpx.Client, form: str) -> None:
    assert nobody.post("/language", content=form, headers=FROM_HERE).status_code == 422
    assert nobody.post("/language", content=form).status_code == 403


def test_static_files_are_kept_for_ever_under_their_version(nobody: httpx.Client) -> None:
    address = assets().url("pages.css")
    assert address in nobody.get("/sign-in").text
    answer = nobody.get(address, headers={"Cookie": "case-ledger-language=sq"})
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert nobody.get("/static/0000000000000000/pages.css").status_code == 404
    assert nobody.get(address.replace("pages.css", "../texts.py")).status_code == 404


def test_what_a_browser_installs_has_the_language_and_the_colours_of_the_pages(
    nobody: httpx.Client,
) -> None:
    page = nobody.get("/sign-in", headers={"Accept-Language": "sq"}).text
    assert '<link rel="manifest" href="/manifest/sq.webmanifest">' in page
    answer = nobody.get("/manifest/sq.webmanifest")
    assert answer.headers["content-type"] == "application/manifest+json"
    told = answer.json()
    assert (told["name"], told["short_name"], told["lang"]) == (
        "Regjistri i rasteve",
        "Rastet",
        "sq",
    )
    assert (told["start_url"], told["scope"], told["display"]) == ("/today", "/", "standalone")
    for one in told["icons"]:
        icon = nobody.get(one["src"])
        assert (icon.status_code, icon.headers["content-type"]) == (200, one["type"])
    tokens = assets().files["tokens.css"].content.decode()
    bars = re.findall(r"--bar: (#[0-9a-f]{6})", tokens)
    assert re.findall(r'name="theme-color" content="(#[0-9a-f]{6})"', page) == bars
    assert told["theme_color"] == bars[0]
    assert nobody.get("/manifest/de.webmanifest").status_code == 404
    assert nobody.get("/offline/de").status_code == 404


def test_the_worker_is_another_with_each_release_and_removes_itself_where_it_is_not_wanted(
    nobody: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = nobody.get("/service-worker.js")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; connect-src")
    release = json.loads(answer.text.splitlines()[0].removeprefix("const RELEASE = ")[:-1])
    assert {"en", "sq", "cnr"} <= set(release["languages"])
    for path in (*release["files"], *(f"/offline/{code}" for code in release["languages"])):
        assert nobody.get(path).status_code == 200
    assert worker(("en",)) != worker(("en", "sq"))
    monkeypatch.setattr(entry, "has_worker", lambda _: False)
    assert "unregister()" in nobody.get("/service-worker.js").text


def test_refusals_are_pages_for_browsers_and_problems_for_clients(nobody: httpx.Client) -> None:
    page = nobody.get("/nowhere", headers={"Accept-Language": "sq"})
    assert page.status_code == 404
    assert "Nuk u gjet" in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    told = nobody.get("/nowhere", headers={"Accept": "application/json"})
    assert told.json()["rule"] == "no-such-resource"
    assert nobody.get("/v1/cases").headers["content-type"] == "application/problem+json"
