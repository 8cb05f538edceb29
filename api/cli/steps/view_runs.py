"""Open the database of an analysts' view, and show its result."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.runtime.node_database import open_store
from api.runtime.settings import Settings


@contextmanager
def view_database(static: Path | None, parquet: Path | None) -> Iterator[str | None]:
    """Open this node's database and yield its address, or ``None`` if another source is named."""
    if static is not None or parquet is not None:
        yield None
        return
    with open_store(Settings()) as store:
        yield store.conninfo
