"""Webhooks for what happens in cases: in order, at least once, replayed, and verified elsewhere."""

import base64
import hashlib
import hmac
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, cast
from uuid import UUID, uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg.rows import dict_row
from pydantic import SecretStr
from standardwebhooks import Webhook

from api.client import RefusedError
from api.exchange.rejoining import webhooks_go_back
from api.notifying.case_hook_rows import CaseHookRows
from api.notifying.case_hooks import CaseHooks
from api.notifying.channels import signatures
from api.notifying.subscriptions import Events, Subscription, read_subscriptions
from ledger.procedure.protocol import shipped_protocol
from ledger.store.database import Database
from ledger.vocabulary.person import IdentityRecorded
from ledger.vocabulary.picklists import Certainty, StatementGround, StatementSource
from tests.support.actions import START, opening
from tests.support.receiving import OTHER_SECRET, SECRET
from tests.support.serving import Server

NAME = "zqHookedName"
SEED = bytes(range(32))
SIGNING_KEY = "whsk_" + base64.b64encode(SEED).decode()


@dataclass
class Receiver:
    """A webhook that keeps each request, and answers as it is told."""

    url: str = ""
    status: int = 204
    came: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body)["data"] for _, body in self.came]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.came.append((dict(self.headers), body))
            self.send_response(made.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}/{uuid4()}"
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Hooked:
    node: Server
    receiver: Receiver

    def hooks(self, agency: str, **more: Any) -> tuple[CaseHooks, Subscription]:
        to = Subscription(
            agency,
            webhook=self.receiver.url,
            secret=SecretStr(SECRET),
            events=frozenset({Events.CASES}),
        )
        node = self.node.node
        return CaseHooks(node.database, [to], node.ledger.registry, **more), to

    def case(self, countries: tuple[str, ...] = ("XK", "ME"), steps: int = 2) -> list[UUID]:
        """Open a case, restate the identity, and return the ids of all its actions."""
        with self.node.client("xk-dhtqnj") as police:
            receipt = police.open_case(opening(countries, first_name=NAME))
            ids, case_id = [receipt.action_id], receipt.case_id
            for _ in range(steps - 1):
                restated = IdentityRecorded(
                    acted_at=START,
                    ground=StatementGround.LEARNED,
                    source=StatementSource.DOCUMENT,
                    certainty=Certainty.PROBABLE,
                    first_name=NAME,
                )
                receipt = police.append(restated, case_id, receipt.case_version)
                ids.append(receipt.action_id)
            list(police.trail(case_id, at_least=receipt.position))
            police.case(case_id, at_least=receipt.position)
        return ids

    def hurry(self) -> None:
        with psycopg.connect(self.node.node.conninfo) as owner:
            owner.execute("UPDATE notifications.case_hooks SET next_attempt_at = now()")


@pytest.fixture
def hooked(served_once: Server, receiver: Receiver) -> Hooked:
    return Hooked(served_once, receiver)


def test_each_action_of_a_seen_case_comes_in_order_and_again_by_position(hooked: Hooked) -> None:
    came = hooked.receiver
    hooked.case()
    hooks, to = hooked.hooks("me-nac")
    hooks.send()
    assert came.events == [], "a new webhook gets no history"
    ids = hooked.case(steps=3)
    hooked.case(("XK", "AL"))
    hooks.send()
    assert [one["action_id"] for one in came.events] == [*map(str, ids)]
    assert [one["case_version"] for one in came.events] == [1, 2, 3]
    assert NAME not in str(came.came)
    assert {one["agency"] for one in came.events} == {"xk-dhtqnj"}
    hooks.send()
    assert len(came.came) == 3

    with hooked.node.client("me-nac") as client:
        (told,) = client.webhooks().webhooks
        assert told.id == to.id
        assert told.position >= came.events[-1]["position"]
        client.replay_webhook(to.id, came.events[0]["position"])
    hooks.send()
    assert [one["action_id"] for one in came.events[3:]] == [*map(str, ids[1:])]
    first, again = came.came[1], came.came[3]
    assert (first[0]["webhook-id"], first[1]) == (again[0]["webhook-id"], again[1])
    with hooked.node.client("xk-nac") as other:
        assert other.webhooks().webhooks == ()
        with pytest.raises(RefusedError) as refused:
            other.replay_webhook(to.id, 0)
    assert refused.value.problem.rule == "unknown-webhook"


