"""An invented population of the countries of the corridor, and what offices make of its names.

The names are common given names and endings of family names of the region; their shares are
invented, with few names that many have and many that few have (a Zipf distribution). No person of
it exists.
"""

import random
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from ledger.vault.duplicates.identity_forms import ComparedIdentity

_NAMES = tomllib.loads((Path(__file__).parent / "names.toml").read_text(encoding="utf-8"))
GIVEN: Mapping[str, Mapping[str, Sequence[str]]] = _NAMES["given"]
_ALBANIAN, _SLAVIC = _NAMES["family"]["AL"], _NAMES["family"]["ME"]
_ROOTS = _NAMES["family"]["beginnings"]
_MIDDLES = ("", "an", "ev", "it", "or", "ush", "ik", "al")
_ENDINGS: Mapping[str, Sequence[str]] = {
    "AL": ("aj", "i", "a", "iqi", "ani", "oshi", "ari", "uli"),
    "ME": ("ić", "ović", "ević", "aš", "ac", "ek", "čić", "njak"),
}
_TO_CYRILLIC: Sequence[tuple[str, str]] = (
    ("Lj", "Љ"), ("lj", "љ"), ("Nj", "Њ"), ("nj", "њ"), ("Dž", "Џ"), ("dž", "џ"),
    *zip("ABVGDĐEŽZIJKLMNOPRSTĆUFHCČŠ", "АБВГДЂЕЖЗИЈКЛМНОПРСТЋУФХЦЧШ", strict=True),
    *zip("abvgdđežzijklmnoprstćufhcčš", "абвгдђежзијклмнопрстћуфхцчш", strict=True),
)  # fmt: skip
_AS_ALBANIAN_WRITES = (
    ("Dž", "Xh"), ("dž", "xh"), ("Đ", "Gj"), ("đ", "gj"), ("Č", "Ç"), ("č", "ç"), ("Ć", "Q"),
    ("ć", "q"), ("Š", "Sh"), ("š", "sh"), ("Ž", "Zh"), ("ž", "zh"), ("C", "C"),
)  # fmt: skip
_AS_MONTENEGRIN_WRITES = (
    ("Xh", "Dž"), ("xh", "dž"), ("Gj", "Đ"), ("gj", "đ"), ("Ç", "Č"), ("ç", "č"), ("Q", "Ć"),
    ("q", "ć"), ("Sh", "Š"), ("sh", "š"), ("Zh", "Ž"), ("zh", "ž"), ("ë", "e"), ("ll", "l"),
    ("rr", "r"), ("y", "i"), ("th", "t"), ("dh", "d"),
)  # fmt: skip
_MACHINE_READABLE = str.maketrans("ĐŽŠČĆÇË", "DZSCCCE")
_NICKNAMES: Mapping[str, str] = {
    "Katarina": "Kata", "Aleksandar": "Aco", "Aleksandra": "Sanda", "Nikola": "Niko",
    "Vladimir": "Vlado", "Fatime": "Time", "Shpresa": "Presa", "Muhamet": "Meti",
    "Marijana": "Mara", "Slobodan": "Boban", "Milorad": "Mićo", "Ljubica": "Ljuba",
}  # fmt: skip
UNKNOWN = ("Unknown", "Nepoznato", "Nepoznata", "I panjohur", "E panjohur", "NN", "Непознато", "-")
TODAY = date(2026, 1, 1)


