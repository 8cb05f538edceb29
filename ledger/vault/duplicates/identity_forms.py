"""The forms of a person's identity that two countries compare.

Comparing has two stages. *Blocking forms* find the pairs of cases that are worth a closer look:
each joins several parts of the identity, so that few persons have a form in common. *Evidence* is
then compared for each such pair alone: each part of the identity by itself, and what is close to
it. Both follow probabilistic record linkage (Fellegi and Sunter 1969); names one error apart are
found by deletion variants, as SymSpell does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import combinations

from ledger.vault.duplicates.normalising import digits_and_letters, fold, parts, plain_parts, turned
from ledger.vocabulary.picklists import Gender

BLOCKING_FORMS = 12
"""Each case has so many blocking forms, whatever is known; random ones fill up."""
EVIDENCE_FORMS = 128
"""Each case has so many forms of evidence, whatever is known; random ones fill up."""
_PARTS = 4
_VARIED_PARTS = 4
_LONGEST_VARIED = 12
_SHORT_FORM = 3
"""Letters of a given name that its short forms mostly keep: Kata of Katarina."""
_SHORTEST_VARIED = 3
_CITIZENSHIPS = 3
_MIDDLE_PARTS = 2
_GUESSED_DAYS = frozenset({(1, 1), (7, 1), (12, 31)})
"""Month and day that stand for an unknown day of a year."""
_FIRST_YEAR = 1900
_COMPARED_GENDERS = (Gender.FEMININE, Gender.MASCULINE)
"""Others are recorded in different ways for one person."""


@dataclass(frozen=True, slots=True)
class ComparedIdentity:
    """The parts of a person's identity that are compared."""

    first_name: str | None = None
    second_name: str | None = None
    birthdate: date | None = None
    citizenship: tuple[str, ...] = ()
    middle_name: str | None = None
    gender: str | None = None
    identity_number: str | None = None


class Evidence(StrEnum):
    """The part of an identity that a form is made of."""

    NAME = "name"
    """A part of any name."""
    GIVEN = "given"
    """A part of the given name, in its own field."""
    FAMILY = "family"
    """A part of the family name, in its own field."""
    SHORT_GIVEN = "short_given"
    """The first letters of a part of the given name: equal for many names and their short forms."""
    SIMILAR = "similar"
    """A part of any name without one of its letters: equal for names one error apart."""
    MIDDLE = "middle"
    BIRTHDATE = "birthdate"
    TURNED_BIRTHDATE = "turned_birthdate"
    """The birth date, where day and month may have been exchanged."""
    YEAR = "year"
    NEAR_YEAR = "near_year"
    """A pair of consecutive years, one of which is the year of birth."""
    MONTH_OF_YEAR = "month_of_year"
    DAY_OF_YEAR = "day_of_year"
    """The year and the day of the month: equal where only the month differs."""
    DAY_AND_MONTH = "day_and_month"
    GENDER = "gender"
    CITIZENSHIP = "citizenship"
    NUMBER = "number"
    KNOWN = "known"
    """That a part of the identity is known, so that a difference counts."""


@dataclass(frozen=True, slots=True)
class Form:
    """One form of evidence.

    ``about`` names the part of the own identity: the name's part, or what is known.
    """

    kind: Evidence
    text: str
    about: str = ""


def is_guessed(born: date) -> bool:
    """Return whether a birth date stands for a year whose day is unknown."""
    return (born.month, born.day) in _GUESSED_DAYS or born.year < _FIRST_YEAR


def name_parts(identity: ComparedIdentity) -> tuple[str, ...]:
    """Return the parts of the given name and of the family name, each once."""
    every = (*parts(identity.first_name), *parts(identity.second_name))
    return tuple(dict.fromkeys(every))[:_PARTS]


def name_pairs(identity: ComparedIdentity) -> Sequence[str]:
    """Return each two parts of the names as a blocking form, in any order of the two."""
    return [f"names|{a}|{b}" for a, b in combinations(sorted(name_parts(identity)), 2)]


