"""Something is tried again after the errors that are named, within its bounds."""

import asyncio

import pytest

from ledger.system.backoff import Backoff
from ledger.system.retrying import AT_ONCE, async_retrying, retrying


class Failing:
    """Fails with each of these in turn, then returns how often it was called."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, more: int = 0) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.calls + more


def test_it_is_called_until_it_raises_nothing() -> None:
    once = Failing(OSError(), KeyError("one"))
    assert retrying((OSError, KeyError), attempts=5, backoff=AT_ONCE)(once, 10) == 13


def test_another_error_ends_it_and_so_does_the_last_attempt() -> None:
    once = Failing(OSError(), ValueError("another"), OSError())
    with pytest.raises(ValueError, match="another"):
        retrying(OSError, attempts=5, backoff=AT_ONCE)(once)
    once = Failing(OSError("1"), OSError("2"), OSError("3"))
    with pytest.raises(OSError, match="2"):
        retrying(OSError, attempts=2, backoff=AT_ONCE)(once)
    assert once.calls == 2


def test_no_time_is_one_attempt() -> None:
    once = Failing(OSError("1"))
    with pytest.raises(OSError, match="1"):
        retrying(OSError, seconds=0.0)(once)
    assert once.calls == 1


def test_a_function_tells_after_which_errors() -> None:
    again = retrying(lambda error: str(error) == "again", attempts=3, backoff=AT_ONCE)
    assert again(Failing(ValueError("again"))) == 2
    with pytest.raises(ValueError, match="never"):
        again(Failing(ValueError("never")))


def test_pauses_are_those_of_the_backoff() -> None:
    asked: list[int] = []

    class Noted(Backoff):
        def seconds(self, failures: int) -> float:
            asked.append(failures)
            return 0.0

    wrapped = retrying(OSError, attempts=9, backoff=Noted()).wraps(
        Failing(OSError(), OSError()).__call__
    )
    assert wrapped() == 3
    assert asked == [1, 2]


def test_a_bound_is_needed() -> None:
    with pytest.raises(ValueError, match="bound"):
        retrying(OSError)


def test_a_coroutine_function_is_tried_again_in_the_same_way() -> None:
    once = Failing(OSError(), OSError("2"))

    async def call(more: int) -> int:
        return once(more)

    again = async_retrying(OSError, attempts=3, backoff=AT_ONCE)
    assert asyncio.run(again(call, 10)) == 13
    once.errors = [OSError("1"), OSError("2")]
    with pytest.raises(OSError, match="2"):
        asyncio.run(async_retrying(OSError, attempts=2, backoff=AT_ONCE)(call, 0))
