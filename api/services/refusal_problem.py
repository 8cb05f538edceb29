"""A refusal of the ledger as problem details (RFC 9457)."""

from collections.abc import Mapping
from typing import Any

from api.runtime.problem import RULES
from ledger.refusals import Ground, Refusal

_STATUS: Mapping[Ground, tuple[int, str]] = {
    Ground.INVALID: (422, "The request does not hold"),
    Ground.UNAUTHENTIC: (401, "The signature is not accepted"),
    Ground.NOT_ALLOWED: (403, "Not allowed to this agency"),
    Ground.OUT_OF_PROCEDURE: (409, "The procedure does not allow this now"),
    Ground.CONFLICT: (409, "In conflict with what is recorded"),
    Ground.STALE: (412, "The case has moved on"),
    Ground.UNKNOWN: (404, "Not found"),
}


def status_of(ground: Ground) -> tuple[int, str]:
    """Return the HTTP status and the title of a refusal on this ground."""
    return _STATUS[ground]


def problem_of(refusal: Refusal) -> dict[str, Any]:
    """Return a refusal as problem details, to be kept with the action that is refused."""
    status, title = status_of(refusal.ground)
    problem = {
        "type": RULES + refusal.rule,
        "title": title,
        "status": status,
        "detail": refusal.message,
        "rule": refusal.rule,
        "field": refusal.field,
    }
    return {name: value for name, value in problem.items() if value is not None}
