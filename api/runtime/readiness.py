"""The troubles that keep a node from being ready, each with a name and an effect.

A part of the node that finds a trouble gives a *check*: a function that returns the troubles that
it sees now. The process that does the background work tells its troubles to those that answer
requests (:mod:`api.runtime.status`); each process adds those that it sees itself. ``/ready``,
``/metrics``, the pages and the answers' headers say them, and recording is refused by them.
"""

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from api.client.schemas.health import Effect
from api.runtime.trouble import Trouble
from ledger.system.periodic_worker import PeriodicWorker

HEADER = "Case-Ledger-Trouble"
"""The header of every answer of a node that is not ready: the rules of its troubles."""
_EVERY_SECONDS = 2.0
_SELDOM_SECONDS = 5.0
_log = structlog.get_logger(__name__)


_ORDER = tuple(Effect)


Check = Callable[[], Sequence[Trouble]]
"""Returns the troubles that one part of the node sees now. It may raise: that counts as none."""


def of_effect(troubles: Sequence[Trouble], *, at_least: Effect) -> list[Trouble]:
    """Return the troubles whose effect is at least as bad as this one."""
    return [t for t in troubles if _ORDER.index(t.effect) >= _ORDER.index(at_least)]


def worst(troubles: Sequence[Trouble], *, at_least: Effect) -> Trouble | None:
    """Return the trouble with the worst effect, of those with at least this one.

    It is the first of equals.
    """
    grave = of_effect(troubles, at_least=at_least)
    return max(grave, key=lambda t: _ORDER.index(t.effect), default=None)


def check_may_record(troubles: Sequence[Trouble]) -> None:
    """Check that no trouble forbids recording.

    Raises the ``Problem`` of the trouble that forbids it, if there is one.
    """
    if (trouble := worst(troubles, at_least=Effect.NO_RECORDING)) is not None:
        raise trouble.problem(trouble.status, {"Retry-After": "10"})


class Checks(PeriodicWorker):
    """Asks each check every few seconds, in a thread of its own, and keeps what it answered."""

    def __init__(self, when_changed: Callable[[], None] = lambda: None) -> None:
        self.now: tuple[Trouble, ...] = ()
        self._checks: list[tuple[Check, bool]] = []
        self._answers: dict[Check, Sequence[Trouble]] = {}
        self._seldom_at = 0.0
        """When the checks that are asked seldom were asked last, by ``time.monotonic()``."""
        self._when_changed = when_changed
        self._asking = threading.Lock()
        super().__init__("checks", self._look_at_due, every=_EVERY_SECONDS)

    def add(self, check: Check, *, is_seldom: bool = False) -> None:
        """Ask this check too, from the next round on.

        It is asked every two seconds, since recording may depend on its answer; every five seconds
        if it ``is_seldom``, where recording does not depend on it.
        """
        self._checks.append((check, is_seldom))

    def look(self) -> None:
        """Ask every check once, now."""
        self._look(are_all_due=True)

    def _look_at_due(self) -> None:
        self._look(are_all_due=time.monotonic() - self._seldom_at >= _SELDOM_SECONDS)

    def _look(self, *, are_all_due: bool) -> None:
        with self._asking:
            if are_all_due:
                self._seldom_at = time.monotonic()
            for check, is_seldom in self._checks:
                if not is_seldom or are_all_due or check not in self._answers:
                    self._answers[check] = _asked(check)
            found = tuple(trouble for check, _ in self._checks for trouble in self._answers[check])
            before, self.now = self.now, found
        if {t.rule for t in before} != {t.rule for t in found}:
            for trouble in found:
                _log.warning("trouble", rule=trouble.rule, effect=trouble.effect.value)
        if before != found:
            self._when_changed()


def _asked(check: Check) -> Sequence[Trouble]:
    try:
        return check()
    except Exception as error:
        _log.warning("a check of readiness was interrupted", error=type(error).__name__)
        return ()
