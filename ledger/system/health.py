"""The health of a worker or a task, by the results of its steps."""

from dataclasses import dataclass

import structlog

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StepHealth:
    """The results of a worker's steps."""

    steps: int
    """How many steps ended without a failure."""
    failures: int
    """How many steps failed since the last one that did not."""
    error: str | None
    """The name of the last failure's class, until a step ends without one."""

    def succeeded(self) -> "StepHealth":
        """Return this after one more step without a failure."""
        return StepHealth(self.steps + 1, 0, None)

    def failed(self, error: Exception) -> "StepHealth":
        """Return this after one more step that failed."""
        return StepHealth(self.steps, self.failures + 1, type(error).__name__)

    def log(self, name: str) -> None:
        """Log the last failure if it is the first, second, fourth, eighth and so on in a row.

        So a long outage does not fill the log.
        """
        if self.failures & (self.failures - 1) == 0:
            _log.warning("a step failed", worker=name, error=self.error, failures=self.failures)
