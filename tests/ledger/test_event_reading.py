"""An event reads back as it was signed, and a case's history never changes."""

from datetime import UTC, datetime
from random import Random
from threading import Thread
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.events import event_bytes
from ledger.events.act import Act
from ledger.events.event import recorded
from ledger.procedure.case import CaseHistory
from ledger.signing.signed_action import NOT_UNDERSTOOD, Mark, read_recorded
from ledger.vocabulary import CASE_ACTIONS
from tests.support.agencies import Agencies
from tests.support.strategies import actions

NOW = datetime(2026, 1, 5, 8, tzinfo=UTC)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_what_is_read_back_is_what_was_signed(agencies: Agencies, data: st.DataObject) -> None:
    action = data.draw(
        actions(
            data.draw(st.sampled_from(sorted(CASE_ACTIONS))),
            agency_ids=[a.id for a in agencies.protocol.agencies],
            party_codes=agencies.protocol.party_codes,
            known_actions=[uuid4()],
            acted_at=NOW,
        )
    )
    case_id = uuid4()
    signed = agencies.sign("xk-nac", action, case_id).without_disclosures()
    event = recorded(event_bytes.seal(signed, NOW), case_id, 3, 7)
    assert event.action == read_recorded(signed)
    assert (event.originator_id, event.originator_version) == (case_id, 3)
    assert (event.position, event.recorded_at) == (7, NOW)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"recorded_at":"x","sd_jwt":"a"}'])
def test_other_bytes_keep_their_place_and_are_not_understood(content: bytes) -> None:
    event = recorded(content, uuid4(), 1, 1)
    assert event.action.mark is Mark.NOT_UNDERSTOOD
    assert event.as_act().kind == NOT_UNDERSTOOD


def act(version: int) -> Act:
    return Act(
        UUID(int=version), "risk_assessed", UUID(int=0), version, version, "xk-nac", NOW, NOW,
        {}, "", frozenset(),
    )  # fmt: skip


def test_a_history_is_never_changed_by_what_follows_it() -> None:
    random, made = Random(5), {0: (CaseHistory(), list[Act]())}
    for version in range(1, 300):
        history, acts = made[random.choice(list(made))]
        following = act(version)
        made[version] = (history.followed_by(following), [*acts, following])
        if random.random() < 0.3:  # whoever reads makes the index
            asked, _ = made[random.choice(list(made))]
            assert UUID(int=9_999) not in asked
    for history, acts in made.values():
        assert len(history) == len(acts)
        assert list(history.values()) == acts
        assert list(history) == [a.id for a in acts]
        assert all(history[a.id] is a for a in acts)


def test_threads_that_read_one_history_see_all_of_it() -> None:
    wrong: list[int] = []
    for _ in range(20):
        histories = [CaseHistory()]
        for version in range(1, 400):
            histories.append(histories[-1].followed_by(act(version)))

        def read(histories: list[CaseHistory] = histories) -> None:
            order = Random().sample(range(len(histories)), len(histories))
            wrong.extend(n for n in order if len(list(histories[n])) != n)

        threads = [Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
