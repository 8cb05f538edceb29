"""Analysts' own views: any question to the ledger, as a pure fold in Python or as SQL.

In a notebook::

    from projections.analysis import events, run_view

    found = run_view("examples/views/caseload.py", parquet="columns")
    found.table.to_pandas()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from projections.analysis.event import Event
    from projections.analysis.notebook_tables import tables
    from projections.analysis.view_class import AnalystView, ViewError
    from projections.analysis.view_run import Result, events, run_view

_HOMES = {
    "AnalystView": "view_class",
    "Event": "event",
    "Result": "view_run",
    "ViewError": "view_class",
    "events": "view_run",
    "run_view": "view_run",
    "tables": "notebook_tables",
}

__all__ = ["AnalystView", "Event", "Result", "ViewError", "events", "run_view", "tables"]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: the process of a view needs few of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
