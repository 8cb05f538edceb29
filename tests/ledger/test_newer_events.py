"""A program that is older than the ledger goes as far as it can, and calls nothing false.

Each test is a program from before a kind of action existed. It follows a ledger that has the kind.
"""

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch
from uuid import uuid4

import pytest

from ledger.application import Ledger, environment
from ledger.events.newer_event import NewerEventError
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import NewerTextError, read_recorded_text
from ledger.replication.mirror import Mirror
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
from tests.support.logs import Log, LogSource
from tests.support.older_program import with_second_version_missing, without_kind

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
    """What follows would be judged by a state that this program does not have."""
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
    older = without_kind(ACT) if is_act else with_second_version_missing("meeting_held")
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
