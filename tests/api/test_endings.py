"""The endings of a worker: entries of access logs, names of members, marks, links."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from api.authentication.members import Manager, MemberDetails, Members
from api.background_jobs.endings import Endings
from api.runtime.settings import Settings
from ledger.log.cosigned_times import CosignedTimes, DatedCheckpoint
from ledger.procedure.protocol import Operation
from ledger.procedure.readings import Asked, Reading
from ledger.signing import signed_action
from ledger.signing.country_key import FileCountryKey
from ledger.store.database import Database
from ledger.system import clock
from ledger.vault import access_log
from ledger.vault.data_keys import DataKeys
from ledger.vault.vault import Vault
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Purpose
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.cosigned import policy
from tests.support.vaults import reading

COUNTRY = FileCountryKey.generate()
YEAR = timedelta(days=366)


def cosigned_daily(until: datetime) -> CosignedTimes:
    """Return the times of a witness that cosigned every day for two months."""
    times = (until - timedelta(days=n) for n in range(60, -1, -1))
    dated = [DatedCheckpoint(n, {"ME": time}) for n, time in enumerate(times, 1)]
    return CosignedTimes(dated, policy("ME"))


class World:
    """A vault with an access log of the past, and the job that ends it."""

    def __init__(self, database: str, pool: Database, directory: Path) -> None:
        self.database, self.pool = database, pool
        keys = DataKeys(directory / "persons", "XK", COUNTRY)
        self.vault = Vault(pool, "XK", keys)
        self.members = Members(pool, {"XK": keys})
        self.fixed = 0
        self.settings = Settings(access_log_days=730)
        self.troubles: list[str] = []
        ledger: Any = SimpleNamespace(
            registry=lambda: SimpleNamespace(
                readings={"XK": SimpleNamespace(entries=self.fixed)},
                directory=SimpleNamespace(agencies=()),
            )
        )
        vaults: Any = [self.vault]
        self.times = cosigned_daily(clock.now())
        self.job = Endings(
            ledger,
            vaults,
            self.members,
            pool,
            self.settings,
            lambda: self.times,
            lambda: self.troubles,
        )

    def write(self, ages: list[timedelta], case_id: UUID) -> None:
        """Write the first entries of the log, as if they were made so long ago."""
        chained = None
        with psycopg.connect(self.database) as owner:
            for seq, age in enumerate(ages, start=1):
                asked = Asked(
                    agency="xk-nac",
                    role="coordinator",
                    case_id=case_id,
                    operation=Operation.READ,
                    groups=(FieldGroup.IDENTITY,),
                    purpose=Purpose.PROTECTION,
                )
                at = clock.now() - age
                entry = Reading(seq=seq, at=at, asked=asked, granted=True)
                text = entry.model_dump_json(exclude_none=True)
                chained = access_log._chained(chained, text)
                owner.execute(
                    "INSERT INTO vault_xk.readings VALUES (%s, %s, 'xk-nac', 'coordinator', %s,"
                    " 'read', '{identity}', true, %s, %s)",
                    (seq, at, case_id, text, chained),
                )
            owner.execute(
                "INSERT INTO vault_xk.progress VALUES ('readings', %s) ON CONFLICT (work)"
                " DO UPDATE SET position = EXCLUDED.position",
                (len(ages),),
            )

    def one(self, statement: str) -> Any:
        with psycopg.connect(self.database) as owner:
            row = owner.execute(statement).fetchone()
        return row and row[0]


@pytest.fixture
def world(database: str, tmp_path: Path) -> Iterator[World]:
    with Database(database) as pool:
        yield World(database, pool, tmp_path)


def test_the_first_entries_of_an_access_log_end_and_the_rest_still_holds(world: World) -> None:
    case_id = uuid4()
    world.write([4 * YEAR, 3 * YEAR, 3 * YEAR, YEAR, timedelta()], case_id)
    heads = {
        row: world.one(f"SELECT hash FROM vault_xk.readings WHERE seq = {row}") for row in (2, 4)
    }
    assert world.job.end()["entries of access logs"] == 0, "the ledger has fixed none of them"
    world.fixed = 4
    world.troubles = ["clock-differs"]
    assert not world.job.end()
    world.troubles = []
    right = world.times
    ahead = [DatedCheckpoint(n, {"ME": clock.now()}) for n in (70, 71)]
    long_ago = cosigned_daily(clock.now() - 10 * YEAR)
    world.times = CosignedTimes([*long_ago.checkpoints, *ahead], right.policy)
    assert "entries of access logs" not in world.job.end(), "the clocks jumped by ten years"
    world.times = right
    assert world.job.end()["entries of access logs"] == 3
    assert world.vault.readings.ended()[0] == 3
    left = world.vault.readings.of_case(case_id)
    assert ([one.seq for one in left], left.changed) == ([4, 5], ())
    assert not [*world.vault.readings.findings({4: bytes(heads[4])})]
    assert [*world.vault.readings.findings({3: bytes(32)})], "what ended must be what was fixed"
    assert reading(world.vault, case_id).seq == 6
    assert not [*world.vault.readings.findings()]
    with psycopg.connect(world.database) as owner:
        owner.execute("ALTER TABLE vault_xk.readings_ended DISABLE TRIGGER ALL")
        owner.execute("UPDATE vault_xk.readings_ended SET hash = %s", (bytes(heads[2]),))
    assert world.vault.readings.of_case(case_id).changed == (4,)
    assert [*world.vault.readings.findings()]


def test_no_entry_ends_while_the_persons_fields_are_here_nor_within_a_year(
    world: World, agencies: Agencies
) -> None:
    case_id = uuid4()
    world.write([4 * YEAR, 3 * YEAR, timedelta(days=300), timedelta()], case_id)
    signed = agencies.sign("xk-dhtqnj", opening(first_name="zqName"), case_id)
    world.vault.deposit(signed_action.read(signed), case_id, signed.disclosures)
    world.fixed = 4
    assert world.job.end()["entries of access logs"] == 0
    world.vault.erase(case_id)
    assert world.vault.readings.end(clock.now(), upto=4) == 2, "none of the last 365 days"
    with world.pool.transaction(role="case_ledger_vault_xk") as keeper:
        for statement in (
            "DELETE FROM vault_xk.readings",
            "INSERT INTO vault_xk.readings_ended VALUES (9, decode(repeat('00', 32), 'hex'))",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), keeper.transaction():
                keeper.execute(statement)


@pytest.mark.usefixtures("ledger")
def test_names_links_asked_keys_changes_and_marks_end(world: World) -> None:
    by = Manager("xk-nac", None)
    left, stays = (
        world.members.add("XK", "xk-nac", MemberDetails(name=f"zq {n}"), by) for n in range(2)
    )
    world.members.invite(stays.id, by)
    world.members.disable(left.id, by)
    counts = world.job.end()
    assert not any(counts.values())
    with psycopg.connect(world.database) as owner:
        for age in (
            "UPDATE access.members SET disabled_at = now() - interval '380 days'"
            f" WHERE id = '{left.id}'",
            "UPDATE access.invitations SET expires_at = now()",
            f"INSERT INTO access.key_requests VALUES (repeat('k', 43), '{stays.id}', '{{}}',"
            " now() - interval '31 days')",
            "UPDATE access.member_changes SET at = now() - interval '3 years'",
            "INSERT INTO desk.read_marks SELECT 'xk-nac', '', action_id, now() - interval '2 years'"
            " FROM ledger.events WHERE notification_id = 2",
            "INSERT INTO desk.read_marks SELECT 'xk-nac', '', action_id, now()"
            " FROM ledger.events WHERE notification_id = 3",
        ):
            owner.execute(age)
    # No event is old enough for all before it to count as read.
    assert world.job.end() == {
        "entries of access logs": 0,
        "names of members": 1,
        "changes of members": 4,
        "links of invitations": 1,
        "asked keys": 1,
        "read marks": 0,
    }
    assert world.members.get(left.id).details is None
    assert world.members.get(stays.id).details is not None
    with psycopg.connect(world.database) as owner:
        owner.execute("ALTER TABLE ledger.events DISABLE TRIGGER USER")
        owner.execute(
            "UPDATE ledger.events SET recorded_at = now() - interval '2 years'"
            " WHERE notification_id <= 2"
        )
    assert world.job.end()["read marks"] == 1
    assert world.one("SELECT position FROM desk.read_upto") == 2
    assert world.one("SELECT count(*) FROM desk.read_marks") == 1
