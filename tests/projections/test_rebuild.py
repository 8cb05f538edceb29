"""Whatever was recorded: a rebuild writes, byte for byte, the rows that following wrote."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg.sql import SQL, Identifier

from ledger.application import Ledger, environment
from ledger.events.event import ActionRecorded, recorded
from ledger.events.event_mapper import UnsealedEvent
from ledger.procedure.case import Case, decide
from ledger.procedure.protocol import Protocol
from ledger.procedure.registry import Registry, SignatureState, applied
from ledger.refusals import Refusal
from ledger.signing import keys, sd_jwt
from ledger.signing.signed_action import read_recorded
from ledger.store.copy_reader import rows_by_case, rows_by_position, rows_of
from ledger.store.database import APP_ROLE, set_role
from ledger.store.datastore import LedgerDatastore
from ledger.vocabulary import Action
from ledger.vocabulary.registration import (
    KeyCompromised,
    KeyRegistered,
    KeyRevoked,
    NamedCheckpoint,
)
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_folder import CaseStep, Folder
from projections.folds.case_view import CaseDocuments, CaseView, viewers
from projections.folds.state_json import StateDocuments, state_document
from projections.tables.all_views import VIEWS
from projections.tables.view import PROJECTOR_ROLE, EventHistory
from projections.upkeep import rebuild as rebuilding
from projections.upkeep import runner
from projections.upkeep.rebuild import RebuildError, rebuild, rebuild_views
from projections.upkeep.runner import PageFolder
from tests.support.actions import opening
from tests.support.agencies import PAST, Agencies
from tests.support.amending import acceptance, proposal, random_amendment
from tests.support.databases import new_database
from tests.support.strategies import proposals
from tests.support.views import rows_of as view_rows
from tests.support.waiting import until

LEDGERS = int(os.environ.get("CASE_LEDGER_TEST_LEDGERS", "2"))
STEPS = 50
START = datetime(2026, 1, 5, 8, tzinfo=UTC)


@dataclass
class Recorder:
    """Records what no rule would refuse or accept: by any key, on any of a few cases."""

    ledger: Ledger
    agencies: Agencies
    registry: Registry
    cases: dict[UUID, Case | None] = field(default_factory=lambda: {uuid4(): None for _ in "1234"})
    versions: dict[UUID, int] = field(default_factory=dict)

    def put(self, agency: str, action: Action, case_id: UUID, how: str = "own") -> ActionRecorded:
        """Record an action signed with the agency's ``own`` key, or otherwise."""
        signer = "me-nac" if how == "another's" and agency != "me-nac" else agency
        signed = self.agencies.sign(signer, action, None if self._is_registry(case_id) else case_id)
        text = signed.without_disclosures()
        if signer != agency:
            text = _by_another(text, agency)
        elif how == "broken":
            text = _broken(text)
        elif how == "new":
            key = keys.generate()
            text = sd_jwt.issue(
                {"typ": "case-action+sd-jwt", "kid": keys.key_id(key)}, signed.payload, (), key
            ).without_disclosures()
        read = read_recorded(text)
        version = self.versions.get(case_id, 0) + 1
        self.versions[case_id] = version
        event = UnsealedEvent(case_id, version, read.kind, text.encode(), read.id)
        (position,) = self.ledger.rows.insert_events([event]) or ()
        (row,) = self.ledger.rows.select_positions([position])
        made = recorded(row.state, case_id, version, position)
        if self._is_registry(case_id):
            self.registry, _ = applied(self.registry, made)
        else:
            project = Case.projector(self.registry.agreement)
            self.cases[case_id] = project(self.cases[case_id], [made])
        return made

    def amend(self, text: Protocol) -> ActionRecorded:
        """Every party adopts a text."""
        ledger_id = self.agencies.protocol.ledger_id
        event = self.put("xk-nac", proposal(text), ledger_id)
        tree = self.ledger.rows.tree()
        named = NamedCheckpoint(size=tree.size, root=tree.root().hex())
        for agency in ("me-nac", "al-nac"):
            self.put(agency, acceptance(event.action.id, text, named), ledger_id)
        return event

    def _is_registry(self, case_id: UUID) -> bool:
        return case_id == self.agencies.protocol.ledger_id


def _by_another(text: str, agency: str) -> str:
    """The same claims in another agency's name; the key stays the signer's."""
    return text.replace(*(_claims_of(text, agency)))


