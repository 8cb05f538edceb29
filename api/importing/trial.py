"""A trial of a map on the head of a file, in memory alone: no byte of the file reaches a disk."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from api.importing.files import file_form
from api.importing.first_persons import FirstPerson, first_persons
from api.importing.suggestion import suggested_map
from api.importing.tables import SPREADSHEETS, ImportFileError, TableForm
from ledger.importing.import_map import ImportMap, load_map, with_defaults

SUFFIXES = (".csv", ".txt", ".tsv", *SPREADSHEETS)
_CUTS = 50
"""A head that ends within a cell is cut again, at most so often."""
_FOR_A_LOOK = ("case_opened.ground=self_report", "case_opened.indicators=unaccompanied_child")
"""A suggestion lacks what no column tells: without it no row would be read for the look."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The guesses on a file, the map, and its first persons."""

    form: TableForm
    map: str
    persons: Sequence[FirstPerson]


def tried(content: bytes, suffix: str, text: str | None, party: str, *, is_head: bool) -> Trial:
    """Return what a map makes of a file; without a map's ``text``, of the map that is suggested.

    ``is_head``: the content may end within a row. Raises ``ImportFileError`` for a file that cannot
    be read, and ``ValueError`` for a text that is no map.
    """
    if suffix not in SUFFIXES:
        raise ImportFileError("this is no table: bring a CSV or a spreadsheet")
    cuts = _CUTS if is_head else 0
    while True:
        try:
            return _tried(content, suffix, text, party)
        except ImportFileError:
            cuts -= 1
            shorter = content[: content.rstrip(b"\r\n").rfind(b"\n") + 1]
            if cuts < 0 or not shorter:
                raise
            content = shorter


def _tried(content: bytes, suffix: str, text: str | None, party: str) -> Trial:
    with _in_memory(content, suffix) as path:
        told = suggested_map(path) if text is None else text
        import_map = load_map(told.encode(), Path("map"))
        form = file_form(path, import_map)
        looked_by = _for_a_look(import_map)
        return Trial(form, told, tuple(first_persons(path, looked_by, form, party)))


def _for_a_look(import_map: ImportMap) -> ImportMap:
    columns = {name for column in import_map.columns for name in import_map.names(column)}
    known = columns | import_map.defaults.keys()
    lacking = [one for one in _FOR_A_LOOK if one.partition("=")[0] not in known]
    return with_defaults(import_map, lacking)


@contextmanager
def _in_memory(content: bytes, suffix: str) -> Iterator[Path]:
    """Yield a path of a file that is in memory alone. On the disk is a link to it, without data."""
    held = os.memfd_create("import", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(held), "wb") as file:
            file.write(content)
        with TemporaryDirectory(prefix="case-ledger-import-") as place:
            path = Path(place) / f"file{suffix}"
            path.symlink_to(f"/proc/{os.getpid()}/fd/{held}")
            yield path
    finally:
        os.close(held)
