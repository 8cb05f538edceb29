"""Statements that actions wait: who may make them, how many are kept, and what the ledger says."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from api.exchange.waiting_times import WaitingTimes, outbox_troubles
from ledger.application import Ledger
from ledger.log.signed_decision import action_digest
from ledger.replication import submissions
from ledger.replication.node_statements import StatementError, sign
from ledger.replication.outbox import Outbox
from ledger.replication.submissions import TYPE, Submission, Submissions, read, state
from ledger.signing import signed_action
from ledger.store.database import Database
from tests.support.actions import opening
from tests.support.agencies import Agencies

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def pool(database: str) -> Iterator[Database]:
    with Database(database) as opened:
        yield opened


def made(agencies: Agencies, signer: str = "xk-node", **changes: object) -> str:
    """A statement on an action, signed by a node's key."""
    content = Submission.model_validate(
        {
            "protocol": agencies.protocol.id,
            "party": "XK",
            "action": uuid4(),
            "digest": "a" * 43,
            "submitted_at": datetime.now(UTC),
            "iat": 1,
            **changes,
        }
    )
    return sign(content, TYPE, agencies.keys[signer])


def test_what_waits_is_stated_and_seen_once_it_is_recorded(
    ledger: Ledger, pool: Database, agencies: Agencies
) -> None:
    outbox, kept = Outbox(pool), Submissions(pool)
    case_id = uuid4()
    action = signed_action.read(agencies.sign("xk-dhtqnj", opening(), case_id))
    outbox.put(action, agencies.protocol.agencies_by_id["xk-dhtqnj"], case_id, 0, None)
    (waiting,) = outbox.waiting_since(datetime.now(UTC) + timedelta(hours=1), 10)
    assert outbox.waiting_since(datetime.now(UTC) - timedelta(hours=1), 10) == []
    assert outbox.standing() == (1, waiting.received_at)
    text = state(waiting, agencies.protocol.id, agencies.keys["xk-node"])
    content = read(text, ledger.adopted())
    assert (content.action, content.digest) == (action.id, action_digest(action.sd_jwt))
    assert kept.keep(content, text)
    assert not kept.keep(content, text)  # handed over again
    (one,) = kept.all(10)
    assert (one.position, one.submitted_at) == (None, waiting.received_at)
    receipt = ledger.append(action, case_id, 0)
    (one,) = kept.all(10)
    assert (one.position, one.recorded_at) == (receipt.position, receipt.recorded_at)
    assert outbox.confirm() == 1
    assert outbox.standing() == (0, None)
    seconds = outbox.median_seconds()
    assert seconds is not None
    assert seconds >= 0


def test_only_a_node_states_for_its_own_country(ledger: Ledger, agencies: Agencies) -> None:
    registry = ledger.adopted()
    assert read(made(agencies), registry, "XK").party == "XK"
    later = datetime.now(UTC) + timedelta(hours=1)
    for wrong in (
        made(agencies, "xk-nac"),
        made(agencies, "me-node"),
        made(agencies, protocol="another"),
        made(agencies, submitted_at=later),
        made(agencies).rpartition(".")[0] + "." + "A" * 86,
        "a.b.c",
        "x" * 3000,
    ):
        with pytest.raises(StatementError):
            read(wrong, registry)
    with pytest.raises(StatementError):
        read(made(agencies), registry, "ME")


@pytest.mark.usefixtures("ledger")
def test_no_country_fills_anothers_disk(
    pool: Database, agencies: Agencies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submissions, "KEPT_PER_PARTY", 3)
    kept = Submissions(pool)

    def keep(party: str) -> UUID:
        content = Submission(
            protocol=agencies.protocol.id,
            party=party,
            action=uuid4(),
            digest="a" * 43,
            submitted_at=NOW,
            iat=1,
        )
        assert kept.keep(content, "statement")
        return content.action

    other = keep("ME")
    ours = [keep("XK") for _ in range(6)]
    assert {one.action_id for one in kept.all(100)} == {other, *ours[-3:]}


def test_what_waits_beyond_the_limit_is_a_trouble_that_compares() -> None:
    limit = timedelta(minutes=15)
    waiting = WaitingTimes(2, NOW - timedelta(minutes=40), 1.0, 2.0, 7)
    (trouble,) = outbox_troubles(waiting, limit, NOW)
    assert (trouble.rule, trouble.effect) == ("actions-waiting", "warning")
    assert "40 minutes" in trouble.message
    assert "7 or more actions of other countries" in trouble.message
    alone = WaitingTimes(2, NOW - timedelta(minutes=40), None, None, 0)
    assert "nothing of other countries" in outbox_troubles(alone, limit, NOW)[0].message
    assert outbox_troubles(waiting, timedelta(hours=1), NOW) == ()
    assert outbox_troubles(WaitingTimes(0, None, None, None, 0), limit, NOW) == ()
