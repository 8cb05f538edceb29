"""Field types shared by the vocabulary: codes, identifiers and times."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationInfo,
)

from ledger.vocabulary.characters import checked_name, checked_text
from ledger.vocabulary.iso_codes import COUNTRIES, LANGUAGES

_COUNTRIES = COUNTRIES | {"XK"}


def _country(value: str) -> str:
    if value not in _COUNTRIES:
        raise ValueError("is not an ISO 3166-1 alpha-2 country code, nor XK for Kosovo")
    return value


def _language(value: str) -> str:
    if value not in LANGUAGES:
        raise ValueError("is not an ISO 639 three-letter language code")
    return value


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range in UTC") from None


def format_utc(value: datetime) -> str:
    """Write a time as RFC 3339 in UTC with a ``Z``, with microseconds only if there are any."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$"), AfterValidator(_country)]
"""ISO 3166-1 alpha-2, or the user-assigned ``XK``."""

Countries = Annotated[tuple[Country, ...], Field(min_length=1, max_length=8)]

Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{3}$"), AfterValidator(_language)]
"""ISO 639-3 (a superset of ISO 639-2, which HTCDS asks for)."""

AgencyId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{2,43}$")]
"""The name of an agency in the ledger, e.g. ``xk-dhtqnj`` or ``iom-pristina``."""

LanguageTag = Annotated[
    str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?$")
]
"""A language as a BCP 47 tag, as the catalogues are named: ``sq``, ``cnr``, ``sr-Cyrl``."""

ActionId = UUID
CaseId = UUID

MemberId = UUID
"""The pseudonym of a member of an agency. Only the member's own country knows whose it is."""

UtcDatetime = Annotated[
    AwareDatetime,
    AfterValidator(_utc),
    PlainSerializer(format_utc, return_type=str, when_used="json"),
]
"""A moment, normalised to UTC; input without an offset is refused."""

UnixTime = Annotated[int, Field(ge=0, lt=253_402_300_800)]
"""Seconds since 1970, up to the last year that a date here can have (RFC 7519 NumericDate)."""

RECORDED: Mapping[str, bool] = {"recorded": True}
"""The validation context of what was taken in before: its characters are not judged again."""


def _text(value: str, info: ValidationInfo) -> str:
    return value if info.context == RECORDED else checked_text(value)


def _name(value: str, info: ValidationInfo) -> str:
    return value if info.context == RECORDED else checked_name(value)


Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=4000),
    AfterValidator(_text),
]
RecordedName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)
]
"""A name in what is recorded for ever, whose reader judges it by the edition in force."""
Name = Annotated[RecordedName, AfterValidator(_name)]

EmailAddress = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){1,8}$")
]
TelephoneNumber = Annotated[str, Field(pattern=r"^\+[0-9][0-9 ]{3,24}$")]
"""With the country's code, such as ``+383 38 200 000``."""
Languages = Annotated[tuple[Language, ...], Field(min_length=1, max_length=12)]
"""The languages in which a person or an office can be spoken to."""
