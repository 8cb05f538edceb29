"""Stage 4: return and social inclusion."""

from datetime import date
from typing import ClassVar

from ledger.vocabulary.action import Action, Family, Identity, OnCase, OnLedger, Whereabouts
from ledger.vocabulary.picklists import EscortKind, FamilyOutcome, TravelDocumentKind
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import AgencyId, Country, Name, Text


class FamilyTraced(Action):
    """Family tracing and its outcome."""

    kind: ClassVar[str] = "family_traced"
    stage: ClassVar[S] = S.RETURN

    outcome: OnLedger[FamilyOutcome]
    family_details: Family[Text | None] = None


class FamilyAssessed(Action):
    """Assessment whether the family can receive the person safely."""

    kind: ClassVar[str] = "family_assessed"
    stage: ClassVar[S] = S.RETURN

    suitable: OnLedger[bool]
    conditions: OnCase[Text | None] = None
    assessment: Family[Text | None] = None


class ReturnDecided(Action):
    """The assisted, voluntary return was decided."""

    kind: ClassVar[str] = "return_decided"
    stage: ClassVar[S] = S.RETURN

    destination: OnLedger[Country]
    planned_for: OnCase[date | None] = None
    receiving_agency: OnCase[AgencyId]
    """An agency of the country of destination. The country's node checks this."""
    reasoning: OnCase[Text | None] = None


class TravelDocumentIssued(Action):
    """A travel document was issued."""

    kind: ClassVar[str] = "travel_document_issued"
    stage: ClassVar[S] = S.RETURN

    document: OnLedger[TravelDocumentKind]
    valid_until: OnCase[date | None] = None
    document_number: Identity[Name | None] = None


class Departed(Action):
    """The person departed, escorted, for the country of destination."""

    kind: ClassVar[str] = "departed"
    stage: ClassVar[S] = S.RETURN

    escort: OnCase[EscortKind]
    border_crossing: OnCase[Name | None] = None
    route: Whereabouts[Text | None] = None
    escort_names: Identity[Text | None] = None


class Received(Action):
    """The country of destination confirms that it received the person."""

    kind: ClassVar[str] = "received"
    stage: ClassVar[S] = S.RETURN

    in_person: OnLedger[bool]
    condition: OnCase[Text | None] = None
    accommodation: Whereabouts[Text | None] = None