def test_what_is_not_received_holds_up_the_next_and_is_sent_again(hooked: Hooked) -> None:
    came = hooked.receiver
    hooks, _ = hooked.hooks("me-nac")
    ids = [*map(str, hooked.case())]
    came.status = 503
    hooks.send()
    hooks.send()
    assert [one["action_id"] for one in came.events] == ids[:1], "it waits for its pause"
    came.status = 200
    hooked.hurry()
    hooks.send()
    assert [one["action_id"] for one in came.events] == [ids[0], *ids]


@pytest.mark.parametrize(("status", "patience"), [(410, timedelta(days=5)), (500, timedelta(0))])
def test_a_webhook_that_is_gone_or_fails_for_long_is_disabled_until_a_replay(
    hooked: Hooked, status: int, patience: timedelta
) -> None:
    came = hooked.receiver
    hooks, to = hooked.hooks("me-nac", patience=patience)
    ids = hooked.case()
    came.status = status
    for _ in range(2):
        hooks.send()
        hooked.hurry()
    sent = len(came.came)
    assert sent == (1 if status == 410 else 2)
    hooks.send()
    assert len(came.came) == sent, "it is disabled"
    came.status = 204
    with hooked.node.client("me-nac") as client:
        (told,) = client.webhooks().webhooks
        assert told.disabled_at is not None
        client.replay_webhook(to.id, told.position)
    hooks.send()
    assert [one["action_id"] for one in came.events[sent:]] == [*map(str, ids)]


def test_an_agency_that_need_not_know_of_a_case_is_sent_nothing_of_it(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.notifying.case_hooks.is_bound", lambda agency, _: agency.role != "x")
    came = hooked.receiver
    hooks, _ = hooked.hooks("xk-csw-prishtina")
    hooked.case()
    hooks.send()
    assert came.events == []
    acting, _ = hooked.hooks("xk-dhtqnj")
    ids = hooked.case()
    acting.send()
    assert [one["action_id"] for one in came.events] == [*map(str, ids)]


def test_no_event_is_passed_over_while_a_view_is_folded_anew_or_the_ledger_is_another(
    hooked: Hooked,
) -> None:
    hooked.case()
    conninfo = hooked.node.node.conninfo
    with psycopg.connect(conninfo, row_factory=dict_row) as owner:
        owner.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        rows = CaseHookRows(cast("Database", OneConnection(owner)))
        events, upto = rows.next_events(0, "ME", None)
        assert events
        assert upto > 0
        owner.execute("DELETE FROM views.tracking WHERE projection = 'case_views'")
        assert rows.next_events(0, "ME", None) == ([], 0)
        hook = uuid4()
        rows.begin([(hook, "me-nac")])
        webhooks_go_back(owner, 1)
        assert [one.position for one in rows.of_agency("me-nac")] == [1]
        owner.rollback()


@dataclass
class OneConnection:
    """A database whose every transaction is the one of a test."""

    of_test: psycopg.Connection[Any]

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection[Any]]:
        yield self.of_test

    connection = transaction


def signed(**more: Any) -> tuple[dict[str, str], str]:
    """The headers and the body of a message, as they are sent."""
    body = '{"data":{"position":7},"type":"case.action_recorded"}'
    to = Subscription("me-nac", webhook="https://hook.example", **more)
    notice, now = uuid4(), datetime.now(UTC)
    headers = {
        "webhook-id": str(notice),
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signatures(to, notice, now, body),
    }
    return headers, body