def _claims_of(text: str, agency: str) -> tuple[str, str]:
    parsed = sd_jwt.parse(text)
    encoded = text.split(".")[1]
    key = keys.generate()
    issued = sd_jwt.issue(parsed.header, {**parsed.payload, "iss": agency}, (), key)
    return encoded, issued.jwt.split(".")[1]


def _broken(text: str) -> str:
    head, _, signature = text.rpartition(".")
    return f"{head}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


def record_anything(data: st.DataObject, ledger: Ledger, agencies: Agencies) -> Recorder:
    """A ledger of a few cases, with keys that come, go, and turn out to be compromised."""
    registry = ledger.adopted()
    recorder = Recorder(ledger, agencies, registry)
    recorder.versions[registry.ledger_id] = registry.version
    known, times = list(registry.keys), [START]
    now = START
    for _ in range(STEPS):
        now += timedelta(hours=1)
        if data.draw(st.integers(0, 7), label="registry") == 7:
            kind = data.draw(st.sampled_from(("revoke", "compromise", "register", "amend")))
            coordinator = "xk-nac"
            kid = data.draw(st.sampled_from(known))
            ledger_id = agencies.protocol.ledger_id
            if kind == "amend":
                newest = recorder.registry.agreement.latest.protocol
                event = recorder.amend(random_amendment(data, newest))
                times.append(event.recorded_at or START)
                continue
            if kind == "register":
                key = keys.generate()
                grant = agencies.grant("xk-dhtqnj", key)
                action: Action = KeyRegistered(acted_at=PAST, grant=grant)
                agencies.keys["xk-dhtqnj"] = key
                known.append(keys.key_id(key))
                # Signed before anyone registers it.
                for case_id in islice(recorder.cases, 2):
                    _propose(data, recorder, case_id, now, by="xk-dhtqnj")
            elif kind == "revoke":
                action = KeyRevoked(acted_at=PAST, key_id=kid)
            else:
                since = data.draw(st.sampled_from(times))
                action = KeyCompromised(acted_at=PAST, key_id=kid, since=since)
            event = recorder.put(coordinator, action, ledger_id)
        else:
            case_id = data.draw(st.sampled_from(list(recorder.cases)), label="case")
            how = data.draw(st.sampled_from(("own",) * 12 + ("another's", "broken", "new")))
            event = _propose(data, recorder, case_id, now, how=how)
        assert event.recorded_at is not None
        times.append(event.recorded_at)
    return recorder


def _propose(
    data: st.DataObject,
    recorder: Recorder,
    case_id: UUID,
    now: datetime,
    *,
    how: str = "own",
    by: str | None = None,
) -> ActionRecorded:
    """Something that the rules allow in the case as it is, but for the key."""
    case, protocol = recorder.cases[case_id], recorder.registry.agreement.latest.protocol
    earlier = list(case.history)[-9:] if case else []
    while True:
        agency, action = data.draw(
            proposals(case.state if case else None, protocol, earlier, now), label="proposal"
        )
        try:
            signed = read_recorded(
                recorder.agencies.sign(agency, action, case_id).without_disclosures()
            )
            decide(case, signed, case_id, protocol, now)
        except (Refusal, KeyError):
            continue
        return recorder.put(by or agency, action, case_id, how)


def follow(database: str, pages: Sequence[int]) -> None:
    """Follow into the live views, in pages of so many events."""
    datastore = LedgerDatastore(database, pool_size=3, role=PROJECTOR_ROLE)
    try:
        for view_class in VIEWS.values():
            view, history = view_class(datastore), EventHistory(datastore)
            folder, position = Folder(history, keep=2), 0
            while position < history.head():
                events = history.page(position, pages[position % len(pages)])
                view.record(folder.steps(events))
                position = view.position()
    finally:
        datastore.close()


@contextmanager
def new_ledger(server: str, migrated: str) -> Iterator[tuple[str, Ledger, Agencies]]:
    agencies = Agencies()
    with new_database(server, migrated) as database, Ledger(environment(database)) as ledger:
        agencies.begin(ledger)
        yield database, ledger, agencies