def blocking_forms(identity: ComparedIdentity) -> Sequence[str]:
    """Return the forms of which two cases must have one in common to be compared further."""
    forms = list(name_pairs(identity))
    born = identity.birthdate
    if born is not None and not is_guessed(born):
        forms += [f"born|{part}|{turned(born)}" for part in name_parts(identity)]
    number = digits_and_letters(identity.identity_number)
    if number is not None:
        forms.append(f"number|{number}")
    return tuple(forms[:BLOCKING_FORMS])


def evidence(identity: ComparedIdentity) -> Sequence[Form]:
    """Return every form of the identity's parts, most telling first, at most ``EVIDENCE_FORMS``."""
    every = (*_known(identity), *_birth(identity), *_others(identity), *_names(identity))
    return tuple(dict.fromkeys(every))[:EVIDENCE_FORMS]


def _known(identity: ComparedIdentity) -> Iterator[Form]:
    given, family = parts(identity.first_name), parts(identity.second_name)
    born = identity.birthdate
    known = {
        "given": bool(given and family),  # a whole name in one field tells not which part is which
        "family": bool(given and family),
        "names": len(name_parts(identity)) > 1,
        "middle": bool(parts(identity.middle_name)),
        "birthdate": born is not None and not is_guessed(born),
        "year": born is not None,
        "gender": identity.gender in _COMPARED_GENDERS,
        "citizenship": bool(identity.citizenship),
        "number": digits_and_letters(identity.identity_number) is not None,
    }
    for what, is_known in known.items():
        if is_known:
            yield Form(Evidence.KNOWN, what, what)


def _birth(identity: ComparedIdentity) -> Iterator[Form]:
    born = identity.birthdate
    if born is None:
        return
    year = born.year
    yield Form(Evidence.YEAR, str(year))
    yield Form(Evidence.NEAR_YEAR, f"{year - 1}-{year}")
    yield Form(Evidence.NEAR_YEAR, f"{year}-{year + 1}")
    if not is_guessed(born):
        yield Form(Evidence.BIRTHDATE, born.isoformat())
        yield Form(Evidence.TURNED_BIRTHDATE, turned(born))
        yield Form(Evidence.MONTH_OF_YEAR, f"{year}-{born.month}")
        yield Form(Evidence.DAY_OF_YEAR, f"{year}-{born.day}")
        yield Form(Evidence.DAY_AND_MONTH, f"{born.month}-{born.day}")


def _others(identity: ComparedIdentity) -> Iterator[Form]:
    if identity.gender in _COMPARED_GENDERS:
        yield Form(Evidence.GENDER, str(identity.gender))
    for country in sorted(identity.citizenship)[:_CITIZENSHIPS]:
        yield Form(Evidence.CITIZENSHIP, country)
    number = digits_and_letters(identity.identity_number)
    if number is not None:
        yield Form(Evidence.NUMBER, number)
    for part in parts(identity.middle_name)[:_MIDDLE_PARTS]:
        yield Form(Evidence.MIDDLE, part)


def _names(identity: ComparedIdentity) -> Iterator[Form]:
    every = name_parts(identity)
    given, family = parts(identity.first_name), parts(identity.second_name)
    for part in every:
        yield Form(Evidence.NAME, part, part)
    if family or len(given) == 1:
        for part in given:
            yield Form(Evidence.GIVEN, part, part)
            if len(part) >= _SHORT_FORM:
                yield Form(Evidence.SHORT_GIVEN, part[:_SHORT_FORM], part)
    if given or len(family) == 1:
        for part in family:
            yield Form(Evidence.FAMILY, part, part)
    spelled = (*plain_parts(identity.first_name), *plain_parts(identity.second_name))
    for plain in spelled[:_VARIED_PARTS]:
        part = fold(plain)
        for variant in sorted(deletion_variants(plain) | deletion_variants(part)):
            yield Form(Evidence.SIMILAR, variant, part)


def deletion_variants(part: str) -> set[str]:
    """Return a part as it is, and without each one of its letters."""
    if len(part) < _SHORTEST_VARIED:
        return {part}
    short = part[:_LONGEST_VARIED]
    return {part, *(short[:i] + short[i + 1 :] for i in range(len(short)))}
