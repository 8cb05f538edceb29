"""Analysts' own views: any question to the ledger, as a pure fold in Python or as SQL.

In a notebook::

    from projections.analysis import events, run_view

    found = run_view("examples/views/caseload.py", parquet="columns")
    found.table.to_pandas()
"""

from projections.analysis.definition import AnalystView, ViewError
from projections.analysis.events import Event
from projections.analysis.tables import tables
from projections.analysis.view_run import Result, events, run_view

__all__ = ["AnalystView", "Event", "Result", "ViewError", "events", "run_view", "tables"]
