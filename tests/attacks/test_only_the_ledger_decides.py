"""Between a country's node and the ledger node somebody answers in the ledger node's place.

Only a decision that the log's key signed, on this action, and that the node's own copy of the
ledger bears out, ends an action. All else leaves it in the outbox, with its disclosures.

``CASE_LEDGER_TEST_ANSWERS`` sets how many of the six sorts of body come with each HTTP status.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from api.client import LedgerClient, RefusedError, WaitingError
from api.client.schemas.problem import ProblemDetails
from api.demo.node_process import free_port
from api.exchange import outbox_relay, waiting_times
from api.keys.log_keys import log_key, witness_key
from api.runtime import readiness
from api.runtime.settings import Settings
from ledger.log.note import SignatureType, SignerKey
from ledger.log.policy import Policy, TrustedWitness
from ledger.log.signed_decision import (
    HEADER,
    Refused,
    SignedDecision,
    action_digest,
    recorded,
    sign,
)
from ledger.replication.false_decisions import FalseDecisions, LedgerEvents, held_against
from ledger.signing import keys
from ledger.signing.sd_jwt import SdJwt
from ledger.store.database import Database
from ledger.system.backoff import Backoff
from ledger.vocabulary.coordination import CasePrioritised
from ledger.vocabulary.picklists import Priority
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.command_line import CommandLine
from tests.support.databases import new_database
from tests.support.proxy import Answer, Asked, Proxy, answer, proxying
from tests.support.serving import Server, running
from tests.support.waiting import until

ANSWERS = int(os.environ.get("CASE_LEDGER_TEST_ANSWERS", "2"))
NOTE = "zqSeenAtTheBorder"
POLICE, PROSECUTOR = "xk-dhtqnj", "xk-prosecution-prishtina"


@dataclass
class Between:
    """A ledger node, a proxy, and Kosovo's node that reaches the one by the other."""

    ledger: Server
    country: Server
    country_database: str
    proxy: Proxy
    log: SignerKey

    def police(self, **options: object) -> LedgerClient:
        return self.country.client(POLICE, **options)

    def held(self, action_id: UUID) -> int:
        """Return the number of an action's disclosures in the country's vault."""
        with psycopg.connect(self.country_database) as connection:
            row = connection.execute(
                "SELECT count(*) FROM vault_xk.disclosures WHERE action_id = %s", (action_id,)
            ).fetchone()
        assert row is not None
        return int(row[0])

    def ready(self) -> dict[str, object]:
        said: dict[str, object] = httpx.get(f"{self.country.url}/ready").json()
        return said

    def troubles(self) -> set[str]:
        told = self.ready()["troubles"]
        assert isinstance(told, list)
        return {trouble["rule"] for trouble in told}

    def signed(self, case_id: UUID) -> SdJwt:
        """The opening of a case, as the police sign it, with a note."""
        return self.ledger.agencies.sign(POLICE, opening(indicators_note=NOTE), case_id)

    def put(self, signed: SdJwt, case_id: UUID) -> UUID:
        """Hand an action in that stays without an outcome for now."""
        with self.police(patience=0) as police, pytest.raises(WaitingError) as waits:
            police.send(signed, case_id, 0)
        return waits.value.outcome.action_id


@pytest.fixture(scope="module")
def between(server: str, begun: str, migrated: str, agencies: Agencies) -> Iterator[Between]:
    with ExitStack() as stack:
        quick = stack.enter_context(pytest.MonkeyPatch.context())
        quick.setattr(outbox_relay, "_BACKOFF", Backoff(0.01, 0.01))
        quick.setattr(readiness, "_EVERY_SECONDS", 0.1)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        conninfos = [stack.enter_context(new_database(server, name)) for name in (begun, migrated)]
        policy = directory / "policy"
        here = Settings(
            data_directory=directory / "ledger", port=free_port(), countries=(), policy=policy
        )
        proxy = stack.enter_context(proxying(f"http://127.0.0.1:{here.port}"))
        there = Settings(
            data_directory=directory / "xk",
            port=0,
            countries=("XK",),
            policy=policy,
            ledger_url=proxy.url,
            waiting_after_seconds=1,
        )
        there.key_directory.mkdir(parents=True)
        keys.save(agencies.keys["xk-node"], there.key_directory / "xk-node.jwk")
        witness = TrustedWitness(witness_key(there, "XK").verifier)
        policy.write_text(str(Policy.of(log_key(here).verifier, {"XK": witness})))
        ledger = stack.enter_context(running(here, conninfos[0], agencies))
        country = stack.enter_context(running(there, conninfos[1], agencies))
        made = Between(ledger, country, conninfos[1], proxy, log_key(here))
        until(lambda: made.ready().get("head", 0) > 20, "the first copy")  # type: ignore[operator]
        yield made


