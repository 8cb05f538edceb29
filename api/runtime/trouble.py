"""A trouble: one thing that is wrong with a node, with its effect."""

from pydantic import BaseModel, ConfigDict
from rfc9457 import Problem

from api.client.schemas.health import Effect
from api.runtime.problem import problem

_UNRELIABLE = "Not to be relied on"


class Trouble(BaseModel):
    """One thing that is wrong with a node."""

    model_config = ConfigDict(frozen=True)

    rule: str
    """Its stable name, such as ``history-changed``: monitoring, pages and documentation use it."""
    message: str
    """The fault and the remedy, for the node's operator. It holds nothing of any case."""
    effect: Effect = Effect.NOT_READY
    title: str = _UNRELIABLE
    status: int = 503
    """The HTTP status of an action that is refused because of it."""
    protocol_goes_on: bool = False
    """Acts on the protocol are recorded all the same: they are what may mend it."""

    def problem(
        self, status: int, headers: dict[str, str] | None = None, **extras: object
    ) -> Problem:
        """Return the trouble as problem details."""
        return problem(status, self.title, self.rule, self.message, headers, **extras)
