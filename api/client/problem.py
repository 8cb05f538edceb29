"""What a problem says (RFC 9457), for the client that reads it and the node that raises it."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from rfc9457 import Problem

RULES = "urn:case-ledger:rule:"


class FieldError(BaseModel):
    """One part of a request that does not hold."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(frozen=True)

    type: str
    title: str
    status: int
    detail: str | None = None
    rule: str
    """The stable name of the rule that refused."""
    field: str | None = None
    """The field at fault, by its path."""
    errors: tuple[FieldError, ...] | None = None


def problem(
    status: int,
    title: str,
    rule: str,
    detail: str | None = None,
    headers: dict[str, str] | None = None,
    **extras: Any,
) -> Problem:
    """A problem to raise; ``None`` extras are left out."""
    present = {name: value for name, value in extras.items() if value is not None}
    return Problem(
        title, type_=RULES + rule, detail=detail, status=status, headers=headers, rule=rule,
        **present,
    )  # fmt: skip