@pytest.fixture(autouse=True)
def honest_again(between: Between, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Repeat requests soon, and begin and end each test with a proxy that changes nothing."""
    monkeypatch.setattr(outbox_relay, "_LATER_SECONDS", (0.0,))
    monkeypatch.setattr(outbox_relay, "_AGAIN_AFTER", timedelta(seconds=0.5))
    between.proxy.seen.clear()
    yield
    between.proxy.lies = lambda _: None
    between.proxy.changes = lambda _asked, _answered: None


STATUSES = (200, 201, 202, 204, 302, 400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 418, 422,
            428, 429, 451, 500, 502, 503, 504, 507)  # fmt: skip


def bodies(status: int, of: SdJwt, case_id: UUID) -> Sequence[tuple[bytes, str]]:
    """Every kind of body that a proxy, a portal or an attacker may answer with."""
    problem = ProblemDetails(
        type="urn:case-ledger:rule:role",
        title="Not allowed to this agency",
        status=status,
        detail="No.",
        rule="role",
        field="iss",
    )
    told = problem.model_dump_json().encode()
    receipt = {
        "action_id": of.payload["jti"],
        "case_id": str(case_id),
        "position": 3,
        "case_version": 1,
        "recorded_at": "2026-01-01T00:00:00Z",
        "leaf_hash": "AAAA",
    }
    return (
        (b"<!doctype html><title>Blocked</title>", "text/html"),
        (told, "application/problem+json"),
        (told[: len(told) // 2], "application/problem+json"),
        (json.dumps(receipt).encode(), "application/json"),
        (b"", "application/json"),
        (b"[" * 5000, "application/json"),
    )


def headers(of: SdJwt, case_id: UUID, other: str, log: SignerKey) -> Sequence[dict[str, str]]:
    """No decision; and decisions that are not the log's, or not on this action and request."""
    thief = SignerKey(log.name, SignatureType.ED25519, Ed25519PrivateKey.generate())
    refused = refusal(of, case_id, log, 10**6)
    forged = refused.rpartition(".")[0] + "." + sign_as(thief, of, case_id).rpartition(".")[2]
    return (
        {},
        {HEADER: "not.a.decision"},
        {HEADER: other},
        {HEADER: sign_as(thief, of, case_id)},
        {HEADER: forged},
        {HEADER: refusal(of, uuid4(), log, 10**6)},
        {HEADER: refusal(of, case_id, log, 10**6, acted_on=4)},
        {HEADER: refusal(of, case_id, log, 1)},
    )


def refusal(
    of: SdJwt, case_id: UUID, signer: SignerKey, size: int, acted_on: int = 0, rule: str = "role"
) -> str:
    return sign(
        Refused(
            iss=signer.name,
            action=UUID(of.payload["jti"]),
            digest=action_digest(of.without_disclosures()),
            case=case_id,
            acted_on=acted_on,
            rule=rule,
            size=size,
            decided_at=datetime.now(UTC),
        ),
        signer,
    )


def sign_as(signer: SignerKey, of: SdJwt, case_id: UUID) -> str:
    return refusal(of, case_id, signer, 10**6)


@pytest.mark.parametrize("arrives", [False, True], ids=["dropped", "recorded"])
def test_whatever_a_proxy_answers_an_action_keeps_its_disclosures(
    between: Between, *, arrives: bool
) -> None:
    """Each status with each kind of body, and each false decision; the proxy keeps the request, or
    hands it on and answers otherwise than the ledger node did."""
    case_id = uuid4()
    signed = between.signed(case_id)
    action_id = UUID(signed.payload["jti"])
    other = refusal(between.signed(uuid4()), case_id, between.log, 10**6)
    lies: list[Answer] = [b""]
    for place, status in enumerate(STATUSES):
        sorts = bodies(status, signed, case_id)
        first = place * ANSWERS
        for body, media_type in islice(cycle(sorts), first, first + ANSWERS):
            lies.append(
                answer(status, body, {"Content-Type": media_type, "Location": "http://127.0.0.1:9"})
            )
    for status, (body, media_type) in ((409, bodies(409, signed, case_id)[1]),
                                       (201, bodies(201, signed, case_id)[3])):  # fmt: skip
        for named in headers(signed, case_id, other, between.log):
            lies.append(answer(status, body, {"Content-Type": media_type, **named}))
    left = iter(lies)

    def lie(asked: Asked, _answered: object = None) -> Answer | None:
        if asked.is_action:
            return next(left, None)
        is_hidden = arrives and "/log/head" in asked.path and len(between.proxy.seen) <= len(lies)
        return answer(503) if is_hidden else None  # else the copy would bring the event first

    if arrives:
        between.proxy.changes = lie
    else:
        between.proxy.lies = lie
    between.put(signed, case_id)
    until(lambda: "no-signed-decision" in between.troubles(), "the trouble")
    until(lambda: len(between.proxy.seen) > len(lies), "an honest answer")
    with between.police() as police:
        until(lambda: police.outcome(action_id).receipt is not None, "the receipt")
        receipt = police.outcome(action_id).receipt
        assert receipt is not None
        assert police.case(case_id, at_least=receipt.position).view.version == 1
    assert between.held(action_id) > 0
    until(lambda: between.troubles() == set(), "no trouble")


def test_an_honest_refusal_is_shown_and_signed(between: Between) -> None:
    with between.police() as police:
        case_id = police.open_case(opening(indicators_note=NOTE)).case_id
        signed = police.sign(opening(indicators_note=NOTE), case_id)
        with pytest.raises(RefusedError) as refused:
            police.send(signed, case_id, 1)
    assert refused.value.problem.status == 409
    assert refused.value.decision is not None
    decision = SignedDecision.parse(refused.value.decision)
    decision.verify(between.country.node.policy_at(decision.statement.size))
    bare = signed.without_disclosures()
    held = held_against(decision, bare, LedgerEvents(between.country.node.ledger))
    assert held.untrue is None
    assert held.refusal is not None
    assert held.refusal.rule == refused.value.problem.rule
    until(lambda: between.held(UUID(signed.payload["jti"])) == 0, "withdrawal")


def test_a_receipt_is_signed_and_true(between: Between) -> None:
    case_id = uuid4()
    signed = between.signed(case_id)
    with between.police() as police:
        receipt = police.submit(signed, case_id, 0).receipt
        until(lambda: police.submit(signed, case_id, 0).decision is not None, "the decision")
        told = police.submit(signed, case_id, 0).decision
    assert told is not None
    decision = SignedDecision.parse(told)
    decision.verify(between.country.node.policy_at(receipt.position))
    held = held_against(
        decision, signed.without_disclosures(), LedgerEvents(between.country.node.ledger)
    )
    assert (held.untrue, held.position) == (None, receipt.position)


def false_decisions(between: Between, action_id: UUID) -> list[str]:
    with Database(between.country_database) as database:
        return [one.what for one in FalseDecisions(database).all() if one.action_id == action_id]


def settle(between: Between) -> None:
    with Database(between.country_database) as database:
        FalseDecisions(database).settle("a test")
    until(lambda: "false-decision" not in between.troubles(), "settled")


def test_a_dropped_action_is_sent_again_and_its_receipt_is_evidence(between: Between) -> None:
    """The log's key signs a receipt, and the event at that position is another one."""
    case_id = uuid4()
    signed = between.signed(case_id)
    action_id = UUID(signed.payload["jti"])
    position = between.ledger.node.ledger.head() + 1
    now = datetime.now(UTC)
    digest = action_digest(signed.without_disclosures())
    dropped = sign(
        recorded(between.log.name, action_id, digest, position, now, bytes(32)), between.log
    )

    def drop(asked: Asked) -> Answer | None:
        if not asked.is_action or str(case_id) not in asked.path:
            return None
        body, media_type = bodies(201, signed, case_id)[3]
        return answer(201, body, {"Content-Type": media_type, HEADER: dropped})

    between.proxy.lies = drop
    with between.police(patience=0) as police:
        with pytest.raises(WaitingError):
            police.send(signed, case_id, 0)
        assert police.outcome(action_id).state in ("waiting", "sent")
    with between.police() as police:
        police.open_case(opening())
        until(lambda: false_decisions(between, action_id) != [], "evidence")
        assert "another one" in false_decisions(between, action_id)[0]
        between.proxy.lies = lambda _: None
        until(lambda: "false-decision" in between.troubles(), "the trouble")
        until(lambda: police.outcome(action_id).receipt is not None, "the event")
    assert between.held(action_id) > 0
    settle(between)


def test_a_false_refusal_is_evidence_and_takes_no_disclosure(
    between: Between, tmp_path: Path
) -> None:
    case_id = uuid4()
    signed = between.signed(case_id)
    action_id = UUID(signed.payload["jti"])
    size = between.ledger.node.ledger.head()
    false = refusal(signed, case_id, between.log, size)
    between.proxy.lies = lambda asked: (
        answer(403, b"<html>", {HEADER: false}) if asked.is_action else None
    )
    with between.police() as police, pytest.raises(RefusedError) as refused:
        police.send(signed, case_id, 0)
    assert refused.value.problem.rule == "role"
    assert "does not bear that out" in str(refused.value.problem.detail)
    assert false_decisions(between, action_id) == [
        f"the rules accept the action on the first {size} events"
    ]
    until(lambda: "false-decision" in between.troubles(), "the trouble")
    assert between.held(action_id) > 0
    settings = between.country.settings
    command = CommandLine(
        settings.data_directory,
        {
            "CASE_LEDGER_DATABASE_URL": between.country_database,
            "CASE_LEDGER_POLICY": str(settings.policy),
        },
    )
    command.run("node", "evidence", "--save", str(tmp_path))
    (file,) = tmp_path.glob(f"{action_id}-*.json")
    assert "it is false" in command.run("verify", "decision", str(file), code=5).stdout
    between.proxy.lies = lambda _: None
    with between.police() as police:  # handed in again, it is recorded
        assert police.send(signed, case_id, 0).case_id == case_id
    settle(between)


def test_a_refusal_waits_until_the_copy_has_what_it_stands_on(between: Between) -> None:
    """The log's key signs the refusal of a recorded action: its disclosures stay."""
    case_id = uuid4()
    signed = between.signed(case_id)
    action_id = UUID(signed.payload["jti"])
    size = between.ledger.node.ledger.head() + 1
    false = refusal(signed, case_id, between.log, size)
    between.proxy.changes = lambda asked, _: (
        answer(403, b"", {HEADER: false}) if asked.is_action else None
    )
    with between.police(patience=0) as police, suppress(WaitingError):
        police.send(signed, case_id, 0)
    with between.police() as police:
        until(lambda: police.outcome(action_id).receipt is not None, "the event")
    until(lambda: false_decisions(between, action_id) != [], "evidence")
    assert f"is recorded at position {size}" in false_decisions(between, action_id)[0]
    assert between.held(action_id) > 0
    settle(between)


def test_one_action_that_is_always_blocked_holds_up_no_other_case(
    between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_relay, "_LATER_SECONDS", (0.2,))
    blocked = uuid4()
    between.proxy.lies = lambda asked: (
        answer(403, b"<html>") if asked.is_action and str(blocked) in asked.path else None
    )
    between.put(between.signed(blocked), blocked)
    prioritised = CasePrioritised(acted_at=START, priority=Priority.HIGH)
    with between.police() as police, between.country.client(PROSECUTOR) as prosecutor:
        for _ in range(3):
            receipt = police.open_case(opening())
            prosecutor.append(prioritised, receipt.case_id, 1)


def test_a_dropped_action_is_compared_with_others_and_stated_to_other_countries(
    between: Between, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The way to the ledger node drops one case's actions: the node says so, past it too."""
    monkeypatch.setattr(waiting_times, "_COMPARED_SECONDS", 0.0)
    case_id = uuid4()
    signed = between.signed(case_id)
    between.proxy.lies = lambda asked: (
        b"" if asked.is_action and str(case_id) in asked.path else None
    )
    action_id = between.put(signed, case_id)
    others = between.ledger.agencies.sign("me-police-thb", opening(("ME",)), other := uuid4())
    with between.ledger.client("me-node") as node:
        node.send(others.without_disclosures(), other, 0)
    until(lambda: following(between)["others_recorded_since"] != 0, "others' action")
    assert following(between)["waiting_since"] is not None
    until(lambda: "actions-waiting" in between.troubles(), "the trouble")
    home = between.country.settings.data_directory
    ours = CommandLine(home, {"CASE_LEDGER_DATABASE_URL": between.country_database})
    theirs = CommandLine(tmp_path, {"CASE_LEDGER_DATABASE_URL": between.ledger.node.conninfo})
    # What an earlier test left waiting may be stated too.
    count = ours.json("node", "submitted", str(tmp_path / "waiting"))["statements"]
    assert count >= 1
    assert theirs.json("node", "take-submitted", str(tmp_path / "waiting"))["new"] == count
    told = theirs.json("node", "stated")
    (stated,) = (one for one in told if one["action_id"] == str(action_id))
    assert (stated["party"], stated["action_id"], stated["position"]) == (
        "XK", str(action_id), None,
    )  # fmt: skip
    with between.ledger.client("xk-node") as node:
        (kept,) = node.state_submissions([stated["statement"]]).submissions
        assert kept.action_id == action_id
    with between.ledger.client("me-node") as node, pytest.raises(RefusedError) as refused:
        node.state_submissions([stated["statement"]])  # another country's
    assert refused.value.problem.rule == "statement"
    with between.police() as police, pytest.raises(RefusedError):
        police.submissions()
    between.proxy.lies = lambda _: None
    with between.police() as police:
        until(lambda: police.outcome(action_id).receipt is not None, "the event")
    with between.ledger.client("me-nac") as coordinator:
        # What an earlier test stated is there too.
        found = coordinator.submissions().submissions
        (kept,) = (one for one in found if one.action_id == action_id)
        assert kept.recorded_at is not None


def following(between: Between) -> dict[str, object]:
    told = between.ready()["following"]
    assert isinstance(told, dict)
    return told


def test_a_client_believes_no_answer_on_another_action(agencies: Agencies) -> None:
    """A direct client: an HTML page with 200 or 201, another action's receipt, a redirect."""
    key: OKPKey = agencies.keys[POLICE]
    case_id = uuid4()
    signed = agencies.sign(POLICE, opening(), case_id)
    other = agencies.sign(POLICE, opening(), case_id)
    for status, (body, media_type) in (
        (200, bodies(200, signed, case_id)[0]),
        (201, bodies(201, signed, case_id)[0]),
        (200, bodies(200, signed, case_id)[3]),
        (201, bodies(201, other, case_id)[3]),
        (202, bodies(202, signed, case_id)[3]),
        (302, bodies(302, signed, case_id)[0]),
        (204, bodies(204, signed, case_id)[4]),
    ):
        stream = httpx.ByteStream(body)
        told = httpx.Response(status, stream=stream, headers={"Content-Type": media_type})
        client = LedgerClient(
            "http://node.example",
            agency=POLICE,
            key=key,
            protocol=agencies.protocol.id,
            patience=0,
            transport=httpx.MockTransport(lambda _, told=told: told),
        )
        with client, pytest.raises(httpx.RemoteProtocolError):
            client.send(signed, case_id, 0)
