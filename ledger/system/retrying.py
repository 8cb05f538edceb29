"""The one way to try something again: after which errors, how often, and with which pauses."""

from collections.abc import Callable
from typing import TypedDict

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

AT_ONCE = Backoff(0.0, 0.0)
"""No pause: what failed has changed what the next try begins with."""

After = type[Exception] | tuple[type[Exception], ...] | Callable[[BaseException], bool]
"""The errors after which something is tried again, or a function that tells them."""


class _Bounds(TypedDict):
    """What both kinds of tenacity's classes take."""

    retry: retry_base
    stop: stop_base
    wait: Callable[[RetryCallState], float]
    reraise: bool


def retrying(
    after: After,
    *,
    attempts: int | None = None,
    seconds: float | None = None,
    backoff: Backoff = USUAL,
) -> Retrying:
    """Return what calls a function until it raises nothing, at most so often, or for so long.

    Then it raises the function's last error. At least one bound is to be given. It is called with
    the function and its arguments; its ``wraps`` decorates a function.
    """
    return Retrying(**_bounds(after, attempts, seconds, backoff))


def async_retrying(
    after: After,
    *,
    attempts: int | None = None,
    seconds: float | None = None,
    backoff: Backoff = USUAL,
) -> AsyncRetrying:
    """Return the same as :func:`retrying`, for a coroutine function."""
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