@dataclass(frozen=True, slots=True)
class Population:
    """Names with their shares."""

    family: Mapping[str, tuple[Sequence[str], Sequence[float]]]

    @classmethod
    def invented(cls) -> "Population":
        """Return about a thousand family names for each language."""
        family = {}
        for country, first in (("AL", _ALBANIAN), ("ME", _SLAVIC)):
            made = [r + m + e for m in _MIDDLES for e in _ENDINGS[country] for r in _ROOTS]
            order = random.Random(country)
            order.shuffle(made)
            names = [*first, *made[:1_500]]
            family[country] = (names, [1 / (rank + 12) ** 0.85 for rank in range(len(names))])
        return cls(family)

    def person(self, chance: random.Random) -> ComparedIdentity:
        """Return one person as a careful office would write the person down."""
        country = chance.choice(("AL", "AL", "ME"))
        gender = chance.choices(("Feminine", "Masculine"), (7, 3))[0]
        given = GIVEN[country][gender]
        fathers = GIVEN[country]["Masculine"]
        names, shares = self.family[country]
        youngest = chance.random() < 0.6
        age_days = chance.randint(5 * 365, 18 * 365) if youngest else chance.randint(6570, 16_500)
        born = TODAY - timedelta(days=age_days)
        citizen = {"AL": ("AL", "XK"), "ME": ("ME", "RS")}[country]
        return ComparedIdentity(
            first_name=_skewed(chance, given),
            second_name=chance.choices(names, shares)[0],
            middle_name=_skewed(chance, fathers),
            birthdate=born,
            gender=gender,
            citizenship=(chance.choice(citizen),),
            identity_number="".join(chance.choices("0123456789", k=10)),
        )


def _skewed(chance: random.Random, names: Sequence[str]) -> str:
    shares = [1 / (rank + 5) ** 0.8 for rank in range(len(names))]
    return chance.choices(names, shares)[0]


def as_recorded(person: ComparedIdentity, chance: random.Random) -> ComparedIdentity:
    """Return what one office knows of a person: some parts of the identity are missing."""
    born = person.birthdate
    return replace(
        person,
        middle_name=person.middle_name if chance.random() < 0.65 else None,
        gender=person.gender if chance.random() < 0.98 else None,
        citizenship=person.citizenship if chance.random() < 0.93 else (),
        identity_number=person.identity_number if chance.random() < 0.5 else None,
        birthdate=date(born.year, 1, 1) if born and chance.random() < 0.01 else born,
    )


def _spelled(table: Sequence[tuple[str, str]]) -> Callable[[str], str]:
    def spell(name: str) -> str:
        for one, other in table:
            name = name.replace(one, other)
        return name

    return spell


def _names(spell: Callable[[str], str]) -> Callable[[ComparedIdentity], ComparedIdentity]:
    def change(person: ComparedIdentity) -> ComparedIdentity:
        return replace(
            person,
            first_name=spell(person.first_name or ""),
            second_name=spell(person.second_name or ""),
            middle_name=spell(person.middle_name) if person.middle_name else None,
        )

    return change


def _misspelt(name: str, chance: random.Random) -> str:
    place = chance.randrange(1, len(name))
    letter = chance.choice("aeiournstlmkd")
    return chance.choice(
        (
            name[:place] + name[place + 1 :],
            name[:place] + letter + name[place + 1 :],
            name[:place] + letter + name[place:],
            name[: place - 1] + name[place] + name[place - 1] + name[place + 1 :],
        )
    )


def _date(person: ComparedIdentity, year: int, month: int, day: int) -> ComparedIdentity:
    return replace(person, birthdate=date(year, month, min(day, 28)))


Change = Callable[[ComparedIdentity, random.Random], ComparedIdentity]


def _cyrillic(person: ComparedIdentity, _: random.Random) -> ComparedIdentity:
    written = _names(_spelled(_AS_MONTENEGRIN_WRITES))(person)
    return _names(_spelled(_TO_CYRILLIC))(written)


def _other_language(person: ComparedIdentity, chance: random.Random) -> ComparedIdentity:
    return _names(_spelled(chance.choice((_AS_ALBANIAN_WRITES, _AS_MONTENEGRIN_WRITES))))(person)


_MARKS = str.maketrans("đžščćçëĐŽŠČĆÇË", "dzsccceDZSCCCE")


def _no_marks(person: ComparedIdentity, _: random.Random) -> ComparedIdentity:
    return _names(lambda name: name.translate(_MARKS))(person)


