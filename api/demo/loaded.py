"""Loads what most commands need, for processes to be forked from.

Not what keeps threads of its own, which a fork would lose: the analysts' commands.
"""

from importlib import import_module

from api.cli.main import COMMANDS
from api.processes.app import create_app
from ledger.procedure.protocol import shipped_protocol
from ledger.system.gc_tuning import collect_seldom
from ledger.vocabulary import build_models

__all__ = ["create_app"]

_WITH_THREADS = ("columnar", "statistics", "view")

for name in sorted({m for place in COMMANDS.values() for m in place.modules} - set(_WITH_THREADS)):
    import_module(f"api.cli.{name}")
build_models()
import_module("api.runtime.telemetry_export")
shipped_protocol()
collect_seldom()  # so that their memory stays shared
