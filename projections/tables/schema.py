"""The tables of the views, as migrations."""

from importlib import resources

from ledger.store.migrate import Component


def view_component() -> Component:
    """Return the migrations of every view."""
    return Component("views", resources.files("projections") / "migrations")