def _machine_readable(person: ComparedIdentity, _: random.Random) -> ComparedIdentity:
    return _names(lambda name: name.upper().translate(_MACHINE_READABLE))(person)


def _swapped(person: ComparedIdentity, _: random.Random) -> ComparedIdentity:
    return replace(person, first_name=person.second_name, second_name=person.first_name)


def _one_field(person: ComparedIdentity, chance: random.Random) -> ComparedIdentity:
    whole = f"{person.first_name} {person.second_name}"
    if chance.random() < 0.5:
        return replace(person, first_name=whole, second_name=None)
    return replace(person, first_name=None, second_name=whole)


def _given_misspelt(person: ComparedIdentity, chance: random.Random) -> ComparedIdentity:
    return replace(person, first_name=_misspelt(person.first_name or "", chance))


def _family_misspelt(person: ComparedIdentity, chance: random.Random) -> ComparedIdentity:
    return replace(person, second_name=_misspelt(person.second_name or "", chance))


def _turned(person: ComparedIdentity, _: random.Random) -> ComparedIdentity:
    born = person.birthdate or TODAY
    return _date(person, born.year, born.day, born.month) if born.day <= 12 else person


def _a_year_apart(person: ComparedIdentity, chance: random.Random) -> ComparedIdentity:
    born = person.birthdate or TODAY
    return _date(person, born.year + chance.choice((-1, 1)), born.month, born.day)


def _guessed(person: ComparedIdentity, chance: random.Random) -> ComparedIdentity:
    born = person.birthdate or TODAY
    return _date(person, born.year + chance.choice((-1, 0, 1)), 1, 1)


def _wrong_day(person: ComparedIdentity, chance: random.Random) -> ComparedIdentity:
    born = person.birthdate or TODAY
    return _date(person, born.year, born.month, chance.randint(1, 28))


def _no_date(person: ComparedIdentity, _: random.Random) -> ComparedIdentity:
    return replace(person, birthdate=None)


def _married(person: ComparedIdentity, chance: random.Random) -> ComparedIdentity:
    return replace(person, second_name=chance.choice(_SLAVIC + _ALBANIAN))


def _first_name_alone(person: ComparedIdentity, _: random.Random) -> ComparedIdentity:
    return replace(person, second_name=None)


def _further_name(person: ComparedIdentity, chance: random.Random) -> ComparedIdentity:
    return replace(person, second_name=f"{person.second_name} {chance.choice(_SLAVIC)}")


def _other_names(person: ComparedIdentity, chance: random.Random) -> ComparedIdentity:
    return replace(
        person,
        first_name=chance.choice(GIVEN["AL"]["Feminine"]),
        second_name=chance.choice(_SLAVIC),
    )


def _nickname(person: ComparedIdentity, _: random.Random) -> ComparedIdentity:
    given = person.first_name or ""
    return replace(person, first_name=_NICKNAMES.get(given, given[:3]))


CHANGES: Mapping[str, tuple[float, Change]] = {
    "the same": (20.0, lambda person, _: person),
    "the other language's spelling": (17.0, _other_language),
    "Cyrillic": (8.0, _cyrillic),
    "without marks": (8.0, _no_marks),
    "machine-readable zone": (6.0, _machine_readable),
    "given and family name exchanged": (4.0, _swapped),
    "whole name in one field": (3.0, _one_field),
    "given name misspelt": (6.0, _given_misspelt),
    "family name misspelt": (6.0, _family_misspelt),
    "day and month exchanged": (3.0, _turned),
    "birth date a year apart": (3.0, _a_year_apart),
    "wrong day": (3.0, _wrong_day),
    "guessed date": (1.5, _guessed),
    "no birth date": (1.0, _no_date),
    "another family name": (2.0, _married),
    "no family name": (0.5, _first_name_alone),
    "a further family name": (2.0, _further_name),
    "other names, same number": (1.5, _other_names),
    "short form of the name": (1.0, _nickname),
}
"""Each kind of difference, with its invented share of a hundred."""
