"""A program that is older than the ledger goes as far as it can, and calls nothing false.

Each test is a program from before a kind of action existed. It follows a ledger that has the kind.
"""

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch
from uuid import uuid4

import psycopg
import pytest

from ledger.application import Ledger, environment
from ledger.events.newer_event import NewerEventError
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import NewerTextError, read_recorded_text
from ledger.replication.mirror import DivergedError, Mirror
from ledger.signing import signed_action
from ledger.store.database import Database
from ledger.store.datastore import LedgerDatastore
from ledger.verification.verification import ExpectedLedger, verify_ledger
from ledger.vocabulary.coordination import MeetingHeld
from ledger.vocabulary.registration import ContactPointNamed, Office
from projections.columnar import parquet_export
from projections.columnar.parquet_export import KINDS, export
from projections.columnar.snapshot_sources import database_source
from projections.tables.all_views import VIEWS
from projections.upkeep.rebuild import rebuild_views
from projections.upkeep.runner import PageFolder
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.auditor import AUDITOR, run_auditor
from tests.support.copies import Copy, one_copy
from tests.support.exports import export_of
from tests.support.logs import Log, LogSource, signer
from tests.support.older_program import without_kind, without_newest_version

ACT, ON_CASE = "contact_point_named", "case_prioritised"


