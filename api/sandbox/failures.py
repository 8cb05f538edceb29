"""Reasons for which a file could not be read in the locked process."""

from enum import StrEnum


class Failure(StrEnum):
    """The reason for which the locked process gives no result."""

    DAMAGED = "damaged"
    """The content is not what its type says, is cut, or uses what the reader does not know."""
    PASSWORD = "password"  # noqa: S105  # no password, but a reason
    TOO_LARGE = "too_large"
    """The content needs more memory or time than the process has."""
    NO_SUCH_PAGE = "no_such_page"
    NOT_REMOVABLE = "not_removable"
    """Metadata are not removed from files of this type."""
    NOT_REDACTABLE = "not_redactable"
    """Pages are left out of PDF and TIFF files alone."""
    NOTHING_LEFT = "nothing_left"
    """Every page of the document is to be left out."""
    NOT_MARKABLE = "not_markable"
    """Files of this type carry no visible mark."""
    NOT_ISOLATED = "not_isolated"
    """The platform cannot lock the process, so it read nothing."""


class FailureError(Exception):
    """The locked process gives no result."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure
