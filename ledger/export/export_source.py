"""An export as a source to copy events from, where the node that made it cannot be asked."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from ledger.export.static_export import ExportError, read_checkpoint, read_export


class ExportSource:
    """The events of an export; a mirror verifies them as it verifies the events of any source."""

    def __init__(self, directory: Path) -> None:
        self.name = str(directory)
        self._directory = directory

    def head(self, after: int, upto: int | None = None) -> str | None:  # noqa: ARG002
        """Return the export's checkpoint.

        Raises ``ConnectionError`` if it cannot be read.
        """
        return self._checkpoint()

    def entries(self, after: int, upto: int) -> Sequence[bytes]:
        """Return the exact bytes of these events.

        Raises ``ConnectionError`` if a file is missing.
        """
        try:
            return [row.state for row in islice(read_export(self._directory), after, upto)]
        except ExportError as error:
            raise ConnectionError(str(error)) from error

    def published(self) -> str | None:
        """Return the export's checkpoint, which a quorum of witnesses cosigned."""
        return self._checkpoint()

    def _checkpoint(self) -> str:
        try:
            return read_checkpoint(self._directory)
        except ExportError as error:
            raise ConnectionError(str(error)) from error