@pytest.fixture
def log(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[Log]:
    with Database(database) as pool:
        yield Log(ledger, pool, agencies)


@pytest.fixture
def copy(server: str, migrated: str, log: Log) -> Iterator[Copy]:
    with one_copy(server, migrated, log) as made:
        yield made


def name_contact(log: Log) -> int:
    """Record an act of the kind ``ACT``. Return its position."""
    act = ContactPointNamed(
        acted_at=PAST,
        agency="xk-dhtqnj",
        function="Head of the office",
        languages=("sqi",),
        office=Office(email="office@example.invalid"),
    )
    return log.register("xk-nac", act)


def test_a_copy_ends_before_an_event_of_a_later_program_and_goes_on_after_the_update(
    log: Log, copy: Copy, database: str
) -> None:
    source = LogSource(log)
    log.open_case()
    log.publication.sign()
    before = log.ledger.head()
    newer = name_contact(log)
    log.open_case()
    with without_kind(ACT):
        copy.mirror.step(source)
        assert copy.mirror.size == before == newer - 1
        for mirror in (copy.mirror, Mirror(copy.ledger, copy.database, log.policy)):
            for _ in range(4):  # as often as a source that contradicts itself is asked
                with pytest.raises(NewerEventError) as stopped:
                    mirror.step(source)
                assert stopped.value.position == newer
        assert copy.mirror.evidence() == []
        assert copy.mirror.size == before
    Mirror(copy.ledger, copy.database, log.policy).step(source)
    assert copy.tables() == copy.tables(database)


def test_a_copy_of_a_later_program_is_not_continued(log: Log, copy: Copy) -> None:
    """The later events would be judged by a state that this program does not have."""
    source = LogSource(log)
    log.open_case()
    newer = name_contact(log)
    copy.catch_up(source)
    log.open_case()
    with (
        without_kind(ACT),
        Ledger(environment(copy.conninfo)) as older,
        pytest.raises(NewerEventError, match=f"position {newer}"),
    ):
        Mirror(older, copy.database, log.policy).step(source)
    assert copy.mirror.evidence() == []
    copy.catch_up(source)
    assert copy.mirror.size == log.ledger.head()


def kept_sizes(copy: Copy, table: str) -> list[int]:
    """Return the sizes of the notes that a copy keeps in a table."""
    with copy.database.connection() as connection:
        rows = connection.execute(f"SELECT size FROM log.{table} ORDER BY size").fetchall()
    return [row["size"] for row in rows]


def newer_event(log: Log) -> int:
    """Record an event of a later program. Return its position; the log signed a note before it."""
    log.open_case()
    log.publication.sign()
    newer = name_contact(log)
    log.open_case()
    return newer


def stop_before(newer: int, copy: Copy, source: LogSource) -> None:
    """Have an older copy stop before an event."""
    with without_kind(ACT):
        copy.mirror.step(source)
        assert copy.mirror.size == newer - 1
        stay_stopped(copy.mirror, source)


def stay_stopped(mirror: Mirror, source: LogSource) -> None:
    with without_kind(ACT), pytest.raises(NewerEventError):
        mirror.step(source)


def update(log: Log, copy: Copy, source: LogSource) -> None:
    """Copy everything by a program that has the kind."""
    mirror = Mirror(copy.ledger, copy.database, log.policy)
    while mirror.size < log.ledger.head():
        mirror.step(source)


def test_an_older_copy_follows_what_the_log_signs_and_has_it_after_the_update(
    log: Log, copy: Copy, database: str
) -> None:
    source, sizes = LogSource(log), []
    stop_before(newer_event(log), copy, source)
    sizes.append(log.ledger.head())
    log.open_case()
    log.open_case()
    for _ in range(2):
        stay_stopped(copy.mirror, source)
    sizes.append(log.ledger.head())
    assert kept_sizes(copy, "unread_signed") == sizes
    # The same after a restart.
    log.open_case()
    again = Mirror(copy.ledger, copy.database, log.policy)
    for _ in range(2):
        stay_stopped(again, source)
    sizes.append(log.ledger.head())
    assert kept_sizes(copy, "unread_signed") == sizes
    assert copy.mirror.evidence() == []
    update(log, copy, source)
    assert copy.tables() == copy.tables(database)
    assert kept_sizes(copy, "unread_signed") == []
    with copy.database.connection() as connection:
        assert connection.execute("SELECT * FROM log.unread_leaves").fetchall() == []
    assert set(sizes) <= set(kept_sizes(copy, "signed"))


@pytest.mark.parametrize("published", [False, True])
def test_a_fork_of_what_an_older_copy_cannot_read_is_told(
    log: Log, copy: Copy, *, published: bool
) -> None:
    source, mirror = LogSource(log), copy.mirror
    stop_before(newer_event(log), copy, source)
    size = log.ledger.head()
    forged = log.note(size, b"\x01" * 32)
    stranger = log.note(size, b"\x02" * 32, signer())
    stay_stopped(mirror, source.lying(stranger))  # anyone may write such a note
    assert mirror.evidence() == []
    step = mirror.step_published if published else mirror.step
    with without_kind(ACT), pytest.raises(DivergedError, match="another history"):
        step(Publishing(log, forged) if published else source.lying(forged))
    (found,) = mirror.evidence()
    held = Note.parse(found.held)
    assert Checkpoint.parse(held.text).size == size
    assert found.refused == str(forged)
    # Copying waits for a person, and goes on with the events that the log gives.
    with pytest.raises(DivergedError):
        mirror.step(source)
    mirror.settle("it was a test")
    update(log, copy, source)
    assert mirror.size == size


class Publishing(LogSource):
    """A source whose published checkpoint is another one."""

    def __init__(self, log: Log, note: Note) -> None:
        super().__init__(log)
        self.note = note

    def published(self) -> str | None:
        return str(self.note)


def test_the_events_after_the_update_are_those_that_the_log_signed_before(
    log: Log, copy: Copy
) -> None:
    source, newer = LogSource(log), newer_event(log)
    stop_before(newer, copy, source)
    with psycopg.connect(copy.conninfo) as superuser:  # as if the log had signed another event
        superuser.execute(
            "UPDATE log.unread_leaves SET leaf_hash = %s WHERE position = %s",
            (b"\x01" * 32, newer),
        )
    with pytest.raises(DivergedError, match=f"position {newer} is another one"):
        Mirror(copy.ledger, copy.database, log.policy).step(source)
    assert copy.mirror.size == newer - 1


def hold_meeting(log: Log) -> int:
    """Record an action on a case in the second version of its kind. Return its position."""
    case_id = log.open_case()
    met = MeetingHeld(
        acted_at=START, host="XK", countries=("XK", "ME"), agencies=("xk-nac", "me-nac")
    )
    return log.act("xk-nac", met, case_id)


@pytest.mark.parametrize("is_act", [True, False], ids=["kind of act", "version of an action"])
def test_verification_says_how_far_it_could_judge(log: Log, *, is_act: bool) -> None:
    def record() -> int:
        return name_contact(log) if is_act else hold_meeting(log)

    first = log.ledger.head()
    log.open_case()
    newer = record()
    log.open_case()
    rows = log.ledger.rows_after(0, 1000)
    older = without_kind(ACT) if is_act else without_newest_version("meeting_held")
    with older:
        report = verify_ledger(rows, ExpectedLedger(), workers=1)
        broken = verify_ledger(rows[1:], ExpectedLedger(), workers=1)
    assert report.findings == ()
    assert (report.events, report.judged, report.newer) == (len(rows), newer - 1, newer)
    assert first < report.judged
    assert not broken.holds


def test_a_node_whose_own_ledger_is_newer_records_nothing(log: Log, database: str) -> None:
    log.open_case()
    newer = name_contact(log)
    with without_kind(ACT), Ledger(environment(database)) as older:
        assert older.adopted().version == log.registry().version
        assert older.newer == newer
        case_id = uuid4()
        signed = log.agencies.sign("xk-dhtqnj", opening(("XK", "ME")), case_id)
        for append in (
            lambda: older.append(signed_action.read(signed), case_id, 0),
            lambda: older.refused_at(signed_action.read(signed), case_id, 0),
        ):
            with pytest.raises(NewerEventError, match=f"position {newer}"):
                append()
    assert log.ledger.head() == newer
    log.ledger.append(signed_action.read(signed), case_id, 0)


def test_views_rebuild_and_columns_end_before_it_and_go_on_after_the_update(
    log: Log, database: str, tmp_path: Path
) -> None:
    log.open_case()
    newer = name_contact(log)
    log.open_case()
    head = log.ledger.head()
    told: list[int] = []
    datastore = LedgerDatastore(database, pool_size=2, role="case_ledger_projector")
    try:
        with without_kind(ACT):
            folder = PageFolder(datastore, VIEWS.values())
            while folder.step():
                pass
            assert folder.newer == newer
            rebuilt = rebuild_views(database, when_newer=told.append, processes=0)
            assert set(rebuilt.values()) == {newer - 1}
            older = patch.object(parquet_export, "KINDS", [k for k in KINDS if k != ACT])
            with older, database_source(database) as source:
                made = export(source, tmp_path, when_newer=told.append)
            assert made.upto == newer - 1
            assert told == [newer, newer]
        folder = PageFolder(datastore, VIEWS.values())
        while folder.step():
            pass
        assert {view(datastore).position() for view in VIEWS.values()} == {head}
    finally:
        datastore.close()
    with database_source(database) as source:
        assert export(source, tmp_path).upto == head


def test_the_auditors_script_of_before_cannot_tell_and_calls_nothing_false(
    log: Log, tmp_path: Path
) -> None:
    log.open_case()
    newer = name_contact(log)
    log.open_case()
    log.publication.step()
    export_of(log, tmp_path / "export")
    script = tmp_path / "verify.py"
    script.write_text(AUDITOR.read_text().replace(f'    "{ACT}",\n', "", 1))
    policy = tmp_path / "policy"
    policy.write_text(str(log.policy))
    told = run_auditor("export", tmp_path / "export", "--policy", str(policy), script=script)
    assert (told.returncode, told.stdout) == (1, "")
    assert f"cannot tell: the event at position {newer}" in told.stderr
    told = run_auditor("export", tmp_path / "export", "--policy", str(policy))
    assert told.returncode == 0, told.stderr


def test_a_text_names_no_part_that_it_does_not_use(agencies: Agencies) -> None:
    """An older program reads a text as long as the text uses nothing new."""
    text = text_of(agencies.protocol)
    assert read_recorded_text(text) == agencies.protocol
    empty = [one for one in every_value(text) if one is False or one in ([], {}, None)]
    assert empty == []
    assert text["edition"] == agencies.protocol.edition
    assert "applies_to_open" not in text["expected"][0]


def every_value(text: object) -> Iterator[object]:
    """Yield every value in a JSON text."""
    yield text
    if isinstance(text, dict | list):
        for one in text.values() if isinstance(text, dict) else text:
            yield from every_value(one)


@pytest.mark.parametrize(
    "change",
    [
        {"edition": 99},
        {"parts_of_tomorrow": []},
        {"quorum": {"witnesses": 3, "coordinators": 3, "of_tomorrow": True}},
        {"access": {"police": {"of_tomorrow": ["identity"]}}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_text_that_names_what_a_later_program_has_is_newer_and_not_wrong(
    agencies: Agencies, change: dict[str, object]
) -> None:
    text = text_of(agencies.protocol) | change
    with pytest.raises(NewerTextError, match="update this program"):
        read_recorded_text(text)
    with pytest.raises(ValueError, match="two or more parties") as wrong:
        read_recorded_text(text_of(agencies.protocol) | {"parties": []})
    assert not isinstance(wrong.value, NewerTextError)
