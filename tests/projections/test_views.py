"""Views follow the ledger exactly once, are rebuilt identically, and show no stranger a case."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import patch
from uuid import UUID, uuid4

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError
from psycopg import Cursor
from psycopg.rows import DictRow

from ledger.application import Ledger
from ledger.procedure.agreement import Agreement
from ledger.refusals import Refusal
from ledger.signing import signed_action
from ledger.store.database import Database
from ledger.store.datastore import LedgerDatastore
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import Correction, InformationRequested
from ledger.vocabulary.picklists import (
    CorrectionEffect,
    CorrectionReason,
    InformationTopic,
    Purpose,
    RiskLevel,
)
from ledger.vocabulary.protection import RiskAssessed
from ledger.vocabulary.registration import KeyCompromised, KeyRevoked
from projections.folds.audit_trail import state_after
from projections.folds.case_folder import Folder, Step
from projections.folds.case_view import OVERSIGHT_VIEWER, Turn, case_view
from projections.tables.all_views import VIEWS
from projections.tables.audit_trail import AuditTrails
from projections.tables.view import PROJECTOR_ROLE, EventHistory, LostStepsError, View
from projections.tables.view_queries import ViewReader
from projections.upkeep import runner
from projections.upkeep.rebuild import RebuildError, rebuild
from projections.upkeep.runner import PageFolder, ViewRunner, record_rest
from tests.support.actions import opening
from tests.support.agencies import PAST, Agencies
from tests.support.views import rows_of, wait_for

START = datetime(2025, 12, 3, 10, tzinfo=UTC)


@pytest.fixture
def reader(database: str) -> Iterator[ViewReader]:
    with Database(database) as pool:
        yield ViewReader(pool)


class Player:
    """Appends actions one after another to one case."""

    def __init__(self, ledger: Ledger, agencies: Agencies) -> None:
        self.ledger, self.agencies = ledger, agencies
        self.case_id, self.version, self.position = uuid4(), 0, 0

    def take(self, agency: str, action: Action) -> UUID:
        signed = signed_action.read(self.agencies.sign(agency, action, self.case_id))
        receipt = self.ledger.append(signed, self.case_id, self.version)
        self.version, self.position = receipt.case_version, receipt.position
        return receipt.action_id


@pytest.fixture
def player(ledger: Ledger, agencies: Agencies) -> Player:
    player = Player(ledger, agencies)
    player.take("xk-dhtqnj", opening(acted_at=START))
    return player


def risk() -> RiskAssessed:
    return RiskAssessed(acted_at=START + timedelta(hours=1), risk_level=RiskLevel.HIGH)


def request(to: str) -> InformationRequested:
    return InformationRequested(
        acted_at=START + timedelta(days=1),
        addressee=to,
        topics=(InformationTopic.FAMILY,),
        purpose=Purpose.IDENTIFICATION,
        answer_by=(START + timedelta(days=8)).date(),
    )


def test_figures_are_counted_anew_once_the_view_has_moved_on(
    database: str, ledger: Ledger, agencies: Agencies, player: Player, reader: ViewReader
) -> None:
    def counted() -> tuple[int, int]:
        found = reader.figures("XK", agencies.protocol)
        return sum(one.cases for one in found.caseload), asked.call_count

    with ViewRunner(database), patch.object(reader, "_rows", wraps=reader._rows) as asked:
        wait_for(reader, player.position)
        first, questions = counted()
        assert first == 1
        assert counted() == (1, questions + 1)  # where the view stands is asked, and no more
        other = Player(ledger, agencies)
        other.take("xk-dhtqnj", opening(acted_at=START))
        wait_for(reader, other.position)
        assert counted()[0] == 2


def test_a_country_sees_a_case_from_when_it_is_addressed(
    player: Player, reader: ViewReader, database: str
) -> None:
    with ViewRunner(database):
        wait_for(reader, player.position)
        assert reader.case("ME", player.case_id) is None
        asked = player.take("xk-nac", request("me-nac"))
        wait_for(reader, player.position)
        ours, theirs = reader.case("ME", player.case_id), reader.case("XK", player.case_id)
        assert ours is not None
        assert theirs is not None
        assert [r.turn for r in ours.open_requests] == [Turn.OURS]
        assert [r.turn for r in theirs.open_requests] == [Turn.THEIRS]
        owed = [s for s in ours.expected if s.turn is Turn.OURS]
        assert [(s.action, s.agency, s.concerning) for s in owed] == [
            ("information_acknowledged", "me-nac", asked)
        ]
        assert reader.case("AL", player.case_id) is None
        assert reader.case(OVERSIGHT_VIEWER, player.case_id) is not None
        # Annulling the request takes Montenegro out again.
        player.take(
            "xk-nac",
            Correction(
                acted_at=START + timedelta(days=2),
                corrects=asked,
                effect=CorrectionEffect.ANNULLED,
                reason=CorrectionReason.WRONG_CASE,
            ),
        )
        wait_for(reader, player.position)
        assert reader.case("ME", player.case_id) is None
        assert [c.case_id for c in reader.cases("ME", limit=10)] == []


def test_the_view_is_a_fold_of_the_trail(
    player: Player, reader: ViewReader, database: str, agencies: Agencies
) -> None:
    player.take("xk-nac", request("me-nac"))
    with ViewRunner(database):
        wait_for(reader, player.position)
    trail = reader.trail(player.case_id)
    assert [entry.version for entry in trail] == [1, 2]
    state = state_after(trail)
    assert state is not None
    assert reader.case("XK", player.case_id) == case_view(
        state, "XK", Agreement.of(agencies.protocol), {}
    )
    asked = {change.path: (change.before, change.after) for change in trail[1].changes}
    assert asked["/parties"] == (["XK"], ["XK", "ME"])


def test_revoking_a_key_changes_the_state_of_its_signatures(
    player: Player, reader: ViewReader, database: str, agencies: Agencies
) -> None:
    kid = signed_action.read(agencies.sign("xk-dhtqnj", request("me-nac"), player.case_id)).key_id
    revoked = agencies.sign("xk-nac", KeyRevoked(acted_at=PAST, key_id=kid), None)
    with ViewRunner(database):
        wait_for(reader, player.position)
        assert [e.signature for e in reader.trail(player.case_id)] == ["valid"]
        receipt = player.ledger.append_to_registry(signed_action.read(revoked))
        wait_for(reader, receipt.position)
    assert [e.signature for e in reader.trail(player.case_id)] == ["valid, key since revoked"]
    protocol_trail = reader.trail(player.ledger.adopted().ledger_id)
    assert [c.path for c in protocol_trail[-1].changes] == [f"/keys/{kid}/revoked_at"]


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_a_rebuild_gives_the_identical_view_while_the_live_one_follows(
    player: Player, reader: ViewReader, database: str, name: str
) -> None:
    with ViewRunner(database):
        player.take("xk-nac", request("me-nac"))
        wait_for(reader, player.position)
        before = rows_of(database, name)
        seen: list[tuple[int, int]] = []
        assert rebuild(database, name, lambda *progress: seen.append(progress)) == player.position
        assert seen[-1] == (player.position, player.position)
        assert rows_of(database, name) == before
        assert before
        # The runner goes on in the slot that was swapped in.
        player.take("xk-nac", request("me-police-thb"))
        wait_for(reader, player.position)
    assert len(reader.trail(player.case_id)) == 3
    view = reader.case("XK", player.case_id)
    assert view is not None
    assert len(view.open_requests) == 2


def test_two_runners_write_every_row_once(
    player: Player, reader: ViewReader, database: str
) -> None:
    with ViewRunner(database), ViewRunner(database):
        for n in range(10):
            player.take("xk-nac", request("me-nac" if n % 2 else "al-nac"))
        wait_for(reader, player.position)
    assert [e.version for e in reader.trail(player.case_id)] == list(range(1, 12))


@pytest.mark.parametrize("name", VIEWS)
def test_what_a_crash_took_back_from_a_view_is_folded_again(
    name: str, player: Player, reader: ViewReader, database: str
) -> None:
    """A view's commit does not wait for the disk: the process that made it may outlive it."""
    tables = (f"views.{name}", "views.tracking")
    with ViewRunner(database), psycopg.connect(database, autocommit=True) as connection:
        wait_for(reader, player.position)
        for number, table in enumerate(tables):
            connection.execute(f"CREATE TABLE public.kept_{number} AS TABLE {table}".encode())
        for to in ("me-nac", "al-nac", "me-police-thb"):
            player.take("xk-nac", request(to))
        wait_for(reader, player.position)
        with connection.transaction():
            connection.execute(b"LOCK views.tracking")
            for number, table in enumerate(tables):
                where = "" if number == 0 else f" WHERE projection = '{name}'"
                connection.execute(f"DELETE FROM {table}{where}".encode())
                connection.execute(
                    f"INSERT INTO {table} SELECT * FROM public.kept_{number}{where}".encode()
                )
        player.take("xk-nac", request("me-nac"))
        wait_for(reader, player.position)
        after = rows_of(database, name)
        rebuild(database, name)
        assert rows_of(database, name) == after
    assert [e.version for e in reader.trail(player.case_id)] == list(range(1, 6))


