"""Timestamps: what a real authority answers is believed, and nothing else is."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import structlog
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ledger.application import Ledger
from ledger.export.static_export import write_export
from ledger.log.merkle import Tree
from ledger.log.note import Note
from ledger.log.timestamp import Timestamp, TimestampError, check, is_before, obtain
from ledger.publication.publisher import published
from ledger.publication.timestamping import Timestamping, earliest_timestamps
from ledger.store.database import Database
from ledger.system import clock
from ledger.verification.evidence_reader import kept_in, stored_rows
from ledger.verification.verification import Report, verify_ledger
from tests.support.agencies import Agencies
from tests.support.logs import Log
from tests.support.timestamping import Authority, of_another_text

TEXT = "ledger.example/logs\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
NAME = "https://authority.example/tsa"
AT_ONCE = timedelta(0)


@pytest.fixture(scope="module")
def stamped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Timestamp]:
    """An honest authority, and a timestamp of the text by it."""
    authority = Authority(tmp_path_factory.mktemp("tsa") / "honest")
    return authority, obtain(authority, TEXT, [authority.root])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def test_a_timestamp_verifies_offline_and_by_another_program(
    stamped: tuple[Authority, Timestamp],
) -> None:
    authority, made = stamped
    assert datetime.now(UTC) - made.moment < timedelta(minutes=1)
    assert check(made.token, TEXT, [authority.root]) == made.moment
    assert authority.verifies(made.token, TEXT)
    assert not authority.verifies(made.token, TEXT.removesuffix("\n"))


def test_another_text_is_not_what_was_timestamped(stamped: tuple[Authority, Timestamp]) -> None:
    authority, made = stamped
    for text in (TEXT.removesuffix("\n"), TEXT + "\n", TEXT.replace("3", "4")):
        with pytest.raises(TimestampError, match="Mismatch between messages"):
            check(made.token, text, [authority.root])


def test_another_root_is_not_believed(
    stamped: tuple[Authority, Timestamp], authority: Authority
) -> None:
    honest, made = stamped
    for roots in ([authority.root], []):
        with pytest.raises(TimestampError):
            check(made.token, TEXT, roots)
    with pytest.raises(TimestampError, match="verifying certificates"):
        obtain(authority, TEXT, [honest.root])
    assert check(made.token, TEXT, [authority.root, honest.root]) == made.moment


def test_an_expired_certificate_takes_nothing_back(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "short", valid=timedelta(seconds=3))
    made = obtain(authority, TEXT, [authority.root])
    while datetime.now(UTC) <= authority.root.not_valid_after_utc:
        time.sleep(0.2)
    assert check(made.token, TEXT, [authority.root]) == made.moment
    with pytest.raises(TimestampError, match="verifying certificates"):
        obtain(authority, TEXT, [authority.root])


def test_an_earlier_answer_is_not_taken_for_a_new_one(authority: Authority) -> None:
    first = obtain(authority, TEXT, [authority.root])
    authority.after = lambda _: first.token
    with pytest.raises(TimestampError, match="Nonce mismatch"):
        obtain(authority, TEXT, [authority.root])


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (of_another_text, bytes, "Mismatch between messages"),
        (lambda _: b"garbage", bytes, "no answer"),
        (bytes, lambda _: b"", "no answer"),
        (bytes, lambda _: b"<html>busy</html>", "no answer"),
        (bytes, lambda _: b"\x30\x80" * 2000, "no answer"),
        (bytes, lambda r: r[:-1], "no answer"),
        (bytes, lambda r: r + b"\0", "no answer"),
    ],
    ids=["another hash", "refused", "empty", "a page", "deep", "cut", "longer"],
)
def test_what_is_no_timestamp_of_the_text_is_refused(
    authority: Authority,
    before: Callable[[bytes], bytes],
    after: Callable[[bytes], bytes],
    why: str,
) -> None:
    authority.before, authority.after = before, after
    with pytest.raises(TimestampError, match=why):
        obtain(authority, TEXT, [authority.root])
    assert authority.answered


def test_an_authority_may_refuse(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "refusing", digests="sha512")
    with pytest.raises(TimestampError):
        obtain(authority, TEXT, [authority.root])
    assert len(authority.answered[0]) < 100  # a status, and no token


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
@example(place=4, bit=0)
@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_tampered_token_says_no_other_time(
    stamped: tuple[Authority, Timestamp], place: int, bit: int
) -> None:
    """Bytes that no signature covers may change; the time and the kind of failure may not."""
    authority, made = stamped
    content = bytearray(made.token)
    content[place % len(content)] ^= 1 << bit
    with suppress(TimestampError):
        assert check(bytes(content), TEXT, [authority.root]) == made.moment


def test_a_certificate_that_cannot_be_read_is_no_answer(tmp_path: Path) -> None:
    """One beside the authority's own, which no signature covers."""
    authority = Authority(tmp_path / "two", more="certs = {directory}/authority.pem")
    made = obtain(authority, TEXT, [authority.root])
    head, version, rest = made.token.rpartition(b"\xa0\x03\x02\x01\x02")
    assert version
    with pytest.raises(TimestampError, match="no answer"):
        check(head + version[:-1] + b"\x03" + rest, TEXT, [authority.root])


