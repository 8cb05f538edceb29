"""Concurrent appends share a transaction, and none of them is harmed by another."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError

from ledger.application import Ledger, environment
from ledger.events.event_mapper import UnsealedEvent
from ledger.log.merkle import Frontier
from ledger.refusals import Ground, Refusal
from ledger.signing import keys, signed_action
from ledger.signing.signed_action import SignedAction
from ledger.store.database import is_over
from ledger.store.event_rows import Guard, RecordedRow
from ledger.store.group_commit import GroupCommit
from ledger.store.recorder import (
    AppendRequest,
    LedgerRecorder,
    OtherCaseMovedError,
    RegistryMovedError,
    TakenError,
    TimeMovedError,
)
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import CasePrioritised
from ledger.vocabulary.linking import CaseMerged, MergeAccepted, MergeProposed, MergeUndone
from ledger.vocabulary.picklists import Priority
from ledger.vocabulary.registration import KeyRegistered, KeyRevoked
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.waiting import until


def opened(agencies: Agencies, case_id: UUID, agency: str = "xk-dhtqnj") -> SignedAction:
    return signed_action.read(agencies.sign(agency, opening(), case_id))


def prioritised(agencies: Agencies, case_id: UUID) -> SignedAction:
    action = CasePrioritised(acted_at=START, priority=Priority.HIGH)
    return signed_action.read(agencies.sign("xk-nac", action, case_id))


def unsealed(action: SignedAction, version: int) -> UnsealedEvent:
    assert action.case_id is not None
    return UnsealedEvent(action.case_id, version, action.kind, action.sd_jwt.encode(), action.id)


def recorded(ledger: Ledger, action: SignedAction) -> RecordedRow:
    assert action.case_id is not None
    return ledger.append(action, action.case_id, 0)


def check_whole(ledger: Ledger) -> None:
    """Positions have no gap, times never go back, and head and tree are those of the rows."""
    rows = ledger.rows.select_rows(0, 100_000)
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    assert [row.recorded_at for row in rows] == sorted(row.recorded_at for row in rows)
    grown, _ = Frontier().extend(row.leaf_hash for row in rows)
    assert ledger.rows.frontier() == grown


@pytest.fixture
def held(database: str) -> Iterator[Callable[[], None]]:
    """The head is locked by someone else, until the test lets go."""
    with psycopg.connect(database) as connection:
        connection.execute("SELECT FROM ledger.head FOR UPDATE")
        yield connection.commit


def together(
    ledger: Ledger, let_go: Callable[[], None], calls: Sequence[Callable[[], RecordedRow]]
) -> list[RecordedRow | Exception]:
    """Return the results of calls that all wait for the head at once, in the order of the calls."""
    calling: list[threading.Thread] = []
    results: list[RecordedRow | Exception] = [ValueError("no outcome")] * len(calls)

    def run(place: int) -> None:
        try:
            results[place] = calls[place]()
        except Exception as error:
            results[place] = error

    leading = unsealed(opened(Agencies(), uuid4()), 1)
    first = threading.Thread(target=ledger.rows.append, args=([leading],))
    first.start()  # it waits for the head, and the others for it
    until(lambda: ledger.rows._appends._is_led)
    for place in range(len(calls)):
        calling.append(threading.Thread(target=run, args=(place,)))
        calling[-1].start()
        until(lambda: len(ledger.rows._appends._queue) == len(calling))
    let_go()
    for thread in (first, *calling):
        thread.join()
    return results


def test_a_group_gives_each_its_own_outcome() -> None:
    sizes: list[int] = []

    def work(items: Sequence[int]) -> list[int | Exception]:
        sizes.append(len(items))
        time.sleep(0.002)
        return [ValueError(str(item)) if item % 5 == 0 else -item for item in items]

    group: GroupCommit[int, int] = GroupCommit(work, at_most=6)

    def call(item: int) -> bool:
        if item % 5 == 0:
            with pytest.raises(ValueError, match=f"^{item}$"):
                group.call(item)
            return False
        return group.call(item) == -item

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(call, range(1, 201)))
    assert outcomes == [item % 5 != 0 for item in range(1, 201)]
    assert sum(sizes) == 200
    assert 1 < max(sizes) <= 6


def test_an_error_of_the_work_is_every_callers_and_the_next_group_goes_on() -> None:
    broken = True

    def work(items: Sequence[int]) -> list[int]:
        if broken:
            raise OSError("away")
        return list(items)

    group: GroupCommit[int, int] = GroupCommit(work, at_most=10)

    def call(item: int) -> bool:
        with pytest.raises(OSError, match="away"):
            group.call(item)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(40)))
    broken = False
    assert group.call(7) == 7


def test_appends_share_transactions(ledger: Ledger, agencies: Agencies) -> None:
    actions = [opened(agencies, uuid4()) for _ in range(240)]
    groups: list[int] = []
    whole = LedgerRecorder._append_together

    def counted(recorder: LedgerRecorder, proposals: Sequence[AppendRequest]) -> object:
        outcomes = whole(recorder, proposals)
        groups.append(len(outcomes))
        return outcomes

    with (
        patch.object(ledger.rows._appends, "_work", lambda p: counted(ledger.rows, p)),
        ThreadPoolExecutor(24) as pool,
    ):
        receipts = list(pool.map(lambda action: recorded(ledger, action), actions))
    assert sum(groups) == len(actions)
    assert len(groups) < len(actions) / 2
    for action, receipt in zip(actions, receipts, strict=True):
        row = ledger.rows.find_action(action.id)
        assert row is not None
        assert row == receipt
    check_whole(ledger)


def test_a_refusal_in_a_group_harms_no_neighbour(
    ledger: Ledger, agencies: Agencies, held: Callable[[], None]
) -> None:
    one, taken = uuid4(), uuid4()
    again = opened(agencies, one)
    mine, theirs = opened(agencies, taken), opened(agencies, taken)
    well = [opened(agencies, uuid4()) for _ in range(3)]
    sent = [well[0], again, mine, again, theirs, well[1], well[2]]
    outcomes = together(
        ledger,
        held,
        [partial(recorded, ledger, action) for action in sent],
    )
    assert [type(outcome) for outcome in outcomes] == [
        RecordedRow, RecordedRow, RecordedRow, RecordedRow, Refusal, RecordedRow, RecordedRow,
    ]  # fmt: skip
    assert outcomes[1] == outcomes[3]
    refused = outcomes[4]
    assert isinstance(refused, Refusal)
    assert refused.ground in (Ground.STALE, Ground.OUT_OF_PROCEDURE)
    assert ledger.rows.find_action(theirs.id) is None
    check_whole(ledger)


def test_one_group_may_hold_several_actions_on_one_case_alone_if_they_follow(
    ledger: Ledger, agencies: Agencies
) -> None:
    case_id = uuid4()
    events = [unsealed(opened(agencies, case_id), 1), unsealed(prioritised(agencies, case_id), 2)]
    rows = ledger.rows.append(events)
    assert [row.version for row in rows] == [1, 2]
    before = ledger.rows.frontier()
    with pytest.raises(TakenError):
        ledger.rows.append([unsealed(opened(agencies, uuid4()), 1), events[1]])
    assert ledger.rows.frontier() == before
    check_whole(ledger)


def test_a_key_revoked_in_the_same_group_does_not_sign_what_comes_after(
    ledger: Ledger, agencies: Agencies, held: Callable[[], None]
) -> None:
    case_id, later = uuid4(), uuid4()
    before, after = (
        opened(agencies, case_id, "me-border"),
        opened(agencies, later, "me-border"),
    )
    revoked = signed_action.read(
        agencies.sign("me-nac", KeyRevoked(acted_at=PAST, key_id=before.key_id), None)
    )
    outcomes = together(
        ledger,
        held,
        [
            lambda: ledger.append(before, case_id, 0),
            lambda: ledger.append_to_registry(revoked),
            lambda: ledger.append(after, later, 0),
        ],
    )
    assert isinstance(outcomes[0], RecordedRow)
    assert isinstance(outcomes[1], RecordedRow)
    refused = outcomes[2]
    assert isinstance(refused, Refusal)
    assert refused.rule == "revoked-key"
    check_whole(ledger)


def test_a_key_revoked_by_another_process_is_known_at_once(
    ledger: Ledger, database: str, agencies: Agencies
) -> None:
    first, second = uuid4(), uuid4()
    with Ledger(environment(database)) as other:
        ledger.append(opened(agencies, first, "me-border"), first, 0)
        action = opened(agencies, second, "me-border")
        revoked = agencies.sign("me-nac", KeyRevoked(acted_at=PAST, key_id=action.key_id), None)
        other.append_to_registry(signed_action.read(revoked))
        with pytest.raises(Refusal) as refusal:
            ledger.append(action, second, 0)
    assert refusal.value.rule == "revoked-key"
    assert ledger.rows.find_action(action.id) is None


def test_a_registry_that_moved_refuses_its_proposal_alone(
    ledger: Ledger, agencies: Agencies
) -> None:
    registry = ledger.adopted()

    right = Guard(registry.ledger_id, registry.version)
    old = Guard(registry.ledger_id, registry.version - 1)
    proposals = [
        AppendRequest((unsealed(opened(agencies, uuid4()), 1),), guard)
        for guard in (right, old, None)
    ]
    outcomes = ledger.rows._append_together(proposals)
    assert [isinstance(outcome, RegistryMovedError) for outcome in outcomes] == [False, True, False]
    check_whole(ledger)


def test_a_case_that_was_read_and_moved_on_refuses_the_proposal_alone(
    ledger: Ledger, agencies: Agencies
) -> None:
    """Also where it moves on in the same group."""
    other = uuid4()
    ledger.append(opened(agencies, other), other, 0)
    moving = AppendRequest((unsealed(prioritised(agencies, other), 2),))
    read = [
        AppendRequest((unsealed(opened(agencies, uuid4()), 1),), others={other: version})
        for version in (1, 2, 1, 2)
    ]
    outcomes = ledger.rows._append_together([*read[:2], moving, *read[2:]])
    moved = [isinstance(outcome, OtherCaseMovedError) for outcome in outcomes]
    assert moved == [False, True, False, True, False]
    check_whole(ledger)


def test_a_case_ends_by_no_acceptance_that_another_process_has_undone(
    ledger: Ledger, database: str, agencies: Agencies
) -> None:
    ours, theirs, at = "xk-dhtqnj", "me-police-thb", START

    def take(node: Ledger, agency: str, action: Action, case_id: UUID, version: int) -> UUID:
        signed = signed_action.read(agencies.sign(agency, action, case_id))
        node.append(signed, case_id, version)
        return signed.id

    ends, goes_on = uuid4(), uuid4()
    with Ledger(environment(database)) as other:
        take(ledger, ours, opening(("XK",)), ends, 0)
        take(ledger, theirs, opening(("ME",)), goes_on, 0)
        proposed = MergeProposed(
            acted_at=at, addressee=theirs, told=("XK", "ME"), continues_in=goes_on
        )
        proposal = take(ledger, ours, proposed, ends, 1)
        accepted = MergeAccepted(
            acted_at=at, ended_case=ends, proposal=proposal, countries=("XK",), opened_at=START
        )
        acceptance = take(ledger, theirs, accepted, goes_on, 1)
        undone = MergeUndone.model_validate(
            {"acted_at": at, "merge": acceptance, "ground": "another_person"}
        )
        take(other, theirs, undone, goes_on, 2)
        with pytest.raises(Refusal, match="undone"):
            take(
                ledger, ours,
                CaseMerged(acted_at=at, continues_in=goes_on, acceptance=acceptance), ends, 2,
            )  # fmt: skip
    check_whole(ledger)


def test_processes_append_at_once_in_one_order(
    ledger: Ledger, database: str, agencies: Agencies
) -> None:
    """Each with its own idea of the head, which the other moves."""
    with ExitStack() as stack:
        nodes = [ledger, *(stack.enter_context(Ledger(environment(database))) for _ in range(2))]
        actions = [opened(agencies, uuid4()) for _ in range(150)]

        def record(place: int) -> RecordedRow:
            action = actions[place]
            assert action.case_id is not None
            return nodes[place % len(nodes)].append(action, action.case_id, 0)

        with ThreadPoolExecutor(12) as pool:
            receipts = list(pool.map(record, range(len(actions))))
        # What one recorded, another goes on with, whatever it knew of the case.
        for place, action in enumerate(actions[:20]):
            assert action.case_id is not None
            later = nodes[(place + 1) % len(nodes)]
            assert later.append(prioritised(agencies, action.case_id), action.case_id, 1)
            with pytest.raises(Refusal) as refusal:
                nodes[place % len(nodes)].append(
                    prioritised(agencies, action.case_id), action.case_id, 1
                )
            assert refusal.value.ground is Ground.STALE
    assert len({receipt.position for receipt in receipts}) == len(actions)
    check_whole(ledger)


def test_what_comes_while_a_process_waits_for_the_head_joins_its_group(
    ledger: Ledger, database: str, agencies: Agencies, held: Callable[[], None]
) -> None:
    """Two processes wait for the head, each with ten appends: each has one group."""
    with ExitStack() as stack:
        nodes = [ledger, stack.enter_context(Ledger(environment(database)))]
        pool = stack.enter_context(ThreadPoolExecutor(20))
        waiting = []
        for node in nodes:
            node.rows._found_own = 0  # as where another process appended last
            before = node.rows.groups
            actions = [opened(agencies, uuid4()) for _ in range(10)]
            waiting += [pool.submit(recorded, node, action) for action in actions]
            until(lambda rows=node.rows: len(rows._appends._queue) == 9)
        held()
        receipts = [one.result() for one in waiting]
        assert [node.rows.groups for node in nodes] == [before + 1, 1]
        # A group stands together in the order, and has one time.
        assert len({receipt.recorded_at for receipt in receipts}) == 2
    check_whole(ledger)


def test_a_killed_process_lets_go_of_the_head(
    ledger: Ledger, database: str, agencies: Agencies
) -> None:
    """The operating system closes the connection of a killed process, and so the lock is free."""
    killed = psycopg.connect(database)
    killed.execute("SELECT FROM ledger.head FOR UPDATE")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(recorded, ledger, opened(agencies, uuid4()))
        until(lambda: ledger.rows._appends._is_led)
        assert not waiting.done()
        killed.close()  # with its transaction open, as a kill leaves it
        assert waiting.result().position == ledger.head()
    check_whole(ledger)


def test_two_processes_that_append_in_turn_guess_wrong_once(
    ledger: Ledger, database: str, agencies: Agencies
) -> None:
    def take_turns(nodes: Sequence[Ledger], number: int) -> None:
        for place in range(number):
            recorded(nodes[place % len(nodes)], opened(agencies, uuid4()))

    with Ledger(environment(database)) as other:
        take_turns([other, ledger], 40)
        assert ledger.rows.misses + other.rows.misses <= 2
        misses = ledger.rows.misses
        groups = ledger.rows.groups
        take_turns([ledger], 10)  # the other process is silent
        with patch("ledger.store.recorder.begin_at_head") as locking:
            take_turns([ledger], 10)
        assert not locking.called
        assert ledger.rows.misses == misses
        assert ledger.rows.groups == groups + 20
    check_whole(ledger)


def test_the_same_action_sent_by_many_at_once_is_recorded_once(
    ledger: Ledger, agencies: Agencies
) -> None:
    case_id = uuid4()
    action = opened(agencies, case_id)
    with ThreadPoolExecutor(12) as pool:
        receipts = list(pool.map(lambda _: ledger.append(action, case_id, 0), range(36)))
    assert len(set(receipts)) == 1
    check_whole(ledger)


def test_a_connection_that_is_gone_is_made_anew(
    ledger: Ledger, database: str, agencies: Agencies
) -> None:
    case_id, next_case = uuid4(), uuid4()
    ledger.append(opened(agencies, case_id), case_id, 0)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert ledger.append(opened(agencies, next_case), next_case, 0)
    check_whole(ledger)


def test_a_connection_that_ends_under_a_reading_costs_the_caller_nothing(
    ledger: Ledger, database: str, agencies: Agencies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool saw no end of the connection: the server had not got to it yet."""
    ledger.append(opened(agencies, case_id := uuid4()), case_id, 0)
    assert ledger.rows.select_rows(0, 1)
    with psycopg.connect(database, autocommit=True) as connection:
        others = (
            "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        connection.execute(f"SELECT pg_terminate_backend(pid) {others}")
        until(lambda: not connection.execute(f"SELECT {others}").fetchall())
    looked: list[bool] = []

    def is_over_but_at_first(connection: psycopg.Connection[Any]) -> bool:
        looked.append(is_over(connection))
        return looked[-1] and len(looked) > 1

    monkeypatch.setattr("ledger.store.database.is_over", is_over_but_at_first)
    assert ledger.append(opened(agencies, next_case := uuid4()), next_case, 0)
    assert looked[0]
    check_whole(ledger)


def test_a_library_call_raises_what_the_library_does(ledger: Ledger, agencies: Agencies) -> None:
    event = unsealed(opened(agencies, uuid4()), 1)
    assert ledger.rows.insert_events([event]) == [ledger.rows.max_notification_id()]
    with pytest.raises(IntegrityError):
        ledger.rows.insert_events([event])
    assert ledger.rows.insert_events([]) == []


def test_a_key_that_ends_while_its_action_waits_signs_no_event(
    ledger: Ledger, database: str, agencies: Agencies
) -> None:
    short = Agencies(keys={**agencies.keys, "me-border": keys.generate()})
    grant = short.grant("me-border").model_copy(
        update={"valid_until": datetime.now(UTC) + timedelta(seconds=4)}
    )
    registered = agencies.sign("me-nac", KeyRegistered(acted_at=PAST, grant=grant), None)
    ledger.append_to_registry(signed_action.read(registered))
    action = opened(short, uuid4(), "me-border")
    ledger.rows._found_own = 0  # so that it takes the head's lock before it looks at the time
    with psycopg.connect(database) as connection, ThreadPoolExecutor(1) as pool:
        connection.execute("SELECT FROM ledger.head FOR UPDATE")
        waiting = pool.submit(recorded, ledger, action)
        until(lambda: ledger.rows._appends._is_led)
        assert datetime.now(UTC) < grant.valid_until, "the machine is too slow for this test"
        until(lambda: datetime.now(UTC) >= grant.valid_until)
        connection.commit()
        with pytest.raises(Refusal) as refusal:
            waiting.result()
    assert refusal.value.rule == "key-not-valid"
    assert ledger.rows.find_action(action.id) is None


def test_what_holds_for_a_time_is_recorded_before_it_ends(
    ledger: Ledger, agencies: Agencies
) -> None:
    begun = datetime.now(UTC)
    event = unsealed(opened(agencies, uuid4()), 1)
    with pytest.raises(TimeMovedError):
        ledger.rows.append([event], holds_at=lambda at: at < begun)
    assert ledger.rows.append([event], holds_at=lambda at: at >= begun)
    check_whole(ledger)
