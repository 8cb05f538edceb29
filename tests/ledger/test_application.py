"""Appending to a real PostgreSQL: positions, idempotency, versions, keys, immutability."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
import pytest

from ledger.application import Ledger
from ledger.events.event_bytes import unseal
from ledger.log.merkle import leaf_hash
from ledger.refusals import Ground, Refusal
from ledger.signing import signed_action
from ledger.signing.signed_action import SignedAction
from ledger.vocabulary.coordination import CasePrioritised
from ledger.vocabulary.identification import CaseOpened
from ledger.vocabulary.picklists import AgeGroup, Indicator, OpeningGround, Priority
from ledger.vocabulary.registration import KeyRevoked
from tests.support.agencies import PAST, Agencies


def opening(agencies: Agencies, case_id: UUID, agency: str = "xk-dhtqnj") -> SignedAction:
    action = CaseOpened(
        acted_at=datetime(2025, 12, 3, 10, tzinfo=UTC),
        age_group=AgeGroup.CHILD,
        countries=("XK",),
        ground=OpeningGround.POLICE_ACTION,
        indicators=(Indicator.UNACCOMPANIED_CHILD,),
    )
    return signed_action.read(agencies.sign(agency, action, case_id))


def prioritised(agencies: Agencies, case_id: UUID) -> SignedAction:
    action = CasePrioritised(acted_at=datetime(2025, 12, 4, tzinfo=UTC), priority=Priority.HIGH)
    return signed_action.read(agencies.sign("xk-nac", action, case_id))


def test_positions_follow_without_a_gap(ledger: Ledger, agencies: Agencies) -> None:
    start = ledger.rows.select_rows(0, 1000)[-1].position + 1
    for n in range(3):
        case_id = uuid4()
        receipt = ledger.append(opening(agencies, case_id), case_id, 0)
        assert (receipt.position, receipt.case_version) == (start + n, 1)
        with pytest.raises(Refusal):
            ledger.append(opening(agencies, case_id), case_id, 1)
    rows = ledger.rows.select_rows(0, 1000)
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    assert [row.recorded_at for row in rows] == sorted(row.recorded_at for row in rows)


def test_the_stored_bytes_are_the_signed_bytes(ledger: Ledger, agencies: Agencies) -> None:
    case_id = uuid4()
    action = opening(agencies, case_id)
    receipt = ledger.append(action, case_id, 0)
    row = ledger.rows.find_action(action.id)
    assert row is not None
    assert unseal(row.state) == (action.sd_jwt, receipt.recorded_at)
    assert receipt.leaf_hash == leaf_hash(row.state)


def test_the_same_action_again_gives_the_same_receipt(ledger: Ledger, agencies: Agencies) -> None:
    case_id = uuid4()
    action = opening(agencies, case_id)
    assert ledger.append(action, case_id, 0) == ledger.append(action, case_id, 0)
    forged = CasePrioritised(acted_at=PAST, priority=Priority.URGENT)
    other = signed_action.read(agencies.sign("xk-nac", forged, case_id, action.id))
    with pytest.raises(Refusal) as refusal:
        ledger.append(other, case_id, 1)
    assert refusal.value.ground is Ground.CONFLICT


def test_concurrent_appends_on_one_version_let_one_through(
    ledger: Ledger, agencies: Agencies
) -> None:
    case_id = uuid4()
    ledger.append(opening(agencies, case_id), case_id, 0)

    def attempt(_: int) -> bool:
        try:
            ledger.append(prioritised(agencies, case_id), case_id, 1)
        except Refusal as refusal:
            if refusal.ground is not Ground.STALE:
                raise
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
    rows = ledger.rows.select_rows(0, 1000)
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))


def test_an_unregistered_and_a_revoked_key_are_refused(ledger: Ledger, agencies: Agencies) -> None:
    stranger = Agencies()
    case_id = uuid4()
    with pytest.raises(Refusal) as refusal:
        ledger.append(opening(stranger, case_id), case_id, 0)
    assert refusal.value.rule == "unknown-key"

    ledger.append(opening(agencies, case_id, "me-border"), case_id, 0)
    kid = opening(agencies, uuid4(), "me-border").key_id
    revoked = agencies.sign("me-nac", KeyRevoked(acted_at=PAST, key_id=kid), None)
    ledger.append_to_registry(signed_action.read(revoked))
    other = uuid4()
    with pytest.raises(Refusal) as refusal:
        ledger.append(opening(agencies, other, "me-border"), other, 0)
    assert refusal.value.rule == "revoked-key"
    registry = ledger.adopted()
    event = ledger.case_events(case_id)[0]
    assert event.recorded_at is not None
    assert event.position is not None
    state = registry.signature_state(event.action, event.recorded_at, event.position)
    assert state == "valid, key since revoked"


def test_a_coordinator_cannot_register_another_countrys_key(
    ledger: Ledger, agencies: Agencies
) -> None:
    kid = opening(agencies, uuid4(), "me-police-thb").key_id
    foreign = agencies.sign("xk-nac", KeyRevoked(acted_at=PAST, key_id=kid), None)
    with pytest.raises(Refusal) as refusal:
        ledger.append_to_registry(signed_action.read(foreign))
    assert refusal.value.rule == "coordinator-of-the-country"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger.events SET topic = 'x'",
        "DELETE FROM ledger.events",
        "TRUNCATE ledger.events",
        "UPDATE ledger.head SET position = 0",
        "ALTER TABLE ledger.events DISABLE TRIGGER ALL",
        "DROP TABLE ledger.events",
        "SELECT * FROM vault_me.disclosures",
        "INSERT INTO ledger.events SELECT notification_id + 9, originator_id,"
        " originator_version + 9, topic, state, gen_random_uuid(), recorded_at, leaf_hash"
        " FROM ledger.events WHERE notification_id = 1",
    ],
)
def test_the_applications_role_cannot(ledger: Ledger, statement: str) -> None:
    with (
        ledger.rows.datastore.get_connection() as connection,
        pytest.raises(psycopg.errors.Error),
    ):
        connection.execute(statement)
    assert len(ledger.rows.select_rows(0, 1000)) > 1


@pytest.mark.parametrize(
    "statement",
    ["UPDATE ledger.events SET topic = 'x'", "DELETE FROM ledger.events", "TRUNCATE ledger.events"],
)
def test_triggers_refuse_even_a_role_that_was_granted_all(
    ledger: Ledger, database: str, statement: str
) -> None:
    assert ledger.rows.select_rows(0, 1)
    with psycopg.connect(database) as connection:
        connection.execute("CREATE ROLE careless")
        connection.execute("GRANT ALL ON ledger.events TO careless")
        connection.execute("GRANT USAGE ON SCHEMA ledger TO careless")
        connection.execute("SET ROLE careless")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="never changed"):
            connection.execute(statement)
        connection.rollback()
