"""Elapsed time is counted from cosignatures of witnesses, not from a clock that jumps."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.log.cosigned_times import (
    LONGEST_STEP,
    CosignedTimes,
    DatedCheckpoint,
    counted,
    uncontradicted,
)
from tests.support.cosigned import policy

DAY = timedelta(days=1)
YEAR = timedelta(days=365)
START = datetime(2026, 1, 5, 8, tzinfo=UTC)
GRACE = timedelta(days=30)


def seen(
    times: Iterable[datetime],
    names: Sequence[str] = ("XK", "ME"),
    *,
    own: frozenset[str] = frozenset(),
    threshold: int | None = None,
) -> CosignedTimes:
    """Checkpoints of sizes 1, 2, …, each cosigned by all at one time."""
    dated = [DatedCheckpoint(n, dict.fromkeys(names, time)) for n, time in enumerate(times, 1)]
    return CosignedTimes(dated, policy(*names, threshold=threshold), own)


def passed(times: CosignedTimes, not_before: datetime = START) -> bool:
    return times.have_passed(GRACE, after_position=1, not_before=not_before)


def daily(days: int, start: datetime = START) -> list[datetime]:
    return [start + n * DAY for n in range(days + 1)]


def test_days_that_pass_count() -> None:
    assert not passed(seen(daily(29)))
    assert passed(seen(daily(30)))
    assert not passed(seen(daily(30)), START + 31 * DAY)
    hourly = [START + n * timedelta(hours=1) for n in range(30 * 24 + 1)]
    assert passed(seen(hourly))
    assert not passed(seen(hourly[:-1]))


def test_what_came_before_the_announcement_does_not_count() -> None:
    times = seen(daily(40))
    assert times.have_passed(GRACE, after_position=11, not_before=START)
    assert not times.have_passed(GRACE, after_position=12, not_before=START)


def test_a_clock_that_jumps_a_year_ahead_gains_one_step_while_it_is_there() -> None:
    jumped = [*daily(3), START + 3 * DAY + YEAR]
    assert counted(uncontradicted(jumped)) == 3 * DAY + LONGEST_STEP
    assert not passed(seen(jumped))
    # Minutes later it is set right, and what it said is contradicted.
    back = [*jumped, START + 3 * DAY]
    assert counted(uncontradicted(back)) == 3 * DAY


def test_a_clock_that_jumps_forth_and_back_all_the_time_gains_nothing() -> None:
    wild = [START + timedelta(minutes=n) + (YEAR if n % 2 else timedelta()) for n in range(500)]
    assert counted(uncontradicted(wild)) < 2 * DAY
    assert not passed(seen(wild), START)


def test_a_clock_that_was_a_year_behind_for_a_while_delays_and_does_not_stop() -> None:
    behind = [*daily(20), START + 20 * DAY - YEAR, *daily(50)[21:]]
    assert not passed(seen(behind[:40]))
    assert passed(seen(behind))


def test_silence_counts_for_one_step() -> None:
    assert not passed(seen([START, START + YEAR]))
    assert passed(seen([START, *daily(30, START + YEAR)]))


@given(
    st.lists(
        st.tuples(st.integers(0, 24), st.sampled_from((0, 0, 0, 3, -3, 3600, -3600, 1, -1))),
        min_size=1,
        max_size=60,
    )
)
def test_no_jumping_clock_makes_more_than_one_step_out_of_no_time(
    steps: list[tuple[int, int]],
) -> None:
    """Each step: so many hours pass, and the clock is off by seconds, an hour, or a year."""
    now, told = START, []
    for hours, off in steps:
        now += timedelta(hours=hours)
        told.append(now + (off * YEAR if abs(off) == 1 else timedelta(seconds=off)))
    kept = uncontradicted(told)
    assert kept == sorted(kept)
    assert kept[-1] == told[-1]
    # However it jumped: what counts is true time, one step for where it stands now, and one for
    # where it stood first.
    assert counted(kept) <= (now - START) + 2 * LONGEST_STEP + timedelta(hours=2)


def test_a_quorum_must_agree_and_another_nodes_witness_in_it() -> None:
    ahead = [*daily(30)]
    dated = [
        DatedCheckpoint(n, {"XK": time, "ME": START, "AL": START})
        for n, time in enumerate(ahead, 1)
    ]
    own = frozenset({"XK"})
    for threshold in (1, 2, 3):
        times = CosignedTimes(dated, policy("XK", "ME", "AL", threshold=threshold), own)
        assert not passed(times)
        assert times.now == START
    both = [DatedCheckpoint(d.size, {**d.times, "ME": d.times["XK"]}) for d in dated]
    assert passed(CosignedTimes(both, policy("XK", "ME", "AL", threshold=2), own))
    assert not passed(CosignedTimes(both, policy("XK", "ME", "AL"), own))
    # A node that holds every witness has no other to ask.
    assert passed(seen(daily(30), own=frozenset({"XK", "ME"})))


def test_without_witnesses_no_time_passes() -> None:
    unwitnessed = CosignedTimes([DatedCheckpoint(1, {})], policy())
    assert not passed(unwitnessed)
    assert unwitnessed.now is None
    assert not unwitnessed.have_been_after(START, timedelta())


@pytest.mark.parametrize("jumped", [[], [START + YEAR], [START + YEAR, START]])
def test_a_period_must_have_been_over_for_the_days_of_grace(jumped: list[datetime]) -> None:
    """The rules here have no announcement."""
    over = START + 10 * DAY
    assert not seen([START, *jumped]).have_been_after(over, GRACE)
    assert not seen([*daily(38), *jumped]).have_been_after(over, GRACE)
    assert seen([*daily(10), *jumped, *daily(45)[11:]]).have_been_after(over, GRACE)
