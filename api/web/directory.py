"""The directory of agencies and contact points, and the search in it."""

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from anyascii import anyascii

from api.client.schemas import ContactPointDocument
from api.paper.subject_access.wording import Wording
from ledger.procedure.protocol import NODE, Agency, Protocol

MOST_CHARACTERS = 100
"""Of one value of the search."""


@dataclass(frozen=True, slots=True)
class DirectoryChoice:
    """The search of a reader. An empty text limits nothing."""

    text: str = ""
    """Words of an agency's name, city, role, country or function."""
    country: str = ""
    role: str = ""
    city: str = ""
    language: str = ""
    """An ISO 639-3 code: only agencies with a contact point that speaks it are left."""

    @property
    def is_any(self) -> bool:
        """Return whether something is looked for."""
        return any((self.text, self.country, self.role, self.city, self.language))


@dataclass(frozen=True, slots=True)
class Directory:
    """The entries that a search leaves."""

    contacts: Sequence[ContactPointDocument]
    """By country, each country's deputies after the others."""
    agencies: Sequence[Agency]
    """By country and name."""
    cities: Sequence[str]
    """Every city of an agency, whatever is looked for."""
    spoken: Sequence[str]
    """Every language of a contact point, whatever is looked for."""
    roles: Sequence[str]


def directory(
    protocol: Protocol,
    contacts: Iterable[ContactPointDocument],
    choice: DirectoryChoice,
    words: Wording,
) -> Directory:
    """Return the working agencies and present contact points that a search leaves."""
    working = [one for one in protocol.working_agencies if one.role != NODE]
    by_id = {one.id: one for one in working}
    present = [one for one in contacts if one.ended_at is None and one.agency in by_id]
    languages: dict[str, set[str]] = {}
    for one in present:
        languages.setdefault(one.agency, set()).update(one.languages)
    functions: dict[str, list[str]] = {}
    for one in present:
        functions.setdefault(one.agency, []).extend((one.function, *one.functions.values()))
    left = {
        one.id
        for one in working
        if _is_chosen(one, choice, languages.get(one.id, ()), functions.get(one.id, ()), words)
    }
    return Directory(
        contacts=sorted(
            (
                one
                for one in present
                if one.agency in left and choice.language in ("", *one.languages)
            ),
            key=lambda one: (words.country(one.party), one.deputy),
        ),
        agencies=sorted(
            (by_id[one] for one in left),
            key=lambda one: (words.country(one.party), words.agency(one)),
        ),
        cities=sorted({one.city for one in working if one.city}),
        spoken=sorted({code for one in present for code in one.languages}, key=words.language_name),
        roles=sorted({one.role for one in working}, key=words.role),
    )


def _is_chosen(
    agency: Agency,
    choice: DirectoryChoice,
    languages: Collection[str],
    functions: Iterable[str],
    words: Wording,
) -> bool:
    if choice.country not in ("", agency.party) or choice.role not in ("", agency.role):
        return False
    if choice.city not in ("", agency.city) or choice.language not in ("", *languages):
        return False
    names: Mapping[str, str] = agency.names or {}
    told = (
        agency.name, words.agency(agency), *names.values(), agency.city or "",
        words.role(agency.role), words.country(agency.party), *functions,
    )  # fmt: skip
    known = plain(" ".join(told))
    return all(word in known for word in plain(choice.text).split())


def plain(text: str) -> str:
    """Return a text in small letters of ASCII, so that it is found without marks."""
    return anyascii(unicodedata.normalize("NFKC", text).casefold()).casefold()
