"""The files of an analyst's records: Parquet, and a manifest with the lists of its values."""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import parquet
from pydantic import ValidationError

from ledger.procedure.protocol import DatePeriod
from ledger.system.bounded_files import NotReadableError, read_ordinary
from ledger.vocabulary.action import LedgerModel
from projections.columnar.manifest import Sha256, write_durably
from projections.statistics.person_records import PSEUDONYM, PersonRecords

MANIFEST = "records.json"
_TABLE = "persons.parquet"
_MOST_BYTES = 256 * 1024 * 1024


class RecordsError(ValueError):
    """Records cannot be read or written; the message says why."""


class RecordsManifest(LedgerModel):
    """The manifest beside the file of records."""

    format: Literal[1] = 1
    country: str
    protocol: str
    version: int
    position: int
    dates: DatePeriod
    smallest_category: int
    categories: Mapping[str, tuple[str, ...]]
    rows: int
    bytes: int
    sha256: Sha256
    """Of the Parquet file."""


def check_free(directory: Path) -> None:
    """Check that a directory is empty or not there. Raises ``RecordsError`` if it is not."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise RecordsError(f"{directory} has files already; name a new directory for each release")


def write_records(directory: Path, records: PersonRecords) -> RecordsManifest:
    """Write a release into a new directory: the Parquet file, then its manifest.

    Raises ``RecordsError`` if the directory has anything in it.
    """
    check_free(directory)
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    names = [PSEUDONYM, *records.categories]
    columns = {name: [row[name] for row in records.rows] for name in names}
    table = pa.table({name: pa.array(columns[name], pa.string()) for name in names})
    file = io.BytesIO()
    parquet.write_table(table, file, compression="zstd", version="2.6")
    content = file.getvalue()
    write_durably(directory / _TABLE, content)
    manifest = RecordsManifest(
        **records.model_dump(exclude={"rows", "format"}),
        rows=len(records.rows),
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    said = json.dumps(manifest.model_dump(mode="json"), indent=1)
    write_durably(directory / MANIFEST, said.encode())
    for name in (_TABLE, MANIFEST):
        (directory / name).chmod(0o600)
    return manifest


def read_records(directory: Path) -> tuple[Path, RecordsManifest]:
    """Return the file of a release and its manifest, after a check of the file's hash.

    Raises ``RecordsError`` if the directory is no release, or if its file was changed.
    """
    try:
        manifest = RecordsManifest.model_validate_json(
            read_ordinary(directory / MANIFEST, _MOST_BYTES)
        )
        content = read_ordinary(directory / _TABLE, _MOST_BYTES)
    except (NotReadableError, ValidationError) as error:
        raise RecordsError(
            f"{directory} has no records; write them with `case-ledger statistics export`"
        ) from error
    if hashlib.sha256(content).hexdigest() != manifest.sha256:
        raise RecordsError(f"{directory / _TABLE} is not the file that its manifest names")
    return directory / _TABLE, manifest
