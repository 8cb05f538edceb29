"""Reading views in tests."""

from collections.abc import Collection

import psycopg

from projections.tables.all_views import VIEWS
from projections.tables.view_queries import ViewReader
from tests.support.waiting import until


def wait_for(
    reader: ViewReader, position: int, seconds: float = 120, names: Collection[str] = tuple(VIEWS)
) -> None:
    """Wait until every view stands at ``position``, or those that are named."""
    until(
        lambda: all(reader.position(view) >= position for view in names),
        f"views did not reach {position}",
        seconds=seconds,
    )


def rows_of(database: str, table: str) -> list[tuple[object, ...]]:
    """The rows of a view's live slot, whichever slot that is."""
    with psycopg.connect(database) as connection:
        return connection.execute(
            f"SELECT to_jsonb(t) - 'slot' FROM views.{table} t"  # type: ignore[arg-type]
            f" WHERE slot = (SELECT live_slot FROM views.projections WHERE name = '{table}')"
            " ORDER BY 1"
        ).fetchall()
