"""Stage 4: return and social inclusion."""

from datetime import date
from typing import Annotated, ClassVar

from pydantic import Field

from ledger.vocabulary.action import (
    Action,
    Care,
    Family,
    Health,
    Identity,
    OnCase,
    OnLedger,
    Whereabouts,
)
from ledger.vocabulary.documents import CaseDocument
from ledger.vocabulary.picklists import (
    ConsentForm,
    EscortKind,
    FamilyOutcome,
    HandedOver,
    ReturnCancellation,
    ReturnDelay,
    ReturnRefusal,
    TravelDocumentKind,
)
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import ActionId, AgencyId, Country, Language, Name, Text


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
    family_document: Family[CaseDocument | None] = None
    """The report."""


class ReturnRequested(Action):
    """A country asks the country of destination to accept an assisted, voluntary return.

    The country of destination joins the case."""

    kind: ClassVar[str] = "return_requested"
    stage: ClassVar[S] = S.RETURN

    destination: OnLedger[Country]
    planned_for: OnCase[date | None] = None
    needs: OnCase[Text | None] = None
    """The person's needs on the way and after the arrival, other than those of health."""
    proceedings: OnCase[Text | None] = None
    """Proceedings that go on, and when the person is needed in them."""
    fitness_to_travel: Health[Text | None] = None


class ReturnAccepted(Action):
    """The country of destination accepts the return that it was asked for."""

    kind: ClassVar[str] = "return_accepted"
    stage: ClassVar[S] = S.RETURN

    receiving_agency: OnCase[AgencyId]
    """An agency of the country of destination. That country's node checks this."""
    planned_for: OnCase[date | None] = None
    terms: OnCase[Text | None] = None


class ReturnRefused(Action):
    """The country of destination does not accept the return."""

    kind: ClassVar[str] = "return_refused"
    stage: ClassVar[S] = S.RETURN

    ground: OnLedger[ReturnRefusal]
    explanation: OnCase[Text | None] = None


class ReturnPostponed(Action):
    """The return takes place later. The country of destination accepts it anew."""

    kind: ClassVar[str] = "return_postponed"
    stage: ClassVar[S] = S.RETURN

    ground: OnLedger[ReturnDelay]
    planned_for: OnCase[date | None] = None
    explanation: OnCase[Text | None] = None


class ReturnCancelled(Action):
    """The country that asked for the return gives it up."""

    kind: ClassVar[str] = "return_cancelled"
    stage: ClassVar[S] = S.RETURN

    ground: OnLedger[ReturnCancellation]
    explanation: OnCase[Text | None] = None


class EarlyDepartureWished(Action):
    """The person wishes to leave before the recovery and reflection period is over."""

    kind: ClassVar[str] = "early_departure_wished"
    stage: ClassVar[S] = S.RETURN

    form: OnLedger[ConsentForm]
    language: OnCase[Language | None] = None
    wish: Care[Text | None] = None


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
    identity_document: Identity[CaseDocument | None] = None
    """A copy of the travel document."""


class TravelDocumentHeld(Action):
    """The person has a valid document with which they may travel; none needs to be issued."""

    kind: ClassVar[str] = "travel_document_held"
    stage: ClassVar[S] = S.RETURN

    document: OnLedger[TravelDocumentKind]
    valid_until: OnCase[date | None] = None
    document_number: Identity[Name | None] = None
    identity_document: Identity[CaseDocument | None] = None
    """A copy of the travel document."""


class Departed(Action):
    """The person departed, escorted, for the country of destination."""

    kind: ClassVar[str] = "departed"
    stage: ClassVar[S] = S.RETURN

    escort: OnCase[EscortKind]
    border_crossing: OnCase[Name | None] = None
    route: Whereabouts[Text | None] = None
    escort_names: Identity[Text | None] = None


class TurnedBack(Action):
    """The person was turned back at the border, and is in the country of departure again."""

    kind: ClassVar[str] = "turned_back"
    stage: ClassVar[S] = S.RETURN

    border_crossing: OnCase[Name | None] = None
    reason: OnCase[Text | None] = None
    whereabouts: Whereabouts[Text | None] = None


class HandoverRecorded(Action):
    """The handover record, as the country of departure signs it."""

    kind: ClassVar[str] = "handover_recorded"
    stage: ClassVar[S] = S.RETURN

    receiving_agency: OnCase[AgencyId]
    """The agency that took the person over, of the country of destination."""
    handed_over: OnCase[Annotated[tuple[HandedOver, ...], Field(min_length=1, max_length=6)]]
    handover_list: OnCase[Text | None] = None
    """The things that were handed over, piece by piece."""
    medical_note: Health[Text | None] = None
    handover_place: Whereabouts[Name | None] = None
    persons: Identity[Text | None] = None
    """The persons who handed over and took over."""
    state_of_person: Care[Text | None] = None
    identity_document: Identity[CaseDocument | None] = None
    """The record on paper, with its signatures."""


class HandoverConfirmed(Action):
    """The country of destination signs the handover record."""

    kind: ClassVar[str] = "handover_confirmed"
    stage: ClassVar[S] = S.RETURN

    handover: OnLedger[ActionId]
    """The record that it signs."""
    is_complete: OnLedger[bool]
    """Whether everything that the record lists was handed over."""
    differences: OnCase[Text | None] = None


class Received(Action):
    """The country of destination confirms that it received the person."""

    kind: ClassVar[str] = "received"
    stage: ClassVar[S] = S.RETURN

    in_person: OnLedger[bool]
    condition: OnCase[Text | None] = None
    accommodation: Whereabouts[Text | None] = None