def test_another_time_cannot_be_written_into_a_token(
    stamped: tuple[Authority, Timestamp],
) -> None:
    authority, made = stamped
    said = f"{made.moment:%Y%m%d%H%M%S}Z".encode()
    earlier = f"{made.moment - timedelta(days=1):%Y%m%d%H%M%S}Z".encode()
    forged = made.token.replace(said, earlier)
    assert forged != made.token
    with pytest.raises(TimestampError, match="does not verify"):
        check(forged, TEXT, [authority.root])


def test_what_is_cut_off_the_second_makes_nothing_late() -> None:
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert not is_before(moment, moment)
    assert not is_before(moment, moment + timedelta(milliseconds=999))
    assert is_before(moment, moment + timedelta(seconds=1))


# Of a ledger's checkpoints.


@pytest.fixture
def log(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[Log]:
    with Database(database) as pool:
        log = Log(ledger, pool, agencies)
        log.publication.step()
        yield log


def timestamping(log: Log, authority: Authority, every: timedelta = AT_ONCE) -> Timestamping:
    return Timestamping(log.database, authority, NAME, [authority.root], every)


def last_published(log: Log) -> tuple[Note, int]:
    last = published(log.database)
    assert last is not None
    return last[0], last[1].size


def sizes(log: Log) -> list[int]:
    return [t.size for t in earliest_timestamps(log.database, 1, 2**40)]


def verified(log: Log, conninfo: str, *authorities: Authority) -> Report:
    with psycopg.connect(conninfo) as connection:
        kept = kept_in(connection, log.policy, roots=[a.root for a in authorities])
        return verify_ledger(stored_rows(connection), kept, workers=1)


def test_the_last_published_checkpoint_is_timestamped_once(
    log: Log, authority: Authority, database: str, directory: Path
) -> None:
    stamping = timestamping(log, authority)
    made = stamping.step()
    assert made is not None
    note, size = last_published(log)
    assert check(made.token, note.text, [authority.root]) == made.moment
    assert authority.verifies(made.token, note.text)
    assert stamping.step() is None
    assert len(authority.answered) == 1
    log.open_case()
    assert stamping.step() is None  # nothing new is published
    log.publication.step()
    assert stamping.step() is not None
    assert sizes(log) == [size, size + 1]
    report = verified(log, database, authority)
    assert (report.holds, report.timestamps) == (True, 2)
    # A holder of the export needs neither the ledger nor this program.
    write_export(
        log.ledger.rows,
        note,
        directory / "export",
        lambda *_: None,
        earliest_timestamps(log.database, 1, size),
    )
    written = directory / "export" / "timestamp"
    assert sorted(p.name for p in written.iterdir()) == [f"{size}", f"{size}.checkpoint"]
    kept = Note.parse((written / f"{size}.checkpoint").read_bytes())
    assert authority.verifies((written / f"{size}").read_bytes(), kept.text)


def test_not_every_checkpoint_is_timestamped(log: Log, authority: Authority) -> None:
    slow = timestamping(log, authority, timedelta(minutes=1))
    assert slow.step() is not None
    for _ in range(3):
        log.open_case()
        log.publication.step()
        assert slow.step() is None
    assert len(authority.answered) == 1
    # Another authority, or the same after its time, takes the last one.
    other = Timestamping(log.database, authority, "https://other.example", [authority.root])
    assert other.step() is not None
    assert other.step() is None
    time.sleep(0.3)
    assert timestamping(log, authority, timedelta(seconds=0.2)).step() is not None
    assert sizes(log) == [last_published(log)[1] - 3, last_published(log)[1]]


def test_a_clock_that_was_set_back_stops_nothing(
    log: Log, authority: Authority, database: str
) -> None:
    stamping = timestamping(log, authority, timedelta(minutes=1))
    assert stamping.step() is not None
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE log.timestamps SET received_at = now() + interval '1 day'")
    log.open_case()
    log.publication.step()
    assert stamping.step() is not None


def lie(authority: Authority, how: str) -> None:
    if how == "is away":
        authority.is_down = True
    elif how == "answers garbage":
        authority.after = lambda _: b"garbage"
    elif how == "answers what it did before":
        replayed = authority.answer(authority.directory.joinpath("query").read_bytes())
        authority.after = lambda _: replayed
    elif how == "timestamps another text":
        authority.before = of_another_text


@pytest.mark.parametrize(
    "how",
    ["is away", "answers garbage", "answers what it did before", "timestamps another text"],
)
def test_nothing_waits_for_an_authority_that(log: Log, authority: Authority, how: str) -> None:
    stamping = timestamping(log, authority)
    assert stamping.step() is not None
    before = sizes(log)
    lie(authority, how)
    for _ in range(2):
        log.open_case()
        assert log.publication.step().published == last_published(log)[1]
        with structlog.testing.capture_logs() as said:
            assert stamping.step() is None
        error = "ConnectionError" if how == "is away" else "TimestampError"
        assert [(e["event"], e["error"]) for e in said] == [("no timestamp", error)]
    assert last_published(log)[1] == before[0] + 2
    assert sizes(log) == before
    authority.is_down, authority.before, authority.after = False, bytes, bytes
    assert stamping.step() is not None
    assert sizes(log) == [*before, last_published(log)[1]]


def test_a_moment_before_what_it_covers_is_refused_and_found(
    log: Log, authority: Authority, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(hours=1))
    log.open_case()
    log.publication.step()
    with structlog.testing.capture_logs() as said:
        assert timestamping(log, authority).step() is None
    assert [e["error"] for e in said] == ["TimestampError"]
    assert sizes(log) == []
    note, size = last_published(log)
    store(log, size, obtain(authority, note.text, [authority.root]))
    assert verified(log, database).holds  # without roots, nobody looks
    found = verified(log, database, authority).findings
    assert [(f.first, f.last) for f in found] == [(size, size)]
    assert "before the time that this event says" in found[0].what


def store(log: Log, size: int, made: Timestamp) -> None:
    with log.database.connection() as connection:
        connection.execute(
            "INSERT INTO log.timestamps VALUES (%s, %s, %s, %s, now())",
            (size, NAME, made.token, made.moment),
        )


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE log.timestamps SET token = 'x'", "does not hold: this is no answer"),
        ("UPDATE log.timestamps SET token = overlay(token PLACING 'x' FROM 100)", "does not hold"),
        ("UPDATE log.timestamps SET moment = moment + interval '1 s'", "another moment"),
        ("UPDATE log.timestamps SET size = size - 1", "does not hold"),
        ("DELETE FROM log.published", "does not hold"),
        ("UPDATE log.timestamps SET size = 1000", "events are missing"),
    ],
)
def test_stored_timestamps_are_verified(
    log: Log, authority: Authority, database: str, statement: str, why: str
) -> None:
    assert timestamping(log, authority).step() is not None
    assert verified(log, database, authority).timestamps == 1
    with psycopg.connect(database) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(statement)  # type: ignore[arg-type]
    report = verified(log, database, authority)
    assert any(why in f.what for f in report.findings), report.findings


