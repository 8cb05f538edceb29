"""The API as agencies use it, over a real socket."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from joserfc import jwt
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.responses import Response

from api.client import RefusedError
from api.client.assertion import TYPE, make_assertion
from api.client.schemas import Case
from api.http.middleware import FailedAuthentications, PlainParameters, RequestsOfAddresses
from api.web import in_language
from api.web.texts import texts
from ledger.signing import keys
from ledger.vocabulary.case_reference import case_reference
from ledger.vocabulary.coordination import InformationRequested
from ledger.vocabulary.identification import CaseOpened
from ledger.vocabulary.picklists import (
    InformationTopic,
    Purpose,
    ReturnDelay,
    RiskLevel,
    ShelterKind,
)
from ledger.vocabulary.protection import RiskAssessed, Sheltered
from ledger.vocabulary.registration import KeyRegistered, KeyRevoked
from ledger.vocabulary.return_and_inclusion import ReturnPostponed
from tests.support import actions
from tests.support.agencies import PAST
from tests.support.serving import Server

START = datetime(2025, 12, 3, 10, tzinfo=UTC)
OPEN = [
    "/auth/callback",
    "/auth/key",
    "/auth/login",
    "/auth/logout",
    "/health",
    "/log/checkpoint",
    "/log/policies",
    "/log/policy",
    "/log/tile/{path}",
    "/log/timestamp/{size}",
    "/metrics",
    "/ready",
    "/v1/invited",
    "/v1/invited-keys",
    "/v1/schemas",
    "/v1/schemas/actions/{kind}/{version}",
    "/v1/schemas/bundle",
    "/v1/schemas/shared/{name}",
    "/witness/{party}/add-checkpoint",
    "/witness/{party}/{origin_hash}/checkpoint",
]
"""The operations that need neither assertion nor session."""
SECRET_NAME = "zqNameNobodyElseHas"
SECRET_NOTE = "zqNoteNobodyElseHas"


def opening(countries: tuple[str, ...] = ("XK",)) -> CaseOpened:
    secrets = {"indicators_note": SECRET_NOTE, "first_name": SECRET_NAME}
    return actions.opening(countries, acted_at=START, **secrets)


@pytest.fixture
def served(served_once: Server) -> Server:
    """One server: most tests look at nothing but what they record themselves."""
    return served_once


def assessed() -> RiskAssessed:
    return RiskAssessed(acted_at=START + timedelta(hours=1), risk_level=RiskLevel.HIGH)


def request_to(addressee: str) -> InformationRequested:
    return InformationRequested(
        acted_at=START + timedelta(hours=2),
        addressee=addressee,
        topics=(InformationTopic.FAMILY,),
        purpose=Purpose.PROTECTION,
    )


def refused(error: pytest.ExceptionInfo[RefusedError]) -> tuple[int, str]:
    return error.value.problem.status, error.value.problem.rule


def vault_rows(database: str, party: str, case_id: UUID) -> int:
    with psycopg.connect(database) as connection:
        row = connection.execute(
            f"SELECT count(*) FROM vault_{party}.disclosures WHERE case_id = %s",  # type: ignore[arg-type]
            (case_id,),
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_an_action_travels_from_an_agency_to_each_countrys_view(alone: Server) -> None:
    police, coordinator = alone.client("xk-dhtqnj"), alone.client("xk-nac")
    montenegro, albania = alone.client("me-nac"), alone.client("al-nac")
    case_id = uuid4()
    receipt = police.open_case(opening(), case_id)
    assert (receipt.case_id, receipt.case_version) == (case_id, 1)
    own = police.case(case_id, at_least=receipt.position)
    assert own.view.parties == ("XK",)
    assert own.disclosed[0].fields["indicators_note"] == SECRET_NOTE
    assert "first_name" not in own.disclosed[0].fields
    with pytest.raises(RefusedError) as error:
        montenegro.case(case_id)
    assert refused(error) == (404, "unknown-case")

    asked = coordinator.append(request_to("me-nac"), case_id, 1)
    theirs = montenegro.case(case_id, at_least=asked.position)
    assert theirs.view.parties == ("XK", "ME")
    assert theirs.disclosed == ()
    trail = list(montenegro.trail(case_id, at_least=asked.position))
    assert [e.kind for e in trail] == ["case_opened", "information_requested"]
    assert {e.signature for e in trail} == {"valid"}
    assert [c.case_id for c in montenegro.cases(awaits_us=True)] == [case_id]
    assert list(montenegro.cases(awaits_us=False)) == []
    reference = case_reference(case_id)
    for name in (reference, reference.lower(), str(case_id)):
        assert montenegro.case_named(name) == case_id
    with pytest.raises(ValueError, match="that of 0 cases: none that you may see"):
        albania.case_named(reference)
    with pytest.raises(RefusedError) as error:
        list(montenegro.cases(reference="K7Q-F3M-9X0"))
    assert refused(error) == (422, "case-reference")
    assert error.value.problem.field == "reference"
    assert list(albania.cases()) == []
    for read in (albania.case, albania.trail):
        with pytest.raises(RefusedError) as error:
            list(read(case_id))
        assert refused(error) == (404, "unknown-case")


def test_a_case_as_it_was(served: Server) -> None:
    police, coordinator = served.client("xk-dhtqnj"), served.client("xk-nac")
    first = police.open_case(opening())
    second = coordinator.append(request_to("me-nac"), first.case_id, 1)
    then = police.case(first.case_id, as_of_position=first.position, at_least=second.position)
    assert (then.view.version, then.view.open_requests) == (1, ())
    by_time = police.case(first.case_id, as_of_time=first.recorded_at)
    assert by_time.view == then.view
    now = police.case(first.case_id, as_of_time=datetime.now(UTC))
    assert now.view == police.case(first.case_id).view
    assert now.view.version == 2
    # Montenegro was not party to the case then.
    montenegro = served.client("me-nac")
    assert montenegro.case(first.case_id).view.version == 2
    with pytest.raises(RefusedError) as error:
        montenegro.case(first.case_id, as_of_position=first.position)
    assert refused(error) == (404, "unknown-case")


def test_a_case_is_answered_as_the_document_says(served: Server) -> None:
    """The view's JSON is passed on as it is stored; it reads and writes as the model does."""
    police, coordinator = served.client("xk-dhtqnj"), served.client("xk-nac")
    opened = police.open_case(opening())
    last = coordinator.append(request_to("me-nac"), opened.case_id, 1)
    coordinator.case(opened.case_id, at_least=last.position)
    for agency in ("xk-dhtqnj", "me-nac", "xk-ombudsperson"):
        for query in ("", f"?as_of_position={last.position}"):
            answer = httpx.get(
                f"{served.url}/v1/cases/{opened.case_id}{query}",
                headers={"Authorization": f"Bearer {own_assertion(served, agency)}"},
            )
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["etag"].startswith('"2.')
            document = Case.model_validate_json(answer.content)
            assert document.model_dump(mode="json") == answer.json()
            assert bool(document.disclosed) is (agency == "xk-dhtqnj")