def test_rebuilt_rows_are_those_that_following_wrote(server: str, migrated: str) -> None:
    seen: set[str] = set()
    left: list[bool] = []

    @settings(
        max_examples=LEDGERS,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def each_ledger(data: st.DataObject) -> None:
        with new_ledger(server, migrated) as (database, ledger, agencies):
            recorder = record_anything(data, ledger, agencies)
            follow(database, pages=(1,))
            followed = {name: view_rows(database, name) for name in VIEWS}
            check_documents(database)
            rebuild_views(database, processes=0)
            assert {name: view_rows(database, name) for name in VIEWS} == followed
            with psycopg.connect(database) as connection:
                for table in (*VIEWS, "tracking"):
                    connection.execute(f"TRUNCATE views.{table}".encode())
            follow(database, pages=(1, 7, 30))
            assert {name: view_rows(database, name) for name in VIEWS} == followed
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(rebuilding, "_PART", 10)
                rebuild_views(database, processes=2)
            assert {name: view_rows(database, name) for name in VIEWS} == followed
            seen.update(row[0]["signature"] for row in followed["audit_trail"])  # type: ignore[index]
            left.append(any(case is not None for case in recorder.cases.values()))

    each_ledger()
    # All this would hold of nothing.
    assert all(left)
    assert len(seen) >= min(LEDGERS + 1, len(SignatureState) - 1), seen


def check_documents(database: str) -> None:
    """Documents are what the models say: no field more or less, each in its one form."""
    datastore = LedgerDatastore(database, pool_size=2, role=PROJECTOR_ROLE)
    try:
        history = EventHistory(datastore)
        folder, documents = Folder(history), StateDocuments(keep=1)
        for step in folder.steps(history.page(0, 10_000)):
            if not isinstance(step, CaseStep):
                continue
            assert step.after is not None
            state = step.after.state
            dumped = state.model_dump(mode="json")
            for own in ("version", "position", "last_recorded_at"):
                del dumped[own]
            made = documents.of(state)
            assert made == dumped == state_document(state)
            assert list(made) == list(dumped)
            for viewer in viewers(state):
                shown = CaseDocuments(state, step.registry.agreement, step.after.history, made).of(
                    viewer
                )
                assert CaseView.model_validate(shown).model_dump(mode="json") == shown
    finally:
        datastore.close()
    for (row,) in view_rows(database, "audit_trail"):
        document = row["document"]  # type: ignore[index]
        assert TrailEntry.model_validate(document).model_dump(mode="json") == document


@pytest.fixture
def followed(server: str, migrated: str) -> Iterator[str]:
    """A database with some cases, followed to the end."""
    with new_ledger(server, migrated) as (database, ledger, agencies):
        recorder = Recorder(ledger, agencies, ledger.adopted(), {uuid4(): None for _ in range(30)})
        for case_id in recorder.cases:
            recorder.put("xk-dhtqnj", opening(), case_id)
        follow(database, pages=(100,))
        yield database


def test_a_rebuild_whose_process_is_killed_leaves_the_live_views(
    followed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: view_rows(followed, name) for name in VIEWS}
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def starting(*args: object, **kwargs: object) -> "subprocess.Popen[bytes]":
        started.append(start(*args, **kwargs))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(rebuilding, "_PART", 5)
    monkeypatch.setattr(rebuilding.subprocess, "Popen", starting)
    with pytest.raises(RebuildError, match="ended"):
        rebuild_views(followed, progress=lambda *_: started[0].kill(), processes=2)
    assert {name: view_rows(followed, name) for name in VIEWS} == before
    assert all(process.returncode is not None for process in started)
    monkeypatch.setattr(rebuilding.subprocess, "Popen", start)
    rebuild_views(followed, processes=2)
    assert {name: view_rows(followed, name) for name in VIEWS} == before


def test_a_killed_rebuild_can_be_run_again(followed: str) -> None:
    before = {name: view_rows(followed, name) for name in VIEWS}
    program = (
        "import os, signal, sys; from projections.upkeep import rebuild as r; r._PART = 5\n"
        "def kill(done, of):\n"
        "    if done: os.kill(os.getpid(), signal.SIGKILL)\n"
        "r.rebuild_views(sys.argv[1], progress=kill, processes=2)"
    )
    killed = subprocess.run([sys.executable, "-c", program, followed], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert {name: view_rows(followed, name) for name in VIEWS} == before

    def rebuilt() -> bool:
        try:
            rebuild_views(followed)
        except RebuildError as error:
            assert "already" in str(error)  # noqa: PT017  its processes may be just ending
            return False
        return True

    until(rebuilt)
    assert {name: view_rows(followed, name) for name in VIEWS} == before


def test_two_rebuilds_of_a_view_do_not_meet(followed: str) -> None:
    def again(*_: object) -> None:
        with pytest.raises(RebuildError, match="already"):
            rebuild(followed, "case_views")

    rebuild(followed, "case_views", again, processes=0)


def test_a_ledger_with_a_gap_is_not_swapped_in(followed: str) -> None:
    before = view_rows(followed, "case_views")
    with psycopg.connect(followed) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM ledger.events WHERE notification_id = 40")
    with pytest.raises(RebuildError, match="could be folded"):
        rebuild_views(followed)
    assert view_rows(followed, "case_views") == before


def test_streams_give_each_row_once_in_their_order(followed: str) -> None:
    with psycopg.connect(followed) as connection:
        set_role(connection)
        rows = list(rows_by_position(connection))
        assert [row.position for row in rows] == list(range(1, len(rows) + 1))
        assert list(rows_by_position(connection, after=3, upto=9)) == rows[3:9]
        opened = list(rows_by_position(connection, kinds=("case_opened",)))
        assert opened == [row for row in rows if row.kind == "case_opened"]
        by_case = sorted(rows, key=lambda row: (row.originator_id.bytes, row.version))
        assert list(rows_by_case(connection, upto=len(rows))) == by_case
        middle = by_case[len(by_case) // 2].originator_id
        parts = [
            *rows_by_case(connection, upto_case=middle, upto=len(rows)),
            *rows_by_case(connection, above=middle, upto=len(rows)),
        ]
        assert parts == by_case
        one = rows[0].originator_id
        assert list(rows_of(connection, one, upto=5)) == rows[:5]
        # Whoever needs no more of it lets go of it, and the connection is free again.
        assert next(rows_by_position(connection)) == rows[0]
        assert len(list(rows_by_position(connection))) == len(rows)


def has_statistics(database: str) -> Mapping[str, bool]:
    """Tell of each view's live rows whether the planner has looked at them."""
    with psycopg.connect(database) as connection:
        found = connection.execute(
            "SELECT p.name, EXISTS (SELECT FROM pg_stats s WHERE s.schemaname = 'views'"
            "   AND s.tablename = p.name || '_' || p.live_slot AND s.attname = 'slot')"
            " FROM views.projections p WHERE p.name = ANY(%s)",
            (list(VIEWS),),
        ).fetchall()
    return dict(found)


def test_the_planner_looks_at_rebuilt_rows(followed: str) -> None:
    filled = [name for name in VIEWS if view_rows(followed, name)]
    assert set(filled) >= {"case_views", "audit_trail", "obligations"}
    assert not any(has_statistics(followed).values())
    rebuild_views(followed, processes=0)
    assert all(has_statistics(followed)[name] for name in filled)


def test_the_planner_looks_at_what_was_followed(
    followed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = [name for name in VIEWS if view_rows(followed, name)]
    with psycopg.connect(followed, autocommit=True) as connection:
        connection.execute("DELETE FROM views.tracking")
        for name in VIEWS:
            connection.execute(SQL("DELETE FROM views.{}").format(Identifier(VIEWS[name].table)))
    monkeypatch.setattr(runner, "LEAST_RENEWED", 20)
    datastore = LedgerDatastore(followed, pool_size=2, role=PROJECTOR_ROLE)
    try:
        pages = PageFolder(datastore, VIEWS.values())
        while pages.step():
            pass
    finally:
        datastore.close()
    assert all(has_statistics(followed)[name] for name in filled)


def test_a_projector_renews_statistics_of_views_alone(followed: str) -> None:
    with psycopg.connect(followed, autocommit=True) as connection:
        connection.execute(SQL("SET ROLE {}").format(Identifier(PROJECTOR_ROLE)))
        for table in ("events", "projections; DROP TABLE views.tracking", "obligations"):
            with pytest.raises(psycopg.errors.UndefinedTable):
                connection.execute("SELECT views.renew_statistics(%s)", (table,))
        connection.execute("RESET ROLE")
        connection.execute(SQL("SET ROLE {}").format(Identifier(APP_ROLE)))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT views.renew_statistics('obligations_a')")
