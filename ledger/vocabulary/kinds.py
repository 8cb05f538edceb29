"""Every kind of action: those on a case and those on the protocol."""

from ledger.vocabulary.action import actions_by_kind, ledger_part
from ledger.vocabulary.communication_forms import FormAcknowledged, FormSent
from ledger.vocabulary.coordination import (
    CaseClosed,
    CaseManagerNamed,
    CasePrioritised,
    CaseReopened,
    ConsentGiven,
    ConsentWithdrawn,
    Correction,
    ErrorClosingAccepted,
    ErrorClosingProposed,
    InformationAcknowledged,
    InformationDeclined,
    InformationProvided,
    InformationRequested,
    JointActionAgreed,
    JointActionDone,
    LeadTransferAccepted,
    LeadTransferOffered,
    MeetingHeld,
)
from ledger.vocabulary.destruction import (
    DestructionApproved,
    DestructionConfirmed,
    DestructionProposed,
)
from ledger.vocabulary.erasure import (
    ErasureApproved,
    ErasureConfirmed,
    ErasureProposed,
    LegalHoldLifted,
    LegalHoldPlaced,
    RetentionAnnounced,
)
from ledger.vocabulary.identification import (
    CaseOpened,
    NotAVictim,
    VictimIdentified,
    VictimStatusChanged,
)
from ledger.vocabulary.inclusion import ReintegrationMonitored, ReintegrationPlanned
from ledger.vocabulary.linking import (
    CaseMerged,
    CasesLinked,
    CasesUnlinked,
    MergeAccepted,
    MergeDeclined,
    MergeProposed,
    MergeUndone,
)
from ledger.vocabulary.person import (
    AgeAssessed,
    IdentityRecorded,
    RectificationDeclined,
    RectificationRequested,
)
from ledger.vocabulary.proceedings import (
    Charged,
    CompensationRecorded,
    HearingHeld,
    Investigated,
    JudgmentGiven,
)
from ledger.vocabulary.protection import (
    BestInterestsAssessed,
    GuardianAppointed,
    ProtectionMeasureEnded,
    ProtectionMeasureTaken,
    RiskAssessed,
    ServiceEnded,
    ServiceStarted,
    Sheltered,
    ShelterLeft,
)
from ledger.vocabulary.registration import (
    AbsenceAnnounced,
    AccessionAccepted,
    AgencyChangeConfirmed,
    AgencyChangeDeclined,
    AgencyInvited,
    AgencyRegistered,
    AgencyRenamed,
    AgencyRetired,
    AmendmentAccepted,
    AmendmentDeclined,
    AmendmentProposed,
    ContactCardEnded,
    ContactCardGiven,
    ContactPointEnded,
    ContactPointNamed,
    CoordinatorKeyRecovered,
    CountryKeyRegistered,
    KeyChangeConfirmed,
    KeyChangeDeclined,
    KeyCompromised,
    KeyRegistered,
    KeyRevoked,
    LogPolicyAdopted,
    PartyWithdrawalDeclared,
    PartyWithdrawalRevoked,
    PresenceDeclared,
    ProtocolAdopted,
    ReadingsAnchored,
    WitnessesAligned,
)
from ledger.vocabulary.return_and_inclusion import (
    Departed,
    FamilyAssessed,
    FamilyTraced,
    Received,
    ReturnDecided,
    TravelDocumentIssued,
)
from ledger.vocabulary.sharing import (
    BreakGlassOpened,
    BreakGlassReviewed,
    InformationReleased,
    SharingDecided,
    SharingEnded,
)

CASE_ACTIONS = actions_by_kind(
    (
        CaseOpened,
        VictimIdentified,
        VictimStatusChanged,
        NotAVictim,
        IdentityRecorded,
        AgeAssessed,
        GuardianAppointed,
        BestInterestsAssessed,
        RiskAssessed,
        Sheltered,
        ShelterLeft,
        ProtectionMeasureTaken,
        ProtectionMeasureEnded,
        ServiceStarted,
        ServiceEnded,
        ReintegrationPlanned,
        ReintegrationMonitored,
        FamilyTraced,
        FamilyAssessed,
        ReturnDecided,
        TravelDocumentIssued,
        Departed,
        Received,
        Investigated,
        Charged,
        HearingHeld,
        JudgmentGiven,
        CompensationRecorded,
        ConsentGiven,
        ConsentWithdrawn,
        InformationRequested,
        InformationAcknowledged,
        InformationProvided,
        InformationDeclined,
        FormSent,
        FormAcknowledged,
        MeetingHeld,
        JointActionAgreed,
        JointActionDone,
        CasePrioritised,
        CaseManagerNamed,
        LeadTransferOffered,
        LeadTransferAccepted,
        Correction,
        CaseClosed,
        CaseReopened,
        SharingDecided,
        SharingEnded,
        InformationReleased,
        BreakGlassOpened,
        BreakGlassReviewed,
        RectificationRequested,
        RectificationDeclined,
        CasesLinked,
        CasesUnlinked,
        MergeProposed,
        MergeAccepted,
        CaseMerged,
        MergeDeclined,
        MergeUndone,
        LegalHoldPlaced,
        LegalHoldLifted,
        RetentionAnnounced,
        ErasureProposed,
        ErasureApproved,
        ErasureConfirmed,
        DestructionProposed,
        DestructionApproved,
        DestructionConfirmed,
        ErrorClosingProposed,
        ErrorClosingAccepted,
    )
)
"""The actions that agencies take on a case, by kind."""

REGISTRY_ACTIONS = actions_by_kind(
    (
        ProtocolAdopted,
        AmendmentProposed,
        AmendmentAccepted,
        AmendmentDeclined,
        AccessionAccepted,
        PartyWithdrawalDeclared,
        PartyWithdrawalRevoked,
        WitnessesAligned,
        AgencyRegistered,
        AgencyInvited,
        AgencyRenamed,
        AgencyRetired,
        AgencyChangeConfirmed,
        AgencyChangeDeclined,
        ContactPointNamed,
        ContactPointEnded,
        ContactCardGiven,
        ContactCardEnded,
        KeyRegistered,
        KeyRevoked,
        KeyCompromised,
        KeyChangeConfirmed,
        KeyChangeDeclined,
        LogPolicyAdopted,
        CoordinatorKeyRecovered,
        CountryKeyRegistered,
        ReadingsAnchored,
        AbsenceAnnounced,
        PresenceDeclared,
    )
)
"""The acts on the protocol itself, by kind."""

ALL_ACTIONS = {**CASE_ACTIONS, **REGISTRY_ACTIONS}

NOT_UNDERSTOOD = "not_understood"
"""The kind of a recorded event that this program cannot understand; no agency can sign it."""


def build_models() -> None:
    """Build every action's models now, before several threads would do so at once."""
    for model in ALL_ACTIONS.values():
        model.model_rebuild()
        ledger_part(model).model_rebuild()
