"""The command line ``case-ledger``: tables for people, ``--json`` for programs."""

from ledger.system.gc_tuning import collect_seldom

collect_seldom()  # loading makes a great many objects, and no garbage

from api.cli.main import app  # noqa: E402

__all__ = ["app"]
