"""The manifest of an export: its files, the position that they reach, and their ledger.

The manifest decides. A file that the manifest does not name is not part of the export: a run that
was killed had begun the file, and the next run removes it.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

from pydantic import Field, ValidationError

from ledger.system.bounded_files import NotReadableError, check_within, open_ordinary, read_ordinary
from ledger.system.fsync import sync_directory
from ledger.vocabulary.action import LedgerModel

MANIFEST = "manifest.json"
SPILL = ".sorting-"
_LOCK = ".lock"
_OURS = re.compile(r"\d{12}-\d{12}\.parquet")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


_MAX_MANIFEST_BYTES = 64 * 1024 * 1024
_READ_AT_ONCE = 1024 * 1024


class ColumnarError(ValueError):
    """An export cannot be read, or not be gone on with; the message says why."""


class ColumnDescription(LedgerModel):
    """One column of a table."""

    name: str
    type: str
    values: tuple[str, ...] = ()
    """The picklist that its values are of, where there is one."""


class TableDescription(LedgerModel):
    """The columns of a table, and the version of the schema that they show."""

    version: int
    columns: tuple[ColumnDescription, ...]


class FileEntry(LedgerModel):
    """One Parquet file."""

    table: str
    """``events/KIND``, ``cases``, ``obligations`` or ``deadlines``."""
    path: Annotated[
        str,
        Field(
            pattern=r"^(events/kind=[a-z0-9_]{1,60}|cases|obligations|deadlines)/[0-9-]+\.parquet$"
        ),
    ]
    """Below the export's directory, as this program names its files."""
    first: int
    last: int
    """The positions that it is of."""
    rows: int
    bytes: int
    sha256: Sha256
    program_version: str | None = None
    """The version of the program that wrote the file; ``None`` before version 0.2.0."""


class Manifest(LedgerModel):
    """An export as it stands at a position."""

    format: Literal[1] = 1
    protocol: str
    ledger_id: str
    upto: int
    root: Sha256
    """The Merkle root of all events up to there: what a checkpoint of that size says."""
    checkpoint: str | None
    """The last checkpoint that was published then, with its signatures; it may cover less."""
    parties: tuple[str, ...] = ()
    """Every country that was a party up to there; none in exports of earlier programs."""
    party_years: Mapping[str, tuple[tuple[int, int], ...]] = {}
    """The first and the last year of each time in which a country was a party, at its local time;
    none in exports of earlier programs."""
    time_zones: Mapping[str, str] = {}
    """The time zone of each country that has one, by its IANA name; none in exports of earlier
    programs, whose years are of UTC."""
    tables: dict[str, TableDescription]
    files: tuple[FileEntry, ...]
    program_version: str | None = None
    """The version of the program that wrote this manifest; ``None`` before version 0.2.0."""

    @property
    def has_obligations(self) -> bool:
        """Return whether the export has the tables of obligations and deadlines."""
        return "obligations" in self.tables

    def of_table(self, table: str) -> list[FileEntry]:
        return [file for file in self.files if file.table == table]


def read_manifest(directory: Path) -> Manifest | None:
    """Return the manifest of an export, or ``None`` if there is none yet.

    Raises ``ColumnarError`` if the file cannot be read or is no manifest.
    """
    try:
        content = read_ordinary(directory / MANIFEST, _MAX_MANIFEST_BYTES)
    except NotReadableError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise ColumnarError(str(error)) from error
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise ColumnarError(f"{directory / MANIFEST} is no manifest of this format") from error


def existing_manifest(directory: Path) -> Manifest:
    """Return the manifest of an export.

    Raises ``ColumnarError`` if there is none, or if it names a file outside the directory.
    """
    manifest = read_manifest(directory)
    if manifest is None:
        raise ColumnarError(
            f"{directory} is no export; make one with `case-ledger export --parquet {directory}`"
        )
    for file in manifest.files:
        try:
            check_within(directory, file.path)
        except NotReadableError as error:
            raise ColumnarError(str(error)) from error
    return manifest


def checked_manifest(directory: Path) -> Manifest:
    """Return the manifest of an export whose files are those that the manifest names.

    Reads every file once. Raises ``ColumnarError`` if there is no export, or if a file is missing,
    lies elsewhere, or has another content.
    """
    manifest = existing_manifest(directory)
    for file in manifest.files:
        try:
            with open_ordinary(directory / file.path) as content:
                is_it = os.fstat(content.fileno()).st_size == file.bytes
                is_it = is_it and _sha256(content) == file.sha256
        except NotReadableError as error:
            raise ColumnarError(str(error)) from error
        if not is_it:
            raise ColumnarError(
                f"{directory / file.path} is not the file that the manifest names: somebody "
                "changed it, or a copy was cut; export again into a new directory"
            )
    return manifest


def _sha256(content: BinaryIO) -> str:
    digest = hashlib.sha256()
    while part := content.read(_READ_AT_ONCE):
        digest.update(part)
    return digest.hexdigest()


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Replace the manifest durably, once every file that it names exists."""
    write_durably(directory / MANIFEST, manifest.model_dump_json(indent=1).encode())


def write_durably(path: Path, content: bytes) -> None:
    """Write a file durably, so that a crash leaves the whole file or none."""
    unfinished = path.with_name(f".{path.name}.writing")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync_directory(path.parent)


def remove_unnamed(directory: Path, manifest: Manifest | None) -> None:
    """Remove the files of this program that no manifest names, left by a run that was killed."""
    named = {file.path for file in manifest.files} if manifest else set()
    for part in ("events/kind=*", "cases", "obligations", "deadlines"):
        for path in directory.glob(f"{part}/*.parquet"):
            if _OURS.fullmatch(path.name) and path.relative_to(directory).as_posix() not in named:
                path.unlink()
        for path in directory.glob(f"{part}/.*.writing"):
            if _OURS.fullmatch(path.name.removeprefix(".").removesuffix(".writing")):
                path.unlink()
    for path in directory.glob(f"{SPILL}*"):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def only_writer(directory: Path) -> Iterator[None]:
    """Lock the export, so that no other process writes to it until the block ends.

    Raises ``ColumnarError`` if another process holds the lock.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / _LOCK).open("w") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except OSError as error:
            raise ColumnarError(f"another process writes to {directory}") from error
        yield