def own_assertion(served: Server, agency: str) -> str:
    return make_assertion(agency, served.agencies.keys[agency], "case-ledger")


def test_reading_a_case_asks_the_database_once_of_each_sort(
    alone: Server, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One statement says who asks, one the view, at the same time one what the vault holds."""
    with alone.client("xk-dhtqnj") as police, alone.client("xk-ombudsperson") as oversight:
        held, bare = (police.open_case(opening()) for _ in range(2))
        police.case(held.case_id, at_least=bare.position)
        with psycopg.connect(database) as connection:
            connection.execute(
                "DELETE FROM vault_xk.disclosures WHERE case_id = %s", [bare.case_id]
            )
        asked: list[str] = []
        whole = psycopg.AsyncConnection.execute

        async def counting(
            self: psycopg.AsyncConnection[object], query: object, *given: object, **named: object
        ) -> object:
            asked.append(str(query))
            return await whole(self, query, *given, **named)  # type: ignore[arg-type, call-overload]

        monkeypatch.setattr(psycopg.AsyncConnection, "execute", counting)
        oversight.case(held.case_id)
        assert len(asked) == 2
        # The positions of actions are asked once, and then known.
        alone.app.state.lanes.cases._positions.clear()
        for receipt, statements in ((bare, 3), (held, 4), (held, 3)):
            asked.clear()
            assert bool(police.case(receipt.case_id).disclosed) is (receipt is held)
            assert len(asked) == statements, asked


def test_a_request_of_an_unusual_form_is_answered_as_the_usual_one(served: Server) -> None:
    """The framework reads it; for the usual form it is left out."""
    police = served.client("xk-dhtqnj")
    opened = police.open_case(opening())
    police.case(opened.case_id, at_least=opened.position)

    def ask(method: str, path: str, body: str | None = None, **headers: str) -> httpx.Response:
        assertion = make_assertion("xk-dhtqnj", served.agencies.keys["xk-dhtqnj"], "case-ledger")
        headers["Authorization"] = f"Bearer {assertion}"
        return httpx.request(method, f"{served.url}/v1/cases/{path}", content=body, headers=headers)

    usual, unusual = str(opened.case_id), str(opened.case_id).upper()
    answers = [ask("GET", path) for path in (usual, unusual, f"{usual}?at_least=1")]
    assert len({answer.content for answer in answers}) == 1
    assert {answer.status_code for answer in answers} == {200}
    assert ask("GET", "no-id").status_code == ask("GET", f"{usual}?no=1").status_code == 422
    for case_id in (usual, unusual):
        sent = str(served.agencies.sign("xk-dhtqnj", assessed(), opened.case_id))
        kind = {"Content-Type": "application/sd-jwt"}
        assert ask("POST", f"{case_id}/actions", sent, **kind).status_code == 428
        assert ask("POST", f"{case_id}/actions", "", **kind).status_code == 422
        version = {"If-Match": f'"{1 if case_id == usual else 2}"'}
        assert ask("POST", f"{case_id}/actions", "é", **kind, **version).status_code == 422
        assert ask("POST", f"{case_id}/actions", sent, **kind, **version).status_code == 201


def test_oversight_sees_the_ledger_level_of_all_and_acts_on_none(served: Server) -> None:
    opened = served.client("me-police-thb").open_case(opening(("ME",)))
    for body in ("xk-ombudsperson", "me-ombudsman", "al-advocate"):
        oversight = served.client(body)
        seen = oversight.case(opened.case_id, at_least=opened.position)
        assert seen.view.lead_agency == "me-police-thb"
        assert seen.disclosed == ()
        assert opened.position in {e.position for e in oversight.events().events}
        with pytest.raises(RefusedError) as error:
            oversight.append(assessed(), opened.case_id, 1)
        assert refused(error) == (403, "role")


def test_the_same_action_again_gives_the_same_receipt(served: Server) -> None:
    database = served.node.conninfo
    police = served.client("xk-dhtqnj")
    case_id = uuid4()
    signed = police.sign(opening(), case_id)
    first = police.send(signed, case_id, 0)
    assert police.send(signed, case_id, 0) == first
    held = police.case(case_id, at_least=first.position).disclosed
    assert [d.action_id for d in held] == [first.action_id]
    other = police.sign(opening(), case_id, first.action_id)
    with pytest.raises(RefusedError) as error:
        police.send(other, case_id, 0)
    assert refused(error) == (409, "action-id-reused")
    # What the refused one disclosed is gone; what the recorded one disclosed is not.
    digests = {d.digest for d in signed.disclosures}
    with psycopg.connect(database) as connection:
        kept = connection.execute(
            "SELECT DISTINCT digest FROM vault_xk.disclosures WHERE case_id = %s", (case_id,)
        ).fetchall()
    assert {row[0] for row in kept} == digests


def test_a_recorded_action_is_not_filed_under_another_case(served: Server) -> None:
    database = served.node.conninfo
    police = served.client("xk-dhtqnj")
    first, second = uuid4(), uuid4()
    signed = police.sign(opening(), first)
    police.send(signed, first, 0)
    police.open_case(opening(), second)
    before = vault_rows(database, "xk", first), vault_rows(database, "xk", second)
    with pytest.raises(RefusedError) as error:
        police.send(signed, second, 1)
    assert refused(error) == (422, "case-id")
    police.send(signed, first, 0)
    assert (vault_rows(database, "xk", first), vault_rows(database, "xk", second)) == before


def test_a_refused_action_leaves_nothing(served: Server) -> None:
    database = served.node.conninfo
    police, shelter = served.client("xk-dhtqnj"), served.client("xk-isf")
    opened = police.open_case(opening())
    before = vault_rows(database, "xk", opened.case_id)
    in_shelter = Sheltered(
        acted_at=START + timedelta(hours=3),
        shelter_kind=ShelterKind.EMERGENCY,
        provider="xk-isf",
        address=SECRET_NOTE,
    )
    with pytest.raises(RefusedError) as error:
        shelter.append(in_shelter, opened.case_id, 7)
    assert refused(error) == (412, "case-version")
    with pytest.raises(RefusedError) as error:
        shelter.append(opening(), opened.case_id, 1)
    assert refused(error) == (409, "already-opened")
    assert SECRET_NAME not in str(error.value.problem)
    assert vault_rows(database, "xk", opened.case_id) == before
    assert police.case(opened.case_id, at_least=opened.position).view.version == 1


def test_each_agency_sends_only_its_own_actions(served: Server) -> None:
    police, other = served.client("xk-dhtqnj"), served.client("xk-border")
    case_id = uuid4()
    with pytest.raises(RefusedError) as error:
        other.send(police.sign(opening(), case_id), case_id, 0)
    assert refused(error) == (403, "own-action-only")


def test_no_country_reaches_the_vault_of_another(served: Server) -> None:
    database = served.node.conninfo
    opened = served.client("xk-dhtqnj").open_case(opening(("XK", "ME", "AL")))
    assert vault_rows(database, "xk", opened.case_id) > 0
    assert vault_rows(database, "me", opened.case_id) == 0
    assert vault_rows(database, "al", opened.case_id) == 0


def test_preconditions_are_asked_for(served: Server) -> None:
    police = served.client("xk-dhtqnj")
    case_id = uuid4()
    body = str(police.sign(opening(), case_id))
    url = f"{served.url}/v1/cases/{case_id}/actions"

    def post(**headers: str) -> httpx.Response:
        token = make_assertion("xk-dhtqnj", served.agencies.keys["xk-dhtqnj"], "case-ledger")
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {"Authorization": f"Bearer {token}", "Content-Type": "application/sd-jwt"}
        return httpx.post(url, content=body, headers=sent)

    for response, status in [
        (post(), 428),
        (post(If_Match="1"), 422),
        (post(If_Match="*"), 422),
        (post(If_None_Match='"1"'), 422),
        (post(If_Match='"1"', If_None_Match="*"), 422),
        (post(If_Match='"5"'), 412),
    ]:
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["rule"] in ("case-version", "unknown-case")
    created = post(If_None_Match="*")
    assert created.status_code == 201
    assert created.headers["etag"] == '"1"'


def assertion(served: Server, agency: str = "xk-nac", **changes: object) -> str:
    now = int(datetime.now(UTC).timestamp())
    claims = {
        "iss": agency,
        "aud": "case-ledger",
        "iat": now,
        "exp": now + 60,
        "jti": str(uuid4()),
    } | changes
    key = served.agencies.keys["xk-nac"]
    header = {"alg": "Ed25519", "typ": TYPE, "kid": keys.key_id(key)}
    return jwt.encode(header, {k: v for k, v in claims.items() if v is not None}, key,
                      algorithms=["Ed25519"])  # fmt: skip


def test_assertions_are_checked(alone: Server) -> None:
    def ask(token: str | None) -> tuple[int, str | None]:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        response = httpx.get(f"{alone.url}/v1/agencies", headers=headers)
        if response.is_error:
            assert response.headers["www-authenticate"].startswith("Bearer")
            return response.status_code, response.json()["rule"]
        return response.status_code, None

    now = int(datetime.now(UTC).timestamp())
    good = assertion(alone)
    assert ask(good) == (200, None)
    assert ask(good) == (401, "assertion-replayed")
    assert ask(None) == (401, "assertion-missing")
    assert ask("nonsense") == (401, "assertion-malformed")
    assert ask(assertion(alone, aud="elsewhere")) == (401, "assertion-audience")
    assert ask(assertion(alone, iat=now - 400, exp=now - 100)) == (401, "assertion-expired")
    assert ask(assertion(alone, exp=now + 3600)) == (401, "assertion-lifetime")
    assert ask(assertion(alone, exp=now - 1)) == (401, "assertion-lifetime")
    assert ask(assertion(alone, iat=now + 200, exp=now + 260)) == (401, "assertion-early")
    assert ask(assertion(alone, jti=None)) == (401, "assertion-malformed")
    assert ask(assertion(alone, agency="me-nac")) == (401, "key-of-another-agency")
    stranger = keys.generate()
    assert ask(make_assertion("xk-nac", stranger, "case-ledger")) == (401, "unknown-key")
    head, body, signature = assertion(alone).split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    assert ask(f"{head}.{body}.{flipped}") == (401, "assertion-signature")
    # A signed action is no assertion, although the same key signed it.
    action = alone.client("xk-nac").sign(request_to("me-nac"), uuid4())
    assert ask(action.jwt) == (401, "assertion-malformed")


def test_keys_are_registered_and_revoked_over_http(served: Server) -> None:
    coordinator = served.client("me-nac")
    new_key = keys.generate()
    grant = served.agencies.grant("me-border", new_key)
    coordinator.append_to_registry(KeyRegistered(acted_at=datetime.now(UTC), grant=grant))
    listed = next(a for a in coordinator.agencies() if a.id == "me-border")
    assert keys.key_id(new_key) in {key.id for key in listed.keys}
    receipt = coordinator.append_to_registry(
        KeyRevoked(acted_at=datetime.now(UTC), key_id=keys.key_id(new_key))
    )
    token = make_assertion("me-border", new_key, "case-ledger")
    answer = httpx.get(f"{served.url}/v1/agencies", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["rule"]) == (401, "revoked-key")
    with pytest.raises(RefusedError) as error:
        served.client("xk-nac").append_to_registry(
            KeyRegistered(acted_at=datetime.now(UTC), grant=grant)
        )
    assert refused(error)[0] in (403, 409)
    oversight = served.client("xk-ombudsperson")
    trail = [
        e for e in oversight.protocol_trail(at_least=receipt.position)
        if e.position >= receipt.position - 1
    ]  # fmt: skip
    assert [e.kind for e in trail] == ["key_registered", "key_revoked"]


def test_pages_of_cases_and_events_hold_each_once(alone: Server) -> None:
    police = alone.client("xk-dhtqnj")
    opened = [police.open_case(opening()) for _ in range(7)]
    police.case(opened[-1].case_id, at_least=opened[-1].position)
    listed = [view.case_id for view in police.cases(page=3)]
    assert listed == [r.case_id for r in reversed(opened)]
    positions: list[int] = []
    after = 0
    while (page := police.events(after, limit=4)).events:
        positions += [e.position for e in page.events]
        after = page.next
    assert positions == sorted(set(positions))
    assert {r.position for r in opened} <= set(positions)


def test_an_agency_follows_its_countrys_events_and_a_coordinator_all(served: Server) -> None:
    mine = served.client("xk-dhtqnj").open_case(opening())
    theirs = served.client("me-police-thb").open_case(opening(("ME",)))
    police, coordinator = served.client("xk-border"), served.client("xk-nac")
    coordinator.case(mine.case_id, at_least=theirs.position)
    assert theirs.position not in {e.position for e in police.events().events}
    assert mine.position in {e.position for e in police.events().events}
    assert theirs.position in {e.position for e in coordinator.events().events}


def test_followers_are_told_as_the_ledger_grows(served: Server) -> None:
    police = served.client("xk-dhtqnj")
    first = police.open_case(opening())
    seen = served.client("xk-nac").follow(after=first.position - 1)
    assert next(seen).position == first.position
    second = police.open_case(opening())
    event = next(seen)
    assert (event.position, event.case_id) == (second.position, second.case_id)
    assert event.leaf_hash == second.leaf_hash
    assert SECRET_NAME not in event.entry
    seen.close()  # type: ignore[attr-defined]


def test_a_stream_ends_with_the_key_that_began_it(alone: Server) -> None:
    police, coordinator = alone.client("xk-border"), alone.client("xk-nac")
    position = police.open_case(opening()).position
    seen = police.follow(after=position - 1)
    assert next(seen).position == position
    key_id = keys.key_id(alone.agencies.keys["xk-border"])
    coordinator.append_to_registry(KeyRevoked(acted_at=PAST, key_id=key_id))
    alone.client("xk-dhtqnj").open_case(opening())
    with pytest.raises(RefusedError) as told:
        assert [event.kind for event in seen] == "never without an end that is said"
    assert told.value.problem.rule == "revoked-key"


def test_errors_are_problem_details_and_repeat_nothing(served: Server) -> None:
    for response in [
        httpx.get(f"{served.url}/nowhere/{SECRET_NAME}"),
        httpx.delete(f"{served.url}/v1/cases"),
        httpx.get(
            f"{served.url}/v1/cases/{SECRET_NAME}",
            headers={"Authorization": f"Bearer {assertion(served)}"},
        ),
        httpx.post(
            f"{served.url}/v1/cases/{uuid4()}/actions",
            content=SECRET_NAME,
            headers={
                "Authorization": f"Bearer {assertion(served)}",
                "Content-Type": "application/sd-jwt",
                "If-None-Match": "*",
            },
        ),
        httpx.post(f"{served.url}/v1/cases/{uuid4()}/actions", content="x" * 600_000),
    ]:
        assert 400 <= response.status_code < 500
        assert response.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "rule"} <= response.json().keys()
        assert SECRET_NAME not in response.text


def test_the_openapi_document_is_valid(served: Server) -> None:
    document = httpx.get(f"{served.url}/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()
    unsecured = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if operation.get("security") != [{"agency_assertion": []}, {"session": []}]
    }
    assert sorted(unsecured) == OPEN


def test_health_and_readiness(served: Server) -> None:
    assert httpx.get(f"{served.url}/health").json() == {
        "status": "alive",
        "version": version("case-ledger"),
    }
    ready = httpx.get(f"{served.url}/ready").json()
    assert (ready["status"], ready["protocol"]) == ("ready", served.agencies.protocol.id)
    assert ready["head"] >= len(served.agencies.protocol.agencies) - 2


def test_a_body_that_is_too_long_is_refused_before_it_is_read_whole(served: Server) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b"e" * 64 * 1024

    for body in (b"e" * 600 * 1024, endless()):
        token = make_assertion("xk-dhtqnj", served.agencies.keys["xk-dhtqnj"], "case-ledger")
        response = httpx.post(
            f"{served.url}/v1/cases/{uuid4()}/actions",
            content=body,
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/sd-jwt",
                "If-None-Match": "*",
            },
        )
        assert (response.status_code, response.json()["rule"]) == (413, "too-long")


def test_actions_on_cases_and_on_the_protocol_are_kept_apart(served: Server) -> None:
    coordinator = served.client("xk-nac")
    with pytest.raises(RefusedError) as error:
        coordinator.append_to_registry(opening())
    assert refused(error) == (422, "not-a-registry-action")
    with pytest.raises(RefusedError) as error:
        coordinator.append(KeyRevoked(acted_at=PAST, key_id="A" * 43), uuid4(), 0)
    assert refused(error) == (422, "not-canonical")  # an act on the protocol names no case


def test_a_refusal_is_in_the_language_that_is_asked_for(served: Server) -> None:
    case_id = uuid4()
    with served.client("xk-dhtqnj") as police:
        police.open_case(opening(), case_id)
        told = []
        for language in (None, "en-GB", "sq-XK,en;q=0.5", "cnr", "fi"):
            with served.client("xk-dhtqnj", language=language) as asking:
                with pytest.raises(RefusedError) as error:
                    asking.append(assessed(), case_id, 3)
                told.append(error.value.problem)
    english, british, albanian, montenegrin, finnish = told
    assert english == british == finnish
    assert english.detail_en is None
    assert {(one.rule, one.status, one.type) for one in told} == {
        ("case-version", 412, "urn:case-ledger:rule:case-version")
    }
    assert albanian.detail == texts("sq").text("why.case-version")
    assert montenegrin.detail == texts("cnr").text("why.case-version")
    assert albanian.detail_en == montenegrin.detail_en == english.detail
    # A fact of the case is named in the language, and no part of the text is left to fill in.
    postponed = ReturnPostponed(acted_at=START, ground=ReturnDelay.HEALTH)
    with served.client("xk-nac", language="sq") as asking, pytest.raises(RefusedError) as error:
        asking.append(postponed, case_id, 1)
    problem = error.value.problem
    assert problem.rule.startswith("requires-")
    assert problem.detail != problem.detail_en
    assert "{" not in str(problem.detail)
    assert problem.title == texts("sq").text("problem.409.title")
    bare = httpx.get(f"{served.url}/v1/cases/{case_id}", headers={"Accept-Language": "sq"})
    assert (bare.status_code, bare.headers["Content-Language"]) == (401, "sq")
    assert "Accept-Language" in bare.headers["Vary"]
    hidden = httpx.get(f"{served.url}/v1/cases/%E2%80%AE", headers={"Accept-Language": "sq"})
    assert hidden.json()["detail"] == texts("sq").text("why.request")
    assert hidden.json()["detail_en"].startswith("The address has a character")


@pytest.mark.parametrize(("language", "is_other"), [("cnr", True), ("sq", True), ("en", False)])
def test_what_is_refused_before_any_route_is_in_the_language_too(
    language: str, is_other: bool
) -> None:
    """Each of the middlewares refuses on its own."""

    def refused_by(app: Any, path: str = "/") -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app, client=("192.0.2.1", 1))
            headers = {"Accept-Language": language, "Authorization": "Bearer none"}
            async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
                return await client.get(path, headers=headers)

        return asyncio.run(ask())

    stranger = FailedAuthentications(Response(status_code=401), 1, in_language)
    told = {
        "request": refused_by(PlainParameters(Response(), in_language), "/%E2%80%AE"),
        "too-many-at-once": refused_by(RequestsOfAddresses(Response(), 0, in_language)),
        "too-many-requests": [refused_by(stranger) for _ in range(3)][-1],
    }
    for rule, answer in told.items():
        assert answer.json()["rule"] == rule
        assert ("Content-Language" in answer.headers) is is_other
        assert (answer.json()["detail"] == texts(language).text(f"why.{rule}")) is is_other
