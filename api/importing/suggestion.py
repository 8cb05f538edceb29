"""Suggests a map from the head of a file: what each column may be, and what its values may mean.

A suggestion is read and corrected by a person. It names no value of a person: only those of columns
that are picklists here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from functools import cache
from itertools import islice
from pathlib import Path

from anyascii import anyascii
from babel import Locale

from api.importing.cases_table import cell
from api.importing.tables import ImportFileError, Line, TableForm, form_of, lines
from api.paper.languages.catalogue import messages
from api.paper.languages.found import languages
from ledger.importing.fields import CARRIED, STANDARD, FieldPlace, ValueFormat, choices, shape
from ledger.importing.import_map import ImportMap
from ledger.vocabulary import CASE_ACTIONS

_READ_LINES = 400
_CLOSE = 0.84
"""How alike two names must be, from 0 to 1."""
_MOST_VALUES = 40
_OF_PERSON = tuple(
    (FieldPlace("case_opened", name), words)
    for name, words in (
        ("first_name", "first name;given name;name first;ime;emri;име"),
        ("middle_name", "middle name;father name;srednje ime;ime oca;emri i mesem;emri i babait"),
        ("second_name", "surname;last name;family name;name last;prezime;mbiemri;презиме"),
        ("birthdate", "date of birth;birth date;dob;datum rodjenja;rodjen;rodjena;datelindja"),
        ("gender", "sex;gender;pol;gjinia;пол"),
        ("citizenship", "citizenship;nationality;country;drzavljanstvo;drzava;shtetesia;shteti"),
        ("identity_number", "personal number;national id number;jmbg;nid;numri personal;id number"),
        ("primary_language", "language;first language;jezik;maternji jezik;gjuha"),
        ("marital_status", "marital status;maritial status;bracno stanje;gjendja civile"),
        ("number_of_children", "number of children;broj djece;broj dece;numri i femijeve"),
        ("phone", "phone;telephone;mobile;telefon;mobilni;kontakt telefon;telefoni;celulari"),
        ("address", "address;current address;adresa;boraviste;adresa e vendbanimit"),
        ("age_group", "age group;child or adult;starosna grupa;grupmosha;grupi i moshes"),
        ("acted_at", "opened;opened on;registration date;date of registration;otvoren;"
            "datum otvaranja;datum prijave;datum registracije;data e hapjes;data e regjistrimit"),
        ("ground", "referred by;source of referral;nacin prijave;burimi i referimit"),
        ("indicators", "indicators;indikatori;treguesit"),
    )
)  # fmt: skip
_FILE_NUMBER = frozenset(
    (
        *("file number", "case number", "case id", "broj predmeta", "broj slucaja", "nas broj"),
        *("numri i rastit", "numri i dosjes", "nr i rastit", "nr i dosjes"),
    )
)
_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})")


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    values: Sequence[str]
    """The first distinct ones."""


def suggested_map(path: Path) -> str:
    """Return a map for a file, as TOML with remarks. Raises ``ImportFileError``."""
    form = form_of(path, ImportMap())
    found = [
        one for one in islice(lines(path, form), _READ_LINES) if any(map(str.strip, one.cells))
    ]
    if not found:
        raise ImportFileError("the file names no columns")
    header = _likely_names(found)
    names = [cell(text) for text in header.cells]
    below = [one for one in found if one.number > header.number]
    columns = [
        _Column(name, tuple(dict.fromkeys(_values(below, place))))
        for place, name in enumerate(names)
        if name
    ]
    return "\n".join(_written(form, header.number, columns)) + "\n"


def _likely_names(found: Sequence[Line]) -> Line:
    """Return the row that looks most like names: many different texts, none of them a number."""

    def texts(line: Line) -> int:
        kept = {cell(text) for text in line.cells if re.search(r"[^\W\d_]", text)}
        return len(kept)

    most = max(map(texts, found[:60]))
    return next(one for one in found[:60] if texts(one) >= max(1, most - 1))


def _values(below: Sequence[Line], place: int) -> Iterator[str]:
    for line in below:
        if place < len(line.cells) and (text := cell(line.cells[place])):
            yield text


def _written(form: TableForm, header: int, columns: Sequence[_Column]) -> Iterator[str]:
    yield "# A suggestion: read each line, correct it, and try it with --dry-run."
    for name, value in (
        ("encoding", form.encoding), ("delimiter", form.delimiter), ("sheet", form.sheet),
    ):  # fmt: skip
        if value is not None:
            yield f"{name} = {_quoted(value)}"
    yield f"header_row = {header}"
    numbered = [one.name for one in columns if _plain(one.name) in _FILE_NUMBER][:1]
    for name in numbered:
        yield f"file_number = {_quoted(name)}"
    columns = [one for one in columns if one.name not in numbered]
    meant = {one.name: field for one in columns if (field := _field(one.name)) is not None}
    days = [v for one in columns if _is_day(meant.get(one.name)) for v in one.values]
    yield from _day_form(days)
    left = [one.name for one in columns if one.name not in meant]
    if left:
        yield "# Not recognised. Give each a field below [columns], or leave it here to be unread:"
        yield f"ignore = [{', '.join(map(_quoted, left))}]"
    yield ""
    yield "[columns]"
    taken: set[str] = set()
    for one in columns:
        if (field := meant.get(one.name)) is None or one.name in STANDARD:
            continue
        again = "  # another column is this field already" if field in taken else ""
        yield f"{'# ' if again else ''}{_quoted(one.name)} = {_quoted(field)}{again}"
        taken.add(field)
    for one in columns:
        yield from _meanings(meant.get(one.name), one)
    yield ""
    yield "# What all rows have in common, where no column says it:"
    yield "[defaults]"
    for needed in ("case_opened.ground", "case_opened.indicators"):
        if needed not in meant.values():
            kind, name = needed.split(".")
            known = choices(CASE_ACTIONS[kind], name)
            yield f"# {_quoted(needed)} = one of {', '.join(known or ())}"


def _field(column: str) -> str | None:
    """Return the name of the field that a column most likely is."""
    if column in STANDARD:
        return column
    plain = _plain(column)
    best, likeness = None, _CLOSE
    for field, words in _known_names():
        for word in words:
            alike = 1.0 if word == plain else SequenceMatcher(None, word, plain).ratio()
            if alike > likeness:
                best, likeness = field, alike
    return best


@cache
def _known_names() -> Sequence[tuple[str, frozenset[str]]]:
    """Return each field with its names: the usual words, and its labels in every language."""
    labels = [messages(one) for one in languages().values()]
    usual = {at: name for name, at in CARRIED.items()}
    found = []
    for at, words in _OF_PERSON:
        told = {text for one in labels if (text := one.get(f"field.{at.field}"))}
        if at.field == "acted_at":
            told = set()  # "date" is any date
        names = {_plain(word) for word in (*words.split(";"), *told, usual.get(at, ""))}
        found.append((usual.get(at, str(at)), frozenset(names - {""})))
    return tuple(found)


def _meanings(field: str | None, column: _Column) -> Iterator[str]:
    """Yield what the values of a picklist mean, as far as a label or a code tells."""
    at = None if field is None else CARRIED.get(field) or _place(field)
    if field is None or at is None:
        return
    names: Mapping[str, str]
    if (known := choices(CASE_ACTIONS[at.kind], at.field)) is not None:
        names, right = _names_of(known), {*known}
    elif at.field == "citizenship":
        names = _countries()
        right = {*names.values()}
    else:
        return
    given = [v for v in column.values if v not in right][:_MOST_VALUES]
    if not given:
        return
    yield ""
    yield f"[values.{_quoted(field)}]  # an empty text leaves a value out"
    for value in given:
        meant = names.get(_plain(value), "")
        yield f"{_quoted(value)} = {_quoted(meant)}" + ("" if meant else "  # unknown")


_SHORT = {"f": "Feminine", "z": "Feminine", "femer": "Feminine", "zenski": "Feminine",
          "female": "Feminine", "m": "Masculine", "mashkull": "Masculine", "muski": "Masculine",
          "male": "Masculine"}  # fmt: skip


def _names_of(known: type[StrEnum]) -> Mapping[str, str]:
    """Return the values of a picklist by their names in every language."""
    found = {word: value for word, value in _SHORT.items() if value in set(known)}
    for one in languages().values():
        told = messages(one)
        for value in known:
            label = told.get(f"value.{known.__name__}.{value.value}", "")
            found[_plain(label)] = found[_plain(value.value)] = value.value
    return found


@cache
def _countries() -> Mapping[str, str]:
    """Return the countries' codes by their names in the languages that ship, and in English."""
    found: dict[str, str] = {}
    for locale in (Locale("en"), *(one.locale for one in languages().values())):
        for country, name in locale.territories.items():
            if len(country) == 2 and country.isalpha():
                found.setdefault(_plain(name), country)
    return found


