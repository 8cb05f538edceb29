"""The events that a columnar export reads, and its progress."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from api.runtime.node_database import open_store
from api.runtime.settings import Settings

if TYPE_CHECKING:
    from projections.columnar.snapshot_sources import SnapshotSource


@contextmanager
def source_of(static: Path | None) -> Iterator["SnapshotSource"]:
    """Open the events of a directory of static files, or else of this node's database."""
    from projections.columnar.snapshot_sources import DirectorySource, database_source

    if static is not None:
        yield DirectorySource(static)
        return
    with open_store(Settings()) as store, database_source(store.conninfo) as source:
        yield source
