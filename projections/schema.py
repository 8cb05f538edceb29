"""The tables of the views, as migrations."""

from importlib import resources

import psycopg

from ledger.store.migrate import Component
from projections.views import VIEWS

_STANDING = """
INSERT INTO views.projections (name) SELECT unnest(%(names)s::text[]) ON CONFLICT DO NOTHING
"""
_CHECKING = "INSERT INTO views.checking DEFAULT VALUES ON CONFLICT DO NOTHING"


def view_component() -> Component:
    """The migrations of every view."""
    return Component("views", resources.files("projections") / "migrations")


def restore_standing(conninfo: str) -> None:
    """Write the rows that say where views and their check stand, where they are missing.

    Migrations wrote them once. A view without its row shows nothing, and cannot be rebuilt.
    """
    with psycopg.connect(conninfo) as connection:
        connection.execute(_STANDING, {"names": sorted(VIEWS)})
        connection.execute(_CHECKING)
