"""Pauses between looks: short at first, longer as a wait goes on, and never shorter than a look."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest

from ledger.system import polling
from ledger.system.polling import Polling


class Watch:
    """A clock that goes on where something takes or waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def watch() -> Iterator[Watch]:
    with patch.object(polling, "time", made := Watch()):
        yield made


def test_a_short_wait_is_noticed_at_once(watch: Watch) -> None:
    waiting = Polling()
    for _ in range(5):
        waiting.pause()
    assert waiting.waited == pytest.approx(0.1)
    assert watch.now == pytest.approx(1000.1)


@pytest.mark.parametrize("seconds", [1.0, 5.0, 60.0])
def test_a_long_wait_takes_few_looks_and_at_most_a_tenth_more(watch: Watch, seconds: float) -> None:
    waiting, looks = Polling(), 0
    while waiting.waited < seconds:
        waiting.pause()
        looks += 1
    assert waiting.waited <= 1.1 * seconds + 0.02
    assert looks <= 40 + 2 * seconds
    assert watch.now > 1000.0 + seconds


def test_a_look_takes_at_most_half_of_the_time(watch: Watch) -> None:
    waiting = Polling()
    for _ in range(20):
        watch.now += 0.08  # the look itself
        before = watch.now
        waiting.pause()
        assert watch.now - before >= 0.079


def test_no_pause_is_longer_than_the_longest(watch: Watch) -> None:
    waiting = Polling(longest=0.3)
    watch.now += 1000.0
    assert waiting.next_pause() == 0.3
    assert Polling(shortest=2.0).next_pause() == 2.0
