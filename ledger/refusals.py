"""Refusals of actions by a rule, and failures that an operator can mend."""

from enum import StrEnum


class Ground(StrEnum):
    """The ground of a refusal. Each edge translates it into its own status codes."""

    INVALID = "invalid"
    """The action is malformed, or contradicts its own model."""
    UNAUTHENTIC = "unauthentic"
    """The signature or its key does not hold."""
    NOT_ALLOWED = "not_allowed"
    """The agency may not take this action."""
    OUT_OF_PROCEDURE = "out_of_procedure"
    """The procedure does not allow the action now."""
    CONFLICT = "conflict"
    """Another content already has this action's id."""
    STALE = "stale"
    """The case moved on since the version that the agency acted on."""
    UNKNOWN = "unknown"
    """The case, agency or key is not in the ledger."""


class Refusal(Exception):
    """An action is refused; nothing was written.

    ``rule`` is the stable name of the rule, ``message`` says what was wrong and what
    to do, ``field`` names the field at fault by its path, or is ``None``.
    """

    def __init__(self, ground: Ground, rule: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.ground = ground
        self.rule = rule
        self.message = message
        self.field = field


def invalid(rule: str, message: str, field: str) -> Refusal:
    """Return the refusal of an action whose ``field`` has a value that it cannot have."""
    path = field if field.startswith("act.") else f"act.{field}"
    return Refusal(Ground.INVALID, rule, message, path)


def unfit_text(field: str, message: str) -> Refusal:
    """Return the refusal of a proposed text of the protocol, for one of the text's parts."""
    return invalid("amendment", message, f"protocol.{field}")


def not_allowed(rule: str, message: str) -> Refusal:
    """Return the refusal of an action that this agency may not take."""
    return Refusal(Ground.NOT_ALLOWED, rule, message, "iss")


def out_of_procedure(rule: str, message: str, field: str | None = None) -> Refusal:
    """Return the refusal of an action that the procedure does not allow now."""
    return Refusal(Ground.OUT_OF_PROCEDURE, rule, message, field)


class OperatorError(RuntimeError):
    """Something failed that an operator can mend. The message says what to do."""
