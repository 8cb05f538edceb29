"""Duplicates: the fields in which two cases agree, and the coordinators' findings on them."""

from enum import StrEnum


class MatchKind(StrEnum):
    """In what two cases agree."""

    NAMES = "names"
    """Two parts of the names: either may stand in the other's field."""
    SIMILAR_NAMES = "similar_names"
    """The names, where at most one letter of each differs."""
    GIVEN_NAME = "given_name"
    FAMILY_NAME = "family_name"
    MIDDLE_NAME = "middle_name"
    BIRTHDATE = "birthdate"
    TURNED_BIRTHDATE = "turned_birthdate"
    """The birth date, where day and month are exchanged."""
    SIMILAR_BIRTHDATE = "similar_birthdate"
    """The birth date but for its day, its month or its year."""
    BIRTH_YEAR = "birth_year"
    NEAR_BIRTH_YEAR = "near_birth_year"
    """Years of birth that are one apart."""
    IDENTITY_NUMBER = "identity_number"
    CITIZENSHIP = "citizenship"
    GENDER = "gender"
    # Found by programs before evidence was weighed:
    NAMES_AND_BIRTHDATE = "names_and_birthdate"
    NAMES_AND_TURNED_BIRTHDATE = "names_and_turned_birthdate"
    NAMES_AND_YEAR = "names_and_year"
    GIVEN_NAME_BIRTHDATE_CITIZENSHIP = "given_name_birthdate_citizenship"


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
