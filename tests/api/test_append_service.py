"""An action is recorded with its disclosures or not at all, whenever the database crashes."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch
from uuid import UUID, uuid4

import psycopg
import pytest

from api.services.append_service import DirectAppend
from ledger.application import Ledger, environment
from ledger.refusals import Refusal
from ledger.signing import ed25519, sd_jwt, signed_action
from ledger.signing.country_key import FileCountryKey
from ledger.store.database import Database, ReconnectedError, check_since
from ledger.store.recorder import LedgerRecorder
from ledger.vault.data_keys import DataKeys
from ledger.vault.vault import Vault, Vaults
from ledger.vocabulary.coordination import CasePrioritised
from ledger.vocabulary.protection import RiskAssessed, Sheltered
from ledger.vocabulary.registration import AgencyRegistered
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.waiting import until
from tests.support.wire import listening

OURS = "xk-dhtqnj"
NOTE = "seen at the border"


class Place:
    """The ledger node's way of recording, and a database that can seem to crash."""

    def __init__(self, database: str, pool: Database, ledger: Ledger, directory: Path) -> None:
        self.database = database
        self.ledger = ledger
        keys = DataKeys(directory / "xk", "XK", FileCountryKey.generate())
        self.vaults = Vaults(pool, {"XK": keys})
        self.append_service = DirectAppend(ledger, self.vaults)

    def record(self, agencies: Agencies, case_id: UUID) -> int:
        sent = str(agencies.sign(OURS, opening(indicators_note=NOTE), case_id))
        sender = agencies.protocol.agencies_by_id[OURS]
        return self.append_service.on_case(sender, sent, case_id, 0).position

    def crash(self) -> None:
        """Lose all commits that did not wait for the disk, and every connection."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            connection.execute("DELETE FROM vault_xk.disclosures WHERE case_id = ANY(%s)",
                               (list(self.unrecorded(connection)),))  # fmt: skip
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def unrecorded(self, connection: psycopg.Connection[tuple[UUID]]) -> set[UUID]:
        rows = connection.execute(
            "SELECT case_id FROM vault_xk.disclosures d WHERE NOT EXISTS"
            " (SELECT FROM ledger.events e WHERE e.action_id = d.action_id)"
        ).fetchall()
        return {case_id for (case_id,) in rows}

    def held(self, case_id: UUID) -> set[object]:
        fields = self.vaults.of("XK").case_fields(case_id)
        return {one.value for one in fields if one.field == "indicators_note"}


@pytest.fixture
def place(database: str, ledger: Ledger, tmp_path: Path) -> Iterator[Place]:
    with Database(database) as pool:
        yield Place(database, pool, ledger, tmp_path)


@pytest.mark.parametrize("reconnected", ["by itself", "by another"])
def test_what_a_crash_takes_back_between_is_deposited_again(
    reconnected: str, place: Place, agencies: Agencies
) -> None:
    """By another request, too: then nothing but its age tells of a connection that it is new."""
    assert place.held(one := case_of(place, agencies)) == {NOTE}
    place.ledger.rows._found_own = 0  # as where another process appended last: the deposit is first
    crashes = [place.crash]
    deposit = Vault.deposit

    def deposit_and_crash(vault: Vault, *given: object, **named: object) -> UUID:
        made = deposit(vault, *given, **named)  # type: ignore[arg-type]
        if crashes:
            crashes.pop()()
            if reconnected == "by another":
                with_none = opening()
                case_id = uuid4()
                signed = signed_action.read(agencies.sign(OURS, with_none, case_id))
                place.ledger.append(signed, case_id, 0)
        return made

    with patch.object(Vault, "deposit", deposit_and_crash):
        other = case_of(place, agencies)
    assert not crashes
    assert place.held(other) == place.held(one) == {NOTE}
    assert [row.version for row in place.ledger.rows.select_rows(0, 1_000) if
            row.originator_id == other] == [1]  # fmt: skip


def case_of(place: Place, agencies: Agencies) -> UUID:
    case_id = uuid4()
    place.record(agencies, case_id)
    return case_id


def test_a_crash_that_hides_whether_it_was_recorded_loses_nothing(
    place: Place, agencies: Agencies
) -> None:
    case_of(place, agencies)
    crashes = [place.crash]
    append = LedgerRecorder._append_group

    def append_and_crash(recorder: LedgerRecorder, *given: object) -> None:
        append(recorder, *given)  # type: ignore[arg-type]
        if crashes:
            crashes.pop()()
            raise psycopg.OperationalError("the server closed the connection")

    with patch.object(LedgerRecorder, "_append_group", append_and_crash):
        case_id = case_of(place, agencies)
    assert not crashes
    assert place.held(case_id) == {NOTE}
    rows = [row for row in place.ledger.rows.select_rows(0, 1_000) if row.originator_id == case_id]
    assert len(rows) == 1


def test_others_of_a_group_are_recorded_all_the_same(
    database: str, agencies: Agencies, ledger: Ledger
) -> None:
    with Ledger(environment(database)) as other:
        cases = [uuid4() for _ in range(3)]
        signed = [signed_action.read(agencies.sign(OURS, opening(), case_id)) for case_id in cases]
        other.append(signed[0], cases[0], 0)
        with pytest.raises(ReconnectedError):
            other.record(other.decide(signed[1], 0), since=0.0)
        other.append(signed[2], cases[2], 0)
    assert [ledger.case(case_id) is not None for case_id in cases] == [True, False, True]


def test_a_connection_of_no_pool_vouches_for_nothing(database: str) -> None:
    with psycopg.connect(database) as connection:
        check_since(connection, None)
        with pytest.raises(ReconnectedError):
            check_since(connection, 10.0**12)


def test_each_disclosure_is_hashed_and_each_signature_is_verified_once(
    place: Place, agencies: Agencies
) -> None:
    case_of(place, agencies)  # the process has read the registry since
    sender, case_id = agencies.protocol.agencies_by_id[OURS], uuid4()
    sent = agencies.sign(OURS, opening(indicators_note=NOTE), case_id)
    with (
        patch.object(sd_jwt, "digest", wraps=sd_jwt.digest) as hashed,
        patch.object(ed25519, "verifies", wraps=ed25519.verifies) as verified,
    ):
        place.append_service.on_case(sender, str(sent), case_id, 0)
    encoded = [call.args[0] for call in hashed.call_args_list]
    assert sorted(encoded) == sorted(one.encoded for one in sent.disclosures)
    assert verified.call_count == 1


def assessed(agencies: Agencies, case_id: UUID) -> str:
    at = datetime.now(UTC)
    action = RiskAssessed(acted_at=at, risk_level="high", threats="x")
    return str(agencies.sign(OURS, action, case_id))


def test_an_append_asks_the_database_once_and_waits_for_one_commit(
    database: str, agencies: Agencies, tmp_path: Path
) -> None:
    """All that is decided by is in memory, and checked by the event; the deposit is beside it."""
    sender = agencies.protocol.agencies_by_id[OURS]
    with (
        listening(tmp_path / "wire") as wire,
        Ledger(environment(database)) as ledger,
        Database(database) as pool,
    ):
        agencies.begin(ledger)
        place = Place(database, pool, ledger, tmp_path)
        case_of(place, agencies)
        case_id = case_of(place, agencies)
        sent = [assessed(agencies, case_id) for _ in range(3)]
        place.append_service.on_case(sender, sent[0], case_id, 1)  # prepares what it needs
        wire.sent()
        with patch("os.fdatasync", wraps=os.fdatasync) as synced:
            for version, one in enumerate(sent[1:], 2):
                place.append_service.on_case(sender, one, case_id, version)
                assert wire.round_trips() == 1
            assert not synced.called
            # Of a new person two more: no rows are there whose key was lost, and no action has the
            # id of the case. The key waits for the disk first.
            case_of(place, agencies)
            assert wire.round_trips() == 3
            assert synced.call_count == 1
    assert not statements_left(database)


def statements_left(database: str) -> list[str]:
    with psycopg.connect(database, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT query FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
        ).fetchall()
    return [query for (query,) in rows]


def test_concurrent_appends_with_their_deposits_share_a_commit(
    place: Place, database: str, agencies: Agencies
) -> None:
    case_ids = [case_of(place, agencies) for _ in range(8)]
    sender = agencies.protocol.agencies_by_id[OURS]
    sent = [assessed(agencies, case_id) for case_id in case_ids]
    groups = place.ledger.rows.groups
    with psycopg.connect(database) as holding, ThreadPoolExecutor(len(sent)) as threads:
        holding.execute("SELECT FROM ledger.head FOR UPDATE")
        waiting = [
            threads.submit(place.append_service.on_case, sender, one, case_id, 1)
            for one, case_id in zip(sent, case_ids, strict=True)
        ]
        until(lambda: len(place.ledger.rows._appends._queue) == len(sent) - 1)
        with patch("ledger.vault.deposits.seal_all") as sealing:
            holding.commit()
            receipts = [one.result() for one in waiting]
        assert not sealing.called  # none was sent back to deposit by itself
    assert place.ledger.rows.groups == groups + 2
    assert len({receipt.recorded_at for receipt in receipts}) == 2
    vault = place.vaults.of("XK")
    actions = [signed_action.read(signed_action.parse(one)).id for one in sent]
    assert all(map(vault.has_whole, actions))
    assert set(vault.held_digests(actions)) == set(actions)


@pytest.mark.parametrize("obstacle", ["erased", "head", "another action"])
def test_nothing_of_an_append_in_one_transaction_is_kept_if_a_part_of_it_is_refused(
    obstacle: str, place: Place, database: str, agencies: Agencies
) -> None:
    """The obstacle comes after all was prepared, so that the database alone finds it."""
    case_of(place, agencies)
    case_id = case_of(place, agencies)
    sender, vault = agencies.protocol.agencies_by_id[OURS], place.vaults.of("XK")
    sent = assessed(agencies, case_id)
    size = place.ledger.head()
    prepare = Vault.alongside
    once = [True]

    def prepared_before(self: Vault, *given: object) -> object:
        made = prepare(self, *given)  # type: ignore[arg-type]
        if once and once.pop():
            if obstacle == "erased":
                vault.erase(case_id)
            else:
                with Ledger(environment(database)) as other:
                    one = uuid4() if obstacle == "head" else case_id
                    taken = opening() if obstacle == "head" else CasePrioritised(
                        acted_at=datetime.now(UTC), priority="high"
                    )  # fmt: skip
                    agency = OURS if obstacle == "head" else "xk-nac"
                    signed = signed_action.read(agencies.sign(agency, taken, one))
                    other.append(signed, one, 0 if obstacle == "head" else 1)
        return made

    with patch.object(Vault, "alongside", prepared_before):
        if obstacle == "head":
            place.append_service.on_case(sender, sent, case_id, 1)
            assert place.ledger.head() == size + 2
        else:
            with pytest.raises(Refusal):
                place.append_service.on_case(sender, sent, case_id, 1)
            assert place.ledger.head() == size + (obstacle == "another action")
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "SELECT count(*), count(DISTINCT deposit_id) FROM vault_xk.disclosures"
            " WHERE action_id = %s",
            (signed_action.read(signed_action.parse(sent)).id,),
        ).fetchone()
    assert rows == ((1, 1) if obstacle == "head" else (0, 0))
    assert not statements_left(database)


def test_only_the_vaults_role_deposits_beside_an_event(place: Place) -> None:
    with psycopg.connect(place.database) as connection:
        rows = connection.execute(
            "SELECT r.rolname FROM pg_roles r, pg_proc p"
            " WHERE p.proname = 'deposit_beside_event' AND NOT r.rolsuper"
            " AND p.pronamespace = 'vault_xk'::regnamespace"
            " AND has_function_privilege(r.oid, p.oid, 'EXECUTE')"
        ).fetchall()
    assert rows == [("case_ledger_vault_xk",)]


def test_what_this_process_does_not_know_yet_is_read_before_a_refusal(
    database: str, place: Place, agencies: Agencies
) -> None:
    """Another process opened the case and registered an agency; this one judges by both."""
    case_of(place, agencies)
    sender, case_id = agencies.protocol.agencies_by_id[OURS], uuid4()
    at = datetime.now(UTC)
    with Ledger(environment(database)) as other:
        opened = signed_action.read(agencies.sign(OURS, opening(acted_at=at), case_id))
        other.append(opened, case_id, 0)
        registered = AgencyRegistered(
            acted_at=at, agency="xk-new-shelter", role="shelter", name="New shelter"
        )
        other.append_to_registry(signed_action.read(agencies.sign("xk-nac", registered, None)))
    sheltered = Sheltered(
        acted_at=at, shelter_kind="specialised", provider="xk-new-shelter", address="Example 1"
    )
    sent = agencies.sign(OURS, sheltered, case_id)
    assert place.append_service.on_case(sender, str(sent), case_id, 1).case_version == 2
