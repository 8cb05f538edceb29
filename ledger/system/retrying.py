"""The one way to try something again: after which errors, how often, and with which pauses."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ParamSpec, TypedDict, TypeVar, cast

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    stop_any,
)
from tenacity.retry import retry_base
from tenacity.stop import stop_base

from ledger.system.backoff import USUAL, Backoff

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE = Backoff(0.0, 0.0)
"""No pause: what failed has changed what the next try begins with."""

After = type[Exception] | tuple[type[Exception], ...] | Callable[[BaseException], bool]
"""The errors after which something is tried again, or a function that tells them."""


class _Bounds(TypedDict):
    """The arguments that both kinds of tenacity's classes take."""

    retry: retry_base
    stop: stop_base
    wait: Callable[[RetryCallState], float]
    reraise: bool


@dataclass(frozen=True, slots=True)
class Retry:
    """Calls a function until it raises nothing, within bounds. Then it raises the last error.

    A call that does not fail costs nothing more.
    """

    after: After
    attempts: int | None
    seconds: float | None
    backoff: Backoff

    def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function with its arguments."""
        try:
            return function(*args, **kwargs)
        except Exception as error:
            failed: list[Exception] = [error]

        def again() -> T:
            if failed:  # the first attempt is the one above
                raise failed.pop()
            return function(*args, **kwargs)

        return Retrying(**_bounds(self.after, self.attempts, self.seconds, self.backoff))(again)

    def wraps(self, function: Callable[P, T]) -> Callable[P, T]:
        """Return the function, so that each call of it is made in this way.

        Each call of a coroutine function is awaited before it counts as made.
        """
        if inspect.iscoroutinefunction(function):
            return cast("Callable[P, T]", self._awaited(function))

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> T:
            return self(function, *args, **kwargs)

        return called

    def _awaited(self, function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @functools.wraps(function)
        async def called(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return await function(*args, **kwargs)
            except Exception as error:
                failed: list[Exception] = [error]

            async def again() -> T:
                if failed:  # the first attempt is the one above
                    raise failed.pop()
                return await function(*args, **kwargs)

            bounds = _bounds(self.after, self.attempts, self.seconds, self.backoff)
            return await AsyncRetrying(**bounds)(again)

        return called


def retrying(
    after: After,
    *,
    attempts: int | None = None,
    seconds: float | None = None,
    backoff: Backoff = USUAL,
) -> Retry:
    """Return a retry after these errors, at most so often, or for so long.

    Raises ``ValueError`` if no bound is given.
    """
    _bounds(after, attempts, seconds, backoff)
    return Retry(after, attempts, seconds, backoff)


def async_retrying(
    after: After,
    *,
    attempts: int | None = None,
    seconds: float | None = None,
    backoff: Backoff = USUAL,
) -> AsyncRetrying:
    """Return a retry for a coroutine function, as :func:`retrying` does for a function."""
    return AsyncRetrying(**_bounds(after, attempts, seconds, backoff))


def _bounds(after: After, attempts: int | None, seconds: float | None, backoff: Backoff) -> _Bounds:
    bounds: list[stop_base] = []
    if attempts is not None:
        bounds.append(stop_after_attempt(attempts))
    if seconds is not None:
        bounds.append(stop_after_delay(seconds))
    if not bounds:
        raise ValueError("trying again needs a bound")
    return _Bounds(
        retry=(
            retry_if_exception_type(after)
            if isinstance(after, type | tuple)
            else retry_if_exception(after)
        ),
        stop=stop_any(*bounds),
        wait=lambda state: backoff.seconds(state.attempt_number),
        reraise=True,
    )
