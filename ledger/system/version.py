"""The version of the program that is installed."""

from functools import cache
from importlib.metadata import version


@cache
def program_version() -> str:
    """Return the version of the installed distribution."""
    return version("case-ledger")
