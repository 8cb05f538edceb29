"""Finds the cases of a person in the own country's vault, and writes down each search."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from api.runtime.problem import problem
from api.runtime.rate_limit import STATUS, TITLE, Rate
from api.runtime.rate_limit_fields import Standing, note
from api.services.case_participation import sees_case
from api.services.personal_data_access import (
    OpenedFields,
    Reader,
    asked_by,
    await_matrix,
    bases_of,
    check_matrix,
    opened_together,
)
from ledger.application import Ledger
from ledger.procedure.case import Case
from ledger.procedure.protocol import Operation, Protocol
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vault.access_log import NO_CASE, NewEntry
from ledger.vault.held_statements import ended_statements
from ledger.vault.search.search_index import MatchedStatement
from ledger.vault.search.search_tokens import SearchKey, SoughtWord, sought_words
from ledger.vault.vault import Vault, Vaults
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Purpose

MOST_SHOWN = 10
"""Cases that one search shows. Who sought too widely seeks again with more words."""
MOST_NAMED = 50
"""Cases of a list whose names are opened at once."""
_CANDIDATES = 40
_AT_ONCE = MOST_SHOWN + 2
"""Candidates whose cases are read at once."""
SEARCHES_A_MINUTE = 20
SEARCHES_A_DAY = 200
"""Of one person, or of one key of an agency's system."""
_NAMES = ("first_name", "middle_name", "second_name")


@dataclass(frozen=True, slots=True)
class FoundPerson:
    """A case whose person matches."""

    case_id: UUID
    opened_at: datetime
    opened_by: str
    lead_agency: str
    is_exact: bool
    """True if each word is written alike; else one or more are similar."""
    is_earlier: bool
    """True if only earlier statements match, which were stated anew since."""
    name: str | None = None
    """The name, where the reader may read the identity in this case."""


@dataclass(frozen=True, slots=True)
class FoundPersons:
    """The answer to a search, the best match first."""

    persons: Sequence[FoundPerson]
    has_more: bool
    """True if more cases match than are shown."""


