"""Writes Parquet files that appear whole, with their hashes."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pyarrow import parquet  # type: ignore[import-untyped]

from ledger.system.fsync import sync_directory
from ledger.system.version import program_version
from projections.columnar.manifest import FileEntry


class _HashingFile:
    """A file that is written from its beginning to its end, hashed on the way."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._hash = hashlib.sha256()
        self.closed = False

    def write(self, content: Any) -> int:
        self._hash.update(content)
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """Leave the file open for :meth:`finish`, because Arrow closes it too soon."""

    def finish(self) -> str:
        """Make the written bytes durable, close the file, and return its SHA-256."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._hash.hexdigest()


@dataclass
class TableWriter:
    """Writes one file under a name that no reader looks at, until it is finished."""

    directory: Path
    table: str
    path: str
    first: int

    def __post_init__(self) -> None:
        self._final = self.directory / self.path
        self._final.parent.mkdir(parents=True, exist_ok=True)
        self._unfinished = self._final.with_name(f".{self._final.name}.writing")
        self._file = _HashingFile(self._unfinished)
        self._writer: Any = None
        self._rows = 0

    def write(self, table: Any) -> Self:
        """Add rows, as a group of their own."""
        if self._writer is None:
            self._writer = parquet.ParquetWriter(
                self._file,
                table.schema,
                compression="zstd",
                version="2.6",
                coerce_timestamps="us",
                write_statistics=True,
            )
        self._writer.write_table(table)
        self._rows += table.num_rows
        return self

    def finish(self, last: int) -> FileEntry:
        """Give the file its name; the manifest has still to name it."""
        self._writer.close()
        sha256 = self._file.finish()
        size = self._unfinished.stat().st_size
        self._unfinished.replace(self._final)
        sync_directory(self._final.parent)
        return FileEntry(
            table=self.table,
            path=self.path,
            first=self.first,
            last=last,
            rows=self._rows,
            bytes=size,
            sha256=sha256,
            program_version=program_version(),
        )
