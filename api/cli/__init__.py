"""The command line ``case-ledger``: tables for people, ``--json`` for programs."""

import sys

from ledger.system.extras import how_to_install
from ledger.system.gc_tuning import collect_seldom

collect_seldom()  # loading makes a great many objects, and no garbage

try:
    from api.cli.main import app
except ModuleNotFoundError as missing:
    _how = how_to_install(missing)
    if _how is None:
        raise
    _message = f"case-ledger: the command needs a library that is not installed; {_how}"

    def app() -> None:  # type: ignore[misc]
        """Say which extra has the libraries of the command, and exit with code 1."""
        sys.exit(_message)


__all__ = ["app"]
