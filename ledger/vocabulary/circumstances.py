"""Actions on events of the person's life, and on the case's countries and citizenship."""

from datetime import date
from typing import Annotated, ClassVar

from pydantic import Field

from ledger.vocabulary.action import (
    Action,
    Care,
    Exploitation,
    Family,
    Health,
    Identity,
    OnCase,
    OnLedger,
    Whereabouts,
)
from ledger.vocabulary.documents import CaseDocument
from ledger.vocabulary.identification import FurtherForms
from ledger.vocabulary.picklists import (
    CitizenshipStatus,
    DeathNotice,
    FoundCondition,
    ReferralChannel,
    TypeOfExploitation,
)
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import Country, Name, Text

SomeCountries = Annotated[tuple[Country, ...], Field(min_length=1, max_length=10)]


class WentMissing(Action):
    """The person is missing."""

    kind: ClassVar[str] = "went_missing"
    stage: ClassVar[S] = S.COORDINATION

    police_alerted: OnLedger[bool]
    last_seen: OnCase[date | None] = None
    last_place: Whereabouts[Text | None] = None


class PersonFound(Action):
    """The missing person was found."""

    kind: ClassVar[str] = "person_found"
    stage: ClassVar[S] = S.COORDINATION

    condition: OnCase[FoundCondition]
    place: Whereabouts[Text | None] = None


class DeathRecorded(Action):
    """The person died."""

    kind: ClassVar[str] = "death_recorded"
    stage: ClassVar[S] = S.COORDINATION

    died_on: OnCase[date | None] = None
    cause: Health[Text | None] = None
    family_document: Family[CaseDocument | None] = None
    """The certificate of the death."""


class DeathNotified(Action):
    """The death was told to those who must be told."""

    kind: ClassVar[str] = "death_notified"
    stage: ClassVar[S] = S.COORDINATION

    notified: OnLedger[Annotated[tuple[DeathNotice, ...], Field(min_length=1, max_length=5)]]
    notes: OnCase[Text | None] = None


class ChildBorn(Action):
    """The person gave birth to a child, who gets a case of their own where one is needed."""

    kind: ClassVar[str] = "child_born"
    stage: ClassVar[S] = S.COORDINATION

    birth_registered: OnLedger[bool]
    country_of_birth: OnCase[Country]
    born_on: Family[date | None] = None
    care_of_child: Care[Text | None] = None
    family_document: Family[CaseDocument | None] = None
    """The certificate of the birth."""


class NewExploitationFound(Action):
    """The person was exploited again, in any country."""

    kind: ClassVar[str] = "new_exploitation_found"
    stage: ClassVar[S] = S.IDENTIFICATION

    exploitation_country: OnCase[Country]
    types_of_exploitation: OnCase[
        Annotated[tuple[TypeOfExploitation, ...], Field(min_length=1, max_length=11)]
    ]
    further_forms: OnCase[FurtherForms | None] = None
    new_statement: Exploitation[Text | None] = None


class CountriesRecorded(Action):
    """The countries of origin, transit, exploitation and return, in or outside the protocol."""

    kind: ClassVar[str] = "countries_recorded"
    stage: ClassVar[S] = S.IDENTIFICATION

    origin_country: OnCase[Country | None] = None
    transit_countries: OnCase[SomeCountries | None] = None
    exploitation_countries: OnCase[SomeCountries | None] = None
    return_country: OnCase[Country | None] = None


class ReferredAbroad(Action):
    """The case was referred to a named authority of a country outside the protocol."""

    kind: ClassVar[str] = "referred_abroad"
    stage: ClassVar[S] = S.COORDINATION

    channel: OnLedger[ReferralChannel]
    foreign_country: OnCase[Country]
    foreign_authority: OnCase[Name]
    referral_subject: OnCase[Text | None] = None


class CitizenshipAssessed(Action):
    """The citizenship of the person, which may be unknown, or the person may have none."""

    kind: ClassVar[str] = "citizenship_assessed"
    stage: ClassVar[S] = S.IDENTIFICATION

    citizenship_status: Identity[CitizenshipStatus]
    citizenship: Identity[Annotated[tuple[Country, ...], Field(max_length=5)] | None] = None
    grounds: Identity[Text | None] = None
