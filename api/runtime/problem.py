"""Problems that a node raises (RFC 9457, https://www.rfc-editor.org/rfc/rfc9457)."""

from typing import Any

from rfc9457 import Problem

RULES = "urn:case-ledger:rule:"


def problem(
    status: int,
    title: str,
    rule: str,
    detail: str | None = None,
    headers: dict[str, str] | None = None,
    **extras: Any,
) -> Problem:
    """Make a problem to raise. ``None`` extras are left out."""
    present = {name: value for name, value in extras.items() if value is not None}
    return Problem(
        title, type_=RULES + rule, detail=detail, status=status, headers=headers, rule=rule,
        **present,
    )  # fmt: skip
