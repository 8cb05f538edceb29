"""The one wait of the tests: for a condition, with a long limit, and never for a fixed time."""

from collections.abc import Callable
from typing import TypeVar

import httpx

from ledger.system.polling import Polling

T = TypeVar("T")

SECONDS = 120.0
"""So long a test waits for what a loaded machine does late."""


def until(
    holds: Callable[[], T | None],
    what: str | Callable[[], object] = "it did not come about",
    *,
    seconds: float = SECONDS,
    every: float = 0.02,
    while_raises: type[Exception] | tuple[type[Exception], ...] = httpx.TransportError,
) -> T:
    """Return what ``holds`` returns, once that is true.

    The first pause between two calls is ``every``, in seconds; in a long wait, pauses grow.
    ``holds`` is called again where it raises ``while_raises``: a node that does not answer yet.
    Raises ``AssertionError`` after so many seconds. The error says ``what``, or what that returns.
    """
    polling = Polling(every)
    while True:
        raised: Exception | None = None
        try:
            if found := holds():
                return found
        except while_raises as error:
            raised = error
        if polling.waited > seconds:
            said = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {seconds:g} seconds: {said}") from raised
        polling.pause()
