"""The table that maps HTCDS onto the vocabulary, held against the standard and the models."""

import csv
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from ledger.vocabulary import CASE_ACTIONS

DOCS = Path(__file__).parents[2] / "docs"
TABLES = (DOCS / "htcds.md").read_text(encoding="utf-8")


def standard() -> dict[str, set[str]]:
    """Each field of the standard with the values of its picklist."""
    with (DOCS / "htcds" / "fields.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        row["Field Name including Prefix"]: {
            value.strip()
            for value in row["Value Names (if picklist)"].splitlines()
            if value.strip()
        }
        for row in rows
        if row["Field Name including Prefix"]
    }


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading."""
    section = TABLES.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip().strip("`") for cell in line.strip("| ").split("|")] for line in lines[1:]]


FIELDS = standard()
CARRIED = {row[1]: row for row in rows("Carried")}


def values(annotation: Any) -> Iterator[str]:
    """The values of every enumeration in a field's type."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        yield from (member.value for member in annotation)
    elif isinstance(annotation, Enum):
        yield annotation.value
    for part in get_args(annotation):
        yield from values(part)


def test_every_field_of_the_standard_is_in_one_table() -> None:
    named = [row[1] for heading in ("Carried", "Not carried") for row in rows(heading)]
    assert len(FIELDS) > 80
    assert sorted(named) == sorted(FIELDS)
    assert all(row[2] for row in rows("Not carried"))


@pytest.mark.parametrize("name", CARRIED)
def test_what_is_carried_is_as_the_table_says(name: str) -> None:
    _, _, path, level, picklist, *_ = CARRIED[name]
    kind, field = path.split(".")
    model = CASE_ACTIONS[kind]
    declared = model.level(field)
    group = f": {declared.group.value}" if declared.group else ""
    assert level == declared.level.value + group
    ours = set(values(get_type_hints(model, include_extras=True)[field]))
    theirs = FIELDS[name]
    if picklist == "complete":
        assert ours == theirs
    elif picklist == "subset":
        assert ours < theirs
    elif picklist == "code":
        assert not ours
        assert all(re.search(r"ISO (3166|639)", text) for text in theirs)
    else:
        assert picklist == "none"
        assert not theirs
