"""Duplicates: the fields in which two cases agree, and the coordinators' findings on them."""

from enum import StrEnum


class MatchKind(StrEnum):
    """In what two cases agree: the kind of a token."""

    NAMES_AND_BIRTHDATE = "names_and_birthdate"
    """A given name, a family name (either may stand in the other's field) and the birth date."""
    NAMES_AND_TURNED_BIRTHDATE = "names_and_turned_birthdate"
    """The same, where day and month may have been exchanged."""
    NAMES_AND_YEAR = "names_and_year"
    """The names, and the year of birth."""
    GIVEN_NAME_BIRTHDATE_CITIZENSHIP = "given_name_birthdate_citizenship"
    """A given name, the birth date and a citizenship: the family name is missing, or changed."""


class Finding(StrEnum):
    """A coordinator's finding on two cases."""

    SAME_PERSON = "same_person"
    ANOTHER_PERSON = "another_person"


class DuplicateState(StrEnum):
    """The state of a duplicate, by the findings of both coordinators."""

    OPEN = "open"
    SAME_PERSON = "same_person"
    ANOTHER_PERSON = "another_person"
    DISPUTED = "disputed"
