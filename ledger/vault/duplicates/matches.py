"""Matches between a country's own cases and other cases, and what became of them."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from ledger.vocabulary.duplicates import DuplicateState, Finding, MatchKind

_NAMESPACE = UUID("5b0e4b52-7f0c-5a52-9f4d-3f0a5f6f2f11")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A case of the country's own and another that are worth a closer look."""

    other: str
    reference: UUID
    other_reference: UUID

    @property
    def pair(self) -> UUID:
        """Return the id that a match of the two has."""
        return duplicate_id(self.reference, self.other_reference)


@dataclass(frozen=True, slots=True)
class Match:
    """A case of the country's own and another, often of another country, that agree."""

    other: str
    reference: UUID
    other_reference: UUID
    agrees: tuple[MatchKind, ...]
    strength: int
    """Of 100."""

    @property
    def id(self) -> UUID:
        """Return the match's id, which is the same in both countries."""
        return duplicate_id(self.reference, self.other_reference)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A match that was found, and what the coordinators found out."""

    match: Match
    case_id: UUID
    other_case_id: UUID | None
    """Known where it is the own country's, or this country is party to it."""
    found_at: datetime
    finding: Finding | None
    assessed_at: datetime | None
    other_finding: Finding | None
    other_assessed_at: datetime | None

    @property
    def strength(self) -> int:
        return self.match.strength

    @property
    def state(self) -> DuplicateState:
        findings = {one for one in (self.finding, self.other_finding) if one is not None}
        if len(findings) == 2:
            return DuplicateState.DISPUTED
        return DuplicateState(findings.pop().value) if findings else DuplicateState.OPEN


def duplicate_id(one: UUID, other: UUID) -> UUID:
    """Return the id of a match, made from the references of both cases in any order."""
    first, second = sorted((one, other))
    return uuid5(_NAMESPACE, f"{first} {second}")