class PersonSearch:
    """The only way to the search index: matrix, limit, entry in the access log, then the search."""

    def __init__(
        self,
        ledger: Ledger,
        vaults: Vaults,
        moments: Callable[[], Sequence[datetime]] = lambda: (clock.now(),),
    ) -> None:
        self._ledger = ledger
        self._vaults = vaults
        self._moments = moments
        self._rate = Rate(SEARCHES_A_MINUTE, "searches")

    def find(self, reader: Reader, text: str, purpose: Purpose) -> FoundPersons:
        """Return the cases of the reader's country whose person a text names.

        The text is names, an identity number or a telephone number. The search is an entry of the
        access log, and so is each case that it shows. Raises ``Refusal`` (``access-matrix``, which
        is written down too, ``search-too-short``, ``search-closed``), and a ``Problem`` for too
        many searches.
        """
        protocol = self._ledger.adopted().protocol_today(clock.now())
        agency = reader.agency
        vault = self._vaults.of(agency.party)
        phones = protocol.allows(agency.role, Operation.READ, FieldGroup.CONTACT)
        groups = (FieldGroup.IDENTITY, *((FieldGroup.CONTACT,) if phones else ()))
        asked = asked_by(reader, NO_CASE, Operation.SEARCH, groups, purpose)
        self._check_rate(vault, reader)
        try:
            check_matrix(protocol, agency, Operation.READ, (FieldGroup.IDENTITY,))
        except Refusal as refusal:
            vault.readings.record(asked, refused_by=refusal.rule)
            raise
        words = sought_words(text, phones=phones)
        if not words:
            raise Refusal(
                Ground.INVALID,
                "search-too-short",
                "Type a name of two letters or more, an identity number of five characters or"
                " more, or a telephone number of six digits or more.",
                "q",
            )
        key = vault.search_key()
        if key is None:
            raise Refusal(
                Ground.OUT_OF_PROCEDURE,
                "search-closed",
                "The search index of this node does not open. Tell the operator of this node.",
            )
        vault.readings.record(asked)
        found = self._matching(vault, key, words, reader)
        shown = found[:MOST_SHOWN]
        names = self._names(vault, reader, [case for _, case in shown], purpose, protocol)
        persons = [replace(person, name=names.get(person.case_id)) for person, _ in shown]
        return FoundPersons(persons, len(found) > MOST_SHOWN)

    def names(
        self, reader: Reader, case_ids: Sequence[UUID], purpose: Purpose
    ) -> Mapping[UUID, str]:
        """Return the names of listed persons, of those whose identity the reader may read now.

        It counts as one search, and is an entry of the access log; so is each case, granted or
        refused. Raises ``Refusal`` (``access-matrix``, which is written down too), and a
        ``Problem`` for too many searches.
        """
        protocol = self._ledger.adopted().protocol_today(clock.now())
        agency = reader.agency
        vault = self._vaults.of(agency.party)
        asked = asked_by(reader, NO_CASE, Operation.SEARCH, (FieldGroup.IDENTITY,), purpose)
        self._check_rate(vault, reader)
        try:
            check_matrix(protocol, agency, Operation.READ, (FieldGroup.IDENTITY,))
        except Refusal as refusal:
            vault.readings.record(asked, refused_by=refusal.rule)
            raise
        vault.readings.record(asked)
        known = self._ledger.cases(case_ids[:MOST_NAMED], keep=False)
        cases = [
            case
            for case_id in case_ids
            if (case := known.get(case_id)) and sees_case(self._ledger, agency, case)
        ]
        return self._names(vault, reader, cases, purpose, protocol, as_readings=True)

    def _check_rate(self, vault: Vault, reader: Reader) -> None:
        """Raise a ``Problem`` where a person or a system searches too often."""
        self._rate.check(f"{reader.agency.id} {reader.person or reader.key_id}")
        key = None if reader.person else reader.key_id
        made = vault.readings.searches_within_a_day(reader.agency.id, reader.person, key)
        left = max(0, SEARCHES_A_DAY - made - 1)
        note(Standing("searches-a-day", SEARCHES_A_DAY, 24 * 3600, left, None))
        if made >= SEARCHES_A_DAY:
            raise problem(
                STATUS,
                TITLE,
                "too-many-searches",
                f"{SEARCHES_A_DAY} searches by names or numbers are allowed within 24 hours. Open"
                " cases by their reference, or search again tomorrow.",
                {"Retry-After": "3600"},
            )

    def _matching(
        self, vault: Vault, key: SearchKey, words: Sequence[SoughtWord], reader: Reader
    ) -> list[tuple[FoundPerson, Case]]:
        matches = vault.search.find(key, words, _CANDIDATES)
        ids = list(matches)
        found: list[tuple[FoundPerson, Case]] = []
        # The best come first. Reading a case takes longer than finding its id.
        for first in range(0, len(ids), _AT_ONCE):
            some = {case_id: matches[case_id] for case_id in ids[first : first + _AT_ONCE]}
            found += self._counting(vault, words, reader, some)
            if len(found) > MOST_SHOWN:
                break
        # The best first is the index's order; statements that do not count may have changed it.
        return sorted(found, key=lambda one: (not one[0].is_exact, one[0].is_earlier))

    def _counting(
        self,
        vault: Vault,
        words: Sequence[SoughtWord],
        reader: Reader,
        matches: Mapping[UUID, Sequence[MatchedStatement]],
    ) -> list[tuple[FoundPerson, Case]]:
        """Return those of the cases that the reader sees, and whose matching statements count."""
        cases = self._ledger.cases(matches.keys(), keep=False)
        withheld = vault.withheld(matches.keys())
        held = vault.search.statements(matches.keys())
        needed = len(words) - (len(words) >= 3)
        found: list[tuple[FoundPerson, Case]] = []
        for case_id, statements in matches.items():
            case = cases.get(case_id)
            if case is None or not sees_case(self._ledger, reader.agency, case):
                continue
            counted = [
                one
                for one in statements
                if one.action_id in case.history and one.action_id not in withheld
            ]
            ended = _ended(vault, case, held.get(case_id, ()))
            counted = [one for one in counted if ended.get((one.action_id, one.field)) != RETRACTED]
            by_word: dict[int, list[MatchedStatement]] = {}
            for one in counted:
                by_word.setdefault(one.word, []).append(one)
            if len(by_word) < needed:
                continue
            first = next(iter(case.history.values()))
            present = {one.word for one in counted if (one.action_id, one.field) not in ended}
            person = FoundPerson(
                case_id,
                first.acted_at,
                first.agency,
                case.state.lead_agency,
                is_exact=len(by_word) == len(words)
                and all(any(one.is_exact for one in of_word) for of_word in by_word.values()),
                is_earlier=len(present) < len(by_word),
            )
            found.append((person, case))
        return found

    def _names(
        self,
        vault: Vault,
        reader: Reader,
        cases: Sequence[Case],
        purpose: Purpose,
        protocol: Protocol,
        *,
        as_readings: bool = False,
    ) -> Mapping[UUID, str]:
        """Write an entry on each case, and return the names that a legal basis opens.

        Without a basis the entry says that a search showed the case; with ``as_readings`` it says
        that the reading was refused.
        """
        groups = (FieldGroup.IDENTITY,)
        entries: list[NewEntry] = []
        for case in cases:
            asked = asked_by(reader, case.id, Operation.READ, groups, purpose)
            try:
                bases = bases_of(
                    case.state, case.history, protocol, reader.agency, groups, None, self._moments()
                )
            except Refusal as refusal:
                if as_readings:
                    entries.append(NewEntry(asked, refused_by=refusal.rule))
                else:
                    asked = asked_by(reader, case.id, Operation.SEARCH, groups, purpose)
                    entries.append(NewEntry(asked))
            else:
                entries.append(NewEntry(asked, bases))
        if any(entry.bases for entry in entries):
            await_matrix(vault, asked_by(reader, NO_CASE, Operation.READ, groups, purpose))
        written = vault.readings.record_all(entries) if entries else ()
        opening = [one for one in written if one.bases]
        by_id = {case.id: case for case in cases}
        opened = opened_together(vault, opening, by_id, _NAMES)
        named = ((one.case.id, _name(one)) for one in opened)
        return {case_id: name for case_id, name in named if name is not None}


def _name(opened: OpenedFields) -> str | None:
    """Return the name that counts."""
    stated = {
        one.field: str(one.value)
        for one in opened.fields
        if (one.action_id, one.field) not in opened.ended
    }
    return " ".join(stated[name] for name in _NAMES if name in stated) or None


RETRACTED = "retracted"


def _ended(
    vault: Vault, case: Case, held: Sequence[tuple[UUID, str]]
) -> Mapping[tuple[UUID, str], str]:
    """Return the statements that count no more: restated, or retracted without another value."""
    ended = ended_statements(vault, case, held)
    if not ended:
        return {}
    retracted = {
        (one.action_id, name)
        for one in vault.case_fields(case.id)
        if one.field == RETRACTED
        for name in one.value or ()
    }
    return {
        place: RETRACTED if (by, place[1]) in retracted else "restated"
        for place, by in ended.items()
    }
