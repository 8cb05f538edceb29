"""The first persons of a file as a map reads them, for the eyes of those who bring the file."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from uuid import uuid4

from api.importing.files import read_rows
from api.importing.tables import TableForm
from ledger.importing.import_map import ImportMap
from ledger.importing.mapping import Mapper

MOST = 10


@dataclass(frozen=True, slots=True)
class FirstPerson:
    """One person of a file."""

    row: int
    name: str
    born: str
    age_group: str
    citizenship: str
    opened: str
    actions: tuple[str, ...]
    """The kinds of actions that the row tells."""


def first_persons(
    source: Path, import_map: ImportMap, form: TableForm, party: str, most: int = MOST
) -> Iterator[FirstPerson]:
    """Yield the first persons whose rows the map reads. Raises ``ImportFileError``."""
    return islice(_persons(source, import_map, form, party), most)


def _persons(
    source: Path, import_map: ImportMap, form: TableForm, party: str
) -> Iterator[FirstPerson]:
    mapper = Mapper(import_map, party)
    for read in read_rows(source, import_map, form):
        if read.fault is not None or read.no_case is not None:
            continue
        told = mapper.read(read.row.values, lambda _, __: uuid4()).told
        if not told:
            continue
        person = told[0].action
        names = (getattr(person, name) for name in ("first_name", "middle_name", "second_name"))
        yield FirstPerson(
            read.row.number,
            " ".join(name for name in names if name),
            str(getattr(person, "birthdate", None) or ""),
            str(getattr(person, "age_group", "")),
            " ".join(getattr(person, "citizenship", None) or ()),
            f"{person.acted_at:%Y-%m-%d}",
            tuple(one.action.kind for one in told),
        )