def _place(field: str) -> FieldPlace | None:
    return next((at for at, _ in _OF_PERSON if str(at) == field), None)


def _is_day(field: str | None) -> bool:
    at = None if field is None else CARRIED.get(field) or _place(field)
    return at is not None and shape(CASE_ACTIONS[at.kind], at.field).form in (
        ValueFormat.DATE, ValueFormat.MOMENT,
    )  # fmt: skip


def _day_form(days: Sequence[str]) -> Iterator[str]:
    """Yield the form of days with slashes, whose order only large numbers tell."""
    slashed = [found.groups() for day in days if (found := _SLASHED.fullmatch(day))]
    if not slashed:
        return
    year = "%y" if all(len(one[2]) == 2 for one in slashed) else "%Y"
    if any(int(one[0]) > 12 for one in slashed):
        yield f'date_format = "%d/%m/{year}"'
    elif any(int(one[1]) > 12 for one in slashed):
        yield f'date_format = "%m/%d/{year}"'
    else:
        yield f"# Which is the day in {'/'.join(slashed[0])}? Say it:"
        yield f'# date_format = "%d/%m/{year}"  # or "%m/%d/{year}"'


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", anyascii(text).lower().replace("đ", "dj")))


def _quoted(text: str) -> str:
    """Return a TOML string."""
    inner = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t").replace("\n", "\\n")
    return f'"{inner}"'