def test_two_secrets_and_a_key_sign_and_each_verifies_by_another_implementation() -> None:
    headers, body = signed(
        secret=SecretStr(OTHER_SECRET),
        previous_secret=SecretStr(SECRET),
        signing_key=SecretStr(SIGNING_KEY),
    )
    for secret in (SECRET, OTHER_SECRET):
        assert Webhook(secret).verify(body, headers)
    first, second, asymmetric = headers["webhook-signature"].split(" ")
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    for secret, signature in ((OTHER_SECRET, first), (SECRET, second)):
        key = base64.b64decode(secret.removeprefix("whsec_"))
        mac = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        assert signature == f"v1,{mac}"
    version, _, made = asymmetric.partition(",")
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key()
    public.verify(base64.b64decode(made), content)
    assert version == "v1a"
    changed = headers | {"webhook-id": str(uuid4())}
    with pytest.raises(Exception, match="signature"):
        Webhook(SECRET).verify(body, changed)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_the_cryptography_of_node_verifies_a_message() -> None:
    headers, body = signed(secret=SecretStr(SECRET), signing_key=SecretStr(SIGNING_KEY))
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
    script = """
      const c = require("crypto"), [headers, body, secret, x] = JSON.parse(process.argv[1]);
      const content = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
      const [v1, v1a] = headers["webhook-signature"].split(" ").map((s) => s.split(",")[1]);
      const mac = c.createHmac("sha256", Buffer.from(secret, "base64")).update(content);
      const key = c.createPublicKey({format: "jwk", key: {kty: "OKP", crv: "Ed25519", x}});
      const good = c.verify(null, Buffer.from(content), key, Buffer.from(v1a, "base64"));
      console.log(mac.digest("base64") === v1 && good);
    """
    x = base64.urlsafe_b64encode(public).decode().rstrip("=")
    given = json.dumps([headers, body, SECRET.removeprefix("whsec_"), x])
    done = subprocess.run(
        ["node", "-e", script, given], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "true"


WRONG = {
    "a key that is none": (
        'agency = "xk-nac"\nwebhook = "https://h.example"\nsigning_key_file = "S"'
    ),
    "the secret before alone": (
        'agency = "xk-nac"\nwebhook = "https://h.example"\nsigning_key_file = "K"\n'
        'previous_secret_file = "S"'
    ),
    "cases by e-mail": 'agency = "xk-nac"\nemail = "a@b.example"\nevents = ["cases"]',
    "no events": 'agency = "xk-nac"\nwebhook = "https://h.example"\nsecret_file = "S"\nevents = []',
    "plain http": 'agency = "xk-nac"\nwebhook = "http://10.0.0.1"\nsecret_file = "S"',
}


@pytest.mark.parametrize("what", [None, *WRONG])
def test_a_subscription_to_cases_is_read_and_a_wrong_one_refused(
    what: str | None, tmp_path: Path
) -> None:
    (tmp_path / "S").write_text(SECRET)
    (tmp_path / "K").write_text(SIGNING_KEY)
    right = (
        'agency = "xk-nac"\nwebhook = "https://h.example"\nsecret_file = "S"\n'
        'previous_secret_file = "S"\nsigning_key_file = "K"\nevents = ["cases", "obligations"]'
    )
    text = WRONG[what] if what is not None else right
    for name in "SK":
        text = text.replace(f'"{name}"', f'"{tmp_path}/{name}"')
    file = tmp_path / "file.toml"
    file.write_text(f"[[subscription]]\n{text}\n")
    if what is not None:
        with pytest.raises(ValueError, match=r"toml|signing key"):
            read_subscriptions(file, shipped_protocol(), ["XK"])
        return
    (found,) = read_subscriptions(file, shipped_protocol(), ["XK"])
    assert found.events == {Events.CASES, Events.OBLIGATIONS}
    assert found.signing_key == SecretStr(SIGNING_KEY)
