"""The demonstration: a story, told through the real API."""


class DemoError(RuntimeError):
    """The ledger did not do what the story says it must."""
