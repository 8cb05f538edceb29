"""Statements on the person after the opening: identity, age, and requests to rectify."""

from datetime import date
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from ledger.vocabulary.action import (
    Action,
    Contact,
    Family,
    Identity,
    LedgerModel,
    OnCase,
    OnLedger,
)
from ledger.vocabulary.documents import CaseDocument
from ledger.vocabulary.picklists import (
    AgeGroup,
    AgeMethod,
    Certainty,
    DateDoubt,
    Education,
    Gender,
    MaritalStatus,
    PersonField,
    RectificationRefusal,
    StatementGround,
    StatementSource,
)
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import ActionId, Country, Language, Name, Text


def _quarter(day: date) -> date:
    if day.day != 1 or day.month not in (1, 4, 7, 10):
        raise ValueError("is not the first day of a quarter: 1 January, April, July or October")
    return day


Quarter = Annotated[date, AfterValidator(_quarter)]
"""A quarter of a year, by its first day. A rule needs a time; the day of birth stays sealed."""

Doubts = Annotated[tuple[DateDoubt, ...], Field(min_length=1, max_length=len(DateDoubt))]
"""Contradictions between dates that the signer checked and confirms."""

BirthYear = Annotated[int, Field(ge=1850, le=9999)]
Age = Annotated[int, Field(ge=0, le=130)]


class PersonFields(LedgerModel):
    """The fields of the person: identity, family and contact. Each may be left out."""

    first_name: Identity[Name | None] = None
    middle_name: Identity[Name | None] = None
    second_name: Identity[Name | None] = None
    birthdate: Identity[date | None] = None
    gender: Identity[Gender | None] = None
    citizenship: Identity[Annotated[tuple[Country, ...], Field(max_length=5)] | None] = None
    identity_number: Identity[Name | None] = None
    primary_language: Identity[Language | None] = None
    secondary_language: Identity[Language | None] = None
    education: Identity[Education | None] = None
    marital_status: Family[MaritalStatus | None] = None
    number_of_children: Family[Annotated[int, Field(ge=0, le=30)] | None] = None
    phone: Contact[Annotated[str, Field(pattern=r"^\+?[1-9]\d{1,14}$")] | None] = None
    address: Contact[Text | None] = None


class IdentityRecorded(PersonFields, Action):
    """The person's identity, as far as it is known. A field that is left out stays as it was."""

    kind: ClassVar[str] = "identity_recorded"
    stage: ClassVar[S] = S.IDENTIFICATION

    ground: OnLedger[StatementGround]
    request: OnLedger[ActionId | None] = None
    """The person's request to rectify that this answers."""
    of_age_from: OnLedger[Quarter | None] = None
    """The quarter in which the person comes of age."""
    confirmed: OnLedger[Doubts | None] = None
    source: OnCase[StatementSource]
    certainty: OnCase[Certainty]
    retracted: OnCase[
        Annotated[tuple[PersonField, ...], Field(max_length=len(PersonField))] | None
    ] = None
    """Fields of which no earlier statement counts any more, and none is made now."""


class AgeAssessed(Action):
    """The finding that the person is a child or not, and its method. Safeguards follow."""

    kind: ClassVar[str] = "age_assessed"
    stage: ClassVar[S] = S.IDENTIFICATION

    age_group: OnLedger[AgeGroup]
    of_age_from: OnLedger[Quarter | None] = None
    """The quarter in which the person comes of age."""
    confirmed: OnLedger[Doubts | None] = None
    method: OnCase[AgeMethod]
    certainty: OnCase[Certainty]
    reasoning: OnCase[Text | None] = None
    birth_year: Identity[BirthYear | None] = None
    """Where no birth date is known."""
    age_from: Identity[Age | None] = None
    """The lower bound of the estimated age, in years, at the time of the act."""
    age_to: Identity[Age | None] = None
    """The upper bound of the estimated age, in years, at the time of the act."""
    identity_document: Identity[CaseDocument | None] = None
    """The report."""


class RectificationRequested(Action):
    """The person asks that something recorded on the person be put right."""

    kind: ClassVar[str] = "rectification_requested"
    stage: ClassVar[S] = S.COORDINATION

    wish: Identity[Text | None] = None
    """The entry that the person calls wrong, and its right form."""


class RectificationDeclined(Action):
    """A request to rectify is declined, with a reason that the person is told."""

    kind: ClassVar[str] = "rectification_declined"
    stage: ClassVar[S] = S.COORDINATION

    request: OnLedger[ActionId]
    reason: OnLedger[RectificationRefusal]
    explanation: OnCase[Text | None] = None
