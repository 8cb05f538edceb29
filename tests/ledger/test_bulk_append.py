"""New cases recorded by COPY: the same ledger as by single appends, and whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.errors import UniqueViolation

from ledger.application import Ledger
from ledger.events import event_bytes
from ledger.log.merkle import Frontier
from ledger.signing import signed_action
from ledger.signing.country_key import FileCountryKey
from ledger.store.bulk_append import NewEvent, record_new, recorded_cases
from ledger.store.database import APP_ROLE, Database, set_local_role
from ledger.store.event_rows import Guard
from ledger.store.migrate import vault_role
from ledger.store.recorder import RegistryMovedError
from ledger.vault.bulk_deposits import KnownPersonError, SealedDeposit, deposit_new, seal_all
from ledger.vault.data_keys import DataKeys
from ledger.vault.vault import Vault
from ledger.verification.evidence_reader import kept_in, registered_keys, stored_rows
from ledger.verification.verification import verify_ledger
from ledger.vocabulary.levels import Level
from ledger.vocabulary.protection import RiskAssessed
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.vaults import values


@contextmanager
def transaction(conninfo: str) -> Iterator[psycopg.Connection[psycopg.rows.DictRow]]:
    with Database(conninfo, max_size=1) as database, database.transaction() as connection:
        yield connection


def new_case(agencies: Agencies, length: int = 3) -> list[NewEvent]:
    case_id = uuid4()
    risk = RiskAssessed(acted_at=START, risk_level="low")
    acts = [opening(), *[risk] * (length - 1)]
    signed = [signed_action.read(agencies.sign("xk-dhtqnj", act, case_id)) for act in acts]
    return [
        NewEvent(case_id, version, one.kind, one.id, one.sd_jwt.encode())
        for version, one in enumerate(signed, 1)
    ]


def guard(ledger: Ledger) -> Guard:
    registry = ledger.adopted()
    return Guard(registry.ledger_id, registry.version)


def recorded(database: str) -> int:
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT count(*) FROM ledger.events").fetchone()
        return row[0] if row else 0


def test_the_ledger_is_as_if_each_event_had_been_appended(
    database: str, ledger: Ledger, agencies: Agencies
) -> None:
    before = ledger.rows.frontier().size
    events = [event for _ in range(100) for event in new_case(agencies)]
    with transaction(database) as connection:
        stretch = record_new(connection, events, guard(ledger))
    assert (stretch.first, stretch.last) == (before + 1, before + 300)
    rows = ledger.rows.select_rows(after=before, limit=500)
    assert [row.position for row in rows] == list(range(before + 1, before + 301))
    for row, event in zip(rows, events, strict=True):
        assert (row.originator_id, row.version, row.kind, row.action_id) == event[:4]
        assert row.state == event_bytes.seal(event.sd_jwt.decode(), stretch.recorded_at)
        assert row.recorded_at == stretch.recorded_at
    # The tree goes on from what was there, and single appends go on from it.
    leaves = [row.leaf_hash for row in ledger.rows.select_rows(after=0, limit=1000)]
    assert ledger.rows.frontier() == Frontier().extend(leaves)[0]
    case_id = uuid4()
    ledger.append(signed_action.read(agencies.sign("xk-dhtqnj", opening(), case_id)), case_id, 0)
    with psycopg.connect(database) as connection:
        stored = list(stored_rows(connection))
        kept, keys = kept_in(connection, None), registered_keys(stored)
    report = verify_ledger(stored, kept, keys=keys)
    assert report.holds, report.findings[:3]
    assert report.events == before + 301
    case = ledger.case(events[0].case_id)
    assert case is not None
    assert case.version == 3


def test_the_head_goes_on_in_time(database: str, ledger: Ledger, agencies: Agencies) -> None:
    future = datetime(2990, 1, 1, tzinfo=UTC)
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE ledger.head SET recorded_at = %s", (future,))
    with transaction(database) as connection:
        assert record_new(connection, new_case(agencies), guard(ledger)).recorded_at == future


def test_nothing_is_recorded_where_the_registry_moved(
    database: str, ledger: Ledger, agencies: Agencies
) -> None:
    before = recorded(database)
    old = Guard(guard(ledger).originator_id, guard(ledger).version - 1)
    with pytest.raises(RegistryMovedError), transaction(database) as connection:
        record_new(connection, new_case(agencies), old)
    assert recorded(database) == before


def test_a_case_or_an_action_is_recorded_once(
    database: str, ledger: Ledger, agencies: Agencies
) -> None:
    first, second = new_case(agencies), new_case(agencies)
    with transaction(database) as connection:
        record_new(connection, first, guard(ledger))
    before, size = recorded(database), ledger.rows.frontier().size
    same_action = second[0]._replace(action_id=first[1].action_id)
    for again in (first, [*second, *first], [same_action]):
        with pytest.raises(UniqueViolation), transaction(database) as connection:
            record_new(connection, again, guard(ledger))
    assert (recorded(database), ledger.rows.frontier().size) == (before, size)
    with transaction(database) as connection:
        ids = [first[0].case_id, second[0].case_id]
        assert recorded_cases(connection, ids) == {first[0].case_id}


def test_disclosures_and_events_are_there_together_or_not_at_all(
    database: str, ledger: Ledger, agencies: Agencies, directory: object
) -> None:
    keys = DataKeys(directory, "XK", FileCountryKey.generate())  # type: ignore[arg-type]
    action = opening(first_name="zqName", indicators_note="zqNote", citizenship=("XK",))

    def ready(case_id: UUID) -> tuple[NewEvent, SealedDeposit]:
        issued = agencies.sign("xk-nac", action, case_id)
        signed = signed_action.read(issued)
        sealed = seal_all(signed, case_id, issued.disclosures, keys.make(case_id))
        return NewEvent(case_id, 1, signed.kind, signed.id, signed.sd_jwt.encode()), sealed

    with Database(database) as pool:
        vault = Vault(pool, "XK", keys)

        def write(case_id: UUID, of: Guard) -> None:
            event, sealed = ready(case_id)
            with pool.transaction(role=vault_role("XK")) as connection:
                deposit_new(connection, "XK", [case_id], [sealed])
                set_local_role(connection, APP_ROLE)
                record_new(connection, [event], of)

        case_id = uuid4()
        write(case_id, guard(ledger))
        assert values(vault, case_id, Level.PERSONAL) == {
            "first_name": "zqName",
            "citizenship": ["XK"],
        }
        assert values(vault, case_id, Level.CASE)["indicators_note"] == "zqNote"
        other = uuid4()
        with pytest.raises(RegistryMovedError):
            write(other, Guard(guard(ledger).originator_id, 1))
        assert vault.case_fields(other) == ()
        # A person whom the vault knows is no new one, and neither is one who was erased.
        with pytest.raises(KnownPersonError):
            write(case_id, guard(ledger))
        erased = uuid4()
        vault.erase(erased)
        with pytest.raises(KnownPersonError):
            write(erased, guard(ledger))
