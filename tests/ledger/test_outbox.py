"""The outbox: what is put in comes out once, in order, and its outcome is known."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.application import Ledger
from ledger.log.note import SignatureType, SignerKey
from ledger.log.signed_decision import (
    Refused,
    SignedDecision,
    Statement,
    action_digest,
    recorded,
    sign,
)
from ledger.refusals import Refusal
from ledger.replication.outbox import Outbox, Outgoing
from ledger.replication.outcomes import OutboxState
from ledger.signing import signed_action
from ledger.signing.signed_action import SignedAction
from ledger.store.database import Database
from tests.support.actions import opening
from tests.support.agencies import Agencies

LOG = SignerKey(
    "log.example/test", SignatureType.ED25519, Ed25519PrivateKey.from_private_bytes(bytes(32))
)
SOON = timedelta(seconds=10)
AT_ONCE = timedelta()


@pytest.fixture
def outbox(database: str) -> Iterator[Outbox]:
    with Database(database) as pool:
        yield Outbox(pool)


@pytest.fixture
def put(outbox: Outbox, agencies: Agencies) -> "Put":
    return Put(outbox, agencies)


class Put:
    def __init__(self, outbox: Outbox, agencies: Agencies) -> None:
        self.outbox = outbox
        self.agencies = agencies

    def action(self, case_id: UUID, action_id: UUID | None = None) -> SignedAction:
        return signed_action.read(self.agencies.sign("xk-dhtqnj", opening(), case_id, action_id))

    def __call__(self, case_id: UUID | None, action: SignedAction | None = None) -> UUID:
        put = action or self.action(case_id or uuid4())
        agency = self.agencies.protocol.agencies_by_id["xk-dhtqnj"]
        assert self.outbox.put(put, agency, case_id, 0, uuid4())
        return put.id


def receipt(outbox: Outbox, action_id: UUID, position: int = 7) -> SignedDecision:
    """A signed receipt of an action in the outbox."""
    signed = put_in(outbox, action_id).sd_jwt
    digest = action_digest(signed)
    return signed_by_log(
        recorded(LOG.name, action_id, digest, position, datetime.now(UTC), bytes(32))
    )


def refusal(outbox: Outbox, action_id: UUID, size: int, rule: str = "role") -> SignedDecision:
    """A signed refusal of an action in the outbox."""
    of = put_in(outbox, action_id)
    return signed_by_log(
        Refused(
            iss=LOG.name,
            action=action_id,
            digest=action_digest(of.sd_jwt),
            case=of.case_id,
            acted_on=of.case_version,
            rule=rule,
            size=size,
            decided_at=datetime.now(UTC),
        )
    )


def put_in(outbox: Outbox, action_id: UUID) -> Outgoing:
    found = outbox.get(action_id)
    assert found is not None
    return found


def signed_by_log(statement: Statement) -> SignedDecision:
    return SignedDecision.parse(sign(statement, LOG))


def test_one_action_of_a_case_goes_at_a_time_in_the_order_of_coming(
    outbox: Outbox, put: Put
) -> None:
    first, second = uuid4(), uuid4()
    a, b, c = put(first), put(second), put(first)
    assert [o.action_id for o in outbox.due(10, SOON)] == [a, b]
    outbox.mark_answered(a, receipt(outbox, a))
    assert [o.action_id for o in outbox.due(10, SOON)] == [b, c]
    outbox.mark_refused(c, {"rule": "x"})
    assert [o.action_id for o in outbox.due(10, SOON)] == [b]
    # What was sent and is still not to be seen here goes again, before what came later.
    assert [o.action_id for o in outbox.due(10, AT_ONCE)] == [a, b]
    assert [o.action_id for o in outbox.due(1, AT_ONCE)] == [a]
    # What is asked for later goes later, and what came after it on its case waits for it.
    assert [o.action_id for o in outbox.due(10, AT_ONCE, [a])] == [b]


def test_what_was_sent_by_a_clock_that_was_ahead_goes_again(
    outbox: Outbox, put: Put, database: str
) -> None:
    sent = put(uuid4())
    outbox.mark_answered(sent, receipt(outbox, sent))
    assert not outbox.due(10, SOON)
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE outbox.actions SET sent_at = now() + interval '1 year'")
    assert [o.action_id for o in outbox.due(10, SOON)] == [sent]


def test_the_same_action_is_in_once(outbox: Outbox, put: Put) -> None:
    case_id = uuid4()
    action = put.action(case_id)
    put(case_id, action)
    agency = put.agencies.protocol.agencies_by_id["xk-dhtqnj"]
    assert not outbox.put(action, agency, case_id, 0, uuid4())
    found = outbox.find(action)
    assert found is not None
    assert found.state is OutboxState.WAITING
    other = put.action(case_id, action.id)
    with pytest.raises(Refusal) as refused:
        outbox.find(other)
    assert refused.value.rule == "action-id-reused"
    assert not outbox.put(other, agency, case_id, 0, uuid4())


def test_what_was_refused_may_be_handed_in_again(outbox: Outbox, put: Put) -> None:
    case_id = uuid4()
    action = put.action(case_id)
    put(case_id, action)
    outbox.mark_refused(action.id, {"rule": "case-version", "status": 412})
    assert outbox.undecided() == set()
    found = outbox.get(action.id)
    assert found is not None
    assert (found.state, found.answer) == (
        OutboxState.REFUSED,
        {"rule": "case-version", "status": 412},
    )
    put(case_id, action)
    assert outbox.undecided() == outbox.undecided([action.id, uuid4()]) == {action.id}
    outbox.mark_refused(action.id, {"rule": "x"})
    outbox.mark_answered(
        action.id, receipt(outbox, action.id)
    )  # an answer that comes late changes no outcome
    assert outbox.due(10, AT_ONCE) == []


def test_what_the_ledger_shows_is_recorded(ledger: Ledger, outbox: Outbox, put: Put) -> None:
    case_id = uuid4()
    action = put.action(case_id)
    put(case_id, action)
    other = put(None)
    assert outbox.confirm() == 0
    ledger.append(action, case_id, 0)
    assert outbox.confirm() == 1
    assert outbox.undecided() == {other}
    assert outbox.forget(timedelta(hours=1)) == 0
    assert outbox.forget(timedelta(hours=-1)) == 1
    assert outbox.get(action.id) is None
    assert outbox.get(other) is not None  # whatever its age, it waits


def test_an_agency_and_its_coordinator_see_what_became_of_it(outbox: Outbox, put: Put) -> None:
    ids = [put(uuid4()) for _ in range(3)]
    assert [o.action_id for o in outbox.of_agency("xk-dhtqnj", limit=2)] == [ids[2], ids[1]]
    assert len(outbox.of_party("XK", limit=10)) == 3
    assert outbox.of_party("ME", limit=10) == outbox.of_agency("xk-nac", limit=10) == []


def test_no_disclosure_fits_in(put: Put, database: str) -> None:
    put(uuid4())
    with psycopg.connect(database) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("UPDATE outbox.actions SET sd_jwt = sd_jwt || 'WyJzYWx0Il0~'")


def test_a_decision_is_kept_until_the_copy_has_its_events(outbox: Outbox, put: Put) -> None:
    action_id = put(uuid4())
    first, later = refusal(outbox, action_id, 9), refusal(outbox, action_id, 12)
    outbox.mark_answered(action_id, first)
    outbox.mark_answered(action_id, later)  # a copy that lags would never reach the last one
    assert outbox.unchecked(8) == []
    assert [o.decision for o in outbox.unchecked(9)] == [first.jws]
    of_shorter = refusal(outbox, action_id, 4)
    outbox.mark_answered(action_id, of_shorter)  # the ledger went back to an older copy
    assert [o.decision for o in outbox.unchecked(4)] == [of_shorter.jws]
    written = receipt(outbox, action_id, 20)
    outbox.mark_answered(action_id, written)  # sent again, and recorded
    outbox.mark_answered(action_id, later)
    assert [o.decision for o in outbox.unchecked(20)] == [written.jws]
    outbox.mark_checked(action_id, first.jws)
    assert outbox.unchecked(20) != []
    outbox.mark_checked(action_id, written.jws)
    assert outbox.unchecked(20) == []
    assert outbox.kept([action_id, uuid4()]) == {action_id}


def test_a_refusal_of_another_version_changes_nothing(outbox: Outbox, put: Put) -> None:
    action_id = put(uuid4())
    of_another = refusal(outbox, action_id, 9).statement.model_copy(update={"acted_on": 3})
    outbox.mark_answered(action_id, signed_by_log(of_another))
    assert put_in(outbox, action_id).state is OutboxState.WAITING


def test_another_content_under_the_same_id_confirms_nothing(
    ledger: Ledger, outbox: Outbox, put: Put
) -> None:
    case_id = uuid4()
    action = put.action(case_id)
    put(case_id, action)
    other = put.action(case_id, action.id)
    ledger.append(other, case_id, 0)
    assert outbox.confirm() == 0
    assert put_in(outbox, action.id).state is OutboxState.WAITING
