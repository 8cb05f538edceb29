"""The demonstration: a story, told through the real API."""

from ledger.refusals import OperatorError


class DemoError(OperatorError):
    """The ledger did not do what the story says it must."""
