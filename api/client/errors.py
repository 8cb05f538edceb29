"""The errors of a client: a refusal of the node, and an action that waits."""

import httpx
from pydantic import ValidationError

from api.client.schemas import Outcome, ProblemDetails

UNREADABLE = "http"
"""The rule of an error that came without the problem details of a node."""


class RefusedError(Exception):
    """The ledger refused; ``problem`` says which rule, and what to do."""

    def __init__(self, problem: ProblemDetails, decision: str | None = None) -> None:
        super().__init__(f"{problem.status} {problem.rule}: {problem.detail or problem.title}")
        self.problem = problem
        self.decision = decision
        """The refusal as the ledger node signed it, where the rules refused an action. Not
        verified here: see :mod:`ledger.log.signed_decision`."""


class WaitingError(Exception):
    """The action waits in the node's outbox; its outcome can be asked for later."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"action {outcome.action_id} waits for the ledger node")
        self.outcome = outcome


def problem_of(response: httpx.Response) -> ProblemDetails:
    """Return the problem details of an answer, or make some where it has none."""
    try:
        return ProblemDetails.model_validate_json(response.content)
    except ValidationError:
        return ProblemDetails(
            type="about:blank",
            title=response.reason_phrase,
            status=response.status_code,
            rule=UNREADABLE,
        )


def is_no_answer(error: BaseException) -> bool:
    """Return whether a request that failed so can be sent again."""
    if isinstance(error, RefusedError):
        return error.problem.status in (429, 502, 503, 504)
    return isinstance(error, httpx.TransportError)
