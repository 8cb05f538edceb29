"""Cases at moments: as known and as valid, by a second fold; what differs, and why."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.events.act import Act
from ledger.procedure.agreement import Agreement
from ledger.procedure.protocol import shipped_protocol
from projections.folds.state_json import state_document
from projections.time.bitemporal import Moment, acts_at, beginning_of, corrections_at, state_at
from projections.time.case_diff import Because, difference
from tests.support.simple_fold import annulled, simple_fold, told_of
from tests.support.walks import START, walks

PROTOCOL = shipped_protocol()
CASES = int(os.environ.get("CASE_LEDGER_TEST_CASES", "5"))
LIMITS = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
Acts = tuple[Act, ...]


def standing(acts: Acts) -> Acts:
    gone = annulled(acts)
    return tuple(act for act in acts if str(act.id) not in gone)


@LIMITS
@given(acts=walks(PROTOCOL))
def test_as_known_is_a_fold_of_what_was_recorded_by_then(acts: Acts) -> None:
    for count in range(len(acts) + 1):
        known = acts[:count]
        expected = simple_fold(standing(known), PROTOCOL)
        position = known[-1].position if known else 0
        for moment in (
            Moment(position=position),
            Moment(position=position + 2),  # other cases' events lie between
            Moment(time=known[-1].recorded_at if known else START),
        ):
            assert told_of(state_at(acts, Agreement.of(PROTOCOL), moment)) == expected


@LIMITS
@given(acts=walks(PROTOCOL), data=st.data())
def test_as_valid_is_a_fold_of_what_had_happened_by_then(acts: Acts, data: st.DataObject) -> None:
    for _ in range(6):
        known = acts[: data.draw(st.integers(0, len(acts)))]
        valid_at = START + timedelta(hours=data.draw(st.integers(-10, 45)))
        happened = sorted(
            (act for act in standing(known) if act.acted_at <= valid_at),
            key=lambda act: (act.kind != "case_opened", act.acted_at, act.position),
        )
        opened = happened and happened[0].kind == "case_opened"
        expected = simple_fold(happened, PROTOCOL) if opened else None
        moment = Moment(position=known[-1].position if known else 0, valid_at=valid_at)
        state = state_at(acts, Agreement.of(PROTOCOL), moment)
        assert told_of(state) == expected
        if state is not None:
            assert state.version == max(act.version for act in happened)
            assert state.position == max(act.position for act in happened)
            assert state.last_recorded_at == max(act.recorded_at for act in happened)


def put(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, name = path.strip("/").split("/")
    for parent in parents:
        document = document.setdefault(parent, {})
    if value is None:
        document.pop(name, None)
    else:
        document[name] = value


def without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: without_nothing(part) for name, part in value.items()}
        return {name: part for name, part in kept.items() if part not in (None, {})}
    return value


@LIMITS
@given(acts=walks(PROTOCOL), data=st.data())
def test_differences_lead_from_one_moment_to_the_other(acts: Acts, data: st.DataObject) -> None:
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, 3 * len(acts) + 1)] * 2)))
    before, after = Moment(position=first), Moment(position=last)
    found = difference(
        acts[0].case_id if acts else START_ID, acts, Agreement.of(PROTOCOL), before, after
    )
    document = state_document(state_at(acts, Agreement.of(PROTOCOL), before))
    for one in found.differences:
        put(document, one.path, one.after)
    expected = state_document(state_at(acts, Agreement.of(PROTOCOL), after))
    assert without_nothing(document) == without_nothing(expected)
    between = [act.position for act in acts if first < act.position <= last]
    assert [event.position for event in found.events] == between
    assert all(event.because is Because.CAME for event in found.events)
    for one in found.differences:
        assert one.reasons, one.path
        assert set(one.reasons) <= set(between)


@LIMITS
@given(acts=walks(PROTOCOL), data=st.data())
def test_what_became_known_of_a_day_is_told_with_its_reasons(
    acts: Acts, data: st.DataObject
) -> None:
    if not acts:
        return
    day = START + timedelta(hours=data.draw(st.integers(1, 45)))
    known = data.draw(st.integers(1, len(acts)))
    before = Moment(position=acts[known - 1].position, valid_at=day)
    after = Moment(valid_at=day)
    found = difference(acts[0].case_id, acts, Agreement.of(PROTOCOL), before, after)
    told = {event.action_id: event.because for event in found.events}
    was = {act.id for act in acts_at(acts, before)}
    is_now = {act.id for act in acts_at(acts, after)}
    assert told == dict.fromkeys(is_now - was, Because.CAME) | dict.fromkeys(
        was - is_now, Because.WENT
    )
    if not told:
        assert found.differences == ()
    gone = {str(action) for action, because in told.items() if because is Because.WENT}
    assert gone <= annulled(acts)


START_ID = shipped_protocol().ledger_id


@LIMITS
@given(acts=walks(PROTOCOL))
def test_corrections_are_shown_whether_they_were_known_or_not(acts: Acts) -> None:
    for count in range(len(acts) + 1):
        moment = Moment(position=acts[count - 1].position if count else 0)
        shown = corrections_at(acts, moment)
        known = {str(act.id) for act in acts[:count]}
        corrections = [act for act in acts if act.kind == "correction"]
        assert [one.correction for one in shown] == [
            act.id for act in corrections if act.fields["corrects"] in known
        ]
        for one in shown:
            assert one.known_then == (str(one.correction) in known)


@pytest.mark.parametrize("text", ["yesterday", "2026-02-30", "2026-02-10T12:00:00", "-3", ""])
def test_a_moment_says_how_it_is_written(text: str) -> None:
    with pytest.raises(ValueError, match=r"moment|offset"):
        Moment.parse(text)


def test_a_day_begins_and_ends_at_midnight_of_the_country() -> None:
    began = beginning_of("2026-03-29", ZoneInfo("Europe/Tirane"))
    assert began == datetime(2026, 3, 28, 23, tzinfo=UTC)
    day = Moment.parse("now", "2026-03-29", ZoneInfo("Europe/Tirane")).valid_at
    assert day == datetime(2026, 3, 29, 21, 59, 59, 999999, tzinfo=UTC)  # summer time began
    assert Moment.parse("2026-02-10").time == datetime(2026, 2, 10, 23, 59, 59, 999999, tzinfo=UTC)


def test_a_moment_is_a_position_or_a_time() -> None:
    assert Moment.parse("12") == Moment(position=12)
    assert Moment.parse("now") == Moment()
    at = Moment.parse("2026-02-10T12:00:00+01:00", "2026-02-09T00:00:00Z")
    assert at.time is not None
    assert at.time.isoformat() == "2026-02-10T12:00:00+01:00"
    assert at.valid_at is not None
