"""Stage 2: first assistance and protection."""

from datetime import date
from typing import ClassVar

from ledger.vocabulary.action import (
    Action,
    Care,
    Contact,
    Family,
    Health,
    Identity,
    OnCase,
    OnLedger,
    Whereabouts,
)
from ledger.vocabulary.documents import CaseDocument
from ledger.vocabulary.picklists import (
    BestInterestsOutcome,
    GuardianKind,
    ProtectionMeasureKind,
    RiskLevel,
    ServiceEnd,
    ServiceKind,
    ShelterKind,
)
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import ActionId, AgencyId, Name, Text, UtcDatetime


class GuardianAppointed(Action):
    """A guardian was appointed for the child."""

    kind: ClassVar[str] = "guardian_appointed"
    stage: ClassVar[S] = S.PROTECTION

    guardian_kind: OnLedger[GuardianKind]
    decision_reference: OnCase[Name | None] = None
    guardian_name: Family[Name | None] = None
    guardian_contact: Contact[Text | None] = None
    family_document: Family[CaseDocument | None] = None
    """The decision on the guardian."""


class BestInterestsAssessed(Action):
    """Best-interests assessment of a child."""

    kind: ClassVar[str] = "best_interests_assessed"
    stage: ClassVar[S] = S.PROTECTION

    outcome: OnLedger[BestInterestsOutcome]
    child_heard: OnLedger[bool]
    reasoning: OnCase[Text | None] = None
    childs_view: Care[Text | None] = None
    care_document: Care[CaseDocument | None] = None
    """The report."""


class RiskAssessed(Action):
    """Individual risk assessment."""

    kind: ClassVar[str] = "risk_assessed"
    stage: ClassVar[S] = S.PROTECTION

    risk_level: OnLedger[RiskLevel]
    review_by: OnLedger[date | None] = None
    risk_factors: OnCase[Text | None] = None
    threats: Care[Text | None] = None
    care_document: Care[CaseDocument | None] = None
    """The report."""


class Sheltered(Action):
    """The person was taken into a shelter or other safe accommodation."""

    kind: ClassVar[str] = "sheltered"
    stage: ClassVar[S] = S.PROTECTION

    shelter_kind: OnCase[ShelterKind]
    provider: OnCase[AgencyId]
    address: Whereabouts[Text | None] = None
    intake_note: Care[Text | None] = None


class ShelterLeft(Action):
    """The person left the shelter."""

    kind: ClassVar[str] = "shelter_left"
    stage: ClassVar[S] = S.PROTECTION

    planned: OnCase[bool]
    destination: Whereabouts[Text | None] = None


class ShelterExitApproved(Action):
    """A body agrees that a person at high risk leaves the shelter for good."""

    kind: ClassVar[str] = "shelter_exit_approved"
    stage: ClassVar[S] = S.PROTECTION

    reasoning: OnCase[Text | None] = None


class ProtectionMeasureTaken(Action):
    """A protection measure was put in force."""

    kind: ClassVar[str] = "protection_measure_taken"
    stage: ClassVar[S] = S.PROTECTION

    measure: OnLedger[ProtectionMeasureKind]
    until: OnLedger[UtcDatetime | None] = None
    terms: OnCase[Text | None] = None


class ProtectionMeasureEnded(Action):
    """A protection measure ended."""

    kind: ClassVar[str] = "protection_measure_ended"
    stage: ClassVar[S] = S.PROTECTION

    measure_action: OnLedger[ActionId]
    reason: OnCase[Text | None] = None


class ServiceStarted(Action):
    """A service is being provided (medical, psychosocial, legal, interpretation, ...)."""

    kind: ClassVar[str] = "service_started"
    stage: ClassVar[S] = S.PROTECTION

    service: OnLedger[ServiceKind]
    provider: OnCase[AgencyId]
    description: OnCase[Text | None] = None
    health_note: Health[Text | None] = None
    worker_name: Identity[Name | None] = None


class ServiceEnded(Action):
    """A service ended."""

    kind: ClassVar[str] = "service_ended"
    stage: ClassVar[S] = S.PROTECTION

    service_action: OnLedger[ActionId]
    reason: OnLedger[ServiceEnd]
    result: OnCase[Text | None] = None