def test_a_step_is_never_passed_over(player: Player, reader: ViewReader, database: str) -> None:
    datastore = LedgerDatastore(database, pool_size=2, role=PROJECTOR_ROLE)
    try:
        view, history = AuditTrails(datastore), EventHistory(datastore)
        folder = Folder(history)
        steps = [folder.step(event) for event in history.page(0, 10)]
        for wrong in (steps[1:], steps[3:4]):
            with pytest.raises(LostStepsError):
                view.record(wrong)
        view.record(steps[:4])
        with pytest.raises(LostStepsError):
            view.record(steps[5:])
        with pytest.raises(IntegrityError):
            view.record(steps[2:4])
        view.record(steps[4:])
        assert reader.position("audit_trail") == view.position() == 10
        assert len(rows_of(database, "audit_trail")) == 10
    finally:
        datastore.close()
    assert player.position > 10


def test_a_runner_that_is_behind_writes_pages(
    player: Player, reader: ViewReader, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(20):
        player.take("xk-nac", request("me-nac" if n % 2 else "al-nac"))
    written: dict[str, list[int]] = {name: [] for name in VIEWS}
    record = View.record

    def counting(self: View, steps: Sequence[Step]) -> None:
        written[self.name].append(len(steps))  # before others see the view's new position
        record(self, steps)

    monkeypatch.setattr(View, "record", counting)
    with ViewRunner(database):
        wait_for(reader, player.position)
        assert written == {name: [player.position] for name in VIEWS}
        player.take("xk-nac", request("me-police-thb"))
        wait_for(reader, player.position)
    assert written == {name: [player.position - 1, 1] for name in VIEWS}
    assert [e.version for e in reader.trail(player.case_id)] == list(range(1, 23))


def test_a_view_that_fails_keeps_no_other_back(
    player: Player, reader: ViewReader, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = [True]
    write = AuditTrails.write

    def failing(self: AuditTrails, curs: Cursor[DictRow], steps: Sequence[Step]) -> None:
        if fails:
            raise ValueError
        write(self, curs, steps)

    monkeypatch.setattr(AuditTrails, "write", failing)
    with ViewRunner(database):
        for _ in range(3):
            player.take("xk-nac", request("me-nac"))
            wait_for(reader, player.position, names=("case_views", "obligations"))
        assert reader.position("audit_trail") == 0
        fails.clear()
        wait_for(reader, player.position)
    assert [e.version for e in reader.trail(player.case_id)] == [1, 2, 3, 4]


def test_views_that_stand_apart_meet_again(
    player: Player, reader: ViewReader, database: str
) -> None:
    datastore = LedgerDatastore(database, pool_size=3, role=PROJECTOR_ROLE)
    try:
        with patch.object(runner, "PAGE", 4):
            PageFolder(datastore, [AuditTrails]).step()
            pages = PageFolder(datastore, VIEWS.values())
            assert {name: reader.position(name) for name in VIEWS} == {
                "case_views": 0, "audit_trail": 4, "obligations": 0,
            }  # fmt: skip
            while pages.step():
                pass
        for _ in range(3):
            player.take("xk-nac", request("me-nac"))
            history = pages._history  # that of others, in threads of their own, does not count
            with patch.object(history, "page", wraps=history.page) as read:
                assert pages.step()
                assert read.call_count == 1  # for all of them
    finally:
        datastore.close()
    assert {reader.position(name) for name in VIEWS} == {player.position}
    for name in VIEWS:
        before = rows_of(database, name)
        rebuild(database, name)
        assert rows_of(database, name) == before


def test_pages_that_another_runner_has_begun_are_written_once(
    player: Player, reader: ViewReader, database: str
) -> None:
    for _ in range(5):
        player.take("xk-nac", request("me-nac"))
    datastore = LedgerDatastore(database, pool_size=3, role=PROJECTOR_ROLE)
    try:
        pages, history = PageFolder(datastore, [AuditTrails]), EventHistory(datastore)
        another = AuditTrails(datastore)
        events = history.page(0, 100)
        steps = Folder(history).steps(events)
        another.record(steps[:7])
        assert pages.step()
        assert not pages.step()
        assert another.position() == player.position
        # Rows that a crash took back are no page of another's.
        later = replace(events[-1], position=player.position + 2)
        with pytest.raises(LostStepsError):
            record_rest(another, [replace(steps[-1], event=later)])
    finally:
        datastore.close()
    assert len(rows_of(database, "audit_trail")) == len(events)
    assert [e.version for e in reader.trail(player.case_id)] == list(range(1, 7))


def test_a_compromise_declared_later_marks_what_followed_it(
    player: Player, reader: ViewReader, database: str, agencies: Agencies
) -> None:
    player.take("xk-dhtqnj", risk())
    kid = signed_action.read(agencies.sign("xk-dhtqnj", risk(), player.case_id)).key_id
    with ViewRunner(database):
        wait_for(reader, player.position)
        since = reader.trail(player.case_id)[1].recorded_at

        def declare(agency: str, action: KeyRevoked | KeyCompromised) -> int:
            signed = agencies.sign(agency, action, None)
            return player.ledger.append_to_registry(signed_action.read(signed)).position

        declare("xk-nac", KeyRevoked(acted_at=PAST, key_id=kid))
        with pytest.raises(Refusal, match="coordinator"):
            declare("me-nac", KeyCompromised(acted_at=PAST, key_id=kid, since=since))
        position = declare("xk-nac", KeyCompromised(acted_at=PAST, key_id=kid, since=since))
        wait_for(reader, position)
    states = [entry.signature for entry in reader.trail(player.case_id)]
    assert states == ["valid, key since revoked", "valid, key compromised then"]
    before = rows_of(database, "audit_trail")
    rebuild(database, "audit_trail")
    # Folded at once or as it came, the trail's own entries tell the same in the end.
    assert {r[0]["signature"] for r in rows_of(database, "audit_trail")} == {  # type: ignore[index]
        r[0]["signature"]
        for r in before  # type: ignore[index]
    }
    assert rows_of(database, "audit_trail") == before


def test_an_unknown_view_is_refused(database: str) -> None:
    with pytest.raises(RebuildError, match="case_views"):
        rebuild(database, "nonsense")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO ledger.events SELECT * FROM ledger.events",
        "DELETE FROM ledger.events",
        "SELECT * FROM vault_xk.disclosures",
        "UPDATE ledger.head SET position = 5",
    ],
)
def test_the_projectors_role_cannot(player: Player, database: str, statement: str) -> None:
    assert player.position
    with psycopg.connect(database) as connection:
        connection.execute("SET ROLE case_ledger_projector")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)  # type: ignore[arg-type]
