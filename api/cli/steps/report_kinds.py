"""Make the annual report from a database or an export."""

from pathlib import Path

from api.runtime.node_database import open_store
from api.runtime.settings import Settings
from api.services.report_sources import Progress as Told
from api.services.report_sources import SourcedReport, report_of_database, report_of_export
from ledger.application import Ledger, environment
from ledger.store.database import Database


def report_of(export: Path | None, year: int, at: int | None, told: Told) -> SourcedReport:
    """Return the annual report of an export, or of the database."""
    if export is not None:
        return report_of_export(export, year, at, told)
    with (
        open_store(Settings()) as store,
        Ledger(environment(store.conninfo)) as ledger,
        Database(store.conninfo) as database,
    ):
        return report_of_database(store.conninfo, ledger, database, year, at, told)