def test_another_authoritys_timestamps_are_found(
    log: Log, authority: Authority, database: str, tmp_path: Path
) -> None:
    assert timestamping(log, authority).step() is not None
    other = Authority(tmp_path / "other")
    report = verified(log, database, other)
    assert [f.last for f in report.findings] == [last_published(log)[1]]
    assert report.timestamps == 0
    assert verified(log, database, other, authority).holds


def test_all_witnesses_together_cannot_replace_what_was_timestamped(
    log: Log, authority: Authority, database: str
) -> None:
    """The operator and every witness write a history of their own; the authority was not asked."""
    log.open_case()
    log.publication.step()
    assert timestamping(log, authority).step() is not None
    size = last_published(log)[1]
    roll_back(log, database, size - 1)
    with Ledger(log.ledger.env) as rewritten:
        forged = Log(
            rewritten,
            log.database,
            log.agencies,
            key=log.key,
            witness_keys=log.witness_keys,
        )
        forged.open_case()
        assert forged.publication.step().published == size
        assert verified(forged, database).holds
        assert verified(forged, database).covered == size
        found = verified(forged, database, authority).findings
    assert [(f.first, f.last) for f in found] == [(size, size)]
    assert "Mismatch between messages" in found[0].what


def roll_back(log: Log, conninfo: str, size: int) -> None:
    """As the database's superuser, who has every witness's database too."""
    with psycopg.connect(conninfo) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM ledger.events WHERE notification_id > %s", (size,))
        for table in ("cosignatures", "published", "signed"):
            connection.execute(f"DELETE FROM log.{table}")  # type: ignore[arg-type]
        for party in log.witness_keys:
            connection.execute(f"DELETE FROM witness_{party.lower()}.cosigned")  # type: ignore[arg-type]
        tree = Tree(size, log.ledger.rows.read_hashes)
        connection.execute(
            "UPDATE ledger.head SET position = %s, frontier = %s",
            (size, tree.frontier().to_bytes()),
        )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log.timestamps SET moment = now()",
        "DELETE FROM log.timestamps",
        "TRUNCATE log.timestamps",
    ],
)
def test_timestamps_never_change(
    log: Log, authority: Authority, database: str, statement: str
) -> None:
    assert timestamping(log, authority).step() is not None
    with psycopg.connect(database) as connection:
        connection.execute("SET ROLE case_ledger_app")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
            connection.execute(statement)  # type: ignore[arg-type]
    # Nor by a role that was granted it.
    role = f"granted_{uuid4().hex[:8]}"
    with psycopg.connect(database) as connection:
        connection.execute(f"CREATE ROLE {role}")  # type: ignore[arg-type]
        connection.execute(f"GRANT USAGE ON SCHEMA log, ledger TO {role}")  # type: ignore[arg-type]
        connection.execute(f"GRANT ALL ON log.timestamps TO {role}")  # type: ignore[arg-type]
        connection.execute(f"SET ROLE {role}")  # type: ignore[arg-type]
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="never changed"):
            connection.execute(statement)  # type: ignore[arg-type]
        connection.rollback()


def test_nothing_but_a_hash_reaches_the_authority(stamped: tuple[Authority, Timestamp]) -> None:
    authority, _ = stamped
    request = (authority.directory / "query").read_bytes()
    assert len(request) < 80
    assert b"ledger" not in request
    assert authority.root.public_bytes(Encoding.DER) not in request
