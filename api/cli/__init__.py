"""The command line ``case-ledger``: tables for people, ``--json`` for programs."""

from api.cli.main import app

__all__ = ["app"]
